package sensor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

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
	Width      int    `json:"width"`       // pixels of the sensor, 0 where it was neither said nor seen yet
	Height     int    `json:"height"`
	Buffers    int    `json:"buffers"`             // char buffers: how many captures an enrolment merges at most
	Template   int    `json:"template"`            // bytes of a template, 0 where it was neither said nor seen yet
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

// readParameters is ReadSysPara (manual p. 13): status, system id, library
// size, security level, address, packet size code, baud/9600, two bytes each
// but for the address.
func (m *Module) readParameters(ctx context.Context) error {
	b, err := m.link.command(ctx, ReadSysPara)
	if err != nil {
		return err
	}
	m.learn(func(i *Info) { err = i.parameters(b) })
	return err
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

// product reads the 46 bytes of ReadProdInfo (manual p. 26): model 16, batch 4,
// serial 8, hardware 2, sensor 8, width 2, height 2, template size 2,
// templates 2.
func (i *Info) product(b []byte) {
	be := binary.BigEndian
	if name := strings.ToLower(cString(b[0:16])); name != "" {
		i.Family = name
	}
	i.Serial = cString(b[20:28])
	i.Hardware = fmt.Sprintf("%s %d.%d %s", cString(b[16:20]), b[28], b[29], cString(b[30:38]))
	i.Width, i.Height = int(be.Uint16(b[38:])), int(be.Uint16(b[40:]))
	i.Template = int(be.Uint16(b[42:]))
}

// Model is the family for people to read. The optical units have one system id and no
// name; neither their slots (some have 162, 256 or 1000, by the batch) nor what they
// answer tells which it is.
func (i Info) Model() string {
	if !i.stated() && i.SystemID == opticalID {
		return fmt.Sprintf("%s (an R30x, AS608 or FPM10A, which do not say which; %d slots)", i.Family, i.Capacity)
	}
	return i.Family
}

// Room is how many slots of the library are used: those that ReadIndexTable tells of.
func (i Info) Room() int { return min(i.Capacity, indexPages*indexSlots) }

// stated tells whether the module knows ReadProdInfo.
func (i Info) stated() bool { return i.Hardware != "" }

// countBuffers asks how many buffers a module has, which none says, by loading a slot
// into each (LoadChar, manual p. 20): 0B where there is no such buffer, 0C where there
// is one and the slot is empty. Nothing was scanned yet that it could spend. Another
// answer, or none to the repetition either, says nothing: those that say what they are
// have six by their manual.
func (m *Module) countBuffers(ctx context.Context) (int, error) {
	for n := leastBuffers + 1; n <= mostBuffers; n++ {
		_, err := m.link.command(ctx, LoadChar, byte(n), 0, 0)
		switch {
		case err == nil, isCode(err, TemplateRead):
		case isCode(err, BadID):
			return n - 1, nil
		case m.info.stated() && ctx.Err() == nil && (errors.As(err, new(*CodeError)) || errors.Is(err, ErrTimeout)):
			return mostBuffers, nil
		case errors.As(err, new(*CodeError)):
			return n - 1, nil
		default:
			return 0, err
		}
	}
	return mostBuffers, nil
}

// learn changes what is known of the module. Whoever calls it has the turn.
func (m *Module) learn(f func(*Info)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.info)
}

// seen takes over what a module that does not say it was seen to have.
func (i *Info) seen(of Info) {
	if i.stated() {
		return
	}
	if i.Width == 0 {
		i.Width, i.Height = of.Width, of.Height
	}
	if i.Template == 0 {
		i.Template = of.Template
	}
}

// Recall takes over what the same module was found to have when it was opened
// before, and does not say itself: its window and the size of its templates.
func (m *Module) Recall(ctx context.Context, known Info) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.learn(func(i *Info) { i.seen(known) })
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

// Differs names the first thing in which a module is not the one that was
// known, "" where there is none. The rate and the port may change, and what a module
// does not say of itself is compared only where it was seen both times.
func (i Info) Differs(known Info) string {
	if !i.stated() && !known.stated() {
		i.seen(known)
		known.seen(i)
	}
	for _, f := range []struct {
		name     string
		was, now any
	}{
		{"family", known.Family, i.Family},
		{"serial number", known.Serial, i.Serial},
		{"system id", known.SystemID, i.SystemID},
		{"library size", known.Capacity, i.Capacity},
		{"security level", known.Level, i.Level},
		{"window", [2]int{known.Width, known.Height}, [2]int{i.Width, i.Height}},
		{"template size", known.Template, i.Template},
		{"hardware", known.Hardware, i.Hardware},
		{"algorithm", known.Algorithm, i.Algorithm},
		{"firmware", known.Firmware, i.Firmware},
	} {
		if f.was != f.now {
			return fmt.Sprintf("%s was %v, is %v", f.name, f.was, f.now)
		}
	}
	return ""
}
