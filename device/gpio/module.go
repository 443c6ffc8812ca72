package gpio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
)

// offTime is how long a fingerprint module stays without power, so that it has
// forgotten everything (Grow R503 manual: at least 2 s).
const offTime = 2 * time.Second

// edgeSlice is how often a wait for an edge looks at its context: periph's
// drivers do not agree on how a wait is ended.
const edgeSlice = 100 * time.Millisecond

// byName finds a pin.
func byName(name string) (gpio.PinIO, error) {
	if _, err := driverreg.Init(); err != nil {
		return nil, fmt.Errorf("gpio: %w: %w", ErrPin, err)
	}
	pin := gpioreg.ByName(name)
	if pin == nil {
		return nil, fmt.Errorf("gpio: there is no pin %q: names are like GPIO17, and /dev/gpiochip0 must be there for the daemon's user (group gpio): %w", name, ErrPin)
	}
	return pin, nil
}

// Supply is a fingerprint module's 3.3 V behind a load switch that is on while
// its pin is high.
type Supply struct {
	pin output
	log *slog.Logger
	mu  sync.Mutex
}

// OpenSupply takes the pin of that name and switches the module on.
func OpenSupply(name string, log *slog.Logger) (*Supply, error) {
	pin, err := byName(name)
	if err != nil {
		return nil, err
	}
	return newSupply(pin, log)
}

func newSupply(pin output, log *slog.Logger) (*Supply, error) {
	if err := pin.Out(gpio.High); err != nil {
		return nil, fmt.Errorf("gpio: %s, the module's power, cannot be driven high: %w: %w", pin, ErrPin, err)
	}
	return &Supply{pin: pin, log: log}, nil
}

// Cycle cuts the power for two seconds. It is given back at once when the
// context ends before.
func (s *Supply) Cycle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Warn("the fingerprint module does not answer: its power is cut and given back", "pin", s.pin.String())
	cut := s.pin.Out(gpio.Low)
	if cut == nil {
		cut = pause(ctx, offTime)
	}
	if err := errors.Join(cut, s.pin.Out(gpio.High)); err != nil {
		return fmt.Errorf("gpio: %s, the module's power: %w", s.pin, err)
	}
	return nil
}

// pause waits for d, or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close lets go of the pin. The module keeps its power.
func (s *Supply) Close() error { return s.pin.Halt() }

// input is what a wake line needs of a pin.
type input interface {
	In(gpio.Pull, gpio.Edge) error
	Read() gpio.Level
	WaitForEdge(time.Duration) bool
	Halt() error
	String() string
}

// Wake is a fingerprint module's WAKEUP wire: low while a finger is on it.
type Wake struct {
	pin input
	mu  sync.Mutex // one waits at a time
}

// OpenWake takes the pin of that name. A wire that came off reads as no finger.
func OpenWake(name string) (*Wake, error) {
	pin, err := byName(name)
	if err != nil {
		return nil, err
	}
	return newWake(pin)
}

func newWake(pin input) (*Wake, error) {
	if err := pin.In(gpio.PullUp, gpio.BothEdges); err != nil {
		return nil, fmt.Errorf("gpio: %s, the module's wake line, cannot be an input with interrupts: %w: %w", pin, ErrPin, err)
	}
	return &Wake{pin: pin}, nil
}

// Touched tells whether a finger is there.
func (w *Wake) Touched() bool { return w.pin.Read() == gpio.Low }

// Wait returns when a finger came or went, after d, or within a tenth of a
// second when the context ends.
func (w *Wake) Wait(ctx context.Context, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for end := time.Now().Add(d); ctx.Err() == nil; {
		begun := time.Now()
		slice := min(end.Sub(begun), edgeSlice)
		if slice <= 0 || w.pin.WaitForEdge(slice) {
			return
		}
		// A line that cannot wait says so at once.
		_ = pause(ctx, slice-time.Since(begun))
	}
}

// Close lets go of the pin.
func (w *Wake) Close() error { return w.pin.Halt() }
