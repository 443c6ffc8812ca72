// Package boardtest is a guard board made of software, for tests alone: it
// speaks firmware/PROTOCOL.md and can be told to lie, to be cut off and to be
// reset, which the real firmware cannot. It is written from the document and
// shares no code with the host's side.
package boardtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/faceprint/faceprint/firmware"
)

type image struct {
	m                *firmware.Image
	sequence         uint32
	tried, confirmed bool
}

// Event is a record of the ring.
type Event struct {
	Sequence       uint32
	Code, Argument byte
}

// Board is one board, with its flash and its inputs.
type Board struct {
	mu     sync.Mutex
	kind   firmware.Board
	serial [8]byte
	slots  [2]*image
	floor  uint32
	key    []byte
	starts uint32

	pressed time.Time // the service button
	events  []Event

	tampered    bool
	application bool
	running     int // slot
	chosen      int // by the loader, before the watchdog
	again       bool
	session     *session
	sessions    uint32
	challenges  uint32
	challenge   []byte
	challenged  time.Time
	shuts       time.Time
	wasOpen     bool
	heard       time.Time
	opened      int
	lie         func(question byte, raw []byte) []byte
	lose        func(question byte) bool

	// Hang makes images of this version start and do nothing; the watchdog
	// resets the board after a second.
	Hang firmware.Version
	// Silent makes images of this version feed the watchdog and answer nothing.
	Silent firmware.Version
	// Mute makes images of this version run without ever confirming.
	Mute firmware.Version
	// Production is a production loader's.
	Production ed25519.PublicKey
	// Refuse is what its loader says to every image.
	Refuse firmware.Refusal
	// CutAt breaks the line in this block of an upload.
	CutAt int
}

type session struct {
	toBoard, toHost []byte
	sent, taken     uint32
}

// New makes a board that was never used.
func New(kind string, serial byte) *Board {
	k, err := firmware.BoardByName(kind)
	if err != nil {
		panic(err)
	}
	return &Board{kind: k, serial: [8]byte{0: serial, 7: 1}}
}

// Image makes one that is signed with the development key.
func Image(kind string, slot byte, v firmware.Version, size int) *firmware.Image {
	k, err := firmware.BoardByName(kind)
	if err != nil {
		panic(err)
	}
	m := &firmware.Image{Board: k, Link: k.A, Version: v, Body: bytes.Repeat([]byte{byte(v), 0x5A, slot, 0}, size/4)}
	if slot == 'B' {
		m.Link = k.B
	}
	binary.LittleEndian.PutUint32(m.Body[4:], m.Link+firmware.HeaderSize+9)
	if err := m.Sign(firmware.DevelopmentKey()); err != nil {
		panic(err)
	}
	return m
}

// Install puts an image into its slot, confirmed, and starts it.
func (b *Board) Install(m *firmware.Image) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[m.Slot()-'A'] = &image{m: m, sequence: b.highest() + 1, tried: true, confirmed: true}
	b.boot()
}

// Try puts an image into its slot and starts it, never confirmed: what the UF2 of a new
// Pico does.
func (b *Board) Try(m *firmware.Image) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[m.Slot()-'A'] = &image{m: m, sequence: b.highest() + 1}
	b.boot()
}

// SetKey pairs the board.
func (b *Board) SetKey(key []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.key = bytes.Clone(key)
}

// Key is the pairing key, nil without one.
func (b *Board) Key() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.key)
}

// Press presses the service button.
func (b *Board) Press() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pressed = time.Now()
}

// Happen adds an event.
func (b *Board) Happen(code, argument byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.event(code, argument)
}

// Reset pulls the plug and puts it in again.
func (b *Board) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.boot()
}

// Tamper opens the enclosure: the key is erased and the session over.
func (b *Board) Tamper() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tampered, b.key, b.session, b.shuts = true, nil, nil, time.Time{}
	b.event(9, 1)
}

// Enclose closes the enclosure.
func (b *Board) Enclose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tampered = false
	b.event(9, 0)
}

// EnterLoader restarts it into its loader.
func (b *Board) EnterLoader() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.application, b.session, b.shuts = false, nil, time.Time{}
}

