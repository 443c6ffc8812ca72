package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

func TestSwapOnADiskInTheClearIsWarnedOf(t *testing.T) {
	const head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for name, tt := range map[string]struct {
		swaps string
		want  string
	}{
		"none":                     {head, "ok"},
		"compressed, in memory":    {head + "/dev/zram0 partition 500 0 100\n", "ok"},
		"encrypted":                {head + "/dev/dm-3 partition 500 0 -2\n", "ok"},
		"a volume in the clear":    {head + "/dev/dm-4 partition 500 0 -2\n", "warn"},
		"a partition":              {head + "/dev/mmcblk0p3 partition 500 0 -2\n", "warn"},
		"a file":                   {head + "/var/swap file 102396 0 -2\n", "warn"},
		"a file of a sly name":     {head + "/var/zram0 file 102396 0 -2\n", "warn"},
		"in memory, and on a disk": {head + "/dev/zram0 partition 500 0 100\n/var/swap file 102396 0 -2\n", "warn"},
	} {
		proc, sys := t.TempDir(), t.TempDir()
		files := map[string]string{
			filepath.Join(proc, "swaps"):                            tt.swaps,
			filepath.Join(sys, "class", "block", "dm-3", "dm/uuid"): "CRYPT-PLAIN-swap\n",
			filepath.Join(sys, "class", "block", "dm-4", "dm/uuid"): "LVM-abc\n",
		}
		for file, text := range files {
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		got, advice := "", ""
		checkSwap(func(_, state, _, a string) { got, advice = state, a }, proc, sys)
		if got != tt.want || (got == "warn") != strings.Contains(advice, "swapoff") {
			t.Errorf("%s: %s %q, want %s", name, got, advice, tt.want)
		}
	}
	got := ""
	checkSwap(func(_, state, _, _ string) { got = state }, t.TempDir(), t.TempDir())
	if got != "ok" {
		t.Errorf("a kernel without swap: %s", got)
	}
}

func TestCoreDumpsAreForbidden(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	state := func() (s string) {
		checkDumps(func(_, state, _, _ string) { s = state })
		return s
	}
	if before.Cur > 0 && state() != "fail" {
		t.Error("a process that may dump is called fine")
	}
	if err := noDumps(); err != nil {
		t.Fatal(err)
	}
	if s := state(); s != "ok" {
		t.Errorf("after it was forbidden: %s", s)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil { // for the tests after this one
		t.Fatal(err)
	}
	if s := state(); s != "fail" {
		t.Errorf("a process that may be dumped into a pipe is called %s", s)
	}
}

// ageKeys writes an age identity to a file and its recipient to a variable.
func ageKeys(ts *testscript.TestScript, _ bool, args []string) {
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(id.String()+"\n"), 0o600))
	ts.Setenv(args[1], id.Recipient().String())
}

// metrics writes what the daemon tells Prometheus to a file, and what the kernel
// says that the daemon may dump.
func metrics(ts *testscript.TestScript, _ bool, args []string) {
	var peer *unix.Ucred
	h := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", ts.Getenv(client.SocketVariable))
		if err != nil {
			return nil, err
		}
		raw, err := c.(*net.UnixConn).SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { peer, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
		}
		return c, err
	}}}
	defer h.CloseIdleConnections()
	r, err := h.Get("http://daemon/metrics")
	ts.Check(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	ts.Check(err)
	if !bytes.Contains(b, []byte("faceprint_people")) {
		ts.Fatalf("no metrics: %.200s", b)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", peer.Pid))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), limits, 0o600))
}

// releasedVault makes a folder with a vault of a schema that was released.
func releasedVault(ts *testscript.TestScript, _ bool, args []string) {
	dir, from := ts.MkAbs(args[0]), "../../store/testdata/schema"+args[1]
	ts.Check(os.MkdirAll(dir, 0o755))
	f, err := os.Open(filepath.Join(from, "vault.db.gz"))
	ts.Check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	ts.Check(err)
	b, err := io.ReadAll(z)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "faceprint.db"), b, 0o600))
	for name, to := range map[string]string{"vault.db.head": "faceprint.db.head", "key": "device.key"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, to), b, 0o600))
	}
}

// addFace puts a person of that name with a face into the vault of a folder,
// which no daemon uses: to enrol one takes models. The template is of the model that is
// named behind, or of one that no daemon compares with.
func addFace(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	v, err := store.Open(filepath.Join(dir, "faceprint.db"), store.KeyFile(filepath.Join(dir, "device.key")), store.Options{})
	ts.Check(err)
	p := store.Person{ID: store.NewUserID(), Name: args[1], Created: time.Now(), Consent: store.Consent{At: time.Now(), TextVersion: "1", Language: "en"}}
	ts.Check(errors.Join(v.Update(func(tx *store.Tx) error {
		face, err := knownFace().MarshalBinary()
		if err != nil {
			return err
		}
		if err := tx.AddPerson(p); err != nil {
			return err
		}
		model := "fake"
		if len(args) > 2 {
			model = args[2]
		}
		_, err = tx.AddTemplate(store.Template{User: p.ID, Kind: store.KindFace, Model: model, Created: time.Now(), Data: face})
		return err
	}), v.Close()))
}

