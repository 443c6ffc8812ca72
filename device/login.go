package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faceprint/faceprint/store"
)

// A Linux account is somebody's only where an administrator said so: names of
// accounts and of people are never compared. An account is one person's, so
// that a login is a comparison with one person (1:1); a person may have
// several accounts. The record is sealed with the person's key and goes with
// them when they are forgotten.
var logins = store.Collection[login]("login")

type login struct {
	Since time.Time `json:"since"`
}

// Login says that a person may log in to an account.
type Login struct {
	Account string
	User    store.UserID
	Since   time.Time
	Keyring bool // the device keeps a secret for its keyring
}

// Errors of accounts.
var (
	// ErrAccount: nobody may log in to that account by face or finger.
	ErrAccount = errors.New("the account is nobody's here")
	// ErrAccountTaken: the account is somebody else's.
	ErrAccountTaken = errors.New("the account is somebody else's")
)

// maxAccount is the longest name of an account, in bytes: LOGIN_NAME_MAX of
// limits.h(0p) on Linux, less its terminator.
const maxAccount = 255

// accountLetters are those of an account's name that every login asks with; the PAM
// module (plain in pam_faceprint.c) sends no others.
const accountLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@+-$"

// checkAccount refuses what cannot be the name of an account, or one that no login
// would ask for, before it is used as a key. Names of digits alone are numbers of
// accounts (systemd's relaxed rules).
func checkAccount(account string) error {
	if len(account) > maxAccount {
		return fmt.Errorf("device: an account's name has at most %d bytes, this one %d: %w", maxAccount, len(account), ErrRequest)
	}
	bad := func(r rune) bool { return !strings.ContainsRune(accountLetters, r) }
	if account == "" || account == "." || account == ".." ||
		strings.HasPrefix(account, "-") || strings.ContainsFunc(account, bad) || strings.Trim(account, "0123456789") == "" {
		return fmt.Errorf("device: %+.40q is no name of an account that logins ask for, which has letters of ASCII, digits and any of _.@+-$: %w", account, ErrRequest)
	}
	return nil
}

// AllowLogin lets a person log in to an account, and records that.
func (d *Device) AllowLogin(user store.UserID, account string) error {
	if err := checkAccount(account); err != nil {
		return err
	}
	err := d.vault.Update(func(tx *store.Tx) error {
		if _, err := tx.Person(user); err != nil {
			return err
		}
		switch l, err := findLogin(tx, account); {
		case err == nil && l.User != user:
			return fmt.Errorf("device: %w", ErrAccountTaken)
		case err == nil:
			return nil // it is theirs already
		case !errors.Is(err, ErrAccount):
			return err
		}
		now := d.hw.Now().UTC()
		if err := logins.Put(tx, user, account, login{Since: now}); err != nil {
			return err
		}
		_, err := tx.Append(store.Entry{At: now, Kind: "allow-login", User: user, Outcome: "done"})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return err
}

// RevokeLogin takes that back, and the secret of the account's keyring with it;
// ErrAccount where there was nothing.
func (d *Device) RevokeLogin(account string) error {
	return d.vault.Update(func(tx *store.Tx) error {
		l, err := findLogin(tx, account)
		if err != nil {
			return err
		}
		if err := d.forgetKeyring(tx, l); err != nil {
			return err
		}
		if err := logins.Delete(tx, l.User, account); err != nil {
			return err
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "revoke-login", User: l.User, Outcome: "done"})
		return err
	})
}

// Logins lists who may log in to what, in the order of accounts.
func (d *Device) Logins() (all []Login, err error) {
	err = d.vault.View(func(tx *store.Tx) (err error) {
		all, err = loginsOf(tx, func(string) bool { return true })
		return err
	})
	slices.SortFunc(all, func(a, b Login) int { return strings.Compare(a.Account, b.Account) })
	return all, err
}

// Account is whose account it is; ErrAccount where it is nobody's.
func (d *Device) Account(account string) (user store.UserID, err error) {
	err = d.vault.View(func(tx *store.Tx) error {
		l, err := findLogin(tx, account)
		user = l.User
		return err
	})
	return user, err
}

// findLogin looks an account up. One that two people have is damage, and
// lets neither in.
func findLogin(tx *store.Tx, account string) (Login, error) {
	found, err := loginsOf(tx, func(name string) bool { return name == account })
	if err != nil {
		return Login{}, err
	}
	switch len(found) {
	case 0:
		return Login{}, fmt.Errorf("device: %w", ErrAccount)
	case 1:
		return found[0], nil
	}
	return Login{}, fmt.Errorf("device: an account has %d people: %w", len(found), store.ErrCorrupt)
}

// loginsOf lists those to the accounts that are meant.
func loginsOf(tx *store.Tx, meant func(account string) bool) (found []Login, err error) {
	members, err := logins.All(tx)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if !meant(m.Key) {
			continue
		}
		// One that cannot be read is one that stays locked, and can be taken away: it
		// keeps nobody from logging in.
		k, err := keyrings.Get(tx, m.User, m.Key)
		clear(k.Secret)
		found = append(found, Login{m.Key, m.User, m.Value.Since, !errors.Is(err, store.ErrNotFound)})
	}
	return found, nil
}

