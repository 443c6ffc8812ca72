package sensor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Check is how far Same went. One that was interrupted goes on there when it is asked
// again with the same Check, which the zero one begins. One Same at a time has it.
type Check struct {
	// Tell is told how many of the others are known to be of other fingers, at first
	// and when there are more; nil: nobody. It must not block.
	Tell func(done, of int)

	begun bool
	other map[hash]bool // templates that are of other fingers, decoys among them
}

// tell counts those of the others that are done.
func (c *Check) tell(of []hash) {
	if c.Tell == nil {
		return
	}
	done := 0
	for _, h := range of {
		if c.other[h] {
			done++
		}
	}
	c.Tell(done, len(of))
}

// Same tells which of the templates is of the same finger as a new one, -1 for
// none (DownChar, manual p. 19, Match, p. 22, UpChar, p. 18). It is asked right after
// the enrolment: an R503 compares the newest capture. The new one must match itself
// first, and an answer counts where the module gave it before and after it returned what
// it compared, byte for byte: were a template lost on the wire, the one before would be
// compared. Of a module that does not return what its buffers hold, an answer counts when
// it comes twice, and what is nobody's overwrites the new one first. ErrDoubt: the new one
// does not match itself, or the wire lost a template time after time.
//
// The context is heeded between two comparisons, so that the module's buffers and the
// wire are in order for whoever comes first. Same goes on afterwards with the same
// Check, others that were added meanwhile among them. ErrStale: the new one does not
// match any more what was captured since; scan that finger once more, and go on.
//
// Decoys are among the others, in random order: a match of one is an *AttackError,
// and who had seen the others without them would tell them apart ever after. For the
// same reason none that is known is compared again when it goes on.
func (m *Module) Same(ctx context.Context, template []byte, others [][]byte, check *Check) (int, error) {
	defer m.compares()()
	release, err := m.take(ctx)
	if err != nil {
		return -1, err
	}
	defer release()
	damage := m.link.meter.damage()
	blind, err := m.itself(ctx, template, check)
	if err == nil && blind {
		err = m.without(ctx, template)
	}
	if errors.Is(err, errNobody) {
		err = m.weigh(damage, err)
	}
	if err != nil {
		return -1, err
	}
	all := slices.Concat(others, m.guard.mixed())
	of := make([]hash, len(all))
	var left []int
	for i, t := range all {
		if of[i] = sha256.Sum256(t); CheckTemplate(t) != nil {
			check.other[of[i]] = true // nothing of this family, which no finger matches
		}
		if !check.other[of[i]] {
			left = append(left, i)
		}
	}
	check.tell(of[:len(others)])
	arrived := blind  // a template other than the new one, which lay there: a blind one said no (without)
	var passed []hash // since the new one matched itself
	defer func() {
		for _, h := range passed {
			delete(check.other, h)
		}
	}()
	for _, at := range order(len(left)) {
		if err = over(ctx); err != nil {
			break
		}
		i := left[at]
		same, returned, e := m.sure(ctx, all[i], blind)
		if err = e; err != nil && over(ctx) != nil {
			break
		}
		arrived = arrived || returned
		switch decoy := i >= len(others); {
		case decoy && same && err == nil:
			return -1, m.weigh(damage, &AttackError{AttackDecoy, "a new finger's template matched a decoy, twice"})
		case decoy && same && arrived: // else the new one may lie there all the time
			// Whatever else went wrong: a liar that damages its answers after a wrong
			// guess has guessed all the same.
			if !errors.Is(err, ErrDoubt) {
				err = errors.Join(m.doubt("a decoy matched"), err)
			}
			return -1, m.weigh(damage, err)
		case err != nil:
			return -1, err
		case same:
			return i, nil
		}
		passed = append(passed, of[i])
		check.other[of[i]] = true
		check.tell(of[:len(others)])
	}
	// A module that lost its power meanwhile has nothing that could match, and may
	// not say so.
	switch still, _, e := m.sure(context.WithoutCancel(ctx), template, blind); {
	case e != nil:
		return -1, e
	case !still:
		return -1, fmt.Errorf("sensor: %s lost the new finger while it was compared: %w; scan it once more", m.info.Port, ErrStale)
	}
	passed = nil
	if err != nil {
		return -1, fmt.Errorf("sensor: %s: the search for duplicates: %w", m.info.Port, err)
	}
	if m.Guarded() { // and no decoy matched
		*m.guard.doubts = Doubts{stored: m.guard.doubts.stored}
	}
	return -1, nil
}

