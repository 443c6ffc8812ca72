package sensor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Print is one scan. What was scanned stays in the module's buffer until the
// next scan; a Print is only a receipt for it, good for Match until then.
type Print struct {
	serial uint64 // of the scan, 0 for none
	starts int    // of the module before it
}

// scans numbers the scans of all modules, so that no print is good for another
// module, nor for another opening of the same.
var scans atomic.Uint64

// spend makes older prints stale. Whoever calls it has the turn.
func (m *Module) spend() { m.scans = scans.Add(1) }

// Scan waits for a finger, takes its picture (GetImageEx, else GenImg; manual pp.
// 23, 15) and extracts its features into the module's first buffer (Img2Tz, p.
// 17). It waits until the context ends, which is a *RetryError with HintNoFinger
// when only a finger was missing. A picture that is no good (codes 03, 06, 07, 15)
// is a *RetryError as well. While no finger is there (02) the wire is free for
// others between two looks.
func (m *Module) Scan(ctx context.Context) (Print, error) {
	return m.watch(ctx, func() (Print, error) { return m.scan(ctx, 1) })
}

// See is Scan for somebody who compares on the host: the picture is read
// (UpImage, manual p. 15; code 0F where there is none) before the module extracts
// its features, which may take it.
func (m *Module) See(ctx context.Context) (p Print, pic Picture, err error) {
	p, err = m.watch(ctx, func() (Print, error) {
		m.spend()
		if err := m.expose(ctx); err != nil {
			return Print{}, err
		}
		if pic, err = m.upImage(ctx); err != nil {
			return Print{}, err
		}
		return m.extract(ctx, 1)
	})
	if err != nil {
		clear(pic.Pix)
		return Print{}, Picture{}, err
	}
	return p, pic, nil
}

// watch looks until there is a finger.
func (m *Module) watch(ctx context.Context, look func() (Print, error)) (Print, error) {
	turn := func() (Print, error) {
		release, err := m.take(ctx)
		if err != nil {
			return Print{}, err
		}
		defer release()
		return look()
	}
	for poll := pollFirst; ; poll = min(2*poll, pollMost) {
		p, err := turn()
		if !isCode(err, NoFinger) {
			return p, waited(ctx, retry(err))
		}
		if err := m.rest(ctx, poll, true); err != nil {
			return Print{}, waited(ctx, err)
		}
	}
}

// scan takes one picture and its features into a buffer.
func (m *Module) scan(ctx context.Context, buffer byte) (Print, error) {
	m.spend() // whatever comes of it, older prints are stale
	if err := m.expose(ctx); err != nil {
		return Print{}, err
	}
	return m.extract(ctx, buffer)
}

// expose takes a picture: by GetImageEx where the module has it, which answers 07
// to a poor one, where GenImg answers OK and only Img2Tz, half a second or a
// whole picture on the wire later, that it is of no use. A poor one is taken anew
// a few times, for the finger may just be coming down.
func (m *Module) expose(ctx context.Context) error {
	if !m.imageEx {
		_, err := m.link.command(ctx, GenImg)
		return err
	}
	for try := 1; ; try++ {
		_, err := m.link.command(ctx, GetImageEx)
		if try == poorTries || !isCode(err, FewFeatures) {
			return err
		}
	}
}

// extract takes the features of the picture that was taken last.
func (m *Module) extract(ctx context.Context, buffer byte) (Print, error) {
	if _, err := m.link.command(ctx, Img2Tz, buffer); err != nil {
		return Print{}, err
	}
	m.used = time.Now()
	return Print{serial: m.scans, starts: m.link.starts()}, nil
}

