package minutia

import "math"

// Matcher has the memory that a comparison needs. One goroutine at a time.
type Matcher struct {
	found   [64]candidate // localMinutiae at most
	pairs   [topPairs]pair
	n       int         // of pairs
	support []bond      // between pairs that are consistent, by the first, then the second
	used    [256]uint16 // when a candidate's minutia was last taken
	round   uint16
	matched []match
	best    []match
	ranked  []ranked // of a search
	sought  []sought
}

// pair is two minutiae whose neighbourhoods look alike.
type pair struct {
	a, b       uint8
	turn       uint8 // from the one to the other
	similarity float32
	relaxed    float32
}

// bond is how consistent two pairs are, 0..1.
type bond struct {
	i, j uint8
	s    float32
}

// match is a pair of minutiae that coincide at a pose.
type match struct {
	a, b   uint8
	cost   float32 // 0 exactly .. 1 at the tolerance
	x, y   float32 // of the probe's
	dx, dy float32 // where the candidate's is, from where the pose puts the probe's
}

// Match is the score of two fingers, see [Evidence.Score] and [FMR]: of several
// impressions, the best.
func (m *Matcher) Match(a, b *Prepared) float64 {
	best := NoScore
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

// compare finds the best common pose and what agrees at it.
func (m *Matcher) compare(a, b *view) Evidence {
	var e Evidence
	m.best = m.best[:0]
	m.localPairs(a, b, localMinutiae)
	if m.n == 0 {
		return e
	}
	m.relax(a, b)
	e.Relaxed = m.meanRelaxed()
	if e.Relaxed < hopelessRelaxed && a.area >= hopelessArea && b.area >= hopelessArea {
		return e // of large prints of one finger, more must agree
	}
	m.align(a, b, &e.Pose)
	m.warp(a, b, &e.Pose)
	m.measure(a, b, &e)
	m.compareWaves(a, b, &e)
	return e
}

// localPairs finds the pairs of minutiae whose neighbourhoods are most alike:
// for every one of the probe the two best, and of these the best of all. Only the
// first most of each are looked at: the first minutiae of a template are its
// clearest.
func (m *Matcher) localPairs(a, b *view, most int) {
	m.n = 0
	bare := a.waves.bare || b.waves.bare
	of := b.first(most)
	for i, fa := range a.first(most) {
		code := &a.cylinders[i]
		var first, second pair
		for _, c := range m.candidates(&fa, of, bare) {
			s := code.similarity(&b.cylinders[c.at])
			if !bare {
				s = (1-flowWeight)*s + flowWeight*(1-float32(2*int(c.different))/float32(c.shared))
			}
			if s > first.similarity {
				first, second = pair{a: fa.at, b: b.flows[c.at].at, similarity: s}, first
			} else if s > second.similarity {
				second = pair{a: fa.at, b: b.flows[c.at].at, similarity: s}
			}
		}
		m.keep(first)
		m.keep(second)
	}
}

// candidate is a neighbourhood whose ridges run as those of another do.
type candidate struct{ at, different, shared uint8 }

// candidates are those of a finger's neighbourhoods that are worth a look at their
// minutiae: turned by little and, unless a record is bare, with the ridges running
// alike. Which these are cannot be guessed, so nothing branches on it.
func (m *Matcher) candidates(fa *flow, of []flow, bare bool) []candidate {
	n := uint32(0)
	for j := range of {
		fb := &of[j]
		d, shared := fa.different(fb)
		m.found[n%uint32(len(m.found))] = candidate{uint8(j), uint8(d), uint8(shared)}
		// Each negative where it holds.
		turned := int32(uint8(fa.angle-fb.angle+maxTurn)) - (2*maxTurn + 1)
		alike, enough := int32(d*flowLimit-shared), int32(flowMinShared*4-1-shared)
		if bare {
			alike, enough = -1, -1
		}
		n += uint32(turned&alike&enough) >> 31
	}
	return m.found[:n]
}

// keep inserts a pair, best first, and drops the worst when there are too many.
func (m *Matcher) keep(p pair) {
	if p.similarity <= 0 {
		return
	}
	i := m.n
	if i == topPairs {
		if p.similarity <= m.pairs[i-1].similarity {
			return
		}
		i--
	} else {
		m.n++
	}
	for ; i > 0 && m.pairs[i-1].similarity < p.similarity; i-- {
		m.pairs[i] = m.pairs[i-1]
	}
	m.pairs[i] = p
}

// meanRelaxed is over the pairs that were most alike before relaxation.
func (m *Matcher) meanRelaxed() float32 {
	var s float32
	for _, p := range m.pairs[:min(m.n, fewPairs)] {
		s += p.relaxed
	}
	return s / fewPairs
}

// relax is the local similarity sort with relaxation of Cappelli, Ferrara and
// Maltoni (2010), after Feng (2008): a pair is worth what the pairs that are
// consistent with it are worth.
func (m *Matcher) relax(a, b *view) {
	n := m.n
	for i := range n {
		p := &m.pairs[i]
		p.relaxed = p.similarity
		p.turn = b.points[p.b].angle - a.points[p.a].angle
	}
	m.support = m.support[:0]
	for i := range n {
		p := m.pairs[i]
		a1, b1 := &a.points[p.a], &b.points[p.b]
		for j := i + 1; j < n; j++ {
			q := &m.pairs[j]
			turned := turnDiff(p.turn, q.turn)
			if turned > consistentTurn || p.a == q.a || p.b == q.b {
				continue
			}
			if s := consistent(a1, &a.points[q.a], b1, &b.points[q.b], turned); s > 0 {
				m.support = append(m.support, bond{uint8(i), uint8(j), s})
			}
		}
	}
	for range relaxRounds {
		var sum [topPairs]float32
		for _, k := range m.support {
			sum[k.i] += k.s * m.pairs[k.j].relaxed
			sum[k.j] += k.s * m.pairs[k.i].relaxed
		}
		for i := range n {
			m.pairs[i].relaxed = relaxKeep*m.pairs[i].relaxed + relaxGain*sum[i]
		}
	}
}

// consistent tells how well two pairs of minutiae agree, 0..1: the distance of
// the two, the place of the second seen from the first, their directions, which
// are turned by so many 256ths against one another.
func consistent(a1, a2, b1, b2 *point, turned int) float32 {
	ax, ay := a2.x-a1.x, a2.y-a1.y
	bx, by := b2.x-b1.x, b2.y-b1.y
	da := float32(math.Sqrt(float64(ax*ax + ay*ay)))
	db := float32(math.Sqrt(float64(bx*bx + by*by)))
	d := da - db
	if d < 0 {
		d = -d
	}
	limit := consistentNear + consistentFar*da
	if d > limit {
		return 0
	}
	// The second minutia seen from the first, in the first's frame.
	pax, pay := ax*a1.cos+ay*a1.sin, -ax*a1.sin+ay*a1.cos
	pbx, pby := bx*b1.cos+by*b1.sin, -bx*b1.sin+by*b1.cos
	radial := (pax*pbx + pay*pby) / (da*db + 1)
	// And the first from the second.
	qax, qay := ax*a2.cos+ay*a2.sin, -ax*a2.sin+ay*a2.cos
	qbx, qby := bx*b2.cos+by*b2.sin, -bx*b2.sin+by*b2.cos
	if r := (qax*qbx + qay*qby) / (da*db + 1); r < radial {
		radial = r
	}
	if radial < consistentRadial {
		return 0
	}
	return (1 - d/limit) * (1 - float32(turned)/consistentTurn) * (radial - consistentRadial) / (1 - consistentRadial)
}

// align tries the poses that the best pairs and those consistent with them
// suggest, and keeps the one at which most minutiae coincide.
func (m *Matcher) align(a, b *view, out *pose) {
	var tried uint64 // pairs that a pose already tried brings together
	best := float32(-1)
	for range hypotheses {
		k := -1
		for i := range m.n {
			if tried>>i&1 == 0 && (k < 0 || m.pairs[i].relaxed > m.pairs[k].relaxed) {
				k = i
			}
		}
		if k < 0 {
			break
		}
		tried |= 1 << k
		var h pose
		m.suggest(a, b, k, &h)
		for range refits {
			m.count(a, b, &h)
			if len(m.matched) < 2 || !m.refit(a, b, &h) {
				break
			}
		}
		s := m.count(a, b, &h)
		for i := range m.n {
			if pa := &a.points[m.pairs[i].a]; tried>>i&1 == 0 {
				pb := &b.points[m.pairs[i].b]
				x, y := h.apply(pa.x, pa.y)
				if sq32(x-pb.x)+sq32(y-pb.y) < matchDistance*matchDistance {
					tried |= 1 << i
				}
			}
		}
		if s > best {
			best = s
			*out = h
			m.best = append(m.best[:0], m.matched...)
		}
	}
}

// suggest is the pose of a pair and all that is consistent with it.
func (m *Matcher) suggest(a, b *view, k int, h *pose) {
	m.matched = m.matched[:0]
	p := &m.pairs[k]
	m.matched = append(m.matched, match{a: p.a, b: p.b})
	for _, o := range m.support {
		j := int(o.i)
		if j == k {
			j = int(o.j)
		} else if int(o.j) != k {
			continue
		}
		if o.s > suggestSupport {
			m.matched = append(m.matched, match{a: m.pairs[j].a, b: m.pairs[j].b, cost: 1 - o.s})
		}
	}
	m.refit(a, b, h)
}

// count pairs up the minutiae that coincide at a pose.
func (m *Matcher) count(a, b *view, h *pose) float32 {
	m.nextRound()
	m.matched = m.matched[:0]
	rot := h.turned()
	var sum float32
	for i := range a.points {
		pa := &a.points[i]
		x, y := h.apply(pa.x, pa.y)
		j, cost, dx, dy := m.nearest(b, x, y, pa.angle+rot, matchDistance)
		if j >= 0 {
			m.used[j] = m.round
			m.matched = append(m.matched, match{uint8(i), uint8(j), cost, pa.x, pa.y, dx, dy})
			sum += (1 - cost) * (pa.quality + b.points[j].quality + 0.2)
		}
	}
	return sum
}

// nextRound makes every minutia of the candidate free again.
func (m *Matcher) nextRound() {
	m.round++
	if m.round == 0 {
		clear(m.used[:])
		m.round = 1
	}
}

// nearest is the candidate's free minutia that fits a place and an angle best.
func (m *Matcher) nearest(b *view, x, y float32, angle uint8, radius float32) (best int, cost, dx, dy float32) {
	best, cost = -1, 1
	if x < -radius || y < -radius {
		return
	}
	x0, x1 := max(int(x-radius), 0)/binSize, min(int(x+radius)/binSize, b.bins.w-1)
	y0, y1 := max(int(y-radius), 0)/binSize, min(int(y+radius)/binSize, b.bins.h-1)
	if x0 > x1 {
		return
	}
	for by := y0; by <= y1; by++ {
		from, to := b.bins.first[by*b.bins.w+x0], b.bins.first[by*b.bins.w+x1+1]
		for _, j := range b.bins.order[from:to] {
			pb := &b.points[j]
			ex, ey := pb.x-x, pb.y-y
			d := ex*ex + ey*ey
			if d > radius*radius || m.used[j] == m.round {
				continue
			}
			t := turnDiff(angle, pb.angle)
			if t > matchTurn {
				continue
			}
			c := d*((1-matchTurnShare)/(radius*radius)) + float32(t*t)*(matchTurnShare/(matchTurn*matchTurn))
			if c < cost {
				best, cost, dx, dy = int(j), c, ex, ey
			}
		}
	}
	return
}

// refit is the least-squares rigid pose of the matched minutiae.
func (m *Matcher) refit(a, b *view, h *pose) bool {
	var ax, ay, bx, by, n float32
	for i := range m.matched {
		p := &m.matched[i]
		w := refitWorst - p.cost
		pa, pb := &a.points[p.a], &b.points[p.b]
		ax += w * pa.x
		ay += w * pa.y
		bx += w * pb.x
		by += w * pb.y
		n += w
	}
	ax, ay, bx, by = ax/n, ay/n, bx/n, by/n
	var c, s float32
	for i := range m.matched {
		p := &m.matched[i]
		w := refitWorst - p.cost
		pa, pb := &a.points[p.a], &b.points[p.b]
		x, y, u, v := pa.x-ax, pa.y-ay, pb.x-bx, pb.y-by
		c += w * (x*u + y*v)
		s += w * (x*v - y*u)
		// Directions turn too: as if each minutia had an arm.
		c += w * refitArm * refitArm * (pb.cos*pa.cos + pb.sin*pa.sin)
		s += w * refitArm * refitArm * (pb.sin*pa.cos - pb.cos*pa.sin)
	}
	r := float32(math.Sqrt(float64(c*c + s*s)))
	if r == 0 {
		return false
	}
	h.cos, h.sin, h.x, h.y = c/r, s/r, 0, 0
	x, y := h.apply(ax, ay)
	h.x, h.y = bx-x, by-y
	return true
}

func sq32(v float32) float32 { return v * v }
