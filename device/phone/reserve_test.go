package phone

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	wire "github.com/faceprint/faceprint/device/api/client"
)

// gate is a vault whose counters wait at a gate.
type gate struct {
	*memory
	mu    sync.Mutex
	kept  [][]Counter
	came  chan struct{}
	opens chan error
}

func (g *gate) Count(cs []Counter) error {
	g.mu.Lock()
	g.kept = append(g.kept, cs)
	g.mu.Unlock()
	g.came <- struct{}{}
	if err := <-g.opens; err != nil {
		return err
	}
	return g.memory.Count(cs)
}

// Phones that come while a commit is under way wait for one more, not for one
// of each of them; none is answered before its own counter is kept.
func TestReservationsShareACommit(t *testing.T) {
	const phones = 12
	b := serve(t, newMemory("alice"), Options{Limits: many})
	for range phones {
		b.pair(t, wire.Invite{User: "alice"})
	}
	b.tidy(0) // no reservations
	g := &gate{memory: b.vault, came: make(chan struct{}), opens: make(chan error)}
	b.Phones.vault = g

	type outcome struct {
		x  *paired
		no *refusal
	}
	answers := make(chan outcome, phones)
	ask := func(x *paired) {
		go func() {
			_, no := b.accept(x, &link{}, 1000, true)
			answers <- outcome{x, no}
		}()
	}
	all := b.of("alice")
	ask(all[0])
	<-g.came // its commit is under way
	for _, x := range all[1:] {
		ask(x)
	}
	for waiting := 0; waiting < phones-1; runtime.Gosched() {
		b.wishing.Lock()
		waiting = len(b.wishes)
		b.wishing.Unlock()
	}
	if len(answers) != 0 {
		t.Error("answered before the counter was kept")
	}
	g.opens <- nil
	if first := <-answers; first.x != all[0] || first.no != nil {
		t.Errorf("%+v", first)
	}
	<-g.came
	g.opens <- errors.New("the disk is full")
	for range phones - 1 {
		if o := <-answers; o.no == nil || o.no.Status != 503 {
			t.Errorf("a counter that could not be kept: %+v", o.no)
		}
	}
	if len(g.kept) != 2 || len(g.kept[1]) != phones-1 {
		t.Errorf("%d commits for %d phones", len(g.kept), phones)
	}
	b.Phones.vault = g.memory // for the end
}

// The minute gives back what silent phones have reserved. One that goes on
// asking keeps it: all phones of a busy house would else want new ones at once.
func TestBusyPhonesKeepTheirReservations(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	_, c := b.pair(t, wire.Invite{User: "alice"})
	ask := func() {
		t.Helper()
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	v.mu.Lock()
	n := v.commits
	v.mu.Unlock()
	b.tidy(settleIdle)
	ask()
	v.mu.Lock()
	if v.commits != n {
		t.Errorf("%d commits for a phone that goes on asking", v.commits-n)
	}
	v.mu.Unlock()
	b.clock.add(settleIdle)
	b.tidy(settleIdle)
	v.mu.Lock()
	if v.commits != n+1 {
		t.Errorf("%d commits after a phone fell silent", v.commits-n)
	}
	v.mu.Unlock()
	kept, err := v.Phones()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		if x := b.find(k.Counter.ID); k.Counter.Top != x.last {
			t.Errorf("the vault has %d, the phone came to %d", k.Counter.Top, x.last)
		}
	}
}
