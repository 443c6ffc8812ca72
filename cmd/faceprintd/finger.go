package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/gpio"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/host"
	"github.com/faceprint/faceprint/sensor/tty"
	"github.com/faceprint/faceprint/store"
)

// finger is a fingerprint module that may be missing at the moment. It has
// the methods of *sensor.Module that the device uses.
type finger struct {
	part    *part[*sensor.Module]
	trust   trust
	scanned atomic.Uint64 // the opening of the module that scanned last
	moved   chan struct{} // has one when the module came or went
	lamp    atomic.Uint32 // sensor.Lamp that its ring of colours shows; off where it has none or is not there

	idle     chan struct{} // has one when the module has time for what nobody waits for
	searches atomic.Bool   // somebody is looked for among all by the module
	filling  struct {
		sync.Mutex
		stop context.CancelFunc // ends what rest does now, nil for nothing
	}
}

// fingers is what reads, compares and enrols them.
type fingers interface {
	device.FingerReader
	device.FingerMatcher
	device.FingerEnroller
	device.FingerComparer
}

// matcherOf is who compares fingers, and the kind of their templates.
func matcherOf(c fingerConfig, f *finger) (fingers, store.Kind) {
	switch c.Match {
	case matchHost:
		return host.New(f), store.KindMinutia
	case matchBoth:
		return &fingerBoth{host.NewBoth(f), f}, store.KindModule
	}
	return f, store.KindModule
}

// fingerBoth lets nobody trust a module any more that said yes to pictures of other
// fingers.
type fingerBoth struct {
	*host.Both
	finger *finger
}

func (b *fingerBoth) Match(ctx context.Context, probe sensor.Print, template []byte) (float64, error) {
	score, err := b.Both.Match(ctx, probe, template)
	return score, b.accuse(err)
}

func (b *fingerBoth) Identify(ctx context.Context, probe sensor.Print, templates [][]byte) (int, float64, error) {
	at, score, err := b.Both.Identify(ctx, probe, templates)
	return at, score, b.accuse(err)
}

// accuse notes a misfit. What the module itself was caught at is noted already.
func (b *fingerBoth) accuse(err error) error {
	if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) && attack.Kind == sensor.AttackMisfit {
		return b.finger.noted(b.finger.scanned.Load(), err)
	}
	return err
}

// Who compares (finger.match).
const (
	matchModule = "module"
	matchHost   = "host"
	matchBoth   = "both"
)

// fingerPins are the module's wires besides the serial line. They are taken when
// the module is opened first and kept until the daemon stops.
type fingerPins struct {
	power *gpio.Supply
	wake  *gpio.Wake
}

func (p *fingerPins) open(c fingerConfig, log *slog.Logger) (err error) {
	if c.PowerPin != "" && p.power == nil {
		if p.power, err = gpio.OpenSupply(c.PowerPin, log); err != nil {
			return fmt.Errorf("finger.power_pin: %w", err)
		}
	}
	if c.WakePin != "" && p.wake == nil {
		if p.wake, err = gpio.OpenWake(c.WakePin); err != nil {
			return fmt.Errorf("finger.wake_pin: %w", err)
		}
	}
	return nil
}

func (p *fingerPins) close() error {
	var errs []error
	if p.power != nil {
		errs = append(errs, p.power.Close())
	}
	if p.wake != nil {
		errs = append(errs, p.wake.Close())
	}
	return errors.Join(errs...)
}

