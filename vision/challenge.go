package vision

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"time"
)

// Challenge asks a person to move, in an order and at times that nobody can
// know beforehand, and watches whether they do: a recording moves when it was
// made to, and a picture that is turned does not turn its nose. It waits until
// they look straight and still, then asks for one move; what counts is a move
// that comes after it was asked for. A wrong move, or another person while one is
// asked for, costs one more; the second wrong one, and a move that does not come,
// end it.
//
// Before one of the moves a blink may be asked for besides. A recording blinks by
// chance every few seconds, so a blink takes the place of no move; it is asked for
// once at most, of those whose eyes the rest showed plainly, and who is not seen to
// blink, for glasses or otherwise, makes one move more instead.
//
// The zero value asks for two moves. Whoever moves at random at every ask, and
// rests whenever they must, passes one challenge in six.
type Challenge struct {
	// Mirrored: the camera's picture is exchanged left and right.
	Mirrored bool
	// Blink: a blink may be asked for besides.
	Blink bool
	// Draw returns a number from 0 to n-1 that nobody can foresee; nil =
	// crypto/rand.
	Draw func(n int) int
	// Now is when they are told what Look returns, which is later than the picture
	// by as long as it took to look at it; nil: at the time of the picture.
	Now func() time.Time
	// Pace is how long a frame takes at present. They are given the time of
	// challengeLooks frames at least for each thing that is asked for, but no more
	// than longestPatience.
	Pace time.Duration

	state   ChallengeState
	began   bool
	asked   Hint      // HintNone: they are to look straight
	since   time.Time // of the ask, or of the rest
	asking  time.Time // since when an answer is waited for: the ask, or the last stall behind it
	stalls  int       // behind which the time to answer began anew
	waiting time.Time // since when they are to look straight
	pause   time.Duration
	yaw     mean      // while resting
	size    mean      // the same
	eyes    eyes      // since they began to rest
	known   time.Time // since when they were seen to be the person who is challenged, again and again; zero: they are not
	seen    time.Time // when that was seen last
	blinked bool      // they blinked as asked, while they were
	blink   bool      // one was asked for
	missed  int       // blinks that were asked for and did not come
	turned  bool      // one of the moves was a turn
	right   int       // moves that came as asked
	wrong   int       // and that did not
	wanted  int       // moves
	answers []answer  // of every move, for the audit
	resting bool
}

// ChallengeState is how far a challenge is.
type ChallengeState uint8

// States. The zero state is that nothing was shown.
const (
	ChallengeOpen       ChallengeState = iota
	ChallengePassed                    // every move came when it was asked for
	ChallengeWrong                     // other moves came, or came too soon
	ChallengeUnanswered                // none came
)

// answer to one ask.
type answer struct {
	move  Hint
	after time.Duration // of the ask; 0 = it did not come
	right bool
}

// mean of what was measured.
type mean struct {
	n           int
	sum         float64
	least, most float32
}

func (m *mean) add(v float32) {
	if m.n == 0 {
		m.least, m.most = v, v
	}
	m.n++
	m.sum += float64(v)
	m.least, m.most = min(m.least, v), max(m.most, v)
}

func (m *mean) value() float32 { return float32(m.sum / float64(m.n)) }

// State tells how far it is.
func (c *Challenge) State() ChallengeState { return c.state }

// Look takes the next picture of a person and returns what they are to do now:
// HintLookStraight, or a move; HintNone at the end. same says that it was
// compared and is the person who is challenged: nobody else's move counts for
// them.
func (c *Challenge) Look(at time.Time, q Quality, same bool) Hint {
	if !c.began {
		c.began, c.right, c.turned, c.wanted = true, 0, false, challengeMoves+c.wrong+c.missed
		c.blink = c.missed > 0
		c.rest(at)
	}
	if c.state != ChallengeOpen {
		return HintNone
	}
	if c.asked == HintNone {
		return c.prepare(at, q)
	}
	return c.judge(at, q, same)
}

