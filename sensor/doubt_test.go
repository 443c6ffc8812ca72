package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// damage is what a cable does to the bytes on it; the zero value is a good one.
type damage struct {
	in, out float64 // share of the bytes to the module and from it
	lose    bool    // they are lost, not changed
	burst   int     // bytes that follow one that is damaged are too, one in two: so many on average
}

// damageOf is the damage of a kind that the tests go through, for a share of the bytes.
func damageOf(kind string, share float64) damage {
	switch kind {
	case "to the module":
		return damage{in: share}
	case "to the host":
		return damage{out: share}
	case "both ways":
		return damage{in: share, out: share}
	case "lost to the module":
		return damage{in: share, lose: true}
	case "in bursts":
		return damage{in: share / 10, out: share / 10, burst: 50}
	}
	panic("no damage of kind " + kind)
}

// badWire is the module's end of a cable that damages bytes. The module reads and writes
// at once, and the test changes the cable meanwhile.
type badWire struct {
	far
	mu   sync.Mutex
	does damage
	left int // bytes of a burst
	r    *rand.Rand
}

// be makes it a cable of such damage.
func (w *badWire) be(d damage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.does, w.left = d, 0
}

// pass returns what comes through of b, in its place.
func (w *badWire) pass(b []byte, toModule bool) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	share := w.does.out
	if toModule {
		share = w.does.in
	}
	kept := b[:0]
	for _, x := range b {
		hit := w.r.Float64() < share
		if hit && w.does.burst > 0 {
			w.left = w.r.IntN(2 * w.does.burst)
		}
		if w.left > 0 {
			w.left--
			hit = hit || w.r.IntN(2) == 0
		}
		switch {
		case hit && w.does.lose:
			continue
		case hit:
			x ^= byte(1 + w.r.IntN(255))
		}
		kept = append(kept, x)
	}
	return kept
}

func (w *badWire) Read(b []byte) (int, error) {
	for {
		n, err := w.far.Read(b)
		if n = len(w.pass(b[:n], true)); n > 0 || err != nil {
			return n, err
		}
	}
}

func (w *badWire) Write(b []byte) (int, error) {
	_, err := w.far.Write(w.pass(slices.Clone(b), false))
	return len(b), err
}

// wiredBadly connects a driver to a module by such a cable, a good one until the
// caller says what it does.
func wiredBadly(t *testing.T, s *modsim.Sim, seed uint64, c sensor.Config) (*sensor.Module, *badWire) {
	t.Helper()
	line := newCable()
	w := &badWire{far: far{line}, r: rand.New(rand.NewPCG(seed, 11))}
	background(t, func(ctx context.Context) error { return s.Serve(ctx, w) })
	t.Cleanup(func() { line.Close() })
	m, err := sensor.New(t.Context(), line, c)
	if err != nil {
		t.Fatal(err)
	}
	return m, w
}

// An honest module is called no attacker for what its wire loses of the templates that
// are stored in it, whatever share of bytes is damaged and whichever way, and whoever waits
// at the sensor meanwhile (the r307's).
func TestHonestModuleFaultScripts(t *testing.T) {
	const people = 12
	rounds, shares := 1, []float64{2e-4, 5e-5, 4e-4, 1.6e-3}[:fewer(4, 1)]
	if from, to := scripts(t); to-from > 4000 { // make nightly
		rounds, shares = min((to-from)/4000, 50), []float64{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3e-3}
	}
	filledAll, doubtsAll := 0, uint64(0)
	defer func() {
		if filledAll == 0 || doubtsAll == 0 {
			t.Errorf("%d libraries were filled, %d templates did not come back: nothing was seen", filledAll, doubtsAll)
		}
	}()
	for _, kind := range []string{"both ways", "to the module", "to the host", "lost to the module", "in bursts"} {
		for _, share := range shares {
			filled, doubts, attacks, runs := 0, uint64(0), 0, 0
			for _, model := range []string{"r503", "r307", "as608"} {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, model)
					m, w := wiredBadly(t, s, uint64(share*1e6), sensor.Config{Baud: 57600})
					d := decoys(t, m, 5)
					d.Keeps = true
					if err := m.Guard(t.Context(), d); err != nil {
						t.Fatal(err)
					}
					var templates [][]byte
					for i := range people {
						templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
					}
					do(t, s, "lift")
					for range rounds {
						runs++
						w.be(damageOf(kind, share))
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						var waiting sync.WaitGroup
						if model == "r307" {
							waiting.Go(func() {
								for ctx.Err() == nil {
									_, _ = m.Scan(ctx)                 // which the wire may well end
									time.Sleep(200 * time.Millisecond) // of the bubble
								}
							})
						}
						for ctx.Err() == nil {
							err := m.Stock(ctx, templates)
							if err == nil {
								filled++
								break
							}
							if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
								attacks++
								t.Errorf("%s, %g of the bytes %s: an honest module is called an attacker: %v", model, share, kind, err)
							}
							time.Sleep(5 * time.Second) // of the bubble
						}
						cancel()
						waiting.Wait()
						w.be(damage{})
						if err := m.Purge(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					doubts += m.Stats().Doubts
				})
			}
			filledAll, doubtsAll = filledAll+filled, doubtsAll+doubts
			t.Logf("%g of the bytes %s: %d of %d libraries of %d were filled, %d templates did not come back, %d called an attack", share, kind, filled, runs, people+4, doubts, attacks)
		}
	}
}

