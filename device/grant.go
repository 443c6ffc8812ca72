package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/faceprint/faceprint/store"
)

// Grants are JWTs (RFC 7519) signed with ES256 and good for this long: time
// for the asker to look at it once.
const grantLifetime = 60 * time.Second

// issuer of every grant.
const issuer = "faceprint"

// secretGrantKey names the signing key among the vault's secrets.
const secretGrantKey = "grant-key"

// signer signs grants.
type signer struct {
	key    *ecdsa.PrivateKey
	id     string
	signer jose.Signer
}

// loadSigner opens the device's signing key and makes one at the first start.
func loadSigner(v Vault) (*signer, error) {
	var der []byte
	err := v.View(func(tx *store.Tx) (err error) {
		der, err = tx.Secret(secretGrantKey)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		der, err = newSigningKey(v)
	}
	if err != nil {
		return nil, fmt.Errorf("device: signing key: %w", err)
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("device: the signing key in the vault is no P-256 key: %w", store.ErrCorrupt)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("device: signing key: %w", err)
	}
	sum := sha256.Sum256(public)
	id := hex.EncodeToString(sum[:8])
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("device: signing key: %w", err)
	}
	return &signer{key: key, id: id, signer: s}, nil
}

func newSigningKey(v Vault) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return der, v.Update(func(tx *store.Tx) error { return tx.SetSecret(secretGrantKey, der) })
}

// Scope is what a yes is good for. It stands in the grant, signed, so that
// whoever takes grants can tell one that lets its person in from one that only
// tells who they are.
type Scope uint8

// Scopes. The zero value opens nothing.
const (
	Vouch   Scope = iota // this is the person, and no more
	Enter                // let the person in: the door opens, a session may begin
	Pair                 // pair a phone with the person, once; no door opens
	Keyring              // give out the secret of the person's keyring, once; no door opens
)

var scopeNames = [...]string{Vouch: "vouch", Enter: "enter", Pair: "pair", Keyring: "keyring"}

func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return "none"
}

// Claims of a grant beyond those of RFC 7519.
type Claims struct {
	AMR   []string `json:"amr"`   // RFC 8176: face, fpt, pop (a phone's key), and mfa where there were two
	Scope string   `json:"scope"` // RFC 8693, 4.2: one of the names of a Scope
	Nonce string   `json:"nonce,omitempty"`
}

// sign makes the grant of a decision.
func (s *signer) sign(user store.UserID, factors []Factor, r Request, now time.Time) (string, error) {
	id := make([]byte, 16)
	rand.Read(id)
	standard := jwt.Claims{
		Issuer: issuer, Subject: string(user), ID: base64.RawURLEncoding.EncodeToString(id),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(grantLifetime)),
	}
	if r.Audience != "" {
		standard.Audience = jwt.Audience{r.Audience}
	}
	return jwt.Signed(s.signer).Claims(standard).Claims(Claims{AMR: methods(factors), Scope: r.Scope.String(), Nonce: r.Nonce}).Serialize()
}

// methods are the authentication methods of RFC 8176.
func methods(factors []Factor) []string {
	var amr []string
	for _, f := range factors {
		switch f {
		case Face:
			amr = append(amr, "face")
		case Finger:
			amr = append(amr, "fpt")
		case Phone:
			amr = append(amr, "pop") // not hwk: where the phone keeps its key is its own word
		case PIN:
			amr = append(amr, "pin")
		}
	}
	if len(amr) > 1 {
		amr = append(amr, "mfa")
	}
	return amr
}

// keys is the public half, as a JSON Web Key Set.
func (s *signer) keys() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: s.id, Algorithm: string(jose.ES256), Use: "sig"}}}
}

// grants are those that were taken already, until they expire by themselves.
type grants struct {
	mu   sync.Mutex
	used map[string]time.Time // id -> expiry
}

// CheckGrant returns whose grant it is: one of this device, for the audience
// and of the scope, not expired, shown for the first time.
func (d *Device) CheckGrant(grant, audience string, scope Scope) (store.UserID, error) {
	token, err := jwt.ParseSigned(grant, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", fmt.Errorf("device: no grant: %w: %w", ErrRequest, err)
	}
	var c jwt.Claims
	var own Claims
	if err := token.Claims(d.signer.key.Public(), &c, &own); err != nil {
		return "", fmt.Errorf("device: not a grant of this device: %w: %w", ErrRequest, err)
	}
	now := d.hw.Now()
	if err := c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: now}, 0); err != nil {
		return "", fmt.Errorf("device: a grant that does not hold here: %w: %w", ErrRequest, err)
	}
	if own.Scope != scope.String() {
		return "", fmt.Errorf("device: a grant to %.16q, not to %s: %w", own.Scope, scope, ErrRequest)
	}
	if c.Subject == "" || c.ID == "" || c.Expiry == nil {
		return "", fmt.Errorf("device: a grant without person, id or end: %w", ErrRequest)
	}
	d.grants.mu.Lock()
	defer d.grants.mu.Unlock()
	for id, until := range d.grants.used {
		if now.After(until) {
			delete(d.grants.used, id)
		}
	}
	if _, ok := d.grants.used[c.ID]; ok {
		return "", fmt.Errorf("device: a grant that was shown before: %w", ErrRequest)
	}
	if d.grants.used == nil {
		d.grants.used = make(map[string]time.Time)
	}
	d.grants.used[c.ID] = c.Expiry.Time()
	return store.UserID(c.Subject), nil
}
