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
	Stay    time.Duration // ends with ErrLeft when no face was seen for so long; 0: nobody sees to it
	Timeout time.Duration // of the captures; 0 = 90 s
	Notify  func(Event)   // hints and progress; may be nil, must not block
}

// Enrollment is what came of it.
type Enrollment struct {
	User      store.UserID
	Templates []store.Template // without their data
	Consent   store.Consent    // as it is recorded
	Audit     uint64
	Took      time.Duration
}

// Enroll captures what was asked for and stores it in one commit, or nothing.
// A missing finger or face is a *RetryError; ErrDuplicate and ErrMixed say that
// the captures cannot be one new person's, ErrLeft that who agreed has left.
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
	ctx, turn, err := d.take(ctx, r.Timeout+duplicateMost, enrolling)
	if err != nil {
		return Enrollment{}, err
	}
	defer turn.end()
	until := time.Now().Add(r.Timeout)

	var made []store.Template
	var scores map[string]float64
	there := d.stays(r.Stay)
	defer there.end()
	defer func() { wipe(made) }()
	if slices.Contains(r.Factors, Face) {
		var t store.Template
		ctx, cancel := context.WithDeadline(ctx, until)
		t, scores, err = d.enrollFace(ctx, r, there)
		cancel()
		if err != nil {
			return Enrollment{}, errors.Join(err, d.refuseEnrolment(r, Face, err, scores))
		}
		made = append(made, t)
	}
	if slices.Contains(r.Factors, Finger) {
		var t store.Template
		err := there.watch(ctx, func(ctx context.Context) (err error) {
			t, err = d.enrollFinger(ctx, r, until)
			return err
		})
		if err == nil { // who agreed may leave: nobody is captured any more, or the finger alone once more (again)
			err = d.checkFinger(ctx, t, r, turn)
		}
		if err != nil {
			t.Wipe()
			return Enrollment{}, errors.Join(err, d.refuseEnrolment(r, Finger, err, scores))
		}
		made = append(made, t)
	}

	out := Enrollment{User: r.Who}
	err = d.vault.Update(func(tx *store.Tx) error {
		out.Templates = nil
		now := d.hw.Now().UTC()
		r.Consent.At = r.Consent.At.UTC()
		out.Consent = r.Consent
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
	if slices.Contains(r.Factors, Face) {
		d.warnOfReach()
	}
	out.Took = d.hw.Now().Sub(start)
	d.send(Event{Kind: "enrolled", User: out.User})
	return out, nil
}

// errNotLive: of an enrolment's face there was enough to tell that it is none.
var errNotLive = errors.New("this does not look like a living face")

// refuseEnrolment records an enrolment that a factor's measure spoke against. An
// attack is reported, and counted against the device as a failed attempt is;
// whose enrolment it was is not to blame. What the asker can mend is in no record.
func (d *Device) refuseEnrolment(r EnrollRequest, f Factor, cause error, scores map[string]float64) error {
	var reasons []Reason
	attack := (*sensor.AttackError)(nil)
	switch {
	case errors.Is(cause, ErrReplay):
		reasons = []Reason{FaceReplayed}
	case errors.Is(cause, errNotLive):
		reasons = []Reason{FaceNotLive}
	case errors.As(cause, &attack):
		reasons = []Reason{FingerModule, Reason(attack.Kind)}
	case errors.Is(cause, ErrMixed):
		reasons = []Reason{FaceMixed}
	case errors.Is(cause, ErrDuplicate) && f == Finger:
		reasons = []Reason{FingerDuplicate}
	case errors.Is(cause, ErrDuplicate):
		reasons = []Reason{FaceDuplicate}
	default:
		return nil
	}
	attacked := slices.ContainsFunc(reasons, Reason.attack)
	var audit uint64
	err := d.vault.Update(func(tx *store.Tx) error {
		if attacked {
			if err := d.countAttack(tx); err != nil {
				return err
			}
		}
		e, err := tx.Append(store.Entry{At: d.hw.Now(), Kind: "enrol", User: r.Who, Outcome: "refused", Reasons: words(reasons), Scores: scores})
		audit = e.Seq
		return err
	})
	if attacked {
		d.attacked(r.Who, reasons, audit)
	}
	if err != nil {
		return fmt.Errorf("device: the refusal could not be recorded: %w", err)
	}
	return nil
}

// countAttack counts an attack against the device alone, as a failed attempt is.
func (d *Device) countAttack(tx *store.Tx) error {
	l, err := tx.Lockout("")
	if err != nil {
		return err
	}
	up := d.hw.Uptime()
	return tx.SetLockout("", failed(forgiven(l, up), d.hw.Now(), up, deviceFreeFailures, 0))
}

// Accuse counts and reports an attack of the finger reader that came to light outside of
// any attempt, such as another module in its place: against the device, for nobody's finger
// was compared. Whoever calls it has recorded it, as entry number audit.
func (d *Device) Accuse(attack *sensor.AttackError, audit uint64) error {
	d.attacked("", []Reason{FingerModule, Reason(attack.Kind)}, audit)
	if err := d.vault.Update(d.countAttack); err != nil {
		return fmt.Errorf("device: an attack could not be counted: %w", err)
	}
	return nil
}

// checkName refuses, before anybody is measured, what is no name: nothing to
// see, too long for the vault, or what hides in text or rearranges it, so that
// two names look the same. The two joiners stay where Persian, the scripts of
// India and emoji need them.
func checkName(name string) error {
	visible := func(r rune) bool {
		return r != blankBraille && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) &&
			(unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsPunct(r) || unicode.IsSymbol(r))
	}
	switch {
	case len(name) > store.MaxName:
		return fmt.Errorf("device: a name has at most %d bytes, this one %d: %w", store.MaxName, len(name), ErrRequest)
	case !strings.ContainsFunc(name, visible):
		return fmt.Errorf("device: a name has something to see in it: %w", ErrRequest)
	}
	text := []rune(" " + name + " ")
	for i, r := range text[1 : len(text)-1] {
		before, after := text[i], text[i+2]
		joiner := unicode.Is(unicode.Join_Control, r) && joins(before) && joins(after)
		if r == utf8.RuneError || r == blankBraille || unicode.IsControl(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) ||
			unicode.Is(unicode.Cf, r) && !joiner || unicode.Is(unicode.Variation_Selector, r) && !unicode.IsSymbol(before) {
			return fmt.Errorf("device: a name has no marks in it that cannot be seen, this one has %U: %w", r, ErrRequest)
		}
	}
	return nil
}

