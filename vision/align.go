package vision

import "math"

// similarity moves x, y to a*x - b*y + tx, b*x + a*y + ty: turn, scale and
// shift, nothing else.
type similarity struct{ a, b, tx, ty float64 }

// fit is the similarity that moves from onto to with the least sum of
// squares. In two dimensions Umeyama's solution (IEEE PAMI 13(4), 1991) is
// a linear system with a closed form. ok is false when the points coincide.
func fit(from, to [5]Point) (s similarity, ok bool) {
	var fx, fy, tx, ty float64
	for i := range from {
		fx += float64(from[i].X) / 5
		fy += float64(from[i].Y) / 5
		tx += float64(to[i].X) / 5
		ty += float64(to[i].Y) / 5
	}
	var n, a, b float64
	for i := range from {
		x, y := float64(from[i].X)-fx, float64(from[i].Y)-fy
		u, v := float64(to[i].X)-tx, float64(to[i].Y)-ty
		n += x*x + y*y
		a += x*u + y*v
		b += x*v - y*u
	}
	if !(n > 1e-6) || math.IsInf(n, 0) {
		return similarity{}, false
	}
	a, b = a/n, b/n
	if !(a*a+b*b > 1e-9) || math.IsInf(a*a+b*b, 0) {
		return similarity{}, false
	}
	return similarity{a: a, b: b, tx: tx - a*fx + b*fy, ty: ty - b*fx - a*fy}, true
}

// inverse undoes s, which fit never makes degenerate.
func (s similarity) inverse() similarity {
	n := s.a*s.a + s.b*s.b
	a, b := s.a/n, -s.b/n
	return similarity{a: a, b: b, tx: b*s.ty - a*s.tx, ty: -b*s.tx - a*s.ty}
}
