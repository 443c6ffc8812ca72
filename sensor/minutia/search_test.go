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

// What the first stage says of two fingers is what a comparison pair by pair says, at
// any angles.
func TestOddsAreTheBestOfAllPairs(t *testing.T) {
	for turn := 0; turn < 256; turn += 37 {
		a, b := print1(t, 3, 1), print1(t, 4, 1)
		turned := &Template{Width: b.Width, Height: b.Height, Ridges: b.Ridges}
		for i, m := range b.Minutiae {
			m.Angle += uint8(turn + i%2*turn)
			turned.Minutiae = append(turned.Minutiae, m)
		}
		v := newView(a)
		s, f := seek(&v), &NewGallery([]*Prepared{Prepare(turned)}).fronts[0]
		got, positive := s.odds(f), 0
		for k := range s.n {
			want := int32(0)
			for j := range f.n {
				d, shared := s.flows[k].different(&f.flows[j])
				if turnDiff(s.flows[k].angle, f.flows[j].angle) <= maxTurn {
					want = max(want, int32(shared-coarseDiffers*d)<<8|int32(j))
				}
			}
			if got := max(got[k], got[k+s.n]); got != want {
				t.Errorf("turned by %d, minutia %d: %d, want %d", turn, k, got, want)
			}
			if want > 0 {
				positive++
			}
		}
		if s.n == 0 || f.n == 0 || turn == 0 && positive == 0 {
			t.Errorf("turned by %d: %d and %d minutiae, %d alike: the test tests nothing", turn, s.n, f.n, positive)
		}
	}
}

// Few are all compared, however unlike they look to the stages; of more, as many as
// of 100,000.
func TestFewAreAllCompared(t *testing.T) {
	var grown []*Prepared
	for f := range uint64(12) {
		grown = append(grown, Prepare(print1(t, f, 1)))
	}
	probe := Prepare(print1(t, 20, 1))
	var m Matcher
	for _, c := range [][3]int{{1000, 1000, 1000}, {5000, 5000, 5000}, {6000, 5000, 1000}, {120_000, 6000, 1200}} {
		var fingers []*Prepared
		for i := range c[0] {
			fingers = append(fingers, grown[i%len(grown)])
		}
		g := NewGallery(fingers)
		m.rank(probe, g)
		relaxed := len(m.ranked)
		m.rankAgain(probe, g)
		if got := [3]int{c[0], relaxed, len(m.ranked)}; got != c {
			t.Errorf("fingers, relaxed, compared: %v, want %v", got, c)
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
	for i := range 6000 {
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
		g := NewGallery(gallery)
		if first, second := m.Kept(probe, g, at); !first || !second {
			t.Errorf("finger %d: left by the first stage: %t, by the second: %t", f, first, second)
		}
		if found, score := m.Search(probe, g); found != at || score != m.Match(probe, gallery[at]) {
			t.Errorf("finger %d is at %d: found %d (%.2f)", f, at, found, score)
		}
	}
}