// stores is what a module may do with what is stored in it, by command.
var stores = []string{"quirk blank", "quirk shortlast", "lie alters", "lie withholds", "lie noisy", "quirk noload 1"}

// A module that does not return what was stored in it is called an attacker, by filling
// its library alone as by searching it alone, and is not written to for ever. That it compares
// honestly is no excuse, nor is that it is opened anew.
func TestModuleThatStoresAnother(t *testing.T) {
	for _, model := range []string{"as608", "r503", "r307"}[:fewer(3, 1)] {
		for _, how := range stores {
			synctest.Test(t, func(t *testing.T) {
				s, m, templates := library(t, model, 57600, 6)
				do(t, s, how)
				start, before := time.Now(), m.Stats().Commands
				tries, err := 0, error(nil)
				attack := (*sensor.AttackError)(nil)
				for ; tries < 8 && attack == nil; tries++ {
					err = m.Stock(t.Context(), templates)
					errors.As(err, &attack)
					time.Sleep(5 * time.Second) // of the bubble, as the daemon does
				}
				if attack == nil || attack.Kind != sensor.AttackLibrary {
					t.Errorf("%s, %s: %v", model, how, err)
				}
				if n := m.Stats().Doubts; n > 8 {
					t.Errorf("%s, %s: %d templates were stored anew", model, how, n)
				}
				t.Logf("%s, %s: called an attacker while its library was filled, after %v and %d instructions", model, how, time.Since(start).Round(time.Second), m.Stats().Commands-before)
			})
			synctest.Test(t, func(t *testing.T) {
				s, m, templates := library(t, model, 57600, 6)
				do(t, s, how)
				err := error(nil)
				attack := (*sensor.AttackError)(nil)
				tries := 0
				for ; tries < 20 && attack == nil; tries++ {
					at := -1
					if at, _, err = search(t, s, m, fmt.Sprint(tries%6), templates); at >= 0 || err == nil {
						t.Errorf("%s, %s: search %d: %d, %v", model, how, tries, at, err)
					}
					errors.As(err, &attack)
					do(t, s, fmt.Sprintf("touch %d thumb", tries%6))
					if ok, err := attempt(t, m, templates[tries%6], time.Minute); !ok {
						t.Errorf("%s, %s: %d is refused: %v", model, how, tries%6, err)
					}
					do(t, s, "lift")
				}
				if attack == nil || attack.Kind != sensor.AttackLibrary {
					t.Errorf("%s, %s: after %d searches: %v", model, how, tries, err)
				}
				t.Logf("%s, %s: called an attacker at search %d", model, how, tries)
			})
		}
	}
}

