package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// image is a vault as it stands on the disk, and what is in it.
type image struct {
	whole, head []byte
	key         KeyFile
	path        string
	says        string // all that is in it
}

// dump is everything that is in a vault, in one order.
func dump(tx *Tx) (string, error) {
	if err := tx.Verify(); err != nil {
		return "", err
	}
	var b strings.Builder
	users, err := tx.Users()
	if err != nil {
		return "", err
	}
	l, err := tx.Lockout("")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "device %+v\n", l)
	for _, user := range users {
		p, err := tx.Person(user)
		if err != nil {
			return "", err
		}
		l, err := tx.Lockout(user)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%+v %+v\n", p, l)
		ts, err := tx.TemplatesOf(user, 0)
		if err != nil {
			return "", err
		}
		for _, t := range ts {
			if t.Kind == KindFace {
				b.WriteString(strings.ReplaceAll(fmt.Sprintf(" face %.3f\n", plain(t)), "-0.000", "0.000"))
			}
			sum := sha256.Sum256(t.Data)
			if t.Data = sum[:2]; t.Kind == KindFace {
				t.Data = nil // changes whenever it is renewed
			}
			t.Isometry = nil
			fmt.Fprintf(&b, " %+v\n", t)
		}
	}
	kinds, err := tx.recordKinds()
	if err != nil {
		return "", err
	}
	for _, kind := range kinds {
		rs, err := tx.Records(kind)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%+v\n", rs)
	}
	base, err := tx.Base()
	if err != nil {
		return "", err
	}
	es, err := tx.Audit(base.Seq, 1<<30)
	if err != nil {
		return "", err
	}
	for _, e := range es {
		e.Prev = Hash{} // follows from the entries before
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String(), nil
}

