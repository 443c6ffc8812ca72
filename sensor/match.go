package sensor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"
)

// Match compares the scan with a template of this module (DownChar, manual p. 19,
// Match, p. 22) and returns the module's score, 0 for no match (08). Nothing is stored in the module
// beyond its buffers. ErrStale: there was another scan since, or the module was
// reset.
//
// Without decoys the scan must not match what lay in the buffer before.
//
// With a Guard, two or three decoys are compared as well, in random order. Which
// ones go with a template, and how many, never changes: were it drawn anew each time,
// a module that compared notes would soon know which of them is always there. A match on a decoy is an *AttackError;
// where the decoy may have been lost on the wire, so that the template before it
// was compared twice, it is ErrDoubt, but for the third attempt in a row on a sound
// line, or the eighth on any, in which the module returns the decoy, refuses to return
// anything, or never did return what it was given (Keeps). Both count as failures.
func (m *Module) Match(ctx context.Context, probe Print, template []byte) (float64, error) {
	if err := CheckTemplate(template); err != nil {
		return 0, err
	}
	defer m.compares()()
	release, err := m.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if m.stale(probe) {
		return 0, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	others, lent := m.guard.decoys, false
	if len(others) == 0 && m.guard.lend != nil {
		if others, err = m.guard.lend(template); err != nil {
			return 0, err
		}
		lent = true
		defer func() {
			for _, t := range others {
				clear(t)
			}
		}()
	}
	nobody := spare(others, lent)
	if lent {
		defer clear(nobody)
	}
	damage := m.link.meter.damage()
	score, doubt, err := m.compareAll(ctx, lineup(template, others), nobody, lent)
	if err == nil && m.stale(probe) {
		err = fmt.Errorf("sensor: %s was reset meanwhile: %w; scan again", m.info.Port, ErrStale)
	}
	if err := m.judge(damage, doubt, err); err != nil {
		return 0, err
	}
	*m.guard.doubts = Doubts{stored: m.guard.doubts.stored} // who compares well may store badly
	return score, nil
}

// doubt is what a yes to a decoy comes to, the weightier the greater.
type doubt int

const (
	undoubted doubt = iota
	excused         // the decoy does not come back: the line may lose all that are sent
	weighty
)

// judge is the error of an attempt that ended with such a doubt, and err besides; damage
// is what the wire had shown before.
func (m *Module) judge(damage uint64, doubt doubt, err error) error {
	attack := (*AttackError)(nil)
	switch {
	case doubt == undoubted:
		return err
	case errors.As(err, &attack):
		return m.weigh(damage, err)
	case doubt == excused:
		return errors.Join(m.doubt("a decoy matched, which the module does not return"), err)
	}
	// Whatever else went wrong: a liar that falls silent after a wrong guess has guessed
	// all the same.
	return m.weigh(damage, errors.Join(m.doubt("a decoy matched"), err))
}

// doubtOf is the doubt of a yes to what is nobody's, which was sent to the second buffer
// last, as often as it was: is it there (UpChar, manual p. 18)? A line that loses whatever
// is long, as an overrun does, shows no other damage, and a module behind it compares and
// returns what lay there before, or the line loses of that as well. A no to the question
// (01, 0D) is short: there is something to compare, and so to return. One that does not
// return what it is given (Keeps) shows nothing.
func (m *Module) doubtOf(ctx context.Context, sent []byte) doubt {
	if !m.guard.keeps {
		return weighty
	}
	got, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 2)
	defer clear(got)
	if no := (*CodeError)(nil); errors.As(err, &no) || err == nil && subtle.ConstantTimeCompare(got, sent) == 1 {
		return weighty
	}
	return excused
}