// Nor is it one that somebody waits at the sensor meanwhile, whatever the module makes of that:
// an empty sensor is no finger, and one too light to be read, which the module may feign, leaves
// the line to be tried. Nothing is stored more often for it.
func TestModuleThatStoresAnotherWhileSomebodyWaits(t *testing.T) {
	for _, model := range []string{"as608", "r503", "r307"}[:fewer(3, 2)] {
		for _, finger := range []string{"lift", "touch 0 thumb 0.1"} {
			for _, how := range stores {
				synctest.Test(t, func(t *testing.T) {
					s, m, templates := library(t, model, 57600, 6)
					do(t, s, how, finger)
					ctx, cancel := context.WithCancel(t.Context())
					var waiting sync.WaitGroup
					waiting.Go(func() {
						for ctx.Err() == nil { // as the device does
							_, err := m.Scan(ctx)
							if retry := (*sensor.RetryError)(nil); !errors.As(err, &retry) && ctx.Err() == nil {
								t.Errorf("%s, %s, %s: a scan: %v", model, finger, how, err)
							}
						}
					})
					err := error(nil)
					attack := (*sensor.AttackError)(nil)
					for tries := 0; tries < 8 && attack == nil; tries++ {
						err = m.Stock(ctx, templates)
						errors.As(err, &attack)
						time.Sleep(5 * time.Second) // of the bubble, as the daemon does
					}
					if attack == nil || attack.Kind != sensor.AttackLibrary {
						t.Errorf("%s, %s, %s: %v", model, finger, how, err)
					}
					if n := m.Stats().Doubts; n > 8 {
						t.Errorf("%s, %s, %s: %d templates were stored anew", model, finger, how, n)
					}
					cancel()
					waiting.Wait()
				})
			}
		}
	}
}

// Also one that is opened anew before each search: what is counted is handed on.
func TestDoubtsOfTheLibraryAreHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r503", 57600, 6)
		d := decoys(t, m, 5)
		d.Keeps = true
		do(t, s, "lie alters")
		c := sensor.Config{Baud: 57600, Doubts: new(sensor.Doubts)}
		attack := (*sensor.AttackError)(nil)
		for try := 1; attack == nil; try++ {
			m := wiredAs(t, s, c)
			if err := m.Guard(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			at, _, err := search(t, s, m, "0", templates)
			if at >= 0 || !errors.As(err, &attack) && try == 10 {
				t.Fatalf("search %d: %d, %v", try, at, err)
			}
			if err := m.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// One template that does not come back, wherever it is altered, is no attack, and one
// that does clears what was counted before.
func TestFewDoubtsAreNoAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, templates := library(t, "r307", 57600, 6)
		for range 6 {
			do(t, s, "lie alters")
			most := m.Stats().Doubts + 7
			honest := make(chan struct{})
			go func() {
				defer close(honest)
				for m.Stats().Doubts < most {
					time.Sleep(10 * time.Millisecond) // of the bubble
				}
				do(t, s, "lie honest")
			}()
			if err := m.Stock(t.Context(), templates); err != nil {
				t.Error(err)
			}
			<-honest
			if err := m.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := m.Stats().Doubts; n != 42 {
			t.Errorf("%d doubts", n)
		}
	})
}

// Nor is a slot that has gone bad and is read another way each time, nor are several: each counts
// once in a row, and everybody is found between them, whether it was read once when it was well or
// never. Where all were, each bad one fails one search.
func TestBadSlotsAreNoAttack(t *testing.T) {
	for _, model := range []string{"r503", "r307"}[:fewer(2, 1)] {
		for _, bad := range []int{1, 3} {
			for _, was := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					s, m, templates := library(t, model, 57600, 8)
					if was {
						if err := m.Stock(t.Context(), templates); err != nil {
							t.Fatal(err)
						}
					} else if at, _, err := search(t, s, m, "mallory", templates); at != -1 || err != nil {
						t.Fatal(at, err)
					}
					slots, err := m.Slots(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					for _, slot := range slots[:bad] {
						do(t, s, fmt.Sprintf("rot %d", slot))
					}
					found := make(map[int]bool)
					const searches = 40
					failed := 0
					for i := range searches {
						if i%5 == 0 { // as the daemon does meanwhile
							if err := m.Stock(t.Context(), templates); errors.As(err, new(*sensor.AttackError)) {
								t.Fatalf("%s, %d bad slots, read before %v: %v", model, bad, was, err)
							}
						}
						at, _, err := search(t, s, m, fmt.Sprint(i%8), templates)
						if errors.As(err, new(*sensor.AttackError)) || at >= 0 && at != i%8 {
							t.Fatalf("%s, %d bad slots, read before %v: %d is %d, %v", model, bad, was, i%8, at, err)
						}
						if at >= 0 {
							found[at] = true
						} else {
							failed++
						}
					}
					if len(found) < 8 || was && failed > bad {
						t.Errorf("%s, %d bad slots, read before %v: %d people of 8 were found, %d searches of %d failed", model, bad, was, len(found), failed, searches)
					}
					t.Logf("%s, %d bad slots, read before %v: %d searches of %d failed", model, bad, was, failed, searches)
				})
			}
		}
	}
}

