package modsim

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// Sizes of the R503's files, in bytes (manual 5.3).
const (
	featureSize = 512
	headerSize  = 8 // magic, captures
	sumSize     = 4 // CRC-32 of what stands before
	dimensions  = featureSize - headerSize - sumSize
)

var magic = [4]byte{'S', 'I', 'M', 1}

// Noise of one touch and the score scale. With these a finger scores 150 to
// 350 against its own template, and others stay far below the level-3
// threshold; the shape follows what R503 owners report.
const (
	touchNoise     = 0.45 // relative to the finger's own vector, in each dimension
	scoreScale     = 400
	scoreThreshold = 50 // at security level 3
	levelStep      = 10 // more a level
)

// finger is one simulated finger, known by nothing but its seed.
type finger struct{ seed uint64 }

// newFinger is the finger of that name of that person.
func newFinger(person, name string) finger {
	h := sha256.Sum256([]byte(strings.ToLower(person) + "\x00" + strings.ToLower(name)))
	return finger{binary.LittleEndian.Uint64(h[:])}
}

// features are what one touch of the finger yields. Press is how well it is
// pressed, 0 to 1: less of it is more noise.
func (f finger) features(touch uint64, press float64) []int8 {
	own := rand.New(rand.NewPCG(f.seed, 0))
	noise := rand.New(rand.NewPCG(f.seed, touch|1<<63))
	spread := touchNoise * (2 - press)
	v := make([]int8, dimensions)
	for i := range v {
		v[i] = clampInt8(40 * (own.NormFloat64() + spread*noise.NormFloat64()))
	}
	return v
}

func clampInt8(x float64) int8 { return int8(math.Round(math.Max(-127, math.Min(127, x)))) }

// grown are the ridges of fingers that were drawn, by their seed: growing them takes
// many times longer than drawing a touch (the benchmarks Grow and Impression of ridge).
type grown struct {
	mu      sync.Mutex
	fingers map[uint64]*ridge.Finger
}

// grownMost fingers of 233 KB are kept: an enrolment is of one, a bench knows a few.
const grownMost = 32

func (g *grown) of(f finger) *ridge.Finger {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.fingers[f.seed]
	if r == nil {
		if len(g.fingers) >= grownMost || g.fingers == nil {
			g.fingers = make(map[uint64]*ridge.Finger)
		}
		r = ridge.New(f.seed)
		g.fingers[f.seed] = r
	}
	return r
}

// draw is what the sensor of that family sees of the touch, at 4 bits a pixel, the
// left one in the high nibble.
func (g *grown) draw(t *touch, p Personality) []byte {
	var img *image.Gray
	if t.shown != nil {
		img = window(t.shown, p.Width, p.Height)
	} else {
		f := g.of(t.finger)
		o := f.Touch(t.number, 0.5)
		o.Width, o.Height, o.DPI, o.Coarse = p.Width, p.Height, p.DPI, true
		img = f.Impression(o)
	}
	b := make([]byte, p.Width*p.Height/2)
	for i := range b {
		b[i] = img.Pix[2*i]&0xF0 | img.Pix[2*i+1]>>4
	}
	return b
}

// encode makes a file of size bytes that a module of the family understands.
func encode(family string, v []int8, captures, size int) []byte {
	b := make([]byte, size)
	copy(b, magic[:])
	b[4] = byte(captures)
	for i, x := range v {
		b[headerSize+i] = byte(x)
	}
	binary.LittleEndian.PutUint32(b[featureSize-sumSize:], crc32.ChecksumIEEE(b[:featureSize-sumSize]))
	mask(family, b)
	return b
}

// decode reads what encode made for the same family.
func decode(family string, file []byte) (v []int8, ok bool) {
	if len(file) < featureSize {
		return nil, false
	}
	b := append([]byte(nil), file[:featureSize]...)
	mask(family, b)
	if [4]byte(b[:4]) != magic || binary.LittleEndian.Uint32(b[featureSize-sumSize:]) != crc32.ChecksumIEEE(b[:featureSize-sumSize]) {
		return nil, false
	}
	v = make([]int8, dimensions)
	for i := range v {
		v[i] = int8(b[headerSize+i])
	}
	return v, true
}

// mask makes files of one family unreadable to another, and look like the
// noise that real ones look like.
func mask(family string, b []byte) {
	seed := sha256.Sum256([]byte("faceprint modsim " + family))
	stream := rand.NewChaCha8(seed)
	pad := make([]byte, len(b))
	_, _ = stream.Read(pad) // never fails
	for i := range b {
		b[i] ^= pad[i]
	}
}

// score compares two vectors, 0 to scoreScale.
func score(a, b []int8) int {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return max(0, int(scoreScale*ab/math.Sqrt(aa*bb)))
}

// merge is the mean of several captures; ok tells whether they are of one
// finger.
func merge(captures [][]int8) (mean []int8, ok bool) {
	sum := make([]float64, dimensions)
	for i, c := range captures {
		if score(captures[0], c) < 3*scoreThreshold {
			return nil, false
		}
		for j, x := range c {
			sum[j] += (float64(x) - sum[j]) / float64(i+1)
		}
	}
	mean = make([]int8, dimensions)
	for j, x := range sum {
		mean[j] = clampInt8(x)
	}
	return mean, len(captures) > 0
}
