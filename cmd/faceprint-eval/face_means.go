package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/faceprint/faceprint/vision"
)

// Of comparisons with templates.
const (
	meansDraws    = 20   // of every person's pictures, fewer where
	meansMost     = 8e6  // impostor comparisons would be more
	countedFewest = 40   // comparisons at a rate of the table; lesser ones are of the fitted tail
	faceTail      = 3e-3 // of the impostors are what it is fitted to
	tailChecks    = 20   // times is the fit tried where the answer is known
	tailPairs     = 1e6  // comparisons of single pictures that are the answer, down to 1e-6
)

// As a device does: templates of five frames, a yes after three to five.
const deviceEnrols = 5

var deviceProbes = probeSize{3, 5}

// probeSize is how many pictures a probe has, from least on, decided on at each up to
// most.
type probeSize struct{ least, most int }

// Type, Set and String make it a flag.
func (s *probeSize) Type() string { return "M or M-N" }

func (s *probeSize) Set(text string) error {
	a, b, two := strings.Cut(text, "-")
	least, err := strconv.Atoi(a)
	most := least
	if err == nil && two {
		most, err = strconv.Atoi(b)
	}
	if err != nil || least < 1 || most < least || most > 100 {
		return fmt.Errorf("%q is no number of pictures, such as 3, nor a span of them, such as 3-5", text)
	}
	*s = probeSize{least, most}
	return nil
}

func (s *probeSize) String() string {
	switch {
	case s.least == 0:
		return ""
	case s.least == s.most:
		return strconv.Itoa(s.least)
	}
	return fmt.Sprintf("%d-%d", s.least, s.most)
}

