package minutia

import (
	"cmp"
	"math"
	"slices"
)

// Gallery is fingers to search among. It is read only and may be shared.
//
// The first stage looks at everybody: what it needs of them lies in one row, so
// that memory is read in order and not finger by finger from where each happens to
// be. Of 100,000 fingers that is 210 MB of 2 GB.
type Gallery struct {
	fingers []*Prepared
	fronts  []front // of the fingers' impressions, one after the other
	from    []int   // where each finger's begin, and the end
}

// front is what the first stage looks at of an impression: the neighbourhoods of
// its clearest minutiae.
type front struct {
	n         int
	bare      bool // of an imported record
	flows     [searchMinutiae]flow
	cylinders [searchMinutiae]cylinder
}

// NewGallery lays fingers out for searches.
func NewGallery(fingers []*Prepared) *Gallery {
	g := &Gallery{fingers: fingers, from: make([]int, 1, len(fingers)+1)}
	n := 0
	for _, p := range fingers {
		n += len(p.views)
		g.from = append(g.from, n)
	}
	g.fronts = make([]front, n)
	for i, p := range fingers {
		for j := range p.views {
			v, f := &p.views[j], &g.fronts[g.from[i]+j]
			f.bare, f.n = v.waves.bare, copy(f.flows[:], v.first(searchMinutiae))
			copy(f.cylinders[:f.n], v.cylinders)
		}
	}
	return g
}

// Wipe overwrites it, but for the fingers, which are the caller's.
func (g *Gallery) Wipe() {
	clear(g.fronts)
	*g = Gallery{}
}

// Search compares a probe with many fingers and returns the one that scores
// best, with its score; -1 of none. Two stages at a fraction of a comparison's
// cost choose whom to compare: all are ranked by how alike the ridges around the
// clearest minutiae run, the best of them again by how consistent these are with
// one another as well, and the best of those are compared. A gallery of 5,000 is all
// compared, and so are records of minutiae alone, which say too little to be ranked.
//
// More fingers are more chances to be mistaken for one of them: the false match
// rate of the result is up to as many times [FMR] as there are fingers.
func (m *Matcher) Search(probe *Prepared, g *Gallery) (best int, score float64) {
	m.rank(probe, g)
	m.rankAgain(probe, g)
	best, score = -1, NoScore
	for _, r := range m.ranked {
		if s := m.Match(probe, g.fingers[r.at]); best < 0 || s > score || s == score && r.at < best {
			best, score = r.at, s
		}
	}
	return best, score
}

// Kept tells whether a search would still have one of the gallery among those that
// the first stage and the second leave.
func (m *Matcher) Kept(probe *Prepared, g *Gallery, at int) (first, second bool) {
	among := func() bool { return slices.ContainsFunc(m.ranked, func(r ranked) bool { return r.at == at }) }
	m.rank(probe, g)
	first = among()
	m.rankAgain(probe, g)
	return first, among()
}

// rank is the first stage.
func (m *Matcher) rank(probe *Prepared, g *Gallery) {
	most := most(len(g.fingers), searchRelaxed, searchRelaxedFewest)
	if most == len(g.fingers) {
		m.ranked = m.ranked[:0]
		for i := range g.fingers {
			m.ranked = append(m.ranked, ranked{at: i})
		}
		return
	}
	m.sought = m.sought[:0]
	for i := range probe.views {
		m.sought = append(m.sought, seek(&probe.views[i]))
	}
	m.ranked = shortlist(m.ranked[:0], len(g.fingers), most, func(i int) float64 { return m.coarse(g.fronts[g.from[i]:g.from[i+1]]) })
	clear(m.sought)
}

// rankAgain is the second.
func (m *Matcher) rankAgain(probe *Prepared, g *Gallery) {
	most := most(len(g.fingers), searchCompared, searchComparedFewest)
	if len(m.ranked) <= most {
		return
	}
	for i := range m.ranked {
		r := &m.ranked[i]
		r.alike = coarseWeight*r.alike + m.finer(probe, g.fingers[r.at])
	}
	m.ranked = leading(m.ranked, most)
}

// most is how many of a gallery a stage leaves.
func most(of int, share float64, fewest int) int {
	if of <= searchWhole {
		return of
	}
	return max(int(share*float64(of)), fewest)
}

// ranked is a finger of a gallery after a stage.
type ranked struct {
	at    int
	alike float64
}

