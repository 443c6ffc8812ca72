//go:build linux

package xmodem

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/faceprint/faceprint/sensor/tty"
)

// cable joins a pseudo terminal, which this package's sender opens with the
// product's serial driver, to the standard streams of rx of lrzsz, and may
// damage what it carries. (On a terminal of its own rx would flush its last
// answer away before it can be read: it calls tcflush as it ends.)
type cable struct {
	master, slave *os.File
	rx            *exec.Cmd
	said          bytes.Buffer
	ended         chan error
}

// lay starts rx at the far end of a cable; to and from see what is carried to
// it and from it and return what arrives, nil for a cut.
func lay(t *testing.T, file string, to, from func([]byte) []byte) *cable {
	t.Helper()
	if _, err := exec.LookPath("rx"); err != nil {
		t.Fatal("rx is missing; 'make test' installs it (Debian package lrzsz)")
	}
	c := &cable{rx: exec.Command("rx", "--with-crc", "--binary", file), ended: make(chan error, 1)}
	var err error
	if c.master, c.slave, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	in, err := c.rx.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.rx.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.rx.Stderr = &c.said
	if err := c.rx.Start(); err != nil {
		t.Fatal(err)
	}
	carry := func(from io.Reader, to io.Writer, change func([]byte) []byte) {
		b := make([]byte, 4096)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			p := b[:n]
			if change != nil {
				if p = change(p); p == nil {
					return
				}
			}
			if _, err := to.Write(p); err != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { carry(c.master, in, to); c.cut(); in.Close() })
	wg.Go(func() {
		carry(out, c.master, from)
		_, _ = io.Copy(io.Discard, out)
		c.ended <- c.rx.Wait()
	})
	t.Cleanup(func() { c.cut(); wg.Wait() })
	return c
}

// cut hangs the terminal up, which is what a program sees of a USB adapter
// that is pulled out.
func (c *cable) cut() {
	_ = c.master.Close()
	_ = c.slave.Close()
}

// foreign sends data over a cable to rx.
func foreign(t *testing.T, data []byte, o Options, to, from func([]byte) []byte) (got []byte, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "got")
	c := lay(t, file, to, from)
	line, err := tty.OpenLine(c.slave.Name(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	err = Send(t.Context(), line, data, o)
	if err != nil {
		c.cut()
	}
	if rxErr := <-c.ended; (rxErr == nil) != (err == nil) {
		t.Errorf("Send says %v, rx says %v: %s", err, rxErr, c.said.Bytes())
	}
	got, readErr := os.ReadFile(file)
	if readErr != nil && err == nil {
		t.Fatal(readErr)
	}
	return got, err
}

func TestForeignReceiverGetsEveryByte(t *testing.T) {
	for _, size := range []int{128, 1024, 61440, 96*1024 - 128, 1000} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel() // rx waits a second after the end of a file
			data := random(size)
			got, err := foreign(t, data, Options{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, padded(data)) {
				t.Errorf("rx wrote %d other bytes", len(got))
			}
		})
	}
}

func TestForeignReceiverGetsEveryByteOverABadCable(t *testing.T) {
	carried, hits := 0, 0
	damage := func(b []byte) []byte {
		for i := range b {
			if carried++; carried%20011 == 0 {
				b[i] ^= 0x40
				hits++
			}
		}
		return b
	}
	acks := 0
	loseOne := func(b []byte) []byte {
		if i := bytes.IndexByte(b, ack); i >= 0 {
			if acks++; acks == 7 {
				return append(b[:i:i], b[i+1:]...)
			}
		}
		return b
	}
	data := random(61440)
	got, err := foreign(t, data, Options{Answer: 1500 * time.Millisecond}, damage, loseOne)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("rx wrote %d other bytes", len(got))
	}
	if hits < 3 || acks < 7 {
		t.Errorf("the cable damaged %d bytes and lost answer 7 of %d: it was too good", hits, acks)
	}
}

func TestCutCableIsNamed(t *testing.T) {
	for _, after := range []int{1, 500, 1029, 30000} {
		carried := 0
		cut := func(b []byte) []byte {
			if carried += len(b); carried >= after {
				return nil
			}
			return b
		}
		if _, err := foreign(t, random(61440), Options{Answer: 200 * time.Millisecond}, cut, nil); !errors.Is(err, tty.ErrGone) {
			t.Errorf("cut after %d bytes: %v", after, err)
		}
	}
}

func TestForeignReceiverIsToldOfACancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := lay(t, filepath.Join(t.TempDir(), "got"), nil, nil)
	line, err := tty.OpenLine(c.slave.Name(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	err = Send(ctx, line, random(61440), Options{Progress: func(n, _ int) {
		if n == 4096 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Send: %v", err)
	}
	if err := <-c.ended; c.rx.ProcessState.ExitCode() <= 0 {
		t.Errorf("rx ended with %v: it did not take the cancel", err)
	}
}
