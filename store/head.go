package store

import (
	"bytes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// headSuffix of the file beside the vault that holds its head.
const headSuffix = ".head"

// headRecord is what was last acknowledged. bbolt falls back to the
// transaction before when its newest meta page is damaged, and anybody can put
// an old copy of the file back; the commit counter gives both away, and the
// hash a vault with another past.
type headRecord struct {
	Commit uint64 `json:"commit"` // how often the vault was written
	Seq    uint64 `json:"seq"`    // newest audit entry, 0 for none
	Hash   Hash   `json:"hash"`   // of that entry
}

// advance counts this commit and returns the head that it makes. bbolt's
// transaction number would do for a counter, but starts anew when the file is
// rewritten.
func (tx *Tx) advance() (headRecord, error) {
	before, err := tx.state()
	if err != nil {
		return headRecord{}, err
	}
	h, err := tx.newest()
	if err != nil {
		return headRecord{}, err
	}
	h.Commit = before.Commit + 1
	return h, tx.putState(before, h)
}

// checkHead compares the vault with the head outside it. The head may be
// behind, after a power cut, but never ahead, and what it names must be in the
// chain.
func (tx *Tx) checkHead() error {
	now, err := tx.state()
	if err != nil || now.Commit == 0 {
		return err // a new vault
	}
	n := now.Commit
	h, there, ours, err := tx.s.readHead()
	if err != nil {
		return err
	}
	switch {
	case !there:
		return fmt.Errorf("store: the head file %s%s of the vault is gone or was emptied, so nothing tells whether an old copy was put back; put it back, or look at the vault and start once with --accept-vault: %w",
			tx.s.path, headSuffix, ErrRolledBack)
	case n < h.Commit && ours:
		return nil // written by this process since the transaction began
	case n < h.Commit:
		return fmt.Errorf("store: vault %s was written %d times, but %d times were seen: somebody put an old copy back, or its newest page was damaged; restore the newest copy, or look at the vault and start once with --accept-vault: %w",
			tx.s.path, n, h.Commit, ErrRolledBack)
	}
	base, err := tx.Base()
	if err != nil {
		return err
	}
	if h.Seq <= base.Seq {
		return nil // before the chain begins
	}
	v := tx.tx.Bucket(bucketAudit).Get(auditKey(h.Seq))
	if v == nil {
		return fmt.Errorf("store: vault %s has no audit entry %d, which was seen: %w", tx.s.path, h.Seq, ErrRolledBack)
	}
	_, found, err := tx.openEntry(auditKey(h.Seq), v)
	if err != nil {
		return err
	}
	if found.Hash != h.Hash {
		return fmt.Errorf("store: vault %s: audit entry %d is not the one that was seen; this vault has another past: %w", tx.s.path, h.Seq, ErrRolledBack)
	}
	return nil
}

// The head file has two slots, on flash pages of their own and written in
// turn, so that a power cut in the middle of a write costs one commit of
// watching and not the head. A slot is one line of JSON, padded with spaces to
// one length and sealed: less than a disk's sector. Schema 1 had one slot in
// the clear.
const (
	headSize  = 160
	slotApart = 4 << 10
	slotSize  = 24 + headSize + 16
)

// openHead opens the head file, makes it for a vault that was never written,
// and compares.
func (s *Store) openHead() error {
	path := s.path + headSuffix
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: head file: %w", err)
	}
	size := int64(0)
	if err == nil {
		s.head = f
		info, err := f.Stat()
		if err == nil {
			err = private(path, info)
		}
		if err != nil {
			return fmt.Errorf("store: head file: %w", err)
		}
		size = info.Size()
	}
	if err := s.View((*Tx).checkHead); err != nil {
		return err
	}
	if size != slotApart+slotSize {
		return s.makeHead()
	}
	return nil
}

// makeHead writes a new head file, whole and durable: what is acknowledged from
// now on must not outlive it.
func (s *Store) makeHead() error {
	var now state
	err := s.View(func(tx *Tx) (err error) { now, err = tx.state(); return err })
	if err != nil {
		return err
	}
	s.heads.Lock()
	defer s.heads.Unlock()
	path := s.path + headSuffix
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("store: head file: %w: %w", ErrHead, err)
	}
	h := headRecord{Commit: now.Commit, Seq: now.Seq, Hash: now.Hash}
	b, err := s.slot(h)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		_, err = f.WriteAt(b, slotApart)
	}
	if err == nil {
		err = errors.Join(f.Sync(), os.Rename(path+".new", path), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: head file: %w: %w", ErrHead, err), f.Close())
	}
	if s.head != nil {
		err = s.head.Close()
	}
	s.head, s.written = f, h.Commit
	return err
}

func (s *Store) slot(h headRecord) ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b = append(b, bytes.Repeat([]byte{' '}, headSize-len(b))...)
	return seal(s.seal, []byte(headSuffix), nil, b), nil
}