// longLoss is the module's end of a cable that loses the 100th byte of whatever is longer,
// as an overrun does, and nothing of what is short.
type longLoss struct {
	far
	on       atomic.Bool
	to, from bool         // the module
	run      atomic.Int64 // of bytes that came since the last answer: the module reads and writes at once
}

func (w *longLoss) Read(b []byte) (int, error) {
	for {
		n, err := w.far.Read(b)
		kept := b[:0]
		for _, x := range b[:n] {
			if w.run.Add(1) == 100 && w.to && w.on.Load() {
				continue
			}
			kept = append(kept, x)
		}
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
}

func (w *longLoss) Write(b []byte) (int, error) {
	w.run.Store(0)
	if !w.from || !w.on.Load() || len(b) < 100 {
		return w.far.Write(b)
	}
	n, err := w.far.Write(slices.Concat(b[:99], b[100:]))
	return n + 1, err
}

// behindAnOverrun is a guarded module, which returns what it is given, behind a line that is
// well until on is set, and then loses of whatever is long to the module or from it.
func behindAnOverrun(t *testing.T, model string, to, from bool) (*modsim.Sim, *sensor.Module, *longLoss) {
	t.Helper()
	s := newSim(t, model)
	line := newCable()
	w := &longLoss{far: far{line}, to: to, from: from}
	background(t, func(ctx context.Context) error { return s.Serve(ctx, w) })
	t.Cleanup(func() { line.Close() })
	m, err := sensor.New(t.Context(), line, sensor.Config{Baud: 57600})
	if err != nil {
		t.Fatal(err)
	}
	d := decoys(t, m, 5)
	d.Keeps = true
	if err := m.Guard(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return s, m, w
}

// A line that loses of long runs of bytes alone, where handshakes pass, makes no attacker
// of an honest module.
func TestHonestModuleBehindAnOverrun(t *testing.T) {
	for _, model := range []string{"r503", "r307", "as608"}[:fewer(3, 2)] {
		for _, way := range []string{"to", "from", "both"} {
			synctest.Test(t, func(t *testing.T) {
				s, m, w := behindAnOverrun(t, model, way != "from", way != "to")
				var templates [][]byte
				for i := range 6 {
					templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
				}
				do(t, s, "lift")
				w.on.Store(true)
				attack := (*sensor.AttackError)(nil)
				for range 3 {
					if err := m.Stock(t.Context(), templates); err == nil || errors.As(err, &attack) {
						t.Errorf("%s, %s the module: %v", model, way, err)
					}
					if err := m.HandShake(t.Context()); err != nil {
						t.Errorf("%s, %s the module: a short talk: %v", model, way, err)
					}
					time.Sleep(5 * time.Second) // of the bubble
				}
				if n := m.Stats().Doubts; (n >= 16) != (way == "to") {
					t.Errorf("%s, %s the module: %d templates did not come back", model, way, n)
				}
				w.on.Store(false)
				if err := m.Stock(t.Context(), templates); err != nil {
					t.Errorf("%s, %s the module: on a line that is well again: %v", model, way, err)
				}
			})
		}
	}
}

// Nor does what such a line left in the library, once it is well again: it is stored anew and
// found, by filling the library as by searching it.
func TestHonestModuleBehindALineThatIsWellAgain(t *testing.T) {
	const people, rounds = 40, 3
	for _, model := range []string{"r307", "r503"} {
		for _, searches := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s, m, w := behindAnOverrun(t, model, true, false)
				var templates [][]byte
				for i := range people {
					templates = append(templates, enrol(t, m, s, fmt.Sprint(i), "thumb"))
				}
				do(t, s, "lift")
				for range rounds {
					w.on.Store(true)
					if err := m.Stock(t.Context(), templates); !errors.Is(err, sensor.ErrDoubt) {
						t.Errorf("%s: behind an overrun: %v", model, err)
					}
					w.on.Store(false)
					attack := (*sensor.AttackError)(nil)
					for i := range people {
						if !searches {
							break
						}
						if at, _, err := search(t, s, m, fmt.Sprint(i), templates); errors.As(err, &attack) || at >= 0 && at != i {
							t.Fatalf("%s: %d is %d, %v", model, i, at, err)
						}
					}
					if err := m.Stock(t.Context(), templates); err != nil {
						t.Fatalf("%s, searches %v: on a line that is well again: %v", model, searches, err)
					}
					if at, _, err := search(t, s, m, "0", templates); at != 0 || err != nil {
						t.Errorf("%s, searches %v: 0 is %d, %v", model, searches, at, err)
					}
					if err := m.Purge(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// Nor do comparisons on such a line, where the finger's own template lies in the module and
// matches in place of all that are sent; whoever it is is refused as long as the line does that.
func TestMatchBehindAnOverrun(t *testing.T) {
	for _, model := range []string{"r503", "r307", "as608"}[:fewer(3, 2)] {
		for _, both := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s, m, w := behindAnOverrun(t, model, true, both)
				template := enrol(t, m, s, "alice", "thumb")
				before := m.Stats().Doubts
				w.on.Store(true)
				for range 10 {
					do(t, s, "touch alice thumb")
					accepted, err := attempt(t, m, template, time.Minute)
					if attack := (*sensor.AttackError)(nil); accepted || !errors.Is(err, sensor.ErrDoubt) || errors.As(err, &attack) {
						t.Errorf("%s, both ways %v: %v, %v", model, both, accepted, err)
					}
					do(t, s, "lift")
				}
				if n := m.Stats().Doubts - before; n < 10 {
					t.Errorf("%s, both ways %v: %d doubts", model, both, n)
				}
				w.on.Store(false)
				do(t, s, "touch alice thumb")
				if accepted, err := attempt(t, m, template, time.Minute); !accepted {
					t.Errorf("%s, both ways %v, on a line that is well again: %v", model, both, err)
				}
			})
		}
	}
}

// Nor do searches, which name a slot in which a finger's template lies in place of a decoy.
func TestSearchBehindAnOverrun(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for _, both := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s, m, w := behindAnOverrun(t, model, true, both)
				var templates [][]byte
				for _, who := range []string{"1", "0"} {
					templates = append(templates, enrol(t, m, s, who, "thumb"))
				}
				do(t, s, "lift")
				w.on.Store(true)
				doubts := 0
				for range 30 {
					_, _, err := search(t, s, m, "0", templates)
					if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
						t.Fatalf("%s, both ways %v: %v", model, both, err)
					}
					if errors.Is(err, sensor.ErrDoubt) {
						doubts++
					}
				}
				if doubts < 10 {
					t.Errorf("%s, both ways %v: %d searches were in doubt", model, both, doubts)
				}
			})
		}
	}
}

