package sensor_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// A byte that the wire loses or turns while the module introduces itself changes nothing
// of what it is taken for: an honest module would count as another one.
func TestALostByteMakesNoOtherModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := modsim.New(modsim.Config{Model: "r503"})
		if err != nil {
			t.Fatal(err)
		}
		want := wired(t, s).Info()
		for _, fault := range []string{"in drop %d", "out drop %d", "in flip %d 255", "out flip %d 255", "in flip %d 1"} {
			for at := range 160 {
				do(t, s, "fault "+fmt.Sprintf(fault, at))
				if got := wired(t, s).Info(); got != want {
					t.Errorf("fault "+fault+": %+v, want %+v", at, got, want)
				}
				do(t, s, "fault clear")
			}
		}
	})
}

// A wire that loses bytes of a question and of its repetition does make another
// module of an honest one; asked anew, it is the one it was.
func TestReintroduceUndoesABadIntroduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := modsim.New(modsim.Config{Model: "r503"})
		if err != nil {
			t.Fatal(err)
		}
		want := wired(t, s).Info()
		mistaken := 0
		for at := 20; at < 60; at++ {
			for _, n := range []int{at, at + 12} { // a question, and the one after it
				do(t, s, fmt.Sprintf("fault out drop %d", n+at))
				do(t, s, fmt.Sprintf("fault in drop %d", n))
			}
			m, err := sensor.New(t.Context(), plugIn(t, s), sensor.Config{Baud: 57600})
			do(t, s, "fault clear")
			if err != nil {
				continue // no module at all: nothing to ask anew
			}
			if m.Info().Differs(want) != "" {
				mistaken++
			}
			if err := m.Reintroduce(t.Context()); err != nil {
				t.Errorf("byte %d lost twice: %v", at, err)
			} else if got := m.Info(); got != want {
				t.Errorf("byte %d lost twice: %+v, want %+v", at, got, want)
			}
		}
		if mistaken == 0 {
			t.Error("no introduction went wrong")
		}
	})
}