// itself puts the new template where it is compared with others, which it must match:
// an R503 compares the newest capture all the same. blind: the module does not return
// what its buffers hold, or does not compare as before when it did.
func (m *Module) itself(ctx context.Context, template []byte, check *Check) (blind bool, err error) {
	goesOn := check.begun
	if check.begun = true; check.other == nil {
		check.other = make(map[hash]bool)
	}
	m.spend()
	m.loaded = true
	own, no, last := hash(sha256.Sum256(template)), 0, heard{}
	for try := 0; try < patience && no < overwrites; try++ {
		if err := over(ctx); err != nil {
			return false, fmt.Errorf("sensor: %s: %w", m.info.Port, err)
		}
		var h heard
		if err = m.put(ctx, 1, template); err == nil {
			h, err = m.examine(ctx, template)
		}
		switch {
		case lost(err):
			continue
		case err != nil:
			return false, err
		case h.first && h.second && h.back == own:
			return false, nil
		case blind && h.first && h == last:
			return true, nil
		case h.first && h == last: // or the wire lost it twice, and what lay there matches
			if err = m.without(ctx, template); err != nil && !lost(err) {
				return false, err
			}
			blind = err == nil
			continue
		case !h.first && !h.second && h.back == own:
			no++ // by the first buffer, where that was lost
		}
		blind, last = false, h
	}
	switch {
	case err != nil:
		return false, err
	case goesOn:
		return false, fmt.Errorf("sensor: %s: another finger was captured meanwhile: %w; scan the new one once more", m.info.Port, ErrStale)
	}
	return false, m.doubt("a new template does not match itself")
}

// errNobody: what is nobody's matched the new finger, as often as it was sent.
var errNobody = errors.New("what is nobody's matches")

// without overwrites the new template in the second buffer with what is nobody's, until
// the module says no: a yes is then to what was sent since. The context is heeded where
// that takes more than once. errNobody: it never did, which is to be weighed.
func (m *Module) without(ctx context.Context, template []byte) error {
	nobody := spare(m.guard.decoys, false)
	if nobody == nil {
		nobody = complement(template)
		defer clear(nobody)
	}
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), sureMost)
	defer cancel()
	var why error
	for n := 0; ; n++ {
		if err := over(ctx); n > 0 && err != nil {
			return fmt.Errorf("sensor: %s: %w", m.info.Port, err)
		}
		score, took, err := m.compare(unhurried, nobody)
		switch {
		case over(unhurried) != nil && why != nil:
			return why
		case over(unhurried) != nil:
			return errors.Join(m.doubt("a new template"), errNobody)
		case lost(err):
			why = err
			continue
		case err != nil || score == 0:
			return err
		case m.hasty(took):
			return errors.Join(errNobody, m.haste(took))
		}
		why = nil
	}
}

// heard is what a module said of a template.
type heard struct {
	first, second bool // it matches, before and after it was read
	back          hash // what was read, zero for none
}

// examine loads a template into the second buffer, compares it with the first, reads it
// (UpChar, manual p. 18; 0D for no) and compares it once more.
func (m *Module) examine(ctx context.Context, template []byte) (h heard, err error) {
	score, _, err := m.compare(ctx, template)
	if err != nil {
		return h, err
	}
	h.first = score > 0
	got, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 2)
	defer clear(got)
	if no := (*CodeError)(nil); err != nil && (lost(err) || !errors.As(err, &no)) {
		return h, err
	}
	if len(got) > 0 && len(got) < len(template) && bytes.HasPrefix(template, got) && err == nil {
		return h, fmt.Errorf("sensor: %s: a template came back cut off after %d of %d bytes: %w", m.info.Port, len(got), len(template), ErrSum)
	}
	if err == nil {
		h.back = sha256.Sum256(got)
	}
	score, _, err = m.match(ctx)
	h.second = score > 0
	return h, err
}

// lost tells whether an exchange failed on the wire, on the way to the module (01) as well.
func lost(err error) bool { return damaged(err) || isCode(err, PacketError) }

// sure compares a template with the first buffer until the answer counts (Same). The
// context is heeded where that takes more than once. ErrDoubt: it never did. With any error
// same is whether the module said yes since its last answer that was whole, returned
// whether the template came back as it was sent.
func (m *Module) sure(ctx context.Context, template []byte, blind bool) (same, returned bool, err error) {
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), sureMost)
	defer cancel()
	own, no := hash(sha256.Sum256(template)), 0
	var why error
	for n := 0; ; n++ {
		if err := over(ctx); n > 0 && err != nil {
			return false, returned, fmt.Errorf("sensor: %s: %w", m.info.Port, err)
		}
		var h heard
		if blind {
			h, err = m.twice(unhurried, template)
		} else {
			h, err = m.examine(unhurried, template)
		}
		if err != nil {
			same = same || h.first
		}
		switch {
		case over(unhurried) != nil && why != nil:
			return same, returned, why
		case over(unhurried) != nil:
			return same, returned, m.doubt("a template is lost on the wire time after time")
		case lost(err):
			why = err
			continue
		case err != nil:
			return same, returned, err
		}
		why, same, returned = nil, h.first, returned || h.back == own
		switch {
		case h.first != h.second, !blind && h.back != own:
			continue
		case !blind || same:
			return same, returned, nil
		}
		if no++; no == 2 {
			return false, returned, nil
		}
	}
}

// twice is examine of a module that returns nothing: a yes is one to what was sent since
// the last no, a no may be one to what was there before.
func (m *Module) twice(ctx context.Context, template []byte) (h heard, err error) {
	score, _, err := m.compare(ctx, template)
	if h.first = score > 0; err == nil && h.first {
		score, _, err = m.match(ctx)
	}
	h.second = score > 0
	return h, err
}
