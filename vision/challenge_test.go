package vision

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"
)

// mover is somebody before a challenge, 15 frames a second.
type mover struct {
	t    *testing.T
	c    *Challenge
	now  time.Time
	hint Hint
	asks []Hint // as they came
	yaw  float32
	size float32
	open float32

	every time.Duration // from frame to frame; 0 = 66 ms
	takes time.Duration // to look at one, before they hear what it asks for
}

// newMover stands before a challenge that draws these numbers, in turn: for every
// move the pause in milliseconds beyond the least one, and which move.
func newMover(t *testing.T, draws ...int) *mover {
	m := &mover{t: t, now: time.Unix(1000, 0), size: 200}
	m.c = &Challenge{Draw: func(n int) int {
		if len(draws) == 0 {
			return 0
		}
		d := draws[0]
		draws = draws[1:]
		return d % n
	}}
	return m
}

func (m *mover) frame(same bool) {
	m.now = m.now.Add(cmp.Or(m.every, 66*time.Millisecond))
	if m.takes > 0 {
		m.c.Now = func() time.Time { return m.now.Add(m.takes) }
	}
	hint := m.c.Look(m.now, Quality{Yaw: m.yaw, Size: m.size, Open: m.open}, same)
	if hint != m.hint && hint != HintNone && hint != HintLookStraight {
		m.asks = append(m.asks, hint)
	}
	m.hint = hint
}

// rest until something is asked.
func (m *mover) rest() Hint {
	for range 60 {
		if m.frame(true); m.hint != HintLookStraight {
			break
		}
	}
	return m.hint
}

// turn to a yaw, in a third of a second, and back.
func (m *mover) turn(yaw float32) {
	m.move(func(share float32) { m.yaw = yaw * share })
}

func (m *mover) nearer() {
	m.move(func(share float32) { m.size = 200 * (1 + 0.35*share) })
}

func (m *mover) move(to func(share float32)) {
	for range 5 { // they take their time to understand
		m.frame(true)
	}
	for _, share := range []float32{0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0} {
		to(share)
		m.frame(true)
	}
}

// do what was asked.
func (m *mover) do(h Hint) {
	switch h {
	case HintTurnLeft:
		m.turn(30)
	case HintTurnRight:
		m.turn(-30)
	case HintNearer:
		m.nearer()
	case HintBlink:
		m.blink(6, true)
	}
}

// blink after so many frames, for 200 ms.
func (m *mover) blink(after int, same bool) {
	was := m.open
	for i := range after + 5 {
		if m.open = was; i >= after && i < after+3 {
			m.open = 0.6 * was
		}
		m.frame(same)
	}
}

// newBlinker has eyes, and may be asked to blink. The pauses are of half a second;
// whether they blink, and the moves, are drawn in this order; then the first of each.
func newBlinker(t *testing.T, moves ...int) *mover {
	m := newMover(t)
	m.c.Blink, m.open = true, 0.11
	m.c.Draw = func(n int) int {
		if n > 4 {
			return 200
		}
		if len(moves) == 0 {
			return 0
		}
		k := moves[0]
		moves = moves[1:]
		return k % n
	}
	return m
}

func TestWhoBlinksAsAskedPasses(t *testing.T) {
	for _, draws := range [][]int{{0, 0, 0, 0}, {1, 1, 0, 0, 0}} { // at first; after a turn
		m := newBlinker(t, draws...)
		for m.c.State() == ChallengeOpen {
			m.do(m.rest())
		}
		if m.c.State() != ChallengePassed || len(m.asks) != 3 || m.asks[0] != HintBlink && m.asks[1] != HintBlink || m.c.Cues()["moves-wrong"] != 0 {
			t.Errorf("%v: state %v after %v: %v", draws, m.c.State(), m.asks, m.c.Cues())
		}
	}
}

