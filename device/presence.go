package device

import (
	"context"
	"errors"
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
)

// Watch tells who comes and goes: an event "presence" with the outcome "came"
// or "left", until the context ends. Nobody is recognised by it and nothing is
// kept. Somebody has left when no face was seen for as long as away says; 0 =
// 5 s. While the device is busy, whoever it is busy with is there.
func (d *Device) Watch(ctx context.Context, away time.Duration) error {
	if d.hw.Camera == nil || d.hw.Faces == nil {
		return errors.New("device: presence needs a camera and a face model")
	}
	if away <= 0 {
		away = defaultAway
	}
	tick := time.NewTicker(glanceEvery)
	defer tick.Stop()
	defer d.here.Store(false)
	var seen time.Time
	var eye glancer
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, here := d.hw.Now(), d.here.Load()
		switch {
		case d.Busy():
			if here {
				seen = now
			}
			continue // the attempt has the camera
		case eye.glance(ctx, d):
			seen = now
			if !here {
				d.here.Store(true)
				d.send(Event{Kind: "presence", Outcome: "came"})
			}
		case here && now.Sub(seen) >= away:
			d.here.Store(false)
			d.send(Event{Kind: "presence", Outcome: "left"})
		}
	}
}

// Present tells whether somebody is before the device, while Watch runs.
func (d *Device) Present() bool { return d.here.Load() }

// glancer looks whether somebody is there. While the picture stays as it was, so
// does the answer, and nobody is looked for.
type glancer struct {
	still vision.Stillness
	there bool
}

// glance tells whether somebody is before the camera. A camera or a model that is
// missing sees nobody; whose part it is reports that.
func (g *glancer) glance(ctx context.Context, d *Device) bool {
	ctx, cancel := context.WithTimeout(ctx, glanceEvery)
	defer cancel()
	frame, err := d.hw.Camera.Frame(ctx)
	if err != nil {
		*g = glancer{}
		return false
	}
	defer frame.Wipe()
	if g.still.Still(frame) {
		return g.there
	}
	d.eyes.Lock()
	defer d.eyes.Unlock()
	faces, err := d.hw.Faces.Detect(frame)
	if err != nil {
		*g = glancer{}
		return false
	}
	g.there = len(faces) > 0 && large(faces[0])
	return g.there
}

func large(f vision.Face) bool { return f.Quality.Size >= presentSize }
