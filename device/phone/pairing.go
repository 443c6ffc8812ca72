package phone

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"rsc.io/qr"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// invite is one code that is shown somewhere.
type invite struct {
	secret client.Secret
	record Record    // what the phone will be, but for what it says itself
	from   time.Time // by the monotonic clock: setting the wall clock back gives no more time
	tries  int       // wrong ones

	// Once it is used up:
	name      string
	used      time.Time // by the monotonic clock
	phone     string    // that was paired with it; empty until that is kept
	retracted bool
}

// invites, the newest last of each kind.
type invites struct {
	mu   sync.Mutex
	open []*invite
	used []*invite // in the last inviteLife
}

// add opens one; the oldest gives way where there are too many.
func (s *invites) add(i *invite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == maxInvites {
		clear(s.open[0].secret[:])
		s.open = slices.Delete(s.open, 0, 1)
	}
	s.open = append(s.open, i)
}

// use returns the invitation of that name when its secret makes the proof; then
// it is used up. A wrong proof is a try. Who does not know the name, which is
// made from the secret, cannot spoil other people's tries.
func (s *invites) use(now time.Time, name string, fits func(client.Secret) bool) *invite {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *invite
	s.open = slices.DeleteFunc(s.open, func(i *invite) bool {
		over := now.Sub(i.from) >= inviteLife
		if !over && subtle.ConstantTimeCompare([]byte(i.secret.Name()), []byte(name)) == 1 {
			if fits(i.secret) {
				found, i.name, i.used = i, name, now
				return true
			}
			i.tries++
			over = i.tries >= inviteTries
		}
		if over {
			clear(i.secret[:])
		}
		return over
	})
	s.used = slices.DeleteFunc(s.used, func(i *invite) bool { return now.Sub(i.used) >= inviteLife })
	if found != nil {
		s.used = append(s.used, found)
	}
	return found
}

// kept notes the phone that was paired with an invitation, and tells whether that
// was retracted meanwhile.
func (s *invites) kept(i *invite, phone string) (retracted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.phone = phone
	return i.retracted
}

// retract returns the phone that was paired with the used invitation of that name.
// Of one that is not kept yet kept tells.
func (s *invites) retract(name string) (phone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.used {
		if i.name == name {
			i.retracted = true
			return i.phone
		}
	}
	return ""
}

// Invite makes a code for one phone of the person. by says who asked: admin or
// kiosk; a kiosk needs the person's own grant. asker is their account, or empty.
func (p *Phones) Invite(_ context.Context, in wire.Invite, by, asker string) (wire.Invited, error) {
	addr := p.address()
	if addr == "" {
		return wire.Invited{}, api.NewProblem(http.StatusServiceUnavailable, wire.ProblemFault, "the device listens for no phones", "set listen in [phone] of the configuration, such as \":7443\"")
	}
	if by != "admin" {
		user, err := p.device.CheckPairing(in.Grant)
		if err != nil || user != in.User {
			return wire.Invited{}, api.NewProblem(http.StatusForbidden, wire.ProblemForbidden, "a kiosk may pair a phone only for the person who stands there",
				"authenticate the person for the audience "+wire.PairAudience+" and send the grant along")
		}
	}
	if _, err := p.vault.Name(in.User); err != nil {
		return wire.Invited{}, err
	}
	now, _ := p.clock()
	t := wire.PhoneTerms{Rights: in.Rights, Schedule: in.Schedule, Expires: in.Expires}
	if err := p.noEnd(t); err != nil {
		return wire.Invited{}, err
	}
	rights, _, expires, err := terms(t, now)
	if err != nil {
		return wire.Invited{}, err
	}
	switch {
	case len(rights) > 0:
	case by == "admin":
		rights = slices.Clone(Rights)
	default:
		rights = slices.Clone(kioskRights)
	}
	r := Record{User: in.User, By: by, Asker: asker, Rights: rights, Schedule: in.Schedule, Expires: expires}
	r.Unseen = by != "admin" && asker == "" // on the device's own page, which tells whether they were seen
	i := &invite{secret: client.NewSecret(), record: r, from: p.tick()}
	text := client.Invitation{Addr: addr, Pin: p.pin, Secret: i.secret}.Text()
	code, err := rows(text)
	if err != nil {
		return wire.Invited{}, err
	}
	p.invites.add(i)
	return wire.Invited{ID: i.secret.Name(), Text: text, QR: code, Key: p.pin.Groups(), Expires: p.wall().Add(inviteLife).UTC()}, nil
}

