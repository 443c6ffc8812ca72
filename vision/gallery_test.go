package vision

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRowsAreSummedAsAnyOthers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 20))
	for _, n := range []int{0, 32, 64, 512, 4096} {
		a, b := make([]float32, n), make([]float32, n)
		want := 0.0
		for i := range a {
			a[i], b[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
			want += float64(a[i]) * float64(b[i])
		}
		for name, f := range map[string]func(a, b []float32) float32{"dot": dot, "dotRow": dotRow} {
			if got := float64(f(a, b)); math.Abs(got-want) > 1e-3 {
				t.Errorf("%s of %d numbers: %g, want %g", name, n, got, want)
			}
		}
	}
}

// The ranking is that of double precision, also among people who are so much
// alike that single precision cannot tell.
func TestSearchRanksAsInDoublePrecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 21))
	for _, dim := range []int{3, 128, 512} {
		g, err := NewGallery(dim, 0)
		if err != nil {
			t.Fatal(err)
		}
		probe := anyone(rng, dim)
		var all []Embedding
		for i := range 3000 {
			e := anyone(rng, dim)
			if i%3 == 0 { // twins of the probe
				e = slices.Clone(probe)
				e[rng.IntN(dim)] += float32(rng.NormFloat64() * 1e-4)
				if e, err = Normalise(e); err != nil {
					t.Fatal(err)
				}
			}
			if k, err := g.Add(e); err != nil || k != i {
				t.Fatal(k, err)
			}
			all = append(all, e)
		}
		var want []Match
		for i, e := range all {
			want = append(want, Match{i, exact(e, probe)})
		}
		slices.SortStableFunc(want, func(a, b Match) int { return cmp.Compare(b.Cosine, a.Cosine) })
		for _, k := range []int{1, 2, 50, 3000, 5000} {
			got, err := g.Search(probe, k)
			if err != nil || !slices.Equal(got, want[:min(k, 3000)]) {
				t.Fatalf("%d numbers, best %d: %v ..., want %v ..., %v", dim, k, got[:1], want[:1], err)
			}
		}
	}
}

func TestGalleriesTakeOnlyEmbeddingsOfTheirKind(t *testing.T) {
	for _, dim := range []int{0, -1, maxDim + 1} {
		if _, err := NewGallery(dim, 1); !errors.Is(err, ErrEmbedding) {
			t.Errorf("of %d numbers: %v", dim, err)
		}
	}
	g, err := NewGallery(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := g.Search(Embedding{1, 0}, 1); len(m) != 0 || err != nil {
		t.Errorf("in an empty one: %v, %v", m, err)
	}
	nan := float32(math.NaN())
	for name, e := range map[string]Embedding{"nil": nil, "long": {1, 0, 0}, "not normalised": {2, 0}, "not a number": {nan, 1}} {
		if _, err := g.Add(e); !errors.Is(err, ErrEmbedding) {
			t.Errorf("add %s: %v", name, err)
		}
		if _, err := g.Search(e, 1); !errors.Is(err, ErrEmbedding) {
			t.Errorf("search %s: %v", name, err)
		}
	}
	for range 300 {
		if _, err := g.Add(Embedding{0, 1}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := g.Search(Embedding{0, 1}, 2); err != nil || len(m) != 2 || m[0] != (Match{0, 1}) || m[1] != (Match{1, 1}) {
		t.Errorf("%v, %v", m, err)
	}
	rows := g.rows
	if g.Wipe(); g.Len() != 0 || slices.Max(rows) != 0 {
		t.Error("something is left")
	}
}

// BenchmarkSearch compares a search with a plain read of the same memory, in
// turn and in processor time.
func BenchmarkSearch(b *testing.B) {
	const people, dim = 100_000, 512
	rng := rand.New(rand.NewPCG(1, 22))
	g, err := NewGallery(dim, people)
	if err != nil {
		b.Fatal(err)
	}
	e := anyone(rng, dim)
	for range people {
		for range 8 { // another person, cheaply
			i, k := rng.IntN(dim), rng.IntN(dim)
			e[i], e[k] = e[k], -e[i]
		}
		if _, err := g.Add(e); err != nil {
			b.Fatal(err)
		}
	}
	probe := anyone(rng, dim)
	var searches, reads []int64
	for b.Loop() {
		start := processorTime(b)
		if _, err := g.Search(probe, 1); err != nil {
			b.Fatal(err)
		}
		half := processorTime(b)
		sink += readAll(g.rows)
		searches, reads = append(searches, half-start), append(reads, processorTime(b)-half)
	}
	s, r := slices.Min(searches), slices.Min(reads)
	b.ReportMetric(float64(s)/1e6, "cpu-ms-search")
	b.ReportMetric(float64(r)/1e6, "cpu-ms-read")
	b.ReportMetric(float64(s)/float64(r), "x-read")
}

var sink float32

// readAll reads every cache line of the memory, which is as fast as it comes.
func readAll(v []float32) (sum float32) {
	for i := 0; i+15 < len(v); i += 16 {
		sum += v[i]
	}
	return sum
}
