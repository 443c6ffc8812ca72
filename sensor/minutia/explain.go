package minutia

import (
	"image"
	"image/color"
	"math"
)

// Stage is what one step of the extraction or of a comparison looks like.
type Stage struct {
	Name  string // a file's name without its end
	Image image.Image
}

// Explain draws every step of an extraction. A picture that makes no template
// is drawn as far as it came, with the error.
func Explain(img *image.Gray, dpi float64) ([]Stage, error) {
	a, err := analyse(img, dpi)
	if a == nil {
		return nil, err
	}
	stages := []Stage{
		{"1-picture", a.gray},
		{"2-normalised", a.norm.gray(normClip)},
		{"3-orientation", a.drawField()},
	}
	if a.re == nil {
		return stages, err
	}
	stages = append(stages, Stage{"4-enhanced", a.re.doubled().gray(0.7)})
	if err != nil {
		return stages, err
	}
	t, err := a.template()
	if err != nil {
		return stages, err
	}
	return append(stages, Stage{"5-minutiae", drawMinutiae(a.gray, t.Minutiae)}), nil
}

// ExplainMatch draws two pictures side by side with the minutiae that the
// comparison paired, and returns its evidence and the false match rate of its score.
func ExplainMatch(a, b *image.Gray, dpi float64) (Stage, Evidence, float64, error) {
	ta, err := Extract(a, dpi)
	if err != nil {
		return Stage{}, Evidence{}, 1, err
	}
	tb, err := Extract(b, dpi)
	if err != nil {
		return Stage{}, Evidence{}, 1, err
	}
	var m Matcher
	pa, pb := Prepare(ta), Prepare(tb)
	e := m.Compare(pa, pb)
	left, right := drawMinutiae(atWorkDPI(a, dpi), ta.Minutiae), drawMinutiae(atWorkDPI(b, dpi), tb.Minutiae)
	w, h := left.Rect.Dx(), max(left.Rect.Dy(), right.Rect.Dy())
	out := image.NewRGBA(image.Rect(0, 0, w+right.Rect.Dx(), h))
	copyInto(out, left, 0)
	copyInto(out, right, w)
	for i, p := range m.best {
		c := hue(float64(i) / float64(len(m.best)))
		from, to := ta.Minutiae[p.a], tb.Minutiae[p.b]
		drawLine(out, float64(from.X), float64(from.Y), float64(to.X)+float64(w), float64(to.Y), c)
	}
	return Stage{"6-pairs", out}, e, FMROf(e.Score(), pa, pb), nil
}

// gray maps -top..top to black..white: ridges are dark, as on paper.
func (p *plane) gray(top float32) *image.Gray {
	out := image.NewGray(image.Rect(0, 0, p.w, p.h))
	for y := range p.h {
		for x, v := range p.pix[p.at(0, y):][:p.w] {
			out.Pix[y*out.Stride+x] = uint8(min(max(127.5+127.5*v/top, 0), 255))
		}
	}
	return out
}

// doubled is a plane of twice the size.
func (p *plane) doubled() *plane {
	out := newPlane(2*p.w, 2*p.h)
	for y := range out.h {
		for x := range out.w {
			out.pix[out.at(x, y)] = p.pix[p.at(x/2, y/2)]
		}
	}
	return out
}

// drawField draws the direction of every foreground cell, red where the
// ridges are hardly parallel, green where they are.
func (a *analysis) drawField() image.Image {
	out := toRGBA(a.gray)
	f := a.field
	for cy := range f.h {
		for cx := range f.w {
			c := cy*f.w + cx
			if !f.mask[c] {
				continue
			}
			t := math.Atan2(float64(f.s2[c]), float64(f.c2[c])) / 2
			x, y := (float64(cx)+0.5)*cellSize, (float64(cy)+0.5)*cellSize
			dx, dy := math.Cos(t)*cellSize/2.3, math.Sin(t)*cellSize/2.3
			k := float64(f.coherence[c])
			drawLine(out, x-dx, y-dy, x+dx, y+dy, color.RGBA{uint8(255 * (1 - k)), uint8(255 * k), 0, 255})
		}
	}
	return out
}

// drawMinutiae draws a square at every minutia and a line along it: red for
// endings, blue for bifurcations, the paler the worse.
func drawMinutiae(g *image.Gray, ms []Minutia) *image.RGBA {
	out := toRGBA(g)
	for _, m := range ms {
		k := uint8(160 - 10*int(m.Quality))
		c := color.RGBA{255, k, k, 255}
		if m.Kind == Bifurcation {
			c = color.RGBA{k, k, 255, 255}
		}
		x, y := float64(m.X), float64(m.Y)
		for _, s := range [4][4]float64{{-3, -3, 3, -3}, {3, -3, 3, 3}, {3, 3, -3, 3}, {-3, 3, -3, -3}} {
			drawLine(out, x+s[0], y+s[1], x+s[2], y+s[3], c)
		}
		sin, cos := math.Sincos(turn(m.Angle))
		drawLine(out, x, y, x+11*cos, y+11*sin, c)
	}
	return out
}

func toRGBA(g *image.Gray) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, g.Rect.Dx(), g.Rect.Dy()))
	for y := range g.Rect.Dy() {
		for x, v := range g.Pix[y*g.Stride:][:g.Rect.Dx()] {
			copy(out.Pix[y*out.Stride+4*x:], []uint8{v, v, v, 255})
		}
	}
	return out
}

func copyInto(out, in *image.RGBA, x int) {
	for y := range in.Rect.Dy() {
		copy(out.Pix[y*out.Stride+4*x:], in.Pix[y*in.Stride:][:4*in.Rect.Dx()])
	}
}

func drawLine(out *image.RGBA, x0, y0, x1, y1 float64, c color.RGBA) {
	n := int(max(math.Abs(x1-x0), math.Abs(y1-y0))) + 1
	for k := range n + 1 {
		t := float64(k) / float64(n)
		out.SetRGBA(int(math.Round(x0+t*(x1-x0))), int(math.Round(y0+t*(y1-y0))), c)
	}
}

// hue is a colour of the circle, 0..1.
func hue(t float64) color.RGBA {
	at := func(shift float64) uint8 {
		v := math.Abs(math.Mod(t+shift, 1)*6 - 3)
		return uint8(255 * min(max(v-1, 0), 1))
	}
	return color.RGBA{at(0), at(2. / 3), at(1. / 3), 255}
}
