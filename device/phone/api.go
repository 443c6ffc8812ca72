package phone

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// Roles of the API, in the description's x-role. What has none is refused.
const (
	roleAnyone = "anyone" // no signature, or one of a key that is not paired
	rolePaired = "paired" // a paired phone's signature
)

type (
	none            struct{}
	answer[T any]   struct{ Body T }
	question[T any] struct{ Body T }
	// lastAnswer is the last of its connection.
	lastAnswer[T any] struct {
		Connection string `header:"Connection"`
		Body       T
	}
	ofRequest struct {
		ID   string `path:"id" maxLength:"64"`
		Body client.Answer
	}
	ofHistory struct {
		Before uint64 `query:"before" doc:"Only entries with a lower number; 0 begins at the newest."`
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"At most so many."`
	}
)

func fault(detail string) *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, wire.ProblemFault, detail, "")
}

func (p *Phones) routes() error {
	config := huma.DefaultConfig("faceprint for phones", p.opts.Version)
	config.Info.Description = description
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.Components.SecuritySchemes = signatures
	mux := http.NewServeMux()
	h := humago.New(mux, config)
	h.UseMiddleware(p.checkCaller(h))
	const (
		post, get, del = http.MethodPost, http.MethodGet, http.MethodDelete

		noMedia, noSuch, conflict = http.StatusUnsupportedMediaType, http.StatusNotFound, http.StatusConflict
	)

	route(p, h, operation(roleAnyone, "", "pair", post, "/v1/pair", "Be paired, with the secret of a code that the device shows", noMedia, noSuch, conflict, http.StatusServiceUnavailable), func(ctx context.Context, in *question[client.PairRequest]) (*answer[client.PairReply], error) {
		c := callerOf(ctx)
		reply, no, err := p.pair(c.request, c.body, in.Body)
		if no != nil {
			c.answer.why = no.why
			return nil, no.Problem
		}
		return answered(reply, err)
	})
	route(p, h, operation(roleAnyone, "", "session", post, "/v1/session", "Begin a browser's session", http.StatusUnauthorized), func(context.Context, *none) (*answer[client.Session], error) {
		if !p.opts.Browsers {
			return nil, api.NewProblem(http.StatusForbidden, wire.ProblemForbidden, "this device takes no browsers", "use an app, or set browsers in [phone] of the configuration")
		}
		b := p.sessions.open(p.tick())
		return answered(client.Session{Binding: b.String(), Expires: p.wall().Add(sessionLife).UTC()}, nil)
	})
	route(p, h, unseenToo(operation(rolePaired, "", "me", get, "/v1/me", "Who the device takes this phone for", noSuch)), func(ctx context.Context, _ *none) (*answer[client.Me], error) {
		me := callerOf(ctx).phone.wire()
		name, err := p.vault.Name(me.User)
		return answered(client.Me{User: me.User, Name: name, Phone: me, Now: p.wall().UTC(), Device: p.opts.Version}, err)
	})
	route(p, h, unseenToo(operation(rolePaired, "", "revoke-me", del, "/v1/me", "End this phone's pairing")), func(ctx context.Context, _ *none) (*lastAnswer[wire.Phone], error) {
		c := callerOf(ctx)
		w, err := p.revoke(c.phone, "phone", c.request.Context().Value(boundKey{}).(*bound).link)
		if err != nil {
			return nil, err
		}
		return &lastAnswer[wire.Phone]{"close", w}, nil
	})
	route(p, h, operation(rolePaired, "", "phones", get, "/v1/phones", "The phones of this person"), func(ctx context.Context, _ *none) (*answer[client.Phones], error) {
		return answered(client.Phones{Phones: p.Of(callerOf(ctx).phone.record.User)}, nil)
	})
	route(p, h, operation(rolePaired, "", "keys", get, "/v1/keys", "Public keys with which grants are checked (JWKS)"), func(ctx context.Context, _ *none) (*answer[wire.Keys], error) {
		return answered(p.device.Keys(ctx))
	})
	route(p, h, operation(rolePaired, Unlock, "unlock", post, "/v1/unlock", "Ask to be let in; face or finger at the device complete it where the policy wants them", noMedia, noSuch, conflict), func(ctx context.Context, in *question[client.Unlock]) (*answer[wire.Decision], error) {
		return answered(p.attempt(ctx, Attempt{Nonce: in.Body.Nonce, Audience: in.Body.Audience, Timeout: ms(in.Body.TimeoutMs), Enter: true}))
	})
	route(p, h, operation(rolePaired, Unlock, "kiosk", post, "/v1/kiosk", "Begin a session at the kiosk's page, of the person who stands there; they are measured, whatever a phone counts for, and the grant stays there", noMedia, noSuch, conflict), func(ctx context.Context, _ *question[client.AtKiosk]) (*answer[wire.Decision], error) {
		return answered(p.attempt(ctx, Attempt{Kiosk: true}))
	})
	route(p, h, operation(rolePaired, Verify, "verify", post, "/v1/verify", "Have the device vouch for its person: a grant for the nonce; no door opens", noMedia, noSuch, conflict), func(ctx context.Context, in *question[client.VerifyMe]) (*answer[wire.Decision], error) {
		return answered(p.attempt(ctx, Attempt{Nonce: in.Body.Nonce, Audience: in.Body.Audience, Timeout: ms(in.Body.TimeoutMs)}))
	})
	route(p, h, operation(rolePaired, Approve, "requests", get, "/v1/requests", "What waits at the device for this person's answer"), func(ctx context.Context, _ *none) (*answer[client.PendingList], error) {
		return answered(p.pending.of(callerOf(ctx).phone.record.User), nil)
	})
	route(p, h, operation(rolePaired, Approve, "answer", post, "/v1/requests/{id}", "Approve or refuse what waits", noMedia, noSuch), func(ctx context.Context, in *ofRequest) (*answer[struct{}], error) {
		return answered(struct{}{}, p.reply(in.ID, callerOf(ctx).phone, in.Body.Approve))
	})
	route(p, h, operation(rolePaired, Past, "history", get, "/v1/history", "What happened to this person, newest first"), func(ctx context.Context, in *ofHistory) (*answer[client.History], error) {
		entries, before, err := p.vault.History(callerOf(ctx).phone.record.User, in.Before, min(in.Limit, historyMost))
		return answered(client.History{Entries: entries, Before: before}, err)
	})
	// The stream takes the connection away from the server, which huma cannot.
	// A phone that may do nothing yet may wait here: it is told nothing.
	events := unseenToo(operation(rolePaired, "", "events", get, "/v1/events", "What concerns this person, as it happens (server-sent events)"))
	event := h.OpenAPI().Components.Schemas.Schema(typeOf[client.Event](), true, "Event")
	greeting := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false}
	events.Responses = map[string]*huma.Response{"200": {
		Description: "A stream without an end. The data of each event is one object: first an empty one, after which nothing is missed, then events. Lines that begin with a colon are signs of life.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{OneOf: []*huma.Schema{event, greeting}}}},
	}}
	problem := h.OpenAPI().Components.Schemas.Schema(typeOf[api.Problem](), true, "Problem")
	for _, status := range events.Errors {
		events.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
	}
	h.OpenAPI().AddOperation(&events)
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r.Context()).phone == nil {
			p.deny(w, r.Context().Value(boundKey{}).(*bound), notSigned())
			return
		}
		if r.Method != get { // HEAD, which the mux takes for it
			w.Header().Set("Allow", get)
			p.deny(w, r.Context().Value(boundKey{}).(*bound), refuse(http.StatusMethodNotAllowed, wire.ProblemInvalid, badRequest, "only GET opens a stream", ""))
			return
		}
		p.events(w, r)
	})
	p.pages(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.deny(w, r.Context().Value(boundKey{}).(*bound), nothingHere())
	})
	p.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path { // which the mux would send elsewhere, without a signature
			p.deny(w, r.Context().Value(boundKey{}).(*bound), nothingHere())
			return
		}
		mux.ServeHTTP(w, r)
	})
	describe(h.OpenAPI())
	var err error
	p.spec, err = h.OpenAPI().MarshalJSON()
	p.marshal = func(w http.ResponseWriter, v any) error { return h.Marshal(w, "application/json", v) }
	return err
}

func nothingHere() *refusal {
	return refuse(http.StatusNotFound, wire.ProblemNotFound, nothingThere, "there is nothing here", "the description is at /openapi.json")
}

func notSigned() *refusal {
	return refuse(http.StatusUnauthorized, wire.ProblemUnsigned, unsigned, "this needs the signature of a paired phone", "pair the phone; see the description at /openapi.json")
}

// OpenAPI is the description of the API, as JSON.
func (p *Phones) OpenAPI() []byte { return bytes.Clone(p.spec) }

// operation describes one; errors are the statuses of its own refusals.
func operation(role, right, id, method, path, summary string, errors ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: maxBody,
		// The body was read whole before. huma would set a deadline on the
		// connection (5 s) that net/http, which took its own back where the body
		// ended and listens there for who leaves, would take for somebody's leaving.
		BodyReadTimeout: -1,

		Metadata:   map[string]any{"role": role, "right": right},
		Extensions: map[string]any{"x-role": role},
		Errors:     append(slices.Clone(ofAll), errors...),
	}
	if right != "" {
		op.Extensions["x-right"] = right
	}
	switch {
	case role == rolePaired:
		op.Security = []map[string][]string{{"signature": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusServiceUnavailable)
	case id == "pair":
		op.Security = []map[string][]string{{"newKey": {}}}
	}
	return op
}

// unseenToo is an operation for phones, too, whose person was not seen when they
// were paired.
func unseenToo(op huma.Operation) huma.Operation {
	op.Metadata["unseen"] = true
	op.Extensions["x-unseen"] = true
	return op
}

// route answers an operation. Refusals that its description does not list stay
// inside: they are a fault of the device's.
func route[I, O any](p *Phones, h huma.API, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err == nil {
			return out, nil
		}
		var problem *api.Problem
		if !errors.As(err, &problem) || !slices.Contains(op.Errors, problem.Status) {
			// What is wrong inside is for the log, not for the network.
			p.log.Error("fault", "operation", op.OperationID, "err", err)
			problem = fault("a part of the device failed")
		}
		return nil, problem
	})
}

// checkCaller refuses callers that the operation is not for.
func (p *Phones) checkCaller(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		role, _ := ctx.Operation().Metadata["role"].(string)
		right, _ := ctx.Operation().Metadata["right"].(string)
		c := callerOf(ctx.Context())
		r, w := humago.Unwrap(ctx)
		b := r.Context().Value(boundKey{}).(*bound)
		if role != roleAnyone {
			if c.phone == nil {
				p.deny(w, b, notSigned())
				return
			}
			// That it lives was found with its signature.
			if no := p.may(c.phone, right); no != nil && ctx.Operation().Metadata["unseen"] == nil {
				p.deny(w, b, no)
				return
			}
		}
		var no *refusal
		switch right {
		case Unlock, Verify:
			no = p.mayTry(c.phone)
		case Past:
			no = p.mayRead(c.phone)
		}
		if no != nil {
			p.deny(w, b, no)
			return
		}
		if right == Unlock || right == Verify {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longTimeout))
		}
		next(ctx)
	}
}

func answered[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{v}, nil
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// attempt asks the device in the name of the phone's person; the phone has
// proved its key with the request itself.
func (p *Phones) attempt(ctx context.Context, a Attempt) (wire.Decision, error) {
	if !client.Printable(a.Audience, maxBody) || !client.Printable(a.Nonce, maxBody) {
		return wire.Decision{}, api.NewProblem(http.StatusUnprocessableEntity, wire.ProblemInvalid, "an audience and a nonce are printable text", "leave control characters out")
	}
	// Whoever checks grants may be less exact about case and spaces.
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Audience)), wire.OwnAudience) {
		return wire.Decision{}, api.NewProblem(http.StatusForbidden, wire.ProblemForbidden,
			"grants for the audience "+wire.OwnAudience+"... are the device's own, for people who stand before it", "name the program that will check the grant")
	}
	x := callerOf(ctx).phone
	a.User, a.Phone = x.record.User, x.id
	a.Notify = func(e wire.Event) {
		e.User = "" // it is the phone's own, and no other's of its person
		b := frame(client.Event{Event: e})
		for _, s := range p.streams.some(func(o *paired) bool { return o == x && p.may(o, "") == nil }) {
			s.send(&p.streams, b)
		}
	}
	right := Verify
	if a.Enter || a.Kiosk {
		right = Unlock
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	stop := p.endAttempt(x, end)
	defer stop()
	d, err := p.device.Attempt(ctx, a)
	if no := p.may(x, right); err != nil && no != nil {
		return wire.Decision{}, no.Problem // that is why
	}
	if problem := (*api.Problem)(nil); a.Kiosk && errors.As(err, &problem) && problem.Status == http.StatusConflict {
		callerOf(ctx).answer.why = notAtKiosk
	}
	return d, err
}

// endAttempt ends what a phone waits for when its pairing or its time is over.
func (p *Phones) endAttempt(x *paired, end func()) (stop func() bool) {
	now, _ := p.clock()
	x.mu.Lock()
	until, window := x.record.Expires, x.schedule.Until(now.Local())
	x.mu.Unlock()
	if until.IsZero() || !window.IsZero() && window.Before(until) {
		until = window
	}
	if until.IsZero() {
		return func() bool { return true }
	}
	return p.after(until.Sub(now), end)
}

func (p *Phones) problem(w http.ResponseWriter, problem *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(problem.Status)
	if err := p.marshal(w, problem); err != nil {
		p.log.Debug("a refusal could not be written", "err", err)
	}
}

//go:embed page.html page.js page.css messages
var page embed.FS

// languages of the page, which has a file of messages for each.
var languages = []string{"en", "de", "ar"}

// policy of the page: nothing from elsewhere, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (p *Phones) pages(mux *http.ServeMux) {
	if !p.opts.Browsers {
		return
	}
	files := map[string]struct{ name, kind string }{
		"GET /{$}":      {"page.html", "text/html; charset=utf-8"},
		"GET /page.js":  {"page.js", "text/javascript; charset=utf-8"},
		"GET /page.css": {"page.css", "text/css; charset=utf-8"},
	}
	for _, language := range languages {
		name := "messages/" + language + ".json"
		files["GET /"+name] = struct{ name, kind string }{name, "application/json"}
	}
	for path, file := range files {
		b, err := page.ReadFile(file.name)
		if err != nil { // it is embedded
			panic(err)
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", file.kind)
			h.Set("Content-Security-Policy", policy)
			h.Set("Referrer-Policy", "no-referrer")
			_, _ = w.Write(b)
		})
	}
}
