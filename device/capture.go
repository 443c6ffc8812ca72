package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/store/isometry"
	"github.com/faceprint/faceprint/vision"
)

// captured is what an attempt yielded so far. The face half and the finger half
// are each written by one goroutine and read after both ended.
type captured struct {
	face, finger         Measure
	phone                Possession
	pin                  Known
	faceTook, fingerTook time.Duration
	faceModel, family    string
	faceHint, fingerHint string
	phoneHint            string           // where somebody's phone was asked
	mode                 Mode             // what the attempt wants
	gallery, prints      int              // templates with which a face, fingers with which a finger was compared
	user                 store.UserID     // whom a 1:N search found
	idle                 bool             // a move was said, and nobody made it in the time that it takes
	look                 vision.Embedding // of the face that was compared last
	agreement            float64          // of the frames that it is the mean of
	hints                []string
	notify               func(Event) // the asker's
}

func (c *captured) evidence() Evidence {
	return Evidence{Face: c.face, Finger: c.finger, Phone: c.phone, PIN: c.pin, Gallery: c.gallery, Prints: c.prints}
}

// compared tells whether anything was learnt that counts: a comparison, a
// recording, or the word of a phone's owner that it is somebody else.
func (c *captured) compared() bool {
	return c.face.Compared || c.face.Replayed || c.finger.Compared || c.phone.Denied
}

// failed tells whether anything that was compared speaks against them.
func (c *captured) failed(p Policy) bool {
	return c.face.Replayed || c.phone.Denied ||
		c.face.Compared && p.face(c.face, float64(max(c.gallery, 1))) != "" ||
		c.finger.Compared && p.finger(c.finger, float64(max(c.prints, 1))) != ""
}

// attack tells whether a verdict on an attempt that was cut off is an attack. A
// face of which too little was seen to tell whether it lives is none yet, nor is
// one that was asked nothing.
func (c *captured) attack(v Verdict) bool {
	return !v.Granted && slices.ContainsFunc(v.Reasons, func(r Reason) bool {
		return r.attack() && !(r == FaceNotLive && math.IsNaN(c.face.Live)) && !(r == FaceNoAnswer && c.face.Answer == "")
	})
}

// unasked tells whether a face was refused that is in doubt itself and could not be asked
// to move.
func (c *captured) unasked(v Verdict) bool {
	return slices.Contains(v.Reasons, FaceTooSlow) && c.face.doubtful()
}

// blameless tells whether a refusal says nothing against the person, whose failures it
// is not to add to: the policy, or an attack of somebody, wanted them to move, nothing
// about their face did, and the device was too slow to ask. The device's failures stay,
// which bounds how often anybody learns even that. Whose face is in doubt could try until
// it is not, and who does nothing about an ask could wait for one that they can answer.
func (c *captured) blameless(reasons []Reason) bool {
	return slices.Contains(reasons, FaceTooSlow) && !c.idle && !c.face.doubtful() &&
		!slices.ContainsFunc(reasons, func(r Reason) bool {
			return r != FaceTooSlow && r != FingerMissing && r != FingerElsewhere && r != PhoneMissing
		})
}

// elsewhere tells whether a refusal is for want of a finger on this kind of module alone:
// those who are enrolled on another have done nothing, and nothing was compared that failed.
func (c *captured) elsewhere(reasons []Reason) bool {
	return slices.Contains(reasons, FingerElsewhere) &&
		!slices.ContainsFunc(reasons, func(r Reason) bool { return r != FingerElsewhere && r != FaceMissing && r != PhoneMissing })
}

func (c *captured) wipe() {
	c.look.Wipe()
	*c = captured{}
}

// results lists what was measured, for the asker.
func (c *captured) results(v Verdict) []Result {
	var rs []Result
	if c.face.Compared {
		rs = append(rs, Result{Measure: c.face, Factor: Face, Passed: slices.Contains(v.Passed, Face), Model: c.faceModel, Took: c.faceTook})
	}
	if c.finger.Compared {
		rs = append(rs, Result{Measure: c.finger, Factor: Finger, Passed: slices.Contains(v.Passed, Finger), Model: c.family, Took: c.fingerTook})
	}
	if c.phone.Asked {
		rs = append(rs, Result{Measure: Measure{Enrolled: c.phone.Enrolled, FMR: 1}, Factor: Phone, Passed: slices.Contains(v.Passed, Phone)})
	}
	return rs
}

