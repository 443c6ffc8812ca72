package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
)

// searcher is a world whose module searches, and compares duplicates.
type searcher struct {
	*world
	searched int
	wait     error         // of a search
	checks   time.Duration // what the newest duplicates' check was given

	// check, where it is not nil, is the duplicates' check.
	check func(ctx context.Context, others [][]byte, c *sensor.Check) (int, error)
}

func (s *searcher) Identify(_ context.Context, _ sensor.Print, templates [][]byte) (int, float64, error) {
	s.searched++
	if s.wait != nil {
		return -1, 0, s.wait
	}
	at := slices.IndexFunc(templates, func(t []byte) bool { return string(t) == s.finger })
	if at < 0 {
		return -1, 0, nil
	}
	return at, 200, nil
}

func (s *searcher) Same(ctx context.Context, template []byte, others [][]byte, c *sensor.Check) (int, error) {
	if s.check != nil {
		return s.check(ctx, others, c)
	}
	if until, ok := ctx.Deadline(); ok {
		s.checks = time.Until(until)
	}
	return slices.IndexFunc(others, func(o []byte) bool { return string(o) == string(template) }), ctx.Err()
}

// searching is a device where fingers alone say who somebody is, of so many people.
func searching(t *testing.T, people int) (*searcher, store.UserID) {
	t.Helper()
	p := DefaultPolicy()
	p.Mode, p.FingerFMR = FingerOnly, 1e-2
	s := &searcher{world: newWorld(t, p)}
	var first store.UserID
	for i := range people {
		s.pose(0, fmt.Sprint("finger ", i))
		if id := s.enrolFinger("", "right-thumb"); i == 0 {
			first = id
		}
	}
	s.d.hw.Match, s.d.hw.Enrol = s, s
	return s, first
}

// enrolFinger enrols the finger that is on the module.
func (s *searcher) enrolFinger(who store.UserID, label string) store.UserID {
	s.t.Helper()
	r := EnrollRequest{Who: who, Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}, Finger: label}
	if who == "" {
		r.Name = s.finger
	}
	e, err := s.d.Enroll(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return e.User
}

// Somebody who was named is compared with their own templates, however many: none is
// put into the module's library for it. A search is for whom nobody named.
func TestNamedIsNotSearched(t *testing.T) {
	s, first := searching(t, 1)
	for i := range 6 {
		s.pose(0, fmt.Sprint("another ", i))
		s.enrolFinger(first, fmt.Sprint("finger-", i))
	}
	for finger, want := range map[string]bool{"finger 0": true, "another 5": true, "mallory": false} {
		s.pose(0, finger)
		if d := s.try(first); d.Granted != want {
			t.Errorf("%s: %+v", finger, d)
		}
	}
	if s.searched != 0 {
		t.Errorf("%d searches for somebody who was named", s.searched)
	}
	s.pose(0, "another 3")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != first || s.searched != 0 {
		t.Errorf("nobody else is enrolled: %+v, %v; %d searches", d, err, s.searched)
	}
	s.pose(0, "second")
	s.enrolFinger("", "right-thumb")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User == first || s.searched != 1 {
		t.Errorf("%+v, %v; %d searches", d, err, s.searched)
	}
}

// A library that is being filled is no refusal: nothing is counted.
func TestLibraryThatIsBeingFilled(t *testing.T) {
	s, first := searching(t, ManyFingers)
	s.wait = &sensor.RetryError{Hint: sensor.HintWait}
	s.pose(0, "finger 0")
	_, err := s.d.Identify(t.Context(), Request{})
	if r := (*RetryError)(nil); !errors.As(err, &r) || !slices.Contains(r.Hints, string(sensor.HintWait)) {
		t.Errorf("%v", err)
	}
	if l := s.lockout(""); l.Failures != 0 {
		t.Errorf("%d failures are counted", l.Failures)
	}
	s.wait = nil
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != first {
		t.Errorf("%+v, %v", d, err)
	}
}