// Restart forgets what the person did, who is somebody else now, even if they
// had done all of it. What was wrong stays wrong, and a move that was asked for and
// did not come is wrong too: nobody chooses among the asks by stepping aside.
func (c *Challenge) Restart() {
	if c.state == ChallengeOpen && c.began && c.asked != HintNone {
		c.answers = append(c.answers, answer{move: c.asked})
		c.asked = HintNone
		if c.wrong++; c.wrong > challengeWrongs {
			c.state = ChallengeWrong
		}
	}
	if c.state == ChallengeOpen || c.state == ChallengePassed {
		c.state, c.began = ChallengeOpen, false
	}
}

// Resume goes on behind a gap in which no frame came and the person is the same as
// before it: whom a device stalls for did not step aside. The same thing is asked of
// them, or whoever starves the camera chose among the asks, and they have the time for it
// anew. A blink that was missed so is one that did not come, as recordings blink by
// chance. Beyond challengeStalls the gap is as Restart has it.
func (c *Challenge) Resume(at time.Time) {
	switch {
	case c.state != ChallengeOpen || !c.began:
	case c.asked == HintNone:
		c.rest(at)
	case c.asked == HintBlink:
		c.miss(at)
	case c.stalls == challengeStalls:
		c.Restart()
	default:
		c.stalls++
		c.asking = c.told(at)
	}
}

// miss takes note that a blink did not come.
func (c *Challenge) miss(at time.Time) {
	c.answers = append(c.answers, answer{move: c.asked})
	c.missed++
	c.rest(at)
}

// rest begins to wait until they look straight.
func (c *Challenge) rest(at time.Time) {
	c.asked, c.waiting, c.resting = HintNone, c.told(at), false
}

// told is when they are told what follows from the picture.
func (c *Challenge) told(at time.Time) time.Time {
	if c.Now == nil {
		return at
	}
	if now := c.Now(); now.After(at) {
		return now
	}
	return at
}

// patience is how long is waited for a move, and for a rest.
func (c *Challenge) patience() time.Duration {
	return max(challengePatience, min(challengeLooks*c.Pace, longestPatience))
}

// Asked tells whether anything was asked for so far.
func (c *Challenge) Asked() bool { return c.asked != HintNone || len(c.answers) > 0 }

// Idle tells whether a move was said and nobody made it by a frame of that time, though
// who takes long for it had the time and two frames to be seen.
func (c *Challenge) Idle(frame time.Time) bool {
	return c.state == ChallengeOpen && c.asked != HintNone && frame.Sub(c.asking) > Leisurely+2*c.Pace
}

// Erred tells whether a move was wrong so far.
func (c *Challenge) Erred() bool { return c.wrong > 0 }

// Time is how long it takes, in all, of somebody who needs so long for each thing that
// they are asked for, where a frame takes so long, with some more for frames that come
// late. ok is false where frames are so slow that nobody could pass it in any time.
func (c *Challenge) Time(pace, reaction time.Duration) (d time.Duration, ok bool) {
	n := challengeMoves + c.wrong + c.missed
	if c.blink {
		n++
	}
	rest := max(restFrames*pace, pauseMost+pace)
	move := max(reaction, pace) // the first frame is as old as the ask
	// Before each a rest, between two a move back, and one in the end, until who moved is
	// seen well.
	d = time.Duration(n)*(rest+move+pace) + time.Duration(n-1)*move + move + pace
	return d * challengeMargin / 100, challengeLeast*pace <= longestPatience
}

// ChallengeSlow tells whether it is the device's pace that a challenge waits for,
// rather than the person's.
func ChallengeSlow(pace time.Duration) bool { return challengeLooks*pace > challengePatience }

