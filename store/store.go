package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Options of a vault. The zero value is right for the daemon.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file;
	// 0 means one second.
	Timeout time.Duration
}

// Store is an open vault. Its methods may be called concurrently; writers wait
// for one another.
type Store struct {
	path   string
	source KeySource
	swap   sync.RWMutex // held for writing while compact replaces db
	db     *bbolt.DB
	device cipher.AEAD

	heads   sync.Mutex // guards what follows
	head    *os.File   // what was last acknowledged, outside bbolt
	written uint64     // the commit that head names
}

// Open opens the vault at path and makes it where there is none. It refuses,
// by a named error that says what to do, a file that others can open
// (ErrMode), that was cut short or damaged (ErrCorrupt), that another process
// has (ErrInUse), of a newer schema (ErrSchema), of another device key
// (ErrKey) and one that is older than it was (ErrRolledBack).
func Open(path string, source KeySource, o Options) (_ *Store, err error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if err := checkFile(path); err != nil {
		return nil, err
	}
	key, err := source.Key()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != KeySize {
		return nil, fmt.Errorf("store: the device key has %d bytes, not %d: %w", len(key), KeySize, ErrKey)
	}

	s := &Store{path: path, source: source, device: newAEAD(key)}
	if s.db, err = openBolt(path, o.Timeout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := guard(path, s.prepare); err != nil {
		return nil, err
	}
	if s.head, err = openHead(path + headSuffix); err != nil {
		return nil, err
	}
	return s, s.View(func(tx *Tx) error { return tx.checkHead() })
}

func openBolt(path string, timeout time.Duration) (*bbolt.DB, error) {
	var db *bbolt.DB
	var file *os.File
	err := guard(path, func() (err error) { // it reads the list of free pages
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: timeout, FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	if err != nil && file != nil {
		file.Close() // where bbolt panicked it still has the file and its lock; elsewhere this does nothing
	}
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("store: vault %s: another process has it (a second faceprintd?); stop that one first: %w", path, ErrInUse)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("store: vault %s: %w: %w; make its folder writable for uid %d", path, ErrMode, err, os.Geteuid())
	}
	return nil, fmt.Errorf("store: vault %s: %w", path, err)
}

// prepare makes the buckets of a new vault, or checks the schema and the key
// of an old one.
func (s *Store) prepare() error {
	fresh := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		if b == nil {
			if k, _ := tx.Cursor().First(); k != nil {
				return fmt.Errorf("store: %s is a bbolt file of something else: %w", s.path, ErrSchema)
			}
			fresh = true
			return nil
		}
		v := b.Get(keySchema)
		if len(v) != 4 {
			return fmt.Errorf("store: vault %s states no schema: %w", s.path, ErrCorrupt)
		}
		if n := binary.BigEndian.Uint32(v); n != Version {
			return fmt.Errorf("store: vault %s has schema %d, this program knows %d; use the faceprint that wrote it, or newer: %w", s.path, n, Version, ErrSchema)
		}
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("store: vault %s has no bucket %s: %w", s.path, name, ErrCorrupt)
			}
		}
		if _, err := unseal(s.device, bucketMeta, keyCheck, b.Get(keyCheck)); err != nil {
			return fmt.Errorf("store: vault %s was sealed with another key than the %v: %w", s.path, s.source, ErrKey)
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketMeta)
		return errors.Join(
			b.Put(keySchema, binary.BigEndian.AppendUint32(nil, Version)),
			b.Put(keyCheck, seal(s.device, bucketMeta, keyCheck, nil)),
			(&Tx{s: s, tx: tx}).put(bucketMeta, keyCommits, make([]byte, 8)),
			(&Tx{s: s, tx: tx}).SetLockout("", Lockout{}))
	})
	if err != nil {
		return fmt.Errorf("store: vault %s cannot be made: %w", s.path, err)
	}
	return syncDir(filepath.Dir(s.path))
}

// Close lets go of the file.
func (s *Store) Close() error {
	var err error
	if s.head != nil {
		err = s.head.Close()
	}
	return errors.Join(err, s.db.Close())
}

// Path of the vault.
func (s *Store) Path() string { return s.path }

// Key says where the device key is and what that protects against.
func (s *Store) Key() string { return s.source.String() }

// Tx is one transaction: what it read is of one moment, what it wrote is kept
// together or not at all.
type Tx struct {
	s  *Store
	tx *bbolt.Tx
}

// View runs f on a moment of the vault.
func (s *Store) View(f func(*Tx) error) error {
	s.swap.RLock()
	defer s.swap.RUnlock()
	return guard(s.path, func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return f(&Tx{s: s, tx: tx}) })
	})
}

// Update runs f and keeps what it wrote. When it returns nil everything is on
// the disk; when it returns an error, nothing was changed, unless the error
// wraps ErrHead: then only the head file beside the vault could not follow.
func (s *Store) Update(f func(*Tx) error) error {
	s.swap.RLock()
	defer s.swap.RUnlock()
	var head headRecord
	err := guard(s.path, func() error {
		return s.db.Update(func(btx *bbolt.Tx) error {
			tx := &Tx{s: s, tx: btx}
			if err := f(tx); err != nil {
				return err
			}
			var err error
			head, err = tx.advance()
			return err
		})
	})
	if err != nil {
		return err
	}
	return s.writeHead(head)
}

// put seals a record with the device key.
func (tx *Tx) put(bucket, key, plain []byte) error {
	return tx.putWith(tx.s.device, bucket, key, plain)
}

func (tx *Tx) putWith(a cipher.AEAD, bucket, key, plain []byte) error {
	if err := tx.tx.Bucket(bucket).Put(key, seal(a, bucket, key, plain)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// get opens a record that was sealed with the device key; ErrNotFound where
// there is none.
func (tx *Tx) get(bucket, key []byte) ([]byte, error) {
	return tx.getWith(tx.s.device, bucket, key)
}

func (tx *Tx) getWith(a cipher.AEAD, bucket, key []byte) ([]byte, error) {
	v := tx.tx.Bucket(bucket).Get(key)
	if v == nil {
		return nil, fmt.Errorf("store: %s/%q: %w", bucket, key, ErrNotFound)
	}
	return unseal(a, bucket, key, v)
}

// each calls f for every key of the bucket with the prefix, in order.
func (tx *Tx) each(bucket, prefix []byte, f func(key, sealed []byte) error) error {
	c := tx.tx.Bucket(bucket).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) delete(bucket, key []byte) error {
	if err := tx.tx.Bucket(bucket).Delete(key); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// record is what is kept as JSON inside its seal.
type record interface{ check() error }

func encode(r record) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrInvalid, err)
	}
	return b, nil
}

// decode accepts only what encode would write: known fields, in that order,
// and nothing after them.
func decode[R record](b []byte) (R, error) {
	var r R
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("store: a record does not decode: %w: %w", ErrCorrupt, err)
	}
	again, err := encode(r)
	if err != nil {
		return r, fmt.Errorf("store: a record that would not have been written: %w: %w", ErrCorrupt, err)
	}
	if !bytes.Equal(again, b) {
		return r, fmt.Errorf("store: a record is not in the form that it is written in: %w", ErrCorrupt)
	}
	return r, nil
}

// Hash is a link of the audit chain: SHA-256 of the entry's encoding, which
// contains the hash of the entry before.
type Hash [sha256.Size]byte

// MarshalText gives hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads lower-case hexadecimal.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) {
		return fmt.Errorf("store: a hash of %d characters: %w", len(b), ErrInvalid)
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("store: a hash: %w: %w", ErrInvalid, err)
	}
	return nil
}

// String gives hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }
