package store

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

type testVault struct {
	*Store
	path string
	key  KeyFile
}

func newVault(t *testing.T) *testVault {
	t.Helper()
	dir := t.TempDir()
	v := &testVault{path: filepath.Join(dir, "vault.db"), key: KeyFile(filepath.Join(dir, "key"))}
	v.open(t)
	t.Cleanup(func() { v.Close() }) // a second Close is harmless
	return v
}

func (v *testVault) open(t *testing.T) {
	t.Helper()
	s, err := Open(v.path, v.key, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	v.Store = s
}

func (v *testVault) reopen(t *testing.T) error {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(v.path, v.key, Options{Timeout: 50 * time.Millisecond})
	if err == nil {
		v.Store = s
	}
	return err
}

func (v *testVault) person(t *testing.T, name string) Person {
	t.Helper()
	p := Person{ID: NewUserID(), Name: name, Created: noon, Consent: Consent{At: noon, TextVersion: "1", Language: "en"}}
	if err := v.Update(func(tx *Tx) error { return tx.AddPerson(p) }); err != nil {
		t.Fatal(err)
	}
	return p
}

func (v *testVault) template(t *testing.T, user UserID, data []byte) string {
	t.Helper()
	var id string
	err := v.Update(func(tx *Tx) (err error) {
		id, err = tx.AddTemplate(Template{User: user, Kind: KindModule, Model: "m", Created: noon, Data: bytes.Clone(data)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestPersonNeedsConsent(t *testing.T) {
	v := newVault(t)
	for _, c := range []Consent{{}, {At: noon}, {TextVersion: "1"}, {At: noon, TextVersion: "  "}} {
		err := v.Update(func(tx *Tx) error {
			return tx.AddPerson(Person{ID: NewUserID(), Name: "a", Created: noon, Consent: c})
		})
		wantErr(t, err, ErrNoConsent)
	}
	var users []UserID
	if err := v.View(func(tx *Tx) (err error) { users, err = tx.Users(); return err }); err != nil || len(users) != 0 {
		t.Fatalf("after refusals: %v, %v", users, err)
	}
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	v := newVault(t)
	p := v.person(t, "alice")
	consent := p.Consent
	for name, f := range map[string]func(tx *Tx) error{
		"bad id": func(tx *Tx) error {
			return tx.AddPerson(Person{ID: "../x", Name: "a", Created: noon, Consent: consent})
		},
		"no name": func(tx *Tx) error { return tx.AddPerson(Person{ID: NewUserID(), Created: noon, Consent: consent}) },
		"control character": func(tx *Tx) error {
			return tx.AddPerson(Person{ID: NewUserID(), Name: "a\nb", Created: noon, Consent: consent})
		},
		"kind zero": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Model: "m", Created: noon, Data: []byte{1}})
			return err
		},
		"no data": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Kind: KindFace, Model: "m", Created: noon})
			return err
		},
		"too large": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Kind: KindFace, Model: "m", Created: noon, Data: make([]byte, MaxTemplate+1)})
			return err
		},
		"a face that is no vector": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Kind: KindFace, Model: "m", Created: noon, Data: []byte("12345")})
			return err
		},
		"a face that is too long": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Kind: KindFace, Model: "m", Created: noon, Data: vector(1.5)})
			return err
		},
		"a face that is no number": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{User: p.ID, Kind: KindFace, Model: "m", Created: noon, Data: vector(float32(math.NaN()))})
			return err
		},
		"id with a slash": func(tx *Tx) error {
			_, err := tx.AddTemplate(Template{ID: "a/b", User: p.ID, Kind: KindFace, Model: "m", Created: noon, Data: []byte{1}})
			return err
		},
		"negative lockout": func(tx *Tx) error { return tx.SetLockout(p.ID, Lockout{Failures: -1}) },
		"audit NaN": func(tx *Tx) error {
			_, err := tx.Append(Entry{At: noon, Kind: "k", Outcome: "o", Scores: map[string]float64{"s": math.NaN()}})
			return err
		},
		"audit empty":  func(tx *Tx) error { _, err := tx.Append(Entry{}); return err },
		"record kind":  func(tx *Tx) error { return tx.PutRecord(Record{Kind: "a/b", Key: "k", Value: []byte{1}}) },
		"empty record": func(tx *Tx) error { return tx.PutRecord(Record{Kind: "a", Key: "k"}) },
	} {
		if err := v.Update(f); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want %v", name, err, ErrInvalid)
		}
	}
}

