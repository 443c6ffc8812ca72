package device

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// People grow older, and enrolled templates do not. Where the policy allows it, a
// second template follows the person slowly, beside the enrolled one, which is
// never touched: both are compared, and the way back is to delete the second.
//
// It moves only after what nobody else comes by: a finger that passed, and a face
// that matches the enrolled template itself, clearly alive, with no attack shortly
// before. And it stays near: within adaptNear of the enrolled one, however often
// it moves, so that many small steps are no long way.
const (
	AdaptFMR   = 1e-5           // false match rate of the face against the enrolled template
	adaptShare = 0.1            // of the new look in the template
	adaptNear  = 0.9            // least cosine with the enrolled template: 26 degrees
	adaptEvery = 24 * time.Hour // at most; a day's tries are one look
)

// adaptedLabel marks the template that follows; after it comes the id of the
// enrolled one.
const adaptedLabel = "follows "

// adapted tells whose follower a face template is, "" for an enrolled one.
func adapted(t store.Template) string {
	id, ok := strings.CutPrefix(t.Label, adaptedLabel)
	if !ok || t.Kind != store.KindFace {
		return ""
	}
	return id
}

// mayAdapt tells whether an attempt is one after which a template may move.
func (p Policy) mayAdapt(v Verdict, e Evidence) bool {
	p.Live = max(p.Live, clearlyLive)
	return p.Adapt && v.Granted && !e.Face.Suspect && !e.Face.Alarm && !e.PIN.Compared &&
		p.face(e.Face, 1) == "" && e.Finger.Attack == "" && p.finger(e.Finger, 1) == ""
}

// adapt moves the template that follows the person's look, a probe whose frames
// agree so well. It does nothing where the day's step was made, or the look is not
// clearly theirs, or one template more were one too many.
func (d *Device) adapt(user store.UserID, probe vision.Embedding, agreement float64) error {
	profile, err := d.hw.Faces.Profile()
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	least, err := profile.Match().Threshold(AdaptFMR)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	return d.vault.Update(func(tx *store.Tx) error {
		ts, err := tx.TemplatesOf(user, store.KindFace)
		defer func() { wipe(ts) }()
		if err != nil {
			return err
		}
		step, err := follow(ts, profile, probe, least/agreement, d.hw.Now())
		if err != nil || step == nil {
			return err
		}
		defer step.made.Wipe()
		if step.old == "" && compared(ts, profile) >= profile.Match().Reach(d.policy.FaceFMR) {
			return nil
		}
		if step.old != "" {
			if err := tx.DeleteTemplate(user, step.old); err != nil {
				return err
			}
		}
		step.made.User = user
		if _, err := tx.AddTemplate(step.made); err != nil {
			return err
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "adapt", User: user, Outcome: "done", Scores: map[string]float64{"face": step.look, "face-drift": step.near}})
		return err
	})
}

// adaptation is one step of a template that follows.
type adaptation struct {
	made store.Template
	old  string  // id of the one whose place it takes; "" = it is the first
	look float64 // cosine of the new look with the enrolled template
	near float64 // the same of the template that was made
}

// follow makes the next template for the enrolled one that the look is most like;
// nil where none is to be made.
func follow(ts []store.Template, profile vision.Profile, look vision.Embedding, least float64, now time.Time) (*adaptation, error) {
	var enrolled, before store.Template
	var original vision.Embedding
	defer func() { original.Wipe() }()
	best := least
	for _, t := range ts {
		if !profile.Made(t.Model) || adapted(t) != "" {
			continue
		}
		e, err := asCaptured(t, len(look))
		if err != nil {
			return nil, err
		}
		if c := vision.Cosine(e, look); c >= best {
			original.Wipe()
			enrolled, original, best = t, e, c
			continue
		}
		e.Wipe()
	}
	if enrolled.ID == "" {
		return nil, nil
	}
	base := original
	for _, t := range ts {
		if !profile.Made(t.Model) || adapted(t) != enrolled.ID {
			continue
		}
		if since := now.Sub(t.Created); since.Abs() < adaptEvery {
			return nil, nil
		}
		e, err := asCaptured(t, len(look))
		if err != nil {
			return nil, err
		}
		defer e.Wipe()
		before, base = t, e
	}
	moved := make(vision.Embedding, len(base))
	for i := range moved {
		moved[i] = (1-adaptShare)*base[i] + adaptShare*look[i]
	}
	defer moved.Wipe()
	next, err := vision.Normalise(moved)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	defer next.Wipe()
	near := vision.Cosine(next, original)
	if !(near >= adaptNear) {
		return nil, nil // far enough
	}
	data, err := next.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	return &adaptation{
		made: store.Template{Kind: store.KindFace, Model: profile.Model(), Label: adaptedLabel + enrolled.ID, Created: now.UTC(), Data: data},
		old:  before.ID, look: best, near: near,
	}, nil
}

// RestoreTemplates deletes the templates that followed the person, so that the
// enrolled ones are all that is left, and returns how many those were.
func (d *Device) RestoreTemplates(user store.UserID) (n int, err error) {
	err = d.vault.Update(func(tx *store.Tx) error {
		n = 0
		ts, err := tx.TemplatesOf(user, store.KindFace)
		defer func() { wipe(ts) }()
		if err != nil {
			return err
		}
		for _, t := range ts {
			if adapted(t) == "" {
				continue
			}
			if err := tx.DeleteTemplate(user, t.ID); err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			return nil
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "adapt", User: user, Outcome: "restored"})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return n, err
}
