package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
		return headRecord{}, nil
	}
	_, h, err := tx.openEntry(k, sealed)
	return h, err
}

func (tx *Tx) openEntry(k, sealed []byte) (Entry, headRecord, error) {
	b, err := unseal(tx.s.device, bucketAudit, k, sealed)
	if err != nil {
		return Entry{}, headRecord{}, err
	}
	e, err := decode[Entry](b)
	if err == nil && !bytes.Equal(auditKey(e.Seq), k) {
		err = fmt.Errorf("store: audit entry %x says that it is number %d: %w", k, e.Seq, ErrCorrupt)
	}
	return e, headRecord{Seq: e.Seq, Hash: sha256.Sum256(b)}, err
}

// Audit returns at most limit entries after the one numbered after.
func (tx *Tx) Audit(after uint64, limit int) ([]Entry, error) {
	var entries []Entry
	c := tx.tx.Bucket(bucketAudit).Cursor()
	for k, v := c.Seek(auditKey(after + 1)); k != nil && len(entries) < limit; k, v = c.Next() {
		e, _, err := tx.openEntry(k, v)
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// AuditHead is the number and the hash of the newest entry.
func (tx *Tx) AuditHead() (uint64, Hash, error) {
	h, err := tx.newest()
	return h.Seq, h.Hash, err
}

// VerifyAudit walks the whole chain: every entry opens, is numbered without a
// gap and names the hash of the one before, and the newest is not older than
// the head that was kept outside. It names the first entry that is wrong.
func (tx *Tx) VerifyAudit() error {
	var last headRecord
	err := tx.each(bucketAudit, nil, func(k, v []byte) error {
		e, h, err := tx.openEntry(k, v)
		if err != nil {
			return err
		}
		if e.Seq != last.Seq+1 || e.Prev != last.Hash {
			return fmt.Errorf("store: the audit chain breaks at entry %d: it does not follow entry %d: %w", e.Seq, last.Seq, ErrCorrupt)
		}
		last = h
		return nil
	})
	if err != nil {
		return err
	}
	return tx.checkHead()
}
