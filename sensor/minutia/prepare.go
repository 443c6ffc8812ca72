package minutia

import (
	"math"
)

// Prepared is a template made ready for matching. It is read only and may be
// shared.
type Prepared struct{ views []view }

// view is one template of it: of one impression, or of several merged.
type view struct {
	points []point
	neighbourhoods
	bins  bins
	waves waves
	area  int // patches of ridges
}

// point is a minutia in the numbers that matching needs.
type point struct {
	x, y, cos, sin float32
	quality        float32 // 0..1
	angle          uint8
	kind           Kind
}

// Prepare computes what depends on the templates of one finger alone. Several
// templates are compared one by one, and the best counts: see [Merge] for one of
// them all.
func Prepare(ts ...*Template) *Prepared {
	p := &Prepared{views: make([]view, 0, len(ts))}
	for _, t := range ts {
		p.views = append(p.views, newView(t))
	}
	return p
}

func newView(t *Template) view {
	if !t.shaped() {
		t = &Template{} // matches nothing
	}
	v := view{points: make([]point, len(t.Minutiae)), waves: newWaves(&t.Ridges)}
	for i, m := range t.Minutiae {
		sin, cos := math.Sincos(turn(m.Angle))
		v.points[i] = point{
			x: float32(m.X), y: float32(m.Y), cos: float32(cos), sin: float32(sin),
			quality: float32(m.Quality) / 15, angle: m.Angle, kind: m.Kind,
		}
	}
	v.neighbourhoods = describe(t, &v.waves)
	for i := range v.waves.at {
		if v.waves.at[i].on {
			v.area++
		}
	}
	v.bins = newBins(v.points, t.Width, t.Height)
	return v
}

// bins finds the points near a place without looking at all of them.
type bins struct {
	w, h  int
	first []uint16 // of every bin, in order; one more at the end
	order []uint8  // the points bin by bin
}

func newBins(ps []point, width, height int) bins {
	b := bins{w: width/binSize + 1, h: height/binSize + 1, order: make([]uint8, 0, len(ps))}
	b.first = make([]uint16, b.w*b.h+1)
	for c := range b.w * b.h {
		b.first[c] = uint16(len(b.order))
		for i := range ps {
			if int(ps[i].y)/binSize*b.w+int(ps[i].x)/binSize == c {
				b.order = append(b.order, uint8(i))
			}
		}
	}
	b.first[b.w*b.h] = uint16(len(b.order))
	return b
}

// pose maps the probe onto the candidate: turn, then shift.
type pose struct{ cos, sin, x, y float32 }

func (p *pose) apply(x, y float32) (float32, float32) {
	return p.cos*x - p.sin*y + p.x, p.sin*x + p.cos*y + p.y
}

// turned is the pose's turn in 256ths.
func (p *pose) turned() uint8 {
	return uint8(int(math.Round(math.Atan2(float64(p.sin), float64(p.cos))/(2*math.Pi)*256)) & 255)
}
