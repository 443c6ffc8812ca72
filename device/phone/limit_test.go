package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

func TestBucket(t *testing.T) {
	var b bucket
	now, r := noon(), Rate{PerSecond: 10, Burst: 3}
	for n := range 3 {
		if !b.allow(r, now) {
			t.Errorf("%d of 3 at once is refused", n+1)
		}
	}
	if b.allow(r, now) {
		t.Error("a fourth at once is allowed")
	}
	if now = now.Add(100 * time.Millisecond); !b.allow(r, now) || b.allow(r, now) {
		t.Error("after a tenth of a second not exactly one more is allowed")
	}
	now = now.Add(time.Hour)
	saved := 0
	for b.allow(r, now) {
		saved++
	}
	if saved != r.Burst {
		t.Errorf("an hour saves up %d, not the burst of %d", saved, r.Burst)
	}
}

func TestLimiterForgetsAndIsBounded(t *testing.T) {
	l := newLimiter(Rate{PerSecond: 1, Burst: 1})
	now := noon()
	address := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
	}
	for n := range maxAddresses {
		if !l.allow(address(n), now) {
			t.Fatal("a newcomer is refused")
		}
	}
	// Strangers beyond the bound share one bucket.
	if !l.allow(address(maxAddresses), now) || l.allow(address(maxAddresses+1), now) || len(l.buckets) != maxAddresses {
		t.Errorf("%d buckets", len(l.buckets))
	}
	now = now.Add(time.Minute)
	if !l.allow(address(maxAddresses+1), now) || len(l.buckets) != 1 {
		t.Errorf("%d buckets a minute later", len(l.buckets))
	}
}

func TestAddressOf(t *testing.T) {
	for a, want := range map[string]string{
		"192.168.1.20:7": "192.168.1.20/32", "[::ffff:192.168.1.20]:7": "192.168.1.20/32",
		"[fd00::1:2:3:4]:7": "fd00::1:2:3:4/128", "[fe80::1%eth0]:7": "fe80::1/128",
	} {
		tcp := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a))
		if got := addressOf(tcp); got.String() != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func TestConnectionsOfOneAddressAreCapped(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: Limits{PerAddress: 2, Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}}})
	first, second := b.dial(t), b.dial(t)
	third := b.dial(t) // takes the oldest stranger's place
	_ = first.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest stranger stays: %v", err)
	}
	// Others are not kept out by it.
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}, Config: client.TLS(b.Pin())}
	c, err := d.Dial("tcp", b.addr)
	if err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	// And a place that is left is free again, as soon as the device notices.
	second.Close()
	third.want(t, raw("GET", "/v1/me", "", ""), 401, wire.ProblemUnsigned) // which closes it
	if _, err := third.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a stranger's connection stays open: %v", err)
	}
	for {
		if c, err := tls.Dial("tcp", b.addr, client.TLS(b.Pin())); err == nil {
			c.Close()
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("no place is given back")
		}
	}
}

// A neighbour in the same /64 has a share of it: from one address no more than that
// address's, and from all of its addresses no more than the network's.
func TestNeighboursShareANetwork(t *testing.T) {
	l := newLimiter(Rate{PerSecond: 1, Burst: 2})
	now := noon()
	host := func(n int) netip.Prefix {
		a := netip.MustParseAddr("fd00::").As16()
		a[14], a[15] = byte(n>>8), byte(n)
		return netip.PrefixFrom(netip.AddrFrom16(a), 128)
	}
	neighbour, phone := host(1), host(2)
	allowed := 0
	for range 100 {
		if l.allow(neighbour, now) {
			allowed++
		}
	}
	if allowed != l.rate.Burst || !l.allow(phone, now) {
		t.Errorf("a neighbour had %d, and the phone none", allowed)
	}
	for n := 3; n < 1000; n++ {
		if l.allow(host(n), now) {
			allowed++
		}
	}
	if allowed+1 != neighbours*l.rate.Burst || l.allow(phone, now) {
		t.Errorf("the network had %d", allowed+1)
	}
	if n := len(l.buckets); n > allowed+2 { // refused hosts take no memory
		t.Errorf("%d buckets", n)
	}
	now = now.Add(time.Second)
	if !l.allow(phone, now) {
		t.Error("the phone is refused a second later")
	}
}

