// Package api serves a device over HTTP/1.1 with JSON on a unix socket.
//
// The operations, their types and their errors are described by the OpenAPI
// 3.1 document at /openapi.json, which is made from this code. What a caller
// may do depends on the process at the other end of the socket (see Role);
// the document's x-role says it for every operation.
//
// A refusal is an answer, not an error: 200 with the outcome "refused".
// Errors are RFC 9457 problems. Events are server-sent events; Prometheus
// metrics are at /metrics.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

// Limits of the server.
const (
	maxBody        = 64 << 10         // no request is larger than a few hundred bytes
	headerTimeout  = 5 * time.Second  // for a caller that connects and says nothing
	eventKeepAlive = 15 * time.Second // between signs of life on a silent event stream
	stallTime      = time.Minute      // for a caller that takes nothing of a backup
	drainTime      = 5 * time.Second  // for answers under way when the daemon stops
)

// Backend is what the server offers to callers, in the types of the wire.
// FromDevice makes one of a device. An error that is a *Problem is answered
// as it is; every other error is a fault.
type Backend interface {
	Authenticate(context.Context, client.Attempt) (client.Decision, error)
	Identify(context.Context, client.Attempt) (client.Decision, error)
	AuthenticatePIN(context.Context, client.PINAttempt) (client.Decision, error)
	SetPIN(ctx context.Context, user string, p client.NewPIN) error
	RemovePIN(ctx context.Context, user string) error
	RestoreTemplates(ctx context.Context, user string) error
	Enroll(context.Context, client.Enrolment) (client.Enrolled, error)
	People(context.Context) (client.People, error)
	Person(ctx context.Context, user string) (client.Person, error)
	Forget(ctx context.Context, user string) (client.Receipt, error)
	Unlock(ctx context.Context, user string) (client.Person, error)
	Renew(ctx context.Context, user string) (client.Renewed, error)
	TrustModule(context.Context) (client.Status, error)
	Report(ctx context.Context, user string) (client.Report, error)
	OwnReport(context.Context, client.Attempt) (client.OwnReport, error)
	Checkpoint(context.Context) (client.Checkpoint, error)
	Backup(context.Context, client.BackupKeys) (Backup, error)
	Audit(ctx context.Context, after uint64, limit int) (client.AuditPage, error)
	Status(context.Context) (client.Status, error)
	Diagnose(context.Context) (client.Diagnosis, error)
	CameraChart() client.CameraChart
	MeasureCamera(context.Context) (client.CameraMeasure, error)
	Keys(context.Context) (client.Keys, error)
	KioskCode(context.Context) (client.KioskCode, error)
	Config(context.Context) (client.Config, error)
	Logins(context.Context) (client.Logins, error)
	AllowLogin(ctx context.Context, account, user string) (client.Login, error)
	RevokeLogin(ctx context.Context, account string) (client.Login, error)
	// SetKeyring gives an account's keyring a secret, or finds the one that it
	// has, where its person is here.
	SetKeyring(ctx context.Context, account string, a client.Attempt) (client.Keyring, error)
	ForgetKeyring(ctx context.Context, account string) (client.Login, error)
	// Login decides whether whose account it is, is here. Once it looks it calls
	// tell with an empty hint, then for what the person can do; never after it
	// has returned. The keyring's secret is there where a was asked for it, and
	// is the caller's to wipe.
	Login(ctx context.Context, a client.LoginAttempt, tell func(hint string)) (d client.Decision, keyring []byte, err error)
	PhoneBackend
	// Events are delivered until the context ends; then the channel is closed.
	Events(context.Context) <-chan client.Event
}

// Backup is one that is made and waits to be read.
type Backup interface {
	io.ReadCloser
	Size() (int64, error)
}

// Options of a server.
type Options struct {
	Version string       // of the program
	Groups  Groups       // who may do what
	Log     *slog.Logger // nil = slog.Default
}

// Server answers callers on unix sockets.
type Server struct {
	back    Backend
	log     *slog.Logger
	groups  Groups
	handler http.Handler
	api     huma.API
	metrics *metrics
	stall   time.Duration // stallTime
}

// New makes a server of the backend.
func New(back Backend, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Server{back: back, log: o.Log, groups: o.Groups, stall: stallTime}
	s.metrics = newMetrics(back)
	config := huma.DefaultConfig("faceprint", o.Version)
	config.Info.Description = "A device that knows its people by face and finger. Biometrics never leave it."
	config.DocsPath = ""     // its pages load scripts from elsewhere
	config.CreateHooks = nil // no $schema in answers
	config.SchemasPath = ""
	mux := http.NewServeMux()
	s.api = humago.New(mux, config)
	s.api.UseMiddleware(s.checkRole)
	s.routes()
	mux.Handle("GET /metrics", s.only(RoleAdmin, s.metrics.handler()))
	s.handler = mux
	return s
}

