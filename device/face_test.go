package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// actor is somebody before the camera.
type actor struct {
	who  int     // whose embedding
	x    float32 // middle of the face, pixels
	live float32
	yaw  float32 // degrees
}

// theatre is a camera and a face model that see what the play says, one scene
// a frame, 15 frames a second of a clock of its own. After the last scene
// nothing comes any more.
type theatre struct {
	play   [][]actor
	now    time.Time
	seq    uint64
	noise  uint64 // of the next frame; the same noise is the same frame
	people []vision.Embedding
	table  vision.Table
	pose   func(*vision.Face)                // moves whoever is there; nil: they do not move
	draw   func(x, y int, face float32) byte // the grey level of a pixel where the face's middle is at face; nil: black

	every   time.Duration // from frame to frame; 0 = 66 ms
	takes   time.Duration // to look at one, by a bubble's clock (synctest), which is then the only one; the camera's frames are new
	own     bool          // a profile of one's own: without a table of templates
	digest  string        // of the file that makes the embeddings
	missing bool          // the face model
}

func (th *theatre) Now() time.Time {
	if th.takes > 0 {
		return time.Now()
	}
	return th.now
}

func (th *theatre) Frame(ctx context.Context) (*vision.Frame, error) {
	if int(th.seq) >= len(th.play) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	th.seq++
	th.noise++
	if th.takes > 0 {
		if th.now = time.Now(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	} else {
		th.now = th.now.Add(cmp.Or(th.every, 66*time.Millisecond))
	}
	f := &vision.Frame{Width: 640, Height: 480, Pix: make([]byte, 3*640*480), Seq: th.seq, At: th.now}
	if th.draw != nil && len(th.play[th.seq-1]) > 0 {
		for i := range f.Pix {
			f.Pix[i] = th.draw(i/3%640, i/3/640, th.play[th.seq-1][0].x)
		}
	}
	rng := rand.New(rand.NewPCG(th.noise, 0))
	for i := 0; i < len(f.Pix); i += 997 {
		f.Pix[i] = byte(rng.Uint32())
	}
	return f, nil
}

func (th *theatre) Detect(*vision.Frame) ([]vision.Face, error) {
	time.Sleep(th.takes)
	var faces []vision.Face
	for _, a := range th.play[th.seq-1] {
		faces = append(faces, vision.Face{
			Box: vision.Box{X0: a.x - 100, Y0: 140, X1: a.x + 100, Y1: 340}, Score: float32(a.who), Live: a.live,
			Quality: vision.Quality{Size: 200, Sharpness: 100, Brightness: 120, Contrast: 40, Inside: 1, Yaw: a.yaw},
		})
		if th.pose != nil {
			th.pose(&faces[len(faces)-1])
		}
	}
	return faces, nil
}

func (th *theatre) Describe(_ *vision.Frame, f *vision.Face) error {
	f.Embedding = slices.Clone(th.people[int(f.Score)])
	return nil
}

func (th *theatre) Profile() (vision.Profile, error) {
	if th.missing {
		return vision.Profile{}, fmt.Errorf("face model: %w", ErrPart)
	}
	p := vision.Profile{Name: "theatre", Table: th.table, Templates: th.table, Liveness: &vision.Liveliner{}}
	if th.own {
		p.Templates = vision.Table{}
	}
	p.Embed.SHA256 = th.digest
	return p, nil
}

// stage opens a device whose only factor is the face, with person 0 enrolled.
func stage(t *testing.T, o Options) (*Device, *theatre, store.UserID) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	th := &theatre{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), table: vision.Table{Source: "test", Points: []vision.Operating{{FMR: 1e-1, Cosine: 0.2}, {FMR: 1e-6, Cosine: 0.6}}}}
	for range 4 {
		v := make([]float32, 64)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		e, err := vision.Normalise(v)
		if err != nil {
			t.Fatal(err)
		}
		th.people = append(th.people, e)
	}
	dir := t.TempDir()
	vault, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{Now: th.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vault.Close() })
	o.Log = slog.New(slog.DiscardHandler)
	d, err := New(Hardware{Camera: th, Faces: th, Now: th.Now}, vault, Policy{Mode: FaceOnly, FaceFMR: 1e-4, Live: 0.5}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	th.play = repeat(40, actor{who: 0, x: 320, live: 0.9})
	e, err := d.Enroll(t.Context(), EnrollRequest{Name: "Ada", Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	th.play = nil
	return d, th, e.User
}

// onStage is a test of such a device in virtual time: an attempt is over where the play
// is, however long the machine computes at its frames.
func onStage(t *testing.T, o Options, test func(t *testing.T, d *Device, th *theatre, user store.UserID)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, th, user := stage(t, o)
		test(t, d, th, user)
	})
}