func TestWhatWasWrittenIsReadAfterReopening(t *testing.T) {
	v := newVault(t)
	p := v.person(t, "Алиса")
	id := v.template(t, p.ID, []byte("secret-template"))
	until := noon.Add(time.Minute)
	err := v.Update(func(tx *Tx) error {
		return errors.Join(
			tx.SetLockout(p.ID, Lockout{Failures: 3, Last: noon, Until: until}),
			tx.SetLockout("", Lockout{Failures: 9}),
			tx.SetSecret("grant-key", []byte("s3cret")),
			tx.PutRecord(Record{Kind: "pin", User: p.ID, Key: "1", Value: []byte("hash")}),
			tx.PutRecord(Record{Kind: "policy", Key: "now", Value: []byte("strict")}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	err = v.View(func(tx *Tx) error {
		got, err := tx.Person(p.ID)
		if err != nil || got.Templates != 1 || got.Name != p.Name || got.Consent != p.Consent {
			t.Errorf("person: %+v, %v", got, err)
		}
		ts, err := tx.TemplatesOf(p.ID, KindModule)
		if err != nil || len(ts) != 1 || ts[0].ID != id || string(ts[0].Data) != "secret-template" {
			t.Errorf("templates: %+v, %v", ts, err)
		}
		if ts, err := tx.TemplatesOf(p.ID, KindFace); err != nil || len(ts) != 0 {
			t.Errorf("templates of another kind: %+v, %v", ts, err)
		}
		l, err := tx.Lockout(p.ID)
		if err != nil || l.Failures != 3 || !l.Until.Equal(until) {
			t.Errorf("lockout: %+v, %v", l, err)
		}
		if l, err := tx.Lockout(""); err != nil || l.Failures != 9 {
			t.Errorf("device lockout: %+v, %v", l, err)
		}
		if b, err := tx.Secret("grant-key"); err != nil || string(b) != "s3cret" {
			t.Errorf("secret: %q, %v", b, err)
		}
		if r, err := tx.GetRecord(Record{Kind: "pin", User: p.ID, Key: "1"}); err != nil || string(r.Value) != "hash" {
			t.Errorf("record: %+v, %v", r, err)
		}
		rs, err := tx.Records("policy")
		if err != nil || len(rs) != 1 || string(rs[0].Value) != "strict" {
			t.Errorf("records: %+v, %v", rs, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingOfAPersonIsInTheClear(t *testing.T) {
	v := newVault(t)
	p := v.person(t, "Margaret Hamilton")
	v.template(t, p.ID, []byte("template-bytes-of-hers"))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"Margaret", "Hamilton", "template-bytes"} {
		if bytes.Contains(file, []byte(s)) {
			t.Errorf("the file holds %q in the clear", s)
		}
	}
}

func TestForgetLeavesNothingThatOpens(t *testing.T) {
	v := newVault(t)
	p, other := v.person(t, "alice"), v.person(t, "bob")
	v.template(t, p.ID, []byte("one"))
	v.template(t, p.ID, []byte("two"))
	v.template(t, other.ID, []byte("kept"))
	if err := v.Update(func(tx *Tx) error {
		return errors.Join(
			tx.PutRecord(Record{Kind: "pin", User: p.ID, Key: "1", Value: []byte("hash")}),
			tx.SetLockout(p.ID, Lockout{Failures: 1}))
	}); err != nil {
		t.Fatal(err)
	}
	// The sealed bytes as they stand in the file before.
	var sealed [][]byte
	if err := v.db.View(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			c := tx.Bucket(b).Cursor()
			for k, val := c.First(); k != nil; k, val = c.Next() {
				if strings.Contains(string(k), string(p.ID)) {
					sealed = append(sealed, bytes.Clone(val))
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 7 { // key, seed, person, two templates, lockout, PIN
		t.Fatalf("%d records of the person, want 7", len(sealed))
	}

	r, err := v.Forget(p.ID, noon)
	if err != nil || r.Templates != 2 || !r.Compacted || r.Audit == 0 {
		t.Fatalf("receipt %+v, %v", r, err)
	}
	file, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range sealed {
		if bytes.Contains(file, b) {
			t.Errorf("record %d is still in the file", i)
		}
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	if err := v.View(func(tx *Tx) error {
		if _, err := tx.Person(p.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("person: %v", err)
		}
		if _, err := tx.TemplatesOf(p.ID, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("templates: %v", err)
		}
		if ts, err := tx.TemplatesOf(other.ID, 0); err != nil || len(ts) != 1 {
			t.Errorf("the other's templates: %v, %v", ts, err)
		}
		return tx.VerifyAudit()
	}); err != nil {
		t.Fatal(err)
	}
	_, err = v.Forget(p.ID, noon)
	wantErr(t, err, ErrNotFound)
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	v := newVault(t)
	p := v.person(t, "alice")
	boom := errors.New("boom")
	err := v.Update(func(tx *Tx) error {
		if err := tx.SetLockout(p.ID, Lockout{Failures: 5}); err != nil {
			return err
		}
		if _, err := tx.Append(Entry{At: noon, Kind: "k", Outcome: "o"}); err != nil {
			return err
		}
		return boom
	})
	wantErr(t, err, boom)
	if err := v.View(func(tx *Tx) error {
		l, err := tx.Lockout(p.ID)
		if l.Failures != 0 {
			t.Errorf("lockout %+v", l)
		}
		if n, _, _ := tx.AuditHead(); n != 0 {
			t.Errorf("audit head %d", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (v *testVault) audit(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := v.Update(func(tx *Tx) error {
			_, err := tx.Append(Entry{At: noon, Kind: "authenticate", Outcome: "refused", Reasons: []string{"face-no-match"}, Scores: map[string]float64{"face": 0.25}})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuditChainShowsTampering(t *testing.T) {
	for name, tamper := range map[string]func(s *Store, b *bbolt.Bucket) error{
		"entry removed": func(_ *Store, b *bbolt.Bucket) error { return b.Delete(auditKey(2)) },
		"entry moved":   func(_ *Store, b *bbolt.Bucket) error { return b.Put(auditKey(2), bytes.Clone(b.Get(auditKey(3)))) },
		"bit flipped": func(_ *Store, b *bbolt.Bucket) error {
			v := bytes.Clone(b.Get(auditKey(2)))
			v[len(v)/2] ^= 1
			return b.Put(auditKey(2), v)
		},
		"rewritten with the key": func(s *Store, b *bbolt.Bucket) error {
			e, _ := encode(Entry{Seq: 2, At: noon, Kind: "authenticate", Outcome: "granted"})
			return b.Put(auditKey(2), seal(s.root, bucketAudit, auditKey(2), e))
		},
		"end cut off": func(_ *Store, b *bbolt.Bucket) error { return b.Delete(auditKey(4)) },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			v.audit(t, 4)
			if err := v.View((*Tx).VerifyAudit); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := v.db.Update(func(tx *bbolt.Tx) error { return tamper(v.Store, tx.Bucket(bucketAudit)) }); err != nil {
				t.Fatal(err)
			}
			err := v.View((*Tx).VerifyAudit)
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrRolledBack) {
				t.Fatalf("after: %v", err)
			}
		})
	}
}

func TestRolledBackVaultIsRefused(t *testing.T) {
	v := newVault(t)
	v.audit(t, 2)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	v.open(t)
	v.audit(t, 1)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(v.path, v.key, Options{})
	wantErr(t, err, ErrRolledBack)
}

func TestHeadBehindTheVaultIsAccepted(t *testing.T) { // what a power cut leaves
	v := newVault(t)
	v.audit(t, 2)
	head, err := os.ReadFile(v.path + headSuffix)
	if err != nil {
		t.Fatal(err)
	}
	v.audit(t, 2)
	if err := os.WriteFile(v.path+headSuffix, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, v *testVault)
		want  error
		says  string
	}{
		{"open to others", func(t *testing.T, v *testVault) { chmod(t, v.path, 0o644) }, ErrMode, "chmod 600"},
		{"key open to others", func(t *testing.T, v *testVault) { chmod(t, string(v.key), 0o640) }, ErrMode, "chmod 600"},
		{"truncated", func(t *testing.T, v *testVault) { truncate(t, v.path, 9000) }, ErrCorrupt, "cut short"},
		{"empty", func(t *testing.T, v *testVault) { truncate(t, v.path, 0) }, ErrCorrupt, "empty"},
		{"something else", func(t *testing.T, v *testVault) { write(t, v.path, bytes.Repeat([]byte("x"), 20000)) }, ErrCorrupt, "no vault"},
		{"another key", func(t *testing.T, v *testVault) { write(t, string(v.key), bytes.Repeat([]byte{7}, KeySize)) }, ErrKey, "another key"},
		{"short key", func(t *testing.T, v *testVault) { write(t, string(v.key), []byte("short")) }, ErrKey, "5 bytes"},
		{"directory", func(t *testing.T, v *testVault) {
			if err := errors.Join(os.Remove(v.path), os.Mkdir(v.path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, ErrMode, "no plain file"},
		{"newer schema", func(t *testing.T, v *testVault) {
			changeBolt(t, v.path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("schema"), []byte{0, 0, 0, 99}) })
		}, ErrSchema, "schema 99"},
		{"another program's bbolt file", func(t *testing.T, v *testVault) {
			if err := os.Remove(v.path); err != nil {
				t.Fatal(err)
			}
			changeBolt(t, v.path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		}, ErrSchema, "something else"},
		{"bad head", func(t *testing.T, v *testVault) { write(t, v.path+headSuffix, []byte("{}")) }, ErrCorrupt, "head file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newVault(t)
			v.audit(t, 3)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, v)
			s, err := Open(v.path, v.key, Options{Timeout: 50 * time.Millisecond})
			if err == nil {
				s.Close()
			}
			wantErr(t, err, tt.want)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
		})
	}
}

func TestSecondOpenIsToldWhy(t *testing.T) {
	v := newVault(t)
	_, err := Open(v.path, v.key, Options{Timeout: 50 * time.Millisecond})
	wantErr(t, err, ErrInUse)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func changeBolt(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(f), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzRecords(f *testing.F) {
	for _, r := range []record{
		Person{ID: "aaaaaaaaaaaaaaaa", Name: "a", Created: noon, Consent: Consent{At: noon, TextVersion: "1"}},
		Template{ID: "t", User: "aaaaaaaaaaaaaaaa", Kind: KindFace, Model: "m", Created: noon, Data: []byte{1}},
		Entry{Seq: 1, At: noon, Kind: "k", Outcome: "o", Scores: map[string]float64{"s": 1}},
		Lockout{Failures: 1, Until: noon},
		Checkpoint{Seq: 1, At: noon, Signed: "x"},
		forgottenList{Whole: true, Users: []UserID{"aaaaaaaaaaaaaaaa"}},
		backupNote{Format: backupFormat, Schema: Version, At: noon},
		state{Commit: 1, Seq: 1},
	} {
		b, err := encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, b, decode[Person])
		canonical(t, b, decode[Template])
		canonical(t, b, decode[Entry])
		canonical(t, b, decode[Lockout])
		canonical(t, b, decode[Checkpoint])
		canonical(t, b, decode[forgottenList])
		canonical(t, b, decode[backupNote])
		canonical(t, b, decode[state])
	})
}

func canonical[R record](t *testing.T, b []byte, decode func([]byte) (R, error)) {
	r, err := decode(b)
	if err != nil {
		return
	}
	again, err := encode(r)
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%q was accepted, but would be written %q, %v", b, again, err)
	}
}
