package tpm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/faceprint/faceprint/store"
)

// A child process enrols, forgets, rotates, moves the key into the TPM and out
// of it, makes backups and restores them, and says after each step that it is
// done. It is killed at any moment, and the TPM with it loses its power, as both
// do on a device. What is then in the vault must be what a model says, after the
// last step that was said to be done or after the next, and a key that moved on
// must open nothing.
//
// FACEPRINT_TPM_KILLS sets how often, and after a comma with which seed; `make
// nightly` asks for the full measure.

// held is what the vault holds, and where its key is.
type held struct {
	Step   int                    `json:"step"`
	Seed   uint64                 `json:"seed"`
	Key    string                 `json:"key"`      // name of its file; one in a TPM begins with "tpm"
	People map[store.UserID]int   `json:"people"`   // their failures; the device's for the empty user
	Gone   map[store.UserID]bool  `json:"gone"`     // who was forgotten
	Backup map[store.UserID]int   `json:"backup"`   // People as of the newest one; nil where there is none
	Ages   map[string]*ageKeyPair `json:"age_keys"` // of the operator and the owner
}

type ageKeyPair struct{ Public, Secret string }

func (h *held) clone() *held {
	c := *h
	c.People, c.Gone, c.Backup = maps.Clone(h.People), maps.Clone(h.Gone), maps.Clone(h.Backup)
	return &c
}

func inTPM(key string) bool { return strings.HasPrefix(key, "tpm") }

type destroyer interface{ Destroy() error }

// tortured is where all of it is.
type tortured struct{ dir, socket string }

func (x tortured) vault() string  { return filepath.Join(x.dir, "vault.db") }
func (x tortured) backup() string { return filepath.Join(x.dir, "backup.age") }

func (x tortured) source(key string) store.KeySource {
	file := filepath.Join(x.dir, key)
	if inTPM(key) {
		return Key{Device: x.socket, File: file, PCRs: []uint{7}}
	}
	return store.KeyFile(file)
}

func (x tortured) open(key string, o store.Options) (*store.Store, error) {
	o.Now = func() time.Time { return noon }
	return store.Open(x.vault(), x.source(key), o)
}

