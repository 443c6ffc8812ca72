package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// listener hears what is asked and does something about it, so long after it was said:
// a person takes their time, however many frames that is.
type listener struct {
	now         func() time.Time // of the frame
	asked, last vision.Hint      // at present, and what they were still doing
	at          time.Time        // when they heard it
	reaction    time.Duration    // 0 = 700 ms
	do          func(asked vision.Hint) vision.Hint
}

func (l *listener) hears(e Event) {
	for _, h := range []vision.Hint{vision.HintLookStraight, vision.HintTurnLeft, vision.HintTurnRight, vision.HintNearer} {
		if e.Kind == "hint" && e.Hint == h.String() {
			l.last, l.asked, l.at = l.asked, h, time.Now()
		}
	}
}

func (l *listener) pose(f *vision.Face) {
	doing := l.asked
	if l.now().Sub(l.at) < cmp.Or(l.reaction, 700*time.Millisecond) {
		doing = l.last
	}
	switch l.do(doing) {
	case vision.HintTurnLeft:
		f.Quality.Yaw = 30
	case vision.HintTurnRight:
		f.Quality.Yaw = -30
	case vision.HintNearer:
		f.Quality.Size *= 1.35
	}
}

// inSlowMotion stages a device that needs so long for a frame, in virtual time.
func inSlowMotion(t *testing.T, takes time.Duration, test func(t *testing.T, d *Device, th *theatre, user store.UserID)) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		th.takes = takes
		test(t, d, th, user)
	})
}

