package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// watched is a daemon that knows who is there, and then tells what happens.
func watched(t *testing.T, present string, events ...string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(client.Status{State: "ready", Present: present})
		asked <- struct{}{}
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-asked
		for _, e := range events {
			fmt.Fprintf(w, "data: {\"kind\":\"presence\",\"outcome\":%q}\n\n", e)
			_ = http.NewResponseController(w).Flush()
		}
		if len(events) == 0 || events[len(events)-1] != "stops" {
			<-r.Context().Done()
		}
	})
	s := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return socket
}

// A session is ended by this command, so it must not wait for the leaving of
// somebody who is not there.
func TestLeftLearnsWhoIsThereFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		present string
		grace   string
		events  []string
		code    int
		says    string
	}{
		"they leave":                            {"somebody", "1ms", []string{"left"}, 0, ""},
		"nobody is there":                       {"nobody", "1ms", nil, 0, ""},
		"they step up in time and leave":        {"nobody", "1h", []string{"came", "left"}, 0, ""},
		"they left while it asked":              {"nobody", "1h", []string{"left"}, 0, ""},
		"nobody watches":                        {"", "1ms", nil, exitFault, "watches nobody"},
		"the device stops while they are there": {"somebody", "1ms", []string{"stops"}, exitFault, "stopped answering"},
		"it stops while it cannot see":          {"blind", "1ms", []string{"stops"}, exitFault, "stopped answering"}, // and not after 1 ms
	} {
		code, _, said := faceprint(t, "--socket", watched(t, tt.present, tt.events...), "kiosk", "left", "--grace", tt.grace)
		if code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("%s: code %d, %s", name, code, said)
		}
	}
}
