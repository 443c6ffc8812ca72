package tpm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/faceprint/faceprint/store"
)

// swtpm is a software TPM: a real implementation (libtpms), in a process.
type swtpm struct {
	dir, socket string
	cmd         *exec.Cmd
	exited      chan struct{}
}

func startTPM(t *testing.T) *swtpm {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Fatalf("%v; `make test` installs it", err)
	}
	dir, err := os.MkdirTemp("", "tpm") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	s := &swtpm{dir: dir, socket: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		s.stop()
		os.RemoveAll(dir)
	})
	s.start(t)
	return s
}

func (s *swtpm) start(t *testing.T) {
	t.Helper()
	os.Remove(s.socket) // of a run before
	var out bytes.Buffer
	s.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+s.dir, "--server", "type=unixio,path="+s.socket,
		"--flags", "not-need-init,startup-clear")
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.exited) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("swtpm ended: %s", out.String())
		case <-ctx.Done():
			t.Fatalf("swtpm does not answer: %v", err)
		case <-tick.C:
		}
	}
}

func (s *swtpm) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	<-s.exited
}

// reboot restarts the TPM: its PCRs begin anew, its counters stay. It is told
// before, as the kernel does.
func (s *swtpm) reboot(t *testing.T) {
	t.Helper()
	wire, err := open(s.socket)
	if err == nil {
		_, err = (tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}).Execute(wire)
		err = errors.Join(err, wire.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start(t)
}

// extend changes a PCR, as another system that starts would.
func (s *swtpm) extend(t *testing.T, pcr uint) {
	t.Helper()
	wire, err := open(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	_, err = (tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}).Execute(wire)
	if err != nil {
		t.Fatal(err)
	}
}

func pin(p string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(p), nil } }

func (s *swtpm) key(t *testing.T) Key {
	return Key{Device: s.socket, File: filepath.Join(t.TempDir(), "device.tpm"), PCRs: []uint{7}}
}

func wantErr(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Fatalf("got error %v, want %v that says %q", err, want, says)
	}
}

func TestKeyIsBoundToTheTPMAndThePCRs(t *testing.T) {
	s := startTPM(t)
	k := s.key(t)
	_, err := k.Key()
	wantErr(t, err, store.ErrNotFound, "no sealed key")
	made, err := k.Make()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = k.Make(); !errors.Is(err, store.ErrExists) {
		t.Fatalf("made twice: %v", err)
	}
	for range 2 {
		got, err := k.Key()
		if err != nil || !bytes.Equal(got, made) {
			t.Fatalf("%x, %v; want %x", got, err, made)
		}
		s.reboot(t)
	}
	if b, err := os.ReadFile(k.File); err != nil || bytes.Contains(b, made) {
		t.Fatalf("the file holds the key, %v", err)
	}
	s.extend(t, 7)
	_, err = k.Key()
	wantErr(t, err, store.ErrKey, "not the one that the key was sealed for")
	s.reboot(t)
	if _, err := k.Key(); err != nil {
		t.Fatal(err)
	}

	other := startTPM(t)
	moved := k
	moved.Device = other.socket
	_, err = moved.Key()
	wantErr(t, err, store.ErrKey, "another TPM")
}

func TestWrongPINsLockTheTPM(t *testing.T) {
	s := startTPM(t)
	k := s.key(t)
	k.PIN = pin("314159")
	if _, err := k.Make(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Key(); err != nil {
		t.Fatal(err)
	}
	none := k
	none.PIN = nil
	_, err := none.Key()
	wantErr(t, err, store.ErrKey, "none is given")
	wrong := k
	wrong.PIN = pin("271828")
	said := 0
	for range 10 {
		_, err := wrong.Key()
		if err == nil {
			t.Fatal("a wrong PIN opened it")
		}
		if strings.Contains(err.Error(), "wrong PIN") {
			said++
		}
		if strings.Contains(err.Error(), "too many") {
			_, err := k.Key() // the right one does not help now
			wantErr(t, err, store.ErrKey, "too many")
			if said == 0 {
				t.Error("it was locked before a wrong PIN was told")
			}
			return
		}
	}
	t.Fatal("ten wrong PINs did not lock it")
}

func TestReplacedKeyIsLost(t *testing.T) {
	s := startTPM(t)
	k := s.key(t)
	if _, err := k.Make(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(k.File)
	if err != nil {
		t.Fatal(err)
	}
	next, err := k.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Key(); err != nil { // until it is promoted
		t.Fatal(err)
	}
	if err := k.Promote(); err != nil {
		t.Fatal(err)
	}
	got, err := k.Key()
	if err != nil || !bytes.Equal(got, next) {
		t.Fatalf("%x, %v; want %x", got, err, next)
	}
	if err := os.WriteFile(k.File, old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = k.Key()
	wantErr(t, err, store.ErrKey, "its epoch is over")
}

func TestStartsAreCounted(t *testing.T) {
	s := startTPM(t)
	k := s.key(t)
	n, err := k.Count()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Advance(); err != nil {
		t.Fatal(err)
	}
	s.reboot(t)
	if m, err := k.Count(); err != nil || m != n+1 {
		t.Fatalf("%d after %d, %v", m, n, err)
	}
}

// A vault on a TPM: forgetting moves the key on, the card of before is lost,
// power cuts between the steps are made up for.
func TestVaultOnATPM(t *testing.T) {
	s := startTPM(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "vault.db")
	k := Key{Device: s.socket, File: filepath.Join(dir, "device.tpm"), PCRs: []uint{7}, PIN: pin("1234")}
	v, err := store.Open(path, k, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := enrolled(t, v, noon, 2)
	card := map[string][]byte{}
	for _, f := range []string{path, path + ".head", k.File} {
		if card[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	r, err := v.Forget(ids[0], noon)
	if err != nil || !r.KeyMoved || !r.Searched {
		t.Fatalf("%+v, %v", r, err)
	}
	reopen := func() error {
		t.Helper()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		s.reboot(t)
		n, err := store.Open(path, k, store.Options{})
		if err == nil {
			v = n
		}
		return err
	}
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	// Prepared, and then the power went: the next start does not mind.
	if _, err := k.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Rotate(t.Context()), v.View((*store.Tx).Verify)); err != nil {
		t.Fatal(err)
	}
	// To a key file and back.
	file := store.KeyFile(filepath.Join(dir, "device.key"))
	if err := errors.Join(v.MoveKey(file), k.Destroy(), v.MoveKey(k), file.Destroy()); err != nil {
		t.Fatal(err)
	}
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.View((*store.Tx).Verify), v.Close()); err != nil {
		t.Fatal(err)
	}
	// The whole card of before, on the same device, with the right PIN.
	for f, b := range card {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = store.Open(path, k, store.Options{Accept: true})
	wantErr(t, err, store.ErrKey, "epoch is over")
}

func FuzzSealedFile(f *testing.F) {
	b, err := json.Marshal(sealed{Public: []byte{1}, Private: []byte{2}, Epoch: 3, PCRs: []uint{0, 7}, PIN: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b)
		if err != nil {
			return
		}
		if again, err := json.Marshal(s); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q was accepted, but would be written %q, %v", b, again, err)
		}
	})
}