// A device whose frames take seconds asks whom it has the time to ask, waits for them as
// long as it takes itself, and calls nobody an attacker whom it could not have seen move.
func TestASlowDeviceAsks(t *testing.T) {
	obey := func(asked vision.Hint) vision.Hint { return asked }
	nothing := func(vision.Hint) vision.Hint { return vision.HintNone }
	once := func() func(vision.Hint) vision.Hint { // the other way, and no more
		moved, done := false, false
		return func(asked vision.Hint) vision.Hint {
			if asked == vision.HintNone || asked == vision.HintLookStraight {
				done = moved
				return vision.HintNone
			}
			if moved = true; done {
				return vision.HintNone
			}
			return other(asked)
		}
	}
	for name, tt := range map[string]struct {
		takes   time.Duration
		then    time.Duration // from the first move on that is asked for; 0 = the same
		timeout time.Duration
		policy  Challenge
		alarm   bool // an attack was seen shortly before
		live    float32
		late    int // frames of nobody before
		do      func(asked vision.Hint) vision.Hint
		granted bool
		reason  Reason
		counted bool // as the person's failure
		suspect bool // afterwards
	}{
		"quick":               {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"700 ms":              {takes: 700 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"800 ms":              {takes: 800 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"1 s, with time":      {takes: time.Second, timeout: 21 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"2 s, with time":      {takes: 2 * time.Second, timeout: time.Minute, policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"2 s, in doubt":       {takes: 2 * time.Second, timeout: time.Minute, live: 0.7, do: obey, granted: true},
		"3 s, with time":      {takes: 3 * time.Second, timeout: 90 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, granted: true},
		"2 s, and no doubt":   {takes: 2 * time.Second, timeout: 15 * time.Second, live: 0.9, do: nothing, granted: true},
		"2 s, nobody is":      {takes: 2 * time.Second, timeout: 15 * time.Second, policy: ChallengeOff, live: 0.7, do: nothing, granted: true},
		"2 s":                 {takes: 2 * time.Second, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"1 s":                 {takes: time.Second, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"4.5 s, for any time": {takes: 4500 * time.Millisecond, timeout: 10 * time.Minute, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"2 s, and no answer":  {takes: 2 * time.Second, timeout: time.Minute, policy: ChallengeOn, live: 0.9, do: nothing, reason: FaceNoAnswer, counted: true, suspect: true},
		"2 s, the other way":  {takes: 2 * time.Second, timeout: time.Minute, policy: ChallengeOn, live: 0.9, do: other, reason: FaceNoAnswer, counted: true, suspect: true},
		// After an attack everybody is asked: who cannot be is refused and does not renew it.
		"2 s, after an attack":     {takes: 2 * time.Second, timeout: 15 * time.Second, alarm: true, live: 0.9, do: obey, reason: FaceTooSlow, suspect: true},
		"2 s, dim after an attack": {takes: 2 * time.Second, timeout: 15 * time.Second, alarm: true, live: 0.7, do: obey, reason: FaceTooSlow, counted: true, suspect: true},
		// Whose face is in doubt could try until it is not.
		"2 s, a dim face": {takes: 2 * time.Second, timeout: 15 * time.Second, live: 0.7, do: obey, reason: FaceTooSlow, counted: true, suspect: true},
		// Whoever starves the camera of a device that is quick is not let in by it.
		"slowed, they obey":          {takes: 700 * time.Millisecond, then: 2 * time.Second, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"slowed, it is dim and idle": {takes: 100 * time.Millisecond, then: 4 * time.Second, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.7, do: nothing, reason: FaceTooSlow, counted: true, suspect: true},
		"slowed behind a wrong move": {takes: 700 * time.Millisecond, then: 2 * time.Second, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: once(), reason: FaceTooSlow, counted: true, suspect: true},
		"quick, and no answer":       {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: nothing, reason: FaceNoAnswer, counted: true, suspect: true},
		"700 ms, and no answer":      {takes: 700 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, do: nothing, reason: FaceNoAnswer, counted: true, suspect: true},
		// An attempt that is too short is none of theirs, and lets nobody in.
		"quick, and 5 s":                      {takes: 100 * time.Millisecond, timeout: 5 * time.Second, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		"quick, and 5 s, the other way":       {takes: 100 * time.Millisecond, timeout: 5 * time.Second, policy: ChallengeOn, live: 0.9, do: other, reason: FaceTooSlow},
		"quick, and 5 s, dim":                 {takes: 100 * time.Millisecond, timeout: 5 * time.Second, live: 0.7, do: nothing, reason: FaceTooSlow, counted: true, suspect: true},
		"300 ms, and 5 s, after an attack":    {takes: 300 * time.Millisecond, timeout: 5 * time.Second, alarm: true, live: 0.9, do: obey, reason: FaceTooSlow, suspect: true},
		"a moment, and only a moment is left": {takes: 100 * time.Millisecond, timeout: 700 * time.Millisecond, policy: ChallengeOn, live: 0.9, do: obey, reason: FaceTooSlow},
		// Who comes so late that nothing is said any more did not fail to do it.
		"quick, and late":               {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, late: 143, do: obey, reason: FaceTooSlow},
		"quick, late, and a picture":    {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.7, late: 143, do: nothing, reason: FaceTooSlow, counted: true, suspect: true},
		"quick, late, and in doubt":     {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeAuto, live: 0.7, late: 143, do: obey, reason: FaceTooSlow, counted: true, suspect: true},
		"quick, late, after an attack":  {takes: 100 * time.Millisecond, timeout: 15 * time.Second, alarm: true, live: 0.9, late: 143, do: obey, reason: FaceTooSlow, suspect: true},
		"quick, late, and does nothing": {takes: 100 * time.Millisecond, timeout: 15 * time.Second, policy: ChallengeOn, live: 0.9, late: 125, do: nothing, reason: FaceNoAnswer, counted: true, suspect: true},
	} {
		t.Run(name, func(t *testing.T) {
			inSlowMotion(t, tt.takes, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.policy.Challenge, d.opts.Timeout = tt.policy, tt.timeout
				if tt.alarm {
					d.alarm.Store(time.Now().Add(-time.Minute).UnixNano())
				}
				alarm := d.alarm.Load()
				l := &listener{now: func() time.Time { return th.now }, do: tt.do}
				th.pose = l.pose
				th.play, th.seq = slices.Concat(repeat(tt.late), repeat(5000, actor{who: 0, x: 320, live: tt.live})), 0
				events := d.Subscribe(t.Context())
				before := deviceFailures(t, d)
				dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: func(e Event) {
					if l.hears(e); tt.then > 0 && (e.Hint == vision.HintTurnLeft.String() || e.Hint == vision.HintTurnRight.String() || e.Hint == vision.HintNearer.String()) {
						th.takes = max(th.takes, tt.then)
					}
				}})
				if err != nil || dec.Granted != tt.granted || !tt.granted && !slices.Equal(dec.Reasons, []Reason{tt.reason}) {
					t.Fatalf("%+v, %v, want %s; %v", dec, err, tt.reason, scores(t, d, dec.Audit))
				}
				if (dec.Failures == 1) != tt.counted || (deviceFailures(t, d) == before) != tt.granted {
					t.Errorf("%d failures of the person, %d of the device, %d before", dec.Failures, deviceFailures(t, d), before)
				}
				if d.suspect() != tt.suspect || tt.alarm && d.alarm.Load() != alarm {
					t.Errorf("an alarm: %v, renewed: %v", d.suspect(), d.alarm.Load() != alarm)
				}
				if dec.Took > tt.timeout+5*time.Second {
					t.Errorf("it took %v", dec.Took)
				}
				if slices.Contains(heard(events), "attack") != tt.reason.attack() {
					t.Errorf("told as an attack: %v", !tt.reason.attack())
				}
			})
		})
	}
}

// A device that stalls behind its asks, so that no frame comes for longer than somebody
// may be out of sight, calls nobody an attacker for it, and lets in nobody else.
func TestADeviceThatStallsAsksAgain(t *testing.T) {
	obey := func(asked vision.Hint) vision.Hint { return asked }
	nothing := func(vision.Hint) vision.Hint { return vision.HintNone }
	for name, tt := range map[string]struct {
		frame   int     // behind the ask, after which it stalls
		stalls  int     // at most
		gone    bool    // they are not in the last frame before it
		then    float32 // who is there behind the first one
		do      func(asked vision.Hint) vision.Hint
		granted bool
		asks    int // that are heard of, at least
	}{
		"at once, at both asks": {frame: 1, stalls: 2, do: obey, granted: true, asks: 2},
		"before they turn":      {frame: 4, stalls: 2, do: obey, granted: true, asks: 2},
		"while they turn":       {frame: 8, stalls: 2, do: obey, granted: true, asks: 2},
		"and they do nothing":   {frame: 1, stalls: 2, do: nothing, asks: 3}, // once more for each stall
		"again and again":       {frame: 1, stalls: 100, do: nothing, asks: 4},
		"and do the other":      {frame: 1, stalls: 2, do: other, asks: 2},
		"and another obeys":     {frame: 1, stalls: 2, then: 1, do: obey, asks: 1},
		"and they were gone":    {frame: 1, stalls: 2, gone: true, do: obey, asks: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inSlowMotion(t, 100*time.Millisecond, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.policy.Challenge, d.opts.Timeout = ChallengeOn, 30*time.Second
				l := &listener{now: func() time.Time { return th.now }, do: tt.do}
				since, stalls, asks := 0, 0, 0 // frames since the ask
				th.pose = func(f *vision.Face) {
					th.takes = 100 * time.Millisecond
					if l.pose(f); stalls > 0 {
						f.Score = tt.then
					}
					if since++; asks > 0 && l.asked != vision.HintLookStraight && since == tt.frame && stalls < tt.stalls {
						if stalls++; tt.gone {
							th.play[th.seq] = nil
						}
						th.takes = 1200 * time.Millisecond
					}
				}
				th.play, th.seq = repeat(5000, actor{who: 0, x: 320, live: 0.9}), 0
				dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: func(e Event) {
					heard := l.at
					if l.hears(e); l.at != heard && l.asked != vision.HintLookStraight {
						since = 0
						asks++
					}
				}})
				if err != nil || dec.Granted != tt.granted || asks < tt.asks {
					t.Fatalf("%+v, %v, asked %d times; %v", dec, err, asks, scores(t, d, dec.Audit))
				}
				if !tt.granted && (!slices.Equal(dec.Reasons, []Reason{FaceNoAnswer}) || dec.Failures != 1 || !d.suspect()) {
					t.Errorf("%+v", dec)
				}
			})
		})
	}
}

// Whoever was seen well in too few frames to be compared may look again: nothing was
// learnt, of whomever, and nothing is counted.
func TestTooFewFramesCountNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		takes, timeout time.Duration
		late           int
		hint           vision.Hint
	}{
		"two frames of a slow device": {takes: 4900 * time.Millisecond, timeout: 9 * time.Second, hint: vision.HintLookStraight},
		"one frame":                   {takes: 4900 * time.Millisecond, timeout: 4 * time.Second, hint: vision.HintLookStraight},
		"nobody, and then two frames": {takes: 100 * time.Millisecond, timeout: 15 * time.Second, late: 148, hint: vision.HintNoFace},
	} {
		for who := range 2 {
			inSlowMotion(t, tt.takes, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				d.opts.Timeout = tt.timeout
				for range freeFailures + 2 {
					th.play, th.seq = slices.Concat(repeat(tt.late), repeat(200, actor{who: who, x: 320, live: 0.95})), 0
					dec, err := d.Authenticate(t.Context(), Request{Who: user})
					retry := (*RetryError)(nil)
					if !errors.As(err, &retry) || !slices.Equal(retry.Hints, []string{tt.hint.String()}) || deviceFailures(t, d) != 0 {
						t.Fatalf("%s, person %d: %+v, %v", name, who, dec, err)
					}
				}
			})
		}
	}
}

