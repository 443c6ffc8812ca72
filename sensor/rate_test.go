package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
	"periph.io/x/conn/v3/uart/uartreg"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// plug is a port, by name, whose other end is a simulator, on the bubble's clock. Its
// wire is too long for a rate. Two openings speak on it at once while the one ends.
type plug struct {
	t     *testing.T
	s     *modsim.Sim
	every int

	mu   sync.Mutex
	long int // baud: from this rate on every nth byte to the host is damaged; 0 for none
	sent int // bytes to the host at such a rate
}

// pass returns what comes to the host of b at a rate.
func (p *plug) pass(b []byte, baud int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.long == 0 || baud < p.long {
		return b
	}
	b = bytes.Clone(b)
	for i := range b {
		if p.sent++; p.sent%p.every == 0 {
			b[i] ^= 0x10
		}
	}
	return b
}

// mend makes it a good wire.
func (p *plug) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.long = 0
}

// socket opens it for whoever asks uartreg, until the test ends.
func socket(t *testing.T, p *plug) (name string) {
	t.Helper()
	name = fmt.Sprintf("plug %p", p)
	err := uartreg.Register(name, nil, -1, func() (uart.PortCloser, error) { return &plugged{plug: p}, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := uartreg.Unregister(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// plugged is one opening of the port.
type plugged struct {
	*plug
	line *cable
}

func (p *plugged) String() string { return "plug" }

func (p *plugged) Connect(f physic.Frequency, _ uart.Stop, _ uart.Parity, _ uart.Flow, _ int) (conn.Conn, error) {
	p.line = newCable()
	module := &atRate{far{p.line}, p.plug, int(f / physic.Hertz)}
	background(p.t, func(ctx context.Context) error { return p.s.Serve(ctx, module) })
	p.t.Cleanup(func() { p.line.Close() })
	return wire{p.line}, nil
}

func (p *plugged) LimitSpeed(physic.Frequency) error { return nil }

func (p *plugged) Close() error {
	if p.line == nil { // nobody connected
		return nil
	}
	return p.line.Close()
}

// wire is a cable as periph wants it.
type wire struct{ *cable }

func (wire) String() string       { return "wire" }
func (wire) Duplex() conn.Duplex  { return conn.Full }
func (wire) Tx(_, _ []byte) error { return errors.ErrUnsupported }

// atRate is the module's end.
type atRate struct {
	far
	plug *plug
	baud int
}

func (a *atRate) Baud() int { return a.baud }

func (a *atRate) Write(b []byte) (int, error) { return a.far.Write(a.plug.pass(b, a.baud)) }

// settings is how often the module's flash was written.
func settings(t *testing.T, s *modsim.Sim) (n int) {
	t.Helper()
	state, err := s.Command("state")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(state, "settings ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("%q: %v", state, err)
	}
	return n
}

// A rate at which the wire damages bytes is given up, whatever of the way back is
// damaged, and not tried again at the next opening: the module keeps it in flash. One
// that answers nothing that can be understood there is told to go back all the same.
func TestRateThatFailsIsRemembered(t *testing.T) {
	for _, model := range []string{"r503", "r503 nopage", "r503 oldfirmware", "r307", "as608"} {
		for _, every := range []int{3, 5, 7, 11, 13, 15, 16, 17, 18, 19, 21, 23, 26, 29, 31, 37, 90, 200, 700, 1500, 3000} {
			t.Run(fmt.Sprint(model, every), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					name, quirk, _ := strings.Cut(model, " ")
					s := newSim(t, name)
					if quirk != "" {
						do(t, s, "quirk "+quirk)
					}
					c := sensor.Config{Raise: true, Rates: new(sensor.Rates)}
					if name != "r503" {
						c.Power = &power{t: t, s: s}
					}
					p := &plug{t: t, s: s, long: 115200, every: every}
					c.Port = socket(t, p)
					open := func() *sensor.Module {
						m, err := sensor.Open(t.Context(), c)
						if err != nil {
							t.Fatal(err)
						}
						return m
					}
					m := open()
					if i := m.Info(); i.Baud != 57600 || i.BaudSet != 57600 || c.Rates.TooFast != 115200 {
						t.Errorf("at %d baud, %d from the next power-up on, too fast is %d", i.Baud, i.BaudSet, c.Rates.TooFast)
					}
					before := settings(t, s)
					if err := m.Close(); err != nil {
						t.Fatal(err)
					}
					m = open()
					if n := settings(t, s) - before; n != 0 || m.Info().Baud != 57600 {
						t.Errorf("the flash was written %d times at the next opening, which is at %d baud", n, m.Info().Baud)
					}
					// A better cable: whoever sets the rate has it.
					p.mend()
					if err := m.SetBaud(t.Context(), 115200); err != nil {
						t.Fatal(err)
					}
					do(t, s, "unplug", "plug")
					m.Close()
					m = open()
					if m.Info().Baud != 115200 || c.Rates.TooFast != 0 {
						t.Errorf("with a better cable at %d baud, too fast is %d", m.Info().Baud, c.Rates.TooFast)
					}
					m.Close()
				})
			})
		}
	}
}

// Whatever single answer is lost on the way, a module ends at the rate that it was
// raised to: one that was set and not restarted is restarted.
func TestRaisedWhateverAnswerIsLost(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			c := sensor.Config{Raise: true}
			for at := 0; at < 1800; at += 12 {
				s := newSim(t, model)
				do(t, s, fmt.Sprintf("fault out drop %d 12", at))
				c.Port, c.Rates, c.Power = socket(t, &plug{t: t, s: s}), new(sensor.Rates), &power{t: t, s: s}
				m, err := sensor.Open(t.Context(), c)
				if err != nil {
					t.Errorf("%s, %d: %v", model, at, err)
					continue
				}
				if i := m.Info(); i.Baud != 115200 || c.Rates.TooFast != 0 {
					t.Errorf("%s, %d: at %d baud, %d from the next power-up on, too fast is %d", model, at, i.Baud, i.BaudSet, c.Rates.TooFast)
				}
				m.Close()
			}
		})
	}
}