func repeat(n int, a ...actor) (play [][]actor) {
	for range n {
		play = append(play, a)
	}
	return play
}

// shows plays the scenes to one attempt.
func (th *theatre) shows(t *testing.T, d *Device, who store.UserID, play ...[][]actor) (Decision, error) {
	t.Helper()
	th.play = slices.Concat(play...)
	th.seq = 0
	th.now = th.now.Add(time.Hour) // no lock-out lasts
	return d.Authenticate(t.Context(), Request{Who: who, Timeout: time.Minute})
}

func TestFaces(t *testing.T) {
	ada, eve := actor{who: 0, x: 320, live: 0.9}, actor{who: 1, x: 320, live: 0.9}
	bo := actor{who: 2, x: 320, live: 0.9}
	photo, screen, turned := ada, ada, ada
	photo.live, screen.live, turned.yaw = 0.1, 0.2, 20
	aside := eve
	aside.x = 530
	for name, tt := range map[string]struct {
		play    [][][]actor
		granted bool
		reason  Reason
		hint    vision.Hint
	}{
		"the right person":                         {play: [][][]actor{repeat(40, ada)}, granted: true},
		"a stranger":                               {play: [][][]actor{repeat(40, eve)}, reason: FaceNoMatch},
		"a photograph of them":                     {play: [][][]actor{repeat(40, photo)}, reason: FaceNotLive},
		"a screen, then the photograph":            {play: [][][]actor{repeat(4, screen), repeat(40, photo)}, reason: FaceNotLive},
		"they first look elsewhere":                {play: [][][]actor{repeat(20, turned), repeat(40, ada)}, granted: true},
		"they never look straight":                 {play: [][][]actor{repeat(60, turned)}, reason: FaceNotLive},
		"a stranger takes their place":             {play: [][][]actor{repeat(5, ada), repeat(40, eve)}, reason: FaceNoMatch},
		"they take a stranger's place":             {play: [][][]actor{repeat(5, eve), repeat(40, ada)}, granted: true},
		"a stranger steps back after three":        {play: [][][]actor{repeat(8, eve), repeat(1, ada), repeat(3)}, reason: FaceNoMatch},
		"a queue of strangers, then they":          {play: [][][]actor{repeat(7, eve), repeat(7, bo), repeat(7, eve), repeat(40, ada)}, reason: FaceNoMatch},
		"strangers one after the other":            {play: [][][]actor{repeat(7, eve), repeat(17), repeat(40, ada)}, reason: FaceNoMatch},
		"somebody walks through the picture":       {play: [][][]actor{repeat(5, eve), repeat(17), repeat(5, aside), repeat(17), repeat(40, ada)}, granted: true},
		"they look away and come back":             {play: [][][]actor{repeat(8, turned), repeat(17), repeat(8, turned), repeat(17), repeat(40, ada)}, granted: true},
		"a stranger comes back":                    {play: [][][]actor{repeat(7, eve), repeat(17), repeat(7, eve), repeat(17), repeat(40, ada)}, reason: FaceNoMatch},
		"a photograph that is soon taken away":     {play: [][][]actor{repeat(11, photo), repeat(17), repeat(1, photo), repeat(17)}, reason: FaceNotLive},
		"a photograph, then they":                  {play: [][][]actor{repeat(11, photo), repeat(17), repeat(40, ada)}, reason: FaceNotLive},
		"a photograph and a stranger in turn":      {play: [][][]actor{repeat(11, photo), repeat(3, eve), repeat(11, photo), repeat(3, eve)}, reason: FaceNotLive},
		"a photograph beside a living stranger":    {play: [][][]actor{repeat(40, actor{who: 0, x: 200, live: 0.1}, actor{who: 1, x: 440, live: 0.9})}, hint: vision.HintOnePerson},
		"nobody":                                   {play: [][][]actor{repeat(40)}, hint: vision.HintNoFace},
		"they alternate with a stranger each look": {play: [][][]actor{slices.Concat(repeat(3, ada), repeat(3, eve), repeat(3, ada), repeat(3, eve))}, hint: vision.HintNone},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				events := d.Subscribe(t.Context())
				dec, err := th.shows(t, d, user, tt.play...)
				retry := (*RetryError)(nil)
				switch {
				case tt.granted && (err != nil || !dec.Granted):
					t.Fatalf("%+v, %v", dec, err)
				case tt.reason != "" && (err != nil || dec.Granted || !slices.Equal(dec.Reasons, []Reason{tt.reason}) || dec.Failures != 1):
					t.Fatalf("%+v, %v, want %s", dec, err, tt.reason)
				case tt.hint != vision.HintNone && (!errors.As(err, &retry) || !slices.Equal(retry.Hints, []string{tt.hint.String()})):
					t.Fatalf("%+v, %v, want %s", dec, err, tt.hint)
				case dec.Granted != tt.granted:
					t.Fatalf("%+v, %v", dec, err)
				}
				attack := false
				for len(events) > 0 {
					attack = (<-events).Kind == "attack" || attack
				}
				if attack != tt.reason.attack() {
					t.Errorf("reported as an attack: %v", attack)
				}
			})
		})
	}
}

