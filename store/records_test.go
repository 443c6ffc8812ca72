package store

import (
	"errors"
	"testing"
)

type pin struct {
	Hash  []byte `json:"hash"`
	Tries int    `json:"tries"`
}

func (p pin) Check() error {
	if len(p.Hash) == 0 {
		return errors.New("a PIN without a hash")
	}
	return nil
}

var pins = Collection[pin]("pin")

func TestCollectionKeepsEachPersonsApart(t *testing.T) {
	v := newVault(t)
	alice, bob := v.person(t, "alice"), v.person(t, "bob")
	err := v.Update(func(tx *Tx) error {
		return errors.Join(
			pins.Put(tx, alice.ID, "1", pin{Hash: []byte("a"), Tries: 1}),
			pins.Put(tx, alice.ID, "1", pin{Hash: []byte("a"), Tries: 2}), // replaces
			pins.Put(tx, bob.ID, "1", pin{Hash: []byte("b")}),
			pins.Put(tx, "", "1", pin{Hash: []byte("nobody")}),
			Collection[int]("pi").Put(tx, bob.ID, "n", 3), // a kind that begins alike
			Collection[int]("pin0").Put(tx, alice.ID, "n", 3))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.View(func(tx *Tx) error {
		all, err := pins.All(tx)
		if err != nil || len(all) != 3 {
			t.Errorf("all: %+v, %v", all, err)
		}
		of, err := pins.Of(tx, alice.ID)
		if err != nil || len(of) != 1 || of[0].Value.Tries != 2 {
			t.Errorf("alice's: %+v, %v", of, err)
		}
		if of, err := pins.Of(tx, ""); err != nil || len(of) != 1 || string(of[0].Value.Hash) != "nobody" {
			t.Errorf("nobody's: %+v, %v", of, err)
		}
		_, err = pins.Get(tx, alice.ID, "2")
		wantErr(t, err, ErrNotFound)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, v.Update(func(tx *Tx) error { return pins.Put(tx, alice.ID, "1", pin{}) }), ErrInvalid)
	wantErr(t, v.Update(func(tx *Tx) error { return pins.Put(tx, NewUserID(), "1", pin{Hash: []byte("x")}) }), ErrNotFound)
	wantErr(t, v.View(func(tx *Tx) error { _, err := pins.All(tx); return err }), nil)

	// A value of another form, though properly sealed, is not taken.
	if err := v.Update(func(tx *Tx) error {
		return tx.PutRecord(Record{Kind: "pin", User: bob.ID, Key: "1", Value: []byte(`{"hash":"YQ==","tries":0,"more":1}`)})
	}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, v.View(func(tx *Tx) error { _, err := pins.Get(tx, bob.ID, "1"); return err }), ErrCorrupt)

	if _, err := v.Forget(alice.ID, noon); err != nil {
		t.Fatal(err)
	}
	if err := v.View(func(tx *Tx) error {
		for kind, want := range map[string]int{"pin": 2, "pi": 1, "pin0": 0} {
			n := 0
			if err := tx.each(bucketRecords, []byte(kind+"/"), func(_, _ []byte) error { n++; return nil }); err != nil {
				return err
			}
			if n != want {
				t.Errorf("%d records of kind %q after alice was forgotten, want %d", n, kind, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
