package firmware

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// DevelopmentKey signs images for boards on the desk. It is no secret: a
// production loader refuses what it signs.
func DevelopmentKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{'F'}, ed25519.SeedSize))
}

// ErrKey: a file holds no key of the kind that is needed.
var ErrKey = errors.New("no Ed25519 key: it is 64 hexadecimal digits, or PEM as openssl writes it")

// ParsePrivate reads a signing key: its seed as 64 hexadecimal digits, or
// PKCS #8 in PEM (openssl genpkey -algorithm ed25519).
func ParsePrivate(text []byte) (ed25519.PrivateKey, error) {
	if block, _ := pem.Decode(text); block != nil {
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := k.(ed25519.PrivateKey); err == nil && ok {
			return key, nil
		}
		return nil, fmt.Errorf("firmware: %w", ErrKey)
	}
	seed, err := hex32(text)
	if err != nil {
		return nil, err
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}

// ParsePublic reads a public key: 64 hexadecimal digits, or PEM (openssl pkey
// -pubout).
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(text); block != nil {
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if key, ok := k.(ed25519.PublicKey); err == nil && ok {
			return notSmall(key)
		}
		return nil, fmt.Errorf("firmware: %w", ErrKey)
	}
	key, err := hex32(text)
	if err != nil {
		return nil, err
	}
	return notSmall(key)
}

// small are the points of order 1, 2, 4 and 8 as public keys, with those spellings that
// are not reduced and with the sign bit cleared: the same as in boot/order.c.
var small = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// notSmall refuses the keys for which anybody can sign, as every board does.
func notSmall(key ed25519.PublicKey) (ed25519.PublicKey, error) {
	y := bytes.Clone(key)
	y[31] &= 0x7F
	if slices.Contains(small, hex.EncodeToString(y)) {
		return nil, fmt.Errorf("firmware: anybody can sign for this key, it is of small order, and no board takes it: %w", ErrKey)
	}
	return key, nil
}

func hex32(text []byte) ([]byte, error) {
	b := make([]byte, 32)
	text = bytes.TrimSpace(text)
	if n, err := hex.Decode(b[:min(len(b), len(text)/2)], text[:min(2*len(b), len(text))]); err != nil || n != len(b) || len(text) != 2*len(b) {
		clear(b)
		return nil, fmt.Errorf("firmware: %w", ErrKey)
	}
	return b, nil
}
