package kiosk

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// Phones are the paired phones of whoever stands before the page.
type Phones interface {
	// Confirm measures the person anew, without opening a door. The grant of a
	// yes is good for one invitation.
	Confirm(ctx context.Context, user string) (client.Decision, error)
	// Invite makes a code for one phone of the person whose grant it is, with
	// the rights that they chose; the fewest where they chose none.
	Invite(ctx context.Context, user, grant string, rights []string) (client.Invited, error)
	// Withdraw ends a code before its time, and the pairing of a phone that took
	// it and of which no event was heard yet.
	Withdraw(id string)
	// Doubt has a phone that was paired while its person was not seen do nothing until
	// it is kept.
	Doubt(id string)
	// Keep settles that a phone is of who was there. Without it the phone is revoked
	// when the device starts again.
	Keep(id string) error
	// Of lists a person's phones, the revoked ones too.
	Of(user string) []client.Phone
	Revoke(id string) (client.Phone, error)
	// Barred refuses a person who is locked out or disabled; nil for others.
	Barred(user string) (*client.Decision, error)
	// Begin decides whether the person whose paired phone asked stands there: they
	// are measured, whatever the phone counts for.
	Begin(ctx context.Context, user, phone, nonce string) (client.Decision, error)
}

var errNoPhones = problem{http.StatusNotFound, "no-phones", "this device takes no phones", "see [phone] of its configuration"}

// withPhone recognises a person by the device and by their phone, on which they
// have to say yes. Only the phone of whom the device found is asked.
func (s *Server) withPhone(ctx context.Context, p *page, in forLogin) (outcome, error) {
	if s.opts.Phones == nil {
		return outcome{}, errNoPhones
	}
	done, err := s.wait(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	p.leave()
	d, err := s.back.Identify(ctx, client.Attempt{
		Audience: Audience, Nonce: in.Login, Factors: []string{"phone"}, TimeoutMs: int(phonePatience.Milliseconds()),
	})
	return s.decided(ctx, p, in.Login, d, err)
}

// shownCode is what a phone is paired with. It is a secret of whoever stands
// there, and good for seconds.
type shownCode struct {
	QR      []string  `json:"qr"`
	Text    string    `json:"text"`
	Key     string    `json:"key"`
	Expires time.Time `json:"expires"`
}

// pairing is how the person was measured once more, and the code after a yes.
type pairing struct {
	outcome
	Code *shownCode `json:"code,omitempty"`
}

// forPhone is what the phone that is going to be paired shall be allowed.
type forPhone struct {
	Rights []string `json:"rights"`
}

// pair shows a code for one phone of whoever is recognised on the page, once
// they looked and touched for just that. The code ends when they leave.
func (s *Server) pair(ctx context.Context, p *page, in forPhone) (pairing, error) {
	who, ok := p.signedIn(s.opts.Now())
	switch {
	case s.opts.Phones == nil:
		return pairing{}, errNoPhones
	case !ok:
		return pairing{}, errSignedOut
	}
	done, err := s.wait(ctx)
	if err != nil {
		return pairing{}, err
	}
	defer done()
	p.signOut()
	d, err := s.opts.Phones.Confirm(ctx, who.User)
	if err != nil {
		return pairing{}, err
	}
	out, err := s.decided(ctx, p, "", d, nil)
	if err != nil || d.Outcome != client.Granted {
		return pairing{outcome: out}, err
	}
	code, err := s.opts.Phones.Invite(ctx, who.User, d.Grant, in.Rights)
	if err != nil {
		return pairing{}, err
	}
	if !p.showing(code.ID, func() { s.opts.Phones.Withdraw(code.ID) }) {
		return pairing{}, errSignedOut // they left meanwhile
	}
	return pairing{out, &shownCode{code.QR, code.Text, code.Key, code.Expires}}, nil
}

// hide ends the code that is shown.
func (s *Server) hide(_ context.Context, p *page, _ none) (none, error) {
	p.hide()
	return none{}, nil
}

// hintLookAgain asks the page for its person, once more.
const hintLookAgain = "look-again"

// confirm measures who was not seen when their phone was paired. Without a yes the
// pairing ends.
func (s *Server) confirm(ctx context.Context, p *page, _ none) (outcome, error) {
	d := p.settle()
	if s.opts.Phones == nil || d == nil {
		return outcome{}, errSignedOut
	}
	done, err := s.wait(ctx)
	if err != nil {
		d.end()
		return outcome{}, err
	}
	defer done()
	decision, err := s.opts.Phones.Confirm(ctx, d.user)
	if err == nil && decision.Outcome == client.Granted {
		err = s.opts.Phones.Keep(d.phone)
	}
	if err != nil || decision.Outcome != client.Granted {
		d.end()
	}
	return s.decided(ctx, p, "", decision, err)
}

// revoke ends the pairing of a phone that nobody stands by. One that is gone, with
// its person, is no matter.
func (s *Server) revoke(id string) {
	_, err := s.opts.Phones.Revoke(id)
	var p interface{ GetStatus() int }
	if err != nil && !(errors.As(err, &p) && p.GetStatus() == http.StatusNotFound) {
		s.log.Error("a phone that nobody stands by is still paired", "phone", id, "err", err)
	}
}

// ownPhone is a phone as its person sees it.
type ownPhone struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Platform string     `json:"platform"`
	Paired   time.Time  `json:"paired"`
	By       string     `json:"by"`
	Expires  *time.Time `json:"expires,omitempty"`
	Rights   []string   `json:"rights"`
}

