package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// Of an impostor class, for the table of false match rates.
const (
	tableEnrolled = 4    // impressions of a finger that count together
	tableWindow   = 192  // px at 508 dpi, of the smallest module
	tailShare     = 1e-3 // of a class's scores are its tail, but
	tailFewest    = 60   // at least so many, and
	tailDraws     = 200  // bootstrap samples of fingers
)

// tailed is what different fingers of one class score: those of folders or
// synthetic ones, where both are large (minutia's Prepared.Large) or not.
type tailed struct {
	name    string
	fingers int
	all     float64      // comparisons of one impression with one
	best    float64      // and of one with the best of tableEnrolled
	scores  []comparison // of all, from keepFrom up
	bests   []comparison
	claims  func(score float64) float64 // the rate that sensor/minutia names
}

// shown is what is compared of a finger: its impressions, and what minutia.Merge
// makes of each tableEnrolled of them.
type shown struct{ touches, merged []*minutia.Prepared }

// keepFrom is the score below which nothing is kept: FMR 0.1 or so.
const keepFrom = -1.6

func (t *tailed) add(to *[]comparison, c comparison) {
	if c.score >= keepFrom {
		*to = append(*to, c)
	}
}

// impostors are the classes of one source: one impression with one, where one of
// the two is small and where both are large, and one with several merged.
type impostors [4]tailed

// compare has every impression of every finger of a set compared with those of the
// others, each pair once, and with what is merged of the others.
func (im *impostors) compare(fingers []shown, jobs int) {
	first := im[0].fingers
	rows := make([]impostors, len(fingers))
	matchers := make([]minutia.Matcher, jobs)
	parallel(jobs, len(fingers), func(worker, a int) {
		for b, other := range fingers {
			if b > a {
				rows[a].pair(&matchers[worker], first+a, first+b, fingers[a].touches, other.touches)
			}
			if b != a {
				rows[a].merged(&matchers[worker], first+a, first+b, fingers[a].touches, other.merged)
			}
		}
	})
	for k := range im {
		t := &im[k]
		t.fingers += len(fingers)
		for i := range rows { // in the order of the fingers: a report repeats exactly
			r := &rows[i]
			if t.claims == nil {
				t.claims = r[k].claims
			}
			t.all, t.best = t.all+r[k].all, t.best+r[k].best
			t.scores, t.bests = append(t.scores, r[k].scores...), append(t.bests, r[k].bests...)
		}
	}
}

func (im *impostors) pair(m *minutia.Matcher, a, b int, probes, enrolled []*minutia.Prepared) {
	for _, p := range probes {
		best, large := minutia.NoScore, 0
		for i, e := range enrolled {
			k := sizeOf(p, e)
			s := im[k].one(m, a, b, p, e)
			if i < tableEnrolled {
				best, large = max(best, s), large+k
			}
		}
		if large %= tableEnrolled; len(enrolled) >= tableEnrolled && large == 0 { // of one class
			k := sizeOf(p, enrolled[0])
			im[k].best++
			im[k].add(&im[k].bests, comparison{a: a, b: b, score: best})
		}
	}
}

func (im *impostors) merged(m *minutia.Matcher, a, b int, probes, merged []*minutia.Prepared) {
	for _, p := range probes {
		for _, e := range merged {
			im[2+sizeOf(p, e)].one(m, a, b, p, e)
		}
	}
}

func sizeOf(p, e *minutia.Prepared) int {
	if p.Large() && e.Large() {
		return 1
	}
	return 0
}

// one counts a comparison of two fingers.
func (t *tailed) one(m *minutia.Matcher, a, b int, p, e *minutia.Prepared) float64 {
	s := m.Match(p, e)
	t.all++
	t.add(&t.scores, comparison{a: a, b: b, score: s})
	if t.claims == nil {
		t.claims = func(score float64) float64 { return minutia.FMROf(score, p, e) }
	}
	return s
}

// exceeding is the weight of those that score at least s.
func exceeding(cs []comparison, s float64, weight []int) (n float64) {
	for _, c := range cs {
		if c.score >= s {
			n += float64(weight[c.a] * weight[c.b])
		}
	}
	return n
}

