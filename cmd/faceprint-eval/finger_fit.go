package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// Of a fit of sensor/minutia's score.
const (
	fitTouches   = 4    // careless ones of a synthetic finger
	fitStretched = 6    // and of others, with
	fitStretch   = 4.0  // times the distortion
	fitPenalty   = 0.03 // L2, on weights of standardised terms
	fitRounds    = 1000 // at most
	fitStill     = 1e-7 // the change of a weight that ends it
)

// fitSet is the comparisons of one set of fingers.
type fitSet struct {
	name              string
	genuine, impostor []fitPair
}

// fitPair is what two impressions have in common, if anything.
type fitPair struct {
	terms   [minutia.Terms]float64
	shipped float64 // score
}

// fitted are the weights of the terms, and the bias.
type fitted struct {
	weight [minutia.Terms]float64
	bias   float64
}

func (f *fitted) score(p fitPair) float64 {
	if p.shipped == minutia.NoScore {
		return minutia.NoScore
	}
	s := f.bias
	for k, t := range p.terms {
		s += f.weight[k] * t
	}
	return s
}

// fingerFit fits the score to synthetic fingers and those of folders, and prints
// what sensor/minutia/tuned.go has of it.
func fingerFit(w io.Writer, o fingerOptions, dirs []string) error {
	o.jobs = min(max(o.jobs, 1), runtime.NumCPU())
	var sets []fitSet
	for _, window := range []int{0, tableWindow} {
		for _, dir := range dirs {
			fingers, err := fingersOf(o, dir, window)
			if err != nil {
				return err
			}
			sets = append(sets, compareSet(fmt.Sprintf("%s, %s", dir, windowName(window)), fingers, o.jobs))
		}
		width, height := 256, 288
		if window > 0 {
			width, height = window, window
		}
		careless, stretched := make([][]*minutia.Template, o.fit), make([][]*minutia.Template, o.fit)
		parallel(o.jobs, o.fit, func(_, i int) {
			careless[i] = touchesOf(ridge.New(uint64(1000+i)), width, height, fitTouches, 1)
			stretched[i] = touchesOf(ridge.New(uint64(1000+o.fit+i)), width, height, fitStretched, fitStretch)
		})
		sets = append(sets, compareSet("synthetic, "+windowName(window), careless, o.jobs),
			compareSet("synthetic and stretched, "+windowName(window), stretched, o.jobs))
	}
	f, err := fitScore(sets)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%-50s %8s %8s %23s %23s\n", "set", "genuine", "impostor", "EER, FMR1000 as shipped", "fitted, %")
	for _, s := range sets {
		if len(s.genuine) == 0 || len(s.impostor) == 0 {
			continue
		}
		shipped := newDET(scores(s.genuine, shippedScore), scores(s.impostor, shippedScore))
		now := newDET(scores(s.genuine, f.score), scores(s.impostor, f.score))
		fmt.Fprintf(w, "%-50s %8d %8d %11.2f %11.2f %11.2f %11.2f\n", s.name, len(s.genuine), len(s.impostor),
			shipped.eer(), shipped.fnmrAt(1000), now.eer(), now.fnmrAt(1000))
	}
	fmt.Fprintf(w, "\nvar scoreWeight = [Terms]float64{TermPaired: %.3g, TermRelaxed: %.3g, TermPhase: %.3g, TermEvidence: %.3g}\n\nconst scoreBias = %.3g\n\nvar fmrTable = []fmrPoint{\n\t",
		f.weight[minutia.TermPaired], f.weight[minutia.TermRelaxed], f.weight[minutia.TermPhase], f.weight[minutia.TermEvidence], f.bias)
	// The table goes straight from point to point: from 1 at what half of them have
	// it stays above the measured share.
	fmt.Fprintf(w, "{%.2f, 0}", scoreAt(sets, f.score, 0.5))
	for n := 1; n <= 3; n++ {
		fmt.Fprintf(w, ", {%.2f, -%d}", scoreAt(sets, f.score, math.Pow10(-n)), n)
	}
	fmt.Fprint(w, ", // below 1e-3: what finger --table measures with these weights\n}\n")
	return nil
}

func windowName(window int) string {
	if window == 0 {
		return "whole"
	}
	return fmt.Sprintf("window %d", window)
}

func shippedScore(p fitPair) float64 { return p.shipped }

func scores(ps []fitPair, of func(fitPair) float64) []float64 {
	out := make([]float64, len(ps))
	for i, p := range ps {
		out[i] = of(p)
	}
	return out
}

