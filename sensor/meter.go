package sensor

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// Stats of a link since it was opened.
type Stats struct {
	Commands   uint64 `json:"commands"`   // sent
	Answers    uint64 `json:"answers"`    // packets received whole
	BadSums    uint64 `json:"bad_sums"`   // packets received damaged
	Skipped    uint64 `json:"skipped"`    // bytes that belonged to no packet
	Timeouts   uint64 `json:"timeouts"`   // answers that did not come
	Drains     uint64 `json:"drains"`     // times the line had to be emptied before speaking again
	Resyncs    uint64 `json:"resyncs"`    // times the module was asked something harmless until it answered properly
	Stale      uint64 `json:"stale"`      // times something had arrived that nobody had asked for
	Early      uint64 `json:"early"`      // answers that came sooner than the wire can carry them
	Repeats    uint64 `json:"repeats"`    // instructions sent once more
	Reverifies uint64 `json:"reverifies"` // times the module had forgotten its password (21)
	Doubts     uint64 `json:"doubts"`     // comparisons that ended in ErrDoubt

	// What the port's driver counted, 0 where it does not: characters that came
	// before there was room for them, and that had no stop bit.
	Overruns uint64 `json:"overruns"`
	Framing  uint64 `json:"framing"`

	// Round trips of the last 256 instructions, the silicon's time included.
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
}

const (
	tripsKept = 256
	noiseKept = 96
)

// meter counts what happens on a link; it may be read while the link is used.
type meter struct {
	mu    sync.Mutex
	s     Stats
	trips [tripsKept]time.Duration
	n     int
	heard []byte // the newest bytes, until a module has introduced itself
}

func (m *meter) count(what *uint64, n uint64) {
	m.mu.Lock()
	*what += n
	m.mu.Unlock()
}

// noise takes note of bytes that belong to no packet.
func (m *meter) noise(b []byte) {
	if len(b) == 0 {
		return
	}
	m.count(&m.s.Skipped, uint64(len(b)))
	m.listen(b)
}

// listen keeps the newest bytes, to tell what speaks there.
func (m *meter) listen(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, b...)
	if n := len(m.heard); n > noiseKept {
		m.heard = append(m.heard[:0], m.heard[n-noiseKept:]...)
	}
}

func (m *meter) trip(d time.Duration) {
	m.mu.Lock()
	m.trips[m.n%tripsKept] = d
	m.n++
	m.mu.Unlock()
}

func (m *meter) snapshot() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.s
	if n := min(m.n, tripsKept); n > 0 {
		t := slices.Clone(m.trips[:n])
		slices.Sort(t)
		s.Median, s.P99 = t[n/2], t[n*99/100]
	}
	return s
}

// chatter says what the noise on the line looks like, "" where nothing was heard,
// and what to do about what is known.
func (m *meter) chatter() (what, cure string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.heard
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(b, []byte(w)) })
	}
	const another = "name another port: 'faceprint sensor find' looks at all"
	switch {
	case len(b) == 0:
		return "", ""
	case has("$GP", "$GN", "$GL", "$GA", "$BD"):
		return "a satellite receiver (NMEA) speaks here", another
	case has("\xB5\x62\x01", "\xB5\x62\x05", "\xB5\x62\x0A"): // u-blox's sync characters, then NAV, ACK or MON
		return "a satellite receiver (UBX) speaks here", another
	case has("login:", "Password:", "raspberrypi", "Linux version", "[    0.", "# ", "$ "):
		return "a console is on this port", "on a Pi: raspi-config, Interface Options, Serial Port, no login shell"
	case has("AT\r", "RING", "NO CARRIER", "\r\nOK\r\n", "\r\nERROR\r\n", "+CME"):
		return "a modem answers here", another
	}
	return "what is heard there is noise: another baud rate, or a loose wire", ""
}

// damage counts what showed that the wire is bad.
func (m *meter) damage() uint64 {
	s := m.snapshot()
	return s.BadSums + s.Skipped + s.Timeouts + s.Repeats
}
