package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// How many good, independent frames make a decision. One frame can be unlucky,
// so a yes needs three. A no for want of a match is said after five, which is
// the most work that an attempt does from its first good frame on; somebody who
// matches but has not yet looked straight into the camera is given longer.
const (
	framesForYes  = 3
	framesForNo   = 5
	framesForLive = 12
)

// hintEvery is the least time between two hints: nobody can follow more.
const hintEvery = 700 * time.Millisecond

// hinter tells one hint at a time.
type hinter struct {
	d     *Device
	asker func(Event)
	told  vision.Hint
	at    time.Time
}

func (h *hinter) tell(hint vision.Hint) {
	now := h.d.hw.Now()
	if hint == h.told || hint == vision.HintNone || !h.at.IsZero() && now.Sub(h.at) < hintEvery {
		return
	}
	h.say(hint, now)
}

// ask tells what a challenge asks for: at once, since the answer is timed.
func (h *hinter) ask(move vision.Hint) {
	if move != h.told {
		h.say(move, h.d.hw.Now())
	}
}

func (h *hinter) say(hint vision.Hint, now time.Time) {
	h.told, h.at = hint, now
	h.d.tell(h.asker, Event{Kind: "hint", Step: Face, Hint: hint.String()})
}

// sequence begins to look at somebody.
func (d *Device) sequence(profile vision.Profile) (*vision.Sequence, error) {
	same, err := profile.Table.Threshold(samePersonFMR)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	turned, err := turnedTable(profile).Threshold(turnedFMR)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	s := &vision.Sequence{Same: same, SameTurned: turned}
	if !d.opts.Recorded {
		s.Before = &d.frames
	}
	return s, nil
}

// look shows the newest frame to the sequence, and to who watches what it shows.
// The frame is wiped.
func (d *Device) look(ctx context.Context, s *vision.Sequence) (vision.Seen, error) {
	frame, err := d.hw.Camera.Frame(ctx)
	if err != nil {
		d.watched.saw(Blind)
		return vision.Seen{Hint: vision.HintNoFace}, fmt.Errorf("device: camera: %w", err)
	}
	defer frame.Wipe()
	d.eyes.Lock()
	defer d.eyes.Unlock()
	seen, err := s.Look(d.hw.Faces, frame)
	if err != nil {
		d.watched.saw(Blind)
		return seen, fmt.Errorf("device: faces: %w", err)
	}
	switch {
	case seen.Quality.Size >= presentSize, seen.Hint == vision.HintOnePerson:
		d.watched.saw(Somebody)
		d.visit.seen(d.hw.Now())
	default:
		d.watched.saw(Nobody)
	}
	if seen.Kept && d.visit.awaits() && d.watched.due(d.hw.Now()) {
		d.visit.saw(s.Embeddings()[s.Len()-1], s.Same, true)
	}
	return seen, nil
}

// warnIfSlow notes how long frames take, and says in the log that a device is too slow
// to follow anybody, or to ask them to move.
func (d *Device) warnIfSlow(s *vision.Sequence) {
	if s.Pace() == 0 {
		return // there were no two frames
	}
	d.pace.Store(int64(s.Pace()))
	takes, slow := d.ChallengeTime()
	switch {
	case d.policy.Challenge == ChallengeOff && !s.TooSlow():
	case s.TooSlow():
		d.opts.Log.Warn("frames of the camera take too long to follow anybody by: a smaller camera.width, a lighter face.engine, or a faster device", "each", s.Pace())
	case slow:
		d.opts.Log.Warn("an attempt is too short to ask anybody to move: a longer policy.timeout, a smaller camera.width, a lighter face.engine, or a faster device", "each", s.Pace(), "takes", takes, "policy.timeout", d.opts.Timeout)
	}
}

// Pace is how long a frame took when somebody was last looked at; 0: nobody was since
// the start.
func (d *Device) Pace() time.Duration { return time.Duration(d.pace.Load()) }

