package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// copySuffix of the copy that is made before a migration, followed by the
// number of the schema. Forget removes it: it holds who was forgotten.
const copySuffix = ".schema"

// migrations by the schema that they begin with; each leads to the next.
var migrations = map[uint32]func(*Store, context.Context) error{1: (*Store).migrate1, 2: (*Store).migrate2, 3: (*Store).migrate3}

// migrate brings a vault of an older schema up to date, step by step, after a
// copy was made.
func (s *Store) migrate(ctx context.Context, from uint32) error {
	if err := s.keepCopy(from); err != nil {
		return fmt.Errorf("store: vault %s has schema %d and cannot be copied before it is migrated: %w", s.path, from, err)
	}
	for schema := from; schema < Version; schema++ {
		if err := migrations[schema](s, ctx); err != nil {
			return fmt.Errorf("store: vault %s cannot be migrated from schema %d and keeps that: %w", s.path, schema, err)
		}
	}
	return s.unlock(ctx)
}

// migrate1 gives a vault of schema 1, whose records were sealed with the device
// key itself, a root key.
func (s *Store) migrate1(ctx context.Context) error {
	key, err := keyOf(s.source.Key)
	if err != nil {
		return err
	}
	defer clear(key)
	device := newAEAD(key)
	root, head := newKey(), newKey()
	defer clear(root)
	defer clear(head)
	return s.db.Update(func(btx *bbolt.Tx) error {
		meta := btx.Bucket(bucketMeta)
		if _, err := unseal(device, bucketMeta, keyCheck1, meta.Get(keyCheck1)); err != nil {
			return fmt.Errorf("store: vault %s was sealed with another key than the %v: %w", s.path, s.source, ErrKey)
		}
		tx := &Tx{s: &Store{root: newVaultKey(root)}, tx: btx, ctx: ctx}
		for _, bucket := range [][]byte{bucketKeys, bucketLockouts, bucketSecrets, bucketRecords, bucketAudit} {
			if btx.Bucket(bucket) == nil {
				return fmt.Errorf("no bucket %s: %w", bucket, ErrCorrupt)
			}
			var keys [][]byte
			if err := tx.each(bucket, nil, func(k, _ []byte) error {
				if string(bucket) != string(bucketRecords) || ownerOf(bucket, k) == "" {
					keys = append(keys, slices.Clone(k))
				}
				return nil
			}); err != nil {
				return err
			}
			for _, k := range keys {
				plain, err := unseal(device, bucket, k, btx.Bucket(bucket).Get(k))
				if err == nil {
					err = tx.put(bucket, k, plain)
				}
				clear(plain)
				if err != nil {
					return err
				}
			}
		}
		n, err := unseal(device, bucketMeta, keyCommits3, meta.Get(keyCommits3))
		if err != nil || len(n) != 8 {
			return fmt.Errorf("no commit counter: %w: %w", err, ErrCorrupt)
		}
		if _, err := tx.Append(Entry{At: s.now(), Kind: "migrate", Outcome: "done", Reasons: []string{"schema-1-to-2"}}); err != nil {
			return err
		}
		for bucket, key := range counted3 {
			n := uint64(0)
			if err := errors.Join(tx.each([]byte(bucket), nil, func(_, _ []byte) error { n++; return nil }), tx.putNumber(key, n)); err != nil {
				return err
			}
		}
		return errors.Join(
			meta.Delete(keyCheck1),
			meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, 2)),
			meta.Put(keyRoot3, sealRoot(keyRoot3, key, root)),
			tx.put(bucketMeta, keyHead, head),
			tx.putNumber(keyStarts, 0),
			tx.putNumber(keyCommits3, binary.BigEndian.Uint64(n)+1))
	})
}