// Nor do those that compare who finds no room in the library.
func TestSearchBeyondBehindAnOverrun(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			s, m, w := behindAnOverrun(t, model, true, false)
			var templates [][]byte
			for i := range m.Room() { // they match nobody
				templates = append(templates, bytes.Repeat([]byte{byte(i), byte(i >> 8), 1}, m.Info().Template)[:m.Info().Template])
			}
			if err := m.Stock(t.Context(), templates); err != nil {
				t.Fatal(err)
			}
			doubts := 0
			for range 10 {
				w.on.Store(false)
				template := enrol(t, m, s, "0", "thumb") // and it lies in the module
				w.on.Store(true)
				at, _, err := search(t, s, m, "0", append(templates, template))
				if attack := (*sensor.AttackError)(nil); at >= 0 || errors.As(err, &attack) {
					t.Fatalf("%s: %d, %v", model, at, err)
				}
				if errors.Is(err, sensor.ErrDoubt) {
					doubts++
				}
			}
			if doubts < 5 {
				t.Errorf("%s: %d searches were in doubt", model, doubts)
			}
		})
	}
}

// A module that says yes to a template among them alone, and feigns such a line by returning
// another, has no free tries: it is caught whenever it named a decoy.
func TestLiarBeyondTheLibrary(t *testing.T) {
	tries := fewer(150, 60)
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			s, m, _ := behindAnOverrun(t, model, true, false)
			template := enrol(t, m, s, "0", "thumb")
			var templates [][]byte
			for i := range m.Room() { // they match nobody
				templates = append(templates, bytes.Repeat([]byte{byte(i), byte(i >> 8), 1}, m.Info().Template)[:m.Info().Template])
			}
			if err := m.Stock(t.Context(), templates); err != nil {
				t.Fatal(err)
			}
			do(t, s, "lie feigns")
			in, caught := 0, 0
			for range tries {
				at, _, err := search(t, s, m, "mallory", append(templates, template))
				attack := (*sensor.AttackError)(nil)
				switch {
				case at >= 0:
					in++
				case errors.As(err, &attack) && attack.Kind == sensor.AttackDecoy:
					caught++
				default:
					t.Errorf("%s: %d, %v", model, at, err)
				}
			}
			// One person among four decoys, and five standard deviations.
			const share = 0.2
			n := float64(tries)
			if float64(in) > n*share+5*math.Sqrt(n*share*(1-share)) || caught == 0 {
				t.Errorf("%s: in %d of %d tries it got in, in %d it was caught", model, in, tries, caught)
			}
			t.Logf("%s, one person beyond the library and four decoys: of %d tries it got in %d times and was caught %d times", model, tries, in, caught)
		})
	}
}

