package vision

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// Looker finds and describes faces; a Model is one.
type Looker interface {
	Detect(*Frame) ([]Face, error)
	Describe(*Frame, *Face) error
}

// Sequence is what a run of frames showed of one person: it chooses the subject,
// stays with them, keeps what is good and independent, and forgets everything
// when it is somebody else. The zero value is ready. It is used by one
// goroutine.
type Sequence struct {
	// Same is the least cosine of two frames of one person. Below it, whoever
	// stands there now is somebody else.
	Same float64
	// Before, if not nil, remembers the frames of earlier sequences: a camera
	// whose frames come again is being played to.
	Before *Memory

	// Want, if not nil, says what a good frame still lacks to be wanted, such as
	// a turn of the head; HintNone: nothing. Others are not kept.
	Want func(Quality) Hint

	// Turning: the person was asked to turn, so that frames in which they look
	// aside are compared as well, though not kept. SameTurned is the least cosine
	// of such a frame with the mean of those that are kept.
	Turning    bool
	SameTurned float64

	// EyesOpen: good frames with shut eyes are left out for as long as a blink takes.
	EyesOpen bool

	// Apart is the least time between frames that are kept; 0 = 150 ms.
	Apart time.Duration

	shots    []shot
	face     Face // the subject of the last frame, where they were alone
	alone    bool
	relief   relief
	motion   motion
	bezel    bezel
	eyes     eyes
	blinked  time.Time       // the last frame that was described and not kept, for shut eyes
	withheld time.Time       // since when frames are left out for shut eyes, the latest time
	tracked  int             // frames since all of one was looked at
	aside    time.Time       // of the last frame that was compared and not kept
	others   int             // frames aside in a row that showed somebody else
	box      Box             // of the subject, in the last frame that showed them
	at       time.Time       // of that frame; zero = there is no subject
	looked   time.Time       // of the last frame
	gaps     []time.Duration // between the last frames, at most paceFrames
	lost     time.Duration   // who is not seen for longer is somebody else
	starved  bool            // no frame came since the one that showed the subject
	stalled  bool            // none had come for longer than that, and nobody was compared since
	stalls   int             // how often that was
	outdone  int             // frames in a row in which somebody else was far more prominent than the subject in them
	behind   time.Time       // the first of them
	any      bool            // a frame showed somebody
	last     uint64          // hash of the last one that did
	own      Memory          // of this sequence
	restarts int
	repeats  int
	copies   int // frames that were the same as the one before
}

// shot is one good frame.
type shot struct {
	embedding Embedding
	at        time.Time
	yaw       float32 // degrees
	pitch     float32
	live      float64 // P(live); NaN where the pose does not allow to tell
}

// Seen is what one frame added.
type Seen struct {
	Hint      Hint      // what the person can do; HintNone: the frame is good
	Kept      bool      // it is good and independent of those before
	Same      bool      // it was compared and shows the person of the frames before
	Blinked   bool      // a blink of theirs is over with this frame
	Withheld  bool      // it is good, and left out since the eyes are shut in it
	Restarted bool      // this is somebody else: what was kept before is gone
	Resumed   bool      // after a gap in which no frame came it is compared and shows the same person
	Quality   Quality   // of the one who is meant, good or not; the zero one where there is nobody
	At        time.Time // of the frame
}

