package device

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// pupil is somebody who does something when a move is asked for: i counts the
// frames since then.
type pupil struct {
	hint vision.Hint
	i    int
	do   func(asked vision.Hint, i int, f *vision.Face)
}

func (p *pupil) hears(e Event) {
	for _, h := range []vision.Hint{vision.HintLookStraight, vision.HintTurnLeft, vision.HintTurnRight, vision.HintNearer, vision.HintBlink} {
		if e.Kind == "hint" && e.Hint == h.String() {
			p.hint, p.i = h, 0
		}
	}
}

func (p *pupil) pose(f *vision.Face) {
	p.i++
	p.do(p.hint, p.i, f)
}

// obey moves as asked, from the sixth frame on, by as much as it goes.
func obey(asked vision.Hint, i int, f *vision.Face) {
	if i < 6 {
		return
	}
	switch by := min(float32(i-5)*8, 32); asked {
	case vision.HintTurnLeft:
		f.Quality.Yaw = by
	case vision.HintTurnRight:
		f.Quality.Yaw = -by
	case vision.HintNearer:
		f.Quality.Size *= 1 + by/100
	}
}

func TestChallenge(t *testing.T) {
	for name, tt := range map[string]struct {
		policy  Challenge
		live    float32
		do      func(asked vision.Hint, i int, f *vision.Face)
		granted bool
		reason  Reason
	}{
		"they do as asked":                   {policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"of whom there is no doubt":          {policy: ChallengeAuto, live: 0.9, granted: true},
		"in doubt, and they do as asked":     {policy: ChallengeAuto, live: 0.7, do: obey, granted: true},
		"in doubt, and they do nothing":      {policy: ChallengeAuto, live: 0.7, reason: FaceNoAnswer},
		"in doubt, but it is off":            {policy: ChallengeOff, live: 0.7, granted: true},
		"a policy of an unknown word is on":  {policy: "sometimes", live: 0.9, reason: FaceNoAnswer},
		"the policy that says nothing":       {live: 0.9, granted: true},
		"the policy that says nothing, dim":  {live: 0.7, reason: FaceNoAnswer},
		"a photograph that passes for live":  {policy: ChallengeOn, live: 0.95, reason: FaceNoAnswer},
		"a recording that looks to and fro":  {policy: ChallengeOn, live: 0.95, do: func(_ vision.Hint, i int, f *vision.Face) { f.Quality.Yaw = float32(i%20-10) * 2 }, reason: FaceNoAnswer},
		"they do the other thing every time": {policy: ChallengeOn, live: 0.95, do: func(asked vision.Hint, i int, f *vision.Face) { obey(other(asked), i, f) }, reason: FaceNoAnswer},
		"somebody else turns for them": {policy: ChallengeOn, live: 0.95, do: func(asked vision.Hint, i int, f *vision.Face) {
			obey(asked, i, f)
			if f.Quality.Yaw > 12 || f.Quality.Yaw < -12 || f.Quality.Size > 230 {
				f.Score = 1
			}
		}}, // for want of an answer or of a match, as they are noticed
		"they step aside for a stranger after the last move": {policy: ChallengeOn, live: 0.95, do: func() func(vision.Hint, int, *vision.Face) {
			moves, gone := 0, false
			return func(asked vision.Hint, i int, f *vision.Face) {
				if i == 1 && asked != vision.HintLookStraight {
					moves++
				}
				if gone = gone || moves == 2 && asked == vision.HintLookStraight; gone {
					f.Score = 1
				}
				obey(asked, i, f)
			}
		}(), reason: FaceNoAnswer}, // they were asked, and were not seen to have answered
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.policy.Challenge = tt.policy
				p := &pupil{do: tt.do}
				if tt.do != nil {
					th.pose = p.pose
				}
				th.play, th.seq, th.now = repeat(220, actor{who: 0, x: 320, live: tt.live}), 0, th.now.Add(time.Hour)
				dec, err := d.Authenticate(t.Context(), Request{Who: user, Timeout: time.Minute, Notify: p.hears})
				switch {
				case err != nil || dec.Granted != tt.granted:
					t.Fatalf("%+v, %v", dec, err)
				case !tt.granted && (tt.reason != "" && !slices.Equal(dec.Reasons, []Reason{tt.reason}) || dec.Failures != 1):
					t.Fatalf("%+v, want %s", dec, tt.reason)
				}
				asked := 0
				for cue := range scores(t, d, dec.Audit) {
					if strings.HasPrefix(cue, "face-move-") {
						asked++
					}
				}
				if want := tt.policy == ChallengeOn && tt.granted; want && asked < 2 {
					t.Errorf("the audit knows of %d moves", asked)
				}
			})
		})
	}
}

