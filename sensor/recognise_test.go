package sensor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// A module that knows no ReadProdInfo is recognised by what it has: an R503 has its
// six buffers, its ring and its instructions; its window is found by a picture, and
// the size of its templates by the first of them.
func TestRecognisedWithoutProductInformation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		do(t, s, "quirk noinfo")
		m := wired(t, s)
		before := m.Info()
		if before.Family != "zfm-0" || before.Serial != "" || before.Buffers != 6 || before.Lamp != sensor.LampAura || before.Algorithm == "" || before.Width != 0 || before.Template != 0 {
			t.Errorf("%+v", before)
		}
		if err := m.FindWindow(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w, h := m.Info().Window(); w != 192 || h != 192 {
			t.Errorf("the window is %dx%d", w, h)
		}
		d := decoys(t, m, 3) // pictures of that window
		if err := m.Guard(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		template := enrol(t, m, s, "alice", "thumb")
		after := m.Info()
		if after.Template != len(template) || len(template) != 1536 {
			t.Errorf("templates of %d bytes, one has %d", after.Template, len(template))
		}
		// What was seen later makes no other module of it, in either order.
		if a, b := after.Differs(before), before.Differs(after); a != "" || b != "" {
			t.Errorf("%q, %q", a, b)
		}
		do(t, s, "touch alice thumb")
		if ok, err := attempt(t, m, template, time.Minute); !ok {
			t.Error(err)
		}
		// The next opening takes it over, and then a difference is one.
		m = wired(t, s)
		if err := m.Recall(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		if got := m.Info(); got != after {
			t.Errorf("%+v, want %+v", got, after)
		}
		other := after
		other.Template = 768
		if got := m.Info().Differs(other); got != "template size was 768, is 1536" {
			t.Errorf("%q", got)
		}
	})
}

// The optical units are not asked for what they would answer wrongly.
func TestOpticalUnitsAreRecognised(t *testing.T) {
	for _, model := range []string{"r307", "as608"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			m := wired(t, s)
			if err := m.FindWindow(t.Context()); err != nil {
				t.Fatal(err)
			}
			i := m.Info()
			if w, h := i.Window(); i.Buffers != 2 || i.Lamp != sensor.LampLight || w != 256 || h != 288 || i.Width != 0 {
				t.Errorf("%s: %+v", model, i)
			}
			template := enrol(t, m, s, "alice", "thumb")
			do(t, s, "touch alice thumb")
			if _, err := m.Capture(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i := m.Info(); i.Template != len(template) || i.Width != 256 || i.Height != 288 {
				t.Errorf("%s: %+v", model, i)
			}
		})
	}
}

// A module that states its window cannot state none the next time.
func TestStatedSizesAreCompared(t *testing.T) {
	was := sensor.Info{Hardware: "1", Width: 192, Height: 192, Template: 1536}
	for _, now := range []sensor.Info{{Hardware: "1", Template: 1536}, {Hardware: "1", Width: 192, Height: 192}, {Width: 192, Height: 192, Template: 1536}} {
		if now.Differs(was) == "" || was.Differs(now) == "" {
			t.Errorf("%+v counts as %+v", now, was)
		}
	}
}

// A probe that fails says where: port, rate and instruction; a line that went and a
// cancellation are no fault of the module.
func TestFailedProbeSaysWhere(t *testing.T) {
	parameters := []byte("\x00\x00\x04\x00\x00\x00\xC8\x00\x03\xFF\xFF\xFF\xFF\x00\x02\x00\x06")
	product := []byte("\x00R503\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x000001\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00FPC1021\x00\x00\xC0\x00\xC0\x06\x00\x00\xC8")
	copy(product[21:], "SERIAL01")
	version := append([]byte{0}, make([]byte, 32)...)
	answers := []struct {
		at     sensor.Instruction
		answer []byte
	}{
		{sensor.VfyPwd, []byte{0}},
		{sensor.ReadSysPara, parameters},
		{sensor.ReadProdInfo, product},
		{sensor.GetAlgVer, version},
		{sensor.GetFwVer, version},
		{sensor.HandShake, []byte{0}},
		{sensor.GetImageEx, []byte{2}},
		{sensor.LoadChar, []byte{0x0C}},
		{sensor.ReadIndex, make([]byte, 33)},
		{sensor.AuraLedConfig, []byte{0}},
	}
	for bad := 1; bad < len(answers); bad++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCable()
			background(t, func(context.Context) error {
				asked, buf := 0, make([]byte, 512)
				for {
					n, err := far{c}.Read(buf)
					if err != nil {
						return nil
					}
					p, _, err := sensor.DecodePacket(buf[:n])
					if err != nil {
						return fmt.Errorf("%X: %w", buf[:n], err)
					}
					for asked < len(answers)-1 && sensor.Instruction(p.Content[0]) == answers[asked+1].at {
						asked++
					}
					time.Sleep(20 * time.Millisecond) // the wire
					b, err := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDAck, Content: answers[asked].answer})
					if sensor.Instruction(p.Content[0]) == sensor.VfyPwd {
						b, err = sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDAck, Content: []byte{0}})
					} else if asked == bad {
						b[len(b)-1]++
					}
					if err != nil {
						return err
					}
					if _, err := (far{c}).Write(b); err != nil {
						return err
					}
				}
			})
			t.Cleanup(func() { c.Close() })
			_, err := sensor.New(t.Context(), c, sensor.Config{Port: "ttyX", Baud: 57600})
			if !errors.Is(err, sensor.ErrSum) {
				t.Fatalf("%v: %v", answers[bad].at, err)
			}
			for _, part := range []string{"ttyX", "57600 baud", answers[bad].at.String()} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v: %q is not in %v", answers[bad].at, part, err)
				}
			}
		})
	}
}