// Look takes the next frame. The time of the frame must be set.
func (s *Sequence) Look(m Looker, f *Frame) (Seen, error) {
	subject, seen, err := s.find(m, f)
	if err != nil || seen.Hint != HintNone {
		return seen, err
	}
	again := s.repeated(f)
	if seen.Hint = subject.Quality.Hint(); seen.Hint != HintNone {
		if !again && s.compares(f, subject.Quality) {
			s.aside = f.At
			seen.Same, err = s.same(m, f, &subject)
			seen.Quality.Open = subject.Quality.Open
			seen.Resumed = seen.Same && s.resumed()
			if s.others >= othersAside {
				s.restart()
				seen.Restarted = true
			}
		}
		return seen, err
	}
	if again {
		return seen, nil
	}
	shut, blink := s.eyes.look(f.At, subject.Quality)
	seen.Blinked = !blink.IsZero()
	if seen.Withheld = shut > 0 && seen.Quality.Open > 0 && s.withholds(f.At, shut); seen.Withheld {
		return seen, nil
	}
	if s.Want != nil {
		if seen.Hint = s.Want(subject.Quality); seen.Hint != HintNone {
			return seen, nil
		}
	}
	if !s.keeps(f) {
		seen.Hint = openHint(shut) // between those that are kept: nobody waits for it
		return seen, nil
	}
	if err := m.Describe(f, &subject); err != nil {
		return Seen{Hint: HintNoFace, Restarted: seen.Restarted}, err
	}
	if seen.Quality.Open == 0 { // a face that was found anew has its points looked at once more by now
		seen.Quality.Open = subject.Quality.Open
		shut, blink = s.eyes.look(f.At, subject.Quality)
		seen.Blinked = !blink.IsZero()
		if seen.Withheld = shut > 0 && s.withholds(f.At, shut); seen.Withheld {
			s.blinked = f.At
			subject.Embedding.Wipe()
			return seen, nil
		}
	}
	for _, x := range s.shots {
		if c := Cosine(x.embedding, subject.Embedding); !(c >= s.Same) {
			s.restart()
			seen.Restarted = true
			break
		}
	}
	s.relief.add(&subject)
	s.bezel.add(f, &subject)
	s.motion.add(&subject, f.At) // only of frames whose points were found alike: tracked ones depend on those before
	live := math.NaN()
	if q := subject.Quality; within(q.Yaw, liveYaw) && q.Pitch >= -liveDown {
		live = float64(subject.Live)
	}
	s.shots = extended(s.shots, shot{subject.Embedding, f.At, subject.Quality.Yaw, subject.Quality.Pitch, live})
	s.others = 0
	seen.Kept, seen.Same, seen.Resumed = true, true, s.resumed()
	return seen, nil
}

// find finds the subject: near where they were, or, where the frame may be kept
// or it is time, by looking through all of it.
func (s *Sequence) find(m Looker, f *Frame) (Face, Seen, error) {
	s.paced(f.At)
	t, can := m.(Tracker)
	gap := f.At.Sub(s.at)
	if can && s.alone && s.tracked < trackFrames && gap >= 0 && gap < trackGap {
		face := s.face
		ok, err := t.Track(f, &face)
		if err != nil {
			return Face{}, Seen{Hint: HintNoFace, At: f.At}, err
		}
		q := face.Quality
		wanted := q.Hint() == HintNone && s.keeps(f) && (s.Want == nil || s.Want(q) == HintNone)
		if ok && !wanted && !s.compares(f, q) {
			s.tracked++
			s.face, s.box, s.at = face, face.Box, f.At
			s.relief.add(&face)
			return face, Seen{At: f.At, Quality: q}, nil
		}
	}
	s.alone, s.tracked = false, 0
	faces, err := m.Detect(f)
	if err != nil {
		return Face{}, Seen{Hint: HintNoFace, At: f.At}, err
	}
	face, seen := s.follow(f, faces)
	if seen.Hint == HintNone {
		s.face, s.alone, seen.Quality = face, len(faces) == 1, face.Quality
	}
	return face, seen, nil
}

// keeps tells whether a good frame would be kept: it is not too soon to say
// anything new.
func (s *Sequence) keeps(f *Frame) bool {
	n := len(s.shots)
	return (n == 0 || f.At.Sub(s.shots[n-1].at) >= max(s.Apart, apart)) && (s.blinked.IsZero() || f.At.Sub(s.blinked) >= apart)
}

// withholds tells whether a good frame is left out for eyes that have been shut for so
// long: while it may be a blink, and not again for a while, since eyes that laugh or
// are behind glasses may seem shut, and nobody is to wait for that.
func (s *Sequence) withholds(at time.Time, shut time.Duration) bool {
	if !s.EyesOpen || shut >= withholdMost {
		return false
	}
	if since := at.Sub(s.withheld); since < 0 || since >= withholdEvery {
		s.withheld = at
	}
	return at.Sub(s.withheld) < withholdMost
}

// compares tells whether a frame that is not good would be compared.
func (s *Sequence) compares(f *Frame, q Quality) bool {
	return s.Turning && q.aside() && f.At.Sub(s.aside) >= apart
}

