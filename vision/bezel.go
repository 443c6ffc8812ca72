package vision

import "math"

// bezel tells a face on a phone or a sheet that is held up by the straight edges
// about it: they move with the face, while those of a door or a window behind a
// person stay where they are. The zero value has seen nothing.
//
// An edge is looked for in the first frame, and where one is lost, in what lies
// about the face, reduced; from then on its place is measured along its normal in
// the frame itself, about where it was and about where it would be if it had gone
// with the face, whichever fits better.
type bezel struct {
	frames int
	now    [sides]*edge // that are followed, at most one on each side of the face
	most   [sides]float64
	patch  []float32 // room for grey levels and their two derivatives
}

// The sides of a face that an edge can lie on.
const (
	leftSide = iota
	rightSide
	topSide
	bottomSide
	sides
)

// edge is a straight edge in the frame in which it was found. Lengths are heights
// of the face's box there.
type edge struct {
	cos, sin float64 // its normal
	off      float64 // along it, from the face's middle
	from, to float64 // along the edge
	scale    faceScale
	across   [2*edgeHalf + 1]float64 // derivative of the grey level across it, edgeStep a step
	went     []float64               // in each frame that it was found in: by how much, along its normal
	face     []float64               // and by how much it would have gone with the face
	missed   int                     // frames in a row
}

// faceScale is where a face is, of its five points, and how large.
type faceScale struct{ x, y, spread, box float64 }

func scaleOf(f *Face) faceScale {
	s := faceScale{box: float64(f.Box.Height())}
	for _, p := range f.Points {
		s.x += float64(p.X) / 5
		s.y += float64(p.Y) / 5
	}
	for _, p := range f.Points {
		s.spread += math.Pow(float64(p.X)-s.x, 2) + math.Pow(float64(p.Y)-s.y, 2)
	}
	s.spread = math.Sqrt(s.spread)
	return s
}

// The patch about a face, and how far beside the edge's place it is looked for.
const (
	bezelSide = 128 // pixels of the patch
	bezelBox  = 40  // of them, one height of the face's box
	edgeStep  = 1.0 / 160
	edgeHalf  = 10 // steps on either side that are compared
	edgeSpan  = 16 // steps either way that it is looked for
)

// add takes a frame and who is in it.
func (b *bezel) add(f *Frame, face *Face) {
	at := scaleOf(face)
	if f.Check() != nil || !finite(face.Box) || !(at.box >= 1) || !(at.spread >= 1) || math.IsInf(at.spread, 0) || !finite(Box{face.Points[0].X, face.Points[0].Y, float32(at.x), float32(at.y)}) {
		return
	}
	b.frames++
	p := f.picture()
	lost := false
	for side, e := range b.now {
		if e == nil {
			lost = true
			continue
		}
		e.follow(p, at)
		if m := e.along(); m > b.most[side] {
			b.most[side] = m
		}
		if e.missed > edgeMissed {
			e.wipe()
			b.now[side], lost = nil, true
		}
	}
	if lost && (b.frames-1)%edgeSearch == 0 { // at first, and now and then
		for side, e := range b.find(p, at) {
			if b.now[side] == nil && e.to-e.from >= edgeLength {
				e.begin(p, at)
				b.now[side] = &e
			}
		}
	}
}

