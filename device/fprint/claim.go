package fprint

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/faceprint/faceprint/device"
)

// claim is a client's right to use the device for one account.
type claim struct {
	client  string // unique name on the bus
	account string
	own     use
	all     *use // the account's, of the claims before that this one follows closely as well
	job     *job // what the client started and has not stopped
}

// use is of a claim, or of claims of one account that follow one another; then the time
// between them is left out of it.
type use struct {
	taken time.Time // the first of them
	used  time.Time // when that was taken, or an action last began, ended or compared a new finger: other calls keep nobody out
	ended time.Time // the last of them; zero: it goes on
}

// uses notes that an action begins or ends.
func (c *claim) uses(now time.Time) { c.own.used, c.all.used = now, now }

// stale tells whether another client may take the claim, for that account. Towards
// other accounts, to give the device back and to take it again at once makes no new
// claim: nobody would be quick enough to get between.
func (c *claim) stale(now time.Time, account string) bool {
	u := c.own
	if account != c.account {
		u = *c.all
	}
	running := c.job != nil && !c.job.over()
	if now.Sub(u.taken) >= wholeClaim && !(running && !c.job.verify) {
		return true
	}
	if !running {
		return now.Sub(u.used) >= idleClaim
	}
	return now.Sub(u.used) >= longClaim
}

// job is a verification or an enrolment under way.
type job struct {
	verify  bool
	cancel  context.CancelFunc
	ended   chan struct{} // closed when nothing of it runs any more
	sleeper chan struct{} // has room for one: end the round, the machine sleeps
}

// over tells whether it came to its end by itself.
func (j *job) over() bool {
	select {
	case <-j.ended:
		return true
	default:
		return false
	}
}

// end cancels it and waits until nothing of it runs.
func (j *job) end() {
	j.cancel()
	<-j.ended
}

func (j *job) suspend() {
	select {
	case j.sleeper <- struct{}{}:
	default:
	}
}

// drop ends the claim, if there is one and the test, which may be nil, says so.
func (s *Server) drop(which func(*claim) bool) {
	s.mu.Lock()
	c := s.claim
	if c == nil || which != nil && !which(c) {
		s.mu.Unlock()
		return
	}
	s.claim = nil
	c.all.ended = time.Now()
	s.mu.Unlock()
	if c.job != nil {
		c.job.end()
	}
	s.set("finger-needed", false)
}

// take makes the device the client's, where nobody has it or whoever has may lose it.
func (s *Server) take(client, account string) *dbus.Error {
	for {
		s.mu.Lock()
		old, now := s.claim, time.Now()
		if old == nil {
			maps.DeleteFunc(s.uses, func(_ string, u *use) bool { return now.Sub(u.ended) >= freshClaim })
			u := s.uses[account]
			if u == nil {
				u = &use{taken: now, used: now, ended: now}
				s.uses[account] = u
			}
			free := now.Sub(u.ended)
			u.taken, u.used, u.ended = u.taken.Add(free), u.used.Add(free), time.Time{}
			s.claim = &claim{client: client, account: account, own: use{taken: now, used: now}, all: u}
			s.mu.Unlock()
			return nil
		}
		stale := old.client != client && old.stale(now, account)
		s.mu.Unlock()
		if !stale {
			return fail(errAlreadyInUse, "Device was already claimed")
		}
		s.log.Info("a claim that went stale was given to another client", "account", old.account)
		s.drop(func(c *claim) bool { return c == old })
	}
}

// held returns the caller's claim. It is locked until unlock is called.
func (s *Server) held(sender dbus.Sender) (c *claim, unlock func(), e *dbus.Error) {
	s.mu.Lock()
	if s.claim == nil || s.claim.client != string(sender) {
		s.mu.Unlock()
		return nil, nil, fail(errClaimDevice, "Device was not claimed before use")
	}
	return s.claim, s.mu.Unlock, nil
}

// onDevice answers calls to the device.
type onDevice struct{ s *Server }

// caller names the caller; failing that is a no.
func (d onDevice) caller(sender dbus.Sender) (caller, *dbus.Error) {
	c, err := d.s.who(d.s.ctx, sender)
	if err != nil {
		return c, fail(errPermission, "Not Authorized: the bus does not know the caller: "+err.Error())
	}
	return c, nil
}

