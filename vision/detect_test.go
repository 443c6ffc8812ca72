package vision

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestOfOverlappingBoxesTheBestIsKept(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	found := []candidate{
		{box: Box{0, 0, 100, 100}, score: 0.7},
		{box: Box{5, 5, 105, 105}, score: 0.9},     // the same face, better
		{box: Box{300, 0, 400, 100}, score: 0.8},   // another
		{box: Box{95, 95, 200, 200}, score: 0.75},  // hardly touches the first
		{box: Box{500, 500, 504, 504}, score: 0.9}, // too small
		{box: Box{10, 10, 5, 5}, score: 0.9},       // inside out
		{box: Box{nan, 0, 100, 100}, score: 0.9},
		{box: Box{0, 0, inf, 100}, score: 0.9},
	}
	var scores []float32
	for _, c := range sift(found, 0.4, 8) {
		scores = append(scores, c.score)
	}
	if len(scores) != 3 || scores[0] != 0.9 || scores[1] != 0.8 || scores[2] != 0.75 {
		t.Errorf("kept %v", scores)
	}
	var crowd []candidate
	for i := range 100 {
		x := float32(i * 100)
		crowd = append(crowd, candidate{box: Box{x, 0, x + 50, 50}, score: 0.9})
	}
	if n := len(sift(crowd, 0.4, 8)); n != maxFaces {
		t.Errorf("of a crowd %d are looked at, want %d", n, maxFaces)
	}
}

// Faces are written into YuNet's grids as its training does, and must come
// out again where they were.
func TestYuNetGridsAreReadBack(t *testing.T) {
	d := builtIn(t, "opencv-zoo").Detect
	rng := rand.New(rand.NewPCG(1, 10))
	for i, stride := range yunetStrides {
		var out [][]float32
		for _, o := range d.Output {
			out = append(out, make([]float32, o.Len))
		}
		s := float32(stride)
		cx, cy, w, h := 100+400*rng.Float32(), 100+300*rng.Float32(), 3*s, 4*s
		column, row := int(cx/s), int(cy/s)
		c := row*(d.Size[0]/stride) + column
		out[i][c], out[3+i][c] = 0.81, 1.2 // objectness is clamped to 1
		copy(out[6+i][4*c:], []float32{cx/s - float32(column), cy/s - float32(row), float32(math.Log(float64(w / s))), float32(math.Log(float64(h / s)))})
		var points [5]Point
		for k := range points {
			points[k] = Point{cx + w*(rng.Float32()-0.5), cy + h*(rng.Float32()-0.5)}
			out[9+i][10*c+2*k], out[9+i][10*c+2*k+1] = points[k].X/s-float32(column), points[k].Y/s-float32(row)
		}
		found := d.decode(out, 2, 1.5) // a frame of 1280x960 stretched over 640x640
		if len(found) != 1 || math.Abs(float64(found[0].score)-0.9) > 1e-6 {
			t.Fatalf("stride %d: %+v", stride, found)
		}
		near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 0.01 }
		b := found[0].box
		if !near(b.X0, 2*(cx-w/2)) || !near(b.Y0, 1.5*(cy-h/2)) || !near(b.X1, 2*(cx+w/2)) || !near(b.Y1, 1.5*(cy+h/2)) {
			t.Errorf("stride %d: box %v", stride, b)
		}
		for k, p := range found[0].points {
			if !near(p.X, 2*points[k].X) || !near(p.Y, 1.5*points[k].Y) {
				t.Errorf("stride %d: point %d at %v, want %v", stride, k, p, points[k])
			}
		}
	}
}

// FuzzDetect feeds a detector's raw outputs: whatever a network says, what is
// found has an area, a score and a place.
func FuzzDetect(f *testing.F) {
	f.Add(uint64(1), float32(0.9), float32(0.5), float32(1))
	f.Add(uint64(2), float32(-1), float32(1e30), float32(-1e30))
	f.Fuzz(func(t *testing.T, seed uint64, a, b, c float32) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, name := range BuiltIns() {
			d := builtIn(t, name).Detect
			var out [][]float32
			for _, o := range d.Output {
				v := make([]float32, o.Len)
				for range 40 {
					v[rng.IntN(len(v))] = []float32{a, b, c, rng.Float32()}[rng.IntN(4)]
				}
				out = append(out, v)
			}
			for _, c := range sift(d.decode(out, 2, 2), d.Overlap, d.TooSmall) {
				if !(c.score >= d.Score && c.box.Width() >= d.TooSmall && c.box.Height() >= d.TooSmall) || !finite(c.box) {
					t.Fatalf("%s: %+v", name, c)
				}
				if _, _, _, _, ok := c.box.squared().clamped(640, 480); ok {
					s := c.box.squared().shifted(2.7, 640, 480)
					if x0, y0, x1, y1, ok := s.clamped(640, 480); ok && !(x0 >= 0 && y0 >= 0 && x1 <= 640 && y1 <= 480) {
						t.Fatalf("%v", s)
					}
				}
			}
		}
	})
}
