package minutia

import (
	"math"
	"slices"
)

// Term is one of the numbers that a score is a weighted sum of.
type Term int

// The terms, in the order of [Evidence.Terms].
const (
	TermPaired   Term = iota // share of the common minutiae that coincide and move with their neighbours
	TermRelaxed              // log of the best likeness of neighbourhoods after relaxation
	TermPhase                // ridge phase against that of the next patch
	TermEvidence             // the same, by how much of it there is
	Terms
)

// Terms are the evidence in the form that adds up.
func (e *Evidence) Terms() (t [Terms]float64) {
	t[TermPaired] = math.Sqrt(float64(e.Smooth) / (1 + math.Sqrt(float64(e.OverlapA*e.OverlapB))))
	t[TermRelaxed] = math.Log(float64(e.Relaxed) + relaxedFloor)
	t[TermPhase] = float64(e.Phase)
	t[TermEvidence] = float64(e.Phase) * math.Sqrt(float64(e.Area))
	return t
}

// Score is the log of the odds that both are the same finger, by a logistic
// regression with weights that no more evidence can lower. It is a number to
// rank by: what it means as an error rate is in [FMR].
func (e *Evidence) Score() float64 {
	if e.Relaxed == 0 {
		return NoScore
	}
	s := scoreBias
	for i, t := range e.Terms() {
		s += scoreWeight[i] * t
	}
	return s
}

// NoScore is what two templates score of which one has nothing to compare.
const NoScore = -20.0

// FMR is the share of comparisons of different fingers that score at least as
// much, by the table of tuned.go: interpolated in the logarithm, and never less
// than the table's end. It holds for whatever was compared, the smallest windows
// too; see [FMROf] for what is known of two fingers.
func FMR(score float64) float64 { return rate(fmrTable, score) }

// FMROf is the false match rate of the score that two fingers have. Where every
// impression of both shows much of the finger, strangers score less. The best of
// several impressions has more chances than one, but less than as many as they
// are: a finger that one of them is like, the others are often like as well.
func FMROf(score float64, a, b *Prepared) float64 {
	table := fmrTable
	if a.Large() && b.Large() {
		table = fmrLarge
	}
	return best(rate(table, score), len(a.views)*len(b.views))
}

// LeastFMR is the lowest rate that any two fingers of so many impressions together
// can be told apart at.
func LeastFMR(comparisons int) float64 { return best(FMR(math.Inf(1)), comparisons) }

// best is the rate of the best of n impressions.
func best(fmr float64, n int) float64 {
	return min(1, math.Pow(float64(max(n, 1)), bestPower)*fmr)
}

// Large tells whether every impression shows so much that little in common says
// something.
func (p *Prepared) Large() bool {
	return !slices.ContainsFunc(p.views, func(v view) bool { return v.area < hopelessArea })
}

type fmrPoint struct{ score, log10 float64 }

func rate(table []fmrPoint, score float64) float64 {
	if !(score >= table[0].score) { // NaN too
		return 1
	}
	for i := 1; i < len(table); i++ {
		a, b := table[i-1], table[i]
		if score < b.score {
			return math.Pow(10, a.log10+(b.log10-a.log10)*(score-a.score)/(b.score-a.score))
		}
	}
	return math.Pow(10, table[len(table)-1].log10)
}