// An enrolment goes on behind a stall with whoever is the same, and with nobody else.
func TestAnEnrolmentOutlivesAStall(t *testing.T) {
	for _, tt := range []struct{ takes, stall time.Duration }{{100 * time.Millisecond, 1100 * time.Millisecond}, {300 * time.Millisecond, 1200 * time.Millisecond}, {time.Second, 6 * time.Second}} {
		for then, want := range map[float32]error{1: nil, 2: ErrMixed} {
			inSlowMotion(t, tt.takes, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
				n := 0
				th.pose = func(f *vision.Face) {
					if n++; n > 4 {
						f.Score = then
					}
					if th.takes = tt.takes; n == 4 {
						th.takes = tt.stall
					}
				}
				th.play, th.seq = repeat(100, actor{who: 1, x: 320, live: 0.95}), 0
				_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Eve", Factors: []Factor{Face}, Consent: store.Consent{At: time.Now(), TextVersion: "1"}})
				if !errors.Is(err, want) {
					t.Errorf("%v a frame, then %v, person %v: %v, want %v", tt.takes, tt.stall, then, err, want)
				}
			})
		}
	}
}

// A device that can follow nobody locks no owner out by their own finger, while a wrong
// one stays counted, and the device's failures bound both.
func TestTheRightFingerIsNotToBlameForAPace(t *testing.T) {
	for finger, tt := range map[string]struct{ person, device int }{"ada": {0, 1}, "eve": {1, 1}, "": {0, 0}} {
		inSlowMotion(t, 6*time.Second, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			touch := &toucher{finger: "ada"}
			d.hw.Finger, d.hw.Match, d.hw.Enrol = touch, touch, touch
			if _, err := d.Enroll(t.Context(), EnrollRequest{Who: user, Factors: []Factor{Finger}, Finger: "right-thumb", Consent: store.Consent{At: time.Now(), TextVersion: "1"}}); err != nil {
				t.Fatal(err)
			}
			d.policy.Mode, d.policy.FingerFMR, touch.finger = Both, 1e-4, finger
			for i := range freeFailures + 2 {
				th.play, th.seq = repeat(100, actor{who: 0, x: 320, live: 0.9}), 0
				dec, err := d.Authenticate(t.Context(), Request{Who: user})
				if locked := tt.person > 0 && i >= freeFailures; !locked && !errors.Is(err, ErrTooSlow) || locked && !slices.Contains(dec.Reasons, LockedOut) {
					t.Fatalf("finger %q, attempt %d: %+v, %v", finger, i+1, dec, err)
				}
				if e := newest(t, d); finger == "ada" && (e.Outcome != "fault" || e.Scores["finger"] == 0) {
					t.Errorf("%+v", e)
				}
				if i == 0 && deviceFailures(t, d) != tt.device {
					t.Errorf("finger %q: %d failures of the device", finger, deviceFailures(t, d))
				}
			}
		})
	}
}

