package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// A phone's history says how many attempts an entry stands for, as the kiosk's
// does, and nothing of how near somebody came, nor of the chain.
func TestPhonesHistoryTellsHowOften(t *testing.T) {
	dir := t.TempDir()
	v, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	now := time.Now().UTC()
	alice := store.NewUserID()
	err = v.Update(func(tx *store.Tx) error {
		if err := tx.AddPerson(store.Person{ID: alice, Name: "Alice", Created: now, Consent: store.Consent{At: now, TextVersion: "1", Language: "en"}}); err != nil {
			return err
		}
		_, err := tx.Append(store.Entry{At: now, Kind: "identify", User: alice, Outcome: "unanswered", Reasons: []string{"phone-missing"}, Scores: map[string]float64{"face": 0.7}, Times: 7})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := phoneVault{v, new(names)}.History(string(alice), 0, 10)
	if err != nil || len(found) != 1 || found[0].Times != 7 || found[0].Scores != nil || found[0].Prev != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

// A phone may be anywhere: it hears what its person is to do before the device, and
// not whether somebody is there, how many, and what of them is seen.
func TestAPhoneHearsNothingOfWhoIsThere(t *testing.T) {
	var told []string
	tell := outward(func(e client.Event) { told = append(told, e.Kind+" "+e.Step+" "+e.Hint) })
	tell(device.Event{Kind: "begun"})
	for h := vision.HintNoFace; h.String() != "unknown"; h++ {
		tell(device.Event{Kind: "hint", Step: device.Face, Hint: h.String()})
		tell(device.Event{Kind: "progress", Step: device.Face, Done: 1, Of: 5})
	}
	fingers := []sensor.Hint{sensor.HintNoFinger, sensor.HintAgain, sensor.HintClean, sensor.HintFlat, sensor.HintLift, sensor.HintSame, sensor.HintLonger, sensor.HintOther, sensor.HintAnew}
	for _, h := range fingers {
		tell(device.Event{Kind: "hint", Step: device.Finger, Hint: string(h)})
		tell(device.Event{Kind: "progress", Step: device.Finger, Done: 1, Of: 1})
	}
	tell(device.Event{Kind: "what is added later", Detail: "somebody"})
	want := []string{"begun  ", "hint face no-face", "hint face look-straight", "hint face turn-left", "hint face turn-right", "hint face nearer", "hint face no-face", "hint finger press-finger"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for _, hints := range [][]string{{"no-face"}, {"one-person", "press-again"}, {"uncover-face", "clean-finger"}, {"what is added later"}} {
		d := unmeasured(client.Decision{Outcome: client.Retry, Hints: hints})
		if want := []string{"no-face", "press-finger"}[:len(hints)]; !slices.Equal(d.Hints, want) {
			t.Errorf("%q is told as %q, want %q", hints, d.Hints, want)
		}
	}
}

// What somebody is called is remembered for no longer than it is true.
func TestNamesOfAChangedVault(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Now().UTC()
	p := store.Person{ID: store.NewUserID(), Name: "Alice", Created: now, Consent: store.Consent{At: now, TextVersion: "1"}}
	v := phoneVault{s, new(names)}
	is := func(want string) {
		t.Helper()
		for range 2 { // looked up, and remembered
			if name, err := v.Name(string(p.ID)); err != nil || name != want {
				t.Fatalf("%q, %v; want %q", name, err, want)
			}
		}
	}
	if name, err := v.Name(string(p.ID)); err == nil {
		t.Fatalf("somebody who is not there is called %q", name)
	}
	if err := s.Update(func(tx *store.Tx) error { return tx.AddPerson(p) }); err != nil {
		t.Fatal(err)
	}
	is("Alice")
	p.Name = "Alice B."
	if err := s.Update(func(tx *store.Tx) error { return tx.PutPerson(p) }); err != nil {
		t.Fatal(err)
	}
	is("Alice B.")
	if _, err := s.Forget(p.ID, now); err != nil {
		t.Fatal(err)
	}
	if name, err := v.Name(string(p.ID)); err == nil {
		t.Fatalf("somebody forgotten is still called %q", name)
	}
}
