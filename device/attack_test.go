package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// heard are the kinds of events that wait in a subscription.
func heard(events <-chan Event) (kinds []string) {
	for len(events) > 0 {
		kinds = append(kinds, (<-events).Kind)
	}
	return kinds
}

// An attack on the face ends the attempt at once where no finger could make a
// yes of it: nobody is waited for, and hanging up hides nothing.
func TestAnAttackEndsTheAttempt(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.pose(1, "") // no finger: the attempt would wait for one until its time is up
	w.live = 0.05
	events := w.d.Subscribe(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := w.d.Authenticate(ctx, Request{Who: alice, Timeout: time.Hour})
	if err != nil || d.Granted || !slices.Contains(d.Reasons, FaceNotLive) || d.Failures != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if e := w.lastEntry(); e.Outcome != "refused" || !slices.Contains(e.Reasons, string(FaceNotLive)) || e.Scores["face-live"] == 0 {
		t.Errorf("%+v", e)
	}
	if !slices.Contains(heard(events), "attack") || !w.d.suspect() {
		t.Error("nobody was told")
	}
}

// A picture that was to tell whose phone to ask rings none, and is an attack
// though the phone alone would have sufficed.
func TestAPictureThatRingsNoPhoneIsAnAttack(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	ring := &pockets{answer: map[store.UserID]Possession{alice: {Enrolled: true, Shown: true}}}
	w.d.policy.Phone, w.d.hw.Phones = PhoneAlone, ring
	w.pose(1, "")
	w.live = 0.05
	events := w.d.Subscribe(t.Context())
	d, err := w.d.Identify(t.Context(), Request{Factors: []Factor{Phone}})
	if err != nil || d.Granted || !slices.Contains(d.Reasons, FaceNotLive) || len(ring.rang) != 0 {
		t.Fatalf("%+v, %v, rang %v", d, err, ring.rang)
	}
	if !slices.Contains(heard(events), "attack") || !w.d.suspect() {
		t.Error("nobody was told")
	}
	if e := w.lastEntry(); e.Outcome != "refused" || !slices.Contains(e.Reasons, string(FaceNotLive)) {
		t.Errorf("%+v", e)
	}
}

// A face in doubt that was to tell whose phone to ask, and that there was no time to ask
// to move, rings none either and sets the alarm.
func TestADoubtThatRingsNoPhoneSetsTheAlarm(t *testing.T) {
	inSlowMotion(t, 2*time.Second, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
		ring := &pockets{}
		d.policy.Phone, d.hw.Phones, d.opts.Timeout = PhoneAlone, ring, 15*time.Second
		th.play, th.seq = repeat(100, actor{who: 0, x: 320, live: 0.7}), 0
		dec, err := d.Identify(t.Context(), Request{Factors: []Factor{Phone}})
		if err != nil || !slices.Contains(dec.Reasons, FaceTooSlow) || len(ring.rang) != 0 || !d.suspect() {
			t.Errorf("%+v, %v, rang %v, alarm: %v", dec, err, ring.rang, d.suspect())
		}
	})
}

// Where one factor suffices, a finger still lets its owner in, whose face may
// have been seen badly.
func TestAFingerAloneIsNotEndedByTheFace(t *testing.T) {
	p := DefaultPolicy()
	p.Mode = Either
	w := newWorld(t, p)
	alice := w.enrol("Alice", 1, "alice")
	w.live = 0.05
	last := w.frames + 5
	decided := make(chan struct{})
	w.look = func() {
		if w.frames == last-1 { // the last frame of the face's part
			close(decided)
		}
	}
	w.d.hw.Finger = scanner(func(ctx context.Context) (sensor.Print, error) {
		<-decided
		return sensor.Print{}, nil
	})
	if d := w.try(alice); !d.Granted || w.lastEntry().Scores["face-live"] == 0 {
		t.Errorf("%+v", d)
	}
}

// scanner is a finger reader by a function.
type scanner func(context.Context) (sensor.Print, error)

