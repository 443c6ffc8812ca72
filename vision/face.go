package vision

import "math"

// Point is a place in a frame, in pixels; the centre of the first pixel is
// at 0, 0.
type Point struct{ X, Y float32 }

// Box is an upright rectangle in a frame, in pixels. X1 and Y1 are outside.
type Box struct{ X0, Y0, X1, Y1 float32 }

// Width of the box in pixels.
func (b Box) Width() float32 { return b.X1 - b.X0 }

// Height of the box in pixels.
func (b Box) Height() float32 { return b.Y1 - b.Y0 }

// Center of the box.
func (b Box) Center() Point { return Point{(b.X0 + b.X1) / 2, (b.Y0 + b.Y1) / 2} }

// Overlap is the area that b and c share over the area that they cover
// together, 0 to 1.
func (b Box) Overlap(c Box) float32 {
	w := min(b.X1, c.X1) - max(b.X0, c.X0)
	h := min(b.Y1, c.Y1) - max(b.Y0, c.Y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	shared := w * h
	return shared / (b.Width()*b.Height() + c.Width()*c.Height() - shared)
}

// The five points of a face, as indices into Face.Points. Left is left in
// the picture.
const (
	LeftEye = iota
	RightEye
	Nose
	LeftMouth
	RightMouth
)

// Face is one face in one frame.
type Face struct {
	Box       Box       // square, may reach over the frame's edge
	Score     float32   // of the detector, 0 to 1
	Points    [5]Point  // eyes, nose, corners of the mouth
	Landmarks []Point   // all points of the landmark net, nil where the profile has none
	Rigid     []Point   // those of them that keep their places on the head, nil where the profile names none
	Inner     []Point   // those of them that are not the face's outline, nil where the profile has none
	Quality   Quality   // of this picture of the face
	Live      float32   // P(live) of this one frame, 0 to 1; NaN = not measured
	Embedding Embedding // nil until Describe
}

// wipe overwrites the face's points and its embedding.
func (f *Face) wipe() {
	clear(f.Landmarks)
	clear(f.Rigid)
	clear(f.Inner)
	f.Embedding.Wipe()
	*f = Face{}
}

// NotMeasured is the value of Face.Live before Describe.
var NotMeasured = float32(math.NaN())
