package phone

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
)

// conn is one phone's TLS connection as the HTTP server has it. It sees to it
// that a refusal has one shape, whoever refuses: net/http answers requests that
// it cannot read, and headers that are too long, without asking anybody.
type conn struct {
	*tls.Conn
	p *Phones
}

// tlsListener makes TLS connections of those that the limits let in.
type tlsListener struct {
	net.Listener
	config *tls.Config
	p      *Phones
}

func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{tls.Server(c, l.config), l.p}, nil
}

// ConnectionState makes the handshake. net/http asks for it once, in the
// connection's own goroutine and before it reads, of connections that are no
// *tls.Conn themselves; for those it would do the same.
func (c *conn) ConnectionState() tls.ConnectionState {
	limit := c.p.opts.Limits.Header
	_ = c.SetDeadline(time.Now().Add(limit)) // fails where the connection is closed, and so does the handshake
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		c.p.refusals.add(badHandshake)
		c.NetConn().Close()
		return tls.ConnectionState{}
	}
	_ = c.SetDeadline(time.Time{})
	return c.Conn.ConnectionState()
}

// Write passes on what handlers say, and says in its own words what net/http
// refuses by itself.
func (c *conn) Write(b []byte) (int, error) {
	status, ok := serversOwn(b)
	if !ok {
		return c.Conn.Write(b)
	}
	c.p.refusals.add(badRequest)
	if _, err := c.Conn.Write(refusalOf(status)); err != nil {
		return 0, err
	}
	return 0, os.ErrClosed // nothing else is said on this connection
}

// serversOwn tells whether the bytes begin a refusal that is not of this
// package, and its status.
func serversOwn(b []byte) (status int, ok bool) {
	const version = "HTTP/1.1 "
	if len(b) < len(version)+4 || string(b[:len(version)]) != version || b[len(version)] != '4' && b[len(version)] != '5' {
		return 0, false
	}
	status, err := strconv.Atoi(string(b[len(version) : len(version)+3]))
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	return status, err == nil && !bytes.Contains(head, []byte("application/problem+json"))
}

// refusalOf is the whole answer to a request that net/http did not take.
func refusalOf(status int) []byte {
	detail, advice := "the request cannot be read", "send HTTP/1.1 as RFC 9112 has it"
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		detail, advice = fmt.Sprintf("the header is longer than %d bytes", maxHeader), ""
	case http.StatusHTTPVersionNotSupported, http.StatusNotImplemented, http.StatusExpectationFailed:
		detail = "the request asks for something of HTTP that is not spoken here"
	}
	body, err := json.Marshal(api.NewProblem(status, wire.ProblemInvalid, detail, advice))
	if err != nil { // a type of ours that cannot fail
		panic(err)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}
