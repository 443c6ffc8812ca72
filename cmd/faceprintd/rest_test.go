package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/store"
)

// people enrols so many fingers with the module, all of one person's: i's thumb is
// template i.
func (w *trusted) people(m *sensor.Module, n int) (user store.UserID, ids []string, made [][]byte) {
	w.Helper()
	user, ids, made = store.NewUserID(), make([]string, n), make([][]byte, n)
	for i := range n {
		template, err := m.Enrol(w.Context(), 0, func(s sensor.EnrolStep) {
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
			w.Fatal(err)
		}
	}
	w.do("lift")
	return user, ids, made
}

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
		user, ids, made := w.people(m, people)
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
		err = w.templates(m, func(ts [][]byte) error {
			at, score, err := f.Identify(t.Context(), probe, ts)
			if at < 0 || score == 0 || !bytes.Equal(ts[at], made[3]) {
				t.Errorf("3 is %d, score %v", at, score)
			}
			return err
		})
		if n := m.Stats().Commands - before; err != nil || n > 40 {
			t.Errorf("a search took %d instructions, %v", n, err)
		}
		forget(2)
		count("too few to be searched are left", 0)
		if _, _, err := f.part.get(); err != nil {
			t.Error(err)
		}
	})
}

// After an error the filling goes on by itself. A module that does not answer while a
// template is stored is lost, and opened anew.
func TestModuleAtRestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 6
		w := newTrusted(t, "r503")
		f := &finger{trust: w.trust, moved: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
		f.part = newPart("finger", w.log, func(context.Context) (*sensor.Module, error) { return w.open() }, func(m *sensor.Module) error {
			return closeModule(m, false)
		})
		var running sync.WaitGroup
		defer running.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		running.Go(func() { f.part.run(ctx, f.rests) })
		opened := func() (*sensor.Module, uint64) {
			for {
				if m, gen, err := f.part.get(); err == nil {
					return m, gen
				}
				time.Sleep(time.Millisecond) // of the bubble
			}
		}
		filled := func(what string) (gen uint64) {
			t.Helper()
			time.Sleep(time.Minute)
			m, gen := opened()
			if n, err := m.TemplateCount(t.Context()); err != nil || n != people+sensor.MinDecoys {
				t.Errorf("%s: %d templates in the library, want %d, %v", what, n, people+sensor.MinDecoys, err)
			}
			return gen
		}
		m, first := opened()
		w.people(m, people)
		running.Go(func() { f.rest(ctx) })

		f.searches.Store(true)
		f.rests()
		filled("nothing happened")
		if err := errors.Join(m.Tidy(t.Context()), m.Purge(t.Context())); err != nil {
			t.Fatal(err)
		}
		w.do("fault clear", "fault out flip 22 255") // DownChar's answer has twelve bytes; Store's sum
		f.rests()
		if gen := filled("an answer was damaged"); gen != first || m.Stats().BadSums != 1 {
			t.Errorf("a damaged answer: opening %d, then %d; %d bad sums", first, gen, m.Stats().BadSums)
		}
		if err := m.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.rests()
		time.Sleep(1200 * time.Millisecond)
		w.do("mute")
		time.Sleep(2 * time.Second) // longer than an answer takes, and over before the daemon asks whether it is there
		w.do("unmute")
		if gen := filled("it was silent"); gen == first {
			t.Error("a silent module was not opened anew")
		}

		// One that does not return what was stored is an attacker, and not written to for ever.
		m, _ = opened()
		if err := m.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.do("quirk blank")
		f.rests()
		time.Sleep(2 * time.Minute)
		before := m.Stats()
		time.Sleep(time.Hour)
		if refusedFor(w.refused()) != sensor.AttackLibrary {
			t.Errorf("it is trusted: %v", w.refused())
		}
		if after := m.Stats(); before.Doubts == 0 || after.Commands != before.Commands {
			t.Errorf("%d doubts, and %d instructions in the hour after them", before.Doubts, after.Commands-before.Commands)
		}
	})
}

