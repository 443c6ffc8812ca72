package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// Options of a vault. The zero value is right for the daemon.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file;
	// 0 means one second.
	Timeout time.Duration
	// Existing makes no vault where there is none (ErrNotFound).
	Existing bool
	// Accept opens a vault that was rolled back as it is, because an
	// administrator looked at it. The audit chain records that.
	Accept bool
	// Now is the clock of what the store itself puts into the audit chain; nil
	// means time.Now.
	Now func() time.Time

	unpacked bool // of a backup just now: it has no head yet, and that is nobody's to accept
}

// Store is an open vault. Its methods may be called concurrently; writers wait
// for one another.
type Store struct {
	path   string
	source KeySource
	now    func() time.Time
	swap   sync.RWMutex // held for writing while a rewriting replaces db and root
	db     *bbolt.DB
	root   *vaultKey // wrapped by the device key

	changes atomic.Uint64

	finishing sync.Mutex // held from an erasure's commit until it is finished
	backing   sync.Mutex // held from a backup's beginning until it is closed

	heads   sync.Mutex // guards what follows
	head    *os.File   // what was last acknowledged, outside bbolt
	seal    cipher.AEAD
	written uint64     // the commit that head names
	walked  headRecord // up to where this process walked the audit chain and found it whole
}

// Open opens the vault at path and makes it where there is none. It refuses,
// by a named error that says what to do, a file that others can open
// (ErrMode), that was cut short or damaged (ErrCorrupt), that another process
// has (ErrInUse), of a newer schema (ErrSchema), of another device key
// (ErrKey) and one that is older than it was (ErrRolledBack). A vault of an
// older schema is copied and brought up to date. An erasure that was cut off is
// finished, where that can be done now.
func Open(path string, source KeySource, o Options) (*Store, error) {
	return OpenContext(context.Background(), path, source, o)
}

// OpenContext is Open, and gives up when the context ends (ErrInterrupted): a
// migration may take minutes. What was migrated stays so.
func OpenContext(ctx context.Context, path string, source KeySource, o Options) (_ *Store, err error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{path: path, source: source, now: o.Now}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if o.Existing {
			err = absent(path)
		} else {
			err = s.create()
		}
		if err != nil {
			return nil, err
		}
	}
	if err := checkFile(path); err != nil {
		return nil, err
	}
	if s.db, err = openBolt(path, o.Timeout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := guard(path, func() error { return s.unlock(ctx) }); err != nil {
		return nil, err
	}
	if err := s.tidy(); err != nil {
		return nil, err
	}
	seen := s.openHead()
	if !o.unpacked {
		seen = errors.Join(seen, s.checkStarts())
	}
	switch {
	case seen == nil:
		err = s.countStart()
	case o.Accept && errors.Is(seen, ErrRolledBack):
		err = s.accept(!o.unpacked)
	default:
		err = seen
	}
	if err != nil {
		return nil, err
	}
	if _, looks := source.(keyOnly); !looks {
		// A full disk must not keep the door shut: what is still owed stays
		// noted, and whoever runs the vault calls Finish again and logs it.
		_ = s.Finish()
	}
	return s, nil
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
	case errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("store: vault %s: %w; a card that fails often becomes that: look into the kernel's log, and mount it for writing where it is sound", path, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("store: vault %s: %w: %w; make its folder writable for uid %d", path, ErrMode, err, os.Geteuid())
	}
	return nil, fmt.Errorf("store: vault %s: %w", path, err)
}

// absent says of a vault that is not there whether it ever was.
func absent(path string) error {
	if _, err := os.Lstat(path + headSuffix); err == nil {
		return fmt.Errorf("store: the vault %s is gone, but %s of it is there: put the vault back, or remove that file as well to begin anew: %w",
			path, path+headSuffix, ErrRolledBack)
	}
	return fmt.Errorf("store: there is no vault %s: does the configuration name another place? The daemon makes one at its first start: %w", path, ErrNotFound)
}

// create makes a vault beside path, whole and durable, and then gives it its
// name: a power cut leaves either none or one that opens.
func (s *Store) create() error {
	if err := absent(s.path); errors.Is(err, ErrRolledBack) {
		return err
	}
	key, err := keyOf(s.source.Key)
	if errors.Is(err, ErrNotFound) {
		key, err = keyOf(s.source.Make)
	}
	if err != nil {
		return err
	}
	defer clear(key)
	tmp, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+newSuffix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("store: vault %s cannot be made: %w; make its folder writable for uid %d: %w", s.path, err, os.Geteuid(), ErrMode)
	}
	defer os.Remove(tmp.Name())
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("store: vault %s cannot be made: %w", s.path, err)
	}
	db, err := openBolt(tmp.Name(), time.Second)
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := btx.CreateBucket(name); err != nil {
				return err
			}
		}
		root, head := newKey(), newKey()
		defer clear(root)
		defer clear(head)
		tx := &Tx{s: &Store{root: newVaultKey(root)}, tx: btx}
		b := btx.Bucket(bucketMeta)
		return errors.Join(
			b.Put(keySchema, binary.BigEndian.AppendUint32(nil, Version)),
			b.Put(keyRoot, sealRoot(keyRoot, key, root)),
			tx.put(bucketMeta, keyHead, head),
			tx.putNumber(keyStarts, 0),
			tx.SetLockout("", Lockout{}),
			tx.putState(state{}, headRecord{}))
	})
	if err = errors.Join(err, db.Close()); err == nil {
		err = os.Link(tmp.Name(), s.path) // fails where somebody was faster
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err = errors.Join(err, syncDir(filepath.Dir(s.path))); err != nil {
		return fmt.Errorf("store: vault %s cannot be made: %w", s.path, err)
	}
	return nil
}

