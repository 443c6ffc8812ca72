package minutia

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrTemplate is bytes that are no template of this package.
var ErrTemplate = errors.New("malformed template")

const templateVersion = 1

var templateMagic = [2]byte{'F', 'm'}

// bitWriter packs most significant bit first.
type bitWriter struct {
	b    []byte
	left uint // free bits in the last byte
}

func (w *bitWriter) put(v uint32, n uint) {
	for n > 0 {
		if w.left == 0 {
			w.b, w.left = append(w.b, 0), 8
		}
		k := min(n, w.left)
		w.b[len(w.b)-1] |= byte(v>>(n-k)&(1<<k-1)) << (w.left - k)
		w.left -= k
		n -= k
	}
}

type bitReader struct {
	b   []byte
	pos uint
	bad bool
}

func (r *bitReader) get(n uint) uint32 {
	var v uint32
	for range n {
		if r.pos/8 >= uint(len(r.b)) {
			r.bad = true
			return 0
		}
		v = v<<1 | uint32(r.b[r.pos/8]>>(7-r.pos%8)&1)
		r.pos++
	}
	return v
}

// MarshalBinary encodes a template. The bytes are a person's biometric data:
// seal them before they rest anywhere.
func (t *Template) MarshalBinary() ([]byte, error) {
	if t.Width <= 0 || t.Height <= 0 || t.Width > maxSide || t.Height > maxSide ||
		len(t.Minutiae) > maxMinutiae || len(t.Ridges.Patches) != t.Ridges.Width*t.Ridges.Height {
		return nil, fmt.Errorf("minutia: %w: not a template of this package", ErrTemplate)
	}
	w := &bitWriter{b: append(make([]byte, 0, 1024), templateMagic[0], templateMagic[1], templateVersion, t.Quality)}
	w.put(uint32(t.Width), 11)
	w.put(uint32(t.Height), 11)
	w.put(uint32(len(t.Minutiae)), 7)
	for _, m := range t.Minutiae {
		w.put(uint32(m.X), 11)
		w.put(uint32(m.Y), 11)
		w.put(uint32(m.Angle), 8)
		w.put(uint32(m.Quality), 4)
		w.put(uint32(m.Kind), 2)
	}
	for _, p := range t.Ridges.Patches {
		if !p.On {
			w.put(0, 1)
			continue
		}
		w.put(1, 1)
		w.put(uint32(p.Direction), 6)
		w.put(uint32(p.Period), 4)
		w.put(uint32(p.Phase), 5)
	}
	return w.b, nil
}

// Decode reads a template. It accepts only what MarshalBinary writes.
func Decode(data []byte) (*Template, error) {
	if len(data) < 8 || data[0] != templateMagic[0] || data[1] != templateMagic[1] {
		return nil, fmt.Errorf("minutia: %w: no template's first bytes", ErrTemplate)
	}
	if data[2] != templateVersion {
		return nil, fmt.Errorf("minutia: %w: version %d, this program reads %d", ErrTemplate, data[2], templateVersion)
	}
	r := &bitReader{b: data, pos: 32}
	t := &Template{Quality: data[3]}
	t.Width, t.Height = int(r.get(11)), int(r.get(11))
	n := int(r.get(7))
	if t.Width > maxSide || t.Height > maxSide || n > maxMinutiae {
		return nil, fmt.Errorf("minutia: %w: %d x %d px with %d minutiae", ErrTemplate, t.Width, t.Height, n)
	}
	for range n {
		t.Minutiae = append(t.Minutiae, Minutia{
			X: int16(r.get(11)), Y: int16(r.get(11)), Angle: uint8(r.get(8)),
			Quality: uint8(r.get(4)), Kind: Kind(r.get(2)),
		})
	}
	t.Ridges.Width, t.Ridges.Height = patchesFor(t.Width), patchesFor(t.Height)
	t.Ridges.Patches = make([]Patch, t.Ridges.Width*t.Ridges.Height)
	for i := range t.Ridges.Patches {
		if r.bad {
			break
		}
		if r.get(1) == 1 {
			t.Ridges.Patches[i] = Patch{
				On: true, Direction: uint8(r.get(6)), Period: uint8(r.get(4)), Phase: uint8(r.get(5)),
			}
		}
	}
	if r.bad {
		return nil, fmt.Errorf("minutia: %w: cut short", ErrTemplate)
	}
	again, err := t.MarshalBinary()
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("minutia: %w: not in canonical form", ErrTemplate)
	}
	return t, nil
}

func patchesFor(n int) int { return (n + patchSize - 1) / patchSize }
