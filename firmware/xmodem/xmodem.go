// Package xmodem sends a file by XMODEM with CRC-16 and blocks of 1024 bytes
// (Forsberg, "XMODEM/YMODEM Protocol Reference", 1988), the transfer that
// every terminal program has.
//
//	receiver 'C' ...                          once a second or so, until
//	sender   STX n ^n data(1024) crc(2)       or SOH and 128 bytes
//	receiver ACK                              NAK asks for it again
//	sender   EOT
//	receiver ACK
//
// The crc is that of CCITT, polynomial 0x1021, started at 0, big-endian. The
// last block is filled with 1A, so what is sent must carry its own length.
//
// XMODEM numbers blocks but not answers: an ACK that comes late would be taken
// for that of the next block. After a block was repeated the line is therefore
// drained before the next.
package xmodem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Line is a serial line, or what takes its place.
type Line interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Errors that say what became of the transfer. Losing the line is none of
// these: the line's own error is wrapped.
var (
	// ErrNoReceiver: nobody asked for a file.
	ErrNoReceiver = errors.New("nobody at the other end asks for a file")
	// ErrChecksum: the receiver wants the checksums of 1977, which pass one
	// damaged block in 256.
	ErrChecksum = errors.New("the receiver asks for XMODEM without CRC")
	// ErrCancelled: the receiver gave up.
	ErrCancelled = errors.New("the receiver cancelled the transfer")
	// ErrRestarted: the receiver asks for the file from its beginning, as a
	// board does that was reset.
	ErrRestarted = errors.New("the receiver began anew")
	// ErrRetries: a block did not get through however often it was sent.
	ErrRetries = errors.New("the line is too bad, or the receiver fell silent")
)

const (
	soh = 0x01
	stx = 0x02
	eot = 0x04
	ack = 0x06
	bs  = 0x08
	nak = 0x15
	can = 0x18
	sub = 0x1A
	crc = 'C'

	long, short = 1024, 128 // bytes of data in a block
)

// Options of a transfer; the zero value is sound.
type Options struct {
	Start    time.Duration             // to wait for the receiver to ask; 0 = 15 s
	Answer   time.Duration             // to wait for the answer to a block; 0 = 5 s
	Quiet    time.Duration             // silence behind an invitation, to tell it from a letter C of a text; 0 = 50 ms
	Progress func(sent int, total int) // called after each block that arrived; may be nil
}

// Every number that was chosen, with where it comes from.
const (
	startTime  = 15 * time.Second // the reference's receiver asks every 3 s, at first every 10 s
	answerTime = 5 * time.Second  // erasing a flash sector takes at most 0.4 s
	tries      = 10               // the reference's number
	// quiet: an invitation is followed by silence; a letter C in the text that
	// a board prints when it starts is not.
	quiet     = 50 * time.Millisecond
	settle    = 300 * time.Millisecond // a block takes 90 ms at 115200 baud
	mostNoise = 8 << 10                // bytes; a second's worth is 11,520
	writeTime = 5 * time.Second        // 1029 bytes take 1.1 s at 9600 baud
)

// Sent is how many bytes of data travel for so many of the file.
func Sent(n int) int { return (n + short - 1) / short * short }

// Send sends data and returns when the receiver has confirmed its end. When
// the context ends the receiver is told to give up.
func Send(ctx context.Context, line Line, data []byte, o Options) error {
	if o.Start <= 0 {
		o.Start = startTime
	}
	if o.Answer <= 0 {
		o.Answer = answerTime
	}
	if o.Quiet <= 0 {
		o.Quiet = quiet
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	s := &sender{ctx: ctx, line: line, o: o}
	// A read that waits ends with the context.
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = line.SetReadDeadline(time.Unix(1, 0))
	})
	err := s.send(data)
	if !stop() {
		<-interrupted
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("xmodem: %w", context.Cause(ctx))
	}
	if !errors.Is(err, ErrNoReceiver) && !errors.Is(err, ErrCancelled) {
		s.cancel()
	}
	return err
}

type sender struct {
	ctx  context.Context
	line Line
	o    Options

	// One byte is read at a time: what the receiver says after the last answer
	// is for whoever uses the line next.
	buf [1]byte
}