// ChallengeTime is how long an attempt with a challenge has to last at that pace for
// somebody who does everything at once, 0 where no time would do; and whether that is
// longer than an attempt lasts here where nothing else is asked for, so that nobody is
// asked to move.
func (d *Device) ChallengeTime() (takes time.Duration, slow bool) {
	takes, ok := attemptTime(&vision.Challenge{}, d.Pace(), vision.Prompt)
	if !ok {
		takes = 0
	}
	return takes, !ok || takes > d.opts.Timeout
}

// attemptTime is how long an attempt has to last for somebody to be compared and to pass
// a challenge; ok as of vision.Challenge.Time.
func attemptTime(c *vision.Challenge, pace, reaction time.Duration) (d time.Duration, ok bool) {
	d, ok = c.Time(pace, reaction)
	return d + framesForYes*pace, ok
}

// tooSlow is the fault of a device that can follow nobody.
func tooSlow(s *vision.Sequence) error {
	return fmt.Errorf("device: %v a frame: %w", s.Pace().Round(100*time.Millisecond), ErrTooSlow)
}

// suspectFor is how long after an attack everybody is asked to move, where the
// policy is to ask those who are in doubt.
const suspectFor = 10 * time.Minute

// suspect tells whether an attack was seen here shortly before. To set the clock
// back only makes it longer.
func (d *Device) suspect() bool {
	alarm := d.alarm.Load()
	return alarm != 0 && d.hw.Now().Sub(time.Unix(0, alarm)) < suspectFor
}

// faceAttempt is the face's part of an attempt: looking at one person until the
// policy is satisfied, or enough was seen for a no.
//
// First at least three good frames are compared; their scores are averaged, and so
// is liveness. Where the policy wants more, the
// person is asked to move, and has to be seen well once more when they did, so
// that who moved is who was compared. A change of person starts all of it again
// before anybody was compared, which costs nothing; afterwards it ends the attempt
// with what was found, or one attempt would be a try for everybody in a queue. Who
// only looked away comes back as the same, with what was said of them. A recording
// that is played to the camera ends it as well.
type faceAttempt struct {
	d         *Device
	c         *captured
	s         *vision.Sequence
	refs      *gallery
	table     vision.Table
	again     float64 // least cosine with the mean that was compared of who comes back as the same
	hints     hinter
	challenge *vision.Challenge // nil until something is asked
	until     time.Time         // when the time of the attempt is up; zero: never
	lasts     time.Duration     // all of that time
	last      time.Time         // of the last frame
	suspect   bool              // what they show speaks for a picture
	compared  int               // good frames of who was compared, before they were lost from sight
	since     int               // good frames of the last comparison since then; 0: there was none
	back      bool              // who comes now has to be who was compared
	cuesThen  map[string]float64
}

