package kiosk

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// page is one loading of the page by a browser.
type page struct {
	token string
	ctx   context.Context // ends when another page takes over or the stream ends
	end   context.CancelFunc
	visit func(bound bool) // binds what is noted here to whose face is there

	mu     sync.Mutex
	person client.Person // who was recognised on it
	until  time.Time     // and until when that counts
	permit time.Time     // until when it may enrol and look at the technician's view
	agreed consent       // to be enrolled, by who is there; the zero one: nobody did
	code   func()        // withdraws the code for a phone that is shown; nil: none is
	codeID string        // the code's; its person may have left
	doubt  *doubt        // about a phone that was paired with it; nil: there is none
	looks  bool          // at whoever is there, of the page's own accord
	looked time.Time     // when that ended last
	knocks chan struct{} // has a token when a phone knocked, or does no more
	door   *knock        // that was not opened yet
	typing func(error)   // ends the attempt by a PIN that is under way; nil: none was
}

// doubt is about a phone that was paired with a code whose person was not seen:
// whoever was beside the picture may have held it.
type doubt struct {
	user, phone string
	revoke      func()
}

// doubts notes one; it is settled by its person, or the phone goes.
func (p *page) doubts(d *doubt) {
	p.mu.Lock()
	d, p.doubt = p.doubt, d
	p.mu.Unlock()
	d.end()
}

// settle hands over what is in doubt; nil where nothing is.
func (p *page) settle() *doubt {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.doubt
	p.doubt = nil
	return d
}

// end ends the pairing.
func (d *doubt) end() {
	if d != nil {
		d.revoke()
	}
}

// knock notes a phone that asks, and tells whether it is the only one.
func (p *page) knock(k *knock) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.door != nil {
		return false
	}
	p.door = k
	p.told()
	return true
}

// told has the page know whether a phone asks. The caller holds mu.
func (p *page) told() {
	select {
	case p.knocks <- struct{}{}:
	default:
	}
}

// asked tells whether a phone asks.
func (p *page) asked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.door != nil
}

// looking notes that whoever is there is looked at, until done is called.
func (p *page) looking() (done func()) {
	set := func(looks bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.looks, p.looked = looks, time.Now()
	}
	set(true)
	return func() { set(false) }
}

// rests is for how long nobody has been looked at.
func (p *page) rests() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looks {
		return 0
	}
	return time.Since(p.looked)
}

// open takes the phone that asks; nil where none does.
func (p *page) open() *knock {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.door
	p.door = nil
	return k
}

// unknock takes back a phone's asking; false where it was opened to.
func (p *page) unknock(k *knock) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.door != k {
		return false
	}
	p.door = nil
	p.told()
	return true
}

// showing notes that a code for a phone of whoever is recognised is shown, and
// how it is withdrawn. Where nobody is recognised any more that is at once.
func (p *page) showing(id string, withdraw func()) bool {
	p.mu.Lock()
	there := p.person.User != "" && p.ctx.Err() == nil
	if there {
		p.code, withdraw, p.codeID = withdraw, p.code, id
	}
	p.mu.Unlock()
	if withdraw != nil {
		withdraw()
	}
	return there
}

// hide withdraws the code that is shown, and tells whether there was one.
func (p *page) hide() bool {
	p.mu.Lock()
	withdraw := p.code
	p.code, p.codeID = nil, ""
	p.mu.Unlock()
	if withdraw == nil {
		return false
	}
	withdraw()
	return true
}

// is tells whether this person is recognised here.
func (p *page) is(user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return user != "" && p.person.User == user
}

// leaveCode is leave where a code for a phone is shown, which alone stays: who
// holds a phone up to it is not seen. Where none is it does nothing.
func (p *page) leaveCode() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == nil {
		return false
	}
	p.forget()
	return true
}

// orphaned tells whether a code is shown whose person has left.
func (p *page) orphaned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code != nil && p.person.User == ""
}

// took tells whether it is the code that is shown which a phone took, and whether
// its person was not seen when it did. The code is shown no more then.
func (p *page) took(code string) (shown, unseen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == nil || code == "" || p.codeID != code {
		return false, false
	}
	p.code, p.codeID = nil, ""
	return true, p.person.User == ""
}

// holds tells whether anything is noted of who is there.
func (p *page) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.person.User != "" || !p.permit.IsZero() || p.agreed != consent{} || p.code != nil
}

// signIn notes who was recognised, once done is. Where the attempt, or the page,
// ended meanwhile neither is: nobody waits for it any more.
func (p *page) signIn(ctx context.Context, who client.Person, until time.Time, done func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := p.ctx.Err(); err != nil {
		return err // of which ctx learns a moment later
	}
	if err := done(); err != nil {
		return err
	}
	p.person, p.until = who, until
	p.visit(true)
	return nil
}

// typed notes an attempt by a PIN, which no sensor ends when its person leaves,
// and how it is ended. One that is under way still ends.
func (p *page) typed(end func(error)) {
	p.mu.Lock()
	end, p.typing = p.typing, end
	p.mu.Unlock()
	if end != nil {
		end(context.Canceled)
	}
}

