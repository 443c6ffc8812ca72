// Package qemu emulates the guard board: QEMU's micro:bit, whose flash can be
// erased and written at run time, running the same loader and application that
// are built for the reference board.
//
// The machine has no power switch, so a power cut is a dump of the flash, a
// SIGKILL and a new machine that starts from the dump. Flash is loaded through
// the debugger: what -kernel or -device loader would load is copied again at
// every reset and undoes what the board wrote. The watchdog is not emulated.
package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FlashSize is the micro:bit's, in bytes.
const FlashSize = 256 << 10

// program is Debian's name for the emulator.
const program = "qemu-system-arm"

// ErrMissing is wrapped when the emulator is not installed.
var ErrMissing = errors.New("qemu-system-arm is not installed")

// Available tells whether the emulator is installed.
func Available() error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%w: apt-get install qemu-system-arm", ErrMissing)
	}
	return nil
}

// Outputs are the levels of the board's output pins.
type Outputs struct{ Lock, Lamp, Buzzer bool }

// Input is an input pin of the board.
type Input int

// Inputs, by their pins (hal/nrf51/hal.c). High is the state named.
const (
	DoorOpen       Input = 4
	ExitPressed    Input = 5
	TamperOpen     Input = 6
	ServicePressed Input = 7
)

// Pins and registers of hal/nrf51/hal.c.
const (
	pinLock   = 1
	pinLamp   = 2
	pinBuzzer = 3
	gpioOut   = 0x50000504
	gpioDir   = 0x50000514
)

// Blank is an erased flash with a loader at its start.
func Blank(loader []byte) []byte {
	flash := bytes.Repeat([]byte{0xFF}, FlashSize)
	copy(flash, loader)
	return flash
}

// Board is one emulated board. Its methods may be called from several
// goroutines, one at a time each.
type Board struct {
	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer // what the emulator says on standard error
	done chan struct{}
	err  error // of the process, once done is closed

	mu    sync.Mutex
	qmp   net.Conn
	qmpR  *bufio.Reader
	gdb   *gdbConn
	qtest net.Conn
	qtR   *bufio.Reader
}

// Start makes a board whose flash holds these bytes (at most FlashSize) and
// leaves it before its first instruction, so that the serial line can be dialled
// before Run. Sockets lie in a new folder below dir, which Close removes; a
// socket's path may have 107 bytes, so dir should be short.
// A program that is killed before Close leaves the emulator running.
// More arguments go to the emulator as they are.
func Start(ctx context.Context, dir string, flash []byte, more ...string) (*Board, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if len(flash) > FlashSize {
		return nil, fmt.Errorf("flash of %d bytes, the board has %d", len(flash), FlashSize)
	}
	own, err := os.MkdirTemp(dir, "board")
	if err != nil {
		return nil, fmt.Errorf("start the board: %w", err)
	}
	b := &Board{dir: own, done: make(chan struct{})}
	socket := func(name string) string { return "socket,path=" + b.path(name) + ",server=on,wait=off,id=" + name }
	b.cmd = exec.Command(program, append([]string{
		"-M", "microbit", "-display", "none", "-nodefaults", "-S",
		"-chardev", socket("serial"), "-serial", "chardev:serial",
		"-chardev", socket("gdb"), "-gdb", "chardev:gdb",
		"-qmp", "unix:" + b.path("qmp") + ",server=on,wait=off",
		"-accel", "tcg", "-qtest", "unix:" + b.path("qtest") + ",server=on,wait=off",
	}, more...)...)
	b.cmd.Stderr = &b.log
	if err := b.cmd.Start(); err != nil {
		_ = os.RemoveAll(own)
		return nil, fmt.Errorf("start the board: %w", err)
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.done)
	}()
	if err := b.setUp(ctx, flash); err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("start the board: %w%s", err, b.said())
	}
	return b, nil
}

func (b *Board) path(name string) string { return filepath.Join(b.dir, name) }

// said is what the emulator wrote, once it has ended.
func (b *Board) said() string {
	if text := strings.TrimSpace(b.log.String()); text != "" {
		return " (qemu: " + text + ")"
	}
	return ""
}

func (b *Board) setUp(ctx context.Context, flash []byte) error {
	var err error
	if b.qmp, err = b.dial(ctx, "qmp"); err != nil {
		return err
	}
	b.qmpR = bufio.NewReader(b.qmp)
	if _, err := b.qmpR.ReadBytes('\n'); err != nil { // its greeting
		return fmt.Errorf("the emulator's monitor: %w", err)
	}
	if _, err := b.monitor("qmp_capabilities", nil); err != nil {
		return err
	}
	if b.qtest, err = b.dial(ctx, "qtest"); err != nil {
		return err
	}
	b.qtR = bufio.NewReader(b.qtest)
	conn, err := b.dial(ctx, "gdb")
	if err != nil {
		return err
	}
	b.gdb = newGDB(conn)
	for at := 0; at < len(flash); at += gdbChunk {
		piece := flash[at:min(at+gdbChunk, len(flash))]
		if err := b.gdb.write(uint32(at), piece); err != nil {
			return err
		}
	}
	// The processor has read its vectors already, from an empty flash.
	_, err = b.monitor("system_reset", nil)
	return err
}

