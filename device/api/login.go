package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

type (
	ofAccount struct {
		Account string `path:"account" maxLength:"255" doc:"Name of an account, as in passwd."`
	}
	putKeyring struct {
		Account string `path:"account" maxLength:"255" doc:"Name of an account, as in passwd."`
		Body    client.Attempt
	}
	putAccount struct {
		Account string `path:"account" maxLength:"255" doc:"Name of an account, as in passwd."`
		Body    client.LoginOf
	}
)

func (s *Server) loginRoutes() {
	route(s, RoleAdmin, "list-logins", http.MethodGet, "/v1/logins", "Who may log in to which account", func(ctx context.Context, _ *none) (*answer[client.Logins], error) {
		return reply(s.back.Logins(ctx))
	})
	route(s, RoleAdmin, "allow-login", http.MethodPut, "/v1/logins/{account}", "Let a person log in to an account", func(ctx context.Context, in *putAccount) (*answer[client.Login], error) {
		return reply(s.back.AllowLogin(ctx, in.Account, in.Body.User))
	})
	route(s, RoleAdmin, "revoke-login", http.MethodDelete, "/v1/logins/{account}", "Let nobody log in to an account", func(ctx context.Context, in *ofAccount) (*answer[client.Login], error) {
		return reply(s.back.RevokeLogin(ctx, in.Account))
	})
	route(s, RoleRoot, "set-keyring", http.MethodPut, "/v1/logins/{account}/keyring", "Let face and finger open the account's keyring, and tell its password", func(ctx context.Context, in *putKeyring) (*answer[client.Keyring], error) {
		return reply(s.back.SetKeyring(ctx, in.Account, in.Body))
	})
	route(s, RoleAdmin, "forget-keyring", http.MethodDelete, "/v1/logins/{account}/keyring", "Destroy the device's password for the account's keyring", func(ctx context.Context, in *ofAccount) (*answer[client.Login], error) {
		return reply(s.back.ForgetKeyring(ctx, in.Account))
	})
	op := operation(RoleLocal, "login", http.MethodPost, "/v1/login", "Is the person here whose account it is (lines of JSON; for pam_faceprint)")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Hints while it goes on, then the outcome: one LoginLine a line.",
		Content: map[string]*huma.MediaType{"application/x-ndjson": {
			Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.LoginLine](), true, "LoginLine"),
		}},
	}}
	huma.Register(s.api, op, s.login)
}

// login answers in lines, so that a login screen can tell the person what to
// do. It needs no other role than being the account, or an administrator.
func (s *Server) login(ctx context.Context, in *question[client.LoginAttempt]) (*huma.StreamResponse, error) {
	if !mayLogIn(ctx, in.Body.Account) {
		return nil, NewProblem(http.StatusForbidden, client.ProblemForbidden, "this account is not the caller's", "ask as root, or for your own account")
	}
	if in.Body.Keyring && roleOf(ctx) < RoleRoot {
		return nil, forbidden(roleOf(ctx), RoleRoot)
	}
	return &huma.StreamResponse{Body: func(out huma.Context) {
		out.SetHeader("Content-Type", "application/x-ndjson")
		out.SetHeader("Cache-Control", "no-store")
		lines := &lineWriter{out: out.BodyWriter(), nonce: in.Body.Nonce, account: in.Body.Account}
		d, keyring, err := s.back.Login(out.Context(), in.Body, func(hint string) { lines.write(client.LoginLine{Hint: hint}, nil) })
		defer clear(keyring)
		s.metrics.attempt(d, err)
		outcome, reason := loginOutcome(d, err)
		if outcome == "fault" && out.Context().Err() == nil {
			s.log.Warn("a login ended with a fault", "service", in.Body.Service, "err", err)
		}
		lines.write(client.LoginLine{Outcome: outcome, Reason: reason}, keyring)
	}}, nil
}

func loginOutcome(d client.Decision, err error) (outcome, reason string) {
	var p *Problem
	switch {
	case errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemBusy:
		return "busy", ""
	case errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemNotFound:
		return string(client.Refused), "not-enrolled"
	case errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemPIN && p.Status == http.StatusForbidden:
		return string(client.Refused), string(device.PINForbidden)
	case err != nil:
		return "fault", ""
	case d.Outcome == client.Granted:
		return string(client.Granted), ""
	case d.Outcome == client.Retry && len(d.Hints) > 0:
		return string(client.Retry), d.Hints[0]
	}
	for _, r := range d.Reasons {
		reason = r
		break
	}
	return string(client.Refused), reason
}

// lineWriter writes lines as they come; the asker may have left.
type lineWriter struct {
	mu             sync.Mutex
	out            io.Writer
	nonce, account string
}

// write writes a line; what the keyring's secret passed through is wiped.
func (w *lineWriter) write(l client.LoginLine, keyring []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.Nonce, l.Account = w.nonce, w.account
	b, err := json.Marshal(l)
	if err != nil {
		return
	}
	line := make([]byte, 0, len(b)+len(keyring)+len(`,"keyring":""`)+1) // it is not copied while it grows
	defer func() { clear(line[:cap(line)]) }()
	line = append(line, b[:len(b)-1]...)
	if len(keyring) > 0 { // letters and digits
		line = append(append(append(line, `,"keyring":"`...), keyring...), '"')
	}
	if _, err := w.out.Write(append(line, "}\n"...)); err != nil {
		return
	}
	if f, ok := w.out.(http.Flusher); ok {
		f.Flush()
	}
}
