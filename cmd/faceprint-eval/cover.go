package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/vision"
)

// coverReport is what the cover subcommand prints: how often a face is taken for
// covered as it is in the pictures, and with something plain drawn before it.
type coverReport struct {
	Pictures   int      `json:"pictures"` // with a face good enough to be recognised
	Covered    int      `json:"covered"`  // of them, as they are; some wear dark glasses
	Covers     []cover  `json:"covers"`
	Unreadable []string `json:"unreadable,omitempty"` // files that are damaged or no pictures, and why
}

// cover is one thing that is drawn: where, in distances of the eyes from the
// middle between them (x to the picture's right, y down), and how bright; the
// skin's own colour where bright is below 0.
type cover struct {
	Name    string `json:"name"`
	Faces   int    `json:"faces"` // found in spite of it
	Covered int    `json:"covered"`

	bright float64
	over   func(x, y float64) bool
}

func covers() []cover {
	within := func(v, limit float64) bool { return math.Abs(v) < limit }
	return []cover{
		{Name: "dark glasses", bright: 25, over: func(x, y float64) bool { return within(y, 0.34) && within(x, 1.1) && !within(x, 0.08) }},
		{Name: "a white mask", bright: 210, over: func(x, y float64) bool { return y > 0.4+0.12*math.Abs(x) && y < 1.9 && within(x, 1.15) }},
		{Name: "a black mask", bright: 40, over: func(x, y float64) bool { return y > 0.4+0.12*math.Abs(x) && y < 1.9 && within(x, 1.15) }},
		{Name: "a hand before the mouth", bright: -1, over: func(x, y float64) bool { return y > 0.75 && y < 1.7 && within(x, 0.75) }},
		{Name: "a hand before one half", bright: -1, over: func(x, y float64) bool { return x < -0.1 && x > -1.3 && y > -0.6 && y < 1.95 }},
		{Name: "a hand before one eye", bright: -1, over: func(x, y float64) bool { return x < -0.05 && x > -1 && within(y, 0.28) }},
	}
}

func coverCommand() *cobra.Command {
	var dir string
	var every int
	var asJSON bool
	var o modelOptions
	cmd := &cobra.Command{
		Use:           "cover --dir DIR",
		Short:         "Measure how covered faces are told from others",
		Long:          "Draws dark glasses, masks and hands on the first picture of every person in\nDIR/NAME/NAME_0001.jpg and counts those of whom the hint uncover-face would speak. A file that is damaged or no picture is named and left out.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := filepath.Glob(filepath.Join(dir, "*", "*_0001.jpg"))
			if err != nil || len(files) == 0 || every < 1 {
				return fmt.Errorf("cover: no pictures DIR/NAME/NAME_0001.jpg in %q, every %d", dir, every)
			}
			models, err := o.open(1)
			if err != nil {
				return err
			}
			defer closeModels(models)
			r := &coverReport{Covers: covers()}
			done := newProgress(cmd.ErrOrStderr(), "pictures", len(files))
			for i, file := range files {
				if i%every == 0 {
					switch err := r.picture(models[0], file, uint64(i)); {
					case errors.Is(err, vision.ErrFrame):
						r.Unreadable = append(r.Unreadable, err.Error())
					case err != nil:
						return err
					}
				}
				done.step()
			}
			done.end()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "folder of pictures NAME/NAME_0001.jpg")
	f.IntVar(&every, "every", 1, "take each `N`th person only")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	o.flags(f)
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func (r *coverReport) picture(m *vision.Model, file string, seed uint64) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := vision.ReadPicture(in)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Wipe()
	faces, err := m.Detect(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(faces) == 0 || faces[0].Quality.Hint() != vision.HintNone {
		return nil
	}
	r.Pictures++
	if faces[0].Quality.Covered() {
		r.Covered++
		return nil // what covers it already says nothing about what is drawn
	}
	for i := range r.Covers {
		c := &r.Covers[i]
		drawn := f.Clone()
		c.draw(drawn, faces[0].Points, rand.New(rand.NewPCG(1, seed)))
		found, err := m.Detect(drawn)
		drawn.Wipe()
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		c.Faces++
		if found[0].Quality.Covered() {
			c.Covered++
		}
	}
	return nil
}

// draw covers the face of a picture, with some noise and folds.
func (c *cover) draw(f *vision.Frame, points [5]vision.Point, rng *rand.Rand) {
	l, r := points[vision.LeftEye], points[vision.RightEye]
	cx, cy := float64(l.X+r.X)/2, float64(l.Y+r.Y)/2
	dx, dy := float64(r.X-l.X), float64(r.Y-l.Y)
	square := dx*dx + dy*dy
	colour := [3]float64{c.bright, c.bright, c.bright}
	if c.bright < 0 {
		nose := points[vision.Nose]
		at := 3 * (min(max(int(nose.Y), 0), f.Height-1)*f.Width + min(max(int(nose.X), 0), f.Width-1))
		for k := range colour {
			colour[k] = 0.8 * float64(f.Pix[at+k])
		}
	}
	for v := range f.Height {
		for u := range f.Width {
			x, y := ((float64(u)-cx)*dx+(float64(v)-cy)*dy)/square, ((float64(v)-cy)*dx-(float64(u)-cx)*dy)/square
			if !c.over(x, y) {
				continue
			}
			fold := 6*math.Sin(4*x)*math.Cos(5*y) + 4*rng.NormFloat64()
			for k := range colour {
				f.Pix[3*(v*f.Width+u)+k] = byte(min(max(colour[k]+fold, 0), 255))
			}
		}
	}
}

func (r *coverReport) print(w io.Writer) {
	if len(r.Unreadable) > 0 {
		fmt.Fprintf(w, "left out, damaged or no pictures: %d\n", len(r.Unreadable))
	}
	for _, u := range r.Unreadable {
		fmt.Fprintf(w, "  %s\n", u)
	}
	fmt.Fprintf(w, "%d of %d faces are covered as they are\n", r.Covered, r.Pictures)
	for _, c := range r.Covers {
		fmt.Fprintf(w, "  %-24s %d of %d are noticed (%.1f %%)\n", c.Name, c.Covered, c.Faces, percent(c.Covered, c.Faces))
	}
}