// await takes an enrolment's capture number n of so many, for somebody who has the
// wire: it waits for a finger. taken is called between the picture and its features,
// for which some units use the picture's memory. Where close, it looks so often that
// the module cannot start anew between two looks.
//
// RegModel merges every buffer: where there are more than captures, each has its
// share of them, or what was in them before would be merged as well.
func (m *Module) await(ctx context.Context, n, captures int, close bool, taken func() error) error {
	for poll := pollFirst; ; poll = min(2*poll, pollMost) {
		m.spend()
		err := m.expose(ctx)
		if err == nil {
			err = taken()
		}
		for buffer := n; buffer <= m.info.Buffers && err == nil; buffer += captures {
			_, err = m.extract(ctx, byte(buffer))
		}
		if !isCode(err, NoFinger) {
			return waited(ctx, retry(err))
		}
		if close {
			err = sleep(ctx, pollFirst)
		} else {
			err = m.rest(ctx, poll, true)
		}
		if err != nil {
			return waited(ctx, err)
		}
	}
}

// waited makes a time that ran out while waiting for a finger the person's
// business, and leaves a cancellation what it is.
func waited(ctx context.Context, err error) error {
	if errors.Is(over(ctx), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return &RetryError{Hint: HintNoFinger, Cause: err}
	}
	return err
}

// Lifted waits until no finger is on the sensor (GenImg, manual p. 15, answers 02);
// one that stays is a *RetryError with HintLift.
func (m *Module) Lifted(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.spend()
	if err := waited(ctx, m.waitLifted(ctx, false)); err != nil {
		if r := (*RetryError)(nil); errors.As(err, &r) {
			r.Hint = HintLift
		}
		return err
	}
	return nil
}

// waitLifted is Lifted for somebody who has the wire; close as for await.
func (m *Module) waitLifted(ctx context.Context, close bool) error {
	for {
		_, err := m.link.command(ctx, GenImg)
		if isCode(err, NoFinger) {
			return nil
		}
		if e := (*CodeError)(nil); err != nil && !errors.As(err, &e) {
			return err
		}
		if close {
			err = sleep(ctx, pollFirst)
		} else {
			err = m.rest(ctx, pollFirst, false)
		}
		if err != nil {
			return err
		}
	}
}

// rest waits for a finger to come, or to go: until the wake line says so, else
// for the time between two looks. The line is not believed alone: rain wakes a
// sensor, and a wire breaks.
func (m *Module) rest(ctx context.Context, poll time.Duration, touched bool) error {
	if m.wake == nil || m.wake.Touched() == touched {
		return sleep(ctx, poll)
	}
	m.wake.Wait(ctx, wakePoll)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sensor: %w", err)
	}
	return nil
}

// CheckTemplate refuses what cannot be a template (ErrTemplate).
func CheckTemplate(t []byte) error {
	if len(t) < leastTemplate || len(t) > maxTemplate {
		return fmt.Errorf("sensor: %d bytes, %d to %d are possible: %w", len(t), leastTemplate, maxTemplate, ErrTemplate)
	}
	for _, blank := range []byte{0x00, 0xFF} { // what erased flash and a dead line deliver
		if bytes.Count(t, []byte{blank}) == len(t) {
			return fmt.Errorf("sensor: every byte is %02X: %w", blank, ErrTemplate)
		}
	}
	return nil
}

// EnrolStep tells how far an enrolment is.
type EnrolStep struct {
	Done, Of int  // captures
	Hint     Hint // what the person should do now, empty when nothing
	// Coverage is what the capture that was just taken saw, nil where the module
	// gives no pictures or they would take too long (Config.Coverage).
	Coverage *Coverage
}

// Enrol takes the captures of one finger as Scan does, with the finger lifted in
// between, merges them (RegModel, manual p. 17) and returns the template (UpChar,
// p. 18; 0D where it cannot). captures is bounded by the module's buffers, 2 to 6;
// 0 means as many as it merges. A capture that did not
// come out is asked for again until the context ends. progress may be nil.
//
// A module that loses its power forgets its captures, and would blame the finger or
// merge the few of after: they are taken anew then, which progress is told
// (HintAnew), and after the third time it is ErrStale. progress should return at once:
// a module that starts while it is called may be overlooked.
//
// A *RetryError with HintSame means that the captures do not belong together (0A).
func (m *Module) Enrol(ctx context.Context, captures int, progress func(EnrolStep)) ([]byte, error) {
	return m.EnrolSeen(ctx, captures, progress, nil)
}

