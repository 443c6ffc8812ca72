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

// stillPlay is what single pictures yielded at one noise.
type stillPlay struct {
	Noise    int  `json:"noise"` // grey levels either way, of every colour of every pixel
	Moved    bool `json:"moved"` // it was moved about by whole pixels, as a hand would
	Pictures int  `json:"pictures"`
	Doubted  int  `json:"doubted"` // of those whose liveness alone would have let them pass
	Passed   int  `json:"passed"`
}

// stillEvery is which frames of a clip become pictures, stillFrames how many of
// them an attempt of three seconds sees.
const (
	stillEvery  = 60
	stillFrames = 45
)

// playStills shows single frames of the clips again and again, with new noise
// each time, to the decision that the device makes.
func (r *livenessReport) playStills(ctx context.Context, clips []string, m *vision.Model, same float64) error {
	kinds := []stillPlay{{Noise: 1}, {Noise: 4}, {Noise: 10}, {Noise: 1, Moved: true}, {Noise: 4, Moved: true}}
	for _, clip := range clips {
		n := 0
		err := opencv.ReadClip(ctx, clip, time.Unix(1, 0), func(f *vision.Frame) error {
			if n++; n%stillEvery != stillEvery/2 {
				return nil
			}
			faces, err := m.Detect(f)
			if err != nil || len(faces) == 0 || faces[0].Quality.Hint() != vision.HintNone {
				return err
			}
			for i := range kinds {
				if err := kinds[i].play(f, m, same, uint64(n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.Stills = kinds
	return nil
}

func (p *stillPlay) play(picture *vision.Frame, m *vision.Model, same float64, seed uint64) error {
	s := &vision.Sequence{Same: same}
	defer s.Wipe()
	rng := rand.New(rand.NewPCG(1, seed))
	f := picture.Clone()
	defer f.Wipe()
	x, y := 0, 0
	p.Pictures++
	for i := range stillFrames {
		if p.Moved {
			x, y = min(max(x+rng.IntN(3)-1, -8), 8), min(max(y+rng.IntN(3)-1, -8), 8)
		}
		noisy(f, picture, p.Noise, x, y, rng)
		f.At = time.Unix(1, 0).Add(time.Duration(i) * attemptTime / stillFrames)
		if _, err := s.Look(m, f); err != nil {
			return err
		}
		if alive, decided := s.Alive(shippedLive); !decided {
			continue
		} else if !alive {
			return nil // refused as a picture, which is what liveness is for
		}
		live, _ := s.Live()
		if live < clearlyLive || s.Flat() {
			p.Doubted++
			return nil
		}
		if still, told := s.Still(); !still {
			p.Passed++
			return nil
		} else if told {
			p.Doubted++
			return nil
		}
	}
	p.Doubted++
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

func printStills(w io.Writer, plays []stillPlay) {
	for _, p := range plays {
		moved := "held still"
		if p.Moved {
			moved = "moved about"
		}
		fmt.Fprintf(w, "  one picture, noise of %d, %s: %d of %d in doubt, %d pass\n", p.Noise, moved, p.Doubted, p.Pictures, p.Passed)
	}
}
