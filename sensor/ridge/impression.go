package ridge

import (
	"image"
	"math"
	"math/rand/v2"
)

// ImpressionOptions says how a finger meets a sensor. The zero value is a
// clean, centred, upright touch on a 500 dpi sensor of 300 x 400 pixels.
type ImpressionOptions struct {
	Seed          uint64  // of this touch's own noise
	Width, Height int     // pixels of the sensor; 0 means 300 x 400
	DPI           float64 // of the sensor; 0 means 500
	Rotation      float64 // radians, clockwise in the picture
	OffsetX       float64 // mm, of the finger on the sensor, to the right
	OffsetY       float64 // mm, downwards
	Pressure      float64 // -1 (feather-light, thin ridges) .. 1 (over-inked)
	Dryness       float64 // 0 .. 1, share of ridge lost in speckles
	Distortion    float64 // 0 .. 1, skin drag: 1 moves skin by up to some 1.5 mm
	Cuts          int     // white scars across the print
	Noise         float64 // 0 .. 1, of the sensor
	Coarse        bool    // 4 bits a pixel, as the modules of the UART family send
}

// Touch is a natural touch: a person who does not take care. Effort 0 is a
// careful touch, 1 a careless one. Seeds of one finger differ by touch.
func (f *Finger) Touch(seed uint64, effort float64) ImpressionOptions {
	r := rand.New(rand.NewPCG(f.seed^0x746f756368, seed))
	e := 0.3 + 0.7*clamp(effort, 0, 1)
	return ImpressionOptions{
		Seed:       seed,
		Rotation:   0.22 * e * clamp(r.NormFloat64(), -2.2, 2.2),
		OffsetX:    1.3 * e * clamp(r.NormFloat64(), -2.2, 2.2),
		OffsetY:    1.6 * e * clamp(r.NormFloat64(), -2.2, 2.2),
		Pressure:   clamp(0.5*e*r.NormFloat64(), -1, 1),
		Dryness:    clamp(e*(0.25+0.25*r.NormFloat64()), 0, 1),
		Distortion: e * r.Float64(),
		Cuts:       r.IntN(1 + int(3*e)),
		Noise:      e * r.Float64(),
	}
}

// Impression draws one touch: dark ridges on a light background.
func (f *Finger) Impression(o ImpressionOptions) *image.Gray {
	if o.Width <= 0 {
		o.Width = 300
	}
	if o.Height <= 0 {
		o.Height = 400
	}
	if o.DPI <= 0 {
		o.DPI = 500
	}
	pattern := f.master()
	r := rand.New(rand.NewPCG(f.seed^streamImpression, o.Seed))

	const cx, cy = masterWidth / 2.0, masterHeight / 2.0
	scale := masterDPI / o.DPI
	mm := masterDPI / mmPerInch
	sin, cos := math.Sincos(-o.Rotation)

	// Distortion after Cappelli, Maio, Maltoni ("Modelling plastic distortion
	// in fingerprint images", 2001): skin in the middle sticks, around it the
	// skin is dragged and turned, more the farther out.
	dragA := 2 * math.Pi * r.Float64()
	dragX, dragY := math.Cos(dragA)*0.8*mm*o.Distortion, math.Sin(dragA)*0.8*mm*o.Distortion
	turn := 0.10 * o.Distortion * clamp(r.NormFloat64(), -2, 2)
	swell := newBumps(r, 3, 40)
	stick := 35 + 25*r.Float64()

	// The part of the skin that touches, the larger the harder the press.
	contactX := masterWidth * (0.40 + 0.05*o.Pressure + 0.02*r.NormFloat64())
	contactY := masterHeight * (0.40 + 0.05*o.Pressure + 0.02*r.NormFloat64())
	edge := newBumps(r, 8, 16)
	wet := newBumps(r, 4, 36)
	cuts := make([]cut, o.Cuts)
	for i := range cuts {
		cuts[i] = newCut(r)
	}

	paper := 215 + 30*r.Float64()
	ink := 25 + 50*r.Float64()
	raw := make([]float32, o.Width*o.Height)
	for y := range o.Height {
		for x := range o.Width {
			px := (float64(x)-float64(o.Width)/2)*scale - o.OffsetX*mm
			py := (float64(y)-float64(o.Height)/2)*scale - o.OffsetY*mm
			mx, my := cos*px-sin*py, sin*px+cos*py
			if o.Distortion > 0 {
				d := math.Hypot(mx, my)
				k := clamp((d-stick/2)/stick, 0, 1)
				k = k * k * (3 - 2*k)
				s := 0.25 * mm * o.Distortion
				mx, my = mx+k*(dragX-turn*my)+s*swell.at(mx+cx, my+cy), my+k*(dragY+turn*mx)
			}
			mx += cx
			my += cy
			rim := 1 - sq((mx-cx)/contactX) - sq((my-cy)/contactY) + 0.12*edge.at(mx, my)
			v := float32(0)
			if rim > 0 && mx > 1 && my > 1 && mx < masterWidth-3 && my < masterHeight-3 {
				ridge := bicubic(pattern, mx, my)
				// Light at the rim and where dry, heavy where wet or pressed.
				bias := 0.55*o.Pressure + 0.25*wet.at(mx, my) - 0.6*math.Exp(-rim*14)
				v = float32(1 / (1 + math.Exp(-4*(ridge+bias))))
				if o.Dryness > 0 && r.Float64() < 0.45*o.Dryness {
					v *= float32(1 - 0.9*r.Float64())
				}
				for i := range cuts {
					v *= cuts[i].at(mx, my)
				}
			}
			raw[y*o.Width+x] = v
		}
	}
	blur3(raw, o.Width, o.Height)

	img := image.NewGray(image.Rect(0, 0, o.Width, o.Height))
	for i, v := range raw {
		g := paper + (ink-paper)*float64(v) + 14*o.Noise*r.NormFloat64()
		p := uint8(clamp(math.Round(g), 0, 255))
		if o.Coarse {
			p = p >> 4 * 17
		}
		img.Pix[i] = p
	}
	return img
}

