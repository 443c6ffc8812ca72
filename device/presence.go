package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// Presence is watched by glances: often enough that who steps up is not kept
// waiting, rarely enough that an idle device costs next to nothing.
const (
	glanceEvery = 300 * time.Millisecond
	// A face of this size, in pixels, is somebody who came to the device and
	// not somebody who walks past: half of what can be recognised.
	presentSize = 35
	// defaultAway is how long nobody is seen before they have left: longer
	// than a glance at the keyboard or a sneeze.
	defaultAway = 5 * time.Second
	// blindStay is how long somebody who was let in counts as there while the
	// camera, and so whether they are, cannot be seen: a PIN is for that day.
	blindStay = 2 * time.Minute
	// An enrolment waits this many times as long for the first sight of who
	// agreed to it: they may still stand aside, reading.
	firstSight = 3
)

// Presence is what Watch knows.
type Presence int32

// What is known. The zero value: nobody watches.
const (
	Unwatched Presence = iota
	Blind              // the camera or the model is not there
	Nobody
	Somebody
)

// Watch tells who comes and goes, until the context ends: an event "presence"
// with the outcome "came" or "left", or "nobody" where somebody was let in and
// then not seen. Nobody is recognised by it and nothing is kept. Somebody has
// left when no face was seen for as long as away says; 0 = 5 s. While the device
// is busy, whoever it is busy with is there.
func (d *Device) Watch(ctx context.Context, away time.Duration) error {
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return errors.New("device: presence needs a camera and a face model")
	}
	if away <= 0 {
		away = defaultAway
	}
	tick := time.NewTicker(glanceEvery)
	defer tick.Stop()
	defer d.present.Store(int32(Unwatched))
	var (
		here   bool
		seen   time.Time // when last
		eye    glancer
		grants uint64    // that were given until now
		since  time.Time // the last of which was given to somebody who was not seen since; zero: none
	)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := d.hw.Now()
		if n := d.letIn.Load(); n != grants {
			grants, since = n, now
		}
		if d.Busy() {
			if here {
				seen = now
			}
			continue // the attempt has the camera
		}
		there := eye.glance(ctx, d)
		if !there && !here {
			d.present.Store(int32(eye.sight()))
		}
		switch {
		case there:
			seen, since = now, time.Time{}
			if !here {
				here = true
				d.present.Store(int32(Somebody))
				d.send(Event{Kind: "presence", Outcome: "came"})
			}
		case here && now.Sub(seen) >= away:
			here, since = false, time.Time{}
			d.present.Store(int32(eye.sight()))
			d.send(Event{Kind: "presence", Outcome: "left"})
		case !here && !since.IsZero() && now.Sub(since) >= eye.patience(away):
			since = time.Time{}
			d.send(Event{Kind: "presence", Outcome: "nobody"})
		}
	}
}

// Presence tells who is before the device, as far as Watch knows.
func (d *Device) Presence() Presence { return Presence(d.present.Load()) }

// ErrLeft: whoever agreed to an enrolment was not seen any more.
var ErrLeft = errors.New("whoever agreed to it has left")

// stay is how an enrolment sees to it that who agreed is who is captured: it ends
// when nobody was there for a while. The nil one sees to nothing.
type stay struct {
	d     *Device
	limit time.Duration
	until time.Time // they have left by then, unless they are seen
}

// stays begins it; without a limit, or eyes, there is none.
func (d *Device) stays(limit time.Duration) *stay {
	if limit <= 0 || d.hw.Camera == nil || d.hw.Faces == nil {
		return nil
	}
	return &stay{d, limit, d.hw.Now().Add(firstSight * limit)}
}

// look notes whether they were there now, and is ErrLeft when they have left.
func (s *stay) look(there bool) error {
	switch {
	case s == nil:
	case there:
		s.until = s.d.hw.Now().Add(s.limit)
	case !s.d.hw.Now().Before(s.until):
		return fmt.Errorf("device: %w", ErrLeft)
	}
	return nil
}

// watch glances at them while f, which does not look itself, goes on; its
// context ends when they leave, and then the error is ErrLeft.
func (s *stay) watch(ctx context.Context, f func(context.Context) error) error {
	if s == nil {
		return f(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(glanceEvery)
		defer tick.Stop()
		var eye glancer
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.look(eye.glance(ctx, s.d)); err != nil {
				end(err)
				return
			}
		}
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, ErrLeft) {
		err = cause
	}
	end(nil)
	<-done
	return err
}

// glancer looks whether somebody is there. While the picture stays as it was, so
// does the answer, and nobody is looked for.
type glancer struct {
	still vision.Stillness
	there bool
	blind bool // there was no picture to look at, or nothing to look with
}

// sight is what an eye that sees nobody knows.
func (g *glancer) sight() Presence {
	if g.blind {
		return Blind
	}
	return Nobody
}

// patience is how long somebody counts as there who is not seen.
func (g *glancer) patience(away time.Duration) time.Duration {
	if g.blind {
		return max(away, blindStay)
	}
	return away
}

// glance tells whether somebody is before the camera. A camera or a model that is
// missing sees nobody; whose part it is reports that.
func (g *glancer) glance(ctx context.Context, d *Device) bool {
	ctx, cancel := context.WithTimeout(ctx, glanceEvery)
	defer cancel()
	frame, err := d.hw.Camera.Frame(ctx)
	if err != nil {
		*g = glancer{blind: true}
		return false
	}
	defer frame.Wipe()
	g.blind = false
	if g.still.Still(frame) {
		return g.there
	}
	d.eyes.Lock()
	defer d.eyes.Unlock()
	faces, err := d.hw.Faces.Detect(frame)
	if err != nil {
		*g = glancer{blind: true}
		return false
	}
	g.there = len(faces) > 0 && large(faces[0])
	return g.there
}

func large(f vision.Face) bool { return f.Quality.Size >= presentSize }
