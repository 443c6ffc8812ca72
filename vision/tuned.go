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
	// Blurred LFW pictures (250 people, Gaussian of 0 to 4 pixels at 112x112)
	// against another picture of theirs: at a sharpness of 40 to 60, 81 % are
	// still recognised at FMR 1e-4, at 20 to 35 56 %, at 10 to 22 40 %. Of the
	// pictures as they are, 95 % have more than 170.
	minSharpness = 40
)
