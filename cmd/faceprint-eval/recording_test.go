package main

import (
	"math"
	"testing"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// poses of a clip of thirty seconds at 15 frames a second.
func clipPoses(yaw func(second float64) float64) (at []time.Time, poses []vision.Quality) {
	for i := range 450 {
		second := float64(i) / 15
		at = append(at, time.Unix(1, 0).Add(time.Duration(second*float64(time.Second))))
		poses = append(poses, vision.Quality{Size: 200, Yaw: float32(yaw(second))})
	}
	return at, poses
}

func TestRecordingsAreAskedAndDoNotHear(t *testing.T) {
	var still, left recordingReport
	at, poses := clipPoses(func(float64) float64 { return 0 })
	still.play(at, poses, false)
	if still.Challenges == 0 || still.Unanswered != still.Challenges {
		t.Errorf("a still picture: %+v", still)
	}
	// Somebody who turns to their left for a second, every four seconds.
	at, poses = clipPoses(func(s float64) float64 { return 30 * math.Max(0, math.Sin(2*math.Pi*s/4)) })
	left.play(at, poses, false)
	if left.Passed == 0 || left.Passed > left.Challenges/2 || left.Passed+left.Wrong+left.Unanswered != left.Challenges {
		t.Errorf("one who turns to the left: %+v", left)
	}
	// One who blinks for 200 ms every three seconds and does nothing else: it is asked
	// for and comes, and does not suffice.
	var blinker recordingReport
	at, poses = clipPoses(func(float64) float64 { return 0 })
	for i := range poses {
		if poses[i].Open = 0.11; i%45 < 3 {
			poses[i].Open = 0.06
		}
	}
	blinker.play(at, poses, true)
	if blinker.Blinked == 0 || blinker.Blinked > blinker.Blinks || blinker.Passed > 0 {
		t.Errorf("one who blinks: %+v", blinker)
	}
}
