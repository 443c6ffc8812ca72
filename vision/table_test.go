package vision

import (
	"errors"
	"math"
	"testing"
)

var measured = Table{Source: "test", Points: []Operating{{1e-2, 0.2}, {1e-3, 0.3}, {1e-5, 0.5}}}

func TestFMROfACosine(t *testing.T) {
	for _, tt := range []struct{ cosine, want float64 }{
		{-1, 1},
		{0.199, 1},
		{0.2, 1e-2},
		{0.25, math.Sqrt(1e-5)},
		{0.3, 1e-3},
		{0.4, 1e-4},
		{0.5, 1e-5},
		{1, 1e-5},
		{math.Inf(1), 1e-5},
		{math.NaN(), 1},
		{math.Inf(-1), 1},
	} {
		if got := measured.FMR(tt.cosine); math.Abs(got/tt.want-1) > 1e-9 {
			t.Errorf("cosine %g: FMR %g, want %g", tt.cosine, got, tt.want)
		}
	}
	if got := (Table{}).FMR(1); got != 1 {
		t.Errorf("without a table: FMR %g, want 1", got)
	}
}

func TestThresholdIsTheInverseOfFMR(t *testing.T) {
	for _, fmr := range []float64{1e-2, 3e-3, 1e-3, 1e-4, 1e-5} {
		c, err := measured.Threshold(fmr)
		if err != nil || math.Abs(measured.FMR(c)/fmr-1) > 1e-9 {
			t.Errorf("FMR %g: cosine %g, %v, which has FMR %g", fmr, c, err, measured.FMR(c))
		}
	}
	if c, err := measured.Threshold(0.5); err != nil || c != 0.2 {
		t.Errorf("an easy rate: %g, %v, want the lowest point", c, err)
	}
	for _, fmr := range []float64{1e-6, 0, -1, math.NaN()} {
		if c, err := measured.Threshold(fmr); !errors.Is(err, ErrProfile) || !math.IsNaN(c) {
			t.Errorf("FMR %g: %g, %v, want no threshold", fmr, c, err)
		}
	}
}

func TestTablesThatMeanNothingAreRefused(t *testing.T) {
	two := func(a, b Operating) Table { return Table{Source: "test", Points: []Operating{a, b}} }
	for name, table := range map[string]Table{
		"no source":         {Points: measured.Points},
		"one point":         {Source: "test", Points: measured.Points[:1]},
		"cosine falls":      two(Operating{1e-2, 0.3}, Operating{1e-3, 0.2}),
		"FMR rises":         two(Operating{1e-3, 0.2}, Operating{1e-2, 0.3}),
		"FMR of 0":          two(Operating{1e-2, 0.2}, Operating{0, 0.3}),
		"FMR above 1":       two(Operating{2, 0.2}, Operating{1e-3, 0.3}),
		"FMR no number":     two(Operating{math.NaN(), 0.2}, Operating{1e-3, 0.3}),
		"cosine no number":  two(Operating{1e-2, math.NaN()}, Operating{1e-3, 0.3}),
		"cosine beyond 1":   two(Operating{1e-2, 0.2}, Operating{1e-3, 1.1}),
		"the same two":      two(Operating{1e-2, 0.2}, Operating{1e-2, 0.2}),
		"infinitely unlike": two(Operating{1e-2, math.Inf(-1)}, Operating{1e-3, 0.3}),
	} {
		if err := table.check(); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := measured.check(); err != nil {
		t.Error(err)
	}
}
