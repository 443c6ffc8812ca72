package store

import (
	"bytes"
	"os"
	"path/filepath"
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
