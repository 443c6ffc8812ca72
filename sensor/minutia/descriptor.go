package minutia

import (
	"math"
	"math/bits"
	"sync"
)

// neighbourhoods are those of the clearest minutiae that have one, each seen from
// the minutia's own direction, so that two can be compared without knowing how the
// fingers lay: the ridge directions around it, and a cylinder code of the minutiae
// around it. A search reads the flows of everybody and hardly any cylinder: they
// lie apart.
type neighbourhoods struct {
	flows     []flow
	cylinders []cylinder
}

// first are the flows of a template's first minutiae alone.
func (n *neighbourhoods) first(most int) []flow {
	f := n.flows[:min(len(n.flows), most)]
	for len(f) > 0 && int(f[len(f)-1].at) >= most {
		f = f[:len(f)-1]
	}
	return f
}

// flow is a descriptor of the ridge directions at fixed places around a minutia
// relative to its own (Tico and Kuosmanen, "Fingerprint matching using an
// orientation-based minutia descriptor", 2003), four bits a place: a Johnson
// counter of eight states, so that the number of different bits is the angle.
// Bit k of every half word is place k's; valid says so twice.
type flow struct {
	bits  [2]uint64
	valid uint64
	angle uint8 // of the minutia
	at    uint8 // which of the template's
}

const flowMost = 32 // places at most, a half word's bits

// flowPlaces are on three circles, about as far from one another as patches.
var flowPlaces = sync.OnceValue(func() (p [flowMost]struct{ x, y float32 }) {
	i := 0
	for ring, n := range flowRing {
		for k := range n {
			sin, cos := math.Sincos(2 * math.Pi * (float64(k) + 0.5*float64(ring%2)) / float64(n))
			p[i].x, p[i].y = float32(flowRadius[ring]*cos), float32(flowRadius[ring]*sin)
			i++
		}
	}
	return p
})

// johnson are the states of a four-bit Johnson counter.
var johnson = [8]uint64{0b0000, 0b0001, 0b0011, 0b0111, 0b1111, 0b1110, 0b1100, 0b1000}

// describe computes a template's.
func describe(t *Template, ws *waves) neighbourhoods {
	var out neighbourhoods
	for i, m := range t.Minutiae[:min(len(t.Minutiae), localMinutiae)] {
		code, ok := cylinderOf(t, i, ws)
		if !ok {
			continue
		}
		f := flow{angle: m.Angle, at: uint8(i)}
		sin, cos := math.Sincos(turn(m.Angle))
		s, c := float32(sin), float32(cos)
		s2, c2 := 2*s*c, c*c-s*s
		for k, p := range flowPlaces() {
			dx, dy, ok := ws.direction(float32(m.X)+c*p.x-s*p.y, float32(m.Y)+s*p.x+c*p.y)
			if !ok {
				continue
			}
			// Relative to the minutia's own direction.
			a := math.Atan2(float64(dy*c2-dx*s2), float64(dx*c2+dy*s2))
			state := johnson[int(math.Round(a/(2*math.Pi)*8)+8)%8]
			for b := range 4 {
				f.bits[b/2] |= state >> b & 1 << (k + 32*(b%2))
			}
			f.valid |= 1<<k | 1<<(k+32)
		}
		out.flows, out.cylinders = append(out.flows, f), append(out.cylinders, code)
	}
	return out
}

// different counts the bits that differ of two flows, and those they share.
func (a *flow) different(b *flow) (d, shared int) {
	v := a.valid & b.valid
	return bits.OnesCount64((a.bits[0]^b.bits[0])&v) + bits.OnesCount64((a.bits[1]^b.bits[1])&v), 2 * bits.OnesCount64(v)
}
