package minutia

import (
	"errors"
	"fmt"
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
	f.measure(a.norm, firstRounds, nil)
	f.foreground(deviation)

	a.guide = guideOf(f, w, h)
	s := along(a.norm, a.guide)
	second := newField(f.w, f.h)
	second.measure(s, secondRounds, f.mask)
	for c := range f.mask {
		second.mask[c] = f.mask[c] && second.coherence[c] > maskCoherence
	}
	second.mask = vote(second.mask, f.w, f.h, 5)
	components(second.mask, f.w, f.h, maskPart, maskHole)
	a.field = second
	a.guide = guideOf(second, w, h)
	s = along(a.norm, a.guide)
	a.re, a.im = across(s, a.guide)
	a.found = undo(spirals(a.re, a.im, a.guide), dipoleDistance)
	return a, nil
}

// inverted tells whether the ground around the finger, where the picture's rim
// shows any, is darker than the finger.
func inverted(g *image.Gray, f *field) bool {
	mean := func(cx, cy int) float64 {
		sum, n := 0, 0
		for y := cy * cellSize; y < min((cy+1)*cellSize, g.Rect.Dy()); y++ {
			for x := cx * cellSize; x < min((cx+1)*cellSize, g.Rect.Dx()); x++ {
				sum += int(g.Pix[y*g.Stride+x])
				n++
			}
		}
		return float64(sum) / float64(n)
	}
	var finger, ground []float64
	rim := 0
	for cy := range f.h {
		for cx := range f.w {
			onRim := cx == 0 || cy == 0 || cx == f.w-1 || cy == f.h-1
			if onRim {
				rim++
			}
			if f.mask[cy*f.w+cx] {
				finger = append(finger, mean(cx, cy))
			} else if onRim {
				ground = append(ground, mean(cx, cy))
			}
		}
	}
	if len(finger) == 0 || float64(len(ground)) < groundShare*float64(rim) {
		return false
	}
	// Medians: a black frame or a smear is not the ground. Where the finger lies
	// whole on its ground, either is the lighter; in a small window, what is no
	// finger may be a part of it that cannot be read.
	darker := 0.0
	if len(ground) < groundWhole {
		darker = groundDarker
	}
	slices.Sort(finger)
	slices.Sort(ground)
	return ground[len(ground)/2] < finger[len(finger)/2]-darker
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
	t.sortAndLimit()
	var n ridgeness
	t.Ridges, n = a.patches()
	n.coherence = f.meanCoherence()
	t.Quality = n.quality(t.Minutiae)
	if err := n.check(t.Ridges.lines(), len(t.Minutiae)); err != nil {
		return nil, err
	}
	if inverted(a.gray, f) {
		return nil, fmt.Errorf("minutia: %w: light ridges on dark ground, invert it", ErrPicture)
	}
	return t, nil
}

// patches fits a plane wave to the ridges' analytic signal in every patch: its
// frequency is the mean step of the phase (the instantaneous frequency), its
// phase that of the signal with the wave taken out.
func (a *analysis) patches() (Ridges, ridgeness) {
	var n ridgeness
	w, h := a.gray.Rect.Dx(), a.gray.Rect.Dy()
	r := Ridges{Width: patchesFor(w), Height: patchesFor(h)}
	r.Patches = make([]Patch, r.Width*r.Height)
	for py := range r.Height {
		for px := range r.Width {
			p, purity := a.patch(px, py)
			if !p.On {
				continue
			}
			r.Patches[py*r.Width+px] = p
			n.add(p, purity)
		}
	}
	return r, n
}

// ridgeness is what tells a finger from other things with edges.
type ridgeness struct {
	patches    float64
	clear      float64 // patches, weighted by how much of them one wave explains
	re, im     float64 // doubled directions, summed
	impossible float64 // patches whose period no finger has
	coherence  float64 // mean of the foreground's, of the picture smoothed along its lines
}

func (n *ridgeness) add(p Patch, purity float64) {
	n.patches++
	n.clear += purity
	sin, cos := math.Sincos(2 * math.Pi * float64(p.Direction) / patchDirections)
	n.re += purity * cos
	n.im += purity * sin
	if p.Period <= impossibleWide || p.Period >= impossibleCode {
		n.impossible++
	}
}

// parallel is 1 where all ridges run the same way, as stripes do.
func (n *ridgeness) parallel() float64 { return math.Hypot(n.re, n.im) / max(n.clear, 1e-9) }

