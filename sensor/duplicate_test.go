package sensor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// The search for a new finger's duplicates tells how far it is, and how long it takes:
// TestDuplicatesTime -v prints it.
func TestDuplicatesTime(t *testing.T) {
	for _, c := range sizes[:fewer(len(sizes), 2)] {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, c.model, c.baud, c.people)
			again := enrol(t, m, s, "newcomer", "thumb")
			told := 0
			check := sensor.Check{Tell: func(done, of int) {
				if done < told || of != c.people {
					t.Errorf("%d of %d behind %d", done, of, told)
				}
				told = done
			}}
			start := time.Now()
			at, err := m.Same(t.Context(), again, templates, &check)
			if at != -1 || err != nil || told != c.people {
				t.Errorf("the newcomer is %d, %v; told of %d", at, err, told)
			}
			t.Logf("%s at %d baud, %d people: %v", c.model, c.baud, c.people, time.Since(start).Round(time.Second/10))
		})
	}
}

// Somebody else's attempt may come into the search for duplicates: it goes on
// afterwards, with the finger that is enrolled and no other, and compares nobody again.
func TestSameGoesOn(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m, templates := library(t, model, 57600, 12)
				for _, known := range []bool{false, true} {
					who := "newcomer"
					if known {
						who = "0"
					}
					again := enrol(t, m, s, who, "thumb")
					ctx, cancel := context.WithCancel(t.Context())
					compared := 0
					check := sensor.Check{Tell: func(done, _ int) {
						if compared = done; done == 1 {
							cancel() // as who is given way to
						}
					}}
					begun := m.Stats().Commands
					at, err := m.Same(ctx, again, templates, &check)
					first := m.Stats().Commands - begun
					if known && at == 0 && err == nil {
						continue // it came first
					}
					if at != -1 || !errors.Is(err, context.Canceled) || compared != 1 {
						t.Fatalf("%s: %d, %v, %d were compared", who, at, err, compared)
					}
					do(t, s, "touch 5 thumb")
					probe, err := m.Scan(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if score, err := m.Match(t.Context(), probe, templates[5]); err != nil || score == 0 {
						t.Errorf("5 scores %v meanwhile, %v", score, err)
					}
					commands := m.Stats().Commands
					if at, err = m.Same(t.Context(), again, templates, &check); model == "r503" {
						if at != -1 || !errors.Is(err, sensor.ErrStale) {
							t.Fatalf("%s is compared by another's finger: %d, %v", who, at, err)
						}
						do(t, s, "touch "+who+" thumb")
						if _, err = m.Scan(t.Context()); err != nil {
							t.Fatal(err)
						}
						commands = m.Stats().Commands
						at, err = m.Same(t.Context(), again, templates, &check)
					}
					want := -1
					if known {
						want = 0
					}
					if at != want || err != nil {
						t.Errorf("%s is %d, %v; want %d", who, at, err, want)
					}
					// All and four decoys once, itself before and behind each time: twice each by
					// two instructions, and one that puts it there.
					if n := first + m.Stats().Commands - commands; !known && n != 2*2*(12+4)+2*(1+2*2*2) {
						t.Errorf("%d instructions", n)
					}
					do(t, s, "lift")
				}
			})
		})
	}
}

// A module that loses its power while it compares has nothing that could match: nobody
// counts as another's by that, not even where it starts anew in silence.
func TestSameOverAPowerCut(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m, templates := library(t, model, 57600, 6)
				for cut := range 6 {
					again := enrol(t, m, s, "0", "thumb")
					check := sensor.Check{Tell: func(done, _ int) {
						if done == cut {
							do(t, s, "unplug", "plug")
							time.Sleep(time.Second) // of the bubble: it has started
						}
					}}
					at, err := m.Same(t.Context(), again, templates, &check)
					if at != 0 && err == nil {
						t.Fatalf("cut behind %d: a finger that is enrolled is not, %d", cut, at)
					}
					for try := 0; err != nil; try++ {
						if !errors.Is(err, sensor.ErrStale) || try == 3 {
							t.Fatalf("cut behind %d: %v", cut, err)
						}
						check.Tell = nil
						do(t, s, "touch 0 thumb")
						if _, err = m.Scan(t.Context()); err != nil {
							t.Fatal(err)
						}
						at, err = m.Same(t.Context(), again, templates, &check)
						do(t, s, "lift")
					}
					if at != 0 {
						t.Errorf("cut behind %d: a finger that is enrolled is not in the end, %d, %s", cut, at, fmt.Sprint(err))
					}
				}
			})
		})
	}
}

