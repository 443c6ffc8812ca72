package sensor

import "time"

// Every number that was chosen, with where it comes from. The manual's figures
// are those of Grow R503 V1.2.2; "in the field" are users' reports that
// facts about these modules were gathered from.
const (
	// Start-up: the manual says at most 50 ms and then a raw 55; optical units
	// take 200 ms and often stay silent.
	startUp   = 500 * time.Millisecond
	readyByte = 0x55
	readyMost = 2 // bytes at a start-up: some units send a 00 first

	// Answers. Capturing takes at most 0.2 s and feature extraction at most
	// 0.5 s on the R503, 0.5 s each on optical units; a command that writes
	// flash may take longer. Three times that is surely no answer.
	answerTimeout = 1500 * time.Millisecond
	probeTimeout  = 300 * time.Millisecond // VfyPwd, when looking for a module: answered within 10 ms

	// A line is quiet when nothing came for this long: eight characters at
	// 9600 baud, plus the scheduling of a busy Pi.
	quiet = 30 * time.Millisecond
	// After an answer that was none to the question: longer than any silicon
	// takes for one instruction (features, 0.5 s).
	longQuiet = 600 * time.Millisecond
	drainCap  = 2 * time.Second // a line that never falls silent is no module's

	// How often a module that does not answer properly after a fault is asked
	// again: it may be waiting for the rest of a packet of up to 267 bytes, and
	// each question gives it 16.
	resyncTries = 4

	// What Store may take whatever happens: itself, the password after a reset, itself
	// again. It must be longer than the answer's own, or no silence would be seen as one.
	storeMost = 3*answerTimeout + time.Second

	// What comparing one template and reading it may take whatever happens, and however
	// often the wire loses it: at 9600 baud it takes 4 s on a sound line.
	sureMost = 20 * time.Second

	dataTimeout   = answerTimeout / 3 // between two data packets, the largest of which takes 0.28 s at 9600 baud
	searchTimeout = 3 * time.Second   // 1000 templates take a second on optical units, 200 take 2 s on the R503
	flashTimeout  = 5 * time.Second   // erasing a whole library
	autoTimeout   = 12 * time.Second  // AutoEnroll and AutoIdentify wait 10 s for a touch (manual p. 28)

	// Bytes that a Linux serial driver takes before they are on the wire.
	writeAhead = 4096

	// Polling for a finger where no wake line is wired: at once, then slower,
	// so that an idle reader costs little.
	pollFirst = 20 * time.Millisecond
	pollMost  = 200 * time.Millisecond

	// How often a poor picture is taken before the person is told: a finger that
	// comes down covers the sensor after two of an R503's captures (0.2 s each).
	poorTries = 3

	// A picture of an enrolment is read where it takes no longer on the wire: at
	// 57600 baud that leaves out the optical units, whose pictures take 7 s.
	coverageMost = 4 * time.Second

	// An enrolment begins anew so often after a reset: more are no accident.
	resetsMost = 3

	// With a wake line, a look all the same after this long: a person at a reader
	// whose wire came off waits no longer. The R503 answers a touch within 120 ms.
	wakePoll = 2 * time.Second

	// Some modules send a spurious 01 before the answer to Match.
	spuriousWait = 200 * time.Millisecond

	// The largest template in the field is 1538 bytes, the largest picture
	// 256x288 at 4 bits a pixel; what is longer never ends.
	maxTemplate = 4 << 10
	maxPicture  = 64 << 10
	maxSide     = 1024 // pixels: three times the longest side in the field, 288

	// MaxBeyond templates more than the module's library has room for are compared one
	// by one by Identify: each takes a second at 57600 baud (DownChar of 1536 bytes,
	// Match), and an attempt lasts 15 s.
	MaxBeyond = 8

	// What a search needs beyond the templates that it stores: DownChar's and Store's
	// own bytes, the flash (30 to 50 ms by users' reports), what one template takes to
	// search (less than 10 ms by the manual), and the rest, with a margin for a slow host.
	talkSize   = 80
	storeTime  = 60 * time.Millisecond
	searchEach = 10 * time.Millisecond
	decideTime = time.Second

	// What has time waits for so long after the last scan or comparison: several
	// templates of one person are compared one after the other. What spends a scan
	// waits for longer.
	idleAfter  = 300 * time.Millisecond
	spendAfter = 3 * time.Second
	idlePoll   = 50 * time.Millisecond

	// Buffers: two at least; the R503's six are the most in the field.
	leastBuffers, mostBuffers = 2, 6

	// ReadIndexTable tells of so many pages of slots (manual p. 14); some libraries
	// have more.
	indexPages, indexSlots = 4, 256

	// The system id of the optical units (R30x, AS608, FPM10A). They have two buffers,
	// and take any other number for the second (ZFM-20 manual, Img2Tz), so that they
	// cannot be asked; 256x288 pixels; and nothing of what came with the R503.
	opticalID = 9

	leastTemplate = 256 // bytes: one feature file of the smallest family

	// SoftRst: start-up of at most 50 ms on the R503, which alone has it.
	restart = 120 * time.Millisecond

	// A steady light is set anew when asked for after this long: less than the 5 s
	// after which the daemon asks.
	lampAgain = 3 * time.Second

	// Flashes of a plain light: told apart at a glance (three short ones are a second,
	// a long one is longer than a look of an optical unit, 0.3 s, lights it), and all
	// over before an answer has been shown for the 2 s that the daemon gives it.
	shortFlash = 150 * time.Millisecond
	longFlash  = 600 * time.Millisecond

	// Rates that an automatic raise aims at and falls back to, and how often the
	// module is asked before a rate counts as sound: at each opening so many
	// handshakes and a page of 512 bytes, or so many parameter blocks of 28 where
	// there is no page; after a raise raisedTimes of all that, 5 KB in 0.5 s.
	settledBaud = 57600
	steadyTalks = 8
	steadyAsks  = 20
	raisedTimes = 8

	// How often a module is told another rate where the wire damages the talk: at a
	// rate at which one answer in two is damaged, 7 of 8 are told within three.
	moveTries = 3

	// A yes that comes sooner than this beyond the wire's time, or than half of
	// the shortest comparison that the module was seen to make, is no
	// comparison. The manual says less than 10 ms a template; an adapter's own
	// delay only makes it longer.
	haste = 4 * time.Millisecond

	// MinDecoys are mixed into every comparison, one more for half of the
	// templates where there are four decoys or more: a module that says yes to one
	// of the line-up is right once in three times or less and caught in all the
	// others (TestLyingModule: of 1500 tries about 500, caught in the rest).
	MinDecoys = 2

	// How often a decoy is sent that is to overwrite a template and matches: two
	// faults in a row are seen on real wires. And how many attempts in a row may
	// end that way on a line without other damage, nine lost downloads in all, and
	// on any: a module that lies can damage its answers as well.
	overwrites = 3
	excuses    = 3
	patience   = 8

	// How often the line is tried anew because somebody used the module meanwhile.
	disturbances = 3
)

// bauds in the order in which they are tried: the factory's, then what people
// set (9600*N with N in 12, 1, 2, 4, 6).
var bauds = []int{57600, 115200, 9600, 19200, 38400}

// ClaimedLevel is the security level, the factory's, of which the manual claims a
// false accept rate.
const ClaimedLevel = 3

// ClaimedFMR is that rate, of one comparison:
// a false accept rate below 0.001 %. It is the vendor's word, not a
// measurement; a policy that wants better must ask for another factor.
const ClaimedFMR = 1e-5
