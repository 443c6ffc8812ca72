package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// says is a device that answers each connection's first request with these bytes,
// and hangs up, or stays.
type says struct {
	net.Listener
	stays  bool
	pin    Pin
	mu     sync.Mutex
	answer []byte
	asked  int
	done   sync.WaitGroup
}

func newSays(t testing.TB) *says {
	t.Helper()
	cert, pin := selfSigned(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &says{Listener: tls.NewListener(tcp, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}), pin: pin}
	s.done.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				s.mu.Lock()
				answer := s.answer
				s.asked++
				s.mu.Unlock()
				_, _ = c.Write(answer)
				if s.stays {
					_, _ = io.Copy(io.Discard, c)
				}
			})
		}
	})
	t.Cleanup(func() {
		s.Close()
		s.done.Wait()
	})
	return s
}

func (s *says) say(answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.asked = answer, 0
}

// FuzzAnswer lets a device, or what became of it, answer whatever it likes: the
// phone ends with an answer or an error, asks no more often than it should,
// believes no pairing without its proof, and its counters never go back.
func FuzzAnswer(f *testing.F) {
	s := newSays(f)
	head := func(status, more string) string { return "HTTP/1.1 " + status + "\r\n" + more + "\r\n" }
	for n, answer := range []string{
		head("200 OK", "Faceprint-Counter: 0\r\nContent-Length: 2\r\n") + "{}",
		head("200 OK", "Faceprint-Counter: 18446744073709551615\r\nTransfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
		head("200 OK", "Content-Type: text/event-stream\r\n") + "data: {}\n\n:\n\ndata: {\"kind\":\"approve\",\"request\":{\"id\":\"x\"}}\n\n",
		head("200 OK", "") + `{"id":"x","user":"mallory","proof":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		head("401 Unauthorized", "Faceprint-Counter: 9\r\nContent-Length: 44\r\n") + `{"type":"urn:faceprint:problem:stale-counter"}`,
		head("429 Too Many Requests", "Retry-After: 10\r\nContent-Length: 2\r\n") + "{}",
		head("429 Too Many Requests", "Retry-After: 65536\r\n"),
		head("100 Continue", "") + head("200 OK", "Content-Length: 2\r\n") + "{}",
		head("301 Moved", "Location: https://elsewhere/\r\n"), "HTTP/1.1 200\r\nContent-Length: -1\r\n\r\n", "\x16\x03\x01", "",
	} {
		f.Add(uint8(n), []byte(answer))
	}
	f.Fuzz(func(t *testing.T, which uint8, answer []byte) {
		s.say(answer)
		i, err := NewIdentity("")
		if err != nil {
			t.Fatal(err)
		}
		i.Addr, i.Pin, i.ID = s.Addr().String(), s.pin, i.public.ID()
		c := i.Client()
		c.pause = func(context.Context, time.Duration) error { return nil }
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		before := i.Highest()
		switch which % 5 {
		case 0:
			_, err = c.Me(ctx)
		case 1:
			_, err = c.Kiosk(ctx)
		case 2:
			_, err = c.History(ctx, 3, 2)
		case 3:
			err = c.Events(ctx, nil, func(e Event) error {
				if e.Kind == "" {
					return fmt.Errorf("the greeting is no event")
				}
				return nil
			})
			if err == nil {
				t.Error("a stream that ended without saying so")
			}
		case 4:
			if err = i.Pair(ctx, Invitation{Addr: i.Addr, Pin: s.pin, Secret: NewSecret()}, "a phone", ""); err == nil || i.User != "" {
				t.Errorf("paired as %q without a proof", i.User)
			}
		}
		if ctx.Err() != nil {
			t.Errorf("it did not end: %v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asked > staleTries+hasteTries {
			t.Errorf("it asked %d times", s.asked)
		}
		if h := i.Highest(); h < before || h > MaxCounter {
			t.Errorf("the highest counter went from %d to %d", before, h)
		}
	})
}

// What comes behind an answer is no answer to what is asked next.
func TestNothingBehindAnAnswerIsTakenForTheNext(t *testing.T) {
	s := newSays(t)
	s.stays = true
	one := "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"user\":\"once\"}"
	s.say([]byte(one + "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"user\":\"twice\"}"))
	i, err := NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	i.Addr, i.Pin, i.ID = s.Addr().String(), s.pin, i.public.ID()
	c := i.Client()
	defer c.Close()
	for range 2 {
		if me, err := c.Me(t.Context()); err != nil || me.User != "once" {
			t.Errorf("%+v, %v", me, err)
		}
	}
}

// selfSigned is a device's key and its pin.
func selfSigned(t testing.TB) (tls.Certificate, Pin) {
	t.Helper()
	i, err := NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}, sha256.Sum256(spki)
}
