package minutia

import "math"

// Evidence is what two templates have in common, at the best pose found.
type Evidence struct {
	Relaxed  float32 // mean likeness of the best neighbourhoods after relaxation
	Matched  int     // minutiae that coincide
	Smooth   float32 // their qualities, by how well their neighbours predict their shift
	OverlapA float32 // qualities of the probe's minutiae on common ground
	OverlapB float32 // and of the candidate's
	Area     float32 // common patches
	Phase    float32 // how alike the two differ in phase in patches side by side, -1..1
	Pose     pose
}

// shift is how the skin moved around a place beyond the pose: an affine map.
type shift struct{ dx, dy, xu, xv, yu, yv float32 }

// at is the shift of a point u, v from the place.
func (s *shift) at(u, v float32) (dx, dy float32) {
	return s.dx + s.xu*u + s.xv*v, s.dy + s.yu*u + s.yv*v
}

// shift is what the matched minutiae around a place say, but for one of them,
// by local linear regression (Cleveland, 1979) with a prior of no shift and no
// stretch.
func (m *Matcher) shift(x, y float32, but int) shift {
	n, nu, nv := float32(shiftPrior), float32(0), float32(0)
	uu, uv, vv := float32(stretchPrior), float32(0), float32(stretchPrior)
	var xn, xu, xv, yn, yu, yv float32
	for i := range m.best {
		if i == but {
			continue
		}
		p := &m.best[i]
		u, v := p.x-x, p.y-y
		w := 1 / (1 + (u*u+v*v)*(1/(shiftReach*shiftReach)))
		w *= w
		wu, wv := w*u, w*v
		n += w
		nu += wu
		nv += wv
		uu += wu * u
		uv += wu * v
		vv += wv * v
		xn += w * p.dx
		xu += wu * p.dx
		xv += wv * p.dx
		yn += w * p.dy
		yu += wu * p.dy
		yv += wv * p.dy
	}
	// The inverse of the symmetric 3 x 3 matrix.
	a0, a1, a2 := uu*vv-uv*uv, uv*nv-nu*vv, nu*uv-uu*nv
	b1, b2, c2 := n*vv-nv*nv, nu*nv-n*uv, n*uu-nu*nu
	det := 1 / (n*a0 + nu*a1 + nv*a2)
	return shift{
		(a0*xn + a1*xu + a2*xv) * det, (a0*yn + a1*yu + a2*yv) * det,
		(a1*xn + b1*xu + b2*xv) * det, (a2*xn + b2*xu + c2*xv) * det,
		(a1*yn + b1*yu + b2*yv) * det, (a2*yn + b2*yu + c2*yv) * det,
	}
}

// warp pairs up the minutiae again, each where its neighbours say that it went:
// skin stretches by more than any tolerance that tells fingers apart. Pairs
// that their neighbours contradict go, and those that they predict come.
func (m *Matcher) warp(a, b *view, h *pose) {
	rot := h.turned()
	w, height := float32(b.waves.w*patchSize), float32(b.waves.h*patchSize)
	for range warpRounds {
		m.nextRound()
		m.matched = m.matched[:0]
		next, same := 0, true
		for i := range a.points {
			pa := &a.points[i]
			but := -1
			if next < len(m.best) && int(m.best[next].a) == i {
				but = next
				next++
			}
			x, y := h.apply(pa.x, pa.y)
			if x < -matchDistance || y < -matchDistance || x > w+matchDistance || y > height+matchDistance {
				continue
			}
			sh := m.shift(pa.x, pa.y, but)
			j, cost, ex, ey := m.nearest(b, x+sh.dx, y+sh.dy, pa.angle+rot, warpDistance)
			if j >= 0 {
				m.used[j] = m.round
				m.matched = append(m.matched, match{uint8(i), uint8(j), cost, pa.x, pa.y, sh.dx + ex, sh.dy + ey})
			}
			same = same && (but < 0) == (j < 0) && (but < 0 || int(m.best[but].b) == j)
		}
		m.matched, m.best = m.best, m.matched
		if same {
			break
		}
	}
}

