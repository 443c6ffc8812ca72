package fprint

import (
	"errors"
	"testing"
	"time"

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
	ended, running := &job{ended: make(chan struct{})}, &job{ended: make(chan struct{})}
	close(ended.ended)
	for _, c := range []struct {
		name string
		job  *job
		idle time.Duration
		want bool
	}{
		{"just used", nil, 0, false},
		{"idle", nil, idleClaim, true},
		{"ended and idle", ended, idleClaim, true},
		{"ended just now", ended, idleClaim - 1, false},
		{"waiting for a finger", running, idleClaim, false},
		{"waiting for ever", running, longClaim, true},
	} {
		if got := (&claim{used: now.Add(-c.idle), job: c.job}).stale(now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
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