// A neighbour's silent connections keep no phone of the same address out; phones do,
// for they are no strangers.
func TestNeighboursKeepNoPhoneOut(t *testing.T) {
	now := noon()
	l := newListener(nil, Limits{}.withDefaults(), func() time.Time { return now }, func(reason) {})
	home := netip.MustParsePrefix("fd00::1/128")
	var first *link
	for n := range l.limits.PerAddress {
		now = now.Add(time.Second)
		x := &link{address: home, l: l}
		if ok, out := l.admit(x); !ok || out != nil {
			t.Fatalf("%d: %v, %v", n, ok, out)
		}
		if n == 0 {
			first = x
		}
	}
	now = now.Add(time.Second)
	if ok, out := l.admit(&link{address: home, l: l}); !ok || out != first {
		t.Errorf("%v, %v", ok, out)
	}
	for e := l.strangers.Front(); e != nil; e = l.strangers.Front() {
		l.known(e.Value.(*link))
	}
	now = now.Add(time.Second)
	if ok, out := l.admit(&link{address: home, l: l}); ok || out != nil {
		t.Errorf("a phone gives way: %v, %v", ok, out)
	}
}

// One phone's key is worth a few connections, from however many addresses they come:
// its oldest give way, and others' stay.
func TestConnectionsOfOnePhoneAreCapped(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	_, other := b.pair(t, wire.Invite{User: "alice"})
	if _, err := other.Me(t.Context()); err != nil {
		t.Fatal(err)
	}
	var open []*thief
	for n := range maxLinks + 3 {
		c := b.dial(t)
		if status, no, _ := c.ask(t, sign(t, i, c.binding, "GET", "/v1/me", uint64(100+n), "")); status != 200 {
			t.Fatalf("connection %d: %d %v", n+1, status, no)
		}
		open = append(open, c)
	}
	for _, c := range open[:3] {
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("one of the oldest stays open")
		}
	}
	for n, c := range open[3:] {
		if status, _, _ := c.ask(t, sign(t, i, c.binding, "GET", "/v1/me", uint64(200+n), "")); status != 200 {
			t.Errorf("connection %d: %d", n+4, status)
		}
	}
	if _, err := other.Me(t.Context()); err != nil {
		t.Errorf("another phone: %v", err)
	}
	x := b.find(i.ID)
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.links) != maxLinks {
		t.Errorf("%d connections are noted", len(x.links))
	}
}

// A connection that is over is nobody's: nothing is kept of it.
func TestNoConnectionIsClaimedOnceItIsOver(t *testing.T) {
	l := newListener(nil, Limits{}.withDefaults(), noon, func(reason) {})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := &link{Conn: ours, address: netip.MustParsePrefix("192.0.2.1/32"), l: l}
	if ok, _ := l.admit(c); !ok {
		t.Fatal("not admitted")
	}
	must(t, c.Close())
	x := &paired{}
	if c.claim(x) || len(x.links) != 0 {
		t.Errorf("%d connections of a phone, of which one is over", len(x.links))
	}
}

// A stranger's connection ends with its answer, whatever that is.
func TestStrangersKeepNoConnection(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many, Browsers: true})
	for _, x := range [][]byte{
		raw("GET", "/openapi.json", "", ""), raw("GET", "/", "", ""), raw("POST", "/v1/session", "", ""),
		raw("POST", "/v1/pair", "", "{}"), raw("POST", "/v1/pair", "", "\xff"), raw("POST", "/v1/pair", "", strings.Repeat("[", 16000)),
		raw("GET", "/v1/me", "", ""), raw("GET", "/nothing", "", ""),
	} {
		c := b.dial(t)
		status, _, _ := c.ask(t, x)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%.30q: after %d the connection stays: %v", x, status, err)
		}
	}
}

