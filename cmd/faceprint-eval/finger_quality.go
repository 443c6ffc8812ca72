package main

import (
	"math"
	"slices"

	"github.com/faceprint/faceprint/sensor/minutia"
)

// rejection is what is left of the errors when pictures of low quality are
// refused. Rates are percent.
type rejection struct {
	Refused float64 `json:"refused"` // of the pictures
	Below   int     `json:"below"`   // the quality that the rest has at least
	FNMR    float64 `json:"fnmr"`    // at FMR 1e-3 by the matcher's own table
}

// rejections is the error-versus-reject characteristic (Grother and Tabassi,
// "Performance of biometric quality measures", 2007): a quality that predicts
// errors makes them fall faster than the pictures become fewer.
func rejections(pics []fingerPicture) []rejection {
	var read []fingerPicture
	for _, p := range pics {
		if p.err == nil {
			read = append(read, p)
		}
	}
	slices.SortStableFunc(read, func(a, b fingerPicture) int {
		return int(a.template.Quality) - int(b.template.Quality)
	})
	// errors[k] are the genuine pairs whose worse picture is the k-th.
	errors, pairs := make([]int, len(read)), make([]int, len(read))
	var m minutia.Matcher
	for k, a := range read {
		for _, b := range read[k+1:] {
			if a.finger != b.finger {
				continue
			}
			pairs[k]++
			if minutia.FMR(m.Match(a.prepared, b.prepared)) > 1e-3 {
				errors[k]++
			}
		}
	}
	var out []rejection
	for _, share := range []float64{0, 5, 10, 20, 30} {
		from := int(math.Round(share / 100 * float64(len(read))))
		if from >= len(read) {
			break
		}
		wrong, all := 0, 0
		for k := from; k < len(read); k++ {
			wrong, all = wrong+errors[k], all+pairs[k]
		}
		if all > 0 {
			out = append(out, rejection{share, int(read[from].template.Quality), 100 * float64(wrong) / float64(all)})
		}
	}
	return out
}