// toucher is a finger on a reader, "": none.
type toucher struct{ finger string }

func (f *toucher) Scan(ctx context.Context) (sensor.Print, error) {
	if f.finger == "" {
		<-ctx.Done()
	}
	return sensor.Print{}, ctx.Err()
}

func (f *toucher) Match(_ context.Context, _ sensor.Print, template []byte) (float64, error) {
	if string(template) == f.finger {
		return 200, nil
	}
	return 0, nil
}

func (f *toucher) FMR(score float64) float64 {
	if score >= 100 {
		return 1e-5
	}
	return 1
}

func (f *toucher) Family() string { return "fake" }

func (f *toucher) Fits([]byte) bool { return true }

func (f *toucher) Enrol(context.Context, int, func(sensor.EnrolStep)) ([]byte, error) {
	return []byte(f.finger), nil
}

// Nobody learns without an end what a device that is too slow to ask says of a face: it
// is the device that is slowed then, and no person is locked out.
func TestTooSlowToAskIsBounded(t *testing.T) {
	inSlowMotion(t, 2*time.Second, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		d.policy.Challenge = ChallengeOn
		var reasons []Reason
		for range deviceFreeFailures + 1 {
			th.play, th.seq = repeat(100, actor{who: 0, x: 320, live: 0.9}), 0
			dec, err := d.Authenticate(t.Context(), Request{Who: user})
			if err != nil || dec.Granted || dec.Failures != 0 {
				t.Fatalf("%+v, %v", dec, err)
			}
			reasons = append(reasons, dec.Reasons...)
		}
		if want := append(slices.Repeat([]Reason{FaceTooSlow}, deviceFreeFailures), LockedOut); !slices.Equal(reasons, want) {
			t.Errorf("%q", reasons)
		}
	})
}

