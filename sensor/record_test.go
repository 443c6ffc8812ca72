package sensor_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
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

// What a technician sends replays as it went: with the module's own address, with
// answers that did not come, and with one that came when nobody waited any more.
func TestRecordingOfABadTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, address := range []uint32{0, 0x12345678} {
			s := newSim(t, "r503")
			if address != 0 {
				if err := wired(t, s).SetAddress(t.Context(), address); err != nil {
					t.Fatal(err)
				}
			}
			c := sensor.Config{Address: address, Baud: 57600}
			var whole bytes.Buffer
			if err := wiredAs(t, s, c).Survey(t.Context(), &whole); err != nil {
				t.Fatal(err)
			}
			bad := 0
			for _, fault := range []string{"fault out delay %d 1510", "fault out delay %d 320", "fault out drop %d 12", "fault out drop %d 5", "fault in drop %d 12"} {
				for at := 0; at < 1100; at += 60 {
					do(t, s, "fault clear", fmt.Sprintf(fault, at))
					var heard, again bytes.Buffer
					r := &sensor.Recorder{Line: plugIn(t, s)}
					m, err := sensor.New(t.Context(), r, c)
					if err == nil {
						err = m.Survey(t.Context(), &heard)
					}
					if err != nil {
						continue // a failed survey is no recording to replay to its end
					}
					text := sensor.FormatRecording(r.Events())
					if bytes.Contains(text, []byte("\n-\n")) {
						bad++
					}
					events, err := sensor.ParseRecording(text)
					if err != nil {
						t.Fatal(err)
					}
					replay := sensor.NewReplay(events)
					if got := replay.Address(); got != cmp.Or(address, sensor.DefaultAddress) {
						t.Errorf("the address is %08X, want %08X", got, address)
					}
					m, err = sensor.New(t.Context(), replay, sensor.Config{Address: replay.Address()})
					if err == nil {
						err = errors.Join(m.Survey(t.Context(), &again), replay.Done())
					}
					if err != nil || again.String() != heard.String() {
						t.Errorf(fault+", address %08X: %v, it says\n%s, not\n%s", at, address, err, &again, &heard)
					}
				}
			}
			if bad < 20 {
				t.Errorf("only %d talks had a silence", bad)
			}
		}
	})
}

// What a module has not got is said, and is no failure of the survey.
func TestSurveyOfWhatIsMissing(t *testing.T) {
	for model, want := range map[string][]string{
		"r503":  {"slots: it has no index", "information page: it has no such instruction"},
		"r307":  {"slots: it has no index", "information page: it has no such instruction", "sensor: it has no such instruction"},
		"as608": {"slots: it has no index", "information page: no answer", "sensor: no answer"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			do(t, s, "quirk nopage", "quirk noindex")
			var report bytes.Buffer
			if err := wired(t, s).Survey(t.Context(), &report); err != nil {
				t.Errorf("%s: %v", model, err)
			}
			for _, line := range want {
				if !strings.Contains(report.String(), line) {
					t.Errorf("%s: %q is not in\n%s", model, line, &report)
				}
			}
		})
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

// What is no recording is told for what it is.
func TestWhatIsNoRecording(t *testing.T) {
	const header = "# faceprint recording 1\n"
	for text, want := range map[string]string{
		"":                          "it is empty",
		"\xff\xfe#\x00 \x00":        "UTF-16",
		"# faceprint recording 2\n": `version "2"`,
		"\n" + header:               "line 1: a recording begins with",
		"\x1f\x8b\b":                "line 1: a recording begins with",
		header:                      "nothing was recorded",
		header + "# a note\n\n":     "nothing was recorded",
		header + "> EF0\n":          `line 2: "> EF0" is no event`,
		header + "\n&gt; EF01\n":    `line 3: "&gt; EF01" is no event`,
		header + ">\n":              "line 2",
		header + "> 00\n= 00\n":     "line 3",
		header + "> 00\n< " + strings.Repeat("00", 9000): "line 3: longer than",
		header + "< " + strings.Repeat("00", 4097):       "line 2",
	} {
		_, err := sensor.ParseRecording([]byte(text))
		if !errors.Is(err, sensor.ErrRecording) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	for _, begin := range []string{"", "\uFEFF"} { // an editor's mark, and its ends of lines
		events, err := sensor.ParseRecording([]byte(begin + strings.ReplaceAll(header+"> EF01\n-\n", "\n", "\r\n")))
		if err != nil || len(events) != 2 {
			t.Errorf("%q: %d events, %v", begin, len(events), err)
		}
	}
}

func FuzzParseRecording(f *testing.F) {
	f.Add([]byte("# faceprint recording 1\n> EF01\n# note\n< 55\n"))
	f.Add([]byte("# faceprint recording 1\r\n>  00"))
	f.Add([]byte("# faceprint recording 1\n> EF01\n-\n < 55\n-\n-"))
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
