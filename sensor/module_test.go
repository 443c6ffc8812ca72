package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/sensor/tty"
)

// terminal connects it over a real pty, opened by name through uartreg.
func terminal(t *testing.T, s *modsim.Sim, c sensor.Config) (*sensor.Module, error) {
	t.Helper()
	p, err := modsim.OpenPTY(filepath.Join(t.TempDir(), "module"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	background(t, func(ctx context.Context) error { return p.Serve(ctx, s) })
	if err := tty.Register(p.Path()); err != nil {
		t.Fatal(err)
	}
	c.Port = p.Path()
	m, err := sensor.Open(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// enrol takes the captures of a finger that is lifted when asked to.
func enrol(t *testing.T, m *sensor.Module, s *modsim.Sim, person, finger string) []byte {
	t.Helper()
	template, err := m.Enrol(t.Context(), 0, follow(t, s, "touch "+person+" "+finger))
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func follow(t *testing.T, s *modsim.Sim, touch string) func(sensor.EnrolStep) {
	return func(step sensor.EnrolStep) {
		switch step.Hint {
		case sensor.HintNoFinger:
			do(t, s, touch)
		case sensor.HintLift:
			do(t, s, "lift")
		}
	}
}

func TestEnrolAndMatch(t *testing.T) {
	for model := range modsim.Personalities {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				enrolAndMatch(t, s, wired(t, s), 0)
			})
		})
	}
}

// The same over a real terminal, opened by name, at the line's own pace.
func TestEnrolAndMatchOverTerminal(t *testing.T) {
	t.Parallel()
	s := newSim(t, "r503")
	m, err := terminal(t, s, sensor.Config{Raise: true})
	if err != nil {
		t.Fatal(err)
	}
	if baud := m.Info().Baud; baud != 115200 {
		t.Errorf("raised to %d baud", baud)
	}
	enrolAndMatch(t, s, m, 2)
}

func enrolAndMatch(t *testing.T, s *modsim.Sim, m *sensor.Module, captures int) {
	template, err := m.Enrol(t.Context(), captures, follow(t, s, "touch alice right-index"))
	if err != nil {
		t.Fatal(err)
	}
	for touch, want := range map[string]bool{"alice right-index": true, "alice left-index": false, "bob right-index": false} {
		do(t, s, "touch "+touch)
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		score, err := m.Match(t.Context(), probe, template)
		if err != nil {
			t.Fatal(err)
		}
		if (score > 0) != want || (m.FMR(score) < 1) != want {
			t.Errorf("%s: score %v, FMR %v", touch, score, m.FMR(score))
		}
	}
	if n, err := m.TemplateCount(t.Context()); err != nil || n != 0 {
		t.Errorf("%d templates rest in the module (%v)", n, err)
	}
}

func TestTemplateOfAnotherFamilyNeverMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSim(t, "r307"), newSim(t, "as608")
		template := enrol(t, wired(t, a), a, "alice", "thumb")
		m := wired(t, b)
		do(t, b, "touch alice thumb")
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if score, err := m.Match(t.Context(), probe, template); err != nil || score != 0 {
			t.Errorf("score %v, %v", score, err)
		}
	})
}

func TestStaleProbeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "thumb")
		do(t, s, "touch alice thumb")
		first, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "touch mallory thumb")
		if _, err := m.Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, probe := range []sensor.Print{first, {}} {
			if score, err := m.Match(t.Context(), probe, template); !errors.Is(err, sensor.ErrStale) || score != 0 {
				t.Errorf("score %v, error %v", score, err)
			}
		}
	})
}

func TestBlankTemplatesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		do(t, s, "touch alice thumb")
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, template := range [][]byte{nil, make([]byte, 1536), bytes.Repeat([]byte{0xFF}, 1536), make([]byte, 10), make([]byte, 1<<20)} {
			if score, err := m.Match(t.Context(), probe, template); !errors.Is(err, sensor.ErrTemplate) || score != 0 {
				t.Errorf("%d bytes: score %v, error %v", len(template), score, err)
			}
		}
	})
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		do(t, s, "touch alice thumb 0.1")
		_, err := m.Scan(t.Context())
		wantRetry(t, err, sensor.HintFlat)

		do(t, s, "lift")
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		_, err = m.Scan(ctx)
		wantRetry(t, err, sensor.HintNoFinger)

		// The next instruction works as if nothing had been.
		do(t, s, "touch alice thumb")
		if _, err := m.Scan(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func wantRetry(t *testing.T, err error, want sensor.Hint) {
	t.Helper()
	r := (*sensor.RetryError)(nil)
	if !errors.As(err, &r) || r.Hint != want {
		t.Errorf("got %v, want the hint %s", err, want)
	}
}

func TestDifferentFingersDoNotEnrol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		fingers := []string{"thumb", "index"}
		i := 0
		_, err := m.Enrol(t.Context(), 4, func(step sensor.EnrolStep) {
			switch step.Hint {
			case sensor.HintNoFinger:
				do(t, s, "touch alice "+fingers[i%2])
				i++
			case sensor.HintLift:
				do(t, s, "lift")
			}
		})
		wantRetry(t, err, sensor.HintSame)
	})
}

func TestCancelledScanLeavesNoLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Scan(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled scan: %v", err)
		}
		if err := m.HandShake(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// lateContext is one whose own timer has not fired yet when its deadline is there.
type lateContext struct {
	context.Context
	at time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.at, true }

// That the asker's time is over is no silence of the module, for which it would be
// opened anew, whichever of the two timers is the first.
func TestTimeThatIsOverIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		do(t, s, "mute")
		ctx := lateContext{t.Context(), time.Now().Add(100 * time.Millisecond)}
		if err := m.HandShake(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sensor.ErrTimeout) {
			t.Errorf("%v", err)
		}
		if n := m.Stats().Timeouts; n != 0 {
			t.Errorf("%d time-outs are counted", n)
		}
		// A person who did not come in time is asked for again.
		_, err := m.Scan(lateContext{t.Context(), time.Now().Add(100 * time.Millisecond)})
		wantRetry(t, err, sensor.HintNoFinger)
		do(t, s, "unmute")
		if err := m.HandShake(t.Context()); err != nil {
			t.Error(err)
		}
		// Where there is time left, it is one.
		do(t, s, "mute")
		if err := m.HandShake(lateContext{t.Context(), time.Now().Add(time.Hour)}); !errors.Is(err, sensor.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
}

func TestUnpluggedModuleIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		do(t, s, "touch alice thumb", "unplug")
		_, err := m.Scan(t.Context())
		if r := (*sensor.RetryError)(nil); err == nil || errors.As(err, &r) || !errors.Is(err, sensor.ErrTimeout) {
			t.Errorf("scan of an unplugged module: %v", err)
		}
		do(t, s, "plug")
		if _, err := m.Scan(t.Context()); err != nil {
			t.Errorf("plugged in again: %v", err)
		}
	})
}

func TestForgottenPasswordIsVerifiedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		if err := m.SetPassword(t.Context(), 0x12345678); err != nil {
			t.Fatal(err)
		}
		do(t, s, "touch alice thumb", "quirk forget 5") // as after a reset
		if _, err := m.Scan(t.Context()); err != nil {
			t.Error(err)
		}
		for range 3 {
			if err := m.Check(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := m.Stats().Reverifies; got == 0 {
			t.Error("it was not verified again")
		}
		if _, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{Password: 1}); !errors.Is(err, sensor.ErrPassword) {
			t.Errorf("wrong password: %v", err)
		}
	})
}

// A line that garbles bytes may fail an attempt; it must never make another
// finger match.
func TestGarbledLineNeverMatchesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "thumb")
		do(t, s, "touch mallory thumb", "garble 1%")
		for range 10 {
			probe, err := m.Scan(t.Context())
			if err != nil {
				continue
			}
			if score, err := m.Match(t.Context(), probe, template); err == nil && score != 0 {
				t.Fatalf("mallory scores %v", score)
			}
		}
		do(t, s, "garble 0", "touch alice thumb")
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if score, err := m.Match(t.Context(), probe, template); err != nil || score == 0 {
			t.Errorf("after the fault: score %v, %v", score, err)
		}
	})
}

func TestPortsThatAreNoModule(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such port", plain: "no serial port"} {
		if err := tty.Register(path); err != nil {
			t.Fatal(err)
		}
		_, err := sensor.Open(t.Context(), sensor.Config{Port: path})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestSilentPortIsNoModule(t *testing.T) {
	s := newSim(t, "r503")
	do(t, s, "mute")
	_, err := terminal(t, s, sensor.Config{Baud: 57600})
	if !errors.Is(err, sensor.ErrNoModule) {
		t.Errorf("a silent port: %v", err)
	}
}

func TestPortIsExclusive(t *testing.T) {
	s := newSim(t, "r503")
	m, err := terminal(t, s, sensor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tty.Open(m.Info().Port); !errors.Is(err, tty.ErrBusy) {
		t.Errorf("second opening: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := tty.Open(m.Info().Port)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	p.Close()
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := m.Scan(t.Context()); !errors.Is(err, sensor.ErrGone) && !errors.Is(err, tty.ErrGone) {
		t.Errorf("scan after Close: %v", err)
	}
}

func TestSameFingerIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		thumb, index := enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "alice", "index")
		other := enrol(t, m, s, "bob", "thumb")
		again := enrol(t, m, s, "alice", "index")
		for want, others := range map[int][][]byte{2: {thumb, other, index}, 0: {index}, -1: {thumb, other, nil}} {
			if got, err := m.Same(t.Context(), again, others, new(sensor.Check)); err != nil || got != want {
				t.Errorf("%d, %v, want %d", got, err, want)
			}
		}
	})
}

