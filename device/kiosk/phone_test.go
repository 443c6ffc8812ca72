package kiosk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

// pockets are the phones of u1 and of somebody else.
type pockets struct {
	mu        sync.Mutex
	confirm   client.Decision
	withdrawn []string
	ended     chan struct{} // once one was withdrawn
	revoked   []string
	rights    []string // of the last invitation
	doubted   []string
	kept      []string
	keeps     error // of keeping one
	fails     error // of a confirmation
	during    func(context.Context)
	barred    *client.Decision // what a knock comes to before the page hears of it
}

func (p *pockets) Barred(string) (*client.Decision, error) { return p.barred, nil }

func (p *pockets) Confirm(_ context.Context, user string) (client.Decision, error) {
	d := p.confirm
	d.User = user
	return d, p.fails
}

func (p *pockets) Invite(_ context.Context, user, grant string, rights []string) (client.Invited, error) {
	if user != "u1" || grant != "for pairing" {
		return client.Invited{}, errSignedOut
	}
	p.rights = rights
	return client.Invited{ID: "c1", Text: "https://x/#1.secret", QR: []string{"# #"}}, nil
}

// Begin finds u1 there, and nobody else.
func (p *pockets) Begin(ctx context.Context, user, phone, _ string) (client.Decision, error) {
	if p.during != nil {
		p.during(ctx)
	}
	if user != "u1" || phone != "p1" {
		return client.Decision{Outcome: client.Refused, Reasons: []string{"face-no-match"}}, nil
	}
	return client.Decision{Outcome: client.Granted, User: user, Grant: "a secret of the asker"}, nil
}

func (p *pockets) Withdraw(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.withdrawn = append(p.withdrawn, id)
	if p.ended != nil && len(p.withdrawn) == 1 {
		close(p.ended)
	}
}

func (p *pockets) Doubt(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubted = append(p.doubted, id)
}

func (p *pockets) Keep(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, id)
	return p.keeps
}

func (p *pockets) over() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked)
}

func (p *pockets) gone() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.withdrawn)
}

func (p *pockets) Of(string) []client.Phone {
	then := time.Now()
	return []client.Phone{{ID: "old", User: "u1", Revoked: &then}, {ID: "p0", User: "u1", By: "admin", Paired: then.Add(time.Hour), Name: "an old one"}, {ID: "p1", User: "u1", By: "kiosk", Paired: then, Name: "Ada's"}, {ID: "p2", User: "u2"}}
}

func (p *pockets) Revoke(id string) (client.Phone, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = append(p.revoked, id)
	return client.Phone{}, nil
}

func TestPhonesAreOfWhoeverStandsThere(t *testing.T) {
	p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
	_, _, url := open(t, Options{Phones: p})
	token := load(t, url)
	use(t, url, token)
	for _, path := range []string{"GET /phones", "POST /phones", "POST /phones/revoke"} {
		method, path, _ := strings.Cut(path, " ")
		if status, body := call(t, method, url+path, token, `{}`, nil); status != 401 {
			t.Errorf("%s %s of nobody: %d %s", method, path, status, body)
		}
	}
	call(t, "POST", url+"/identify", token, "{}", nil)
	status, body := call(t, "GET", url+"/phones", token, "", nil)
	var own []ownPhone
	if err := json.Unmarshal([]byte(body), &own); err != nil || status != 200 || len(own) != 2 || own[0].ID != "p1" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := call(t, "POST", url+"/phones/revoke", token, `{"id":"p2"}`, nil); status != 404 || len(p.revoked) != 0 {
		t.Errorf("somebody else's phone: %d, %v", status, p.revoked)
	}
	if status, _ := call(t, "POST", url+"/phones/revoke", token, `{"id":"p1"}`, nil); status != 200 || !slices.Equal(p.revoked, []string{"p1"}) {
		t.Errorf("her own: %d, %v", status, p.revoked)
	}

	// The phone gets the rights that its person chose.
	for body, want := range map[string][]string{`{}`: nil, `{"rights":["approve","history"]}`: {"approve", "history"}} {
		call(t, "POST", url+"/identify", token, "{}", nil)
		if status, said := call(t, "POST", url+"/phones", token, body, nil); status != 200 || !slices.Equal(p.rights, want) {
			t.Errorf("%s: %d %s, invited with %q", body, status, said, p.rights)
		}
	}

	// A code needs a yes for just that, and shows no grant.
	p.confirm.Outcome = client.Refused
	call(t, "POST", url+"/identify", token, "{}", nil)
	if status, body := call(t, "POST", url+"/phones", token, "{}", nil); status != 200 || strings.Contains(body, "secret") || !strings.Contains(body, "refused") {
		t.Errorf("after a no: %d %s", status, body)
	}
	if status, _ := call(t, "GET", url+"/phones", token, "", nil); status != 401 {
		t.Errorf("whoever was refused is still signed in: %d", status)
	}
}

