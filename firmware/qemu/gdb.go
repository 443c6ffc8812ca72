package qemu

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
)

// gdbChunk is how many bytes one write packet carries; the stub's buffer has 4096.
const gdbChunk = 1024

// gdbConn speaks GDB's remote serial protocol, as much of it as flash needs.
type gdbConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func newGDB(conn net.Conn) *gdbConn { return &gdbConn{conn: conn, r: bufio.NewReader(conn)} }

// send sends one packet; the stub's "+" is read by receive.
func (g *gdbConn) send(body string) error {
	var sum byte
	for i := range len(body) {
		sum += body[i]
	}
	_, err := fmt.Fprintf(g.conn, "$%s#%02x", body, sum)
	return err
}

// receive reads the next packet and acknowledges it.
func (g *gdbConn) receive() (string, error) {
	if _, err := g.r.ReadString('$'); err != nil {
		return "", err
	}
	body, err := g.r.ReadString('#')
	if err != nil {
		return "", err
	}
	if _, err := g.r.Discard(2); err != nil { // the checksum: a local socket does not garble
		return "", err
	}
	_, err = g.conn.Write([]byte("+"))
	return strings.TrimSuffix(body, "#"), err
}

// ask sends a packet and reads its answer.
func (g *gdbConn) ask(body string) (string, error) {
	if err := g.send(body); err != nil {
		return "", fmt.Errorf("the emulator's debugger: %w", err)
	}
	answer, err := g.receive()
	if err != nil {
		return "", fmt.Errorf("the emulator's debugger: %w", err)
	}
	if strings.HasPrefix(answer, "E") {
		return "", fmt.Errorf("the emulator's debugger answered %s to %.20s", answer, body)
	}
	return answer, nil
}

// write writes memory, flash too.
func (g *gdbConn) write(address uint32, bytes []byte) error {
	_, err := g.ask(fmt.Sprintf("M%x,%x:%s", address, len(bytes), hex.EncodeToString(bytes)))
	return err
}

// halt stops the processor.
func (g *gdbConn) halt() error {
	if _, err := g.conn.Write([]byte{0x03}); err != nil {
		return err
	}
	return g.stopped()
}

// stopped waits until the processor has stopped.
func (g *gdbConn) stopped() error {
	for {
		answer, err := g.receive()
		if err != nil {
			return fmt.Errorf("the emulator's debugger: %w", err)
		}
		if strings.HasPrefix(answer, "T") || strings.HasPrefix(answer, "S") {
			return nil
		}
	}
}

// breakpoints stops the processor whenever it comes to one of the addresses.
func (g *gdbConn) breakpoints(at []uint32) error {
	for _, a := range at {
		if _, err := g.ask(fmt.Sprintf("Z0,%x,2", a)); err != nil {
			return err
		}
	}
	return nil
}

// resume lets the processor run.
func (g *gdbConn) resume() error { return g.send("c") }

// step runs one instruction, also one that has a breakpoint.
func (g *gdbConn) step() error {
	if err := g.send("s"); err != nil {
		return err
	}
	return g.stopped()
}

// next runs from one breakpoint to the next. The stub does not step over the one
// it stands on by itself.
func (g *gdbConn) next() error {
	if err := g.step(); err != nil {
		return err
	}
	if err := g.resume(); err != nil {
		return err
	}
	return g.stopped()
}