// check refuses what is no finger, or too little of one.
func (n *ridgeness) check(l lines, minutiae int) error {
	switch {
	case n.patches < fingerPatches:
		return fmt.Errorf("minutia: %w: %.0f mm2 of ridges", ErrNoFinger, n.patches*patchSize*patchSize*sq(25.4/workDPI))
	case n.impossible > fingerImpossible*n.patches:
		return fmt.Errorf("minutia: %w: the lines are not as far apart as ridges are (is the resolution right?)", ErrNoFinger)
	case n.clear < fingerClear*n.patches:
		return fmt.Errorf("minutia: %w: the lines are not parallel", ErrNoFinger)
	case n.parallel() > fingerParallel:
		return fmt.Errorf("minutia: %w: all lines run the same way", ErrNoFinger)
	case l.cores > fingerSingular || l.deltas > fingerSingular:
		return fmt.Errorf("minutia: %w: %d cores and %d deltas, a finger has at most %d of each", ErrNoFinger, l.cores, l.deltas, fingerSingular)
	case l.seam >= fingerSeam && float64(l.seam) > fingerSeamShare*math.Sqrt(n.patches):
		return fmt.Errorf("minutia: %w: the lines break off along a seam of %d mm", ErrNoFinger, l.seam*patchSize*254/(10*workDPI))
	case l.straight > fingerStraight:
		return fmt.Errorf("minutia: %w: the lines do not bend", ErrNoFinger)
	case n.patches < poorPatches:
		return fmt.Errorf("minutia: %w: %.0f mm2 of ridges", ErrPoor, n.patches*patchSize*patchSize*sq(25.4/workDPI))
	case l.uneven < fingerUneven:
		return fmt.Errorf("minutia: %w: the lines are evenly spaced, as no ridges are", ErrNoFinger)
	case l.spread < noiseSpread && n.coherence < noiseCoherence:
		return fmt.Errorf("minutia: %w: the lines waver while their distance does not, as in noise", ErrNoFinger)
	case minutiae < poorMinutiae:
		return fmt.Errorf("minutia: %w: %d minutiae, want %d", ErrPoor, minutiae, poorMinutiae)
	}
	return nil
}

// quality is 0 to 100: how clear the ridges are around the minutiae, times how
// much of the finger there is. Of what was tried (coherence, strength, evenness
// of the period, numbers of minutiae, weights fitted to all of them) it tells
// best which pictures will not match.
func (n *ridgeness) quality(ms []Minutia) uint8 {
	clear := 0.0
	for _, m := range ms {
		clear += float64(m.Quality) / 15
	}
	return uint8(math.Round(100 * clear / float64(max(len(ms), 1)) * (1 - math.Exp(-n.clear/qualityArea))))
}

// patch is one patch's wave and how much of the signal's energy it explains,
// 0..1.
func (a *analysis) patch(px, py int) (Patch, float64) {
	const side = patchSize / 2 // of the planes' pixels
	cx, cy := px*side+side/2, py*side+side/2
	if cx >= a.re.w || cy >= a.re.h {
		return Patch{}, 0
	}
	const perSub = subSize / 2
	mid := cy/perSub*a.guide.w + cx/perSub
	if !a.guide.on[mid] {
		return Patch{}, 0
	}
	// The signal of the patch, all seen from the side that the middle looks
	// from, and zero off the finger.
	dir := a.guide.dir[mid]
	var re, im [side + 1][side + 1]float32
	for y := range side + 1 {
		for x := range side + 1 {
			X, Y := px*side+x, py*side+y
			if X >= a.re.w || Y >= a.re.h {
				continue
			}
			i := a.re.at(X, Y)
			re[y][x], im[y][x] = a.re.pix[i], a.im.pix[i]
			if flip(dir, a.guide.dir[Y/perSub*a.guide.w+X/perSub]) {
				im[y][x] = -im[y][x]
			}
		}
	}
	var xr, xi, yr, yi float32
	for y := range side {
		for x := range side {
			u, v := re[y][x], im[y][x]
			xr += u*re[y][x+1] + v*im[y][x+1]
			xi += u*im[y][x+1] - v*re[y][x+1]
			yr += u*re[y+1][x] + v*im[y+1][x]
			yi += u*im[y+1][x] - v*re[y+1][x]
		}
	}
	// Radians a pixel of the planes.
	kx, ky := math.Atan2(float64(xi), float64(xr)), math.Atan2(float64(yi), float64(yr))
	// The ridges' direction is that whose normal (-sin, cos) the phase rises
	// along.
	angle := math.Atan2(-kx, ky)
	direction := int(math.Round(angle/math.Pi*patchDirections)+2*patchDirections) % patchDirections
	code := periodCode(float32(2 * math.Pi / max(math.Hypot(kx, ky)/2, 1e-3)))
	// The wave that the template can say, taken out. It says directions of half
	// a turn, so its normal may be the other one.
	sin, cos := math.Sincos(float64(direction) * math.Pi / patchDirections)
	step := 2 * 2 * math.Pi / periodOf(code)
	if -sin*kx+cos*ky < 0 {
		step = -step
	}
	var sr, si, energy float64
	for y := range side {
		for x := range side {
			d := -sin*float64(x-side/2) + cos*float64(y-side/2)
			s, c := math.Sincos(-step * d)
			u, v := float64(re[y][x]), float64(im[y][x])
			energy += u*u + v*v
			sr += u*c - v*s
			si += u*s + v*c
		}
	}
	purity := (sr*sr + si*si) / (side*side*energy + 1e-9)
	phase := math.Atan2(si, sr)
	if step < 0 {
		phase = -phase
	}
	return Patch{
		On:        true,
		Direction: uint8(direction),
		Period:    code,
		Phase:     uint8(int(math.Round(phase/(2*math.Pi)*patchPhases)+patchPhases) % patchPhases),
	}, purity
}

// clarity is how strong and how parallel the ridges are around a point, 0..1.
func (a *analysis) clarity(x, y int) float32 {
	const r = clarityRadius / 2
	var s float64
	n := 0
	for k := range 16 {
		sin, cos := math.Sincos(float64(k) * math.Pi / 8)
		px, py := int(math.Round(float64(x)/2+r*cos)), int(math.Round(float64(y)/2+r*sin))
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
	f.measure(norm, firstRounds, nil)
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
