package main

import (
	"math"
	"strings"
	"testing"
)

func TestSpansAreSummed(t *testing.T) {
	r := spanReport{Clips: []spanClip{
		{File: "a", Framed: []int{0, 3}, Bezel: []float64{0, 0, 1}, live: []float64{1, 0.9, 0.8}},
		{File: "b", Attack: true, Framed: []int{1, 2}, Bezel: []float64{4, 0}, live: []float64{0, 0.1}},
	}}
	r.sum()
	if math.Abs(r.AUC-4.0/6) > 1e-9 || !(r.Correlation < -0.5 && r.Correlation > -1) {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	r.print(&b)
	for _, want := range []string{"APCER 50.0 % of 2 spans (95 %: 1.3 to 99 %)", "BPCER 0.0 % of 3 (95 %: 0 to 71 %)", "framed in 1 of 2 spans; at most 4.00"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if line := r.line(); !strings.Contains(line, "1 of 2 spans of the attacks are in doubt") || !strings.Contains(line, "0 of 3 of the living") {
		t.Error(line)
	}
}

func TestAreaAndCorrelation(t *testing.T) {
	if a := areaUnder([]float64{0, 0}, []float64{0, 1}); a != 0.75 {
		t.Error(a)
	}
	if areaUnder(nil, []float64{1}) != 0 || correlation(nil, nil) != 0 || correlation([]float64{1, 1}, []float64{2, 3}) != 0 {
		t.Error("something of nothing")
	}
	if c := correlation([]float64{1, 2, 4}, []float64{-2, -4, -8}); math.Abs(c+1) > 1e-9 {
		t.Error(c)
	}
}
