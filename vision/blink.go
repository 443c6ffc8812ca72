package vision

import (
	"slices"
	"time"
)

// eyes tell whether a person's eyes are shut, from how far they were open in the
// moments before: so those who have narrow ones, or glasses, are as good as others.
// Only those of a face that looks ahead count: seen from the side they are another
// measure. Whoever keeps them shut is taken as they are after a while; and where they
// were shut from the beginning nobody can tell. The zero value has seen nothing.
type eyes struct {
	before   []float32 // Quality.Open of the latest frames in which they were not shut
	contrast []float32 // Quality.Eyes of the same
	first    time.Time // of the frames
	frames   int       // in which they were measured
	since    time.Time // since when they are shut; zero = they are not
	covered  bool      // something was before them since then
	blinks   int       // so far
}

// look takes the next frame and tells for how long the eyes have been shut, 0 =
// they are not, or it is not known; and when the blink began that is over with this
// frame, the zero time if none is. Shut lids have lashes and a fold, which are as
// much contrast as an open eye; a finger that wipes over a picture's eyes has none.
func (e *eyes) look(at time.Time, q Quality) (shut time.Duration, blinked time.Time) {
	open := q.Open
	if !within(q.Yaw, restYaw) {
		return 0, time.Time{}
	}
	if !(open > 0) {
		if !e.since.IsZero() {
			shut = max(at.Sub(e.since), 1)
		}
		return shut, time.Time{}
	}
	if e.frames == 0 {
		e.first = at
	}
	e.frames++
	if len(e.before) >= eyesFrames {
		limit := float32(shutEyes)
		if !e.since.IsZero() {
			limit = openEyes
		}
		if open < limit*median(e.before) {
			if e.since.IsZero() {
				e.since, e.covered = at, false
			}
			e.covered = e.covered || q.Eyes < lidContrast*median(e.contrast)
			if took := at.Sub(e.since); took >= 0 && took < shutMost {
				return max(took, 1), time.Time{}
			}
			*e = eyes{blinks: e.blinks} // that is how they are
			return 0, time.Time{}
		}
	}
	if took := at.Sub(e.since); !e.since.IsZero() && took >= blinkLeast && took <= blinkMost && !e.covered {
		blinked = e.since
		e.blinks++
	}
	e.since = time.Time{}
	e.before, e.contrast = append(e.before, open), append(e.contrast, q.Eyes)
	if len(e.before) > eyesMost {
		e.before, e.contrast = slices.Delete(e.before, 0, 1), slices.Delete(e.contrast, 0, 1)
	}
	return 0, blinked
}

func median(v []float32) float32 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// plain tells whether a blink would be told from what the eyes did until now, and
// not be missed between two frames.
func (e *eyes) plain(at time.Time) bool {
	return len(e.before) >= eyesFrames && e.blinks == 0 && e.since.IsZero() &&
		at.Sub(e.first) <= time.Duration(e.frames-1)*slowestBlink && slices.Min(e.before) > openEyes*median(e.before)
}

// openHint is what to do about eyes that have been shut for so long: nothing while
// it may be a blink, which is over in a moment.
func openHint(shut time.Duration) Hint {
	if shut < shutHint {
		return HintNone
	}
	return HintOpenEyes
}