// The lamp can be set while a finger is waited for, and an animation that ends
// by itself is not disturbed.
func TestLampWhileScanning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		var scanning sync.WaitGroup
		scanning.Go(func() {
			if _, err := m.Scan(t.Context()); err != nil {
				t.Error(err)
			}
		})
		for _, l := range []sensor.Lamp{sensor.LampWorking, sensor.LampNo, sensor.LampReady} {
			before := time.Now()
			if err := m.Show(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			// No flashes twice, a quarter of a second each.
			if took := time.Since(before); l == sensor.LampReady && took < 400*time.Millisecond || took > time.Second {
				t.Errorf("lamp %d after %v", l, took)
			}
		}
		if got, _ := s.Command("state"); !strings.HasSuffix(got, "lamp mode 3 speed 0 colour 2 times 0") {
			t.Error(got)
		}
		do(t, s, "touch alice thumb") // lets the scan end
		scanning.Wait()
	})
}

// Whatever the lamp shows, no instruction comes into an animation: a unit that
// hangs when one does answers all the same.
func TestNothingDisturbsTheLamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		do(t, s, "quirk dazed", "touch alice thumb")
		for l := sensor.LampOff; l <= sensor.LampFault; l++ {
			if err := m.Show(t.Context(), l); err != nil {
				t.Fatalf("lamp %d: %v", l, err)
			}
			if _, err := m.Scan(t.Context()); err != nil {
				t.Fatalf("a scan after lamp %d: %v", l, err)
			}
		}
		if err := m.Show(t.Context(), sensor.LampNo); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := m.HandShake(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline within the animation: %v", err)
		}
	})
}

// Where the module has GetImageEx a poor picture is known before its features are
// asked for, and before it is read; a finger that comes down meanwhile is not told
// to. Where it has not, Img2Tz tells.
func TestPoorPicture(t *testing.T) {
	for _, c := range []struct {
		model, quirk string
		instruction  sensor.Instruction
	}{{"r503", "oldfirmware off", sensor.GetImageEx}, {"r503", "oldfirmware", sensor.Img2Tz}, {"r307", "oldfirmware off", sensor.Img2Tz}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, c.model)
			do(t, s, "quirk "+c.quirk, "touch alice thumb 0.1")
			m := wired(t, s)
			start := time.Now()
			_, _, err := m.See(t.Context())
			wantRetry(t, err, sensor.HintFlat)
			e := (*sensor.CodeError)(nil)
			if !errors.As(err, &e) || e.Instruction != c.instruction || !strings.Contains(err.Error(), "(07)") || !strings.Contains(err.Error(), "manual p. ") {
				t.Errorf("%+v: %v", c, err)
			}
			// The picture takes seconds.
			if took := time.Since(start); c.instruction == sensor.GetImageEx && took > time.Second {
				t.Errorf("%+v: it took %v to tell", c, took)
			}
			coming := time.AfterFunc(150*time.Millisecond, func() { do(t, s, "touch alice thumb") })
			defer coming.Stop()
			if _, err := m.Scan(t.Context()); (err == nil) != (c.instruction == sensor.GetImageEx) {
				t.Errorf("%+v: a finger that comes down: %v", c, err)
			}
			time.Sleep(time.Second) // of the bubble: it is down
			if _, err := m.Scan(t.Context()); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		})
	}
}

// A reset that nobody saw is noticed by the handshake of a module with a password:
// the scan of before is gone with it.
func TestHandShakeNoticesAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "thumb")
		if err := m.SetPassword(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		do(t, s, "touch alice thumb")
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "unplug", "plug")
		time.Sleep(time.Second) // of the bubble: it has started
		if err := m.HandShake(t.Context()); err != nil || m.Stats().Reverifies != 1 {
			t.Errorf("%v, %+v", err, m.Stats())
		}
		if _, err := m.Match(t.Context(), probe, template); !errors.Is(err, sensor.ErrStale) {
			t.Errorf("the scan of before: %v", err)
		}
	})
}

