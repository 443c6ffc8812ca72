package vision

import (
	"math"
	"time"
)

// motion tells a living face from one still picture by how its points move
// against one another: where a face is in the frame, how large and how it is
// rolled is taken out, since a picture can be moved about, and what is left is
// its expression and its depth under small turns, or noise.
//
// Noise is alike at every pace, from frame to frame as over a second; a face
// moves slowly. So only the two slowest cosines of the points' paths are looked
// at: a face has nearly all of its motion there, noise two parts of as many as
// there are frames. The zero value has seen nothing.
type motion struct {
	paths    [][]float64 // of each frame, x and y of each point, in distances of the eyes
	from, to time.Time
	moved    float64 // the most so far; 0 before there are enough frames
}

// add takes the points of a frame, until it was watched for long enough.
func (m *motion) add(f *Face, at time.Time) {
	n := len(f.Inner)
	if n < 8 || m.over() { // a similarity takes two of them
		return
	}
	var cx, cy float64
	for _, p := range f.Inner {
		cx += float64(p.X) / float64(n)
		cy += float64(p.Y) / float64(n)
	}
	path := make([]float64, 2*n)
	for i, p := range f.Inner {
		path[2*i], path[2*i+1] = float64(p.X)-cx, float64(p.Y)-cy
	}
	if len(m.paths) > 0 && len(m.paths[0]) == 2*n {
		if !onto(path, m.paths[0]) {
			return
		}
	} else {
		eyes := math.Hypot(float64(f.Points[RightEye].X-f.Points[LeftEye].X), float64(f.Points[RightEye].Y-f.Points[LeftEye].Y))
		if !(eyes > 1) {
			return
		}
		for i := range path {
			path[i] /= eyes
		}
		m.wipe()
		m.from = at
	}
	m.paths, m.to = append(m.paths, path), at
	if moved := slowMotion(m.paths); moved > m.moved {
		m.moved = moved
	}
}

// onto moves points by the similarity that brings them nearest to others, as a
// complex factor (Umeyama, 1991, in two dimensions). Both lie about their middle.
func onto(path, other []float64) bool {
	var a, b, size float64
	for i := 0; i < len(path); i += 2 {
		x, y, u, v := path[i], path[i+1], other[i], other[i+1]
		a += x*u + y*v
		b += x*v - y*u
		size += x*x + y*y
	}
	if !(size > 0) || math.IsInf(size, 0) {
		return false
	}
	a, b = a/size, b/size
	for i := 0; i < len(path); i += 2 {
		x, y := path[i], path[i+1]
		path[i], path[i+1] = a*x-b*y, b*x+a*y
	}
	return true
}

// slowMotion is the root mean square of the amplitudes of the two slowest cosines
// (DCT-II) in the paths, in distances of the eyes; 0 for fewer than three frames.
// White noise has its own standard deviation in each, however many frames there
// are.
func slowMotion(paths [][]float64) float64 {
	n := len(paths)
	if n < motionFrames {
		return 0
	}
	all := 0.0
	for k := 1; k <= 2; k++ {
		wave := make([]float64, n)
		for t := range wave {
			wave[t] = math.Sqrt(2/float64(n)) * math.Cos(math.Pi*float64(k)*(float64(t)+0.5)/float64(n))
		}
		for i := range paths[0] {
			sum := 0.0
			for t, path := range paths {
				sum += wave[t] * path[i]
			}
			all += sum * sum
		}
	}
	return math.Sqrt(all / float64(2*len(paths[0])))
}

// wipe overwrites the points and forgets them.
func (m *motion) wipe() {
	for _, path := range m.paths {
		clear(path)
	}
	*m = motion{}
}

// measure is the most that the points moved slowly against one another, in
// distances of the eyes. NaN before there are enough frames.
func (m *motion) measure() float64 {
	if len(m.paths) < motionFrames {
		return math.NaN()
	}
	return m.moved
}

// over tells whether it was watched for long enough to tell a calm person from a
// picture.
func (m *motion) over() bool { return m.to.Sub(m.from) >= motionTime }

// still tells whether no more than noise moved the points so far; decided is
// false while it is too soon to say so of a calm person.
func (m *motion) still() (still, decided bool) {
	if len(m.paths) == 0 {
		return false, false
	}
	still = m.moved < stillMotion
	return still, !still || m.over()
}