// measureFace fills the face's half of c. passed is called when the policy is
// satisfied.
func (d *Device) measureFace(ctx context.Context, cancel context.CancelCauseFunc, c *captured, ts []store.Template, passed func()) (err error) {
	start := d.hw.Now()
	defer func() {
		c.faceTook = d.hw.Now().Sub(start)
		if err != nil {
			cancel(err) // a fault of one part ends the attempt
		}
	}()
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return fmt.Errorf("device: camera or face model: %w", ErrPart)
	}
	profile, err := d.hw.Faces.Profile()
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	c.faceModel = profile.Name
	ts, err = comparable(ts, profile, d.policy.FaceFMR)
	if errors.Is(err, ErrReach) {
		if fingers, failed := d.fingersDecide(c.mode); failed != nil || !fingers {
			return cmp.Or(failed, err)
		}
	} else if err != nil {
		return err
	}
	refs, err := unseal(ts, profile)
	if err != nil {
		return err
	}
	defer refs.wipe()
	c.gallery = len(refs.users)
	if c.face.Enrolled = len(refs.users) > 0; !c.face.Enrolled {
		return nil
	}
	s, err := d.sequence(profile)
	if err != nil {
		return err
	}
	defer s.Wipe()
	defer d.warnIfSlow(s)
	defer d.watched.begin()()
	again, err := profile.Match().Threshold(max(samePersonFMR, profile.Match().Least())) // of a mean with a frame, as of a template with one
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	c.face.Alarm = d.suspect()
	a := &faceAttempt{d: d, c: c, s: s, refs: refs, table: profile.Match(), again: again, hints: hinter{d: d, asker: c.notify}}
	a.until, _ = ctx.Deadline()
	a.lasts = time.Until(a.until)
	defer a.slow()
	for {
		seen, err := d.look(ctx, s)
		if err != nil {
			switch {
			case !over(ctx):
				return err
			case errors.Is(context.Cause(ctx), context.DeadlineExceeded) && !c.face.Compared && s.TooSlow():
				return tooSlow(s) // nobody who stood there could have been seen in three frames
			}
			if !c.face.Compared && c.faceHint == "" { // seen well, and in too few frames: nothing was learnt of anybody
				c.faceHint = vision.HintLookStraight.String()
			}
			return nil
		}
		done, err := a.saw(seen)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		a.slow()
		switch reason := d.policy.face(c.face, float64(max(c.gallery, 1))); {
		case c.face.Replayed || (reason.attack() || reason == FaceTooSlow) && c.mode != Either:
			d.keep()
			cancel(errEnough) // no finger and no phone would make a yes of it
		case reason == "":
			d.tell(c.notify, Event{Kind: "progress", Step: Face, Done: framesForNo, Of: framesForNo}) // no more are needed
			passed()
		}
		return nil
	}
}

// saw takes note of one frame and tells whether no more are needed.
func (a *faceAttempt) saw(seen vision.Seen) (done bool, err error) {
	face := &a.c.face
	a.last = seen.At
	if seen.Restarted && a.restarted() {
		return true, nil
	}
	if seen.Kept && a.back {
		if a.back = false; !(vision.Cosine(a.c.look, a.s.Embeddings()[a.s.Len()-1]) >= a.again) {
			face.Cues = a.cues()
			return true, nil // somebody else: what was found of the one before is what the attempt found
		}
	}
	if seen.Resumed && a.challenge != nil {
		a.challenge.Resume(seen.At)
		a.hints.told = vision.HintNone // they may have answered while nothing was seen, and are asked again
	}
	var move vision.Hint
	if a.challenge != nil && !a.s.Stalled() {
		move = a.watch(seen)
	}
	face.Cues, face.Replayed = a.cues(), a.s.Replayed()
	switch {
	case face.Replayed || face.Answer == AnswerWrong || a.unanswered():
		return true, nil
	case move != vision.HintNone:
		a.hints.ask(move)
		return false, nil
	case seen.Hint != vision.HintNone:
		a.c.faceHint = seen.Hint.String()
		a.hints.tell(seen.Hint)
		return false, nil
	case !seen.Kept:
		return false, nil
	}
	n := a.s.Len()
	a.d.tell(a.c.notify, Event{Kind: "progress", Step: Face, Done: min(n, framesForNo), Of: framesForNo})
	if n < framesForYes {
		return false, nil
	}
	still, decided := a.s.Still()
	a.suspect = a.suspect || a.s.Flat() || a.s.Framed()
	face.Suspect = a.suspect || still
	a.d.keep()
	if err := a.c.compareFace(a.s, a.refs, a.table); err != nil {
		return false, err
	}
	a.since = n
	n += a.compared // a no is said after as many frames, however often somebody looks away
	if a.challenge != nil && a.challenge.State() == vision.ChallengePassed {
		face.Answer = AnswerRight // and this frame shows that it was them
	}
	switch policy := a.d.policy; policy.face(*face, float64(max(a.c.gallery, 1))) {
	case "":
		return true, nil
	case FaceNoAnswer:
		if calm := *face; a.challenge == nil && still && !decided {
			if calm.Suspect = a.suspect; policy.face(calm, float64(max(a.c.gallery, 1))) == "" {
				return false, nil // who lives moves in a moment, and need not be asked to
			}
		}
		if a.challenge == nil {
			a.challenge = &vision.Challenge{Mirrored: a.d.opts.Mirrored, Blink: a.d.policy.Blink, Now: a.d.hw.Now}
			face.Answer, a.s.Turning = AnswerNone, true
		}
		return a.tooSlow(), nil
	case FaceNotLive:
		if _, decided := a.s.Alive(policy.Live); decided || n >= framesForLive {
			return true, nil
		}
		a.hints.tell(vision.HintTurnToCamera) // who looks straight ahead can be told from a picture
		return false, nil
	case FaceNoMatch:
		if seen.Quality.Covered() {
			a.hints.tell(vision.HintUncover)
		}
	}
	return n >= framesForNo, nil
}

