package modsim

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// PTY is a pseudo terminal with a module at one end; the other has a path that
// any program can open as a serial port.
type PTY struct {
	master, slave *os.File // slave is kept open, or the master would end when a client leaves
	link          string
}

// OpenPTY opens one and, where link is not empty, makes a link to it there,
// in place of one that is left over.
func OpenPTY(link string) (*PTY, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("modsim: no pseudo terminal: %w", err)
	}
	p := &PTY{master: master, slave: slave}
	if p.master, err = pollable(master); err == nil {
		err = p.raw()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("modsim: %w", err), p.Close())
	}
	if link != "" {
		if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
			return nil, errors.Join(fmt.Errorf("modsim: %s is there and is no link; remove it", link), p.Close())
		}
		_ = os.Remove(link) // of a bench that was killed
		if err := os.Symlink(slave.Name(), link); err != nil {
			return nil, errors.Join(fmt.Errorf("modsim: %w", err), p.Close())
		}
		p.link = link
	}
	return p, nil
}

// pollable returns f on the runtime's poller, where closing it ends a read:
// the pty package leaves it blocking.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return f, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return f, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), f.Name()), f.Close()
}

// raw makes the terminal pass bytes as they are before the first client sets
// it up: an echo would be taken for an answer.
func (p *PTY) raw() error {
	c, err := p.slave.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = c.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			inner = err
			return
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		inner = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	return errors.Join(err, inner)
}

// Path is what a client opens.
func (p *PTY) Path() string {
	if p.link != "" {
		return p.link
	}
	return p.slave.Name()
}

// Serve lets the module speak on the terminal until the context ends.
func (p *PTY) Serve(ctx context.Context, s *Sim) error {
	stop := context.AfterFunc(ctx, func() { p.master.Close() })
	defer stop()
	s.drawAhead()
	return s.Serve(ctx, ptyLine{p.master})
}

// ptyLine is the module's end, which can see the rate that a client has set.
type ptyLine struct{ *os.File }

// Baud is that rate, 0 where it cannot be told.
func (l ptyLine) Baud() (baud int) {
	c, err := l.SyscallConn()
	if err != nil {
		return 0
	}
	_ = c.Control(func(fd uintptr) {
		if t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			baud = bauds[t.Cflag&unix.CBAUD]
		}
	})
	return baud
}

// bauds are the rates that a module can be set to, and those between.
var bauds = map[uint32]int{
	unix.B4800: 4800, unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600,
	unix.B115200: 115200, unix.B230400: 230400,
}

// Close takes the terminal and the link away.
func (p *PTY) Close() error {
	if to, err := os.Readlink(p.link); err == nil && to == p.slave.Name() { // no other has taken it
		_ = os.Remove(p.link)
	}
	err := p.slave.Close()
	if e := p.master.Close(); !errors.Is(e, os.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}
