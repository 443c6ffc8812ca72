package device

import (
	"context"
	"sync"
	"time"

	"github.com/faceprint/faceprint/store"
)

// Event is something that happened. It carries no picture, template or name.
type Event struct {
	Seq      uint64
	At       time.Time
	Kind     string // progress, check (an enrolment's finger is compared with Done of Of others), hint, decision, fault (a part ended an attempt), ended (of whatever it was), attack, door, guard (what the board saw), presence, lamp (the finger reader's shows Outcome), enrolled, forgotten
	Step     Factor
	Done     int
	Of       int
	Coverage int // of a finger that the captures of an enrolment saw so far, percent of the reader's window; 0 = not told
	Hint     string
	User     store.UserID
	Outcome  string
	Reasons  []Reason
	Detail   string
	Phone    string // of phone-paired: its id
	Code     string // and that of the invitation
}

// eventBuffer is how many events a slow subscriber may be behind; then it
// misses some, and sees that by the numbers.
const eventBuffer = 64

type events struct {
	mu   sync.Mutex
	seq  uint64
	subs map[chan Event]struct{}
}

func (e *events) send(at time.Time, ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	ev.Seq, ev.At = e.seq, at.UTC()
	for c := range e.subs {
		select {
		case c <- ev:
		default:
		}
	}
}

// subscribe delivers until the context ends; then the channel is closed.
func (e *events) subscribe(ctx context.Context) <-chan Event {
	c := make(chan Event, eventBuffer)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subs == nil {
		e.subs = make(map[chan Event]struct{})
	}
	e.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, c)
		close(c)
	})
	return c
}
