package store

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// personKey opens the person's data key. The caller wipes it.
func (tx *Tx) personKey(user UserID) (cipher.AEAD, error) {
	key, err := tx.get(bucketKeys, []byte(user))
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != KeySize {
		return nil, fmt.Errorf("store: the key of %s has %d bytes: %w", user, len(key), ErrCorrupt)
	}
	return newAEAD(key), nil
}

// AddPerson makes a person with a fresh data key. It refuses a person without
// consent (ErrNoConsent) and an id that is taken (ErrExists).
func (tx *Tx) AddPerson(p Person) error {
	p.Templates = 0
	if err := p.Consent.sizes(); err != nil {
		return err
	}
	b, err := encode(p)
	if err != nil {
		return err
	}
	id := []byte(p.ID)
	if tx.tx.Bucket(bucketKeys).Get(id) != nil {
		return fmt.Errorf("store: person %s: %w", p.ID, ErrExists)
	}
	key := newKey()
	defer clear(key)
	if err := tx.put(bucketKeys, id, key); err != nil {
		return err
	}
	with := newAEAD(key)
	defer wipe(with)
	if err := tx.newSeed(with, p.ID); err != nil {
		return err
	}
	if err := tx.SetLockout(p.ID, Lockout{}); err != nil {
		return err
	}
	return tx.putWith(with, bucketPeople, id, b)
}

// PutPerson replaces what is known of a person.
func (tx *Tx) PutPerson(p Person) error {
	old, err := tx.Person(p.ID)
	if err != nil {
		return err
	}
	if p.Consent != old.Consent {
		if err := p.Consent.sizes(); err != nil {
			return err
		}
	}
	p.Templates = old.Templates
	return tx.putPerson(p)
}

func (tx *Tx) putPerson(p Person) error {
	b, err := encode(p)
	if err != nil {
		return err
	}
	key, err := tx.personKey(p.ID)
	if err != nil {
		return err
	}
	defer wipe(key)
	return tx.putWith(key, bucketPeople, []byte(p.ID), b)
}

// Person looks one up; ErrNotFound where there is none.
func (tx *Tx) Person(user UserID) (Person, error) {
	key, err := tx.personKey(user)
	if err != nil {
		return Person{}, err
	}
	defer wipe(key)
	return tx.person(key, user)
}

func (tx *Tx) person(key cipher.AEAD, user UserID) (Person, error) {
	b, err := tx.getWith(key, bucketPeople, []byte(user))
	if errors.Is(err, ErrNotFound) { // there is a key, so there is a person
		err = fmt.Errorf("store: the record of %s is missing: %w", user, ErrCorrupt)
	}
	if err != nil {
		return Person{}, err
	}
	p, err := decode[Person](b)
	if err == nil && p.ID != user {
		err = fmt.Errorf("store: the record of %s is of %s: %w", user, p.ID, ErrCorrupt)
	}
	return p, err
}

// Users lists the ids of everybody, in the order of the ids.
func (tx *Tx) Users() ([]UserID, error) {
	var users []UserID
	err := tx.each(bucketKeys, nil, func(k, _ []byte) error {
		user, err := ParseUserID(string(k))
		if err != nil {
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		}
		users = append(users, user)
		return nil
	})
	return users, err
}

// People lists everybody, oldest first.
func (tx *Tx) People() ([]Person, error) {
	users, err := tx.Users()
	if err != nil {
		return nil, err
	}
	people := make([]Person, 0, len(users))
	for _, user := range users {
		p, err := tx.Person(user)
		if err != nil {
			return nil, err
		}
		people = append(people, p)
	}
	slices.SortStableFunc(people, func(a, b Person) int { return a.Created.Compare(b.Created) })
	return people, nil
}

func templateKey(user UserID, id string) []byte { return []byte(string(user) + "/" + id) }

// AddTemplate seals a template for its person, a face turned by a key of its
// own, and returns its id.
func (tx *Tx) AddTemplate(t Template) (string, error) {
	if t.ID == "" {
		t.ID = string(NewUserID())
	}
	if err := t.check(); err != nil {
		return "", err
	}
	key, err := tx.personKey(t.User)
	if err != nil {
		return "", err
	}
	defer wipe(key)
	if t.Kind == KindFace {
		seed, err := tx.seed(key, t.User)
		if err != nil {
			return "", err
		}
		defer clear(seed)
		if t, err = turned(t, seed); err != nil {
			return "", err
		}
		defer t.Wipe()
	}
	b, err := encode(t)
	if err != nil {
		return "", err
	}
	defer clear(b)
	at := templateKey(t.User, t.ID)
	if tx.tx.Bucket(bucketTemplates).Get(at) != nil {
		return "", fmt.Errorf("store: template %s of %s: %w", t.ID, t.User, ErrExists)
	}
	if err := tx.countTemplates(t.User, +1); err != nil {
		return "", err
	}
	return t.ID, tx.putWith(key, bucketTemplates, at, b)
}

