package store

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/faceprint/faceprint/store/isometry"
)

// newSeed gives the person another seed. What is turned by the one before must
// be turned anew in the same transaction.
func (tx *Tx) newSeed(key cipher.AEAD, user UserID) error {
	seed := newKey()
	defer clear(seed)
	return tx.putWith(key, bucketSeeds, []byte(user), seed)
}

// seed opens what the person's faces are turned by. The caller wipes it.
func (tx *Tx) seed(key cipher.AEAD, user UserID) ([]byte, error) {
	seed, err := tx.getWith(key, bucketSeeds, []byte(user))
	if errors.Is(err, ErrNotFound) || err == nil && len(seed) != isometry.KeySize {
		err = fmt.Errorf("store: the seed of %s is missing: %w", user, ErrCorrupt)
	}
	return seed, err
}

// isometry is the one that the template stands turned by: its own, so that
// nothing that is kept of two references is left after they were renewed.
func (t Template) isometry(seed []byte) (*isometry.Isometry, error) {
	m, err := isometry.New(seed, t.ID, len(t.Data)/4)
	if err == nil && len(t.Data) != 4*m.Size() {
		err = fmt.Errorf("it has %d bytes", len(t.Data))
	}
	if err != nil {
		return nil, fmt.Errorf("store: face template %s of %s is no turned vector: %w: %w", t.ID, t.User, err, ErrInvalid)
	}
	return m, nil
}

// turned is a face template, given as it is, as it is kept. The data given is
// left alone.
func turned(t Template, seed []byte) (Template, error) {
	v, err := floats(t)
	if err != nil {
		return t, err
	}
	defer clear(v)
	m, err := isometry.New(seed, t.ID, len(v))
	if err != nil {
		return t, fmt.Errorf("store: face template %s of %s: %w: %w", t.ID, t.User, err, ErrInvalid)
	}
	w, err := m.Turn(v)
	if err != nil {
		return t, fmt.Errorf("store: face template %s of %s: %w", t.ID, t.User, err)
	}
	defer clear(w)
	t.Data, t.Isometry = make([]byte, 0, 4*len(w)), m
	for _, x := range w {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(x))
	}
	return t, nil
}

// floats reads the numbers of a face.
func floats(t Template) ([]float32, error) {
	if len(t.Data)%4 != 0 || len(t.Data) > 4*isometry.MaxDim {
		return nil, fmt.Errorf("store: face template %s of %s: %d bytes are no vector: %w", t.ID, t.User, len(t.Data), ErrInvalid)
	}
	v := make([]float32, len(t.Data)/4)
	for i := range v {
		x := math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		if f := float64(x); math.IsNaN(f) || math.Abs(f) > 1+1e-3 {
			return nil, fmt.Errorf("store: face template %s of %s: number %d is %g, not of a vector of length 1: %w", t.ID, t.User, i, x, ErrInvalid)
		}
		v[i] = x
	}
	return v, nil
}

// turnedAnew takes an encoded template from one seed to another; what is no face
// stays as it is. The caller wipes the result.
func turnedAnew(b, from, to []byte) ([]byte, error) {
	t, err := decode[Template](b)
	if err != nil {
		return nil, err
	}
	defer func() { t.Wipe() }()
	if t.Kind != KindFace {
		return slices.Clone(b), nil
	}
	m, err := t.isometry(from)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	defer m.Wipe()
	v, err := floats(t)
	if err != nil {
		return nil, err
	}
	defer clear(v)
	plain, err := m.Back(v)
	if err != nil {
		return nil, fmt.Errorf("store: %w: %w", err, ErrCorrupt)
	}
	defer clear(plain)
	for i, x := range plain {
		binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(x))
	}
	next, err := turned(t, to)
	if err != nil {
		return nil, err
	}
	defer next.Wipe()
	return encode(next)
}

// renew gives the person another seed and turns their faces by it. It returns
// how many those are.
func (tx *Tx) renew(user UserID) (n int, err error) {
	key, err := tx.personKey(user)
	if err != nil {
		return 0, err
	}
	defer wipe(key)
	before, err := tx.seed(key, user)
	if err != nil {
		return 0, err
	}
	defer clear(before)
	if err := tx.newSeed(key, user); err != nil {
		return 0, err
	}
	after, err := tx.seed(key, user)
	if err != nil {
		return 0, err
	}
	defer clear(after)
	return tx.turnAll(key, user, func(b []byte) ([]byte, error) { return turnedAnew(b, before, after) })
}

// turnAll replaces the person's face templates, each by what change makes of it.
func (tx *Tx) turnAll(key cipher.AEAD, user UserID, change func([]byte) ([]byte, error)) (n int, err error) {
	var at [][]byte
	if err := tx.each(bucketTemplates, templateKey(user, ""), func(k, _ []byte) error {
		at = append(at, slices.Clone(k))
		return nil
	}); err != nil {
		return 0, err
	}
	one := func(k []byte) error {
		b, err := tx.getWith(key, bucketTemplates, k)
		if err != nil {
			return err
		}
		defer clear(b)
		t, err := decode[Template](b)
		t.Wipe()
		if err != nil || t.Kind != KindFace {
			return err
		}
		n++
		b, err = change(b)
		if err != nil {
			return err
		}
		defer clear(b)
		return tx.putWith(key, bucketTemplates, k, b)
	}
	for _, k := range at {
		if err := one(k); err != nil {
			return n, err
		}
	}
	return n, nil
}

// renewBatch bounds one transaction: people.
const renewBatch = 500

// Renew revokes the face templates of a person, or of everybody for the empty
// user, and keeps new ones in their place: copies of the old ones are like
// nothing that is in the vault, or in another. Nobody is enrolled again. The
// file is rewritten, and copies of before a migration go, so that the old ones
// are in no file of the vault's; backups hold them still. It returns how many
// were renewed, also beside an error. Whom an error left out keeps theirs, and so
// does whoever is left when the context ends (ErrInterrupted).
func (s *Store) Renew(ctx context.Context, user UserID, at time.Time) (n int, err error) {
	note := func(user UserID, outcome string) error {
		return s.Update(func(tx *Tx) error {
			_, err := tx.Append(Entry{At: at, Kind: "renew", User: user, Outcome: outcome})
			return err
		})
	}
	s.finishing.Lock()
	defer s.finishing.Unlock()
	users := []UserID{user}
	if user == "" {
		if err := s.View(func(tx *Tx) (err error) { users, err = tx.Users(); return err }); err != nil {
			return 0, err
		}
	} else if err := s.View(func(tx *Tx) error { _, err := tx.Person(user); return err }); err != nil {
		return 0, err
	}
	if err := note(user, "begun"); err != nil {
		return 0, err
	}
	var cut error
	for batch := range slices.Chunk(users, renewBatch) {
		if cut = interrupted(ctx); cut != nil {
			break
		}
		more := 0
		if err := s.Update(func(tx *Tx) error {
			more = 0
			for _, user := range batch {
				m, err := tx.renew(user)
				if errors.Is(err, ErrNotFound) {
					continue // forgotten meanwhile
				}
				if err != nil {
					return err
				}
				more += m
			}
			return tx.owe(dueCompact)
		}); err != nil {
			return n, err
		}
		n += more
	}
	if _, _, err := s.finish(); err != nil {
		return n, fmt.Errorf("store: renewed, but the old bytes are still in the file: %w", err)
	}
	if cut != nil {
		return n, errors.Join(cut, note(user, "interrupted"))
	}
	return n, note(user, "done")
}
