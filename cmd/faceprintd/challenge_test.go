package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// The clip of the person who is enrolled is what an attacker would play: it
// matches and passes for living, and does not hear what it is asked to do.
func TestARecordingDoesNotHearAChallenge(t *testing.T) {
	models, clips, ok := real()
	if !ok {
		t.Skip("needs the models, the clips and OpenCV: make fetch")
	}
	t.Parallel()
	d := startDaemon(t, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n[policy]\nmode = \"face\"\nchallenge = \"on\"\n", filepath.Join(clips, clipAlice), models))
	d.ready(t, "camera", "faces")
	alice := d.enrol(t.Context(), t, client.Enrolment{Name: "Alice", Factors: []string{"face"}, Consent: client.Consent{Given: true, TextVersion: "test"}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ready := make(chan struct{})
	asked := make(chan string, 100)
	go func() {
		_ = d.client.Events(ctx, func() { close(ready) }, func(e client.Event) error {
			if e.Kind == "hint" {
				asked <- e.Hint
			}
			return nil
		})
		close(asked)
	}()
	<-ready
	got, err := d.client.Authenticate(t.Context(), client.Attempt{User: alice.User, TimeoutMs: int((30 * time.Second).Milliseconds())})
	if err != nil || got.Outcome != client.Refused || !slices.Equal(got.Reasons, []string{"face-no-answer"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	cancel()
	var hints []string
	for h := range asked {
		hints = append(hints, h)
	}
	if !slices.Contains(hints, "look-straight") {
		t.Errorf("hints: %q", hints)
	}
	page, err := d.client.Audit(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	last := page.Entries[len(page.Entries)-1]
	moves := 0
	for name := range last.Scores {
		if strings.HasPrefix(name, "face-move") {
			moves++
		}
	}
	if last.Outcome != "refused" || !(last.Scores["face-live"] > 0.5) || !(last.Scores["face-fmr"] <= 1e-4) || moves < 2 {
		t.Errorf("the record: %+v", last)
	}
}
