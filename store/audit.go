package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

func auditKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// Append adds an entry to the chain and returns it with its number.
func (tx *Tx) Append(e Entry) (Entry, error) {
	last, err := tx.newest()
	if err != nil {
		return e, err
	}
	e.Seq, e.Prev = last.Seq+1, last.Hash
	e.At = e.At.UTC()
	b, err := encode(e)
	if err != nil {
		return e, err
	}
	if err := tx.put(bucketAudit, auditKey(e.Seq), b); err != nil {
		return e, err
	}
	return e, nil
}

// newest finds the end of the chain as the vault has it.
func (tx *Tx) newest() (headRecord, error) {
	k, sealed := tx.tx.Bucket(bucketAudit).Cursor().Last()
	if k == nil {
		base, err := tx.Base()
		return headRecord{Seq: base.Seq, Hash: base.Hash}, err
	}
	_, h, err := tx.openEntry(k, sealed)
	return h, err
}

func (tx *Tx) openEntry(k, sealed []byte) (Entry, headRecord, error) {
	b, err := unseal(tx.s.root, bucketAudit, k, sealed)
	if err != nil {
		return Entry{}, headRecord{}, err
	}
	e, err := decode[Entry](b)
	if err == nil && !bytes.Equal(auditKey(e.Seq), k) {
		err = fmt.Errorf("store: audit entry %x says that it is number %d: %w", k, e.Seq, ErrCorrupt)
	}
	return e, headRecord{Seq: e.Seq, Hash: sha256.Sum256(b)}, err
}

// Audit returns at most limit entries after the one numbered after, each of
// which was found to follow from the one before.
func (tx *Tx) Audit(after uint64, limit int) ([]Entry, error) {
	base, err := tx.Base()
	if err != nil || limit <= 0 {
		return nil, err
	}
	last := headRecord{Seq: base.Seq, Hash: base.Hash}
	if after > base.Seq {
		v := tx.tx.Bucket(bucketAudit).Get(auditKey(after))
		if v == nil {
			return nil, nil // beyond the end
		}
		if _, last, err = tx.openEntry(auditKey(after), v); err != nil {
			return nil, err
		}
	}
	var entries []Entry
	err = tx.chain(last, func(e Entry) bool {
		entries = append(entries, e)
		return len(entries) < limit
	})
	return entries, err
}

// chain walks the entries after last until f is false, and checks that each
// opens, is numbered without a gap and names the hash of the one before.
func (tx *Tx) chain(last headRecord, f func(Entry) bool) error {
	c := tx.tx.Bucket(bucketAudit).Cursor()
	for k, v := c.Seek(auditKey(last.Seq + 1)); k != nil; k, v = c.Next() {
		if err := interrupted(tx.ctx); err != nil {
			return err
		}
		e, h, err := tx.openEntry(k, v)
		if err != nil {
			return err
		}
		if e.Seq != last.Seq+1 || e.Prev != last.Hash {
			return fmt.Errorf("store: the audit chain breaks at entry %d: it does not follow entry %d: %w", e.Seq, last.Seq, ErrCorrupt)
		}
		if last = h; !f(e) {
			return nil
		}
	}
	return nil
}

// AuditHead is the number and the hash of the newest entry.
func (tx *Tx) AuditHead() (uint64, Hash, error) {
	h, err := tx.newest()
	return h.Seq, h.Hash, err
}

// VerifyAudit walks the whole chain, from the checkpoint that it begins with
// where older entries were pruned: every entry opens, is numbered without a
// gap and names the hash of the one before, and the newest is not older than
// the head that was kept outside. It names the first entry that is wrong.
func (tx *Tx) VerifyAudit() error {
	base, err := tx.Base()
	if err != nil {
		return err
	}
	return tx.verifyFrom(headRecord{Seq: base.Seq, Hash: base.Hash})
}

// VerifyAuditEnd walks what came to the chain since this process last walked it:
// where that ended must still be what it was, and the rest as in VerifyAudit.
// What was walked before is looked at again by Audit, when it is read, and by
// VerifyAudit; it costs what is new, not what there is.
func (tx *Tx) VerifyAuditEnd() error {
	base, err := tx.Base()
	if err != nil {
		return err
	}
	tx.s.heads.Lock()
	last := tx.s.walked
	tx.s.heads.Unlock()
	if last.Seq <= base.Seq {
		return tx.VerifyAudit() // the first time, or all that was walked is pruned
	}
	newest, err := tx.newest()
	if err != nil {
		return err
	}
	if newest.Seq < last.Seq {
		return tx.VerifyAudit() // this transaction is older than that walk, or entries are gone
	}
	v := tx.tx.Bucket(bucketAudit).Get(auditKey(last.Seq))
	if v == nil {
		return fmt.Errorf("store: audit entry %d, which was there, is gone: %w", last.Seq, ErrCorrupt)
	}
	_, h, err := tx.openEntry(auditKey(last.Seq), v)
	if err != nil {
		return err
	}
	if h.Hash != last.Hash {
		return fmt.Errorf("store: audit entry %d is not the one that was there: %w", last.Seq, ErrCorrupt)
	}
	return tx.verifyFrom(last)
}