// Suffixes of what is made beside a vault before it takes a name.
const (
	newSuffix     = ".new-"
	compactSuffix = ".compact"
)

// tidy removes what a power cut or a kill left beside the vault: whole vaults
// that never got its name, and the copies of a rehearsal or a restore. The lock
// on the vault keeps everybody else away.
func (s *Store) tidy() error {
	err := removeBeside(s.path, newSuffix)
	for _, name := range []string{s.path + compactSuffix, s.path + headSuffix + ".new"} {
		if e := os.Remove(name); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("store: left over from a power cut: %w", err)
	}
	return nil
}

// removeBeside removes the files and folders beside the vault at path that have
// its name followed by suffix and anything.
func removeBeside(path, suffix string) error {
	dir := filepath.Dir(path)
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+suffix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// unlock checks the schema and the buckets and opens the root key.
func (s *Store) unlock(ctx context.Context) error {
	schema, err := s.schema()
	if err != nil {
		return err
	}
	if schema < Version {
		return s.migrate(ctx, schema)
	}
	var wrapped []byte
	err = s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("store: vault %s has no bucket %s: %w", s.path, name, ErrCorrupt)
			}
		}
		wrapped = bytes.Clone(tx.Bucket(bucketMeta).Get(keyRoot))
		return nil
	})
	if err != nil {
		return err
	}
	root, err := s.openRoot(keyRoot, wrapped)
	if err != nil {
		return err
	}
	defer clear(root)
	if len(root) != KeySize {
		return fmt.Errorf("store: vault %s has a root key of %d bytes: %w", s.path, len(root), ErrCorrupt)
	}
	s.root = newVaultKey(root)
	return s.view(ctx, func(tx *Tx) error {
		head, err := tx.get(bucketMeta, keyHead)
		if err != nil || len(head) != KeySize {
			return fmt.Errorf("store: vault %s has no head key: %w: %w", s.path, err, ErrCorrupt)
		}
		defer clear(head)
		s.seal = newAEAD(head)
		return tx.checkState()
	})
}

func (s *Store) schema() (n uint32, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		if b == nil {
			return fmt.Errorf("store: %s is a bbolt file of something else; name another file with store.file, or move that away to begin anew: %w", s.path, ErrSchema)
		}
		v := b.Get(keySchema)
		if len(v) != 4 {
			return fmt.Errorf("store: vault %s states no schema: %w", s.path, ErrCorrupt)
		}
		if n = binary.BigEndian.Uint32(v); n == 0 || n > Version {
			return fmt.Errorf("store: vault %s has schema %d, this program knows up to %d; use the faceprint that wrote it, or newer: %w", s.path, n, Version, ErrSchema)
		}
		return nil
	})
	return n, err
}

// sealRoot wraps the root key, and names the device key that did it.
func sealRoot(at, device, root []byte) []byte {
	return append(seal(newAEAD(device), bucketMeta, at, root), KeyID(device)...)
}

// openRoot unwraps the root key, which stands at that key. Where the device key in use does not open it
// but the prepared one does, a power cut came between sealing and promoting,
// and the promotion is made up for. Only a vault that names the prepared key
// may ask for it: to have it, a TPM gives the key in use up.
func (s *Store) openRoot(at, wrapped []byte) ([]byte, error) {
	var id []byte // none in a vault of before it was named
	if n := len(wrapped) - keyIDSize; n == sealedRootSize {
		wrapped, id = wrapped[:n], wrapped[n:]
	}
	key, err := keyOf(s.source.Key)
	if err == nil {
		defer clear(key)
		plain, e := unseal(newAEAD(key), bucketMeta, at, wrapped)
		if e == nil && id != nil && !bytes.Equal(id, KeyID(key)) {
			clear(plain)
			return nil, fmt.Errorf("store: vault %s names another device key than the one that it is sealed with: %w", s.path, ErrCorrupt)
		}
		if e == nil {
			return plain, nil
		}
		where, _, _ := strings.Cut(s.source.String(), ": a thief")
		err = fmt.Errorf("store: vault %s was sealed with another key than the %s; put back the key that it was sealed with, or restore a backup: %w", s.path, where, ErrKey)
	}
	if looks, ok := s.source.(keyOnly); ok {
		return nil, looks.unfinished(s.path, id, err)
	}
	r, ok := s.source.(Rotator)
	if !ok {
		return nil, err
	}
	next, e := keyOf(func() ([]byte, error) { return r.Prepared(id) })
	if e != nil {
		if !errors.Is(e, ErrNotFound) {
			err = errors.Join(err, e)
		}
		return nil, err
	}
	defer clear(next)
	plain, e := unseal(newAEAD(next), bucketMeta, at, wrapped)
	if e != nil {
		return nil, err
	}
	return plain, r.Promote()
}

