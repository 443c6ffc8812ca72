package minutia

import "math"

// Every tuned constant of the package lives in this file, with its source.
// Weights and tables were fitted to Neurotechnology's UareU sample set and the
// fingers of sensor/ridge alone. Which evidence to take, and the constants of
// the mask and of matching without a source of their own, were chosen by hand
// while looking at figures and pictures of the FVC2002 and FVC2004 sample sets
// too, so figures on those are a little better than on sets not seen.
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
	alongStep   = 2 // px between taps: along the ridges little changes
	alongTaps   = 2*alongRadius/alongStep + 1
	alongSigma  = 4.0

	acrossRadius = 9
	acrossSigma  = 0.42 // periods
)

// Foreground mask, in cells.
const (
	maskContrast  = 0.22 // of the picture's 90th percentile of deviation
	maskCoherence = 0.20 // lower lets noise in, 0.30 cuts cores and dry parts out
	maskPart      = 0.15 // of the largest part: smaller ones are no finger
	maskHole      = 200  // cells: smaller holes are filled
	firstRounds   = 2    // of smoothing the structure tensor, of the picture
	secondRounds  = 1    // of the picture smoothed along its ridges
)

// Minutiae.
const (
	edgeMargin      = 10.0 // px from the foreground's edge
	dipoleDistance  = 9.0  // px between two opposite spirals that undo each other
	clarityRadius   = 7.0  // px around a minutia where its quality is measured
	dipoleTurn      = 85   // 256ths at least between the directions of such two
	maxMinutiae     = 100
	importedQuality = 60 // of 100, where a record reports none
)

// Minutia Cylinder-Code (Cappelli, Ferrara, Maltoni, "Minutia Cylinder-Code: a
// new representation and matching technique for fingerprint recognition",
// 2010), in its bit form.
const (
	mccRadius    = 70.0
	mccGrid      = 8
	mccSections  = 6
	mccSigmaS    = 28.0 / 3
	mccSigmaD    = 2 * math.Pi / 9
	mccMuPsi     = 0.01 // the bit form keeps whether the sum exceeds it
	mccMinValid  = 0.60 // share of cells on the foreground's hull
	mccMinNear   = 2
	mccMinShared = 140 // bits of 312 that two must both have
)

// Ridge patches of a template.
const (
	patchSize       = 16
	PatchArea       = patchSize * patchSize // px at 500 dpi
	patchDirections = 64
	patchPhases     = 32
	patchPeriods    = 16
)

// Ridge directions around a minutia.
const (
	flowMinShared = 12 // places
	flowLimit     = 4  // at most one in so many bits may differ: 22 degrees on average
	flowWeight    = 0.5
)

var (
	flowRing   = [...]int{6, 10, 16}
	flowRadius = [...]float64{24, 46, 70}
)

// Matching.
const (
	binSize       = 32 // px
	maxTurn       = 64 // 256ths that two touches may be turned: 90 degrees
	localMinutiae = 40 // of each look for partners
	topPairs      = 32 // are relaxed
	fewPairs      = 8  // count in the relaxed likeness

	relaxRounds      = 3
	relaxKeep        = 0.5
	relaxGain        = 0.5
	consistentTurn   = 22   // 256ths that the angle between two minutiae may differ
	consistentNear   = 6.0  // px that their distance may differ
	consistentFar    = 0.08 // and of the distance
	consistentRadial = 0.90 // cosine between the places of one seen from the other

	// Of 2,900 genuine pairs of whole prints of the four FVC sets and UareU that
	// score above FMR 1e-3, none has less; of impostors 67 to 80 % have. In
	// windows of 192 px (at most 144 patches) it would lose one in ten.
	hopelessRelaxed = 0.6
	hopelessArea    = 150 // patches

	hypotheses     = 4    // poses tried; 6 gain nothing
	suggestSupport = 0.2  // of pairs that make a pose with the first
	refits         = 2    // of a pose to what it brings together
	refitArm       = 20.0 // px: weighs directions against places
	refitWorst     = 1.2  // a pair at the tolerance still weighs 0.2
	matchDistance  = 14.0 // px
	matchTurn      = 17   // 256ths: 24 degrees
	matchTurnShare = 0.4  // of the cost is the angle's

	// Stretched skin: 3 rounds bring FVC2004_DB1_B from an EER of 6.4 to 6.1 %
	// against 2.
	warpRounds   = 3
	warpDistance = 10.0  // px
	shiftReach   = 50.0  // px
	shiftPrior   = 0.06  // (2 px of scatter / 8 px of shift) squared
	stretchPrior = 180.0 // (2 px of scatter / 15 % of stretch) squared
	shiftBlock   = 3     // patches a side that share one affine shift
	smoothScale  = 4.0   // px off its neighbours' word that halve a pair's weight
)