// compareSet compares every pair of impressions of a set once.
func compareSet(name string, fingers [][]*minutia.Template, jobs int) fitSet {
	prepared := make([][]*minutia.Prepared, len(fingers))
	for i, ts := range fingers {
		prepared[i] = prepareAll(ts)
	}
	rows := make([]fitSet, len(fingers))
	matchers := make([]minutia.Matcher, jobs)
	parallel(jobs, len(fingers), func(worker, i int) {
		for k, p := range prepared[i] {
			for _, q := range prepared[i][k+1:] {
				rows[i].genuine = append(rows[i].genuine, comparedPair(&matchers[worker], p, q))
			}
			for _, others := range prepared[i+1:] {
				for _, q := range others {
					rows[i].impostor = append(rows[i].impostor, comparedPair(&matchers[worker], p, q))
				}
			}
		}
	})
	s := fitSet{name: name}
	for _, r := range rows { // in the order of the fingers: a fit repeats exactly
		s.genuine, s.impostor = append(s.genuine, r.genuine...), append(s.impostor, r.impostor...)
	}
	return s
}

func comparedPair(m *minutia.Matcher, p, q *minutia.Prepared) fitPair {
	e := m.Compare(p, q)
	return fitPair{e.Terms(), e.Score()}
}

// fitScore is the logistic regression of same or not by the terms, with weights
// >= 0, so that no more evidence lowers a score, an L2 penalty on the weights of the
// standardised terms, and every class of every set weighing alike. Cyclic coordinate
// descent (Genkin, Lewis, Madigan, "Large-scale Bayesian logistic regression for text
// categorization", 2007).
func fitScore(sets []fitSet) (fitted, error) {
	type sample struct {
		x [minutia.Terms + 1]float64 // the last is 1
		y float64                    // 1 or -1
		w float64
		z float64 // score
	}
	const bias = int(minutia.Terms)
	var all []sample
	classes := 0
	for _, s := range sets {
		for c, pairs := range [][]fitPair{s.impostor, s.genuine} {
			from := len(all)
			for _, p := range pairs {
				if p.shipped == minutia.NoScore {
					continue
				}
				one := sample{y: float64(2*c - 1)}
				copy(one.x[:], p.terms[:])
				one.x[bias] = 1
				all = append(all, one)
			}
			for i := range all[from:] {
				all[from+i].w = 1 / float64(len(all)-from)
			}
			if len(all) > from {
				classes++
			}
		}
	}
	genuine := func(s sample) bool { return s.y > 0 }
	impostor := func(s sample) bool { return s.y < 0 }
	if !slices.ContainsFunc(all, genuine) || !slices.ContainsFunc(all, impostor) {
		return fitted{}, errors.New("finger: nothing to fit to: want fingers of two impressions or more, and two fingers at least")
	}
	var mean, deviation [minutia.Terms]float64
	for k := range mean {
		var sum, squares float64
		for _, s := range all {
			sum += s.w * s.x[k] / float64(classes)
			squares += s.w * s.x[k] * s.x[k] / float64(classes)
		}
		mean[k], deviation[k] = sum, math.Sqrt(max(squares-sum*sum, 1e-12))
		for i := range all {
			all[i].x[k] = (all[i].x[k] - sum) / deviation[k]
		}
	}
	var b [minutia.Terms + 1]float64
	for range fitRounds {
		moved := 0.0
		for k := range b {
			var slope, curve float64
			for i := range all {
				s := &all[i]
				p := 1 / (1 + math.Exp(s.y*s.z)) // of being wrong
				slope -= s.w * s.y * p * s.x[k] / float64(classes)
				curve += s.w * p * (1 - p) * s.x[k] * s.x[k] / float64(classes)
			}
			if k != bias {
				slope, curve = slope+2*fitPenalty*b[k], curve+2*fitPenalty
			}
			// A step of one deviation at most: Newton's may leap where nothing is curved.
			to := b[k] - min(max(slope/max(curve, 1e-12), -1), 1)
			if k != bias {
				to = max(to, 0)
			}
			step := to - b[k]
			if step == 0 {
				continue
			}
			b[k] = to
			for i := range all {
				all[i].z += step * all[i].x[k]
			}
			moved = max(moved, math.Abs(step))
		}
		if moved < fitStill {
			break
		}
	}
	f := fitted{bias: b[bias]}
	for k := range f.weight {
		f.weight[k] = b[k] / deviation[k]
		f.bias -= f.weight[k] * mean[k]
	}
	return f, nil
}

// scoreAt is the lowest score that no more than a share of the impostors has, every
// set weighing alike.
func scoreAt(sets []fitSet, of func(fitPair) float64, share float64) float64 {
	type weighed struct{ score, w float64 }
	var all []weighed
	n := 0.0
	for _, s := range sets {
		if len(s.impostor) > 0 {
			n++
		}
		for _, p := range s.impostor {
			all = append(all, weighed{of(p), 1 / float64(len(s.impostor))})
		}
	}
	slices.SortFunc(all, func(a, b weighed) int { return cmp.Compare(b.score, a.score) })
	sum, at := 0.0, math.NaN()
	for _, a := range all {
		if sum += a.w; sum > share*n*(1+1e-9) {
			break
		}
		at = a.score
	}
	return at
}
