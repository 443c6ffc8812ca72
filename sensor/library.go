package sensor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Identify finds which of the templates the scan is of: index -1 and score 0
// where it is none of them. The module's library serves as a cache: what is not
// in it yet is stored there (DownChar, Store, manual p. 19), what is not wanted any
// more is deleted (DeletChar, p. 21), and the module searches it at once (Search,
// p. 22; 09, 24 for nobody), where comparing one after the other would take a second
// each.
//
// What it finds is only a proposal: Match, with decoys, decides, and a yes
// counts when the library holds what was put there: which slots are taken is
// read before the search, and what lies in a few random ones after it.
//
// Those beyond the library's room, MaxBeyond at most, are compared one by one, the
// last ones of the list; where there are more it is ErrTemplate.
//
// Whoever calls it sees to it that Purge follows when a person is forgotten and
// before the module is closed.
func (m *Module) Identify(ctx context.Context, probe Print, templates [][]byte) (index int, score float64, err error) {
	resident, rest, err := m.resident(templates)
	if err != nil {
		return -1, 0, err
	}
	index, err = m.search(ctx, probe, resident)
	if err == nil && index >= 0 {
		score, err = m.Match(ctx, probe, resident[index])
	}
	for i := 0; i < len(rest) && err == nil && score == 0; i++ {
		index = len(resident) + i
		if score, err = m.propose(ctx, probe, rest[i]); err == nil && score > 0 {
			score, err = m.Match(ctx, probe, rest[i])
		}
	}
	if err != nil {
		return -1, 0, err
	}
	err = m.readBack(ctx, resident, score > 0)
	if attack := (*AttackError)(nil); score == 0 && !errors.As(err, &attack) && !errors.Is(err, ErrDoubt) {
		err = nil // it is a no all the same
	}
	if err != nil || score == 0 {
		return -1, 0, err
	}
	return index, score, nil
}

// resident are the templates that go into the library, rest those that find no
// room there.
func (m *Module) resident(templates [][]byte) (resident, rest [][]byte, err error) {
	room := m.Info().Room()
	n := min(len(templates), room)
	if len(templates)-n > MaxBeyond {
		return nil, nil, fmt.Errorf("sensor: %s: %d templates; its library has room for %d, and %d more are compared: %w", m.info.Port, len(templates), room, MaxBeyond, ErrTemplate)
	}
	return templates[:n], templates[n:], nil
}

