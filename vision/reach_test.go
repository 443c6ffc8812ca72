package vision

import (
	"math"
	"testing"
)

func TestFrameFor(t *testing.T) {
	for _, tt := range []struct {
		distance float64
		width    int
	}{{0.4, 640}, {1, 640}, {1.2, 800}, {1.5, 1280}, {2, 1280}, {2.3, 1920}, {MaxReach, 1920}, {MaxReach + 0.2, 0}, {0, 0}, {-1, 0}, {math.NaN(), 0}, {math.Inf(1), 0}} {
		w, h, ok := FrameFor(tt.distance)
		if w != tt.width || ok != (tt.width > 0) || (h > 0) != ok {
			t.Errorf("%.1f m: %dx%d, %v; want a width of %d", tt.distance, w, h, ok, tt.width)
		}
	}
}

// A face at the reach of a frame is as large as is wanted, and never a smaller
// part of the frame than the detector finds.
func TestReach(t *testing.T) {
	before := 0.0
	for _, width := range []int{160, 320, 640, 800, 1280, 1920, 3840, 8192} {
		r := Reach(width)
		size := faceHeight * float64(width) / (2 * r * math.Tan(35*math.Pi/180)) // pixels
		if size < wantSize-1e-6 || size < float64(width)*leastShare-1e-6 || r < before-1e-9 {
			t.Errorf("%d pixels reach %.2f m, where a face has %.0f", width, r, size)
		}
		before = r
	}
}

func TestHowLargeAFaceIsAtTheChart(t *testing.T) {
	for _, tt := range []struct {
		scale    float64
		ok, sure bool
	}{{0.3, false, false}, {0.4, true, false}, {0.5, true, true}} {
		r := ChartReport{Found: true, Scale: tt.scale}
		if ok, sure := r.LargeEnough(); ok != tt.ok || sure != tt.sure {
			t.Errorf("%g pixels a millimetre, %.0f a face: %v, %v", tt.scale, r.FaceSize(), ok, sure)
		}
	}
	if ok, _ := (ChartReport{Scale: 5}).LargeEnough(); ok {
		t.Error("without a chart")
	}
}
