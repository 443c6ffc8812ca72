package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/sensor/minutia"
)

func TestPGM(t *testing.T) {
	want := []byte{0, 51, 102, 153, 204, 255}
	for name, s := range map[string]string{
		"plain":      "P5\n3 2\n255\n\x00\x33\x66\x99\xcc\xff",
		"comments":   "P5\n# CREATOR: GIMP\n3 2 # so wide and high\n#\n255\n\x00\x33\x66\x99\xcc\xff",
		"one line":   "P5 3 2 255 \x00\x33\x66\x99\xcc\xff",
		"five":       "P5 3 2 5\n\x00\x01\x02\x03\x04\x05",
		"sixteen":    "P5 3 2 65535\n\x00\x00\x33\x33\x66\x66\x99\x99\xcc\xcc\xff\xff",
		"white data": "P5\n3\t2\r255\n\x00\x33\x66\x99\xcc\xff",
	} {
		img, err := readPGM(strings.NewReader(s))
		if err != nil || img.Rect != image.Rect(0, 0, 3, 2) || !bytes.Equal(img.Pix, want) {
			t.Errorf("%s: %v, %v", name, img, err)
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "text": "P2 1 1 255\n0", "cut header": "P5 3", "cut": "P5 3 2 255\n\x00", "no number": "P5 3 x 255\n",
		"huge": "P5 20000 20000 255\n", "negative": "P5 -1 1 255\n", "levels": "P5 1 1 70000\n..", "long": "P5 12345678901 1 255\n", "endless comment": "P5 #",
	} {
		if img, err := readPGM(strings.NewReader(s)); err == nil {
			t.Errorf("%s: %v", name, img.Rect)
		}
	}
}

func FuzzPGM(f *testing.F) {
	f.Add([]byte("P5\n# x\n3 2\n255\n\x00\x33\x66\x99\xcc\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if img, err := readPGM(bytes.NewReader(b)); err == nil && len(img.Pix) != img.Rect.Dx()*img.Rect.Dy() {
			t.Errorf("%v with %d pixels", img.Rect, len(img.Pix))
		}
	})
}

// A file that says it is huge is refused by its header: this one has no pixels.
func TestHugePicturesAreNotDecoded(t *testing.T) {
	header := binary.BigEndian.AppendUint32(nil, 13)
	chunk := append([]byte("IHDR"), 0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20, 8, 0, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n"), append(header, chunk...)...)
	file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(chunk))
	path := filepath.Join(t.TempDir(), "huge.png")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readGray(path)
	if !errors.Is(err, minutia.ErrPicture) || strings.Count(err.Error(), path) != 1 || !strings.Contains(err.Error(), "20000 x 20000") {
		t.Error(err)
	}
}

// A file that cannot be read is a picture of which nothing can be, and does not
// end the run.
func TestUnreadableFilesCount(t *testing.T) {
	a, b, c := touches(t)
	dir := filepath.Dir(a)
	for _, p := range []string{b, c} {
		if filepath.Dir(p) != dir {
			t.Fatal(p)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "2_2.tif"), []byte("II*\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, run, err := evaluateFingers(fingerOptions{dir: dir, dpi: 500, jobs: 1})
	if err != nil || r.Failures != 1 || r.Genuine != 2 || len(run) != 6 {
		t.Fatalf("%+v, %d, %v", r, len(run), err)
	}
	// Of two genuine pairs one failed; without the file none does, which says
	// nothing yet.
	if r.Shipped != 50 {
		t.Errorf("%g %% are refused", r.Shipped)
	}
	if err := os.Remove(filepath.Join(dir, "2_2.tif")); err != nil {
		t.Fatal(err)
	}
	if r, _, err = evaluateFingers(fingerOptions{dir: dir, dpi: 500, jobs: 1}); err != nil || r.EER != 0 || r.EER95[1] != 100 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Through a record, minutiae alone are compared, and find their finger all the same.
func TestRecordsAreCompared(t *testing.T) {
	a, _, _ := touches(t)
	o := fingerOptions{dir: filepath.Dir(a), dpi: 500, jobs: 1}
	whole, _, err := evaluateFingers(o)
	if err != nil {
		t.Fatal(err)
	}
	o.record = true
	r, run, err := evaluateFingers(o)
	if err != nil || r.EER != 0 || r.Failures != 0 || r.TemplateBytes >= whole.TemplateBytes {
		t.Errorf("%+v, %v", r, err)
	}
	if _, _, err := evaluateFingers(fingerOptions{dir: o.dir, dpi: 500, jobs: 1, enroll: 2}); err == nil || !strings.Contains(err.Error(), "--enroll 2 leaves no impression") {
		t.Errorf("all impressions are enrolled: %v", err)
	}
	pics, err := listFingers(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pics {
		pics[i].read(o)
		for _, p := range pics[i].template.Ridges.Patches {
			if p.On {
				t.Fatalf("%s: a record has a ridge", pics[i].path)
			}
		}
	}
	if len(run) != 3 {
		t.Errorf("%d comparisons", len(run))
	}
}

func TestOptionsThatMeanNothingAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--dir", dir, "--enroll", "-3"},
		{"--dir", dir, "--window", "-5"},
		{"--dir", dir, "--jobs", "0"},
		{"--dir", dir, "--out", dir},
		{"--explain", "a", "b", "--out", dir, "--enroll", "4"},
		{"--table", "3", "--dir", dir},
		{"--search", "3", "--record", dir},
		{"--dir", dir, "--record", "--enroll", "4"},
	} {
		cmd := fingerCommand()
		cmd.SetArgs(args)
		cmd.SetOut(new(bytes.Buffer))
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "--") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// The window is drawn too, and what was not aligned is not said to be measured.
func TestExplainInAWindow(t *testing.T) {
	a, _, other := touches(t)
	dir := t.TempDir()
	cmd := fingerCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--explain", a, other, "--out", dir, "--window", "192"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "a-1-picture.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() > 200 {
		t.Errorf("%v, %v", img.Bounds(), err)
	}

	out.Reset()
	printEvidence(&out, &minutia.Evidence{Relaxed: 0.3}, 1)
	if !strings.Contains(out.String(), "not aligned") || strings.Contains(out.String(), "phase") {
		t.Error(out.String())
	}
}
