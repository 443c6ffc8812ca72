package board

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrKey: a file holds no pairing key.
var ErrKey = errors.New("no pairing key: it is a line of 64 hexadecimal digits")

// NewKey makes a pairing key.
func NewKey() ([]byte, error) {
	key := make([]byte, KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	return key, nil
}

// ParseKey reads what FormatKey writes. Keys that a board refuses, all zeros
// and all ones, are refused here, too.
func ParseKey(text []byte) ([]byte, error) {
	text = bytes.TrimSpace(text)
	key := make([]byte, KeySize)
	if len(text) != 2*KeySize {
		return nil, fmt.Errorf("board: %w", ErrKey)
	}
	_, err := hex.Decode(key, text)
	if err != nil || bytes.Count(key, []byte{0}) == KeySize || bytes.Count(key, []byte{0xFF}) == KeySize {
		clear(key)
		return nil, fmt.Errorf("board: %w", ErrKey)
	}
	return key, nil
}

// FormatKey is the text of a key file. The caller wipes it.
func FormatKey(key []byte) []byte {
	return append(hex.AppendEncode(nil, key), '\n')
}
