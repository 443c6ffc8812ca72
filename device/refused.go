package device

import (
	"errors"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/store"
)

// refusals are what was refused unseen, because somebody is locked out, and is
// not in the audit chain yet, by the kind of attempt. A stranger may knock as
// often as they like: the chain, whose length is bounded, must not lose its old
// entries to that.
var refusals = store.Collection[refusal]("refused")

type refusal struct {
	Of      time.Time `json:"of"`   // the last failure before the lock-out, which tells one from another
	Told    time.Time `json:"told"` // when the chain last heard of it
	Audit   uint64    `json:"audit"`
	Times   int       `json:"times"` // since then
	Reasons []string  `json:"reasons"`
}

// refusalsEvery is how often the chain hears of a lock-out that somebody goes on
// trying: an entry an hour, with how many it stands for.
const refusalsEvery = time.Hour

// refuse counts an attempt that a lock-out refuses, and returns the number of
// the audit entry that tells of it: its own where it is the first.
func (d *Device) refuse(tx *store.Tx, user store.UserID, kind string, of time.Time, reasons []string) (uint64, error) {
	now := d.hw.Now()
	r, err := refusals.Get(tx, user, kind)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	since := now.Sub(r.Told)
	if err == nil && r.Of.Equal(of) && since >= 0 && since < refusalsEvery {
		r.Times++
		return r.Audit, refusals.Put(tx, user, kind, r)
	}
	if err := d.tellRefusals(tx, user, kind, r); err != nil {
		return 0, err
	}
	e, err := tx.Append(store.Entry{At: now, Kind: kind, User: user, Outcome: "refused", Reasons: reasons})
	if err != nil {
		return 0, err
	}
	return e.Seq, refusals.Put(tx, user, kind, refusal{Of: of.UTC(), Told: now.UTC(), Audit: e.Seq, Reasons: reasons})
}

// tellRefusals puts into the chain what was counted.
func (d *Device) tellRefusals(tx *store.Tx, user store.UserID, kind string, r refusal) error {
	if r.Times == 0 {
		return nil
	}
	_, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: kind, User: user, Outcome: "refused", Reasons: r.Reasons, Times: r.Times})
	return err
}

// endRefusals does that for all of the person's, or of nobody's, whose lock-out
// is over.
func (d *Device) endRefusals(tx *store.Tx, user store.UserID) error {
	all, err := refusals.Of(tx, user)
	for _, r := range all {
		if err == nil {
			err = errors.Join(d.tellRefusals(tx, user, r.Key, r.Value), refusals.Delete(tx, user, r.Key))
		}
	}
	return err
}

// flushRefusals puts into the chain what was counted of the person, so that it
// outlives them, or of everybody where all is true.
func (d *Device) flushRefusals(user store.UserID, all bool) error {
	var found []store.Member[refusal]
	read := func(tx *store.Tx) (err error) {
		if all {
			found, err = refusals.All(tx)
		} else {
			found, err = refusals.Of(tx, user)
		}
		return err
	}
	if err := d.vault.View(read); err != nil {
		return fmt.Errorf("device: refusals: %w", err)
	}
	due := false
	for _, r := range found {
		due = due || r.Value.Times > 0
	}
	if !due {
		return nil // no commit for nothing
	}
	err := d.vault.Update(func(tx *store.Tx) error {
		if err := read(tx); err != nil {
			return err
		}
		for _, r := range found {
			if err := d.tellRefusals(tx, r.User, r.Key, r.Value); err != nil {
				return err
			}
			r.Value.Times = 0
			if err := refusals.Put(tx, r.User, r.Key, r.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("device: refusals: %w", err)
	}
	return nil
}
