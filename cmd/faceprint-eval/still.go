package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// stillReport is how single pictures of the clips' people, and the people
// themselves, are told from one another by their motion, of those whose liveness
// alone leaves no doubt.
type stillReport struct {
	Living  int         `json:"living"` // spans of living people
	Kinds   []stillKind `json:"kinds"`
	Shipped int         `json:"shipped"` // spans that are still at the shipped threshold
	Rows    []stillRow  `json:"rows"`

	moved []float64 // by each span
}

// stillKind is what single pictures came to with one noise.
type stillKind struct {
	Noise    int  `json:"noise"`    // grey levels either way, of every colour of every pixel
	Moved    bool `json:"moved"`    // it was moved about by whole pixels, as a hand would
	Pictures int  `json:"pictures"` // clearly alive by the liveness score alone
	Passed   int  `json:"passed"`   // and moved enough to be asked nothing

	moved []float64
}

// stillRow is one threshold.
type stillRow struct {
	Threshold float64 `json:"threshold"` // distances of the eyes
	Asked     int     `json:"asked"`     // living people who are still, so asked to move
	Passed    []int   `json:"passed"`    // pictures of each kind that are not
}

// stillEvery is which frames of a clip become pictures, watchTime how long each
// is looked at, as are the people: for longer than the motion is measured.
const (
	stillEvery = 60
	watchTime  = 1800 * time.Millisecond
	watchRate  = 15 // frames a second of a picture
)

// playStills shows single frames of the clips again and again, with new noise
// each time, and the people themselves, each for as long as the device watches
// who does not move.
func (r *livenessReport) playStills(ctx context.Context, clips []string, m *vision.Model, same float64) error {
	rep := &stillReport{Kinds: []stillKind{{Noise: 1}, {Noise: 4}, {Noise: 10}, {Noise: 1, Moved: true}, {Noise: 4, Moved: true}, {Noise: 10, Moved: true}}}
	for _, clip := range clips {
		s := &vision.Sequence{Same: same}
		began := time.Time{}
		n := 0
		err := opencv.ReadClip(ctx, clip, time.Unix(1, 0), func(f *vision.Frame) error {
			seen, err := s.Look(m, f)
			if err != nil {
				return err
			}
			switch {
			case seen.Restarted || began.IsZero():
				began = f.At
			case f.At.Sub(began) >= watchTime:
				rep.person(s)
				s.Wipe()
				began = time.Time{}
			}
			if n++; n%stillEvery != stillEvery/2 {
				return nil
			}
			faces, err := m.Detect(f)
			if err != nil || len(faces) == 0 || faces[0].Quality.Hint() != vision.HintNone {
				return err
			}
			for i := range rep.Kinds {
				if err := rep.Kinds[i].play(f, m, same, uint64(n)); err != nil {
					return err
				}
			}
			return nil
		})
		s.Wipe()
		if err != nil {
			return err
		}
	}
	for threshold := 0.0030; threshold < 0.00505; threshold += 0.0002 {
		row := stillRow{Threshold: threshold, Asked: below(rep.moved, threshold)}
		for _, k := range rep.Kinds {
			row.Passed = append(row.Passed, len(k.moved)-below(k.moved, threshold))
		}
		rep.Rows = append(rep.Rows, row)
	}
	r.Stills = rep
	return nil
}

func below(values []float64, limit float64) (n int) {
	for _, v := range values {
		if v < limit {
			n++
		}
	}
	return n
}

// watched is how much somebody moved who leaves no other doubt, and whether that
// is no more than a picture does; false where they were not seen for long enough.
func watched(s *vision.Sequence) (moved float64, still, ok bool) {
	live, _ := s.Live()
	still, told := s.Still()
	moved, measured := s.Cues()["motion"]
	return moved, still, measured && told && live >= clearlyLive && !s.Flat()
}

func (r *stillReport) person(s *vision.Sequence) {
	moved, still, ok := watched(s)
	if !ok {
		return
	}
	r.Living++
	r.moved = append(r.moved, moved)
	if still {
		r.Shipped++
	}
}

func (k *stillKind) play(picture *vision.Frame, m *vision.Model, same float64, seed uint64) error {
	s := &vision.Sequence{Same: same}
	defer s.Wipe()
	rng := rand.New(rand.NewPCG(1, seed))
	f := picture.Clone()
	defer f.Wipe()
	x, y := 0, 0
	for i := range int(watchTime.Seconds()*watchRate) + 1 {
		if k.Moved {
			x, y = min(max(x+rng.IntN(3)-1, -8), 8), min(max(y+rng.IntN(3)-1, -8), 8)
		}
		noisy(f, picture, k.Noise, x, y, rng)
		f.At = time.Unix(1, 0).Add(time.Duration(i) * time.Second / watchRate)
		if _, err := s.Look(m, f); err != nil {
			return err
		}
	}
	moved, still, ok := watched(s)
	if !ok {
		return nil // refused or asked to move for what it is otherwise
	}
	k.Pictures++
	k.moved = append(k.moved, moved)
	if !still {
		k.Passed++
	}
	return nil
}

// noisy copies the picture, moved by x and y, with noise.
func noisy(to, from *vision.Frame, noise, x, y int, rng *rand.Rand) {
	i := 0
	for v := range from.Height {
		row := from.Pix[3*from.Width*min(max(v+y, 0), from.Height-1):]
		for u := range from.Width {
			px := row[3*min(max(u+x, 0), from.Width-1):]
			for c := range 3 {
				to.Pix[i] = byte(min(max(int(px[c])+rng.IntN(2*noise+1)-noise, 0), 255))
				i++
			}
		}
	}
}

func (r *stillReport) print(w io.Writer) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "  motion, of whom liveness alone would let pass: %d of %d living people are still, so asked to move\n", r.Shipped, r.Living)
	for _, k := range r.Kinds {
		moved := "held still"
		if k.Moved {
			moved = "moved about"
		}
		fmt.Fprintf(w, "    one picture, noise of %d, %s: %d of %d pass\n", k.Noise, moved, k.Passed, k.Pictures)
	}
	fmt.Fprintf(w, "    threshold   people asked   pictures that pass, in the order above\n")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "    %.4f      %6.1f %%       ", row.Threshold, percent(row.Asked, r.Living))
		for i, n := range row.Passed {
			fmt.Fprintf(w, "%5.1f %%", percent(n, r.Kinds[i].Pictures))
		}
		fmt.Fprintln(w)
	}
}