var errLeft = problem{http.StatusConflict, client.ProblemLeft, "whose PIN it was has left meanwhile", "begin again"}

// gone ends the attempt by a PIN that is under way: it signs in nobody from here on.
func (p *page) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.typing != nil {
		p.typing(errLeft)
	}
}

// signedIn returns who was recognised on this page and is still there.
func (p *page) signedIn(now time.Time) (client.Person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.person.User == "" || !now.Before(p.until) {
		p.person = client.Person{}
		return p.person, false
	}
	return p.person, true
}

// leave forgets who was recognised, what was permitted and who agreed: all of it
// was for who is there, and they are not any more. It tells whether a code for a
// phone was shown, which is over as well.
func (p *page) leave() (code bool) {
	code = p.hide()
	p.settle().end()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	return code
}

// forget does so, with p.mu held.
func (p *page) forget() {
	p.person, p.until, p.permit, p.agreed = client.Person{}, time.Time{}, time.Time{}, consent{}
	p.visit(false)
}

// signOut forgets who was recognised: somebody else is to be enrolled.
func (p *page) signOut() {
	p.hide()
	p.settle().end()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person, p.until = client.Person{}, time.Time{}
}

// agree notes that who is there agreed to this text, or with the zero one that
// nobody did.
func (p *page) agree(c consent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agreed = c; c.Version != "" {
		p.visit(true)
	}
}

// consented is what who is there agreed to.
func (p *page) consented() (c consent, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agreed, p.agreed.Version != ""
}

func (p *page) allow(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.permit = until
}

func (p *page) permitted(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.permit)
}

// pages are those that were loaded. One of them at most is in use.
type pages struct {
	now    func() time.Time
	visit  func(bound bool)
	mu     sync.Mutex
	issued []string // tokens, the newest last
	inUse  *page
}

// issue makes the token of a page that is being loaded.
func (ps *pages) issue() string {
	b := make([]byte, 32)
	rand.Read(b)
	token := base64.RawURLEncoding.EncodeToString(b)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.issued = append(ps.issued, token); len(ps.issued) > issuedPages {
		ps.issued = ps.issued[1:]
	}
	return token
}

var (
	errStale     = problem{http.StatusUnauthorized, "stale", "this page is of an earlier time", "it loads itself again"}
	errElsewhere = problem{http.StatusConflict, "elsewhere", "the kiosk is open in another window", "close that one, or take over here"}
)

// take puts the page with this token in use, in place of any other, until the
// context ends.
func (ps *pages) take(ctx context.Context, token string) (*page, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.knows(token) {
		return nil, errStale
	}
	if ps.inUse != nil {
		if ps.inUse.token != token && ps.newer(ps.inUse.token, token) && ps.inUse.ctx.Err() == nil {
			return nil, errElsewhere
		}
		ps.inUse.end()
		ps.inUse.leave()
	}
	p := &page{token: token, visit: ps.visit, knocks: make(chan struct{}, 1)}
	p.ctx, p.end = context.WithCancel(ctx)
	ps.inUse = p
	return p, nil
}

// get returns the page in use if that is its token.
func (ps *pages) get(token string) (*page, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.inUse; p != nil && p.ctx.Err() == nil && same(p.token, token) {
		return p, nil
	}
	if ps.knows(token) {
		return nil, errElsewhere
	}
	return nil, errStale
}

// current is the page in use; nil where none is.
func (ps *pages) current() *page {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.inUse; p != nil && p.ctx.Err() == nil {
		return p
	}
	return nil
}

func (ps *pages) knows(token string) bool {
	found := false
	for _, t := range ps.issued {
		found = same(t, token) || found
	}
	return found
}

// newer tells whether the token a was issued after b.
func (ps *pages) newer(a, b string) bool {
	for _, t := range ps.issued {
		switch t {
		case a:
			return false
		case b:
			return true
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// codes are what an administrator hands to somebody at the kiosk. There is one
// at a time.
type codes struct {
	now   func() time.Time
	mu    sync.Mutex
	code  string
	until time.Time
	tries int
}

// Code makes a code that lets one page enrol people and see the technician's
// view. It replaces the one before.
func (s *Server) Code() (code string, until time.Time) {
	c := &s.codes
	c.mu.Lock()
	defer c.mu.Unlock()
	b := make([]byte, codeDigits)
	for i := range b {
		n, _ := rand.Int(rand.Reader, big.NewInt(10)) // never fails (crypto/rand)
		b[i] = '0' + byte(n.Int64())
	}
	c.code, c.until, c.tries = string(b), c.now().Add(codeFor), 0
	return c.code, c.until
}

// redeem takes the code; it is good once.
func (c *codes) redeem(code string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == "" || !c.now().Before(c.until) {
		c.code = ""
		return false
	}
	c.tries++
	right := same(c.code, code)
	if right || c.tries >= codeTries {
		c.code = ""
	}
	return right
}
