package device

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/faceprint/faceprint/store"
)

// The keyring of a Linux account is encrypted with a password, and after a login
// by face and finger there is none: nobody typed it. For whoever wants their
// keyring open all the same the device keeps a secret that takes the password's
// place. It is random and no password of anybody's, sealed with its person's key
// and gone with it. It leaves the vault for a grant of the scope Keyring and for
// nothing else; such a grant takes face and finger, both, and a policy that
// allows it (Policy.unseals).
var keyrings = store.Collection[keyring]("keyring")

type keyring struct {
	Secret []byte    `json:"secret"` // a password: keyringLength characters of keyringAlphabet
	Since  time.Time `json:"since"`
}

// A keyring's secret can be typed: on the day on which the device is broken
// whoever wrote it down opens the keyring with it. 26 characters of 32 are 130
// bits.
const (
	keyringLength   = 26
	keyringAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
)

// LoginAudience is whom the grants of logins are for.
const LoginAudience = "login"

// ErrNoKeyring: the device keeps no secret for that account's keyring.
var ErrNoKeyring = errors.New("the device does not open the keyring of that account")

// Check refuses what the device would not have made.
func (k keyring) Check() error {
	bad := len(k.Secret) != keyringLength
	for _, c := range k.Secret {
		bad = bad || !slices.Contains([]byte(keyringAlphabet), c)
	}
	if bad {
		return errors.New("device: no secret of a keyring")
	}
	return nil
}

func newKeyring(now time.Time) keyring {
	k := keyring{make([]byte, keyringLength), now.UTC()}
	rand.Read(k.Secret)
	for i, c := range k.Secret {
		k.Secret[i] = keyringAlphabet[c%byte(len(keyringAlphabet))] // 32 divides 256
	}
	return k
}

// unseals tells whether a yes is worth the secret of a keyring: more than one
// session is lost to a false one, so it takes face and finger, and neither a PIN
// nor a phone stands for one of them.
func (p Policy) unseals(v Verdict) bool {
	return p.Keyring && v.Granted && slices.Contains(v.Passed, Face) && slices.Contains(v.Passed, Finger)
}

// OpenKeyring takes a grant of the scope Keyring, of a login to the account, and
// returns the secret, which the caller wipes. ErrNoKeyring: there is none. What
// cannot be recorded is not given out.
func (d *Device) OpenKeyring(account, grant string) ([]byte, error) {
	secret, err := d.keyring(account, grant, false)
	if err != nil && !errors.Is(err, ErrNoKeyring) {
		d.opts.Log.Warn("a keyring stays locked", "err", err)
	}
	return secret, err
}

// SetKeyring decides like Login whether the person is here, and gives the
// account's keyring a secret, unless it has one. It returns it to be shown to
// them, and the caller wipes it; it is nil where the answer is no. ErrNoKeyring:
// the yes was not worth it.
func (d *Device) SetKeyring(ctx context.Context, account string, r Request) (Decision, []byte, error) {
	r.Scope, r.Audience = Keyring, LoginAudience
	decision, err := d.Login(ctx, account, r)
	if err != nil || !decision.Granted {
		return decision, nil, err
	}
	if decision.Scope != Keyring {
		return decision, nil, fmt.Errorf("device: it takes a yes by face and finger, and a policy that allows it: %w", ErrNoKeyring)
	}
	secret, err := d.keyring(account, decision.Grant, true)
	return decision, secret, err
}

func (d *Device) keyring(account, grant string, create bool) (secret []byte, err error) {
	user, err := d.CheckGrant(grant, LoginAudience, Keyring)
	if err != nil {
		return nil, err
	}
	err = d.vault.Update(func(tx *store.Tx) error {
		clear(secret)
		secret = nil
		l, err := findLogin(tx, account)
		if err != nil {
			return err
		}
		if l.User != user {
			return fmt.Errorf("device: a grant of somebody whose account it is not: %w", ErrRequest)
		}
		k, err := keyrings.Get(tx, user, account)
		outcome := "opened"
		switch {
		case errors.Is(err, store.ErrNotFound) && create:
			k, outcome = newKeyring(d.hw.Now()), "made"
			err = keyrings.Put(tx, user, account, k)
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("device: %w", ErrNoKeyring)
		}
		secret = k.Secret
		if err != nil {
			return fmt.Errorf("device: the secret of the keyring of %s; forget it ('faceprint login keyring %s --off') and have a new one made: %w", account, account, err)
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "keyring", User: user, Outcome: outcome})
		return err
	})
	if err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

// ForgetKeyring destroys the secret of the account's keyring; ErrNoKeyring where
// there is none.
func (d *Device) ForgetKeyring(account string) error {
	return d.vault.Update(func(tx *store.Tx) error {
		l, err := findLogin(tx, account)
		if err != nil {
			return err
		}
		if !l.Keyring {
			return fmt.Errorf("device: %w", ErrNoKeyring)
		}
		return d.forgetKeyring(tx, l)
	})
}

// forgetKeyring does so where there is one.
func (d *Device) forgetKeyring(tx *store.Tx, l Login) error {
	if !l.Keyring {
		return nil
	}
	if err := keyrings.Delete(tx, l.User, l.Account); err != nil {
		return err
	}
	_, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: "keyring", User: l.User, Outcome: "removed"})
	return err
}
