// Package guard holds the door by a guard board: a device.Lock that a cut
// cable, a crashed host or a recorded wire leaves shut.
//
// The board shuts the lock by itself, when the hold is over or when it has not
// heard a heartbeat for two seconds; nothing on this side has to work for
// that. Whatever goes wrong here, an unplugged cable, a reset board, one that
// lies, is a fault: Open fails, the line is opened anew with back-off, and
// nothing that was asked before is done later.
package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/firmware/board"
)

// Line is a serial line to the board.
type Line interface {
	board.Line
	io.Closer
}

// Journal keeps what the board recorded, in the audit chain.
type Journal interface {
	// Last is the sequence of the newest event that is kept of this board.
	Last(serial string) (uint32, error)
	// Record keeps events, in order. missed says how many were lost before
	// them, because the board's ring went round.
	Record(serial string, missed uint32, events []board.Event) error
	// Alarm keeps and announces that a board has no key for the reason of why,
	// ErrTampered or ErrLost. Its own events come with the next pairing only.
	Alarm(serial string, why error) error
}

// Config of a guard.
type Config struct {
	Open    func(context.Context) (Line, error)
	Key     func() ([]byte, error) // reads the pairing key for each session; it is wiped after use
	Journal Journal
	Log     *slog.Logger
}

// Errors that have a cure; they are wrapped.
var (
	// ErrAbsent: there is no session with the board at the moment.
	ErrAbsent = errors.New("the guard board is not there")
	// ErrLoader: the board waits in its loader for an image.
	ErrLoader = errors.New("the guard board is in its loader")
	// ErrUnpaired: the board has no key.
	ErrUnpaired = errors.New("the guard board is not paired")
	// ErrTampered: it says that it was opened, now or since the last session.
	ErrTampered = errors.New("TAMPER: the guard board's enclosure was opened, and the board has erased its pairing key")
	// ErrLost: there were sessions with it, and it has no key any more.
	ErrLost = errors.New("the guard board has lost its pairing key: it was wiped, or opened while nobody looked")
)

// How long to wait before the board is looked for again: at once after a
// glitch, since nobody gets in meanwhile, and seldom when it stays away.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	findTime   = 3 * time.Second        // a board boots within 0.6 s
	shutTime   = 500 * time.Millisecond // to tell it to shut; it does so by itself

	// How long a board that holds a confirmed image may be in its loader. Whoever
	// sent it there has the line meanwhile; who left it there is not coming back,
	// and the loader's own minute begins anew with each load.
	loaderTime = 30 * time.Second
)

// State of the guard, for status.
type State struct {
	There  bool // a session is open
	Info   board.Info
	Status board.Status
	Err    error // why it is not there
	Since  time.Time
}

// Guard is the host's end. Run keeps it alive.
type Guard struct {
	c    Config
	shut sync.WaitGroup // locks that may yet have to be told

	inLoader time.Time // since when the board was found there; zero: it was not. Run's.
	alarm    alarm     // Run's

	mu    sync.Mutex
	conn  *board.Conn
	state State
}

// alarm is why a board that ought to have a key has none, until it has a session
// again.
type alarm struct {
	serial board.Serial
	why    error // nil: there is none
	kept   bool  // in the journal
}

var _ device.Lock = (*Guard)(nil)

// New makes a guard; Run must be called for it to do anything.
func New(c Config) *Guard {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Guard{c: c, state: State{Err: errors.New("being looked for"), Since: time.Now()}}
}

// State tells how the guard is.
func (g *Guard) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Open opens the lock and returns when the board has said so. It shuts when d
// or the context ends, or when this program does.
func (g *Guard) Open(ctx context.Context, d time.Duration) error {
	g.mu.Lock()
	conn, why := g.conn, g.state.Err
	g.mu.Unlock()
	if conn == nil {
		return fmt.Errorf("guard: %w: %w", ErrAbsent, why)
	}
	if _, err := conn.Unlock(ctx, d); err != nil {
		// Only a refusal in the session says that the lock did not open; after
		// everything else it may have.
		var refused *board.Refused
		if !errors.As(err, &refused) || errors.Is(err, board.ErrSession) {
			g.close(conn)
		}
		return fmt.Errorf("guard: %w", err)
	}
	g.shut.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer g.shut.Done()
		g.close(conn)
	})
	time.AfterFunc(d, func() {
		if stop() {
			g.shut.Done()
		}
	})
	return nil
}

// close shuts the lock. Where the board is not reached the session is forgotten, so
// that no later heartbeat keeps the lock open: the board shuts by itself when it hears
// none, and at the greeting of the next session.
func (g *Guard) close(conn *board.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), shutTime)
	defer cancel()
	if _, err := conn.Lock(ctx); err != nil {
		_ = conn.Close() // of the session alone; the line is Run's
		g.c.Log.Warn("the guard board was not told to shut; it does so by itself", "err", err)
	}
}

// Run attends the board until the context ends: it opens the line, begins a
// session, lets itself be heard, and starts again after every failure.
func (g *Guard) Run(ctx context.Context) {
	wait := firstRetry
	for ctx.Err() == nil {
		err := g.attend(ctx, func() { wait = firstRetry })
		if ctx.Err() != nil {
			break
		}
		g.absent(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, lastRetry)
	}
	g.absent(context.Cause(ctx))
	g.shut.Wait()
}