// Somebody who cannot be followed from frame to frame is told why, and is no mixture of
// two people; nothing is counted.
func TestADeviceThatFollowsNobodySaysSo(t *testing.T) {
	inSlowMotion(t, 6*time.Second, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		d.opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		play := repeat(100, actor{who: 1, x: 320, live: 0.9})
		th.play, th.seq = play, 0
		_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Eve", Factors: []Factor{Face}, Consent: store.Consent{At: time.Now(), TextVersion: "1"}})
		if fmt.Sprint(err) != "device: 6s a frame: "+ErrTooSlow.Error() {
			t.Errorf("an enrolment: %v", err)
		}
		th.play, th.seq = play, 0
		if dec, err := d.Authenticate(t.Context(), Request{Who: user}); fmt.Sprint(err) != "device: 6s a frame: "+ErrTooSlow.Error() {
			t.Errorf("an attempt: %+v, %v", dec, err)
		}
		if n := deviceFailures(t, d); n != 0 || d.suspect() {
			t.Errorf("%d failures", n)
		}
		if d.Pace() != 6*time.Second {
			t.Errorf("a pace of %v", d.Pace())
		}
		if takes, slow := d.ChallengeTime(); takes != 0 || !slow {
			t.Errorf("%v, slow: %v", takes, slow)
		}
	})
}

