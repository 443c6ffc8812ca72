package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/firmware/board/boardtest"
)

var key = bytes.Repeat([]byte{0xA7}, board.KeySize)

// journal is one in memory.
type journal struct {
	mu     sync.Mutex
	events []board.Event
	last   uint32
	missed uint32
	alarms []error
	fail   error
}

func (j *journal) Last(string) (uint32, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last, nil
}

func (j *journal) Record(_ string, missed uint32, events []board.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	j.events = append(j.events, events...)
	j.missed += missed
	j.last = events[len(events)-1].Sequence
	return nil
}

func (j *journal) Alarm(_ string, why error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	j.alarms = append(j.alarms, why)
	return nil
}

func (j *journal) list() []board.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]board.Event(nil), j.events...)
}

// bench is a board at a cable that can be pulled out and put back.
type bench struct {
	*boardtest.Board
	journal journal
	guard   *Guard

	mu        sync.Mutex
	cable     *boardtest.Cable
	unplugged bool
	serving   sync.WaitGroup
}

func (b *bench) open(context.Context) (Line, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unplugged {
		return nil, errors.New("no such port")
	}
	b.cable = boardtest.NewCable(-1)
	board := b.cable.Board
	b.serving.Go(func() { b.Serve(board) })
	return closer{b.cable.Host, b.cable}, nil
}

type closer struct {
	net.Conn
	cable *boardtest.Cable
}

func (c closer) Close() error { c.cable.Close(); return nil }

func (b *bench) unplug(out bool) {
	b.mu.Lock()
	b.unplugged = out
	cable := b.cable
	b.mu.Unlock()
	if out && cable != nil {
		cable.Close()
	}
}

// guarded runs f with a guard that runs, in virtual time.
func guarded(t *testing.T, prepare func(*bench), f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Board: boardtest.New("microbit", 1)}
		b.Install(boardtest.Image("microbit", 'A', 1<<24, 4096))
		b.SetKey(key)
		if prepare != nil {
			prepare(b)
		}
		b.guard = New(Config{Open: b.open, Key: func() ([]byte, error) { return bytes.Clone(key), nil }, Journal: &b.journal, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.guard.Run(ctx); close(done) }()
		f(t, b)
		cancel()
		<-done
		if b.Open() {
			t.Error("the door is open after an orderly stop")
		}
		b.serving.Wait()
	})
}

// within waits in virtual time until ok, and says how long that took.
func within(t *testing.T, most time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > most {
			t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(10 * time.Millisecond) // of the bubble's clock
	}
	return time.Since(start)
}

func (b *bench) there() bool { return b.guard.State().There }

func TestOpenAndShut(t *testing.T) {
	guarded(t, nil, func(t *testing.T, b *bench) {
		within(t, time.Second, "a session", b.there)
		if err := b.guard.Open(t.Context(), 3*time.Second); err != nil || !b.Open() {
			t.Fatalf("%v, open %v", err, b.Open())
		}
		if took := within(t, 4*time.Second, "shut by itself", func() bool { return !b.Open() }); took < 2900*time.Millisecond {
			t.Errorf("shut after %s", took)
		}
		within(t, time.Second, "its events", func() bool { e := b.journal.list(); return e[len(e)-1].Code == board.EventLocked })
		seen := uint32(0)
		for _, e := range b.journal.list() {
			if e.Sequence != seen+1 {
				t.Errorf("event %d after %d", e.Sequence, seen)
			}
			seen = e.Sequence
		}
		if !b.guard.State().Info.Confirmed() {
			t.Error("the image was not confirmed")
		}
	})
}

func TestEndOfTheContextShuts(t *testing.T) {
	guarded(t, nil, func(t *testing.T, b *bench) {
		within(t, time.Second, "a session", b.there)
		ctx, cancel := context.WithCancel(t.Context())
		if err := b.guard.Open(ctx, 20*time.Second); err != nil || !b.Open() {
			t.Fatal(err)
		}
		cancel()
		within(t, shutTime, "shut", func() bool { return !b.Open() })
	})
}

