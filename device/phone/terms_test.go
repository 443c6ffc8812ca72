package phone

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// What a phone may do can be changed after it was paired, and holds at once:
// for what is asked next, for what is under way, and after a restart.
func TestTermsHoldAtOnce(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})

	// An attempt is under way while the right goes.
	began, ended := make(chan struct{}), make(chan error, 1)
	b.device.during = func(ctx context.Context, _ Attempt) {
		close(began)
		<-ctx.Done()
		ended <- context.Cause(ctx)
	}
	go func() { _, _ = c.Unlock(t.Context(), client.Unlock{}) }()
	<-began
	b.device.mu.Lock()
	b.device.during = nil
	b.device.mu.Unlock()
	until := b.clock.get().Add(time.Hour)
	p, err := b.SetTerms(i.ID, wire.PhoneTerms{Rights: []string{Past, Approve, Past}, Schedule: "mon-fri 08:00-18:00", Expires: &until}, "uid:7")
	if err != nil || !slices.Equal(p.Rights, []string{Approve, Past}) || p.Schedule != "mon-fri 08:00-18:00" || p.Expires == nil || !p.Expires.Equal(until) {
		t.Fatalf("%+v, %v", p, err)
	}
	<-ended

	_, err = c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	h, err := c.History(t.Context(), 0, 1)
	if err != nil || len(h.Entries) != 1 || h.Entries[0].Kind != "phone-terms" || !slices.Equal(h.Entries[0].Reasons, []string{"by:uid:7"}) {
		t.Errorf("%+v, %v", h, err)
	}
	if n := len(b.device.told); n == 0 || b.device.told[n-1].Kind != "phone-terms" || b.device.told[n-1].User != "alice" {
		t.Errorf("told %+v", b.device.told)
	}

	b.stop()
	again := serve(t, v, Options{Limits: many})
	i.Addr = again.addr
	c = i.Client()
	defer c.Close()
	_, err = c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	again.clock.add(time.Hour)
	_, err = c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)

	// What is over can be given more time, and for ever; what was revoked cannot.
	if p, err = again.SetTerms(i.ID, wire.PhoneTerms{Rights: []string{Unlock}}, "uid:7"); err != nil || p.Expires != nil || p.Schedule != "" {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := c.Unlock(t.Context(), client.Unlock{}); err != nil {
		t.Error(err)
	}
	if _, err := again.Revoke(i.ID, "uid:7"); err != nil {
		t.Fatal(err)
	}
	if p, err := again.SetTerms(i.ID, wire.PhoneTerms{Rights: Rights}, "uid:7"); err == nil {
		t.Errorf("a revoked phone got %+v", p)
	}
}

