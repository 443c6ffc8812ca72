package sensor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
	// Raise sets the module to the fastest rate that works without a fault, and
	// back where it does not. The module keeps it in flash.
	Raise bool
}

// Info is what a module says about itself.
type Info struct {
	Port       string `json:"port"`
	Baud       int    `json:"baud"`
	Family     string `json:"family"`           // model from ReadProdInfo, else zfm-<system id>
	Serial     string `json:"serial,omitempty"` // empty where the module has none
	SystemID   uint16 `json:"system_id"`
	Capacity   int    `json:"capacity"`    // templates in its library
	Level      int    `json:"level"`       // security level, 1 to 5
	PacketSize int    `json:"packet_size"` // bytes of data in a packet: 32, 64, 128 or 256
	BaudSet    int    `json:"baud_set"`    // the rate of its next power-up
	Width      int    `json:"width"`       // pixels of the sensor, 0 where unknown
	Height     int    `json:"height"`
	Buffers    int    `json:"buffers"`             // char buffers: how many captures an enrolment merges at most
	Template   int    `json:"template"`            // bytes of a template, 0 where unknown
	Hardware   string `json:"hardware,omitempty"`  // batch, version and sensor
	Algorithm  string `json:"algorithm,omitempty"` // GetAlgVer
	Firmware   string `json:"firmware,omitempty"`  // GetFwVer
	Lamp       string `json:"lamp"`                // aura, light or none
}

// Kinds of lamps.
const (
	LampNone  = "none"
	LampAura  = "aura"  // a ring of colours
	LampLight = "light" // on or off
)

// Module is an open fingerprint module. Its methods may be called
// concurrently; they take turns on the wire.
type Module struct {
	port  uart.PortCloser // nil where the line was given
	turn  chan struct{}   // holds a token while the wire is free
	link  *link
	info  Info
	scans uint64 // guarded by turn
	guard guard
	lamp  lamp

	library map[int]hash // what Identify stored, by slot; guarded by turn

	// loaded tells what lies in the second buffer: only where it is a decoy,
	// or nothing, may a template go there first. Guarded by turn.
	loaded bool

	closed sync.Once
	err    error
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

func find(ctx context.Context, c Config) (*Module, error) {
	try := bauds
	if c.Baud != 0 {
		try = []int{c.Baud}
	}
	var errs []error
	for _, baud := range try {
		m, err := openAt(ctx, c, baud)
		if err == nil {
			return m, nil
		}
		if e := (*portError)(nil); errors.As(err, &e) {
			return nil, fmt.Errorf("sensor: %w", e.error)
		}
		if ctx.Err() != nil || errors.Is(err, ErrPassword) {
			return nil, err
		}
		errs = append(errs, fmt.Errorf("at %d baud: %w", baud, err))
	}
	return nil, fmt.Errorf("sensor: %s: %w; check power, TX and RX (they cross), and that no console uses the port: %w", c.Port, ErrNoModule, errors.Join(errs...))
}

// portError is a port that cannot be opened, at whatever rate.
type portError struct{ error }

func openAt(ctx context.Context, c Config, baud int) (*Module, error) {
	port, err := uartreg.Open(c.Port)
	if err != nil {
		return nil, &portError{err}
	}
	m, err := connect(ctx, port, c, baud)
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	return m, nil
}

func connect(ctx context.Context, port uart.PortCloser, c Config, baud int) (*Module, error) {
	conn, err := port.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		return nil, fmt.Errorf("sensor: %w", err)
	}
	line, ok := conn.(Line)
	if !ok {
		return nil, fmt.Errorf("sensor: port %s reads without deadlines; use one of sensor/tty", port)
	}
	c.Baud = baud
	m, err := New(ctx, line, c)
	if err != nil {
		return nil, err
	}
	m.port = port
	return m, nil
}

// New introduces itself to a module on a line that is open already, at the
// rate Baud where that is not 0. Close does not close the line.
func New(ctx context.Context, line Line, c Config) (*Module, error) {
	if c.Address == 0 {
		c.Address = DefaultAddress
	}
	if c.Port == "" {
		c.Port = "line"
	}
	m := &Module{
		turn: make(chan struct{}, 1),
		link: &link{line: line, name: c.Port, address: c.Address, password: c.Password, baud: c.Baud, dirty: true},
	}
	m.info.Port, m.info.Baud = c.Port, c.Baud
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
	if damaged(err) {
		err = m.link.verify(ctx, startUp)
	}
	if err != nil {
		if noise := m.link.meter.chatter(); noise != "" && damaged(err) {
			return fmt.Errorf("%w%s", err, noise)
		}
		return err
	}
	m.link.known = true
	if err := m.readParameters(ctx); err != nil {
		return err
	}
	i := &m.info
	i.Family = fmt.Sprintf("zfm-%d", i.SystemID)
	i.Buffers, i.Lamp = 2, LampNone // what every family has
	if b, has, err := m.probe(ctx, ReadProdInfo); err != nil {
		return err
	} else if has {
		i.product(b)
	}
	if i.Serial != "" { // the generation without ReadProdInfo has neither
		for _, v := range []struct {
			text *string
			Instruction
		}{{&i.Algorithm, GetAlgVer}, {&i.Firmware, GetFwVer}} {
			b, _, err := m.probe(ctx, v.Instruction)
			if err != nil {
				return err
			}
			*v.text = cString(b)
		}
	}
	return m.findLamp(ctx)
}