// A phone asks, and the page that is in use begins: the person is signed in there
// and nowhere else, and the phone gets no grant.
func TestAPhoneBeginsWhereItsPersonStands(t *testing.T) {
	p := &pockets{}
	there := true
	s, _, url := open(t, Options{Phones: p, Present: func() bool { return there }})
	later := func() {
		s.bell.mu.Lock()
		defer s.bell.mu.Unlock()
		clear(s.bell.quiet)
	}
	begins := func(ctx context.Context, user, phone string) <-chan knocked {
		later()
		done := make(chan knocked, 1)
		go func() {
			d, err := s.Begin(ctx, user, phone)
			done <- knocked{d, err}
		}()
		return done
	}
	refused := func(name string, want error) {
		t.Helper()
		later()
		if d, err := s.Begin(t.Context(), "u1", "p1"); err != want {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	refused("no page", ErrNotTaken)
	token := load(t, url)
	lines, end := use(t, url, token)
	heard := func() {
		t.Helper()
		for {
			var e client.Event
			if err := lines.Decode(&e); err != nil {
				t.Fatal(err)
			}
			if e.Kind == "knock" && e.Outcome == "" {
				return
			}
		}
	}
	signedIn := func() bool {
		t.Helper()
		status, _ := call(t, "GET", url+"/phones", token, "", nil)
		return status == 200
	}
	there = false
	refused("nobody there", ErrNotTaken)
	there = true
	if status, body := call(t, "POST", url+"/phone/begin", token, "{}", nil); status != 404 {
		t.Errorf("no phone asked: %d %s", status, body)
	}

	// A stranger stands there.
	done := begins(t.Context(), "u2", "p2")
	heard()
	if _, err := s.Begin(t.Context(), "u3", "p3"); err != ErrNotTaken {
		t.Errorf("a second phone: %v", err)
	}
	if status, body := call(t, "POST", url+"/phone/begin", token, "{}", nil); status != 200 || !strings.Contains(body, "refused") {
		t.Errorf("a stranger: %d %s", status, body)
	}
	if a := <-done; a.err != nil || a.decision.Outcome != client.Refused || signedIn() {
		t.Errorf("a stranger: %+v, %v", a.decision, a.err)
	}

	// The phone hangs up, or is revoked, while its person is looked at.
	ctx, hangUp := context.WithCancel(t.Context())
	p.during = func(ctx context.Context) {
		hangUp()
		<-ctx.Done()
	}
	done = begins(ctx, "u1", "p1")
	heard()
	if status, body := call(t, "POST", url+"/phone/begin", token, "{}", nil); status == 200 {
		t.Errorf("a phone that is gone: %d %s", status, body)
	}
	if a := <-done; a.err == nil || a.decision.Outcome == client.Granted || signedIn() {
		t.Errorf("a phone that is gone: %+v, %v", a.decision, a.err)
	}
	p.during = nil

	// Before the page took it up.
	ctx, hangUp = context.WithCancel(t.Context())
	done = begins(ctx, "u1", "p1")
	heard()
	hangUp()
	if a := <-done; a.err != context.Canceled {
		t.Errorf("%+v, %v", a.decision, a.err)
	}
	if status, _ := call(t, "POST", url+"/phone/begin", token, "{}", nil); status != 404 {
		t.Errorf("a phone that gave up can be opened to: %d", status)
	}

	// Its person.
	done = begins(t.Context(), "u1", "p1")
	heard()
	if status, body := call(t, "POST", url+"/phone/begin", token, "{}", nil); status != 200 || !strings.Contains(body, "Ada") || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
	if a := <-done; a.err != nil || a.decision.Outcome != client.Granted || a.decision.Grant != "" || !signedIn() {
		t.Errorf("%+v, %v", a.decision, a.err)
	}
	// Somebody's page is nobody else's to begin at.
	refused("in use", ErrNotTaken)

	call(t, "POST", url+"/leave", token, "{}", nil)
	done = begins(t.Context(), "u1", "p1")
	heard()
	end()
	if a := <-done; a.err != ErrNotTaken {
		t.Errorf("the page was closed: %+v, %v", a.decision, a.err)
	}
}

// What a phone that may be anywhere asks for disturbs nobody who stands there: the
// page hears of it seldom, of nobody's who may not try anyway, and it ends no look.
func TestAKnockDisturbsNobody(t *testing.T) {
	type bench struct {
		s    *Server
		x    *page
		p    *pockets
		f    *fake
		told func() []string // since the last time
	}
	begin := func(b *bench, phone string) <-chan knocked {
		done := make(chan knocked, 1)
		go func() {
			d, err := b.s.Begin(b.x.ctx, "u1", phone)
			done <- knocked{d, err}
		}()
		synctest.Wait()
		return done
	}
	took := func(d time.Duration, since time.Time) bool { return time.Since(since) == d }
	for name, run := range map[string]func(t *testing.T, b *bench){
		"whose person is locked out": func(t *testing.T, b *bench) {
			b.p.barred = &client.Decision{Outcome: client.Refused, Reasons: []string{"locked-out"}}
			if d, err := b.s.Begin(t.Context(), "u1", "p1"); err != nil || d.Outcome != client.Refused || d.Reasons[0] != "locked-out" {
				t.Errorf("%+v, %v", d, err)
			}
			b.p.barred = nil
			time.Sleep(knockEvery)
			if _, err := b.s.Begin(t.Context(), "u1", "p1"); err != (SoonError{knockAfterNo - knockEvery}) {
				t.Errorf("soon after a no: %v", err)
			}
			if told := b.told(); len(told) != 0 {
				t.Errorf("the page was told %q", told)
			}
		},
		"again and again": func(t *testing.T, b *bench) {
			b.p.during = func(context.Context) { time.Sleep(4 * time.Second) }
			for range 3 { // each is no of the device's: look at the other end
				done := begin(b, "p2")
				if told := b.told(); !slices.Equal(told, []string{"knock"}) {
					t.Fatalf("the page was told %q", told)
				}
				if _, err := b.s.begin(b.x.ctx, b.x, forLogin{}); err != nil {
					t.Error(err)
				}
				if a := <-done; a.err != nil || a.decision.Outcome != client.Refused {
					t.Errorf("%+v, %v", a.decision, a.err)
				}
				b.x.leave()
				if _, err := b.s.Begin(t.Context(), "u1", "p2"); err != (SoonError{knockAfterNo}) {
					t.Errorf("at once: %v", err)
				}
				if _, err := b.s.Begin(t.Context(), "u1", "p2"); !errors.As(err, new(SoonError)) || len(b.told()) != 0 {
					t.Errorf("and again: %v", err)
				}
				time.Sleep(knockAfterNo)
			}
			done := begin(b, "p1")
			if _, err := b.s.begin(b.x.ctx, b.x, forLogin{}); err != nil {
				t.Error(err)
			}
			if a := <-done; a.decision.Outcome != client.Granted {
				t.Errorf("%+v, %v", a.decision, a.err)
			}
			b.x.leave()
			if _, err := b.s.Begin(t.Context(), "u1", "p1"); err != (SoonError{knockEvery - 4*time.Second}) {
				t.Errorf("after a yes: %v", err)
			}
		},
		"and hangs up": func(t *testing.T, b *bench) {
			ctx, hangUp := context.WithCancel(t.Context())
			b.p.during = func(ctx context.Context) { hangUp(); <-ctx.Done() }
			done := make(chan error, 1)
			go func() {
				_, err := b.s.Begin(ctx, "u2", "p2")
				done <- err
			}()
			synctest.Wait()
			if _, err := b.s.begin(b.x.ctx, b.x, forLogin{}); err == nil {
				t.Error("the look went on")
			}
			if err := <-done; err == nil {
				t.Error("no end")
			}
			b.x.leave()
			time.Sleep(knockEvery)
			b.told()
			if _, err := b.s.Begin(t.Context(), "u2", "p2"); err != (SoonError{knockAfterNo - knockEvery}) || len(b.told()) != 0 {
				t.Errorf("soon after it hung up: %v", err)
			}
		},
		"whoever is there": func(t *testing.T, b *bench) {
			there := false
			b.s.opts.Present = func() bool { return there }
			for range 3 { // and it may ask again, wherever nobody heard it
				if _, err := b.s.Begin(t.Context(), "u1", "p1"); err != ErrNotTaken {
					t.Errorf("nobody there: %v", err)
				}
			}
			b.s.bell.refused("p2") // a moment ago
			for _, there = range []bool{false, true} {
				if _, err := b.s.Begin(t.Context(), "u2", "p2"); err != (SoonError{knockAfterNo}) {
					t.Errorf("soon after a no, somebody there %v: %v", there, err)
				}
			}
			b.p.barred = &client.Decision{Outcome: client.Refused, Reasons: []string{"locked-out"}}
			for phone, is := range map[string]bool{"p3": false, "p4": true} {
				there = is
				if d, err := b.s.Begin(t.Context(), "u3", phone); err != nil || !slices.Equal(d.Reasons, []string{"locked-out"}) {
					t.Errorf("locked out, somebody there %v: %+v, %v", is, d, err)
				}
			}
			if told := b.told(); len(told) != 0 {
				t.Errorf("the page was told %q", told)
			}
		},
		"while somebody is looked at": func(t *testing.T, b *bench) {
			b.f.looks = func(ctx context.Context) {
				select {
				case <-ctx.Done():
					t.Error("the look was ended")
				case <-time.After(15 * time.Second):
				}
			}
			looked := make(chan error, 1)
			go func() {
				_, err := b.s.identify(b.x.ctx, b.x, forLogin{})
				b.x.leave() // it was not enough
				looked <- err
			}()
			synctest.Wait()
			done := begin(b, "p1")
			if err := <-looked; err != nil {
				t.Error(err)
			}
			if told := b.told(); !slices.Equal(told, []string{"knock"}) {
				t.Errorf("the page was told %q", told)
			}
			if _, err := b.s.begin(b.x.ctx, b.x, forLogin{}); err != nil {
				t.Errorf("once it ended: %v", err)
			}
			if a := <-done; a.err != nil || a.decision.Outcome != client.Granted {
				t.Errorf("%+v, %v", a.decision, a.err)
			}
		},
		"where the look does not end": func(t *testing.T, b *bench) {
			ctx, end := context.WithCancel(t.Context())
			b.f.looks = func(ctx context.Context) { <-ctx.Done() }
			go func() { _, _ = b.s.identify(ctx, b.x, forLogin{}) }()
			synctest.Wait()
			since := time.Now()
			if _, err := b.s.Begin(t.Context(), "u1", "p1"); err != ErrNotTaken || !took(lookPatience, since) {
				t.Errorf("%v after %v", err, time.Since(since))
			}
			end()
			synctest.Wait()
		},
		"while they are at something else": func(t *testing.T, b *bench) {
			since := time.Now()
			if _, err := b.s.Begin(t.Context(), "u1", "p1"); err != ErrNotTaken || !took(knockPatience, since) {
				t.Errorf("%v after %v", err, time.Since(since))
			}
			synctest.Wait()
			if told := b.told(); !slices.Equal(told, []string{"knock", "knock over"}) {
				t.Errorf("the page was told %q", told)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{p: &pockets{}, f: &fake{events: make(chan client.Event)}}
				var err error
				if b.s, err = New(b.f, Options{Phones: b.p}); err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(t.Context())
				r, w := io.Pipe()
				token := b.s.pages.issue()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					req := httptest.NewRequestWithContext(ctx, "GET", "/stream", nil)
					req.Header.Set(tokenHeader, token)
					b.s.stream(pipe{httptest.NewRecorder(), w}, req)
				}()
				var mu sync.Mutex
				var told []string
				go func() {
					for lines := json.NewDecoder(r); ; {
						var e client.Event
						if lines.Decode(&e) != nil {
							return
						}
						if e.Kind == "alive" {
							continue
						}
						mu.Lock()
						told = append(told, strings.TrimSpace(e.Kind+" "+e.Outcome))
						mu.Unlock()
					}
				}()
				b.told = func() []string {
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					since := told
					told = nil
					return since
				}
				if hello := b.told(); !slices.Equal(hello, []string{"hello"}) {
					t.Fatalf("%q", hello)
				}
				if b.x, err = b.s.pages.get(token); err != nil {
					t.Fatal(err)
				}
				defer func() {
					leave()
					r.Close()
					<-ended
				}()
				run(t, b)
			})
		})
	}
}

