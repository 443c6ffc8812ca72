package main

import (
	"slices"
	"strings"
	"testing"
)

func TestBlinksAreCounted(t *testing.T) {
	known, err := readTruth("# seen\na.mp4 10-14 20-22 100-104\na.mp4 long 200-260\nb.mp4 5-6\n")
	if err != nil || len(known) != 2 || len(known["a.mp4"].blinks) != 3 || len(known["a.mp4"].long) != 1 {
		t.Fatalf("%v, %v", known, err)
	}
	for name, tt := range map[string]struct {
		ends         []int
		found, wrong int
		misses       []int
	}{
		"all":                      {ends: []int{15, 23, 105}, found: 3},
		"two that are close":       {ends: []int{21, 24}, found: 2, misses: []int{100}},
		"one is missed":            {ends: []int{16, 23}, found: 2, misses: []int{100}},
		"one that nobody saw":      {ends: []int{15, 23, 60, 105}, found: 3, wrong: 1},
		"shut for long is neither": {ends: []int{15, 23, 105, 262}, found: 3},
		"none":                     {misses: []int{10, 20, 100}},
	} {
		var c blinkClip
		c.count(known["a.mp4"], tt.ends)
		if !c.Known || c.Blinks != 3 || c.Found != tt.found || c.False != tt.wrong || !slices.Equal(c.Misses, tt.misses) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for _, bad := range []string{"a.mp4 7", "a.mp4 9-7", "a.mp4 x-y", "a.mp4 -3-4"} {
		if _, err := readTruth("\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if known, err := readTruth(blinksKnown); err != nil || len(known["franck.mp4"].blinks) != 56 {
		t.Errorf("the demo's: %v", err)
	}
}
