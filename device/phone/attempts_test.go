package phone

import (
	"math"
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

// A phone that asks all day, or a copy of its key, keeps its person's others out of
// nothing, and gets no more by it for all of them.
func TestOnePhoneKeepsNoOtherOut(t *testing.T) {
	for phones, hourly := range map[int]int{2: 8, 4: 7, phonesOfPerson: 1} {
		limits := many
		limits.Attempts, limits.Person = Rate{}, Rate{} // as shipped
		b := serve(t, newMemory("alice"), Options{Limits: limits})
		var xs []*paired
		for range phones {
			i, _ := b.pair(t, wire.Invite{User: "alice"})
			xs = append(xs, b.find(i.ID))
		}
		thief, owner := xs[0], xs[1]
		tried := 0
		for hour := range 24 {
			got := 0
			for s := range 3600 {
				b.clock.add(time.Second)
				if b.mayTry(thief) == nil {
					tried++
				}
				if s < 8*7 && s%7 == 0 && b.mayTry(owner) == nil { // eight times in a minute
					got++
				}
			}
			if got < hourly {
				t.Errorf("of %d phones one got %d of 8 in hour %d", phones, got, hour+1)
			}
			tried += got
		}
		if most := 60 + 24*60; tried > most {
			t.Errorf("%d attempts by %d phones in a day, at most %d", tried, phones, most)
		}

		// A thief's phone that is revoked takes no share of the others'.
		_, err := b.Revoke(thief.id, "uid:7")
		must(t, err)
		if n := b.sharing("alice"); n != phones-1 {
			t.Errorf("%d share", n)
		}
	}
}

// What is divided is no more together than it was.
func TestRatesAreShared(t *testing.T) {
	for _, r := range []Rate{Limits{}.withDefaults().Person, {1, 1}, {3, 7}, {1. / 7, 33}} {
		for n := range phonesOfPerson + 1 {
			each, common := r.shared(n)
			shares := max(n, 1)
			if got := each.PerSecond*float64(shares) + common.PerSecond; math.Abs(got-r.PerSecond) > 1e-12 {
				t.Errorf("%v by %d: %v a second", r, n, got)
			}
			// Each has one at least; where that is more than there is, the common one has none.
			if got := each.Burst*shares + max(common.Burst, 0); got > max(r.Burst, shares) || each.Burst < 1 {
				t.Errorf("%v by %d: %d at once", r, n, got)
			}
			var b bucket
			if allowed := b.allow(common, noon()); allowed != (common.Burst > 0) {
				t.Errorf("%v by %d: of %d at once in common one is %v", r, n, common.Burst, allowed)
			}
		}
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