func TestNothingOutweighsARecording(t *testing.T) {
	good := Measure{Enrolled: true, Compared: true, Score: 1, FMR: 1e-6, Live: 1}
	replayed := good
	replayed.Replayed = true
	for _, m := range []Mode{FaceOnly, FingerOnly, Either, Both} {
		p := Policy{Mode: m, FaceFMR: 1e-4, FingerFMR: 1e-4, Live: 0.5}
		if v := p.Decide(Evidence{Face: good, Finger: good}); !v.Granted {
			t.Errorf("%s: %+v", m, v)
		}
		if v := p.Decide(Evidence{Face: replayed, Finger: good}); v.Granted || !slices.Equal(v.Reasons, []Reason{FaceReplayed}) {
			t.Errorf("%s: %+v", m, v)
		}
	}
}

func TestEveryCueIsInTheAudit(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		dec, err := th.shows(t, d, user, repeat(40, actor{who: 0, x: 320, live: 0.1}))
		if err != nil || dec.Granted {
			t.Fatal(dec, err)
		}
		var e []store.Entry
		if err := d.vault.View(func(tx *store.Tx) (err error) { e, err = tx.Audit(dec.Audit-1, 1); return err }); err != nil {
			t.Fatal(err)
		}
		s := e[0].Scores
		if s["face-frames"] != 5 || s["face-live-frames"] != 5 || !(s["face-live"] < 0.2) || !(s["face"] > 0.9) || s["face-repeats"] != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A device that needs seconds for a frame lets in who it knows in the 15 s of an
// attempt; one that needs more says so.
func TestASlowDeviceKnowsPeople(t *testing.T) {
	for _, every := range []time.Duration{950 * time.Millisecond, 1050 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond, 6 * time.Second} {
		onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			var told strings.Builder
			d.opts.Log = slog.New(slog.NewTextHandler(&told, nil))
			th.every = every
			frames := int(15 * time.Second / every)
			slow := every > 5*time.Second
			for who, want := range []bool{!slow, false} {
				dec, err := th.shows(t, d, user, repeat(frames, actor{who: who, x: 320, live: 0.95}))
				if dec.Granted != want || err != nil && !slow {
					t.Errorf("%v a frame, person %d: %+v, %v", every, who, dec, err)
				}
			}
			if strings.Contains(told.String(), "6s") != slow {
				t.Errorf("%v a frame: the log says %q", every, told.String())
			}
			told.Reset()
			if _, err := th.enrols(t, d, 2, EnrollRequest{Name: "Cy"}); err != nil && !slow {
				t.Errorf("%v a frame, an enrolment: %v", every, err)
			}
			if strings.Contains(told.String(), "6s") != slow {
				t.Errorf("%v a frame, an enrolment: the log says %q", every, told.String())
			}
		})
	}
}

