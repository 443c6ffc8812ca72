package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// Camera hands out frames, each newer than the one before. It hands out none once the
// context has ended, though it may have one: before a device that is slower than its
// camera it always has.
type Camera interface {
	Frame(context.Context) (*vision.Frame, error)
}

// FaceModel finds faces and makes them comparable. It is used by one goroutine
// at a time.
type FaceModel interface {
	// Detect finds faces with their quality, the subject first.
	Detect(*vision.Frame) ([]vision.Face, error)
	// Describe fills in the embedding and the liveness.
	Describe(*vision.Frame, *vision.Face) error
	// Profile names the model set and has its threshold table. A model that is
	// not there, or not yet, is an error.
	Profile() (vision.Profile, error)
}

// FingerReader takes one scan; it waits for a finger until the context ends.
type FingerReader interface {
	Scan(context.Context) (sensor.Print, error)
}

// FingerMatcher compares a scan with a template.
type FingerMatcher interface {
	// Match returns the matcher's score, 0 for no match.
	Match(ctx context.Context, probe sensor.Print, template []byte) (float64, error)
	// FMR is the false match rate that a score stands for.
	FMR(score float64) float64
	// Family names the module; templates of another are not compared.
	Family() string
	// Fits tells whether a template of the family can be this module's; others are not
	// compared either. Modules of one family may make templates of different sizes.
	Fits(template []byte) bool
}

// FingerSearcher is a FingerMatcher that finds a scan among many templates
// sooner than by comparing one after the other.
type FingerSearcher interface {
	// Identify returns which one it is and the score of Match, -1 for none.
	Identify(ctx context.Context, probe sensor.Print, templates [][]byte) (int, float64, error)
}

// FingerCache is a FingerMatcher that keeps templates outside the vault to search
// them. What it keeps of a person who was forgotten is gone when Purge returns,
// or, where the part is not there, before it is used again.
type FingerCache interface{ Purge(context.Context) }

// FingerEnroller makes a template of several captures.
type FingerEnroller interface {
	Enrol(ctx context.Context, captures int, progress func(sensor.EnrolStep)) ([]byte, error)
}

// FingerComparer is a FingerEnroller that can tell whether a finger is enrolled
// already.
type FingerComparer interface {
	// Same tells which of the templates is of the same finger, -1 for none. Where it
	// was interrupted it goes on with the same check; sensor.ErrStale: not before the
	// finger was scanned once more.
	Same(ctx context.Context, template []byte, others [][]byte, check *sensor.Check) (int, error)
}

// Lock is a door. Open opens it and returns; it shuts when d or the context
// ends.
type Lock interface {
	Open(ctx context.Context, d time.Duration) error
}

// Vault is where people and templates rest.
type Vault interface {
	View(func(*store.Tx) error) error
	Update(func(*store.Tx) error) error
	Forget(user store.UserID, at time.Time) (store.Receipt, error)
	Renew(ctx context.Context, user store.UserID, at time.Time) (int, error)
	Finish() error // what an erasure was kept from
}

// Phones are the paired phones of people.
type Phones interface {
	// Ask shows a request on the person's phones and waits for an answer until
	// the context ends. Enrolled is false where nobody can answer.
	Ask(ctx context.Context, user store.UserID, audience string) (Possession, error)
}

// Hardware is all that the authenticator touches. A part that is nil is a
// fault for those who ask for it.
type Hardware struct {
	Camera Camera
	Faces  FaceModel
	Finger FingerReader
	Match  FingerMatcher
	Enrol  FingerEnroller
	Prints store.Kind       // of Match's templates; 0: the module's own
	Lock   Lock             // nil: there is no door
	Phones Phones           // nil: there are none
	Now    func() time.Time // nil: time.Now
	Uptime func() Uptime    // nil: the kernel's
	// ClockTrusted tells whether Now follows a time server; nil asks the kernel.
	ClockTrusted func() bool
}

// Options of a device; the zero value is sound.
type Options struct {
	Timeout  time.Duration // of an attempt that names none; 0 = 15 s
	OpenFor  time.Duration // how long the door stays open; 0 = 5 s
	Captures int           // of a finger, when enrolling; 0 = as many as the module merges
	// Recorded: the camera plays recordings, as on the bench, so that frames
	// come again in later attempts. Otherwise that is an attack.
	Recorded bool
	// Mirrored: the camera's pictures are what a mirror shows, so that left is
	// right.
	Mirrored bool
	Log      *slog.Logger
}

const (
	defaultTimeout = 15 * time.Second
	defaultOpen    = 5 * time.Second
	enrolTimeout   = 90 * time.Second
	purgeTimeout   = 5 * time.Second // a module's library takes seconds to erase

	// A finger's duplicates are looked for after its captures, one by one: a module is
	// sent each template twice, which takes 3.6 s at 9600 baud and 0.6 s at 57600, and
	// there may be a thousand.
	duplicateLeast = 30 * time.Second
	duplicateEach  = 4 * time.Second
	duplicateMost  = 80 * time.Minute
)

