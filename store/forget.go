package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Forget destroys the person's key, removes everything of theirs, records
// that, rewrites the file without the old bytes, and searches it for them. When
// it returns nil or an error with a Receipt that has an audit number, the
// person is forgotten; the Receipt tells how far the rest went.
//
// With a device key whose source can make the one before useless (a Counter, as
// a TPM is), the device key moves on as well: old copies of the vault, and
// backups without a recovery key, open for nobody. Without one, old blocks may
// live on below the file system of a flash card; they are noise to everybody
// who does not have both an old copy of the card and the device key.
func (s *Store) Forget(user UserID, at time.Time) (Receipt, error) {
	r := Receipt{User: user, At: at}
	var wrapped []byte // their key, as it stands in the file
	err := s.Update(func(tx *Tx) error {
		wrapped = bytes.Clone(tx.tx.Bucket(bucketKeys).Get([]byte(user)))
		n, err := tx.erase(user)
		if err != nil {
			return err
		}
		r.Templates = n
		e, err := tx.Append(Entry{At: at, Kind: "forget", User: user, Outcome: "done"})
		r.Audit = e.Seq
		return err
	})
	if err != nil && !errors.Is(err, ErrHead) {
		return Receipt{}, err
	}
	still := func(err error) error {
		return fmt.Errorf("store: %s is forgotten, but the old bytes are still in the file: %w", user, err)
	}
	if err := errors.Join(err, s.removeCopies()); err != nil {
		return r, still(err)
	}
	_, counts := s.source.(Counter)
	rotator, rotates := s.source.(Rotator)
	if counts && rotates {
		err = s.moveOn(rotator)
		r.KeyMoved = err == nil
	} else {
		err = s.Compact()
	}
	if err != nil {
		return r, still(err)
	}
	r.Compacted = true
	found, err := s.search([]byte(user), wrapped)
	if err != nil {
		return r, fmt.Errorf("store: %s is forgotten, but the file could not be searched: %w", user, err)
	}
	if found {
		return r, still(ErrCorrupt)
	}
	r.Searched = true
	return r, nil
}

// search reads the whole file, free pages too, for any of the words.
func (s *Store) search(words ...[]byte) (bool, error) {
	s.swap.RLock()
	defer s.swap.RUnlock()
	f, err := os.Open(s.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	longest := 0
	for _, w := range words {
		longest = max(longest, len(w))
	}
	b := make([]byte, 1<<20)
	kept := 0 // from the block before, so that a word across the border is found
	for {
		n, err := io.ReadFull(f, b[kept:])
		for _, w := range words {
			if len(w) > 0 && bytes.Contains(b[:kept+n], w) {
				return true, nil
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(b, b[kept+n-longest:kept+n])
	}
}
