package sensor

import (
	"context"
	"fmt"
	"time"
)

// Lamp is what the light on the module tells the person.
type Lamp uint8

// What a lamp tells. Colours are those that every R503 has: green and yellow
// came later. What lasts is a steady light or none, and what flashes ends by
// itself: an instruction that comes into an animation upsets some units, and one
// that never ends could only be disturbed.
const (
	LampOff     Lamp = iota
	LampReady        // blue; a plain light is off
	LampWorking      // purple; a plain light is on
	LampYes          // blue, four flashes
	LampNo           // red, two flashes
	LampLocked       // red
	LampFault        // purple, three flashes, then dark; a plain light is off
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

// lasts is how long an animation runs, 0 for a steady light.
func (a aura) lasts() time.Duration {
	if a[0] != auraFlash {
		return 0
	}
	return 10 * time.Millisecond * time.Duration(a[1]) * time.Duration(a[3])
}

// lamp is guarded by turn.
type lamp struct {
	is   Lamp
	at   time.Time // when it was set
	busy time.Time // until when an animation runs
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
func (m *Module) Show(ctx context.Context, l Lamp) error {
	a, ok := auras[l]
	if !ok {
		return fmt.Errorf("sensor: lamp %d: %w", l, ErrValue)
	}
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if l == m.lamp.is && a.lasts() == 0 && time.Since(m.lamp.at) < lampAgain {
		return nil
	}
	switch m.info.Lamp {
	case LampAura:
		_, err = m.link.command(ctx, AuraLedConfig, a[:]...)
		m.lamp.busy = time.Now().Add(a.lasts())
	case LampLight:
		i := LightOff
		if l == LampWorking {
			i = LightOn
		}
		_, err = m.link.command(ctx, i)
	}
	if err == nil {
		m.lamp.is, m.lamp.at = l, time.Now()
	}
	return err
}
