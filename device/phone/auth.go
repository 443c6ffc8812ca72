package phone

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// caller is who a request is from, in its context.
type caller struct {
	phone   *paired // nil: nobody
	request *http.Request
	body    []byte     // all of it
	answer  *answering // knows why it was refused
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// bound is a connection with its binding, made once it is needed.
type bound struct {
	link    *link
	once    sync.Once
	binding client.Binding
	err     error
}

type boundKey struct{}

func (b *bound) bind(t *tls.ConnectionState) (client.Binding, error) {
	b.once.Do(func() { b.binding, b.err = client.Bind(t) })
	return b.binding, b.err
}

// stranger tells whether no phone has proved itself on the connection.
func (b *bound) stranger() bool {
	b.link.mu.Lock()
	defer b.link.mu.Unlock()
	return b.link.phone == nil
}

// refusal is a problem with the reason that is counted.
type refusal struct {
	*api.Problem
	why   reason
	after int // seconds after which the same may be asked again; 0: it makes no difference
}

func refuse(status int, kind string, why reason, detail, advice string) *refusal {
	return &refusal{Problem: api.NewProblem(status, kind, detail, advice), why: why}
}

// mayTry draws on the limits of attempts, of the phone and of its person. Each
// attempt is commits of the vault and may be an entry of the audit, and holds the
// device. A phone draws on its own share of the person's rate first, then on what
// all of them have in common.
func (p *Phones) mayTry(x *paired) *refusal {
	now := p.tick()
	share, common := p.opts.Limits.Person.shared(p.sharing(x.record.User)) // a person never changes
	p.trying.Lock()
	defer p.trying.Unlock()
	person := p.persons[x.record.User]
	if person == nil {
		person = &bucket{}
		p.persons[x.record.User] = person
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	own, all := x.share.wait(share, now), person.wait(common, now)
	if wait := max(x.attempts.wait(p.opts.Limits.Attempts, now), min(own, all)); wait > 0 {
		return hasty(tooManyAttempts, wait, "too many attempts by this phone, or by the phones of this person")
	}
	x.attempts.allow(p.opts.Limits.Attempts, now)
	if own <= 0 {
		x.share.allow(share, now)
	} else {
		person.allow(common, now)
	}
	return nil
}

// sharing is how many phones share the rate of a person: those that live.
func (p *Phones) sharing(user string) (n int) {
	now, _ := p.clock()
	for _, x := range p.of(user) {
		x.mu.Lock()
		if !x.gone && x.record.Revoked.IsZero() && !x.expired(now) {
			n++
		}
		x.mu.Unlock()
	}
	return n
}

// mayRead draws on the limit of what costs a good part of a processor.
func (p *Phones) mayRead(x *paired) *refusal {
	now := p.tick()
	x.mu.Lock()
	defer x.mu.Unlock()
	if rate := p.opts.Limits.History; !x.pages.allow(rate, now) {
		return hasty(tooManyRequests, x.pages.wait(rate, now), "too many pages of the history")
	}
	return nil
}

// hasty refuses what may be asked again after a while.
func hasty(why reason, wait time.Duration, detail string) *refusal {
	no := refuse(http.StatusTooManyRequests, wire.ProblemTooMany, why, detail, "wait as long as Retry-After says")
	no.after = int(math.Ceil(wait.Seconds()))
	return no
}

// tooMany refuses what is beyond a rate.
func tooMany(r Rate, detail string) *refusal {
	return hasty(tooManyRequests, r.every(), detail)
}

func noPhone(id string) error {
	return api.NewProblem(http.StatusNotFound, wire.ProblemNotFound, fmt.Sprintf("no phone has the id %.24q", id), "'faceprint phone list' lists those paired")
}

func invalid(err error) error {
	return api.NewProblem(http.StatusUnprocessableEntity, wire.ProblemInvalid, err.Error(), "")
}

func badName(err error) error {
	return api.NewProblem(http.StatusUnprocessableEntity, wire.ProblemName, err.Error(), "choose another")
}

// ServeHTTP lets a request through to its operation: as a paired phone's when
// its signature holds, as nobody's where it has none. Everything that is cheap
// to refuse is refused first.
func (p *Phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, ok := r.Context().Value(boundKey{}).(*bound)
	if !ok || r.TLS == nil {
		http.Error(w, "", http.StatusInternalServerError) // not from Serve
		return
	}
	plain, a := w, &answering{ResponseWriter: w, refusals: p.refusals}
	w = a
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))

	var body []byte
	if r.Body != http.NoBody {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(plain, r.Body, maxBody)); err != nil {
			h.Set("Connection", "close")
			p.deny(w, b, badRest(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	// From here on the phone may be silent: net/http has taken the deadline back,
	// which it does where a body ends.
	c := caller{request: r, body: body, answer: a}
	if header := r.Header.Get("Authorization"); header != "" && r.URL.Path != "/v1/pair" {
		x, before, no := p.verify(r, b, header, body)
		if x != nil {
			h.Set(client.CounterHeader, strconv.FormatUint(before, 10))
		}
		if no != nil {
			p.deny(w, b, no)
			return
		}
		c.phone = x
	} else if !p.unsigned.allow(b.link.address, p.tick()) {
		p.deny(w, b, tooMany(p.opts.Limits.Unsigned, "too many requests without a signature from this address"))
		return
	} else if b.stranger() {
		h.Set("Connection", "close") // whatever the answer: it holds no place until the next question
	}
	if len(body) > 0 && !plainKeys(body) {
		p.deny(w, b, refuse(http.StatusUnprocessableEntity, wire.ProblemInvalid, badBody, "a property is named twice, or not in lower case", "see the description at /openapi.json"))
		return
	}
	p.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

// plainKeys tells whether an object names each property once and in lower case:
// encoding/json takes AUDIENCE for audience, and the last of two. What is no
// object is not judged here.
func plainKeys(body []byte) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return true
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return true
		}
		if seen[key] || strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsUpper(r) }) {
			return false
		}
		seen[key] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return true
		}
	}
	return true
}

