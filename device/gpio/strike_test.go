package gpio

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// relay is a pin that remembers when it was driven to what, and fails on
// command.
type relay struct {
	mu     sync.Mutex
	start  time.Time
	now    gpio.Level
	wrote  []step
	broken bool
	halted bool
}

type step struct {
	level gpio.Level
	at    time.Duration
}

func (r *relay) Out(l gpio.Level) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return errors.New("i/o error")
	}
	if l != r.now {
		r.wrote = append(r.wrote, step{l, time.Since(r.start)})
	}
	r.now = l
	return nil
}

func (r *relay) Halt() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = true
	return nil
}

// level and steps are read under the lock: the strike drives its pin from a
// goroutine of its own, and a sleep in a bubble orders nothing.
func (r *relay) level() gpio.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *relay) steps() []step {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.wrote)
}

func (r *relay) String() string { return "GPIO17" }

func (r *relay) fail(broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = broken
}

func strike(t *testing.T) (*Strike, *relay) {
	t.Helper()
	r := &relay{start: time.Now(), now: gpio.High}
	s, err := newStrike(r, slog.New(slog.DiscardHandler))
	if err != nil || r.now != gpio.Low {
		t.Fatalf("made %v, %v", r.now, err)
	}
	r.wrote = nil
	return s, r
}

func TestTheDoorShutsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := strike(t)
		if err := s.Open(t.Context(), 3*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble's clock
		if want := []step{{gpio.High, 0}, {gpio.Low, 3 * time.Second}}; !slices.Equal(r.steps(), want) {
			t.Errorf("%v, want %v", r.steps(), want)
		}
		if err := s.Close(); err != nil || !r.halted {
			t.Error(err)
		}
	})
}

func TestTheDoorShutsWithTheContextAndWithTheStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := strike(t)
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.Open(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if r.level() != gpio.Low {
			t.Error("open after the context ended")
		}
		if err := s.Open(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Close(); err != nil || r.level() != gpio.Low {
				t.Errorf("closed: %v, %v", r.level(), err)
			}
		}
		if err := s.Open(t.Context(), time.Second); !errors.Is(err, ErrPin) || r.level() != gpio.Low {
			t.Errorf("a closed strike opened: %v", err)
		}
	})
}

func TestOpeningAgainStartsTheTimeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := strike(t)
		defer s.Close()
		for range 3 {
			if err := s.Open(t.Context(), 5*time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Minute)
		if want := []step{{gpio.High, 0}, {gpio.Low, 13 * time.Second}}; !slices.Equal(r.steps(), want) {
			t.Errorf("%v, want %v", r.steps(), want)
		}
	})
}

func TestARelayThatSticksIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := strike(t)
		defer s.Close()
		if err := s.Open(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		r.fail(true)
		time.Sleep(2 * time.Second)
		r.fail(false)
		time.Sleep(2 * retryShut)
		if r.level() != gpio.Low {
			t.Error("open")
		}
		r.fail(true)
		if err := s.Open(t.Context(), time.Second); !errors.Is(err, ErrPin) {
			t.Errorf("a broken pin opened: %v", err)
		}
		r.fail(false)
	})
}

func TestNoOpeningForEver(t *testing.T) {
	s, r := strike(t)
	defer s.Close()
	for _, d := range []time.Duration{0, -time.Second} {
		if err := s.Open(t.Context(), d); err == nil || r.level() != gpio.Low {
			t.Errorf("open for %v: %v", d, err)
		}
	}
}

func TestAPinThatIsNotThereIsNamed(t *testing.T) {
	if _, err := OpenStrike("GPIO_NONE", slog.New(slog.DiscardHandler)); !errors.Is(err, ErrPin) {
		t.Errorf("%v", err)
	}
}
