package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// decoys of the module, as the daemon makes them.
func decoys(t testing.TB, m *sensor.Module, n int) sensor.Decoys {
	t.Helper()
	var d sensor.Decoys
	w, h := m.Info().Window()
	for i := range n {
		p := sensor.Picture{Width: w, Height: h, Pix: make([]byte, w*h)}
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for j := range p.Pix {
			p.Pix[j] = byte(r.Uint32())
		}
		template, took, err := m.MakeDecoy(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		d.Templates = append(d.Templates, template)
		if d.Compare == 0 || took < d.Compare {
			d.Compare = took
		}
	}
	return d
}

// fewer is how often something is done that computes for long: whole, or under
// -short, which is the race detector's run, short. What the tests show by number
// they show without it; there the same goroutines only have to meet.
func fewer(whole, short int) int {
	if testing.Short() {
		return short
	}
	return whole
}

// scripts are the seeds of the fault scripts to run, from <= seed < to: the
// first few thousand (others, and fewer, under -short), or those that FACEPRINT_SCRIPTS names, "N" for the first N
// (the nightly target's million) or "FROM-TO" for a piece of them.
func scripts(t *testing.T) (from, to int) {
	text := os.Getenv("FACEPRINT_SCRIPTS")
	if text == "" && testing.Short() {
		return 4000, 5500 // each model has a batch
	} else if text == "" {
		return 0, 4000
	}
	first, last, piece := strings.Cut(text, "-")
	if !piece {
		first, last = "0", text
	}
	from, err := strconv.Atoi(first)
	if err == nil {
		to, err = strconv.Atoi(last)
	}
	if err != nil || from >= to {
		t.Fatalf("FACEPRINT_SCRIPTS=%q is neither a number nor FROM-TO", text)
	}
	return from, to
}

// Bytes of one attempt, both ways, with decoys: faults fall anywhere in them.
const bytesIn, bytesOut = 7000, 250

// The latest that an answer comes in these scripts.
const lateMost = 4 * time.Second

// script is a few faults at random moments; late tells whether the module may
// still be at it when the fault is over.
func script(r *rand.Rand, in, out int) (s []string, late bool) {
	for range 1 + r.IntN(4) {
		way, most := "in", in
		if r.IntN(2) == 0 {
			way, most = "out", out
		}
		at := r.IntN(most)
		kind, n := "", 0
		switch r.IntN(9) {
		case 0:
			kind, n = "drop", 1+r.IntN(300)
		case 1, 2:
			kind, n = "flip", 1+r.IntN(255)
		case 3:
			kind, n = "insert", 1+r.IntN(40)
		case 4:
			kind, n, late = "insert", 1+r.IntN(4000), true // a flood
		case 5:
			kind, n, late = "delay", 1+r.IntN(int(lateMost/time.Millisecond)), true
		case 6:
			kind, n = "cut", 0
		case 7:
			kind, n = "dup", 1+r.IntN(3)
		case 8:
			way, at, kind = "out", r.IntN(out), "wrong"
		}
		s = append(s, fmt.Sprintf("fault %s %s %d %d", way, kind, at, n))
	}
	return s, late
}

// Whatever happens to the line: no hang beyond the deadline, nobody else is
// accepted, no honest module is called an attacker, and the first instruction
// after the fault works. In between, enrolments are aborted, others let in as
// themselves and the module is opened anew, so that what lies in its buffers is
// anybody's. A goroutine that were left behind would end the bubble with a panic.
func TestFaultScripts(t *testing.T) {
	const batch = 500
	from, to := scripts(t)
	for ; from < to; from += batch {
		count := min(batch, to-from)
		synctest.Test(t, func(t *testing.T) {
			model := []string{"r503", "r307", "as608"}[from/batch%3]
			s, err := modsim.New(modsim.Config{Model: model, Seed: uint64(from)})
			if err != nil {
				t.Fatal(err)
			}
			m := wired(t, s)
			template, own := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "mallory", "thumb")
			d := decoys(t, m, 3)
			d.Keeps = from/batch%2 == 1 // else nothing tells what lies in its buffer
			if err := m.Guard(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			yes, aborted, opened := 0, 0, 0
			for i := range count {
				seed := uint64(from + i)
				before := rand.New(rand.NewPCG(seed, 7))
				switch before.IntN(8) {
				case 0:
					abortEnrolment(t, m, s, []string{"alice", "mallory"}[before.IntN(2)], 2)
					aborted++
				case 1:
					do(t, s, "touch mallory thumb")
					if ok, err := attempt(t, m, own, time.Minute); !ok {
						t.Fatalf("script %d: mallory's own: %v", seed, err)
					}
				}
				if before.IntN(8) == 0 {
					m = wired(t, s)
					if err := m.Guard(t.Context(), d); err != nil {
						t.Fatal(err)
					}
					opened++
				}
				r := rand.New(rand.NewPCG(seed, 2))
				faults, late := script(r, bytesIn, bytesOut)
				mallory := r.IntN(3) > 0
				if mallory {
					do(t, s, "touch mallory thumb")
				} else {
					do(t, s, "touch alice thumb")
				}
				do(t, s, "fault clear") // its bytes are counted from here
				do(t, s, faults...)
				accepted, err := attempt(t, m, template, 8*time.Second)
				if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
					t.Errorf("script %d %q: an honest module is called an attacker: %v", seed, faults, err)
				}
				if accepted && mallory {
					t.Errorf("script %d %q: mallory is accepted", seed, faults)
				}
				if accepted {
					yes++
				}
				do(t, s, "fault clear")
				// A module that is late is still at it; the others must answer now.
				if _, err := m.TemplateCount(t.Context()); err != nil && late {
					time.Sleep(2 * lateMost)
				} else if err != nil {
					t.Errorf("script %d %q: the next instruction fails: %v", seed, faults, err)
				}
				if n, err := m.TemplateCount(t.Context()); err != nil || n != 0 {
					t.Errorf("script %d %q: the instruction after it: %d, %v", seed, faults, n, err)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			do(t, s, "touch alice thumb")
			if accepted, err := attempt(t, m, template, time.Minute); !accepted {
				t.Errorf("scripts from %d: alice is refused afterwards: %v", from, err)
			}
			if testing.Verbose() {
				t.Logf("%s: %d scripts from %d, alice got through %d of them; %d enrolments aborted, opened anew %d times", model, count, from, yes, aborted, opened)
			}
		})
	}
}

// The same of a search in the library, where templates are stored, deleted and
// read back: an honest module behind a bad wire is never called an attacker, and
// never names the wrong person.
func TestLibraryFaultScripts(t *testing.T) {
	const batch, in, out = 250, 9000, 4000
	from, to := scripts(t)
	for to = from + (to-from)/4; from < to; from += batch {
		synctest.Test(t, func(t *testing.T) {
			s, err := modsim.New(modsim.Config{Model: []string{"r503", "r307", "as608"}[from/batch%3], Seed: uint64(from)})
			if err != nil {
				t.Fatal(err)
			}
			m := wired(t, s)
			people := []string{"alice", "bob", "carol"}
			var templates [][]byte
			for _, p := range people {
				templates = append(templates, enrol(t, m, s, p, "thumb"))
			}
			d := decoys(t, m, 3)
			if d.Keeps, err = m.Keeps(t.Context(), d.Templates[0]); err != nil || !d.Keeps {
				t.Fatal(err)
			}
			if err := m.Guard(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			identify := func(d time.Duration, among [][]byte) (int, error) {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				probe, err := m.Scan(ctx)
				if err != nil {
					return -1, err
				}
				i, _, err := m.Identify(ctx, probe, among)
				return i, err
			}
			found := 0
			for i := range batch {
				seed := uint64(from + i)
				r := rand.New(rand.NewPCG(seed, 3))
				faults, late := script(r, in, out)
				who := r.IntN(4) // the last is nobody's
				do(t, s, "touch "+append(people, "mallory")[who]+" thumb", "fault clear")
				do(t, s, faults...)
				got, err := identify(20*time.Second, templates[:1+r.IntN(3)]) // people come and go
				if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
					t.Fatalf("script %d %q: an honest module is called an attacker: %v", seed, faults, err)
				}
				if got >= 0 && got != who {
					t.Fatalf("script %d %q: person %d is found to be %d", seed, faults, who, got)
				}
				if got >= 0 {
					found++
				}
				do(t, s, "fault clear")
				if _, err := m.TemplateCount(t.Context()); err != nil && late {
					time.Sleep(2 * lateMost)
				} else if err != nil {
					t.Fatalf("script %d %q: the next instruction fails: %v", seed, faults, err)
				}
			}
			// A template that was damaged on its way into the library is found out
			// after two searches in vain: three slots, two of which are read each time.
			do(t, s, "touch carol thumb")
			got, err := identify(time.Minute, templates)
			for try := 0; got != 2 && try < 3; try++ {
				got, err = identify(time.Minute, templates)
			}
			if got != 2 || err != nil {
				t.Errorf("scripts from %d: carol is %d afterwards, %v", from, got, err)
			}
			if testing.Verbose() {
				t.Logf("%d scripts from %d: somebody was found in %d, %+v", batch, from, found, m.Stats())
			}
		})
	}
}

// attempt scans and compares under a deadline, and fails the test where that is
// passed: an instruction may end its answer's time after it, no more.
func attempt(t *testing.T, m *sensor.Module, template []byte, d time.Duration) (bool, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	defer func() {
		if took := time.Since(start); took > d+time.Second {
			t.Errorf("it took %v with a deadline of %v", took, d)
		}
	}()
	probe, err := m.Scan(ctx)
	if err != nil {
		return false, err
	}
	score, err := m.Match(ctx, probe, template)
	return err == nil && score > 0, err
}

// One flipped byte that loses the download of a template leaves what lay in the
// buffer before: whoever aborted an enrolment, or was there before the module was
// opened again, is not accepted as somebody else with it, and no honest module is
// called an attacker.
func TestLostTemplateAfterAnother(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for _, before := range []string{"enrolment", "opening"} {
			t.Run(model+" "+before, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, model)
					m := wired(t, s)
					template, own := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "mallory", "thumb")
					d := decoys(t, m, 3)
					for i := range 40 {
						m := wired(t, s)
						if err := m.Guard(t.Context(), d); err != nil {
							t.Fatal(err)
						}
						if before == "enrolment" {
							abortEnrolment(t, m, s, "mallory", 2)
						} else {
							do(t, s, "touch mallory thumb")
							if ok, err := attempt(t, m, own, 20*time.Second); !ok {
								t.Fatal(err)
							}
							m = wired(t, s)
							if err := m.Guard(t.Context(), d); err != nil {
								t.Fatal(err)
							}
						}
						flipped := flip(t, s, "mallory", i, 40, 400)
						ok, err := attempt(t, m, template, 20*time.Second)
						if attack := (*sensor.AttackError)(nil); ok || errors.As(err, &attack) {
							t.Fatalf("%s: accepted %v, %v", flipped, ok, err)
						}
						do(t, s, "fault clear")
					}
				})
			})
		}
	}
}