// badRest says why a body could not be read to its end.
func badRest(err error) *refusal {
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return refuse(http.StatusRequestEntityTooLarge, wire.ProblemInvalid, badBody, fmt.Sprintf("the body is longer than %d bytes", maxBody), "")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, wire.ProblemInvalid, badBody, "the request did not come to its end in time", "send it again")
	}
	return refuse(http.StatusBadRequest, wire.ProblemInvalid, badBody, "the body cannot be read to its end", "send it again")
}

// deny answers a refusal. A stranger's connection is ended with it: the next
// try costs a handshake, which is limited before it costs anything here.
func (p *Phones) deny(w http.ResponseWriter, b *bound, no *refusal) {
	if a, ok := w.(*answering); ok {
		a.why = no.why
	}
	if b.stranger() {
		w.Header().Set("Connection", "close")
	}
	if no.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", client.Scheme)
	}
	if no.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(no.after))
	}
	p.problem(w, no.Problem)
}

// verify finds out whose request it is. It returns the phone as soon as the
// signature holds, with the counter that was its highest before.
func (p *Phones) verify(r *http.Request, b *bound, header string, body []byte) (*paired, uint64, *refusal) {
	stranger := func(why reason) (*paired, uint64, *refusal) {
		if !p.unsigned.allow(b.link.address, p.tick()) {
			return nil, 0, tooMany(p.opts.Limits.Unsigned, "too many wrong signatures from this address")
		}
		return nil, 0, notPaired(why)
	}
	// A connection whose phone is known is limited before a signature is
	// checked: everything on it is that phone's doing. One of a stranger ends
	// with its first wrong signature, and the next costs a handshake, which is
	// limited. A phone's limit is not drawn on by who only knows its id.
	b.link.mu.Lock()
	holder := b.link.phone
	b.link.mu.Unlock()
	if holder != nil && !p.allow(holder) {
		return nil, 0, p.slow()
	}
	sig, err := client.ParseSignature(header)
	if err != nil || !strings.HasPrefix(r.RequestURI, "/") {
		return stranger(badSignature)
	}
	x := p.find(sig.ID)
	if x == nil {
		return stranger(unknownPhone)
	}
	binding, ok := p.bindingOf(r, b, x)
	if !ok || !client.Verify(x.key, client.Request{Method: r.Method, Target: r.RequestURI, Counter: sig.Counter, Binding: binding, Body: body}, sig) {
		return stranger(badSignature)
	}
	before, no := p.accept(x, b.link, sig.Counter, x == holder)
	if no != nil {
		if no.why == expiredPhone {
			x.cut(b.link) // streams that began in time
		}
		return x, before, no
	}
	if !b.link.claim(x) {
		return x, before, refuse(http.StatusForbidden, wire.ProblemForbidden, othersConnection, "this connection is another phone's, or this phone was just revoked", "open a new one")
	}
	return x, before, nil
}

// notPaired is one answer for an unknown phone and a wrong signature: it tells
// nobody which phones there are.
func notPaired(why reason) *refusal {
	return refuse(http.StatusUnauthorized, wire.ProblemUnsigned, why, "the signature is not that of a paired phone over this request on this connection", "pair the phone; see the description at /openapi.json")
}

