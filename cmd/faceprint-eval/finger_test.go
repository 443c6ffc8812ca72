package main

import (
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

func TestDET(t *testing.T) {
	for _, c := range []struct {
		name              string
		genuine, impostor []float64
		eer, f10, zero    float64
	}{
		{"apart", []float64{3, 4}, []float64{1, 2}, 0, 0, 0},
		{"swapped", []float64{1, 2}, []float64{3, 4}, 75, 100, 100},
		{"one in ten", []float64{0, 5, 5, 5, 5, 5, 5, 5, 5, 5}, []float64{6, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 10, 10, 100},
		{"a failure is a non-match", []float64{math.Inf(-1), 5}, []float64{math.Inf(-1), 1}, 50, 50, 50},
		{"ties are matches", []float64{2, 2}, []float64{2, 1}, 25, 100, 100},
	} {
		d := newDET(c.genuine, c.impostor)
		if got := d.eer(); got != c.eer {
			t.Errorf("%s: EER %g, want %g", c.name, got, c.eer)
		}
		if got := d.fnmrAt(10); got != c.f10 {
			t.Errorf("%s: FNMR at FMR 1/10 %g, want %g", c.name, got, c.f10)
		}
		if got := d.fnmrAt(0); got != c.zero {
			t.Errorf("%s: ZeroFMR %g, want %g", c.name, got, c.zero)
		}
	}
}

// The template's size is that of what is kept of a finger: of one picture, or of
// those that are enrolled.
func TestTheTemplatesSizeIsOfWhatIsEnrolled(t *testing.T) {
	dir := t.TempDir()
	var single, merged, apart float64
	for f := range uint64(2) {
		var ts []*minutia.Template
		finger := ridge.New(f + 1)
		for touch := range uint64(3) {
			img := finger.Impression(finger.Touch(touch, 0.3))
			out, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d_%d.png", f, touch)))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(out, img); err != nil {
				t.Fatal(err)
			}
			out.Close()
			tm, err := minutia.Extract(img, 500)
			if err != nil {
				t.Fatal(err)
			}
			ts = append(ts, tm)
		}
		size := func(ts ...*minutia.Template) (n float64) {
			for _, tm := range ts {
				data, err := tm.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				n += float64(len(data))
			}
			return n
		}
		single += size(ts...) / 6
		merged += size(minutia.Merge(ts[:2]...)...) / 2
		apart += size(ts[:2]...) / 2
	}
	for _, c := range []struct {
		o    fingerOptions
		want float64
	}{
		{fingerOptions{}, single},
		{fingerOptions{enroll: 2}, merged},
		{fingerOptions{enroll: 2, apart: true}, apart},
	} {
		c.o.dir, c.o.dpi, c.o.jobs = dir, 500, 1
		r, _, err := evaluateFingers(c.o)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.TemplateBytes-c.want) > 0.01 {
			t.Errorf("--enroll %d: %.1f bytes, want %.1f", c.o.enroll, r.TemplateBytes, c.want)
		}
	}
}
