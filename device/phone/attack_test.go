package phone

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// Each attack of the issue, over real TLS on loopback.

// thief is a program on the network that speaks the protocol by hand.
type thief struct {
	*tls.Conn
	r       *bufio.Reader
	binding client.Binding
}

func (b *bench) dial(t testing.TB) *thief {
	t.Helper()
	conn, err := tls.Dial("tcp", b.addr, client.TLS(b.Pin()))
	if err != nil {
		t.Fatal(err)
	}
	return speaking(t, conn)
}

// speaking is such a program, on a connection whose hands are shaken.
func speaking(t testing.TB, conn *tls.Conn) *thief {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	state := conn.ConnectionState()
	binding, err := client.Bind(&state)
	if err != nil {
		t.Fatal(err)
	}
	return &thief{conn, bufio.NewReader(conn), binding}
}

// sign makes a request's bytes, signed for a binding.
func sign(t testing.TB, i *client.Identity, binding client.Binding, method, target string, counter uint64, body string) []byte {
	t.Helper()
	s, err := i.Sign(client.Request{Method: method, Target: target, Counter: counter, Binding: binding, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return raw(method, target, s.String(), body)
}

func raw(method, target, authorization, body string) []byte {
	var b bytes.Buffer
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
	if authorization != "" {
		b.WriteString("Authorization: " + authorization + "\r\n")
	}
	b.WriteString("Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
	return b.Bytes()
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// ask sends bytes and reads the answer.
func (c *thief) ask(t testing.TB, request []byte) (int, *wire.Error, http.Header) {
	t.Helper()
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	e := &wire.Error{}
	_ = json.Unmarshal(b, e)
	return resp.StatusCode, e, resp.Header
}

func (c *thief) want(t testing.TB, request []byte, status int, kind string) {
	t.Helper()
	got, e, h := c.ask(t, request)
	if got != status || e.Problem() != kind || kind != "" && h.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %s (%s), want %d %s", got, e.Problem(), e.Detail, status, kind)
	}
}

// wantSigned asks once, signed over this connection.
func (c *thief) wantSigned(t testing.TB, i *client.Identity, method, target string, counter uint64, body string, status int, kind string) {
	t.Helper()
	c.want(t, sign(t, i, c.binding, method, target, counter, body), status, kind)
}

func TestReplayIsRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	c := b.dial(t)
	request := sign(t, i, c.binding, "POST", "/v1/unlock", 100, "{}")
	c.want(t, request, 200, "")
	c.want(t, request, 401, wire.ProblemStale)
	c.want(t, sign(t, i, c.binding, "POST", "/v1/unlock", 99, "{}"), 401, wire.ProblemStale)
	if n := len(b.device.asked); n != 1 {
		t.Errorf("%d attempts were made of one request", n)
	}
	c.want(t, sign(t, i, c.binding, "GET", "/v1/me", 101, ""), 200, "")
}

func TestRequestMovedToAnotherConnectionIsRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	mine, theirs := b.dial(t), b.dial(t)
	theirs.want(t, sign(t, i, mine.binding, "POST", "/v1/unlock", 100, "{}"), 401, wire.ProblemUnsigned)
	mine.want(t, sign(t, i, mine.binding, "POST", "/v1/unlock", 100, "{}"), 200, "")
}

func TestTamperedRequestIsRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	for name, change := range map[string][2]string{
		"body":    {`{"audience":"door"}`, `{"audience":"safe"}`},
		"target":  {"/v1/unlock", "/v1/verify"},
		"method":  {"POST", "PUT "},
		"counter": {".100.", ".101."},
	} {
		c := b.dial(t)
		request := string(sign(t, i, c.binding, "POST", "/v1/unlock", 100, `{"audience":"door"}`))
		changed := strings.Replace(request, change[0], change[1], 1)
		if changed == request {
			t.Fatalf("%s: nothing was changed", name)
		}
		if name == "method" {
			changed = strings.Replace(changed, "PUT  ", "PUT ", 1)
		}
		c.want(t, []byte(changed), 401, wire.ProblemUnsigned)
	}
	if len(b.device.asked) != 0 {
		t.Errorf("the device was asked: %+v", b.device.asked)
	}
}

func TestSignatureOfAnotherKeyIsRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	b.pair(t, wire.Invite{User: "alice"})
	stranger, err := client.NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	c := b.dial(t)
	c.want(t, sign(t, stranger, c.binding, "GET", "/v1/me", 1, ""), 401, wire.ProblemUnsigned)
	c = b.dial(t)
	c.want(t, raw("GET", "/v1/me", "", ""), 401, wire.ProblemUnsigned)
	c = b.dial(t)
	c.want(t, raw("GET", "/v1/me", "Bearer x", ""), 401, wire.ProblemUnsigned)
}