// Close lets go of the file and wipes the keys.
func (s *Store) Close() error {
	s.swap.Lock()
	defer s.swap.Unlock()
	err := s.db.Close()
	if s.root != nil {
		s.root.wipe()
	}
	s.heads.Lock()
	defer s.heads.Unlock()
	if s.seal != nil {
		wipe(s.seal)
	}
	if s.head != nil {
		err = errors.Join(err, s.head.Close())
	}
	return err
}

// Path of the vault.
func (s *Store) Path() string { return s.path }

// Key says where the device key is and what that protects against.
func (s *Store) Key() string { return s.source.String() }

// Tx is one transaction: what it read is of one moment, what it wrote is kept
// together or not at all.
type Tx struct {
	s      *Store
	tx     *bbolt.Tx
	ctx    context.Context // ends what reads much; nil: nothing does
	digest *digester       // of the records that came and went; nil: none
}

// View runs f on a moment of the vault.
func (s *Store) View(f func(*Tx) error) error { return s.view(context.Background(), f) }

// view ends with ErrInterrupted where f walks through records when the context
// ends.
func (s *Store) view(ctx context.Context, f func(*Tx) error) error {
	s.swap.RLock()
	defer s.swap.RUnlock()
	return guard(s.path, func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return f(&Tx{s: s, tx: tx, ctx: ctx}) })
	})
}

// Update runs f and keeps what it wrote. When it returns nil everything is on
// the disk; when it returns an error, nothing was changed, unless the error
// wraps ErrHead: then only the head file beside the vault could not follow.
func (s *Store) Update(f func(*Tx) error) error { return s.update(context.Background(), f) }

// update is to Update what view is to View.
func (s *Store) update(ctx context.Context, f func(*Tx) error) error {
	s.swap.RLock()
	defer s.swap.RUnlock()
	var head headRecord
	err := guard(s.path, func() error {
		return s.db.Update(func(btx *bbolt.Tx) error {
			tx := &Tx{s: s, tx: btx, ctx: ctx}
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
	s.changes.Add(1)
	return s.writeHead(head)
}

// Changes counts the Updates of this process that took hold. Who asks before a View
// knows later, by the number, whether what it saw still holds.
func (s *Store) Changes() uint64 { return s.changes.Load() }

// interrupted is why the context ended; nil where it did not, or is nil.
func interrupted(ctx context.Context) error {
	if ctx == nil || ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(ctx))
}

// put seals a record with the vault's root key.
func (tx *Tx) put(bucket, key, plain []byte) error {
	return tx.putWith(tx.s.root, bucket, key, plain)
}

func (tx *Tx) putWith(a cipher.AEAD, bucket, key, plain []byte) error {
	if n := len(plain) + leastSealed; len(key) == 0 || len(key) > maxKey || n > largest(bucket, key) { // the vault would not open again
		return fmt.Errorf("store: %s/%.32q is too long to be kept, with %d bytes below a key of %d: %w", bucket, key, n, len(key), ErrInvalid)
	}
	b, sealed := tx.tx.Bucket(bucket), seal(a, bucket, key, plain)
	tx.toggle(bucket, key, b.Get(key))
	tx.toggle(bucket, key, sealed)
	if err := b.Put(key, sealed); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// get opens a record that was sealed with the root key; ErrNotFound where
// there is none.
func (tx *Tx) get(bucket, key []byte) ([]byte, error) {
	return tx.getWith(tx.s.root, bucket, key)
}

func (tx *Tx) getWith(a cipher.AEAD, bucket, key []byte) ([]byte, error) {
	v := tx.tx.Bucket(bucket).Get(key)
	if v == nil {
		return nil, fmt.Errorf("store: %s/%q: %w", bucket, key, ErrNotFound)
	}
	return unseal(a, bucket, key, v)
}

// number and putNumber keep the vault's own counters.
func (tx *Tx) number(key []byte) (uint64, error) {
	b, err := tx.get(bucketMeta, key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("store: the counter %s of %d bytes: %w", key, len(b), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}

func (tx *Tx) putNumber(key []byte, n uint64) error {
	return tx.put(bucketMeta, key, binary.BigEndian.AppendUint64(nil, n))
}

// each calls f for every key of the bucket with the prefix, in order.
func (tx *Tx) each(bucket, prefix []byte, f func(key, sealed []byte) error) error {
	c := tx.tx.Bucket(bucket).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := interrupted(tx.ctx); err != nil {
			return err
		}
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) delete(bucket, key []byte) error {
	b := tx.tx.Bucket(bucket)
	tx.toggle(bucket, key, b.Get(key))
	if err := b.Delete(key); err != nil {
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
