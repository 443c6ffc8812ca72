package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Line is an open serial line. Reading and writing end with
// os.ErrDeadlineExceeded at their deadlines; closing it elsewhere ends them too.
type Line interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// discarder is a Line that can throw away what has arrived and was not read.
type discarder interface{ Discard() (n int, err error) }

// counter is a Line whose driver counts what the hardware lost.
type counter interface {
	// LineErrors are characters that were overrun, and that had no stop bit; ok
	// is false where nobody counts.
	LineErrors() (overruns, framing uint64, ok bool)
}

// sharer is a Line, or a port, that can tell who else has it open.
type sharer interface {
	// Shared names them, with what to do; nil where nobody is seen.
	Shared() error
}

// sharedBy is Shared of whatever it is, nil where it cannot tell.
func sharedBy(line any) error {
	if s, ok := line.(sharer); ok {
		return s.Shared()
	}
	return nil
}

// link speaks packets over a line. It is used by one goroutine at a time.
type link struct {
	line      Line
	name      string
	address   uint32
	also      *uint32 // another address that answers may carry, nil for none
	foreign   *uint32 // the address of a module that answered though it was not called
	password  uint32
	baud      int // 0 where unknown
	in        Reassembler
	known     bool // a module has introduced itself
	open      bool // it is in use: what fails from now on is told with who else has the port
	dirty     bool // an answer may still be on its way
	resyncing bool
	careful   bool // somebody else's answers came
	owed      int  // bytes that may be on their way at most, beyond an answer
	resets    int  // how often the module was found to have forgotten everything
	readies   int  // how often something like the byte of a start-up (55) came by itself
	silences  int  // how often nothing at all came for an answer: it may have been starting
	fills     int  // instructions that may have changed what its buffers hold (fills)
	meter     meter
}

// starts counts what tells that the module forgot everything: that it wants its
// password (21), or the ready byte, which is all that one with the factory's says.
func (l *link) starts() int { return l.resets + l.readies }

// isReady tells whether bytes that belong to no packet are those of a start-up:
// some units send a 00 first.
func isReady(b []byte) bool {
	return len(b) > 0 && len(b) <= readyMost && b[len(b)-1] == readyByte
}

// airtime is how long n bytes are on the wire: 8N1 has ten bits a byte. It is 0
// where the rate is unknown.
func (l *link) airtime(n int) time.Duration {
	if l.baud == 0 {
		return 0
	}
	return time.Duration(n) * 10 * time.Second / time.Duration(l.baud)
}

// wireTime is airtime, or that of the slowest rate where it is unknown.
func (l *link) wireTime(n int) time.Duration {
	if l.baud == 0 {
		return time.Duration(n) * 10 * time.Second / 9600
	}
	return l.airtime(n)
}

// resync makes both ends ready for a new instruction. What the module still
// had to say is read until the line is quiet, or it would be taken for the next
// answer. A module that waits for the rest of a packet swallows what it is sent
// next, so it is asked something harmless until it answers properly.
func (l *link) resync(ctx context.Context) error {
	_, err := l.drain(ctx)
	if err != nil || !l.known {
		return err
	}
	l.meter.count(&l.meter.s.Resyncs, 1)
	l.resyncing = true
	defer func() { l.resyncing = false }()
	for try := 1; ; try++ {
		err = l.verify(ctx, probeTimeout)
		if over(ctx) != nil || errors.Is(err, ErrPassword) || errors.Is(err, ErrGone) {
			return err
		}
		// The answer may have been a late one to something else; then this one's
		// comes now.
		more, e := l.drain(ctx)
		if e != nil {
			return e
		}
		if err == nil && more == 0 {
			l.owed = 0
			return nil
		}
		if try > resyncTries || try == resyncTries && more == 0 && errors.Is(err, ErrTimeout) {
			break
		}
		if try == resyncTries { // it is there, but late: what it still has to say is heard out, and it is asked once more
			l.careful = true
			if _, err := l.drain(ctx); err != nil {
				return err
			}
		}
	}
	if err == nil {
		err = fmt.Errorf("sensor: %s: more answers than questions: %w", l.name, ErrProtocol)
	}
	l.dirty = true
	return err
}

