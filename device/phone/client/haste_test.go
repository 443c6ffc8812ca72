package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// A phone that was told to be slower waits as long as the device says, asks again
// on the connection that it has, and in the end gives up.
func TestHastyPhonesWait(t *testing.T) {
	for name, c := range map[string]struct {
		refusals int    // before an answer
		after    string // Retry-After
		waits    []time.Duration
		status   int // of the error; 0: none
	}{
		"at once":    {0, "1", nil, 0},
		"once":       {1, "2", []time.Duration{2 * time.Second}, 0},
		"for good":   {99, "1", []time.Duration{time.Second, time.Second}, http.StatusTooManyRequests},
		"not said":   {1, "", nil, http.StatusTooManyRequests},
		"an hour":    {1, "3600", nil, http.StatusTooManyRequests},
		"no seconds": {1, "soon", nil, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			var dials, asked atomic.Int64
			device := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set(CounterHeader, fmt.Sprint(asked.Load()))
				if asked.Add(1) <= int64(c.refusals) {
					if c.after != "" {
						w.Header().Set("Retry-After", c.after)
					}
					w.Header().Set("Content-Type", "application/problem+json")
					w.WriteHeader(http.StatusTooManyRequests)
					_, _ = io.WriteString(w, `{"type":"urn:faceprint:problem:too-many","status":429}`)
					return
				}
				_ = json.NewEncoder(w).Encode(struct{}{})
			}))
			device.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
			device.Config.ErrorLog = log.New(io.Discard, "", 0)
			device.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					dials.Add(1)
				}
			}
			device.StartTLS()
			defer device.Close()
			i, err := NewIdentity("")
			if err != nil {
				t.Fatal(err)
			}
			phone := New(device.Listener.Addr().String(), sha256.Sum256(device.Certificate().RawSubjectPublicKeyInfo), i, i)
			defer phone.Close()
			var waits []time.Duration
			phone.pause = func(_ context.Context, d time.Duration) error {
				waits = append(waits, d)
				return nil
			}
			err = phone.Answer(t.Context(), "x", true) // what must not be done twice
			if e, ok := err.(interface{ GetStatus() int }); c.status == 0 && err != nil || ok && e.GetStatus() != c.status || c.status != 0 && err == nil {
				t.Errorf("%v", err)
			}
			if !slices.Equal(waits, c.waits) || dials.Load() != 1 || asked.Load() != int64(len(c.waits)+1) {
				t.Errorf("waited %v, %d connections, %d requests", waits, dials.Load(), asked.Load())
			}
		})
	}
}
