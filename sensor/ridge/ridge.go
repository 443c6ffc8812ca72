// Package ridge makes synthetic fingers: nobody's, endless, and the same for
// the same seed on every machine.
//
// The method follows SFinGe (Cappelli, Maio, Maltoni, "SFinGe: an approach to
// synthetic fingerprint generation", 2004; Handbook of Fingerprint
// Recognition, 2nd ed., chapter 6): an orientation field with singular points
// (the zero-pole model of Sherlock and Monro, 1993, with the piecewise-linear
// correction of Vizcaya and Gerhardt, 1996), a smooth map of the ridge period,
// and a ridge pattern that grows out of noise under filters tuned to both.
// Minutiae are not placed: they appear where the growing ridges meet.
//
// A [Finger] is grown once at 250 dpi, which has 4.5 pixels to a ridge and
// costs a quarter of 500 dpi; an [Finger.Impression] is drawn from it at any
// resolution, with its own place, turn, skin distortion, pressure, dryness,
// cuts and sensor noise.
//
// What it is not: the pictures carry no pores, no incipient ridges and no
// latent marks, and a matcher finds them easier than real fingers. They are
// test data, never evidence of accuracy on people.
package ridge

import (
	"math"
	"math/rand/v2"
	"sync"
)

// Geometry of the grown pattern.
const (
	masterDPI    = 250
	masterWidth  = 208 // 21.1 mm, a thumb's pad
	masterHeight = 280 // 28.4 mm
	mmPerInch    = 25.4
)

// Class is Henry's class of a finger's pattern.
type Class uint8

// The five classes of NIST SD4, the natural order of their frequency not kept.
const (
	Arch Class = iota
	TentedArch
	LeftLoop
	RightLoop
	Whorl
)

// String returns the class's usual name.
func (c Class) String() string {
	switch c {
	case Arch:
		return "arch"
	case TentedArch:
		return "tented-arch"
	case LeftLoop:
		return "left-loop"
	case RightLoop:
		return "right-loop"
	case Whorl:
		return "whorl"
	}
	return "unknown"
}

// classShare is the natural frequency of the classes (Wilson, Candela, Watson,
// "Neural network fingerprint classification", 1994), in per mille, in the
// order of the constants.
var classShare = [...]int{37, 29, 338, 317, 279}

// Finger is one synthetic finger. It is safe for concurrent use.
type Finger struct {
	seed  uint64
	class Class

	grow    sync.Once
	pattern []float32 // masterWidth x masterHeight, -1 (valley) .. 1 (ridge)
}

// New returns the finger of a seed. Growing its pattern takes some tens of
// milliseconds and happens at the first impression.
func New(seed uint64) *Finger {
	f := &Finger{seed: seed}
	r := f.rand(streamClass)
	n := r.IntN(1000)
	for c, share := range classShare {
		f.class = Class(c)
		if n -= share; n < 0 {
			break
		}
	}
	return f
}

// Class tells which pattern the finger has.
func (f *Finger) Class() Class { return f.class }

// Random streams of one finger: a change in how one is used leaves the others
// as they were, so a finger keeps its face when the generator is improved.
const (
	streamClass = iota + 1
	streamField
	streamPeriod
	streamSeed
	streamImpression
)

func (f *Finger) rand(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(f.seed, stream))
}

func (f *Finger) master() []float32 {
	f.grow.Do(func() {
		theta := f.orientation()
		period := f.period()
		f.pattern = growRidges(theta, period, f.rand(streamSeed))
	})
	return f.pattern
}

// singular is a core or a delta, in pixels of the master.
type singular struct {
	x, y float64
	sign float64    // +1 core, -1 delta
	bend [8]float64 // correction of its angle at 8 knots, radians
}

// angle is the contribution of a singular point to twice the orientation.
func (s *singular) angle(x, y float64) float64 {
	a := math.Atan2(y-s.y, x-s.x)
	k := (a + math.Pi) / (2 * math.Pi) * float64(len(s.bend))
	i := int(k)
	t := k - float64(i)
	n := len(s.bend)
	return s.sign * (a + s.bend[i%n]*(1-t) + s.bend[(i+1)%n]*t)
}

// orientation lays out the field: ridge direction in radians, y downwards.
func (f *Finger) orientation() []float32 {
	r := f.rand(streamField)
	const w, h = masterWidth, masterHeight
	mid := func(v, spread float64) float64 { return v + (2*r.Float64()-1)*spread }
	var points []singular
	core := func(x, y float64) { points = append(points, singular{x: x, y: y, sign: 1}) }
	delta := func(x, y float64) { points = append(points, singular{x: x, y: y, sign: -1}) }
	switch cx, cy := mid(w/2, 8), mid(h*0.40, 10); f.class {
	case Arch:
	case TentedArch:
		core(cx, cy+8)
		delta(cx+mid(0, 3), cy+mid(56, 10))
	case LeftLoop:
		core(cx, cy)
		delta(cx+mid(58, 14), cy+mid(72, 14))
	case RightLoop:
		core(cx, cy)
		delta(cx-mid(58, 14), cy+mid(72, 14))
	case Whorl:
		gap := mid(16, 10)
		core(cx, cy-gap/2)
		core(cx+mid(0, 6), cy+gap/2)
		delta(cx+mid(66, 14), cy+mid(76, 14))
		delta(cx-mid(66, 14), cy+mid(76, 14))
	}
	for i := range points {
		for k := range points[i].bend {
			points[i].bend[k] = r.NormFloat64() * 0.12
		}
	}
	arch := mid(0.9, 0.35)
	peak := mid(w/2, 10)
	theta := make([]float32, w*h)
	for y := range h {
		for x := range w {
			fx, fy := float64(x), float64(y)
			var t float64
			if f.class == Arch {
				// The arch of SFinGe: a bump that fades upwards and downwards.
				rise := arch * math.Exp(-sq((fy-0.55*h)/(0.25*h)))
				t = math.Atan(rise * math.Sin((fx-peak)/w*2*math.Pi) * -1)
				t = -t
			} else {
				for i := range points {
					t += points[i].angle(fx, fy) / 2
				}
			}
			// Ridges above the pattern follow the finger tip.
			tip := (fx - w/2) / (w / 2) * 0.9 * math.Max(0, 1-fy/(0.45*h))
			theta[y*w+x] = float32(math.Remainder(t+tip, math.Pi))
		}
	}
	return theta
}