func (s scanner) Scan(ctx context.Context) (sensor.Print, error) { return s(ctx) }

// Whoever hangs up on an attack has attacked; whoever hangs up on themselves has
// not, though it is counted.
func TestHangingUpHidesNoAttack(t *testing.T) {
	for name, tt := range map[string]struct {
		who    int // 0 = the enrolled person
		live   float32
		frames uint64 // until the asker hangs up
		want   string
		attack bool
	}{
		"on a picture":          {live: 0.05, frames: 4, want: "refused", attack: true},
		"before it can be told": {live: 0.05, frames: 2, want: "abandoned"},
		"on somebody unknown":   {who: 2, live: 0.95, frames: 4, want: "abandoned"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, DefaultPolicy())
			alice := w.enrol("Alice", 1, "alice")
			w.pose(max(tt.who, 1), "")
			w.live = tt.live
			ctx, cancel := context.WithCancel(t.Context())
			last := w.frames + tt.frames
			w.look = func() {
				if w.frames == last {
					cancel()
				}
			}
			events := w.d.Subscribe(t.Context())
			if _, err := w.d.Authenticate(ctx, Request{Who: alice}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			e := w.lastEntry()
			if e.Outcome != tt.want || slices.Contains(e.Reasons, string(FaceNotLive)) != tt.attack || w.d.suspect() != tt.attack {
				t.Errorf("%+v, want %s", e, tt.want)
			}
			if slices.Contains(heard(events), "attack") != tt.attack {
				t.Errorf("told as an attack: %v", !tt.attack)
			}
			counted := w.lockout(alice).Failures == 1
			if want := tt.frames > 2; counted != want {
				t.Errorf("counted %v, want %v", counted, want)
			}
		})
	}
}

// A recording may be known before anything is compared: it is counted, and its
// cues are in the audit.
func TestARecordingThatIsNeverComparedIsCounted(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
		play := repeat(12, actor{who: 0, x: 320, live: 0.9})
		var dec Decision
		for range 2 {
			var err error
			th.noise = 1000
			if dec, err = th.shows(t, d, user, play); err != nil {
				t.Fatal(err)
			}
		}
		if dec.Granted || len(dec.Results) != 0 || dec.Failures != 1 {
			t.Fatalf("%+v", dec)
		}
		if s := scores(t, d, dec.Audit); s["face-repeats"] != 1 {
			t.Errorf("%v", s)
		}
	})
}

// What speaks against an enrolment is in the audit; an attack is reported, and
// counted against the device.
func TestRefusedEnrolmentsAreRecorded(t *testing.T) {
	bo, eve := actor{who: 2, x: 320, live: 0.9}, actor{who: 1, x: 320, live: 0.9}
	photo := bo
	photo.live = 0.1
	for name, tt := range map[string]struct {
		play   [][]actor
		again  bool // the frames are those of the attempt before
		reason Reason
	}{
		"two people":  {play: slices.Concat(repeat(15, bo), repeat(60, eve)), reason: FaceMixed},
		"known":       {play: repeat(60, actor{who: 0, x: 320, live: 0.9}), reason: FaceDuplicate},
		"a picture":   {play: repeat(100, photo), reason: FaceNotLive},
		"a recording": {play: repeat(60, bo), again: true, reason: FaceReplayed},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
				th.noise = 1000
				if tt.again {
					if _, err := th.shows(t, d, user, tt.play); err != nil {
						t.Fatal(err)
					}
					th.noise = 1000
				}
				events := d.Subscribe(t.Context())
				before := deviceFailures(t, d)
				th.play, th.seq = tt.play, 0
				_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Bo", Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
				if err == nil {
					t.Fatal("enrolled")
				}
				e := newest(t, d)
				if e.Kind != "enrol" || e.Outcome != "refused" || !slices.Equal(e.Reasons, []string{string(tt.reason)}) || e.Scores["face-frames"] == 0 && tt.reason != FaceReplayed {
					t.Errorf("%+v, %v", e, err)
				}
				attack := tt.reason.attack()
				if slices.Contains(heard(events), "attack") != attack || d.suspect() != attack {
					t.Errorf("told as an attack: %v", !attack)
				}
				if got := deviceFailures(t, d) - before; (got == 1) != attack {
					t.Errorf("%d failures counted", got)
				}
			})
		})
	}
}

