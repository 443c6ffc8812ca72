package minutia

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Exchange is a standard record that other programs read and write minutiae in.
type Exchange uint8

// The two records are the same but for the header and the unit of angles.
const (
	ISO19794_2 Exchange = iota + 1 // ISO/IEC 19794-2:2005, record format
	ANSI378                        // ANSI INCITS 378-2004
)

// String returns the standard's name.
func (x Exchange) String() string {
	switch x {
	case ISO19794_2:
		return "ISO/IEC 19794-2"
	case ANSI378:
		return "ANSI INCITS 378"
	}
	return "unknown record"
}

// ErrRecord is bytes that are no minutiae record of the two standards.
var ErrRecord = errors.New("malformed minutiae record")

const (
	recordMagic    = "FMR\x00 20\x00"
	isoHeader      = 24
	ansiHeader     = 26
	viewHeader     = 4
	recordMinutia  = 6
	recordsPerInch = 2.54 // px a centimetre to px an inch
	maxRecordViews = 16

	lastFinger = 10 // the left little one; 0 is unknown

	// Impression types: 0 to 3 are live and not, plain and rolled.
	nonLiveRolled = 3
	swipe         = 8
	contactless   = 9 // of ANSI INCITS 378 alone
)

// Export writes the minutiae of a template as a standard record of one view.
// What else the template holds has no place there. The bytes are biometric data
// in the clear: only for fingers that are nobody's, or with consent.
func (t *Template) Export(x Exchange) ([]byte, error) {
	if x != ISO19794_2 && x != ANSI378 {
		return nil, fmt.Errorf("minutia: %w: no such record", ErrRecord)
	}
	size := isoHeader + viewHeader + recordMinutia*len(t.Minutiae) + 2
	if x == ANSI378 {
		size += ansiHeader - isoHeader
	}
	b := append(make([]byte, 0, size), recordMagic...)
	if x == ISO19794_2 {
		b = binary.BigEndian.AppendUint32(b, uint32(size))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, 0, 0, 0, 0) // product identifier: none registered
	}
	b = append(b, 0, 0)       // capture equipment: not reported
	const perCentimetre = 197 // workDPI, rounded
	for _, v := range [4]int{t.Width, t.Height, perCentimetre, perCentimetre} {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	b = append(b, 1, 0)                                              // views, reserved
	b = append(b, 0, 0, min(t.Quality, 100), uint8(len(t.Minutiae))) // unknown finger, plain live scan
	for _, m := range t.Minutiae {
		b = binary.BigEndian.AppendUint16(b, uint16(m.Kind)<<14|uint16(m.X))
		b = binary.BigEndian.AppendUint16(b, uint16(m.Y))
		a := uint8(-m.Angle) // counterclockwise
		if x == ANSI378 {
			a = uint8((int(a)*180 + 128) / 256 % 180) // of two degrees
		}
		b = append(b, a, max(uint8((int(m.Quality)*100+7)/15), 1)) // 0 is: not reported
	}
	return append(b, 0, 0), nil // no extended data
}

// Import reads every view of a standard record, of either kind. The templates
// have minutiae alone, so they compare worse than those of [Extract].
func Import(data []byte) ([]*Template, Exchange, error) {
	r := recordReader{b: data}
	if string(r.take(len(recordMagic))) != recordMagic {
		return nil, 0, fmt.Errorf("minutia: %w: does not begin with FMR and version 20", ErrRecord)
	}
	// ISO has four bytes of length where ANSI has two.
	x, size := ISO19794_2, 0
	if hi := int(r.u16()); hi == 0 {
		size = int(r.u16())
	} else {
		x, size = ANSI378, hi
		r.take(4)
	}
	if size != len(data) {
		return nil, x, fmt.Errorf("minutia: %w: says %d bytes and has %d", ErrRecord, size, len(data))
	}
	r.take(2)
	w, h, rx, ry := int(r.u16()), int(r.u16()), float64(r.u16()), float64(r.u16())
	views, reserved := int(r.u8()), r.u8()
	dx, dy := rx*recordsPerInch, ry*recordsPerInch
	if r.short || !(dx >= minDPI && dx <= maxDPI && dy >= minDPI && dy <= maxDPI) {
		return nil, x, fmt.Errorf("minutia: %w: %g x %g px/cm", ErrRecord, rx, ry)
	}
	if reserved != 0 {
		return nil, x, fmt.Errorf("minutia: %w: the reserved byte behind the views is %d, want 0", ErrRecord, reserved)
	}
	sx, sy := scaleOf(dx), scaleOf(dy)
	if views < 1 || views > maxRecordViews {
		return nil, x, fmt.Errorf("minutia: %w: %d views, want 1 to %d", ErrRecord, views, maxRecordViews)
	}
	var ts []*Template
	for v := range views {
		t, err := r.view(x, w, h, sx, sy)
		if err != nil {
			return nil, x, fmt.Errorf("minutia: %w: view %d: %s", ErrRecord, v+1, err)
		}
		ts = append(ts, t)
	}
	if r.short || len(r.b) > 0 {
		return nil, x, fmt.Errorf("minutia: %w: %d bytes too many or too few", ErrRecord, len(r.b))
	}
	return ts, x, nil
}