// compareAll compares the scan with a line-up, whose first is the template, in
// random order. spare is nobody's either. doubt tells that a decoy seemed to match.
// Of decoys that were lent, one may match: that is no attack where the template
// does not.
func (m *Module) compareAll(ctx context.Context, lineup [][]byte, spare []byte, lent bool) (score float64, doubt doubt, err error) {
	if len(lineup) == 1 {
		if err := m.unlike(ctx, lineup[0]); err != nil {
			return 0, undoubted, err
		}
	} else if m.loaded {
		// Whoever's lies in the buffer would match in place of what the wire lost.
		// Once a no was heard, a yes is one to what was sent since.
		if doubt, err := m.overwrite(ctx, spare); doubt != undoubted || err != nil {
			return 0, doubt, err
		}
	}
	decoy := "" // how one matched
	var attack error
	there := false // the template may still lie there in place of a decoy
	defer func() { m.loaded = true }()
	for _, at := range order(len(lineup)) {
		got, took, err := m.compare(ctx, lineup[at])
		lost := err == nil && at != 0 && there && got > 0 && got == score
		if lost { // or was it?
			got, _, err = m.compare(ctx, lineup[at])
		}
		if err != nil {
			return 0, doubt, err
		}
		switch {
		case at == 0:
			score, there = got, true
			if got > 0 && m.hasty(took) {
				attack = m.haste(took)
			}
		case got == 0:
			// Whoever matched the template does not match this: it is another.
			if there && score > 0 {
				there = false
			}
		case lost && got == score: // lost twice, or so it seems
			doubt = max(doubt, m.doubtOf(ctx, lineup[at]))
		default:
			doubt = weighty
			decoy = fmt.Sprintf("a decoy scored %g", got)
		}
	}
	if lent && score == 0 {
		doubt = undoubted
	} else if decoy != "" {
		attack = errors.Join(attack, &AttackError{AttackDecoy, decoy})
	}
	// Is it still the same module? And an answer that was late, or came twice, has
	// shifted all that followed; it shows here at the latest.
	if err := m.same(ctx); err != nil {
		return 0, doubt, err
	}
	return score, doubt, attack
}

// overwrite puts what is nobody's into the second buffer, until the scan does not
// match it. doubt: it always did.
func (m *Module) overwrite(ctx context.Context, spare []byte) (doubt doubt, err error) {
	for range overwrites {
		score, took, err := m.compare(ctx, spare)
		switch {
		case err != nil:
			return undoubted, err
		case score == 0:
			return undoubted, nil
		case m.hasty(took):
			return weighty, m.haste(took)
		}
	}
	return m.doubtOf(ctx, spare), nil
}

// Tidy overwrites what a comparison left in the module's second buffer with nobody's,
// and reads it to be sure (UpChar, manual p. 18): a Match that follows need not, and
// takes a quarter less. Whoever calls it has time: it waits until nobody has scanned or
// compared for a moment. It does the same whatever was compared, or a module would learn
// from it what lay there. A module that does not return what it is given (Keeps) is
// left alone.
func (m *Module) Tidy(ctx context.Context) error {
	release, err := m.takeIdle(ctx, idleAfter)
	if err != nil {
		return err
	}
	defer release()
	if !m.loaded || !m.guard.keeps {
		return nil
	}
	nobody := spare(m.guard.decoys, false)
	if err := m.put(ctx, 2, nobody); err != nil {
		return err
	}
	got, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 2)
	defer clear(got)
	if err != nil {
		return err
	}
	m.loaded = subtle.ConstantTimeCompare(got, nobody) != 1 // else the wire lost it
	return nil
}

// hasty tells whether a yes came before it can have been compared.
func (m *Module) hasty(took time.Duration) bool { return took < m.guard.fastest }

func (m *Module) haste(took time.Duration) error {
	return &AttackError{AttackHaste, fmt.Sprintf("answered in %v beyond the wire's time, %v is the least", took, m.guard.fastest)}
}

// lineup is the template and those of the decoys that go with it. The last decoy
// is spare where there are enough.
func lineup(template []byte, decoys [][]byte) [][]byte {
	lineup := [][]byte{template}
	decoys = mixed(decoys)
	if len(decoys) == 0 {
		return lineup
	}
	h := sha256.Sum256(template)
	n := MinDecoys + int(h[0]&1)
	from := int(binary.BigEndian.Uint32(h[4:]) % uint32(len(decoys)))
	for i := range min(n, len(decoys)) {
		lineup = append(lineup, decoys[(from+i)%len(decoys)])
	}
	return lineup
}

