package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware/qemu"
)

// firmwareVariable names the folder of the built firmware.
const firmwareVariable = "FACEPRINT_FIRMWARE"

func (t *tool) simBoard() *cobra.Command {
	var dir, built string
	var host bool
	c := &cobra.Command{
		Use:   "board",
		Short: "Start an emulated guard board: the real loader and application in QEMU",
		Long: `Start an emulated guard board and serve its serial line on a unix socket until
"quit" or Ctrl-C. It runs the very loader and application that 'make firmware'
builds for the micro:bit, in QEMU; where QEMU is missing, or with --host, the
same C built for this machine, and says so. Its flash is kept in --dir: each
change within a quarter of a second, and at the end.

Commands, one a line:
  door open|close      the door contact
  exit press|release   the exit button
  service press|release
  tamper open|close
  reset                pull the reset line (QEMU) or the plug (host)
  cut                  cut the power at this moment, and switch it on again; what
                       the flash holds by then is all that is left
  quit

What the lock, the lamp and the buzzer do is printed as it changes; that the lamp
blinks is printed once.`,
		Example: "  faceprint sim board --dir /tmp/board\n  faceprint flash firmware/build/microbit/app.fpb --port unix:/tmp/board/serial.sock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usage("name a folder for the board's flash and socket: --dir")
			}
			if built == "" {
				built = firmwareDir()
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(abs, 0o700); err != nil {
				return err
			}
			unlock, err := alone(abs)
			if err != nil {
				return err
			}
			defer unlock()
			b := &simulated{t: t, dir: abs, built: built}
			if err := qemu.Available(); err != nil && !host {
				t.progress("%v: this is the host build, the same C without the processor", err)
				host = true
			}
			if host {
				return b.runHost(cmd.Context())
			}
			return b.runQEMU(cmd.Context())
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder of the board's flash and its socket")
	c.Flags().StringVar(&built, "firmware", "", "folder of the built firmware; also "+firmwareVariable)
	c.Flags().BoolVar(&host, "host", false, "the host build, also where QEMU is installed")
	return c
}

// alone keeps a folder for one board, so that none takes another's socket away.
func alone(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("%s is in use by another 'faceprint sim board'; name another folder with --dir", dir), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// firmwareDir is where the firmware was built or installed.
func firmwareDir() string {
	for _, dir := range []string{os.Getenv(firmwareVariable), filepath.Join("firmware", "build"), "/usr/share/faceprint/firmware"} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return filepath.Join("firmware", "build")
}

// simulated is one emulated board.
type simulated struct {
	t          *tool
	dir, built string
}

func (b *simulated) file(name string) string { return filepath.Join(b.dir, name) }

func (b *simulated) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the firmware is not built: %w; run 'make firmware', or name its folder with --firmware", err)
	}
	return err
}

// ready tells where the board is.
func (b *simulated) ready(kind, socket string) {
	fmt.Fprintf(b.t.out, "ready unix:%s (%s)\n", socket, kind)
}

// lines reads commands until the input or the context ends. A read that waits
// ends with the program.
func (b *simulated) lines(ctx context.Context) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(b.t.in); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