// shortlist is the leading of n, of which few are ever sorted.
func shortlist(list []ranked, n, most int, alike func(i int) float64) []ranked {
	floor, full := math.Inf(-1), 2*most
	for i := range n {
		a := alike(i)
		if a < floor {
			continue
		}
		list = append(list, ranked{i, a})
		if all := len(list); all >= full {
			if list = leading(list, most); len(list) < all {
				floor = list[len(list)-1].alike
			}
			full = len(list) + most
		}
	}
	return leading(list, most)
}

// leading is the best of a ranking, and all that a stage could not rank.
func leading(r []ranked, most int) []ranked {
	slices.SortFunc(r, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(y.alike, x.alike), cmp.Compare(x.at, y.at))
	})
	unranked := 0
	for unranked < len(r) && math.IsInf(r[unranked].alike, 1) {
		unranked++
	}
	return r[:min(len(r), unranked+most)]
}

// sought is an impression of the probe as the first stage looks for it.
type sought struct {
	bare      bool
	n         int
	flows     [2 * searchMinutiae]flow // by angle, all n of them twice: the circle goes on
	cylinders [searchMinutiae]cylinder
	turned    [256]window // the flows that a minutia of such an angle is turned to by little
}

type window struct{ from, to uint8 }

func seek(v *view) sought {
	s := sought{bare: v.waves.bare}
	first := v.first(searchMinutiae)
	byAngle := make([]int, len(first))
	for i := range byAngle {
		byAngle[i] = i
	}
	slices.SortStableFunc(byAngle, func(i, j int) int { return cmp.Compare(first[i].angle, first[j].angle) })
	s.n = len(first)
	for k, i := range byAngle {
		s.flows[k], s.flows[k+s.n] = first[i], first[i]
		s.cylinders[k] = v.cylinders[i]
	}
	near := func(k, angle int) bool { return turnDiff(s.flows[k].angle, uint8(angle)) <= maxTurn }
	for angle := range s.turned {
		w := &s.turned[angle]
		for int(w.from) < s.n && near(int(w.from), angle) { // in the middle of them, or all are
			w.from++
		}
		if int(w.from) == s.n {
			w.from, w.to = 0, uint8(s.n)
			continue
		}
		for int(w.from) < s.n && !near(int(w.from), angle) {
			w.from++
		}
		for w.to = w.from; int(w.to) < 2*s.n && near(int(w.to), angle); {
			w.to++
		}
	}
	return s
}

// coarse is how alike the ridges around the clearest minutiae run, of the best of two
// fingers' impressions, infinite where one is bare: for each of the probe's, the log
// odds by the bits of the flow most like its own that both are the same place, and
// how alike the cylinders there are. A few good places say more than many fair ones,
// hence the fourth power.
func (m *Matcher) coarse(of []front) float64 {
	var most float32
	for i := range m.sought {
		s := &m.sought[i]
		for j := range of {
			f := &of[j]
			if s.bare || f.bare {
				return math.Inf(1)
			}
			odds := s.odds(f)
			var sum float32
			for k := range s.n {
				best := max(odds[k], odds[k+s.n])
				if best <= 0xff {
					continue
				}
				a := float32(best>>8)/coarseDiffers + coarseCylinder*s.cylinders[k].similarity(&f.cylinders[best&0xff])
				sum += a * a * a * a
			}
			most = max(most, sum)
		}
	}
	return math.Sqrt(math.Sqrt(float64(most)))
}

// odds are, for each flow sought, the best log odds that one of another finger's is
// of the same place, and in the lowest eight bits which; nothing where they are not
// positive. Nearly all of a search's time goes by here: nothing branches on what
// cannot be guessed.
func (s *sought) odds(f *front) (best [2 * searchMinutiae]int32) {
	for j := range f.flows[:f.n] {
		o := &f.flows[j]
		w := s.turned[o.angle]
		flows := s.flows[w.from:w.to]
		best := best[w.from:w.to][:len(flows)]
		for k := range flows {
			d, shared := flows[k].different(o)
			best[k] = max(best[k], int32(shared-coarseDiffers*d)<<8|int32(j))
		}
	}
	return best
}

// finer is how alike the neighbourhoods of two fingers are after relaxation, of the
// best of their impressions, infinite where one is bare.
func (m *Matcher) finer(a, b *Prepared) float64 {
	var most float32
	for i := range a.views {
		for j := range b.views {
			v, w := &a.views[i], &b.views[j]
			if v.waves.bare || w.waves.bare {
				return math.Inf(1)
			}
			m.localPairs(v, w, searchMinutiae)
			m.relax(v, w)
			most = max(most, m.meanRelaxed())
		}
	}
	return float64(most)
}
