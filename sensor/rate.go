package sensor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Rates remembers the rate at which a module failed, or its wire did: its flash would
// be written at every opening. Whoever opens a module again hands it on (Config). The
// zero Rates knows of none. A module that is found at such a rate, for somebody has
// set it, has another chance there.
type Rates struct {
	TooFast int // baud, the slowest of those; 0 for none
}

// settle raises the rate as far as that works: the fastest of the usual ones is set,
// the module restarted where it can be told to or its power can be cut, and talked to
// at the new rate. One that takes a new rate at its next power-up only stays at the old
// one until then. A rate at which anything is damaged is given up for the next.
func (m *Module) settle(ctx context.Context, c Config) (_ *Module, err error) {
	known := c.Rates
	if known == nil {
		known = new(Rates)
	}
	least := min(m.info.Baud, settledBaud)
	rates := slices.SortedFunc(slices.Values(bauds), func(a, b int) int { return cmp.Compare(b, a) })
	raised := false
	for _, rate := range rates {
		switch {
		case rate < least:
			return m, nil
		case rate == m.info.Baud: // where it was found, or the one that is fallen back to
		case known.TooFast != 0 && rate >= known.TooFast:
			continue
		default:
			raised = true
			if m, err = m.move(ctx, c, rate); err != nil {
				return nil, err
			}
			if m.info.Baud != rate && m.info.BaudSet == rate {
				return m, nil // from the next power-up on
			}
		}
		if rate == least {
			return m, nil
		}
		if m.info.Baud == rate {
			// One fault is no proof: it may be the last there is.
			err := m.steady(ctx, raised)
			if damaged(err) && over(ctx) == nil {
				err = m.steady(ctx, true)
			}
			if over(ctx) != nil || errors.Is(err, ErrGone) {
				return nil, errors.Join(err, m.Close())
			}
			if err == nil {
				if rate >= known.TooFast {
					known.TooFast = 0
				}
				return m, nil
			}
		}
		known.TooFast = rate
	}
	return m, nil
}

// move sets another rate and looks for the module again, a few times where the wire
// damages that. It ends with a module whose rates, that of now and that of its next
// power-up, were read from it: those wanted, where it does them.
func (m *Module) move(ctx context.Context, c Config, baud int) (*Module, error) {
	from := m.info.Baud
	for range moveTries {
		stays, err := m.turnTo(ctx, c, baud)
		if stays {
			return m, nil
		}
		if err = errors.Join(err, m.Close()); err != nil {
			return nil, err
		}
		if m, err = refind(ctx, c, from, baud); err != nil || m.info.Baud == baud {
			return m, err
		}
	}
	return m, nil
}

// turnTo sets the rate, where it is not set already, and restarts the module. stays: it
// refuses that rate, or goes on at the old one until its next power-up. What the wire
// damaged is no error: where the module is then shows when it is looked for.
func (m *Module) turnTo(ctx context.Context, c Config, baud int) (stays bool, err error) {
	refused := func(err error) bool { return errors.As(err, new(*CodeError)) }
	if m.info.BaudSet != baud {
		err = m.SetBaud(ctx, baud)
		switch {
		case refused(err):
			return true, nil
		case damaged(err):
			return false, nil // its answer may have come at the new rate already
		case err != nil:
			return false, err
		}
	}
	able := false // to restart
	if m.modern {
		err = m.Reset(ctx)
		if able = !refused(err); !able || damaged(err) {
			err = nil
		}
	}
	if !able && c.Power != nil {
		able, err = true, c.Power.Cycle(ctx)
	}
	// One that was asked for the rate just now may have it at once.
	return !able && m.info.BaudSet == baud, err
}

// refind looks for a module that was told to go from one rate to another. Where it
// answers at none, it may be at the new one and not be understood there: it is told to
// go back without an answer.
func refind(ctx context.Context, c Config, from, to int) (*Module, error) {
	at := func(baud int) (*Module, error) {
		c.Baud = baud
		m, _, err := search(ctx, c)
		return m, err
	}
	m, err := at(to)
	lost := func() bool { return err != nil && over(ctx) == nil && errors.Is(err, ErrNoModule) }
	if lost() {
		m, err = at(0)
	}
	for try := 0; try < moveTries && lost(); try++ {
		c.Baud = to
		if e := tell(ctx, c, from); e != nil {
			return nil, errors.Join(err, e)
		}
		m, err = at(from)
	}
	if lost() {
		c.Baud = 0
		return find(ctx, c)
	}
	return m, err
}

// tell sends a module that is at the rate c.Baud to another without an answer:
// password, rate, restart.
func tell(ctx context.Context, c Config, to int) error {
	port, line, err := openLine(c)
	if err != nil {
		return err
	}
	l := newLink(line, c)
	for _, content := range [][]byte{
		append([]byte{byte(VfyPwd)}, word(c.Password)...), {byte(SetSysPara), 4, byte(to / 9600)}, {byte(SoftRst)},
	} {
		if _, err = l.send(PIDCommand, content); err != nil {
			break
		}
		if _, err = l.drain(ctx); err == nil {
			err = sleep(ctx, restart) // flash is being written
		}
		if err != nil && !errors.Is(err, ErrNoModule) { // a line that never falls silent is no news
			break
		}
		err = nil
	}
	if err == nil && c.Power != nil {
		err = c.Power.Cycle(ctx)
	}
	return errors.Join(err, port.Close())
}

// steady is nil where a stretch of talk went without any damage: a long one after a
// raise, a short one at each opening.
func (m *Module) steady(ctx context.Context, raised bool) error {
	talks, pages, asks := steadyTalks, 1, steadyAsks
	if raised {
		talks, pages, asks = raisedTimes*talks, raisedTimes*pages, raisedTimes*asks
	}
	// What was on its way before is no news.
	if err := m.HandShake(ctx); err != nil {
		return err
	}
	damage := m.link.meter.damage()
	sound := func() error {
		if m.link.meter.damage() != damage {
			return fmt.Errorf("sensor: %s: at %d baud bytes are damaged: %w", m.info.Port, m.info.Baud, ErrSum)
		}
		return nil
	}
	for range talks {
		if err := m.HandShake(ctx); err != nil {
			return err
		}
	}
	if err := sound(); err != nil {
		return err
	}
	var first []byte
	for n := range pages {
		silences := m.link.silences
		page, err := m.InfoPage(ctx)
		// One without such a page says so, or nothing at all, twice.
		if n == 0 && (errors.As(err, new(*CodeError)) || errors.Is(err, ErrTimeout) && m.link.silences == silences+2) {
			damage = m.link.meter.damage()
			return m.steadyWithoutPage(ctx, asks, sound)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			first = page
		}
		if err := sound(); err != nil {
			return err
		}
		if !bytes.Equal(page, first) {
			return fmt.Errorf("sensor: %s: at %d baud a page is read in two ways: %w", m.info.Port, m.info.Baud, ErrSum)
		}
	}
	return nil
}

// steadyWithoutPage asks for the parameters instead, as many bytes of them.
func (m *Module) steadyWithoutPage(ctx context.Context, asks int, sound func() error) error {
	for range asks {
		if _, err := m.do(ctx, ReadSysPara); err != nil {
			return err
		}
	}
	return sound()
}
