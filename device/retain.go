package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/store"
)

// Retention is how long people are kept (GDPR Art. 5 (1) e; BIPA sec. 15 (a): a
// written schedule, at most three years after the last interaction). The zero
// Retention keeps everybody until they are forgotten by hand.
type Retention struct {
	Unused   time.Duration // after the last time that they were let in; 0 = no limit
	Longest  time.Duration // after they were enrolled, however often they come; 0 = no limit
	Announce time.Duration // how long before it is announced; nobody is erased without
	Entries  int           // audit entries that are kept; 0 = all
}

// End is when the person is to be erased; zero for never.
func (r Retention) End(p store.Person) time.Time {
	var end time.Time
	limit := func(from time.Time, d time.Duration) {
		if t := from.Add(d); d > 0 && (end.IsZero() || t.Before(end)) {
			end = t
		}
	}
	used := p.Created
	if p.LastUsed.After(used) {
		used = p.LastUsed
	}
	limit(used, r.Unused)
	limit(p.Created, r.Longest)
	if !end.IsZero() && end.Before(p.Ends) { // nobody is erased sooner than was announced
		return p.Ends
	}
	return end
}

// Due is End as it stands now, with the time in which it is to be announced, and
// whether no use puts it off.
func (r Retention) Due(p store.Person, now time.Time) (end time.Time, anyway bool) {
	end = r.End(p)
	if end.IsZero() {
		return end, false
	}
	if soonest := now.Add(r.Announce); !end.Equal(p.Ends) && end.Before(soonest) {
		end = soonest
	}
	p.LastUsed = end
	used := r.End(p)
	return end, !used.IsZero() && !used.After(end)
}

// sweepEvery is how often Keep looks.
const sweepEvery = 6 * time.Hour

// Keep holds to the retention until the context ends: at once and then every
// few hours it announces, erases, and prunes the audit chain.
func (d *Device) Keep(ctx context.Context, r Retention) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := d.Sweep(ctx, r); err != nil && ctx.Err() == nil {
			d.opts.Log.Error("the retention could not be held to; it is tried again", "in", sweepEvery, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ClockTrusted tells whether the kernel's clock follows a time server
// (adjtimex(2)). A Pi's clock is anything until then.
func ClockTrusted() bool {
	state, err := unix.Adjtimex(&unix.Timex{})
	return err == nil && state != unix.TIME_ERROR
}

// Sweep does what is due now, and first what an erasure was kept from. While the
// clock is not trusted nobody is announced or erased. What goes wrong with one
// keeps nothing from the others: the errors of all are joined.
func (d *Device) Sweep(ctx context.Context, r Retention) error {
	err := errors.Join(d.vault.Finish(), d.flushRefusals("", true), d.prune(r.Entries))
	if err != nil {
		err = fmt.Errorf("device: %w", err)
	}
	return errors.Join(err, d.retain(ctx, r))
}

func (d *Device) retain(ctx context.Context, r Retention) error {
	if r.Unused <= 0 && r.Longest <= 0 {
		return nil
	}
	if !d.hw.ClockTrusted() {
		d.opts.Log.Info("the clock follows no time server, so nobody's retention ends now")
		return nil
	}
	now := d.hw.Now()
	var announce []store.Person
	var erase []store.UserID
	var wrong error
	err := d.vault.View(func(tx *store.Tx) error {
		users, err := tx.Users()
		for _, user := range users {
			p, err := tx.Person(user)
			if err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("device: retention of %s: %w", user, err))
				continue
			}
			switch end := r.End(p); {
			case end.IsZero() || now.Before(end.Add(-r.Announce)):
			case !end.Equal(p.Ends): // not announced, or used since
				announce = append(announce, p)
			case !now.Before(end):
				erase = append(erase, p.ID)
			}
		}
		return err
	})
	if err != nil {
		return errors.Join(wrong, fmt.Errorf("device: retention: %w", err))
	}
	for _, p := range announce {
		ends, _ := r.Due(p, now)
		wrong = errors.Join(wrong, d.announce(p.ID, now, ends))
	}
	for _, user := range erase {
		if ctx.Err() != nil {
			return errors.Join(wrong, ctx.Err())
		}
		err := d.vault.Update(func(tx *store.Tx) error {
			_, err := tx.Append(store.Entry{At: now, Kind: "retention", User: user, Outcome: "ended"})
			return err
		})
		if err == nil {
			_, err = d.Forget(ctx, user)
		}
		if err != nil && !errors.Is(err, ErrUnknown) {
			wrong = errors.Join(wrong, fmt.Errorf("device: retention of %s: %w", user, err))
		}
	}
	return wrong
}

func (d *Device) announce(user store.UserID, now, ends time.Time) error {
	err := d.vault.Update(func(tx *store.Tx) error {
		p, err := tx.Person(user)
		if errors.Is(err, store.ErrNotFound) {
			return nil // forgotten meanwhile
		}
		if err != nil {
			return err
		}
		p.Ends = ends.UTC()
		if err := tx.PutPerson(p); err != nil {
			return err
		}
		_, err = tx.Append(store.Entry{At: now, Kind: "retention", User: user, Outcome: "announced"})
		return err
	})
	if err != nil {
		return fmt.Errorf("device: retention of %s: %w", user, err)
	}
	d.send(Event{Kind: "retention", User: user, Outcome: "announced"})
	return nil
}

// prune keeps the audit chain to so many entries.
func (d *Device) prune(keep int) error {
	for keep > 0 {
		n := 0
		err := d.vault.Update(func(tx *store.Tx) (err error) {
			n, err = tx.PruneAudit(keep, d.hw.Now(), d.base)
			return err
		})
		if err != nil {
			return fmt.Errorf("device: audit: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
	return nil
}
