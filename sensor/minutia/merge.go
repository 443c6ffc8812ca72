package minutia

import (
	"math"
	"slices"
)

// Merge makes one template of several impressions of one finger: aligned by
// the pose and the skin's shift that comparing them finds, with the ground that
// any of them covers. A minutia's quality is weighed by its votes: in how many
// of the impressions that cover its place it was seen.
//
// Impressions that do not align with what is merged so far, or would make it
// too large, stay as they are, behind the merged one.
func Merge(ts ...*Template) []*Template {
	if len(ts) < 2 {
		return ts
	}
	var m Matcher
	first := m.middle(ts)
	rest := slices.Delete(slices.Clone(ts), first, first+1)
	whole := newMosaic(ts[first])
	for len(rest) > 0 {
		ground := newView(whole.all())
		best, top := -1, mergeScore
		for i, t := range rest {
			v := newView(t)
			e := m.compare(&v, &ground)
			if s := e.Score(); s >= top {
				best, top = i, s
			}
		}
		if best < 0 {
			break
		}
		v := newView(rest[best])
		e := m.compare(&v, &ground)
		if !whole.add(&m, rest[best], &v, &e.Pose) {
			break
		}
		rest = slices.Delete(rest, best, best+1)
	}
	return append([]*Template{whole.template()}, rest...)
}

// middle is the impression that has most in common with the others.
func (m *Matcher) middle(ts []*Template) int {
	common := make([]float64, len(ts))
	for i, t := range ts {
		a := newView(t)
		for j := range i {
			b := newView(ts[j])
			e := m.compare(&a, &b)
			s := max(e.Score(), 0)
			common[i] += s
			common[j] += s
		}
	}
	return slices.Index(common, slices.Max(common))
}

// mosaic is impressions laid upon one another.
type mosaic struct {
	width, height int // px
	quality       uint8
	points        []voted
	ridges        Ridges
	cover         []int // impressions that cover a patch
}

// voted is a minutia that some impressions saw.
type voted struct {
	x, y, cos, sin float64 // means over the votes, the direction's not of length 1
	quality        float64 // sum over the votes
	kinds          [3]int
	votes          int
}

func newMosaic(t *Template) *mosaic {
	mo := &mosaic{
		width: t.Width, height: t.Height, quality: t.Quality,
		ridges: Ridges{t.Ridges.Width, t.Ridges.Height, append([]Patch(nil), t.Ridges.Patches...)},
		cover:  make([]int, len(t.Ridges.Patches)),
	}
	for i, p := range t.Ridges.Patches {
		if p.On {
			mo.cover[i] = 1
		}
	}
	for i := range t.Minutiae {
		m := &t.Minutiae[i]
		var v voted
		v.see(float64(m.X), float64(m.Y), turn(m.Angle), m)
		mo.points = append(mo.points, v)
	}
	return mo
}

// see adds a vote.
func (v *voted) see(x, y, angle float64, m *Minutia) {
	v.votes++
	k := 1 / float64(v.votes)
	sin, cos := math.Sincos(angle)
	v.x += k * (x - v.x)
	v.y += k * (y - v.y)
	v.cos += k * (cos - v.cos)
	v.sin += k * (sin - v.sin)
	v.quality += float64(m.Quality)
	v.kinds[m.Kind]++
}

// minutia is the mean of the votes with a quality of its own.
func (v *voted) minutia(quality float64) Minutia {
	kind := Other
	for k, n := range v.kinds {
		if n > v.kinds[kind] {
			kind = Kind(k)
		}
	}
	return Minutia{
		X: int16(math.Round(v.x)), Y: int16(math.Round(v.y)),
		Angle:   uint8(int(math.Round(math.Atan2(v.sin, v.cos)/(2*math.Pi)*256)) & 255),
		Quality: uint8(min(math.Round(quality), 15)), Kind: kind,
	}
}

// all is the mosaic so far, every minutia in it.
func (mo *mosaic) all() *Template {
	t := &Template{Width: mo.width, Height: mo.height, Quality: mo.quality, Ridges: mo.ridges}
	for i := range mo.points[:min(len(mo.points), 255)] {
		v := &mo.points[i]
		t.Minutiae = append(t.Minutiae, v.minutia(v.quality/float64(v.votes)))
	}
	return t
}

// template is the mosaic's consensus.
func (mo *mosaic) template() *Template {
	t := &Template{Width: mo.width, Height: mo.height, Quality: mo.quality, Ridges: mo.ridges}
	for i := range mo.points {
		v := &mo.points[i]
		seen := v.votes
		if px, py := int(v.x)/patchSize, int(v.y)/patchSize; px < mo.ridges.Width && py < mo.ridges.Height {
			seen = max(seen, mo.cover[py*mo.ridges.Width+px])
		}
		// The mean over the votes, times the votes' share: one by all that saw.
		m := v.minutia(v.quality / float64(seen))
		m.X, m.Y = min(max(m.X, 0), int16(mo.width-1)), min(max(m.Y, 0), int16(mo.height-1))
		t.Minutiae = append(t.Minutiae, m)
	}
	t.sortAndLimit()
	t.Minutiae = t.Minutiae[:min(len(t.Minutiae), mergedMinutiae)]
	t.crop()
	return t
}