// A blink is asked for besides the moves: who blinks passes, who is not seen to makes
// one move more, and a recording of the moves alone, or where it is off, is as before.
func TestAskedToBlink(t *testing.T) {
	for name, tt := range map[string]struct {
		off     bool
		blinks  bool
		moves   bool
		granted bool
	}{
		"they blink":             {blinks: true, moves: true, granted: true},
		"glasses hide it":        {moves: true, granted: true},
		"they blink and no more": {blinks: true},
		"it is off":              {off: true, moves: true, granted: true},
	} {
		t.Run(name, func(t *testing.T) {
			asked, missed := 0, 0
			for range 12 { // whether, and before which move, is drawn
				onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
					d.policy.Challenge, d.policy.Blink = ChallengeOn, !tt.off
					p := &pupil{do: func(ask vision.Hint, i int, f *vision.Face) {
						if f.Quality.Open, f.Quality.Eyes = 0.11, 0.8; tt.blinks && ask == vision.HintBlink && i > 8 && i < 12 {
							f.Quality.Open = 0.06
						}
						if tt.moves {
							obey(ask, i, f)
						}
					}}
					th.pose = p.pose
					th.play, th.seq, th.now = repeat(400, actor{who: 0, x: 320, live: 0.9}), 0, th.now.Add(time.Hour)
					dec, err := d.Authenticate(t.Context(), Request{Who: user, Timeout: time.Minute, Notify: p.hears})
					if err != nil || dec.Granted != tt.granted {
						t.Fatalf("%+v, %v", dec, err)
					}
					blinks, moves := 0, 0
					for cue, ms := range scores(t, d, dec.Audit) {
						switch {
						case strings.HasSuffix(cue, "-blink"):
							blinks++
							if ms == 0 {
								missed++
							}
						case strings.HasPrefix(cue, "face-move-"):
							moves++
						}
					}
					if want := 2 + missed; tt.granted && (blinks > 1 || moves < 2 || missed == 0 && moves != want) {
						t.Errorf("%d blinks and %d moves", blinks, moves)
					}
					asked += blinks
				})
			}
			if (asked == 0) != tt.off || tt.granted && (missed == 0) != (tt.blinks || tt.off) {
				t.Errorf("asked %d times, missed %d times", asked, missed)
			}
		})
	}
}

func other(asked vision.Hint) vision.Hint {
	switch asked {
	case vision.HintTurnLeft:
		return vision.HintTurnRight
	case vision.HintTurnRight, vision.HintNearer:
		return vision.HintTurnLeft
	}
	return asked
}

// scores of an audit entry.
func scores(t *testing.T, d *Device, seq uint64) map[string]float64 {
	t.Helper()
	var e []store.Entry
	if err := d.vault.View(func(tx *store.Tx) (err error) { e, err = tx.Audit(seq-1, 1); return err }); err != nil || len(e) != 1 {
		t.Fatal(e, err)
	}
	return e[0].Scores
}

// After an attack everybody is in doubt for a while.
func TestAnAttackPutsEverybodyInDoubt(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		ada, photo := repeat(40, actor{who: 0, x: 320, live: 0.9}), repeat(40, actor{who: 0, x: 320, live: 0.1})
		attempt := func(play [][]actor, after time.Duration) (Decision, error) {
			th.play, th.seq, th.now = play, 0, th.now.Add(after)
			return d.Authenticate(t.Context(), Request{Who: user, Timeout: time.Minute})
		}
		for _, tt := range []struct {
			play   [][]actor
			after  time.Duration
			reason Reason
		}{
			{ada, time.Hour, ""},
			{photo, time.Minute, FaceNotLive},
			{ada, time.Minute, FaceNoAnswer},
			{ada, time.Hour, ""},
			{photo, time.Minute, FaceNotLive},
			{ada, -24 * time.Hour, FaceNoAnswer},
		} {
			dec, err := attempt(tt.play, tt.after)
			if err != nil || dec.Granted != (tt.reason == "") || tt.reason != "" && !slices.Equal(dec.Reasons, []Reason{tt.reason}) {
				t.Fatalf("%+v, %v, want %q", dec, err, tt.reason)
			}
		}
	})
}

// points are a face's, which move against one another by so much of the distance
// of the eyes.
func points(f *vision.Face, by float32) {
	for i := range 12 {
		x, y := float32(i%4)*30, float32(i/4)*40
		if i == 9 || i == 10 {
			y += 60 * by
		}
		f.Inner = append(f.Inner, vision.Point{X: 290 + x, Y: 200 + y})
	}
	f.Points = [5]vision.Point{{X: 290, Y: 200}, {X: 350, Y: 200}, {X: 320, Y: 240}, {X: 300, Y: 280}, {X: 340, Y: 280}}
}

