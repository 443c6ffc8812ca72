package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/sensor/tty"
)

// atOnce returns at once: the simulator's own pace is not what these tests test.
func atOnce(context.Context, time.Duration) {}

func newSim(t *testing.T, model string) *modsim.Sim {
	t.Helper()
	s, err := modsim.New(modsim.Config{Model: model, Seed: 1, Sleep: atOnce})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func do(t *testing.T, s *modsim.Sim, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if _, err := s.Command(c); err != nil {
			t.Fatal(err)
		}
	}
}

// background runs f until the test ends, and waits for it.
func background(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// pipe connects a driver to the simulator without a terminal between them.
func pipe(t *testing.T, s *modsim.Sim) *sensor.Module {
	t.Helper()
	host, module := net.Pipe()
	background(t, func(ctx context.Context) error { return s.Serve(ctx, module) })
	t.Cleanup(func() { host.Close(); module.Close() })
	m, err := sensor.New(t.Context(), host, sensor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// terminal connects it over a real pty, opened by name through uartreg.
func terminal(t *testing.T, s *modsim.Sim, c sensor.Config) (*sensor.Module, error) {
	t.Helper()
	p, err := modsim.OpenPTY(filepath.Join(t.TempDir(), "module"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	background(t, func(ctx context.Context) error { return p.Serve(ctx, s) })
	if err := tty.Register(p.Path()); err != nil {
		t.Fatal(err)
	}
	c.Port = p.Path()
	m, err := sensor.Open(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// enrol takes the captures of a finger that is lifted when asked to.
func enrol(t *testing.T, m *sensor.Module, s *modsim.Sim, person, finger string) []byte {
	t.Helper()
	template, err := m.Enrol(t.Context(), 0, follow(t, s, "touch "+person+" "+finger))
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func follow(t *testing.T, s *modsim.Sim, touch string) func(sensor.EnrolStep) {
	return func(step sensor.EnrolStep) {
		switch step.Hint {
		case sensor.HintNoFinger:
			do(t, s, touch)
		case sensor.HintLift:
			do(t, s, "lift")
		}
	}
}

func TestEnrolAndMatch(t *testing.T) {
	for model := range modsim.Personalities {
		t.Run(model, func(t *testing.T) {
			s := newSim(t, model)
			m, err := terminal(t, s, sensor.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Info().Capacity; got != modsim.Personalities[model].Capacity {
				t.Errorf("capacity %d", got)
			}
			template := enrol(t, m, s, "alice", "right-index")
			for touch, want := range map[string]bool{"alice right-index": true, "alice left-index": false, "bob right-index": false} {
				do(t, s, "touch "+touch)
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				score, err := m.Match(t.Context(), probe, template)
				if err != nil {
					t.Fatal(err)
				}
				if (score > 0) != want || (m.FMR(score) < 1) != want {
					t.Errorf("%s: score %v, FMR %v", touch, score, m.FMR(score))
				}
			}
			if n, err := m.TemplateCount(t.Context()); err != nil || n != 0 {
				t.Errorf("%d templates rest in the module (%v)", n, err)
			}
		})
	}
}

func TestTemplateOfAnotherFamilyNeverMatches(t *testing.T) {
	a, b := newSim(t, "r307"), newSim(t, "as608")
	template := enrol(t, pipe(t, a), a, "alice", "thumb")
	m := pipe(t, b)
	do(t, b, "touch alice thumb")
	probe, err := m.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if score, err := m.Match(t.Context(), probe, template); err != nil || score != 0 {
		t.Errorf("score %v, %v", score, err)
	}
}

func TestStaleProbeIsRefused(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	template := enrol(t, m, s, "alice", "thumb")
	do(t, s, "touch alice thumb")
	first, err := m.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "touch mallory thumb")
	if _, err := m.Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, probe := range []sensor.Print{first, {}} {
		if score, err := m.Match(t.Context(), probe, template); !errors.Is(err, sensor.ErrStale) || score != 0 {
			t.Errorf("score %v, error %v", score, err)
		}
	}
}

func TestBlankTemplatesAreRefused(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	do(t, s, "touch alice thumb")
	probe, err := m.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, template := range [][]byte{nil, make([]byte, 1536), bytes.Repeat([]byte{0xFF}, 1536), make([]byte, 10), make([]byte, 1<<20)} {
		if score, err := m.Match(t.Context(), probe, template); !errors.Is(err, sensor.ErrTemplate) || score != 0 {
			t.Errorf("%d bytes: score %v, error %v", len(template), score, err)
		}
	}
}

func TestRetries(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	do(t, s, "touch alice thumb 0.1")
	_, err := m.Scan(t.Context())
	wantRetry(t, err, sensor.HintFlat)

	do(t, s, "lift")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	_, err = m.Scan(ctx)
	wantRetry(t, err, sensor.HintNoFinger)

	// The next instruction works as if nothing had been.
	do(t, s, "touch alice thumb")
	if _, err := m.Scan(t.Context()); err != nil {
		t.Error(err)
	}
}

func wantRetry(t *testing.T, err error, want sensor.Hint) {
	t.Helper()
	r := (*sensor.RetryError)(nil)
	if !errors.As(err, &r) || r.Hint != want {
		t.Errorf("got %v, want the hint %s", err, want)
	}
}

func TestDifferentFingersDoNotEnrol(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	fingers := []string{"thumb", "index"}
	i := 0
	_, err := m.Enrol(t.Context(), 4, func(step sensor.EnrolStep) {
		switch step.Hint {
		case sensor.HintNoFinger:
			do(t, s, "touch alice "+fingers[i%2])
			i++
		case sensor.HintLift:
			do(t, s, "lift")
		}
	})
	wantRetry(t, err, sensor.HintSame)
}

func TestCancelledScanLeavesNoLateAnswer(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Scan(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled scan: %v", err)
	}
	if err := m.HandShake(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUnpluggedModuleIsAFault(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	do(t, s, "touch alice thumb", "unplug")
	_, err := m.Scan(t.Context())
	if r := (*sensor.RetryError)(nil); err == nil || errors.As(err, &r) || !errors.Is(err, sensor.ErrTimeout) {
		t.Errorf("scan of an unplugged module: %v", err)
	}
	do(t, s, "plug")
	if _, err := m.Scan(t.Context()); err != nil {
		t.Errorf("plugged in again: %v", err)
	}
}

func TestForgottenPasswordIsVerifiedAgain(t *testing.T) {
	s := newSim(t, "r503")
	host, module := net.Pipe()
	background(t, func(ctx context.Context) error { return s.Serve(ctx, module) })
	t.Cleanup(func() { host.Close(); module.Close() })
	setPassword(t, host, 0x12345678)
	m, err := sensor.New(t.Context(), host, sensor.Config{Password: 0x12345678})
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "touch alice thumb", "unplug", "plug") // power was cut: 21 from now on
	if _, err := m.Scan(t.Context()); err != nil {
		t.Error(err)
	}
	if got := m.Stats().Reverifys; got != 1 {
		t.Errorf("%d re-verifications", got)
	}
	if _, err := sensor.New(t.Context(), host, sensor.Config{Password: 1}); !errors.Is(err, sensor.ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
}

func setPassword(t *testing.T, line io.ReadWriter, password uint32) {
	t.Helper()
	p := []byte{byte(sensor.SetPwd), byte(password >> 24), byte(password >> 16), byte(password >> 8), byte(password)}
	b, err := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDCommand, Content: p})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := line.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(line, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
}

// A line that garbles bytes may fail an attempt; it must never make another
// finger match.
func TestGarbledLineNeverMatchesAnother(t *testing.T) {
	s := newSim(t, "r503")
	m := pipe(t, s)
	template := enrol(t, m, s, "alice", "thumb")
	do(t, s, "touch mallory thumb", "garble 1%")
	for range 10 {
		probe, err := m.Scan(t.Context())
		if err != nil {
			continue
		}
		if score, err := m.Match(t.Context(), probe, template); err == nil && score != 0 {
			t.Fatalf("mallory scores %v", score)
		}
	}
	do(t, s, "garble 0", "touch alice thumb")
	probe, err := m.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if score, err := m.Match(t.Context(), probe, template); err != nil || score == 0 {
		t.Errorf("after the fault: score %v, %v", score, err)
	}
}

func TestPortsThatAreNoModule(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such port", plain: "no serial port"} {
		if err := tty.Register(path); err != nil {
			t.Fatal(err)
		}
		_, err := sensor.Open(t.Context(), sensor.Config{Port: path})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestSilentPortIsNoModule(t *testing.T) {
	s := newSim(t, "r503")
	do(t, s, "mute")
	_, err := terminal(t, s, sensor.Config{Baud: 57600})
	if !errors.Is(err, sensor.ErrNoModule) {
		t.Errorf("a silent port: %v", err)
	}
}

func TestPortIsExclusive(t *testing.T) {
	s := newSim(t, "r503")
	m, err := terminal(t, s, sensor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tty.Open(m.Info().Port); !errors.Is(err, tty.ErrBusy) {
		t.Errorf("second opening: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := tty.Open(m.Info().Port)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	p.Close()
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := m.Scan(t.Context()); !errors.Is(err, sensor.ErrGone) && !errors.Is(err, tty.ErrGone) {
		t.Errorf("scan after Close: %v", err)
	}
}
