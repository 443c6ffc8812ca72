package sensor_test

import (
	"testing"
	"testing/synctest"

	"github.com/faceprint/faceprint/sensor/modsim"
)

// RegModel merges every buffer that holds something. What an enrolment left there
// that was broken off gets neither into a decoy nor into the next person's template.
func TestBuffersOfABrokenEnrolment(t *testing.T) {
	for model, p := range modsim.Personalities {
		for captures := 2; captures <= p.Buffers; captures++ {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, model)
				m := wired(t, s)
				breakOff := func() {
					t.Helper()
					abortEnrolment(t, m, s, "mallory", captures)
				}
				breakOff()
				decoys(t, m, 1)
				breakOff()
				template, err := m.Enrol(t.Context(), captures, follow(t, s, "touch alice thumb"))
				if err != nil {
					t.Fatalf("%s, %d captures: %v", model, captures, err)
				}
				do(t, s, "touch alice thumb")
				probe, err := m.Scan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if score, err := m.Match(t.Context(), probe, template); err != nil || score == 0 {
					t.Errorf("%s, %d captures: alice scores %v, %v", model, captures, score, err)
				}
			})
		}
	}
}
