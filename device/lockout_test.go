package device

import (
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
