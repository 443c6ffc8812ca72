package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/store"
)

// trusted is a simulated module on a line, and who trusts it, on a virtual clock.
type trusted struct {
	*testing.T
	trust
	sim *modsim.Sim
}

func newTrusted(t *testing.T, model string, commands ...string) *trusted {
	t.Helper()
	sim, err := modsim.New(modsim.Config{Model: model, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := &trusted{t, newTrust(t), sim}
	w.decoys = sensor.MinDecoys // drawing them is what takes time
	w.do(commands...)
	return w
}

func (w *trusted) do(commands ...string) {
	w.Helper()
	for _, c := range commands {
		if _, err := w.sim.Command(c); err != nil {
			w.Fatal(err)
		}
	}
}

// open plugs the module in, obeys the commands once it has introduced itself, and
// has it admitted.
func (w *trusted) open(between ...string) (*sensor.Module, error) {
	w.Helper()
	m := w.plugIn()
	w.do(between...)
	return m, w.admit(w.Context(), m)
}

func (w *trusted) plugIn() *sensor.Module {
	w.Helper()
	host, module := net.Pipe()
	var served sync.WaitGroup
	served.Go(func() {
		if err := w.sim.Serve(w.Context(), module); err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(func() {
		if err := errors.Join(host.Close(), module.Close()); err != nil {
			w.Error(err)
		}
		served.Wait()
	})
	m, err := sensor.New(w.Context(), host, sensor.Config{Baud: 57600, Doubts: w.doubts})
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// admitted opens the module, which must be admitted.
func (w *trusted) admitted(between ...string) sensor.Info {
	w.Helper()
	m, err := w.open(between...)
	if err != nil {
		w.Fatal(err)
	}
	return m.Info()
}

// A difference that is read once is the wire's; read twice it is another module,
// which is sealed: nothing is trusted then until somebody says so.
func TestADifferenceReadTwiceIsASwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		set := w.admitted()
		if again := w.admitted("quirk noinfo off"); again != set {
			t.Errorf("%+v, set up was %+v", again, set)
		}
		w.do("quirk noinfo") // so it introduces itself as another
		if again := w.admitted("quirk noinfo off"); again != set {
			t.Errorf("asked anew it is %+v, set up was %+v", again, set)
		}
		if err := w.refused(); err != nil {
			t.Errorf("after a difference that was read once: %v", err)
		}
		w.do("quirk noinfo")
		if _, err := w.open(); refusedFor(err) != sensor.AttackSwapped {
			t.Fatalf("read twice: %v", err)
		}
		w.do("quirk noinfo off")
		for _, err := range []error{w.refused(), second(w.open())} {
			if refusedFor(err) != sensor.AttackSwapped {
				t.Errorf("the right one after a swap: %v", err)
			}
		}
		if err := w.anew(); err != nil {
			t.Fatal(err)
		}
		if again := w.admitted(); again != set {
			t.Errorf("trusted anew it is %+v", again)
		}
	})
}

// refusedFor is what a module was caught at that is refused, "" where it is not. No error
// of it is an attack: an attempt would count it.
func refusedFor(err error) string {
	if r := (*refusedError)(nil); errors.As(err, &r) && !errors.As(err, new(*sensor.AttackError)) {
		return r.attack.Kind
	}
	return ""
}

func second[A, B any](_ A, b B) B { return b }

// Another module, factory-new and of the same model, is a swap.
func TestAnotherOfTheSameModelIsASwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		w.admitted()
		w.do("swap")
		m, err := w.open()
		if err == nil {
			t.Fatalf("%+v is admitted", m.Info())
		}
		if refusedFor(err) != sensor.AttackSwapped {
			t.Error(err)
		}
	})
}

// A swap is told once, when it is found: whoever asks for the module while it is refused,
// how often and after how many starts, attacks nobody. Trusted anew, the next is another.
func TestASwapIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		var told []string
		w.accuse = func(a *sensor.AttackError, audit uint64) {
			if audit == 0 {
				t.Error("it is in no record")
			}
			told = append(told, a.Kind)
		}
		f := &finger{part: newPart[*sensor.Module]("finger", w.log, nil, nil), trust: w.trust}
		w.admitted()
		for n := range 2 {
			w.do("swap")
			for range 3 {
				_, err := w.open()
				f.part.set(nil, false, err)
				if _, err := f.Scan(t.Context()); refusedFor(err) != sensor.AttackSwapped || !errors.Is(err, device.ErrPart) {
					t.Errorf("an attempt is told %v", err)
				}
			}
			if len(told) != n+1 || told[n] != sensor.AttackSwapped {
				t.Errorf("%d swaps, and told are %q", n+1, told)
			}
			if err := w.anew(); err != nil {
				t.Fatal(err)
			}
			w.admitted()
		}
	})
}

