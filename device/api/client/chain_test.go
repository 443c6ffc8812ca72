package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// exported makes an export of n entries after one, signed at the end.
func exported(t testing.TB, first, n int) (text []byte, key OKP) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	key = OKP{Kty: "OKP", Crv: "Ed25519", X: base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))}
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	signed := func(typ string, seq uint64, hash string) Checkpoint {
		c := Checkpoint{Seq: seq, Hash: hash, At: at}
		claims, err := json.Marshal(map[string]any{"iss": "faceprint", "seq": seq, "hash": hash, "at": at})
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		body := b64([]byte(`{"alg":"EdDSA","typ":"`+typ+`"}`)) + "." + b64(claims)
		c.Signed = body + "." + b64(ed25519.Sign(private, []byte(body)))
		return c
	}
	var b bytes.Buffer
	put := func(line []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	prev := strings.Repeat("0", 64)
	if first > 1 {
		prev = strings.Repeat("ab", 32)
		put(signed("faceprint-base+jwt", uint64(first-1), prev).Line())
	}
	for i := range n {
		line, err := Entry{Seq: uint64(first + i), At: at, Kind: "authenticate", Outcome: "refused", Reasons: []string{"face-no-match"}, Scores: map[string]float64{"face": 0.25}, Prev: prev}.Line()
		put(bytes.Clone(line), err)
		sum := sha256.Sum256(line)
		prev = hex.EncodeToString(sum[:])
	}
	put(signed("faceprint-checkpoint+jwt", uint64(first+n-1), prev).Line())
	return b.Bytes(), key
}

func TestExportIsVerified(t *testing.T) {
	for _, first := range []int{1, 21} {
		text, key := exported(t, first, 5)
		v, err := VerifyExport(bytes.NewReader(text), &key)
		if err != nil || !v.Signed || v.Entries != 5 || v.First != uint64(first) || v.Last != uint64(first+4) {
			t.Errorf("%+v, %v", v, err)
		}
		if v, err := VerifyExport(bytes.NewReader(text), nil); err != nil || v.Signed {
			t.Errorf("without a key: %+v, %v", v, err)
		}
		for at := range text { // not one byte may change
			changed := bytes.Clone(text)
			changed[at] ^= 0x01
			if _, err := VerifyExport(bytes.NewReader(changed), &key); err == nil {
				t.Fatalf("byte %d changed: %q", at, changed[max(0, at-20):min(len(changed), at+20)])
			}
		}
		lines := strings.SplitAfter(string(text), "\n")
		for i := range len(lines) - 1 {
			cut := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
			if _, err := VerifyExport(strings.NewReader(cut), &key); !errors.Is(err, ErrChain) {
				t.Errorf("line %d left out: %v", i, err)
			}
		}
		other := key
		other.X = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		if _, err := VerifyExport(bytes.NewReader(text), &other); !errors.Is(err, ErrChain) {
			t.Errorf("another device's key: %v", err)
		}
	}
}

// What can be made of whole exports without the key: no part of one, and no two
// of them, pass for an export with fewer entries.
func TestExportThatWasCutIsRefused(t *testing.T) {
	lines := func(first, n int) ([]string, OKP) {
		text, key := exported(t, first, n)
		all := strings.SplitAfter(string(text), "\n")
		return all[:len(all)-1], key
	}
	short, key := lines(1, 2)
	long, _ := lines(1, 5) // the same device, later
	pruned, _ := lines(21, 3)
	for name, made := range map[string][]string{
		"nothing":                       {},
		"the end alone":                 long[5:],
		"the end twice":                 {long[5], long[5]},
		"the end again":                 append(append([]string{}, long...), long[5]),
		"on after an end":               append(append([]string{}, short...), long[2:]...),
		"the end of one as a base":      append([]string{short[2]}, long[2:]...),
		"the base alone":                pruned[:1],
		"the base as an end":            {pruned[0], pruned[0]},
		"the end of a pruned one alone": pruned[4:],
	} {
		text := strings.Join(made, "")
		if v, err := VerifyExport(strings.NewReader(text), &key); !errors.Is(err, ErrChain) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		switch name {
		case "the end of one as a base", "the end twice", "the base as an end":
			continue // without a key nobody can tell
		}
		if v, err := VerifyExport(strings.NewReader(text), nil); !errors.Is(err, ErrChain) {
			t.Errorf("%s, without a key: %+v, %v", name, v, err)
		}
	}
	// Nothing was cut off of what has no entries.
	for _, first := range []int{1, 21} {
		text, key := exported(t, first, 0)
		if v, err := VerifyExport(bytes.NewReader(text), &key); err != nil || !v.Signed || v.Entries != 0 {
			t.Errorf("a chain without entries: %+v, %v", v, err)
		}
	}
}

func FuzzExport(f *testing.F) {
	text, key := exported(f, 1, 2)
	f.Add(text)
	text, _ = exported(f, 9, 1)
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := VerifyExport(bytes.NewReader(b), &key)
		if err == nil && (!v.Signed || v.Last+1 < v.First) {
			t.Fatalf("%+v of %q", v, b)
		}
		if _, err := VerifyStatement(string(b), "x", key); err == nil {
			t.Fatalf("%q is taken for signed", b)
		}
	})
}
