package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/sensor/tty"
)

// A port that fails is tried again until the daemon stops: a thousand times leave no
// descriptor behind, however it fails. Not even until the collector runs, which is
// held off here.
func TestNoDescriptorLeaks(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	terminal := func() (master, slave *os.File) {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { master.Close(); slave.Close() })
		return master, slave
	}
	_, silent := terminal()
	_, busy := terminal()
	held, err := tty.Open(busy.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	gone, end := terminal()
	gone.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name, port string
		ctx        context.Context
		baud       int
		want       error
		times      int
	}{
		{"missing", filepath.Join(dir, "none"), t.Context(), 0, tty.ErrNoPort, 1000},
		{"no port", file, t.Context(), 0, nil, 1000},
		{"busy", busy.Name(), t.Context(), 0, tty.ErrBusy, 5}, // each looks through /proc
		{"gone", end.Name(), t.Context(), 0, nil, 1000},
		{"cancelled", silent.Name(), ended, 0, context.Canceled, 1000},
		{"no such rate", silent.Name(), t.Context(), 12345, nil, 1}, // the same, with who else has it
		{"silent", silent.Name(), t.Context(), 57600, sensor.ErrNoModule, 1},
	} {
		if err := tty.Register(c.port); err != nil {
			t.Fatal(err)
		}
		before := open()
		for range c.times {
			if _, err := sensor.Open(c.ctx, sensor.Config{Port: c.port, Baud: c.baud}); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if after := open(); after != before {
			t.Errorf("%s: %d descriptors after %d openings, %d before", c.name, after, c.times, before)
		}
	}
}

// A module that is opened and closed leaves none either.
func TestNoDescriptorLeaksOfAModule(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s := newSim(t, "r503")
	p, err := modsim.OpenPTY("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	background(t, func(ctx context.Context) error { return p.Serve(ctx, s) })
	if err := tty.Register(p.Path()); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := 0
	for i := range 4 {
		m, err := sensor.Open(t.Context(), sensor.Config{Port: p.Path(), Baud: 57600})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			before = count() // the poller has its own by then
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d after the first opening", after, before)
	}
}

// brittle is a line whose plug is pulled after so many bytes, either way.
type brittle struct {
	*cable
	mu   sync.Mutex
	left int // -1: never
	used int
}

func (b *brittle) pass(n int) (most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	if b.left < 0 {
		return n
	}
	most = min(n, b.left)
	if b.left -= most; b.left == 0 {
		b.cable.Close()
	}
	return most
}

func (b *brittle) Write(p []byte) (int, error) {
	n, err := b.cable.Write(p[:b.pass(len(p))])
	if err == nil && n < len(p) {
		err = io.ErrClosedPipe
	}
	return n, err
}

func (b *brittle) Read(p []byte) (int, error) {
	n, err := b.cable.Read(p)
	return b.pass(n), err
}

// The plug is pulled at every byte of a whole session: introduction, enrolment, a
// comparison, a search, a picture. It ends with ErrGone and says so at once, and
// nobody is let in.
func TestUnpluggedAtEveryByte(t *testing.T) {
	session := func(t *testing.T, left int) (used int, err error) {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r307")
			do(t, s, "touch alice thumb")
			line := &brittle{cable: plugIn(t, s), left: left}
			start := time.Now()
			err = func() error {
				m, err := sensor.New(t.Context(), line, sensor.Config{Baud: 57600})
				if err != nil {
					return err
				}
				template, err := m.Enrol(t.Context(), 0, follow(t, s, "touch alice thumb"))
				if err != nil {
					return err
				}
				do(t, s, "touch alice thumb")
				p, err := m.Scan(t.Context())
				if err != nil {
					return err
				}
				if at, score, err := m.Identify(t.Context(), p, [][]byte{template}); err != nil {
					if at != -1 || score != 0 {
						t.Errorf("after %d bytes: %d, %g and %v", left, at, score, err)
					}
					return err
				}
				if err := m.Purge(t.Context()); err != nil {
					return err
				}
				if _, err := m.InfoPage(t.Context()); err != nil {
					return err
				}
				return m.HandShake(t.Context())
			}()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("after %d bytes: it took %v", left, took)
			}
			used = line.used
		})
		return used, err
	}
	all, err := session(t, -1)
	if err != nil {
		t.Fatal(err)
	}
	for left := 1; left < all; left += 1 + left/40 { // every byte of what is asked first
		if _, err := session(t, left); !errors.Is(err, sensor.ErrGone) {
			t.Errorf("pulled after %d of %d bytes: %v", left, all, err)
		}
	}
}

// A print is good for the opening that it was taken in alone, though both count
// their scans.
func TestPrintOfAnotherOpeningIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "mallory", "thumb")
		scan := func(who string) (*sensor.Module, sensor.Print) {
			m := wired(t, s)
			do(t, s, "touch "+who+" thumb")
			p, err := m.Scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return m, p
		}
		_, alice := scan("alice")
		m, _ = scan("mallory")
		if score, err := m.Match(t.Context(), alice, template); score != 0 || !errors.Is(err, sensor.ErrStale) {
			t.Errorf("score %g: %v", score, err)
		}
	})
}

// A library of more slots than ReadIndexTable tells of is used as far as that goes.
func TestLibraryBeyondItsIndex(t *testing.T) {
	p := modsim.Personalities["r307"]
	p.Capacity = 3000
	modsim.Personalities["big"] = p
	defer delete(modsim.Personalities, "big")
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "big")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "thumb")
		templates := make([][]byte, 1024+sensor.MaxBeyond+1)
		for i := range templates {
			templates[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8), 3}, 256)
		}
		templates[500] = template
		search := func(templates [][]byte) (int, error) {
			do(t, s, "touch alice thumb")
			probe, err := m.Scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at, _, err := m.Identify(t.Context(), probe, templates)
			return at, err
		}
		if at, err := search(templates[:1024+1]); at != 500 || err != nil {
			t.Errorf("%d, %v", at, err)
		}
		if _, err := search(templates); !errors.Is(err, sensor.ErrTemplate) {
			t.Errorf("%d: %v", len(templates), err)
		}
	})
}
