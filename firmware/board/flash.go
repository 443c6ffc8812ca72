package board

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faceprint/faceprint/firmware"
)

// Steps of an update, in order.
const (
	StepFind     = "find"
	StepEnter    = "enter"
	StepUpload   = "upload"
	StepStart    = "start"
	StepConfirm  = "confirm"
	StepRollback = "roll back"
	StepLeave    = "leave" // the loader, in which a board holds no door
)

// Errors of an update.
var (
	// ErrNeedsKey: a paired board restarts into its loader for its key's owner alone.
	ErrNeedsKey = errors.New("the board is paired, and only who has its key may update it")
	// ErrNotStarted: the new image was taken but does not answer.
	ErrNotStarted = errors.New("the new image does not start")
)

// Update is what to flash.
type Update struct {
	Images     []*firmware.Image
	Key        []byte            // the pairing key; nil where there is none
	Production ed25519.PublicKey // nil leaves that signature to the board
	// Report is called at each step and as the upload goes on, in bytes; may be nil.
	Report func(step string, done, total int)
}

// Flashed is how an update ended, as far as it got.
type Flashed struct {
	Board      string
	Serial     Serial
	Slot       byte
	From, To   firmware.Version // From is 0 where nothing ran
	Bytes      int
	Upload     time.Duration
	Confirmed  bool // kept at the next start
	RolledBack bool // what ran before runs again
	// Unconfirmed where the board is paired and no key was given: the first
	// heartbeat of its daemon confirms it, or the next start undoes it.
	Pending bool
}

// Check says whether a board would take an update, before a byte is sent.
func (u Update) Check(f Found) error {
	id, floor, production := uint32(0), uint32(0), false
	if f.Info != nil {
		// What runs is confirmed on the way into the loader, and raises the floor.
		id, floor, production = f.Info.Board, max(f.Info.Floor, f.Info.Rollback), f.Info.Production()
	} else {
		id, floor, production = f.Loader.Board, f.Loader.Floor, f.Loader.Production
	}
	mine := 0
	for _, m := range u.Images {
		if m.Board.ID != id {
			continue
		}
		mine++
		public := u.Production
		if !m.Production {
			public = firmware.DevelopmentKey().Public().(ed25519.PublicKey)
		}
		switch {
		case production && !m.Production:
			return fmt.Errorf("board: %s: %w", m, firmware.WrongKey)
		case m.Rollback < floor:
			return fmt.Errorf("board: %s, and the board's floor is %d: %w", m, floor, firmware.Older)
		case public != nil:
			if err := m.Verify(public); err != nil {
				return err
			}
		}
	}
	if mine == 0 {
		var names []string
		for _, m := range u.Images {
			if !slices.Contains(names, m.Board.Name) {
				names = append(names, m.Board.Name)
			}
		}
		return fmt.Errorf("board: the board is a %s, the file is for %s: %w", boardName(id), strings.Join(names, " and "), firmware.OtherBoard)
	}
	// The loader never erases the image that runs and is confirmed; what runs is
	// confirmed before it is sent there.
	if i := f.Info; i != nil {
		free := byte('A' + 'B' - i.Slot)
		if !slices.ContainsFunc(u.Images, func(m *firmware.Image) bool { return m.Board.ID == id && m.Slot() == free }) {
			return fmt.Errorf("board: slot %c is free: %w", free, firmware.OtherSlot)
		}
	}
	return nil
}

