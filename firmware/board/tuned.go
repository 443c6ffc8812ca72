package board

import "time"

// Every number that was chosen, with where it comes from.
const (
	// Section 8: an answer comes within 15 ms, a slow one within 2 s, and the
	// host waits 250 ms beyond that. 250 bytes there and back take 44 ms at
	// 115200 baud.
	patience     = 310 * time.Millisecond
	slowPatience = 2*time.Second + patience
	latePatience = 2 * patience // for what was asked before, on a host that is busy
	tries        = 3

	unlockTries = 2

	// The loader's console: a command is answered at once, but it may first be
	// checking both slots. On an nRF51 at 16 MHz that is 0.5 s for each signature
	// and 0.8 s for each digest of a full slot; the first loaders, which no update
	// replaces, took 7.6 s in all.
	promptTime = 10 * time.Second
	probeText  = 250 * time.Millisecond
	blockRest  = 1200 * time.Millisecond
	mostLine   = 32      // characters, section 5
	mostText   = 8 << 10 // bytes of an answer; what is longer never ends

	// A board boots to listening within 0.6 s; its loader checks two images
	// first (see promptTime), and the watchdog takes 2 s to end an image
	// that hangs.
	bootTime = 15 * time.Second

	// To start what ran before, when an update broke off in the loader: to find
	// it in the middle of a block, and to have it check both slots twice. What is
	// not reached starts by itself, a minute after the last load.
	leaveTime = 25 * time.Second

	lineQuiet = 5 * time.Millisecond // nothing more is on its way

	// The loader's text was read to its end: the next letter C is the invitation.
	inviteQuiet = time.Millisecond

	// HoldMost and HoldLeast bound an unlock, section 8.
	HoldLeast = 100 * time.Millisecond
	HoldMost  = 30 * time.Second

	// Heartbeat is how often the host lets itself be heard; after Deadline
	// without it the board shuts the lock. Section 8.
	Heartbeat = 500 * time.Millisecond
	Deadline  = 2 * time.Second

	// Baud of the line.
	Baud = 115200
)