// Whatever the wire to an honest module loses, the module is called no attacker for it, and
// no newcomer another's; no finger that is enrolled passes as new where the module returns
// what it compared, else (blind) it does where both of its sendings were lost.
func TestDuplicatesFaultScripts(t *testing.T) {
	const people = 2
	runs, shares, kinds := 20, []float64{2e-4}, []string{"to the module"}
	if from, to := scripts(t); to-from > 4000 { // make nightly
		runs, shares = min((to-from)/80, 600), []float64{2e-5, 5e-5, 1e-4, 2e-4}
		kinds = []string{"to the module", "both ways", "lost to the module", "in bursts"}
	}
	for _, model := range []string{"r503", "r307", "blind r503", "blind r307"} {
		for _, kind := range kinds {
			for _, share := range shares {
				var asked, right, wrong, attacks, failed [2]int // newcomers, those who are enrolled
				var why error
				synctest.Test(t, func(t *testing.T) {
					model, blind := strings.CutPrefix(model, "blind ")
					s := newSim(t, model)
					m, w := wiredBadly(t, s, uint64(share*1e6), sensor.Config{Baud: 57600})
					if err := m.Guard(t.Context(), decoys(t, m, 5)); err != nil {
						t.Fatal(err)
					}
					var templates [][]byte
					for i := range people {
						templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
					}
					for known, who := range []string{"newcomer", "0"} {
						for try := 0; m.HandShake(t.Context()) != nil && try < 3; try++ { // it may wait for the rest of a packet
						}
						again := enrol(t, m, s, who, "thumb")
						if blind {
							do(t, s, "quirk blank")
						}
						for range runs {
							w.be(damageOf(kind, share))
							at, err := m.Same(t.Context(), again, templates, &sensor.Check{})
							w.be(damage{})
							asked[known]++
							attack := (*sensor.AttackError)(nil)
							switch {
							case errors.As(err, &attack):
								attacks[known]++
								t.Errorf("%s, %g of the bytes %s: an honest module is called an attacker: %v", model, share, kind, err)
							case err != nil:
								failed[known]++
								why = err
							case at == known-1:
								right[known]++
							default:
								wrong[known]++
							}
							if errors.Is(err, sensor.ErrStale) {
								do(t, s, "touch "+who+" thumb")
								_, err := m.Scan(t.Context())
								for try := 0; err != nil && try < 3; try++ { // it may wait for the rest of a packet
									_, err = m.Scan(t.Context())
								}
								if err != nil {
									t.Fatal(err)
								}
							}
							time.Sleep(time.Second) // of the bubble
						}
						do(t, s, "lift", "quirk blank off")
					}
					if right[0] < asked[0]*3/4 || right[1] < asked[1]*3/4 {
						t.Errorf("%s, %g of the bytes %s: of %d newcomers %d passed, of %d who are enrolled %d were found: %v", model, share, kind, asked[0], right[0], asked[1], right[1], why)
					}
					if wrong[0] > 0 || wrong[1] > 0 && !blind {
						t.Errorf("%s, %g of the bytes %s: %d of %d newcomers are called another's, %d of %d who are enrolled pass", model, share, kind, wrong[0], asked[0], wrong[1], asked[1])
					}
				})
				t.Logf("%s, %g of the bytes %s: of %d newcomers %d passed, %d were called another's; of %d who are enrolled %d were found, %d passed; %d times an attack was called, %d checks ended in an error (%v)",
					model, share, kind, asked[0], right[0], wrong[0], asked[1], right[1], wrong[1], attacks[0]+attacks[1], failed[0]+failed[1], why)
			}
		}
	}
}

