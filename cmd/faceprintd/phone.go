package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/kiosk"
	"github.com/faceprint/faceprint/device/phone"
	phoneclient "github.com/faceprint/faceprint/device/phone/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// What the vault keeps of phones. Both go with their person.
var (
	phoneRecords  = store.Collection[phone.Record]("phone")
	phoneCounters = store.Collection[phone.Counter]("phone-counter")
)

// secretPhoneKey names the device's TLS key among the vault's secrets.
const secretPhoneKey = "phone-tls-key"

// phoneVault is the vault as the phones use it.
type phoneVault struct {
	*store.Store
	names *names
}

// names are what people are called, for as long as the vault is not changed: to
// open a person's record costs a tenth of a phone's request.
type names struct{ latest atomic.Pointer[namesAt] }

// namesAt is what is known of the vault after so many changes.
type namesAt struct {
	changes uint64
	of      sync.Map // string by the person's id
}

// at is what is known after so many changes, or more; what was known before is
// dropped.
func (n *names) at(changes uint64) *namesAt {
	for {
		old := n.latest.Load()
		if old != nil && old.changes >= changes {
			return old
		}
		if fresh := (&namesAt{changes: changes}); n.latest.CompareAndSwap(old, fresh) {
			return fresh
		}
	}
}

func (v phoneVault) PhoneKey(made func() ([]byte, error)) (key []byte, err error) {
	err = v.View(func(tx *store.Tx) (err error) {
		key, err = tx.Secret(secretPhoneKey)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return key, err
	}
	if key, err = made(); err != nil {
		return nil, err
	}
	return key, v.Update(func(tx *store.Tx) error { return tx.SetSecret(secretPhoneKey, key) })
}

func (v phoneVault) Phones() (all []phone.Kept, err error) {
	err = v.View(func(tx *store.Tx) error {
		records, err := phoneRecords.All(tx)
		if err != nil {
			return err
		}
		for _, r := range records {
			c, err := phoneCounters.Get(tx, r.User, r.Key)
			if err != nil {
				// Without it old requests would be taken for new ones.
				return fmt.Errorf("the counter of phone %s: %w: %w", r.Key, store.ErrCorrupt, err)
			}
			all = append(all, phone.Kept{Record: r.Value, Counter: c})
		}
		return nil
	})
	return all, err
}

func phoneID(r phone.Record) (string, error) {
	key, err := phoneclient.ParseKey(r.Key)
	return key.ID(), err
}

func (v phoneVault) Pair(r phone.Record, c phone.Counter, remove []string, at time.Time) error {
	user := store.UserID(r.User)
	return problemOf(v.Update(func(tx *store.Tx) error {
		if _, err := tx.Person(user); err != nil {
			return err
		}
		for _, id := range remove {
			if err := errors.Join(phoneRecords.Delete(tx, user, id), phoneCounters.Delete(tx, user, id)); err != nil {
				return err
			}
		}
		if err := phoneRecords.Put(tx, user, c.ID, r); err != nil {
			return err
		}
		if err := phoneCounters.Put(tx, user, c.ID, c); err != nil {
			return err
		}
		return auditPhone(tx, "phone-pair", user, c.ID, cmp.Or(r.Asker, r.By), at)
	}))
}

// auditPhone records that something was done to a phone; its id, and who did it,
// stand where other entries have reasons.
func auditPhone(tx *store.Tx, kind string, user store.UserID, id, by string, at time.Time) error {
	_, err := tx.Append(store.Entry{At: at, Kind: kind, User: user, Outcome: "done", Reasons: []string{"phone:" + id, "by:" + by}})
	return err
}

func (v phoneVault) Change(r phone.Record, kind, by string, at time.Time) error {
	id, err := phoneID(r)
	if err != nil {
		return err
	}
	user := store.UserID(r.User)
	return v.Update(func(tx *store.Tx) error {
		if err := phoneRecords.Put(tx, user, id, r); err != nil {
			return err
		}
		return auditPhone(tx, kind, user, id, by, at)
	})
}

func (v phoneVault) Keep(r phone.Record) error {
	id, err := phoneID(r)
	if err != nil {
		return err
	}
	return v.Update(func(tx *store.Tx) error { return phoneRecords.Put(tx, store.UserID(r.User), id, r) })
}

func (v phoneVault) Count(cs []phone.Counter) error {
	return v.Update(func(tx *store.Tx) error { return putCounters(tx, cs) })
}

func putCounters(tx *store.Tx, cs []phone.Counter) error {
	for _, c := range cs {
		err := phoneCounters.Put(tx, store.UserID(c.User), c.ID, c)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (v phoneVault) AcceptClock(cs []phone.Counter, was, at time.Time, by string) error {
	return v.Update(func(tx *store.Tx) error {
		if err := putCounters(tx, cs); err != nil {
			return err
		}
		_, err := tx.Append(store.Entry{At: at, Kind: "phone-clock", Outcome: "done", Reasons: []string{"by:" + by, "was:" + was.UTC().Format(time.RFC3339)}})
		return err
	})
}

func (v phoneVault) Refused(counts map[string]float64, at time.Time) error {
	return v.Update(func(tx *store.Tx) error {
		_, err := tx.Append(store.Entry{At: at, Kind: "phone-refused", Outcome: "refused", Scores: counts})
		return err
	})
}

func (v phoneVault) Name(user string) (name string, err error) {
	known := v.names.at(v.Changes()) // before it is looked up: what changes meanwhile makes it old
	if name, ok := known.of.Load(user); ok {
		return name.(string), nil
	}
	id, err := userID(user)
	if err != nil {
		return "", err
	}
	err = v.View(func(tx *store.Tx) error {
		p, err := tx.Person(id)
		name = p.Name
		return err
	})
	if err == nil {
		known.of.Store(user, name)
	}
	return name, problemOf(err)
}

// historyReach is how many entries of the audit one request of a phone looks
// at: what it does not find there it asks for again, from where it stopped.
const historyReach = 2048

func (v phoneVault) History(user string, before uint64, limit int) (found []client.Entry, next uint64, err error) {
	found = []client.Entry{}
	err = v.View(func(tx *store.Tx) error {
		head, _, err := tx.AuditHead()
		if err != nil {
			return err
		}
		if before == 0 || before > head+1 {
			before = head + 1
		}
		first := before - min(before-1, historyReach) // the oldest to look at
		entries, err := tx.Audit(first-1, int(before-first))
		if err != nil {
			return err
		}
		next = first
		for i := len(entries) - 1; i >= 0; i-- {
			e := entries[i]
			if string(e.User) != user {
				continue
			}
			w := client.Entry{Seq: e.Seq, At: e.At.UTC(), Kind: e.Kind, User: user, Outcome: e.Outcome, Reasons: e.Reasons, Times: e.Times}
			if w.Reasons == nil {
				w.Reasons = []string{}
			}
			found = append(found, w) // without scores: a stolen phone must not tell how near somebody came
			if len(found) == limit {
				next = e.Seq
				break
			}
		}
		if next == 1 {
			next = 0
		}
		return nil
	})
	return found, next, err
}

// phoneDevice is the device as the phones use it.
type phoneDevice struct{ *backend }

func (d phoneDevice) Attempt(ctx context.Context, a phone.Attempt) (client.Decision, error) {
	who, err := userID(a.User)
	if err != nil {
		return client.Decision{}, err
	}
	if a.Kiosk {
		d, err := d.atKiosk(ctx, a)
		return unmeasured(d), err
	}
	scope := device.Vouch
	if a.Enter {
		scope = device.Enter
	}
	decision, err := wireDecision(d.device.Authenticate(ctx, device.Request{
		Who: who, Nonce: a.Nonce, Audience: a.Audience, Timeout: a.Timeout, Phone: a.Phone, Scope: scope,
		Notify: outward(a.Notify),
	}))
	return unmeasured(decision), err
}

// atKiosk has the kiosk's page begin a session of the phone's person. Where the
// policy gives phones no weight, the device itself refuses and records it.
func (d phoneDevice) atKiosk(ctx context.Context, a phone.Attempt) (client.Decision, error) {
	if d.kiosk == nil {
		return client.Decision{}, api.NewProblem(http.StatusNotFound, client.ProblemNotFound, "this device has no kiosk page", "set kiosk.listen")
	}
	if d.config.Policy.Phone == "none" {
		return kioskPhones(d).Begin(ctx, a.User, a.Phone, "")
	}
	decision, err := d.kiosk.server.Begin(ctx, a.User, a.Phone)
	if errors.Is(err, kiosk.ErrNotTaken) {
		err = api.NewProblem(http.StatusConflict, client.ProblemLeft, err.Error(), "go there, and ask again when it is free")
	}
	if soon := (kiosk.SoonError{}); errors.As(err, &soon) {
		p := api.NewProblem(http.StatusTooManyRequests, client.ProblemTooMany, err.Error(), "wait as long as Retry-After says")
		p.After, err = soon.Wait, p
	}
	return decision, err
}

// outward passes on what a phone hears of its attempt, which may be anywhere: that
// it began, and what its person is to do before the device; not what is seen there.
func outward(tell func(client.Event)) func(device.Event) {
	last := ""
	return func(e device.Event) {
		w := wireEvent(e)
		switch w.Kind {
		case "begun":
		case "hint":
			if w.Hint = outwardHint(w.Hint); w.Hint == last {
				return
			}
			last = w.Hint
		default:
			return
		}
		tell(w)
	}
}

// outwardHint asks for a face or a finger and says nothing of whose is there, or
// whether any is. What a challenge asks for is told: it asks a face that fits.
func outwardHint(hint string) string {
	switch hint {
	case vision.HintTurnLeft.String(), vision.HintTurnRight.String(), vision.HintNearer.String(), vision.HintLookStraight.String(),
		device.HintPhone, device.HintYielded:
		return hint
	}
	switch sensor.Hint(hint) {
	case sensor.HintNoFinger, sensor.HintAgain, sensor.HintClean, sensor.HintFlat, sensor.HintLift, sensor.HintSame, sensor.HintLonger, sensor.HintOther, sensor.HintAnew:
		return string(sensor.HintNoFinger)
	}
	return vision.HintNoFace.String()
}

// unmeasured leaves out how near somebody came, by which who has a stolen phone
// could climb, and who else stands there.
func unmeasured(d client.Decision) client.Decision {
	d.FMR = 1
	hints := []string{}
	for _, h := range d.Hints {
		if h = outwardHint(h); !slices.Contains(hints, h) {
			hints = append(hints, h)
		}
	}
	d.Hints = hints
	d.Factors = slices.Clone(d.Factors)
	for i := range d.Factors {
		f := &d.Factors[i]
		f.Score, f.FMR, f.Live = nil, 1, nil
	}
	return d
}

func (d phoneDevice) Announce(e client.Event) {
	d.device.Announce(device.Event{Kind: e.Kind, User: store.UserID(e.User), Detail: e.Detail, Phone: e.Phone, Code: e.Code})
}

func (d phoneDevice) CheckPairing(grant string) (string, error) {
	user, err := d.device.CheckGrant(grant, client.PairAudience, device.Pair)
	return string(user), err
}

// asker asks phones for the device.
type asker struct{ phones *phone.Phones }

func (a *asker) Ask(ctx context.Context, user store.UserID, audience string) (device.Possession, error) {
	if a.phones == nil {
		return device.Possession{}, nil // still starting
	}
	by, approved, err := a.phones.Ask(ctx, string(user), audience)
	p := device.Possession{Enrolled: true, By: by, Shown: approved, Denied: err == nil && !approved}
	switch {
	case errors.Is(err, phone.ErrNoPhone):
		return device.Possession{}, nil
	case err == nil, ctx.Err() != nil: // nobody answered in time: neither yes nor no
		return p, nil
	}
	return p, err
}

// The API's operations on phones.

func (b *backend) Phones(context.Context) (client.Phones, error) {
	return client.Phones{Phones: b.phones.List()}, nil
}

func (b *backend) InvitePhone(ctx context.Context, i client.Invite, by api.Role, asker string) (client.Invited, error) {
	return b.phones.Invite(ctx, i, min(by, api.RoleAdmin).String(), asker)
}

func (b *backend) WithdrawPhone(_ context.Context, id string) error {
	b.phones.Withdraw(id)
	return nil
}

func (b *backend) RenamePhone(_ context.Context, id, name, by string) (client.Phone, error) {
	return b.phones.Rename(id, name, by)
}

func (b *backend) SetPhoneTerms(_ context.Context, id string, t client.PhoneTerms, by string) (client.Phone, error) {
	return b.phones.SetTerms(id, t, by)
}

func (b *backend) PhoneClock(context.Context) (client.PhoneClock, error) {
	return b.phones.Clock(), nil
}

func (b *backend) AcceptPhoneClock(_ context.Context, by string) (client.PhoneClock, error) {
	return b.phones.AcceptClock(by)
}

func (b *backend) RevokePhone(_ context.Context, id, by string) (client.Phone, error) {
	return b.phones.Revoke(id, by)
}

// kioskPhones are the phones as the kiosk's page uses them.
type kioskPhones struct{ *backend }

func (k kioskPhones) Confirm(ctx context.Context, user string) (client.Decision, error) {
	who, err := userID(user)
	if err != nil {
		return client.Decision{}, err
	}
	return wireDecision(k.device.Authenticate(ctx, device.Request{Who: who, Audience: client.PairAudience, Scope: device.Pair}))
}

func (k kioskPhones) Invite(ctx context.Context, user, grant string, rights []string) (client.Invited, error) {
	return k.phones.Invite(ctx, client.Invite{User: user, Grant: grant, Rights: rights}, api.RoleKiosk.String(), "")
}

func (k kioskPhones) Barred(user string) (*client.Decision, error) {
	who, err := userID(user)
	if err != nil {
		return nil, err
	}
	d, err := k.device.Barred(who)
	switch {
	case err != nil:
		return nil, problemOf(err)
	case d == nil:
		return nil, nil
	}
	w, err := wireDecision(*d, nil)
	return &w, err
}

func (k kioskPhones) Begin(ctx context.Context, user, phone, nonce string) (client.Decision, error) {
	who, err := userID(user)
	if err != nil {
		return client.Decision{}, err
	}
	return wireDecision(k.device.Authenticate(ctx, device.Request{
		Who: who, Phone: phone, Audience: kiosk.Audience, Nonce: nonce, Scope: device.Enter, Here: true,
	}))
}

func (k kioskPhones) Withdraw(id string)            { k.phones.Retract(id, api.RoleKiosk.String()) }
func (k kioskPhones) Doubt(id string)               { k.phones.Doubt(id) }
func (k kioskPhones) Keep(id string) error          { return k.phones.Keep(id) }
func (k kioskPhones) Of(user string) []client.Phone { return k.phones.Of(user) }
func (k kioskPhones) Revoke(id string) (client.Phone, error) {
	return k.phones.Revoke(id, api.RoleKiosk.String())
}

// openPhones reads the phones of the vault. Whether they are listened to is
// the configuration's.
func openPhones(c phoneConfig, v *store.Store, b *backend, log *slog.Logger) (*phone.Phones, error) {
	return phone.Open(phoneVault{v, new(names)}, phoneDevice{b}, phone.Options{
		Address: c.Address, Browsers: c.Browsers, Version: version(), Log: log,
		Limits: phone.Limits{Connections: c.Connections}, ClockTrusted: device.ClockTrusted,
	})
}

// phoneDoor is a listener that serves phones.
type phoneDoor struct {
	addr string
	stop context.CancelFunc
	done chan error
}

// phonePart keeps the phones' listener open; an address that is taken, or not
// there yet, is tried again like any other part.
func phonePart(c phoneConfig, p *phone.Phones, log *slog.Logger) *part[*phoneDoor] {
	self := newPart("phones", log, func(context.Context) (*phoneDoor, error) {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(context.Background()) // close ends it
		d := &phoneDoor{addr: l.Addr().String(), stop: stop, done: make(chan error, 1)}
		go func() { d.done <- p.Serve(ctx, l) }()
		return d, nil
	}, func(d *phoneDoor) error {
		d.stop()
		return <-d.done
	})
	self.check = func(_ context.Context, d *phoneDoor) error {
		select {
		case err := <-d.done:
			d.done <- err // for close
			return fmt.Errorf("the listener ended: %w", errors.Join(err, net.ErrClosed))
		default:
			return nil
		}
	}
	self.detail = func(d *phoneDoor) string { return "listening on " + d.addr }
	self.advice = func(error) string { return "is the address free and this machine's? see [phone] of the configuration" }
	return self
}
