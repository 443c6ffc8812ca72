package sensor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	// Raise sets the module to the fastest rate that works without a fault, and
	// back where it does not. The module keeps it in flash.
	Raise bool
	Rates *Rates // what was learnt of its rates by the openings before, nil for nothing
	// Coverage reads a picture after each capture of an enrolment and tells how
	// much of the finger was seen.
	Coverage bool
	Doubts   *Doubts // of the openings before, nil for none
	Power    Power   // cuts the module's power, nil where nothing does
	Wake     Wake    // the module's wake line, nil where it is not wired
}

// Power is the module's supply. Cycle cuts it for as long as the module needs to
// forget everything, and gives it back.
type Power interface {
	Cycle(context.Context) error
}

// Wake is the line by which a module says that it is touched.
type Wake interface {
	// Touched tells whether a finger is there now.
	Touched() bool
	// Wait returns when that changed, when d is over, or soon after the context
	// ends.
	Wait(ctx context.Context, d time.Duration)
}

// Open finds the module on the port and introduces itself: it tries the baud
// rates, waits for the ready byte, verifies the password and reads the
// parameters. It returns ErrNoModule where nothing answers like a module,
// ErrPassword where it wants another password.
func Open(ctx context.Context, c Config) (*Module, error) {
	m, err := find(ctx, c)
	if err != nil || !c.Raise {
		return m, err
	}
	return m.settle(ctx, c)
}

// find looks for the module at every rate. One that hangs answers at none: where
// its power can be cut, that is done once. It helps nobody where the port is busy,
// something else speaks there or the module has another address.
func find(ctx context.Context, c Config) (*Module, error) {
	m, hung, err := search(ctx, c)
	if c.Power == nil || !hung || ctx.Err() != nil {
		return m, err
	}
	if e := c.Power.Cycle(ctx); e != nil {
		return nil, errors.Join(err, fmt.Errorf("sensor: %s: %w", c.Port, e))
	}
	m, _, err = search(ctx, c)
	return m, err
}

// search is find without the power. hung: a module may be there that it would wake.
func search(ctx context.Context, c Config) (m *Module, hung bool, err error) {
	try := bauds
	if c.Baud != 0 {
		try = []int{c.Baud}
	}
	var failed []attempt
	for _, baud := range try {
		m, err := openAt(ctx, c, baud)
		if err == nil {
			return m, false, nil
		}
		if e := (*portError)(nil); errors.As(err, &e) {
			return nil, false, fmt.Errorf("sensor: %w", e.error)
		}
		if e := (*AddressError)(nil); ctx.Err() != nil || errors.Is(err, ErrPassword) || errors.As(err, &e) {
			return nil, false, err
		}
		failed = append(failed, attempt{baud, err})
	}
	if e := shared(c.Port); e != nil {
		return nil, false, fmt.Errorf("sensor: %w; stop it and try again: %w: %w", e, ErrNoModule, together(failed))
	}
	// Where one rate was answered by a module, the others say nothing.
	heard := slices.DeleteFunc(slices.Clone(failed), func(a attempt) bool { return !errors.As(a.err, new(*unfit)) })
	if len(heard) > 0 {
		return nil, true, &StrangerError{
			Port: c.Port, What: fmt.Sprintf("a fingerprint module answers at %d baud and cannot be used: %v", heard[0].baud, heard[0].err),
			Cure: "cut its power; where that does not help, try a shorter cable, then another module", err: heard[0].err,
		}
	}
	err = together(failed)
	if s := (*stranger)(nil); errors.As(err, &s) {
		return nil, false, &StrangerError{Port: c.Port, What: "no fingerprint module: " + s.what, Cure: s.cure, err: err}
	}
	rate := ""
	if c.Baud != 0 {
		rate = fmt.Sprintf("that its rate is %d baud (without one all are tried), ", c.Baud)
	}
	return nil, true, fmt.Errorf("sensor: %s: %w; check %spower, TX and RX (they cross), and that no console uses the port: %w", c.Port, ErrNoModule, rate, err)
}

// shared says who else has a port open that did not answer properly, nil where
// nobody is seen.
func shared(name string) error {
	port, err := uartreg.Open(name)
	if err != nil {
		return nil // it could be opened a moment ago: what failed then is the news
	}
	err = sharedBy(port)
	_ = port.Close()
	return err
}

