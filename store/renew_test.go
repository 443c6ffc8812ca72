package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// faceSize is how many numbers a face of these tests has.
const faceSize = 64

func vector(numbers ...float32) []byte {
	var b []byte
	for _, x := range numbers {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// unit is a face whose i-th number is 1.
func unit(i int) []byte {
	v := make([]float32, faceSize)
	v[i%faceSize] = 1
	return vector(v...)
}

// plain is the face of a template that was read.
func plain(t Template) []float32 {
	v, err := floats(t)
	if err == nil {
		v, err = t.Isometry.Back(v)
	}
	if err != nil {
		panic(err)
	}
	return v
}

// hottest is the largest number of a face, which unit made 1.
func hottest(t Template) (at int) {
	v := plain(t)
	for i, x := range v {
		if x > v[at] {
			at = i
		}
	}
	return at
}

func (v *testVault) face(t *testing.T, user UserID, id string, i int) {
	t.Helper()
	data := unit(i)
	err := v.Update(func(tx *Tx) error {
		_, err := tx.AddTemplate(Template{ID: id, User: user, Kind: KindFace, Model: "m", Created: noon, Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, unit(i)) {
		t.Error("the caller's data was changed")
	}
}

// faces reads the data of everybody's faces as it is kept, by user and id.
func (v *testVault) faces(t *testing.T) map[string][]byte {
	t.Helper()
	kept := map[string][]byte{}
	if err := v.View(func(tx *Tx) error {
		ts, err := tx.Templates(KindFace)
		for _, t := range ts {
			kept[string(t.User)+"/"+t.ID] = t.Data
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return kept
}

// alike is the largest cosine of two of the stored vectors.
func alike(t *testing.T, a, b []byte) float64 {
	t.Helper()
	x, err := floats(Template{Data: a})
	y, err2 := floats(Template{Data: b})
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	s := 0.0
	for i := range x {
		s += float64(x[i]) * float64(y[i])
	}
	return s
}

// Five and a half standard deviations of the cosine of random vectors.
const likeRandom = 5.5 / 8

func TestFacesAreKeptTurnedEachInItsOwnWay(t *testing.T) {
	v := newVault(t)
	a, b := v.person(t, "a"), v.person(t, "b")
	for _, p := range []Person{a, b} {
		v.face(t, p.ID, "1", 5)
		v.face(t, p.ID, "2", 5)
	}
	kept := v.faces(t)
	kept["as it was"] = unit(5)
	for i, x := range kept {
		for j, y := range kept {
			if c := alike(t, x, y); i != j && math.Abs(c) > likeRandom {
				t.Errorf("%s and %s of one face are alike by %.2f", i, j, c)
			}
		}
	}
}

func TestRenewalRevokesAndEnrolsNobodyAgain(t *testing.T) {
	v := newVault(t)
	a, b := v.person(t, "a"), v.person(t, "b")
	v.face(t, a.ID, "1", 3)
	v.face(t, b.ID, "1", 4)
	v.template(t, a.ID, []byte("a finger"))
	before, was, leaked := v.faces(t), v.whole(t), sealedTemplates(t, v)
	for _, tt := range []struct {
		who  UserID
		want int
	}{{a.ID, 1}, {"", 2}} {
		n, err := v.Renew(t.Context(), tt.who, noon)
		if err != nil || n != tt.want {
			t.Fatalf("%d renewed, %v", n, err)
		}
		after := v.faces(t)
		for k, x := range before {
			renewed := tt.who == "" || strings.HasPrefix(k, string(tt.who))
			if c := alike(t, x, after[k]); renewed && math.Abs(c) > likeRandom || !renewed && c < 0.999 {
				t.Errorf("renewed %q: what leaked of %s is alike by %.2f", tt.who, k, c)
			}
		}
	}
	if got := unaudited(v.whole(t), "renew"); got != was {
		t.Errorf("after:\n%s\nbefore:\n%s", got, was)
	}
	file, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range leaked {
		if bytes.Contains(file, b) {
			t.Errorf("face %d of before is still in the file", i)
		}
	}
	if err := v.reopen(t); err != nil {
		t.Fatal(err)
	}
	if got := unaudited(v.whole(t), "renew"); got != was {
		t.Errorf("after reopening:\n%s\nbefore:\n%s", got, was)
	}
	_, err = v.Renew(t.Context(), NewUserID(), noon)
	wantErr(t, err, ErrNotFound)
}

// sealedTemplates are the face templates as they stand in the file.
func sealedTemplates(t *testing.T, v *testVault) (sealed [][]byte) {
	t.Helper()
	if err := v.View(func(tx *Tx) error {
		return tx.each(bucketTemplates, nil, func(k, b []byte) error {
			if strings.HasSuffix(string(k), "/1") {
				sealed = append(sealed, bytes.Clone(b))
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 2 {
		t.Fatalf("%d faces", len(sealed))
	}
	return sealed
}

func TestRotationRenewsFacesToo(t *testing.T) {
	v := newVault(t)
	a := v.person(t, "a")
	v.face(t, a.ID, "1", 3)
	before, was := v.faces(t), v.whole(t)
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := unaudited(v.whole(t), "rotate-keys"); got != was {
		t.Errorf("after:\n%s\nbefore:\n%s", got, was)
	}
	for k, x := range v.faces(t) {
		if c := alike(t, x, before[k]); math.Abs(c) > likeRandom {
			t.Errorf("what leaked of %s is alike by %.2f", k, c)
		}
	}
}

func TestAMissingSeedIsDamage(t *testing.T) {
	v := newVault(t)
	a := v.person(t, "a")
	v.face(t, a.ID, "1", 3)
	if err := v.Update(func(tx *Tx) error { return tx.delete(bucketSeeds, []byte(a.ID)) }); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(tx *Tx) error{
		"verify": (*Tx).Verify,
		"read":   func(tx *Tx) error { _, err := tx.TemplatesOf(a.ID, KindFace); return err },
	} {
		if err := v.View(f); err == nil || !strings.Contains(fmt.Sprint(err), "seed of") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
