package sensor_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// guarded is a module that was set up while it was honest.
func guarded(t *testing.T, model string) (*modsim.Sim, *sensor.Module, []byte) {
	t.Helper()
	s := newSim(t, model)
	m := wired(t, s)
	template := enrol(t, m, s, "alice", "thumb")
	if err := m.Guard(t.Context(), decoys(t, m, 3)); err != nil {
		t.Fatal(err)
	}
	return s, m, template
}

// A module that says yes to everything is caught, also one that always gives the
// same score. One that says yes to the second comparison of each scan is right once
// in three times, as chance has it, and caught in every other.
func TestLyingModule(t *testing.T) {
	tries := fewer(1500, 100)
	// Chance of one in three, and five standard deviations.
	chance := tries/3 + int(5*math.Sqrt(float64(tries)/3*2/3))
	for _, c := range []struct {
		lie                 string
		mostIn, leastCaught int
	}{
		{"yes", 0, tries * 95 / 100},
		{"fast", 0, tries * 95 / 100},
		{"same", 0, tries * 95 / 100},
		{"second", chance, tries - chance},
		{"guess", tries / 3, tries / 4},
	} {
		for _, model := range []string{"r503", "r307"} {
			synctest.Test(t, func(t *testing.T) {
				s, m, template := guarded(t, model)
				do(t, s, "lie "+c.lie)
				in, caught := 0, 0
				for range tries {
					do(t, s, "touch mallory thumb")
					accepted, err := attempt(t, m, template, time.Minute)
					attack := (*sensor.AttackError)(nil)
					switch {
					case accepted:
						in++
					case errors.As(err, &attack):
						caught++
					}
				}
				if in > c.mostIn || caught < c.leastCaught || c.lie == "second" && in+caught < tries {
					t.Errorf("%s, lie %s: in %d of %d tries it got in, in %d it was caught", model, c.lie, in, tries, caught)
				}
				t.Logf("%s, lie %s: of %d tries it got in %d times and was caught %d times", model, c.lie, tries, in, caught)
			})
		}
	}
}

// A liar that damages its answers, or drops off the line after each attempt, is
// caught as well.
func TestDirtyLiarIsCaught(t *testing.T) {
	for _, dirt := range []string{"quirk badsum 40", "quirk badsum 40, keeps", "unplug", "unplug, keeps"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			c := sensor.Config{Baud: 57600, Doubts: new(sensor.Doubts)}
			m := wiredAs(t, s, c)
			template, d := enrol(t, m, s, "alice", "thumb"), decoys(t, m, 3)
			dirt, keeps := strings.CutSuffix(dirt, ", keeps")
			d.Keeps = keeps
			do(t, s, "lie same")
			if dirt != "unplug" {
				do(t, s, dirt)
			}
			for try := 1; ; try++ {
				if dirt == "unplug" || try == 1 {
					m = wiredAs(t, s, c)
					if err := m.Guard(t.Context(), d); err != nil {
						t.Fatal(err)
					}
				}
				do(t, s, "touch mallory thumb")
				accepted, err := attempt(t, m, template, time.Minute)
				if accepted {
					t.Fatalf("%s, keeps %v: attempt %d got in", dirt, keeps, try)
				}
				if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
					break
				}
				if try == 40 {
					t.Fatalf("%s, keeps %v: attempt %d: %v", dirt, keeps, try, err)
				}
			}
		})
	}
}

// One that always gives the same score is caught at the third attempt at the
// latest, whatever lay in its buffer at first.
func TestSameScoreIsNoExcuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, template := guarded(t, "r503")
		do(t, s, "lie same")
		for try := 1; ; try++ {
			do(t, s, "touch mallory thumb")
			accepted, err := attempt(t, m, template, time.Minute)
			if accepted || err == nil {
				t.Fatalf("attempt %d: %v, %v", try, accepted, err)
			}
			if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
				break
			}
			if try == 3 {
				t.Fatalf("attempt %d: %v", try, err)
			}
		}
	})
}

// A yes that comes before the silicon can have compared is an attack even where
// it falls on the right template alone.
func TestHastyYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, template := guarded(t, "r503")
		hasty := 0
		for range 30 {
			do(t, s, "touch mallory thumb", "lie fast")
			_, err := attempt(t, m, template, time.Minute)
			if err != nil && strings.Contains(err.Error(), sensor.AttackHaste) {
				hasty++
			}
		}
		if hasty == 0 {
			t.Error("nobody noticed")
		}
	})
}

func TestSwappedModule(t *testing.T) {
	for command, known := range map[string]bool{"swap": false, "plug": true} {
		synctest.Test(t, func(t *testing.T) {
			s, m, template := guarded(t, "r503")
			do(t, s, "unplug", command, "plug")
			do(t, s, "touch alice thumb")
			_, err := attempt(t, m, template, time.Minute)
			if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) == known {
				t.Errorf("after %s: %v", command, err)
			}
		})
	}
}

