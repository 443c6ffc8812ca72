package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// once is a listener that has one connection to hand out.
type once chan net.Conn

func (o once) Accept() (net.Conn, error) {
	c, ok := <-o
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (o once) Close() error   { return nil }
func (o once) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// pipe is a connection to a server of the handler whose time is the bubble's.
func pipe(t *testing.T, s *Server) net.Conn {
	near, far := net.Pipe()
	l := make(once, 1)
	l <- far
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, roleKey{}, RoleKiosk)
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		near.Close()
		close(l)
		<-served
		server.Close()
	})
	return near
}

const question13 = "POST /v1/authenticate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"

// An attempt may wait for its person until its own time is over: no deadline of
// the connection's ends it before. Time is virtual here.
func TestAttemptsMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{waits: make(chan struct{})}
		c := pipe(t, New(f, Options{Log: quiet()}))
		go func() { _, _ = io.WriteString(c, question13+`{"user":"u1"}`) }()
		<-f.waits // it began
		began := time.Now()
		select {
		case <-f.waits:
			t.Errorf("an attempt was ended after %v", time.Since(began))
		case <-time.After(2 * time.Minute):
			c.Close() // the asker leaves: that does end it
			<-f.waits
		}
	})
}

// Whoever does not send the whole of a request is not waited for.
func TestSlowBodiesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, New(&fake{}, Options{Log: quiet()}))
		go func() { _, _ = io.WriteString(c, question13+`{"user"`) }()
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took > time.Minute {
			t.Errorf("%s after %v", resp.Status, took)
		}
	})
}
