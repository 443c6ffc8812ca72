package phone

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/faceprint/faceprint/device/api"
	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// ErrNoPhone: the person has no phone that may approve at the moment.
var ErrNoPhone = errors.New("no paired phone may approve")

// ErrTooMany: enough requests wait for that person.
var ErrTooMany = errors.New("too many requests wait for that person's phone")

// pending are the attempts that wait for a phone.
type pending struct {
	mu   sync.Mutex
	wait map[string]*waiting // by id
}

type waiting struct {
	client.Pending
	user   string
	answer chan verdict // has room for one
}

// verdict is what a phone answered.
type verdict struct {
	phone   string
	approve bool
}

// Ask shows a request on the person's phones and waits for an answer until the
// context ends. It tells which one answered, and whether it approved; the error is
// ErrNoPhone where nobody can.
func (p *Phones) Ask(ctx context.Context, user, audience string) (phone string, approved bool, err error) {
	able := slices.ContainsFunc(p.of(user), func(x *paired) bool {
		now, _ := p.clock()
		x.mu.Lock()
		dead := x.gone || !x.record.Revoked.IsZero() || !x.record.Expires.IsZero() && !now.Before(x.record.Expires)
		x.mu.Unlock()
		return !dead && p.may(x, Approve) == nil
	})
	if !able {
		return "", false, ErrNoPhone
	}
	now := p.wall().UTC()
	w := &waiting{user: user, answer: make(chan verdict, 1), Pending: client.Pending{ID: rand.Text(), Audience: audience, Since: now, Expires: now}}
	if until, ok := ctx.Deadline(); ok {
		w.Expires = until.UTC()
	}
	if !p.pending.add(w) {
		return "", false, ErrTooMany
	}
	defer p.pending.remove(w.ID)
	p.tell(user, Approve, client.Event{Event: wire.Event{Kind: "approve", At: now, User: user}, Request: &w.Pending})
	select {
	case v := <-w.answer:
		return v.phone, v.approve, nil
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
}

// reply is what a phone says to a request.
func (p *Phones) reply(id string, x *paired, approve bool) error {
	return p.pending.reply(id, x.record.User, verdict{x.id, approve})
}

func (s *pending) add(w *waiting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.wait {
		if x.user == w.user {
			n++
		}
	}
	if n >= maxPending {
		return false
	}
	if s.wait == nil {
		s.wait = make(map[string]*waiting)
	}
	s.wait[w.ID] = w
	return true
}

func (s *pending) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wait, id)
}

func (s *pending) of(user string) client.PendingList {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := client.PendingList{Requests: []client.Pending{}}
	for _, w := range s.wait {
		if w.user == user {
			list.Requests = append(list.Requests, w.Pending)
		}
	}
	slices.SortFunc(list.Requests, func(a, b client.Pending) int { return a.Since.Compare(b.Since) })
	return list
}

// reply answers a request of the person's, the first time.
func (s *pending) reply(id, user string, v verdict) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.wait[id]
	if !ok || w.user != user {
		return api.NewProblem(http.StatusNotFound, wire.ProblemNotFound, "no such request waits for you", "it was answered, or its time is over")
	}
	delete(s.wait, id)
	w.answer <- v
	return nil
}
