package sensor_test

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// cable is a serial line in memory: bytes wait in a buffer until they are read,
// as they do in a kernel. It belongs into a synctest bubble, where its clock is
// the bubble's.
type cable struct {
	mu       sync.Mutex
	change   sync.Cond
	host     []byte // for the host to read
	module   []byte // for the module
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func newCable() *cable {
	c := &cable{}
	c.change.L = &c.mu
	return c
}

// Read, Write and the deadlines are the host's end.
func (c *cable) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, io.EOF
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(c.host) > 0:
			n := copy(b, c.host)
			c.host = c.host[n:]
			return n, nil
		}
		c.change.Wait()
	}
}

func (c *cable) Write(b []byte) (int, error) { return c.put(&c.module, b) }

func (c *cable) put(to *[]byte, b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, io.ErrClosedPipe
	}
	*to = append(*to, b...)
	c.change.Broadcast()
	return len(b), nil
}

func (c *cable) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(time.Until(t), c.change.Broadcast)
	c.change.Broadcast()
	return nil
}

func (c *cable) SetWriteDeadline(time.Time) error { return nil }

// Discard throws away what the host has not read.
func (c *cable) Discard() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.host)
	c.host = nil
	return n, nil
}

func (c *cable) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.change.Broadcast()
	return nil
}

// far is the module's end.
type far struct{ *cable }

func (f far) Write(b []byte) (int, error) { return f.put(&f.host, b) }

func (f far) Read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.module) == 0 {
		if f.closed {
			return 0, io.EOF
		}
		f.change.Wait()
	}
	n := copy(b, f.module)
	f.module = f.module[n:]
	return n, nil
}

func newSim(t testing.TB, model string) *modsim.Sim {
	t.Helper()
	s, err := modsim.New(modsim.Config{Model: model, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func do(t testing.TB, s *modsim.Sim, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if _, err := s.Command(c); err != nil {
			t.Fatal(err)
		}
	}
}

// background runs f until the test ends, and waits for it.
func background(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// plugIn joins a simulator to one end of a cable until the test ends.
func plugIn(t testing.TB, s *modsim.Sim) *cable {
	c := newCable()
	background(t, func(ctx context.Context) error { return s.Serve(ctx, far{c}) })
	t.Cleanup(func() { c.Close() })
	return c
}

// wired connects a driver to the simulator by a cable at the factory's rate.
func wired(t testing.TB, s *modsim.Sim) *sensor.Module {
	t.Helper()
	return wiredAs(t, s, sensor.Config{Baud: 57600})
}

// wiredAt is wired, at another rate from then on.
func wiredAt(t testing.TB, s *modsim.Sim, baud int) *sensor.Module {
	t.Helper()
	m := wired(t, s)
	if baud == 57600 {
		return m
	}
	do(t, s, "quirk baudnow")
	if err := m.SetBaud(t.Context(), baud); err != nil {
		t.Fatal(err)
	}
	return wiredAs(t, s, sensor.Config{Baud: baud})
}

func wiredAs(t testing.TB, s *modsim.Sim, c sensor.Config) *sensor.Module {
	t.Helper()
	m, err := sensor.New(t.Context(), plugIn(t, s), c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