// Who is not seen to blink is asked for one move more, once, and is let pass with
// it: what hides their eyes is no attack. It makes nothing easier for a picture.
func TestABlinkThatDoesNotComeCostsAMove(t *testing.T) {
	for name, ask := range map[string]func(m *mover){
		"glasses that hide it":               func(m *mover) { m.still() },
		"another's blink":                    func(m *mover) { m.blink(6, false); m.strangerStays() },
		"another's blink, and they are back": func(m *mover) { m.blink(6, false); m.still() },
		"one over a gap, and they are back": func(m *mover) {
			for range 6 {
				m.frame(true)
			}
			m.open = 0.06
			m.frame(false)
			m.frame(false)
			m.open = 0.11
			m.now = m.now.Add(sameGap - 2*66*time.Millisecond)
			m.frame(true)
			m.still()
		},
		"one that began before it": func(m *mover) { m.blink(0, true); m.still() },
		"it stays shut":            func(m *mover) { m.open = 0.06; m.still(); m.open = 0.11 },
		"it is shut by a little":   func(m *mover) { m.open = 0.095; m.still(); m.open = 0.11 },
		"one frame says so, of noise": func(m *mover) {
			m.every = 40 * time.Millisecond
			for i := range 70 {
				if m.open = 0.11; i == 20 {
					m.open = 0.06
				}
				m.frame(true)
			}
			m.every = 0
		},
		"the eyes are not to be found": func(m *mover) { m.open = 0; m.still(); m.open = 0.11 },
	} {
		m := newBlinker(t)
		if h := m.rest(); h != HintBlink {
			t.Fatalf("%s: asked for %v", name, h)
		}
		ask(m)
		if n := m.c.Cues()["moves-right"]; n != 0 || m.c.State() != ChallengeOpen {
			t.Errorf("%s: %g moves right, state %v", name, n, m.c.State())
		}
		for m.c.State() == ChallengeOpen && len(m.asks) < 9 {
			m.do(m.rest())
		}
		blinks := 0
		for _, h := range m.asks {
			if h == HintBlink {
				blinks++
			}
		}
		if m.c.State() != ChallengePassed || len(m.asks) != 4 || blinks != 1 {
			t.Errorf("%s: state %v after %v", name, m.c.State(), m.asks)
		}
	}
}

// A wrong move in a blink's place is a wrong one; the move more that it costs is the one
// that the blink was besides.
func TestAWrongMoveInABlinksPlace(t *testing.T) {
	for wrongs, want := range []ChallengeState{ChallengePassed, ChallengePassed, ChallengeWrong} {
		m := newBlinker(t)
		if h := m.rest(); h != HintBlink {
			t.Fatalf("asked for %v", h)
		}
		if wrongs > 0 {
			m.turn(30)
		} else {
			m.do(HintBlink)
		}
		if n := m.c.Cues()["moves-wrong"]; n != float64(min(wrongs, 1)) || m.c.State() != ChallengeOpen {
			t.Errorf("%g moves wrong, state %v", n, m.c.State())
		}
		if wrongs > 1 {
			m.rest()
			m.turn(-30)
		}
		for m.c.State() == ChallengeOpen && len(m.asks) < 9 {
			m.do(m.rest())
		}
		if asks := 3 + min(wrongs, 1); m.c.State() != want || want == ChallengePassed && len(m.asks) != asks {
			t.Errorf("%d wrong: state %v after %v", wrongs, m.c.State(), m.asks)
		}
	}
}

// What a frame shows that was taken before they could hear what was asked is no answer.
func TestNobodyAnswersBeforeTheyHear(t *testing.T) {
	for late, right := range map[bool]float64{false: 0, true: 1} {
		m := newMover(t)
		m.every, m.takes = 500*time.Millisecond, 500*time.Millisecond
		if h := m.rest(); h != HintTurnLeft {
			t.Fatalf("asked for %v", h)
		}
		if late {
			m.frame(true)
		}
		m.yaw = 30
		m.frame(true)
		if cues := m.c.Cues(); cues["moves-right"] != right || cues["moves-wrong"] != 1-right || cues["move-1-turn-left"] == 0 || (cues["move-1-turn-left"] > 0) != late {
			t.Errorf("late %v: %v", late, cues)
		}
	}
}

// People are given the time of some frames, however slow those are, and no more than ten
// seconds, in which they might look for a recording that fits.
func TestTheTimeToAnswerFollowsThePace(t *testing.T) {
	for pace, want := range map[time.Duration]time.Duration{
		0:                4 * time.Second,
		time.Second / 15: 4 * time.Second,
		time.Second:      5 * time.Second,
		2 * time.Second:  10 * time.Second,
		5 * time.Second:  10 * time.Second,
	} {
		m := newMover(t)
		m.c.Pace = pace
		m.rest()
		asked := m.now
		for m.c.State() == ChallengeOpen {
			m.frame(true)
		}
		if took := m.now.Sub(asked); m.c.State() != ChallengeUnanswered || took < want || took > want+100*time.Millisecond {
			t.Errorf("at %v a frame: state %v after %v, want %v", pace, m.c.State(), took, want)
		}
	}
}

func (m *mover) strangerStays() {
	for range 50 {
		m.frame(false)
	}
}

