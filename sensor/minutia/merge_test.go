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
