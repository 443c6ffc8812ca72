package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// How many good, independent frames make a decision. One frame can be unlucky,
// so a yes needs three. A no for want of a match is said after five, which is
// the most work that an attempt does from its first good frame on; somebody who
// matches but has not yet looked straight into the camera is given longer.
const (
	framesForYes  = 3
	framesForNo   = 5
	framesForLive = 12
)

// hintEvery is the least time between two hints: nobody can follow more.
const hintEvery = 700 * time.Millisecond

// hinter tells one hint at a time.
type hinter struct {
	d     *Device
	asker func(Event)
	told  vision.Hint
	at    time.Time
}

func (h *hinter) tell(hint vision.Hint) {
	now := h.d.hw.Now()
	if hint == h.told || hint == vision.HintNone || !h.at.IsZero() && now.Sub(h.at) < hintEvery {
		return
	}
	h.told, h.at = hint, now
	h.d.tell(h.asker, Event{Kind: "hint", Step: Face, Hint: hint.String()})
}

// sequence begins to look at somebody.
func (d *Device) sequence(profile vision.Profile) (*vision.Sequence, error) {
	same, err := profile.Table.Threshold(samePersonFMR)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	s := &vision.Sequence{Same: same}
	if !d.opts.Recorded {
		s.Before = &d.frames
	}
	return s, nil
}

// look shows the newest frame to the sequence. The frame is wiped.
func (d *Device) look(ctx context.Context, s *vision.Sequence) (vision.Seen, error) {
	frame, err := d.hw.Camera.Frame(ctx)
	if err != nil {
		return vision.Seen{Hint: vision.HintNoFace}, fmt.Errorf("device: camera: %w", err)
	}
	defer frame.Wipe()
	d.eyes.Lock()
	defer d.eyes.Unlock()
	seen, err := s.Look(d.hw.Faces, frame)
	if err != nil {
		return seen, fmt.Errorf("device: faces: %w", err)
	}
	return seen, nil
}

// measureFace looks at one person until the policy is satisfied by at least
// three good frames, or enough were compared for a no, or time is up. The
// frames' embeddings are averaged, which fuses their scores; so is liveness. A
// change of person starts again; a recording that is played to the camera ends
// it.
func (d *Device) measureFace(ctx context.Context, cancel context.CancelCauseFunc, c *captured, ts []store.Template, passed func()) (err error) {
	start := d.hw.Now()
	defer func() {
		c.faceTook = d.hw.Now().Sub(start)
		if err != nil {
			cancel(err) // a fault of one part ends the attempt
		}
	}()
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return fmt.Errorf("device: camera or face model: %w", ErrPart)
	}
	profile := d.hw.Faces.Profile()
	c.faceModel = profile.Name
	refs, err := unseal(ts, profile.Name)
	if err != nil {
		return err
	}
	defer refs.wipe()
	c.gallery = refs.people()
	if c.face.Enrolled = len(refs.users) > 0; !c.face.Enrolled {
		return nil
	}
	s, err := d.sequence(profile)
	if err != nil {
		return err
	}
	defer s.Wipe()
	hints := hinter{d: d, asker: c.notify}
	for {
		seen, err := d.look(ctx, s)
		if err != nil {
			if over(ctx) {
				return nil
			}
			return err
		}
		c.face.Cues, c.face.Replayed = s.Cues(), s.Replayed()
		if c.face.Replayed {
			return nil
		}
		if seen.Restarted {
			// What was compared was somebody else. That it was stays true: who
			// steps aside after three frames has had a try, and it counts.
			c.face.Score, c.face.FMR, c.face.Live, c.user = 0, 1, math.NaN(), ""
		}
		if seen.Hint != vision.HintNone {
			c.faceHint = seen.Hint.String()
			hints.tell(seen.Hint)
			continue
		}
		if !seen.Kept {
			continue
		}
		n := s.Len()
		d.tell(c.notify, Event{Kind: "progress", Step: Face, Done: min(n, framesForNo), Of: framesForNo})
		if n < framesForYes {
			continue
		}
		d.keep()
		if err := c.compareFace(s, refs, profile.Table); err != nil {
			return err
		}
		switch d.policy.face(c.face, float64(max(c.gallery, 1))) {
		case "":
			d.tell(c.notify, Event{Kind: "progress", Step: Face, Done: framesForNo, Of: framesForNo}) // no more are needed
			passed()
			return nil
		case FaceNotLive:
			if _, decided := s.Alive(d.policy.Live); decided || n >= framesForLive {
				return nil
			}
			hints.tell(vision.HintTurnToCamera) // who looks straight ahead can be told from a picture
		default:
			if n >= framesForNo {
				return nil
			}
		}
	}
}

