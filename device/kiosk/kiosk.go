// Package kiosk is the page on the device's own screen: look, touch, you are
// in. It serves one embedded page, and what that page needs, on a loopback
// address.
//
// # Who may use it
//
// Loopback is open to every process of the machine and, through a browser, to
// every site that one visits. So four things are checked before anything is
// answered:
//
//   - the user of the process at the other end, as the kernel tells it
//     (/proc/net/tcp); only those whom Options.Allow knows are served,
//   - Host, against DNS rebinding, and Origin and Sec-Fetch-Site against other
//     sites in the same browser,
//   - the token that the page was given when it was loaded, for everything but
//     the page and its files,
//   - that the page is the one in use. The newest page that opened its event
//     stream is; whatever an older one had under way ends.
//
// The page holds no secret of anybody's. Grants stay here: the page learns that
// somebody was recognised and what they want to be called.
//
// # Preview
//
// Frames go to the page in use and nowhere else, each as a JPEG made in memory,
// and only where Options.Picture is set.
package kiosk

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// Backend is what the page needs of the device, in the types of the wire.
type Backend interface {
	Status(context.Context) (client.Status, error)
	Diagnose(context.Context) (client.Diagnosis, error)
	Identify(context.Context, client.Attempt) (client.Decision, error)
	AuthenticatePIN(context.Context, client.PINAttempt) (client.Decision, error)
	SetPIN(ctx context.Context, user string, p client.NewPIN) error
	RemovePIN(ctx context.Context, user string) error
	Enroll(context.Context, client.Enrolment) (client.Enrolled, error)
	Person(ctx context.Context, user string) (client.Person, error)
	Forget(ctx context.Context, user string) (client.Receipt, error)
	Audit(ctx context.Context, after uint64, limit int) (client.AuditPage, error)
	Events(context.Context) <-chan client.Event
}

// Picture returns the newest picture of the camera whose number is above after,
// at most width pixels wide, and its number; it waits for one.
type Picture func(ctx context.Context, after uint64, width int) (*image.YCbCr, uint64, error)

// Logins are the questions of web applications who stands there. They are
// asked and answered below /oidc/.
type Logins interface {
	http.Handler
	// Asked tells which application asks in this login.
	Asked(id string) (app string, err error)
	// Answer takes the device's grant for this login, whose nonce is its id,
	// and returns the address that leads back to the application.
	Answer(id, grant string) (next string, err error)
	// Decline is the address that leads back without an answer.
	Decline(id string) (next string)
	// Leave ends what somebody who walked away was signed in to.
	Leave()
	// Stands ends what anybody else than this person was signed in to.
	Stands(user string)
	// Open tells whether anybody is signed in to an application.
	Open() bool
	// SignedOut hands over addresses of applications that the page has to load
	// in frames, since somebody who was signed in there has left. Each is handed
	// over once.
	SignedOut() []string
	// Frames are the origins of those addresses.
	Frames() []string
}

// Enrolling says who may start an enrolment at the kiosk.
type Enrolling string

// Ways to enrol. The zero value is EnrolOff.
const (
	EnrolOff  Enrolling = "off"  // nobody: enrolments are made with the command line
	EnrolCode Enrolling = "code" // who has a code that an administrator asked for (Server.Code)
	EnrolOpen Enrolling = "open" // everybody who stands there
)

// Options of a server.
type Options struct {
	Version string
	Bench   bool
	Factors []string // that the policy wants, such as face and finger
	PIN     bool     // the policy takes a PIN
	Enrol   Enrolling
	Logins  Logins        // of web applications; nil: there are none
	Phones  Phones        // of people; nil: there are none
	Picture Picture       // nil: no preview
	Mirror  bool          // show the preview as a mirror does; false where the camera does that
	Present func() bool   // whether somebody is before the device; nil: nobody knows
	Lamp    func() string // what the finger reader's shows, as events of the kind lamp say from then on; nil: it has none
	// Visit binds what follows to whose face is before the device, or no longer:
	// when another one is there in its place an event says that they left. Nil:
	// nobody looks.
	Visit func(bound bool)
	// Allow tells whether a process of this user may use the page; nil allows
	// nobody.
	Allow func(uid int) bool
	// Peer tells whose process is at the other end of a connection; nil asks the
	// kernel.
	Peer func(net.Conn) (uid int, err error)
	Log  *slog.Logger // nil = slog.Default
	Now  func() time.Time
}

// Server serves the page.
type Server struct {
	back    Backend
	opts    Options
	log     *slog.Logger
	host    string // that the page is reached by, with its port
	files   files
	pages   pages
	codes   codes
	bell    doorbell
	turn    chan struct{} // holds a token while no page has an attempt under way
	frames  preview
	headers map[string]string
	handler http.Handler
}

// New makes a server of the backend. Events and presence end with the context.
func New(back Backend, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Peer == nil {
		o.Peer = peerUser
	}
	if o.Visit == nil {
		o.Visit = func(bool) {}
	}
	if o.Enrol == "" {
		o.Enrol = EnrolOff
	}
	s := &Server{back: back, opts: o, log: o.Log, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	s.pages.now, s.pages.visit, s.codes.now = o.Now, s.visit, o.Now
	var err error
	if s.files, err = loadFiles(); err != nil {
		return nil, err
	}
	s.frames.picture = o.Picture
	s.headers = headers
	if o.Logins != nil && len(o.Logins.Frames()) > 0 {
		s.headers = framing(o.Logins.Frames())
	}
	s.handler = s.routes()
	return s, nil
}

// visit binds what follows to whose face is there, or no longer. Somebody who is in
// an application, which takes the page's place in the window, is there still.
func (s *Server) visit(bound bool) {
	if bound || s.opts.Logins == nil || !s.opts.Logins.Open() {
		s.opts.Visit(bound)
	}
}

// Listen opens the page's address, which must be a loopback one: a preview and
// an unlocked kiosk are for whoever stands before the device.
func Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("kiosk: %q is no address like 127.0.0.1:8750: %w", address, err)
	}
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("kiosk: %s is no loopback address; the page is for this machine's own screen, use 127.0.0.1", host)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, fmt.Errorf("kiosk: %q is no port, 0 to 65535 are", port)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("kiosk: %w; another program has the port, name another kiosk.listen", err)
	}
	return l, nil
}

// URL of the page on the listener.
func URL(l net.Listener) string { return "http://" + l.Addr().String() + "/" }

// Serve answers on the listener until the context ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.host = l.Addr().String()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
		// net/http would answer "OPTIONS *" itself, whoever asks.
		DisableGeneralOptionsHandler: true,
		ConnContext:                  s.connUser,
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			return nil
		}
		return fmt.Errorf("kiosk: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close() // a page that does not read its stream
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) && !errors.Is(e, net.ErrClosed) { // its owner may have closed the listener
		return fmt.Errorf("kiosk: %w", e)
	}
	return nil
}