// dial waits for one of the emulator's sockets, which appear while it starts.
func (b *Board) dial(ctx context.Context, name string) (net.Conn, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", b.path(name))
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the emulator's %s: %w", name, ctx.Err())
		case <-b.done:
			return nil, fmt.Errorf("the emulator ended: %w", b.err)
		case <-tick.C:
		}
	}
}

// Serial is the path of the serial line's unix socket. One client at a time; what
// the board sends without one is lost.
func (b *Board) Serial() string { return b.path("serial") }

// Dial opens the serial line.
func (b *Board) Dial(ctx context.Context) (net.Conn, error) { return b.dial(ctx, "serial") }

// Run lets the board go.
func (b *Board) Run() error {
	_, err := b.monitor("cont", nil)
	return err
}

// Reset pulls the board's reset line. Flash and RAM keep what they hold. The
// emulator lets go of every input, so those that are held are named.
func (b *Board) Reset(held map[Input]bool) error {
	if _, err := b.monitor("stop", nil); err != nil { // the loader looks at its button first of all
		return err
	}
	if _, err := b.monitor("system_reset", nil); err != nil {
		return err
	}
	for in, high := range held {
		if err := b.SetInput(in, high); err != nil {
			return err
		}
	}
	return b.Run()
}

// Outputs reads the output pins; a pin that is not driven is low.
func (b *Board) Outputs() (Outputs, error) {
	out, err := b.word(gpioOut)
	if err != nil {
		return Outputs{}, err
	}
	dir, err := b.word(gpioDir)
	if err != nil {
		return Outputs{}, err
	}
	high := out & dir
	return Outputs{Lock: high>>pinLock&1 != 0, Lamp: high>>pinLamp&1 != 0, Buzzer: high>>pinBuzzer&1 != 0}, nil
}

// word reads a word of memory or of a register.
func (b *Board) word(address uint32) (uint32, error) {
	answer, err := b.monitor("human-monitor-command", map[string]any{"command-line": fmt.Sprintf("xp /1wx 0x%x", address)})
	if err != nil {
		return 0, err
	}
	var text string
	if err := json.Unmarshal(answer, &text); err != nil {
		return 0, fmt.Errorf("the emulator's monitor: %w", err)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(text), ": ")
	v, err := strconv.ParseUint(value, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("the emulator's monitor said %q", text)
	}
	return uint32(v), nil
}

// SetInput drives an input pin until the next reset, which lets go of it.
func (b *Board) SetInput(in Input, high bool) error {
	level := 0
	if high {
		level = 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.qtest, "set_irq_in /machine/nrf51 unnamed-gpio-in %d %d\n", in, level); err != nil {
		return fmt.Errorf("drive pin %d: %w", in, err)
	}
	for {
		line, err := b.qtR.ReadString('\n')
		if err != nil {
			return fmt.Errorf("drive pin %d: %w", in, err)
		}
		switch line = strings.TrimSpace(line); {
		case line == "OK":
			return nil
		case strings.HasPrefix(line, "FAIL"):
			return fmt.Errorf("drive pin %d: the emulator said %q", in, line)
		}
	}
}

// Flash is what the flash holds now.
func (b *Board) Flash() ([]byte, error) {
	file := b.path("flash")
	if _, err := b.monitor("memsave", map[string]any{"val": 0, "size": FlashSize, "filename": file}); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Done is closed when the emulator has ended.
func (b *Board) Done() <-chan struct{} { return b.done }

// Close cuts the power and waits until the emulator is gone.
func (b *Board) Close() error {
	_ = b.cmd.Process.Kill()
	<-b.done
	if b.qmp != nil {
		_ = b.qmp.Close()
	}
	if b.qtest != nil {
		_ = b.qtest.Close()
	}
	if b.gdb != nil {
		_ = b.gdb.conn.Close()
	}
	return os.RemoveAll(b.dir)
}

// monitor runs one command of the QEMU Machine Protocol.
func (b *Board) monitor(command string, arguments map[string]any) (json.RawMessage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	question := map[string]any{"execute": command}
	if arguments != nil {
		question["arguments"] = arguments
	}
	line, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if _, err := b.qmp.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("the emulator's monitor: %w", err)
	}
	for {
		line, err := b.qmpR.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the emulator's monitor: %w", err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
			Event  string
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return nil, fmt.Errorf("the emulator's monitor: %w", err)
		}
		switch {
		case answer.Event != "":
		case answer.Error != nil:
			return nil, fmt.Errorf("the emulator refused %s: %s", command, answer.Error.Desc)
		default:
			return answer.Return, nil
		}
	}
}
