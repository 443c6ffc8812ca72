package vision

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// trackScene is a scene whose faces can be tracked.
type trackScene struct {
	scene
	detects, tracks int
	lost            bool
}

func (s *trackScene) Detect(f *Frame) ([]Face, error) {
	s.detects++
	return s.scene.Detect(f)
}

func (s *trackScene) Track(_ *Frame, face *Face) (bool, error) {
	s.tracks++
	if s.lost || len(s.faces) == 0 {
		return false, nil
	}
	*face = s.faces[0]
	return true, nil
}

// tracking plays frames, 30 a second, of what faces says.
func tracking(t *testing.T, frames int, faces func(i int) []Face) (*trackScene, *Sequence) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 11))
	ts := &trackScene{scene: scene{people: map[int]Embedding{1: anyone(rng, 128), 2: anyone(rng, 128)}}}
	s := &Sequence{Same: 0.5}
	pic := grey(640, 480)
	for i := range frames {
		for k := range pic.Pix {
			pic.Pix[k] = byte(rng.Uint32())
		}
		pic.At = time.Unix(1000, 0).Add(time.Duration(i) * time.Second / 30)
		ts.faces = faces(i)
		if _, err := s.Look(ts, pic); err != nil {
			t.Fatal(err)
		}
	}
	return ts, s
}

func TestATrackedFaceIsNotLookedForInEveryFrame(t *testing.T) {
	ts, s := tracking(t, 60, func(i int) []Face { return []Face{somebody(1, 300+float32(i), 200)} })
	if ts.detects > 15 || ts.tracks < 45 || s.Len() < 10 {
		t.Errorf("%d of 60 frames were looked through, %d tracked; %d kept", ts.detects, ts.tracks, s.Len())
	}
}

// What is kept was detected in its own frame, and so is everybody else in it.
func TestWhatCountsIsDetected(t *testing.T) {
	ts, s := tracking(t, 60, func(i int) []Face {
		if i < 20 {
			return []Face{somebody(1, 320, 200)}
		}
		return []Face{somebody(1, 200, 200), somebody(2, 440, 200)}
	})
	if s.Len() > 5 {
		t.Errorf("%d frames kept, though from the 20th of 60 on two could be meant", s.Len())
	}
	if ts.describes > ts.detects {
		t.Errorf("%d frames described, %d looked through", ts.describes, ts.detects)
	}
	ts, _ = tracking(t, 60, func(i int) []Face {
		if i < 30 {
			return []Face{somebody(1, 320, 200)}
		}
		return nil
	})
	if ts.detects < 30 {
		t.Errorf("%d looks though nobody was there in 30 frames", ts.detects)
	}
}

func TestStillness(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	var s Stillness
	f, at := grey(640, 480), time.Unix(1000, 0)
	show := func(after time.Duration, change func(x, y int) int) bool {
		at = at.Add(after)
		f.At = at
		for y := range f.Height {
			for x := range f.Width {
				v := 100 + change(x, y) + rng.IntN(9) - 4 // noise
				for c := range 3 {
					f.Pix[3*(y*f.Width+x)+c] = byte(v)
				}
			}
		}
		return s.Still(f)
	}
	same := func(int, int) int { return 0 }
	person := func(x, y int) int {
		if x > 300 && x < 360 && y > 200 && y < 280 {
			return 40
		}
		return 0
	}
	slowly := 0
	for i, tt := range []struct {
		after  time.Duration
		change func(x, y int) int
		want   bool
	}{
		{0, same, false},
		{300 * time.Millisecond, same, true},
		{300 * time.Millisecond, same, true},
		{300 * time.Millisecond, person, false},
		{300 * time.Millisecond, person, true},
		{300 * time.Millisecond, same, false},
		{4 * time.Second, same, false},
		{-time.Hour, same, false},
	} {
		if got := show(tt.after, tt.change); got != tt.want {
			t.Errorf("step %d: still %v, want %v", i, got, tt.want)
		}
	}
	looked := false // who comes very slowly is seen, too
	for range 9 {
		slowly += 2
		looked = !show(100*time.Millisecond, func(int, int) int { return slowly }) || looked
	}
	if !looked {
		t.Error("a slow change was never noticed")
	}
	if s.Still(&Frame{}) {
		t.Error("a broken frame is still")
	}
}

func TestTrackingStaysWhereTheFaceWas(t *testing.T) {
	m, p, e := openFake(t, DefaultProfile)
	f := grey(640, 480)
	faces, err := m.Detect(f)
	if err != nil || len(faces) != 1 {
		t.Fatalf("%d faces, %v", len(faces), err)
	}
	answers := func(at func(k int) float32) {
		points := make([]float32, 136)
		for k := range points {
			points[k] = at(k)
		}
		e.answer[p.Points.File.File] = func([]float32) [][]float32 { return [][]float32{points} }
	}
	was := around(faces[0].Landmarks, 1)
	crop := around(faces[0].Landmarks, p.Points.Again)
	// The same points, moved by a tenth of the crop.
	moved := func(by float32) func(k int) float32 {
		return func(k int) float32 {
			l := faces[0].Landmarks[k/2]
			if k%2 == 0 {
				return (l.X-crop.X0)/crop.Width() + by
			}
			return (l.Y - crop.Y0) / crop.Height()
		}
	}
	for name, tt := range map[string]struct {
		at func(k int) float32
		ok bool
	}{
		"it moves a little":     {moved(0.1), true},
		"it stays":              {moved(0), true},
		"it jumps":              {moved(0.6), false},
		"all in one place":      {func(int) float32 { return 0.5 }, false},
		"far outside the frame": {moved(1e9), false},
	} {
		answers(tt.at)
		face := faces[0]
		ok, err := m.Track(f, &face)
		if err != nil || ok != tt.ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if !ok {
			continue
		}
		dx := around(face.Landmarks, 1).Center().X - was.Center().X
		if got := face.Box.Center().X - faces[0].Box.Center().X; got-dx > 0.1 || dx-got > 0.1 || len(face.Rigid) != len(p.Points.Rigid) || face.Quality.Size == 0 || face.Embedding != nil {
			t.Errorf("%s: the box moved by %g, the points by %g: %+v", name, got, dx, face.Quality)
		}
	}
	face := Face{} // nobody was detected
	if ok, err := m.Track(f, &face); ok || err != nil {
		t.Errorf("without points: %v, %v", ok, err)
	}
	if ok, err := m.Track(&Frame{}, &faces[0]); ok || !errors.Is(err, ErrFrame) {
		t.Errorf("no frame: %v, %v", ok, err)
	}
	m.Close()
	if ok, err := m.Track(f, &faces[0]); ok || !errors.Is(err, ErrModel) {
		t.Errorf("closed: %v, %v", ok, err)
	}
}
