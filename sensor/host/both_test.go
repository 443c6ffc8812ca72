package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/faceprint/faceprint/sensor"
)

// module is a pad that compares as well: as it was told to.
type module struct {
	pad
	merges int // captures
	size   int // of templates, 0 for any
	says   func(template []byte) (float64, error)
}

func (m *module) Family() string { return "r307" }

func (m *module) Fits(template []byte) bool { return m.size == 0 || len(template) == m.size }

func (m *module) Match(_ context.Context, _ sensor.Print, template []byte) (float64, error) {
	return m.says(template)
}

func (m *module) Same(_ context.Context, template []byte, others [][]byte, _ *sensor.Check) (int, error) {
	return slices.IndexFunc(others, func(o []byte) bool { return bytes.Equal(o, template) }), nil
}

func (m *module) EnrolSeen(ctx context.Context, _ int, progress func(sensor.EnrolStep), see func(int, sensor.Picture) error) ([]byte, error) {
	first := byte(m.touches[0].Pix[128*256+128])
	for done := 0; done < m.merges; {
		_, p, err := m.See(ctx)
		if err != nil {
			return nil, err
		}
		err = see(done, p)
		hint := (*sensor.RetryError)(nil)
		switch {
		case errors.As(err, &hint):
			progress(sensor.EnrolStep{Done: done, Of: m.merges, Hint: hint.Hint})
		case err != nil:
			return nil, err
		default:
			done++
			progress(sensor.EnrolStep{Done: done, Of: m.merges, Hint: sensor.HintLift})
		}
	}
	progress(sensor.EnrolStep{Done: m.merges, Of: m.merges})
	return bytes.Repeat([]byte{1, first}, 256), nil
}