// restarted takes note that whoever was followed is lost and somebody is there, who
// may be another, and tells whether that ends the attempt. What was found by the
// last comparison stands until who was compared is compared again, and so does
// that a picture was shown.
func (a *faceAttempt) restarted() (done bool) {
	face := &a.c.face
	picture := a.since > 0 && !math.IsNaN(face.Live) && a.d.policy.face(*face, float64(max(a.c.gallery, 1))) == FaceNotLive
	if a.since > 0 {
		a.cuesThen = face.Cues
	}
	a.compared, a.since, a.back = a.compared+a.since, 0, face.Compared
	if a.challenge != nil {
		a.challenge.Restart()
		face.Answer = AnswerNone
	}
	face.Cues = a.cues()
	return picture
}

// watch shows a frame to the challenge and returns what the person is to do for
// it now.
func (a *faceAttempt) watch(seen vision.Seen) vision.Hint {
	switch seen.Hint {
	case vision.HintNoFace, vision.HintOnePerson, vision.HintCloser, vision.HintFarther, vision.HintCentre:
		return vision.HintNone // nobody, or not to be seen well enough to tell how they move
	}
	a.challenge.Pace = a.s.Pace()
	move := a.challenge.Look(seen.At, seen.Quality, seen.Same)
	if a.challenge.State() == vision.ChallengeWrong {
		a.c.face.Answer = AnswerWrong
	}
	return move
}

// lastsFor tells whether the attempt lasts long enough for somebody to answer who needs so
// long for each move, at the pace of its last frames. It is all of the attempt that
// counts, and not what was left when they were asked: who comes late earns nothing by it.
func (a *faceAttempt) lastsFor(reaction time.Duration) (enough, possible bool) {
	challenge := a.challenge
	if challenge == nil {
		challenge = &vision.Challenge{}
	}
	takes, possible := attemptTime(challenge, a.s.Pace(), reaction)
	return possible && (a.until.IsZero() || takes <= a.lasts), possible
}

// tooSlow tells whether nobody could answer what is asked, for the device or for the
// time that the attempt was given.
func (a *faceAttempt) tooSlow() bool {
	enough, _ := a.lastsFor(vision.Prompt)
	return !enough
}

// slow takes note, at the end, that nothing was answered for want of time. A wrong
// answer stays one, and a wrong move without all of the right ones speaks for a picture.
func (a *faceAttempt) slow() {
	face := &a.c.face
	if a.challenge == nil {
		// Who would have been asked, and it did not come to it.
		if a.d.policy.face(*face, float64(max(a.c.gallery, 1))) == FaceNoAnswer {
			face.Answer = AnswerSlow
		}
		return
	}
	if face.Answer == AnswerNone && a.cut() {
		face.Answer = AnswerSlow
		a.c.idle = a.challenge.Idle(a.last)
		face.Suspect = face.Suspect || a.challenge.Erred() && a.challenge.State() != vision.ChallengePassed
	}
}

