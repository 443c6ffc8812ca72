package phone

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// vouched is a clock that follows a time server, as long as it is true.
func vouched(yes *bool) Options {
	return Options{Limits: many, ClockTrusted: func() bool { return *yes }}
}

// at is the phone's client at another device.
func at(t *testing.T, i *client.Identity, b *bench) *client.Client {
	i.Addr = b.addr
	c := i.Client()
	t.Cleanup(c.Close)
	return c
}

// A clock that nobody vouches for was a year ahead at the start, which a Pi's may
// be: what it said holds until a time server speaks, and not after that, nor after
// a restart.
func TestAClockOnceAheadIsForgotten(t *testing.T) {
	v, trusted := newMemory("alice"), false
	b := serve(t, v, vouched(&trusted))
	until := noon().Add(48 * time.Hour)
	i, _ := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	scheduled, _ := b.pair(t, wire.Invite{User: "alice", Schedule: "wed 08:00-18:00"})
	b.stop()

	year := 365 * 24 * time.Hour
	ahead := &clock{now: noon().Add(year), ticks: noon()}
	wrong := vouched(&trusted)
	wrong.Now, wrong.tick = ahead.get, ahead.tick
	w := serve(t, v, wrong)
	_, err := at(t, i, w).Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	w.tidy(0) // it is kept, too
	restarted := v.copy()

	right := func(b *bench) {
		t.Helper()
		if _, err := at(t, i, b).Unlock(t.Context(), client.Unlock{}); err != nil {
			t.Errorf("the phone that has a day left: %v", err)
		}
		if _, err := at(t, scheduled, b).Unlock(t.Context(), client.Unlock{}); err != nil {
			t.Errorf("the phone whose time it is: %v", err)
		}
		if _, err := b.SetTerms(i.ID, wire.PhoneTerms{Rights: Rights, Expires: &until}, "uid:7"); err != nil {
			t.Errorf("a time that lies ahead: %v", err)
		}
	}
	ahead.set(-year)
	_, err = at(t, scheduled, w).Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden) // nobody vouches for this either
	trusted = true
	ahead.add(time.Second)
	right(w)
	w.tidy(time.Hour)
	trusted = false
	right(serve(t, v.copy(), vouched(&trusted))) // what was wrong is in the vault no more
	trusted = true
	lost := newBench(t, restarted, vouched(&trusted)) // the power, before the server spoke
	for _, id := range []string{i.ID, scheduled.ID} {
		if no := lost.may(lost.find(id), Unlock); no != nil {
			t.Errorf("%+v", no)
		}
	}
}

// What a time server said that lied is ended by an administrator, for good, and in
// the audit.
func TestAnAdministratorSetsTheTimeRight(t *testing.T) {
	v, trusted := newMemory("alice"), true
	b := serve(t, v, vouched(&trusted))
	until := noon().Add(48 * time.Hour)
	i, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	scheduled, sc := b.pair(t, wire.Invite{User: "alice", Schedule: "wed 08:00-18:00"})
	year := 365 * 24 * time.Hour
	b.clock.set(year)
	_, err := c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	b.clock.set(-year)
	_, err = c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
	_, err = sc.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 403, wire.ProblemForbidden)
	for name, refused := range map[string]func() error{
		"a code": func() error {
			_, err := b.Invite(t.Context(), wire.Invite{User: "alice", Expires: &until}, "admin", "")
			return err
		},
		"terms": func() error {
			_, err := b.SetTerms(i.ID, wire.PhoneTerms{Rights: Rights, Expires: &until}, "uid:7")
			return err
		},
	} {
		// It would be reckoned by a time that is not now.
		if p := (*api.Problem)(nil); !errors.As(refused(), &p) || p.Status != 409 || p.Type != wire.ProblemPrefix+wire.ProblemClock {
			t.Errorf("%s with an end: %v", name, refused())
		}
	}
	now := b.Clock()
	if !now.Back || !now.Trusted || !now.Now.Equal(noon()) || now.Known == nil || !now.Known.Equal(noon().Add(year)) {
		t.Errorf("%+v", now)
	}

	v.mu.Lock()
	v.fails = errors.New("the disk is full")
	v.mu.Unlock()
	if _, err := b.AcceptClock("uid:7"); err == nil || !b.Clock().Back {
		t.Errorf("accepted though it cannot be kept: %v", err)
	}
	v.mu.Lock()
	v.fails = nil
	v.mu.Unlock()
	now, err = b.AcceptClock("uid:7")
	if err != nil || now.Back || now.Known == nil || !now.Known.Equal(noon()) {
		t.Fatalf("%+v, %v", now, err)
	}
	v.mu.Lock()
	last := v.entries[len(v.entries)-1]
	v.mu.Unlock()
	if want := []string{"by:uid:7", "was:2027-11-25T12:00:00Z"}; last.Kind != "phone-clock" || !slices.Equal(last.Reasons, want) || last.User != "" {
		t.Errorf("recorded %+v", last)
	}
	right := func(b *bench) {
		t.Helper()
		if _, err := at(t, i, b).Unlock(t.Context(), client.Unlock{}); err != nil {
			t.Error(err)
		}
		if _, err := at(t, scheduled, b).Unlock(t.Context(), client.Unlock{}); err != nil {
			t.Error(err)
		}
	}
	right(b)
	b.stop()
	right(serve(t, v, vouched(&trusted)))
}

