package sensor_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

var update = flag.Bool("update", false, "write the recordings of the simulator anew")

// The recordings are what modules said to this driver: the simulator's own, and
// those that technicians send (faceprint sensor record). Each must still be
// understood, and nothing else be said to the module.
func TestRecordings(t *testing.T) {
	if *update {
		for model := range modsim.Personalities {
			synctest.Test(t, func(t *testing.T) {
				r := &sensor.Recorder{Line: plugIn(t, newSim(t, model))}
				m, err := sensor.New(t.Context(), r, sensor.Config{})
				if err == nil {
					err = m.Survey(t.Context(), &bytes.Buffer{})
				}
				if err == nil {
					err = os.WriteFile(filepath.Join("testdata", "recordings", "modsim-"+model+".txt"), sensor.FormatRecording(r.Events()), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	files, _ := filepath.Glob("testdata/recordings/*.txt")
	if len(files) < len(modsim.Personalities) {
		t.Fatalf("there are only %q", files)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		events, err := sensor.ParseRecording(text)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		r := sensor.NewReplay(events)
		m, err := sensor.New(t.Context(), r, sensor.Config{})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var report bytes.Buffer
		if err := errors.Join(m.Survey(t.Context(), &report), r.Done()); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "modsim-"), ".txt"); modsim.Personalities[name].Capacity != 0 && m.Info().Capacity != modsim.Personalities[name].Capacity {
			t.Errorf("%s: %+v", f, m.Info())
		}
	}
}

func TestReplayOfAnotherTalk(t *testing.T) {
	r := sensor.NewReplay([]sensor.Event{{Sent: true, Data: []byte{1, 2}}, {Data: []byte{3}}})
	if err := r.Done(); !errors.Is(err, sensor.ErrRecording) {
		t.Errorf("not begun: %v", err)
	}
	if _, err := r.Write([]byte{1, 3}); !errors.Is(err, sensor.ErrRecording) {
		t.Errorf("another byte: %v", err)
	}
	if _, err := r.Write([]byte{1, 2}); err != nil {
		t.Error(err)
	}
	if _, err := r.Write([]byte{1, 2}); !errors.Is(err, sensor.ErrRecording) {
		t.Errorf("after the end: %v", err)
	}
}

func FuzzParseRecording(f *testing.F) {
	f.Add([]byte("# faceprint recording 1\n> EF01\n# note\n< 55\n"))
	f.Add([]byte("# faceprint recording 1\r\n>  00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		events, err := sensor.ParseRecording(text)
		if err != nil {
			if !errors.Is(err, sensor.ErrRecording) {
				t.Fatal(err)
			}
			return
		}
		again, err := sensor.ParseRecording(sensor.FormatRecording(events))
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events become %d (%v)", len(events), len(again), err)
		}
		for i := range events {
			if events[i].Sent != again[i].Sent || !bytes.Equal(events[i].Data, again[i].Data) {
				t.Fatalf("event %d changes", i)
			}
		}
	})
}
