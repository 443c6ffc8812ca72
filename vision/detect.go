package vision

import (
	"cmp"
	"math"
	"slices"
)

// How a detector's outputs are read.
const (
	decodeBoxes = "boxes" // scores n x 2 (column 1 = face), boxes n x 4 as x0, y0, x1, y1 of 0 to 1, already decoded
	decodeYuNet = "yunet" // cls, obj, bbox, kps, each at strides 8, 16, 32: twelve outputs in this order
)

// candidate is a detection in the frame's pixels, before it becomes a Face.
type candidate struct {
	box    Box
	score  float32
	points *[5]Point
}

// decode reads the detector's outputs; x and y are how many pixels of the
// frame one pixel of the net's input is wide and high.
func (d *Detector) decode(out [][]float32, x, y float32) []candidate {
	if d.Decode == decodeYuNet {
		return d.decodeYuNet(out, x, y)
	}
	return d.decodeBoxes(out, x, y)
}

func (d *Detector) decodeBoxes(out [][]float32, x, y float32) []candidate {
	var found []candidate
	scores, boxes := out[0], out[1]
	w, h := x*float32(d.Size[0]), y*float32(d.Size[1])
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

// yunetStrides are the pixels of the input that one cell of each of YuNet's
// grids stands for.
var yunetStrides = [3]int{8, 16, 32}

// yunetLens are the numbers of YuNet's outputs for an input of w x h.
func yunetLens(w, h int) (lens [12]int) {
	for i, stride := range yunetStrides {
		cells := (w / stride) * (h / stride)
		for k, each := range [4]int{1, 1, 4, 10} { // cls, obj, bbox, kps
			lens[3*k+i] = each * cells
		}
	}
	return lens
}

// decodeYuNet reads the grids of YuNet (2023mar). In every cell: the score is
// the geometric mean of class and objectness, the box's centre and the five
// points are offsets from the cell's corner in cells, the sides are
// logarithms of cells (OpenCV's FaceDetectorYN, modules/objdetect).
func (d *Detector) decodeYuNet(out [][]float32, x, y float32) []candidate {
	var found []candidate
	for i, stride := range yunetStrides {
		cls, obj, box, points := out[i], out[3+i], out[6+i], out[9+i]
		columns, step := d.Size[0]/stride, float32(stride)
		for c := range cls {
			score := float32(math.Sqrt(float64(clamp01(cls[c]) * clamp01(obj[c]))))
			if !(score >= d.Score) {
				continue
			}
			col, row := float32(c%columns), float32(c/columns)
			b := box[4*c:][:4]
			centre := Point{(col + b[0]) * step * x, (row + b[1]) * step * y}
			w, h := exp(b[2])*step*x/2, exp(b[3])*step*y/2
			var five [5]Point
			for k := range five {
				p := points[10*c+2*k:][:2]
				five[k] = Point{(col + p[0]) * step * x, (row + p[1]) * step * y}
			}
			found = append(found, candidate{
				box: Box{centre.X - w, centre.Y - h, centre.X + w, centre.Y + h}, score: score, points: &five,
			})
		}
	}
	return found
}

func clamp01(v float32) float32 { return min(max(v, 0), 1) }

func exp(v float32) float32 { return float32(math.Exp(float64(v))) }

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
	round := func(v float32) int { return int(math.Floor(float64(v) + 0.5)) }
	x0, y0 = max(0, round(b.X0)), max(0, round(b.Y0))
	x1, y1 = min(w, round(b.X1)), min(h, round(b.Y1))
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
