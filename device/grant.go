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

// Claims of a grant beyond the registered ones.
type Claims struct {
	AMR   []string `json:"amr"` // RFC 8176: face, fpt, and mfa where there were two
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
	return jwt.Signed(s.signer).Claims(standard).Claims(Claims{AMR: methods(factors), Nonce: r.Nonce}).Serialize()
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
