package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

// copySuffix of the copy that is made before a migration, followed by the
// number of the schema. Forget removes it: it holds who was forgotten.
const copySuffix = ".schema"

// migrate brings a vault of an older schema up to date, in one transaction,
// after a copy was made.
func (s *Store) migrate(from uint32) error {
	if err := s.copyTo(fmt.Sprintf("%s%s%d", s.path, copySuffix, from)); err != nil {
		return fmt.Errorf("store: vault %s has schema %d and cannot be copied before it is migrated: %w", s.path, from, err)
	}
	if err := s.migrate1(); err != nil {
		return fmt.Errorf("store: vault %s of schema %d cannot be migrated and is unchanged: %w", s.path, from, err)
	}
	return s.unlock()
}

// migrate1 gives a vault of schema 1, whose records were sealed with the device
// key itself, a root key.
func (s *Store) migrate1() error {
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
		tx := &Tx{s: &Store{root: newAEAD(root)}, tx: btx}
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
		n, err := unseal(device, bucketMeta, keyCommits, meta.Get(keyCommits))
		if err != nil || len(n) != 8 {
			return fmt.Errorf("no commit counter: %w: %w", err, ErrCorrupt)
		}
		if _, err := tx.Append(Entry{At: s.now(), Kind: "migrate", Outcome: "done", Reasons: []string{"schema-1-to-2"}}); err != nil {
			return err
		}
		for bucket, key := range counted {
			n := uint64(0)
			if err := errors.Join(tx.each([]byte(bucket), nil, func(_, _ []byte) error { n++; return nil }), tx.putNumber(key, n)); err != nil {
				return err
			}
		}
		return errors.Join(
			meta.Delete(keyCheck1),
			meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, 2)),
			meta.Put(keyRoot, seal(device, bucketMeta, keyRoot, root)),
			tx.put(bucketMeta, keyHead, head),
			tx.putNumber(keyStarts, 0),
			tx.putNumber(keyCommits, binary.BigEndian.Uint64(n)+1))
	})
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

// removeCopies removes what migrations kept.
func (s *Store) removeCopies() error {
	copies, err := filepath.Glob(s.path + copySuffix + "*")
	for _, name := range copies {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// Rehearse brings a copy of the vault at path up to date, reads everything in
// it, and removes the copy: what a start would do, without doing it. The device
// key is not made or changed. It returns the schema that the vault has.
func Rehearse(path string, source KeySource) (from uint32, err error) {
	if err := checkFile(path); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".rehearsal-*")
	if err != nil {
		return 0, fmt.Errorf("store: rehearsal: %w", err)
	}
	defer os.RemoveAll(dir)
	try := filepath.Join(dir, "vault.db")
	for _, suffix := range []string{"", headSuffix} {
		if err := copyFile(try+suffix, path+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("store: rehearsal: %w", err)
		}
	}
	db, err := openBolt(try, 0)
	if err != nil {
		return 0, err
	}
	err = guard(path, func() (err error) { from, err = (&Store{path: path, db: db}).schema(); return err })
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, err
	}
	s, err := Open(try, keyOnly{source}, Options{})
	if err != nil {
		return from, err
	}
	return from, errors.Join(s.View((*Tx).Verify), s.Close())
}

// keyOnly hides what a source could change.
type keyOnly struct{ KeySource }

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
