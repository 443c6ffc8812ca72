package minutia

import (
	"errors"
	"image"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/faceprint/faceprint/sensor/ridge"
)

// fingers are grown once for all tests.
var fingers sync.Map

func print1(t testing.TB, finger, touch uint64) *Template {
	t.Helper()
	f, _ := fingers.LoadOrStore(finger, ridge.New(finger))
	r := f.(*ridge.Finger)
	tm, err := Extract(r.Impression(r.Touch(touch, 0.5)), 500)
	if err != nil {
		t.Fatalf("finger %d touch %d: %v", finger, touch, err)
	}
	return tm
}

func TestSameFingerScoresAboveAnother(t *testing.T) {
	var m Matcher
	for f := range uint64(4) {
		a, b := Prepare(print1(t, f, 1)), Prepare(print1(t, f, 2))
		other := Prepare(print1(t, f+10, 1))
		if same, diff := m.Match(a, b), m.Match(a, other); same <= diff {
			t.Errorf("finger %d: itself %.2f, another %.2f", f, same, diff)
		}
	}
}

func TestImpossiblePictures(t *testing.T) {
	img := ridge.New(1).Impression(ridge.ImpressionOptions{Width: 40, Height: 40})
	for _, dpi := range []float64{0, -500, 20, 100000} {
		if _, err := Extract(img, dpi); !errors.Is(err, ErrPicture) {
			t.Errorf("%g dpi: %v", dpi, err)
		}
	}
	if _, err := Extract(nil, 500); !errors.Is(err, ErrPicture) {
		t.Errorf("no picture: %v", err)
	}
	if _, err := Extract(img, 500); !errors.Is(err, ErrPicture) {
		t.Errorf("40 x 40 px: %v", err)
	}
}

// atEdge is a finger in the bottom right corner of a white picture.
func atEdge(finger *image.Gray, w, h int) *image.Gray {
	x0, y0 := w-finger.Rect.Dx(), h-finger.Rect.Dy()
	return drawn(w, h, func(x, y int) float64 {
		if x < x0 || y < y0 {
			return 255
		}
		return float64(finger.GrayAt(x-x0, y-y0).Y)
	})
}

// What is taken is compared and kept, up to the largest picture of every
// resolution: those next to 500 dpi are not resampled.
func TestTheLargestPictures(t *testing.T) {
	finger := ridge.New(1).Impression(ridge.ImpressionOptions{Width: 300, Height: 300})
	var m Matcher
	for _, dpi := range []float64{488, 508, 512.4, 550} {
		for _, wide := range []bool{true, false} {
			size := func(n int) (int, int) {
				if wide {
					return n, 300
				}
				return 300, n
			}
			taken := 0
			for n := 1780; n >= 1500; n-- {
				w, h := size(n)
				if checkPicture(&image.Gray{Rect: image.Rect(0, 0, w, h)}, dpi) == nil {
					taken = n
					break
				}
			}
			w, h := size(taken)
			tm, err := Extract(atEdge(finger, w, h), dpi)
			if err != nil {
				t.Errorf("%d x %d px at %g dpi: %v", w, h, dpi, err)
				continue
			}
			p := Prepare(tm)
			if s := m.Match(p, p); FMR(s) > 1e-4 {
				t.Errorf("%d x %d px at %g dpi: scores %.2f with itself", w, h, dpi, s)
			}
			data, err := tm.MarshalBinary()
			if err != nil {
				t.Errorf("%d x %d px at %g dpi: %v", w, h, dpi, err)
				continue
			}
			if _, err := Decode(data); err != nil {
				t.Errorf("%d x %d px at %g dpi: %v", w, h, dpi, err)
			}
			if len(Merge(tm, tm)) != 1 {
				t.Errorf("%d x %d px at %g dpi: not merged with itself", w, h, dpi)
			}
		}
	}
}

// A template of a size that none can have matches nothing.
func TestImpossibleTemplatesNeverMatch(t *testing.T) {
	finger := print1(t, 1, 1)
	own := Prepare(finger)
	var m Matcher
	for name, spoil := range map[string]func(*Template){
		"too wide": func(tm *Template) {
			tm.Width, tm.Ridges = 3200, Ridges{200, 1, make([]Patch, 200)}
			tm.Ridges.Patches[199].On = true
		},
		"missing patches": func(tm *Template) { tm.Ridges.Patches = tm.Ridges.Patches[:9] },
		"of no height":    func(tm *Template) { tm.Height = -1 },
		"other patches": func(tm *Template) {
			tm.Ridges.Width--
			tm.Ridges.Patches = tm.Ridges.Patches[:tm.Ridges.Width*tm.Ridges.Height]
		},
	} {
		bad := *finger
		spoil(&bad)
		p := Prepare(&bad)
		if s := max(m.Match(p, p), m.Match(p, own), m.Match(own, p)); FMR(s) != 1 {
			t.Errorf("%s: scores %.2f", name, s)
		}
	}
}

// What is written is read again, and as it was: all else is refused where it is
// made.
func TestOnlyWhatIsReadAgainIsWritten(t *testing.T) {
	finger := print1(t, 1, 1)
	on := slices.IndexFunc(finger.Ridges.Patches, func(p Patch) bool { return p.On })
	off := slices.IndexFunc(finger.Ridges.Patches, func(p Patch) bool { return !p.On })
	for name, spoil := range map[string]func(*Template){
		"no patches":          func(tm *Template) { tm.Ridges = Ridges{} },
		"fewer patches":       func(tm *Template) { tm.Ridges.Height--; tm.Ridges.Patches = tm.Ridges.Patches[tm.Ridges.Width:] },
		"too wide":            func(tm *Template) { tm.Width = 1601 },
		"of quality 101":      func(tm *Template) { tm.Quality = 101 },
		"direction 64":        func(tm *Template) { tm.Ridges.Patches[on].Direction = patchDirections },
		"period 16":           func(tm *Template) { tm.Ridges.Patches[on].Period = patchPeriods },
		"phase 32":            func(tm *Template) { tm.Ridges.Patches[on].Phase = patchPhases },
		"a wave off the area": func(tm *Template) { tm.Ridges.Patches[off].Phase = 1 },
		"of quality 16":       func(tm *Template) { tm.Minutiae[0].Quality = 16 },
		"of kind 3":           func(tm *Template) { tm.Minutiae[0].Kind = 3 },
		"off the picture":     func(tm *Template) { tm.Minutiae[0].X = int16(tm.Width) },
		"in another order":    func(tm *Template) { slices.Reverse(tm.Minutiae) },
		"twice":               func(tm *Template) { tm.Minutiae = slices.Insert(tm.Minutiae, 1, tm.Minutiae[0]) },
	} {
		bad := *finger
		bad.Minutiae, bad.Ridges.Patches = slices.Clone(finger.Minutiae), slices.Clone(finger.Ridges.Patches)
		spoil(&bad)
		if data, err := bad.MarshalBinary(); !errors.Is(err, ErrTemplate) {
			_, err := Decode(data)
			t.Errorf("%s: written; read again: %v", name, err)
		}
	}
	data, err := finger.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Decode(data); err != nil || !reflect.DeepEqual(again, finger) {
		t.Errorf("comes back as another: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := print1(f, 1, 1).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tm, err := Decode(b)
		if err != nil {
			return
		}
		again, err := tm.MarshalBinary()
		if err != nil || string(again) != string(b) {
			t.Fatalf("accepted %d bytes that it would not write: %v", len(b), err)
		}
	})
}

// A comparison allocates nothing once the matcher has grown: searches make thousands.
func TestMatchAllocatesNothing(t *testing.T) {
	own, same, other := Prepare(print1(t, 1, 1)), Prepare(print1(t, 1, 2)), Prepare(print1(t, 2, 1))
	var m Matcher
	if n := testing.AllocsPerRun(20, func() {
		m.Match(own, same)
		m.Match(own, other)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkExtract(b *testing.B) {
	f := ridge.New(1)
	img := f.Impression(ridge.ImpressionOptions{Width: 388, Height: 374})
	for b.Loop() {
		if _, err := Extract(img, 500); err != nil {
			b.Fatal(err)
		}
	}
}

// Strangers, as almost all comparisons of a search are.
func BenchmarkMatch(b *testing.B) {
	var all []*Prepared
	for f := range uint64(8) {
		all = append(all, Prepare(print1(b, f, 1)))
	}
	var m Matcher
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Match(all[i%8], all[(i/8%7+1+i%8)%8])
	}
}

// A search among 100,000 strangers. They are eight again and again, but what the
// first stage reads of them is as large as that of so many.
func BenchmarkSearch(b *testing.B) {
	var gallery []*Prepared
	for f := range uint64(8) {
		gallery = append(gallery, Prepare(print1(b, f, 1)))
	}
	for len(gallery) < 100_000 {
		gallery = append(gallery, gallery[:min(len(gallery), 100_000-len(gallery))]...)
	}
	probe, g := Prepare(print1(b, 20, 1)), NewGallery(gallery)
	var m Matcher
	m.Search(probe, g)
	b.ReportAllocs()
	for b.Loop() {
		m.Search(probe, g)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(gallery)), "ns/finger")
}

// Whoever is in the gallery is found, by the impression that scores best of all.
func TestSearchFindsWhatComparingAllFinds(t *testing.T) {
	var gallery []*Prepared
	for f := range uint64(30) {
		gallery = append(gallery, Prepare(print1(t, f, 1)))
	}
	var m Matcher
	for f := uint64(0); f < 30; f += 8 {
		probe := Prepare(print1(t, f, 2))
		at, score := m.Search(probe, NewGallery(gallery))
		best, top := -1, NoScore
		for i, g := range gallery {
			if s := m.Match(probe, g); s > top {
				best, top = i, s
			}
		}
		if at != best || score != top || at != int(f) {
			t.Errorf("finger %d: found %d (%.2f), comparing all finds %d (%.2f)", f, at, score, best, top)
		}
	}
	// Records of minutiae alone have nothing that could rank them.
	var records []*Prepared
	for f := range uint64(30) {
		records = append(records, Prepare(exchanged(t, print1(t, f, 1))))
	}
	probe := Prepare(exchanged(t, print1(t, 29, 2)))
	best, top := -1, NoScore
	for i, g := range records {
		if s := m.Match(probe, g); s > top {
			best, top = i, s
		}
	}
	if at, score := m.Search(probe, NewGallery(records)); at != best || score != top {
		t.Errorf("records: found %d (%.2f), comparing all finds %d (%.2f)", at, score, best, top)
	}
	if at, score := m.Search(gallery[0], NewGallery(nil)); at != -1 || FMR(score) != 1 {
		t.Errorf("found %d in nothing", at)
	}
}