// Nor is it another's where the power is cut twice, the second time in the middle of a
// comparison, of which the module says then that it was reset.
func TestSameOverTwoPowerCuts(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, model, 57600, 6)
			if err := m.SetPassword(t.Context(), 0x1234); err != nil {
				t.Fatal(err)
			}
			failed := 0
			var why error
			for range 20 {
				again := enrol(t, m, s, "0", "thumb")
				first, second := true, true
				check := sensor.Check{Tell: func(done, _ int) {
					switch {
					case first:
						first = false
						do(t, s, "unplug", "plug")
						time.Sleep(time.Second) // of the bubble: it has started
					case second && done == 4:
						second = false
						time.AfterFunc(150*time.Millisecond, func() { do(t, s, "unplug", "plug") })
					}
				}}
				at, err := m.Same(t.Context(), again, templates, &check)
				for try := 0; errors.Is(err, sensor.ErrStale) && try < 4; try++ { // as the device does
					check.Tell = nil
					do(t, s, "touch 0 thumb")
					if _, err = m.Scan(t.Context()); err != nil {
						t.Fatal(err)
					}
					at, err = m.Same(t.Context(), again, templates, &check)
					do(t, s, "lift")
				}
				switch {
				case err != nil:
					failed++
					why = err
				case at != 0:
					t.Errorf("%s: a finger that is enrolled is not, %d", model, at)
				}
				time.Sleep(5 * time.Second) // of the bubble
			}
			if failed > 4 {
				t.Errorf("%s: %d of 20 checks ended in an error: %v", model, failed, why)
			}
		})
	}
}

// Nor is an honest module called an attacker where the line loses in silence whatever is
// long, however often somebody is enrolled, and nobody is another's or passes by it.
func TestDuplicatesBehindAnOverrun(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for _, people := range []int{0, 2} {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				line := newCable()
				w := &longLoss{far: far{line}, to: true}
				background(t, func(ctx context.Context) error { return s.Serve(ctx, w) })
				t.Cleanup(func() { line.Close() })
				m, err := sensor.New(t.Context(), line, sensor.Config{Baud: 57600})
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Guard(t.Context(), decoys(t, m, 5)); err != nil {
					t.Fatal(err)
				}
				var templates [][]byte
				for i := range people {
					templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
				}
				doubts := m.Stats().Doubts
				for range 10 {
					w.on.Store(false) // it is the check that is tried
					again := enrol(t, m, s, "newcomer", "thumb")
					w.on.Store(true)
					at, err := m.Same(t.Context(), again, templates, new(sensor.Check))
					if attack := (*sensor.AttackError)(nil); at != -1 || !errors.Is(err, sensor.ErrDoubt) || errors.As(err, &attack) {
						t.Errorf("%s, %d people: %d, %v", model, people, at, err)
					}
					do(t, s, "lift")
				}
				if n := m.Stats().Doubts - doubts; n < 10 {
					t.Errorf("%s, %d people: %d templates were lost", model, people, n)
				}
				w.on.Store(false)
				again := enrol(t, m, s, "newcomer", "thumb")
				if at, err := m.Same(t.Context(), again, templates, new(sensor.Check)); at != -1 || err != nil {
					t.Errorf("%s, %d people, on a line that is well again: %d, %v", model, people, at, err)
				}
			})
		}
	}
}

// A check that ends well clears what those before it left: the third in a row is an attack.
func TestDuplicatesClearDoubts(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, model, 57600, 1)
			again := enrol(t, m, s, "newcomer", "thumb")
			do(t, s, "lift")
			for try := range 5 {
				for range 2 {
					do(t, s, "lie yes", "quirk blank")
					_, err := m.Same(t.Context(), again, nil, new(sensor.Check))
					if attack := (*sensor.AttackError)(nil); !errors.Is(err, sensor.ErrDoubt) || errors.As(err, &attack) {
						t.Errorf("%s, round %d: %v", model, try, err)
					}
				}
				do(t, s, "lie honest", "quirk blank off")
				if at, err := m.Same(t.Context(), again, templates, new(sensor.Check)); at != -1 || err != nil {
					t.Errorf("%s, round %d: %d, %v", model, try, at, err)
				}
			}
		})
	}
}

// cutting is the module's end of a cable whose adapter drops what follows the first bytes
// of each run of data packets, END packet and all.
type cutting struct {
	far
	on   atomic.Bool
	sent atomic.Int64
}

func (w *cutting) Read(b []byte) (int, error) {
	n, err := w.far.Read(b)
	w.sent.Store(0) // the module answers next
	return n, err
}

