// Package client is what a program needs to talk to a faceprint daemon: the
// types on the wire and the calls, over the daemon's unix socket.
//
// It uses the standard library alone and imports neither the device nor the
// store, so that the command line tool starts in milliseconds. The same types
// make the server's OpenAPI description; their tags are its documentation.
//
// The protocol is HTTP/1.1 with JSON. Times are RFC 3339 in UTC, durations
// are milliseconds. A refusal is an answer (200, outcome "refused"), never an
// error; errors are RFC 9457 problems.
package client

import "time"

// Outcome is one of the four ways in which an attempt ends.
type Outcome string

// Outcomes. A fault is never one of these in an answer: it is an *Error.
const (
	Granted Outcome = "granted" // the policy said yes, it was recorded, the lock was told
	Refused Outcome = "refused" // the policy said no: Reasons tell why; counted where it was a failed comparison
	Retry   Outcome = "retry"   // nothing was compared: Hints tell what to do; never counted
)

// Attempt asks the device to authenticate or identify.
type Attempt struct {
	User      string   `json:"user,omitempty" doc:"Claimed identity: the id of a person. Empty asks the device to identify (1:N), where its policy allows that." maxLength:"64"`
	Nonce     string   `json:"nonce,omitempty" doc:"The asker's nonce; it comes back inside the grant." maxLength:"256"`
	Audience  string   `json:"audience,omitempty" doc:"Who the grant is for; becomes its aud claim." maxLength:"256"`
	Factors   []string `json:"factors,omitempty" doc:"Factors to ask for, at least those that the policy wants. Empty means the policy's. phone asks the person's paired phone to approve." enum:"face,finger,phone" maxItems:"3"`
	TimeoutMs int      `json:"timeout_ms,omitempty" doc:"The deadline of the whole attempt; 0 is the device's default." minimum:"0" maximum:"120000"`
}

// Decision is the answer to an Attempt.
type Decision struct {
	Outcome     Outcome    `json:"outcome" enum:"granted,refused,retry" doc:"How the attempt ended."`
	User        string     `json:"user,omitempty" doc:"The person: claimed, or found by identification. Never set on a refused identification."`
	Reasons     []string   `json:"reasons" doc:"Stable words, such as face-no-match, finger-no-match, not-live, locked-out."`
	Hints       []string   `json:"hints" doc:"What the person can do, such as closer, too-dark, press-finger." enum:"no-face,one-person,closer,farther,move-to-centre,too-dark,too-bright,turn-to-camera,hold-still,backlit,colour-cast,look-straight,turn-left,turn-right,nearer,uncover-face,open-eyes,blink,press-finger,press-again,clean-finger,press-flat,lift-finger,use-same-finger,press-longer,use-other-finger,start-again,wait,approve-on-phone,give-way"`
	Factors     []Factor   `json:"factors" doc:"What was measured, one entry a factor."`
	FMR         float64    `json:"fmr" doc:"False match rate of the whole evidence, 0 to 1; 1 when nothing matched." minimum:"0" maximum:"1"`
	LockedUntil *time.Time `json:"locked_until,omitempty" doc:"Set when the person or the device is locked out."`
	Failures    int        `json:"failures" doc:"Consecutive failures counted for this person after this attempt."`
	Grant       string     `json:"grant,omitempty" doc:"A signed JWT (ES256) for the asker; check it with the device's keys."`
	Audit       uint64     `json:"audit" doc:"Number of the audit entry."`
	TookMs      float64    `json:"took_ms" doc:"From the request to the decision."`
}

// Factor is one measured comparison.
type Factor struct {
	Kind   string   `json:"kind" enum:"face,finger,phone" doc:"What was compared; of a phone: whether its key signed for this attempt."`
	Passed bool     `json:"passed" doc:"Whether this factor alone satisfied the policy."`
	Score  *float64 `json:"score,omitempty" doc:"On the matcher's own scale: cosine for faces, the module's score for fingers. Absent when not measured."`
	FMR    float64  `json:"fmr" doc:"The score as a false match rate by the matcher's own table; 1 when unknown." minimum:"0" maximum:"1"`
	Live   *float64 `json:"live,omitempty" doc:"P(live) of the face, 0 to 1. Absent when not measured."`
	Model  string   `json:"model,omitempty" doc:"Profile or module family that measured it."`
	TookMs float64  `json:"took_ms" doc:"Capture and comparison."`
}

