package store

import (
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// tamper changes the audit bucket below the running vault, as whoever writes to
// the card does.
func (v *testVault) tamper(t *testing.T, f func(b *bbolt.Bucket) error) {
	t.Helper()
	if err := v.db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket(bucketAudit)) }); err != nil {
		t.Fatal(err)
	}
}

func TestTheEndOfTheChainIsVerifiedAtTheCostOfWhatIsNew(t *testing.T) {
	v := newVault(t)
	v.audit(t, 200)
	unsealed := func() float64 { // an entry of the chain costs dozens of allocations, what is asked of the end a few
		return testing.AllocsPerRun(3, func() {
			if err := v.View((*Tx).VerifyAuditEnd); err != nil {
				t.Fatal(err)
			}
		})
	}
	whole := testing.AllocsPerRun(3, func() {
		if err := v.View((*Tx).VerifyAudit); err != nil {
			t.Fatal(err)
		}
	})
	if end := unsealed(); end > whole/10 {
		t.Errorf("%v allocations, the whole chain takes %v", end, whole)
	}
}

func TestATamperedChainIsFoundAlthoughItWasWalked(t *testing.T) {
	read := func(tx *Tx) error {
		_, err := tx.Audit(0, 100)
		return err
	}
	for _, tt := range []struct {
		name   string
		tamper func(b *bbolt.Bucket) error
		end    bool // whether a look at the end alone finds it
	}{
		{"an old entry is damaged", func(b *bbolt.Bucket) error {
			v := append([]byte(nil), b.Get(auditKey(5))...)
			v[30] ^= 1
			return b.Put(auditKey(5), v)
		}, false},
		{"an old entry is gone", func(b *bbolt.Bucket) error { return b.Delete(auditKey(5)) }, false},
		{"two entries change places", func(b *bbolt.Bucket) error {
			x, y := append([]byte(nil), b.Get(auditKey(5))...), append([]byte(nil), b.Get(auditKey(6))...)
			return errors.Join(b.Put(auditKey(5), y), b.Put(auditKey(6), x))
		}, false},
		{"the last entry is gone", func(b *bbolt.Bucket) error { return b.Delete(auditKey(20)) }, true},
		{"the last entry is another", func(b *bbolt.Bucket) error {
			return b.Put(auditKey(20), append([]byte(nil), b.Get(auditKey(19))...))
		}, true},
		{"the last three are gone", func(b *bbolt.Bucket) error {
			return errors.Join(b.Delete(auditKey(20)), b.Delete(auditKey(19)), b.Delete(auditKey(18)))
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVault(t)
			v.audit(t, 20)
			if err := v.View((*Tx).VerifyAuditEnd); err != nil {
				t.Fatal(err)
			}
			v.tamper(t, tt.tamper)
			named := func(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrRolledBack) }
			if err := v.View((*Tx).VerifyAudit); !named(err) {
				t.Errorf("the whole chain: %v", err)
			}
			if err := v.View((*Tx).VerifyAuditEnd); named(err) != tt.end {
				t.Errorf("its end: %v", err)
			}
			if err := v.View(read); !tt.end && !named(err) {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestAPageOfTheAuditFollowsFromTheOneBefore(t *testing.T) {
	v := newVault(t)
	v.audit(t, 20)
	if err := v.View((*Tx).VerifyAuditEnd); err != nil {
		t.Fatal(err)
	}
	v.audit(t, 5)
	v.prune(t, 10) // 16 to 25 are left
	if err := v.View(func(tx *Tx) error {
		for _, tt := range []struct {
			after       uint64
			limit       int
			first, last uint64
		}{{0, 100, 16, 25}, {0, 3, 16, 18}, {15, 3, 16, 18}, {18, 100, 19, 25}, {24, 5, 25, 25}, {25, 5, 0, 0}, {99, 5, 0, 0}, {0, 0, 0, 0}} {
			es, err := tx.Audit(tt.after, tt.limit)
			if err != nil {
				return err
			}
			if tt.first == 0 {
				if len(es) != 0 {
					t.Errorf("after %d: %d entries", tt.after, len(es))
				}
			} else if len(es) == 0 || es[0].Seq != tt.first || es[len(es)-1].Seq != tt.last {
				t.Errorf("after %d, at most %d: %+v", tt.after, tt.limit, es)
			}
		}
		return tx.VerifyAuditEnd()
	}); err != nil {
		t.Fatal(err)
	}
}

func (v *testVault) prune(t *testing.T, keep int) {
	t.Helper()
	if err := v.Update(func(tx *Tx) error {
		_, err := tx.PruneAudit(keep, noon, func(Checkpoint) (string, error) { return "signed", nil })
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
