package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// Presence is watched by glances: often enough that who steps up is not kept
// waiting, rarely enough that an idle device costs next to nothing.
const (
	glanceEvery = 300 * time.Millisecond
	// A face of this size, in pixels, is somebody who came to the device and
	// not somebody who walks past: half of what can be recognised.
	presentSize = 35
	// defaultAway is how long nobody is seen before they have left: longer
	// than a glance at the keyboard or a sneeze.
	defaultAway = 5 * time.Second
	// blindStay is how long somebody who was let in counts as there while the
	// camera, and so whether they are, cannot be seen: a PIN is for that day.
	blindStay = 2 * time.Minute
	// So many good looks in a row at somebody else than the visitor: one may be a
	// face in the background, or a bad frame that passed for a good one.
	looksAtOther = 2
	// The time between two frames counts as time in which nobody was seen up to this
	// share of away: so many looks at nobody, and one, are the least that somebody has
	// left by, however far apart they are.
	awayShares = 3
	// A visitor of whom no look told that it is they for so long, or two aways if longer,
	// while somebody was there, has left: it may be anybody. Whoever looks down to type,
	// or touches a finger reader, looks up again sooner, and a look that is good for
	// nothing else may tell.
	doubtStay  = 15 * time.Second
	doubtAways = 2
	// An enrolment waits this many times as long for the first sight of who
	// agreed to it: they may still stand aside, reading.
	firstSight = 3
)

// Presence is what Watch knows.
type Presence int32

// What is known. The zero value: nobody watches.
const (
	Unwatched Presence = iota
	Blind              // the camera or the model is not there
	Nobody
	Somebody
)

// Watch tells who comes and goes, until the context ends: an event "presence"
// with the outcome "came" or "left", or "nobody" where somebody was let in and
// then not seen. Nobody is recognised by it and nothing is kept. Somebody has
// left when a camera that looks saw no face for as long as away says; 0 = 5 s. Of a visit that is
// bound they have left also when somebody else is there, who then came, or somebody of
// whom it cannot be told, for the longer of doubtStay and doubtAways aways. That the
// device is busy, with whomever, makes nobody be there: an attempt's own frames
// tell who is, and while it takes none the camera does.
func (d *Device) Watch(ctx context.Context, away time.Duration) error {
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return errors.New("device: presence needs a camera and a face model")
	}
	if away <= 0 {
		away = defaultAway
	}
	tick := time.NewTicker(glanceEvery)
	defer tick.Stop()
	defer d.present.Store(int32(Unwatched))
	defer d.visit.bind(false)
	var (
		here    bool
		gone    = absence{away: away}
		eye     = glancer{who: &d.visit}
		grants  uint64  // that were given until now
		visits  uint64  // that began
		unseen  bool    // somebody was let in, or a visit begun, who was not seen since
		missing absence // of that one
		agreed  bool    // that one only agreed to an enrolment: nobody was let in
	)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := d.hw.Now()
		if n := d.letIn.Load(); n != grants { // to whom else does not matter: the first one is not there for longer
			if grants = n; !unseen || agreed {
				unseen, agreed, missing = true, false, absent(now, away)
			}
		}
		if n, bound := d.visit.began(); n != visits {
			agreed = !unseen || agreed
			visits, unseen, missing = n, true, absent(now, away)
		} else if agreed && !bound {
			unseen = false
		}
		sight := eye.see(ctx, d)
		left, never := gone.look(sight, now), missing.look(sight, now)
		if sight == Unwatched && (gone.dark(now) || here && left >= away) {
			sight = Blind
		}
		there := sight == Somebody
		if sight != Unwatched && !there && !here {
			d.present.Store(int32(sight))
		}
		switch {
		case there && here && (d.visit.replaced() || d.visit.doubtful(now, away)):
			unseen = false
			d.visit.bind(false)
			d.send(Event{Kind: "presence", Outcome: "left", Detail: Replaced})
			d.send(Event{Kind: "presence", Outcome: "came"})
		case there:
			unseen = false
			if !here {
				here = true
				d.present.Store(int32(Somebody))
				d.send(Event{Kind: "presence", Outcome: "came"})
			}
		case here && left >= away:
			here, unseen = false, false
			d.visit.bind(false)
			d.present.Store(int32(sight))
			d.send(Event{Kind: "presence", Outcome: "left"})
		case !here && unseen && never >= sight.patience(away, agreed):
			unseen = false
			d.visit.bind(false)
			d.send(Event{Kind: "presence", Outcome: "nobody"})
		}
	}
}

// absence is for how long somebody was not seen. Only what the camera shows makes
// nobody be there, or a busy machine, whose frames are late, would send them away; but
// not for ever. With away alone it has seen nobody yet.
type absence struct {
	away  time.Duration // after which they have left
	seen  time.Time     // when somebody was seen last
	frame time.Time     // the last one
	empty bool          // it showed nobody
	none  time.Duration // for how long frames have shown nobody
}

// absent is that of somebody who is still to come.
func absent(now time.Time, away time.Duration) absence {
	return absence{away: away, seen: now, frame: now, empty: true}
}