// Strangers from many addresses who take every place keep no phone out, and
// push out none that is there.
func TestStrangersKeepNoPhoneOut(t *testing.T) {
	limits := many
	limits.Connections = 8
	b := serve(t, newMemory("alice"), Options{Limits: limits})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	if _, err := c.Me(t.Context()); err != nil {
		t.Fatal(err)
	}
	there := b.dial(t)
	there.want(t, sign(t, i, there.binding, "GET", "/v1/me", 500, ""), 200, "")
	for n := range 24 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, byte(n+1))}}
		s, err := d.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}
	must(t, i.Acked(500))
	for range 3 {
		fresh := i.Client()
		if _, err := fresh.Me(t.Context()); err != nil {
			t.Errorf("among strangers: %v", err)
		}
		fresh.Close()
	}
	there.want(t, sign(t, i, there.binding, "GET", "/v1/me", 900, ""), 200, "")
}

func TestStrangersAreSlowedAndAuditedOnce(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: Limits{Handshakes: Rate{1e6, 1e6}}})
	_, phone := b.pair(t, wire.Invite{User: "alice"})
	got := map[int]int{}
	for range 50 {
		status, _, _ := b.dial(t).ask(t, raw("GET", "/v1/me", "", ""))
		got[status]++
	}
	if got[401] != 29 || got[429] != 21 { // the pairing was one of the thirty
		t.Errorf("%v", got)
	}
	// Phones at the same address are not slowed.
	if _, err := phone.Me(t.Context()); err != nil {
		t.Error(err)
	}
	b.tidy(0)
	b.tidy(0)
	if len(v.refused) != 1 || v.refused[0][string(unsigned)] != 29 || v.refused[0][string(tooManyRequests)] != 21 {
		t.Errorf("audited %v", v.refused)
	}
}

// What a phone gets wrong draws on its limit, too.
func TestWrongRequestsOfOnePhoneAreSlowed(t *testing.T) {
	for name, wrong := range map[string]func(c *thief, i *client.Identity) []byte{
		"stale":   func(c *thief, i *client.Identity) []byte { return sign(t, i, c.binding, "GET", "/v1/me", 100, "") },
		"no such": func(*thief, *client.Identity) []byte { return raw("GET", "/v1/me", "Bearer x", "") },
		"wrong": func(_ *thief, i *client.Identity) []byte {
			return sign(t, i, client.Binding{}, "GET", "/v1/me", 101, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, newMemory("alice"), Options{Limits: Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1, 3}}})
			i, _ := b.pair(t, wire.Invite{User: "alice"})
			c := b.dial(t)
			c.want(t, sign(t, i, c.binding, "GET", "/v1/me", 100, ""), 200, "")
			got := map[int]int{}
			for range 4 {
				status, _, _ := c.ask(t, wrong(c, i))
				got[status]++
			}
			if got[401] != 2 || got[429] != 2 {
				t.Errorf("%v", got)
			}
		})
	}
}

// Who knows a phone's id, and not its key, does not use up its limit.
func TestStrangersDoNotSlowAPhone(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1, 3}}})
	i, phone := b.pair(t, wire.Invite{User: "alice"})
	for range 5 {
		c := b.dial(t)
		c.want(t, sign(t, i, client.Binding{}, "GET", "/v1/me", 100, ""), 401, wire.ProblemUnsigned)
	}
	if _, err := phone.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOptionsOfAllAreSlowed(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1, 2}}})
	got := map[int]int{}
	for range 5 {
		status, _, _ := b.dial(t).ask(t, raw("OPTIONS", "*", "", ""))
		got[status]++
	}
	if got[400] != 2 || got[429] != 3 {
		t.Errorf("%v", got)
	}
}