// bindingOf is what the phone's request must be bound to. Only a key that was
// paired as a browser's may use a session: an app's cannot be talked down to it.
func (p *Phones) bindingOf(r *http.Request, b *bound, x *paired) (client.Binding, bool) {
	session := r.Header.Get(client.SessionHeader)
	if x.record.Kind == client.Browser { // never changes
		binding, err := client.ParseBinding(session)
		return binding, err == nil && p.opts.Browsers && p.sessions.holds(binding, p.tick())
	}
	binding, err := b.bind(r.TLS)
	return binding, err == nil && session == ""
}

// allow draws on the limit of the phone.
func (p *Phones) allow(x *paired) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bucket.allow(p.opts.Limits.Signed, p.tick())
}

func (p *Phones) slow() *refusal {
	return tooMany(p.opts.Limits.Signed, "too many requests of this phone")
}

// accept takes the counter, which came over the connection, when the phone may
// ask at all; counted says that its limit was drawn on already. It returns the
// highest counter before.
func (p *Phones) accept(x *paired, over *link, counter uint64, counted bool) (before uint64, no *refusal) {
	now, _ := p.clock()
	known, _ := p.time.times()
	believed := earlier(now, known) // not a date that somebody set for a moment
	defer func() {
		switch {
		case no == nil:
		case no.why == expiredPhone:
			p.tellTime(x, now)
		case no.why == copiedKey:
			p.tellCopied(x, now)
		}
	}()
	slowed := !counted && !p.allow(x)
	for {
		x.mu.Lock()
		before = x.last
		switch {
		case slowed:
			no = p.slow()
		case x.gone: // just now; from the next request on it is not found
			no = notPaired(unknownPhone)
		case !x.record.Revoked.IsZero():
			no = refuse(http.StatusUnauthorized, wire.ProblemRevoked, revokedPhone, "this phone was revoked", "pair it again")
		case x.expired(now):
			no = isExpired()
		case x.seenTwice(over, counter):
			no = refuse(http.StatusUnauthorized, wire.ProblemCopied, copiedKey, fmt.Sprintf("the counter went back, from %d to %d: this phone's key is used by two", x.last, counter), "revoke this phone and pair anew")
		case counter <= x.last:
			no = refuse(http.StatusUnauthorized, wire.ProblemStale, staleCounter, fmt.Sprintf("counter %d is not above %d", counter, x.last), "sign again with a higher one")
		}
		// A phone whose time is limited leaves behind how late it is before it gets
		// anything: cutting the power gives back no more than this.
		late := x.limited() && p.time.due(knownInUse)
		if no != nil || counter <= x.top && !late {
			if no == nil {
				x.take(counter)
				x.seen = believed
				over.highest.Store(counter)
			}
			x.mu.Unlock()
			return before, no
		}
		x.mu.Unlock()
		if err := p.reserve(x, counter, now); err != nil {
			p.log.Error("a phone's counter could not be kept, so its request does not hold", "phone", x.id, "err", err)
			return before, refuse(http.StatusServiceUnavailable, wire.ProblemFault, deviceFault, "the device could not keep this phone's counter", "look at 'faceprint doctor'")
		}
	}
}

// take makes the counter the last. The caller holds mu.
func (x *paired) take(counter uint64) {
	x.taken = x.taken<<(counter-x.last) | 1 // 0 and 1 where it is further
	x.last, x.heard = counter, true
}

// seenTwice tells whether a counter that does not count gives away that two sign
// with the phone's key: it was taken already over another connection, or is so
// far behind that no crowd of requests of one phone explains it. One that went
// back on its own connection is not judged, nor a browser's, which sends again
// what got lost; and after a start the last is what was reserved, until the
// phone was heard. The caller holds mu.
func (x *paired) seenTwice(over *link, counter uint64) bool {
	if counter > x.last || counter <= over.highest.Load() || x.record.Kind != client.App || !x.heard {
		return false
	}
	behind := x.last - counter
	return behind >= crowd || x.taken>>behind&1 == 1
}

// tellCopied has the audit, the device and the phone's person know that its key
// is used by two, now and then.
func (p *Phones) tellCopied(x *paired, now time.Time) {
	x.mu.Lock()
	if !x.copied.IsZero() && now.Sub(x.copied) < copiedEvery || x.standing() != nil {
		x.mu.Unlock()
		return
	}
	x.copied = now
	user := x.record.User
	err := p.vault.Change(x.record, "phone-copied", "device", now) // under mu: a record of before would undo a revocation
	x.mu.Unlock()
	p.log.Warn("two sign with one phone's key", "phone", x.id)
	if err != nil {
		p.log.Error("that a phone's key was copied could not be recorded", "phone", x.id, "err", err)
	}
	p.device.Announce(wire.Event{Kind: "phone-copied", User: user})
}

// wish is a phone's for a higher top.
type wish struct {
	x       *paired
	counter uint64
	done    bool // with err; guarded by Phones.counting
	err     error
}