// tail is an exponential tail: share of all at u, and the mean excess over it.
// xi is the shape of the generalised Pareto distribution by the method of
// moments (Hosking and Wallis, 1987): below 0 the tail is lighter than that.
type tail struct{ u, share, excess, xi float64 }

func fitTail(cs []comparison, u, all float64, weight []int) tail {
	var n, sum, sq float64
	for _, c := range cs {
		if c.score >= u {
			w := float64(weight[c.a] * weight[c.b])
			n, sum, sq = n+w, sum+w*(c.score-u), sq+w*(c.score-u)*(c.score-u)
		}
	}
	mean := sum / n
	return tail{u, n / all, mean, 0.5 * (1 - mean*mean/(sq/n-mean*mean))}
}

// at is the log10 of the rate at a score.
func (t tail) at(s float64) float64 { return math.Log10(t.share) - (s-t.u)/t.excess/math.Ln10 }

// threshold is the score that the n-th best has.
func threshold(cs []comparison, n int) float64 {
	if len(cs) == 0 {
		return keepFrom
	}
	v := make([]float64, len(cs))
	for i, c := range cs {
		v[i] = c.score
	}
	slices.Sort(v)
	return v[max(len(v)-n, 0)]
}

// bounds is the upper 97.5 % of a class's tail, by drawing fingers anew.
func (t *tailed) bounds(u float64, at []float64) (upper []float64, xi [2]float64) {
	r := rand.New(rand.NewPCG(1, 2))
	logs := make([][]float64, len(at))
	var xis []float64
	weight := make([]int, t.fingers)
	var top []comparison
	for _, c := range t.scores {
		if c.score >= u {
			top = append(top, c)
		}
	}
	for range tailDraws {
		clear(weight)
		for range weight {
			weight[r.IntN(len(weight))]++
		}
		f := fitTail(top, u, t.all, weight)
		if math.IsNaN(f.excess) || f.share == 0 {
			continue
		}
		xis = append(xis, f.xi)
		for i, s := range at {
			logs[i] = append(logs[i], f.at(s))
		}
	}
	for _, l := range logs {
		upper = append(upper, interval95(l)[1])
	}
	return upper, interval95(xis)
}

// fingerTable measures what different fingers score, those of folders and
// synthetic ones, and prints the rates that sensor/minutia's tables must not be
// below.
func fingerTable(w io.Writer, o fingerOptions, dirs []string) error {
	o.jobs = min(max(o.jobs, 1), runtime.NumCPU())
	var people, synthetic impostors
	for _, dir := range dirs {
		for _, window := range []int{0, tableWindow} {
			fingers, err := fingersOf(o, dir, window)
			if err != nil {
				return err
			}
			people.compare(show(fingers, o.jobs), o.jobs)
		}
	}
	people.report(w, "people")
	optical, small := make([][]*minutia.Template, o.table), make([][]*minutia.Template, o.table)
	parallel(o.jobs, o.table, func(_, i int) {
		f := ridge.New(uint64(1_000_000 + i))
		optical[i], small[i] = touchesOf(f, 256, 288, tableEnrolled+1, 1), touchesOf(f, tableWindow, tableWindow, tableEnrolled+1, 1)
	})
	synthetic.compare(show(optical, o.jobs), o.jobs)
	synthetic.compare(show(small, o.jobs), o.jobs)
	synthetic.report(w, "synthetic")
	return nil
}

func (im *impostors) report(w io.Writer, of string) {
	im[0].name, im[1].name = of+", small", of+", large"
	im[2].name, im[3].name = of+", small, with merged", of+", large, with merged"
	for k := range im {
		if im[k].all > 0 {
			im[k].report(w)
		}
	}
}

// show prepares what is compared of fingers.
func show(fingers [][]*minutia.Template, jobs int) []shown {
	out := make([]shown, len(fingers))
	parallel(jobs, len(fingers), func(_, i int) {
		out[i].touches = prepareAll(fingers[i])
		for group := range slices.Chunk(fingers[i], tableEnrolled) {
			if len(group) == tableEnrolled {
				out[i].merged = append(out[i].merged, minutia.Prepare(minutia.Merge(group...)...))
			}
		}
	})
	return out
}