// PINAttempt asks the device to authenticate by a PIN alone, where its policy
// takes one. It waits for no sensor.
type PINAttempt struct {
	User     string `json:"user,omitempty" doc:"Whose; or else Name." maxLength:"64"`
	Name     string `json:"name,omitempty" doc:"What the person is called." maxLength:"128"`
	PIN      string `json:"pin" doc:"6 to 12 digits." maxLength:"64"`
	Nonce    string `json:"nonce,omitempty" doc:"The asker's nonce; it comes back inside the grant." maxLength:"256"`
	Audience string `json:"audience,omitempty" doc:"Who the grant is for; becomes its aud claim." maxLength:"256"`
}

// NewPIN gives a person a PIN in place of any other.
type NewPIN struct {
	PIN string `json:"pin" doc:"6 to 12 digits, no simple sequence." maxLength:"64"`
}

// Fingers are the names of fingers, as fprintd has them.
var Fingers = []string{
	"left-thumb", "left-index-finger", "left-middle-finger", "left-ring-finger", "left-little-finger",
	"right-thumb", "right-index-finger", "right-middle-finger", "right-ring-finger", "right-little-finger",
}

// Consent is what a person agreed to before anything of theirs was captured.
type Consent struct {
	Given       bool   `json:"given" doc:"Must be true: without consent nothing is captured."`
	TextVersion string `json:"text_version" doc:"Version of the text that the person was shown." minLength:"1" maxLength:"64"`
	Language    string `json:"language,omitempty" doc:"BCP 47 tag of that text." maxLength:"35"`
	Witness     string `json:"witness,omitempty" doc:"Who saw it, where the house asks for that." maxLength:"128"`
}

// Enrolment asks the device to enrol a person, or to add a factor to one.
type Enrolment struct {
	User    string   `json:"user,omitempty" doc:"An existing person to add to; empty makes a new one." maxLength:"64"`
	Name    string   `json:"name,omitempty" doc:"What the person is called; stays on the device." maxLength:"128"`
	Factors []string `json:"factors" doc:"What to enrol." enum:"face,finger" minItems:"1" maxItems:"2"`
	Finger  string   `json:"finger,omitempty" doc:"Which finger, by fprintd's names." enum:"left-thumb,left-index-finger,left-middle-finger,left-ring-finger,left-little-finger,right-thumb,right-index-finger,right-middle-finger,right-ring-finger,right-little-finger"`
	Poses   bool     `json:"poses,omitempty" doc:"Ask for the face from the front and turned a little to both sides."`
	Consent Consent  `json:"consent" doc:"The person's consent, recorded with the templates."`
}

// Enrolled is what came of an Enrolment.
type Enrolled struct {
	User      string     `json:"user" doc:"The person's id."`
	Templates []Template `json:"templates" doc:"What was added."`
	Audit     uint64     `json:"audit" doc:"Number of the audit entry."`
	TookMs    float64    `json:"took_ms"`
	Warnings  []string   `json:"warnings,omitempty" doc:"What an administrator should know, such as that the module's library is nearly full, or that 'identify' finds nobody by face any more."`
	Signed    string     `json:"signed" doc:"The person's receipt of what they agreed to, a JWS by the device's witness key."`
}

// Template tells that there is one; what is in it never leaves the device.
type Template struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind" doc:"face, module or minutia."`
	Model   string    `json:"model" doc:"Profile or module family that made it."`
	Label   string    `json:"label,omitempty" doc:"Such as the finger's name."`
	Created time.Time `json:"created"`
	Bytes   int       `json:"bytes" doc:"Size of the template."`
}

// Person is one who is enrolled.
type Person struct {
	User        string     `json:"user" doc:"The person's id."`
	Name        string     `json:"name" doc:"Only admins see it."`
	Created     time.Time  `json:"created"`
	Consent     Consented  `json:"consent"`
	Templates   []Template `json:"templates"`
	Failures    int        `json:"failures" doc:"Consecutive failures so far."`
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	PIN         bool       `json:"pin" doc:"Whether they have a PIN."`
	Disabled    bool       `json:"disabled,omitempty" doc:"Too many failures: only an admin's unlock ends it."`
}

// ConsentText is what a person is shown before an enrolment.
type ConsentText struct {
	Version  string `json:"version"`
	Language string `json:"language"`
	Text     string `json:"text"`
}

