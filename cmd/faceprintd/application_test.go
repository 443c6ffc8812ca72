package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/openid"
)

// application is a web application as anybody would write it with a public
// OpenID Connect library: /start sends people to the kiosk, /callback greets
// whoever was recognised.
type application struct {
	*httptest.Server
	mu       sync.Mutex
	issuer   string
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	pkce     string
	people   map[string]string // who is signed in, by session
	server   chan string       // sessions that the kiosk's server ended
	browser  chan string       // and those that the browser did
}

func newApplication(t *testing.T) *application {
	a := &application{pkce: oauth2.GenerateVerifier(), people: make(map[string]string), server: make(chan string, 16), browser: make(chan string, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		http.Redirect(w, r, a.config.AuthCodeURL("state-1", oauth2.S256ChallengeOption(a.pkce), oidc.Nonce("nonce-1")), http.StatusFound)
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		greeting, session, err := a.greet(r)
		if err != nil {
			greeting = "nobody: " + err.Error()
		} else {
			http.SetCookie(w, &http.Cookie{Name: "ward", Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		}
		fmt.Fprint(w, greeting)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "here is "+a.signedIn(r))
	})
	mux.HandleFunc("POST /backchannel", func(w http.ResponseWriter, r *http.Request) {
		session, err := a.ended(r.Context(), r.PostFormValue("logout_token"))
		if err != nil {
			t.Errorf("the kiosk's logout token: %v", err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.server <- session
	})
	mux.HandleFunc("GET /frontchannel", func(w http.ResponseWriter, r *http.Request) {
		session := r.FormValue("sid")
		if c, err := r.Cookie("ward"); err != nil || c.Value != session || r.FormValue("iss") != a.issuer {
			t.Errorf("a front-channel logout of %s at %s with the cookie %v", session, r.FormValue("iss"), c)
		}
		http.SetCookie(w, &http.Cookie{Name: "ward", Path: "/", MaxAge: -1})
		a.browser <- session
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// registration of the application at the kiosk, as its configuration has it.
func (a *application) registration() string {
	return fmt.Sprintf("[[kiosk.app]]\nid = \"ward\"\nname = \"The ward\"\nredirects = [%q]\nfrontchannel_logout = %q\nbackchannel_logout = %q\n",
		a.URL+"/callback", a.URL+"/frontchannel", a.URL+"/backchannel")
}

// discover reads the provider's document; it makes the application ready.
func (a *application) discover(ctx context.Context, issuer string) error {
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issuer = issuer
	a.config = oauth2.Config{ClientID: "ward", Endpoint: p.Endpoint(), RedirectURL: a.URL + "/callback", Scopes: []string{oidc.ScopeOpenID, "profile"}}
	a.verifier = p.Verifier(&oidc.Config{ClientID: "ward", SupportedSigningAlgs: []string{"ES256"}})
	return nil
}

func (a *application) greet(r *http.Request) (claims, session string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	if e := q.Get("error"); e != "" {
		return "", "", fmt.Errorf("%s", e)
	}
	if q.Get("state") != "state-1" {
		return "", "", fmt.Errorf("the state is %q", q.Get("state"))
	}
	tokens, err := a.config.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(a.pkce))
	if err != nil {
		return "", "", err
	}
	raw, _ := tokens.Extra("id_token").(string)
	token, err := a.verifier.Verify(r.Context(), raw)
	if err != nil {
		return "", "", err
	}
	var all map[string]any
	if err := token.Claims(&all); err != nil || token.Nonce != "nonce-1" {
		return "", "", fmt.Errorf("claims %v, %w", all, err)
	}
	b, err := json.Marshal(all)
	session, _ = all["sid"].(string)
	a.people[session], _ = all["name"].(string)
	return string(b), session, err
}

// signedIn tells who is, by their cookie.
func (a *application) signedIn(r *http.Request) string {
	c, err := r.Cookie("ward")
	if err != nil {
		return "nobody"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if name := a.people[c.Value]; name != "" {
		return name
	}
	return "nobody"
}

// ended ends a session as OpenID Connect Back-Channel Logout 1.0 has it.
func (a *application) ended(ctx context.Context, raw string) (session string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	token, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	var claims struct {
		SID    string `json:"sid"`
		JTI    string `json:"jti"`
		Nonce  *string
		Events map[string]struct{} `json:"events"`
	}
	if err := token.Claims(&claims); err != nil {
		return "", err
	}
	if _, ok := claims.Events["http://schemas.openid.net/event/backchannel-logout"]; !ok || claims.JTI == "" || claims.Nonce != nil {
		return "", fmt.Errorf("%+v is no logout token", claims)
	}
	delete(a.people, claims.SID)
	return claims.SID, nil
}

// Somebody opens a web application, looks and touches, and is known there by
// name; who turns back is not.
func (k *kioskBench) application() {
	t, a := k.t, k.app
	alice := k.alice()
	k.camera(clipAgain)
	if err := a.discover(k.ctx, k.url+"oidc"); err != nil {
		t.Fatal(err)
	}
	back := "location.href.startsWith('" + a.URL + "/callback')"

	k.camera(clipStranger)
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.until("document.querySelector('main h1') !== null")
	k.press("Cancel") // the page looks by itself when somebody is there
	k.shows("The ward")
	k.press("Back to the application")
	k.until(back)
	if text := js[string](k, "document.body.innerText"); text != "nobody: access_denied" {
		t.Errorf("after turning back the application says %q", text)
	}

	// One that does not wait any more keeps nobody from anything.
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.until("document.querySelector('main h1') !== null")
	k.press("Cancel")
	k.shows("The ward")
	k.do(chromedp.Evaluate[chromedp.Void]("fetch('/oidc/decline?id=' + new URLSearchParams(location.search).get('login'), {redirect: 'manual'})"))
	k.shows("does not wait any more")
	if js[bool](k, "document.body.innerText.includes('Back to the application')") {
		t.Error("the page leads back to an application that does not wait any more")
	}

	rested := k.lampRests()
	k.camera(clipAgain)
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.until(back + " || document.querySelector('main h1') !== null && document.body.dataset.screen !== 'scan'")
	if !js[bool](k, back) {
		k.press("Start")
		k.until(back)
	}
	var claims struct {
		Sub, Name, ACR, SID string
		AMR                 []string
	}
	text := js[string](k, "document.body.innerText")
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		t.Fatalf("the application says %q", text)
	}
	if claims.Sub != alice || claims.Name != "Alice" || claims.ACR != openid.ACRBoth || !slices.Equal(claims.AMR, []string{"face", "fpt", "mfa"}) {
		t.Errorf("the application was told %+v", claims)
	}

	// The back button does not sign in again.
	k.do(chromedp.Reload())
	k.until("document.readyState === 'complete'")
	if text := js[string](k, "document.body.innerText"); !strings.HasPrefix(text, "nobody: ") {
		t.Errorf("the same code again: %q", text)
	}

	// The application has taken the page's place in the window. When a stranger takes
	// hers, without a moment between, she is signed out there all the same.
	select { // until then her face was seen
	case <-rested:
	case <-k.ctx.Done():
		t.Fatal("the reader's lamp shows a yes for ever")
	}
	k.sim("lift")
	k.camera(clipStranger)
	select {
	case got := <-a.server:
		if got != claims.SID {
			t.Errorf("the application was told of the session %q, hers is %q", got, claims.SID)
		}
	case <-k.ctx.Done():
		t.Fatal("the application was not told that another took her place")
	}
	k.do(chromedp.Navigate(k.url))
	select { // in the browser when the kiosk's page is there again
	case <-a.browser:
	case <-k.ctx.Done():
		t.Fatal("the application's page was not told")
	}
	k.camera(clipAgain)
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.until(back + " || document.querySelector('main h1') !== null && document.body.dataset.screen !== 'scan'")
	if !js[bool](k, back) {
		k.press("Start")
		k.until(back)
	}
	if err := json.Unmarshal([]byte(js[string](k, "document.body.innerText")), &claims); err != nil {
		t.Fatal(err)
	}

	// She walks away while the kiosk's page is open beside the application: both
	// the application's server and the browser are told, and nobody is signed in
	// any more.
	k.do(chromedp.Navigate(a.URL + "/"))
	if text := js[string](k, "document.body.innerText"); text != "here is Alice" {
		t.Errorf("the application says %q", text)
	}
	lock := exec.CommandContext(k.ctx, filepath.Join(bin, "faceprint"), "kiosk", "left") // what locks a session
	lock.Env = append(os.Environ(), client.SocketVariable+"="+k.path("api.sock"))
	if err := lock.Start(); err != nil {
		t.Fatal(err)
	}
	page, cancel := chromedp.NewContext(k.ctx)
	defer cancel()
	if err := chromedp.Do(page, chromedp.Navigate(k.url)); err != nil {
		t.Fatal(err)
	}
	k.camera("off")
	a.left(k, claims.SID)
	if err := lock.Wait(); err != nil {
		t.Errorf("the session is not locked: %v", err)
	}
	k.do(chromedp.Reload())
	if text := js[string](k, "document.body.innerText"); text != "here is nobody" {
		t.Errorf("after she left, the application says %q", text)
	}
}

// lampRests is closed once the reader's lamp, two seconds after the next yes, shows
// it no more.
func (k *kioskBench) lampRests() <-chan struct{} {
	k.t.Helper()
	ready, rested := make(chan struct{}), make(chan struct{})
	enough := errors.New("seen")
	go func() { // ends with the browser at the latest
		yes := false
		_ = k.client.Events(k.ctx, func() { close(ready) }, func(e client.Event) error {
			if yes && e.Kind == "lamp" && e.Outcome == "ready" {
				close(rested)
				return enough
			}
			yes = yes || e.Kind == "decision" && e.Outcome == "granted"
			return nil
		})
	}()
	select {
	case <-ready:
	case <-k.ctx.Done():
		k.t.Fatal("no events")
	}
	return rested
}

// Who signs in without being seen, which a PIN allows, is signed out when nobody
// came before the camera for as long as somebody who leaves is waited for.
func (k *kioskBench) unseen() {
	t, a := k.t, k.app
	if _, err := k.client.SetPIN(k.ctx, k.alice(), client.NewPIN{PIN: "271828"}); err != nil {
		t.Fatal(err)
	}
	k.sim("camera " + emptyRoom(t))
	k.daemon.until(k.ctx, t, func(s client.Status) bool { return s.Present == "nobody" })
	if err := a.discover(k.ctx, k.url+"oidc"); err != nil {
		t.Fatal(err)
	}
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.on("idle")
	k.press("Use PIN")
	k.on("pin")
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "alice"), chromedp.SendKeys(chromedp.CSS(".pin"), "271828"), chromedp.KeyEvent(kb.Enter))
	k.until("location.href.startsWith('" + a.URL + "/callback')")
	var claims struct {
		Name, SID string
		AMR       []string
	}
	text := js[string](k, "document.body.innerText")
	if err := json.Unmarshal([]byte(text), &claims); err != nil || claims.Name != "Alice" || !slices.Equal(claims.AMR, []string{"pin"}) {
		t.Fatalf("the application says %q", text)
	}
	// The kiosk's page stays open beside the application.
	page, cancel := chromedp.NewContext(k.ctx)
	defer cancel()
	if err := chromedp.Do(page, chromedp.Navigate(k.url)); err != nil {
		t.Fatal(err)
	}
	a.left(k, claims.SID)
	k.do(chromedp.Navigate(a.URL + "/"))
	if text := js[string](k, "document.body.innerText"); text != "here is nobody" {
		t.Errorf("after nobody was seen, the application says %q", text)
	}

	// And so is the page itself, also while it is touched.
	cancel()
	k.do(chromedp.Navigate(k.url))
	k.on("idle")
	k.press("Use PIN")
	k.on("pin")
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "alice"), chromedp.SendKeys(chromedp.CSS(".pin"), "271828"), chromedp.KeyEvent(kb.Enter))
	k.on("granted")
	k.do(chromedp.Evaluate[chromedp.Void]("setInterval(() => dispatchEvent(new Event('pointerdown')), 1000)"))
	k.on("idle")
	k.camera(clipStranger)
	k.on("scan")
	status := js[int](k, `(() => { const r = new XMLHttpRequest(); r.open('GET', '/history', false); r.setRequestHeader('X-Faceprint-Page', document.querySelector('meta[name="page"]').content); r.send(); return r.status; })()`)
	if status != http.StatusUnauthorized {
		t.Errorf("whoever is next asks for her history: %d", status)
	}
}

// left waits until the application's server and its page in the browser are told
// that the session is over.
func (a *application) left(k *kioskBench, session string) {
	k.t.Helper()
	for where, told := range map[string]chan string{"server": a.server, "browser": a.browser} {
		select {
		case got := <-told:
			if got != session || session == "" {
				k.t.Errorf("the application's %s was told of the session %q, hers is %q", where, got, session)
			}
		case <-k.ctx.Done():
			k.t.Fatalf("the application's %s was not told that she left", where)
		}
	}
}

// emptyRoom is a clip in which nobody is: grey, and a noise that moves.
func emptyRoom(t testing.TB) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	var clip bytes.Buffer // JPEGs, one after the other
	for range 25 {
		picture := image.NewGray(image.Rect(0, 0, 640, 480))
		for i := range picture.Pix {
			picture.Pix[i] = 120 + byte(rng.IntN(8))
		}
		if err := jpeg.Encode(&clip, picture, nil); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "empty.mjpeg")
	if err := os.WriteFile(file, clip.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
