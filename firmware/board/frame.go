package board

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Sizes of section 6, in bytes.
const (
	mostRaw   = 250 // so that COBS adds one byte
	crcSize   = 4
	tagSize   = 16
	leastSeal = 1 + 4 + tagSize
	mostBlock = mostRaw + 1

	// KeySize is that of a pairing key.
	KeySize = 32
	// SerialSize is that of a board's serial number.
	SerialSize = 8
	nonceSize  = 16
)

// Bits of a frame's type.
const (
	answerBit = 0x80
	sealedBit = 0x40
)

// errGarbled: a frame that its encoder would not have written. It is noise.
var errGarbled = errors.New("garbled frame")

// encode makes the frame of raw, with the zero bytes around it.
func encode(raw []byte) []byte {
	out := make([]byte, 1, len(raw)+3)
	code := len(out)
	out = append(out, 0)
	for _, b := range raw {
		if b != 0 {
			out = append(out, b)
			continue
		}
		out[code] = byte(len(out) - code)
		code = len(out)
		out = append(out, 0)
	}
	out[code] = byte(len(out) - code)
	return append(out, 0)
}

// decode undoes it for what stands between two zero bytes.
func decode(block []byte) ([]byte, error) {
	if len(block) < 2 || len(block) > mostBlock {
		return nil, errGarbled
	}
	raw := make([]byte, 0, len(block))
	for len(block) > 0 {
		n := int(block[0])
		if n == 0 || n > len(block) {
			return nil, errGarbled
		}
		for _, b := range block[1:n] {
			if b == 0 {
				return nil, errGarbled
			}
		}
		raw = append(raw, block[1:n]...)
		if block = block[n:]; len(block) > 0 {
			raw = append(raw, 0)
		}
	}
	return raw, nil
}

// plain makes the raw bytes of a plain frame.
func plain(kind byte, body []byte) []byte {
	raw := append([]byte{kind}, body...)
	return binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
}

func openPlain(raw []byte) (kind byte, body []byte, err error) {
	if len(raw) < 1+crcSize || raw[0]&sealedBit != 0 {
		return 0, nil, errGarbled
	}
	end := len(raw) - crcSize
	if crc32.ChecksumIEEE(raw[:end]) != binary.LittleEndian.Uint32(raw[end:]) {
		return 0, nil, errGarbled
	}
	return raw[0], raw[1:end], nil
}

// seal makes the raw bytes of a sealed frame.
func seal(key []byte, kind byte, counter uint32, body []byte) []byte {
	raw := binary.LittleEndian.AppendUint32([]byte{kind}, counter)
	raw = append(raw, body...)
	return append(raw, mac(key, raw)[:tagSize]...)
}

// openSealed checks the tag; the counter is the caller's to check.
func openSealed(key, raw []byte) (kind byte, counter uint32, body []byte, err error) {
	if len(raw) < leastSeal || raw[0]&sealedBit == 0 {
		return 0, 0, nil, errGarbled
	}
	end := len(raw) - tagSize
	if subtle.ConstantTimeCompare(mac(key, raw[:end])[:tagSize], raw[end:]) != 1 {
		return 0, 0, nil, errGarbled
	}
	return raw[0], binary.LittleEndian.Uint32(raw[1:]), raw[5:end], nil
}

// mac is H of the specification over the parts joined.
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// sessionKeys derives one key for each direction.
func sessionKeys(pairing, host, board, serial []byte) (toBoard, toHost []byte) {
	toBoard = mac(pairing, []byte("faceprint guard v1 host to board"), host, board, serial)
	toHost = mac(pairing, []byte("faceprint guard v1 board to host"), host, board, serial)
	return toBoard, toHost
}

// pairProof is the board's answer to a pairing key.
func pairProof(key, serial []byte) []byte {
	return mac(key, []byte("faceprint pair v1"), serial)[:tagSize]
}