const blankBraille = '\u2800' // a symbol without a dot

// joins tells whether a joiner beside r changes how it looks.
func joins(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsDigit(r) && !unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Cf)
}

func factorWords(fs []Factor) []string {
	var w []string
	for _, f := range fs {
		w = append(w, string(f))
	}
	return w
}

// checkDuplicateOf checks what was seen so far.
func (d *Device) checkDuplicateOf(s *vision.Sequence, who store.UserID, profile vision.Profile) error {
	mean, agreement, err := s.Fuse()
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	defer mean.Wipe()
	return d.checkDuplicate(mean, agreement, who, profile)
}

// checkDuplicate refuses a face that is somebody else's, and, for a person who
// has templates, one that is not theirs: a second template is for another light
// or for glasses, and whoever is no longer like their first is forgotten and enrolled
// anew. Like any of theirs would not do: many small steps are a long way. A table that
// ends before duplicateFMR takes more people for enrolled ones, and nobody for another.
func (d *Device) checkDuplicate(mean vision.Embedding, agreement float64, who store.UserID, profile vision.Profile) error {
	same, err := profile.Match().Threshold(max(duplicateFMR, profile.Match().Least()))
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
	refs, err := unseal(ts, profile)
	if err != nil {
		return err
	}
	defer refs.wipe()
	if len(refs.users) == 0 {
		return nil
	}
	first := firstFace(ts, who, profile)
	best, err := refs.search(mean, len(refs.users))
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	theirs, err := profile.Match().Threshold(samePersonFMR)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	alike := first == ""
	for _, m := range best {
		score := agreement * m.Cosine
		switch {
		case refs.users[m.Index] == who:
			alike = alike || refs.ids[m.Index] == first && score >= theirs
		case score >= same:
			return fmt.Errorf("device: %w", ErrDuplicate)
		}
	}
	if !alike {
		return fmt.Errorf("device: the face is not like the first that was enrolled of this person: %w", ErrMixed)
	}
	return nil
}

// firstFace is the id of the face template that was enrolled first of a person, ""
// where there is none that can be compared.
func firstFace(ts []store.Template, who store.UserID, profile vision.Profile) string {
	var first store.Template
	for _, t := range ts {
		if t.User != who || adapted(t) != "" || !profile.Made(t.Model) {
			continue
		}
		if first.ID == "" || t.Created.Before(first.Created) {
			first = t
		}
	}
	return first.ID
}

// compared is how many of the templates a face is compared with.
func compared(ts []store.Template, profile vision.Profile) (n int) {
	for _, t := range ts {
		if profile.Made(t.Model) {
			n++
		}
	}
	return n
}

