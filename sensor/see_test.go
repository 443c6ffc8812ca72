package sensor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

func TestSeeGivesThePictureAndThePrint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		m := wired(t, s)
		template := enrol(t, m, s, "alice", "index")
		do(t, s, "touch alice index")
		p, pic, err := m.See(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dark := 0
		for _, v := range pic.Pix {
			if v < 128 {
				dark++
			}
		}
		if pic.Width != 192 || pic.Height != 192 || len(pic.Pix) != 192*192 || dark < len(pic.Pix)/20 {
			t.Errorf("a picture of %dx%d with %d dark pixels", pic.Width, pic.Height, dark)
		}
		if score, err := m.Match(t.Context(), p, template); err != nil || score == 0 {
			t.Errorf("the same scan compared by the module: %v, %v", score, err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hint := (*sensor.RetryError)(nil)
		if err := m.Lifted(ctx); !errors.As(err, &hint) || hint.Hint != sensor.HintLift {
			t.Errorf("a finger that stays: %v", err)
		}
		do(t, s, "lift")
		if err := m.Lifted(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, pic, err := m.See(ctx); !errors.As(err, &hint) || hint.Hint != sensor.HintNoFinger || pic.Pix != nil {
			t.Errorf("no finger: %v, %d pixels", err, len(pic.Pix))
		}
		if _, err := m.Match(t.Context(), p, template); !errors.Is(err, sensor.ErrStale) {
			t.Errorf("an older scan is compared: %v", err)
		}
	})
}
