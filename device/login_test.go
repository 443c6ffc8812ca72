package device

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
)

// reader is a fingerprint module whose next finger is laid down by the test.
type reader struct {
	waits  chan struct{} // told, where somebody listens, that a scan began
	finger chan float64  // the score that the finger will have
	score  float64
}

func (r *reader) Scan(ctx context.Context) (sensor.Print, error) {
	select {
	case r.waits <- struct{}{}:
	default:
	}
	select {
	case r.score = <-r.finger:
		return sensor.Print{}, nil
	case <-ctx.Done():
		return sensor.Print{}, ctx.Err()
	}
}

func (r *reader) Match(context.Context, sensor.Print, []byte) (float64, error) { return r.score, nil }
func (r *reader) FMR(score float64) float64                                    { return 1 - score }
func (r *reader) Family() string                                               { return "test" }
func (r *reader) Fits([]byte) bool                                             { return true }

// lock counts how often the door was opened.
type lock struct{ opened int }

func (l *lock) Open(context.Context, time.Duration) error { l.opened++; return nil }

// withFinger is a device that knows one person by one finger.
func withFinger(t *testing.T) (*Device, *reader, *lock, store.UserID) {
	t.Helper()
	dir := t.TempDir()
	vault, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vault.Close() })
	r, l := &reader{waits: make(chan struct{}, 8), finger: make(chan float64)}, &lock{}
	d, err := New(Hardware{Finger: r, Match: r, Lock: l}, vault, Policy{Mode: FingerOnly, FingerFMR: 1e-4}, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	user := addPerson(t, d, "Alice")
	err = vault.Update(func(tx *store.Tx) error {
		for _, label := range []string{"right-thumb", "left-thumb"} {
			if _, err := tx.AddTemplate(store.Template{User: user, Kind: store.KindModule, Model: "test", Label: label, Created: time.Now(), Data: []byte{1}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, r, l, user
}

func addPerson(t *testing.T, d *Device, name string) store.UserID {
	t.Helper()
	user := store.NewUserID()
	err := d.vault.Update(func(tx *store.Tx) error {
		return tx.AddPerson(store.Person{ID: user, Name: name, Created: time.Now(), Consent: store.Consent{At: time.Now(), TextVersion: "1"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func TestAnAccountIsOnePersons(t *testing.T) {
	d, _, _, alice := withFinger(t)
	bob := addPerson(t, d, "alice") // called as the account is: means nothing
	if _, err := d.Account("alice"); !errors.Is(err, ErrAccount) {
		t.Errorf("an account that nobody was given: %v", err)
	}
	if err := errors.Join(d.AllowLogin(alice, "alice"), d.AllowLogin(alice, "ward"), d.AllowLogin(alice, "alice")); err != nil {
		t.Fatal(err)
	}
	if user, err := d.Account("alice"); err != nil || user != alice {
		t.Errorf("alice's account is %v's: %v", user, err)
	}
	if err := d.AllowLogin(bob, "alice"); !errors.Is(err, ErrAccountTaken) {
		t.Errorf("an account was given twice: %v", err)
	}
	if err := d.AllowLogin(store.NewUserID(), "x"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an account was given to nobody: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a b", "a:b", "a\nb", "0", "1000", "-a", "a\x00b", strings.Repeat("a", 256), `"a"`, "a\u202eb", "\u200b", "a\u00a0b", "müller", "a?b#c%41", "a\xff"} {
		if err := d.AllowLogin(bob, name); !errors.Is(err, ErrRequest) {
			t.Errorf("the account name %q: %v", name, err)
		}
	}
	for _, n := range []int{250, maxAccount} {
		long := strings.Repeat("a", n)
		if err := d.AllowLogin(bob, long); err != nil {
			t.Errorf("an account's name of %d bytes: %v", n, err)
		} else if err := d.RevokeLogin(long); err != nil {
			t.Errorf("revoking an account's name of %d bytes: %v", n, err)
		}
	}
	if err := d.RevokeLogin("ward"); err != nil {
		t.Fatal(err)
	}
	if err := d.RevokeLogin("ward"); !errors.Is(err, ErrAccount) {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := d.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if all, err := d.Logins(); err != nil || len(all) != 0 {
		t.Errorf("a forgotten person's accounts: %v, %v", all, err)
	}
	if err := d.AllowLogin(bob, "alice"); err != nil {
		t.Errorf("an account whose person was forgotten is not free: %v", err)
	}
}

func TestLoginIsOfTheAccountsPersonAndOpensNoDoor(t *testing.T) {
	d, r, l, alice := withFinger(t)
	if _, err := d.Login(t.Context(), "alice", Request{Who: alice}); !errors.Is(err, ErrAccount) {
		t.Fatalf("an account that is nobody's, in the name of somebody: %v", err)
	}
	if err := d.AllowLogin(alice, "alice"); err != nil {
		t.Fatal(err)
	}
	for score, granted := range map[float64]bool{1: true, 0.5: false} {
		go func() { r.finger <- score }()
		dec, err := d.Login(t.Context(), "alice", Request{})
		if err != nil || dec.Granted != granted {
			t.Errorf("score %v: %+v, %v", score, dec, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if l.opened != 0 {
		t.Errorf("logging in opened the door %d times", l.opened)
	}
}

// A patient attempt waits for its turn, gives way until something is compared,
// and then counts nothing.
func TestPatientAttemptsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, alice := withFinger(t)
		type end struct {
			dec Decision
			err error
		}
		patient := func() chan end {
			c := make(chan end, 1)
			go func() {
				dec, err := d.Authenticate(t.Context(), Request{Who: alice, Patient: true, Timeout: time.Hour})
				c <- end{dec, err}
			}()
			return c
		}
		first := patient()
		<-r.waits
		other := make(chan end, 1)
		go func() {
			dec, err := d.Authenticate(t.Context(), Request{Who: alice})
			other <- end{dec, err}
		}()
		got := <-first
		if retry := (*RetryError)(nil); !errors.As(got.err, &retry) {
			t.Fatalf("the patient attempt ended with %+v, %v", got.dec, got.err)
		}
		<-r.waits
		second := patient() // waits: the device is in use
		synctest.Wait()
		if _, err := d.Authenticate(t.Context(), Request{Who: alice}); !errors.Is(err, ErrBusy) {
			t.Errorf("an attempt that is not patient: %v", err)
		}
		r.finger <- 0.5 // a stranger's, for the other
		if got := <-other; got.err != nil || got.dec.Granted || got.dec.Failures != 1 {
			t.Errorf("the other attempt: %+v, %v", got.dec, got.err)
		}
		<-r.waits
		r.finger <- 1
		if got := <-second; got.err != nil || !got.dec.Granted {
			t.Errorf("the one that waited: %+v, %v", got.dec, got.err)
		}
	})
}

// An asker who hangs up has compared nothing: it is not counted.
func TestAbandonedAttemptIsNotCounted(t *testing.T) {
	d, r, _, alice := withFinger(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := d.Authenticate(ctx, Request{Who: alice})
		done <- err
	}()
	<-r.waits
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var l store.Lockout
	var last store.Entry
	err := d.vault.View(func(tx *store.Tx) (err error) {
		if l, err = tx.Lockout(alice); err != nil {
			return err
		}
		entries, err := tx.Audit(0, 100)
		last = entries[len(entries)-1]
		return err
	})
	if err != nil || l.Failures != 0 || last.Outcome != "abandoned" {
		t.Errorf("%d failures, audit %q, %v", l.Failures, last.Outcome, err)
	}
}

func TestFingersAreForgottenByName(t *testing.T) {
	d, _, _, alice := withFinger(t)
	if labels, err := d.Fingers(alice); err != nil || strings.Join(labels, " ") != "left-thumb right-thumb" {
		t.Errorf("%v, %v", labels, err)
	}
	if n, err := d.ForgetFinger(alice, "left-thumb"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := d.ForgetFinger(alice, "left-thumb"); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if labels, err := d.Fingers(alice); err != nil || strings.Join(labels, " ") != "right-thumb" {
		t.Errorf("%v, %v", labels, err)
	}
	if _, err := d.Fingers(store.NewUserID()); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody's fingers: %v", err)
	}
}

// A phone's owner may be anywhere: the phone's attempt gives way to whoever stands
// there, who needs not wait for others that do, and to a lock screen that waits when
// it has had its time. The lock screen gives way to it, too, and nobody's failure is
// counted.
func TestPhonesFarAwayKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, alice := withFinger(t)
		d.policy.Phone = PhoneExtra
		type end struct {
			dec Decision
			err error
		}
		ask := func(r Request) chan end {
			c := make(chan end, 1)
			go func() {
				dec, err := d.Authenticate(t.Context(), r)
				c <- end{dec, err}
			}()
			return c
		}
		yielded := func(c chan end) {
			t.Helper()
			if got, retry := <-c, (*RetryError)(nil); !errors.As(got.err, &retry) || !slices.Equal(retry.Hints, []string{HintYielded}) {
				t.Errorf("%+v, %v", got.dec, got.err)
			}
		}
		phone := Request{Who: alice, Phone: "p1", Timeout: 2 * time.Minute, Scope: Enter}
		screen := Request{Who: alice, Patient: true, Timeout: time.Hour}

		far := ask(phone)
		<-r.waits
		if _, err := d.Authenticate(t.Context(), phone); !errors.Is(err, ErrBusy) {
			t.Errorf("a second phone: %v", err)
		}
		began := time.Now()
		locked := ask(screen)
		synctest.Wait()
		door := ask(Request{Who: alice})
		yielded(far)
		<-r.waits // not the lock screen's, which was there first
		if took := time.Since(began); took != 0 {
			t.Errorf("who stands at the door waited %v for a phone", took)
		}
		r.finger <- 1
		if got := <-door; got.err != nil || !got.dec.Granted {
			t.Errorf("at the door: %+v, %v", got.dec, got.err)
		}

		<-r.waits // now it is the lock screen's
		far = ask(phone)
		yielded(locked)
		<-r.waits
		began = time.Now()
		locked = ask(screen)
		yielded(far)
		if took := time.Since(began); took != defaultTimeout {
			t.Errorf("the lock screen waited %v for a phone", took)
		}
		<-r.waits
		r.finger <- 1
		if got := <-locked; got.err != nil || !got.dec.Granted {
			t.Errorf("the lock screen: %+v, %v", got.dec, got.err)
		}

		// Once something was compared the phone's attempt is as good as any.
		far = ask(phone)
		<-r.waits
		r.finger <- 1
		if got := <-far; got.err != nil || !got.dec.Granted {
			t.Errorf("the phone: %+v, %v", got.dec, got.err)
		}
		var l store.Lockout
		if err := d.vault.View(func(tx *store.Tx) (err error) { l, err = tx.Lockout(alice); return err }); err != nil || l.Failures != 0 {
			t.Errorf("%d failures, %v", l.Failures, err)
		}
	})
}

// Whoever is given way to is the next, though others have waited longer.
func TestWhoIsGivenWayToIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, alice := withFinger(t)
		ask := func(q Request) chan error {
			c := make(chan error, 1)
			go func() {
				dec, err := d.Authenticate(t.Context(), q)
				if err == nil && !dec.Granted {
					err = errors.New("refused")
				}
				c <- err
			}()
			return c
		}
		first := ask(Request{Who: alice})
		<-r.waits
		screen := Request{Who: alice, Patient: true, Timeout: time.Hour}
		waiting := []chan error{ask(screen), ask(screen)}
		synctest.Wait()
		r.finger <- 1
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		<-r.waits // one of them has its turn
		second := ask(Request{Who: alice})
		synctest.Wait()
		r.finger <- 1
		select {
		case err := <-second:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("a lock screen came first")
		}
		r.finger <- 1
		synctest.Wait()
		for n, c := range waiting {
			retry := (*RetryError)(nil)
			if err := <-c; err != nil && !errors.As(err, &retry) {
				t.Errorf("lock screen %d: %v", n, err)
			}
		}
	})
}
