package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// patience is how long an attempt lasts by the daemon's default.
const patience = 15 * time.Second

// sizes of libraries with which a search has to cope: full ones but for the decoys.
var sizes = []struct {
	model        string
	baud, people int
}{
	{"r503", 57600, 100}, {"r503", 57600, 190}, {"r503", 115200, 190}, {"r307", 57600, 990}, {"r307", 115200, 990},
}

// library is a module with its decoys, and the templates of so many people; the
// person of template i is called by its number.
func library(t *testing.T, model string, baud, people int) (*modsim.Sim, *sensor.Module, [][]byte) {
	t.Helper()
	s := newSim(t, model)
	m := wiredAt(t, s, baud)
	d := decoys(t, m, 5)
	var err error
	if d.Keeps, err = m.Keeps(t.Context(), d.Templates[0]); err != nil || !d.Keeps {
		t.Fatalf("what is stored is returned: %v, %v", d.Keeps, err)
	}
	if err := m.Guard(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var templates [][]byte
	for i := range people {
		templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
	}
	do(t, s, "lift")
	return s, m, templates
}

// search is one attempt as the daemon makes it.
func search(t *testing.T, s *modsim.Sim, m *sensor.Module, who string, templates [][]byte) (int, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	do(t, s, "touch "+who+" thumb")
	defer do(t, s, "lift")
	start := time.Now()
	probe, err := m.Scan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := m.Identify(ctx, probe, templates)
	took := time.Since(start)
	if took > patience {
		t.Errorf("%d templates: %s took %v of %v", len(templates), who, took, patience)
	}
	return at, took, err
}

// A library that takes longer to fill than an attempt lasts is filled by attempt after
// attempt, none of which begins anew; nobody is refused before all are there.
func TestLibraryIsFilledByAttempts(t *testing.T) {
	for _, c := range sizes[:fewer(len(sizes), 2)] {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, c.model, c.baud, c.people)
			there := 0
			for try := 1; there < c.people+4; try++ {
				at, took, err := search(t, s, m, "mallory", templates)
				if n, e := m.TemplateCount(t.Context()); e != nil || n <= there {
					t.Fatalf("try %d: %d templates are there after %d, %v", try, n, there, e)
				} else {
					there = n
				}
				if there < c.people+4 {
					wantRetry(t, err, sensor.HintWait)
				} else if err != nil {
					t.Error(err)
				}
				if at >= 0 {
					t.Fatalf("mallory is %d", at)
				}
				t.Logf("%s at %d baud, %d people: try %d took %v, %d templates are there", c.model, c.baud, c.people, try, took, there)
			}
			for _, who := range []int{0, c.people / 2, c.people - 1} {
				if at, _, err := search(t, s, m, fmt.Sprint(who), templates); at != who || err != nil {
					t.Errorf("%d is %d, %v", who, at, err)
				}
			}
			if at, _, err := search(t, s, m, "mallory", templates); at != -1 || err != nil {
				t.Errorf("mallory is %d, %v", at, err)
			}
		})
	}
}

// Stock fills it when nobody uses the module, gives way to those who do, and goes on;
// what it put there is read. Who is forgotten is deleted alone.
func TestStock(t *testing.T) {
	for _, c := range sizes[:fewer(len(sizes), 2)] {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, c.model, c.baud, c.people)
			start := time.Now()
			stocked := make(chan error, 1)
			go func() { stocked <- m.Stock(t.Context(), templates) }()
			time.Sleep(5 * time.Second) // of the bubble
			do(t, s, "touch 0 thumb")
			begun := time.Now()
			probe, err := m.Scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if score, err := m.Match(t.Context(), probe, templates[0]); err != nil || score == 0 {
				t.Errorf("0 scores %v while the library is filled, %v", score, err)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("a decision took %v while the library is filled", took)
			}
			do(t, s, "lift")
			if err := <-stocked; err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			if n, err := m.TemplateCount(t.Context()); err != nil || n != c.people+4 {
				t.Errorf("%d templates, %v", n, err)
			}
			who := c.people / 3
			at, searched, err := search(t, s, m, fmt.Sprint(who), templates)
			if at != who || err != nil {
				t.Errorf("%d is %d, %v", who, at, err)
			}
			t.Logf("%s at %d baud, %d people: filled and read in %v, a search takes %v", c.model, c.baud, c.people, took, searched)

			left := slices.Delete(slices.Clone(templates), who, who+1)
			before := m.Stats().Commands
			if err := m.Retain(t.Context(), left); err != nil {
				t.Fatal(err)
			}
			if n := m.Stats().Commands - before; n != 1 {
				t.Errorf("one who is forgotten takes %d instructions", n)
			}
			if n, err := m.TemplateCount(t.Context()); err != nil || n != c.people+3 {
				t.Errorf("%d templates, %v", n, err)
			}
			if at, _, err := search(t, s, m, fmt.Sprint(who), left); at != -1 || err != nil {
				t.Errorf("who was forgotten is %d, %v", at, err)
			}
			before = m.Stats().Commands
			if err := m.Stock(t.Context(), left); err != nil || m.Stats().Commands != before {
				t.Errorf("nothing is to be done, and the module is asked: %v", err)
			}
		})
	}
}

