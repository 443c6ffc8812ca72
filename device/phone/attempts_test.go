package phone

import (
	"net/http"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
)

// What an attempt costs, an entry of the audit, two commits and the device's turn,
// no phone can have as often as it likes, nor can all phones of a person.
func TestAttemptsHaveARateOfTheirOwn(t *testing.T) {
	v := newMemory("alice", "bob")
	limits := many
	limits.Attempts, limits.Person = Rate{}, Rate{} // as shipped
	b := serve(t, v, Options{Limits: limits})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	c := b.dial(t)
	counter := uint64(100)
	ask := func(target, body string) (status int, after string) {
		t.Helper()
		counter++
		method := "POST"
		if body == "" {
			method = "GET"
		}
		status, _, h := c.ask(t, sign(t, i, c.binding, method, target, counter, body))
		return status, h.Get("Retry-After")
	}
	asked := func() int {
		b.device.mu.Lock()
		defer b.device.mu.Unlock()
		return len(b.device.asked)
	}
	operations := []struct{ target, body string }{{"/v1/unlock", `{"nonce":"n"}`}, {"/v1/verify", `{"nonce":"n","audience":"a"}`}, {"/v1/kiosk", `{}`}}
	for n := range 9 {
		op := operations[n%len(operations)]
		status, after := ask(op.target, op.body)
		if n < 5 && status != http.StatusOK || n >= 5 && (status != http.StatusTooManyRequests || after != "5") {
			t.Errorf("attempt %d: %d, %q", n, status, after)
		}
	}
	if n := asked(); n != 5 {
		t.Errorf("%d attempts reached the device", n)
	}
	if status, _ := ask("/v1/me", ""); status != http.StatusOK {
		t.Errorf("what costs nothing: %d", status)
	}
	b.clock.add(5 * time.Second)
	if status, _ := ask("/v1/unlock", `{"nonce":"n"}`); status != http.StatusOK {
		t.Errorf("5 s later: %d", status)
	}
	b.tidy(0)
	v.mu.Lock()
	counts := v.refused[len(v.refused)-1]
	v.mu.Unlock()
	if counts[string(tooManyAttempts)] != 4 {
		t.Errorf("the audit says %v", counts)
	}

	// A day without pause, with two phones.
	other, _ := b.pair(t, wire.Invite{User: "alice"})
	before, xs := asked(), []*paired{b.find(i.ID), b.find(other.ID)}
	granted := 0
	for range 24 * 60 * 12 {
		b.clock.add(5 * time.Second)
		for _, x := range xs {
			if b.mayTry(x) == nil {
				granted++
			}
		}
	}
	if most := 60 + 24*60; granted < 24*60 || granted > most || asked() != before {
		t.Errorf("%d attempts of one person's phones in a day, at most %d", granted, most)
	}
	bobs, _ := b.pair(t, wire.Invite{User: "bob"})
	if no := b.mayTry(b.find(bobs.ID)); no != nil {
		t.Errorf("another person's phone: %+v", no)
	}
}

// A page of the history is thousands of entries that are unsealed.
func TestTheHistoryHasARateOfItsOwn(t *testing.T) {
	limits := many
	limits.History = Rate{} // as shipped
	b := serve(t, newMemory("alice"), Options{Limits: limits})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	c := b.dial(t)
	got := map[int]int{}
	for n := range 40 {
		status, _, _ := c.ask(t, sign(t, i, c.binding, "GET", "/v1/history?limit=1", uint64(100+n), ""))
		got[status]++
	}
	if got[200] != 10 || got[429] != 30 {
		t.Errorf("%v", got)
	}
	b.clock.add(2 * time.Second)
	c.want(t, sign(t, i, c.binding, "GET", "/v1/history", 500, ""), 200, "")
}
