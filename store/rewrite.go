package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Compact writes the vault anew, without what was deleted and without free
// pages.
func (s *Store) Compact() error { return s.rewrite(context.Background(), asItIs, nil) }

// reseal turns a record as it stands in the old file into what the new one
// gets.
type reseal func(bucket, key, value []byte) ([]byte, error)

func asItIs(_, _, value []byte) ([]byte, error) { return value, nil }

// moveOn replaces the device key and makes the one before useless, where its
// source can. The old wrapping of the root key goes with the old file.
func (s *Store) moveOn(r Rotator) (rewritten bool, err error) {
	root, err := s.rootKey()
	if err != nil {
		return false, err
	}
	defer clear(root)
	key, err := keyOf(r.Prepare)
	if err != nil {
		return false, err
	}
	defer clear(key)
	if err := s.rewrite(context.Background(), wrapRoot(key, root), nil); err != nil {
		return false, err
	}
	return true, r.Promote()
}

func wrapRoot(device, root []byte) reseal {
	return func(bucket, key, value []byte) ([]byte, error) {
		if bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keyRoot) {
			return sealRoot(device, root), nil
		}
		return value, nil
	}
}

// rootKey asks the source for the device key once more: the root key itself is
// not kept in memory, only its AEAD. A promotion that failed is made up for.
func (s *Store) rootKey() ([]byte, error) {
	var wrapped []byte
	if err := s.View(func(tx *Tx) error {
		wrapped = bytes.Clone(tx.tx.Bucket(bucketMeta).Get(keyRoot))
		return nil
	}); err != nil {
		return nil, err
	}
	return s.openRoot(wrapped)
}

// MoveKey wraps the vault with the key of another source, which is made where
// it has none, and uses that from now on. Nobody is enrolled again. The key
// before still opens copies of the vault: destroy it. Copies of before a migration go.
func (s *Store) MoveKey(to KeySource) error {
	s.finishing.Lock()
	defer s.finishing.Unlock()
	key, err := keyOf(to.Key)
	if errors.Is(err, ErrNotFound) {
		key, err = keyOf(to.Make)
	}
	if err != nil {
		return err
	}
	defer clear(key)
	root, err := s.rootKey()
	if err != nil {
		return err
	}
	defer clear(root)
	before, err := keyOf(s.source.Key) // rootKey promoted a prepared one
	if err != nil {
		return err
	}
	defer clear(before)
	starts := uint64(0)
	if c, ok := to.(Counter); ok {
		if starts, err = c.Count(); err != nil {
			return err
		}
	}
	err = s.Update(func(tx *Tx) error {
		if err := tx.putNumber(keyStarts, starts); err != nil {
			return err
		}
		if err := tx.tx.Bucket(bucketMeta).Put(keyRoot, sealRoot(key, root)); err != nil {
			return err
		}
		if err := tx.put(bucketMeta, keyMoved, KeyID(before)); err != nil {
			return err
		}
		if err := tx.putNumber(keyDue, dueCompact); err != nil { // the old wrapping is in the free pages
			return err
		}
		_, err := tx.Append(Entry{At: s.now(), Kind: "move-key", Outcome: "done"})
		return err
	})
	if err != nil {
		return err
	}
	s.swap.Lock()
	s.source = to
	s.swap.Unlock()
	_, _, err = s.finish()
	return err
}

// MovedFrom tells whether the vault was last moved away from the key that the
// source has. What a cut left of the move is finished first: then that key opens
// nothing of the vault and is to be destroyed.
func (s *Store) MovedFrom(source KeySource) (bool, error) {
	if err := s.Finish(); err != nil {
		return false, err
	}
	key, err := keyOf(source.Key)
	if err != nil {
		return false, err
	}
	defer clear(key)
	var id []byte
	err = s.View(func(tx *Tx) (err error) { id, err = tx.get(bucketMeta, keyMoved); return err })
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && bytes.Equal(id, KeyID(key)), err
}

// Rotate replaces every key, of the device (where its source can), of the vault
// and of every person, seals everything anew and turns every face anew. Nobody
// is enrolled again. Copies of before a migration go. Where the context ends
// before all of it was written, every key stays as it is (ErrInterrupted).
func (s *Store) Rotate(ctx context.Context) error {
	if err := s.note("rotate-keys", "begun"); err != nil {
		return err
	}
	rotator, rotates := s.source.(Rotator)
	var device []byte
	var err error
	if rotates {
		device, err = keyOf(rotator.Prepare)
	} else {
		device, err = keyOf(s.source.Key)
	}
	if err != nil {
		return err
	}
	defer clear(device)
	root := newKey()
	defer clear(root)
	r := &rotation{old: s.root, root: newAEAD(root), people: map[UserID]*pair{}}
	defer r.wipe()
	wrap := wrapRoot(device, root)
	err = s.rewrite(ctx, func(bucket, key, value []byte) ([]byte, error) {
		if bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keyRoot) {
			return wrap(bucket, key, value)
		}
		return r.reseal(bucket, key, value)
	}, r.root)
	if errors.Is(err, ErrInterrupted) {
		return errors.Join(err, s.note("rotate-keys", "interrupted"))
	}
	if err != nil {
		return err
	}
	if rotates {
		if err := rotator.Promote(); err != nil {
			return err
		}
	}
	if err := s.removeCopies(); err != nil {
		return err
	}
	return s.note("rotate-keys", "done")
}

