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

// Who was passed over is said, with what the clip comes to otherwise, and no rate
// stands without its interval.
func TestTheReportTellsWhoWasPassedOver(t *testing.T) {
	r := &livenessReport{Clips: []livenessClip{
		{File: "a.mp4", Accepted: 19, Rejected: 1, Asked: 2, Framed: 1},
		{File: "b.mp4", Attack: true, Rejected: 8, Framed: 6, Bystander: 150, PassedOver: 30, All: 90, With: &livenessClip{Accepted: 2, Rejected: 7}},
	}}
	r.sum()
	text := strings.Join(r.lines(), "\n")
	for _, want := range []string{
		"0 of 8 decisions accepted, so an APCER of up to 37 %", "1 of 20 decisions refused, a BPCER of 0.1 to 24.9 %", "2 would be asked to move (1.3 to 33 %)",
		"In b.mp4, faces of more than 150 pixels", "in 30 of 90 frames (`--bystander b.mp4=150`)", "2 of the clip's 9 decisions are accepted",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	var b strings.Builder
	r.Spans = &spanReport{}
	r.print(&b)
	for _, want := range []string{"passed over, in 30 of 90 frames; with them: 2 accepted, 7 refused", "at the decision on liveness: 6 of 8 attacks, 1 of 20 living people"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
