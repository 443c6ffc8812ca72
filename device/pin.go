package device

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/faceprint/faceprint/store"
)

// A PIN is what a person knows, for the day on which neither face nor finger
// can be measured. It is under the same lock-out as they are, and the policy
// may forbid it.
const (
	minPIN = 6
	maxPIN = 12
	// pinFMR is the chance that one guess hits: 1 in 10^minPIN. With 5 free
	// failures, then delays, and the end at 50, guessing finds 1 PIN in 20,000.
	pinFMR = 1e-6
)

// Argon2id at the second recommended setting of RFC 9106, section 4: 64 MiB, 3
// passes. It takes a copied vault's reader a day of a machine for a PIN of six
// digits, so what really protects one is the key of the person that seals it.
var pinCost = hashCost{Time: 3, Memory: 64 << 10, Threads: 4}

const (
	pinSalt = 16 // bytes
	pinHash = 32
)

// hashCost is what one try takes.
type hashCost struct {
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint8
}

// pinRecord is how a PIN rests, sealed with the person's key. The settings are
// kept with it, so that they can be raised.
type pinRecord struct {
	Salt, Hash []byte
	Cost       hashCost
}

// Check bounds what a damaged record could make the device compute.
func (p pinRecord) Check() error {
	c := p.Cost
	if len(p.Salt) < pinSalt || len(p.Hash) != pinHash || c.Time < 1 || c.Time > 16 || c.Memory < 1<<10 || c.Memory > 256<<10 || c.Threads < 1 {
		return errors.New("device: no record of a PIN")
	}
	return nil
}

func (p pinRecord) matches(pin []byte) bool {
	h := p.Cost.hash(pin, p.Salt)
	defer clear(h)
	return subtle.ConstantTimeCompare(h, p.Hash) == 1
}

func (c hashCost) hash(pin, salt []byte) []byte {
	return argon2.IDKey(pin, salt, c.Time, c.Memory, c.Threads, pinHash)
}

func (c hashCost) record(pin []byte) pinRecord {
	salt := make([]byte, pinSalt)
	rand.Read(salt)
	return pinRecord{salt, c.hash(pin, salt), c}
}

var pins = store.Collection[pinRecord]("pin")

const pinKey = "pin" // each person has one

// Errors of PINs.
var (
	// ErrPIN: not 6 to 12 digits, or among those that are tried first.
	ErrPIN = errors.New("a PIN has 6 to 12 digits and is no simple sequence")
	// ErrPINForbidden: the policy takes no PIN.
	ErrPINForbidden = errors.New("the policy of this device takes no PIN")
	// ErrName: a PIN is given with a name, which must lead to one person.
	ErrName = errors.New("somebody else with this name has a PIN")
)

// checkPIN refuses what everybody would try first: one digit, a run, a short
// pattern over and over.
func checkPIN(pin []byte) error {
	if len(pin) < minPIN || len(pin) > maxPIN {
		return ErrPIN
	}
	for _, c := range pin {
		if c < '0' || c > '9' {
			return ErrPIN
		}
	}
	for period := 1; period <= 3; period++ {
		same := true
		for i := period; i < len(pin); i++ {
			same = same && pin[i] == pin[i-period]
		}
		if same {
			return ErrPIN
		}
	}
	for _, step := range []byte{1, 9} { // up and down, 9 is followed by 0
		run := true
		for i := 1; i < len(pin); i++ {
			run = run && (pin[i]-'0') == (pin[i-1]-'0'+step)%10
		}
		if run {
			return ErrPIN
		}
	}
	return nil
}

// SetPIN gives the person a PIN in place of any other.
func (d *Device) SetPIN(ctx context.Context, user store.UserID, pin []byte) error {
	if !d.policy.PIN {
		return ErrPINForbidden
	}
	if err := checkPIN(pin); err != nil {
		return err
	}
	release, err := d.hash(ctx)
	if err != nil {
		return err
	}
	defer release()
	r := d.cost.record(pin)
	defer clear(r.Hash)
	return d.changePIN(user, func(tx *store.Tx, p store.Person) error {
		others, err := pins.All(tx)
		if err != nil {
			return err
		}
		for _, o := range others {
			clear(o.Value.Hash)
			other, err := tx.Person(o.User)
			if err != nil {
				return err
			}
			if o.User != user && sameName(other.Name, p.Name) {
				return ErrName
			}
		}
		return pins.Put(tx, user, pinKey, r)
	}, "set")
}