// The code ends with the page's person, however they leave.
func TestACodeEndsWithItsPerson(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, f *fake, url, token string, end func()){
		"hidden": func(t *testing.T, _ *fake, url, token string, _ func()) {
			call(t, "POST", url+"/phones/hide", token, "{}", nil)
		},
		"left": func(t *testing.T, _ *fake, url, token string, _ func()) {
			call(t, "POST", url+"/leave", token, "{}", nil)
		},
		"forgotten": func(t *testing.T, _ *fake, url, token string, _ func()) {
			call(t, "POST", url+"/forget", token, "{}", nil)
		},
		"looked": func(t *testing.T, _ *fake, url, token string, _ func()) {
			call(t, "POST", url+"/identify", token, "{}", nil)
		},
		"superseded": func(t *testing.T, _ *fake, url, _ string, _ func()) { use(t, url, load(t, url)) },
		"closed":     func(_ *testing.T, _ *fake, _, _ string, end func()) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			p := &pockets{ended: make(chan struct{}), confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
			_, f, url := open(t, Options{Phones: p})
			token := load(t, url)
			_, end := use(t, url, token)
			call(t, "POST", url+"/identify", token, "{}", nil)
			if status, body := call(t, "POST", url+"/phones", token, "{}", nil); status != 200 || !strings.Contains(body, "secret") || strings.Contains(body, "for pairing") {
				t.Fatalf("%d %s", status, body)
			}
			if got := p.gone(); len(got) != 0 {
				t.Fatalf("withdrawn at once: %v", got)
			}
			leave(t, f, url, token, end)
			select { // a page that is closed is noticed soon
			case <-p.ended:
			case <-t.Context().Done():
			}
			if got := p.gone(); !slices.Equal(got, []string{"c1"}) {
				t.Errorf("withdrawn %v", got)
			}
		})
	}
}

