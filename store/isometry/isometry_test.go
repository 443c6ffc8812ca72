package isometry

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func seed(n byte) []byte { return append(make([]byte, KeySize-1), n) }

func vector(rng *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	scale := float32(1 / math.Sqrt(dot(v, v)))
	for i := range v {
		v[i] *= scale
	}
	return v
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

func turn(t testing.TB, m *Isometry, v []float32) []float32 {
	t.Helper()
	out, err := m.Turn(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnglesAndLengthsAreKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, dim := range []int{1, 2, 3, 5, 8, 100, 128, 500, 512, 4096} {
		m, err := New(seed(1), "a", dim)
		if err != nil {
			t.Fatal(err)
		}
		a, b := vector(rng, dim), vector(rng, dim)
		ta, tb := turn(t, m, a), turn(t, m, b)
		if len(ta) != m.Size() || m.Size() < dim || m.Size() >= 2*dim && dim > 1 {
			t.Errorf("%d dimensions become %d", dim, len(ta))
		}
		for _, x := range []struct{ before, after float64 }{{dot(a, b), dot(ta, tb)}, {1, dot(ta, ta)}} {
			if math.Abs(x.before-x.after) > 1e-6 {
				t.Errorf("%d dimensions: %g became %g", dim, x.before, x.after)
			}
		}
		back, err := m.Back(ta)
		if err != nil || len(back) != m.Size() {
			t.Fatal(len(back), err)
		}
		a = append(a, make([]float32, m.Size()-dim)...)
		for i := range back {
			if math.Abs(float64(back[i]-a[i])) > 1e-6 {
				t.Fatalf("%d dimensions: number %d was %g and came back as %g", dim, i, a[i], back[i])
			}
		}
	}
}

// A hundred renewals do not wear a reference out.
func TestRenewalsDoNotAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	first, probe := vector(rng, 512), vector(rng, 512)
	v := first
	for i := range 100 {
		m, err := New(seed(byte(i)), "", 512)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = m.Back(turn(t, m, v)); err != nil {
			t.Fatal(err)
		}
	}
	if d := math.Abs(dot(v, probe) - dot(first, probe)); d > 1e-5 {
		t.Errorf("the cosine moved by %g", d)
	}
}

// The map is part of the format of what is stored: this must never change. The
// numbers are of HMAC and a matrix written down in another language.
func TestTheMapIsWhatItWas(t *testing.T) {
	m, err := New(seed(7), "template", 8)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(m.signs), "e8ef7a"; got != want {
		t.Errorf("signs %s, want %s", got, want)
	}
	got := ""
	for _, x := range turn(t, m, []float32{1, 0, 0, 0, 0, 0, 0, 0}) {
		got += fmt.Sprintf("%+.4f ", x)
	}
	if want := "-0.1768 +0.1768 -0.1768 -0.5303 -0.5303 -0.1768 -0.5303 -0.1768 "; got != want {
		t.Errorf("turned to %s, want %s", got, want)
	}
}

func TestAnotherKeyOrNameIsAnotherMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	v := vector(rng, 512)
	var turned [][]float32
	for _, k := range []struct {
		seed byte
		name string
	}{{1, "a"}, {2, "a"}, {1, "b"}} {
		m, err := New(seed(k.seed), k.name, 512)
		if err != nil {
			t.Fatal(err)
		}
		turned = append(turned, turn(t, m, v))
	}
	turned = append(turned, v)
	for i, a := range turned {
		for _, b := range turned[:i] {
			if c := math.Abs(dot(a, b)); c > 0.25 { // five and a half standard deviations of 1/sqrt(512)
				t.Errorf("the cosine of two maps of one vector is %.2f", c)
			}
		}
	}
}

// sorted is how like two vectors are in their absolute values, whatever their
// order and signs.
func sorted(a, b []float32) float64 {
	one := func(v []float32) []float32 {
		v = slices.Clone(v)
		for i := range v {
			v[i] = float32(math.Abs(float64(v[i])))
		}
		slices.Sort(v)
		return v
	}
	return dot(one(a), one(b))
}

// Why there are three rounds: the last transform is public, so an attacker takes
// it back, and after one round the absolute values are those of the embedding.
func TestOneRoundLeavesATrace(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	v := vector(rng, 512)
	v[3] += 1 // embeddings are not round
	linked := func(rounds int) float64 {
		var open [2][]float32
		for i := range open {
			m, err := newRounds(seed(byte(i)), "", 512, rounds)
			if err != nil {
				t.Fatal(err)
			}
			open[i] = turn(t, m, v)
			hadamard(open[i])
		}
		return sorted(open[0], open[1]) / dot(open[0], open[0])
	}
	if s := linked(1); s < 0.9999 {
		t.Errorf("one round: %g; the test does not test", s)
	}
	if s := linked(rounds); s > 0.999 {
		t.Errorf("%d rounds: %g", rounds, s)
	}
}

func TestOtherSizesAreRefused(t *testing.T) {
	if _, err := New(make([]byte, 31), "", 8); !errors.Is(err, ErrDim) {
		t.Error(err)
	}
	for _, dim := range []int{-1, 0, MaxDim + 1} {
		if _, err := New(seed(1), "", dim); !errors.Is(err, ErrDim) {
			t.Errorf("%d dimensions: %v", dim, err)
		}
	}
	m, err := New(seed(1), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 4, 9} {
		if _, err := m.Turn(make([]float32, n)); !errors.Is(err, ErrDim) {
			t.Error(n, err)
		}
	}
	if _, err := m.Back(make([]float32, 5)); !errors.Is(err, ErrDim) {
		t.Error(err)
	}
}

func BenchmarkTurn512(b *testing.B) {
	m, err := New(seed(1), "", 512)
	if err != nil {
		b.Fatal(err)
	}
	v := vector(rand.New(rand.NewPCG(1, 2)), 512)
	for b.Loop() {
		turn(b, m, v)
	}
}

func BenchmarkNew512(b *testing.B) {
	for b.Loop() {
		if _, err := New(seed(1), "template", 512); err != nil {
			b.Fatal(err)
		}
	}
}
