package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/faceprint/faceprint/vision"
)

// even is n numbers spread evenly from a to b.
func even(n int, a, b float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = a + (b-a)*(float64(i)+0.5)/float64(n)
	}
	return v
}

// normal is n numbers at the quantiles of a normal distribution around mean.
func normal(n int, mean float64) []float64 {
	v := even(n, 0, 1)
	for i, q := range v {
		v[i] = mean + math.Sqrt2*math.Erfinv(2*q-1)
	}
	return v
}

// gaussians integrates D_sys of two normal distributions, a distance apart.
func gaussians(apart float64) (d float64) {
	const step = 1e-3
	for x := -8.0; x < 8+apart; x += step {
		m, n := math.Exp(-x*x/2), math.Exp(-(x-apart)*(x-apart)/2)
		if m > n {
			d += m * (m - n) / (m + n) * step / math.Sqrt(2*math.Pi)
		}
	}
	return d
}

func TestDSysIsWhatItIsDefinedAs(t *testing.T) {
	const n = 100_000
	for _, tt := range []struct {
		name       string
		mated, non []float64
		want       float64
	}{
		{"the same", even(n, 0, 1), even(n, 0, 1), 0},
		{"apart", even(n, 0, 1), even(n, 2, 3), 1},
		{"half of the mated beyond all others", even(n, 0, 1), even(n, 0.5, 1.5), 0.5},
		{"twice as dense, on half the range", even(n, 0, 0.5), even(n, 0, 1), 1.0 / 3},
		{"mated spread over more than the others", even(n, 0, 1), even(n, 0, 0.5), 0.5},
		{"normal, one deviation apart", normal(n, 0), normal(n, 1), gaussians(1)},
		{"normal, three apart", normal(n, 0), normal(n, 3), gaussians(3)},
		{"all one score", make([]float64, 100), make([]float64, 200), 0},
	} {
		if got := dSys(tt.mated, tt.non); math.Abs(got-tt.want) > 0.01 {
			t.Errorf("%s: D_sys %.3f, want %.3f", tt.name, got, tt.want)
		}
	}
	if d := gaussians(1); d < 0.1 || d > 0.3 {
		t.Errorf("the integral gives %.3f: the test does not test", d)
	}
}

// crowd is embeddings of people, several of each, about as far from one another
// as those of LFW.
func crowd(people, each, dim int) (faces []vision.Embedding, names []int) {
	rng := rand.New(rand.NewPCG(5, 6))
	for p := range people {
		own := make([]float32, dim)
		for i := range own {
			own[i] = float32(rng.NormFloat64())
			if i%16 == p%16 { // not round: a few large numbers
				own[i] *= 4
			}
		}
		for range each {
			v := make([]float32, dim)
			for i := range v {
				v[i] = own[i] + float32(rng.NormFloat64())
			}
			e, err := vision.Normalise(v)
			if err != nil {
				panic(err)
			}
			faces, names = append(faces, e), append(names, p)
		}
	}
	return faces, names
}

func TestWhatIsShippedCannotBeLinkedAndWhatIsNotCan(t *testing.T) {
	links, err := unlinkability(crowd(100, 2, 128))
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]float64{}
	for _, l := range links {
		linked[l.Transform] = max(linked[l.Transform], l.DSys-l.Chance)
		if l.Transform == shipped && l.DSys > l.Chance+0.06 {
			t.Errorf("%+v", l)
		}
	}
	if linked["none"] < 0.9 || linked["signs and permutation"] < 0.9 {
		t.Errorf("%v: the test does not test", linked)
	}
}

func TestProtectedScoresAreThePlainOnes(t *testing.T) {
	faces, names := crowd(20, 2, 100)
	l := &pairList{folds: 2}
	for i, e := range faces {
		l.portraits = append(l.portraits, portrait{name: names[i], embedding: e})
		if i%2 == 1 {
			l.pairs = append(l.pairs, facePair{i / 2 % 2, i - 1, i}, facePair{i / 2 % 2, i, (i + 2) % len(faces)})
		}
	}
	l.people = make([]string, 20)
	l.like = l.plain
	want := l.compareAll().figures(nil)
	r, err := evaluateProtected(l)
	if err != nil {
		t.Fatal(err)
	}
	if r.Change > 1e-6 || r.EER != want.eer || r.TAR3 != want.tar[0] {
		t.Errorf("%+v, want %+v", r, want)
	}
	if accuracy, _ := l.accuracy(nil); r.Accuracy != accuracy {
		t.Errorf("accuracy %v, want %v", r.Accuracy, accuracy)
	}
}
