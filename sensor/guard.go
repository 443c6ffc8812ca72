package sensor

import (
	"context"
	"errors"
	"fmt"
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
	sound  int // of them, on a line that showed no damage
	stored int // templates, each on a line that was sound behind it (carries)
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

// weighStored counts a template of so many bytes that was stored and is not what comes
// back, which the wire may explain: it is an attack when it is the eighth in a row
// (patience) behind which the line carries twice as much without damage.
//
// That is so for an honest module once in four million, whatever share of bytes the
// wire damages, and whichever way: where a template is lost with probability p, and
// twice as much passes with (1-p)², both happen with p(1-p)², 4/27 at most, and eight
// times in a row with (4/27)⁸.
func (m *Module) weighStored(ctx context.Context, size int, doubt error) error {
	n := &m.guard.doubts.stored
	switch sound := m.carries(ctx, 2*m.packed(size)); {
	case sound:
		*n++
	case over(ctx) == nil:
		*n = 0
	}
	if *n < patience {
		return doubt
	}
	return errors.Join(&AttackError{AttackLibrary, fmt.Sprintf("%d templates in a row were stored and do not come back, and the line is sound", *n)}, doubt)
}

// packed is how many bytes a template of that size takes on the wire (DownChar).
func (m *Module) packed(size int) int {
	const rest = headerSize + sumSize
	packet := m.info.PacketSize
	return size + rest*((size+packet-1)/packet) + rest + 2
}

// carries tells whether the line carries so many bytes to the module without damage,
// in instructions that the module answers (VfyPwd, manual p. 11): of what a template is
// sent in nothing is acknowledged, of them each.
func (m *Module) carries(ctx context.Context, bytes int) bool {
	const each = headerSize + 1 + 4 + sumSize
	damage := m.link.meter.damage()
	for ; bytes > 0; bytes -= each {
		if _, err := m.link.command(ctx, VfyPwd, word(m.link.password)...); err != nil || m.link.meter.damage() != damage {
			return false
		}
	}
	return true
}

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
