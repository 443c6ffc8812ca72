package device

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

func TestAnEnrolmentAsksForPoses(t *testing.T) {
	at := func(yaw float32) actor { return actor{who: 2, x: 320, live: 0.9, yaw: yaw} }
	second := 15 // frames
	retry := (*RetryError)(nil)
	for name, tt := range map[string]struct {
		play     [][]actor
		mirrored bool
		hints    []string // what is asked for, in this order
		spread   [2]float64
		fails    bool
	}{
		"front, left, right": {
			play:  slices.Concat(repeat(2*second, at(3)), repeat(second, at(14)), repeat(second, at(-9))),
			hints: []string{"turn-left", "turn-right"}, spread: [2]float64{23, 23},
		},
		"the other side first": {
			play:  slices.Concat(repeat(2*second, at(0)), repeat(second, at(-15)), repeat(second, at(12))),
			hints: []string{"turn-left", "turn-left"}, spread: [2]float64{27, 27},
		},
		"before a mirror": {
			play:     slices.Concat(repeat(2*second, at(0)), repeat(second, at(-15)), repeat(second, at(12))),
			mirrored: true, hints: []string{"turn-left", "turn-right"}, spread: [2]float64{27, 27},
		},
		"they first look aside": {
			play:  slices.Concat(repeat(second, at(16)), repeat(2*second, at(0)), repeat(second, at(15)), repeat(second, at(-15))),
			hints: []string{"look-straight", "turn-left", "turn-right"}, spread: [2]float64{30, 30},
		},
		"who cannot turn is enrolled from the front": {
			play:  repeat(40*second, at(2)),
			hints: []string{"turn-left", "turn-left"}, spread: [2]float64{0, 0},
		},
		"somebody else turns": {
			play:  slices.Concat(repeat(2*second, at(0)), repeat(second, actor{who: 1, x: 320, live: 0.9, yaw: 15})),
			hints: []string{"turn-left"}, fails: true,
		},
		"nobody looks at it": {play: repeat(second, at(20)), hints: []string{"look-straight"}, fails: true},
	} {
		onStage(t, Options{Mirrored: tt.mirrored}, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
			th.play, th.seq = tt.play, 0
			var asked []string
			made, err := d.Enroll(t.Context(), EnrollRequest{
				Name: "Bo", Factors: []Factor{Face}, Poses: true, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond,
				Notify: func(e Event) {
					if e.Kind == "hint" {
						asked = append(asked, e.Hint)
					}
				},
			})
			if tt.fails {
				if !errors.Is(err, ErrMixed) && !errors.As(err, &retry) {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			if err != nil {
				t.Errorf("%s: %v, asked for %v", name, err, asked)
				return
			}
			if asked = slices.Compact(asked); !slices.Equal(asked, slices.Compact(tt.hints)) {
				t.Errorf("%s: it asked for %v, want %v", name, asked, tt.hints)
			}
			var e []store.Entry
			if err := d.vault.View(func(tx *store.Tx) (err error) { e, err = tx.Audit(made.Audit-1, 1); return err }); err != nil {
				t.Fatal(err)
			}
			if got := e[0].Scores["face-yaw-spread"]; got < tt.spread[0] || got > tt.spread[1] {
				t.Errorf("%s: a spread of %.0f degrees was recorded", name, got)
			}
		})
	}
}

func TestPosesAreOfThePersonsOwnZero(t *testing.T) {
	// The estimate of this person is off by ten degrees, always.
	p := poses{now: func() time.Time { return time.Time{} }}
	for range frontFrames {
		p.kept(vision.Quality{Yaw: 10})
	}
	if h := p.want(vision.Quality{Yaw: 12}); h != vision.HintTurnLeft {
		t.Errorf("two degrees were taken for a side: %v", h)
	}
	if h := p.want(vision.Quality{Yaw: 0}); h != vision.HintNone {
		t.Errorf("ten degrees to the right were not: %v", h)
	}
	var none *poses
	none.kept(vision.Quality{})
}
