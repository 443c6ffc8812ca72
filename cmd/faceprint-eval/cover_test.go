package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was measured before a damaged picture, and is after it, is not lost.
func TestADamagedPictureIsLeftOutOfTheCovers(t *testing.T) {
	o := blank(t)
	if _, err := os.Stat(filepath.Join(o.model.dir, "fr_detect.onnx")); err != nil {
		t.Skip("no models: make fetch")
	}
	bad := filepath.Join(o.dir, "a", "a_0001.jpg") // the first of two
	if err := os.WriteFile(bad, []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		var out bytes.Buffer
		cmd := coverCommand()
		cmd.SetArgs(append([]string{"--dir", o.dir, "--models", o.model.dir}, args...))
		cmd.SetOut(&out)
		cmd.SetErr(&bytes.Buffer{})
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	var r coverReport
	if err := json.Unmarshal([]byte(run("--json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Unreadable) != 1 || !strings.HasPrefix(r.Unreadable[0], bad+": ") || strings.Count(r.Unreadable[0], bad) != 1 {
		t.Errorf("unreadable: %q", r.Unreadable)
	}
	if text := run(); !strings.Contains(text, "no pictures: 1\n") || !strings.Contains(text, bad) {
		t.Errorf("printed:\n%s", text)
	}
}