// openModule finds the module on its port, where it is the one that was set up.
func openModule(ctx context.Context, c fingerConfig, p *fingerPins, t trust) (*sensor.Module, error) {
	if err := t.refused(); err != nil {
		return nil, err
	}
	rates, err := t.rates()
	if err != nil {
		return nil, err
	}
	s := sensor.Config{Raise: c.Baud == 0, Rates: &rates, Coverage: c.Coverage, Doubts: t.doubts}
	m, err := openAny(ctx, &s, c, p, t)
	if err != nil {
		return nil, err
	}
	if err = t.admit(ctx, m); err == nil {
		err = errors.Join(t.keepNumber(passwordName, s.Password, "password-sealed"), t.keepNumber(addressName, s.Address, "address-sealed"), t.keepRates(rates))
	}
	if err == nil && c.BorrowDecoys && c.Match != matchBoth && !m.Guarded() {
		err = m.Borrow(ctx, t.others)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// openAny opens whatever module is on the port, which nobody has looked at; s says how
// then.
func openAny(ctx context.Context, s *sensor.Config, c fingerConfig, p *fingerPins, t trust) (*sensor.Module, error) {
	passwords, err := c.passwords(t)
	if err != nil {
		return nil, err
	}
	if err := p.open(c, t.log); err != nil {
		return nil, err
	}
	if err := tty.Register(c.Port); err != nil {
		return nil, err
	}
	addresses, err := c.addresses(t)
	if err != nil {
		return nil, err
	}
	s.Port, s.Baud = c.Port, c.Baud
	if p.power != nil {
		s.Power = p.power
	}
	if p.wake != nil {
		s.Wake = p.wake
	}
	return openAs(ctx, s, addresses, passwords)
}

// openAs opens a module by the first of the addresses at which there is one, with the
// first of the passwords that it takes; the two are in the configuration then.
func openAs(ctx context.Context, s *sensor.Config, addresses, passwords []uint32) (m *sensor.Module, err error) {
	for _, s.Address = range addresses {
		for _, s.Password = range passwords {
			if m, err = sensor.Open(ctx, *s); !errors.Is(err, sensor.ErrPassword) {
				break
			}
		}
		if !errors.Is(err, sensor.ErrNoModule) {
			break
		}
	}
	return m, err
}

// checkLine warns of characters that the module's port lost.
func (f *finger) checkLine(add addCheck) {
	m, _, err := f.part.get()
	if err != nil {
		return
	}
	s, port := m.Stats(), m.Info().Port
	if lost := (tty.Lost{Overruns: s.Overruns, Framing: s.Framing}).String(); lost != "" {
		add("finger line", "warn", port+": since the module was opened "+lost, tty.LostAdvice(port))
	}
	if err := m.Shared(); err != nil {
		add("finger line", "warn", err.Error(), "stop that program: it eats answers of the module now and then")
	}
}

// checkTrust tells how far the module's word is believed.
func (f *finger) checkTrust(add addCheck, match string) {
	m, _, err := f.part.get()
	if err != nil {
		return
	}
	const advice = `finger.match = "both" lets the host compare the picture as well, which takes seconds; people enrol their fingers anew`
	switch {
	case match == matchHost:
		add("finger trust", "ok", "the host compares; the module's word counts for nothing", "")
	case m.Info().Level < sensor.ClaimedLevel:
		add("finger trust", "fail", fmt.Sprintf("security level %d: for less than %d its maker claims no false accept rate, and nobody is let in by it", m.Info().Level, sensor.ClaimedLevel), "'faceprint sensor trust' sets the module up anew and raises it")
	case match == matchBoth:
		add("finger trust", "ok", "the module and the host must agree", "")
	case m.Guarded():
		add("finger trust", "ok", "the module compares, among decoys", "")
	case m.Borrows():
		add("finger trust", "warn", "the module compares, among other people's templates", advice)
	default:
		add("finger trust", "warn", "the module's word is believed: it takes no decoys", advice)
	}
}

// checkRate tells whether a finger can be found among all that are enrolled: each
// of them is a chance to be mistaken, and the table of the host's false match rates,
// or the claim of the module's maker, ends somewhere. It is a fault where fingers
// alone say who somebody is.
func checkRate(add addCheck, match, mode string, limit float64, enrolled int) {
	reach := host.Reach
	if match == matchModule {
		reach = func(n int) float64 { return float64(n) * sensor.ClaimedFMR }
	}
	most := int(limit/reach(1) + 1e-9)
	if reach(enrolled) > limit && enrolled > most {
		state := "warn"
		if mode == string(device.FingerOnly) || mode == string(device.Either) {
			state = "fail"
		}
		add("finger rate", state, fmt.Sprintf("%d fingers are enrolled, and finger_fmr = %g can be held among %d: nobody is found by the finger alone", enrolled, limit, most),
			"say who it is (faceprint verify NAME), add the face (policy.mode), or raise policy.finger_fmr")
		return
	}
	add("finger rate", "ok", fmt.Sprintf("finger_fmr = %g holds among %d fingers; it can among %d", limit, enrolled, most), "")
}

// checkRoom tells whether the module's library has room for all that it compares:
// those beyond are compared one by one, and only so many.
func checkRoom(add addCheck, room, enrolled int) {
	const advice = `remove who left (faceprint forget), say who it is (faceprint verify NAME), set finger.match = "host", or take a module with more room`
	what := fmt.Sprintf("%d of %d", enrolled, room)
	switch most := room + sensor.MaxBeyond; {
	case enrolled > most:
		add("finger library", "fail", what+": nobody is found by the finger alone", advice)
	case enrolled > room:
		add("finger library", "warn", fmt.Sprintf("%s: those beyond take a second each to search, and at most %d are", what, sensor.MaxBeyond), advice)
	case enrolled*10 >= room*9:
		add("finger library", "warn", what+" are in use", advice)
	default:
		add("finger library", "ok", what+" are in use", "")
	}
}

// room is how many templates are enrolled for the module to find among, as long as the
// audit chain does not grow and it is the same module: they are opened to be counted.
type room struct {
	mu     sync.Mutex
	module *sensor.Module
	audit  uint64
	counts counts
}

// counts are the templates of modules.
type counts struct {
	fit       int      // this module's
	spoilt    []string // of them the names of those that cannot be templates (sensor.CheckTemplate)
	elsewhere int      // another kind of module's
	people    int      // who have no other
}

const spoiltAdvice = "the record is damaged: forget that person and enrol them anew"

// templateName is a template's for logs and status: its ID is its person's alone.
func templateName(t *store.Template) string { return string(t.User) + "/" + t.ID }

// count counts them for a module, or for what compares with it.
func (r *room) count(v *store.Store, m *sensor.Module, of kind) (counts, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := v.View(func(tx *store.Tx) error {
		audit, _, err := tx.AuditHead()
		if err != nil || r.module == m && r.audit == audit {
			return err
		}
		ts, err := tx.Templates(store.KindModule)
		if err != nil {
			return err
		}
		r.module, r.audit, r.counts = m, audit, counts{}
		enrolled := make(map[store.UserID]bool)
		for i := range ts {
			t, family := &ts[i], of.Family()
			none := sensor.CheckTemplate(t.Data) != nil
			fits := t.Model == family && (none || of.Fits(t.Data))
			enrolled[t.User] = enrolled[t.User] || fits
			switch {
			case !fits:
				r.counts.elsewhere++
			case none:
				r.counts.spoilt = append(r.counts.spoilt, templateName(t))
				fallthrough
			default:
				r.counts.fit++
			}
			t.Wipe()
		}
		for _, here := range enrolled {
			if !here {
				r.counts.people++
			}
		}
		return nil
	})
	return r.counts, err
}

// checkRoom is checkRoom of the module that is there, where it is what compares, and tells
// who is enrolled on another kind of module.
func (b *backend) checkRoom(add addCheck) error {
	m, _, err := b.finger.part.get()
	if err != nil || b.config.Finger.Match == matchHost {
		return nil
	}
	matcher, _ := matcherOf(b.config.Finger, b.finger)
	n, err := b.room.count(b.vault, m, matcher)
	if err != nil {
		return err
	}
	if b.config.Finger.Match == matchModule {
		checkRoom(add, m.Room(), n.fit)
	}
	if n.elsewhere > 0 {
		add("finger enrolments", "warn", fmt.Sprintf("%d fingers were enrolled on another kind of module, which this one cannot compare; %d people have no other", n.elsewhere, n.people),
			"enrol them anew (faceprint enroll --person ID --factors finger); whoever has no other is refused as finger-elsewhere, which counts nothing")
	}
	if len(n.spoilt) > 0 {
		add("finger templates", "warn", "nobody is found by "+strings.Join(n.spoilt, ", ")+": no template of this module", spoiltAdvice)
	}
	return nil
}

// warnOfRoom adds to the module's status what is wrong about it.
func (b *backend) warnOfRoom(parts []client.Part) error {
	return b.checkRoom(func(name, state, detail, advice string) {
		at := slices.IndexFunc(parts, func(p client.Part) bool { return p.Name == b.finger.part.name })
		if state != "ok" && at >= 0 {
			p := &parts[at]
			p.Detail, p.Advice = p.Detail+"; "+strings.TrimPrefix(name, "finger ")+": "+detail, advice
		}
	})
}

// roomWarnings are what who enrolled a finger should know. The enrolment stands.
func (b *backend) roomWarnings() (warnings []string) {
	if err := b.checkRoom(warnInto(&warnings)); err != nil {
		warnings = append(warnings, "finger library: "+err.Error())
	}
	return warnings
}

// warnInto collects what is not well, in words.
func warnInto(warnings *[]string) addCheck {
	return func(name, state, detail, advice string) {
		if state != "ok" {
			*warnings = append(*warnings, name+": "+detail+"; "+advice)
		}
	}
}

// passwords are those that may open the module: the file's, where one is named,
// else the sealed one and the factory's, 0.
func (c fingerConfig) passwords(t trust) ([]uint32, error) {
	if c.PasswordFile == "" {
		p, _, err := t.number(passwordName)
		return slices.Compact([]uint32{p, 0}), err
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("finger.password_file: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32)
	if err != nil {
		return nil, fmt.Errorf("finger.password_file: %s holds no number from 0 to 0xFFFFFFFF", c.PasswordFile)
	}
	return []uint32{uint32(n)}, nil
}

// addresses are those by which the module may be called: the configured one, else the
// sealed one. The factory's is tried as long as no module is set up: one that answers
// by it where another was sealed is not the one that was.
func (c fingerConfig) addresses(t trust) ([]uint32, error) {
	if c.Address != 0 {
		return []uint32{c.Address}, nil
	}
	a, sealed, err := t.number(addressName)
	if err != nil || !sealed {
		return []uint32{sensor.DefaultAddress}, err
	}
	if k, err := t.load(); err != nil || k != nil {
		return []uint32{a}, err
	}
	return slices.Compact([]uint32{a, sensor.DefaultAddress}), nil
}

func moduleDetail(m *sensor.Module) string {
	i := m.Info()
	s := fmt.Sprintf("%s on %s at %d baud", i.Model(), i.Port, i.Baud)
	if i.Serial != "" {
		s += ", serial " + i.Serial
	}
	switch {
	case m.Guarded():
	case m.Borrows():
		s += ", with other people's templates for decoys"
	default:
		s += ", without decoys"
	}
	return s
}

// pictureDetail is moduleDetail where the host compares.
func pictureDetail(m *sensor.Module) string {
	i := m.Info()
	return fmt.Sprintf("%s on %s at %d baud, compared on the host", i.Model(), i.Port, i.Baud)
}

// bothDetail is moduleDetail where the host compares as well.
func bothDetail(m *sensor.Module) string { return moduleDetail(m) + ", compared on the host as well" }

// moduleNumbers are the link's, for status and metrics.
func moduleNumbers(m *sensor.Module) map[string]float64 {
	s := m.Stats()
	return map[string]float64{
		"commands": float64(s.Commands), "answers": float64(s.Answers), "bad_sums": float64(s.BadSums), "skipped_bytes": float64(s.Skipped),
		"timeouts": float64(s.Timeouts), "drains": float64(s.Drains), "stale": float64(s.Stale), "early": float64(s.Early),
		"repeats": float64(s.Repeats), "resyncs": float64(s.Resyncs), "reverifies": float64(s.Reverifies), "doubts": float64(s.Doubts),
		"overruns": float64(s.Overruns), "framing_errors": float64(s.Framing),
		"median_seconds": s.Median.Seconds(), "p99_seconds": s.P99.Seconds(), "baud": float64(m.Info().Baud),
	}
}

func moduleAdvice(err error) string {
	refused, address, stranger := (*refusedError)(nil), (*sensor.AddressError)(nil), (*sensor.StrangerError)(nil)
	switch {
	case errors.As(err, &stranger):
		return stranger.Cure
	case errors.As(err, &refused):
		return "look at the module and its cable; when it is the right one, 'faceprint sensor trust' sets it up anew"
	case errors.Is(err, gpio.ErrPin):
		return "name a free pin (GPIO23) and put the daemon's user into the group gpio; an empty key goes without the wire"
	case errors.As(err, &address):
		return fmt.Sprintf("set finger.address = 0x%08X", address.Address)
	case errors.Is(err, sensor.ErrPassword):
		return "put the module's password into a file and name it in finger.password_file, until the daemon has sealed it; a lost password cannot be reset"
	case errors.Is(err, tty.ErrPermission):
		return "give the daemon's user access to the port, as is said of it"
	case errors.Is(err, tty.ErrBusy):
		return "stop that program, or name another finger.port"
	case errors.Is(err, tty.ErrNoPort):
		return "plug it in, or name another finger.port; on a Pi enable the UART (raspi-config, Interface, Serial)"
	}
	return "check the supply (3.3 V; R307 and R305: 5 V), ground and that TX and RX cross; 'faceprint doctor' examines the line"
}

// checkModule asks the module whether it is still there. Being busy with a
// person is a sign of life.
func checkModule(ctx context.Context, m *sensor.Module) error {
	err := m.HandShake(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, sensor.ErrTimeout) {
		return nil
	}
	return err
}

// noted passes an attempt's error on; one that says that the module is gone makes the
// part look for it again. An attack is the attempt's to count; those after it find a
// module that is refused.
func (f *finger) noted(gen uint64, err error) error { return f.note(gen, err, true) }

// unasked is noted of what is done for nobody's attempt.
func (f *finger) unasked(gen uint64, err error) { _ = f.note(gen, err, false) }

func (f *finger) note(gen uint64, err error, asked bool) error {
	if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
		err = errors.Join(attack, f.trust.caught(attack, asked))
		f.part.lost(gen, &refusedError{attack})
		return err
	}
	if errors.Is(err, sensor.ErrGone) || errors.Is(err, sensor.ErrTimeout) || errors.Is(err, sensor.ErrProtocol) {
		f.part.lost(gen, err)
	}
	return err
}

func (f *finger) Scan(ctx context.Context) (sensor.Print, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return sensor.Print{}, err
	}
	p, err := m.Scan(ctx)
	f.scanned.Store(gen)
	return p, f.noted(gen, err)
}

func (f *finger) See(ctx context.Context) (sensor.Print, sensor.Picture, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return sensor.Print{}, sensor.Picture{}, err
	}
	p, pic, err := m.See(ctx)
	f.scanned.Store(gen)
	return p, pic, f.noted(gen, err)
}

func (f *finger) Lifted(ctx context.Context) error {
	m, gen, err := f.part.get()
	if err != nil {
		return err
	}
	return f.noted(gen, m.Lifted(ctx))
}

func (f *finger) Match(ctx context.Context, probe sensor.Print, template []byte) (float64, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return 0, err
	}
	if gen != f.scanned.Load() {
		return 0, fmt.Errorf("finger: the module was opened anew since the scan: %w", sensor.ErrStale)
	}
	score, err := m.Match(ctx, probe, template)
	f.rests()
	return score, f.noted(gen, err)
}