// look takes note of what was seen now, and tells for how long nobody was.
func (a *absence) look(sight Presence, now time.Time) time.Duration {
	switch sight {
	case Somebody:
		a.seen, a.frame, a.empty, a.none = now, now, false, 0
		return 0
	case Nobody:
		if a.empty {
			a.none += min(now.Sub(a.frame), a.away/awayShares)
		}
		a.frame, a.empty = now, true
		return a.none
	case Unwatched: // no frame came
		if since := now.Sub(a.seen); since >= blindStay {
			return since
		}
		return 0
	case Blind: // the camera is gone, and may stay so
	}
	return now.Sub(a.seen)
}

// dark tells whether no frame came for so long that nobody counts as there.
func (a *absence) dark(now time.Time) bool { return now.Sub(a.frame) >= blindStay }

// Presence tells who is before the device, as far as Watch knows.
func (d *Device) Presence() Presence { return Presence(d.present.Load()) }

// Replaced is the detail of an event "left" where somebody is there: another, or one who
// could not be seen to be the visitor for too long.
const Replaced = "replaced"

// Visit binds what follows to whoever is before the device now, or no longer:
// while Watch runs it remembers their face as soon as it sees it well, in memory
// alone, and tells that they left when another one is there in its place, or somebody
// whom no look shows to be them. It is forgotten when they leave.
func (d *Device) Visit(bound bool) { d.visit.bind(bound) }

// visitor is the face whose visit it is. The zero one is nobody's.
type visitor struct {
	mu     sync.Mutex
	bound  bool
	times  uint64           // how often it was
	face   vision.Embedding // nil until it was seen well
	others int              // good looks in a row that showed somebody else
	doubt  time.Time        // since when no look showed them, but somebody; zero: the last one showed them
}

// bind begins a visit, or ends it.
func (v *visitor) bind(bound bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.face.Wipe()
	v.bound, v.face, v.others, v.doubt = bound, nil, 0, time.Time{}
	if bound {
		v.times++
	}
}

// began tells how many visits there were, and whether the last one goes on.
func (v *visitor) began() (times uint64, bound bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.times, v.bound
}

// like makes the visit that of whoever another one is of, as far as it is known.
func (v *visitor) like(o *visitor) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.bound, v.face = true, slices.Clone(o.face)
}

// awaits tells whether a good look at somebody is wanted.
func (v *visitor) awaits() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bound
}

// seen takes note that somebody is there. Whether it is the visitor is in doubt from
// then on, where it was seen who that is, until saw is told.
func (v *visitor) seen(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.face != nil && v.doubt.IsZero() {
		v.doubt = now
	}
}

// doubtful tells whether that is in doubt for too long.
func (v *visitor) doubtful(now time.Time, away time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.doubt.IsZero() && now.Sub(v.doubt) >= max(doubtStay, doubtAways*away)
}

// saw takes note of a look at somebody, whose face it does not keep but of the first
// good one; one that is not good tells who it is and never who it is not. same is the
// least cosine of two looks at one person.
func (v *visitor) saw(e vision.Embedding, same float64, good bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.bound:
	case v.face == nil && good:
		v.face = slices.Clone(e)
	case v.face != nil && vision.Cosine(v.face, e) >= same:
		v.others, v.doubt = 0, time.Time{}
	case good:
		v.others++
	}
}

// replaced tells whether somebody else is there.
func (v *visitor) replaced() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.others >= looksAtOther
}

// is tells whether a good look shows the visitor; whoever comes first is.
func (v *visitor) is(e vision.Embedding, same float64) bool {
	v.saw(e, same, true)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.others == 0
}

// ErrLeft: whoever agreed to an enrolment was not seen any more.
var ErrLeft = errors.New("whoever agreed to it has left")

// stay is how an enrolment sees to it that who agreed is who is captured: it ends
// when nobody was there for a while, or somebody else is. The nil one sees to
// nothing.
type stay struct {
	d     *Device
	limit time.Duration
	came  bool // they were seen
	gone  absence
	who   visitor // of the visit, or of the first good look at the enrolment
}

// stays begins it; without a limit, or eyes, there is none.
func (d *Device) stays(limit time.Duration) *stay {
	if limit <= 0 || d.hw.Camera == nil || d.hw.Faces == nil {
		return nil
	}
	now := d.hw.Now()
	s := &stay{d: d, limit: limit, gone: absent(now, limit)} // they may never come
	s.who.like(&d.visit)
	return s
}

// is tells whether the face of a good frame is theirs.
func (s *stay) is(e vision.Embedding, same float64) bool { return s == nil || s.who.is(e, same) }

// end wipes the face.
func (s *stay) end() {
	if s != nil {
		s.who.bind(false)
	}
}

// look notes whether they were there now, and is ErrLeft when they have left.
func (s *stay) look(sight Presence) error {
	if s == nil {
		return nil
	}
	if s.who.replaced() {
		return fmt.Errorf("device: somebody else is there: %w", ErrLeft)
	}
	now := s.d.hw.Now()
	if sight == Somebody && s.who.doubtful(now, s.limit) {
		return fmt.Errorf("device: whoever is there cannot be seen to be who agreed: %w", ErrLeft)
	}
	s.came = s.came || sight == Somebody
	patience := s.limit
	if !s.came {
		patience *= firstSight
	}
	if s.gone.look(sight, now) >= patience {
		return fmt.Errorf("device: %w", ErrLeft)
	}
	return nil
}