// Edges that move with a face are a phone's or a sheet's, and whoever shows one is
// asked to move; those that stay are the room's.
func TestWhoIsFramedIsInDoubt(t *testing.T) {
	// A dark frame of 240x300 pixels whose middle is at 320 or at the face.
	edges := func(x, y int, middle float32) byte {
		if dx, dy := float32(x)-middle, float32(y)-240; dx > -120 && dx < 120 && dy > -150 && dy < 150 {
			return 60
		}
		return 170
	}
	for name, tt := range map[string]struct {
		policy  Challenge
		draw    func(x, y int, face float32) byte
		granted bool
		least   float64 // of the edges' length
	}{
		"a phone":                        {draw: edges, least: 2},
		"a phone, away, back quietly":    {draw: edges, least: 2},
		"a phone, and nothing is asked":  {policy: ChallengeOff, draw: edges, granted: true, least: 2},
		"a person before a picture":      {draw: func(x, y int, _ float32) byte { return edges(x, y, 320) }, granted: true},
		"a person before an empty wall":  {draw: func(int, int, float32) byte { return 170 }, granted: true},
		"a person who sits very quietly": {draw: func(x, y int, _ float32) byte { return edges(x, y, 320) }, granted: true},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.policy.Challenge = tt.policy
				th.draw, th.pose = tt.draw, func(f *vision.Face) {
					points(f, 0)
					f.Inner = nil // who is still is another matter
					for i := range f.Points {
						f.Points[i].X += f.Box.X0 - 220
					}
				}
				var play [][]actor
				for i := range 60 {
					x := float32(320)
					if !strings.Contains(name, "quietly") || strings.Contains(name, "away") && i < 20 {
						x += float32(10 * (i / 3 % 3)) // from each frame that is kept to the next
					}
					play = append(play, []actor{{who: 0, x: x, live: 0.95}})
					if i == 20 && strings.Contains(name, "away") {
						play = append(play, repeat(17)...)
					}
				}
				dec, err := th.shows(t, d, user, play)
				if err != nil || dec.Granted != tt.granted || !tt.granted && !slices.Equal(dec.Reasons, []Reason{FaceNoAnswer}) {
					t.Fatalf("%+v, %v", dec, err)
				}
				c := scores(t, d, dec.Audit)
				if edges, ok := c["face-bezel"]; !ok || tt.least == 0 && edges != 0 || edges < tt.least {
					t.Errorf("face-bezel %.2f of %v", edges, c)
				}
			})
		})
	}
}

// One picture that liveness takes for alive is asked to move, since nothing in it
// does; a person who is calm is waited for.
func TestAStillPictureIsInDoubt(t *testing.T) {
	for name, tt := range map[string]struct {
		moves   int // the frame from which on the face moves; -1: never
		policy  Challenge
		frames  int
		granted bool
		reason  Reason
	}{
		"a picture":                        {moves: -1, frames: 220, reason: FaceNoAnswer},
		"a picture, and nothing is asked":  {moves: -1, policy: ChallengeOff, frames: 220, granted: true},
		"a picture whose time is soon up":  {moves: -1, frames: 9, reason: FaceTooSlow},
		"a person":                         {moves: 0, frames: 40, granted: true},
		"a person who is calm for a while": {moves: 12, frames: 40, granted: true},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.policy.Challenge = tt.policy
				i := 0
				th.pose = func(f *vision.Face) {
					by := float32(0)
					if i++; tt.moves >= 0 && i > tt.moves {
						by = 0.02 * float32(i%4)
					}
					points(f, by)
				}
				asked := false
				th.play, th.seq, th.now = repeat(tt.frames, actor{who: 0, x: 320, live: 0.95}), 0, th.now.Add(time.Hour)
				dec, err := d.Authenticate(t.Context(), Request{Who: user, Timeout: time.Minute, Notify: func(e Event) {
					asked = asked || e.Hint == vision.HintLookStraight.String() || strings.HasPrefix(e.Hint, "turn-l") || strings.HasPrefix(e.Hint, "turn-r")
				}})
				if err != nil || dec.Granted != tt.granted || !tt.granted && (!slices.Equal(dec.Reasons, []Reason{tt.reason}) || dec.Failures != 1 || !d.suspect()) {
					t.Fatalf("%+v, %v", dec, err)
				}
				if want := tt.moves < 0 && tt.policy != ChallengeOff && tt.frames > 40; asked != want {
					t.Errorf("asked to move: %v", asked)
				}
				if c := scores(t, d, dec.Audit); tt.moves < 0 && !(c["face-motion"] < 0.001) {
					t.Errorf("%v", c)
				}
			})
		})
	}
}
