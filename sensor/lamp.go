package sensor

import (
	"context"
	"fmt"
	"time"
)

// Lamp is what the light on the module tells the person.
type Lamp uint8

// What a lamp tells. Colours of a ring are those that every R503 has: green and
// yellow came later. What lasts is a steady light or none, and what flashes ends by
// itself: an instruction that comes into an animation upsets some units, and one
// that never ends could only be disturbed.
//
// A plain light has one colour and no animation. It is the light by which an optical
// unit sees, which goes on by itself while it looks; the driver flashes it by switching
// it, and lets others have the wire while it is on or off. Long flashes call for
// nobody's patience, short ones are a no.
const (
	LampOff     Lamp = iota
	LampReady        // blue; a plain light is off
	LampWorking      // purple; a plain light is on
	LampYes          // blue, four flashes; a plain light, one long one
	LampNo           // red, two flashes; a plain light, three short ones
	LampLocked       // red; a plain light, five short ones, then dark
	LampFault        // purple, three flashes, then dark; a plain light, two long ones
)

var lampNames = [...]string{LampOff: "off", LampReady: "ready", LampWorking: "working", LampYes: "yes", LampNo: "no", LampLocked: "locked", LampFault: "fault"}

func (l Lamp) String() string {
	if int(l) < len(lampNames) {
		return lampNames[l]
	}
	return "unknown"
}

// Ways and colours of AuraLedConfig (manual p. 27).
const (
	auraFlash, auraOn, auraOff    = 2, 3, 4
	auraRed, auraBlue, auraPurple = 1, 2, 3
)

// aura is a setting: way, speed (10 ms a step), colour, times (0 = for ever).
type aura [4]byte

var auras = map[Lamp]aura{
	LampOff:     {auraOff, 0, auraBlue, 0},
	LampReady:   {auraOn, 0, auraBlue, 0},
	LampWorking: {auraOn, 0, auraPurple, 0},
	LampYes:     {auraFlash, 25, auraBlue, 4},
	LampNo:      {auraFlash, 25, auraRed, 2},
	LampLocked:  {auraOn, 0, auraRed, 0},
	LampFault:   {auraFlash, 25, auraPurple, 3},
}

// light is what a plain one does: it is on or off, or it flashes and is off then.
type light struct {
	on      bool
	flashes int
	each    time.Duration // on, and as long off between two
}

var lights = map[Lamp]light{
	LampOff:     {},
	LampReady:   {},
	LampWorking: {on: true},
	LampYes:     {flashes: 1, each: longFlash},
	LampNo:      {flashes: 3, each: shortFlash},
	LampLocked:  {flashes: 5, each: shortFlash},
	LampFault:   {flashes: 2, each: longFlash},
}

// lasts is how long an animation runs, 0 for a steady light.
func (a aura) lasts() time.Duration {
	if a[0] != auraFlash {
		return 0
	}
	return 10 * time.Millisecond * time.Duration(a[1]) * time.Duration(a[3])
}

// lamp is guarded by turn.
type lamp struct {
	is    Lamp
	at    time.Time // when it was set
	busy  time.Time // until when an animation runs
	shows uint64    // how often it was set, to tell whether it was since
}

// findLamp learns which light the module has, by switching it off.
func (m *Module) findLamp(ctx context.Context) error {
	kind, off := LampLight, []byte{byte(LightOff)}
	if m.modern { // a plain light's instruction confuses ring units, and the other way round
		a := auras[LampOff]
		kind, off = LampAura, append([]byte{byte(AuraLedConfig)}, a[:]...)
	}
	_, has, err := m.probe(ctx, Instruction(off[0]), off[1:]...)
	if has {
		m.info.Lamp = kind
	}
	return err
}

// Show sets the lamp (AuraLedConfig, manual p. 27; LightOn and LightOff, 50 and 51,
// of optical units). A module without a lamp shows nothing, which is no error. A
// steady light is set again after a while: a module that was reset is dark, and one
// with the factory's password does not say so.
//
// It returns when a plain light has done its flashes, or when another Show came.
func (m *Module) Show(ctx context.Context, l Lamp) error {
	a, ok := auras[l]
	if !ok {
		return fmt.Errorf("sensor: lamp %d: %w", l, ErrValue)
	}
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	kind, steady := m.info.Lamp, a.lasts() == 0
	if kind == LampLight {
		steady = lights[l].flashes == 0
	}
	if l == m.lamp.is && steady && time.Since(m.lamp.at) < lampAgain {
		release()
		return nil
	}
	m.lamp.shows++
	if kind == LampLight {
		m.lamp.is, m.lamp.at = l, time.Time{} // until it is done
		shows := m.lamp.shows
		release()
		return m.shine(ctx, lights[l], shows)
	}
	defer release()
	if kind == LampAura {
		_, err = m.link.command(ctx, AuraLedConfig, a[:]...)
		m.lamp.busy = time.Now().Add(a.lasts())
	}
	if err == nil {
		m.lamp.is, m.lamp.at = l, time.Now()
	}
	return err
}

// shine does with a plain light what it shall, as long as no other Show came. The wire
// is free while the light is on or off.
func (m *Module) shine(ctx context.Context, l light, shows uint64) error {
	for n := l.flashes; ; n-- {
		if n > 0 {
			if ok, err := m.light(ctx, true, shows); !ok || err != nil {
				return err
			}
			if err := sleep(ctx, l.each); err != nil {
				return err
			}
		}
		if ok, err := m.light(ctx, l.on, shows); !ok || err != nil {
			return err
		}
		if n <= 1 {
			return nil
		}
		if err := sleep(ctx, l.each); err != nil {
			return err
		}
	}
}

// light switches a plain light. ok is false where another Show came since.
func (m *Module) light(ctx context.Context, on bool, shows uint64) (ok bool, err error) {
	release, err := m.take(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if m.lamp.shows != shows {
		return false, nil
	}
	i := LightOff
	if on {
		i = LightOn
	}
	_, err = m.link.command(ctx, i)
	if err == nil {
		m.lamp.at = time.Now()
	}
	return true, err
}
