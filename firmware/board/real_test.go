//go:build linux

package board

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board/boardtest"
	"github.com/faceprint/faceprint/sensor/tty"
)

// The board's own C, built for this machine: the same loader and application,
// without the processor.
var buildHost = sync.OnceValue(func() error {
	if out, err := exec.Command("make", "-s", "-C", "..", "build/host/guard-host").CombinedOutput(); err != nil {
		return fmt.Errorf("make -C firmware build/host/guard-host: %w\n%s", err, out)
	}
	return nil
})

// real is a board that runs the C.
type real struct {
	t    *testing.T
	in   io.WriteCloser
	out  chan string // its outputs as they change
	port string
}

// startReal starts one on a pseudo terminal, which any program could open.
func startReal(t *testing.T) *real {
	t.Helper()
	if err := buildHost(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &real{t: t, out: make(chan string, 1000), port: filepath.Join(dir, "tty")}
	c := exec.Command("../build/host/guard-host", "--pty", r.port, "--flash", filepath.Join(dir, "flash"))
	var err error
	if r.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.out <- s.Text()
		}
		_ = c.Wait()
	}()
	t.Cleanup(func() { r.say("quit"); <-ended })
	r.wait("ready ")
	return r
}

func (r *real) say(command string) { fmt.Fprintln(r.in, command) }

// wait waits until the board says something.
func (r *real) wait(what string) {
	r.t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		select {
		case line := <-r.out:
			if strings.HasPrefix(line, what) {
				return
			}
		case <-timeout:
			r.t.Fatalf("the board never says %q", what)
		}
	}
}

func (r *real) open() *tty.Line {
	r.t.Helper()
	line, err := tty.OpenLine(r.port, Baud)
	if err != nil {
		r.t.Fatal(err)
	}
	return line
}

// flash updates the board over a line of its own, which is cut after so many
// bytes to the board; negative for never.
func (r *real) flash(v firmware.Version, quota int) (Flashed, error) {
	line := r.open()
	defer line.Close()
	u := Update{Images: []*firmware.Image{boardtest.Image("host", 'A', v, 5000), boardtest.Image("host", 'B', v, 5000)}, Key: key}
	return Flash(r.t.Context(), &cutLine{Line: line, quota: quota}, u)
}

// cutLine is a line whose cable is pulled.
type cutLine struct {
	*tty.Line
	quota int
}

func (l *cutLine) Write(b []byte) (int, error) {
	if l.quota < 0 {
		return l.Line.Write(b)
	}
	n := min(len(b), l.quota)
	_, err := l.Line.Write(b[:n])
	if l.quota -= n; l.quota == 0 {
		_ = l.Line.Close()
		return n, tty.ErrGone
	}
	return n, err
}

func TestRealBoardIsFlashedPairedAndOpens(t *testing.T) {
	r := startReal(t)
	done, err := r.flash(1<<24, -1)
	if err != nil || !done.Confirmed || done.Slot != 'A' {
		t.Fatalf("%+v %v", done, err)
	}
	line := r.open()
	defer line.Close()
	c := New(line)
	var refused *Refused
	if _, err := c.Pair(t.Context(), key); !errors.As(err, &refused) || refused.Code != Presence {
		t.Fatalf("nobody pressed the button: %v", err)
	}
	r.say("service press")
	for _, err = c.Pair(t.Context(), key); errors.As(err, &refused) && refused.Code == Presence; { // until it is debounced
		_, err = c.Pair(t.Context(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.say("service release")
	if _, _, err := c.Hello(t.Context(), bytes.Repeat([]byte{1}, KeySize)); !errors.Is(err, ErrForged) {
		t.Errorf("another key: %v", err)
	}
	if _, _, err := c.Hello(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Unlock(t.Context(), 500*time.Millisecond); err != nil || s.Lock != LockGranted {
		t.Fatalf("%+v %v", s, err)
	}
	r.wait("lock 1")
	r.wait("lock 0")
	if s, err := c.SelfTest(t.Context()); err != nil || len(s.Failed()) > 0 {
		t.Errorf("%+v %v", s, err)
	}
	e, err := c.Events(t.Context(), 0)
	if err != nil || len(e.Events) == 0 || e.Events[0].String() != "start power" {
		t.Errorf("%v %v", e, err)
	}
	// Without a heartbeat the lock falls, whatever hold was asked for.
	if _, err := c.Unlock(t.Context(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	r.wait("lock 1")
	r.wait("lock 0")
	r.say("power cycle")
	r.wait("start application")
	if _, err := c.Beat(t.Context()); !errors.Is(err, ErrSession) {
		t.Errorf("after a power cut: %v", err)
	}
	if _, _, err := c.Hello(t.Context(), key); err != nil {
		t.Errorf("a new session: %v", err)
	}
}

// The cable is pulled in the middle of an update of the real loader; the next
// one succeeds, and the board never lacks an image.
func TestRealBoardSurvivesAPulledCable(t *testing.T) {
	r := startReal(t)
	if _, err := r.flash(1<<24, -1); err != nil {
		t.Fatal(err)
	}
	for i, quota := range []int{3, 40, 700, 3000, 5400} {
		if done, err := r.flash(1<<24+firmware.Version(2*i+1), quota); err == nil {
			t.Fatalf("cut after %d bytes: %+v", quota, done)
		}
		v := 1<<24 + firmware.Version(2*i+2)
		if done, err := r.flash(v, -1); err != nil || !done.Confirmed || done.To != v {
			t.Fatalf("after a cut at %d bytes: %+v %v", quota, done, err)
		}
	}
}
