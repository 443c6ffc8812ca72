package store

import (
	"encoding/base32"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// BenchmarkAuthentication is the store's work for one attempt, two commits,
// beside two bare synced puts in the same run. The ratio is of throughputs.
func BenchmarkAuthentication(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	id := NewUserID()
	if err := s.Update(func(tx *Tx) error {
		return tx.AddPerson(Person{ID: id, Name: "n", Created: noon, Consent: Consent{At: noon, TextVersion: "1"}})
	}); err != nil {
		b.Fatal(err)
	}
	bare, err := bbolt.Open(filepath.Join(dir, "bare.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	put := func(i int) error {
		return bare.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return bucket.Put(fmt.Appendf(nil, "%08d", i), make([]byte, 200))
		})
	}
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		err := s.Update(func(tx *Tx) error { // counted first
			for _, user := range []UserID{id, ""} {
				l, err := tx.Lockout(user)
				if err != nil {
					return err
				}
				l.Failures++
				if err := tx.SetLockout(user, l); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = s.Update(func(tx *Tx) error { // and recorded
				p, err := tx.Person(id)
				if err != nil {
					return err
				}
				p.LastUsed = noon
				if err := tx.PutPerson(p); err != nil {
					return err
				}
				for _, user := range []UserID{id, ""} {
					if err := tx.SetLockout(user, Lockout{}); err != nil {
						return err
					}
				}
				_, err = tx.Append(Entry{At: noon, Kind: "authenticate", User: id, Outcome: "granted", Scores: map[string]float64{"face": 0.5, "finger": 80}})
				return err
			})
		}
		ours += time.Since(start)
		start = time.Now()
		for range 2 {
			if err == nil {
				err = put(n)
			}
			n++
		}
		theirs += time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(theirs)/float64(ours), "x-bare")
}

// BenchmarkLargeVault opens a vault of many people and entries and looks one up,
// beside an empty one. FACEPRINT_LARGE=people,entries; the measure is
// 100000,1000000.
func BenchmarkLargeVault(b *testing.B) {
	people, entries := 2000, 20000
	if v := os.Getenv("FACEPRINT_LARGE"); v != "" {
		if _, err := fmt.Sscanf(v, "%d,%d", &people, &entries); err != nil {
			b.Fatal(err)
		}
	}
	open := func(dir string) *Store {
		s, err := Open(filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), Options{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	encoding := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	user := func(i int) UserID {
		return UserID(encoding.EncodeToString(fmt.Appendf(nil, "%010d", i)))
	}
	fill := func(s *Store, people, entries int) {
		data := unit(7)
		for from := 0; from < max(people, entries); from += 5000 {
			if err := s.Update(func(tx *Tx) error {
				for i := from; i < min(from+5000, people); i++ {
					if err := tx.AddPerson(Person{ID: user(i), Name: "n", Created: noon, Consent: Consent{At: noon, TextVersion: "1"}}); err != nil {
						return err
					}
					if _, err := tx.AddTemplate(Template{ID: "f", User: user(i), Kind: KindFace, Model: "m", Created: noon, Data: data}); err != nil {
						return err
					}
					if err := tx.PutRecord(Record{Kind: "pin", User: user(i), Key: "1", Value: make([]byte, 100)}); err != nil {
						return err
					}
				}
				for i := from; i < min(from+5000, entries); i++ {
					if _, err := tx.Append(Entry{At: noon, Kind: "authenticate", User: user(i % people), Outcome: "refused", Scores: map[string]float64{"face": 0.25}}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	small, large := b.TempDir(), b.TempDir()
	one := open(small)
	fill(one, 1, 1)
	defer one.Close()
	s := open(large)
	fill(s, people, entries)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	s = open(large)
	opened := time.Since(start)
	runtime.ReadMemStats(&after)
	defer s.Close()
	lookup := func(s *Store, i int) {
		if err := s.View(func(tx *Tx) error {
			_, err := tx.Person(user(i))
			if err == nil {
				_, err = tx.Lockout(user(i))
			}
			if err == nil {
				_, err = tx.TemplatesOf(user(i), KindFace)
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range people { // once, so that the pages are in memory
		lookup(s, i)
	}
	var ours, theirs []time.Duration // medians, so that what else the machine does weighs little
	i := 0
	for b.Loop() {
		start := time.Now()
		lookup(s, i*7919%people)
		ours = append(ours, time.Since(start))
		start = time.Now()
		lookup(one, 0)
		theirs = append(theirs, time.Since(start))
		i++
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(float64(ours[len(ours)/2])/float64(theirs[len(theirs)/2]), "x-empty")
	b.ReportMetric(float64(opened.Milliseconds()), "ms-open")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "MB-open")
}
