package minutia

import (
	"cmp"
	"math"
	"slices"
)

// Prepared is a template made ready for matching. It is read only and may be
// shared.
type Prepared struct{ views []view }

// view is one impression of it.
type view struct {
	t   *Template
	pts []point
	cyl []cylinder
}

type point struct {
	x, y, cos, sin float64
	angle          uint8
	q              float64
}

// Prepare computes what depends on the templates of one finger alone. Several
// impressions are compared one by one, and the best counts.
func Prepare(ts ...*Template) *Prepared {
	p := &Prepared{}
	for _, t := range ts {
		p.views = append(p.views, prepareView(t))
	}
	return p
}

// Match is the score of two fingers.
func (m *Matcher) Match(a, b *Prepared) float64 {
	best := math.Inf(-1)
	for i := range a.views {
		for j := range b.views {
			e := m.compare(&a.views[i], &b.views[j])
			best = max(best, e.Score())
		}
	}
	return best
}

// Compare is the evidence of the first impressions.
func (m *Matcher) Compare(a, b *Prepared) Evidence { return m.compare(&a.views[0], &b.views[0]) }

func prepareView(t *Template) view {
	p := view{t: t, pts: make([]point, len(t.Minutiae)), cyl: cylinders(t)}
	for i, m := range t.Minutiae {
		s, c := math.Sincos(turn(m.Angle))
		p.pts[i] = point{x: float64(m.X), y: float64(m.Y), cos: c, sin: s, angle: m.Angle, q: float64(m.Quality) / 15}
	}
	return p
}

// pose maps the probe onto the candidate: rotate, then shift.
type pose struct{ cos, sin, x, y float64 }

func (p *pose) apply(x, y float64) (float64, float64) {
	return p.cos*x - p.sin*y + p.x, p.sin*x + p.cos*y + p.y
}

type pair struct {
	a, b int
	sim  float64
	sum  float64
}

// Matcher has the memory that a comparison needs. One goroutine at a time.
type Matcher struct {
	pairs   []pair
	used    []bool
	matched []pair
}

// Evidence is what two templates have in common, at the best pose found.
type Evidence struct {
	Matched   int     // minutiae that coincide
	Weight    float64 // their qualities, summed
	OverlapA  float64 // quality-weighted minutiae of the probe on common ground
	OverlapB  float64
	Local     float64 // mean cylinder similarity of the matched pairs
	TopLocal  float64 // mean of the best cylinder similarities, pose or not
	Spread    float64 // mean error of the matched pairs, 0 none .. 1 at the tolerance
	Relax     float64
	Area      float64 // common patches
	Direction float64 // mean agreement of ridge directions there, -1..1
	Phase     float64 // agreement of ridge phase
	Pose      pose
}

// compare finds the best common pose and what agrees at it.
func (m *Matcher) compare(a, b *view) Evidence {
	var e Evidence
	m.localPairs(a, b)
	if len(m.pairs) == 0 {
		return e
	}
	k := min(len(m.pairs), 8)
	for _, p := range m.pairs[:k] {
		e.TopLocal += p.sim
	}
	e.TopLocal /= 8
	m.relax(a, b)
	e.Relax = m.pairs[0].sum
	bestScore := -1.0
	for _, p := range m.pairs[:min(len(m.pairs), hypotheses)] {
		pa, pb := &a.pts[p.a], &b.pts[p.b]
		var h pose
		h.cos, h.sin = pb.cos*pa.cos+pb.sin*pa.sin, pb.sin*pa.cos-pb.cos*pa.sin
		x, y := h.apply(pa.x, pa.y)
		h.x, h.y = pb.x-x, pb.y-y
		for range 3 {
			m.count(a, b, &h)
			if len(m.matched) < 2 || !m.refit(a, b, &h) {
				break
			}
		}
		if s := m.count(a, b, &h); s > bestScore {
			bestScore = s
			e.Pose = h
		}
	}
	m.count(a, b, &e.Pose)
	m.measure(a, b, &e)
	return e
}

// localPairs finds the pairs of minutiae whose neighbourhoods look alike.
func (m *Matcher) localPairs(a, b *view) {
	m.pairs = m.pairs[:0]
	for i := range a.cyl {
		ca := &a.cyl[i]
		if !ca.ok {
			continue
		}
		var b1, b2 pair
		for j := range b.cyl {
			cb := &b.cyl[j]
			if !cb.ok || turnDiff(a.pts[i].angle, b.pts[j].angle) > 64 {
				continue
			}
			s := float64(ca.similarity(cb))
			if s > b1.sim {
				b1, b2 = pair{a: i, b: j, sim: s}, b1
			} else if s > b2.sim {
				b2 = pair{a: i, b: j, sim: s}
			}
		}
		if b1.sim > 0 {
			m.pairs = append(m.pairs, b1)
		}
		if b2.sim > 0 {
			m.pairs = append(m.pairs, b2)
		}
	}
	slices.SortFunc(m.pairs, func(x, y pair) int { return cmp.Compare(y.sim, x.sim) })
	if len(m.pairs) > topPairs {
		m.pairs = m.pairs[:topPairs]
	}
}

// relax adds up, for every pair, the pairs that it is consistent with.
func (m *Matcher) relax(a, b *view) {
	for i := range m.pairs {
		p := &m.pairs[i]
		p.sum = p.sim
		for j := range m.pairs {
			q := &m.pairs[j]
			if i == j || p.a == q.a || p.b == q.b {
				continue
			}
			p.sum += q.sim * consistent(&a.pts[p.a], &a.pts[q.a], &b.pts[p.b], &b.pts[q.b])
		}
	}
	slices.SortFunc(m.pairs, func(x, y pair) int { return cmp.Compare(y.sum, x.sum) })
}