// spare is what overwrites the second buffer: a decoy that is in no line-up, for
// one that was seen before the line-up would be known in it. What is lent is
// somebody's, who may be the one who is scanned: its complement is nobody's.
func spare(decoys [][]byte, lent bool) []byte {
	if len(decoys) == 0 {
		return nil
	}
	last := decoys[len(decoys)-1]
	if lent {
		return complement(last)
	}
	return last
}

// complement of a template is nobody's.
func complement(template []byte) []byte {
	nobody := make([]byte, len(template))
	for i, b := range template {
		nobody[i] = ^b
	}
	return nobody
}

// order is a random one of n that nobody can foresee.
func order(n int) []int {
	order := make([]int, n)
	for i := range order {
		j := random(i + 1)
		order[i], order[j] = order[j], i
	}
	return order
}

// random is an even number from 0 to n-1 that nobody can foresee.
func random(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand never fails on Linux
	}
	return int(v.Int64())
}

// compare loads a template into the second buffer and compares it with the
// first (Match); took is the time beyond the wire's.
func (m *Module) compare(ctx context.Context, template []byte) (score float64, took time.Duration, err error) {
	if err := m.put(ctx, 2, template); err != nil {
		return 0, 0, err
	}
	return m.match(ctx)
}

// match compares what lies in the two buffers, as compare does.
func (m *Module) match(ctx context.Context) (score float64, took time.Duration, err error) {
	start := time.Now()
	b, err := m.link.once(ctx, answerTimeout, Match, nil)
	if isCode(err, PacketError) {
		// Optical units send a spurious 01 here, and then the answer. Where none
		// comes, the module did not get the instruction.
		if b, err = m.link.answer(ctx, spuriousWait, Match); errors.Is(err, ErrTimeout) {
			start = time.Now()
			b, err = m.link.once(ctx, answerTimeout, Match, nil)
		}
	}
	m.used = time.Now()
	took = m.used.Sub(start) - m.link.airtime(2*(headerSize+1+sumSize)+2)
	if isCode(err, NoMatch) {
		return 0, took, nil
	}
	if isCode(err, VerifyFirst) {
		m.link.resets++
		return 0, 0, errors.Join(fmt.Errorf("sensor: %s was reset meanwhile: %w", m.info.Port, ErrStale), m.link.verify(ctx, answerTimeout))
	}
	if err != nil {
		return 0, 0, err
	}
	return float64(binary.BigEndian.Uint16(b)), took, nil
}

// unlike sees to it that the scan does not match what lies in the second buffer,
// so that a yes to what is loaded next is a yes to that: a download that the wire
// lost leaves the buffer as it was. Where it matches, as after the same person's
// last scan, the template's complement is loaded, which is nobody's.
func (m *Module) unlike(ctx context.Context, template []byte) error {
	nobody := complement(template)
	defer clear(nobody)
	for try := 0; ; try++ {
		score, _, err := m.match(ctx)
		switch {
		case isCode(err, TemplateEmpty):
			return nil
		case err != nil:
			return err
		case score == 0:
			return nil
		case try == 2:
			return m.doubt("what is nobody's matches")
		}
		if err := m.put(ctx, 2, nobody); err != nil {
			return err
		}
	}
}

// put loads a template into a buffer of the module (DownChar).
func (m *Module) put(ctx context.Context, buffer byte, template []byte) error {
	if _, err := m.link.command(ctx, DownChar, buffer); err != nil {
		return err
	}
	return m.link.upload(ctx, template, m.info.PacketSize)
}

// FMR is the false match rate that a score of Match stands for: the vendor's
// claim where it matched at ClaimedLevel or higher, 1 where it did not: for lower
// levels, at which it says yes sooner, nobody claims anything.
func (m *Module) FMR(score float64) float64 {
	if !(score > 0) || math.IsInf(score, 0) || m.Info().Level < ClaimedLevel { // NaN refuses
		return 1
	}
	return ClaimedFMR
}
