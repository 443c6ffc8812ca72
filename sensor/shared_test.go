package sensor_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/faceprint/faceprint/sensor"
)

// sharedCable is one on which somebody else reads as well.
type sharedCable struct{ *cable }

var errShared = errors.New("the port is read by agetty as well")

func (sharedCable) Shared() error { return errShared }

// What fails on the wire of an open module is told with who else has the port; what
// it has not got and what it refuses are no news of that kind.
func TestFailureNamesWhoElseHasThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		c := plugIn(t, s)
		for _, line := range []sensor.Line{sharedCable{c}, &sensor.Recorder{Line: sharedCable{c}}} {
			m, err := sensor.New(t.Context(), line, sensor.Config{Baud: 57600})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Shared(); !errors.Is(err, errShared) {
				t.Errorf("of an open module: %v", err)
			}
			if _, err := m.Capture(t.Context()); err == nil || errors.Is(err, errShared) {
				t.Errorf("no finger: %v", err)
			}
			do(t, s, "mute")
			if err := m.HandShake(t.Context()); !errors.Is(err, sensor.ErrTimeout) || strings.Count(err.Error(), "agetty") != 1 {
				t.Errorf("no answer: %v", err)
			}
			do(t, s, "unmute", "quirk badsum 1")
			if _, err := m.InfoPage(t.Context()); !errors.Is(err, sensor.ErrSum) || strings.Count(err.Error(), "agetty") != 1 {
				t.Errorf("damaged: %v", err)
			}
			do(t, s, "quirk badsum off")
			if err := m.HandShake(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if m := wired(t, s); m.Shared() != nil {
			t.Error("a line that cannot tell is shared")
		}
	})
}