// abortEnrolment ends an enrolment after so many captures, of as many as the module
// merges.
func abortEnrolment(t *testing.T, m *sensor.Module, s *modsim.Sim, who string, captures int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := follow(t, s, "touch "+who+" thumb")
	if _, err := m.Enrol(ctx, 0, func(step sensor.EnrolStep) {
		if step.Done >= captures {
			cancel()
			return
		}
		next(step)
	}); !errors.Is(err, context.Canceled) {
		t.Fatalf("the enrolment ended with %v", err)
	}
}

// flip puts a finger on the sensor and flips one byte on the way to the module.
func flip(t *testing.T, s *modsim.Sim, who string, seed, from, n int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(seed), 9))
	fault := fmt.Sprintf("fault in flip %d 255", from+r.IntN(n))
	do(t, s, "touch "+who+" thumb", "fault clear", fault)
	return fault
}

// The same without decoys, where the buffer holds the template that matched
// before: neither one lost download nor every one of an attempt lets its owner in
// as somebody else.
func TestLostTemplateWithoutDecoys(t *testing.T) {
	for _, model := range []string{"r503", "r307", "as608"} {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				m := wired(t, s)
				template, own := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "mallory", "thumb")
				for i := range 60 {
					if i%2 == 0 {
						do(t, s, "touch mallory thumb")
						if ok, err := attempt(t, m, own, 20*time.Second); !ok {
							t.Fatal(err)
						}
					} else {
						abortEnrolment(t, m, s, "mallory", 2)
					}
					if i%3 == 0 {
						m = wired(t, s)
					}
					faults := []string{flip(t, s, "mallory", i, 40, 800)}
					for at := 100; i%4 == 3 && at < 4000; at += 100 { // every packet of them
						faults = append(faults, fmt.Sprintf("fault in flip %d 255", at))
					}
					do(t, s, faults...)
					if ok, err := attempt(t, m, template, 20*time.Second); ok {
						t.Fatalf("%d %q: mallory is accepted, %v", i, faults, err)
					}
					do(t, s, "fault clear")
				}
				for range 2 { // the second time her own template is there
					do(t, s, "touch alice thumb")
					if ok, err := attempt(t, m, template, time.Minute); !ok {
						t.Errorf("alice is refused: %v", err)
					}
				}
			})
		})
	}
}

