package sensor

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// do carries out one instruction in its turn.
func (m *Module) do(ctx context.Context, i Instruction, params ...byte) ([]byte, error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return m.link.command(ctx, i, params...)
}

// set writes a system parameter (SetSysPara, manual p. 12) and reads them all
// again.
func (m *Module) set(ctx context.Context, register, value byte) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if _, err := m.link.command(ctx, SetSysPara, register, value); err != nil {
		return err
	}
	return m.readParameters(ctx)
}

// SetBaud sets the rate (SetSysPara, manual p. 12, register 4): a multiple of 9600
// up to 115200 baud; the R503 knows 1, 2, 4, 6 and 12 of them and answers 1B to
// others. By the manual it holds from the next
// power-up; some units change at once, and then the answer to what follows is
// lost. The module has to be opened again.
func (m *Module) SetBaud(ctx context.Context, baud int) error {
	if err := CheckBaud(baud); err != nil {
		return err
	}
	_, err := m.do(ctx, SetSysPara, 4, byte(baud/9600))
	return err
}

// CheckBaud refuses what SetBaud does not set: modules take 9600 to 115200 in steps
// of 9600, but who set a rate that no serial port here has would not find them again.
func CheckBaud(baud int) error {
	if !slices.Contains(bauds, baud) {
		return fmt.Errorf("sensor: %d baud is none of 9600, 19200, 38400, 57600 and 115200: %w", baud, ErrValue)
	}
	return nil
}

// SetLevel sets the security level (SetSysPara, manual p. 12, register 5), 1 to 5:
// higher refuses more. Codes 1A, 1B, 18.
func (m *Module) SetLevel(ctx context.Context, level int) error {
	if err := CheckLevel(level); err != nil {
		return err
	}
	return m.set(ctx, 5, byte(level))
}

// CheckLevel refuses what SetLevel cannot set.
func CheckLevel(level int) error {
	if level < 1 || level > 5 {
		return fmt.Errorf("sensor: security level %d is not 1 to 5: %w", level, ErrValue)
	}
	return nil
}

// SetPacketSize sets how many bytes of data a packet has (SetSysPara, manual p. 12,
// register 6): 32, 64, 128 or 256. Codes 1A, 1B, 18.
func (m *Module) SetPacketSize(ctx context.Context, size int) error {
	if err := CheckPacketSize(size); err != nil {
		return err
	}
	return m.set(ctx, 6, byte(bits.Len(uint(size/32))-1))
}

// CheckPacketSize refuses what SetPacketSize cannot set.
func CheckPacketSize(size int) error {
	switch size {
	case 32, 64, 128, 256:
		return nil
	}
	return fmt.Errorf("sensor: packets of %d bytes are none of 32, 64, 128, 256: %w", size, ErrValue)
}

// SetPassword changes the module's password (SetPwd, manual p. 11; code 18). It is in
// flash, cannot be read back, and there is no reset: whoever forgets it has
// lost the module. It is sent in clear, so it is no secret from a wire tap. Where
// the answer was lost, the new one is tried and then the old one; the error says
// which of them holds.
func (m *Module) SetPassword(ctx context.Context, password uint32) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	old := m.link.password
	_, lost := m.link.command(ctx, SetPwd, word(password)...)
	unsure := func(err error) error {
		return fmt.Errorf("sensor: %s: it is not known whether the password is 0x%08X now or still the old one; try both: %w", m.info.Port, password, err)
	}
	switch e := (*CodeError)(nil); {
	case errors.As(lost, &e):
		return lost
	case lost != nil && !damaged(lost): // it may have got there all the same
		return unsure(lost)
	}
	try := func(p uint32) error {
		m.link.password = p
		err := m.link.verify(ctx, answerTimeout)
		if damaged(err) {
			err = m.link.verify(ctx, answerTimeout)
		}
		return err
	}
	switch err = try(password); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return unsure(err)
	}
	if e := try(old); e != nil {
		m.link.password = password
		return fmt.Errorf("sensor: %s: neither the password 0x%08X is known to hold nor the old one; try both: %w", m.info.Port, password, errors.Join(lost, err, e))
	}
	return fmt.Errorf("sensor: %s: the old password still holds, not 0x%08X; try once more: %w", m.info.Port, password, cmp.Or(lost, err))
}

