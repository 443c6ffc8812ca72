package device

import (
	"math"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

func (th *theatre) enrols(t *testing.T, d *Device, who int, r EnrollRequest) (Enrollment, error) {
	t.Helper()
	th.play, th.seq, th.now = repeat(60, actor{who: who, x: 320, live: 0.95}), 0, th.now.Add(time.Hour)
	r.Factors, r.Consent, r.Timeout = []Factor{Face}, store.Consent{At: th.now, TextVersion: "1"}, 300*time.Millisecond
	return d.Enroll(t.Context(), r)
}

// Who comes back into sight is held to the mean of who was compared, by the table of
// templates: by that of two pictures too many strangers were taken for them.
func TestWhoComesBackIsHeldToTheMean(t *testing.T) {
	for between, granted := range map[float64]bool{0.36: false, 0.45: true} { // rates of two pictures: 1e-3 at 0.32, of templates at 0.4
		onStage(t, Options{}, func(t *testing.T, d *Device, th *theatre, user store.UserID) {
			th.own = true
			th.table = vision.Table{Source: "test", Points: []vision.Operating{{FMR: 0.1, Cosine: 0.16}, {FMR: 1e-3, Cosine: 0.32}, {FMR: 1e-4, Cosine: 0.4}, {FMR: 1e-7, Cosine: 0.64}}}
			// Eve is nobody; who comes after her is Ada, and so like Eve.
			ada, eve := th.people[0], make(vision.Embedding, len(th.people[0]))
			c, along := vision.Cosine(th.people[1], ada), 0.0
			for i := range eve {
				eve[i] = th.people[1][i] - float32(c)*ada[i]
				along += float64(eve[i]) * float64(eve[i])
			}
			for i := range eve {
				eve[i] = float32(between)*ada[i] + float32(math.Sqrt((1-between*between)/along))*eve[i]
			}
			th.people = append(th.people, eve)
			dec, err := th.shows(t, d, user, repeat(9, actor{who: len(th.people) - 1, x: 320, live: 0.95}), repeat(17), repeat(40, actor{who: 0, x: 320, live: 0.95}))
			if err != nil || dec.Granted != granted {
				t.Errorf("at a cosine of %.2f with who was compared: %+v, %v", between, dec, err)
			}
		})
	}
}

// Whoever turns the head is held to the table of templates, or, where there is none,
// to that of two pictures as it is.
func TestATurnIsHeldToTheTableThatWasMeasured(t *testing.T) {
	table := func(cosine float64) vision.Table {
		return vision.Table{Source: "test", Points: []vision.Operating{{FMR: turnedFMR, Cosine: cosine}, {FMR: 1e-6, Cosine: 0.9}}}
	}
	onStage(t, Options{}, func(t *testing.T, d *Device, _ *theatre, _ store.UserID) {
		for _, tt := range []struct {
			profile vision.Profile
			want    float64
		}{
			{vision.Profile{Table: table(0.2)}, 0.2},
			{vision.Profile{Table: table(0.2), Templates: table(0.3)}, 0.3},
		} {
			s, err := d.sequence(tt.profile)
			if err != nil || s.SameTurned != tt.want {
				t.Errorf("%+v, %v, want %g", s, err, tt.want)
			}
		}
	})
}
