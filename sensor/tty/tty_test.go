//go:build linux

package tty

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
	"periph.io/x/conn/v3/uart/uartreg"
)

// line is a pseudo terminal: what is written to far arrives at path.
func line(t *testing.T) (far *os.File, path string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	path = slave.Name()
	slave.Close()
	t.Cleanup(func() { master.Close() })
	return master, path
}

func open(t *testing.T, path string) *Port {
	t.Helper()
	p, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func connect(t *testing.T, p *Port, baud int) *Conn {
	t.Helper()
	c, err := p.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Conn)
}

// What the port is set to is asked of the kernel through a descriptor of its
// own.
func TestConnectSetsRaw8N1(t *testing.T) {
	for baud, rate := range map[int]uint32{9600: unix.B9600, 57600: unix.B57600, 115200: unix.B115200} {
		far, path := line(t)
		// Somebody left it cooked, with even parity, two stop bits and flow control.
		cooked := &unix.Termios{
			Iflag: unix.ICRNL | unix.IXON, Oflag: unix.OPOST | unix.ONLCR, Lflag: unix.ECHO | unix.ICANON | unix.ISIG,
			Cflag: unix.CS7 | unix.CSTOPB | unix.PARENB | unix.CRTSCTS | unix.B300 | unix.CREAD,
		}
		if err := unix.IoctlSetTermios(int(far.Fd()), unix.TCSETS, cooked); err != nil {
			t.Fatal(err)
		}
		connect(t, open(t, path), baud)
		got, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		const wrong = unix.CSTOPB | unix.PARENB | unix.CRTSCTS
		if got.Iflag != 0 || got.Oflag != 0 || got.Lflag != 0 || got.Cflag&unix.CSIZE != unix.CS8 || got.Cflag&wrong != 0 ||
			got.Cflag&unix.CREAD == 0 || got.Cflag&unix.CLOCAL == 0 || got.Cflag&unix.CBAUD != rate {
			t.Errorf("%d baud: the line is %+v", baud, got)
		}
	}
}

func TestEveryByteComesThrough(t *testing.T) {
	far, path := line(t)
	c := connect(t, open(t, path), 57600)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	if _, err := far.Write(every); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(every))
	if err := c.Tx(every, got); err != nil || !bytes.Equal(got, every) {
		t.Errorf("arrived % X, %v", got, err)
	}
	back := make([]byte, len(every))
	if _, err := io.ReadFull(far, back); err != nil || !bytes.Equal(back, every) {
		t.Errorf("went out % X, %v", back, err)
	}
}