// cut is a scar: a thin white line.
type cut struct{ x, y, sin, cos, length, width float64 }

func newCut(r *rand.Rand) cut {
	var c cut
	c.x = masterWidth * (0.2 + 0.6*r.Float64())
	c.y = masterHeight * (0.2 + 0.6*r.Float64())
	c.sin, c.cos = math.Sincos(math.Pi * r.Float64())
	c.length = 15 + 30*r.Float64()
	c.width = 0.6 + 0.9*r.Float64()
	return c
}

func (c *cut) at(x, y float64) float32 {
	along := (x-c.x)*c.cos + (y-c.y)*c.sin
	if math.Abs(along) > c.length {
		return 1
	}
	across := (y-c.y)*c.cos - (x-c.x)*c.sin
	return float32(1 - math.Exp(-sq(across/c.width)))
}

// bicubic samples by Catmull-Rom: at 4.5 pixels a ridge, bilinear would flatten
// the ridges between the samples.
func bicubic(p []float32, x, y float64) float64 {
	x0, y0 := int(x), int(y)
	wx, wy := catmullRom(x-float64(x0)), catmullRom(y-float64(y0))
	var v float64
	for j := range 4 {
		row := p[(y0-1+j)*masterWidth+x0-1:][:4]
		v += wy[j] * (wx[0]*float64(row[0]) + wx[1]*float64(row[1]) + wx[2]*float64(row[2]) + wx[3]*float64(row[3]))
	}
	return v
}

func catmullRom(t float64) [4]float64 {
	return [4]float64{
		((-0.5*t+1)*t - 0.5) * t,
		(1.5*t-2.5)*t*t + 1,
		((-1.5*t+2)*t + 0.5) * t,
		(0.5*t - 0.5) * t * t,
	}
}

// blur3 is the sensor's point spread: 1 2 1 both ways, in place.
func blur3(p []float32, w, h int) {
	for y := range h {
		row := p[y*w:][:w]
		prev := row[0]
		for x := 0; x < w; x++ {
			next := row[min(x+1, w-1)]
			cur := row[x]
			row[x] = (prev + 2*cur + next) / 4
			prev = cur
		}
	}
	for x := range w {
		prev := p[x]
		for y := range h {
			next := p[min(y+1, h-1)*w+x]
			cur := p[y*w+x]
			p[y*w+x] = (prev + 2*cur + next) / 4
			prev = cur
		}
	}
}
