package vision

import (
	"cmp"
	"math"
	"slices"
)

// rank sorts faces by how likely they are meant: size, less towards the
// frame's edge.
func rank(faces []Face, f *Frame) {
	slices.SortStableFunc(faces, func(a, b Face) int {
		return cmp.Compare(b.prominence(f.Width, f.Height), a.prominence(f.Width, f.Height))
	})
}

// prominence is the face's height in pixels, halved at the corners of the
// frame.
func (face Face) prominence(w, h int) float64 {
	c := face.Box.Center()
	dx, dy := float64(c.X)-float64(w)/2, float64(c.Y)-float64(h)/2
	return float64(face.Box.Height()) * (1 - math.Hypot(dx, dy)/math.Hypot(float64(w), float64(h)))
}
