package phone

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// memory is a vault without a disk. What it keeps goes through JSON, as in the
// real one.
type memory struct {
	mu       sync.Mutex
	key      []byte
	records  map[string][]byte // by id
	counters map[string][]byte
	people   map[string]string
	entries  []wire.Entry
	refused  []map[string]float64
	commits  int
	fails    error
	during   func(kind string) // is called in a change before it is made; may be nil
}

func newMemory(people ...string) *memory {
	m := &memory{records: map[string][]byte{}, counters: map[string][]byte{}, people: map[string]string{}}
	for _, p := range people {
		m.people[p] = "Name of " + p
	}
	return m
}

// copy is an old copy of the card.
func (m *memory) copy() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{key: slices.Clone(m.key), records: maps.Clone(m.records), counters: maps.Clone(m.counters), people: maps.Clone(m.people)}
}

func (m *memory) PhoneKey(made func() ([]byte, error)) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.key == nil {
		var err error
		if m.key, err = made(); err != nil {
			return nil, err
		}
	}
	return slices.Clone(m.key), nil
}

func (m *memory) Phones() (all []Kept, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, b := range m.records {
		var k Kept
		if err := errors.Join(json.Unmarshal(b, &k.Record), json.Unmarshal(m.counters[id], &k.Counter)); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func (m *memory) put(r Record) error {
	if err := errors.Join(m.fails, r.Check()); err != nil {
		return err
	}
	key, _ := client.ParseKey(r.Key)
	b, err := json.Marshal(r)
	m.records[key.ID()] = b
	m.commits++
	return err
}

func (m *memory) begun(kind string) {
	m.mu.Lock()
	f := m.during
	m.mu.Unlock()
	if f != nil {
		f(kind)
	}
}

func (m *memory) Pair(r Record, c Counter, remove []string, at time.Time) error {
	m.begun("phone-pair")
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.put(r); err != nil {
		return err
	}
	for _, id := range remove {
		delete(m.records, id)
		delete(m.counters, id)
	}
	m.entry("phone-pair", r.User, at)
	return m.count(c)
}

func (m *memory) entry(kind, user string, at time.Time) {
	m.entries = append(m.entries, wire.Entry{Seq: uint64(len(m.entries) + 1), At: at, Kind: kind, User: user, Outcome: "done"})
}

func (m *memory) Change(r Record, kind, by string, at time.Time) error {
	m.begun(kind)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entry(kind, r.User, at)
	m.entries[len(m.entries)-1].Reasons = []string{"by:" + by}
	return m.put(r)
}

func (m *memory) Keep(r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put(r)
}

func (m *memory) count(c Counter) error {
	if err := errors.Join(m.fails, c.Check()); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	m.counters[c.ID] = b
	return err
}

func (m *memory) Count(cs []Counter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	for _, c := range cs {
		if err := m.count(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) AcceptClock(cs []Counter, was, at time.Time, by string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	for _, c := range cs {
		if err := m.count(c); err != nil {
			return err
		}
	}
	m.entry("phone-clock", "", at)
	m.entries[len(m.entries)-1].Reasons = []string{"by:" + by, "was:" + was.Format(time.RFC3339)}
	return m.fails
}

func (m *memory) Refused(counts map[string]float64, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, counts)
	return m.fails
}

func (m *memory) Name(user string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.people[user]; ok {
		return n, nil
	}
	return "", noPhone(user)
}

func (m *memory) History(user string, before uint64, limit int) ([]wire.Entry, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := []wire.Entry{}
	for _, e := range slices.Backward(m.entries) {
		if e.User == user && (before == 0 || e.Seq < before) && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, 0, nil
}

// authenticator is a device that says what a test tells it to.
type authenticator struct {
	mu       sync.Mutex
	decision wire.Decision
	err      error
	asked    []Attempt
	events   chan wire.Event
	told     []wire.Event
	grants   map[string]string // grant to pair -> user
	during   func(context.Context, Attempt)
}

func (a *authenticator) Attempt(ctx context.Context, at Attempt) (wire.Decision, error) {
	a.mu.Lock()
	a.asked = append(a.asked, at)
	during, d, err := a.during, a.decision, a.err
	a.mu.Unlock()
	if during != nil {
		during(ctx, at)
	}
	return d, err
}

func (a *authenticator) Keys(context.Context) (wire.Keys, error) { return wire.Keys{}, nil }
func (a *authenticator) Events(context.Context) <-chan wire.Event {
	return a.events
}

func (a *authenticator) Announce(e wire.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, e)
}

func (a *authenticator) CheckPairing(grant string) (string, error) {
	if u, ok := a.grants[grant]; ok {
		return u, nil
	}
	return "", errors.New("no grant")
}

// clock that a test sets: what the wall shows, and what has passed.
type clock struct {
	mu         sync.Mutex
	now, ticks time.Time
}

func (c *clock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) tick() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ticks
}

// add lets time pass.
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.ticks = c.now.Add(d), c.ticks.Add(d)
}

// set sets the wall clock, by so much.
func (c *clock) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a device that serves phones on loopback.
type bench struct {
	*Phones
	vault  *memory
	device *authenticator
	clock  *clock
	addr   string
	stop   func()
}

// noon of a Wednesday.
func noon() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.Local) }