// The check of a finger's duplicates is not held against the time of the captures:
// among many it takes longer than those, and nobody would be enrolled any more.
func TestDuplicatesAreNotLookedForInTheCapturesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := searching(t, 3)
		s.pose(0, "new")
		_, err := s.d.Enroll(t.Context(), EnrollRequest{Name: "New", Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}, Timeout: time.Second})
		if least := 3 * duplicateEach; err != nil || s.checks < least {
			t.Errorf("of 3 others: %v, want %v at least; %v", s.checks, least, err)
		}
	})
}

// While a finger is compared with everybody's, which may take minutes, whoever stands
// there is let in, and what an enrolment has captured is not lost by it. Who was enrolled
// or forgotten meanwhile is known when it goes on; another enrolment would not know of
// this one.
func TestCheckLendsTheDevice(t *testing.T) {
	s, first := searching(t, 3)
	begun, calls := make(chan bool, 1), 0
	var asked []int
	s.check = func(ctx context.Context, others [][]byte, c *sensor.Check) (int, error) {
		asked = append(asked, len(others))
		switch calls++; calls {
		case 1:
			c.Tell(0, 3)
			c.Tell(1, 3)
			c.Tell(1, 3)
			begun <- true
			<-ctx.Done()
			return -1, fmt.Errorf("in the middle: %w", ctx.Err())
		case 2, 3: // the finger that was let in is not the one that is compared
			return -1, fmt.Errorf("%w", sensor.ErrStale)
		}
		c.Tell(2, 2)
		return -1, nil
	}
	s.pose(0, "new")
	var told []string
	done := make(chan error, 1)
	r := EnrollRequest{Name: "New", Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}, Finger: "right-thumb"}
	r.Notify = func(e Event) {
		if e.Kind == "check" || e.Kind == "hint" && len(asked) > 0 {
			told = append(told, fmt.Sprint(e.Kind, " ", e.Hint, e.Done, "/", e.Of))
		}
	}
	go func() {
		_, err := s.d.Enroll(context.WithoutCancel(t.Context()), r)
		done <- err
	}()
	<-begun
	other := r
	other.Name, other.Notify = "Other", nil
	if _, err := s.d.Enroll(t.Context(), other); !errors.Is(err, ErrBusy) {
		t.Errorf("another enrolment meanwhile: %v", err)
	}
	s.pose(0, "finger 0")
	if d := s.try(first); !d.Granted {
		t.Errorf("whoever wanted in meanwhile: %+v", d)
	}
	if err := <-done; err != nil {
		t.Fatalf("the enrolment that lent the device: %v", err)
	}
	if want := []string{"check 0/3", "check 1/3", "hint press-finger0/0", "hint use-same-finger0/0", "check 2/2"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if len(asked) != 4 || s.d.Busy() {
		t.Errorf("%d were asked about, busy %v", asked, s.d.Busy())
	}
	s.pose(0, "new")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted {
		t.Errorf("whoever was enrolled: %+v, %v", d, err)
	}
}

