package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Found is what answers on a line: an application, or a loader.
type Found struct {
	Info   *Info
	Loader *LoaderInfo
}

// Name of the kind of board.
func (f Found) Name() string {
	if f.Info != nil {
		return f.Info.Name()
	}
	return boardName(f.Loader.Board)
}

// Serial of the board.
func (f Found) Serial() Serial {
	if f.Info != nil {
		return f.Info.Serial
	}
	return f.Loader.Serial
}

// StrangerError: something answers that is no guard board.
type StrangerError struct{ Said []byte }

func (e *StrangerError) Error() string {
	s := fmt.Sprintf("%q answers, which is no guard board", e.Said)
	if bytes.Contains(e.Said, bytes.ReplaceAll(question(), []byte{0}, nil)) { // no zero is among what was said
		return s + "; that is our own question: TX touches RX, or the adapter echoes"
	}
	for _, hint := range []struct{ said, means string }{
		{"login:", "; that is a login prompt: another computer is at the other end"},
		{"Password:", "; that is a login prompt: another computer is at the other end"},
		{"\xef\x01", "; that is a fingerprint module"},
		{"$GP", "; that is a satellite receiver"},
		{"OK\r\n", "; that is a modem"},
		{"\x81\x01A", "; those are a guard board's answers to somebody else, who has this line too"},
		{"\x81\x01B", "; those are a guard board's answers to somebody else, who has this line too"},
	} {
		if bytes.Contains(e.Said, []byte(hint.said)) {
			return s + hint.means
		}
	}
	return s + fmt.Sprintf("; check that this is its port, and that what is there runs at %d baud", Baud)
}

// question is what find asks first. Two CAN end a transfer that a pulled cable
// left half done, in which the frame, which has an SOH, would begin a block.
func question() []byte { return append([]byte("\x18\x18"), encode(plain(askInfo, nil))...) }

// Find asks a line until a board answers, in whichever mode it is, or until
// patience is over: then ErrSilent, or a *StrangerError.
func Find(ctx context.Context, line Line, patience time.Duration) (Found, error) {
	return New(line).Find(ctx, patience)
}

// Find is the same on a line of which this conversation may have read ahead.
func (c *Conn) Find(ctx context.Context, patience time.Duration) (Found, error) {
	return turned(ctx, c, func() (Found, error) { return c.find(ctx, patience) })
}

func (c *Conn) find(ctx context.Context, wait time.Duration) (Found, error) {
	var said []byte
	for try, until := 1, time.Now().Add(wait); ; try++ {
		f, heard, err := c.probe(ctx)
		if err == nil || !errors.Is(err, ErrSilent) {
			return f, err
		}
		if len(said) < 64 {
			said = append(said, heard[:min(len(heard), 64)]...)
		}
		if !time.Now().Before(until) {
			if len(said) > 0 {
				return Found{}, fmt.Errorf("board: %w", &StrangerError{said})
			}
			return Found{}, err
		}
		if try%2 == 0 {
			// A loader that a pulled cable left in the middle of a block takes
			// questions for the rest of it, until it hears nothing for a second.
			if _, err := c.wire.next(ctx, time.Now().Add(blockRest)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return Found{}, fmt.Errorf("board: %w", err)
			}
		}
	}
}

// probe asks once in either language. What answers in neither is returned.
func (c *Conn) probe(ctx context.Context) (f Found, heard []byte, err error) {
	aside := func(b byte) {
		if len(heard) < 4*mostText {
			heard = append(heard, b)
		}
	}
	if err := c.wire.write(ctx, question()); err != nil {
		return f, nil, fmt.Errorf("board: %w", err)
	}
	for until := time.Now().Add(patience); ; {
		raw, err := c.wire.frame(ctx, until, aside)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return f, nil, fmt.Errorf("board: %w", err)
		}
		if kind, b, err := openPlain(raw); err == nil && kind == askInfo|answerBit {
			if i, err := decodeInfo(b); err == nil {
				return Found{Info: &i}, nil, nil
			}
		}
	}
	// A loader's console: an empty line brings its prompt.
	if err := c.wire.write(ctx, []byte("\r")); err != nil {
		return f, nil, fmt.Errorf("board: %w", err)
	}
	for until := time.Now().Add(probeText); ; {
		b, err := c.wire.next(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return f, nil, fmt.Errorf("board: %w", err)
		}
		aside(b)
	}
	if !strings.Contains(string(heard), prompt) && !strings.HasSuffix(string(heard), "> ") && !strings.Contains(string(heard), loaderName) {
		return f, heard, fmt.Errorf("board: %w", ErrSilent)
	}
	i, err := loader{&c.wire}.info(ctx)
	if err != nil {
		if errors.Is(err, ErrLies) {
			err = fmt.Errorf("board: %w", ErrSilent)
		}
		return f, heard, err
	}
	return Found{Loader: &i}, nil, nil
}
