package openid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	protocol "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"

	"github.com/faceprint/faceprint/device"
)

// The client of these tests is coreos/go-oidc: nobody here wrote it.

const redirect = "http://127.0.0.1:9/callback" // nothing listens there; the browser stops before

// bench is a provider with a device that signs what it is asked to.
type bench struct {
	t      *testing.T
	p      *Provider
	signer jose.Signer
	url    string
	now    time.Time
	naming func() // while a name is looked up; may be nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: time.Now()}
	b.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.url = server.URL + "/oidc"
	b.p, err = New(Options{
		Issuer: b.url, Login: server.URL + "/",
		Apps: []App{
			{ID: "ward", Name: "The ward", Secret: "s3cret", Redirects: []string{redirect}},
			{ID: "library", Name: "The library", Redirects: []string{redirect}},
		},
		Keys: func() jose.JSONWebKeySet {
			return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
		},
		Name: func(_ context.Context, user string) (string, error) {
			if b.naming != nil {
				b.naming()
			}
			return "name of " + user, nil
		},
		Now: func() time.Time { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/oidc/", http.StripPrefix("/oidc", b.p))
	return b
}

// grant is the device's word.
func (b *bench) grant(nonce, audience, user string, amr ...string) string {
	b.t.Helper()
	return b.grantTo(device.Enter.String(), nonce, audience, user, amr...)
}

func (b *bench) grantTo(scope, nonce, audience, user string, amr ...string) string {
	b.t.Helper()
	text, err := jwt.Signed(b.signer).Claims(jwt.Claims{
		Issuer: "faceprint", Subject: user, Audience: jwt.Audience{audience}, IssuedAt: jwt.NewNumericDate(b.now),
		NotBefore: jwt.NewNumericDate(b.now), Expiry: jwt.NewNumericDate(b.now.Add(time.Minute)),
	}).Claims(device.Claims{AMR: amr, Scope: scope, Nonce: nonce}).Serialize()
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// browser follows redirects up to the application or the kiosk's page.
func (b *bench) browser() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) || r.URL.Query().Has("login") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// app is the application's side of a login.
type app struct {
	oauth2.Config
	verifier *oidc.IDTokenVerifier
	provider *oidc.Provider
	pkce     string
}

func (b *bench) app(id, secret string) *app {
	b.t.Helper()
	p, err := oidc.NewProvider(b.t.Context(), b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	return &app{
		Config: oauth2.Config{
			ClientID: id, ClientSecret: secret, Endpoint: p.Endpoint(), RedirectURL: redirect, Scopes: []string{oidc.ScopeOpenID, "profile"},
		},
		provider: p, pkce: oauth2.GenerateVerifier(),
		verifier: p.Verifier(&oidc.Config{ClientID: id, SupportedSigningAlgs: []string{"ES256"}, Now: func() time.Time { return b.now }}),
	}
}

// visit opens an address and returns where that led.
func visit(t *testing.T, browser *http.Client, address string) (status int, at *url.URL) {
	t.Helper()
	resp, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	at, err = resp.Location()
	if err != nil {
		return resp.StatusCode, resp.Request.URL
	}
	return resp.StatusCode, at
}

// ask leads from the application to the page and returns the login's id.
func (b *bench) ask(browser *http.Client, a *app, more ...oauth2.AuthCodeOption) string {
	b.t.Helper()
	options := append([]oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.pkce), oidc.Nonce("n-1")}, more...)
	status, at := visit(b.t, browser, a.AuthCodeURL("state-1", options...))
	id := at.Query().Get("login")
	if status != http.StatusFound || id == "" {
		b.t.Fatalf("the application's question led to %d %s", status, at)
	}
	return id
}

// answer has the device recognise somebody and returns the code.
func (b *bench) answer(browser *http.Client, id string, amr ...string) string {
	b.t.Helper()
	next, err := b.p.Answer(id, b.grant(id, Audience, "u1", amr...))
	if err != nil {
		b.t.Fatal(err)
	}
	status, at := visit(b.t, browser, next)
	if status != http.StatusFound || !strings.HasPrefix(at.String(), redirect) || at.Query().Get("code") == "" || at.Query().Get("state") != "state-1" {
		b.t.Fatalf("the answer led to %d %s", status, at)
	}
	return at.Query().Get("code")
}

func TestAnApplicationLearnsWhoStandsThere(t *testing.T) {
	for _, c := range []struct {
		id, secret string
		amr        []string
		acr        string
	}{
		{"ward", "s3cret", []string{"face", "fpt", "mfa"}, ACRBoth},
		{"library", "", []string{"face"}, ACRFace},
		{"library", "", []string{"fpt"}, ACRFinger},
		{"ward", "s3cret", []string{"pin"}, ACRPIN},
	} {
		b := newBench(t)
		a, browser := b.app(c.id, c.secret), b.browser()
		id := b.ask(browser, a)
		if name, err := b.p.Asked(id); err != nil || !strings.Contains(strings.ToLower(name), c.id) {
			t.Errorf("%s asks as %q, %v", c.id, name, err)
		}
		tokens, err := a.Exchange(t.Context(), b.answer(browser, id, c.amr...), oauth2.VerifierOption(a.pkce))
		if err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		raw, _ := tokens.Extra("id_token").(string)
		token, err := a.verifier.Verify(t.Context(), raw)
		if err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		var claims struct {
			AMR      []string `json:"amr"`
			ACR      string   `json:"acr"`
			Name     string   `json:"name"`
			AuthTime int64    `json:"auth_time"`
		}
		if err := token.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		if token.Subject != "u1" || token.Nonce != "n-1" || !slices.Equal(claims.AMR, c.amr) || claims.ACR != c.acr || claims.AuthTime == 0 || claims.Name != "name of u1" {
			t.Errorf("%s: %+v, %+v", c.id, token, claims)
		}
		if left := token.Expiry.Sub(b.now); left > tokenFor+time.Second {
			t.Errorf("%s: the ID token is good for %v", c.id, left)
		}
		info, err := a.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
		if err != nil || info.Subject != "u1" {
			t.Errorf("%s: userinfo %+v, %v", c.id, info, err)
		}
		b.p.Leave()
		if _, err := a.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens)); err == nil {
			t.Errorf("%s: the token outlived the person's stay", c.id)
		}
		ask, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/userinfo", nil)
		tokens.SetAuthHeader(ask)
		resp, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` || !strings.Contains(string(said), "invalid_token") || err != nil {
			t.Errorf("%s: a token that is over: %s, %q, %s, %v", c.id, resp.Status, resp.Header.Get("WWW-Authenticate"), said, err)
		}
	}
}

// refusedCode is the OAuth error of an exchange that must not succeed.
func refusedCode(t *testing.T, what string, a *app, code string, options ...oauth2.AuthCodeOption) {
	t.Helper()
	tokens, err := a.Exchange(t.Context(), code, options...)
	if retrieve := (*oauth2.RetrieveError)(nil); !errors.As(err, &retrieve) {
		t.Errorf("%s: %+v, %v", what, tokens, err)
	}
}

func TestCodesAreRefused(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("ward", "s3cret"), b.browser()
	good := func() string { t.Helper(); return b.answer(browser, b.ask(browser, a), "face") }

	code := good()
	if _, err := a.Exchange(t.Context(), code, oauth2.VerifierOption(a.pkce)); err != nil {
		t.Fatal(err)
	}
	refusedCode(t, "a replayed code", a, code, oauth2.VerifierOption(a.pkce))

	refusedCode(t, "without the verifier", a, good())
	code = good()
	refusedCode(t, "with another verifier", a, code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
	refusedCode(t, "and then with the right one", a, code, oauth2.VerifierOption(a.pkce))

	code = good()
	b.now = b.now.Add(codeFor)
	refusedCode(t, "a code that is over", a, code, oauth2.VerifierOption(a.pkce))

	refusedCode(t, "a made-up code", a, "x", oauth2.VerifierOption(a.pkce))
	refusedCode(t, "no code", a, "", oauth2.VerifierOption(a.pkce))

	wrong := *a
	wrong.ClientSecret = "guess"
	refusedCode(t, "a wrong secret", &wrong, good(), oauth2.VerifierOption(a.pkce))
	other := b.app("library", "")
	refusedCode(t, "another application", other, good(), oauth2.VerifierOption(a.pkce))
	moved := *a
	moved.RedirectURL = "http://127.0.0.1:9/other"
	refusedCode(t, "another redirect address", &moved, good(), oauth2.VerifierOption(a.pkce))

	code = good()
	b.p.Leave()
	refusedCode(t, "a code of somebody who left", a, code, oauth2.VerifierOption(a.pkce))
}

// Who leaves, is replaced or erased while the application redeems the code is
// signed in nowhere, at whatever step of it that happens.
func TestLeavingWhileACodeIsRedeemed(t *testing.T) {
	for how, leave := range map[string]func(*Provider){
		"left":        (*Provider).Leave,
		"is replaced": func(p *Provider) { p.Stands("u2") },
		"is erased":   func(p *Provider) { p.Forgotten("u1") },
	} {
		b := newBench(t)
		a, browser := b.app("ward", "s3cret"), b.browser()
		nowhere := func(when string) {
			t.Helper()
			b.p.mu.Lock()
			defer b.p.mu.Unlock()
			if len(b.p.logins)+len(b.p.sessions)+len(b.p.tokens) > 0 {
				t.Errorf("who %s %s has %d logins, %d sessions and %d tokens", how, when, len(b.p.logins), len(b.p.sessions), len(b.p.tokens))
			}
		}

		// Between the library's two questions, which no hook of ours divides.
		s := storage{b.p}
		r, err := s.AuthRequestByCode(t.Context(), b.answer(browser, b.ask(browser, a), "face"))
		if err != nil {
			t.Fatal(err)
		}
		if !b.p.Open() {
			t.Error("nobody is about to be signed in while a code is redeemed")
		}
		leave(b.p)
		id, _, err := s.CreateAccessToken(t.Context(), r)
		if told := (*protocol.Error)(nil); !errors.As(err, &told) || told.ErrorType != protocol.InvalidGrant {
			t.Errorf("who %s before the token got %q, %v", how, id, err)
		}
		nowhere("before the token")

		// Between the access token and the ID token.
		code := b.answer(browser, b.ask(browser, a), "face")
		b.naming = func() { leave(b.p) }
		refusedCode(t, "who "+how+" before the ID token", a, code, oauth2.VerifierOption(a.pkce))
		nowhere("before the ID token")

		// Who stays is signed in after all that.
		b.naming = nil
		code = b.answer(browser, b.ask(browser, a), "face")
		b.p.Stands("u1")
		b.p.Forgotten("u2")
		if _, err := a.Exchange(t.Context(), code, oauth2.VerifierOption(a.pkce)); err != nil {
			t.Errorf("who stays: %v", err)
		}
	}
}

// What ends in one application neither ends what its person has in another, nor
// is made up for by that.
func TestOneApplicationsEndIsNotAnothers(t *testing.T) {
	b := newBench(t)
	s := storage{b.p}
	ward, library, browser := b.app("ward", "s3cret"), b.app("library", ""), b.browser()
	shown := func(a *app) op.AuthRequest {
		t.Helper()
		r, err := s.AuthRequestByCode(t.Context(), b.answer(browser, b.ask(browser, a), "face"))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	unshown := b.ask(browser, ward)
	b.answer(browser, unshown, "face")
	if r, err := s.AuthRequestByID(t.Context(), unshown); err != nil {
		t.Error(err)
	} else if _, _, err := s.CreateAccessToken(t.Context(), r); !errors.Is(err, ErrLogin) {
		t.Errorf("a login whose code nobody showed: %v", err)
	}
	first, second := shown(ward), shown(library)
	if err := s.DeleteAuthRequest(t.Context(), first.GetID()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAccessToken(t.Context(), first); !errors.Is(err, ErrLogin) {
		t.Errorf("the login that ended: %v", err)
	}
	id, _, err := s.CreateAccessToken(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}

	code := b.answer(browser, b.ask(browser, ward), "face")
	b.naming = func() { _ = s.TerminateSession(t.Context(), "u1", "ward") } // never fails
	refusedCode(t, "who signed out", ward, code, oauth2.VerifierOption(ward.pkce))
	if _, ok := s.token(id); !ok || !b.p.Open() {
		t.Error("who signed out of one application is out of another")
	}
}

// A code that was shown wrongly signs nobody in, and is not for ever about to.
func TestACodeThatWasShownWronglySignsNobodyIn(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("ward", "s3cret"), b.browser()
	id := b.ask(browser, a)
	refusedCode(t, "without the verifier", a, b.answer(browser, id, "face"))
	if b.p.mu.Lock(); len(b.p.sessions) > 0 || len(b.p.tokens) > 0 {
		t.Errorf("%d sessions and %d tokens", len(b.p.sessions), len(b.p.tokens))
	}
	b.p.mu.Unlock()
	if _, at := visit(t, browser, b.url+"/authorize/callback?id="+id); at.Query().Has("code") {
		t.Errorf("the login gave another code: %s", at)
	}
	b.now = b.now.Add(codeFor)
	if b.p.Open() {
		t.Error("somebody is still about to be signed in")
	}
	id = b.ask(browser, a)
	b.now = b.now.Add(loginFor - 1)
	b.answer(browser, id, "face")
	b.now = b.now.Add(1)
	if !b.p.Open() {
		t.Error("nobody is about to be signed in whose code is good")
	}
}

// Applications are told when somebody leaves, and when somebody else is
// recognised in their place: each of the session that ended, once.
func TestApplicationsAreToldWhoLeft(t *testing.T) {
	told := make(chan string, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		told <- r.PostFormValue("logout_token")
	}))
	defer server.Close()
	b := newBench(t)
	for i := range b.p.opts.Apps {
		b.p.opts.Apps[i].FrontChannel, b.p.opts.Apps[i].BackChannel = "http://127.0.0.1:9/out?from=kiosk", server.URL
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); b.p.Run(ctx) }()
	defer func() { cancel(); <-ran }()

	a, browser := b.app("ward", "s3cret"), b.browser()
	signIn := func(user string) (session string, access oauth2.TokenSource) {
		t.Helper()
		id := b.ask(browser, a)
		next, err := b.p.Answer(id, b.grant(id, Audience, user, "face"))
		if err != nil {
			t.Fatal(err)
		}
		_, at := visit(t, browser, next)
		tokens, err := a.Exchange(t.Context(), at.Query().Get("code"), oauth2.VerifierOption(a.pkce))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := tokens.Extra("id_token").(string)
		token, err := a.verifier.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ SID string }
		if err := token.Claims(&claims); err != nil || claims.SID == "" {
			t.Fatalf("an ID token without a session: %v", err)
		}
		return claims.SID, oauth2.StaticTokenSource(tokens)
	}
	leaves := func(user, session string) {
		t.Helper()
		token, err := a.verifier.Verify(t.Context(), <-told)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			SID, JTI, Nonce string
			Events          map[string]map[string]any
		}
		if err := token.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		if _, ok := claims.Events["http://schemas.openid.net/event/backchannel-logout"]; !ok || claims.SID != session || claims.JTI == "" || claims.Nonce != "" || token.Subject != user {
			t.Errorf("the application was told %+v of %s, want %s of %s", claims, token.Subject, session, user)
		}
		want := "http://127.0.0.1:9/out?from=kiosk&iss=" + url.QueryEscape(b.url) + "&sid=" + session
		if frames := b.p.SignedOut(); !slices.Equal(frames, []string{want}) {
			t.Errorf("the browser is to load %q, want %s", frames, want)
		}
		if frames := b.p.SignedOut(); len(frames) != 0 {
			t.Errorf("and once more %q", frames)
		}
	}

	first, _ := signIn("u1")
	again, _ := signIn("u1") // the same person: both sessions go on
	if again == first {
		t.Error("two sign-ins are one session")
	}
	if frames := b.p.SignedOut(); len(frames) != 0 {
		t.Errorf("while she is there the browser is to load %q", frames)
	}
	b.p.mu.Lock()
	b.p.end(func(s session) bool { return s.id == first })
	b.p.mu.Unlock()
	leaves("u1", first)

	second, access := signIn("u2")
	leaves("u1", again)
	if _, err := a.provider.UserInfo(t.Context(), access); err != nil {
		t.Errorf("who came is signed out with who was there: %v", err)
	}
	b.p.Leave()
	leaves("u2", second)
	if _, err := a.provider.UserInfo(t.Context(), access); err == nil {
		t.Error("the token outlived the stay")
	}
	b.p.Leave()

	// Who is recognised without an application, or erased, is told as well, and
	// Open from the answer on, before the application has fetched it.
	if b.p.Open() {
		t.Error("somebody is signed in who left")
	}
	id := b.ask(browser, a)
	if b.p.Open() {
		t.Error("somebody is signed in who was only asked for")
	}
	if _, err := b.p.Answer(id, b.grant(id, Audience, "u3", "face")); err != nil || !b.p.Open() {
		t.Errorf("nobody is signed in who was recognised: %v", err)
	}
	b.p.Stands("u4")
	if b.p.Open() {
		t.Error("an answer outlived who it was about")
	}
	third, _ := signIn("u3")
	b.p.Stands("u3")
	b.p.Forgotten("u4")
	if !b.p.Open() {
		t.Error("who stands there was signed out")
	}
	b.p.Stands("u4")
	leaves("u3", third)
	fourth, _ := signIn("u4")
	b.p.Forgotten("u4")
	leaves("u4", fourth)
	if b.p.Open() {
		t.Error("somebody is signed in who was erased")
	}
	select {
	case more := <-told:
		t.Errorf("told once more: %s", more)
	default:
	}
}

// calls are applications' servers, without a network between.
type calls func(r *http.Request) (status int, err error)

func (c calls) RoundTrip(r *http.Request) (*http.Response, error) {
	status, err := c(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody, Request: r}, nil
}

// running is a provider that tells c who left, with somebody signed in to
// applications of these paths.
func running(t *testing.T, c calls, paths ...string) (p *Provider, stop func()) {
	t.Helper()
	p, err := New(Options{Issuer: "http://127.0.0.1:1/oidc"})
	if err != nil {
		t.Fatal(err)
	}
	p.calls = c
	p.mu.Lock()
	for _, path := range paths {
		p.open(session{id: path, user: "u1", app: App{ID: path, BackChannel: "http://127.0.0.1:9" + path}})
	}
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); p.Run(ctx) }()
	return p, func() { cancel(); <-ran }
}

// Where an application does not answer, the others are told all the same, and
// the provider ends soon when it is asked to.
func TestASilentApplicationKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		p, stop := running(t, func(r *http.Request) (int, error) {
			if r.URL.Path == "/silent" {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			told.Add(1)
			return http.StatusOK, nil
		}, "/silent", "/good")
		p.Leave()
		synctest.Wait()
		if told.Load() != 1 {
			t.Errorf("the other application was told %d times", told.Load())
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > farewell {
			t.Errorf("the provider ended after %v", took)
		}
	})
}

// Where the daemon stops, everybody's applications are told before it does: those
// whose end waits already, and those in which somebody still is.
func TestApplicationsAreToldAsTheDaemonStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		p, stop := running(t, func(r *http.Request) (int, error) {
			select {
			case <-time.After(time.Second): // the daemon stops meanwhile
			case <-r.Context().Done():
				return 0, r.Context().Err()
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, r.URL.Path)
			return http.StatusNoContent, nil
		}, "/first")
		p.Leave()
		synctest.Wait()
		p.mu.Lock()
		p.open(session{id: "s2", user: "u2", app: App{ID: "/second", BackChannel: "http://127.0.0.1:9/second"}})
		p.logins = append(p.logins, &login{id: "l3", user: "u3", shown: true, since: time.Now()})
		late := *p.logins[0]
		p.mu.Unlock()
		stop()
		slices.Sort(told)
		if !slices.Equal(told, []string{"/first", "/second"}) {
			t.Errorf("told as the daemon stopped: %q", told)
		}
		// The page is served for a moment longer.
		p.mu.Lock()
		p.logins = append(p.logins, &late)
		p.mu.Unlock()
		late.asked = &protocol.AuthRequest{}
		if id, _, err := (storage{p}).CreateAccessToken(t.Context(), &late); err == nil || p.Open() && len(p.sessions) > 0 {
			t.Errorf("somebody is signed in behind the end: %q", id)
		}
	})
}

// An application that is restarting is told once more, three times in all, each
// with a token of its own.
func TestAnApplicationIsToldOnceMore(t *testing.T) {
	for _, c := range []struct{ fails, tries int }{{0, 1}, {1, 2}, {2, 3}, {9, 3}} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var tokens []string
			p, stop := running(t, func(r *http.Request) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				token := r.FormValue("logout_token")
				if token == "" || slices.Contains(tokens, token) {
					t.Errorf("token %q once more", token)
				}
				switch tokens = append(tokens, token); {
				case len(tokens) > c.fails:
					return http.StatusOK, nil
				case len(tokens) == 1:
					return 0, syscall.ECONNREFUSED
				}
				return http.StatusServiceUnavailable, nil
			}, "/restarting")
			p.Leave()
			time.Sleep(time.Minute) // virtual
			stop()
			if len(tokens) != c.tries {
				t.Errorf("it failed %d times and was told %d times, want %d", c.fails, len(tokens), c.tries)
			}
		})
	}
}

func TestQuestionsAreRefused(t *testing.T) {
	b := newBench(t)
	a := b.app("ward", "s3cret")
	pkce := oauth2.S256ChallengeOption(a.pkce)
	set := oauth2.SetAuthURLParam
	for name, c := range map[string]struct {
		options []oauth2.AuthCodeOption
		error   string // told to the application; empty: to nobody but the person
	}{
		"no PKCE":                 {nil, "invalid_request"},
		"PKCE in the clear":       {[]oauth2.AuthCodeOption{set("code_challenge", a.pkce), set("code_challenge_method", "plain")}, "invalid_request"},
		"the implicit flow":       {[]oauth2.AuthCodeOption{pkce, set("response_type", "id_token token")}, "*"},
		"an answer in a form":     {[]oauth2.AuthCodeOption{pkce, set("response_mode", "form_post")}, "invalid_request"},
		"an answer in a fragment": {[]oauth2.AuthCodeOption{pkce, set("response_mode", "fragment")}, "invalid_request"},
		"an answer as a token":    {[]oauth2.AuthCodeOption{pkce, set("response_mode", "query.jwt")}, "invalid_request"},
		"a form, and no PKCE":     {[]oauth2.AuthCodeOption{set("response_mode", "form_post")}, "invalid_request"},
		"a form elsewhere":        {[]oauth2.AuthCodeOption{pkce, set("response_mode", "form_post"), set("redirect_uri", "https://evil.example/callback")}, ""},
		"without looking":         {[]oauth2.AuthCodeOption{pkce, set("prompt", "none")}, "login_required"},
		"without openid":          {[]oauth2.AuthCodeOption{pkce, set("scope", "profile")}, "invalid_scope"},
		"a wrong redirect":        {[]oauth2.AuthCodeOption{pkce, set("redirect_uri", "http://127.0.0.1:9/evil")}, ""},
		"a redirect with more":    {[]oauth2.AuthCodeOption{pkce, set("redirect_uri", redirect+"/../evil")}, ""},
		"a redirect elsewhere":    {[]oauth2.AuthCodeOption{pkce, set("redirect_uri", "https://evil.example/callback")}, ""},
		"no redirect":             {[]oauth2.AuthCodeOption{pkce, set("redirect_uri", "")}, ""},
		"an unknown application":  {[]oauth2.AuthCodeOption{pkce, set("client_id", "evil")}, ""},
	} {
		status, at := visit(t, b.browser(), a.AuthCodeURL("s", c.options...))
		told := at.Query().Get("error") // RFC 6749, 4.1.2.1: in the query
		switch {
		case at.Query().Has("login") || at.Query().Has("code"):
			t.Errorf("%s: it led to %s", name, at)
		case c.error == "" && (status < 400 || at.Hostname() != "127.0.0.1" || told != ""):
			t.Errorf("%s: it led to %d %s", name, status, at)
		case c.error != "" && c.error != "*" && (told != c.error || at.Query().Get("state") != "s" || !strings.HasPrefix(at.String(), redirect+"?")):
			t.Errorf("%s: the application was told %q at %s, want %q", name, told, at, c.error)
		}
	}
}

// An application that says which answer it takes gets it, where it is offered.
func TestTheAnswerIsInTheQuery(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("ward", "s3cret"), b.browser()
	code := b.answer(browser, b.ask(browser, a, oauth2.SetAuthURLParam("response_mode", "query")), "face")
	if _, err := a.Exchange(t.Context(), code, oauth2.VerifierOption(a.pkce)); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheDevicesWordAnswersALogin(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("library", ""), b.browser()
	id := b.ask(browser, a)
	another := newBench(t)
	another.now = b.now
	for name, grant := range map[string]string{
		"nothing":            "",
		"no token":           "a.b.c",
		"another device's":   another.grant(id, Audience, "u1", "face"),
		"for another login":  b.grant("else", Audience, "u1", "face"),
		"for no login":       b.grant("", Audience, "u1", "face"),
		"for somebody else":  b.grant(id, "phone", "u1", "face"),
		"of nobody":          b.grant(id, Audience, "", "face"),
		"without how":        b.grant(id, Audience, "u1"),
		"to vouch only":      b.grantTo(device.Vouch.String(), id, Audience, "u1", "face"),
		"to pair":            b.grantTo(device.Pair.String(), id, Audience, "u1", "face"),
		"to do nothing":      b.grantTo("", id, Audience, "u1", "face"),
		"unsigned":           "eyJhbGciOiJub25lIn0." + strings.Split(b.grant(id, Audience, "u1", "face"), ".")[1] + ".",
		"signed for another": strings.Join(append(strings.Split(b.grant(id, Audience, "u2", "face"), ".")[:2], strings.Split(b.grant(id, Audience, "u1", "face"), ".")[2]), "."),
	} {
		if next, err := b.p.Answer(id, grant); !errors.Is(err, ErrGrant) {
			t.Errorf("%s: %q, %v", name, next, err)
		}
	}
	// An unanswered login ends in no code.
	if _, at := visit(t, browser, b.url+"/authorize/callback?id="+id); at.Query().Has("code") {
		t.Errorf("a code without an answer: %s", at)
	}
	old := b.grant(id, Audience, "u1", "face")
	b.now = b.now.Add(2 * time.Minute)
	if _, err := b.p.Answer(id, old); !errors.Is(err, ErrGrant) {
		t.Errorf("an old grant: %v", err)
	}
	next, err := b.p.Answer(id, b.grant(id, Audience, "u1", "face"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.p.Answer(id, b.grant(id, Audience, "u2", "face")); !errors.Is(err, ErrLogin) {
		t.Errorf("a second answer: %v", err)
	}
	// Whoever knows the login's id, but did not ask, gets no code.
	if status, at := visit(t, b.browser(), next); status != http.StatusBadRequest || at.Query().Has("code") {
		t.Errorf("another browser was led to %d %s", status, at)
	}
	if _, at := visit(t, browser, next); !at.Query().Has("code") {
		t.Errorf("the browser that asked was led to %s", at)
	}
	if _, at := visit(t, browser, next); at.Query().Has("code") {
		t.Errorf("a login gave two codes: %s", at)
	}
	id = b.ask(browser, a)
	b.now = b.now.Add(loginFor)
	if _, err := b.p.Answer(id, b.grant(id, Audience, "u1", "face")); !errors.Is(err, ErrLogin) {
		t.Errorf("a login that is over: %v", err)
	}
}

func TestDecliningTellsTheApplication(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("library", ""), b.browser()
	id := b.ask(browser, a)
	if status, _ := visit(t, b.browser(), b.p.Decline(id)); status != http.StatusBadRequest {
		t.Errorf("another browser declined: %d", status)
	}
	_, at := visit(t, browser, b.p.Decline(id))
	if at.Query().Get("error") != "access_denied" || at.Query().Get("state") != "state-1" {
		t.Errorf("declining led to %s", at)
	}
	if _, err := b.p.Asked(id); !errors.Is(err, ErrLogin) {
		t.Errorf("after that: %v", err)
	}
}

func TestLoginsAreBounded(t *testing.T) {
	b := newBench(t)
	a, browser := b.app("library", ""), b.browser()
	first := b.ask(browser, a)
	for range logins {
		b.ask(browser, a)
	}
	if _, err := b.p.Asked(first); !errors.Is(err, ErrLogin) {
		t.Errorf("the first of %d logins: %v", logins+1, err)
	}
	if len(b.p.logins) != logins {
		t.Errorf("%d logins are kept", len(b.p.logins))
	}
}

func TestTheDocumentOffersWhatThereIs(t *testing.T) {
	b := newBench(t)
	resp, err := http.Get(b.url + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	list := func(of ...any) []any { return of }
	want := map[string]any{
		"issuer":                           b.url,
		"authorization_endpoint":           b.url + "/authorize",
		"token_endpoint":                   b.url + "/oauth/token",
		"introspection_endpoint":           b.url + "/oauth/introspect",
		"userinfo_endpoint":                b.url + "/userinfo",
		"revocation_endpoint":              b.url + "/revoke",
		"end_session_endpoint":             b.url + "/end_session",
		"jwks_uri":                         b.url + "/keys",
		"scopes_supported":                 list("openid", "profile"),
		"response_types_supported":         list("code"),
		"response_modes_supported":         list("query"),
		"grant_types_supported":            list("authorization_code"),
		"subject_types_supported":          list("public"),
		"code_challenge_methods_supported": list("S256"),
		"claims_supported":                 list("sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "acr", "amr", "name", "sid"),

		"id_token_signing_alg_values_supported":         list("ES256"),
		"token_endpoint_auth_methods_supported":         list("none", "client_secret_basic", "client_secret_post"),
		"revocation_endpoint_auth_methods_supported":    list("none", "client_secret_basic", "client_secret_post"),
		"introspection_endpoint_auth_methods_supported": list("client_secret_basic"),

		"request_uri_parameter_supported":       false,
		"frontchannel_logout_supported":         true,
		"frontchannel_logout_session_supported": true,
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,
	}
	for name, value := range doc {
		if !reflect.DeepEqual(value, want[name]) {
			t.Errorf("it says %s: %v, want %v", name, value, want[name])
		}
	}
	for name := range want {
		if _, ok := doc[name]; !ok {
			t.Errorf("it does not say %s", name)
		}
	}
}

func TestRegistrationsThatWouldLeak(t *testing.T) {
	good := App{ID: "a", Name: "A", Redirects: []string{redirect}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*App){
		"no id":         func(a *App) { a.ID = "" },
		"no name":       func(a *App) { a.Name = "" },
		"no redirect":   func(a *App) { a.Redirects = nil },
		"in the clear":  func(a *App) { a.Redirects = []string{"http://ward.example/callback"} },
		"a fragment":    func(a *App) { a.Redirects = []string{redirect + "#x"} },
		"no address":    func(a *App) { a.Redirects = []string{"/callback"} },
		"a script":      func(a *App) { a.Redirects = []string{"javascript:alert(1)"} },
		"not parseable": func(a *App) { a.Redirects = []string{"http://[::1"} },
	} {
		a := good
		change(&a)
		if a.Check() == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := New(Options{Issuer: "http://127.0.0.1:1/oidc", Apps: []App{good, good}}); err == nil {
		t.Error("two applications of one id were taken")
	}
}
