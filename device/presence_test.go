package device

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// hall is a camera before which somebody stands or not, and a finger reader that
// waits for a finger for ever. Its clock is the test's.
type hall struct {
	mu     sync.Mutex
	face   int       // whose; 0 = nobody is there
	gone   bool      // the camera
	late   bool      // its frames do not come
	badly  bool      // faces are seen well enough to be somebody's and no more
	last   time.Time // of its last frame
	seq    uint64
	reader chan struct{} // closed when the reader begins to wait
}

func (h *hall) set(face int, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.face, h.gone = face, gone
}

func (h *hall) Frame(ctx context.Context) (*vision.Frame, error) {
	select {
	case <-time.After(66 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return nil, errors.New("unplugged")
	}
	for h.late {
		if time.Since(h.last) >= 5*time.Second { // as the real one says
			return nil, fmt.Errorf("covered?: %w", vision.ErrSilent)
		}
		h.mu.Unlock()
		select {
		case <-time.After(66 * time.Millisecond):
		case <-ctx.Done():
			h.mu.Lock()
			return nil, ctx.Err()
		}
		h.mu.Lock()
	}
	h.seq++
	h.last = time.Now()
	f := &vision.Frame{Pix: make([]byte, 3*64*64), Width: 64, Height: 64, Seq: h.seq, At: time.Now()}
	rng := rand.New(rand.NewPCG(8, h.seq))
	for i := range f.Pix {
		f.Pix[i] = byte(rng.Uint32())
	}
	f.Pix[0] = byte(h.face)
	return f, nil
}

func (h *hall) Detect(f *vision.Frame) ([]vision.Face, error) {
	if f.Pix[0] == 0 {
		return nil, nil
	}
	quality := vision.Quality{Size: 200, Sharpness: 300, Brightness: 120, Contrast: 40, Inside: 1}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.badly {
		quality.Yaw = 27
	}
	return []vision.Face{{Box: vision.Box{X1: 64, Y1: 64}, Score: float32(f.Pix[0]), Live: 0.95, Quality: quality}}, nil
}

func (h *hall) Describe(_ *vision.Frame, f *vision.Face) error {
	f.Embedding = make(vision.Embedding, 32)
	f.Embedding[int(f.Score)] = 1
	return nil
}

func (h *hall) Profile() (vision.Profile, error) {
	table := vision.Table{Source: "made up", Points: []vision.Operating{{FMR: 1e-3, Cosine: 0.3}, {FMR: 1e-7, Cosine: 0.5}}}
	return vision.Profile{Name: "hall", Table: table, Templates: table}, nil
}

func (h *hall) Enrol(ctx context.Context, _ int, _ func(sensor.EnrolStep)) ([]byte, error) {
	close(h.reader)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (h *hall) Scan(ctx context.Context) (sensor.Print, error) {
	<-ctx.Done()
	return sensor.Print{}, ctx.Err()
}

func (h *hall) Match(context.Context, sensor.Print, []byte) (float64, error) { return 0, nil }
func (h *hall) FMR(float64) float64                                          { return 1 }
func (h *hall) Family() string                                               { return "hall" }
func (h *hall) Fits([]byte) bool                                             { return true }

// inHall runs the test of a device in a hall, in virtual time.
func inHall(t *testing.T, test func(*testing.T, *Device, *hall)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		vault, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := &hall{reader: make(chan struct{})}
		d, err := New(Hardware{Camera: h, Faces: h, Finger: h, Match: h, Enrol: h, Uptime: func() Uptime { return Uptime{Boot: "this"} }}, vault, DefaultPolicy(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, d, h)
		if err := errors.Join(d.Close(), vault.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Presence is told as it changes, and where somebody was let in who is not seen,
// since what was opened for them must not stay open.
func TestWatchTellsWhoComesAndGoes(t *testing.T) {
	inHall(t, func(t *testing.T, d *Device, h *hall) {
		ctx, cancel := context.WithCancel(t.Context())
		if p := d.Presence(); p != Unwatched {
			t.Errorf("before anybody watches: %v", p)
		}
		var mu sync.Mutex
		var told []string
		var running sync.WaitGroup
		events := d.Subscribe(ctx)
		running.Go(func() {
			for e := range events {
				if e.Kind == "presence" {
					mu.Lock()
					told = append(told, e.Outcome)
					mu.Unlock()
				}
			}
		})
		running.Go(func() {
			if err := d.Watch(ctx, 0); err != nil {
				t.Error(err)
			}
		})
		step := func(after time.Duration, want Presence, events ...string) {
			t.Helper()
			time.Sleep(after) // of the virtual clock
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if p := d.Presence(); p != want || !slices.Equal(told, events) {
				t.Errorf("%v, told %q; want %v, %q", p, told, want, events)
			}
			told = nil
		}
		step(time.Minute, Nobody) // nobody came, nobody was let in
		h.set(1, false)
		step(time.Second, Somebody, "came")
		h.set(0, false)
		step(defaultAway-time.Second, Somebody)
		step(2*time.Second, Nobody, "left")

		d.letIn.Add(1) // a PIN, of somebody whom the camera does not see
		step(defaultAway+time.Second, Nobody, "nobody")
		step(time.Minute, Nobody)
		h.set(0, true)
		step(time.Second, Blind)
		d.letIn.Add(1) // a PIN on the day the camera fails
		step(blindStay-time.Second, Blind)
		step(2*time.Second, Blind, "nobody")

		// Others who are let in do not make the first one stay; who begins at the page
		// does so now.
		h.set(0, false)
		step(time.Second, Nobody)
		d.letIn.Add(1)
		step(defaultAway-time.Second, Nobody)
		d.letIn.Add(1)
		step(2*time.Second, Nobody, "nobody")
		d.letIn.Add(1)
		step(defaultAway-time.Second, Nobody)
		d.letIn.Add(1)
		d.Visit(true)
		step(defaultAway-time.Second, Nobody)
		step(2*time.Second, Nobody, "nobody")
		d.Visit(true) // agreed to be enrolled, and may still stand aside
		step(firstSight*defaultAway-time.Second, Nobody)
		step(2*time.Second, Nobody, "nobody")
		d.Visit(true)
		step(time.Second, Nobody)
		d.Visit(false) // and thought better of it
		step(time.Minute, Nobody)

		h.set(1, false)
		step(time.Second, Somebody, "came")
		h.set(1, true) // pulled out, to stay
		step(defaultAway+time.Second, Blind, "left")
		cancel()
		running.Wait()
		if p := d.Presence(); p != Unwatched {
			t.Errorf("after the watch: %v", p)
		}
	})
}

// A busy machine, whose camera gives no frame for a while, sends nobody away, and lets
// nobody stay for ever: who has left is told by what the camera shows, whether an
// attempt looks or a glance.
func TestNobodyLeavesForWantOfFrames(t *testing.T) {
	const away = 2 * time.Second
	for name, attempts := range map[string]bool{"glances": false, "an attempt": true} {
		t.Run(name, func(t *testing.T) {
			inHall(t, func(t *testing.T, d *Device, h *hall) {
				d.policy.Mode = FaceOnly
				enrolledAt(t, d, 9)
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				var mu sync.Mutex
				var told []string
				events := d.Subscribe(ctx)
				running.Go(func() {
					for e := range events {
						if e.Kind == "presence" {
							mu.Lock()
							told = append(told, e.Outcome)
							mu.Unlock()
						}
					}
				})
				running.Go(func() {
					if err := d.Watch(ctx, away); err != nil {
						t.Error(err)
					}
				})
				running.Go(func() {
					for attempts && ctx.Err() == nil {
						if _, err := d.Identify(ctx, Request{Timeout: 10 * time.Minute}); errors.Is(err, ErrPart) || errors.Is(err, ErrBusy) {
							t.Error(err)
							return
						}
						time.Sleep(glanceEvery / 3)
					}
				})
				step := func(what string, face int, late bool, after time.Duration, events ...string) {
					t.Helper()
					h.mu.Lock()
					h.face, h.late = face, late
					h.mu.Unlock()
					time.Sleep(after) // of the virtual clock
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					if !slices.Equal(told, events) {
						t.Errorf("%s: told %q, want %q", what, told, events)
					}
					told = nil
				}
				step("they come", 1, false, time.Second, "came")
				step("no frames", 1, true, 10*time.Second)
				step("they are still there", 1, false, time.Second)
				step("no frames again", 1, true, 10*time.Second)
				step("a frame without them", 0, false, glanceEvery)
				step("they are there", 1, false, time.Second)
				step("a frame without them", 0, false, glanceEvery)
				step("no frames behind it", 0, true, 10*time.Second)
				step("one more without them", 0, false, glanceEvery)
				step("they were there all the time", 1, false, time.Second)
				step("no frames while they leave", 0, true, 10*time.Second)
				step("they are not there", 0, false, away+time.Second, "left")
				step("they come back", 1, false, time.Second, "came")
				step("no frames for long", 1, true, blindStay-2*time.Second)
				step("and longer", 1, true, 4*time.Second, "left")
				if p := d.Presence(); p != Blind {
					t.Errorf("without a frame for long: %v", p)
				}
				d.letIn.Add(1) // a PIN, of somebody who stands aside
				step("a frame without them", 0, false, glanceEvery)
				step("no frames behind it", 0, true, 10*time.Second)
				step("one more without them", 0, false, glanceEvery)
				step("they come", 1, false, time.Second, "came")
				cancel()
				running.Wait()
			})
		})
	}
}

// An attempt that ends because no frame came tells nothing of whether the camera is there:
// the look of that moment is a glance.
func TestTheEndOfAnAttemptIsNoBlindness(t *testing.T) {
	for name, c := range map[string]struct {
		late, gone bool
		want       Presence
	}{"silent": {true, false, Unwatched}, "gone": {false, true, Blind}, "there": {false, false, Somebody}} {
		inHall(t, func(t *testing.T, d *Device, h *hall) {
			defer d.watched.begin()()
			h.face, h.late, h.gone = 1, c.late, c.gone
			d.watched.saw(Blind)
			if got := new(glancer).see(t.Context(), d); got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		})
	}
}

// Whoever is let in and leaves has left after as long, whatever attempts of
// whomever are under way and however close one follows the other: they make nobody
// be there. Who takes their place meanwhile is told, and so is who was not seen.
func TestNoAttemptKeepsWhoLeft(t *testing.T) {
	faces := func(ctx context.Context, d *Device, _ store.UserID) error {
		_, err := d.Identify(ctx, Request{})
		return err
	}
	finger := func(ctx context.Context, d *Device, bob store.UserID) error {
		_, err := d.Authenticate(ctx, Request{Who: bob})
		return err
	}
	patient := func(ctx context.Context, d *Device, bob store.UserID) error {
		_, err := d.Authenticate(ctx, Request{Who: bob, Timeout: time.Hour, Patient: true})
		return err
	}
	enrolment := func(ctx context.Context, d *Device, _ store.UserID) error {
		_, err := d.Enroll(ctx, EnrollRequest{Name: "Carl", Factors: []Factor{Face}, Consent: store.Consent{At: time.Now(), TextVersion: "1"}})
		return err
	}
	for name, tt := range map[string]struct {
		mode        Mode
		attempt     func(context.Context, *Device, store.UserID) error
		first, then int // whose face is there; 0 = nobody's
		told        []string
		within      time.Duration
	}{
		"a face is looked for":                         {FaceOnly, faces, 1, 0, []string{"came", "left"}, defaultAway + time.Second},
		"a finger is waited for":                       {FingerOnly, finger, 1, 0, []string{"came", "left"}, defaultAway + time.Second},
		"and for an hour":                              {FingerOnly, patient, 1, 0, []string{"came", "left"}, defaultAway + time.Second},
		"somebody is enrolled":                         {Both, enrolment, 1, 0, []string{"came", "left"}, defaultAway + time.Second},
		"a face is looked for, and another is there":   {FaceOnly, faces, 1, 2, []string{"came", "left" + Replaced, "came"}, 2 * time.Second},
		"a finger is waited for, and another is there": {FingerOnly, finger, 1, 2, []string{"came", "left" + Replaced, "came"}, 2 * time.Second},
		"a face is looked for, never seen":             {FaceOnly, faces, 0, 0, []string{"nobody"}, defaultAway + time.Second},
		"a finger is waited for, never seen":           {FingerOnly, finger, 0, 0, []string{"nobody"}, defaultAway + time.Second},
		"a face is looked for, they stay":              {FaceOnly, faces, 1, 1, []string{"came"}, 0},
		"a finger is waited for, they stay":            {FingerOnly, patient, 1, 1, []string{"came"}, 0},
		"a finger is waited for, somebody comes":       {FingerOnly, patient, 0, 1, []string{"came"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, func(t *testing.T, d *Device, h *hall) {
				d.policy.Mode = tt.mode
				bob := enrolledAt(t, d, 9)
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				var mu sync.Mutex
				var told []string
				var last time.Time
				events := d.Subscribe(ctx)
				running.Go(func() {
					for e := range events {
						if e.Kind == "presence" {
							mu.Lock()
							told, last = append(told, e.Outcome+e.Detail), time.Now()
							mu.Unlock()
						}
					}
				})
				running.Go(func() {
					if err := d.Watch(ctx, 0); err != nil {
						t.Error(err)
					}
				})
				h.set(tt.first, false)
				time.Sleep(time.Second) // of the virtual clock, as all here
				d.letIn.Add(1)
				d.Visit(true)
				time.Sleep(time.Second)
				h.set(tt.then, false)
				change := time.Now()
				running.Go(func() {
					for ctx.Err() == nil {
						if err := tt.attempt(ctx, d, bob); errors.Is(err, ErrPart) || errors.Is(err, ErrBusy) {
							t.Error(err)
							return
						}
						time.Sleep(glanceEvery / 3)
					}
				})
				time.Sleep(time.Minute)
				cancel()
				running.Wait()
				if took := last.Sub(change); !slices.Equal(told, tt.told) || took > tt.within {
					t.Errorf("told %q, the last one after %v; want %q within %v", told, took, tt.told, tt.within)
				}
			})
		})
	}
}

// enrolledAt is somebody who was enrolled in a hall with that face, and a finger.
func enrolledAt(t *testing.T, d *Device, face float32) store.UserID {
	t.Helper()
	p := store.Person{ID: store.NewUserID(), Name: "Bob", Created: time.Now(), Consent: store.Consent{At: time.Now(), TextVersion: "1"}}
	f := vision.Face{Score: face}
	err := errors.Join((*hall)(nil).Describe(nil, &f), d.vault.Update(func(tx *store.Tx) error {
		if err := tx.AddPerson(p); err != nil {
			return err
		}
		data, err := f.Embedding.MarshalBinary()
		if err != nil {
			return err
		}
		for kind, data := range map[store.Kind][]byte{store.KindFace: data, store.KindModule: {1}} {
			if _, err := tx.AddTemplate(store.Template{User: p.ID, Kind: kind, Model: "hall", Label: "right-thumb", Created: time.Now(), Data: data}); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

// Who agreed is who is captured: an enrolment ends when they leave, whether the
// face or the finger is waited for, and stores nothing.
func TestAnEnrolmentEndsWhenWhoAgreedLeaves(t *testing.T) {
	for name, tt := range map[string]struct {
		there   bool // at first
		leaves  bool // once the finger is waited for
		stay    time.Duration
		want    error
		between [2]time.Duration
	}{
		"they never come":               {false, false, 5 * time.Second, ErrLeft, [2]time.Duration{firstSight * 5 * time.Second, firstSight*5*time.Second + time.Second}},
		"they leave before their touch": {true, true, 5 * time.Second, ErrLeft, [2]time.Duration{5 * time.Second, 8 * time.Second}},
		"they stay":                     {true, false, 5 * time.Second, context.DeadlineExceeded, [2]time.Duration{enrolTimeout, enrolTimeout + time.Second}},
		"nobody sees to it":             {true, true, 0, context.DeadlineExceeded, [2]time.Duration{enrolTimeout, enrolTimeout + time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, func(t *testing.T, d *Device, h *hall) {
				if tt.there {
					h.set(1, false)
				}
				if tt.leaves {
					go func() { // ends with the enrolment, which waits for the reader
						<-h.reader
						h.set(0, false)
					}()
				}
				began := time.Now()
				_, err := d.Enroll(t.Context(), EnrollRequest{
					Name: "Ada", Factors: []Factor{Face, Finger}, Finger: "right-thumb", Stay: tt.stay, Consent: store.Consent{At: began, TextVersion: "1"},
				})
				if took := time.Since(began); !errors.Is(err, tt.want) || took < tt.between[0] || took > tt.between[1] {
					t.Errorf("after %v: %v, want %v", took, err, tt.want)
				}
				err = d.vault.View(func(tx *store.Tx) error {
					if users, err := tx.Users(); err != nil || len(users) != 0 {
						t.Errorf("stored: %v, %v", users, err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A visit that is bound ends when another face takes the place of the one that it
// was bound to, without a moment in which nobody is there; one that is not bound
// goes on, and then no face was remembered.
func TestABoundVisitEndsWhenAnotherFaceIsThere(t *testing.T) {
	inHall(t, func(t *testing.T, d *Device, h *hall) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var mu sync.Mutex
		var told []string
		events := d.Subscribe(ctx)
		running.Go(func() {
			for e := range events {
				if e.Kind == "presence" {
					mu.Lock()
					told = append(told, e.Outcome+e.Detail)
					mu.Unlock()
				}
			}
		})
		running.Go(func() {
			if err := d.Watch(ctx, 0); err != nil {
				t.Error(err)
			}
		})
		step := func(what string, face int, after time.Duration, remembered bool, events ...string) {
			t.Helper()
			h.set(face, false)
			time.Sleep(after) // of the virtual clock
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			d.visit.mu.Lock()
			defer d.visit.mu.Unlock()
			if !slices.Equal(told, events) || remembered != (d.visit.face != nil) {
				t.Errorf("%s: told %q, want %q; a face is remembered: %v", what, told, events, d.visit.face != nil)
			}
			told = nil
		}
		step("somebody", 1, time.Second, false, "came")
		step("another, of an unbound visit", 2, time.Second, false)
		d.Visit(true)
		step("bound", 2, time.Second, true)
		face := d.visit.face
		step("another one looks in", 3, glanceEvery, true)
		step("and goes", 2, time.Second, true)
		step("another one takes over", 3, time.Second, false, "left"+Replaced, "came")
		if slices.ContainsFunc(face, func(x float32) bool { return x != 0 }) {
			t.Error("the face was not wiped")
		}
		step("and is nobody's visit yet", 4, time.Minute, false)
		d.Visit(true)
		step("theirs", 4, time.Second, true)
		d.Visit(false)
		step("which is over", 5, time.Second, false)
		d.Visit(true)
		step("one's own again", 5, time.Second, true)
		step("who leaves", 0, defaultAway+time.Second, false, "left")
		cancel()
		running.Wait()
	})
}

// A visit that is bound ends when somebody is there who cannot be seen to be the
// visitor for long, and not while they look down, are there at all, or were never seen.
func TestABoundVisitEndsWhenWhoIsThereStaysInDoubt(t *testing.T) {
	inHall(t, func(t *testing.T, d *Device, h *hall) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var mu sync.Mutex
		var told []string
		events := d.Subscribe(ctx)
		running.Go(func() {
			for e := range events {
				if e.Kind == "presence" {
					mu.Lock()
					told = append(told, e.Outcome+e.Detail)
					mu.Unlock()
				}
			}
		})
		running.Go(func() {
			if err := d.Watch(ctx, 0); err != nil {
				t.Error(err)
			}
		})
		const well, badly, late = 0, 1, 2
		step := func(what string, face, how int, after time.Duration, bound bool, events ...string) {
			t.Helper()
			h.mu.Lock()
			h.face, h.badly, h.late = face, how == badly, how == late
			h.mu.Unlock()
			time.Sleep(after) // of the virtual clock
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if _, b := d.visit.began(); b != bound || !slices.Equal(told, events) {
				t.Errorf("%s: told %q, want %q; bound: %v", what, told, events, b)
			}
			told = nil
		}
		step("somebody", 1, well, time.Second, false, "came")
		d.Visit(true)
		step("bound", 1, well, time.Second, true)
		step("turns aside for long", 1, badly, 10*time.Minute, true)
		step("looks down, and cannot be told", 3, badly, doubtStay-time.Second, true)
		step("looks up", 1, well, time.Second, true)
		step("looks down again", 3, badly, doubtStay-time.Second, true)
		step("no frame comes", 3, late, 10*time.Second, true)
		step("looks up again", 1, well, time.Second, true)
		step("leaves, for less than away", 0, well, defaultAway-time.Second, true)
		step("another is there, seen badly", 2, badly, doubtStay-time.Second, true)
		step("and stays", 2, badly, 2*time.Second, false, "left"+Replaced, "came")
		d.Visit(true)
		step("who was never seen well has nothing to be told by", 2, badly, 10*time.Minute, true)
		cancel()
		running.Wait()
	})
}

// Who agreed, whose face is captured and who touches is one person: an enrolment
// ends when somebody else steps up in between, and stores nothing.
func TestAnEnrolmentEndsWhenAnotherStepsUp(t *testing.T) {
	for name, at := range map[string]struct {
		consent, face, finger int
		badly                 bool // seen, before the finger
		within                time.Duration
	}{
		"before the first pose":                              {1, 2, 2, false, 5 * time.Second},
		"before the finger":                                  {1, 1, 2, false, 5 * time.Second},
		"without a consent that was seen, before the finger": {0, 1, 2, false, 5 * time.Second},
		"before the finger, seen badly":                      {1, 1, 2, true, doubtStay + 5*time.Second},
		"without a consent that was seen, seen badly":        {0, 1, 2, true, doubtStay + 5*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, func(t *testing.T, d *Device, h *hall) {
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() {
					if err := d.Watch(ctx, 0); err != nil {
						t.Error(err)
					}
				})
				defer running.Wait()
				defer cancel()
				if at.consent != 0 {
					h.set(at.consent, false)
					d.Visit(true)
					time.Sleep(time.Second) // of the virtual clock: they read, and type their name
				}
				h.set(at.face, false)
				go func() { // ends with the enrolment, or with the test
					select {
					case <-h.reader:
						h.mu.Lock()
						h.face, h.badly = at.finger, at.badly
						h.mu.Unlock()
					case <-ctx.Done():
					}
				}()
				began := time.Now()
				_, err := d.Enroll(t.Context(), EnrollRequest{
					Name: "Ada", Factors: []Factor{Face, Finger}, Finger: "right-thumb", Stay: 5 * time.Second, Consent: store.Consent{At: began, TextVersion: "1"},
				})
				if took := time.Since(began); !errors.Is(err, ErrLeft) || took > at.within {
					t.Errorf("after %v: %v", took, err)
				}
				err = d.vault.View(func(tx *store.Tx) error {
					if users, err := tx.Users(); err != nil || len(users) != 0 {
						t.Errorf("stored: %v, %v", users, err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestANameIsWhatPeopleSee(t *testing.T) {
	for _, name := range []string{"Ada", "Ünï çødé 李雷 مريم", "می\u200cخواهم", "क्\u200dष", "👩\u200d👩\u200d👧", "☺️", "O'Neill-Smith Jr.", `<img src=x>`, "7"} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "  ", "\u200b", "\u2060", "\u200d", "\u3164", "\u2800", "\ufe0f", "\u0301", "Ada\u200b", "Ada\u200d", "\u200cAda", "A\u200dda", "Ada\u3164", "Ada\u2800", "Ada\u034f", "Ada\ufe0f",
		"\u202eadA", "Ada\u200e", "Ada\u00ad", "Ada\U000e0041", "a\x00b", "bell\a", "\xff", "two\nlines",
	} {
		if err := checkName(name); !errors.Is(err, ErrRequest) {
			t.Errorf("%q is taken for a name: %v", name, err)
		}
	}
}