func (b *simulated) runHost(ctx context.Context) error {
	program := filepath.Join(b.built, "host", "guard-host")
	if _, err := os.Stat(program); err != nil {
		return b.missing(err)
	}
	socket := b.file("serial.sock")
	_ = os.Remove(socket) // of one that was killed
	guard := exec.CommandContext(ctx, program, "--socket", socket, "--flash", b.file("host.flash"))
	guard.Cancel = func() error { return guard.Process.Signal(os.Interrupt) }
	guard.WaitDelay = 2 * time.Second
	guard.Stderr = b.t.err
	in, err := guard.StdinPipe()
	if err != nil {
		return err
	}
	out, err := guard.StdoutPipe()
	if err != nil {
		return err
	}
	if err := guard.Start(); err != nil {
		return b.missing(err)
	}
	lines := b.lines(ctx)
	go func() { // ends with the lines, or with the program
		for line := range lines {
			if line == "reset" || line == "cut" {
				line = "power cycle"
			}
			if _, err := fmt.Fprintln(in, line); err != nil {
				return
			}
		}
	}()
	for s := bufio.NewScanner(out); s.Scan(); {
		if text := s.Text(); strings.HasPrefix(text, "ready ") {
			b.ready("host build", socket)
		} else {
			fmt.Fprintln(b.t.out, text)
		}
	}
	if err := guard.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// lookAtPins is how often the emulator is asked for the output pins.
const lookAtPins = 50 * time.Millisecond

var simInputs = map[string]struct {
	input qemu.Input
	high  bool
}{
	"door open": {qemu.DoorOpen, true}, "door close": {qemu.DoorOpen, false},
	"exit press": {qemu.ExitPressed, true}, "exit release": {qemu.ExitPressed, false},
	"service press": {qemu.ServicePressed, true}, "service release": {qemu.ServicePressed, false},
	"tamper open": {qemu.TamperOpen, true}, "tamper close": {qemu.TamperOpen, false},
}

// keepEvery is how often the emulator's flash is looked at and kept.
const keepEvery = 250 * time.Millisecond

// errCut ends one machine; the next starts with what its flash held.
var errCut = errors.New("the power is cut")

func (b *simulated) runQEMU(ctx context.Context) error {
	flash, err := os.ReadFile(b.file("microbit.flash"))
	if errors.Is(err, fs.ErrNotExist) {
		loader, e := os.ReadFile(filepath.Join(b.built, "microbit", "loader.bin"))
		if e != nil {
			return b.missing(e)
		}
		flash, err = qemu.Blank(loader), nil
	}
	if err != nil {
		return err
	}
	m := &machine{simulated: b, flash: flash, lines: b.lines(ctx), levels: map[qemu.Input]bool{}}
	for err = m.run(ctx); errors.Is(err, errCut); err = m.run(ctx) {
		fmt.Fprintln(b.t.out, "power cut")
	}
	return err
}

// machine is the emulated board over power cuts.
type machine struct {
	*simulated
	lines  <-chan string
	flash  []byte              // as it is kept
	levels map[qemu.Input]bool // of the inputs, which know nothing of the board's power
}

// run is the board from power-on to the end of its power.
func (m *machine) run(ctx context.Context) (err error) {
	q, err := qemu.Start(ctx, m.dir, m.flash)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	socket := m.file("serial.sock")
	_ = os.Remove(socket)
	if err := os.Symlink(q.Serial(), socket); err != nil {
		return err
	}
	defer os.Remove(socket)
	for in, high := range m.levels {
		if err := q.SetInput(in, high); err != nil {
			return err
		}
	}
	if err := q.Run(); err != nil {
		return err
	}
	m.ready("QEMU, micro:bit", socket)
	err = m.attend(ctx, q)
	// The flash outlives the board, as a real one's does. Of an emulator that was
	// killed, what was kept is there.
	select {
	case <-q.Done():
		return err
	default:
		return errors.Join(err, m.keep(q))
	}
}

// keep writes the flash down where it changed.
func (m *machine) keep(q *qemu.Board) error {
	now, err := q.Flash()
	if err != nil || bytes.Equal(now, m.flash) {
		return err
	}
	m.flash = now
	return outfile.Write(m.file("microbit.flash"), now, 0o600)
}

func (m *machine) attend(ctx context.Context, q *qemu.Board) error {
	look, keep := time.NewTicker(lookAtPins), time.NewTicker(keepEvery)
	defer look.Stop()
	defer keep.Stop()
	var before qemu.Outputs
	var lamp lamp
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-q.Done():
			return errors.New("the emulator ended; its flash is kept as of the last quarter of a second")
		case <-keep.C:
			err = m.keep(q)
		case <-look.C:
			var now qemu.Outputs
			if now, err = q.Outputs(); err == nil {
				printPins(m.t.out, before, now)
				lamp.see(m.t.out, now.Lamp, time.Now())
				before = now
			}
		case line, ok := <-m.lines:
			if !ok {
				m.lines = nil // no more commands; the board goes on
				continue
			}
			in, known := simInputs[line]
			switch {
			case line == "quit":
				return nil
			case line == "cut":
				printPins(m.t.out, before, qemu.Outputs{})
				lamp.see(m.t.out, false, time.Now())
				return errCut
			case line == "reset":
				err = q.Reset(m.levels)
			case known:
				m.levels[in.input] = in.high
				err = q.SetInput(in.input, in.high)
			case line != "":
				fmt.Fprintf(m.t.out, "error %q is not known; 'faceprint sim board --help' lists the commands\n", line)
			}
		}
		if err != nil {
			select {
			case <-q.Done(): // that is why
			case <-ctx.Done():
				return nil
			default:
				return err
			}
		}
	}
}

func printPins(w io.Writer, before, now qemu.Outputs) {
	for _, p := range []struct {
		name        string
		before, now bool
	}{{"lock", before.Lock, now.Lock}, {"buzzer", before.Buzzer, now.Buzzer}} {
		if p.before != p.now {
			printPin(w, p.name, p.now)
		}
	}
}

func printPin(w io.Writer, name string, high bool) {
	level := 0
	if high {
		level = 1
	}
	fmt.Fprintf(w, "%s %d\n", name, level)
}

// blinkLongest is how long a lamp that blinks keeps a level: an unpaired board's,
// half a second, and what looking at it takes.
const blinkLongest = time.Second

// lamp tells once that it blinks, and then not at each change.
type lamp struct {
	on, blinks bool
	changed    time.Time
}

func (l *lamp) see(w io.Writer, on bool, now time.Time) {
	quick := now.Sub(l.changed) < blinkLongest
	switch {
	case on != l.on && quick:
		if !l.blinks {
			fmt.Fprintln(w, "lamp blinks")
		}
		l.on, l.changed, l.blinks = on, now, true
	case on != l.on, l.blinks && !quick:
		printPin(w, "lamp", on)
		*l = lamp{on: on, changed: now}
	}
}
