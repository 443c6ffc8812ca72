package minutia

import (
	"math"
	"sync"
)

// tap is one pixel of an oriented filter: where, relative to the centre, and
// how far across the ridges it lies exactly, so that rounding to whole pixels
// costs no phase.
type tap struct {
	dx, dy int
	u      float64
}

// filterTaps are the pixels along and across the ridges per direction.
// Direction d stands for ridges that run at d*pi/directions.
var filterTaps = sync.OnceValue(func() *[directions]struct{ along, across []tap } {
	var t [directions]struct{ along, across []tap }
	for d := range directions {
		sin, cos := math.Sincos(float64(d) * math.Pi / directions)
		for k := -alongRadius; k <= alongRadius; k += alongStep {
			dx, dy := int(math.Round(float64(k)*cos)), int(math.Round(float64(k)*sin))
			t[d].along = append(t[d].along, tap{dx: dx, dy: dy})
		}
		for k := -acrossRadius; k <= acrossRadius; k++ {
			dx, dy := int(math.Round(-float64(k)*sin)), int(math.Round(float64(k)*cos))
			t[d].across = append(t[d].across, tap{dx, dy, -float64(dx)*sin + float64(dy)*cos})
		}
	}
	return &t
})

// alongWeights is the Gaussian along the ridges.
var alongWeights = sync.OnceValue(func() *[alongTaps]float32 {
	var w [alongTaps]float32
	var sum float64
	gauss := func(k int) float64 {
		return math.Exp(-sq(float64(k*alongStep-alongRadius)) / (2 * alongSigma * alongSigma))
	}
	for k := range w {
		sum += gauss(k)
	}
	for k := range w {
		w[k] = float32(gauss(k) / sum)
	}
	return &w
})

const acrossTaps = 2*acrossRadius + 1

// quadrature is a pair of filters a quarter wave apart.
type quadrature struct{ re, im [acrossTaps]float32 }

// acrossFilters are complex Gabor filters by direction and period. The real
// part has no mean, so grey level does not leak into phase.
var acrossFilters = sync.OnceValue(func() *[directions][periodSteps]quadrature {
	var bank [directions][periodSteps]quadrature
	taps := filterTaps()
	for d := range directions {
		for p := range periodSteps {
			period := minPeriod + (maxPeriod-minPeriod)*float64(p)/(periodSteps-1)
			sigma := acrossSigma * period
			var sumRe, sumEnv, gain float64
			var re, im, env [acrossTaps]float64
			for k, t := range taps[d].across {
				env[k] = math.Exp(-t.u * t.u / (2 * sigma * sigma))
				sin, cos := math.Sincos(2 * math.Pi * t.u / period)
				re[k], im[k] = env[k]*cos, -env[k]*sin
				sumRe += re[k]
				sumEnv += env[k]
			}
			for k := range re {
				re[k] -= env[k] * sumRe / sumEnv
				gain += math.Abs(re[k])
			}
			q := &bank[d][p]
			for k := range re {
				q.re[k], q.im[k] = float32(re[k]/gain), float32(im[k]/gain)
			}
		}
	}
	return &bank
})

// guide says for every subSize square which direction and period to filter by.
type guide struct {
	w, h   int
	dir    []uint8
	period []uint8
	on     []bool
}

