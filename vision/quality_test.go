package vision

import (
	"math"
	"testing"
)

// frontal is the alignment template, scaled to a face of 200 pixels.
func frontal() [5]Point {
	return [5]Point{{138.3, 151.7}, {208.7, 151.7}, {173.5, 191.9}, {144.5, 233}, {202.5, 233}}
}

func rotated(points [5]Point, degrees float64) [5]Point {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	for i, p := range points {
		x, y := float64(p.X-170), float64(p.Y-190)
		points[i] = Point{float32(170 + x*cos - y*sin), float32(190 + x*sin + y*cos)}
	}
	return points
}

func TestPoseOfKnownHeads(t *testing.T) {
	shifted := func(dx, dy float32) [5]Point {
		p := frontal()
		p[Nose].X += dx
		p[Nose].Y += dy
		return p
	}
	for name, tt := range map[string]struct {
		points           [5]Point
		yaw, pitch, roll func(float32) bool
	}{
		"frontal":        {frontal(), near0, near0, near0},
		"tilted":         {rotated(frontal(), 20), near0, near0, func(v float32) bool { return math.Abs(float64(v)-20) < 1 }},
		"tilted back":    {rotated(frontal(), -30), near0, near0, func(v float32) bool { return math.Abs(float64(v)+30) < 1 }},
		"turned right":   {shifted(20, 0), func(v float32) bool { return v > 20 }, near0, near0},
		"turned left":    {shifted(-20, 0), func(v float32) bool { return v < -20 }, near0, near0},
		"looking up":     {shifted(0, -15), near0, func(v float32) bool { return v > 15 }, near0},
		"looking down":   {shifted(0, 15), near0, func(v float32) bool { return v < -15 }, near0},
		"turned, tilted": {rotated(shifted(20, 0), 15), func(v float32) bool { return v > 20 }, near0, func(v float32) bool { return math.Abs(float64(v)-15) < 1 }},
	} {
		if yaw, pitch, roll := pose(tt.points); !tt.yaw(yaw) || !tt.pitch(pitch) || !tt.roll(roll) {
			t.Errorf("%s: yaw %.1f, pitch %.1f, roll %.1f", name, yaw, pitch, roll)
		}
	}
}

func near0(v float32) bool { return math.Abs(float64(v)) < 5 }

func TestPoseOfNonsenseIsNoGoodFace(t *testing.T) {
	for name, points := range map[string][5]Point{"all in one place": {}, "nose at the eyes": {{0, 0}, {10, 0}, {5, 0}, {0, 0}, {10, 0}}} {
		q := Quality{Size: 100, Inside: 1, Brightness: 120, Contrast: 40, Sharpness: 100}
		q.Yaw, q.Pitch, q.Roll = pose(points)
		if q.Hint() == HintNone {
			t.Errorf("%s is good enough: %+v", name, q)
		}
	}
}

// chequered is a pattern of cells; soft is how many times it is blurred.
func chequered(level, amplitude float32, cell, soft int) *Frame {
	const w, h = 300, 300
	g := make([]float32, w*h)
	for i := range g {
		g[i] = level
		if (i%w/cell+i/w/cell)%2 == 0 {
			g[i] += amplitude
		}
	}
	for range soft {
		b := make([]float32, w*h)
		for y := 2; y < h-2; y++ {
			for x := 2; x < w-2; x++ {
				for j := -2; j <= 2; j++ {
					for i := -2; i <= 2; i++ {
						b[y*w+x] += g[(y+j)*w+x+i] / 25
					}
				}
			}
		}
		g = b
	}
	f := &Frame{Pix: make([]byte, 3*w*h), Width: w, Height: h}
	for i, v := range g {
		f.Pix[3*i], f.Pix[3*i+1], f.Pix[3*i+2] = byte(v), byte(v), byte(v)
	}
	return f
}