// Who holds a phone up to the code hides their face, so the code outlives them a
// little, and nothing else does: whoever steps up then is nobody here, and has no
// code either.
func TestACodeAloneOutlivesWhoLeft(t *testing.T) {
	for name, after := range map[string]struct {
		events []client.Event
		told   []string
		over   bool // the code is withdrawn, and the phone that took it with it
	}{
		"they hold up a phone": {[]client.Event{
			{Kind: "presence", Outcome: "left"},
			{Kind: "phone-paired", User: "u2", Code: "c2", Phone: "p2"},
			{Kind: "phone-paired", User: "u1", Code: "c1", Phone: "p1", Detail: "a name"},
		}, []string{"presence left", "phone-paired somebody", "phone-paired own a name look-again"}, false},
		"they have another code": {[]client.Event{
			{Kind: "presence", Outcome: "left"},
			{Kind: "phone-paired", User: "u1", Code: "an admin's", Phone: "p3", Detail: "a name"},
		}, []string{"presence left", "phone-paired somebody"}, false},
		"they are not seen, after a finger": {[]client.Event{{Kind: "presence", Outcome: "nobody"}}, []string{"presence left"}, false},
		"somebody steps up": {
			[]client.Event{{Kind: "presence", Outcome: "left"}, {Kind: "presence", Outcome: "came"}, {Kind: "phone-paired", User: "u1", Code: "c1", Phone: "p1", Detail: "a name"}},
			[]string{"presence left", "signed-out", "presence came", "phone-paired somebody"},
			true,
		},
		"somebody else is there": {[]client.Event{{Kind: "presence", Outcome: "left", Detail: device.Replaced}}, []string{"signed-out", "presence left"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
			_, f, url := open(t, Options{Phones: p})
			token := load(t, url)
			lines, _ := use(t, url, token)
			call(t, "POST", url+"/identify", token, "{}", nil)
			if status, body := call(t, "POST", url+"/phones", token, "{}", nil); status != 200 || !strings.Contains(body, "secret") {
				t.Fatalf("%d %s", status, body)
			}
			told := []string{}
			go func() {
				for _, e := range after.events {
					f.events <- e
				}
			}()
			for range after.told {
				var e client.Event
				if err := lines.Decode(&e); err != nil {
					t.Fatal(err)
				}
				told = append(told, strings.TrimRight(e.Kind+" "+e.Outcome+" "+e.Detail+" "+e.Hint, " "))
			}
			if !slices.Equal(told, after.told) {
				t.Errorf("the page was told %q, want %q", told, after.told)
			}
			if gone := p.gone(); after.over != slices.Equal(gone, []string{"c1"}) {
				t.Errorf("withdrawn %v", gone)
			}
			for _, path := range []string{"GET /history", "GET /phones", "POST /phones", "PUT /own-pin", "POST /forget"} {
				method, path, _ := strings.Cut(path, " ")
				if status, body := call(t, method, url+path, token, `{}`, nil); status != 401 {
					t.Errorf("%s %s: %d %s", method, path, status, body)
				}
			}
		})
	}
}