func (s *Store) writeHead(h headRecord) error {
	s.heads.Lock()
	defer s.heads.Unlock()
	if h.Commit <= s.written {
		return nil // a later commit came here first
	}
	b, err := s.slot(h)
	if err == nil {
		_, err = s.head.WriteAt(b, int64(h.Commit%2)*slotApart)
	}
	if err != nil {
		return fmt.Errorf("store: head file %s: %w: %w", s.path+headSuffix, ErrHead, err)
	}
	s.written = h.Commit
	return nil
}

// readHead returns the newer of the two slots, whether there is one, and
// whether this process wrote it.
func (s *Store) readHead() (h headRecord, there, ours bool, err error) {
	s.heads.Lock()
	defer s.heads.Unlock()
	if s.head == nil {
		return h, false, false, nil
	}
	b := make([]byte, slotApart+slotSize+1)
	n, err := s.head.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, false, false, fmt.Errorf("store: head file %s: %w", s.head.Name(), err)
	}
	if n == 0 {
		return h, false, false, nil
	}
	if h, err = parseHead(s.seal, b[:n]); err != nil {
		return h, false, false, fmt.Errorf("store: head file %s: %w; put back the one that belongs to the vault, or remove it, look at the vault and start once with --accept-vault", s.path+headSuffix, err)
	}
	return h, true, s.written != 0 && h.Commit <= s.written, nil
}

func parseHead(key cipher.AEAD, b []byte) (newest headRecord, err error) {
	switch len(b) {
	case headSize: // of schema 1
		return parseSlot(b)
	case slotApart + slotSize:
	default:
		return headRecord{}, fmt.Errorf("it has %d bytes, not %d: %w", len(b), slotApart+slotSize, ErrCorrupt)
	}
	found := false
	for _, at := range []int{0, slotApart} {
		n := key.NonceSize()
		slot := b[at : at+slotSize]
		plain, err := key.Open(nil, slot[:n], slot[n:], place([]byte(headSuffix), nil))
		if err != nil {
			continue
		}
		h, err := parseSlot(plain)
		if err != nil {
			return headRecord{}, err
		}
		if !found || h.Commit > newest.Commit {
			newest, found = h, true
		}
	}
	if !found {
		return headRecord{}, fmt.Errorf("neither half of it is what was written for this vault: %w", ErrCorrupt)
	}
	return newest, nil
}

func parseSlot(b []byte) (headRecord, error) {
	var h headRecord
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || len(b) != headSize {
		return headRecord{}, fmt.Errorf("it is not what was written: %w", ErrCorrupt)
	}
	return h, nil
}

// checkStarts compares the vault with the key source's own counter, which
// nobody can set back: a copy of the card from before the last start is older.
// The vault may be one ahead, where a power cut came between the two.
func (s *Store) checkStarts() error {
	source := s.source
	if looks, ok := source.(keyOnly); ok {
		source = looks.KeySource // to compare changes nothing
	}
	c, ok := source.(Counter)
	if !ok {
		return nil
	}
	counted, err := c.Count()
	if err != nil {
		return err
	}
	return s.View(func(tx *Tx) error {
		n, err := tx.number(keyStarts)
		if err != nil {
			return err
		}
		if n != 0 && n != counted && n != counted+1 { // 0: it never had a counter
			return fmt.Errorf("store: vault %s counts %d starts, the %v %d: somebody put an old copy back; restore the newest copy, or look at the vault and start once with --accept-vault: %w",
				s.path, n, s.source, counted, ErrRolledBack)
		}
		return nil
	})
}

// countStart counts this one, in the vault first. Where the one before was cut
// off between the two it is made up for, or the vault of that moment could be put
// back.
func (s *Store) countStart() error {
	c, ok := s.source.(Counter)
	if !ok {
		return nil
	}
	counted, err := c.Count()
	if err != nil {
		return err
	}
	var n uint64
	if err := s.View(func(tx *Tx) (err error) { n, err = tx.number(keyStarts); return err }); err != nil {
		return err
	}
	if n == counted+1 {
		if err := c.Advance(); err != nil {
			return err
		}
		counted++
	}
	if err := s.Update(func(tx *Tx) error { return tx.putNumber(keyStarts, counted+1) }); err != nil {
		return err
	}
	return c.Advance()
}

// accept takes the vault as it is and, where told, says so in the chain.
func (s *Store) accept(told bool) error {
	if err := s.makeHead(); err != nil {
		return err
	}
	if !told {
		return s.countStart()
	}
	err := s.Update(func(tx *Tx) error {
		_, err := tx.Append(Entry{At: s.now(), Kind: "accept", Outcome: "done", Reasons: []string{"rolled-back"}})
		return err
	})
	if err != nil {
		return err
	}
	return s.countStart()
}
