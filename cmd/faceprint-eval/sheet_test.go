package main

import (
	"math"
	"testing"
)

// A ray through the middle hits the middle; a turned sheet is foreshortened, and
// nearer on the side that comes forward; a bent one falls back.
func TestWhereRaysHitASheet(t *testing.T) {
	for name, tt := range map[string]struct {
		dx, dy, turn, bend float64
		u, v               float64
	}{
		"the middle":            {0, 0, 0.5, 0, 0, 0},
		"not turned":            {0.1, 0.05, 0, 0, 90, 45},
		"the middle, bent":      {0, 0, 0.5, 280, 0, 0},
		"turned, the near side": {0.1, 0, 0.5, 0, 0, 0},
	} {
		sin, cos := math.Sincos(tt.turn)
		u, v, ok := onSheet(tt.dx, tt.dy, sin, cos, 900, tt.bend)
		if !ok {
			t.Fatalf("%s: missed", name)
		}
		if tt.turn != 0 && tt.dx != 0 { // back from the sheet onto the picture plane
			x, z := u*cos, 900+u*sin
			if math.Abs(x/z-tt.dx) > 1e-9 {
				t.Errorf("%s: %g is seen at %g, not %g", name, u, x/z, tt.dx)
			}
			continue
		}
		if math.Abs(u-tt.u) > 1e-9 || math.Abs(v-tt.v) > 1e-9 {
			t.Errorf("%s: %g, %g, want %g, %g", name, u, v, tt.u, tt.v)
		}
	}
	if _, _, ok := onSheet(0.5, 0, 0, 1, 900, 280); ok {
		t.Error("a ray beside the pole hits the sheet")
	}
	flat, _, _ := onSheet(0.15, 0, 0, 1, 900, 0)
	bent, _, _ := onSheet(0.15, 0, 0, 1, 900, 280)
	if !(bent > flat) { // more paper lies under the same angle
		t.Errorf("flat %g, bent %g", flat, bent)
	}
}