// That the clock follows a time server was true half a second ago, or was said as it
// was set: neither vouches for a date that somebody set meanwhile.
func TestATimeServersWordIsOfItsOwnTime(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, during := range map[string]bool{"set after it was asked": false, "set as it is asked": true} {
		t.Run(name, func(t *testing.T) {
			c, trusted, set := &clock{now: noon(), ticks: noon()}, true, time.Duration(0)
			k := &timekeeper{wall: c.get, tick: c.tick, trusted: func() bool {
				c.set(set)
				set = 0
				return trusted
			}}
			k.load(time.Time{}, time.Time{})
			k.read()
			c.add(500 * time.Millisecond)
			c.set(year)
			if during {
				c.add(time.Second)
				set = -year // and the word is about this one
			} else {
				trusted = false // says the kernel from then on
			}
			k.read()
			trusted = true
			if !during {
				c.set(-year)
			}
			c.add(5 * time.Second)
			if now, behind := k.read(); behind != 0 || !now.Equal(c.get()) {
				t.Errorf("it is taken to be %s, %s later", now, behind)
			}
		})
	}
}

// The kernel is asked once a second where nothing jumps.
func TestTheKernelIsAskedOnceASecond(t *testing.T) {
	c, asked := &clock{now: noon(), ticks: noon()}, 0
	k := &timekeeper{wall: c.get, tick: c.tick, trusted: func() bool { asked++; return true }}
	for range 100 {
		k.read()
		c.add(100 * time.Millisecond)
		c.set(50 * time.Microsecond) // slewed
	}
	if asked != 10 {
		t.Errorf("asked %d times in 10 s", asked)
	}
}

// A date that was set by hand for a moment, in which a phone asked or was paired, is
// nowhere afterwards: no restart takes it for the time.
func TestADateOfAMomentLeavesNoTrace(t *testing.T) {
	for name, server := range map[string]bool{"without a time server": false, "once a time server was heard": true} {
		t.Run(name, func(t *testing.T) {
			v, trusted := newMemory("alice"), server
			b := serve(t, v, vouched(&trusted))
			until := noon().Add(30 * 24 * time.Hour)
			limited, _ := b.pair(t, wire.Invite{User: "alice", Expires: &until})
			other, c := b.pair(t, wire.Invite{User: "alice"})
			b.tidy(0) // no reservations: the next request is kept
			years := 14 * 365 * 24 * time.Hour
			trusted = false
			b.clock.set(years)
			if _, err := c.Me(t.Context()); err != nil {
				t.Fatal(err)
			}
			fresh, _ := b.pair(t, wire.Invite{User: "alice"})
			crashed := v.copy()
			b.clock.set(-years)
			b.clock.add(time.Hour)
			b.tidy(settleIdle)
			for _, id := range []string{other.ID, fresh.ID} {
				x := b.find(id)
				if w := x.wire(); w.Seen.After(b.clock.get()) || x.top != x.last {
					t.Errorf("%s was seen %s, and %d counters are reserved", id, w.Seen, x.top-x.last)
				}
			}
			b.stop()
			for how, left := range map[string]*memory{"in order": v, "by the plug": crashed} {
				again := serve(t, left.copy(), Options{Limits: many, Now: b.clock.get})
				if c := again.Clock(); c.Back {
					t.Errorf("started %s: %+v", how, c)
				}
				if no := again.may(again.find(limited.ID), Unlock); no != nil {
					t.Errorf("started %s, the phone whose end is far: %+v", how, no.Problem)
				}
			}
		})
	}
}

