package vision

// Every tuned number of this package that is not part of a profile, each with
// its source.
const (
	maxFaces = 16 // looked at in one frame; each costs a run of the points net

	// Quality. The embedding takes 112x112 pixels; a face of 70 still keeps
	// half of that resolution.
	minSize       = 70
	maxSize       = 900
	minInside     = 0.90
	minBrightness = 45
	maxBrightness = 220
	minContrast   = 12
	maxYaw        = 25
	maxPitch      = 22
	maxRoll       = 25
	minSharpness  = 20
)
