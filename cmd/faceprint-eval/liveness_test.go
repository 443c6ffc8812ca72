package main

import (
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
		{Accepted: 9, Rejected: 1, Retries: 2, Frames: 10, Passed: 8}, {Attack: true, Accepted: 1, Rejected: 3, Frames: 4, Passed: 1}, {Attack: true, Retries: 5},
	}}
	r.sum()
	if r.BPCER != 10 || r.APCER != 25 || r.DecisionsLive != 10 || r.DecisionsAttack != 4 || r.RetriesLive != 2 || r.RetriesAttack != 5 || r.BPCERFrame != 20 || r.APCERFrame != 25 {
		t.Errorf("%+v", r)
	}
}