// Whatever falls on the line of a module without decoys, with enrolments that
// were aborted and openings in between: nobody else is accepted.
func TestFaultScriptsWithoutDecoys(t *testing.T) {
	const batch = 250
	from, to := scripts(t)
	for to = from + (to-from)/4; from < to; from += batch {
		synctest.Test(t, func(t *testing.T) {
			s, err := modsim.New(modsim.Config{Model: []string{"r503", "r307", "as608"}[from/batch%3], Seed: uint64(from)})
			if err != nil {
				t.Fatal(err)
			}
			m := wired(t, s)
			template, own := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "mallory", "thumb")
			for i := range batch {
				seed := uint64(from + i)
				r := rand.New(rand.NewPCG(seed, 5))
				switch r.IntN(3) {
				case 0:
					abortEnrolment(t, m, s, "mallory", 2)
				case 1:
					do(t, s, "touch mallory thumb")
					if ok, err := attempt(t, m, own, time.Minute); !ok {
						t.Fatalf("script %d: mallory's own: %v", seed, err)
					}
				}
				if r.IntN(4) == 0 {
					m = wired(t, s)
				}
				faults, _ := script(r, 3600, 150)
				do(t, s, "touch mallory thumb", "fault clear")
				do(t, s, faults...)
				if ok, err := attempt(t, m, template, 8*time.Second); ok {
					t.Fatalf("script %d %q: mallory is accepted, %v", seed, faults, err)
				}
				do(t, s, "fault clear")
				time.Sleep(2 * lateMost) // of the bubble: a module that is late is still at it
			}
			do(t, s, "touch alice thumb")
			if ok, err := attempt(t, m, template, time.Minute); !ok {
				t.Errorf("scripts from %d: alice is refused afterwards: %v", from, err)
			}
		})
	}
}