// RemovePIN takes the person's PIN away, if there is one.
func (d *Device) RemovePIN(user store.UserID) error {
	return d.changePIN(user, func(tx *store.Tx, _ store.Person) error { return pins.Delete(tx, user, pinKey) }, "removed")
}

func (d *Device) changePIN(user store.UserID, change func(*store.Tx, store.Person) error, outcome string) error {
	err := d.vault.Update(func(tx *store.Tx) error {
		p, err := tx.Person(user)
		if err != nil {
			return err
		}
		if err := change(tx, p); err != nil {
			return err
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "pin", User: user, Outcome: outcome})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return err
}

// HasPIN tells whether the person has one.
func (d *Device) HasPIN(user store.UserID) (bool, error) {
	err := d.vault.View(func(tx *store.Tx) error {
		r, err := pins.Get(tx, user, pinKey)
		clear(r.Hash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Names are what people type on a screen.
func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// named finds who has a PIN and that name; nobody is the empty id.
func (d *Device) named(name string) (found store.UserID, err error) {
	err = d.vault.View(func(tx *store.Tx) error {
		all, err := pins.All(tx)
		for _, m := range all {
			clear(m.Value.Hash)
			if err != nil {
				continue
			}
			var p store.Person
			if p, err = tx.Person(m.User); err == nil && sameName(p.Name, name) {
				found = m.User
			}
		}
		return err
	})
	return found, err
}

// hash waits until no other PIN is being hashed, which takes 64 MiB each.
func (d *Device) hash(ctx context.Context) (release func(), err error) {
	select {
	case d.hashing <- struct{}{}:
		return func() { <-d.hashing }, nil
	case <-d.ctx.Done():
		return nil, fmt.Errorf("device: closed: %w", ErrPart)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// AuthenticatePIN decides by a PIN alone; the name says whose, where the request
// does not. It waits for no sensor and may be called while an attempt does. A
// name that nobody has is refused like a wrong PIN, after as long. The PIN is
// wiped.
func (d *Device) AuthenticatePIN(ctx context.Context, r Request, name string, pin []byte) (Decision, error) {
	return d.authenticatePIN(ctx, r, "pin", name, pin)
}

// authenticatePIN does so; kind is of the audit entry.
func (d *Device) authenticatePIN(ctx context.Context, r Request, kind, name string, pin []byte) (Decision, error) {
	defer clear(pin)
	if !d.policy.PIN {
		return Decision{}, ErrPINForbidden
	}
	start := d.hw.Now()
	release, err := d.hash(ctx)
	if err != nil {
		return Decision{}, err
	}
	defer release()
	if r.Who == "" {
		if r.Who, err = d.named(name); err != nil {
			return Decision{}, err
		}
	}
	before, refused, err := d.count(r.Who, kind)
	if err != nil {
		return Decision{}, err
	}
	if refused != nil {
		refused.Took = d.hw.Now().Sub(start)
		d.decided(*refused)
		return *refused, nil
	}
	ev := &captured{pin: Known{Compared: true}}
	var kept pinRecord
	err = d.vault.View(func(tx *store.Tx) (err error) {
		kept, err = pins.Get(tx, r.Who, pinKey)
		return err
	})
	defer func() { clear(kept.Hash) }()
	switch {
	case r.Who == "" || errors.Is(err, store.ErrNotFound):
		d.cost.record(pin) // takes as long
	case err != nil:
		return Decision{}, fmt.Errorf("device: PIN: %w", err) // stays counted
	default:
		ev.pin.Enrolled, ev.pin.Right = true, kept.matches(pin)
	}
	return d.conclude(kind, r, before, d.policy.Decide(ev.evidence()), ev, start)
}
