package vision

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// lids is how far eyes are open, frame by frame.
type lids []float32

// stay for some frames.
func (l lids) stay(frames int, open float32) lids {
	for range frames {
		l = append(l, open)
	}
	return l
}

func TestBlinks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	var noisy, narrow lids
	for range 300 {
		noisy = append(noisy, 0.11*(1+0.04*float32(rng.NormFloat64())))
		narrow = append(narrow, 0.05*(1+0.03*float32(rng.NormFloat64())))
	}
	for name, tt := range map[string]struct {
		open  lids
		every time.Duration // 0: 40 ms
		wiped bool          // something plain is before the eyes while they seem shut
		want  int
	}{
		"one":                               {open: lids{}.stay(20, 0.11).stay(4, 0.07).stay(20, 0.11), want: 1},
		"a finger wipes over a picture":     {open: lids{}.stay(20, 0.11).stay(4, 0.07).stay(20, 0.11), wiped: true, want: 0},
		"two":                               {open: lids{}.stay(20, 0.11).stay(3, 0.07).stay(8, 0.11).stay(3, 0.06).stay(4, 0.11), want: 2},
		"narrow eyes":                       {open: append(narrow[:len(narrow):len(narrow)], lids{}.stay(4, 0.03).stay(2, 0.05)...), want: 1},
		"nothing but noise":                 {open: noisy, want: 0},
		"one frame of noise":                {open: lids{}.stay(20, 0.11).stay(1, 0.07).stay(20, 0.11), want: 0},
		"ten frames a second, one is shut":  {open: lids{}.stay(20, 0.11).stay(1, 0.07).stay(20, 0.11), every: 100 * time.Millisecond, want: 1},
		"a squint by a little":              {open: lids{}.stay(20, 0.11).stay(5, 0.093).stay(20, 0.11), want: 0},
		"half open again is not open":       {open: lids{}.stay(20, 0.11).stay(4, 0.07).stay(3, 0.091).stay(4, 0.07).stay(20, 0.11), want: 1},
		"shut for two seconds":              {open: lids{}.stay(20, 0.11).stay(50, 0.07).stay(20, 0.11), want: 0},
		"shut from the beginning":           {open: lids{}.stay(60, 0.07), want: 0},
		"too little is known of open eyes":  {open: lids{}.stay(2, 0.11).stay(2, 0.07).stay(4, 0.11), want: 0},
		"not measured":                      {open: lids{}.stay(60, 0), want: 0},
		"no numbers":                        {open: lids{}.stay(60, float32(math.NaN())), want: 0},
		"not measured while they were shut": {open: lids{}.stay(20, 0.11).stay(1, 0.07).stay(2, 0).stay(20, 0.11), want: 1},
	} {
		var e eyes
		n, at := 0, time.Unix(1, 0)
		for _, open := range tt.open {
			if tt.every == 0 {
				tt.every = 40 * time.Millisecond
			}
			at = at.Add(tt.every)
			contrast := float32(0.8)
			if tt.wiped && open < 0.08 {
				contrast = 0.4
			}
			if _, began := e.look(at, Quality{Open: open, Eyes: contrast}); !began.IsZero() {
				if n++; !began.Before(at) {
					t.Errorf("%s: a blink that is over before it began", name)
				}
			}
		}
		if n != tt.want || e.blinks != n {
			t.Errorf("%s: %d blinks, want %d", name, n, tt.want)
		}
	}
}

// lidded is somebody whose eyes are so far open.
func lidded(open, yaw float32) Face {
	f := somebody(1, 320, 200)
	f.Quality.Open, f.Quality.Yaw = open, yaw
	return f
}

// glance is show of a frame of which only some pixels are new.
func (t *theatre) glance(test *testing.T, face Face) Seen {
	test.Helper()
	for i := range t.pic.Pix[:8] {
		t.pic.Pix[i] = byte(t.rng.Uint32())
	}
	return t.showAgain(test, frame, face)
}

// Whoever keeps their eyes shut is told to open them, and is taken as they are
// meanwhile: nobody waits for their eyes.
func TestShutEyes(t *testing.T) {
	th := newTheatre()
	th.seq.EyesOpen = true
	for range 15 {
		th.glance(t, lidded(0.11, 0))
	}
	before := th.seq.Len()
	if before < 5 {
		t.Fatalf("%d frames are kept of open eyes", before)
	}
	for range 3 { // a blink
		if seen := th.glance(t, lidded(0.07, 0)); seen.Kept || !seen.Withheld || seen.Hint != HintNone {
			t.Errorf("a blink: %+v", seen)
		}
	}
	if seen := th.glance(t, lidded(0.11, 0)); !seen.Kept || !seen.Blinked {
		t.Errorf("after the blink: %+v", seen)
	}
	if n := th.seq.Cues()["blinks"]; n != 1 {
		t.Errorf("%g blinks in the audit, want 1", n)
	}
	for range 50 {
		th.glance(t, lidded(0.11, 0))
	}
	hinted, kept, withheld := time.Duration(0), time.Duration(0), 0
	for i := range 60 {
		seen := th.glance(t, lidded(0.06, 0))
		if seen.Hint == HintOpenEyes && hinted == 0 {
			hinted = time.Duration(i+1) * frame
		}
		if seen.Kept && kept == 0 {
			kept = time.Duration(i+1) * frame
		}
		if seen.Kept && seen.Hint != HintNone {
			t.Errorf("a frame that is kept has the hint %v", seen.Hint)
		}
		if seen.Withheld {
			withheld++
		}
	}
	if hinted < 600*time.Millisecond || hinted > time.Second {
		t.Errorf("the hint came after %v", hinted)
	}
	if kept < 400*time.Millisecond || kept > 700*time.Millisecond || withheld == 0 {
		t.Errorf("whose eyes stay as they are is looked at again after %v, %d frames withheld", kept, withheld)
	}
}