// Whoever moves as asked is no attacker: let in, or told that there was no time for it.
func TestWhoMovesIsNoAttacker(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, tt := range []struct {
		timeout, takes, reaction int // milliseconds
		granted                  bool
	}{
		{timeout: 15000, takes: 100, reaction: 700, granted: true},
		{timeout: 15000, takes: 100, reaction: 1600, granted: true},
		{timeout: 15000, takes: 400, reaction: 1600, granted: true},
		{timeout: 15000, takes: 650, reaction: 700, granted: true},
		{timeout: 15000, takes: 600, reaction: 1600},
		{timeout: 15000, takes: 740, reaction: 1000},
		{timeout: 15000, takes: 750, reaction: 1600},
		{timeout: 15000, takes: 810, reaction: 1000},
		{timeout: 15000, takes: 900, reaction: 1000},
		{timeout: 15000, takes: 930, reaction: 1600},
		{timeout: 20000, takes: 1200, reaction: 1300},
		{timeout: 26000, takes: 1200, reaction: 1600},
		{timeout: 10000, takes: 600, reaction: 1000},
		{timeout: 8000, takes: 500, reaction: 700},
		{timeout: 8000, takes: 100, reaction: 1600},
		{timeout: 5000, takes: 300, reaction: 700},
		{timeout: 3000, takes: 200, reaction: 700},
		{timeout: 3000, takes: 100, reaction: 700},
	} {
		t.Run(fmt.Sprintf("%v at %v, after %v", ms(tt.timeout), ms(tt.takes), ms(tt.reaction)), func(t *testing.T) {
			for range 6 { // what is asked for, and after what rest, is drawn
				inSlowMotion(t, ms(tt.takes), func(t *testing.T, d *Device, th *theatre, user store.UserID) {
					d.policy.Challenge, d.opts.Timeout = ChallengeOn, ms(tt.timeout)
					l := &listener{now: func() time.Time { return th.now }, reaction: ms(tt.reaction), do: func(asked vision.Hint) vision.Hint { return asked }}
					th.pose = l.pose
					th.play, th.seq = repeat(500, actor{who: 0, x: 320, live: 0.9}), 0
					events := d.Subscribe(t.Context())
					dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: l.hears})
					if err != nil || tt.granted && !dec.Granted || !dec.Granted && !slices.Equal(dec.Reasons, []Reason{FaceTooSlow}) {
						t.Errorf("%+v, %v; %v", dec, err, scores(t, d, dec.Audit))
					}
					if dec.Failures != 0 || d.suspect() || slices.Contains(heard(events), "attack") {
						t.Errorf("%d failures, alarm: %v", dec.Failures, d.suspect())
					}
				})
			}
		})
	}
}

// Whoever made every move is no attacker, though they are not seen well any more before
// the time is up.
func TestWhoMadeEveryMoveIsNoAttacker(t *testing.T) {
	inSlowMotion(t, 100*time.Millisecond, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		d.policy.Challenge, d.opts.Timeout = ChallengeOn, 15*time.Second
		var moves []vision.Hint
		var moved time.Time // the ask of the last
		l := &listener{now: func() time.Time { return th.now }}
		l.do = func(asked vision.Hint) vision.Hint {
			if asked != vision.HintNone && asked != vision.HintLookStraight && l.asked == asked && l.at != moved {
				moves, moved = append(moves, asked), l.at
			}
			return asked
		}
		th.pose = func(f *vision.Face) {
			if l.pose(f); len(moves) == 2 && l.asked == vision.HintLookStraight {
				f.Quality.Yaw = 30 // and they stay so
			}
		}
		th.play, th.seq = repeat(500, actor{who: 0, x: 320, live: 0.9}), 0
		dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: l.hears})
		if err != nil || !slices.Equal(dec.Reasons, []Reason{FaceTooSlow}) || dec.Failures != 0 || d.suspect() || len(moves) != 2 {
			t.Errorf("%+v, %v, alarm: %v, after %q", dec, err, d.suspect(), moves)
		}
		if n := deviceFailures(t, d); n != 1 {
			t.Errorf("%d failures of the device", n)
		}
	})
}

// Nor is who a stall of the device took the time from.
func TestWhomAStallCutsOffIsNoAttacker(t *testing.T) {
	for range 6 {
		inSlowMotion(t, 100*time.Millisecond, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			d.policy.Challenge, d.opts.Timeout = ChallengeOn, 13*time.Second
			l := &listener{now: func() time.Time { return th.now }, reaction: 1600 * time.Millisecond, do: func(asked vision.Hint) vision.Hint { return asked }}
			stalls, last := 0, vision.HintNone
			th.pose = func(f *vision.Face) {
				l.pose(f)
				th.takes = 100 * time.Millisecond
				if l.asked != last {
					if last = l.asked; last != vision.HintLookStraight && stalls < 2 {
						stalls++
						th.takes = 4500 * time.Millisecond
					}
				}
			}
			th.play, th.seq = repeat(500, actor{who: 0, x: 320, live: 0.9}), 0
			dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: l.hears})
			if err != nil || !dec.Granted && !slices.Equal(dec.Reasons, []Reason{FaceTooSlow}) || dec.Failures != 0 || d.suspect() || stalls != 2 {
				t.Errorf("%+v, %v, alarm: %v, %d stalls; %v", dec, err, d.suspect(), stalls, scores(t, d, dec.Audit))
			}
		})
	}
}