// OpenAPI is the description of the API, as JSON.
func (s *Server) OpenAPI() ([]byte, error) { return s.api.OpenAPI().MarshalJSON() }

// Serve answers on the listener until the context ends, then lets the answers
// under way finish. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Requests end when the server is told to stop, so that nobody who waits
	// for events or for a finger keeps it from stopping.
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ConnContext:       s.connRole,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("api: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("api: stopping: %w", err)
	}
	return nil
}

// checkRole refuses callers whose role is below the operation's.
func (s *Server) checkRole(ctx huma.Context, next func(huma.Context)) {
	need, ok := ctx.Operation().Metadata["role"].(Role)
	if !ok {
		need = RoleAdmin
	}
	if have := roleOf(ctx.Context()); have < need {
		p := forbidden(have, need)
		ctx.SetHeader("Content-Type", "application/problem+json")
		ctx.SetStatus(p.Status)
		if err := s.api.Marshal(ctx.BodyWriter(), "application/json", p); err != nil {
			s.log.Debug("a refusal could not be written", "err", err)
		}
		return
	}
	next(ctx)
}

func forbidden(have, need Role) *Problem {
	advice := fmt.Sprintf("run it as root, or be put into the %s group and log in again", need)
	if need == RoleRoot {
		advice = "run it as root"
	}
	return NewProblem(http.StatusForbidden, client.ProblemForbidden, fmt.Sprintf("this needs the role %s, the caller's is %s", need, have), advice)
}