func (f *finger) FMR(score float64) float64 {
	m, _, err := f.part.get()
	if err != nil {
		return 1
	}
	return m.FMR(score)
}

func (f *finger) EnrolSeen(ctx context.Context, captures int, progress func(sensor.EnrolStep), see func(int, sensor.Picture) error) ([]byte, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return nil, err
	}
	t, err := m.EnrolSeen(ctx, captures, progress, see)
	f.enrolled(m, err)
	return t, f.noted(gen, err)
}

func (f *finger) Enrol(ctx context.Context, captures int, progress func(sensor.EnrolStep)) ([]byte, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return nil, err
	}
	t, err := m.Enrol(ctx, captures, progress)
	f.enrolled(m, err)
	return t, f.noted(gen, err)
}

// enrolled keeps what an enrolment showed of the module.
func (f *finger) enrolled(m *sensor.Module, err error) {
	if err != nil {
		return
	}
	if err := f.trust.keepSize(m.Info()); err != nil {
		f.trust.log.Warn("the size of the finger module's templates was not sealed", "err", err)
	}
}

func (f *finger) Identify(ctx context.Context, probe sensor.Print, templates [][]byte) (int, float64, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return -1, 0, err
	}
	if gen != f.scanned.Load() {
		return -1, 0, fmt.Errorf("finger: the module was opened anew since the scan: %w", sensor.ErrStale)
	}
	at, score, err := m.Identify(ctx, probe, templates)
	f.searches.Store(true)
	f.rests()
	return at, score, f.noted(gen, err)
}

