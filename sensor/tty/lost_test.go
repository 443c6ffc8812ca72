//go:build linux

package tty

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// The lines are what serial_core writes (uart_line_info), with root's modem
// lines.
func TestLostCharacters(t *testing.T) {
	const list = `serinfo:1.0 driver revision:
0: uart:16550 mmio:0xFE215040 irq:29 tx:1408 rx:9120 fe:3 oe:17 bo:2 RTS|CTS|DTR
1: uart:unknown port:000002F8 irq:3
12: uart:PL011 rev3 mmio:0xFE201000 irq:36 tx:5 rx:7 RTS|DTR
`
	for n, want := range map[int]struct {
		lost Lost
		ok   bool
	}{0: {Lost{19, 3}, true}, 1: {}, 2: {}, 12: {Lost{}, true}} {
		if got, ok := lostIn(strings.NewReader(list), n); got != want.lost || ok != want.ok {
			t.Errorf("port %d: %+v, %v, want %+v", n, got, ok, want)
		}
	}
	if got := (icounter{Overrun: 4, BufOverrun: 1, Frame: 2, Parity: 9}).lost(); got != (Lost{5, 2}) {
		t.Errorf("%+v", got)
	}
	if got := (Lost{5, 2}).Sub(Lost{4, 7}); got != (Lost{1, 0}) { // a driver that was loaded again counts anew
		t.Errorf("%+v", got)
	}
	if s := (Lost{}).String(); s != "" {
		t.Errorf("nothing is %q", s)
	}
}

// A pseudo terminal loses nothing and does not count.
func TestTerminalDoesNotCount(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	p, err := Open(slave.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := p.Line(57600)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := c.Lost(); ok {
		t.Errorf("the driver counts %d and %d", l.Overruns, l.Framing)
	}
	if l, ok := LostOn(slave.Name()); ok {
		t.Errorf("the kernel lists %d and %d", l.Overruns, l.Framing)
	}
}

func TestMiniUART(t *testing.T) {
	dir := t.TempDir()
	for name, kind := range map[string]string{"ttyS0": "brcm,bcm2835-aux-uart\x00", "ttyAMA0": "arm,pl011\x00arm,primecell\x00"} {
		node := filepath.Join(dir, "class/tty", name, "device/of_node")
		if err := os.MkdirAll(node, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{filepath.Join(node, "compatible"): kind, filepath.Join(dir, name): ""} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// The Pi's alias is a link.
		if err := os.Symlink(name, filepath.Join(dir, "serial-"+name)); err != nil {
			t.Fatal(err)
		}
		if got := miniUART(dir, filepath.Join(dir, "serial-"+name)); got != (name == "ttyS0") {
			t.Errorf("%s: %v", name, got)
		}
	}
}
