package client

import (
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// PairRequest asks to be paired. It is signed with the new key like every
// request, with counter 1 or higher.
type PairRequest struct {
	Invite   string `json:"invite" doc:"The name of the invitation's secret." minLength:"12" maxLength:"12"`
	Key      string `json:"key" doc:"The phone's P-256 public key: an uncompressed point, base64url." minLength:"87" maxLength:"87"`
	Kind     Kind   `json:"kind" enum:"app,browser" doc:"app: checks the pin and binds to the TLS exporter. browser: binds to a session."`
	Name     string `json:"name" doc:"What the owner calls it." minLength:"1" maxLength:"64"`
	Platform string `json:"platform" doc:"Such as Android 15." maxLength:"64"`
	Proof    string `json:"proof" doc:"HMAC-SHA256 under the invitation's secret, base64url." minLength:"43" maxLength:"43"`
}

// PairReply is the device's proof and what it made of the phone.
type PairReply struct {
	ID    string `json:"id" doc:"The phone's id, from its key."`
	User  string `json:"user" doc:"The person whose phone it is now."`
	Proof string `json:"proof" doc:"The device's HMAC over the phone's proof, its id and the person."`
}

// Session takes the place of the TLS exporter for a browser.
type Session struct {
	Binding string    `json:"binding" doc:"What requests of this session are bound to, base64url."`
	Expires time.Time `json:"expires"`
}

// SessionHeader carries a browser's session; its requests are bound to it.
const SessionHeader = "Faceprint-Session"

// CounterHeader of an answer to a signed request is the highest counter that the
// device had accepted of this phone before.
const CounterHeader = "Faceprint-Counter"

// Me is who the device takes the caller for.
type Me struct {
	User   string       `json:"user" doc:"The person's id."`
	Name   string       `json:"name" doc:"What the person is called."`
	Phone  client.Phone `json:"phone"`
	Now    time.Time    `json:"now" doc:"The device's clock."`
	Device string       `json:"device" doc:"The device's version."`
}

// Phones are those of the caller's person.
type Phones struct {
	Phones []client.Phone `json:"phones"`
}

// Unlock asks to be let in at the device.
type Unlock struct {
	Audience  string `json:"audience,omitempty" doc:"Who the grant is for; becomes its aud claim." maxLength:"256"`
	Nonce     string `json:"nonce,omitempty" doc:"The asker's nonce; it comes back inside the grant." maxLength:"256"`
	TimeoutMs int    `json:"timeout_ms,omitempty" doc:"The deadline of the whole attempt; 0 is the device's default." minimum:"0" maximum:"120000"`
}

// AtKiosk asks for a session at the kiosk's page. It has nothing to say.
type AtKiosk struct{}

// VerifyMe asks the device to vouch for its person: a grant for the nonce, and no
// door opens.
type VerifyMe struct {
	Audience  string `json:"audience" doc:"Who the grant is for." minLength:"1" maxLength:"256"`
	Nonce     string `json:"nonce" doc:"The app's nonce; it comes back inside the grant." minLength:"1" maxLength:"256"`
	TimeoutMs int    `json:"timeout_ms,omitempty" doc:"The deadline of the whole attempt; 0 is the device's default." minimum:"0" maximum:"120000"`
}

// Pending is an attempt at the device that waits for its person's phone.
type Pending struct {
	ID       string    `json:"id"`
	Audience string    `json:"audience,omitempty" doc:"Who the grant will be for."`
	Since    time.Time `json:"since"`
	Expires  time.Time `json:"expires"`
}

// PendingList are those that wait for the caller.
type PendingList struct {
	Requests []Pending `json:"requests"`
}

// Answer to a pending request.
type Answer struct {
	Approve bool `json:"approve" doc:"false refuses: somebody else claims to be this person."`
}

// History is what happened to the caller's person, newest first.
type History struct {
	Entries []client.Entry `json:"entries"`
	Before  uint64         `json:"before,omitempty" doc:"Ask with this for older ones; absent at the end."`
}

// Event is something that concerns the caller's person.
type Event struct {
	client.Event
	Request *Pending `json:"request,omitempty" doc:"Of kind approve: what waits for an answer."`
}
