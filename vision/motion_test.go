package vision

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestAPictureIsStillAndAFaceIsNot(t *testing.T) {
	for name, tt := range map[string]struct {
		points         func(k float64) [][3]float64 // k: -1 to 1, there and back once in two seconds
		yaw            float64                      // degrees either way
		moved          bool                         // about, scaled and rolled
		still, decided bool
	}{
		"a picture":                     {still: true, decided: true},
		"a picture that is moved":       {moved: true, still: true, decided: true},
		"a head that turns a little":    {yaw: 3, decided: true},
		"who turns and moves":           {yaw: 3, moved: true, decided: true},
		"a mouth that opens a little":   {points: talking, decided: true},
		"a mouth, and the camera sways": {points: talking, moved: true, decided: true},
	} {
		rng := rand.New(rand.NewPCG(1, 7))
		var m motion
		for i := range 24 {
			k := math.Sin(math.Pi * float64(i) / 15)
			points := headPoints
			if tt.points != nil {
				points = tt.points(k)
			}
			f := seen(rng, points, tt.yaw*k, tt.moved, k)
			m.add(&f, time.Unix(1, 0).Add(time.Duration(i)*time.Second/15))
		}
		if still, decided := m.still(); still != tt.still || decided != tt.decided {
			t.Errorf("%s: still %v, decided %v, %.5f", name, still, decided, m.measure())
		}
	}
}

// talking moves the three lowest points.
func talking(k float64) [][3]float64 {
	var ps [][3]float64
	for i, p := range headPoints {
		if i >= 6 && i <= 8 {
			p[1] += 0.03 * k
		}
		ps = append(ps, p)
	}
	return ps
}

// seen shows points from far away with the noise of a still camera.
func seen(rng *rand.Rand, points [][3]float64, yaw float64, moved bool, k float64) Face {
	sy, cy := math.Sincos(yaw * math.Pi / 180)
	scale, roll, x0 := 60.0, 0.0, 300.0
	if moved {
		scale, roll, x0 = 60*(1+0.05*k), 0.05*k, 300+20*k
	}
	sr, cr := math.Sincos(roll)
	at := func(p [3]float64) Point {
		x, y := cy*p[0]+sy*p[2], p[1]
		return Point{float32(x0 + scale*(cr*x-sr*y) + 0.05*rng.NormFloat64()), float32(200 + scale*(sr*x+cr*y) + 0.05*rng.NormFloat64())}
	}
	var f Face
	for _, p := range points {
		f.Inner = append(f.Inner, at(p))
	}
	f.Points = [5]Point{at([3]float64{-0.5, 0, 0}), at([3]float64{0.5, 0, 0})}
	return f
}

func TestMotionOfNothing(t *testing.T) {
	var m motion
	nan := float32(math.NaN())
	for _, f := range []Face{{}, {Inner: make([]Point, 51)}, {Inner: make([]Point, 3), Points: frontal()}} {
		m.add(&f, time.Unix(1, 0))
		if still, decided := m.still(); still || decided || !math.IsNaN(m.measure()) {
			t.Errorf("still %v, decided %v", still, decided)
		}
	}
	// Nonsense is never taken for somebody who moved.
	f := Face{Inner: make([]Point, 51), Points: frontal()}
	for i := range 10 {
		f.Inner[3] = Point{nan, nan}
		m.add(&f, time.Unix(int64(i), 0))
	}
	if still, _ := m.still(); !still && len(m.paths) > 0 {
		t.Errorf("%g", m.measure())
	}
	// Too soon to tell: still, as far as anybody knows.
	var soon motion
	rng := rand.New(rand.NewPCG(1, 7))
	for range 2 {
		g := seen(rng, headPoints, 0, false, 0)
		soon.add(&g, time.Unix(1, 0))
	}
	if still, decided := soon.still(); !still || decided {
		t.Errorf("of two frames: still %v, decided %v", still, decided)
	}
}

// Noise moves the points as much in a long watch as in a short one; who lives
// moves more, the longer it lasts. The same deviation is a picture's where it
// comes at every pace and a person's where it comes slowly.
func TestOnlySlowMotionCounts(t *testing.T) {
	const points, deviation = 51, 0.002
	rng := rand.New(rand.NewPCG(2, 9))
	for _, frames := range []int{6, 12, 48} {
		noise, person := make([][]float64, frames), make([][]float64, frames)
		for i := range frames {
			noise[i], person[i] = make([]float64, 2*points), make([]float64, 2*points)
			for j := range 2 * points {
				noise[i][j] = deviation * rng.NormFloat64()
				person[i][j] = deviation * math.Sqrt2 * math.Cos(math.Pi*float64(i)/float64(frames)+float64(j))
			}
		}
		if m := slowMotion(noise); m < 0.7*deviation || m > 1.3*deviation {
			t.Errorf("%d frames of noise: %.5f, not about %.5f", frames, m, deviation)
		}
		if m, least := slowMotion(person), 0.6*deviation*math.Sqrt(float64(frames)/2); m < least {
			t.Errorf("%d frames of a person: %.5f, less than %.5f", frames, m, least)
		}
	}
}