// An unlock whose answer is lost may have opened the door; who asked was told that it
// failed, so it is shut, also when the board is not reached for that: no heartbeat of a
// later second keeps it open.
func TestUnlockOfUnknownEndIsShut(t *testing.T) {
	const beat, unlock, lock = 0x41, 0x43, 0x44
	for name, told := range map[string]bool{"told": true, "not reached": false} {
		t.Run(name, func(t *testing.T) {
			guarded(t, nil, func(t *testing.T, b *bench) {
				within(t, time.Second, "a session", b.there)
				beats := 0
				b.Lie(func(q byte, raw []byte) []byte {
					if q == unlock {
						beats = 3
						return nil
					}
					return raw
				})
				b.Lose(func(q byte) bool {
					if q == beat && beats > 0 {
						beats--
						return true
					}
					return q == lock && !told
				})
				if err := b.guard.Open(t.Context(), 20*time.Second); err == nil || b.Opened() != 1 {
					t.Fatalf("%v, opened %d times", err, b.Opened())
				}
				within(t, board.Deadline, "shut", func() bool { return !b.Open() })
				time.Sleep(10 * time.Second)
				if b.Opened() != 1 {
					t.Error("it opened again")
				}
				b.Lie(nil)
				within(t, lastRetry+findTime, "back", b.there)
			})
		})
	}
}

// The board's own refusal changes nothing: what somebody else was granted goes on.
func TestRefusalDoesNotShut(t *testing.T) {
	guarded(t, nil, func(t *testing.T, b *bench) {
		within(t, time.Second, "a session", b.there)
		if err := b.guard.Open(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := b.guard.Open(t.Context(), time.Hour); err == nil || !b.Open() {
			t.Errorf("%v, open %v", err, b.Open())
		}
	})
}

// What happens to the cable or the board leaves the door shut, and the guard
// comes back.
func TestSurvives(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*bench)
		mend func(*bench)
	}{
		"unplugged":     {func(b *bench) { b.unplug(true) }, func(b *bench) { b.unplug(false) }},
		"reset":         {func(b *bench) { b.Reset() }, func(*bench) {}},
		"silent":        {func(b *bench) { b.Lie(func(byte, []byte) []byte { return nil }) }, func(b *bench) { b.Lie(nil) }},
		"half a frame":  {func(b *bench) { b.Lie(func(_ byte, raw []byte) []byte { return raw[:len(raw)/2] }) }, func(b *bench) { b.Lie(nil) }},
		"lies":          {func(b *bench) { b.Lie(func(_ byte, raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw }) }, func(b *bench) { b.Lie(nil) }},
		"another board": {func(b *bench) { b.SetKey(bytes.Repeat([]byte{1}, 32)); b.Reset() }, func(b *bench) { b.SetKey(key); b.Reset() }},
		"wiped":         {func(b *bench) { b.SetKey(nil); b.Reset() }, func(b *bench) { b.SetKey(key); b.Reset() }},
	} {
		t.Run(name, func(t *testing.T) {
			guarded(t, nil, func(t *testing.T, b *bench) {
				within(t, time.Second, "a session", b.there)
				if err := b.guard.Open(t.Context(), 20*time.Second); err != nil {
					t.Fatal(err)
				}
				c.harm(b)
				within(t, board.Deadline+2*time.Second, "shut", func() bool { return !b.Open() })
				if name != "reset" {
					within(t, 3*time.Second, "noticed", func() bool { return !b.there() })
					opened := b.Opened()
					if err := b.guard.Open(t.Context(), time.Second); err == nil || b.Open() {
						t.Errorf("opened: %v", err)
					}
					if b.guard.State().Err == nil {
						t.Error("no reason is given")
					}
					time.Sleep(20 * time.Second)
					if b.Opened() != opened {
						t.Error("the door opened later")
					}
				}
				c.mend(b)
				within(t, 2*lastRetry+findTime, "back", func() bool { return b.guard.Open(t.Context(), time.Second) == nil && b.Open() })
			})
		})
	}
}

func TestWhyItIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*bench)
		want    error
	}{
		"unpaired":  {func(b *bench) { b.SetKey(nil) }, ErrUnpaired},
		"opened":    {func(b *bench) { b.Tamper() }, ErrTampered},
		"lost":      {func(b *bench) { b.SetKey(nil); b.journal.last = 7 }, ErrLost},
		"in loader": {func(b *bench) { b.Board = boardtest.New("microbit", 2) }, ErrLoader},
		"wrong key": {func(b *bench) { b.SetKey(bytes.Repeat([]byte{1}, 32)) }, board.ErrForged},
		"no disk":   {func(b *bench) { b.journal.fail = errors.New("disk full") }, nil},
	} {
		guarded(t, c.prepare, func(t *testing.T, b *bench) {
			time.Sleep(2 * time.Second)
			s := b.guard.State()
			if s.There || s.Err == nil || c.want != nil && !errors.Is(s.Err, c.want) {
				t.Errorf("%s: %+v", name, s)
			}
			if err := b.guard.Open(t.Context(), time.Second); !errors.Is(err, ErrAbsent) || b.Opened() > 0 {
				t.Errorf("%s: %v, opened %d times", name, err, b.Opened())
			}
		})
	}
}