// ListEnrolledFingers of an account; the empty name is the caller's.
func (d onDevice) ListEnrolledFingers(username string, sender dbus.Sender) ([]string, *dbus.Error) {
	c, e := d.caller(sender)
	if e != nil {
		return nil, e
	}
	account, e := c.of(username)
	if e != nil {
		return nil, e
	}
	enrolled, e := d.s.enrolled(account)
	if e == nil && len(enrolled) == 0 {
		e = fail(errNoPrints, "Failed to discover prints")
	}
	return enrolled, e
}

// enrolled lists the names of the fingers of whose account it is, "any" for
// one that was enrolled without a name; none where it is nobody's.
func (s *Server) enrolled(account string) ([]string, *dbus.Error) {
	person, err := s.device.Account(account)
	if errors.Is(err, device.ErrAccount) {
		return nil, nil
	}
	if err != nil {
		return nil, s.internal(err)
	}
	labels, err := s.device.Fingers(person)
	if err != nil && !errors.Is(err, device.ErrUnknown) {
		return nil, s.internal(err)
	}
	for i, l := range labels {
		if !isFinger(l) {
			labels[i] = anyFinger
		}
	}
	return labels, nil
}

func (s *Server) internal(err error) *dbus.Error {
	s.log.Error("fault", "on", busName, "err", err)
	return fail(errInternal, err.Error())
}

// Claim takes the device for an account, which must be a person's: with another nothing
// can be done but to keep others out.
func (d onDevice) Claim(username string, sender dbus.Sender) *dbus.Error {
	s := d.s
	c, e := d.caller(sender)
	if e != nil {
		return e
	}
	account, e := c.of(username)
	if e != nil {
		return e
	}
	switch _, err := s.device.Account(account); {
	case errors.Is(err, device.ErrAccount):
		return nobodys(account)
	case err != nil:
		return s.internal(err)
	}
	name, captures, there := s.reader()
	if !there {
		return fail(errInternal, "Open failed with error: the fingerprint module is not there")
	}
	if e := s.take(c.name, account); e != nil {
		return e
	}
	// A client that left while it was being served is not heard leaving.
	if has, err := s.owned(s.ctx, c.name); err != nil || !has {
		s.drop(func(x *claim) bool { return x.client == c.name })
		return fail(errInternal, "the caller left the bus")
	}
	s.refresh(name, captures)
	return nil
}

func nobodys(account string) *dbus.Error {
	return fail(errPermission, "Not Authorized: the account is nobody's; enrol the person, then 'faceprint login allow PERSON "+account+"'")
}

// Release gives it back.
func (d onDevice) Release(sender dbus.Sender) *dbus.Error {
	c, unlock, e := d.s.held(sender)
	if e != nil {
		return e
	}
	unlock()
	d.s.drop(func(x *claim) bool { return x == c })
	return nil
}

// VerifyStart begins to compare; "any" is whichever finger was enrolled.
func (d onDevice) VerifyStart(finger string, sender dbus.Sender, call dbus.Message) *dbus.Error {
	c, unlock, e := d.s.held(sender)
	if e != nil {
		return e
	}
	defer unlock()
	if c.job != nil {
		return fail(errAlreadyInUse, "Another operation is already in progress")
	}
	if finger == "" {
		finger = anyFinger
	}
	if finger != anyFinger && !isFinger(finger) {
		return fail(errFingerName, "Invalid finger name")
	}
	enrolled, e := d.s.enrolled(c.account)
	if e != nil {
		return e
	}
	has := false
	for _, f := range enrolled {
		has = has || finger == anyFinger || f == finger
	}
	if !has {
		return fail(errNoPrints, "No such print "+finger)
	}
	label := finger
	if finger == anyFinger {
		label = ""
	}
	d.s.reply(call)
	d.s.signal(c.client, "VerifyFingerSelected", finger)
	d.s.start(c, true, func(ctx context.Context, j *job) { d.s.verify(ctx, c, j, label) })
	return nil
}

// VerifyStop ends it.
func (d onDevice) VerifyStop(sender dbus.Sender) *dbus.Error { return d.stop(sender, true) }