// The code that outlived its person ends soon, and whoever signed in meanwhile is
// not signed out with it.
func TestACodeThatWasLeftEnds(t *testing.T) {
	for name, again := range map[string]bool{"nobody came": false, "somebody began": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{events: make(chan client.Event)}
				p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
				s, err := New(f, Options{Phones: p})
				if err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(t.Context())
				r, w := io.Pipe()
				token := s.pages.issue()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					req := httptest.NewRequestWithContext(ctx, "GET", "/stream", nil)
					req.Header.Set(tokenHeader, token)
					s.stream(pipe{httptest.NewRecorder(), w}, req)
				}()
				var told []string
				lines := json.NewDecoder(r)
				hear := func() {
					var e client.Event
					if err := lines.Decode(&e); err != nil {
						t.Fatal(err)
					}
					told = append(told, strings.TrimSpace(e.Kind+" "+e.Outcome))
				}
				hear()
				x, err := s.pages.get(token)
				if err != nil {
					t.Fatal(err)
				}
				signIn(t, x, client.Person{User: "u1"}, time.Now().Add(signedIn))
				if _, err := s.pair(ctx, x, forPhone{}); err != nil {
					t.Fatal(err)
				}
				f.events <- client.Event{Kind: "presence", Outcome: "left"}
				hear()
				want := []string{"hello", "presence left", "alive", "signed-out"}
				if again {
					x.leave()
					signIn(t, x, client.Person{User: "u2"}, time.Now().Add(signedIn))
					want[3] = "alive"
				}
				hear() // of life, at 10 s
				hear() // the end of the code, at 15 s
				if !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
				if _, in := x.signedIn(time.Now()); in != again || !slices.Equal(p.gone(), []string{"c1"}) {
					t.Errorf("signed in: %v, withdrawn %v", in, p.gone())
				}
				leave()
				r.Close()
				<-ended
			})
		})
	}
}