// A module that is reset while it is asked what it is lacks nothing for that.
func TestResetWhileItIntroducesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		want := wired(t, s).Info()
		for n := 3; n < 12; n++ { // of two, none gets through

			do(t, s, fmt.Sprintf("quirk forget %d", n))
			if got := wired(t, s).Info(); got != want {
				t.Errorf("every %dth instruction forgets: %+v", n, got)
			}
		}
	})
}

// A module without a name is one of its system id's family: templates go by it.
func TestNamelessModuleHasAFamily(t *testing.T) {
	p := modsim.Personalities["r503"]
	p.Model = ""
	modsim.Personalities["nameless"] = p
	defer delete(modsim.Personalities, "nameless")
	synctest.Test(t, func(t *testing.T) {
		if i := wired(t, newSim(t, "nameless")).Info(); i.Family != "zfm-0" || i.Hardware == "" {
			t.Errorf("%+v", i)
		}
	})
}

// What a module is may be asked while it is learnt: status does so. (For -race.)
func TestInfoWhileItIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r307")
		m := wired(t, s)
		done := make(chan sensor.Info)
		go func() {
			for m.Info().Template == 0 {
				time.Sleep(time.Millisecond) // of the bubble
			}
			done <- m.Info()
		}()
		template := enrol(t, m, s, "alice", "thumb")
		if i := <-done; i.Template != len(template) || m.Family() != i.Family {
			t.Errorf("%+v, a template has %d bytes", i, len(template))
		}
	})
}

// How many captures an enrolment merges is counted, for no module says it: one of the
// R503's generation may have fewer than its six buffers, and its enrolment fits them.
func TestBuffersAreCounted(t *testing.T) {
	for n := 2; n <= 6; n++ {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			do(t, s, fmt.Sprint("quirk buffers ", n))
			m := wired(t, s)
			if got := m.Info().Buffers; got != n {
				t.Errorf("%d buffers are counted of %d", got, n)
			}
			template := enrol(t, m, s, "alice", "thumb")
			do(t, s, "touch alice thumb")
			if ok, err := attempt(t, m, template, time.Minute); !ok {
				t.Errorf("%d buffers: %v", n, err)
			}
		})
	}
}

// A module without ReadIndexTable, whether it says so or nothing, finds people all the
// same: the number of its templates is checked then.
func TestWithoutAnIndex(t *testing.T) {
	for _, model := range []string{"r503", "r307", "as608"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			do(t, s, "quirk noindex")
			m := wired(t, s)
			if _, err := m.Slots(t.Context()); !errors.As(err, new(*sensor.CodeError)) {
				t.Errorf("%s: its slots: %v", model, err)
			}
			templates := [][]byte{enrol(t, m, s, "alice", "thumb"), enrol(t, m, s, "bob", "thumb")}
			find := func() (int, error) {
				do(t, s, "touch bob thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				at, _, err := m.Identify(t.Context(), probe, templates)
				return at, err
			}
			if at, err := find(); at != 1 || err != nil {
				t.Errorf("%s: bob is %d, %v", model, at, err)
			}
			do(t, s, "plant 9 mallory thumb")
			if at, err := find(); at >= 0 || !errors.As(err, new(*sensor.AttackError)) {
				t.Errorf("%s: with one more template: %d, %v", model, at, err)
			}
		})
	}
}
