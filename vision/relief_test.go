package vision

import (
	"math"
	"math/rand/v2"
	"testing"
)

// headPoints are a head's nose and corners of the eyes, in distances of the eyes;
// z is out of the plane of eyes and mouth.
var headPoints = [][3]float64{
	{0, 0, 0.1},
	{0, 0.17, 0.2},
	{0, 0.33, 0.33},
	{0, 0.5, 0.5},
	{-0.17, 0.6, 0.2},
	{-0.08, 0.62, 0.27},
	{0, 0.63, 0.3},
	{0.08, 0.62, 0.27},
	{0.17, 0.6, 0.2},
	{-0.75, 0, -0.1},
	{-0.25, 0, 0},
	{0.25, 0, 0},
	{0.75, 0, -0.1},
}

// turnedBy shows points as a camera far away does: turned by yaw and pitch,
// degrees, with noise, 60 pixels to the distance of the eyes.
func turnedBy(rng *rand.Rand, points [][3]float64, yaw, pitch float64) Face {
	sy, cy := math.Sincos(yaw * math.Pi / 180)
	sp, cp := math.Sincos(pitch * math.Pi / 180)
	at := func(p [3]float64) Point {
		x, z := cy*p[0]+sy*p[2], -sy*p[0]+cy*p[2]
		y := cp*p[1] + sp*z
		return Point{float32(300 + 60*x + 0.2*rng.NormFloat64()), float32(200 + 60*y + 0.2*rng.NormFloat64())}
	}
	var f Face
	for _, p := range points {
		f.Rigid = append(f.Rigid, at(p))
	}
	f.Points = [5]Point{at([3]float64{-0.5, 0, 0}), at([3]float64{0.5, 0, 0}), {}, at([3]float64{-0.4, 1.1, 0}), at([3]float64{0.4, 1.1, 0})}
	return f
}

func TestASheetThatTurnsIsFlat(t *testing.T) {
	var sheet [][3]float64
	for _, p := range headPoints {
		sheet = append(sheet, [3]float64{p[0], p[1], 0})
	}
	for name, tt := range map[string]struct {
		points     [][3]float64
		yaw, pitch float64
		flat       bool
	}{
		"a sheet that turns":          {sheet, 35, 0, true},
		"a sheet that turns and nods": {sheet, 35, 15, true},
		"a sheet that is held still":  {sheet, 0, 0, false}, // nothing can be told
		"a head that turns":           {headPoints, 35, 0, false},
		"a head that turns a little":  {headPoints, 15, 0, false},
		"a head that nods":            {headPoints, 0, 30, false},
		"a head that is held still":   {headPoints, 0, 0, false},
	} {
		rng := rand.New(rand.NewPCG(1, 7))
		var r relief
		for i := range 24 {
			k := math.Sin(2 * math.Pi * float64(i) / 24)
			f := turnedBy(rng, tt.points, k*tt.yaw, k*tt.pitch)
			r.add(&f)
		}
		if depth, foreshortened := r.measure(); r.flat() != tt.flat {
			t.Errorf("%s: depth %.4f, foreshortened %.2f", name, depth, foreshortened)
		}
	}
}

func TestReliefOfNothing(t *testing.T) {
	var r relief
	nan := float32(math.NaN())
	for _, f := range []Face{{}, {Rigid: make([]Point, 13)}, {Rigid: make([]Point, 3), Points: frontal()}, {Rigid: make([]Point, 13), Points: [5]Point{{nan, nan}}}} {
		for range 10 {
			r.add(&f)
		}
	}
	if depth, foreshortened := r.measure(); r.flat() || !math.IsNaN(depth) || !math.IsNaN(foreshortened) {
		t.Errorf("%g, %g", depth, foreshortened)
	}
	f := Face{Rigid: make([]Point, 13), Points: frontal()} // all in one place
	for range 10 {
		r.add(&f)
	}
	if depth, _ := r.measure(); r.flat() || depth != 0 {
		t.Errorf("%g", depth)
	}
}

func TestEigenvaluesOfKnownMatrices(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	const n = 6
	want := []float64{9, 4, 2.5, 1, 0.1, 0}
	// Turn a diagonal matrix by random rotations, which changes no eigenvalue.
	a := make([]float64, n*n)
	for i, v := range want {
		a[i*n+i] = v
	}
	for range 40 {
		p, q := rng.IntN(n), rng.IntN(n)
		if p == q {
			continue
		}
		s, c := math.Sincos(rng.Float64() * 6)
		for k := range n {
			x, y := a[k*n+p], a[k*n+q]
			a[k*n+p], a[k*n+q] = c*x-s*y, s*x+c*y
		}
		for k := range n {
			x, y := a[p*n+k], a[q*n+k]
			a[p*n+k], a[q*n+k] = c*x-s*y, s*x+c*y
		}
	}
	for i, v := range eigenvalues(a, n) {
		if math.Abs(v-want[i]) > 1e-9 {
			t.Errorf("eigenvalue %d is %g, want %g", i, v, want[i])
		}
	}
}
