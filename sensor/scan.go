package sensor

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// Print is one scan. What was scanned stays in the module's buffer until the
// next scan; a Print is only a receipt for it, good for Match until then.
type Print struct {
	serial uint64 // of the scan, 0 for none
	resets int    // of the module before it
}

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
		m.scans++
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
	m.scans++ // whatever comes of it, older prints are stale
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
	return Print{serial: m.scans, resets: m.link.resets}, nil
}

// await is scan for somebody who has the wire: it waits for a finger. taken is
// called between the picture and its features, for which some units use the
// picture's memory.
func (m *Module) await(ctx context.Context, buffer byte, taken func() error) error {
	for poll := pollFirst; ; poll = min(2*poll, pollMost) {
		m.scans++
		err := m.expose(ctx)
		if err == nil {
			err = taken()
		}
		if err == nil {
			_, err = m.extract(ctx, buffer)
		}
		if !isCode(err, NoFinger) {
			return waited(ctx, retry(err))
		}
		if err := m.rest(ctx, poll, true); err != nil {
			return waited(ctx, err)
		}
	}
}

// waited makes a time that ran out while waiting for a finger the person's
// business, and leaves a cancellation what it is.
func waited(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
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
	m.scans++
	if err := waited(ctx, m.waitLifted(ctx)); err != nil {
		if r := (*RetryError)(nil); errors.As(err, &r) {
			r.Hint = HintLift
		}
		return err
	}
	return nil
}

// waitLifted is Lifted for somebody who has the wire.
func (m *Module) waitLifted(ctx context.Context) error {
	for {
		_, err := m.link.command(ctx, GenImg)
		if isCode(err, NoFinger) {
			return nil
		}
		if e := (*CodeError)(nil); err != nil && !errors.As(err, &e) {
			return err
		}
		if err := m.rest(ctx, pollFirst, false); err != nil {
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

// checkTemplate refuses what cannot be a template.
func checkTemplate(t []byte) error {
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
	starts := m.link.starts()
	var covered coverage
	for done := 0; done < captures; {
		progress(EnrolStep{Done: done, Of: captures, Hint: HintNoFinger})
		var p Picture
		err := m.await(ctx, byte(done+1), func() (err error) {
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
		var seen *Coverage
		if r := (*RetryError)(nil); errors.As(err, &r) && ctx.Err() == nil {
			progress(EnrolStep{Done: done, Of: captures, Hint: r.Hint})
		} else if err != nil {
			return nil, err
		} else {
			done++
			if p.Pix != nil && m.coverage {
				c := covered.add(p)
				seen = &c
			}
		}
		clear(p.Pix)
		restarted := func() { // the captures so far are gone
			if m.link.starts() == starts {
				return
			}
			done, starts = 0, m.link.starts()
			covered, seen = coverage{}, nil
		}
		restarted()
		progress(EnrolStep{Done: done, Of: captures, Hint: HintLift, Coverage: seen})
		if err := m.waitLifted(ctx); err != nil {
			return nil, waited(ctx, err)
		}
		restarted()
	}
	template, err := m.merge(ctx)
	if m.link.starts() != starts { // in the last moment
		clear(template)
		return nil, errors.Join(fmt.Errorf("sensor: %s was reset meanwhile: %w; enrol again", m.info.Port, ErrStale), err)
	}
	if err != nil {
		return nil, err
	}
	progress(EnrolStep{Done: captures, Of: captures})
	return template, nil
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
		err = checkTemplate(first)
	}
	if err == nil && subtle.ConstantTimeCompare(first, second) != 1 {
		err = fmt.Errorf("sensor: %s: the template was read twice, %d and %d bytes, and differs: %w", m.info.Port, len(first), len(second), ErrSum)
	}
	if err != nil {
		clear(first)
		return nil, err
	}
	return first, nil
}