// drain reads until the line is quiet, and says how many bytes that were.
func (l *link) drain(ctx context.Context) (heard int, err error) {
	l.meter.count(&l.meter.s.Drains, 1)
	l.reset()
	stop := l.obey(ctx)
	defer stop()
	var buf [512]byte
	defer clear(buf[:])
	end := time.Now().Add(drainCap + l.wireTime(l.owed))
	var first []byte // all that was heard, while that is little
	wait := quiet
	if l.careful || l.owed > 0 { // more may come, each after its silicon's time, or where a transfer stood still
		wait = longQuiet
	}
	for {
		if err := l.line.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return heard, l.fault(err)
		}
		if err := ctx.Err(); err != nil {
			return heard, fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		n, err := l.line.Read(buf[:])
		heard += n
		l.meter.noise(buf[:n])
		if heard <= readyMost {
			first = append(first, buf[:n]...)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := ctx.Err(); err != nil {
				return heard, fmt.Errorf("sensor: %s: %w", l.name, err)
			}
			l.dirty, l.careful, l.owed = false, false, max(l.owed-heard, 0)
			if heard <= readyMost && isReady(first) {
				l.readies++
			}
			return heard, nil
		case err != nil:
			return heard, l.fault(err)
		case time.Now().After(end):
			what, _ := l.meter.chatter()
			return heard, fmt.Errorf("sensor: %s never falls silent: %s: %w", l.name, what, ErrNoModule)
		}
	}
}

// reset forgets what was read and belongs to no packet yet.
func (l *link) reset() {
	l.meter.noise(l.in.buf)
	before := l.in.Skipped
	l.in.Reset()
	l.in.Skipped = before
}

// obey ends reads when the context is cancelled, by a deadline in the past.
func (l *link) obey(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = l.line.SetReadDeadline(time.Unix(1, 0)) })
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

