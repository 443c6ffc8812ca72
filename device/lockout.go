package device

import (
	"time"

	"github.com/faceprint/faceprint/store"
)

// Limits of consecutive failures (NIST SP 800-63B-4, biometric verifiers:
// after 5 a delay of at least 30 s that grows, and disabled at 50). The device
// as a whole is slowed as well, so that nobody tries everybody in turn, but is
// never disabled: that would let a stranger lock the house.
const (
	freeFailures       = 5
	firstDelay         = 30 * time.Second
	mostDelay          = time.Hour
	disabledAt         = 50
	deviceFreeFailures = 20
)

// failed is the lock-out after one more failure at the moment now.
func failed(l store.Lockout, now time.Time, free, disable int) store.Lockout {
	l.Failures++
	l.Last = now
	if l.Failures >= free {
		l.Until = now.Add(delay(l.Failures - free))
	}
	if disable > 0 && l.Failures >= disable {
		l.Disabled = true
	}
	return l
}

// delay doubles with every failure beyond the free ones.
func delay(beyond int) time.Duration {
	d := firstDelay
	for range beyond {
		if d *= 2; d >= mostDelay {
			return mostDelay
		}
	}
	return d
}

// locked tells whether an attempt must wait at the moment now. A clock that was
// set back makes the wait longer, never shorter.
func locked(l store.Lockout, now time.Time) bool {
	return l.Disabled || now.Before(l.Until)
}
