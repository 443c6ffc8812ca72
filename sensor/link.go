package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Line is an open serial line. Reading and writing end with
// os.ErrDeadlineExceeded at their deadlines; closing it elsewhere ends them too.
type Line interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Stats of a link since it was opened.
type Stats struct {
	Commands  uint64 // sent
	Answers   uint64 // packets received whole
	BadSums   uint64 // packets received damaged
	Skipped   uint64 // bytes that belonged to no packet
	Timeouts  uint64 // answers that did not come
	Drains    uint64 // times the line had to be emptied before speaking again
	Reverifys uint64 // times the module had forgotten its password (21)
}

// link speaks packets over a line. It is used by one goroutine at a time.
type link struct {
	line     Line
	name     string
	address  uint32
	password uint32
	in       Reassembler
	dirty    bool // an answer may still be on its way
	stats    struct{ commands, answers, timeouts, drains, reverifys, badSums, skipped atomic.Uint64 }
}

func (l *link) snapshot() Stats {
	s := &l.stats
	return Stats{
		Commands: s.commands.Load(), Answers: s.answers.Load(), Timeouts: s.timeouts.Load(), Drains: s.drains.Load(),
		Reverifys: s.reverifys.Load(), BadSums: s.badSums.Load(), Skipped: s.skipped.Load(),
	}
}

// drain reads until the line is quiet, so that no late answer is taken for
// the next one.
func (l *link) drain(ctx context.Context) error {
	l.stats.drains.Add(1)
	l.in.Reset()
	var buf [512]byte
	end := time.Now().Add(drainCap)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		if err := l.line.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return l.fault(err)
		}
		n, err := l.line.Read(buf[:])
		l.stats.skipped.Add(uint64(n))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.dirty = false
			return nil
		case err != nil:
			return l.fault(err)
		case time.Now().After(end):
			return fmt.Errorf("sensor: %s never falls silent; is it another device's port? %w", l.name, ErrNoModule)
		}
	}
}

// fault names the line in an error of it.
func (l *link) fault(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, os.ErrClosed), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("sensor: %s: %w; check the cable", l.name, ErrGone)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("sensor: %s takes no bytes: %w", l.name, ErrTimeout)
	}
	return fmt.Errorf("sensor: %s: %w", l.name, err)
}

// send writes one packet.
func (l *link) send(pid PID, content []byte) error {
	b, err := AppendPacket(nil, Packet{Address: l.address, PID: pid, Content: content})
	if err != nil {
		return err
	}
	if err := l.line.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return l.fault(err)
	}
	if _, err := l.line.Write(b); err != nil {
		return l.fault(err)
	}
	return nil
}

