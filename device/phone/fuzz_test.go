package phone

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// FuzzSigned gives what lies behind a good signature whatever a paired phone may
// say: the signature always holds. Nothing panics, whatever is answered has the
// one shape, no phone acts for another person, and only what was asked for well
// reaches the device.
func FuzzSigned(f *testing.F) {
	device := &authenticator{decision: wire.Decision{Outcome: wire.Granted, Grant: "a grant"}}
	vault := newMemory("alice", "bob")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, err := client.PublicKey(key)
	if err != nil {
		f.Fatal(err)
	}
	// A browser's key: its binding is the session's, so no connection is needed.
	record := Record{User: "alice", Key: public.String(), Kind: client.Browser, Name: "fuzzed", Paired: noon(), By: "admin", Rights: Rights}
	if err := vault.Pair(record, Counter{ID: public.ID(), User: "alice", Seen: noon()}, nil, noon()); err != nil {
		f.Fatal(err)
	}
	p, err := Open(vault, device, Options{Limits: many, Browsers: true, Log: slog.New(slog.DiscardHandler), Now: noon})
	if err != nil {
		f.Fatal(err)
	}
	session := p.sessions.open(p.tick())
	var counter atomic.Uint64
	l := &listener{count: map[netip.Prefix]int{}, refused: func(reason) {}}

	for _, s := range [][3]string{
		{"POST", "/v1/unlock", `{"audience":"door","nonce":"n","timeout_ms":120000}`},
		{"POST", "/v1/verify", `{"audience":"faceprint:pair","nonce":"n"}`},
		{"POST", "/v1/verify", `{"audience":"a","nonce":"n","user":"bob"}`},
		{"POST", "/v1/kiosk", `{}`},
		{"POST", "/v1/requests/bobs", `{"approve":true}`},
		{"POST", "/v1/requests/..%2Fx", `{"approve":null}`},
		{"GET", "/v1/history?limit=100&before=18446744073709551615", ""},
		{"GET", "/v1/history?limit=-1&limit=1&before=%00", ""},
		{"GET", "/v1/me?user=bob", ""},
		{"HEAD", "/v1/events", ""},
		{"GET", "/v1/keys", ""},
		{"GET", "/v1/requests", ""},
		{"GET", "/v1/phones", ""},
		{"POST", "/v1/pair", `{"invite":"AAAAAAAAAAAA"}`},
	} {
		f.Add(s[0], s[1], "application/json", "", "", s[2])
	}
	f.Fuzz(func(t *testing.T, method, target, media, name, value, body string) {
		r, err := http.NewRequest(method, "https://x", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		if r.URL, err = r.URL.Parse(target); err != nil {
			return
		}
		if r.URL.Path == "/v1/me" && method == http.MethodDelete {
			return // it is the phone's end
		}
		r.RequestURI, r.TLS = target, &tls.ConnectionState{Version: tls.VersionTLS13}
		if name != "" && !slices.Contains([]string{"authorization", "faceprint-session"}, strings.ToLower(name)) {
			r.Header.Add(name, value)
		}
		r.Header.Set("Content-Type", media)
		r.Header.Set(client.SessionHeader, session.String())
		n := counter.Add(1)
		sig, err := client.Sign(key, client.Request{Method: r.Method, Target: target, Counter: n, Binding: session, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", sig.String())
		bobs := &waiting{user: "bob", answer: make(chan verdict, 1), Pending: client.Pending{ID: "bobs", Since: noon(), Expires: noon()}}
		p.pending.add(bobs)
		defer p.pending.remove("bobs")
		device.mu.Lock()
		device.asked = nil
		device.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w := httptest.NewRecorder()
		conn, far := net.Pipe() // the oldest of a phone's connections gives way, and is closed
		defer far.Close()
		p.ServeHTTP(w, r.WithContext(context.WithValue(ctx, boundKey{}, &bound{link: &link{Conn: conn, l: l}})))

		head := w.Header()
		if w.Code == http.StatusUnauthorized && r.URL.Path != "/v1/pair" {
			t.Errorf("%s %q: a good signature does not hold: %s", method, target, w.Body)
		}
		switch w.Code / 100 {
		case 2:
			if media := head.Get("Content-Type"); strings.HasPrefix(r.URL.Path, "/v1/") && (media != "application/json" || !json.Valid(w.Body.Bytes()) && method != http.MethodHead) {
				t.Errorf("%s %q: %d %q %.100q", method, target, w.Code, media, w.Body)
			}
		case 4, 5:
			var problem wire.Error
			if head.Get("Content-Type") != "application/problem+json" || method != http.MethodHead && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Status != w.Code || problem.Problem() == "") {
				t.Errorf("%s %q: %d %.200q", method, target, w.Code, w.Body)
			}
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s %q: %s", method, target, w.Body)
			}
		default:
			t.Errorf("%s %q: %d", method, target, w.Code)
		}
		if said := w.Body.String(); strings.Contains(said, "goroutine ") || strings.Contains(said, ".go:") || strings.Contains(said, "bobs") && !strings.Contains(body+target+media, "bobs") {
			t.Errorf("%s %q tells of our insides, or of somebody else: %s", method, target, said)
		}
		if len(bobs.answer) != 0 {
			t.Errorf("%s %q: alice's phone answered for bob", method, target)
		}
		device.mu.Lock()
		defer device.mu.Unlock()
		for _, a := range device.asked {
			if a.User != "alice" || a.Phone != public.ID() || strings.HasPrefix(a.Audience, wire.OwnAudience) || a.Timeout < 0 || a.Timeout > 2*time.Minute ||
				len(a.Audience) > 4*256 || len(a.Nonce) > 4*256 || w.Code/100 == 4 || !slices.Contains([]string{"/v1/unlock", "/v1/verify", "/v1/kiosk"}, r.URL.Path) {
				t.Errorf("%s %q: the device was asked %+v, and it answered %d", method, target, a, w.Code)
			}
		}
	})
}

// FuzzRecord gives the phones whatever a vault may hold: a record and a counter
// that pass their checks are a phone that can be listed, and are written again as
// they were; what does not is an error.
func FuzzRecord(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, err := client.PublicKey(key)
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range []Record{
		{User: "alice", Key: public.String(), Kind: client.App, Name: "n", Platform: "p", Paired: noon(), By: "admin", Rights: Rights, Schedule: "mon-fri 08:00-18:00", Expires: noon()},
		{User: "alice", Key: public.String(), Kind: client.Browser, Name: "n", Paired: noon(), Rights: []string{Unlock}, Revoked: noon()},
		{},
	} {
		c := Counter{ID: public.ID(), User: r.User, Top: 7, Seen: noon(), Known: noon(), Sure: noon()}
		record, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		counter, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record, counter)
	}
	f.Fuzz(func(t *testing.T, record, counter []byte) {
		var k Kept
		if json.Unmarshal(record, &k.Record) != nil || json.Unmarshal(counter, &k.Counter) != nil {
			return
		}
		if k.Record.Check() != nil || k.Counter.Check() != nil {
			return
		}
		x, err := load(k)
		if err != nil {
			return // another phone's counter
		}
		w := x.wire()
		if w.ID != k.Counter.ID || w.User != k.Record.User || len(w.Rights) == 0 {
			t.Errorf("%+v of %+v", w, k)
		}
		for _, right := range w.Rights {
			if !slices.Contains(Rights, right) {
				t.Errorf("right %q", right)
			}
		}
		if x.last > client.MaxCounter || x.top != x.last {
			t.Errorf("its counter is %d, reserved to %d", x.last, x.top)
		}
		b, err := json.Marshal(x.record)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		var again Record
		if err := json.Unmarshal(b, &again); err != nil || again.Check() != nil {
			t.Errorf("written again it is no record: %v, %v", err, again.Check())
		}
		if c, err := json.Marshal(x.counter(k.Counter.Known, k.Counter.Sure)); err != nil || !json.Valid(c) {
			t.Errorf("its counter cannot be written again: %v", err)
		}
	})
}
