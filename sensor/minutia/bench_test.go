package minutia

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// What no finger costs, beside a finger of the same area: compare the times of
// one run. The aim is at most four times.
func BenchmarkExtractHostile(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := drawn(388, 374, func(int, int) float64 { return 255 * r.Float64() })
	for _, c := range []struct {
		name string
		img  *image.Gray
	}{
		{"finger", ridge.New(1).Impression(ridge.ImpressionOptions{Width: 388, Height: 374})},
		{"black", image.NewGray(image.Rect(0, 0, 388, 374))},
		{"noise", noise},
		{"coarse-noise", blurred(noise, 2)},
		{"checks", drawn(388, 374, func(x, y int) float64 { return float64((x/5 + y/5) % 2 * 255) })},
		{"rings", drawn(388, 374, func(x, y int) float64 { return float64(((x-194)*(x-194) + (y-187)*(y-187)) / 40 % 256) })},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				_, _ = Extract(c.img, 500)
			}
		})
	}
}

// Time by area: ns/px should stay level.
func BenchmarkExtractArea(b *testing.B) {
	f := ridge.New(1)
	for _, side := range []int{192, 272, 384} {
		img := f.Impression(ridge.ImpressionOptions{Width: side, Height: side})
		b.Run(image.Pt(side, side).String(), func(b *testing.B) {
			for b.Loop() {
				_, _ = Extract(img, 500)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*side*side), "ns/px")
		})
	}
}