// prepare waits for a rest of random length and then asks.
func (c *Challenge) prepare(at time.Time, q Quality) Hint {
	if at.Sub(c.waiting) > c.patience() {
		c.state = ChallengeUnanswered
		return HintNone
	}
	if !within(q.Yaw, restYaw) {
		c.resting = false
		return HintLookStraight
	}
	if c.resting && (max(c.yaw.most, q.Yaw)-min(c.yaw.least, q.Yaw) > stillYaw || max(c.size.most, q.Size) > stillSize*min(c.size.least, q.Size)) {
		c.resting = false // and may rest from here on
	}
	if !c.resting {
		c.resting, c.since, c.yaw, c.size, c.eyes = true, at, mean{}, mean{}, eyes{}
		c.pause = pauseLeast + time.Duration(c.draw(int((pauseMost-pauseLeast)/time.Millisecond)))*time.Millisecond
	}
	c.yaw.add(q.Yaw)
	c.size.add(q.Size)
	c.eyes.look(at, q)
	if at.Sub(c.since) < c.pause || c.yaw.n < restFrames {
		return HintLookStraight
	}
	moves := []Hint{HintTurnLeft, HintTurnRight, HintNearer}
	if c.right+1 == c.wanted && !c.turned {
		moves = moves[:2] // a picture comes nearer as well; it does not turn
	}
	if c.blinked = false; c.Blink && !c.blink && c.eyes.plain(at) && c.draw(2) == 0 {
		moves, c.blink = []Hint{HintBlink}, true
		c.wanted++
	}
	c.asked, c.since, c.known = moves[c.draw(len(moves))], c.told(at), time.Time{}
	c.asking = c.since
	return c.asked
}

// judge tells whether they moved as asked.
func (c *Challenge) judge(at time.Time, q Quality, same bool) Hint {
	after := at.Sub(c.since)
	if c.asked == HintBlink && after > blinkPatience {
		c.miss(at)
		return HintLookStraight
	}
	if at.Sub(c.asking) > c.patience() {
		c.answers = append(c.answers, answer{move: c.asked})
		c.state = ChallengeUnanswered
		return HintNone
	}
	if !c.known.IsZero() && at.Sub(c.seen) > sameGap { // whose eyes they were meanwhile, nobody can tell
		c.known, c.blinked = time.Time{}, false
	}
	if same {
		if c.known.IsZero() {
			c.known = at
		}
		c.seen = at
	}
	if _, began := c.eyes.look(at, q); !began.IsZero() && began.Sub(c.since) >= soonest && !c.known.IsZero() && !began.Before(c.known) {
		c.blinked = true
	}
	yaw := q.Yaw - c.yaw.value()
	if c.Mirrored {
		yaw = -yaw
	}
	nearer := float32(nearerSize)
	if c.asked != HintNearer {
		nearer = leanSize
	}
	var did Hint
	switch { // the picture's right is the person's left
	case yaw >= turnYaw:
		did = HintTurnLeft
	case yaw <= -turnYaw:
		did = HintTurnRight
	case q.Size >= nearer*c.size.value():
		did = HintNearer
	case c.asked == HintBlink && c.blinked:
		did = HintBlink
	default:
		return c.asked
	}
	right := did == c.asked && after >= soonest
	after = max(after, time.Millisecond) // a picture of before they could hear it: 0 is that none came
	if right && !same {
		return c.asked // until it is plain who moved
	}
	c.answers = append(c.answers, answer{c.asked, after, right})
	if right {
		c.right++
		c.turned = c.turned || did == HintTurnLeft || did == HintTurnRight
	} else {
		c.wrong++
		if c.asked != HintBlink { // in whose place a move more is wanted already
			c.wanted++
		}
	}
	switch {
	case c.wrong > challengeWrongs:
		c.state = ChallengeWrong
		return HintNone
	case c.right == c.wanted:
		c.state = ChallengePassed
		return HintLookStraight
	}
	c.rest(at)
	return HintLookStraight
}

// Cues are what was asked and when it came, by name, for the audit: the
// milliseconds from the ask to the move, negative when it was not the right
// one, 0 when none came.
func (c *Challenge) Cues() map[string]float64 {
	cues := map[string]float64{"moves-right": float64(c.right), "moves-wrong": float64(c.wrong)}
	for i, a := range c.answers {
		ms := float64(a.after.Milliseconds())
		if !a.right && ms != 0 {
			ms = -ms
		}
		cues[fmt.Sprintf("move-%d-%s", i+1, a.move)] = ms
	}
	if c.asked != HintNone && c.state == ChallengeOpen {
		cues[fmt.Sprintf("move-%d-%s", len(c.answers)+1, c.asked)] = 0
	}
	return cues
}

func (c *Challenge) draw(n int) int {
	if c.Draw != nil {
		return c.Draw(n)
	}
	k, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil { // crypto/rand ends the program rather than fail
		return 0
	}
	return int(k.Int64())
}
