package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// vaultKey is the root key: it seals what is no person's, and keys the digest.
type vaultKey struct {
	cipher.AEAD
	mac []byte
}

func newVaultKey(root []byte) *vaultKey {
	mac, err := hkdf.Expand(sha256.New, root, "faceprint digest of the records", sha256.Size)
	if err != nil {
		panic(err) // of more bytes than it can give
	}
	return &vaultKey{newAEAD(root), mac}
}

// wipe ends the key's use; nothing of the vault may use it any more.
func (k *vaultKey) wipe() {
	wipe(k.AEAD)
	clear(k.mac)
}

// A seal tells that a record was written where it stands, not that it is the
// last one that was: whoever writes to the card could put an older one back. So
// the vault keeps a digest of which records there are, sealed beside its commit
// counter, and checks it when it is opened. It is the exclusive or of what
// HMAC-SHA-256 makes of each record's place, nonce and tag (MSet-XOR-Hash of
// Clarke et al., ASIACRYPT 2003, of a set: no place comes twice), so that a
// commit costs what it changes. The audit chain is bound by its newest hash
// instead.
type digester struct {
	mac hash.Hash
	sum Hash
	b   []byte
}

func newDigester(k *vaultKey) *digester { return &digester{mac: hmac.New(sha256.New, k.mac)} }

// toggle adds the record to what the digest is of, or takes it away again.
func (d *digester) toggle(bucket, key, sealed []byte) {
	d.b = append(append(append(d.b[:0], bucket...), 0), key...) // a bucket's name has no zero byte
	if n := len(sealed); n > leastSealed {
		d.b = append(append(d.b, sealed[:chacha20poly1305.NonceSizeX]...), sealed[n-chacha20poly1305.Overhead:]...)
	} else {
		d.b = append(d.b, sealed...)
	}
	d.mac.Reset()
	d.mac.Write(d.b)
	d.b = d.mac.Sum(d.b[:0])
	subtle.XORBytes(d.sum[:], d.sum[:], d.b)
}

// digested tells whether a record is in the digest: all are but the audit chain,
// what is not sealed with the vault's keys, and the digest itself.
func digested(bucket, key []byte) bool {
	if bytes.Equal(bucket, bucketMeta) {
		return !bytes.Equal(key, keySchema) && !bytes.Equal(key, keyRoot) && !bytes.Equal(key, keyState)
	}
	return !bytes.Equal(bucket, bucketAudit)
}

// toggle notes that a record comes, or goes, with the transaction.
func (tx *Tx) toggle(bucket, key, sealed []byte) {
	if sealed == nil || !digested(bucket, key) {
		return
	}
	if tx.digest == nil {
		tx.digest = newDigester(tx.s.root)
	}
	tx.digest.toggle(bucket, key, sealed)
}

// state is what the vault is as of one commit.
type state struct {
	Commit uint64 `json:"commit"` // how often it was written
	Seq    uint64 `json:"seq"`    // newest audit entry, 0 for none
	Hash   Hash   `json:"hash"`   // of that entry
	Digest Hash   `json:"digest"` // of the other records
}

func (s state) check() error { return nil }

func (tx *Tx) state() (state, error) {
	b, err := tx.get(bucketMeta, keyState)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("store: vault %s states no commit: %w", tx.s.path, ErrCorrupt)
	}
	if err != nil {
		return state{}, err
	}
	return decode[state](b)
}

// putState ends a transaction whose head is h; before is the state that it began
// with.
func (tx *Tx) putState(before state, h headRecord) error {
	s := state{Commit: h.Commit, Seq: h.Seq, Hash: h.Hash, Digest: before.Digest}
	if tx.digest != nil {
		subtle.XORBytes(s.Digest[:], s.Digest[:], tx.digest.sum[:])
		tx.digest.sum = Hash{}
	}
	b, err := encode(s)
	if err != nil {
		return err
	}
	return tx.put(bucketMeta, keyState, b)
}

// checkState finds records that are not those of the last commit: hidden by a
// page that states too few or by a key that sorts them elsewhere, or put back
// from an older copy.
func (tx *Tx) checkState() error {
	want, err := tx.state()
	if err != nil {
		return err
	}
	d := newDigester(tx.s.root)
	for _, bucket := range buckets {
		if !digested(bucket, nil) && !bytes.Equal(bucket, bucketMeta) {
			continue
		}
		var last []byte
		if err := tx.each(bucket, nil, func(k, sealed []byte) error {
			if last != nil && bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("store: vault %s: the record %s/%.40q is not in its place: %w", tx.s.path, bucket, k, ErrCorrupt)
			}
			last = k
			// As a damaged page states. One that is shorter than a seal could have the
			// rest of it in its key, and be digested like the record that it hides.
			if len(k) > maxKey || len(sealed) > largest(bucket, k) || digested(bucket, k) && len(sealed) < leastSealed {
				return fmt.Errorf("store: vault %s: the record %s/%.32x of %d bytes is none: %w", tx.s.path, bucket, k, len(sealed), ErrCorrupt)
			}
			if digested(bucket, k) {
				d.toggle(bucket, k, sealed)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	end, err := tx.newest()
	if err != nil {
		return err
	}
	what := ""
	switch {
	case end.Seq != want.Seq:
		what = fmt.Sprintf("the audit chain ends with entry %d, and did with %d", end.Seq, want.Seq)
	case end.Hash != want.Hash:
		what = fmt.Sprintf("audit entry %d, the last, is another than it was", end.Seq)
	case d.sum != want.Digest:
		subtle.XORBytes(d.sum[:], d.sum[:], want.Digest[:])
		if what, err = tx.which(d.sum); err != nil {
			return err
		}
	default:
		return nil
	}
	return fmt.Errorf("store: what is in the vault %s is not what was last written there: %s; the card fails, or somebody put older records back: restore it from a backup: %w", tx.s.path, what, ErrCorrupt)
}

// which says which record is not what was last written, where that can be told,
// of the digest of those that came and went unasked.
func (tx *Tx) which(differs Hash) (what string, err error) {
	one := newDigester(tx.s.root)
	for _, bucket := range buckets {
		if err := tx.each(bucket, nil, func(k, sealed []byte) error {
			if !digested(bucket, k) {
				return nil
			}
			one.sum = Hash{}
			if one.toggle(bucket, k, sealed); one.sum == differs {
				what = fmt.Sprintf("%s/%.40q was not there", bucket, k)
			}
			if user := ownerOf(bucket, k); what == "" && user != "" && tx.tx.Bucket(bucketKeys).Get([]byte(user)) == nil {
				what = fmt.Sprintf("the key of %.40q is gone", user)
			}
			return nil
		}); err != nil {
			return "", err
		}
	}
	if what != "" {
		return what, nil
	}
	if err := tx.readAll(); err != nil { // what does not open, or is missed by what stands beside it
		if interrupted(tx.ctx) != nil {
			return "", err
		}
		return strings.TrimSuffix(strings.TrimPrefix(err.Error(), "store: "), ": "+ErrCorrupt.Error()), nil
	}
	return "which record cannot be told: an older one stands in its place, or one is gone that no other needs", nil
}