// send writes one packet and returns its length on the wire.
func (l *link) send(pid PID, content []byte) (int, error) {
	var room [headerSize + MaxContent + sumSize]byte
	defer clear(room[:])
	b, err := AppendPacket(room[:0], Packet{Address: l.address, PID: pid, Content: content})
	if err != nil {
		return 0, err
	}
	// A kernel's buffer holds up to some 4 KiB that are not on the wire yet.
	if err := l.line.SetWriteDeadline(time.Now().Add(answerTimeout + l.wireTime(writeAhead))); err != nil {
		return 0, l.fault(err)
	}
	if _, err := l.line.Write(b); err != nil {
		return 0, l.fault(err)
	}
	return len(b), nil
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
	stop := l.obey(ctx)
	defer stop()
	defer func() {
		if err != nil {
			l.dirty = true
		}
	}()
	var buf [512]byte
	defer clear(buf[:])
	for {
		p, err := l.next()
		if !errors.Is(err, ErrShort) {
			return p, err
		}
		n, err := l.line.Read(buf[:])
		if len(l.in.buf) == 0 && isReady(buf[:n]) {
			l.readies++
		}
		l.in.Write(buf[:n])
		if !l.known {
			l.meter.listen(buf[:n])
		}
		if err == nil || n > 0 {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return p, l.fault(err)
		}
		if err := over(ctx); err != nil {
			return p, fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		l.meter.count(&l.meter.s.Timeouts, 1)
		return p, fmt.Errorf("sensor: %s: %w", l.name, ErrTimeout)
	}
}

// over is why the context ended, nil while it lasts. Its deadline is that of the read
// as well, whose timer may be the sooner of the two: that the asker's time is over
// says nothing about the module.
func over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// next takes a packet of this module out of what was read.
func (l *link) next() (Packet, error) {
	for {
		before := l.in.Skipped
		p, err := l.in.Next()
		l.meter.count(&l.meter.s.Skipped, l.in.Skipped-before)
		switch {
		case err == nil && (p.Address == l.address || l.also != nil && p.Address == *l.also):
			l.meter.count(&l.meter.s.Answers, 1)
			return p, nil
		case err == nil:
			// Another module's on a shared line, or a damaged address, which no
			// checksum covers.
			if p.PID == PIDAck && p.Address != l.address {
				l.foreign = &p.Address
			}
			foreign := uint64(headerSize + len(p.Content) + sumSize)
			l.in.Skipped += foreign
			l.meter.count(&l.meter.s.Skipped, foreign)
			continue
		case errors.Is(err, ErrSum):
			l.meter.count(&l.meter.s.BadSums, 1)
			return p, fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		return p, err
	}
}

// command sends an instruction and returns what follows the code of its
// answer. An answer other than OK is a *CodeError.
//
// A module that was reset wants its password first (21): it is verified, and
// the instruction sent once more. One that was damaged on the way there (01) is
// sent once more as well, since nothing came of it; one whose answer was lost
// only where doing it twice is the same as once.
func (l *link) command(ctx context.Context, i Instruction, params ...byte) ([]byte, error) {
	verified, repeated := i == VfyPwd, false
	for {
		answer, err := l.once(ctx, timeoutOf(i), i, params)
		switch {
		case err == nil || over(ctx) != nil:
			return answer, err
		case !verified && isCode(err, VerifyFirst):
			verified = true
			l.resets++
			l.meter.count(&l.meter.s.Reverifies, 1)
			if err := l.verify(ctx, answerTimeout); err != nil {
				return nil, err
			}
		case !repeated && (isCode(err, PacketError) || repeatable[i] && damaged(err)):
			repeated = true
			l.meter.count(&l.meter.s.Repeats, 1)
		default:
			return nil, l.blame(err)
		}
	}
}

// blame adds to an exchange that failed on the wire who else has the port open: one that
// reads eats answers now and then, and all looks like a bad cable.
func (l *link) blame(err error) error {
	if !l.open || !damaged(err) {
		return err
	}
	if e := sharedBy(l.line); e != nil {
		return fmt.Errorf("%w; %w", err, e)
	}
	return err
}

// repeatable instructions do the same when sent twice. Nothing that compares,
// stores or changes a setting is.
var repeatable = map[Instruction]bool{
	GenImg: true, GetImageEx: true, Img2Tz: true, ReadSysPara: true, ReadProdInfo: true, TempleteNum: true, ReadIndex: true,
	VfyPwd: true, ReadNotepad: true, GetAlgVer: true, GetFwVer: true, HandShake: true, CheckSensor: true,
	LoadChar: true, GetRandomCode: true,
}

// fills are the instructions that change what the module's buffers hold. Some units keep
// pictures and features in one memory, so that a picture counts; a look at an empty sensor
// (NoFinger) does not.
var fills = map[Instruction]bool{
	GenImg: true, GetImageEx: true, Img2Tz: true, RegModel: true, LoadChar: true, DownChar: true, DownImage: true,
	AutoEnroll: true, AutoIdentify: true, SoftRst: true,
}

// damaged tells whether an exchange failed on the wire.
func damaged(err error) bool {
	return errors.Is(err, ErrSum) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrProtocol)
}

func isCode(err error, c Code) bool {
	e := (*CodeError)(nil)
	return errors.As(err, &e) && e.Code == c
}

// errEarly is an answer that answers something else, or comes over no wire.
var errEarly = errors.New("sooner than")

// once sends an instruction on a line that is made ready for it, and reads the
// answer.
func (l *link) once(ctx context.Context, timeout time.Duration, i Instruction, params []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sensor: %s: %w", l.name, err)
	}
	if l.dirty {
		var err error
		if i == VfyPwd && l.resyncing { // resync itself sends it
			_, err = l.drain(ctx)
		} else {
			err = l.resync(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("%v: %w", i, err)
		}
	}
	if err := l.discard(); err != nil {
		return nil, err
	}
	l.meter.count(&l.meter.s.Commands, 1)
	if fills[i] {
		l.fills++
	}
	start := time.Now()
	var content [1 + 33]byte
	n, err := l.send(PIDCommand, append(append(content[:0], byte(i)), params...))
	if err != nil {
		l.dirty = true
		return nil, err
	}
	skipped := l.in.Skipped
	answer, err := l.answer(ctx, timeout, i)
	if fills[i] && isCode(err, NoFinger) { // there was no picture
		l.fills--
	}
	if errors.Is(err, ErrTimeout) && len(l.in.buf) == 0 && l.in.Skipped == skipped {
		l.silences++
	}
	l.careful = errors.Is(err, ErrProtocol)
	took := time.Since(start)
	if e := (*CodeError)(nil); err != nil && !errors.As(err, &e) {
		return nil, err
	}
	// What is there before it can have come over the wire answers something else.
	if took < l.airtime(n+headerSize+1+len(answer)+sumSize)*9/10 {
		l.dirty, l.careful = true, true
		l.meter.count(&l.meter.s.Early, 1)
		return nil, fmt.Errorf("sensor: %s: %v was answered %v after it was asked: %w %d baud can carry it: %w", l.name, i, took, errEarly, l.baud, ErrProtocol)
	}
	l.meter.trip(took)
	return answer, err
}

// discard throws away what arrived since the last answer: the line is half
// duplex, so nobody asked for it.
func (l *link) discard() error {
	n := len(l.in.buf)
	l.reset()
	if d, ok := l.line.(discarder); ok {
		more, err := d.Discard()
		if err != nil {
			return l.fault(err)
		}
		n += more
	}
	if n > 0 {
		l.meter.count(&l.meter.s.Stale, 1)
	}
	if n > 0 && n <= readyMost { // too few for any answer
		l.readies++
	}
	return nil
}

// answer reads the acknowledgement of an instruction.
func (l *link) answer(ctx context.Context, timeout time.Duration, i Instruction) ([]byte, error) {
	p, err := l.receive(ctx, timeout)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", i, err)
	}
	if p.PID == PIDCommand {
		l.dirty = true
		return nil, &stranger{"what is sent comes back", "TX and RX are joined, or it is a modem or a terminal, which echo: part them, or name another port", fmt.Errorf("sensor: %s echoes what is sent: %w", l.name, ErrProtocol)}
	}
	if p.PID != PIDAck || len(p.Content) == 0 {
		l.dirty = true
		return nil, fmt.Errorf("sensor: %s: %v was answered with PID %#02x of %d bytes: %w", l.name, i, byte(p.PID), len(p.Content), ErrProtocol)
	}
	code, rest := Code(p.Content[0]), append([]byte(nil), p.Content[1:]...)
	if i == GetEcho && code == echo {
		code = OK
	}
	if code == OK {
		if want, ok := instructions[i]; !ok || len(rest) != want.size {
			l.dirty = true
			return nil, fmt.Errorf("sensor: %s: %v was answered with %d bytes: %w", l.name, i, len(rest), ErrProtocol)
		}
		return rest, nil
	}
	// A no that this instruction cannot have belongs to another.
	if !possible(i, code) {
		l.dirty = true
		return nil, fmt.Errorf("sensor: %s: %v was answered %v: %w", l.name, i, code, ErrProtocol)
	}
	return rest, &CodeError{Instruction: i, Code: code}
}