// StrangerError is an ErrNoModule whose cause was heard: something else speaks on
// the port, or a module that is of no use.
type StrangerError struct {
	Port       string
	What, Cure string
	err        error
}

func (e *StrangerError) Error() string {
	return "sensor: " + e.Port + ": " + e.What + "; " + e.Cure
}

func (e *StrangerError) Unwrap() error { return e.err }

func (e *StrangerError) Is(target error) bool { return target == ErrNoModule }

// stranger is what was heard at one rate, and is no module.
type stranger struct {
	what, cure string
	error
}

func (s *stranger) Error() string { return s.error.Error() + ": " + s.what + "; " + s.cure }

func (s *stranger) Unwrap() error { return s.error }

// unfit is what came of a module that had its password verified.
type unfit struct{ error }

func (u *unfit) Unwrap() error { return u.error }

// attempt is how a rate failed.
type attempt struct {
	baud int
	err  error
}

// together says what failed alike once, with the rates at which it did.
func together(failed []attempt) error {
	var errs []error
	for len(failed) > 0 {
		first := failed[0]
		var rates []string
		failed = slices.DeleteFunc(failed, func(a attempt) bool {
			same := a.err.Error() == first.err.Error()
			if same {
				rates = append(rates, strconv.Itoa(a.baud))
			}
			return same
		})
		errs = append(errs, fmt.Errorf("at %s baud: %w", strings.Join(rates, ", "), first.err))
	}
	return errors.Join(errs...)
}

// portError is a port that cannot be opened, at whatever rate.
type portError struct{ error }

func openAt(ctx context.Context, c Config, baud int) (*Module, error) {
	c.Baud = baud
	port, line, err := openLine(c)
	if err != nil {
		return nil, err
	}
	m, err := New(ctx, line, c)
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	m.port = port
	return m, nil
}

// openLine opens the port at the rate.
func openLine(c Config) (uart.PortCloser, Line, error) {
	port, err := uartreg.Open(c.Port)
	if err != nil {
		return nil, nil, &portError{err}
	}
	conn, err := port.Connect(physic.Frequency(c.Baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sensor: %w", err), port.Close())
	}
	line, ok := conn.(Line)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("sensor: port %s reads without deadlines; use one of sensor/tty", port), port.Close())
	}
	return port, line, nil
}

// New introduces itself to a module on a line that is open already, at the
// rate Baud where that is not 0. Close does not close the line.
func New(ctx context.Context, line Line, c Config) (*Module, error) {
	if c.Port == "" {
		c.Port = "line"
	}
	m := &Module{
		turn:   make(chan struct{}, 1),
		loaded: true, // whoever had the module before may have left somebody's
		link:   newLink(line, c),
	}
	m.info.Port, m.info.Baud, m.wake = c.Port, c.Baud, c.Wake
	m.coverage = c.Coverage
	if m.guard.doubts = c.Doubts; c.Doubts == nil {
		m.guard.doubts = new(Doubts)
	}
	if err := m.introduce(ctx); err != nil {
		return nil, err
	}
	m.link.open = true
	m.turn <- struct{}{}
	return m, nil
}

// newLink is one of which nothing is known yet.
func newLink(line Line, c Config) *link {
	return &link{line: line, name: c.Port, address: cmp.Or(c.Address, DefaultAddress), password: c.Password, baud: c.Baud, dirty: true}
}

// introduce verifies the password and reads what the module is. A module that
// was just powered does not answer yet, so silence is waited out once.
func (m *Module) introduce(ctx context.Context) error {
	err := m.link.verify(ctx, probeTimeout)
	if damaged(err) {
		err = m.link.verify(ctx, startUp)
	}
	if err != nil {
		if m.link.foreign != nil && damaged(err) {
			return &AddressError{m.link.name, *m.link.foreign}
		}
		if errors.Is(err, errEarly) {
			return &stranger{"what answers is on no line of that rate", "name the module's own port; behind a USB bridge of its own, give the rate that it really has (finger.baud)", err}
		}
		if what, cure := m.link.meter.chatter(); what != "" && damaged(err) {
			if cure != "" {
				return &stranger{what, cure, err}
			}
			return fmt.Errorf("%w, %s", err, what)
		}
		return err
	}
	m.link.known = true
	return m.identify(ctx)
}

