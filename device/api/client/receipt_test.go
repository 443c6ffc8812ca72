package client

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var b64 = base64.RawURLEncoding.EncodeToString

// receipt signs claims as a device whose key has that seed.
func receipt(seed byte, header, claims string) (text string, key OKP) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	body := b64([]byte(header)) + "." + b64([]byte(claims))
	return body + "." + b64(ed25519.Sign(private, []byte(body))), OKP{Kty: "OKP", Crv: "Ed25519", X: b64(private.Public().(ed25519.PublicKey))}
}

const receiptHeader = `{"alg":"EdDSA","kid":"witness","typ":"faceprint-erasure+jwt"}`

func erasureClaims(t testing.TB) (Erasure, string) {
	e := Erasure{
		At: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), Audit: 17, Compacted: true, Erased: "abcdefghijklmnop", Issuer: "faceprint", Searched: true, Templates: 3,
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return e, string(b)
}

func TestReceiptIsVerified(t *testing.T) {
	want, claims := erasureClaims(t)
	text, key := receipt(1, receiptHeader, claims)
	got, err := VerifyReceipt(strings.NewReader(text+"\n"), key)
	if err != nil || got != want || !got.Finished() {
		t.Fatalf("%+v, %v", got, err)
	}
	for at := range text { // not one byte may change, be left out or be doubled
		for _, bad := range []string{
			text[:at] + string(text[at]^1) + text[at+1:], text[:at] + text[at+1:], text[:at] + text[at:at+1] + text[at:], text[:at],
		} {
			if e, err := VerifyReceipt(strings.NewReader(bad), key); !errors.Is(err, ErrReceipt) || e != (Erasure{}) {
				t.Fatalf("changed at %d it is taken: %+v, %v", at, e, err)
			}
		}
	}
}

func TestForgedReceipts(t *testing.T) {
	_, claims := erasureClaims(t)
	_, key := receipt(1, receiptHeader, claims)
	sign := func(seed byte, header, claims string) string { text, _ := receipt(seed, header, claims); return text }
	good := strings.Split(sign(1, receiptHeader, claims), ".")
	for name, text := range map[string]string{
		"another device's":       sign(2, receiptHeader, claims),
		"of a checkpoint":        sign(1, strings.Replace(receiptHeader, "erasure", "checkpoint", 1), claims),
		"no algorithm":           sign(1, `{"alg":"none","typ":"faceprint-erasure+jwt"}`, claims),
		"symmetric":              sign(1, `{"alg":"HS256","typ":"faceprint-erasure+jwt"}`, claims),
		"unsigned":               good[0] + "." + good[1] + ".",
		"other claims, this sig": good[0] + "." + b64([]byte(strings.Replace(claims, `"templates":3`, `"templates":9`, 1))) + "." + good[2],
		"more claims":            sign(1, receiptHeader, strings.Replace(claims, "{", `{"name":"Alice",`, 1)),
		"fewer claims":           sign(1, receiptHeader, strings.Replace(claims, `"searched":true,`, "", 1)),
		"twice the same claim":   sign(1, receiptHeader, strings.Replace(claims, "{", `{"searched":false,`, 1)),
		"nobody":                 sign(1, receiptHeader, strings.Replace(claims, "abcdefghijklmnop", "", 1)),
		"no claims":              sign(1, receiptHeader, "{}"),
		"no JSON":                sign(1, receiptHeader, "erased"),
		"empty":                  "",
		"huge":                   strings.Repeat("a", 1<<20),
		"a page":                 "<html>",
	} {
		if e, err := VerifyReceipt(strings.NewReader(text), key); !errors.Is(err, ErrReceipt) || e != (Erasure{}) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for _, bad := range []OKP{{}, {Crv: "Ed25519", X: "AA"}, {Crv: "P-256", X: key.X}} {
		if _, err := VerifyReceipt(strings.NewReader(strings.Join(good, ".")), bad); !errors.Is(err, ErrReceipt) {
			t.Errorf("with the key %+v: %v", bad, err)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	_, claims := erasureClaims(f)
	text, key := receipt(1, receiptHeader, claims)
	f.Add([]byte(text), claims)
	f.Add([]byte(text[:20]), `{"iss":1}`)
	_, agreed := agreementClaims(f)
	f.Add([]byte(text), agreed)
	f.Fuzz(func(t *testing.T, b []byte, claims string) {
		if e, err := VerifyReceipt(bytes.NewReader(b), key); err == nil && string(bytes.TrimSpace(b)) != text {
			t.Fatalf("%q is taken for signed: %+v", b, e)
		}
		signed, _ := receipt(1, receiptHeader, claims)
		if e, err := VerifyReceipt(strings.NewReader(signed), key); err == nil {
			if again, _ := json.Marshal(e); string(again) != claims || e.Erased == "" {
				t.Fatalf("%q is taken for %+v", claims, e)
			}
		}
		signed, _ = receipt(1, agreementHeader, claims)
		if a, err := VerifyAgreement(strings.NewReader(signed), key); err == nil {
			if again, _ := json.Marshal(a); string(again) != claims || a.Person == "" {
				t.Fatalf("%q is taken for %+v", claims, a)
			}
		}
	})
}

const agreementHeader = `{"alg":"EdDSA","kid":"witness","typ":"faceprint-consent+jwt"}`

func agreementClaims(t testing.TB) (Agreement, string) {
	a := Agreement{
		Agreed: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), Audit: 17, Issuer: "faceprint", Unused: "26280h0m0s", Language: "ar", Person: "abcdefghijklmnop",
		Purpose: "to let the person in", Templates: []string{"face", "module right-index-finger"}, Text: "2026-12b", Digest: strings.Repeat("0f", 32), Witness: "kiosk",
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(b)
}

func TestConsentReceiptIsVerified(t *testing.T) {
	want, claims := agreementClaims(t)
	text, key := receipt(1, agreementHeader, claims)
	got, err := VerifyAgreement(strings.NewReader(text), key)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	_, erased := erasureClaims(t)
	sign := func(header, claims string) string { text, _ := receipt(1, header, claims); return text }
	for name, bad := range map[string]string{
		"of an erasure":           sign(receiptHeader, erased),
		"named an erasure":        sign(receiptHeader, claims),
		"an erasure's claims":     sign(agreementHeader, erased),
		"nobody":                  sign(agreementHeader, strings.Replace(claims, "abcdefghijklmnop", "", 1)),
		"to no text":              sign(agreementHeader, strings.Replace(claims, "2026-12b", "", 1)),
		"more claims":             sign(agreementHeader, strings.Replace(claims, "{", `{"name":"Alice",`, 1)),
		"changed":                 text[:len(text)-40] + "A" + text[len(text)-39:],
		"of nothing":              sign(agreementHeader, "{}"),
		"made of nothing":         sign(agreementHeader, strings.Replace(claims, `["face","module right-index-finger"]`, "null", 1)),
		"an order of another one": sign(agreementHeader, strings.Replace(claims, `"audit":17,"iss":"faceprint"`, `"iss":"faceprint","audit":17`, 1)),
	} {
		if a, err := VerifyAgreement(strings.NewReader(bad), key); !errors.Is(err, ErrReceipt) || !reflect.DeepEqual(a, Agreement{}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if _, err := VerifyReceipt(strings.NewReader(text), key); !errors.Is(err, ErrReceipt) {
		t.Errorf("it is taken for an erasure's: %v", err)
	}
}