// A phone that was paired while nobody was seen stays only when its person looks
// and touches once more, in time; whoever was beside the picture has none.
func TestAPhonePairedUnseenWantsItsPerson(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(s *Server, x *page, p *pockets) // once it was paired
		kept bool
	}{
		"a yes": {func(s *Server, x *page, _ *pockets) {
			if d, err := s.confirm(x.ctx, x, none{}); err != nil || d.Outcome != client.Granted {
				t.Errorf("%+v, %v", d, err)
			}
			if _, err := s.confirm(x.ctx, x, none{}); err == nil {
				t.Error("it is in doubt still")
			}
		}, true},
		"a no": {func(s *Server, x *page, p *pockets) {
			p.confirm.Outcome = client.Refused
			if d, err := s.confirm(x.ctx, x, none{}); err != nil || d.Outcome != client.Refused {
				t.Errorf("%+v, %v", d, err)
			}
		}, false},
		"a vault that fails": {func(s *Server, x *page, p *pockets) {
			p.keeps = errors.New("the card is full")
			if _, err := s.confirm(x.ctx, x, none{}); err == nil {
				t.Error("no fault")
			}
		}, false},
		"a fault": {func(s *Server, x *page, p *pockets) {
			p.fails = errors.New("cable")
			if _, err := s.confirm(x.ctx, x, none{}); err == nil {
				t.Error("no fault")
			}
		}, false},
		"somebody else begins": {func(s *Server, x *page, _ *pockets) { _, _ = s.identify(x.ctx, x, forLogin{}) }, false},
		"they cancel":          {func(s *Server, x *page, _ *pockets) { _, _ = s.leave(x.ctx, x, none{}) }, false},
		"nobody does anything": {func(*Server, *page, *pockets) { time.Sleep(doubtFor + time.Second) }, false}, // of the virtual clock
		"the page ends":        {func(_ *Server, x *page, _ *pockets) { x.end(); synctest.Wait() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{events: make(chan client.Event)}
				p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
				s, err := New(f, Options{Phones: p})
				if err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(t.Context())
				token := s.pages.issue()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					req := httptest.NewRequestWithContext(ctx, "GET", "/stream", nil)
					req.Header.Set(tokenHeader, token)
					s.stream(pipe{httptest.NewRecorder(), io.Discard}, req)
				}()
				synctest.Wait()
				x, err := s.pages.get(token)
				if err != nil {
					t.Fatal(err)
				}
				signIn(t, x, client.Person{User: "u1"}, time.Now().Add(signedIn))
				if _, err := s.pair(ctx, x, forPhone{}); err != nil {
					t.Fatal(err)
				}
				f.events <- client.Event{Kind: "presence", Outcome: "left"}
				f.events <- client.Event{Kind: "phone-paired", User: "u1", Code: "c1", Phone: "p9", Detail: "a name"} // which is not in the list: it went
				synctest.Wait()
				if _, err := s.hide(ctx, x, none{}); err != nil || len(p.over()) != 0 { // its screen ends
					t.Errorf("%v, revoked %v", err, p.over())
				}
				if !slices.Equal(p.doubted, []string{"p9"}) || p.kept != nil {
					t.Errorf("doubted %v, kept %v", p.doubted, p.kept)
				}
				tt.then(s, x, p)
				synctest.Wait()
				want := []string{"p9"} // and none that they had
				if tt.kept {
					want = nil
				}
				if kept := slices.Equal(p.kept, []string{"p9"}); kept != (tt.kept || p.keeps != nil) {
					t.Errorf("kept %v", p.kept)
				}
				if !slices.Equal(p.over(), want) {
					t.Errorf("revoked %v, want %v", p.over(), want)
				}
				leave()
				<-ended
				if !slices.Equal(p.over(), want) {
					t.Errorf("at the end revoked %v, want %v", p.over(), want)
				}
			})
		})
	}
}

