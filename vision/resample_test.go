package vision

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func noise(rng *rand.Rand, w, h int) picture {
	p := picture{pix: make([]byte, 3*w*h), stride: 3 * w, w: w, h: h}
	for i := range p.pix {
		p.pix[i] = byte(rng.Uint32())
	}
	return p
}

// feederOf has a buffer of its own, there being no network.
func feederOf(in Input) *feeder {
	f := newFeeder(in)
	if err := f.into(make([]float32, f.channels()*in.Size[0]*in.Size[1])); err != nil {
		panic(err)
	}
	return f
}

// at is channel c at x, y, bilinear on pixel centres in double precision;
// outside is what a missing pixel counts as, or, if negative, the edge.
func (p picture) at(x, y float64, c int, outside float64) float64 {
	x0, y0 := math.Floor(x), math.Floor(y)
	sum := 0.0
	for j := range 2 {
		for i := range 2 {
			px, py := int(x0)+i, int(y0)+j
			weight := (1 - math.Abs(x-float64(px))) * (1 - math.Abs(y-float64(py)))
			v := outside
			if outside < 0 {
				px, py = min(max(px, 0), p.w-1), min(max(py, 0), p.h-1)
			}
			if px >= 0 && py >= 0 && px < p.w && py < p.h {
				v = float64(p.pix[py*p.stride+3*px+c])
			}
			sum += weight * v
		}
	}
	return sum
}

// reduced averages blocks of kx times ky in double precision.
func (p picture) reduced(kx, ky int) picture {
	out := picture{stride: 3 * (p.w / kx), w: p.w / kx, h: p.h / ky}
	for y := range out.h {
		for x := range out.w {
			for c := range 3 {
				sum := 0.0
				for j := range ky {
					for i := range kx {
						sum += float64(p.pix[(y*ky+j)*p.stride+3*(x*kx+i)+c])
					}
				}
				out.pix = append(out.pix, byte(sum/float64(kx*ky)+0.5))
			}
		}
	}
	return out
}

// A step of the fixed-point weights is 1/256 in each direction, so a sample
// of noise may be off by one grey level and the average by much less.
func compare(t *testing.T, f *feeder, inW, inH int, want func(x, y, c int) float64) {
	t.Helper()
	n := f.Size[0] * f.Size[1]
	order := map[string][]int{orderBGR: {0, 1, 2}, orderRGB: {2, 1, 0}, orderGrey: {0}}[f.Order]
	var sum float64
	for i, c := range order {
		for y := range inH {
			for x := range inW {
				got := float64(f.out[i*n+y*f.Size[0]+x]/f.Scale + f.Mean)
				off := math.Abs(got - want(x, y, c))
				if sum += off; off > 1.6 {
					t.Fatalf("%d, %d, channel %d: %.2f, want %.2f", x, y, c, got, want(x, y, c))
				}
			}
		}
	}
	if mean := sum / float64(inW*inH*len(order)); mean > 0.5 {
		t.Errorf("on average %.2f grey levels off", mean)
	}
}

func TestResizeAgreesWithDoublePrecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	for _, tt := range []struct {
		w, h  int
		in    Input
		wantW int
		wantH int
	}{
		{320, 240, Input{Size: [2]int{320, 240}, Order: orderRGB, Mean: 127, Scale: 1. / 128}, 320, 240},
		{640, 480, Input{Size: [2]int{320, 240}, Order: orderBGR, Mean: 127, Scale: 1. / 128}, 320, 240},
		{1280, 720, Input{Size: [2]int{320, 240}, Order: orderBGR, Scale: 1}, 320, 240},
		{250, 250, Input{Size: [2]int{320, 240}, Order: orderRGB, Scale: 1}, 320, 240},
		{97, 103, Input{Size: [2]int{64, 64}, Order: orderGrey, Scale: 1. / 256}, 64, 64},
		{33, 31, Input{Size: [2]int{64, 64}, Order: orderGrey, Scale: 1. / 256}, 64, 64},
		{1, 1, Input{Size: [2]int{16, 16}, Order: orderBGR, Scale: 1}, 16, 16},
		{640, 480, Input{Size: [2]int{640, 640}, Order: orderBGR, Scale: 1, Pad: true}, 640, 480},
		{300, 500, Input{Size: [2]int{128, 128}, Order: orderRGB, Mean: 10, Scale: 0.5, Pad: true}, 76, 128},
	} {
		t.Run(fmt.Sprintf("%dx%d to %v %s", tt.w, tt.h, tt.in.Size, tt.in.Order), func(t *testing.T) {
			p := noise(rng, tt.w, tt.h)
			f := feederOf(tt.in)
			w, h := f.resize(p)
			if w != tt.wantW || h != tt.wantH {
				t.Fatalf("%dx%d, want %dx%d", w, h, tt.wantW, tt.wantH)
			}
			r := p
			if p.w != 2*w || p.h != 2*h { // of four pixels nothing is rounded
				r = p.reduced(max(1, p.w/w), max(1, p.h/h))
			}
			compare(t, f, w, h, func(x, y, c int) float64 {
				u := (float64(x)+0.5)*float64(r.w)/float64(w) - 0.5
				v := (float64(y)+0.5)*float64(r.h)/float64(h) - 0.5
				if tt.in.Order == orderGrey {
					return weightB*r.at(u, v, 0, -1) + weightG*r.at(u, v, 1, -1) + weightR*r.at(u, v, 2, -1)
				}
				return r.at(u, v, c, -1)
			})
			black := -f.Mean * f.Scale
			for y := range f.Size[1] {
				for x := range f.Size[0] {
					if (x >= w || y >= h) && f.out[y*f.Size[0]+x] != black {
						t.Fatalf("%d, %d is filled with %g, want %g", x, y, f.out[y*f.Size[0]+x], black)
					}
				}
			}
		})
	}
}