// verify sends the password, once more where it was damaged on the way (01).
func (l *link) verify(ctx context.Context, timeout time.Duration) error {
	_, err := l.once(ctx, timeout, VfyPwd, word(l.password))
	if isCode(err, PacketError) {
		_, err = l.once(ctx, timeout, VfyPwd, word(l.password))
	}
	if isCode(err, WrongPassword) {
		return fmt.Errorf("sensor: %s: %w; there is no way to reset it, the right one must be configured", l.name, ErrPassword)
	}
	return err
}

// download reads the data packets (PID 02, the last 08) behind an
// acknowledgement, up to limit bytes. Some modules never send the 08: their
// transfer ends when the line falls silent, where what came is whole: on a busy host
// the rest may be late, and would be taken for the next answer. Half a packet is no
// end. A byte that belongs to no packet means that one was damaged, and then nothing of the transfer holds.
func (l *link) download(ctx context.Context, i Instruction, limit int, whole func(int) bool) (data []byte, err error) {
	defer func() {
		if err != nil {
			clear(data)
			data = nil
			l.dirty, l.owed = true, 2*limit // with the packets' own bytes
		}
	}()
	clean := l.in.Skipped
	data = make([]byte, 0, limit) // all at once: what it outgrew would stay in memory
	for {
		wait := answerTimeout
		if len(data) > 0 {
			wait = dataTimeout
		}
		p, err := l.receive(ctx, wait)
		if l.in.Skipped != clean {
			return data, fmt.Errorf("sensor: %s: %v: a packet was damaged after %d bytes: %w", l.name, i, len(data), ErrSum)
		}
		if errors.Is(err, ErrTimeout) && len(data) > 0 && len(l.in.buf) == 0 && whole(len(data)) {
			l.dirty = false // it ended, as some do
			return data, nil
		}
		if err != nil {
			return data, fmt.Errorf("%v: %w", i, err)
		}
		if p.PID != PIDData && p.PID != PIDEndData || len(data)+len(p.Content) > limit {
			return data, fmt.Errorf("sensor: %s: %v: PID %#02x after %d bytes of data: %w", l.name, i, byte(p.PID), len(data), ErrProtocol)
		}
		data = append(data, p.Content...)
		if p.PID == PIDEndData {
			return data, nil
		}
	}
}

