package xmodem

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// receiver is the other end of a transfer, by the reference, which can be made
// to err. It is written from the document and shares nothing with the sender.
type receiver struct {
	line net.Conn
	got  []byte

	banner     string                // printed before the first invitation
	refuse     map[int]int           // block -> how often it is answered with NAK
	deaf       map[int]int           // block -> how often its ACK is lost
	late       map[int]time.Duration // block -> how long its ACK takes
	hangUp     int                   // pulls the cable in the middle of this block
	cancelAt   int                   // cancels at this block
	cancelsOld bool                  // acknowledges a block that came twice, and cancels behind that
	restartAt  int                   // is reset at this block
	nakFirst   bool                  // answers the first EOT with NAK, as some do
	invitation byte                  // 'C' where 0
	seen       map[int]int           // how often each block came
	answered   func(block int)       // called before an answer
	ended      chan struct{}         // closed when receive returns
}

func (r *receiver) receive(t *testing.T) {
	defer close(r.ended)
	r.seen = map[int]int{}
	if _, err := io.WriteString(r.line, r.banner); err != nil {
		return
	}
	invitation := r.invitation
	if invitation == 0 {
		invitation = 'C'
	}
	head := make([]byte, 1)
	invite := func() bool {
		for range 20 {
			if _, err := r.line.Write([]byte{invitation}); err != nil {
				return false
			}
			_ = r.line.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.ReadFull(r.line, head); err == nil {
				return true
			} else if !errors.Is(err, os.ErrDeadlineExceeded) {
				return false
			}
		}
		return false
	}
	if !invite() {
		return
	}
	next := 1
	say := func(b ...byte) bool { _, err := r.line.Write(b); return err == nil }
	for {
		_ = r.line.SetReadDeadline(time.Now().Add(time.Minute))
		size := 0
		switch head[0] {
		case 0x01:
			size = 128
		case 0x02:
			size = 1024
		case 0x04:
			if r.nakFirst {
				r.nakFirst = false
				say(0x15)
				break
			}
			say(0x06)
			return
		case 0x18:
			return
		default:
			t.Errorf("a block starts with %02x", head[0])
			return
		}
		if size > 0 {
			b := make([]byte, 2+size+2)
			if next == r.hangUp {
				_, _ = io.ReadFull(r.line, b[:size/2])
				_ = r.line.Close()
				return
			}
			if _, err := io.ReadFull(r.line, b); err != nil {
				return
			}
			n := int(b[0])
			whole := b[0] == ^b[1] && crcBits(b[2:2+size]) == binary.BigEndian.Uint16(b[2+size:])
			if !whole {
				t.Errorf("block %d is damaged", n)
			}
			r.seen[next]++
			if r.answered != nil {
				r.answered(next)
			}
			switch {
			case next == r.cancelAt:
				say(0x18, 0x18)
				return
			case next == r.restartAt:
				r.restartAt = 0
				if !invite() {
					return
				}
				continue
			case n == (next-1)&0xFF: // seen before: only the ACK was lost
				say(0x06)
				if r.cancelsOld {
					say(0x18, 0x18)
					return
				}
			case n != next&0xFF:
				t.Errorf("block %d came where %d was due", n, next&0xFF)
				say(0x18, 0x18)
				return
			case r.refuse[next] > 0:
				r.refuse[next]--
				say(0x15)
			default:
				r.got = append(r.got, b[2:2+size]...)
				next++
				switch {
				case r.deaf[next-1] > 0:
					r.deaf[next-1]--
				case r.late[next-1] > 0:
					time.Sleep(r.late[next-1]) // of the bubble's clock
					say(0x06)
				default:
					say(0x06)
				}
			}
		}
		if _, err := io.ReadFull(r.line, head); err != nil {
			return
		}
	}
}

// crcBits computes the CRC as the document's appendix does, bit by bit over the
// message with 16 zero bits appended.
func crcBits(data []byte) uint16 {
	var c uint32
	for _, b := range append(bytes.Clone(data), 0, 0) {
		for i := 7; i >= 0; i-- {
			c = c<<1 | uint32(b>>i&1)
			if c&0x10000 != 0 {
				c ^= 0x11021
			}
		}
	}
	return uint16(c)
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(b)
	return b
}

// queue is a line with room in it, as a UART's driver has: a net.Pipe would
// let neither end speak before the other listens.
func queued(t *testing.T) (a, b net.Conn) {
	t.Helper()
	a, far := net.Pipe()
	b, near := net.Pipe()
	join := func(from, to net.Conn) {
		c := make(chan []byte, 1024)
		go func() {
			defer close(c)
			for {
				p := make([]byte, 4096)
				n, err := from.Read(p)
				if n > 0 {
					c <- p[:n]
				}
				if err != nil {
					return
				}
			}
		}()
		go func() {
			for p := range c {
				_, _ = to.Write(p)
			}
			_ = to.Close()
		}()
	}
	join(far, near)
	join(near, far)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// transfer runs one in virtual time.
func transfer(t *testing.T, data []byte, r *receiver, o Options) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := queued(t)
		r.line, r.ended = b, make(chan struct{})
		go r.receive(t)
		err = Send(t.Context(), a, data, o)
		_ = a.Close()
		<-r.ended
	})
	return err
}

func padded(data []byte) []byte {
	return append(bytes.Clone(data), bytes.Repeat([]byte{0x1A}, Sent(len(data))-len(data))...)
}

