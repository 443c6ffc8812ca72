package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Creds is a device key in a file that systemd-creds(1) encrypted, with the
// host's own secret and, where there is one, its TPM 2.0. A unit that names it
// in LoadCredentialEncrypted=device-key:FILE gets it without being root.
type Creds string

// credName is the credential's name: systemd binds it into the file.
const credName = "device-key"

// Key types in the first 16 bytes of such a file (systemd creds-util.c).
var (
	credHost    = []byte{0x5a, 0x1c, 0x6a, 0x86, 0xdf, 0x9d, 0x40, 0x96, 0xb1, 0xd5, 0xa6, 0x5e, 0x08, 0x62, 0xf1, 0x9a}
	credTPM     = []byte{0x0c, 0x7c, 0xc0, 0x7b, 0x11, 0x76, 0x45, 0x91, 0x9c, 0x4b, 0x0b, 0xea, 0x08, 0xbc, 0x20, 0xfe}
	credHostTPM = []byte{0x93, 0xa8, 0x94, 0x09, 0x48, 0x74, 0x44, 0x90, 0x90, 0xca, 0xf2, 0xfc, 0x93, 0xca, 0xb5, 0x53}
)

// String says what the file is bound to, and where that is not known says the
// worst.
func (c Creds) String() string {
	head := make([]byte, 24)
	if f, err := os.Open(string(c)); err == nil {
		_, _ = io.ReadFull(f, head)
		f.Close()
	}
	kind, _ := base64.StdEncoding.DecodeString(string(head))
	switch {
	case bytes.HasPrefix(kind, credTPM), bytes.HasPrefix(kind, credHostTPM):
		return fmt.Sprintf("key sealed by systemd-creds with the TPM (%s): a thief with the card alone cannot read the templates; one with the whole device can", string(c))
	case bytes.HasPrefix(kind, credHost):
		return fmt.Sprintf("key on disk, encrypted by systemd-creds with a secret of the same disk (%s): a thief with the card can read the templates", string(c))
	}
	return fmt.Sprintf("key kept by systemd-creds (%s): where the host has no TPM, a thief with the card can read the templates", string(c))
}

// Key decrypts it, or takes what systemd decrypted for the unit.
func (c Creds) Key() ([]byte, error) {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		key, err := os.ReadFile(filepath.Join(dir, credName))
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("store: credential %s: %w: %w", credName, ErrKey, err)
		}
	}
	return c.decrypt(string(c))
}

func (c Creds) decrypt(file string) ([]byte, error) {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: there is no credential %s; restore it from where you keep it: %w: %w", file, ErrKey, ErrNotFound)
	}
	key, err := systemdCreds(nil, "decrypt", "--name="+credName, file, "-")
	if err != nil {
		return nil, fmt.Errorf("store: credential %s: %w: %w", file, ErrKey, err)
	}
	return key, nil
}

// Make encrypts a fresh key with what systemd-creds thinks best.
func (c Creds) Make() ([]byte, error) {
	if _, err := os.Lstat(string(c)); err == nil {
		return nil, fmt.Errorf("store: there is a credential %s already: %w", string(c), ErrExists)
	}
	return c.encrypt(string(c))
}

func (c Creds) next() string { return string(c) + ".next" }

// Prepare encrypts the next key beside the file.
func (c Creds) Prepare() ([]byte, error) { return c.encrypt(c.next()) }

// Prepared decrypts it.
func (c Creds) Prepared([]byte) ([]byte, error) { return c.decrypt(c.next()) }

// IsPrepared decrypts it as well.
func (c Creds) IsPrepared(id []byte) (bool, error) { return isKey(c.Prepared, id) }

// Promote puts it in the place of the one in use.
func (c Creds) Promote() error {
	if err := errors.Join(os.Rename(c.next(), string(c)), syncDir(filepath.Dir(string(c)))); err != nil {
		return fmt.Errorf("store: credential: %w: %w", ErrKey, err)
	}
	return nil
}

// Destroy removes the file, after the vault was moved to another key.
func (c Creds) Destroy() error {
	if err := errors.Join(os.Remove(string(c)), syncDir(filepath.Dir(string(c)))); err != nil {
		return fmt.Errorf("store: credential: %w: %w", ErrKey, err)
	}
	return nil
}

func (c Creds) encrypt(file string) ([]byte, error) {
	key := newKey()
	sealed, err := systemdCreds(key, "encrypt", "--name="+credName, "-", "-")
	if err == nil {
		err = writeWhole(file, sealed)
	}
	if err != nil {
		clear(key)
		return nil, fmt.Errorf("store: credential %s: %w: %w", file, ErrKey, err)
	}
	return key, nil
}

func systemdCreds(stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("systemd-creds", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	root := os.Geteuid() == 0
	if !root && os.Getuid() == 0 { // root that became the vault's owner
		root = true
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{NoSetGroups: true}}
	}
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.Output()
	if err != nil {
		clear(out)
		err = fmt.Errorf("systemd-creds %s: %w: %s", args[0], err, strings.TrimSpace(trouble.String()))
		if !root {
			err = fmt.Errorf("%w; up to systemd 255 it works for root alone: run 'vault' commands as root, and give the daemon's unit LoadCredentialEncrypted=%s:FILE", err, credName)
		}
		return nil, err
	}
	return out, nil
}

// writeWhole replaces a file, durably, whole or not at all.
func writeWhole(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".whole-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}