func TestTermsThatAreRefusedChangeNothing(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, c := b.pair(t, wire.Invite{User: "alice"})
	past := b.clock.get()
	for name, terms := range map[string]wire.PhoneTerms{
		"no right":         {},
		"an unknown right": {Rights: []string{Unlock, "everything"}},
		"no schedule":      {Rights: Rights, Schedule: "always and ever"},
		"over already":     {Rights: Rights, Expires: &past},
	} {
		if p, err := b.SetTerms(i.ID, terms, "uid:7"); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := b.SetTerms("nobody", wire.PhoneTerms{Rights: Rights}, "uid:7"); err == nil {
		t.Error("a phone that is not there")
	}
	if me, err := c.Me(t.Context()); err != nil || len(me.Phone.Rights) != len(Rights) || me.Phone.Expires != nil || me.Phone.Schedule != "" {
		t.Errorf("%+v, %v", me, err)
	}
}

// Whoever pairs at a kiosk and says nothing else gets a phone that answers and
// does nothing of its own accord.
func TestAKioskGivesTheFewestRights(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	b.device.grants = map[string]string{"good": "alice"}
	for want, in := range map[string]wire.Invite{
		"approve":         {User: "alice", Grant: "good"},
		"history, unlock": {User: "alice", Grant: "good", Rights: []string{Unlock, Past}},
	} {
		invited, err := b.Invite(t.Context(), in, "kiosk", "")
		if err != nil {
			t.Fatal(err)
		}
		inv, err := client.ParseInvitation(invited.Text)
		if err != nil {
			t.Fatal(err)
		}
		i, err := client.NewIdentity("")
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Pair(t.Context(), inv, want, "test"); err != nil {
			t.Fatal(err)
		}
		c := i.Client()
		defer c.Close()
		me, err := c.Me(t.Context())
		if err != nil || strings.Join(me.Phone.Rights, ", ") != want {
			t.Errorf("%q, %v; want %s", me.Phone.Rights, err, want)
		}
	}
	if i, err := b.Invite(t.Context(), wire.Invite{User: "alice", Grant: "good", Rights: []string{"admin"}}, "kiosk", ""); err == nil {
		t.Errorf("an unknown right: %+v", i)
	}
}

// What a grant would say is exactly what was asked, and names nobody else.
func TestHostileAudiences(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	c := b.dial(t)
	for n, x := range []struct {
		body   string
		status int
		kind   string
	}{
		{`{"nonce":"a\u0000b","audience":"x"}`, 422, wire.ProblemInvalid},
		{`{"nonce":"a","audience":"x\ny"}`, 422, wire.ProblemInvalid},
		{`{"nonce":"a","audience":" faceprint:pair"}`, 403, wire.ProblemForbidden},
		{`{"nonce":"a","audience":"Faceprint:pair"}`, 403, wire.ProblemForbidden},
		{`{"nonce":"a","audience":"shop","AUDIENCE":"safe"}`, 422, wire.ProblemInvalid},
		{`{"nonce":"a","audience":"shop","audience":"safe"}`, 422, wire.ProblemInvalid},
		{`{"nonce":"a","audience":"shop","\u017fcope":"safe"}`, 422, wire.ProblemInvalid},
	} {
		c.want(t, sign(t, i, c.binding, "POST", "/v1/verify", uint64(100+n), x.body), x.status, x.kind)
	}
	c.want(t, sign(t, i, c.binding, "POST", "/v1/verify", 200, `{"nonce":"a","audience":"shop"}`), 200, "")
	if len(b.device.asked) != 1 {
		t.Errorf("asked %+v", b.device.asked)
	}
}

// What is over for ever is left as it is, and is said to be over.
func TestRevokedPhonesAreNotChanged(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	i, _ := b.pair(t, wire.Invite{User: "alice"})
	if _, err := b.Revoke(i.ID, "uid:7"); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() (wire.Phone, error){
		"rename": func() (wire.Phone, error) { return b.Rename(i.ID, "better", "uid:7") },
		"set":    func() (wire.Phone, error) { return b.SetTerms(i.ID, wire.PhoneTerms{Rights: Rights}, "uid:7") },
	} {
		var p *api.Problem
		if _, err := change(); !errors.As(err, &p) || p.Status != 409 || p.Type != wire.ProblemPrefix+wire.ProblemRevoked {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := b.List(); list[0].Name != "Alice's phone" {
		t.Errorf("%+v", list)
	}
}

// Who had the code shown is kept with the phone, by role and by account.
func TestWhoPairedIsKept(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many})
	invited, err := b.Invite(t.Context(), wire.Invite{User: "alice"}, "admin", "uid:1000")
	if err != nil {
		t.Fatal(err)
	}
	inv, err := client.ParseInvitation(invited.Text)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity(t).Pair(t.Context(), inv, "phone", "test"); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if list := serve(t, v, Options{Limits: many}).List(); len(list) != 1 || list[0].By != "admin" || list[0].Asker != "uid:1000" {
		t.Errorf("%+v", list)
	}
}

// What the device asks for in an attempt is told the phone that asked, and no
// other of its person.
func TestHintsAreOfThePhoneThatAsked(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	_, asks := b.pair(t, wire.Invite{User: "alice"})
	_, waits := b.pair(t, wire.Invite{User: "alice"})
	heard := map[*client.Client]chan string{asks: make(chan string, 8), waits: make(chan string, 8)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for c, told := range heard {
		ready := make(chan struct{})
		go func() {
			_ = c.Events(ctx, func() { close(ready) }, func(e client.Event) error { told <- e.Kind; return nil })
		}()
		<-ready
	}
	b.device.during = func(_ context.Context, a Attempt) { a.Notify(wire.Event{Kind: "hint", Hint: "no-face", User: "alice"}) }
	if _, err := asks.Unlock(t.Context(), client.Unlock{}); err != nil {
		t.Fatal(err)
	}
	b.pass(wire.Event{Kind: "decision", User: "alice"})
	for c, want := range map[*client.Client][]string{asks: {"hint", "decision"}, waits: {"decision"}} {
		for _, w := range want {
			if got := <-heard[c]; got != w {
				t.Errorf("told %q, want %q", got, w)
			}
		}
	}
}
