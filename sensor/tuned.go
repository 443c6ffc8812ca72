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

	// Answers. Capturing takes at most 0.2 s and feature extraction at most
	// 0.5 s on the R503, 0.5 s each on optical units; a command that writes
	// flash may take longer. Three times that is surely no answer.
	answerTimeout = 1500 * time.Millisecond
	probeTimeout  = 300 * time.Millisecond // VfyPwd, when looking for a module: answered within 10 ms

	// A line is quiet when nothing came for this long: eight characters at
	// 9600 baud, plus the scheduling of a busy Pi.
	quiet    = 30 * time.Millisecond
	drainCap = 2 * time.Second // a line that never falls silent is no module's

	// Polling for a finger where no wake line is wired: at once, then slower,
	// so that an idle reader costs little.
	pollFirst = 20 * time.Millisecond
	pollMost  = 200 * time.Millisecond

	// Some modules send a spurious 01 before the answer to Match.
	spuriousWait = 200 * time.Millisecond

	// The largest template in the field is 1538 bytes, the largest picture
	// 256x288 at 4 bits a pixel; what is longer never ends.
	maxTemplate = 4 << 10
	maxPicture  = 64 << 10

	leastTemplate = 256 // bytes: one feature file of the smallest family
)

// bauds in the order in which they are tried: the factory's, then what people
// set (9600*N with N in 12, 1, 2, 4, 6).
var bauds = []int{57600, 115200, 9600, 19200, 38400}

// claimedFMR is what the manual claims for security level 3, the factory's:
// a false accept rate below 0.001 %. It is the vendor's word, not a
// measurement; a policy that wants better must ask for another factor.
const claimedFMR = 1e-5
