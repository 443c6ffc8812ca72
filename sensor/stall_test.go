package sensor_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor/modsim"
)

// A module that stands still for a moment in the middle of a picture, as one does that a
// busy machine simulates, or whose adapter is, delivers it all the same: what is late is
// waited for, and not taken for the answer to what is asked next.
func TestStalledTransfer(t *testing.T) {
	const whole = 20016 + 12 // bytes of an R503's picture on the wire, and the answer before it
	stalls := []time.Duration{600 * time.Millisecond, 1100 * time.Millisecond, 1600 * time.Millisecond, 2 * time.Second, 2400 * time.Millisecond, 2600 * time.Millisecond}
	for _, baud := range []int{57600, 115200} {
		synctest.Test(t, func(t *testing.T) {
			seen := image.NewGray(image.Rect(0, 0, 192, 192)) // a synthetic one takes longer to draw than to send
			for i := range seen.Pix {
				seen.Pix[i] = byte(i * i >> 3)
			}
			s, err := modsim.New(modsim.Config{Model: "r503", Seed: 1, Pictures: modsim.Pictures{"alice": {seen}}})
			if err != nil {
				t.Fatal(err)
			}
			m := wiredAt(t, s, baud)
			do(t, s, "touch alice thumb")
			want, err := m.Capture(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			failed, tries := map[string]int{}, 0
			for _, at := range []int{0, 12, whole / 2} {
				for _, stall := range stalls {
					for _, again := range []time.Duration{0, 400 * time.Millisecond} {
						tries++
						do(t, s, "fault clear", fmt.Sprintf("fault out delay %d %d", at, stall.Milliseconds()))
						for more := at + 300; again > 0 && more < 2*whole; more += 2000 {
							do(t, s, fmt.Sprintf("fault out delay %d %d", more, again.Milliseconds()))
						}
						got, err := m.Capture(t.Context())
						if err != nil {
							failed[err.Error()]++
							if testing.Verbose() {
								t.Logf("%d baud, %v at byte %d, then %v: %v", baud, stall, at, again, err)
							}
						} else if !bytes.Equal(got.Pix, want.Pix) {
							t.Errorf("%d baud, %v at byte %d, then %v: another picture", baud, stall, at, again)
						}
						do(t, s, "fault clear")
						time.Sleep(5 * time.Second) // of the bubble
						if _, err := m.TemplateCount(t.Context()); err != nil {
							t.Errorf("%d baud, %v at byte %d, then %v: the next instruction: %v", baud, stall, at, again, err)
						}
					}
				}
			}
			if len(failed) > 0 {
				t.Errorf("%d baud: of %d pictures these were lost: %v", baud, tries, failed)
			}
		})
	}
}

// A machine that wakes the simulator late each time makes no slower module of it: what
// comes late is made up for, and no answer comes sooner than the wire carries it.
func TestLatenessDoesNotAddUp(t *testing.T) {
	capture := func(late time.Duration) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s, err := modsim.New(modsim.Config{Model: "r503", Seed: 1, Sleep: func(_ context.Context, d time.Duration) {
				if d > 0 {
					time.Sleep(d + late)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			m := wired(t, s)
			do(t, s, "touch alice thumb")
			start := time.Now()
			if _, err := m.Capture(t.Context()); err != nil {
				t.Fatal(err)
			}
			took = time.Since(start)
			if st := m.Stats(); st.Early > 0 || st.Timeouts > 0 {
				t.Errorf("each time %v late: %+v", late, st)
			}
		})
		return took
	}
	sound := capture(0)
	for _, late := range []time.Duration{30 * time.Millisecond, 200 * time.Millisecond} {
		// GenImg and UpImage are two answers.
		if took := capture(late); took > sound+3*late {
			t.Errorf("each time %v late: a picture takes %v, %v otherwise", late, took, sound)
		}
	}
}
