package vision

import (
	"cmp"
	"math"
	"slices"
)

// How a detector's outputs are read.
const (
	decodeBoxes = "boxes" // scores n x 2 (column 1 = face), boxes n x 4 as x0, y0, x1, y1 of 0 to 1, already decoded
	decodeYuNet = "yunet" // cls, obj, bbox, kps, each at strides 8, 16, 32
)

// candidate is a detection in the frame's pixels, before it becomes a Face.
type candidate struct {
	box    Box
	score  float32
	points *[5]Point
}

// decodeBoxesOutput reads scores and boxes of a net that has seen the whole frame,
// stretched.
func (d *Detector) decodeBoxesOutput(out [][]float32, w, h float32) []candidate {
	var found []candidate
	scores, boxes := out[0], out[1]
	for i := 0; 2*i+1 < len(scores) && 4*i+3 < len(boxes); i++ {
		s := scores[2*i+1]
		if !(s >= d.Score) {
			continue
		}
		b := boxes[4*i:][:4]
		found = append(found, candidate{box: Box{b[0] * w, b[1] * h, b[2] * w, b[3] * h}, score: s})
	}
	return found
}

// sift drops what is no box, and of boxes that overlap keeps the one with the
// highest score.
func sift(found []candidate, overlap, least float32) []candidate {
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	kept := found[:0]
next:
	for _, c := range found {
		if !(c.box.Width() >= least) || !(c.box.Height() >= least) || !finite(c.box) || len(kept) == maxFaces {
			continue
		}
		for _, k := range kept {
			if k.box.Overlap(c.box) > overlap {
				continue next
			}
		}
		kept = append(kept, c)
	}
	return kept
}

func finite(b Box) bool {
	s := float64(b.X0) + float64(b.Y0) + float64(b.X1) + float64(b.Y1)
	return !math.IsNaN(s) && math.Abs(s) < 1e6
}

// squared is the square of the box's height around its centre.
func (b Box) squared() Box {
	c, r := b.Center(), b.Height()/2
	return Box{c.X - r, c.Y - r, c.X + r, c.Y + r}
}

// clamped is the part of the box inside a frame, on whole pixels; ok is false
// when hardly anything is left.
func (b Box) clamped(w, h int) (x0, y0, x1, y1 int, ok bool) {
	x0, y0 = max(0, int(b.X0)), max(0, int(b.Y0))
	x1, y1 = min(w, int(b.X1)), min(h, int(b.Y1))
	return x0, y0, x1, y1, x1-x0 >= 4 && y1-y0 >= 4
}

// shifted is the square of r times the side of b around its centre, moved
// into the frame, and made smaller where it still does not fit.
func (b Box) shifted(r float32, w, h int) Box {
	side := min(r*b.Width(), float32(w-1), float32(h-1))
	c := b.Center()
	x := min(max(0, c.X-side/2), float32(w-1)-side)
	y := min(max(0, c.Y-side/2), float32(h-1)-side)
	return Box{x, y, x + side, y + side}
}
