package device

import (
	"errors"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/store"
)

// refusals are attempts that came to nothing before anything was compared, and
// are not in the audit chain yet: refused because somebody is locked out, left by
// the asker, not answered on the phone, or ended by a part that is not there. They are kept by the kind of
// attempt and its outcome. A stranger may knock as often as they like, and a lock
// screen before a broken camera asks all night: the chain, whose length is
// bounded, must not lose its old entries to that.
var refusals = store.Collection[refusal]("refused")

type refusal struct {
	Kind    string    `json:"kind"`
	Outcome string    `json:"outcome"`
	Reasons []string  `json:"reasons"`
	Of      time.Time `json:"of"`   // the last failure before a lock-out, which tells one from another
	Told    time.Time `json:"told"` // when the chain last heard of it
	Audit   uint64    `json:"audit"`
	Times   int       `json:"times"` // since then
}

func (r refusal) key() string { return r.Kind + "-" + r.Outcome }

const (
	outcomeRefused    = "refused"
	outcomeElsewhere  = "elsewhere"  // enrolled on another kind of finger module
	outcomeUnanswered = "unanswered" // somebody's phone was asked, and nobody answered there
)

// refusalsEvery is how often the chain hears of what goes on and on: an entry an
// hour, with how many it stands for.
const refusalsEvery = time.Hour

// refuse counts an attempt, and returns the number of the audit entry that tells
// of it: its own where it is the first.
func (d *Device) refuse(tx *store.Tx, user store.UserID, this refusal) (uint64, error) {
	now := d.hw.Now()
	r, err := refusals.Get(tx, user, this.key())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	since := now.Sub(r.Told)
	if err == nil && r.Of.Equal(this.Of) && since >= 0 && since < refusalsEvery {
		r.Times++
		return r.Audit, refusals.Put(tx, user, r.key(), r)
	}
	if err := d.tellRefusals(tx, user, r); err != nil {
		return 0, err
	}
	e, err := tx.Append(store.Entry{At: now, Kind: this.Kind, User: user, Outcome: this.Outcome, Reasons: this.Reasons})
	if err != nil {
		return 0, err
	}
	this.Of, this.Told, this.Audit = this.Of.UTC(), now.UTC(), e.Seq
	return e.Seq, refusals.Put(tx, user, this.key(), this)
}

// tellRefusals puts into the chain what was counted.
func (d *Device) tellRefusals(tx *store.Tx, user store.UserID, r refusal) error {
	if r.Times == 0 {
		return nil
	}
	_, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: r.Kind, User: user, Outcome: r.Outcome, Reasons: r.Reasons, Times: r.Times})
	return err
}

// endRefusals does that for the person, or for nobody, whose lock-out is over.
func (d *Device) endRefusals(tx *store.Tx, user store.UserID) error {
	all, err := refusals.Of(tx, user)
	for _, r := range all {
		if err == nil && r.Value.Outcome == outcomeRefused {
			err = errors.Join(d.tellRefusals(tx, user, r.Value), refusals.Delete(tx, user, r.Key))
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
			if err := d.tellRefusals(tx, r.User, r.Value); err != nil {
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
