package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A backup is a tar file, encrypted with age to the operator's key: what it is
// (backup.json), the vault as it stood at one moment (vault.db), whose root key
// only this device's key opens, and, where the owner gave a recovery key, the
// root key encrypted to that (recovery.age). The operator alone can restore it
// on this device and read nothing of it elsewhere.

// BackupKeys say who can open a backup. The operator's opens the backup, the owner's recovery key moves
// it to another device.
type BackupKeys struct {
	Operator []string // age recipients (age1...)
	Recovery []string // the same; empty: only this device can restore it
}

// Check tells whether they are keys.
func (k BackupKeys) Check() error {
	if _, err := recipients(k.Operator); err != nil {
		return fmt.Errorf("store: the operator's key: %w", err)
	}
	if len(k.Recovery) == 0 {
		return nil
	}
	if _, err := recipients(k.Recovery); err != nil {
		return fmt.Errorf("store: the recovery key: %w", err)
	}
	return nil
}

// backupNote is backup.json.
type backupNote struct {
	Format uint32    `json:"format"`
	Schema uint32    `json:"schema"`
	At     time.Time `json:"at"`
	Seq    uint64    `json:"seq"` // newest audit entry
	Hash   Hash      `json:"hash"`
}

const (
	backupFormat   = 1
	backupNoteFile = "backup.json"
	backupVault    = "vault.db"
	backupRecovery = "recovery.age"
	maxNote        = 4 << 10  // bytes
	maxVault       = 64 << 30 // bytes
)

func (n backupNote) check() error {
	if n.Format != backupFormat || n.Schema == 0 || n.At.IsZero() {
		return fmt.Errorf("store: a backup of format %d: %w", n.Format, ErrInvalid)
	}
	return nil
}

func recipients(texts []string) ([]age.Recipient, error) {
	rs, err := age.ParseRecipients(strings.NewReader(strings.Join(texts, "\n")))
	if err != nil {
		return nil, fmt.Errorf("%w; it takes the public key itself, age1..., as age-keygen prints it, and no file: %w", err, ErrInvalid)
	}
	return rs, nil
}

// Backup is one that is whole and waits to be read. It is in a file without a
// name, encrypted as it will be given out, and gone when it is closed.
type Backup struct {
	file *os.File
	done func()
}

// Read reads on.
func (b *Backup) Read(p []byte) (int, error) { return b.file.Read(p) }

// Size is its length in bytes.
func (b *Backup) Size() (int64, error) {
	info, err := b.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("store: backup: %w", err)
	}
	return info.Size(), nil
}

// Close gives its room on the disk back and lets the next backup begin.
func (b *Backup) Close() error {
	defer b.done()
	return b.file.Close()
}

// Backup makes a backup of what is committed now, one at a time (ErrInUse), as
// long as there is room for it beside the vault (ErrSpace). The vault stays in
// use: nobody waits for whoever reads the backup, which may be slow or stop.
func (s *Store) Backup(keys BackupKeys, at time.Time) (_ *Backup, err error) {
	if err := keys.Check(); err != nil {
		return nil, err
	}
	operator, err := recipients(keys.Operator)
	if err != nil {
		return nil, err
	}
	var recovery []byte
	if len(keys.Recovery) > 0 {
		// An erasure may replace the root key: this one must be the one of the vault
		// that goes with it, and both ask the key's source.
		s.finishing.Lock()
		defer s.finishing.Unlock()
		if recovery, err = s.recovery(keys.Recovery); err != nil {
			return nil, err
		}
	}
	if !s.backing.TryLock() {
		return nil, fmt.Errorf("store: another backup is being read; try again when it is done: %w", ErrInUse)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+newSuffix+"*") // mode 0600; tidy removes it
	if err != nil {
		s.backing.Unlock()
		return nil, fmt.Errorf("store: backup: %w", err)
	}
	b := &Backup{f, s.backing.Unlock}
	if err = os.Remove(f.Name()); errors.Is(err, os.ErrNotExist) {
		err = nil // an erasure was faster
	}
	if err == nil {
		err = s.writeBackup(f, operator, recovery, at)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: backup: %w", err), b.Close())
	}
	return b, nil
}