// purgeTries is how often a module is asked to empty its library when the daemon stops,
// in stopTime at most, which kept.stop may take once more: erasing takes up to 5 s, and
// systemd waits for 90 s.
const (
	purgeTries = 3
	stopTime   = 15 * time.Second
)

// keptError is why a module could not be made to delete what a search stored in it.
type keptError struct {
	error
	module sensor.Info
	said   bool // that another took its place
}

func (e *keptError) Unwrap() error { return e.error }

// kept are the modules that were closed with templates in them, one error each, and not
// opened again since: who is trusted in the place of one does not have what lies in it.
// Whoever runs the part has it.
type kept struct {
	of  []*keptError
	log *slog.Logger
}

// closed remembers a module that was closed with templates in it.
func (k *kept) closed(err error) {
	if e := (*keptError)(nil); errors.As(err, &e) {
		k.forget(e.module)
		k.of = append(k.of, e)
	}
}

// opened forgets the module, which is emptied before it is used (trust.admit), and says
// of which others it took the place.
func (k *kept) opened(m sensor.Info) {
	k.forget(m)
	for _, e := range k.of {
		if !e.said {
			e.said = true
			k.warn(e, fmt.Errorf("finger: another module is in its place, serial %q", m.Serial))
		}
	}
}

func (k *kept) forget(m sensor.Info) {
	k.of = slices.DeleteFunc(k.of, func(e *keptError) bool { return sameUnit(m, e.module) })
}

