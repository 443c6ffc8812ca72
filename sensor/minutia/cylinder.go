package minutia

import (
	"math"
	"math/bits"
	"sync"
)

// cylinderWords hold one bit a cell: 52 cells in the circle, 6 sections.
const cylinderWords = 5

// cylinder is the neighbourhood of one minutia: which places around it, seen
// from its own direction, have neighbours of which direction.
type cylinder struct {
	bits, valid [cylinderWords]uint64
	ok          bool
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

// cylinders computes the code of every minutia of a template.
func cylinders(t *Template, ws *waves) []cylinder {
	cells := cylinderCells()
	weight := sectionWeight()
	out := make([]cylinder, len(t.Minutiae))
	acc := make([]float64, len(cells)*mccSections)
	const reach = 3 * mccSigmaS
	for i, m := range t.Minutiae {
		c := &out[i]
		clear(acc)
		sin, cos := math.Sincos(turn(m.Angle))
		near := 0
		for j, n := range t.Minutiae {
			if i == j {
				continue
			}
			dx, dy := float64(n.X-m.X), float64(n.Y-m.Y)
			if dx*dx+dy*dy > sq(mccRadius+reach) {
				continue
			}
			near++
			// Into the frame of m.
			lx, ly := cos*dx+sin*dy, -sin*dx+cos*dy
			w := &weight[n.Angle-m.Angle]
			for k, cell := range cells {
				d := sq(lx-cell.x) + sq(ly-cell.y)
				if d > reach*reach {
					continue
				}
				g := math.Exp(-d/(2*mccSigmaS*mccSigmaS)) / (mccSigmaS * math.Sqrt(2*math.Pi))
				for s := range mccSections {
					acc[k*mccSections+s] += g * w[s]
				}
			}
		}
		valid := 0
		for k, cell := range cells {
			x, y := float64(m.X)+cos*cell.x-sin*cell.y, float64(m.Y)+sin*cell.x+cos*cell.y
			if !ws.covers(float32(x), float32(y)) {
				continue
			}
			valid++
			for s := range mccSections {
				b := k*mccSections + s
				c.valid[b/64] |= 1 << (b % 64)
				if acc[b] > mccMuPsi {
					c.bits[b/64] |= 1 << (b % 64)
				}
			}
		}
		c.ok = near >= mccMinNear && float64(valid) >= mccMinValid*float64(len(cells))
	}
	return out
}

var roots = func() (t [64*cylinderWords + 1]float32) {
	for i := range t {
		t[i] = float32(math.Sqrt(float64(i)))
	}
	return
}()

// similarity of two cylinders, 0..1: one minus the distance of the bit vectors
// over their common cells, relative to their lengths.
func (a *cylinder) similarity(b *cylinder) float32 {
	var na, nb, nx, nv int
	for w := range cylinderWords {
		v := a.valid[w] & b.valid[w]
		x, y := a.bits[w]&v, b.bits[w]&v
		na += bits.OnesCount64(x)
		nb += bits.OnesCount64(y)
		nx += bits.OnesCount64(x ^ y)
		nv += bits.OnesCount64(v)
	}
	if nv < mccMinShared || na+nb == 0 {
		return 0
	}
	return 1 - roots[nx]/(roots[na]+roots[nb])
}

// turn is an angle in 256ths of a turn, in radians.
func turn(a uint8) float64 { return float64(a) * 2 * math.Pi / 256 }
