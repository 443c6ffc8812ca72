package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		if _, err := run(a, "--to", to, "--out", file); err != nil {
			t.Fatalf("%s: %v", to, err)
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
