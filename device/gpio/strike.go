// Package gpio drives what hangs on the board's own pins, through periph and the
// kernel's GPIO character device: a door strike behind a relay, and a fingerprint
// module's power and wake line.
//
// A bare pin is the least that can hold a door: whoever cuts the cable finds
// it shut, but whoever runs as root on the board can open it. The guard board
// (device/guard) is what a site wants that has something to lose.
//
// Measured behaviour of periph's gpioioctl v3.8.5 that shapes this package:
// reading an output turns it into an input with a pull-up, so an output is
// never read; the first high level drives low first, so only relays that are
// active high are sound, and low is the safe state.
package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	_ "periph.io/x/host/v3/gpioioctl" // registers the lines of /dev/gpiochip*
)

// ErrPin: there is no such pin, or it cannot be driven.
var ErrPin = errors.New("no usable pin")

// retryShut is how soon a relay that did not let go is told again.
const retryShut = 100 * time.Millisecond

// output is what a strike needs of a pin.
type output interface {
	Out(gpio.Level) error
	Halt() error
	String() string
}

// Strike is a door strike on a relay that opens the door while its pin is
// high. It is shut when it is made and when it is closed.
type Strike struct {
	pin output
	log *slog.Logger

	mu     sync.Mutex
	open   uint64 // number of the latest opening; an earlier one does not shut it
	closed bool
	stop   chan struct{}
	timers sync.WaitGroup
}

// OpenStrike takes the pin of that name ("GPIO17") and drives it low.
func OpenStrike(name string, log *slog.Logger) (*Strike, error) {
	pin, err := byName(name)
	if err != nil {
		return nil, err
	}
	return newStrike(pin, log)
}

func newStrike(pin output, log *slog.Logger) (*Strike, error) {
	if err := pin.Out(gpio.Low); err != nil {
		return nil, fmt.Errorf("gpio: %s cannot be driven low: %w: %w", pin, ErrPin, err)
	}
	return &Strike{pin: pin, log: log, stop: make(chan struct{})}, nil
}

// String is the pin's name.
func (s *Strike) String() string { return s.pin.String() }

// Open opens the door and returns. It shuts when d is over, when the context
// ends, or when the strike is closed; an opening while it is open starts the
// time anew.
func (s *Strike) Open(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("gpio: %s: open for %v: %w", s.pin, d, ErrPin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Err() != nil {
		return fmt.Errorf("gpio: %s is closed: %w", s.pin, ErrPin)
	}
	if err := s.pin.Out(gpio.High); err != nil {
		return errors.Join(fmt.Errorf("gpio: %s cannot be driven high: %w: %w", s.pin, ErrPin, err), s.pin.Out(gpio.Low))
	}
	s.open++
	n := s.open
	s.timers.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-s.stop:
		}
		s.shut(n)
	})
	return nil
}

// shut lets the relay go, unless it was opened again since. A pin that does
// not obey is told again: a door that stays open is worse than a busy log.
func (s *Strike) shut(n uint64) {
	for {
		s.mu.Lock()
		if s.open != n {
			s.mu.Unlock()
			return
		}
		err := s.pin.Out(gpio.Low)
		s.mu.Unlock()
		if err == nil {
			return
		}
		s.log.Error("the door strike does not let go", "pin", s.pin.String(), "err", err)
		select {
		case <-time.After(retryShut):
		case <-s.stop:
			return // Close says it once more
		}
	}
}

// Close shuts the door and gives the pin back.
func (s *Strike) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.timers.Wait()
	if err := errors.Join(s.pin.Out(gpio.Low), s.pin.Halt()); err != nil {
		return fmt.Errorf("gpio: %s: %w", s.pin, err)
	}
	return nil
}
