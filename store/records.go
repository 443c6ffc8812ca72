package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Lockout returns the person's; of the whole device for the empty user. Every
// person has one from the beginning: an absent record is damage, and never
// stands for no failures.
func (tx *Tx) Lockout(user UserID) (Lockout, error) {
	b, err := tx.get(bucketLockouts, lockoutKey(user))
	if errors.Is(err, ErrNotFound) && (user == "" || tx.tx.Bucket(bucketKeys).Get([]byte(user)) != nil) {
		return Lockout{}, fmt.Errorf("store: the lock-out of %s is missing: %w", lockoutKey(user), ErrCorrupt)
	}
	if err != nil {
		return Lockout{}, err
	}
	return decode[Lockout](b)
}

// SetLockout replaces it. It is sealed with the device key, so that it can be
// counted for people without opening anything of theirs.
func (tx *Tx) SetLockout(user UserID, l Lockout) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	return tx.put(bucketLockouts, lockoutKey(user), b)
}

func lockoutKey(user UserID) []byte {
	if user == "" {
		return []byte("device") // no user id: those have 16 characters
	}
	return []byte(user)
}

// Secret returns a small secret of the device, such as the key that signs
// grants; ErrNotFound where there is none. The caller wipes it.
func (tx *Tx) Secret(name string) ([]byte, error) {
	return tx.get(bucketSecrets, []byte(name))
}

// SetSecret seals one with the device key.
func (tx *Tx) SetSecret(name string, value []byte) error {
	if name == "" || len(value) > MaxRecord {
		return fmt.Errorf("store: secret %q of %d bytes: %w", name, len(value), ErrInvalid)
	}
	return tx.put(bucketSecrets, []byte(name), value)
}

// Record is a value of a room above: a PIN's hash, a phone's public key. Kind
// names the room's collection, User may be empty for what is nobody's.
type Record struct {
	Kind  string
	User  UserID
	Key   string
	Value []byte // 1 to MaxRecord bytes
}

func (r Record) place() ([]byte, error) {
	if r.Kind == "" || r.Key == "" || strings.ContainsAny(r.Kind, "/") || len(r.Kind)+len(r.Key) > 2*MaxLabel {
		return nil, fmt.Errorf("store: record %q/%q/%q: %w", r.Kind, r.User, r.Key, ErrInvalid)
	}
	if r.User != "" {
		if _, err := ParseUserID(string(r.User)); err != nil {
			return nil, err
		}
	}
	return []byte(r.Kind + "/" + string(r.User) + "/" + r.Key), nil
}

// PutRecord seals a record: with the person's key where it has a person, so
// that it goes with them when they are forgotten, else with the device key.
func (tx *Tx) PutRecord(r Record) error {
	at, err := r.place()
	if err != nil {
		return err
	}
	if len(r.Value) == 0 || len(r.Value) > MaxRecord {
		return fmt.Errorf("store: record %s of %d bytes, 1 to %d are taken: %w", at, len(r.Value), MaxRecord, ErrInvalid)
	}
	if r.User == "" {
		return tx.put(bucketRecords, at, r.Value)
	}
	key, err := tx.personKey(r.User)
	if err != nil {
		return err
	}
	return tx.putWith(key, bucketRecords, at, r.Value)
}

// GetRecord fills in r.Value; ErrNotFound where there is none.
func (tx *Tx) GetRecord(r Record) (Record, error) {
	at, err := r.place()
	if err != nil {
		return r, err
	}
	key := tx.s.device
	if r.User != "" {
		if key, err = tx.personKey(r.User); err != nil {
			return r, err
		}
	}
	r.Value, err = tx.getWith(key, bucketRecords, at)
	return r, err
}

// DeleteRecord removes one; nothing happens where there is none.
func (tx *Tx) DeleteRecord(r Record) error {
	at, err := r.place()
	if err != nil {
		return err
	}
	return tx.delete(bucketRecords, at)
}

// Records lists all of a kind, in the order of users and keys.
func (tx *Tx) Records(kind string) ([]Record, error) {
	prefix := []byte(kind + "/")
	var places []Record
	err := tx.each(bucketRecords, prefix, func(k, _ []byte) error {
		user, key, ok := strings.Cut(string(k[len(prefix):]), "/")
		if !ok {
			return fmt.Errorf("store: record key %q: %w", k, ErrCorrupt)
		}
		places = append(places, Record{Kind: kind, User: UserID(user), Key: key})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range places {
		if places[i], err = tx.GetRecord(places[i]); err != nil {
			return nil, err
		}
	}
	return slices.Clip(places), nil
}
