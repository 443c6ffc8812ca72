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
	// enrolling: a mistake costs the person a touch, not anybody's safety. A new
	// finger among all that are enrolled is taken for one of them as seldom, however
	// many they are.
	sameFMR = 1e-3

	// enoughSeen is the percentage of a touch that the others of an enrolment must
	// have seen, on average, to be enough: so much of the next will be known.
	enoughSeen = 75

	// poorQuality is below the quality of 95 of 100 pictures of the five sets (27 to 33
	// by set, whole, and 27 and 28 in windows of 192 px: `faceprint-eval finger
	// --reject`). An impression of less is taken again, but poorAsks times in an
	// enrolment at most: some fingers are worn and have no better.
	poorQuality = 28
	poorAsks    = 2
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
	t.Wipe()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probe != nil {
		r.probe.Wipe()
	}
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
	other, err := prepare(template)
	if err != nil {
		return 0, err
	}
	defer other.Wipe()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fresh(probe); err != nil {
		return 0, err
	}
	return score(&r.matcher, r.probe, other), nil
}

// Identify finds which of the templates the newest scan is of, with Match's score;
// -1 where none is like it at all. The score knows nothing of how many there are:
// of n templates the best has n times its false match rate.
func (r *Reader) Identify(ctx context.Context, probe sensor.Print, templates [][]byte) (index int, best float64, err error) {
	fingers := make([]*minutia.Prepared, 0, len(templates))
	defer func() {
		for _, f := range fingers {
			f.Wipe()
		}
	}()
	for _, t := range templates {
		if err := ctx.Err(); err != nil {
			return -1, 0, fmt.Errorf("host: %w", err)
		}
		p, err := prepare(t)
		if err != nil {
			return -1, 0, err
		}
		fingers = append(fingers, p)
	}
	gallery := minutia.NewGallery(fingers)
	defer gallery.Wipe()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fresh(probe); err != nil {
		return -1, 0, err
	}
	at, s := r.matcher.Search(r.probe, gallery)
	if at < 0 || s <= minutia.NoScore {
		return -1, 0, nil
	}
	return at, exponent(s, r.probe, fingers[at]), nil
}

// fresh tells whether the probe is the newest scan.
func (r *Reader) fresh(probe sensor.Print) error {
	if r.probe == nil || probe != r.last {
		return fmt.Errorf("host: %w; scan again", sensor.ErrStale)
	}
	return nil
}

// prepare makes a template ready for a comparison, for the caller to wipe.
// Nothing is kept from one attempt to the
// next: the vault's templates are in memory while they are compared, no longer.
func prepare(template []byte) (*minutia.Prepared, error) {
	impressions, err := unmarshal(template)
	if err != nil {
		return nil, err
	}
	defer wipe(impressions)
	return minutia.Prepare(impressions...), nil
}

func wipe(impressions []*minutia.Template) {
	for _, t := range impressions {
		t.Wipe()
	}
}

// score is the negative decimal exponent of the false match rate of two fingers.
func score(m *minutia.Matcher, a, b *minutia.Prepared) float64 {
	return exponent(m.Match(a, b), a, b)
}

func exponent(score float64, a, b *minutia.Prepared) float64 {
	return -math.Log10(minutia.FMROf(score, a, b))
}

// Reach is the lowest false match rate that a finger of Captures impressions can be
// believed at among so many templates, by the table of sensor/minutia.
func Reach(templates int) float64 {
	return min(1, minutia.LeastFMR(Captures)*float64(max(templates, 1)))
}

// FMR is the false match rate that a score of Match stands for.
func (r *Reader) FMR(score float64) float64 {
	if !(score >= 0) { // NaN refuses
		return 1
	}
	return math.Pow(10, -score)
}

// Family names the templates.
func (r *Reader) Family() string { return Family }

// Fits: the host reads what it made, of whatever length.
func (r *Reader) Fits([]byte) bool { return true }

// Enrol takes captures of one finger, which is lifted in between; 0 means
// Captures.
// One that is not of the same finger as those before, the most alike of which
// counts, is asked for again.
func (r *Reader) Enrol(ctx context.Context, n int, progress func(sensor.EnrolStep)) ([]byte, error) {
	if n <= 0 {
		n = Captures
	}
	n = min(n, maxImpressions)
	if progress == nil {
		progress = func(sensor.EnrolStep) {}
	}
	var c collection
	defer c.wipe()
	if err := r.collect(ctx, &c, n, progress); err != nil {
		return nil, err
	}
	return c.marshal()
}

// collection is the impressions of an enrolment.
type collection struct {
	seen    []*minutia.Template
	poor    int // that were asked for again
	matcher minutia.Matcher
}

