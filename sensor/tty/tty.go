//go:build linux

// Package tty is the Linux UART driver that periph lacks: uart.PortCloser over
// termios, registered in uartreg.
//
// A port is opened for this process alone, set to raw 8N1 without flow control
// and read back, because many drivers accept a rate that they do not set.
// Reads and writes stay on the runtime's poller: they honour deadlines, and
// Close ends them.
package tty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
	"periph.io/x/conn/v3/uart/uartreg"
)

// Errors that have a cure; they are wrapped.
var (
	// ErrBusy: another program has the port.
	ErrBusy = errors.New("port is in use")
	// ErrNoPort: there is no such port.
	ErrNoPort = errors.New("no such port")
	// ErrPermission: the port may not be opened by this user.
	ErrPermission = errors.New("no permission for the port")
	// ErrGone: the port was unplugged or closed.
	ErrGone = fs.ErrClosed
)

// txTimeout is how long Tx waits for an answer: periph's interface has no
// deadline, and a read that never ends is no answer.
const txTimeout = 2 * time.Second

var registered struct {
	sync.Mutex
	names map[string]bool
}

// Register makes the port known to periph's uartreg under its path. It may be
// called again for the same path. A link such as /dev/serial0 is resolved each
// time that the port is opened.
func Register(path string) error {
	registered.Lock()
	defer registered.Unlock()
	if registered.names[path] {
		return nil
	}
	if err := uartreg.Register(path, nil, -1, func() (uart.PortCloser, error) { return Open(path) }); err != nil {
		return fmt.Errorf("tty: %w", err)
	}
	if registered.names == nil {
		registered.names = make(map[string]bool)
	}
	registered.names[path] = true
	return nil
}

// RegisterAll registers the serial ports of this machine: those of the
// processor, of USB adapters, and the Pi's alias.
func RegisterAll() error {
	var errs []error
	for _, pattern := range []string{"/dev/serial[0-9]", "/dev/ttyAMA[0-9]*", "/dev/ttyS0", "/dev/ttyUSB[0-9]*", "/dev/ttyACM[0-9]*"} {
		found, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, path := range found {
			errs = append(errs, Register(path))
		}
	}
	return errors.Join(errs...)
}

// Port is an open port, not yet connected.
type Port struct {
	path string
	file *os.File
	most physic.Frequency // 0 = no limit

	mu        sync.Mutex
	connected bool
	closed    bool
}

var _ uart.PortCloser = (*Port)(nil)

// Open opens the port for this process alone: with TIOCEXCL, and with flock,
// since root passes over the former.
func Open(path string) (*Port, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, explain(path, err)
	}
	f, err := os.OpenFile(real, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, explain(path, err)
	}
	p := &Port{path: path, file: f}
	err = p.control(func(fd int) error {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return fmt.Errorf("it is no serial port: %w", err)
		}
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return err
		}
		return unix.IoctlSetInt(fd, unix.TIOCEXCL, 0)
	})
	if err != nil {
		return nil, errors.Join(explain(path, err), f.Close())
	}
	return p, nil
}

func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("tty: %s: %w; is it plugged in, or wired and the UART enabled (raspi-config, Interface, Serial)? %w", path, ErrNoPort, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("tty: %s: %w; %s: %w", path, ErrPermission, Permit(path), err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("tty: %s: %w by %s: %w", path, ErrBusy, Holder(path), err)
	}
	return fmt.Errorf("tty: %s: %w", path, err)
}

// control runs f on the descriptor without taking it off the poller, as Fd
// would.
func (p *Port) control(f func(fd int) error) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if raw.Control(func(fd uintptr) { inner = f(int(fd)) }) != nil {
		return ErrGone // the only reason for which f is not called
	}
	return inner
}

// String is the path.
func (p *Port) String() string { return p.path }

// Shared is ErrBusy, with the names, where other programs have the port open as
// well: those that take no lock (minicom, pyserial) keep nobody out, and eat what
// arrives. It is nil where this user sees none.
func (p *Port) Shared() error {
	who := others(p.path)
	if who == "" {
		return nil
	}
	return fmt.Errorf("tty: %s: %w, and what arrives may be taken, by %s", p.path, ErrBusy, who)
}

// LimitSpeed bounds the rate of a later Connect.
func (p *Port) LimitSpeed(f physic.Frequency) error {
	if f < physic.Hertz {
		return fmt.Errorf("tty: %s: a limit of %v: %w", p.path, f, unix.EINVAL)
	}
	p.most = f
	return nil
}

var rates = map[int]uint32{
	9600: unix.B9600, 19200: unix.B19200, 38400: unix.B38400, 57600: unix.B57600, 115200: unix.B115200,
	230400: unix.B230400, 460800: unix.B460800, 921600: unix.B921600, 1000000: unix.B1000000,
}

