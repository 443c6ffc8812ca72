package main

import (
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// blank writes pictures without a face, and a pairs file that names them.
func blank(t *testing.T) (o faceOptions) {
	t.Helper()
	o = faceOptions{dir: t.TempDir(), jobs: 1}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(o.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 2; n++ {
			f, err := os.Create(filepath.Join(o.dir, name, fmt.Sprintf("%s_%04d.jpg", name, n)))
			if err == nil {
				err = png.Encode(f, image.NewGray(image.Rect(0, 0, 64, 64)))
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	o.pairs = filepath.Join(o.dir, "pairs.txt")
	if err := os.WriteFile(o.pairs, []byte("2 1\na 1 2\na 1 b 1\nb 1 2\na 2 b 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.model.dir, o.model.profile, o.model.engine = os.Getenv("FACEPRINT_MODELS"), "faceplugin", "opencv"
	if o.model.dir == "" {
		o.model.dir = filepath.Join("..", "..", "var", "models")
	}
	return o
}

// One bad file of thousands does not end the run after all of the work: it
// matches nobody, and is named.
func TestADamagedPictureIsNamedAndMatchesNobody(t *testing.T) {
	o := blank(t)
	if _, err := os.Stat(filepath.Join(o.model.dir, "fr_detect.onnx")); err != nil {
		t.Skip("no models: make fetch")
	}
	bad := filepath.Join(o.dir, "b", "b_0002.jpg")
	if err := os.WriteFile(bad, []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, err := evaluateFaces(o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failures != 4 || len(r.Unreadable) != 1 || !strings.HasPrefix(r.Unreadable[0], bad+": ") {
		t.Errorf("%d failures, unreadable %q", r.Failures, r.Unreadable)
	}
	var b strings.Builder
	r.print(&b)
	if !strings.Contains(b.String(), bad) {
		t.Errorf("printed:\n%s", b.String())
	}
}

// A folder that is another one is told before the work, and before the models.
func TestPicturesThatAreNotThereAreToldFirst(t *testing.T) {
	o := blank(t)
	if err := os.RemoveAll(filepath.Join(o.dir, "a")); err != nil {
		t.Fatal(err)
	}
	o.model.dir = filepath.Join(o.dir, "no-models")
	_, _, err := evaluateFaces(o, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "2 of 4 pictures are not there") || !strings.Contains(err.Error(), "a_0001.jpg") {
		t.Error(err)
	}
}

// What is wrong with a first line is said of it: one fold is well written and
// cannot be cross-validated.
func TestTheFirstLineOfAPairsFile(t *testing.T) {
	for first, want := range map[string]string{
		"1\t1": "line 1: 1 folds: ", "0 3": "at least 2 folds", "-1 3": "at least 2 folds",
		"two 1": `line 1: "two 1" is not "FOLDS PAIRS"`, "2 0": `is not "FOLDS PAIRS"`,
	} {
		if _, err := readPairs(strings.NewReader(first+"\na 1 2\na 1 b 1\n"), "d"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", first, err, want)
		}
	}
}

// An EER beyond the share of impostors that is otherwise kept is counted as well, of
// the people as they are and drawn anew: half of that share was told in its place.
func TestTheEERIsCountedWhereverItIs(t *testing.T) {
	const people = 100
	for _, percent := range []int{1, 4, 20, 45, 100} {
		run := &faceRun{weight: make([]float64, people), against: make([]float64, people)}
		var impostors []faceScore
		for who := range int32(people) { // so many in a hundred of them are no more like themselves than like anybody
			run.weight[who], run.against[who] = 1, 1
			score := float32(2)
			if int(who) < percent {
				score = -1
			}
			run.genuine = append(run.genuine, faceScore{score, who, who})
			for other := range int32(people) {
				if other == who {
					continue
				}
				impostors = append(impostors, faceScore{1 - float32((other-who+people)%people)/people, who, other})
			}
		}
		run.keep(impostors)
		if got := run.figures(nil).eer; math.Abs(got-float64(percent)) > 1 {
			t.Errorf("EER %.2f %%, want %d", got, percent)
		}
		if eer, _, _, _ := run.intervals(people); !(eer[0] <= float64(percent)+1 && eer[1] >= float64(percent)-1) {
			t.Errorf("EER of %d %%: %.2f to %.2f", percent, eer[0], eer[1])
		}
	}
}
