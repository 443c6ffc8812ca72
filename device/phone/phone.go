package phone

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// Rights of a phone. The names are part of the API.
const (
	Unlock  = "unlock"  // ask to be let in
	Approve = "approve" // answer what the kiosk asks
	Verify  = "verify"  // have the device vouch for its person
	Past    = "history" // see what happened to its person
)

// Rights are all of them.
var Rights = []string{Unlock, Approve, Verify, Past}

// kioskRights are what a phone paired at a kiosk may do where the person chose
// nothing else: answer what the device asks, and nothing of its own accord.
var kioskRights = []string{Approve}

// Record is a paired phone as the vault keeps it. The zero times are never.
type Record struct {
	User     string      `json:"user"`
	Key      string      `json:"key"` // client.Key as text; the phone's id comes from it
	Kind     client.Kind `json:"kind"`
	Name     string      `json:"name"`
	Platform string      `json:"platform"`
	Paired   time.Time   `json:"paired"`
	By       string      `json:"by"`              // the role of who invited it
	Asker    string      `json:"asker,omitempty"` // and which account that was, such as uid:1000
	Expires  time.Time   `json:"expires,omitzero"`
	Revoked  time.Time   `json:"revoked,omitzero"`
	Rights   []string    `json:"rights"`
	Schedule string      `json:"schedule,omitempty"`
	// Unseen: it was paired with the kiosk's own code, and the kiosk has not told
	// yet (Keep) that its person was there. Until then it may do nothing, and the
	// next start revokes it.
	Unseen bool `json:"unseen,omitempty"`
}

// Check refuses what this package would not write.
func (r Record) Check() error {
	key, err := client.ParseKey(r.Key)
	if err != nil {
		return err
	}
	if err := (client.Applicant{Key: key, Kind: r.Kind, Name: r.Name, Platform: r.Platform}).Check(); err != nil {
		return err
	}
	if r.User == "" || r.Paired.IsZero() || len(r.Rights) == 0 {
		return errors.New("phone: nobody's, or paired at no time, or without rights")
	}
	for _, right := range r.Rights {
		if !slices.Contains(Rights, right) {
			return fmt.Errorf("phone: right %q", right)
		}
	}
	_, err = ParseSchedule(r.Schedule)
	return err
}

// Counter is how far a phone's requests have come. It is kept apart from the
// Record because it is written often.
type Counter struct {
	ID   string    `json:"id"`
	User string    `json:"user"`
	Top  uint64    `json:"top"`  // no counter above it was accepted
	Seen time.Time `json:"seen"` // not after Known
	// Known is how late the device took it to be, at least: after a restart too, a
	// clock that was set back revives nothing. Sure is how late a clock with a time
	// server said that it was; what Known says beyond it holds until one is heard.
	Known time.Time `json:"known,omitzero"`
	Sure  time.Time `json:"sure,omitzero"`
}

// Check refuses what this package would not write.
func (c Counter) Check() error {
	if c.ID == "" || c.User == "" || c.Top > client.MaxCounter || c.Seen.IsZero() {
		return errors.New("phone: a counter without a phone, a person or a time, or beyond the highest")
	}
	return nil
}

// Kept is a phone as it was found in the vault.
type Kept struct {
	Record  Record
	Counter Counter
}

// Vault keeps phones. Each call is one commit; what belongs to a person goes
// with them when they are forgotten.
type Vault interface {
	// PhoneKey opens the device's TLS key (PKCS #8), which made makes the first
	// time. The caller wipes it.
	PhoneKey(made func() ([]byte, error)) ([]byte, error)
	// Phones lists all. One whose counter is missing is damage: an error.
	Phones() ([]Kept, error)
	// Pair keeps a new phone with its counter, removes the phones named, and
	// records it, all or nothing.
	Pair(r Record, c Counter, remove []string, at time.Time) error
	// Change replaces a phone's record and records in the audit that by did what
	// kind says.
	Change(r Record, kind, by string, at time.Time) error
	// Keep replaces a phone's record, of which there is nothing to record.
	Keep(r Record) error
	// Count keeps counters; those of people who are gone are passed over.
	Count([]Counter) error
	// AcceptClock keeps counters like Count, and records in the audit that by took
	// the device's clock for right, by which it is at, though it had been was.
	AcceptClock(cs []Counter, was, at time.Time, by string) error
	// Refused records how often who was refused why.
	Refused(counts map[string]float64, at time.Time) error
	// Name of a person; an error where there is none.
	Name(user string) (string, error)
	// History returns the person's entries before a number (0: from the end),
	// newest first, and the number to go on with, 0 at the end.
	History(user string, before uint64, limit int) ([]wire.Entry, uint64, error)
}