func TestOnePhoneIsSlowed(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1, 3}}})
	_, c := b.pair(t, wire.Invite{User: "alice"})
	_, other := b.pair(t, wire.Invite{User: "alice"})
	var err error
	for range 3 {
		if _, err = c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.Me(t.Context())
	wantProblem(t, err, 429, wire.ProblemTooMany)
	if _, err := other.Me(t.Context()); err != nil {
		t.Error(err)
	}
	b.clock.add(time.Second)
	if _, err := c.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is wrong with a request is told in one shape, and leaves the device and
// the other phones as they were.
func TestHostileRequests(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	counter := uint64(100)
	for name, body := range map[string]string{
		"nothing":        "",
		"no JSON":        "{",
		"an array":       "[]",
		"a number":       "17",
		"null":           "null",
		"deep":           strings.Repeat("[", 8000),
		"wrong types":    `{"audience":{},"nonce":[]}`,
		"unknown fields": `{"audience":"a","nonce":"n","user":"bob"}`,
		"long":           `{"audience":"` + strings.Repeat("a", 300) + `","nonce":"n"}`,
		"invalid UTF-8":  "{\"audience\":\"\xff\",\"nonce\":[]}",
		"twice":          `{"audience":"a","nonce":"n"}{"audience":"a","nonce":"n"}`,
	} {
		x := b.dial(t)
		counter++
		status, e, h := x.ask(t, sign(t, i, x.binding, "POST", "/v1/verify", counter, body))
		if status/100 != 4 || e.Status != status || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %+v", name, status, e)
		}
		if strings.Contains(e.Detail, "goroutine") || strings.Contains(e.Detail, ".go:") {
			t.Errorf("%s: the answer tells of our insides: %s", name, e.Detail)
		}
	}
	if len(b.device.asked) != 0 {
		t.Errorf("the device was asked: %+v", b.device.asked)
	}
	x := b.dial(t)
	status, e, _ := x.ask(t, sign(t, i, x.binding, "POST", "/v1/verify", 1000, strings.Repeat(" ", maxBody+1)))
	if status != http.StatusRequestEntityTooLarge || e.Status != status {
		t.Errorf("a long body: %d %+v", status, e)
	}
	// A header of a megabyte is not read to its end.
	y := b.dial(t)
	go func() {
		_, _ = io.WriteString(y, "GET /v1/me HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	}()
	if resp, err := http.ReadResponse(y.r, nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of a megabyte: %s", resp.Status)
	}
	must(t, i.Acked(counter))
	if _, err := c.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPendingRequests(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many})
	if _, _, err := b.Ask(t.Context(), "alice", "kiosk"); err != ErrNoPhone {
		t.Errorf("without a phone: %v", err)
	}
	by, alice := b.pair(t, wire.Invite{User: "alice"})
	_, bob := b.pair(t, wire.Invite{User: "bob"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, approve := range []bool{true, false} {
		ids := make(chan string, 1)
		ready := make(chan struct{})
		events, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = alice.Events(events, func() { close(ready) }, func(e client.Event) error {
				if e.Request != nil {
					ids <- e.Request.ID
				}
				return nil
			})
		}()
		<-ready
		answer := make(chan bool, 1)
		go func() {
			phone, yes, err := b.Ask(ctx, "alice", "kiosk")
			if err != nil || phone != by.ID {
				t.Error(phone, err)
			}
			answer <- yes
		}()
		id := <-ids
		if list, err := bob.Requests(ctx); err != nil || len(list.Requests) != 0 {
			t.Errorf("bob sees %+v, %v", list, err)
		}
		wantProblem(t, bob.Answer(ctx, id, true), 404, wire.ProblemNotFound)
		if list, err := alice.Requests(ctx); err != nil || len(list.Requests) != 1 || list.Requests[0].ID != id || list.Requests[0].Audience != "kiosk" {
			t.Errorf("alice sees %+v, %v", list, err)
		}
		if err := alice.Answer(ctx, id, approve); err != nil {
			t.Error(err)
		}
		if got := <-answer; got != approve {
			t.Errorf("answered %v, heard %v", approve, got)
		}
		wantProblem(t, alice.Answer(ctx, id, true), 404, wire.ProblemNotFound)
		stop()
		<-ended
	}
}

func TestRightsAndSchedules(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	_, c := b.pair(t, wire.Invite{User: "alice", Rights: []string{Past}})
	_, err := c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	if _, err := c.History(t.Context(), 0, 5); err != nil {
		t.Error(err)
	}
	_, night := b.pair(t, wire.Invite{User: "alice", Schedule: "mon-sun 00:00-06:00"})
	_, err = night.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	if _, err := night.Me(t.Context()); err != nil { // who it is may be asked at any time
		t.Error(err)
	}
	b.clock.add(13 * time.Hour) // one in the morning
	if _, err := night.Unlock(t.Context(), client.Unlock{}); err != nil {
		t.Error(err)
	}
}

func TestSchedules(t *testing.T) {
	s, err := ParseSchedule("mon-fri 08:00-18:00, sun 20:00-24:00")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{
		"2026-11-23T08:00": true, "2026-11-23T07:59": false, "2026-11-27T17:59": true, "2026-11-27T18:00": false,
		"2026-11-28T12:00": false, "2026-11-29T23:59": true, "2026-11-29T19:59": false,
	} {
		when, err := time.ParseInLocation("2006-01-02T15:04", at, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		if s.Holds(when) != want {
			t.Errorf("%s: %v", at, !want)
		}
	}
	for _, bad := range []string{" ", "mon", "mon 8:00-18:00", "mon 08:00-08:00", "mon 18:00-08:00", "fri-mon 08:00-18:00", "mon-mon 08:00-18:00", "mon 08:00-24:01", "mon 08:60-18:00", "Mon 08:00-18:00", "mon 08:00-18:00,tue 08:00-18:00"} {
		if s, err := ParseSchedule(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, s)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("mon-fri 08:00-18:00, sat 09:00-12:00")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSchedule(text); err == nil && s.String() != text {
			t.Errorf("%q is taken, %q is what it would be written as", text, s)
		}
	})
}

// FuzzRequest gives the whole handler what a network may hold: it never
// panics, never lets anybody in, and every refusal has one shape.
func FuzzRequest(f *testing.F) {
	p, err := Open(newMemory("alice"), &authenticator{}, Options{Limits: many, Browsers: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", "/v1/pair", client.Signature{ID: client.Key{}.ID(), Counter: 1}.String(), "", `{"invite":"AAAAAAAAAAAA","key":"","kind":"browser","name":"n","platform":"p","proof":""}`)
	f.Add("GET", "/v1/history?limit=5&before=x", "", "", "")
	f.Add("POST", "/v1/requests/..%2f", "Faceprint1 a.b.c", "AAAA", "{}")
	l := &listener{count: map[netip.Prefix]int{}}
	f.Fuzz(func(t *testing.T, method, target, authorization, session, body string) {
		r, err := http.NewRequest(method, "https://x", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		if r.URL, err = r.URL.Parse(target); err != nil {
			return
		}
		r.RequestURI, r.TLS = target, &tls.ConnectionState{Version: tls.VersionTLS13}
		r.Header.Set("Authorization", authorization)
		r.Header.Set(client.SessionHeader, session)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), boundKey{}, &bound{link: &link{l: l}})))
		open := r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/page.") || strings.HasPrefix(r.URL.Path, "/openapi") || r.URL.Path == "/v1/session"
		if w.Code/100 == 2 && !open {
			t.Errorf("%s %s was answered with %d", method, target, w.Code)
		}
		if w.Code/100 == 4 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", method, target, w.Code, w.Header().Get("Content-Type"))
		}
	})
}
