package store

import (
	"bufio"
	"bytes"
	"context"
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
)

// A child process does mixed work on a vault and says after each step that it
// is done. It is killed at any moment, or its writes are recorded and the power
// is cut between any two of them; what is then in the vault must be what a model
// of it says, after the last step that was said to be done or after the next.
//
// FACEPRINT_TORTURE=kills,cuts sets how much of it is done, a third number with
// which seed, so that a second run does other work; `make nightly` asks for the
// full measure.

// model is what a vault holds, as far as the torture changes it.
type model struct {
	Step    int                 `json:"step"`
	Seed    uint64              `json:"seed"`
	People  map[UserID]*modeled `json:"people"`
	Device  int                 `json:"device"`
	Entries []string            `json:"entries"` // kinds and outcomes
	Base    int                 `json:"base"`
}

type modeled struct {
	Failures  int      `json:"failures"`
	Face      int      `json:"face"` // which of the numbers is 1
	Templates []string `json:"templates"`
	PIN       string   `json:"pin"`
}

func (m *model) clone() *model {
	c := *m
	c.People = map[UserID]*modeled{}
	for id, p := range m.People {
		q := *p
		q.Templates = slices.Clone(p.Templates)
		c.People[id] = &q
	}
	c.Entries = slices.Clone(m.Entries)
	return &c
}

func (m *model) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "device %d\n", m.Device)
	for _, id := range slices.Sorted(maps.Keys(m.People)) {
		p := m.People[id]
		fmt.Fprintf(&b, "%s %d %d %q %q\n", id, p.Failures, p.Face, p.Templates, p.PIN)
	}
	for i, e := range m.Entries[m.Base:] {
		fmt.Fprintf(&b, "%d %s\n", m.Base+i+1, e)
	}
	return b.String()
}

// brief is the same of a real vault.
func brief(tx *Tx) (string, error) {
	m := &model{People: map[UserID]*modeled{}}
	users, err := tx.Users()
	if err != nil {
		return "", err
	}
	for _, id := range users {
		p := &modeled{}
		l, err := tx.Lockout(id)
		if err != nil {
			return "", err
		}
		p.Failures = l.Failures
		ts, err := tx.TemplatesOf(id, 0)
		if err != nil {
			return "", err
		}
		for _, t := range ts {
			if t.Kind == KindFace {
				p.Face = hottest(t)
			} else {
				p.Templates = append(p.Templates, string(t.Data[:8]))
			}
		}
		slices.Sort(p.Templates)
		r, err := tx.GetRecord(Record{Kind: "pin", User: id, Key: "1"})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
		p.PIN = string(r.Value)
		m.People[id] = p
	}
	l, err := tx.Lockout("")
	if err != nil {
		return "", err
	}
	m.Device = l.Failures
	base, err := tx.Base()
	if err != nil {
		return "", err
	}
	m.Base = int(base.Seq)
	m.Entries = make([]string, m.Base)
	es, err := tx.Audit(base.Seq, 1<<30)
	for _, e := range es {
		m.Entries = append(m.Entries, e.Kind+" "+e.Outcome)
	}
	return m.String(), errors.Join(err, tx.Verify())
}

