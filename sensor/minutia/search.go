package minutia

import (
	"cmp"
	"math"
	"slices"
)

// Search compares a probe with many fingers and returns the one that scores
// best, with its score; -1 of none. Two stages at a fraction of a comparison's
// cost choose whom to compare: all are ranked by how alike the neighbourhoods of
// the clearest minutiae are, the best share of them again by how consistent
// these are with one another, and the best share of those is compared. Records
// of minutiae alone say too little for that and are all compared.
//
// More fingers are more chances to be mistaken for one of them: the false match
// rate of the result is up to len(gallery) times [FMR].
func (m *Matcher) Search(probe *Prepared, gallery []*Prepared) (best int, score float64) {
	m.ranked = m.ranked[:0]
	for i, g := range gallery {
		m.ranked = append(m.ranked, ranked{i, mostAlike(probe, g, m.coarse)})
	}
	m.ranked = leading(m.ranked, searchRelaxed, searchRelaxedFewest)
	for i := range m.ranked {
		r := &m.ranked[i]
		r.alike = mostAlike(probe, gallery[r.at], m.finer)
	}
	m.ranked = leading(m.ranked, searchCompared*float64(len(gallery))/float64(max(len(m.ranked), 1)), searchComparedFewest)
	best, score = -1, NoScore
	for _, r := range m.ranked {
		if s := m.Match(probe, gallery[r.at]); best < 0 || s > score || s == score && r.at < best {
			best, score = r.at, s
		}
	}
	return best, score
}

// ranked is a finger of a gallery after a stage.
type ranked struct {
	at    int
	alike float64
}

// leading is the best share of a ranking, but the fewest at least, and all that
// a stage could not rank.
func leading(r []ranked, share float64, fewest int) []ranked {
	slices.SortFunc(r, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(y.alike, x.alike), cmp.Compare(x.at, y.at))
	})
	unranked := 0
	for unranked < len(r) && math.IsInf(r[unranked].alike, 1) {
		unranked++
	}
	return r[:min(len(r), unranked+max(fewest, int(share*float64(len(r)))))]
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

// coarse is how alike the neighbourhoods of the clearest minutiae are: the sum
// over the best few pairs.
func (m *Matcher) coarse(a, b *view) float32 {
	m.localPairs(a, b, coarseMinutiae)
	var s float32
	for _, p := range m.pairs[:min(m.n, fewPairs)] {
		s += p.similarity
	}
	return s
}

// finer is how alike they are after relaxation.
func (m *Matcher) finer(a, b *view) float32 {
	m.localPairs(a, b, localMinutiae)
	m.relax(a, b)
	return m.meanRelaxed()
}
