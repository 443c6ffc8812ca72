package minutia

import (
	"math"
	"slices"
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// Several impressions are more chances than one, but less than as many; where both
// fingers are large, no score claims less than in a window.
func TestFMROf(t *testing.T) {
	some := func(n, area int) *Prepared { return &Prepared{views: slices.Repeat([]view{{area: area}}, n)} }
	small, large := some(1, hopelessArea-1), some(1, hopelessArea)
	mixed := &Prepared{views: []view{{area: 400}, {area: 10}}}
	for _, s := range []float64{math.NaN(), math.Inf(-1), NoScore} {
		if FMROf(s, large, some(4, 400)) != 1 {
			t.Errorf("%g: %g", s, FMROf(s, large, some(4, 400)))
		}
	}
	last := 1.0
	for s := -2.0; s < 10; s += 0.25 {
		one, four, big := FMROf(s, small, small), FMROf(s, small, some(4, 10)), FMROf(s, large, large)
		if one != FMR(s) || one > last || four < one || four > 4*one || one <= 0 || big > one || big <= 0 {
			t.Errorf("%g: %g of one, %g of the best of four, %g of two large", s, one, four, big)
		}
		if FMROf(s, large, small) != one || FMROf(s, large, mixed) != best(one, 2) {
			t.Errorf("%g: one small impression is enough for the table of windows", s)
		}
		last = one
	}
	if LeastFMR(1) != FMR(100) || LeastFMR(4) <= LeastFMR(1) || LeastFMR(4) >= 4*LeastFMR(1) {
		t.Errorf("%g %g", LeastFMR(1), LeastFMR(4))
	}
}

// Two windows of one finger that lie 4 mm apart cover what they should.
func TestCover(t *testing.T) {
	f := ridge.New(5)
	at := func(x float64, turn float64, seed uint64) *Prepared {
		p, err := Extract(f.Impression(ridge.ImpressionOptions{Seed: seed, Width: 208, Height: 208, OffsetX: x, Rotation: turn}), 500)
		if err != nil {
			t.Fatal(err)
		}
		return Prepare(p)
	}
	var m Matcher
	var c Cover
	first := c.Add(&m, at(-2, 0, 1))
	if first.Area < 120 || first.Area > 169 || first.Overlap != 0 || first.Seen != first.Area {
		t.Errorf("the first: %+v", first)
	}
	// 79 of 208 px apart: 62 % is common.
	second := c.Add(&m, at(2, 0, 2))
	if share := float64(second.Overlap) / float64(second.Area); share < 0.5 || share > 0.75 || second.Seen != first.Seen+second.Area-second.Overlap {
		t.Errorf("the second: %+v", second)
	}
	// In between and turned, nothing is new.
	third := c.Add(&m, at(0, 0.2, 3))
	if share := float64(third.Overlap) / float64(third.Area); share < 0.85 {
		t.Errorf("the third: %+v", third)
	}
	c.Wipe()
	if again := c.Add(&m, at(0, 0, 4)); again.Overlap != 0 {
		t.Errorf("wiped: %+v", again)
	}
}

func TestWipe(t *testing.T) {
	x, err := Extract(ridge.New(1).Impression(ridge.ImpressionOptions{}), 500)
	if err != nil {
		t.Fatal(err)
	}
	p := Prepare(x)
	points, waves, minutiae := p.views[0].points, p.views[0].waves.at, x.Minutiae
	p.Wipe()
	x.Wipe()
	for i := range points {
		if points[i] != (point{}) || minutiae[i] != (Minutia{}) {
			t.Fatal("a minutia is left")
		}
	}
	for i := range waves {
		if waves[i] != (wave{}) {
			t.Fatal("a patch is left")
		}
	}
	if s := new(Matcher).Match(p, p); s != NoScore {
		t.Errorf("what was wiped scores %g", s)
	}
}