// Attempt is what a phone asks the device for.
type Attempt struct {
	User, Nonce, Audience string
	Timeout               time.Duration
	Phone                 string           // the id of the phone that proved its key
	Enter                 bool             // let the person in; else the grant vouches for them, and no door opens
	Kiosk                 bool             // sign the person in on the kiosk's page, where they stand
	Notify                func(wire.Event) // hints and progress of this attempt
}

// Device decides and tells what happens. An error that is a *api.Problem of
// device/api is answered as it is.
type Device interface {
	Attempt(context.Context, Attempt) (wire.Decision, error)
	Keys(context.Context) (wire.Keys, error)
	// Events are delivered until the context ends.
	Events(context.Context) <-chan wire.Event
	// Announce tells everybody at the device.
	Announce(wire.Event)
	// CheckPairing returns the person of a grant of this device that lets them
	// pair a phone, the first time that it is shown.
	CheckPairing(grant string) (string, error)
}

// Options of Open. The zero value is sound.
type Options struct {
	Address  string // host:port for the code; empty is where Serve listens
	Browsers bool   // serve the page and take browsers' keys
	Limits   Limits
	Version  string
	Log      *slog.Logger     // nil: slog.Default
	Now      func() time.Time // nil: time.Now
	// ClockTrusted tells whether Now follows a time server; nil: it never does.
	ClockTrusted func() bool

	tick func() time.Time // the monotonic clock; nil: time.Now
}

// Phones are the paired phones of a device. The methods may be called
// concurrently.
type Phones struct {
	vault  Vault
	device Device
	opts   Options
	log    *slog.Logger
	time   *timekeeper
	tick   func() time.Time // the monotonic clock, for limits, codes and sessions
	after  func(time.Duration, func()) (stop func() bool)
	cert   tls.Certificate
	pin    client.Pin

	unsigned *limiter
	refusals *refusals
	sessions *sessions
	streams  streams
	pending  pending
	invites  invites
	handler  http.Handler
	marshal  func(http.ResponseWriter, any) error
	spec     []byte

	mu     sync.RWMutex
	phones map[string]*paired // by id
	addr   string             // where it listens

	trying  sync.Mutex
	persons map[string]*bucket // of Limits.Person, what no phone has for itself; at most one for each person with a phone

	counting sync.Mutex // held while counters are kept, before any paired.mu
	wishing  sync.Mutex // guards wishes; held last
	wishes   []*wish    // for higher tops, that no commit has taken up yet
}

// paired is one phone.
type paired struct {
	id  string
	key *ecdsa.PublicKey

	mu       sync.Mutex
	record   Record
	schedule Schedule
	gone     bool // forgotten or replaced
	last     uint64
	taken    uint64    // bit n: last-n was accepted since the start
	heard    bool      // something was accepted since the start
	copied   time.Time // when it was last told that the key is used by two
	top      uint64    // as the vault has it
	seen     time.Time
	known    time.Time // as the vault has it, with this phone
	bucket   bucket
	attempts bucket  // of Limits.Attempts
	share    bucket  // of Limits.Person, what is this phone's of it; guarded by Phones.trying, too
	pages    bucket  // of Limits.History
	links    []*link // the oldest first
}