// many limits nothing that the tests do.
var many = Limits{Handshakes: Rate{1e6, 1e6}, Unsigned: Rate{1e6, 1e6}, Signed: Rate{1e6, 1e6}, Attempts: Rate{1e6, 1e6}, Person: Rate{1e6, 1e6}, History: Rate{1e6, 1e6}}

// newBench is a device that has not begun to serve.
func newBench(t testing.TB, v *memory, o Options) *bench {
	t.Helper()
	b := &bench{vault: v, device: &authenticator{events: make(chan wire.Event), decision: wire.Decision{Outcome: wire.Granted, Grant: "g"}}, clock: &clock{now: noon(), ticks: noon()}}
	if o.Now == nil {
		o.Now = b.clock.get
	}
	if o.tick == nil {
		o.tick = b.clock.tick
	}
	o.Log = slog.New(slog.DiscardHandler)
	var err error
	if b.Phones, err = Open(v, b.device, o); err != nil {
		t.Fatal(err)
	}
	return b
}

func serve(t testing.TB, v *memory, o Options) *bench {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, v, o, l)
}

func serveOn(t testing.TB, v *memory, o Options, l net.Listener) *bench {
	t.Helper()
	b := newBench(t, v, o)
	b.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, l) }()
	for b.address() == "" { // until Serve listens; it takes no time
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			stop()
			if err := <-done; err != nil {
				t.Errorf("stopping: %v", err)
			}
		})
	}
	t.Cleanup(b.stop)
	return b
}

// invite makes a code for the person.
func (b *bench) invite(t testing.TB, in wire.Invite) client.Invitation {
	t.Helper()
	invited, err := b.Invite(t.Context(), in, "admin", "")
	if err != nil {
		t.Fatal(err)
	}
	i, err := client.ParseInvitation(invited.Text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// pair makes a phone of the person's.
func (b *bench) pair(t testing.TB, in wire.Invite) (*client.Identity, *client.Client) {
	t.Helper()
	i, err := client.NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Pair(t.Context(), b.invite(t, in), "Alice's phone", "test"); err != nil {
		t.Fatal(err)
	}
	c := i.Client()
	t.Cleanup(c.Close)
	return i, c
}

// wantProblem fails unless the device answered with that problem.
func wantProblem(t testing.TB, err error, status int, kind string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Status != status || e.Problem() != kind {
		t.Errorf("got %v, want %d %s", err, status, kind)
	}
}

func TestPairAndAsk(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Version: "1", Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice", Schedule: "mon-fri 08:00-18:00"})
	if i.User != "alice" || i.ID != i.Public().ID() {
		t.Errorf("paired as %+v", i)
	}
	me, err := c.Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if me.User != "alice" || me.Name != "Name of alice" || me.Phone.ID != i.ID || me.Phone.By != "admin" || me.Phone.Kind != "app" || me.Phone.Schedule != "mon-fri 08:00-18:00" || len(me.Phone.Rights) != 4 {
		t.Errorf("%+v", me)
	}
	d, err := c.Unlock(t.Context(), client.Unlock{Nonce: "n", Audience: "door"})
	if err != nil || d.Outcome != wire.Granted {
		t.Fatalf("%+v, %v", d, err)
	}
	if d, err = c.Verify(t.Context(), client.VerifyMe{Nonce: "m", Audience: "app"}); err != nil || d.Grant != "g" {
		t.Fatalf("%+v, %v", d, err)
	}
	for n, want := range []Attempt{{User: "alice", Nonce: "n", Audience: "door", Phone: i.ID, Enter: true}, {User: "alice", Nonce: "m", Audience: "app", Phone: i.ID}} {
		got := b.device.asked[n]
		got.Notify = nil
		if got.User != want.User || got.Nonce != want.Nonce || got.Audience != want.Audience || got.Phone != want.Phone || got.Enter != want.Enter {
			t.Errorf("asked %+v, want %+v", got, want)
		}
	}
	_, err = c.Verify(t.Context(), client.VerifyMe{Nonce: "m", Audience: wire.PairAudience})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	_, err = c.Unlock(t.Context(), client.Unlock{Audience: wire.PairAudience})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	if len(b.device.asked) != 2 {
		t.Errorf("the device was asked for a grant of its own: %+v", b.device.asked[2:])
	}
	h, err := c.History(t.Context(), 0, 10)
	if err != nil || len(h.Entries) != 1 || h.Entries[0].Kind != "phone-pair" {
		t.Errorf("%+v, %v", h, err)
	}
	if ps, err := c.Phones(t.Context()); err != nil || len(ps.Phones) != 1 {
		t.Errorf("%+v, %v", ps, err)
	}
	if len(b.device.told) != 1 || b.device.told[0].Kind != "phone-paired" || b.device.told[0].User != "alice" {
		t.Errorf("told %+v", b.device.told)
	}
	if _, err := c.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemRevoked)
}

// timed is a connection that knows until when it may be silent.
type timed struct {
	*net.TCPConn
	mu    sync.Mutex
	until time.Time
}

func (c *timed) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.until = t
	c.mu.Unlock()
	return c.TCPConn.SetReadDeadline(t)
}