// Every instruction of the manuals is sent by some call, and answered or refused
// by name.
func TestEveryInstruction(t *testing.T) {
	sent := make(map[sensor.Instruction]bool)
	for model, p := range modsim.Personalities {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			r := &sensor.Recorder{Line: plugIn(t, s)}
			m, err := sensor.New(t.Context(), r, sensor.Config{Baud: 57600})
			if err != nil {
				t.Fatal(err)
			}
			template := enrol(t, m, s, "alice", "thumb")
			decoys(t, m, 1)
			has := func(what string, want bool, err error) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%s: %s: %v", model, what, err)
				}
			}
			all := func(what string, err error) { t.Helper(); has(what, true, err) }
			all("password", m.SetPassword(t.Context(), 5))
			all("address", m.SetAddress(t.Context(), 6))
			all("rate", m.SetBaud(t.Context(), 57600))
			all("level", m.SetLevel(t.Context(), 4))
			all("level", m.SetLevel(t.Context(), 3))
			all("packets", m.SetPacketSize(t.Context(), 256))
			all("handshake", m.HandShake(t.Context()))
			all("port", m.Port(t.Context(), true))
			all("echo", m.Echo(t.Context()))
			has("check", p.Modern, m.Check(t.Context()))
			all("note", m.SetNote(t.Context(), 15, [32]byte{1, 2}))
			note, err := m.Note(t.Context(), 15)
			if all("note", err); len(note) != 32 || note[1] != 2 {
				t.Errorf("%s: the note is %x", model, note)
			}
			_, err = m.Random(t.Context())
			all("random", err)
			_, err = m.InfoPage(t.Context())
			all("page", err)
			all("lamp", m.Show(t.Context(), sensor.LampWorking))
			all("lamp", m.Show(t.Context(), sensor.LampReady))
			all("store", m.StoreTemplate(t.Context(), 3, template))
			_, err = m.LoadTemplate(t.Context(), 3)
			all("load", err)
			slots, err := m.Slots(t.Context())
			if all("slots", err); !slices.Equal(slots, []int{3}) {
				t.Errorf("%s: slots %v", model, slots)
			}
			for name, search := range map[string]func(context.Context, sensor.Print) (int, float64, bool, error){"search": m.Search, "high speed search": m.HiSpeedSearch} {
				for _, who := range []string{"alice", "mallory"} {
					do(t, s, "touch "+who+" thumb")
					probe, err := m.Scan(t.Context())
					all("scan", err)
					slot, _, found, err := search(t.Context(), probe)
					have := name == "search" || p.HiSpeed
					if has(name, have, err); have && (found != (who == "alice") || found && slot != 3) {
						t.Errorf("%s: %s finds %s in slot %d: %v", model, name, who, slot, found)
					}
				}
			}
			do(t, s, "touch alice thumb")
			probe, err := m.Scan(t.Context())
			all("scan", err)
			score, err := m.Match(t.Context(), probe, template)
			if all("match", err); score == 0 {
				t.Errorf("%s: alice does not match", model)
			}
			_, err = m.Capture(t.Context())
			all("capture", err)
			all("delete", m.DeleteTemplates(t.Context(), 3, 1))
			all("empty", m.EmptyLibrary(t.Context()))
			n, err := m.TemplateCount(t.Context())
			if all("count", err); n != 0 {
				t.Errorf("%s: %d templates are left", model, n)
			}
			_, _, err = m.AutoIdentify(t.Context(), nil)
			has("identify by itself", false, err) // its library is empty
			do(t, s, "lift")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = m.AutoEnroll(ctx, 1, false, false, nil)
			has("enrol by itself", false, err) // nobody comes
			has("reset", p.Modern, m.Reset(t.Context()))
			for _, e := range r.Events() {
				if p, _, err := sensor.DecodePacket(e.Data); e.Sent && err == nil && p.PID == sensor.PIDCommand {
					sent[sensor.Instruction(p.Content[0])] = true
				}
			}
		})
	}
	for i := range 256 {
		if i := sensor.Instruction(i); !sent[i] && !strings.HasPrefix(i.String(), "instruction ") {
			t.Errorf("nothing sends %v", i)
		}
	}
}

// A module with the factory's password that loses its power in the middle of an
// enrolment says so by its ready byte, by falling silent while it starts, or, of the
// optical ones, by what is left of the first capture. The captures are taken anew,
// and none of before is missing in the template unnoticed; the person is told, and is
// not blamed for another finger.
func TestResetInAnEnrolment(t *testing.T) {
	type when struct {
		model, quirk string
		hint         sensor.Hint // after which it happens
		rests        bool        // and is over before anybody asks the module again
	}
	var cases []when
	for _, hint := range []sensor.Hint{sensor.HintLift, sensor.HintNoFinger} {
		cases = append(cases,
			when{"r503", "glitch off", hint, false}, when{"r503", "glitch", hint, false}, when{"r503", "noready", hint, false},
			when{"r307", "noready", hint, false}, when{"as608", "noready", hint, false},
			when{"r503", "glitch", hint, true}, when{"r307", "noready", hint, true}, when{"as608", "noend", hint, true})
	}
	for _, c := range cases {
		captures := modsim.Personalities[c.model].Buffers
		for after := 1; after < captures; after++ {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, c.model)
				do(t, s, "quirk "+c.quirk)
				m := wired(t, s)
				next, cut, told := follow(t, s, "touch alice thumb"), false, 0
				var asked []int // for which capture, since then
				template, err := m.Enrol(t.Context(), 0, func(step sensor.EnrolStep) {
					next(step)
					switch {
					case !cut && step.Done == after && step.Hint == c.hint:
						cut = true
						do(t, s, "unplug", "plug")
						if c.rests {
							time.Sleep(time.Second) // of the bubble
						}
					case step.Hint == sensor.HintAnew:
						told++
						asked = nil
					case step.Hint == sensor.HintNoFinger:
						asked = append(asked, step.Done)
					}
				})
				if err != nil {
					t.Fatalf("%+v after %d: %v", c, after, err)
				}
				if told != 1 || asked[0] != 0 || len(slices.Compact(asked)) != captures {
					t.Errorf("%+v after %d: told %d times, then %v were asked for", c, after, told, asked)
				}
				do(t, s, "touch alice thumb")
				if ok, err := attempt(t, m, template, time.Minute); !ok {
					t.Errorf("%+v after %d: %v", c, after, err)
				}
			})
		}
	}
}

