package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Phone is a paired phone.
type Phone struct {
	ID       string     `json:"id" doc:"Made from its public key."`
	User     string     `json:"user" doc:"Whose it is."`
	Name     string     `json:"name"`
	Kind     string     `json:"kind" enum:"app,browser" doc:"What holds its key."`
	Platform string     `json:"platform"`
	Paired   time.Time  `json:"paired"`
	By       string     `json:"by" doc:"Who invited it: admin or kiosk."`
	Asker    string     `json:"asker,omitempty" doc:"Which account that was, such as uid:1000; absent where it was the device's own page."`
	Seen     *time.Time `json:"seen,omitempty" doc:"About when it was last heard of."`
	Expires  *time.Time `json:"expires,omitempty"`
	Revoked  *time.Time `json:"revoked,omitempty"`
	Rights   []string   `json:"rights" doc:"Of unlock, approve, verify, history."`
	Schedule string     `json:"schedule,omitempty" doc:"When its rights hold, such as mon-fri 08:00-18:00; empty is always."`
}

// Invite asks for a code with which one phone can be paired.
type Invite struct {
	User     string     `json:"user" doc:"The person whose phone it will be." minLength:"1" maxLength:"64"`
	Grant    string     `json:"grant,omitempty" doc:"A kiosk proves with the person's own grant, for the audience faceprint:pair, that the person is there." maxLength:"4096"`
	Rights   []string   `json:"rights,omitempty" doc:"Empty means all where an administrator asks, and approve alone at a kiosk." enum:"unlock,approve,verify,history" maxItems:"4"`
	Schedule string     `json:"schedule,omitempty" doc:"When the rights hold, such as mon-fri 08:00-18:00; empty is always." maxLength:"256"`
	Expires  *time.Time `json:"expires,omitempty" doc:"When the phone ceases to be paired; absent is never."`
}

// PairAudience is what a grant must be for to pair a phone with it at a kiosk.
const PairAudience = OwnAudience + "pair"

// OwnAudience begins the audiences of grants that only the device takes, and
// that no phone can ask for.
const OwnAudience = "faceprint:"

// Invited is the code to show. It is a secret until it is used or expired.
type Invited struct {
	ID      string    `json:"id" doc:"Names the code and tells nothing of its secret."`
	Text    string    `json:"text" doc:"The invitation: what the QR code says, and what can be typed or pasted instead."`
	QR      []string  `json:"qr" doc:"The QR code, one string a row, # for dark and a space for light, without the quiet zone."`
	Key     string    `json:"key" doc:"SHA-256 of the device's public key in hexadecimal, four digits a group: what a browser's view of the certificate is compared with."`
	Expires time.Time `json:"expires"`
}

// Phones is the list of those paired.
type Phones struct {
	Phones []Phone `json:"phones"`
}

// PhoneTerms are what a phone may do, when, and for how long, as a whole: what
// is left out is not kept.
type PhoneTerms struct {
	Rights   []string   `json:"rights" enum:"unlock,approve,verify,history" minItems:"1" maxItems:"4"`
	Schedule string     `json:"schedule,omitempty" doc:"When the rights hold, such as mon-fri 08:00-18:00; empty is always." maxLength:"256"`
	Expires  *time.Time `json:"expires,omitempty" doc:"When the phone ceases to be paired; absent is never."`
}

// PhoneClock is what the device knows of the time, by which phones expire.
type PhoneClock struct {
	Now     time.Time  `json:"now" doc:"What the device's clock shows."`
	Trusted bool       `json:"trusted" doc:"The clock follows a time server."`
	Known   *time.Time `json:"known,omitempty" doc:"How late it is at least, by what the device knows."`
	Back    bool       `json:"back" doc:"The clock was set back: phones whose time is limited may do nothing until it is right, or is taken for right."`
}

// Rename gives a phone another name.
type Rename struct {
	Name string `json:"name" minLength:"1" maxLength:"64"`
}

// Invite makes a code with which one phone can be paired to the person.
func (c *Client) Invite(ctx context.Context, i Invite) (Invited, error) {
	return call[Invited](ctx, c, http.MethodPost, "/v1/phones", i)
}

// WithdrawInvite ends a code before its time, when nobody looks at it any more.
func (c *Client) WithdrawInvite(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/phones/codes/"+url.PathEscape(id), nil)
	return err
}

// Phones lists those paired.
func (c *Client) Phones(ctx context.Context) (Phones, error) {
	return call[Phones](ctx, c, http.MethodGet, "/v1/phones", nil)
}

// RenamePhone gives a phone another name.
func (c *Client) RenamePhone(ctx context.Context, id, name string) (Phone, error) {
	return call[Phone](ctx, c, http.MethodPatch, "/v1/phones/"+url.PathEscape(id), Rename{name})
}

// SetPhoneTerms replaces what a phone may do, when, and for how long; its open
// connections are cut, so that it holds for what is under way, too.
func (c *Client) SetPhoneTerms(ctx context.Context, id string, t PhoneTerms) (Phone, error) {
	return call[Phone](ctx, c, http.MethodPut, "/v1/phones/"+url.PathEscape(id)+"/terms", t)
}

// PhoneClock tells what the device knows of the time.
func (c *Client) PhoneClock(ctx context.Context) (PhoneClock, error) {
	return call[PhoneClock](ctx, c, http.MethodGet, "/v1/phones/clock", nil)
}

// AcceptPhoneClock takes the device's clock for right, whatever was known.
func (c *Client) AcceptPhoneClock(ctx context.Context) (PhoneClock, error) {
	return call[PhoneClock](ctx, c, http.MethodPost, "/v1/phones/clock", nil)
}

// RevokePhone ends a pairing at once; open connections of the phone are cut.
func (c *Client) RevokePhone(ctx context.Context, id string) (Phone, error) {
	return call[Phone](ctx, c, http.MethodDelete, "/v1/phones/"+url.PathEscape(id), nil)
}
