package device

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/faceprint/faceprint/store"
)

// secretWitnessKey names the key that signs what the device states about its
// own record: receipts and checkpoints. It is not the key of grants, so that no
// statement can ever be taken for a grant.
const secretWitnessKey = "witness-key"

// witnessKeyID is the kid of every statement.
const witnessKeyID = "witness"

// Types of statements, in the JWS header's typ.
const (
	typeReceipt    = "faceprint-erasure+jwt"
	typeAgreement  = "faceprint-consent+jwt"
	typeCheckpoint = "faceprint-checkpoint+jwt"
	typeBase       = "faceprint-base+jwt"
)

// witness signs statements.
type witness struct{ key ed25519.PrivateKey }

func loadWitness(v Vault) (*witness, error) {
	var seed []byte
	err := v.View(func(tx *store.Tx) (err error) {
		seed, err = tx.Secret(secretWitnessKey)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		seed = make([]byte, ed25519.SeedSize)
		rand.Read(seed)
		err = v.Update(func(tx *store.Tx) error { return tx.SetSecret(secretWitnessKey, seed) })
	}
	if err != nil {
		return nil, fmt.Errorf("device: witness key: %w", err)
	}
	defer clear(seed)
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("device: the witness key in the vault has %d bytes: %w", len(seed), store.ErrCorrupt)
	}
	return &witness{ed25519.NewKeyFromSeed(seed)}, nil
}

// sign makes a compact JWS (EdDSA) of claims.
func (w *witness) sign(typ string, claims any) (string, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: w.key, KeyID: witnessKeyID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", fmt.Errorf("device: %w", err)
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("device: %w", err)
	}
	return text, nil
}

// erasure is what a receipt states.
type erasure struct {
	Issuer    string       `json:"iss"`
	At        time.Time    `json:"at"`
	Erased    store.UserID `json:"erased"`
	Templates int          `json:"templates"`
	Compacted bool         `json:"compacted"`
	Searched  bool         `json:"searched"`
	KeyMoved  bool         `json:"key_moved"`
	Audit     uint64       `json:"audit"`
}

// Receipt states, signed, what an erasure came to. It is for the person who was
// forgotten; nothing of it is biometric.
func (d *Device) Receipt(r store.Receipt) (string, error) {
	return d.witness.sign(typeReceipt, erasure{
		Issuer: issuer, At: r.At.UTC(), Erased: r.User, Templates: r.Templates,
		Compacted: r.Compacted, Searched: r.Searched, KeyMoved: r.KeyMoved, Audit: r.Audit,
	})
}

// agreement is what a receipt of consent states.
type agreement struct {
	Issuer    string       `json:"iss"`
	Agreed    time.Time    `json:"agreed"`
	Person    store.UserID `json:"person"`
	Text      string       `json:"text"`
	Digest    string       `json:"text_sha256,omitempty"`
	Language  string       `json:"language,omitempty"`
	Witness   string       `json:"witness,omitempty"`
	Purpose   string       `json:"purpose"`
	Templates []string     `json:"templates"`
	Unused    string       `json:"kept_unused,omitempty"`
	Longest   string       `json:"kept_longest,omitempty"`
	Audit     uint64       `json:"audit"`
}

// purpose is the only one there is.
const purpose = "to let the person in"

// Agreement states, signed, what a person agreed to and what was made of them,
// and how long it is kept. It is theirs; nothing of it is biometric.
func (d *Device) Agreement(e Enrollment, keep Retention) (string, error) {
	a := agreement{
		Issuer: issuer, Agreed: e.Consent.At.UTC(), Person: e.User, Text: e.Consent.TextVersion, Language: e.Consent.Language, Witness: e.Consent.Witness,
		Purpose: purpose, Templates: []string{}, Audit: e.Audit,
	}
	for _, t := range ConsentTexts() {
		if t.Version == a.Text && t.Language == a.Language {
			sum := sha256.Sum256([]byte(t.Text))
			a.Digest = hex.EncodeToString(sum[:])
		}
	}
	for _, t := range e.Templates {
		a.Templates = append(a.Templates, strings.TrimSpace(t.Kind.String()+" "+t.Label))
	}
	if keep.Unused > 0 {
		a.Unused = keep.Unused.String()
	}
	if keep.Longest > 0 {
		a.Longest = keep.Longest.String()
	}
	return d.witness.sign(typeAgreement, a)
}

// Checkpoint states, signed, what the audit chain was at one entry.
func (d *Device) Checkpoint(c store.Checkpoint) (string, error) {
	return d.checkpoint(typeCheckpoint, c)
}

// base states, signed, that the audit chain was pruned up to an entry. It is a
// statement of its own: whoever has the checkpoint of an export's end must not be
// able to pass it off as the beginning of another, and so cut that.
func (d *Device) base(c store.Checkpoint) (string, error) { return d.checkpoint(typeBase, c) }

func (d *Device) checkpoint(typ string, c store.Checkpoint) (string, error) {
	c.Signed = ""
	return d.witness.sign(typ, struct {
		Issuer string `json:"iss"`
		store.Checkpoint
	}{issuer, c})
}

// WitnessKey checks receipts and checkpoints.
func (d *Device) WitnessKey() jose.JSONWebKey {
	return jose.JSONWebKey{Key: d.witness.key.Public(), KeyID: witnessKeyID, Algorithm: string(jose.EdDSA), Use: "sig"}
}
