package device

import (
	"math"
)

// Factor is a kind of evidence. The names are part of the API.
type Factor string

// Factors.
const (
	Face   Factor = "face"
	Finger Factor = "finger"
	Phone  Factor = "phone" // a paired phone: its key signed for this attempt
	PIN    Factor = "pin"   // instead of the others, where the policy takes it
)

// Reason tells why an attempt was refused. The words are part of the API.
type Reason string

// Reasons.
const (
	FaceNoMatch       Reason = "face-no-match"
	FaceNotLive       Reason = "face-not-live"  // an attack: a picture or a screen
	FaceReplayed      Reason = "face-replayed"  // an attack: a recording played into the camera
	FaceNoAnswer      Reason = "face-no-answer" // an attack: it did not move as it was asked to
	FaceTooSlow       Reason = "face-too-slow"  // it would have to move, and there was no time to ask it to
	FaceMissing       Reason = "face-missing"
	FaceNotEnrolled   Reason = "face-not-enrolled"
	FingerNoMatch     Reason = "finger-no-match"
	FingerMissing     Reason = "finger-missing"
	FingerNotEnrolled Reason = "finger-not-enrolled"
	FingerElsewhere   Reason = "finger-elsewhere"     // enrolled on another kind of module alone
	FingerModule      Reason = "finger-module-attack" // the module lies or was swapped
	PhoneNotEnrolled  Reason = "phone-not-enrolled"
	PhoneMissing      Reason = "phone-missing"
	PhoneDenied       Reason = "phone-denied"      // its owner said no
	PhoneNotAllowed   Reason = "phone-not-allowed" // the policy gives phones no weight
	PINNoMatch        Reason = "pin-no-match"      // or that person has none
	PINForbidden      Reason = "pin-forbidden"
	LockedOut         Reason = "locked-out"
	Disabled          Reason = "disabled"
	NoPolicy          Reason = "no-policy" // the policy allows nothing
	NobodyFound       Reason = "nobody-found"

	// Of enrolments.
	FaceMixed       Reason = "face-mixed"     // several people, or not who it was to be
	FaceDuplicate   Reason = "face-duplicate" // somebody with this face is enrolled
	FingerDuplicate Reason = "finger-duplicate"
)

// Mode says which factors a policy wants.
type Mode string

// Modes. The zero Mode allows nothing.
const (
	FaceOnly   Mode = "face"
	FingerOnly Mode = "finger"
	Either     Mode = "either" // one suffices
	Both       Mode = "both"   // the strict one
)

// Wants tells whether the mode has a use for the factor.
func (m Mode) Wants(f Factor) bool {
	switch m {
	case FaceOnly:
		return f == Face
	case FingerOnly:
		return f == Finger
	case Either, Both:
		return true
	}
	return false
}

// PhoneWeight says what a paired phone counts for in an attempt that it takes
// part in. The zero weight refuses such attempts.
type PhoneWeight string

// Weights.
const (
	PhoneExtra  PhoneWeight = "extra"  // one factor more than the mode wants
	PhoneSecond PhoneWeight = "second" // in the place of one of the two factors of Both
	PhoneAlone  PhoneWeight = "alone"  // it suffices
)

// Challenge says of whom the device asks a move of the head before it takes them
// for living. The zero Challenge is auto; a word that is none of these is on.
type Challenge string

// Challenges.
const (
	ChallengeAuto Challenge = "auto" // whom the passive cues leave in doubt, and everybody for a while after an attack
	ChallengeOn   Challenge = "on"   // everybody
	ChallengeOff  Challenge = "off"
)

// clearlyLive is the liveness from which on a face is in no doubt. Living people
// of the demo's and the liveness clips reach it in all of 511 decisions
// (faceprint-eval liveness).
const clearlyLive = 0.8

// Answer is what came of a challenge.
type Answer string

// Answers. The zero Answer is that nothing was asked.
const (
	AnswerNone  Answer = "none"  // asked, and nothing came
	AnswerWrong Answer = "wrong" // something else came, or too soon
	AnswerRight Answer = "right"
	AnswerSlow  Answer = "slow" // there was no time for it: frames take too long, or the attempt was too short
)

// Policy is what it takes to be let in. The zero Policy refuses everybody.
type Policy struct {
	Mode      Mode
	Phone     PhoneWeight
	FaceFMR   float64 // largest false match rate of a face that passes, (0, 1)
	FingerFMR float64 // the same of a finger
	Live      float64 // least probability that the face is live, (0, 1]
	Challenge Challenge
	Blink     bool // a challenge may ask for a blink as well
	Adapt     bool // a template follows the person's look, after two factors
	PIN       bool // a PIN alone will do, for the day on which nothing can be measured
	Keyring   bool // a login by face and finger opens the person's keyring
}