// middle is a man in the middle: TLS with a key of its own to the phone, and a
// connection of its own to the device.
func middle(t *testing.T, b *bench) string {
	t.Helper()
	own := serve(t, newMemory(), Options{Limits: many}).cert
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := tls.Dial("tcp", b.addr, client.TLS(b.Pin()))
				if err != nil {
					return
				}
				defer d.Close()
				go func() { _, _ = io.Copy(d, c); d.Close() }()
				_, _ = io.Copy(c, d)
			}()
		}
	}()
	return l.Addr().String()
}

func TestManInTheMiddle(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	mitm := middle(t, b)
	inv := b.invite(t, wire.Invite{User: "alice"})

	// A phone that checks the pin says nothing to the wrong key.
	i, err := client.NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	diverted := inv
	diverted.Addr = mitm
	if err := i.Pair(t.Context(), diverted, "phone", "test"); !errors.Is(err, client.ErrPin) {
		t.Errorf("pairing with the man in the middle: %v", err)
	}

	// One that did not would not be helped by relaying: proof and signature
	// are for another connection.
	conn, err := tls.Dial("tcp", mitm, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	binding, err := client.Bind(&state)
	if err != nil {
		t.Fatal(err)
	}
	victim := &thief{conn, bufio.NewReader(conn), binding}
	victim.want(t, pairRequest(t, i, inv, binding, "phone"), 403, wire.ProblemPairing)

	// The code is still good for the phone on the right connection.
	if err := i.Pair(t.Context(), inv, "phone", "test"); err != nil {
		t.Error(err)
	}
}

// pairRequest is a pairing's bytes for a binding.
func pairRequest(t testing.TB, i *client.Identity, inv client.Invitation, binding client.Binding, name string) []byte {
	t.Helper()
	a := client.Applicant{Key: i.Public(), Kind: client.App, Name: name, Platform: "test"}
	body, err := json.Marshal(client.PairRequest{
		Invite: inv.Secret.Name(), Key: a.Key.String(), Kind: a.Kind, Name: a.Name, Platform: a.Platform,
		Proof: client.ProvePhone(inv.Secret, inv.Pin, binding, a).String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, i, binding, "POST", "/v1/pair", 1, string(body))
}

func TestCodeIsGoodOnce(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	inv := b.invite(t, wire.Invite{User: "alice"})
	first, second := identity(t), identity(t)
	if err := first.Pair(t.Context(), inv, "first", "test"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, second.Pair(t.Context(), inv, "photographed", "test"), 403, wire.ProblemPairing)
	if n := len(b.List()); n != 1 {
		t.Errorf("%d phones", n)
	}
}

func identity(t testing.TB) *client.Identity {
	t.Helper()
	i, err := client.NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCodeIsGoodForAMinute(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	inv := b.invite(t, wire.Invite{User: "alice"})
	b.clock.add(inviteLife)
	wantProblem(t, identity(t).Pair(t.Context(), inv, "late", "test"), 403, wire.ProblemPairing)
}

func TestCodeIsGoodForThreeTries(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	inv, other := b.invite(t, wire.Invite{User: "alice"}), b.invite(t, wire.Invite{User: "alice"})
	i := identity(t)
	wrong := inv
	wrong.Pin[0] ^= 1 // the name of the code is right, the proof is not
	for range inviteTries {
		c := b.dial(t)
		c.want(t, pairRequest(t, i, wrong, c.binding, "guess"), 403, wire.ProblemPairing)
	}
	wantProblem(t, i.Pair(t.Context(), inv, "too late", "test"), 403, wire.ProblemPairing)
	// Others' codes are not spoilt by it.
	if err := i.Pair(t.Context(), other, "other", "test"); err != nil {
		t.Error(err)
	}
}

func TestStrangersDoNotSpoilACode(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	inv := b.invite(t, wire.Invite{User: "alice"})
	for range 2 * inviteTries {
		c := b.dial(t)
		c.want(t, pairRequest(t, identity(t), client.Invitation{Addr: inv.Addr, Pin: inv.Pin, Secret: client.NewSecret()}, c.binding, "x"), 403, wire.ProblemPairing)
	}
	if err := identity(t).Pair(t.Context(), inv, "phone", "test"); err != nil {
		t.Error(err)
	}
}

func TestWrongSecretOfTheDevice(t *testing.T) {
	// A device that has the key but does not know the secret: it answers a
	// proof of its own making.
	b := serve(t, newMemory(), Options{Limits: many})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{b.cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i := identity(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		body, _ := json.Marshal(client.PairReply{ID: i.Public().ID(), User: "alice", Proof: client.ProveDevice(client.Secret{}, client.Proof{}, i.Public().ID(), "alice").String()})
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body)))
	}()
	err = i.Pair(t.Context(), client.Invitation{Addr: l.Addr().String(), Pin: b.Pin(), Secret: client.NewSecret()}, "phone", "test")
	if !errors.Is(err, client.ErrProof) || i.ID != "" {
		t.Errorf("%v, paired as %q", err, i.ID)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		c, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: v})
		if err == nil {
			c.Close()
			t.Errorf("%s is spoken", tls.VersionName(v))
		}
	}
	// And a phone does not speak it either.
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{b.cert}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	if c, err := tls.Dial("tcp", l.Addr().String(), client.TLS(b.Pin())); err == nil {
		c.Close()
		t.Error("a phone speaks TLS 1.2")
	}
}