// only guards a handler that is not huma's.
func (s *Server) only(need Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if have := roleOf(r.Context()); have < need {
			p := forbidden(have, need)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.Status)
			if err := s.api.Marshal(w, "application/json", p); err != nil {
				s.log.Debug("a refusal could not be written", "err", err)
			}
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Inputs and outputs of the operations. Huma reads their tags.
type (
	none            struct{}
	answer[T any]   struct{ Body T }
	question[T any] struct{ Body T }
	ofUser          struct {
		User string `path:"user" maxLength:"64" doc:"A person's id."`
	}
	ofNewPIN struct {
		User string `path:"user" maxLength:"64" doc:"A person's id."`
		Body client.NewPIN
	}
	ofAudit struct {
		After uint64 `query:"after" doc:"Only entries with a higher number."`
		Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"At most so many."`
	}
)

func (s *Server) routes() {
	post, get, del := http.MethodPost, http.MethodGet, http.MethodDelete
	route(s, RoleKiosk, "authenticate", post, "/v1/authenticate", "Is this person who they claim to be (1:1)", s.authenticate)
	route(s, RoleKiosk, "identify", post, "/v1/identify", "Who is this person (1:N)", s.identify)
	route(s, RoleKiosk, "authenticate-pin", post, "/v1/pin", "Is this the person's PIN", func(ctx context.Context, in *question[client.PINAttempt]) (*answer[client.Decision], error) {
		return s.measured(s.back.AuthenticatePIN(ctx, in.Body))
	})
	route(s, RoleAdmin, "set-pin", http.MethodPut, "/v1/people/{user}/pin", "Give a person a PIN", func(ctx context.Context, in *ofNewPIN) (*answer[client.Person], error) {
		if err := s.back.SetPIN(ctx, in.User, in.Body); err != nil {
			return nil, err
		}
		return reply(s.back.Person(ctx, in.User))
	})
	route(s, RoleAdmin, "remove-pin", del, "/v1/people/{user}/pin", "Take a person's PIN away", func(ctx context.Context, in *ofUser) (*answer[client.Person], error) {
		if err := s.back.RemovePIN(ctx, in.User); err != nil {
			return nil, err
		}
		return reply(s.back.Person(ctx, in.User))
	})
	route(s, RoleAdmin, "restore-templates", del, "/v1/people/{user}/adapted", "Go back to the face templates that were enrolled", func(ctx context.Context, in *ofUser) (*answer[client.Person], error) {
		if err := s.back.RestoreTemplates(ctx, in.User); err != nil {
			return nil, err
		}
		return reply(s.back.Person(ctx, in.User))
	})
	route(s, RoleAdmin, "enroll", post, "/v1/people", "Enrol a person, or add a factor", func(ctx context.Context, in *question[client.Enrolment]) (*answer[client.Enrolled], error) {
		if !in.Body.Consent.Given {
			return nil, NewProblem(http.StatusUnprocessableEntity, client.ProblemConsent, "consent was not given, so nothing was captured", "show the text of /v1/consent and ask")
		}
		return reply(s.back.Enroll(ctx, in.Body))
	})
	route(s, RoleAdmin, "list-people", get, "/v1/people", "Who is enrolled", func(ctx context.Context, _ *none) (*answer[client.People], error) {
		return reply(s.back.People(ctx))
	})
	route(s, RoleAdmin, "person", get, "/v1/people/{user}", "One person", func(ctx context.Context, in *ofUser) (*answer[client.Person], error) {
		return reply(s.back.Person(ctx, in.User))
	})
	route(s, RoleAdmin, "forget", del, "/v1/people/{user}", "Forget a person: destroy key and templates", func(ctx context.Context, in *ofUser) (*answer[client.Receipt], error) {
		return reply(s.back.Forget(ctx, in.User))
	})
	route(s, RoleAdmin, "unlock", post, "/v1/people/{user}/unlock", "End a person's lock-out, and the device's own delay with it", func(ctx context.Context, in *ofUser) (*answer[client.Person], error) {
		return reply(s.back.Unlock(ctx, in.User))
	})
	route(s, RoleAdmin, "renew", post, "/v1/people/{user}/renew", "Revoke a person's face templates and keep new ones in their place; nobody is enrolled again", func(ctx context.Context, in *ofUser) (*answer[client.Renewed], error) {
		return reply(s.back.Renew(ctx, in.User))
	})
	route(s, RoleAdmin, "trust-module", post, "/v1/finger-module/trust", "Set up the fingerprint module that is there now: it is the right one", func(ctx context.Context, _ *none) (*answer[client.Status], error) {
		return reply(s.back.TrustModule(ctx))
	})
	route(s, RoleAdmin, "report", get, "/v1/people/{user}/report", "All that is held of a person, and what happened with it", func(ctx context.Context, in *ofUser) (*answer[client.Report], error) {
		return reply(s.back.Report(ctx, in.User))
	})
	route(s, RoleKiosk, "own-report", post, "/v1/own-report", "The same for a person who proves to be that person, here and now", func(ctx context.Context, in *question[client.Attempt]) (*answer[client.OwnReport], error) {
		r, err := s.back.OwnReport(ctx, in.Body)
		s.metrics.attempt(r.Decision, err)
		return reply(r, err)
	})
	route(s, RoleAdmin, "checkpoint", post, "/v1/audit/checkpoint", "Sign what the audit chain is now", func(ctx context.Context, _ *none) (*answer[client.Checkpoint], error) {
		return reply(s.back.Checkpoint(ctx))
	})
	route(s, RoleAdmin, "backup", post, "/v1/backup", "A backup of the vault, encrypted to the keys given", func(ctx context.Context, in *question[client.BackupKeys]) (*huma.StreamResponse, error) {
		b, err := s.back.Backup(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			if err := s.sendBackup(ctx, b); err != nil {
				s.log.Error("fault", "operation", "backup", "err", err)
				panic(http.ErrAbortHandler) // the caller sees a cut end, not a whole backup
			}
		}}, nil
	})
	route(s, RoleAdmin, "audit", get, "/v1/audit", "The audit chain", func(ctx context.Context, in *ofAudit) (*answer[client.AuditPage], error) {
		return reply(s.back.Audit(ctx, in.After, in.Limit))
	})
	route(s, RoleLocal, "status", get, "/v1/status", "How the device and its parts are", func(ctx context.Context, _ *none) (*answer[client.Status], error) {
		return reply(s.back.Status(ctx))
	})
	route(s, RoleAdmin, "diagnose", get, "/v1/doctor", "Examine the device's parts", func(ctx context.Context, _ *none) (*answer[client.Diagnosis], error) {
		return reply(s.back.Diagnose(ctx))
	})
	route(s, RoleLocal, "camera-chart", get, "/v1/camera/chart", "The chart by which the camera is measured, to print", func(context.Context, *none) (*answer[client.CameraChart], error) {
		return reply(s.back.CameraChart(), nil)
	})
	route(s, RoleAdmin, "measure-camera", post, "/v1/camera/measure", "Measure focus and exposure by the chart that is held before the camera", func(ctx context.Context, _ *none) (*answer[client.CameraMeasure], error) {
		return reply(s.back.MeasureCamera(ctx))
	})
	route(s, RoleAdmin, "kiosk-code", post, "/v1/kiosk/code", "Make a code that lets one page of the kiosk enrol people", func(ctx context.Context, _ *none) (*answer[client.KioskCode], error) {
		return reply(s.back.KioskCode(ctx))
	})
	route(s, RoleAdmin, "config", get, "/v1/config", "The effective configuration", func(ctx context.Context, _ *none) (*answer[client.Config], error) {
		return reply(s.back.Config(ctx))
	})
	route(s, RoleLocal, "keys", get, "/v1/keys", "Public keys with which grants are checked (JWKS)", func(ctx context.Context, _ *none) (*answer[client.Keys], error) {
		return reply(s.back.Keys(ctx))
	})
	route(s, RoleLocal, "consent-text", get, "/v1/consent", "The text that a person must agree to before an enrolment", func(context.Context, *none) (*answer[client.ConsentText], error) {
		return reply(client.ConsentText(device.ConsentTexts()[0]), nil)
	})
	s.loginRoutes()
	s.phoneRoutes()
	sse.Register(s.api, operation(RoleKiosk, "events", get, "/v1/events", "What happens, as it happens (server-sent events)"), map[string]any{
		"hello": Hello{}, "event": client.Event{},
	}, s.events)
}

func operation(need Role, id, method, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID:  id,
		Method:       method,
		Path:         path,
		Summary:      summary,
		MaxBodyBytes: maxBody,
		// huma gives the body 5 s. net/http takes that deadline back once the body
		// was read, so it ends no attempt that waits for somebody.

		Metadata:   map[string]any{"role": need},
		Extensions: map[string]any{"x-role": need.String()},
		Errors:     []int{http.StatusForbidden, http.StatusConflict, http.StatusServiceUnavailable},
	}
}

func route[I, O any](s *Server, need Role, id, method, path, summary string, h func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, operation(need, id, method, path, summary), func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err == nil {
			return out, nil
		}
		var p *Problem
		if !errors.As(err, &p) {
			s.log.Error("fault", "operation", id, "err", err)
			p = NewProblem(http.StatusServiceUnavailable, client.ProblemFault, err.Error(), "")
		}
		return nil, p
	})
}

func reply[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{v}, nil
}

func (s *Server) authenticate(ctx context.Context, in *question[client.Attempt]) (*answer[client.Decision], error) {
	if in.Body.User == "" {
		return nil, NewProblem(http.StatusUnprocessableEntity, client.ProblemInvalid, "no person was named", "name one in user, or use /v1/identify")
	}
	return s.measured(s.back.Authenticate(ctx, in.Body))
}

func (s *Server) identify(ctx context.Context, in *question[client.Attempt]) (*answer[client.Decision], error) {
	if in.Body.User != "" {
		return nil, NewProblem(http.StatusUnprocessableEntity, client.ProblemInvalid, "identification takes no person", "use /v1/authenticate")
	}
	return s.measured(s.back.Identify(ctx, in.Body))
}

func (s *Server) measured(d client.Decision, err error) (*answer[client.Decision], error) {
	s.metrics.attempt(d, err)
	return reply(d, err)
}

// sendBackup gives a backup out and closes it. A caller who takes none of it
// for stallTime is left, so that the room that it takes on the disk is free.
func (s *Server) sendBackup(ctx huma.Context, b Backup) (err error) {
	defer func() { err = errors.Join(err, b.Close()) }()
	size, err := b.Size()
	if err != nil {
		return err
	}
	ctx.SetHeader("Content-Type", "application/octet-stream")
	ctx.SetHeader("Content-Length", strconv.FormatInt(size, 10))
	_, w := humago.Unwrap(ctx)
	control := http.NewResponseController(w)
	buffer := make([]byte, 256<<10)
	for {
		n, err := b.Read(buffer)
		if n > 0 {
			if err := control.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
				return err
			}
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil // the server lifts the deadline for the next request
		}
		if err != nil {
			return err
		}
	}
}

// Hello is the first thing on an event stream: from now on nothing is missed.
type Hello struct {
	Now time.Time `json:"now"`
}

func (s *Server) events(ctx context.Context, _ *none, send sse.Sender) {
	events := s.back.Events(ctx)
	if send.Data(Hello{time.Now().UTC()}) != nil {
		return
	}
	admin := roleOf(ctx) >= RoleAdmin
	alive := time.NewTicker(eventKeepAlive)
	defer alive.Stop()
	for {
		var err error
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if !admin {
				e.User = ""
			}
			err = send.Data(e)
		case <-alive.C:
			err = send.Data(Hello{time.Now().UTC()})
		case <-ctx.Done():
			return
		}
		if err != nil {
			return // the caller left
		}
	}
}