// A module whose supply breaks down at every capture is not enrolled on for ever.
func TestResetAtEveryCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r307")
		m := wired(t, s)
		next := follow(t, s, "touch alice thumb")
		_, err := m.Enrol(t.Context(), 0, func(step sensor.EnrolStep) {
			if next(step); step.Done == 1 && step.Hint == sensor.HintLift {
				do(t, s, "unplug", "plug")
			}
		})
		if !errors.Is(err, sensor.ErrStale) || !strings.Contains(err.Error(), "reset 4 times") {
			t.Errorf("%v", err)
		}
	})
}

// One packet that the wire loses is no reset: the first capture is still there, and
// is not asked for again.
func TestLostByteInAnEnrolmentIsNoReset(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		for at := 0; at < 60; at += 7 {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, "r307")
				m := wired(t, s)
				next := follow(t, s, "touch alice thumb")
				_, err := m.Enrol(t.Context(), 0, func(step sensor.EnrolStep) {
					next(step)
					switch {
					case step.Done == 1 && step.Hint == sensor.HintLift:
						do(t, s, "fault clear", fmt.Sprintf("fault %s drop %d", way, at))
					case step.Hint == sensor.HintAnew:
						t.Errorf("%s %d: begun anew", way, at)
					}
				})
				if err != nil {
					t.Errorf("%s %d: %v", way, at, err)
				}
			})
		}
	}
}

// A scan that the module forgot is none of the person's: it is no refusal.
func TestResetAfterAScanIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "thumb")
		do(t, s, "touch alice thumb")
		p, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "unplug", "plug")
		time.Sleep(time.Second) // of the bubble: its ready byte comes
		if score, err := m.Match(t.Context(), p, template); score != 0 || !errors.Is(err, sensor.ErrStale) {
			t.Errorf("score %g: %v", score, err)
		}
	})
}

// A module whose power failed is dark; asked for the same light a while later it
// shines again.
func TestLampAfterReset(t *testing.T) {
	for model, want := range map[string]string{"r503": "colour 1", "r307": "lamp on"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			m := wired(t, s)
			l := map[string]sensor.Lamp{"r503": sensor.LampLocked, "r307": sensor.LampWorking}[model]
			for range 2 {
				if err := m.Show(t.Context(), l); err != nil {
					t.Fatal(err)
				}
				if is, _ := s.Command("state"); !strings.Contains(is, want) {
					t.Errorf("%s: %s", model, is)
				}
				do(t, s, "unplug", "plug")
				time.Sleep(5 * time.Second) // of the bubble: what the daemon lets pass
			}
		})
	}
}

// The address 0 means the factory's to whoever opens a module: it is not set.
func TestAddressZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r307")
		if err := wired(t, s).SetAddress(t.Context(), 0); !errors.Is(err, sensor.ErrValue) {
			t.Errorf("%v", err)
		}
		wired(t, s) // it is where it was
	})
}

// Units without a ring have a light, or nothing.
func TestLampKinds(t *testing.T) {
	for model, want := range map[string]string{"r503": sensor.LampAura, "r307": sensor.LampLight} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			m := wired(t, s)
			if got := m.Info().Lamp; got != want {
				t.Errorf("%s has %s", model, got)
			}
			for l := sensor.LampOff; l <= sensor.LampFault; l++ {
				if err := m.Show(t.Context(), l); err != nil {
					t.Errorf("%s: lamp %d: %v", model, l, err)
				}
			}
			if err := m.Show(t.Context(), sensor.LampFault+1); err == nil {
				t.Error("there is one more lamp")
			}
		})
	}
}

// switches is a line that notes when a plain light is switched.
type switches struct {
	*cable
	mu   sync.Mutex
	on   bool
	at   time.Time // of the last switch
	said []string  // how long it was on, and off
}

func (w *switches) Write(b []byte) (int, error) {
	w.mu.Lock()
	if p, _, err := sensor.DecodePacket(b); err == nil && len(p.Content) == 1 {
		on := sensor.Instruction(p.Content[0]) == sensor.LightOn
		if (on || sensor.Instruction(p.Content[0]) == sensor.LightOff) && on != w.on {
			if len(w.said) > 0 || on {
				w.said = append(w.said, fmt.Sprintf("%v %v", map[bool]string{true: "on", false: "off"}[w.on], time.Since(w.at).Round(50*time.Millisecond)))
			}
			w.on, w.at = on, time.Now()
		}
	}
	w.mu.Unlock()
	return w.cable.Write(b)
}