// measure fills the evidence of the minutiae at the pose found.
func (m *Matcher) measure(a, b *view, e *Evidence) {
	h := &e.Pose
	e.Matched = len(m.best)
	for i := range m.best {
		p := &m.best[i]
		pa, pb := &a.points[p.a], &b.points[p.b]
		q := float32(math.Sqrt(float64(pa.quality * pb.quality)))
		sh := m.shift(p.x, p.y, i)
		r := sq32(p.dx-sh.dx) + sq32(p.dy-sh.dy)
		e.Smooth += q / (1 + r*(1/(smoothScale*smoothScale)))
	}
	for i := range a.points {
		x, y := h.apply(a.points[i].x, a.points[i].y)
		if b.waves.covers(x, y) {
			e.OverlapA += a.points[i].quality
		}
	}
	for j := range b.points {
		x, y := b.points[j].x-h.x, b.points[j].y-h.y
		if a.waves.covers(h.cos*x+h.sin*y, -h.sin*x+h.cos*y) {
			e.OverlapB += b.points[j].quality
		}
	}
}

// step is the phase difference of a patch, and the normal that it is along.
type step struct{ re, im, nx, ny float32 }

// compareWaves fills the evidence of the ridges on common ground. Where ridge
// lies on ridge and valley on valley, the phases are equal; where the skin
// moved, the difference changes slowly from patch to patch, while in another
// finger it jumps wherever only one of them has a minutia.
func (m *Matcher) compareWaves(a, b *view, e *Evidence) {
	h := &e.Pose
	c2, s2 := h.cos*h.cos-h.sin*h.sin, 2*h.sin*h.cos
	var sum, n float32
	var above [maxSide/patchSize + 1]step
	var shifts [maxSide/(patchSize*shiftBlock) + 1]shift // of a row of blocks
	var known [maxSide/(patchSize*shiftBlock) + 1]bool
	for py := range a.waves.h {
		var left step
		if py%shiftBlock == 0 {
			clear(known[:])
		}
		for px := range a.waves.w {
			wa := &a.waves.at[py*a.waves.w+px]
			up, before := above[px], left
			left = step{}
			above[px] = left
			if !wa.on {
				continue
			}
			x, y := (float32(px)+0.5)*patchSize, (float32(py)+0.5)*patchSize
			u, v := h.apply(x, y)
			const side = patchSize * shiftBlock
			k := px / shiftBlock
			mx, my := (float32(k)+0.5)*side, (float32(py/shiftBlock)+0.5)*side
			if !known[k] {
				known[k], shifts[k] = true, m.shift(mx, my, -1)
			}
			dx, dy := shifts[k].at(x-mx, y-my)
			u, v = u+dx, v+dy
			wb := b.waves.patch(u, v)
			if wb == nil {
				continue
			}
			e.Area++
			// b's phase where a's middle lands, along a's own normal.
			nx, ny := h.cos*wa.nx-h.sin*wa.ny, h.sin*wa.nx+h.cos*wa.ny
			cx, cy := (float32(int(u)/patchSize)+0.5)*patchSize, (float32(int(v)/patchSize)+0.5)*patchSize
			pb := wb.phase + wb.k*((u-cx)*wb.nx+(v-cy)*wb.ny)
			if nx*wb.nx+ny*wb.ny < 0 {
				pb = -pb
			}
			diff := wa.phase - pb
			left = step{fastCos(diff), fastCos(diff - math.Pi/2), nx, ny}
			above[px] = left
			parallel := max((wa.c2*c2-wa.s2*s2)*wb.c2+(wa.s2*c2+wa.c2*s2)*wb.s2, 0)
			for _, o := range [2]step{up, before} {
				// A neighbour may look along the other normal.
				if dot := o.nx*nx + o.ny*ny; dot > 0.5 {
					sum += parallel * (left.re*o.re + left.im*o.im)
					n++
				} else if dot < -0.5 {
					sum += parallel * (left.re*o.re - left.im*o.im)
					n++
				}
			}
		}
	}
	if n > 0 {
		e.Phase = sum / n
	}
}