// receive reads the next packet of this module's address. Any error leaves the
// line dirty.
func (l *link) receive(ctx context.Context, timeout time.Duration) (p Packet, err error) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := l.line.SetReadDeadline(deadline); err != nil {
		return p, l.fault(err)
	}
	// A cancellation moves the deadline into the past, which ends the read.
	stop := context.AfterFunc(ctx, func() { _ = l.line.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if err != nil {
			l.dirty = true
		}
	}()
	var buf [512]byte
	for {
		before := l.in.Skipped
		p, err := l.in.Next()
		l.stats.skipped.Add(l.in.Skipped - before)
		switch {
		case err == nil && p.Address == l.address:
			l.stats.answers.Add(1)
			return p, nil
		case err == nil:
			continue // another module's on a shared line
		case errors.Is(err, ErrSum):
			l.stats.badSums.Add(1)
			return p, fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		n, err := l.line.Read(buf[:])
		l.in.Write(buf[:n])
		if err == nil || n > 0 {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return p, l.fault(err)
		}
		if err := ctx.Err(); err != nil {
			return p, fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		l.stats.timeouts.Add(1)
		return p, fmt.Errorf("sensor: %s: %w", l.name, ErrTimeout)
	}
}

// command sends an instruction and returns what follows the code of its
// answer. An answer other than OK is a *CodeError.
func (l *link) command(ctx context.Context, timeout time.Duration, i Instruction, params ...byte) ([]byte, error) {
	answer, err := l.once(ctx, timeout, i, params)
	if e := (*CodeError)(nil); i != VfyPwd && errors.As(err, &e) && e.Code == VerifyFirst {
		// The module was reset and wants its password again.
		l.stats.reverifys.Add(1)
		if err := l.verify(ctx, answerTimeout); err != nil {
			return nil, err
		}
		return l.once(ctx, timeout, i, params)
	}
	if repeatable[i] && ctx.Err() == nil && damaged(err) {
		return l.once(ctx, timeout, i, params)
	}
	return answer, err
}

// repeatable instructions do the same when sent twice; one that was damaged on
// the wire, or lost, is sent once more. Nothing that compares or stores is.
var repeatable = map[Instruction]bool{GenImg: true, Img2Tz: true, ReadSysPara: true, ReadProdInfo: true, TempleteNum: true, ReadIndex: true}

// damaged tells whether an exchange failed on the wire, on the way there or
// back.
func damaged(err error) bool {
	e := (*CodeError)(nil)
	return errors.Is(err, ErrSum) || errors.Is(err, ErrTimeout) || errors.As(err, &e) && e.Code == PacketError
}

func (l *link) once(ctx context.Context, timeout time.Duration, i Instruction, params []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sensor: %s: %w", l.name, err)
	}
	if l.dirty {
		if err := l.drain(ctx); err != nil {
			return nil, err
		}
	}
	l.stats.commands.Add(1)
	if err := l.send(PIDCommand, append([]byte{byte(i)}, params...)); err != nil {
		l.dirty = true
		return nil, err
	}
	return l.answer(ctx, timeout, i)
}

// answer reads the acknowledgement of an instruction.
func (l *link) answer(ctx context.Context, timeout time.Duration, i Instruction) ([]byte, error) {
	p, err := l.receive(ctx, timeout)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", i, err)
	}
	if p.PID != PIDAck || len(p.Content) == 0 {
		l.dirty = true
		return nil, fmt.Errorf("sensor: %s: %v was answered with PID %#02x and %d bytes: %w", l.name, i, byte(p.PID), len(p.Content), ErrProtocol)
	}
	if code := Code(p.Content[0]); code != OK {
		return nil, &CodeError{Instruction: i, Code: code}
	}
	return append([]byte(nil), p.Content[1:]...), nil
}

// fixed is command for an answer of known length.
func (l *link) fixed(ctx context.Context, n int, i Instruction, params ...byte) ([]byte, error) {
	b, err := l.command(ctx, answerTimeout, i, params...)
	if err == nil && len(b) != n {
		l.dirty = true
		err = fmt.Errorf("sensor: %s: %v was answered with %d bytes, not %d: %w", l.name, i, len(b), n, ErrProtocol)
	}
	return b, err
}

// verify sends the password.
func (l *link) verify(ctx context.Context, timeout time.Duration) error {
	p := l.password
	_, err := l.once(ctx, timeout, VfyPwd, []byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)})
	if e := (*CodeError)(nil); errors.As(err, &e) && e.Code == WrongPassword {
		return fmt.Errorf("sensor: %s: %w; there is no way to reset it, the right one must be configured", l.name, ErrPassword)
	}
	return err
}

// download reads data packets (PID 02, the last 08) up to limit bytes. Some
// modules never send the 08: their transfer ends when the line falls silent.
func (l *link) download(ctx context.Context, i Instruction, limit int) ([]byte, error) {
	var data []byte
	for {
		wait := answerTimeout
		if len(data) > 0 {
			wait = answerTimeout / 3
		}
		p, err := l.receive(ctx, wait)
		if errors.Is(err, ErrTimeout) && len(data) > 0 {
			return data, nil
		}
		if err != nil {
			clear(data)
			return nil, fmt.Errorf("%v: %w", i, err)
		}
		if p.PID != PIDData && p.PID != PIDEndData || len(data)+len(p.Content) > limit {
			clear(data)
			l.dirty = true
			return nil, fmt.Errorf("sensor: %s: %v: PID %#02x after %d bytes of data: %w", l.name, i, byte(p.PID), len(data), ErrProtocol)
		}
		data = append(data, p.Content...)
		if p.PID == PIDEndData {
			return data, nil
		}
	}
}

// upload sends data in packets of the size that the module is set to.
func (l *link) upload(data []byte, size int) error {
	for len(data) > size {
		if err := l.send(PIDData, data[:size]); err != nil {
			l.dirty = true
			return err
		}
		data = data[size:]
	}
	if err := l.send(PIDEndData, data); err != nil {
		l.dirty = true
		return err
	}
	return nil
}