// Consented is a recorded Consent.
type Consented struct {
	At          time.Time `json:"at"`
	TextVersion string    `json:"text_version"`
	Language    string    `json:"language,omitempty"`
	Witness     string    `json:"witness,omitempty"`
}

// People is the list of those enrolled.
type People struct {
	People []Person `json:"people"`
}

// Receipt proves that a person was forgotten.
type Receipt struct {
	User      string    `json:"user"`
	At        time.Time `json:"at"`
	Templates int       `json:"templates" doc:"How many templates became unreadable."`
	Compacted bool      `json:"compacted" doc:"Whether the file was rewritten, so that the old bytes are gone as well."`
	Searched  bool      `json:"searched" doc:"Whether the whole file was searched for the person's id and key, and nothing was found."`
	KeyMoved  bool      `json:"key_moved" doc:"Whether the device key was replaced as well, so that old copies of the vault open for nobody."`
	Audit     uint64    `json:"audit" doc:"Number of the audit entry."`
	Signed    string    `json:"signed" doc:"The same as a JWS (EdDSA), for the person; check it with the witness key of /v1/keys."`
}

// Renewed tells what a renewal of templates did.
type Renewed struct {
	Templates int `json:"templates" doc:"How many face templates were renewed. Those of fingers belong to the module's maker and cannot be: enrol another finger."`
}

// Report is all that the device has of one person, for that person.
type Report struct {
	Person     Person        `json:"person" doc:"What is held: of templates, that they are there."`
	Earlier    []Consented   `json:"earlier_consents" doc:"What they agreed to before, oldest first."`
	LastUsed   *time.Time    `json:"last_used,omitempty" doc:"When they were last let in."`
	Ends       *time.Time    `json:"ends,omitempty" doc:"When they are erased by the house's retention, if they do not come again. Absent: not before they ask."`
	EndsAnyway bool          `json:"ends_anyway,omitempty" doc:"They are erased then however often they come."`
	Records    []RecordCount `json:"records" doc:"What else is held, by kind."`
	Events     []Entry       `json:"events" doc:"What happened with it, as far as the audit chain goes back."`
}

// RecordCount is how many records of a kind there are, such as PINs or phones.
type RecordCount struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// OwnReport is the answer to a person who asks at the device itself.
type OwnReport struct {
	Decision Decision `json:"decision"`
	Report   *Report  `json:"report,omitempty" doc:"Only when the decision is granted."`
}

// BackupKeys say to whom a backup is encrypted, as age recipients (age1...).
type BackupKeys struct {
	Operator []string `json:"operator" doc:"Who can open it, and restore it on this device." minItems:"1" maxItems:"8"`
	Recovery []string `json:"recovery,omitempty" doc:"The owner's: with it the backup can be restored on another device." maxItems:"8"`
}

// Checkpoint states what the audit chain was at one entry.
type Checkpoint struct {
	Seq    uint64    `json:"seq"`
	Hash   string    `json:"hash" doc:"Of that entry, and so of all before it, hexadecimal."`
	At     time.Time `json:"at"`
	Signed string    `json:"signed" doc:"The same as a JWS (EdDSA); check it with the witness key of /v1/keys."`
}

// AuditPage is a stretch of the audit chain.
type AuditPage struct {
	Entries  []Entry `json:"entries"`
	Verified bool    `json:"verified" doc:"Whether the whole chain, not only this page, is unbroken."`
	Problem  string  `json:"problem,omitempty" doc:"Where the chain breaks."`
	Head     string  `json:"head" doc:"Hash of the newest entry, hexadecimal; keep it elsewhere to detect a rolled back device."`
	Total    uint64  `json:"total" doc:"Number of the newest entry."`

	Base *Checkpoint `json:"base,omitempty" doc:"What the chain begins with, where older entries were pruned."`
}

// Entry is one line of the audit chain.
type Entry struct {
	Seq     uint64             `json:"seq"`
	At      time.Time          `json:"at"`
	Kind    string             `json:"kind" doc:"Such as authenticate, enrol, forget."`
	User    string             `json:"user,omitempty"`
	Outcome string             `json:"outcome"`
	Reasons []string           `json:"reasons"`
	Scores  map[string]float64 `json:"scores,omitempty"`
	Times   int                `json:"times,omitempty" doc:"How many attempts it stands for, where a lock-out refused more than the first."`
	Prev    string             `json:"prev,omitempty" doc:"Hash of the entry before, hexadecimal; not in a phone's history, which has no whole chain to check."`
}