// sameUnit tells whether what was left in one module lies in the other: by the family and
// the serial number where both state one, for who put it back may have set its level, say,
// else by all that they say of themselves.
func sameUnit(now, known sensor.Info) bool {
	if now.Serial != "" && known.Serial != "" {
		return now.Family == known.Family && now.Serial == known.Serial
	}
	return now.Differs(known) == ""
}

// closeModule leaves nothing of anybody's in the module. One that does not obey
// (*keptError) is emptied when it is opened next; where nobody will, since the daemon
// stops, it is asked again, and kept.stop does the rest.
func closeModule(m *sensor.Module, stops bool) error {
	tries, most := 1, checkTime
	if stops {
		tries, most = purgeTries, stopTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	err := m.Purge(ctx)
	for ; err != nil && tries > 1; tries-- {
		err = m.Purge(ctx)
	}
	if err != nil {
		err = &keptError{error: err, module: m.Info()}
	}
	return errors.Join(err, m.Close())
}

// stop is what remains to be done for them when the daemon stops: whatever module is there
// is opened, trusted or not, for emptying needs no trust, and emptied where it is one of
// them; of the others it is said. One that is none of them is left alone.
func (k *kept) stop(open func(context.Context) (*sensor.Module, error)) {
	if len(k.of) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	m, failed := open(ctx)
	for _, e := range k.of {
		err := failed
		if err == nil {
			if err = sameModule(ctx, m, e.module); err == nil {
				err = m.EmptyLibrary(ctx)
			}
		}
		if err != nil {
			k.warn(e, err)
			continue
		}
		k.log.Info("the finger module, which was closed with templates in it, was emptied", "module", e.module.Model(), "serial", e.module.Serial)
	}
	if failed == nil {
		if err := m.Close(); err != nil {
			k.log.Warn("part did not close", "part", "finger", "err", err)
		}
	}
}

// warn says of a module that it keeps templates, why, and what to do.
func (k *kept) warn(e *keptError, why error) {
	k.log.Warn("a finger module keeps templates, which it could not be made to delete; it is emptied when the daemon opens it next, before it is used",
		"module", e.module.Model(), "serial", e.module.Serial, "err", errors.Join(e.error, why),
		"advice", "put it back and say 'faceprint sensor trust' before it leaves the device, or 'faceprint sensor set PORT --empty-library'")
}

// sameModule is an error where a module that was just opened is not the one that was
// known (sameUnit).
func sameModule(ctx context.Context, m *sensor.Module, known sensor.Info) error {
	if sameUnit(m.Info(), known) {
		return nil
	}
	if err := m.Reintroduce(ctx); err != nil { // one reading is no proof
		return err
	}
	if !sameUnit(m.Info(), known) {
		return fmt.Errorf("finger: another module is on %s now: %s", m.Info().Port, m.Info().Differs(known))
	}
	return nil
}

// Purge takes what a search stored of people who are gone out of the module. One that
// does not do it is opened anew, and emptied then (trust.admit).
func (f *finger) Purge(ctx context.Context) {
	f.stop() // what is being stored may be theirs
	m, gen, err := f.part.get()
	if err != nil {
		return
	}
	err = f.trust.templates(m, func(ts [][]byte) error {
		if len(ts) < device.ManyFingers {
			return m.Purge(ctx) // they are compared one by one
		}
		return m.Retain(ctx, ts)
	})
	if err != nil {
		err = errors.Join(err, m.Purge(ctx))
	}
	if err != nil {
		f.part.lost(gen, fmt.Errorf("finger: templates of somebody who was forgotten may rest in the module: %w", err))
	}
	f.rests()
}

// rests tells rest that the module has time.
func (f *finger) rests() {
	select {
	case f.idle <- struct{}{}:
	default: // it is told already
	}
}

// stop ends what rest does now.
func (f *finger) stop() {
	f.filling.Lock()
	defer f.filling.Unlock()
	if f.filling.stop != nil {
		f.filling.stop()
	}
}

// rest does what nobody waits for, until the context ends: it clears the module's buffer
// behind a comparison and, where somebody is looked for among all, fills its library.
func (f *finger) rest(ctx context.Context) {
	var again <-chan time.Time
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.idle:
		case <-again:
		}
		again = nil
		m, gen, err := f.part.get()
		if err != nil {
			continue // whoever opens it says so (rests)
		}
		if err = f.tidy(ctx, m); errors.Is(err, context.Canceled) {
			continue // whoever stopped it says so
		}
		if err == nil {
			said = ""
			continue
		}
		if err.Error() != said {
			said = err.Error()
			f.trust.log.Warn("the finger module was not made ready for the next search", "err", err)
		}
		f.unasked(gen, err)
		if !errors.Is(err, sensor.ErrDoubt) { // each try at that wears its flash
			again = time.After(restAgain)
		}
	}
}

