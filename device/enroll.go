package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// EnrollRequest asks to enrol somebody who agreed.
type EnrollRequest struct {
	Who     store.UserID // an enrolled person to add to; empty makes a new one
	Name    string       // of a new person
	Consent store.Consent
	Factors []Factor
	Finger  string        // which one, as a label
	Poses   bool          // ask for the face from the front and from both sides
	Renew   bool          // the finger takes the place of the person's of that label, and may be the same
	Timeout time.Duration // 0 = 90 s
	Notify  func(Event)   // hints and progress; may be nil, must not block
}

// Enrollment is what came of it.
type Enrollment struct {
	User      store.UserID
	Templates []store.Template // without their data
	Audit     uint64
	Took      time.Duration
}

// Enroll captures what was asked for and stores it in one commit, or nothing.
// A missing finger or face is a *RetryError; ErrDuplicate and ErrMixed say that
// the captures cannot be one new person's.
func (d *Device) Enroll(ctx context.Context, r EnrollRequest) (Enrollment, error) {
	start := d.hw.Now()
	if r.Consent.At.IsZero() || r.Consent.TextVersion == "" {
		return Enrollment{}, fmt.Errorf("device: %w", ErrConsent)
	}
	if len(r.Factors) == 0 || r.Who == "" && r.Name == "" {
		return Enrollment{}, fmt.Errorf("device: an enrolment needs a person and a factor: %w", ErrRequest)
	}
	if err := checkName(r.Name); r.Who == "" && err != nil {
		return Enrollment{}, err
	}
	if r.Timeout <= 0 {
		r.Timeout = enrolTimeout
	}
	ctx, end, err := d.begin(ctx, r.Timeout, false)
	if err != nil {
		return Enrollment{}, err
	}
	defer end()

	var made []store.Template
	var scores map[string]float64
	defer func() { wipe(made) }()
	if slices.Contains(r.Factors, Face) {
		var t store.Template
		if t, scores, err = d.enrollFace(ctx, r); err != nil {
			return Enrollment{}, err
		}
		made = append(made, t)
	}
	if slices.Contains(r.Factors, Finger) {
		t, err := d.enrollFinger(ctx, r)
		if err != nil {
			return Enrollment{}, err
		}
		made = append(made, t)
	}

	out := Enrollment{User: r.Who}
	err = d.vault.Update(func(tx *store.Tx) error {
		out.Templates = nil
		now := d.hw.Now().UTC()
		r.Consent.At = r.Consent.At.UTC()
		if r.Who == "" {
			out.User = store.NewUserID()
			if err := tx.AddPerson(store.Person{ID: out.User, Name: r.Name, Created: now, Consent: r.Consent}); err != nil {
				return err
			}
		} else {
			p, err := tx.Person(r.Who)
			if err != nil {
				return err
			}
			p.Agree(r.Consent) // the newest text
			if err := tx.PutPerson(p); err != nil {
				return err
			}
		}
		for _, t := range made {
			t.User, t.Created = out.User, now
			if t.ID, err = tx.AddTemplate(t); err != nil {
				return err
			}
			t.Data = make([]byte, len(t.Data)) // its size is told, not its content
			out.Templates = append(out.Templates, t)
		}
		e, err := tx.Append(store.Entry{At: now, Kind: "enrol", User: out.User, Outcome: "done", Reasons: factorWords(r.Factors), Scores: scores})
		out.Audit = e.Seq
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("device: %w", ErrUnknown)
	}
	if err != nil {
		return Enrollment{}, err
	}
	out.Took = d.hw.Now().Sub(start)
	d.send(Event{Kind: "enrolled", User: out.User})
	return out, nil
}

// checkName refuses, before anybody is measured, what is no name: nothing to
// see, too long for the vault, or marks that rearrange the text around it.
func checkName(name string) error {
	hidden := func(r rune) bool {
		return unicode.IsControl(r) || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // bidirectional controls
	}
	if strings.TrimSpace(name) == "" || len(name) > store.MaxName || strings.ContainsFunc(name, hidden) {
		return fmt.Errorf("device: a name has 1 to %d bytes and no control characters: %w", store.MaxName, ErrRequest)
	}
	return nil
}

func factorWords(fs []Factor) []string {
	var w []string
	for _, f := range fs {
		w = append(w, string(f))
	}
	return w
}

func (d *Device) checkDuplicate(mean vision.Embedding, who store.UserID, profile vision.Profile) error {
	same, err := profile.Table.Threshold(duplicateFMR)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	var ts []store.Template
	defer func() { wipe(ts) }()
	err = d.vault.View(func(tx *store.Tx) (err error) {
		ts, err = tx.Templates(store.KindFace)
		return err
	})
	if err != nil {
		return fmt.Errorf("device: templates: %w", err)
	}
	refs, err := unseal(ts, profile.Name)
	if err != nil {
		return err
	}
	defer refs.wipe()
	if len(refs.users) == 0 {
		return nil
	}
	own := 0 // templates of the person themselves may come first
	for _, u := range refs.users {
		if u == who {
			own++
		}
	}
	best, err := refs.search(mean, own+1)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	for _, m := range best {
		if refs.users[m.Index] != who && m.Cosine >= same {
			return fmt.Errorf("device: %w", ErrDuplicate)
		}
	}
	return nil
}

func (d *Device) enrollFinger(ctx context.Context, r EnrollRequest) (store.Template, error) {
	if d.hw.Enrol == nil || d.hw.Match == nil {
		return store.Template{}, fmt.Errorf("device: finger reader: %w", ErrPart)
	}
	template, err := d.hw.Enrol.Enrol(ctx, d.opts.Captures, func(s sensor.EnrolStep) {
		e := Event{Kind: "progress", Step: Finger, Done: s.Done, Of: s.Of}
		if s.Coverage != nil {
			e.Coverage, e.Detail = s.Coverage.Seen, s.Coverage.String()
		}
		d.tell(r.Notify, e)
		if s.Hint != "" {
			d.tell(r.Notify, Event{Kind: "hint", Step: Finger, Hint: string(s.Hint)})
		}
	})
	if retry := (*sensor.RetryError)(nil); errors.As(err, &retry) {
		return store.Template{}, &RetryError{Hints: []string{string(retry.Hint)}}
	}
	if err != nil {
		return store.Template{}, fmt.Errorf("device: finger: %w", err)
	}
	t := store.Template{Kind: d.hw.Prints, Model: d.hw.Match.Family(), Label: r.Finger, Data: template}
	if err := d.checkFinger(ctx, t, r); err != nil {
		t.Wipe()
		return store.Template{}, err
	}
	return t, nil
}

// checkFinger refuses a finger that is enrolled already: one's own again is a
// hint to use another, anybody else's is ErrDuplicate.
func (d *Device) checkFinger(ctx context.Context, t store.Template, r EnrollRequest) error {
	c, ok := d.hw.Enrol.(FingerComparer)
	if !ok {
		return nil
	}
	var ts []store.Template
	defer func() { wipe(ts) }()
	err := d.vault.View(func(tx *store.Tx) (err error) {
		ts, err = tx.Templates(d.hw.Prints)
		return err
	})
	if err != nil {
		return fmt.Errorf("device: templates: %w", err)
	}
	var others [][]byte
	var owners []store.UserID
	for _, o := range ts {
		old := r.Renew && o.User == r.Who && o.Label == t.Label
		if o.Model == t.Model && !old {
			others, owners = append(others, o.Data), append(owners, o.User)
		}
	}
	switch at, err := c.Same(ctx, t.Data, others); {
	case err != nil:
		return fmt.Errorf("device: finger: %w", err)
	case at < 0:
		return nil
	case at < len(owners) && owners[at] == r.Who:
		return &RetryError{Hints: []string{string(sensor.HintOther)}}
	}
	return fmt.Errorf("device: %w", ErrDuplicate)
}
