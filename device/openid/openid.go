// Package openid lets web applications on the kiosk ask the device who stands
// there: an OpenID Connect provider on loopback (OpenID Connect Core 1.0), code
// flow with PKCE only.
//
// It believes nobody but the device: a login is answered with a grant that the
// device signed for this very login (its nonce is the login's id), so that
// neither the page nor another process can say who somebody is.
//
// The ID token says how somebody was recognised: amr by RFC 8176 (face, fpt,
// pin, mfa), and acr, one of the ACR values below. Sessions are short and live
// in memory: keys, codes and tokens end with the daemon, and tokens end when
// the person walks away. Applications are told then: by their server's
// back-channel address (OpenID Connect Back-Channel Logout 1.0), and through the
// browser by a front-channel one (OpenID Connect Front-Channel Logout 1.0).
//
// Applications call from their own server; there is no CORS for scripts.
package openid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/faceprint/faceprint/device"
)

// Every tuned number of this package.
const (
	loginFor = 5 * time.Minute  // from the application's question to the answer
	codeFor  = time.Minute      // RFC 6749 allows ten; the application redeems at once
	tokenFor = 5 * time.Minute  // of ID and access tokens
	logins   = 64               // under way at once; the oldest makes room
	tokens   = 256              // good at once
	maxAge   = 60 * time.Second // of a grant, which is the device's own limit
	idBytes  = 24               // of random names
	sessions = 256              // open at once, and to be ended; the oldest makes room

	logoutFor     = 2 * time.Minute // that a logout token is good, as the standard recommends
	logoutTimeout = 5 * time.Second // for an application to answer one
	farewell      = 5 * time.Second // for those that are told as the daemon stops, in all
)

// again are the pauses before an application that did not take a logout token is
// told once more: a dropped connection is back after the first, and its server
// restarted after the second. All of it fits into farewell.
var again = []time.Duration{time.Second, 3 * time.Second}

// ACR values, the authentication context class of a login.
const (
	ACRBoth   = "urn:faceprint:acr:both"   // face and finger
	ACRFace   = "urn:faceprint:acr:face"   // a face that is live
	ACRFinger = "urn:faceprint:acr:finger" // a finger
	ACRPIN    = "urn:faceprint:acr:pin"    // what the person knows, alone
)

// App is an application that may ask.
type App struct {
	ID        string
	Name      string   // as people see it
	Secret    string   // empty: a public client, which PKCE alone protects
	Redirects []string // exactly these
	// FrontChannel is loaded in the browser, BackChannel called by this
	// provider, when the person walks away; either may be empty.
	FrontChannel, BackChannel string
}

// Check tells what is wrong with an application's registration.
func (a App) Check() error {
	if a.ID == "" || a.Name == "" || len(a.Redirects) == 0 {
		return errors.New("an application needs an id, a name and a redirect address")
	}
	for _, r := range a.Redirects {
		if err := checkAddress(r); err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
	}
	for _, r := range []string{a.FrontChannel, a.BackChannel} {
		if r == "" {
			continue
		}
		if err := checkAddress(r); err != nil {
			return fmt.Errorf("logout: %w", err)
		}
	}
	return nil
}

func checkAddress(r string) error {
	u, err := url.Parse(r)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return fmt.Errorf("%q is no address", r)
	}
	if _, loopback := op.HTTPLoopbackOrLocalhost(r); !loopback && u.Scheme != "https" {
		return fmt.Errorf("%q goes over the network in the clear; only https, or http on loopback", r)
	}
	return nil
}

// Options of a provider.
type Options struct {
	Issuer string // address under which the handler is served, without a slash at the end
	Login  string // address of the page where people look and touch; the login's id is its query "login"
	Apps   []App
	Keys   func() jose.JSONWebKeySet                              // that the device's grants are checked with
	Name   func(ctx context.Context, user string) (string, error) // what a person is called
	Now    func() time.Time
	Log    *slog.Logger // nil = slog.Default
}

// Provider answers applications.
type Provider struct {
	opts    Options
	key     *ecdsa.PrivateKey
	keyID   string
	inner   *op.Provider
	handler http.Handler

	mu       sync.Mutex
	logins   []*login
	tokens   []token
	sessions []session
	frames   []string // front-channel addresses that a browser has yet to load
	ended    chan session
	closed   bool              // nobody is signed in any more: the daemon stops
	calls    http.RoundTripper // to applications; nil = http.DefaultTransport
}

// login is one question of an application.
type login struct {
	id, browser string // the browser it was asked in, by its cookie's hash
	app         App
	asked       *oidc.AuthRequest
	since       time.Time

	session   string
	user      string
	amr       []string
	at        time.Time
	code      string // its hash
	codeUntil time.Time
	shown     bool // the code, which is good once
}

type token struct {
	id, user, app string
	scopes        []string
	until         time.Time
}

// Errors of a login that cannot be answered.
var (
	// ErrLogin: there is no such login, or it is over.
	ErrLogin = errors.New("openid: there is no such login, or it is over")
	// ErrGrant: the grant is not the device's word for this login.
	ErrGrant = errors.New("openid: that grant is not for this login")
)

