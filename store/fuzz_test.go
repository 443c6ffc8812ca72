package store

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzBackup puts anything where a backup's tar is; whatever is taken of it has a
// note that would be written so.
func FuzzBackup(f *testing.F) {
	note, err := encode(backupNote{Format: backupFormat, Schema: Version, At: noon})
	if err != nil {
		f.Fatal(err)
	}
	for _, names := range [][]string{{backupNoteFile, backupVault}, {backupNoteFile, backupRecovery, backupVault}, {backupVault}, {backupNoteFile, backupNoteFile}, {"../x"}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range names {
			text := []byte("vault")
			if name == backupNoteFile {
				text = note
			}
			err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: noon})
			if err == nil {
				_, err = w.Write(text)
			}
			if err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	memory := "/dev/shm" // it is synced
	if _, err := os.Stat(memory); err != nil {
		memory = ""
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, err := os.MkdirTemp(memory, "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		to := filepath.Join(dir, backupVault)
		n, _, err := untar(to, bytes.NewReader(b))
		all, e := os.ReadDir(dir)
		if e != nil || len(all) > 1 || len(all) == 1 && all[0].Name() != backupVault {
			t.Fatalf("it wrote %v, %v", all, e)
		}
		if err == nil {
			if _, err := encode(n); err != nil || len(all) == 0 {
				t.Fatalf("%+v was taken, %v", n, err)
			}
			return
		}
		for _, named := range []error{ErrCorrupt, ErrSchema} {
			if errors.Is(err, named) {
				return
			}
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) { // of the copy to the disk
			t.Fatalf("refused without a name: %v", err)
		}
	})
}

// FuzzHead puts anything where a head is, sealed as heads are and as it is.
func FuzzHead(f *testing.F) {
	a := newAEAD(make([]byte, KeySize))
	s := &Store{seal: a}
	slot := func(plain []byte) []byte { return seal(a, []byte(headSuffix), nil, plain) }
	good, err := s.slot(headRecord{Commit: 3, Seq: 2})
	if err != nil {
		f.Fatal(err)
	}
	plain, err := a.Open(nil, good[:a.NonceSize()], good[a.NonceSize():], place([]byte(headSuffix), nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, []byte(nil))
	f.Add(plain, bytes.Repeat([]byte{' '}, headSize))
	f.Add([]byte(`{"commit":1}`), good)
	f.Fuzz(func(t *testing.T, one, other []byte) {
		b := make([]byte, slotApart+slotSize)
		copy(b, slot(one))
		copy(b[slotApart:], slot(other))
		for _, b := range [][]byte{b, one, other} {
			if _, err := parseHead(a, b); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzRoot puts anything where the wrapped root key is: only what was wrapped
// opens.
func FuzzRoot(f *testing.F) {
	device, root := bytes.Repeat([]byte{1}, KeySize), bytes.Repeat([]byte{2}, KeySize)
	file := KeyFile(filepath.Join(f.TempDir(), "key"))
	if err := os.WriteFile(string(file), device, 0o600); err != nil {
		f.Fatal(err)
	}
	s := &Store{path: "x", source: file}
	good := sealRoot(keyRoot, device, root)
	f.Add(good)
	f.Add(good[:sealedRootSize])
	f.Add(sealRoot(keyRoot3, device, root))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		switch got, err := s.openRoot(keyRoot, b); {
		case err == nil && (!bytes.Equal(got, root)):
			t.Fatalf("%x opens", b)
		case err != nil && !errors.Is(err, ErrKey) && !errors.Is(err, ErrCorrupt):
			t.Fatal(err)
		}
	})
}

// FuzzValue is of what the rooms above keep: whatever is taken would be written
// so.
func FuzzValue(f *testing.F) {
	type value struct {
		Name  string            `json:"name"`
		Key   []byte            `json:"key,omitempty"`
		At    time.Time         `json:"at"`
		Ends  *time.Time        `json:"ends,omitempty"`
		Count uint64            `json:"count"`
		Of    map[string]string `json:"of,omitempty"`
		All   []string          `json:"all"`
	}
	b, err := json.Marshal(value{Name: "n", Key: []byte{1}, At: noon, Ends: &noon, Count: 1 << 60, Of: map[string]string{"a": "b"}, All: []string{"x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"name":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeValue[value](b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q was accepted, but would be written %q, %v", b, again, err)
		}
	})
}
