package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// The longest that the doors above let through (client.Enrolment, device's
// maxAccount), in the characters that JSON makes longest, is kept; what they do
// not is refused with the name of the part and its limit.
func TestLongestThatIsLetThroughIsKept(t *testing.T) {
	v := newVault(t)
	long := func(n int) string { return strings.Repeat("<", n) }
	c := Consent{At: noon, TextVersion: long(64), Language: long(35), Witness: strings.Repeat("\u2028", 128)}
	p := Person{ID: NewUserID(), Name: long(MaxName), Created: noon, Consent: c}
	account := strings.Repeat("a", 255) // LOGIN_NAME_MAX
	if err := v.Update(func(tx *Tx) error {
		err := tx.AddPerson(p)
		for range 2 * MaxConsents {
			p.Agree(c)
		}
		return errors.Join(err, tx.PutPerson(p),
			tx.PutRecord(Record{Kind: "login", User: p.ID, Key: account, Value: []byte("{}")}),
			tx.PutRecord(Record{Kind: "keyring", User: p.ID, Key: account, Value: make([]byte, MaxRecord)}))
	}); err != nil {
		t.Fatal(err)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Tx) error{
		"a record's key has 1 to 256 bytes, this one 257": func(tx *Tx) error {
			return tx.PutRecord(Record{Kind: "login", Key: account + "aa", Value: []byte("{}")})
		},
		"a record's kind has 1 to 128 bytes, this one 129": func(tx *Tx) error { return tx.PutRecord(Record{Kind: long(129), Key: "1", Value: []byte("{}")}) },
		"a consent whose text's version has 70000 bytes, at most 512": func(tx *Tx) error {
			q := p
			q.Consent.TextVersion = long(70000)
			return tx.PutPerson(q)
		},
		"a secret's name has 1 to 128 bytes, this one 2000": func(tx *Tx) error { return tx.SetSecret(long(2000), nil) },
	} {
		if err := v.Update(change); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("says %v, want %q", err, says)
		}
	}
}

// What is wrong with a record is said of that one, as far as it can be known.
func TestWrongRecordIsNamed(t *testing.T) {
	v, p := filled(t)
	user := string(p.ID)
	var lockout []byte
	for i := range 2 {
		if err := v.Update(func(tx *Tx) error {
			lockout = bytes.Clone(tx.tx.Bucket(bucketLockouts).Get([]byte(user)))
			return tx.SetLockout(p.ID, Lockout{Failures: i})
		}); err != nil {
			t.Fatal(err)
		}
	}
	v.audit(t, 3)
	var end uint64
	if err := v.View(func(tx *Tx) (err error) { end, _, err = tx.AuditHead(); return err }); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bucket, key string
		change      func(b *bbolt.Bucket, k, v []byte) error
		says        string
	}{
		"a record too many": {"records", "", func(b *bbolt.Bucket, _, v []byte) error { return b.Put([]byte("pin/"+user+"/2"), bytes.Clone(v)) }, `records/"pin/` + user + `/2" was not there`},
		"lock-out gone":     {"lockouts", user, func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, "the lock-out of " + user + " is missing"},
		"person gone":       {"people", user, func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, "the record of " + user + " is missing"},
		"seed gone":         {"seeds", user, func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, "the seed of " + user + " is missing"},
		"key gone":          {"keys", user, func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, `the key of "` + user + `" is gone`},
		"template gone":     {"templates", "", func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, user + " has 1 templates, 0 are left"},
		"template damaged": {"templates", "", func(b *bbolt.Bucket, k, v []byte) error {
			v = bytes.Clone(v)
			v[0] ^= 1
			return b.Put(bytes.Clone(k), v)
		}, "does not open under its key"},
		"lock-out of before": {"lockouts", user, func(b *bbolt.Bucket, k, _ []byte) error { return b.Put(k, lockout) }, "cannot be told"},
		"end of the chain":   {"audit", string(auditKey(end)), func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) }, fmt.Sprintf("ends with entry %d, and did with %d", end-1, end)},
	} {
		whole, err := os.ReadFile(v.path)
		if err != nil {
			t.Fatal(err)
		}
		changeBolt(t, v.path, func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(c.bucket))
			k, value := b.Cursor().Seek([]byte(c.key))
			return c.change(b, bytes.Clone(k), bytes.Clone(value))
		})
		s, err := Open(v.path, v.key, Options{})
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "not what was last written") {
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		} else {
			t.Log(err)
		}
		if err := os.WriteFile(v.path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
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

// A record whose first bytes are moved to its key looks to the digest like the
// one that it hides, unless nothing shorter than a seal is taken.
func TestRecordIsNotHiddenUnderALongerKey(t *testing.T) {
	v, p := filled(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]string{{"lockouts", string(p.ID)}, {"records", "pin/" + string(p.ID) + "/1"}, {"secrets", "grant-key"}} {
		for _, moved := range []int{1, 23, 24, 40} { // of the 40 bytes that are digested
			var was []byte
			var longer string
			changeBolt(t, v.path, func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(at[0]))
				was = bytes.Clone(b.Get([]byte(at[1])))
				seen := append(bytes.Clone(was[:24]), was[len(was)-16:]...)
				longer = at[1] + string(seen[:moved])
				return errors.Join(b.Delete([]byte(at[1])), b.Put([]byte(longer), seen[moved:]))
			})
			s, err := Open(v.path, v.key, Options{Accept: true})
			if err == nil {
				err = s.Close()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q hidden, %d bytes moved: %v", at, moved, err)
			}
			changeBolt(t, v.path, func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(at[0]))
				return errors.Join(b.Delete([]byte(longer)), b.Put([]byte(at[1]), was))
			})
		}
	}
	v.open(t)
}