// A board whose enclosure was opened is an alarm at once, and one only, whatever
// becomes of its switch; the next opening is another.
func TestTamperIsAnAlarm(t *testing.T) {
	guarded(t, nil, func(t *testing.T, b *bench) {
		alarms := func(want ...error) bool {
			b.journal.mu.Lock()
			defer b.journal.mu.Unlock()
			return slices.Equal(b.journal.alarms, want)
		}
		tampered := func() bool { return errors.Is(b.guard.State().Err, ErrTampered) }
		within(t, time.Second, "a session", b.there)
		b.Tamper()
		within(t, board.Heartbeat+2*firstRetry, "the alarm", func() bool { return tampered() && alarms(ErrTampered) })
		b.Enclose()
		time.Sleep(time.Minute)
		if !tampered() || !alarms(ErrTampered) {
			t.Errorf("closed: %v, alarms %v", b.guard.State().Err, b.journal.alarms)
		}
		b.SetKey(key)
		within(t, lastRetry+findTime, "paired again", b.there)
		b.SetKey(nil) // opened and closed where no question saw it
		b.Reset()
		within(t, board.Deadline+2*firstRetry, "the loss", func() bool { return errors.Is(b.guard.State().Err, ErrLost) && alarms(ErrTampered, ErrLost) })
		b.Tamper()
		within(t, 2*lastRetry, "the second alarm", func() bool { return tampered() && alarms(ErrTampered, ErrLost, ErrTampered) })
	})
}

// An alarm that could not be recorded is recorded later.
func TestAlarmIsKeptWhenTheDiskHasRoomAgain(t *testing.T) {
	guarded(t, func(b *bench) { b.Tamper(); b.journal.fail = errors.New("disk full") }, func(t *testing.T, b *bench) {
		time.Sleep(time.Minute)
		if err := b.guard.State().Err; !errors.Is(err, ErrTampered) || !errors.Is(err, b.journal.fail) {
			t.Error(err)
		}
		b.journal.mu.Lock()
		b.journal.fail = nil
		b.journal.mu.Unlock()
		within(t, 2*lastRetry, "the alarm", func() bool {
			b.journal.mu.Lock()
			defer b.journal.mu.Unlock()
			return len(b.journal.alarms) == 1
		})
	})
}

// A board that somebody left in its loader holds no door: with a confirmed image in
// its flash it is started after a while, and not before.
func TestBoardInItsLoaderIsStarted(t *testing.T) {
	guarded(t, nil, func(t *testing.T, b *bench) {
		within(t, time.Second, "a session", b.there)
		time.Sleep(time.Second) // confirmed by then
		b.EnterLoader()
		within(t, 10*time.Second, "noticed", func() bool { return errors.Is(b.guard.State().Err, ErrLoader) })
		if took := within(t, loaderTime+2*lastRetry+findTime, "back", b.there); took < loaderTime-lastRetry {
			t.Errorf("started after %s: somebody may have wanted it in its loader", took)
		}
		if err := b.guard.Open(t.Context(), time.Second); err != nil || !b.Open() {
			t.Error(err)
		}
	})
}

// Events that happened while nobody listened are kept, once, and those that the
// ring lost are counted.
func TestEventsAreKeptOnce(t *testing.T) {
	guarded(t, func(b *bench) {
		for range 40 {
			b.Happen(byte(board.EventOpened), 0)
		}
	}, func(t *testing.T, b *bench) {
		within(t, time.Second, "a session", b.there)
		within(t, time.Second, "all events", func() bool { return len(b.journal.list()) >= 41 })
		for range 3 {
			b.unplug(true)
			b.Happen(byte(board.EventForced), 0)
			within(t, time.Second, "noticed", func() bool { return !b.there() })
			b.unplug(false)
			within(t, time.Minute, "back", b.there)
			within(t, time.Second, "the session's event", func() bool { e := b.journal.list(); return e[len(e)-1].Code == board.EventSession })
		}
		forced, last := 0, uint32(0)
		for _, e := range b.journal.list() {
			if e.Code == board.EventForced {
				forced++
			}
			if e.Sequence != last+1 {
				t.Errorf("event %d after %d", e.Sequence, last)
			}
			last = e.Sequence
		}
		if forced != 3 || b.journal.missed != 0 {
			t.Errorf("%d forced, %d missed", forced, b.journal.missed)
		}
	})
}