// Open reads the phones and makes or opens the device's TLS key.
func Open(v Vault, d Device, o Options) (*Phones, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.tick == nil {
		o.tick = time.Now
	}
	o.Limits = o.Limits.withDefaults()
	p := &Phones{
		vault: v, device: d, opts: o, log: o.Log, tick: o.tick, time: &timekeeper{wall: o.Now, tick: o.tick, trusted: o.ClockTrusted},
		after:    func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
		unsigned: newLimiter(o.Limits.Unsigned), refusals: newRefusals(), sessions: newSessions(o.tick()), phones: make(map[string]*paired), persons: make(map[string]*bucket),
	}
	if err := p.loadKey(); err != nil {
		return nil, fmt.Errorf("phone: TLS key: %w", err)
	}
	kept, err := v.Phones()
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	var sure, guess time.Time
	for _, k := range kept {
		one, err := load(k)
		if err != nil {
			return nil, err
		}
		p.phones[one.id] = one
		known := k.Counter.Known
		if known.IsZero() { // of a vault that did not keep it yet
			known = k.Counter.Seen
		}
		sure, guess = later(sure, k.Counter.Sure), later(guess, known)
	}
	p.time.load(sure, guess)
	for _, x := range p.of("") { // nobody confirmed them, and who would is not there any more
		if !x.record.Unseen || !x.record.Revoked.IsZero() {
			continue
		}
		if _, err := p.revoke(x, "device", nil); err != nil {
			p.log.Error("a phone that nobody confirmed at the kiosk", "phone", x.id, "err", err)
		}
	}
	return p, p.routes()
}

func load(k Kept) (*paired, error) {
	r, c := k.Record, k.Counter
	key, err := client.ParseKey(r.Key)
	if err != nil {
		return nil, err
	}
	public, err := key.Public()
	if err != nil {
		return nil, err
	}
	if c.ID != key.ID() || r.User != c.User {
		return nil, fmt.Errorf("phone: %s has the counter of %s", key.ID(), c.ID)
	}
	s, err := ParseSchedule(r.Schedule)
	if err != nil {
		return nil, err
	}
	return &paired{id: c.ID, key: public, record: r, schedule: s, last: c.Top, top: c.Top, seen: c.Seen, known: c.Known}, nil
}

func (p *Phones) loadKey() error {
	der, err := p.vault.PhoneKey(func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return err
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("it is no P-256 key")
	}
	// Only the key counts: phones pin it, so the rest of the certificate says
	// nothing and holds for ever (RFC 5280, 4.1.2.5).
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "faceprint"}, DNSNames: []string{"faceprint.local"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	p.pin = sha256.Sum256(spki)
	p.cert = tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
	return nil
}

// Pin is what phones know the device by.
func (p *Phones) Pin() client.Pin { return p.pin }

func (p *Phones) find(id string) *paired {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.phones[id]
}

// of lists a person's phones, those that were paired first before others.
func (p *Phones) of(user string) []*paired {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var found []*paired
	for _, x := range p.phones {
		if user == "" || x.record.User == user { // a record's person never changes
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b *paired) int {
		return a.record.Paired.Compare(b.record.Paired)
	})
	return found
}

// wire is what is told about a phone.
func (x *paired) wire() wire.Phone {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.record
	w := wire.Phone{
		ID: x.id, User: r.User, Name: r.Name, Kind: string(r.Kind), Platform: r.Platform, Paired: r.Paired.UTC(), By: r.By, Asker: r.Asker,
		Rights: slices.Clone(r.Rights), Schedule: r.Schedule,
	}
	w.Seen, w.Expires, w.Revoked = some(x.seen), some(r.Expires), some(r.Revoked)
	return w
}

func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// joined notes a connection; false when the phone may have none any more. Where it
// has too many the oldest is not its own any more, and to be closed.
func (x *paired) joined(c *link) (ok bool, oldest *link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone || !x.record.Revoked.IsZero() {
		return false, nil
	}
	if len(x.links) >= maxLinks {
		oldest = x.links[0]
		x.links = slices.Delete(x.links, 0, 1)
	}
	x.links = append(x.links, c)
	return true, oldest
}

func (x *paired) left(c *link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.links = slices.DeleteFunc(x.links, func(o *link) bool { return o == c })
}

// cut ends the phone's connections but one, which may be nil.
func (x *paired) cut(but *link) {
	x.mu.Lock()
	open := slices.Clone(x.links)
	x.mu.Unlock()
	for _, c := range open {
		if c != but {
			c.Close()
		}
	}
}