// crop cuts what has neither ridges nor minutiae off the sides, in whole patches: a
// mosaic grows with the pictures, and empty patches take room too. A record that has
// no ridges stays as large as it says.
func (t *Template) crop() {
	r := &t.Ridges
	if r.bare() {
		return
	}
	x0, y0, x1, y1 := r.Width, r.Height, 0, 0
	see := func(px, py int) {
		x0, y0, x1, y1 = min(x0, px), min(y0, py), max(x1, px+1), max(y1, py+1)
	}
	for i, p := range r.Patches {
		if p.On {
			see(i%r.Width, i/r.Width)
		}
	}
	for _, m := range t.Minutiae {
		see(int(m.X)/patchSize, int(m.Y)/patchSize)
	}
	cut := Ridges{x1 - x0, y1 - y0, make([]Patch, 0, (x1-x0)*(y1-y0))}
	for y := y0; y < y1; y++ {
		cut.Patches = append(cut.Patches, r.Patches[y*r.Width+x0:y*r.Width+x1]...)
	}
	// The last patch of a picture may be cut.
	t.Width, t.Height = min(t.Width, x1*patchSize)-x0*patchSize, min(t.Height, y1*patchSize)-y0*patchSize
	t.Ridges = cut
	for i := range t.Minutiae {
		t.Minutiae[i].X -= int16(x0 * patchSize)
		t.Minutiae[i].Y -= int16(y0 * patchSize)
	}
}

// add lays an impression upon the mosaic, where the matcher's last comparison,
// of the impression with the mosaic, found it to lie. It reports whether there
// was room.
func (mo *mosaic) add(m *Matcher, t *Template, v *view, h *pose) bool {
	place := func(x, y float32) (float64, float64) {
		u, w := h.apply(x, y)
		s := m.shift(x, y, -1)
		return float64(u + s.dx), float64(w + s.dy)
	}
	// Room for what lies outside.
	x0, y0, x1, y1 := 0.0, 0.0, float64(mo.width), float64(mo.height)
	for i, p := range t.Ridges.Patches {
		if !p.On {
			continue
		}
		px, py := i%t.Ridges.Width, i/t.Ridges.Width
		x, y := place((float32(px)+0.5)*patchSize, (float32(py)+0.5)*patchSize)
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	left, top, ok := mo.grow(x0, y0, x1, y1)
	if !ok {
		return false
	}

	taken := make(map[uint8]uint8, len(m.best))
	for _, k := range m.best {
		taken[k.a] = k.b
	}
	turned := math.Atan2(float64(h.sin), float64(h.cos))
	for i := range t.Minutiae {
		n := &t.Minutiae[i]
		x, y := place(float32(n.X), float32(n.Y))
		x, y = x+left, y+top
		if j, ok := taken[uint8(i)]; ok {
			mo.points[j].see(x, y, turn(n.Angle)+turned, n)
			continue
		}
		if x >= 0 && y >= 0 && x < float64(mo.width) && y < float64(mo.height) {
			var p voted
			p.see(x, y, turn(n.Angle)+turned, n)
			mo.points = append(mo.points, p)
		}
	}

	for i := range mo.ridges.Patches {
		u := (float64(i%mo.ridges.Width)+0.5)*patchSize - left
		w := (float64(i/mo.ridges.Width)+0.5)*patchSize - top
		// The place in the impression, by fixed point: shifts change slowly.
		var x, y, sx, sy float32
		for range 3 {
			du, dw := float32(u)-h.x-sx, float32(w)-h.y-sy
			x, y = h.cos*du+h.sin*dw, -h.sin*du+h.cos*dw
			s := m.shift(x, y, -1)
			sx, sy = s.dx, s.dy
		}
		wave := v.waves.patch(x, y)
		if wave == nil {
			continue
		}
		mo.cover[i]++
		if mo.ridges.Patches[i].On {
			continue
		}
		cx, cy := (float32(int(x)/patchSize)+0.5)*patchSize, (float32(int(y)/patchSize)+0.5)*patchSize
		phase := float64(wave.phase + wave.k*((x-cx)*wave.nx+(y-cy)*wave.ny))
		p := t.Ridges.Patches[int(y)/patchSize*t.Ridges.Width+int(x)/patchSize]
		// Directions are of half a turn: past its end, the normal is the other.
		d := math.Round(float64(p.Direction) + turned/math.Pi*patchDirections)
		half := math.Floor(d / patchDirections)
		if int(half)&1 != 0 {
			phase = -phase
		}
		p.Direction = uint8(d - half*patchDirections)
		p.Phase = uint8(int(math.Round(phase/(2*math.Pi)*patchPhases)) & (patchPhases - 1))
		mo.ridges.Patches[i] = p
	}
	mo.quality = max(mo.quality, t.Quality)
	return true
}

// grow makes room for a box, in whole patches, and returns how far everything
// moved; false where a template cannot be so large.
func (mo *mosaic) grow(x0, y0, x1, y1 float64) (left, top float64, ok bool) {
	l, u := int(math.Ceil(-x0/patchSize)), int(math.Ceil(-y0/patchSize))
	w := max(mo.ridges.Width+l, int(math.Ceil(x1/patchSize))+l)
	h := max(mo.ridges.Height+u, int(math.Ceil(y1/patchSize))+u)
	if w*patchSize > maxSide || h*patchSize > maxSide {
		return 0, 0, false
	}
	if w == mo.ridges.Width && h == mo.ridges.Height {
		return 0, 0, true
	}
	grown := Ridges{w, h, make([]Patch, w*h)}
	cover := make([]int, w*h)
	for i, p := range mo.ridges.Patches {
		j := (i/mo.ridges.Width+u)*w + i%mo.ridges.Width + l
		grown.Patches[j], cover[j] = p, mo.cover[i]
	}
	mo.ridges, mo.cover = grown, cover
	mo.width, mo.height = w*patchSize, h*patchSize
	left, top = float64(l*patchSize), float64(u*patchSize)
	for i := range mo.points {
		mo.points[i].x += left
		mo.points[i].y += top
	}
	return left, top, true
}
