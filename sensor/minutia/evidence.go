package minutia

import "math"

// Evidence is what two templates have in common, at the best pose found.
type Evidence struct {
	Similar   float32 // mean of the best local similarities, pose or not
	Relaxed   float32 // mean of them after relaxation
	Matched   float32 // minutiae that coincide
	Weight    float32 // their qualities, summed
	Smooth    float32 // the same, weighted by how well their neighbours predict their shift
	Local     float32 // mean similarity of their neighbourhoods
	OverlapA  float32 // qualities of the probe's minutiae on common ground, summed
	OverlapB  float32 // and the candidate's
	Area      float32 // common patches
	Direction float32 // mean agreement of ridge directions there, -1..1
	Phase     float32 // mean agreement of ridge phase there, -1..1
	PhaseNear float32 // of phases against their neighbours'
	Period    float32
	Pose      pose
}

// shift is how the skin moved at a place beyond the pose: the mean of what the
// matched minutiae around it say, but for one of them.
func (m *Matcher) shift(a *view, x, y float32, but int) (dx, dy, weight float32) {
	sum := float32(shiftPrior)
	for i := range m.best {
		if i == but {
			continue
		}
		p := &m.best[i]
		pa := &a.points[p.a]
		w := 1 / (1 + (sq32(pa.x-x)+sq32(pa.y-y))*(1/(shiftReach*shiftReach)))
		w *= w
		dx += w * p.dx
		dy += w * p.dy
		sum += w
	}
	return dx / sum, dy / sum, sum
}

// measure fills the evidence of the minutiae at the pose found.
func (m *Matcher) measure(a, b *view, e *Evidence) {
	h := &e.Pose
	e.Matched = float32(len(m.best))
	for i := range m.best {
		p := &m.best[i]
		pa, pb := &a.points[p.a], &b.points[p.b]
		q := float32(math.Sqrt(float64(pa.quality * pb.quality)))
		e.Weight += q
		dx, dy, _ := m.shift(a, pa.x, pa.y, i)
		r := sq32(p.dx-dx) + sq32(p.dy-dy)
		e.Smooth += q / (1 + r*(1/(smoothScale*smoothScale)))
		e.Local += a.descriptors[p.a].similarity(&b.descriptors[p.b])
	}
	if e.Matched > 0 {
		e.Local /= e.Matched
	}
	for i := range a.points {
		x, y := h.apply(a.points[i].x, a.points[i].y)
		if b.waves.patch(x, y) != nil {
			e.OverlapA += a.points[i].quality
		}
	}
	for j := range b.points {
		x, y := b.points[j].x-h.x, b.points[j].y-h.y
		if a.waves.patch(h.cos*x+h.sin*y, -h.sin*x+h.cos*y) != nil {
			e.OverlapB += b.points[j].quality
		}
	}
}

// compareWaves fills the evidence of the ridges on common ground: whether they
// run the same way, as wide, and whether ridge lies on ridge.
func (m *Matcher) compareWaves(a, b *view, e *Evidence) {
	h := &e.Pose
	c2, s2 := h.cos*h.cos-h.sin*h.sin, 2*h.sin*h.cos
	var area, direction, phase, near, nearN, period float32
	var above [maxSide/patchSize + 1]struct{ re, im, nx, ny float32 }
	for py := range a.waves.h {
		var left struct{ re, im, nx, ny float32 }
		for px := range a.waves.w {
			wa := &a.waves.at[py*a.waves.w+px]
			up := above[px]
			above[px].nx, above[px].ny = 0, 0
			before := left
			left.nx, left.ny = 0, 0
			if !wa.on {
				continue
			}
			x, y := (float32(px)+0.5)*patchSize, (float32(py)+0.5)*patchSize
			u, v := h.apply(x, y)
			if b.waves.patch(u, v) == nil {
				continue
			}
			dx, dy, _ := m.shift(a, x, y, -1)
			u, v = u+dx, v+dy
			wb := b.waves.patch(u, v)
			if wb == nil {
				continue
			}
			area++
			d := (wa.c2*c2-wa.s2*s2)*wb.c2 + (wa.s2*c2+wa.c2*s2)*wb.s2
			direction += d
			period += float32(math.Abs(float64(wa.k-wb.k))) / (wa.k + wb.k)
			// b's phase where a's middle lands, along a's own normal.
			nx, ny := h.cos*wa.nx-h.sin*wa.ny, h.sin*wa.nx+h.cos*wa.ny
			cx, cy := (float32(int(u)/patchSize)+0.5)*patchSize, (float32(int(v)/patchSize)+0.5)*patchSize
			pb := wb.phase + wb.k*((u-cx)*wb.nx+(v-cy)*wb.ny)
			sign := float32(1)
			if nx*wb.nx+ny*wb.ny < 0 {
				pb, sign = -pb, -1
			}
			_ = sign
			diff := wa.phase - pb
			re, im := fastCos(diff), fastCos(diff-math.Pi/2)
			w := max(d, 0)
			phase += w * re
			// The neighbours' difference, along the same normal.
			for _, o := range [2]struct{ re, im, nx, ny float32 }{up, before} {
				if dot := o.nx*nx + o.ny*ny; dot > 0.5 {
					near += w * (re*o.re + im*o.im)
					nearN++
				} else if dot < -0.5 {
					near += w * (re*o.re - im*o.im)
					nearN++
				}
			}
			left.re, left.im, left.nx, left.ny = re, im, nx, ny
			above[px] = left
		}
	}
	e.Area = area
	if area > 0 {
		e.Direction, e.Phase, e.Period = direction/area, phase/area, period/area
	}
	if nearN > 0 {
		e.PhaseNear = near / nearN
	}
}

// Score is a first, hand-made one.
func (e *Evidence) Score() float64 {
	if e.Matched == 0 {
		return 0
	}
	return float64(e.Weight * e.Smooth / (1 + float32(math.Sqrt(float64(e.OverlapA*e.OverlapB)))) * e.Local)
}
