package vision

import (
	"errors"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// scene is a Looker that sees what a test puts before it.
type scene struct {
	faces     []Face
	people    map[int]Embedding // by the detector's score, as a name tag
	describes int
	err       error
}

func (s *scene) Detect(*Frame) ([]Face, error) { return s.faces, s.err }

func (s *scene) Describe(_ *Frame, f *Face) error {
	s.describes++
	f.Embedding = append(Embedding(nil), s.people[int(f.Score)]...)
	f.Live = 0.9
	return nil
}

// theatre is a scene with a clock and a noisy camera.
type theatre struct {
	scene
	seq Sequence
	now time.Time
	rng *rand.Rand
	pic *Frame
}

func newTheatre() *theatre {
	rng := rand.New(rand.NewPCG(1, 11))
	t := &theatre{now: time.Unix(1000, 0), rng: rng, pic: grey(640, 480)}
	t.seq.Same = 0.5
	t.people = map[int]Embedding{1: anyone(rng, 128), 2: anyone(rng, 128)}
	return t
}

// somebody of good quality with the middle of the face at x.
func somebody(who int, x, size float32) Face {
	b := Box{x - size/2, 240 - size/2, x + size/2, 240 + size/2}
	return Face{Box: b, Score: float32(who), Quality: Quality{Size: size, Sharpness: 100, Brightness: 120, Contrast: 40, Inside: 1}}
}

func (t *theatre) show(test *testing.T, after time.Duration, faces ...Face) Seen {
	test.Helper()
	for i := range t.pic.Pix { // no sensor gives the same twice
		t.pic.Pix[i] = byte(t.rng.Uint32())
	}
	return t.showAgain(test, after, faces...)
}

func (t *theatre) showAgain(test *testing.T, after time.Duration, faces ...Face) Seen {
	test.Helper()
	t.now = t.now.Add(after)
	t.pic.At, t.faces = t.now, faces
	seen, err := t.seq.Look(&t.scene, t.pic)
	if err != nil {
		test.Fatal(err)
	}
	return seen
}

const frame = 66 * time.Millisecond

func TestOnlyIndependentFramesAreKept(t *testing.T) {
	th := newTheatre()
	for range 15 { // a second
		th.show(t, frame, somebody(1, 320, 200))
	}
	if n := th.seq.Len(); n != 5 {
		t.Errorf("%d frames of a second are kept, want 5", n)
	}
	if th.describes != 5 {
		t.Errorf("%d frames were described for 5 that are kept", th.describes)
	}
	if span := th.seq.Span(); span < 700*time.Millisecond || span > time.Second {
		t.Errorf("they span %v", span)
	}
	if m, err := th.seq.Mean(); err != nil || !(Cosine(m, th.people[1]) > 0.999) {
		t.Errorf("their mean is somebody else: %v", err)
	}
}

func TestTheSubjectIsFollowed(t *testing.T) {
	th := newTheatre()
	x := float32(100)
	th.show(t, frame, somebody(1, x, 120))
	for range 20 { // they walk, and somebody larger passes behind at the edge
		x += 15
		if seen := th.show(t, frame, somebody(1, x, 120), somebody(2, 630-x, 60)); seen.Restarted || seen.Hint != HintNone {
			t.Fatalf("at %g: %+v", x, seen)
		}
	}
	if th.seq.Len() < 5 {
		t.Errorf("%d frames kept", th.seq.Len())
	}
}

func TestAnotherPersonRestarts(t *testing.T) {
	for name, second := range map[string]func(th *theatre) Seen{
		"elsewhere":           func(th *theatre) Seen { return th.show(t, 3*frame, somebody(2, 520, 260)) },
		"in their very place": func(th *theatre) Seen { return th.show(t, 3*frame, somebody(2, 320, 200)) },
		"after a while": func(th *theatre) Seen {
			th.show(t, frame)
			return th.show(t, 2*time.Second, somebody(1, 320, 200))
		},
		"after a stall":  func(th *theatre) Seen { return th.show(t, 2*time.Second, somebody(2, 320, 200)) },
		"time goes back": func(th *theatre) Seen { return th.show(t, -time.Hour, somebody(1, 320, 200)) },
	} {
		th := newTheatre()
		for range 10 {
			th.show(t, frame, somebody(1, 320, 200))
		}
		if seen := second(th); !seen.Restarted || !seen.Kept || th.seq.Len() != 1 {
			t.Errorf("%s: %+v, %d frames kept", name, seen, th.seq.Len())
		}
		if th.seq.Cues()["restarts"] != 1 {
			t.Errorf("%s: cues %v", name, th.seq.Cues())
		}
	}
}

// One frame in which the subject is missed does not make a subject of who stands
// behind; a second without them does.
func TestAMissedFrameIsNoOtherSubject(t *testing.T) {
	th := newTheatre()
	for i := range 30 {
		faces := []Face{somebody(1, 320, 200), somebody(2, 560, 80)}
		if i%4 == 3 {
			faces = faces[1:]
		}
		if seen := th.show(t, frame, faces...); seen.Restarted || (seen.Hint == HintNoFace) != (i%4 == 3) {
			t.Fatalf("frame %d: %+v", i, seen)
		}
	}
	if th.seq.Len() < 5 {
		t.Errorf("%d frames kept", th.seq.Len())
	}
	restarts := 0
	for range int(2 * followGap / frame) {
		if th.show(t, frame, somebody(2, 560, 80)).Restarted {
			restarts++
		}
	}
	if restarts != 1 {
		t.Errorf("%d restarts", restarts)
	}
}

// Who was there first is not the subject for good: somebody who steps up and stays
// before them is. Who only passes is not.
func TestWhoStepsUpIsMeant(t *testing.T) {
	for frames, want := range map[int]bool{5: false, 40: true} {
		th := newTheatre()
		th.show(t, frame, somebody(2, 560, 80))
		restarted := false
		for range frames {
			restarted = th.show(t, frame, somebody(1, 320, 200), somebody(2, 560, 80)).Restarted || restarted
		}
		if restarted != want || want && (th.seq.Len() < 5 || !(Cosine(th.seq.Embeddings()[0], th.people[1]) > 0.999)) {
			t.Errorf("%d frames: restarted %v, %d kept", frames, restarted, th.seq.Len())
		}
	}
}

// Who stays before the subject is meant after as long at every pace, and never for two
// frames alone.
func TestWhoStepsUpIsMeantAfterAsLong(t *testing.T) {
	for every, want := range map[time.Duration][2]time.Duration{
		33 * time.Millisecond:  {700 * time.Millisecond, 733 * time.Millisecond},
		66 * time.Millisecond:  {700 * time.Millisecond, 766 * time.Millisecond},
		200 * time.Millisecond: {700 * time.Millisecond, 900 * time.Millisecond},
		2 * time.Second:        {4 * time.Second, 4 * time.Second},
	} {
		th := newTheatre()
		for range 3 {
			th.show(t, every, somebody(2, 560, 80))
		}
		began := th.now.Add(every)
		for range 100 {
			if th.show(t, every, somebody(1, 320, 200), somebody(2, 560, 80)).Restarted {
				break
			}
		}
		if took := th.now.Sub(began); took < want[0] || took > want[1] {
			t.Errorf("every %v: after %v, want %v", every, took, want)
		}
	}
}

// Two glimpses of somebody before the subject are no stay: what lies between them, in
// which the subject was missed or is another one by now, counts for nothing.
func TestTwoWhoPassAreNobodyWhoStays(t *testing.T) {
	front, subject, behind := somebody(1, 320, 200), somebody(2, 560, 80), somebody(3, 80, 40)
	for name, between := range map[string][]Face{"nobody is seen": nil, "they are missed": {behind}} {
		th := newTheatre()
		for range 3 {
			th.show(t, frame, subject)
		}
		for range outdoneFrames {
			th.show(t, frame, front, subject)
		}
		for at := frame; at < outdoneFor; at += frame {
			th.show(t, frame, between...)
		}
		if seen := th.show(t, frame, front, subject); seen.Restarted {
			t.Errorf("%s: a glimpse made them the subject", name)
		}
	}
}

// Somebody else who looks aside in the person's place, while a move is asked for, is
// another person, unless it was one unlucky frame.
func TestAnotherPersonAsideRestarts(t *testing.T) {
	aside := func(who int) Face {
		f := somebody(who, 320, 200)
		f.Quality.Yaw = maxYaw + 5
		return f
	}
	for name, tt := range map[string]struct {
		shown    []Face // after three good frames of the first
		restarts float64
	}{
		"the person turns":                   {[]Face{aside(1), aside(1), aside(1), aside(1)}, 0},
		"one frame does not look like them":  {[]Face{aside(1), aside(2), aside(1), aside(2), aside(1)}, 0},
		"one does not, and they look back":   {[]Face{aside(2), somebody(1, 320, 200), aside(2), aside(1)}, 0},
		"somebody else":                      {[]Face{aside(2), aside(2)}, 1},
		"somebody else, after they turned":   {[]Face{aside(1), aside(1), aside(2), aside(2)}, 1},
		"somebody else, and one who is both": {[]Face{aside(2), aside(1), aside(2), aside(2)}, 1},
		"somebody else for long":             {[]Face{aside(2), aside(2), aside(2), aside(2), aside(2), aside(2)}, 1}, // then there is nobody to be compared with
	} {
		th := newTheatre()
		th.seq.Turning, th.seq.SameTurned = true, 0.25
		for range 3 {
			th.show(t, apart, somebody(1, 320, 200))
		}
		told := 0.0
		for _, f := range tt.shown {
			seen := th.show(t, apart, f)
			if seen.Restarted {
				told++
			}
			if seen.Same != (f.Score == 1) {
				t.Errorf("%s: same %v", name, seen.Same)
			}
		}
		if n := th.seq.Cues()["restarts"]; n != tt.restarts || told != n || (n > 0) != (th.seq.Len() == 0) {
			t.Errorf("%s: %g restarts, %g told, %d frames kept", name, n, told, th.seq.Len())
		}
	}
}

func TestTwoThatCouldBeMeantAreNobody(t *testing.T) {
	th := newTheatre()
	if seen := th.show(t, frame, somebody(1, 200, 150), somebody(2, 440, 150)); seen.Hint != HintOnePerson || th.describes != 0 {
		t.Errorf("%+v", seen)
	}
	th = newTheatre() // also when one of them was there first
	th.show(t, frame, somebody(1, 320, 200))
	if seen := th.show(t, frame, somebody(2, 120, 230), somebody(1, 320, 200)); seen.Hint != HintOnePerson || th.seq.Len() != 1 {
		t.Errorf("%+v", seen)
	}
}

func TestACameraThatFrozeAddsNothing(t *testing.T) {
	th := newTheatre()
	th.show(t, frame, somebody(1, 320, 200))
	for range 50 {
		th.showAgain(t, 200*time.Millisecond, somebody(1, 320, 200))
	}
	if th.seq.Len() != 1 || th.seq.Replayed() || th.seq.Cues()["copies"] != 50 {
		t.Errorf("%d frames kept, %v", th.seq.Len(), th.seq.Cues())
	}
}

func TestARecordingThatLoopsIsAReplay(t *testing.T) {
	loop := func(th *theatre) {
		for i := range 12 {
			for k := range th.pic.Pix {
				th.pic.Pix[k] = byte(k * (i%6 + 1) >> 3)
			}
			th.showAgain(t, 200*time.Millisecond, somebody(1, 320, 200))
		}
	}
	th := newTheatre()
	loop(th)
	if !th.seq.Replayed() || th.seq.Cues()["repeats"] != 6 || th.seq.Len() != 6 {
		t.Errorf("within an attempt: %v", th.seq.Cues())
	}

	var memory Memory
	for i := range 2 {
		th := newTheatre()
		th.seq.Before = &memory
		for range 4 {
			th.show(t, 200*time.Millisecond, somebody(1, 320, 200)) // the same noise for each theatre
		}
		if th.seq.Replayed() != (i == 1) {
			t.Errorf("attempt %d: %v", i+1, th.seq.Cues())
		}
	}
}

// drifting is a Looker whose tracked box depends on the frames before it, as a
// real one's does.
type drifting struct{ trackScene }

func (d *drifting) Track(f *Frame, face *Face) (bool, error) {
	was := face.Box
	ok, err := d.trackScene.Track(f, face)
	face.Box = Box{was.X0 + 0.7, was.Y0, was.X1 + 0.7, was.Y1}
	return ok, err
}

// A recording that a second attempt meets at another frame, so that other frames
// are detected and others tracked, is known by every frame that comes again.
func TestARecordingIsKnownWhereverItBegins(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 11))
	clip := make([]*Frame, 40)
	for i := range clip {
		clip[i] = grey(160, 120)
		for k := range clip[i].Pix {
			clip[i].Pix[k] = byte(rng.Uint32())
		}
	}
	person := somebody(1, 320, 200)
	aside := person
	aside.Quality.Yaw = maxYaw + 5 // also frames that are not good enough to be compared
	var memory Memory
	at := time.Unix(1000, 0)
	play := func(frames []*Frame, who Face) *Sequence {
		d := &drifting{}
		d.people = map[int]Embedding{1: anyone(rand.New(rand.NewPCG(2, 2)), 128)}
		d.faces = []Face{who}
		s := &Sequence{Same: 0.5, Before: &memory}
		for _, f := range frames {
			at = at.Add(time.Second / 30)
			f.At = at
			if _, err := s.Look(d, f); err != nil {
				t.Fatal(err)
			}
		}
		at = at.Add(time.Minute)
		return s
	}
	if s := play(clip[:35], person); s.Replayed() {
		t.Fatalf("the first time: %v", s.Cues())
	}
	for from := range 8 {
		if c := play(clip[from:35], person).Cues(); c["repeats"] != float64(35-from) {
			t.Errorf("from frame %d on: %v of %d repeats were noticed", from, c["repeats"], 35-from)
		}
	}
	if s := play(clip[35:], aside); s.Replayed() {
		t.Fatalf("aside, the first time: %v", s.Cues())
	}
	if s := play(clip[35:], aside); !s.Replayed() {
		t.Errorf("aside: %v", s.Cues())
	}
}