// bothEnrolled has a template of finger 1, which the module agrees to everything.
func bothEnrolled(t testing.TB) (*module, *Both, []byte) {
	t.Helper()
	m := &module{pad: pad{width: 256, height: 288}, merges: 2, says: func([]byte) (float64, error) { return 100, nil }}
	b := NewBoth(m)
	for i := range uint64(4) {
		m.touch(1, i)
	}
	template, err := b.Enrol(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, b, template
}

// try lays a finger on the sensor and compares it.
func (m *module) try(t *testing.T, b *Both, finger, impression uint64, template []byte) (float64, error) {
	t.Helper()
	m.touch(finger, impression)
	print, err := b.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b.Match(t.Context(), print, template)
}

func TestBothMustAgree(t *testing.T) {
	m, b, template := bothEnrolled(t)
	if score, err := m.try(t, b, 1, 100, template); err != nil || b.FMR(score) > 1e-4 {
		t.Errorf("both say yes: %g, %v", score, err)
	}
	m.says = func([]byte) (float64, error) { return 0, nil }
	if score, err := m.try(t, b, 1, 101, template); err != nil || score != 0 || b.FMR(score) != 1 {
		t.Errorf("the module says no: %g, %v", score, err)
	}
	if score, err := m.try(t, b, 2, 102, template); err != nil || score != 0 {
		t.Errorf("both say no: %g, %v", score, err)
	}
	attack := &sensor.AttackError{Kind: sensor.AttackDecoy}
	m.says = func([]byte) (float64, error) { return 0, attack }
	if score, err := m.try(t, b, 1, 103, template); !errors.Is(err, attack) || score != 0 {
		t.Errorf("a decoy matched: %g, %v", score, err)
	}
}

// A yes that does not fit the picture is refused, and the third in a row is an
// attack: of one person's template, whatever honest yes comes between, and of all.
func TestMisfitsAreAnAttack(t *testing.T) {
	m, b, template := bothEnrolled(t)
	for i := range uint64(2) {
		m.touch(4, i)
		m.touch(4, 2+i)
	}
	other, err := b.Enrol(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var attack *sensor.AttackError
	misfit := func(finger, impression uint64, template []byte, want bool) {
		t.Helper()
		score, err := m.try(t, b, finger, impression, template)
		if score != 0 || errors.As(err, &attack) != want || !want && !errors.Is(err, sensor.ErrDoubt) {
			t.Errorf("%g, %v", score, err)
		}
		if want && attack.Kind != sensor.AttackMisfit {
			t.Errorf("%v", attack)
		}
	}
	fit := func(finger, impression uint64, template []byte) {
		t.Helper()
		if score, err := m.try(t, b, finger, impression, template); err != nil || !(score > 0) {
			t.Errorf("an honest scan: %g, %v", score, err)
		}
	}
	misfit(2, 1, template, false)
	fit(4, 10, other)
	misfit(2, 2, template, false)
	fit(4, 11, other)
	misfit(2, 3, template, true)

	misfit(2, 4, template, false)
	misfit(2, 5, other, false)
	misfit(3, 6, template, true)

	misfit(2, 7, template, false)
	misfit(2, 8, template, false)
	fit(1, 12, template)
	misfit(2, 9, template, false)
	fit(1, 13, template)
}

func TestBothIdentify(t *testing.T) {
	m, b, first := bothEnrolled(t)
	for i := range uint64(4) {
		m.touch(4, i)
	}
	second, err := b.Enrol(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	m.says = func([]byte) (float64, error) { asked++; return 7, nil }
	for finger, want := range map[uint64]int{1: 0, 4: 1, 2: -1} {
		asked = 0
		m.touch(finger, 50)
		print, err := b.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at, score, err := b.Identify(t.Context(), print, [][]byte{first, second})
		if err != nil || at != want || (score > 0) != (want >= 0) || asked > 1 {
			t.Errorf("finger %d is %d with %g, %v; the module was asked %d times", finger, at, score, err, asked)
		}
	}
	m.says = func([]byte) (float64, error) { return 0, nil }
	m.touch(1, 51)
	print, err := b.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if at, _, err := b.Identify(t.Context(), print, [][]byte{first, second}); err != nil || at != -1 {
		t.Errorf("the module says no: %d, %v", at, err)
	}
}

// Where the module merges fewer captures than the host wants, the host goes on;
// what the host cannot use is asked for again, of the module as well.
func TestBothEnrol(t *testing.T) {
	m := &module{pad: pad{width: 256, height: 288}, merges: 2}
	b := NewBoth(m)
	m.touch(1, 0)
	m.touch(2, 0) // another finger
	for i := range uint64(4) {
		m.touch(1, 1+i)
	}
	var steps []sensor.EnrolStep
	template, err := b.Enrol(t.Context(), 0, func(s sensor.EnrolStep) { steps = append(steps, s) })
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours, err := split(template)
	if err != nil || len(theirs) != 512 {
		t.Errorf("%d bytes of the module's, %v", len(theirs), err)
	}
	if seen, err := unmarshal(ours); err != nil || len(seen) != 1 { // merged
		t.Errorf("%d impressions, %v", len(seen), err)
	}
	ends := 0
	for i, s := range steps {
		if s.Of != Captures {
			t.Errorf("step %d is %+v", i, s)
		}
		if s.Hint == "" {
			ends++
		}
	}
	if !slices.ContainsFunc(steps, func(s sensor.EnrolStep) bool { return s.Hint == sensor.HintSame }) || ends != 1 {
		t.Errorf("the steps were %+v", steps)
	}
	if at, err := b.Same(t.Context(), template, [][]byte{template}, new(sensor.Check)); err != nil || at != 0 {
		t.Errorf("the same finger: %d, %v", at, err)
	}
	if b.Family() != "r307+"+Family {
		t.Error(b.Family())
	}
}

func FuzzBothTemplate(f *testing.F) {
	_, _, template := bothEnrolled(f)
	f.Add(template)
	f.Add([]byte{bothVersion, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		theirs, ours, err := split(b)
		if err != nil {
			if !errors.Is(err, sensor.ErrTemplate) {
				t.Error(err)
			}
			return
		}
		if again := join(theirs, ours); !bytes.Equal(again, b) {
			t.Errorf("read %x, would write %x", b, again)
		}
	})
}

// How often an honest scan, and how often another's, is taken for one that does
// not fit, where the window is small. More fingers by FACEPRINT_FINGERS.
func TestMisfitsOfHonestScans(t *testing.T) {
	n := uint64(4)
	if text := os.Getenv("FACEPRINT_FINGERS"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 16); err != nil || n < 2 {
			t.Fatalf("FACEPRINT_FINGERS=%q", text)
		}
	}
	const merges, scans = 6, 3 // an R503's
	p := &pad{width: 192, height: 192}
	r := New(p)
	var enrolled [][]byte
	for finger := range n {
		for i := range uint64(merges) {
			p.touch(finger, i)
		}
		template, err := r.Enrol(t.Context(), merges, nil)
		if hint := (*sensor.RetryError)(nil); errors.As(err, &hint) {
			template, err = nil, nil // captures that did not come out: nobody's
			p.touches = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		enrolled = append(enrolled, template)
	}
	var honest, others, honestMisfits, otherMisfits int
	for finger := range n {
		for i := range uint64(scans) {
			p.touch(finger, 100+i)
			print, err := r.Scan(t.Context())
			if hint := (*sensor.RetryError)(nil); errors.As(err, &hint) {
				continue // asked for again
			}
			if err != nil {
				t.Fatal(err)
			}
			for of, template := range enrolled {
				if template == nil {
					continue
				}
				score, err := r.Match(t.Context(), print, template)
				if err != nil {
					t.Fatal(err)
				}
				misfit := r.FMR(score) > misfitFMR
				if uint64(of) == finger {
					honest++
					if misfit {
						honestMisfits++
					}
				} else {
					others++
					if misfit {
						otherMisfits++
					}
				}
			}
		}
	}
	t.Logf("%d fingers: %d of %d honest scans do not fit, %d of %d of others do not", n, honestMisfits, honest, otherMisfits, others)
	if honest == 0 || 20*honestMisfits > honest || 10*otherMisfits < 8*others {
		t.Errorf("%d of %d honest scans do not fit, %d of %d of others do not", honestMisfits, honest, otherMisfits, others)
	}
}

// The module is asked about a duplicate only where the host may be mistaken: each
// question takes it a second, and there may be hundreds.
func TestDuplicatesAreLookedForOnTheHostFirst(t *testing.T) {
	m, b, template := bothEnrolled(t)
	for i := range uint64(4) {
		m.touch(2, i)
	}
	other, err := b.Enrol(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := split(template)
	if err != nil {
		t.Fatal(err)
	}
	_, ours, err := split(other)
	if err != nil {
		t.Fatal(err)
	}
	// The module would take it for the same finger, whose picture is another's.
	if at, err := b.Same(t.Context(), template, [][]byte{join(theirs, ours)}, new(sensor.Check)); err != nil || at != -1 {
		t.Errorf("another finger for the host: %d, %v", at, err)
	}
	if at, err := b.Same(t.Context(), template, [][]byte{other, template}, new(sensor.Check)); err != nil || at != 1 {
		t.Errorf("the same finger: %d, %v", at, err)
	}
}