// Whoever lowers the security level while the module is open, by another tap on the
// wire, has another module as of then.
func TestLoweredLevelIsAnAttack(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		synctest.Test(t, func(t *testing.T) {
			s, m, template := guarded(t, model)
			if err := wired(t, s).SetLevel(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			do(t, s, "touch alice thumb")
			accepted, err := attempt(t, m, template, time.Minute)
			if attack := (*sensor.AttackError)(nil); accepted || !errors.As(err, &attack) || attack.Kind != sensor.AttackSwapped {
				t.Errorf("%s: %v, %v", model, accepted, err)
			}
		})
	}
}

// forger is a line on which some answers are others, with a sum that fits.
type forger struct {
	*cable
	left int // of the answers to ReadSysPara, so many have another level
}

func (f *forger) Read(b []byte) (int, error) {
	n, err := f.cable.Read(b)
	if f.left > 0 && n == 28 && bytes.HasPrefix(b, []byte("\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x13\x00")) {
		f.left--
		b[17]-- // the level's low byte
		b[27]-- // and the sum's
	}
	return n, err
}

// One reading is no proof: an answer that was damaged and fits its sum is asked for
// again.
func TestOneReadingIsNoAttack(t *testing.T) {
	for readings, want := range map[int]bool{1: false, 2: true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			f := &forger{cable: plugIn(t, s)}
			m, err := sensor.New(t.Context(), f, sensor.Config{Baud: 57600})
			if err != nil {
				t.Fatal(err)
			}
			template := enrol(t, m, s, "alice", "thumb")
			if err := m.Guard(t.Context(), decoys(t, m, 3)); err != nil {
				t.Fatal(err)
			}
			f.left = readings
			do(t, s, "touch alice thumb")
			accepted, err := attempt(t, m, template, time.Minute)
			attack := (*sensor.AttackError)(nil)
			if errors.As(err, &attack) != want || accepted == want || f.left != 0 {
				t.Errorf("%d forged: %v, %v", readings, accepted, err)
			}
		})
	}
}

// The security level is part of the parameter block: whoever lowers it is as
// good as a swapped module.
func TestDiffers(t *testing.T) {
	was := sensor.Info{Family: "r503", Hardware: "1", Serial: "1", Level: 3, Baud: 57600, Port: "a"}
	for name, change := range map[string]func(*sensor.Info){
		"serial number": func(i *sensor.Info) { i.Serial = "2" }, "security level": func(i *sensor.Info) { i.Level = 1 },
		"firmware": func(i *sensor.Info) { i.Firmware = "x" }, "window": func(i *sensor.Info) { i.Width = 1 },
		"": func(i *sensor.Info) { i.Baud, i.Port = 115200, "b" },
	} {
		now := was
		change(&now)
		if got := now.Differs(was); !strings.HasPrefix(got, name) || (got == "") != (name == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// In whatever order, the person is let in; and what can be no decoys is refused.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, template := guarded(t, "r503")
		for range 20 {
			do(t, s, "touch alice thumb")
			if accepted, err := attempt(t, m, template, time.Minute); !accepted {
				t.Fatal(err)
			}
		}
		if err := m.Guard(t.Context(), sensor.Decoys{Templates: [][]byte{template}}); !errors.Is(err, sensor.ErrTemplate) {
			t.Errorf("one decoy alone: %v", err)
		}
		if err := m.Guard(t.Context(), sensor.Decoys{Templates: [][]byte{template, bytes.Repeat([]byte{0xFF}, 1536)}}); !errors.Is(err, sensor.ErrTemplate) {
			t.Errorf("a blank decoy: %v", err)
		}
	})
}

// A decision with two decoys takes at most 1.15 times what the wire and the silicon
// take, whoever it is for and in whatever order: the driver adds nothing that can be
// measured. One that comes before the module had a moment to tidy up sends what
// overwrites its buffer as well, and is held against the time of that.
func TestDecisionTime(t *testing.T) {
	const attempts = 60
	for model, p := range modsim.Personalities {
		for _, baud := range []int{57600, 115200} {
			for _, tidy := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, model)
					m := wiredAt(t, s, baud)
					template := enrol(t, m, s, "alice", "thumb")
					d := decoys(t, m, 3) // two beside each template, and a spare one
					d.Keeps = true
					if err := m.Guard(t.Context(), d); err != nil {
						t.Fatal(err)
					}
					packets := (len(template) + 127) / 128
					shown := 3
					if !tidy {
						shown++
					}
					wire := (12 + 12) + (13 + 12) + shown*((13+12)+(len(template)+11*packets)+(12+14))
					least := time.Duration(wire)*10*time.Second/time.Duration(baud) + p.Image + p.Features + time.Duration(shown)*p.Match
					worst := 0.0
					for i := range attempts {
						if tidy { // as the daemon does behind each attempt
							if err := m.Tidy(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
						who := []string{"alice", "mallory", "bob"}[i%3]
						do(t, s, "touch "+who+" thumb")
						start := time.Now()
						if accepted, err := attempt(t, m, template, time.Minute); accepted != (who == "alice") || err != nil {
							t.Fatalf("%s: %v, %v", who, accepted, err)
						}
						worst = max(worst, time.Since(start).Seconds()/least.Seconds())
						do(t, s, "lift")
					}
					if worst > 1.15 {
						t.Errorf("%s at %d baud, tidy %v: %.3f times the wire and the silicon", model, baud, tidy, worst)
					}
					t.Logf("%s at %d baud, tidy %v: %d attempts, the longest %.3f times the wire and the silicon (%v)", model, baud, tidy, attempts, worst, least)
				})
			}
		}
	}
}

