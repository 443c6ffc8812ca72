package minutia

import (
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// Windows side by side on one finger make a template that a whole print of it
// has more ground in common with than with any of them, its ridges in phase.
func TestMergedWindowsAreOneWiderFinger(t *testing.T) {
	f := ridge.New(7)
	window := func(seed uint64, x, y, turn float64) *Template {
		w, err := Extract(f.Impression(ridge.ImpressionOptions{
			Seed: seed, Width: 192, Height: 192, OffsetX: x, OffsetY: y, Rotation: turn, Distortion: 0.2,
		}), 500)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	one, two, three := window(1, 0, 0, 0), window(2, 2.5, 1, 0.2), window(3, -2.5, -1.5, -0.2)
	stranger := print1(t, 4, 1)
	merged := Merge(one, two, three, stranger)
	if len(merged) != 2 || merged[1] != stranger {
		t.Fatalf("%d templates, want the three merged and the stranger", len(merged))
	}
	data, err := merged[0].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	wide, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Extract(f.Impression(ridge.ImpressionOptions{Seed: 9, Width: 388, Height: 374}), 500)
	if err != nil {
		t.Fatal(err)
	}
	var m Matcher
	e := m.Compare(Prepare(wide), Prepare(whole))
	for i, w := range []*Template{one, two, three} {
		single := m.Compare(Prepare(w), Prepare(whole))
		if e.Area < 1.25*single.Area || e.Matched <= single.Matched {
			t.Errorf("merged: %.0f patches and %d minutiae in common; window %d alone %.0f and %d", e.Area, e.Matched, i, single.Area, single.Matched)
		}
		if e.Phase < single.Phase-0.2 {
			t.Errorf("merged: ridges in phase by %.2f; window %d alone by %.2f", e.Phase, i, single.Phase)
		}
	}
	if s := m.Match(Prepare(wide), Prepare(stranger)); FMR(s) < 1e-3 {
		t.Errorf("a stranger scores %.2f", s)
	}
}

// What none but one of the impressions saw weighs less than what all saw.
func TestVotesWeighMinutiae(t *testing.T) {
	a := print1(t, 1, 1)
	b := *a
	b.Minutiae = append([]Minutia(nil), a.Minutiae[1:]...) // the clearest is gone
	merged := Merge(a, &b)
	if len(merged) != 1 || len(merged[0].Minutiae) != len(a.Minutiae) {
		t.Fatalf("%d templates of %d minutiae, want one of %d", len(merged), len(merged[0].Minutiae), len(a.Minutiae))
	}
	lost, kept := a.Minutiae[0], a.Minutiae[1]
	for _, m := range merged[0].Minutiae {
		switch {
		case m.X == lost.X && m.Y == lost.Y && m.Quality > lost.Quality/2+1:
			t.Errorf("seen by one of two: quality %d of %d", m.Quality, lost.Quality)
		case m.X == kept.X && m.Y == kept.Y && m.Quality != kept.Quality:
			t.Errorf("seen by both: quality %d, was %d", m.Quality, kept.Quality)
		}
	}
}

// A merged template has the ground of a finger and no more: not the pictures' empty
// sides, nor all that one of many touches saw.
func TestMergedTemplatesKeepWhatTheyNeed(t *testing.T) {
	f := ridge.New(7)
	var ts []*Template
	for i, at := range [][2]int{{500, 500}, {800, 520}, {540, 900}, {860, 860}} {
		finger := f.Impression(ridge.ImpressionOptions{Seed: uint64(i), Width: 300, Height: 300, Distortion: 0.3})
		tm, err := Extract(atEdge(finger, at[0], at[1]), 500)
		if err != nil {
			t.Fatal(err)
		}
		// More than any finger shows, of the lowest quality.
		for n := len(tm.Minutiae); n < maxMinutiae; n++ {
			tm.Minutiae = append(tm.Minutiae, Minutia{X: int16(at[0] - 40 - 2*n), Y: int16(at[1] - 150), Angle: uint8(64 * i)})
		}
		ts = append(ts, tm)
	}
	merged := Merge(ts...)
	if len(merged) != 1 {
		t.Fatalf("%d templates", len(merged))
	}
	tm := merged[0]
	if err := tm.check(); err != nil {
		t.Fatal(err)
	}
	if len(tm.Minutiae) != mergedMinutiae {
		t.Errorf("%d minutiae, want the clearest %d", len(tm.Minutiae), mergedMinutiae)
	}
	used := func(from, to, step int) bool {
		for i := from; i < to; i += step {
			if tm.Ridges.Patches[i].On {
				return true
			}
			for _, m := range tm.Minutiae {
				if int(m.Y)/patchSize*tm.Ridges.Width+int(m.X)/patchSize == i {
					return true
				}
			}
		}
		return false
	}
	n, w := len(tm.Ridges.Patches), tm.Ridges.Width
	if !used(0, w, 1) || !used(n-w, n, 1) || !used(0, n, w) || !used(w-1, n, w) {
		t.Errorf("%d x %d px with an empty side", tm.Width, tm.Height)
	}
	// Where what is common lies is all that changed.
	var m Matcher
	for i, one := range ts {
		if s := m.Match(Prepare(one), Prepare(tm)); FMR(s) > 1e-4 {
			t.Errorf("impression %d scores %.2f with what it is merged into", i, s)
		}
	}
}
