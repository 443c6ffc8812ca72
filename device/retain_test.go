package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/faceprint/faceprint/store"
)

const day = 24 * time.Hour

// clock is moved by hand.
type clock struct{ now time.Time }

func newTestDevice(t *testing.T, c *clock, trusted bool) (*Device, *store.Store) {
	t.Helper()
	dir := t.TempDir()
	v, err := store.Open(filepath.Join(dir, "vault.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Hardware{Now: func() time.Time { return c.now }, ClockTrusted: func() bool { return trusted }}, v, DefaultPolicy(),
		Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		v.Close()
	})
	return d, v
}

func add(t *testing.T, v *store.Store, created, used time.Time) store.UserID {
	t.Helper()
	id := store.NewUserID()
	if err := v.Update(func(tx *store.Tx) error {
		return tx.AddPerson(store.Person{ID: id, Name: "n", Created: created, LastUsed: used, Consent: store.Consent{At: created, TextVersion: "1"}})
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

func users(t *testing.T, v *store.Store) (ids []store.UserID) {
	t.Helper()
	if err := v.View(func(tx *store.Tx) (err error) { ids, err = tx.Users(); return err }); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestUnusedPeopleAreAnnouncedAndThenErased(t *testing.T) {
	c := &clock{noon}
	d, v := newTestDevice(t, c, true)
	gone, used, comes := add(t, v, noon, noon), add(t, v, noon, noon.Add(300*day)), add(t, v, noon, noon)
	r := Retention{Unused: 365 * day, Announce: 30 * day}
	at := func(days int) []store.UserID {
		t.Helper()
		c.now = noon.Add(time.Duration(days) * day)
		if err := d.Sweep(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return users(t, v)
	}
	if n := len(at(334)); n != 3 {
		t.Fatalf("%d people after 334 days", n)
	}
	// The device was off on day 335, so it is announced later and ends later.
	if n := len(at(350)); n != 3 {
		t.Fatalf("%d people after 350 days", n)
	}
	if err := v.Update(func(tx *store.Tx) error { // one comes after all
		p, err := tx.Person(comes)
		if err != nil {
			return err
		}
		p.LastUsed = noon.Add(351 * day)
		return tx.PutPerson(p)
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(at(379)); n != 3 {
		t.Fatalf("%d people before the announced end", n)
	}
	if got := at(380); len(got) != 2 || slices.Contains(got, gone) {
		t.Fatalf("%v after the announced end, %s should be gone", got, gone)
	}
	if got := at(660); len(got) != 2 { // announced now
		t.Fatalf("%v: nobody may go without an announcement", got)
	}
	if got := at(695); len(got) != 1 || got[0] != comes {
		t.Fatalf("%v, %s should be gone", got, used)
	}
	var said []string
	if err := v.View(func(tx *store.Tx) error {
		es, err := tx.Audit(0, 100)
		for _, e := range es {
			if e.User == gone {
				said = append(said, e.Kind+" "+e.Outcome)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"retention announced", "retention ended", "forget done"}; !slices.Equal(said, want) {
		t.Errorf("the audit chain says %v, want %v", said, want)
	}
}

func TestLongestRetentionIsNotPutOffByUse(t *testing.T) {
	c := &clock{noon}
	d, v := newTestDevice(t, c, true)
	id := add(t, v, noon, noon)
	for days := 0; days <= 100; days += 5 {
		c.now = noon.Add(time.Duration(days) * day)
		if err := v.Update(func(tx *store.Tx) error {
			p, err := tx.Person(id)
			if err != nil {
				return err
			}
			p.LastUsed = c.now
			return tx.PutPerson(p)
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.Sweep(t.Context(), Retention{Unused: 30 * day, Longest: 100 * day, Announce: 7 * day}); err != nil {
			t.Fatal(err)
		}
	}
	// Announced on day 95 for day 102.
	c.now = noon.Add(102 * day)
	if err := d.Sweep(t.Context(), Retention{Unused: 30 * day, Longest: 100 * day, Announce: 7 * day}); err != nil {
		t.Fatal(err)
	}
	if got := users(t, v); len(got) != 0 {
		t.Errorf("%v is still there", got)
	}
}

func TestNobodyIsErasedByAClockThatFollowsNobody(t *testing.T) {
	c := &clock{noon}
	d, v := newTestDevice(t, c, false)
	add(t, v, noon, noon)
	for _, years := range []int{1, 40} {
		c.now = noon.AddDate(years, 0, 0)
		if err := d.Sweep(t.Context(), Retention{Unused: day, Announce: day}); err != nil {
			t.Fatal(err)
		}
	}
	if got := users(t, v); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestPrunedChainIsSigned(t *testing.T) {
	d, v := newTestDevice(t, &clock{noon}, true)
	for range 30 {
		if err := v.Update(func(tx *store.Tx) error {
			_, err := tx.Append(store.Entry{At: noon, Kind: "authenticate", Outcome: "refused"})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(t.Context(), Retention{Entries: 10}); err != nil {
		t.Fatal(err)
	}
	var base store.Checkpoint
	if err := v.View(func(tx *store.Tx) (err error) { base, err = tx.Base(); return err }); err != nil {
		t.Fatal(err)
	}
	key := d.WitnessKey()
	checkStatement(t, base.Signed, key, `"seq":20`)
	if b, err := jose.ParseSignedCompact(base.Signed, []jose.SignatureAlgorithm{jose.EdDSA}); err != nil {
		t.Error(err)
	} else if typ := b.Signatures[0].Header.ExtraHeaders[jose.HeaderType]; typ != typeBase { // not an export's end
		t.Errorf("where the chain begins is signed as %v", typ)
	}
	receipt, err := d.Receipt(store.Receipt{User: "aaaaaaaaaaaaaaaa", At: noon, Templates: 2, Searched: true})
	if err != nil {
		t.Fatal(err)
	}
	checkStatement(t, receipt, key, `"erased":"aaaaaaaaaaaaaaaa"`)
	// No statement is ever a grant.
	s, err := jose.ParseSignedCompact(receipt, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(d.Keys()); err == nil {
		t.Error("a key of grants verifies a receipt")
	}
}

func checkStatement(t *testing.T, text string, key jose.JSONWebKey, says string) {
	t.Helper()
	s, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Verify(key)
	if err != nil || !slices.Contains(splitJSON(string(b)), says) {
		t.Errorf("%s, %v; it does not say %s", b, err, says)
	}
}

func splitJSON(s string) (fields []string) {
	from := 1
	for i := range s {
		if s[i] == ',' || i == len(s)-1 {
			fields = append(fields, s[from:i])
			from = i + 1
		}
	}
	return fields
}

func TestSweepFinishesAnErasure(t *testing.T) {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	d, v := newTestDevice(t, c, true)
	id := add(t, v, c.now, time.Time{})
	inTheWay := v.Path() + ".compact"
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Forget(t.Context(), id); err == nil || r.Audit == 0 || r.Compacted {
		t.Fatalf("%+v, %v", r, err)
	}
	left := func() bool {
		b, err := os.ReadFile(v.Path())
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte(id))
	}
	if err := d.Sweep(t.Context(), Retention{}); err == nil || !left() {
		t.Fatalf("swept with the disk in the way: %v", err)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(t.Context(), Retention{}); err != nil || left() {
		t.Errorf("the old bytes are still there: %v", err)
	}
}

// While no erasure can be finished, all that are due are begun, whoever is to be
// told is, and the chain is pruned.
func TestSweepGoesOnAfterAnError(t *testing.T) {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	d, v := newTestDevice(t, c, true)
	r := Retention{Unused: 100 * day, Announce: 10 * day, Entries: 20}
	due := []store.UserID{add(t, v, c.now, time.Time{}), add(t, v, c.now, time.Time{})}
	c.now = c.now.Add(95 * day)
	if err := d.Sweep(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	next := add(t, v, c.now.Add(-85*day), time.Time{})
	if err := v.Update(func(tx *store.Tx) error {
		for range 40 {
			if _, err := tx.Append(store.Entry{At: c.now, Kind: "authenticate", Outcome: "refused"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(v.Path()+".compact", "x"), 0o700); err != nil { // as a full disk
		t.Fatal(err)
	}
	c.now = c.now.Add(11 * day)
	err := d.Sweep(t.Context(), r)
	if err == nil {
		t.Fatal("nothing was in the way: the test does not test")
	}
	for _, user := range due {
		if !strings.Contains(err.Error(), string(user)) {
			t.Errorf("%v does not name %s", err, user)
		}
	}
	if left := users(t, v); !slices.Equal(left, []store.UserID{next}) {
		t.Errorf("%v are left, want %s", left, next)
	}
	if err := v.View(func(tx *store.Tx) error {
		p, err := tx.Person(next)
		base, err2 := tx.Base()
		if p.Ends.IsZero() || base.Seq == 0 {
			t.Errorf("to be erased at %v, pruned up to %d", p.Ends, base.Seq)
		}
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(t.Context(), r); err == nil { // what is owed is still owed
		t.Error("the second time nothing is wrong")
	}
}

// A receipt of consent states which text, by its digest, and how long is kept.
func TestAgreementIsSigned(t *testing.T) {
	d, _ := newTestDevice(t, &clock{noon}, true)
	text := ConsentTexts()[1]
	signed, err := d.Agreement(Enrollment{
		User: "aaaaaaaaaaaaaaaa", Audit: 3, Consent: store.Consent{At: noon, TextVersion: text.Version, Language: text.Language, Witness: "w"},
		Templates: []store.Template{{Kind: store.KindFace}},
	}, Retention{Unused: 2 * day})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text.Text))
	for _, says := range []string{`"person":"aaaaaaaaaaaaaaaa"`, `"language":"de"`, `"kept_unused":"48h0m0s"`, `"text_sha256":"` + hex.EncodeToString(sum[:]) + `"`, `"templates":["face"]`} {
		checkStatement(t, signed, d.WitnessKey(), says)
	}
}

// The day that people are told is the one on which they are erased.
func TestDueIsWhatHappens(t *testing.T) {
	p := store.Person{Created: noon}
	for _, tt := range []struct {
		r      Retention
		now    time.Time
		end    time.Time
		anyway bool
	}{
		{Retention{}, noon, time.Time{}, false},
		{Retention{Unused: 100 * day, Announce: 10 * day}, noon, noon.Add(100 * day), false},
		{Retention{Longest: 100 * day, Announce: 10 * day}, noon, noon.Add(100 * day), true},
		{Retention{Longest: 4 * day, Announce: 8 * day}, noon.Add(day), noon.Add(9 * day), true}, // it was not announced yet
		{Retention{Unused: 10 * day, Longest: 12 * day}, noon.Add(5 * day), noon.Add(10 * day), false},
	} {
		if end, anyway := tt.r.Due(p, tt.now); !end.Equal(tt.end) || anyway != tt.anyway {
			t.Errorf("%+v at %v: %v, %v", tt.r, tt.now, end, anyway)
		}
	}
}