func TestQualityNamesWhatIsWrong(t *testing.T) {
	box := Box{50, 50, 250, 250}
	measure := func(f *Frame, b Box) Quality {
		return (&Model{}).quality(f.picture(), &Face{Box: b, Points: frontal()})
	}
	// lit changes the channels inside the box by factors, and the grey outside.
	lit := func(f *Frame, blue, green, red float32, outside byte) *Frame {
		for i := range f.Width * f.Height {
			px := f.Pix[3*i:][:3]
			if x, y := float32(i%f.Width), float32(i/f.Width); x < box.X0 || x >= box.X1 || y < box.Y0 || y >= box.Y1 {
				px[0], px[1], px[2] = outside, outside, outside
				continue
			}
			for c, k := range [3]float32{blue, green, red} {
				px[c] = byte(min(255, k*float32(px[c])))
			}
		}
		return f
	}
	for name, tt := range map[string]struct {
		q    Quality
		want Hint
	}{
		"before a window": {measure(lit(chequered(20, 30, 12, 0), 1, 1, 1, 230), box), HintBacklit},
		"dark all over":   {measure(lit(chequered(20, 30, 12, 0), 1, 1, 1, 40), box), HintTooDark},
		"bright behind":   {measure(lit(chequered(90, 80, 12, 0), 1, 1, 1, 250), box), HintNone},
		"a blue lamp":     {measure(lit(chequered(90, 60, 12, 0), 1.5, 1, 0.6, 90), box), HintColourCast},
		"a green lamp":    {measure(lit(chequered(90, 60, 12, 0), 0.8, 1.5, 0.8, 90), box), HintColourCast},
		"a candle":        {measure(lit(chequered(90, 60, 12, 0), 0.4, 0.8, 1.5, 90), box), HintNone},
		"a lamp beside":   {measure(lit(chequered(60, 120, 12, 0), 1, 1, 2, 90), box), HintTooBright},
		"good":            {measure(chequered(90, 80, 12, 0), box), HintNone},
		"zero value":      {Quality{}, HintCloser},
		"small":           {measure(chequered(90, 80, 12, 0), Box{100, 100, 150, 150}), HintCloser},
		"dark":            {measure(chequered(5, 20, 12, 0), box), HintTooDark},
		"flat":            {measure(chequered(120, 3, 12, 0), box), HintTooDark},
		"bright":          {measure(chequered(215, 39, 12, 0), box), HintTooBright},
		"cut by the edge": {measure(chequered(90, 80, 12, 0), Box{150, 50, 350, 250}), HintCentre},
		"blurred":         {measure(chequered(90, 80, 50, 12), box), HintHoldStill},
	} {
		if got := tt.q.Hint(); got != tt.want {
			t.Errorf("%s: %v, want %v (%+v)", name, got, tt.want, tt.q)
		}
	}
}

func TestCoveredFacesAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		over    func(x, y int) bool // what is plain; nil: nothing
		degrees float64
		covered bool
	}{
		"nothing":                {},
		"nothing, tilted":        {degrees: 20},
		"a plain beard's edge":   {over: func(_, y int) bool { return y > 250 }},
		"dark glasses":           {over: func(_, y int) bool { return y > 130 && y < 172 }, covered: true},
		"one eye":                {over: func(x, y int) bool { return x < 172 && y > 120 && y < 180 }, covered: true},
		"a mask":                 {over: func(_, y int) bool { return y > 195 }, covered: true},
		"a mask on a tilted one": {over: func(_, y int) bool { return y > 195 }, degrees: 10, covered: true},
	} {
		f := &Frame{Width: 340, Height: 320, Pix: make([]byte, 3*340*320)}
		for y := range f.Height {
			for x := range f.Width {
				grey := byte(60 + 120*((x/7+y/5)%2))
				if tt.over != nil && tt.over(x, y) {
					grey = byte(80 + (x+y)%3)
				}
				for c := range 3 {
					f.Pix[3*(y*f.Width+x)+c] = grey
				}
			}
		}
		var q Quality
		q.Eyes, q.Mouth = f.picture().uncovered(rotated(frontal(), tt.degrees))
		if q.Covered() != tt.covered {
			t.Errorf("%s: eyes %.2f, mouth %.2f", name, q.Eyes, q.Mouth)
		}
	}
	nan := float32(math.NaN())
	f := &Frame{Width: 20, Height: 20, Pix: make([]byte, 3*20*20)}
	for _, points := range [][5]Point{{}, {{nan, nan}, {nan, nan}}, {{-1e30, 1e30}, {1e30, -1e30}}} {
		f.picture().uncovered(points) // nonsense reads no pixel that there is not
	}
}
