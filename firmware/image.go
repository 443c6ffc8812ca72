package firmware

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Sizes of PROTOCOL.md, section 2, in bytes.
const (
	HeaderSize = 256
	Padding    = 1024 // images of a bundle begin at multiples of this
	signedSize = 96   // how much of the header is signed
	leastBody  = 8    // stack pointer and reset handler

	// MaxBundle bounds what is read of a file: two slots of the largest board.
	MaxBundle = 1 << 20
)

const (
	magic         = "FPGUARD1"
	signedContext = "faceprint image v1"
)

// Image is one program for one slot of one board.
type Image struct {
	Production bool   // which of the two keys signs it
	Board      Board  // which it is for
	Link       uint32 // start of the slot that it is linked for
	Version    Version
	Rollback   uint32
	Body       []byte // begins with the initial stack pointer and the reset handler
	Signature  [ed25519.SignatureSize]byte
}

// Slot is 'A' or 'B'.
func (m *Image) Slot() byte { return m.Board.SlotName(m.Link) }

// Size is that of header and body.
func (m *Image) Size() int { return HeaderSize + len(m.Body) }

func (m *Image) String() string {
	key := "development"
	if m.Production {
		key = "production"
	}
	return fmt.Sprintf("%s %s for slot %c, %d bytes, rollback %d, %s key", m.Board.Name, m.Version, m.Slot(), m.Size(), m.Rollback, key)
}

// check refuses what no loader would take, whoever signed it.
func (m *Image) check() error {
	size := len(m.Body)
	switch {
	case m.Slot() == 0:
		return fmt.Errorf("link address %#08x is no slot of %s: %w", m.Link, m.Board.Name, BadHeader)
	case size%4 != 0 || size < leastBody || size > int(m.Board.MostBody()):
		return fmt.Errorf("a body of %d bytes; a multiple of 4 from %d to %d fits on %s: %w", size, leastBody, m.Board.MostBody(), m.Board.Name, BadSize)
	}
	reset := binary.LittleEndian.Uint32(m.Body[4:]) &^ 1 // bit 0 says Thumb
	if body := m.Link + HeaderSize; reset < body || reset >= body+uint32(size) {
		return fmt.Errorf("reset handler %#08x lies outside of the body; was it linked for slot %c? %w", reset, m.Slot(), BadHeader)
	}
	return nil
}

// header without the signature.
func (m *Image) header() []byte {
	h := make([]byte, HeaderSize)
	copy(h, magic)
	le := binary.LittleEndian
	le.PutUint16(h[8:], HeaderSize)
	if m.Production {
		le.PutUint16(h[10:], 1)
	}
	le.PutUint32(h[12:], m.Board.ID)
	le.PutUint32(h[16:], uint32(len(m.Body)))
	le.PutUint32(h[20:], m.Link)
	le.PutUint32(h[24:], uint32(m.Version))
	le.PutUint32(h[28:], m.Rollback)
	sum := sha256.Sum256(m.Body)
	copy(h[32:], sum[:])
	return h
}

func (m *Image) signed() []byte {
	return append([]byte(signedContext), m.header()[:signedSize]...)
}

// Sign signs the image after checking that a loader would take it.
func (m *Image) Sign(key ed25519.PrivateKey) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	copy(m.Signature[:], ed25519.Sign(key, m.signed()))
	return nil
}

// Verify checks the signature; what it is good for is the caller's to know:
// the development key is public.
func (m *Image) Verify(public ed25519.PublicKey) error {
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, m.signed(), m.Signature[:]) {
		return fmt.Errorf("firmware: %s: %w", m, BadSignature)
	}
	return nil
}

// Encode is the image as it lies in a slot.
func (m *Image) Encode() []byte {
	h := m.header()
	copy(h[signedSize:], m.Signature[:])
	return append(h, m.Body...)
}

// DecodeImage reads one image from the beginning of b and returns it with the
// number of bytes that it takes. The digest is checked, the signature is not.
func DecodeImage(b []byte) (*Image, int, error) {
	m, n, err := decodeImage(b)
	if err != nil {
		return nil, 0, fmt.Errorf("firmware: %w", err)
	}
	return m, n, nil
}