// Withdraw ends a code before its time, when nobody looks at it any more. One
// that is over is no matter.
func (p *Phones) Withdraw(id string) {
	if i := p.invites.use(p.tick(), id, func(client.Secret) bool { return true }); i != nil {
		clear(i.secret[:])
	}
}

// Retract is Withdraw of somebody who has heard of no phone that was paired with
// the code: one that just was, or is just being, is revoked. Nobody looked at who
// held it. by says who did, for the audit.
func (p *Phones) Retract(id, by string) {
	p.Withdraw(id) // which uses it up, so that it is open no more
	phone := p.invites.retract(id)
	if phone == "" {
		return
	}
	if _, err := p.Revoke(phone, by); err != nil {
		p.log.Error("a phone whose code was withdrawn is still paired", "phone", phone, "err", err)
	}
}

// rows draws the QR code.
func rows(text string) ([]string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("phone: QR code: %w", err)
	}
	var all []string
	for y := range code.Size {
		var b strings.Builder
		for x := range code.Size {
			if code.Black(x, y) {
				b.WriteByte('#')
			} else {
				b.WriteByte(' ')
			}
		}
		all = append(all, b.String())
	}
	return all, nil
}

// address is what phones should connect to; "" while nothing listens.
func (p *Phones) address() string {
	p.mu.RLock()
	listening := p.addr
	p.mu.RUnlock()
	if p.opts.Address != "" || listening == "" {
		if listening == "" {
			return ""
		}
		return p.opts.Address
	}
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
		return listening
	}
	return net.JoinHostPort(localAddress(), port)
}

// localAddress is the first address of this machine that a phone in the house
// can reach, or the name under which avahi announces it.
func localAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		var six string
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.IsLoopback() || !n.IP.IsGlobalUnicast() {
				continue
			}
			if n.IP.To4() != nil {
				return n.IP.String()
			}
			if six == "" {
				six = n.IP.String()
			}
		}
		if six != "" {
			return six
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return "faceprint.local"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	return host + ".local"
}

