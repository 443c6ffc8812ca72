package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// blinkReport is what the blink subcommand prints.
type blinkReport struct {
	Clips  []blinkClip  `json:"clips"`
	Photos []blinkTrick `json:"photos,omitempty"`

	Recordings recordingReport `json:"recordings"` // challenges that the clips were played to
}

// blinkClip is one clip at one pace.
type blinkClip struct {
	File    string  `json:"file"`
	Step    int     `json:"step"` // every so manyeth frame was looked at
	FPS     float64 `json:"fps"`
	Minutes float64 `json:"minutes"`
	Known   bool    `json:"known"`  // somebody has counted its blinks
	Blinks  int     `json:"blinks"` // that there are
	Found   int     `json:"found"`  // of them
	False   int     `json:"false"`  // others; those of clips that nobody has counted are all here
	Misses  []int   `json:"misses"` // first frames

	Withheld int     `json:"withheld"` // good frames that were not kept for shut eyes
	Longest  float64 `json:"longest"`  // seconds from such a frame to the next that was kept, at most
	Hints    int     `json:"hints"`    // frames with the hint to open the eyes
	Wrong    []int   `json:"wrong"`    // last frames
}

//go:embed blinks.txt
var blinksKnown string

// span of frames, both ends included.
type span struct{ from, to int }

// truth is what somebody saw in a clip.
type truth struct{ blinks, long []span }

// readTruth reads lines of CLIP FROM-TO...; those of CLIP long FROM-TO... are of
// eyes that were shut for longer, which are neither blinks nor mistakes.
func readTruth(text string) (map[string]*truth, error) {
	all := map[string]*truth{}
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		t := all[words[0]]
		if t == nil {
			t = &truth{}
			all[words[0]] = t
		}
		to := &t.blinks
		for i, word := range words[1:] {
			if i == 0 && word == "long" {
				to = &t.long
				continue
			}
			a, b, _ := strings.Cut(word, "-")
			from, err1 := strconv.Atoi(a)
			last, err2 := strconv.Atoi(b)
			if err1 != nil || err2 != nil || from < 0 || last < from {
				return nil, fmt.Errorf("blinks, line %d: %q is not FROM-TO", n+1, word)
			}
			*to = append(*to, span{from, last})
		}
	}
	return all, nil
}

func blinkCommand() *cobra.Command {
	var photos, asJSON bool
	var o modelOptions
	cmd := &cobra.Command{
		Use:   "blink CLIP...",
		Short: "Measure how blinks are found, and how pictures of faces fail to blink",
		Long: `Plays clips to what follows a person's eyes, at their own pace and at a half and a
third of it, and compares with the blinks that somebody saw (those of the demo's
clips are known); and to challenges, which a recording answers by chance. --photos takes faces of the clips as photographs that are turned,
tilted, bent and creased, and whose eyes are wiped and covered, and counts how
many of them seem to blink.`,
		Args:          cobra.MinimumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			known, err := readTruth(blinksKnown)
			if err != nil {
				return err
			}
			models, err := o.open(1)
			if err != nil {
				return err
			}
			defer closeModels(models)
			r, err := evaluateBlinks(cmd.Context(), files, models[0], known, photos)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&photos, "photos", false, "also play tricks with photographs")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	o.flags(f)
	return cmd
}

// watcher sees eyes and does not recognise anybody, which takes most of the time.
type watcher struct{ *vision.Model }

func (w watcher) Describe(f *vision.Frame, face *vision.Face) error {
	near := *face
	ok, err := w.Track(f, &near) // the second look at the points that Describe takes
	if ok {
		face.Landmarks, face.Points, face.Quality.Open = near.Landmarks, near.Points, near.Quality.Open
	}
	face.Embedding = vision.Embedding{1}
	return err
}

func evaluateBlinks(ctx context.Context, files []string, m *vision.Model, known map[string]*truth, photos bool) (*blinkReport, error) {
	r := &blinkReport{Recordings: recordingReport{Blink: &recordingReport{}}}
	if photos {
		r.Photos = blinkTricks()
	}
	for _, file := range files {
		for step := 1; step <= 3; step++ {
			c := blinkClip{File: filepath.Base(file), Step: step}
			s := &vision.Sequence{EyesOpen: true} // as an enrolment
			var shut time.Time                    // since when frames are withheld
			n, first, last := -1, time.Time{}, time.Time{}
			var ends []int
			var at []time.Time
			var poses []vision.Quality
			err := opencv.ReadClip(ctx, file, time.Unix(1, 0), func(f *vision.Frame) error {
				n++
				if first.IsZero() {
					first = f.At
				}
				last = f.At
				if step == 1 && photos && n%trickEvery == trickEvery/2 {
					if err := playTricks(r.Photos, f, m); err != nil {
						return err
					}
				}
				if n%step != 0 {
					return nil
				}
				seen, err := s.Look(watcher{m}, f)
				if seen.Blinked {
					ends = append(ends, n)
				}
				if seen.Withheld {
					if c.Withheld++; shut.IsZero() {
						shut = f.At
					}
				}
				if seen.Kept && !shut.IsZero() {
					c.Longest, shut = max(c.Longest, f.At.Sub(shut).Seconds()), time.Time{}
				}
				if seen.Hint == vision.HintOpenEyes {
					c.Hints++
				}
				if seen.Quality.Size > 0 && step == 1 {
					at, poses = append(at, f.At), append(poses, seen.Quality)
				}
				return err
			})
			s.Wipe()
			if err != nil {
				return nil, err
			}
			if c.Minutes = last.Sub(first).Minutes(); c.Minutes > 0 {
				c.FPS = float64(n/step) / (60 * c.Minutes)
			}
			c.count(known[c.File], ends)
			r.Recordings.play(at, poses, false)
			r.Recordings.Blink.play(at, poses, true)
			r.Clips = append(r.Clips, c)
		}
	}
	return r, nil
}