// absent notes that there is no session, and says so once.
func (g *Guard) absent(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = nil
	if g.state.There || fmt.Sprint(g.state.Err) != fmt.Sprint(err) {
		if !errors.Is(err, context.Canceled) {
			g.c.Log.Warn("the guard board is missing; the door stays shut", "err", err)
		}
		g.state = State{Err: err, Since: time.Now()}
	}
}

// attend holds one session; it returns why that ended.
func (g *Guard) attend(ctx context.Context, begun func()) (err error) {
	line, err := g.c.Open(ctx)
	if err != nil {
		return err
	}
	defer line.Close()
	found, err := board.Find(ctx, line, findTime)
	switch {
	case err != nil:
		return err
	case found.Info == nil:
		return g.leaveLoader(ctx, line, *found.Loader)
	}
	g.inLoader = time.Time{}
	if !found.Info.Paired() || found.Info.Tampered() {
		return g.unpaired(*found.Info)
	}
	conn := board.New(line)
	defer conn.Close()
	serial, status, err := g.hello(ctx, conn)
	if err != nil {
		return err
	}
	info, err := conn.Info(ctx) // again: the first heartbeat confirms an image
	if err != nil {
		return err
	}
	last, err := g.c.Journal.Last(serial.String())
	if err != nil {
		return err
	}
	if status.Newest < last {
		g.c.Log.Warn("the guard board's events went back", "serial", serial, "from", last, "to", status.Newest)
		last = 0
	}
	g.mu.Lock()
	g.conn, g.state = conn, State{There: true, Info: info, Status: status, Since: time.Now()}
	g.mu.Unlock()
	g.alarm = alarm{}
	begun()
	g.c.Log.Info("the guard board holds the door", "serial", serial, "firmware", info.Version)

	tick := time.NewTicker(board.Heartbeat)
	defer tick.Stop()
	for {
		if last, err = g.collect(ctx, conn, serial, last, status.Newest); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			g.leave(conn)
			return context.Cause(ctx)
		case <-tick.C:
		}
		before := status
		if status, err = conn.Beat(ctx); err != nil {
			if ctx.Err() != nil {
				g.leave(conn)
			}
			return err
		}
		g.mu.Lock()
		g.state.Status = status
		g.mu.Unlock()
		if status.Door != before.Door && status.Door >= board.DoorForced {
			g.c.Log.Warn("the door is "+status.Door.String(), "serial", serial)
		}
	}
}

// unpaired tells why there is no session with a board that answers. Of one that was
// opened or has lost its key the journal is told, once until there is a session again.
func (g *Guard) unpaired(i board.Info) error {
	if g.alarm.serial != i.Serial {
		g.alarm = alarm{serial: i.Serial}
	}
	switch {
	case i.Tampered() && g.alarm.why != ErrTampered:
		g.alarm = alarm{serial: i.Serial, why: ErrTampered}
	case g.alarm.why == nil:
		last, err := g.c.Journal.Last(i.Serial.String())
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnpaired, err)
		}
		if last == 0 { // never one of ours
			return ErrUnpaired
		}
		g.alarm.why = ErrLost
	}
	if !g.alarm.kept {
		if err := g.c.Journal.Alarm(i.Serial.String(), g.alarm.why); err != nil {
			return fmt.Errorf("%w, which could not be recorded: %w", g.alarm.why, err)
		}
		g.alarm.kept = true
	}
	return g.alarm.why
}

// leaveLoader starts the board's image when nobody else does: in its loader it
// holds no door, and its exit button is dead.
func (g *Guard) leaveLoader(ctx context.Context, line Line, l board.LoaderInfo) error {
	if g.inLoader.IsZero() {
		g.inLoader = time.Now()
	}
	if l.A.State != "confirmed" && l.B.State != "confirmed" || time.Since(g.inLoader) < loaderTime {
		return ErrLoader
	}
	conn := board.New(line)
	defer conn.Close()
	slot, version, err := conn.Boot(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLoader, err)
	}
	g.c.Log.Warn("the guard board was left in its loader and was started", "serial", l.Serial, "slot", string(slot), "firmware", version)
	return fmt.Errorf("%w and is being started", ErrLoader)
}

func (g *Guard) hello(ctx context.Context, conn *board.Conn) (board.Serial, board.Status, error) {
	key, err := g.c.Key()
	if err != nil {
		return board.Serial{}, board.Status{}, err
	}
	defer clear(key)
	return conn.Hello(ctx, key)
}

// leave ends an orderly run: nobody opens any more, and the door is shut.
func (g *Guard) leave(conn *board.Conn) {
	g.mu.Lock()
	g.conn = nil
	g.mu.Unlock()
	g.close(conn)
}

// collect puts the events after last into the journal and returns the newest.
func (g *Guard) collect(ctx context.Context, conn *board.Conn, serial board.Serial, last, newest uint32) (uint32, error) {
	for last < newest {
		e, err := conn.Events(ctx, last)
		if err != nil {
			return last, err
		}
		if len(e.Events) == 0 {
			return newest, nil
		}
		missed := e.Events[0].Sequence - last - 1
		if err := g.c.Journal.Record(serial.String(), missed, e.Events); err != nil {
			return last, fmt.Errorf("guard: the door's events could not be recorded: %w", err)
		}
		last = e.Events[len(e.Events)-1].Sequence
	}
	return last, nil
}
