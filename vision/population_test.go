package vision

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A population whose people differ in few directions and whose pictures do in all,
// as those of face networks: what is common to strangers stays in a mean of pictures,
// and what tells pictures apart cancels out.
const (
	crowdDim      = 128
	crowdIdentity = 24
	crowdShare    = 0.65 // of a picture is its person
)

type crowd struct {
	rng    *rand.Rand
	people []Embedding
}

func newCrowd(t *testing.T, seed uint64, n int) *crowd {
	c := &crowd{rng: rand.New(rand.NewPCG(seed, 1))}
	for range n {
		c.people = append(c.people, c.direction(t, crowdIdentity))
	}
	return c
}

func (c *crowd) direction(t *testing.T, dims int) Embedding {
	t.Helper()
	v := make([]float32, crowdDim)
	for i := range dims {
		v[i] = float32(c.rng.NormFloat64())
	}
	e, err := Normalise(v)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pictures of a person, which have so much of what is not the person in common: 0 on
// different days, 1 where all are the same.
func (c *crowd) pictures(t *testing.T, who, n int, alike float64) (es []Embedding) {
	t.Helper()
	day := c.direction(t, crowdDim)
	for range n {
		moment := c.direction(t, crowdDim)
		v := make([]float32, crowdDim)
		for i := range v {
			other := math.Sqrt(alike)*float64(day[i]) + math.Sqrt(1-alike)*float64(moment[i])
			v[i] = float32(math.Sqrt(crowdShare)*float64(c.people[who][i]) + math.Sqrt(1-crowdShare)*other)
		}
		e, err := Normalise(v)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

// strangers are the scores of every probe with everybody else's template, ascending.
func strangers(probes, templates [][]Embedding, score func(probe, template []Embedding) float64) (s []float64) {
	for i, p := range probes {
		for j, t := range templates {
			if i != j {
				s = append(s, score(p, t))
			}
		}
	}
	slices.Sort(s)
	return s
}

func tableOf(scores []float64) Table {
	t := Table{Source: "a crowd"}
	for _, fmr := range []float64{0.1, 1e-2, 1e-3, 1e-4} {
		t.Points = append(t.Points, Operating{fmr, scores[len(scores)-1-int(fmr*float64(len(scores)))]})
	}
	return t
}

// fused scores as a device does, with a template that was made before.
func fused(t *testing.T) func(probe, template []Embedding) float64 {
	type frames struct {
		first *float32
		n     int
	}
	type mean struct {
		e         Embedding
		agreement float64
	}
	means := make(map[frames]mean) // of a probe, which is compared with many
	return func(probe, template []Embedding) float64 {
		k := frames{&probe[0][0], len(probe)}
		m, ok := means[k]
		if !ok {
			e, agreement, err := Fuse(probe)
			if err != nil {
				t.Fatal(err)
			}
			m = mean{e, agreement}
			means[k] = m
		}
		return m.agreement * Cosine(m.e, template[0])
	}
}

// The rate that the table of templates names bounds how often strangers match,
// however many frames they show and however these differ. By the table of two
// pictures, means would match several times as often.
func TestTheRateIsWhatItIsCalled(t *testing.T) {
	const people, rate = 500, 1e-3
	all := func(c *crowd, n int, alike float64) (out [][]Embedding) {
		for who := range c.people {
			out = append(out, c.pictures(t, who, n, alike))
		}
		return out
	}
	templates := func(c *crowd, alike float64) (out [][]Embedding) {
		for _, e := range all(c, 5, alike) {
			m, err := Mean(e)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, []Embedding{m})
		}
		return out
	}
	measured, met := newCrowd(t, 1, people), newCrowd(t, 2, people)
	p := Profile{
		Table:     tableOf(strangers(all(measured, 1, 0), all(measured, 1, 0), fused(t))),
		Templates: tableOf(strangers(all(measured, 1, 0), templates(measured, 0), fused(t))),
	}
	at, err := p.Match().Threshold(rate)
	if err != nil {
		t.Fatal(err)
	}
	share := func(scores []float64, c float64) float64 {
		n, _ := slices.BinarySearch(scores, c)
		return float64(len(scores)-n) / float64(len(scores))
	}
	enrolled, sitting := templates(met, 0), templates(met, 0.8)
	for name, tt := range map[string]struct {
		frames int
		alike  float64
		with   [][]Embedding
	}{
		"one frame":              {1, 0, enrolled},
		"three frames":           {3, 0, enrolled},
		"twelve frames":          {12, 0, enrolled},
		"three of one sitting":   {3, 0.8, enrolled},
		"enrolled in one, too":   {3, 0.8, sitting},
		"twelve of one sitting":  {12, 0.8, sitting},
		"the same picture again": {5, 1, enrolled},
	} {
		if got := share(strangers(all(met, tt.frames, tt.alike), tt.with, fused(t)), at); got > 1.25*rate {
			t.Errorf("%s: %.2g of strangers match at %g", name, got, rate)
		}
	}
	score := fused(t)
	running := strangers(all(met, 5, 0), enrolled, func(probe, template []Embedding) (best float64) {
		best = -1
		for n := 3; n <= 5; n++ {
			best = max(best, score(probe[:n], template))
		}
		return best
	})
	if got := share(running, at); got > 1.25*rate {
		t.Errorf("decided on after three, four and five frames: %.2g of strangers match at %g", got, rate)
	}
	single, err := p.Table.Threshold(rate)
	if err != nil {
		t.Fatal(err)
	}
	var means [][]Embedding
	for _, e := range all(met, 3, 0) {
		m, err := Mean(e)
		if err != nil {
			t.Fatal(err)
		}
		means = append(means, []Embedding{m})
	}
	cosines := strangers(means, enrolled, func(probe, template []Embedding) float64 { return Cosine(probe[0], template[0]) })
	if got := share(cosines, single); got < 3*rate {
		t.Errorf("the crowd is too tame to tell: %.2g of means match by the table of two pictures", got)
	}
	p.Templates = Table{}
	if own, err := p.Match().Threshold(rate); err != nil || share(strangers(all(met, 3, 0), enrolled, fused(t)), own) > rate {
		t.Errorf("without a table of templates: cosine %.3f, %v", own, err)
	}
}

func TestFuse(t *testing.T) {
	c := newCrowd(t, 3, 2)
	frames, template := c.pictures(t, 0, 4, 0.5), c.pictures(t, 1, 1, 0)[0]
	mean, agreement, err := Fuse(frames)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for _, f := range frames {
		want += Cosine(f, template) / 4
	}
	if got := agreement * Cosine(mean, template); math.Abs(got-want) > 1e-6 {
		t.Errorf("score %.7f, the mean of the frames' cosines is %.7f", got, want)
	}
	if _, agreement, err := Fuse(frames[:1]); err != nil || math.Abs(agreement-1) > 1e-6 || agreement > 1 {
		t.Errorf("one frame agrees by %.9f, %v", agreement, err)
	}
	for name, e := range map[string][]Embedding{"none": nil, "unequal": {template, template[:5]}, "opposite": {{1, 0}, {-1, 0}}} {
		if mean, agreement, err := Fuse(e); err == nil || mean != nil || !math.IsNaN(agreement) {
			t.Errorf("%s: agreement %g, %v", name, agreement, err)
		}
	}
}
