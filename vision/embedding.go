package vision

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Embedding is what a face is compared by: a vector of length 1. Embeddings
// of different profiles, and of differently quantised models, must never be
// compared.
type Embedding []float32

// Largest dimension that is read back from storage; known models use 128
// to 512.
const maxDim = 4096

// Cosine is the similarity of two faces, -1 to 1. It is NaN, which every
// threshold table refuses, when the vectors are empty or of unequal size.
func Cosine(a, b Embedding) float64 {
	if len(a) == 0 || len(a) != len(b) {
		return math.NaN()
	}
	return float64(dot(a, b))
}

// Mean is the template of several good frames: the normalised sum of their
// embeddings.
func Mean(e []Embedding) (Embedding, error) {
	m, _, err := Fuse(e)
	return m, err
}

// Fuse is the mean of several good frames, of length 1, and how well they agree:
// the mean's length before, 1 where all are the same. Agreement times the cosine of
// the mean with a template is the mean of the frames' cosines with it, which is the
// score of a probe: however many frames there are, a stranger's mean of scores is no
// more often high than one score, whereas the cosine of the mean alone is, the more
// the frames differ.
func Fuse(e []Embedding) (mean Embedding, agreement float64, err error) {
	if len(e) == 0 {
		return nil, math.NaN(), fmt.Errorf("vision: mean of no embeddings: %w", ErrEmbedding)
	}
	sum := make(Embedding, len(e[0]))
	for i, v := range e {
		if len(v) != len(sum) {
			return nil, math.NaN(), fmt.Errorf("vision: embedding %d has %d numbers, the first has %d: %w", i, len(v), len(sum), ErrEmbedding)
		}
		for j, x := range v {
			sum[j] += x
		}
	}
	defer clear(sum)
	if mean, err = Normalise(sum); err != nil {
		return nil, math.NaN(), err
	}
	return mean, min(Cosine(sum, mean)/float64(len(e)), 1), nil
}

// Normalise returns v scaled to length 1. It refuses a vector that has no
// direction: empty, zero, or with a number that is not finite.
func Normalise(v []float32) (Embedding, error) {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	n := math.Sqrt(s)
	if !(n > 1e-9) || math.IsInf(n, 0) {
		return nil, fmt.Errorf("vision: a vector of %d numbers and length %g has no direction: %w", len(v), n, ErrEmbedding)
	}
	e := make(Embedding, len(v))
	for i, x := range v {
		e[i] = float32(float64(x) / n)
	}
	return e, nil
}

// Wipe overwrites the embedding.
func (e Embedding) Wipe() { clear(e) }

// MarshalBinary gives the numbers as little-endian IEEE 754 single precision.
func (e Embedding) MarshalBinary() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 4*len(e))
	for _, x := range e {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b, nil
}

// UnmarshalEmbedding reads what MarshalBinary wrote. It accepts nothing else:
// every number finite, the length 1 within rounding.
func UnmarshalEmbedding(b []byte) (Embedding, error) {
	if len(b)%4 != 0 || len(b) > 4*maxDim {
		return nil, fmt.Errorf("vision: %d bytes are no embedding: %w", len(b), ErrEmbedding)
	}
	e := make(Embedding, len(b)/4)
	for i := range e {
		e[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e Embedding) check() error {
	var s float64
	for _, x := range e {
		s += float64(x) * float64(x)
	}
	if !(math.Abs(s-1) < 1e-3) || len(e) > maxDim { // NaN fails too
		return fmt.Errorf("vision: a vector of %d numbers and squared length %g is not normalised: %w", len(e), s, ErrEmbedding)
	}
	return nil
}