// Status is the health of the device.
type Status struct {
	State   string     `json:"state" enum:"ready,degraded" doc:"degraded: a part is missing and is being retried, or does not do all that it is for."`
	Version string     `json:"version"`
	Started time.Time  `json:"started"`
	Now     time.Time  `json:"now" doc:"The device's clock."`
	Bench   bool       `json:"bench" doc:"Whether the camera, the finger and the door are simulated."`
	Present string     `json:"present,omitempty" enum:"somebody,nobody,blind" doc:"Who is before the device: blind where the camera is not there; left out where nobody watches, which only a device with a kiosk page does."`
	Busy    bool       `json:"busy" doc:"Whether an attempt or an enrolment is going on."`
	People  int        `json:"people"`
	Audit   uint64     `json:"audit" doc:"Number of the newest audit entry."`
	Parts   []Part     `json:"parts"`
	Locked  *time.Time `json:"locked_until,omitempty" doc:"Set when the whole device is locked out."`
}

// Part is one piece of hardware or software that the device is made of.
type Part struct {
	Name   string     `json:"name" doc:"camera, faces, finger, door, store, key."`
	State  string     `json:"state" enum:"ok,degraded,missing,off" doc:"degraded is there and does not do all that it is for, as detail says; missing is retried; off is not configured."`
	Detail string     `json:"detail,omitempty" doc:"What it is, or what is wrong with it."`
	Advice string     `json:"advice,omitempty" doc:"What to do about it."`
	Since  *time.Time `json:"since,omitempty"`
	// Numbers that the part counts, by name.
	Numbers map[string]float64 `json:"numbers,omitempty" doc:"What the part counts, such as damaged packets of the finger module's line; also metrics."`
}

// Check is one finding of the doctor.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state" enum:"ok,warn,fail,skip"`
	Detail string `json:"detail,omitempty"`
	Advice string `json:"advice,omitempty"`
}

// CameraChart is the sheet that a technician prints and holds before the
// camera.
type CameraChart struct {
	SVG string `json:"svg" doc:"One A4 page across, in its true size."`
}

// CameraMeasure is what the chart told of the camera.
type CameraMeasure struct {
	Found       bool      `json:"found"`
	Across      float64   `json:"across" doc:"Half of the contrast is left at so many cycles a pixel, across upright edges; 0.5 is the most."`
	Along       float64   `json:"along" doc:"The same across level edges."`
	PixelsPerMM float64   `json:"pixels_per_mm" doc:"Where the chart was."`
	White       float64   `json:"white" doc:"Mean grey of the paper, 0 to 255."`
	Black       float64   `json:"black"`
	Fields      []float64 `json:"fields" doc:"Mean grey of the six fields, the darkest first."`
	Noise       float64   `json:"noise" doc:"Standard deviation in a grey field, grey levels."`
	Even        float64   `json:"even" doc:"Light at the darkest corner over that at the brightest."`
	Checks      []Check   `json:"checks"`
}

// Diagnosis is what the daemon found out about its own parts.
type Diagnosis struct {
	Checks []Check `json:"checks"`
}

// Config is the effective configuration, with the defaults filled in and
// secrets left out.
type Config struct {
	TOML string `json:"toml" doc:"As the daemon would read it."`
	File string `json:"file,omitempty" doc:"Where it came from; empty when only defaults apply."`
}

// Keys are the public keys with which grants are checked: a JSON Web Key Set.
type Keys struct {
	Keys    []JWK `json:"keys"`
	Witness *OKP  `json:"witness,omitempty" doc:"Checks erasure receipts and checkpoints of the audit chain; it never signs a grant."`
}

// OKP is one Ed25519 public key (RFC 8037).
type OKP struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	X   string `json:"x"`
}

// KioskCode is what an administrator hands to somebody at the kiosk, who types
// it there to enrol people or to see how the device is.
type KioskCode struct {
	Code  string    `json:"code" doc:"Eight digits, good once and for three tries."`
	Until time.Time `json:"until"`
	URL   string    `json:"url" doc:"Of the page, on this machine."`
}