// SetAddress changes the module's address (SetAdder, manual p. 12; code 18). Which
// address its answer carries is not written: both are taken. Where the answer was
// lost, the module is looked for at the new address and then at the old one.
//
// 0 is ErrValue: in a Config it stands for DefaultAddress, so that nothing would
// reach the module again.
func (m *Module) SetAddress(ctx context.Context, address uint32) error {
	if address == 0 {
		return fmt.Errorf("sensor: %s: the address 0 stands for the factory's, 0x%08X, so that the module would not be found again: %w", m.info.Port, DefaultAddress, ErrValue)
	}
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	old := m.link.address
	m.link.also = &address
	_, err = m.link.command(ctx, SetAdder, word(address)...)
	m.link.also = nil
	if err != nil && !damaged(err) {
		return err
	}
	m.link.address = address
	if err = m.link.verify(ctx, answerTimeout); !damaged(err) {
		return err
	}
	m.link.address = old
	if e := m.link.verify(ctx, answerTimeout); e != nil {
		return fmt.Errorf("sensor: %s: the module answers neither at the address %#08X nor at the old one, %#08X; switch it off and on, then look for it at both: %w", m.info.Port, address, old, errors.Join(err, e))
	}
	return fmt.Errorf("sensor: %s: the module is still at the address %#08X; try once more: %w", m.info.Port, old, err)
}

// Reset restarts the module (SoftRst, manual p. 26; optical units have no such
// instruction). What its buffers held is lost.
func (m *Module) Reset(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if _, err := m.link.command(ctx, SoftRst); err != nil {
		return err
	}
	m.spend()
	m.link.resets++
	m.link.dirty = true // a 55 will come
	return sleep(ctx, restart)
}

// InfoPage reads the 512 bytes of the information page (ReadInfPage, manual p. 32;
// code 0F).
func (m *Module) InfoPage(ctx context.Context) ([]byte, error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return m.link.fetch(ctx, maxTemplate, anySize, ReadInfPage)
}

// Random asks for 32 random bits of the module (GetRandomCode, manual p. 32).
// Nothing is known about their quality: no key is made of them.
func (m *Module) Random(ctx context.Context) (uint32, error) {
	b, err := m.do(ctx, GetRandomCode)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// Note reads a page of the notepad (ReadNotepad, manual p. 33; code 1C): 0 to 15,
// of 32 bytes in flash.
func (m *Module) Note(ctx context.Context, page int) ([]byte, error) {
	if page < 0 || page > 15 {
		return nil, fmt.Errorf("sensor: notepad page %d is not 0 to 15: %w", page, ErrValue)
	}
	return m.do(ctx, ReadNotepad, byte(page))
}

// SetNote writes a page of the notepad, 0 to 15 (WriteNotepad, manual p. 33; codes
// 18, 1C).
func (m *Module) SetNote(ctx context.Context, page int, note [32]byte) error {
	if page < 0 || page > 15 {
		return fmt.Errorf("sensor: notepad page %d is not 0 to 15: %w", page, ErrValue)
	}
	_, err := m.do(ctx, WriteNotepad, append([]byte{byte(page)}, note[:]...)...)
	return err
}

// Check asks whether the sensor itself is sound (CheckSensor, manual p. 24); a
// broken one answers SensorFault (29).
func (m *Module) Check(ctx context.Context) error {
	_, err := m.do(ctx, CheckSensor)
	return err
}

// Echo is GetEcho (53), which no manual has: some libraries ask it whether a module
// is there, and it answers 55 in place of a code.
func (m *Module) Echo(ctx context.Context) error {
	_, err := m.do(ctx, GetEcho)
	return err
}

// TemplateCount is how many templates rest in the module's library
// (TempleteNum, manual p. 13).
func (m *Module) TemplateCount(ctx context.Context) (int, error) {
	b, err := m.do(ctx, TempleteNum)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(b)), nil
}