// DefaultPolicy wants both factors at the rates of NIST SP 800-63B-4 (FMR of
// at most 1 in 10,000 each), and a live face; or a paired phone and one of them,
// which is its second, physical factor.
func DefaultPolicy() Policy {
	return Policy{Mode: Both, Phone: PhoneSecond, FaceFMR: 1e-4, FingerFMR: 1e-4, Live: 0.5, Challenge: ChallengeAuto}
}

// Measure is what one factor yielded. The zero Measure is nothing.
type Measure struct {
	Enrolled  bool    // there is a template to compare with
	Compared  bool    // and it was compared
	Elsewhere bool    // of a finger: there are templates, and all are another kind of module's
	Score     float64 // on the matcher's own scale
	FMR       float64 // the score as a false match rate, 0 to 1
	Live      float64 // of a face: P(live), NaN where not measured
	Attack    string  // what gave the reader away as an attacker's, "" where nothing did
	Replayed  bool    // of a face: frames of the camera came again
	Suspect   bool    // of a face: it turns as a sheet does, is as still as a picture, or has edges as a phone's
	Alarm     bool    // of a face: an attack was seen here shortly before, by whomever
	Answer    Answer  // of a face: to the challenge
	// Cues for and against an attack, by name, for the audit.
	Cues map[string]float64
}

// Possession is what a paired phone yielded. The zero Possession takes no part.
type Possession struct {
	Asked    bool // the attempt is from a phone, or asks for one
	Enrolled bool // the person has one that may answer
	Shown    bool // its key signed for this very attempt
	Denied   bool // its owner said no

	By   string // which one answered, for the record
	Here bool   // its word alone is not enough: somebody has to be measured
}

// Known is what a person knows. The zero Known is nothing.
type Known struct {
	Enrolled bool // there is one to compare with
	Compared bool // and one was given
	Right    bool
}

// Evidence is all that an attempt yielded.
type Evidence struct {
	Face, Finger Measure
	Phone        Possession
	PIN          Known // where it was compared, it alone is decided on
	// Gallery is with how many templates the face was compared, of however many
	// people, Prints with how many fingers a 1:N search compared the finger; 0 is as 1.
	// Of the finger 1 means that it was known whose it had to be, as after a face: it
	// is held against the one person whom the face found. A false match in any of them is a false match, so the
	// rates are multiplied by it (ISO/IEC 19795-1, 1:N from 1:1 for small FMR).
	Gallery, Prints int
}

// Verdict is what a policy makes of evidence.
type Verdict struct {
	Granted bool
	Reasons []Reason // why not; empty when granted
	Passed  []Factor // factors that satisfied the policy
	// FMR of the evidence that passed, the product where two factors did,
	// since a face and a finger are independent; 1 where nothing passed.
	FMR float64
}

// Decide is the only place that says yes. It is pure: no clock, no I/O. A zero
// policy, a rate that is no number and evidence that is missing all refuse.
func (p Policy) Decide(e Evidence) Verdict {
	if e.PIN.Compared {
		return p.decidePIN(e.PIN)
	}
	v := Verdict{FMR: 1}
	if e.Face.Replayed {
		v.Reasons = []Reason{FaceReplayed}
		return v
	}
	if e.Finger.Attack != "" { // whoever tampers with one part is not let in by another
		v.Reasons = []Reason{FingerModule, Reason(e.Finger.Attack)}
		return v
	}
	if e.Phone.Asked && !p.Phone.known() {
		v.Reasons = []Reason{PhoneNotAllowed}
		return v
	}
	p.Mode = p.modeWith(e.Phone)
	templates, prints := float64(max(e.Gallery, 1)), float64(max(e.Prints, 1))
	face := p.face(e.Face, templates)
	finger := p.finger(e.Finger, prints)
	if p.Mode.Wants(Face) && face == "" {
		v.Passed = append(v.Passed, Face)
		v.FMR *= e.Face.FMR * templates
	}
	if p.Mode.Wants(Finger) && finger == "" {
		v.Passed = append(v.Passed, Finger)
		v.FMR *= e.Finger.FMR * prints
	}
	biometrics := len(v.Passed)
	if phone := p.phone(e.Phone); e.Phone.Asked && phone == "" {
		v.Passed = append(v.Passed, Phone)
	}
	switch p.Mode {
	case FaceOnly, FingerOnly:
		v.Granted = biometrics == 1
	case Either:
		v.Granted = biometrics >= 1
	case Both:
		v.Granted = biometrics == 2
	case phoneOnly:
		v.Granted = p.Phone == PhoneAlone && e.Phone.Asked && e.Phone.Shown && !e.Phone.Here
	default:
		return Verdict{FMR: 1, Reasons: []Reason{NoPolicy}}
	}
	phone := p.phone(e.Phone)
	if v.Granted = v.Granted && phone == ""; v.Granted {
		return v
	}
	if phone != "" {
		v.Reasons = append(v.Reasons, phone)
	}
	if biometrics == 0 || p.Mode != Either {
		v.Reasons = append(v.Reasons, p.missing(face, finger)...)
	}
	if p.Mode == phoneOnly && (face.attack() || face == FaceTooSlow) { // no factor, but it was to tell whose phone it is
		v.Reasons = append(v.Reasons, face)
	}
	return v
}

