package sensor_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/faceprint/faceprint/sensor/modsim"
)

// A byte that the wire loses while the module introduces itself changes nothing
// of what it is taken for: an honest module would count as another one.
func TestALostByteMakesNoOtherModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := modsim.New(modsim.Config{Model: "r503"})
		if err != nil {
			t.Fatal(err)
		}
		want := wired(t, s).Info()
		for _, way := range []string{"in", "out"} {
			for at := range 160 {
				do(t, s, fmt.Sprintf("fault %s drop %d", way, at))
				if got := wired(t, s).Info(); got != want {
					t.Errorf("byte %d %s lost: %+v, want %+v", at, way, got, want)
				}
				do(t, s, "fault clear")
			}
		}
	})
}
