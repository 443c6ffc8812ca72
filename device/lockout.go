package device

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/store"
)

// Limits of consecutive failures (NIST SP 800-63B-4, biometric verifiers:
// after 5 a delay of at least 30 s that grows, and disabled at 50). Only the
// person's own success clears the person's count. The device as a whole is
// slowed as well, so that nobody tries everybody in turn, but is never disabled:
// that would let a stranger lock the house. No success clears the device's
// count, or somebody who is enrolled could buy a stranger twenty tries whenever
// they came in; it is forgiven with time, one failure each deviceForgives. That
// bounds a stranger, over all people, to 20 tries and then 96 a day, and does not
// slow a door that is used evenly, 400 times a day with one failure in five.
const (
	freeFailures       = 5
	firstDelay         = 30 * time.Second
	mostDelay          = time.Hour
	disabledAt         = 50
	deviceFreeFailures = 20
	deviceForgives     = 15 * time.Minute
)

// Uptime is a clock that nobody can set: how long ago the system that bears the
// id was started, time asleep included.
type Uptime struct {
	Boot  string
	Since time.Duration
}

// bootID is random at every start of the kernel (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// uptime reads the kernel's. Without a boot id every reading is of another
// start, so that a delay is served anew rather than skipped.
func uptime() Uptime {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return Uptime{}
	}
	u := Uptime{Since: time.Duration(ts.Nano())}
	if b, err := os.ReadFile(bootID); err == nil {
		u.Boot = strings.TrimSpace(string(b))
	}
	return u
}

// failed is the lock-out after one more failure.
func failed(l store.Lockout, now time.Time, up Uptime, free, disable int) store.Lockout {
	l.Failures++
	l.Last = now
	if l.Failures >= free {
		l.Delay = delay(l.Failures - free)
		l.Until = now.Add(l.Delay) // for people to read
		l.Boot, l.Due = up.Boot, up.Since+l.Delay
	}
	if disable > 0 && l.Failures >= disable {
		l.Disabled = true
	}
	return l
}

// forgiven is the device's lock-out after the time that went by since its
// failures. Of the time before a restart of the system none is certain, so that
// the next one is forgiven a whole deviceForgives after it; a system that cannot
// tell its starts apart forgives nothing.
func forgiven(l store.Lockout, up Uptime) store.Lockout {
	if up.Boot == "" {
		return l
	}
	if l.Boot != up.Boot {
		l.Due, l.Since, l.Boot = l.Delay, 0, up.Boot // a delay begins anew, as in wait
	}
	n := max(up.Since-l.Since, 0) / deviceForgives
	l.Since += n * deviceForgives
	l.Failures -= int(min(n, time.Duration(l.Failures)))
	if l.Failures == 0 {
		l.Since = up.Since // the next one has its whole time
	}
	if l.Failures < deviceFreeFailures && wait(l, up) == 0 {
		l.Delay, l.Due, l.Until = 0, 0, time.Time{}
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

// wait is how long the lock-out still holds, 0 when it is over. The wall clock
// has no say: whoever sets it forward gains nothing. After a restart of the
// system, of which only the time since is certain, the delay begins anew.
func wait(l store.Lockout, up Uptime) time.Duration {
	d, due := l.Delay, l.Due
	if d == 0 && !l.Until.IsZero() { // written before there was a delay
		d = max(l.Until.Sub(l.Last), 0)
	}
	if l.Boot == "" || l.Boot != up.Boot {
		due = d
	}
	return min(max(due-up.Since, 0), d)
}

// Wait is how long the lock-out of a person, or of the device, still holds; 0
// when it is over. One that is disabled is for longer than that.
func (d *Device) Wait(l store.Lockout) time.Duration { return wait(l, d.hw.Uptime()) }