// scores are the numbers of the audit entry.
func (c *captured) scores() map[string]float64 {
	s := make(map[string]float64)
	put := func(name string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s[name] = v
		}
	}
	if c.face.Compared {
		put("face", c.face.Score)
		put("face-fmr", c.face.FMR)
	}
	for name, v := range c.face.Cues { // there may be some before the first comparison
		put("face-"+name, v)
	}
	if c.finger.Compared {
		put("finger", c.finger.Score)
		put("finger-fmr", c.finger.FMR)
	}
	return s
}

// hintsOnly tells whether the refusal is for want of something that the person
// can do: nothing that was compared failed, and there is a hint.
func (c *captured) hintsOnly(v Verdict) bool {
	for _, r := range v.Reasons {
		switch {
		case r == FaceMissing && c.faceHint != "":
			c.hints = append(c.hints, c.faceHint)
		case r == FingerMissing && c.fingerHint != "":
			c.hints = append(c.hints, c.fingerHint)
		case r == PhoneMissing && c.phoneHint != "":
			c.hints = append(c.hints, c.phoneHint)
		case r == PhoneMissing: // nobody was found whose phone could be asked
		default:
			return false
		}
	}
	return len(c.hints) > 0
}

// unanswered tells whether a phone rang in vain.
func (c *captured) unanswered() bool {
	return c.phoneHint != "" && c.phone.Enrolled && !c.phone.Shown && !c.phone.Denied
}

// HintPhone asks the person to answer on the phone.
const HintPhone = "approve-on-phone"

