package phone

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// What follows is a phone that somebody wrote who has the OpenAPI document and
// nothing else: it takes nothing of the protocol from the client package. Every answer that it
// gets is compared with the document.

type parameter struct {
	Name, In string
	Required bool
}

// described is an operation as the document has it.
type described struct {
	id, method, path string

	OperationID string
	Parameters  []parameter
	RequestBody *struct {
		Content map[string]json.RawMessage
	}
	Responses map[string]struct {
		Headers map[string]struct{ Required bool }
		Content map[string]json.RawMessage
	}
	Security []map[string][]string
}

type document struct {
	ops     map[string]described // by operationId
	schemes map[string]struct{ Type, Scheme string }
	schemas *jsonschema.Compiler
	seen    map[string]map[string]bool // operationId -> statuses
	refused int                        // answers that were refusals
}

func readDocument(t *testing.T, text []byte) *document {
	t.Helper()
	var d struct {
		OpenAPI    string
		Paths      map[string]map[string]described
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme string }
		}
	}
	must(t, json.Unmarshal(text, &d))
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Fatalf("OpenAPI %s", d.OpenAPI)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	doc := &document{ops: map[string]described{}, schemes: d.Components.SecuritySchemes, schemas: jsonschema.NewCompiler(), seen: map[string]map[string]bool{}}
	doc.schemas.AssertFormat()
	must(t, doc.schemas.AddResource("document.json", whole))
	for path, methods := range d.Paths {
		for method, op := range methods {
			op.id, op.method, op.path = op.OperationID, strings.ToUpper(method), path
			doc.ops[op.id] = op
			doc.seen[op.id] = map[string]bool{}
		}
	}
	return doc
}

// fits checks a value against the schema at a place in the document.
func (d *document) fits(value []byte, place ...string) error {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	at := "document.json#"
	for _, p := range place {
		at += "/" + url.PathEscape(escape.Replace(p))
	}
	schema, err := d.schemas.Compile(at)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fmt.Errorf("%w: %.200q", err, value)
	}
	return schema.Validate(v)
}

// check compares an answer with the document.
func (d *document) check(op described, resp *http.Response, body []byte) error {
	status := strconv.Itoa(resp.StatusCode)
	listed, ok := op.Responses[status]
	if !ok {
		return fmt.Errorf("%s answered %s, which is not listed: %.300s", op.id, status, body)
	}
	d.seen[op.id][status] = true
	var errs []error
	for name, h := range listed.Headers {
		if h.Required && resp.Header.Get(name) == "" {
			errs = append(errs, fmt.Errorf("%s %s: no %s", op.id, status, name))
		}
	}
	for name := range resp.Header {
		told := strings.HasPrefix(name, "Faceprint-") || slices.Contains([]string{"Retry-After", "Www-Authenticate", "Allow", "Location"}, name)
		if told && !slices.ContainsFunc(slices.Collect(maps.Keys(listed.Headers)), func(n string) bool { return http.CanonicalHeaderKey(n) == name }) {
			errs = append(errs, fmt.Errorf("%s %s: %s is not listed", op.id, status, name))
		}
	}
	media := resp.Header.Get("Content-Type")
	if _, ok := listed.Content[media]; !ok {
		return errors.Join(append(errs, fmt.Errorf("%s %s: %q is not listed", op.id, status, media))...)
	}
	if err := d.fits(body, "paths", op.path, strings.ToLower(op.method), "responses", status, "content", media, "schema"); err != nil {
		errs = append(errs, fmt.Errorf("%s %s: %w: %.300s", op.id, status, err, body))
	}
	return errors.Join(errs...)
}

// stranger is that phone.
type stranger struct {
	t       *testing.T
	doc     *document
	addr    string
	pin     string
	key     *ecdsa.PrivateKey
	point   []byte
	counter uint64

	conn    *tls.Conn
	r       *bufio.Reader
	binding []byte
	session string // of a browser
}

var url64 = base64.RawURLEncoding

