package device

import (
	"errors"
	"testing"

	"github.com/faceprint/faceprint/store"
)

// refusedEntries are the entries of refusals by a lock-out, and for how many
// attempts they stand in all.
func (w *world) refusedEntries(who store.UserID) (entries, attempts int) {
	w.t.Helper()
	err := w.vault.View(func(tx *store.Tx) error {
		all, err := tx.Audit(0, 1<<20)
		for _, e := range all {
			if e.User == who && e.Outcome == "refused" && e.Reasons[0] == string(LockedOut) {
				entries++
				attempts += max(e.Times, 1)
			}
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return entries, attempts
}

// Whoever knocks at a lock-out without end must not push old entries out of a
// chain whose length is bounded, and the chain must still tell how often.
func TestALockoutThatIsTriedWithoutEndKeepsTheChainShort(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.pose(3, "eve")
	for range freeFailures {
		w.try(alice)
	}
	knock := func(times int) {
		t.Helper()
		for range times {
			if d := w.try(alice); d.Granted || d.Reasons[0] != LockedOut || d.Audit == 0 {
				t.Fatalf("%+v", d)
			}
		}
	}
	is := func(when string, entries, attempts int) {
		t.Helper()
		if e, a := w.refusedEntries(alice); e != entries || a != attempts {
			t.Errorf("%s: %d entries for %d attempts, want %d for %d", when, e, a, entries, attempts)
		}
	}
	knock(200)
	is("all within the hour", 1, 1)
	w.stop()
	w.start(DefaultPolicy())
	w.later(refusalsEvery)
	knock(1) // tells of the others
	is("an hour later, after a restart", 3, 201)
	knock(50)
	if err := w.d.Sweep(t.Context(), Retention{}); err != nil {
		t.Fatal(err)
	}
	is("after a sweep", 4, 251)
	if err := w.d.Sweep(t.Context(), Retention{}); err != nil {
		t.Fatal(err)
	}
	knock(10)
	is("nothing is told twice", 4, 251)

	w.up += firstDelay // served
	w.try(alice)       // and failed again
	is("the lock-out is over", 5, 261)
	knock(7)
	is("the next lock-out", 6, 262)
	if err := w.d.Unlock(alice); err != nil {
		t.Fatal(err)
	}
	is("unlocked", 7, 268)

	for range freeFailures {
		w.try(alice)
	}
	knock(4)
	if _, err := w.d.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	is("forgotten", 9, 272)
	if err := w.vault.View((*store.Tx).Verify); err != nil {
		t.Fatal(err)
	}
}

// A lock screen before a broken camera, or somebody who begins and leaves, ends
// attempts without end as well.
func TestFaultsWithoutEndKeepTheChainShort(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.pose(1, "") // or the finger would be compared
	w.fail = errors.New("the cable is out")
	for i := range 100 {
		if d, err := w.d.Authenticate(t.Context(), Request{Who: alice}); err == nil {
			t.Fatalf("%d: a broken camera is no fault: %+v", i, d)
		}
	}
	w.fail = nil
	w.pose(1, "alice")
	if d := w.try(alice); !d.Granted {
		t.Fatalf("%+v", d)
	}
	if err := w.d.Sweep(t.Context(), Retention{}); err != nil {
		t.Fatal(err)
	}
	entries, attempts := 0, 0
	if err := w.vault.View(func(tx *store.Tx) error {
		all, err := tx.Audit(0, 1<<20)
		for _, e := range all {
			if e.Outcome == "fault" && e.User == alice && e.Kind == "authenticate" {
				entries++
				attempts += max(e.Times, 1)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if entries != 2 || attempts != 100 {
		t.Errorf("%d entries for %d attempts", entries, attempts)
	}
}

// A stranger without a name knocks at the device's own delay.
func TestTheDevicesDelayIsCountedAsWell(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	for range deviceFreeFailures {
		if err := w.vault.Update(func(tx *store.Tx) error {
			l, err := tx.Lockout("")
			if err == nil {
				err = tx.SetLockout("", failed(l, w.now, w.uptime(), deviceFreeFailures, 0))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if d, err := w.d.Identify(t.Context(), Request{}); err != nil || d.Reasons[0] != LockedOut {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	w.up += deviceForgives
	w.pose(3, "eve")
	if d, err := w.d.Identify(t.Context(), Request{}); err != nil || d.Reasons[0] == LockedOut {
		t.Fatalf("%+v, %v", d, err)
	}
	if e, a := w.refusedEntries(""); e != 2 || a != 20 {
		t.Errorf("%d entries for %d attempts", e, a)
	}
}

// Somebody whose face was known and whose finger was not finds that in their own
// history; the asker does not learn who it was.
func TestARefusedSearchIsInTheHistoryOfWhoWasHalfKnown(t *testing.T) {
	p := DefaultPolicy()
	p.Challenge = ChallengeOff
	w := newWorld(t, p)
	alice := w.enrol("Alice", 1, "alice")
	for name, tt := range map[string]struct {
		face   int
		finger string
		whose  store.UserID
	}{
		"her face, another's finger": {1, "eve", alice},
		"a stranger":                 {2, "eve", ""},
	} {
		w.pose(tt.face, tt.finger)
		d, err := w.d.Identify(t.Context(), Request{Audience: "kiosk"})
		if err != nil || d.Granted || d.User != "" {
			t.Fatalf("%s: %+v, %v", name, d, err)
		}
		if e := w.lastEntry(); e.Seq != d.Audit || e.User != tt.whose || e.Outcome != "refused" {
			t.Errorf("%s is recorded as %+v", name, e)
		}
	}
}

// Who is locked out, or disabled, is refused before anybody is looked at, and that
// is recorded as an attempt's refusal is; of nobody else is anything counted.
func TestBarredBeforeAnybodyIsLookedAt(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	if d, err := w.d.Barred(alice); d != nil || err != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := w.d.Barred("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("somebody unknown: %v", err)
	}
	w.pose(3, "eve")
	for range freeFailures {
		w.try(alice)
	}
	for range 3 {
		d, err := w.d.Barred(alice)
		if err != nil || d == nil || d.Granted || d.Reasons[0] != LockedOut || d.Audit == 0 || d.Failures != freeFailures || d.LockedUntil.IsZero() {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if err := w.d.Sweep(t.Context(), Retention{}); err != nil {
		t.Fatal(err)
	}
	if entries, attempts := w.refusedEntries(alice); entries != 2 || attempts != 3 {
		t.Errorf("%d entries for %d refusals, want 2 for 3", entries, attempts)
	}
	w.up += firstDelay
	if d, err := w.d.Barred(alice); d != nil || err != nil {
		t.Errorf("served: %+v, %v", d, err)
	}
	for range disabledAt {
		w.up += mostDelay
		w.try(alice)
	}
	w.up += mostDelay
	if d, err := w.d.Barred(alice); err != nil || d == nil || !d.Disabled || !d.LockedUntil.IsZero() {
		t.Errorf("disabled: %+v, %v", d, err)
	}
}
