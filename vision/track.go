package vision

import "time"

// Tracker is a Looker that finds a face again near where it was, for less than
// looking through the whole frame. A Model is one.
type Tracker interface {
	// Track moves the face of an earlier frame to where it is in f: points, box and
	// quality. It is false where it cannot tell; then Detect has to look.
	Track(f *Frame, face *Face) (bool, error)
}

// Track looks for the points of the face in a crop about where they were. The
// points net finds a face in anything, so this is good for some frames and for
// nothing that is decided on: what was found has to lie about where the face
// was, and Detect has to confirm it soon.
func (m *Model) Track(f *Frame, face *Face) (bool, error) {
	if err := f.Check(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return false, err
	}
	if m.profile.Points == nil || len(face.Landmarks) == 0 {
		return false, nil
	}
	start := time.Now()
	was := around(face.Landmarks, 1)
	p := f.picture()
	marks, ok, err := m.landmarks(p, around(face.Landmarks, max(1, m.profile.Points.Again)))
	m.times = Times{Landmark: time.Since(start)}
	if err != nil || !ok {
		return false, err
	}
	is := around(marks, 1)
	if !finite(is) || !(is.Overlap(was) >= trackOverlap) {
		return false, nil
	}
	// The box keeps its place and size against the points.
	k := is.Width() / was.Width()
	c, from, b := is.Center(), was.Center(), face.Box
	*face = Face{
		Box:   Box{c.X + (b.X0-from.X)*k, c.Y + (b.Y0-from.Y)*k, c.X + (b.X1-from.X)*k, c.Y + (b.Y1-from.Y)*k},
		Score: face.Score, Points: m.profile.Points.five(marks), Landmarks: marks, Rigid: m.profile.Points.rigid(marks), Inner: m.profile.Points.inner(marks), Live: NotMeasured,
	}
	face.Quality = m.quality(p, face)
	face.Quality.Open = m.profile.Points.open(marks, face.Points)
	return true, nil
}

// Stillness tells whether a camera still shows what it showed, so that nobody has
// to be looked for. The zero value has seen nothing.
type Stillness struct {
	cells [stillRows * stillColumns]uint16 // sums of some pixels, of the frame that is compared with
	at    time.Time                        // of that frame; zero = none
}

// Still compares the frame with the last one for which it was false. Every few
// seconds it is false anyhow.
func (s *Stillness) Still(f *Frame) bool {
	if f.Check() != nil {
		return false
	}
	var cells [stillRows * stillColumns]uint16
	const across = 8 // pixels a cell is looked at in each direction
	for y := range stillRows * across {
		row := f.Pix[3*f.Width*(y*f.Height/(stillRows*across)):]
		for x := range stillColumns * across {
			px := row[3*(x*f.Width/(stillColumns*across)):]
			cells[y/across*stillColumns+x/across] += uint16(px[1]) // green, which is most of the light
		}
	}
	gap := f.At.Sub(s.at)
	still := !s.at.IsZero() && gap >= 0 && gap < stillFor
	for i := range cells {
		d := int(cells[i]) - int(s.cells[i])
		still = still && max(d, -d) < stillLevels*across*across
	}
	if !still {
		s.cells, s.at = cells, f.At
	}
	return still
}