// Reduction rounds to whole grey levels, and so has to be right to the last of them.
func TestReductionIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for _, tt := range []struct{ w, h, kx, ky int }{
		{640, 480, 2, 2},
		{641, 483, 2, 2},
		{719, 719, 5, 5},
		{1280, 720, 4, 3},
		{95, 40, 3, 1},
		{31, 64, 1, 64},
		{16, 16, 16, 16},
		{17, 17, 16, 16},
		{130, 70, 17, 16},
		{520, 260, 128, 128},
		{9, 9, 9, 9},
		{2, 2, 2, 2},
		{3, 1, 3, 1},
	} {
		for name, p := range map[string]picture{"noise": noise(rng, tt.w, tt.h), "white": white(tt.w, tt.h)} {
			f := feederOf(Input{Size: [2]int{16, 16}, Order: orderBGR, Scale: 1})
			for range 2 { // the second time on buffers that are full
				got, want := f.reduce(p, tt.kx, tt.ky), p.reduced(tt.kx, tt.ky)
				if got.w != want.w || got.h != want.h || got.stride != want.stride || !bytes.Equal(got.pix, want.pix) {
					t.Fatalf("%s of %dx%d by %dx%d: %dx%d, not the means", name, tt.w, tt.h, tt.kx, tt.ky, got.w, got.h)
				}
			}
			f.wipe()
			for _, b := range [][]byte{f.small[:cap(f.small)], f.sums[:cap(f.sums)]} {
				if len(bytes.Trim(b, "\x00")) != 0 {
					t.Fatalf("%s of %dx%d by %dx%d is left after a wipe", name, tt.w, tt.h, tt.kx, tt.ky)
				}
			}
		}
	}
}

func white(w, h int) picture {
	p := picture{pix: make([]byte, 3*w*h), stride: 3 * w, w: w, h: h}
	for i := range p.pix {
		p.pix[i] = 255
	}
	return p
}

func TestWarpAgreesWithDoublePrecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	p := noise(rng, 200, 150)
	for name, s := range map[string]similarity{
		"identity":          {a: 1},
		"shift":             {a: 1, tx: 20.25, ty: 7.5},
		"turn":              {a: 0.8, b: 0.6, tx: 50, ty: 3},
		"shrink":            {a: 0.3, b: -0.1, tx: 60, ty: 70},
		"over the left top": {a: 1, b: 0.1, tx: -40.5, ty: -30.25},
		"over the bottom":   {a: 1.5, tx: 120, ty: 100},
		"all outside":       {a: 1, tx: -1000, ty: 5000},
	} {
		for _, order := range []string{orderBGR, orderRGB} {
			t.Run(name+" "+order, func(t *testing.T) {
				f := feederOf(Input{Size: [2]int{112, 112}, Order: order, Mean: 127, Scale: 1. / 128})
				f.warp(p, s)
				compare(t, f, 112, 112, func(x, y, c int) float64 {
					u, v := s.a*float64(x)-s.b*float64(y)+s.tx, s.b*float64(x)+s.a*float64(y)+s.ty
					return p.at(u, v, c, 0)
				})
			})
		}
	}
}

func TestACropIsTheSameAsItsCopy(t *testing.T) {
	p := noise(rand.New(rand.NewPCG(1, 7)), 90, 70)
	crop := p.crop(13, 5, 83, 65)
	alone := picture{stride: 3 * crop.w, w: crop.w, h: crop.h}
	for y := range crop.h {
		alone.pix = append(alone.pix, crop.pix[y*crop.stride:][:3*crop.w]...)
	}
	in := Input{Size: [2]int{64, 48}, Order: orderBGR, Scale: 1}
	a, b := feederOf(in), feederOf(in)
	a.resize(crop)
	b.resize(alone)
	for i := range a.out {
		if a.out[i] != b.out[i] {
			t.Fatalf("number %d: %g and %g", i, a.out[i], b.out[i])
		}
	}
}

func FuzzResample(f *testing.F) {
	f.Add(uint16(320), uint16(240), 1.0, 0.0, 0.0, 0.0)
	f.Add(uint16(1), uint16(700), -0.5, 30.0, 1e7, -1e7)
	f.Fuzz(func(t *testing.T, w, h uint16, a, b, tx, ty float64) {
		p := noise(rand.New(rand.NewPCG(1, 8)), 1+int(w%999), 1+int(h%999))
		for _, order := range []string{orderBGR, orderRGB, orderGrey} {
			for _, pad := range []bool{false, true} {
				f := feederOf(Input{Size: [2]int{40, 24}, Order: order, Scale: 1, Pad: pad})
				f.resize(p)
				for i, v := range f.out {
					if !(v >= 0 && v <= 255.01) {
						t.Fatalf("%s: number %d is %g", order, i, v)
					}
				}
			}
		}
		g := feederOf(Input{Size: [2]int{16, 16}, Order: orderBGR, Scale: 1})
		g.warp(p, similarity{a, b, tx, ty}) // however wild
		for i, v := range g.out {
			if !(v >= 0 && v <= 255.01) {
				t.Fatalf("number %d is %g", i, v)
			}
		}
	})
}
