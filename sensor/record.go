package sensor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A recording is the talk with a module as text: a first line that says what it
// is, then one event a line, ">" with what was sent or "<" with what came, in
// hexadecimal, or "-" where nothing came until whoever listened gave up. Comments
// begin with "#".

const recordingHeader = "# faceprint recording 1"

// Event is one stretch of bytes on the wire, or of silence.
type Event struct {
	Sent bool
	Data []byte // 1 to maxEvent bytes, none where nothing came
}

const maxEvent = 4096

// ErrRecording: text that is no recording, or a talk that is not the recorded
// one.
var ErrRecording = errors.New("recording does not fit")

// FormatRecording writes a recording.
func FormatRecording(events []Event) []byte {
	var b bytes.Buffer
	b.WriteString(recordingHeader + "\n")
	for _, e := range events {
		switch {
		case e.Sent:
			fmt.Fprintf(&b, "> %X\n", e.Data)
		case len(e.Data) > 0:
			fmt.Fprintf(&b, "< %X\n", e.Data)
		default:
			b.WriteString("-\n")
		}
	}
	return b.Bytes()
}

// ParseRecording reads one; errors name the line. One without an event is refused.
func ParseRecording(text []byte) ([]Event, error) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // what some editors begin a text with
	if err := isRecording(text); err != nil {
		return nil, fmt.Errorf("sensor: %w: %w", err, ErrRecording)
	}
	var events []Event
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 2*maxEvent+16)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if line == "-" {
			events = append(events, Event{})
			continue
		}
		way, digits, _ := strings.Cut(line, " ")
		data, err := hex.DecodeString(digits)
		if err != nil || len(data) == 0 || len(data) > maxEvent || way != ">" && way != "<" {
			return nil, fmt.Errorf("sensor: line %d: %.40q is no event: %w", n, line, ErrRecording)
		}
		events = append(events, Event{way == ">", data})
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("sensor: line %d: longer than the %d bytes of an event: %w", n+1, maxEvent, ErrRecording)
	case err != nil:
		return nil, fmt.Errorf("sensor: line %d: %w: %w", n+1, err, ErrRecording)
	case len(events) == 0:
		return nil, fmt.Errorf("sensor: nothing was recorded in it: %w", ErrRecording)
	}
	return events, nil
}

// isRecording tells by its beginning what text is, if it is no recording.
func isRecording(text []byte) error {
	const before = len("# faceprint recording ")
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSpace(line)
	switch {
	case string(line) == recordingHeader:
		return nil
	case len(text) == 0:
		return errors.New("it is empty")
	case bytes.HasPrefix(text, []byte{0xFF, 0xFE}), bytes.HasPrefix(text, []byte{0xFE, 0xFF}):
		return errors.New("it is text in UTF-16, which an editor or a shell made of it; save it as UTF-8")
	case bytes.HasPrefix(line, []byte(recordingHeader[:before])):
		return fmt.Errorf("line 1: version %.20q, this program reads version %s", line[before:], recordingHeader[before:])
	}
	return fmt.Errorf("line 1: a recording begins with %q, this with %.40q", recordingHeader, line)
}

// Recorder is a Line that keeps what passes through it.
type Recorder struct {
	Line
	mu     sync.Mutex
	events []Event
}

// Write sends and keeps.
func (r *Recorder) Write(b []byte) (int, error) {
	r.keep(true, b)
	return r.Line.Write(b)
}

// Read receives and keeps, also that nothing came.
func (r *Recorder) Read(b []byte) (int, error) {
	n, err := r.Line.Read(b)
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		r.keep(false, b[:n])
	}
	return n, err
}

// keep joins what came in pieces.
func (r *Recorder) keep(sent bool, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.events) - 1; last >= 0 && !sent && len(b) > 0 && !r.events[last].Sent && len(r.events[last].Data) > 0 && len(r.events[last].Data)+len(b) <= maxEvent {
		r.events[last].Data = append(r.events[last].Data, b...)
	} else {
		r.events = append(r.events, Event{sent, bytes.Clone(b)})
	}
}

// Shared is the line's.
func (r *Recorder) Shared() error { return sharedBy(r.Line) }

// Events that passed so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// Replay is a Line that answers as it was recorded, at once, as long as what is
// sent is what was sent then.
type Replay struct {
	mu     sync.Mutex
	events []Event
	at     int // events done
	failed error
}

// NewReplay makes one.
func NewReplay(events []Event) *Replay { return &Replay{events: slices.Clone(events)} }

// Address is the one by which the module was called, 0 where it was not.
func (r *Replay) Address() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Sent {
			p, _, err := DecodePacket(e.Data)
			if err != nil {
				return 0
			}
			return p.Address
		}
	}
	return 0
}