func decodeImage(b []byte) (*Image, int, error) {
	if len(b) < HeaderSize {
		if len(b) >= len(magic) && string(b[:len(magic)]) == magic {
			return nil, 0, fmt.Errorf("%d bytes of a header of %d: %w", len(b), HeaderSize, Torn)
		}
		return nil, 0, NotImage
	}
	if string(b[:len(magic)]) != magic {
		return nil, 0, NotImage
	}
	le := binary.LittleEndian
	key, size := le.Uint16(b[10:]), le.Uint32(b[16:])
	board, known := BoardByID(le.Uint32(b[12:]))
	switch {
	case le.Uint16(b[8:]) != HeaderSize || key > 1:
		return nil, 0, BadHeader
	case !known:
		return nil, 0, fmt.Errorf("board %d is not known here: %w", le.Uint32(b[12:]), OtherBoard)
	case !zero(b[64:signedSize]) || !zero(b[signedSize+ed25519.SignatureSize:HeaderSize]):
		return nil, 0, BadHeader
	case size > board.MostBody():
		return nil, 0, fmt.Errorf("a body of %d bytes, %d fit: %w", size, board.MostBody(), BadSize)
	case len(b) < HeaderSize+int(size):
		return nil, 0, fmt.Errorf("%d bytes of %d: %w", len(b), HeaderSize+int(size), Torn)
	}
	m := &Image{
		Production: key == 1, Board: board, Link: le.Uint32(b[20:]), Version: Version(le.Uint32(b[24:])), Rollback: le.Uint32(b[28:]),
		Body: bytes.Clone(b[HeaderSize : HeaderSize+int(size)]),
	}
	copy(m.Signature[:], b[signedSize:])
	if err := m.check(); err != nil {
		return nil, 0, err
	}
	if sum := sha256.Sum256(m.Body); !bytes.Equal(sum[:], b[32:64]) {
		return nil, 0, BadDigest
	}
	return m, m.Size(), nil
}

func zero(b []byte) bool { return all(b, 0) }

func all(b []byte, want byte) bool {
	for _, v := range b {
		if v != want {
			return false
		}
	}
	return true
}

// padded is size raised to the next image's start.
func padded(size int) int { return (size + Padding - 1) / Padding * Padding }

// EncodeBundle joins images, one for each slot of each board at most.
func EncodeBundle(images ...*Image) ([]byte, error) {
	var out []byte
	for i, m := range images {
		if clash(images[:i], m) {
			return nil, fmt.Errorf("firmware: two images for slot %c of %s", m.Slot(), m.Board.Name)
		}
		out = append(out, m.Encode()...)
		out = append(out, bytes.Repeat([]byte{0xFF}, padded(len(out))-len(out))...)
	}
	if len(out) == 0 || len(out) > MaxBundle {
		return nil, fmt.Errorf("firmware: a bundle of %d bytes: %w", len(out), BadSize)
	}
	return out, nil
}

func clash(images []*Image, m *Image) bool {
	for _, o := range images {
		if o.Board.ID == m.Board.ID && o.Link == m.Link {
			return true
		}
	}
	return false
}

// DecodeBundle reads what EncodeBundle writes, and nothing else. Signatures
// are not checked.
func DecodeBundle(b []byte) ([]*Image, error) {
	if len(b) > MaxBundle {
		return nil, fmt.Errorf("firmware: more than %d bytes: %w", MaxBundle, BadSize)
	}
	var images []*Image
	for at := 0; at < len(b) || at == 0; {
		m, n, err := decodeImage(b[at:])
		if err != nil {
			return nil, fmt.Errorf("firmware: image %d, at byte %d: %w", len(images)+1, at, err)
		}
		end := padded(at + n)
		if end > len(b) {
			return nil, fmt.Errorf("firmware: image %d, at byte %d: its padding is cut short: %w", len(images)+1, at, Torn)
		}
		if !all(b[at+n:end], 0xFF) {
			return nil, fmt.Errorf("firmware: image %d, at byte %d: its padding is not FF: %w", len(images)+1, at, BadHeader)
		}
		if clash(images, m) {
			return nil, fmt.Errorf("firmware: two images for slot %c of %s: %w", m.Slot(), m.Board.Name, BadHeader)
		}
		images = append(images, m)
		at = end
	}
	return images, nil
}
