package minutia

import (
	"math"
	"slices"
)

// Template is what is kept of one or several pictures of a finger.
type Template struct {
	Width, Height int   // px at 500 dpi
	Quality       uint8 // 0..100: the lower, the likelier it does not match its own finger
	Minutiae      []Minutia
	Ridges        Ridges
}

// shaped tells whether it has a size that a template can have, and the patches of it.
func (t *Template) shaped() bool {
	return t.Width > 0 && t.Height > 0 && t.Width <= maxSide && t.Height <= maxSide &&
		t.Ridges.Width == patchesFor(t.Width) && t.Ridges.Height == patchesFor(t.Height) &&
		len(t.Ridges.Patches) == t.Ridges.Width*t.Ridges.Height
}

// Ridges is the finger's wave sampled patch by patch.
type Ridges struct {
	Width, Height int // patches
	Patches       []Patch
}

// bare tells that nothing but minutiae is known.
func (r *Ridges) bare() bool {
	return !slices.ContainsFunc(r.Patches, func(p Patch) bool { return p.On })
}

// mm2 is the area of the ridges.
func (r *Ridges) mm2() int {
	n := 0
	for _, p := range r.Patches {
		if p.On {
			n++
		}
	}
	return int(float64(n*patchSize*patchSize) * sq(25.4/workDPI))
}

// Patch is the wave in a square of patchSize px: cos(phase) of the ridges at
// its middle, continued along the direction with the period.
type Patch struct {
	On        bool
	Direction uint8 // of the ridges, patchDirections in half a turn
	Period    uint8 // code, see periodOf
	Phase     uint8 // patchPhases in a turn, at the middle
}

// periodCode quantises frequency, not period: phase errors grow with it.
func periodCode(p float32) uint8 {
	f := (1/float64(p) - 1/maxPeriod) / (1/minPeriod - 1/maxPeriod)
	return uint8(math.Round(min(max(f, 0), 1) * (patchPeriods - 1)))
}

// periodOf is the period of a code, in px.
func periodOf(code uint8) float64 {
	f := float64(code) / (patchPeriods - 1)
	return 1 / (1/float64(maxPeriod) + f*(1/float64(minPeriod)-1/float64(maxPeriod)))
}

// sortAndLimit puts the best minutiae first and drops what is too many, and all but
// the best of those in one place with one direction.
func (t *Template) sortAndLimit() {
	slices.SortStableFunc(t.Minutiae, func(x, y Minutia) int { return int(y.Quality) - int(x.Quality) })
	for i := 1; i < min(len(t.Minutiae), maxMinutiae+1); {
		if t.taken(i) {
			t.Minutiae = slices.Delete(t.Minutiae, i, i+1)
		} else {
			i++
		}
	}
	if len(t.Minutiae) > maxMinutiae {
		t.Minutiae = t.Minutiae[:maxMinutiae]
	}
}

// taken tells whether a minutia is where one before it is, and directed as it is.
func (t *Template) taken(i int) bool {
	return slices.ContainsFunc(t.Minutiae[:i], func(m Minutia) bool {
		return m.X == t.Minutiae[i].X && m.Y == t.Minutiae[i].Y && m.Angle == t.Minutiae[i].Angle
	})
}
