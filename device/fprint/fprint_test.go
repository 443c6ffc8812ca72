package fprint

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"github.com/faceprint/faceprint/device"
)

func TestHowAnAttemptEndedInFprintdsWords(t *testing.T) {
	fault := errors.New("cable")
	for _, c := range []struct {
		name  string
		d     device.Decision
		err   error
		there bool
		want  string
	}{
		{"zero", device.Decision{}, nil, true, "verify-no-match"},
		{"granted", device.Decision{Granted: true}, nil, true, "verify-match"},
		{"granted, and then the module went", device.Decision{Granted: true}, nil, false, "verify-match"},
		{"a yes with a fault", device.Decision{Granted: true}, fault, true, "verify-unknown-error"},
		{"refused", device.Decision{Reasons: []device.Reason{device.FingerNoMatch}}, nil, true, "verify-no-match"},
		{"locked out", device.Decision{Reasons: []device.Reason{device.LockedOut}}, nil, true, "verify-unknown-error"},
		{"retry", device.Decision{}, &device.RetryError{Hints: []string{"press-finger"}}, true, ""},
		{"busy", device.Decision{}, device.ErrBusy, true, ""},
		{"module gone", device.Decision{}, fault, false, "verify-disconnected"},
		{"fault", device.Decision{}, fault, true, "verify-unknown-error"},
	} {
		if got := verifyWord(c.d, c.err, c.there); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		err   error
		there bool
		want  string
	}{
		{nil, true, "enroll-completed"},
		{&device.RetryError{}, true, "enroll-failed"},
		{device.ErrDuplicate, true, "enroll-duplicate"},
		{&device.RetryError{Hints: []string{"use-other-finger"}}, true, "enroll-duplicate"},
		{fault, true, "enroll-unknown-error"},
		{fault, false, "enroll-disconnected"},
	} {
		if got := enrolWord(c.err, c.there); got != c.want {
			t.Errorf("enrol %v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestHintsOfFacesAndOfWaitingAreNotRetries(t *testing.T) {
	for hint, want := range map[string]string{"press-finger": "", "lift-finger": "", "press-again": "retry-scan", "clean-finger": "retry-scan", "start-again": "retry-scan", "wait": "retry-scan", "press-flat": "finger-not-centered", "press-longer": "swipe-too-short"} {
		if got := retryWord(device.Event{Kind: "hint", Step: device.Finger, Hint: hint}); got != want {
			t.Errorf("%s: %q, want %q", hint, got, want)
		}
		if got := retryWord(device.Event{Kind: "hint", Step: device.Face, Hint: hint}); got != "" {
			t.Errorf("%s of a face: %q", hint, got)
		}
	}
}

// A claim may be taken when its client did nothing for a while, later while
// something is under way.
func TestWhenAClaimIsStale(t *testing.T) {
	now := time.Now()
	ended, running, enrols := &job{ended: make(chan struct{})}, &job{ended: make(chan struct{}), verify: true}, &job{ended: make(chan struct{})}
	close(ended.ended)
	for _, c := range []struct {
		name string
		job  *job
		idle time.Duration
		age  time.Duration // besides
		want bool
	}{
		{"just used", nil, 0, 0, false},
		{"idle", nil, idleClaim, 0, true},
		{"ended and idle", ended, idleClaim, 0, true},
		{"ended just now", ended, idleClaim - 1, 0, false},
		{"waiting for a finger", running, idleClaim, 0, false},
		{"waiting for ever", running, longClaim, 0, true},
		{"one action after the other", ended, 0, wholeClaim - 1, false},
		{"one action after the other, for ever", ended, 0, wholeClaim, true},
		{"and one under way", running, 0, wholeClaim, true},
		{"an enrolment under way", enrols, longClaim - 1, wholeClaim, false},
		{"an enrolment for which nobody comes", enrols, longClaim, 0, true},
	} {
		long, fresh := use{taken: now.Add(-c.idle - c.age), used: now.Add(-c.idle)}, use{taken: now, used: now}
		if got := (&claim{account: "a", own: fresh, all: &long, job: c.job}).stale(now, "b"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if got := (&claim{account: "a", own: long, all: &long, job: c.job}).stale(now, "a"); got != c.want {
			t.Errorf("%s, and the account is the same: %v", c.name, got)
		}
		if (&claim{account: "a", own: fresh, all: &long, job: c.job}).stale(now, "a") {
			t.Errorf("%s, but before: the account itself may not take it", c.name)
		}
	}
}

// An account that gives the device back and takes it again at once keeps others out no
// longer than if it had kept it, whether or not it does something with it.
func TestToTakeItAgainIsNoNewClaim(t *testing.T) {
	for name, c := range map[string]struct {
		acts  bool
		after time.Duration
	}{"it does nothing": {false, idleClaim}, "it acts": {true, wholeClaim}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := offBus(t)
				d := onDevice{s}
				take := func(client, account string, want bool) {
					t.Helper()
					if e := s.take(client, account); (e == nil) != want {
						t.Fatalf("%v: %s of %s: %v", name, client, account, e)
					}
				}
				release := func(client string) {
					t.Helper()
					if e := d.Release(dbus.Sender(client)); e != nil {
						t.Fatal(e)
					}
				}
				hold := func() {
					if c.acts {
						s.mu.Lock()
						s.start(s.claim, true, func(context.Context, *job) {})
						s.mu.Unlock()
						if e := d.VerifyStop("hog"); e != nil {
							t.Fatal(e)
						}
					}
					time.Sleep(idleClaim / 2)
				}
				const others, again = "bob", "mallory"
				take("hog", again, true)
				held := time.Duration(0)
				for held = 0; held < c.after; held += idleClaim / 2 {
					take("other", others, false)
					take("second", again, false)
					hold()
					if held+idleClaim/2 < c.after {
						release("hog")
						time.Sleep(time.Second) // somebody else would have had it
						take("hog", again, true)
					}
				}
				take("other", others, true)
				if e := d.Release("hog"); e == nil {
					t.Error("it has the device still")
				}
				take("hog", again, false) // nor does it come back before they are done
				release("other")
				take("hog", again, true)
				take("other", others, true) // who may come again
				release("other")
				time.Sleep(freshClaim)
				take("hog", again, true)
				take("other", others, false)
				release("hog")
				if len(s.uses) != 1 {
					t.Errorf("%d accounts are remembered", len(s.uses))
				}
				s.running.Wait()
			})
		})
	}
}