func (tx *Tx) countTemplates(user UserID, more int) error {
	p, err := tx.Person(user)
	if err != nil {
		return err
	}
	p.Templates += more
	return tx.putPerson(p)
}

// DeleteTemplate removes one; ErrNotFound where there is none.
func (tx *Tx) DeleteTemplate(user UserID, id string) error {
	at := templateKey(user, id)
	if tx.tx.Bucket(bucketTemplates).Get(at) == nil {
		return fmt.Errorf("store: template %s of %s: %w", id, user, ErrNotFound)
	}
	if err := tx.countTemplates(user, -1); err != nil {
		return err
	}
	return tx.delete(bucketTemplates, at)
}

// TemplatesOf opens the person's templates of the kind; 0 means of every kind.
// Faces come turned. The caller wipes them.
func (tx *Tx) TemplatesOf(user UserID, kind Kind) ([]Template, error) {
	key, err := tx.personKey(user)
	if err != nil {
		return nil, err
	}
	defer wipe(key)
	p, err := tx.person(key, user)
	if err != nil {
		return nil, err
	}
	var seed []byte
	if kind == 0 || kind == KindFace {
		if seed, err = tx.seed(key, user); err != nil {
			return nil, err
		}
		defer clear(seed)
	}
	seen := 0
	var found []Template
	err = tx.each(bucketTemplates, templateKey(user, ""), func(k, sealed []byte) error {
		b, err := unseal(key, bucketTemplates, k, sealed)
		if err != nil {
			return err
		}
		defer clear(b)
		t, err := decode[Template](b)
		if err != nil {
			return err
		}
		if t.User != user || string(templateKey(t.User, t.ID)) != string(k) {
			return fmt.Errorf("store: template %q says that it is %s of %s: %w", k, t.ID, t.User, ErrCorrupt)
		}
		seen++
		if kind != 0 && t.Kind != kind {
			t.Wipe()
			return nil
		}
		if t.Kind == KindFace {
			if t.Isometry, err = t.isometry(seed); err != nil {
				return fmt.Errorf("%w: %w", err, ErrCorrupt)
			}
		}
		found = append(found, t)
		return nil
	})
	if err == nil && seen != p.Templates {
		err = fmt.Errorf("store: %s has %d templates, %d are left in the file: %w", user, p.Templates, seen, ErrCorrupt)
	}
	if err != nil {
		for i := range found {
			found[i].Wipe()
		}
		return nil, err
	}
	return found, nil
}

// Templates opens everybody's templates of the kind, for a gallery. The caller
// wipes them.
func (tx *Tx) Templates(kind Kind) ([]Template, error) {
	users, err := tx.Users()
	if err != nil {
		return nil, err
	}
	var all []Template
	for _, user := range users {
		t, err := tx.TemplatesOf(user, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, t...)
	}
	return all, nil
}

// erase destroys the person's key and removes every record of theirs, and
// returns how many templates that were.
func (tx *Tx) erase(user UserID) (templates int, err error) {
	id := []byte(user)
	if tx.tx.Bucket(bucketKeys).Get(id) == nil {
		return 0, fmt.Errorf("store: person %s: %w", user, ErrNotFound)
	}
	for _, bucket := range [][]byte{bucketKeys, bucketSeeds, bucketPeople, bucketLockouts} {
		if err := tx.delete(bucket, id); err != nil {
			return 0, err
		}
	}
	if templates, err = tx.deleteAll(bucketTemplates, templateKey(user, "")); err != nil {
		return templates, err
	}
	kinds, err := tx.recordKinds()
	for _, kind := range kinds {
		if err == nil {
			_, err = tx.deleteAll(bucketRecords, []byte(kind+"/"+string(user)+"/"))
		}
	}
	return templates, err
}

// deleteAll removes what begins with the prefix and returns how many that
// were. bbolt's cursor may miss a key after a deletion, so it looks anew.
func (tx *Tx) deleteAll(bucket, prefix []byte) (n int, err error) {
	for {
		k, _ := tx.tx.Bucket(bucket).Cursor().Seek(prefix)
		if k == nil || !bytes.HasPrefix(k, prefix) {
			return n, nil
		}
		if err := tx.delete(bucket, slices.Clone(k)); err != nil {
			return n, err
		}
		n++
	}
}

// recordKinds lists the kinds in use: a handful, each found by one step past
// all records of the one before.
func (tx *Tx) recordKinds() (kinds []string, err error) {
	c := tx.tx.Bucket(bucketRecords).Cursor()
	for k, _ := c.First(); k != nil; {
		kind, _, ok := strings.Cut(string(k), "/")
		if !ok {
			return nil, fmt.Errorf("store: record key %q: %w", k, ErrCorrupt)
		}
		kinds = append(kinds, kind)
		k, _ = c.Seek([]byte(kind + "0")) // the character after '/'
	}
	return kinds, nil
}
