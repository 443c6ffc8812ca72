package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor/host"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

func TestTheEngineThatIsConfiguredRuns(t *testing.T) {
	models, _, ok := real()
	library := os.Getenv("FACEPRINT_ORT")
	if _, err := os.Stat(library); err != nil || !ok {
		t.Skip("needs cgo, the models and ONNX Runtime ('make test' fetches them)")
	}
	log := slog.New(slog.DiscardHandler)
	none := filepath.Join(t.TempDir(), "none.so")
	broken := filepath.Join(t.TempDir(), "broken.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ engine, library, want string }{
		{"auto", none, "OpenCV"},
		{"auto", broken, "OpenCV"},
		{"auto", library, "ONNX Runtime"},
		{"ort", library, "ONNX Runtime"},
		{"opencv", library, "OpenCV"},
		{"ort", none, ""},
	} {
		m, err := openModel(Config{Policy: defaults().Policy, Face: faceConfig{Models: models, Profile: vision.DefaultProfile, Engine: tt.engine, Library: tt.library}}, log)
		switch {
		case tt.want == "" && (!errors.Is(err, vision.ErrNoEngine) || !strings.Contains(modelAdvice(err), "face.library")):
			t.Errorf("%s with %s: %v", tt.engine, tt.library, err)
		case tt.want != "" && err != nil:
			t.Errorf("%s with %s: %v", tt.engine, tt.library, err)
		case tt.want != "":
			if !strings.Contains(modelDetail(m, defaults().Policy), " on "+tt.want) {
				t.Errorf("%s with %s: %s", tt.engine, tt.library, modelDetail(m, defaults().Policy))
			}
			m.Close()
		}
	}
}

