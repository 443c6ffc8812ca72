package fprint

import "time"

const (
	// idleClaim is how long a claim may do nothing before another client may
	// take it. fprintd's own clients go on within milliseconds; a person in a
	// settings dialog within half a minute.
	idleClaim = 30 * time.Second
	// longClaim is how long an action may go on before another client may take
	// the device. pam_fprintd ends by itself after 30 s by default.
	longClaim = 2 * time.Minute
	// wholeClaim is how long a claim may last, whatever is done with it, before
	// another client may take it; an enrolment that is under way ends first, for to
	// compare a new finger with an R503's full library takes two minutes or more.
	wholeClaim = 10 * time.Minute
	// freshClaim is for how long an account has to leave the device alone until
	// its next claim is a new one to other accounts: somebody who was told that
	// it is in use has typed a password or tried once more by then.
	freshClaim = time.Minute
	// round is how long one patient attempt waits. A round costs two small
	// commits; where the policy wants a face too, a wrong finger is told at its
	// end at the latest.
	round = 30 * time.Second
	// busTimeout is the patience with the bus and with polkit's daemon.
	busTimeout = 5 * time.Second
	// askTimeout is the patience with a person whom polkit asks for a password.
	askTimeout = 2 * time.Minute
)
