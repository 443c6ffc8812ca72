package vision

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// anyone is a random embedding.
func anyone(rng *rand.Rand, n int) Embedding {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	e, err := Normalise(v)
	if err != nil {
		panic(err)
	}
	return e
}

func TestCosineAgreesWithDoublePrecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 7, 8, 9, 128, 512, 513} {
		a, b := anyone(rng, n), anyone(rng, n)
		want := 0.0
		for i := range a {
			want += float64(a[i]) * float64(b[i])
		}
		if got := Cosine(a, b); math.Abs(got-want) > 1e-6 {
			t.Errorf("%d numbers: %g, want %g", n, got, want)
		}
	}
}

func TestWhatCannotBeComparedIsNoNumber(t *testing.T) {
	a := Embedding{1, 0}
	for name, pair := range map[string][2]Embedding{"nothing": {}, "one": {a, nil}, "sizes": {a, {1, 0, 0}}} {
		if c := Cosine(pair[0], pair[1]); !math.IsNaN(c) || measured.FMR(c) != 1 {
			t.Errorf("%s: cosine %g, FMR %g", name, c, measured.FMR(c))
		}
	}
}

func TestVectorsWithoutDirectionAreRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, v := range map[string][]float32{
		"empty": {}, "zero": {0, 0, 0}, "not a number": {1, nan}, "infinite": {1, inf}, "tiny": {1e-20, 1e-20},
	} {
		if e, err := Normalise(v); !errors.Is(err, ErrEmbedding) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	e, err := Normalise([]float32{3e30, 4e30}) // its square overflows single precision
	if err != nil || math.Abs(float64(e[0])-0.6) > 1e-6 {
		t.Errorf("a long one: %v, %v", e, err)
	}
}

func TestMean(t *testing.T) {
	if _, err := Mean(nil); !errors.Is(err, ErrEmbedding) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := Mean([]Embedding{{1, 0}, {1, 0, 0}}); !errors.Is(err, ErrEmbedding) {
		t.Errorf("of unequal ones: %v", err)
	}
	if _, err := Mean([]Embedding{{1, 0}, {-1, 0}}); !errors.Is(err, ErrEmbedding) {
		t.Errorf("of opposites: %v", err)
	}
	m, err := Mean([]Embedding{{1, 0}, {0, 1}})
	if err != nil || math.Abs(float64(m[0])-math.Sqrt2/2) > 1e-6 || m[0] != m[1] {
		t.Errorf("of two: %v, %v", m, err)
	}
}

func FuzzUnmarshalEmbedding(f *testing.F) {
	good, _ := anyone(rand.New(rand.NewPCG(1, 2)), 16).MarshalBinary()
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0x80, 0x3f})
	f.Add([]byte{0, 0, 0xc0, 0x7f})
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := UnmarshalEmbedding(b)
		if err != nil {
			if !errors.Is(err, ErrEmbedding) || e != nil {
				t.Fatalf("%v, %v", e, err)
			}
			return
		}
		if c := Cosine(e, e); !(math.Abs(c-1) < 1e-2) {
			t.Fatalf("its cosine with itself is %g", c)
		}
		back, err := e.MarshalBinary()
		if err != nil || !bytes.Equal(back, b) {
			t.Fatalf("read %x, wrote %x, %v", b, back, err)
		}
	})
}
