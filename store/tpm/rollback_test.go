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
	"go.etcd.io/bbolt"

	"github.com/faceprint/faceprint/store"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// card copies the vault and its head, all that is on it but the sealed key.
func card(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", ".head"} {
		b, err := os.ReadFile(from + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// onTPM is a vault of two people whose key is in a TPM, closed, and a path for a
// copy.
func onTPM(t *testing.T) (k Key, path, old string, ids []store.UserID) {
	t.Helper()
	k = startTPM(t).key(t)
	dir := t.TempDir()
	path, old = filepath.Join(dir, "vault.db"), filepath.Join(dir, "old.db")
	v := opened(t, path, k)
	ids = enrolled(t, v, noon, 2)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return k, path, old, ids
}

func opened(t *testing.T, path string, k store.KeySource) *store.Store {
	t.Helper()
	v, err := store.Open(path, k, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// disabled locks somebody out for good.
func disabled(t *testing.T, path string, k Key, id store.UserID) {
	t.Helper()
	v := opened(t, path, k)
	if err := errors.Join(v.Update(func(tx *store.Tx) error {
		return tx.SetLockout(id, store.Lockout{Failures: 50, Disabled: true, Last: noon})
	}), v.Close()); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, path string, k store.KeySource, want ...error) {
	t.Helper()
	v, err := store.Open(path, k, store.Options{})
	if err == nil {
		v.Close()
	}
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	t.Errorf("Open: %v, want %v", err, want)
}

// Whatever of the newer card stands beside what an old copy has, the key that
// moved on opens nothing of it.
func TestErasureIsNotUndoneByHalfACard(t *testing.T) {
	k, path, old, ids := onTPM(t)
	card(t, path, old)
	v := opened(t, path, k)
	if r, err := v.Forget(ids[0], noon); err != nil || !r.KeyMoved {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, newer := range [][]string{{"root/4"}, {"root/4", "starts", "state"}, {"root/4", "starts", "state", "head"}} {
		mixed := filepath.Join(t.TempDir(), "vault.db")
		card(t, old, mixed)
		b, err := os.ReadFile(path + ".head")
		if err == nil {
			err = os.WriteFile(mixed+".head", b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		to, err := bbolt.Open(mixed, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		from, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(to.Update(func(to *bbolt.Tx) error {
			return from.View(func(from *bbolt.Tx) error {
				for _, key := range newer {
					if err := to.Bucket([]byte("meta")).Put([]byte(key), bytes.Clone(from.Bucket([]byte("meta")).Get([]byte(key)))); err != nil {
						return err
					}
				}
				if err := to.DeleteBucket([]byte("audit")); err != nil {
					return err
				}
				b, err := to.CreateBucket([]byte("audit"))
				if err != nil {
					return err
				}
				return from.Bucket([]byte("audit")).ForEach(func(k, v []byte) error { return b.Put(bytes.Clone(k), bytes.Clone(v)) })
			})
		}), to.Close(), from.Close()); err != nil {
			t.Fatal(err)
		}
		refused(t, mixed, k, store.ErrCorrupt)
	}
}

// An old copy of the card is sound for nobody: not for a check, and not for a
// restore, whose lock-outs and forgotten it would give.
func TestOldCardIsNotLookedAtAsTheNewest(t *testing.T) {
	k, path, old, ids := onTPM(t)
	v := opened(t, path, k)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.Backup(store.BackupKeys{Operator: []string{id.Recipient().String()}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := io.ReadAll(b)
	if err := errors.Join(err, b.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	card(t, path, old)
	if _, err := store.Rehearse(t.Context(), path, k); err != nil {
		t.Errorf("the newest: %v", err)
	}
	disabled(t, path, k, ids[0])
	card(t, old, path)
	refused(t, path, k, store.ErrRolledBack)
	if _, err := store.Rehearse(t.Context(), path, k); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("a check says %v", err)
	}
	o := store.RestoreOptions{Operator: strings.NewReader(id.String()), Replace: true, At: noon}
	if _, err := store.Restore(t.Context(), path, k, bytes.NewReader(backup), o); !errors.Is(err, store.ErrRolledBack) {
		t.Errorf("a restore says %v", err)
	}
	o.Operator, o.WithoutForgotten = strings.NewReader(id.String()), true
	if _, err := store.Restore(t.Context(), path, k, bytes.NewReader(backup), o); err != nil {
		t.Errorf("when it is asked for: %v", err)
	}
	if err := opened(t, path, k).Close(); err != nil {
		t.Error(err)
	}
}

// cutOff is a TPM whose power goes before it counts.
type cutOff struct{ counting }

type counting interface {
	store.Rotator
	store.Counter
}

func (cutOff) Advance() error { return errors.New("power cut") }

// A card that was copied after a start was cut off between the vault and the
// counter is as old as any.
func TestCutStartIsMadeUpFor(t *testing.T) {
	k, path, old, ids := onTPM(t)
	if _, err := store.Open(path, cutOff{k}, store.Options{}); err == nil {
		t.Fatal("the start was not cut off")
	}
	card(t, path, old)
	disabled(t, path, k, ids[0])
	card(t, old, path)
	refused(t, path, k, store.ErrRolledBack)
}

// After a vault went to the TPM, the key file of before and an old copy open
// nothing that is in it now.
func TestKeyOfBeforeAMoveOpensNothing(t *testing.T) {
	k := startTPM(t).key(t)
	dir := t.TempDir()
	path, old := filepath.Join(dir, "vault.db"), filepath.Join(dir, "old.db")
	file := store.KeyFile(filepath.Join(dir, "device.key"))
	v := opened(t, path, file)
	enrolled(t, v, noon, 1)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	card(t, path, old)
	v = opened(t, path, file)
	if err := errors.Join(v.MoveKey(k), v.Close()); err != nil {
		t.Fatal(err)
	}
	var root []byte
	for _, f := range []struct {
		path string
		do   func(*bbolt.Bucket) error
	}{
		{old, func(b *bbolt.Bucket) error { root = bytes.Clone(b.Get([]byte("root/4"))); return nil }},
		{path, func(b *bbolt.Bucket) error { return b.Put([]byte("root/4"), root) }},
	} {
		db, err := bbolt.Open(f.path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(func(tx *bbolt.Tx) error { return f.do(tx.Bucket([]byte("meta"))) }), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(t, path, file, store.ErrCorrupt)
}

// unpromoted is a TPM whose power goes between a vault's rewriting and the
// promotion of its key.
type unpromoted struct{ counting }

func (unpromoted) Promote() error { return errors.New("power cut") }

// A check, which changes nothing, says what a start then finishes, on either
// side of the epoch's moving on.
func TestUnfinishedErasureIsCalledThat(t *testing.T) {
	for _, name := range []string{"before the epoch", "after it"} {
		t.Run(name, func(t *testing.T) {
			k, path, _, ids := onTPM(t)
			v := opened(t, path, unpromoted{k})
			if r, err := v.Forget(ids[0], noon); err == nil || r.Audit == 0 || r.KeyMoved {
				t.Fatalf("%+v, %v", r, err)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "after it" {
				if err := k.with(func(c *chip) error { return c.advance(epochIndex) }); err != nil {
					t.Fatal(err)
				}
			}
			_, err := store.Rehearse(t.Context(), path, k)
			wantErr(t, err, store.ErrKey, path+": its device key was being replaced")
			wantOpens(t, path, k)
			if _, err := store.Rehearse(t.Context(), path, k); err != nil {
				t.Errorf("after a start: %v", err)
			}
		})
	}
}