// Flash updates the board on the line, whichever mode it is in: it checks the
// image, uploads it to the slot that does not run, starts it and has it
// confirmed. When the new image does not answer, and whenever the update breaks
// off in the loader that it entered, what ran before is started again: a board
// in its loader does not hold a door. An update that breaks off behind the last byte
// of its image cannot be undone so: the new image runs then, unconfirmed, and the error
// says it. It may be called again after any failure.
func Flash(ctx context.Context, line Line, u Update) (Flashed, error) {
	if u.Report == nil {
		u.Report = func(string, int, int) {}
	}
	c := New(line)
	defer c.Close()
	u.Report(StepFind, 0, 0)
	found, err := c.Find(ctx, bootTime)
	if err != nil {
		return Flashed{}, err
	}
	done := Flashed{Board: found.Name(), Serial: found.Serial()}
	if err := u.Check(found); err != nil {
		return done, err
	}
	if found.Info != nil {
		done.From = found.Info.Version
		if found.Info.Paired() && u.Key == nil {
			return done, fmt.Errorf("board: %w", ErrNeedsKey)
		}
		u.Report(StepEnter, 0, 0)
		if err := c.enterLoader(ctx, *found.Info, u.Key); err != nil {
			return done, err
		}
	}
	done, err = u.throughLoader(ctx, c, done)
	if err != nil && found.Info != nil && !done.RolledBack {
		u.Report(StepLeave, 0, 0)
		var after *AfterError
		switch slot, v, confirmed, left := c.leaveLoader(ctx); {
		case left == nil && errors.As(err, &after): // rollBack has said it
		case left != nil:
			err = &AfterError{err, fmt.Sprintf("the board may be in its loader still (%v): within a minute it starts what ran before, or the new image if that was complete", left)}
		case slot == done.Slot && v == done.To && confirmed:
			done.Confirmed = true
			err = &AfterError{err, stays(done)}
		case slot == done.Slot && v == done.To:
			err = &AfterError{err, fmt.Sprintf("the image was complete by then, and %s in slot %c runs: the first heartbeat confirms it, without one the next start goes back; flash it again to be sure", v, slot)}
		}
	}
	return done, err
}

// leaveLoader has a board that is in its loader start what it holds, also when
// the context has ended. It returns what runs then, and whether it says of itself that
// it is confirmed.
func (c *Conn) leaveLoader(ctx context.Context) (slot byte, v firmware.Version, confirmed bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	found, err := c.Find(ctx, bootTime)
	switch {
	case err != nil:
		return 0, 0, false, err
	case found.Info != nil:
		return found.Info.Slot, found.Info.Version, found.Info.Confirmed(), nil
	}
	slot, v, err = c.Boot(ctx)
	return slot, v, false, err
}