// A finger that is enrolled already is found, wherever one byte to the module is
// flipped: in the new template, or in those that it is compared with.
func TestSameFingerIsFoundOnABadWire(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				m := wired(t, s)
				other := enrol(t, m, s, "bob", "thumb")
				own, again := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "alice", "thumb")
				for at := 0; at < 9*len(own); at += 97 {
					do(t, s, "fault clear", fmt.Sprintf("fault in flip %d 255", at))
					got, err := m.Same(t.Context(), again, [][]byte{other, own}, new(sensor.Check))
					if got != 1 && err == nil {
						t.Fatalf("byte %d: the finger is %d, want 1", at, got)
					}
				}
				do(t, s, "fault clear")
				if got, err := m.Same(t.Context(), again, [][]byte{other, own}, new(sensor.Check)); got != 1 || err != nil {
					t.Errorf("on a good wire: %d, %v", got, err)
				}
			})
		})
	}
}

// A transfer of which the wire lost a part, wherever, is read again and not taken for a
// shorter one: nor where the last packet is what was cut.
func TestTransferIsWholeOrReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		want, err := m.InfoPage(t.Context())
		if err != nil || len(want) != 512 {
			t.Fatalf("%d bytes, %v", len(want), err)
		}
		for at := range 12 + 4*139 {
			do(t, s, "fault clear", fmt.Sprintf("fault out drop %d 3", at))
			if got, err := m.InfoPage(t.Context()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("3 bytes from %d on were lost: %d bytes, %v", at, len(got), err)
			}
		}
	})
}

// A change of the password whose question or answer was lost leaves the driver
// with the one that holds, and its error tells.
func TestPasswordOnABadWire(t *testing.T) {
	for fault, want := range map[string]string{
		"fault out drop 0 12": "", "fault out flip 10 255": "", "fault out delay 0 3000": "", "fault in flip 12 255": "old password",
	} {
		for _, model := range []string{"r503", "as608"} {
			t.Run(model+" "+fault, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, model)
					m := wired(t, s)
					do(t, s, "fault clear", fault)
					err := m.SetPassword(t.Context(), 5)
					do(t, s, "fault clear")
					if e := m.HandShake(t.Context()); e != nil {
						t.Errorf("SetPassword says %v, and then the module %v", err, e)
					}
					holds := uint32(5)
					if err != nil {
						if holds = 0; want == "" || !strings.Contains(err.Error(), want) {
							t.Errorf("%v", err)
						}
					}
					if _, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{Baud: 57600, Password: holds}); err != nil {
						t.Errorf("0x%08X does not hold: %v", holds, err)
					}
				})
			})
		}
	}
}

// A change of the password that is cut off in time says that it may have happened,
// and one of the two holds.
func TestPasswordCutOff(t *testing.T) {
	unsure := 0
	for d := time.Millisecond; d < 60*time.Millisecond; d += time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r307")
			m := wired(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			err := m.SetPassword(ctx, 0x1234)
			if err != nil && !strings.Contains(err.Error(), "try both") {
				t.Errorf("after %v: %v", d, err)
			}
			if err != nil {
				unsure++
			}
			time.Sleep(time.Second) // of the bubble
			do(t, s, "unplug", "plug")
			time.Sleep(time.Second)
			holds := 0
			for _, p := range []uint32{0, 0x1234} {
				if m, e := sensor.New(t.Context(), plugIn(t, s), sensor.Config{Baud: 57600, Password: p}); e == nil {
					if _, e := m.TemplateCount(t.Context()); e == nil {
						holds++
					}
				}
			}
			if holds != 1 {
				t.Errorf("after %v, %v: %d passwords hold", d, err, holds)
			}
		})
	}
	if unsure == 0 {
		t.Error("none was cut off")
	}
}
