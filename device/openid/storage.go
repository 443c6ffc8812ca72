package openid

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is what the protocol library asks a Provider for.
type storage struct{ p *Provider }

// errNot: a part of the protocol that this provider does not take part in.
var errNot = errors.New("openid: not here")

// errGone: the person left while the application redeemed the code.
func errGone() error {
	return oidc.ErrInvalidGrant().WithDescription("who was recognised is no longer there").WithParent(ErrLogin)
}

func (s storage) CreateAuthRequest(ctx context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if r.ResponseMode != "" && r.ResponseMode != oidc.ResponseModeQuery {
		// Nobody looks and touches for an answer that does not arrive: the
		// page's policy lets no form send itself. The refusal goes by query.
		r.ResponseMode = oidc.ResponseModeQuery
		return nil, oidc.ErrInvalidRequest().WithDescription("only the response mode query")
	}
	switch {
	case r.ResponseType != oidc.ResponseTypeCode:
		return nil, oidc.ErrInvalidRequest().WithDescription("only the code flow")
	case r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is needed (RFC 7636)")
	case !slices.Contains(r.Scopes, oidc.ScopeOpenID):
		return nil, oidc.ErrInvalidScope().WithDescription("the scope openid is needed")
	case slices.Contains(r.Prompt, oidc.PromptNone):
		return nil, oidc.ErrLoginRequired().WithDescription("somebody must look and touch each time")
	}
	app, err := s.p.app(r.ClientID)
	if err != nil {
		return nil, oidc.ErrUnauthorizedClient()
	}
	browser, _ := ctx.Value(browserKey{}).(string)
	l := &login{id: random(), browser: browser, app: app, asked: r, since: s.p.opts.Now()}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.logins = append(s.p.logins, l); len(s.p.logins) > logins {
		s.p.logins = s.p.logins[1:]
	}
	c := *l
	return &c, nil
}

func (s storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	return found(s.p.find(id))
}

// found keeps a nil *login from becoming a request.
func found(l *login, err error) (op.AuthRequest, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	l := s.p.get(id)
	if l == nil || l.user == "" || l.code != "" {
		return ErrLogin // a login has one code
	}
	l.code, l.codeUntil = hash(code), s.p.opts.Now().Add(codeFor)
	return nil
}

// AuthRequestByCode uses the code up, rightly shown or not. The login stays among
// those that end when somebody leaves, until CreateAccessToken makes it a session.
func (s storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, l := range s.p.logins {
		if l.code == "" || l.shown || !same(l.code, hash(code)) {
			continue
		}
		l.shown = true
		if !s.p.opts.Now().Before(l.codeUntil) {
			break
		}
		c := *l
		return &c, nil
	}
	return nil, ErrLogin
}

func (s storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.p.drop(id)
	return nil
}

func (s storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	l, ok := r.(*login)
	if !ok {
		return "", time.Time{}, errNot
	}
	t := token{id: random(), user: l.user, app: l.app.ID, scopes: l.asked.Scopes, until: s.p.opts.Now().Add(tokenFor)}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	i := slices.IndexFunc(s.p.logins, func(x *login) bool { return x.shown && same(x.id, l.id) })
	if i < 0 || s.p.closed {
		return "", time.Time{}, errGone()
	}
	s.p.logins = slices.Delete(s.p.logins, i, i+1)
	s.p.open(session{l.session, l.user, l.app})
	if s.p.tokens = append(s.p.tokens, t); len(s.p.tokens) > tokens {
		s.p.tokens = s.p.tokens[1:]
	}
	return t.id, t.until, nil
}

func (s storage) TerminateSession(_ context.Context, user, app string) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.end(func(x session) bool { return x.user == user && (app == "" || x.app.ID == app) })
	return nil
}

func (s storage) RevokeToken(_ context.Context, id, _, app string) *oidc.Error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.tokens = slices.DeleteFunc(s.p.tokens, func(t token) bool { return t.id == id && t.app == app })
	return nil
}

// token that is still good.
func (s storage) token(id string) (token, bool) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, t := range s.p.tokens {
		if same(t.id, id) && s.p.opts.Now().Before(t.until) {
			return t, true
		}
	}
	return token{}, false
}

func (s storage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, _ string) error {
	t, ok := s.token(id)
	if !ok || t.user != subject {
		return &oidc.Error{ErrorType: "invalid_token", Description: "the token is over"}
	}
	return s.fill(ctx, info, t.user, t.scopes)
}