func TestClockSetBackRevivesNothing(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	until := noon().Add(time.Hour)
	i, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	scheduled, sc := b.pair(t, wire.Invite{User: "alice", Schedule: "wed 08:00-18:00"})
	inv := b.invite(t, wire.Invite{User: "alice"})
	if _, err := c.Me(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sc.Unlock(t.Context(), client.Unlock{}); err != nil {
		t.Fatal(err)
	}
	b.clock.add(2 * time.Hour)
	_, err := c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	b.clock.set(-24 * time.Hour)
	_, err = c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	_, err = sc.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	wantProblem(t, identity(t).Pair(t.Context(), inv, "x", "test"), 403, wire.ProblemPairing)

	// After a restart with the clock still back.
	b.stop()
	again := serve(t, v, Options{Limits: many, Now: b.clock.get})
	i.Addr, scheduled.Addr = again.addr, again.addr
	_, err = i.Client().Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
}

// Nobody has to ask anything for the device to know how late it was.
func TestClockSetBackWhileNobodyAsks(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	until := noon().Add(time.Hour)
	i, _ := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	b.clock.add(2 * time.Hour)
	b.tidy(0)
	n := v.commits
	b.tidy(0)
	if v.commits != n {
		t.Error("each minute is a commit")
	}
	again := serve(t, v.copy(), Options{Limits: many, Now: noon}) // the device lost its power, and its clock
	i.Addr = again.addr
	_, err := i.Client().Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	b.clock.set(-2 * time.Hour)
	i.Addr = b.addr
	_, err = i.Client().Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
}

func TestCountersOutliveACrash(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	for range 3 {
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	crashed := v.copy() // as the disk is at this moment: nothing was settled
	again := serve(t, crashed, Options{Limits: many})
	for counter := uint64(1); counter < 6; counter++ {
		x := again.dial(t)
		x.want(t, sign(t, i, x.binding, "GET", "/v1/me", counter, ""), 401, wire.ProblemStale)
	}
	// The phone learns of it and goes on.
	i.Addr = again.addr
	if _, err := i.Client().Me(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPhoneNoticesAnOldVault(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	b.tidy(0) // at rest
	old := v.copy()
	for range 3 {
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.stop()
	again := serve(t, old, Options{Limits: many})
	i.Addr = again.addr
	if _, err := i.Client().Me(t.Context()); !errors.Is(err, client.ErrRolledBack) {
		t.Errorf("an old vault was not noticed: %v", err)
	}
	// The same restart with the vault as it was is nothing.
	now := serve(t, v, Options{Limits: many})
	i.Addr = now.addr
	if _, err := i.Client().Me(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRevocationDropsOpenConnections(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	idle := b.dial(t)
	idle.want(t, sign(t, i, idle.binding, "GET", "/v1/me", 100, ""), 200, "")
	must(t, i.Acked(100))
	ended := make(chan error, 1)
	started := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { ended <- c.Events(ctx, func() { close(started) }, func(client.Event) error { return nil }) }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	if _, err := b.Revoke(i.ID, "admin"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("the stream went on: %v", err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection stayed open")
	}
	fresh := b.dial(t)
	fresh.want(t, sign(t, i, fresh.binding, "GET", "/v1/me", 5000, ""), 401, wire.ProblemRevoked)
}

// A phone that is revoked while its person is looked at is told so, and not that
// the device hung up.
func TestRevokedInAnAttemptIsToldSo(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	b.device.during = func(ctx context.Context, _ Attempt) {
		if _, err := b.Revoke(i.ID, "admin"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	}
	_, err := c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 401, wire.ProblemRevoked)
}

// Streams that the network dropped, of which the device knows nothing yet, do
// not keep a phone from its next one.
func TestOldestStreamGivesWay(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	var open []*thief
	for n := range maxStreams + 2 {
		c := b.dial(t)
		if _, err := c.Write(sign(t, i, c.binding, "GET", "/v1/events", uint64(100+n), "")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("stream %d: %+v, %v", n+1, resp, err)
		}
		c.r = bufio.NewReader(resp.Body)
		open = append(open, c)
	}
	for _, c := range open[:2] {
		_, _ = io.Copy(io.Discard, c.r) // until the device hangs up
	}
	b.pass(wire.Event{Kind: "granted", User: "alice"})
	for n, c := range open[2:] {
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatalf("stream %d: %v", n+3, err)
			}
			if strings.Contains(line, "granted") {
				break
			}
		}
	}
}

func TestExpiryEndsOpenStreams(t *testing.T) {
	var timers chan func()
	for name, end := range map[string]func(*bench, *client.Identity){
		"the moment": func(b *bench, _ *client.Identity) {
			b.clock.add(-time.Second)
			(<-timers)() // too early: it is set anew
			b.clock.add(time.Second)
			(<-timers)()
		},
		"the minute": func(b *bench, _ *client.Identity) { b.tidy(0) },
		"a request": func(b *bench, i *client.Identity) {
			c := b.dial(t)
			c.want(t, sign(t, i, c.binding, "GET", "/v1/me", 5000, ""), 401, wire.ProblemExpired)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, newMemory("alice"), Options{Limits: many})
			timers = make(chan func(), 2)
			b.after = func(d time.Duration, f func()) func() bool {
				if d != time.Hour && d != time.Second {
					t.Errorf("the stream would end after %v", d)
				}
				timers <- f
				return func() bool { return true }
			}
			until := noon().Add(time.Hour)
			i, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
			ended, started := make(chan error, 1), make(chan struct{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			heard := 0
			go func() {
				ended <- c.Events(ctx, func() { close(started) }, func(client.Event) error { heard++; return nil })
			}()
			select {
			case <-started:
			case err := <-ended:
				t.Fatal(err)
			}
			b.clock.add(time.Hour)
			for _, right := range []string{"", Past} {
				if no := b.may(b.find(i.ID), right); no == nil || no.why != expiredPhone {
					t.Errorf("an expired phone may %q: %v", right, no)
				}
			}
			b.pass(wire.Event{Kind: "granted", User: "alice"})
			end(b, i)
			if err := <-ended; err == nil || ctx.Err() != nil {
				t.Errorf("the stream went on: %v", err)
			}
			if heard != 0 {
				t.Errorf("an expired phone heard %d events", heard)
			}
		})
	}
}

// Who waits at the device when the phone's pairing or its time ends is not let in by
// it any more.
func TestExpiryEndsAttempts(t *testing.T) {
	until := noon().Add(time.Hour)
	for name, in := range map[string]wire.Invite{
		"expiry":   {User: "alice", Expires: &until},
		"schedule": {User: "alice", Schedule: "wed 08:00-13:00"},
		"both":     {User: "alice", Schedule: "wed 08:00-18:00, wed 12:00-13:00", Expires: &until},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, newMemory("alice"), Options{Limits: many})
			_, c := b.pair(t, in)
			b.after = func(d time.Duration, f func()) func() bool {
				if d != time.Hour {
					t.Errorf("it would end after %v", d)
				}
				b.clock.add(d)
				f()
				return func() bool { return false }
			}
			b.device.mu.Lock()
			b.device.err = context.Canceled
			b.device.during = func(ctx context.Context, _ Attempt) {
				if ctx.Err() == nil {
					t.Error("the attempt goes on")
				}
			}
			b.device.mu.Unlock()
			d, err := c.Unlock(t.Context(), client.Unlock{Nonce: "n"})
			if e := (*wire.Error)(nil); !errors.As(err, &e) || e.Status/100 != 4 || d.Outcome == wire.Granted {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestRevocationHoldsThoughTheVaultFails(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	v.mu.Lock()
	v.fails = errors.New("the disk is full")
	v.mu.Unlock()
	if _, err := b.Revoke(i.ID, "admin"); err == nil {
		t.Error("nobody was told")
	}
	_, err := c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemRevoked)
}

func TestNoCounterNoAnswer(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	_, c := b.pair(t, wire.Invite{User: "alice"})
	b.tidy(0)
	v.mu.Lock()
	v.fails = errors.New("the disk is full")
	v.mu.Unlock()
	_, err := c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 503, wire.ProblemFault)
	if len(b.device.asked) != 0 {
		t.Error("the device was asked although the counter could not be kept")
	}
}

func TestForgottenPersonsPhones(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many})
	_, alice := b.pair(t, wire.Invite{User: "alice"})
	_, bob := b.pair(t, wire.Invite{User: "bob"})
	b.Forgotten("alice")
	_, err := alice.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemUnsigned)
	if _, err := bob.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConnectionIsOnePhones(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many})
	alice, _ := b.pair(t, wire.Invite{User: "alice"})
	bob, _ := b.pair(t, wire.Invite{User: "bob"})
	c := b.dial(t)
	c.want(t, sign(t, alice, c.binding, "GET", "/v1/me", 100, ""), 200, "")
	c.want(t, sign(t, bob, c.binding, "GET", "/v1/me", 100, ""), 403, wire.ProblemForbidden)
}

func TestKeyIsPairedOnce(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	wantProblem(t, i.Pair(t.Context(), b.invite(t, wire.Invite{User: "bob"}), "again", "test"), 409, wire.ProblemDuplicate)
	if list := b.List(); len(list) != 1 || list[0].User != "alice" {
		t.Errorf("%+v", list)
	}
}

func TestNamesThatHideSomethingAreRefused(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	inv := b.invite(t, wire.Invite{User: "alice"})
	for _, name := range []string{"a\u202eb", "a\u200bb", "\u00a0"} {
		wantProblem(t, identity(t).Pair(t.Context(), inv, name, "test"), 422, wire.ProblemName)
	}
	for _, platform := range []string{"a\u202eb", "a\u2066b"} { // which stands beside it in every list
		wantProblem(t, identity(t).Pair(t.Context(), inv, "good", platform), 422, wire.ProblemInvalid)
	}
	i := identity(t)
	if err := i.Pair(t.Context(), inv, "good", "test"); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Rename(i.ID, "a\u202eb", "admin"); err == nil {
		t.Errorf("%+v", p)
	}
	if p, err := b.Rename(i.ID, "better", "admin"); err != nil || p.Name != "better" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestExpiredPhonesMakeRoom(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	until := noon().Add(time.Hour)
	first, _ := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	for range phonesOfPerson - 1 {
		b.pair(t, wire.Invite{User: "alice"})
	}
	wantProblem(t, identity(t).Pair(t.Context(), b.invite(t, wire.Invite{User: "alice"}), "x", "test"), 409, wire.ProblemDuplicate)
	b.clock.add(time.Hour)
	b.pair(t, wire.Invite{User: "alice"})
	if n := len(b.List()); n != phonesOfPerson || b.find(first.ID) != nil {
		t.Errorf("%d phones", n)
	}
}

// Whatever is changed of a phone while it makes room for another does not come
// back without its counter, which no start would take.
func TestPhoneThatMakesRoomIsNotChanged(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	until := noon().Add(time.Hour)
	first, _ := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	for range phonesOfPerson - 1 {
		b.pair(t, wire.Invite{User: "alice"})
	}
	b.clock.add(time.Hour)
	v.mu.Lock()
	v.during = func(kind string) {
		if kind != "phone-pair" {
			return
		}
		later := noon().Add(24 * time.Hour)
		_, renamed := b.Rename(first.ID, "other", "admin")
		_, changed := b.SetTerms(first.ID, wire.PhoneTerms{Expires: &later}, "admin")
		_, revoked := b.Revoke(first.ID, "admin")
		if renamed == nil || changed == nil || revoked == nil {
			t.Errorf("%v, %v, %v", renamed, changed, revoked)
		}
	}
	v.mu.Unlock()
	b.pair(t, wire.Invite{User: "alice"})
	if _, err := v.Phones(); err != nil || b.find(first.ID) != nil {
		t.Errorf("the next start: %v", err)
	}
}

// That a key was copied is recorded of the phone as it is, not as it was: a
// revocation in that moment stays.
func TestCopiedKeyUndoesNoRevocation(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	done := make(chan error, 1)
	v.mu.Lock()
	v.during = func(kind string) {
		if kind != "phone-copied" {
			return
		}
		go func() {
			_, err := b.Revoke(i.ID, "admin")
			done <- err
		}()
		select { // it may go first, or wait: both are right
		case err := <-done:
			done <- err
		case <-time.After(200 * time.Millisecond):
		}
	}
	v.mu.Unlock()
	b.tellCopied(b.find(i.ID), noon())
	must(t, <-done)
	kept, err := v.Phones()
	if err != nil || len(kept) != 1 || kept[0].Record.Revoked.IsZero() {
		t.Errorf("after the next start it is %+v, %v", kept, err)
	}
}

// Only GET opens a stream.
func TestHeadOpensNoStream(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	c := b.dial(t)
	if _, err := c.Write(sign(t, i, c.binding, "HEAD", "/v1/events", 100, "")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: "HEAD"})
	if err != nil || resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
		t.Fatalf("%+v, %v", resp, err)
	}
	c.want(t, sign(t, i, c.binding, "GET", "/v1/me", 101, ""), 200, "") // the connection goes on
}

func TestAppCannotBeTalkedDownToASession(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many, Browsers: true})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	session := b.sessions.open(b.tick())
	c := b.dial(t)
	s, err := i.Sign(client.Request{Method: "GET", Target: "/v1/me", Counter: 100, Binding: session})
	if err != nil {
		t.Fatal(err)
	}
	c.want(t, raw("GET", "/v1/me", s.String()+"\r\n"+client.SessionHeader+": "+session.String(), ""), 401, wire.ProblemUnsigned)
}