// identify reads what a module is that had its password verified: from what it says
// (ReadSysPara, ReadProdInfo), from its system id, and from what it has.
func (m *Module) identify(ctx context.Context) (err error) {
	if err := m.readParameters(ctx); err != nil {
		return m.unfit(ctx, ReadSysPara, err)
	}
	i := &m.info // of which nobody knows yet
	i.Family = fmt.Sprintf("zfm-%d", i.SystemID)
	i.Buffers, i.Lamp = leastBuffers, LampNone // what every family has
	if b, has, err := m.probe(ctx, ReadProdInfo); err != nil {
		return m.unfit(ctx, ReadProdInfo, err)
	} else if has {
		i.product(b)
		// Pictures of that size are drawn for it: 65535x65535 would take the daemon's memory.
		if w, h := i.Width, i.Height; w > maxSide || h > maxSide || w*h/2 > maxPicture {
			return m.unfit(ctx, ReadProdInfo, fmt.Errorf("sensor: %s: it states a window of %dx%d pixels, of which no module has so many: %w", m.link.name, w, h, ErrProtocol))
		}
	}
	if i.stated() || i.SystemID != opticalID {
		for _, v := range []struct {
			Instruction
			text *string
			has  *bool
		}{
			{GetAlgVer, &i.Algorithm, nil},
			{GetFwVer, &i.Firmware, nil},
			{HandShake, nil, &m.handShake},
			{GetImageEx, nil, &m.imageEx},
		} {
			b, has, err := m.probe(ctx, v.Instruction)
			if err != nil {
				return m.unfit(ctx, v.Instruction, err)
			}
			if v.text != nil {
				*v.text = cString(b)
			} else {
				*v.has = has
			}
		}
	}
	m.modern = i.stated() || m.handShake
	if i.stated() || i.SystemID != opticalID {
		n, err := m.countBuffers(ctx)
		if err != nil {
			return m.unfit(ctx, LoadChar, err)
		}
		i.Buffers = n
	}
	if _, m.readIndex, err = m.probe(ctx, ReadIndex, 0); err != nil {
		return m.unfit(ctx, ReadIndex, err)
	}
	if err := m.findLamp(ctx); err != nil {
		return m.unfit(ctx, AuraLedConfig, err)
	}
	return nil
}

// unfit says at what a module failed that had its password verified. A line that
// went, and whoever does not wait any more, say nothing about it.
func (m *Module) unfit(ctx context.Context, at Instruction, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrGone) {
		return err
	}
	if what := at.String() + ": "; !strings.HasPrefix(err.Error(), what) { // the link may have named it
		err = fmt.Errorf("%s%w", what, err)
	}
	if m.info.Baud > 0 {
		err = fmt.Errorf("at %d baud: %w", m.info.Baud, err)
	}
	return &unfit{err}
}

// Reintroduce asks the module anew what it is. What a wire damaged twice in a row
// while it was opened would make another module of it. Nobody else uses it yet.
func (m *Module) Reintroduce(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.learn(func(i *Info) { *i = Info{Port: i.Port, Baud: i.Baud} })
	m.handShake, m.imageEx, m.modern, m.readIndex = false, false, false, false
	return m.introduce(ctx)
}

// probe asks for something that a module may not have: has is false where it
// says so or says nothing. That there is no finger is no such answer.
func (m *Module) probe(ctx context.Context, i Instruction, params ...byte) (b []byte, has bool, err error) {
	for try := range 2 {
		b, err = m.link.once(ctx, probeTimeout, i, params)
		e := (*CodeError)(nil)
		switch {
		case err == nil:
			return b, true, nil
		case over(ctx) != nil, errors.Is(err, ErrGone):
			return nil, false, err
		case isCode(err, VerifyFirst): // it was reset since it was verified
			m.link.resets++
			if err := m.link.verify(ctx, answerTimeout); err != nil {
				return nil, false, err
			}
		case isCode(err, PacketError) && try == 0: // damaged on the way there, or unknown to it
		case errors.As(err, &e):
			_, hint := retry(err).(*RetryError)
			return nil, hint, nil
		}
		// Damaged or lost on the wire: that says nothing about what the module has.
	}
	if errors.Is(err, ErrTimeout) { // twice: it answers nothing to what it has not got
		return nil, false, nil
	}
	return nil, false, err
}