// watch glances at them while f, which does not look itself, goes on; its
// context ends when they leave, and then the error is ErrLeft.
func (s *stay) watch(ctx context.Context, f func(context.Context) error) error {
	if s == nil {
		return f(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.d.watched.begin()()
		tick := time.NewTicker(glanceEvery)
		defer tick.Stop()
		eye := glancer{who: &s.who}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sight := eye.glance(ctx, s.d)
			s.d.watched.saw(sight)
			if err := s.look(sight); err != nil {
				end(err)
				return
			}
		}
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, ErrLeft) {
		err = cause
	}
	end(nil)
	<-done
	return err
}

// glancer looks whether somebody is there. While the picture stays as it was, so
// does the answer, and nobody is looked for.
type glancer struct {
	still vision.Stillness
	there bool
	blind bool     // there was no picture to look at, or nothing to look with
	who   *visitor // is looked at well, where the visit is theirs; may be nil
}

// sight is what an eye knows that looked.
func (g *glancer) sight() Presence {
	switch {
	case g.there:
		return Somebody
	case g.blind:
		return Blind
	}
	return Nobody
}

// patience is how long somebody counts as there who was not seen yet: let in, or
// agreed to be enrolled.
func (p Presence) patience(away time.Duration, agreed bool) time.Duration {
	switch {
	case p == Blind, p == Unwatched:
		return max(away, blindStay)
	case agreed:
		return firstSight * away
	}
	return away
}

// see tells whether somebody is before the camera: by the frames of the attempt
// that looks, which gets every one of them, or else by a glance. Unwatched: no frame
// came since it was asked last.
func (g *glancer) see(ctx context.Context, d *Device) Presence {
	known, looks := d.watched.take()
	if !looks || known == Blind { // which ends an attempt
		return g.glance(ctx, d)
	}
	if known == Unwatched && !g.blind {
		return Unwatched
	}
	*g = glancer{there: known == Somebody, blind: known == Unwatched, who: g.who}
	return g.sight()
}

// watched is what an attempt that looks at every frame saw of who is there. The
// zero one: none looks.
type watched struct {
	mu    sync.Mutex
	looks int      // how many look
	known Presence // since it was asked last; Unwatched: no frame came
	shown time.Time
}

// begin notes that somebody looks, until the returned function is called.
func (w *watched) begin() (end func()) {
	add := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looks += n
		w.known = Unwatched
	}
	add(1)
	return func() { add(-1) }
}

// saw takes note of a frame. Somebody in one of them is there.
func (w *watched) saw(p Presence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = max(w.known, p)
}

// take tells what was seen since it was asked last, where anybody looks.
func (w *watched) take() (known Presence, looks bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, w.known = w.known, Unwatched
	return known, w.looks > 0
}

// due tells whether a good look is one that shall be compared with the visitor:
// as often as Watch does, so that two of them lie as far apart.
func (w *watched) due(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.shown) < glanceEvery {
		return false
	}
	w.shown = now
	return true
}

// glance tells whether somebody is before the camera. A camera or a model that is
// missing is blind; whose part it is reports that. Unwatched: no frame came in time, or
// for long from a camera that is there, which on a busy machine is the same.
func (g *glancer) glance(ctx context.Context, d *Device) Presence {
	ctx, cancel := context.WithTimeout(ctx, glanceEvery)
	defer cancel()
	frame, err := d.hw.Camera.Frame(ctx)
	if (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, vision.ErrSilent)) && !g.blind {
		return Unwatched
	}
	if err != nil {
		*g = glancer{blind: true, who: g.who}
		return Blind
	}
	defer frame.Wipe()
	g.blind = false
	if g.still.Still(frame) {
		return g.sight()
	}
	d.eyes.Lock()
	defer d.eyes.Unlock()
	faces, err := d.hw.Faces.Detect(frame)
	if err != nil {
		*g = glancer{blind: true, who: g.who}
		return Blind
	}
	g.there = len(faces) > 0 && large(faces[0])
	if g.there && g.who != nil && g.who.awaits() {
		g.who.seen(d.hw.Now())
		g.recall(d, frame, &faces[0])
	}
	return g.sight()
}

// recall shows a face to whose visit it is. What cannot be described tells nothing.
func (g *glancer) recall(d *Device, frame *vision.Frame, face *vision.Face) {
	profile, err := d.hw.Faces.Profile()
	if err != nil {
		return
	}
	same, err := profile.Table.Threshold(samePersonFMR)
	if err != nil || d.hw.Faces.Describe(frame, face) != nil {
		return
	}
	g.who.saw(face.Embedding, same, face.Quality.Hint() == vision.HintNone)
	face.Embedding.Wipe()
}

func large(f vision.Face) bool { return f.Quality.Size >= presentSize }