// MarshalText makes it a string in JSON.
func (s *probeSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// shippedPoint is what a rate of the profile comes to. TAR is percent.
type shippedPoint struct {
	FMR    float64    `json:"fmr"` // that the profile names
	Cosine float64    `json:"cosine"`
	Got    float64    `json:"got"` // rate of the comparisons here
	Got95  [2]float64 `json:"got_95"`
	TAR    float64    `json:"tar"`
	TAR95  [2]float64 `json:"tar_95"`
}

func (s shippedPoint) print(w io.Writer) {
	fmt.Fprintf(w, "  at the profile's %.0e, cosine %.3f: FMR %.1e (95 %%: %.1e to %.1e), TAR %6.2f %% (%.2f to %.2f)\n",
		s.FMR, s.Cosine, s.Got, s.Got95[0], s.Got95[1], s.TAR, s.TAR95[0], s.TAR95[1])
}

// probe is the pictures of one try of somebody.
type probe struct {
	name  int
	means []vision.Embedding // of the first least, least+1 ... pictures
	agree []float64
}

func newProbe(name int, pictures []vision.Embedding, s probeSize) (probe, error) {
	p := probe{name: name}
	for n := s.least; n <= s.most; n++ {
		seen := slices.DeleteFunc(slices.Clone(pictures[:n]), func(e vision.Embedding) bool { return e == nil })
		if len(seen) == 0 {
			continue
		}
		mean, agreement, err := vision.Fuse(seen)
		if err != nil {
			return p, err
		}
		p.means, p.agree = append(p.means, mean), append(p.agree, agreement)
	}
	return p, nil
}

// score is the best that one of the probe's means has.
func (p *probe) score(template vision.Embedding) float32 {
	best := float32(noMatch)
	for i, m := range p.means {
		if s := similarity(m, template); s > noMatch {
			best = max(best, float32(p.agree[i])*s)
		}
	}
	return best
}

// compareMeans compares probes with templates of k pictures: of people who have so
// many, drawn at random; all of anybody's pictures make probes for strangers, and
// what is left of an enrolled person's for themselves.
func (l *pairList) compareMeans(k int, s probeSize) (*faceRun, error) {
	pictures := make([][]vision.Embedding, len(l.people))
	for i := range l.portraits {
		p := &l.portraits[i]
		pictures[p.name] = append(pictures[p.name], p.embedding)
	}
	run := &faceRun{weight: make([]float64, len(l.people)), against: make([]float64, len(l.people)), draws: 1}
	// Chunks of s.most pictures each: of those that may be a template, and of the rest.
	parts := func(p []vision.Embedding) (enrolled, rest []vision.Embedding) {
		if len(p) < k {
			return nil, p
		}
		return p[:k], p[k:]
	}
	for who, p := range pictures {
		enrolled, rest := parts(p)
		run.weight[who] = float64(len(enrolled)/s.most + len(rest)/s.most)
		run.against[who] = float64(min(len(enrolled), 1))
	}
	ones := make([]float64, len(l.people))
	for i := range ones {
		ones[i] = 1
	}
	run.draws = max(1, min(meansDraws, int(meansMost/max(run.drawnImpostors(ones), 1))))
	rng := rand.New(rand.NewPCG(3, 4))
	var impostors []faceScore
	for range run.draws {
		templates := make([]vision.Embedding, len(l.people))
		var own, others []probe // others are of pictures that are in a template
		for who, p := range pictures {
			rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
			enrolled, rest := parts(p)
			if seen := slices.DeleteFunc(slices.Clone(enrolled), func(e vision.Embedding) bool { return e == nil }); len(seen) > 0 {
				var err error
				if templates[who], err = vision.Mean(seen); err != nil {
					return nil, err
				}
			}
			for _, half := range []struct {
				of []vision.Embedding
				to *[]probe
			}{{rest, &own}, {enrolled, &others}} {
				for chunk := range slices.Chunk(half.of, s.most) {
					if len(chunk) < s.most {
						break
					}
					p, err := newProbe(who, chunk, s)
					if err != nil {
						return nil, err
					}
					*half.to = append(*half.to, p)
				}
			}
		}
		for who := range l.people {
			if run.against[who] == 0 {
				continue
			}
			for i := range own {
				x := faceScore{own[i].score(templates[who]), int32(own[i].name), int32(who)}
				if own[i].name == who {
					run.genuine = append(run.genuine, x)
				} else {
					impostors = append(impostors, x)
				}
			}
			for i := range others {
				if others[i].name != who {
					impostors = append(impostors, faceScore{others[i].score(templates[who]), int32(others[i].name), int32(who)})
				}
			}
		}
	}
	for who := range run.against {
		run.against[who] *= float64(run.draws)
	}
	run.keep(impostors)
	return run, nil
}

// shipped tells what the rates of the profile come to.
func (r *faceRun) shipped(p vision.Profile, people int) (points []shippedPoint) {
	table := p.Match()
	for _, fmr := range []float64{1e-3, 1e-4, 1e-5, 1e-6, 1e-7} {
		c, err := table.Threshold(fmr)
		if err != nil {
			continue
		}
		points = append(points, shippedPoint{FMR: fmr, Cosine: c})
	}
	ones := make([]float64, people)
	for i := range ones {
		ones[i] = 1
	}
	got, tar := make([][]float64, len(points)), make([][]float64, len(points))
	for i := range points {
		points[i].Got, points[i].TAR = r.beyond(points[i].Cosine, ones)
	}
	drawn(people, func(draws []float64) {
		for i := range points {
			if f, t := r.beyond(points[i].Cosine, draws); !math.IsNaN(f) && !math.IsNaN(t) {
				got[i], tar[i] = append(got[i], f), append(tar[i], t)
			}
		}
	})
	for i := range points {
		points[i].Got95, points[i].TAR95 = interval95(got[i]), interval95(tar[i])
		// Drawing people anew shows nothing of what was never seen: 3/n is the upper
		// end then.
		if points[i].Got == 0 {
			points[i].Got95[1] = min(1, 3*float64(r.draws)/float64(r.impostors))
		}
		if points[i].TAR == 100 {
			points[i].TAR95[0] = max(0, 100-300/float64(r.known()))
		}
	}
	return points
}

// known is how many people were compared with their own templates.
func (r *faceRun) known() int {
	who := make(map[int32]bool)
	for _, s := range r.genuine {
		who[s.a] = true
	}
	return len(who)
}

// beyond is the share of impostors, of 1, and of genuine comparisons, in percent,
// that reach a cosine.
func (r *faceRun) beyond(cosine float64, draws []float64) (fmr, tar float64) {
	reached, genuine := 0.0, 0.0
	for _, s := range r.top {
		if float64(s.score) < cosine {
			break
		}
		reached += draws[s.a] * draws[s.b]
	}
	for _, s := range r.genuine {
		if genuine += draws[s.a]; float64(s.score) >= cosine {
			tar += draws[s.a]
		}
	}
	return reached / r.drawnImpostors(draws), 100 * tar / genuine
}

// highest are the impostor scores from u up, as what a tail is fitted to.
func (r *faceRun) highest(u float64) (top []comparison) {
	for _, s := range r.top {
		if float64(s.score) < u {
			break
		}
		top = append(top, comparison{a: int(s.a), b: int(s.b), score: float64(s.score)})
	}
	return top
}

// scoreAt is the score that the tail has at a rate, as a generalised Pareto
// distribution of its shape.
func (t tail) scoreAt(rate float64) float64 {
	if math.Abs(t.xi) < 1e-6 {
		return t.u + t.excess*math.Log(t.share/rate)
	}
	return t.u + t.excess*(1-t.xi)/t.xi*(math.Pow(t.share/rate, t.xi)-1)
}

// upperTail is by which score, at most, each rate is reached: the upper ends of the
// intervals of a generalised Pareto distribution that is fitted to the highest
// faceTail, people drawn anew. xi is the interval of its shape: below 0 the tail is
// lighter than an exponential one.
func (r *faceRun) upperTail(rates []float64) (upper []float64, xi [2]float64) {
	u := float64(r.all[len(r.all)-1-int(faceTail*float64(len(r.all)))])
	top := r.highest(u)
	at := make([][]float64, len(rates))
	var shapes []float64
	weight := make([]int, len(r.weight))
	drawn(len(r.weight), func(draws []float64) {
		for i, d := range draws {
			weight[i] = int(d)
		}
		f := fitTail(top, u, r.drawnImpostors(draws), weight)
		if math.IsNaN(f.excess) || !(f.share > 0) {
			return
		}
		for i, rate := range rates {
			at[i] = append(at[i], f.scoreAt(rate))
		}
		shapes = append(shapes, f.xi)
	})
	for _, v := range at {
		upper = append(upper, interval95(v)[1])
	}
	return upper, interval95(shapes)
}

// upperScore is the score that a share of the impostors reaches, the upper end of
// its interval.
func (r *faceRun) upperScore(rate float64) float64 {
	var at []float64
	drawn(len(r.weight), func(draws []float64) {
		reached, most := 0.0, rate*r.drawnImpostors(draws)
		for _, s := range r.top {
			if reached += draws[s.a] * draws[s.b]; reached > most {
				at = append(at, float64(s.score))
				return
			}
		}
	})
	return interval95(at)[1]
}

// printTemplates writes the table of templates of a profile.
func (r *faceRun) printTemplates(w io.Writer, report *faceReport, source string) {
	points, least, xi := r.templates()
	fmt.Fprintf(w, "# %s\n", r.checked)
	fit := fmt.Sprintf("; below %g a generalised Pareto distribution fitted to the highest %g (shape %.2f to %.2f)", least, faceTail, xi[0], xi[1])
	if r.countedOnly {
		fit = ""
		end := points[len(points)-1].FMR
		fmt.Fprintf(w, "# So this table is what was counted and ends at %g. A rate takes %d comparisons with templates: %g takes %.0f, and here are %d.\n",
			end, countedFewest, end/10, countedFewest/end*10, r.impostors/r.draws)
	}
	fmt.Fprintf(w, "[templates]\nsource = %q\nmeasured = %g\npoints = [\n",
		fmt.Sprintf("faceprint-eval face --enroll %d --probe 1 --table, %s, %d people enrolled, %d impostor comparisons and their pictures drawn %d times; upper ends of 95 %% intervals, people drawn anew",
			report.Enroll, filepath.Base(source), report.Enrolled, r.impostors/r.draws, r.draws)+fit, least)
	for _, p := range points {
		fmt.Fprintf(w, "  { fmr = %g, cosine = %.3f },\n", p.FMR, p.Cosine)
	}
	fmt.Fprintln(w, "]")
}

// templates are the points of the table, and the least rate that was counted.
func (r *faceRun) templates() (points []vision.Operating, least float64, xi [2]float64) {
	up := func(c float64) float64 { return math.Ceil(1000*c) / 1000 }
	for _, fmr := range []float64{0.5, 0.1} { // of which not all are kept, and the interval is nothing
		points = append(points, vision.Operating{FMR: fmr, Cosine: up(float64(r.all[len(r.all)-1-int(fmr*float64(len(r.all)))]))})
	}
	fitted := []float64{}
	for _, fmr := range []float64{1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7} {
		if fmr*float64(r.impostors/r.draws) < countedFewest {
			fitted = append(fitted, fmr)
			continue
		}
		points, least = append(points, vision.Operating{FMR: fmr, Cosine: up(r.upperScore(fmr))}), fmr
	}
	if r.countedOnly {
		return points, least, xi
	}
	var upper []float64
	upper, xi = r.upperTail(fitted)
	for i, fmr := range fitted {
		points = append(points, vision.Operating{FMR: fmr, Cosine: min(up(upper[i]), 1)})
	}
	return points, least, xi
}

// checkTail tries the fit where the answer is known: on one picture each of so many
// people against everybody's, for rates that all pairs of pictures tell. tried is
// false where they are too few to tell.
func (l *pairList) checkTail(people int) (result string, tried bool) {
	all := l.compareAll().all
	rates := []float64{1e-5, 1e-6}
	if len(all) < tailPairs {
		return fmt.Sprintf("Rarer rates are of a fitted tail, which is tried on %.0f comparisons of two people's pictures (some %.0f pictures) before it is believed, and here are %d (%d pictures of %d people).",
			tailPairs, math.Ceil(math.Sqrt(2*tailPairs)/100)*100, len(all), len(l.portraits), len(l.people)), false
	}
	truth := make([]float64, len(rates))
	for i, rate := range rates {
		truth[i] = float64(all[len(all)-1-int(rate*float64(len(all)))])
	}
	rng := rand.New(rand.NewPCG(5, 6))
	upper, holds := make([][]float64, len(rates)), make([]int, len(rates))
	for range tailChecks {
		run := &faceRun{weight: make([]float64, len(l.people)), against: make([]float64, len(l.people)), draws: 1}
		var impostors []faceScore
		enrolled, order := 0, rng.Perm(len(l.portraits))
		for _, i := range order {
			who := l.portraits[i].name
			if enrolled == people {
				break
			}
			if run.against[who] > 0 {
				continue
			}
			run.against[who], enrolled = 1, enrolled+1
			for j := range l.portraits {
				if b := &l.portraits[j]; b.name != who {
					impostors = append(impostors, faceScore{l.plain(i, j), int32(b.name), int32(who)})
				}
			}
		}
		for i := range l.portraits {
			run.weight[l.portraits[i].name]++
		}
		run.keep(impostors)
		at, _ := run.upperTail(rates)
		for i := range rates {
			upper[i] = append(upper[i], at[i])
			if at[i] >= truth[i] {
				holds[i]++
			}
		}
	}
	var parts []string
	for i, rate := range rates {
		parts = append(parts, fmt.Sprintf("%.0e: %.3f (%.3f to %.3f), not below the %.3f of all %d comparisons in %d of %d",
			rate, median(upper[i]), slices.Min(upper[i]), slices.Max(upper[i]), truth[i], len(all), holds[i], tailChecks))
	}
	return fmt.Sprintf("The same fit to one picture each of %d people, upper ends: %s.", people, strings.Join(parts, "; ")), true
}

// shippedLines are those of the README about the rates of the profile.
func (r *faceReport) shippedLines() []string {
	lines := []string{
		"",
		fmt.Sprintf("As a device compares, the best of the means of %v pictures' cosines with a template of %d (%d people with a template, %d impostor comparisons in %d draws):", r.Probe, r.Enroll, r.Enrolled, r.Impostor, r.Draws),
		"", "| `face_fmr` | cosine | strangers who reach it | true accepts |", "|---|---|---|---|",
	}
	for _, s := range r.Shipped {
		lines = append(lines, fmt.Sprintf("| %.0e | %.3f | %.1e (up to %.1e) | %.1f %% (%.1f to %.1f) |", s.FMR, s.Cosine, s.Got, s.Got95[1], s.TAR, s.TAR95[0], s.TAR95[1]))
	}
	return lines
}