// An enrolment that is canceled while its finger is compared, or while the device is
// lent, leaves nothing behind; one that goes on behind whoever forgets somebody does not
// compare with them.
func TestCheckIsCanceled(t *testing.T) {
	s, first := searching(t, 3)
	begun := make(chan bool, 1)
	var asked []int
	s.check = func(ctx context.Context, others [][]byte, c *sensor.Check) (int, error) {
		if asked = append(asked, len(others)); len(asked) > 1 {
			return -1, nil
		}
		begun <- true
		<-ctx.Done()
		return -1, fmt.Errorf("in the middle: %w", ctx.Err())
	}
	enrol := func(ctx context.Context) chan error {
		asked = nil
		s.pose(0, "new")
		done := make(chan error, 1)
		go func() {
			_, err := s.d.Enroll(ctx, EnrollRequest{Name: "New", Consent: store.Consent{At: s.clock(), TextVersion: "1"}, Factors: []Factor{Finger}})
			done <- err
		}()
		<-begun
		return done
	}
	people := func() (n int) {
		err := s.vault.View(func(tx *store.Tx) error {
			ps, err := tx.People()
			n = len(ps)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := enrol(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || people() != 3 || s.d.Busy() {
		t.Errorf("while it compares: %v, %d people, busy %v", err, people(), s.d.Busy())
	}

	ctx, cancel = context.WithCancel(t.Context())
	done = enrol(ctx)
	s.pose(0, "") // nobody comes
	attempt, leave := context.WithCancel(t.Context())
	tried, left := make(chan bool, 1), make(chan error, 1)
	go func() {
		_, err := s.d.Authenticate(attempt, Request{Who: first, Notify: func(Event) {
			select {
			case tried <- true:
			default:
			}
		}})
		left <- err
	}()
	<-tried
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || people() != 3 || len(asked) != 1 || !s.d.Busy() {
		t.Errorf("while another is let in: %v, %d people, asked %d times, busy %v", err, people(), len(asked), s.d.Busy())
	}
	leave()
	if err := <-left; s.d.Busy() {
		t.Errorf("busy behind both: %v", err)
	}

	done = enrol(t.Context())
	if _, err := s.d.Forget(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || people() != 3 || !slices.Equal(asked, []int{3, 2}) || s.d.Busy() {
		t.Errorf("behind who forgets: %v, %d people, asked about %d, busy %v", err, people(), asked, s.d.Busy())
	}
}

// A record that is no template keeps nobody out but whom nothing else is enrolled of.
func TestSpoiltFinger(t *testing.T) {
	s, first := searching(t, 1)
	s.pose(0, "spoilt")
	alone := s.enrolFinger("", "right-thumb")
	s.pose(0, "another")
	s.enrolFinger(alone, "left-thumb")
	for finger, want := range map[string]store.UserID{"finger 0": first, "another": alone} {
		s.pose(0, finger)
		if d, err := s.d.Identify(t.Context(), Request{}); err != nil || !d.Granted || d.User != want {
			t.Errorf("%s: %+v, %v", finger, d, err)
		}
	}
	s.pose(0, "mallory")
	if d, err := s.d.Identify(t.Context(), Request{}); err != nil || d.Granted {
		t.Errorf("mallory: %+v, %v", d, err)
	}
}

// caught is a module that is found to lie on the way.
type caught struct {
	*world
	scans, matches []error // one each, and none of them afterwards
}

func (c *caught) Scan(ctx context.Context) (sensor.Print, error) {
	if len(c.scans) == 0 {
		return c.world.Scan(ctx)
	}
	err := c.scans[0]
	c.scans = c.scans[1:]
	return sensor.Print{}, err
}

func (c *caught) Match(ctx context.Context, p sensor.Print, t []byte) (float64, error) {
	if len(c.matches) == 0 {
		return c.world.Match(ctx, p, t)
	}
	err := c.matches[0]
	c.matches = c.matches[1:]
	return 0, err
}

// An attempt that comes upon an attack counts it, though it is a doubt as well and there
// were more templates to compare: those after it find a module that is refused.
func TestTheAttemptThatCatchesTheModuleCounts(t *testing.T) {
	attack := &sensor.AttackError{Kind: sensor.AttackDecoy}
	for name, c := range map[string]*caught{
		"a doubt as well": {matches: []error{errors.Join(attack, sensor.ErrDoubt), fmt.Errorf("refused: %w", ErrPart)}},
		"a bad template":  {matches: []error{errors.Join(attack, sensor.ErrTemplate), fmt.Errorf("refused: %w", ErrPart)}},
		"in the scan":     {scans: []error{attack, fmt.Errorf("refused: %w", ErrPart)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, first := searching(t, 1)
			s.pose(0, "another")
			s.enrolFinger(first, "left-thumb")
			c.world = s.world
			s.d.hw.Finger, s.d.hw.Match = c, c
			s.pose(0, "mallory")
			if d := s.try(first); !slices.Equal(d.Reasons, []Reason{FingerModule, sensor.AttackDecoy}) || d.Failures != 1 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// An attack that no attempt came upon is reported, and counted against the device alone.
func TestAnAccusedModuleIsReported(t *testing.T) {
	s, first := searching(t, 1)
	events := s.d.Subscribe(t.Context())
	if err := s.d.Accuse(&sensor.AttackError{Kind: sensor.AttackSwapped}, 7); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Kind != "attack" || e.Step != Finger || e.User != "" || !slices.Equal(e.Reasons, []Reason{FingerModule, sensor.AttackSwapped}) || !s.d.suspect() {
		t.Errorf("%+v", e)
	}
	if p, d := s.lockout(first).Failures, s.lockout("").Failures; p != 0 || d != 1 {
		t.Errorf("%d failures of a person, %d of the device", p, d)
	}
}

// Who is enrolled on another kind of module alone, which may call itself by the same name,
// is told so, as often as they try: it counts for nobody, and hides nobody else's finger.
func TestFingersOfAnotherKindOfModule(t *testing.T) {
	s, first := searching(t, 1)
	s.size = len("finger 0") + 1
	for range deviceFreeFailures + 1 {
		if d := s.try(first); d.Granted || !slices.Equal(d.Reasons, []Reason{FingerElsewhere}) || d.Failures != 0 || d.Audit == 0 {
			t.Fatalf("%+v", d)
		}
		if d, err := s.d.Identify(t.Context(), Request{}); err != nil || d.Granted || !slices.Equal(d.Reasons, []Reason{FingerElsewhere}) {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if p, d := s.lockout(first).Failures, s.lockout("").Failures; p != 0 || d != 0 {
		t.Errorf("%d failures of the person, %d of the device", p, d)
	}
	if e := s.lastEntry(); e.Kind != "identify" || e.Outcome != "elsewhere" || !slices.Contains(e.Reasons, string(FingerElsewhere)) {
		t.Errorf("%+v", e)
	}

	s.check = func(_ context.Context, others [][]byte, _ *sensor.Check) (int, error) {
		if len(others) != 0 {
			t.Errorf("%q are checked", others)
		}
		return -1, nil
	}
	s.pose(0, "finger 0b")
	s.enrolFinger(first, "left-thumb")
	if d := s.try(first); !d.Granted {
		t.Errorf("enrolled anew: %+v", d)
	}
	s.pose(0, "finger 0")
	if d := s.try(first); !slices.Equal(d.Reasons, []Reason{FingerNoMatch}) || d.Failures != 1 {
		t.Errorf("the old template is compared: %+v", d)
	}
}

// A face that fails beside it counts: nobody tries faces for nothing on who is enrolled on
// another kind of module.
func TestAFaceBesideAFingerOfAnotherModuleCounts(t *testing.T) {
	w := newWorld(t, DefaultPolicy())
	alice := w.enrol("Alice", 1, "alice")
	w.size = len("alice") + 1
	w.pose(2, "")
	if d := w.try(alice); !slices.Equal(d.Reasons, []Reason{FaceNoMatch, FingerElsewhere}) || d.Failures != 1 {
		t.Errorf("another face: %+v", d)
	}
	w.pose(1, "")
	if d := w.try(alice); !slices.Equal(d.Reasons, []Reason{FingerElsewhere}) || d.Failures != 1 {
		t.Errorf("hers: %+v", d)
	}
}

// While a module is set up nobody knows whose fingers are its: a fault, which counts nothing.
func TestFingersWhileNoModuleIsSetUp(t *testing.T) {
	s, first := searching(t, 1)
	s.d.hw.Match = unknown{s}
	if d, err := s.d.Authenticate(t.Context(), Request{Who: first}); !errors.Is(err, ErrPart) || s.lockout(first).Failures != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

// unknown is a module that was never opened.
type unknown struct{ *searcher }

func (unknown) Family() string { return "" }