// ownPhones lists the phones of whoever is recognised on the page, the newest
// first.
func (s *Server) ownPhones(_ context.Context, p *page, _ none) ([]ownPhone, error) {
	who, ok := p.signedIn(s.opts.Now())
	switch {
	case s.opts.Phones == nil:
		return nil, errNoPhones
	case !ok:
		return nil, errSignedOut
	}
	own := []ownPhone{}
	for _, x := range s.opts.Phones.Of(who.User) {
		if x.User == who.User && x.Revoked == nil {
			own = append([]ownPhone{{x.ID, x.Name, x.Platform, x.Paired, x.By, x.Expires, x.Rights}}, own...)
		}
	}
	return own, nil
}

type whichPhone struct {
	ID string `json:"id"`
}

// revokePhone ends the pairing of a phone of whoever is recognised on the page,
// and of nobody else's.
func (s *Server) revokePhone(ctx context.Context, p *page, in whichPhone) ([]ownPhone, error) {
	own, err := s.ownPhones(ctx, p, none{})
	if err != nil {
		return nil, err
	}
	for _, x := range own {
		if x.ID == in.ID {
			if _, err := s.opts.Phones.Revoke(x.ID); err != nil {
				return nil, err
			}
			return s.ownPhones(ctx, p, none{})
		}
	}
	return nil, problem{http.StatusNotFound, client.ProblemNotFound, "you have no such phone", "look at the list again"}
}

// pairedEvent is what the page is told of a phone that was paired: its name
// only to its own person, to others that it happened; and whether it took the code
// that is shown, and that while its person was not seen.
func (p *page) pairedEvent(e client.Event, now time.Time) (told client.Event, shown, unseen bool) {
	e.Outcome = "somebody"
	shown, unseen = p.took(e.Code)
	if who, ok := p.signedIn(now); ok && who.User == e.User || shown {
		e.Outcome = "own"
		p.hide()
	} else {
		e.Detail = ""
	}
	e.User, e.Phone, e.Code = "", "", ""
	return e, shown, unseen
}

// knock is a paired phone that asks to have its person signed in on the page.
type knock struct {
	ctx         context.Context // ends when the phone gives up, or may not ask any more
	user, phone string
	answer      chan knocked // has room for one
}

type knocked struct {
	decision client.Decision
	err      error
}

// ErrNotTaken: the page took no knock of a phone. Why, a phone that may be anywhere
// is not told: who is before the page, and what they do there, is no business of
// its.
var ErrNotTaken error = problem{http.StatusConflict, client.ProblemLeft, "the kiosk's page did not take it: nobody is seen there, or it is in use", "go there, and ask again when it is free"}

// SoonError refuses a phone that knocked a moment ago.
type SoonError struct{ Wait time.Duration }

func (e SoonError) Error() string { return "this phone asked at the kiosk a moment ago" }

// doorbell is when each phone may knock again, by its id: whoever is before the
// page is not disturbed by one that knocks and knocks.
type doorbell struct {
	mu    sync.Mutex
	quiet map[string]time.Time // until when, by the monotonic clock
}