// A camera that gives its last frame once more, though another attempt begins,
// plays no recording.
func TestACopyAcrossAttemptsIsNoReplay(t *testing.T) {
	var memory Memory
	th := newTheatre()
	th.seq.Before = &memory
	th.show(t, frame, somebody(1, 320, 200))
	th.seq.Wipe()
	for range 3 {
		th.showAgain(t, frame, somebody(1, 320, 200))
	}
	if th.seq.Replayed() || th.seq.Len() != 0 || th.seq.Cues()["copies"] != 3 {
		t.Errorf("%v", th.seq.Cues())
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	var m Memory
	for p := range uint64(3 * memoryFrames) {
		if m.seen(p) {
			t.Fatalf("%d was never there", p)
		}
	}
	if len(m.have) != memoryFrames || m.seen(0) || !m.seen(3*memoryFrames-1) {
		t.Errorf("%d remembered", len(m.have))
	}
}

func TestLivenessNeedsFramesThatCanTell(t *testing.T) {
	th := newTheatre()
	turned := somebody(1, 320, 200)
	turned.Quality.Yaw = 20
	for range 10 {
		th.show(t, 200*time.Millisecond, turned)
	}
	if p, n := th.seq.Live(); !math.IsNaN(p) || n != 0 {
		t.Errorf("turned away: live %g of %d", p, n)
	}
	for range 3 {
		if p, _ := th.seq.Live(); !math.IsNaN(p) {
			t.Errorf("too soon: live %g", p)
		}
		th.show(t, 200*time.Millisecond, somebody(1, 320, 200))
	}
	if p, n := th.seq.Live(); math.Abs(p-0.9) > 1e-6 || n != 3 {
		t.Errorf("live %g of %d", p, n)
	}
	if c := th.seq.Cues(); c["live-frames"] != 3 || math.Abs(c["live-least"]-0.9) > 1e-6 {
		t.Errorf("cues %v", c)
	}
}

func TestFaultsAndPoorFramesAddNothing(t *testing.T) {
	th := newTheatre()
	dark := somebody(1, 320, 200)
	dark.Quality.Brightness = 3
	for _, tt := range []struct {
		faces []Face
		want  Hint
	}{{nil, HintNoFace}, {[]Face{{}}, HintCloser}, {[]Face{somebody(1, 320, 30)}, HintCloser}, {[]Face{dark}, HintTooDark}, {[]Face{{}}, HintNoFace}} {
		if seen := th.show(t, frame, tt.faces...); seen.Hint != tt.want || seen.Kept || th.seq.Len() != 0 {
			t.Errorf("%+v, want %v", seen, tt.want)
		}
	}
	th.err = errors.New("gone")
	if _, err := th.seq.Look(&th.scene, th.pic); err == nil {
		t.Error("a fault is no frame")
	}
	if p, _ := (&Sequence{}).Live(); !math.IsNaN(p) {
		t.Errorf("nobody is alive at %g", p)
	}
	if _, err := (&Sequence{}).Mean(); !errors.Is(err, ErrEmbedding) {
		t.Errorf("the mean of nothing: %v", err)
	}
}

func TestWipeLeavesNothing(t *testing.T) {
	th := newTheatre()
	f := seen(th.rng, headPoints, 0, false, 0)
	who := somebody(1, 320, 200)
	who.Points, who.Inner = f.Points, f.Inner
	for range 20 { // the points are new in every frame, as a network's are
		who.Rigid, who.Landmarks = slices.Clone(f.Inner), slices.Clone(f.Inner)
		th.show(t, frame, who)
	}
	e, paths, gram, marks := th.seq.Embeddings()[0], slices.Clone(th.seq.motion.paths), th.seq.relief.gram, th.seq.face.Landmarks
	if len(paths) == 0 || len(gram) == 0 || len(marks) == 0 {
		t.Fatalf("%d paths, %d products, %d points", len(paths), len(gram), len(marks))
	}
	nothing := func(what string) {
		t.Helper()
		left := func(x float64) bool { return x != 0 }
		for _, x := range e {
			if x != 0 {
				t.Fatalf("%s: an embedding is left", what)
			}
		}
		for _, p := range paths {
			if slices.ContainsFunc(p, left) {
				t.Fatalf("%s: a face's points are left", what)
			}
		}
		if slices.ContainsFunc(gram, left) {
			t.Fatalf("%s: products of a face's points are left", what)
		}
	}
	th.show(t, frame+apart, somebody(2, 320, 200))
	nothing("somebody else came")
	e, paths = th.seq.Embeddings()[0], nil
	marks = []Point{{1, 2}}
	th.seq.face.Landmarks = marks
	th.seq.Wipe()
	nothing("after all")
	if marks[0] != (Point{}) {
		t.Error("the last face's points are left")
	}
	if th.seq.Len() != 0 || th.seq.Same != 0.5 {
		t.Errorf("%+v", th.seq)
	}
}

// BenchmarkFingerprint compares the hash that knows a frame again with one of all
// of its bytes.
func BenchmarkFingerprint(b *testing.B) {
	f := &Frame{Width: 640, Height: 480, Pix: make([]byte, 3*640*480)}
	rng := rand.New(rand.NewPCG(3, 1))
	for i := range f.Pix {
		f.Pix[i] = byte(rng.Uint32())
	}
	var rows, all time.Duration
	var sum uint64
	for b.Loop() {
		start := time.Now()
		sum += f.fingerprint()
		rows += time.Since(start)
		start = time.Now()
		sum += maphash.Bytes(seed, f.Pix)
		all += time.Since(start)
	}
	_ = sum
	b.ReportMetric(float64(rows)/float64(all), "x-all-bytes")
	b.ReportMetric(float64(rows.Microseconds())/float64(b.N), "us-frame")
}

// A device that takes longer for a frame than somebody may be out of sight knows
// people all the same.
func TestASlowDeviceLosesNobody(t *testing.T) {
	for _, every := range []time.Duration{950 * time.Millisecond, 1050 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second} {
		th := newTheatre()
		for range 5 {
			if seen := th.show(t, every, somebody(1, 320, 200)); !seen.Kept || seen.Restarted {
				t.Errorf("every %v: %+v", every, seen)
			}
		}
		if seen := th.show(t, every, somebody(2, 320, 200)); !seen.Restarted || th.seq.Len() != 1 {
			t.Errorf("every %v: somebody else in their place: %+v", every, seen)
		}
		if seen := th.show(t, 6*time.Second, somebody(1, 320, 200)); !seen.Restarted {
			t.Errorf("every %v: somebody else after six seconds: %+v", every, seen)
		}
	}
}

// A device that stalls, so that no frame comes for longer than somebody may be out of
// sight, loses nobody who is the same before and behind it. What they do there counts for
// nobody until they were compared.
func TestAStallLosesNobody(t *testing.T) {
	dark, aside, stranger := somebody(1, 320, 200), somebody(1, 320, 200), somebody(2, 320, 200)
	dark.Quality.Brightness, aside.Quality.Yaw, stranger.Quality.Yaw = 10, 35, 35
	for name, tt := range map[string]struct {
		play           [][]Face // behind the stall
		lost, compared bool     // in the end
	}{
		"they":                        {play: [][]Face{{somebody(1, 320, 200)}}, compared: true},
		"they, aside":                 {play: [][]Face{{aside}}, compared: true},
		"they, not to be seen well":   {play: [][]Face{{dark}, {dark}}},
		"they, seen well a bit later": {play: [][]Face{{dark}, {dark}, {somebody(1, 320, 200)}}, compared: true},
		"somebody else":               {play: [][]Face{{somebody(2, 320, 200)}}, lost: true, compared: true},
		"somebody else, later":        {play: [][]Face{{dark}, {somebody(2, 320, 200)}}, lost: true, compared: true},
		"somebody else, aside":        {play: [][]Face{{stranger}, nil, nil, {stranger}}, lost: true, compared: true},
		"somebody else, aside, once":  {play: [][]Face{{stranger}}},
		"they, somewhere else":        {play: [][]Face{{somebody(1, 560, 200)}, {somebody(1, 560, 200)}}, lost: true, compared: true},
		"nobody, and they":            {play: [][]Face{nil, {somebody(1, 320, 200)}}, lost: true, compared: true},
	} {
		th := newTheatre()
		th.seq.Turning, th.seq.SameTurned = true, 0.4
		for range 10 {
			th.show(t, frame, somebody(1, 320, 200))
		}
		kept := th.seq.Len()
		var restarted, resumed bool
		for i, faces := range tt.play {
			after := frame
			if i == 0 {
				after = 2 * time.Second
			}
			seen := th.show(t, after, faces...)
			restarted, resumed = restarted || seen.Restarted, resumed || seen.Resumed
		}
		if restarted != tt.lost || resumed != (tt.compared && !tt.lost) || th.seq.Stalled() == tt.compared {
			t.Errorf("%s: restarted %v, resumed %v, in doubt %v", name, restarted, resumed, th.seq.Stalled())
		}
		if n := th.seq.Len(); !tt.lost && n < kept || tt.lost && n > 1 {
			t.Errorf("%s: %d frames are kept, %d before", name, n, kept)
		}
	}
}

// One stall of a fast device gives nobody longer to take the person's place.
func TestAStallWidensNoWindow(t *testing.T) {
	th := newTheatre()
	for range 10 {
		th.show(t, frame, somebody(1, 320, 200))
	}
	th.show(t, frame)
	th.show(t, 6*time.Second)
	if th.seq.TooSlow() || th.seq.Pace() != frame {
		t.Errorf("a stall makes its frames take %v", th.seq.Pace())
	}
	th = newTheatre()
	for range 10 {
		th.show(t, frame, somebody(1, 320, 200))
	}
	th.show(t, frame)
	th.show(t, 2*time.Second)
	if seen := th.show(t, frame, somebody(1, 320, 200)); !seen.Restarted {
		t.Errorf("they were gone for two seconds: %+v", seen)
	}
}
