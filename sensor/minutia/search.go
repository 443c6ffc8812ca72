package minutia

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// Search compares a probe with many fingers and returns the one that scores
// best, with its score; -1 of none. Two stages at a fraction of a comparison's
// cost choose whom to compare: all are ranked by how alike the ridges around the
// clearest minutiae run, the best share of them again by how consistent these
// are with one another as well, and the best share of those is compared. Records
// of minutiae alone say too little for that and are all compared.
//
// More fingers are more chances to be mistaken for one of them: the false match
// rate of the result is up to len(gallery) times [FMR].
func (m *Matcher) Search(probe *Prepared, gallery []*Prepared) (best int, score float64) {
	m.rank(probe, gallery)
	m.rankAgain(probe, gallery)
	best, score = -1, NoScore
	for _, r := range m.ranked {
		if s := m.Match(probe, gallery[r.at]); best < 0 || s > score || s == score && r.at < best {
			best, score = r.at, s
		}
	}
	return best, score
}

// Kept tells whether a search would still have one of the gallery among those that
// the first stage and the second leave.
func (m *Matcher) Kept(probe *Prepared, gallery []*Prepared, at int) (first, second bool) {
	among := func() bool { return slices.ContainsFunc(m.ranked, func(r ranked) bool { return r.at == at }) }
	m.rank(probe, gallery)
	first = among()
	m.rankAgain(probe, gallery)
	return first, among()
}

// rank is the first stage.
func (m *Matcher) rank(probe *Prepared, gallery []*Prepared) {
	most := max(int(searchRelaxed*float64(len(gallery))), searchRelaxedFewest)
	m.ranked = shortlist(m.ranked[:0], len(gallery), most, func(i int) float64 { return mostAlike(probe, gallery[i], m.coarse) })
}

// rankAgain is the second.
func (m *Matcher) rankAgain(probe *Prepared, gallery []*Prepared) {
	for i := range m.ranked {
		r := &m.ranked[i]
		r.alike = coarseWeight*r.alike + mostAlike(probe, gallery[r.at], m.finer)
	}
	m.ranked = leading(m.ranked, max(int(searchCompared*float64(len(gallery))), searchComparedFewest))
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

// mostAlike is a stage's word on two fingers: on the best of their impressions,
// infinite where one is bare.
func mostAlike(a, b *Prepared, stage func(a, b *view) float32) float64 {
	most := 0.0
	for i := range a.views {
		for j := range b.views {
			if a.views[i].waves.bare || b.views[j].waves.bare {
				return math.Inf(1)
			}
			most = max(most, float64(stage(&a.views[i], &b.views[j])))
		}
	}
	return most
}

// coarse is how alike the ridges around the clearest minutiae run: for each of the
// probe's, the log odds by the bits of the flow most like its own that both are the
// same place, and how alike the cylinders there are. A few good places say more than
// many fair ones, hence the fourth power.
func (m *Matcher) coarse(a, b *view) float32 {
	of := b.first(searchMinutiae)
	var sum float32
	for i := range a.first(searchMinutiae) {
		odds, j := a.flows[i].likest(of)
		if odds == 0 {
			continue
		}
		s := float32(odds)/coarseDiffers + coarseCylinder*a.cylinders[i].similarity(&b.cylinders[j])
		sum += s * s * s * s
	}
	return float32(math.Sqrt(math.Sqrt(float64(sum))))
}

// likest is the flow that another finger's minutia most likely has in common, and
// the odds, 0 of none. Nearly all of a search's time goes by here: nothing branches
// on what cannot be guessed.
func (f *flow) likest(of []flow) (odds, at int) {
	best := 0 // which is in the lowest bits
	for j := range of {
		o := &of[j]
		d, shared := f.different(o)
		turned := int(uint8(f.angle - o.angle + maxTurn))
		odds := (shared - coarseDiffers*d) &^ ((2*maxTurn - turned) >> (bits.UintSize - 1))
		best = max(best, odds<<8|j)
	}
	return best >> 8, best & 0xff
}

// finer is how alike the neighbourhoods are after relaxation.
func (m *Matcher) finer(a, b *view) float32 {
	m.localPairs(a, b, searchMinutiae)
	m.relax(a, b)
	return m.meanRelaxed()
}
