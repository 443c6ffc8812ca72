package phone

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
)

// timekeeper knows how late it is at least, however the wall clock is set: what
// was known, and the time that has passed since, by the monotonic clock.
//
// A clock that follows a time server is believed. Of any other only what it shows
// at the start is, since it cannot be known better, and no longer than until a
// time server speaks: a Pi without a battery may wake up in any year.
type timekeeper struct {
	wall    func() time.Time
	tick    func() time.Time
	trusted func() bool // may be slow: the kernel is asked once a second, and where the wall clock jumped

	mu    sync.Mutex
	sure  moment // the latest that a clock with a time server showed
	guess moment // what another showed; none once a time server was heard
	kept  time.Time
	asked moment // trusted, and what the wall clock showed
	yes   bool
}

// moment is a time, and when it was, by the monotonic clock. The zero moment is
// none.
type moment struct{ at, tick time.Time }

// by is what it has become meanwhile.
func (m moment) by(tick time.Time) time.Time {
	if m.at.IsZero() {
		return m.at
	}
	return m.at.Add(tick.Sub(m.tick))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// trust reads the wall clock, and asks whether it follows a time server: an answer
// vouches for a clock that went on as time does, and for no other. The caller holds mu.
func (k *timekeeper) trust() (m moment, yes bool) {
	m = moment{k.wall(), k.tick()}
	if k.asked.at.IsZero() || m.tick.Sub(k.asked.tick) >= time.Second || k.asked.jumped(m) {
		k.yes = k.trusted != nil && k.trusted()
		// Set while the kernel was asked: it spoke of another time.
		k.yes = k.yes && !m.jumped(moment{k.wall(), k.tick()})
		k.asked = m
	}
	return m, k.yes
}

// jumped tells whether the wall clock was set between two moments.
func (m moment) jumped(after moment) bool {
	return after.at.Sub(m.by(after.tick)).Abs() > clockJump
}

// read reads the wall clock: the time, never before what is known, and by how much the
// clock is behind that.
func (k *timekeeper) read() (now time.Time, behind time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, yes := k.trust()
	switch {
	case yes:
		k.guess = moment{}
		if m.at.After(k.sure.by(m.tick)) {
			k.sure = m
		}
	case k.guess.at.IsZero() && k.sure.at.IsZero():
		k.guess = m
	}
	if known := k.known(m.tick); m.at.Before(known) {
		return known, known.Sub(m.at)
	}
	return m.at, 0
}

// known is how late it is at least; the zero time where nothing is known. The
// caller holds mu.
func (k *timekeeper) known(tick time.Time) time.Time {
	return later(k.sure.by(tick), k.guess.by(tick))
}

// load takes what the vault knows, and what the clock shows at the start.
func (k *timekeeper) load(sure, guess time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall, tick := k.wall(), k.tick()
	k.kept = later(sure, guess)
	k.sure, k.guess = moment{sure, tick}, moment{later(guess, wall), tick}
}

// times are what the vault is to know: at least how late it is, and how late a
// clock with a time server said that it is.
func (k *timekeeper) times() (known, sure time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tick := k.tick()
	return utc(k.known(tick)), utc(k.sure.by(tick))
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t // also without a zone
	}
	return t.UTC()
}

// keep notes that the vault knows it.
func (k *timekeeper) keep(known time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = known
}

// due tells whether the vault is behind by so much.
func (k *timekeeper) due(d time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known(k.tick()).Sub(k.kept) >= d
}

// keptBefore tells whether the vault does not know yet that it is so late.
func (k *timekeeper) keptBefore(t time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Before(t)
}

// belief is what the clock alone says, whatever was known.
func (k *timekeeper) belief() (sure, guess moment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, yes := k.trust()
	if yes {
		return m, moment{}
	}
	return moment{}, m
}

// believe makes that what is known.
func (k *timekeeper) believe(sure, guess moment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sure, k.guess, k.kept = sure, guess, later(sure.at, guess.at)
}

// clock is the time, never before what it has been, and whether the device's
// clock was set back.
func (p *Phones) clock() (now time.Time, back bool) {
	now, behind := p.time.read()
	return now, behind > clockTolerate
}

// wall is the time for the audit and for people, as the device shows it.
func (p *Phones) wall() time.Time { return p.time.wall() }

// Clock tells what is known of the time.
func (p *Phones) Clock() wire.PhoneClock {
	_, back := p.clock()
	known, _ := p.time.times()
	p.time.mu.Lock()
	defer p.time.mu.Unlock()
	m, yes := p.time.trust()
	return wire.PhoneClock{Now: m.at.UTC(), Known: some(known), Back: back, Trusted: yes}
}

// AcceptClock takes the device's clock for right, though it has been later: what
// was known is forgotten, in the vault too, and by is recorded. Phones that are
// over by the clock as it is stay over; others may live again.
func (p *Phones) AcceptClock(by string) (wire.PhoneClock, error) {
	p.counting.Lock()
	defer p.counting.Unlock()
	was, _ := p.time.times()
	sure, guess := p.time.belief()
	at, xs := later(sure.at, guess.at).UTC(), p.of("")
	var cs []Counter
	for _, x := range xs {
		x.mu.Lock()
		if !x.gone {
			cs = append(cs, x.counter(at, utc(sure.at)))
		}
		x.mu.Unlock()
	}
	if err := p.vault.AcceptClock(cs, was, at, by); err != nil {
		return wire.PhoneClock{}, fmt.Errorf("phone: the clock could not be taken for right: %w", err)
	}
	p.time.believe(sure, guess)
	for _, x := range xs {
		x.mu.Lock()
		x.known, x.seen = at, earlier(x.seen, at)
		x.mu.Unlock()
	}
	c := p.Clock()
	p.log.Warn("the clock was taken for right", "by", by, "now", c.Now)
	return c, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// counter is the phone's as the vault shall have it. The caller holds mu.
func (x *paired) counter(known, sure time.Time) Counter {
	return Counter{ID: x.id, User: x.record.User, Top: x.top, Seen: earlier(x.seen, known).UTC(), Known: known, Sure: sure}
}

// limited tells whether the time decides what the phone may. The caller holds mu.
func (x *paired) limited() bool { return !x.record.Expires.IsZero() || len(x.schedule) > 0 }

// isBack refuses what needs the time.
func isBack() *refusal {
	return refuse(http.StatusForbidden, wire.ProblemForbidden, clockBack, "the device's clock was set back, so nobody knows whether it is this phone's time", "set the device's clock, or have an administrator see to 'faceprint phone clock'")
}

// noEnd refuses terms that end, asked for while nobody knows how late it is.
func (p *Phones) noEnd(t wire.PhoneTerms) error {
	if _, back := p.clock(); !back || t.Expires == nil {
		return nil
	}
	c := p.Clock()
	return api.NewProblem(http.StatusConflict, wire.ProblemClock,
		fmt.Sprintf("the device's clock shows %s, but it was at least %s already: an end would be reckoned by the wrong time", c.Now.Format(time.RFC3339), c.Known.Format(time.RFC3339)),
		"set the clock ('timedatectl'); where it is right and was ahead before, 'faceprint phone clock --accept'")
}