// Errors. What is none of these, no *RetryError and no Decision is a fault; ErrTooSlow,
// ErrReach and ErrPart are faults as well.
var (
	// ErrBusy: another attempt or an enrolment is under way.
	ErrBusy = errors.New("the device is busy with another attempt")
	// ErrUnknown: nobody has that id.
	ErrUnknown = errors.New("nobody has that id")
	// ErrDuplicate: this face or finger belongs to somebody who is enrolled.
	ErrDuplicate = errors.New("somebody with this face or finger is enrolled already")
	// ErrMixed: the frames of an enrolment show more than one person.
	ErrMixed = errors.New("the pictures are not of one person")
	// ErrTooSlow: frames take so long that nobody can be followed from one to the next.
	ErrTooSlow = errors.New("the camera's frames take too long to follow anybody by")
	// ErrReach: more people are enrolled than a face can be searched among at the
	// policy's rate.
	ErrReach = errors.New("too many people to search a face among")
	// ErrPart: a part of the device is not there.
	ErrPart = errors.New("not there")
	// ErrConsent: nothing is captured of somebody who did not agree.
	ErrConsent = errors.New("no consent")
	// ErrRequest: a request that makes no sense.
	ErrRequest = errors.New("bad request")
)

// RetryError is a no that the person can mend; nothing was counted.
type RetryError struct{ Hints []string }

func (e *RetryError) Error() string { return "device: " + strings.Join(e.Hints, ", ") }

// Request asks for an attempt.
type Request struct {
	Who      store.UserID // claimed identity; empty for Identify
	Nonce    string       // the asker's, comes back in the grant
	Audience string       // who the grant is for
	// Factors to measure besides those that the policy wants.
	Factors []Factor
	Finger  string        // compare only fingers with this label; empty = all
	Timeout time.Duration // 0 = the device's
	// Phone is the id of the person's paired phone whose key signed this
	// request; whoever sets it has checked that. Its owner may be anywhere: the
	// attempt keeps nobody from the device who is there (see far), unless Here.
	Phone string
	// Here wants somebody measured before the device, also where a phone alone
	// suffices: what a yes begins is for whoever stands there.
	Here bool
	// Patient waits for the device where others would be told ErrBusy, and
	// gives way to them until something was compared; it then ends as a
	// *RetryError. A lock screen that waits for a finger all night is patient.
	Patient bool
	Scope   Scope       // what a yes is good for; the zero value is Vouch: no door opens
	Notify  func(Event) // that it has begun, hints and progress of this attempt alone; may be nil, must not block
}

// Result is what one factor yielded.
type Result struct {
	Measure
	Factor Factor
	Passed bool
	Model  string // profile or module family
	Took   time.Duration
}

// Decision is how an attempt ended. Only Granted true is a yes.
type Decision struct {
	Granted     bool
	User        store.UserID // claimed; of a 1:N search only when granted
	Reasons     []Reason
	Results     []Result
	FMR         float64
	Grant       string // signed JWT, only when granted
	Scope       Scope  // of the grant: what was asked for, or Vouch where the yes is not worth that
	Failures    int    // consecutive ones of the person, with this one
	LockedUntil time.Time
	Disabled    bool
	Audit       uint64 // number of the audit entry
	Took        time.Duration
}

// Device is one authenticator. Its methods may be called concurrently.
type Device struct {
	hw     Hardware
	vault  Vault
	policy Policy
	opts   Options
	signer *signer
	grants grants
	events events

	witness *witness

	turn    chan struct{}          // holds a token while nobody authenticates or enrols
	give    atomic.Pointer[holder] // of the turn, where it gives way
	next    atomic.Int32           // those who were given way to, and wait for the turn
	owed    atomic.Int32           // those who lent it and wait for it to come back
	hashing chan struct{}          // holds one while a PIN is hashed
	cost    hashCost               // of a PIN
	eyes    sync.Mutex             // the face model is used by one goroutine at a time
	present atomic.Int32           // who is before the device (Watch)
	letIn   atomic.Uint64          // how many grants were given
	watched watched                // what the attempt under way sees of who is there
	visit   visitor                // whose face what was begun before the device is bound to

	frames vision.Memory // of earlier attempts, against replays; whoever has the turn uses it
	alarm  atomic.Int64  // when an attack was last seen, nanoseconds since 1970; 0 = never
	pace   atomic.Int64  // how long a frame took when somebody was last looked at, nanoseconds; 0 = nobody was

	doors sync.WaitGroup // locks that are being told
	ctx   context.Context
	stop  context.CancelFunc
}

