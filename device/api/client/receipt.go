package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Erasure is what a receipt states, in the order in which it is signed.
type Erasure struct {
	At        time.Time `json:"at"`
	Audit     uint64    `json:"audit"`     // number of the audit entry
	Compacted bool      `json:"compacted"` // the file was written anew without the person's bytes
	Erased    string    `json:"erased"`    // id of who was forgotten
	Issuer    string    `json:"iss"`
	KeyMoved  bool      `json:"key_moved"` // old copies of the vault open for nobody
	Searched  bool      `json:"searched"`  // the whole file, and nothing was found
	Templates int       `json:"templates"` // how many became unreadable
}

// Finished tells whether, when the receipt was signed, nothing of the erasure
// was left to do.
func (e Erasure) Finished() bool { return e.Compacted && e.Searched }

// ErrReceipt is wrapped when a receipt is not what a device signed.
var ErrReceipt = errors.New("this is no receipt of that device")

// maxReceipt bounds a receipt, in bytes; one has some 400.
const maxReceipt = 4 << 10

// VerifyReceipt reads the receipt of an erasure and checks it with the device's
// witness key, of /v1/keys or kept from when it was set up.
func VerifyReceipt(r io.Reader, witness OKP) (Erasure, error) {
	return verifyReceipt(r, witness, "faceprint-erasure+jwt", func(e Erasure) error {
		if e.Erased == "" || e.Audit == 0 || e.At.IsZero() {
			return errors.New("it does not state an erasure")
		}
		return nil
	})
}

// Agreement is what a receipt of consent states, in the order in which it is
// signed.
type Agreement struct {
	Agreed    time.Time `json:"agreed"`
	Audit     uint64    `json:"audit"` // number of the audit entry of the enrolment
	Issuer    string    `json:"iss"`
	Longest   string    `json:"kept_longest,omitempty"` // after the first enrolment, as time.ParseDuration reads it; empty: no limit
	Unused    string    `json:"kept_unused,omitempty"`  // after they were last let in
	Language  string    `json:"language,omitempty"`     // of the text
	Person    string    `json:"person"`                 // their id
	Purpose   string    `json:"purpose"`
	Templates []string  `json:"templates"` // kinds, and which finger
	Text      string    `json:"text"`      // its version
	Digest    string    `json:"text_sha256,omitempty"`
	Witness   string    `json:"witness,omitempty"`
}

// VerifyAgreement is VerifyReceipt for the receipt of a consent.
func VerifyAgreement(r io.Reader, witness OKP) (Agreement, error) {
	return verifyReceipt(r, witness, "faceprint-consent+jwt", func(a Agreement) error {
		if a.Person == "" || a.Text == "" || a.Audit == 0 || a.Agreed.IsZero() || a.Purpose == "" || a.Templates == nil {
			return errors.New("it does not state a consent")
		}
		return nil
	})
}

func verifyReceipt[T any](r io.Reader, witness OKP, typ string, check func(T) error) (said T, err error) {
	wrong := func(why error) (T, error) { return *new(T), fmt.Errorf("%w: %w", why, ErrReceipt) }
	text, err := io.ReadAll(io.LimitReader(r, maxReceipt+1))
	if err != nil {
		return said, fmt.Errorf("a receipt: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) == 0 || len(text) > maxReceipt {
		return wrong(errors.New("it is empty, or far too long"))
	}
	claims, err := VerifyStatement(string(text), typ, witness)
	if err != nil {
		return wrong(err)
	}
	if err := strict(claims, &said); err != nil {
		return wrong(fmt.Errorf("it states something else: %w", err))
	}
	// The device writes one form only: a field that is missing is no false.
	if again, err := json.Marshal(said); err != nil || !bytes.Equal(again, claims) {
		return wrong(errors.New("it is not in the form that a device writes"))
	}
	if err := check(said); err != nil {
		return wrong(err)
	}
	return said, nil
}
