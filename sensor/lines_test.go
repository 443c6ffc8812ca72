package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/sensor/tty"
)

// wakeLine is the module's WAKEUP wire in memory.
type wakeLine struct {
	mu      sync.Mutex
	touched bool
	broken  bool // says nothing any more
	change  chan struct{}
}

func (w *wakeLine) set(touched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return
	}
	w.touched = touched
	select {
	case w.change <- struct{}{}:
	default:
	}
}

func (w *wakeLine) Touched() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.touched
}

func (w *wakeLine) Wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.change:
	case <-t.C:
	case <-ctx.Done():
	}
}

// With a wake line an idle reader hardly uses the wire, a touch is noticed at
// once, and one that broke only costs time.
func TestWakeLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &wakeLine{change: make(chan struct{}, 1)}
		s, err := modsim.New(modsim.Config{Wake: wire.set})
		if err != nil {
			t.Fatal(err)
		}
		m := wiredAs(t, s, sensor.Config{Baud: 57600, Wake: wire})
		scan := func(after time.Duration, touch string) (took time.Duration, commands uint64) {
			before := m.Stats().Commands
			touching := time.AfterFunc(after, func() { do(t, s, touch) })
			defer touching.Stop()
			start := time.Now()
			if _, err := m.Scan(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(start) - after, m.Stats().Commands - before
		}
		took, commands := scan(10*time.Minute, "touch alice thumb")
		if took > 400*time.Millisecond { // picture and features take 300 ms
			t.Errorf("a touch was noticed after %v", took)
		}
		if most := uint64(10*time.Minute/(2*time.Second) + 3); commands > most {
			t.Errorf("%d instructions in ten idle minutes, at most %d", commands, most)
		}
		do(t, s, "lift")
		template := enrol(t, m, s, "alice", "thumb") // lifts are seen, too
		do(t, s, "touch alice thumb")
		if ok, err := attempt(t, m, template, time.Minute); !ok {
			t.Errorf("after an enrolment with a wake line: %v", err)
		}
		do(t, s, "lift")
		for _, stuck := range []bool{false, true} { // the wire came off, or is shorted
			wire.set(stuck)
			wire.mu.Lock()
			wire.broken = true
			wire.mu.Unlock()
			if took, _ := scan(time.Minute, "touch alice thumb"); took > 3*time.Second {
				t.Errorf("with a wake line stuck at %v a touch was noticed after %v", stuck, took)
			}
			do(t, s, "lift")
			wire.mu.Lock()
			wire.broken = false
			wire.mu.Unlock()
		}
	})
}

// power cuts a simulated module's.
type power struct {
	t    *testing.T
	s    *modsim.Sim
	cuts int
}

func (p *power) Cycle(context.Context) error {
	p.cuts++
	do(p.t, p.s, "unplug", "plug")
	return nil
}