// guideOf interpolates the field between cell centres.
func guideOf(f *field, w, h int) *guide {
	g := &guide{w: (w + subSize - 1) / subSize, h: (h + subSize - 1) / subSize}
	n := g.w * g.h
	g.dir, g.period, g.on = make([]uint8, n), make([]uint8, n), make([]bool, n)
	const perCell = cellSize / subSize
	for y := range g.h {
		fy := (float32(y)+0.5)/perCell - 0.5
		y0 := min(max(int(fy), 0), f.h-1)
		y1 := min(y0+1, f.h-1)
		ty := min(max(fy-float32(y0), 0), 1)
		for x := range g.w {
			if !f.mask[y/perCell*f.w+x/perCell] {
				continue
			}
			fx := (float32(x)+0.5)/perCell - 0.5
			x0 := min(max(int(fx), 0), f.w-1)
			x1 := min(x0+1, f.w-1)
			tx := min(max(fx-float32(x0), 0), 1)
			a, b, c, d := y0*f.w+x0, y0*f.w+x1, y1*f.w+x0, y1*f.w+x1
			wa, wb, wc, wd := (1-tx)*(1-ty), tx*(1-ty), (1-tx)*ty, tx*ty
			c2 := wa*f.c2[a] + wb*f.c2[b] + wc*f.c2[c] + wd*f.c2[d]
			s2 := wa*f.s2[a] + wb*f.s2[b] + wc*f.s2[c] + wd*f.s2[d]
			p := wa*f.period[a] + wb*f.period[b] + wc*f.period[c] + wd*f.period[d]
			i := y*g.w + x
			g.on[i] = true
			t := math.Atan2(float64(s2), float64(c2)) / 2
			g.dir[i] = uint8(int(math.Round(t/math.Pi*directions)+directions) % directions)
			g.period[i] = periodIndex(p)
		}
	}
	return g
}

func periodIndex(p float32) uint8 {
	return uint8(min(max((p-minPeriod)*(periodSteps-1)/(maxPeriod-minPeriod)+0.5, 0), periodSteps-1))
}

// along smooths a plane along its ridges: cuts close, noise goes, and the
// profile across the ridges stays as it is.
func along(p *plane, g *guide) *plane {
	out := newPlane(p.w, p.h)
	taps, w := filterTaps(), alongWeights()
	var o [alongTaps]int
	for sy := range g.h {
		for sx := range g.w {
			s := sy*g.w + sx
			if !g.on[s] {
				continue
			}
			for k, t := range taps[g.dir[s]].along {
				o[k] = t.dy*p.stride + t.dx + border*p.stride + border
			}
			x0, n := sx*subSize, min(subSize, p.w-sx*subSize)
			for y := sy * subSize; y < min((sy+1)*subSize, p.h); y++ {
				i := y*p.stride + x0 // of the first tap's origin
				dst := out.pix[p.at(x0, y):][:n]
				r0, r1, r2 := p.pix[i+o[0]:][:n], p.pix[i+o[1]:][:n], p.pix[i+o[2]:][:n]
				r3, r4, r5 := p.pix[i+o[3]:][:n], p.pix[i+o[4]:][:n], p.pix[i+o[5]:][:n]
				r6, r7, r8 := p.pix[i+o[6]:][:n], p.pix[i+o[7]:][:n], p.pix[i+o[8]:][:n]
				for x := range dst {
					dst[x] = w[4]*r4[x] + w[3]*(r3[x]+r5[x]) + w[2]*(r2[x]+r6[x]) + w[1]*(r1[x]+r7[x]) + w[0]*(r0[x]+r8[x])
				}
			}
		}
	}
	return out
}

// across filters every second pixel of a plane by the complex Gabor pair of
// its place: re and im are the ridges' analytic signal, its angle their phase,
// its length how clearly they are there. They are half as wide and high.
func across(p *plane, g *guide) (re, im *plane) {
	re, im = newPlane((p.w+1)/2, (p.h+1)/2), newPlane((p.w+1)/2, (p.h+1)/2)
	taps, bank := filterTaps(), acrossFilters()
	var offsets [acrossTaps]int
	for sy := range g.h {
		for sx := range g.w {
			s := sy*g.w + sx
			if !g.on[s] {
				continue
			}
			for k, t := range taps[g.dir[s]].across {
				offsets[k] = t.dy*p.stride + t.dx
			}
			q := &bank[g.dir[s]][g.period[s]]
			for y := sy * subSize; y < min((sy+1)*subSize, p.h); y += 2 {
				for x := sx * subSize; x < min((sx+1)*subSize, p.w); x += 2 {
					i := p.at(x, y)
					var a, b float32
					for k, o := range offsets {
						v := p.pix[i+o]
						a += q.re[k] * v
						b += q.im[k] * v
					}
					j := re.at(x/2, y/2)
					re.pix[j], im.pix[j] = a, b
				}
			}
		}
	}
	return re, im
}

func sq(v float64) float64 { return v * v }
