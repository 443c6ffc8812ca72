package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// sheetReport is what turning sheets of paper yielded, and living people by the
// same measures.
type sheetReport struct {
	Sheets []sheetPlay `json:"sheets"`
	Spans  int         `json:"spans"`      // of living people, three seconds each
	Flat   int         `json:"spans_flat"` // of them, taken for sheets
}

// sheetPlay is one sheet.
type sheetPlay struct {
	File  string  `json:"file"`
	Bent  bool    `json:"bent"`
	Live  float64 `json:"live"` // the mean that the device would go by; -1 = it did not get that far
	Flat  bool    `json:"flat"`
	Turn  float64 `json:"turn"` // by which the face seemed to turn, degrees
	Cues  string  `json:"cues"`
	Angle float64 `json:"angle"` // by which the sheet did
}

const (
	sheetAngle  = 35 // degrees either way
	sheetFrames = 45 // of three seconds
	sheetBend   = 280
)

// playSheets makes a sheet of the first good face of every clip and turns it
// before a camera made of arithmetic, flat and bent round a pole; the networks and
// the decision are the real ones.
func (r *livenessReport) playSheets(ctx context.Context, clips []string, m *vision.Model, same float64) error {
	r.Paper = &sheetReport{}
	for _, clip := range clips {
		var picture *vision.Frame
		var face vision.Face
		spans := &vision.Sequence{Same: same}
		began := time.Time{}
		err := opencv.ReadClip(ctx, clip, time.Unix(1, 0), func(f *vision.Frame) error {
			if picture == nil {
				faces, err := m.Detect(f)
				if err != nil {
					return err
				}
				if len(faces) > 0 && faces[0].Quality.Hint() == vision.HintNone && math.Abs(float64(faces[0].Quality.Yaw)) < 8 {
					picture, face = f.Clone(), faces[0]
				}
			}
			if began.IsZero() {
				began = f.At
			}
			if _, err := spans.Look(m, f); err != nil {
				return err
			}
			if f.At.Sub(began) >= attemptTime {
				if r.Paper.Spans++; spans.Flat() {
					r.Paper.Flat++
				}
				spans.Wipe()
				began = time.Time{}
			}
			return nil
		})
		spans.Wipe()
		if err != nil {
			return err
		}
		if picture == nil {
			return fmt.Errorf("liveness: %s shows nobody well enough to be put on paper", clip)
		}
		for _, bend := range []float64{0, sheetBend} {
			p, err := playSheet(picture, face, m, same, bend)
			if err != nil {
				return err
			}
			p.File = filepath.Base(clip)
			r.Paper.Sheets = append(r.Paper.Sheets, p)
		}
		picture.Wipe()
	}
	return nil
}

func playSheet(picture *vision.Frame, face vision.Face, m *vision.Model, same, bend float64) (p sheetPlay, err error) {
	p = sheetPlay{Bent: bend > 0, Angle: sheetAngle}
	s := &vision.Sequence{Same: same}
	defer s.Wipe()
	rng := rand.New(rand.NewPCG(1, 9))
	var first *float32
	for i := range sheetFrames {
		turn := sheetAngle * math.Pi / 180 * math.Sin(2*math.Pi*float64(i)/sheetFrames)
		f := sheet(picture, face.Box, turn, bend, rng)
		f.Seq, f.At = uint64(i+1), time.Unix(1, 0).Add(time.Duration(i)*attemptTime/sheetFrames)
		seen, err := s.Look(m, f)
		if err != nil {
			return p, err
		}
		if yaw := seen.Quality.Yaw; seen.Quality.Size > 0 {
			if first == nil {
				first = &yaw
			}
			p.Turn = max(p.Turn, math.Abs(float64(yaw-*first)))
		}
	}
	if p.Live, _ = s.Live(); math.IsNaN(p.Live) {
		p.Live = -1
	}
	c := s.Cues()
	p.Flat, p.Cues = s.Flat(), fmt.Sprintf("relief %.4f, foreshortened %.2f", c["relief"], c["foreshortened"])
	return p, nil
}

