package host

import (
	"context"
	"errors"
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
	if ts, err := unmarshal(template); err != nil || len(ts) != 2 {
		t.Errorf("%d impressions, %v", len(ts), err)
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
	if at, err := r.Same(t.Context(), again, [][]byte{second, first}); err != nil || at != 1 {
		t.Errorf("the same finger: %d, %v", at, err)
	}
	if at, err := r.Same(t.Context(), other(3), [][]byte{second, first}); err != nil || at != -1 {
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