// verifyFrom walks the rest of the chain and remembers where it ends.
func (tx *Tx) verifyFrom(last headRecord) error {
	end, err := tx.newest()
	if err != nil {
		return err
	}
	if err := tx.chain(last, func(Entry) bool { return true }); err != nil {
		return err
	}
	if err := tx.checkHead(); err != nil {
		return err
	}
	tx.s.heads.Lock()
	defer tx.s.heads.Unlock()
	if end.Seq > tx.s.walked.Seq {
		tx.s.walked = end
	}
	return nil
}

// Checkpoint stands for the entries up to one number: whoever has an export of
// them can check it against the hash.
type Checkpoint struct {
	Seq    uint64    `json:"seq"`
	Hash   Hash      `json:"hash"` // of entry Seq, and so of all before it
	At     time.Time `json:"at"`
	Signed string    `json:"signed,omitempty"` // by the device, in a form of its own
}

func (c Checkpoint) check() error {
	if c.Seq == 0 || c.At.IsZero() {
		return fmt.Errorf("store: a checkpoint without a number or a time: %w", ErrInvalid)
	}
	return nil
}

// Base is the checkpoint that the chain begins with; zero where nothing was
// pruned.
func (tx *Tx) Base() (Checkpoint, error) {
	b, err := tx.get(bucketMeta, keyBase)
	if errors.Is(err, ErrNotFound) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return decode[Checkpoint](b)
}

// pruneBatch bounds one transaction.
const pruneBatch = 5000

// PruneAudit removes the oldest entries beyond keep, at most some thousands in
// one transaction, and begins the chain with a checkpoint that sign signed. It
// returns how many it removed; call it until that is 0.
func (tx *Tx) PruneAudit(keep int, at time.Time, sign func(Checkpoint) (string, error)) (int, error) {
	newest, err := tx.newest()
	if err != nil {
		return 0, err
	}
	base, err := tx.Base()
	if err != nil {
		return 0, err
	}
	n := min(int64(newest.Seq-base.Seq)-int64(max(keep, 1)), pruneBatch)
	if n <= 0 {
		return 0, nil
	}
	last := base.Seq + uint64(n)
	v := tx.tx.Bucket(bucketAudit).Get(auditKey(last))
	if v == nil {
		return 0, fmt.Errorf("store: there is no audit entry %d: %w", last, ErrCorrupt)
	}
	_, h, err := tx.openEntry(auditKey(last), v)
	if err != nil {
		return 0, err
	}
	c := Checkpoint{Seq: last, Hash: h.Hash, At: at.UTC()}
	if c.Signed, err = sign(c); err != nil {
		return 0, err
	}
	b, err := encode(c)
	if err != nil {
		return 0, err
	}
	var gone []UserID
	whole := true
	for seq := base.Seq + 1; seq <= last; seq++ {
		e, _, err := tx.openEntry(auditKey(seq), tx.tx.Bucket(bucketAudit).Get(auditKey(seq)))
		switch {
		case err != nil:
			whole = false // damaged
		case e.Kind == "forget":
			gone = append(gone, e.User)
		}
		if err := tx.delete(bucketAudit, auditKey(seq)); err != nil {
			return 0, err
		}
	}
	if err := tx.keepForgotten(gone, whole); err != nil { // before the base moves
		return 0, err
	}
	return int(n), tx.put(bucketMeta, keyBase, b)
}

// Verify reads everything in the vault.
func (tx *Tx) Verify() error {
	if err := tx.checkState(); err != nil {
		return err
	}
	if err := tx.readAll(); err != nil {
		return err
	}
	return tx.VerifyAudit()
}

// readAll opens every record but the audit chain's.
func (tx *Tx) readAll() error {
	users, err := tx.Users()
	if err != nil {
		return err
	}
	for _, user := range append(users, "") {
		if _, err := tx.Lockout(user); err != nil {
			return err
		}
		if user == "" {
			continue
		}
		if _, err := tx.Person(user); err != nil {
			return err
		}
		templates, err := tx.TemplatesOf(user, 0)
		if err != nil {
			return err
		}
		for i := range templates {
			templates[i].Wipe()
		}
	}
	kinds, err := tx.recordKinds()
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		rs, err := tx.Records(kind)
		for _, r := range rs {
			clear(r.Value)
		}
		if err != nil {
			return err
		}
	}
	return tx.each(bucketSecrets, nil, func(k, v []byte) error {
		b, err := unseal(tx.s.root, bucketSecrets, k, v)
		clear(b)
		return err
	})
}
