package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// pad is a sensor on which fingers are laid one after the other.
type pad struct {
	width, height int
	touches       []sensor.Picture
	lifts         int
}

func (p *pad) See(context.Context) (sensor.Print, sensor.Picture, error) {
	if len(p.touches) == 0 {
		return sensor.Print{}, sensor.Picture{}, &sensor.RetryError{Hint: sensor.HintNoFinger}
	}
	pic := p.touches[0]
	p.touches = p.touches[1:]
	return sensor.Print{}, pic, nil
}

func (p *pad) Lifted(context.Context) error { p.lifts++; return nil }

// fingers that were grown; that takes longer than anything else here.
var fingers = map[uint64]*ridge.Finger{}

func (p *pad) touch(finger, impression uint64) {
	if fingers[finger] == nil {
		fingers[finger] = ridge.New(finger)
	}
	i := fingers[finger].Impression(ridge.ImpressionOptions{Seed: impression, Width: p.width, Height: p.height, Coarse: true})
	p.touches = append(p.touches, sensor.Picture{Width: p.width, Height: p.height, Pix: i.Pix})
}

func (p *pad) show(pic sensor.Picture) { p.touches = append(p.touches, pic) }

// enrolled is a pad of an optical unit with a template of finger 1.
func enrolled(t testing.TB) (*pad, *Reader, []byte) {
	t.Helper()
	p := &pad{width: 256, height: 288}
	r := New(p)
	for i := range uint64(4) {
		p.touch(1, i)
	}
	template, err := r.Enrol(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, r, template
}

func TestTheSameFingerMatchesAndNoOther(t *testing.T) {
	p, r, template := enrolled(t)
	if p.lifts != 4 {
		t.Errorf("the finger was lifted %d times", p.lifts)
	}
	for finger := uint64(1); finger < 4; finger++ {
		p.touch(finger, 100+finger)
		print, err := r.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		score, err := r.Match(t.Context(), print, template)
		if fmr := r.FMR(score); err != nil || (fmr <= 1e-4) != (finger == 1) {
			t.Errorf("finger %d: score %g, FMR %g, %v", finger, score, fmr, err)
		}
	}
}

func TestEnrolmentAsksAgain(t *testing.T) {
	p := &pad{width: 256, height: 288}
	p.touch(1, 0)
	p.show(sensor.Picture{Width: 256, Height: 288, Pix: make([]byte, 256*288)}) // nothing but black
	p.touch(2, 0)                                                               // another finger
	p.touch(1, 1)
	var hints []sensor.Hint
	template, err := New(p).Enrol(t.Context(), 2, func(s sensor.EnrolStep) {
		if s.Hint != sensor.HintNoFinger && s.Hint != sensor.HintLift && s.Hint != "" {
			hints = append(hints, s.Hint)
		}
	})
	if err != nil || len(hints) != 2 || hints[0] != sensor.HintAgain || hints[1] != sensor.HintSame {
		t.Errorf("hints %v, %v", hints, err)
	}
	if ts, err := unmarshal(template); err != nil || len(ts) != 1 { // merged
		t.Errorf("%d impressions, %v", len(ts), err)
	}
}

// A template is only as good as its impressions: one whose ridges are hardly clear is
// taken again. A finger that has no better is enrolled all the same.
func TestEnrolmentAsksForClearImpressions(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 1))
	i := ridge.New(1).Impression(ridge.ImpressionOptions{Width: 192, Height: 192, DPI: dpi})
	for k, g := range i.Pix {
		i.Pix[k] = uint8(min(max(float64(g)+150*noise.NormFloat64(), 0), 255))
	}
	poor := func() sensor.Picture { // wiped once it was read
		return sensor.Picture{Width: 192, Height: 192, Pix: slices.Clone(i.Pix)}
	}
	if tm, err := read(poor()); err != nil || tm.Quality >= poorQuality {
		t.Fatalf("it is no poor picture: %v", err)
	}
	p := &pad{width: 192, height: 192}
	enrol := func() (hints []sensor.Hint, seen int) {
		_, err := New(p).Enrol(t.Context(), 2, func(s sensor.EnrolStep) {
			switch s.Hint {
			case sensor.HintNoFinger, sensor.HintLift, "":
			default:
				hints = append(hints, s.Hint)
			}
			if s.Coverage != nil {
				seen++
			}
		})
		if err != nil {
			t.Error(err)
		}
		return hints, seen
	}
	p.touch(1, 0)
	p.show(poor())
	p.touch(1, 1)
	if hints, seen := enrol(); !slices.Equal(hints, []sensor.Hint{sensor.HintClean}) || seen != 2 {
		t.Errorf("one of three is poor: %v, %d taken", hints, seen)
	}
	for range 4 {
		p.show(poor())
	}
	if hints, seen := enrol(); !slices.Equal(hints, []sensor.Hint{sensor.HintClean, sensor.HintClean}) || seen != 2 {
		t.Errorf("none is better: %v, %d taken", hints, seen)
	}
}