// Whoever sets the clock back gains nothing: it goes on from the latest time that
// was known.
func TestTimeGoesOnWithTheClockBack(t *testing.T) {
	for name, trusted := range map[string]bool{"by a time server": true, "by hand": false} {
		t.Run(name, func(t *testing.T) {
			v := newMemory("alice")
			b := serve(t, v, vouched(&trusted))
			until := noon().Add(time.Hour)
			i, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
			b.clock.set(-365 * 24 * time.Hour)
			_, err := c.Unlock(t.Context(), client.Unlock{})
			wantProblem(t, err, 403, wire.ProblemForbidden) // nobody knows how late it is
			if _, err := c.Me(t.Context()); err != nil {
				t.Errorf("what needs no right: %v", err)
			}
			b.clock.add(time.Hour)
			_, err = c.Me(t.Context())
			wantProblem(t, err, 401, wire.ProblemExpired)
			if len(b.device.asked) != 0 {
				t.Error("the device was asked")
			}
			b.stop()
			again := serve(t, v, Options{Limits: many, ClockTrusted: func() bool { return trusted }, Now: b.clock.get})
			_, err = at(t, i, again).Me(t.Context())
			wantProblem(t, err, 401, wire.ProblemExpired)
		})
	}
}

// A clock that is a little behind the latest time is no matter, but it buys no more
// than that once, however often it is set.
func TestTheClockMayGoBackALittleOnce(t *testing.T) {
	trusted := true
	b := serve(t, newMemory("alice"), vouched(&trusted))
	until := noon().Add(time.Hour)
	_, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	for range 60 {
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.add(time.Minute)
		b.clock.set(-time.Second)
	}
	_, err := c.Me(t.Context())
	wantProblem(t, err, 401, wire.ProblemExpired)
}

// A power cut gives a phone whose time is limited no more than a minute of use
// back, and costs no more than a commit a minute.
func TestPowerCutsGiveNoTimeBack(t *testing.T) {
	v, trusted := newMemory("alice"), true
	b := serve(t, v, vouched(&trusted))
	until := noon().Add(time.Hour)
	_, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	commits := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.commits
	}
	before := commits()
	for range 30 * 4 {
		b.clock.add(15 * time.Second)
		if _, err := c.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := commits() - before; n > 31 {
		t.Errorf("half an hour of use is %d commits", n)
	}
	cut := newBench(t, v.copy(), vouched(&trusted)) // and whoever cut it sets the clock back
	if now, _ := cut.Phones.clock(); now.Before(noon().Add(30*time.Minute - knownInUse)) {
		t.Errorf("after the cut it is %s", now)
	}
	// Nobody asks: by and by it is kept all the same.
	b.tidy(time.Hour)
	before = commits()
	for range 29 {
		b.clock.add(time.Minute)
		b.tidy(time.Hour)
	}
	if n := commits() - before; n > 1 {
		t.Errorf("half an hour without use is %d commits", n)
	}
}

// A time that cannot be kept lets no phone whose time is limited in.
func TestTimeThatCannotBeKept(t *testing.T) {
	v, trusted := newMemory("alice"), true
	b := serve(t, v, vouched(&trusted))
	until := noon().Add(time.Hour)
	_, c := b.pair(t, wire.Invite{User: "alice", Expires: &until})
	_, other := b.pair(t, wire.Invite{User: "alice"})
	v.mu.Lock()
	v.fails = errors.New("the disk is full")
	v.mu.Unlock()
	b.clock.add(knownInUse)
	_, err := c.Unlock(t.Context(), client.Unlock{})
	wantProblem(t, err, 503, wire.ProblemFault)
	if _, err := other.Me(t.Context()); err != nil {
		t.Errorf("a phone without an end: %v", err)
	}
}

// A browser's session lives by the time that passes, whatever the clock says.
func TestSessionsOutliveAClockSetBack(t *testing.T) {
	trusted := true
	b := serve(t, newMemory("alice"), vouched(&trusted))
	old := b.sessions.open(b.tick())
	b.clock.set(-24 * time.Hour)
	s := b.sessions.open(b.tick())
	if !b.sessions.holds(s, b.tick()) || !b.sessions.holds(old, b.tick()) {
		t.Error("dead when it was born")
	}
	b.clock.add(sessionLife)
	b.clock.set(-365 * 24 * time.Hour)
	if b.sessions.holds(s, b.tick()) {
		t.Error("it lives for ever")
	}
	if bytes.Equal(s[:], old[:]) {
		t.Error("two are one")
	}
}