// List of all phones.
func (p *Phones) List() []wire.Phone {
	list := []wire.Phone{}
	for _, x := range p.of("") {
		list = append(list, x.wire())
	}
	return list
}

// Of lists a person's phones in the order in which they were paired.
func (p *Phones) Of(user string) []wire.Phone {
	list := []wire.Phone{}
	if user == "" {
		return list
	}
	for _, x := range p.of(user) {
		list = append(list, x.wire())
	}
	return list
}

// Rename gives a phone another name. Here and below, by says who did, for the
// audit.
func (p *Phones) Rename(id, name, by string) (wire.Phone, error) {
	x := p.find(id)
	if x == nil {
		return wire.Phone{}, noPhone(id)
	}
	if err := client.CheckName(name); err != nil {
		return wire.Phone{}, badName(err)
	}
	x.mu.Lock()
	r := x.record
	r.Name = name
	err := x.standing()
	if err == nil {
		if err = p.vault.Change(r, "phone-rename", by, p.wall()); err == nil {
			x.record.Name = r.Name
		}
	}
	x.mu.Unlock()
	if err != nil {
		return wire.Phone{}, err
	}
	return x.wire(), nil
}

// SetTerms replaces what a phone may do, when, and for how long. It holds for
// what is under way, too: the phone's connections are cut.
func (p *Phones) SetTerms(id string, t wire.PhoneTerms, by string) (wire.Phone, error) {
	x := p.find(id)
	if x == nil {
		return wire.Phone{}, noPhone(id)
	}
	if err := p.noEnd(t); err != nil {
		return wire.Phone{}, err
	}
	now, _ := p.clock()
	rights, schedule, expires, err := terms(t, now)
	if err != nil {
		return wire.Phone{}, err
	}
	x.mu.Lock()
	r := x.record
	r.Rights, r.Schedule, r.Expires = rights, t.Schedule, expires
	if err = r.Check(); err != nil {
		err = invalid(err)
	} else if err = x.standing(); err == nil {
		if err = p.vault.Change(r, "phone-terms", by, p.wall()); err == nil {
			x.record.Rights, x.record.Schedule, x.record.Expires, x.schedule = r.Rights, r.Schedule, r.Expires, schedule
		}
	}
	x.mu.Unlock()
	if err != nil {
		return wire.Phone{}, err
	}
	x.cut(nil)
	w := x.wire()
	p.device.Announce(wire.Event{Kind: "phone-terms", User: w.User})
	return w, nil
}

// standing tells why nothing can be changed of the phone any more, or nil. The
// caller holds mu.
func (x *paired) standing() error {
	switch {
	case x.gone:
		return noPhone(x.id)
	case !x.record.Revoked.IsZero():
		return api.NewProblem(http.StatusConflict, wire.ProblemRevoked, "this phone was revoked, which is for ever", "pair it again")
	}
	return nil
}

// terms reads what a phone shall be allowed; the zero time is never.
func terms(t wire.PhoneTerms, now time.Time) (rights []string, s Schedule, expires time.Time, err error) {
	if s, err = ParseSchedule(t.Schedule); err != nil {
		return nil, nil, expires, invalid(err)
	}
	if t.Expires != nil {
		if expires = t.Expires.UTC(); !expires.After(now) {
			return nil, nil, expires, invalid(fmt.Errorf("phone: it would be expired already at %s", expires.Format(time.RFC3339)))
		}
	}
	for _, right := range t.Rights {
		if !slices.Contains(Rights, right) {
			return nil, nil, expires, invalid(fmt.Errorf("phone: there is no right %.24q; there are %s", right, strings.Join(Rights, ", ")))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(t.Rights))), s, expires, nil
}

// Doubt has a phone do nothing, until it is kept: it was paired at the kiosk while
// its person was not seen there. It holds for what is under way, too: the phone's
// connections are cut, and with them ends what it waits for.
func (p *Phones) Doubt(id string) {
	x := p.find(id)
	if x == nil {
		return
	}
	x.mu.Lock()
	x.record.Unseen = true // as it has been since it was paired with the kiosk's code
	x.mu.Unlock()
	x.cut(nil)
}