// migrate2 turns the faces of a vault of schema 2, which kept them as they are,
// some people in each transaction: those who have a seed are done.
func (s *Store) migrate2(ctx context.Context) error {
	var wrapped []byte
	if err := s.db.View(func(tx *bbolt.Tx) error {
		wrapped = slices.Clone(tx.Bucket(bucketMeta).Get(keyRoot3))
		return nil
	}); err != nil {
		return err
	}
	root, err := s.openRoot(keyRoot3, wrapped)
	if err != nil {
		return err
	}
	defer clear(root)
	if len(root) != KeySize {
		return fmt.Errorf("a root key of %d bytes: %w", len(root), ErrCorrupt)
	}
	opened := &Store{root: newVaultKey(root)}
	for left := true; left; {
		if err := s.db.Update(func(btx *bbolt.Tx) error {
			for _, name := range [][]byte{bucketKeys, bucketTemplates, bucketAudit} {
				if btx.Bucket(name) == nil {
					return fmt.Errorf("no bucket %s: %w", name, ErrCorrupt)
				}
			}
			if _, err := btx.CreateBucketIfNotExists(bucketSeeds); err != nil {
				return err
			}
			tx := &Tx{s: opened, tx: btx, ctx: ctx}
			left, err = tx.turnSome()
			if err != nil {
				return err
			}
			n, err := tx.number(keyCommits3)
			if err != nil {
				return err
			}
			if err := tx.putNumber(keyCommits3, n+1); err != nil || left {
				return err
			}
			if _, err := tx.Append(Entry{At: s.now(), Kind: "migrate", Outcome: "done", Reasons: []string{"schema-2-to-3"}}); err != nil {
				return err
			}
			return btx.Bucket(bucketMeta).Put(keySchema, binary.BigEndian.AppendUint32(nil, 3))
		}); err != nil {
			return err
		}
	}
	return nil
}

// turnSome turns the faces of some people who have no seed yet, and tells
// whether others may be left.
func (tx *Tx) turnSome() (left bool, err error) {
	users, err := tx.Users()
	if err != nil {
		return false, err
	}
	done := 0
	for _, user := range users {
		if tx.tx.Bucket(bucketSeeds).Get([]byte(user)) != nil {
			continue
		}
		if done++; done > renewBatch {
			return true, nil
		}
		key, err := tx.personKey(user)
		if err == nil {
			err = tx.newSeed(key, user)
		}
		if err != nil {
			return false, err
		}
		seed, err := tx.seed(key, user)
		if err != nil {
			return false, err
		}
		_, err = tx.turnAll(key, user, func(b []byte) ([]byte, error) {
			t, err := decode[Template](b)
			if err != nil {
				return nil, err
			}
			defer clear(t.Data)
			kept, err := turned(t, seed)
			if err != nil {
				return nil, err
			}
			defer kept.Wipe()
			return encode(kept)
		})
		clear(seed)
		wipe(key)
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// Of schemas 2 and 3, in the meta bucket: the root key, how often the vault was
// written, and how many records there are of the buckets in which damage could
// hide one without anybody noticing.
var (
	keyRoot3    = []byte("root")
	keyCommits3 = []byte("commits")
	counted3    = map[string][]byte{string(bucketKeys): []byte("people"), string(bucketRecords): []byte("records")}
)

// migrate3 gives a vault of schema 3, which took any record that was ever
// written, its digest. The root key is a new one and stands elsewhere: nothing
// that was sealed before can be brought in by calling the vault one of schema 3.
func (s *Store) migrate3(ctx context.Context) error {
	var wrapped []byte
	if err := s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("no bucket %s: %w", name, ErrCorrupt)
			}
		}
		wrapped = slices.Clone(tx.Bucket(bucketMeta).Get(keyRoot3))
		return nil
	}); err != nil {
		return err
	}
	root, err := s.openRoot(keyRoot3, wrapped)
	if err != nil {
		return err
	}
	defer clear(root)
	if len(root) != KeySize {
		return fmt.Errorf("a root key of %d bytes: %w", len(root), ErrCorrupt)
	}
	device, err := keyOf(s.source.Key)
	if err != nil {
		return err
	}
	defer clear(device)
	s.root = newVaultKey(root)
	if err := s.view(ctx, (*Tx).checkCounts3); err != nil {
		return err
	}
	return s.reroot(ctx, device, func(tx *Tx, _ Hash) (uint64, error) { // nothing to compare with
		n, err := tx.number(keyCommits3)
		return n + 1, err
	}, Entry{At: s.now(), Kind: "migrate", Outcome: "done", Reasons: []string{"schema-3-to-4"}})
}

// checkCounts3 is what schema 3 had for checkState.
func (tx *Tx) checkCounts3() error {
	for bucket, key := range counted3 {
		want, err := tx.number(key)
		if err != nil {
			return err
		}
		n, last := uint64(0), []byte(nil)
		err = tx.each([]byte(bucket), nil, func(k, sealed []byte) error {
			if n++; bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("store: vault %s: the record %s/%.40q is not in its place: %w", tx.s.path, bucket, k, ErrCorrupt)
			}
			last = k
			if bucket != string(bucketRecords) {
				return nil
			}
			var key cipher.AEAD = tx.s.root
			if user := ownerOf(bucketRecords, k); user != "" {
				var err error
				if key, err = tx.personKey(user); err != nil {
					return fmt.Errorf("store: the record %.40q is of nobody: %w: %w", k, err, ErrCorrupt)
				}
				defer wipe(key)
			}
			b, err := unseal(key, bucketRecords, k, sealed)
			clear(b)
			return err
		})
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("store: vault %s has %d %s, %d are left in the file; restore it from a backup: %w", tx.s.path, want, key, n, ErrCorrupt)
		}
	}
	return nil
}

