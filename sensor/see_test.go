package sensor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
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

// A picture whose rest is late, as on a busy host, is read anew, and what is late is
// no answer to anything.
func TestStalledPicture(t *testing.T) {
	for model := range modsim.Personalities {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			m := wired(t, s)
			do(t, s, "touch alice thumb")
			do(t, s, "fault out delay 3000 800")
			p, err := m.Capture(t.Context())
			if w, h := m.Info().Window(); err != nil || p.Width != w || p.Height != h {
				t.Errorf("%s: %dx%d, %v", model, p.Width, p.Height, err)
			}
			if _, err := m.TemplateCount(t.Context()); err != nil {
				t.Errorf("%s: afterwards: %v", model, err)
			}
		})
	}
}
