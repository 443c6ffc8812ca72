package vision

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// chartView is a picture of the chart as a camera would take it.
type chartView struct {
	w, h     int
	to       [4]Point // of the sheet's corners, from the upper left, in pixels
	blur     float64  // standard deviation of a Gaussian, pixels
	gain     float64  // of the light
	shade    float64  // light at the right side against the left
	noise    float64  // grey levels
	backdrop float64  // light of what is behind the sheet
}

// upright is a sheet in the middle of the frame, of a width in pixels, turned.
func upright(w, h int, width, turn float64) chartView {
	s := chartView{w: w, h: h, gain: 0.75, shade: 1, backdrop: 0.2}
	sin, cos := math.Sincos(turn)
	k := width / chartWidth
	for i, c := range [4][2]float64{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}} {
		x, y := c[0]*chartWidth/2*k, c[1]*chartHeight/2*k
		s.to[i] = Point{X: float32(float64(w)/2 + x*cos - y*sin), Y: float32(float64(h)/2 + x*sin + y*cos)}
	}
	return s
}

// taken renders it: light is sampled nine times a pixel, blurred, and made codes.
func (s chartView) taken(t testing.TB) *Frame {
	t.Helper()
	sheet := [4]Point{{-chartWidth / 2, -chartHeight / 2}, {chartWidth / 2, -chartHeight / 2}, {chartWidth / 2, chartHeight / 2}, {-chartWidth / 2, chartHeight / 2}}
	back, ok := homographyOf(s.to, sheet)
	if !ok {
		t.Fatal("no such view")
	}
	shapes := chartShapes()
	centres := make([]spot, len(shapes)) // no shape reaches 50 mm
	for i, c := range shapes {
		centres[i] = spot{float64(c.at[0].X+c.at[2].X) / 2, float64(c.at[0].Y+c.at[2].Y) / 2}
	}
	light := make([]float64, s.w*s.h)
	for y := range s.h {
		for x := range s.w {
			var sum float64
			for i := range 9 {
				p := back.at(Point{X: float32(x) + float32(i%3-1)/3, Y: float32(y) + float32(i/3-1)/3})
				v := s.backdrop
				if math.Abs(p.x) < chartWidth/2+8 && math.Abs(p.y) < chartHeight/2+8 {
					v = s.gain
					for j := len(shapes) - 1; j >= 0; j-- {
						if math.Abs(p.x-centres[j].x) < 50 && math.Abs(p.y-centres[j].y) < 50 && shapes[j].contains(p) {
							v = s.gain * linearOf[shapes[j].grey]
							break
						}
					}
				}
				sum += v / 9
			}
			light[y*s.w+x] = sum * (1 + (s.shade-1)*float64(x)/float64(s.w))
		}
	}
	light = blurred(light, s.w, s.h, s.blur)
	f := &Frame{Width: s.w, Height: s.h, Pix: make([]byte, 3*s.w*s.h)}
	r := rand.New(rand.NewPCG(1, 2))
	for i, v := range light {
		c := 12.92 * v
		if v > 0.0031308 {
			c = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		code := byte(min(max(math.Round(255*c+s.noise*r.NormFloat64()), 0), 255))
		f.Pix[3*i], f.Pix[3*i+1], f.Pix[3*i+2] = code, code, code
	}
	return f
}

func (c chartShape) contains(p spot) bool {
	for i, a := range c.at {
		b := c.at[(i+1)%4]
		if (float64(b.X)-float64(a.X))*(p.y-float64(a.Y))-(float64(b.Y)-float64(a.Y))*(p.x-float64(a.X)) < 0 {
			return false
		}
	}
	return true
}

func blurred(v []float64, w, h int, sigma float64) []float64 {
	if sigma == 0 {
		return v
	}
	reach := int(4*sigma) + 1
	kernel := make([]float64, 2*reach+1)
	var sum float64
	for i := range kernel {
		d := float64(i - reach)
		kernel[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += kernel[i]
	}
	pass := func(v []float64, step, n int, start func(int) int, lines int) []float64 {
		out := make([]float64, len(v))
		for l := range lines {
			for i := range n {
				for j, k := range kernel {
					at := min(max(i+j-reach, 0), n-1)
					out[start(l)+i*step] += k / sum * v[start(l)+at*step]
				}
			}
		}
		return out
	}
	v = pass(v, 1, w, func(l int) int { return l * w }, h)
	return pass(v, w, h, func(l int) int { return l }, w)
}

// halfContrast is where a Gaussian and the area of a pixel leave half of it.
func halfContrast(sigma float64) float64 {
	for f := 0.001; ; f += 0.001 {
		if math.Exp(-2*math.Pi*math.Pi*sigma*sigma*f*f)*math.Sin(math.Pi*f)/(math.Pi*f) < 0.5 {
			return min(f, 0.5)
		}
	}
}

// The measured resolution is the one that the lens of the rendered picture has.
func TestChartMeasuresTheResolution(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]chartView{
		"upright":        upright(480, 360, 330, 0),
		"turned":         upright(480, 360, 330, 0.12),
		"turned back":    upright(500, 400, 360, -0.15),
		"in perspective": {w: 480, h: 360, to: [4]Point{{80, 90}, {390, 70}, {405, 285}, {70, 265}}, gain: 0.75, shade: 1, backdrop: 0.2},
	} {
		for _, sigma := range []float64{0.8, 1.5, 2.5} {
			s.blur, s.noise = sigma, 1.5
			r, err := ReadChart(s.taken(t))
			if err != nil || !r.Found {
				t.Fatalf("%s, blur %.1f: %+v %v", name, sigma, r, err)
			}
			want := halfContrast(sigma)
			if math.Abs(r.Across/want-1) > 0.12 || math.Abs(r.Along/want-1) > 0.12 {
				t.Errorf("%s, blur %.1f: %.3f and %.3f cycles a pixel, want %.3f", name, sigma, r.Across, r.Along, want)
			}
			if r.Focused() != (want >= minResolution) {
				t.Errorf("%s, blur %.1f: focused %v", name, sigma, r.Focused())
			}
		}
	}
}

func TestChartMeasuresTheExposure(t *testing.T) {
	t.Parallel()
	s := upright(480, 360, 330, 0.05)
	s.blur, s.noise = 1, 3
	r, err := ReadChart(s.taken(t))
	if err != nil || !r.Found {
		t.Fatalf("%+v %v", r, err)
	}
	if math.Abs(r.Scale-330.0/chartWidth) > 0.03 {
		t.Errorf("%.3f pixels a millimetre", r.Scale)
	}
	if math.Abs(r.White-225) > 3 || r.Black > 8 || r.Clipped > 0 || math.Abs(r.Noise-3) > 0.6 || r.Even < 0.98 {
		t.Errorf("%+v", r)
	}
	for i := 1; i < len(r.Fields); i++ {
		if r.Fields[i] < r.Fields[i-1]+10 {
			t.Errorf("fields %v", r.Fields)
		}
	}
	bright := s
	bright.gain = 1.6
	if r, _ := ReadChart(bright.taken(t)); !r.Found || r.Clipped < 0.9 {
		t.Errorf("too much light: %+v", r)
	}
	dark := s
	dark.gain, dark.backdrop = 0.08, 0.02
	if r, _ := ReadChart(dark.taken(t)); !r.Found || r.White > 90 {
		t.Errorf("too little light: %+v", r)
	}
	aside := s
	aside.shade = 0.3
	if r, _ := ReadChart(aside.taken(t)); !r.Found || r.Even > 0.75 {
		t.Errorf("light from one side: %+v", r)
	}
}

func TestNoChart(t *testing.T) {
	t.Parallel()
	noise := &Frame{Width: 320, Height: 240, Pix: make([]byte, 3*320*240)}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise.Pix {
		noise.Pix[i] = byte(r.Uint32())
	}
	half := upright(480, 360, 330, 0)
	for i := range half.to {
		half.to[i].X += 200 // two marks are outside
	}
	for name, f := range map[string]*Frame{
		"noise": noise, "nothing": {Width: 320, Height: 240, Pix: make([]byte, 3*320*240)}, "half of it": half.taken(t),
	} {
		if r, err := ReadChart(f); err != nil || r.Found || r.Focused() {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	if _, err := ReadChart(&Frame{}); err == nil {
		t.Error("a frame that is none")
	}
	if svg := ChartSVG(); strings.Count(svg, "<polygon") != len(chartShapes()) {
		t.Error("not all of the chart is in its SVG")
	}
}

// FuzzReadChart: whatever a camera sends, nothing panics and no number is odd.
func FuzzReadChart(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(16), uint8(16))
	s := upright(200, 150, 180, 0.1)
	small := s.taken(f)
	f.Add(small.Pix, uint8(200), uint8(150))
	f.Fuzz(func(t *testing.T, b []byte, w, h uint8) {
		p := &Frame{Width: int(w), Height: int(h), Pix: make([]byte, 3*int(w)*int(h))}
		copy(p.Pix, b)
		r, err := ReadChart(p)
		if err != nil {
			return
		}
		for _, v := range []float64{r.Across, r.Along, r.Scale, r.White, r.Black, r.Even, r.Noise} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%+v", r)
			}
		}
		if r.Across < 0 || r.Across > 0.5 || r.Along < 0 || r.Along > 0.5 {
			t.Fatalf("%+v", r)
		}
	})
}