// Lie changes every answer before it is sent: f gets the question's type and the
// raw frame and returns what goes out instead, nil for silence. A nil f tells
// the truth again.
func (b *Board) Lie(f func(question byte, raw []byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lie = f
}

// Lose lets f say of each question whether it is lost on its way; nil for none.
func (b *Board) Lose(f func(question byte) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose = f
}

// Opened is how often the lock opened.
func (b *Board) Opened() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

// Open tells whether the lock line is high.
func (b *Board) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open()
}

// Confirmed is the version that is kept, 0 for none.
func (b *Board) Confirmed() firmware.Version {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *image
	for _, s := range b.slots {
		if s != nil && s.confirmed && (best == nil || s.sequence > best.sequence) {
			best = s
		}
	}
	if best == nil {
		return 0
	}
	return best.m.Version
}

func (b *Board) highest() (n uint32) {
	for _, s := range b.slots {
		if s != nil {
			n = max(n, s.sequence)
		}
	}
	return n
}

func (b *Board) event(code, argument byte) {
	b.events = append(b.events, Event{uint32(len(b.events) + 1), code, argument})
}

func (b *Board) open() bool {
	now := time.Now()
	if b.session != nil && now.Sub(b.heard) > 2*time.Second {
		b.session = nil
		b.event(5, 0)
	}
	is := b.session != nil && now.Before(b.shuts)
	if b.wasOpen && !is {
		b.event(7, 1)
	}
	b.wasOpen = is
	return is
}

// first is the slot that starts, by section 3; -1 for none.
func (b *Board) first() int {
	best := -1
	rank := func(s *image) (r uint32) {
		switch {
		case !s.tried && !s.confirmed:
			return 3<<28 + s.sequence
		case s.confirmed:
			return 2<<28 + s.sequence
		}
		return 1<<28 + s.sequence
	}
	for i, s := range b.slots {
		if s != nil && (best < 0 || rank(s) > rank(b.slots[best])) {
			best = i
		}
	}
	return best
}

// boot starts an image, or stays in the loader.
func (b *Board) boot() bool {
	b.session, b.challenge, b.application, b.shuts, b.wasOpen = nil, nil, false, time.Time{}, false
	b.starts++
	best := b.first()
	if best < 0 {
		return false
	}
	b.slots[best].tried = true
	b.running, b.application = best, true
	if !b.again {
		b.chosen = best
	}
	b.event(1, 0)
	if v := b.slots[best].m.Version; v == b.Hang && v != 0 && !b.slots[best].confirmed {
		b.again = true
		defer func() { b.again = false }()
		return b.boot() // the watchdog
	}
	return true
}

func (b *Board) target() int {
	newest := -1
	for i, s := range b.slots {
		if s != nil && s.confirmed && (newest < 0 || s.sequence > b.slots[newest].sequence) {
			newest = i
		}
	}
	if newest < 0 {
		newest = b.first()
	}
	if newest < 0 {
		return 0
	}
	return 1 - newest
}

func (b *Board) link(slot int) uint32 { return []uint32{b.kind.A, b.kind.B}[slot] }

// errUnplugged ends Serve.
var errUnplugged = errors.New("unplugged")

// Serve speaks on the line until it is closed.
func (b *Board) Serve(line net.Conn) {
	defer line.Close()
	var block, typed []byte
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(line, one); err != nil {
			return
		}
		b.mu.Lock()
		inApplication := b.application
		b.mu.Unlock()
		var err error
		switch {
		case inApplication && one[0] == 0:
			if raw := uncobs(block); raw != nil {
				err = b.frame(line, raw)
			}
			block = block[:0]
		case inApplication:
			block = append(block, one[0])
		case one[0] == '\r' || one[0] == '\n':
			err = b.console(line, string(typed))
			typed = typed[:0]
		case one[0] >= 0x20 && one[0] < 0x7F:
			typed = append(typed, one[0])
			_, err = line.Write(one)
		}
		if err != nil {
			return
		}
	}
}

func uncobs(b []byte) (raw []byte) {
	if len(b) < 2 || len(b) > 251 {
		return nil
	}
	for len(b) > 0 {
		n := int(b[0])
		if n > len(b) {
			return nil
		}
		raw = append(raw, b[1:n]...)
		if b = b[n:]; len(b) > 0 {
			raw = append(raw, 0)
		}
	}
	return raw
}

