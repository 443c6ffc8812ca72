package store

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/faceprint/faceprint/store/isometry"
)

// Version is the schema that this package reads and writes. A vault of a
// newer schema is refused, never guessed at; an older one is migrated.
const Version = 4

// Top-level buckets. Every value but the schema's version is sealed; records
// that belong to a person have keys that begin with the person's id.
var (
	bucketMeta      = []byte("meta")      // see below
	bucketKeys      = []byte("keys")      // person -> data key, wrapped by the root key
	bucketSeeds     = []byte("seeds")     // person -> what their face templates are turned by
	bucketPeople    = []byte("people")    // person -> Person
	bucketTemplates = []byte("templates") // person/id -> Template
	bucketLockouts  = []byte("lockouts")  // person or "device" -> Lockout
	bucketSecrets   = []byte("secrets")   // name -> bytes
	bucketRecords   = []byte("records")   // kind/person/key -> bytes, for the rooms above
	bucketAudit     = []byte("audit")     // sequence, big-endian -> Entry

	buckets = [][]byte{bucketMeta, bucketKeys, bucketSeeds, bucketPeople, bucketTemplates, bucketLockouts, bucketSecrets, bucketRecords, bucketAudit}

	// In the meta bucket:
	keySchema = []byte("schema") // in the clear
	keyRoot   = []byte("root/4") // the root key, wrapped by the device key
	keyHead   = []byte("head")   // the key of the head file, the same for the vault's life
	keyState  = []byte("state")  // state, as of the last commit
	keyStarts = []byte("starts") // how often it was opened, where a Counter counts along
	keyBase   = []byte("base")   // Checkpoint: the last audit entry that was pruned
	keyGone   = []byte("gone")   // forgottenList: who was forgotten, as far as the audit chain no longer tells
	keyMoved  = []byte("moved")  // KeyID of the key that MoveKey moved away from; there only after one
	keyDue    = []byte("due")    // what an erasure still owes, see Finish; mostly not there
)

// UserID names a person everywhere but on the person's own screen. It is
// random, so that it says nothing about them and is not used again.
type UserID string

const userIDBytes = 10 // 80 bits: no two alike, short enough to read aloud

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewUserID makes a fresh one.
func NewUserID() UserID {
	b := make([]byte, userIDBytes)
	rand.Read(b) // never fails (crypto/rand)
	return UserID(base32Lower.EncodeToString(b))
}

// ParseUserID accepts what NewUserID makes and nothing else: user ids come in
// from sockets and are used as keys.
func ParseUserID(s string) (UserID, error) {
	b, err := base32Lower.DecodeString(s)
	if err != nil || len(b) != userIDBytes || base32Lower.EncodeToString(b) != s {
		return "", fmt.Errorf("store: %.40q is no user id: %w", s, ErrInvalid)
	}
	return UserID(s), nil
}

// Kind says what a template was made from and who can compare it.
type Kind uint8

// Kinds of templates. The zero Kind is no kind.
const (
	KindFace    Kind = 1 + iota // embedding of a face-model profile (vision)
	KindModule                  // a fingerprint module's own, proprietary (sensor)
	KindMinutia                 // of the host's own matcher (sensor/minutia)
)

