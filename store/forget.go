package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Forget destroys the person's key, removes everything of theirs, records
// that, and rewrites the file so that the old bytes are gone from it. When it
// returns nil or an error with a Receipt that has an audit number, the person
// is forgotten; Compacted tells whether the rewriting went through as well.
//
// On a flash card old blocks may live on below the file system; without the
// person's key, which is gone from the file, they are noise to everybody who
// does not have both an old copy of the card and the device key.
func (s *Store) Forget(user UserID, at time.Time) (Receipt, error) {
	r := Receipt{User: user, At: at}
	err := s.Update(func(tx *Tx) error {
		n, err := tx.erase(user)
		if err != nil {
			return err
		}
		r.Templates = n
		e, err := tx.Append(Entry{At: at, Kind: "forget", User: user, Outcome: "done"})
		r.Audit = e.Seq
		return err
	})
	if err != nil {
		return Receipt{}, err
	}
	if err := s.compact(); err != nil {
		return r, fmt.Errorf("store: %s is forgotten, but the old bytes are still in the file: %w", user, err)
	}
	r.Compacted = true
	return r, nil
}

// compact writes the vault anew, without what was deleted. The new file is
// opened, and so locked, before it takes the old one's name: no other process
// can come between.
func (s *Store) compact() error {
	s.swap.Lock()
	defer s.swap.Unlock()

	tmp := s.path + ".compact"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // left over from a power cut, and not removable
	}
	db, err := openBolt(tmp, time.Second)
	if err != nil {
		return err
	}
	err = bbolt.Compact(db, s.db, compactBatch)
	if err == nil {
		err = db.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, s.path)
	}
	if err != nil {
		return errors.Join(err, db.Close(), os.Remove(tmp))
	}
	old := s.db
	s.db = db
	// From here on the new file is the vault whatever happens.
	return errors.Join(syncDir(filepath.Dir(s.path)), old.Close())
}

// compactBatch bounds the memory of a rewriting: bytes in one transaction.
const compactBatch = 4 << 20
