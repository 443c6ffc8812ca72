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
	"time"
)

// Identify finds which of the templates the scan is of: index -1 and score 0
// where it is none of them. The module's library serves as a cache: what is not
// in it yet is stored there (DownChar, Store, manual p. 19), and the module searches
// it at once (Search, p. 22; 09, 24 for nobody), where comparing one after the other
// would take a second each. Others that were put there before stay, and whoever is
// one of them is nobody: Retain takes them out.
//
// What it finds is only a proposal: Match, with decoys, decides, and a yes
// counts when the library holds what was put there: which slots are taken is
// read before the search, and what lies in a few random ones after it. Decoys lie
// there as well; the name of one is an *AttackError like any match of one.
//
// Where the context's time does not suffice to store all of them, nobody is looked for:
// a *RetryError with HintWait. What is there stays, so that the next one goes on where
// this one stopped; Stock does that meanwhile.
//
// Those beyond the library's room, MaxBeyond at most, are compared one by one, the
// last ones of the list; where there are more it is ErrTemplate. What cannot be a
// template (CheckTemplate) is nobody.
//
// Whoever calls it sees to it that Retain follows when a person is forgotten, and
// Purge before the module is closed.
func (m *Module) Identify(ctx context.Context, probe Print, templates [][]byte) (index int, score float64, err error) {
	defer m.compares()()
	resident, rest, err := m.resident(templates)
	if err != nil {
		return -1, 0, err
	}
	w := m.wants(resident)
	index, slot, err := m.search(ctx, probe, w)
	err = m.weighStored(ctx, m.take, err)
	wait := (*RetryError)(nil)
	if errors.As(err, &wait) {
		err = nil
	}
	if err == nil && index >= 0 {
		score, err = m.Match(ctx, probe, resident[index])
	}
	for err == nil && score == 0 && len(rest) > 0 {
		var i int
		if i, err = m.propose(ctx, probe, rest); err != nil || i < 0 {
			break
		}
		index = len(resident) + i
		score, err = m.Match(ctx, probe, rest[i])
		rest = nil
	}
	if err != nil {
		return -1, 0, err
	}
	err = m.weighStored(ctx, m.take, m.readBack(ctx, w, slot, score > 0))
	if attack := (*AttackError)(nil); score == 0 && !errors.As(err, &attack) && !errors.Is(err, ErrDoubt) {
		err = nil // it is a no all the same
	}
	if err == nil && score == 0 && wait != nil {
		err = wait
	}
	if err != nil || score == 0 {
		return -1, 0, err
	}
	return index, score, nil
}

// Room is how many people's templates its library has room for: decoys lie there too.
func (m *Module) Room() int { return max(0, m.Info().Room()-len(m.guard.mixed())) }

// resident are the templates that go into the library, rest those that find no
// room there.
func (m *Module) resident(templates [][]byte) (resident, rest [][]byte, err error) {
	room := m.Room()
	n := min(len(templates), room)
	if len(templates)-n > MaxBeyond {
		return nil, nil, fmt.Errorf("sensor: %s: %d templates; its library has room for %d, and %d more are compared: %w", m.info.Port, len(templates), room, MaxBeyond, ErrTemplate)
	}
	return templates[:n], templates[n:], nil
}

