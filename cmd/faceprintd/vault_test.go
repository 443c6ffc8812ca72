package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
				code = vaultCommand(Config{Store: c}, []string{"rekey", "--from", "file:" + string(from)}, &b, &b)
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
