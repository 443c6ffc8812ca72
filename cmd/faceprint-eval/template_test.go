package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// touches writes two touches of one finger and one of another as pictures.
func touches(t *testing.T) (same1, same2, other string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, finger, touch uint64) string {
		f := ridge.New(finger)
		path := filepath.Join(dir, name)
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := png.Encode(out, f.Impression(f.Touch(touch, 0.3))); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("1_1.png", 1, 1), write("1_2.png", 1, 2), write("2_1.png", 2, 1)
}

func TestExplainDrawsEveryStage(t *testing.T) {
	a, b, _ := touches(t)
	dir := filepath.Join(t.TempDir(), "out")
	cmd := fingerCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--explain", a, b, "--out", dir})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a-1-picture", "a-3-orientation", "a-4-enhanced", "a-5-minutiae", "b-5-minutiae", "6-pairs"} {
		f, err := os.Open(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	if !strings.Contains(out.String(), "false match rate") {
		t.Errorf("no verdict in %q", out.String())
	}
}

// What is printed is the rate that the daemon would take: of two fingers that show
// much, and of the best of several impressions.
func TestTheRateIsTheDaemons(t *testing.T) {
	dir, f := t.TempDir(), ridge.New(1)
	read := func(path string) *minutia.Template {
		ts, err := readTemplate(path, 500)
		if err != nil {
			t.Fatal(err)
		}
		return ts[0]
	}
	write := func(touch uint64) string {
		path := filepath.Join(dir, fmt.Sprint(touch, ".png"))
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := png.Encode(out, f.Impression(ridge.ImpressionOptions{Seed: touch, Width: 388, Height: 374, Distortion: float64(touch) / 2, OffsetY: float64(touch) / 4})); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// A score between what the tables take for nothing and for sure.
	var m minutia.Matcher
	var b string
	var pb *minutia.Prepared
	a, score := write(1), 0.0
	pa := minutia.Prepare(read(a))
	for touch := uint64(2); ; touch++ {
		if touch > 20 {
			t.Fatal("both tables say the same of all touches")
		}
		b = write(touch)
		pb = minutia.Prepare(read(b))
		if score = m.Match(pa, pb); minutia.FMROf(score, pa, pb) != minutia.FMR(score) {
			break
		}
	}
	want := fmt.Sprintf("score %.2f, false match rate %.2g\n", score, minutia.FMROf(score, pa, pb))
	for _, c := range []struct {
		cmd  *cobra.Command
		args []string
	}{
		{fingerCommand(), []string{"--explain", a, b, "--out", t.TempDir()}},
		{templateCommand(), []string{a, b}},
	} {
		var out bytes.Buffer
		c.cmd.SetOut(&out)
		c.cmd.SetArgs(c.args)
		if err := c.cmd.Execute(); err != nil || !strings.HasSuffix(out.String(), want) {
			t.Errorf("%v: %q, %v, want %q", c.args, out.String(), err, want)
		}
	}
	var out bytes.Buffer
	compareTemplates(&out, []*minutia.Template{read(a)}, []*minutia.Template{read(b), read(b), read(b)})
	if want := fmt.Sprintf("%.2g\n", minutia.FMROf(score, pa, minutia.Prepare(read(b), read(b), read(b)))); !strings.HasSuffix(out.String(), want) {
		t.Errorf("of three views: %q, want %q", out.String(), want)
	}
}

// A record that another program could have written is compared like a picture.
func TestTemplatesConvertAndCompare(t *testing.T) {
	a, b, _ := touches(t)
	run := func(args ...string) (string, error) {
		cmd := templateCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(args)
		err := cmd.Execute()
		return out.String(), err
	}
	dir := t.TempDir()
	for _, to := range []string{"iso", "ansi", "faceprint"} {
		file := filepath.Join(dir, to)
		if err := os.WriteFile(file, []byte("of before"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := run(a, "--to", to, "--out", file); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v: others may read it", to, info.Mode(), err)
		}
		if out, err := run(file, b); err != nil || !strings.Contains(out, "false match rate") {
			t.Errorf("%s: %q, %v", to, out, err)
		}
	}
	if _, err := run(a, "--to", "pdf", "--out", filepath.Join(dir, "x")); err == nil {
		t.Error("wrote a pdf")
	}
	if _, err := run(a); err == nil {
		t.Error("did nothing without an error")
	}
}

// A record may have views of several fingers: none is passed over in silence.
func TestRecordsOfSeveralViews(t *testing.T) {
	a, b, other := touches(t)
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		cmd := templateCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(args)
		err := cmd.Execute()
		return out.String(), err
	}
	read := func(path string) []byte {
		file := filepath.Join(dir, "one")
		if out, err := run(path, "--to", "iso", "--out", file); err != nil {
			t.Fatal(out, err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// The header is of 24 bytes, with the length in 8 to 11 and the views in 22.
	record := read(other)
	record = append(record, read(b)[24:]...)
	binary.BigEndian.PutUint32(record[8:], uint32(len(record)))
	record[22] = 2
	two := filepath.Join(dir, "two")
	if err := os.WriteFile(two, record, 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := run(a, two)
	if err != nil || !strings.Contains(both, "the most alike of 1 and 2 views: 1 and 2") {
		t.Errorf("%q, %v", both, err)
	}
	second, err := run(a, two, "--view", "1")
	if err == nil {
		first := second
		if second, err = run(two, "--view", "2", "--to", "iso", "--out", filepath.Join(dir, "second")); err == nil {
			second, err = run(a, filepath.Join(dir, "second"))
		}
		// The best of two has more chances than one: the rate differs.
		said, _, _ := strings.Cut(second, ", false match rate")
		if err != nil || first == second || !strings.Contains(both, said) {
			t.Errorf("both %q, first %q, second %q, %v", both, first, second, err)
		}
	} else {
		t.Error(err)
	}
	for _, args := range [][]string{{two, "--to", "iso", "--out", filepath.Join(dir, "x")}, {a, two, "--view", "3"}, {a, two, "--view", "-1"}} {
		if out, err := run(args...); err == nil || !strings.Contains(err.Error(), "--view") {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
}

// Errors name the file, once, and say what would do.
func TestWhatIsNoTemplate(t *testing.T) {
	a, _, _ := touches(t)
	bad := filepath.Join(t.TempDir(), "bad")
	for content, want := range map[string]string{
		"":                           "neither a picture",
		"\x00FMR":                    "neither a picture",
		"\x89PNG\r\n\x1a\n":          "EOF",
		"FMR\x00 20\x00\x00\x00\x01": "malformed minutiae record",
		"Fm":                         "malformed template",
	} {
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := templateCommand()
		cmd.SetArgs([]string{a, bad})
		if err := cmd.Execute(); err == nil || strings.Count(err.Error(), bad) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}