// EnrolSeen is Enrol for somebody who compares on the host as well: see, where it
// is not nil, is shown the picture of each capture, which is behind the first done,
// and may ask for another by a *RetryError. It must not keep the pixels.
func (m *Module) EnrolSeen(ctx context.Context, captures int, progress func(EnrolStep), see func(done int, p Picture) error) ([]byte, error) {
	release, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if progress == nil {
		progress = func(EnrolStep) {}
	}
	if captures <= 0 || captures > m.info.Buffers {
		captures = m.info.Buffers
	}
	m.loaded = true // the second capture goes there
	memory := memory{m: m}
	var covered coverage
	done, anew := 0, 0
	// restarted begins anew where the captures so far are gone.
	restarted := func(doubt, look bool) (bool, error) {
		if done == 0 {
			return false, nil
		}
		lost, err := memory.lost(ctx, doubt, look)
		if err != nil || !lost {
			return false, waited(ctx, err)
		}
		if anew++; anew > resetsMost {
			return false, fmt.Errorf("sensor: %s was reset %d times in one enrolment; check its supply and its cable: %w", m.info.Port, anew, ErrStale)
		}
		done, covered = 0, coverage{}
		progress(EnrolStep{Of: captures, Hint: HintAnew})
		return true, nil
	}
	for {
		for done < captures {
			progress(EnrolStep{Done: done, Of: captures, Hint: HintNoFinger})
			var p Picture
			err := m.await(ctx, done+1, captures, done > 0, func() (err error) {
				switch { // the finger may go while its picture is read
				case see != nil:
					progress(EnrolStep{Done: done, Of: captures, Hint: HintLift})
					if p, err = m.upImage(ctx); err == nil {
						err = see(done, p)
					}
				case m.covers():
					progress(EnrolStep{Done: done, Of: captures, Hint: HintLift})
					p, err = m.glance(ctx)
				}
				return err
			})
			whole := p.Pix != nil
			var seen *Coverage
			if r := (*RetryError)(nil); errors.As(err, &r) && ctx.Err() == nil {
				progress(EnrolStep{Done: done, Of: captures, Hint: r.Hint})
			} else if err != nil {
				clear(p.Pix)
				return nil, err
			} else {
				if done++; done == 1 {
					if err := memory.begin(ctx); err != nil {
						clear(p.Pix)
						return nil, waited(ctx, err)
					}
				}
				if whole && m.coverage {
					c := covered.add(p)
					seen = &c
				}
			}
			clear(p.Pix)
			// That there is no picture, after it was read whole, is what a module says
			// that started in between.
			again, err := restarted(whole && isCode(err, NoImage), false)
			if err != nil {
				return nil, err
			}
			if again {
				seen = nil
			}
			progress(EnrolStep{Done: done, Of: captures, Hint: HintLift, Coverage: seen})
			if err := m.waitLifted(ctx, true); err != nil {
				return nil, waited(ctx, err)
			}
			if _, err := restarted(false, false); err != nil {
				return nil, err
			}
		}
		again, err := restarted(false, true)
		if err != nil {
			return nil, err
		}
		if !again {
			break
		}
	}
	template, err := m.merge(ctx)
	if m.link.starts() != memory.starts { // in the last moment
		clear(template)
		return nil, errors.Join(fmt.Errorf("sensor: %s was reset meanwhile: %w; enrol again", m.info.Port, ErrStale), err)
	}
	if err != nil {
		return nil, err
	}
	progress(EnrolStep{Done: captures, Of: captures})
	return template, nil
}