func deviceFailures(t *testing.T, d *Device) (n int) {
	t.Helper()
	err := d.vault.View(func(tx *store.Tx) error { l, err := tx.Lockout(""); n = l.Failures; return err })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newest(t *testing.T, d *Device) store.Entry {
	t.Helper()
	var es []store.Entry
	err := d.vault.View(func(tx *store.Tx) (err error) {
		n, _, err := tx.AuditHead()
		if err == nil {
			es, err = tx.Audit(n-1, 1)
		}
		return err
	})
	if err != nil || len(es) != 1 {
		t.Fatal(es, err)
	}
	return es[0]
}

// Another template of a person is of that person, or anybody's face opens their
// door.
func TestASecondTemplateIsOfTheSamePerson(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, ada store.UserID) {
		enrol := func(who store.UserID, a actor) error {
			th.play, th.seq = repeat(60, a), 0
			_, err := d.Enroll(t.Context(), EnrollRequest{Who: who, Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
			return err
		}
		if err := enrol(ada, actor{who: 0, x: 320, live: 0.9}); err != nil {
			t.Fatalf("the same person: %v", err)
		}
		eve := actor{who: 1, x: 320, live: 0.9}
		if err := enrol(ada, eve); !errors.Is(err, ErrMixed) {
			t.Errorf("somebody else: %v", err)
		}
		if dec, err := th.shows(t, d, ada, repeat(40, eve)); err != nil || dec.Granted {
			t.Errorf("%+v, %v", dec, err)
		}
		// Whoever has no template yet, as somebody with a finger alone, gets their first.
		bo := addPerson(t, d, "Bo")
		if err := enrol(bo, eve); err != nil {
			t.Errorf("a first face: %v", err)
		}
	})
}

// Nor is it one that is like the last only, step by step away from the first; and
// there is an end to how many there are.
func TestTemplatesDoNotWanderOff(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, ada store.UserID) {
		first, _ := faceTemplates(t, d, ada)
		enrol := func(degrees float64) error {
			th.people[0] = aged(first[0], degrees)
			th.play, th.seq = repeat(60, actor{who: 0, x: 320, live: 0.9}), 0
			_, err := d.Enroll(t.Context(), EnrollRequest{Who: ada, Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
			return err
		}
		if err := enrol(45); err != nil {
			t.Fatalf("with glasses: %v", err)
		}
		if err := enrol(90); !errors.Is(err, ErrMixed) {
			t.Fatalf("like the second alone: %v", err)
		}
		for n := 2; n < facesMost; n++ {
			if err := enrol(45); err != nil {
				t.Fatalf("after %d: %v", n, err)
			}
		}
		if err := enrol(0); !errors.Is(err, ErrRequest) {
			t.Errorf("after %d: %v", facesMost, err)
		}
	})
}

// Where the table reaches one template, a second would have the person refused for
// ever: it is refused, by name, and none follows them.
func TestATemplateBeyondTheReachIsRefused(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, ada store.UserID) {
		th.table.Points = []vision.Operating{{FMR: 1e-1, Cosine: 0.2}, {FMR: 1e-4, Cosine: 0.5}}
		th.play, th.seq = repeat(60, actor{who: 0, x: 320, live: 0.9}), 0
		_, err := d.Enroll(t.Context(), EnrollRequest{Who: ada, Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "at most 1 templates at a rate of 0.0001") {
			t.Errorf("a second: %v", err)
		}
		if v, err := th.shows(t, d, ada, repeat(40, actor{who: 0, x: 320, live: 0.9})); err != nil || !v.Granted {
			t.Errorf("with the first: %+v, %v", v, err)
		}
		th.table.Points[1].FMR = AdaptFMR
		d.policy.FaceFMR = AdaptFMR
		enrolled, _ := faceTemplates(t, d, ada)
		if err := d.adapt(ada, enrolled[0], 1); err != nil {
			t.Error(err)
		}
		if _, following := faceTemplates(t, d, ada); len(following) != 0 {
			t.Error("a template follows them, with which they are refused")
		}
	})
}