// blinkLate is how many frames after the eyes are more open than shut a blink may
// be found to be over.
const blinkLate = 12

// count compares the frames in which blinks were over with what there was.
func (c *blinkClip) count(t *truth, ends []int) {
	if c.Known = t != nil; t == nil {
		t = &truth{}
	}
	c.Blinks = len(t.blinks)
	found := make([]bool, len(t.blinks))
	is := func(s span, end int) bool { return end > s.from && end <= s.to+blinkLate }
	for _, end := range ends {
		k := slices.IndexFunc(t.blinks, func(s span) bool { return is(s, end) })
		for k >= 0 && found[k] && k+1 < len(found) && is(t.blinks[k+1], end) {
			k++
		}
		switch {
		case k >= 0 && !found[k]:
			found[k] = true
			c.Found++
		case k < 0 && !slices.ContainsFunc(t.long, func(s span) bool { return is(s, end) }):
			c.False++
			c.Wrong = append(c.Wrong, end)
		}
	}
	for k, ok := range found {
		if !ok {
			c.Misses = append(c.Misses, t.blinks[k].from)
		}
	}
}

// blinkTrick is one thing that is done to a photograph within trickTime. at is how
// far it has come, from 0 over 1 to 0 again; a point of the sheet is given by its
// place from the middle of the eyes, in distances of the eyes, down and to the
// picture's right.
type blinkTrick struct {
	Name   string `json:"name"`
	Photos int    `json:"photos"`
	Blinks int    `json:"blinks"` // photographs that seemed to blink

	bend  func(x, y, at float64) (float64, float64) // where the sheet's point is that is seen there
	cover func(x, y, at float64) bool               // something of the skin's colour is before it
}

const (
	trickEvery = 240 // which frames of a clip become photographs
	trickRate  = 25
	trickRest  = 12 // frames before and after
	trickTime  = 10 // frames
)

func blinkTricks() []blinkTrick {
	const down = 1.1 // from the eyes to the mouth
	tilt := func(most float64) func(x, y, at float64) (float64, float64) {
		return func(x, y, at float64) (float64, float64) {
			sin, cos := math.Sincos(most * at * math.Pi / 180)
			y -= down / 2
			v := y / (cos - y*sin/8) // from 8 distances of the eyes away: half a metre
			return x * (1 + v*sin/8), v + down/2
		}
	}
	return []blinkTrick{
		{Name: "held still", bend: func(x, y, _ float64) (float64, float64) { return x, y }},
		{Name: "shaken up and down", bend: func(x, y, at float64) (float64, float64) { return x, y + 0.5*at }},
		{Name: "brought nearer", bend: func(x, y, at float64) (float64, float64) { return x / (1 + 0.5*at), y / (1 + 0.5*at) }},
		{Name: "tilted by 30 degrees", bend: tilt(30)},
		{Name: "tilted by 50 degrees", bend: tilt(50)},
		{Name: "turned by 40 degrees", bend: func(x, y, at float64) (float64, float64) {
			sin, cos := math.Sincos(40 * at * math.Pi / 180)
			u := x / (cos - x*sin/8)
			return u, y * (1 + u*sin/8)
		}},
		{Name: "bent about the level", bend: func(x, y, at float64) (float64, float64) {
			y -= down / 2
			r := 1.6 / max(at, 0.01)
			return x, r*math.Asin(min(max(y/r, -0.99), 0.99)) + down/2
		}},
		{Name: "creased at the eyes", bend: func(x, y, at float64) (float64, float64) {
			k := 1/math.Cos(50*at*math.Pi/180) - 1 // both sides of the crease fall back
			return x, y + k*min(max(y, -0.25), 0.25)
		}},
		{Name: "wiped across by a finger", cover: func(x, y, at float64) bool { return math.Abs(x-(2*at-1)*1.5) < 0.15 && y > -0.4 }},
		{Name: "wiped down by a finger", cover: func(x, y, at float64) bool { return math.Abs(y-(1-at)*1.5) < 0.15 && at > 0 }},
		{Name: "wiped down by a hand", cover: func(x, y, at float64) bool { return math.Abs(y-(1-at)*2) < 0.6 && at > 0 }},
		{Name: "a finger before both eyes", cover: func(x, y, at float64) bool { return at > 0.3 && math.Abs(y) < 0.14 }},
		{Name: "a finger tip before each", cover: func(x, y, at float64) bool { return at > 0.3 && math.Hypot(math.Abs(x)-0.5, y) < 0.16 }},
		{Name: "the upper lids painted over", cover: func(x, y, at float64) bool {
			return at > 0.3 && math.Abs(math.Abs(x)-0.5) < 0.28 && y > -0.15 && y < 0.05
		}},
	}
}

