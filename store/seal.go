package store

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of the device key and of a person's data key, in bytes.
const KeySize = chacha20poly1305.KeySize

// KeySource holds the device key.
type KeySource interface {
	// Key returns the key, KeySize bytes. The caller wipes it.
	Key() ([]byte, error)
	// String says where the key is and what that protects against, for status.
	String() string
}

// KeyFile is a device key in a file that only its owner can read. Whoever has
// the card has the key: it protects a copy of the vault, not a stolen device.
type KeyFile string

// String says so plainly.
func (f KeyFile) String() string {
	return fmt.Sprintf("key on disk (%s): a thief with the card can read the templates", string(f))
}

// Key reads the key; it makes one where there is no file yet.
func (f KeyFile) Key() ([]byte, error) {
	info, err := os.Lstat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return f.create()
	}
	if err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	if err := private(string(f), info); err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	key, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	if len(key) != KeySize {
		n := len(key)
		clear(key)
		return nil, fmt.Errorf("store: device key %s has %d bytes, not %d; restore it from where you keep it: %w", string(f), n, KeySize, ErrKey)
	}
	return key, nil
}

// create makes the file whole or not at all, and durable: a vault must never
// be sealed with a key that a power cut takes away.
func (f KeyFile) create() ([]byte, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	dir := filepath.Dir(string(f))
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err == nil {
		_, err = tmp.Write(key)
		err = errors.Join(err, tmp.Sync(), tmp.Close())
		if err == nil {
			err = os.Link(tmp.Name(), string(f)) // fails where somebody was faster
		}
		err = errors.Join(err, os.Remove(tmp.Name()), syncDir(dir))
	}
	if err != nil {
		clear(key)
		return nil, fmt.Errorf("store: cannot make the device key %s: %w: %w", string(f), ErrKey, err)
	}
	return key, nil
}

// private refuses what others could read or replace.
func private(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file (%v): %w", path, info.Mode(), ErrMode)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, others can open it; run `chmod 600 %s` and think about who had access: %w", path, perm, path, ErrMode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, not to uid %d that runs this: %w", path, st.Uid, os.Geteuid(), ErrMode)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newAEAD panics only on a key of the wrong size, which its callers rule out.
func newAEAD(key []byte) cipher.AEAD {
	a, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(err)
	}
	return a
}

// seal returns nonce and ciphertext of a value that stands under key in the
// bucket.
func seal(a cipher.AEAD, bucket, key, plain []byte) []byte {
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	rand.Read(nonce)
	return a.Seal(nonce, nonce, plain, place(bucket, key))
}

// Bounds of a place and of a sealed record, in bytes, that hold for everything
// that seal was ever given.
const (
	maxKey    = 1 << 10
	maxSealed = 2*MaxTemplate + 4<<10 // JSON makes a template's bytes longer by a third
)

// unseal opens what seal made for the same place.
func unseal(a cipher.AEAD, bucket, key, sealed []byte) ([]byte, error) {
	n := a.NonceSize()
	// A damaged page states lengths of gigabytes as readily as of bytes.
	if len(key) > maxKey || len(sealed) < n+a.Overhead() || len(sealed) > maxSealed {
		return nil, fmt.Errorf("store: %s/%.32x of %d bytes is no sealed record: %w", bucket, key, len(sealed), ErrCorrupt)
	}
	plain, err := a.Open(nil, sealed[:n], sealed[n:], place(bucket, key))
	if err != nil {
		return nil, fmt.Errorf("store: %s/%x does not open under its key; it was damaged or moved: %w", bucket, key, ErrCorrupt)
	}
	return plain, nil
}

// place is the associated data: the bucket's name is never empty and holds no
// zero byte, so two places never look alike.
func place(bucket, key []byte) []byte {
	return append(append(append([]byte("faceprint/1\x00"), bucket...), 0), key...)
}
