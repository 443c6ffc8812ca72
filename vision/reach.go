package vision

import "math"

// frameSizes are what cameras have, the least first.
var frameSizes = [...][2]int{{640, 480}, {800, 600}, {1280, 720}, {1920, 1080}}

// MaxReach is the farthest, in metres, that FrameFor knows a frame for.
var MaxReach = math.Floor(Reach(frameSizes[len(frameSizes)-1][0])*10) / 10

// Reach is from how far away, in metres, a face is still found and sharp enough
// in frames of so many pixels across, before a lens that sees 70 degrees. Beyond
// some 1500 pixels more of them are of no use: the detector looks at 320.
func Reach(width int) float64 {
	least := max(wantSize, float64(width)*leastShare) // height of the face's box
	return faceHeight * float64(width) / (2 * math.Tan(lensAngle/2*math.Pi/180) * least)
}

// FrameFor is the least usual size of frame in which a face at that distance,
// in metres, is good enough; ok is false where there is none.
func FrameFor(distance float64) (width, height int, ok bool) {
	for _, s := range frameSizes {
		if distance > 0 && distance <= Reach(s[0])+0.01 {
			return s[0], s[1], true
		}
	}
	return 0, 0, false
}

// FaceSize is how large the box of a face is where the chart was, in pixels.
func (r ChartReport) FaceSize() float64 { return 1000 * faceHeight * r.Scale }

// LargeEnough tells whether a face is recognised there; sure is false where it
// is so only now and then.
func (r ChartReport) LargeEnough() (ok, sure bool) {
	return r.Found && r.FaceSize() >= minSize, r.Found && r.FaceSize() >= wantSize
}
