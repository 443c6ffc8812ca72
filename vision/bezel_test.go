package vision

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// corner is what a frame shows: a face of points alone, 100 pixels high, about x, y: in
// a room with a door, and in a phone's frame where that has a place.
type corner struct {
	x, y   float64 // of the face
	phone  bool
	phoneX float64 // of the phone, against the face's first place
	phoneY float64
	door   bool
	doorX  float64
	hair   bool // wavy, on both sides
	rng    *rand.Rand
}

func (s corner) frame(t *testing.T) (*Frame, *Face) {
	t.Helper()
	f := &Frame{Width: 400, Height: 400, Pix: make([]byte, 3*400*400), At: time.Unix(1, 0)}
	for v := range f.Height {
		for u := range f.Width {
			x, y := float64(u), float64(v)
			level := 110 + 15*math.Sin(x/23)*math.Cos(y/31)
			if s.door {
				// its lower edge is out of sight, as doors' are; the picture beside it is not
				if dx := x - s.doorX; dx > 115 && dx < 305 && y > 70 {
					level += 60
				}
			}
			if s.phone {
				px, py := x-200-s.phoneX, y-200-s.phoneY
				px, py = px+0.05*py, py-0.05*px // it is not held upright
				switch {
				case math.Abs(px) < 85 && math.Abs(py) < 105:
					level = 170
				case math.Abs(px) < 97 && math.Abs(py) < 150:
					level = 25
				}
			}
			dx, dy := (x-s.x)/42, (y-s.y)/52
			wave := 0.0
			if s.hair {
				wave = 0.25 * math.Sin(y/9)
				if math.Abs(dx)+wave < 1.6 && y-s.y > -50 && y-s.y < 110+12*math.Sin(x/6) {
					level = 40
				}
			}
			if dx*dx+dy*dy < 1 {
				level = 150
			}
			level += 2 * s.rng.NormFloat64()
			px := f.Pix[3*(v*f.Width+u):][:3]
			for k := range px {
				px[k] = byte(min(max(level, 0), 255))
			}
		}
	}
	x, y := float32(s.x), float32(s.y)
	noise := func() float32 { return float32(0.4 * s.rng.NormFloat64()) }
	face := &Face{Box: Box{x - 50, y - 50, x + 50, y + 50}}
	for i, p := range [5]Point{{-16, -15}, {16, -15}, {0, 2}, {-13, 18}, {13, 18}} {
		face.Points[i] = Point{x + p.X + noise(), y + p.Y + noise()}
	}
	return f, face
}

// watch shows eight frames, with everything where it is at each.
func watch(t *testing.T, at func(i int, s *corner)) *bezel {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	b := &bezel{}
	for i := range 8 {
		s := corner{x: 200, y: 200, rng: rng}
		at(i, &s)
		b.add(s.frame(t))
	}
	return b
}

// trembles is how a hand moves, pixels: by some hundredths of the face.
func trembles(i int) (x, y float64) {
	return 4 * math.Sin(1.3*float64(i)), 3 * math.Cos(0.9*float64(i))
}

func TestAPhoneMovesWithItsFace(t *testing.T) {
	b := watch(t, func(i int, s *corner) {
		s.phone, s.door = true, true
		s.phoneX, s.phoneY = trembles(i)
		s.x, s.y = s.x+s.phoneX, s.y+s.phoneY
	})
	if m := b.measure(); !b.framed() || !(m >= 3) {
		t.Errorf("held up by hand: %.2f, framed %t", m, b.framed())
	}
	b = watch(t, func(i int, s *corner) {
		s.phone = true
		s.phoneX, s.phoneY = 16*float64(i)-60, 5*float64(i)-20 // by more than an edge is looked for
		s.x, s.y = s.x+s.phoneX, s.y+s.phoneY
	})
	if m := b.measure(); !b.framed() || !(m >= 2) {
		t.Errorf("moved across: %.2f, framed %t", m, b.framed())
	}
}

