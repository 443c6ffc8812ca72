package board

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/faceprint/faceprint/firmware/xmodem"
)

// Line is a serial line, or what takes its place.
type Line = xmodem.Line

// wire reads a line by the byte. Its own Read hands out what was read ahead
// first, so that a file can be sent over it.
type wire struct {
	Line
	buf  [256]byte
	have []byte
}

func (w *wire) Read(b []byte) (int, error) {
	if len(w.have) > 0 {
		n := copy(b, w.have)
		w.have = w.have[n:]
		return n, nil
	}
	return w.Line.Read(b)
}

// watch makes reads and writes end with the context, until it is undone.
func (w *wire) watch(ctx context.Context) (undo func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = w.SetReadDeadline(time.Unix(1, 0))
		_ = w.SetWriteDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// next reads a byte; os.ErrDeadlineExceeded when none came until then.
func (w *wire) next(ctx context.Context, until time.Time) (byte, error) {
	if len(w.have) == 0 {
		if err := w.SetReadDeadline(until); err != nil {
			return 0, err
		}
		// The context may have ended before the deadline was set over its.
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := w.Line.Read(w.buf[:])
		if n == 0 {
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case err == nil:
				err = io.ErrNoProgress
			}
			return 0, err
		}
		w.have = w.buf[:n]
	}
	b := w.have[0]
	w.have = w.have[1:]
	return b, nil
}

// frame reads the raw bytes of the next frame that is not garbled. What else
// came is given to aside, which may be nil.
func (w *wire) frame(ctx context.Context, until time.Time, aside func(byte)) ([]byte, error) {
	block := make([]byte, 0, mostBlock+1)
	for {
		b, err := w.next(ctx, until)
		if err != nil {
			return nil, err
		}
		if b != 0 {
			if len(block) <= mostBlock {
				block = append(block, b)
			}
			if aside != nil {
				aside(b)
			}
			if time.Now().After(until) { // a line that never falls silent
				return nil, os.ErrDeadlineExceeded
			}
			continue
		}
		if raw, err := decode(block); err == nil {
			return raw, nil
		}
		block = block[:0]
	}
}

// drain throws away what has come.
func (w *wire) drain(ctx context.Context) error {
	for range 64 {
		w.have = nil
		if _, err := w.next(ctx, time.Now().Add(lineQuiet)); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) write(ctx context.Context, b []byte) error {
	if err := w.SetWriteDeadline(time.Now().Add(slowPatience)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := w.Write(b)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
