package minutia

import "math"

// Cover is the ground of a finger that several impressions of it saw together,
// patch by patch in the place of the first. The zero value is none.
type Cover struct {
	seen    []*Prepared
	poses   []pose // of each into the first
	patches []spot
}

// Covered counts patches of 16 x 16 px at 500 dpi, 0.66 mm2.
type Covered struct {
	Area    int // of the last impression
	Overlap int // of these, what those before it saw
	Seen    int // by all together
}

type spot struct{ x, y float32 }

// sameGround is how far a patch may be from one that was seen, px: within it
// hardly anything between the two was not.
const sameGround = 12

// Add lays an impression of the same finger, of one picture, onto those before.
func (c *Cover) Add(m *Matcher, p *Prepared) Covered {
	at := pose{cos: 1}
	best := math.Inf(-1)
	for i, q := range c.seen {
		if e := m.Compare(p, q); e.Score() > best {
			best, at = e.Score(), c.poses[i].after(&e.Pose)
		}
	}
	before := len(c.patches)
	got := Covered{}
	w := &p.views[0].waves
	for i := range w.at {
		if !w.at[i].on {
			continue
		}
		x, y := at.apply((float32(i%w.w)+0.5)*patchSize, (float32(i/w.w)+0.5)*patchSize)
		got.Area++
		if near(c.patches[:before], x, y) {
			got.Overlap++
		} else {
			c.patches = append(c.patches, spot{x, y})
		}
	}
	c.seen, c.poses = append(c.seen, p), append(c.poses, at)
	got.Seen = len(c.patches)
	return got
}

// after is the pose that does q first, then p.
func (p *pose) after(q *pose) pose {
	x, y := p.apply(q.x, q.y)
	return pose{p.cos*q.cos - p.sin*q.sin, p.sin*q.cos + p.cos*q.sin, x, y}
}

func near(spots []spot, x, y float32) bool {
	for _, s := range spots {
		if sq32(s.x-x)+sq32(s.y-y) <= sameGround*sameGround {
			return true
		}
	}
	return false
}

// Wipe overwrites it, but for the impressions, which are the caller's.
func (c *Cover) Wipe() {
	clear(c.patches)
	clear(c.poses)
	*c = Cover{}
}
