package minutia

import (
	"math"
	"math/bits"
	"sync"
)

// descriptor is the neighbourhood of one minutia, seen from its own direction,
// so that two can be compared without knowing how the fingers lay: a cylinder
// code of the minutiae around it, and the ridge directions around it.
type descriptor struct {
	angle uint8 // of the minutia
	flow  flow
	cylinder
}

// flow is a descriptor of the ridge directions at fixed places around a minutia
// relative to its own (Tico and Kuosmanen, "Fingerprint matching using an
// orientation-based minutia descriptor", 2003), four bits a place: a Johnson
// counter of eight states, so that the number of different bits is the angle.
type flow struct{ bits, valid [flowWords]uint64 }

const (
	flowWords = 2
	flowPlace = 16 // places a word
)

// flowPlaces are on three circles, about as far from one another as patches.
var flowPlaces = sync.OnceValue(func() (p [flowWords * flowPlace]struct{ x, y float32 }) {
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

func describe(t *Template, ws *waves) []descriptor {
	out := make([]descriptor, len(t.Minutiae))
	for i, c := range cylinders(t, ws) {
		out[i].cylinder = c
	}
	for i, m := range t.Minutiae {
		out[i].angle = m.Angle
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
			state := int(math.Round(a/(2*math.Pi)*8)+8) % 8
			out[i].flow.bits[k/flowPlace] |= johnson[state] << (k % flowPlace * 4)
			out[i].flow.valid[k/flowPlace] |= 0xF << (k % flowPlace * 4)
		}
	}
	return out
}

// different counts the bits that differ of two flows, and those they share.
func (a *flow) different(b *flow) (d, shared int) {
	v0, v1 := a.valid[0]&b.valid[0], a.valid[1]&b.valid[1]
	shared = bits.OnesCount64(v0) + bits.OnesCount64(v1)
	d = bits.OnesCount64((a.bits[0]^b.bits[0])&v0) + bits.OnesCount64((a.bits[1]^b.bits[1])&v1)
	return d, shared
}

// similarity of two neighbourhoods, 0..1. Where the ridges run otherwise, the
// minutiae are not looked at.
func (a *descriptor) similarity(b *descriptor, bare bool) float32 {
	if bare {
		return a.cylinder.similarity(&b.cylinder)
	}
	d, n := a.flow.different(&b.flow)
	if d*flowLimit >= n || n < flowMinShared*4 {
		return 0
	}
	return (1-flowWeight)*a.cylinder.similarity(&b.cylinder) + flowWeight*(1-float32(2*d)/float32(n))
}
