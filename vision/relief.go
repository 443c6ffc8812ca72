package vision

import (
	"cmp"
	"math"
	"slices"
)

// relief tells a head from a sheet by how its points move against one another:
// under a camera that is not very near, the points of a turning sheet stay in two
// dimensions, those of a turning head take a third (Tomasi and Kanade,
// factorisation, 1992). The zero value has seen nothing.
type relief struct {
	n      int // points, 0 before the first frame
	frames int
	gram   []float64 // n x n: sum over the frames' rows of products of two points' coordinates
	unit   float64   // distance of the eyes in the first frame, pixels

	least, most float64 // distance of the eyes over that of eyes and mouth
}

// add takes the points of a frame.
func (r *relief) add(f *Face) {
	eyes := math.Hypot(float64(f.Points[RightEye].X-f.Points[LeftEye].X), float64(f.Points[RightEye].Y-f.Points[LeftEye].Y))
	e, m := between(f.Points[LeftEye], f.Points[RightEye]), between(f.Points[LeftMouth], f.Points[RightMouth])
	ratio := eyes / math.Hypot(float64(m.X-e.X), float64(m.Y-e.Y))
	if len(f.Rigid) < 4 || !(eyes > 1) || math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return
	}
	if r.n != len(f.Rigid) {
		r.wipe()
		*r = relief{n: len(f.Rigid), unit: eyes, least: ratio, most: ratio, gram: make([]float64, len(f.Rigid)*len(f.Rigid))}
	}
	var cx, cy float64
	for _, p := range f.Rigid {
		cx += float64(p.X) / float64(r.n)
		cy += float64(p.Y) / float64(r.n)
	}
	for i, p := range f.Rigid {
		for j, q := range f.Rigid {
			r.gram[i*r.n+j] += ((float64(p.X)-cx)*(float64(q.X)-cx) + (float64(p.Y)-cy)*(float64(q.Y)-cy)) / (r.unit * r.unit)
		}
	}
	r.frames++
	r.least, r.most = min(r.least, ratio), max(r.most, ratio)
}

// wipe overwrites what was seen and forgets it.
func (r *relief) wipe() {
	clear(r.gram)
	*r = relief{}
}

// measure returns how far the points lie out of a common sheet, root mean square,
// over the distance of the eyes, and by which factor the face was foreshortened.
// NaN before there are enough frames.
func (r *relief) measure() (depth, foreshortened float64) {
	if r.frames < reliefFrames {
		return math.NaN(), math.NaN()
	}
	values := eigenvalues(append([]float64(nil), r.gram...), r.n)
	return math.Sqrt(max(values[2], 0) / float64(2*r.frames*r.n)), r.most / r.least
}

// flat tells whether what was seen turned as a sheet does.
func (r *relief) flat() bool {
	depth, foreshortened := r.measure()
	return foreshortened >= flatTurn && depth < flatDepth
}

// eigenvalues of the symmetric n x n matrix a, which is overwritten, the largest
// first: Jacobi's rotations.
func eigenvalues(a []float64, n int) []float64 {
	for range 30 {
		var off, all float64
		for i := range n {
			for j := range n {
				all += a[i*n+j] * a[i*n+j]
				if i != j {
					off += a[i*n+j] * a[i*n+j]
				}
			}
		}
		if off <= 1e-24*all {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				if a[p*n+q] == 0 {
					continue
				}
				theta := (a[q*n+q] - a[p*n+p]) / (2 * a[p*n+q])
				t := math.Copysign(1, theta) / (math.Abs(theta) + math.Sqrt(theta*theta+1))
				c := 1 / math.Sqrt(t*t+1)
				s := t * c
				for k := range n {
					x, y := a[k*n+p], a[k*n+q]
					a[k*n+p], a[k*n+q] = c*x-s*y, s*x+c*y
				}
				for k := range n {
					x, y := a[p*n+k], a[q*n+k]
					a[p*n+k], a[q*n+k] = c*x-s*y, s*x+c*y
				}
			}
		}
	}
	values := make([]float64, n)
	for i := range values {
		values[i] = a[i*n+i]
	}
	slices.SortFunc(values, func(x, y float64) int { return cmp.Compare(y, x) })
	return values
}
