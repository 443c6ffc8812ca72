package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/faceprint/faceprint/device/openid"
)

// application is a web application as anybody would write it with a public
// OpenID Connect library: /start sends people to the kiosk, /callback greets
// whoever was recognised.
type application struct {
	*httptest.Server
	mu       sync.Mutex
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	pkce     string
}

func newApplication(t *testing.T) *application {
	a := &application{pkce: oauth2.GenerateVerifier()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		http.Redirect(w, r, a.config.AuthCodeURL("state-1", oauth2.S256ChallengeOption(a.pkce), oidc.Nonce("nonce-1")), http.StatusFound)
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		greeting, err := a.greet(r)
		if err != nil {
			greeting = "nobody: " + err.Error()
		}
		fmt.Fprint(w, greeting)
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// discover reads the provider's document; it makes the application ready.
func (a *application) discover(ctx context.Context, issuer string) error {
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = oauth2.Config{ClientID: "ward", Endpoint: p.Endpoint(), RedirectURL: a.URL + "/callback", Scopes: []string{oidc.ScopeOpenID, "profile"}}
	a.verifier = p.Verifier(&oidc.Config{ClientID: "ward", SupportedSigningAlgs: []string{"ES256"}})
	return nil
}

func (a *application) greet(r *http.Request) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	if e := q.Get("error"); e != "" {
		return "", fmt.Errorf("%s", e)
	}
	if q.Get("state") != "state-1" {
		return "", fmt.Errorf("the state is %q", q.Get("state"))
	}
	tokens, err := a.config.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(a.pkce))
	if err != nil {
		return "", err
	}
	raw, _ := tokens.Extra("id_token").(string)
	token, err := a.verifier.Verify(r.Context(), raw)
	if err != nil {
		return "", err
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil || token.Nonce != "nonce-1" {
		return "", fmt.Errorf("claims %v, %w", claims, err)
	}
	b, err := json.Marshal(claims)
	return string(b), err
}

// Somebody opens a web application, looks and touches, and is known there by
// name; who turns back is not.
func TestKioskSignsInToAnApplication(t *testing.T) {
	atNight(t)
	a := newApplication(t)
	k := newKiosk(t, fmt.Sprintf("[[kiosk.app]]\nid = \"ward\"\nname = \"The ward\"\nredirects = [%q]\n", a.URL+"/callback"))
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

	k.camera(clipAgain)
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.Navigate(a.URL + "/start"))
	k.until(back + " || document.querySelector('main h1') !== null && document.body.dataset.screen !== 'scan'")
	if !js[bool](k, back) {
		k.press("Start")
		k.until(back)
	}
	var claims struct {
		Sub, Name, ACR string
		AMR            []string
	}
	text := js[string](k, "document.body.innerText")
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		t.Fatalf("the application says %q", text)
	}
	if claims.Sub != alice.User || claims.Name != "Alice" || claims.ACR != openid.ACRBoth || !slices.Equal(claims.AMR, []string{"face", "fpt", "mfa"}) {
		t.Errorf("the application was told %+v", claims)
	}

	// The back button does not sign in again.
	k.do(chromedp.Reload())
	k.until("document.readyState === 'complete'")
	if text := js[string](k, "document.body.innerText"); !strings.HasPrefix(text, "nobody: ") {
		t.Errorf("the same code again: %q", text)
	}
}
