package device

import (
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
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

// reaching is a table that tells so many templates apart at 1e-4.
func reaching(templates float64) vision.Table {
	return vision.Table{Source: "test", Points: []vision.Operating{{FMR: 1e-1, Cosine: 0.2}, {FMR: 1e-4 / templates, Cosine: 0.5}}}
}

// A table that does not reach all templates lets everybody in by as many as it does
// reach, the first of everybody before the second of anybody; where there are more
// people than that, nobody is searched, and nobody's failure is it.
func TestAVaultBeyondTheReachGoesOn(t *testing.T) {
	onStage(t, Options{}, beyondTheReach)
}

func beyondTheReach(t *testing.T, d *Device, th *theatre, ada store.UserID) {
	eve := actor{who: 1, x: 320, live: 0.95}
	look := func(who store.UserID, a actor) (Decision, error) {
		th.play, th.seq, th.now = repeat(40, a), 0, th.now.Add(time.Hour)
		r := Request{Who: who, Timeout: 300 * time.Millisecond}
		if who == "" {
			return d.Identify(t.Context(), r)
		}
		return d.Authenticate(t.Context(), r)
	}
	for range 2 { // while the table reached further
		if _, err := th.enrols(t, d, 0, EnrollRequest{Who: ada}); err != nil {
			t.Fatal(err)
		}
	}
	bo, err := th.enrols(t, d, 2, EnrollRequest{Name: "Bo"})
	if err != nil {
		t.Fatal(err)
	}
	th.table = reaching(2)
	for name, who := range map[string]store.UserID{"Ada": ada, "anybody": ""} {
		if dec, err := look(who, actor{who: 0, x: 320, live: 0.95}); err != nil || !dec.Granted || dec.User != ada || dec.FMR > 1e-4 {
			t.Errorf("Ada as %s, with three templates: %+v, %v", name, dec, err)
		}
	}
	for name, who := range map[string]store.UserID{"Bo": bo.User, "anybody": ""} {
		if dec, err := look(who, actor{who: 2, x: 320, live: 0.95}); err != nil || !dec.Granted || dec.User != bo.User {
			t.Errorf("Bo as %s: %+v, %v", name, dec, err)
		}
	}
	if dec, err := look("", eve); err != nil || dec.Granted || !slices.Equal(dec.Reasons, []Reason{FaceNoMatch}) {
		t.Errorf("a stranger: %+v, %v", dec, err)
	}
	th.table = reaching(1)
	before := deviceFailures(t, d)
	if dec, err := look("", actor{who: 0, x: 320, live: 0.95}); !errors.Is(err, ErrReach) || !strings.Contains(err.Error(), "2 people are enrolled") || deviceFailures(t, d) != before {
		t.Errorf("a search among more people than there is room for: %+v, %v", dec, err)
	}
	if dec, err := look(ada, actor{who: 0, x: 320, live: 0.95}); err != nil || !dec.Granted {
		t.Errorf("Ada by name: %+v, %v", dec, err)
	}
	if dec, err := look(ada, eve); err != nil || dec.Granted {
		t.Errorf("a stranger as Ada: %+v, %v", dec, err)
	}
}

// Where a finger alone suffices, a search among more people than the face's table reaches
// goes on: the face passes for nobody, and says whose finger it would have to be. Where no
// finger is anybody's it is a fault.
func TestBeyondTheReachTheFingerDecides(t *testing.T) {
	for name, tt := range map[string]struct {
		mode  Mode
		phone string // whose word comes first
		hand  string // on the reader
		none  bool   // nobody has a finger enrolled
		want  func(dec Decision, err error, alice store.UserID) bool
	}{
		"either": {mode: Either, hand: "alice", want: func(dec Decision, err error, alice store.UserID) bool {
			return err == nil && dec.Granted && dec.User == alice && dec.FMR <= 1e-4
		}},
		"both, with a phone": {mode: Both, phone: "hers", hand: "alice", want: func(dec Decision, err error, alice store.UserID) bool {
			return err == nil && dec.Granted && dec.User == alice
		}},
		"either, the finger of another": {mode: Either, hand: "bob", want: func(dec Decision, err error, _ store.UserID) bool {
			return err == nil && slices.Equal(dec.Reasons, []Reason{FaceNoMatch, FingerNoMatch})
		}},
		"either, and no fingers": {mode: Either, hand: "alice", none: true, want: func(_ Decision, err error, _ store.UserID) bool { return errors.Is(err, ErrReach) }},
		"both":                   {mode: Both, hand: "alice", want: func(_ Decision, err error, _ store.UserID) bool { return errors.Is(err, ErrReach) }},
		"face":                   {mode: FaceOnly, hand: "alice", want: func(_ Decision, err error, _ store.UserID) bool { return errors.Is(err, ErrReach) }},
	} {
		p := DefaultPolicy()
		p.Mode, p.FaceFMR, p.Challenge = tt.mode, 1e-5, ChallengeOff // of the table's last point, so one person's
		w := newWorld(t, p)
		var log strings.Builder
		w.d.opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		alice := w.enrol("Alice", 1, "alice")
		if log.Len() > 0 {
			t.Errorf("%s: one person is beyond the reach: %s", name, log.String())
		}
		bob := w.enrol("Bob", 2, "bob")
		if !strings.Contains(log.String(), "2 people are enrolled by face") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
		if tt.none {
			for _, who := range []store.UserID{alice, bob} {
				err := w.vault.Update(func(tx *store.Tx) error {
					ts, err := tx.TemplatesOf(who, store.KindModule)
					for i := range ts {
						ts[i].Wipe()
						err = errors.Join(err, tx.DeleteTemplate(who, ts[i].ID))
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		w.pose(1, tt.hand)
		dec, err := w.d.Identify(t.Context(), Request{Phone: tt.phone, Timeout: time.Minute})
		if !tt.want(dec, err, alice) {
			t.Errorf("%s: %+v, %v", name, dec, err)
		}
	}
}

// Those that follow somebody come behind the ones that were enrolled, and another
// network's count for nothing.
func TestWhichTemplatesAreCompared(t *testing.T) {
	profile := vision.Profile{Name: "p", Table: reaching(3), Templates: reaching(3)}
	at := func(hours int) time.Time { return time.Unix(1e9, 0).Add(time.Duration(hours) * time.Hour) }
	ts := []store.Template{
		{ID: "a3", User: "a", Kind: store.KindFace, Model: profile.Model(), Created: at(9)},
		{ID: "af", User: "a", Kind: store.KindFace, Model: profile.Model(), Created: at(0), Label: adaptedLabel + "a1"},
		{ID: "old", User: "c", Kind: store.KindFace, Model: "q", Created: at(0)},
		{ID: "a2", User: "a", Kind: store.KindFace, Model: profile.Model(), Created: at(2)},
		{ID: "a1", User: "a", Kind: store.KindFace, Model: profile.Model(), Created: at(1)},
		{ID: "b1", User: "b", Kind: store.KindFace, Model: profile.Model(), Created: at(8)},
	}
	for name, tt := range map[string]struct {
		ts   []store.Template
		most float64
		want string
	}{
		"all":                       {ts, 5, "a3 af a2 a1 b1"},
		"the first, and one more":   {ts, 3, "a1 b1 a2"},
		"the one that follows last": {ts[:5], 3, "a1 a2 a3"},
		"everybody's first":         {ts, 2, "a1 b1"},
	} {
		profile.Table, profile.Templates = reaching(tt.most), reaching(tt.most)
		got, err := comparable(tt.ts, profile, 1e-4)
		var ids []string
		for _, x := range got {
			ids = append(ids, x.ID)
		}
		if err != nil || strings.Join(ids, " ") != tt.want {
			t.Errorf("%s: %q, %v, want %q", name, ids, err, tt.want)
		}
	}
	profile.Table, profile.Templates = reaching(1), reaching(1)
	if got, err := comparable(ts, profile, 1e-4); !errors.Is(err, ErrReach) || len(got) != 2 || got[0].ID != "a1" || got[1].ID != "b1" {
		t.Errorf("two people with room for one: %v, %v", got, err)
	}
}
