package device

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// aged is somebody's embedding after they changed by so many degrees, towards
// what nobody else looks like.
func aged(e vision.Embedding, degrees float64) vision.Embedding {
	to := slices.Clone(e)
	for i := range to {
		to[i] = 0
	}
	// the direction of the first axis, made orthogonal to e
	to[0] = 1
	d := to[0] * e[0]
	for i := range to {
		to[i] -= d * e[i]
	}
	to, err := vision.Normalise(to)
	if err != nil {
		panic(err)
	}
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	out := make(vision.Embedding, len(e))
	for i := range out {
		out[i] = float32(cos)*e[i] + float32(sin)*to[i]
	}
	return out
}

// faceTemplates of the vault: those that were enrolled, and those that follow.
func faceTemplates(t *testing.T, d *Device, user store.UserID) (enrolled, following []vision.Embedding) {
	t.Helper()
	err := d.vault.View(func(tx *store.Tx) error {
		ts, err := tx.TemplatesOf(user, store.KindFace)
		for _, x := range ts {
			e, err := asCaptured(x, len(x.Data)/4)
			if err != nil {
				return err
			}
			if adapted(x) == "" {
				enrolled = append(enrolled, e)
			} else {
				following = append(following, e)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return enrolled, following
}

func TestATemplateFollowsSlowlyAndNotFar(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		enrolled, _ := faceTemplates(t, d, user)
		// A year of days on which they look 50 degrees off what was enrolled, which
		// still matches.
		var last vision.Embedding
		for day := range 365 {
			th.now = th.now.Add(25 * time.Hour)
			if err := d.adapt(user, aged(enrolled[0], 50), 1); err != nil {
				t.Fatal(err)
			}
			after, following := faceTemplates(t, d, user)
			if len(after) != 1 || len(following) != 1 || !slices.Equal(after[0], enrolled[0]) {
				t.Fatalf("day %d: %d enrolled, %d following", day, len(after), len(following))
			}
			if last != nil && vision.Cosine(last, following[0]) < 0.99 {
				t.Errorf("day %d: it moved by a cosine of %g", day, vision.Cosine(last, following[0]))
			}
			last = following[0]
		}
		near := vision.Cosine(last, enrolled[0])
		if near < adaptNear || near > 0.95 {
			t.Errorf("after a year it is at a cosine of %g from the enrolled one, want just above %g", near, adaptNear)
		}
		if look := aged(enrolled[0], 50); vision.Cosine(last, look) < vision.Cosine(enrolled[0], look)+0.1 {
			t.Errorf("it followed from %g to %g", vision.Cosine(enrolled[0], look), vision.Cosine(last, look))
		}
		n, err := d.RestoreTemplates(user)
		after, following := faceTemplates(t, d, user)
		if err != nil || n != 1 || len(following) != 0 || len(after) != 1 || !slices.Equal(after[0], enrolled[0]) {
			t.Errorf("restored %d, %v: %d enrolled, %d following", n, err, len(after), len(following))
		}
	})
}

func TestATemplateFollowsNobodyElse(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		enrolled, _ := faceTemplates(t, d, user)
		for name, look := range map[string]vision.Embedding{"somebody else": th.people[1], "hardly them": aged(enrolled[0], 65)} {
			if err := d.adapt(user, look, 1); err != nil {
				t.Fatal(err)
			}
			if _, following := faceTemplates(t, d, user); len(following) != 0 {
				t.Errorf("it follows %s", name)
			}
		}
		for range 2 { // a day's second try moves nothing
			th.now = th.now.Add(time.Minute)
			if err := d.adapt(user, aged(enrolled[0], 30), 1); err != nil {
				t.Fatal(err)
			}
		}
		if _, following := faceTemplates(t, d, user); len(following) != 1 || vision.Cosine(following[0], aged(enrolled[0], 3)) < 0.999 {
			t.Errorf("%d following", len(following))
		}
	})
}

func TestOnlyTwoFactorsMoveATemplate(t *testing.T) {
	face := Measure{Enrolled: true, Compared: true, Score: 1, FMR: 1e-6, Live: 0.95}
	finger := Measure{Enrolled: true, Compared: true, Score: 100, FMR: 1e-6}
	with := func(change func(*Policy, *Evidence)) bool {
		p, e := DefaultPolicy(), Evidence{Face: face, Finger: finger}
		p.Adapt = true
		change(&p, &e)
		return p.mayAdapt(p.Decide(e), e)
	}
	if !with(func(*Policy, *Evidence) {}) {
		t.Fatal("not even with both")
	}
	for name, change := range map[string]func(*Policy, *Evidence){
		"the policy does not":      func(p *Policy, _ *Evidence) { p.Adapt = false },
		"the face alone sufficed":  func(p *Policy, e *Evidence) { p.Mode, e.Finger = Either, Measure{} },
		"a finger and a dim face":  func(_ *Policy, e *Evidence) { e.Face.Live, e.Face.Answer = 0.6, AnswerRight },
		"an attack shortly before": func(_ *Policy, e *Evidence) { e.Face.Suspect, e.Face.Answer = true, AnswerRight },
		"refused":                  func(_ *Policy, e *Evidence) { e.Finger.FMR = 0.1 },
		"a module that lies":       func(_ *Policy, e *Evidence) { e.Finger.Attack = "decoy" },
		"a PIN":                    func(p *Policy, e *Evidence) { p.PIN, e.PIN = true, Known{Enrolled: true, Compared: true, Right: true} },
		"the zero policy":          func(p *Policy, _ *Evidence) { *p = Policy{Adapt: true} },
	} {
		if with(change) {
			t.Errorf("it moves: %s", name)
		}
	}
}

// What was let in by both factors moves the template in the attempt itself, and
// the audit tells.
func TestAnAttemptMovesTheTemplate(t *testing.T) {
	p := DefaultPolicy()
	p.Adapt = true
	w := newWorld(t, p)
	alice := w.enrol("Alice", 1, "alice")
	w.pose(1, "alice")
	if d := w.try(alice); !d.Granted {
		t.Fatalf("%+v", d)
	}
	if e := w.lastEntry(); e.Kind != "adapt" || e.Outcome != "done" || !(e.Scores["face-drift"] > 0.99) {
		t.Errorf("%+v", e)
	}
	if _, following := faceTemplates(t, w.d, alice); len(following) != 1 {
		t.Errorf("%d following", len(following))
	}
	if d := w.try(alice); !d.Granted { // with two templates of hers
		t.Errorf("%+v", d)
	}
}