// A module that hangs is found again where its power can be cut, and one that
// takes a new rate at its next power-up only gets that at once.
func TestPowerIsCut(t *testing.T) {
	t.Parallel()
	s := newSim(t, "r307")
	p := &power{t: t, s: s}
	do(t, s, "hang")
	m, err := terminal(t, s, sensor.Config{Power: p, Raise: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Info().Baud; got != 115200 || p.cuts != 2 {
		t.Errorf("at %d baud after %d cuts, want 115200 after 2", got, p.cuts)
	}
	do(t, s, "hang")
	if _, err := terminal(t, s, sensor.Config{Baud: 115200}); err == nil {
		t.Error("it answers while it hangs")
	}
}

// Where the answer to a new rate is lost, for it came at that rate or not at all, the
// module is looked for at both.
func TestLostAnswerToANewRate(t *testing.T) {
	t.Parallel()
	for quirk, want := range map[string]int{"baudnow": 115200, "baudnow off": 57600} {
		s := newSim(t, "r307")
		// VfyPwd, ReadSysPara, ReadProdInfo and LightOff are answered before.
		do(t, s, "quirk "+quirk, fmt.Sprintf("fault out drop %d 12", 12+28+12+12))
		m, err := terminal(t, s, sensor.Config{Raise: true})
		if err != nil {
			t.Errorf("%s: %v", quirk, err)
		} else if got := m.Info().Baud; got != want {
			t.Errorf("%s: found at %d baud, want %d", quirk, got, want)
		}
	}
}

// What speaks on the line in a module's place is named, through a real port.
func TestStrangersAreNamed(t *testing.T) {
	says := func(text string) func([]byte) string { return func([]byte) string { return text } }
	refuses := func(asked []byte) string { // the right password, and then 21 for ever
		if bytes.Contains(asked, []byte("\xef\x01\xff\xff\xff\xff\x01\x00\x07\x13")) {
			return "\xef\x01\xff\xff\xff\xff\x07\x00\x03\x00\x00\x0a"
		}
		return "\xef\x01\xff\xff\xff\xff\x07\x00\x03\x21\x00\x2b"
	}
	for name, c := range map[string]struct {
		says func(asked []byte) string
		want string
	}{
		"echo":    {func(asked []byte) string { return string(asked) }, "TX and RX are joined"},
		"refuses": {refuses, "a fingerprint module answers at 57600 baud and cannot be used"},
		"gps":     {says("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"), "satellite receiver"},
		"ubx":     {says("\xb5\x62\x01\x03\x10\x00\x80\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x9a\x3c"), "a satellite receiver (UBX)"},
		"console": {says("\r\nraspberrypi login: "), "no login shell"},
		"modem":   {says("\r\nERROR\r\n"), "a modem"},
		"noise":   {says("\x80\x00\xf8\x78\x80"), "noise"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer slave.Close()
			// On the runtime's poller, where closing it ends a read.
			fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
			end := os.NewFile(uintptr(fd), "master")
			// It answers whatever it is sent, as a login prompt and a modem do.
			var speaking sync.WaitGroup
			defer speaking.Wait()
			defer end.Close()
			speaking.Go(func() {
				var b [64]byte
				for {
					n, err := end.Read(b[:])
					if err != nil {
						return
					}
					time.Sleep(10 * time.Millisecond) // what comes sooner than the wire carries it is no answer
					if _, err := end.WriteString(c.says(b[:n])); err != nil {
						return
					}
				}
			})
			if err := tty.Register(slave.Name()); err != nil {
				t.Fatal(err)
			}
			_, err = sensor.Open(t.Context(), sensor.Config{Port: slave.Name(), Baud: 57600})
			if !errors.Is(err, sensor.ErrNoModule) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
}

// A program that reads the port and takes no lock is named, where no module answers.
func TestReaderIsNamed(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := tty.Register(slave.Name()); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		_, err := sensor.Open(t.Context(), sensor.Config{Port: slave.Name(), Baud: 57600})
		return err
	}
	if err := open(); !errors.Is(err, sensor.ErrNoModule) || errors.Is(err, tty.ErrBusy) {
		t.Errorf("with nobody else there: %v", err)
	}
	reader := exec.CommandContext(t.Context(), "cat")
	reader.Stdin = slave
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	defer reader.Wait()
	defer reader.Process.Kill()
	if err := open(); !errors.Is(err, sensor.ErrNoModule) || !errors.Is(err, tty.ErrBusy) || !strings.Contains(err.Error(), "cat (process ") {
		t.Errorf("with cat there: %v", err)
	}
	// Whoever is at the other end of a pseudo terminal is no rival.
	other := exec.CommandContext(t.Context(), "sleep", "60")
	other.Stdin, other.Stdout = slave, master
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	if err := open(); err == nil || strings.Contains(err.Error(), "sleep") {
		t.Errorf("with the other end there: %v", err)
	}
}

// So is it where a module answers that cannot be used: what the other takes is
// missing.
func TestReaderIsNamedBeforeTheModuleIsBlamed(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	background(t, func(context.Context) error {
		buf := make([]byte, 512)
		var in sensor.Reassembler
		for {
			n, err := master.Read(buf)
			if err != nil {
				return nil
			}
			in.Write(buf[:n])
			p, err := in.Next()
			if err != nil {
				continue
			}
			answer := []byte{0} // and a library of no slots
			if sensor.Instruction(p.Content[0]) == sensor.ReadSysPara {
				answer = make([]byte, 17)
			}
			time.Sleep(10 * time.Millisecond) // the wire's time
			b, err := sensor.AppendPacket(nil, sensor.Packet{Address: p.Address, PID: sensor.PIDAck, Content: answer})
			if err != nil {
				return err
			}
			if _, err := master.Write(b); err != nil {
				return nil
			}
		}
	})
	defer master.Close()
	if err := tty.Register(slave.Name()); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		_, err := sensor.Open(t.Context(), sensor.Config{Port: slave.Name(), Baud: 57600})
		return err
	}
	if err := open(); !errors.Is(err, sensor.ErrNoModule) || errors.Is(err, tty.ErrBusy) || !strings.Contains(err.Error(), "cannot be used: at 57600 baud: ReadSysPara: ") {
		t.Errorf("with nobody else there: %v", err)
	}
	other := exec.CommandContext(t.Context(), "sleep", "60")
	other.Stdin = slave
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	if err := open(); !errors.Is(err, tty.ErrBusy) || !strings.Contains(err.Error(), "sleep (process ") {
		t.Errorf("with another program there: %v", err)
	}
}
