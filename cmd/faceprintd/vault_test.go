package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/faceprint/faceprint/store"
)

// A rekey that is cut off, before the file is written anew or before the old key
// is destroyed, is ended by the same command; another key is not destroyed by it.
func TestRekeyThatWasCutOffIsEndedByAnother(t *testing.T) {
	for name, rewritten := range map[string]bool{"before the rewriting": false, "before the old key is destroyed": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := storeConfig{File: filepath.Join(dir, "faceprint.db"), Key: "file", KeyFile: filepath.Join(dir, "new.key")}
			before := store.KeyFile(filepath.Join(dir, "device.key"))
			v, err := store.Open(c.File, before, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			inTheWay := c.File + ".compact"
			if !rewritten {
				if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.MoveKey(keySource(c)); (err == nil) != rewritten {
				t.Fatal(err)
			}
			if err := errors.Join(v.Close(), os.RemoveAll(inTheWay)); err != nil {
				t.Fatal(err)
			}
			other := store.KeyFile(filepath.Join(dir, "other.key"))
			key, err := other.Make()
			if err != nil {
				t.Fatal(err)
			}
			rekey := func(from store.KeyFile) (out string, code int) {
				var b bytes.Buffer
				code = vaultCommand(t.Context(), Config{Store: c}, []string{"rekey", "--from", "file:" + string(from)}, &b, &b)
				return b.String(), code
			}
			if out, code := rekey(other); code != 1 || !strings.Contains(out, "was sealed with another key") {
				t.Errorf("with a key that it never had: %d %s", code, out)
			}
			if again, err := other.Key(); err != nil || !bytes.Equal(again, key) {
				t.Errorf("that key was touched: %v", err)
			}
			if out, code := rekey(before); code != 0 || !strings.Contains(out, "moved; key on disk") {
				t.Fatalf("%d %s", code, out)
			}
			if _, err := os.Lstat(string(before)); !os.IsNotExist(err) {
				t.Errorf("the key of before is still there: %v", err)
			}
			if v, err = store.Open(c.File, keySource(c), store.Options{}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(v.View((*store.Tx).Verify), v.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A signal ends a vault command, also while it waits for a pipe: nothing was
// changed, nothing is left, and it says so.
func TestSignalEndsAVaultCommand(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			v, err := openStore(t.Context(), storeConfig{File: filepath.Join(dir, "faceprint.db"), Key: "file", KeyFile: filepath.Join(dir, "device.key")}, false)
			if err == nil {
				err = v.Close()
			}
			id, err2 := age.GenerateX25519Identity()
			pipe, key, config := filepath.Join(dir, "pipe"), filepath.Join(dir, "operator.txt"), filepath.Join(dir, "c.toml")
			if err := errors.Join(err, err2, syscall.Mkfifo(pipe, 0o600), os.WriteFile(key, []byte(id.String()), 0o600),
				os.WriteFile(config, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(filepath.Join(bin, "faceprintd"), "--config", config, "--dir", dir, "vault", "restore", pipe, "--identity", key, "--replace")
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when it is being read
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.WriteString("age-encryption.org/v1\n"); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "interrupted: "+sig.String()+" signal received; nothing was changed") {
				t.Errorf("%v: %s", err, said.String())
			}
			after, err := os.ReadDir(dir)
			if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("left %v, before %v, %v", after, before, err)
			}
		})
	}
}

// A wait for the writer of a pipe ends with the context, whichever comes first.
func TestPipeWithoutAWriterIsGivenUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := openIn(ctx, name); !errors.Is(err, store.ErrInterrupted) {
			t.Fatal(err)
		}
	}
}