// Login decides whether the person whose account it is, and nobody else, is
// here. r.Who is ignored and no door opens: the scope is Keyring or Vouch.
func (d *Device) Login(ctx context.Context, account string, r Request) (Decision, error) {
	var err error
	if r.Who, err = d.Account(account); err != nil {
		return Decision{}, err
	}
	if r.Scope != Keyring {
		r.Scope = Vouch
	}
	return d.attempt(ctx, r, "login")
}

// LoginPIN decides by a PIN alone, like AuthenticatePIN, whether it is that of the
// person whose account it is. The PIN is wiped.
func (d *Device) LoginPIN(ctx context.Context, account string, r Request, pin []byte) (Decision, error) {
	defer clear(pin)
	var err error
	if r.Who, err = d.Account(account); err != nil {
		return Decision{}, err
	}
	r.Scope = Vouch
	return d.authenticatePIN(ctx, r, "login", "", pin)
}

// Fingers are the labels of the person's fingers, in order and each once; one
// that was enrolled without a label counts as "".
func (d *Device) Fingers(user store.UserID) (labels []string, err error) {
	err = d.vault.View(func(tx *store.Tx) error {
		return eachFinger(tx, user, func(t store.Template) { labels = append(labels, t.Label) })
	})
	slices.Sort(labels)
	return slices.Compact(labels), err
}

// ForgetFinger deletes the person's templates of one finger, or of all for the
// label "", but those in keep, and returns how many those were.
func (d *Device) ForgetFinger(user store.UserID, label string, keep ...string) (int, error) {
	var gone []string
	err := d.vault.Update(func(tx *store.Tx) error {
		gone = nil
		err := eachFinger(tx, user, func(t store.Template) {
			if (label == "" || t.Label == label) && !slices.Contains(keep, t.ID) {
				gone = append(gone, t.ID)
			}
		})
		if err != nil || len(gone) == 0 {
			return err
		}
		for _, id := range gone {
			if err := tx.DeleteTemplate(user, id); err != nil {
				return err
			}
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "forget-finger", User: user, Outcome: "done"})
		return err
	})
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	// What an attempt under way stores again goes with the next one.
	if _, end, err := d.begin(d.ctx, d.opts.Timeout, patient); err == nil {
		defer end()
	}
	d.purge()
	return len(gone), nil
}

func eachFinger(tx *store.Tx, user store.UserID, f func(store.Template)) error {
	ts, err := tx.TemplatesOf(user, 0)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("device: %w", ErrUnknown)
	}
	if err != nil {
		return err
	}
	defer wipe(ts)
	for _, t := range ts {
		if t.Kind == store.KindModule || t.Kind == store.KindMinutia {
			f(t)
		}
	}
	return nil
}

// AddFinger enrols one more finger of a person, under the consent that they
// gave before, in the place of what was enrolled of that finger.
func (d *Device) AddFinger(ctx context.Context, user store.UserID, label string, notify func(Event)) error {
	r := EnrollRequest{Who: user, Factors: []Factor{Finger}, Finger: label, Renew: true, Notify: notify}
	err := d.vault.View(func(tx *store.Tx) error {
		p, err := tx.Person(user)
		r.Consent = p.Consent
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("device: %w", ErrUnknown)
	}
	if err != nil {
		return err
	}
	made, err := d.Enroll(ctx, r)
	if err != nil {
		return err
	}
	keep := make([]string, 0, len(made.Templates))
	for _, t := range made.Templates {
		keep = append(keep, t.ID)
	}
	_, err = d.ForgetFinger(user, label, keep...)
	return err
}