// A blink is asked for only where it would be seen and not be had by chance.
func TestWhoIsNotAskedToBlink(t *testing.T) {
	for name, tt := range map[string]func(m *mover) Hint{
		"it is off":                      func(m *mover) Hint { m.c.Blink = false; return m.rest() },
		"their eyes are not to be found": func(m *mover) Hint { m.open = 0; return m.rest() },
		"they blink all the time": func(m *mover) Hint {
			for i := range 60 {
				if m.open = 0.11; i%6 > 3 {
					m.open = 0.06
				}
				if m.frame(true); m.hint != HintLookStraight {
					break
				}
			}
			return m.hint
		},
		"their glasses glitter": func(m *mover) Hint {
			for i := range 60 {
				if m.open = 0.11; i%2 == 1 {
					m.open = 0.09
				}
				if m.frame(true); m.hint != HintLookStraight {
					break
				}
			}
			return m.hint
		},
		"the camera is slow": func(m *mover) Hint {
			for range 60 {
				m.now = m.now.Add(100 * time.Millisecond)
				if m.frame(true); m.hint != HintLookStraight {
					break
				}
			}
			return m.hint
		},
		"they were asked already": func(m *mover) Hint { m.do(m.rest()); return m.rest() },
	} {
		m := newBlinker(t)
		if h := tt(m); h == HintBlink || h == HintLookStraight || h == HintNone {
			t.Errorf("%s: asked for %v", name, h)
		}
	}
}

func TestWhoMovesAsAskedPasses(t *testing.T) {
	for _, draws := range [][]int{{0, 0, 0, 1}, {800, 1, 5, 0}, {3, 2, 3, 1}, {3, 0, 3, 2}, {0, 0, 0, 0}} {
		m := newMover(t, draws...)
		for m.c.State() == ChallengeOpen {
			h := m.rest()
			if h == HintLookStraight {
				t.Fatalf("%v: nothing was asked: %v", draws, m.c.Cues())
			}
			m.do(h)
		}
		cues := m.c.Cues()
		if m.c.State() != ChallengePassed || len(m.asks) != 2 || cues["moves-right"] != 2 || cues["moves-wrong"] != 0 {
			t.Errorf("%v: state %v after %v: %v", draws, m.c.State(), m.asks, cues)
		}
		if ms := cues["move-1-"+m.asks[0].String()]; !(ms > 300 && ms < 800) {
			t.Errorf("%v: the first move is said to have come after %g ms", draws, ms)
		}
	}
}

// Pictures can be brought nearer; they cannot turn.
func TestOneOfTheMovesIsATurn(t *testing.T) {
	for second := range 3 {
		m := newMover(t, 0, 2, 0, second)
		m.do(m.rest())
		if h := m.rest(); m.asks[0] != HintNearer || h != HintTurnLeft && h != HintTurnRight {
			t.Errorf("%v", m.asks)
		}
	}
}

func TestWhoDoesNotMoveAsAskedFails(t *testing.T) {
	for name, tt := range map[string]struct {
		play func(m *mover)
		want ChallengeState
	}{
		"a photograph":         {func(m *mover) { m.rest(); m.still() }, ChallengeUnanswered},
		"it never rests":       {func(m *mover) { m.sway(100) }, ChallengeUnanswered},
		"the other way, twice": {func(m *mover) { m.rest(); m.turn(-30); m.rest(); m.turn(-30) }, ChallengeWrong},
		"the other way, once": {func(m *mover) {
			m.rest()
			m.turn(-30)
			m.rest()
			m.turn(30)
			m.rest()
			m.turn(30)
			m.rest()
			m.turn(30)
		}, ChallengePassed},
		"a wrong move costs one more": {func(m *mover) {
			m.rest()
			m.turn(-30)
			m.rest()
			m.turn(30)
			m.rest()
			m.turn(30)
			m.rest()
		}, ChallengeOpen},
		"it turns before anybody could": {func(m *mover) {
			m.rest()
			m.yaw = 30
			m.frame(true)
			m.yaw = 0
			m.rest()
			m.yaw = 30
			m.frame(true)
		}, ChallengeWrong},
		"somebody else turns for them":        {func(m *mover) { m.rest(); m.stranger() }, ChallengeUnanswered},
		"it nods its picture by a little":     {func(m *mover) { m.rest(); m.turn(8); m.still() }, ChallengeUnanswered},
		"somebody else takes over after a no": {func(m *mover) { m.rest(); m.turn(-30); m.c.Restart(); m.rest(); m.turn(-30) }, ChallengeWrong},
		"they step aside from two asks":       {func(m *mover) { m.rest(); m.c.Restart(); m.rest(); m.c.Restart(); m.frame(true) }, ChallengeWrong},
		"they step aside from one ask": {func(m *mover) {
			m.rest()
			m.c.Restart()
			m.rest()
			m.turn(30)
			m.rest()
			m.turn(30)
			m.rest()
		}, ChallengeOpen},
		"they step aside from one ask, and then do as asked": {func(m *mover) {
			m.rest()
			m.c.Restart()
			for range 3 {
				m.rest()
				m.turn(30)
			}
		}, ChallengePassed},
		"they step aside while nothing is asked": {func(m *mover) {
			for range 5 {
				m.frame(true)
				m.c.Restart()
			}
			m.rest()
			m.turn(30)
			m.rest()
			m.turn(30)
		}, ChallengePassed},
		"the device stalls twice behind an ask": {func(m *mover) {
			for range 2 {
				m.rest()
				m.c.Resume(m.now)
				m.turn(30)
			}
		}, ChallengePassed},
		"the device stalls while nothing is asked, and at the end": {func(m *mover) {
			for range 5 {
				m.frame(true)
				m.c.Resume(m.now)
			}
			m.rest()
			m.turn(30)
			m.frame(true)
			m.c.Resume(m.now)
			m.rest()
			m.turn(30)
			m.c.Resume(m.now)
		}, ChallengePassed},
		"the device stalls behind an ask all the time": {func(m *mover) {
			for m.c.State() == ChallengeOpen {
				m.rest()
				m.c.Resume(m.now)
			}
		}, ChallengeWrong},
		"somebody else after all is done": {func(m *mover) { m.rest(); m.turn(30); m.rest(); m.turn(30); m.c.Restart() }, ChallengeOpen},
	} {
		m := newMover(t) // always asks for a turn to the left
		tt.play(m)
		if m.c.State() != tt.want {
			t.Errorf("%s: state %v, want %v: %v, cues %v", name, m.c.State(), tt.want, m.asks, m.c.Cues())
		}
	}
}

