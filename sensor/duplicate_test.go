package sensor_test

import (
	"context"
	"errors"
	"fmt"
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