// ring notes a knock, or tells how long the phone has to wait for one.
func (b *doorbell) ring(phone string) (wait time.Duration) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.quiet, func(_ string, until time.Time) bool { return !until.After(now) })
	if wait = b.quiet[phone].Sub(now); wait > 0 {
		return wait
	}
	b.hush(phone, knockEvery)
	return 0
}

// unheard takes back a knock of which the page was told nothing: a phone that asks
// again learns nothing by whether it has to wait.
func (b *doorbell) unheard(phone string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.quiet, phone)
}

// refused has the phone wait longer.
func (b *doorbell) refused(phone string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hush(phone, knockAfterNo)
}

// hush does so, with mu held.
func (b *doorbell) hush(phone string, d time.Duration) {
	if b.quiet == nil {
		b.quiet = make(map[string]time.Time)
	}
	b.quiet[phone] = time.Now().Add(d)
}

// Begin has whoever stands before the page signed in, if they are the person
// whose paired phone asked and proved its key with that. The phone only knocks:
// the page begins the attempt, where whoever is there sees it, and keeps what
// comes of it, so that a phone elsewhere signs in nobody. It ends nobody's look:
// one that is under way is waited for. The decision has no grant. An error is
// ErrNotTaken, a SoonError, or the device's.
func (s *Server) Begin(ctx context.Context, user, phone string) (d client.Decision, err error) {
	if s.opts.Phones == nil {
		return client.Decision{}, errNoPhones
	}
	// What has nothing to do with who is there comes first, or a phone that is told
	// it, and disturbs nobody by asking, would know that somebody is.
	if wait := s.bell.ring(phone); wait > 0 {
		return client.Decision{}, SoonError{wait}
	}
	began := false
	defer func() {
		no := err == nil && d.Outcome != client.Granted && d.Outcome != client.Retry
		if no || began && ctx.Err() != nil { // who hangs up does not escape the no
			s.bell.refused(phone)
		}
	}()
	// What their person may not try anyway is nothing to disturb others for.
	if barred, err := s.opts.Phones.Barred(user); err != nil || barred != nil {
		return *cmp.Or(barred, &client.Decision{}), err
	}
	p := s.pages.current()
	if p == nil || s.opts.Present != nil && !s.opts.Present() {
		s.bell.unheard(phone)
		return client.Decision{}, ErrNotTaken
	}
	k := &knock{ctx: ctx, user: user, phone: phone, answer: make(chan knocked, 1)}
	if _, taken := p.signedIn(s.opts.Now()); taken || !p.knock(k) {
		s.bell.unheard(phone)
		return client.Decision{}, ErrNotTaken
	}
	begun := time.Now()
	patience := time.NewTimer(knockPatience)
	defer patience.Stop()
	for over := false; !over; {
		select {
		case <-patience.C:
			if rest := min(knockPatience-p.rests(), lookPatience-time.Since(begun)); rest > 0 {
				patience.Reset(rest)
				continue
			}
			if over = true; p.unknock(k) {
				return client.Decision{}, ErrNotTaken
			}
		case <-p.ctx.Done():
			if over = true; p.unknock(k) {
				return client.Decision{}, ErrNotTaken
			}
		case <-ctx.Done():
			if over = true; p.unknock(k) {
				return client.Decision{}, ctx.Err()
			}
		case a := <-k.answer:
			began = true
			return a.decision, a.err
		}
	}
	began = true
	a := <-k.answer // the attempt ends with ctx and the page
	return a.decision, a.err
}

var errNoKnock = problem{http.StatusNotFound, client.ProblemNotFound, "no phone asks any more", "ask again on the phone"}

// begin is the attempt of a phone that knocked.
func (s *Server) begin(ctx context.Context, p *page, in forLogin) (out outcome, err error) {
	k := p.open()
	if k == nil {
		return outcome{}, errNoKnock
	}
	var d client.Decision
	defer func() {
		d.Grant = "" // it stays here
		k.answer <- knocked{d, err}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	done, err := s.wait(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	if _, taken := p.signedIn(s.opts.Now()); taken {
		return outcome{}, ErrNotTaken
	}
	p.leave()
	d, err = s.opts.Phones.Begin(ctx, k.user, k.phone, in.Login)
	if k.ctx.Err() != nil { // revoked, or gone, just now
		d, err = client.Decision{}, errNoKnock
	} else if err == nil && ctx.Err() != nil {
		d, err = client.Decision{}, ctx.Err()
	}
	return s.decided(ctx, p, in.Login, d, err)
}
