package minutia

import "math"

// lines says how the lines of a picture run from patch to patch. Ridges grew:
// they bend almost everywhere, a little, their distance varies with them, and
// their directions turn by half a turn around a few points alone (Henry, 1900;
// Kawagoe and Tojo, "Fingerprint pattern classification", 1984).
type lines struct {
	links    int     // neighbouring patches
	straight float64 // share of them that run the same way
	uneven   float64 // mean difference of their period codes
	spread   float64 // standard deviation of all period codes
	cores    int     // points around which the direction turns by half a turn
	deltas   int     // and by half a turn the other way
	seam     int     // patches that the longest line reaches across which directions jump
}

// lines measures the patches.
func (r *Ridges) lines() lines {
	var l lines
	w, h := r.Width, r.Height
	c2, s2 := make([]float64, w*h), make([]float64, w*h)
	var n, sum, squares float64
	for i, p := range r.Patches {
		if p.On {
			s2[i], c2[i] = math.Sincos(2 * math.Pi * float64(p.Direction) / patchDirections)
			n, sum, squares = n+1, sum+float64(p.Period), squares+float64(p.Period)*float64(p.Period)
		}
	}
	if n > 0 {
		l.spread = math.Sqrt(max(squares/n-sum*sum/(n*n), 0))
	}
	// Jumps are marked at their links' middles, on a grid twice as fine.
	seams := make([]bool, 4*w*h)
	for i, p := range r.Patches {
		if !p.On {
			continue
		}
		x, y := i%w, i/w
		for _, d := range [2][2]int{{1, 0}, {0, 1}} {
			if x+d[0] >= w || y+d[1] >= h {
				continue
			}
			j := i + d[1]*w + d[0]
			q := r.Patches[j]
			if !q.On {
				continue
			}
			l.links++
			l.uneven += math.Abs(float64(p.Period) - float64(q.Period))
			switch dot := c2[i]*c2[j] + s2[i]*s2[j]; {
			case dot > straightCos:
				l.straight++
			case dot < 0: // more than 45 degrees
				seams[(2*y+d[1])*2*w+2*x+d[0]] = true
			}
		}
	}
	if l.links > 0 {
		l.straight /= float64(l.links)
		l.uneven /= float64(l.links)
	}
	l.cores, l.deltas = r.singular(c2, s2)
	l.seam = longest(seams, 2*w, 2*h)
	return l
}

// singular counts the points around which the smoothed direction winds.
func (r *Ridges) singular(c2, s2 []float64) (cores, deltas int) {
	w, h := r.Width, r.Height
	a, b := make([]float64, w*h), make([]float64, w*h)
	for i, p := range r.Patches {
		if !p.On {
			continue
		}
		for y := max(i/w-singularSmooth, 0); y <= min(i/w+singularSmooth, h-1); y++ {
			for x := max(i%w-singularSmooth, 0); x <= min(i%w+singularSmooth, w-1); x++ {
				a[i] += c2[y*w+x] // nothing where no ridges are
				b[i] += s2[y*w+x]
			}
		}
	}
	for y := range h - 1 {
		for x := range w - 1 {
			i := y*w + x
			loop := [...]int{i, i + 1, i + 1 + w, i + w, i}
			turn, on := 0.0, true
			for k, p := range loop[:4] {
				q := loop[k+1]
				on = on && r.Patches[p].On
				turn += math.Atan2(a[p]*b[q]-b[p]*a[q], a[p]*a[q]+b[p]*b[q])
			}
			switch {
			case !on:
			case turn > math.Pi:
				cores++
			case turn < -math.Pi:
				deltas++
			}
		}
	}
	return cores, deltas
}

// longest is how many patches the widest connected set of marks reaches. The
// grid has two places a patch.
func longest(marks []bool, w, h int) int {
	reach := 0
	var stack []int
	for i := range marks {
		if !marks[i] {
			continue
		}
		marks[i] = false
		stack = append(stack[:0], i)
		x0, x1, y0, y1 := w, 0, h, 0
		for len(stack) > 0 {
			c := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := c%w, c/w
			x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
			for v := max(y-2, 0); v <= min(y+2, h-1); v++ {
				for u := max(x-2, 0); u <= min(x+2, w-1); u++ {
					if marks[v*w+u] {
						marks[v*w+u] = false
						stack = append(stack, v*w+u)
					}
				}
			}
		}
		reach = max(reach, (x1-x0)/2+1, (y1-y0)/2+1)
	}
	return reach
}