func consistent(a1, a2, b1, b2 *point) float64 {
	ax, ay := a2.x-a1.x, a2.y-a1.y
	bx, by := b2.x-b1.x, b2.y-b1.y
	da, db := math.Sqrt(ax*ax+ay*ay), math.Sqrt(bx*bx+by*by)
	d := math.Abs(da - db)
	tol := 6 + 0.08*da
	if d > tol {
		return 0
	}
	// The second minutia seen from the first, in the first's frame.
	pax, pay := ax*a1.cos+ay*a1.sin, -ax*a1.sin+ay*a1.cos
	pbx, pby := bx*b1.cos+by*b1.sin, -bx*b1.sin+by*b1.cos
	n := da*db + 1
	radial := (pax*pbx + pay*pby) / n
	if radial < 0.90 {
		return 0
	}
	turned := turnDiff(a2.angle-a1.angle, b2.angle-b1.angle)
	if turned > 22 {
		return 0
	}
	return (1 - d/tol) * (1 - float64(turned)/22) * (radial - 0.90) / 0.10
}

// count pairs up the minutiae that coincide at a pose.
func (m *Matcher) count(a, b *view, h *pose) float64 {
	if cap(m.used) < len(b.pts) {
		m.used = make([]bool, max(len(b.pts), 2*maxMinutiae))
	}
	m.used = m.used[:len(b.pts)]
	clear(m.used)
	m.matched = m.matched[:0]
	rot := uint8(int(math.Round(math.Atan2(h.sin, h.cos)/(2*math.Pi)*256)) & 255)
	var sum float64
	for i := range a.pts {
		pa := &a.pts[i]
		x, y := h.apply(pa.x, pa.y)
		best, bj := 1.0, -1
		for j := range b.pts {
			pb := &b.pts[j]
			dx, dy := pb.x-x, pb.y-y
			d := dx*dx + dy*dy
			if d > matchDistance*matchDistance || m.used[j] {
				continue
			}
			t := float64(turnDiff(pa.angle+rot, pb.angle))
			if t > 17 {
				continue
			}
			c := d/(matchDistance*matchDistance)*0.6 + t*t/(17*17)*0.4
			if c < best {
				best, bj = c, j
			}
		}
		if bj >= 0 {
			m.used[bj] = true
			m.matched = append(m.matched, pair{a: i, b: bj, sim: best})
			sum += (1 - best) * (pa.q + b.pts[bj].q + 0.2)
		}
	}
	return sum
}

// refit is the least-squares rigid pose of the matched pairs.
func (m *Matcher) refit(a, b *view, h *pose) bool {
	var ax, ay, bx, by, n float64
	for _, p := range m.matched {
		w := 1.2 - p.sim
		ax += w * a.pts[p.a].x
		ay += w * a.pts[p.a].y
		bx += w * b.pts[p.b].x
		by += w * b.pts[p.b].y
		n += w
	}
	ax, ay, bx, by = ax/n, ay/n, bx/n, by/n
	var c, s float64
	for _, p := range m.matched {
		w := 1.2 - p.sim
		x, y := a.pts[p.a].x-ax, a.pts[p.a].y-ay
		u, v := b.pts[p.b].x-bx, b.pts[p.b].y-by
		c += w * (x*u + y*v)
		s += w * (x*v - y*u)
		// Directions turn too: as if each minutia had an arm of 20 px.
		pa, pb := &a.pts[p.a], &b.pts[p.b]
		c += w * 400 * (pb.cos*pa.cos + pb.sin*pa.sin)
		s += w * 400 * (pb.sin*pa.cos - pb.cos*pa.sin)
	}
	r := math.Hypot(c, s)
	if r == 0 {
		return false
	}
	h.cos, h.sin = c/r, s/r
	h.x, h.y = 0, 0
	x, y := h.apply(ax, ay)
	h.x, h.y = bx-x, by-y
	return true
}

// measure fills the evidence at the pose found.
func (m *Matcher) measure(a, b *view, e *Evidence) {
	e.Matched = len(m.matched)
	for _, p := range m.matched {
		e.Weight += math.Sqrt(a.pts[p.a].q * b.pts[p.b].q)
		e.Spread += p.sim
		e.Local += float64(a.cyl[p.a].similarity(&b.cyl[p.b]))
	}
	if e.Matched > 0 {
		e.Spread /= float64(e.Matched)
		e.Local /= float64(e.Matched)
	}
	for i := range a.pts {
		x, y := e.Pose.apply(a.pts[i].x, a.pts[i].y)
		if b.t.Ridges.covers(x, y) {
			e.OverlapA += a.pts[i].q
		}
	}
	h := &e.Pose
	for j := range b.pts {
		x, y := b.pts[j].x-h.x, b.pts[j].y-h.y
		if a.t.Ridges.covers(h.cos*x+h.sin*y, -h.sin*x+h.cos*y) {
			e.OverlapB += b.pts[j].q
		}
	}
}

// Score is a first, hand-made one.
func (e *Evidence) Score() float64 {
	if e.Matched == 0 {
		return 0
	}
	return e.Weight * e.Weight / (1 + math.Sqrt(e.OverlapA*e.OverlapB)) * (1 - e.Spread) * e.Local
}