func TestKioskNeedsThePersonsGrant(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many})
	b.device.grants = map[string]string{"good": "alice"}
	for _, in := range []wire.Invite{{User: "alice"}, {User: "alice", Grant: "bad"}, {User: "bob", Grant: "good"}} {
		if _, err := b.Invite(t.Context(), in, "kiosk", ""); err == nil {
			t.Errorf("a kiosk may pair with %+v", in)
		}
	}
	if _, err := b.Invite(t.Context(), wire.Invite{User: "alice", Grant: "good"}, "kiosk", ""); err != nil {
		t.Error(err)
	}
}

// pairAtKiosk pairs a phone of the person whose grant it is, with every right; asker
// is empty on the device's own page.
func (b *bench) pairAtKiosk(t *testing.T, grant, asker string) (*client.Identity, *client.Client) {
	t.Helper()
	in, err := b.Invite(t.Context(), wire.Invite{User: b.device.grants[grant], Grant: grant, Rights: Rights}, "kiosk", asker)
	must(t, err)
	inv, err := client.ParseInvitation(in.Text)
	must(t, err)
	i := identity(t)
	must(t, i.Pair(t.Context(), inv, "at the kiosk", "test"))
	c := i.Client()
	t.Cleanup(c.Close)
	return i, c
}

// Until the kiosk has told that its person was there, a phone that was paired with
// the kiosk's own code asks who it is and ends that, and nothing else, from its first
// moment on: the page hears of it later than the phone.
func TestAPhoneInDoubtAsksOnlyWhoItIs(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	b.device.grants = map[string]string{"a": "alice"}
	b.pair(t, wire.Invite{User: "alice", Rights: []string{Past}}) // is no business of its
	i, phone := b.pairAtKiosk(t, "a", "")
	doc := readDocument(t, b.OpenAPI())
	counter := uint64(100)
	asks := func() {
		t.Helper()
		asked := 0
		for id, op := range doc.ops {
			if len(op.Security) == 0 || op.Security[0]["signature"] == nil || slices.Contains([]string{"me", "revoke-me", "events"}, id) {
				continue
			}
			body := ""
			if op.RequestBody != nil {
				body = "{}"
			}
			counter++
			asked++
			b.dial(t).wantSigned(t, i, op.method, strings.ReplaceAll(op.path, "{id}", "x"), counter, body, 403, wire.ProblemForbidden)
		}
		if asked < 8 {
			t.Errorf("of the document's operations %d were asked", asked)
		}
		b.dial(t).wantSigned(t, i, "GET", "/v1/me", counter+1, "", 200, "")
		counter++
	}
	asks()
	b.Doubt(i.ID)
	asks()
	if len(b.device.asked) != 0 {
		t.Errorf("the device was asked: %+v", b.device.asked)
	}

	// It may wait for what it will be told, and hears nothing of before.
	must(t, i.Acked(counter))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ready := make(chan client.Event, 8), make(chan struct{})
	go func() {
		_ = phone.Events(ctx, func() { close(ready) }, func(e client.Event) error { told <- e; return nil })
	}()
	<-ready
	b.pass(wire.Event{Seq: 1, Kind: "decision", User: "alice"})
	if _, _, err := b.Ask(ctx, "alice", "kiosk"); err == nil {
		t.Error("somebody's answer is asked of it")
	}
	must(t, b.Keep(i.ID))
	b.pass(wire.Event{Seq: 2, Kind: "decision", User: "alice"})
	if e := <-told; e.Seq != 2 {
		t.Errorf("told %+v", e)
	}
	if _, err := phone.Unlock(ctx, client.Unlock{}); err != nil {
		t.Errorf("of who was there: %v", err)
	}
	b.Doubt(i.ID)
	_, err := phone.Revoke(ctx)
	must(t, err)
}