// keyCheck1 of schema 1 was sealed with the device key, to tell a wrong one.
var keyCheck1 = []byte("key check")

// copyTo writes what is committed to another file, whole and durable.
func (s *Store) copyTo(path string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(s.path)+newSuffix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = s.db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(tmp)
		return err
	})
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp.Name(), path), syncDir(filepath.Dir(path)))
}

// keepCopy copies the vault before it is migrated from the schema. Where a
// migration was cut off between its transactions, the copy of before that stays.
func (s *Store) keepCopy(from uint32) error {
	path := fmt.Sprintf("%s%s%d", s.path, copySuffix, from)
	begun := false // of the migrations only migrate2 has several transactions
	if err := s.db.View(func(tx *bbolt.Tx) error { begun = from == 2 && tx.Bucket(bucketSeeds) != nil; return nil }); err != nil {
		return err
	}
	if _, err := os.Lstat(path); begun && err == nil && checkFile(path) == nil {
		db, err := openBolt(path, time.Second)
		if err == nil {
			var schema uint32
			err = guard(path, func() (err error) { schema, err = (&Store{path: path, db: db}).schema(); return err })
			if err = errors.Join(err, db.Close()); err == nil && schema == from {
				return nil
			}
		}
	}
	return s.copyTo(path)
}

// removeCopies removes what migrations kept, and what was cut off left: it holds
// who was forgotten as well.
func (s *Store) removeCopies() error {
	return errors.Join(removeBeside(s.path, copySuffix), removeBeside(s.path, newSuffix))
}

// Rehearse brings a copy of the vault at path up to date, reads everything in
// it, and removes the copy: what a start would do, without doing it. Nobody else
// can use the vault meanwhile (ErrInUse). The device key is not made or changed.
// It returns the schema that the vault has; when the context ends it gives up
// (ErrInterrupted).
func Rehearse(ctx context.Context, path string, source KeySource) (from uint32, err error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return 0, absent(path) // bbolt would make an empty file
	}
	if err := checkFile(path); err != nil {
		return 0, err
	}
	held := &Store{path: path}
	if held.db, err = openBolt(path, time.Second); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if err := guard(path, func() (err error) { from, err = held.schema(); return err }); err != nil {
		return 0, err
	}
	if err := held.tidy(); err != nil {
		return from, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+newSuffix+"rehearsal-*") // tidy removes it
	if err != nil {
		return from, fmt.Errorf("store: rehearsal: %w", err)
	}
	defer os.RemoveAll(dir)
	try := filepath.Join(dir, "vault.db")
	for _, suffix := range []string{"", headSuffix} {
		if err := copyFile(ctx, try+suffix, path+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return from, fmt.Errorf("store: rehearsal: %w", err)
		}
	}
	s, err := OpenContext(ctx, try, keyOnly{source}, Options{})
	if err == nil {
		err = errors.Join(s.view(ctx, (*Tx).Verify), s.Close())
	}
	if err != nil {
		err = ofCopy{err, try, path}
	}
	return from, err
}

// ofCopy is an error that names the vault, not the copy of it that is gone.
type ofCopy struct {
	error
	copy, path string
}

func (e ofCopy) Error() string { return strings.ReplaceAll(e.error.Error(), e.copy, e.path) }

func (e ofCopy) Unwrap() error { return e.error }

// keyOnly hides what a source could change.
type keyOnly struct{ KeySource }

// unfinished is why the key in use does not open the vault, which names the
// device key, where that is the prepared one: whoever may change the source
// finishes that (openRoot). Elsewhere it is err.
func (k keyOnly) unfinished(path string, id []byte, err error) error {
	r, ok := k.KeySource.(Rotator)
	if !ok || id == nil {
		return err
	}
	prepared, e := r.IsPrepared(id)
	if e != nil || !prepared {
		return errors.Join(err, e)
	}
	return fmt.Errorf("store: vault %s: its device key was being replaced, and that was cut off before the last step; nothing is lost: start the daemon once, which finishes it, and do this again: %w", path, ErrKey)
}

// reading ends with its context.
type reading struct {
	ctx  context.Context
	from io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := interrupted(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	if cut := interrupted(r.ctx); err != nil && cut != nil {
		return n, cut // it was woken by that
	}
	return n, err
}

func copyFile(ctx context.Context, to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, reading{ctx, in})
	return errors.Join(err, out.Sync(), out.Close())
}
