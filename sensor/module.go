package sensor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
	"periph.io/x/conn/v3/uart/uartreg"
)

// Config says where a module is and how it is spoken to.
type Config struct {
	Port     string // a name that periph's uartreg knows
	Baud     int    // 0 tries the usual ones
	Address  uint32 // 0 means DefaultAddress
	Password uint32
}

// Info is what a module says about itself.
type Info struct {
	Port       string
	Baud       int
	Family     string // model from ReadProdInfo, else zfm-<system id>
	Serial     string // empty where the module has none
	SystemID   uint16
	Capacity   int // templates in its library
	Level      int // security level, 1 to 5
	PacketSize int // bytes of data in a packet
	Width      int // pixels of the sensor, 0 where unknown
	Height     int
	Buffers    int // char buffers: how many captures an enrolment merges at most
}

// Print is one scan. What was scanned stays in the module's buffer until the
// next scan; a Print is only a receipt for it, good for Match until then.
type Print struct {
	serial uint64 // of the scan, 0 for none
}

// Module is an open fingerprint module. Its methods may be called
// concurrently; they take turns on the wire.
type Module struct {
	port  uart.PortCloser // nil where the line was given
	turn  chan struct{}   // holds a token while the wire is free
	link  *link
	info  Info
	scans uint64 // guarded by turn

	closed sync.Once
	err    error
}

// Open finds the module on the port and introduces itself: it tries the baud
// rates, waits for the ready byte, verifies the password and reads the
// parameters. It returns ErrNoModule where nothing answers like a module,
// ErrPassword where it wants another password.
func Open(ctx context.Context, c Config) (*Module, error) {
	try := bauds
	if c.Baud != 0 {
		try = []int{c.Baud}
	}
	var errs []error
	for _, baud := range try {
		port, err := uartreg.Open(c.Port)
		if err != nil {
			return nil, fmt.Errorf("sensor: %w", err)
		}
		m, err := openAt(ctx, port, c, baud)
		if err == nil {
			return m, nil
		}
		err = errors.Join(err, port.Close())
		if ctx.Err() != nil || errors.Is(err, ErrPassword) {
			return nil, err
		}
		errs = append(errs, fmt.Errorf("at %d baud: %w", baud, err))
	}
	return nil, fmt.Errorf("sensor: %s: %w; check power, TX and RX (they cross), and that no console uses the port: %w", c.Port, ErrNoModule, errors.Join(errs...))
}

func openAt(ctx context.Context, port uart.PortCloser, c Config, baud int) (*Module, error) {
	conn, err := port.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		return nil, fmt.Errorf("sensor: %w", err)
	}
	line, ok := conn.(Line)
	if !ok {
		return nil, fmt.Errorf("sensor: port %s reads without deadlines; use one of sensor/tty", port)
	}
	m, err := New(ctx, line, c)
	if err != nil {
		return nil, err
	}
	m.port = port
	m.info.Port, m.info.Baud = c.Port, baud
	return m, nil
}

// New introduces itself to a module on a line that is open already. Close does
// not close the line.
func New(ctx context.Context, line Line, c Config) (*Module, error) {
	if c.Address == 0 {
		c.Address = DefaultAddress
	}
	if c.Port == "" {
		c.Port = "line"
	}
	m := &Module{turn: make(chan struct{}, 1), link: &link{line: line, name: c.Port, address: c.Address, password: c.Password, dirty: true}}
	m.info.Port = c.Port
	if err := m.introduce(ctx); err != nil {
		return nil, err
	}
	m.turn <- struct{}{}
	return m, nil
}