// What a phone waits for ends when it is in doubt.
func TestDoubtEndsWhatIsUnderWay(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, phone := b.pair(t, wire.Invite{User: "alice"})
	begun := make(chan struct{})
	b.device.during = func(ctx context.Context, _ Attempt) {
		close(begun)
		<-ctx.Done()
	}
	ended := make(chan error, 1)
	go func() {
		_, err := phone.Unlock(t.Context(), client.Unlock{})
		ended <- err
	}()
	<-begun
	b.Doubt(i.ID)
	if err := <-ended; err == nil {
		t.Error("it was let in")
	}
}

// A phone that was paired at the kiosk is there after a restart only where the kiosk
// said that its person was seen, or confirmed it: a plug that is pulled meanwhile
// keeps nobody's phone.
func TestAPhoneThatNobodyConfirmedGoesAtTheNextStart(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	b.device.grants = map[string]string{"a": "alice", "b": "alice", "c": "alice"}
	seen, _ := b.pairAtKiosk(t, "a", "")
	must(t, b.Keep(seen.ID))
	unseen, phone := b.pairAtKiosk(t, "b", "")
	b.Doubt(unseen.ID)
	if _, err := phone.Me(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 { // until it is kept
		_, err := phone.Unlock(t.Context(), client.Unlock{})
		wantProblem(t, err, 403, wire.ProblemForbidden)
	}
	elsewhere, _ := b.pairAtKiosk(t, "c", "uid:7") // on a page that is not the device's own, which keeps nothing
	admins, _ := b.pair(t, wire.Invite{User: "alice"})
	b.stop()

	b = serve(t, v, Options{Limits: many})
	for i, revoked := range map[*client.Identity]bool{seen: false, unseen: true, elsewhere: false, admins: false} {
		if x := b.find(i.ID); x == nil || x.record.Revoked.IsZero() == revoked {
			t.Errorf("%s: %+v", i.ID, x)
		}
	}
	if last := v.entries[len(v.entries)-1]; last.Kind != "phone-revoke" || !slices.Equal(last.Reasons, []string{"by:device"}) {
		t.Errorf("the audit says last %+v", last)
	}
	if err := b.Keep(unseen.ID); err == nil {
		t.Error("what was revoked is kept")
	}
	b.stop()
	entries := len(v.entries)
	serve(t, v, Options{Limits: many})
	if len(v.entries) != entries {
		t.Errorf("revoked again: %+v", v.entries[entries:])
	}
}

// Whose code the kiosk's page withdrew has no phone of it, though the phone was
// quicker: nobody looked at who held it.
func TestARetractedCodePairsNothing(t *testing.T) {
	for name, at := range map[string]struct{ before, during, after func(b *bench, code string) }{
		"before the phone took it":   {before: func(b *bench, code string) { b.Retract(code, "kiosk") }},
		"before the phone was kept":  {during: func(b *bench, code string) { b.Retract(code, "kiosk") }},
		"after the phone was kept":   {after: func(b *bench, code string) { b.Retract(code, "kiosk") }},
		"in the code's last moment":  {after: func(b *bench, code string) { b.clock.add(inviteLife - 1); b.Retract(code, "kiosk") }},
		"with another code":          {after: func(b *bench, _ string) { b.Retract("another", "kiosk") }},
		"by who heard of the phone":  {after: func(b *bench, code string) { b.Withdraw(code) }},
		"by who waits for its event": {during: func(b *bench, code string) { b.Withdraw(code) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, newMemory("alice"), Options{Limits: many})
			b.device.grants = map[string]string{"good": "alice"}
			_, real := b.pair(t, wire.Invite{User: "alice"})
			b.clock.add(time.Second) // which is older
			invited, err := b.Invite(t.Context(), wire.Invite{User: "alice", Grant: "good"}, "kiosk", "")
			if err != nil {
				t.Fatal(err)
			}
			inv, err := client.ParseInvitation(invited.Text)
			if err != nil {
				t.Fatal(err)
			}
			if at.before != nil {
				at.before(b, invited.ID)
			}
			if at.during != nil {
				b.vault.during = func(kind string) {
					if kind == "phone-pair" {
						at.during(b, invited.ID)
					}
				}
			}
			i, err := client.NewIdentity("")
			if err != nil {
				t.Fatal(err)
			}
			paired := i.Pair(t.Context(), inv, "A phone", "test") == nil
			if at.after != nil {
				at.after(b, invited.ID)
			}
			kept := strings.HasPrefix(name, "by ") || name == "with another code"
			if want := kept || at.after != nil; paired != want {
				t.Errorf("paired %v, want %v", paired, want)
			}
			phones := b.Of("alice")
			if at.before != nil {
				if len(phones) != 1 {
					t.Errorf("%+v", phones)
				}
				return
			}
			if len(phones) != 2 || (phones[1].Revoked == nil) != kept {
				t.Fatalf("kept %v, want %v: %+v", len(phones) == 2 && phones[1].Revoked == nil, kept, phones)
			}
			if last := b.vault.entries[len(b.vault.entries)-1]; !kept && (last.Kind != "phone-revoke" || !slices.Equal(last.Reasons, []string{"by:kiosk"})) {
				t.Errorf("the audit says last %+v", last)
			}
			if e := b.device.told[1]; e.Kind != "phone-paired" || e.Phone != phones[1].ID || e.Code != invited.ID {
				t.Errorf("told %+v", e)
			}
			if _, err := real.Me(t.Context()); err != nil {
				t.Errorf("her other phone: %v", err)
			}
		})
	}
}