func (c *collection) wipe() { wipe(c.seen) }

// marshal writes what the impressions are together: mostly one, and those apart
// that do not align with it.
func (c *collection) marshal() ([]byte, error) {
	merged := minutia.Merge(c.seen...)
	defer wipe(merged)
	return marshal(merged)
}

// take adds an impression behind the first done. One that is not of the same
// finger as those is a *sensor.RetryError with HintSame, one whose ridges are not
// clear, for poorAsks times, one with HintClean.
func (c *collection) take(done int, t *minutia.Template) error {
	c.seen = c.seen[:min(done, len(c.seen))]
	if t.Quality < poorQuality && c.poor < poorAsks {
		c.poor++
		err := &sensor.RetryError{Hint: sensor.HintClean, Cause: fmt.Errorf("host: the picture's quality is %d of 100, want %d", t.Quality, poorQuality)}
		t.Wipe()
		return err
	}
	if len(c.seen) > 0 {
		a, b := minutia.Prepare(t), minutia.Prepare(c.seen...)
		defer a.Wipe()
		defer b.Wipe()
		if minutia.FMROf(c.matcher.Match(a, b), a, b) > sameFMR {
			t.Wipe()
			return &sensor.RetryError{Hint: sensor.HintSame}
		}
	}
	c.seen = append(c.seen, t)
	return nil
}

// covered is what the newest impression saw of the finger. enough tells that the
// next touch is likely to fall on ground that is known: on average, of each
// impression the others saw that much.
func (c *collection) covered() sensor.Coverage {
	ps := make([]*minutia.Prepared, len(c.seen))
	for i, t := range c.seen {
		ps[i] = minutia.Prepare(t)
		defer ps[i].Wipe()
	}
	newest := len(ps) - 1
	// window is how many patches the sensor's window has.
	window := float64(c.seen[newest].Width*c.seen[newest].Height) / minutia.PatchArea
	percent := func(n int, of float64) int { return int(math.Round(100 * float64(n) / max(of, 1))) }
	known := 0
	var got minutia.Covered
	for last := range ps { // each in turn as if it came last
		var cover minutia.Cover
		for i, p := range ps {
			if i != last {
				cover.Add(&c.matcher, p)
			}
		}
		got = cover.Add(&c.matcher, ps[last])
		known += percent(got.Overlap, float64(got.Area))
		cover.Wipe()
	}
	return sensor.Coverage{
		Area: percent(got.Area, window), Overlap: percent(got.Overlap, float64(got.Area)), Seen: percent(got.Seen, window),
		Enough: len(ps) > 1 && known >= enoughSeen*len(ps),
	}
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
		step := sensor.EnrolStep{Done: len(c.seen), Of: n, Hint: sensor.HintLift}
		switch {
		case errors.As(err, &hint) && ctx.Err() == nil:
			progress(sensor.EnrolStep{Done: done, Of: n, Hint: hint.Hint})
		case err != nil:
			return err
		default:
			saw := c.covered()
			step.Coverage = &saw
		}
		progress(step)
		if err := r.sensor.Lifted(ctx); err != nil {
			return err
		}
	}
	progress(sensor.EnrolStep{Done: len(c.seen), Of: len(c.seen)})
	return nil
}

// Same tells which of the templates is of the same finger as a new one, -1 for
// none: the most alike, where a stranger is as like to any of them once in
// 1/sameFMR. One that was interrupted begins anew, for it has all it needs and is soon done.
func (r *Reader) Same(ctx context.Context, template []byte, others [][]byte, check *sensor.Check) (int, error) {
	at, _, err := r.same(ctx, template, others, check.Tell)
	return at, err
}

// same is Same, with the rate at which a stranger is as like to each of them.
func (r *Reader) same(ctx context.Context, template []byte, others [][]byte, tell func(done, of int)) (at int, fmrs []float64, err error) {
	probe, err := prepare(template)
	if err != nil {
		return -1, nil, err
	}
	defer probe.Wipe()
	var m minutia.Matcher
	best, at := 0.0, -1
	for i, o := range others {
		if tell != nil {
			tell(i, len(others))
		}
		if err := ctx.Err(); err != nil {
			return -1, nil, fmt.Errorf("host: %w", err)
		}
		other, err := prepare(o)
		if err != nil {
			return -1, nil, err
		}
		s := score(&m, probe, other)
		if s > best {
			best, at = s, i
		}
		fmrs = append(fmrs, r.FMR(s))
		other.Wipe()
	}
	if tell != nil {
		tell(len(others), len(others))
	}
	if r.FMR(best)*float64(len(others)) > sameFMR {
		at = -1
	}
	return at, fmrs, nil
}
