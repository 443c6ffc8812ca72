package sensor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// AttackError says that the module cannot be what it says it is. It is a
// refusal that counts, never a fault.
type AttackError struct {
	Kind   string // stable: see the constants
	Detail string
}

// Kinds of attacks.
const (
	AttackDecoy   = "decoy-matched"   // nobody's finger matched
	AttackHaste   = "match-too-fast"  // before it can have been compared
	AttackSwapped = "module-swapped"  // another serial number or parameter block
	AttackLibrary = "library-changed" // its library holds what was not put there
	AttackMisfit  = "answer-misfit"   // it said yes to pictures of another finger (sensor/host)
)

func (e *AttackError) Error() string { return "sensor: attack: " + e.Kind + ": " + e.Detail }

// Decoys are templates of nobody's fingers, made by this module, and what was
// learnt while they were made. They are secrets: a module that knew them could
// tell them from people's.
type Decoys struct {
	Templates [][]byte
	// Compare is the shortest time that a comparison took, without the wire's.
	Compare time.Duration
	// Keeps: the library returned one of them as it was stored (Module.Keeps).
	Keeps bool
}

// guard is what Match holds against a module that lies.
type guard struct {
	decoys  [][]byte
	fastest time.Duration // 0 where unknown
	keeps   bool          // the library returns what it was given
	lend    func(template []byte) ([][]byte, error)
	doubts  *Doubts
}

// Doubts counts the attempts in a row in which a decoy matched that may have been
// lost on the wire, and the stored templates in a row that did not come back. Whoever
// opens a module again hands them on (Config), or one that
// drops off the line would begin anew. The zero Doubts is none; one module at a time
// has it.
type Doubts struct {
	all    int
	sound  int               // of them, on a line that showed no damage
	stored [patience]*stored // templates, each on a line that was sound behind it (tryLine); the rest is nil
}

// unstored counts one more template that did not come back, and returns how many are in a
// row. One slot, which may have gone bad, counts once until it is stored anew.
func (d *Doubts) unstored(s *stored) int {
	for i, of := range d.stored {
		if of == nil {
			d.stored[i] = s
		}
		if of == nil || of == s {
			break
		}
	}
	return d.inRow()
}

// inRow is how many templates in a row did not come back, patience at most.
func (d *Doubts) inRow() int {
	if n := slices.Index(d.stored[:], nil); n >= 0 {
		return n
	}
	return len(d.stored)
}

// Guard makes Match mix the decoys in. Fewer than MinDecoys are refused.
func (m *Module) Guard(ctx context.Context, d Decoys) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, t := range d.Templates {
		if err := CheckTemplate(t); err != nil {
			return err
		}
	}
	if len(d.Templates) < MinDecoys {
		return fmt.Errorf("sensor: %d decoys, at least %d are needed: %w", len(d.Templates), MinDecoys, ErrTemplate)
	}
	m.guard = guard{lend: m.guard.lend, doubts: m.guard.doubts, decoys: d.Templates, fastest: min(d.Compare/2, haste), keeps: d.Keeps}
	return nil
}

// mixed are the decoys that are mixed among others.
func (g *guard) mixed() [][]byte { return mixed(g.decoys) }

// mixed is all but the last one, which is spare where there are enough.
func mixed(decoys [][]byte) [][]byte {
	if len(decoys) > MinDecoys {
		return decoys[:len(decoys)-1]
	}
	return decoys
}

// weigh counts an attempt whose doubt the wire may explain, which is an attack when it
// is the third in a row (excuses, patience); damage is what the wire had shown before.
func (m *Module) weigh(damage uint64, doubt error) error {
	n := m.guard.doubts
	n.all++
	if m.link.meter.damage() == damage { // a wire that loses decoys loses other things as well
		n.sound++
	}
	if attack := (*AttackError)(nil); errors.As(doubt, &attack) || n.sound < excuses && n.all < patience {
		return doubt
	}
	return errors.Join(&AttackError{AttackDecoy, fmt.Sprintf("what is nobody's matched, which the wire may explain, in %d attempts in a row, %d of them on a sound one", n.all, n.sound)}, doubt)
}

