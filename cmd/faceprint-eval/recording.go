package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// recordingReport is how often clips, which do not hear what is asked, answer a
// challenge by chance.
type recordingReport struct {
	Challenges int `json:"challenges"`
	Passed     int `json:"passed"`
	Wrong      int `json:"wrong"`
	Unanswered int `json:"unanswered"`
	Blinks     int `json:"blinks"`  // challenges in which a blink was asked for
	Blinked    int `json:"blinked"` // of them, those in which one came

	// Blink is the same of challenges that may ask for a blink as well.
	Blink *recordingReport `json:"blink,omitempty"`
}

const (
	challengeEvery = time.Second // one challenge begins at every second of a clip
	challengeDraws = 20          // with so many drawings of its moves and pauses
)

// playRecordings plays clips to challenges. Every face is taken for the one who is
// challenged, which is the best that an attacker can have.
func (r *livenessReport) playRecordings(ctx context.Context, clips []string, m *vision.Model, same float64) error {
	r.Recordings = &recordingReport{Blink: &recordingReport{}}
	for _, clip := range clips {
		var at []time.Time
		var poses []vision.Quality
		s := &vision.Sequence{Same: same}
		err := opencv.ReadClip(ctx, clip, time.Unix(1, 0), func(f *vision.Frame) error {
			seen, err := s.Look(m, f)
			if seen.Quality.Size > 0 {
				at, poses = append(at, f.At), append(poses, seen.Quality)
			}
			return err
		})
		s.Wipe()
		if err != nil {
			return err
		}
		r.Recordings.play(at, poses, false)
		r.Recordings.Blink.play(at, poses, true)
	}
	return nil
}

func (r *recordingReport) play(at []time.Time, poses []vision.Quality, blink bool) {
	next := time.Time{}
	for i := range at {
		if at[i].Before(next) {
			continue
		}
		next = at[i].Add(challengeEvery)
		for range challengeDraws {
			c := vision.Challenge{Blink: blink}
			for k := i; k < len(at) && c.State() == vision.ChallengeOpen; k++ {
				c.Look(at[k], poses[k], true)
			}
			switch c.State() {
			case vision.ChallengePassed:
				r.Passed++
			case vision.ChallengeWrong:
				r.Wrong++
			case vision.ChallengeUnanswered:
				r.Unanswered++
			case vision.ChallengeOpen:
				continue // the clip was over
			}
			r.Challenges++
			for name, ms := range c.Cues() {
				if strings.HasPrefix(name, "move-") && strings.HasSuffix(name, "-"+vision.HintBlink.String()) {
					if r.Blinks++; ms > 0 {
						r.Blinked++
					}
				}
			}
		}
	}
}

func (r *recordingReport) print(w io.Writer) {
	fmt.Fprintf(w, "  recordings: %d of %d challenges passed by chance, %d answered wrongly, %d not at all\n", r.Passed, r.Challenges, r.Wrong, r.Unanswered)
	if b := r.Blink; b != nil {
		fmt.Fprintf(w, "    where a blink may be asked for besides: %d of %d passed; asked for one, a recording had it in time in %d of %d\n", b.Passed, b.Challenges, b.Blinked, b.Blinks)
	}
}