// capture measures what the policy wants and what the request asks for, both
// factors at once, under one deadline.
func (d *Device) capture(ctx context.Context, r Request) (*captured, error) {
	c := &captured{face: Measure{FMR: 1, Live: math.NaN()}, finger: Measure{FMR: 1}, notify: r.Notify}
	c.phone.Asked, c.phone.Here = r.Phone != "" || slices.Contains(r.Factors, Phone), r.Here
	mode := d.policy.modeWith(c.phone)
	c.mode = mode
	wants := func(f Factor) bool { return mode.Wants(f) || slices.Contains(r.Factors, f) }

	// Only what will be compared is unsealed, and only while this attempt lasts.
	var faces, fingers []store.Template
	defer func() { wipe(faces); wipe(fingers) }()
	unsealed := func(to *[]store.Template, who store.UserID, kind store.Kind) error {
		err := d.vault.View(func(tx *store.Tx) (err error) { *to, err = templates(tx, who, kind); return err })
		if err != nil {
			return fmt.Errorf("device: templates: %w", err)
		}
		return nil
	}
	looks := wants(Face) || r.Who == "" && mode == phoneOnly // a search for whose phone it is
	if looks {
		if err := unsealed(&faces, r.Who, store.KindFace); err != nil {
			return c, err
		}
	}
	fingersOf := func(who store.UserID) error {
		if err := unsealed(&fingers, who, d.hw.Prints); err != nil {
			return err
		}
		fingers = slices.DeleteFunc(fingers, func(t store.Template) bool {
			other := r.Finger != "" && t.Label != r.Finger
			if other {
				t.Wipe()
			}
			return other
		})
		return nil
	}
	if wants(Finger) && (r.Who != "" || !looks) {
		if err := fingersOf(r.Who); err != nil {
			return c, err
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var both sync.WaitGroup
	var faceErr, fingerErr, phoneErr error
	attempt := ctx // the phone is waited for beyond the biometrics: its owner may be slow
	if c.phone.Asked && r.Phone == "" && r.Who != "" {
		both.Go(func() { phoneErr = d.askPhone(attempt, cancel, c, r) })
	}
	if r.Phone != "" {
		c.phone.Enrolled, c.phone.Shown = true, true
	}
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	// Where one factor suffices, the first that passes ends the other.
	passed := func() {
		if mode == Either {
			enough(errEnough)
		}
	}
	if r.Who != "" {
		if wants(Face) {
			both.Go(func() { faceErr = d.measureFace(ctx, cancel, c, faces, passed) })
		}
		if wants(Finger) {
			both.Go(func() { fingerErr = d.measureFinger(ctx, cancel, c, fingers, wants(Face), passed) })
		}
		both.Wait()
		return c, errors.Join(faceErr, fingerErr, phoneErr)
	}

	// 1:N: whoever the face says, the finger must confirm; a finger alone is
	// compared with everybody's. Only the phone of somebody who was found is
	// asked: a stranger cannot make other people's phones ring.
	asked := !c.phone.Asked || r.Phone != ""
	found := func() {
		asked = true
		claim := r
		claim.Who = c.user
		both.Go(func() { phoneErr = d.askPhone(attempt, cancel, c, claim) })
	}
	c.phone.Enrolled = c.phone.Asked // nobody's is missing before somebody is found
	if looks {
		faceErr = d.measureFace(ctx, cancel, c, faces, passed)
		switch {
		case !wants(Finger) || faceErr != nil:
		case c.user == "":
			// Nobody was seen, so nobody's finger was asked for: nothing failed.
			c.finger.Enrolled, c.fingerHint = true, string(sensor.HintNoFinger)
		default:
			faceErr = fingersOf(c.user)
		}
		if !asked && faceErr == nil && d.policy.face(c.face, float64(max(c.gallery, 1))) == "" {
			found()
		}
	}
	if wants(Finger) && faceErr == nil && (c.user != "" || !wants(Face)) && context.Cause(ctx) != errEnough {
		fingerErr = d.measureFinger(ctx, cancel, c, fingers, looks, passed)
		if !asked && fingerErr == nil && d.policy.finger(c.finger, float64(max(c.prints, 1))) == "" {
			found()
		}
	}
	both.Wait()
	return c, errors.Join(faceErr, fingerErr, phoneErr)
}

// askPhone waits for the owner of the person's phone. A no ends the attempt.
func (d *Device) askPhone(ctx context.Context, cancel context.CancelCauseFunc, c *captured, r Request) error {
	if d.hw.Phones == nil {
		c.phone.Enrolled = false
		return nil
	}
	c.phoneHint = HintPhone
	d.tell(c.notify, Event{Kind: "hint", Step: Phone, Hint: HintPhone})
	p, err := d.hw.Phones.Ask(ctx, r.Who, r.Audience)
	if err != nil {
		cancel(err)
		return fmt.Errorf("device: phone: %w", err)
	}
	p.Asked, p.Here = true, r.Here
	c.phone = p
	d.keep()
	if !p.Shown {
		cancel(errEnough) // without it there is no yes
	}
	return nil
}

// errEnough ends the other factor when one suffices, or none would.
var errEnough = errors.New("device: nothing more is needed")

func templates(tx *store.Tx, user store.UserID, kind store.Kind) ([]store.Template, error) {
	if user == "" {
		return tx.Templates(kind)
	}
	return tx.TemplatesOf(user, kind)
}

func wipe(ts []store.Template) {
	for i := range ts {
		ts[i].Wipe()
	}
}

// gallery is unsealed face templates with whom they are of. Each is kept turned
// in a way of its own (store/isometry); what is compared must be turned alike.
// The first stays as it is and gives the gallery its space: the others are
// brought there once, and then a probe is turned once, however many they are.
// An attempt of somebody with one template turns the probe alone.
type gallery struct {
	*vision.Gallery
	users []store.UserID
	ids   []string // of the templates
	space *isometry.Isometry
}

// unseal reads the templates that this model set made; others cannot be
// compared and are passed over. The gallery lives no longer than they do.
//
// Templates are not streamed past the probe one by one, though a search needs no
// more: the probe gets better with every good frame and is compared up to ten
// times in an attempt, and each time all of them would have to be unsealed, which
// is most of the work (BenchmarkGallery). Nor are they kept between attempts, so
// that a device that nobody uses holds nobody's; the false match rate bounds a
// search to a thousand templates at the defaults.
func unseal(ts []store.Template, profile vision.Profile) (*gallery, error) {
	g := &gallery{}
	for _, t := range ts {
		if !profile.Made(t.Model) {
			continue
		}
		if err := g.add(t, len(ts)); err != nil {
			g.wipe()
			return nil, fmt.Errorf("device: template %s: %w", t.ID, err)
		}
		g.users, g.ids = append(g.users, t.User), append(g.ids, t.ID)
	}
	return g, nil
}

// asCaptured is a face template as it was given to the vault, of dim numbers,
// for what makes another template of it. The caller wipes it.
func asCaptured(t store.Template, dim int) (vision.Embedding, error) {
	e, err := vision.UnmarshalEmbedding(t.Data)
	if err == nil && t.Isometry == nil {
		err = fmt.Errorf("it was not read from the vault: %w", vision.ErrEmbedding)
	}
	if err != nil {
		return nil, fmt.Errorf("device: template %s: %w", t.ID, err)
	}
	defer e.Wipe()
	plain, err := t.Isometry.Back(e)
	if err == nil && len(plain) < dim {
		err = vision.ErrEmbedding
	}
	if err != nil {
		return nil, fmt.Errorf("device: template %s: %w", t.ID, err)
	}
	return plain[:dim], nil // the rest are the zeros that it was filled up with
}

func (g *gallery) add(t store.Template, room int) error {
	e, err := vision.UnmarshalEmbedding(t.Data)
	if err != nil {
		return err
	}
	defer e.Wipe()
	if t.Isometry == nil {
		return fmt.Errorf("it was not read from the vault: %w", vision.ErrEmbedding)
	}
	if g.space == nil {
		g.space = t.Isometry
		if g.Gallery, err = vision.NewGallery(len(e), room); err != nil {
			return err
		}
		_, err = g.Gallery.Add(e)
		return err
	}
	plain, err := t.Isometry.Back(e)
	if err != nil {
		return err
	}
	defer clear(plain)
	there, err := g.space.Turn(plain)
	if err != nil {
		return err
	}
	defer clear(there)
	_, err = g.Gallery.Add(there)
	return err
}

// search returns the k references most like the probe, the best first.
func (g *gallery) search(probe vision.Embedding, k int) ([]vision.Match, error) {
	turned, err := g.space.Turn(probe)
	if err != nil {
		return nil, err
	}
	defer clear(turned)
	return g.Search(turned, k)
}

func (g *gallery) wipe() {
	if g.Gallery != nil {
		g.Wipe()
	}
}

// over tells whether the wait ended for a reason that is no fault of what
// waited: the time is up, nothing more is needed, another attempt came first, or
// another part failed, which says so itself. An asker who hangs up is a fault.
func over(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, context.Canceled)
}

// measureFinger waits for a finger that can be read and compares it. Pictures
// that did not come out are asked for again until time is up. Where a face is
// measured too, whose half of c is not touched, they are of the one person whom a
// claim or the face named; else the finger alone says who it is.
func (d *Device) measureFinger(ctx context.Context, cancel context.CancelCauseFunc, c *captured, ts []store.Template, named bool, passed func()) (err error) {
	start := d.hw.Now()
	defer func() {
		c.fingerTook = d.hw.Now().Sub(start)
		if err != nil {
			cancel(err)
		}
	}()
	if d.hw.Finger == nil || d.hw.Match == nil {
		return fmt.Errorf("device: finger reader: %w", ErrPart)
	}
	c.family = d.hw.Match.Family()
	ts = slices.Clone(ts)
	some := len(ts) > 0
	if some && c.family == "" { // who is enrolled on which is not known
		return fmt.Errorf("device: finger reader: no module is set up: %w", ErrPart)
	}
	ts = slices.DeleteFunc(ts, func(t store.Template) bool { return t.Model != c.family || !d.hw.Match.Fits(t.Data) })
	if c.finger.Enrolled = len(ts) > 0; !c.finger.Enrolled {
		c.finger.Elsewhere = some
		return nil
	}
	d.tell(c.notify, Event{Kind: "hint", Step: Finger, Hint: string(sensor.HintNoFinger)}) // from now on one is waited for
	for {
		print, err := d.hw.Finger.Scan(ctx)
		retry := (*sensor.RetryError)(nil)
		switch {
		case c.attacked(err): // also where the time is up: later attempts do not meet the module any more
			return nil
		case errors.As(err, &retry):
			if c.fingerHint != string(retry.Hint) {
				c.fingerHint = string(retry.Hint)
				d.tell(c.notify, Event{Kind: "hint", Step: Finger, Hint: c.fingerHint})
			}
			if ctx.Err() != nil {
				return nil
			}
			continue
		case err != nil && over(ctx):
			if c.fingerHint == "" {
				c.fingerHint = string(sensor.HintNoFinger)
			}
			return nil
		case err != nil:
			return fmt.Errorf("device: finger: %w", err)
		}
		return d.compareFinger(ctx, c, print, ts, named, passed)
	}
}

// ManyFingers is from how many on a reader that can is asked to search: fewer
// are compared as fast one after the other.
const ManyFingers = 4

// bestFinger compares a scan with every template and returns the best score and
// whose it is. ErrDoubt is returned with what the others yielded.
//
// The templates of one person, whatever their number, are put into no cache: they are
// compared one by one until one suffices. prints is as in Evidence.
func (d *Device) bestFinger(ctx context.Context, print sensor.Print, ts []store.Template, prints int) (best float64, user store.UserID, err error) {
	_, caches := d.hw.Match.(FingerCache)
	oneByOne := caches && !slices.ContainsFunc(ts, func(t store.Template) bool { return t.User != ts[0].User })
	if s, ok := d.hw.Match.(FingerSearcher); ok && !oneByOne && len(ts) >= ManyFingers {
		data := make([][]byte, len(ts))
		for i, t := range ts {
			data[i] = t.Data
		}
		i, score, err := s.Identify(ctx, print, data)
		if err != nil || i < 0 || i >= len(ts) {
			return 0, "", err
		}
		return score, ts[i].User, nil
	}
	best = -1
	var doubt, spoilt error
	for _, t := range ts {
		score, err := d.hw.Match.Match(ctx, print, t.Data)
		if errors.As(err, new(*sensor.AttackError)) { // whatever else it is
			return best, user, err
		}
		if errors.Is(err, sensor.ErrTemplate) {
			spoilt = err // no finger matches it, and those of the others are no worse for it
			continue
		}
		if errors.Is(err, sensor.ErrDoubt) {
			score, doubt, err = 0, err, nil
		}
		if err != nil {
			return best, user, err
		}
		if score > best {
			best, user = score, t.User
		}
		if oneByOne && d.policy.finger(Measure{Enrolled: true, Compared: true, Score: best, FMR: d.hw.Match.FMR(best)}, float64(max(prints, 1))) == "" {
			break
		}
	}
	if best < 0 {
		return best, user, spoilt // there was no other
	}
	return best, user, doubt
}

// attacked tells whether the error gives the module away as an attacker's, and
// makes it a comparison that failed.
func (c *captured) attacked(err error) bool {
	attack := (*sensor.AttackError)(nil)
	if !errors.As(err, &attack) {
		return false
	}
	c.finger.Compared, c.finger.Score, c.finger.FMR, c.finger.Attack = true, 0, 1, attack.Kind
	return true
}

func (d *Device) compareFinger(ctx context.Context, c *captured, print sensor.Print, ts []store.Template, named bool, passed func()) error {
	d.keep()
	prints := len(ts)
	if named {
		prints = 0
	}
	best, user, err := d.bestFinger(ctx, print, ts, prints)
	wait := (*sensor.RetryError)(nil)
	switch {
	case c.attacked(err):
		return nil
	case errors.As(err, &wait): // nothing was decided
		c.fingerHint = string(wait.Hint)
		d.tell(c.notify, Event{Kind: "hint", Step: Finger, Hint: c.fingerHint})
		return nil
	case errors.Is(err, sensor.ErrDoubt):
		d.opts.Log.Warn("a finger was refused", "err", err)
		best, err = max(best, 0), nil
	case err != nil && over(ctx) && !c.finger.Compared:
		return nil
	case err != nil:
		return fmt.Errorf("device: finger: %w", err)
	}
	if best < 0 {
		return fmt.Errorf("device: the finger matcher answers no number: %w", sensor.ErrProtocol)
	}
	c.finger.Compared, c.finger.Score, c.finger.FMR = true, best, d.hw.Match.FMR(best)
	if !named {
		c.user, c.prints = user, prints
	}
	d.tell(c.notify, Event{Kind: "progress", Step: Finger, Done: 1, Of: 1})
	if d.policy.finger(c.finger, float64(max(c.prints, 1))) == "" {
		passed()
	}
	return nil
}