// What an attempt comes upon is its own to count, and what comes to light beside it is told:
// the module that is refused from then on is a part that is not there.
func TestAnAttackIsCountedOnce(t *testing.T) {
	for name, asked := range map[string]bool{"in an attempt": true, "beside": false} {
		t.Run(name, func(t *testing.T) {
			f := &finger{trust: newTrust(t)}
			told := 0
			f.trust.accuse = func(*sensor.AttackError, uint64) { told++ }
			f.part = newPart[*sensor.Module]("finger", f.trust.log, nil, nil)
			for n := range 2 {
				f.part.set(nil, true, nil)
				_, gen, _ := f.part.get()
				attack := &sensor.AttackError{Kind: sensor.AttackDecoy}
				if asked {
					if err := f.noted(gen, attack); !errors.As(err, new(*sensor.AttackError)) {
						t.Errorf("the attempt is told %v", err)
					}
				} else {
					f.unasked(gen, attack)
				}
				<-f.part.gone // whoever runs the part opens it anew
				if _, _, err := f.part.get(); refusedFor(err) != sensor.AttackDecoy {
					t.Errorf("the next is told %v", err)
				}
				if (told == 1) == asked {
					t.Errorf("after %d: told %d times", n+1, told)
				}
			}
		})
	}
}

// A template belongs to the modules that make templates of its size: what calls itself the
// same need not be the same. Before a module made any, nothing is known of that.
func TestTemplatesFitTheirKindOfModule(t *testing.T) {
	sizes := map[string]int{"r503": 1536, "r307": 768, "as608": 512}
	for model, size := range sizes {
		synctest.Test(t, func(t *testing.T) {
			m, err := newTrusted(t, model).open()
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range sizes {
				if got := m.Fits(make([]byte, other)); got != (other == size) {
					t.Errorf("%s: a template of %d bytes fits: %v", model, other, got)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "as608", "quirk noimage")
		m, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		if !m.Fits(make([]byte, 768)) {
			t.Error("it is known before it made any")
		}
		f := &finger{part: newPart[*sensor.Module]("finger", w.log, nil, nil), trust: w.trust}
		f.part.set(m, true, nil)
		_, err = f.Enrol(t.Context(), 0, func(s sensor.EnrolStep) {
			switch s.Hint {
			case sensor.HintNoFinger:
				w.do("touch alice thumb")
			case sensor.HintLift:
				w.do("lift")
			}
		})
		again, failed := w.open() // which it is known of the next time as well
		for _, m := range []*sensor.Module{m, again} {
			if err != nil || failed != nil || m.Fits(make([]byte, 768)) || !m.Fits(make([]byte, 512)) {
				t.Errorf("%+v, %v, %v", m.Info(), err, failed)
			}
		}
	})
}

// What is counted as enrolled is what the module can compare.
func TestCountOfAnotherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "as608")
		m, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		template := func(n byte, size int) []byte { return append([]byte{n}, bytes.Repeat([]byte{3, 5}, size/2)[1:]...) }
		err = w.vault.Update(func(tx *store.Tx) error {
			for i, data := range [][][]byte{{template(1, 768)}, {template(2, 768), template(3, 512)}, {template(4, 512)}, {make([]byte, 512)}} {
				id := store.NewUserID()
				if err := tx.AddPerson(store.Person{ID: id, Name: string(rune('A' + i)), Created: now, Consent: store.Consent{At: now, TextVersion: "1"}}); err != nil {
					return err
				}
				for _, d := range data {
					if _, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindModule, Model: m.Family(), Created: now, Data: d}); err != nil {
						return err
					}
				}
			}
			_, err := tx.Append(store.Entry{At: now, Kind: "enrol", Outcome: "done"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := new(room).count(w.vault, m, m); err != nil || n.fit != 3 || len(n.spoilt) != 1 || n.elsewhere != 2 || n.people != 1 {
			t.Errorf("%+v, %v", n, err)
		}
		if err := w.templates(m, func(ts [][]byte) error {
			if len(ts) != 2 || ts[0][0]+ts[1][0] != 3+4 {
				t.Errorf("%d templates go into the library", len(ts))
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		others, err := w.others(template(4, 512))
		if err != nil || slices.ContainsFunc(others, func(o []byte) bool { return len(o) != 512 }) || len(others) != 2 {
			t.Errorf("%d are lent, %v", len(others), err)
		}
	})
}

// A module that is two when it is asked twice is not set up, and nothing is sealed.
func TestSetUpAsksTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503", "quirk noinfo")
		if _, err := w.open("quirk noinfo off"); !errors.Is(err, sensor.ErrProtocol) {
			t.Errorf("%v", err)
		}
		if k, err := w.load(); k != nil || err != nil {
			t.Errorf("%+v is sealed, %v", k, err)
		}
		w.admitted()
	})
}