// period lays out the distance of two ridges, in pixels of the master.
func (f *Finger) period() []float32 {
	r := f.rand(streamPeriod)
	// 0.46 mm between ridges on adults, 9 px at 500 dpi (Handbook, 2.3), with
	// person-to-person and place-to-place variation.
	mean := 4.55 * (1 + 0.06*clamp(r.NormFloat64(), -2, 2))
	bumps := newBumps(r, 6, 50)
	out := make([]float32, masterWidth*masterHeight)
	for y := range masterHeight {
		for x := range masterWidth {
			p := mean * (1 + 0.05*bumps.at(float64(x), float64(y)) + 0.06*(float64(y)/masterHeight-0.5))
			out[y*masterWidth+x] = float32(clamp(p, 3.4, 6.2))
		}
	}
	return out
}

const (
	growDirections = 32
	growPeriods    = 12
	growRadius     = 6
	growRounds     = 14
)

// growthFilters are zero-mean Gabor filters by direction and period.
var growthFilters = sync.OnceValue(func() *[growDirections][growPeriods][]float32 {
	var bank [growDirections][growPeriods][]float32
	for d := range growDirections {
		sin, cos := math.Sincos(float64(d) * math.Pi / growDirections)
		for p := range growPeriods {
			period := 3.4 + 2.8*float64(p)/(growPeriods-1)
			sigma := 0.56 * period
			k := make([]float32, 0, (2*growRadius+1)*(2*growRadius+1))
			var sum, env float64
			for y := -growRadius; y <= growRadius; y++ {
				for x := -growRadius; x <= growRadius; x++ {
					across := -float64(x)*sin + float64(y)*cos
					g := math.Exp(-float64(x*x+y*y) / (2 * sigma * sigma))
					v := g * math.Cos(2*math.Pi*across/period)
					sum += v
					env += g
					k = append(k, float32(v))
				}
			}
			i := 0
			for y := -growRadius; y <= growRadius; y++ {
				for x := -growRadius; x <= growRadius; x++ {
					g := math.Exp(-float64(x*x+y*y) / (2 * sigma * sigma))
					k[i] -= float32(g * sum / env)
					i++
				}
			}
			bank[d][p] = k
		}
	}
	return &bank
})

func growRidges(theta, period []float32, r *rand.Rand) []float32 {
	const w, h, rad = masterWidth, masterHeight, growRadius
	const pw = w + 2*rad
	bank := growthFilters()
	pick := make([][]float32, w*h)
	for i := range pick {
		d := int(math.Round(float64(theta[i])/math.Pi*growDirections)) + growDirections
		p := int(math.Round(float64(period[i]-3.4) / 2.8 * (growPeriods - 1)))
		pick[i] = bank[d%growDirections][p]
	}
	cur := make([]float32, pw*(h+2*rad))
	next := make([]float32, len(cur))
	for i := range cur {
		cur[i] = float32(r.NormFloat64())
	}
	for range growRounds {
		for y := range h {
			for x := range w {
				k := pick[y*w+x]
				var s float32
				for dy := range 2*rad + 1 {
					row := cur[(y+dy)*pw+x:][:2*rad+1]
					tap := k[dy*(2*rad+1):][:2*rad+1]
					for i, v := range row {
						s += v * tap[i]
					}
				}
				// Saturation keeps every ridge equally strong.
				next[(y+rad)*pw+x+rad] = s / (1 + abs32(s)) * 1.6
			}
		}
		cur, next = next, cur
	}
	out := make([]float32, w*h)
	for y := range h {
		copy(out[y*w:][:w], cur[(y+rad)*pw+rad:][:w])
	}
	for i, v := range out {
		out[i] = float32(clamp(float64(v), -1, 1))
	}
	return out
}

// bumps is a smooth random function of the plane with about unit variance.
type bumps []struct{ x, y, s, a float64 }

func newBumps(r *rand.Rand, n int, size float64) bumps {
	b := make(bumps, n*4)
	for i := range b {
		b[i].x = (1.4*r.Float64() - 0.2) * masterWidth
		b[i].y = (1.4*r.Float64() - 0.2) * masterHeight
		b[i].s = size * (0.6 + 0.8*r.Float64())
		b[i].a = r.NormFloat64()
	}
	return b
}

func (b bumps) at(x, y float64) float64 {
	var v float64
	for i := range b {
		d := (sq(x-b[i].x) + sq(y-b[i].y)) / sq(b[i].s)
		if d < 4 {
			v += b[i].a * math.Exp(-d)
		}
	}
	return v
}

func sq(v float64) float64 { return v * v }

func clamp(v, lo, hi float64) float64 { return math.Min(math.Max(v, lo), hi) }

func abs32(v float32) float32 {
	if v < 0 {
		return -v
	}
	return v
}
