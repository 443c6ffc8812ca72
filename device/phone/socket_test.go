package phone

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// What hostile and broken peers do to sockets, over real ones.

// refusedWith reads an answer, which must be a refusal in the one shape, after
// which the device hangs up.
func refusedWith(t *testing.T, c *thief, status int) {
	t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Errorf("no answer, %d was expected: %v", status, err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	var p wire.Error
	if err != nil || json.Unmarshal(body, &p) != nil || resp.StatusCode != status || p.Status != status || p.Problem() == "" ||
		resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d was expected: %s %q, %v", status, resp.Status, body, err)
	}
	if !resp.Close {
		t.Error("the connection stays open")
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("something follows the answer")
	}
}

// Whatever is wrong with a request is answered in one shape, also where it never
// gets as far as a handler.
func TestOneShapeForWhatIsNoRequest(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, phone := b.pair(t, wire.Invite{User: "alice"})
	signed := string(sign(t, i, client.Binding{}, "POST", "/v1/verify", 500, `{"audience":"a","nonce":"n"}`))
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"a header of a megabyte":      {"GET /v1/me HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431},
		"a megabyte of headers":       {"GET /v1/me HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 1<<20/6) + "\r\n", 431},
		"a target of a megabyte":      {"GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"no request line":             {"hello\r\n\r\n", 400},
		"bytes":                       {"\x00\xff\xfe\x80\r\n\r\n", 400},
		"a target in bytes":           {"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"a name of a header in bytes": {"GET /v1/me HTTP/1.1\r\nHost: x\r\n\xff: y\r\n\r\n", 400},
		"a header without a colon":    {"GET /v1/me HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n", 400},
		"no host":                     {"GET /v1/me HTTP/1.1\r\n\r\n", 400},
		"two hosts":                   {"GET /v1/me HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		"HTTP/3.0":                    {"GET /v1/me HTTP/3.0\r\nHost: x\r\n\r\n", 505},
		"two lengths":                 {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400},
		"a length that is none":       {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}", 400},
		"an encoding of old":          {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		"chunks that are none":        {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"an expectation":              {"GET /v1/me HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417},
		"a body that is too long":     {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + strings.Repeat("x", 99999), 413},
		"options of all":              {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"another method":              {"BREW /v1/me HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"a path in another form":      {"GET //v1/../v1/me HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"a signature in bytes":        {"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Faceprint1 \xff.1.\xff\r\n\r\n", 401},
		"a request within a request":  {strings.Replace(signed, `{"audience"`, "GET /v1/me HTTP/1.1\r\n", 1), 401},
	} {
		t.Run(name, func(t *testing.T) {
			x := b.dial(t)
			go func() { _, _ = io.WriteString(x, c.text) }() // it may be more than the device reads
			refusedWith(t, x, c.status)
		})
	}
	if _, err := phone.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

// pipes is a listener in memory, whose connections have the time of a bubble.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

// piped is an end of one, of this machine's address.
type piped struct{ net.Conn }

func (piped) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) Addr() net.Addr { return piped{}.RemoteAddr() }
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return piped{c}, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// dial connects to whoever listens; the connection ends with the test.
func (p *pipes) dial(t *testing.T) net.Conn {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	p.dialled <- far
	return near
}

// Whoever sends a byte now and then, or nothing, is hung up on, and keeps
// nobody else from being answered. Time is virtual: a busy machine is no slow peer.
func TestSlowPeersAreHungUpOn(t *testing.T) {
	v := newMemory("alice")
	before := serve(t, v, Options{Limits: many})
	i, _ := before.pair(t, wire.Invite{User: "alice"})
	before.stop()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})}
		b := serveOn(t, v, Options{Limits: Limits{
			Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1e6, 1e6}, Connections: 64, PerAddress: 64,
			Header: 200 * time.Millisecond, Request: 400 * time.Millisecond,
		}}, l)
		dial := func() *thief {
			t.Helper()
			c := tls.Client(l.dial(t), client.TLS(b.Pin()))
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			return speaking(t, c)
		}
		var slow sync.WaitGroup
		drip := func(c net.Conn, text string) {
			slow.Go(func() {
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for n := 0; ; n++ {
					if _, err := c.Write([]byte{text[n%len(text)]}); err != nil {
						return // what is waited for: the device hung up
					}
					<-tick.C
				}
			})
		}
		began := time.Now()
		for range 8 {
			silent := l.dial(t) // does not even shake hands
			slow.Go(func() { _, _ = io.Copy(io.Discard, silent) })
			drip(l.dial(t), "\x16\x03\x01\x40\x00\x01") // begins to
			header := dial()
			if _, err := io.WriteString(header, "GET /v1/me HTTP/1.1\r\nHost: x\r\nX: "); err != nil {
				t.Fatal(err)
			}
			drip(header, "x")
			body := dial()
			if _, err := io.WriteString(body, "POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			drip(body, "x")
			slow.Go(func() {
				resp, err := http.ReadResponse(body.r, nil)
				if err == nil && (resp.StatusCode != http.StatusRequestTimeout || resp.Header.Get("Content-Type") != "application/problem+json") {
					t.Errorf("a slow body: %s", resp.Status)
				}
			})
		}
		dial().wantSigned(t, i, "GET", "/v1/me", 1000, "", 200, "") // with slow peers around
		slow.Wait()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the last of them was hung up on after %v", took)
		}
		dial().wantSigned(t, i, "GET", "/v1/me", 1001, "", 200, "")
	})
}

// A peer that has said all it will is answered where it asked something, and
// forgotten where it did not.
func TestHalfClosedSockets(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, phone := b.pair(t, wire.Invite{User: "alice"})
	for name, c := range map[string]struct {
		text   string
		signed bool
		status int // 0: no answer
	}{
		"after a whole request":   {"/v1/me", true, 200},
		"after nothing":           {"", false, 0},
		"in a request line":       {"GET /v1", false, 0},
		"in a header":             {"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthor", false, 0},
		"in a body":               {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", false, 400},
		"in a chunk":              {"POST /v1/pair HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", false, 400},
		"after an unsigned one":   {"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n", false, 401},
		"after an unsigned event": {"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", false, 401},
	} {
		t.Run(name, func(t *testing.T) {
			x := b.dial(t)
			text := []byte(c.text)
			if c.signed {
				text = sign(t, i, x.binding, "GET", c.text, 1000, "")
			}
			if _, err := x.Write(text); err != nil {
				t.Fatal(err)
			}
			if err := x.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(x.r, nil)
			switch {
			case c.status == 0 && err == nil && resp.StatusCode/100 == 2:
				t.Errorf("answered with %s", resp.Status)
			case c.status != 0 && (err != nil || resp.StatusCode != c.status):
				t.Errorf("%+v, %v", resp, err)
			}
			_, _ = io.Copy(io.Discard, x.r) // until the device hangs up as well
		})
	}
	must(t, i.Acked(1000))
	if _, err := phone.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whoever speaks something else than TLS is hung up on.
func TestOtherProtocolsAreHungUpOn(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-x\r\n", strings.Repeat("\x00", 4096)} {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		answer, _ := io.ReadAll(bufio.NewReader(c))
		if strings.Contains(string(answer), "HTTP/1.1 2") {
			t.Errorf("%.10q was answered with %q", text, answer)
		}
		c.Close()
	}
	c, err := tls.Dial("tcp", b.addr, client.TLS(b.Pin()))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
