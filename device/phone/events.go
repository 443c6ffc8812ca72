package phone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// stream is a phone that waits for events. While nothing happens it costs its
// TLS state and this, no goroutine and no buffer: thousands may wait.
type stream struct {
	conn  net.Conn
	link  *link
	phone *paired

	mu      sync.Mutex
	queue   [][]byte
	writing bool // a goroutine empties the queue
	closed  bool
	over    func() bool // stops the timer of the pairing's end; nil: it has none
}

// streams of all phones.
type streams struct {
	mu      sync.Mutex
	open    map[*paired][]*stream // those of a phone oldest first
	closed  bool
	writers sync.WaitGroup
}

// add registers a stream; false when all ends. Where the phone has too many the
// oldest gives way: it is the likeliest to be one that nobody reads any more.
func (s *streams) add(x *stream) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	if s.open == nil {
		s.open = make(map[*paired][]*stream)
	}
	var oldest *stream
	if xs := s.open[x.phone]; len(xs) >= maxStreams {
		oldest = xs[0]
		s.open[x.phone] = slices.Delete(xs, 0, 1)
	}
	s.open[x.phone] = append(s.open[x.phone], x)
	s.mu.Unlock()
	if oldest != nil {
		oldest.end(s)
	}
	return true
}

// ending tells whether all ends.
func (s *streams) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *streams) remove(x *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	xs := slices.DeleteFunc(s.open[x.phone], func(o *stream) bool { return o == x })
	if len(xs) == 0 {
		delete(s.open, x.phone)
		return
	}
	s.open[x.phone] = xs
}

// some lists those that match.
func (s *streams) some(match func(*paired) bool) []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*stream
	for p, xs := range s.open {
		if match(p) {
			found = append(found, xs...)
		}
	}
	return found
}

// begin lets streams open, after an earlier close too.
func (s *streams) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
}

func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, x := range s.some(func(*paired) bool { return true }) {
		x.end(s)
	}
	s.writers.Wait()
}

// send queues bytes and sees to it that somebody writes them. A phone that
// does not keep up is cut off: it comes back and asks what it missed.
func (x *stream) send(s *streams, b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	if len(x.queue) >= streamQueue {
		go x.end(s)
		return
	}
	x.queue = append(x.queue, b)
	if !x.writing {
		x.writing = true
		s.writers.Go(func() { x.write(s) })
	}
}

func (x *stream) write(s *streams) {
	for {
		x.mu.Lock()
		if len(x.queue) == 0 || x.closed {
			x.writing, x.queue = false, nil
			x.mu.Unlock()
			return
		}
		b := x.queue[0]
		x.queue = x.queue[1:]
		x.mu.Unlock()
		err := x.conn.SetWriteDeadline(time.Now().Add(streamWrite))
		if err == nil {
			_, err = x.conn.Write(b)
		}
		if err != nil {
			x.end(s)
		}
	}
}

// end closes the stream, once.
func (x *stream) end(s *streams) {
	x.mu.Lock()
	closed := x.closed
	x.closed = true
	over := x.over
	x.mu.Unlock()
	if !closed {
		if over != nil {
			over()
		}
		s.remove(x)
		x.link.Close() // under TLS: nobody waits for a farewell
	}
}

// event as server-sent events have it.
func frame(e client.Event) []byte {
	b, err := json.Marshal(e)
	if err != nil { // a type of this package that cannot fail
		panic(err)
	}
	return fmt.Appendf(nil, "data: %s\n\n", b)
}

// tell sends an event to the person's phones that have the right, or any of
// them that may ask at all where right is empty.
func (p *Phones) tell(user string, right string, e client.Event) {
	xs := p.streams.some(func(x *paired) bool { return x.record.User == user && p.may(x, right) == nil })
	if len(xs) == 0 {
		return
	}
	b := frame(e)
	for _, x := range xs {
		x.send(&p.streams, b)
	}
}

// greeting begins a stream: from now on nothing is missed.
const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
	greeting   = "\r\ndata: {}\n\n"
)

// events takes the connection away from the HTTP server, whose buffers and
// goroutines a waiting phone has no use for.
func (p *Phones) events(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r.Context())
	b := r.Context().Value(boundKey{}).(*bound)
	if p.streams.ending() {
		p.problem(w, fault("the device is stopping"))
		return
	}
	before := w.Header().Get(client.CounterHeader)
	raw, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		p.problem(w, fault("no stream can be had here"))
		return
	}
	if err != nil {
		p.log.Warn("a stream could not begin", "err", err)
		return
	}
	x := &stream{conn: raw, link: b.link, phone: c.phone}
	if !p.streams.add(x) {
		raw.Close() // it began to end just now, too late for an answer
		return
	}
	p.endInTime(x)
	x.send(&p.streams, []byte(streamHead+client.CounterHeader+": "+before+"\r\n"+greeting))
}

// endInTime ends the stream when its phone's pairing is over. A change of that
// time cuts the stream, so it stays what it is.
func (p *Phones) endInTime(x *stream) {
	now, _ := p.clock()
	x.phone.mu.Lock()
	until := x.phone.record.Expires
	x.phone.mu.Unlock()
	if until.IsZero() {
		return
	}
	stop := p.after(until.Sub(now), func() {
		if now, _ := p.clock(); now.Before(until) {
			p.endInTime(x) // the clock was set back a little meanwhile
			return
		}
		x.end(&p.streams)
	})
	x.mu.Lock()
	x.over = stop
	closed := x.closed
	x.mu.Unlock()
	if closed {
		stop()
	}
}

// watch passes on what happens at the device to the phones that it concerns,
// and keeps their streams alive, until the context ends.
func (p *Phones) watch(ctx context.Context) {
	events := p.device.Events(ctx)
	alive := time.NewTicker(streamAlive)
	defer alive.Stop()
	settle := time.NewTicker(settleEvery)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			p.pass(e)
		case <-alive.C:
			for _, x := range p.streams.some(func(*paired) bool { return true }) {
				x.send(&p.streams, []byte(":\n\n"))
			}
		case <-settle.C:
			p.tidy(settleIdle)
		}
	}
}

// pass forwards an event to the phones of its person. Hints and progress name
// nobody; the phone that asked gets its own from the attempt.
func (p *Phones) pass(e wire.Event) {
	if e.User == "" {
		return
	}
	if e.Kind == "forgotten" {
		p.Forgotten(e.User)
		return
	}
	p.tell(e.User, Past, client.Event{Event: e})
}

// tidy does what is done once a minute, and at the end; idle is how long phones
// whose counters are settled have been silent.
func (p *Phones) tidy(idle time.Duration) {
	now, _ := p.clock()
	for _, x := range p.of("") {
		x.mu.Lock()
		over := x.expired(now)
		x.mu.Unlock()
		if over {
			x.cut(nil)
		}
	}
	if err := p.settle(now, idle); err != nil {
		p.log.Error("the phones' counters could not be kept", "err", err)
	}
	if counts := p.refusals.take(); len(counts) > 0 {
		if err := p.vault.Refused(counts, p.wall()); err != nil {
			p.log.Error("refusals could not be recorded", "err", err)
		}
	}
}