// One that says yes to all and returns what it was given is behind no such line, nor is one that
// says no to the question, which is short: by then it is the third attempt. That the question did
// not arrive (01) is damage, and then it is the eighth.
func TestYesToWhatArrivedIsNoExcuse(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		for lie, most := range map[string]int{"lie same": 3, "lie yes": 3, "quirk noupload 13": 3, "quirk noupload 1": 8} {
			synctest.Test(t, func(t *testing.T) {
				s, m, _ := behindAnOverrun(t, model, true, false)
				template := enrol(t, m, s, "alice", "thumb")
				do(t, s, "lie same", lie)
				for try := 1; ; try++ {
					do(t, s, "touch mallory thumb")
					accepted, err := attempt(t, m, template, time.Minute)
					if accepted || err == nil {
						t.Fatalf("%s, %s, attempt %d: %v, %v", model, lie, try, accepted, err)
					}
					if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
						break
					}
					if try == most {
						t.Fatalf("%s, %s, attempt %d: %v", model, lie, try, err)
					}
				}
			})
		}
	}
}

// Nobody waits for the module longer while a template did not come back than while one is
// stored and read, and read once more; nor where somebody waits at an empty sensor besides. Where a
// finger too light lies there, which a module can feign, they wait until the line was tried.
func TestDoubtsGiveWay(t *testing.T) {
	for _, baud := range []int{57600, 9600} {
		for _, model := range []string{"r503", "r307"} {
			for _, finger := range []string{"", "lift", "touch 0 thumb 0.1"} {
				synctest.Test(t, func(t *testing.T) {
					s, m, templates := library(t, model, baud, 6)
					scans, light := finger != "", strings.HasPrefix(finger, "touch")
					do(t, s, "lie alters")
					if scans {
						do(t, s, finger)
					}
					ctx, cancel := context.WithCancel(t.Context())
					var asking sync.WaitGroup
					if scans {
						asking.Go(func() {
							for ctx.Err() == nil { // as the device does
								_, err := m.Scan(ctx)
								if retry := (*sensor.RetryError)(nil); !errors.Is(err, context.Canceled) && !(light && errors.As(err, &retry)) {
									t.Errorf("%s at %d baud: a scan: %v", model, baud, err)
								}
							}
						})
					}
					var most time.Duration
					asked := 0
					asking.Go(func() {
						for ; ctx.Err() == nil; asked++ {
							start := time.Now()
							if err := m.HandShake(ctx); err != nil && ctx.Err() == nil {
								t.Error(err)
							}
							most = max(most, time.Since(start))
							time.Sleep(50 * time.Millisecond) // of the bubble
						}
					})
					err := m.Stock(t.Context(), templates)
					cancel()
					asking.Wait()
					if attack := (*sensor.AttackError)(nil); !errors.As(err, &attack) {
						t.Errorf("%s at %d baud: %v", model, baud, err)
					}
					// Two readings: the bytes with their packets', and 100 ms of talk and silicon.
					transfers := 2
					switch {
					case light && model == "r503": // three templates there and back
						transfers = 6
					case light:
						transfers = 3
					}
					wire := time.Duration(transfers) * (time.Duration(len(templates[0])*9/8+80)*10*time.Second/time.Duration(baud) + 50*time.Millisecond)
					if scans {
						wire += 300 * time.Millisecond // a look
					}
					if light {
						wire += 300 * time.Millisecond // behind a poor picture another is taken
					}
					if most > wire || asked == 0 {
						t.Errorf("%s at %d baud, at the sensor %q: asked %d times, somebody waited %v; %d templates on the wire take %v", model, baud, finger, asked, most, transfers, wire)
					}
					t.Logf("%s at %d baud, at the sensor %q: nobody waited longer than %v of %v", model, baud, finger, most, wire)
				})
			}
		}
	}
}
