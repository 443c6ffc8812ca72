package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

// How long to wait before a part that could not be opened is tried again:
// soon at first, because somebody is plugging a cable in, then rarely.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// A part that can be asked whether it is still there is asked so often, and
// given so long to answer: cables are pulled while nobody uses it.
const (
	checkEvery = 10 * time.Second
	checkTime  = 3 * time.Second
)

// errOpening: nothing is known to be wrong with the part; it is being opened, which takes a
// module that is set up 20 s.
var errOpening = errors.New("is being opened")

// part keeps one piece of hardware open. A part that is missing, at start or
// later, is tried again with back-off until the daemon stops; meanwhile
// everything that needs it gets device.ErrPart with the reason.
type part[T any] struct {
	name   string
	open   func(context.Context) (T, error)
	close  func(T) error
	check  func(context.Context, T) error // whether it is still there; may be nil
	detail func(T) string                 // what it is, for status
	advice func(error) string             // what to do about the error; may be nil
	// numbers that it counts, for status and metrics; may be nil
	numbers func(T) map[string]float64
	// stopped does at the stop what no close could; may be nil
	stopped func()
	log     *slog.Logger
	// off says how to switch the part on where the configuration has none; it is
	// then never opened, and missing to nobody but those who ask for it.
	off string

	mu    sync.Mutex
	value T
	there bool
	gen   uint64    // which opening value is of
	err   error     // why it is not there
	since time.Time // of the present state
	gone  chan struct{}
	again chan struct{} // try now
	moved chan struct{} // closed when it came or could not be opened
}

func newPart[T any](name string, log *slog.Logger, open func(context.Context) (T, error), close func(T) error) *part[T] {
	return &part[T]{
		name: name, open: open, close: close, log: log,
		err: errOpening, since: time.Now(), gone: make(chan struct{}, 1), again: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// run owns the part until the context ends, then closes it. changed is called
// after every change.
func (p *part[T]) run(ctx context.Context, changed func()) {
	if p.off != "" {
		return
	}
	wait := firstRetry
	if p.stopped != nil {
		defer p.stopped()
	}
	for ctx.Err() == nil {
		v, err := p.open(ctx)
		if err == nil {
			wait = firstRetry
			p.set(v, true, nil)
			p.log.Info("part is there", "part", p.name)
			changed()
			p.watch(ctx, v)
			stops := ctx.Err() != nil
			if err := p.close(v); err != nil && !stops {
				p.log.Warn("part did not close", "part", p.name, "err", err)
			}
			changed()
			continue
		}
		var none T
		if ctx.Err() == nil && p.set(none, false, err) {
			p.log.Warn("part is missing; it will be tried again", "part", p.name, "err", err)
			changed()
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, lastRetry)
		case <-p.again:
			wait = firstRetry
		case <-ctx.Done():
		}
	}
}

// watch returns when the part is lost or the context ends.
func (p *part[T]) watch(ctx context.Context, v T) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	defer func() {
		p.mu.Lock()
		p.there = false
		p.mu.Unlock()
	}()
	for {
		select {
		case <-p.gone:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			if p.check == nil {
				continue
			}
			c, cancel := context.WithTimeout(ctx, checkTime)
			err := p.check(c, v)
			cancel()
			if _, gen, e := p.get(); err != nil && e == nil && ctx.Err() == nil {
				p.lost(gen, err)
			}
		}
	}
}

// set records a state and tells whether it differs from the one before.
func (p *part[T]) set(v T, there bool, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	different := p.there != there || fmt.Sprint(p.err) != fmt.Sprint(err)
	p.value, p.there, p.err = v, there, err
	if there {
		p.gen++
	}
	if different {
		p.since = time.Now()
	}
	close(p.moved)
	p.moved = make(chan struct{})
	return different
}

// settle waits until it is known whether a part that is being opened is there, or the
// context ends.
func (p *part[T]) settle(ctx context.Context) {
	for {
		p.mu.Lock()
		opening, moved := p.off == "" && !p.there && errors.Is(p.err, errOpening), p.moved
		p.mu.Unlock()
		if !opening {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// get returns the part and the number of its opening.
func (p *part[T]) get() (T, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off != "" {
		return p.value, 0, fmt.Errorf("%s: %w: %s", p.name, device.ErrPart, p.off)
	}
	if !p.there {
		return p.value, 0, fmt.Errorf("%s: %w: %w", p.name, device.ErrPart, p.err)
	}
	return p.value, p.gen, nil
}

// reopen closes the part and opens it again, now rather than after the wait for
// the next try.
func (p *part[T]) reopen(why error) {
	if _, gen, err := p.get(); err == nil {
		p.lost(gen, why)
		return
	}
	p.mu.Lock()
	if !p.there && p.off == "" {
		p.err, p.since = why, time.Now()
	}
	p.mu.Unlock()
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// lost tells that the opening number gen turned out to be gone; it is closed
// and opened again.
func (p *part[T]) lost(gen uint64, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.there || p.gen != gen {
		return // somebody else said so already
	}
	p.there, p.err, p.since = false, why, time.Now()
	p.log.Warn("part is lost", "part", p.name, "err", why)
	p.gone <- struct{}{} // has room: one for each opening
}

func (p *part[T]) status() client.Part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off != "" {
		return client.Part{Name: p.name, State: "off", Advice: p.off}
	}
	since := p.since.UTC()
	s := client.Part{Name: p.name, State: "ok", Since: &since}
	if p.there {
		if p.detail != nil {
			s.Detail = p.detail(p.value)
		}
		if p.numbers != nil {
			s.Numbers = p.numbers(p.value)
		}
		return s
	}
	s.State, s.Detail = "missing", p.err.Error()
	if p.advice != nil && !errors.Is(p.err, errOpening) {
		s.Advice = p.advice(p.err)
	}
	return s
}
