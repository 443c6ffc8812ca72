package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
)

// searcher is a world whose module searches, and compares duplicates.
type searcher struct {
	*world
	searched int
	wait     error         // of a search
	checks   time.Duration // what the newest duplicates' check was given
}

func (s *searcher) Identify(_ context.Context, _ sensor.Print, templates [][]byte) (int, float64, error) {
	s.searched++
	if s.wait != nil {
		return -1, 0, s.wait
	}
	at := slices.IndexFunc(templates, func(t []byte) bool { return string(t) == s.finger })
	if at < 0 {
		return -1, 0, nil
	}
	return at, 200, nil
}

func (s *searcher) Same(ctx context.Context, template []byte, others [][]byte) (int, error) {
	if until, ok := ctx.Deadline(); ok {
		s.checks = time.Until(until)
	}
	return slices.IndexFunc(others, func(o []byte) bool { return string(o) == string(template) }), ctx.Err()
}

// searching is a device where fingers alone say who somebody is, of so many people.
func searching(t *testing.T, people int) (*searcher, store.UserID) {
	t.Helper()
	p := DefaultPolicy()
	p.Mode, p.FingerFMR = FingerOnly, 1e-2
	s := &searcher{world: newWorld(t, p)}
	var first store.UserID
	for i := range people {
		s.pose(0, fmt.Sprint("finger ", i))
		if id := s.enrolFinger("", "right-thumb"); i == 0 {
			first = id
		}
	}
	s.d.hw.Match, s.d.hw.Enrol = s, s
	return s, first
}

// enrolFinger enrols the finger that is on the module.
func (s *searcher) enrolFinger(who store.UserID, label string) store.UserID {
	s.t.Helper()
	r := EnrollRequest{Who: who, Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}, Finger: label}
	if who == "" {
		r.Name = s.finger
	}
	e, err := s.d.Enroll(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return e.User
}

// Somebody who was named is compared with their own templates, however many: none is
// put into the module's library for it. A search is for whom nobody named.
func TestNamedIsNotSearched(t *testing.T) {
	s, first := searching(t, 1)
	for i := range 6 {
		s.pose(0, fmt.Sprint("another ", i))
		s.enrolFinger(first, fmt.Sprint("finger-", i))
	}
	for finger, want := range map[string]bool{"finger 0": true, "another 5": true, "mallory": false} {
		s.pose(0, finger)
		if d := s.try(first); d.Granted != want {
			t.Errorf("%s: %+v", finger, d)
		}
	}
	if s.searched != 0 {
		t.Errorf("%d searches for somebody who was named", s.searched)
	}
	s.pose(0, "another 3")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != first || s.searched != 0 {
		t.Errorf("nobody else is enrolled: %+v, %v; %d searches", d, err, s.searched)
	}
	s.pose(0, "second")
	s.enrolFinger("", "right-thumb")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User == first || s.searched != 1 {
		t.Errorf("%+v, %v; %d searches", d, err, s.searched)
	}
}

// A library that is being filled is no refusal: nothing is counted.
func TestLibraryThatIsBeingFilled(t *testing.T) {
	s, first := searching(t, ManyFingers)
	s.wait = &sensor.RetryError{Hint: sensor.HintWait}
	s.pose(0, "finger 0")
	_, err := s.d.Identify(t.Context(), Request{})
	if r := (*RetryError)(nil); !errors.As(err, &r) || !slices.Contains(r.Hints, string(sensor.HintWait)) {
		t.Errorf("%v", err)
	}
	if l := s.lockout(""); l.Failures != 0 {
		t.Errorf("%d failures are counted", l.Failures)
	}
	s.wait = nil
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != first {
		t.Errorf("%+v, %v", d, err)
	}
}

// The check of a finger's duplicates is not held against the time of the captures:
// among many it takes longer than those, and nobody would be enrolled any more.
func TestDuplicatesAreNotLookedForInTheCapturesTime(t *testing.T) {
	s, _ := searching(t, 3)
	s.pose(0, "new")
	_, err := s.d.Enroll(t.Context(), EnrollRequest{Name: "New", Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}, Timeout: time.Second})
	if least := 3 * duplicateEach; err != nil || s.checks < least {
		t.Errorf("of 3 others: %v, want %v at least; %v", s.checks, least, err)
	}
}
