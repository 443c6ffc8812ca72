package minutia

import (
	"image"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// inTurn runs both by turns and reports the ratio of the medians: what else the
// machine does falls on both.
func inTurn(b *testing.B, unit string, this, other func()) {
	var times [2][]time.Duration
	for b.Loop() {
		for i, f := range [2]func(){this, other} {
			start := time.Now()
			f()
			times[i] = append(times[i], time.Since(start))
		}
	}
	median := func(t []time.Duration) float64 {
		slices.Sort(t)
		return float64(t[len(t)/2])
	}
	b.ReportMetric(median(times[0])/median(times[1]), unit)
}

// What no finger costs, in times of a finger of the same area. The aim is at most
// four.
func BenchmarkExtractHostile(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := drawn(388, 374, func(int, int) float64 { return 255 * r.Float64() })
	finger := ridge.New(1).Impression(ridge.ImpressionOptions{Width: 388, Height: 374})
	for _, c := range []struct {
		name string
		img  *image.Gray
	}{
		{"black", image.NewGray(image.Rect(0, 0, 388, 374))},
		{"noise", noise},
		{"coarse-noise", blurred(noise, 2)},
		{"coarser-noise", blurred(noise, 4)},
		{"noise-on-ridges", drawn(388, 374, func(x, y int) float64 {
			return (float64(finger.GrayAt(x, y).Y) + float64(noise.GrayAt(x, y).Y)) / 2
		})},
		{"stripes", drawn(388, 374, func(x, _ int) float64 { return float64(x / 4 % 2 * 255) })},
		{"checks", drawn(388, 374, func(x, y int) float64 { return float64((x/5 + y/5) % 2 * 255) })},
		{"rings", drawn(388, 374, func(x, y int) float64 { return float64(((x-194)*(x-194) + (y-187)*(y-187)) / 40 % 256) })},
		{"fingers", tiled(crop(finger, 130, 120, 128, 128), 388, 374)},
	} {
		b.Run(c.name, func(b *testing.B) {
			inTurn(b, "of-a-finger", func() { _, _ = Extract(c.img, 500) }, func() { _, _ = Extract(finger, 500) })
		})
	}
}

// A picture full of ridges, by area: the time for a pixel, in that of one of 192 x 192,
// stays level up to the largest that is taken.
func BenchmarkExtractArea(b *testing.B) {
	finger := crop(ridge.New(1).Impression(ridge.ImpressionOptions{Width: 388, Height: 374}), 98, 91, 192, 192)
	for _, side := range []int{272, 384, 768, maxSide} {
		img := tiled(finger, side, side)
		b.Run(image.Pt(side, side).String(), func(b *testing.B) {
			larger := float64(side*side) / (192 * 192)
			inTurn(b, "of-a-small-one", func() { _, _ = Extract(img, 500) }, func() {
				for range int(larger + 0.5) {
					_, _ = Extract(finger, 500)
				}
			})
		})
	}
}

// tiled covers a picture with another and its mirror images.
func tiled(in *image.Gray, w, h int) *image.Gray {
	at := func(v, side int) int {
		if v/side%2 == 1 {
			return side - 1 - v%side
		}
		return v % side
	}
	return drawn(w, h, func(x, y int) float64 {
		return float64(in.GrayAt(at(x, in.Rect.Dx()), at(y, in.Rect.Dy())).Y)
	})
}
