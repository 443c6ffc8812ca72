package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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

// commits is the vault's own counter. bbolt's transaction number would do, but
// starts anew when the file is compacted.
func (tx *Tx) commits() (uint64, error) {
	b, err := tx.get(bucketMeta, keyCommits)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("store: a commit counter of %d bytes: %w", len(b), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}

// advance counts this commit and returns the head that it makes.
func (tx *Tx) advance() (headRecord, error) {
	n, err := tx.commits()
	if err != nil {
		return headRecord{}, err
	}
	h, err := tx.newest()
	if err != nil {
		return headRecord{}, err
	}
	h.Commit = n + 1
	return h, tx.put(bucketMeta, keyCommits, binary.BigEndian.AppendUint64(nil, h.Commit))
}

// checkHead compares the vault with the head outside it. The head may be
// behind, after a power cut, but never ahead, and what it names must be in the
// chain.
func (tx *Tx) checkHead() error {
	h, err := readHead(tx.s.head)
	if err != nil {
		return err
	}
	n, err := tx.commits()
	if err != nil {
		return err
	}
	if n < h.Commit {
		return fmt.Errorf("store: vault %s was written %d times, but %d times were seen: somebody put an old copy back, or its newest page was damaged; restore the newest copy: %w",
			tx.s.path, n, h.Commit, ErrRolledBack)
	}
	if h.Seq == 0 {
		return nil
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

func openHead(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: head file: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		err = private(path, info)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: head file: %w", err), f.Close())
	}
	return f, nil
}

// The head file is one line of JSON, padded with spaces to one length, so that
// it is overwritten in place in one write of less than a disk's sector.
const headSize = 160

func (s *Store) writeHead(h headRecord) error {
	s.heads.Lock()
	defer s.heads.Unlock()
	if h.Commit <= s.written {
		return nil // a later commit came here first
	}
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("store: head file: %w", err)
	}
	b = append(b, bytes.Repeat([]byte{' '}, headSize-len(b))...)
	if _, err := s.head.WriteAt(b, 0); err != nil {
		return fmt.Errorf("store: head file %s: %w: %w", s.head.Name(), ErrHead, err)
	}
	s.written = h.Commit
	return nil
}

// readHead returns the zero head for an empty file: a new vault.
func readHead(f *os.File) (headRecord, error) {
	b := make([]byte, headSize+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return headRecord{}, fmt.Errorf("store: head file %s: %w", f.Name(), err)
	}
	if n == 0 {
		return headRecord{}, nil
	}
	h, err := parseHead(b[:n])
	if err != nil {
		return h, fmt.Errorf("store: head file %s: %w; if the disk was at fault, remove that file after `faceprint audit` was looked at", f.Name(), err)
	}
	return h, nil
}

func parseHead(b []byte) (headRecord, error) {
	var h headRecord
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || len(b) != headSize || h.Commit == 0 {
		return headRecord{}, fmt.Errorf("it is not what was written: %w", ErrCorrupt)
	}
	return h, nil
}
