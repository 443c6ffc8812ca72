package host

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/faceprint/faceprint/sensor"
)

// Module is a sensor that compares fingers itself; *sensor.Module is one.
type Module interface {
	Sensor
	Match(ctx context.Context, probe sensor.Print, template []byte) (float64, error)
	// EnrolSeen is Enrol, with the picture of each capture shown.
	EnrolSeen(ctx context.Context, captures int, progress func(sensor.EnrolStep), see func(done int, p sensor.Picture) error) ([]byte, error)
	Same(ctx context.Context, template []byte, others [][]byte, check *sensor.Check) (int, error)
	Family() string
	// Fits tells whether a template of the family is of the size that this module makes.
	Fits(template []byte) bool
}

// A module that says yes to a picture that the host takes for another finger's is
// refused. That may happen to an honest one as well, but not again and again.
const (
	// misfitFMR is when the host takes two fingers for different ones. In a window
	// of 192x192, six impressions enrolled, that held for none of 90 genuine scans
	// and for 95 % of 2610 of other fingers (TestMisfitsOfHonestScans with 30
	// synthetic fingers); of real ones, one impression with one, some percent of the
	// genuine are as unlike (the README's figures).
	misfitFMR = 0.01
	// misfits without a match as sure as sameFMR in between, for one template or of
	// all, are an attack.
	misfits = 3
)

// Both believes a finger only to the module and the host together: the module
// compares what it scanned, among decoys, and the host compares the picture of that
// scan. How sure a yes is, is the host's word alone: the module's can only refuse.
// Its methods may be called concurrently.
type Both struct {
	host   *Reader
	module Module

	mu  sync.Mutex
	row map[[sha256.Size]byte]int // misfits since the last fit, by template; those of all under the zero key
}

// NewBoth makes a reader of a module and of what it sees.
func NewBoth(m Module) *Both {
	return &Both{host: New(m), module: m, row: make(map[[sha256.Size]byte]int)}
}

// Scan waits for a finger of which the host and the module can read enough.
func (b *Both) Scan(ctx context.Context) (sensor.Print, error) { return b.host.Scan(ctx) }

// Match compares the newest scan with a template: Reader.Match's score where the
// module says yes, else 0. A yes that does not fit the picture is ErrDoubt, and
// the third in a row a *sensor.AttackError.
func (b *Both) Match(ctx context.Context, probe sensor.Print, template []byte) (float64, error) {
	theirs, ours, err := split(template)
	if err != nil {
		return 0, err
	}
	said, err := b.module.Match(ctx, probe, theirs)
	if err != nil {
		return 0, err
	}
	score, err := b.host.Match(ctx, probe, ours)
	if err != nil || !(said > 0) {
		return 0, err
	}
	if err := b.fits(template, b.host.FMR(score)); err != nil {
		return 0, err
	}
	return score, nil
}

// fits judges a yes of the module by what the host makes of the picture.
func (b *Both) fits(template []byte, fmr float64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, all := sha256.Sum256(template), [sha256.Size]byte{}
	switch {
	case fmr <= sameFMR:
		delete(b.row, one)
		delete(b.row, all)
		return nil
	case fmr <= misfitFMR: // neither one nor the other
		return nil
	}
	b.row[one]++
	b.row[all]++
	what := fmt.Sprintf("the module says yes to the picture of another finger (false match rate %.2g)", fmr)
	if n := max(b.row[one], b.row[all]); n >= misfits {
		clear(b.row)
		return &sensor.AttackError{Kind: sensor.AttackMisfit, Detail: fmt.Sprintf("%s, %d times in a row", what, n)}
	}
	return fmt.Errorf("host: %s: %w", what, sensor.ErrDoubt)
}

// Identify finds which of the templates the newest scan is of, index -1 for none:
// the host searches, and the module must agree with what it finds.
func (b *Both) Identify(ctx context.Context, probe sensor.Print, templates [][]byte) (index int, score float64, err error) {
	gallery := make([][]byte, len(templates))
	for i, t := range templates {
		if _, gallery[i], err = split(t); err != nil {
			return -1, 0, err
		}
	}
	if index, score, err = b.host.Identify(ctx, probe, gallery); err != nil {
		return -1, 0, err
	}
	if index < 0 || b.host.FMR(score) > misfitFMR {
		return -1, 0, nil
	}
	if score, err = b.Match(ctx, probe, templates[index]); err != nil || !(score > 0) {
		return -1, 0, err
	}
	return index, score, nil
}

