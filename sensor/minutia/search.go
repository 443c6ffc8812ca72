package minutia

import "slices"

// Search compares a probe with many fingers and returns the one that scores
// best, with its score; -1 of none. A first stage at a fraction of a
// comparison's cost ranks all, and the best share of them is compared.
//
// More fingers are more chances to be mistaken for one of them: the false match
// rate of the result is up to len(gallery) times [FMR].
func (m *Matcher) Search(probe *Prepared, gallery []*Prepared) (best int, score float64) {
	m.ranked = m.ranked[:0]
	for i, g := range gallery {
		c := float32(0)
		for a := range probe.views {
			for b := range g.views {
				c = max(c, m.coarse(&probe.views[a], &g.views[b]))
			}
		}
		m.ranked = append(m.ranked, ranked{i, c})
	}
	slices.SortFunc(m.ranked, func(x, y ranked) int {
		if x.coarse != y.coarse {
			if x.coarse > y.coarse {
				return -1
			}
			return 1
		}
		return x.at - y.at
	})
	best, score = -1, NoScore
	for _, r := range m.ranked[:min(len(m.ranked), max(searchFewest, int(searchShare*float64(len(m.ranked)))))] {
		if s := m.Match(probe, gallery[r.at]); best < 0 || s > score {
			best, score = r.at, s
		}
	}
	return best, score
}

// ranked is a finger of a gallery after the first stage.
type ranked struct {
	at     int
	coarse float32
}

// coarse is how alike the ridges run around the clearest minutiae: the mean of
// the likenesses of the best few pairs. Records without ridges are all alike.
func (m *Matcher) coarse(a, b *view) float32 {
	fb := b.descriptors[:min(len(b.descriptors), coarseMinutiae)]
	var top [coarsePairs]int
	for i := range a.descriptors[:min(len(a.descriptors), coarseMinutiae)] {
		fa := &a.descriptors[i]
		best := 0
		for j := range fb {
			if turnDiff(fa.angle, fb[j].angle) > maxTurn {
				continue
			}
			// Bits that agree beyond chance, so that much common ground counts.
			if d, n := fa.flow.different(&fb[j].flow); n-2*d > best {
				best = n - 2*d
			}
		}
		for k := range top {
			if best > top[k] {
				best, top[k] = top[k], best
			}
		}
	}
	sum := 0
	for _, s := range top {
		sum += s
	}
	return float32(sum) / coarsePairs
}