func (s *sender) send(data []byte) error {
	if err := s.invited(); err != nil {
		return err
	}
	sent := 0
	for n := byte(1); sent < len(data); n++ {
		size := long
		if len(data)-sent < long {
			size = short
		}
		part := data[sent:min(sent+size, len(data))]
		if err := s.exchange(block(n, size, part), sent == 0); err != nil {
			return fmt.Errorf("xmodem: after %d of %d bytes: %w", sent, len(data), err)
		}
		sent += len(part)
		s.o.Progress(sent, len(data))
	}
	if err := s.exchange([]byte{eot}, false); err != nil {
		return fmt.Errorf("xmodem: at the end of the file: %w", err)
	}
	return nil
}

// invited waits until the receiver asks for the file.
func (s *sender) invited() error {
	until := time.Now().Add(s.o.Start)
	var last byte
	for {
		wait := time.Until(until)
		if last == crc || last == nak {
			wait = min(wait, s.o.Quiet)
		}
		b, err := s.next(wait)
		switch {
		case err == nil:
			last = b
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("xmodem: %w", err)
		case last == crc:
			return nil
		case last == nak:
			return fmt.Errorf("xmodem: %w", ErrChecksum)
		default:
			return fmt.Errorf("xmodem: in %s: %w", s.o.Start, ErrNoReceiver)
		}
	}
}

// exchange sends a block until it is answered with ACK.
func (s *sender) exchange(packet []byte, first bool) error {
	for try := range tries {
		if try > 0 {
			if err := s.drain(); err != nil {
				return err
			}
		}
		if err := s.write(packet); err != nil {
			return err
		}
		b, err := s.answer(first)
		switch {
		case err != nil:
			return err
		case b == ack && try > 0:
			// The answer to the one sent before may still be under way.
			return s.drain()
		case b == ack:
			return nil
		}
	}
	return fmt.Errorf("%d times: %w", tries, ErrRetries)
}

// answer waits for ACK or NAK; silence counts as NAK.
func (s *sender) answer(first bool) (byte, error) {
	until := time.Now().Add(s.o.Answer)
	var cancels, invitations int
	for {
		b, err := s.next(time.Until(until))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && invitations > 0 && !first:
			return 0, ErrRestarted
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nak, nil
		case err != nil:
			return 0, err
		case b == ack, b == nak:
			return b, nil
		case b == crc && first:
			return nak, nil // it did not hear the block
		case b == crc:
			invitations++
		}
		if b != can {
			cancels = 0
		} else if cancels++; cancels == 2 {
			return 0, ErrCancelled
		}
	}
}

// next reads one byte; os.ErrDeadlineExceeded when none came.
func (s *sender) next(wait time.Duration) (byte, error) {
	if wait <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	if err := s.line.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	// The context may have ended before the deadline was set over its.
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.line.Read(s.buf[:])
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return 0, err
	}
	return s.buf[0], nil
}

// drain throws away what comes until the line is quiet, but for a refusal.
func (s *sender) drain() error {
	cancels := 0
	for range mostNoise {
		b, err := s.next(quiet)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		case b != can:
			cancels = 0
		default: // a refusal may come behind the ACK
			if cancels++; cancels == 2 {
				return ErrCancelled
			}
		}
	}
	return fmt.Errorf("the line never falls silent: %w", ErrRetries)
}

func (s *sender) write(b []byte) error {
	if err := s.line.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := s.line.Write(b)
	return err
}

// cancel tells the receiver to give up, once it has answered the block that is
// under way: many throw away what follows a block. The backspaces are for a
// shell that would else be left with the control characters, as lrzsz does.
func (s *sender) cancel() {
	s.ctx = context.WithoutCancel(s.ctx)
	_, _ = s.next(settle)
	if s.line.SetWriteDeadline(time.Now().Add(quiet)) == nil {
		_, _ = s.line.Write(append(bytes.Repeat([]byte{can}, 8), bytes.Repeat([]byte{bs}, 8)...))
	}
}

func block(n byte, size int, data []byte) []byte {
	b := make([]byte, 0, size+5)
	head := byte(stx)
	if size == short {
		head = soh
	}
	b = append(b, head, n, ^n)
	b = append(b, data...)
	for len(b) < size+3 {
		b = append(b, sub)
	}
	c := CRC(b[3:])
	return append(b, byte(c>>8), byte(c))
}

// CRC is the CRC-16 of XMODEM: 0x31C3 for "123456789".
func CRC(data []byte) uint16 {
	var c uint16
	for _, b := range data {
		c ^= uint16(b) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
	}
	return c
}