// introduce verifies the password and reads what the module is. A module that
// was just powered does not answer yet, so silence is waited out once.
func (m *Module) introduce(ctx context.Context) error {
	err := m.link.verify(ctx, probeTimeout)
	if errors.Is(err, ErrTimeout) {
		err = m.link.verify(ctx, startUp)
	}
	if err != nil {
		return err
	}
	b, err := m.link.fixed(ctx, 16, ReadSysPara)
	if err != nil {
		return err
	}
	be := binary.BigEndian
	i := &m.info
	i.SystemID, i.Capacity, i.Level = be.Uint16(b[2:]), int(be.Uint16(b[4:])), int(be.Uint16(b[6:]))
	code := be.Uint16(b[12:])
	if code > 3 || i.Capacity == 0 {
		return fmt.Errorf("sensor: %s: packet size code %d, library of %d: %w", m.info.Port, code, i.Capacity, ErrProtocol)
	}
	i.PacketSize = 32 << code
	i.Family = fmt.Sprintf("zfm-%d", i.SystemID)
	i.Buffers = 2 // every family has two
	// ReadProdInfo is the R503's; the others answer with a code, or not at all.
	switch p, err := m.link.command(ctx, probeTimeout, ReadProdInfo); {
	case err == nil && len(p) == 46:
		i.Family = strings.ToLower(cString(p[0:16]))
		i.Serial = cString(p[20:28])
		i.Width, i.Height = int(be.Uint16(p[38:])), int(be.Uint16(p[40:]))
		i.Buffers = 6
	case ctx.Err() != nil:
		return err
	}
	return nil
}

// cString reads a padded field; what is not printable is left out, since it
// ends up on screens.
func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b)))
}

// Info tells what module this is.
func (m *Module) Info() Info { return m.info }

// Stats of the link since it was opened.
func (m *Module) Stats() Stats { return m.link.snapshot() }

// Close lets go of the port. An instruction under way ends with ErrGone.
func (m *Module) Close() error {
	m.closed.Do(func() {
		if m.port != nil {
			m.err = m.port.Close()
		}
	})
	return m.err
}

// take waits for the wire.
func (m *Module) take(ctx context.Context) (release func(), err error) {
	select {
	case <-m.turn:
		return func() { m.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("sensor: %s is busy: %w", m.info.Port, ctx.Err())
	}
}

// HandShake asks the module whether it is there. It works on every family,
// because it verifies the password, which all have.
func (m *Module) HandShake(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	return m.link.verify(ctx, answerTimeout)
}

// Scan waits for a finger, takes its picture (GenImg) and extracts its
// features into the module's first buffer (Img2Tz). It waits until the context
// ends, which is a *RetryError with HintNoFinger when only a finger was
// missing. A picture that is no good is a *RetryError as well.
func (m *Module) Scan(ctx context.Context) (Print, error) {
	release, err := m.take(ctx)
	if err != nil {
		return Print{}, err
	}
	defer release()
	return m.scan(ctx, 1)
}

func (m *Module) scan(ctx context.Context, buffer byte) (Print, error) {
	m.scans++ // whatever comes of it, older prints are stale
	for poll := pollFirst; ; poll = min(2*poll, pollMost) {
		_, err := m.link.command(ctx, answerTimeout, GenImg)
		if err == nil {
			break
		}
		err = retry(err)
		if r := (*RetryError)(nil); !errors.As(err, &r) || r.Hint != HintNoFinger {
			return Print{}, waited(ctx, err)
		}
		if err := sleep(ctx, poll); err != nil {
			return Print{}, waited(ctx, err)
		}
	}
	if _, err := m.link.command(ctx, answerTimeout, Img2Tz, buffer); err != nil {
		return Print{}, waited(ctx, retry(err))
	}
	return Print{serial: m.scans}, nil
}

// waited makes a time that ran out while waiting for a finger the person's
// business, and leaves a cancellation what it is.
func waited(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return &RetryError{Hint: HintNoFinger, Cause: err}
	}
	return err
}

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

// waitLifted returns when no finger is on the sensor.
func (m *Module) waitLifted(ctx context.Context) error {
	for {
		_, err := m.link.command(ctx, answerTimeout, GenImg)
		e := (*CodeError)(nil)
		if errors.As(err, &e) && e.Code == NoFinger {
			return nil
		}
		if err != nil && !errors.As(err, &e) {
			return err
		}
		if err := sleep(ctx, pollFirst); err != nil {
			return err
		}
	}
}

