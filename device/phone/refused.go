package phone

import (
	"cmp"
	"net/http"
	"sync"
)

// reason why somebody was refused. The words are in the audit.
type reason string

// Reasons.
const (
	tooManyConnections reason = "too-many-connections"
	badHandshake       reason = "bad-handshake" // not TLS 1.3, or hung up on
	tooManyRequests    reason = "too-many-requests"
	tooManyAttempts    reason = "too-many-attempts"
	unsigned           reason = "unsigned"
	badSignature       reason = "bad-signature"
	unknownPhone       reason = "unknown-phone"
	staleCounter       reason = "stale-counter"
	copiedKey          reason = "key-copied"
	revokedPhone       reason = "revoked"
	expiredPhone       reason = "expired"
	outOfSchedule      reason = "not-now"
	clockBack          reason = "clock-back" // nobody knows how late it is
	noRight            reason = "no-right"
	notAtKiosk         reason = "not-at-kiosk" // nobody stood there, or the page was in use
	othersConnection   reason = "others-connection"
	badRequest         reason = "bad-request" // not HTTP, or not to its end
	nothingThere       reason = "nothing-there"
	badBody            reason = "bad-body"
	badInvitation      reason = "bad-invitation"
	badProof           reason = "bad-proof"
	forbidden          reason = "forbidden"
	notAsThingsAre     reason = "conflict"
	deviceFault        reason = "fault"
)

// reasonOf is why, where only the status tells.
func reasonOf(status int) reason {
	switch status {
	case http.StatusUnauthorized:
		return unsigned
	case http.StatusForbidden:
		return forbidden
	case http.StatusNotFound:
		return nothingThere
	case http.StatusConflict:
		return notAsThingsAre
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return badBody
	case http.StatusTooManyRequests:
		return tooManyRequests
	}
	if status >= http.StatusInternalServerError {
		return deviceFault
	}
	return badRequest
}

// answering sees how a request is answered, so that every refusal is counted
// once, whoever refuses: what is added to the API later as well.
type answering struct {
	http.ResponseWriter
	refusals *refusals
	why      reason // empty where the status tells it
	counted  bool
}

func (a *answering) WriteHeader(status int) {
	if status >= http.StatusBadRequest && !a.counted {
		a.counted = true
		a.refusals.add(cmp.Or(a.why, reasonOf(status)))
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refusals counts who was refused since the last audit entry about it.
type refusals struct {
	mu     sync.Mutex
	counts map[reason]int
}

func newRefusals() *refusals { return &refusals{counts: make(map[reason]int)} }

func (r *refusals) add(why reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[why]++
}

// take returns the counts and begins anew.
func (r *refusals) take() map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]float64, len(r.counts))
	for why, n := range r.counts {
		out[string(why)] = float64(n)
	}
	clear(r.counts)
	return out
}
