package vision

import (
	"fmt"
	"math"
)

// Operating is one point: at this cosine and above, this share of comparisons of
// two different people is accepted.
type Operating struct {
	FMR    float64 `toml:"fmr"`    // false match rate, (0, 1]
	Cosine float64 `toml:"cosine"` // -1 to 1
}

// Table turns the cosine of one model set into a false match rate, so that
// policies and fusion never see a cosine.
type Table struct {
	Source string `toml:"source"` // what it was measured on and with how many comparisons
	// Measured is the least rate that comparisons were counted for; the points of
	// lesser ones are of a tail that was fitted to the highest. 0: all were counted.
	Measured float64     `toml:"measured,omitempty"`
	Points   []Operating `toml:"points"` // ascending in cosine, descending in FMR
}

// FMR is the rate at which two different people reach the cosine. Between
// two points it is interpolated on the logarithm; above the last point it
// stays at the last rate, since nothing rarer was measured. NaN, an empty
// table and everything below the first point give 1.
func (t Table) FMR(cosine float64) float64 {
	if len(t.Points) == 0 || math.IsNaN(cosine) || cosine < t.Points[0].Cosine {
		return 1
	}
	last := t.Points[len(t.Points)-1]
	if cosine >= last.Cosine {
		return last.FMR
	}
	for i := 1; i < len(t.Points); i++ {
		lo, hi := t.Points[i-1], t.Points[i]
		if cosine < hi.Cosine {
			x := (cosine - lo.Cosine) / (hi.Cosine - lo.Cosine)
			return math.Exp((1-x)*math.Log(lo.FMR) + x*math.Log(hi.FMR))
		}
	}
	return 1
}

// Threshold is the least cosine whose false match rate is at most fmr. A
// rate below the lowest measured one is an error: no threshold of this model
// is known to reach it.
func (t Table) Threshold(fmr float64) (float64, error) {
	if len(t.Points) == 0 || !(fmr > 0) {
		return math.NaN(), fmt.Errorf("vision: no threshold for a false match rate of %g: %w", fmr, ErrProfile)
	}
	if fmr >= t.Points[0].FMR {
		return t.Points[0].Cosine, nil
	}
	for i := 1; i < len(t.Points); i++ {
		lo, hi := t.Points[i-1], t.Points[i]
		if fmr >= hi.FMR {
			x := (math.Log(fmr) - math.Log(lo.FMR)) / (math.Log(hi.FMR) - math.Log(lo.FMR))
			return lo.Cosine + x*(hi.Cosine-lo.Cosine), nil
		}
	}
	return math.NaN(), fmt.Errorf("vision: the table reaches a false match rate of %g, not %g: %w", t.Points[len(t.Points)-1].FMR, fmr, ErrProfile)
}

// Least is the lowest rate that any cosine reaches, 0 for an empty table.
func (t Table) Least() float64 {
	if len(t.Points) == 0 {
		return 0
	}
	return t.Points[len(t.Points)-1].FMR
}

// Reach is among how many templates one is found at a rate: as many comparisons
// multiply it, and no cosine of the table is rarer than its last one.
func (t Table) Reach(fmr float64) int {
	if !(t.Least() > 0 && fmr > 0) {
		return 0
	}
	n := min(math.Floor(fmr/t.Least()+1e-9), math.MaxInt32)
	if t.Least()*n > fmr { // as it is compared, by the last bit
		n--
	}
	return int(n)
}

// laxer is the table of a comparison that strangers pass so many times as often.
func (t Table) laxer(times float64) Table {
	out := Table{Source: fmt.Sprintf("%g times the rates of: %s", times, t.Source), Measured: t.Measured * times}
	for _, p := range t.Points {
		if p.FMR *= times; p.FMR < 1 { // below the first point the rate is 1
			out.Points = append(out.Points, p)
		}
	}
	return out
}

func (t Table) check() error {
	if t.Source == "" || len(t.Points) < 2 {
		return fmt.Errorf("vision: a threshold table needs its source and two points: %w", ErrProfile)
	}
	for i, p := range t.Points {
		if !(p.FMR > 0 && p.FMR <= 1 && p.Cosine >= -1 && p.Cosine <= 1) {
			return fmt.Errorf("vision: threshold table, point %d: FMR %g at cosine %g: %w", i+1, p.FMR, p.Cosine, ErrProfile)
		}
		if i > 0 && !(p.Cosine > t.Points[i-1].Cosine && p.FMR < t.Points[i-1].FMR) {
			return fmt.Errorf("vision: threshold table, point %d: cosine must rise and FMR fall: %w", i+1, ErrProfile)
		}
	}
	if !(t.Measured >= 0 && t.Measured <= 1) {
		return fmt.Errorf("vision: threshold table: measured down to an FMR of %g: %w", t.Measured, ErrProfile)
	}
	return nil
}
