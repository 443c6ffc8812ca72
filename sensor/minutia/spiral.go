package minutia

import (
	"math"
	"slices"
)

// spirals finds minutiae where the ridges' phase winds once around a point.
//
// Larkin and Fletcher ("A coherent framework for fingerprint analysis: are
// fingerprints holograms?", 2007) read a print as a wave cos(phase); a minutia
// is a spiral in the phase: on one side of it there is one ridge more. No
// threshold, no thinning, and what a change of pressure turns from an ending
// into a bifurcation stays the same spiral.
//
// The direction is that of the side with more ridges, which is how ISO/IEC
// 19794-2 draws both: into the ending ridge, into the fork of a bifurcation.
func spirals(re, im *plane, g *guide) []Minutia {
	const perSub = subSize / 2 // of the planes' pixels
	var out []Minutia
	for y := 1; y < re.h-2; y++ {
		row := y / perSub * g.w
		rowBelow := (y + 1) / perSub * g.w
		for x := 1; x < re.w-2; x++ {
			i := re.at(x, y)
			i10, i11, i01 := i+1, i+1+re.stride, i+re.stride
			a, b, c, d := im.pix[i], im.pix[i10], im.pix[i11], im.pix[i01]
			s, s10 := row+x/perSub, row+(x+1)/perSub
			s01, s11 := rowBelow+x/perSub, rowBelow+(x+1)/perSub
			if !g.on[s] || !g.on[s10] || !g.on[s01] || !g.on[s11] {
				continue
			}
			// A direction is one of a half turn, so a neighbour may look at
			// the same ridges from the other side: its phase runs backwards.
			if flip(g.dir[s], g.dir[s10]) {
				b = -b
			}
			if flip(g.dir[s], g.dir[s11]) {
				c = -c
			}
			if flip(g.dir[s], g.dir[s01]) {
				d = -d
			}
			if (a > 0) == (b > 0) && (b > 0) == (c > 0) && (c > 0) == (d > 0) {
				continue
			}
			ra, rb, rc, rd := re.pix[i], re.pix[i10], re.pix[i11], re.pix[i01]
			turn := winds(ra, a, rb, b) + winds(rb, b, rc, c) + winds(rc, c, rd, d) + winds(rd, d, ra, a)
			if turn == 0 {
				continue
			}
			angle := float64(g.dir[s]) * math.Pi / directions
			if turn < 0 {
				angle += math.Pi
			}
			m := Minutia{X: int16(2*x + 1), Y: int16(2*y + 1), Angle: uint8(int(math.Round(angle/(2*math.Pi)*256)) & 255)}
			// Dark ahead: a ridge ends here; light ahead: a valley does.
			sin, cos := math.Sincos(angle)
			ahead := re.at(int(math.Round(float64(x)+0.5+2.5*cos)), int(math.Round(float64(y)+0.5+2.5*sin)))
			if re.pix[ahead] <= 0 {
				m.Kind = Ending
			} else {
				m.Kind = Bifurcation
			}
			out = append(out, m)
		}
	}
	return out
}

// turnDiff is the angle between two directions in 256ths of a turn, 0..128.
func turnDiff(a, b uint8) int {
	d := int(int8(a - b))
	if d < 0 {
		d = -d
	}
	return d
}

func flip(a, b uint8) bool {
	d := int(a) - int(b)
	return d > directions/2 || d < -directions/2
}

// winds counts how the edge from a to b crosses the positive real axis.
func winds(ar, ai, br, bi float32) int {
	if (ai > 0) == (bi > 0) {
		return 0
	}
	cross := ar*bi - ai*br
	if bi > 0 && cross > 0 {
		return 1
	}
	if ai > 0 && cross < 0 {
		return -1
	}
	return 0
}

// undo drops pairs of opposite spirals that are too close to be two minutiae:
// together they are a pore, a speck or a ridge that breaks and goes on.
// The nearest go first. The spirals come row by row.
func undo(ms []Minutia, distance float64) []Minutia {
	type dipole struct{ i, j, d int }
	var ds []dipole
	for i := range ms {
		for j := i + 1; j < len(ms) && float64(ms[j].Y-ms[i].Y) < distance; j++ {
			dx, dy := int(ms[i].X)-int(ms[j].X), int(ms[i].Y)-int(ms[j].Y)
			d := dx*dx + dy*dy
			if float64(d) < distance*distance && turnDiff(ms[i].Angle, ms[j].Angle) > dipoleTurn {
				ds = append(ds, dipole{i, j, d})
			}
		}
	}
	slices.SortStableFunc(ds, func(a, b dipole) int { return a.d - b.d })
	gone := make([]bool, len(ms))
	for _, d := range ds {
		if !gone[d.i] && !gone[d.j] {
			gone[d.i], gone[d.j] = true, true
		}
	}
	kept := ms[:0]
	for i, m := range ms {
		if !gone[i] {
			kept = append(kept, m)
		}
	}
	return kept
}
