package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
)

// While nobody uses the module, its library is filled for whoever comes next; who is
// forgotten is gone from it when Purge returns, also while it is being filled, and the
// others stay.
func TestModuleAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 6
		w := newTrusted(t, "r307")
		m, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		f := &finger{part: newPart[*sensor.Module]("finger", w.log, nil, nil), trust: w.trust, idle: make(chan struct{}, 1)}
		f.part.set(m, true, nil)
		user, ids, made := store.NewUserID(), make([]string, people), make([][]byte, people)
		for i := range people {
			template, err := m.Enrol(t.Context(), 0, func(s sensor.EnrolStep) {
				switch s.Hint {
				case sensor.HintNoFinger:
					w.do(fmt.Sprintf("touch %d thumb", i))
				case sensor.HintLift:
					w.do("lift")
				}
			})
			made[i] = bytes.Clone(template)
			if err == nil {
				err = w.vault.Update(func(tx *store.Tx) (err error) {
					if i == 0 {
						err = tx.AddPerson(store.Person{ID: user, Name: "All", Created: time.Now(), Consent: store.Consent{At: time.Now(), TextVersion: "1"}})
					}
					if err == nil {
						ids[i], err = tx.AddTemplate(store.Template{User: user, Kind: store.KindModule, Model: m.Family(), Label: fmt.Sprint("finger-", i), Created: time.Now(), Data: template})
					}
					return err
				})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.do("lift")
		count := func(what string, want int) {
			t.Helper()
			if n, err := m.TemplateCount(t.Context()); err != nil || n != want {
				t.Errorf("%s: %d templates in the library, want %d, %v", what, n, want, err)
			}
		}
		var running sync.WaitGroup
		defer running.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		running.Go(func() { f.rest(ctx) })

		f.rests()
		time.Sleep(time.Minute) // of the bubble
		count("nobody is looked for", 0)

		f.searches.Store(true)
		f.rests()
		time.Sleep(1200 * time.Millisecond) // it has begun
		forget := func(i int) {
			t.Helper()
			if err := w.vault.Update(func(tx *store.Tx) error { return tx.DeleteTemplate(user, ids[i]) }); err != nil {
				t.Fatal(err)
			}
			f.Purge(t.Context())
		}
		forget(0)
		time.Sleep(time.Minute)
		count("one was forgotten while it was filled", people-1+sensor.MinDecoys)
		forget(1)
		count("one was forgotten", people-2+sensor.MinDecoys)

		w.do("touch 3 thumb")
		probe, err := f.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := m.Stats().Commands
		err = w.templates(m.Family(), func(ts [][]byte) error {
			at, score, err := f.Identify(t.Context(), probe, ts)
			if at < 0 || score == 0 || !bytes.Equal(ts[at], made[3]) {
				t.Errorf("3 is %d, score %v", at, score)
			}
			return err
		})
		if n := m.Stats().Commands - before; err != nil || n > 40 {
			t.Errorf("a search took %d instructions, %v", n, err)
		}
		if _, _, err := f.part.get(); err != nil {
			t.Error(err)
		}
	})
}
