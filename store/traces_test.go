package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// traces are the bytes by which somebody who is, or was, in a vault can be told
// in its files: their id, what they gave, and both ends of every record of
// theirs as it stands in the file, sealed.
type traces struct {
	people   map[UserID]map[string][]byte
	were     map[UserID]bool // acknowledged; an enrolment that was cut off was nobody's yet
	searched int             // erasures
}

func newTraces() *traces {
	return &traces{people: map[UserID]map[string][]byte{}, were: map[UserID]bool{}}
}

func (tr *traces) add(user UserID, what string, b []byte) {
	if tr.people[user] == nil {
		tr.people[user] = map[string][]byte{"id": []byte(user)}
	}
	tr.people[user][what+"/"+string(b)] = bytes.Clone(b)
}

// model notes those whom an acknowledged model knows of, in the clear.
func (tr *traces) model(m *model) {
	for user, p := range m.People {
		tr.were[user] = true
		for _, data := range p.Templates {
			tr.add(user, "template", []byte(data))
		}
		tr.add(user, "face", unit(p.Face))
	}
}

// vault notes what stands in an open vault.
func (tr *traces) vault(tx *Tx) error {
	for _, bucket := range buckets {
		err := tx.tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			user := ownerOf(bucket, k)
			if user == "" && (bytes.Equal(bucket, bucketKeys) || bytes.Equal(bucket, bucketLockouts)) {
				user = UserID(k)
			}
			if _, err := ParseUserID(string(user)); err == nil {
				tr.add(user, "sealed "+string(bucket), v[:32])
				tr.add(user, "sealed "+string(bucket), v[len(v)-32:])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// check searches every file of the folder for everybody who was there and is
// not any more. Those who are there must be found, or the search is of no use.
func (tr *traces) check(t *testing.T, dir string, now *model) {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(b []byte) []string {
		var in []string
		for name, all := range files {
			if bytes.Contains(all, b) {
				in = append(in, filepath.Base(name))
			}
		}
		return in
	}
	for user, needles := range tr.people {
		if now.People[user] != nil {
			if len(holds([]byte(user))) == 0 {
				t.Errorf("%s, who is there, is not found", user)
			}
			continue
		}
		if !tr.were[user] {
			continue
		}
		for what, b := range needles {
			if in := holds(b); in != nil {
				t.Errorf("%s was forgotten, and their %.40q is still in %v", user, what, in)
			}
		}
		tr.searched++
		delete(tr.people, user) // nothing brings it back
	}
}

// A word that an erasure must leave nowhere is found in a free page as well.
func TestTracesAreFoundWhereAnErasureIsNotFinished(t *testing.T) {
	v, p := filled(t)
	tr := newTraces()
	if err := v.View(tr.vault); err != nil {
		t.Fatal(err)
	}
	tr.were[p.ID] = true
	if err := v.Update(func(tx *Tx) error { _, err := tx.erase(p.ID); return err }); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for what, needle := range tr.people[p.ID] {
		if bytes.Contains(b, needle) {
			found = append(found, what)
		}
	}
	if len(found) == 0 {
		t.Error("bbolt left nothing of somebody who was only deleted: the search does not test")
	}
	if err := v.Compact(); err != nil {
		t.Fatal(err)
	}
	tr.check(t, filepath.Dir(v.path), &model{})
	if tr.searched != 1 || len(tr.people) != 0 {
		t.Errorf("%d searched, %d left", tr.searched, len(tr.people))
	}
}

// spied is a device key that tells when it is asked for.
type spied struct {
	KeyFile
	asked func()
}

func (s spied) Key() ([]byte, error) { s.asked(); return s.KeyFile.Key() }

// A rehearsal or a restore that is killed while it works leaves its copy; the
// next start, an erasure and a rehearsal remove it, also where the path has
// characters that a pattern would take for its own.
func TestCopiesOfWhatWasKilledGo(t *testing.T) {
	operator := newIdentity(t)
	for name, work := range map[string]func(path string, key KeySource, backup []byte) error{
		"rehearsal": func(path string, key KeySource, _ []byte) error {
			_, err := Rehearse(t.Context(), path, key)
			return err
		},
		"restore": func(path string, key KeySource, backup []byte) error {
			_, err := Restore(t.Context(), path, key, bytes.NewReader(backup), RestoreOptions{Operator: operator.reader(), Replace: true, At: noon})
			return err
		},
	} {
		v, p := filled(t)
		backup := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		key, err := v.key.Key()
		if err != nil {
			t.Fatal(err)
		}
		killed := filepath.Join(t.TempDir(), "g[1]*")
		if err := work(v.path, spied{v.key, func() { // what a kill leaves now
			_ = os.RemoveAll(killed)
			if err := os.CopyFS(killed, os.DirFS(filepath.Dir(v.path))); err != nil {
				t.Error(err)
			}
			if err := filepath.WalkDir(killed, func(f string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					err = os.Chmod(f, 0o600)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		}}, backup); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(killed, filepath.Base(v.path))
		device := KeyFile(filepath.Join(t.TempDir(), "key"))
		if err := os.WriteFile(string(device), key, 0o600); err != nil {
			t.Fatal(err)
		}
		copies := func() (n int) {
			t.Helper()
			all, err := os.ReadDir(killed)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if e.IsDir() || strings.Contains(e.Name(), copySuffix) {
					n++
				}
			}
			return n
		}
		if copies() != 1 {
			t.Fatalf("%s: %d copies were left, want 1", name, copies())
		}
		again := func() {
			t.Helper()
			for _, f := range []string{path + newSuffix + "restore-1/vault.db", path + newSuffix + "rehearsal-2/vault.db", path + copySuffix + "2"} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o700), os.WriteFile(f, []byte(p.ID), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := Open(path, device, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if copies() != 0 {
			t.Errorf("%s: %d copies outlive a start", name, copies())
		}
		again()
		if r, err := s.Forget(p.ID, noon); err != nil || !r.Searched {
			t.Fatalf("%+v, %v", r, err)
		}
		if copies() != 0 {
			t.Errorf("%s: %d copies outlive an erasure", name, copies())
		}
		_, err = Rehearse(t.Context(), path, device)
		wantErr(t, err, ErrInUse)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again()
		if _, err := Rehearse(t.Context(), path, device); err != nil {
			t.Fatal(err)
		}
		if copies() != 1 { // the migration's stays until somebody is forgotten
			t.Errorf("%s: %d copies outlive a rehearsal, want that of the migration", name, copies())
		}
	}
}