// next chooses the next step: its name, what the vault holds after it, and how it
// is done, which may put another vault in the place of the one given.
func (h *held) next() (name string, after *held, do func(tortured, **store.Store) error) {
	rng := rand.New(rand.NewPCG(h.Seed, uint64(h.Step)))
	n := h.clone()
	n.Step++
	var people []store.UserID
	for _, id := range slices.Sorted(maps.Keys(h.People)) {
		if id != "" {
			people = append(people, id)
		}
	}
	what := rng.IntN(100)
	switch {
	case len(people) < 2 || what < 15 && len(people) < 8:
		id := store.UserID(base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").EncodeToString(binary.BigEndian.AppendUint64([]byte("xy"), rng.Uint64())))
		n.People[id] = 0
		return "enrol", n, func(_ tortured, s **store.Store) error {
			return (*s).Update(func(tx *store.Tx) error {
				err := tx.AddPerson(store.Person{ID: id, Name: "n", Created: noon, Consent: store.Consent{At: noon, TextVersion: "1"}})
				_, e := tx.AddTemplate(store.Template{User: id, Kind: store.KindModule, Model: "m", Created: noon, Data: bytes.Repeat([]byte(id), 40)})
				return errors.Join(err, e)
			})
		}
	case what < 25:
		id := people[rng.IntN(len(people))]
		n.People[id]++
		n.People[""]++
		return "fail", n, func(_ tortured, s **store.Store) error {
			return (*s).Update(func(tx *store.Tx) error {
				return errors.Join(tx.SetLockout(id, store.Lockout{Failures: n.People[id]}), tx.SetLockout("", store.Lockout{Failures: n.People[""]}))
			})
		}
	case what < 45:
		id := people[rng.IntN(len(people))]
		delete(n.People, id)
		n.Gone[id] = true
		return "forget", n, func(_ tortured, s **store.Store) error { _, err := (*s).Forget(id, noon); return err }
	case what < 55:
		return "rotate", n, func(x tortured, s **store.Store) error { return (*s).Rotate(context.Background()) }
	case what < 62 || what < 80 && !inTPM(h.Key):
		n.Key = fmt.Sprintf("tpm-%d", n.Step)
		if inTPM(h.Key) {
			n.Key = fmt.Sprintf("file-%d", n.Step)
		}
		return "move", n, func(x tortured, s **store.Store) error {
			if err := (*s).MoveKey(x.source(n.Key)); err != nil {
				return err
			}
			return x.source(h.Key).(destroyer).Destroy()
		}
	case what < 86 || h.Backup == nil:
		n.Backup = maps.Clone(h.People)
		return "backup", n, func(x tortured, s **store.Store) error {
			b, err := (*s).Backup(store.BackupKeys{Operator: []string{h.Ages["operator"].Public}, Recovery: []string{h.Ages["owner"].Public}}, noon)
			if err != nil {
				return err
			}
			f, err := os.Create(x.backup() + ".new")
			if err == nil {
				_, err = f.ReadFrom(b)
				err = errors.Join(err, f.Close())
			}
			return errors.Join(err, b.Close(), os.Rename(x.backup()+".new", x.backup()))
		}
	default:
		n.People = map[store.UserID]int{}
		for id, failures := range h.Backup {
			if !h.Gone[id] {
				n.People[id] = max(failures, h.People[id])
			}
		}
		return "restore", n, func(x tortured, s **store.Store) error {
			if err := (*s).Close(); err != nil {
				return err
			}
			b, err := os.Open(x.backup())
			if err != nil {
				return err
			}
			defer b.Close()
			if _, err := store.Restore(context.Background(), x.vault(), x.source(h.Key), b, store.RestoreOptions{
				Operator: strings.NewReader(h.Ages["operator"].Secret), Recovery: strings.NewReader(h.Ages["owner"].Secret), Replace: true, At: noon,
			}); err != nil {
				return err
			}
			*s, err = x.open(h.Key, store.Options{})
			return err
		}
	}
}

// TestTortureChild is the child process: it goes on from the model on its
// standard input.
func TestTortureChild(t *testing.T) {
	dir := os.Getenv("FACEPRINT_TORTURE_CHILD")
	if dir == "" {
		t.Skip("runs as a child of the test below")
	}
	var now *held
	if err := json.NewDecoder(os.Stdin).Decode(&now); err != nil {
		t.Fatal(err)
	}
	x := tortured{dir, os.Getenv("FACEPRINT_TORTURE_TPM")}
	s, err := x.open(now.Key, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		name, after, do := now.next()
		if err := do(x, &s); err != nil {
			t.Fatalf("step %d, %s: %v", now.Step, name, err)
		}
		now = after
		if _, err := fmt.Fprintf(os.Stdout, "done %d\n", now.Step); err != nil {
			os.Exit(3)
		}
	}
}

// recovered opens what is left, as its operator would, and tells which of the two
// models it is, and whether it took an --accept-vault.
func recovered(t *testing.T, x tortured, step string, last, after *held) (now *held, accepted bool) {
	t.Helper()
	key, from := last.Key, ""
	s, err := x.open(key, store.Options{})
	if errors.Is(err, store.ErrKey) && after.Key != key {
		key, from = after.Key, last.Key
		s, err = x.open(key, store.Options{})
	}
	if errors.Is(err, store.ErrRolledBack) && step == "restore" { // between the old head and the new one
		accepted = true
		s, err = x.open(key, store.Options{Accept: true})
	}
	if err != nil {
		t.Fatalf("in step %d, %s: does not open: %v", last.Step, step, err)
	}
	defer s.Close()
	if from != "" { // what `vault rekey` does when it is called again
		if moved, err := s.MovedFrom(x.source(from)); err == nil && moved {
			if err := x.source(from).(destroyer).Destroy(); err != nil {
				t.Fatalf("the key of before: %v", err)
			}
		} else if _, e := x.source(from).Key(); err == nil && e == nil && inTPM(from) {
			t.Fatalf("the key of before opens, and is not the one that was moved from")
		}
	}
	is := map[store.UserID]int{}
	if err := s.View(func(tx *store.Tx) error {
		users, err := tx.Users()
		for _, id := range append(users, "") {
			if last.Gone[id] {
				t.Errorf("in step %d, %s: %s was forgotten, and is back", last.Step, step, id)
			}
			l, e := tx.Lockout(id)
			is[id], err = l.Failures, errors.Join(err, e)
		}
		return errors.Join(err, tx.Verify())
	}); err != nil {
		t.Fatalf("in step %d, %s: %v", last.Step, step, err)
	}
	for _, m := range []*held{after, last} {
		if m.Key != key || !maps.Equal(m.People, is) {
			continue
		}
		if step == "backup" { // the vault does not tell
			m = last
		}
		now = m.clone()
		return now, accepted
	}
	t.Fatalf("in step %d, %s: holds %v with %s, want %v with %s, or %v with %s", last.Step, step, is, key, last.People, last.Key, after.People, after.Key)
	return nil, false
}

func TestKilledWithTheTPMNothingIsLost(t *testing.T) {
	kills, seed := 20, uint64(1)
	if v := os.Getenv("FACEPRINT_TPM_KILLS"); v != "" {
		if n, _ := fmt.Sscanf(v, "%d,%d", &kills, &seed); n < 1 {
			t.Fatal("FACEPRINT_TPM_KILLS is not KILLS or KILLS,SEED")
		}
	}
	chip := startTPM(t)
	x := tortured{t.TempDir(), chip.socket}
	now := &held{Seed: seed, Key: "tpm-0", People: map[store.UserID]int{"": 0}, Gone: map[store.UserID]bool{}, Ages: map[string]*ageKeyPair{}}
	for _, who := range []string{"operator", "owner"} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		now.Ages[who] = &ageKeyPair{id.Recipient().String(), id.String()}
	}
	s, err := x.open(now.Key, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, seed))
	done, cut := map[string]int{}, map[string]int{}
	kept, accepted, useless := 0, 0, 0
	for kill := range kills {
		var old []byte // the sealed key, as it was before
		if inTPM(now.Key) {
			if old, err = os.ReadFile(filepath.Join(x.dir, now.Key)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestTortureChild$")
		cmd.Env = append(os.Environ(), "FACEPRINT_TORTURE_CHILD="+x.dir, "FACEPRINT_TORTURE_TPM="+x.socket, "GOMAXPROCS=1")
		text, err := json.Marshal(now)
		if err != nil {
			t.Fatal(err)
		}
		var trouble bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(text), &trouble
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		// Anywhere in the step after some that it may finish, and with none of them from
		// its first instruction on.
		finish, soon := rng.IntN(4), time.Duration(rng.IntN(150_000))*time.Microsecond
		var timer *time.Timer
		end := func() { timer = time.AfterFunc(soon, func() { _ = cmd.Process.Kill() }) }
		if finish == 0 {
			end()
		}
		last, movedOn := now, false
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			name, after, _ := last.next()
			if lines.Text() != "done "+strconv.Itoa(after.Step) {
				_ = cmd.Process.Kill()
				t.Fatalf("kill %d: the child says %q, want step %d\n%s", kill, lines.Text(), after.Step, trouble.String())
			}
			done[name]++
			movedOn = movedOn || inTPM(last.Key) && (name == "forget" || name == "rotate" || name == "move")
			last = after
			if finish--; finish == 0 {
				end()
			}
		}
		err = cmd.Wait()
		if timer == nil { // it ended on its own
			t.Fatalf("kill %d, step %d: %v\n%s", kill, last.Step, err, trouble.String())
		}
		timer.Stop()
		chip.stop()
		chip.start(t)
		name, after, _ := last.next()
		cut[name]++
		took := false
		if now, took = recovered(t, x, name, last, after); took {
			accepted++
		}
		if now.Step != last.Step {
			kept++
		}
		if old != nil && movedOn {
			file := filepath.Join(t.TempDir(), "old")
			if err := os.WriteFile(file, old, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := (Key{Device: x.socket, File: file, PCRs: []uint{7}}).Key(); err == nil {
				t.Fatalf("kill %d, step %d: the key that moved on still opens", kill, last.Step)
			}
			useless++
		}
	}
	t.Logf("%d kills; acknowledged and none lost: %v; killed in: %v; %d times the step under way was kept; %d times it took --accept-vault; %d keys that moved on open nothing",
		kills, done, cut, kept, accepted, useless)
	if done["forget"] == 0 || done["move"] == 0 || done["restore"] == 0 || useless == 0 {
		t.Error("not every kind of step was ever acknowledged: the test does not test")
	}
}
