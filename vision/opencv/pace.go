package opencv

import (
	"context"
	"time"
)

// pace lets a clip run in real time.
type pace struct {
	ctx   context.Context
	frame time.Duration // between two frames
	next  time.Time     // when the next one is due
	shown int           // frames since the clip's beginning
}

// wait waits until the next frame is due and says how many frames are to be
// skipped because their time is over. It returns early when the camera turns
// away from the clip.
func (p *pace) wait() (late int) {
	now := time.Now()
	if d := p.next.Sub(now); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.ctx.Done():
		}
	} else {
		late = int(-d / p.frame)
	}
	if late > maxLate { // the machine slept: go on from here
		p.next, late = now, 0
	}
	p.next = p.next.Add(time.Duration(1+late) * p.frame)
	return late
}

// maxLate is the most frames that a clip skips to keep its pace.
const maxLate = 50
