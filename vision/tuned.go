package vision

import (
	"math"
	"time"
)

// Every tuned number of this package that is not part of a profile, each with
// its source.
const (
	// ChallengeTurn is by how many degrees a head has to turn for a challenge.
	ChallengeTurn = 15

	// Templates. The cosines of 1e-4 and 1e-5 of two pictures are reached, of the profile
	// faceplugin, by 2.3 and 3.3 times as many strangers with a template of five LFW
	// pictures, by the upper ends of the 95 % intervals 4 and 10 times as many
	// (faceprint-eval face --enroll 5 --probe 1). From a rate of templateFrom down no
	// table of templates is laxer than that of two pictures.
	templateLax  = 10
	templateFrom = 1e-2

	maxFaces = 16 // looked at in one frame; each costs a run of the points net

	// Quality. The embedding takes 112x112 pixels; a face of 70 still keeps
	// half of that resolution.
	minSize       = 70
	maxSize       = 900
	minInside     = 0.90
	minBrightness = 45
	maxBrightness = 220
	minContrast   = 12
	// A dark face before what is this much brighter is backlit. Every eighth of the
	// given LFW pictures of a name's first: at most 0.18 of a face is clipped, and
	// the cast is 0.94 in the 99th percentile, 1.06 at most. A phone's screen had
	// 1.40, which is to be refused as an attack and not asked for better light.
	backlight  = 2
	maxClipped = 0.5
	maxCast    = 1.5
	maxYaw     = 25
	maxPitch   = 30 // where the nose sits differs from person to person by 10 degrees and more of the estimate
	maxRoll    = 25
	// Blurred LFW pictures (250 people, Gaussian of 0 to 4 pixels at 112x112)
	// against another picture of theirs: at a sharpness of 40 to 60, 81 % are
	// still recognised at FMR 1e-4, at 20 to 35 56 %, at 10 to 22 40 %. Of the
	// pictures as they are, 95 % have more than 170.
	minSharpness = 40

	// Reach. The box of a face is 3.1 distances of the eyes high (median of 50 people
	// of LFW), which are 63 mm apart in the mean (Dodgson, 2004). Of those pictures,
	// reduced into frames of 640 to 2560 pixels across, boxes of 90 pixels and more are
	// good as often as larger ones and those of 70 half as often, and all are found that
	// are a 17th of the frame across, three quarters at a 21st. USB cameras see 55 to 78
	// degrees across, a Pi's own 62 to 66.
	faceHeight = 0.196 // metres
	wantSize   = 90
	leastShare = 1.0 / 17
	lensAngle  = 70.0

	// Covered faces: of every sixth person of LFW 1 of 237 is taken for covered as
	// they are; of glasses, masks and hands drawn on them, in one plain colour, 62 to
	// 95 % are noticed (faceprint-eval cover --every 6).
	minEyes  = 0.20
	minMouth = 0.33

	// Sequences. Frames closer together than apart show the same moment. Boxes
	// of one person overlap by far more than followOverlap from frame to frame
	// at 5 frames a second and more; after followGap, of a slow device followFrames of its frames, somebody else may have
	// stepped in. A second face at least rivalSize times as prominent could as
	// well be meant.
	apart         = 150 * time.Millisecond
	followOverlap = 0.3
	followGap     = time.Second
	followFrames  = 3 // of a slower device
	paceFrames    = 5 // gaps that say how slow it is: no one or two that stalled
	followMost    = 5 * time.Second
	othersAside   = 2 // frames: looking aside costs likeness, and one may be blurred by the turn
	rivalSize     = 0.8
	outdoneFor    = 700 * time.Millisecond // until the subject is who was more prominent in every frame since, three at least
	outdoneFrames = 3

	// Tracking. The points' extents of one person overlap by more than trackOverlap
	// from frame to frame (all frames of the demo's clips but cuts); after
	// trackFrames and trackGap the whole frame is looked at again.
	trackOverlap = 0.5
	trackFrames  = 4
	trackGap     = 250 * time.Millisecond

	// Stillness. A cell is a mean of 64 pixels, which a camera's noise moves by one
	// grey level or two.
	stillRows    = 12
	stillColumns = 16
	stillLevels  = 6
	stillFor     = 3 * time.Second

	// Camera chart. A Gaussian blur of 1 pixel leaves half of the contrast at
	// 0.187 cycles a pixel, one of 2 pixels at 0.094. The face model looks at a
	// face of 150 mm with 112 pixels: beyond 0.35 cycles a millimetre it sees
	// nothing, however many pixels the camera has.
	minResolution    = 0.10
	enoughDetail     = 0.35
	minChartContrast = 40
	thresholdBelow   = 8   // grey levels under the surroundings is black
	maxMarks         = 400 // candidates for finder marks
	edgeReach        = 32  // pixels on either side of an edge
	minEdge          = 0.01

	// Liveness. In profile and looking down the net of profile faceplugin calls
	// living people dead (every failure of a live clip was at 14 degrees of yaw or
	// more), so such a frame says nothing.
	liveYaw    = 12
	liveDown   = 15
	liveFrames = 3
	deadFrames = 5

	// Challenges. From picture to picture of people who sit still the yaw moves by
	// 0.2 degrees in the median and 1 in the 99th percentile (demo and liveness
	// clips); who looks about turns by 15 and more. A choice between several
	// answers takes people 300 ms at least (Hick, 1952), of which the camera may
	// have eaten some.
	challengeMoves    = 2
	challengeWrongs   = 1
	challengePatience = 4 * time.Second
	// A slow device. The first frame after something was asked for is as old as the
	// ask, so that an answer comes in the second at best, and in the third where people
	// take a second; a rest takes three frames after one in which they still turn back.
	challengeLooks  = 5
	challengeLeast  = 3   // frames of patience without which nobody can pass
	challengeMargin = 132 // percent: whoever moves just behind a frame is seen in the next, which takes 131 at worst (of who is prompt, at 699 ms a frame)
	restFrames      = 3
	// How soon somebody has moved after they were asked to: who does everything at once,
	// and who takes their time. Nobody measured it: a choice takes 0.3 s at least (above),
	// and to turn the head about as long.
	Prompt          = 700 * time.Millisecond
	Leisurely       = 1600 * time.Millisecond
	longestPatience = 10 * time.Second
	// Stalls behind which the time to answer begins anew: each gives a recording that
	// fits as much more time to be found, and nothing else.
	challengeStalls = 2
	restYaw         = 12
	stillYaw        = 6
	stillSize       = 1.1
	turnYaw         = ChallengeTurn
	nearerSize      = 1.2
	leanSize        = 1.3 // who turns may lean forward by less
	maxAside        = 45
	soonest         = 250 * time.Millisecond
	pauseLeast      = 300 * time.Millisecond
	pauseMost       = 1200 * time.Millisecond

	// Eyes, by Quality.Open over its median of the latest frames of the same person:
	// of 61 blinks of two people, seen by eye on every frame, 55 are found at 24 frames
	// a second and at 12, and 53 at 8, with one to two others in 4.7 minutes
	// (faceprint-eval blink on the demo's clips). Measured once, by frame: the area
	// under the curve is 0.996 and more, that of fr_eye.onnx of the package the same,
	// which is no part of the profile for it; of one picture alone neither tells narrow
	// eyes, laughter and glasses from shut ones. Eyes that blink keep 0.89 and more of
	// their contrast; a finger before them mostly leaves 0.3 to 0.65.
	faceLength    = 1.155 // from the eyes to the mouth, over the distance of the eyes, of the alignment's template
	shutEyes      = 0.78
	openEyes      = 0.84 // again
	lidContrast   = 0.8
	eyesFrames    = 5
	eyesMost      = 60
	shutHint      = 700 * time.Millisecond
	shutMost      = 3 * time.Second
	withholdMost  = 500 * time.Millisecond // a blink takes 100 to 400 ms; templates are of open eyes
	withholdEvery = 3 * time.Second
	blinkLeast    = 50 * time.Millisecond // one frame at 20 a second is noise
	blinkMost     = 1500 * time.Millisecond
	slowestBlink  = 130 * time.Millisecond // from frame to frame: at 8 a second some are missed
	sameGap       = 400 * time.Millisecond // good frames are compared every apart and a frame: at 8 a second every 260 ms
	blinkPatience = 2500 * time.Millisecond

	// Relief, in distances of the eyes. Sheets made of the clips' faces and turned by
	// 35 degrees either way are foreshortened 1.16 to 1.20 times and have 0.0025 to
	// 0.0041, bent ones 0.007 and more; 4 of 97 spans of three seconds of living
	// people are taken for sheets (faceprint-eval liveness --paper, on the demo's and
	// the liveness clips).
	reliefFrames = 6
	flatTurn     = 1.13
	flatDepth    = 0.006

	// Motion, in distances of the eyes: how far the points inside the outline move
	// against one another, slowly. One picture of the clips' people with noise of 1,
	// 4 or 10 grey levels, moved about or not, against the people themselves: of the
	// table of faceprint-eval liveness --still, on the demo's and the liveness clips,
	// the threshold that lets 3 of 438 pictures pass (47 at 0.0030) and asks 3 of 121
	// people (4 from 0.0048 on).
	motionFrames = 3
	stillMotion  = 0.0046
	motionTime   = 1500 * time.Millisecond

	// Edges about a face, in heights of its box. What is straight for a whole height
	// and more beside a face is nothing that people wear; those of a phone that shows
	// all of itself lie 0.7 to 1.4 from the face's middle. Where nothing moves, the
	// points lie about by 0.003, and edges behind a person by less than 0.001.
	edgeLength   = 1.0
	edgeMost     = 2.0 // more says no more
	edgeNearest  = 0.55
	edgeFarthest = 1.4
	edgeMiddle   = 0.8
	edgeMoved    = 0.006
	edgeContrast = 4    // grey levels a pixel of the patch
	edgeAlong    = 0.45 // of the gradient across, at most along
	edgeWhole    = 0.85 // of its length, at least, is there
	edgeGap      = 2    // pixels of the patch in a row that are not
	edgeLike     = 0.6  // least likeness of an edge to what it was
	edgeBetter   = 0.02 // an edge that fits as well where it was has stayed
	edgeMissed   = 2    // frames in a row after which it is lost
	edgeFrames   = 3    // least that it was found in
	edgeSearch   = 4    // every so many kept frames lost ones are looked for anew
	edgeAngles   = 29   // steps from 21 degrees one way to 21 the other
	edgeAngle    = 1.5 * math.Pi / 180

	// Frames remembered against replays: a quarter of an hour of attempts at
	// 15 a second.
	memoryFrames = 1 << 14
)
