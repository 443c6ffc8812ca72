package main

import (
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAFlagTakesTheFilesThatFollow(t *testing.T) {
	got := spread([]string{"--json", "--live", "a", "b", "--threshold", "0.6", "--attack", "c", "--live", "d", "--attack"})
	want := []string{"--json", "--live=a", "--live=b", "--threshold", "0.6", "--attack=c", "--live=d", "--attack"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestEqualErrorsOfKnownScores(t *testing.T) {
	for name, tt := range map[string]struct {
		live, attack []float64
		want         float64
	}{
		"apart":   {[]float64{0.8, 0.9}, []float64{0.1, 0.2}, 0},
		"crossed": {[]float64{0.1, 0.9, 0.9, 0.9}, []float64{0.1, 0.1, 0.1, 0.95}, 0.25},
		"swapped": {[]float64{0.1}, []float64{0.9}, 1},
	} {
		if got := equalErrors(tt.live, tt.attack); got != tt.want {
			t.Errorf("%s: %g, want %g", name, got, tt.want)
		}
	}
}

func TestClipsAreSummed(t *testing.T) {
	r := livenessReport{Clips: []livenessClip{
		{Accepted: 9, Rejected: 1, Retries: 2, Frames: 10, Passed: 8, stages: [4][]float64{{1, 3, 2}, {4}, {5}, {6}}}, {Attack: true, Accepted: 1, Rejected: 3, Frames: 4, Passed: 1}, {Attack: true, Retries: 5},
	}}
	r.sum()
	if r.BPCER != 10 || r.APCER != 25 || r.DecisionsLive != 10 || r.DecisionsAttack != 4 || r.RetriesLive != 2 || r.RetriesAttack != 5 || r.BPCERFrame != 20 || r.APCERFrame != 25 || r.MsDetect != 2 || r.MsLiveness != 6 {
		t.Errorf("%+v", r)
	}
}

// Known values: none of n has the upper end 1-0.025^(1/n); 4 of 10 are in every
// book's table.
func TestExactIntervals(t *testing.T) {
	for _, tt := range []struct {
		k, n     int
		from, to float64
	}{
		{0, 0, 0, 100},
		{0, 8, 0, 100 * (1 - math.Pow(0.025, 1.0/8))},
		{8, 8, 100 * math.Pow(0.025, 1.0/8), 100},
		{4, 10, 12.155, 73.762},
		{0, 341, 0, 100 * (1 - math.Pow(0.025, 1.0/341))},
	} {
		got := exact95(tt.k, tt.n)
		if math.Abs(got[0]-tt.from) > 1e-3 || math.Abs(got[1]-tt.to) > 1e-3 {
			t.Errorf("%d of %d: %.3f, want %.3f to %.3f", tt.k, tt.n, got, tt.from, tt.to)
		}
	}
}

func TestTheCurveOfLivenessNeedsBoth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "det.png")
	live := livenessClip{scores: []float64{0.9, 0.4, 0.8}}
	if err := (&livenessReport{Clips: []livenessClip{live}}).plot(file); err == nil {
		t.Error("drawn without an attack")
	}
	r := livenessReport{Clips: []livenessClip{live, {Attack: true, scores: []float64{0.1, 0.6}}}}
	if err := r.plot(file); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
}