// checkRoom refuses one face too many of a person, before they are looked at: all of
// theirs share the rate of the policy, and beyond the reach of the table nobody, and
// they neither, would be recognised any more.
func (d *Device) checkRoom(who store.UserID, profile vision.Profile) error {
	if who == "" {
		return nil
	}
	var ts []store.Template
	defer func() { wipe(ts) }()
	err := d.vault.View(func(tx *store.Tx) (err error) {
		ts, err = tx.TemplatesOf(who, store.KindFace)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("device: %w", ErrUnknown)
	case err != nil:
		return fmt.Errorf("device: templates: %w", err)
	}
	n := 0
	for _, t := range ts {
		if adapted(t) == "" {
			n++
		}
	}
	most := profile.Match().Reach(d.policy.FaceFMR)
	switch k := compared(ts, profile); {
	case k > 0 && k >= most && d.policy.Mode.Wants(Face):
		return fmt.Errorf("device: the table of profile %s tells a person from others by at most %d templates at a rate of %g, of which they have %d; measure a longer table or raise the rate: %w",
			profile.Name, most, d.policy.FaceFMR, k, ErrRequest)
	case n >= facesMost:
		return fmt.Errorf("device: a person has at most %d face templates; forget them and enrol them anew: %w", facesMost, ErrRequest)
	}
	return nil
}

// enrollFinger takes the captures, until then.
func (d *Device) enrollFinger(ctx context.Context, r EnrollRequest, until time.Time) (store.Template, error) {
	if d.hw.Enrol == nil || d.hw.Match == nil {
		return store.Template{}, fmt.Errorf("device: finger reader: %w", ErrPart)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
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
	return store.Template{Kind: d.hw.Prints, Model: d.hw.Match.Family(), Label: r.Finger, Data: template}, nil
}

// checkFinger refuses a finger that is enrolled already: one's own again is a
// hint to use another, anybody else's is ErrDuplicate. How long it takes depends on how
// many are enrolled; who stands there and wants in is let in between.
func (d *Device) checkFinger(ctx context.Context, t store.Template, r EnrollRequest, turn *tenure) error {
	c, ok := d.hw.Enrol.(FingerComparer)
	if !ok {
		return nil
	}
	told := -1
	check := sensor.Check{Tell: func(done, of int) {
		if of == 0 || done*100/of == told {
			return
		}
		told = done * 100 / of
		d.tell(r.Notify, Event{Kind: "check", Step: Finger, Done: done, Of: of})
	}}
	return turn.lending(ctx, func(ctx context.Context) error {
		err := d.compareOthers(ctx, c, t, r, &check)
		until := time.Now().Add(r.Timeout)
		hint := sensor.HintNoFinger
		for errors.Is(err, sensor.ErrStale) { // somebody else's finger was captured meanwhile
			if err = d.again(ctx, r, hint, until); err == nil {
				err = d.compareOthers(ctx, c, t, r, &check)
			}
			hint = sensor.HintSame
		}
		return err
	})
}

// again has the finger that is being enrolled scanned once more.
func (d *Device) again(ctx context.Context, r EnrollRequest, hint sensor.Hint, until time.Time) error {
	if d.hw.Finger == nil {
		return fmt.Errorf("device: finger reader: %w", ErrPart)
	}
	c, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		d.tell(r.Notify, Event{Kind: "hint", Step: Finger, Hint: string(hint)})
		_, err := d.hw.Finger.Scan(c)
		retry := (*sensor.RetryError)(nil)
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &retry):
			return fmt.Errorf("device: finger: %w", err)
		case c.Err() != nil:
			return &RetryError{Hints: []string{string(hint)}}
		}
		hint = retry.Hint
	}
}

// compareOthers is checkFinger until it is interrupted. Those who are enrolled are read
// anew each time: whoever came first may have enrolled somebody, or forgotten them.
func (d *Device) compareOthers(ctx context.Context, c FingerComparer, t store.Template, r EnrollRequest, check *sensor.Check) error {
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
		if o.Model == t.Model && d.hw.Match.Fits(o.Data) && !old {
			others, owners = append(others, o.Data), append(owners, o.User)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(duplicateLeast+duplicateEach*time.Duration(len(others)), duplicateMost))
	defer cancel()
	switch at, err := c.Same(ctx, t.Data, others, check); {
	case err != nil:
		return fmt.Errorf("device: finger: %w", err)
	case at < 0:
		return nil
	case at < len(owners) && owners[at] == r.Who:
		return &RetryError{Hints: []string{string(sensor.HintOther)}}
	}
	return fmt.Errorf("device: %w", ErrDuplicate)
}
