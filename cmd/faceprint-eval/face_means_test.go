package main

import (
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/vision"
)

// madeUp are people with 1 to 9 pictures each.
func madeUp(t *testing.T, people int) *pairList {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	direction := func(dims int) []float64 {
		v, s := make([]float64, 64), 0.0
		for i := range dims {
			v[i] = rng.NormFloat64()
			s += v[i] * v[i]
		}
		for i := range v {
			v[i] /= math.Sqrt(s)
		}
		return v
	}
	l := &pairList{}
	l.like = l.plain
	for who := range people {
		l.people = append(l.people, strings.Repeat("x", who))
		person := direction(16)
		for range 1 + who%9 {
			other, e := direction(64), make(vision.Embedding, 64)
			for i := range e {
				e[i] = float32(math.Sqrt(0.7)*person[i] + math.Sqrt(0.3)*other[i])
			}
			e, err := vision.Normalise(e)
			if err != nil {
				t.Fatal(err)
			}
			l.portraits = append(l.portraits, portrait{name: who, embedding: e})
		}
	}
	return l
}

func TestMeansAreOfDifferentPicturesAndAllCounted(t *testing.T) {
	l := madeUp(t, 90)
	l.portraits[40].embedding = nil // no face
	ones := slices.Repeat([]float64{1}, len(l.people))
	for _, tt := range []struct {
		enroll  int
		probe   probeSize
		genuine int // of a draw: of people of 5 to 9 pictures, 10 each
	}{
		{5, probeSize{1, 1}, 10 * (0 + 1 + 2 + 3 + 4)},
		{5, probeSize{3, 3}, 10 * (0 + 0 + 0 + 1 + 1)},
		{3, probeSize{2, 4}, 10 * (0 + 0 + 1 + 1 + 1)}, // of 7 and more
	} {
		run, err := l.compareMeans(tt.enroll, tt.probe)
		if err != nil {
			t.Fatal(err)
		}
		if len(run.genuine) != tt.genuine*run.draws || math.Abs(run.drawnImpostors(ones)-float64(run.impostors)) > 1e-6 {
			t.Errorf("%d with %v: %d genuine in %d draws, %d impostors where people drawn once make %.0f",
				tt.enroll, &tt.probe, len(run.genuine), run.draws, run.impostors, run.drawnImpostors(ones))
		}
		for _, s := range run.genuine { // a probe that is part of its template would have more
			if s.score > 0.97 {
				t.Errorf("%d with %v: a genuine score of %.3f", tt.enroll, &tt.probe, s.score)
			}
		}
	}
}

// What the printed table names holds for those that it was made of, by a margin for
// the interval, and a profile takes it.
func TestThePrintedTableOfTemplates(t *testing.T) {
	l := madeUp(t, 200)
	run, err := l.compareMeans(5, probeSize{1, 1})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	run.printTemplates(&b, &faceReport{Enroll: 5, Enrolled: 100}, "pairs.txt")
	shipped, err := os.ReadFile(filepath.Join("..", "..", "vision", "profiles", vision.DefaultProfile+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(shipped), "[templates]")
	p, err := vision.ParseProfile([]byte(text + b.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	table := p.Match()
	points, least := table.Points, table.Measured
	for _, fmr := range []float64{1e-2, 1e-3} {
		c, err := table.Threshold(fmr)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if got, _ := run.beyond(c, slices.Repeat([]float64{1}, len(l.people))); got > fmr {
			t.Errorf("at the cosine of %g: %g of strangers", fmr, got)
		}
	}
	if least != 1e-3 || table.Least() != 1e-7 || !slices.IsSortedFunc(points, func(a, b vision.Operating) int {
		if a.Cosine < b.Cosine && a.FMR > b.FMR {
			return -1
		}
		return 1
	}) {
		t.Errorf("counted down to %g:\n%s", least, b.String())
	}
}

// Of few pictures the table is what was counted, and it says what it lacks.
func TestATableOfFewPicturesIsWhatWasCounted(t *testing.T) {
	for people, want := range map[int]float64{9: 0.1, 60: 1e-2} {
		l := madeUp(t, people)
		run, err := l.compareMeans(5, probeSize{1, 1})
		if err != nil {
			t.Fatal(err)
		}
		tried := false
		if run.checked, tried = l.checkTail(people / 2); tried {
			t.Fatalf("the fit was tried on %d pictures", len(l.portraits))
		}
		run.countedOnly = true
		var b strings.Builder
		run.printTemplates(&b, &faceReport{Enroll: 5, Enrolled: people / 2}, "pairs.txt")
		text := b.String()
		if !strings.Contains(text, "1000000 comparisons") || !strings.Contains(text, "some 1500 pictures") || strings.Contains(text, "Pareto") {
			t.Error(text)
		}
		var p vision.Profile
		shipped, err := os.ReadFile(filepath.Join("..", "..", "vision", "profiles", vision.DefaultProfile+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		nets, _, _ := strings.Cut(string(shipped), "[templates]")
		if p, err = vision.ParseProfile([]byte(nets + text)); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if p.Match().Least() != want {
			t.Errorf("%d people: the table ends at %g, want %g\n%s", people, p.Match().Least(), want, text)
		}
	}
}

func TestProbesThatMeanNothingAreRefused(t *testing.T) {
	for _, text := range []string{"", "0", "-3", "5-3", "3-", "x", "3-500"} {
		if err := new(probeSize).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	for _, o := range []faceOptions{{probe: probeSize{3, 3}}, {enroll: 3, table: true}, {enroll: 5, probe: probeSize{3, 5}, table: true}} {
		if _, _, err := evaluateFaces(o, io.Discard); err == nil || !strings.Contains(err.Error(), "--enroll") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
