package vision

// Quality says how good one picture of a face is. The zero value is not good
// enough.
type Quality struct {
	Size       float32 // height of the squared box, pixels
	Sharpness  float32 // variance of the Laplacian over the aligned face, grey levels squared
	Brightness float32 // mean grey of the aligned face, 0 to 255
	Contrast   float32 // standard deviation of the same, 0 to 127
	Yaw        float32 // degrees, estimated from the points; positive = turned to the picture's right
	Pitch      float32 // degrees; positive = looking up
	Roll       float32 // degrees; positive = clockwise in the picture
	Inside     float32 // share of the box that lies inside the frame, 0 to 1
}

// Hint is the one thing a person can do to be recognised. Its names are part
// of the API.
type Hint uint8

// Hints, the more pressing first.
const (
	HintNone Hint = iota // good enough
	HintNoFace
	HintOnePerson
	HintCloser
	HintFarther
	HintCentre
	HintTooDark
	HintTooBright
	HintTurnToCamera
	HintHoldStill
	hints // their number
)

var hintNames = [hints]string{"none", "no-face", "one-person", "closer", "farther", "move-to-centre", "too-dark", "too-bright", "turn-to-camera", "hold-still"}

// String is the stable name of the hint.
func (h Hint) String() string {
	if h < hints {
		return hintNames[h]
	}
	return "unknown"
}

// Hint is what to do about the quality; HintNone = good enough.
func (q Quality) Hint() Hint {
	switch {
	case !(q.Size >= minSize):
		return HintCloser
	case q.Size > maxSize:
		return HintFarther
	case !(q.Inside >= minInside):
		return HintCentre
	case !(q.Brightness >= minBrightness) || !(q.Contrast >= minContrast):
		return HintTooDark
	case q.Brightness > maxBrightness:
		return HintTooBright
	case !within(q.Yaw, maxYaw) || !within(q.Pitch, maxPitch) || !within(q.Roll, maxRoll):
		return HintTurnToCamera
	case !(q.Sharpness >= minSharpness):
		return HintHoldStill
	}
	return HintNone
}

func within(angle, limit float32) bool { return angle >= -limit && angle <= limit }

// quality measures one face; its points are known.
func (m *Model) quality(p picture, face *Face) Quality {
	q := Quality{Size: face.Box.Height()}
	x0, y0, x1, y1, ok := face.Box.clamped(p.w, p.h)
	if ok {
		q.Inside = float32((x1-x0)*(y1-y0)) / (face.Box.Width() * face.Box.Height())
	}
	return q
}