// Wherever the filling is cut off, and whatever a module does for that, as many decoys are
// among what was stored as chance has it, and nobody is searched for among it: it
// does not learn which they are.
func TestFillingTellsNoDecoys(t *testing.T) {
	const people, mixed, tries = 8, 4, 60
	for _, left := range []time.Duration{4500 * time.Millisecond, 5 * time.Second, 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, m, templates := library(t, "r503", 57600, people)
			do(t, s, "lie stored")
			stored, nobodys := 0, 0
			for range tries {
				if err := m.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
				do(t, s, "touch mallory thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), left)
				_, _, err = m.Identify(ctx, probe, templates)
				cancel()
				wantRetry(t, err, sensor.HintWait)
				do(t, s, "lift")
				slots, err := m.Slots(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, slot := range slots {
					lies, err := m.LoadTemplate(t.Context(), slot)
					if err != nil {
						t.Fatal(err)
					}
					stored++
					if !slices.ContainsFunc(templates, func(p []byte) bool { return bytes.Equal(p, lies) }) {
						nobodys++
					}
				}
			}
			// Five standard deviations.
			const share = mixed / float64(people+mixed)
			far := 5 * math.Sqrt(float64(stored)*share*(1-share))
			if stored < tries/2 || math.Abs(float64(nobodys)-share*float64(stored)) > far {
				t.Errorf("%v are left: of %d that were stored %d are decoys, %.0f ± %.0f are a fair share", left, stored, nobodys, share*float64(stored), far)
			}
			t.Logf("%v are left, %d people and %d decoys, %d tries: %d stored, %d of them decoys", left, people, mixed, tries, stored, nobodys)
		})
	}
}

// One record that cannot be a template keeps nobody else from being found, and is nobody,
// in the library and beyond it.
func TestOneBadRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 7 // the last three find no room
		s, m, made := library(t, "r503", 57600, people)
		templates := slices.Clone(made[:4])
		for len(templates) < m.Room()-1 { // what else is enrolled matches nobody
			templates = append(templates, bytes.Repeat([]byte{byte(len(templates)), 1}, 768))
		}
		templates = slices.Insert(templates, 2, bytes.Repeat([]byte{0xFF}, 1536))
		templates = append(append(templates, nil), made[4:]...)
		stock := func() {
			t.Helper()
			if err := m.Stock(t.Context(), templates); err != nil {
				t.Fatal(err)
			}
		}
		stock()
		for who := range people + 1 { // the last is nobody
			at, _, err := search(t, s, m, fmt.Sprint(who), templates)
			if who == people && at != -1 || who < people && (at < 0 || !bytes.Equal(templates[at], made[who])) || err != nil {
				t.Errorf("%d is %d, %v", who, at, err)
			}
		}
		if err := m.Retain(t.Context(), templates[2:]); err != nil {
			t.Error(err)
		}
		templates = templates[2:]
		stock()
		if at, _, err := search(t, s, m, "2", templates); at != 1 || err != nil {
			t.Errorf("2 is %d, %v", at, err)
		}
	})
}

// A module that falls silent at any moment of the filling, as while it stores a template,
// did not answer: that is no matter of the asker's patience.
func TestSilentWhileFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r503", 57600, 4)
		for after := time.Second; after < 1500*time.Millisecond; after += 20 * time.Millisecond {
			if err := m.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := m.Stats().Timeouts
			stocked := make(chan error, 1)
			go func() { stocked <- m.Stock(t.Context(), templates) }()
			time.Sleep(after) // of the bubble
			do(t, s, "mute")
			if err := <-stocked; !errors.Is(err, sensor.ErrTimeout) || m.Stats().Timeouts == before {
				t.Errorf("silent after %v: %v, %d time-outs", after, err, m.Stats().Timeouts-before)
			}
			do(t, s, "unmute")
		}
		if err := m.Stock(t.Context(), templates); err != nil {
			t.Error(err)
		}
	})
}