func prepareAll(ts []*minutia.Template) []*minutia.Prepared {
	ps := make([]*minutia.Prepared, len(ts))
	for i, t := range ts {
		ps[i] = minutia.Prepare(t)
	}
	return ps
}

// touchesOf is n careless touches of a finger on a module's sensor, fewer where it
// cannot be read, the skin dragged about so many times as far as it usually is.
func touchesOf(f *ridge.Finger, width, height, n int, dragged float64) (ts []*minutia.Template) {
	for touch := uint64(0); len(ts) < n && touch < 4*uint64(n); touch++ {
		o := f.Touch(touch, 1)
		o.Distortion *= dragged
		o.Width, o.Height, o.DPI, o.Coarse = width, height, 508, true
		if t, err := minutia.Extract(f.Impression(o), o.DPI); err == nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// fingersOf is what could be read of a folder's pictures, finger by finger.
func fingersOf(o fingerOptions, dir string, window int) (fingers [][]*minutia.Template, err error) {
	o.window = window
	pics, err := listFingers(dir)
	if err != nil {
		return nil, err
	}
	parallel(o.jobs, len(pics), func(_, i int) { pics[i].read(o) })
	for _, p := range pics {
		for len(fingers) <= p.finger {
			fingers = append(fingers, nil)
		}
		switch {
		case p.err == nil:
			fingers[p.finger] = append(fingers[p.finger], p.template)
		case !isRetry(p.err):
			return nil, p.err
		}
	}
	return fingers, nil
}

// report prints a class: by score, how many have at least as much, the rate, that of
// the fitted tail, the upper bound that a table must keep, what the tables of
// sensor/minutia claim, all as log10, and how many times more often the best of four
// impressions has it.
func (t *tailed) report(w io.Writer) {
	one := make([]int, t.fingers)
	for i := range one {
		one[i] = 1
	}
	var at []float64
	for s := -1.5; s <= 6; s += 0.5 {
		at = append(at, s)
	}
	n := max(int(t.all*tailShare), tailFewest)
	u, fit, bound := math.Inf(1), tail{}, []float64(nil)
	fmt.Fprintf(w, "%s: %d sets of a finger, %.0f comparisons; the best has %.2f\n", t.name, t.fingers, t.all, threshold(t.scores, 1))
	if len(t.scores) >= n {
		u = threshold(t.scores, n)
		fit = fitTail(t.scores, u, t.all, one)
		var xi [2]float64
		bound, xi = t.bounds(u, at)
		fmt.Fprintf(w, "  above %.2f (%.2g of all) the mean excess is %.3f, the shape %.2f (%.2f to %.2f)\n", u, fit.share, fit.excess, fit.xi, xi[0], xi[1])
	}
	fmt.Fprintf(w, "  %6s %8s %8s %8s %8s %8s %10s\n", "score", "counted", "measured", "tail", "upper", "claimed", "best of 4")
	for i, s := range at {
		count := exceeding(t.scores, s, one)
		tail, up := math.NaN(), measuredUpper(count, t.all)
		if s >= u {
			tail, up = fit.at(s), max(bound[i], math.Log10(count/t.all))
		}
		times := math.NaN()
		if b := exceeding(t.bests, s, one); b >= 10 {
			times = b / t.best / (count / t.all)
		}
		fmt.Fprintf(w, "  %6.2f %8.0f %8.2f %8.2f %8.2f %8.2f %10.2f\n", s, count, math.Log10(count/t.all), tail, up, math.Log10(t.claims(s)), times)
	}
}

// measuredUpper is a count's rate two deviations up, as if comparisons were
// independent.
func measuredUpper(count, all float64) float64 {
	return math.Log10((count + 2*math.Sqrt(count) + 1) / all)
}

func isRetry(err error) bool {
	return errors.Is(err, minutia.ErrNoFinger) || errors.Is(err, minutia.ErrPoor) || errors.Is(err, minutia.ErrPicture)
}