// cut tells whether a challenge without an answer is one that there was no time for.
// Nobody is called an attacker to whom no move was said; who does not look straight and
// still for as long as a challenge waits ends it themselves. Behind the first ask, on
// a device that is slow, or that stalled, whoever comes late has no time either; on one
// that is quick they stood there and did nothing.
func (a *faceAttempt) cut() bool {
	switch a.challenge.State() {
	case vision.ChallengePassed:
		return true // all that is missing is another look at them
	case vision.ChallengeOpen:
		if !a.challenge.Asked() {
			return true
		}
		enough, _ := a.lastsFor(vision.Leisurely)
		up := !a.until.IsZero() && time.Until(a.until) <= 0
		return a.tooSlow() || up && (!enough || vision.ChallengeSlow(a.s.Pace()) || a.s.Cues()["stalls"] > 0)
	}
	_, possible := a.lastsFor(vision.Prompt) // else they had the time of their own move
	return !possible
}

// unanswered tells whether the challenge ended without an answer.
func (a *faceAttempt) unanswered() bool {
	return a.challenge != nil && a.challenge.State() == vision.ChallengeUnanswered
}

// cues of everything that was seen, by name: of who was compared before and was
// lost from sight those that are not known anew, the lesser liveness, and the greater
// of what told of a phone or of a blink.
func (a *faceAttempt) cues() map[string]float64 {
	cues := a.s.Cues()
	for name, before := range a.cuesThen {
		now, known := cues[name]
		switch name {
		case "live", "live-least":
			known = known && now <= before
		case "bezel", "blinks":
			known = known && now >= before
		}
		if !known {
			cues[name] = before
		}
	}
	if a.challenge != nil {
		maps.Copy(cues, a.challenge.Cues())
	}
	return cues
}

// compareFace scores the good frames against every reference: the mean of their
// cosines with it.
func (c *captured) compareFace(s *vision.Sequence, refs *gallery, table vision.Table) error {
	probe, agreement, err := s.Fuse()
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	c.look.Wipe()
	c.look, c.agreement = probe, agreement
	best, err := refs.search(probe, 1)
	if err != nil || len(best) == 0 {
		return fmt.Errorf("device: the probe compares with no template: %w", errors.Join(err, vision.ErrEmbedding))
	}
	score := agreement * best[0].Cosine
	c.face.Compared, c.face.Score, c.face.FMR, c.user = true, score, table.FMR(score), refs.users[best[0].Index]
	c.face.Live, _ = s.Live()
	return nil
}

// A face template is the mean of this many good frames, taken at moments that
// lie apart, so that one expression or one light does not become the person.
const (
	enrolFrames = 5
	enrolApart  = 400 * time.Millisecond
	// Frames of one person agree at least at this false match rate; a frame
	// that does not means that somebody else came before the camera.
	samePersonFMR = 1e-3
	// Looking aside costs likeness: of the one person of the liveness clips who
	// turns their head, 0.30 is left at 45 degrees, while nobody else reached more
	// than 0.22 against them; and whoever is compared there was recognised
	// before and will be once more.
	turnedFMR = 1e-2
	// duplicateFMR: a new face that reaches this rate against an enrolled one is that
	// person.
	duplicateFMR = 1e-4
	// From so many gaps between frames on their median is the pace of a device, and no
	// frame that stalled.
	steadyGaps = 3
	// So many templates has one person at most, besides those that follow: each is
	// one more comparison in which a stranger may match.
	facesMost = 8
)

