package minutia

import (
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

func drawn(w, h int, f func(x, y int) float64) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Pix[y*img.Stride+x] = uint8(min(max(f(x, y), 0), 255))
		}
	}
	return img
}

// blurred is a 2r+1 square mean, so that noise has the size of ridges.
func blurred(in *image.Gray, r int) *image.Gray {
	return drawn(in.Rect.Dx(), in.Rect.Dy(), func(x, y int) float64 {
		var s, n float64
		for dy := -r; dy <= r; dy++ {
			for dx := -r; dx <= r; dx++ {
				if p := image.Pt(x+dx, y+dy); p.In(in.Rect) {
					s += float64(in.GrayAt(p.X, p.Y).Y)
					n++
				}
			}
		}
		return 128 + (s/n-128)*float64(r+1)
	})
}

func TestWhatIsNoFingerMakesNoTemplate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := drawn(388, 374, func(int, int) float64 { return 255 * r.Float64() })
	stripes := func(turn, period float64) *image.Gray {
		sin, cos := math.Sincos(turn)
		return drawn(388, 374, func(x, y int) float64 {
			return 128 + 100*math.Sin(2*math.Pi/period*(float64(x)*cos+float64(y)*sin))
		})
	}
	waves := func(n int, period float64) *image.Gray { // noise of one wave length
		var kx, ky, phase []float64
		for range n {
			sin, cos := math.Sincos(2 * math.Pi * r.Float64())
			kx, ky, phase = append(kx, 2*math.Pi/period*cos), append(ky, 2*math.Pi/period*sin), append(phase, 2*math.Pi*r.Float64())
		}
		return drawn(388, 374, func(x, y int) float64 {
			var s float64
			for i := range kx {
				s += math.Cos(kx[i]*float64(x) + ky[i]*float64(y) + phase[i])
			}
			return 128 + 100*s/math.Sqrt(float64(n))
		})
	}
	// chirp is stripes whose distance varies as ridges' does.
	chirp := func(u float64) float64 { return 128 + 100*math.Sin(2*math.Pi/9*(u+10*math.Sin(u/25))) }
	finger := ridge.New(3).Impression(ridge.ImpressionOptions{Width: 388, Height: 374})
	for name, c := range map[string]struct {
		img  *image.Gray
		dpi  float64
		want error
	}{
		"white":           {drawn(388, 374, func(int, int) float64 { return 255 }), 500, ErrNoFinger},
		"black":           {drawn(388, 374, func(int, int) float64 { return 0 }), 500, ErrNoFinger},
		"ramp":            {drawn(388, 374, func(x, _ int) float64 { return float64(x) / 2 }), 500, ErrNoFinger},
		"noise":           {noise, 500, ErrNoFinger},
		"coarse noise":    {blurred(noise, 2), 500, ErrNoFinger},
		"coarser noise":   {blurred(noise, 4), 500, ErrNoFinger},
		"upright stripes": {stripes(0, 9), 500, ErrNoFinger},
		"slanted stripes": {stripes(0.6, 9), 500, ErrNoFinger},
		"wide stripes":    {stripes(1.2, 40), 500, ErrNoFinger},
		"checks":          {drawn(388, 374, func(x, y int) float64 { return float64((x/10 + y/10) % 2 * 255) }), 500, ErrNoFinger},
		"inverted":        {drawn(388, 374, func(x, y int) float64 { return 255 - float64(finger.GrayAt(x, y).Y) }), 500, ErrPicture},
		"two halves": {drawn(388, 374, func(x, y int) float64 {
			if y < 187 {
				return 128 + 100*math.Sin(2*math.Pi/9*float64(x))
			}
			return 128 + 100*math.Sin(2*math.Pi/9*float64(y))
		}), 500, ErrNoFinger},
		"two uneven halves": {drawn(388, 374, func(x, y int) float64 {
			if y < 187 {
				return chirp(float64(x) + 12*math.Sin(float64(y)/40))
			}
			return chirp(float64(y) + 12*math.Sin(float64(x)/40))
		}), 500, ErrNoFinger},
		"patchwork": {drawn(388, 374, func(x, y int) float64 {
			sin, cos := math.Sincos(2.4 * float64(x/64+7*(y/64)))
			return chirp(cos*float64(x) + sin*float64(y))
		}), 500, ErrNoFinger},
		"six waves":    {waves(6, 9), 500, ErrNoFinger},
		"band noise":   {waves(60, 9), 500, ErrNoFinger},
		"band noise 7": {waves(60, 7), 500, ErrNoFinger},
		"pale and inverted": {drawn(388, 374, func(x, y int) float64 {
			return 100 - float64(finger.GrayAt(x, y).Y)/10
		}), 500, ErrPicture},
		"told to be finer":         {finger, 880, ErrNoFinger},
		"half its resolution":      {finger, 1000, ErrNoFinger},
		"10 x 10":                  {drawn(10, 10, func(x, y int) float64 { return float64(x * y) }), 500, ErrPicture},
		"20,000 wide":              {image.NewGray(image.Rect(0, 0, 20000, 300)), 500, ErrPicture},
		"no resolution":            {finger, math.NaN(), ErrPicture},
		"a stamp's worth of ridge": {crop(finger, 170, 160, 84, 84), 500, ErrPoor},
	} {
		if _, err := Extract(c.img, c.dpi); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// Noise of many wave lengths that ridges have, in all directions.
func TestNoiseOfABandIsNoFinger(t *testing.T) {
	for _, seed := range []uint64{7, 8, 9, 12, 17, 23} { // which made templates once
		r := rand.New(rand.NewPCG(seed, 9))
		low := 6.5 + 2.5*r.Float64()
		high := low + 1 + 4*r.Float64()
		var kx, ky, phase []float64
		for range 30 + r.IntN(150) {
			sin, cos := math.Sincos(2 * math.Pi * r.Float64())
			period := low + (high-low)*r.Float64()
			kx, ky, phase = append(kx, 2*math.Pi/period*cos), append(ky, 2*math.Pi/period*sin), append(phase, 2*math.Pi*r.Float64())
		}
		img := drawn(388, 374, func(x, y int) float64 {
			var s float64
			for i := range kx {
				s += math.Cos(kx[i]*float64(x) + ky[i]*float64(y) + phase[i])
			}
			return 128 + 100*s/math.Sqrt(float64(len(kx)))
		})
		if _, err := Extract(img, 500); !errors.Is(err, ErrNoFinger) {
			t.Errorf("%d waves of %.1f to %.1f px: %v", len(kx), low, high, err)
		}
	}
}

// Some people's ridges are half as wide again as most: UareU's finger 057_5 has
// half of them more than 12.2 px apart.
func TestWideRidgesMakeATemplate(t *testing.T) {
	finger := ridge.New(3).Impression(ridge.ImpressionOptions{Width: 300, Height: 300})
	tm, err := Extract(finger, 370)
	if err != nil {
		t.Fatal(err)
	}
	on, wide := 0, 0
	for _, p := range tm.Ridges.Patches {
		if p.On {
			on++
			if periodOf(p.Period) > 12.2 {
				wide++
			}
		}
	}
	if 2*wide <= on {
		t.Errorf("%d of %d patches are wide: the test tests nothing", wide, on)
	}
}

func crop(in *image.Gray, x0, y0, w, h int) *image.Gray {
	return drawn(w, h, func(x, y int) float64 { return float64(in.GrayAt(x0+x, y0+y).Y) })
}

// A template without minutiae, however it came about, matches nothing, not
// even itself.
func TestEmptyTemplatesNeverMatch(t *testing.T) {
	empty := Prepare(&Template{Width: 300, Height: 300, Ridges: Ridges{19, 19, make([]Patch, 19*19)}})
	var m Matcher
	if s := m.Match(empty, empty); FMR(s) != 1 {
		t.Errorf("two empty templates score %g, FMR %g", s, FMR(s))
	}
	if s := m.Match(Prepare(), Prepare()); FMR(s) != 1 {
		t.Errorf("two templates of nothing score %g, FMR %g", s, FMR(s))
	}
	if FMR(math.NaN()) != 1 {
		t.Error("no number is a match")
	}
}

func FuzzExtract(f *testing.F) {
	small := ridge.New(5).Impression(ridge.ImpressionOptions{Width: 120, Height: 120})
	wide := ridge.New(5).Impression(ridge.ImpressionOptions{Width: 300, Height: 120})
	f.Add(small.Pix, uint16(120), uint16(120), 500.0)
	f.Add([]byte{0, 255}, uint16(97), uint16(130), 400.0)
	f.Add(small.Pix[:5000], uint16(133), uint16(130), 1200.0)
	for w, dpi := range map[uint16]float64{1600: 500, 1625: 508, 1640: 512, 1641: 512.9} {
		f.Add(wide.Pix, w, uint16(120), dpi)
	}
	f.Fuzz(func(t *testing.T, pix []byte, w, h uint16, dpi float64) {
		if w == 0 || h == 0 || len(pix) == 0 || int(w)*int(h) > 200_000 {
			return
		}
		// The bytes are repeated, so that short inputs make whole pictures, at the
		// right end of the widest.
		img := image.NewGray(image.Rect(0, 0, int(w), int(h)))
		across := min(int(w), 300)
		for y := range int(h) {
			row := img.Pix[y*img.Stride:][:w]
			for x := range row {
				if at := x - (int(w) - across); at >= 0 {
					row[x] = pix[(y*across+at)%len(pix)]
				} else {
					row[x] = pix[0]
				}
			}
		}
		tm, err := Extract(img, dpi)
		if err != nil {
			if !errors.Is(err, ErrPicture) && !errors.Is(err, ErrNoFinger) && !errors.Is(err, ErrPoor) {
				t.Fatalf("not one of the three refusals: %v", err)
			}
			return
		}
		data, err := tm.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(data); err != nil {
			t.Fatalf("its own template: %v", err)
		}
		p := Prepare(tm)
		var m Matcher
		if s := m.Match(p, p); math.IsNaN(s) {
			t.Fatal("no score")
		}
	})
}

// A slap of fingers is more than a template holds: better refused where it is
// made than where it is read.
func TestTooMuchRidgeIsNotMarshalled(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	slap := &Template{Width: 1500, Height: 1500, Ridges: Ridges{94, 94, make([]Patch, 94*94)}}
	for i := range slap.Ridges.Patches {
		slap.Ridges.Patches[i] = Patch{true, uint8(r.IntN(patchDirections)), uint8(r.IntN(patchPeriods)), uint8(r.IntN(patchPhases))}
	}
	if data, err := slap.MarshalBinary(); !errors.Is(err, ErrTemplate) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := Decode(make([]byte, MaxTemplate+1)); !errors.Is(err, ErrTemplate) {
		t.Errorf("decoded more than a template's most bytes: %v", err)
	}
}
