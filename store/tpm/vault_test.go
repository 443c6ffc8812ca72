package tpm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/faceprint/faceprint/store"
)

// enrolled puts n people into a vault.
func enrolled(t *testing.T, v *store.Store, at time.Time, n int) []store.UserID {
	t.Helper()
	ids := make([]store.UserID, n)
	if err := v.Update(func(tx *store.Tx) error {
		for i := range ids {
			ids[i] = store.NewUserID()
			if err := tx.AddPerson(store.Person{ID: ids[i], Name: "n", Created: at, Consent: store.Consent{At: at, TextVersion: "1"}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// A vault with a key that was prepared and not used, as a full disk leaves it,
// and what it was before the device key moved on: the file, and a backup.
func leftPrepared(t *testing.T) (path string, k Key, old, backup []byte, operator string) {
	t.Helper()
	k = startTPM(t).key(t)
	path = filepath.Join(t.TempDir(), "vault.db")
	v, err := store.Open(path, k, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := enrolled(t, v, noon, 3)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.Backup(store.BackupKeys{Operator: []string{id.Recipient().String()}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	backup, err = io.ReadAll(b)
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if old, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Forget(ids[0], noon); err != nil || !r.KeyMoved {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := os.MkdirAll(path+".compact/x", 0o700); err != nil { // stands for the full disk
		t.Fatal(err)
	}
	if r, err := v.Forget(ids[1], noon); err == nil || r.Audit == 0 || r.Compacted {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := os.Lstat(k.next()); err != nil {
		t.Fatalf("no key was prepared: %v", err)
	}
	if err := errors.Join(v.Close(), os.RemoveAll(path+".compact")); err != nil {
		t.Fatal(err)
	}
	return path, k, old, backup, id.String()
}

func wantOpens(t *testing.T, path string, k Key) {
	t.Helper()
	v, err := store.Open(path, k, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.View(func(tx *store.Tx) error {
		users, err := tx.Users()
		if len(users) != 1 {
			t.Errorf("%d people are left, want 1", len(users))
		}
		return errors.Join(err, tx.Verify())
	}), v.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedRestoreCostsNothing(t *testing.T) {
	path, k, _, backup, operator := leftPrepared(t)
	for range 2 { // by the key, which the backup is not sealed with any more
		_, err := store.Restore(t.Context(), path, k, bytes.NewReader(backup), store.RestoreOptions{
			Operator: strings.NewReader(operator), Replace: true, At: time.Now().UTC(),
		})
		wantErr(t, err, store.ErrKey, "needs the owner's recovery key")
	}
	wantOpens(t, path, k)
}

// The last step of a restore fails: neither the epoch nor the starts moved on.
func TestRestoreThatFailsLateCostsNothing(t *testing.T) {
	path, k, _, _, operator := leftPrepared(t)
	v, err := store.Open(path, k, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(operator)
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.Backup(store.BackupKeys{Operator: []string{id.Recipient().String()}}, time.Now().UTC())
	if err != nil {
		t.Fatal(err)
	}
	backup, err := io.ReadAll(b)
	if err = errors.Join(err, b.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(path + ".head")
	if err == nil {
		err = errors.Join(os.Remove(path+".head"), os.MkdirAll(path+".head/x", 0o700)) // cannot be removed
	}
	if err != nil {
		t.Fatal(err)
	}
	restore := func() error {
		_, err := store.Restore(t.Context(), path, k, bytes.NewReader(backup), store.RestoreOptions{
			Operator: strings.NewReader(operator), Replace: true, WithoutForgotten: true, At: time.Now().UTC(),
		})
		return err
	}
	if err := restore(); err == nil {
		t.Fatal("restored over a folder")
	}
	if err := errors.Join(os.RemoveAll(path+".head"), os.WriteFile(path+".head", head, 0o600)); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, path, k)
	starts, err := k.Count()
	if err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil { // and one that does not fail counts as a start
		t.Fatal(err)
	}
	if n, err := k.Count(); err != nil || n != starts+1 {
		t.Errorf("%d starts after %d, %v", n, starts, err)
	}
	wantOpens(t, path, k)
}

func TestOldCopyOfTheVaultCostsNothing(t *testing.T) {
	path, k, old, _, _ := leftPrepared(t)
	now, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, old, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = store.Open(path, k, store.Options{Accept: true})
		wantErr(t, err, store.ErrKey, "another key")
	}
	if err := os.WriteFile(path, now, 0o600); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, path, k)
}
