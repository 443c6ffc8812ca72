package sensor

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/uart"
)

// Module is an open fingerprint module. Its methods may be called
// concurrently; they take turns on the wire.
type Module struct {
	port uart.PortCloser // nil where the line was given
	turn chan struct{}   // holds a token while the wire is free
	link *link
	wake Wake // nil where there is none

	coverage  bool // at enrolment; guarded by turn
	modern    bool // it has the instructions that came with the R503
	imageEx   bool // it has GetImageEx
	handShake bool // it has HandShake
	readIndex bool // it has ReadIndexTable
	mu        sync.Mutex
	info      Info         // written under turn and mu, read under either
	scans     uint64       // the newest one's number; guarded by turn
	used      time.Time    // when it scanned or compared last; guarded by turn
	comparing atomic.Int32 // how many Match, Identify, Same are under way
	guard     guard
	lamp      lamp

	library library

	// loaded: the second buffer may hold somebody's template; not where it holds a
	// decoy for sure. Guarded by turn.
	loaded bool

	closed sync.Once
	err    error
}

// Info tells what module this is.
func (m *Module) Info() Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.info
}

// Family names the kind of module. Templates of one family mean nothing to
// another.
func (m *Module) Family() string { return m.Info().Family }

// Fits tells whether a template of the family can be this module's by its size: an R307 and
// an AS608 call themselves the same, and one cannot read the other's. What counts is what
// came out of this module; where nothing did yet, or it says itself of which model it is
// and makes no decoys, whatever is of its family fits.
func (m *Module) Fits(template []byte) bool {
	i, size := m.Info(), 0
	switch {
	case m.Guarded():
		size = len(m.guard.decoys[0])
	case !i.stated():
		size = i.Template
	}
	return size == 0 || len(template) == size
}

// Stats of the link since it was opened.
func (m *Module) Stats() Stats {
	s := m.link.meter.snapshot()
	if c, ok := m.link.line.(counter); ok {
		s.Overruns, s.Framing, _ = c.LineErrors()
	}
	return s
}

// Shared names the other programs that have the port open, with what to do: one that
// reads eats answers. It is nil where nobody is seen.
func (m *Module) Shared() error { return sharedBy(m.link.line) }

// Close lets go of the port. An instruction under way ends with ErrGone.
func (m *Module) Close() error {
	m.closed.Do(func() {
		if m.port != nil {
			m.err = m.port.Close()
		}
	})
	return m.err
}

// take waits for the wire, and until an animation of the lamp is over: some units
// lose their mind when an instruction comes into one.
func (m *Module) take(ctx context.Context) (release func(), err error) {
	for {
		select {
		case <-m.turn:
		case <-ctx.Done():
			return nil, fmt.Errorf("sensor: %s is busy: %w", m.info.Port, ctx.Err())
		}
		release = func() { m.turn <- struct{}{} }
		wait := time.Until(m.lamp.busy)
		if wait <= 0 {
			return release, nil
		}
		release()
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("sensor: %s: the lamp is at it: %w", m.info.Port, err)
		}
	}
}

// takeIdle is take for what has time until nobody has scanned or compared for so long.
func (m *Module) takeIdle(ctx context.Context, grace time.Duration) (release func(), err error) {
	for {
		release, err := m.take(ctx)
		if err != nil {
			return nil, err
		}
		wait := grace - time.Since(m.used)
		if m.comparing.Load() > 0 {
			wait = max(wait, idlePoll)
		}
		if wait <= 0 {
			return release, nil
		}
		release()
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// compares keeps takeIdle from the wire until done.
func (m *Module) compares() (done func()) {
	m.comparing.Add(1)
	return func() { m.comparing.Add(-1) }
}

// stale tells whether a print is not what lies in the module's buffer.
func (m *Module) stale(probe Print) bool {
	return probe.serial == 0 || probe.serial != m.scans || probe.starts != m.link.starts()
}

// HandShake asks the module whether it is there (HandShake, manual p. 24), and
// verifies the password where it was reset meanwhile (21): prints of before are
// stale then. Families without it have their password verified (VfyPwd, p. 11),
// which all have. ErrPassword: it is another one (13).
func (m *Module) HandShake(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if m.handShake {
		_, err = m.link.command(ctx, HandShake)
		return err
	}
	_, err = m.link.command(ctx, VfyPwd, word(m.link.password)...)
	if isCode(err, WrongPassword) {
		return fmt.Errorf("sensor: %s: %w: %w", m.info.Port, ErrPassword, err)
	}
	return err
}

func word(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sensor: %w", ctx.Err())
	}
}