// A connection that says nothing, or speaks something else, costs nothing but
// its place, and is not an error of ours.
func TestStrangersOnTheWire(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	for name, say := range map[string]string{
		"nothing": "", "HTTP without TLS": "GET / HTTP/1.1\r\n\r\n", "half a hello": "\x16\x03\x01\x02\x00\x01", "noise": strings.Repeat("\xff", 4096),
	} {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(name, err)
		}
		c.(*net.TCPConn).CloseWrite() // half closed
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	_, c := b.pair(t, wire.Invite{User: "alice"})
	if _, err := c.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

// must fails the test unless what a phone remembers could be told to it: the
// counters that a test signed in its place.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Two that sign with one key are told so, and the person is, whichever way their
// counters meet; one phone whose requests overtake one another is not.
func TestCopiedKeysAreToldOf(t *testing.T) {
	copied := func(b *bench) (entries, events int) {
		b.vault.mu.Lock()
		defer b.vault.mu.Unlock()
		for _, e := range b.vault.entries {
			if e.Kind == "phone-copied" && slices.Contains(e.Reasons, "by:device") {
				entries++
			}
		}
		b.device.mu.Lock()
		defer b.device.mu.Unlock()
		for _, e := range b.device.told {
			if e.Kind == "phone-copied" && e.User == "alice" {
				events++
			}
		}
		return entries, events
	}
	t.Run("a file", func(t *testing.T) {
		b := serve(t, newMemory("alice"), Options{Limits: many})
		dir := t.TempDir()
		file := func(name string) *client.Identity {
			t.Helper()
			i, err := client.OpenIdentity(filepath.Join(dir, name))
			must(t, err)
			return i
		}
		first, err := client.NewIdentity(filepath.Join(dir, "first.json"))
		must(t, err)
		must(t, first.Pair(t.Context(), b.invite(t, wire.Invite{User: "alice"}), "first", "test"))
		text, err := os.ReadFile(filepath.Join(dir, "first.json"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "second.json"), text, 0o600))
		ask := func(name string) error { // as 'faceprint phone sim me' does
			i := file(name)
			c := i.Client()
			defer c.Close()
			_, err := c.Me(t.Context())
			return errors.Join(err, i.Save())
		}
		for range 3 {
			must(t, ask("first.json"))
		}
		for _, name := range []string{"second.json", "first.json"} {
			if err := ask(name); !errors.Is(err, client.ErrCopied) {
				t.Errorf("%s: %v", name, err)
			}
			must(t, ask(name)) // told, and not shut out
			must(t, ask(name))
		}
		if entries, events := copied(b); entries != 1 || events != 1 {
			t.Errorf("%d entries, %d events", entries, events)
		}
		b.clock.add(copiedEvery)
		if err := ask("second.json"); !errors.Is(err, client.ErrCopied) {
			t.Error(err)
		}
		if entries, _ := copied(b); entries != 2 {
			t.Errorf("%d entries after a while", entries)
		}
	})
	t.Run("far behind", func(t *testing.T) {
		b := serve(t, newMemory("alice"), Options{Limits: many})
		i, _ := b.pair(t, wire.Invite{User: "alice"})
		x := b.dial(t)
		x.want(t, sign(t, i, x.binding, "GET", "/v1/me", 1000, ""), 200, "")
		x.want(t, sign(t, i, x.binding, "GET", "/v1/me", 1000, ""), 401, wire.ProblemStale) // sent again
		for counter, problem := range map[uint64]string{1000: wire.ProblemCopied, 1000 - crowd + 1: wire.ProblemStale, 1000 - crowd: wire.ProblemCopied} {
			y := b.dial(t)
			y.want(t, sign(t, i, y.binding, "GET", "/v1/me", counter, ""), 401, problem)
		}
	})
	t.Run("a crowd", func(t *testing.T) {
		b := serve(t, newMemory("alice"), Options{Limits: many})
		_, c := b.pair(t, wire.Invite{User: "alice"})
		var asking sync.WaitGroup
		for range 6 { // 48 in all: on a busy machine one may wait until all others were answered
			asking.Go(func() {
				for range 8 {
					var e *wire.Error
					if _, err := c.Me(t.Context()); errors.As(err, &e) && e.Problem() != wire.ProblemStale || errors.Is(err, client.ErrCopied) {
						t.Error(err)
					}
				}
			})
		}
		asking.Wait()
		if entries, events := copied(b); entries+events != 0 {
			t.Errorf("%d entries, %d events", entries, events)
		}
	})
	t.Run("after a crash", func(t *testing.T) {
		v := newMemory("alice")
		b := serve(t, v, Options{Limits: many})
		i, c := b.pair(t, wire.Invite{User: "alice"})
		_, err := c.Me(t.Context())
		must(t, err)
		again := serve(t, v.copy(), Options{Limits: many})
		i.Addr = again.addr
		if _, err := i.Client().Me(t.Context()); err != nil {
			t.Error(err)
		}
		if entries, events := copied(again); entries+events != 0 {
			t.Errorf("%d entries, %d events", entries, events)
		}
	})
}
