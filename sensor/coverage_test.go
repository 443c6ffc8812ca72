package sensor

import (
	"math"
	"slices"
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// The overlap that is shown against the true one, which is known of synthetic
// fingers: where each block of skin lay in the other touch.
func TestCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("draws fingers for long and starts no goroutine: run without -short")
	}
	for _, window := range [][2]int{{192, 192}, {256, 288}} {
		var off []int
		for seed := range uint64(4) {
			f := ridge.New(seed)
			var c coverage
			var first ridge.ImpressionOptions
			var ground *directions
			var shown Picture // the first; drawing it is what takes time
			for touch := range uint64(4) {
				o := f.Touch(touch, 0.7)
				o.Width, o.Height, o.Coarse = window[0], window[1], true
				if touch == 3 {
					o.OffsetX += 3.5 // mm: half of a small window lies elsewhere
				}
				p := Picture{Width: o.Width, Height: o.Height, Pix: f.Impression(o).Pix}
				got := c.add(p)
				if touch == 0 {
					first, ground, shown = o, directionsOf(p), p
					if got.Overlap != 0 || got.Seen != got.Area || got.Area < 50 || got.Area > 100 {
						t.Errorf("finger %d: the first is %+v", seed, got)
					}
					continue
				}
				// Only against the first, so that the truth is exact.
				var pair coverage
				pair.add(shown)
				one := pair.add(p)
				off = append(off, abs(one.Overlap-overlap(directionsOf(p), o, ground, first)))
				if got.Seen < one.Seen || one.Seen < one.Area {
					t.Errorf("finger %d: %+v with more captures, %+v with two", seed, got, one)
				}
			}
		}
		slices.Sort(off)
		sum := 0
		for _, d := range off {
			sum += d
		}
		t.Logf("%dx%d: overlap off by %.1f points in the mean, %d in nine of ten", window[0], window[1], float64(sum)/float64(len(off)), off[len(off)*9/10])
		if mean := float64(sum) / float64(len(off)); mean > 10 {
			t.Errorf("%dx%d: overlap is off by %.1f points in the mean", window[0], window[1], mean)
		}
	}
}

// overlap is the percentage of the finger in b that was on the ground of a.
func overlap(b *directions, ob ridge.ImpressionOptions, a *directions, oa ridge.ImpressionOptions) int {
	const mm = 500 / 25.4 // pixels
	sb, cb := math.Sincos(-ob.Rotation)
	sa, ca := math.Sincos(oa.Rotation)
	n, seen := 0, 0
	for y := range b.h {
		for x := range b.w {
			if b.at(x, y) == [2]float64{} {
				continue
			}
			n++
			px := (float64(x)+0.5)*block - float64(ob.Width)/2 - ob.OffsetX*mm
			py := (float64(y)+0.5)*block - float64(ob.Height)/2 - ob.OffsetY*mm
			mx, my := cb*px-sb*py, sb*px+cb*py
			ax := ca*mx - sa*my + oa.OffsetX*mm + float64(oa.Width)/2
			ay := sa*mx + ca*my + oa.OffsetY*mm + float64(oa.Height)/2
			if a.at(int(math.Floor(ax/block)), int(math.Floor(ay/block))) != [2]float64{} {
				seen++
			}
		}
	}
	return 100 * seen / n
}

func abs(n int) int { return max(n, -n) }

// Glass, noise and a flat shade are no finger.
func TestNoFingerCoversNothing(t *testing.T) {
	for name, at := range map[string]func(i int) byte{
		"black": func(int) byte { return 0 }, "white": func(int) byte { return 255 },
		"shade": func(i int) byte { return byte(i % 192) }, "dirt": func(i int) byte { return 238 - byte(i*2654435761>>16&15) },
	} {
		p := Picture{Width: 192, Height: 192, Pix: make([]byte, 192*192)}
		for i := range p.Pix {
			p.Pix[i] = at(i)
		}
		if got := new(coverage).add(p); got.Area != 0 || got.Seen != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func BenchmarkCoverage(b *testing.B) {
	f := ridge.New(1)
	o := f.Touch(1, 0.5)
	o.Width, o.Height = 256, 288
	p := Picture{Width: o.Width, Height: o.Height, Pix: f.Impression(o).Pix}
	for b.Loop() {
		var c coverage
		c.add(p)
		c.add(p)
	}
}