// sheet is a frame of 640x480 in which a sheet of paper shows the face, turned
// about its upright axis by so many radians, and bent round a pole of a radius in
// pixels; 0 = flat.
func sheet(picture *vision.Frame, face vision.Box, turn, bend float64, rng *rand.Rand) *vision.Frame {
	const (
		w, h     = 640, 480
		distance = 900.0 // of the camera, and its focal length, pixels
		half     = 200.0 // of the sheet's side
	)
	f := &vision.Frame{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	sin, cos := math.Sincos(turn)
	scale := 1.1 * float64(face.Height()) / half // of the picture's pixels to the sheet's
	c := face.Center()
	for y := range h {
		for x := range w {
			px := f.Pix[3*(y*w+x):][:3]
			for k := range px {
				px[k] = byte(112 + rng.IntN(5))
			}
			dx, dy := (float64(x)-w/2)/distance, (float64(y)-h/2)/distance
			u, v, ok := onSheet(dx, dy, sin, cos, distance, bend)
			if !ok || math.Abs(u) > half || math.Abs(v) > half {
				continue
			}
			sx, sy := float64(c.X)+u*scale, float64(c.Y)+v*scale
			ix, iy := int(math.Floor(sx)), int(math.Floor(sy))
			if ix < 0 || iy < 0 || ix+1 >= picture.Width || iy+1 >= picture.Height {
				continue
			}
			ax, ay := sx-float64(ix), sy-float64(iy)
			for k := range px {
				at := func(x, y int) float64 { return float64(picture.Pix[3*(y*picture.Width+x)+k]) }
				level := (at(ix, iy)*(1-ax)+at(ix+1, iy)*ax)*(1-ay) + (at(ix, iy+1)*(1-ax)+at(ix+1, iy+1)*ax)*ay
				px[k] = byte(min(max(level+2*rng.NormFloat64(), 0), 255))
			}
		}
	}
	return f
}

// onSheet is where a ray hits the sheet, from its middle.
func onSheet(dx, dy, sin, cos, distance, bend float64) (u, v float64, ok bool) {
	hit := func(back float64) { // the plane that lies so far behind the sheet's
		t := (cos*distance + back) / (cos - sin*dx)
		px, pz := t*dx, t-distance
		u, v = px*cos+pz*sin, t*dy
	}
	hit(0)
	if bend == 0 {
		return u, v, true
	}
	for range 4 { // the paper falls back from the pole
		if math.Abs(u) >= bend {
			return 0, 0, false
		}
		hit(bend - math.Sqrt(bend*bend-u*u))
	}
	if math.Abs(u) >= bend {
		return 0, 0, false
	}
	return bend * math.Asin(u/bend), v, true
}

// sum is how many flat sheets there were, how many of them are in doubt, and how
// many sheets of either kind turn far enough for a challenge.
func (p *sheetReport) sum() (flat, doubted, answered int) {
	for _, s := range p.Sheets {
		if !s.Bent {
			flat++
			if s.Flat {
				doubted++
			}
		}
		if s.Turn >= vision.ChallengeTurn {
			answered++
		}
	}
	return flat, doubted, answered
}

func (p *sheetReport) print(w io.Writer) {
	for _, s := range p.Sheets {
		kind := "flat"
		if s.Bent {
			kind = "bent"
		}
		fmt.Fprintf(w, "  sheet   %-24s %s, turned by %.0f degrees: seems to turn by %.0f; %s; live %.2f\n", s.File, kind, s.Angle, s.Turn, s.Cues, s.Live)
	}
	flat, doubted, answered := p.sum()
	fmt.Fprintf(w, "  sheets: %d of %d flat ones in doubt by their relief, as are %d of %d spans of living people; %d of %d turn far enough for a challenge (%d degrees)\n",
		doubted, flat, p.Flat, p.Spans, answered, len(p.Sheets), vision.ChallengeTurn)
}

var errSheets = errors.New("liveness: --paper makes sheets of living people: name some with --live")
