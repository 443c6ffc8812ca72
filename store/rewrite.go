package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
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
// source can, and the root key: what was sealed with it opens for nobody, also
// not beside the new wrapping.
func (s *Store) moveOn(r Rotator) (rewritten bool, err error) {
	root, err := s.rootKey() // a promotion that is owed comes first
	if err != nil {
		return false, err
	}
	clear(root)
	key, err := keyOf(r.Prepare)
	if err != nil {
		return false, err
	}
	defer clear(key)
	if err := s.reroot(context.Background(), key, commitOf); err != nil {
		return false, err
	}
	return true, r.Promote()
}

// renewRoot replaces the root key alone.
func (s *Store) renewRoot() error {
	root, err := s.rootKey()
	if err != nil {
		return err
	}
	clear(root)
	device, err := keyOf(s.source.Key)
	if err != nil {
		return err
	}
	defer clear(device)
	return s.reroot(context.Background(), device, commitOf)
}

// commitOf is which commit a rewriting leaves the vault at, whose records, as
// they were read, must be those that were last written: what was put back beneath
// an open vault would else be sealed anew, and believed.
func commitOf(tx *Tx, read Hash) (uint64, error) {
	now, err := tx.state()
	if err != nil {
		return 0, err
	}
	end, err := tx.newest()
	if err != nil {
		return 0, err
	}
	if now.Digest != read || now.Seq != end.Seq || now.Hash != end.Hash {
		return 0, fmt.Errorf("its records are not those that were last written: %w", ErrCorrupt)
	}
	return now.Commit, nil
}

// reroot writes the vault anew below another root key, wrapped by the device
// key; the persons' keys stay. The notes are added to the audit chain.
func (s *Store) reroot(ctx context.Context, device []byte, commit func(*Tx, Hash) (uint64, error), notes ...Entry) error {
	root := newKey()
	defer clear(root)
	old, now := s.root, newVaultKey(root)
	return s.rewrite(ctx, func(bucket, key, value []byte) ([]byte, error) {
		if ownerOf(bucket, key) != "" {
			return value, nil
		}
		plain, err := unseal(old, bucket, key, value)
		if err != nil {
			return nil, err
		}
		defer clear(plain)
		return seal(now, bucket, key, plain), nil
	}, &below{now, sealRoot(keyRoot, device, root), commit, notes})
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
	return s.openRoot(keyRoot, wrapped)
}

// MoveKey wraps the vault with the key of another source, which is made where
// it has none, and uses that from now on, with a new root key. Nobody is enrolled
// again. The key before still opens copies of the vault: destroy it. Copies of
// before a migration go.
func (s *Store) MoveKey(to KeySource) error {
	s.finishing.Lock()
	defer s.finishing.Unlock()
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
	key, err := keyOf(to.Key)
	if errors.Is(err, ErrNotFound) {
		key, err = keyOf(to.Make)
	}
	if err != nil {
		return err
	}
	defer clear(key)
	if bytes.Equal(key, before) { // whoever asked would destroy it as the one of before
		return fmt.Errorf("store: the vault %s is sealed with that key already: %w", s.path, ErrInvalid)
	}
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
		if err := tx.tx.Bucket(bucketMeta).Put(keyRoot, sealRoot(keyRoot, key, root)); err != nil {
			return err
		}
		if err := tx.put(bucketMeta, keyMoved, KeyID(before)); err != nil {
			return err
		}
		if err := tx.owe(dueMove); err != nil { // the old wrapping is in the free pages
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
	s.finishing.Lock() // an erasure moves the same keys on
	defer s.finishing.Unlock()
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
	r := &rotation{old: s.root, root: newVaultKey(root), people: map[UserID]*pair{}}
	defer r.wipe()
	err = s.rewrite(ctx, r.reseal, &below{r.root, sealRoot(keyRoot, device, root), commitOf, nil})
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
		wipe(p.old)
		wipe(p.new)
		clear(p.oldSeed)
		clear(p.newSeed)
	}
}