// same tells whether a face that looks aside is the person of the frames that
// are kept.
func (s *Sequence) same(m Looker, f *Frame, face *Face) (bool, error) {
	mean, err := s.Mean()
	if err != nil {
		return false, nil // none are kept
	}
	defer mean.Wipe()
	if err := m.Describe(f, face); err != nil {
		return false, err
	}
	defer face.Embedding.Wipe()
	s.relief.add(face)
	if same := Cosine(mean, face.Embedding) >= s.SameTurned; !same {
		s.others++
		return false, nil
	}
	s.others = 0
	return true, nil
}

// Stalled tells whether no frame had come for so long that somebody else may be there,
// and nobody was compared since: what they do now is nobody's, until Seen says Resumed or
// Restarted.
func (s *Sequence) Stalled() bool { return s.stalled }

// resumed takes note that somebody was compared who is the person, and tells whether
// that was in doubt.
func (s *Sequence) resumed() (was bool) {
	was, s.stalled = s.stalled, false
	return was
}

// Pace is how long a frame takes: the median of the last gaps, and of an even number
// of them the lesser, so that neither one that stalled nor one that came quickly tells.
// 0: there were no two frames. TooSlow tells whether nobody can be followed over frames
// that take so long.
func (s *Sequence) Pace() time.Duration {
	n := len(s.gaps)
	if n == 0 {
		return 0
	}
	var sorted [paceFrames]time.Duration
	slices.Sort(sorted[:copy(sorted[:], s.gaps)])
	return sorted[(n-1)/2]
}

// TooSlow is described at Pace.
func (s *Sequence) TooSlow() bool { return s.Pace() > followMost }

// paced takes note of a frame's time: a device that takes a second and more for one
// loses nobody between two of them. Who they are is compared in every frame that is
// kept, however long it took.
func (s *Sequence) paced(at time.Time) {
	if !s.looked.IsZero() {
		if len(s.gaps) == paceFrames {
			s.gaps = slices.Delete(s.gaps, 0, 1)
		}
		s.gaps = append(s.gaps, max(at.Sub(s.looked), 0))
	}
	s.lost = max(followGap, min(followFrames*s.Pace(), followMost))
	s.starved = s.at.Equal(s.looked)
	s.looked = at
}

// follow finds the subject: at first the most prominent face, then the one that
// is where they were, and nobody where only somebody lesser is left for a moment.
// Two that could equally be meant are nobody.
func (s *Sequence) follow(f *Frame, faces []Face) (Face, Seen) {
	if len(faces) == 0 {
		s.outdone = 0
		return Face{}, Seen{Hint: HintNoFace, At: f.At}
	}
	k := 0
	seen := Seen{At: f.At}
	if !s.at.IsZero() {
		var best float32
		for i := range faces {
			if o := faces[i].Box.Overlap(s.box); o > best {
				k, best = i, o
			}
		}
		before := Face{Box: s.box}.prominence(f.Width, f.Height)
		if best >= followOverlap {
			s.measure(f, faces, k)
		}
		gap := f.At.Sub(s.at)
		if gap > s.lost && s.starved && len(s.shots) > 0 && !s.TooSlow() {
			// Nobody was seen to leave, since nothing was seen. Whoever is there is compared
			// with the frames that are kept, as they would be without a gap.
			gap, s.stalled = 0, true
			s.stalls++
			s.eyes.since = time.Time{} // a blink over it is none
		}
		switch {
		case gap > s.lost, gap < 0, s.outdone >= outdoneFrames && f.At.Sub(s.behind) >= outdoneFor,
			best < followOverlap && faces[0].prominence(f.Width, f.Height) >= rivalSize*before:
			k = 0
			s.restart()
			seen.Restarted = true
		case best < followOverlap: // they were missed, and somebody behind them was not
			s.outdone = 0
			return Face{}, Seen{Hint: HintNoFace, At: f.At}
		}
	}
	s.box, s.at = faces[k].Box, f.At
	for i := range faces {
		if i != k && faces[i].prominence(f.Width, f.Height) >= rivalSize*faces[k].prominence(f.Width, f.Height) {
			seen.Hint = HintOnePerson
			return Face{}, seen
		}
	}
	return faces[k], seen
}