// probe asks for something that a module may not have: has is false where it
// says so or says nothing.
func (m *Module) probe(ctx context.Context, i Instruction, params ...byte) (b []byte, has bool, err error) {
	for range 2 {
		b, err = m.link.once(ctx, probeTimeout, i, params)
		e := (*CodeError)(nil)
		switch {
		case err == nil:
			return b, true, nil
		case ctx.Err() != nil, errors.Is(err, ErrGone):
			return nil, false, err
		case errors.As(err, &e), errors.Is(err, ErrTimeout):
			return nil, false, nil
		}
		// Damaged on the wire: that says nothing about what the module has.
	}
	return nil, false, err
}

// readParameters is ReadSysPara (manual 5.3.1.4): status, system id, library
// size, security level, address, packet size code, baud/9600, two bytes each
// but for the address.
func (m *Module) readParameters(ctx context.Context) error {
	b, err := m.link.command(ctx, ReadSysPara)
	if err != nil {
		return err
	}
	return m.info.parameters(b)
}

func (i *Info) parameters(b []byte) error {
	be := binary.BigEndian
	i.SystemID, i.Capacity, i.Level = be.Uint16(b[2:]), int(be.Uint16(b[4:])), int(be.Uint16(b[6:]))
	i.BaudSet = 9600 * int(be.Uint16(b[14:]))
	code := be.Uint16(b[12:])
	if code > 3 || i.Capacity == 0 {
		return fmt.Errorf("sensor: %s: packet size code %d, library of %d: %w", i.Port, code, i.Capacity, ErrProtocol)
	}
	i.PacketSize = 32 << code
	return nil
}

// product reads the 46 bytes of ReadProdInfo (manual 5.3.4): model 16, batch 4,
// serial 8, hardware 2, sensor 8, width 2, height 2, template size 2,
// templates 2.
func (i *Info) product(b []byte) {
	be := binary.BigEndian
	i.Family = strings.ToLower(cString(b[0:16]))
	i.Serial = cString(b[20:28])
	i.Hardware = fmt.Sprintf("%s %d.%d %s", cString(b[16:20]), b[28], b[29], cString(b[30:38]))
	i.Width, i.Height = int(be.Uint16(b[38:])), int(be.Uint16(b[40:]))
	i.Template = int(be.Uint16(b[42:]))
	i.Buffers = 6
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

// settle raises the rate where that works: it is set, the module restarted
// where it can be told to, and then looked for at the new rate. One that takes
// a new rate at its next power-up only stays at the old one until then. A rate
// at which anything is damaged is taken back.
func (m *Module) settle(ctx context.Context, c Config) (*Module, error) {
	if m.info.Baud > settledBaud {
		if m.steady(ctx) == nil {
			return m, nil
		}
		return m.move(ctx, c, settledBaud)
	}
	if m.info.BaudSet == fastestBaud {
		return m, nil // from the next power-up on
	}
	before := m.info.Baud
	m, err := m.move(ctx, c, fastestBaud)
	if err != nil || m.info.Baud == before || m.steady(ctx) == nil {
		return m, err
	}
	return m.move(ctx, c, before)
}

// move sets another rate and looks for the module again.
func (m *Module) move(ctx context.Context, c Config, baud int) (*Module, error) {
	err := m.SetBaud(ctx, baud)
	if e := (*CodeError)(nil); errors.As(err, &e) {
		return m, nil // it does not do that rate
	}
	if err == nil && m.info.Serial != "" {
		err = m.Reset(ctx)
	}
	if err := errors.Join(err, m.Close()); err != nil {
		return nil, err
	}
	c.Baud = baud
	if moved, err := find(ctx, c); err == nil || ctx.Err() != nil {
		return moved, err
	}
	c.Baud = 0
	return find(ctx, c)
}

// steady is nil where a stretch of talk went without any damage.
func (m *Module) steady(ctx context.Context) error {
	before := m.Stats()
	for range steadyTalks {
		if err := m.HandShake(ctx); err != nil {
			return err
		}
	}
	if _, err := m.InfoPage(ctx); err != nil {
		return err
	}
	if after := m.Stats(); after.BadSums != before.BadSums || after.Skipped != before.Skipped || after.Timeouts != before.Timeouts || after.Repeats != before.Repeats {
		return fmt.Errorf("sensor: %s: at %d baud bytes are damaged: %w", m.info.Port, m.info.Baud, ErrSum)
	}
	return nil
}

// Info tells what module this is.
func (m *Module) Info() Info { return m.info }

// Family names the kind of module. Templates of one family mean nothing to
// another.
func (m *Module) Family() string { return m.info.Family }

// Stats of the link since it was opened.
func (m *Module) Stats() Stats { return m.link.meter.snapshot() }

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
	_, err = m.link.command(ctx, VfyPwd, word(m.link.password)...)
	if isCode(err, WrongPassword) {
		return fmt.Errorf("sensor: %s: %w", m.info.Port, ErrPassword)
	}
	return err
}

func word(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

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