// What stays where it is speaks for nobody, nor does what is not straight.
func TestEdgesThatStayAreARoom(t *testing.T) {
	for name, at := range map[string]func(i int, s *corner){
		"a person before a door": func(i int, s *corner) {
			s.door, s.doorX = true, -10
			dx, dy := trembles(i)
			s.x, s.y = s.x+2*dx, s.y+2*dy
		},
		"a person walks past a frame on the wall": func(i int, s *corner) {
			s.phone = true
			s.x += 6 * float64(i)
		},
		"long hair": func(i int, s *corner) {
			s.hair, s.door = true, true
			dx, dy := trembles(i)
			s.x, s.y = s.x+3*dx, s.y+3*dy
		},
		"a phone that nothing moves": func(_ int, s *corner) { s.phone = true },
		"the phone moves, the face does not": func(i int, s *corner) {
			s.phone = true
			s.phoneX, s.phoneY = trembles(i)
		},
	} {
		if b := watch(t, at); b.framed() || b.measure() != 0 {
			t.Errorf("%s: %.2f, framed %t", name, b.measure(), b.framed())
		}
	}
}

// Edges that are found are measured, or the tests above show nothing: those of the
// door stay, to a hundredth of a pixel's worth.
func TestADoorIsFoundAndStays(t *testing.T) {
	b := watch(t, func(i int, s *corner) {
		s.door, s.doorX = true, -10
		dx, dy := trembles(i)
		s.x, s.y = s.x+2*dx, s.y+2*dy
	})
	n := 0
	for _, e := range b.now {
		if e == nil {
			continue
		}
		n++
		if len(e.went) < 7 {
			t.Errorf("found in %d of 8 frames", len(e.went))
		}
		for _, w := range e.went {
			if math.Abs(w) > 0.003 {
				t.Errorf("went by %.4f", w)
			}
		}
	}
	if n < 2 {
		t.Errorf("%d edges", n)
	}
}

func TestBezelTakesAnyFace(t *testing.T) {
	b := &bezel{}
	s := corner{x: 200, y: 200, rng: rand.New(rand.NewPCG(1, 2))}
	f, face := s.frame(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, x := range []float32{nan, inf, -inf, 1e30, -1e30, 0} {
		bad := *face
		bad.Points[2].X = x
		b.add(f, &bad)
		bad = *face
		bad.Box.Y1 = x
		b.add(f, &bad)
	}
	b.add(&Frame{}, face)
	b.add(f, &Face{})
	at := *face
	for i := range at.Points { // outside the frame
		at.Points[i].X += 5000
	}
	b.add(f, &at)
	if b.framed() {
		t.Error("framed")
	}
}

func TestBezelLeavesNothing(t *testing.T) {
	b := watch(t, func(i int, s *corner) { s.phone = true })
	var kept []*edge
	for _, e := range b.now {
		if e != nil {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		t.Fatal("no edges")
	}
	went := kept[0].went
	for _, v := range b.patch {
		if v != 0 {
			t.Fatal("the patch keeps the picture")
		}
	}
	b.wipe()
	for _, e := range kept {
		if e.across != ([2*edgeHalf + 1]float64{}) || e.went != nil {
			t.Error("an edge keeps what it looked like")
		}
	}
	for _, v := range went {
		if v != 0 {
			t.Error("and where it was")
		}
	}
	if !math.IsNaN(b.measure()) {
		t.Error("something was measured")
	}
}

// Nor do the arrays that where it was grew out of.
func TestWhatABezelGrewOutOfIsWiped(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := &bezel{}
	arrays := make(map[*float64][]float64)
	for i := range 40 {
		x, y := trembles(i)
		s := corner{x: 200 + x, y: 200 + y, phone: true, phoneX: x, phoneY: y, rng: rng}
		b.add(s.frame(t))
		for _, e := range b.now {
			if e != nil {
				arrays[&e.went[0]], arrays[&e.face[0]] = e.went[:cap(e.went)], e.face[:cap(e.face)]
			}
		}
	}
	if len(arrays) < 4 {
		t.Fatalf("%d arrays: none grew", len(arrays))
	}
	b.wipe()
	for _, a := range arrays {
		if slices.ContainsFunc(a, func(v float64) bool { return v != 0 }) {
			t.Errorf("an array keeps where an edge was: %.3f", a)
		}
	}
}

func BenchmarkBezel(bench *testing.B) {
	s := corner{x: 200, y: 200, phone: true, door: true, rng: rand.New(rand.NewPCG(1, 2))}
	f, face := s.frame(&testing.T{})
	bench.Run("first", func(bench *testing.B) {
		for bench.Loop() {
			b := &bezel{}
			b.add(f, face)
		}
	})
	bench.Run("follow", func(bench *testing.B) {
		b := &bezel{}
		b.add(f, face)
		for bench.Loop() {
			b.frames = 1
			b.add(f, face)
			for _, e := range b.now {
				if e != nil {
					e.went, e.face = e.went[:1], e.face[:1]
				}
			}
		}
	})
}