func (s *Store) note(kind, outcome string) error {
	return s.Update(func(tx *Tx) error {
		_, err := tx.Append(Entry{At: s.now(), Kind: kind, Outcome: outcome})
		return err
	})
}

type pair struct {
	old, new         cipher.AEAD
	oldSeed, newSeed []byte // of the person's face templates
}

func (r *rotation) wipe() {
	for _, p := range r.people {
		clear(p.oldSeed)
		clear(p.newSeed)
	}
}

// rotation seals every record with new keys and turns every face anew. The
// buckets of the persons' keys and seeds come before everything that is sealed
// and turned with them.
type rotation struct {
	old, root cipher.AEAD
	people    map[UserID]*pair
}

func (r *rotation) reseal(bucket, key, value []byte) ([]byte, error) {
	if bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keySchema) {
		return value, nil
	}
	if bytes.Equal(bucket, bucketKeys) {
		old, err := unseal(r.old, bucket, key, value)
		if err != nil || len(old) != KeySize {
			return nil, fmt.Errorf("store: the key of %s: %w: %w", key, err, ErrCorrupt)
		}
		defer clear(old)
		fresh := newKey()
		defer clear(fresh)
		r.people[UserID(key)] = &pair{old: newAEAD(old), new: newAEAD(fresh)}
		return seal(r.root, bucket, key, fresh), nil
	}
	with := &pair{old: r.old, new: r.root}
	if user := ownerOf(bucket, key); user != "" {
		var ok bool
		if with, ok = r.people[user]; !ok {
			return nil, fmt.Errorf("store: %s/%s is of nobody: %w", bucket, key, ErrCorrupt)
		}
	}
	plain, err := unseal(with.old, bucket, key, value)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	switch string(bucket) {
	case string(bucketSeeds):
		if len(plain) != KeySize {
			return nil, fmt.Errorf("store: the seed of %s has %d bytes: %w", key, len(plain), ErrCorrupt)
		}
		with.oldSeed, with.newSeed = bytes.Clone(plain), newKey()
		return seal(with.new, bucket, key, with.newSeed), nil
	case string(bucketTemplates):
		again, err := turnedAnew(plain, with.oldSeed, with.newSeed)
		if err != nil {
			return nil, err
		}
		defer clear(again)
		return seal(with.new, bucket, key, again), nil
	}
	return seal(with.new, bucket, key, plain), nil
}

// ownerOf is the person whose key seals the record; empty for the root key.
func ownerOf(bucket, key []byte) UserID {
	switch string(bucket) {
	case string(bucketSeeds), string(bucketPeople):
		return UserID(key)
	case string(bucketTemplates):
		user, _, _ := strings.Cut(string(key), "/")
		return UserID(user)
	case string(bucketRecords):
		_, rest, _ := strings.Cut(string(key), "/")
		user, _, _ := strings.Cut(rest, "/")
		return UserID(user)
	}
	return ""
}

// rewrite writes the vault anew, each record through change, and goes on with
// the new file, whose root key is root (nil: the same). The new file is opened,
// and so locked, before it takes the old one's name: no other process can come
// between. Until then the end of the context undoes it (ErrInterrupted).
func (s *Store) rewrite(ctx context.Context, change reseal, root cipher.AEAD) error {
	s.swap.Lock()
	defer s.swap.Unlock()

	tmp := s.path + compactSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: left over from a power cut: %w", err)
	}
	db, err := openBolt(tmp, time.Second)
	if err != nil {
		return err
	}
	err = guard(s.path, func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return copyBuckets(ctx, db, tx, change) })
	})
	if err == nil {
		err = db.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: vault %s cannot be rewritten: %w", s.path, err), db.Close(), os.Remove(tmp))
	}
	// From here on the new file is the vault whatever happens.
	old := s.db
	s.db = db
	if root != nil {
		s.root = root
	}
	return errors.Join(syncDir(filepath.Dir(s.path)), old.Close())
}

// copyBatch bounds the memory of a rewriting: bytes in one transaction.
const copyBatch = 4 << 20

// copyBuckets copies record by record, in order, into full pages.
func copyBuckets(ctx context.Context, to *bbolt.DB, from *bbolt.Tx, change reseal) (err error) {
	tx, err := to.Begin(true)
	if err != nil {
		return err
	}
	defer func() {
		if tx != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	size := 0
	for _, name := range buckets {
		b, err := tx.CreateBucket(name)
		if err != nil {
			return err
		}
		b.FillPercent = 0.9
		c := from.Bucket(name).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if err := interrupted(ctx); err != nil {
				return err
			}
			if v, err = change(name, k, v); err != nil {
				return err
			}
			if size += len(k) + len(v); size > copyBatch {
				err := tx.Commit()
				tx = nil
				if err != nil {
					return err
				}
				if tx, err = to.Begin(true); err != nil {
					return err
				}
				b = tx.Bucket(name)
				b.FillPercent = 0.9
				size = 0
			}
			if err := b.Put(k, v); err != nil {
				return err
			}
		}
	}
	err = tx.Commit()
	tx = nil
	return err
}
