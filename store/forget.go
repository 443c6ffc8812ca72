package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	s.finishing.Lock()
	defer s.finishing.Unlock()
	r := Receipt{User: user, At: at}
	var wrapped []byte // their key, as it stands in the file
	err := s.Update(func(tx *Tx) error {
		wrapped = bytes.Clone(tx.tx.Bucket(bucketKeys).Get([]byte(user)))
		n, err := tx.erase(user)
		if err != nil {
			return err
		}
		r.Templates = n
		owes := dueCompact
		if s.movesOn() {
			owes = dueMove
		}
		if err := tx.owe(owes); err != nil {
			return err
		}
		e, err := tx.Append(Entry{At: at, Kind: "forget", User: user, Outcome: "done"})
		r.Audit = e.Seq
		return err
	})
	if err != nil && !errors.Is(err, ErrHead) {
		return Receipt{}, err
	}
	still := func(err error) error {
		return fmt.Errorf("store: %s is forgotten, but the old bytes, their key among them, are still in the file; the next start tries again: %w", user, err)
	}
	if err != nil {
		return r, still(err)
	}
	if r.Compacted, r.KeyMoved, err = s.finish(); !r.Compacted {
		return r, still(err)
	}
	if err != nil {
		return r, fmt.Errorf("store: %s is forgotten, but the device key has not moved on; the next start tries again: %w", user, err)
	}
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

// What an erasure owes after its commit: without it the person's key, wrapped,
// is in a free page and opens with the device key.
const (
	dueCompact uint64 = 1 // the file is to be written anew
	dueMove    uint64 = 2 // with a new root key, and the device key is to move on where it can
)

// movesOn tells whether the key source can make the device key of before
// useless.
func (s *Store) movesOn() bool {
	_, counts := s.source.(Counter)
	_, rotates := s.source.(Rotator)
	return counts && rotates
}

// Finish does what a power cut or a full disk kept an erasure from: it writes
// the file without the old bytes and moves the device key on. It does nothing
// where nothing is owed. An error leaves it owed.
func (s *Store) Finish() error {
	s.finishing.Lock()
	defer s.finishing.Unlock()
	if _, _, err := s.finish(); err != nil {
		return fmt.Errorf("store: somebody is forgotten, but the old bytes of it are still of use: %w", err)
	}
	return nil
}

// owes is what is owed, 0 for nothing.
func (tx *Tx) owes() (uint64, error) {
	n, err := tx.number(keyDue)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// owe notes, with the transaction, what is owed after it, besides what was.
func (tx *Tx) owe(what uint64) error {
	before, err := tx.owes()
	if err != nil {
		return err
	}
	return tx.putNumber(keyDue, max(before, what))
}

// finish wants finishing held.
func (s *Store) finish() (compacted, moved bool, err error) {
	var owes uint64
	err = s.View(func(tx *Tx) (err error) { owes, err = tx.owes(); return err })
	if err != nil || owes == 0 {
		return false, false, err
	}
	if err := s.removeCopies(); err != nil {
		return false, false, err
	}
	switch {
	case owes == dueMove && s.movesOn():
		compacted, err = s.moveOn(s.source.(Rotator))
		moved = err == nil
	case owes == dueMove:
		err = s.renewRoot()
		compacted = err == nil
	default:
		err = s.Compact()
		compacted = err == nil
	}
	if err != nil {
		return compacted, moved, err
	}
	return compacted, moved, s.Update(func(tx *Tx) error { return tx.delete(bucketMeta, keyDue) })
}

// forgottenList remembers forgotten people by their ids alone, which say nothing
// of them, so that no backup brings them back.
type forgottenList struct {
	Whole bool     `json:"whole"` // nobody is missing
	Users []UserID `json:"users"`
}

func (l forgottenList) check() error {
	for _, user := range l.Users {
		if _, err := ParseUserID(string(user)); err != nil {
			return err
		}
	}
	return nil
}

// listed is the list without what the audit chain tells.
func (tx *Tx) listed() (forgottenList, error) {
	b, err := tx.get(bucketMeta, keyGone)
	if errors.Is(err, ErrNotFound) {
		base, err := tx.Base()
		return forgottenList{Whole: base.Seq == 0}, err // a chain pruned by a faceprint that kept no list
	}
	if err != nil {
		return forgottenList{}, err
	}
	return decode[forgottenList](b)
}

// forgotten is everybody who was forgotten, as far as the vault can tell.
func (tx *Tx) forgotten() (forgottenList, error) {
	l, err := tx.listed()
	if err != nil {
		return l, err
	}
	base, err := tx.Base()
	if err != nil {
		return l, err
	}
	// The whole chain: an entry that is gone from its middle would bring somebody back.
	return l, tx.chain(headRecord{Seq: base.Seq, Hash: base.Hash}, func(e Entry) bool {
		if e.Kind == "forget" {
			l.Users = append(l.Users, e.User)
		}
		return true
	})
}

// keepForgotten adds to the list; whole is whether more is nobody too few.
func (tx *Tx) keepForgotten(more []UserID, whole bool) error {
	if len(more) == 0 && whole && tx.tx.Bucket(bucketMeta).Get(keyGone) != nil {
		return nil // it may have megabytes, and nearly every pruning comes here
	}
	l, err := tx.listed()
	if err != nil {
		return err
	}
	l.Whole = l.Whole && whole
	l.Users = append(l.Users, more...)
	slices.Sort(l.Users)
	l.Users = slices.Compact(l.Users)
	b, err := encode(l)
	if err != nil {
		return err
	}
	return tx.put(bucketMeta, keyGone, b)
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