// Wire is a raw frame as it goes over the line.
func Wire(raw []byte) []byte {
	out := []byte{0}
	for _, part := range bytes.Split(raw, []byte{0}) {
		out = append(append(out, byte(len(part)+1)), part...)
	}
	return append(out, 0)
}

func h(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

var le = binary.LittleEndian

// frame answers one.
func (b *Board) frame(line net.Conn, raw []byte) error {
	b.mu.Lock()
	if b.lose != nil && b.lose(raw[0]) || b.Silent != 0 && b.slots[b.running].m.Version == b.Silent {
		b.mu.Unlock()
		return nil
	}
	out, restart := b.answer(raw)
	if b.lie != nil && out != nil {
		out = b.lie(raw[0], out)
	}
	if restart {
		b.boot()
		b.application, b.session = false, nil
	}
	banner := b.banner()
	b.mu.Unlock()
	if out != nil {
		if _, err := line.Write(Wire(out)); err != nil {
			return err
		}
	}
	if restart {
		_, err := io.WriteString(line, banner)
		return err
	}
	return nil
}

// Plain makes the raw bytes of a plain frame.
func Plain(kind byte, body []byte) []byte {
	raw := append([]byte{kind}, body...)
	return le.AppendUint32(raw, crc32.ChecksumIEEE(raw))
}

func (b *Board) answer(raw []byte) (out []byte, restart bool) {
	now := time.Now()
	b.open() // time may have passed
	kind := raw[0]
	no := func(code byte) ([]byte, bool) { return Plain(0xBF, []byte{kind, code}), false }
	if kind&0x40 == 0 {
		if len(raw) < 5 || crc32.ChecksumIEEE(raw[:len(raw)-4]) != le.Uint32(raw[len(raw)-4:]) {
			return nil, false
		}
		body := raw[1 : len(raw)-4]
		yes := func(body []byte) ([]byte, bool) { return Plain(kind|0x80, body), false }
		switch kind {
		case 0x01:
			return yes(b.info())
		case 0x02:
			if b.key == nil {
				return no(3)
			}
			b.sessions++
			nonce := h(b.key, []byte("faceprint guard v1 nonce"), le.AppendUint32(le.AppendUint32(nil, b.starts), b.sessions))[:16]
			context := bytes.Join([][]byte{body[1:17], nonce, b.serial[:]}, nil)
			b.session = &session{
				toBoard: h(b.key, []byte("faceprint guard v1 host to board"), context),
				toHost:  h(b.key, []byte("faceprint guard v1 board to host"), context),
			}
			b.heard, b.shuts, b.challenge = now, time.Time{}, nil
			b.event(4, 0)
			return yes(bytes.Join([][]byte{{1}, nonce, b.serial[:]}, nil))
		case 0x03:
			if b.key != nil {
				return no(4)
			}
			if now.Sub(b.pressed) > time.Minute {
				return no(5)
			}
			b.key = bytes.Clone(body)
			b.event(2, 0)
			return yes(h(b.key, []byte("faceprint pair v1"), b.serial[:])[:16])
		case 0x04:
			if b.key != nil {
				return no(4)
			}
			b.confirm()
			return yes(nil)
		case 0x05:
			if b.key != nil {
				return no(4)
			}
			out, _ = yes(nil)
			return out, true
		}
		return no(2)
	}
	s := b.session
	switch {
	case s == nil:
		return no(7)
	case len(raw) < 21 || !hmac.Equal(h(s.toBoard, raw[:len(raw)-16])[:16], raw[len(raw)-16:]):
		return no(8)
	case le.Uint32(raw[1:]) <= s.taken:
		return no(9)
	}
	s.taken = le.Uint32(raw[1:])
	b.heard = now
	b.confirm()
	body := raw[5 : len(raw)-16]
	sealed := func(kind byte, body []byte) []byte {
		s.sent++
		f := le.AppendUint32([]byte{kind}, s.sent)
		f = append(le.AppendUint32(f, s.taken), body...)
		return append(f, h(s.toHost, f)[:16]...)
	}
	yes := func(body []byte) ([]byte, bool) { return sealed(kind|0x80, body), false }
	refuse := func(code byte) ([]byte, bool) {
		b.event(8, code)
		return sealed(0xFF, []byte{kind, code}), false
	}
	switch kind {
	case 0x41:
		return yes(b.status())
	case 0x42:
		b.challenges++
		b.challenge = h(b.key, []byte("faceprint guard v1 challenge"), le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, b.starts), b.sessions), b.challenges))[:16]
		b.challenged = now
		return yes(b.challenge)
	case 0x43:
		hold := time.Duration(le.Uint16(body[16:])) * time.Millisecond
		good := b.challenge != nil && bytes.Equal(body[:16], b.challenge) && now.Sub(b.challenged) <= 2*time.Second
		b.challenge = nil
		if !good {
			return refuse(10)
		}
		if hold < 100*time.Millisecond || hold > 30*time.Second {
			return refuse(11)
		}
		b.shuts = now.Add(hold)
		b.opened++
		b.event(6, byte(hold/(100*time.Millisecond)))
		return yes(b.status())
	case 0x44:
		if b.open() {
			b.event(7, 2)
		}
		b.shuts, b.wasOpen = time.Time{}, false
		return yes(b.status())
	case 0x45:
		after := le.Uint32(body)
		n := uint32(len(b.events))
		out := le.AppendUint32(le.AppendUint32(nil, min(n, 1)), n)
		var list []byte
		count := byte(0)
		for _, e := range b.events {
			if e.Sequence > after && count < 16 {
				list = le.AppendUint32(list, e.Sequence)
				list = append(le.AppendUint16(list, uint16(b.starts)), e.Code, e.Argument)
				list = le.AppendUint32(list, 1000)
				count++
			}
		}
		return yes(append(append(out, count), list...))
	case 0x46:
		return yes(append([]byte{63, 0, 0, 2, 0, 8, 0, 0}, make([]byte, 16)...))
	case 0x47:
		return yes(b.status())
	case 0x48:
		out, _ = yes(nil)
		b.key, b.session = nil, nil
		b.event(3, 1)
		return out, false
	case 0x49:
		out, _ = yes(nil)
		b.event(16, 0)
		return out, true
	}
	return refuse(2)
}

