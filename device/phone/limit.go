package phone

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// bucket is a token bucket in one moment of time (GCRA, ITU-T I.371): the
// moment at which it will be full again.
type bucket struct{ full time.Time }

func (b *bucket) allow(r Rate, now time.Time) bool {
	every := time.Duration(float64(time.Second) / r.PerSecond)
	full := b.full
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > time.Duration(r.Burst-1)*every {
		return false
	}
	b.full = full.Add(every)
	return true
}

// maxAddresses bounds the memory of a limiter. Strangers beyond it share one
// bucket.
const maxAddresses = 4096

// limiter has a bucket for each address.
type limiter struct {
	rate    Rate
	mu      sync.Mutex
	buckets map[netip.Prefix]*bucket
	rest    bucket
}

func newLimiter(r Rate) *limiter { return &limiter{rate: r, buckets: make(map[netip.Prefix]*bucket)} }

func (l *limiter) allow(a netip.Prefix, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[a]
	if !ok {
		if len(l.buckets) >= maxAddresses {
			for k, b := range l.buckets {
				if b.full.Before(now) {
					delete(l.buckets, k)
				}
			}
		}
		if len(l.buckets) >= maxAddresses {
			return l.rest.allow(l.rate, now)
		}
		b = &bucket{}
		l.buckets[a] = b
	}
	return b.allow(l.rate, now)
}

// addressOf is whom limits are counted for: an IPv4 address, or the /64 that
// one IPv6 host may use as it likes.
func addressOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// link is one connection, under TLS.
type link struct {
	net.Conn
	address netip.Prefix
	l       *listener
	once    sync.Once
	waits   *list.Element // in l.strangers; nil once it is a phone's
	highest atomic.Uint64 // counter that was accepted over it

	mu    sync.Mutex
	phone *paired // whose requests came over it; at most one's
}

// listener hands out connections within the limits and knows those that are
// open.
type listener struct {
	net.Listener
	limits     Limits
	handshakes *limiter
	now        func() time.Time
	refused    func(reason)

	mu        sync.Mutex
	open      int
	count     map[netip.Prefix]int
	strangers list.List // of *link, those of no phone yet, the oldest first
}

func newListener(l net.Listener, limits Limits, now func() time.Time, refused func(reason)) *listener {
	return &listener{Listener: l, limits: limits, handshakes: newLimiter(limits.Handshakes), now: now, refused: refused, count: make(map[netip.Prefix]int)}
}

// Accept hangs up on those who are beyond the limits, before TLS costs
// anything.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		a := addressOf(c.RemoteAddr())
		x := &link{Conn: c, address: a, l: l}
		if ok, out := l.admit(x); ok {
			if out != nil {
				out.Close()
				l.refused(tooManyConnections)
			}
			return x, nil
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset: no state is kept for them in the kernel either
		}
		c.Close()
		l.refused(tooManyConnections)
	}
}

// admit tells whether there is a place for the connection. Where all are taken, or
// all of its address, the stranger who has held one of them longest gives way and is
// to be closed: whoever has a phone proves it within a moment, and strangers who
// hold places keep no phone out.
func (l *listener) admit(x *link) (ok bool, out *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.handshakes.allow(x.address, l.now()) {
		return false, nil
	}
	near := l.count[x.address] >= l.limits.PerAddress
	if near || l.open >= l.limits.Connections {
		if out = l.oldest(func(o *link) bool { return !near || o.address == x.address }); out == nil {
			return false, nil
		}
		l.known(out)
	}
	l.open++
	l.count[x.address]++
	x.waits = l.strangers.PushBack(x)
	return true, out
}

// oldest is the stranger who has been there longest, of those that are meant; nil
// for none. The caller holds mu.
func (l *listener) oldest(meant func(*link) bool) *link {
	for e := l.strangers.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*link); meant(x) {
			return x
		}
	}
	return nil
}

// known takes a connection from among the strangers'. The caller holds mu.
func (l *listener) known(c *link) {
	if c.waits != nil {
		l.strangers.Remove(c.waits)
		c.waits = nil
	}
}

// Close ends the connection and gives its place back.
func (c *link) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		c.l.open--
		c.l.known(c)
		if c.l.count[c.address]--; c.l.count[c.address] == 0 {
			delete(c.l.count, c.address)
		}
		c.l.mu.Unlock()
		c.mu.Lock()
		p := c.phone
		c.mu.Unlock()
		if p != nil {
			p.left(c)
		}
	})
	return c.Conn.Close()
}

// claim makes the connection the phone's; false when it is another's.
func (c *link) claim(p *paired) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phone == nil && p.joined(c) {
		c.phone = p
		c.l.mu.Lock()
		c.l.known(c)
		c.l.mu.Unlock()
	}
	return c.phone == p
}
