//go:build linux

package tty

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
)

// Line is an open line of bytes with deadlines: a serial port, or a unix socket
// that stands for one, as an emulator has.
type Line struct {
	stream
	name string
}

type stream interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// serial is a connected port that closes with its connection.
type serial struct {
	*Conn
	port *Port
}

func (s serial) Close() error { return s.port.Close() }

// OpenLine opens a serial port at the rate, in bits a second, or a unix socket:
// "unix:PATH", or a path where there is one.
func OpenLine(name string, baud int) (*Line, error) {
	path, socket := strings.CutPrefix(name, "unix:")
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		socket = true
	}
	if socket {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return nil, explainSocket(path, err)
		}
		return &Line{c, name}, nil
	}
	p, err := Open(name)
	if err != nil {
		return nil, err
	}
	c, err := p.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Line{serial{c.(*Conn), p}, name}, nil
}

func explainSocket(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("tty: %s: %w: there is no such socket; is the emulator running?", path, ErrNoPort)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("tty: %s: %w: %w", path, ErrPermission, err)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("tty: %s: %w: nobody serves that socket any more; start the emulator again", path, ErrNoPort)
	}
	return fmt.Errorf("tty: %s: %w", path, err)
}

// String is the name by which it was opened.
func (l *Line) String() string { return l.name }

// Read reads what is there, at least one byte.
func (l *Line) Read(b []byte) (int, error) {
	n, err := l.stream.Read(b)
	return n, l.gone(err)
}

// Write writes all of b.
func (l *Line) Write(b []byte) (int, error) {
	n, err := l.stream.Write(b)
	return n, l.gone(err)
}

// gone names the ways in which a socket can be lost; those of a port are named
// already.
func (l *Line) gone(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrGone):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("tty: %s is gone: %w", l.name, ErrGone)
	}
	return err
}