// anySize is a transfer of whose size nothing is known before.
func anySize(int) bool { return true }

// fetch sends an instruction that is answered with data. A transfer that was
// damaged is asked for once more.
func (l *link) fetch(ctx context.Context, limit int, whole func(int) bool, i Instruction, params ...byte) ([]byte, error) {
	for try := 0; ; try++ {
		_, err := l.command(ctx, i, params...)
		if err == nil {
			var data []byte
			data, err = l.download(ctx, i, limit, whole)
			if err == nil {
				return data, nil
			}
			if try > 0 {
				err = l.blame(err)
			}
		} else if damaged(err) {
			l.owed = 2 * limit // it may come all the same, behind an answer that was late
		}
		if try > 0 || over(ctx) != nil || !damaged(err) {
			return nil, err
		}
		l.meter.count(&l.meter.s.Repeats, 1)
	}
}

// upload sends data in packets of the size that the module is set to, behind
// the acknowledgement of DownChar or DownImage. Nothing acknowledges it.
func (l *link) upload(ctx context.Context, data []byte, size int) error {
	start, sent := time.Now(), 0
	for {
		if err := ctx.Err(); err != nil {
			l.dirty = true
			return fmt.Errorf("sensor: %s: %w", l.name, err)
		}
		pid, part := PIDData, data[:min(size, len(data))]
		if data = data[len(part):]; len(data) == 0 {
			pid = PIDEndData
		}
		n, err := l.send(pid, part)
		if err != nil {
			l.dirty = true
			return err
		}
		if sent += n; pid == PIDEndData {
			// The kernel takes the bytes sooner than the wire: whoever asks next
			// would count their time as the module's.
			return l.flown(ctx, start.Add(l.airtime(sent)))
		}
	}
}

// flown waits until what was sent is through the wire.
func (l *link) flown(ctx context.Context, at time.Time) error {
	if wait := time.Until(at); wait > 0 {
		return sleep(ctx, wait)
	}
	return nil
}
