package sensor

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// PID is what kind of packet it is (manual 4.1).
type PID byte

// Kinds of packets.
const (
	PIDCommand PID = 0x01 // host to module
	PIDData    PID = 0x02 // more follows
	PIDAck     PID = 0x07 // module to host
	PIDEndData PID = 0x08 // the last of a transfer
)

func (p PID) valid() bool {
	return p == PIDCommand || p == PIDData || p == PIDAck || p == PIDEndData
}

// Sizes on the wire, in bytes.
const (
	headerSize = 9   // start code, address, PID, length
	sumSize    = 2   // behind the content
	MaxContent = 256 // of a packet; the largest data packet
)

// DefaultAddress is the factory's.
const DefaultAddress uint32 = 0xFFFFFFFF

const startCode = 0xEF01

// Packet is one packet on the wire.
type Packet struct {
	Address uint32
	PID     PID
	Content []byte // 0 to MaxContent bytes
}

// What can be wrong with bytes from the wire.
var (
	// ErrShort: more bytes are needed to tell.
	ErrShort = errors.New("incomplete packet")
	// ErrFrame: these bytes are no packet.
	ErrFrame = errors.New("no packet")
	// ErrSum: a packet whose checksum is wrong.
	ErrSum = errors.New("wrong checksum")
)

// AppendPacket appends p as it stands on the wire.
func AppendPacket(b []byte, p Packet) ([]byte, error) {
	if len(p.Content) > MaxContent || !p.PID.valid() {
		return b, fmt.Errorf("sensor: packet %#02x with %d bytes of content: %w", byte(p.PID), len(p.Content), ErrFrame)
	}
	from := len(b)
	b = binary.BigEndian.AppendUint16(b, startCode)
	b = binary.BigEndian.AppendUint32(b, p.Address)
	b = append(b, byte(p.PID))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Content)+sumSize))
	b = append(b, p.Content...)
	return binary.BigEndian.AppendUint16(b, checksum(b[from:])), nil
}

// checksum of a packet without its sum: over PID, length and content.
func checksum(b []byte) uint16 {
	var sum uint16
	for _, x := range b[6:] {
		sum += uint16(x)
	}
	return sum
}

// DecodePacket reads the packet that b begins with and returns how long it is.
// It accepts only what AppendPacket would write. The content is part of b.
//
// ErrShort asks for more bytes. On ErrFrame, n bytes cannot begin a packet and
// are to be skipped; on ErrSum, n is the length of the damaged packet.
func DecodePacket(b []byte) (p Packet, n int, err error) {
	for i, want := range []byte{startCode >> 8, startCode & 0xff} {
		if len(b) <= i {
			return p, 0, ErrShort
		}
		if b[i] != want {
			return p, 1, fmt.Errorf("sensor: byte %#02x where a packet begins: %w", b[i], ErrFrame)
		}
	}
	if len(b) < headerSize {
		return p, 0, ErrShort
	}
	p.Address = binary.BigEndian.Uint32(b[2:])
	p.PID = PID(b[6])
	length := int(binary.BigEndian.Uint16(b[7:]))
	if !p.PID.valid() || length < sumSize || length > MaxContent+sumSize {
		return p, 1, fmt.Errorf("sensor: PID %#02x with length %d: %w", b[6], length, ErrFrame)
	}
	n = headerSize + length
	if len(b) < n {
		return p, 0, ErrShort
	}
	p.Content = b[headerSize : n-sumSize]
	if sum := binary.BigEndian.Uint16(b[n-sumSize:]); sum != checksum(b[:n-sumSize]) {
		return p, n, fmt.Errorf("sensor: sum %#04x, computed %#04x: %w", sum, checksum(b[:n-sumSize]), ErrSum)
	}
	return p, n, nil
}

// Reassembler finds packets in a stream that may begin anywhere and hold
// anything: a ready byte, a glitch of the power-up, the rest of an old answer.
type Reassembler struct {
	all     []byte // buf and what was read of it before: templates and pictures
	buf     []byte // its end, that was not read yet
	Skipped uint64 // bytes that belonged to no packet
	BadSums uint64 // packets with a wrong checksum
}

// Write adds bytes from the wire, and wipes those that were read. It never fails.
func (r *Reassembler) Write(b []byte) (int, error) {
	n := copy(r.all, r.buf)
	if n+len(b) > cap(r.all) {
		grown := make([]byte, n, 2*(n+len(b)))
		copy(grown, r.buf)
		clear(r.all)
		r.all = grown
	}
	clear(r.all[n:])
	r.all = append(r.all[:n], b...)
	r.buf = r.all
	return len(b), nil
}

// Next returns the next packet. It returns ErrShort when more bytes are needed
// and ErrSum for a packet that arrived damaged; what is no packet is skipped.
// The content is valid until the next Write.
func (r *Reassembler) Next() (Packet, error) {
	for {
		p, n, err := DecodePacket(r.buf)
		switch {
		case err == nil:
			r.buf = r.buf[n:]
			return p, nil
		case errors.Is(err, ErrSum):
			// A damaged length makes this swallow what follows, so only the start
			// code is given up: the next packet may begin inside.
			r.BadSums++
			r.Skipped += 2
			r.buf = r.buf[2:]
			return Packet{}, err
		case errors.Is(err, ErrFrame):
			r.Skipped += uint64(n)
			r.buf = r.buf[n:]
		default:
			return Packet{}, err
		}
	}
}

// Reset forgets what was collected.
func (r *Reassembler) Reset() {
	r.Skipped += uint64(len(r.buf))
	clear(r.all)
	r.all, r.buf = r.all[:0], nil
}