// New makes a provider.
func New(o Options) (*Provider, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	for i, a := range o.Apps {
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("openid: application %q: %w", a.ID, err)
		}
		if slices.ContainsFunc(o.Apps[:i], func(b App) bool { return a.ID == b.ID }) {
			return nil, fmt.Errorf("openid: there are two applications %q", a.ID)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("openid: %w", err)
	}
	p := &Provider{opts: o, key: key, keyID: random(), ended: make(chan session, sessions)}
	config := &op.Config{
		CodeMethodS256: true, AuthMethodPost: true, CryptoKeyId: random(),
		DefaultLogoutRedirectURI: o.Login, SupportedScopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile},
		SupportedClaims:            []string{"sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "acr", "amr", "name", "sid"},
		BackChannelLogoutSupported: true, BackChannelLogoutSessionSupported: true,
	}
	rand.Read(config.CryptoKey[:])
	options := []op.Option{op.WithCORSOptions(nil), op.WithAllowInsecure()} // http, on loopback
	if p.inner, err = op.NewProvider(config, storage{p}, op.StaticIssuer(o.Issuer), options...); err != nil {
		return nil, fmt.Errorf("openid: %w", err)
	}
	p.handler = p.inBrowser(p.inner)
	return p, nil
}

func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// cookie ties a login to the browser that asked, so that nobody collects the
// code of a login that somebody else was recognised for.
const cookie = "faceprint-login"

type browserKey struct{}

// inBrowser gives every browser a name of its own and refuses the end of a login
// that began in another.
func (p *Provider) inBrowser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/userinfo" {
			w = bearer{w, r.Header.Get("Authorization") != ""}
		}
		name := ""
		if c, err := r.Cookie(cookie); err == nil && len(c.Value) == len(random()) {
			name = c.Value
		}
		switch r.URL.Path {
		case oidc.DiscoveryEndpoint:
			p.discover(w, r)
			return
		case "/authorize":
			if name == "" {
				name = random()
				http.SetCookie(w, &http.Cookie{Name: cookie, Value: name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
			}
		case "/authorize/callback", "/decline":
			l, err := p.find(r.FormValue("id"))
			if err != nil || !same(l.browser, hash(name)) {
				http.Error(w, "there is no such login in this browser", http.StatusBadRequest)
				return
			}
			if r.URL.Path == "/decline" {
				p.drop(l.id)
				op.AuthRequestError(w, r, l, oidc.ErrAccessDenied().WithDescription("nobody was recognised"), p.inner)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), browserKey{}, hash(name))))
	})
}

// bearer answers who comes without a token, or with one that is over, as RFC 6750
// 3.1 has it, so that an application asks for another: the library says 403 to the
// second and challenges neither.
type bearer struct {
	http.ResponseWriter
	came bool // whether there was a token
}

func (b bearer) WriteHeader(status int) {
	if status == http.StatusForbidden || status == http.StatusUnauthorized {
		status = http.StatusUnauthorized
		challenge := "Bearer"
		if b.came {
			challenge += ` error="invalid_token"`
		}
		b.Header().Set("WWW-Authenticate", challenge)
	}
	b.ResponseWriter.WriteHeader(status)
}

// Asked tells which application asks in a login that waits for its answer.
func (p *Provider) Asked(id string) (app string, err error) {
	l, err := p.find(id)
	if err != nil {
		return "", err
	}
	return l.app.Name, nil
}

// Audience of the grants that answer logins.
const Audience = "kiosk"

// Answer answers a login with a grant of the device, whose nonce is the login's
// id, and returns the address that leads back to the application.
func (p *Provider) Answer(id, grant string) (next string, err error) {
	tok, err := jwt.ParseSigned(grant, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", ErrGrant
	}
	var standard jwt.Claims
	var claims device.Claims
	if err := tok.Claims(p.opts.Keys(), &standard, &claims); err != nil {
		return "", ErrGrant
	}
	now := p.opts.Now()
	err = standard.ValidateWithLeeway(jwt.Expected{AnyAudience: jwt.Audience{Audience}, Time: now}, 0)
	if err != nil || claims.Nonce != id || id == "" || claims.Scope != device.Enter.String() || standard.Subject == "" || len(claims.AMR) == 0 || now.Sub(standard.IssuedAt.Time()) > maxAge {
		return "", ErrGrant
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.get(id)
	if l == nil || l.user != "" || p.closed {
		return "", ErrLogin
	}
	p.over(func(user string) bool { return user != standard.Subject }) // who stands there now is somebody else
	l.user, l.amr, l.at, l.session = standard.Subject, claims.AMR, standard.IssuedAt.Time(), random()
	return p.opts.Issuer + "/authorize/callback?id=" + url.QueryEscape(id), nil
}

// Decline is the address that leads back to the application without an answer.
func (p *Provider) Decline(id string) string {
	return p.opts.Issuer + "/decline?id=" + url.QueryEscape(id)
}

// get is find with p.mu held; nil where there is none.
func (p *Provider) get(id string) *login {
	now := p.opts.Now()
	for _, l := range p.logins {
		if same(l.id, id) && now.Sub(l.since) < loginFor {
			return l
		}
	}
	return nil
}

// find returns a copy of the login.
func (p *Provider) find(id string) (*login, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.get(id)
	if l == nil {
		return nil, ErrLogin
	}
	c := *l
	return &c, nil
}

func (p *Provider) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins = slices.DeleteFunc(p.logins, func(l *login) bool { return l.id == id })
}

func (p *Provider) app(id string) (App, error) {
	for _, a := range p.opts.Apps {
		if a.ID == id {
			return a, nil
		}
	}
	return App{}, fmt.Errorf("openid: no application %.40q is registered", id)
}

// random is a name that cannot be guessed.
func random() string {
	b := make([]byte, idBytes)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return string(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