// scaleOf is the factor to workDPI; records round to whole px a centimetre, so
// a factor next to one is one.
func scaleOf(dpi float64) float64 {
	if math.Abs(dpi/workDPI-1) <= dpiTolerance {
		return 1
	}
	return workDPI / dpi
}

func (r *recordReader) view(x Exchange, w, h int, sx, sy float64) (*Template, error) {
	finger, impression := r.u8(), r.u8()&0x0F // above it the view's number
	if finger > lastFinger {
		return nil, fmt.Errorf("finger position %d, want 0 to %d", finger, lastFinger)
	}
	if impression > nonLiveRolled && impression != swipe && (x != ANSI378 || impression != contactless) {
		return nil, fmt.Errorf("impression type %d", impression)
	}
	t := &Template{Width: int(float64(w) * sx), Height: int(float64(h) * sy), Quality: r.u8()}
	n := int(r.u8())
	if t.Width < 1 || t.Height < 1 || t.Width > maxSide || t.Height > maxSide {
		return nil, fmt.Errorf("%d x %d px at %d dpi", t.Width, t.Height, workDPI)
	}
	if t.Quality > 100 {
		return nil, fmt.Errorf("quality %d, want 0 to 100", t.Quality)
	}
	for i := range n {
		kx, y := r.u16(), r.u16()
		a, q := r.u8(), r.u8()
		if r.short {
			return nil, errors.New("cut short")
		}
		if kx>>14 > uint16(Bifurcation) || q > 100 || x == ANSI378 && a >= 180 {
			return nil, fmt.Errorf("minutia %d: type %d, angle %d, quality %d", i+1, kx>>14, a, q)
		}
		if y>>14 != 0 {
			return nil, fmt.Errorf("minutia %d: its reserved bits are %d, want 0", i+1, y>>14)
		}
		px, py := int(kx&0x3FFF), int(y)
		if px >= w || py >= h {
			return nil, fmt.Errorf("minutia %d lies off the picture", i+1)
		}
		if x == ANSI378 {
			a = uint8((int(a)*256 + 90) / 180 & 255)
		}
		if q == 0 {
			q = importedQuality // not reported
		}
		t.Minutiae = append(t.Minutiae, Minutia{
			X: int16(min(int(float64(px)*sx), t.Width-1)), Y: int16(min(int(float64(py)*sy), t.Height-1)),
			Angle: -a, Quality: uint8((int(q)*15 + 50) / 100), Kind: Kind(kx >> 14),
		})
	}
	if err := r.extended(); err != nil {
		return nil, err
	}
	t.sortAndLimit()
	t.Ridges.Width, t.Ridges.Height = patchesFor(t.Width), patchesFor(t.Height)
	t.Ridges.Patches = make([]Patch, t.Ridges.Width*t.Ridges.Height)
	return t, nil
}

// extended passes over the extended data of a view: areas of a type, their length,
// which counts these four bytes as well, and what is in them.
func (r *recordReader) extended() error {
	size := int(r.u16())
	areas := recordReader{b: r.take(size)}
	if r.short {
		return errors.New("extended data are cut short")
	}
	for len(areas.b) > 0 {
		kind, n := areas.u16(), int(areas.u16())
		if areas.take(n - 4); kind == 0 || areas.short {
			return fmt.Errorf("extended data of type %d and %d bytes do not fit the %d there", kind, n, size)
		}
	}
	return nil
}

// recordReader takes fields off the front.
type recordReader struct {
	b     []byte
	short bool
}

func (r *recordReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	f := r.b[:n]
	r.b = r.b[n:]
	return f
}

func (r *recordReader) u8() uint8 {
	if f := r.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (r *recordReader) u16() uint16 {
	if f := r.take(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}