func (f *finger) tidy(ctx context.Context, m *sensor.Module) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.filling.Lock()
	f.filling.stop = cancel
	f.filling.Unlock()
	if err := m.Tidy(ctx); err != nil || !f.searches.Load() {
		return err
	}
	return f.trust.templates(m, func(ts [][]byte) error {
		if len(ts) < device.ManyFingers {
			return nil // they are compared one by one
		}
		return m.Stock(ctx, ts)
	})
}

func (f *finger) Same(ctx context.Context, template []byte, others [][]byte, check *sensor.Check) (int, error) {
	m, gen, err := f.part.get()
	if err != nil {
		return -1, err
	}
	at, err := m.Same(ctx, template, others, check)
	f.rests()
	return at, f.noted(gen, err)
}

// restAgain is how long rest waits after an error: what a wire lost is sent again, and
// one that loses everything is not at it all the time.
const restAgain = 5 * time.Second

// How long a yes or a no stays on the lamp, and how often an idle device looks
// whether it could say yes at all.
const (
	lampAnswer = 2 * time.Second
	lampCheck  = 5 * time.Second
)

// light lets the module's lamp say what the device does, until the events end.
// broken tells whether something is missing without which nobody gets in. What a
// ring of colours shows is announced as it changes, for a screen to show as well
// (shows); a module that went shows nothing.
func (f *finger) light(ctx context.Context, events <-chan device.Event, broken func() bool, announce func(device.Event)) {
	idle := time.NewTimer(0)
	defer idle.Stop()
	show, working := sensor.LampReady, false
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if e.Kind == "ended" && working {
				idle.Reset(0) // nothing was decided: nobody came, or the asker left
			}
			l, ok := lampOf(e)
			if !ok {
				continue
			}
			show = l
			idle.Reset(lampAnswer)
			if working = show == sensor.LampWorking; working {
				idle.Stop() // until it ends
			}
		case <-idle.C:
			working = false
			idle.Reset(lampCheck)
			show = sensor.LampReady
			if broken() {
				show = sensor.LampFault
			}
		case <-f.moved: // one that came is dark
		}
		if was := f.shows(); f.show(ctx, show) != was {
			announce(device.Event{Kind: "lamp", Step: device.Finger, Outcome: f.shows().String()})
		}
	}
}

