package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// Errors of a phone beyond *client.Error, which is what the device said.
var (
	// ErrPin: whoever answered is not the device that was paired.
	ErrPin = errors.New("that is not the device of the code: its key is another")
	// ErrProof: whoever answered does not know the invitation's secret.
	ErrProof = errors.New("the device does not know the code's secret")
	// ErrRolledBack: the device knows less of this phone than it once said.
	ErrRolledBack = errors.New("the device forgot requests of this phone: an old state of it was put back")
	// ErrCopied: somebody else signs with this phone's key.
	ErrCopied = errors.New("somebody has a copy of this phone's key")
)

var errHungUp = errors.New("the device hung up")

// Limits of a client.
const (
	dialTimeout = 10 * time.Second
	idleReuse   = 30 * time.Second // well below the device's idle time-out
	maxAnswer   = 1 << 20
	staleTries  = 3 // signatures for one request when another thread was faster
	hasteTries  = 3 // for one that the device would not have yet
	longestWait = 10 * time.Second
)

// Client is a phone that talks to its device. Its methods may be called
// concurrently; each request has a connection of its own, because it is signed
// for that connection.
type Client struct {
	addr   string
	pin    Pin
	keys   Keystore
	memory Memory

	pause func(context.Context, time.Duration) error // waits

	mu   sync.Mutex
	idle []*conn
}

// conn is one TLS connection, with what its requests are bound to.
type conn struct {
	*tls.Conn
	r       *bufio.Reader
	binding Binding
	since   time.Time // idle since
}

// New makes a client of a paired device. It does not connect yet.
func New(addr string, pin Pin, keys Keystore, memory Memory) *Client {
	return &Client{addr: addr, pin: pin, keys: keys, memory: memory, pause: pause}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Client is a client with this identity.
func (i *Identity) Client() *Client { return New(i.Addr, i.Pin, i, i) }

// Close drops idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.idle {
		x.Close()
	}
	c.idle = nil
}

// TLS is a configuration that trusts the pin and nothing else.
func TLS(pin Pin) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		InsecureSkipVerify:     true, // in favour of the pin: there is no authority to ask
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo) != pin {
				return ErrPin
			}
			return nil
		},
	}
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := tls.Dialer{Config: TLS(c.pin)}
	raw, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		if errors.Is(err, ErrPin) {
			return nil, fmt.Errorf("phone: %s: %w", c.addr, ErrPin)
		}
		return nil, fmt.Errorf("phone: %s: %w: %w", c.addr, client.ErrUnreachable, err)
	}
	t := raw.(*tls.Conn)
	state := t.ConnectionState()
	binding, err := Bind(&state)
	if err != nil {
		t.Close()
		return nil, err
	}
	return &conn{Conn: t, r: bufio.NewReader(t), binding: binding}, nil
}

// take returns a connection, and whether it is one that was used before.
func (c *Client) take(ctx context.Context) (*conn, bool, error) {
	c.mu.Lock()
	for len(c.idle) > 0 {
		x := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if time.Since(x.since) < idleReuse && quiet(x.NetConn()) {
			c.mu.Unlock()
			return x, true, nil
		}
		x.Close()
	}
	c.mu.Unlock()
	x, err := c.dial(ctx)
	return x, false, err
}

// give keeps a connection for the next request, unless more came than was asked
// for: that would be taken for the next answer.
func (c *Client) give(x *conn) {
	if x.r.Buffered() > 0 {
		x.Close()
		return
	}
	x.since = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, x)
}

// exchange signs and sends one request on the connection.
func (c *Client) exchange(x *conn, method, target string, body []byte) (*http.Response, error) {
	counter, err := c.memory.Next(c.memory.Highest())
	if err != nil {
		return nil, err
	}
	sig, err := c.keys.Sign(Request{Method: method, Target: target, Counter: counter, Binding: x.binding, Body: body})
	if err != nil {
		return nil, err
	}
	return x.send(c.addr, method, target, body, sig.String())
}

