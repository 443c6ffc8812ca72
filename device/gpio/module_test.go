package gpio

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"
)

// The power is cut for two seconds and comes back, also when whoever asked for
// it has gone.
func TestSupply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pin := &relay{start: time.Now()}
		s, err := newSupply(pin, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Cycle(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Cycle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var got []time.Duration
		for _, s := range pin.steps() {
			got = append(got, s.at)
		}
		want := []time.Duration{0, 0, 2 * time.Second, 2 * time.Second, 3 * time.Second}
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] || pin.steps()[i].level != gpio.Level(i%2 == 0) {
				t.Errorf("step %d: %v at %v, want it at %v", i, pin.steps()[i].level, got[i], want[i])
			}
		}
		if err := s.Close(); err != nil || pin.level() != gpio.High {
			t.Errorf("closed: %v, %v", pin.level(), err)
		}
		pin.fail(true)
		if err := s.Cycle(t.Context()); err == nil {
			t.Error("a pin that cannot be driven was not noticed")
		}
		if _, err := newSupply(pin, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrPin) {
			t.Error(err)
		}
	})
}

func TestWake(t *testing.T) {
	pin := &gpiotest.Pin{N: "GPIO24", EdgesChan: make(chan gpio.Level, 1)}
	w, err := newWake(pin)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Touched() || pin.Pull() != gpio.PullUp {
		t.Errorf("a wire that came off: touched %v, pulled %v", w.Touched(), pin.Pull())
	}
	pin.EdgesChan <- gpio.Low
	w.Wait(t.Context(), time.Hour)
	if !w.Touched() {
		t.Error("not touched")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Wait(ctx, time.Hour) // ends
	w.Wait(t.Context(), time.Millisecond)
	if _, err := newWake(&gpiotest.Pin{N: "GPIO25"}); !errors.Is(err, ErrPin) {
		t.Errorf("a pin without interrupts: %v", err)
	}
}

// deaf is a line whose waiting fails at once, as one whose chip was unplugged.
type deaf struct {
	gpiotest.Pin
	waits int
}

func (d *deaf) WaitForEdge(time.Duration) bool { d.waits++; return false }

func TestDeafWakeLineDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pin := &deaf{Pin: gpiotest.Pin{EdgesChan: make(chan gpio.Level)}}
		w, err := newWake(pin)
		if err != nil {
			t.Fatal(err)
		}
		w.Wait(t.Context(), time.Second)
		if pin.waits != 10 {
			t.Errorf("asked %d times in a second", pin.waits)
		}
	})
}