// enrollFace makes a template of several good, live frames of one person who is
// nobody else that is enrolled. The scores are for the audit.
func (d *Device) enrollFace(ctx context.Context, r EnrollRequest, there *stay) (t store.Template, scores map[string]float64, err error) {
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return store.Template{}, nil, fmt.Errorf("device: camera or face model: %w", ErrPart)
	}
	profile, err := d.hw.Faces.Profile()
	if err != nil {
		return store.Template{}, nil, fmt.Errorf("device: %w", err)
	}
	if err := d.checkRoom(r.Who, profile); err != nil {
		return store.Template{}, nil, err
	}
	s, err := d.sequence(profile)
	if err != nil {
		return store.Template{}, nil, err
	}
	defer s.Wipe()
	defer func() {
		yaw, pitch := s.Spread()
		scores = map[string]float64{"face-yaw-spread": float64(yaw), "face-pitch-spread": float64(pitch)}
		for name, v := range s.Cues() {
			scores["face-"+name] = v
		}
	}()
	defer d.warnIfSlow(s)
	defer d.watched.begin()()
	s.Apart, s.EyesOpen = enrolApart, true
	var views *poses
	if r.Poses {
		views = &poses{now: d.hw.Now, mirrored: d.opts.Mirrored}
		s.Want = views.want
	}
	hint, hints := vision.HintNoFace, hinter{d: d, asker: r.Notify}
	for looks := 1; ; looks++ {
		seen, err := d.look(ctx, s)
		switch {
		case err != nil && over(ctx):
			return store.Template{}, nil, &RetryError{Hints: []string{hint.String()}}
		case err != nil:
			return store.Template{}, nil, err
		case s.Replayed():
			return store.Template{}, nil, fmt.Errorf("device: frames of the camera came again: %w", ErrReplay)
		case seen.Restarted && s.TooSlow() && (s.Cues()["restarts"] > 0 || looks > steadyGaps):
			return store.Template{}, nil, tooSlow(s) // whoever is there is somebody else by that alone
		case seen.Restarted && s.Cues()["restarts"] > 0:
			return store.Template{}, nil, fmt.Errorf("device: %w", ErrMixed)
		}
		sight := Somebody
		if seen.Hint == vision.HintNoFace {
			sight = Nobody
		}
		if err := there.look(sight); err != nil {
			return store.Template{}, nil, err
		}
		if seen.Hint != vision.HintNone {
			hint = seen.Hint
			hints.tell(hint)
			continue
		}
		if !seen.Kept {
			continue
		}
		if s.Len() == 1 && !there.is(s.Embeddings()[0], s.Same) { // the others are compared with it
			return store.Template{}, nil, fmt.Errorf("device: somebody else is there: %w", ErrLeft)
		}
		if views.kept(seen.Quality); s.Len() == frontFrames { // whoever is enrolled already is told before they turn
			if err := d.checkDuplicateOf(s, r.Who, profile); err != nil {
				return store.Template{}, nil, err
			}
		}
		d.tell(r.Notify, Event{Kind: "progress", Step: Face, Done: min(s.Len(), enrolFrames), Of: enrolFrames})
		if s.Len() < enrolFrames {
			continue
		}
		if profile.Liveness == nil {
			break // an enrolment is under somebody's eyes
		}
		if live, _ := s.Live(); live >= d.policy.Live {
			break
		}
		if hint = vision.HintTurnToCamera; s.Len() >= framesForLive {
			retry := &RetryError{Hints: []string{hint.String()}}
			if _, decided := s.Alive(d.policy.Live); decided {
				return store.Template{}, nil, fmt.Errorf("%w: %w", errNotLive, retry)
			}
			return store.Template{}, nil, retry
		}
		hints.tell(hint)
	}
	if err := d.checkDuplicateOf(s, r.Who, profile); err != nil {
		return store.Template{}, nil, err
	}
	mean, err := s.Mean()
	if err != nil {
		return store.Template{}, nil, fmt.Errorf("device: %w", err)
	}
	defer mean.Wipe()
	data, err := mean.MarshalBinary()
	if err != nil {
		return store.Template{}, nil, fmt.Errorf("device: %w", err)
	}
	return store.Template{Kind: store.KindFace, Model: profile.Model(), Data: data}, nil, nil
}

// ErrReplay: the camera delivers what it delivered before; somebody plays a
// recording into it.
var ErrReplay = errors.New("the camera's picture is a recording")
