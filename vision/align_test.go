package vision

import (
	"math"
	"math/rand/v2"
	"testing"
)

func (s similarity) of(p Point) Point {
	x, y := float64(p.X), float64(p.Y)
	return Point{float32(s.a*x - s.b*y + s.tx), float32(s.b*x + s.a*y + s.ty)}
}

func (s similarity) misfit(from, to [5]Point) (sum float64) {
	for i := range from {
		p := s.of(from[i])
		sum += math.Pow(float64(p.X-to[i].X), 2) + math.Pow(float64(p.Y-to[i].Y), 2)
	}
	return sum
}

func TestFitFindsTheSimilarityAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 200 {
		sin, cos := math.Sincos(rng.Float64() * 2 * math.Pi)
		scale := math.Exp(rng.Float64()*6 - 3)
		want := similarity{scale * cos, scale * sin, rng.Float64() * 400, rng.Float64() * 400}
		var to [5]Point
		for i, p := range frontal() {
			to[i] = want.of(p)
		}
		got, ok := fit(frontal(), to)
		if !ok || got.misfit(frontal(), to) > 1e-5*scale*scale {
			t.Fatalf("%+v, %v, want %+v", got, ok, want)
		}
	}
}

// Umeyama's solution has the least squares: no small change of it is better.
func TestFitIsTheBestOfItsNeighbours(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for range 50 {
		from, to := frontal(), frontal()
		for i := range to {
			to[i].X += float32(rng.NormFloat64() * 20)
			to[i].Y += float32(rng.NormFloat64() * 20)
		}
		best, ok := fit(from, to)
		if !ok {
			t.Fatal("no fit")
		}
		least := best.misfit(from, to)
		for range 50 {
			near := similarity{
				best.a + rng.NormFloat64()*1e-3, best.b + rng.NormFloat64()*1e-3,
				best.tx + rng.NormFloat64()*0.1, best.ty + rng.NormFloat64()*0.1,
			}
			if near.misfit(from, to) < least*(1-1e-6) {
				t.Fatalf("%+v is better than %+v", near, best)
			}
		}
	}
}

func TestPointsWithoutExtentHaveNoFit(t *testing.T) {
	nan := float32(math.NaN())
	one := [5]Point{{3, 3}, {3, 3}, {3, 3}, {3, 3}, {3, 3}}
	lost, far := frontal(), frontal()
	lost[Nose].X = nan
	far[Nose].X = float32(math.Inf(1))
	for name, pair := range map[string][2][5]Point{
		"from one point": {one, frontal()}, "to one point": {frontal(), one},
		"from nowhere": {lost, frontal()}, "to nowhere": {frontal(), lost},
		"from infinity": {far, frontal()}, "to infinity": {frontal(), far},
	} {
		if s, ok := fit(pair[0], pair[1]); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestTheInverseUndoes(t *testing.T) {
	s := similarity{a: 0.8, b: -0.3, tx: 17, ty: -4}
	for _, p := range []Point{{0, 0}, {100, 3}, {-5, 40}} {
		if q := s.inverse().of(s.of(p)); math.Hypot(float64(q.X-p.X), float64(q.Y-p.Y)) > 1e-4 {
			t.Errorf("%v came back as %v", p, q)
		}
	}
}
