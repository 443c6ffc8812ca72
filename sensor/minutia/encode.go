package minutia

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrTemplate is bytes that are no template of this package.
var ErrTemplate = errors.New("malformed template")

const templateVersion = 2

// MaxTemplate is the most bytes that a template takes: four times those of a
// full finger.
const MaxTemplate = 4096

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

// rice writes small numbers in few bits (Rice, 1979): the quotient by 2^k in
// ones and a zero, then the rest.
func (w *bitWriter) rice(v uint32, k uint) {
	for range v >> k {
		w.put(1, 1)
	}
	w.put(0, 1)
	w.put(v&(1<<k-1), k)
}

// zigzag folds a difference modulo n to 0, -1, 1, -2, 2 ...: small for small.
func zigzag(d, n int) uint32 {
	if d = (d%n + n) % n; d < n/2 {
		return uint32(2 * d)
	}
	return uint32(2*(n-d) - 1)
}

// nearby is the patch that the next one is coded against: its left neighbour,
// or the one above.
func (r *Ridges) nearby(i int) Patch {
	if i%r.Width > 0 && r.Patches[i-1].On {
		return r.Patches[i-1]
	}
	if i >= r.Width {
		return r.Patches[i-r.Width]
	}
	return Patch{}
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

// step reads what rice wrote of zigzag, as 0..n-1 to add.
func (r *bitReader) step(k uint, n uint32) uint8 {
	var v uint32
	for r.get(1) == 1 && !r.bad {
		if v++; v<<k >= n {
			r.bad = true
		}
	}
	v = v<<k | r.get(k)
	if v >= n {
		r.bad = true
		return 0
	}
	if v%2 == 1 {
		return uint8(n - (v+1)/2)
	}
	return uint8(v / 2)
}

// check refuses what the encoding cannot say, or says otherwise than
// [Template.sortAndLimit] leaves it: the clearest minutiae first, as matching relies on,
// and one in a place with a direction.
func (t *Template) check() error {
	if !t.shaped() || len(t.Minutiae) > maxMinutiae || t.Quality > 100 {
		return fmt.Errorf("%d x %d px in %d x %d patches, %d minutiae, quality %d",
			t.Width, t.Height, t.Ridges.Width, t.Ridges.Height, len(t.Minutiae), t.Quality)
	}
	for i, m := range t.Minutiae {
		switch {
		case m.X < 0 || m.Y < 0 || int(m.X) >= t.Width || int(m.Y) >= t.Height:
			return fmt.Errorf("minutia %d lies off the picture", i+1)
		case m.Quality > 15 || m.Kind > Bifurcation:
			return fmt.Errorf("minutia %d is of quality %d and kind %d", i+1, m.Quality, m.Kind)
		case i > 0 && m.Quality > t.Minutiae[i-1].Quality:
			return fmt.Errorf("minutia %d is clearer than the one before it", i+1)
		case t.taken(i):
			return fmt.Errorf("minutia %d is there twice", i+1)
		}
	}
	for i, p := range t.Ridges.Patches {
		if p.Direction >= patchDirections || p.Period >= patchPeriods || p.Phase >= patchPhases || !p.On && p != (Patch{}) {
			return fmt.Errorf("patch %d has direction %d, period %d, phase %d", i+1, p.Direction, p.Period, p.Phase)
		}
	}
	return nil
}

// MarshalBinary encodes a template. The bytes are a person's biometric data:
// seal them before they rest anywhere.
func (t *Template) MarshalBinary() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("minutia: %w: %s", ErrTemplate, err)
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
	for i, p := range t.Ridges.Patches {
		if !p.On {
			w.put(0, 1)
			continue
		}
		near := t.Ridges.nearby(i)
		w.put(1, 1)
		w.rice(zigzag(int(p.Direction)-int(near.Direction), patchDirections), 2)
		w.rice(zigzag(int(p.Period)-int(near.Period), patchPeriods), 1)
		w.put(uint32(p.Phase), 5)
	}
	if len(w.b) > MaxTemplate {
		clear(w.b)
		return nil, fmt.Errorf("minutia: %w: %d mm2 of ridges take %d bytes, at most %d: cut the picture to one finger",
			ErrTemplate, t.Ridges.mm2(), len(w.b), MaxTemplate)
	}
	return w.b, nil
}

// Decode reads a template. It accepts only what MarshalBinary writes.
func Decode(data []byte) (*Template, error) {
	if len(data) > MaxTemplate {
		return nil, fmt.Errorf("minutia: %w: %d bytes, at most %d", ErrTemplate, len(data), MaxTemplate)
	}
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
			near := t.Ridges.nearby(i)
			t.Ridges.Patches[i] = Patch{
				On:        true,
				Direction: (near.Direction + r.step(2, patchDirections)) % patchDirections,
				Period:    (near.Period + r.step(1, patchPeriods)) % patchPeriods,
				Phase:     uint8(r.get(5)),
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
