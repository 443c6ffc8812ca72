package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/faceprint/faceprint/device/api/client"
)

type (
	ofAccount struct {
		Account string `path:"account" maxLength:"255" doc:"Name of an account, as in passwd."`
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
	return &huma.StreamResponse{Body: func(out huma.Context) {
		out.SetHeader("Content-Type", "application/x-ndjson")
		out.SetHeader("Cache-Control", "no-store")
		lines := &lineWriter{out: out, line: client.LoginLine{Nonce: in.Body.Nonce, Account: in.Body.Account}}
		d, err := s.back.Login(out.Context(), in.Body, func(hint string) { lines.write(hint, "", "") })
		s.metrics.attempt(d, err)
		outcome, reason := loginOutcome(d, err)
		if outcome == "fault" && out.Context().Err() == nil {
			s.log.Warn("a login ended with a fault", "service", in.Body.Service, "err", err)
		}
		lines.write("", outcome, reason)
	}}, nil
}

func loginOutcome(d client.Decision, err error) (outcome, reason string) {
	var p *Problem
	switch {
	case errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemBusy:
		return "busy", ""
	case errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemNotFound:
		return string(client.Refused), "not-enrolled"
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
	mu   sync.Mutex
	out  huma.Context
	line client.LoginLine
}

func (w *lineWriter) write(hint, outcome, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.line
	l.Hint, l.Outcome, l.Reason = hint, outcome, reason
	var b bytes.Buffer
	if json.NewEncoder(&b).Encode(l) != nil {
		return
	}
	if _, err := w.out.BodyWriter().Write(b.Bytes()); err != nil {
		return
	}
	if f, ok := w.out.BodyWriter().(http.Flusher); ok {
		f.Flush()
	}
}