// playTricks plays every trick with the first face of a frame, if it is a good one.
func playTricks(tricks []blinkTrick, picture *vision.Frame, m *vision.Model) error {
	faces, err := m.Detect(picture)
	if err != nil || len(faces) == 0 || faces[0].Quality.Hint() != vision.HintNone {
		return err
	}
	for i := range tricks {
		t := &tricks[i]
		s := &vision.Sequence{}
		rng := rand.New(rand.NewPCG(2, uint64(i)))
		f := picture.Clone()
		blinks := false
		for n := range 2*trickRest + trickTime {
			at := 0.0
			if k := n - trickRest; k >= 0 && k < trickTime {
				at = 1 - math.Abs(2*(float64(k)+0.5)/trickTime-1)
			}
			t.draw(f, picture, faces[0].Points, at, rng)
			f.At = time.Unix(1, 0).Add(time.Duration(n) * time.Second / trickRate)
			seen, err := s.Look(watcher{m}, f)
			if err != nil {
				return err
			}
			blinks = blinks || seen.Blinked
		}
		s.Wipe()
		f.Wipe()
		if t.Photos++; blinks {
			t.Blinks++
		}
	}
	return nil
}

// draw the photograph with the trick so far along, and a camera's noise.
func (t *blinkTrick) draw(to, from *vision.Frame, points [5]vision.Point, at float64, rng *rand.Rand) {
	l, r := points[vision.LeftEye], points[vision.RightEye]
	cx, cy := float64(l.X+r.X)/2, float64(l.Y+r.Y)/2
	dx, dy := float64(r.X-l.X), float64(r.Y-l.Y)
	square := dx*dx + dy*dy
	nose := points[vision.Nose]
	skin := from.Pix[3*(min(max(int(nose.Y), 0), from.Height-1)*from.Width+min(max(int(nose.X), 0), from.Width-1)):][:3]
	for v := range to.Height {
		for u := range to.Width {
			x, y := ((float64(u)-cx)*dx+(float64(v)-cy)*dy)/square, ((float64(v)-cy)*dx-(float64(u)-cx)*dy)/square
			px := to.Pix[3*(v*to.Width+u):][:3]
			noise := rng.IntN(9) - 4
			if t.cover != nil && at > 0 && t.cover(x, y, at) {
				for k := range px {
					px[k] = byte(min(max(int(skin[k])*9/10+noise, 0), 255))
				}
				continue
			}
			sx, sy := float64(u), float64(v)
			if t.bend != nil && at > 0 {
				x, y = t.bend(x, y, at)
				sx, sy = cx+x*dx-y*dy, cy+x*dy+y*dx
			}
			sx, sy = min(max(sx, 0), float64(from.Width-1)), min(max(sy, 0), float64(from.Height-1))
			ix, iy := min(int(sx), from.Width-2), min(int(sy), from.Height-2)
			ax, ay := sx-float64(ix), sy-float64(iy)
			for k := range px {
				at := func(x, y int) float64 { return float64(from.Pix[3*(y*from.Width+x)+k]) }
				level := (at(ix, iy)*(1-ax)+at(ix+1, iy)*ax)*(1-ay) + (at(ix, iy+1)*(1-ax)+at(ix+1, iy+1)*ax)*ay
				px[k] = byte(min(max(int(level)+noise, 0), 255))
			}
		}
	}
}

func (r *blinkReport) print(w io.Writer) {
	for _, c := range r.Clips {
		fmt.Fprintf(w, "  %-20s %4.1f frames a second, %4.2f min: ", c.File, c.FPS, c.Minutes)
		if c.Known {
			fmt.Fprintf(w, "%d of %d blinks found, %d more", c.Found, c.Blinks, c.False)
		} else {
			fmt.Fprintf(w, "%d blinks found, which nobody has counted", c.False)
		}
		if len(c.Misses)+len(c.Wrong) > 0 {
			fmt.Fprintf(w, " (missed at %v, more at %v)", c.Misses, c.Wrong)
		}
		fmt.Fprintf(w, "; %d frames withheld, nothing kept for %.2f s at most, %d times told to open the eyes\n", c.Withheld, c.Longest, c.Hints)
	}
	r.Recordings.print(w)
	for _, t := range r.Photos {
		fmt.Fprintf(w, "  photographs %-28s %d of %d seem to blink\n", t.Name+":", t.Blinks, t.Photos)
	}
}