// backupSpare is what a backup leaves of the disk, in bytes: where the vault
// cannot be written, nobody is let in.
const backupSpare = 16 << 20

// checkRoom refuses a backup of so many bytes that would fill the disk.
func (s *Store) checkRoom(size int64) error {
	var fs unix.Statfs_t
	dir := filepath.Dir(s.path)
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	need := uint64(size + size>>10 + backupSpare) // age adds 16 bytes to 64 KiB
	if free := fs.Bavail * uint64(fs.Bsize); free < need {
		return fmt.Errorf("%d MiB are free at %s, a backup needs %d MiB there while it is made; make room: %w", free>>20, dir, need>>20+1, ErrSpace)
	}
	return nil
}

// fullDisk names what a write to a full disk says; bbolt drops the cause.
type fullDisk struct {
	io.Writer
	full error
}

func (w *fullDisk) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if errors.Is(err, unix.ENOSPC) {
		w.full = ErrSpace
	}
	return n, err
}

func (s *Store) writeBackup(w io.Writer, operator []age.Recipient, recovery []byte, at time.Time) error {
	disk := &fullDisk{Writer: w}
	sealed, err := age.Encrypt(disk, operator...)
	if err != nil {
		return errors.Join(err, disk.full)
	}
	out := tar.NewWriter(sealed)
	add := func(name string, size int64, content io.WriterTo) error {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at}); err != nil {
			return err
		}
		_, err := content.WriteTo(out)
		return err
	}
	err = s.View(func(tx *Tx) error {
		if err := s.checkRoom(tx.tx.Size()); err != nil {
			return err
		}
		note := backupNote{Format: backupFormat, Schema: Version, At: at.UTC()}
		if note.Seq, note.Hash, err = tx.AuditHead(); err != nil {
			return err
		}
		b, err := encode(note)
		if err != nil {
			return err
		}
		if err := add(backupNoteFile, int64(len(b)), bytes.NewReader(b)); err != nil {
			return err
		}
		if recovery != nil {
			if err := add(backupRecovery, int64(len(recovery)), bytes.NewReader(recovery)); err != nil {
				return err
			}
		}
		return add(backupVault, tx.tx.Size(), tx.tx)
	})
	if err == nil { // a tar that was cut off has nothing to close
		err = errors.Join(out.Close(), sealed.Close())
	}
	return errors.Join(err, disk.full)
}

// recovery is the root key, encrypted to the owner.
func (s *Store) recovery(keys []string) ([]byte, error) {
	to, err := recipients(keys)
	if err != nil {
		return nil, err
	}
	root, err := s.rootKey()
	if err != nil {
		return nil, err
	}
	defer clear(root)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err == nil {
		_, err = w.Write(root)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("store: recovery key: %w", err)
	}
	return b.Bytes(), nil
}

// RestoreOptions say with what a backup is opened.
type RestoreOptions struct {
	Operator io.Reader // age identities (AGE-SECRET-KEY-1...)
	Recovery io.Reader // the same, of the owner; nil: the backup is of this device
	Replace  bool      // whether a vault that is there gives way
	// WithoutForgotten restores although the vault that gives way cannot tell
	// who was forgotten: who was, since the backup, comes back.
	WithoutForgotten bool
	At               time.Time
}

// Restored tells what came back.
type Restored struct {
	At        time.Time // of the backup
	People    int
	Forgotten int  // people of the backup who were forgotten since, and are again
	Replaced  bool // whether there was a vault before
	Moved     bool // whether it came from another device, or from before the device key moved on
}