// Nothing is written that Open would not take for a record.
func TestWhatWouldNotOpenIsNotWritten(t *testing.T) {
	v, p := filled(t)
	long := strings.Repeat("x", 2*maxSealed)
	for what, f := range map[string]func(*Tx) error{
		"a consent": func(tx *Tx) error {
			q := p
			q.Agree(Consent{At: noon, TextVersion: long})
			return tx.PutPerson(q)
		},
		"an entry": func(tx *Tx) error {
			_, err := tx.Append(Entry{At: noon, Kind: "x", Outcome: "y", Reasons: []string{long}})
			return err
		},
		"a name":    func(tx *Tx) error { return tx.SetSecret(long[:2*maxKey], []byte("s")) },
		"a lockout": func(tx *Tx) error { return tx.SetLockout(UserID(long[:2*maxKey]), Lockout{}) },
	} {
		var refused error
		if err := v.Update(func(tx *Tx) error { refused = f(tx); return nil }); err != nil { // whoever overlooks it loses nothing
			t.Fatal(err)
		}
		if !errors.Is(refused, ErrInvalid) {
			t.Errorf("%s: %v", what, refused)
		}
		if err := v.reopen(t); err != nil {
			t.Fatalf("after %s: %v", what, err)
		}
	}
}

// The list of who was forgotten may grow far beyond what one record has.
func TestManyForgottenAreKept(t *testing.T) {
	v, _ := filled(t)
	many := make([]UserID, 20000)
	for i := range many {
		many[i] = NewUserID()
	}
	if err := v.Update(func(tx *Tx) error { return tx.keepForgotten(many, true) }); err != nil {
		t.Fatal(err)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Compact(), v.Rotate(t.Context()), v.reopen(t)); err != nil {
		t.Fatal(err)
	}
	if err := v.View(func(tx *Tx) error {
		l, err := tx.forgotten()
		if len(l.Users) != len(many) || !l.Whole {
			t.Errorf("%d of %d, %v", len(l.Users), len(many), l.Whole)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// askedKey does something between being asked and what follows from its answer.
type askedKey struct {
	countedKey
	then *func()
}

func (k askedKey) answered() {
	if f := *k.then; f != nil {
		*k.then = nil
		f()
	}
}

func (k askedKey) Key() ([]byte, error) {
	defer k.answered()
	return k.countedKey.Key()
}

func (k askedKey) Prepare() ([]byte, error) {
	defer k.answered()
	return k.countedKey.Prepare()
}

// While a backup or a rotation has a key that it goes on to use, no erasure
// moves the keys on: the backup's recovery key is the one of its vault, and the
// vault is sealed with the key that is promoted.
func TestErasureWaitsForWhoeverHasTheKeys(t *testing.T) {
	operator, owner := newIdentity(t), newIdentity(t)
	for what, do := range map[string]func(*testing.T, *testVault){
		"backup": func(t *testing.T, v *testVault) {
			b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}, Recovery: []string{owner.public}})
			dir := t.TempDir()
			if _, err := Restore(t.Context(), filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), bytes.NewReader(b),
				RestoreOptions{Operator: operator.reader(), Recovery: owner.reader(), WithoutForgotten: true, At: noon}); err != nil {
				t.Error(err)
			}
		},
		"rotation": func(t *testing.T, v *testVault) {
			if err := v.Rotate(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir, n, then := t.TempDir(), new(uint64), new(func())
			path, key := filepath.Join(dir, "vault.db"), askedKey{countedKey{KeyFile(filepath.Join(dir, "key")), n}, then}
			s, err := Open(path, key, Options{})
			if err != nil {
				t.Fatal(err)
			}
			v := &testVault{Store: s, path: path}
			p := v.person(t, "alice")
			v.person(t, "bob")
			asked := false
			*then = func() {
				asked = true
				if v.finishing.TryLock() { // an erasure would not wait
					v.finishing.Unlock()
					if _, err := v.Forget(p.ID, noon); err != nil {
						t.Error(err)
					}
				}
			}
			do(t, v)
			if err := v.Close(); err != nil || !asked {
				t.Fatal(err, asked)
			}
			if s, err = Open(path, key, Options{}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.View((*Tx).Verify), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is put back beneath an open vault must not be sealed anew, and so
// believed, by work that writes the vault below another root key.
func TestRewritingBelowANewRootBelievesNoOlderRecord(t *testing.T) {
	for name, work := range map[string]func(*testVault) error{
		"compact": func(v *testVault) error { return v.Compact() },
		"rotate":  func(v *testVault) error { return v.Rotate(t.Context()) },
		"reroot":  func(v *testVault) error { return v.renewRoot() },
	} {
		t.Run(name, func(t *testing.T) {
			v, p := filled(t)
			sealed := func() (b []byte) {
				if err := v.db.View(func(tx *bbolt.Tx) error {
					b = bytes.Clone(tx.Bucket(bucketLockouts).Get([]byte(p.ID)))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				return b
			}
			if err := v.Update(func(tx *Tx) error { return tx.SetLockout(p.ID, Lockout{Failures: 1}) }); err != nil {
				t.Fatal(err)
			}
			old := sealed()
			if err := v.Update(func(tx *Tx) error { return tx.SetLockout(p.ID, Lockout{Failures: 9}) }); err != nil {
				t.Fatal(err)
			}
			now := sealed()
			if len(old) != len(now) {
				t.Fatal("not of one length")
			}
			b, err := os.ReadFile(v.path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(v.path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for at := 0; ; n++ {
				i := bytes.Index(b[at:], now)
				if i < 0 {
					break
				}
				if _, err := f.WriteAt(old, int64(at+i)); err != nil {
					t.Fatal(err)
				}
				at += i + len(now)
			}
			if err := f.Close(); err != nil || n == 0 {
				t.Fatal(n, err)
			}
			worked := work(v)
			closed := v.Close()
			s, err := Open(v.path, v.key, Options{})
			if err == nil {
				err = s.Close()
			}
			if !errors.Is(worked, ErrCorrupt) || closed != nil || !errors.Is(err, ErrCorrupt) {
				t.Errorf("work: %v; close: %v; open: %v", worked, closed, err)
			}
		})
	}
}