func TestWhatIsNoFingerIsAskedForAgain(t *testing.T) {
	p := &pad{}
	r := New(p)
	blank := sensor.Picture{Width: 192, Height: 192, Pix: make([]byte, 192*192)}
	for i := range blank.Pix {
		blank.Pix[i] = 255
	}
	p.show(blank)
	retry := (*sensor.RetryError)(nil)
	if _, err := r.Scan(t.Context()); !errors.As(err, &retry) || retry.Hint != sensor.HintAgain {
		t.Errorf("blank: %v", err)
	}
	p.show(sensor.Picture{Width: 192, Height: 192, Pix: make([]byte, 7)})
	if _, err := r.Scan(t.Context()); !errors.Is(err, sensor.ErrProtocol) {
		t.Errorf("pixels are missing: %v", err)
	}
	if _, err := r.Scan(t.Context()); !errors.As(err, &retry) || retry.Hint != sensor.HintNoFinger {
		t.Errorf("nothing: %v", err)
	}
}

func TestWithoutAScanNothingMatches(t *testing.T) {
	_, r, template := enrolled(t)
	if score, err := r.Match(t.Context(), sensor.Print{}, template); !errors.Is(err, sensor.ErrStale) || score != 0 {
		t.Errorf("%g, %v", score, err)
	}
}