// Restore makes the vault at path of a backup. Whoever was forgotten since, by
// the vault that is replaced, is forgotten in what comes back as well; where
// that vault cannot tell, Restore refuses (ErrCorrupt, or why it does not open;
// ErrRolledBack where it is gone, but was there) unless WithoutForgotten. Of the
// lock-outs of both vaults the stricter hold. Nothing is changed before the
// whole of the backup was read and found sound, nor where the context ends
// before that (ErrInterrupted).
func Restore(ctx context.Context, path string, source KeySource, backup io.Reader, o RestoreOptions) (r Restored, err error) {
	before, release, err := replaced(ctx, path, source, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	dir, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+newSuffix+"restore-*") // mode 0700; tidy removes it
	if err != nil {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, backupVault)
	note, recovery, err := unpack(tmp, reading{ctx, backup}, o.Operator)
	if cut := interrupted(ctx); cut != nil {
		err = cut
	}
	if err != nil {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	r.At, r.Replaced = note.At, before.there
	if err := checkFile(tmp); err != nil {
		return r, err
	}
	kept, made := false, false
	defer func() {
		if d, can := source.(interface{ Destroy() error }); made && !kept && can { // it wraps nothing
			err = errors.Join(err, d.Destroy())
		}
	}()
	s, err := OpenContext(ctx, tmp, keyOnly{source}, Options{Accept: true, unpacked: true, Now: func() time.Time { return o.At }})
	if errors.Is(err, ErrKey) && o.Recovery != nil {
		r.Moved = true
		if made, err = rewrap(tmp, source, recovery, o.Recovery); err == nil {
			s, err = OpenContext(ctx, tmp, keyOnly{source}, Options{Accept: true, unpacked: true, Now: func() time.Time { return o.At }})
		}
	}
	switch {
	case o.Recovery != nil:
	case errors.Is(err, ErrKey) && errors.Is(err, ErrNotFound):
		err = fmt.Errorf("there is no device key; put back the one that you keep, or restore with the owner's recovery key: %w", ErrNotFound)
	case errors.Is(err, ErrKey):
		err = fmt.Errorf("%w; a backup of another device, or from before the device key was replaced, needs the owner's recovery key", err)
	}
	if err != nil {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	// The source's own counter moves on when all is done, like its key: until
	// then the vault that is there must still open.
	counter, counts := source.(Counter)
	err = s.update(ctx, func(tx *Tx) error {
		if err := errors.Join(tx.Verify(), tx.delete(bucketMeta, keyDue)); err != nil { // it is compacted below
			return err
		}
		if err := tx.keepForgotten(before.gone.Users, before.gone.Whole); err != nil {
			return err
		}
		for _, user := range before.gone.Users {
			switch _, err := tx.erase(user); {
			case err == nil:
				r.Forgotten++
			case !errors.Is(err, ErrNotFound):
				return err
			}
		}
		users, err := tx.Users()
		r.People = len(users)
		if err != nil {
			return err
		}
		for _, user := range append(users, "") {
			now, there := before.lockouts[user]
			if !there {
				continue
			}
			old, err := tx.Lockout(user)
			if err == nil {
				err = tx.SetLockout(user, now.atLeast(old))
			}
			if err != nil {
				return err
			}
		}
		// The entries since the backup go; the chain tells how far it was.
		reasons := []string{"backup-of-" + note.At.UTC().Format(time.RFC3339), "replaced-unknown"}
		switch {
		case before.read:
			reasons[1] = fmt.Sprintf("replaced-%d-%v", before.seq, before.hash)
		case !before.there && before.gone.Whole:
			reasons[1] = "replaced-nothing"
		}
		if _, err := tx.Append(Entry{At: o.At, Kind: "restore", Outcome: "done", Reasons: reasons}); err != nil || !counts {
			return err
		}
		starts, err := counter.Count()
		if err != nil {
			return err
		}
		return tx.putNumber(keyStarts, starts+1)
	})
	if err == nil {
		err = s.rewrite(ctx, asItIs, nil)
	}
	if err = errors.Join(err, s.Close()); err == nil {
		err = interrupted(ctx)
	}
	if err != nil {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	kept = true
	// Without a head no vault starts unasked, so neither half of this can be
	// taken for the whole.
	if err := os.Remove(path + headSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	err = errors.Join(os.Rename(tmp, path), os.Rename(tmp+headSuffix, path+headSuffix), syncDir(filepath.Dir(path)))
	if err == nil && counts {
		err = counter.Advance()
	}
	if err != nil {
		return r, fmt.Errorf("store: restore: %w", err)
	}
	return r, nil
}

// predecessor is what a restored vault takes from the one that it replaces.
type predecessor struct {
	there    bool
	read     bool   // what follows
	seq      uint64 // newest audit entry
	hash     Hash
	gone     forgottenList
	lockouts map[UserID]Lockout
}

// replaced reads the vault that is there and holds it so that nobody uses it
// meanwhile.
func replaced(ctx context.Context, path string, source KeySource, o RestoreOptions) (p predecessor, release func() error, err error) {
	release = func() error { return nil }
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err = wasThere(path, source); err != nil && !o.WithoutForgotten {
			return p, nil, cannotTell(err)
		}
		p.gone.Whole = err == nil
		return p, release, nil
	}
	p.there = true
	if !o.Replace {
		return p, nil, fmt.Errorf("store: there is a vault %s; it is only replaced when that is asked for (--replace): %w", path, ErrExists)
	}
	s, err := OpenContext(ctx, path, keyOnly{source}, Options{})
	if errors.Is(err, ErrInUse) || errors.Is(err, ErrInterrupted) || errors.Is(err, unix.EROFS) {
		return p, nil, err
	}
	if err == nil {
		release = s.Close
		if err = s.view(ctx, p.from); err == nil && !p.gone.Whole {
			err = fmt.Errorf("store: vault %s: its audit chain was pruned by a faceprint that kept no list of them, or it was itself restored without one: %w", path, ErrCorrupt)
		}
	}
	if err == nil {
		return p, release, nil
	}
	p.gone.Whole = false
	if errors.Is(err, ErrInterrupted) {
		return p, nil, errors.Join(err, release())
	}
	if o.WithoutForgotten { // damage is what backups are for
		return p, release, nil
	}
	return p, nil, errors.Join(cannotTell(err), release())
}

func cannotTell(why error) error {
	return fmt.Errorf("store: the vault that would be replaced cannot tell who was forgotten or locked out since the backup, and they would come back: %w; mend that, or restore with --without-forgotten and forget them again", why)
}

// wasThere tells by what is left of it whether there was a vault at path: its
// head file, or a key with a count of its starts.
func wasThere(path string, source KeySource) error {
	gone := func(left string) error {
		return fmt.Errorf("the vault %s is gone, but %s is there: %w", path, left, ErrRolledBack)
	}
	if _, err := os.Lstat(path + headSuffix); !errors.Is(err, os.ErrNotExist) {
		return gone("its head file " + path + headSuffix)
	}
	if _, counts := source.(Counter); !counts {
		return nil
	}
	key, err := source.Key()
	clear(key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return gone("the " + source.String() + ", which has counted its starts,")
}

func (p *predecessor) from(tx *Tx) error {
	users, err := tx.Users()
	if err != nil {
		return err
	}
	p.lockouts = map[UserID]Lockout{}
	for _, user := range append(users, "") {
		if p.lockouts[user], err = tx.Lockout(user); err != nil {
			return err
		}
	}
	if p.gone, err = tx.forgotten(); err == nil {
		p.seq, p.hash, err = tx.AuditHead()
	}
	p.read = err == nil
	return err
}

// unpack writes the vault of a backup to a file and returns the rest.
func unpack(to string, backup, operator io.Reader) (note backupNote, recovery []byte, err error) {
	ids, err := age.ParseIdentities(operator)
	if err != nil {
		return note, nil, fmt.Errorf("age identities: %w: %w", err, ErrInvalid)
	}
	sealed := bufio.NewReader(backup)
	if _, err := sealed.Peek(1); errors.Is(err, io.EOF) {
		return note, nil, fmt.Errorf("the backup is empty: %w", ErrCorrupt)
	} else if err != nil {
		return note, nil, err
	}
	plain, err := age.Decrypt(sealed, ids...)
	if other := (*age.NoIdentityMatchError)(nil); errors.As(err, &other) {
		return note, nil, fmt.Errorf("the backup does not open with that key: %w: %w", err, ErrKey)
	}
	if err != nil {
		return note, nil, fmt.Errorf("the backup is none, or its beginning is damaged: %w: %w", err, ErrCorrupt)
	}
	return untar(to, plain)
}

// damagedBackup is the error of a backup that is not what was written; why may be
// nil.
func damagedBackup(why error) error {
	if why == nil {
		return fmt.Errorf("the backup is damaged; try another copy of it: %w", ErrCorrupt)
	}
	return fmt.Errorf("the backup is damaged; try another copy of it: %w: %w", why, ErrCorrupt)
}

// untar writes the vault of a backup's tar to a file and returns the rest.
func untar(to string, plain io.Reader) (note backupNote, recovery []byte, err error) {
	in := tar.NewReader(plain)
	seen := map[string]bool{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || h.Typeflag != tar.TypeReg || seen[h.Name] || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" { // a little must not become much
			return note, nil, damagedBackup(err)
		}
		seen[h.Name] = true
		switch {
		case h.Name == backupNoteFile && h.Size <= maxNote:
			b, err := io.ReadAll(in)
			if err == nil {
				note, err = decode[backupNote](b)
			}
			if err != nil {
				return note, nil, err
			}
			if note.Schema > Version {
				return note, nil, fmt.Errorf("the backup is of schema %d, this program knows up to %d: %w", note.Schema, Version, ErrSchema)
			}
		case h.Name == backupRecovery && h.Size <= maxNote:
			if recovery, err = io.ReadAll(in); err != nil {
				return note, nil, damagedBackup(err)
			}
		case h.Name == backupVault && h.Size <= maxVault:
			f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return note, nil, err
			}
			_, err = io.Copy(f, in)
			if err = errors.Join(err, f.Sync(), f.Close()); errors.Is(err, unix.ENOSPC) {
				return note, nil, err
			}
			if err != nil {
				return note, nil, damagedBackup(err)
			}
		default:
			return note, nil, fmt.Errorf("the backup holds %.40q of %d bytes: %w", h.Name, h.Size, ErrCorrupt)
		}
	}
	if !seen[backupNoteFile] || !seen[backupVault] {
		return note, nil, fmt.Errorf("the backup is not whole: %w", ErrCorrupt)
	}
	// What is left is read, so that a cut end is noticed.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return note, nil, damagedBackup(err)
	}
	return note, recovery, nil
}

// rewrap gives the vault of another device this one's key, which it makes where
// there is none.
func rewrap(path string, source KeySource, recovery []byte, owner io.Reader) (made bool, err error) {
	if recovery == nil {
		return false, fmt.Errorf("the backup was made without a recovery key: %w", ErrKey)
	}
	ids, err := age.ParseIdentities(owner)
	if err != nil {
		return false, fmt.Errorf("recovery key: %w: %w", err, ErrInvalid)
	}
	plain, err := age.Decrypt(bytes.NewReader(recovery), ids...)
	if err != nil {
		return false, fmt.Errorf("the recovery key is not the one of the backup: %w: %w", err, ErrKey)
	}
	root, err := io.ReadAll(io.LimitReader(plain, KeySize+1))
	defer clear(root)
	if err != nil || len(root) != KeySize {
		return false, fmt.Errorf("the recovery key of the backup is damaged: %w: %w", err, ErrCorrupt)
	}
	key, err := keyOf(source.Key)
	if errors.Is(err, ErrNotFound) {
		key, err = keyOf(source.Make)
		made = err == nil
	}
	if err != nil {
		return made, err
	}
	defer clear(key)
	db, err := openBolt(path, time.Second)
	if err != nil {
		return made, err
	}
	err = guard(path, func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketMeta)
			if b == nil {
				return fmt.Errorf("no bucket %s: %w", bucketMeta, ErrCorrupt)
			}
			t := &Tx{s: &Store{root: newVaultKey(root)}, tx: tx}
			if b.Get(keyRoot) == nil { // of before the digest
				_, err := t.number(keyCommits3) // is it the right root key at all?
				return errors.Join(err, b.Put(keyRoot3, sealRoot(keyRoot3, key, root)), t.putNumber(keyStarts, 0))
			}
			now, err := t.state() // the same
			return errors.Join(err, b.Put(keyRoot, sealRoot(keyRoot, key, root)), t.putNumber(keyStarts, 0),
				t.putState(now, headRecord{Commit: now.Commit, Seq: now.Seq, Hash: now.Hash}))
		})
	})
	return made, errors.Join(err, db.Close())
}