// memory tells whether a module still has the captures of an enrolment. One with a
// password says that it was reset (21), one that sends a ready byte too. The
// others are deaf while they start, 50 ms or more, so that who asks all the time
// gets no answer once; and the optical ones can be asked for the first capture, by
// UpChar, whether it is what it was.
type memory struct {
	m      *Module
	starts int   // when the first capture was taken
	quiet  int   // silences up to which all was well
	first  *hash // the first capture's, nil where it cannot be read
}

// begin is called with the first capture taken.
func (k *memory) begin(ctx context.Context) error {
	*k = memory{m: k.m, starts: k.m.link.starts(), quiet: k.m.link.silences}
	if k.m.info.Buffers != 2 { // the R503 reads its newest template, whichever buffer is named
		return nil
	}
	var err error
	k.first, _, err = k.read(ctx, 1)
	return err
}

// read is what a buffer holds, nil where that is nothing or nothing of use; told is
// false where the wire lost it.
func (k *memory) read(ctx context.Context, buffer byte) (held *hash, told bool, err error) {
	b, err := k.m.link.fetch(ctx, maxTemplate, anySize, UpChar, buffer)
	defer clear(b)
	e := (*CodeError)(nil)
	switch {
	case errors.As(err, &e), err == nil && CheckTemplate(b) != nil:
		return nil, true, nil
	case err != nil && ctx.Err() == nil && damaged(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	h := hash(sha256.Sum256(b))
	return &h, true, nil
}

// lost tells whether the captures are gone. doubt: something hints at it; look: the
// module is asked even where nothing does.
func (k *memory) lost(ctx context.Context, doubt, look bool) (bool, error) {
	l := k.m.link
	doubt = doubt || l.silences != k.quiet
	if l.starts() != k.starts || k.first == nil || !doubt && !look {
		return doubt || l.starts() != k.starts, nil
	}
	now, told, err := k.read(ctx, 1)
	switch {
	case err != nil || !told:
		return doubt, err
	case l.starts() != k.starts || now == nil:
		return true, nil
	case *now == *k.first:
		k.quiet = l.silences
		return false, nil
	}
	other, _, err := k.read(ctx, 2)
	if err != nil || other != nil && *other == *now { // it reads the newest, like the R503
		k.first = nil
		return doubt, err
	}
	return true, nil
}

// covers tells whether an enrolment reads pictures: where it is asked for, and
// one is through the wire before the person has lost patience.
func (m *Module) covers() bool {
	w, h := m.info.Window()
	return m.coverage && m.link.airtime(w*h/2) <= coverageMost
}

// glance reads the picture that was just taken. A module that has none to give
// is not asked again; one that is damaged on the wire is left out, for it only
// advises.
func (m *Module) glance(ctx context.Context) (Picture, error) {
	p, err := m.upImage(ctx)
	e := (*CodeError)(nil)
	switch {
	case errors.As(err, &e):
		m.coverage = false
	case err == nil || ctx.Err() != nil || !damaged(err):
		return p, err
	}
	return Picture{}, nil
}

// merge makes a template of the captures in the buffers and reads it. The size
// differs by firmware and nothing announces it, so that a transfer that ended
// early looks whole: it is read twice and must be the same.
func (m *Module) merge(ctx context.Context) ([]byte, error) {
	m.loaded = true
	if _, err := m.link.command(ctx, RegModel); err != nil {
		return nil, retry(err)
	}
	first, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 1)
	if err != nil {
		return nil, err
	}
	second, err := m.link.fetch(ctx, maxTemplate, anySize, UpChar, 1)
	defer clear(second)
	if err == nil {
		err = CheckTemplate(first)
	}
	if err == nil && subtle.ConstantTimeCompare(first, second) != 1 {
		err = fmt.Errorf("sensor: %s: the template was read twice, %d and %d bytes, and differs: %w", m.info.Port, len(first), len(second), ErrSum)
	}
	if err != nil {
		clear(first)
		return nil, err
	}
	m.learn(func(i *Info) { i.seen(Info{Template: len(first)}) })
	return first, nil
}
