package main

import (
	"os"
	"runtime"
	"runtime/debug"
	rt "runtime/metrics"
	"time"
)

// Go collects garbage when as much again has piled up as is in use. That is little
// here (some 10 MiB; pictures and models are not Go's), so that a busy device would
// collect several times a second, and each collection takes a core from who waits
// for an answer: at 5,000 requests of phones a second on two busy cores it came two
// to three times a second and marked for 15 to 50 ms (GODEBUG=gctrace=1).
const (
	collectEvery = 2 * time.Second
	mostGarbage  = 64 << 20 // bytes: a Pi has 512 MiB; more only where more is in use
)

// garbage paces the collections.
type garbage struct {
	at    time.Time // of the last one
	total uint64    // bytes that were allocated up to then
}

// paceGarbage lets collections come every collectEvery, or when mostGarbage piled
// up, where they would come more often. Who set GOGC has it as they said.
func paceGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	now, _, total := heap()
	(&garbage{now, total}).watch(100)
}

// watch sets the pace anew after each collection.
func (g *garbage) watch(percent int) {
	sentinel := &struct{ self *garbage }{g} // found unused by the next collection
	runtime.AddCleanup(sentinel, func(g *garbage) {
		next := g.next(heap())
		if next != percent {
			debug.SetGCPercent(next)
		}
		g.watch(next)
	}, g)
}

func heap() (now time.Time, live, total uint64) {
	s := []rt.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	rt.Read(s)
	return time.Now(), s[0].Value.Uint64(), s[1].Value.Uint64()
}

// next is how much garbage, in percent of what is in use, may pile up until the
// next collection, when one was now.
func (g *garbage) next(now time.Time, live, total uint64) int {
	took, made := now.Sub(g.at), total-g.total
	*g = garbage{now, total}
	if live == 0 || took <= 0 {
		return 100
	}
	piles := min(float64(made)*collectEvery.Seconds()/took.Seconds(), mostGarbage)
	return max(100, int(100*piles/float64(live)))
}