// shows is what the module's ring of colours shows now.
func (f *finger) shows() sensor.Lamp { return sensor.Lamp(f.lamp.Load()) }

// show sets the module's lamp, and returns what its ring of colours shows then:
// what it did before, where the module was busy for too long.
func (f *finger) show(ctx context.Context, l sensor.Lamp) sensor.Lamp {
	m, gen, err := f.part.get()
	if err == nil {
		c, cancel := context.WithTimeout(ctx, lampAnswer)
		defer cancel()
		if err = m.Show(c, l); err != nil && c.Err() != nil {
			return f.shows()
		}
		f.unasked(gen, err)
	}
	if err != nil || m.Info().Lamp != sensor.LampAura {
		l = sensor.LampOff
	}
	f.lamp.Store(uint32(l))
	return l
}

// lampOf is what an event shows on the lamp, if anything.
func lampOf(e device.Event) (sensor.Lamp, bool) {
	switch {
	case e.Kind == "decision" && e.Outcome == "granted", e.Kind == "enrolled":
		return sensor.LampYes, true
	case e.Kind == "decision" && slices.Contains(e.Reasons, device.LockedOut):
		return sensor.LampLocked, true
	case e.Kind == "decision":
		return sensor.LampNo, true
	case e.Kind == "fault", e.Kind == "door" && e.Outcome == "fault":
		return sensor.LampFault, true
	case e.Kind == "hint" && e.Step == device.Finger && e.Hint == string(sensor.HintNoFinger):
		return sensor.LampWorking, true
	}
	return 0, false
}

func (f *finger) Info() sensor.Info {
	m, _, err := f.part.get()
	if err != nil {
		return sensor.Info{}
	}
	return m.Info()
}

// Family is that of the module that was set up, also while it is missing.
func (f *finger) Family() string {
	if family := f.Info().Family; family != "" {
		return family
	}
	k, err := f.trust.load()
	if err != nil || k == nil {
		return ""
	}
	return k.Info.Family
}

// Fits tells whether a template of the family is this module's; which one is missing is
// not asked, for nothing is compared then.
func (f *finger) Fits(template []byte) bool {
	m, _, err := f.part.get()
	return err != nil || m.Fits(template)
}
