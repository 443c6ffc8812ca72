package host

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"sync"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/minutia"
)

// Family names these templates. They do not depend on the module.
const Family = "minutia-1"

const (
	// dpi of the modules' sensors (R503 manual V1.2.2, section 1: 508; optical
	// units about 500).
	dpi = 508
	// Captures of an enrolment that names no number: as many as most modules
	// merge.
	Captures = 4
	// sameFMR is when two impressions are taken for the same finger while
	// enrolling: a mistake costs the person a touch, not anybody's safety.
	sameFMR = 1e-3
)

// Sensor takes pictures of fingers; *sensor.Module is one.
type Sensor interface {
	// See waits for a finger and takes its picture.
	See(context.Context) (sensor.Print, sensor.Picture, error)
	// Lifted waits until the finger is gone.
	Lifted(context.Context) error
}

// Reader reads and compares fingers. Its methods may be called concurrently.
type Reader struct {
	sensor Sensor

	mu      sync.Mutex
	last    sensor.Print // of the newest scan
	probe   *minutia.Prepared
	matcher minutia.Matcher
}

// New makes a reader of what the sensor sees.
func New(s Sensor) *Reader { return &Reader{sensor: s} }

// Scan waits for a finger of which enough can be read. What is wrong with a
// picture is a *sensor.RetryError.
func (r *Reader) Scan(ctx context.Context) (sensor.Print, error) {
	print, t, err := r.see(ctx)
	if err != nil {
		return sensor.Print{}, err
	}
	probe := minutia.Prepare(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.probe = print, probe
	return print, nil
}

func (r *Reader) see(ctx context.Context) (sensor.Print, *minutia.Template, error) {
	print, p, err := r.sensor.See(ctx)
	if err != nil {
		return print, nil, err
	}
	defer clear(p.Pix)
	t, err := read(p)
	return print, t, err
}

// read is what can be read of a picture. What is wrong with it is a
// *sensor.RetryError.
func read(p sensor.Picture) (*minutia.Template, error) {
	if len(p.Pix) != p.Width*p.Height {
		return nil, fmt.Errorf("host: %d pixels for %dx%d: %w", len(p.Pix), p.Width, p.Height, sensor.ErrProtocol)
	}
	t, err := minutia.Extract(&image.Gray{Pix: p.Pix, Stride: p.Width, Rect: image.Rect(0, 0, p.Width, p.Height)}, dpi)
	switch {
	case errors.Is(err, minutia.ErrNoFinger):
		err = &sensor.RetryError{Hint: sensor.HintAgain, Cause: err}
	case errors.Is(err, minutia.ErrPoor):
		err = &sensor.RetryError{Hint: sensor.HintFlat, Cause: err}
	case err != nil:
		err = fmt.Errorf("host: %w: %w", sensor.ErrProtocol, err)
	}
	return t, err
}

// Match compares the newest scan with a template. The score is the false match
// rate's negative decimal exponent: 4 is reached by one in 10,000 other
// fingers, 0 by all. ErrStale: there was another scan.
func (r *Reader) Match(_ context.Context, probe sensor.Print, template []byte) (float64, error) {
	impressions, err := unmarshal(template)
	if err != nil {
		return 0, err
	}
	other := minutia.Prepare(impressions...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probe == nil || probe != r.last {
		return 0, fmt.Errorf("host: %w; scan again", sensor.ErrStale)
	}
	return -math.Log10(fmr(r.matcher.Match(r.probe, other), len(impressions))), nil
}

// fmr is the false match rate of the best of n comparisons, by the table of
// sensor/minutia.
func fmr(best float64, n int) float64 { return min(1, float64(n)*minutia.FMR(best)) }

// FMR is the false match rate that a score of Match stands for.
func (r *Reader) FMR(score float64) float64 {
	if !(score >= 0) { // NaN refuses
		return 1
	}
	return math.Pow(10, -score)
}

// Family names the templates.
func (r *Reader) Family() string { return Family }

// Enrol takes captures of one finger, which is lifted in between; 0 means
// Captures.
// One that is not of the same finger as the first is asked for again.
func (r *Reader) Enrol(ctx context.Context, n int, progress func(sensor.EnrolStep)) ([]byte, error) {
	if n <= 0 {
		n = Captures
	}
	n = min(n, maxImpressions)
	if progress == nil {
		progress = func(sensor.EnrolStep) {}
	}
	var c collection
	if err := r.collect(ctx, &c, n, progress); err != nil {
		return nil, err
	}
	return marshal(c.seen)
}

// collection is the impressions of an enrolment.
type collection struct {
	seen    []*minutia.Template
	matcher minutia.Matcher
}

// take adds an impression behind the first done. One that is not of the same
// finger as those is a *sensor.RetryError with HintSame.
func (c *collection) take(done int, t *minutia.Template) error {
	c.seen = c.seen[:min(done, len(c.seen))]
	if n := len(c.seen); n > 0 && fmr(c.matcher.Match(minutia.Prepare(t), minutia.Prepare(c.seen...)), n) > sameFMR {
		return &sensor.RetryError{Hint: sensor.HintSame}
	}
	c.seen = append(c.seen, t)
	return nil
}

// collect takes captures until there are n.
func (r *Reader) collect(ctx context.Context, c *collection, n int, progress func(sensor.EnrolStep)) error {
	for len(c.seen) < n {
		done := len(c.seen)
		progress(sensor.EnrolStep{Done: done, Of: n, Hint: sensor.HintNoFinger})
		_, t, err := r.see(ctx)
		if err == nil {
			err = c.take(done, t)
		}
		hint := (*sensor.RetryError)(nil)
		switch {
		case errors.As(err, &hint) && ctx.Err() == nil:
			progress(sensor.EnrolStep{Done: done, Of: n, Hint: hint.Hint})
		case err != nil:
			return err
		}
		progress(sensor.EnrolStep{Done: len(c.seen), Of: n, Hint: sensor.HintLift})
		if err := r.sensor.Lifted(ctx); err != nil {
			return err
		}
	}
	progress(sensor.EnrolStep{Done: len(c.seen), Of: len(c.seen)})
	return nil
}

// Same tells which of the templates is of the same finger as a new one, -1 for
// none.
func (r *Reader) Same(ctx context.Context, template []byte, others [][]byte) (int, error) {
	impressions, err := unmarshal(template)
	if err != nil {
		return -1, err
	}
	probe := minutia.Prepare(impressions...)
	var m minutia.Matcher
	for i, o := range others {
		if err := ctx.Err(); err != nil {
			return -1, fmt.Errorf("host: %w", err)
		}
		theirs, err := unmarshal(o)
		if err != nil {
			return -1, err
		}
		n := len(impressions) * len(theirs)
		if fmr(m.Match(probe, minutia.Prepare(theirs...)), n) <= sameFMR {
			return i, nil
		}
	}
	return -1, nil
}
