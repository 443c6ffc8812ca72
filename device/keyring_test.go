package device

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
)

// withKeyring is a world in which Alice has the account alice, and a keyring
// that the device opens.
func withKeyring(t *testing.T) (w *world, alice store.UserID, secret string) {
	t.Helper()
	p := DefaultPolicy()
	p.Keyring, p.PIN = true, true
	w = newWorld(t, p)
	alice = w.enrol("Alice", 1, "alice")
	if err := w.d.AllowLogin(alice, "alice"); err != nil {
		t.Fatal(err)
	}
	d, s, err := w.d.SetKeyring(t.Context(), "alice", Request{})
	if err != nil || !d.Granted || keyringOf(s).Check() != nil {
		t.Fatalf("%+v %q: %v", d, s, err)
	}
	return w, alice, string(s)
}

func keyringOf(secret []byte) keyring { return keyring{Secret: secret} }

// login is one that asks for the keyring.
func (w *world) login(account string) Decision {
	w.t.Helper()
	d, err := w.d.Login(w.t.Context(), account, Request{Audience: LoginAudience, Scope: Keyring})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// The secret is the same every time, each time for a grant of its own that is
// shown once, and on record.
func TestAKeyringIsOpenedByAGrantOnce(t *testing.T) {
	w, alice, secret := withKeyring(t)
	if e := w.lastEntry(); e.Kind != "keyring" || e.Outcome != "made" || e.User != alice {
		t.Errorf("%+v", e)
	}
	for range 2 {
		d := w.login("alice")
		if !d.Granted || d.Scope != Keyring {
			t.Fatalf("%+v", d)
		}
		got, err := w.d.OpenKeyring("alice", d.Grant)
		if err != nil || string(got) != secret {
			t.Fatalf("%q, want %q: %v", got, secret, err)
		}
		if e := w.lastEntry(); e.Kind != "keyring" || e.Outcome != "opened" || e.User != alice {
			t.Errorf("%+v", e)
		}
		if got, err := w.d.OpenKeyring("alice", d.Grant); err == nil || got != nil {
			t.Errorf("a grant opened it twice: %q", got)
		}
	}
	_, again, err := w.d.SetKeyring(t.Context(), "alice", Request{})
	if err != nil || string(again) != secret {
		t.Errorf("shown again it is %q, was %q: %v", again, secret, err)
	}
	if other := newKeyring(w.clock()); string(other.Secret) == secret {
		t.Error("two secrets are the same")
	}
}

// Nothing but a fresh grant of that scope, of the person whose account it is,
// opens a keyring.
func TestNothingElseOpensAKeyring(t *testing.T) {
	w, alice, _ := withKeyring(t)
	bob := w.enrol("Bob", 2, "bob")
	if err := errors.Join(w.d.AllowLogin(bob, "bob"), w.d.AllowLogin(alice, "ward")); err != nil {
		t.Fatal(err)
	}
	shut := func(what, account, grant string) {
		t.Helper()
		if got, err := w.d.OpenKeyring(account, grant); err == nil || got != nil {
			t.Errorf("%s: %q", what, got)
		}
	}
	grant := func(scope Scope, audience string) string {
		t.Helper()
		d, err := w.d.Authenticate(t.Context(), Request{Who: alice, Audience: audience, Scope: scope})
		if err != nil || !d.Granted {
			t.Fatalf("%+v: %v", d, err)
		}
		return d.Grant
	}
	shut("no grant", "alice", "")
	shut("bob's account, which has none", "bob", w.login("bob").Grant)
	shut("bob's grant", "alice", w.login("bob").Grant)
	w.pose(1, "alice")
	for _, scope := range []Scope{Vouch, Enter, Pair} {
		shut(scope.String(), "alice", grant(scope, LoginAudience))
	}
	shut("another audience", "alice", grant(Keyring, "page"))
	shut("another account of hers", "ward", w.login("alice").Grant)
	old := w.login("alice").Grant
	w.later(grantLifetime + 1)
	shut("an old one", "alice", old)

	// What is a yes and not by face and finger.
	if err := w.d.SetPIN(t.Context(), alice, []byte("271828")); err != nil {
		t.Fatal(err)
	}
	d, err := w.d.AuthenticatePIN(t.Context(), Request{Who: alice, Audience: LoginAudience, Scope: Keyring}, "", []byte("271828"))
	if err != nil || !d.Granted || d.Scope != Vouch {
		t.Fatalf("a PIN: %+v, %v", d, err)
	}
	shut("a PIN", "alice", d.Grant)
	d, err = w.d.Authenticate(t.Context(), Request{Who: alice, Audience: LoginAudience, Scope: Keyring, Phone: "p"})
	if err != nil || !d.Granted {
		t.Fatalf("%+v, %v", d, err)
	}
	if both := len(d.Results) == 3; both != (d.Scope == Keyring) {
		t.Errorf("a phone beside %d measures: the scope is %s", len(d.Results)-1, d.Scope)
	}
	w.pose(2, "alice")
	if d := w.login("alice"); d.Granted || d.Grant != "" || d.Scope != Vouch {
		t.Errorf("another face: %+v", d)
	}
	if d, s, err := w.d.SetKeyring(t.Context(), "alice", Request{}); d.Granted || s != nil || err != nil {
		t.Errorf("another face had it shown: %+v %q %v", d, s, err)
	}
	if _, s, err := w.d.SetKeyring(t.Context(), "nobody", Request{}); s != nil || !errors.Is(err, ErrAccount) {
		t.Errorf("nobody's account: %q %v", s, err)
	}

	// A policy that does not allow it.
	w.stop()
	w.start(DefaultPolicy())
	w.pose(1, "alice")
	if d := w.login("alice"); !d.Granted || d.Scope != Vouch {
		t.Errorf("the policy does not allow it: %+v", d)
	}
	if _, s, err := w.d.SetKeyring(t.Context(), "alice", Request{}); s != nil || !errors.Is(err, ErrNoKeyring) {
		t.Errorf("it was turned on without the policy: %q %v", s, err)
	}
}

// A verdict unseals only where face and finger themselves passed.
func TestWhatUnseals(t *testing.T) {
	on := Policy{Keyring: true}
	for _, x := range []struct {
		p    Policy
		v    Verdict
		want bool
	}{
		{on, Verdict{Granted: true, Passed: []Factor{Face, Finger}}, true},
		{on, Verdict{Granted: true, Passed: []Factor{Face, Finger, Phone}}, true},
		{on, Verdict{Granted: false, Passed: []Factor{Face, Finger}}, false},
		{on, Verdict{Granted: true, Passed: []Factor{Face}}, false},
		{on, Verdict{Granted: true, Passed: []Factor{Finger, Phone}}, false},
		{on, Verdict{Granted: true, Passed: []Factor{PIN}}, false},
		{on, Verdict{Granted: true}, false},
		{Policy{}, Verdict{Granted: true, Passed: []Factor{Face, Finger}}, false},
		{DefaultPolicy(), Verdict{Granted: true, Passed: []Factor{Face, Finger}}, false},
	} {
		if got := x.p.unseals(x.v); got != x.want {
			t.Errorf("%+v: %v", x.v, got)
		}
	}
}

// The secret goes when it is turned off, with the account, and with its person;
// it is never in the vault in the clear.
func TestAKeyringsSecretGoes(t *testing.T) {
	w, alice, secret := withKeyring(t)
	had := func() bool {
		t.Helper()
		all, err := w.d.Logins()
		if err != nil || len(all) != 1 {
			t.Fatalf("%v: %v", all, err)
		}
		return all[0].Keyring
	}
	if err := filepath.WalkDir(filepath.Dir(w.path), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString([]byte(secret)))) {
			t.Errorf("it is in the clear in %s", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !had() {
		t.Error("it is not listed")
	}
	if err := w.d.ForgetKeyring("alice"); err != nil || had() {
		t.Errorf("turned off: %v", err)
	}
	if e := w.lastEntry(); e.Kind != "keyring" || e.Outcome != "removed" || e.User != alice {
		t.Errorf("%+v", e)
	}
	if err := w.d.ForgetKeyring("alice"); !errors.Is(err, ErrNoKeyring) {
		t.Errorf("turned off twice: %v", err)
	}
	if got, err := w.d.OpenKeyring("alice", w.login("alice").Grant); got != nil || !errors.Is(err, ErrNoKeyring) {
		t.Errorf("after that: %q %v", got, err)
	}
	_, next, err := w.d.SetKeyring(t.Context(), "alice", Request{})
	if err != nil || string(next) == secret {
		t.Errorf("turned on again it is the old one: %v", err)
	}
	if err := errors.Join(w.d.RevokeLogin("alice"), w.d.AllowLogin(alice, "alice")); err != nil || had() {
		t.Errorf("the account was revoked and given again: %v", err)
	}
	if _, _, err := w.d.SetKeyring(t.Context(), "alice", Request{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.d.Forget(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	err = w.vault.View(func(tx *store.Tx) error {
		left, err := keyrings.All(tx)
		if len(left) != 0 {
			t.Errorf("%d are left of a forgotten person", len(left))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What is no secret that the device would make is damage.
func TestADamagedKeyringIsRefused(t *testing.T) {
	good := newKeyring(time.Now()).Secret
	if err := keyringOf(good).Check(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", string(good[1:]), string(good) + "a", strings.ToUpper(string(good)), `"` + string(good[1:]), "\n" + string(good[1:])} {
		if keyringOf([]byte(bad)).Check() == nil {
			t.Errorf("%q is taken for one", bad)
		}
	}
}

// A record of a keyring that is damaged, as by a failing card, keeps nobody out
// and can be taken away: the keyring stays locked, that is all.
func TestADamagedKeyringStaysLocked(t *testing.T) {
	w, alice, _ := withKeyring(t)
	damage := func() {
		t.Helper()
		short := store.Collection[struct {
			Secret []byte `json:"secret"`
		}]("keyring")
		if err := w.d.vault.Update(func(tx *store.Tx) error {
			return short.Put(tx, alice, "alice", struct {
				Secret []byte `json:"secret"`
			}{[]byte("too short")})
		}); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	d := w.login("alice")
	if !d.Granted {
		t.Fatalf("a login by face and finger: %+v", d)
	}
	if secret, err := w.d.OpenKeyring("alice", d.Grant); !errors.Is(err, store.ErrCorrupt) || secret != nil {
		t.Errorf("opened with %q, %v", secret, err)
	}
	if d, err := w.d.LoginPIN(t.Context(), "alice", Request{}, []byte("271828")); err != nil || d.Granted {
		t.Errorf("a wrong PIN: %+v, %v", d, err)
	}
	if all, err := w.d.Logins(); err != nil || len(all) != 1 || !all[0].Keyring {
		t.Errorf("listed: %+v, %v", all, err)
	}
	if err := w.d.ForgetKeyring("alice"); err != nil {
		t.Errorf("taking it away: %v", err)
	}
	if e := w.lastEntry(); e.Kind != "keyring" || e.Outcome != "removed" {
		t.Errorf("%+v", e)
	}
	if d, secret, err := w.d.SetKeyring(t.Context(), "alice", Request{}); err != nil || !d.Granted || keyringOf(secret).Check() != nil {
		t.Errorf("a new one: %+v, %v", d, err)
	}
	damage()
	if err := w.d.RevokeLogin("alice"); err != nil {
		t.Errorf("revoking the login: %v", err)
	}
}