func (x *conn) send(addr, method, target string, body []byte, authorization string) (*http.Response, error) {
	req, err := http.NewRequest(method, "https://"+addr+target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := req.Write(x.Conn); err != nil {
		return nil, fmt.Errorf("phone: %s: %w: %w", addr, client.ErrUnreachable, err)
	}
	resp, err := http.ReadResponse(x.r, req)
	if err != nil {
		return nil, fmt.Errorf("phone: %s: %w: %w: %w", addr, errHungUp, client.ErrUnreachable, err)
	}
	return resp, nil
}

// do makes one request and returns the response with its connection, which the
// caller gives back or closes. A status other than 2xx is a *client.Error.
func (c *Client) do(ctx context.Context, method, target string, in any) (*http.Response, *conn, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, nil, fmt.Errorf("phone: %w", err)
		}
	}
	for stale, hasty := 1, 1; ; {
		before := c.memory.Highest()
		resp, x, err := c.once(ctx, method, target, body)
		if err != nil {
			return nil, nil, c.why(ctx, err)
		}
		if err := c.learn(resp, before); err != nil {
			x.Close()
			return nil, nil, err
		}
		if resp.StatusCode/100 == 2 {
			return resp, x, nil
		}
		e, whole := problem(resp)
		if whole && !resp.Close {
			c.give(x) // the next try costs the device no handshake
		} else {
			x.Close()
		}
		if e.Problem() == client.ProblemStale && stale < staleTries {
			stale++
			continue // another request of this phone was faster
		}
		if wait, ok := after(resp); ok && hasty < hasteTries {
			hasty++
			if err := c.pause(ctx, wait); err != nil {
				return nil, nil, err
			}
			continue // nothing was done
		}
		if e.Problem() == client.ProblemCopied {
			return nil, nil, fmt.Errorf("phone: %w: %w", ErrCopied, e)
		}
		return nil, nil, e
	}
}

// once sends the request on a used connection or else on a fresh one. What
// changes something is not sent twice: the device may have done it before it
// hung up.
func (c *Client) once(ctx context.Context, method, target string, body []byte) (*http.Response, *conn, error) {
	for {
		x, used, err := c.take(ctx)
		if err != nil {
			return nil, nil, err
		}
		unhook := context.AfterFunc(ctx, func() { x.Close() })
		resp, err := c.exchange(x, method, target, body)
		if err == nil {
			// The answer's body is read under the context as well.
			resp.Body = &unhooking{resp.Body, unhook}
			return resp, x, nil
		}
		unhook()
		x.Close()
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if !used || method != http.MethodGet {
			return nil, nil, err
		}
	}
}

type unhooking struct {
	io.ReadCloser
	unhook func() bool
}

func (u *unhooking) Close() error {
	u.unhook()
	return u.ReadCloser.Close()
}

// learn takes note of the highest counter that the device says it had accepted
// before this request. One below what this phone knew when it asked gives away
// a device that was rolled back.
func (c *Client) learn(resp *http.Response, knew uint64) error {
	n, err := strconv.ParseUint(resp.Header.Get(CounterHeader), 10, 64)
	if err != nil {
		return nil // it does not know this phone, and says so
	}
	if n < knew {
		return fmt.Errorf("phone: the device knows of counter %d, it knew of %d: %w", n, knew, ErrRolledBack)
	}
	return c.memory.Acked(n)
}

// after is how long a device that was asked too often wants to be left alone.
func after(resp *http.Response) (time.Duration, bool) {
	n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	wait := time.Duration(n) * time.Second
	return wait, resp.StatusCode == http.StatusTooManyRequests && err == nil && wait <= longestWait
}

// why finds out what became of a phone whose device hung up on it: one that is
// revoked, or whose time is over, has its connections cut, also in the middle of
// an attempt. It returns the error itself where the device says nothing else.
func (c *Client) why(ctx context.Context, err error) error {
	if !errors.Is(err, errHungUp) || ctx.Err() != nil {
		return err
	}
	resp, x, again := c.once(ctx, http.MethodGet, "/v1/me", nil)
	if again != nil {
		return err
	}
	defer x.Close()
	if e, _ := problem(resp); e.Problem() == client.ProblemRevoked || e.Problem() == client.ProblemExpired {
		return e
	}
	return err
}

