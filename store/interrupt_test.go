package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asked is a context that ends when it was asked so often whether it did.
type asked struct {
	context.Context
	left int
}

func (a *asked) Err() error {
	if a.left--; a.left < 0 {
		return context.Canceled
	}
	return nil
}

// in lists what is below the vault's folder, with the bytes of all but the vault
// and its head, which an entry changes.
func (v *testVault) beside(t *testing.T) string {
	t.Helper()
	var files []string
	if err := filepath.WalkDir(filepath.Dir(v.path), func(f string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(f)
		if f == v.path || f == v.path+headSuffix {
			b = nil
		}
		files = append(files, fmt.Sprintf("%s %x", filepath.Base(f), b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return strings.Join(files, "\n")
}

// Whenever a long piece of work is interrupted, it is undone: the vault, its key
// and what stands beside it are as they were, and it can be done again.
func TestInterruptedWorkIsUndone(t *testing.T) {
	operator, owner := newIdentity(t), newIdentity(t)
	var backup, foreign []byte
	{
		v, _ := filled(t)
		foreign = backupOf(t, v, BackupKeys{Operator: []string{operator.public}, Recovery: []string{owner.public}})
	}
	restore := func(ctx context.Context, v *testVault, b []byte) error {
		_, err := Restore(ctx, v.path, v.key, bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), Recovery: owner.reader(), Replace: true, At: noon})
		return err
	}
	for name, work := range map[string]struct {
		closed bool // done while the vault is closed
		do     func(context.Context, *testVault) error
	}{
		"rotate":                    {false, func(ctx context.Context, v *testVault) error { return v.Rotate(ctx) }},
		"renew":                     {false, func(ctx context.Context, v *testVault) error { _, err := v.Renew(ctx, "", noon); return err }},
		"check":                     {true, func(ctx context.Context, v *testVault) error { _, err := Rehearse(ctx, v.path, v.key); return err }},
		"restore":                   {true, func(ctx context.Context, v *testVault) error { return restore(ctx, v, backup) }},
		"restore of another device": {true, func(ctx context.Context, v *testVault) error { return restore(ctx, v, foreign) }},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := filled(t)
			backup = backupOf(t, v, BackupKeys{Operator: []string{operator.public}})
			before, beside := v.whole(t), v.beside(t)
			step := 1
			if !work.closed {
				step = 3 // each time the chain is longer by two entries
			}
			for n := 0; ; n += step {
				if work.closed {
					if err := v.Close(); err != nil {
						t.Fatal(err)
					}
				}
				err := work.do(&asked{t.Context(), n}, v)
				if work.closed {
					v.open(t)
				}
				if err == nil {
					if n < 1 {
						t.Errorf("it looks at its context %d times", n)
					}
					t.Logf("interrupted in %d places", n)
					break
				}
				wantErr(t, err, ErrInterrupted)
				if after := unaudited(v.whole(t), "rotate-keys", "renew"); after != unaudited(before) {
					t.Fatalf("interrupted at %d, it is\n%s\nand was\n%s", n, after, before)
				}
				next := string(v.key.next())
				if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // dropped by the next rotation
					t.Fatal(err)
				}
				if after := v.beside(t); after != beside {
					t.Fatalf("interrupted at %d, beside it are\n%s\nand were\n%s", n, after, beside)
				}
			}
		})
	}
}

// A device key that a restore made for a backup of another device goes with the
// restore.
func TestInterruptedRestoreLeavesNoKey(t *testing.T) {
	operator, owner := newIdentity(t), newIdentity(t)
	v, _ := filled(t)
	b := backupOf(t, v, BackupKeys{Operator: []string{operator.public}, Recovery: []string{owner.public}})
	for n := 0; ; n++ {
		dir := t.TempDir()
		path, key := filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key"))
		_, err := Restore(&asked{t.Context(), n}, path, key, bytes.NewReader(b), RestoreOptions{Operator: operator.reader(), Recovery: owner.reader(), At: noon})
		if err == nil {
			break
		}
		wantErr(t, err, ErrInterrupted)
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Fatalf("interrupted at %d, it left %v", n, left)
		}
	}
}
