package device

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// world is the hardware of a device as the test wants it: who stands before the
// camera and whose finger lies on the module. The vault is a real one.
type world struct {
	size  int // of the module's templates, 0 for any
	t     *testing.T
	path  string
	vault *store.Store
	d     *Device

	mu     sync.Mutex
	now    time.Time
	up     time.Duration // how long the system has been running
	face   int           // 0 = nobody
	live   float32       // of the face
	hint   vision.Quality
	finger string // "" = no finger
	frames uint64
	look   func() // called for every frame
	fail   error  // of the camera
	opened chan struct{}
	purged int // times that the finger reader's cache was emptied
}

const model = "fake"

func newWorld(t *testing.T, p Policy) *world {
	dir := t.TempDir()
	w := &world{t: t, path: filepath.Join(dir, "v.db"), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), live: 0.95, opened: make(chan struct{}, 100)}
	w.hint = vision.Quality{Size: 200, Sharpness: 300, Brightness: 120, Contrast: 40, Inside: 1}
	w.start(p)
	t.Cleanup(w.stop)
	return w
}

func (w *world) start(p Policy) {
	v, err := store.Open(w.path, store.KeyFile(filepath.Join(filepath.Dir(w.path), "key")), store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.vault = v
	w.d, err = New(Hardware{Camera: w, Faces: w, Finger: w, Match: w, Enrol: w, Lock: w, Now: w.clock, Uptime: w.uptime}, v, p, Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	if err := errors.Join(w.d.Close(), w.vault.Close()); err != nil {
		w.t.Error(err)
	}
}

func (w *world) pose(face int, finger string) { w.face, w.finger = face, finger }

// clock moves on a little at every look at it.
func (w *world) clock() time.Time { return w.later(time.Millisecond) }

func (w *world) uptime() Uptime { return Uptime{Boot: "this", Since: w.up} }

func (w *world) later(by time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(by)
	return w.now
}

func (w *world) Frame(ctx context.Context) (*vision.Frame, error) {
	if w.look != nil {
		w.look()
	}
	if err := cmp.Or(w.fail, ctx.Err()); err != nil {
		return nil, err
	}
	if w.face == 0 { // nobody is there until the asker gives up
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.frames++ // no sensor gives the same picture twice
	f := &vision.Frame{Pix: make([]byte, 3*64*64), Width: 64, Height: 64, Seq: w.frames, At: w.later(enrolApart)}
	binary.LittleEndian.PutUint64(f.Pix, w.frames)
	return f, nil
}

func (w *world) Detect(*vision.Frame) ([]vision.Face, error) {
	return []vision.Face{{Box: vision.Box{X1: 200, Y1: 200}, Quality: w.hint, Live: vision.NotMeasured}}, nil
}

func (w *world) Describe(_ *vision.Frame, f *vision.Face) error {
	f.Embedding, f.Live = make(vision.Embedding, 16), w.live
	f.Embedding[w.face] = 1
	return nil
}

func (w *world) Profile() (vision.Profile, error) {
	table := vision.Table{Source: "made up", Points: []vision.Operating{{FMR: 1e-3, Cosine: 0.3}, {FMR: 1e-5, Cosine: 0.5}}}
	return vision.Profile{Name: model, Table: table, Templates: table}, nil
}

func (w *world) Scan(ctx context.Context) (sensor.Print, error) {
	if w.finger == "" {
		<-ctx.Done()
		return sensor.Print{}, ctx.Err()
	}
	return sensor.Print{}, nil
}

func (w *world) Match(_ context.Context, _ sensor.Print, template []byte) (float64, error) {
	switch string(template) {
	case w.finger:
		return 200, nil
	case "spoilt":
		return 0, sensor.ErrTemplate
	}
	return 0, nil
}

func (w *world) FMR(score float64) float64 {
	if score >= 100 {
		return 1e-5
	}
	return 1
}

func (w *world) Family() string { return "fake" }

func (w *world) Fits(template []byte) bool { return w.size == 0 || len(template) == w.size }

func (w *world) Purge(context.Context) {
	if !w.d.Busy() {
		w.t.Error("the cache is emptied while an attempt may fill it")
	}
	w.purged++
}

func (w *world) Enrol(_ context.Context, _ int, progress func(sensor.EnrolStep)) ([]byte, error) {
	progress(sensor.EnrolStep{Done: 1, Of: 1, Coverage: &sensor.Coverage{Area: 82, Seen: 82}})
	return []byte(w.finger), nil
}

func (w *world) Open(context.Context, time.Duration) error {
	w.opened <- struct{}{}
	return nil
}

func (w *world) enrol(name string, face int, finger string) store.UserID {
	w.t.Helper()
	w.pose(face, finger)
	e, err := w.d.Enroll(w.t.Context(), EnrollRequest{
		Name: name, Consent: store.Consent{At: w.clock(), TextVersion: "1"}, Factors: []Factor{Face, Finger}, Finger: "right-thumb",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.User
}

func (w *world) try(who store.UserID) Decision {
	w.t.Helper()
	d, err := w.d.Authenticate(w.t.Context(), Request{Who: who, Nonce: "n", Audience: "a", Scope: Enter})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) lockout(who store.UserID) (l store.Lockout) {
	w.t.Helper()
	if err := w.vault.View(func(tx *store.Tx) (err error) { l, err = tx.Lockout(who); return err }); err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) lastEntry() (e store.Entry) {
	w.t.Helper()
	err := w.vault.View(func(tx *store.Tx) error {
		n, _, err := tx.AuditHead()
		if err != nil {
			return err
		}
		es, err := tx.Audit(n-1, 1)
		if err == nil {
			e = es[0]
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func TestTheRightPersonIsGrantedAndTheGrantIsSigned(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	d := w.try(alice)
	if !d.Granted || d.User != alice || len(d.Results) != 2 || len(d.Reasons) != 0 {
		t.Fatalf("%+v", d)
	}
	<-w.opened
	token, err := jwt.ParseSigned(d.Grant, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.Claims
	var extra Claims
	if err := token.Claims(w.d.Keys(), &c, &extra); err != nil {
		t.Fatal(err)
	}
	if c.Subject != string(alice) || !slices.Equal(c.Audience, jwt.Audience{"a"}) || extra.Nonce != "n" || extra.Scope != "enter" || !slices.Equal(extra.AMR, []string{"face", "fpt", "mfa"}) {
		t.Errorf("%+v %+v", c, extra)
	}
	if life := c.Expiry.Time().Sub(c.IssuedAt.Time()); life != grantLifetime {
		t.Errorf("good for %v", life)
	}
	if e := w.lastEntry(); e.Outcome != "granted" || e.Seq != d.Audit || e.User != alice {
		t.Errorf("%+v", e)
	}
	if l := w.lockout(alice); l.Failures != 0 {
		t.Errorf("%+v", l)
	}
}

// Whoever takes grants must be able to tell one that lets somebody in from one
// that only says who they are; the device itself opens for the first alone.
func TestAGrantSaysWhatItIsGoodFor(t *testing.T) {
	for _, x := range []struct {
		scope Scope
		name  string
		opens bool
	}{{Scope(0), "vouch", false}, {Vouch, "vouch", false}, {Enter, "enter", true}, {Pair, "pair", false}} {
		w := newWorld(t, DefaultPolicy())
		alice := w.enrol("Alice", 1, "alice")
		d, err := w.d.Authenticate(t.Context(), Request{Who: alice, Audience: "a", Scope: x.scope})
		if err != nil || !d.Granted {
			t.Fatalf("%+v, %v", d, err)
		}
		w.d.doors.Wait()
		if opened := len(w.opened) == 1; opened != x.opens {
			t.Errorf("%s: the door was opened %d times", x.name, len(w.opened))
		}
		for _, other := range []Scope{Vouch, Enter, Pair, 99} {
			if other == x.scope {
				continue
			}
			if user, err := w.d.CheckGrant(d.Grant, "a", other); !errors.Is(err, ErrRequest) || user != "" {
				t.Errorf("a grant to %s was taken as one to %s: %q, %v", x.name, other, user, err)
			}
		}
		if user, err := w.d.CheckGrant(d.Grant, "b", x.scope); !errors.Is(err, ErrRequest) || user != "" {
			t.Errorf("for another audience: %q, %v", user, err)
		}
		if user, err := w.d.CheckGrant(d.Grant, "a", x.scope); err != nil || user != alice {
			t.Errorf("%s: %q, %v", x.name, user, err)
		}
		if user, err := w.d.CheckGrant(d.Grant, "a", x.scope); !errors.Is(err, ErrRequest) || user != "" {
			t.Errorf("shown twice: %q, %v", user, err)
		}
	}
}

func TestOthersAreRefusedWithReasons(t *testing.T) {
	p := DefaultPolicy()
	p.Challenge = ChallengeOff // else the photograph puts all who come after it in doubt
	w := newWorld(t, p)
	alice := w.enrol("Alice", 1, "alice")
	for name, tt := range map[string]struct {
		face   int
		live   float32
		finger string
		want   []Reason
	}{
		"a stranger":                {2, 0.95, "eve", []Reason{FaceNoMatch, FingerNoMatch}},
		"her face, another finger":  {1, 0.95, "eve", []Reason{FingerNoMatch}},
		"her finger, another face":  {2, 0.95, "alice", []Reason{FaceNoMatch}},
		"her photograph and finger": {1, 0.2, "alice", []Reason{FaceNotLive}},
	} {
		w.pose(tt.face, tt.finger)
		w.live = tt.live
		d := w.try(alice)
		if d.Granted || d.Grant != "" || !slices.Equal(d.Reasons, tt.want) {
			t.Errorf("%s: %+v", name, d)
		}
		if e := w.lastEntry(); e.Outcome != "refused" || e.Seq != d.Audit {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if l := w.lockout(alice); l.Failures != 4 {
		t.Errorf("%d failures are counted", l.Failures)
	}
	if len(w.opened) != 0 {
		t.Error("the door was opened")
	}
}

func TestTheRecordSaysWhichPhoneAskedForWhat(t *testing.T) {
	for weight, want := range map[PhoneWeight][]string{"": {string(PhoneNotAllowed), "for:enter", "phone:p1"}, PhoneExtra: {"for:enter", "phone:p1"}} {
		p := DefaultPolicy()
		p.Phone = weight
		w := newWorld(t, p)
		alice := w.enrol("Alice", 1, "alice")
		d, err := w.d.Authenticate(t.Context(), Request{Who: alice, Nonce: "n", Audience: "a", Phone: "p1", Scope: Enter})
		if err != nil || d.Granted != (weight != "") {
			t.Fatalf("%q: %+v, %v", weight, d, err)
		}
		if e := w.lastEntry(); e.Seq != d.Audit || !slices.Equal(e.Reasons, want) {
			t.Errorf("%q: %+v, want %q", weight, e, want)
		}
		if slices.Contains(d.Reasons, "phone:p1") {
			t.Errorf("%q: the decision's reasons are %q", weight, d.Reasons)
		}
		if _, err = w.d.Authenticate(t.Context(), Request{Who: alice, Nonce: "n", Audience: "a", Phone: "p1"}); err != nil {
			t.Fatal(err)
		}
		if e := w.lastEntry(); weight != "" && !slices.Contains(e.Reasons, "for:vouch") {
			t.Errorf("%q: %+v does not say that it was to vouch", weight, e)
		}
	}
}

// Where phones count for nothing, a phone can do nothing to its person: nothing is
// measured and nothing counted, and the chain hears of it by the hour.
func TestPhonesWithoutWeightCountNothing(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	w.d.policy.Phone = ""
	alice := w.enrol("Alice", 1, "alice")
	w.look = func() { t.Error("somebody was looked at") }
	before := w.lastEntry().Seq
	for n := range 60 {
		r := Request{Who: alice, Phone: "p1", Scope: Enter, Here: n%2 == 1}
		if n%3 == 2 {
			r = Request{Who: alice, Factors: []Factor{Phone}}
		}
		d, err := w.d.Authenticate(t.Context(), r)
		if err != nil || d.Granted || !slices.Equal(d.Reasons, []Reason{PhoneNotAllowed}) || d.Failures != 0 || d.Audit != before+1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if e := w.lastEntry(); e.Seq != before+1 || !slices.Equal(e.Reasons, []string{string(PhoneNotAllowed), "for:enter", "phone:p1"}) {
		t.Errorf("the chain ends with %+v", e)
	}
	if of, all := w.lockout(alice), w.lockout(""); of.Failures != 0 || all.Failures != 0 {
		t.Errorf("counted: %+v, %+v", of, all)
	}
	if _, err := w.d.Authenticate(t.Context(), Request{Who: "nobody", Phone: "p1"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a person who is not there: %v", err)
	}
	w.look = nil
	if d := w.try(alice); !d.Granted {
		t.Errorf("%+v", d)
	}
}

func TestTheFailureIsCountedBeforeTheFirstFrame(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	var seen []int
	w.look = func() { seen = append(seen, w.lockout(alice).Failures) }
	if d := w.try(alice); !d.Granted {
		t.Fatalf("%+v", d)
	}
	if len(seen) == 0 || slices.Min(seen) != 1 {
		t.Errorf("failures counted while frames were taken: %v", seen)
	}
}

func TestFiveFailuresLockOutAndOutliveARestart(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.pose(2, "eve")
	for range freeFailures {
		w.try(alice)
	}
	w.pose(1, "alice")
	for _, when := range []string{"at once", "after a restart"} {
		d := w.try(alice)
		if d.Granted || !slices.Equal(d.Reasons, []Reason{LockedOut}) || d.Failures != freeFailures || d.LockedUntil.IsZero() {
			t.Errorf("%s: %+v", when, d)
		}
		w.stop()
		w.start(DefaultPolicy())
	}
	w.now = w.lockout(alice).Until.Add(24 * time.Hour)
	if d := w.try(alice); d.Granted {
		t.Errorf("a clock that was set forward ended the delay: %+v", d)
	}
	w.up = w.lockout(alice).Due
	if d := w.try(alice); !d.Granted {
		t.Errorf("after the delay: %+v", d)
	}
}

func TestAHintIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, DefaultPolicy())
		alice := w.enrol("Alice", 1, "alice")
		w.pose(1, "")
		w.hint.Brightness = 10
		ctx, cancel := context.WithCancelCause(t.Context())
		var once sync.Once
		w.look = func() {
			once.Do(func() { cancel(nil) }) // the asker hangs up while it is too dark
		}
		_, err := w.d.Authenticate(ctx, Request{Who: alice})
		if err == nil {
			t.Fatal("granted in the dark")
		}
		if l := w.lockout(alice); l.Failures != 0 {
			t.Errorf("%d failures", l.Failures)
		}
		w.look = func() { time.Sleep(20 * time.Millisecond) } // of the bubble: its time runs out
		_, err = w.d.Authenticate(t.Context(), Request{Who: alice, Timeout: 50 * time.Millisecond})
		retry := (*RetryError)(nil)
		if !errors.As(err, &retry) || !slices.Contains(retry.Hints, vision.HintTooDark.String()) {
			t.Errorf("%v", err)
		}
		if l := w.lockout(alice); l.Failures != 0 {
			t.Errorf("%d failures after a hint", l.Failures)
		}
	})
}

func TestAFaultRefusesAndIsRecorded(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	gone := errors.New("cable pulled")
	w.fail = gone
	d, err := w.d.Authenticate(t.Context(), Request{Who: alice})
	if !errors.Is(err, gone) || d.Granted || d.Grant != "" {
		t.Errorf("%+v, %v", d, err)
	}
	if e := w.lastEntry(); e.Outcome != "fault" {
		t.Errorf("%+v", e)
	}
}

func TestAVaultThatCannotRecordGrantsNothing(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.d.vault = &readOnlyAfter{Vault: w.vault, updates: 1} // the count goes through, the record does not
	d, err := w.d.Authenticate(t.Context(), Request{Who: alice})
	if err == nil || d.Granted || d.Grant != "" || len(w.opened) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if l := w.lockout(alice); l.Failures != 1 {
		t.Errorf("%d failures", l.Failures)
	}
}

type readOnlyAfter struct {
	Vault
	updates int
}

func (v *readOnlyAfter) Update(f func(*store.Tx) error) error {
	if v.updates == 0 {
		return errors.New("disk full")
	}
	v.updates--
	return v.Vault.Update(f)
}

func TestOneAttemptAtATime(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	inside, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.look = func() { once.Do(func() { close(inside); <-leave }) }
	done := make(chan Decision, 1)
	go func() {
		d, _ := w.d.Authenticate(t.Context(), Request{Who: alice})
		done <- d
	}()
	<-inside
	if _, err := w.d.Authenticate(t.Context(), Request{Who: alice}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second attempt: %v", err)
	}
	if _, err := w.d.Forget(t.Context(), alice); !errors.Is(err, ErrBusy) {
		t.Errorf("forget meanwhile: %v", err)
	}
	close(leave)
	if d := <-done; !d.Granted {
		t.Errorf("%+v", d)
	}
}

func TestIdentifyFindsWhoItIs(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	w.enrol("Alice", 1, "alice")
	bob := w.enrol("Bob", 2, "bob")
	d, err := w.d.Identify(t.Context(), Request{})
	if err != nil || !d.Granted || d.User != bob {
		t.Fatalf("%+v, %v", d, err)
	}
	w.pose(2, "alice") // one person's face, another's finger
	if d, err = w.d.Identify(t.Context(), Request{}); err != nil || d.Granted || d.User != "" {
		t.Errorf("%+v, %v", d, err)
	}
	w.pose(3, "bob")
	if d, err = w.d.Identify(t.Context(), Request{}); err != nil || d.Granted || d.User != "" {
		t.Errorf("%+v, %v", d, err)
	}
}

// Whom the face found among many, one finger confirms: its rate is that of one
// comparison, however many people there are.
func TestIdentifyAmongMany(t *testing.T) {
	p := DefaultPolicy()
	p.FaceFMR = 1e-3
	w := newWorld(t, p)
	var last store.UserID
	for i := range 14 {
		last = w.enrol(fmt.Sprintf("person %d", i), i+1, fmt.Sprintf("finger %d", i))
	}
	if d, err := w.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != last {
		t.Fatalf("%+v, %v", d, err)
	}
	w.pose(14, "finger 0")
	if d, err := w.d.Identify(t.Context(), Request{}); err != nil || d.Granted {
		t.Errorf("with another's finger: %+v, %v", d, err)
	}
}

func TestEnrolmentRefuses(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	consent := store.Consent{At: w.clock(), TextVersion: "1"}
	for name, tt := range map[string]struct {
		r    EnrollRequest
		want error
	}{
		"without consent":         {EnrollRequest{Name: "B", Factors: []Factor{Face}}, ErrConsent},
		"without a text":          {EnrollRequest{Name: "B", Factors: []Factor{Face}, Consent: store.Consent{At: w.clock()}}, ErrConsent},
		"nothing":                 {EnrollRequest{Name: "B", Consent: consent}, ErrRequest},
		"nobody":                  {EnrollRequest{Consent: consent, Factors: []Factor{Face}}, ErrRequest},
		"a face that is enrolled": {EnrollRequest{Name: "B", Consent: consent, Factors: []Factor{Face}}, ErrDuplicate},
		"for a stranger's id":     {EnrollRequest{Who: store.NewUserID(), Consent: consent, Factors: []Factor{Finger}}, ErrUnknown},
	} {
		if _, err := w.d.Enroll(t.Context(), tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.face = 2
	w.look = func() { w.face = 5 - w.face } // two people take turns
	if _, err := w.d.Enroll(t.Context(), EnrollRequest{Name: "B", Consent: consent, Factors: []Factor{Face}}); !errors.Is(err, ErrMixed) {
		t.Errorf("two people: %v", err)
	}
	var people []store.UserID
	if err := w.vault.View(func(tx *store.Tx) (err error) { people, err = tx.Users(); return err }); err != nil || !slices.Equal(people, []store.UserID{alice}) {
		t.Errorf("%v are enrolled, %v", people, err)
	}
}

func TestEnrolmentTellsHowMuchOfTheFingerWasSeen(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	w.pose(1, "alice")
	var said []string
	_, err := w.d.Enroll(t.Context(), EnrollRequest{
		Name: "A", Consent: store.Consent{At: w.clock(), TextVersion: "1"}, Factors: []Factor{Finger},
		Notify: func(e Event) {
			if e.Kind == "progress" && e.Detail != "" {
				said = append(said, e.Detail)
			}
		},
	})
	if err != nil || len(said) != 1 || !strings.Contains(said[0], "82 % of the window") {
		t.Errorf("%q, %v", said, err)
	}
}

func TestTheForgottenAreUnknown(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	if n, err := w.d.ForgetFinger(alice, "", "none"); n != 1 || err != nil || w.purged != 1 {
		t.Errorf("%d fingers are deleted, %v; the reader's cache is emptied %d times", n, err, w.purged)
	}
	if _, err := w.d.Forget(t.Context(), alice); err != nil || w.purged != 2 {
		t.Fatalf("%v; the reader's cache is emptied %d times", err, w.purged)
	}
	if _, err := w.d.Authenticate(t.Context(), Request{Who: alice}); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if d, err := w.d.Identify(t.Context(), Request{Timeout: 20 * time.Millisecond}); err == nil && d.Granted {
		t.Errorf("%+v", d)
	}
}

func TestAPartThatIsNotThereIsAFault(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.d.hw.Camera = nil
	if _, err := w.d.Authenticate(t.Context(), Request{Who: alice}); !errors.Is(err, ErrPart) {
		t.Errorf("without a camera: %v", err)
	}
	w.d.hw.Camera, w.d.hw.Match = w, nil
	if _, err := w.d.Authenticate(t.Context(), Request{Who: alice}); !errors.Is(err, ErrPart) {
		t.Errorf("without a module: %v", err)
	}
}

func TestAScoreThatIsNoNumberIsNoMatch(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.live = float32(math.NaN())
	if d := w.try(alice); d.Granted || !slices.Contains(d.Reasons, FaceNotLive) {
		t.Errorf("%+v", d)
	}
}