// Search: the stages. Chosen on every third pair of touches of the five sets, whole
// and in windows of 192 px, and of 100 synthetic fingers, 546 in all, among 1,000
// synthetic strangers each. Of them the first stage put 4 behind the best 5 % and 9
// behind the best 1 %; ranking by the similarity of pairs alone, as before, it were
// 8 and 18 at twice the cost. `faceprint-eval finger --search N DIR...` counts
// what each stage loses.
//
// The fewest are what the shares are of 100,000, so a search of less costs no more
// than one of that many; and 5,000 are compared in less time than the stages and those
// that they leave take, since most strangers are settled early. Of the 735 second and
// further impressions of the five sets among 1,605 fingers comparing all finds 726;
// the one that the stages rank worst is number 893 by the first and 750 by the second.
// With 500 relaxed and 30 compared, as before, three were lost.
const (
	searchMinutiae       = 24
	coarseDiffers        = 9    // bits of flow that two must share for one that differs
	coarseCylinder       = 24.0 // differing bits that equal cylinders are worth
	coarseWeight         = 0.08 // of the first stage in the second
	searchWhole          = 5000 // a gallery of so many is compared whole
	searchRelaxed        = 0.05 // of the gallery is relaxed
	searchRelaxedFewest  = 5000
	searchCompared       = 0.01 // of the gallery is compared
	searchComparedFewest = 1000
)

// Merging.
const (
	mergeScore = 0.25 // what impressions of one finger must score, FMR 1e-3

	// Four merged impressions of the FVC folders have 74 to 93 minutiae, of which 18 to
	// 55 have a quality of 2 of 15 at most: seen by one of four. With the clearest 72
	// the errors of `finger --enroll 4` are what they are with 100, whole and in windows
	// of 192 px; with 64 those of FVC2004_DB3_B's windows rise.
	mergedMinutiae = 72
)

// Quality.
const qualityArea = 60.0 // clear patches at which a picture has 63 % of what its clarity is worth

// What is a finger. On 14 pictures of the five sets, the lowest and highest:
// clear 0.63 to 0.83, impossible 0.005 to 0.21, parallel 0.10 to 0.71; on 19
// photographs of people 0.53 to 0.59, 0.81 to 0.99; on stripes parallel 0.99.
//
// On all 839 pictures of the five sets, whole and in windows of 192 px: uneven
// 0.57 or more, straight 0.77 at most (whole 0.68), seam 0.70 sqrt(patches) at
// most, at most 2 cores and 2 deltas; sensor/ridge's fingers have uneven 0.46 or
// more. Noise of one wave length has uneven 0.00 to 0.16, stripes bent by hand
// up to 0.46; pictures of two halves have straight 0.92 to 0.95, seam 0.88 to
// 1.04. The ground of whole pictures is 3 to 176 grey levels lighter than the
// finger, on 90 or more cells of the rim (37 mm of it); in windows, which may
// lie on the finger, up to 66 darker.
//
// Noise of several wave lengths (30 to 180 plane waves within 1 to 5 px of 6.5 to 14)
// makes lines that waver everywhere and yet are evenly spaced: those of 80 such
// pictures that passed all else had a spread of 0.47 to 0.85 and a coherence of 0.79 to
// 0.87. Pictures of a finger have one or the other: of 1,704 of the five sets, whole
// and in windows, and of sensor/ridge, the nearest are 0.97 with 0.90 and 1.00 with 0.87.
const (
	fingerPatches    = 12.0 // 8 mm2
	fingerImpossible = 0.5
	impossibleCode   = 11 // and higher: periods under 5.7 px; the sets' medians are 6.7 to 13
	impossibleWide   = 0  // and lower: over 13.9 px; of UareU's finger 057_5 half the ridges are wider than 12.2
	fingerClear      = 0.45
	fingerParallel   = 0.97
	fingerSingular   = 2    // cores, and deltas: a whorl or twin loop has two of each
	singularSmooth   = 2    // patches around one
	fingerUneven     = 0.40 // mean difference of neighbours' period codes
	noiseSpread      = 0.92
	noiseCoherence   = 0.885
	fingerStraight   = 0.85 // share of neighbours that run the same way
	straightCos      = 0.99 // of twice the angle: 4 degrees
	fingerSeam       = 8    // patches, 6.5 mm
	fingerSeamShare  = 0.75 // of the square root of the patches, a square's side
	groundShare      = 0.25 // of the rim, where it says which way round a picture is
	groundWhole      = 80   // cells of the rim, 32 mm at 500 dpi: the ground is all around
	groundDarker     = 40.0 // grey levels, where it is not
	poorPatches      = 30.0 // 20 mm2
	poorMinutiae     = 4
)