// The fastest rate that is stable is not always one of two: a module that was at 9600
// baud ends at 38400 where the wire carries no more.
func TestFastestStableRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		p := &plug{t: t, s: s, long: 57600, every: 50}
		c := sensor.Config{Port: socket(t, p), Raise: true, Rates: new(sensor.Rates), Baud: 9600}
		m := wired(t, s)
		if err := m.SetBaud(t.Context(), 9600); err != nil {
			t.Fatal(err)
		}
		do(t, s, "unplug", "plug")
		m, err := sensor.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if i := m.Info(); i.Baud != 38400 || i.BaudSet != 38400 || c.Rates.TooFast != 57600 {
			t.Errorf("at %d baud, %d from the next power-up on, too fast is %d", i.Baud, i.BaudSet, c.Rates.TooFast)
		}
	})
}

// A module without an information page is raised like any other, whether it says that
// it has none or nothing.
func TestRaisedWithoutAPage(t *testing.T) {
	for _, model := range []string{"r503", "r307", "as608"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			do(t, s, "quirk nopage")
			c := sensor.Config{Port: socket(t, &plug{t: t, s: s}), Raise: true, Rates: new(sensor.Rates), Power: &power{t: t, s: s}}
			for range 2 {
				m, err := sensor.Open(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if m.Info().Baud != 115200 || c.Rates.TooFast != 0 || settings(t, s) != 1 {
					t.Errorf("%s: at %d baud after %d settings, too fast is %d", model, m.Info().Baud, settings(t, s), c.Rates.TooFast)
				}
				m.Close()
			}
		})
	}
}

// A cut of the power helps a module that hangs, and nothing else.
func TestPowerIsCutWhereItHelps(t *testing.T) {
	for name, c := range map[string]struct {
		before string
		asked  sensor.Config
		cuts   int
		want   error
	}{
		"hung":            {"hang", sensor.Config{}, 1, nil},
		"another address": {"quirk foreign", sensor.Config{Address: 0x12345678}, 0, new(sensor.AddressError)},
		"password":        {"", sensor.Config{Password: 7}, 0, sensor.ErrPassword},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			if c.before != "" {
				do(t, s, c.before)
			}
			if c.want == sensor.ErrPassword {
				if err := wired(t, s).SetPassword(t.Context(), 9); err != nil {
					t.Fatal(err)
				}
			}
			p := &power{t: t, s: s}
			c.asked.Port, c.asked.Power = socket(t, &plug{t: t, s: s}), p
			m, err := sensor.Open(t.Context(), c.asked)
			if address := (*sensor.AddressError)(nil); p.cuts != c.cuts || c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) && !errors.As(err, &address) {
				t.Errorf("%s: %d cuts, %v", name, p.cuts, err)
			}
			if m != nil {
				m.Close()
			}
		})
	}
}