// missing lists why the factors that the mode wants do not pass.
func (p Policy) missing(face, finger Reason) (rs []Reason) {
	if p.Mode.Wants(Face) && face != "" {
		rs = append(rs, face)
	}
	if p.Mode.Wants(Finger) && finger != "" {
		rs = append(rs, finger)
	}
	return rs
}

// phoneOnly is the mode of an attempt in which the phone suffices.
const phoneOnly Mode = "phone"

func (w PhoneWeight) known() bool { return w == PhoneExtra || w == PhoneSecond || w == PhoneAlone }

// modeWith is the mode of an attempt in which a phone takes part, or not. A
// policy that allows nothing allows nothing with a phone either. Where somebody
// has to be measured, a phone that would suffice is worth a second factor.
func (p Policy) modeWith(phone Possession) Mode {
	if !phone.Asked {
		return p.Mode
	}
	switch {
	case (p.Phone == PhoneSecond || p.Phone == PhoneAlone && phone.Here) && p.Mode == Both:
		return Either
	case p.Phone == PhoneAlone && phone.Here:
		return p.Mode
	case p.Phone == PhoneAlone && (p.Mode.Wants(Face) || p.Mode.Wants(Finger)):
		return phoneOnly
	}
	return p.Mode
}

// phone returns why the phone does not pass, "" when it does or takes no part.
func (p Policy) phone(e Possession) Reason {
	switch {
	case !e.Asked:
		return ""
	case !p.Phone.known():
		return PhoneNotAllowed
	case !e.Enrolled:
		return PhoneNotEnrolled
	case e.Denied:
		return PhoneDenied
	case !e.Shown:
		return PhoneMissing
	}
	return ""
}

func (p Policy) decidePIN(k Known) Verdict {
	switch {
	case !p.PIN:
		return Verdict{FMR: 1, Reasons: []Reason{PINForbidden}}
	case !k.Enrolled || !k.Right:
		return Verdict{FMR: 1, Reasons: []Reason{PINNoMatch}}
	}
	return Verdict{Granted: true, Passed: []Factor{PIN}, FMR: pinFMR}
}

// face returns why the face does not pass, "" when it does.
func (p Policy) face(m Measure, templates float64) Reason {
	switch {
	case !m.Enrolled:
		return FaceNotEnrolled
	case !m.Compared:
		return FaceMissing
	case !below(m.FMR*templates, p.FaceFMR):
		return FaceNoMatch
	case !(p.Live > 0 && p.Live <= 1 && m.Live >= p.Live && m.Live <= 1):
		return FaceNotLive
	case m.Answer == AnswerSlow:
		return FaceTooSlow
	case m.Answer != AnswerRight && (m.Answer != "" || p.asks(m)):
		return FaceNoAnswer
	}
	return ""
}

// doubtful tells whether something about the face itself speaks for a picture.
func (m Measure) doubtful() bool { return m.Suspect || !(m.Live >= clearlyLive) }

// asks tells whether a face that is otherwise good has to answer a challenge.
func (p Policy) asks(m Measure) bool {
	switch p.Challenge {
	case ChallengeOff:
		return false
	case "", ChallengeAuto:
		return m.Alarm || m.doubtful()
	}
	return true
}

func (p Policy) finger(m Measure, prints float64) Reason {
	switch {
	case !m.Enrolled && m.Elsewhere:
		return FingerElsewhere
	case !m.Enrolled:
		return FingerNotEnrolled
	case !m.Compared:
		return FingerMissing
	case !below(m.FMR*prints, p.FingerFMR):
		return FingerNoMatch
	}
	return ""
}

// attack tells whether a reason is an attack rather than a stranger or a bad
// day.
func (r Reason) attack() bool {
	return r == FaceNotLive || r == FaceReplayed || r == FaceNoAnswer || r == FingerModule
}

// below tells whether a rate is a rate and within its limit. A limit outside
// (0, 1) is no limit that anybody meant.
func below(fmr, limit float64) bool {
	return limit > 0 && limit < 1 && fmr >= 0 && fmr <= limit && !math.IsNaN(fmr)
}