func (b *Board) confirm() {
	s := b.slots[b.running]
	if s == nil || s.confirmed || s.m.Version == b.Mute && b.Mute != 0 {
		return
	}
	s.confirmed = true
	b.floor = max(b.floor, s.m.Rollback)
	b.event(15, 0)
}

func (b *Board) info() []byte {
	s := b.slots[b.running]
	flags, link := byte(0), byte(0)
	if b.key != nil {
		flags, link = flags|1, 1
	}
	if b.session != nil {
		link = 2
	}
	if s.confirmed {
		flags |= 2
	}
	if b.tampered {
		flags |= 4
	}
	if b.Production != nil {
		flags |= 16
	}
	out := []byte{1, byte('A' + b.running), flags, link}
	out = append(le.AppendUint32(out, b.kind.ID), b.serial[:]...)
	for _, v := range []uint32{uint32(s.m.Version), s.m.Rollback, b.floor, 0x01000000} {
		out = le.AppendUint32(out, v)
	}
	return out
}

func (b *Board) status() []byte {
	out := []byte{2, 0, 0, 0}
	left := uint16(0)
	if b.open() {
		out[1] = 1
		left = uint16(time.Until(b.shuts).Milliseconds())
	}
	out = le.AppendUint16(out, left)
	out = le.AppendUint16(out, 0)
	out = le.AppendUint32(out, 1000)
	return le.AppendUint32(out, uint32(len(b.events)))
}

func (b *Board) banner() string {
	key := "development"
	if b.Production != nil {
		key = "production"
	}
	text := fmt.Sprintf("\r\nfaceprint-loader 1.0.0 board=%d serial=%s key=%s floor=%d\r\n", b.kind.ID, hex.EncodeToString(b.serial[:]), key, b.floor)
	for i, s := range b.slots {
		line := "empty"
		if s != nil {
			state := "new"
			switch {
			case s.confirmed:
				state = "confirmed"
			case s.tried:
				state = "tried"
			}
			line = fmt.Sprintf("%s rollback=%d sequence=%d %s", s.m.Version, s.m.Rollback, s.sequence, state)
		}
		text += fmt.Sprintf("slot %c %s\r\n", 'A'+i, line)
	}
	return text + fmt.Sprintf("target %c %#08x\r\n> ", 'A'+b.target(), b.link(b.target()))
}

