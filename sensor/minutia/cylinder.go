package minutia

import (
	"math"
	"math/bits"
	"sync"
)

// cylinder is the neighbourhood of one minutia: which places around it, seen
// from its own direction, have neighbours of which direction. A section has one
// bit a cell of the circle, 52 of them.
type cylinder struct {
	bits  [mccSections]uint64
	valid uint64 // cells on the finger
}

type cylinderCell struct {
	x, y float64
}

var cylinderCells = sync.OnceValue(func() []cylinderCell {
	var c []cylinderCell
	const step = 2 * mccRadius / mccGrid
	for j := range mccGrid {
		for i := range mccGrid {
			x := step * (float64(i) + 0.5 - mccGrid/2.0)
			y := step * (float64(j) + 0.5 - mccGrid/2.0)
			if x*x+y*y <= mccRadius*mccRadius {
				c = append(c, cylinderCell{x, y})
			}
		}
	}
	return c
})

// sectionWeight[d][k] is the Gaussian share of section k for a direction
// difference of d 256ths.
var sectionWeight = sync.OnceValue(func() *[256][mccSections]float64 {
	var t [256][mccSections]float64
	const width = 2 * math.Pi / mccSections
	cdf := func(x float64) float64 { return 0.5 * (1 + math.Erf(x/(mccSigmaD*math.Sqrt2))) }
	for d := range t {
		a := float64(int8(d)) * 2 * math.Pi / 256
		for k := range mccSections {
			mid := -math.Pi + (float64(k)+0.5)*width
			diff := math.Remainder(mid-a, 2*math.Pi)
			t[d][k] = cdf(diff+width/2) - cdf(diff-width/2)
		}
	}
	return &t
})

// cylinderOf computes the code of a template's minutia, and whether enough of its
// neighbourhood is there.
func cylinderOf(t *Template, i int, ws *waves) (c cylinder, ok bool) {
	cells := cylinderCells()
	var near [256]lobe
	n := 0
	const reach = 3 * mccSigmaS
	m := t.Minutiae[i]
	sin, cos := math.Sincos(turn(m.Angle))
	for j, o := range t.Minutiae {
		dx, dy := float64(o.X-m.X), float64(o.Y-m.Y)
		if i != j && dx*dx+dy*dy <= sq(mccRadius+reach) {
			// Into the frame of m.
			near[n] = lobe{cos*dx + sin*dy, -sin*dx + cos*dy, &sectionWeight()[o.Angle-m.Angle]}
			n++
		}
	}
	for k, cell := range cells {
		x, y := float64(m.X)+cos*cell.x-sin*cell.y, float64(m.Y)+sin*cell.x+cos*cell.y
		if !ws.covers(float32(x), float32(y)) {
			continue
		}
		c.valid |= 1 << k
		var sum [mccSections]float64
		for _, l := range near[:n] {
			d := sq(l.x-cell.x) + sq(l.y-cell.y)
			if d > reach*reach {
				continue
			}
			g := math.Exp(-d/(2*mccSigmaS*mccSigmaS)) / (mccSigmaS * math.Sqrt(2*math.Pi))
			for s := range sum {
				sum[s] += g * l.weight[s]
			}
		}
		for s := range sum {
			if sum[s] > mccMuPsi {
				c.bits[s] |= 1 << k
			}
		}
	}
	return c, n >= mccMinNear && float64(bits.OnesCount64(c.valid)) >= mccMinValid*float64(len(cells))
}

// lobe is a neighbour: where, and what of it each section has.
type lobe struct {
	x, y   float64
	weight *[mccSections]float64
}

var roots = func() (t [64*mccSections + 1]float32) {
	for i := range t {
		t[i] = float32(math.Sqrt(float64(i)))
	}
	return
}()

// similarity of two cylinders, 0..1: one minus the distance of the bit vectors
// over their common cells, relative to their lengths.
func (a *cylinder) similarity(b *cylinder) float32 {
	v := a.valid & b.valid
	if bits.OnesCount64(v)*mccSections < mccMinShared {
		return 0
	}
	var na, nb, nx int
	for s := range mccSections {
		x, y := a.bits[s]&v, b.bits[s]&v
		na += bits.OnesCount64(x)
		nb += bits.OnesCount64(y)
		nx += bits.OnesCount64(x ^ y)
	}
	if na+nb == 0 {
		return 0
	}
	return 1 - roots[nx]/(roots[na]+roots[nb])
}

// turn is an angle in 256ths of a turn, in radians.
func turn(a uint8) float64 { return float64(a) * 2 * math.Pi / 256 }