// rotation seals every record with new keys and turns every face anew. The
// buckets of the persons' keys and seeds come before everything that is sealed
// and turned with them.
type rotation struct {
	old, root *vaultKey
	people    map[UserID]*pair
}

func (r *rotation) reseal(bucket, key, value []byte) ([]byte, error) {
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

// below is what a rewriting gives the vault besides its records: a root key, as
// it is and wrapped, which commit it is at, and audit entries.
type below struct {
	root    *vaultKey
	wrapped []byte
	commit  func(tx *Tx, read Hash) (uint64, error)
	notes   []Entry
}

// rewrite writes the vault anew, each record through change, and goes on with
// the new file, whose root key is under's (nil: the same). The new file is opened,
// and so locked, before it takes the old one's name: no other process can come
// between. Until then the end of the context undoes it (ErrInterrupted).
func (s *Store) rewrite(ctx context.Context, change reseal, under *below) error {
	s.swap.Lock()
	defer s.swap.Unlock()
	if under != nil {
		defer func() {
			if s.root != under.root {
				under.root.wipe()
			}
		}()
	}

	tmp := s.path + compactSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: left over from a power cut: %w", err)
	}
	db, err := openBolt(tmp, time.Second)
	if err != nil {
		return err
	}
	err = guard(s.path, func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			return copyBuckets(db, &Tx{s: s, tx: tx, ctx: ctx}, change, under)
		})
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
	if under != nil {
		s.root.wipe() // no transaction has it any more
		s.root = under.root
	}
	return errors.Join(syncDir(filepath.Dir(s.path)), old.Close())
}

// copyBatch bounds the memory of a rewriting: bytes in one transaction.
const copyBatch = 4 << 20

// copyBuckets copies record by record, in order, into full pages. Below a new
// root key the vault's state is made anew.
func copyBuckets(db *bbolt.DB, from *Tx, change reseal, under *below) (err error) {
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer func() {
		if tx != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	key := from.s.root
	if under != nil {
		key = under.root
	}
	read, digest := newDigester(from.s.root), newDigester(key)
	size := 0
	put := func(name, k, v []byte) error {
		if size += len(k) + len(v); size > copyBatch {
			err := tx.Commit()
			tx = nil
			if err == nil {
				tx, err = db.Begin(true)
			}
			if err != nil {
				return err
			}
			size = 0
		}
		b := tx.Bucket(name)
		b.FillPercent = 0.9
		return b.Put(k, v)
	}
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
		if err := from.each(name, nil, func(k, v []byte) error {
			if digested(name, k) {
				read.toggle(name, k, v)
			}
			if under != nil && bytes.Equal(name, bucketMeta) && ofRoot(k) {
				return nil
			}
			v, err := change(name, k, v)
			if err != nil {
				return err
			}
			if digested(name, k) {
				digest.toggle(name, k, v)
			}
			return put(name, k, v)
		}); err != nil {
			return err
		}
	}
	if under == nil {
		if _, err := commitOf(from, read.sum); err != nil {
			return err
		}
	} else {
		to := &Tx{s: &Store{root: key}, tx: tx, digest: digest}
		for _, e := range under.notes {
			if _, err := to.Append(e); err != nil {
				return err
			}
		}
		h, err := to.newest()
		if err != nil {
			return err
		}
		if h.Commit, err = under.commit(from, read.sum); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		if err := errors.Join(to.putState(state{}, h), meta.Put(keyRoot, under.wrapped),
			meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, Version))); err != nil {
			return err
		}
	}
	err = tx.Commit()
	tx = nil
	return err
}

// ofRoot tells whether a record of the meta bucket is made anew below a new root
// key, or gone with the schema that had it.
func ofRoot(key []byte) bool {
	for _, k := range [][]byte{keySchema, keyRoot, keyState, keyRoot3, keyCommits3, counted3[string(bucketKeys)], counted3[string(bucketRecords)]} {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}