// A picture comes at the rate of the wire.
func TestPictureRate(t *testing.T) {
	for model := range modsim.Personalities {
		// Drawing the finger computes for long: under -short it is drawn for one rate.
		for _, baud := range []int{115200, 57600}[:fewer(2, 1)] {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				m := wiredAt(t, s, baud)
				do(t, s, "touch alice thumb")
				if _, err := m.Scan(t.Context()); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				picture, err := m.Capture(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				p := modsim.Personalities[model]
				if picture.Width != p.Width || picture.Height != p.Height || len(picture.Pix) != p.Width*p.Height {
					t.Fatalf("a picture of %dx%d with %d pixels", picture.Width, picture.Height, len(picture.Pix))
				}
				bytes := p.Width * p.Height / 2
				wire := time.Duration(bytes+11*bytes/128) * 10 * time.Second / time.Duration(baud)
				took := time.Since(start) - p.Image
				if share := wire.Seconds() / took.Seconds(); share < 0.97 {
					t.Errorf("%s at %d baud: %.2f %% of the wire's rate", model, baud, 100*share)
				} else {
					t.Logf("%s at %d baud: %v, %.2f %% of the wire's rate", model, baud, took, 100*share)
				}
				// And back again: what was sent is what is read.
				if err := m.Put(t.Context(), picture); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// Other people's templates in place of decoys: a module that says yes to all is
// caught, one's own template that matches while one claims to be another is no
// attack, and what was lent is wiped.
func TestBorrowedDecoys(t *testing.T) {
	for _, model := range []string{"r307", "as608"} { // answers that it has no DownImage, and says nothing
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			do(t, s, "quirk noimage")
			m := wired(t, s)
			w, h := m.Info().Window()
			if _, _, err := m.MakeDecoy(t.Context(), sensor.Picture{Width: w, Height: h, Pix: make([]byte, w*h)}); !errors.Is(err, sensor.ErrTemplate) {
				t.Errorf("%s: a decoy of a module that takes no pictures: %v", model, err)
			}
			templates := map[string][]byte{}
			for _, p := range []string{"alice", "bob", "carol", "dave"} {
				templates[p] = enrol(t, m, s, p, "thumb")
			}
			var lent [][]byte
			err := m.Borrow(t.Context(), func(template []byte) ([][]byte, error) {
				lent = nil
				for _, p := range []string{"alice", "bob", "carol", "dave"} {
					if !bytes.Equal(templates[p], template) {
						lent = append(lent, bytes.Clone(templates[p]))
					}
				}
				return lent, nil
			})
			if err != nil || !m.Borrows() || m.Guarded() {
				t.Fatal(err)
			}
			claim := func(who, as string) (float64, error) {
				do(t, s, "touch "+who+" thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return m.Match(t.Context(), probe, templates[as])
			}
			for range 20 {
				for _, who := range []string{"alice", "bob", "mallory"} {
					score, err := claim(who, "alice")
					if err != nil || (score > 0) != (who == "alice") {
						t.Fatalf("%s: %s claims to be alice: %v, %v", model, who, score, err)
					}
				}
			}
			for _, b := range lent {
				if bytes.Count(b, []byte{0}) != len(b) {
					t.Error("a template that was lent is not wiped")
				}
			}
			do(t, s, "lie yes")
			attack := (*sensor.AttackError)(nil)
			for range 20 {
				if score, err := claim("mallory", "alice"); score > 0 || !errors.As(err, &attack) && !errors.Is(err, sensor.ErrDoubt) {
					t.Fatalf("%s: mallory scores %v, %v", model, score, err)
				}
			}
			if attack == nil {
				t.Errorf("%s: never called an attack", model)
			}
			if err := m.Borrow(t.Context(), func([]byte) ([][]byte, error) { return nil, errors.New("sealed") }); err != nil {
				t.Fatal(err)
			}
			do(t, s, "lie honest")
			if score, err := claim("alice", "alice"); err == nil || score != 0 {
				t.Errorf("%s: without what cannot be lent: %v, %v", model, score, err)
			}
		})
	}
}