// Nobody waits, at no cost to whom they claim to be, for an ask that suits them: who does
// nothing about one in an attempt that was soon over, or that gave little time, has failed,
// though no attack is told of them.
func TestWhoWaitsForAnAskThatSuitsThem(t *testing.T) {
	moves := []string{vision.HintTurnLeft.String(), vision.HintTurnRight.String(), vision.HintNearer.String()}
	for _, tt := range []struct {
		pace, timeout time.Duration
		late          int // frames without anybody, first
	}{{100 * time.Millisecond, 7900 * time.Millisecond, 38}, {100 * time.Millisecond, 12 * time.Second, 75}, {400 * time.Millisecond, 15 * time.Second, 22}} {
		inSlowMotion(t, tt.pace, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			d.policy.Challenge, d.opts.Timeout = ChallengeOn, tt.timeout
			said := false
			th.play, th.seq = slices.Concat(repeat(tt.late), repeat(500, actor{who: 0, x: 320, live: 0.9})), 0
			dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: func(e Event) {
				said = said || slices.Contains(moves, e.Hint)
			}})
			if err != nil || !said || !slices.Equal(dec.Reasons, []Reason{FaceTooSlow}) || dec.Failures != 1 || d.suspect() {
				t.Errorf("%+v: %+v, %v, alarm: %v, a move was said: %v", tt, dec, err, d.suspect(), said)
			}
		})
	}
}

// Whoever is in doubt, slows the frames and hangs up is asked at the next look.
func TestHangingUpBehindSlowFramesSetsTheAlarm(t *testing.T) {
	for live, alarm := range map[float32]bool{0.7: true, 0.9: false} {
		inSlowMotion(t, 100*time.Millisecond, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			d.opts.Timeout, d.policy.Challenge = 15*time.Second, ChallengeOn
			th.play, th.seq = repeat(500, actor{who: 0, x: 320, live: live}), 0
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := false
			_, err := d.Authenticate(ctx, Request{Who: user, Notify: func(e Event) {
				if !asked && e.Hint == vision.HintLookStraight.String() {
					asked, th.takes = true, 2*time.Second
					time.AfterFunc(9*time.Second, cancel)
				}
			}})
			if !errors.Is(err, context.Canceled) || d.suspect() != alarm {
				t.Errorf("live %.1f: %v, alarm: %v", live, err, d.suspect())
			}
			if n := deviceFailures(t, d); n != 1 {
				t.Errorf("live %.1f: %d failures of the device", live, n)
			}
			if e := newest(t, d); (e.Outcome == "refused") != alarm || slices.Contains(e.Reasons, string(FaceTooSlow)) != alarm {
				t.Errorf("live %.1f: %+v", live, e)
			}
		})
	}
}

// One frame that stalls while nobody is seen well yet ends no enrolment.
func TestAFrameThatStallsEndsNoEnrolment(t *testing.T) {
	inSlowMotion(t, 100*time.Millisecond, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
		eve, aside := actor{who: 1, x: 320, live: 0.9}, actor{who: 1, x: 320, live: 0.9, yaw: 40}
		th.play, th.seq = slices.Concat(repeat(1, aside), repeat(500, eve)), 0
		th.pose = func(*vision.Face) {
			if th.takes = 100 * time.Millisecond; th.seq == 1 {
				time.Sleep(6 * time.Second)
			}
		}
		if _, err := d.Enroll(t.Context(), EnrollRequest{Name: "Eve", Factors: []Factor{Face}, Consent: store.Consent{At: time.Now(), TextVersion: "1"}}); err != nil {
			t.Error(err)
		}
	})
}