// measure takes note of whether somebody else is far more prominent than the subject:
// who stays before them is meant, and not who was seen first.
func (s *Sequence) measure(f *Frame, faces []Face, subject int) {
	if subject == 0 || faces[subject].prominence(f.Width, f.Height) >= rivalSize*faces[0].prominence(f.Width, f.Height) {
		s.outdone = 0
		return
	}
	if s.outdone == 0 {
		s.behind = f.At
	}
	s.outdone++
}

// repeated tells whether the frame was there before, bit for bit. No sensor
// takes the same picture twice: right after itself it is a camera that repeats
// or froze, also where the attempt before ended with it; later it is a recording.
// The whole height and width of the frame are compared: where in it the subject is
// found depends on the frames before, once they are tracked.
func (s *Sequence) repeated(f *Frame) bool {
	p := f.fingerprint()
	if s.any && p == s.last || s.Before != nil && s.Before.newest(p) {
		s.any, s.last = true, p
		s.copies++
		return true
	}
	s.any, s.last = true, p
	again := s.own.seen(p)
	if s.Before != nil && s.Before.seen(p) {
		again = true
	}
	if again {
		s.repeats++
	}
	return again
}

// restart forgets the person, but not that there was one.
func (s *Sequence) restart() {
	if len(s.shots) > 0 {
		s.restarts++
	}
	for _, x := range s.shots {
		x.embedding.Wipe()
	}
	clear(s.shots)
	s.shots = s.shots[:0]
	s.relief.wipe()
	s.motion.wipe()
	s.bezel.wipe()
	s.eyes, s.blinked = eyes{}, time.Time{}
	s.others, s.outdone = 0, 0
	s.stalled = false
}

// Wipe overwrites what is kept of the person.
func (s *Sequence) Wipe() {
	s.restart()
	s.face.wipe()
	clear(s.own.ring)
	*s = Sequence{Same: s.Same, Before: s.Before, Want: s.Want, Turning: s.Turning, SameTurned: s.SameTurned, EyesOpen: s.EyesOpen, Apart: s.Apart}
}

// Len is how many good frames are kept.
func (s *Sequence) Len() int { return len(s.shots) }

// Embeddings of the good frames; they are the sequence's.
func (s *Sequence) Embeddings() []Embedding {
	e := make([]Embedding, len(s.shots))
	for i, x := range s.shots {
		e[i] = x.embedding
	}
	return e
}

// Mean is the fused embedding of the good frames.
func (s *Sequence) Mean() (Embedding, error) { return Mean(s.Embeddings()) }

// Fuse is the same with how well they agree.
func (s *Sequence) Fuse() (mean Embedding, agreement float64, err error) { return Fuse(s.Embeddings()) }

// Span is the time between the first and the last good frame.
func (s *Sequence) Span() time.Duration {
	if len(s.shots) == 0 {
		return 0
	}
	return s.shots[len(s.shots)-1].at.Sub(s.shots[0].at)
}

// Spread is by how many degrees the head turned, and nodded, between the good
// frames.
func (s *Sequence) Spread() (yaw, pitch float32) {
	if len(s.shots) == 0 {
		return 0, 0
	}
	a, b := s.shots[0], s.shots[0] // the least, the most
	for _, x := range s.shots {
		a.yaw, b.yaw = min(a.yaw, x.yaw), max(b.yaw, x.yaw)
		a.pitch, b.pitch = min(a.pitch, x.pitch), max(b.pitch, x.pitch)
	}
	return b.yaw - a.yaw, b.pitch - a.pitch
}

// Live is the probability that a living person is there: the mean over those
// good frames whose pose allows to tell. It is NaN, which every policy refuses,
// before there are at least three of them. n says how many there are.
func (s *Sequence) Live() (p float64, n int) {
	sum := 0.0
	for _, x := range s.shots {
		if !math.IsNaN(x.live) {
			sum += x.live
			n++
		}
	}
	if n < liveFrames {
		return math.NaN(), n
	}
	return sum / float64(n), n
}

// Alive decides by Live: yes as soon as three frames say so, no when five do
// not; until then it is undecided.
func (s *Sequence) Alive(threshold float64) (alive, decided bool) {
	p, n := s.Live()
	alive = p >= threshold
	return alive, alive || n >= deadFrames
}