// Slots lists the slots of the library that hold a template, 0 to Capacity-1
// (ReadIndexTable, manual p. 14; code 0B).
func (m *Module) Slots(ctx context.Context) ([]int, error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return m.index(ctx)
}

func (m *Module) slot(n int) ([]byte, error) {
	if room := m.Info().Capacity; n < 0 || n >= room {
		return nil, fmt.Errorf("sensor: slot %d, the library has 0 to %d: %w", n, room-1, ErrTemplate)
	}
	return binary.BigEndian.AppendUint16(nil, uint16(n)), nil
}

// StoreTemplate puts a template of this module into a slot of its library
// (DownChar, Store, manual p. 19; codes 0B, 0E, 18, 35), 0 to Capacity-1.
func (m *Module) StoreTemplate(ctx context.Context, slot int, template []byte) error {
	at, err := m.slot(slot)
	if err == nil {
		err = CheckTemplate(template)
	}
	if err != nil {
		return err
	}
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.library.used, m.library.sure, m.loaded = true, false, true
	if err := m.put(ctx, 2, template); err != nil {
		return err
	}
	_, err = m.link.command(ctx, Store, append([]byte{2}, at...)...)
	return err
}

// LoadTemplate reads a slot of the library, 0 to Capacity-1 (LoadChar, UpChar,
// manual pp. 20, 18; codes 0B, 0C, 0D). It spends the scan.
func (m *Module) LoadTemplate(ctx context.Context, slot int) ([]byte, error) {
	if _, err := m.slot(slot); err != nil {
		return nil, err
	}
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return m.loadSlot(ctx, slot)
}

// DeleteTemplates empties n slots from the first on (DeletChar, manual p. 21; codes
// 10, 18).
func (m *Module) DeleteTemplates(ctx context.Context, first, n int) error {
	at, err := m.slot(first)
	if room := m.Info().Capacity; err != nil || n < 1 || first+n > room {
		return fmt.Errorf("sensor: %d slots from %d, the library has %d: %w", n, first, room, ErrTemplate)
	}
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.library.sure = false
	_, err = m.link.command(ctx, DeletChar, append(at, byte(n>>8), byte(n))...)
	return err
}

// EmptyLibrary removes every template that rests in the module (Empty, manual p.
// 21; codes 11, 18).
func (m *Module) EmptyLibrary(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	return m.emptyLibrary(ctx)
}

// Search compares the scan with the whole library (Search, manual p. 22, which
// every family has). found is false where nothing matched (09, 24): a real R503
// names some slot even then. ErrStale: there was another scan since.
func (m *Module) Search(ctx context.Context, probe Print) (slot int, score float64, found bool, err error) {
	return m.searchBy(ctx, Search, probe)
}

// HiSpeedSearch is Search by the instruction of that name, which optical units
// have (1B; others answer that they do not, FC, 19 or nothing). Identify does not
// use it: it ends at the first template that is like enough where Search finds the
// best, and users report slots that are off by one.
func (m *Module) HiSpeedSearch(ctx context.Context, probe Print) (slot int, score float64, found bool, err error) {
	return m.searchBy(ctx, HiSpeedSearch, probe)
}