// Eyes are another measure from the side than from before: who looked aside, at the
// finger module or as they were asked to, has open eyes when they look ahead.
func TestEyesOfWhoLookedAside(t *testing.T) {
	for name, aside := range map[string]Face{
		"far":                      lidded(0.20, 60),
		"by a little, a good face": lidded(0.12, 20),
		"the other way":            lidded(0.12, -20),
	} {
		for _, first := range []int{0, 3, 20} { // frames ahead before
			th := newTheatre()
			th.seq.EyesOpen = true
			for range first {
				th.glance(t, lidded(0.083, 3))
			}
			for range 20 {
				th.glance(t, aside)
			}
			before := th.seq.Len()
			for i := range 15 {
				if seen := th.glance(t, lidded(0.083, 3)); seen.Withheld || seen.Hint != HintNone || seen.Blinked {
					t.Errorf("%s, after %d frames: frame %d ahead: %+v", name, first, i, seen)
				}
			}
			if n := th.seq.Len() - before; n < 5 {
				t.Errorf("%s, after %d frames: %d frames of a second are kept, want 5", name, first, n)
			}
		}
	}
}

// Whatever eyes seem to do, it costs nobody any time but who is enrolled, and them half
// a second in three.
func TestEyesCostNoTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	for n := range 10 {
		th := newTheatre()
		th.seq.EyesOpen = n%2 == 0 // whom nobody enrols waits for nothing
		var last, lost time.Time   // of the last frame kept; since when frames are withheld
		for range 12 {             // of laughing, blinking, squinting
			open := 0.05 + 0.08*rng.Float32()
			for range 1 + rng.IntN(20) {
				seen := th.glance(t, lidded(open, 24*rng.Float32()-12))
				switch {
				case seen.Kept:
					most := apart + frame
					if th.seq.EyesOpen {
						most += withholdMost + frame
					}
					if gap := seen.At.Sub(last); !last.IsZero() && gap > most {
						t.Fatalf("%d: nothing is kept for %v", n, gap)
					}
					last = seen.At
				case seen.Withheld:
					if since := seen.At.Sub(lost); since > withholdMost && since < withholdEvery {
						t.Fatalf("%d: withheld again after %v", n, since)
					} else if since >= withholdEvery {
						lost = seen.At
					}
				}
			}
		}
		if last.IsZero() {
			t.Fatalf("%d: nothing was kept", n)
		}
	}
}

// A sheet that is tilted keeps the measure, as one that is nearer or rolled does and a
// face with a finger before the mouth; shut lids do not.
func TestOpenIsOfTheLids(t *testing.T) {
	p := builtIn(t, "faceplugin").Points
	marks := make([]Point, 68)
	rng := rand.New(rand.NewPCG(1, 3))
	for i := range marks {
		marks[i] = Point{float32(rng.Float64()), float32(rng.Float64())}
	}
	set := func(lid float32) {
		for _, eye := range []struct {
			at    int
			outer float32
		}{{36, 100}, {42, 160}} {
			for i, o := range []Point{{0, 0}, {10, -lid}, {20, -lid}, {30, 0}, {20, lid}, {10, lid}} {
				marks[eye.at+i] = Point{eye.outer + o.X, 100 + o.Y}
			}
		}
		marks[48], marks[60], marks[54], marks[64] = Point{115, 169}, Point{118, 169}, Point{175, 169}, Point{172, 169}
	}
	open := func(a, b, c, d float64) float32 { // after an affine map
		moved := make([]Point, len(marks))
		for i, m := range marks {
			x, y := float64(m.X), float64(m.Y)
			moved[i] = Point{float32(a*x + b*y), float32(c*x + d*y)}
		}
		return p.open(moved, p.five(moved))
	}
	set(5)
	want := open(1, 0, 0, 1)
	if want < 0.10 || want > 0.16 {
		t.Fatalf("eyes that are open: %g", want)
	}
	for name, m := range map[string][4]float64{
		"nearer": {2, 0, 0, 2}, "tilted": {1, 0, 0, 0.6}, "rolled": {0.8, -0.6, 0.6, 0.8}, "turned": {0.6, 0, 0, 1},
	} {
		if got := open(m[0], m[1], m[2], m[3]); got < 0.99*want || got > 1.01*want && name != "turned" { // which opens them, and is no blink
			t.Errorf("%s: %g, was %g", name, got, want)
		}
	}
	for _, k := range []int{48, 54, 60, 64} { // a finger before the mouth
		marks[k].Y += 40
	}
	if got := open(1, 0, 0, 1); got < 0.99*want {
		t.Errorf("with the mouth's points down: %g, was %g", got, want)
	}
	set(2)
	if got := open(1, 0, 0, 1); got > 0.5*want {
		t.Errorf("shut: %g, open %g", got, want)
	}
	if got := p.open(make([]Point, 68), [5]Point{}); got != 0 {
		t.Errorf("of points that coincide: %g", got)
	}
}
