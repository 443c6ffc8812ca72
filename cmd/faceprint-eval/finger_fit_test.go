package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/faceprint/faceprint/sensor/minutia"
)

// The fit is the minimum of what it says it minimises: no weight moves it further
// down, a term that speaks against its own kind weighs nothing, and sets weigh alike
// whatever their size.
func TestFitScore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var sets []fitSet
	for _, n := range []int{40, 4000} {
		var s fitSet
		for i := range n {
			genuine := i%4 == 0
			var p fitPair
			shift := 0.0
			if genuine {
				shift = 1.5
			}
			p.terms[minutia.TermPaired] = 0.3*r.NormFloat64() + 0.2*shift
			p.terms[minutia.TermRelaxed] = 2*r.NormFloat64() + shift
			p.terms[minutia.TermPhase] = 0.5*r.NormFloat64() - 0.5*shift // the wrong way round
			p.terms[minutia.TermEvidence] = 5 + 3*r.NormFloat64()
			if genuine {
				s.genuine = append(s.genuine, p)
			} else {
				s.impostor = append(s.impostor, p)
			}
		}
		s.impostor = append(s.impostor, fitPair{shipped: minutia.NoScore}) // nothing in common
		sets = append(sets, s)
	}
	f, err := fitScore(sets)
	if err != nil {
		t.Fatal(err)
	}
	if f.weight[minutia.TermPhase] != 0 || f.weight[minutia.TermPaired] <= 0 || f.weight[minutia.TermRelaxed] <= 0 {
		t.Errorf("weights %v", f.weight)
	}
	// The deviations of the terms, as the fit weighs them.
	var deviation [minutia.Terms]float64
	for k := range deviation {
		var sum, squares float64
		for _, s := range sets {
			for _, class := range [][]fitPair{s.genuine, s.impostor} {
				n := 0.0
				for _, p := range class {
					if p.shipped != minutia.NoScore {
						n++
					}
				}
				for _, p := range class {
					if p.shipped != minutia.NoScore {
						sum += p.terms[k] / n / 4
						squares += p.terms[k] * p.terms[k] / n / 4
					}
				}
			}
		}
		deviation[k] = math.Sqrt(squares - sum*sum)
	}
	loss := func(f fitted) (l float64) {
		for _, s := range sets {
			for y, class := range map[float64][]fitPair{1: s.genuine, -1: s.impostor} {
				n, sum := 0.0, 0.0
				for _, p := range class {
					if p.shipped != minutia.NoScore {
						n, sum = n+1, sum+math.Log1p(math.Exp(-y*f.score(p)))
					}
				}
				l += sum / n / 4
			}
		}
		for k, w := range f.weight {
			l += fitPenalty * w * deviation[k] * w * deviation[k]
		}
		return l
	}
	least := loss(f)
	for k := range f.weight {
		for _, step := range []float64{-0.01, 0.01} {
			g := f
			if g.weight[k] += step / deviation[k]; g.weight[k] < 0 {
				continue
			}
			if l := loss(g); l < least {
				t.Errorf("weight %d: %.9f at %+.2f, %.9f at the fit", k, l, step, least)
			}
		}
	}
	for _, step := range []float64{-0.01, 0.01} {
		g := f
		if g.bias += step; loss(g) < least {
			t.Errorf("the bias %+.2f is better", step)
		}
	}
	if _, err := fitScore([]fitSet{{genuine: sets[0].genuine}}); err == nil {
		t.Error("fitted to genuine pairs alone")
	}
}

// A set of a hundred says as much as one of ten thousand.
func TestScoreAt(t *testing.T) {
	few, many := fitSet{}, fitSet{}
	for i := range 100 {
		few.impostor = append(few.impostor, fitPair{shipped: float64(i)})
	}
	for i := range 10000 {
		many.impostor = append(many.impostor, fitPair{shipped: float64(i)/100 - 100})
	}
	sets := []fitSet{few, many, {name: "without impostors"}}
	for share, want := range map[float64]float64{0.5: 0, 0.1: 80, 0.005: 99} {
		if at := scoreAt(sets, shippedScore, share); at != want {
			t.Errorf("%g of all score %g, want %g", share, at, want)
		}
	}
}