// New makes a device. Close ends what it started.
func New(hw Hardware, v Vault, p Policy, o Options) (*Device, error) {
	if hw.Now == nil {
		hw.Now = time.Now
	}
	if hw.Prints == 0 {
		hw.Prints = store.KindModule
	}
	if hw.Uptime == nil {
		hw.Uptime = uptime
	}
	if hw.ClockTrusted == nil {
		hw.ClockTrusted = ClockTrusted
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.OpenFor <= 0 {
		o.OpenFor = defaultOpen
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s, err := loadSigner(v)
	if err != nil {
		return nil, err
	}
	w, err := loadWitness(v)
	if err != nil {
		return nil, err
	}
	d := &Device{hw: hw, witness: w, vault: v, policy: p, opts: o, signer: s, turn: make(chan struct{}, 1), hashing: make(chan struct{}, 1), cost: pinCost}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.turn <- struct{}{}
	return d, nil
}

// Close shuts the door and waits for what is under way to end.
func (d *Device) Close() error {
	d.stop()
	<-d.turn
	d.hashing <- struct{}{}
	d.doors.Wait()
	return nil
}

// Subscribe delivers events until the context ends.
func (d *Device) Subscribe(ctx context.Context) <-chan Event { return d.events.subscribe(ctx) }

// Keys are the public keys that grants are checked with.
func (d *Device) Keys() jose.JSONWebKeySet { return d.signer.keys() }

// Busy tells whether an attempt or an enrolment is under way.
func (d *Device) Busy() bool { return len(d.turn) == 0 }

// Policy that decides.
func (d *Device) Policy() Policy { return d.policy }

// HintYielded is the hint of a patient attempt that gave way.
const HintYielded = "give-way"

// errYield ends a patient attempt for another's sake.
var errYield = errors.New("device: gave way to another attempt")

// manner is how an attempt shares the device with others until it has compared
// something.
type manner uint8

const (
	// urgent: somebody stands there. It takes the device from whoever gives way,
	// and else is told ErrBusy.
	urgent manner = iota
	// patient waits for the device as long as it takes, and gives way to the
	// others; of two patient ones to the later.
	patient
	// enrolling is urgent, but leaves alone an enrolment that is checking: neither would
	// know of the other.
	enrolling
	// checking is an enrolment's whose captures are done and compared with everybody's,
	// which takes minutes among many. It lends the device to urgent ones, and goes on
	// when it gets it back.
	checking
	// far is a phone's, whose owner may be anywhere. It takes the device from a
	// patient one, as whoever asks by phone does want something now, and gives way
	// to everybody who is there: at once to urgent ones, and to patient ones when
	// it has had the time of an attempt. It never waits.
	far
)

// takes tells whether one may have the device of another that gives way.
func (m manner) takes(from manner) bool {
	switch from {
	case checking:
		return m == urgent
	case far:
		return m != far
	}
	return true
}

func (r Request) manner() manner {
	switch {
	case r.Phone != "" && !r.Here:
		return far
	case r.Patient:
		return patient
	}
	return urgent
}

// holder is an attempt that has the device and gives way.
type holder struct {
	manner manner
	yield  context.CancelCauseFunc
	until  time.Time // from when on patient ones may have it
}

// begin takes the device for one attempt, which ends with the device.
func (d *Device) begin(ctx context.Context, timeout time.Duration, m manner) (context.Context, func(), error) {
	ctx, t, err := d.take(ctx, timeout, m)
	if err != nil {
		return nil, nil, err
	}
	return ctx, t.end, nil
}

// tenure is an attempt's time with the device.
type tenure struct {
	d    *Device
	stop func()
	away bool // it gave the device to another and did not get it back
}

func (d *Device) take(ctx context.Context, timeout time.Duration, m manner) (context.Context, *tenure, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	fail := func(err error) (context.Context, *tenure, error) {
		cancel()
		return nil, nil, err
	}
	if err := d.await(ctx, m); err != nil {
		return fail(err)
	}
	if d.ctx.Err() != nil {
		d.turn <- struct{}{}
		return fail(fmt.Errorf("device: closed: %w", ErrPart))
	}
	ctx, yield := context.WithCancelCause(ctx)
	if m == patient || m == far {
		d.give.Store(&holder{m, yield, time.Now().Add(d.opts.Timeout)})
	}
	unhook := context.AfterFunc(d.ctx, cancel)
	return ctx, &tenure{d: d, stop: func() {
		unhook()
		yield(nil)
		cancel()
	}}, nil
}

// end gives the device back.
func (t *tenure) end() {
	if t.away {
		t.stop()
		return
	}
	t.d.keep()
	t.stop()
	t.d.send(Event{Kind: "ended"})
	t.d.turn <- struct{}{}
}

// lending runs what may be interrupted: where somebody else wants the device its
// context is canceled, and it is run again when they are done.
func (t *tenure) lending(ctx context.Context, run func(context.Context) error) error {
	for {
		c, yield := context.WithCancelCause(ctx)
		t.d.give.Store(&holder{manner: checking, yield: yield})
		err := run(c)
		t.d.keep()
		lent := errors.Is(context.Cause(c), errYield)
		yield(nil)
		if !lent || !errors.Is(err, context.Canceled) {
			return err // whoever asked gets it soon
		}
		if err := t.lend(ctx); err != nil {
			return err
		}
	}
}

// lend gives the device away and waits until it gets it back: behind who was given way
// to, and before those who wait with patience.
func (t *tenure) lend(ctx context.Context) error {
	d := t.d
	d.owed.Add(1)
	defer d.owed.Add(-1)
	t.away = true
	d.turn <- struct{}{}
	for {
		if _, err := d.queue(ctx, nil); err != nil {
			return err
		}
		if d.next.Load() == 0 {
			t.away = false
			return nil
		}
		d.turn <- struct{}{}
	}
}

// unclaimed tells whether nobody is to have the turn before those who wait for it.
func (d *Device) unclaimed() bool { return d.next.Load() == 0 && d.owed.Load() == 0 }

// await takes the turn. Where it is somebody's it asks them to give way, and waits
// where the manner may.
func (d *Device) await(ctx context.Context, m manner) error {
	for {
		if m == urgent || d.unclaimed() {
			select {
			case <-d.turn:
				return nil
			default:
			}
		}
		var soon <-chan time.Time
		asked := false
		if h := d.give.Load(); h != nil && m.takes(h.manner) {
			left := time.Until(h.until)
			if m == patient && h.manner == far && left > 0 {
				soon = time.After(left)
			} else if asked = d.give.CompareAndSwap(h, nil); asked {
				d.next.Add(1) // before anybody waits for what is given
				h.yield(errYield)
			}
		}
		if !asked && m != patient {
			return ErrBusy
		}
		got, err := d.queue(ctx, soon)
		if asked {
			d.next.Add(-1)
		}
		if err != nil || got && (asked || d.unclaimed()) {
			return err
		}
		if got { // it was given for somebody else's sake, who is the next in the queue
			d.turn <- struct{}{}
		}
	}
}

// queue waits for the turn until the context ends, or until then.
func (d *Device) queue(ctx context.Context, until <-chan time.Time) (got bool, err error) {
	select {
	case <-d.turn:
		return true, nil
	case <-until:
		return false, nil
	case <-d.ctx.Done():
		return false, fmt.Errorf("device: closed: %w", ErrPart)
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// keep makes the attempt under way one that gives way to nobody: from the
// first comparison on there is something to decide.
func (d *Device) keep() { d.give.Store(nil) }

// tell sends an event to everybody and to the asker.
func (d *Device) tell(asker func(Event), e Event) {
	d.send(e)
	if asker != nil {
		asker(e)
	}
}

// Announce tells everybody who listens.
func (d *Device) Announce(e Event) { d.send(e) }

func (d *Device) send(e Event) { d.events.send(d.hw.Now(), e) }

// Authenticate decides whether the person is who they claim to be (1:1).
func (d *Device) Authenticate(ctx context.Context, r Request) (Decision, error) {
	if r.Who == "" {
		return Decision{}, fmt.Errorf("device: nobody was named: %w", ErrRequest)
	}
	return d.attempt(ctx, r, "authenticate")
}

// Identify finds out who it is (1:N). The rates of the policy hold for the
// whole search, so it asks more of the evidence the more people there are.
func (d *Device) Identify(ctx context.Context, r Request) (Decision, error) {
	if r.Who != "" {
		return Decision{}, fmt.Errorf("device: identification with a claimed identity: %w", ErrRequest)
	}
	return d.attempt(ctx, r, "identify")
}

func (d *Device) attempt(ctx context.Context, r Request, kind string) (Decision, error) {
	if r.Timeout <= 0 {
		r.Timeout = d.opts.Timeout
	}
	start := d.hw.Now()
	if (r.Phone != "" || slices.Contains(r.Factors, Phone)) && !d.policy.Phone.known() {
		return d.noPhones(kind, r)
	}
	asker := ctx
	ctx, end, err := d.begin(asker, r.Timeout, r.manner())
	if err != nil {
		return Decision{}, err
	}
	defer end()

	// The failure is counted before anything is captured: whoever pulls the
	// plug now has failed.
	before, dec, err := d.count(r.Who, kind)
	if err != nil {
		return Decision{}, err
	}
	if dec != nil { // locked out
		dec.Took = d.hw.Now().Sub(start)
		d.decided(*dec)
		return *dec, nil
	}

	if r.Notify != nil {
		r.Notify(Event{Kind: "begun"})
	}
	ev, err := d.capture(ctx, r)
	defer ev.wipe()
	if err != nil {
		// A fault stays counted, except that a person is not punished for a
		// cable: nothing was compared, so nothing was learnt.
		return Decision{}, errors.Join(err, d.fault(asker, kind, r, before, ev, err, start))
	}
	if !ev.compared() && errors.Is(context.Cause(ctx), errYield) {
		if err := d.restore(r.Who, before); err != nil {
			return Decision{}, err
		}
		return Decision{}, &RetryError{Hints: []string{HintYielded}}
	}
	verdict := d.policy.Decide(ev.evidence())
	if !verdict.Granted && ev.hintsOnly(verdict) {
		if err := d.retry(kind, r, before, ev); err != nil {
			return Decision{}, err
		}
		return Decision{}, &RetryError{Hints: ev.hints}
	}
	if !verdict.Granted && ev.elsewhere(verdict.Reasons) {
		return d.elsewhere(kind, r, before, verdict, ev, start)
	}
	return d.conclude(kind, r, before, verdict, ev, start)
}

// elsewhere refuses those who are enrolled on another kind of module, and takes back what
// was counted: when a module was replaced, everybody is one of them.
func (d *Device) elsewhere(kind string, r Request, before lockouts, verdict Verdict, ev *captured, start time.Time) (Decision, error) {
	dec := Decision{User: r.Who, Reasons: verdict.Reasons, FMR: verdict.FMR, Results: ev.results(verdict), Failures: before.person.Failures}
	err := d.vault.Update(func(tx *store.Tx) (err error) {
		if err := uncount(tx, r.Who, before); err != nil {
			return err
		}
		dec.Audit, err = d.refuse(tx, cmp.Or(r.Who, ev.user), refusal{Kind: kind, Outcome: outcomeElsewhere, Reasons: r.reasons(dec.Reasons, cmp.Or(r.Phone, ev.phone.By))})
		return err
	})
	if err != nil {
		return Decision{}, err
	}
	dec.Took = d.hw.Now().Sub(start)
	d.decided(dec)
	return dec, nil
}

// noPhones refuses an attempt with a phone where the policy gives phones no weight.
// Nobody is measured, so nothing is counted: whoever has a phone could lock its
// person out.
func (d *Device) noPhones(kind string, r Request) (Decision, error) {
	dec := Decision{User: r.Who, FMR: 1, Reasons: []Reason{PhoneNotAllowed}}
	err := d.vault.Update(func(tx *store.Tx) (err error) {
		if r.Who != "" {
			if _, err := tx.Person(r.Who); err != nil {
				return err
			}
		}
		dec.Audit, err = d.refuse(tx, r.Who, refusal{Kind: kind, Outcome: outcomeRefused, Reasons: r.reasons(dec.Reasons, r.Phone)})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	if err != nil {
		return Decision{}, err
	}
	d.decided(dec)
	return dec, nil
}

// reasons are those of the audit entry: what was asked for stands beside them,
// since who was vouched for was not let in, and by which phone, as where it was
// paired.
func (r Request) reasons(of []Reason, phone string) []string {
	all := append(words(of), "for:"+r.Scope.String())
	if phone != "" {
		all = append(all, "phone:"+phone)
	}
	return all
}

// conclude records a verdict and, where it is a yes, signs the grant and tells
// the lock.
func (d *Device) conclude(kind string, r Request, before lockouts, verdict Verdict, ev *captured, start time.Time) (Decision, error) {
	decision := Decision{
		Granted: verdict.Granted, User: r.Who, Reasons: verdict.Reasons, FMR: verdict.FMR, Results: ev.results(verdict),
	}
	if r.Who == "" {
		decision.User = ev.user
		if !verdict.Granted {
			decision.User = ""
		}
	}
	var grant string
	if r.Scope == Keyring && !d.policy.unseals(verdict) {
		r.Scope = Vouch
	}
	if verdict.Granted {
		var err error
		if grant, err = d.signer.sign(decision.User, verdict.Passed, r, d.hw.Now()); err != nil {
			return Decision{}, fmt.Errorf("device: grant: %w", err)
		}
	}
	if err := d.record(kind, r, before, &decision, ev); err != nil {
		return Decision{}, err // no record, no unlock
	}
	if decision.Granted {
		decision.Grant, decision.Scope = grant, r.Scope
		d.letIn.Add(1)
		if r.Scope == Enter {
			d.open(decision.User)
		}
		if d.policy.mayAdapt(verdict, ev.evidence()) {
			if err := d.adapt(decision.User, ev.look, ev.agreement); err != nil {
				d.opts.Log.Warn("the template that follows the person stays as it was", "err", err)
			}
		}
	}
	if ev.unasked(verdict) && !d.suspect() {
		// No attack, but no second look unasked. An alarm under way is not renewed: whoever
		// is in doubt has one such look in its time either way.
		d.alarm.Store(d.hw.Now().UnixNano())
	}
	decision.Took = d.hw.Now().Sub(start)
	d.decided(decision)
	return decision, nil
}

// lockouts are the counters of the person and of the device before an attempt.
type lockouts struct{ person, device store.Lockout }

// count refuses those who are locked out, with a Decision, and counts a failure
// for the others.
func (d *Device) count(user store.UserID, kind string) (before lockouts, refused *Decision, err error) {
	now, up := d.hw.Now(), d.hw.Uptime()
	err = d.vault.Update(func(tx *store.Tx) error {
		var err error
		if before, refused, err = d.bar(tx, user); err != nil {
			return err
		}
		if refused != nil {
			refused.Audit, err = d.refuseBarred(tx, user, kind, before, refused)
			return err
		}
		if err := d.endRefusals(tx, user); err != nil {
			return err
		}
		if user != "" {
			if err := tx.SetLockout(user, failed(before.person, now, up, freeFailures, disabledAt)); err != nil {
				return err
			}
		}
		return tx.SetLockout("", failed(before.device, now, up, deviceFreeFailures, 0))
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return before, refused, err
}

// Barred refuses, and records as an attempt would, what somebody who is locked out
// or disabled asks for before the device turns to whoever stands there; the
// Decision is nil for others, of whom nothing is counted.
func (d *Device) Barred(user store.UserID) (refused *Decision, err error) {
	err = d.vault.View(func(tx *store.Tx) (err error) {
		_, refused, err = d.bar(tx, user)
		return err
	})
	if err == nil && refused != nil {
		err = d.vault.Update(func(tx *store.Tx) error {
			before, again, err := d.bar(tx, user)
			if refused = again; err != nil || again == nil {
				return err // it is over just now
			}
			refused.Audit, err = d.refuseBarred(tx, user, "authenticate", before, refused)
			return err
		})
	}
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	if err != nil || refused == nil {
		return nil, err
	}
	d.decided(*refused)
	return refused, nil
}

// bar returns the counters, and a Decision where they let nobody try; nil where
// they do.
func (d *Device) bar(tx *store.Tx, user store.UserID) (before lockouts, refused *Decision, err error) {
	now, up := d.hw.Now(), d.hw.Uptime()
	if before.device, err = tx.Lockout(""); err != nil {
		return before, nil, err
	}
	before.device = forgiven(before.device, up)
	if user != "" {
		if _, err := tx.Person(user); err != nil {
			return before, nil, err
		}
		if before.person, err = tx.Lockout(user); err != nil {
			return before, nil, err
		}
	}
	left := max(wait(before.person, up), wait(before.device, up))
	if left == 0 && !before.person.Disabled {
		return before, nil, nil
	}
	refused = lockedOut(user, before)
	if left > 0 {
		refused.LockedUntil = now.Add(left)
	}
	return before, refused, nil
}

// refuseBarred records a refusal by a lock-out, whose last failure tells it from
// another.
func (d *Device) refuseBarred(tx *store.Tx, user store.UserID, kind string, before lockouts, refused *Decision) (uint64, error) {
	of := before.device.Last
	if wait(before.person, d.hw.Uptime()) > 0 || before.person.Disabled {
		of = before.person.Last
	}
	return d.refuse(tx, user, refusal{Kind: kind, Outcome: outcomeRefused, Reasons: words(refused.Reasons), Of: of})
}

func lockedOut(user store.UserID, l lockouts) *Decision {
	dec := &Decision{User: user, FMR: 1, Reasons: []Reason{LockedOut}, Failures: l.person.Failures, Disabled: l.person.Disabled}
	if dec.Disabled {
		dec.Reasons = append(dec.Reasons, Disabled)
	}
	return dec
}

// restore takes back a count where nothing was compared that failed.
func (d *Device) restore(user store.UserID, before lockouts) error {
	return d.vault.Update(func(tx *store.Tx) error { return uncount(tx, user, before) })
}

// retry takes back a count like restore. That somebody's phone rang, and nobody
// answered, is recorded all the same: who goes on asking leaves a trace.
func (d *Device) retry(kind string, r Request, before lockouts, ev *captured) error {
	return d.vault.Update(func(tx *store.Tx) error {
		if err := uncount(tx, r.Who, before); err != nil {
			return err
		}
		if !ev.unanswered() {
			return nil
		}
		_, err := d.refuse(tx, cmp.Or(r.Who, ev.user), refusal{Kind: kind, Outcome: outcomeUnanswered, Reasons: []string{string(PhoneMissing), "for:" + r.Scope.String()}})
		return err
	})
}

// uncount takes back one failure. What others counted meanwhile stays: a PIN is
// checked while the sensors wait, and nobody may get more tries at it by
// letting an attempt run out beside it.
func uncount(tx *store.Tx, user store.UserID, before lockouts) error {
	if user != "" {
		if err := takeBack(tx, user, before.person); err != nil {
			return err
		}
	}
	return takeBack(tx, "", before.device)
}

func takeBack(tx *store.Tx, user store.UserID, before store.Lockout) error {
	l, err := tx.Lockout(user)
	switch {
	case err != nil:
		return err
	case l.Failures == before.Failures+1:
		l = before
	case l.Failures > 0:
		l.Failures--
	}
	return tx.SetLockout(user, l)
}

// succeeded forgets the failures of somebody who was let in. On the device it
// takes back this attempt alone: others' failures are not theirs to clear.
func succeeded(tx *store.Tx, user store.UserID, before lockouts) error {
	if err := tx.SetLockout(user, store.Lockout{}); err != nil {
		return err
	}
	return takeBack(tx, "", before.device)
}

// byPhoneAlone tells whether nobody was measured for the yes: whoever holds the
// phone may be anywhere.
func (dec *Decision) byPhoneAlone() bool {
	passed := false
	for _, r := range dec.Results {
		if r.Passed && r.Factor != Phone {
			return false
		}
		passed = passed || r.Passed
	}
	return passed
}

// Unlock ends the lock-out of a person, and the delay of the device with it,
// because an administrator says so. The audit chain records it.
func (d *Device) Unlock(user store.UserID) error {
	err := d.vault.Update(func(tx *store.Tx) error {
		if _, err := tx.Person(user); err != nil {
			return err
		}
		err := errors.Join(tx.SetLockout(user, store.Lockout{}), tx.SetLockout("", store.Lockout{}),
			d.endRefusals(tx, user), d.endRefusals(tx, ""))
		if err != nil {
			return err
		}
		_, err = tx.Append(store.Entry{At: d.hw.Now(), Kind: "unlock", User: user, Outcome: "done"})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return err
}

// fault records an attempt that a part of the device, or the asker's hanging
// up, ended. It stays counted once anything was compared; of the person not where that
// matched, and a device that can follow nobody saw no face: who is right about the finger
// time and again learns it once, and whoever is wrong is counted. Nobody makes an attack
// unseen by ending it: what was one so far is refused as one, and so is who is in doubt
// and could not be asked.
func (d *Device) fault(asker context.Context, kind string, r Request, before lockouts, ev *captured, cause error, start time.Time) error {
	outcome := "fault"
	if errors.Is(asker.Err(), context.Canceled) && d.ctx.Err() == nil {
		outcome = "abandoned" // the asker hung up
	} else {
		d.opts.Log.Warn("attempt failed", "err", cause)
		d.send(Event{Kind: "fault", User: r.Who})
	}
	if verdict := d.policy.Decide(ev.evidence()); ev.attack(verdict) || ev.unasked(verdict) {
		_, err := d.conclude(kind, r, before, verdict, ev, start)
		return err
	}
	return d.vault.Update(func(tx *store.Tx) error {
		if !ev.compared() {
			if err := uncount(tx, r.Who, before); err != nil {
				return err
			}
			_, err := d.refuse(tx, r.Who, refusal{Kind: kind, Outcome: outcome})
			return err
		}
		if r.Who != "" && errors.Is(cause, ErrTooSlow) && !ev.failed(d.policy) {
			if err := takeBack(tx, r.Who, before.person); err != nil {
				return err
			}
		}
		_, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: kind, User: r.Who, Outcome: outcome, Scores: ev.scores()})
		return err
	})
}

// record makes the audit entry and, for a yes, clears the counters, in one
// commit.
func (d *Device) record(kind string, r Request, before lockouts, dec *Decision, ev *captured) error {
	claimed := r.Who
	err := d.vault.Update(func(tx *store.Tx) error {
		outcome, found := "refused", dec.User
		if dec.Granted && claimed == "" {
			// Whoever a search found may be locked out by claims that failed.
			l, err := tx.Lockout(found)
			if err != nil {
				return err
			}
			if left := d.Wait(l); left > 0 || l.Disabled {
				*dec = *lockedOut("", lockouts{person: l})
				dec.LockedUntil = d.hw.Now().Add(left)
			}
		}
		if dec.Granted {
			outcome = "granted"
			settle := succeeded
			if r.Scope != Enter && dec.byPhoneAlone() {
				// A phone that may open no door clears no failures of who tries to.
				settle = uncount
			}
			if err := settle(tx, dec.User, before); err != nil {
				return err
			}
			p, err := tx.Person(dec.User)
			if err != nil {
				return err
			}
			p.LastUsed = d.hw.Now().UTC()
			if err := tx.PutPerson(p); err != nil {
				return err
			}
		} else if claimed != "" {
			if ev.blameless(dec.Reasons) {
				if err := takeBack(tx, claimed, before.person); err != nil {
					return err
				}
			}
			l, err := tx.Lockout(claimed)
			if err != nil {
				return err
			}
			dec.Failures, dec.LockedUntil, dec.Disabled = l.Failures, l.Until, l.Disabled
		}
		// A search that was refused is the asker's to learn nothing of; but whose
		// face or finger passed, beside what did not, finds it in their history.
		if found == "" && slices.ContainsFunc(dec.Results, func(r Result) bool { return r.Passed }) {
			found = ev.user
		}
		reasons := r.reasons(dec.Reasons, cmp.Or(r.Phone, ev.phone.By))
		if ev.pin.Compared && kind != "pin" {
			reasons = append(reasons, "by:"+string(PIN)) // no score tells it
		}
		e, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: kind, User: found, Outcome: outcome, Reasons: reasons, Scores: ev.scores()})
		dec.Audit = e.Seq
		return err
	})
	if err != nil {
		return fmt.Errorf("device: the decision could not be recorded, so it does not hold: %w", err)
	}
	return nil
}

func words(reasons []Reason) []string {
	var w []string
	for _, r := range reasons {
		w = append(w, string(r))
	}
	return w
}

// open tells the lock, under a context of the device's own: the door is not
// shut by an asker who hangs up.
func (d *Device) open(user store.UserID) {
	if d.hw.Lock == nil {
		return
	}
	d.doors.Go(func() {
		if err := d.hw.Lock.Open(d.ctx, d.opts.OpenFor); err != nil {
			d.opts.Log.Error("the door did not open", "err", err)
			d.send(Event{Kind: "door", Outcome: "fault"})
			return
		}
		d.send(Event{Kind: "door", Outcome: "open", User: user})
	})
}

func (d *Device) decided(dec Decision) {
	outcome := "refused"
	if dec.Granted {
		outcome = "granted"
	}
	if slices.ContainsFunc(dec.Reasons, Reason.attack) {
		d.attacked(dec.User, dec.Reasons, dec.Audit)
	}
	d.send(Event{Kind: "decision", User: dec.User, Outcome: outcome, Reasons: dec.Reasons})
}

// attacked tells everybody of an attack and remembers when it was.
func (d *Device) attacked(user store.UserID, reasons []Reason, audit uint64) {
	d.alarm.Store(d.hw.Now().UnixNano())
	d.opts.Log.Warn("attack", "reasons", reasons, "audit", audit)
	step := Face
	if slices.Contains(reasons, FingerModule) {
		step = Finger
	}
	d.send(Event{Kind: "attack", Step: step, User: user, Outcome: "refused", Reasons: reasons})
}

// Forget erases a person. An error with a Receipt that has an audit number is
// logged: the person is forgotten, and Sweep does what is left.
func (d *Device) Forget(ctx context.Context, user store.UserID) (store.Receipt, error) {
	_, end, err := d.begin(ctx, d.opts.Timeout, urgent)
	if err != nil {
		return store.Receipt{}, err
	}
	defer end()
	if err := d.flushRefusals(user, false); err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Receipt{}, err
	}
	r, err := d.vault.Forget(user, d.hw.Now())
	if errors.Is(err, store.ErrNotFound) {
		return r, fmt.Errorf("device: %w", ErrUnknown)
	}
	if r.Audit != 0 {
		d.purge()
		d.send(Event{Kind: "forgotten", User: user})
		if err != nil {
			d.opts.Log.Error("an erasure is not finished; it is tried again at the next sweep and the next start", "in", sweepEvery, "err", err)
		}
	}
	return r, err
}

// purge empties the finger reader's cache. Whoever calls it has the turn, or an
// attempt under way would fill it again.
func (d *Device) purge() {
	if c, ok := d.hw.Match.(FingerCache); ok {
		ctx, cancel := context.WithTimeout(d.ctx, purgeTimeout)
		defer cancel()
		c.Purge(ctx)
	}
}

// Renew revokes the person's face templates and keeps new ones in their place,
// of which it returns the number.
func (d *Device) Renew(ctx context.Context, user store.UserID) (int, error) {
	if user == "" {
		return 0, fmt.Errorf("device: nobody was named: %w", ErrRequest)
	}
	ctx, end, err := d.begin(ctx, d.opts.Timeout, urgent)
	if err != nil {
		return 0, err
	}
	defer end()
	n, err := d.vault.Renew(ctx, user, d.hw.Now())
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	return n, err
}