func TestSendDeliversEverySizeWhole(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 129, 1023, 1024, 1025, 2048, 128 * 300, 1024*257 + 5} {
		data := random(size)
		r := &receiver{}
		var last int
		if err := transfer(t, data, r, Options{Progress: func(n, _ int) { last = n }}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(r.got, padded(data)) {
			t.Errorf("%d bytes: other bytes arrived", size)
		}
		if last != size {
			t.Errorf("%d bytes: progress ended at %d", size, last)
		}
	}
}

func TestSendSurvivesABadLine(t *testing.T) {
	for name, r := range map[string]*receiver{
		"a refused block":                  {refuse: map[int]int{1: 1, 3: 9}},
		"a lost answer":                    {deaf: map[int]int{1: 1, 2: 1, 4: 1}},
		"an answer after the patience":     {late: map[int]time.Duration{2: answerTime + quiet/2}, refuse: map[int]int{3: 1}},
		"an answer after the repetition":   {late: map[int]time.Duration{2: answerTime + 3*quiet}, refuse: map[int]int{3: 1}},
		"a NAK to the end of file":         {nakFirst: true},
		"a banner with the letter C in it": {banner: "faceprint loader, Copyright C\r\nC"},
	} {
		data := random(5000)
		if err := transfer(t, data, r, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(r.got, padded(data)) {
			t.Errorf("%s: other bytes arrived", name)
		}
	}
}

func TestSendNamesTheFailure(t *testing.T) {
	for name, c := range map[string]struct {
		r    *receiver
		want error
	}{
		"receiver cancels":           {&receiver{cancelAt: 3}, ErrCancelled},
		"receiver cancels late":      {&receiver{deaf: map[int]int{2: 1}, cancelsOld: true}, ErrCancelled},
		"receiver is reset":          {&receiver{restartAt: 3}, ErrRestarted},
		"cable pulled in a block":    {&receiver{hangUp: 2}, io.EOF},
		"cable pulled at once":       {&receiver{hangUp: 1}, io.EOF},
		"never a whole block":        {&receiver{refuse: map[int]int{2: 99}}, ErrRetries},
		"receiver without CRC":       {&receiver{invitation: 0x15}, ErrChecksum},
		"somebody else on the line":  {&receiver{invitation: 'x'}, ErrNoReceiver},
		"the fingerprint module's U": {&receiver{invitation: 0x55}, ErrNoReceiver},
	} {
		err := transfer(t, random(5000), c.r, Options{})
		if !errors.Is(err, c.want) && !(c.want == io.EOF && errors.Is(err, io.ErrClosedPipe)) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// What follows the last answer is not swallowed: a loader says there whether it
// took the file.
func TestSendLeavesWhatFollows(t *testing.T) {
	s := &script{answers: []byte("C\x00\x06\x06ok"), burst: true}
	if err := Send(t.Context(), s, make([]byte, 100), Options{}); err != nil {
		t.Fatal(err)
	}
	if string(s.answers) != "ok" {
		t.Errorf("%q is left", s.answers)
	}
}

func TestSendStopsWithItsContextAndTellsTheReceiver(t *testing.T) {
	for _, at := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			a, b := queued(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("Ctrl-C")
			r := &receiver{line: b, ended: make(chan struct{}), answered: func(n int) {
				if n == at {
					cancel(why)
				}
			}}
			go r.receive(t)
			if err := Send(ctx, a, random(9000), Options{}); !errors.Is(err, why) {
				t.Errorf("cancelled at block %d: %v", at, err)
			}
			<-r.ended // it took the CANs, not the closing of the line
			_ = a.Close()
		})
	}
}

func TestCRC(t *testing.T) {
	if got := CRC([]byte("123456789")); got != 0x31C3 {
		t.Errorf("CRC of the check string is %04x", got)
	}
}

// script answers whatever is written with the next byte of a script.
type script struct {
	answers []byte // 0 is silence
	burst   bool   // hands out as much as is asked for
	wrote   int
	blocks  int
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := 1
	if s.burst {
		for n < len(b) && n < len(s.answers) && s.answers[n] != 0 {
			n++
		}
	}
	copy(b, s.answers[:n])
	s.answers = s.answers[n:]
	if b[0] == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return n, nil
}

func (s *script) Write(b []byte) (int, error) {
	s.wrote += len(b)
	if len(b) > 0 && (b[0] == soh || b[0] == stx) {
		s.blocks++
	}
	return len(b), nil
}
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzSend lets the other end say anything: Send always ends, and says that
// the file arrived only when every block and the end were answered with ACK.
func FuzzSend(f *testing.F) {
	f.Add([]byte("C\x00\x06\x06\x06"), 1100)
	f.Add([]byte("C\x00\x15\x06\x00\x06\x06"), 1100)
	f.Add([]byte("hello C\x00\x18\x18"), 10)
	f.Fuzz(func(t *testing.T, answers []byte, size int) {
		if size < 0 || size > 20000 {
			return
		}
		s := &script{answers: bytes.Clone(answers)}
		err := Send(t.Context(), s, make([]byte, size), Options{})
		need := (size + long - 1) / long
		if tail := size % long; tail > 0 {
			need += (tail+short-1)/short - 1
		}
		if err == nil && (s.blocks < need || bytes.Count(answers, []byte{ack}) < need+1) {
			t.Fatalf("%d bytes arrived with %d blocks and %d ACKs, by its word", size, s.blocks, bytes.Count(answers, []byte{ack}))
		}
		if s.blocks > tries*max(need, 1) {
			t.Fatalf("%d blocks for %d", s.blocks, need)
		}
	})
}