// An asker who hangs up at any moment of the filling leaves nothing unsure: the next
// search goes on, and nobody is taken for somebody else.
func TestCutOffWhileFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r503", 57600, 6)
		there := 0
		for cut := time.Second; there < 10; cut += 7 * time.Millisecond {
			ctx, cancel := context.WithCancel(t.Context())
			stop := time.AfterFunc(cut, cancel)
			do(t, s, "touch 3 thumb")
			probe, err := m.Scan(ctx)
			at := -1
			if err == nil {
				at, _, err = m.Identify(ctx, probe, templates)
			}
			stop.Stop()
			cancel()
			if at >= 0 && at != 3 || at < 0 && !errors.Is(err, context.Canceled) {
				t.Fatalf("cut off after %v: 3 is %d, %v", cut, at, err)
			}
			n, err := m.TemplateCount(t.Context())
			if err != nil || n < there {
				t.Fatalf("cut off after %v: %d templates are left of %d, %v", cut, n, there, err)
			}
			there = n
		}
	})
}

// In a search a module that says yes to whatever was stored in its library is caught
// each time: its decoys were stored as well. One that names somebody and sticks to it
// is caught where it named a decoy, which is as likely as decoys lie there, also where it
// does not let the slot be read then.
func TestLyingSearch(t *testing.T) {
	tries := fewer(600, 150)
	const people, mixed = 8, 4
	for _, model := range []string{"r503", "r307"} {
		for lie, share := range map[string]float64{"yes": 0, "stored": 0, "sticks": people / float64(people+mixed), "shy": people / float64(people+mixed)} {
			synctest.Test(t, func(t *testing.T) {
				s, m, templates := library(t, model, 57600, people)
				if lie == "shy" { // it gets as many searches as it likes
					if err := m.Stock(t.Context(), templates); err != nil {
						t.Fatal(err)
					}
				}
				do(t, s, "lie "+lie)
				in, caught := 0, 0
				for range tries {
					at, _, err := search(t, s, m, "mallory", templates)
					attack := (*sensor.AttackError)(nil)
					switch {
					case at >= 0:
						in++
					case errors.As(err, &attack):
						caught++
					}
				}
				// Five standard deviations.
				n := float64(tries)
				most := n*share + 5*math.Sqrt(n*share*(1-share))
				if float64(in) > most || in+caught < tries*95/100 {
					t.Errorf("%s, lie %s: in %d of %d tries it got in, in %d it was caught", model, lie, in, tries, caught)
				}
				t.Logf("%s, lie %s, %d people and %d decoys: of %d tries it got in %d times and was caught %d times", model, lie, people, mixed, tries, in, caught)
			})
		}
	}
}

// A decoy's slot that holds somebody's template, since the wire lost the decoy, is no
// attack: it is found out when it is named or read, and stored anew.
func TestDecoyLostOnItsWayIsNoAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r503", 57600, 5)
		for i := range 60 {
			if err := m.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			do(t, s, "fault clear", fmt.Sprintf("fault in flip %d 255", 40+i*250))
			for try := range 4 {
				if try == 2 { // the daemon has time for it between two attempts
					if err := m.Stock(t.Context(), templates); err != nil {
						t.Fatal(err)
					}
				}
				who := try % 2
				at, _, err := search(t, s, m, fmt.Sprint(who), templates)
				if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) || at >= 0 && at != who {
					t.Fatalf("byte %d: %d is %d, %v", 40+i*250, who, at, err)
				}
				if try > 1 && (at != who || err != nil) {
					t.Errorf("byte %d: %d is %d in the end, %v", 40+i*250, who, at, err)
				}
			}
		}
	})
}

// A duplicate's check shows the others among decoys: a module that says yes to what is
// nobody's is caught at it.
func TestLyingDuplicateCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r503", 57600, 4)
		again := enrol(t, m, s, "0", "index")
		do(t, s, "lie yes")
		caught, found := 0, 0
		for range 80 {
			at, err := m.Same(t.Context(), again, templates, new(sensor.Check))
			if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
				caught++
			} else if at >= 0 && err == nil {
				found++
			}
		}
		// Four of eight are decoys: half, and five standard deviations.
		if caught+found != 80 || caught < 40-23 {
			t.Errorf("in %d of 80 it was caught, in %d it had somebody refused", caught, found)
		}
	})
}