// Replayed tells whether frames came again that a living camera would not take
// again: somebody plays a recording into it.
func (s *Sequence) Replayed() bool { return s.repeats > 0 }

// Flat tells whether what was seen turned as a picture on paper or on a screen
// does. It is a reason to doubt, and none to refuse.
func (s *Sequence) Flat() bool { return s.relief.flat() }

// Framed tells whether long straight edges on two sides of the face moved with it,
// as those of a phone or of a sheet that is held up do, and of nothing that stays
// where it is behind a person. It is a reason to doubt, and none to refuse: a camera
// that shakes takes the edges of a room with the face as well.
func (s *Sequence) Framed() bool { return s.bezel.framed() }

// Still tells whether the points of the face moved no more than noise moves them,
// as those of one picture do: a reason to doubt. decided is false while a calm
// person may have done no more. A profile without points never tells.
func (s *Sequence) Still() (still, decided bool) { return s.motion.still() }

// Cues are the measurements that speak for or against an attack, by name, for
// the audit.
func (s *Sequence) Cues() map[string]float64 {
	c := map[string]float64{
		"frames": float64(len(s.shots)), "span-ms": float64(s.Span().Milliseconds()),
		"restarts": float64(s.restarts), "stalls": float64(s.stalls), "repeats": float64(s.repeats), "copies": float64(s.copies),
	}
	if s.eyes.frames > 0 || s.eyes.blinks > 0 {
		c["blinks"] = float64(s.eyes.blinks)
	}
	least := math.Inf(1)
	p, n := s.Live()
	for _, x := range s.shots {
		if x.live < least {
			least = x.live
		}
	}
	c["live-frames"] = float64(n)
	if depth, foreshortened := s.relief.measure(); !math.IsNaN(depth) {
		c["relief"], c["foreshortened"] = depth, foreshortened
	}
	if edges := s.bezel.measure(); !math.IsNaN(edges) {
		c["bezel"] = edges
	}
	if moved := s.motion.measure(); !math.IsNaN(moved) {
		c["motion"] = moved
	}
	if !math.IsNaN(p) {
		c["live"], c["live-least"] = p, least
	}
	return c
}

// String tells no more than how far it is.
func (s *Sequence) String() string { return fmt.Sprintf("sequence of %d frames", len(s.shots)) }

// Memory remembers hashes of the newest frames that showed somebody. It finds
// frames that come again bit for bit, and nothing else: a recording that was
// compressed, scaled or mixed with noise anew is no repetition. The zero value is
// ready; it is used by one goroutine at a time.
type Memory struct {
	ring []uint64
	next int // the oldest, once it is full
	have map[uint64]int
}

// newest tells whether the hash is the one that was noted last.
func (m *Memory) newest(p uint64) bool {
	n := len(m.ring)
	return n > 0 && m.ring[(m.next+n-1)%n] == p
}

// seen notes a hash and tells whether it was there already.
func (m *Memory) seen(p uint64) bool {
	if m.have == nil {
		m.have = make(map[uint64]int)
	}
	again := m.have[p] > 0
	if len(m.ring) < memoryFrames {
		m.ring = append(m.ring, p)
	} else {
		old := m.ring[m.next]
		if m.have[old]--; m.have[old] == 0 {
			delete(m.have, old)
		}
		m.ring[m.next] = p
		m.next = (m.next + 1) % memoryFrames
	}
	m.have[p]++
	return again
}

// fingerprint is a hash of every fourth row. Each is full of a sensor's noise, so
// that these rows come again only where all do, and whoever changes a recording so
// that they do not would have changed it anyhow; a Pi without instructions for AES
// spends a quarter of the time.
func (f *Frame) fingerprint() (p uint64) {
	const golden = 0x9e3779b97f4a7c15 // odd, so that no row's hash is lost
	for y := 0; y < f.Height; y += 4 {
		p = (p + maphash.Bytes(seed, f.Pix[3*f.Width*y:][:3*f.Width])) * golden
	}
	return p
}

// seed of the hashes, of this process: nobody can prepare a frame that collides
// with another.
var seed = maphash.MakeSeed()
