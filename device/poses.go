package device

import (
	"time"

	"github.com/faceprint/faceprint/vision"
)

// An enrolment that asks for poses keeps three frames from the front, which is
// how people look at a device, and one from each side, so that a head that is
// turned a little is still known.
const (
	frontFrames = 3
	// From the front is what liveness can be told from (vision: 12 degrees).
	frontYaw = 12
	// A side is this many degrees further than the front frames were: the
	// estimate of one person is off by a few degrees, but always by the same.
	// The quality's limit is 25.
	sideYaw = 9
	// poseWait is how long a side is asked for. Somebody who cannot turn their
	// head is enrolled from the front.
	poseWait = 12 * time.Second
)

// poses is which views of a face an enrolment still wants. The nil one wants
// any.
type poses struct {
	now      func() time.Time
	mirrored bool      // the camera's pictures are a mirror's
	front    []float32 // yaw of the frames from the front
	left     bool      // to the person's own left
	right    bool
	since    time.Time // since when the present side is asked for
}

// want says what a frame still lacks, or HintNone where it adds a view. The
// side that was not asked for is as welcome as the one that was.
func (p *poses) want(q vision.Quality) vision.Hint {
	if len(p.front) < frontFrames {
		if q.Yaw < -frontYaw || q.Yaw > frontYaw {
			return vision.HintLookStraight
		}
		return vision.HintNone
	}
	if p.since.IsZero() {
		p.since = p.now()
	}
	switch turned := p.turn(q); {
	case p.left && p.right, p.now().Sub(p.since) >= poseWait:
		return vision.HintNone
	case turned >= sideYaw && !p.left, turned <= -sideYaw && !p.right:
		return vision.HintNone
	case !p.left:
		return vision.HintTurnLeft
	}
	return vision.HintTurnRight
}

// kept takes note of a frame that was wanted.
func (p *poses) kept(q vision.Quality) {
	if p == nil {
		return
	}
	if len(p.front) < frontFrames {
		p.front = append(p.front, q.Yaw)
		return
	}
	switch turned := p.turn(q); {
	case turned >= sideYaw:
		p.left = true
	case turned <= -sideYaw:
		p.right = true
	}
	p.since = time.Time{}
}

// turn is by how many degrees the head is turned to the person's left, from how
// they looked into the camera before.
func (p *poses) turn(q vision.Quality) float32 {
	var front float32
	for _, yaw := range p.front {
		front += yaw / float32(len(p.front))
	}
	if p.mirrored {
		return front - q.Yaw
	}
	return q.Yaw - front
}
