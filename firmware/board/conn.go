package board

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Errors of a conversation; a lost line is the line's own error, wrapped.
var (
	// ErrSilent: no answer, however often it was asked.
	ErrSilent = errors.New("the board does not answer")
	// ErrForged: answers came, but not from the board with that pairing key.
	ErrForged = errors.New("what answers does not know the pairing key")
	// ErrSession: there is no session, or the board has lost it.
	ErrSession = errors.New("the session is over")
	// ErrLies: a sealed answer that makes no sense.
	ErrLies = errors.New("the board's answer makes no sense")
)

// AfterError is an error that leaves something behind which its reader must know.
type AfterError struct {
	Err  error
	Left string
}

func (e *AfterError) Error() string { return e.Err.Error() + "; " + e.Left }
func (e *AfterError) Unwrap() error { return e.Err }

// Conn is a conversation with the application on a board. Its methods may be
// called concurrently; one question is on the wire at a time.
type Conn struct {
	wire wire
	turn chan struct{} // holds a token while nobody asks

	session *session
}

// session is what both sides derived; keys are wiped when it ends.
type session struct {
	toBoard, toHost []byte
	sent, taken     uint32
	serial          Serial
}

// New makes a conversation over a line that stays the caller's to close.
func New(line Line) *Conn {
	c := &Conn{wire: wire{Line: line}, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

func (c *Conn) begin(ctx context.Context) (end func(), err error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	undo := c.wire.watch(ctx)
	return func() { undo(); c.turn <- struct{}{} }, nil
}

// exchange asks once; take says whether a frame is the answer.
func (c *Conn) exchange(ctx context.Context, raw []byte, wait time.Duration, take func(raw []byte) (bool, error)) error {
	if err := c.wire.write(ctx, encode(raw)); err != nil {
		return fmt.Errorf("board: %w", err)
	}
	for until := time.Now().Add(wait); ; {
		got, err := c.wire.frame(ctx, until, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("board: %w", ErrSilent)
		}
		if err != nil {
			return fmt.Errorf("board: %w", err)
		}
		if done, err := take(got); done || err != nil {
			return err
		}
	}
}

// plain asks a plain question.
func (c *Conn) plain(ctx context.Context, kind byte, body []byte, wait time.Duration, tries int) (answer []byte, err error) {
	for range tries {
		err = c.exchange(ctx, plain(kind, body), wait, func(raw []byte) (bool, error) {
			got, b, err := openPlain(raw)
			switch {
			case err != nil:
				return false, nil
			case got == kind|answerBit:
				answer = b
				return true, nil
			case got == refusedPlain && len(b) == 2 && b[0] == kind:
				return true, &Refused{Code: Code(b[1])}
			}
			return false, nil
		})
		if !errors.Is(err, ErrSilent) {
			return answer, err
		}
	}
	return nil, err
}

// sealed asks a sealed question.
func (c *Conn) sealed(ctx context.Context, kind byte, body []byte, wait time.Duration, tries int) (answer []byte, err error) {
	forged := false
	for range tries {
		s := c.session
		if s == nil {
			return nil, fmt.Errorf("board: %w", ErrSession)
		}
		if s.sent == math.MaxUint32 {
			c.end()
			return nil, fmt.Errorf("board: every counter was used: %w", ErrSession)
		}
		s.sent++
		err = c.exchange(ctx, seal(s.toBoard, kind, s.sent, body), wait, func(raw []byte) (bool, error) {
			if raw[0]&sealedBit == 0 {
				if got, b, err := openPlain(raw); err == nil && got == refusedPlain && len(b) == 2 && b[0] == kind {
					c.end()
					return true, fmt.Errorf("board: %w: %w", ErrSession, &Refused{Code: Code(b[1])})
				}
				return false, nil
			}
			got, counter, b, err := openSealed(s.toHost, raw)
			if err != nil {
				forged = true
				return false, nil
			}
			if counter <= s.taken {
				return false, nil // seen before
			}
			s.taken = counter
			if len(b) < 4 || binary.LittleEndian.Uint32(b) != s.sent {
				return false, nil // the late answer to an earlier question
			}
			switch b = b[4:]; {
			case got == kind|answerBit:
				answer = b
				return true, nil
			case got == refusedSealed && len(b) == 2 && b[0] == kind:
				return true, &Refused{Code: Code(b[1]), Sealed: true}
			}
			return true, fmt.Errorf("board: %02x to the question %02x: %w", got, kind, ErrLies)
		})
		if !errors.Is(err, ErrSilent) {
			return answer, err
		}
	}
	if forged {
		err = fmt.Errorf("board: %w", ErrForged)
	}
	return nil, err
}

// end forgets the session.
func (c *Conn) end() {
	if c.session != nil {
		clear(c.session.toBoard)
		clear(c.session.toHost)
		c.session = nil
	}
}

// Close forgets the session. The line stays open.
func (c *Conn) Close() error {
	<-c.turn
	c.end()
	c.turn <- struct{}{}
	return nil
}

// Info asks what is there; nothing proves the answer.
func (c *Conn) Info(ctx context.Context) (Info, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return Info{}, err
	}
	defer end()
	return c.info(ctx, tries)
}

func (c *Conn) info(ctx context.Context, tries int) (Info, error) {
	b, err := c.plain(ctx, askInfo, nil, patience, tries)
	if err != nil {
		return Info{}, err
	}
	i, err := decodeInfo(b)
	if err != nil {
		return i, fmt.Errorf("board: info of %d bytes: %w", len(b), ErrLies)
	}
	return i, nil
}

// Hello begins a session with the pairing key and asks one sealed question,
// whose answer is the first thing that proves who is there.
func (c *Conn) Hello(ctx context.Context, key []byte) (Serial, Status, error) {
	if len(key) != KeySize {
		return Serial{}, Status{}, fmt.Errorf("board: a pairing key has %d bytes, not %d", KeySize, len(key))
	}
	end, err := c.begin(ctx)
	if err != nil {
		return Serial{}, Status{}, err
	}
	defer end()
	return c.hello(ctx, key)
}

func (c *Conn) hello(ctx context.Context, key []byte) (Serial, Status, error) {
	asked, wait := false, patience
	for try := 1; ; try++ {
		serial, s, err := c.greet(ctx, key, wait)
		// A late answer to one HELLO may have been taken for that to the next,
		// which ended its session: what follows then looks like another key.
		again := errors.Is(err, ErrSilent) || asked && (errors.Is(err, ErrForged) || errors.Is(err, ErrSession))
		if !again || try == tries {
			return serial, s, err
		}
		asked, wait = true, latePatience
	}
}

// greet asks HELLO once.
func (c *Conn) greet(ctx context.Context, key []byte, wait time.Duration) (Serial, Status, error) {
	c.end()
	if err := c.wire.drain(ctx); err != nil { // the answer to an earlier hello
		return Serial{}, Status{}, fmt.Errorf("board: %w", err)
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return Serial{}, Status{}, fmt.Errorf("board: %w", err)
	}
	b, err := c.plain(ctx, askHello, append([]byte{protocol}, nonce...), wait, 1)
	if err != nil {
		return Serial{}, Status{}, err
	}
	if len(b) != 1+nonceSize+SerialSize || b[0] != protocol {
		return Serial{}, Status{}, fmt.Errorf("board: hello of %d bytes: %w", len(b), ErrLies)
	}
	s := &session{serial: Serial(b[1+nonceSize:])}
	s.toBoard, s.toHost = sessionKeys(key, nonce, b[1:1+nonceSize], s.serial[:])
	c.session = s
	status, err := c.beat(ctx)
	if err != nil {
		c.end()
		var refused *Refused
		if errors.As(err, &refused) && refused.Code == BadTag {
			err = fmt.Errorf("board: %w: %w", ErrForged, refused)
		}
	}
	return s.serial, status, err
}

// status asks a sealed question that is answered with the status.
func (c *Conn) status(ctx context.Context, kind byte, body []byte, tries int) (Status, error) {
	b, err := c.sealed(ctx, kind, body, patience, tries)
	if err != nil {
		return Status{}, err
	}
	s, err := decodeStatus(b)
	if err != nil {
		return s, fmt.Errorf("board: status of %d bytes: %w", len(b), ErrLies)
	}
	return s, nil
}

func (c *Conn) beat(ctx context.Context) (Status, error) { return c.status(ctx, askBeat, nil, tries) }

// turned asks f in turn.
func turned[T any](ctx context.Context, c *Conn, f func() (T, error)) (T, error) {
	end, err := c.begin(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer end()
	return f()
}

// Beat is a heartbeat.
func (c *Conn) Beat(ctx context.Context) (Status, error) {
	return turned(ctx, c, func() (Status, error) { return c.beat(ctx) })
}

// Unlock opens the lock for so long, and returns when the board has said that
// it is open. The board shuts it by itself.
func (c *Conn) Unlock(ctx context.Context, hold time.Duration) (Status, error) {
	if hold < HoldLeast || hold > HoldMost {
		return Status{}, fmt.Errorf("board: unlock for %s: %w", hold, &Refused{Code: BadHold})
	}
	return turned(ctx, c, func() (s Status, err error) {
		for range unlockTries {
			if s, err = c.unlock(ctx, hold); err == nil {
				return s, nil
			}
			var refused *Refused
			switch {
			case errors.As(err, &refused) && refused.Sealed && refused.Code == BadChallenge:
				continue // it came too late
			case !errors.Is(err, ErrSilent):
				return Status{}, err
			}
			// The answer was lost; whether the question was is for the board to tell.
			if s, err = c.beat(ctx); err != nil || s.Lock.Granted() {
				return s, err
			}
			err = fmt.Errorf("board: unlock: %w", ErrSilent)
		}
		return Status{}, err
	})
}

func (c *Conn) unlock(ctx context.Context, hold time.Duration) (Status, error) {
	challenge, err := c.sealed(ctx, askChallenge, nil, patience, tries)
	if err != nil {
		return Status{}, err
	}
	if len(challenge) != nonceSize {
		return Status{}, fmt.Errorf("board: challenge of %d bytes: %w", len(challenge), ErrLies)
	}
	s, err := c.status(ctx, askUnlock, binary.LittleEndian.AppendUint16(challenge, uint16(hold.Milliseconds())), 1)
	if err == nil && !s.Lock.Granted() {
		err = fmt.Errorf("board: it was unlocked but is %s: %w", s.Lock, ErrLies)
	}
	return s, err
}

// Lock shuts the lock.
func (c *Conn) Lock(ctx context.Context) (Status, error) {
	return turned(ctx, c, func() (Status, error) {
		s, err := c.status(ctx, askLock, nil, tries)
		if err == nil && s.Lock.Granted() {
			err = fmt.Errorf("board: it was shut but is %s: %w", s.Lock, ErrLies)
		}
		return s, err
	})
}

// Events asks for at most 16 events after the one numbered after.
func (c *Conn) Events(ctx context.Context, after uint32) (Events, error) {
	return turned(ctx, c, func() (Events, error) {
		b, err := c.sealed(ctx, askEvents, binary.LittleEndian.AppendUint32(nil, after), patience, tries)
		if err != nil {
			return Events{}, err
		}
		e, err := decodeEvents(b)
		if err != nil {
			return e, fmt.Errorf("board: events of %d bytes: %w", len(b), ErrLies)
		}
		last := after
		for _, v := range e.Events {
			if v.Sequence <= last || v.Sequence > e.Newest {
				return Events{}, fmt.Errorf("board: event %d after %d: %w", v.Sequence, last, ErrLies)
			}
			last = v.Sequence
		}
		return e, nil
	})
}

// SelfTest lets the board examine itself, which takes about a second.
func (c *Conn) SelfTest(ctx context.Context) (SelfTest, error) {
	return turned(ctx, c, func() (SelfTest, error) {
		b, err := c.sealed(ctx, askSelfTest, nil, slowPatience, tries)
		if err != nil {
			return SelfTest{}, err
		}
		s, err := decodeSelfTest(b)
		if err != nil {
			return s, fmt.Errorf("board: self-test of %d bytes: %w", len(b), ErrLies)
		}
		return s, nil
	})
}

// Signal sets the lamp and sounds the buzzer for at most 2 s.
func (c *Conn) Signal(ctx context.Context, lamp Lamp, buzz time.Duration) (Status, error) {
	return turned(ctx, c, func() (Status, error) {
		return c.status(ctx, askSignal, binary.LittleEndian.AppendUint16([]byte{byte(lamp)}, uint16(buzz.Milliseconds())), tries)
	})
}

// Pair gives an unpaired board its key; its service button must have been
// pressed within the last minute. The key crosses the wire in clear. After an
// *AfterError the board may have the key.
func (c *Conn) Pair(ctx context.Context, key []byte) (Serial, error) {
	if len(key) != KeySize {
		return Serial{}, fmt.Errorf("board: a pairing key has %d bytes, not %d", KeySize, len(key))
	}
	return turned(ctx, c, func() (Serial, error) {
		info, err := c.info(ctx, tries)
		if err != nil {
			return Serial{}, err
		}
		proof, err := c.plain(ctx, askPair, key, slowPatience, 1)
		var refused *Refused
		switch {
		case err == nil && subtle.ConstantTimeCompare(proof, pairProof(key, info.Serial[:])) == 1:
			return info.Serial, nil
		case err == nil:
			err = fmt.Errorf("board: it did not prove that it has the key: %w", ErrForged)
		case errors.As(err, &refused) && (refused.Code != Paired || info.Paired()):
			return Serial{}, err
		}
		// It may have the key although its answer was lost: a session proves it as well.
		return info.Serial, &AfterError{err, "whether the board took the key is unknown: keep it until 'faceprint board info' says that the board is not paired"}
	})
}

// Wipe makes the board forget its pairing.
func (c *Conn) Wipe(ctx context.Context) error {
	_, err := turned(ctx, c, func() (any, error) {
		b, err := c.sealed(ctx, askWipe, nil, slowPatience, 1)
		if err == nil && len(b) > 0 {
			err = fmt.Errorf("board: wipe: %w", ErrLies)
		}
		if err == nil {
			c.end()
		}
		return nil, err
	})
	return err
}

// Confirm keeps the running image of an unpaired board.
func (c *Conn) Confirm(ctx context.Context) error {
	_, err := turned(ctx, c, func() ([]byte, error) { return c.plain(ctx, askConfirm, nil, patience, tries) })
	return err
}

// Restart restarts the board into its loader: sealed in a session, else as an
// unpaired board takes it.
func (c *Conn) Restart(ctx context.Context) error {
	_, err := turned(ctx, c, func() ([]byte, error) {
		if c.session == nil {
			return c.plain(ctx, askLoader, nil, patience, 1)
		}
		b, err := c.sealed(ctx, askSealedLoader, nil, patience, 1)
		c.end()
		return b, err
	})
	return err
}
