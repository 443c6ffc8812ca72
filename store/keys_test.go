package store

import (
	"bytes"
	"compress/gzip"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// whole is everything in the vault.
func (v *testVault) whole(t *testing.T) string {
	t.Helper()
	var says string
	if err := v.View(func(tx *Tx) (err error) { says, err = dump(tx); return err }); err != nil {
		t.Fatal(err)
	}
	return says
}

func filled(t *testing.T) (*testVault, Person) {
	v := newVault(t)
	p := v.person(t, "alice")
	v.template(t, p.ID, []byte("template of alice"))
	v.audit(t, 3)
	err := v.Update(func(tx *Tx) error {
		return errors.Join(tx.SetSecret("grant-key", []byte("s3cret")), tx.SetLockout(p.ID, Lockout{Failures: 7}),
			tx.PutRecord(Record{Kind: "pin", User: p.ID, Key: "1", Value: []byte("hash")}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, p
}

// digest is how a dump shows a template.
func digest(data string) []byte {
	sum := sha256.Sum256([]byte(data))
	return sum[:2]
}

// unaudited drops the entries that the operation itself added.
func unaudited(says string, kinds ...string) string {
	var b strings.Builder
	for line := range strings.Lines(says) {
		drop := false
		for _, kind := range kinds {
			drop = drop || strings.Contains(line, "Kind:"+kind+" ")
		}
		if !drop {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestRotationReplacesEveryKeyAndKeepsEverything(t *testing.T) {
	v, _ := filled(t)
	before := v.whole(t)
	oldKey, err := os.ReadFile(string(v.key))
	if err != nil {
		t.Fatal(err)
	}
	oldFile, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := unaudited(v.whole(t), "rotate-keys"); got != before {
		t.Errorf("after:\n%s\nbefore:\n%s", got, before)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	if got := unaudited(v.whole(t), "rotate-keys"); got != before {
		t.Errorf("after reopening:\n%s\nbefore:\n%s", got, before)
	}
	newKey, err := os.ReadFile(string(v.key))
	if err != nil || bytes.Equal(newKey, oldKey) {
		t.Fatalf("the device key did not change, %v", err)
	}
	// Not one sealed record of before is left, nor opens the old copy with the new key.
	file, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	if n := common(file, oldFile); n > 0 {
		t.Errorf("%d stretches of sealed bytes are the same as before", n)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, v.path, oldFile)
	_, err = Open(v.path, v.key, Options{})
	wantErr(t, err, ErrKey)
}

// common counts 24-byte stretches, of more than a few different bytes, that
// both files have.
func common(a, b []byte) (n int) {
	have := map[string]bool{}
	for i := 0; i+24 <= len(b); i++ {
		have[string(b[i:i+24])] = true
	}
	for i := 0; i+24 <= len(a); i++ {
		distinct := map[byte]bool{}
		for _, c := range a[i : i+24] {
			distinct[c] = true
		}
		if len(distinct) > 18 && have[string(a[i:i+24])] && !printable(a[i:i+24]) {
			n++
		}
	}
	return n
}

func printable(b []byte) bool { // the keys of records are in the clear
	n := 0
	for _, c := range b {
		if c >= ' ' && c < 0x7f {
			n++
		}
	}
	return n > 14
}

func TestMovingToAnotherKeyEnrolsNobodyAgain(t *testing.T) {
	v, _ := filled(t)
	before := v.whole(t)
	to := KeyFile(filepath.Join(t.TempDir(), "other"))
	if err := v.MoveKey(to); err != nil {
		t.Fatal(err)
	}
	from := v.key
	v.key = to
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	if got := unaudited(v.whole(t), "move-key"); got != before {
		t.Errorf("after:\n%s\nbefore:\n%s", got, before)
	}
	if err := errors.Join(from.Destroy(), v.Rotate(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
}

// What a power cut leaves at each step of a rotation opens.
func TestRotationIsPickedUpAfterAPowerCut(t *testing.T) {
	t.Run("prepared, vault unchanged", func(t *testing.T) {
		v, _ := filled(t)
		before := v.whole(t)
		if _, err := v.key.Prepare(); err != nil {
			t.Fatal(err)
		}
		if err := v.reopen(t); err != nil {
			t.Fatal(err)
		}
		if v.whole(t) != before {
			t.Error("another vault")
		}
	})
	t.Run("vault changed, not promoted", func(t *testing.T) {
		v, _ := filled(t)
		before := v.whole(t)
		next, err := v.key.Prepare()
		if err != nil {
			t.Fatal(err)
		}
		if err := v.reroot(t.Context(), next, commitOf); err != nil {
			t.Fatal(err)
		}
		if err := v.reopen(t); err != nil {
			t.Fatal(err)
		}
		if v.whole(t) != before {
			t.Error("another vault")
		}
		if got, err := v.key.Key(); err != nil || !bytes.Equal(got, next) {
			t.Errorf("the prepared key was not promoted: %v", err)
		}
		_, err = v.key.Prepared(nil)
		wantErr(t, err, ErrNotFound)
	})
	t.Run("half promoted", func(t *testing.T) { // the old key was overwritten, the new one not yet renamed
		v, _ := filled(t)
		next, err := v.key.Prepare()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(v.reroot(t.Context(), next, commitOf), overwrite(string(v.key))); err != nil {
			t.Fatal(err)
		}
		if err := v.reopen(t); err != nil {
			t.Fatal(err)
		}
	})
}

// wiped tells whether nothing is left of the key, by what it seals.
func wiped(k *vaultKey) bool {
	_, err := unseal(newAEAD(make([]byte, KeySize)), bucketMeta, keyHead, seal(k, bucketMeta, keyHead, []byte("x")))
	return err == nil && bytes.Equal(k.mac, make([]byte, len(k.mac)))
}

func TestKeysAreWiped(t *testing.T) {
	v, p := filled(t)
	for name, do := range map[string]func() error{
		"rotate": func() error { return v.Rotate(t.Context()) },
		"reroot": v.renewRoot,
	} {
		before := v.root
		if wiped(before) {
			t.Fatalf("%s: the root key is wiped while it is in use", name)
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if v.root == before || !wiped(before) || wiped(v.root) {
			t.Errorf("%s: of the root keys the one of before is wiped: %v, the new one: %v", name, wiped(before), wiped(v.root))
		}
	}
	// One that came to nothing leaves the vault its key, and nothing of the other.
	before, fresh := v.root, newVaultKey(newKey())
	err := v.rewrite(t.Context(), func(_, _, _ []byte) ([]byte, error) { return nil, ErrInvalid }, &below{root: fresh, commit: commitOf})
	wantErr(t, err, ErrInvalid)
	if v.root != before || wiped(before) || !wiped(fresh) {
		t.Error("a rewriting that failed wiped the wrong key")
	}
	var person cipher.AEAD
	if err := v.View(func(tx *Tx) (err error) { person, err = tx.personKey(p.ID); return err }); err != nil {
		t.Fatal(err)
	}
	wipe(person)
	if !wiped(&vaultKey{AEAD: person}) {
		t.Error("a person's key is still there")
	}
	head := v.seal
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if !wiped(before) || !wiped(&vaultKey{AEAD: head}) {
		t.Error("the keys of a closed vault are still there")
	}
}

// Whoever only looks at a vault between its rewriting and the key's promotion
// hears what it is, and finishes nothing.
func TestUnfinishedRotationIsCalledThat(t *testing.T) {
	v, _ := filled(t)
	operator := newIdentity(t)
	backup := backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
	before, err := v.key.Key()
	if err != nil {
		t.Fatal(err)
	}
	next, err := v.key.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.reroot(t.Context(), next, commitOf), v.Close()); err != nil {
		t.Fatal(err)
	}
	says := func(err error) {
		t.Helper()
		wantErr(t, err, ErrKey)
		if !strings.Contains(err.Error(), v.path+": its device key was being replaced") || strings.Contains(err.Error(), "another key") {
			t.Errorf("says %v", err)
		}
	}
	_, err = Rehearse(t.Context(), v.path, v.key)
	says(err)
	_, err = Restore(t.Context(), v.path, v.key, bytes.NewReader(backup), RestoreOptions{Operator: operator.reader(), Replace: true, At: noon})
	says(err)
	if now, err := v.key.Key(); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the key in use was changed: %v", err)
	}
	v.open(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Rehearse(t.Context(), v.path, v.key); err != nil {
		t.Errorf("after a start: %v", err)
	}
	if _, err := Restore(t.Context(), v.path, v.key, bytes.NewReader(backup), RestoreOptions{Operator: operator.reader(), Replace: true, At: noon}); err == nil {
		t.Error("a backup of before the key was replaced opens")
	} else if strings.Contains(err.Error(), "being replaced") {
		t.Errorf("says %v", err)
	}
}

func TestMissingKeyIsNotReplaced(t *testing.T) {
	v, _ := filled(t)
	if err := errors.Join(v.Close(), os.Remove(string(v.key))); err != nil {
		t.Fatal(err)
	}
	_, err := Open(v.path, v.key, Options{})
	wantErr(t, err, ErrKey)
	if _, err := os.Stat(string(v.key)); err == nil {
		t.Error("a new key stands where the lost one must be put back")
	}
}

// countedKey is a key file with a counter, as a TPM has one.
type countedKey struct {
	KeyFile
	n *uint64
}

func (c countedKey) Count() (uint64, error) { return *c.n, nil }
func (c countedKey) Advance() error         { *c.n++; return nil }

func TestOldCopyOfTheWholeCardIsRefusedByTheCounter(t *testing.T) {
	dir, n := t.TempDir(), new(uint64)
	*n = 41 // a TPM's counters begin anywhere
	path, key := filepath.Join(dir, "vault.db"), countedKey{KeyFile(filepath.Join(dir, "key")), n}
	start := func(o Options) (*Store, error) { return Open(path, key, o) }
	for range 3 {
		s, err := start(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	card := map[string][]byte{} // the vault, its head and the key: everything
	for _, f := range []string{path, path + headSuffix, string(key.KeyFile)} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		card[f] = b
	}
	s, err := start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Update(func(tx *Tx) error { return tx.SetLockout("", Lockout{Failures: 9}) }), s.Close()); err != nil {
		t.Fatal(err)
	}
	*n-- // a power cut between the vault's count and the counter's
	if s, err = start(Options{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for f, b := range card {
		write(t, f, b)
	}
	_, err = start(Options{})
	wantErr(t, err, ErrRolledBack)
	if s, err = start(Options{Accept: true}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = start(Options{}); err != nil { // from now on as always
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.View(func(tx *Tx) error {
		es, err := tx.Audit(0, 10)
		if err != nil || len(es) != 1 || es[0].Kind != "accept" {
			t.Errorf("entries %+v, %v", es, err)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestForgetMovesTheKeyOnWhereItCan(t *testing.T) {
	dir, n := t.TempDir(), new(uint64)
	path, key := filepath.Join(dir, "vault.db"), countedKey{KeyFile(filepath.Join(dir, "key")), n}
	s, err := Open(path, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := &testVault{Store: s, path: path}
	p, q := v.person(t, "alice"), v.person(t, "bob")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Forget(p.ID, noon)
	if err != nil || !r.KeyMoved || !r.Searched {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := s.View(func(tx *Tx) error { _, err := tx.Person(q.ID); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, old)
	_, err = Open(path, key, Options{})
	wantErr(t, err, ErrKey)
}

func TestMissingHeadIsNoticed(t *testing.T) {
	v, _ := filled(t)
	if err := errors.Join(v.Close(), os.Remove(v.path+headSuffix)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal must not make one
		_, err := Open(v.path, v.key, Options{})
		wantErr(t, err, ErrRolledBack)
	}
	_, err := Rehearse(t.Context(), v.path, v.key)
	wantErr(t, err, ErrRolledBack)
	if !strings.Contains(err.Error(), v.path+headSuffix) { // and not the copy's
		t.Error(err)
	}
	s, err := Open(v.path, v.key, Options{Accept: true})
	if err != nil {
		t.Fatal(err)
	}
	v.Store = s
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
}

func TestHalfWrittenHeadIsRead(t *testing.T) {
	v, _ := filled(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(v.path + headSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for at := range []int{0, slotApart} {
		torn := bytes.Clone(head)
		copy(torn[at+100:], make([]byte, 80))
		write(t, v.path+headSuffix, torn)
		v.open(t)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(t, v.path+headSuffix, make([]byte, len(head)))
	_, err = Open(v.path, v.key, Options{})
	wantErr(t, err, ErrCorrupt)
}

func TestVaultThatIsGoneIsNotMadeAnew(t *testing.T) {
	v, _ := filled(t)
	if err := errors.Join(v.Close(), os.Remove(v.path)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(v.path, v.key, Options{})
	wantErr(t, err, ErrRolledBack)
	if err := os.Remove(v.path + headSuffix); err != nil { // as the message says
		t.Fatal(err)
	}
	v.open(t)
}

// Work on a vault that is not there makes none, and no empty file that a start
// would take for a damaged one.
func TestWorkInTheWrongPlaceMakesNoVault(t *testing.T) {
	dir := t.TempDir()
	path, key := filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key"))
	_, err := Rehearse(t.Context(), path, key)
	wantErr(t, err, ErrNotFound)
	_, err = Open(path, key, Options{Existing: true})
	wantErr(t, err, ErrNotFound)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	write(t, path+headSuffix, []byte("x"))
	_, err = Rehearse(t.Context(), path, key)
	wantErr(t, err, ErrRolledBack)
	_, err = Open(path, key, Options{Existing: true})
	wantErr(t, err, ErrRolledBack)
}

// released unpacks a vault that an earlier version of this package wrote.
func released(t *testing.T, schema int) (path string, key KeyFile) {
	t.Helper()
	dir, from := t.TempDir(), fmt.Sprintf("testdata/schema%d", schema)
	for _, f := range []string{"vault.db.head", "key"} {
		if err := copyFile(t.Context(), filepath.Join(dir, f), filepath.Join(from, f)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(from, "vault.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "vault.db")
	write(t, path, b)
	return path, KeyFile(filepath.Join(dir, "key"))
}

// released schemas, oldest first.
var releasedSchemas = []int{1, 2, 3}

func TestEveryReleasedSchemaIsMigrated(t *testing.T) {
	for _, schema := range releasedSchemas {
		t.Run(fmt.Sprint(schema), func(t *testing.T) { testMigration(t, schema) })
	}
}

func testMigration(t *testing.T, schema int) {
	path, key := released(t, schema)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from, err := Rehearse(t.Context(), path, key)
	if err != nil || from != uint32(schema) {
		t.Fatalf("rehearsal: schema %d, %v", from, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the rehearsal changed the vault, %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 3 {
		t.Errorf("the rehearsal left %v", left)
	}
	v := &testVault{path: path, key: key}
	v.open(t)
	defer func() { v.Close() }()
	check := func() {
		t.Helper()
		says := v.whole(t)
		for _, want := range []string{
			"Name:alice", "Name:Боб", "Failures:6", "Kind:enrol", "Kind:forget", "Kind:migrate", fmt.Sprintf("schema-%d-to-%d", schema, schema+1), "schema-2-to-3",
			"face [1.000 ", "face [0.000 0.600 0.000 0.000 0.800 ",
			fmt.Sprint(digest("template of alice")), fmt.Sprint(digest("template of bob")), fmt.Sprint([]byte("hash")), fmt.Sprint([]byte("strict")),
		} {
			if !strings.Contains(says, want) {
				t.Errorf("%q is not in:\n%s", want, says)
			}
		}
		if err := v.View(func(tx *Tx) error {
			b, err := tx.Secret("kept")
			if string(b) != "secret" {
				t.Errorf("secret %q", b)
			}
			ts, err2 := tx.Templates(KindFace)
			if len(ts) != 2 {
				t.Errorf("%d faces", len(ts))
			}
			for i := range ts {
				if bytes.Equal(ts[i].Data, unit(0)) {
					t.Error("a face is kept as it is")
				}
			}
			return errors.Join(err, err2)
		}); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	check()
	kept, err := os.ReadFile(fmt.Sprint(path, copySuffix, schema))
	if err != nil || checkPages("copy", bytes.NewReader(kept), int64(len(kept))) != nil {
		t.Fatalf("no copy of before: %v", err)
	}
	// Forgetting somebody removes the copy, which holds them.
	if r, err := v.Forget("aaaaaaaaaaaaaaaa", noon); err != nil || !r.Searched {
		t.Fatalf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(path + copySuffix + "*"); len(left) != 0 {
		t.Errorf("left of before the migration: %v", left)
	}
}

func TestRolledBackSchema1IsNotMigrated(t *testing.T) {
	path, key := released(t, 1)
	head := `{"commit":9,"seq":0,"hash":"` + strings.Repeat("0", 64) + `"}`
	write(t, path+headSuffix, []byte(head+strings.Repeat(" ", headSize-len(head))))
	_, err := Open(path, key, Options{})
	wantErr(t, err, ErrRolledBack)
}

// The list of who was forgotten may be long: a pruning that adds nobody leaves it
// as it stands in the file.
func TestPruningWritesTheForgottenOnlyWhenItAddsSome(t *testing.T) {
	v := newVault(t)
	ids := []UserID{v.person(t, "a").ID, v.person(t, "b").ID}
	prune := func(keep int) (list []byte) {
		t.Helper()
		if err := v.Update(func(tx *Tx) error {
			_, err := tx.PruneAudit(keep, noon, func(Checkpoint) (string, error) { return "signed", nil })
			list = bytes.Clone(tx.tx.Bucket(bucketMeta).Get(keyGone))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	forget := func(id UserID) {
		t.Helper()
		if _, err := v.Forget(id, noon); err != nil {
			t.Fatal(err)
		}
		v.audit(t, 10)
	}
	v.audit(t, 10)
	first := prune(5) // also of nobody: without a list a pruned chain cannot tell
	if first == nil {
		t.Fatal("no list")
	}
	forget(ids[0])
	second := prune(1)
	if bytes.Equal(first, second) {
		t.Error("the forgotten one is not in the list")
	}
	v.audit(t, 10)
	if third := prune(1); !bytes.Equal(second, third) {
		t.Error("the list was written anew")
	}
	forget(ids[1])
	if fourth := prune(1); bytes.Equal(second, fourth) {
		t.Error("the second one is not in the list")
	}
	if err := v.View(func(tx *Tx) error {
		l, err := tx.forgotten()
		if !l.Whole || len(l.Users) != 2 {
			t.Errorf("%+v", l)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPrunedChainBeginsWithItsCheckpoint(t *testing.T) {
	v := newVault(t)
	v.audit(t, 30)
	sign := func(c Checkpoint) (string, error) { return fmt.Sprint("signed ", c.Seq), nil }
	prune := func(keep int) (n int) {
		t.Helper()
		if err := v.Update(func(tx *Tx) (err error) { n, err = tx.PruneAudit(keep, noon, sign); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := prune(10); n != 20 {
		t.Errorf("pruned %d, want 20", n)
	}
	if n := prune(10); n != 0 {
		t.Errorf("pruned %d once more", n)
	}
	check := func(seq uint64) {
		t.Helper()
		if err := v.View(func(tx *Tx) error {
			base, err := tx.Base()
			if err != nil || base.Seq != seq || base.Signed != fmt.Sprint("signed ", seq) {
				t.Errorf("base %+v, %v", base, err)
			}
			es, err := tx.Audit(0, 100)
			if err != nil || es[0].Seq != seq+1 || es[0].Prev != base.Hash {
				t.Errorf("first entry %+v, %v", es[0], err)
			}
			return tx.VerifyAudit()
		}); err != nil {
			t.Fatal(err)
		}
	}
	check(20)
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	v.audit(t, 5)
	prune(0) // the newest always stays
	check(34)
	if err := v.Compact(); err != nil {
		t.Fatal(err)
	}
	check(34)
}

func TestCopyOfBeforeAMigrationOutlivesACut(t *testing.T) {
	path, key := released(t, 2)
	s := &Store{path: path, source: key, now: time.Now}
	var err error
	if s.db, err = openBolt(path, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.keepCopy(2); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucketSeeds); return err }); err != nil {
		t.Fatal(err) // migrate2 had begun
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path + copySuffix + "2")
	if err != nil {
		t.Fatal(err)
	}
	v := &testVault{path: path, key: key}
	v.open(t)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path + copySuffix + "2"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the copy was made again of what was migrated in part: %v", err)
	}
}

func TestSecretThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadPrivate(path); err != nil || string(b) != "1234" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadPrivate(path)
	wantErr(t, err, ErrMode)
}

// acl makes an access list of tag, permissions and id.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const nobody = ^uint32(0) // the id of entries that have none

// systemdACL is what systemd 252 gives a credential for the account of a unit.
func systemdACL(uid uint32) []byte {
	return acl([3]uint32{aclUserObj, 4, nobody}, [3]uint32{aclUser, 4, uid}, [3]uint32{aclGroupObj, 0, nobody}, [3]uint32{aclMask, 4, nobody}, [3]uint32{aclOther, 0, nobody})
}

func TestAccessListOfACredential(t *testing.T) {
	good := systemdACL(1000)
	if !oursAlone(good, 1000) {
		t.Error("systemd's list is refused")
	}
	for name, bad := range map[string][]byte{
		"another account": systemdACL(1001),
		"empty":           nil,
		"cut":             good[:len(good)-1],
		"other version":   append([]byte{3}, good[1:]...),
		"a group":         append(systemdACL(1000), acl([3]uint32{aclGroup, 4, 7})[4:]...),
		"others":          append(systemdACL(1000), acl([3]uint32{aclOther, 4, nobody})[4:]...),
		"owning group":    append(systemdACL(1000), acl([3]uint32{aclGroupObj, 4, nobody})[4:]...),
		"may be written":  append(systemdACL(1000), acl([3]uint32{aclUser, 6, 1000})[4:]...),
		"unknown tag":     append(systemdACL(1000), acl([3]uint32{0x40, 0, nobody})[4:]...),
	} {
		if oursAlone(bad, 1000) {
			t.Errorf("%s: taken", name)
		}
	}

	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte("1234"), 0o400); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int]error{os.Geteuid(): nil, 54321: ErrMode} {
		err := unix.Setxattr(path, "system.posix_acl_access", systemdACL(uint32(uid)), 0)
		if errors.Is(err, unix.ENOTSUP) {
			t.Skip("no access lists on this file system")
		}
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o440 {
			t.Fatalf("%v, %v", info.Mode(), err) // what the plain rule refuses
		}
		if b, err := ReadPrivate(path); !errors.Is(err, want) || want == nil && string(b) != "1234" {
			t.Errorf("for %d: %q, %v", uid, b, err)
		}
	}
}
