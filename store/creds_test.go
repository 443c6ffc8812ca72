package store

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCredentialOfSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-creds"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	c := Creds(filepath.Join(dir, "device.cred"))
	made, err := c.Make()
	if err != nil && os.Geteuid() != 0 {
		t.Skipf("not root: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Key(); err != nil || !bytes.Equal(got, made) {
		t.Fatalf("%x, %v; want %x", got, err, made)
	}
	if b, err := os.ReadFile(string(c)); err != nil || bytes.Contains(b, made) {
		t.Fatalf("the file holds the key, %v", err)
	}
	if s := c.String(); !strings.Contains(s, "a thief with the card") {
		t.Errorf("status says %q", s)
	}
	v, _ := filled(t)
	before := v.whole(t)
	if err := errors.Join(v.MoveKey(c), v.Rotate(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(v.path, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	v.Store = s
	if got := unaudited(v.whole(t), "move-key", "rotate-keys"); got != before {
		t.Errorf("after:\n%s\nbefore:\n%s", got, before)
	}

	// What systemd decrypted for the unit is taken as it is.
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	write(t, filepath.Join(dir, credName), bytes.Repeat([]byte{1}, KeySize))
	if got, err := c.Key(); err != nil || got[0] != 1 {
		t.Fatalf("%x, %v", got, err)
	}
}
