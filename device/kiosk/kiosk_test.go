package kiosk

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

// fake is a device that says yes at once to whoever is enrolled.
type fake struct {
	Backend
	events   chan client.Event
	erased   []string
	fails    error // of an enrolment
	enrolled int
	came     client.Receipt        // of an erasure
	during   func(context.Context) // an attempt by a PIN; nil: nothing happens
	looks    func(context.Context) // while somebody is looked at; nil: they are at once
}

func (f *fake) Status(context.Context) (client.Status, error) {
	return client.Status{State: "ready", People: 1, Audit: 2500}, nil
}

func (f *fake) Diagnose(context.Context) (client.Diagnosis, error) { return client.Diagnosis{}, nil }

func (f *fake) Identify(ctx context.Context, _ client.Attempt) (client.Decision, error) {
	if f.looks != nil {
		f.looks(ctx)
	}
	return client.Decision{Outcome: client.Granted, User: "u1", Grant: "a secret of the asker"}, nil
}

// AuthenticatePIN is done with its computing whatever became of who asked.
func (f *fake) AuthenticatePIN(ctx context.Context, _ client.PINAttempt) (client.Decision, error) {
	if f.during != nil {
		f.during(ctx)
	}
	return f.Identify(ctx, client.Attempt{})
}

func (f *fake) Person(context.Context, string) (client.Person, error) {
	return client.Person{User: "u1", Name: "Ada"}, nil
}

func (f *fake) Enroll(context.Context, client.Enrolment) (client.Enrolled, error) {
	if f.fails == nil {
		f.enrolled++
	}
	return client.Enrolled{User: "u1"}, f.fails
}

func (f *fake) Forget(_ context.Context, user string) (client.Receipt, error) {
	f.erased = append(f.erased, user)
	return f.came, nil
}

// Audit has one entry of u1's in a hundred.
func (f *fake) Audit(_ context.Context, after uint64, limit int) (client.AuditPage, error) {
	var p client.AuditPage
	for seq := after + 1; seq <= 2500 && len(p.Entries) < limit; seq++ {
		e := client.Entry{Seq: seq, User: "somebody else", Outcome: "granted"}
		if seq%100 == 0 {
			e.User = "u1"
		}
		p.Entries = append(p.Entries, e)
	}
	return p, nil
}

