package client

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// An export of the audit chain is JSON Lines: where older entries were pruned
// the checkpoint that the chain begins with (signed as that), then one entry a
// line in the form that is hashed, and last, once, a checkpoint of the end. That
// of a chain without entries is of entry 0.

// line is an Entry as the chain hashes it.
type line struct {
	Seq     uint64             `json:"seq"`
	At      time.Time          `json:"at"`
	Kind    string             `json:"kind"`
	User    string             `json:"user,omitempty"`
	Outcome string             `json:"outcome"`
	Reasons []string           `json:"reasons,omitempty"`
	Scores  map[string]float64 `json:"scores,omitempty"`
	Times   int                `json:"times,omitempty"`
	Prev    string             `json:"prev"`
}

// Line is the entry in the form that the chain hashes, without a line break.
func (e Entry) Line() ([]byte, error) { return json.Marshal(line(e)) }

// checkpointLine tells a checkpoint from an entry.
type checkpointLine struct {
	Checkpoint *Checkpoint `json:"checkpoint"`
}

// Line is the checkpoint as a line of an export.
func (c Checkpoint) Line() ([]byte, error) { return json.Marshal(checkpointLine{&c}) }

// ErrChain is wrapped when an export is not what a device wrote.
var ErrChain = errors.New("the chain is broken")

// Verified tells what an export was found to be.
type Verified struct {
	First   uint64 `json:"first"` // number of the first entry
	Last    uint64 `json:"last"`
	Head    string `json:"head"`   // hash of the last entry
	Signed  bool   `json:"signed"` // whether the witness key signed the end
	Entries int    `json:"entries"`
}

// maxLine bounds one line of an export, in bytes.
const maxLine = 256 << 10

// VerifyExport reads an export and checks that every entry follows from the one
// before and that its checkpoints fit. With a witness key, of the device's
// /v1/keys or kept from when it was set up, the checkpoints must be signed with
// it, the last line must be one, and so must the first where entry 1 is missing.
func VerifyExport(r io.Reader, witness *OKP) (v Verified, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n, ended := 0, false
	wrong := func(format string, a ...any) (Verified, error) {
		return v, fmt.Errorf("line %d: %s: %w", n, fmt.Sprintf(format, a...), ErrChain)
	}
	for lines.Scan() {
		n++
		b := lines.Bytes()
		if ended {
			return wrong("it goes on after its end")
		}
		if bytes.HasPrefix(b, []byte(`{"checkpoint":`)) {
			var c checkpointLine
			if err := strict(b, &c); err != nil || c.Checkpoint == nil {
				return wrong("it is no checkpoint: %v", err)
			}
			typ := typeCheckpoint
			ended = true
			if n == 1 && c.Checkpoint.Seq > 0 {
				typ, ended = typeBase, false
			}
			if n == 1 {
				v.First, v.Last, v.Head = c.Checkpoint.Seq+1, c.Checkpoint.Seq, c.Checkpoint.Hash
			}
			if c.Checkpoint.Seq != v.Last || c.Checkpoint.Hash != v.Head {
				return wrong("the checkpoint is of entry %d, which is not the one before", c.Checkpoint.Seq)
			}
			if witness != nil {
				if err := c.Checkpoint.verify(typ, *witness); err != nil {
					return wrong("%v", err)
				}
				v.Signed = ended
			}
			continue
		}
		var e line
		if err := strict(b, &e); err != nil {
			return wrong("it is no entry: %v", err)
		}
		if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, b) {
			return wrong("it is not in the form that the device writes")
		}
		if n == 1 {
			v.First, v.Head = e.Seq, e.Prev
			v.Last = e.Seq - 1
			if e.Seq != 1 && witness != nil {
				return wrong("it begins with entry %d and without the signed checkpoint of the one before, so entries may have been cut off", e.Seq)
			}
			if e.Seq == 1 && strings.Trim(e.Prev, "0") != "" {
				return wrong("the first entry names one before it")
			}
		}
		if e.Seq != v.Last+1 || e.Prev != v.Head {
			return wrong("entry %d does not follow entry %d", e.Seq, v.Last)
		}
		sum := sha256.Sum256(b)
		v.Last, v.Head = e.Seq, hex.EncodeToString(sum[:])
		v.Entries++
	}
	if err := lines.Err(); err != nil {
		return v, fmt.Errorf("line %d: %w: %w", n+1, err, ErrChain)
	}
	if v.Entries == 0 && !ended {
		return v, fmt.Errorf("it is empty: %w", ErrChain)
	}
	if witness != nil && !ended {
		return v, fmt.Errorf("it has no signed end, so entries may have been cut off: %w", ErrChain)
	}
	return v, nil
}

func strict(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more on the line")
	}
	return nil
}

// Types of what the witness key states of the chain. Where it begins and where
// it ended are told apart: the end of one export is no beginning of another.
const (
	typeBase       = "faceprint-base+jwt"
	typeCheckpoint = "faceprint-checkpoint+jwt"
)

// verify checks that the witness key states the checkpoint, as one of the type.
func (c Checkpoint) verify(typ string, key OKP) error {
	text, err := VerifyStatement(c.Signed, typ, key)
	if err != nil {
		return err
	}
	var said Checkpoint
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("a checkpoint: %w", err)
	}
	if said.Seq != c.Seq || said.Hash != c.Hash || !said.At.Equal(c.At) {
		return errors.New("the signature is of another checkpoint")
	}
	return nil
}

// VerifyStatement checks a compact JWS (EdDSA) of the type with the device's
// witness key and returns what it states.
func VerifyStatement(text, typ string, key OKP) ([]byte, error) {
	public, err := base64.RawURLEncoding.DecodeString(key.X)
	if err != nil || key.Crv != "Ed25519" || len(public) != ed25519.PublicKeySize {
		return nil, errors.New("the witness key is no Ed25519 key")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("it is not signed")
	}
	var raw [3][]byte
	for i, p := range parts {
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return nil, errors.New("the signature is no compact JWS")
		}
	}
	var header struct{ Alg, Typ string }
	if err := json.Unmarshal(raw[0], &header); err != nil || header.Alg != "EdDSA" || header.Typ != typ {
		return nil, fmt.Errorf("it is signed as %q %q, not as EdDSA %q", header.Alg, header.Typ, typ)
	}
	if !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), raw[2]) {
		return nil, errors.New("the signature is not by this device's witness key")
	}
	return raw[1], nil
}