// pair makes a phone of an applicant who proves the secret of an open
// invitation and the key.
func (p *Phones) pair(r *http.Request, body []byte, in client.PairRequest) (client.PairReply, *refusal, error) {
	b := r.Context().Value(boundKey{}).(*bound)
	wrong := func(why reason, detail string) (client.PairReply, *refusal, error) {
		return client.PairReply{}, refuse(http.StatusForbidden, wire.ProblemPairing, why, detail, "show a new code and scan it within a minute"), nil
	}
	key, err := client.ParseKey(in.Key)
	if err != nil {
		return client.PairReply{}, nil, invalid(err)
	}
	a := client.Applicant{Key: key, Kind: in.Kind, Name: in.Name, Platform: in.Platform}
	if err := client.CheckName(a.Name); err != nil {
		return client.PairReply{}, nil, badName(err)
	}
	if err := errors.Join(client.CheckPlatform(a.Platform), a.Check()); err != nil {
		return client.PairReply{}, nil, invalid(err)
	}
	proof, err := client.ParseProof(in.Proof)
	if err != nil {
		return client.PairReply{}, nil, invalid(err)
	}
	sig, err := client.ParseSignature(r.Header.Get("Authorization"))
	if err != nil || sig.ID != key.ID() {
		return wrong(badSignature, "the request is not signed with the key that it brings")
	}
	public, err := key.Public()
	if err != nil {
		return client.PairReply{}, nil, invalid(err)
	}
	if a.Kind == client.Browser && !p.opts.Browsers {
		return wrong(badProof, "this device takes no browsers")
	}
	binding, ok := p.bindingOf(r, b, &paired{record: Record{Kind: a.Kind}})
	if !ok || !client.Verify(public, client.Request{Method: r.Method, Target: r.RequestURI, Counter: sig.Counter, Binding: binding, Body: body}, sig) {
		return wrong(badSignature, "the request is not signed with the key that it brings")
	}
	now, _ := p.clock()
	i := p.invites.use(p.tick(), in.Invite, func(s client.Secret) bool {
		return proof.Equal(client.ProvePhone(s, p.pin, binding, a))
	})
	if i == nil {
		return wrong(badInvitation, "no code that is shown fits: it was used, its minute is over, or it was tried too often")
	}
	defer clear(i.secret[:])

	rec := i.record
	rec.Key, rec.Kind, rec.Name, rec.Platform, rec.Paired = key.String(), a.Kind, a.Name, a.Platform, now.UTC()
	if err := p.keep(rec, sig.Counter, now); err != nil {
		return client.PairReply{}, nil, err
	}
	p.log.Info("a phone was paired", "phone", key.ID(), "by", rec.By, "asker", rec.Asker)
	p.device.Announce(wire.Event{Kind: "phone-paired", User: rec.User, Detail: rec.Name, Phone: key.ID(), Code: i.name})
	if p.invites.kept(i, key.ID()) {
		if _, err := p.Revoke(key.ID(), rec.By); err != nil {
			return client.PairReply{}, nil, err
		}
		return wrong(badInvitation, "the code was withdrawn")
	}
	return client.PairReply{ID: key.ID(), User: rec.User, Proof: client.ProveDevice(i.secret, proof, key.ID(), rec.User).String()}, nil, nil
}

// stays takes back that phones are gone.
func stays(room []*paired) {
	for _, o := range room {
		o.mu.Lock()
		o.gone = false
		o.mu.Unlock()
	}
}

// keep makes the phone known. A key is paired once: a second person's phone
// cannot be the first one's.
func (p *Phones) keep(r Record, counter uint64, now time.Time) error {
	key, err := client.ParseKey(r.Key)
	if err != nil {
		return err
	}
	known, sure := p.time.times() // phones that are over may go, but not what was known through them
	c := Counter{ID: key.ID(), User: r.User, Top: min(counter+counterStep, client.MaxCounter), Seen: earlier(now, known).UTC(), Known: known, Sure: sure}
	x, err := load(Kept{r, c})
	if err != nil {
		return err
	}
	x.last = counter
	x.take(counter)
	p.counting.Lock()
	defer p.counting.Unlock()
	if p.find(x.id) != nil {
		return api.NewProblem(http.StatusConflict, wire.ProblemDuplicate, "this key is or was paired already", "make a new key on the phone")
	}
	old := p.of(r.User)
	var room []*paired
	if n := len(old) - phonesOfPerson + 1; n > 0 {
		for _, o := range old {
			o.mu.Lock()
			if (!o.record.Revoked.IsZero() || o.expired(now)) && len(room) < n {
				o.gone = true // whatever is changed of it meanwhile would be back without its counter
				room = append(room, o)
			}
			o.mu.Unlock()
		}
		if len(room) < n {
			stays(room)
			return api.NewProblem(http.StatusConflict, wire.ProblemDuplicate, fmt.Sprintf("this person has %d phones, which is the most", len(old)), "revoke one")
		}
	}
	var remove []string
	for _, o := range room {
		remove = append(remove, o.id)
	}
	if err := p.vault.Pair(r, c, remove, p.wall()); err != nil {
		stays(room)
		return err
	}
	for _, o := range room {
		p.drop(o)
	}
	p.mu.Lock()
	p.phones[x.id] = x
	p.mu.Unlock()
	p.time.keep(known)
	return nil
}