func TestSameFindsTheFinger(t *testing.T) {
	p, r, first := enrolled(t)
	other := func(finger uint64) []byte {
		p.touch(finger, 7)
		p.touch(finger, 8)
		b, err := r.Enrol(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	second, again := other(2), other(1)
	if at, err := r.Same(t.Context(), again, [][]byte{second, first}, new(sensor.Check)); err != nil || at != 1 {
		t.Errorf("the same finger: %d, %v", at, err)
	}
	if at, err := r.Same(t.Context(), other(3), [][]byte{second, first}, new(sensor.Check)); err != nil || at != -1 {
		t.Errorf("another finger: %d, %v", at, err)
	}
}

func TestDamagedTemplatesAreRefused(t *testing.T) {
	p, r, template := enrolled(t)
	p.touch(1, 9)
	print, err := r.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "a version of later": append([]byte{2}, template[1:]...), "none": {version, 0}, "nine": {version, 9},
		"cut": template[:len(template)-1], "more": append(append([]byte{}, template...), 0),
	} {
		if score, err := r.Match(t.Context(), print, b); !errors.Is(err, sensor.ErrTemplate) || score != 0 {
			t.Errorf("%s: %g, %v", name, score, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	_, _, template := enrolled(f)
	f.Add(template)
	f.Add([]byte{version, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, err := unmarshal(b)
		if err != nil {
			return
		}
		again, err := marshal(ts)
		if err != nil || string(again) != string(b) {
			t.Errorf("read %x, would write %x (%v)", b, again, err)
		}
	})
}

// grow enrols a finger by touches of it, moved by some mm each.
func (p *pad) grow(t *testing.T, r *Reader, finger uint64, moved ...float64) []byte {
	t.Helper()
	fingers[finger] = ridge.New(finger)
	for i, x := range moved {
		img := fingers[finger].Impression(ridge.ImpressionOptions{Seed: uint64(i), Width: p.width, Height: p.height, OffsetX: x, Coarse: true})
		p.touches = append(p.touches, sensor.Picture{Width: p.width, Height: p.height, Pix: img.Pix})
	}
	b, err := r.Enrol(t.Context(), len(moved), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Everybody is told apart from all others at the rate that is shipped, 1e-4: of a
// hundred people it is the chance of any of them.
func TestIdentifyAmongMany(t *testing.T) {
	p, r, first := enrolled(t)
	templates := [][]byte{p.grow(t, r, 2, 0, 0, 0, 0), first, p.grow(t, r, 4, 0, 0, 0, 0)}
	for finger, want := range map[uint64]int{2: 0, 1: 1, 4: 2, 3: -1} {
		p.touch(finger, 60)
		print, err := r.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at, score, err := r.Identify(t.Context(), print, templates)
		sure := r.FMR(score)*100 <= 1e-4
		if err != nil || sure != (want >= 0) || sure && at != want {
			t.Errorf("finger %d is %d with score %g, %v", finger, at, score, err)
		}
	}
	if at, score, err := r.Identify(t.Context(), r.last, nil); at != -1 || score != 0 || err != nil {
		t.Errorf("of none it is %d, %g, %v", at, score, err)
	}
	if _, _, err := r.Identify(t.Context(), r.last, [][]byte{first, {version, 0}}); !errors.Is(err, sensor.ErrTemplate) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if at, _, err := r.Identify(ctx, r.last, templates); at != -1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", at, err)
	}
}

// The table goes as far as a site of some hundred people needs.
func TestReach(t *testing.T) {
	if got := Reach(500); got > 1e-4 {
		t.Errorf("among 500 fingers none is believed below %g", got)
	}
	if Reach(1) <= 0 || Reach(2) != 2*Reach(1) || Reach(1<<62) != 1 {
		t.Errorf("%g %g %g", Reach(1), Reach(2), Reach(1<<62))
	}
}

// Many impressions and many people are many chances to be mistaken; a finger that
// is enrolled twice is found all the same, and says which.
func TestSameAmongManyImpressions(t *testing.T) {
	p, r, _ := enrolled(t)
	eight := make([]float64, maxImpressions)
	old, again, other := p.grow(t, r, 1, eight...), p.grow(t, r, 1, eight...), p.grow(t, r, 2, 0)
	others := [][]byte{other, old}
	if at, err := r.Same(t.Context(), again, others, new(sensor.Check)); err != nil || at != 1 {
		t.Errorf("%d, %v", at, err)
	}
}

// An enrolment tells what it saw, in the host's mode as well, and when it is
// enough: not while every touch shows another part.
func TestEnrolmentTellsCoverage(t *testing.T) {
	p := &pad{width: 192, height: 192}
	r := New(p)
	var got []sensor.Coverage
	enrol := func(moved ...float64) []sensor.Coverage {
		got = nil
		for i, x := range moved {
			if fingers[1] == nil {
				fingers[1] = ridge.New(1)
			}
			img := fingers[1].Impression(ridge.ImpressionOptions{Seed: uint64(i), Width: 192, Height: 192, DPI: dpi, OffsetX: x, Coarse: true})
			p.show(sensor.Picture{Width: 192, Height: 192, Pix: img.Pix})
		}
		if _, err := r.Enrol(t.Context(), len(moved), func(s sensor.EnrolStep) {
			if s.Coverage != nil {
				got = append(got, *s.Coverage)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	still := enrol(0, 0, 0)
	if len(still) != 3 || still[0].Overlap != 0 || still[0].Enough || still[0].Seen != still[0].Area ||
		still[2].Overlap < 90 || !still[2].Enough || still[2].Seen > still[0].Seen+15 {
		t.Errorf("at one place: %+v", still)
	}
	// 4 mm of a window of 9.6 mm are 42 % of it.
	moved := enrol(-2, 2)
	if len(moved) != 2 || moved[1].Overlap < 45 || moved[1].Overlap > 72 || moved[1].Enough ||
		moved[1].Seen < moved[0].Area+20 {
		t.Errorf("moved by 4 mm: %+v", moved)
	}
}
