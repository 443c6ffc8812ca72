package device

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
)

// withPIN is a device without any hardware, and people who have PINs.
func withPIN(t *testing.T, now *time.Time, people map[string]string) (*Device, *store.Store, map[string]store.UserID) {
	t.Helper()
	dir := t.TempDir()
	vault, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vault.Close() })
	p := DefaultPolicy()
	p.PIN = true
	start := *now
	d, err := New(Hardware{
		Now:    func() time.Time { return *now },
		Uptime: func() Uptime { return Uptime{Boot: "this", Since: now.Sub(start)} },
	}, vault, p, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.cost = hashCost{Time: 1, Memory: 1 << 10, Threads: 1} // the tests are not about how long it takes
	ids := make(map[string]store.UserID)
	for name, pin := range people {
		id := store.NewUserID()
		ids[name] = id
		err := vault.Update(func(tx *store.Tx) error {
			return tx.AddPerson(store.Person{ID: id, Name: name, Created: *now, Consent: store.Consent{At: *now, TextVersion: "1"}})
		})
		if err == nil && pin != "" {
			err = d.SetPIN(t.Context(), id, []byte(pin))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return d, vault, ids
}

func TestPINsThatAreTriedFirstAreRefused(t *testing.T) {
	for _, pin := range []string{
		"", "12345", "1234567890123", "12345a", "１２３４５６", " 271828", "111111", "121212", "123123123", "123456", "654321",
		"890123", "210987",
	} {
		if checkPIN([]byte(pin)) == nil {
			t.Errorf("%q is taken", pin)
		}
	}
	for _, pin := range []string{"271828", "314159265358", "000001", "112233"} {
		if err := checkPIN([]byte(pin)); err != nil {
			t.Errorf("%q is refused: %v", pin, err)
		}
	}
}

func TestPINDecides(t *testing.T) {
	now := time.Now()
	d, vault, ids := withPIN(t, &now, map[string]string{"Ada": "271828", "Bob": ""})
	for name, c := range map[string]struct {
		who, pin string
		granted  bool
	}{
		"right":              {"Ada", "271828", true},
		"right, other case":  {" ADA ", "271828", true},
		"wrong":              {"Ada", "271829", false},
		"too short":          {"Ada", "27182", false},
		"nobody's name":      {"Eve", "271828", false},
		"no name":            {"", "271828", false},
		"somebody without":   {"Bob", "271828", false},
		"somebody's, no PIN": {"Ada", "", false},
	} {
		typed := []byte(c.pin)
		dec, err := d.AuthenticatePIN(t.Context(), Request{Audience: "test"}, c.who, typed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if dec.Granted != c.granted || (dec.Grant != "") != c.granted || dec.Audit == 0 {
			t.Errorf("%s: %+v", name, dec)
		}
		if !c.granted && !slices.Equal(dec.Reasons, []Reason{PINNoMatch}) {
			t.Errorf("%s: the reasons %v tell more than that it does not fit", name, dec.Reasons)
		}
		if slices.ContainsFunc(typed, func(b byte) bool { return b != 0 }) {
			t.Errorf("%s: the PIN was not wiped", name)
		}
	}
	if _, err := vault.Forget(ids["Ada"], now); err != nil {
		t.Fatal(err)
	}
	if dec, err := d.AuthenticatePIN(t.Context(), Request{}, "Ada", []byte("271828")); err != nil || dec.Granted {
		t.Errorf("a forgotten person's PIN: %+v, %v", dec, err)
	}
}

// Who logs in by a PIN has logged in, and the record says so and how; what is
// asked without a login stays a PIN's.
func TestALoginByPINIsALogin(t *testing.T) {
	now := time.Now()
	d, vault, ids := withPIN(t, &now, map[string]string{"Ada": "271828"})
	if err := d.AllowLogin(ids["Ada"], "ada"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		try           func() (Decision, error)
		kind, outcome string
		reasons       []string
	}{
		"a login": {func() (Decision, error) { return d.LoginPIN(t.Context(), "ada", Request{}, []byte("271828")) }, "login", "granted", []string{"for:vouch", "by:pin"}},
		"a wrong one": {
			func() (Decision, error) { return d.LoginPIN(t.Context(), "ada", Request{}, []byte("271829")) }, "login", "refused",
			[]string{"pin-no-match", "for:vouch", "by:pin"},
		},
		"no login": {func() (Decision, error) { return d.AuthenticatePIN(t.Context(), Request{}, "Ada", []byte("271828")) }, "pin", "granted", []string{"for:vouch"}},
	} {
		dec, err := c.try()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var e store.Entry
		err = vault.View(func(tx *store.Tx) error {
			entries, err := tx.Audit(dec.Audit-1, 1)
			if err == nil && len(entries) == 1 {
				e = entries[0]
			}
			return err
		})
		if err != nil || e.Kind != c.kind || e.Outcome != c.outcome || !slices.Equal(e.Reasons, c.reasons) || e.User != ids["Ada"] {
			t.Errorf("%s: on record as %+v, %v", name, e, err)
		}
	}
}

func TestPINIsUnderTheSameLockout(t *testing.T) {
	now := time.Now()
	d, _, ids := withPIN(t, &now, map[string]string{"Ada": "271828"})
	try := func(pin string) Decision {
		t.Helper()
		dec, err := d.AuthenticatePIN(t.Context(), Request{}, "Ada", []byte(pin))
		if err != nil {
			t.Fatal(err)
		}
		return dec
	}
	var dec Decision
	for range freeFailures {
		dec = try("000001")
	}
	if dec.Failures != freeFailures || !dec.LockedUntil.Equal(now.Add(firstDelay)) {
		t.Fatalf("after %d wrong PINs: %+v", freeFailures, dec)
	}
	if dec := try("271828"); dec.Granted || !slices.Contains(dec.Reasons, LockedOut) {
		t.Errorf("the right PIN while locked out: %+v", dec)
	}
	// A face or a finger is locked out as well.
	if dec, err := d.Authenticate(t.Context(), Request{Who: ids["Ada"]}); err != nil || !slices.Contains(dec.Reasons, LockedOut) {
		t.Errorf("the sensors while locked out: %+v, %v", dec, err)
	}
	now = now.Add(firstDelay)
	if dec := try("271828"); !dec.Granted {
		t.Errorf("the right PIN after the delay: %+v", dec)
	}
	if dec := try("000001"); dec.Failures != 1 {
		t.Errorf("a success did not clear the count: %+v", dec)
	}
}

// Guesses at once get no more tries than guesses in turn: each is counted
// before it is compared.
func TestParallelGuessesAreCounted(t *testing.T) {
	now := time.Now()
	d, _, _ := withPIN(t, &now, map[string]string{"Ada": "271828"})
	var all sync.WaitGroup
	compared := make(chan bool, 12)
	for range cap(compared) {
		all.Go(func() {
			dec, err := d.AuthenticatePIN(t.Context(), Request{}, "Ada", []byte("000001"))
			if err != nil || dec.Granted {
				t.Errorf("%+v, %v", dec, err)
			}
			compared <- slices.Contains(dec.Reasons, PINNoMatch)
		})
	}
	all.Wait()
	close(compared)
	n := 0
	for c := range compared {
		if c {
			n++
		}
	}
	if n != freeFailures {
		t.Errorf("%d guesses were compared, %d are free", n, freeFailures)
	}
}

// An attempt that runs out beside a wrong PIN takes back its own count and not
// the PIN's.
func TestAnAttemptTakesBackItsOwnCountOnly(t *testing.T) {
	now := time.Now()
	d, vault, ids := withPIN(t, &now, map[string]string{"Ada": "271828"})
	before, _, err := d.count(ids["Ada"], "authenticate")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.AuthenticatePIN(t.Context(), Request{}, "Ada", []byte("000001")); err != nil {
		t.Fatal(err)
	}
	if err := d.restore(ids["Ada"], before); err != nil {
		t.Fatal(err)
	}
	err = vault.View(func(tx *store.Tx) error {
		for _, who := range []store.UserID{ids["Ada"], ""} {
			l, err := tx.Lockout(who)
			if err != nil {
				return err
			}
			if l.Failures != 1 {
				t.Errorf("%q: %d failures are left, the PIN's one should be", who, l.Failures)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPINNeedsAPolicyAndANameOfItsOwn(t *testing.T) {
	now := time.Now()
	d, _, ids := withPIN(t, &now, map[string]string{"Ada": "271828", "ada": ""})
	if err := d.SetPIN(t.Context(), ids["ada"], []byte("314159")); !errors.Is(err, ErrName) {
		t.Errorf("two of one name: %v", err)
	}
	if err := d.SetPIN(t.Context(), ids["Ada"], []byte("123456")); !errors.Is(err, ErrPIN) {
		t.Errorf("a simple PIN: %v", err)
	}
	if err := d.SetPIN(t.Context(), store.NewUserID(), []byte("314159")); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody's PIN: %v", err)
	}
	if err := d.RemovePIN(ids["Ada"]); err != nil {
		t.Error(err)
	}
	if has, err := d.HasPIN(ids["Ada"]); has || err != nil {
		t.Errorf("a removed PIN is there: %v, %v", has, err)
	}
	if err := d.SetPIN(t.Context(), ids["ada"], []byte("314159")); err != nil {
		t.Errorf("the name is free now: %v", err)
	}
	d.policy.PIN = false
	if err := d.SetPIN(t.Context(), ids["ada"], []byte("314159")); !errors.Is(err, ErrPINForbidden) {
		t.Errorf("a forbidden PIN is set: %v", err)
	}
	if dec, err := d.AuthenticatePIN(t.Context(), Request{}, "ada", []byte("314159")); !errors.Is(err, ErrPINForbidden) || dec.Granted {
		t.Errorf("a forbidden PIN is taken: %+v, %v", dec, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d.hashing <- struct{}{} // somebody else's PIN is being hashed
	d.policy.PIN = true
	if _, err := d.AuthenticatePIN(ended, Request{}, "ada", []byte("314159")); !errors.Is(err, context.Canceled) {
		t.Errorf("an asker who left: %v", err)
	}
	<-d.hashing
}

func TestDecideOnAPIN(t *testing.T) {
	good := Measure{Enrolled: true, Compared: true, Live: 1}
	both := DefaultPolicy()
	taking := both
	taking.PIN = true
	for name, c := range map[string]struct {
		policy Policy
		known  Known
		want   bool
	}{
		"right":                  {taking, Known{Enrolled: true, Compared: true, Right: true}, true},
		"right of nobody":        {taking, Known{Compared: true, Right: true}, false},
		"wrong":                  {taking, Known{Enrolled: true, Compared: true}, false},
		"not asked for":          {taking, Known{Enrolled: true, Right: true}, false},
		"forbidden":              {both, Known{Enrolled: true, Compared: true, Right: true}, false},
		"the zero policy's":      {Policy{}, Known{Enrolled: true, Compared: true, Right: true}, false},
		"the zero policy's zero": {Policy{}, Known{}, false},
	} {
		if v := c.policy.Decide(Evidence{PIN: c.known}); v.Granted != c.want {
			t.Errorf("%s: %+v", name, v)
		}
	}
	// A wrong PIN is not made good by a face.
	if v := taking.Decide(Evidence{Face: good, Finger: good, PIN: Known{Enrolled: true, Compared: true}}); v.Granted {
		t.Errorf("a wrong PIN with a face: %+v", v)
	}
}