func (c *timed) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

type timing struct{ net.Listener }

func (l timing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &timed{TCPConn: c.(*net.TCPConn)}, nil
}

// A phone that waits for its person's face or finger says nothing for as long
// as that takes: a deadline would end the attempt.
func TestAttemptsMayWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := serveOn(t, newMemory("alice"), Options{Limits: many}, timing{l})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	looked := 0
	b.device.during = func(context.Context, Attempt) {
		x := b.find(i.ID)
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, link := range x.links {
			n := link.Conn.(*timed)
			n.mu.Lock()
			if !n.until.IsZero() {
				t.Errorf("the phone must say something within %v", time.Until(n.until))
			}
			n.mu.Unlock()
			looked++
		}
	}
	if _, err := c.Unlock(t.Context(), client.Unlock{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Verify(t.Context(), client.VerifyMe{Nonce: "n", Audience: "a"}); err != nil {
		t.Error(err)
	}
	if looked < 2 {
		t.Errorf("%d connections were looked at", looked)
	}
}

// A connection that the device closed while nothing was asked is not used for
// what cannot be asked twice.
func TestClosedConnectionIsNotUsed(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	for range 3 {
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SetTerms(i.ID, wire.PhoneTerms{Rights: Rights}, "uid:7"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Verify(t.Context(), client.VerifyMe{Nonce: "n", Audience: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.device.asked); n != 3 {
		t.Errorf("three questions made %d attempts", n)
	}
}

// A key that cannot be kept uses no code up, and a code that is refused leaves
// no file.
func TestKeyIsKeptBeforeTheCodeIsUsed(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	code := b.invite(t, wire.Invite{User: "alice"})
	lost, err := client.NewIdentity(filepath.Join(t.TempDir(), "nowhere", "phone.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := lost.Pair(t.Context(), code, "lost", "test"); !errors.Is(err, fs.ErrNotExist) || len(b.List()) != 0 {
		t.Fatalf("%v; paired: %+v", err, b.List())
	}
	file := filepath.Join(t.TempDir(), "phone.json")
	i, err := client.NewIdentity(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Pair(t.Context(), code, "kept", "test"); err != nil {
		t.Fatal(err)
	}
	if again, err := client.OpenIdentity(file); err != nil || again.ID != i.ID || again.User != "alice" {
		t.Errorf("%+v, %v", again, err)
	}
	late, err := client.NewIdentity(file + "2")
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, late.Pair(t.Context(), code, "late", "test"), 403, wire.ProblemPairing)
	if _, err := os.Stat(file + "2"); !errors.Is(err, fs.ErrNotExist) || late.ID != "" {
		t.Errorf("a code that was used leaves a phone: %v", err)
	}
}