// Match compares the scan with a template of this module (DownChar, Match) and
// returns the module's score, 0 for no match. Nothing is stored in the module
// beyond its buffer. ErrStale: there was another scan since.
func (m *Module) Match(ctx context.Context, probe Print, template []byte) (float64, error) {
	if err := checkTemplate(template); err != nil {
		return 0, err
	}
	release, err := m.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if probe.serial == 0 || probe.serial != m.scans {
		return 0, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	if err := m.putTemplate(ctx, 2, template); err != nil {
		return 0, err
	}
	b, err := m.link.fixed(ctx, 2, Match)
	e := (*CodeError)(nil)
	if errors.As(err, &e) && e.Code == PacketError {
		// Optical units send a spurious 01 here, and then the answer.
		b, err = m.link.answer(ctx, spuriousWait, Match)
		if err == nil && len(b) != 2 {
			err = fmt.Errorf("sensor: %s: Match was answered with %d bytes: %w", m.info.Port, len(b), ErrProtocol)
		}
	}
	if errors.As(err, &e) && e.Code == NoMatch {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return float64(binary.BigEndian.Uint16(b)), nil
}

// FMR is the false match rate that a score of Match stands for: the vendor's
// claim for the module's security level where it matched, 1 where it did not.
func (m *Module) FMR(score float64) float64 {
	if !(score > 0) || math.IsInf(score, 0) { // NaN refuses
		return 1
	}
	return claimedFMR
}

func checkTemplate(t []byte) error {
	if len(t) < leastTemplate || len(t) > maxTemplate {
		return fmt.Errorf("sensor: %d bytes, %d to %d are possible: %w", len(t), leastTemplate, maxTemplate, ErrTemplate)
	}
	for _, blank := range []byte{0x00, 0xFF} { // what erased flash and a dead line deliver
		if bytes.Count(t, []byte{blank}) == len(t) {
			return fmt.Errorf("sensor: every byte is %02X: %w", blank, ErrTemplate)
		}
	}
	return nil
}

// putTemplate loads a template into a buffer of the module (DownChar).
func (m *Module) putTemplate(ctx context.Context, buffer byte, template []byte) error {
	if _, err := m.link.command(ctx, answerTimeout, DownChar, buffer); err != nil {
		return err
	}
	return m.link.upload(template, m.info.PacketSize)
}

// EnrolStep tells how far an enrolment is.
type EnrolStep struct {
	Done, Of int  // captures
	Hint     Hint // what the person should do now, empty when nothing
}

// Enrol takes the captures of one finger, with the finger lifted in between,
// merges them (RegModel) and returns the template (UpChar). captures is bounded
// by the module's buffers; 0 means as many as it merges. A capture that did not
// come out is asked for again until the context ends. progress may be nil.
//
// A *RetryError with HintSame means that the captures do not belong together.
func (m *Module) Enrol(ctx context.Context, captures int, progress func(EnrolStep)) ([]byte, error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if progress == nil {
		progress = func(EnrolStep) {}
	}
	if captures <= 0 || captures > m.info.Buffers {
		captures = m.info.Buffers
	}
	for done := 0; done < captures; {
		progress(EnrolStep{Done: done, Of: captures, Hint: HintNoFinger})
		_, err := m.scan(ctx, byte(done+1))
		if r := (*RetryError)(nil); errors.As(err, &r) && ctx.Err() == nil {
			progress(EnrolStep{Done: done, Of: captures, Hint: r.Hint})
		} else if err != nil {
			return nil, err
		} else {
			done++
		}
		progress(EnrolStep{Done: done, Of: captures, Hint: HintLift})
		if err := m.waitLifted(ctx); err != nil {
			return nil, waited(ctx, err)
		}
	}
	if _, err := m.link.command(ctx, answerTimeout, RegModel); err != nil {
		return nil, retry(err)
	}
	if _, err := m.link.command(ctx, answerTimeout, UpChar, 1); err != nil {
		return nil, err
	}
	template, err := m.link.download(ctx, UpChar, maxTemplate)
	if err != nil {
		return nil, err
	}
	if err := checkTemplate(template); err != nil {
		clear(template)
		return nil, err
	}
	progress(EnrolStep{Done: captures, Of: captures})
	return template, nil
}

// TemplateCount is how many templates rest in the module's library
// (TempleteNum). faceprint keeps none there.
func (m *Module) TemplateCount(ctx context.Context) (int, error) {
	release, err := m.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	b, err := m.link.fixed(ctx, 2, TempleteNum)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(b)), nil
}

// EmptyLibrary removes every template that rests in the module (Empty).
func (m *Module) EmptyLibrary(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	_, err = m.link.command(ctx, answerTimeout, Empty)
	return err
}

// Family names the kind of module. Templates of one family mean nothing to
// another.
func (m *Module) Family() string { return m.info.Family }
