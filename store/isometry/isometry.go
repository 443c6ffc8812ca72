// Package isometry turns face embeddings by a key, so that what is stored of a
// face can be revoked and renewed like a password (ISO/IEC 24745: renewable
// biometric references).
//
// # What it does
//
// An Isometry maps vectors to vectors and keeps every length and every angle: a
// turned probe is as like a turned reference as the two were before, so that
// nothing is lost in accuracy. Vectors that were turned by different keys are as
// like as random ones. It is three rounds of random signs and a Walsh-Hadamard
// transform, H D3 H D2 H D1, which is known to come close to a rotation that is
// drawn evenly from all (Andoni et al. 2015, Yu et al. 2016) and costs n log n
// where a matrix costs n^2. A number of dimensions that is no power of two is
// filled up with zeros to the next.
//
// Signs and a permutation alone would keep the set of absolute values, by which
// anybody links two turned vectors of one face; `faceprint-eval face --protect`
// measures that, and that it does not work here.
//
// # What it does not do
//
// It is a rotation, no one-way function: who has the key turns back, and so does
// who knows many vectors both turned and not. Its strength is that of the key's
// keeping. Two vectors that were turned by one key keep the angle between them,
// so every reference has a key of its own: otherwise the angles among a person's
// references would link them to what they were renewed to.
package isometry

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// KeySize is the size of a seed, in bytes.
const KeySize = 32

// Tuned: fewer rounds leave a trace (see TestOneRoundLeavesATrace).
const rounds = 3

// MaxDim is the most numbers of a vector.
const MaxDim = 4096

// ErrDim: a vector of another number of dimensions, or a seed of another size.
var ErrDim = errors.New("wrong size")

// Isometry is one keyed map. It is not changed between New and Wipe and may be
// used concurrently.
type Isometry struct {
	size  int
	signs []byte // a bit for every number of every round, 1 = change it
}

// New makes the map that the seed and the name stand for, of vectors of dim
// numbers: HKDF-SHA256 (RFC 5869) makes the signs of both.
func New(seed []byte, name string, dim int) (*Isometry, error) {
	if len(seed) != KeySize || dim < 1 || dim > MaxDim {
		return nil, fmt.Errorf("isometry: a seed of %d bytes, %d dimensions: %w", len(seed), dim, ErrDim)
	}
	return newRounds(seed, name, dim, rounds)
}

func newRounds(seed []byte, name string, dim, rounds int) (*Isometry, error) {
	size := 1 << bits.Len(uint(dim-1))
	signs, err := hkdf.Expand(sha256.New, seed, "faceprint isometry 1\x00"+name, rounds*((size+7)/8))
	if err != nil {
		return nil, fmt.Errorf("isometry: %w", err)
	}
	return &Isometry{size: size, signs: signs}, nil
}

// Size is how many numbers a turned vector has: dim, or the next power of two.
func (m *Isometry) Size() int { return m.size }

// Wipe forgets the map.
func (m *Isometry) Wipe() { clear(m.signs) }

// Turn returns v turned: Size numbers of the same length.
func (m *Isometry) Turn(v []float32) ([]float32, error) {
	if len(v) > m.size || len(v) <= m.size/2 {
		return nil, fmt.Errorf("isometry: a vector of %d numbers, not %d: %w", len(v), m.size, ErrDim)
	}
	out := make([]float32, m.size)
	copy(out, v)
	each := m.round()
	for at := 0; at < len(m.signs); at += each {
		flip(out, m.signs[at:at+each])
		hadamard(out)
	}
	m.scale(out)
	return out, nil
}

// round is how many bytes of signs a round has.
func (m *Isometry) round() int { return (m.size + 7) / 8 }

// scale makes up for the transforms, each of which makes vectors longer by the
// root of their size.
func (m *Isometry) scale(v []float32) {
	by := float32(math.Pow(float64(m.size), -0.5*float64(len(m.signs)/m.round())))
	for i := range v {
		v[i] *= by
	}
}

// Back returns what Turn turned, with the zeros that it was filled up with.
func (m *Isometry) Back(v []float32) ([]float32, error) {
	if len(v) != m.size {
		return nil, fmt.Errorf("isometry: a turned vector of %d numbers, not %d: %w", len(v), m.size, ErrDim)
	}
	out := make([]float32, m.size)
	copy(out, v)
	each := m.round()
	for at := len(m.signs); at > 0; at -= each {
		hadamard(out)
		flip(out, m.signs[at-each:at])
	}
	m.scale(out)
	return out, nil
}

// flip changes the sign where the bit is set.
func flip(v []float32, signs []byte) {
	for _, bits := range signs {
		for i := range v[:min(8, len(v))] {
			v[i] = math.Float32frombits(math.Float32bits(v[i]) ^ uint32(bits)<<(31-i)&(1<<31))
		}
		v = v[min(8, len(v)):]
	}
}

// hadamard is the Walsh-Hadamard transform, its own inverse up to a factor.
func hadamard(v []float32) {
	n := len(v)
	h := 1
	if n >= 4 { // two stages at once, where the inner loop would be of one and two
		for i := 0; i+3 < n; i += 4 {
			q := v[i : i+4 : i+4]
			a, b, c, d := q[0]+q[1], q[0]-q[1], q[2]+q[3], q[2]-q[3]
			q[0], q[1], q[2], q[3] = a+c, b+d, a-c, b-d
		}
		h = 4
	}
	for ; h < n; h *= 2 {
		for i := 0; i < n; i += 2 * h {
			a, b := v[i:i+h], v[i+h:i+2*h]
			b = b[:len(a)]
			for j, x := range a {
				a[j], b[j] = x+b[j], x-b[j]
			}
		}
	}
}
