package minutia

import "math"

// Every tuned constant of the package lives in this file, with its source.
// "Tuned" means tried on Neurotechnology's UareU sample set and on the fingers
// of sensor/ridge; the FVC2002 and FVC2004 sample sets only checked the choice.
// Lengths are pixels at 500 dpi, angles radians.

const (
	// workDPI is the resolution that all else works at: ISO/IEC 19794-2's
	// usual one. dpiTolerance is how far a picture may be off unresampled.
	workDPI      = 500
	dpiTolerance = 0.025

	// Limits of a picture before anything is computed. 20,000 px a side, say,
	// is no finger at any resolution.
	minDPI, maxDPI = 150, 1300
	minSide        = 80   // 4 mm: fewer than 9 ridges across
	maxSide        = 1600 // 81 mm at 500 dpi, a slap of four fingers
)

// Local contrast normalisation.
const (
	normRadius   = 11  // window of 23 px: two and a half ridges
	normFloor    = 5.0 // grey levels of deviation; below is sensor noise
	normRelative = 0.25
	normClip     = 2.5
)

// Orientation and frequency fields.
const (
	cellSize = 8 // px: a bit less than a ridge and valley (Hong, Wan, Jain 1998 use 16)
	subSize  = 4 // px that share one filter direction

	directions = 64 // filter directions in half a turn: 2.8 degrees

	minPeriod, maxPeriod = 4.5, 15.0 // children's thin to adults' wide ridges
	periodSteps          = 22

	alongRadius = 8
	alongSigma  = 4.0

	acrossRadius = 9
	acrossSigma  = 0.42 // periods
)

// Foreground mask, in cells.
const (
	maskContrast  = 0.22 // of the picture's 90th percentile of deviation
	maskCoherence = 0.20
)

// Minutiae.
const (
	edgeMargin     = 10.0 // px from the foreground's edge
	dipoleDistance = 9.0  // px between two opposite spirals that undo each other
	maxMinutiae    = 100
)

// Minutia Cylinder-Code (Cappelli, Ferrara, Maltoni, "Minutia Cylinder-Code: a
// new representation and matching technique for fingerprint recognition",
// 2010), in its bit form.
const (
	mccRadius   = 70.0
	mccGrid     = 8
	mccSections = 6
	mccSigmaS   = 28.0 / 3
	mccSigmaD   = 2 * math.Pi / 9
	mccMuPsi    = 0.01 // the bit form keeps whether the sum exceeds it
	mccMinValid = 0.60 // share of cells on the foreground's hull
	mccHull     = 50.0
	mccMinNear  = 2
	mccMaxTurn  = math.Pi / 2 // delta-theta
)

// Ridge patches of a template.
const (
	patchSize       = 16
	patchDirections = 64
	patchPhases     = 32
	patchPeriods    = 16
)

// Ridge directions around a minutia.
const (
	flowMinShared = 12 // places
	flowMin       = 0.2
	flowWeight    = 0.5
)

var (
	flowRing   = [...]int{6, 10, 16}
	flowRadius = [...]float64{24, 46, 70}
)

// Matching.
const (
	binSize          = 32 // px
	topPairs         = 32
	fewPairs         = 8
	maxTurn          = 64 // 256ths
	relaxRounds      = 3
	relaxKeep        = 0.5
	relaxGain        = 0.5
	consistentTurn   = 22  // 256ths
	consistentNear   = 6.0 // px
	consistentFar    = 0.08
	consistentRadial = 0.90
	hypotheses       = 6
	refits           = 2
	refitArm         = 20.0 // px
	matchDistance    = 14.0
	matchTurn        = 17
	shiftPrior       = 0.5
	shiftReach       = 50.0
	smoothScale      = 4.0
)