// offBus is a server whose bus hears all and says nothing.
func offBus(t *testing.T) *Server {
	t.Helper()
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }() // what would go to the bus
	conn, err := dbus.NewConn(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		far.Close()
	})
	s := &Server{ctx: t.Context(), conn: conn, log: slog.New(slog.DiscardHandler), uses: make(map[string]*use)}
	s.props, err = prop.Export(conn, devicePath, prop.Map{deviceFace: {"finger-needed": {Value: false, Emit: prop.EmitFalse}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A client that calls and calls and does nothing keeps no claim by that; one that
// began an action, or whose action ended, has used it.
func TestWhatKeepsAClaim(t *testing.T) {
	s := offBus(t)
	long := time.Now().Add(-idleClaim)
	s.claim = &claim{client: "c", own: use{taken: long, used: long}, all: &use{taken: long, used: long}}
	d := onDevice{s}
	for name, call := range map[string]func() *dbus.Error{
		"VerifyStop":  func() *dbus.Error { return d.VerifyStop("c") },
		"EnrollStop":  func() *dbus.Error { return d.EnrollStop("c") },
		"VerifyStart": func() *dbus.Error { return d.VerifyStart("no finger", "c", dbus.Message{}) },
	} {
		if e := call(); e == nil || !s.claim.stale(time.Now(), "") {
			t.Errorf("%s: %v; stale %v", name, e, s.claim.stale(time.Now(), ""))
		}
	}
	end := make(chan struct{})
	s.mu.Lock()
	s.start(s.claim, true, func(context.Context, *job) { <-end })
	began := s.claim.own.used
	s.mu.Unlock()
	if time.Since(began) >= idleClaim {
		t.Error("an action that begins does not count")
	}
	close(end)
	if e := d.VerifyStop("c"); e != nil || !s.claim.own.used.After(began) || s.claim.stale(time.Now(), "") {
		t.Errorf("%v; used %v after it began", e, s.claim.own.used.Sub(began))
	}
	s.running.Wait()
}

// An enrolment whose finger is being compared with the others, which takes minutes, is not
// one that waits for its person.
func TestComparingANewFingerKeepsTheClaim(t *testing.T) {
	s := offBus(t)
	long := time.Now().Add(-longClaim)
	c := &claim{client: "c", own: use{taken: long, used: long}, all: &use{taken: long, used: long}, job: &job{ended: make(chan struct{})}}
	tell := s.enrolling(t.Context(), c)
	tell(device.Event{Kind: "hint", Step: device.Finger, Hint: "press-finger"})
	if !c.stale(time.Now(), "b") {
		t.Error("who is asked for a finger, and does not come, keeps the device")
	}
	tell(device.Event{Kind: "check", Step: device.Finger, Done: 1, Of: 190})
	for _, account := range []string{"", "b"} { // its own, and another
		if c.stale(time.Now(), account) {
			t.Errorf("account %q may take the device in the middle of it", account)
		}
	}
}

func TestWhoMayNameWhichAccount(t *testing.T) {
	root, alice := caller{uid: 0}, caller{uid: 1000, account: "alice"}
	for _, c := range []struct {
		by         caller
		name, want string
	}{
		{root, "", "root"}, {root, "alice", "alice"}, {alice, "", "alice"}, {alice, "alice", "alice"}, {alice, "root", ""}, {alice, "Alice", ""},
	} {
		got, e := c.by.of(c.name)
		if got != c.want || (e == nil) != (c.want != "") {
			t.Errorf("%+v names %q: %q, %v", c.by, c.name, got, e)
		}
	}
	if _, e := (caller{uid: 1000}).of("root"); e == nil {
		t.Error("a caller without an account may be root")
	}
}
