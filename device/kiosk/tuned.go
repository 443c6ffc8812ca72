package kiosk

import "time"

// Every tuned number of this package, each with its source.
const (
	headerTimeout = 5 * time.Second // for a caller that connects and says nothing
	drainTime     = 3 * time.Second // for answers under way when the daemon stops
	maxHeader     = 16 << 10        // a browser on loopback sends under 2 KiB
	maxBody       = 16 << 10        // no request is larger than a few hundred bytes

	aliveEvery = 10 * time.Second // between signs of life on a silent stream; the page gives up after three

	issuedPages = 16 // pages that were loaded but have not opened their stream

	// The preview. The eye takes 15 pictures a second for moving; at 480
	// pixels a face at arm's length is some 150 wide, enough to place oneself.
	previewEvery   = time.Second / 15
	previewWidth   = 480
	previewQuality = 60 // of JPEG; a frame is some 15 KiB

	// signedIn is how long somebody who was recognised may look at their
	// history, set a PIN or ask to be forgotten, unless they leave before.
	signedIn = 2 * time.Minute

	// A code that an administrator asked for: eight digits, good for ten
	// minutes and three tries, so a guess succeeds 3 times in 100 million.
	codeDigits = 8
	codeFor    = 10 * time.Minute
	codeTries  = 3
	permitFor  = 15 * time.Minute // of the page that gave the right code

	// A phone is in a pocket: time to be looked at, to find it and to answer.
	phonePatience = time.Minute
	knockPatience = 5 * time.Second // a page that can begins at once
	// Longer where it looks at whoever is there: that ends first, after the device's
	// 15 s at most.
	lookPatience = 20 * time.Second
	// Whoever stands there is interrupted by one phone no more often than that: an
	// attempt takes 15 s, and a refused one has to be read.
	knockEvery   = 10 * time.Second
	knockAfterNo = time.Minute
	// Whoever holds a phone up to the screen hides their face from the camera;
	// whoever is not seen for so long beyond the kiosk's own time has left, and
	// the code with them.
	codeAway = 15 * time.Second
	// Who paired a phone meanwhile lowers it and is looked at once more: an attempt
	// takes 15 s at most, and they have to see that one is wanted.
	doubtFor = 30 * time.Second

	historyLength = 50    // entries of a person's own history
	historyDepth  = 20000 // entries that are searched for them
	historyStride = 1000  // read at once
)