// propose compares the scan with templates one by one, decoys among them, in random
// order, as a search does with those in the library: a yes is a proposal. -1 is none.
//
// What lies in the module's buffer is overwritten until the module says no to it, as in
// Match. From then on whatever the wire leaves there has been refused, and a yes to a
// decoy is one to the decoy.
func (m *Module) propose(ctx context.Context, probe Print, templates [][]byte) (int, error) {
	release, err := m.take(ctx)
	if err != nil {
		return -1, err
	}
	defer release()
	if m.stale(probe) {
		return -1, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	damage := m.link.meter.damage()
	if m.loaded && m.Guarded() {
		doubt, err := m.overwrite(ctx, spare(m.guard.decoys, false))
		if err := m.judge(damage, doubt, err); err != nil {
			return -1, err
		}
	}
	m.loaded = true
	all := slices.Concat(templates, m.guard.mixed())
	for _, i := range order(len(all)) {
		if CheckTemplate(all[i]) != nil {
			continue // nobody's finger matches it
		}
		score, _, err := m.compare(ctx, all[i])
		if err != nil {
			return -1, err
		}
		if score > 0 && i >= len(templates) {
			// An answer that was late has shifted all that followed, which shows here.
			err := m.same(ctx)
			if err == nil {
				err = &AttackError{AttackDecoy, "a decoy matched, among those beyond the library's room"}
			}
			return -1, m.judge(damage, weighty, err)
		}
		if score > 0 {
			return i, nil
		}
	}
	return -1, nil
}

// Purge removes what Identify and Stock left in the library (Empty, manual p. 21). It
// asks the module nothing where that is nothing. Its error says how much that is.
func (m *Module) Purge(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.library.used {
		return nil
	}
	if err := m.emptyLibrary(ctx); err != nil {
		return fmt.Errorf("%d slots of its library hold templates of people or decoys: %w", len(m.library.slots)+len(m.library.open), err)
	}
	return nil
}

// Retain removes from the library what Identify and Stock put there and is none of
// these templates (DeletChar, manual p. 21; codes 10, 18). It asks the module nothing
// where that is nothing.
func (m *Module) Retain(ctx context.Context, templates [][]byte) error {
	w := m.wants(templates)
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.library.used {
		return nil
	}
	for slot, s := range m.library.slots {
		if w.of[s.hash] == nil {
			m.library.forget(slot)
		}
	}
	return m.ascertain(ctx)
}

// Stock puts the templates, and decoys, into the library before anybody searches
// it, and reads what was put there (where Keeps), for a template may be lost on its
// way. It gives way to whoever scans or compares, from one template to the next: at
// 57600 baud one is stored in 0.4 s and read in 0.3 s, twice where it comes back otherwise.
// Those beyond the library's room are left out.
// ErrDoubt: what is read is not what was stored, time after time; it ends then, for each
// time writes flash.
func (m *Module) Stock(ctx context.Context, templates [][]byte) error {
	w := m.wants(templates[:min(len(templates), m.Room())])
	for doubts := 0; ; {
		done, err := m.stockOne(ctx, w, &doubts)
		if err != nil || done {
			return err
		}
	}
}

// stockOne does one thing of Stock's, and tells whether there is nothing left. It counts
// the slots in a row that hold something else.
func (m *Module) stockOne(ctx context.Context, w *wanted, doubts *int) (done bool, err error) {
	release, err := m.takeIdle(ctx, idleAfter)
	if err != nil {
		return false, err
	}
	defer func() { release() }()
	if err := m.ascertain(ctx); err != nil {
		return false, err
	}
	if missing := m.missing(w); len(missing) > 0 {
		return false, m.stock(ctx, w, missing[0])
	}
	unread := m.unread(w)
	if len(unread) == 0 || !m.guard.keeps {
		return true, nil
	}
	if time.Since(m.used) < spendAfter {
		release()
		if release, err = m.takeIdle(ctx, spendAfter); err != nil {
			release = func() {}
		}
		return false, err
	}
	slot := m.pick(unread, -1)
	err = m.checkSlot(ctx, slot, w.of[m.library.slots[slot].hash])
	if err == nil {
		*doubts = 0
	}
	release()
	release = func() {}
	err = m.weighStored(ctx, func(ctx context.Context) (func(), error) { return m.takeIdle(ctx, spendAfter) }, err)
	if attack := (*AttackError)(nil); errors.Is(err, ErrDoubt) && !errors.As(err, &attack) {
		if *doubts++; *doubts < patience {
			err = nil // it is stored anew
		}
	}
	return false, err
}

// pick is which of the slots is read next: one with what did not come back before and was
// stored anew, else the named one, else a random one, of those that were not counted as
// unreturned where there are (Doubts): a slot that has gone bad keeps nobody from being
// found, and is not read in place of the others. A line that loses all for a time
// leaves a library full of what was not stored: once it is well, eight of those in a row
// would be an attack (weighStored), but for the new ones between them that are.
func (m *Module) pick(slots []int, named int) int {
	if i := slices.IndexFunc(slots, func(slot int) bool { return m.library.lost[m.library.slots[slot].hash] }); i >= 0 {
		return slots[i]
	}
	if slices.Contains(slots, named) {
		return named
	}
	counted := func(slot int) bool { return slices.Contains(m.guard.doubts.stored[:], m.library.slots[slot]) }
	if others := slices.DeleteFunc(slices.Clone(slots), counted); len(others) > 0 {
		slots = others
	}
	return slots[random(len(slots))]
}

// unread are the slots of what is wanted that were not read back yet, in order.
func (m *Module) unread(w *wanted) (slots []int) {
	for slot, s := range m.library.slots {
		if w.of[s.hash] != nil && !s.read {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// library is what Identify put into the module's library: the map from slots to
// people. It is sealed nowhere, for it is never at rest: it lives as long as the
// opening of the module, which begins and ends with an empty library. Guarded by
// turn.
type library struct {
	used  bool // there may be something in it
	sure  bool // slots and open are all that lies there
	slots map[int]*stored
	open  map[int]bool  // slots of which nobody knows what they hold: an instruction that writes them failed half way
	lost  map[hash]bool // what did not come back when it was read last
}

// forget makes a slot one of which nobody knows what it holds.
func (l *library) forget(slot int) {
	delete(l.slots, slot)
	l.open[slot] = true
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

// wanted is what is to lie in the library: people's templates and decoys.
type wanted struct {
	all []hash          // without doubles
	of  map[hash][]byte // the templates
	at  map[hash]int    // where each of people is in the list
}

// wants is the people's templates and the decoys. What cannot be a template is left out:
// one bad record must not keep all the others from being found.
func (m *Module) wants(templates [][]byte) *wanted {
	w := &wanted{of: make(map[hash][]byte), at: make(map[hash]int, len(templates))}
	for i, t := range slices.Concat(templates, m.guard.mixed()) {
		if CheckTemplate(t) != nil {
			continue
		}
		h := hash(sha256.Sum256(t))
		if i < len(templates) {
			w.at[h] = i
		}
		if w.of[h] == nil {
			w.all = append(w.all, h)
		}
		w.of[h] = t
	}
	return w
}

// missing are those that are not in the library, in random order. Decoys are not
// preferred: whatever is stored by then, and wherever that was cut off, the share of them
// among it is a matter of chance alone.
func (m *Module) missing(w *wanted) []hash {
	there := make(map[hash]bool, len(m.library.slots))
	for _, s := range m.library.slots {
		there[s.hash] = true
	}
	missing := slices.DeleteFunc(slices.Clone(w.all), func(h hash) bool { return there[h] })
	shuffled := make([]hash, 0, len(missing))
	for _, i := range order(len(missing)) {
		shuffled = append(shuffled, missing[i])
	}
	return shuffled
}

// search is the library's proposal and its slot, -1 for none. It is not asked before all
// are there, which is a *RetryError: a search as soon as the decoys are would tell that
// the last one that was stored is one of them, and one without them is no test.
func (m *Module) search(ctx context.Context, probe Print, w *wanted) (index, slot int, err error) {
	release, err := m.take(ctx)
	if err != nil {
		return -1, -1, err
	}
	defer release()
	if err := m.ascertain(ctx); err != nil {
		return -1, -1, err
	}
	missing := m.missing(w)
	for range min(m.affords(ctx, w), len(missing)) {
		if err := m.stock(ctx, w, missing[0]); err != nil {
			return -1, -1, err
		}
		missing = missing[1:]
	}
	if len(missing) > 0 {
		return -1, -1, m.wait(w, missing)
	}
	return m.ask(ctx, probe, w)
}

// wait says that the library is being filled.
func (m *Module) wait(w *wanted, missing []hash) error {
	return &RetryError{Hint: HintWait, Cause: fmt.Errorf("sensor: %s: its library is being filled: %d of %d", m.info.Port, len(w.all)-len(missing), len(w.all))}
}

// affords is how many templates can be stored before the context's time is up and
// leave enough of it to decide.
func (m *Module) affords(ctx context.Context, w *wanted) int {
	deadline, ok := ctx.Deadline()
	if !ok || len(w.all) == 0 {
		return len(w.all)
	}
	each := m.link.airtime(len(w.of[w.all[0]])*9/8+talkSize) + storeTime
	left := time.Until(deadline) - decideTime - min(searchEach*time.Duration(len(w.all)), searchTimeout) - 7*each // four, what overwrites, and two that are read
	return max(0, int(left/each))
}

// ask searches the library, whoever was put there.
func (m *Module) ask(ctx context.Context, probe Print, w *wanted) (index, slot int, err error) {
	if err := m.checkIndex(ctx); err != nil {
		return -1, -1, err
	}
	if m.stale(probe) {
		return -1, -1, fmt.Errorf("sensor: %s: %w; scan again", m.info.Port, ErrStale)
	}
	damage := m.link.meter.damage()
	slot, _, found, err := m.searchLibrary(ctx, Search, m.info.Room())
	if err != nil || !found {
		return -1, -1, err
	}
	s := m.library.slots[slot]
	if s == nil {
		return -1, slot, m.weigh(damage, m.doubt("slot %d matches, which holds nobody", slot))
	}
	if i, person := w.at[s.hash]; person {
		return i, slot, nil
	}
	decoy := w.of[s.hash]
	if decoy == nil {
		return -1, slot, nil // somebody else's
	}
	// Does the decoy lie there, or what the wire left there in its place? Where it was seen
	// there it does, unless somebody put another there, which is an attack as well. Else that is
	// weighed as what was stored and does not come back (weighStored).
	if !m.guard.keeps {
		return -1, slot, m.weigh(damage, m.doubt("a decoy matched, in slot %d", slot))
	}
	seen, e, attack := s.read, m.checkSlot(ctx, slot, decoy), (*AttackError)(nil)
	switch {
	case errors.As(e, &attack):
		return -1, slot, e
	case seen || e == nil:
		return -1, slot, &AttackError{AttackDecoy, fmt.Sprintf("a search names slot %d, a decoy's", slot)}
	}
	return -1, slot, errors.Join(m.doubt("a decoy matched, in slot %d", slot), e)
}

// doubt counts an ErrDoubt.
func (m *Module) doubt(format string, args ...any) error {
	m.link.meter.count(&m.link.meter.s.Doubts, 1)
	return fmt.Errorf("sensor: %s: %s: %w", m.info.Port, fmt.Sprintf(format, args...), ErrDoubt)
}

// ascertain makes sure what lies in the library: slots of which nobody knows what they
// hold are emptied, all of them where that is not known of any.
func (m *Module) ascertain(ctx context.Context) error {
	l := &m.library
	if !l.sure {
		return m.emptyLibrary(ctx)
	}
	for slot := range l.open {
		if _, err := m.link.command(ctx, DeletChar, byte(slot>>8), byte(slot), 0, 1); err != nil {
			return err
		}
		delete(l.open, slot)
	}
	return nil
}

// stock stores one template in a free slot, which nobody can foresee: who knew in which
// order and where to would tell decoys from people. What was begun in flash is waited
// for, whoever has lost patience.
func (m *Module) stock(ctx context.Context, w *wanted, h hash) error {
	slot, err := m.freeSlot(ctx, w)
	if err != nil {
		return err
	}
	m.loaded = true
	starts := m.link.starts()
	if err := m.put(ctx, 2, w.of[h]); err != nil {
		return err
	}
	m.library.used = true
	m.library.forget(slot)
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeMost)
	defer cancel()
	if _, err := m.link.command(unhurried, Store, 2, byte(slot>>8), byte(slot)); err != nil {
		return err
	}
	if m.link.starts() != starts { // what it stored is not what lay in its buffer before
		return fmt.Errorf("sensor: %s was reset meanwhile: %w; scan again", m.info.Port, ErrStale)
	}
	delete(m.library.open, slot)
	m.library.slots[slot] = &stored{hash: h}
	return nil
}

// freeSlot is a random one that holds nothing. Where there is none, one is emptied
// that holds what is not wanted.
func (m *Module) freeSlot(ctx context.Context, w *wanted) (int, error) {
	for {
		var free, unwanted []int
		for slot := range m.info.Room() {
			switch s := m.library.slots[slot]; {
			case s == nil && !m.library.open[slot]:
				free = append(free, slot)
			case s != nil && w.of[s.hash] == nil:
				unwanted = append(unwanted, slot)
			}
		}
		switch {
		case len(free) > 0:
			return free[random(len(free))], nil
		case len(unwanted) == 0:
			return 0, fmt.Errorf("sensor: %s: its library is full: %w", m.info.Port, ErrTemplate)
		}
		m.library.forget(unwanted[random(len(unwanted))])
		if err := m.ascertain(ctx); err != nil {
			return 0, err
		}
	}
}

// emptyLibrary is Empty, after which nothing is known to be there.
func (m *Module) emptyLibrary(ctx context.Context) error {
	m.library.sure = false
	if _, err := m.link.command(ctx, Empty); err != nil {
		return err
	}
	m.library = library{sure: true, slots: make(map[int]*stored), open: make(map[int]bool), lost: make(map[hash]bool)}
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
		if try > 0 {
			m.library.sure = false
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
// After a search that found nobody, two of the slots are read that never were, the one
// that the search named before others (pick): a person whose template was damaged on its
// way there is not refused for ever.
//
// Only modules that were seen to return what they store are asked (Keeps).
func (m *Module) readBack(ctx context.Context, w *wanted, named int, found bool) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.guard.keeps {
		return nil
	}
	l := &m.library
	slots, n := m.unread(w), 2
	if found {
		named = -1
		slots, n = slices.Sorted(maps.Keys(l.slots)), 1+random(2)
		slots = slices.DeleteFunc(slots, func(slot int) bool { return w.of[l.slots[slot].hash] == nil })
	}
	for range min(n, len(slots)) {
		slot := m.pick(slots, named)
		slots = slices.DeleteFunc(slots, func(s int) bool { return s == slot })
		if err := m.checkSlot(ctx, slot, w.of[l.slots[slot].hash]); err != nil {
			return err
		}
	}
	return nil
}

// checkSlot compares a slot with the template that was stored there. One that may
// have been lost on its way is ErrDoubt, and stored anew; what cannot be read twice
// alike is ErrSum. Either is *unreturned, as is one of which the module says twice that
// it was not asked properly (01): the question is short.
func (m *Module) checkSlot(ctx context.Context, slot int, want []byte) error {
	s := m.library.slots[slot]
	read := func() ([]byte, error) {
		got, err := m.readSlot(ctx, slot)
		if isCode(err, PacketError) {
			err = &unreturned{want, s, err}
		}
		return got, err
	}
	got, err := read()
	if err != nil {
		return err
	}
	defer clear(got)
	if subtle.ConstantTimeCompare(got, want) == 1 {
		m.returned(s)
		return nil
	}
	// Was it the wire? Then it is another way the second time, or well.
	m.link.dirty = true
	again, err := read()
	if err != nil {
		return err
	}
	defer clear(again)
	switch {
	case subtle.ConstantTimeCompare(again, want) == 1:
		m.returned(s)
		return nil
	case !bytes.Equal(again, got), len(got) > 0 && bytes.HasPrefix(want, got):
		delete(m.library.lost, s.hash) // where it lies now, it may never come back
		return &unreturned{want, s, fmt.Errorf("sensor: %s: slot %d was read twice and differs: %w", m.info.Port, slot, ErrSum)}
	case !s.read, got == nil: // a part that fails says no as well
		m.library.forget(slot)
		m.library.lost[s.hash] = true
		return &unreturned{want, s, m.doubt("slot %d does not hold what was put there", slot)}
	}
	return &AttackError{AttackLibrary, fmt.Sprintf("slot %d of its library holds another template than the one put there", slot)}
}

// returned takes note of a slot that holds what was put there.
func (m *Module) returned(s *stored) {
	if !s.read { // one that altered only what comes new could clear itself with the rest
		m.guard.doubts.stored = [patience]*stored{}
	}
	s.read = true
	delete(m.library.lost, s.hash)
}

// readSlot is loadSlot of a slot that holds a template: a module that says it holds
// none (0C, 0D, or any other no) withholds it, which is nothing read.
func (m *Module) readSlot(ctx context.Context, slot int) ([]byte, error) {
	got, err := m.loadSlot(ctx, slot)
	if no := (*CodeError)(nil); errors.As(err, &no) && no.Code != PacketError && no.Code != VerifyFirst {
		return nil, nil
	}
	return got, err
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
