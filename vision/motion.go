package vision

import (
	"math"
	"time"
)

// motion tells a living face from one still picture by how its points move
// against one another: where a face is in the frame, how large and how it is
// rolled is taken out, since a picture can be moved about, and what is left is
// its expression and its depth under small turns, or noise. The zero value has
// seen nothing.
type motion struct {
	first    []Point // about their middle, of the first frame
	unit     float64 // distance of the eyes there, pixels
	sum, sqs []float64
	frames   int
	from, to time.Time
}

// add takes the points of a frame.
func (m *motion) add(f *Face, at time.Time) {
	n := len(f.Landmarks)
	if n < 8 { // a similarity takes two of them
		return
	}
	var cx, cy float64
	for _, p := range f.Landmarks {
		cx += float64(p.X) / float64(n)
		cy += float64(p.Y) / float64(n)
	}
	if len(m.first) != n {
		eyes := math.Hypot(float64(f.Points[RightEye].X-f.Points[LeftEye].X), float64(f.Points[RightEye].Y-f.Points[LeftEye].Y))
		if !(eyes > 1) {
			return
		}
		*m = motion{first: make([]Point, n), unit: eyes, sum: make([]float64, 2*n), sqs: make([]float64, 2*n), from: at}
		for i, p := range f.Landmarks {
			m.first[i] = Point{p.X - float32(cx), p.Y - float32(cy)}
		}
	}
	// The similarity that brings the points nearest to the first ones, as a
	// complex factor a + ib (Umeyama, 1991, in two dimensions).
	var a, b, size float64
	for i, p := range f.Landmarks {
		x, y := float64(p.X)-cx, float64(p.Y)-cy
		u, v := float64(m.first[i].X), float64(m.first[i].Y)
		a += x*u + y*v
		b += x*v - y*u
		size += x*x + y*y
	}
	if !(size > 0) || math.IsInf(size, 0) {
		return
	}
	a, b = a/size, b/size
	for i, p := range f.Landmarks {
		x, y := float64(p.X)-cx, float64(p.Y)-cy
		u, v := (a*x-b*y)/m.unit, (b*x+a*y)/m.unit
		m.sum[2*i] += u
		m.sum[2*i+1] += v
		m.sqs[2*i] += u * u
		m.sqs[2*i+1] += v * v
	}
	m.frames++
	m.to = at
}

// measure is how far the points moved against one another, root mean square
// about their means, in distances of the eyes. NaN before there are enough frames.
func (m *motion) measure() float64 {
	if m.frames < motionFrames {
		return math.NaN()
	}
	n, all := float64(m.frames), 0.0
	for i := range m.sum {
		all += max(m.sqs[i]-m.sum[i]*m.sum[i]/n, 0) / (n - 1)
	}
	return math.Sqrt(all / float64(len(m.sum)))
}

// still tells whether no more than noise moved the points so far; decided is
// false while it is too soon to say so of a calm person.
func (m *motion) still() (still, decided bool) {
	moved := m.measure()
	if math.IsNaN(moved) {
		return len(m.first) > 0, false
	}
	return moved < stillMotion, moved >= stillMotion || m.to.Sub(m.from) >= motionTime
}