// knownFace is the embedding of addFace's person: nobody's, always the same.
func knownFace() vision.Embedding {
	rng, e := rand.New(rand.NewPCG(1, 2)), make(vision.Embedding, 512)
	for i := range e {
		e[i] = float32(rng.NormFloat64())
	}
	e, err := vision.Normalise(e)
	if err != nil {
		panic(err)
	}
	return e
}

// leaks opens the vault of a folder and searches every file of the folder, and
// the others that are named, for its templates, keys and names, and for
// pictures. With a "!" it must find some.
func leaks(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	needles := map[string][]byte{}
	secret := func(what string, b []byte) {
		for name, form := range map[string][]byte{
			"": b, ", hexadecimal": []byte(hex.EncodeToString(b)),
			", base64": []byte(base64.StdEncoding.EncodeToString(b[:len(b)/3*3])),
		} {
			needles[what+name] = form
		}
	}
	keyFile := filepath.Join(dir, "device.key")
	key, err := os.ReadFile(keyFile)
	ts.Check(err)
	secret("the device key", key)
	v, err := store.Open(filepath.Join(dir, "faceprint.db"), store.KeyFile(keyFile), store.Options{})
	ts.Check(err)
	bytesOf := func(what string, b []byte) { // any stretch of them
		for at := 0; at+24 <= len(b); at += 24 {
			if s := b[at : at+24]; len(bytes.Trim(s, "\x00")) > 12 {
				secret(fmt.Sprintf("%s from byte %d", what, at), s)
			}
		}
	}
	face := func(what string, e vision.Embedding) {
		b, err := e.MarshalBinary()
		ts.Check(err)
		bytesOf(what, b)
		for i := 0; i+3 <= len(e); i += 3 { // as a log or JSON would have it
			text := strings.Trim(fmt.Sprint(e[i:i+3]), "[]")
			needles[fmt.Sprintf("%s from number %d", what, i)] = []byte(text)
			needles[fmt.Sprintf("%s from number %d, JSON", what, i)] = []byte(strings.ReplaceAll(text, " ", ","))
		}
	}
	face("a face as it was captured", knownFace())
	templates := map[store.Kind]int{}
	ts.Check(errors.Join(v.View(func(tx *store.Tx) error {
		people, err := tx.People()
		for _, p := range people {
			for word := range strings.FieldsSeq(p.Name) {
				needles["the name "+word] = []byte(word)
			}
			found, err := tx.TemplatesOf(p.ID, 0)
			if err != nil {
				return err
			}
			for _, t := range found {
				templates[t.Kind]++
				bytesOf("template "+t.Kind.String(), t.Data)
				if t.Kind != store.KindFace {
					continue
				}
				turned, err := vision.UnmarshalEmbedding(t.Data)
				if err != nil {
					return err
				}
				back, err := t.Isometry.Back(turned)
				if err != nil {
					return err
				}
				face("a face as it is kept", turned)
				face("a face turned back", back)
			}
		}
		return err
	}), v.Close()))
	if templates[store.KindFace] == 0 || templates[store.KindModule] == 0 {
		ts.Fatalf("templates %v in the vault: the test does not test", templates)
	}
	needles["a JPEG"], needles["a PNG"] = []byte("\xff\xd8\xff\xe0"), []byte("\x89PNG\r\n")
	files := []string{}
	for _, a := range args[1:] {
		files = append(files, ts.MkAbs(a))
	}
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path != keyFile {
			files = append(files, path)
		}
		return err
	}))
	found := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		ts.Check(err)
		for what, needle := range needles {
			if bytes.Contains(b, needle) {
				found++
				if !neg {
					ts.Fatalf("%s holds %s", file, what)
				}
			}
		}
	}
	if neg && found == 0 {
		ts.Fatalf("nothing was found among %d things in %d files", len(needles), len(files))
	}
	ts.Logf("searched %d files for %d things", len(files), len(needles))
}

// Where the unit may use no swap, or one above it may not, what swap there is
// does not matter.
func TestSwapOutOfReachIsNotWarnedOf(t *testing.T) {
	for name, tt := range map[string]struct {
		cgroup string
		limits map[string]string
		want   string
	}{
		"the unit's own": {"0::/system.slice/faceprintd.service\n", map[string]string{"system.slice/faceprintd.service": "0\n"}, "ok"},
		"a slice's":      {"0::/system.slice/faceprintd.service\n", map[string]string{"system.slice": "0\n", "system.slice/faceprintd.service": "max\n"}, "ok"},
		"another unit's": {"0::/system.slice/faceprintd.service\n", map[string]string{"system.slice/other.service": "0\n"}, "warn"},
		"some":           {"0::/a\n", map[string]string{"a": "4096\n"}, "warn"},
		"no accounting":  {"0::/a\n", nil, "warn"},
		"version 1":      {"5:memory:/a\n", map[string]string{"a": "0\n"}, "warn"},
		"elsewhere":      {"0::/../a\n", map[string]string{"a": "0\n"}, "warn"},
		"nowhere":        {"", nil, "warn"},
	} {
		proc, sys := t.TempDir(), t.TempDir()
		files := map[string]string{
			filepath.Join(proc, "swaps"):          "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n",
			filepath.Join(proc, "self", "cgroup"): tt.cgroup,
		}
		for group, limit := range tt.limits {
			files[filepath.Join(sys, "fs", "cgroup", group, "memory.swap.max")] = limit
		}
		for file, text := range files {
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		checkSwap(func(_, state, _, _ string) { got = state }, proc, sys)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