// FMR is the false match rate that a score of Match stands for.
func (b *Both) FMR(score float64) float64 { return b.host.FMR(score) }

// Family names the templates, "" while the module's is not known.
func (b *Both) Family() string {
	family := b.module.Family()
	if family == "" {
		return ""
	}
	return family + "+" + Family
}

// Fits tells whether the module's half of a template is of the module's size.
func (b *Both) Fits(template []byte) bool {
	theirs, _, err := split(template)
	return err != nil || b.module.Fits(theirs) // what is damaged is told by Match
}

// Enrol takes captures of one finger for both; 0 means as many as the module
// merges, and Captures at least. Where the module merges fewer, the rest is the
// host's alone.
func (b *Both) Enrol(ctx context.Context, n int, progress func(sensor.EnrolStep)) ([]byte, error) {
	if progress == nil {
		progress = func(sensor.EnrolStep) {}
	}
	want := n
	if n <= 0 {
		want = Captures
	}
	var c collection
	defer c.wipe()
	theirs, err := b.module.EnrolSeen(ctx, min(max(n, 0), maxImpressions), func(s sensor.EnrolStep) {
		if s.Done < s.Of || s.Hint != "" { // the end comes below
			s.Of = max(s.Of, want)
			progress(s)
		}
	}, func(done int, p sensor.Picture) error {
		t, err := read(p)
		if err != nil {
			return err
		}
		return c.take(done, t)
	})
	if err != nil {
		return nil, err
	}
	defer clear(theirs)
	if err := b.host.collect(ctx, &c, want, progress); err != nil {
		return nil, err
	}
	ours, err := c.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(ours)
	return join(theirs, ours), nil
}

// Same tells which of the templates is of the same finger as a new one, for the
// host or for the module, -1 for none. The module is asked only about those that the
// host does not take for another finger's: each takes it half a second and more.
func (b *Both) Same(ctx context.Context, template []byte, others [][]byte, check *sensor.Check) (int, error) {
	theirs, ours, err := split(template)
	if err != nil {
		return -1, err
	}
	var module, host [][]byte
	for _, o := range others {
		t, h, err := split(o)
		if err != nil {
			return -1, err
		}
		module, host = append(module, t), append(host, h)
	}
	at, fmrs, err := b.host.same(ctx, ours, host, nil)
	if err != nil || at >= 0 {
		return at, err
	}
	var asked []int
	var about [][]byte
	for i, fmr := range fmrs {
		if fmr <= misfitFMR {
			asked, about = append(asked, i), append(about, module[i])
		}
	}
	if at, err = b.module.Same(ctx, theirs, about, check); err != nil || at < 0 || at >= len(asked) {
		return -1, err
	}
	return asked[at], nil
}

// A template of both is a version, the length of the module's, big-endian, that
// and the host's. The first byte differs from that of the host's alone.
const bothVersion = 0xB1

func join(theirs, ours []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{bothVersion}, uint16(len(theirs)))
	return append(append(b, theirs...), ours...)
}

// split accepts only what join writes; other bytes are sensor.ErrTemplate. The
// parts are those of b.
func split(b []byte) (theirs, ours []byte, err error) {
	if len(b) < 3 || b[0] != bothVersion {
		return nil, nil, fmt.Errorf("host: not a template of module and host: %w", sensor.ErrTemplate)
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if b = b[3:]; n == 0 || n > len(b) {
		return nil, nil, fmt.Errorf("host: %d bytes of the module's template in %d: %w", n, len(b), sensor.ErrTemplate)
	}
	impressions, err := unmarshal(b[n:])
	if err != nil {
		return nil, nil, err
	}
	wipe(impressions)
	return b[:n:n], b[n:], nil
}
