package qemu

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"strings"
	"testing"
	"time"
)

// line is the test's end of the board's serial line: a few lines of PROTOCOL.md
// written out once more, so that the board is not tested by the client it was
// written with.
type line struct {
	t    testing.TB
	conn net.Conn
	got  []byte // read and not yet taken

	toBoard, toHost []byte
	sent            uint32
}

// patience is how long anything may take on a busy machine; what is waited for
// ends the wait.
const patience = 30 * time.Second

func dial(ctx context.Context, t testing.TB, b *Board) *line {
	t.Helper()
	conn, err := b.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &line{t: t, conn: conn}
}

func (l *line) fill() {
	l.t.Helper()
	buffer := make([]byte, 1024)
	_ = l.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := l.conn.Read(buffer)
	if err != nil {
		l.t.Fatalf("the board says no more (%v) after %q", err, l.got)
	}
	l.got = append(l.got, buffer[:n]...)
}

// until reads up to and with a text, and returns it all.
func (l *line) until(text string) string {
	l.t.Helper()
	for {
		if i := bytes.Index(l.got, []byte(text)); i >= 0 {
			all := string(l.got[:i+len(text)])
			l.got = l.got[i+len(text):]
			return all
		}
		l.fill()
	}
}

func (l *line) write(b []byte) {
	l.t.Helper()
	if _, err := l.conn.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

// command types a line at the loader's prompt.
func (l *line) command(text string) { l.t.Helper(); l.write([]byte(text + "\r")) }

func cobs(raw []byte) []byte {
	out := []byte{0}
	for run := range bytes.SplitSeq(raw, []byte{0}) {
		out = append(append(out, byte(len(run)+1)), run...)
	}
	return append(out, 0)
}

// frame reads the next frame that is not empty.
func (l *line) frame() []byte {
	l.t.Helper()
	for {
		block := strings.TrimSuffix(l.until("\x00"), "\x00")
		if block == "" {
			continue
		}
		var raw []byte
		for in := 0; in < len(block); {
			code := int(block[in])
			raw = append(raw, block[in+1:in+code]...)
			if in += code; in < len(block) {
				raw = append(raw, 0)
			}
		}
		return raw
	}
}

// plain asks in plain and returns type and body of the answer.
func (l *line) plain(kind byte, body []byte) (byte, []byte) {
	l.t.Helper()
	raw := append([]byte{kind}, body...)
	l.write(cobs(binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))))
	answer := l.frame()
	n := len(answer) - 4
	if n < 1 || crc32.ChecksumIEEE(answer[:n]) != binary.LittleEndian.Uint32(answer[n:]) {
		l.t.Fatalf("a garbled answer: %x", answer)
	}
	return answer[0], answer[1:n]
}

func tag(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// hello opens a session.
func (l *line) hello(key []byte) {
	l.t.Helper()
	nonce := bytes.Repeat([]byte{0x3C}, 16)
	kind, body := l.plain(0x02, append([]byte{1}, nonce...))
	if kind != 0x82 || len(body) != 25 {
		l.t.Fatalf("HELLO was answered with type %#x and %x", kind, body)
	}
	session := append(nonce, body[1:]...)
	l.toBoard = tag(key, []byte("faceprint guard v1 host to board"), session)
	l.toHost = tag(key, []byte("faceprint guard v1 board to host"), session)
	l.sent = 0
}

// seal makes a sealed question with the next counter.
func (l *line) seal(kind byte, body []byte) []byte {
	l.sent++
	raw := append(binary.LittleEndian.AppendUint32([]byte{kind}, l.sent), body...)
	return append(raw, tag(l.toBoard, raw)[:16]...)
}

// ask asks in the session and returns type and body behind the echoed counter.
func (l *line) ask(kind byte, body []byte) (byte, []byte) {
	l.t.Helper()
	l.write(cobs(l.seal(kind, body)))
	raw := l.frame()
	n := len(raw) - 16
	if n < 9 || !bytes.Equal(tag(l.toHost, raw[:n])[:16], raw[n:]) {
		l.t.Fatalf("question %#x was answered with %x", kind, raw)
	}
	if echo := binary.LittleEndian.Uint32(raw[5:]); echo != l.sent {
		l.t.Fatalf("the answer is to question %d, not %d", echo, l.sent)
	}
	return raw[0], raw[9:n]
}

// unlock opens the lock.
func (l *line) unlock(hold time.Duration) {
	l.t.Helper()
	_, challenge := l.ask(0x42, nil)
	kind, body := l.ask(0x43, binary.LittleEndian.AppendUint16(challenge, uint16(hold.Milliseconds())))
	if kind != 0xC3 || body[1] != 1 {
		l.t.Fatalf("UNLOCK was answered with type %#x and %x", kind, body)
	}
}

// info asks who is there: the running slot and the version.
func (l *line) info() (slot byte, version string, flags byte) {
	l.t.Helper()
	kind, body := l.plain(0x01, nil)
	if kind != 0x81 || len(body) != 32 {
		l.t.Fatalf("INFO was answered with type %#x and %x", kind, body)
	}
	v := binary.LittleEndian.Uint32(body[16:])
	return body[1], fmt.Sprintf("%d.%d.%d", v>>24, v>>16&0xFF, v&0xFFFF), body[2]
}

// xmodem sends data in blocks of 1024 and returns the last answer: ACK of the
// end, or CAN. Unlike sx it stops at a refused end, too.
func (l *line) xmodem(data []byte) byte {
	l.t.Helper()
	const eot, ack, nak, can = 0x04, 0x06, 0x15, 0x18
	exchange := func(b []byte) byte {
		l.write(b)
		for {
			for len(l.got) == 0 {
				l.fill()
			}
			answer := l.got[0]
			l.got = l.got[1:]
			if answer != 'C' {
				return answer
			}
		}
	}
	for n := 1; len(data) > 0; n++ {
		block := append([]byte{0x02, byte(n), ^byte(n)}, data[:min(1024, len(data))]...)
		data = data[min(1024, len(data)):]
		for len(block) < 3+1024 {
			block = append(block, 0x1A)
		}
		var crc uint16
		for _, b := range block[3:] {
			crc ^= uint16(b) << 8
			for range 8 {
				carry := crc&0x8000 != 0
				if crc <<= 1; carry {
					crc ^= 0x1021
				}
			}
		}
		if answer := exchange(binary.BigEndian.AppendUint16(block, crc)); answer != ack {
			if answer != can {
				l.t.Fatalf("a block was answered with %#x", answer)
			}
			return answer
		}
	}
	answer := exchange([]byte{eot})
	if answer == nak { // it might have been noise
		answer = exchange([]byte{eot})
	}
	return answer
}