// reserve raises the phone's top in the vault beyond the counter. Phones that
// come while a commit is under way share the next.
func (p *Phones) reserve(x *paired, counter uint64, now time.Time) error {
	w := &wish{x: x, counter: counter}
	p.wishing.Lock()
	p.wishes = append(p.wishes, w)
	p.wishing.Unlock()
	p.counting.Lock()
	defer p.counting.Unlock()
	if w.done {
		return w.err
	}
	p.wishing.Lock()
	wishes := p.wishes
	p.wishes = nil
	p.wishing.Unlock()
	err := p.grant(wishes, now)
	for _, w := range wishes {
		w.done, w.err = true, err
	}
	return w.err
}

// grant raises the tops in one commit. The caller holds counting.
func (p *Phones) grant(wishes []*wish, now time.Time) error {
	tops := make(map[*paired]uint64, len(wishes))
	known, sure := p.time.times()
	late := p.time.due(knownInUse)
	var cs []Counter
	for _, w := range wishes {
		w.x.mu.Lock()
		user, gone, top := w.x.record.User, w.x.gone, w.x.top
		w.x.mu.Unlock()
		raise := top < w.counter
		if raise {
			top = min(w.counter+counterStep, client.MaxCounter)
		}
		if gone || !raise && !late || tops[w.x] >= top {
			continue
		}
		tops[w.x], late = top, false
		cs = append(cs, Counter{ID: w.x.id, User: user, Top: top, Seen: earlier(now, known).UTC(), Known: known, Sure: sure})
	}
	if len(cs) == 0 {
		return nil
	}
	if err := p.vault.Count(cs); err != nil { // of two of one phone the later, which is the higher, stays
		return err
	}
	for x, top := range tops {
		x.mu.Lock()
		x.top, x.known = top, known
		x.mu.Unlock()
	}
	p.time.keep(known)
	return nil
}

func isExpired() *refusal {
	return refuse(http.StatusUnauthorized, wire.ProblemExpired, expiredPhone, "the pairing of this phone has expired", "have an administrator give it more time, or pair it again")
}

// tellTime has the vault know that a phone has expired, once.
func (p *Phones) tellTime(x *paired, now time.Time) {
	x.mu.Lock()
	behind := p.behind(x, now)
	x.mu.Unlock()
	if !behind {
		return
	}
	if err := p.settle(now, settleIdle); err != nil {
		p.log.Error("the time could not be kept: a clock that is set back would revive a phone after a restart", "phone", x.id, "err", err)
	}
}

// may tells whether the phone has the right at this moment; "" is what every
// phone has whose person is known to have been there.
func (p *Phones) may(x *paired, right string) *refusal {
	now, back := p.clock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.expired(now) {
		return isExpired()
	}
	if x.record.Unseen {
		return refuse(http.StatusForbidden, wire.ProblemForbidden, noRight, "the kiosk has not told yet that this phone's person was there when it was paired", "look and touch there once more where it asks, or ask again in a moment")
	}
	if right == "" {
		return nil
	}
	if back && x.limited() {
		return isBack()
	}
	if !slices.Contains(x.record.Rights, right) {
		return refuse(http.StatusForbidden, wire.ProblemForbidden, noRight, fmt.Sprintf("this phone does not have the right %q", right), "ask an administrator to pair it with that right")
	}
	if !x.schedule.Holds(now.Local()) {
		return refuse(http.StatusForbidden, wire.ProblemForbidden, outOfSchedule, "outside the times of this phone: "+x.schedule.String(), "")
	}
	return nil
}

// sessions take the TLS exporter's place for browsers. They cost no memory: a
// session is its expiry under a MAC whose key lives as long as the process.
// Their time is the monotonic clock's: setting the other one ends none and
// prolongs none.
type sessions struct {
	key  []byte
	from time.Time
}

func newSessions(from time.Time) *sessions {
	s := &sessions{key: make([]byte, sha256.Size), from: from}
	rand.Read(s.key)
	return s
}

// A binding of a session is when it ends, in milliseconds since the start (8
// bytes), random bytes (8) and the first half of the HMAC-SHA256 over both.
func (s *sessions) open(now time.Time) (b client.Binding) {
	binary.BigEndian.PutUint64(b[:8], uint64((now.Sub(s.from) + sessionLife).Milliseconds()))
	rand.Read(b[8:16])
	copy(b[16:], s.mac(b[:16]))
	return b
}

func (s *sessions) mac(b []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(b)
	return h.Sum(nil)[:16]
}

func (s *sessions) holds(b client.Binding, now time.Time) bool {
	return hmac.Equal(b[16:], s.mac(b[:16])) && now.Sub(s.from).Milliseconds() < int64(binary.BigEndian.Uint64(b[:8]))
}