// find finds the longest straight edge on each side of the face, by a Hough
// transform of the gradients of what lies about it (Duda and Hart, 1972).
func (b *bezel) find(p picture, at faceScale) (best [sides]edge) {
	const n, half = bezelSide, bezelSide / 2
	if b.patch == nil {
		b.patch = make([]float32, 3*n*n)
	}
	defer clear(b.patch)
	grey, gx, gy := b.patch[:n*n], b.patch[n*n:2*n*n], b.patch[2*n*n:]
	step := at.box / bezelBox
	k := min(max(int(step/1.5+0.5), 1), 4) // samples a pixel of the patch in each direction
	outside := float32(math.NaN())
	for y := range n {
		for x := range n {
			var sum float32
			for j := range k {
				for i := range k {
					px := int(math.Floor(at.x + (float64(x-half)+(float64(i)+0.5)/float64(k)-0.5)*step + 0.5))
					py := int(math.Floor(at.y + (float64(y-half)+(float64(j)+0.5)/float64(k)-0.5)*step + 0.5))
					if px < 0 || py < 0 || px >= p.w || py >= p.h {
						sum = outside
						continue
					}
					c := p.pix[py*p.stride+3*px:][:3]
					sum += weightB*float32(c[0]) + weightG*float32(c[1]) + weightR*float32(c[2])
				}
			}
			grey[y*n+x] = sum / float32(k*k)
		}
	}
	var normals [2][edgeAngles][2]float64
	for axis := range normals {
		for t := range normals[axis] {
			normals[axis][t][0], normals[axis][t][1] = normal(axis, t)
		}
	}
	var votes [2][2][edgeAngles][n]uint16 // by which axis the normal lies near, which way it is brighter, angle, place
	for y := 1; y < n-1; y++ {
		for x := 1; x < n-1; x++ {
			i := y*n + x
			u := (grey[i+1]-grey[i-1])/4 + (grey[i+1-n]-grey[i-1-n]+grey[i+1+n]-grey[i-1+n])/8
			v := (grey[i+n]-grey[i-n])/4 + (grey[i+n-1]-grey[i-n-1]+grey[i+n+1]-grey[i-n+1])/8
			if !(u*u+v*v >= edgeContrast*edgeContrast) { // or outside the frame
				continue
			}
			gx[i], gy[i] = u, v
			axis, slope, sign := 0, v/u, 0
			if absolute(v) > absolute(u) {
				axis, slope = 1, -u/v
			}
			if axis == 0 && u < 0 || axis == 1 && v < 0 {
				sign = 1
			}
			middle := int(math.Floor(float64(slope)/edgeAngle+0.5)) + edgeAngles/2
			for t := max(middle-3, 0); t <= min(middle+3, edgeAngles-1); t++ {
				c, s := normals[axis][t][0], normals[axis][t][1]
				if r := int(math.Floor(c*float64(x-half)+s*float64(y-half)+0.5)) + half; r >= 0 && r < n {
					votes[axis][sign][t][r]++
				}
			}
		}
	}
	const nearest, farthest, least = edgeNearest * bezelBox, edgeFarthest * bezelBox, 0.8 * edgeLength * bezelBox
	for axis := range votes {
		for sign := range votes[axis] {
			for t := range votes[axis][sign] {
				for r, count := range votes[axis][sign][t] {
					off := math.Abs(float64(r - half))
					side := 2 * axis
					if r > half {
						side++
					}
					if off < nearest || off > farthest || float64(count) < max(least, 0.8*(best[side].to-best[side].from)*bezelBox) {
						continue
					}
					e := edge{cos: normals[axis][t][0], sin: normals[axis][t][1], off: float64(r-half) / bezelBox}
					if e.run(gx, gy, float32(1-2*sign)); e.to-e.from > best[side].to-best[side].from {
						best[side] = e
					}
				}
			}
		}
	}
	return best
}

// normal of an edge: near the axis x or y.
func normal(axis, t int) (c, s float64) {
	s, c = math.Sincos(float64(t-edgeAngles/2) * edgeAngle)
	if axis == 1 {
		c, s = -s, c
	}
	return c, s
}

// run finds the longest stretch of the line that is an edge, of which the middle
// lies beside the face. sign is which way it is brighter.
func (e *edge) run(gx, gy []float32, sign float32) {
	const n, half = bezelSide, bezelSide / 2
	c, s := float32(e.cos), float32(e.sin)
	x0, y0 := c*float32(e.off*bezelBox)+half+0.5, s*float32(e.off*bezelBox)+half+0.5
	from, hits, gap := 0, 0, 0
	for u := -half; u <= half; u++ {
		x, y := int(x0-s*float32(u)), int(y0+c*float32(u))
		on := false
		if x > 0 && y > 0 && x < n-1 && y < n-1 {
			g, along := (gx[y*n+x]*c+gy[y*n+x]*s)*sign, gy[y*n+x]*c-gx[y*n+x]*s
			on = g > edgeContrast && absolute(along) < edgeAlong*g
		}
		switch {
		case on && hits == 0:
			from, hits, gap = u, 1, 0
		case on:
			hits, gap = hits+1, 0
		case hits > 0:
			if gap++; gap > edgeGap {
				hits = 0
			}
			continue
		default:
			continue
		}
		long, middle := float64(u-from+1)/bezelBox, float64(u+from)/(2*bezelBox)
		if math.Abs(middle) < edgeMiddle && float64(hits) > edgeWhole*float64(u-from+1) && long > e.to-e.from {
			e.from, e.to = float64(from)/bezelBox, float64(u+1)/bezelBox
		}
	}
}

// begin notes what the edge looks like across.
func (e *edge) begin(p picture, at faceScale) {
	e.scale = at
	e.profile(p, at.x, at.y, at.box, e.across[:])
	e.went, e.face = []float64{0}, []float64{0}
}

// follow finds the edge in another frame.
func (e *edge) follow(p picture, at faceScale) {
	grown := at.spread / e.scale.spread
	faceWent := (at.x-e.scale.x)/e.scale.box*e.cos + (at.y-e.scale.y)/e.scale.box*e.sin + (grown-1)*e.off
	stayed, likeness := e.near(p, e.scale.x, e.scale.y, e.scale.box)
	moved, other := e.near(p, at.x, at.y, e.scale.box*grown)
	went := stayed
	if other > likeness+edgeBetter {
		went, likeness = faceWent+moved, other
	}
	if likeness < edgeLike {
		e.missed++
		return
	}
	e.missed = 0
	e.went, e.face = extended(e.went, went), extended(e.face, faceWent)
}