// A site's own profile is a file; one without a threshold table would
// recognise nobody and is said to.
func TestProfilesOfTheSite(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	own := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(own, []byte("nane = \"own\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"opencv-zoo": errUnmeasured, own: vision.ErrProfile, own + ".toml": vision.ErrProfile, "nobody": vision.ErrProfile,
	} {
		_, err := openModel(Config{Policy: defaults().Policy, Face: faceConfig{Models: t.TempDir(), Profile: name, Engine: "opencv"}}, log)
		if !errors.Is(err, want) || modelAdvice(err) == "" {
			t.Errorf("%s: %v, advice %q", name, err, modelAdvice(err))
		}
	}
	if _, err := openModel(Config{Face: faceConfig{Profile: own}}, log); err == nil || !strings.Contains(err.Error(), own+": vision: profile, line 1: unknown key") {
		t.Error(err)
	}
}

// A policy that no score of the table satisfies would refuse everybody, each for
// want of a match.
func TestAPolicyBeyondTheTableIsRefused(t *testing.T) {
	c := defaults()
	c.Face.Models = t.TempDir()
	for fmr, want := range map[float64]error{1e-8: errTooStrict, 1e-7: vision.ErrModel, 1e-4: vision.ErrModel} {
		c.Policy.FaceFMR = fmr
		_, err := openModel(c, slog.New(slog.DiscardHandler))
		if !errors.Is(err, want) || modelAdvice(err) == "" {
			t.Errorf("%g: %v", fmr, err)
		}
	}
	p, err := readProfile(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	for fmr, want := range map[float64]int{1e-8: 0, 1e-7: 1, 1e-6: 10, 1e-5: 100, 1e-4: 1000, 3e-4: 3000} {
		if got := p.Match().Reach(fmr); got != want {
			t.Errorf("at %g a face is found among %d, want %d", fmr, got, want)
		}
	}
	if n := (vision.Table{}).Reach(1e-4); n != 0 {
		t.Errorf("an empty table reaches %d", n)
	}
}

// The doctor, and the status of the face model, say from how many people on a search by
// face refuses everybody.
func TestTheDoctorCountsWhomASearchCanTellApart(t *testing.T) {
	dir := t.TempDir()
	v, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b := &backend{vault: v, config: defaults()}
	b.config.Finger.Match = matchHost // whatever module is there, or none
	b.config.Policy.FaceFMR = 2e-7    // two people
	check := func() (state, detail string) {
		b.checkReach(func(_, s, d, _ string) { state, detail = s, d })
		return state, detail
	}
	var id store.UserID
	for n, want := range []string{"ok", "warn", "warn", "fail"} {
		if state, detail := check(); state != want || !strings.Contains(detail, "at most 2 templates") {
			t.Errorf("%d people: %s, %s", n, state, detail)
		}
		parts := []client.Part{{Name: facesName, State: "ok", Detail: "a model"}, {Name: "door", State: "ok"}}
		b.warnOfReach(parts)
		told := strings.Contains(parts[0].Detail, "a model; search: ") && parts[0].Advice != ""
		if p := parts[0]; told != (want != "ok") || (p.State == "degraded") != (want == "fail") || parts[1].Detail != "" {
			t.Errorf("%d people, status: %+v", n, parts)
		}
		missing := []client.Part{{Name: facesName, State: "missing", Detail: "no model"}}
		if b.warnOfReach(missing); missing[0].State != "missing" || missing[0].Detail != "no model" {
			t.Errorf("%d people, status without a model: %+v", n, missing)
		}
		err := v.Update(func(tx *store.Tx) error {
			id = store.NewUserID()
			p := store.Person{ID: id, Name: "x", Created: time.Now().UTC(), Consent: store.Consent{At: time.Now().UTC(), TextVersion: "1"}}
			if err := tx.AddPerson(p); err != nil {
				return err
			}
			e := make(vision.Embedding, 512)
			e[n] = 1
			data, err := e.MarshalBinary()
			if err != nil {
				return err
			}
			if _, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindFace, Model: vision.DefaultProfile, Created: time.Now().UTC(), Data: data}); err != nil {
				return err
			}
			_, err = tx.Append(store.Entry{At: time.Now(), Kind: "enrol", User: id, Outcome: "done"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Four people; from a share of 1e-6 down people are missed.
	for fmr, want := range map[float64]string{3e-6: "warn", 5e-6: "ok"} {
		b.config.Policy.FaceFMR = fmr
		if state, detail := check(); state != want || (want == "warn") != strings.Contains(detail, "miss") {
			t.Errorf("at %g: %s, %s", fmr, state, detail)
		}
	}
	// One of them with three: everybody's first are compared while those are within reach,
	// and beyond it 'verify' goes on.
	err = v.Update(func(tx *store.Tx) error {
		for range 2 {
			if _, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindFace, Model: vision.DefaultProfile, Created: time.Now().UTC(), Data: make([]byte, 4*512)}); err != nil {
				return err
			}
		}
		_, err := tx.Append(store.Entry{At: time.Now(), Kind: "enrol", User: id, Outcome: "done"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for fmr, want := range map[float64][2]string{
		2e-7: {"fail", "of 4 people: 'identify' by face searches nobody, 'verify' goes on"},
		4e-7: {"warn", "of 4 people: everybody's first are compared, and 2 are not"},
	} {
		b.config.Policy.FaceFMR = fmr
		if state, detail := check(); state != want[0] || !strings.Contains(detail, want[1]) {
			t.Errorf("at %g: %s, %s", fmr, state, detail)
		}
	}
	// Where a finger suffices and somebody has one, it decides.
	b.config.Policy.FaceFMR, b.config.Policy.Mode = 2e-7, string(device.Either)
	if state, detail := check(); state != "fail" {
		t.Errorf("either, and no finger: %s, %s", state, detail)
	}
	err = v.Update(func(tx *store.Tx) error {
		_, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindMinutia, Model: host.Family, Created: time.Now().UTC(), Data: make([]byte, 512)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if state, detail := check(); state != "warn" || !strings.Contains(detail, "the finger alone decides") {
		t.Errorf("either, and a finger: %s, %s", state, detail)
	}
}

// The doctor tells a device that is too slow to ask anybody to move, and what would do.
func TestTheDoctorTellsAPaceThatIsTooSlow(t *testing.T) {
	for _, tt := range []struct {
		pace          paced
		challenge     device.Challenge
		state, detail string
	}{
		{paced{}, device.ChallengeAuto, "", ""},
		{paced{pace: 66 * time.Millisecond, takes: time.Second}, device.ChallengeAuto, "ok", "a frame takes 70ms"},
		{paced{pace: 2 * time.Second, takes: 32 * time.Second, slow: true}, device.ChallengeAuto, "warn", "a frame takes 2s, and to be asked to move takes 32.0 s of policy.timeout = 15s"},
		{paced{pace: 100 * time.Millisecond, takes: 18 * time.Second, slow: true}, device.ChallengeAuto, "warn", "a frame takes 100ms, and to be asked to move takes 18.0 s"},
		{paced{takes: 18 * time.Second, slow: true}, device.ChallengeAuto, "warn", "nobody was looked at yet, and to be asked to move takes 18.0 s"},
		{paced{takes: 18 * time.Second, slow: true}, device.ChallengeOff, "", ""},
		{paced{pace: 4 * time.Second, slow: true}, device.ChallengeOn, "warn", "nobody can be asked to move"},
		{paced{pace: 4 * time.Second, slow: true}, device.ChallengeOff, "ok", "a frame takes 4s"},
	} {
		p := defaults().Policy
		p.Challenge = string(tt.challenge)
		var state, detail, advice string
		checkPace(func(_, s, d, a string) { state, detail, advice = s, d, a }, p, tt.pace)
		if state != tt.state || !strings.Contains(detail, tt.detail) || (advice != "") != (state == "warn") {
			t.Errorf("%+v: %s, %s, %s", tt, state, detail, advice)
		}
	}
}

// paced is a device whose frames take so long.
type paced struct {
	pace, takes time.Duration
	slow        bool
}

func (p paced) Pace() time.Duration                  { return p.pace }
func (p paced) ChallengeTime() (time.Duration, bool) { return p.takes, p.slow }

// ownProfile is a file with the networks of the default profile and tables of its own.
func ownProfile(t *testing.T, tables string) string {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join("..", "..", "vision", "profiles", vision.DefaultProfile+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	nets, _, _ := strings.Cut(string(shipped), "[table]")
	name := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(name, []byte(nets+tables), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Where a profile's tables end too soon the daemon says so at its start, in the
// file's own numbers, and takes those that it can work by.
func TestTablesThatEndTooSoonAreNamed(t *testing.T) {
	table := func(name string, to string) string {
		return "[" + name + "]\nsource = \"test\"\npoints = [{ fmr = 0.5, cosine = 0.1 }, { fmr = " + to + ", cosine = 0.5 }]\n"
	}
	for _, tt := range []struct {
		tables string
		fmr    float64
		err    error
		says   string
	}{
		{table("table", "1e-4"), 1e-4, errTooStrict, "[table] ends at 1 in 10000, and without [templates] each rate counts 10 times, so at 1 in 1000"},
		{table("table", "0.1"), 1e-4, errTooStrict, "[table] ends at 1 in 10, and without [templates] each rate counts 10 times, which leaves none"},
		{table("table", "1e-5") + table("templates", "1e-3"), 1e-4, errTooStrict, "[templates] end at 1 in 1000"},
		{table("table", "2e-3") + strings.Replace(table("templates", "1e-3"), "cosine = 0.5", "cosine = 0.6", 1), 1e-3, vision.ErrProfile, "[table], which ends at 0.002"},
		{table("table", "1e-4"), 1e-3, vision.ErrModel, ""},
		{table("table", "1e-5"), 1e-4, vision.ErrModel, ""},
	} {
		c := defaults()
		c.Face.Models, c.Face.Profile, c.Policy.FaceFMR = t.TempDir(), ownProfile(t, tt.tables), tt.fmr
		if _, err := openModel(c, slog.New(slog.DiscardHandler)); !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.says) || modelAdvice(err) == "" {
			t.Errorf("%s at %g: %v", tt.tables, tt.fmr, err)
		}
	}
}

// A device without a fingerprint module lacks nothing.
func TestNoFingerPortIsNoMissingPart(t *testing.T) {
	p := newPart("finger", slog.New(slog.DiscardHandler), func(context.Context) (int, error) { t.Error("it was opened"); return 0, nil }, func(int) error { return nil })
	p.off = "set finger.port"
	p.run(t.Context(), func() {})
	if s := p.status(); s.State != "off" || s.Advice != "set finger.port" {
		t.Errorf("%+v", s)
	}
	if _, _, err := p.get(); !errors.Is(err, device.ErrPart) || !strings.Contains(err.Error(), "finger.port") {
		t.Errorf("%v", err)
	}
	c := defaults()
	c.Finger.Port = ""
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "finger.port") {
		t.Errorf("mode both: %v", err)
	}
	c.Policy.Mode = "face"
	if err := c.check(); err != nil {
		t.Errorf("mode face: %v", err)
	}
}

// A profile without a table of templates is warned of when the face part opens, with
// what it leaves.
func TestRatesThatAreEstimatedAreWarnedOf(t *testing.T) {
	point := func(fmr, cosine float64) vision.Operating { return vision.Operating{FMR: fmr, Cosine: cosine} }
	measured := vision.Table{Source: "test", Points: []vision.Operating{point(0.01, 0.2), point(1e-5, 0.5)}}
	for _, own := range []bool{false, true} {
		p := vision.Profile{Table: measured, Templates: measured}
		if own {
			p.Templates = vision.Table{}
		}
		var told strings.Builder
		warnOfTable(slog.New(slog.NewTextHandler(&told, nil)), defaults(), p)
		if s := told.String(); strings.Contains(s, "each rate counts 10 times") != own || strings.Contains(s, "most=1 ") != own {
			t.Errorf("own %v: %q", own, s)
		}
	}
}