func (m *Module) searchBy(ctx context.Context, by Instruction, probe Print) (slot int, score float64, found bool, err error) {
	release, err := m.take(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	defer release()
	if m.stale(probe) {
		return 0, 0, false, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	return m.searchLibrary(ctx, by, m.info.Capacity)
}

func (m *Module) searchLibrary(ctx context.Context, by Instruction, room int) (slot int, score float64, found bool, err error) {
	resets := m.link.resets
	b, err := m.link.command(ctx, by, 1, 0, 0, byte(room>>8), byte(room))
	m.used = time.Now()
	switch {
	case isCode(err, NotFound), isCode(err, LibraryEmpty):
		return 0, 0, false, nil
	case err != nil:
		return 0, 0, false, err
	case resets != m.link.resets:
		return 0, 0, false, fmt.Errorf("sensor: %s was reset meanwhile: %w", m.info.Port, ErrStale)
	}
	slot, score = int(binary.BigEndian.Uint16(b)), float64(binary.BigEndian.Uint16(b[2:]))
	if slot >= room {
		return 0, 0, false, fmt.Errorf("sensor: %s: slot %d of %d: %w", m.info.Port, slot, room, ErrProtocol)
	}
	return slot, score, score > 0, nil
}

// AutoStep is one report of AutoEnroll or AutoIdentify.
type AutoStep struct {
	Step  int // AutoEnroll: 1 to 15, AutoIdentify: 1 capture, 2 features, 3 search
	Slot  int
	Score int // AutoIdentify's last
}

// AutoEnroll lets the module enrol by itself into its own library (AutoEnroll,
// manual p. 28): six captures, each reported, 10 s for each touch (26 after that).
// slot is 0 to 199, 200 lets the module pick. Codes 07, 0A, 0B, 1F, 22, 27.
// faceprint does not use it: the template would rest in the module. It ends early,
// with a Cancel (p. 23), when the context does.
func (m *Module) AutoEnroll(ctx context.Context, slot int, overwrite, duplicate bool, progress func(AutoStep)) (int, error) {
	if slot < 0 || slot > 0xFF {
		return 0, fmt.Errorf("sensor: slot %d is not 0 to 255: %w", slot, ErrTemplate)
	}
	last, err := m.auto(ctx, AutoEnroll, progress, autoEnrollLast, byte(slot), flag(overwrite), flag(duplicate), 1, 1)
	return last.Slot, err
}

// AutoIdentify lets the module search its own library by itself (AutoIdentify,
// R503), once. Codes 09, 0B, 22, 24, 26.
func (m *Module) AutoIdentify(ctx context.Context, progress func(AutoStep)) (slot, score int, err error) {
	last, err := m.auto(ctx, AutoIdentify, progress, autoIdentifyLast, byte(m.info.Level), 0, byte(min(m.info.Capacity, 0xFF)), 1, 1)
	return last.Slot, last.Score, err
}

// The last steps of the two.
const (
	autoEnrollLast   = 0x0F
	autoIdentifyLast = 3
)

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// auto follows an instruction that answers once a step.
func (m *Module) auto(ctx context.Context, i Instruction, progress func(AutoStep), last int, params ...byte) (step AutoStep, err error) {
	release, err := m.take(ctx)
	if err != nil {
		return step, err
	}
	defer release()
	m.spend()
	m.loaded = true
	if i == AutoEnroll {
		m.library.used, m.library.sure = true, false
	}
	b, err := m.link.command(ctx, i, params...)
	for {
		if ctx.Err() != nil {
			// The module is still at it: told to stop, what it says is drained.
			_, _ = m.link.send(PIDCommand, []byte{byte(Cancel)})
			m.link.dirty = true
			return step, fmt.Errorf("sensor: %s: %v: %w", m.info.Port, i, ctx.Err())
		}
		if err != nil {
			return step, retry(err)
		}
		step.Step = int(b[0])
		if i == AutoEnroll {
			if b[0] >= 0x10 && b[0] <= 0x12 { // as the manual prints 10, 11 and 12
				step.Step -= 6
			}
			step.Slot = int(b[1])
		} else {
			step.Slot, step.Score = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
		}
		if progress != nil {
			progress(step)
		}
		if step.Step >= last {
			return step, nil
		}
		b, err = m.link.answer(ctx, timeoutOf(i), i)
	}
}

// Port switches the module's USB port on or off (PortControl, 17, of R30x units
// with USB; code 1D).
func (m *Module) Port(ctx context.Context, on bool) error {
	_, err := m.do(ctx, PortControl, flag(on))
	return err
}
