package sensor

import (
	"fmt"
	"math"
)

// Coverage is how much of a finger one capture of an enrolment saw, in percent.
// It advises the person; nothing is decided by it.
type Coverage struct {
	Area    int  // of the sensor's window that the finger covers
	Overlap int  // of the finger in this capture that captures before it saw, 0 of the first
	Seen    int  // of a window that all captures together cover: above 100 where the finger was moved
	Enough  bool // a touch of the days to come will mostly fall on what is known; told where the host compares
}

// String says it in words, with what to do.
func (c Coverage) String() string {
	word := "good"
	switch {
	case c.Area < leastArea:
		word = "little of the finger: press flatter, in the middle"
	case c.Seen == c.Area:
		word = "good, the first" // nothing to compare with
	case c.Overlap < leastOverlap:
		word = "another part of the finger: stay nearer to the middle"
	case c.Overlap > mostOverlap:
		word = "hardly anything new: move the finger a little"
	}
	if c.Enough {
		word = "enough of the finger is known"
	}
	return fmt.Sprintf("%s; %d %% of the window, %d %% of it seen before, %d %% in all", word, c.Area, c.Overlap, c.Seen)
}

// Tuned by hand on ridge's impressions, whose true place is known: the error is
// what TestCoverage prints.
const (
	block       = 8    // px: a little less than the distance of two ridges
	leastSpread = 18.0 // standard deviation of a block with ridges; paper and glass stay below 10
	leastClear  = 0.35 // coherence of directions in it, 0 to 1

	turnStep, turnMost = 8, 24 // degrees that a capture may be turned against the first
	sameDirection      = 0.6   // agreement, -1 to 1, above which ground speaks for a place

	leastArea, leastOverlap, mostOverlap = 40, 25, 90 // percent
)

// directions are the ridges' directions on a grid of blocks, as unit vectors of
// twice the angle; (0, 0) where there is no finger.
type directions struct {
	w, h int
	v    [][2]float64
}

func (d *directions) at(x, y int) [2]float64 {
	if x < 0 || y < 0 || x >= d.w || y >= d.h {
		return [2]float64{}
	}
	return d.v[y*d.w+x]
}

func (d *directions) count() (n int) {
	for _, v := range d.v {
		if v != [2]float64{} {
			n++
		}
	}
	return n
}

// directionsOf finds the finger and the directions of its ridges: the mean of
// the squared gradients in each block and its neighbours.
func directionsOf(p Picture) *directions {
	d := &directions{w: p.Width / block, h: p.Height / block}
	d.v = make([][2]float64, d.w*d.h)
	type tensor struct{ xx, yy, xy, sum, squares, n float64 }
	blocks := make([]tensor, d.w*d.h)
	for y := 1; y < d.h*block-1; y++ {
		row := p.Pix[y*p.Width:]
		for x := 1; x < d.w*block-1; x++ {
			gx := float64(row[x+1]) - float64(row[x-1])
			gy := float64(p.Pix[(y+1)*p.Width+x]) - float64(p.Pix[(y-1)*p.Width+x])
			t, v := &blocks[y/block*d.w+x/block], float64(row[x])
			t.xx, t.yy, t.xy = t.xx+gx*gx, t.yy+gy*gy, t.xy+gx*gy
			t.sum, t.squares, t.n = t.sum+v, t.squares+v*v, t.n+1
		}
	}
	for y := range d.h {
		for x := range d.w {
			t := blocks[y*d.w+x]
			if mean := t.sum / t.n; math.Sqrt(max(0, t.squares/t.n-mean*mean)) < leastSpread {
				continue
			}
			var a tensor
			for by := max(0, y-1); by <= min(d.h-1, y+1); by++ {
				for bx := max(0, x-1); bx <= min(d.w-1, x+1); bx++ {
					b := blocks[by*d.w+bx]
					a.xx, a.yy, a.xy = a.xx+b.xx, a.yy+b.yy, a.xy+b.xy
				}
			}
			c, s := a.xx-a.yy, 2*a.xy
			if r := math.Hypot(c, s); r > leastClear*(a.xx+a.yy) {
				d.v[y*d.w+x] = [2]float64{c / r, s / r}
			}
		}
	}
	return d
}

// coverage puts the captures of one finger together, in the first one's place.
type coverage struct {
	seen   directions // three windows wide and high, the first capture in the middle
	window int        // blocks of one
}

// add finds the place of a capture among those before it and says what it saw.
func (c *coverage) add(p Picture) Coverage {
	d := directionsOf(p)
	area := d.count()
	if c.window == 0 {
		c.window = d.w * d.h
		c.seen = directions{w: 3 * d.w, h: 3 * d.h, v: make([][2]float64, 9*c.window)}
	}
	at := place{dx: d.w, dy: d.h}
	if c.seen.count() > 0 {
		at = c.find(d)
	}
	old := 0
	each(d, at, func(x, y int, v [2]float64) {
		switch i := y*c.seen.w + x; {
		case x < 0 || y < 0 || x >= c.seen.w || y >= c.seen.h:
		case c.seen.v[i] != [2]float64{}:
			old++
		default:
			c.seen.v[i] = v
		}
	})
	percent := func(n, of int) int { return min(100*n/max(of, 1), 999) }
	return Coverage{Area: percent(area, c.window), Overlap: min(100, percent(old, area)), Seen: percent(c.seen.count(), c.window)}
}

// place is where a capture lies: turned about its middle, then shifted.
type place struct {
	turn   int // degrees
	dx, dy int // blocks
}

// find tries every place at which a third of the capture may lie on what was
// seen, and takes the one where most ground agrees.
func (c *coverage) find(d *directions) place {
	best, most := place{dx: d.w, dy: d.h}, math.Inf(-1)
	for turn := -turnMost; turn <= turnMost; turn += turnStep {
		type turned struct {
			x, y int
			v    [2]float64
		}
		var blocks []turned
		each(d, place{turn: turn}, func(x, y int, v [2]float64) { blocks = append(blocks, turned{x, y, v}) })
		for dy := d.h / 3; dy <= 2*d.h-d.h/3; dy++ {
			for dx := d.w / 3; dx <= 2*d.w-d.w/3; dx++ {
				agree := 0.0
				for _, b := range blocks {
					if s := c.seen.at(b.x+dx, b.y+dy); s != [2]float64{} {
						agree += s[0]*b.v[0] + s[1]*b.v[1] - sameDirection
					}
				}
				if agree > most {
					best, most = place{turn, dx, dy}, agree
				}
			}
		}
	}
	return best
}

// each calls f for every block of the finger where it lies at the place.
func each(d *directions, at place, f func(x, y int, v [2]float64)) {
	s, c := math.Sincos(float64(at.turn) * math.Pi / 180)
	s2, c2 := math.Sincos(2 * float64(at.turn) * math.Pi / 180)
	mx, my := float64(d.w-1)/2, float64(d.h-1)/2
	for y := range d.h {
		for x := range d.w {
			v := d.v[y*d.w+x]
			if v == [2]float64{} {
				continue
			}
			px, py := float64(x)-mx, float64(y)-my
			tx, ty := int(math.Round(c*px-s*py+mx)), int(math.Round(s*px+c*py+my))
			f(tx+at.dx, ty+at.dy, [2]float64{c2*v[0] - s2*v[1], s2*v[0] + c2*v[1]})
		}
	}
}
