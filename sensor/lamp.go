package sensor

import (
	"context"
	"fmt"
	"time"
)

// Lamp is what the light on the module tells the person.
type Lamp uint8

// What a lamp tells. Colours are those that every R503 has: green and yellow
// came later.
const (
	LampOff     Lamp = iota
	LampReady        // breathing blue; a plain light is off
	LampWorking      // flashing blue; a plain light is on
	LampYes          // blue for long
	LampNo           // red, twice
	LampLocked       // red
	LampFault        // breathing purple
)

// Ways and colours of AuraLedConfig (manual 5.3.2.13).
const (
	auraBreathe, auraFlash, auraOn, auraOff = 1, 2, 3, 4
	auraRed, auraBlue, auraPurple           = 1, 2, 3
)

// aura is a setting: way, speed (10 ms a step), colour, times (0 = for ever).
type aura [4]byte

var auras = map[Lamp]aura{
	LampOff:     {auraOff, 0, auraBlue, 0},
	LampReady:   {auraBreathe, 100, auraBlue, 0},
	LampWorking: {auraFlash, 25, auraBlue, 0},
	LampYes:     {auraOn, 0, auraBlue, 0},
	LampNo:      {auraFlash, 25, auraRed, 2},
	LampLocked:  {auraOn, 0, auraRed, 0},
	LampFault:   {auraBreathe, 150, auraPurple, 0},
}

// lasts is how long an animation runs that ends by itself.
func (a aura) lasts() time.Duration {
	if a[0] != auraBreathe && a[0] != auraFlash {
		return 0
	}
	return 10 * time.Millisecond * time.Duration(a[1]) * time.Duration(a[3])
}

type lamp struct {
	is   Lamp
	busy time.Time // until when an animation runs; guarded by turn
}

// findLamp learns which light the module has, by switching it off.
func (m *Module) findLamp(ctx context.Context) error {
	kind, off := LampLight, []byte{byte(LightOff)}
	if m.info.Serial != "" { // a plain light's instruction confuses ring units, and the other way round
		a := auras[LampOff]
		kind, off = LampAura, append([]byte{byte(AuraLedConfig)}, a[:]...)
	}
	_, has, err := m.probe(ctx, Instruction(off[0]), off[1:]...)
	if has {
		m.info.Lamp = kind
	}
	return err
}

// Show sets the lamp. Some units lose their mind when an instruction comes into
// a running animation, so one that ends by itself is waited for, without the
// wire. A module without a lamp shows nothing, which is no error.
func (m *Module) Show(ctx context.Context, l Lamp) error {
	a, ok := auras[l]
	if !ok {
		return fmt.Errorf("sensor: lamp %d: %w", l, ErrValue)
	}
	for {
		release, err := m.take(ctx)
		if err != nil {
			return err
		}
		wait := time.Until(m.lamp.busy)
		if wait <= 0 {
			defer release()
			break
		}
		release()
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	if l == m.lamp.is && a.lasts() == 0 {
		return nil
	}
	var err error
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
		m.lamp.is = l
	}
	return err
}
