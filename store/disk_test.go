package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk of two megabytes is filled to the brim, emptied, and made read-only,
// in a mount namespace of the child's own.
func TestFullAndReadOnlyDisk(t *testing.T) {
	if dir := os.Getenv("FACEPRINT_SMALL_DISK"); dir != "" {
		fillDisk(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run=^TestFullAndReadOnlyDisk$", "-test.v")
	cmd.Env = append(os.Environ(), "FACEPRINT_SMALL_DISK="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "unshare:") {
		t.Skipf("no mount namespaces here: %s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	path, key := filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key"))
	s, err := Open(path, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := &model{Seed: 21, People: map[UserID]*modeled{}}
	work := func(s *Store, steps int) error {
		for range steps {
			after, do := now.next()
			if err := do(s); err != nil {
				return err
			}
			now = after[len(after)-1]
		}
		return nil
	}
	holds := func(s *Store, allowed ...*model) {
		t.Helper()
		if err := s.View(func(tx *Tx) error {
			says, err := brief(tx)
			for _, m := range allowed {
				if m.String() == says {
					now = m
					return err
				}
			}
			t.Errorf("holds\n%sbut should hold\n%s", says, now)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := work(s, 40); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	err = work(s, 200)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the full disk was not told: %v", err)
	}
	operator := BackupKeys{Operator: []string{newIdentity(t).public}}
	if _, err := s.Backup(operator, noon); !errors.Is(err, ErrSpace) { // a little is left, which the vault needs
		t.Errorf("a backup onto a full disk: %v", err)
	}
	after, _ := now.next()
	holds(s, append([]*model{now}, after...)...) // a forgotten person stays forgotten, the rest of the step may be missing
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, key, Options{}); err != nil { // starts on a full disk
		t.Fatal(err)
	}
	holds(s, now)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	now = now.clone()
	now.Step++
	if err := work(s, 100); err != nil {
		t.Fatalf("after room was made: %v", err)
	}
	holds(s, now)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, key, Options{})
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), path) {
		t.Errorf("a read-only disk: %v", err)
	}
	_, err = Open(filepath.Join(dir, "other.db"), key, Options{})
	if !errors.Is(err, unix.EROFS) {
		t.Errorf("a new vault on a read-only disk: %v", err)
	}
}
