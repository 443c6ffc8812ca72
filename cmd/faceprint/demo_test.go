package main

import (
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// A phone is told that a face passed and not how well, which is no rate of 1.
func TestTheRoundShowsNoRateThatIsNotTold(t *testing.T) {
	for want, fs := range map[string][]client.Factor{
		"face  phone  7 ms":                       {{Kind: "face", Passed: true, FMR: 1}, {Kind: "phone", Passed: true, FMR: 1}},
		"face 0.85 FMR 1.0e-07 live 0.99  7 ms":   {{Kind: "face", Passed: true, Score: new(0.85), FMR: 1e-7, Live: new(0.99)}},
		"face -0.106 FMR 1.0e+00 live 0.99  7 ms": {{Kind: "face", Score: new(-0.106), FMR: 1, Live: new(0.99)}},
	} {
		if got := measured(client.Decision{Factors: fs, TookMs: 7}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