// A picture that was taken away before enough was seen of it is in the audit with
// what it showed, whoever came next.
func TestAPictureTakenAwayIsInTheAudit(t *testing.T) {
	photo := repeat(11, actor{who: 0, x: 320, live: 0.1})
	for name, next := range map[string][][]actor{
		"itself": photo,
		"they":   repeat(40, actor{who: 0, x: 320, live: 0.9}),
		"nobody": repeat(1),
	} {
		onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			dec, err := th.shows(t, d, user, photo, repeat(17), next)
			if err != nil || dec.Granted || len(dec.Results) != 1 || !(dec.Results[0].Live < 0.2) || !d.suspect() {
				t.Fatalf("%s: %+v, %v", name, dec, err)
			}
			if s := scores(t, d, dec.Audit); !(s["face-live-least"] > 0 && s["face-live-least"] < 0.2) {
				t.Errorf("%s: %v", name, s)
			}
		})
	}
}

// A recording that is played into the camera shows the same frames again, in
// the same attempt or in a later one.
func TestARecordingIsAnAttack(t *testing.T) {
	play := repeat(12, actor{who: 0, x: 320, live: 0.9})
	for _, recorded := range []bool{false, true} {
		onStage(t, Options{Recorded: recorded}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			for i := range 2 {
				th.noise = 1000
				dec, err := th.shows(t, d, user, play)
				if again := i > 0 && !recorded; err != nil || dec.Granted == again || again && !slices.Equal(dec.Reasons, []Reason{FaceReplayed}) {
					t.Errorf("recorded %v, attempt %d: %+v, %v", recorded, i+1, dec, err)
				}
			}
		})
	}
}

func TestAnEnrolmentIsOfOneLivingPerson(t *testing.T) {
	bo, eve := actor{who: 2, x: 320, live: 0.9}, actor{who: 1, x: 320, live: 0.9}
	photo := bo
	photo.live = 0.1
	retry := (*RetryError)(nil)
	for name, tt := range map[string]struct {
		play [][]actor
		want func(error) bool
	}{
		"one person":  {repeat(60, bo), func(err error) bool { return err == nil }},
		"two persons": {slices.Concat(repeat(15, bo), repeat(60, eve)), func(err error) bool { return errors.Is(err, ErrMixed) }},
		"a picture":   {repeat(100, photo), func(err error) bool { return errors.As(err, &retry) }},
		"known":       {repeat(60, actor{who: 0, x: 320, live: 0.9}), func(err error) bool { return errors.Is(err, ErrDuplicate) }},
		"nobody":      {repeat(5), func(err error) bool { return errors.As(err, &retry) }},
	} {
		onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
			th.play, th.seq = tt.play, 0
			_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Bo", Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
			if !tt.want(err) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Whoever comes before the face model is loaded hears so, and not that its
// threshold table is empty.
func TestAFaceModelThatIsNotYetThereIsAMissingPart(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		th.missing = true
		if _, err := d.Authenticate(t.Context(), Request{Who: user}); !errors.Is(err, ErrPart) {
			t.Errorf("authenticate: %v", err)
		}
		_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Bob", Consent: store.Consent{At: th.now, TextVersion: "1"}, Factors: []Factor{Face}})
		if !errors.Is(err, ErrPart) {
			t.Errorf("enrol: %v", err)
		}
	})
}