// near looks for the edge about its place beside a face there, and returns how far
// from it, in heights of the box, and how like it is, at most 1.
func (e *edge) near(p picture, x, y, box float64) (off, likeness float64) {
	var have [2*(edgeHalf+edgeSpan) + 1]float64
	e.profile(p, x, y, box, have[:])
	var like [2*edgeSpan + 1]float64
	best := 0
	for s := range like {
		var ab, aa, bb float64
		for i, a := range e.across {
			v := have[s+i]
			ab, aa, bb = ab+a*v, aa+a*a, bb+v*v
		}
		if ab > 0 {
			like[s] = ab / max(math.Sqrt(aa*bb), aa/2) // something faint is not the edge
		}
		if like[s] > like[best] {
			best = s
		}
	}
	clear(have[:])
	off = float64(best - edgeSpan)
	if best > 0 && best < len(like)-1 { // the top of the parabola
		if bend := like[best-1] - 2*like[best] + like[best+1]; bend < 0 {
			off += (like[best-1] - like[best+1]) / (2 * bend)
		}
	}
	return off * edgeStep, like[best]
}

// profile is the derivative of the grey level across the edge's place, the mean
// along it; 0 outside the frame.
func (e *edge) profile(p picture, x, y, box float64, out []float64) {
	const samples = 32
	half := len(out) / 2
	before, now := math.NaN(), math.NaN() // the levels two steps ago, and one
	for k := -1; k <= len(out); k++ {
		d := (e.off + float64(k-half)*edgeStep) * box
		sum, n := 0.0, 0
		for j := range samples {
			u := (e.from + (e.to-e.from)*(float64(j)+0.5)/samples) * box
			if g, ok := p.level(x+e.cos*d-e.sin*u, y+e.sin*d+e.cos*u); ok {
				sum, n = sum+g, n+1
			}
		}
		level := math.NaN()
		if 2*n >= samples {
			level = sum / float64(n)
		}
		if k > 0 {
			if out[k-1] = level - before; math.IsNaN(out[k-1]) {
				out[k-1] = 0
			}
		}
		before, now = now, level
	}
}

// level is the grey level between four pixels; false outside.
func (p picture) level(x, y float64) (float64, bool) {
	fx, fy := math.Floor(x), math.Floor(y)
	if !(fx >= 0 && fy >= 0 && fx < float64(p.w-1) && fy < float64(p.h-1)) {
		return 0, false
	}
	a, b := p.pix[int(fy)*p.stride+3*int(fx):][:6], p.pix[(int(fy)+1)*p.stride+3*int(fx):][:6]
	u, v := x-fx, y-fy
	grey := func(c []byte) float64 {
		return weightB*float64(c[0]) + weightG*float64(c[1]) + weightR*float64(c[2])
	}
	return (grey(a)*(1-u)+grey(a[3:])*u)*(1-v) + (grey(b)*(1-u)+grey(b[3:])*u)*v, true
}

// along is the edge's length if it went with the face: far enough to be told from
// noise, and nearer to where the face took it than to where it was.
func (e *edge) along() float64 {
	n := float64(len(e.went))
	if len(e.went) < edgeFrames {
		return 0
	}
	var went, face float64
	for i := range e.went {
		went, face = went+e.went[i]/n, face+e.face[i]/n
	}
	var ee, ff, dd float64
	for i := range e.went {
		x, y := e.went[i]-went, e.face[i]-face
		ee, ff, dd = ee+x*x/n, ff+y*y/n, dd+(x-y)*(x-y)/n
	}
	if ff < math.Pow(max(edgeMoved, 1/e.scale.box), 2) || 4*dd >= ff || 4*dd >= ee {
		return 0
	}
	return min(e.to-e.from, edgeMost)
}

// measure is the length of the edges that went with the face, the longest of each
// side, in heights of its box. NaN before there are enough frames.
func (b *bezel) measure() float64 {
	if b.frames < edgeFrames {
		return math.NaN()
	}
	sum := 0.0
	for _, m := range b.most {
		sum += m
	}
	return sum
}

// framed tells whether there are such edges on two sides at least.
func (b *bezel) framed() bool {
	n := 0
	for _, m := range b.most {
		if m > 0 {
			n++
		}
	}
	return n >= 2
}

// extended appends to what shows something of a person, and overwrites the array that it
// grows out of.
func extended[T any](v []T, x T) []T {
	if len(v) < cap(v) {
		return append(v, x)
	}
	more := append(make([]T, 0, 2*len(v)+8), v...)
	clear(v)
	return append(more, x)
}

func (e *edge) wipe() {
	clear(e.went[:cap(e.went)])
	clear(e.face[:cap(e.face)])
	*e = edge{}
}

// wipe overwrites what is left of pictures and forgets them.
func (b *bezel) wipe() {
	for _, e := range b.now {
		if e != nil {
			e.wipe()
		}
	}
	*b = bezel{patch: b.patch} // which is cleared after every use
}

func absolute(v float32) float32 { return max(v, -v) }
