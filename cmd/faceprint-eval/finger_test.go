package main

import (
	"math"
	"testing"
)

func TestDET(t *testing.T) {
	for _, c := range []struct {
		name              string
		genuine, impostor []float64
		eer, f10, zero    float64
	}{
		{"apart", []float64{3, 4}, []float64{1, 2}, 0, 0, 0},
		{"swapped", []float64{1, 2}, []float64{3, 4}, 75, 100, 100},
		{"one in ten", []float64{0, 5, 5, 5, 5, 5, 5, 5, 5, 5}, []float64{6, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 10, 10, 100},
		{"a failure is a non-match", []float64{math.Inf(-1), 5}, []float64{math.Inf(-1), 1}, 50, 50, 50},
		{"ties are matches", []float64{2, 2}, []float64{2, 1}, 25, 100, 100},
	} {
		d := newDET(c.genuine, c.impostor)
		if got := d.eer(); got != c.eer {
			t.Errorf("%s: EER %g, want %g", c.name, got, c.eer)
		}
		if got := d.fnmrAt(10); got != c.f10 {
			t.Errorf("%s: FNMR at FMR 1/10 %g, want %g", c.name, got, c.f10)
		}
		if got := d.fnmrAt(0); got != c.zero {
			t.Errorf("%s: ZeroFMR %g, want %g", c.name, got, c.zero)
		}
	}
}
