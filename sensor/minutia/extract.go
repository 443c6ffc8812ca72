package minutia

import (
	"errors"
	"image"
	"math"
	"slices"
)

// What keeps a picture from becoming a template. Errors wrap one of these.
var (
	// ErrPicture is a picture of impossible size or resolution: a fault of
	// whoever sent it, not of the finger.
	ErrPicture = errors.New("unusable picture")
	// ErrNoFinger is a picture without ridges: blank, noise, stripes, a face.
	// Ask for the finger again.
	ErrNoFinger = errors.New("no finger in the picture")
	// ErrPoor is a finger of which too little can be read. Ask again, with a
	// dry finger in the middle of the sensor.
	ErrPoor = errors.New("too little of the finger is readable")
)

// Kind is what a minutia looked like. Pressure turns one into the other, so
// matching hardly weighs it.
type Kind uint8

// Kinds, numbered as in ISO/IEC 19794-2.
const (
	Other Kind = iota
	Ending
	Bifurcation
)

// Minutia is a place where one ridge becomes two or none.
type Minutia struct {
	X, Y    int16 // px at 500 dpi from the picture's top left corner
	Angle   uint8 // 256ths of a turn, x towards y, into the side with more ridges
	Quality uint8 // 0..15
	Kind    Kind
}

// analysis is all that the stages find in a picture, kept for explain.
type analysis struct {
	gray   *image.Gray
	norm   *plane
	field  *field
	guide  *guide
	re, im *plane
	found  []Minutia
}

// Extract reads a picture of dark ridges on light ground.
func Extract(img *image.Gray, dpi float64) (*Template, error) {
	a, err := analyse(img, dpi)
	if err != nil {
		return nil, err
	}
	return a.template()
}

func analyse(img *image.Gray, dpi float64) (*analysis, error) {
	if err := checkPicture(img, dpi); err != nil {
		return nil, err
	}
	a := &analysis{gray: atWorkDPI(img, dpi)}
	w, h := a.gray.Rect.Dx(), a.gray.Rect.Dy()
	var deviation []float32
	a.norm, deviation = normalise(a.gray)

	f := newField(cells(w), cells(h))
	a.field = f
	f.measure(a.norm, 2, nil)
	f.foreground(deviation)

	a.guide = guideOf(f, w, h)
	s := along(a.norm, a.guide)
	second := newField(f.w, f.h)
	second.measure(s, 1, f.mask)
	for c := range f.mask {
		second.mask[c] = f.mask[c] && second.coherence[c] > maskCoherence
	}
	second.mask = vote(second.mask, f.w, f.h, 5)
	components(second.mask, f.w, f.h, 0.15, 200)
	a.field = second
	a.guide = guideOf(second, w, h)
	s = along(a.norm, a.guide)
	a.re, a.im = across(s, a.guide)
	a.found = undo(spirals(a.re, a.im, a.guide), dipoleDistance)
	return a, nil
}

func (a *analysis) template() (*Template, error) {
	f := a.field
	w, h := a.gray.Rect.Dx(), a.gray.Rect.Dy()
	t := &Template{Width: w, Height: h}
	dist := edgeDistance(f.mask, f.w, f.h)
	for _, m := range a.found {
		// Distance of the point from the background, interpolated by cell.
		c := min(int(m.Y)/cellSize, f.h-1)*f.w + min(int(m.X)/cellSize, f.w-1)
		if float64(dist[c])*cellSize < edgeMargin {
			continue
		}
		m.Quality = uint8(15*a.clarity(int(m.X), int(m.Y)) + 0.5)
		t.Minutiae = append(t.Minutiae, m)
	}
	slices.SortStableFunc(t.Minutiae, func(x, y Minutia) int { return int(y.Quality) - int(x.Quality) })
	if len(t.Minutiae) > maxMinutiae {
		t.Minutiae = t.Minutiae[:maxMinutiae]
	}
	t.Ridges = a.patches()
	return t, nil
}

// patches samples the ridges' wave at the middle of every patch.
func (a *analysis) patches() Ridges {
	w, h := a.gray.Rect.Dx(), a.gray.Rect.Dy()
	r := Ridges{Width: (w + patchSize - 1) / patchSize, Height: (h + patchSize - 1) / patchSize}
	r.Patches = make([]Patch, r.Width*r.Height)
	for py := range r.Height {
		for px := range r.Width {
			x, y := px*patchSize+patchSize/2, py*patchSize+patchSize/2
			if x >= w || y >= h {
				continue
			}
			s := y/subSize*a.guide.w + x/subSize
			if !a.guide.on[s] {
				continue
			}
			i := a.re.at(x, y)
			phase := math.Atan2(float64(a.im.pix[i]), float64(a.re.pix[i]))
			c := y/cellSize*a.field.w + x/cellSize
			r.Patches[py*r.Width+px] = Patch{
				On:        true,
				Direction: a.guide.dir[s] / (directions / patchDirections),
				Period:    periodCode(a.field.period[c]),
				Phase:     uint8(int(math.Round(phase/(2*math.Pi)*patchPhases)+patchPhases) % patchPhases),
			}
		}
	}
	return r
}

// clarity is how strong and how parallel the ridges are around a point.
func (a *analysis) clarity(x, y int) float32 {
	const r = 7
	var s float64
	n := 0
	for k := range 16 {
		sin, cos := math.Sincos(float64(k) * math.Pi / 8)
		px, py := int(math.Round(float64(x)+r*cos)), int(math.Round(float64(y)+r*sin))
		if px < 0 || py < 0 || px >= a.re.w || py >= a.re.h {
			continue
		}
		i := a.re.at(px, py)
		s += math.Hypot(float64(a.re.pix[i]), float64(a.im.pix[i]))
		n++
	}
	c := min(y/cellSize, a.field.h-1)*a.field.w + min(x/cellSize, a.field.w-1)
	amp := min(s/float64(max(n, 1)), 1)
	return float32(amp) * a.field.coherence[c]
}

// Centroid is the middle of the finger in a picture, in the picture's own
// pixels; without a finger, the middle of the picture.
func Centroid(img *image.Gray, dpi float64) (x, y float64) {
	x, y = float64(img.Rect.Dx())/2, float64(img.Rect.Dy())/2
	if checkPicture(img, dpi) != nil {
		return x, y
	}
	gray := atWorkDPI(img, dpi)
	norm, deviation := normalise(gray)
	f := newField(cells(norm.w), cells(norm.h))
	f.measure(norm, 2, nil)
	f.foreground(deviation)
	var sx, sy, n float64
	for c, on := range f.mask {
		if on {
			sx += float64(c%f.w) + 0.5
			sy += float64(c/f.w) + 0.5
			n++
		}
	}
	if n == 0 {
		return x, y
	}
	scale := float64(img.Rect.Dx()) / float64(norm.w)
	return sx / n * cellSize * scale, sy / n * cellSize * scale
}