func newStranger(t *testing.T, doc *document) *stranger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	point, err := key.PublicKey.Bytes()
	must(t, err)
	return &stranger{t: t, doc: doc, key: key, point: point}
}

func hash(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func (s *stranger) id() string { return url64.EncodeToString(hash(s.point)[:12]) }

// dial opens a connection of its own.
func (s *stranger) dial() {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	must(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	state := conn.ConnectionState()
	if got := url64.EncodeToString(hash(state.PeerCertificates[0].RawSubjectPublicKeyInfo)); got != s.pin {
		s.t.Fatalf("the key is %s, the code says %s", got, s.pin)
	}
	s.binding, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	must(s.t, err)
	s.conn, s.r = conn, bufio.NewReader(conn)
}

// asking is one request; what is left out is done as the document says.
type asking struct {
	id, body     string            // of the operation
	path, query  map[string]string // parameters
	unsigned     bool
	spoil        func(*http.Request)
	counter      uint64 // 0: the next
	chunked      string // a body as it goes over the wire
	contentTypes string
}

// send asks and returns the answer, whose body is still to be read.
func (s *stranger) send(a asking) (described, *http.Response) {
	s.t.Helper()
	op, ok := s.doc.ops[a.id]
	if !ok {
		s.t.Fatalf("there is no operation %q", a.id)
	}
	if s.conn == nil {
		s.dial()
	}
	target := op.path
	query := url.Values{}
	for _, p := range op.Parameters {
		switch value := a.path[p.Name]; p.In {
		case "path":
			target = strings.ReplaceAll(target, "{"+p.Name+"}", url.PathEscape(value))
		case "query":
			if v, ok := a.query[p.Name]; ok {
				query.Set(p.Name, v)
			}
		}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequest(op.method, "https://"+s.addr+target, strings.NewReader(a.body))
	must(s.t, err)
	if a.body != "" {
		r.Header.Set("Content-Type", "application/json")
		if op.RequestBody != nil {
			for media := range op.RequestBody.Content {
				r.Header.Set("Content-Type", media)
			}
		}
	}
	if a.contentTypes != "" {
		r.Header.Set("Content-Type", a.contentTypes)
	}
	binding := url64.EncodeToString(s.binding)
	if s.session != "" && slices.ContainsFunc(op.Parameters, func(p parameter) bool { return p.In == "header" && p.Name == "Faceprint-Session" }) {
		r.Header.Set("Faceprint-Session", s.session)
		binding = s.session
	}
	if len(op.Security) > 0 && !a.unsigned {
		for name := range op.Security[0] {
			if sc := s.doc.schemes[name]; sc.Type != "http" || sc.Scheme != "Faceprint1" {
				s.t.Fatalf("%s is secured by %+v", a.id, sc)
			}
		}
		if a.counter == 0 {
			s.counter++
			a.counter = s.counter
		}
		s.counter = max(s.counter, a.counter)
		lines := []string{"faceprint-request-1", op.method, target, strconv.FormatUint(a.counter, 10), binding, url64.EncodeToString(hash([]byte(a.body)))}
		x, y, err := ecdsa.Sign(rand.Reader, s.key, hash([]byte(strings.Join(lines, "\n"))))
		must(s.t, err)
		sig := make([]byte, 64)
		x.FillBytes(sig[:32])
		y.FillBytes(sig[32:])
		r.Header.Set("Authorization", fmt.Sprintf("Faceprint1 %s.%d.%s", s.id(), a.counter, url64.EncodeToString(sig)))
	}
	if a.spoil != nil {
		a.spoil(r)
	}
	if a.chunked != "" {
		_, err = fmt.Fprintf(s.conn, "%s %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s", op.method, target, a.chunked)
	} else {
		err = r.Write(s.conn)
	}
	if err != nil && a.spoil == nil { // one that is refused early is not read to its end
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(s.r, r)
	must(s.t, err)
	if resp.StatusCode >= 400 {
		s.doc.refused++
	}
	return op, resp
}

// ask asks, compares the answer with the document and with the status that is
// expected, and returns the body.
func (s *stranger) ask(status int, a asking) []byte {
	s.t.Helper()
	op, resp := s.send(a)
	body, err := io.ReadAll(resp.Body)
	must(s.t, err)
	if resp.Close {
		s.conn.Close()
		s.conn = nil
	}
	if err := s.doc.check(op, resp, body); err != nil {
		s.t.Error(err)
	}
	if resp.StatusCode != status {
		s.t.Errorf("%s answered %d, want %d: %.300s", a.id, resp.StatusCode, status, body)
	}
	return body
}

// application is the body of /v1/pair for a code.
func (s *stranger) application(code, kind string) string {
	s.t.Helper()
	u, err := url.Parse(code)
	must(s.t, err)
	parts := strings.Split(u.Fragment, ".")
	if len(parts) != 3 || parts[0] != "1" {
		s.t.Fatalf("the code says %q", u.Fragment)
	}
	s.addr, s.pin = u.Host, parts[1]
	secret, err := url64.DecodeString(parts[2])
	must(s.t, err)
	if s.conn == nil {
		s.dial()
	}
	binding := url64.EncodeToString(s.binding)
	if s.session != "" {
		binding = s.session
	}
	key := url64.EncodeToString(s.point)
	proof := hmac.New(sha256.New, secret)
	proof.Write([]byte(strings.Join([]string{"faceprint-pair-1 phone", s.pin, binding, key, kind, "document", "of paper"}, "\n")))
	body, err := json.Marshal(map[string]any{
		"invite": url64.EncodeToString(hash(append([]byte("faceprint-pair-1 name\n"), secret...))[:9]),
		"key":    key, "kind": kind, "name": "of paper", "platform": "document", "proof": url64.EncodeToString(proof.Sum(nil)),
	})
	must(s.t, err)
	return string(body)
}

// counted is how many refusals the device has counted.
func (b *bench) counted() (n int) {
	b.refusals.mu.Lock()
	for _, times := range b.refusals.counts {
		n += times
	}
	b.refusals.mu.Unlock()
	b.vault.mu.Lock()
	defer b.vault.mu.Unlock()
	for _, counts := range b.vault.refused {
		for _, times := range counts {
			n += int(times)
		}
	}
	return n
}

// TestDocument asks every operation for everything that it can answer: each
// answer is as the document has it, and the document lists nothing that is
// never answered. Every refusal is counted for the audit, once.
func TestDocument(t *testing.T) {
	p, err := Open(newMemory(), &authenticator{}, Options{Browsers: true})
	must(t, err)
	doc := readDocument(t, p.OpenAPI())
	var people []string
	for id := range doc.ops {
		people = append(people, id)
	}
	slices.Sort(people)
	now := noon().UTC()
	some := 0.5
	decision := wire.Decision{
		Outcome: wire.Granted, User: "x", Reasons: []string{}, Hints: []string{}, FMR: 1, Grant: "g", Audit: 7, TookMs: 3, LockedUntil: &now,
		Factors: []wire.Factor{{Kind: "face", Passed: true, FMR: 1, Live: &some, Model: "m", TookMs: 2}},
	}
	// good is how each operation is asked well.
	good := map[string]asking{
		"session": {}, "me": {}, "revoke-me": {}, "phones": {}, "keys": {}, "requests": {}, "events": {},
		"unlock":  {body: `{"audience":"a","nonce":"n","timeout_ms":5}`},
		"verify":  {body: `{"audience":"a","nonce":"n"}`},
		"kiosk":   {body: `{}`},
		"answer":  {body: `{"approve":true}`, path: map[string]string{"id": "waits"}},
		"history": {query: map[string]string{"limit": "3", "before": "9"}},
		"pair":    {},
	}
	for _, id := range people {
		if _, ok := good[id]; !ok {
			t.Errorf("nobody says here how %s is asked", id)
		}
	}
	open := func(limits Limits) *bench {
		b := serve(t, newMemory(people...), Options{Limits: limits, Browsers: true})
		b.device.decision = decision
		return b
	}
	code := func(b *bench, user string) string {
		t.Helper()
		in, err := b.Invite(t.Context(), wire.Invite{User: user}, "admin", "")
		must(t, err)
		return in.Text
	}
	paired := func(b *bench, user string) *stranger {
		t.Helper()
		s := newStranger(t, doc)
		s.ask(200, asking{id: "pair", body: s.application(code(b, user), "app")})
		return s
	}
	b, slow := open(many), open(Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e-3, len(people)}, Signed: Rate{1e-3, 1}})
	hasty := open(Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1e6, 1e6}, Request: 50 * time.Millisecond})
	benches := []*bench{b, slow, hasty}
	phones := map[string]*stranger{} // of slow
	for _, id := range people {
		phones[id] = paired(slow, id)
	}
	for _, id := range people {
		op := doc.ops[id]
		a := good[id]
		a.id = id
		with := func(f func(*asking)) asking { c := a; f(&c); return c }
		t.Run(id, func(t *testing.T) {
			isPaired := len(op.Security) > 0 && op.Security[0]["signature"] != nil
			fresh := func() *stranger {
				if isPaired {
					return paired(b, id)
				}
				s := newStranger(t, doc)
				s.application(code(b, id), "app") // where it is
				return s
			}
			// What the listener refuses.
			fresh().ask(400, with(func(a *asking) { a.chunked = "z\r\n" }))
			fresh().ask(413, with(func(a *asking) {
				a.body, a.spoil = strings.Repeat(" ", maxBody+1), func(*http.Request) {}
			}))
			fresh().ask(431, with(func(a *asking) {
				a.spoil = func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", 2*maxHeader)) }
			}))
			fresh().ask(422, with(func(a *asking) { a.body = `{"a":1,"a":2}` }))
			late := newStranger(t, doc)
			late.application(code(hasty, id), "app")
			late.ask(408, with(func(a *asking) { a.chunked = "1\r\n" }))
			sl := phones[id]
			if !isPaired {
				sl = newStranger(t, doc)
				sl.application(code(slow, id), "app")
			} else {
				sl.send(with(func(a *asking) { a.body = `{"a":1,"a":2}` })) // uses up what it may ask
				sl.dial()
			}
			sl.ask(429, a)

			if isPaired {
				s := fresh()
				s.ask(401, with(func(a *asking) { a.unsigned = true }))
				s = fresh()
				s.ask(401, with(func(a *asking) { a.spoil = func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") } }))
				s = fresh()
				s.ask(422, with(func(a *asking) { a.body, a.counter = `{"A":1}`, 100 }))
				s.ask(401, with(func(a *asking) { a.counter = 99 }))
				others := paired(b, id)
				must(t, func() error { _, err := b.Revoke(others.id(), "admin"); return err }())
				others.conn = nil
				others.ask(401, a)
				x := fresh()
				x.conn, x.r, x.binding = s.conn, s.r, s.binding
				x.ask(403, a)
				b.vault.mu.Lock()
				b.vault.fails = errors.New("the card is full")
				b.vault.mu.Unlock()
				s.ask(503, with(func(a *asking) { a.counter = 1 << 20 }))
				b.vault.mu.Lock()
				b.vault.fails = nil
				b.vault.mu.Unlock()
			}
			if op.RequestBody != nil && id != "pair" {
				s := fresh()
				s.ask(400, with(func(a *asking) { a.body = "{}{" }))
				s.ask(422, with(func(a *asking) { a.body = `{"nonsense":true}` }))
				s.ask(415, with(func(a *asking) { a.contentTypes = "text/plain" }))
			}
			fails := func(status int) {
				t.Helper()
				problem := api.NewProblem(status, wire.ProblemNotFound, "as the device says", "")
				b.device.mu.Lock()
				b.device.err = problem
				b.device.mu.Unlock()
				fresh().ask(status, a)
				b.device.mu.Lock()
				b.device.err = nil
				b.device.mu.Unlock()
			}
			switch id {
			case "unlock", "verify", "kiosk":
				fails(404)
				fails(409)
				b.device.mu.Lock()
				b.device.err = api.NewProblem(507, wire.ProblemFault, "what nobody listed", "")
				b.device.mu.Unlock()
				fresh().ask(503, a)
				b.device.mu.Lock()
				b.device.err = nil
				b.device.mu.Unlock()
			case "me":
				s := fresh()
				b.vault.mu.Lock()
				delete(b.vault.people, id)
				b.vault.mu.Unlock()
				s.ask(404, a)
				b.vault.mu.Lock()
				b.vault.people[id] = "back"
				b.vault.mu.Unlock()
			case "answer":
				fresh().ask(404, a)
				b.pending.add(&waiting{user: id, answer: make(chan verdict, 1), Pending: client.Pending{ID: "waits", Audience: "kiosk", Since: now, Expires: now}})
			case "requests":
				b.pending.add(&waiting{user: id, answer: make(chan verdict, 1), Pending: client.Pending{ID: "waits-long", Since: now, Expires: now}})
			case "session":
				off := serve(t, newMemory(id), Options{Limits: many})
				benches = append(benches, off)
				s := newStranger(t, doc)
				s.application(code(off, id), "app")
				s.ask(403, a)
				s.ask(401, with(func(a *asking) { a.spoil = func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") } }))
			case "pair":
				s := fresh()
				text := code(b, id)
				s.ask(403, asking{id: id, body: s.application(text, "browser")}) // without a session
				s = newStranger(t, doc)
				s.ask(200, asking{id: id, body: s.application(text, "app")})
				s.conn = nil
				s.ask(409, asking{id: id, body: s.application(code(b, id), "app")})
				s = fresh()
				s.ask(415, asking{id: id, body: s.application(code(b, id), "app"), contentTypes: "text/plain"})
				for status, err := range map[int]error{404: noPhone("x"), 503: errors.New("the card is full")} {
					s = fresh()
					body := s.application(code(b, id), "app")
					b.vault.mu.Lock()
					b.vault.fails = err
					b.vault.mu.Unlock()
					s.ask(status, asking{id: id, body: body})
					b.vault.mu.Lock()
					b.vault.fails = nil
					b.vault.mu.Unlock()
				}
				// A browser, by the document too.
				s = newStranger(t, doc)
				s.application(code(b, id), "browser")
				var session struct{ Binding string }
				must(t, json.Unmarshal(s.ask(200, asking{id: "session"}), &session))
				s.session = session.Binding
				s.ask(200, asking{id: id, body: s.application(code(b, id), "browser")})
				s.ask(200, asking{id: "me"})
				return
			case "events":
				s := fresh()
				op, resp := s.send(a)
				lines := bufio.NewScanner(resp.Body)
				for n := range 2 {
					for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
					}
					if err := doc.check(op, resp, []byte(strings.TrimPrefix(lines.Text(), "data: "))); err != nil || resp.StatusCode != 200 {
						t.Errorf("event %d: %d, %v", n, resp.StatusCode, err)
					}
					b.device.events <- wire.Event{Seq: 1, At: now, Kind: "decision", User: id, Outcome: "granted", Reasons: []string{"for:enter"}}
				}
				return
			}
			fresh().ask(200, a)
		})
		counted := 0
		for _, b := range benches {
			counted += b.counted()
		}
		if counted != doc.refused {
			t.Errorf("up to %s %d were refused, %d are counted", id, doc.refused, counted)
		}
		doc.refused = counted
		for status := range op.Responses {
			if status != "default" && !doc.seen[id][status] {
				t.Errorf("%s lists %s, which was never answered", id, status)
			}
		}
	}
}