// String is the kind's stable name.
func (k Kind) String() string {
	switch k {
	case KindFace:
		return "face"
	case KindModule:
		return "module"
	case KindMinutia:
		return "minutia"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Consent is what a person agreed to, and when (GDPR Art. 7 (1), 9 (2) a).
type Consent struct {
	At          time.Time `json:"at"`
	TextVersion string    `json:"text_version"` // which text they were shown
	Language    string    `json:"language,omitempty"`
	Witness     string    `json:"witness,omitempty"`
}

func (c Consent) check() error {
	if c.At.IsZero() || strings.TrimSpace(c.TextVersion) == "" {
		return fmt.Errorf("store: consent without a time or a text version: %w", ErrNoConsent)
	}
	return nil
}

// sizes is checked where a consent is written, and not where it is read: what was
// kept before there was a limit stays.
func (c Consent) sizes() error {
	for what, text := range map[string]string{"version": c.TextVersion, "language": c.Language, "witness": c.Witness} {
		if len(text) > maxConsent {
			return fmt.Errorf("store: a consent whose text's %s has %d bytes, at most %d are taken: %w", what, len(text), maxConsent, ErrInvalid)
		}
	}
	return nil
}

// Agree replaces the consent and keeps the one before.
func (p *Person) Agree(c Consent) {
	p.Earlier = append(p.Earlier, p.Consent)
	if n := len(p.Earlier) - MaxConsents; n > 0 {
		p.Earlier = p.Earlier[n:]
	}
	p.Consent = c
}

// Person is somebody who agreed to be recognised.
type Person struct {
	ID      UserID    `json:"id"`
	Name    string    `json:"name"` // as the person wants to be called; 1 to MaxName bytes
	Created time.Time `json:"created"`
	Consent Consent   `json:"consent"`

	Earlier  []Consent `json:"earlier,omitempty"`  // what they agreed to before, oldest first
	LastUsed time.Time `json:"last_used,omitzero"` // when they were last let in
	Ends     time.Time `json:"ends,omitzero"`      // when they are to be erased, as it was announced

	// Templates is how many there are. The store keeps it, so that a template
	// that damage has hidden is missed; what a caller sets is ignored.
	Templates int `json:"templates"`
}

// Limits of what is stored, in bytes, so that nobody fills the disk.
const (
	MaxName      = 128
	MaxTemplate  = 64 << 10
	MaxRecord    = 64 << 10
	MaxRecordKey = 256
	MaxLabel     = 128
	MaxConsents  = 32  // of one person; older ones are dropped
	maxConsent   = 512 // each text of one, as it is written
)

func (p Person) check() error {
	if _, err := ParseUserID(string(p.ID)); err != nil {
		return err
	}
	if p.Name == "" || len(p.Name) > MaxName || strings.ContainsFunc(p.Name, isControl) {
		return fmt.Errorf("store: a name has 1 to %d bytes and no control characters: %w", MaxName, ErrInvalid)
	}
	if p.Created.IsZero() {
		return fmt.Errorf("store: person %s without a creation time: %w", p.ID, ErrInvalid)
	}
	if len(p.Earlier) > MaxConsents {
		return fmt.Errorf("store: person %s with %d consents, at most %d are kept: %w", p.ID, len(p.Earlier), MaxConsents, ErrInvalid)
	}
	if p.Templates < 0 {
		return fmt.Errorf("store: person %s with %d templates: %w", p.ID, p.Templates, ErrInvalid)
	}
	return p.Consent.check()
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }

// Template is what a person is compared by. Data is a secret: wipe it after
// use.
//
// A face is given to AddTemplate as it is, little-endian single precision, and
// read back turned: Isometry turns what is to be compared with it.
type Template struct {
	ID      string    `json:"id"` // unique for the person; AddTemplate makes one when empty
	User    UserID    `json:"user"`
	Kind    Kind      `json:"kind"`
	Model   string    `json:"model"` // profile or module family; never compare across models
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Data    []byte    `json:"data"`

	Isometry *isometry.Isometry `json:"-"` // of a face that was read
}

// Wipe overwrites the template's data.
func (t *Template) Wipe() {
	clear(t.Data)
	if t.Isometry != nil {
		t.Isometry.Wipe()
	}
}

func (t Template) check() error {
	switch {
	case t.Kind.String()[0] == 'k':
		return fmt.Errorf("store: template of unknown %v: %w", t.Kind, ErrInvalid)
	case t.ID == "" || len(t.ID) > MaxLabel || strings.ContainsRune(t.ID, '/'):
		return fmt.Errorf("store: template id %.40q: %w", t.ID, ErrInvalid)
	case t.Model == "" || len(t.Model) > MaxLabel || len(t.Label) > MaxLabel:
		return fmt.Errorf("store: template %s without a model, or with too long a label: %w", t.ID, ErrInvalid)
	case len(t.Data) == 0 || len(t.Data) > MaxTemplate:
		return fmt.Errorf("store: template %s of %d bytes, 1 to %d are taken: %w", t.ID, len(t.Data), MaxTemplate, ErrInvalid)
	case t.Created.IsZero():
		return fmt.Errorf("store: template %s without a creation time: %w", t.ID, ErrInvalid)
	}
	return nil
}

// Entry is one line of the audit chain. It names people by their UserID only
// and carries no biometric: scores are single numbers.
type Entry struct {
	Seq     uint64             `json:"seq"`  // set by Append: 1, 2, 3, ...
	At      time.Time          `json:"at"`   // of the device's clock
	Kind    string             `json:"kind"` // authenticate, identify, enrol, forget, ...
	User    UserID             `json:"user,omitempty"`
	Outcome string             `json:"outcome"` // granted, refused, retry, fault, done, ...
	Reasons []string           `json:"reasons,omitempty"`
	Scores  map[string]float64 `json:"scores,omitempty"` // by name, finite
	Times   int                `json:"times,omitempty"`  // how many attempts it stands for; 0 = one
	Prev    Hash               `json:"prev"`             // set by Append: the hash of the entry before
}

func (e Entry) check() error {
	if e.Kind == "" || e.Outcome == "" || e.At.IsZero() {
		return fmt.Errorf("store: audit entry without kind, outcome or time: %w", ErrInvalid)
	}
	if e.Times < 0 {
		return fmt.Errorf("store: audit entry that stands for %d attempts: %w", e.Times, ErrInvalid)
	}
	for name, v := range e.Scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("store: audit score %q is %v; leave out what was not measured: %w", name, v, ErrInvalid)
		}
	}
	return nil
}