// pipe is an answer that is read while it is written.
type pipe struct {
	*httptest.ResponseRecorder
	w io.Writer
}

func (p pipe) Write(b []byte) (int, error) { return p.w.Write(b) }

// Who leaves while they are measured gets no code.
func TestNoCodeForWhoLeftMeanwhile(t *testing.T) {
	p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
	s, _, url := open(t, Options{Phones: p})
	token := load(t, url)
	use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	x, err := s.pages.get(token)
	if err != nil {
		t.Fatal(err)
	}
	x.signOut()
	if x.showing("late", func() { p.Withdraw("late") }) || !slices.Equal(p.gone(), []string{"late"}) {
		t.Errorf("withdrawn %v", p.gone())
	}
}

// signIn has somebody recognised on the page.
func signIn(t *testing.T, p *page, who client.Person, until time.Time) {
	t.Helper()
	if err := p.signIn(t.Context(), who, until, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// A phone that took the page's code while its person was there is kept; one that was
// paired elsewhere is none of the page's.
func TestAPhonePairedInSightIsKept(t *testing.T) {
	p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
	_, f, url := open(t, Options{Phones: p})
	token := load(t, url)
	lines, _ := use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	call(t, "POST", url+"/phones", token, "{}", nil)
	go func() {
		f.events <- client.Event{Kind: "phone-paired", User: "u2", Code: "an admin's", Phone: "p8"}
		f.events <- client.Event{Kind: "phone-paired", User: "u1", Code: "c1", Phone: "p9"}
	}()
	for range 2 {
		var e client.Event
		if err := lines.Decode(&e); err != nil || e.Kind != "phone-paired" || e.Hint != "" {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.kept, []string{"p9"}) || p.doubted != nil {
		t.Errorf("kept %v, doubted %v", p.kept, p.doubted)
	}
}

// Everybody at the kiosk is told that a phone was paired; what it is called, its
// own person alone.
func TestPairingIsToldAtTheKiosk(t *testing.T) {
	p := &pockets{confirm: client.Decision{Outcome: client.Granted, Grant: "for pairing"}}
	_, f, url := open(t, Options{Phones: p})
	token := load(t, url)
	lines, _ := use(t, url, token)
	call(t, "POST", url+"/identify", token, "{}", nil)
	for user, want := range map[string]client.Event{
		"u2": {Kind: "phone-paired", Outcome: "somebody"},
		"u1": {Kind: "phone-paired", Outcome: "own", Detail: "a name"},
	} {
		f.events <- client.Event{Kind: "phone-paired", User: user, Detail: "a name"}
		var got client.Event
		if err := lines.Decode(&got); err != nil || got.Kind != want.Kind || got.Outcome != want.Outcome || got.Detail != want.Detail || got.User != "" {
			t.Errorf("%s: %+v, %v", user, got, err)
		}
	}
}

func TestNoPhonesWhereThereAreNone(t *testing.T) {
	_, _, url := open(t, Options{})
	token := load(t, url)
	use(t, url, token)
	if status, body := call(t, "POST", url+"/phone", token, "{}", nil); status != 404 || !strings.Contains(body, "no-phones") {
		t.Errorf("%d %s", status, body)
	}
	if _, body := call(t, "GET", url+"/state", token, "", nil); !strings.Contains(body, `"phone":false`) {
		t.Error(body)
	}
}