// unreturned is a template that was stored and is not what comes back. The wire may
// explain it: whoever held the wire lets go of it and has it weighed (weighStored).
type unreturned struct {
	template []byte
	of       *stored
	error
}

func (u *unreturned) Unwrap() error { return u.error }

// weighStored counts what is unreturned in err, which is an attack when it is the eighth
// in a row (patience) behind which the line carries the same template to the module.
//
// That is so for an honest module once in four million, however the loss depends on how
// much is sent at once: where a template is lost with probability p, each by itself, and
// the line then carries two of them with (1-p)², both happen with p(1-p)², 4/27 at most,
// and eight times in a row with (4/27)⁸. A line that loses all of them is never sound.
//
// take is how it waits for the wire, which is free for others from one template to the
// next. Where they use the module's buffers meanwhile, it begins anew; the last time it
// keeps the wire, or a module that feigns fingers would never be weighed.
func (m *Module) weighStored(ctx context.Context, take func(context.Context) (func(), error), err error) error {
	u := (*unreturned)(nil)
	if !errors.As(err, &u) {
		return err
	}
	defer func() { u.template = nil }() // it is wiped by whom it belongs to
	for tries := disturbances; tries > 0; tries-- {
		if tries == 1 {
			release, e := take(ctx)
			if e != nil {
				return err
			}
			defer release()
			take = func(context.Context) (func(), error) { return func() {}, nil }
		}
		n, done := m.tryLine(ctx, take, u)
		switch {
		case !done:
			continue
		case n < patience:
			return err
		}
		return errors.Join(&AttackError{AttackLibrary, fmt.Sprintf("%d templates in a row were stored and do not come back, and the line is sound", n)}, err)
	}
	return err
}

// tryLine tells whether the line carries templates to the module, counts where one did not
// come back all the same, and says how many are in a row; done is false where others used
// the module's buffers meanwhile.
func (m *Module) tryLine(ctx context.Context, take func(context.Context) (func(), error), u *unreturned) (n int, done bool) {
	template := u.template
	nobody := spare(m.guard.decoys, false) // of which the module knows what it is
	if bytes.Equal(nobody, template) {
		nobody = complement(template)
		defer clear(nobody)
	}
	steps := m.lineSteps(template, nobody)
	var left traces
	one := func(i int) (ended, disturbed bool) {
		release, err := take(ctx)
		if err != nil {
			return true, false
		}
		defer release()
		n = m.guard.doubts.inRow()
		if i > 0 && m.traces() != left {
			return false, true
		}
		damage, used := m.link.meter.damage(), m.used
		if i == 0 {
			m.spend()
		}
		m.loaded = true
		sound, err := steps[i](ctx)
		sound = sound && err == nil && m.link.meter.damage() == damage
		left, m.used = m.traces(), used // nobody compares who would go on soon
		switch {
		case sound && i < len(steps)-1:
			return false, false
		case sound:
			n = m.guard.doubts.unstored(u.of)
		case err == nil || over(ctx) == nil:
			n, m.guard.doubts.stored = 0, [patience]*stored{}
		}
		return true, false
	}
	for i := range steps {
		if ended, disturbed := one(i); ended || disturbed {
			return n, ended
		}
	}
	return n, true
}

