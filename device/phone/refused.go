package phone

import "sync"

// reason why somebody was refused. The words are in the audit.
type reason string

// Reasons.
const (
	tooManyConnections reason = "too-many-connections"
	badHandshake       reason = "bad-handshake" // not TLS 1.3, or hung up on
	tooManyRequests    reason = "too-many-requests"
	unsigned           reason = "unsigned"
	badSignature       reason = "bad-signature"
	unknownPhone       reason = "unknown-phone"
	staleCounter       reason = "stale-counter"
	copiedKey          reason = "key-copied"
	revokedPhone       reason = "revoked"
	expiredPhone       reason = "expired"
	outOfSchedule      reason = "not-now"
	noRight            reason = "no-right"
	notAtKiosk         reason = "not-at-kiosk" // nobody stood there, or the page was in use
	othersConnection   reason = "others-connection"
	badRequest         reason = "bad-request" // not HTTP, or not to its end
	nothingThere       reason = "nothing-there"
	badBody            reason = "bad-body"
	badInvitation      reason = "bad-invitation"
	badProof           reason = "bad-proof"
)

// refusals counts who was refused since the last audit entry about it.
type refusals struct {
	mu     sync.Mutex
	counts map[reason]int
	some   chan struct{} // has a token once there is something to tell
}

func newRefusals() *refusals {
	return &refusals{counts: make(map[reason]int), some: make(chan struct{}, 1)}
}

func (r *refusals) add(why reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[why]++
	select {
	case r.some <- struct{}{}:
	default:
	}
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
	select {
	case <-r.some:
	default:
	}
	return out
}