func (w *cutting) Write(b []byte) (int, error) {
	const answer, packets = 12, 3 * (128 + 11)
	keep := len(b)
	if w.on.Load() {
		keep = min(keep, max(0, answer+packets-int(w.sent.Load())))
	}
	w.sent.Add(int64(len(b)))
	_, err := w.far.Write(b[:keep])
	return len(b), err
}

// A line that drops the tail of each template makes no blind module of an honest one, of
// which less is asked: nothing that was cut off counts as what the module returned.
func TestDuplicatesCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		line := newCable()
		w := &cutting{far: far{line}}
		background(t, func(ctx context.Context) error { return s.Serve(ctx, w) })
		t.Cleanup(func() { line.Close() })
		m, err := sensor.New(t.Context(), line, sensor.Config{Baud: 57600})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Guard(t.Context(), decoys(t, m, 5)); err != nil {
			t.Fatal(err)
		}
		again := enrol(t, m, s, "newcomer", "thumb")
		w.on.Store(true)
		at, err := m.Same(t.Context(), again, nil, new(sensor.Check))
		if at != -1 || !errors.Is(err, sensor.ErrSum) {
			t.Errorf("cut off: %d, %v", at, err)
		}
		w.on.Store(false)
		if at, err := m.Same(t.Context(), again, nil, new(sensor.Check)); at != -1 || err != nil {
			t.Errorf("whole again: %d, %v", at, err)
		}
	})
}

// A module that says yes to all is called an attacker by the check for duplicates: at once
// where it shows that it had the decoy, at the third check in a row where it shows nothing.
func TestDuplicatesOfALyingModule(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for _, how := range []string{"", "quirk blank"} {
			synctest.Test(t, func(t *testing.T) {
				s, m, _ := library(t, model, 57600, 1)
				again := enrol(t, m, s, "newcomer", "thumb")
				do(t, s, "lift", "lie yes")
				if how != "" {
					do(t, s, how)
				}
				for try := 1; ; try++ {
					at, err := m.Same(t.Context(), again, nil, new(sensor.Check))
					attack := (*sensor.AttackError)(nil)
					switch caught := errors.As(err, &attack) && attack.Kind == sensor.AttackDecoy; {
					case at != -1 || !caught && (how == "" || try == 3 || !errors.Is(err, sensor.ErrDoubt)):
						t.Fatalf("%s %s, check %d: %d, %v", model, how, try, at, err)
					case caught && how != "" && try < 3:
						t.Fatalf("%s %s is called an attacker at check %d", model, how, try)
					case caught:
						return
					}
				}
			})
		}
	}
}

// A module that says yes to what is nobody's and damages what it returns from then on has
// guessed all the same: the eighth such check in a row is an attack. An honest one behind a
// line that is damaged from then on, whichever way, is called none.
func TestDuplicatesOfALiarBehindDamage(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for _, c := range []struct{ liar, to bool }{{true, false}, {false, false}, {false, true}} {
			synctest.Test(t, func(t *testing.T) {
				s, m, w := behindAnOverrun(t, model, c.to, true)
				templates := [][]byte{enrol(t, m, s, "0", "thumb"), enrol(t, m, s, "1", "thumb")}
				again := enrol(t, m, s, "newcomer", "thumb")
				do(t, s, "lift")
				doubts := 0
				attack := (*sensor.AttackError)(nil)
				for try := 0; try < 60 && attack == nil; try++ {
					at, err := m.Same(t.Context(), again, templates, &sensor.Check{Tell: func(done, _ int) {
						if done == 1 { // a template arrived
							w.on.Store(true)
							if c.liar {
								do(t, s, "lie yes")
							}
						}
					}})
					do(t, s, "lie honest")
					w.on.Store(false)
					if at != -1 || err == nil {
						t.Fatalf("%s, %+v: %d, %v", model, c, at, err)
					}
					if errors.As(err, &attack); errors.Is(err, sensor.ErrDoubt) {
						doubts++
					}
				}
				if (attack != nil) != c.liar || c.liar && doubts != 8 {
					t.Errorf("%s, %+v: %d checks in doubt, %v", model, c, doubts, attack)
				}
			})
		}
	}
}
