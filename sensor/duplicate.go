package sensor

import (
	"context"
	"crypto/sha256"
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
// none (DownChar, manual p. 19, Match, p. 22). It is asked right after the
// enrolment: an R503 compares the newest capture. The new one must match itself first,
// and either answer counts when it comes twice: were a template lost on the wire, the
// one before would be compared. ErrDoubt: the new one does not match itself.
//
// The context is heeded between two comparisons, so that the module's buffers and the
// wire are in order for whoever comes first. Same goes on afterwards with the same
// Check, others that were added meanwhile among them. ErrStale: the new one does not
// match any more what was captured since; scan that finger once more, and go on.
//
// Decoys are among the others, in random order: a match of one is an *AttackError,
// and who had seen the others without them would tell them apart ever after. For the
// same reason none is compared again when it goes on.
func (m *Module) Same(ctx context.Context, template []byte, others [][]byte, check *Check) (int, error) {
	defer m.compares()()
	release, err := m.take(ctx)
	if err != nil {
		return -1, err
	}
	defer release()
	if err := m.itself(ctx, template, check); err != nil {
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
	var passed []hash
	for _, at := range order(len(left)) {
		if err = over(ctx); err != nil {
			break
		}
		i := left[at]
		same, err := m.sure(ctx, all[i])
		switch {
		case err != nil:
			return -1, err
		case same && i >= len(others):
			return -1, &AttackError{AttackDecoy, "a new finger's template matched a decoy, twice"}
		case same:
			return i, nil
		}
		passed = append(passed, of[i])
		check.other[of[i]] = true
		check.tell(of[:len(others)])
	}
	// A module that lost its power meanwhile has nothing that could match, and may
	// not say so.
	still, e := m.sure(ctx, template)
	if e != nil || !still {
		for _, h := range passed {
			delete(check.other, h)
		}
	}
	switch {
	case e != nil:
		return -1, e
	case !still:
		return -1, fmt.Errorf("sensor: %s lost the new finger while it was compared: %w; scan it once more", m.info.Port, ErrStale)
	case err != nil:
		return -1, fmt.Errorf("sensor: %s: the search for duplicates: %w", m.info.Port, err)
	}
	return -1, nil
}

// itself puts the new template where it is compared with others, which it must match:
// an R503 compares the newest capture all the same.
func (m *Module) itself(ctx context.Context, template []byte, check *Check) error {
	goesOn := check.begun
	if check.begun = true; check.other == nil {
		check.other = make(map[hash]bool)
	}
	m.spend()
	m.loaded = true
	for range 2 {
		if err := m.put(ctx, 1, template); err != nil {
			return err
		}
		same, err := m.sure(ctx, template)
		if err != nil || same {
			return err
		}
	}
	if goesOn {
		return fmt.Errorf("sensor: %s: another finger was captured meanwhile: %w; scan the new one once more", m.info.Port, ErrStale)
	}
	return m.doubt("a new template does not match itself")
}

// sure compares a template with the first buffer until two answers agree. It is not
// interrupted.
func (m *Module) sure(ctx context.Context, template []byte) (bool, error) {
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), sureMost)
	defer cancel()
	yes := 0
	for n := 1; ; n++ {
		score, _, err := m.compare(unhurried, template)
		if err != nil {
			return false, err
		}
		if score > 0 {
			yes++
		}
		if yes == 2 || n-yes == 2 {
			return yes == 2, nil
		}
	}
}