// Behind a stall the same is asked again, whatever would be drawn by now, and for as long
// anew, twice in a challenge; a blink is missed by it.
func TestAStallAsksTheSame(t *testing.T) {
	m := newMover(t, 0, 1, 0, 0) // to the right first, then to the left
	asked := m.rest()
	began := m.now
	for range 3 {
		for range 45 { // three seconds of four
			m.frame(true)
		}
		if m.c.State() != ChallengeOpen || m.hint != asked || m.c.Cues()["moves-wrong"] != 0 {
			t.Fatalf("after %v: state %v, asked %v, then %v: %v", m.now.Sub(began), m.c.State(), asked, m.hint, m.c.Cues())
		}
		m.c.Resume(m.now)
	}
	if m.c.Cues()["moves-wrong"] != 1 {
		t.Errorf("a third stall is none: %v", m.c.Cues())
	}

	m = newBlinker(t)
	if h := m.rest(); h != HintBlink {
		t.Fatalf("asked for %v", h)
	}
	m.c.Resume(m.now)
	for m.c.State() == ChallengeOpen && len(m.asks) < 9 {
		m.do(m.rest())
	}
	if m.c.State() != ChallengePassed || len(m.asks) != 4 || slices.Contains(m.asks[1:], HintBlink) {
		t.Errorf("a blink: state %v after %v", m.c.State(), m.asks)
	}
}

func (m *mover) still() {
	for range 70 {
		m.frame(true)
	}
}

func (m *mover) sway(frames int) {
	for i := range frames {
		m.yaw = float32(20 * math.Sin(float64(i)/3))
		m.frame(true)
	}
}

func (m *mover) stranger() {
	for i := range 70 {
		m.yaw = 30
		m.frame(i < 0)
	}
}

func TestLeftIsThePersonsOwn(t *testing.T) {
	for _, mirrored := range []bool{false, true} {
		m := newMover(t)
		m.c.Mirrored = mirrored
		for range 2 {
			m.rest()
			if mirrored {
				m.turn(-30)
			} else {
				m.turn(30) // to the picture's right
			}
		}
		if m.c.State() != ChallengePassed || !slices.Equal(m.asks, []Hint{HintTurnLeft, HintTurnLeft}) {
			t.Errorf("mirrored %v: %v after %v", mirrored, m.c.State(), m.asks)
		}
	}
}

// Who moves at random at every ask is to pass as seldom as the comment says: 1
// in 6 of many.
func TestChanceOfMovingAtRandom(t *testing.T) {
	chanceOfMovingAtRandom(t, func(*mover) {})
}

// Nor is it easier where the camera is starved at every ask: the time that it gives tells
// a recording nothing.
func TestChanceOfMovingAtRandomBehindStalls(t *testing.T) {
	chanceOfMovingAtRandom(t, func(m *mover) { m.c.Resume(m.now) })
}

