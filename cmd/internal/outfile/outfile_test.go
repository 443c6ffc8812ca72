package outfile

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// left are the names in a folder.
func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What lay at the place has no part in who can read the file: not its mode, not who
// holds it open, and not what a link leads to.
func TestWhatWasThereHasNoPart(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "picture"), filepath.Join(dir, "other")
	for what, lay := range map[string]func() error{
		"nothing": func() error { return nil },
		"a file that all may read": func() error {
			return os.WriteFile(name, []byte("old"), 0o666)
		},
		"a link":                  func() error { return os.Symlink(other, name) },
		"a link to nothing":       func() error { return os.Symlink(filepath.Join(dir, "none"), name) },
		"a second name of a file": func() error { return os.Link(other, name) },
	} {
		if err := os.WriteFile(other, []byte("other"), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(name)
		if err := lay(); err != nil {
			t.Fatal(err)
		}
		held, _ := os.Open(name)
		if err := Write(name, []byte("secret"), 0o600); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		info, err := os.Lstat(name)
		b, _ := os.ReadFile(name)
		if err != nil || info.Mode() != 0o600 || string(b) != "secret" {
			t.Errorf("%s: %v, %v, %q", what, info.Mode(), err, b)
		}
		if b, _ := os.ReadFile(other); string(b) != "other" {
			t.Errorf("%s: the other file holds %q", what, b)
		}
		if held != nil {
			b := make([]byte, 16)
			if n, _ := held.ReadAt(b, 0); strings.Contains(string(b[:n]), "secret") {
				t.Errorf("%s: who had it open reads %q", what, b[:n])
			}
			held.Close()
		}
		if got := left(t, dir); len(got) != 2 {
			t.Errorf("%s: left behind are %q", what, got)
		}
	}
}

// A write that fails leaves no file behind, and names the one that was meant.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "none", "picture")} {
		if err := Write(name, []byte("secret"), 0o600); err == nil || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	signal.Ignore(unix.SIGXFSZ) // the write fails then
	defer signal.Reset(unix.SIGXFSZ)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	err := Write(filepath.Join(dir, "picture"), make([]byte, 1000), 0o600)
	if e := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); e != nil {
		t.Fatal(e)
	}
	if got := left(t, dir); err == nil || len(got) != 0 {
		t.Errorf("%v, left behind are %q", err, got)
	}
}

// A pipe of one's own is written to; somebody else's is not, for it takes what is private away.
func TestPipes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(name, os.O_RDWR, 0) // whoever opens it waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Write(name, []byte("mine"), 0o600); err != nil {
		t.Error(err)
	}
	b := make([]byte, 16)
	if n, err := r.Read(b); string(b[:n]) != "mine" {
		t.Errorf("%q, %v", b[:n], err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a pipe away")
	}
	if err := os.Chown(name, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, []byte("secret"), 0o600); err == nil || !strings.Contains(err.Error(), "another user's") {
		t.Errorf("another's pipe: %v", err)
	}
	if err := Write(name, []byte("chart"), 0o644); err != nil {
		t.Errorf("what all may read: %v", err)
	}
	if n, err := r.Read(b); string(b[:n]) != "chart" {
		t.Errorf("%q, %v", b[:n], err)
	}
}