// console obeys one line of the loader's.
func (b *Board) console(line net.Conn, command string) error {
	say := func(format string, a ...any) error { _, err := fmt.Fprintf(line, "\r\n"+format, a...); return err }
	b.mu.Lock()
	banner, target := b.banner(), b.target()
	b.mu.Unlock()
	switch command {
	case "":
		return say("> ")
	case "info":
		_, err := io.WriteString(line, banner)
		return err
	case "boot":
		b.mu.Lock()
		ok := b.boot()
		v, slot := firmware.Version(0), b.chosen
		if ok {
			v = b.slots[slot].m.Version
		}
		b.mu.Unlock()
		if !ok {
			return say("error none: no image is whole\r\n> ")
		}
		return say("boot %c %s\r\n", 'A'+slot, v)
	case "load":
		if err := say("ready %c %#08x\r\n", 'A'+target, b.link(target)); err != nil {
			return err
		}
		m, err := b.receive(line, target)
		if err == nil && b.Refuse != "" {
			err = b.Refuse
		}
		var r firmware.Refusal
		switch {
		case errors.As(err, &r):
			return say("error %s: refused\r\n> ", string(r))
		case err != nil:
			return err
		}
		b.mu.Lock()
		b.slots[target] = &image{m: m, sequence: b.highest() + 1}
		b.mu.Unlock()
		return say("ok %c %s\r\n> ", 'A'+target, m.Version)
	}
	return say("error command: %s\r\n> ", strings.ToUpper(command))
}

// receive takes a file by XMODEM.
func (b *Board) receive(line net.Conn, target int) (*firmware.Image, error) {
	var got []byte
	one := make([]byte, 1)
	defer func() { _ = line.SetReadDeadline(time.Time{}) }()
	next, begun := byte(1), false
	for waits := 0; waits < 60; {
		if !begun {
			if _, err := line.Write([]byte("C")); err != nil {
				return nil, err
			}
		}
		_ = line.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(line, one); errors.Is(err, os.ErrDeadlineExceeded) {
			waits++
			continue
		} else if err != nil {
			return nil, err
		}
		size := 0
		switch one[0] {
		case 1:
			size = 128
		case 2:
			size = 1024
		case 4:
			m, err := b.judge(got, target)
			if err != nil {
				_, _ = line.Write([]byte{0x18, 0x18, 0x18})
				return nil, err
			}
			_, err = line.Write([]byte{6})
			return m, err
		case 0x18:
			if m, err := b.judge(got, target); err == nil {
				return m, nil // whole by then, and the one that starts
			}
			return nil, firmware.Cancelled
		default:
			continue
		}
		begun, waits = true, 0
		block := make([]byte, size+4)
		if _, err := io.ReadFull(line, block); errors.Is(err, os.ErrDeadlineExceeded) {
			_, _ = line.Write([]byte{0x15})
			continue
		} else if err != nil {
			return nil, err
		}
		if b.CutAt > 0 && int(next) == b.CutAt {
			b.CutAt = 0
			_ = line.Close()
			return nil, errUnplugged
		}
		if block[0] == next {
			got = append(got, block[2:2+size]...)
			next++
		}
		if _, err := line.Write([]byte{6}); err != nil {
			return nil, err
		}
	}
	return nil, firmware.BadTransfer
}

func (b *Board) judge(got []byte, target int) (*firmware.Image, error) {
	images, err := firmware.DecodeBundle(got)
	if err != nil {
		return nil, err
	}
	for _, m := range images {
		if m.Board.ID != b.kind.ID {
			return nil, firmware.OtherBoard
		}
		if m.Link != b.link(target) {
			continue
		}
		public := b.Production
		if !m.Production {
			if b.Production != nil {
				return nil, firmware.WrongKey
			}
			public = firmware.DevelopmentKey().Public().(ed25519.PublicKey)
		}
		if err := m.Verify(public); err != nil {
			return nil, firmware.BadSignature
		}
		return m, nil
	}
	return nil, firmware.OtherSlot
}