// what a lamp said: its flashes, and what it is after them.
func (w *switches) what() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := strings.Join(w.said[min(1, len(w.said)):], ", ") // without the dark before the first
	w.said = nil
	return strings.TrimPrefix(said+map[bool]string{true: ", then on", false: ", then off"}[w.on], ", ")
}

// A plain light tells what it can, and what differs looks different: each ends by
// itself while an answer is shown, a finger is taken meanwhile, and another ends it.
func TestPlainLight(t *testing.T) {
	for _, model := range []string{"r307", "as608"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			w := &switches{cable: plugIn(t, s)}
			m, err := sensor.New(t.Context(), w, sensor.Config{Baud: 57600})
			if err != nil {
				t.Fatal(err)
			}
			const short, long = "on 150ms", "on 600ms"
			dark := ", off 150ms, "
			for l, want := range map[sensor.Lamp]string{
				sensor.LampOff: "then off", sensor.LampReady: "then off", sensor.LampWorking: "then on",
				sensor.LampYes: long + ", then off", sensor.LampNo: short + dark + short + dark + short + ", then off",
				sensor.LampLocked: short + strings.Repeat(dark+short, 4) + ", then off", sensor.LampFault: long + ", off 600ms, " + long + ", then off",
			} {
				if err := m.Show(t.Context(), sensor.LampOff); err != nil {
					t.Fatal(err)
				}
				w.what()
				start := time.Now()
				if err := m.Show(t.Context(), l); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 1900*time.Millisecond {
					t.Errorf("%s: %v takes %v", model, l, took)
				}
				if got := w.what(); got != want {
					t.Errorf("%s: %v is %q, want %q", model, l, got, want)
				}
			}
			// The wire is free between two flashes.
			do(t, s, "touch alice thumb")
			var showing sync.WaitGroup
			showing.Go(func() {
				if err := m.Show(t.Context(), sensor.LampFault); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			start := time.Now()
			if _, err := m.Scan(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: a scan took %v while the light flashed", model, took)
			}
			// And whatever is shown next is what it shows.
			if err := m.Show(t.Context(), sensor.LampWorking); err != nil {
				t.Fatal(err)
			}
			showing.Wait()
			if is, _ := s.Command("state"); !strings.HasSuffix(is, "lamp on") {
				t.Errorf("%s: %s", model, is)
			}
			// A show that is cut short leaves none behind that counts.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := m.Show(ctx, sensor.LampYes); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", model, err)
			}
			if err := m.Show(t.Context(), sensor.LampReady); err != nil {
				t.Fatal(err)
			}
			if is, _ := s.Command("state"); !strings.HasSuffix(is, "lamp off") {
				t.Errorf("%s: %s", model, is)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	for model := range modsim.Personalities {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			m := wired(t, s)
			people := []string{"alice", "bob", "carol", "dave", "eve"}
			var templates [][]byte
			for _, p := range people {
				templates = append(templates, enrol(t, m, s, p, "thumb"))
			}
			if err := m.Guard(t.Context(), decoys(t, m, 3)); err != nil {
				t.Fatal(err)
			}
			identify := func(person string, among [][]byte) (int, error) {
				do(t, s, "touch "+person+" thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				i, score, err := m.Identify(t.Context(), probe, among)
				if (score > 0) != (i >= 0) {
					t.Errorf("%s is %d with score %v", person, i, score)
				}
				return i, err
			}
			for i, p := range append(people, "mallory") {
				if i == len(people) {
					i = -1
				}
				if got, err := identify(p, templates); err != nil || got != i {
					t.Errorf("%s: %s is %d, want %d (%v)", model, p, got, i, err)
				}
			}
			// Who is gone is not found, and is taken out of the module; decoys stay there.
			if got, err := identify("bob", templates[2:]); err != nil || got != -1 {
				t.Errorf("%s: bob is %d, %v", model, got, err)
			}
			if err := m.Retain(t.Context(), templates[2:]); err != nil {
				t.Fatal(err)
			}
			if n, err := m.TemplateCount(t.Context()); err != nil || n != 3+2 {
				t.Errorf("%s: %d templates in the module, %v", model, n, err)
			}
			// A library that somebody else has written to is not believed.
			if err := m.DeleteTemplates(t.Context(), 0, 1); err != nil {
				t.Fatal(err)
			}
			if got, err := identify("carol", templates); err != nil || got != 2 {
				t.Errorf("%s: carol is %d, %v", model, got, err)
			}
			// A module that names anybody is caught by the decoys.
			do(t, s, "lie yes")
			attack := (*sensor.AttackError)(nil)
			if got, err := identify("mallory", templates); got != -1 || !errors.As(err, &attack) && !errors.Is(err, sensor.ErrDoubt) {
				t.Errorf("%s: mallory is %d, %v", model, got, err)
			}
			do(t, s, "lie honest")
			if err := m.EmptyLibrary(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// More people than the module's library holds are found all the same, up to a bound.
func TestIdentifyBeyondTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "as608")
		m := wired(t, s)
		if err := m.Guard(t.Context(), decoys(t, m, 3)); err != nil {
			t.Fatal(err)
		}
		room := m.Room()
		var templates [][]byte
		for i := range room + sensor.MaxBeyond + 1 {
			templates = append(templates, enrol(t, m, s, fmt.Sprint("person", i), "thumb"))
		}
		identify := func(person string, among [][]byte) (int, error) {
			do(t, s, "touch "+person+" thumb")
			probe, err := m.Scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i, _, err := m.Identify(t.Context(), probe, among)
			return i, err
		}
		most := templates[:room+sensor.MaxBeyond]
		for _, want := range []int{0, room - 1, room, room + 3, len(most) - 1} {
			if got, err := identify(fmt.Sprint("person", want), most); err != nil || got != want {
				t.Errorf("person%d is %d, %v", want, got, err)
			}
		}
		if got, err := identify("mallory", most); err != nil || got != -1 {
			t.Errorf("mallory is %d, %v", got, err)
		}
		if n, err := m.TemplateCount(t.Context()); err != nil || n != m.Info().Capacity {
			t.Errorf("%d templates in the module, %v", n, err)
		}
		if got, err := identify("person0", templates); got != -1 || !errors.Is(err, sensor.ErrTemplate) {
			t.Errorf("among too many person0 is %d, %v", got, err)
		}
		if err := m.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A library that was changed behind the host's back is an attack: a template in
// a slot that nobody filled at once, one in the place of another as soon as that
// slot is read back. Nobody gets in by it meanwhile.
func TestChangedLibraryIsAnAttack(t *testing.T) {
	for name, plant := range map[string]string{"a slot more": "plant 150 mallory thumb", "another in its place": "plant 1 mallory thumb"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			m := wired(t, s)
			people := []string{"alice", "bob", "carol", "dave"}
			var templates [][]byte
			for _, p := range people {
				templates = append(templates, enrol(t, m, s, p, "thumb"))
			}
			d := decoys(t, m, 3)
			var err error
			if d.Keeps, err = m.Keeps(t.Context(), d.Templates[0]); err != nil || !d.Keeps {
				t.Fatalf("what is stored is returned: %v, %v", d.Keeps, err)
			}
			if err := m.Guard(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			identify := func(person string) (int, error) {
				do(t, s, "touch "+person+" thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				i, _, err := m.Identify(t.Context(), probe, templates)
				return i, err
			}
			// Each time one or two of the four slots are read back: that one of them
			// never is, in so many, happens once in ten million runs.
			const often = 40
			for i := range often {
				if got, err := identify(people[i%4]); got != i%4 || err != nil {
					t.Fatalf("%s: %s is %d, %v", name, people[i%4], got, err)
				}
			}
			do(t, s, plant)
			attack := (*sensor.AttackError)(nil)
			got, err := identify("mallory")
			if errors.As(err, &attack); got >= 0 {
				t.Fatalf("%s: mallory is %d, %v", name, got, err)
			}
			for i := 0; attack == nil && i < often; i++ {
				got, err := identify(people[i%4])
				if errors.As(err, &attack) {
					break
				}
				if got >= 0 && got != i%4 || err != nil {
					t.Fatalf("%s: %s is %d, %v", name, people[i%4], got, err)
				}
			}
			if attack == nil || attack.Kind != sensor.AttackLibrary {
				t.Errorf("%s: %v", name, attack)
			}
		})
	}
}

// What Identify stored is gone when it is told to be, also where the answer to
// the last instruction was lost.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		templates := [][]byte{enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "bob", "thumb")}
		commands := m.Stats().Commands
		if err := m.Purge(t.Context()); err != nil || m.Stats().Commands != commands {
			t.Errorf("nothing is there, and the module is asked: %v", err)
		}
		do(t, s, "touch alice thumb")
		probe, err := m.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "fault clear", "fault out drop 50 400") // answers to what is stored
		if _, _, err := m.Identify(t.Context(), probe, templates); err == nil {
			t.Fatal("the fault did nothing")
		}
		do(t, s, "fault clear")
		if n, err := m.TemplateCount(t.Context()); err != nil || n == 0 {
			t.Fatalf("%d templates rest in the module, %v", n, err)
		}
		if err := m.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := m.TemplateCount(t.Context()); err != nil || n != 0 {
			t.Errorf("%d templates rest in the module, %v", n, err)
		}
	})
}

// The address is changed whichever address the answer carries, and where the
// instruction or its answer is lost the driver knows which one holds.
func TestAddress(t *testing.T) {
	for _, quirk := range []string{"oldaddress off", "oldaddress"} {
		for fault, moved := range map[string]bool{"": true, "fault out cut 0": true, "fault in drop 0 16": false} {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, "r307")
				m := wired(t, s)
				do(t, s, "quirk "+quirk, "fault clear")
				if fault != "" {
					do(t, s, fault)
					if strings.Contains(fault, "cut") { // the answer alone is lost
						time.AfterFunc(time.Second, func() { do(t, s, "fault clear") })
					}
				}
				if err := m.SetAddress(t.Context(), 0x01020304); (err == nil) != moved {
					t.Errorf("%s, %q: %v", quirk, fault, err)
				}
				if err := m.HandShake(t.Context()); err != nil {
					t.Errorf("%s, %q: afterwards: %v", quirk, fault, err)
				}
				want := sensor.DefaultAddress
				if moved {
					want = 0x01020304
				}
				if _, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{Address: want}); err != nil {
					t.Errorf("%s, %q: at %#08X: %v", quirk, fault, want, err)
				}
			})
		}
	}
}