// next chooses the next step and says what the vault may hold while it is done
// and, last, when it is done. do does it; it is not called by the parent.
func (m *model) next() (after []*model, do func(*Store) error) {
	rng := rand.New(rand.NewPCG(m.Seed, uint64(m.Step)))
	n := m.clone()
	n.Step++
	add := func(n *model, tx *Tx, kind, outcome string) error {
		n.Entries = append(n.Entries, kind+" "+outcome)
		if tx == nil {
			return nil
		}
		_, err := tx.Append(Entry{At: noon, Kind: kind, Outcome: outcome})
		return err
	}
	one := func(f func(tx *Tx, n *model) error) ([]*model, func(*Store) error) {
		_ = f(nil, n)
		return []*model{n}, func(s *Store) error {
			return s.Update(func(tx *Tx) error { return f(tx, m.clone()) })
		}
	}
	ids := slices.Sorted(maps.Keys(m.People))
	pick := func() UserID { return ids[rng.IntN(len(ids))] }
	what := rng.IntN(100)
	switch {
	case len(ids) == 0 || what < 18 && len(ids) < 12: // enrol
		id := UserID(base32Lower.EncodeToString(binary.BigEndian.AppendUint64([]byte("xy"), rng.Uint64())))
		data := make([]byte, 600+rng.IntN(3000))
		for i := range data {
			data[i] = byte('a' + rng.IntN(26))
		}
		face := rng.IntN(faceSize)
		return one(func(tx *Tx, n *model) error {
			n.People[id] = &modeled{Face: face, Templates: []string{string(data[:8])}}
			err := add(n, tx, "enrol", "done")
			if tx == nil {
				return err
			}
			err = errors.Join(err, tx.AddPerson(Person{ID: id, Name: "n", Created: noon, Consent: Consent{At: noon, TextVersion: "1"}}))
			_, e := tx.AddTemplate(Template{ID: "t", User: id, Kind: KindModule, Model: "m", Created: noon, Data: bytes.Clone(data)})
			_, e2 := tx.AddTemplate(Template{ID: "f", User: id, Kind: KindFace, Model: "m", Created: noon, Data: unit(face)})
			return errors.Join(err, e, e2)
		})
	case what < 50: // an attempt is counted before it is made
		id := pick()
		return one(func(tx *Tx, n *model) error {
			n.People[id].Failures++
			n.Device++
			if tx == nil {
				return nil
			}
			return errors.Join(tx.SetLockout(id, Lockout{Failures: n.People[id].Failures, Last: noon}), tx.SetLockout("", Lockout{Failures: n.Device}))
		})
	case what < 75: // and recorded
		id, granted := pick(), rng.IntN(2) == 0
		return one(func(tx *Tx, n *model) error {
			outcome := "refused"
			if granted {
				outcome = "granted"
				n.People[id].Failures, n.Device = 0, 0
			}
			err := add(n, tx, "authenticate", outcome)
			if tx == nil || !granted {
				return err
			}
			return errors.Join(err, tx.SetLockout(id, Lockout{}), tx.SetLockout("", Lockout{}))
		})
	case what < 82: // a room above keeps something
		id, pin := pick(), strconv.Itoa(rng.IntN(10000))
		return one(func(tx *Tx, n *model) error {
			n.People[id].PIN = pin
			if tx == nil {
				return nil
			}
			return tx.PutRecord(Record{Kind: "pin", User: id, Key: "1", Value: []byte(pin)})
		})
	case what < 88: // forget
		id := pick()
		delete(n.People, id)
		_ = add(n, nil, "forget", "done")
		return []*model{n}, func(s *Store) error { _, err := s.Forget(id, noon); return err }
	case what < 92:
		begun := m.clone()
		_ = add(begun, nil, "rotate-keys", "begun")
		_ = add(n, nil, "rotate-keys", "begun")
		_ = add(n, nil, "rotate-keys", "done")
		return []*model{begun, n}, func(s *Store) error { return s.Rotate(context.Background()) }
	case what < 94:
		return []*model{n}, (*Store).Compact
	case what < 97: // everybody's faces, in one batch and two notes
		begun := m.clone()
		_ = add(begun, nil, "renew", "begun")
		_ = add(n, nil, "renew", "begun")
		_ = add(n, nil, "renew", "done")
		return []*model{begun, n}, func(s *Store) error { _, err := s.Renew(context.Background(), "", noon); return err }
	default:
		keep := 15
		n.Base = max(n.Base, len(n.Entries)-keep)
		return []*model{n}, func(s *Store) error {
			return s.Update(func(tx *Tx) error {
				_, err := tx.PruneAudit(keep, noon, func(Checkpoint) (string, error) { return "signed", nil })
				return err
			})
		}
	}
}

