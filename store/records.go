package store

import (
	"bytes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
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

// SetLockout replaces it. It is sealed with the root key, so that it can be
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

// SetSecret seals one with the root key.
func (tx *Tx) SetSecret(name string, value []byte) error {
	if name == "" || len(name) > MaxLabel {
		return fmt.Errorf("store: a secret's name has 1 to %d bytes, this one %d: %w", MaxLabel, len(name), ErrInvalid)
	}
	if len(value) > MaxRecord {
		return fmt.Errorf("store: secret %s of %d bytes, at most %d are taken: %w", name, len(value), MaxRecord, ErrInvalid)
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
	if r.Kind == "" || r.Key == "" || strings.ContainsAny(r.Kind, "/") {
		return nil, fmt.Errorf("store: record %q/%q/%q: %w", r.Kind, r.User, r.Key, ErrInvalid)
	}
	if len(r.Kind) > MaxLabel {
		return nil, fmt.Errorf("store: a record's kind has 1 to %d bytes, this one %d: %w", MaxLabel, len(r.Kind), ErrInvalid)
	}
	if len(r.Key) > MaxRecordKey {
		return nil, fmt.Errorf("store: a record's key has 1 to %d bytes, this one %d: %w", MaxRecordKey, len(r.Key), ErrInvalid)
	}
	if r.User != "" {
		if _, err := ParseUserID(string(r.User)); err != nil {
			return nil, err
		}
	}
	return []byte(r.Kind + "/" + string(r.User) + "/" + r.Key), nil
}

// PutRecord seals a record: with the person's key where it has a person, so
// that it goes with them when they are forgotten, else with the root key.
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
	defer wipe(key)
	return tx.putWith(key, bucketRecords, at, r.Value)
}

// GetRecord fills in r.Value; ErrNotFound where there is none.
func (tx *Tx) GetRecord(r Record) (Record, error) {
	at, err := r.place()
	if err != nil {
		return r, err
	}
	var key cipher.AEAD = tx.s.root
	if r.User != "" {
		if key, err = tx.personKey(r.User); err != nil {
			return r, err
		}
		defer wipe(key)
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
func (tx *Tx) Records(kind string) ([]Record, error) { return tx.records(kind, kind+"/") }

// RecordsOf lists the person's of a kind, in the order of keys; of nobody's
// where user is empty.
func (tx *Tx) RecordsOf(kind string, user UserID) ([]Record, error) {
	return tx.records(kind, kind+"/"+string(user)+"/")
}

// CountRecords tells how many records of the person there are of each kind.
func (tx *Tx) CountRecords(user UserID) (map[string]int, error) {
	kinds, err := tx.recordKinds()
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, kind := range kinds {
		if err := tx.each(bucketRecords, []byte(kind+"/"+string(user)+"/"), func(_, _ []byte) error { counts[kind]++; return nil }); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

func (tx *Tx) records(kind, prefix string) ([]Record, error) {
	if kind == "" || strings.Contains(kind, "/") {
		return nil, fmt.Errorf("store: record kind %q: %w", kind, ErrInvalid)
	}
	var found []Record
	err := tx.each(bucketRecords, []byte(prefix), func(k, _ []byte) error {
		user, key, ok := strings.Cut(string(k[len(kind)+1:]), "/")
		if !ok {
			return fmt.Errorf("store: record key %q: %w", k, ErrCorrupt)
		}
		r, err := tx.GetRecord(Record{Kind: kind, User: UserID(user), Key: key})
		if err != nil {
			return fmt.Errorf("store: record %q: %w: %w", k, err, ErrCorrupt)
		}
		found = append(found, r)
		return nil
	})
	return found, err
}

// Collection is a kind of record whose values are JSON of a T. A room above
// declares one and needs nothing else of the store:
//
//	var phones = store.Collection[phone]("phone")
//
// What a person's record holds is sealed with that person's key and goes when
// they are forgotten. A T with the method Check() error is checked before it is
// written and after it was read.
type Collection[T any] string

// Member is one record of a collection.
type Member[T any] struct {
	User  UserID
	Key   string
	Value T
}

// Put seals a value; user is empty for what is nobody's.
func (c Collection[T]) Put(tx *Tx, user UserID, key string, v T) error {
	b, err := encodeValue(v)
	if err != nil {
		return fmt.Errorf("store: %s/%s/%s: %w", string(c), user, key, err)
	}
	defer clear(b)
	return tx.PutRecord(Record{Kind: string(c), User: user, Key: key, Value: b})
}

// Get opens one; ErrNotFound where there is none.
func (c Collection[T]) Get(tx *Tx, user UserID, key string) (T, error) {
	r, err := tx.GetRecord(Record{Kind: string(c), User: user, Key: key})
	if err != nil {
		var none T
		return none, err
	}
	defer clear(r.Value)
	return decodeValue[T](r.Value)
}

// Delete removes one; nothing happens where there is none.
func (c Collection[T]) Delete(tx *Tx, user UserID, key string) error {
	return tx.DeleteRecord(Record{Kind: string(c), User: user, Key: key})
}

// All lists everybody's and nobody's, in the order of users and keys.
func (c Collection[T]) All(tx *Tx) ([]Member[T], error) {
	return members[T](tx.Records(string(c)))
}

// Of lists the person's, in the order of keys; nobody's for the empty user.
func (c Collection[T]) Of(tx *Tx, user UserID) ([]Member[T], error) {
	return members[T](tx.RecordsOf(string(c), user))
}

func members[T any](rs []Record, err error) ([]Member[T], error) {
	defer func() {
		for _, r := range rs {
			clear(r.Value)
		}
	}()
	if err != nil {
		return nil, err
	}
	all := make([]Member[T], 0, len(rs))
	for _, r := range rs {
		v, err := decodeValue[T](r.Value)
		if err != nil {
			return nil, fmt.Errorf("store: %s/%s/%s: %w", r.Kind, r.User, r.Key, err)
		}
		all = append(all, Member[T]{r.User, r.Key, v})
	}
	return all, nil
}

func encodeValue[T any](v T) ([]byte, error) {
	if c, ok := any(v).(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return b, nil
}

// decodeValue accepts only what encodeValue would write.
func decodeValue[T any](b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("a record does not decode: %w: %w", ErrCorrupt, err)
	}
	again, err := encodeValue(v)
	defer clear(again)
	if err != nil {
		return v, fmt.Errorf("a record that would not have been written: %w: %w", ErrCorrupt, err)
	}
	if !bytes.Equal(again, b) {
		return v, fmt.Errorf("a record is not in the form that it is written in: %w", ErrCorrupt)
	}
	return v, nil
}
