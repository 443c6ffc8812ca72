package minutia

import "math"

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
// than the table can show. The best of n comparisons has n times that.
func FMR(score float64) float64 {
	if !(score >= fmrTable[0].score) { // NaN too
		return 1
	}
	for i := 1; i < len(fmrTable); i++ {
		a, b := fmrTable[i-1], fmrTable[i]
		if score < b.score {
			return math.Pow(10, a.log10+(b.log10-a.log10)*(score-a.score)/(b.score-a.score))
		}
	}
	return math.Pow(10, fmrTable[len(fmrTable)-1].log10)
}
