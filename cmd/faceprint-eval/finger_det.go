package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// det is a detection error trade-off curve: the two error rates at every
// threshold that the scores tell apart.
type det struct {
	genuine, impostor []float64 // ascending
}

func newDET(genuine, impostor []float64) *det {
	d := &det{slices.Clone(genuine), slices.Clone(impostor)}
	slices.Sort(d.genuine)
	slices.Sort(d.impostor)
	return d
}

// rates of a threshold: a score matches when it is at least t.
func (d *det) rates(t float64) (fmr, fnmr float64) {
	i, _ := slices.BinarySearch(d.impostor, t)
	g, _ := slices.BinarySearch(d.genuine, t)
	return float64(len(d.impostor)-i) / float64(len(d.impostor)), float64(g) / float64(len(d.genuine))
}

// eer is the equal error rate in percent by the rule of FVC2000 (Maio et al.,
// "FVC2000: fingerprint verification competition", 2002): of the two
// thresholds around the crossing, the one with the smaller sum of errors.
func (d *det) eer() float64 {
	lastFMR, lastFNMR := 1.0, 0.0
	all := slices.Concat(d.genuine, d.impostor, []float64{math.Inf(1)})
	slices.Sort(all)
	lo, hi := 0, len(all)-1 // fnmr-fmr rises with the threshold
	for lo < hi {
		mid := (lo + hi) / 2
		if fmr, fnmr := d.rates(all[mid]); fnmr >= fmr {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	fmr, fnmr := d.rates(all[lo])
	if lo > 0 {
		lastFMR, lastFNMR = d.rates(all[lo-1])
	}
	if lastFMR+lastFNMR < fmr+fnmr {
		return 50 * (lastFMR + lastFNMR)
	}
	return 50 * (fmr + fnmr)
}

// fnmrAt is the lowest FNMR in percent with at most one false match in n
// impostors, or none for n = 0.
func (d *det) fnmrAt(n int) float64 {
	allowed := 0
	if n > 0 {
		allowed = len(d.impostor) / n
	}
	if allowed >= len(d.impostor) {
		return 0
	}
	// The threshold is just above the first impostor that must be refused.
	top := d.impostor[len(d.impostor)-1-allowed]
	i, _ := slices.BinarySearchFunc(d.genuine, top, func(g, t float64) int {
		if g <= t {
			return -1
		}
		return 1
	})
	return 100 * float64(i) / float64(len(d.genuine))
}

// bootstrap resamples fingers with replacement and returns the 95 % intervals
// of EER and FMR1000. The draws are seeded: a report repeats exactly. Where none of
// n genuine comparisons was refused, drawing them anew says nothing: up to 3/n
// would have shown none (the rule of three; Hanley and Lippman-Hand, 1983), as if
// the comparisons were independent.
func bootstrap(run fingerRun) (eer, fmr1000 [2]float64) {
	const draws = 100
	fingers := 0
	for _, c := range run {
		fingers = max(fingers, c.a+1, c.b+1)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var eers, rates []float64
	weight := make([]int, fingers)
	for range draws {
		clear(weight)
		for range fingers {
			weight[r.IntN(fingers)]++
		}
		var g, im []float64
		for _, c := range run {
			// A pair of a finger drawn n times and one drawn m times is there
			// n*m times; a genuine pair n times.
			n := weight[c.a] * weight[c.b]
			if c.a == c.b {
				n = weight[c.a]
			}
			for range n {
				if c.a == c.b {
					g = append(g, c.score)
				} else {
					im = append(im, c.score)
				}
			}
		}
		if len(g) == 0 || len(im) == 0 {
			continue
		}
		d := newDET(g, im)
		eers, rates = append(eers, d.eer()), append(rates, d.fnmrAt(1000))
	}
	eer, fmr1000 = interval95(eers), interval95(rates)
	d := newDET(run.genuine(), run.impostor())
	three := 100 * min(1, 3/float64(len(d.genuine)))
	if d.eer() == 0 {
		eer[1] = max(eer[1], three)
	}
	if d.fnmrAt(1000) == 0 {
		fmr1000[1] = max(fmr1000[1], three)
	}
	return eer, fmr1000
}

func interval95(v []float64) [2]float64 {
	if len(v) == 0 {
		return [2]float64{0, 100}
	}
	slices.Sort(v)
	at := func(q float64) float64 { return v[int(q*float64(len(v)-1)+0.5)] }
	return [2]float64{at(0.025), at(0.975)}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

func mean(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x
	}
	return s / float64(max(len(v), 1))
}

// What a DET curve of comparisons shows.
const (
	falseMatch    = "false match rate (FMR, impostors)"
	falseNonMatch = "false non-match rate (FNMR, genuine)"
)

// plotDET draws the error of the genuine over that of the impostors, both
// logarithmic from 1e-5 to 1, one grid line a decade.
func plotDET(path, across, up string, genuine, impostor []float64) error {
	const side, margin, decades = 600, 48, 5
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	grid, ink := color.RGBA{210, 210, 210, 255}, color.RGBA{20, 60, 160, 255}
	at := func(v float64) float64 {
		k := (math.Log10(max(v, 1e-5)) + decades) / decades
		return margin + k*(side-2*margin)
	}
	say := func(x, y int, text string) {
		(&font.Drawer{Dst: img, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(x, y)}).DrawString(text)
	}
	say(side/2-110, side-8, across)
	say(margin, 16, up)
	for d := range decades + 1 {
		decade := "1"
		if d > 0 {
			decade = fmt.Sprintf("1e-%d", d)
		}
		say(int(at(math.Pow(10, float64(-d))))-12, side-margin+18, decade)
		say(8, side-int(at(math.Pow(10, float64(-d))))+4, decade)
		p := int(at(math.Pow(10, float64(-d))))
		for k := margin; k < side-margin; k++ {
			img.Set(p, side-k, grid)
			img.Set(k, side-p, grid)
		}
	}
	d := newDET(genuine, impostor)
	px, py := -1.0, -1.0
	for _, t := range d.impostor {
		fmr, fnmr := d.rates(t)
		x, y := at(fmr), side-at(fnmr)
		if px >= 0 {
			n := int(math.Max(math.Abs(x-px), math.Abs(y-py))) + 1
			for k := range n + 1 {
				q := float64(k) / float64(n)
				img.Set(int(px+q*(x-px)), int(py+q*(y-py)), ink)
			}
		}
		px, py = x, y
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, img); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