// TestTortureChild is the child process: it goes on from the model on its
// standard input.
func TestTortureChild(t *testing.T) {
	dir := os.Getenv("FACEPRINT_TORTURE_CHILD")
	if dir == "" {
		t.Skip("runs as a child of the other tests here")
	}
	var m model
	if err := json.NewDecoder(os.Stdin).Decode(&m); err != nil {
		t.Fatal(err)
	}
	steps, err := strconv.Atoi(os.Getenv("FACEPRINT_TORTURE_STEPS"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	now := &m
	for range steps {
		after, do := now.next()
		if err := do(s); err != nil {
			t.Fatalf("step %d: %v", now.Step, err)
		}
		now = after[len(after)-1]
		if _, err := os.Stdout.WriteString(fmt.Sprintf("done %d\n", now.Step)); err != nil {
			os.Exit(3)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func child(t *testing.T, dir string, m *model, steps int, wrapper ...string) *exec.Cmd {
	t.Helper()
	args := append(wrapper, os.Args[0], "-test.run=^TestTortureChild$")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "FACEPRINT_TORTURE_CHILD="+dir, "FACEPRINT_TORTURE_STEPS="+strconv.Itoa(steps), "GOMAXPROCS=1")
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(b)
	return cmd
}

// recovered opens what is left in dir, tells which of the allowed models it is,
// and searches it for those who were forgotten.
func recovered(t *testing.T, dir string, allowed []*model, tr *traces) *model {
	t.Helper()
	s, err := Open(filepath.Join(dir, "vault.db"), KeyFile(filepath.Join(dir, "key")), Options{})
	if err != nil {
		t.Fatalf("does not open: %v", err)
	}
	defer s.Close()
	var says string
	if err := s.View(func(tx *Tx) (err error) { says, err = brief(tx); return errors.Join(err, tr.vault(tx)) }); err != nil {
		t.Fatalf("is damaged: %v", err)
	}
	for _, m := range allowed {
		if m.String() == says {
			tr.model(allowed[0])
			tr.check(t, dir, m)
			return m
		}
	}
	var want strings.Builder
	for _, m := range allowed {
		fmt.Fprintf(&want, "--- step %d\n%s", m.Step, m)
	}
	t.Fatalf("holds\n%sbut should hold one of\n%s", says, want.String())
	return nil
}

// torture reads how much is asked for.
func torture(kills, cuts int) (int, int, uint64) {
	seed := uint64(0)
	if v := os.Getenv("FACEPRINT_TORTURE"); v != "" {
		if n, _ := fmt.Sscanf(v, "%d,%d,%d", &kills, &cuts, &seed); n < 2 {
			panic("FACEPRINT_TORTURE is not KILLS,CUTS or KILLS,CUTS,SEED")
		}
	}
	return kills, cuts, seed
}

func TestKilledAtAnyMomentNothingAcknowledgedIsLost(t *testing.T) {
	kills, _, seed := torture(120, 0)
	dir := t.TempDir()
	now := &model{Seed: 7 + seed, People: map[UserID]*modeled{}}
	rng := rand.New(rand.NewPCG(3, 4+seed))
	acknowledged, inFlight := 0, 0
	tr := newTraces()
	for kill := range kills {
		cmd := child(t, dir, now, 1<<20)
		var trouble bytes.Buffer
		cmd.Stderr = &trouble
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Anywhere from its first instruction to its tenth step or so.
		timer := time.AfterFunc(time.Duration(rng.IntN(60_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		last := now
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			after, _ := last.next()
			tr.model(last)
			last = after[len(after)-1]
			if lines.Text() != fmt.Sprintf("done %d", last.Step) {
				_ = cmd.Process.Kill()
				t.Fatalf("kill %d: the child says %q, want step %d\n%s", kill, lines.Text(), last.Step, trouble.String())
			}
			acknowledged++
		}
		_ = cmd.Wait()
		timer.Stop()
		after, _ := last.next()
		now = recovered(t, dir, append([]*model{last}, after...), tr)
		if now != last {
			inFlight++
		}
		if now.Step == last.Step && now != last { // half a rotation: go on from there
			now = now.clone()
			now.Step++
		}
	}
	t.Logf("%d kills, %d steps acknowledged, none lost; %d times the step under way was kept; nothing was left of %d who were forgotten", kills, acknowledged, inFlight, tr.searched)
	if acknowledged == 0 || tr.searched == 0 {
		t.Error("no step was ever acknowledged, or nobody forgotten: the test does not test")
	}
}

func TestKilledWhileMigrating(t *testing.T) {
	kills, _, seed := torture(120, 0)
	rng := rand.New(rand.NewPCG(5, 6+seed))
	for i := range max(kills/20, 6) {
		path, key := released(t, releasedSchemas[i%len(releasedSchemas)])
		dir := filepath.Dir(path)
		cmd := child(t, dir, &model{}, 0)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(rng.IntN(20_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		migrated(t, path, key)
	}
}

// migrated opens a released vault that was migrated, or was about to be.
func migrated(t *testing.T, path string, key KeyFile) {
	t.Helper()
	s, err := Open(path, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(func(tx *Tx) error {
		p, err := tx.People()
		ts, err2 := tx.Templates(KindFace)
		if len(p) != 2 || len(ts) != 2 || hottest(ts[0]) != 0 || hottest(ts[1]) != 4 {
			t.Errorf("%d people, %d faces", len(p), len(ts))
		}
		return errors.Join(err, err2, tx.Verify())
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}