// propose compares the scan with one template without decoys, as a search does with
// those in the library: a yes is a proposal.
func (m *Module) propose(ctx context.Context, probe Print, template []byte) (float64, error) {
	if err := checkTemplate(template); err != nil {
		return 0, err
	}
	release, err := m.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if probe.serial == 0 || probe.serial != m.scans || probe.starts != m.link.starts() {
		return 0, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	m.loaded = true
	score, _, err := m.compare(ctx, template)
	return score, err
}

// Purge removes what Identify left in the library (Empty, manual p. 21). It asks the module nothing
// where that is nothing.
func (m *Module) Purge(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.library.used {
		return nil
	}
	return m.emptyLibrary(ctx)
}

// library is what Identify put into the module's library: the map from slots to
// people. It is sealed nowhere, for it is never at rest: it lives as long as the
// opening of the module, which begins and ends with an empty library. Guarded by
// turn.
type library struct {
	used  bool // there may be something in it
	sure  bool // slots is what lies there; an instruction that failed half way leaves that open
	slots map[int]*stored
}

// stored is the template in a slot.
type stored struct {
	hash hash
	// read: it was read back once as it was stored. Before that, a difference
	// may be a packet that the wire lost on the way there.
	read bool
}

// hash names a template.
type hash [sha256.Size]byte

// search is the library's proposal, -1 for none.
func (m *Module) search(ctx context.Context, probe Print, templates [][]byte) (int, error) {
	release, err := m.take(ctx)
	if err != nil {
		return -1, err
	}
	defer release()
	at, err := m.fill(ctx, templates)
	if err != nil {
		return -1, err
	}
	if err := m.checkIndex(ctx); err != nil {
		return -1, err
	}
	if probe.serial == 0 || probe.serial != m.scans || probe.starts != m.link.starts() {
		return -1, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	slot, _, found, err := m.searchLibrary(ctx, Search, m.info.Room())
	if err != nil || !found {
		return -1, err
	}
	s := m.library.slots[slot]
	if s == nil {
		return -1, m.doubt("slot %d matches, which holds nobody", slot)
	}
	return at[s.hash], nil
}

// doubt counts an ErrDoubt.
func (m *Module) doubt(format string, args ...any) error {
	m.link.meter.count(&m.link.meter.s.Doubts, 1)
	return fmt.Errorf("sensor: %s: %s: %w", m.info.Port, fmt.Sprintf(format, args...), ErrDoubt)
}

// fill makes the library hold these templates and nothing else, and says where
// each is in the list. What was done stays known when it ends half way.
func (m *Module) fill(ctx context.Context, templates [][]byte) (map[hash]int, error) {
	at := make(map[hash]int, len(templates))
	for i, t := range templates {
		if err := checkTemplate(t); err != nil {
			return nil, err
		}
		at[sha256.Sum256(t)] = i
	}
	if !m.library.sure {
		if err := m.emptyLibrary(ctx); err != nil {
			return nil, err
		}
	}
	l := &m.library
	l.used = true
	there := make(map[hash]bool, len(l.slots))
	for slot, s := range l.slots {
		if _, wanted := at[s.hash]; wanted {
			there[s.hash] = true
			continue
		}
		l.sure = false
		if _, err := m.link.command(ctx, DeletChar, byte(slot>>8), byte(slot), 0, 1); err != nil {
			return nil, err
		}
		delete(l.slots, slot)
		l.sure = true
	}
	slot := 0
	for h, i := range at {
		if there[h] {
			continue
		}
		for ; l.slots[slot] != nil; slot++ {
		}
		l.sure, m.loaded = false, true
		if err := m.put(ctx, 2, templates[i]); err != nil {
			return nil, err
		}
		if _, err := m.link.command(ctx, Store, 2, byte(slot>>8), byte(slot)); err != nil {
			return nil, err
		}
		l.slots[slot] = &stored{hash: h}
		l.sure = true
	}
	return at, nil
}

// emptyLibrary is Empty, after which nothing is known to be there.
func (m *Module) emptyLibrary(ctx context.Context) error {
	m.library.sure = false
	if _, err := m.link.command(ctx, Empty); err != nil {
		return err
	}
	m.library = library{sure: true, slots: make(map[int]*stored)}
	return nil
}

// checkIndex compares which slots are taken with what was put there. A
// difference is an attack when it is read twice: an answer may be a late one to
// another question.
func (m *Module) checkIndex(ctx context.Context) error {
	for try := 0; ; try++ {
		differs, err := m.indexDiffers(ctx)
		if err != nil || differs == "" {
			return err
		}
		m.library.sure = false
		if try > 0 {
			return &AttackError{AttackLibrary, differs}
		}
		m.link.dirty = true
	}
}

// indexDiffers says in which slot the library is not as it was left, "" where
// it is. A module without an index is asked for the number alone.
func (m *Module) indexDiffers(ctx context.Context) (string, error) {
	taken, err := m.index(ctx)
	if e := (*CodeError)(nil); errors.As(err, &e) {
		b, err := m.link.command(ctx, TempleteNum)
		if err != nil {
			return "", err
		}
		if n := int(binary.BigEndian.Uint16(b)); n != len(m.library.slots) {
			return fmt.Sprintf("its library holds %d templates, %d were put there", n, len(m.library.slots)), nil
		}
		m.library.sure = true
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, slot := range taken {
		if m.library.slots[slot] == nil {
			return fmt.Sprintf("slot %d of its library holds a template that nobody put there", slot), nil
		}
	}
	if len(taken) != len(m.library.slots) {
		return fmt.Sprintf("its library holds %d templates, %d were put there", len(taken), len(m.library.slots)), nil
	}
	m.library.sure = true
	return "", nil
}

// index lists the slots that hold a template (ReadIndexTable).
func (m *Module) index(ctx context.Context) ([]int, error) {
	if !m.readIndex { // some say so, and some say nothing
		return nil, &CodeError{ReadIndex, Unsupported}
	}
	var slots []int
	for page := 0; page < indexPages && page*indexSlots < m.info.Capacity; page++ {
		b, err := m.link.command(ctx, ReadIndex, byte(page))
		if err != nil {
			return nil, err
		}
		for i, x := range b {
			for bit := range 8 {
				if x>>bit&1 == 1 {
					slots = append(slots, indexSlots*page+8*i+bit)
				}
			}
		}
	}
	return slots, nil
}

// readBack reads random slots, one or two, and compares them with what was
// stored. It spends the scan: the R503 ignores which buffer is read.
//
// After a search that found nobody, two of the slots are read that never were: a
// person whose template was damaged on its way there is not refused for ever.
//
// Only modules that were seen to return what they store are asked (Keeps).
func (m *Module) readBack(ctx context.Context, templates [][]byte, found bool) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.guard.keeps {
		return nil
	}
	of := make(map[hash][]byte, len(templates))
	for _, t := range templates {
		of[sha256.Sum256(t)] = t
	}
	slots, n := slices.Sorted(maps.Keys(m.library.slots)), 2
	if found {
		n = 1 + random(2)
	} else {
		slots = slices.DeleteFunc(slots, func(slot int) bool { return m.library.slots[slot].read })
	}
	for range min(n, len(slots)) {
		i := random(len(slots))
		slot := slots[i]
		slots = slices.Delete(slots, i, i+1)
		want := of[m.library.slots[slot].hash]
		if want == nil {
			continue // another search was in between
		}
		if err := m.checkSlot(ctx, slot, want); err != nil {
			m.library.sure = false
			return err
		}
	}
	return nil
}

// checkSlot compares a slot with the template that was stored there.
func (m *Module) checkSlot(ctx context.Context, slot int, want []byte) error {
	s := m.library.slots[slot]
	got, err := m.loadSlot(ctx, slot)
	if err != nil {
		return err
	}
	defer clear(got)
	if subtle.ConstantTimeCompare(got, want) == 1 {
		s.read = true
		return nil
	}
	// Was it the wire? Then it is another way the second time, or well.
	m.link.dirty = true
	again, err := m.loadSlot(ctx, slot)
	if err != nil {
		return err
	}
	defer clear(again)
	switch {
	case subtle.ConstantTimeCompare(again, want) == 1:
		s.read = true
		return nil
	case !bytes.Equal(again, got), bytes.HasPrefix(want, got):
		return fmt.Errorf("sensor: %s: slot %d was read twice and differs: %w", m.info.Port, slot, ErrSum)
	case !s.read:
		return m.doubt("slot %d does not hold what was put there", slot)
	}
	return &AttackError{AttackLibrary, fmt.Sprintf("slot %d of its library holds another template than the one put there", slot)}
}

// loadSlot reads the template in a slot (LoadChar, UpChar).
func (m *Module) loadSlot(ctx context.Context, slot int) ([]byte, error) {
	m.loaded = true
	m.spend() // the R503 ignores which buffer UpChar names: both are spent
	for _, buffer := range []byte{1, 2} {
		if _, err := m.link.command(ctx, LoadChar, buffer, byte(slot>>8), byte(slot)); err != nil {
			return nil, err
		}
	}
	return m.link.fetch(ctx, maxTemplate, anySize, UpChar, 1)
}

// Keeps stores a template of nobody's in the library, reads it (LoadChar, UpChar,
// manual pp. 20, 18) and empties the library: it tells whether the module returns what it was given byte for byte,
// so that a slot that differs later was changed by somebody.
func (m *Module) Keeps(ctx context.Context, template []byte) (bool, error) {
	if err := m.EmptyLibrary(ctx); err != nil {
		return false, err
	}
	err := m.StoreTemplate(ctx, 0, template)
	if e := (*CodeError)(nil); errors.As(err, &e) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	got, err := m.LoadTemplate(ctx, 0)
	if e := (*CodeError)(nil); err != nil && !errors.As(err, &e) {
		return false, err
	}
	return bytes.Equal(got, template), m.EmptyLibrary(ctx)
}
