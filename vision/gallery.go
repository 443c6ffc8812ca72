package vision

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Gallery is many embeddings of one profile, searched at once: exact, in
// memory, one after the other in it, so that a search costs little more than
// reading that memory. It is not safe for concurrent use while it changes.
type Gallery struct {
	dim    int
	stride int // dim rounded up to what dotRow takes
	rows   []float32
	scores []float32
}

// Match is one hit of a search.
type Match struct {
	Index  int // as Add returned it
	Cosine float64
}

// NewGallery makes room for n embeddings of dim numbers.
func NewGallery(dim, n int) (*Gallery, error) {
	if dim < 1 || dim > maxDim || n < 0 {
		return nil, fmt.Errorf("vision: a gallery of %d embeddings of %d numbers: %w", n, dim, ErrEmbedding)
	}
	stride := (dim + 31) &^ 31
	return &Gallery{dim: dim, stride: stride, rows: make([]float32, 0, n*stride)}, nil
}

// Len is how many embeddings there are.
func (g *Gallery) Len() int { return len(g.rows) / g.stride }

// Add copies an embedding and returns its index, which is Len before.
func (g *Gallery) Add(e Embedding) (int, error) {
	if len(e) != g.dim {
		return 0, fmt.Errorf("vision: an embedding of %d numbers in a gallery of %d: %w", len(e), g.dim, ErrEmbedding)
	}
	if err := e.check(); err != nil {
		return 0, err
	}
	n := len(g.rows)
	if n+g.stride > cap(g.rows) { // grown by hand: what is left behind is wiped
		rows := make([]float32, n, max(2*n, 64*g.stride))
		copy(rows, g.rows)
		clear(g.rows)
		g.rows = rows
	}
	g.rows = g.rows[:n+g.stride]
	clear(g.rows[n+copy(g.rows[n:], e):])
	return n / g.stride, nil
}

// sumError is more than a cosine of unit vectors is off when it is summed in
// single precision, in whatever order: maxDim x 2^-24.
const sumError = maxDim * 0x1p-24

// Search returns the k embeddings most like the probe, the best first, ranked as
// in double precision: single precision only says which are worth a second
// look. Of two that are equally like, the earlier comes first.
func (g *Gallery) Search(probe Embedding, k int) ([]Match, error) {
	if len(probe) != g.dim {
		return nil, fmt.Errorf("vision: a probe of %d numbers in a gallery of %d: %w", len(probe), g.dim, ErrEmbedding)
	}
	if err := probe.check(); err != nil {
		return nil, err
	}
	n := g.Len()
	if k = min(k, n); k <= 0 {
		return nil, nil
	}
	if cap(g.scores) < n {
		g.scores = make([]float32, n)
	}
	scores := g.scores[:n]
	wide := make([]float32, g.stride)
	copy(wide, probe)
	defer clear(wide)
	for i := range scores {
		scores[i] = dotRow(g.rows[i*g.stride:][:g.stride], wide)
	}
	least := kth(scores, k) - 2*sumError
	var found []Match
	for i, s := range scores {
		if s >= least {
			found = append(found, Match{i, exact(g.rows[i*g.stride:][:g.dim], probe)})
		}
	}
	slices.SortStableFunc(found, func(a, b Match) int { return cmp.Compare(b.Cosine, a.Cosine) })
	return found[:min(k, len(found))], nil
}

// Wipe overwrites all embeddings and leaves the gallery empty.
func (g *Gallery) Wipe() {
	clear(g.rows[:cap(g.rows)])
	clear(g.scores)
	g.rows = g.rows[:0]
}

// kth is the k-th largest score.
func kth(scores []float32, k int) float32 {
	top := make([]float32, 0, k) // a heap, the least on top
	for _, s := range scores {
		switch {
		case len(top) < k:
			top = append(top, s)
			if len(top) == k {
				slices.Sort(top)
			}
		case s > top[0]:
			top[0] = s
			for i := 0; ; {
				c := 2*i + 1
				if c+1 < k && top[c+1] < top[c] {
					c++
				}
				if c >= k || top[i] <= top[c] {
					break
				}
				top[i], top[c] = top[c], top[i]
				i = c
			}
		}
	}
	return top[0]
}

// exact is the cosine in double precision.
func exact(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum = math.FMA(float64(a[i]), float64(b[i]), sum)
	}
	return sum
}