// Whoever is not recognised and wears something before the face hears so; it is
// no reason for anything.
func TestWhoIsCoveredIsTold(t *testing.T) {
	for _, covered := range []bool{true, false} {
		for _, who := range []int{0, 1} {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				th.pose = func(f *vision.Face) {
					points(f, 0.02*float32(th.seq%4))
					if f.Quality.Eyes, f.Quality.Mouth = 0.9, 0.9; covered {
						f.Quality.Eyes = 0.05
					}
				}
				told := false
				th.play, th.seq, th.now = repeat(40, actor{who: who, x: 320, live: 0.95}), 0, th.now.Add(time.Hour)
				dec, err := d.Authenticate(t.Context(), Request{Who: user, Notify: func(e Event) { told = told || e.Hint == "uncover-face" }})
				if err != nil || dec.Granted != (who == 0) {
					t.Fatalf("%+v, %v", dec, err)
				}
				if told != (covered && who != 0) {
					t.Errorf("covered %v, somebody else %v: told %v", covered, who != 0, told)
				}
			})
		}
	}
}

// Frames that differ have a mean that is more like a stranger's template than any
// of them: they are scored one by one.
func TestAStrangerGainsNothingByShowingManyFaces(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		ada := th.people[0]
		// Frames of cosine c with Ada, and of 0.42 with one another: one person's.
		const c, rest = 0.42, 0.3
		rng := rand.New(rand.NewPCG(7, 7))
		var axes []vision.Embedding // of length 1, at right angles to Ada and to one another
		for len(axes) < 4 {
			v := make([]float32, len(ada))
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			for _, a := range append([]vision.Embedding{ada}, axes...) {
				k := 0.0
				for i := range v {
					k += float64(v[i]) * float64(a[i])
				}
				for i := range v {
					v[i] -= float32(k) * a[i]
				}
			}
			e, err := vision.Normalise(v)
			if err != nil {
				t.Fatal(err)
			}
			axes = append(axes, e)
		}
		var scene [][]actor
		for k := range 3 {
			v := make(vision.Embedding, len(ada))
			for i := range v {
				v[i] = float32(c)*ada[i] + float32(math.Sqrt(1-c*c))*(float32(math.Sqrt(rest))*axes[3][i]+float32(math.Sqrt(1-rest))*axes[k][i])
			}
			th.people = append(th.people, v)
			scene = append(scene, repeat(3, actor{who: len(th.people) - 1, x: 320, live: 0.95})...) // 200 ms
		}
		three := th.people[len(th.people)-3:]
		mean, err := vision.Mean(three)
		if err != nil {
			t.Fatal(err)
		}
		if fmr := th.table.FMR(vision.Cosine(mean, ada)); fmr > 1e-5 || vision.Cosine(three[0], three[1]) < 0.4 {
			t.Fatalf("the mean has FMR %g, frames have %g", fmr, vision.Cosine(three[0], three[1]))
		}
		dec, err := th.shows(t, d, user, scene, scene, scene, scene)
		if err != nil || dec.Granted || !slices.Contains(dec.Reasons, FaceNoMatch) {
			t.Errorf("%+v, %v", dec, err)
		}
		if score := dec.Results[0].Score; math.Abs(score-c) > 0.01 {
			t.Errorf("score %.3f, the frames have %.2f", score, c)
		}
	})
}