func (f *fake) Events(ctx context.Context) <-chan client.Event {
	out := make(chan client.Event)
	go func() {
		defer close(out)
		for {
			select {
			case e := <-f.events:
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// open serves a page for this test's own process, once it is prepared.
func open(t *testing.T, o Options, prepare ...func(*Server)) (*Server, *fake, string) {
	t.Helper()
	f := &fake{events: make(chan client.Event)}
	if o.Allow == nil {
		o.Allow = func(uid int) bool { return uid == os.Getuid() }
	}
	s, err := New(f, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(s)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, f, strings.TrimSuffix(URL(l), "/")
}

var meta = regexp.MustCompile(`<meta name="page" content="([^"]+)">`)

// load loads the page and returns its token.
func load(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	m := meta.FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s: a page without a token: %s", resp.Status, b)
	}
	return string(m[1])
}

// use opens the stream of the page, which puts it in use until the returned
// function is called.
func use(t *testing.T, url, token string) (lines *json.Decoder, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	resp := ask(t, ctx, "GET", url+"/stream", token, "", nil)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %s", resp.Status)
	}
	lines = json.NewDecoder(resp.Body)
	var hello client.Event
	if err := lines.Decode(&hello); err != nil || hello.Kind != "hello" {
		t.Fatalf("the stream begins with %+v, %v", hello, err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	return lines, cancel
}

// A page that is loaded, in whatever state the finger reader is, is told what its
// lamp shows before anything else happens.
func TestThePageIsToldTheLamp(t *testing.T) {
	_, f, url := open(t, Options{Lamp: func() string { return "locked" }})
	lines, _ := use(t, url, load(t, url))
	go func() { f.events <- client.Event{Kind: "lamp", Step: "finger", Outcome: "ready"} }()
	for _, want := range []string{"locked", "ready"} {
		var e client.Event
		if err := lines.Decode(&e); err != nil || e.Kind != "lamp" || e.Outcome != want {
			t.Errorf("%+v, %v, want the lamp %s", e, err, want)
		}
	}
}

func ask(t *testing.T, ctx context.Context, method, url, token, body string, header map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set(tokenHeader, token)
	}
	for k, v := range header {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// call returns the status and the body.
func call(t *testing.T, method, url, token, body string, header map[string]string) (int, string) {
	t.Helper()
	resp := ask(t, t.Context(), method, url, token, body, header)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestOnlyThePageItselfIsServed(t *testing.T) {
	_, _, url := open(t, Options{Enrol: EnrolOpen})
	token := load(t, url)
	use(t, url, token)
	madeUp := "x" + token[1:]
	if token[0] == 'x' { // as one in so many is
		madeUp = "y" + token[1:]
	}
	host := strings.TrimPrefix(url, "http://")
	for name, c := range map[string]struct {
		method, path, token, body string
		header                    map[string]string
		want                      int
	}{
		"the page":                   {"GET", "/", "", "", nil, 200},
		"its state":                  {"GET", "/state", token, "", nil, 200},
		"its own origin":             {"POST", "/identify", token, "{}", map[string]string{"Origin": "http://" + host, "Sec-Fetch-Site": "same-origin"}, 200},
		"no token":                   {"GET", "/state", "", "", nil, 401},
		"a made-up token":            {"POST", "/identify", madeUp, "{}", nil, 401},
		"another site's request":     {"POST", "/identify", token, "{}", map[string]string{"Origin": "http://evil.example"}, 403},
		"no origin to speak of":      {"POST", "/identify", token, "{}", map[string]string{"Origin": "null"}, 403},
		"another site's script":      {"GET", "/web/main.js", "", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		"another port of this host":  {"GET", "/state", token, "", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"a frame":                    {"GET", "/", "", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		"a link":                     {"GET", "/", "", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},
		"a name that was rebound":    {"GET", "/", "", "", map[string]string{"Host": "evil.example"}, 421},
		"another port's name":        {"GET", "/", "", "", map[string]string{"Host": "127.0.0.1"}, 421},
		"a field that nobody knows":  {"POST", "/enrol", token, `{"nme":"A"}`, nil, 422},
		"two bodies":                 {"POST", "/code", token, `{"code":"1"}{"code":"2"}`, nil, 422},
		"a body without end":         {"POST", "/code", token, `{"code":"` + strings.Repeat("1", maxBody) + `"}`, nil, 422},
		"a file that is not there":   {"GET", "/web/../kiosk.go", "", "", nil, 404},
		"a page that is not there":   {"GET", "/admin", "", "", nil, 404},
		"enrolment without consent":  {"POST", "/enrol", token, `{"name":"A","factors":["face"]}`, nil, 409},
		"consent by the page's word": {"POST", "/enrol", token, `{"name":"A","factors":["face"],"consent":{"given":true,"version":"1","language":"en"}}`, nil, 422},
		"consent to a text unknown":  {"POST", "/consent", token, `{"version":"0","language":"en"}`, nil, 422},
		"the technician's view":      {"GET", "/technician", token, "", nil, 403},
		"a preview where none is":    {"GET", "/preview", token, "", nil, 404},
		"a method that makes no fit": {"DELETE", "/state", token, "", nil, 405},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := call(t, c.method, url+c.path, c.token, c.body, c.header)
			if status != c.want {
				t.Errorf("%d, want %d: %s", status, c.want, body)
			}
			if strings.Contains(body, "a secret of the asker") {
				t.Errorf("the page was given the grant: %s", body)
			}
		})
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	_, _, url := open(t, Options{})
	for _, path := range []string{"/", "/web/main.js", "/state", "/nothing"} {
		resp := ask(t, t.Context(), "GET", url+path, "", "", nil)
		resp.Body.Close()
		csp := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") == "" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
	}
}

func TestOtherUsersOfTheMachineAreTurnedAway(t *testing.T) {
	_, _, url := open(t, Options{Allow: func(uid int) bool { return uid == 4242 }})
	if status, body := call(t, "GET", url+"/", "", "", nil); status != http.StatusForbidden {
		t.Errorf("%d: %s", status, body)
	}
	_, _, url = open(t, Options{}, func(s *Server) {
		s.opts.Peer = func(net.Conn) (int, error) { return 0, errNoSocket }
	})
	if status, _ := call(t, "GET", url+"/", "", "", nil); status != http.StatusForbidden {
		t.Errorf("a connection that is nobody's: %d", status)
	}
}

// The table is that of proc(5); this one was read off a little-endian machine.
func TestSocketUser(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:222E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:222E 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:9C40 0100007F:222E 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0 20 4 30 10 -1
   3: short
   4: 0100007F:9C41 0100007F:222E 01 00000000:00000000 00:00000000 00000000    -1        0 3 1 0 20 4 30 10 -1
   5: 0100007F:9C43 0100007F:222E 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
`
	device := netip.MustParseAddrPort("127.0.0.1:8750")
	if kernelAddress(device) != "0100007F:222E" {
		t.Skip("the table is of a little-endian machine")
	}
	for port, want := range map[string]int{"40000": 1001} {
		uid, err := socketUser(strings.NewReader(table), netip.MustParseAddrPort("127.0.0.1:"+port), device)
		if err != nil || uid != want {
			t.Errorf("port %s: user %d, %v; want %d", port, uid, err, want)
		}
	}
	for _, port := range []string{"40001", "40002", "40003"} {
		if uid, err := socketUser(strings.NewReader(table), netip.MustParseAddrPort("127.0.0.1:"+port), device); err == nil {
			t.Errorf("port %s: user %d, want an error", port, uid)
		}
	}
	if a := kernelAddress(netip.MustParseAddrPort("[::1]:8750")); a != "00000000000000000000000001000000:222E" {
		t.Errorf("::1 is %s", a)
	}
}

func TestListenIsForLoopbackOnly(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", ":8750", "0.0.0.0:0", "[::]:0", "192.168.1.2:0", "localhost:0", "127.0.0.1:http", "127.0.0.1:99999", "127.0.0.1:-1"} {
		l, err := Listen(address)
		if err == nil {
			l.Close()
			t.Errorf("%q was opened", address)
		}
	}
}

func TestTheNewestPageIsInUse(t *testing.T) {
	_, f, url := open(t, Options{})
	first, second := load(t, url), load(t, url)
	lines, _ := use(t, url, first)
	if status, _ := call(t, "POST", url+"/identify", first, "{}", nil); status != 200 {
		t.Fatalf("the first page: %d", status)
	}
	_, leave := use(t, url, second)
	var last client.Event
	if err := lines.Decode(&last); err != nil || last.Kind != "elsewhere" {
		t.Errorf("the first page was told %+v, %v", last, err)
	}
	for _, path := range []string{"/history", "/state", "/stream"} {
		if status, body := call(t, "GET", url+path, first, "", nil); status != 409 || !strings.Contains(body, "elsewhere") {
			t.Errorf("the first page asks for %s: %d %s", path, status, body)
		}
	}
	if status, _ := call(t, "GET", url+"/history", second, "", nil); status != 401 {
		t.Errorf("who was recognised on the first page is known on the second: %d", status)
	}
	leave() // now the first may have it back, and nobody is recognised there
	for {
		resp := ask(t, t.Context(), "GET", url+"/stream", first, "", nil)
		defer resp.Body.Close()
		if resp.StatusCode == 200 {
			break
		}
	}
	if status, _ := call(t, "GET", url+"/history", first, "", nil); status != 401 {
		t.Errorf("history after that: %d", status)
	}
	_ = f
}

func TestWhoeverLeavesIsForgottenByThePage(t *testing.T) {
	now := time.Now()
	_, f, url := open(t, Options{Now: func() time.Time { return now }})
	token := load(t, url)
	lines, _ := use(t, url, token)
	var e client.Event
	recognised := func() {
		t.Helper()
		if status, body := call(t, "POST", url+"/identify", token, "{}", nil); status != 200 || !strings.Contains(body, `"name":"Ada"`) {
			t.Fatalf("%d %s", status, body)
		}
		if status, _ := call(t, "GET", url+"/history", token, "", nil); status != 200 {
			t.Fatalf("history: %d", status)
		}
	}
	gone := func(how string) {
		t.Helper()
		for _, path := range []string{"GET /history", "POST /forget"} {
			method, path, _ := strings.Cut(path, " ")
			if status, _ := call(t, method, url+path, token, "{}", nil); status != 401 {
				t.Errorf("%s, %s: %d", how, path, status)
			}
		}
	}
	gone("before")
	recognised()
	f.events <- client.Event{Kind: "presence", Outcome: "left", User: "u1"}
	if err := lines.Decode(&e); err != nil || e.Kind != "presence" || e.User != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	gone("left")
	// Who was let in and never seen has left as well, and the page is told so;
	// who has done nothing yet, at another's "nobody", has not.
	for _, want := range []string{"left", "nobody"} {
		if want == "left" {
			recognised()
		}
		f.events <- client.Event{Kind: "presence", Outcome: "nobody"}
		if err := lines.Decode(&e); err != nil || e.Kind != "presence" || e.Outcome != want {
			t.Errorf("the page was told %+v, %v; want %s", e, err, want)
		}
		gone("never seen")
	}
	recognised()
	if status, _ := call(t, "POST", url+"/leave", token, "{}", nil); status != 200 {
		t.Error(status)
	}
	gone("done")
	recognised()
	now = now.Add(signedIn)
	gone("after a while")
	recognised()
	if status, _ := call(t, "POST", url+"/forget", token, "{}", nil); status != 200 || len(f.erased) != 1 || f.erased[0] != "u1" {
		t.Errorf("%d, erased %v", status, f.erased)
	}
	gone("forgotten")
	for _, tt := range []struct {
		came     client.Receipt
		finished string
	}{
		{client.Receipt{Audit: 7}, "false"},
		{client.Receipt{Audit: 7, Compacted: true}, "false"}, // the device key has not moved on
		{client.Receipt{Audit: 7, Compacted: true, Searched: true}, "true"},
	} {
		recognised()
		f.came = tt.came
		if status, body := call(t, "POST", url+"/forget", token, "{}", nil); status != 200 || !strings.Contains(body, `"finished":`+tt.finished) {
			t.Errorf("%+v: %d %s", tt.came, status, body)
		}
	}
}

// doors are applications that somebody may be signed in to; what is done to them
// is noted.
type doors struct {
	Logins
	mu    sync.Mutex
	open  bool
	noted []string
}

func (d *doors) note(what string, open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted, d.open = append(d.noted, what), open
}

func (d *doors) Leave()             { d.note("leave", false) }
func (d *doors) Stands(user string) { d.note("stands "+user, d.Open()) }
func (d *doors) Frames() []string   { return nil }

func (d *doors) Answer(login, _ string) (string, error) {
	d.note("answers "+login, true)
	return "/next", nil
}

func (d *doors) Open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

func (d *doors) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	noted := d.noted
	d.noted = nil
	return noted
}

// Who is in an application is there, also when the kiosk's page gave way to it, or
// somebody begins at it: their face stays the one that is held against who is seen.
// Who is recognised, or agrees to be enrolled, at the page is whose place it is.
func TestTheVisitOfAnApplicationOutlivesThePage(t *testing.T) {
	apps := &doors{}
	visit := func(bound bool) {
		if bound {
			apps.note("bound", apps.Open())
		} else {
			apps.note("unbound", apps.Open())
		}
	}
	_, f, url := open(t, Options{Enrol: EnrolOpen, Logins: apps, Visit: visit})
	token := load(t, url)
	lines, _ := use(t, url, token)
	does := func(what string, act func(), want ...string) {
		t.Helper()
		apps.take()
		act()
		if got := apps.take(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	post := func(path, body string) func() {
		return func() {
			t.Helper()
			if status, answer := call(t, "POST", url+path, token, body, nil); status != 200 {
				t.Errorf("%s: %d %s", path, status, answer)
			}
		}
	}
	event := func(outcome string) func() {
		return func() {
			f.events <- client.Event{Kind: "presence", Outcome: outcome}
			if err := lines.Decode(&client.Event{}); err != nil {
				t.Error(err)
			}
		}
	}
	does("nobody is in one", post("/leave", "{}"), "unbound")
	does("somebody begins, and is recognised", post("/identify", "{}"), "unbound", "stands u1", "bound")
	apps.note("signed in", true)
	does("done at the page, and in an application", post("/leave", "{}"))
	does("somebody begins, and is", post("/identify", "{}"), "stands u1", "bound")
	does("somebody agrees to be enrolled", post("/consent", agreed), "leave", "bound")
	if status, _ := call(t, "GET", url+"/history", token, "", nil); status != 401 {
		t.Errorf("who agrees has the history of who was recognised: %d", status)
	}
	apps.note("signed in", true)
	does("they leave", event("left"), "leave", "unbound")
	apps.note("signed in", true)
	does("who was not seen", event("nobody"), "leave")
}

// Who leaves, gives up or opens another page while their PIN is computed is
// signed in nowhere by it, and no application's question is answered.
func TestAPINSignsInNobodyWhoLeftMeanwhile(t *testing.T) {
	const login = `{"login":"l1","name":"Ada","pin":"271828"}`
	for name, leaves := range map[string]func(t *testing.T, f *fake, url, token string, lines *json.Decoder, giveUp func()){
		"stays": nil,
		"left": func(t *testing.T, f *fake, _, _ string, lines *json.Decoder, _ func()) {
			f.events <- client.Event{Kind: "presence", Outcome: "left"}
			if err := lines.Decode(&client.Event{}); err != nil {
				t.Error(err)
			}
		},
		"is done": func(t *testing.T, _ *fake, url, token string, _ *json.Decoder, _ func()) {
			if status, body := call(t, "POST", url+"/leave", token, "{}", nil); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		},
		"gives up":           func(_ *testing.T, _ *fake, _, _ string, _ *json.Decoder, giveUp func()) { giveUp() },
		"opens another page": func(t *testing.T, _ *fake, url, _ string, _ *json.Decoder, _ func()) { use(t, url, load(t, url)) },
	} {
		t.Run(name, func(t *testing.T) {
			apps, ended := &doors{}, make(chan struct{}, 1)
			s, f, url := open(t, Options{Logins: apps}, func(s *Server) {
				inner := s.handler
				s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					inner.ServeHTTP(w, r)
					if r.URL.Path == "/pin" {
						ended <- struct{}{}
					}
				})
			})
			token := load(t, url)
			lines, _ := use(t, url, token)
			p, err := s.pages.get(token)
			if err != nil {
				t.Fatal(err)
			}
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			if leaves != nil {
				f.during = func(ctx context.Context) {
					leaves(t, f, url, token, lines, giveUp)
					apps.take()
					if name == "gives up" || name == "opens another page" {
						<-ctx.Done()
					}
				}
			}
			req, err := http.NewRequestWithContext(ctx, "POST", url+"/pin", strings.NewReader(login))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(tokenHeader, token)
			if resp, err := http.DefaultClient.Do(req); err == nil { // else who gave up
				resp.Body.Close()
			}
			<-ended
			_, in := p.signedIn(time.Now())
			noted, want := apps.take(), []string(nil)
			if leaves == nil {
				want = []string{"stands u1", "answers l1"}
			}
			if in != (leaves == nil) || !slices.Equal(noted, want) {
				t.Errorf("signed in: %v, applications: %q, want %q", in, noted, want)
			}
		})
	}
}

// A page that missed an event may have missed that somebody left: it begins anew.
func TestAPageThatMissedAnEventBeginsAnew(t *testing.T) {
	_, f, url := open(t, Options{})
	token := load(t, url)
	lines, _ := use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	var e client.Event
	for seq := uint64(7); seq < 9; seq++ {
		f.events <- client.Event{Seq: seq, Kind: "hint"}
		if err := lines.Decode(&e); err != nil || e.Seq != seq {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	f.events <- client.Event{Seq: 10, Kind: "hint"}
	if err := lines.Decode(&e); !errors.Is(err, io.EOF) {
		t.Errorf("after the gap it was told %+v, %v", e, err)
	}
	use(t, url, token)
	if status, _ := call(t, "GET", url+"/history", token, "", nil); status != 401 {
		t.Errorf("history after that: %d", status)
	}
}

// Who is erased elsewhere is nobody at the page any more.
func TestWhoIsErasedIsForgottenByThePage(t *testing.T) {
	_, f, url := open(t, Options{})
	token := load(t, url)
	lines, _ := use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	for user, want := range map[string]int{"": 200, "u2": 200} {
		erase(t, f, lines, user)
		if status, _ := call(t, "GET", url+"/history", token, "", nil); status != want {
			t.Errorf("after %q was erased: %d, want %d", user, status, want)
		}
	}
	erase(t, f, lines, "u1")
	if status, _ := call(t, "GET", url+"/history", token, "", nil); status != 401 {
		t.Errorf("after they were erased: %d", status)
	}
}

func erase(t *testing.T, f *fake, lines *json.Decoder, user string) {
	t.Helper()
	f.events <- client.Event{Kind: "forgotten", User: user}
	var e client.Event
	if err := lines.Decode(&e); err != nil || e.Kind != "forgotten" || e.User != "" {
		t.Errorf("the page was told %+v, %v", e, err)
	}
}

func TestHistoryIsOnesOwn(t *testing.T) {
	_, _, url := open(t, Options{})
	token := load(t, url)
	use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	_, body := call(t, "GET", url+"/history", token, "", nil)
	var visits []visit
	if err := json.Unmarshal([]byte(body), &visits); err != nil {
		t.Fatal(err)
	}
	if len(visits) != 25 || visits[0].Seq != 2500 || visits[24].Seq != 100 {
		t.Errorf("%d visits, from %+v", len(visits), visits[0])
	}
}

// What a person at the page says to be enrolled.
var agreed = `{"version":"` + device.ConsentTexts()[0].Version + `","language":"en"}`

const someone = `{"name":"A","factors":["face"]}`

// Consent and an administrator's code are of who is there: when they leave both
// are over, and whoever is next can go on with nothing.
func TestConsentAndPermitEndWithWhoGaveThem(t *testing.T) {
	s, f, url := open(t, Options{Enrol: EnrolCode})
	token := load(t, url)
	lines, _ := use(t, url, token)
	permitted := func() {
		t.Helper()
		code, _ := s.Code()
		if status, body := call(t, "POST", url+"/code", token, `{"code":"`+code+`"}`, nil); status != 200 {
			t.Fatalf("the code: %d %s", status, body)
		}
		if status, body := call(t, "POST", url+"/consent", token, agreed, nil); status != 200 {
			t.Fatalf("consent: %d %s", status, body)
		}
		if status, _ := call(t, "GET", url+"/technician", token, "", nil); status != 200 {
			t.Fatalf("the technician's view: %d", status)
		}
		if status, body := call(t, "POST", url+"/selftest", token, "{}", nil); status != 200 || !strings.Contains(body, `"outcome":"granted"`) || strings.Contains(body, "a secret of the asker") {
			t.Fatalf("the self-test: %d %s", status, body)
		}
	}
	over := func(how string) {
		t.Helper()
		for _, x := range [][3]string{{"GET", "/technician", ""}, {"POST", "/selftest", "{}"}, {"POST", "/consent", agreed}, {"POST", "/enrol", someone}} {
			if status, body := call(t, x[0], url+x[1], token, x[2], nil); status != 403 {
				t.Errorf("%s, %s: %d %s", how, x[1], status, body)
			}
		}
		f.enrolled = 0
		code, _ := s.Code() // whoever is next has a code, but agreed to nothing
		call(t, "POST", url+"/code", token, `{"code":"`+code+`"}`, nil)
		status, body := call(t, "POST", url+"/enrol", token, someone, nil)
		if status != 409 || !strings.Contains(body, "problem:left") || f.enrolled != 0 {
			t.Errorf("%s, the next one: %d %s", how, status, body)
		}
	}
	permitted()
	f.events <- client.Event{Kind: "presence", Outcome: "left"}
	var e client.Event
	if err := lines.Decode(&e); err != nil || e.Outcome != "left" {
		t.Fatalf("%+v, %v", e, err)
	}
	over("left")
	permitted()
	call(t, "POST", url+"/leave", token, "{}", nil)
	over("done")
	permitted()
	f.fails = device.ErrLeft // while they were captured
	call(t, "POST", url+"/enrol", token, someone, nil)
	f.fails = nil
	over("left while captured")
	permitted()
	if status, _ := call(t, "POST", url+"/enrol", token, someone, nil); status != 200 || f.enrolled != 1 {
		t.Errorf("who agreed is not enrolled: %d", status)
	}
	if status, _ := call(t, "POST", url+"/enrol", token, someone, nil); status != 409 {
		t.Errorf("one consent was good for two: %d", status)
	}
}

func TestACodeIsGoodOnceAndForThreeTries(t *testing.T) {
	now := time.Now()
	s, _, url := open(t, Options{Enrol: EnrolCode, Now: func() time.Time { return now }})
	token := load(t, url)
	use(t, url, token)
	enrol := func() int {
		if status, _ := call(t, "POST", url+"/consent", token, agreed, nil); status != 200 {
			return status
		}
		status, _ := call(t, "POST", url+"/enrol", token, someone, nil)
		return status
	}
	redeem := func(code string) int {
		status, _ := call(t, "POST", url+"/code", token, `{"code":"`+code+`"}`, nil)
		return status
	}
	if status := redeem(""); status != 403 {
		t.Errorf("without a code: %d", status)
	}
	code, _ := s.Code()
	if len(code) != codeDigits || enrol() != 403 {
		t.Errorf("the code is %q", code)
	}
	if redeem(code) != 200 || enrol() != 200 || redeem(code) != 403 {
		t.Error("the code is not good, or good twice")
	}
	now = now.Add(permitFor)
	if enrol() != 403 {
		t.Error("a permit without end")
	}
	code, _ = s.Code()
	for range codeTries {
		redeem("x")
	}
	if redeem(code) != 403 {
		t.Error("a code outlived its tries")
	}
	code, _ = s.Code()
	now = now.Add(codeFor)
	if redeem(code) != 403 {
		t.Error("a code outlived its time")
	}
}

func TestEnrolmentIsOffWhereItIsOff(t *testing.T) {
	s, _, url := open(t, Options{})
	token := load(t, url)
	use(t, url, token)
	code, _ := s.Code()
	call(t, "POST", url+"/code", token, `{"code":"`+code+`"}`, nil)
	for path, body := range map[string]string{"/consent": agreed, "/enrol": someone} {
		if status, body := call(t, "POST", url+path, token, body, nil); status != 403 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestPreviewIsAStreamOfJPEGs(t *testing.T) {
	n := uint64(0)
	_, _, url := open(t, Options{Picture: func(ctx context.Context, after uint64, width int) (*image.YCbCr, uint64, error) {
		if n++; n == 4 {
			return nil, 0, errors.New("unplugged")
		}
		return image.NewYCbCr(image.Rect(0, 0, width, 2*int(n)), image.YCbCrSubsampleRatio420), n, nil
	}})
	token := load(t, url)
	if status, _ := call(t, "GET", url+"/preview", token, "", nil); status != 409 {
		t.Errorf("a page that is not in use sees the preview: %d", status)
	}
	use(t, url, token)
	_, body := call(t, "GET", url+"/preview", token, "", nil)
	for want := 1; want <= 3; want++ {
		if len(body) < 4 {
			t.Fatalf("the stream ends before picture %d", want)
		}
		size := int(body[0])<<24 | int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		c, err := jpeg.DecodeConfig(strings.NewReader(body[4 : 4+size]))
		if err != nil || c.Width != previewWidth || c.Height != 2*want {
			t.Errorf("picture %d: %+v, %v", want, c, err)
		}
		body = body[4+size:]
	}
	if body != "" {
		t.Errorf("%d bytes follow", len(body))
	}
}