// What a module does not say is learnt while it is set up, sealed, and taken over at
// the next opening; it makes no other module of it. One that takes no pictures is
// admitted without decoys, and what lay in its library is gone.
func TestWhatWasSeenIsSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503", "quirk noinfo")
		set := w.admitted()
		if set.Width != 192 || set.Height != 192 || set.Template != 1536 || set.Buffers != 6 {
			t.Errorf("set up: %+v", set)
		}
		if again := w.admitted(); again != set {
			t.Errorf("%+v, set up was %+v", again, set)
		}
		if err := w.refused(); err != nil {
			t.Error(err)
		}

		w = newTrusted(t, "r307", "quirk noimage", "plant 3 alice thumb")
		for range 2 {
			m, err := w.open()
			if err != nil {
				t.Fatal(err)
			}
			if n, err := m.TemplateCount(t.Context()); n != 0 || err != nil || m.Guarded() {
				t.Errorf("%d templates rest there, guarded %v: %v", n, m.Guarded(), err)
			}
			w.do("plant 7 mallory thumb")
		}
	})
}

// A module at a level for which its maker claims no rate is raised when it is set up;
// lowered afterwards it is another.
func TestLowSecurityLevelIsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r307", "quirk noimage")
		w.level(1)
		if i := w.admitted(); i.Level != sensor.ClaimedLevel {
			t.Errorf("level %d", i.Level)
		}
		w.admitted()
		w.level(2)
		if _, err := w.open(); refusedFor(err) != sensor.AttackSwapped {
			t.Errorf("lowered behind the host's back: %v", err)
		}
	})
}

// level sets the module's security level behind the daemon's back.
func (w *trusted) level(n int) {
	w.Helper()
	if err := w.plugIn().SetLevel(w.Context(), n); err != nil {
		w.Fatal(err)
	}
}

// One picture that the wire damages is no reason to trust a module without decoys
// for ever.
func TestDamagedPictureCostsNoDecoys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		m, err := w.open("fault clear", "fault in flip 5000 8")
		if err != nil || !m.Guarded() {
			t.Errorf("guarded %v, %v", m.Guarded(), err)
		}
		if k, err := w.load(); err != nil || len(k.Decoys.Templates) != w.decoys {
			t.Errorf("%+v, %v", k, err)
		}
	})
}

// Doubts about the module before are not held against the one that is set up in its
// place.
func TestDoubtsAreOfOneModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		m, err := w.open("touch alice thumb")
		if err != nil {
			t.Fatal(err)
		}
		w.do("lie same")
		p, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Match(t.Context(), p, bytes.Repeat([]byte{1, 2}, 300)); !errors.Is(err, sensor.ErrDoubt) {
			t.Fatalf("%v", err)
		}
		if *w.doubts == (sensor.Doubts{}) {
			t.Error("nothing is counted")
		}
		w.do("lie honest")
		w.admitted()
		if *w.doubts == (sensor.Doubts{}) {
			t.Error("opened again, nothing is counted")
		}
		if err := w.anew(); err != nil {
			t.Fatal(err)
		}
		w.admitted()
		if *w.doubts != (sensor.Doubts{}) {
			t.Errorf("%+v are held against a new module", *w.doubts)
		}
	})
}

// A set-up behind an enrolment that was broken off makes its decoys all the same:
// what that left in the module's buffers is no reason to do without.
func TestSetUpAfterABrokenEnrolment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "r503")
		m := w.plugIn()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := m.Enrol(ctx, 0, func(s sensor.EnrolStep) {
			switch {
			case s.Done == 3:
				cancel()
			case s.Hint == sensor.HintNoFinger:
				w.do("touch mallory thumb")
			case s.Hint == sensor.HintLift:
				w.do("lift")
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("the enrolment ended with %v", err)
		}
		if err := w.admit(t.Context(), m); err != nil || !m.Guarded() {
			t.Errorf("decoys %v, %v", m.Guarded(), err)
		}
	})
}