// Score: logistic regression with weights >= 0, L2 penalty 0.03 on standardised
// terms, on Neurotech_UareU and sensor/ridge (60 fingers with 4 careless touches
// each, and 70 with 6 of four times the distortion), whole and in 192 x 192
// windows, every set and class weighing alike.
const relaxedFloor = 0.3

var scoreWeight = [Terms]float64{TermPaired: 6.33, TermRelaxed: 0.383, TermPhase: 2.57, TermEvidence: 0.157}

const scoreBias = -4.40

// fmrTable is the false match rate by score, log10. Down to 1e-3 it is what was
// measured with the score's fit: the share of the impostor pairs of those sets. From
// there on it is an upper bound of real fingers of which one shows less than
// hopelessArea, windows of 192 x 192 above all: 145,580 comparisons of the 65
// fingers of Neurotech_UareU and the 10 of each of the four FVC sets, of which the
// best scored 1.46; the exponential tail of the highest 1e-3 (mean excess 0.302; the
// shape of the generalised Pareto distribution is 0.05, -0.39 to 0.16 at 95 %: 0 is
// the exponential) and, of 200 draws of fingers, the upper 97.5 %. What is below
// 1e-5 is extrapolated. `faceprint-eval finger --table N DIR...` measures again.
//
// Records of minutiae alone reach a score more seldom than it says: of 144,640
// comparisons of the same pictures, whole and in windows, through ISO/IEC 19794-2
// (`finger --record`), at -0.5 1e-4.2 in windows and none of whole ones, at 0 none.
//
// Touches of sensor/ridge without care score about ten times as often so (30
// fingers): they come from one generator, and are like each other in a way that
// people are not. From 1e-3 on the table does not follow them.
var fmrTable = []fmrPoint{
	{-2.5, 0}, {-1.60, -1}, {-0.51, -2}, {0.25, -3}, {1, -4}, {2, -5.05}, {3, -6.1}, {4, -7.15}, {5, -8.2}, {6, -9.2},
}

// fmrLarge is the same of two fingers that both show hopelessArea or more: at least
// four times the upper bound of 143,700 comparisons of the same sets, since most are
// of one sensor. The best scored 0.19; mean excess 0.199, shape -0.12 (-0.50 to
// 0.03); the bound is 1e-4 at 0.0, 1e-5.6 at 1 and 1e-7.3 at 2.
var fmrLarge = []fmrPoint{
	{-2.5, 0}, {-1.60, -1}, {-0.75, -2}, {-0.1, -3}, {0.45, -4}, {1, -5}, {1.6, -6}, {2.2, -6.95}, {2.8, -7.9}, {3.4, -8.9}, {3.6, -9.2},
}

// bestPower is how the rate grows with the impressions that are compared: the best
// of 4 has the scores that one has at 1e-2 to 1e-3.5 about 3 times as often (2.7 to
// 3.6 in the classes above; 4 to the power of 0.9 is 3.5).
const bestPower = 0.9