// Write compares with what was sent then. The link names the line in its errors, and may
// go on to ask something else: until something fits, the first difference is what it says.
func (r *Replay) Write(b []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if err != nil && r.failed != nil {
			err = r.failed
		}
		r.failed = err
	}()
	for r.at < len(r.events) && !r.events[r.at].Sent {
		r.at++ // nobody read it then either
	}
	if r.at == len(r.events) {
		return 0, fmt.Errorf("replay: it ends after %d events, where %X is sent: %w", len(r.events), b, ErrRecording)
	}
	if want := r.events[r.at].Data; !bytes.Equal(b, want) {
		return 0, fmt.Errorf("replay: event %d: %X is sent, %X was: %w", r.at+1, b, want, ErrRecording)
	}
	r.at++
	return len(b), nil
}

// Read gives what came then; where nothing did, the deadline is over. Recordings of
// before that was written have the next ">" in its place.
func (r *Replay) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == len(r.events) || r.events[r.at].Sent {
		return 0, os.ErrDeadlineExceeded
	}
	if len(r.events[r.at].Data) == 0 {
		r.at++
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, r.events[r.at].Data)
	if rest := r.events[r.at].Data[n:]; len(rest) > 0 {
		r.events[r.at].Data = rest
	} else {
		r.at++
	}
	return n, nil
}

// SetReadDeadline does nothing: there is nothing to wait for.
func (r *Replay) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (r *Replay) SetWriteDeadline(time.Time) error { return nil }

// Done is nil when everything was said again.
func (r *Replay) Done() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.at < len(r.events) && !r.events[r.at].Sent && len(r.events[r.at].Data) == 0 {
		r.at++ // silence at the end
	}
	if r.at < len(r.events) {
		return fmt.Errorf("sensor: replay: %d of %d events were repeated: %w", r.at, len(r.events), ErrRecording)
	}
	return nil
}

var (
	_ Line = (*Recorder)(nil)
	_ Line = (*Replay)(nil)
)

// Survey asks a module what can be asked without a finger, and writes what it
// learns. Nothing of it is anybody's: no picture, no template.
func (m *Module) Survey(ctx context.Context, w io.Writer) error {
	i := m.info
	fmt.Fprintf(w, "family %s, serial %q, system id %04X, hardware %q\n", i.Model(), i.Serial, i.SystemID, i.Hardware)
	fmt.Fprintf(w, "algorithm %q, firmware %q, lamp %s\n", i.Algorithm, i.Firmware, i.Lamp)
	width, height := i.Window()
	fmt.Fprintf(w, "window %dx%d, %d buffers, %d slots, level %d, packets of %d bytes\n", width, height, i.Buffers, i.Capacity, i.Level, i.PacketSize)
	fmt.Fprintf(w, "%d baud after the next power-up\n", i.BaudSet)
	for _, has := range []struct {
		what string
		it   bool
	}{{"tells poor pictures (GetImageEx)", m.imageEx}, {"shakes hands without the password (HandShake)", m.handShake}} {
		fmt.Fprintf(w, "%s: %s\n", has.what, map[bool]string{true: "yes", false: "no"}[has.it])
	}
	alive := "handshake"
	if !m.handShake {
		alive = "password, in the handshake's place"
	}
	slots, err := m.Slots(ctx)
	e := (*CodeError)(nil)
	switch {
	case errors.As(err, &e):
		fmt.Fprintf(w, "slots: it has no index of them, or does not give it: %v\n", e.Code)
	case err != nil:
		return err
	default:
		fmt.Fprintf(w, "%d slots in use\n", len(slots))
	}
	for _, ask := range []struct {
		what     string
		optional bool
		do       func() error
	}{
		{"templates", false, func() error { _, err := m.TemplateCount(ctx); return err }},
		{"notepad", false, func() error { _, err := m.Note(ctx, 0); return err }},
		{"random numbers", false, func() error { _, err := m.Random(ctx); return err }},
		{"information page", true, func() error { _, err := m.InfoPage(ctx); return err }},
		{alive, false, func() error { return m.HandShake(ctx) }},
		{"sensor", true, func() error { return m.Check(ctx) }},
		{"echo", true, func() error { return m.Echo(ctx) }},
	} {
		switch err := ask.do(); {
		case err == nil:
			fmt.Fprintf(w, "%s: ok\n", ask.what)
		case errors.As(err, &e) && ask.optional && (e.Code == Undefined || e.Code == Unsupported):
			fmt.Fprintf(w, "%s: it has no such instruction\n", ask.what)
		case errors.As(err, &e):
			fmt.Fprintf(w, "%s: %v\n", ask.what, e.Code)
		case ask.optional && errors.Is(err, ErrTimeout):
			fmt.Fprintf(w, "%s: no answer\n", ask.what)
		default:
			return fmt.Errorf("%s: %w", ask.what, err)
		}
	}
	return nil
}
