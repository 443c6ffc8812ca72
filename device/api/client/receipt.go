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
func VerifyReceipt(r io.Reader, witness OKP) (e Erasure, err error) {
	wrong := func(why error) (Erasure, error) { return Erasure{}, fmt.Errorf("%w: %w", why, ErrReceipt) }
	text, err := io.ReadAll(io.LimitReader(r, maxReceipt+1))
	if err != nil {
		return Erasure{}, fmt.Errorf("a receipt: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) == 0 || len(text) > maxReceipt {
		return wrong(errors.New("it is empty, or far too long"))
	}
	said, err := VerifyStatement(string(text), "faceprint-erasure+jwt", witness)
	if err != nil {
		return wrong(err)
	}
	if err := strict(said, &e); err != nil {
		return wrong(fmt.Errorf("it states something else: %w", err))
	}
	// The device writes one form only: a field that is missing is no false.
	if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, said) || e.Erased == "" || e.Audit == 0 || e.At.IsZero() {
		return wrong(errors.New("it does not state an erasure"))
	}
	return e, nil
}
