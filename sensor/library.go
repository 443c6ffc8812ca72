package sensor

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Identify finds which of the templates the scan is of: index -1 and score 0
// where it is none of them. The module's library serves as a cache: what is not
// in it yet is stored there, what is not wanted any more is deleted, and the
// module searches it at once, where comparing one after the other would take a
// second each. What it finds is only a proposal: Match, with decoys, decides.
//
// Whoever calls it sees to it that the library is emptied when a person is
// forgotten and before the module is closed.
func (m *Module) Identify(ctx context.Context, probe Print, templates [][]byte) (index int, score float64, err error) {
	index, err = m.search(ctx, probe, templates)
	if err != nil || index < 0 {
		return -1, 0, err
	}
	score, err = m.Match(ctx, probe, templates[index])
	if err != nil || score == 0 {
		return -1, 0, err
	}
	return index, score, nil
}

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
	if probe.serial == 0 || probe.serial != m.scans || probe.resets != m.link.resets {
		return -1, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	slot, _, found, err := m.searchLibrary(ctx)
	if err != nil || !found {
		return -1, err
	}
	i, known := at[m.library[slot]]
	if !known {
		m.link.meter.count(&m.link.meter.s.Doubts, 1)
		return -1, fmt.Errorf("sensor: %s: slot %d matches, which holds nobody: %w", m.info.Port, slot, ErrDoubt)
	}
	return i, nil
}

// hash names a template.
type hash [sha256.Size]byte

// fill makes the library hold these templates and nothing else, and says where
// each is in the list. What was done stays known when it ends half way.
func (m *Module) fill(ctx context.Context, templates [][]byte) (map[hash]int, error) {
	if len(templates) > m.info.Capacity {
		return nil, fmt.Errorf("sensor: %s: %d templates, its library has room for %d: %w", m.info.Port, len(templates), m.info.Capacity, ErrTemplate)
	}
	at := make(map[hash]int, len(templates))
	for i, t := range templates {
		if err := checkTemplate(t); err != nil {
			return nil, err
		}
		at[sha256.Sum256(t)] = i
	}
	if err := m.countLibrary(ctx); err != nil {
		return nil, err
	}
	stored := make(map[hash]bool, len(m.library))
	for slot, h := range m.library {
		if _, wanted := at[h]; wanted {
			stored[h] = true
			continue
		}
		if _, err := m.link.command(ctx, DeletChar, byte(slot>>8), byte(slot), 0, 1); err != nil {
			return nil, err
		}
		delete(m.library, slot)
	}
	slot := 0
	for h, i := range at {
		if stored[h] {
			continue
		}
		for ; m.library[slot] != (hash{}); slot++ {
		}
		m.loaded = true
		if err := m.put(ctx, 2, templates[i]); err != nil {
			return nil, err
		}
		if _, err := m.link.command(ctx, Store, 2, byte(slot>>8), byte(slot)); err != nil {
			return nil, err
		}
		m.library[slot] = h
	}
	return at, nil
}

// countLibrary empties the library where it does not hold as many templates as
// were put there.
func (m *Module) countLibrary(ctx context.Context) error {
	b, err := m.link.command(ctx, TempleteNum)
	if err != nil {
		return err
	}
	if m.library != nil && int(binary.BigEndian.Uint16(b)) == len(m.library) {
		return nil
	}
	if _, err := m.link.command(ctx, Empty); err != nil {
		return err
	}
	m.library = make(map[int]hash)
	return nil
}

// Cached tells how many templates rest in the module's library by Identify.
func (m *Module) Cached(ctx context.Context) (int, error) {
	release, err := m.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	return len(m.library), nil
}