// enterLoader restarts an application into its loader. What answers is confirmed first,
// by the session or by hand: of two images that never were, the loader starts the newer
// one for ever, and a new image that says nothing would leave no way back.
func (c *Conn) enterLoader(ctx context.Context, i Info, key []byte) error {
	switch {
	case i.Paired():
		if _, _, err := c.Hello(ctx, key); err != nil {
			return err
		}
	case !i.Confirmed():
		// Older firmware refuses it while its enclosure is open. A refusal is a reason for
		// an update, not against it.
		var refused *Refused
		if err := c.Confirm(ctx); err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	if err := c.Restart(ctx); err != nil && !errors.Is(err, ErrSilent) { // its answer may be lost with the restart
		return err
	}
	return nil
}

func (u Update) throughLoader(ctx context.Context, c *Conn, done Flashed) (Flashed, error) {
	end, err := c.begin(ctx)
	if err != nil {
		return done, err
	}
	defer end()
	l := loader{&c.wire}
	found, err := c.find(ctx, bootTime)
	if err != nil {
		return done, err
	}
	if found.Loader == nil {
		return done, fmt.Errorf("board: it did not restart into its loader: %w", ErrLies)
	}
	to := *found.Loader
	if done.From == 0 {
		done.From = running(to)
	}
	m, err := u.imageFor(to)
	if err != nil {
		return done, err
	}
	done.Slot, done.To, done.Bytes = m.Slot(), m.Version, m.Size()
	file, err := firmware.EncodeBundle(m)
	if err != nil {
		return done, err
	}
	u.Report(StepUpload, 0, len(file))
	start := time.Now()
	if err := l.load(ctx, to, file, func(n, of int) { u.Report(StepUpload, n, of) }); err != nil {
		return done, err
	}
	done.Upload = time.Since(start)

	u.Report(StepStart, 0, 0)
	slot, v, err := l.boot(ctx)
	if err != nil {
		return done, err
	}
	if slot != done.Slot || v != done.To {
		return done, fmt.Errorf("board: it starts %c %s instead of %c %s: %w", slot, v, done.Slot, done.To, ErrNotStarted)
	}
	if asked, err := u.started(ctx, c, &done); err != nil {
		if ctx.Err() != nil {
			return done, err
		}
		u.Report(StepRollback, 0, 0)
		return done, c.rollBack(ctx, &done, asked, err)
	}
	return done, nil
}

// running is the version that a loader would start.
func running(i LoaderInfo) firmware.Version {
	var best Slot
	for _, s := range []Slot{i.A, i.B} {
		if s.State == "confirmed" && s.Sequence >= best.Sequence {
			best = s
		}
	}
	return best.Version
}

// imageFor is the one for the loader's target.
func (u Update) imageFor(to LoaderInfo) (*firmware.Image, error) {
	if err := u.Check(Found{Loader: &to}); err != nil {
		return nil, err
	}
	for _, m := range u.Images {
		if m.Board.ID == to.Board && m.Link == to.Link && m.Slot() == to.Target {
			return m, nil
		}
	}
	return nil, fmt.Errorf("board: slot %c at %#08x is free: %w", to.Target, to.Link, firmware.OtherSlot)
}

// started waits for the new application, checks that it is the one that was
// sent, and has it confirmed. Once it was asked to, it may be although err says that no
// answer came.
func (u Update) started(ctx context.Context, c *Conn, done *Flashed) (asked bool, err error) {
	found, err := c.find(ctx, bootTime)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	if found.Info == nil {
		return false, fmt.Errorf("board: it is in its loader again: %w", ErrNotStarted)
	}
	i := *found.Info
	if i.Slot != done.Slot || i.Version != done.To {
		return false, fmt.Errorf("board: %c %s runs instead of %c %s: %w", i.Slot, i.Version, done.Slot, done.To, ErrNotStarted)
	}
	u.Report(StepConfirm, 0, 0)
	switch {
	case !i.Paired():
		_, err = c.plain(ctx, askConfirm, nil, patience, tries)
	case u.Key != nil:
		_, _, err = c.hello(ctx, u.Key)
	default:
		done.Pending = !i.Confirmed()
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if i, err = c.info(ctx, tries); err != nil {
		return true, err
	}
	if !i.Confirmed() {
		return true, fmt.Errorf("board: it does not confirm the image: %w", ErrLies)
	}
	done.Confirmed = true
	return true, nil
}

// stays tells of a new image that was confirmed although the update failed.
func stays(done Flashed) string {
	return fmt.Sprintf("%s in slot %c runs and is confirmed: it stays; flash it again to be sure", done.To, done.Slot)
}

// rollBack brings back what ran before: the loader starts the confirmed image
// when the new one was tried once. It returns why it was needed. An image that was asked
// to confirm itself may have done so, and stays then.
func (c *Conn) rollBack(ctx context.Context, done *Flashed, asked bool, why error) error {
	runs := func(f Found) bool { return f.Info != nil && f.Info.Slot == done.Slot && f.Info.Version == done.To }
	found, err := c.find(ctx, bootTime)
	if err == nil && runs(found) && !found.Info.Confirmed() {
		// The new image runs and is not good: send it away.
		if c.session != nil {
			_, err = c.sealed(ctx, askSealedLoader, nil, patience, 1)
			c.end()
		} else {
			_, err = c.plain(ctx, askLoader, nil, patience, 1)
		}
		if err == nil || errors.Is(err, ErrSilent) {
			found, err = c.find(ctx, bootTime)
		}
	}
	if err == nil && found.Loader != nil {
		if _, _, err = (loader{&c.wire}).boot(ctx); err == nil {
			found, err = c.find(ctx, bootTime)
		}
	}
	switch {
	case err == nil && runs(found) && found.Info.Confirmed():
		done.Confirmed = true
		return &AfterError{why, stays(*done)}
	case (err != nil || found.Info == nil || runs(found)) && asked:
		return &AfterError{why, fmt.Sprintf("whether %s in slot %c was confirmed is unknown: switch the board off and on, and it starts that if it was, and what ran before if not", done.To, done.Slot)}
	case err != nil || found.Info == nil || runs(found):
		return &AfterError{why, "switch the board off and on: it then starts what ran before"}
	}
	done.RolledBack = true
	return fmt.Errorf("%w; version %s runs again", why, found.Info.Version)
}