// Connect sets the line: 8N1 without flow control at the rate, the only shape
// that fingerprint modules and guard boards use. It is called once.
func (p *Port) Connect(f physic.Frequency, stop uart.Stop, parity uart.Parity, flow uart.Flow, bits int) (conn.Conn, error) {
	if stop != uart.One || parity != uart.NoParity || flow != uart.NoFlow || bits != 8 {
		return nil, fmt.Errorf("tty: %s: only 8N1 without flow control is supported: %w", p.path, unix.EINVAL)
	}
	if p.most != 0 && f > p.most {
		f = p.most
	}
	baud := int(f / physic.Hertz)
	rate, ok := rates[baud]
	if !ok {
		return nil, fmt.Errorf("tty: %s: %d baud is no standard rate: %w", p.path, baud, unix.EINVAL)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.connected {
		return nil, fmt.Errorf("tty: %s is closed or connected already: %w", p.path, unix.EINVAL)
	}
	if err := p.control(func(fd int) error { return setRaw(fd, rate) }); err != nil {
		return nil, fmt.Errorf("tty: %s: %d baud: %w", p.path, baud, err)
	}
	p.connected = true
	c := &Conn{port: p, baud: baud}
	c.before, _ = c.Lost()
	return c, nil
}

// Line connects at a rate, as Connect does, for those who do not need periph's
// types.
func (p *Port) Line(baud int) (*Conn, error) {
	c, err := p.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		return nil, err
	}
	return c.(*Conn), nil
}

// setRaw sets raw 8N1 at the rate, reads it back, and throws away what waits
// in both directions: it belongs to somebody else's talk.
func setRaw(fd int, rate uint32) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | rate
	t.Ispeed, t.Ospeed = rate, rate
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return err
	}
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	const shape = unix.CSIZE | unix.CSTOPB | unix.PARENB | unix.CREAD | unix.CBAUD | unix.CRTSCTS
	if got.Iflag&^unix.IUTF8 != 0 || got.Oflag != 0 || got.Lflag != 0 || got.Cflag&shape != t.Cflag&shape {
		return errors.New("the driver does not do it")
	}
	return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH)
}

// Close closes the port; a read under way ends with ErrGone. It may be called
// again.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	// The exclusive mode outlives the descriptor while anybody else has the port.
	_ = p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("tty: %s: %w", p.path, err)
	}
	return nil
}

// deadline explains why one could not be set: the port takes them until it is
// closed.
func (p *Port) deadline(err error) error {
	if err != nil {
		return fmt.Errorf("tty: %s is gone (%v): %w", p.path, err, ErrGone)
	}
	return nil
}

// Conn is a connected line. It is an io.ReadWriter with deadlines, and periph's conn.Conn.
type Conn struct {
	port   *Port
	baud   int
	before Lost // what the driver had counted when it was connected
	look   atomic.Bool
}

// String names the port and the rate.
func (c *Conn) String() string { return fmt.Sprintf("%s at %d baud", c.port.path, c.baud) }

// Shared is the port's.
func (c *Conn) Shared() error { return c.port.Shared() }

// Duplex says that the fingerprint modules' line is half duplex.
func (c *Conn) Duplex() conn.Duplex { return conn.Half }

// SetReadDeadline bounds reads; they end with os.ErrDeadlineExceeded. At a deadline that
// passes, as against one that has passed when it is set, what has arrived is read once
// more: a process that wakes late must not call its peer silent.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.look.Store(t.After(time.Now()))
	return c.port.deadline(c.port.file.SetReadDeadline(t))
}

// SetWriteDeadline bounds writes; they end with os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.port.deadline(c.port.file.SetWriteDeadline(t))
}

// Read reads what is there, at least one byte.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.port.file.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.look.Swap(false) {
		// The poller says no without a look at the port.
		if n = c.there(b); n > 0 {
			err = nil
		}
	}
	return n, gone(c.port.path, err)
}

// there reads what has arrived, without waiting; 0 where that is nothing.
func (c *Conn) there(b []byte) (n int) {
	err := c.port.control(func(fd int) (err error) {
		n, err = unix.Read(fd, b)
		return err
	})
	if err != nil { // the next read says which
		return 0
	}
	return n
}

// Write writes all of b.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.port.file.Write(b)
	return n, gone(c.port.path, err)
}

// Discard throws away what has arrived and was not read, and says how many
// bytes that were.
func (c *Conn) Discard() (n int, err error) {
	err = c.port.control(func(fd int) (err error) {
		if n, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil || n == 0 {
			return err
		}
		return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	})
	return n, gone(c.port.path, err)
}

// Tx writes all of w and then fills r, within two seconds.
func (c *Conn) Tx(w, r []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), txTimeout)
	defer cancel()
	return c.TxContext(ctx, w, r)
}

// TxContext writes all of w and then fills r before the context ends.
func (c *Conn) TxContext(ctx context.Context, w, r []byte) error {
	if len(w) > 0 {
		if _, err := c.Write(w); err != nil {
			return err
		}
	}
	if len(r) == 0 {
		return nil
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetReadDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := io.ReadFull(c, r)
	return err
}

// gone makes one error of the ways in which a line can be lost.
func gone(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EIO), errors.Is(err, fs.ErrClosed), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("tty: %s is gone: %w", path, ErrGone)
	}
	return fmt.Errorf("tty: %s: %w", path, err)
}
