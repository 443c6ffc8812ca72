package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
	"github.com/faceprint/faceprint/vision/ort"
)

// facesName is what the part of the face model is called.
const facesName = "faces"

// errUnmeasured: a profile without a threshold table would recognise nobody.
var errUnmeasured = errors.New("it has no threshold table")

// errLibrary: ONNX Runtime was asked for and cannot be used.
var errLibrary = errors.New("face.library cannot be used")

// errTooStrict: no score of the profile's table is as rare as the policy wants.
var errTooStrict = errors.New("policy.face_fmr asks for more than was measured")

// openModel loads the model set that the configuration names into the engine
// that it names.
func openModel(c Config, log *slog.Logger) (*vision.Model, error) {
	p, err := readProfile(c.Face.Profile)
	if err != nil {
		return nil, err
	}
	if !p.Measured() {
		return nil, fmt.Errorf("face profile %s: %w", c.Face.Profile, errUnmeasured)
	}
	if p.Match().Reach(c.Policy.FaceFMR) < 1 {
		return nil, fmt.Errorf("face profile %s: %s: %w (%g)", c.Face.Profile, p.MatchEnd(), errTooStrict, c.Policy.FaceFMR)
	}
	if err := device.CheckProfile(p); err != nil {
		return nil, fmt.Errorf("face profile %s: %w", c.Face.Profile, err)
	}
	engine, err := openEngine(c.Face, log)
	if err != nil {
		return nil, err
	}
	m, err := vision.OpenModel(engine, p, c.Face.Models)
	if err != nil {
		return nil, err
	}
	warnOfTable(log, c, p)
	return m, nil
}

// warnOfTable says where a profile's rates are only estimated from those of two
// pictures, and what that leaves.
func warnOfTable(log *slog.Logger, c Config, p vision.Profile) {
	if len(p.Templates.Points) > 0 {
		return
	}
	log.Warn("the face profile has no [templates]: nobody is searched among more people than its rates reach so, and of whoever has more templates the first are compared", "profile", c.Face.Profile,
		"rates", p.MatchEnd(), "policy.face_fmr", c.Policy.FaceFMR, "most", p.Match().Reach(c.Policy.FaceFMR),
		"do", "append what 'faceprint-eval face --profile FILE.toml --enroll 5 --probe 1 --table' prints to the file")
}

// faceCount is how many face templates of a profile are enrolled, and of how many people, as
// long as the audit chain does not grow: they are opened to be counted.
type faceCount struct {
	mu        sync.Mutex
	profile   string
	audit     uint64
	templates int
	people    int
}

func (c *faceCount) count(v *store.Store, p vision.Profile) (templates, people int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = v.View(func(tx *store.Tx) error {
		audit, _, err := tx.AuditHead()
		if err != nil || c.profile == p.Model() && c.audit == audit {
			return err
		}
		ts, err := tx.Templates(store.KindFace)
		if err != nil {
			return err
		}
		whose := make(map[store.UserID]bool)
		c.profile, c.audit, c.templates = p.Model(), audit, 0
		for i := range ts {
			if p.Made(ts[i].Model) {
				c.templates++
				whose[ts[i].User] = true
			}
			ts[i].Wipe()
		}
		c.people = len(whose)
		return nil
	})
	return c.templates, c.people, err
}

// checkReach compares the faces enrolled, and the people whose they are, with how many
// a search can tell apart.
func (b *backend) checkReach(add addCheck) {
	const name = "search by face"
	p, err := readProfile(b.config.Face.Profile)
	if err != nil || !p.Measured() || b.config.Policy.Mode == string(device.FingerOnly) {
		return // the part itself says what is wrong
	}
	n, people, err := b.faces.count(b.vault, p)
	if err != nil {
		add(name, "fail", err.Error(), "")
		return
	}
	table, fmr := p.Match(), b.config.Policy.FaceFMR
	most := table.Reach(fmr)
	detail := fmt.Sprintf("%d of at most %d templates at policy.face_fmr = %g", n, most, fmr)
	if counted := table.Measured; counted > 0 && fmr/float64(max(n, 1)) < counted {
		detail += fmt.Sprintf("; their share of it is below 1 in %.0f, what was counted, and by a fitted tail", 1/counted)
	}
	const advice = "'identify' by face ends in a fault once there are more people; ask people who they are ('verify'), measure a longer table, or raise policy.face_fmr"
	switch {
	case people > most && b.config.Policy.Mode == string(device.Either) && b.fingerEnrolled():
		add(name, "warn", fmt.Sprintf("%s, of %d people: in 'identify' nobody's face passes, and the finger alone decides; 'verify' goes on", detail, people),
			"ask people who they are ('verify'), measure a longer table, or raise policy.face_fmr")
	case people > most:
		add(name, "fail", fmt.Sprintf("%s, of %d people: 'identify' by face searches nobody, 'verify' goes on", detail, people),
			"ask people who they are ('verify'), measure a longer table, or raise policy.face_fmr")
	case n > most:
		add(name, "warn", fmt.Sprintf("%s, of %d people: everybody's first are compared, and %d are not", detail, people, n-most),
			"measure a longer table, raise policy.face_fmr, or forget who has several and enrol them anew with fewer")
	case 10*n > 9*most:
		add(name, "warn", detail, advice)
	case n > 0 && fmr/float64(n) < rareShare:
		cosine, _ := table.Threshold(fmr / float64(n)) // it is within reach
		add(name, "warn", fmt.Sprintf("%s, of cosine %.3f, which many who are enrolled miss", detail, cosine),
			"ask people who they are ('verify'), or raise policy.face_fmr")
	default:
		add(name, "ok", detail, "")
	}
}

