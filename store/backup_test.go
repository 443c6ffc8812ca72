package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.etcd.io/bbolt"
)

type identity struct{ public, secret string }

func newIdentity(t testing.TB) identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity{id.Recipient().String(), id.String()}
}

func (i identity) reader() io.Reader { return strings.NewReader(i.secret) }

func backupOf(t *testing.T, v *testVault, keys BackupKeys) []byte {
	t.Helper()
	b, err := v.Backup(keys, noon)
	if err != nil {
		t.Fatal(err)
	}
	return taken(t, v, b)
}

// taken reads a backup to its end and closes it.
func taken(t *testing.T, v *testVault, b *Backup) []byte {
	t.Helper()
	whole, err := io.ReadAll(b)
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(v.path + newSuffix + "*"); len(left) > 0 {
		t.Errorf("the backup left %v", left)
	}
	return whole
}

// Nobody waits for whoever reads a backup: while it stalls, people are let in
// and forgotten, and what it gets is still the vault of when it asked.
func TestStalledBackupHoldsUpNobody(t *testing.T) {
	v, alice := filled(t)
	bob := v.person(t, "bob")
	operator := newIdentity(t)
	keys := BackupKeys{Operator: []string{operator.public}}
	for range 2 { // the second is of a file that was written anew
		b, err := v.Backup(keys, noon)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 100)
		if _, err := io.ReadFull(b, head); err != nil {
			t.Fatal(err)
		}
		_, err = v.Backup(keys, noon)
		wantErr(t, err, ErrInUse)
		if left, _ := filepath.Glob(v.path + newSuffix + "*"); len(left) > 0 {
			t.Errorf("a backup has a name: %v", left)
		}

		carol := v.person(t, "carol")
		if r, err := v.Forget(carol.ID, noon); err != nil || !r.Searched {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := v.Update(func(tx *Tx) error { // what an authentication does
			_, err := tx.TemplatesOf(alice.ID, 0)
			if err == nil {
				err = tx.SetLockout(alice.ID, Lockout{Failures: 8})
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}

		whole := append(head, taken(t, v, b)...)
		dir := t.TempDir()
		note, _, err := unpack(filepath.Join(dir, "vault.db"), bytes.NewReader(whole), operator.reader())
		if err != nil || note.Seq == 0 {
			t.Fatalf("%+v, %v", note, err)
		}
		s, err := Open(filepath.Join(dir, "vault.db"), v.key, Options{Accept: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.View(func(tx *Tx) error {
			users, err := tx.Users()
			if len(users) != 2 || users[0] != min(alice.ID, bob.ID) {
				t.Errorf("the backup holds %v", users)
			}
			return errors.Join(err, tx.Verify())
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBackupComesBackOnThisDevice(t *testing.T) {
	v, p := filled(t)
	other := v.person(t, "bob")
	operator := newIdentity(t)
	before := v.whole(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	if bytes.Contains(b, []byte(p.ID)) {
		t.Error("the backup holds a person's id in the clear")
	}
	v.audit(t, 2)
	if _, err := v.Forget(other.ID, noon); err != nil {
		t.Fatal(err)
	}
	var head string // of what is replaced
	if err := v.View(func(tx *Tx) error {
		seq, hash, err := tx.AuditHead()
		head = fmt.Sprintf("replaced-%d-%v", seq, hash)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	restore := func(o RestoreOptions) (Restored, error) {
		o.At = noon
		if o.Operator == nil {
			o.Operator = operator.reader()
		}
		return Restore(t.Context(), v.path, v.key, bytes.NewReader(b), o)
	}
	_, err := restore(RestoreOptions{Replace: true})
	wantErr(t, err, ErrInUse)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = restore(RestoreOptions{})
	wantErr(t, err, ErrExists)
	_, err = restore(RestoreOptions{Replace: true, Operator: newIdentity(t).reader()})
	wantErr(t, err, ErrKey)

	r, err := restore(RestoreOptions{Replace: true})
	if err != nil || r.Forgotten != 1 || r.People != 1 || r.Moved {
		t.Fatalf("%+v, %v", r, err)
	}
	v.open(t)
	after := v.whole(t)
	for line := range strings.Lines(before) {
		if strings.Contains(line, string(other.ID)) || strings.HasPrefix(line, "[") {
			continue
		}
		if !strings.Contains(after, line) {
			t.Errorf("%q did not come back", line)
		}
	}
	if strings.Contains(after, "Name:bob") {
		t.Error("somebody who was forgotten came back")
	}
	if !strings.Contains(after, "Kind:restore") || !strings.Contains(after, head) {
		t.Errorf("the chain does not tell of it, and of %s", head)
	}
}

func TestBackupMovesOnlyWithTheRecoveryKey(t *testing.T) {
	v, _ := filled(t)
	operator, owner := newIdentity(t), newIdentity(t)
	with := backupOf(t, v, BackupKeys{Operator: []string{operator.public}, Recovery: []string{owner.public}})
	without := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	dir := t.TempDir()
	path, key := filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key"))
	if _, err := key.Make(); err != nil {
		t.Fatal(err)
	}
	restore := func(b []byte, recovery io.Reader) (Restored, error) {
		return Restore(t.Context(), path, key, bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), Recovery: recovery, At: noon})
	}
	_, err := restore(with, nil)
	wantErr(t, err, ErrKey)
	_, err = restore(with, operator.reader())
	wantErr(t, err, ErrKey)
	_, err = restore(without, owner.reader())
	wantErr(t, err, ErrKey)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("refusals left %v", left)
	}
	r, err := restore(with, owner.reader())
	if err != nil || !r.Moved || r.People != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	s, err := Open(path, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.View((*Tx).Verify); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedBackupChangesNothing(t *testing.T) {
	v, _ := filled(t)
	operator := newIdentity(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	before := v.whole(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += len(b)/60 + 1 {
		damaged := bytes.Clone(b)
		damaged[at] ^= 4
		for _, bad := range [][]byte{damaged, b[:at]} {
			if _, err := Restore(t.Context(), v.path, v.key, bytes.NewReader(bad), RestoreOptions{Operator: operator.reader(), Replace: true, At: noon}); err == nil {
				t.Fatalf("damaged at %d, it was restored", at)
			}
		}
	}
	v.open(t)
	if v.whole(t) != before {
		t.Error("a refused backup changed the vault")
	}
}

func TestBackupNamesAFullDisk(t *testing.T) {
	v, _ := filled(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	to, err := recipients([]string{newIdentity(t).public})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, v.writeBackup(full, to, nil, noon), ErrSpace)
	wantErr(t, v.checkRoom(1<<60), ErrSpace)
}

func TestBackupNeedsAKey(t *testing.T) {
	v, _ := filled(t)
	for _, keys := range []BackupKeys{{}, {Operator: []string{"age1nonsense"}}} {
		_, err := v.Backup(keys, noon)
		wantErr(t, err, ErrInvalid)
	}
}

// afterwards is a vault with a backup of alice, who is then forgotten.
func afterwards(t *testing.T) (v *testVault, restore func(RestoreOptions) (Restored, error)) {
	t.Helper()
	v, p := filled(t)
	operator := newIdentity(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	if _, err := v.Forget(p.ID, noon); err != nil {
		t.Fatal(err)
	}
	v.audit(t, 2)
	return v, func(o RestoreOptions) (Restored, error) {
		o.Operator, o.Replace, o.At = operator.reader(), true, noon
		return Restore(t.Context(), v.path, v.key, bytes.NewReader(b), o)
	}
}

func TestForgottenStayForgottenBeyondTheChain(t *testing.T) {
	v, restore := afterwards(t)
	v.prune(t, 1)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // what was restored remembers them as well
		if r, err := restore(RestoreOptions{}); err != nil || r.Forgotten != 1 || r.People != 0 {
			t.Fatalf("restored %d times before: %+v, %v", i, r, err)
		}
	}
}

func TestVaultThatCannotTellWhoWasForgottenIsNotReplacedUnasked(t *testing.T) {
	for name, spoil := range map[string]func(v *testVault) error{
		"no head":                func(v *testVault) error { return os.Remove(v.path + headSuffix) },
		"gone, but for its head": func(v *testVault) error { return os.Remove(v.path) },
		"damaged":                func(v *testVault) error { return os.Truncate(v.path, 5000) },
		"an entry is gone from its chain": func(v *testVault) error {
			db, err := openBolt(v.path, 0)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(func(tx *bbolt.Tx) error {
				c := tx.Bucket(bucketAudit).Cursor()
				c.Last()
				c.Prev()
				_, _ = c.Prev() // of the erasure
				return c.Delete()
			}), db.Close())
		},
		"pruned before there was a list": func(v *testVault) error {
			v.open(t)
			v.prune(t, 1)
			return errors.Join(v.Update(func(tx *Tx) error { return tx.delete(bucketMeta, keyGone) }), v.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, restore := afterwards(t)
			if err := errors.Join(v.Close(), spoil(v)); err != nil {
				t.Fatal(err)
			}
			if r, err := restore(RestoreOptions{}); err == nil || !strings.Contains(err.Error(), "--without-forgotten") {
				t.Fatalf("%+v, %v", r, err)
			}
			if r, err := restore(RestoreOptions{WithoutForgotten: true}); err != nil || r.People != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if r, err := restore(RestoreOptions{}); err == nil { // it cannot tell either
				t.Fatalf("%+v", r)
			}
		})
	}
}

// Where the file is gone the key's own count of its starts tells that it was there.
func TestVaultThatIsGoneWasThereByItsCounter(t *testing.T) {
	v, _ := filled(t)
	operator := newIdentity(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	if err := errors.Join(v.Close(), os.Remove(v.path), os.Remove(v.path+headSuffix)); err != nil {
		t.Fatal(err)
	}
	n := uint64(7)
	restore := func(source KeySource, without bool) (Restored, error) {
		return Restore(t.Context(), v.path, source, bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), WithoutForgotten: without, At: noon})
	}
	_, err := restore(countedKey{v.key, &n}, false)
	wantErr(t, err, ErrRolledBack)
	if r, err := restore(countedKey{v.key, &n}, true); err != nil || r.People != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := errors.Join(os.Remove(v.path), os.Remove(v.path+headSuffix)); err != nil {
		t.Fatal(err)
	}
	if r, err := restore(v.key, false); err != nil || r.People != 1 { // and with nothing left, nothing tells
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestRestoreLowersNoLockout(t *testing.T) {
	v, alice := filled(t)
	bob := v.person(t, "bob")
	set := func(user UserID, l Lockout) {
		t.Helper()
		if err := v.Update(func(tx *Tx) error { return tx.SetLockout(user, l) }); err != nil {
			t.Fatal(err)
		}
	}
	set(alice.ID, Lockout{Failures: 1, Last: noon})
	set(bob.ID, Lockout{Failures: 9, Last: noon, Until: noon.Add(time.Hour), Delay: time.Hour, Boot: "a", Due: time.Hour})
	set("", Lockout{})
	operator := newIdentity(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	want := map[UserID]Lockout{
		alice.ID: {Failures: 50, Disabled: true, Last: noon.Add(time.Hour)},
		bob.ID:   {Failures: 9, Last: noon.Add(time.Minute), Until: noon.Add(time.Hour), Delay: time.Hour, Boot: "b", Due: time.Second},
		"":       {Failures: 4, Last: noon, Boot: "b", Due: time.Minute, Since: time.Second},
	}
	set(alice.ID, want[alice.ID])
	set(bob.ID, Lockout{Failures: 1, Last: noon.Add(time.Minute), Boot: "b", Due: time.Second})
	set("", want[""])
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Restore(t.Context(), v.path, v.key, bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), Replace: true, At: noon})
	if err != nil || !r.Replaced {
		t.Fatalf("%+v, %v", r, err)
	}
	v.open(t)
	if err := v.View(func(tx *Tx) error {
		for user, l := range want {
			if got, err := tx.Lockout(user); err != nil || got != l {
				t.Errorf("%q: %+v, %v; want %+v", user, got, err, l)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// What is no backup is called that, and not a wrong key; without a device key
// there is one advice.
func TestRestoreSaysWhatIsWrong(t *testing.T) {
	operator := newIdentity(t)
	v, _ := filled(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	for says, file := range map[string][]byte{"the backup is empty": nil, "the backup is none": []byte("SQLite format 3\x00")} {
		_, err := Restore(t.Context(), filepath.Join(t.TempDir(), "vault.db"), v.key, bytes.NewReader(file), RestoreOptions{Operator: operator.reader(), At: noon})
		wantErr(t, err, ErrCorrupt)
		if errors.Is(err, ErrKey) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q says %v", file, err)
		}
	}
	dir := t.TempDir()
	_, err := Restore(t.Context(), filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), At: noon})
	wantErr(t, err, ErrNotFound)
	if strings.Contains(err.Error(), "wrong key") || strings.Contains(err.Error(), "another device") {
		t.Error(err)
	}
}
