package store

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// halfForgotten is a vault whose forgetting was kept from compacting, by a
// folder where the new file would be, and the person's key as it stood.
func halfForgotten(t *testing.T) (v *testVault, wrapped []byte, unblock func()) {
	t.Helper()
	v, p := filled(t)
	if err := v.View(func(tx *Tx) error {
		wrapped = bytes.Clone(tx.tx.Bucket(bucketKeys).Get([]byte(p.ID)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	inTheWay := v.path + compactSuffix + "/x"
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := v.Forget(p.ID, noon)
	if err == nil || r.Audit == 0 || r.Compacted || r.Searched {
		t.Fatalf("%+v, %v", r, err)
	}
	if found, err := v.search(wrapped); err != nil || !found {
		t.Fatalf("the wrapped key was not left in the file: %v, %v", found, err)
	}
	return v, wrapped, func() {
		if err := os.RemoveAll(v.path + compactSuffix); err != nil {
			t.Fatal(err)
		}
	}
}

func wantGone(t *testing.T, v *testVault, wrapped []byte) {
	t.Helper()
	if found, err := v.search(wrapped); err != nil || found {
		t.Errorf("the wrapped key of a forgotten person is in the file: %v, %v", found, err)
	}
	if err := v.View(func(tx *Tx) error {
		owes, err := tx.owes()
		if owes != 0 {
			t.Errorf("still owed: %d", owes)
		}
		return errors.Join(err, tx.Verify())
	}); err != nil {
		t.Error(err)
	}
}

func TestErasureThatWasCutOffIsFinishedByTheNextStart(t *testing.T) {
	v, wrapped, unblock := halfForgotten(t)
	unblock()
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	wantGone(t, v, wrapped)
}

func TestErasureThatFailedIsFinishedLater(t *testing.T) {
	v, wrapped, unblock := halfForgotten(t)
	if err := v.Finish(); err == nil {
		t.Error("finished with the disk still in the way")
	}
	unblock()
	if err := v.Finish(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, v, wrapped)
	before, err := os.Stat(v.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(v.path); err != nil || !os.SameFile(before, after) {
		t.Errorf("rewritten with nothing owed: %v", err)
	}
}