// Keep settles that a phone which was paired with the kiosk's own code is of who
// was there.
func (p *Phones) Keep(id string) error {
	x := p.find(id)
	if x == nil {
		return noPhone(id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.standing(); err != nil {
		return err
	}
	if r := x.record; r.Unseen {
		r.Unseen = false
		if err := p.vault.Keep(r); err != nil {
			return fmt.Errorf("phone: %s would be revoked at the next start: %w", id, err)
		}
		x.record.Unseen = false
	}
	return nil
}

// Revoke ends a pairing: from now on, for ever, and for what is open too.
func (p *Phones) Revoke(id, by string) (wire.Phone, error) {
	x := p.find(id)
	if x == nil {
		return wire.Phone{}, noPhone(id)
	}
	return p.revoke(x, by, nil)
}

// revoke cuts all connections but one, over which the phone gets its answer.
func (p *Phones) revoke(x *paired, by string, but *link) (wire.Phone, error) {
	x.mu.Lock()
	if x.gone {
		x.mu.Unlock()
		return wire.Phone{}, noPhone(x.id)
	}
	var err error
	fresh := x.record.Revoked.IsZero()
	if fresh {
		// It holds at once; should the vault fail, it holds until the next start
		// and the caller is told.
		x.record.Revoked = p.wall().UTC()
		err = p.vault.Change(x.record, "phone-revoke", by, x.record.Revoked)
	}
	x.mu.Unlock()
	x.cut(but)
	if err != nil {
		return wire.Phone{}, fmt.Errorf("phone: %s is cut off but would be back after a restart: %w", x.id, err)
	}
	w := x.wire()
	if fresh {
		p.device.Announce(wire.Event{Kind: "phone-revoked", User: w.User})
	}
	return w, nil
}

// Forgotten drops the phones of a person whom the vault has forgotten.
func (p *Phones) Forgotten(user string) {
	for _, x := range p.of(user) {
		p.drop(x)
	}
	p.trying.Lock()
	delete(p.persons, user)
	p.trying.Unlock()
}

func (p *Phones) drop(x *paired) {
	p.time.keep(time.Time{}) // it may be this one that told the vault
	p.mu.Lock()
	delete(p.phones, x.id)
	p.mu.Unlock()
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
	x.cut(nil)
}

// expired tells whether the pairing is over by itself. The caller holds mu.
func (x *paired) expired(now time.Time) bool {
	return !x.record.Expires.IsZero() && !now.Before(x.record.Expires)
}

// behind tells whether the vault must hear how late it is: once when the phone
// expires, and now and then where the time decides what it may. The caller
// holds mu.
func (p *Phones) behind(x *paired, now time.Time) bool {
	switch {
	case x.gone, !x.record.Revoked.IsZero():
		return false
	case x.expired(now):
		return p.time.keptBefore(x.record.Expires)
	}
	return x.limited() && p.time.due(knownEvery)
}

// settle keeps the counters of phones that were heard of and have been silent
// for so long, without reservations: at rest the vault has them as they are, so
// that an old copy of it is found out by the first phone that asks. Phones that
// go on asking keep theirs, or all of them would want new ones at once. It keeps
// the time along with them.
func (p *Phones) settle(now time.Time, idle time.Duration) error {
	p.counting.Lock()
	defer p.counting.Unlock()
	known, sure := p.time.times()
	var cs []Counter
	due := true // one that tells the time is enough
	for _, x := range p.of("") {
		x.mu.Lock()
		x.seen = earlier(x.seen, known) // what was believed may be believed no more
		rests := x.top > x.last && known.Sub(x.seen) >= idle
		if rests && !x.gone {
			x.top = x.last // the next request reserves anew
		}
		tells := due && p.behind(x, now) || x.known.Sub(known) > clockTolerate // of a time that is not believed any more
		if !x.gone && (rests || tells) {
			cs = append(cs, x.counter(known, sure))
			due = false
		}
		x.mu.Unlock()
	}
	if len(cs) == 0 {
		return nil
	}
	if err := p.vault.Count(cs); err != nil {
		return err
	}
	p.time.keep(known)
	for _, c := range cs {
		if x := p.find(c.ID); x != nil {
			x.mu.Lock()
			x.known = known
			x.mu.Unlock()
		}
	}
	return nil
}