func TestShapesThatModulesDoNotHave(t *testing.T) {
	_, path := line(t)
	p := open(t, path)
	for name, err := range map[string]error{
		"two stop bits":  second(p.Connect(57600*physic.Hertz, uart.Two, uart.NoParity, uart.NoFlow, 8)),
		"parity":         second(p.Connect(57600*physic.Hertz, uart.One, uart.Even, uart.NoFlow, 8)),
		"flow control":   second(p.Connect(57600*physic.Hertz, uart.One, uart.NoParity, uart.RTSCTS, 8)),
		"seven bits":     second(p.Connect(57600*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 7)),
		"an odd rate":    second(p.Connect(12345*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)),
		"no rate at all": p.LimitSpeed(0),
	} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.LimitSpeed(9600 * physic.Hertz); err != nil {
		t.Fatal(err)
	}
	if c := connect(t, p, 115200); c.baud != 9600 {
		t.Errorf("a limit of 9600 gives %d baud", c.baud)
	}
	if err := second(p.Connect(9600*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a second Connect: %v", err)
	}
}

// arrive returns when b, that the far end sends, is there to be read: the kernel hands it
// on when it has time.
func arrive(t *testing.T, p *Port, far *os.File, b []byte) {
	t.Helper()
	if _, err := far.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := p.control(func(fd int) error {
		for end := time.Now().Add(time.Minute); ; {
			if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); n >= len(b) || err != nil {
				return err
			}
			if time.Now().After(end) {
				return os.ErrDeadlineExceeded
			}
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

// Root passes over TIOCEXCL, so the flock is what keeps a second daemon out.
func TestPortIsForOneProgram(t *testing.T) {
	_, path := line(t)
	other := exec.Command("sleep", "60") // holds the port by its standard input
	p := open(t, path)
	if _, err := Open(path); !errors.Is(err, ErrBusy) {
		t.Errorf("second opening: %v", err)
	}
	err := p.control(func(fd int) error {
		excl, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL)
		if err == nil && excl == 0 {
			err = errors.New("the exclusive mode is not set")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	p.Close()

	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("after Close nobody can open it: %v", err)
	}
	defer f.Close()
	other.Stdin = f
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "sleep (process ") {
		t.Errorf("busy, but by whom? %v", err)
	}
}

func TestCloseEndsReads(t *testing.T) {
	_, path := line(t)
	p := open(t, path)
	c := connect(t, p, 57600)
	var reading sync.WaitGroup
	var err error
	reading.Go(func() { _, err = c.Read(make([]byte, 1)) })
	for range 3 {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	reading.Wait()
	if !errors.Is(err, ErrGone) {
		t.Errorf("the read ended with %v", err)
	}
	for name, err := range map[string]error{
		"Read": second(c.Read(make([]byte, 1))), "Write": second(c.Write([]byte{1})), "Discard": second(c.Discard()),
		"SetReadDeadline": c.SetReadDeadline(time.Now()), "Tx": c.Tx([]byte{1}, nil),
	} {
		if !errors.Is(err, ErrGone) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

func TestUnpluggedPortIsGone(t *testing.T) {
	far, path := line(t)
	c := connect(t, open(t, path), 57600)
	var reading sync.WaitGroup
	var err error
	reading.Go(func() { _, err = c.Read(make([]byte, 1)) })
	far.Close()
	reading.Wait()
	if !errors.Is(err, ErrGone) {
		t.Errorf("the read ended with %v", err)
	}
	if _, err := c.Write([]byte{1}); !errors.Is(err, ErrGone) {
		t.Errorf("Write: %v", err)
	}
}

func TestDeadlinesAndCancellation(t *testing.T) {
	far, path := line(t)
	c := connect(t, open(t, path), 57600)
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after its deadline: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var err error
	waiting.Go(func() { err = c.TxContext(ctx, []byte("?"), make([]byte, 1)) })
	if _, err := far.Read(make([]byte, 1)); err != nil { // it was asked
		t.Fatal(err)
	}
	cancel()
	waiting.Wait()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cancelled exchange: %v", err)
	}
	// The line works again.
	if _, err := far.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if err := c.Tx([]byte("?"), b); err != nil || b[0] != '!' {
		t.Errorf("afterwards: %q %v", b, err)
	}
}

// A process that was not scheduled finds its deadline over and the answer there: it
// counts, once. What goes on talking meets its deadline all the same, and so does one
// who cancelled.
func TestAnswerThatIsThereAtALateWaking(t *testing.T) {
	far, path := line(t)
	c := connect(t, open(t, path), 57600)
	raw, err := c.port.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// past sets a deadline that is ahead, and returns when the poller knows that it is over.
	past := func() {
		t.Helper()
		for ahead := 10 * time.Millisecond; ; ahead *= 2 {
			if err := c.SetReadDeadline(time.Now().Add(ahead)); err != nil {
				t.Fatal(err)
			}
			if err := raw.Read(func(uintptr) bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			if c.look.Load() {
				return
			}
			if ahead > time.Minute {
				t.Fatal("no deadline was ahead when it was set")
			}
		}
	}
	b := make([]byte, 4)
	arrive(t, c.port, far, []byte("!!!!!!"))
	past()
	if n, err := c.Read(b); n != 4 || err != nil {
		t.Errorf("the answer that was there: %d bytes, %v", n, err)
	}
	if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("what goes on after the deadline: %d bytes, %v", n, err)
	}
	past()
	if n, err := c.Read(b); n != 2 || err != nil {
		t.Errorf("after a new deadline: %d bytes, %v", n, err)
	}
	past()
	if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing was there: %d bytes, %v", n, err)
	}
	arrive(t, c.port, far, []byte("!"))
	past()
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil { // as who cancels does
		t.Fatal(err)
	}
	if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a cancellation: %d bytes, %v", n, err)
	}
}

func TestDiscard(t *testing.T) {
	far, path := line(t)
	c := connect(t, open(t, path), 57600)
	if n, err := c.Discard(); n != 0 || err != nil {
		t.Errorf("of nothing: %d %v", n, err)
	}
	arrive(t, c.port, far, []byte("late answer"))
	if n, err := c.Discard(); n != len("late answer") || err != nil {
		t.Errorf("%d bytes thrown away, %v", n, err)
	}
	b := make([]byte, 1)
	if _, err := far.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b); err != nil || b[0] != '!' {
		t.Errorf("the next answer begins with %q, %v", b, err)
	}
}

func TestWhatWaitedBeforeConnectIsThrownAway(t *testing.T) {
	far, path := line(t)
	p := open(t, path)
	arrive(t, p, far, []byte("login:\n")) // a whole line: until it is connected the terminal keeps lines
	c := connect(t, p, 57600)
	if n, err := c.Discard(); n != 0 || err != nil {
		t.Errorf("%d bytes were left, %v", n, err)
	}
}

func TestRegisteredPortFollowsItsLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "serial0")
	if err := Register(link); err != nil {
		t.Fatal(err)
	}
	if err := Register(link); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if _, err := uartreg.Open(link); !errors.Is(err, ErrNoPort) {
		t.Errorf("no such port: %v", err)
	}
	for range 2 { // the adapter comes back under another name
		_, path := line(t)
		_ = os.Remove(link)
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		p, err := uartreg.Open(link)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != link {
			t.Errorf("it is called %s", p)
		}
		p.Close()
	}
}

// A group helps only where the port gives it access.
func TestPermission(t *testing.T) {
	port := filepath.Join(t.TempDir(), "ttyX")
	if err := os.WriteFile(port, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode os.FileMode
		gid  int
		want string
		not  string
	}{
		{0o600, 0, `its mode is 0600 and its group is root, so that no group helps: write KERNEL=="ttyX", GROUP="dialout", MODE="0660"`, "add the user to the group"},
		{0o620, 5, "its mode is 0620", "add the user to the group"}, // as a getty leaves it
		{0o660, 0, "its group is root", "add the user to the group"},
		{0o660, 54321, "add the user to the group 54321 and log in again", "udev"},
	} {
		if err := os.Chmod(port, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(port, -1, c.gid); err != nil {
			t.Skip("only root can give a file another group")
		}
		if got := explain(port, os.ErrPermission).Error(); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%04o, group %d: %s", c.mode, c.gid, got)
		}
	}
	if got := explain(port+"0", os.ErrPermission).Error(); !strings.Contains(got, "the group dialout") {
		t.Errorf("of a port that is not seen: %s", got)
	}
}

func TestWhatIsNoPort(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain); err == nil || !strings.Contains(err.Error(), "no serial port") {
		t.Errorf("a file: %v", err)
	}
	if _, err := Open(filepath.Join(plain, "x")); err == nil {
		t.Error("a path through a file opened")
	}
	if Console(plain) {
		t.Error("a file is the kernel's console")
	}
}
