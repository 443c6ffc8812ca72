package device

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/faceprint/faceprint/store"
)

// pockets are people's phones, as the test wants them to answer.
type pockets struct {
	mu     sync.Mutex
	answer map[store.UserID]Possession
	rang   []store.UserID
	fails  error
}

func (p *pockets) Ask(_ context.Context, user store.UserID, _ string) (Possession, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rang = append(p.rang, user)
	return p.answer[user], p.fails
}

// A search asks the phone of whom it found, and nobody else's.
func TestIdentifyWithThePhoneOfWhoWasFound(t *testing.T) {
	yes, no, silent := Possession{Enrolled: true, Shown: true}, Possession{Enrolled: true, Denied: true}, Possession{Enrolled: true}
	for name, c := range map[string]struct {
		mode    Mode
		weight  PhoneWeight
		face    int
		finger  string
		phone   Possession
		granted bool
		rings   bool
		reason  Reason // one of them
		hint    bool   // a retry that says so
	}{
		"second: face, and yes":            {Both, PhoneSecond, 2, "", yes, true, true, "", false},
		"second: face, and no":             {Both, PhoneSecond, 2, "", no, false, true, PhoneDenied, false},
		"second: face, no answer":          {Both, PhoneSecond, 2, "", silent, false, true, "", true},
		"second: face, no phone":           {Both, PhoneSecond, 2, "", Possession{}, false, true, PhoneNotEnrolled, false},
		"second: a stranger":               {Both, PhoneSecond, 3, "x", yes, false, false, FaceNoMatch, false},
		"extra: face, finger and yes":      {Both, PhoneExtra, 2, "bob", yes, true, true, "", false},
		"extra: face, wrong finger, yes":   {Both, PhoneExtra, 2, "x", yes, false, true, FingerNoMatch, false},
		"extra: finger only, and yes":      {FingerOnly, PhoneExtra, 0, "bob", yes, true, true, "", false},
		"extra: a stranger's finger only":  {FingerOnly, PhoneExtra, 0, "x", yes, false, false, FingerNoMatch, false},
		"alone: a face says whose, yes":    {Both, PhoneAlone, 2, "", yes, true, true, "", false},
		"alone: a stranger rings nowhere":  {Both, PhoneAlone, 3, "", yes, false, false, PhoneMissing, false},
		"no weight: nobody's phone rings":  {Both, "", 2, "bob", yes, false, false, PhoneNotAllowed, false},
		"no policy: nobody is even looked": {"", PhoneAlone, 2, "bob", yes, false, false, NoPolicy, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := DefaultPolicy()
			w := newWorld(t, p)
			w.enrol("Alice", 1, "alice")
			bob := w.enrol("Bob", 2, "bob")
			w.pose(c.face, c.finger)
			ring := &pockets{answer: map[store.UserID]Possession{bob: c.phone}}
			w.d.policy.Mode, w.d.policy.Phone, w.d.hw.Phones = c.mode, c.weight, ring
			d, err := w.d.Identify(t.Context(), Request{Factors: []Factor{Phone}})
			var retry *RetryError
			switch {
			case c.hint:
				if !errors.As(err, &retry) || !slices.Equal(retry.Hints, []string{HintPhone}) {
					t.Errorf("%+v, %v", d, err)
				}
			case err != nil:
				t.Fatal(err)
			case d.Granted != c.granted, c.granted && d.User != bob, c.reason != "" && !slices.Contains(d.Reasons, c.reason):
				t.Errorf("%+v", d)
			}
			if want := map[bool][]store.UserID{true: {bob}}[c.rings]; !slices.Equal(ring.rang, want) {
				t.Errorf("rang %v, want %v", ring.rang, want)
			}
		})
	}
}

// A phone that rings in vain leaves an entry: the first at once, those after it an
// hour later, with how many they were. Nothing is counted as a failure.
func TestAPhoneThatRingsInVainIsRecorded(t *testing.T) {
	for name, search := range map[string]bool{"of whom was named": false, "of whom was found": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, DefaultPolicy())
			w.enrol("Alice", 1, "alice")
			bob := w.enrol("Bob", 2, "bob")
			w.pose(2, "")
			w.d.hw.Phones = &pockets{answer: map[store.UserID]Possession{bob: {Enrolled: true}}}
			if !search {
				w.d.policy.Phone = PhoneAlone // nothing else is waited for
			}
			ask := func() {
				t.Helper()
				r := Request{Factors: []Factor{Phone}, Scope: Enter}
				f := w.d.Identify
				if !search {
					r.Who, f = bob, w.d.Authenticate
				}
				retry := (*RetryError)(nil)
				if d, err := f(t.Context(), r); !errors.As(err, &retry) {
					t.Fatalf("%+v, %v", d, err)
				}
			}
			told := func() (all []store.Entry) {
				t.Helper()
				err := w.vault.View(func(tx *store.Tx) error {
					entries, err := tx.Audit(0, 1000)
					for _, e := range entries {
						if e.Outcome == outcomeUnanswered {
							all = append(all, e)
						}
					}
					l, lerr := tx.Lockout(bob)
					if l.Failures != 0 {
						t.Errorf("counted as %d failures", l.Failures)
					}
					return errors.Join(err, lerr)
				})
				if err != nil {
					t.Fatal(err)
				}
				return all
			}
			for range 3 {
				ask()
			}
			got := told()
			if len(got) != 1 || got[0].User != bob || !slices.Equal(got[0].Reasons, []string{"phone-missing", "for:enter"}) {
				t.Fatalf("%+v", got)
			}
			if err := w.d.flushRefusals(bob, false); err != nil {
				t.Fatal(err)
			}
			if got = told(); len(got) != 2 || got[1].Times != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A phone that only vouches clears nobody's failures: who has a copy of its key, and
// stands at the door, would never be slowed.
func TestAPhoneThatVouchesClearsNoFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		scope Scope
		want  int
	}{
		"a door, which it may open anyway": {Enter, 0},
		"a word for the person":            {Vouch, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, DefaultPolicy())
			bob := w.enrol("Bob", 2, "bob")
			w.pose(3, "") // a stranger is at the device
			w.d.policy.Phone = PhoneAlone
			failures := store.Lockout{Failures: 3}
			if err := w.vault.Update(func(tx *store.Tx) error { return tx.SetLockout(bob, failures) }); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if d, err := w.d.Authenticate(t.Context(), Request{Who: bob, Phone: "p1", Scope: tt.scope}); err != nil || !d.Granted {
					t.Fatalf("%+v, %v", d, err)
				}
			}
			err := w.vault.View(func(tx *store.Tx) error {
				l, err := tx.Lockout(bob)
				if l.Failures != tt.want {
					t.Errorf("%d failures are left, want %d", l.Failures, tt.want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A fault of the phones refuses, whatever the face says.
func TestAPhoneThatFailsIsAFault(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	w.enrol("Alice", 1, "alice")
	broken := errors.New("broken")
	w.d.hw.Phones = &pockets{fails: broken}
	if d, err := w.d.Identify(t.Context(), Request{Factors: []Factor{Phone}}); !errors.Is(err, broken) || d.Granted {
		t.Errorf("%+v, %v", d, err)
	}
	w.d.hw.Phones = nil
	if d, err := w.d.Identify(t.Context(), Request{Factors: []Factor{Phone}}); err != nil || d.Granted || !slices.Contains(d.Reasons, PhoneNotEnrolled) {
		t.Errorf("%+v, %v", d, err)
	}
}