// A table that ends before the rate of duplicates finds more of them, and people are
// enrolled.
func TestAShortTableEnrols(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, _ store.UserID) {
		d.policy.FaceFMR = 1e-3
		th.table.Points = []vision.Operating{{FMR: 1e-1, Cosine: 0.2}, {FMR: 1e-3, Cosine: 0.5}}
		for who, want := range map[int]error{0: ErrDuplicate, 1: nil} {
			th.play, th.seq = repeat(60, actor{who: who, x: 320, live: 0.9}), 0
			_, err := d.Enroll(t.Context(), EnrollRequest{Name: "Eve", Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond})
			if !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", who, err, want)
			}
		}
	})
}

// Every template is one more comparison in which a stranger may match, of one
// person as of many.
func TestTemplatesShareTheRate(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, ada store.UserID) {
		first, _ := faceTemplates(t, d, ada)
		at, err := th.table.Threshold(0.7e-4) // of a policy of 1e-4
		if err != nil {
			t.Fatal(err)
		}
		like := aged(first[0], math.Acos(at)*180/math.Pi)
		for n, granted := range []bool{true, false} {
			if n > 0 {
				th.people[0], th.play, th.seq = first[0], repeat(60, actor{who: 0, x: 320, live: 0.9}), 0
				if _, err := d.Enroll(t.Context(), EnrollRequest{Who: ada, Factors: []Factor{Face}, Consent: store.Consent{At: th.now, TextVersion: "1"}, Timeout: 300 * time.Millisecond}); err != nil {
					t.Fatal(err)
				}
			}
			th.people[0] = like
			dec, err := th.shows(t, d, ada, repeat(40, actor{who: 0, x: 320, live: 0.9}))
			if err != nil || dec.Granted != granted {
				t.Errorf("%d templates: %+v, %v", n+1, dec, err)
			}
		}
	})
}

// Another file under the profile's name is another network, which finds none of
// the templates to be its own.
func TestTemplatesAreOfOneNetwork(t *testing.T) {
	onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, ada store.UserID) {
		play := repeat(40, actor{who: 0, x: 320, live: 0.9})
		th.digest = "abababababababab"
		if dec, err := th.shows(t, d, ada, play); err != nil || dec.Granted || !slices.Equal(dec.Reasons, []Reason{FaceNotEnrolled}) {
			t.Errorf("%+v, %v", dec, err)
		}
		th.digest = ""
		if dec, err := th.shows(t, d, ada, play); err != nil || !dec.Granted {
			t.Errorf("%+v, %v", dec, err)
		}
	})
}

// A part that fails is a fault in the audit, though the other part's wait was
// cancelled by it.
func TestAFaultOfOnePartIsNotTheAskersDoing(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	waits := make(chan struct{})
	w.d.hw.Finger = scanner(func(ctx context.Context) (sensor.Print, error) {
		close(waits)
		<-ctx.Done()
		return sensor.Print{}, fmt.Errorf("GenImg: %w", ctx.Err())
	})
	gone := errors.New("the clip cannot be played again")
	w.look = func() { <-waits }
	w.fail = gone
	events := w.d.Subscribe(t.Context())
	_, err := w.d.Authenticate(t.Context(), Request{Who: alice})
	if !errors.Is(err, gone) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if e := w.lastEntry(); e.Outcome != "fault" || !slices.Contains(heard(events), "fault") {
		t.Errorf("%+v", e)
	}
}
