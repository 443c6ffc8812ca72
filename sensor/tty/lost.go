//go:build linux

package tty

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Lost is what a port's driver counted that did not arrive, since the machine
// was started.
type Lost struct {
	Overruns uint64 // characters that came before the one before them was fetched
	Framing  uint64 // characters without a stop bit: another rate, or noise
}

// String says what happened and what to do about it, "" where nothing did.
func (l Lost) String() string {
	var s []string
	if l.Overruns > 0 {
		s = append(s, fmt.Sprintf("%d characters were overrun: the port has no room for what comes while the processor is busy", l.Overruns))
	}
	if l.Framing > 0 {
		s = append(s, fmt.Sprintf("%d characters had no stop bit: another baud rate, a loose wire, or noise", l.Framing))
	}
	return strings.Join(s, "; ")
}

// Sub is what came since an earlier count.
func (l Lost) Sub(before Lost) Lost {
	return Lost{l.Overruns - min(before.Overruns, l.Overruns), l.Framing - min(before.Framing, l.Framing)}
}

// icounter is the kernel's serial_icounter_struct.
type icounter struct {
	CTS, DSR, RNG, DCD, RX, TX, Frame, Overrun, Parity, Break, BufOverrun int32
	_                                                                     [9]int32
}

// Lost asks the driver (TIOCGICOUNT); ok is false where it does not count, as
// pseudo terminals do not.
func (c *Conn) Lost() (l Lost, ok bool) {
	var n icounter
	err := c.port.control(func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&n))); errno != 0 {
			return errno
		}
		return nil
	})
	return n.lost(), err == nil
}

// LineErrors are what was lost since the line was connected.
func (c *Conn) LineErrors() (overruns, framing uint64, ok bool) {
	l, ok := c.Lost()
	l = l.Sub(c.before)
	return l.Overruns, l.Framing, ok
}

func (n icounter) lost() Lost {
	return Lost{Overruns: uint64(uint32(n.Overrun)) + uint64(uint32(n.BufOverrun)), Framing: uint64(uint32(n.Frame))}
}

// LostOn reads the kernel's list, which root may also while another program has
// the port; ok is false where it does not tell.
func LostOn(path string) (l Lost, ok bool) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return l, false
	}
	// The drivers' own names, by those of their ports (8250 and PL011).
	for prefix, driver := range map[string]string{"ttyS": "serial", "ttyAMA": "ttyAMA"} {
		number, found := strings.CutPrefix(filepath.Base(real), prefix)
		if n, err := strconv.Atoi(number); found && err == nil {
			f, err := os.Open("/proc/tty/driver/" + driver)
			if err != nil {
				return l, false
			}
			defer f.Close()
			return lostIn(f, n)
		}
	}
	return l, false
}

// lostIn finds port n in the list that a serial driver writes:
//
//	0: uart:PL011 rev3 mmio:0xFE201000 irq:36 tx:1408 rx:9120 fe:3 oe:17 RTS|DTR
func lostIn(r io.Reader, n int) (l Lost, ok bool) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] != strconv.Itoa(n)+":" {
			continue
		}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, ":")
			count, err := strconv.ParseUint(value, 10, 64)
			switch {
			case err != nil:
			case key == "rx":
				ok = true // a port that is there
			case key == "oe" || key == "bo":
				l.Overruns += count
			case key == "fe":
				l.Framing += count
			}
		}
		return l, ok
	}
	return l, false
}

// MiniUART tells whether the port is the Pi's second UART, which has eight
// bytes of room and a rate that follows the processor's clock: it loses
// characters of a module at 57600 baud and more.
func MiniUART(path string) bool { return miniUART("/sys", path) }

func miniUART(sys, path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	kind, err := os.ReadFile(filepath.Join(sys, "class/tty", filepath.Base(real), "device/of_node/compatible"))
	return err == nil && bytes.Contains(kind, []byte("bcm2835-aux-uart"))
}

// LostAdvice is what to do about characters that a port loses.
func LostAdvice(path string) string {
	if MiniUART(path) {
		return "it is the Pi's mini-UART: put 'dtoverlay=disable-bt' (or miniuart-bt) into /boot/firmware/config.txt and restart, which puts the real one (PL011) on the pins"
	}
	return "use a shorter cable or a lower finger.baud, and another USB adapter or port; on a Pi the PL011 (dtoverlay=disable-bt)"
}