// JWK is one P-256 public key (RFC 7517).
type JWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// Event is something that happened, in the order in which it happened. It
// carries no picture, template or name.
type Event struct {
	Seq      uint64    `json:"seq"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind" doc:"Such as progress, check (the finger of an enrolment is compared with those who are enrolled, done of of), hint, decision, fault (a part of the device ended the attempt), ended (the device is free again), door, guard (what the guard board saw of the door), presence, lamp (what the finger reader's shows), part, enrolled, forgotten."`
	Step     string    `json:"step,omitempty" doc:"What the device is doing, such as face or finger."`
	Done     int       `json:"done,omitempty" doc:"How much of the step is done, of Of."`
	Of       int       `json:"of,omitempty"`
	Coverage int       `json:"coverage,omitempty" doc:"How much of the finger an enrolment saw so far, percent of the reader's window; told by readers that can."`
	Hint     string    `json:"hint,omitempty" doc:"What the person can do." enum:"no-face,one-person,closer,farther,move-to-centre,too-dark,too-bright,turn-to-camera,hold-still,backlit,colour-cast,look-straight,turn-left,turn-right,nearer,uncover-face,open-eyes,blink,press-finger,press-again,clean-finger,press-flat,lift-finger,use-same-finger,press-longer,use-other-finger,start-again,wait,approve-on-phone,give-way"`
	User     string    `json:"user,omitempty" doc:"Only admins see it."`
	Outcome  string    `json:"outcome,omitempty"`
	Reasons  []string  `json:"reasons,omitempty"`
	Detail   string    `json:"detail,omitempty"`

	// Of phone-paired, inside the daemon alone:
	Phone string `json:"-"` // its id
	Code  string `json:"-"` // the id of the invitation that it was paired with
}

// LoginAttempt asks whether whose account it is, is here.
type LoginAttempt struct {
	Account   string `json:"account" doc:"Name of the account, as in passwd." minLength:"1" maxLength:"255"`
	Nonce     string `json:"nonce" doc:"The asker's, fresh for every attempt; every line of the answer repeats it." minLength:"16" maxLength:"128" pattern:"^[0-9a-zA-Z_-]+$"`
	Service   string `json:"service,omitempty" doc:"Name of the PAM service." maxLength:"64"`
	TimeoutMs int    `json:"timeout_ms,omitempty" doc:"The deadline of the whole attempt; 0 is the device's default." minimum:"0" maximum:"120000"`
	PIN       string `json:"pin,omitempty" doc:"Decide by this PIN alone, and look at nobody." maxLength:"64"`
	Keyring   bool   `json:"keyring,omitempty" doc:"Of a yes by face and finger, tell the password of the account's keyring where the device keeps one. Root alone may ask for it."`
}

// LoginLine is one line of the answer to a LoginAttempt: an object of strings
// alone, so that a small reader in C can be strict. The first has neither a hint
// nor an outcome where the device looks, the last has an outcome.
type LoginLine struct {
	Nonce   string `json:"nonce" doc:"The asker's."`
	Account string `json:"account" doc:"The one that was asked for."`
	Hint    string `json:"hint,omitempty" doc:"What the person can do, such as closer or press-finger." enum:"no-face,one-person,closer,farther,move-to-centre,too-dark,too-bright,turn-to-camera,hold-still,backlit,colour-cast,look-straight,turn-left,turn-right,nearer,uncover-face,open-eyes,blink,press-finger,press-again,clean-finger,press-flat,lift-finger,use-same-finger,press-longer,use-other-finger,start-again,wait,approve-on-phone,give-way"`
	Outcome string `json:"outcome,omitempty" enum:"granted,refused,retry,busy,fault" doc:"How it ended. Only granted is a yes."`
	Reason  string `json:"reason,omitempty" doc:"Of a refusal, such as locked-out."`
	Keyring string `json:"keyring,omitempty" doc:"Of a yes, the password of the account's keyring, where it was asked for and the device keeps one."`
}

// Login says that a person may log in to an account.
type Login struct {
	Account string    `json:"account"`
	User    string    `json:"user" doc:"The person's id."`
	Since   time.Time `json:"since"`
	Keyring bool      `json:"keyring,omitempty" doc:"The device opens the account's keyring."`
}

// Keyring is what came of the attempt to have the device open an account's
// keyring.
type Keyring struct {
	Account  string   `json:"account"`
	Decision Decision `json:"decision"`
	Password string   `json:"password,omitempty" doc:"Of the keyring, of a yes: to be shown to the person, who writes it down."`
}

// Logins is the list of them.
type Logins struct {
	Logins []Login `json:"logins"`
}

// LoginOf names the person who may log in to an account.
type LoginOf struct {
	User string `json:"user" doc:"The person's id." maxLength:"64"`
}
