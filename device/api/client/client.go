package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where an installed daemon listens.
const DefaultSocket = "/run/faceprint/api.sock"

// SocketVariable names the environment variable that overrides DefaultSocket.
const SocketVariable = "FACEPRINT_SOCKET"

// Socket is the path to use when the user named none.
func Socket() string {
	if s := os.Getenv(SocketVariable); s != "" {
		return s
	}
	return DefaultSocket
}

// Client talks to one daemon. Its methods may be called concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the daemon that listens on the unix socket. It does
// not connect yet.
func New(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", socket)
			},
			DisableCompression: true,
		},
		// What was asked for is done or refused, and nothing else in its place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a fault or a wrong request that the daemon reported (RFC 9457).
type Error struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Advice string `json:"advice"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// Problem types, the last part of Error.Type.
const (
	ProblemBusy      = "busy"       // another attempt is going on
	ProblemForbidden = "forbidden"  // the caller's role may not do that
	ProblemNotFound  = "not-found"  // no such person
	ProblemInvalid   = "invalid"    // the request makes no sense
	ProblemFault     = "fault"      // a part of the device failed
	ProblemDuplicate = "duplicate"  // already enrolled
	ProblemConsent   = "no-consent" // consent was not given
	ProblemLeft      = "left"       // whoever agreed was not seen any more; nothing was stored
	ProblemPIN       = "pin"        // no PIN that is taken here
	ProblemRefused   = "refused"    // what was seen is an attack
	ProblemRetry     = "retry"      // nothing was done: somebody must come closer, press again

	// Of phones.
	ProblemUnsigned = "unsigned"      // no signature, or one that does not hold, of a phone that is known
	ProblemStale    = "stale-counter" // the counter is not above the last
	ProblemRevoked  = "revoked"       // the phone is revoked, for ever
	ProblemExpired  = "expired"       // its time is over, unless it is given more
	ProblemTooMany  = "too-many"      // slower
	ProblemPairing  = "not-paired"    // the invitation is wrong, used or expired
	ProblemName     = "name"          // a phone cannot be called that
	ProblemClock    = "clock"         // nobody knows how late it is
	ProblemCopied   = "key-copied"    // somebody else used the same counter: there are two of this phone's key
)

// ProblemPrefix stands before a problem's name in Error.Type.
const ProblemPrefix = "urn:faceprint:problem:"

// Problem is the kind of problem, one of the Problem constants.
func (e *Error) Problem() string { return strings.TrimPrefix(e.Type, ProblemPrefix) }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	if b.Len() == 0 {
		b.WriteString(e.Title)
	}
	for _, x := range e.Errors {
		fmt.Fprintf(&b, "; %s", x.Message)
		if x.Location != "" {
			fmt.Fprintf(&b, " (%s)", x.Location)
		}
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, "; %s", e.Advice)
	}
	return b.String()
}

// ErrUnreachable is wrapped when there is no daemon on the socket.
var ErrUnreachable = errors.New("no daemon answers")

// Authenticate asks whether the person is who they claim (1:1).
func (c *Client) Authenticate(ctx context.Context, a Attempt) (Decision, error) {
	return call[Decision](ctx, c, http.MethodPost, "/v1/authenticate", a)
}

// Identify asks who the person is (1:N).
func (c *Client) Identify(ctx context.Context, a Attempt) (Decision, error) {
	return call[Decision](ctx, c, http.MethodPost, "/v1/identify", a)
}

// AuthenticatePIN asks whether the PIN is the person's.
func (c *Client) AuthenticatePIN(ctx context.Context, a PINAttempt) (Decision, error) {
	return call[Decision](ctx, c, http.MethodPost, "/v1/pin", a)
}

// SetPIN gives the person a PIN.
func (c *Client) SetPIN(ctx context.Context, user string, p NewPIN) (Person, error) {
	return call[Person](ctx, c, http.MethodPut, "/v1/people/"+url.PathEscape(user)+"/pin", p)
}

// RestoreTemplates deletes the templates that followed the person's look; the
// enrolled ones stay.
func (c *Client) RestoreTemplates(ctx context.Context, user string) (Person, error) {
	return call[Person](ctx, c, http.MethodDelete, "/v1/people/"+url.PathEscape(user)+"/adapted", nil)
}

// RemovePIN takes the person's PIN away.
func (c *Client) RemovePIN(ctx context.Context, user string) (Person, error) {
	return call[Person](ctx, c, http.MethodDelete, "/v1/people/"+url.PathEscape(user)+"/pin", nil)
}

// Enroll captures and stores a person's templates. It returns when that is
// done; ending the context ends the enrolment and stores nothing.
func (c *Client) Enroll(ctx context.Context, e Enrolment) (Enrolled, error) {
	return call[Enrolled](ctx, c, http.MethodPost, "/v1/people", e)
}

// People lists those enrolled.
func (c *Client) People(ctx context.Context) (People, error) {
	return call[People](ctx, c, http.MethodGet, "/v1/people", nil)
}

// Person tells about one.
func (c *Client) Person(ctx context.Context, user string) (Person, error) {
	return call[Person](ctx, c, http.MethodGet, "/v1/people/"+url.PathEscape(user), nil)
}

// Forget destroys a person's key and templates.
func (c *Client) Forget(ctx context.Context, user string) (Receipt, error) {
	return call[Receipt](ctx, c, http.MethodDelete, "/v1/people/"+url.PathEscape(user), nil)
}

// Report is all that the device has of a person, for that person.
func (c *Client) Report(ctx context.Context, user string) (Report, error) {
	return call[Report](ctx, c, http.MethodGet, "/v1/people/"+url.PathEscape(user)+"/report", nil)
}

// OwnReport lets a person authenticate and, when granted, read their report.
func (c *Client) OwnReport(ctx context.Context, a Attempt) (OwnReport, error) {
	return call[OwnReport](ctx, c, http.MethodPost, "/v1/own-report", a)
}

// Backup writes a backup of the vault to w.
func (c *Client) Backup(ctx context.Context, w io.Writer, keys BackupKeys) error {
	r, err := c.do(ctx, http.MethodPost, "/v1/backup", keys, "application/octet-stream")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(w, r.Body); err != nil {
		return c.explain(err)
	}
	return nil
}

// Checkpoint signs what the audit chain is now.
func (c *Client) Checkpoint(ctx context.Context) (Checkpoint, error) {
	return call[Checkpoint](ctx, c, http.MethodPost, "/v1/audit/checkpoint", nil)
}

// Unlock ends a person's lock-out.
func (c *Client) Unlock(ctx context.Context, user string) (Person, error) {
	return call[Person](ctx, c, http.MethodPost, "/v1/people/"+url.PathEscape(user)+"/unlock", nil)
}

// Renew revokes a person's face templates and keeps new ones in their place.
func (c *Client) Renew(ctx context.Context, user string) (Renewed, error) {
	return call[Renewed](ctx, c, http.MethodPost, "/v1/people/"+url.PathEscape(user)+"/renew", nil)
}

// TrustModule sets up whatever fingerprint module is there now, after one that
// lied or was exchanged.
func (c *Client) TrustModule(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodPost, "/v1/finger-module/trust", nil)
}

// Audit returns at most limit entries after the one numbered after, and
// whether the chain holds.
func (c *Client) Audit(ctx context.Context, after uint64, limit int) (AuditPage, error) {
	q := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
	return call[AuditPage](ctx, c, http.MethodGet, "/v1/audit?"+q.Encode(), nil)
}

// Status tells how the device is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Ready waits until every part of the device is there, which is soon after
// the daemon started. After the time it returns what is: the status with what
// is missing, or the error of a daemon that does not answer.
func (c *Client) Ready(ctx context.Context, wait time.Duration) (Status, error) {
	until := time.NewTimer(wait)
	defer until.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := c.Status(ctx)
		if err == nil && !slices.ContainsFunc(s.Parts, func(p Part) bool { return p.State == "missing" }) {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-until.C:
			return s, err
		case <-tick.C:
		}
	}
}

// ConsentText is what a person must agree to before an enrolment.
func (c *Client) ConsentText(ctx context.Context) (ConsentText, error) {
	return call[ConsentText](ctx, c, http.MethodGet, "/v1/consent", nil)
}

// KioskCode makes a code that lets one page of the kiosk enrol people.
func (c *Client) KioskCode(ctx context.Context) (KioskCode, error) {
	return call[KioskCode](ctx, c, http.MethodPost, "/v1/kiosk/code", struct{}{})
}

// Config returns the effective configuration.
func (c *Client) Config(ctx context.Context) (Config, error) {
	return call[Config](ctx, c, http.MethodGet, "/v1/config", nil)
}

// Diagnose makes the daemon examine its parts.
func (c *Client) Diagnose(ctx context.Context) (Diagnosis, error) {
	return call[Diagnosis](ctx, c, http.MethodGet, "/v1/doctor", nil)
}

// CameraChart returns the chart for MeasureCamera.
func (c *Client) CameraChart(ctx context.Context) (CameraChart, error) {
	return call[CameraChart](ctx, c, http.MethodGet, "/v1/camera/chart", nil)
}

// MeasureCamera waits some seconds for the chart to be held before the camera
// and measures focus and exposure by it.
func (c *Client) MeasureCamera(ctx context.Context) (CameraMeasure, error) {
	return call[CameraMeasure](ctx, c, http.MethodPost, "/v1/camera/measure", struct{}{})
}

// Keys returns the public keys with which grants are checked.
func (c *Client) Keys(ctx context.Context) (Keys, error) {
	return call[Keys](ctx, c, http.MethodGet, "/v1/keys", nil)
}

// Events calls f for every event until the context ends, f returns an error
// or the daemon goes away. It calls ready, which may be nil, once the daemon
// has subscribed this caller: from then on nothing is missed.
func (c *Client) Events(ctx context.Context, ready func(), f func(Event) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/events", nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if ready != nil {
		ready()
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // event names, ids, comments that keep the line alive
		}
		var e Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("client: an event that is no event: %w", err)
		}
		if e.Kind == "" {
			continue // the greeting
		}
		if err := f(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("client: events ended: %w", err)
	}
	return io.EOF
}

// Logins lists who may log in to which account.
func (c *Client) Logins(ctx context.Context) (Logins, error) {
	return call[Logins](ctx, c, http.MethodGet, "/v1/logins", nil)
}

// AllowLogin lets a person log in to an account.
func (c *Client) AllowLogin(ctx context.Context, account, user string) (Login, error) {
	return call[Login](ctx, c, http.MethodPut, "/v1/logins/"+url.PathEscape(account), LoginOf{User: user})
}

// SetKeyring lets face and finger open an account's keyring, where its person is
// here now, and returns the keyring's password. Root alone may ask.
func (c *Client) SetKeyring(ctx context.Context, account string, a Attempt) (Keyring, error) {
	return call[Keyring](ctx, c, http.MethodPut, "/v1/logins/"+url.PathEscape(account)+"/keyring", a)
}

// ForgetKeyring destroys that password.
func (c *Client) ForgetKeyring(ctx context.Context, account string) (Login, error) {
	return call[Login](ctx, c, http.MethodDelete, "/v1/logins/"+url.PathEscape(account)+"/keyring", nil)
}

// RevokeLogin takes it back and returns what it was.
func (c *Client) RevokeLogin(ctx context.Context, account string) (Login, error) {
	return call[Login](ctx, c, http.MethodDelete, "/v1/logins/"+url.PathEscape(account), nil)
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	resp, err := c.do(ctx, method, path, body, "application/json")
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("client: %s %s: the answer is not what was expected (another version of faceprintd?): %w", method, path, err)
	}
	return answer, nil
}

// ErrName: what was to be named has no name, or one that no path can have.
var ErrName = errors.New(`a name is missing, or is "." or ".."`)

// do returns a response with a 2xx status; its body must be closed. A path with a
// part that is empty or leads elsewhere is refused: it was made of a name that is
// none, and the daemon would read another path in it.
func (c *Client) do(ctx context.Context, method, path string, body any, accept string) (*http.Response, error) {
	plain, _, _ := strings.Cut(path, "?")
	for part := range strings.SplitSeq(strings.TrimPrefix(plain, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return nil, fmt.Errorf("client: %s %s: %w", method, plain, ErrName)
		}
	}
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://faceprint"+path, r)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	if b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); json.Unmarshal(b, e) != nil {
		e.Detail = fmt.Sprintf("%s %s: %s", method, path, resp.Status)
	}
	return nil, e
}

// explain turns what connect said into what to do.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w on %s: there is no such socket; start faceprintd, or name its socket with --socket or %s", ErrUnreachable, c.socket, SocketVariable)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s: the socket is left over from a daemon that is gone; start faceprintd", ErrUnreachable, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w on %s: you may not use that socket; ask to be put into its group", ErrUnreachable, c.socket)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%s: %w", c.socket, err)
}
