package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/host"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/store"
)

func newTrust(t *testing.T) trust {
	t.Helper()
	dir := t.TempDir()
	v, err := store.Open(filepath.Join(dir, "v.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return trust{vault: v, log: slog.New(slog.DiscardHandler), decoys: benchDecoys, doubts: new(sensor.Doubts), spoilt: new(sync.Map), accuse: func(*sensor.AttackError, uint64) {}}
}

// switched is a pin that switches a simulated module's power.
type switched struct {
	*gpiotest.Pin
	t   *testing.T
	sim *modsim.Sim
}

func (p *switched) Out(l gpio.Level) error {
	if l != p.Read() {
		if _, err := p.sim.Command(map[gpio.Level]string{gpio.Low: "unplug", gpio.High: "plug"}[l]); err != nil {
			p.t.Error(err)
		}
	}
	return p.Pin.Out(l)
}

// onPTY connects a simulated module to a pseudo-terminal and returns its path.
func onPTY(t *testing.T, sim *modsim.Sim) string {
	t.Helper()
	pty, err := modsim.OpenPTY(filepath.Join(t.TempDir(), "module"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- pty.Serve(ctx, sim) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, pty.Close()); err != nil {
			t.Error(err)
		}
	})
	return pty.Path()
}

// A module that hangs is cut off and found, the wake wire brings a touch, and
// both pins are named in the configuration.
func TestFingerPins(t *testing.T) {
	t.Parallel()
	wake := &gpiotest.Pin{N: "TESTWAKE", Num: 9024, EdgesChan: make(chan gpio.Level, 8)}
	sim, err := modsim.New(modsim.Config{Model: "r307", Wake: func(touched bool) { wake.EdgesChan <- gpio.Level(!touched) }})
	if err != nil {
		t.Fatal(err)
	}
	power := &switched{&gpiotest.Pin{N: "TESTPOWER", Num: 9023, L: gpio.High}, t, sim}
	for _, p := range []gpio.PinIO{wake, power} {
		if err := gpioreg.Register(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{"quirk noimage", "hang"} {
		if _, err := sim.Command(c); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	port := onPTY(t, sim)

	pins := &fingerPins{}
	c := fingerConfig{Port: port, Baud: 57600, PowerPin: "TESTPOWER", WakePin: "TESTWAKE", BorrowDecoys: true}
	m, err := openModule(ctx, c, pins, newTrust(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if d := moduleDetail(m); !strings.Contains(d, "other people's templates") {
		t.Error(d)
	}
	f := &finger{part: newPart[*sensor.Module]("finger", slog.New(slog.DiscardHandler), nil, nil)}
	f.part.set(m, true, nil)
	for match, want := range map[string]string{matchModule: "warn", matchHost: "ok", matchBoth: "ok"} {
		f.checkTrust(func(name, state, detail, advice string) {
			if name != "finger trust" || state != want || (advice != "") != (want == "warn") {
				t.Errorf("finger.match = %q: %s, %s, %s", match, state, detail, advice)
			}
		}, match)
	}
	before := m.Stats().Commands
	touching := time.AfterFunc(1200*time.Millisecond, func() {
		if _, err := sim.Command("touch alice thumb"); err != nil {
			t.Error(err)
		}
	})
	defer touching.Stop()
	if _, err := m.Scan(ctx); err != nil {
		t.Error(err)
	}
	// Without the wire it would have looked eight times.
	if n := m.Stats().Commands - before; n > 4 {
		t.Errorf("%d instructions while nobody was there", n)
	}
	if err := pins.close(); err != nil || power.Read() != gpio.High {
		t.Errorf("closed: %v, power %v", err, power.Read())
	}
	if err := (&fingerPins{}).open(fingerConfig{PowerPin: "GPIO9999"}, slog.Default()); err == nil || !strings.Contains(err.Error(), "finger.power_pin") || !strings.Contains(moduleAdvice(err), "gpio") {
		t.Errorf("a pin that is not there: %v", err)
	}
}

// What is lent for decoys is nobody's whose template it goes with, and of the
// same family.
func TestBorrowedDecoysAreOtherPeoples(t *testing.T) {
	tr := newTrust(t)
	template := func(n byte) []byte { return bytes.Repeat([]byte{n}, 300) }
	now := time.Now()
	err := tr.vault.Update(func(tx *store.Tx) error {
		for i, fingers := range []map[byte]string{{1: "r307", 2: "r307"}, {3: "r307", 4: "as608"}, {5: "r307"}} {
			id := store.NewUserID()
			if err := tx.AddPerson(store.Person{ID: id, Name: string(rune('A' + i)), Created: now, Consent: store.Consent{At: now, TextVersion: "1"}}); err != nil {
				return err
			}
			for n, family := range fingers {
				if _, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindModule, Model: family, Label: string(rune('a' + n)), Created: now, Data: template(n)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[byte]string{1: "3 5", 3: "1 2 5", 9: ""} {
		others, err := tr.others(template(of))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n := range byte(9) {
			for _, o := range others {
				if bytes.Equal(o, template(n)) {
					got = append(got, string(rune('0'+n)))
				}
			}
		}
		if s := strings.Join(got, " "); s != want || len(got) != len(others) {
			t.Errorf("with template %d go %q, want %q", of, s, want)
		}
	}
}

func TestLineErrorsAreExplained(t *testing.T) {
	for err, want := range map[error]string{
		&sensor.AddressError{Port: "p", Address: 0x11}:       "finger.address = 0x00000011",
		&refusedError{&sensor.AttackError{}}:                 "sensor trust",
		error(sensor.ErrPassword):                            "password_file",
		error(&sensor.CodeError{Instruction: sensor.GenImg}): "doctor",
	} {
		if got := moduleAdvice(err); !strings.Contains(got, want) {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// The lamp says what the device does and comes to rest after it, also where
// nothing was decided; a part without which nobody gets in is a fault that it goes
// on showing.
func TestLampFollowsTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := modsim.New(modsim.Config{Model: "r503"})
		if err != nil {
			t.Fatal(err)
		}
		host, module := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = sim.Serve(ctx, module) })
		m, err := sensor.New(ctx, host, sensor.Config{Baud: 57600})
		if err != nil {
			t.Fatal(err)
		}
		f := &finger{part: newPart[*sensor.Module]("finger", slog.New(slog.DiscardHandler), nil, nil), moved: make(chan struct{})}
		f.part.set(m, true, nil)
		events := make(chan device.Event)
		var broken atomic.Bool
		var told []string
		running.Go(func() { f.light(ctx, events, broken.Load, func(e device.Event) { told = append(told, e.Outcome) }) })
		shows := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after) // of the bubble
			if got, _ := sim.Command("state"); !strings.HasSuffix(got, "lamp "+want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
		const ready, working, no, locked, fault = "mode 3 speed 0 colour 2 times 0", "mode 3 speed 0 colour 3 times 0", "mode 2 speed 25 colour 1 times 2", "mode 3 speed 0 colour 1 times 0", "mode 2 speed 25 colour 3 times 3"
		come := device.Event{Kind: "hint", Step: device.Finger, Hint: string(sensor.HintNoFinger)}
		shows(time.Second, ready)
		events <- come
		shows(time.Second, working)
		shows(time.Minute, working)
		events <- device.Event{Kind: "decision", Outcome: "refused"}
		shows(time.Second, no)
		events <- device.Event{Kind: "ended"}
		shows(0, no)
		shows(2*time.Second, ready)
		events <- device.Event{Kind: "decision", Outcome: "refused", Reasons: []device.Reason{device.LockedOut}}
		shows(time.Second, locked)
		events <- come
		events <- device.Event{Kind: "ended"} // nobody came
		shows(time.Second, ready)
		events <- come
		events <- device.Event{Kind: "fault"}
		events <- device.Event{Kind: "ended"}
		shows(time.Second, fault)
		shows(3*time.Second, ready)
		broken.Store(true)
		shows(lampCheck, fault)
		sent := m.Stats().Commands
		if shows(lampCheck, fault); m.Stats().Commands == sent {
			t.Error("a fault that lasts is shown once")
		}
		broken.Store(false)
		shows(lampCheck, ready)

		// A module that is unplugged shows nothing; one that is plugged in again what
		// the device does by then, at once.
		f.part.set(m, false, errors.New("unplugged"))
		f.moved <- struct{}{}
		synctest.Wait()
		if got := f.shows(); got != sensor.LampOff {
			t.Errorf("a module that is not there shows %s", got)
		}
		events <- come
		f.part.set(m, true, nil)
		f.moved <- struct{}{}
		shows(time.Millisecond, working)
		if got := f.shows(); got != sensor.LampWorking {
			t.Errorf("a screen is told %s", got)
		}
		cancel()
		close(events)
		host.Close()
		running.Wait()
		if want := strings.Fields("ready working no ready locked working ready working fault ready fault ready off working"); !slices.Equal(told, want) {
			t.Errorf("announced %q, want %q", told, want)
		}
	})
}

// A password that opened the module once is sealed, and its file may go; the
// factory's is tried as well, for a module that was set back.
func TestPasswordIsSealed(t *testing.T) {
	t.Parallel()
	sim, err := modsim.New(modsim.Config{Model: "r307"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Command("quirk noimage"); err != nil { // decoys would take long
		t.Fatal(err)
	}
	ctx := t.Context()
	port := onPTY(t, sim)
	tr := newTrust(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("0x1234\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(file string, set uint32, want error) {
		t.Helper()
		m, err := openModule(ctx, fingerConfig{Port: port, Baud: 57600, PasswordFile: file}, &fingerPins{}, tr)
		if !errors.Is(err, want) {
			t.Fatalf("with the file %q: %v, want %v", file, err, want)
		}
		if err != nil {
			return
		}
		if err := errors.Join(m.SetPassword(ctx, set), m.Close()); err != nil {
			t.Fatal(err)
		}
	}
	open("", 0x1234, nil)
	open("", 0, sensor.ErrPassword)
	open(file, 0x1234, nil)
	open("", 0x1234, nil)
	if err := tr.anew(); err != nil { // as sensor trust does
		t.Fatal(err)
	}
	open("", 0, nil)
	open(file, 0, sensor.ErrPassword)
	open("", 0, nil)
	if p, _, err := tr.number(passwordName); p != 0 || err != nil {
		t.Errorf("%#x is sealed, %v", p, err)
	}
}

// So is its address: the key may go from the configuration once it has opened the
// module, and one that answers by the factory's is not the one that was set up.
func TestModuleAddressIsSealed(t *testing.T) {
	t.Parallel()
	sim, err := modsim.New(modsim.Config{Model: "r307"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Command("quirk noimage"); err != nil { // decoys would take long
		t.Fatal(err)
	}
	ctx, port, tr := t.Context(), onPTY(t, sim), newTrust(t)
	open := func(address, set uint32, want error) {
		t.Helper()
		m, err := openModule(ctx, fingerConfig{Port: port, Baud: 57600, Address: address}, &fingerPins{}, tr)
		if !errors.Is(err, want) {
			t.Fatalf("at the address %#x: %v, want %v", address, err, want)
		}
		if err != nil {
			return
		}
		if set != 0 {
			err = m.SetAddress(ctx, set)
		}
		if err := errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
	}
	open(0, 0x12345678, nil)
	if _, sealed, err := tr.number(addressName); sealed || err != nil {
		t.Errorf("the factory's is sealed: %v, %v", sealed, err)
	}
	open(0, 0, sensor.ErrNoModule)
	open(0x12345678, 0, nil)
	open(0, sensor.DefaultAddress, nil)
	open(0, 0, sensor.ErrNoModule)
	if err := tr.anew(); err != nil { // as sensor trust does
		t.Fatal(err)
	}
	open(0, 0, nil)
	if a, _, err := tr.number(addressName); a != sensor.DefaultAddress || err != nil {
		t.Errorf("%#x is sealed, %v", a, err)
	}
}

// A rate that failed is not tried again by the next daemon either.
func TestFailedRateIsSealed(t *testing.T) {
	slow := modsim.Personalities["r503"]
	slow.Rates = slow.Rates[:4] // not 115200 baud
	modsim.Personalities["slow"] = slow
	defer delete(modsim.Personalities, "slow")
	sim, err := modsim.New(modsim.Config{Model: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Command("quirk noimage"); err != nil {
		t.Fatal(err)
	}
	port, tr := onPTY(t, sim), newTrust(t)
	for range 2 {
		m, err := openModule(t.Context(), fingerConfig{Port: port}, &fingerPins{}, tr)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if is, _ := sim.Command("state"); !strings.Contains(is, "baud 57600") || !strings.Contains(is, "settings 1 ") {
			t.Error(is)
		}
		if r, err := tr.rates(); r.TooFast != 115200 || err != nil {
			t.Errorf("%+v is sealed, %v", r, err)
		}
	}
}

// A rate that the host's table, or the module's maker, cannot show among all who are
// enrolled is a fault of the configuration, which the doctor names.
func TestDoctorSaysWhetherTheRateHolds(t *testing.T) {
	var l lines
	checkRate(l.add, matchModule, "finger", 1e-4, 10)
	checkRate(l.add, matchModule, "finger", 1e-4, 11)
	checkRate(l.add, matchModule, "both", 1e-4, 11)
	limit := 100 * host.Reach(1)
	checkRate(l.add, matchHost, "either", limit, 3)
	checkRate(l.add, matchBoth, "either", limit, 1000)
	l.want(t, "finger rate|ok|finger_fmr = 0.0001 holds among 10", "finger rate|fail|11 fingers are enrolled", "finger rate|warn|11 fingers are enrolled",
		"finger rate|ok|", "finger rate|fail|1000 fingers are enrolled")
}

func TestDoctorSaysWhetherTheLibraryHasRoom(t *testing.T) {
	var l lines
	for _, enrolled := range []int{0, 145, 146, 163, 171} {
		checkRoom(l.add, 162, enrolled)
	}
	l.want(t, "finger library|ok|0 of 162", "finger library|ok|145 of 162", "finger library|warn|146 of 162", "finger library|warn|163 of 162", "finger library|fail|171 of 162")
}

// Status and an enrolment warn of a library that is nearly full, and count the
// templates of the module's own family; they count anew when somebody was added.
func TestStatusAndEnrolmentWarnOfAFullLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTrusted(t, "as608", "quirk noimage")
		m, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		f := &finger{part: newPart[*sensor.Module]("finger", w.log, nil, nil), trust: w.trust}
		f.part.detail = moduleDetail
		f.part.set(m, true, nil)
		b := &backend{vault: w.vault, finger: f}
		b.config.Finger.Match = matchModule
		b.parts = func() []client.Part { return []client.Part{storeStatus(w.vault), f.part.status()} }
		id, now := store.NewUserID(), time.Now()
		add := func(family string, n int) {
			t.Helper()
			err := w.vault.Update(func(tx *store.Tx) error {
				for range n {
					if _, err := tx.AddTemplate(store.Template{User: id, Kind: store.KindModule, Model: family, Label: "right-thumb", Created: now, Data: bytes.Repeat([]byte{7}, 300)}); err != nil {
						return err
					}
				}
				_, err := tx.Append(store.Entry{At: now, Kind: "enrol", Outcome: "done"})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.vault.Update(func(tx *store.Tx) error {
			return tx.AddPerson(store.Person{ID: id, Name: "A", Created: now, Consent: store.Consent{At: now, TextVersion: "1"}})
		}); err != nil {
			t.Fatal(err)
		}
		const others = "enrolments: 20 fingers were enrolled on another kind of module"
		for i, step := range []struct {
			family string
			n      int
			want   string
		}{{"zfm-9", 1, ""}, {"r503", 20, ""}, {"zfm-9", 144, ""}, {"zfm-9", 1, "146 of 162 are in use"}, {"zfm-9", 25, "171 of 162: nobody is found"}} {
			add(step.family, step.n)
			parts := b.parts()
			if err := b.warnOfRoom(parts); err != nil {
				t.Fatal(err)
			}
			p, elsewhere := parts[1], i > 0
			if strings.Contains(p.Detail, "library: ") != (step.want != "") || !strings.Contains(p.Detail, step.want) ||
				strings.Contains(p.Detail, others) != elsewhere || (p.Advice != "") != (step.want != "" || elsewhere) {
				t.Errorf("with %d more of %s: %+v", step.n, step.family, p)
			}
			if got := strings.Join(b.roomWarnings(), ""); strings.HasPrefix(got, "finger library: ") != (step.want != "") || !strings.Contains(got, step.want) {
				t.Errorf("with %d more of %s an enrolment says %q", step.n, step.family, got)
			}
		}
		b.config.Finger.Match = matchHost
		if got := b.roomWarnings(); len(got) > 0 {
			t.Errorf("where the host compares: %q", got)
		}
	})
}
