package main

import (
	"runtime"
	"runtime/debug"
	rt "runtime/metrics"
	"testing"
	"time"
)

func TestGarbagePilesUpForTwoSeconds(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		took       time.Duration
		live, made uint64
		want       int
	}{
		"at rest":               {time.Minute, 10 * mib, 10 * mib, 100},
		"often":                 {500 * time.Millisecond, 10 * mib, 10 * mib, 400},
		"as often as it should": {collectEvery, 10 * mib, 40 * mib, 400},
		"more than may pile up": {100 * time.Millisecond, 10 * mib, 10 * mib, 640},
		"much in use":           {100 * time.Millisecond, 100 * mib, 100 * mib, 100},
		"nothing in use":        {time.Second, 0, 10 * mib, 100},
		"two at once":           {0, 10 * mib, 10 * mib, 100},
	} {
		began := time.Now()
		g := &garbage{began, 7}
		if got := g.next(began.Add(c.took), c.live, 7+c.made); got != c.want {
			t.Errorf("%s: %d %%, want %d", name, got, c.want)
		}
		if !g.at.Equal(began.Add(c.took)) || g.total != 7+c.made {
			t.Errorf("%s: it goes on from %+v", name, g)
		}
	}
}

var pile []byte

// Who makes garbage so fast that it would be collected more often is let.
func TestGarbageIsPaced(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	now, _, total := heap()
	(&garbage{now, total}).watch(100)
	percent := []rt.Sample{{Name: "/gc/gogc:percent"}}
	for rt.Read(percent); percent[0].Value.Uint64() == 100; rt.Read(percent) {
		for range 1024 {
			pile = make([]byte, 64<<10)
		}
		runtime.Gosched() // the cleanup is a goroutine
	}
}
