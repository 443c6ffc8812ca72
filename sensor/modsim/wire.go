package modsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// A packet that stops in the middle is given up after this; chosen.
const halfPacket = 250 * time.Millisecond

// headerSpace is what a packet has besides its content.
const headerSpace = 11

// heard is a stretch of bytes and when the last of them is through the wire.
type heard struct {
	b  []byte
	at time.Time
}

// rated lines know the rate that the host has set; at another one both sides
// hear noise. A terminal does, a pipe does not.
type rated interface{ Baud() int }

// airtime is how long n bytes are on the wire: 8N1 has ten bits a byte.
func airtime(n, baud int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(baud)
}

// Serve speaks on the line until it ends or the context does. Closing the line
// is the caller's, and is what ends a read that waits.
func (s *Sim) Serve(ctx context.Context, line io.ReadWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wire{sim: s, line: line, in: make(chan heard, 64)}
	var working sync.WaitGroup
	defer working.Wait()
	failed := make(chan error, 1)
	working.Go(func() {
		if err := w.work(ctx); err != nil && ctx.Err() == nil {
			failed <- err
		}
		for range w.in { // so that the reader never waits for nobody
		}
	})
	defer close(w.in)
	defer cancel()
	buf := make([]byte, 512)
	var free time.Time // when the wire to the module is free
	for {
		n, err := line.Read(buf)
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		s.mu.Lock()
		free = free.Add(airtime(n, s.baud()))
		s.mu.Unlock()
		if n > 0 {
			w.in <- heard{append([]byte(nil), buf[:n]...), free}
		}
		select {
		case err := <-failed:
			return fmt.Errorf("modsim: %w", err)
		default:
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("modsim: %w", err)
		}
	}
}

// wire is the module's end of a line while it is served.
type wire struct {
	sim  *Sim
	line io.ReadWriter
	in   chan heard
	re   sensor.Reassembler
	last time.Time // when the last byte came in
	free time.Time // when the wire to the host is free
	// due is the module's own clock: when what it does now is done. What follows counts
	// from there, so that a machine that wakes the simulator late makes no slow module
	// of it: it catches up.
	due time.Time
}

// busy lets the silicon's time pass.
func (w *wire) busy(ctx context.Context, d time.Duration) {
	w.due = w.due.Add(d)
	w.sim.sleep(ctx, time.Until(w.due))
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// work takes what comes in, in turn.
func (w *wire) work(ctx context.Context) error {
	for {
		select {
		case h, ok := <-w.in:
			if !ok {
				return nil
			}
			if err := w.take(ctx, h); err != nil {
				return err
			}
		case <-w.sim.boot:
			if err := w.started(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// started waits for the start-up and says so as the model does.
func (w *wire) started(ctx context.Context) error {
	s := w.sim
	s.mu.Lock()
	wait := time.Until(s.ready)
	var say []byte
	if s.quirks["glitch"] > 0 {
		say = append(say, 0x00)
	}
	if s.p.Ready && s.quirks["noready"] == 0 {
		say = append(say, 0x55)
	}
	s.mu.Unlock()
	s.sleep(ctx, wait)
	for n := len(w.in); n > 0; n-- { // what was said meanwhile was not heard
		if h, ok := <-w.in; !ok || h.at.After(time.Now()) {
			break
		}
	}
	w.re.Reset()
	w.due = later(w.due, time.Now())
	s.mu.Lock()
	s.ready = time.Time{}
	s.mu.Unlock()
	return w.say(ctx, say)
}

// take hears bytes and answers the packets among them.
func (w *wire) take(ctx context.Context, h heard) error {
	s := w.sim
	s.sleep(ctx, time.Until(h.at))
	w.due = later(w.due, h.at)
	if h.at.Sub(w.last) > halfPacket+airtime(len(h.b), 9600) {
		w.re.Reset()
	}
	w.last = h.at
	w.re.Write(s.hears(h.b, w.mismatched()))
	for {
		p, err := w.re.Next()
		if errors.Is(err, sensor.ErrShort) {
			return nil
		}
		if err := w.answer(ctx, p, err); err != nil {
			return err
		}
	}
}

// mismatched tells whether the two ends speak at different rates.
func (w *wire) mismatched() bool {
	r, ok := w.line.(rated)
	if !ok {
		return false
	}
	host := r.Baud()
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	return host != 0 && host != w.sim.baud()
}

// hears is what arrives in the module of bytes on the wire.
func (s *Sim) hears(b []byte, mismatched bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.plugged || s.mute || s.hung || !s.ready.IsZero() {
		return nil
	}
	if mismatched {
		s.noise(b)
	}
	b, _ = s.disturb(0, b)
	return b
}

func (s *Sim) noise(b []byte) {
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
}

// answer handles one packet, or a damaged one.
func (w *wire) answer(ctx context.Context, p sensor.Packet, damage error) error {
	s := w.sim
	s.mu.Lock()
	var out []sensor.Packet
	var took time.Duration
	var auto func(context.Context, *wire) error
	switch {
	case damage != nil && s.waitFor != 0:
		s.badData = true // of a transfer nothing is acknowledged
	case damage != nil:
		out = s.ack(sensor.PacketError)
	case p.Address != s.address && s.quirks["foreign"] > 0:
		out = s.ack(sensor.WrongAddress)
	case p.Address != s.address:
		// no answer
	case p.PID == sensor.PIDCommand && len(p.Content) > 0:
		s.commands++
		s.waitFor, s.incoming = 0, nil
		i, a := sensor.Instruction(p.Content[0]), p.Content[1:]
		s.current = i
		if auto = s.automatic(i, a); auto == nil {
			out, took = s.command(i, a)
		}
	case p.PID == sensor.PIDData || p.PID == sensor.PIDEndData:
		s.data(p)
	}
	s.mu.Unlock()
	if auto != nil {
		return auto(ctx, w)
	}
	w.busy(ctx, took)
	return w.send(ctx, out)
}

// send puts packets on the wire, each when its last byte would be through.
func (w *wire) send(ctx context.Context, out []sensor.Packet) error {
	s := w.sim
	for _, p := range out {
		b, err := sensor.AppendPacket(nil, p)
		if err != nil {
			return err
		}
		s.mu.Lock()
		b = s.misbehave(p, b)
		s.mu.Unlock()
		if err := w.say(ctx, b); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.quirks["baudnow"] > 0 {
		s.baudN = s.newN
	}
	if s.restart {
		s.restart = false
		s.start()
	}
	s.mu.Unlock()
	return nil
}

// say writes bytes at the wire's pace, or what faults leave of them.
func (w *wire) say(ctx context.Context, b []byte) error {
	s := w.sim
	mismatched := w.mismatched()
	s.mu.Lock()
	if !s.plugged || s.mute || s.hung {
		b = nil
	}
	if mismatched {
		s.noise(b)
	}
	b, delay := s.disturb(1, b)
	baud := s.baud()
	s.mu.Unlock()
	w.busy(ctx, delay)
	for len(b) > 0 { // a flood flows, it does not burst
		n := min(len(b), headerSpace+sensor.MaxContent)
		w.free = later(w.free, w.due).Add(airtime(n, baud))
		w.due = w.free
		s.sleep(ctx, time.Until(w.free))
		if _, err := w.line.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