// fingerEnrolled tells whether anybody has a finger enrolled; the vault's own line tells
// where that cannot be read.
func (b *backend) fingerEnrolled() bool {
	n, err := b.fingers()
	return err == nil && n > 0
}

// checkAdapt tells where no template can follow anybody.
func checkAdapt(add addCheck, c Config) {
	p, err := readProfile(c.Face.Profile)
	if err != nil || !p.Measured() || c.Policy.Mode == string(device.FingerOnly) || !c.Policy.Adapt {
		return
	}
	if _, err := p.Match().Threshold(device.AdaptFMR); err != nil {
		add("policy.adapt", "warn", fmt.Sprintf("no template follows anybody: that takes 1 in %.0f, and the table ends at 1 in %.0f", 1/device.AdaptFMR, 1/p.Match().Least()),
			"measure a longer table, or set policy.adapt = false")
	}
}

// warnOfReach adds to the status of the face model what is wrong about a search by it.
// A model that is there and can find nobody is degraded.
func (b *backend) warnOfReach(parts []client.Part) {
	b.checkReach(func(_, state, detail, advice string) {
		at := slices.IndexFunc(parts, func(p client.Part) bool { return p.Name == facesName && p.State == "ok" })
		if state == "ok" || at < 0 {
			return
		}
		p := &parts[at]
		p.Detail, p.Advice = p.Detail+"; search: "+detail, advice
		if state == "fail" {
			p.State = "degraded"
		}
	})
}

// rareShare is the share of the rate for one template below which a search finds fewer
// people: of pictures of LFW with templates of five 97.7 % reach the cosine of 1e-6, and
// two thirds that of 1e-7 (faceprint-eval face --enroll 5 --probe 3).
const rareShare = 1e-6

func readProfile(name string) (vision.Profile, error) {
	if !isProfileFile(name) {
		return vision.BuiltIn(name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return vision.Profile{}, fmt.Errorf("face profile: %w: %w", err, vision.ErrProfile)
	}
	p, err := vision.ParseProfile(b)
	if err != nil {
		return vision.Profile{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// openEngine prefers ONNX Runtime where the choice is left to it.
func openEngine(c faceConfig, log *slog.Logger) (vision.Engine, error) {
	switch c.Engine {
	case "ort":
		e, err := ort.Open(c.Library)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errLibrary, err)
		}
		return e, nil
	case "auto":
		if _, err := os.Stat(c.Library); errors.Is(err, fs.ErrNotExist) {
			break
		}
		e, err := ort.Open(c.Library)
		if err == nil {
			return e, nil
		}
		log.Warn("ONNX Runtime cannot be used, OpenCV runs the networks", "err", err)
	}
	return opencv.NewEngine(), nil
}

// faces is a face model that may be missing at the moment.
type faces struct{ part *part[*vision.Model] }

func (f faces) Detect(frame *vision.Frame) ([]vision.Face, error) {
	m, _, err := f.part.get()
	if err != nil {
		return nil, err
	}
	return m.Detect(frame)
}

func (f faces) Track(frame *vision.Frame, face *vision.Face) (bool, error) {
	m, _, err := f.part.get()
	if err != nil {
		return false, err
	}
	return m.Track(frame, face)
}

func (f faces) Describe(frame *vision.Frame, face *vision.Face) error {
	m, _, err := f.part.get()
	if err != nil {
		return err
	}
	return m.Describe(frame, face)
}

func (f faces) Profile() (vision.Profile, error) {
	m, _, err := f.part.get()
	if err != nil {
		return vision.Profile{}, err
	}
	return m.Profile(), nil
}

func modelDetail(m *vision.Model, p policyConfig) string {
	return fmt.Sprintf("%s on %s, finds a face among at most %d templates", m.Profile().Name, m.Engine(), m.Profile().Match().Reach(p.FaceFMR))
}

func modelAdvice(err error) string {
	switch {
	case errors.Is(err, errLibrary):
		return "'make fetch' brings the file that face.library names; without it, set face.engine to \"auto\" or \"opencv\""
	case errors.Is(err, vision.ErrNoEngine):
		return "build faceprintd with cgo and libopencv-dev ('make build')"
	case errors.Is(err, errTooStrict):
		return "raise policy.face_fmr to what the table reaches, or measure a longer one with 'faceprint-eval face --profile FILE.toml --enroll 5 --probe 1 --table'"
	case errors.Is(err, errUnmeasured):
		return "measure the tables with 'faceprint-eval face --profile FILE.toml --table', once so and once with --enroll 5 --probe 1, and append both to the file"
	case errors.Is(err, vision.ErrProfile):
		return "set face.profile to a built-in profile or to a sound file"
	case errors.Is(err, vision.ErrModel):
		return "'make fetch' brings the files of profile " + vision.DefaultProfile + ", those of others are put there by hand; or set face.models to their folder"
	}
	return "set face.models to the folder of the model files"
}
