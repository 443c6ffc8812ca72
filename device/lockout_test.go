package device

import (
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
)

func TestDelaysGrowAndEndInADisabledPerson(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l store.Lockout
	var last time.Duration
	for n := 1; n <= disabledAt; n++ {
		l = failed(l, now, freeFailures, disabledAt)
		wait := l.Until.Sub(now)
		switch {
		case l.Failures != n:
			t.Fatalf("failure %d is counted as %d", n, l.Failures)
		case n < freeFailures && locked(l, now):
			t.Fatalf("locked after %d failures", n)
		case n >= freeFailures && (wait < firstDelay || wait < last || wait > mostDelay):
			t.Fatalf("failure %d waits %v after %v", n, wait, last)
		}
		if n >= freeFailures {
			last = wait
		}
	}
	if !l.Disabled || !locked(l, now.Add(1000*time.Hour)) {
		t.Errorf("after %d failures: %+v", disabledAt, l)
	}
}

func TestTheDeviceIsSlowedButNeverDisabled(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l store.Lockout
	for range 10 * disabledAt {
		l = failed(l, now, deviceFreeFailures, 0)
	}
	if l.Disabled || !locked(l, now) || locked(l, now.Add(mostDelay)) {
		t.Errorf("%+v", l)
	}
}

func TestAClockThatWasSetBackDoesNotUnlock(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := failed(store.Lockout{Failures: freeFailures - 1}, now, freeFailures, disabledAt)
	if !locked(l, now.Add(-24*time.Hour)) {
		t.Error("unlocked by a clock of the day before")
	}
	if locked(l, now.Add(firstDelay)) {
		t.Error("locked after the delay")
	}
}