// compareFace scores the good frames against every reference.
func (c *captured) compareFace(s *vision.Sequence, refs *gallery, table vision.Table) error {
	probe, err := s.Mean()
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	defer probe.Wipe()
	best, err := refs.Search(probe, 1)
	if err != nil || len(best) == 0 {
		return fmt.Errorf("device: the probe compares with no template: %w", errors.Join(err, vision.ErrEmbedding))
	}
	score := best[0].Cosine
	c.face.Compared, c.face.Score, c.face.FMR, c.user = true, score, table.FMR(score), refs.users[best[0].Index]
	c.face.Live, _ = s.Live()
	return nil
}

// A face template is the mean of this many good frames, taken at moments that
// lie apart, so that one expression or one light does not become the person.
const (
	enrolFrames = 5
	enrolApart  = 400 * time.Millisecond
	// Frames of one person agree at least at this false match rate; a frame
	// that does not means that somebody else came before the camera.
	samePersonFMR = 1e-3
	// A new face that reaches this rate against an enrolled one is that person.
	duplicateFMR = 1e-4
)

// enrollFace makes a template of several good, live frames of one person who is
// nobody else that is enrolled. The scores are for the audit.
func (d *Device) enrollFace(ctx context.Context, r EnrollRequest) (store.Template, map[string]float64, error) {
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return store.Template{}, nil, fmt.Errorf("device: camera or face model: %w", ErrPart)
	}
	profile := d.hw.Faces.Profile()
	s, err := d.sequence(profile)
	if err != nil {
		return store.Template{}, nil, err
	}
	defer s.Wipe()
	s.Apart = enrolApart
	var views *poses
	if r.Poses {
		views = &poses{now: d.hw.Now, mirrored: d.opts.Mirrored}
		s.Want = views.want
	}
	hint, hints := vision.HintNoFace, hinter{d: d, asker: r.Notify}
	for {
		seen, err := d.look(ctx, s)
		switch {
		case err != nil && over(ctx):
			return store.Template{}, nil, &RetryError{Hints: []string{hint.String()}}
		case err != nil:
			return store.Template{}, nil, err
		case s.Replayed():
			return store.Template{}, nil, fmt.Errorf("device: frames of the camera came again: %w", ErrReplay)
		case seen.Restarted && s.Cues()["restarts"] > 0:
			return store.Template{}, nil, fmt.Errorf("device: after %d frames: %w", s.Len(), ErrMixed)
		}
		if seen.Hint != vision.HintNone {
			hint = seen.Hint
			hints.tell(hint)
			continue
		}
		if !seen.Kept {
			continue
		}
		views.kept(seen.Quality)
		d.tell(r.Notify, Event{Kind: "progress", Step: Face, Done: min(s.Len(), enrolFrames), Of: enrolFrames})
		if s.Len() < enrolFrames {
			continue
		}
		if profile.Liveness == nil {
			break // an enrolment is under somebody's eyes
		}
		if live, _ := s.Live(); live >= d.policy.Live {
			break
		}
		if hint = vision.HintTurnToCamera; s.Len() >= framesForLive {
			return store.Template{}, nil, &RetryError{Hints: []string{hint.String()}}
		}
		hints.tell(hint)
	}
	mean, err := s.Mean()
	if err != nil {
		return store.Template{}, nil, fmt.Errorf("device: %w", err)
	}
	defer mean.Wipe()
	if err := d.checkDuplicate(mean, r.Who, profile); err != nil {
		return store.Template{}, nil, err
	}
	data, err := mean.MarshalBinary()
	if err != nil {
		return store.Template{}, nil, fmt.Errorf("device: %w", err)
	}
	yaw, pitch := s.Spread()
	scores := map[string]float64{"face-yaw-spread": float64(yaw), "face-pitch-spread": float64(pitch)}
	return store.Template{Kind: store.KindFace, Model: profile.Name, Data: data}, scores, nil
}

// ErrReplay: the camera delivers what it delivered before; somebody plays a
// recording into it.
var ErrReplay = errors.New("the camera's picture is a recording")