func newImage(t testing.TB, dir string, people, entries int) *image {
	t.Helper()
	im := &image{key: KeyFile(filepath.Join(dir, "key")), path: filepath.Join(dir, "vault.db")}
	s, err := Open(im.path, im.key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(func(tx *Tx) error {
		for i := range people {
			data := make([]byte, 600)
			rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			id := UserID(base32Lower.EncodeToString(fmt.Appendf(nil, "person%04d", i)))
			err := tx.AddPerson(Person{ID: id, Name: fmt.Sprint("name", i), Created: noon, Consent: Consent{At: noon, TextVersion: "1"}})
			if err == nil {
				_, err = tx.AddTemplate(Template{ID: "t", User: id, Kind: KindModule, Model: "m", Created: noon, Data: data})
			}
			if err == nil {
				_, err = tx.AddTemplate(Template{ID: "f", User: id, Kind: KindFace, Model: "m", Created: noon, Data: unit(i)})
			}
			if err == nil {
				err = errors.Join(tx.SetLockout(id, Lockout{Failures: i}), tx.PutRecord(Record{Kind: "pin", User: id, Key: "1", Value: []byte{1}}))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for range entries {
		err = errors.Join(err, s.Update(func(tx *Tx) error {
			_, err := tx.Append(Entry{At: noon, Kind: "authenticate", Outcome: "refused", Scores: map[string]float64{"face": 0.25}})
			return err
		}))
	}
	err = errors.Join(err, s.View(func(tx *Tx) (err error) { im.says, err = dump(tx); return err }), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	if im.whole, err = os.ReadFile(im.path); err != nil {
		t.Fatal(err)
	}
	if im.head, err = os.ReadFile(im.path + headSuffix); err != nil {
		t.Fatal(err)
	}
	return im
}

// read opens a changed file and reads all of it. It returns the error that it
// was refused with; a file that reads as something else fails the test.
func (im *image) read(t testing.TB, file, head []byte) error {
	t.Helper()
	for path, b := range map[string][]byte{im.path: file, im.path + headSuffix: head} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(im.path, im.key, Options{Timeout: 50 * time.Millisecond})
	if err == nil {
		var says string
		err = s.View(func(tx *Tx) (err error) { says, err = dump(tx); return err })
		if err == nil && says != im.says {
			s.Close()
			t.Fatalf("reads as something else: %d bytes, not %d", len(says), len(im.says))
		}
		err = errors.Join(err, s.Close())
	}
	for _, named := range []error{ErrCorrupt, ErrSchema, ErrKey, ErrRolledBack, ErrNotFound} {
		if errors.Is(err, named) {
			return err
		}
	}
	if err != nil {
		t.Fatalf("refused without a name: %v", err)
	}
	return nil
}

// Every damaged byte is either refused by name or reads as before: never
// another value, never a crash.
func TestDamagedBytesAreRefusedOrReadAsBefore(t *testing.T) {
	for _, size := range []struct{ people, entries, tries int }{{1, 3, 300}, {40, 60, 150}} {
		im := newImage(t, t.TempDir(), size.people, size.entries)
		rng := rand.New(rand.NewPCG(1, uint64(size.people)))
		refused, same := 0, 0
		for range size.tries {
			file, head := bytes.Clone(im.whole), bytes.Clone(im.head)
			if at := rng.IntN(len(file) + 500); at < len(file) {
				file[at] ^= byte(1 + rng.IntN(255))
			} else {
				head[rng.IntN(len(head))] ^= byte(1 + rng.IntN(255))
			}
			if im.read(t, file, head) != nil {
				refused++
			} else {
				same++
			}
		}
		if refused == 0 || same == 0 {
			t.Errorf("%d refused, %d unaffected: the test does not test", refused, same)
		}
	}
}

// bbolt follows a page that points back up until the process dies.
func TestPagesThatPointInACircleAreRefused(t *testing.T) {
	im := newImage(t, t.TempDir(), 40, 60)
	m, ok := readMeta(bytes.NewReader(im.whole), 0)
	if other, ok1 := readMeta(bytes.NewReader(im.whole), int64(os.Getpagesize())); ok1 && (!ok || other.txid > m.txid) {
		m = other
	}
	found := 0
	for id := uint64(2); id < m.pages; id++ {
		page := im.whole[id*uint64(m.pageSize):]
		if page[8] != branchPage || page[0] != byte(id) {
			continue
		}
		file := bytes.Clone(im.whole)
		at := id*uint64(m.pageSize) + pageHeader + 8 // the first child
		copy(file[at:at+8], append([]byte{byte(id), byte(id >> 8)}, make([]byte, 6)...))
		found++
		_ = im.read(t, file, im.head) // a page that is free may say what it wants
	}
	if found == 0 {
		t.Fatal("no branch page in the file: the test does not test")
	}
}

// bbolt copies the page of a small bucket to the heap and would read on there.
func TestSmallBucketThatPointsOutOfItsPageIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("small"))
		if err != nil {
			return err
		}
		return b.Put([]byte("the only key"), []byte("value"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	element := bytes.LastIndex(whole, []byte("the only key")) - elementSize
	if err := checkPages(path, bytes.NewReader(whole), int64(len(whole))); element < 0 || err != nil {
		t.Fatal(element, err)
	}
	for name, at := range map[string]int{
		"count": element - pageHeader + 10, "kind": element - pageHeader + 8,
		"place": element + 7, "key": element + 8, "value": element + 14,
	} {
		file := bytes.Clone(whole)
		file[at] ^= 0x40
		if err := checkPages(path, bytes.NewReader(file), int64(len(file))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherPageSizeIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024}) // another page size than this machine's
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := checkFile(path); err != nil {
		t.Fatal(err)
	}
}

func FuzzFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	if err != nil {
		f.Fatal(err)
	}
	db.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkPages("x", bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		_, _ = parseHead(newAEAD(make([]byte, KeySize)), b)
	})
}

// FuzzDamage writes bytes somewhere into a whole vault.
func FuzzDamage(f *testing.F) {
	im := newImage(f, f.TempDir(), 40, 60)
	for id := 2; id < len(im.whole)/os.Getpagesize(); id += 3 {
		f.Add(uint32(id*os.Getpagesize()+8), []byte{branchPage, 0, 3})
		f.Add(uint32(id*os.Getpagesize()+24), []byte{2, 0, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		file := bytes.Clone(im.whole)
		copy(file[int(at)%len(file):], patch[:min(len(patch), 4096)])
		_ = im.read(t, file, im.head)
	})
}
