package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/bbolt"
)

// An older record put back in its place, one that is left out, and one that was
// deleted and comes back are refused, whichever it is; an older state of the
// whole, whatever of the newer vault stands beside it, as well.
func TestOlderRecordsAreRefused(t *testing.T) {
	v, p := filled(t)
	gone := v.person(t, "bob")
	v.template(t, gone.ID, []byte("template of bob"))
	records := func() map[[2]string][]byte {
		all := map[[2]string][]byte{}
		changeBolt(t, v.path, func(tx *bbolt.Tx) error {
			for _, name := range buckets {
				if err := tx.Bucket(name).ForEach(func(k, sealed []byte) error {
					all[[2]string{string(name), string(k)}] = bytes.Clone(sealed)
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
		return all
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	old := records()
	v.open(t)
	if _, err := v.Forget(gone.ID, noon); err != nil {
		t.Fatal(err)
	}
	if err := v.Update(func(tx *Tx) error {
		q, err := tx.Person(p.ID)
		q.Name = "alice again"
		_, err2 := tx.renew(p.ID)
		return errors.Join(err, err2, tx.PutPerson(q), tx.SetSecret("grant-key", []byte("another")), tx.SetLockout("", Lockout{Failures: 9}),
			tx.SetLockout(p.ID, Lockout{Failures: 50, Disabled: true}), tx.PutRecord(Record{Kind: "pin", User: p.ID, Key: "1", Value: []byte("hash 2")}))
	}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	now := records()
	try := func(what string, change func(*bbolt.Tx) error, undo func(*bbolt.Tx) error) {
		t.Helper()
		changeBolt(t, v.path, change)
		s, err := Open(v.path, v.key, Options{Accept: true})
		if err == nil { // of the audit chain only the end is looked at
			err = errors.Join(s.View((*Tx).VerifyAudit), s.Close())
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrKey) && !errors.Is(err, ErrSchema) {
			t.Fatalf("%s: %v", what, err)
		}
		changeBolt(t, v.path, undo)
	}
	set := func(at [2]string, to []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			if to == nil {
				return tx.Bucket([]byte(at[0])).Delete([]byte(at[1]))
			}
			return tx.Bucket([]byte(at[0])).Put([]byte(at[1]), to)
		}
	}
	replayed, deleted := 0, 0
	for at, was := range old {
		if !bytes.Equal(was, now[at]) {
			replayed++
			try(fmt.Sprintf("%q put back", at), set(at, was), set(at, now[at]))
		}
	}
	for at, is := range now {
		deleted++
		try(fmt.Sprintf("%q deleted", at), set(at, nil), set(at, is))
		if at[0] == string(bucketAudit) {
			continue
		}
		// All that was, but this one.
		all := func(from map[[2]string][]byte) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error {
				for other := range union(old, now) {
					if other != at {
						if err := set(other, from[other])(tx); err != nil {
							return err
						}
					}
				}
				return nil
			}
		}
		if at == [2]string{string(bucketMeta), string(keySchema)} {
			continue // the same in both; the head file tells
		}
		if bytes.Equal(old[at], is) {
			continue
		}
		try(fmt.Sprintf("%q of the newer, all else older", at), all(old), all(now))
	}
	if replayed < 8 || deleted < 15 {
		t.Errorf("%d put back, %d deleted: the test does not test", replayed, deleted)
	}
	v.open(t)
}

func union(a, b map[[2]string][]byte) map[[2]string]bool {
	u := map[[2]string]bool{}
	for at := range a {
		u[at] = true
	}
	for at := range b {
		u[at] = true
	}
	return u
}

// A vault that is called one of an older schema is not migrated into believing
// what is in it.
func TestNewerVaultIsNotTakenForAnOlder(t *testing.T) {
	v, _ := filled(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for schema := byte(1); schema < Version; schema++ {
		for _, at := range [][]byte{keyRoot3, keyCheck1} {
			changeBolt(t, v.path, func(tx *bbolt.Tx) error {
				b := tx.Bucket(bucketMeta)
				return errors.Join(b.Put(keySchema, []byte{0, 0, 0, schema}), b.Put(at, bytes.Clone(b.Get(keyRoot))), b.Put(keyCommits3, bytes.Clone(b.Get(keyState))))
			})
		}
		if _, err := Open(v.path, v.key, Options{Accept: true}); !errors.Is(err, ErrKey) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("called schema %d: %v", schema, err)
		}
	}
}