// Lockout is how often a person, or everybody on this device, has failed in a
// row. What follows from it is the authenticator's to decide.
type Lockout struct {
	Failures int       `json:"failures"`           // consecutive, in commits that came before the captures
	Last     time.Time `json:"last,omitzero"`      // of the last failure
	Until    time.Time `json:"until,omitzero"`     // refuse before this, as far as the wall clock can be trusted
	Disabled bool      `json:"disabled,omitempty"` // the hard stop: only an administrator ends it

	// Which start of the system Due counts from, so that the delay is served
	// whatever the wall clock is set to.
	Delay time.Duration `json:"delay,omitempty"`
	Boot  string        `json:"boot,omitempty"` // id of that start
	Due   time.Duration `json:"due,omitempty"`  // refuse until so long after it

	// Since is up to when, after that start, old failures of the device were
	// forgiven.
	Since time.Duration `json:"since,omitempty"`
}

func (l Lockout) check() error {
	if l.Delay < 0 || l.Due < 0 || l.Since < 0 || len(l.Boot) > MaxLabel {
		return fmt.Errorf("store: a delay of %v, due %v and forgiven %v after start %.40q: %w", l.Delay, l.Due, l.Since, l.Boot, ErrInvalid)
	}
	if l.Failures < 0 {
		return fmt.Errorf("store: %d failures: %w", l.Failures, ErrInvalid)
	}
	return nil
}

// atLeast is l, of the newer vault, and nowhere milder than old.
func (l Lockout) atLeast(old Lockout) Lockout {
	if l.Boot == "" {
		l.Boot, l.Due, l.Since = old.Boot, old.Due, old.Since
	}
	if l.Boot == old.Boot {
		l.Due = max(l.Due, old.Due)
	}
	l.Failures = max(l.Failures, old.Failures)
	l.Delay = max(l.Delay, old.Delay)
	l.Disabled = l.Disabled || old.Disabled
	if old.Last.After(l.Last) {
		l.Last = old.Last
	}
	if old.Until.After(l.Until) {
		l.Until = old.Until
	}
	return l
}

// Receipt tells what Forget did.
type Receipt struct {
	User      UserID
	At        time.Time
	Templates int    // how many became unreadable
	Compacted bool   // the file was rewritten without the old bytes
	Searched  bool   // and the whole of it was searched for the person's id and key: nothing
	KeyMoved  bool   // the device key was replaced: old copies of the vault open for nobody
	Audit     uint64 // number of the entry that records it
}
