package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySource holds the device key: 32 bytes that wrap the vault's own root key
// and nothing else, so that the device key can be replaced, or kept elsewhere,
// without writing the vault anew.
type KeySource interface {
	// Key returns the key, KeySize bytes. The caller wipes it. It wraps
	// ErrNotFound where none was made yet.
	Key() ([]byte, error)
	// Make makes the key, durably; it fails where there is one.
	Make() ([]byte, error)
	// String says where the key is and what that protects against, for status.
	String() string
}

// Rotator is a KeySource that can replace its key. The vault is sealed with the
// prepared key between Prepare and Promote, so that a power cut at any moment
// leaves a key that opens it.
type Rotator interface {
	KeySource
	// Prepare makes a fresh key durable beside the one in use and returns it.
	// One that was prepared before and not promoted is dropped.
	Prepare() ([]byte, error)
	// Prepared returns the key that Prepare left; ErrNotFound where there is
	// none. A source that cannot have both gives the key in use up for it, and
	// so only where the prepared key's KeyID is id: a vault that names it is
	// there. id is nil for a vault that was sealed before keys had names.
	Prepared(id []byte) ([]byte, error)
	// IsPrepared tells whether the prepared key is the one of that KeyID. It
	// changes nothing.
	IsPrepared(id []byte) (bool, error)
	// Promote makes the prepared key the one in use and destroys the other.
	Promote() error
}

// keyIDSize and sealedRootSize are in bytes; a seal is nonce, key and tag.
const (
	keyIDSize      = 16
	sealedRootSize = chacha20poly1305.NonceSizeX + KeySize + chacha20poly1305.Overhead
)

// KeyID names a device key without telling anything of it.
func KeyID(key []byte) []byte {
	h := sha256.New()
	h.Write([]byte("faceprint device key\x00"))
	h.Write(key)
	return h.Sum(nil)[:keyIDSize]
}

// Counter is a KeySource with a counter that nobody can set back, such as a
// TPM's. The vault counts its starts with it, so that an old copy of the card
// does not start.
type Counter interface {
	Count() (uint64, error)
	Advance() error // by one
}

// KeyFile is a device key in a file that only its owner can read. Whoever has
// the card has the key: it protects a copy of the vault, not a stolen device.
type KeyFile string

// String says so plainly.
func (f KeyFile) String() string {
	return fmt.Sprintf("key on disk (%s): a thief with the card can read the templates", string(f))
}

// Key reads the key.
func (f KeyFile) Key() ([]byte, error) { return readKey(string(f)) }

// Make makes the file whole or not at all, and durable: a vault must never be
// sealed with a key that a power cut takes away.
func (f KeyFile) Make() ([]byte, error) {
	key, tmp, err := f.fresh()
	if err == nil {
		err = os.Link(tmp, string(f)) // fails where somebody was faster
		err = errors.Join(err, os.Remove(tmp), syncDir(filepath.Dir(string(f))))
	}
	if err != nil {
		clear(key)
		return nil, fmt.Errorf("store: cannot make the device key %s: %w: %w", string(f), ErrKey, err)
	}
	return key, nil
}

func (f KeyFile) next() string { return string(f) + ".next" }

// Prepare writes the next key beside the file.
func (f KeyFile) Prepare() ([]byte, error) {
	key, tmp, err := f.fresh()
	if err == nil {
		err = errors.Join(os.Rename(tmp, f.next()), syncDir(filepath.Dir(string(f))))
	}
	if err != nil {
		clear(key)
		return nil, fmt.Errorf("store: cannot prepare a device key: %w: %w", ErrKey, err)
	}
	return key, nil
}

// Prepared reads it; that costs the key in use nothing.
func (f KeyFile) Prepared([]byte) ([]byte, error) { return readKey(f.next()) }

// IsPrepared reads it as well.
func (f KeyFile) IsPrepared(id []byte) (bool, error) { return isKey(f.Prepared, id) }

// isKey tells whether get gives the key of that KeyID.
func isKey(get func([]byte) ([]byte, error), id []byte) (bool, error) {
	key, err := get(id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	defer clear(key)
	return err == nil && bytes.Equal(KeyID(key), id), err
}

// Promote puts it in the place of the key in use, whose bytes are overwritten
// first: on a flash card that is a hope, on a disk it helps.
func (f KeyFile) Promote() error {
	if _, err := os.Lstat(f.next()); err != nil {
		return fmt.Errorf("store: no key was prepared: %w: %w", ErrKey, err)
	}
	err := overwrite(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, os.Rename(f.next(), string(f)), syncDir(filepath.Dir(string(f))))
	if err != nil {
		return fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	return nil
}

// Destroy removes the key, after the vault was moved to another.
func (f KeyFile) Destroy() error {
	if err := errors.Join(overwrite(string(f)), os.Remove(string(f)), syncDir(filepath.Dir(string(f)))); err != nil {
		return fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	return nil
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(newKey(), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// fresh writes a new key to a file of its own, synced.
func (f KeyFile) fresh() (key []byte, tmp string, err error) {
	key = newKey()
	t, err := os.CreateTemp(filepath.Dir(string(f)), ".key-*") // mode 0600
	if err != nil {
		return key, "", err
	}
	_, err = t.Write(key)
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		err = errors.Join(err, os.Remove(t.Name()))
	}
	return key, t.Name(), err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: there is no device key %s; restore it from where you keep it: %w: %w", path, ErrKey, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	if err := private(path, info); err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("store: device key: %w: %w", ErrKey, err)
	}
	if len(key) != KeySize {
		n := len(key)
		clear(key)
		return nil, fmt.Errorf("store: device key %s has %d bytes, not %d; restore it from where you keep it: %w", path, n, KeySize, ErrKey)
	}
	return key, nil
}

// keyOf asks the source and refuses keys of another size.
func keyOf(get func() ([]byte, error)) ([]byte, error) {
	key, err := get()
	if err == nil && len(key) != KeySize {
		err = fmt.Errorf("store: the device key has %d bytes, not %d: %w", len(key), KeySize, ErrKey)
		clear(key)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}
