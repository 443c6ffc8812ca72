package openid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// session is somebody in an application.
type session struct {
	id, user string
	app      App
}

// open notes a session, with p.mu held.
func (p *Provider) open(s session) {
	if p.sessions = append(p.sessions, s); len(p.sessions) > sessions {
		p.sessions = p.sessions[1:]
	}
}

// end ends the sessions of which it is true, and their tokens, with p.mu held.
func (p *Provider) end(over func(session) bool) {
	p.sessions = slices.DeleteFunc(p.sessions, func(s session) bool {
		if !over(s) {
			return false
		}
		p.tokens = slices.DeleteFunc(p.tokens, func(t token) bool { return t.user == s.user && t.app == s.app.ID })
		if s.app.FrontChannel != "" {
			if p.frames = append(p.frames, p.frame(s)); len(p.frames) > sessions {
				p.frames = p.frames[1:]
			}
		}
		if s.app.BackChannel != "" {
			select {
			case p.ended <- s:
			default:
				p.opts.Log.Error("an application is not told that somebody left: too many wait", "app", s.app.ID)
			}
		}
		return true
	})
}

// frame is the application's front-channel address for the end of a session.
func (p *Provider) frame(s session) string {
	u, err := url.Parse(s.app.FrontChannel)
	if err != nil {
		return "" // App.Check read it
	}
	q := u.Query()
	q.Set("iss", p.opts.Issuer)
	q.Set("sid", s.id)
	u.RawQuery = q.Encode()
	return u.String()
}

// Leave ends all that is good for somebody who walked away.
func (p *Provider) Leave() { p.Stands("") }

// Stands ends what is good for anybody else than who stands there now.
func (p *Provider) Stands(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over(func(u string) bool { return u != user })
}

// Forgotten ends what is good for somebody who was erased.
func (p *Provider) Forgotten(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over(func(u string) bool { return u == user })
}

// over ends sessions, tokens and answers of those of whom it is true, with p.mu
// held.
func (p *Provider) over(of func(user string) bool) {
	p.end(func(s session) bool { return of(s.user) })
	p.tokens = slices.DeleteFunc(p.tokens, func(t token) bool { return of(t.user) })
	p.logins = slices.DeleteFunc(p.logins, func(l *login) bool { return l.user != "" && of(l.user) })
}

// Open tells whether anybody is signed in to an application, or about to be.
func (p *Provider) Open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	return len(p.sessions) > 0 || slices.ContainsFunc(p.logins, func(l *login) bool {
		if l.code != "" {
			return now.Before(l.codeUntil)
		}
		return l.user != "" && now.Sub(l.since) < loginFor
	})
}

// SignedOut hands over the addresses that a browser has to load, in frames, for
// the sessions that ended. Each is handed over once.
func (p *Provider) SignedOut() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.frames
	p.frames = nil
	return frames
}

// Frames are the origins of those addresses.
func (p *Provider) Frames() []string {
	var origins []string
	for _, a := range p.opts.Apps {
		if u, err := url.Parse(a.FrontChannel); err == nil && a.FrontChannel != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// close is Leave for good: nobody can be signed in behind it.
func (p *Provider) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Leave()
}

// Run tells the applications' servers whose sessions ended, until the context
// ends. That ends all of them, since nothing of them is known behind a restart,
// and Run returns when those were told, or after farewell.
func (p *Provider) Run(ctx context.Context) {
	caller := &http.Client{
		Transport:     p.calls,
		Timeout:       logoutTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer caller.CloseIdleConnections()
	calling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var calls sync.WaitGroup // one that hangs keeps no other waiting
	call := func(s session) {
		calls.Go(func() {
			if err := p.insist(calling, caller, s); err != nil {
				p.opts.Log.Warn("an application was not told that somebody left", "app", s.app.ID, "err", err)
			}
		})
	}
	drain := func() {
		for {
			select {
			case s := <-p.ended:
				call(s)
			default:
				return
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			last := time.AfterFunc(farewell, stop)
			defer last.Stop()
			drain() // to make room
			p.close()
			drain()
			calls.Wait()
			return
		case s := <-p.ended:
			call(s)
		}
	}
}

// insist tells an application, and does so again where it was not taken: it may
// be restarting, and whoever was signed in there stays so for the next person.
// Each time is with a token of its own: an answer that was lost makes it no
// replay.
func (p *Provider) insist(ctx context.Context, caller *http.Client, s session) error {
	err := p.tell(ctx, caller, s)
	for _, pause := range again {
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		err = p.tell(ctx, caller, s)
	}
	return err
}

// tell sends a logout token.
func (p *Provider) tell(ctx context.Context, caller *http.Client, s session) error {
	text, err := p.logoutToken(s)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.app.BackChannel, strings.NewReader(url.Values{"logout_token": {text}}.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := caller.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// logoutToken says that the session is over.
func (p *Provider) logoutToken(s session) (string, error) {
	o := (&jose.SignerOptions{}).WithType("logout+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.keyID}}, o)
	if err != nil {
		return "", fmt.Errorf("openid: %w", err)
	}
	now := p.opts.Now()
	claims := oidc.NewLogoutTokenClaims(p.opts.Issuer, s.user, oidc.Audience{s.app.ID}, now.Add(logoutFor), random(), s.id, 0)
	claims.IssuedAt = oidc.FromTime(now)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("openid: %w", err)
	}
	return text, nil
}

// discover answers with the provider's document. The library says more of flows
// and ways to sign than there are, and less of logging out.
func (p *Provider) discover(w http.ResponseWriter, r *http.Request) {
	d := op.CreateDiscoveryConfig(op.ContextWithIssuer(r.Context(), p.opts.Issuer), p.inner, storage{p})
	d.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	d.ResponseModesSupported = []string{string(oidc.ResponseModeQuery)}
	d.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode}
	d.DeviceAuthorizationEndpoint = ""
	d.IntrospectionEndpointAuthSigningAlgValuesSupported = nil // no application signs its questions
	d.RevocationEndpointAuthSigningAlgValuesSupported = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		*oidc.DiscoveryConfiguration
		Frontchannel        bool `json:"frontchannel_logout_supported"`
		FrontchannelSession bool `json:"frontchannel_logout_session_supported"`
	}{d, true, true}) // the caller may have left
}