// lineSteps show that templates arrive, which nothing acknowledges, one transfer each:
// all succeed only where two at least did.
//
// Whoever compares what lies in two buffers says no to what is nobody's in the second and
// then yes to the template there, whatever it returns of either. The R503 compares the
// last capture alone: there they are read from the buffer (UpChar). What is longer than
// the template, or no template at all, is not what the wire left there.
func (m *Module) lineSteps(template, nobody []byte) []func(context.Context) (sound bool, err error) {
	type step = func(context.Context) (bool, error)
	put := func(buffer byte, t []byte) step {
		return func(ctx context.Context) (bool, error) { return true, m.put(ctx, buffer, t) }
	}
	compare := func(t []byte, want bool) step {
		return func(ctx context.Context) (bool, error) {
			score, _, err := m.compare(ctx, t)
			return score > 0 == want, err
		}
	}
	read := func(t []byte) step {
		return func(ctx context.Context) (bool, error) {
			got, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 2)
			defer clear(got)
			return bytes.HasPrefix(got, t) || len(got) >= len(t) && CheckTemplate(got) != nil, err
		}
	}
	if m.modern {
		return []step{put(2, template), read(template), put(2, nobody), read(nobody), put(2, template), read(template)}
	}
	return []step{put(1, template), compare(nobody, false), compare(template, true)}
}

// traces tell whether what lies in the module's buffers is what was left there.
type traces struct{ fills, starts int }

func (m *Module) traces() traces { return traces{m.link.fills, m.link.starts()} }

// Guarded tells whether Match mixes decoys in.
func (m *Module) Guarded() bool { return len(m.guard.decoys) > 0 }

// Borrows tells whether Match mixes other people's templates in (Borrow).
func (m *Module) Borrows() bool { return !m.Guarded() && m.guard.lend != nil }

// Borrow makes Match mix in templates of other people where there are no decoys:
// lend returns those of everybody but whose template it is given. It stops less:
// somebody who claims to be another matches their own template honestly, so that
// only a module for which the scan is two people's finger is caught.
//
// Match wipes what it was lent.
func (m *Module) Borrow(ctx context.Context, lend func(template []byte) ([][]byte, error)) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.guard.lend = lend
	return nil
}

// same asks the module again who it is. A difference is an attack when it is read
// twice: a checksum is a sum, and what is damaged in two places can pass it.
func (m *Module) same(ctx context.Context) error {
	for try := 0; ; try++ {
		now, err := m.reread(ctx)
		if err != nil {
			return err
		}
		what := now.Differs(m.info)
		if what == "" {
			return nil
		}
		if try > 0 {
			return &AttackError{AttackSwapped, what}
		}
		m.link.dirty = true // or it was the answer to something else
	}
}

// reread is what the module says of itself now: its parameters, the security level
// among them, which whoever has the wire can lower, and where it has that its product
// information.
func (m *Module) reread(ctx context.Context) (now Info, err error) {
	now = m.info
	b, err := m.link.command(ctx, ReadSysPara)
	if err == nil {
		err = now.parameters(b)
	}
	if err != nil || !m.info.stated() {
		return now, err
	}
	if b, err = m.link.command(ctx, ReadProdInfo); err == nil {
		now.product(b)
	}
	return now, err
}

// MakeDecoy makes a template of a picture of nobody's finger: DownImage (manual p.
// 16), then its features into every buffer (Img2Tz, p. 17; codes 06, 07), since
// RegModel (p. 17; 0A) merges all of them, also what an enrolment left that was
// broken off. took is how long a comparison took beyond the wire's time.
// ErrTemplate: this module cannot.
//
// The picture must be of the module's window (Window), grey, dark ridges.
func (m *Module) MakeDecoy(ctx context.Context, p Picture) (template []byte, took time.Duration, err error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	m.spend()
	m.loaded = true
	if err := m.putPicture(ctx, p); err != nil {
		return nil, 0, err
	}
	for buffer := 1; buffer <= m.info.Buffers; buffer++ {
		if _, err := m.link.command(ctx, Img2Tz, byte(buffer)); err != nil {
			return nil, 0, err
		}
	}
	if template, err = m.merge(ctx); err != nil {
		return nil, 0, err
	}
	score, took, err := m.compare(ctx, template)
	if err == nil && score == 0 {
		err = fmt.Errorf("sensor: %s: a template does not match itself: %w", m.info.Port, ErrTemplate)
	}
	m.loaded = err != nil
	return template, took, err
}