// EnrollStart begins to capture a finger of the claim's account, in the place
// of the one of that name.
func (d onDevice) EnrollStart(finger string, sender dbus.Sender, call dbus.Message) *dbus.Error {
	by, e := d.caller(sender)
	if e != nil {
		return e
	}
	if !isFinger(finger) {
		return fail(errFingerName, "Invalid finger name")
	}
	if e := d.s.mayChange(d.s.ctx, by); e != nil {
		return e
	}
	c, unlock, e := d.s.held(sender)
	if e != nil {
		return e
	}
	defer unlock()
	if c.job != nil {
		return fail(errAlreadyInUse, "Another operation is already in progress")
	}
	person, err := d.s.device.Account(c.account)
	if errors.Is(err, device.ErrAccount) {
		return nobodys(c.account) // since it was claimed
	}
	if err != nil {
		return d.s.internal(err)
	}
	d.s.reply(call)
	d.s.start(c, false, func(ctx context.Context, j *job) {
		err := d.s.device.AddFinger(ctx, person, finger, d.s.enrolling(ctx, c))
		_, _, there := d.s.reader()
		d.s.status(ctx, c, "EnrollStatus", enrolWord(err, there), true)
	})
	return nil
}

// EnrollStop ends it.
func (d onDevice) EnrollStop(sender dbus.Sender) *dbus.Error { return d.stop(sender, false) }

func (d onDevice) stop(sender dbus.Sender, verify bool) *dbus.Error {
	c, unlock, e := d.s.held(sender)
	if e != nil {
		return e
	}
	j := c.job
	if j == nil || j.verify != verify {
		unlock()
		if j != nil {
			return fail(errAlreadyInUse, "Another operation is already in progress")
		}
		return fail(errNoAction, "No action is in progress")
	}
	unlock()
	j.end()
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if c.job == j {
		c.job = nil
	}
	return nil
}

// DeleteEnrolledFingers of an account: fprintd's old call, which needs no
// claim but must not cross another's.
func (d onDevice) DeleteEnrolledFingers(username string, sender dbus.Sender) *dbus.Error {
	by, e := d.caller(sender)
	if e != nil {
		return e
	}
	account, e := by.of(username)
	if e != nil {
		return e
	}
	if e := d.s.mayChange(d.s.ctx, by); e != nil {
		return e
	}
	d.s.mu.Lock()
	busy := d.s.claim != nil && (d.s.claim.client != string(sender) || d.s.claim.job != nil)
	d.s.mu.Unlock()
	if busy {
		return fail(errAlreadyInUse, "Device was already claimed")
	}
	return d.s.delete(account, "")
}

// DeleteEnrolledFingers2 deletes those of the claim's account.
func (d onDevice) DeleteEnrolledFingers2(sender dbus.Sender) *dbus.Error {
	return d.deleteClaimed("", sender)
}

// DeleteEnrolledFinger deletes one of them.
func (d onDevice) DeleteEnrolledFinger(finger string, sender dbus.Sender) *dbus.Error {
	if !isFinger(finger) {
		return fail(errFingerName, "Invalid finger name")
	}
	return d.deleteClaimed(finger, sender)
}

func (d onDevice) deleteClaimed(finger string, sender dbus.Sender) *dbus.Error {
	by, e := d.caller(sender)
	if e != nil {
		return e
	}
	if e := d.s.mayChange(d.s.ctx, by); e != nil {
		return e
	}
	c, unlock, e := d.s.held(sender)
	if e != nil {
		return e
	}
	defer unlock()
	if c.job != nil {
		return fail(errAlreadyInUse, "Another operation is already in progress")
	}
	return d.s.delete(c.account, finger)
}

func (s *Server) delete(account, finger string) *dbus.Error {
	none := fail(errNoPrints, "No prints to delete")
	person, err := s.device.Account(account)
	if errors.Is(err, device.ErrAccount) {
		return none
	}
	if err != nil {
		return s.internal(err)
	}
	n, err := s.device.ForgetFinger(person, finger)
	switch {
	case err != nil:
		s.log.Error("fingers were not deleted", "err", err)
		return fail(errPrintsNotDeleted, err.Error())
	case n == 0:
		return none
	}
	return nil
}
