package main

import (
	"testing"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// A picture that its own finger does not match makes errors until it is
// refused, and its quality says that it goes first.
func TestRejectionsFollowQuality(t *testing.T) {
	read := func(f *ridge.Finger, finger int, o ridge.ImpressionOptions) fingerPicture {
		p := fingerPicture{finger: finger}
		if p.template, p.err = minutia.Extract(f.Impression(o), 500); p.err != nil {
			t.Fatal(p.err)
		}
		p.prepared = minutia.Prepare(p.template)
		return p
	}
	own, other := ridge.New(60), ridge.New(61)
	var pics []fingerPicture
	for touch := range uint64(4) {
		pics = append(pics, read(own, 0, ridge.ImpressionOptions{Seed: touch, Width: 300, Height: 300}))
	}
	// The fifth is dry, at the sensor's edge, and another's: no match of any.
	pics = append(pics, read(other, 0, ridge.ImpressionOptions{
		Width: 300, Height: 300, Dryness: 1, Noise: 1, OffsetX: 7, OffsetY: 7,
	}))
	got := rejections(pics)
	if len(got) != 5 {
		t.Fatalf("%d steps, want 5", len(got))
	}
	if all, fifth := got[0], got[3]; all.FNMR != 40 || fifth.FNMR != 0 || fifth.Below <= all.Below {
		t.Errorf("nothing refused: FNMR %.1f, quality %d; a fifth refused: %.1f, %d", all.FNMR, all.Below, fifth.FNMR, fifth.Below)
	}
}