func chanceOfMovingAtRandom(t *testing.T, asked func(*mover)) {
	const n = 3000
	passed, k := 0, 0
	random := func(n int) int { // of a generator of its own, so that the test repeats
		k = (k*1103515245 + 12345) & 0x7fffffff
		return (k >> 16) % n
	}
	for range n {
		m := newMover(t)
		m.c.Draw = random
		for m.c.State() == ChallengeOpen {
			m.rest()
			asked(m)
			m.do([]Hint{HintTurnLeft, HintTurnRight, HintNearer}[random(3)])
		}
		if m.c.State() == ChallengePassed {
			passed++
		}
	}
	if share := float64(passed) / n; !(share > 0.10 && share < 0.22) {
		t.Errorf("%.3f of those who moved at random passed", share)
	}
}

// Who has a recording of some moves alone gains nothing by stepping aside whenever
// another is asked for, nor by starving the camera then.
func TestStepsAsideChooseNoAsks(t *testing.T) {
	const n = 2000
	share := func(evade func(*Challenge, time.Time)) float64 {
		passed, k := 0, 0
		for range n {
			m := newMover(t)
			m.c.Draw = func(n int) int {
				k = (k*1103515245 + 12345) & 0x7fffffff
				return (k >> 16) % n
			}
			for m.c.State() == ChallengeOpen {
				switch h := m.rest(); {
				case h != HintTurnRight:
					m.do(h)
				case evade != nil:
					evade(m.c, m.now)
					m.hint = HintLookStraight
				default:
					m.do(HintTurnLeft)
				}
			}
			if m.c.State() == ChallengePassed {
				passed++
			}
		}
		return float64(passed) / n
	}
	stays := share(nil)
	for name, evade := range map[string]func(*Challenge, time.Time){
		"stepped aside":      func(c *Challenge, _ time.Time) { c.Restart() },
		"starved the camera": (*Challenge).Resume,
	} {
		if passed := share(evade); passed > stays || passed == 0 {
			t.Errorf("%.3f of those who %s passed, and %.3f of those who stayed", passed, name, stays)
		}
	}
}

func TestTheSecretOfAChallengeIsDrawn(t *testing.T) {
	seen := map[Hint]bool{}
	var pauses []time.Duration
	for range 40 {
		m := newMover(t)
		m.c.Draw = nil
		start := m.now
		seen[m.rest()] = true
		pauses = append(pauses, m.now.Sub(start))
	}
	if len(seen) != 3 || slices.Max(pauses)-slices.Min(pauses) < 200*time.Millisecond {
		t.Errorf("asked %v after %v", seen, pauses)
	}
}

// Who takes so long for each move passes in the time that is told for it, after the
// longest rests, wherever between the frames they move.
func TestTheTimeSufficesWhoTakesIt(t *testing.T) {
	for _, pace := range []time.Duration{33 * time.Millisecond, 100 * time.Millisecond, 390 * time.Millisecond, 410 * time.Millisecond, 650 * time.Millisecond, 699 * time.Millisecond, time.Second, 3 * time.Second} {
		for _, reaction := range []time.Duration{Prompt, Leisurely} {
			longest := int((pauseMost-pauseLeast)/time.Millisecond) - 1
			now := time.Unix(1000, 0)
			c := &Challenge{Pace: pace, Draw: func(n int) int { return min(longest, n-1) }, Now: func() time.Time { return now }}
			began, told, asked, was := now, now, HintNone, HintNone
			for c.State() == ChallengeOpen {
				at, doing := now, asked
				if at.Sub(told) < reaction {
					doing = was
				}
				q := Quality{Size: 200}
				switch doing {
				case HintTurnLeft:
					q.Yaw = 30
				case HintTurnRight:
					q.Yaw = -30
				case HintNearer:
					q.Size = 270
				}
				now = at.Add(pace)
				if hint := c.Look(at, q, true); hint != asked {
					was, asked, told = asked, hint, now
				}
			}
			for at := now; at.Sub(told) < reaction; at = now { // until they look straight again
				now = at.Add(pace)
			}
			now = now.Add(pace)
			most, ok := c.Time(pace, reaction)
			if took := now.Sub(began); c.State() != ChallengePassed || !ok || took > most || took < most/2 {
				t.Errorf("%v a frame, after %v: state %d in %v of %v, %v", pace, reaction, c.State(), took, most, ok)
			}
		}
	}
	if _, ok := (&Challenge{}).Time(3400*time.Millisecond, Prompt); ok {
		t.Error("anybody could pass at 3.4 s a frame")
	}
}