// A module that answers though another was called gives its address away.
func TestForeignAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "as608")
		if err := wired(t, s).SetAddress(t.Context(), 0xCAFE0001); err != nil {
			t.Fatal(err)
		}
		e := (*sensor.AddressError)(nil)
		if _, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{}); err == nil || errors.As(err, &e) {
			t.Errorf("a module that says nothing: %v", err)
		}
		do(t, s, "quirk foreign")
		_, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{})
		if !errors.As(err, &e) || e.Address != 0xCAFE0001 || !errors.Is(err, sensor.ErrNoModule) {
			t.Errorf("a module that answers: %v", err)
		}
	})
}

// The module enrols and identifies by itself, through the driver and a real
// terminal, at the line's own pace; a cancellation leaves the line usable.
func TestAutoEnrollOverTerminal(t *testing.T) {
	t.Parallel()
	s := newSim(t, "r503")
	m, err := terminal(t, s, sensor.Config{Baud: 57600})
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "touch alice thumb", "quirk decimal")
	var steps []int
	slot, err := m.AutoEnroll(t.Context(), 200, false, false, func(step sensor.AutoStep) {
		steps = append(steps, step.Step)
		if step.Step <= 12 && step.Step%2 == 0 { // features are made: lift, and touch again
			do(t, s, "lift", "touch alice thumb")
		}
	})
	if err != nil || slot != 0 || !slices.Equal(steps, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) {
		t.Fatalf("slot %d after the steps %v: %v", slot, steps, err)
	}
	if slots, err := m.Slots(t.Context()); err != nil || len(slots) != 1 || slots[0] != 0 {
		t.Errorf("slots %v, %v", slots, err)
	}
	if _, err := m.AutoEnroll(t.Context(), 0, false, false, nil); err == nil {
		t.Error("a slot that is taken is overwritten")
	}
	if slot, score, err := m.AutoIdentify(t.Context(), nil); err != nil || slot != 0 || score == 0 {
		t.Errorf("alice: slot %d, score %d, %v", slot, score, err)
	}
	do(t, s, "touch mallory thumb")
	if _, score, err := m.AutoIdentify(t.Context(), nil); err == nil || score != 0 {
		t.Errorf("mallory: score %d, %v", score, err)
	}
	do(t, s, "lift")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := time.AfterFunc(200*time.Millisecond, cancel) // while it waits for a finger
	defer waiting.Stop()
	if _, err := m.AutoEnroll(ctx, 5, false, false, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n, err := m.TemplateCount(t.Context()); err != nil || n != 1 {
		t.Errorf("afterwards: %d templates, %v", n, err)
	}
}

// Enrolment tells what each capture saw, where the wire is fast enough and the
// module gives pictures.
func TestEnrolmentShowsCoverage(t *testing.T) {
	for _, c := range []struct {
		model string
		baud  int
		want  bool
	}{{"r503", 57600, true}, {"as608", 57600, false}, {"as608", 115200, true}} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, c.model)
			if c.baud != 57600 {
				do(t, s, "quirk baudnow")
				if err := wired(t, s).SetBaud(t.Context(), c.baud); err != nil {
					t.Fatal(err)
				}
			}
			m := wiredAs(t, s, sensor.Config{Baud: c.baud, Coverage: true})
			var seen []sensor.Coverage
			obey := follow(t, s, "touch alice thumb")
			_, err := m.Enrol(t.Context(), 2, func(step sensor.EnrolStep) {
				if step.Coverage != nil {
					seen = append(seen, *step.Coverage)
				}
				obey(step)
			})
			if err != nil || (len(seen) == 2) != c.want {
				t.Fatalf("%+v: %v, %v", c, seen, err)
			}
			if c.want && (seen[0].Area < 50 || seen[1].Overlap < 30 || seen[1].Seen < seen[0].Seen) {
				t.Errorf("%+v: %v", c, seen)
			}
		})
	}
}
