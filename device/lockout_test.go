package device

import (
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func TestDelaysByTheBook(t *testing.T) {
	var l store.Lockout
	up := Uptime{Boot: "a", Since: time.Hour}
	for n, want := range map[int]time.Duration{
		1: 0, 4: 0, 5: 30 * time.Second, 6: time.Minute, 7: 2 * time.Minute, 11: 32 * time.Minute, 12: time.Hour, 49: time.Hour,
	} {
		l = store.Lockout{}
		for range n {
			l = failed(l, noon, up, freeFailures, disabledAt)
		}
		if got := wait(l, up); got != want || l.Disabled || l.Failures != n {
			t.Errorf("after %d failures: wait %v, want %v; %+v", n, got, want, l)
		}
	}
	for range 50 {
		l = failed(l, noon, up, freeFailures, disabledAt)
	}
	if !l.Disabled {
		t.Error("not disabled after 50 failures")
	}
}

func TestDelayIsServedWhateverTheClockSays(t *testing.T) {
	var l store.Lockout
	up := Uptime{Boot: "a", Since: 100 * time.Second}
	for range 6 { // a minute
		l = failed(l, noon, up, freeFailures, disabledAt)
	}
	for _, tt := range []struct {
		name string
		l    store.Lockout
		up   Uptime
		want time.Duration
	}{
		{"at once", l, up, time.Minute},
		{"the daemon was restarted after 20 s", l, Uptime{"a", 120 * time.Second}, 40 * time.Second},
		{"a minute later", l, Uptime{"a", 160 * time.Second}, 0},
		{"the device was restarted 10 s ago", l, Uptime{"b", 10 * time.Second}, 50 * time.Second},
		{"and a minute later", l, Uptime{"b", 60 * time.Second}, 0},
		{"restarted long after its old uptime", l, Uptime{"b", time.Hour}, 0},
		{"no boot id", l, Uptime{"", 10 * time.Second}, 50 * time.Second},
		{"uptime that goes back", l, Uptime{"a", 0}, time.Minute},
		{"by schema 1", store.Lockout{Failures: 6, Last: noon, Until: noon.Add(time.Minute)}, Uptime{"b", 10 * time.Second}, 50 * time.Second},
		{"by schema 1, clock set back since", store.Lockout{Failures: 6, Last: noon, Until: noon.Add(-time.Minute)}, Uptime{"b", 0}, 0},
		{"never failed", store.Lockout{}, Uptime{"b", 0}, 0},
	} {
		if got := wait(tt.l, tt.up); got != tt.want {
			t.Errorf("%s: wait %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestKernelsUptimeGrows(t *testing.T) {
	a, b := uptime(), uptime()
	if a.Boot == "" || a.Boot != b.Boot || a.Since <= 0 || b.Since < a.Since {
		t.Errorf("%+v, then %+v", a, b)
	}
}

func TestTheDeviceIsSlowedButNeverDisabled(t *testing.T) {
	up := Uptime{Boot: "a"}
	var l store.Lockout
	for range 10 * disabledAt {
		l = failed(l, noon, up, deviceFreeFailures, 0)
	}
	if l.Disabled || wait(l, up) != mostDelay || wait(l, Uptime{"a", mostDelay}) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestTheDeviceForgivesWithTimeOnly(t *testing.T) {
	const boot = "a"
	after := func(n int, at time.Duration) store.Lockout {
		var l store.Lockout
		for range n {
			l = failed(forgiven(l, Uptime{boot, at}), noon, Uptime{boot, at}, deviceFreeFailures, 0)
		}
		return l
	}
	for _, tt := range []struct {
		name     string
		l        store.Lockout
		up       Uptime
		failures int
		wait     time.Duration
	}{
		{"at once", after(10, time.Hour), Uptime{boot, time.Hour}, 10, 0},
		{"just before the time", after(10, time.Hour), Uptime{boot, time.Hour + deviceForgives - 1}, 10, 0},
		{"after it", after(10, time.Hour), Uptime{boot, time.Hour + deviceForgives}, 9, 0},
		{"after three times that and a bit", after(10, time.Hour), Uptime{boot, time.Hour + 3*deviceForgives + 5}, 7, 0},
		{"after a day", after(10, time.Hour), Uptime{boot, 25 * time.Hour}, 0, 0},
		{"restarted: the time since is all that is certain", after(10, time.Hour), Uptime{"b", deviceForgives + 5}, 9, 0},
		{"restarted just now", after(10, time.Hour), Uptime{"b", 1}, 10, 0},
		{"no boot id", after(10, time.Hour), Uptime{"", 25 * time.Hour}, 10, 0},
		{"uptime that goes back", after(10, time.Hour), Uptime{boot, 0}, 10, 0},
		{"slowed", after(deviceFreeFailures, time.Hour), Uptime{boot, time.Hour}, deviceFreeFailures, firstDelay},
		{"slowed, and restarted", after(deviceFreeFailures, time.Hour), Uptime{"b", 0}, deviceFreeFailures, firstDelay},
		{"no longer", after(deviceFreeFailures, time.Hour), Uptime{boot, time.Hour + deviceForgives}, deviceFreeFailures - 1, 0},
	} {
		got := forgiven(tt.l, tt.up)
		if w := wait(got, tt.up); got.Failures != tt.failures || w != tt.wait {
			t.Errorf("%s: %d failures, wait %v, want %d and %v", tt.name, got.Failures, w, tt.failures, tt.wait)
		}
		if again := forgiven(got, tt.up); again != got {
			t.Errorf("%s: looked at twice it is %+v, then %+v", tt.name, got, again)
		}
	}
	// Served once, a delay is not served again after a restart days later.
	l := forgiven(after(deviceFreeFailures, time.Hour), Uptime{boot, 2 * time.Hour})
	if w := wait(l, Uptime{"b", 0}); w != 0 {
		t.Errorf("a delay that was served comes again: %v", w)
	}
}

// Somebody who is enrolled must not be able to buy a stranger more tries.
func TestNobodysSuccessClearsTheFailuresOfOthers(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice, bob := w.enrol("Alice", 1, "alice"), w.enrol("Bob", 2, "bob")
	for i := range deviceFreeFailures {
		w.pose(3, "eve")
		if d := w.try(bob); d.Granted {
			t.Fatalf("%+v", d)
		}
		if l := w.lockout(""); l.Failures != i+1 {
			t.Fatalf("%d failures after %d of a stranger", l.Failures, i+1)
		}
		if i == deviceFreeFailures-1 {
			break
		}
		w.pose(1, "alice")
		if d := w.try(alice); !d.Granted {
			t.Fatalf("try %d: %+v", i, d)
		}
		if l := w.lockout(bob); l.Failures != i%4+1 {
			t.Errorf("%d failures of Bob", l.Failures)
		}
		if i%4 == 3 { // he comes himself, before he is locked out
			w.pose(2, "bob")
			if d := w.try(bob); !d.Granted {
				t.Fatalf("%+v", d)
			}
			if l := w.lockout(bob); l.Failures != 0 {
				t.Errorf("%d failures of Bob after he was let in", l.Failures)
			}
		}
	}
	w.pose(1, "alice")
	if d := w.try(alice); d.Granted || !slices.Equal(d.Reasons, []Reason{LockedOut}) {
		t.Errorf("after %d failures the device is not slowed: %+v", deviceFreeFailures, d)
	}
	if err := w.d.Unlock(alice); err != nil {
		t.Fatal(err)
	}
	if d := w.try(alice); !d.Granted {
		t.Errorf("after an administrator unlocked: %+v", d)
	}
}