// SetUserinfoFromRequest puts the name into the ID token of those who asked for
// the profile. Nothing of ours is asked after it that may take time, so that it
// refuses who left since the access token was made.
func (s storage) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	l, ok := r.(*login)
	if !ok {
		return errNot
	}
	info.AppendClaims("sid", l.session)
	if err := s.fill(ctx, info, l.user, scopes); err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if !slices.ContainsFunc(s.p.sessions, func(x session) bool { return x.id == l.session }) {
		return errGone()
	}
	return nil
}

func (s storage) fill(ctx context.Context, info *oidc.UserInfo, user string, scopes []string) error {
	info.Subject = user
	if !slices.Contains(scopes, oidc.ScopeProfile) {
		return nil
	}
	name, err := s.p.opts.Name(ctx, user)
	info.Name = name
	return err
}

func (s storage) SetIntrospectionFromToken(_ context.Context, r *oidc.IntrospectionResponse, id, subject, app string) error {
	t, ok := s.token(id)
	if !ok || t.user != subject || t.app != app {
		return errNot
	}
	r.Active, r.Subject, r.ClientID, r.Scope = true, t.user, t.app, t.scopes
	return nil
}

func (s storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	a, err := s.p.app(id)
	if err != nil {
		return nil, err
	}
	return client{a, s.p.opts.Login}, nil
}

func (s storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	a, err := s.p.app(id)
	if err != nil {
		return err
	}
	if a.Secret == "" || !same(hash(a.Secret), hash(secret)) {
		return errors.New("openid: wrong secret")
	}
	return nil
}

func (s storage) SigningKey(context.Context) (op.SigningKey, error) { return signingKey(s), nil }

func (s storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s storage) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey(s)}, nil }

func (storage) Health(context.Context) error { return nil }

// What follows is of flows that are not offered.

func (storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNot
}

func (storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNot
}

func (storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNot
}

func (storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNot
}

type signingKey struct{ p *Provider }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                    { return k.p.key }
func (k signingKey) ID() string                                  { return k.p.keyID }

type publicKey struct{ p *Provider }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.p.key.Public() }
func (k publicKey) ID() string                         { return k.p.keyID }

// A login is the library's request.

func (l *login) GetID() string                      { return l.id }
func (l *login) GetAMR() []string                   { return l.amr }
func (l *login) GetAudience() []string              { return []string{l.app.ID} }
func (l *login) GetAuthTime() time.Time             { return l.at }
func (l *login) GetClientID() string                { return l.app.ID }
func (l *login) GetNonce() string                   { return l.asked.Nonce }
func (l *login) GetRedirectURI() string             { return l.asked.RedirectURI }
func (l *login) GetResponseType() oidc.ResponseType { return l.asked.ResponseType }
func (l *login) GetResponseMode() oidc.ResponseMode { return l.asked.ResponseMode }
func (l *login) GetScopes() []string                { return l.asked.Scopes }
func (l *login) GetState() string                   { return l.asked.State }
func (l *login) GetSubject() string                 { return l.user }
func (l *login) Done() bool                         { return l.user != "" }

func (l *login) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: l.asked.CodeChallenge, Method: l.asked.CodeChallengeMethod}
}

func (l *login) GetACR() string {
	has := func(m string) bool { return slices.Contains(l.amr, m) }
	switch {
	case has("face") && has("fpt"):
		return ACRBoth
	case has("face"):
		return ACRFace
	case has("fpt"):
		return ACRFinger
	case has("pin"):
		return ACRPIN
	}
	return ""
}

// client is an application as the library sees it.
type client struct {
	app   App
	login string
}

func (c client) GetID() string                       { return c.app.ID }
func (c client) RedirectURIs() []string              { return c.app.Redirects }
func (c client) PostLogoutRedirectURIs() []string    { return c.app.Redirects }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(id string) string           { return c.login + "?login=" + id }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration      { return tokenFor }
func (c client) DevMode() bool                       { return false }
func (c client) IsScopeAllowed(string) bool          { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool {
	return true // the name, for those who ask for the profile
}
func (c client) ClockSkew() time.Duration { return 0 }

func (c client) AuthMethod() oidc.AuthMethod {
	if c.app.Secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes } // none is known but the standard's
}

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func([]string) []string { return nil }
}
