package minutia

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The shortlist is what sorting everybody would leave, also of many that are alike
// and of some, or all, that cannot be ranked.
func TestShortlist(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, bare := range []float64{0, 0.02, 0.7, 1} {
		for _, n := range []int{0, 1, 9, 10, 11, 1000} {
			all := make([]ranked, n)
			for i := range all {
				all[i] = ranked{i, float64(r.IntN(max(n/3, 1)))}
				if r.Float64() < bare {
					all[i].alike = math.Inf(1)
				}
			}
			got := shortlist(nil, n, 10, func(i int) float64 { return all[i].alike })
			if want := leading(all, 10); !slices.Equal(got, want) {
				t.Errorf("%d, %.0f %% of them bare: %v, want %v", n, 100*bare, got, want)
			}
		}
	}
}

// A gallery in which both stages drop most loses nobody, and finds them where
// comparing all does.
func TestLargeSearchKeepsTheRightFinger(t *testing.T) {
	var grown []*Template
	for f := range uint64(12) {
		grown = append(grown, print1(t, f, 1))
	}
	// Strangers by the hundred: the minutiae of one finger on the ridges of another,
	// turned a little.
	var gallery []*Prepared
	for i := range 1500 {
		a, b := grown[i%12], grown[(i/12+i)%12]
		c := &Template{Width: a.Width, Height: a.Height, Quality: a.Quality, Ridges: b.Ridges}
		for _, m := range a.Minutiae {
			m.Angle += uint8(i / 144)
			c.Minutiae = append(c.Minutiae, m)
		}
		gallery = append(gallery, Prepare(c))
	}
	var m Matcher
	for f := uint64(20); f < 24; f++ {
		at := int(f) * 61
		gallery[at] = Prepare(print1(t, f, 1))
		probe := Prepare(print1(t, f, 2))
		if first, second := m.Kept(probe, gallery, at); !first || !second {
			t.Errorf("finger %d: left by the first stage: %t, by the second: %t", f, first, second)
		}
		if found, score := m.Search(probe, gallery); found != at || score != m.Match(probe, gallery[at]) {
			t.Errorf("finger %d is at %d: found %d (%.2f)", f, at, found, score)
		}
	}
}