// A module that does not empty its library when the daemon stops is asked again, and what
// stays in it is told.
func TestLibraryThatStays(t *testing.T) {
	for name, silent := range map[string]time.Duration{"for a moment": 6 * time.Second, "for good": time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			const people = 4
			w := newTrusted(t, "r503")
			m, err := w.open()
			if err != nil {
				t.Fatal(err)
			}
			_, _, made := w.people(m, people)
			if err := m.Stock(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			w.do("mute")
			time.AfterFunc(silent, func() { w.do("unmute") })
			start := time.Now()
			err = closeModule(m, true)
			if took := time.Since(start); took > stopTime+time.Second {
				t.Errorf("silent %s: closing took %v", name, took)
			}
			if stays := silent == time.Hour; stays != errors.As(err, new(*keptError)) || stays != (err != nil) || stays && !strings.Contains(err.Error(), "6 slots") {
				t.Errorf("silent %s: %v", name, err)
			}
		})
	}
}

// A record that cannot be a template is left out, the others are not, and the log says it
// once, by name.
func TestSpoiltTemplateIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		m, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		user, _, _ := w.people(m, 2)
		if err := w.vault.Update(func(tx *store.Tx) (err error) {
			_, err = tx.AddTemplate(store.Template{User: user, Kind: store.KindModule, Model: m.Family(), ID: "spoilt", Created: time.Now(), Data: bytes.Repeat([]byte{0xFF}, 1536)})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		w.log = slog.New(slog.NewTextHandler(&said, nil))
		name := string(user) + "/spoilt"
		for range 3 {
			if err := w.templates(m, func(ts [][]byte) error {
				if len(ts) != 2 {
					t.Errorf("%d templates", len(ts))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Count(said.String(), name) != 1 {
			t.Errorf("the log says %q", said.String())
		}
		if n, err := new(room).count(w.vault, m, m); n.fit != 3 || !slices.Equal(n.spoilt, []string{name}) || n.elsewhere != 0 || err != nil {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

// A module that was lost, or called an attacker, with templates in it and is not opened
// again before the daemon stops is emptied then, or it is said that it was not; one whose loss nobody noticed is opened
// anew for it, and another that took its place keeps what is in it.
func TestLibraryOfALostModule(t *testing.T) {
	for _, how := range []string{"lost", "called an attacker", "lost for good", "lost unnoticed", "another in its place"} {
		synctest.Test(t, func(t *testing.T) {
			const people, others = 4, 3
			w := newTrusted(t, "r503")
			var said bytes.Buffer
			w.log = slog.New(slog.NewTextHandler(&said, nil))
			f := &finger{trust: w.trust, moved: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			opened, kept := 0, kept{log: w.log}
			f.part = newPart("finger", w.log, func(context.Context) (*sensor.Module, error) {
				if err := w.refused(); err != nil {
					return nil, err
				}
				if opened++; opened > 1 {
					return nil, sensor.ErrTimeout // still silent
				}
				return w.open()
			}, func(m *sensor.Module) error {
				err := closeModule(m, ctx.Err() != nil)
				kept.closed(err)
				return err
			})
			f.part.stopped = func() {
				kept.stop(func(context.Context) (*sensor.Module, error) {
					w.do("unmute") // what was opened before is given up by now
					switch how {
					case "lost for good":
						return nil, sensor.ErrNoModule
					case "another in its place":
						w.do("swap")
						for slot := range others {
							w.do(fmt.Sprintf("plant %d alice thumb", slot))
						}
					}
					return w.plugIn(), nil
				})
			}
			f.part.check = checkModule
			var running sync.WaitGroup
			running.Go(func() { f.part.run(ctx, func() {}) })
			var m *sensor.Module
			var gen uint64
			for err := error(sensor.ErrTimeout); err != nil; m, gen, err = f.part.get() {
				time.Sleep(time.Millisecond) // of the bubble
			}
			_, _, made := w.people(m, people)
			if err := m.Stock(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			w.do("mute")
			if how == "called an attacker" {
				if err := f.noted(gen, &sensor.AttackError{Kind: sensor.AttackLibrary, Detail: "for a test"}); err == nil {
					t.Error("nothing is noted")
				}
			}
			if how != "lost unnoticed" {
				time.Sleep(40 * time.Second)
			}
			synctest.Wait()
			before := said.Len()
			cancel()
			running.Wait()
			n, err := w.plugIn().TemplateCount(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stop := said.String()[before:]
			stays, rest := how == "lost for good" || how == "another in its place", 0
			switch how {
			case "lost for good":
				rest = 6 // with the decoys
			case "another in its place":
				rest = others
			}
			if n != rest || stays != strings.Contains(stop, "sensor set PORT --empty-library") || stays != strings.Contains(stop, "6 slots") || stays == strings.Contains(stop, "was emptied") {
				t.Errorf("%s: %d templates rest in the module, the log of the stop says %q", how, n, stop)
			}
		})
	}
}

// That another module was set up in the place of one that was lost with templates in it
// makes nobody forget those: it is said then and at the stop, and they are gone once it is
// put back, set up or not.
func TestLibraryOfAReplacedModule(t *testing.T) {
	for _, how := range []string{"replaced", "put back", "put back with its level set", "put back at the stop", "put back at the stop with its level set"} {
		synctest.Test(t, func(t *testing.T) {
			const people, templates = 4, 4 + sensor.MinDecoys
			w := newTrusted(t, "r503")
			first := w.sim
			second, err := modsim.New(modsim.Config{Model: "r503", Seed: 2})
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			w.log = slog.New(slog.NewTextHandler(&said, nil))
			var here atomic.Pointer[modsim.Sim] // which of them is on the port
			here.Store(first)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			kept := kept{log: w.log}
			part := newPart("finger", w.log, func(context.Context) (*sensor.Module, error) {
				if err := w.refused(); err != nil {
					return nil, err
				}
				w.sim = here.Load()
				m, err := w.open()
				if err == nil {
					kept.opened(m.Info())
				}
				return m, err
			}, func(m *sensor.Module) error {
				err := closeModule(m, ctx.Err() != nil)
				kept.closed(err)
				return err
			})
			part.stopped = func() {
				kept.stop(func(context.Context) (*sensor.Module, error) {
					w.sim = here.Load()
					return w.plugIn(), nil
				})
			}
			var running sync.WaitGroup
			running.Go(func() { part.run(ctx, func() {}) })
			there := func(after uint64) (*sensor.Module, uint64) {
				for {
					if m, gen, err := part.get(); err == nil && gen > after {
						return m, gen
					}
					time.Sleep(time.Millisecond) // of the bubble
				}
			}
			trust := func(after uint64) (*sensor.Module, uint64) {
				if err := w.anew(); err != nil {
					t.Fatal(err)
				}
				part.reopen(errors.New("being set up anew"))
				return there(after)
			}
			m, gen := there(0)
			serial := m.Info().Serial
			_, _, made := w.people(m, people)
			if err := m.Stock(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			here.Store(second)
			w.do("mute")
			part.lost(gen, sensor.ErrTimeout)
			time.Sleep(time.Minute)
			if refusedFor(w.refused()) != sensor.AttackSwapped {
				t.Fatalf("another module is taken: %v", w.refused())
			}
			m, gen = trust(gen)
			if m.Info().Serial == serial {
				t.Fatal("there is one module")
			}
			if err := m.Stock(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			if _, err := first.Command("unmute"); err != nil {
				t.Fatal(err)
			}
			how, set := strings.CutSuffix(how, " with its level set")
			if set {
				w.sim = first
				if err := w.plugIn().SetLevel(t.Context(), 5); err != nil {
					t.Fatal(err)
				}
			}
			switch how {
			case "put back":
				here.Store(first)
				if m, _ = trust(gen); m.Info().Serial != serial {
					t.Fatal("it is not back")
				}
			case "put back at the stop":
				here.Store(first)
			}
			synctest.Wait()
			before := said.Len()
			cancel()
			running.Wait()
			rest := 0
			if how == "replaced" {
				rest = templates
			}
			for sim, want := range map[*modsim.Sim]int{first: rest, second: 0} {
				w.sim = sim
				if n, err := w.plugIn().TemplateCount(t.Context()); n != want || err != nil {
					t.Errorf("%s: %d templates rest in a module, want %d, %v", how, n, want, err)
				}
			}
			keeps := func(log string) bool {
				return strings.Contains(log, "serial="+serial) && strings.Contains(log, fmt.Sprint(templates, " slots")) && strings.Contains(log, "sensor set PORT --empty-library")
			}
			run, stop := said.String()[:before], said.String()[before:]
			if !keeps(run) || keeps(stop) != (how == "replaced") || strings.Contains(stop, "was emptied") != (how == "put back at the stop") {
				t.Errorf("%s, its level set %v: the log says %q and at the stop %q", how, set, run, stop)
			}
		})
	}
}