// problem reads an RFC 9457 answer, and tells whether that was all of it.
func problem(resp *http.Response) (e *client.Error, whole bool) {
	defer resp.Body.Close()
	e = &client.Error{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || json.Unmarshal(b, e) != nil {
		e.Detail = "the device answered " + resp.Status
	}
	return e, err == nil && len(b) <= maxAnswer
}

func call[T any](ctx context.Context, c *Client, method, target string, in any) (T, error) {
	var out T
	resp, x, err := c.do(ctx, method, target, in)
	if err != nil {
		return out, err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	resp.Body.Close()
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil || resp.Close {
		x.Close()
	} else {
		c.give(x)
	}
	if ctx.Err() != nil && err != nil {
		return out, ctx.Err()
	}
	if err != nil {
		return out, fmt.Errorf("phone: %s %s: %w", method, target, err)
	}
	return out, nil
}

// Pair makes the identity one of the device's phones: the code's secret is
// proved, and the device must prove that it knows it too. The key is in the file
// before the code is used up, and stays there unless the device surely did not
// take it.
func (i *Identity) Pair(ctx context.Context, inv Invitation, name, platform string) error {
	a := Applicant{Key: i.public, Kind: App, Name: name, Platform: platform}
	if err := a.Check(); err != nil {
		return err
	}
	c := New(inv.Addr, inv.Pin, i, i)
	x, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer x.Close()
	defer context.AfterFunc(ctx, func() { x.Close() })()
	proof := ProvePhone(inv.Secret, inv.Pin, x.binding, a)
	body, err := json.Marshal(PairRequest{Invite: inv.Secret.Name(), Key: a.Key.String(), Kind: a.Kind, Name: a.Name, Platform: a.Platform, Proof: proof.String()})
	if err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	i.Addr, i.Pin, i.ID = inv.Addr, inv.Pin, i.public.ID()
	if err := i.Save(); err != nil {
		i.ID = ""
		return err
	}
	unknown := func(err error) error {
		if i.path == "" {
			return fmt.Errorf("phone: pairing: %w", err)
		}
		return fmt.Errorf("phone: pairing: %w; the device may have paired this phone, whose key is in %s: ask with it, and remove the file if it is not known", err, i.path)
	}
	resp, err := c.exchange(x, http.MethodPost, "/v1/pair", body)
	if err != nil {
		return unknown(err)
	}
	if resp.StatusCode/100 != 2 {
		e, _ := problem(resp)
		return errors.Join(e, i.discard())
	}
	defer resp.Body.Close()
	var reply PairReply
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&reply); err != nil {
		return unknown(err)
	}
	got, err := ParseProof(reply.Proof)
	if err != nil || reply.ID != i.public.ID() || !got.Equal(ProveDevice(inv.Secret, proof, reply.ID, reply.User)) {
		return errors.Join(fmt.Errorf("phone: pairing: %w", ErrProof), i.discard())
	}
	i.User = reply.User
	return i.Save()
}

// Me tells who the device takes this phone for.
func (c *Client) Me(ctx context.Context) (Me, error) {
	return call[Me](ctx, c, http.MethodGet, "/v1/me", nil)
}

// Phones lists the person's.
func (c *Client) Phones(ctx context.Context) (Phones, error) {
	return call[Phones](ctx, c, http.MethodGet, "/v1/phones", nil)
}

// Unlock asks to be let in: the device measures what its policy wants besides
// the phone, and opens. It returns the decision.
func (c *Client) Unlock(ctx context.Context, u Unlock) (client.Decision, error) {
	return call[client.Decision](ctx, c, http.MethodPost, "/v1/unlock", u)
}

// Kiosk begins a session of the phone's person at the kiosk's page, where they
// stand: they look or touch there. It returns the decision, without the grant.
func (c *Client) Kiosk(ctx context.Context) (client.Decision, error) {
	return call[client.Decision](ctx, c, http.MethodPost, "/v1/kiosk", AtKiosk{})
}

// Verify makes the device vouch for its person with a grant for the nonce.
func (c *Client) Verify(ctx context.Context, v VerifyMe) (client.Decision, error) {
	return call[client.Decision](ctx, c, http.MethodPost, "/v1/verify", v)
}

// Requests lists what waits for this person's answer.
func (c *Client) Requests(ctx context.Context) (PendingList, error) {
	return call[PendingList](ctx, c, http.MethodGet, "/v1/requests", nil)
}

// Answer approves or refuses one.
func (c *Client) Answer(ctx context.Context, id string, approve bool) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/requests/"+url.PathEscape(id), Answer{approve})
	return err
}

// History lists what happened to this person, newest first; before 0 begins.
func (c *Client) History(ctx context.Context, before uint64, limit int) (History, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if before > 0 {
		q.Set("before", strconv.FormatUint(before, 10))
	}
	return call[History](ctx, c, http.MethodGet, "/v1/history?"+q.Encode(), nil)
}

// Keys are the public keys with which grants are checked.
func (c *Client) Keys(ctx context.Context) (client.Keys, error) {
	return call[client.Keys](ctx, c, http.MethodGet, "/v1/keys", nil)
}

// Revoke ends this phone's pairing.
func (c *Client) Revoke(ctx context.Context) (client.Phone, error) {
	return call[client.Phone](ctx, c, http.MethodDelete, "/v1/me", nil)
}

// Events calls f for every event that concerns this person until the context
// ends, f returns an error, or the device goes away (io.EOF). It calls ready,
// which may be nil, when nothing is missed any more.
func (c *Client) Events(ctx context.Context, ready func(), f func(Event) error) error {
	resp, x, err := c.do(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer x.Close()
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue // names and signs of life
		}
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("phone: an event that is none: %w", err)
		}
		if e.Kind == "" { // the greeting
			if ready != nil {
				ready()
				ready = nil
			}
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("phone: events ended: %w", err)
	}
	return io.EOF
}
