package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFiguresGoBetweenTheirLines(t *testing.T) {
	const doc = "# A\n<!-- faces -->\nold\nolder\n<!-- end -->\ntext\n<!-- liveness -->\n<!-- end -->\n"
	got, err := between(doc, "faces", []string{"new"})
	if err == nil {
		got, err = between(got, "liveness", []string{"a", "b"})
	}
	if want := "# A\n<!-- faces -->\nnew\n<!-- end -->\ntext\n<!-- liveness -->\na\nb\n<!-- end -->\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "<!-- faces -->\nx", "<!-- end -->\n<!-- faces -->\n"} {
		if got, err := between(bad, "faces", nil); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// The README can be written into, and one that cannot is left as it is.
func TestReportsGoIntoAFileThatHasAPlace(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"faces", "liveness"} {
		if _, err := between(string(doc), name, nil); err != nil {
			t.Errorf("README.md: %v", err)
		}
	}
	name := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(name, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]reportOptions{
		"nothing to measure":    {readme: name},
		"no line <!-- faces":    {readme: name, face: faceOptions{dir: "x", pairs: "y"}},
		"no line <!-- liveness": {readme: name, liveness: livenessOptions{live: []string{"x"}}},
		"no such file":          {readme: name + "x"},
	} {
		if err := report(t.Context(), o, os.Stdout, os.Stderr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != "# none\n" {
		t.Errorf("%q, %v", after, err)
	}
}
