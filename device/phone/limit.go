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
	if !b.has(r, now) {
		return false
	}
	b.full = later(b.full, now).Add(r.every())
	return true
}

// has tells whether allow would.
func (b *bucket) has(r Rate, now time.Time) bool { return b.wait(r, now) <= 0 }

// wait is how long it is until allow would; 0 or less for now.
func (b *bucket) wait(r Rate, now time.Time) time.Duration {
	return later(b.full, now).Sub(now) - time.Duration(r.Burst-1)*r.every()
}

func (r Rate) every() time.Duration { return time.Duration(float64(time.Second) / r.PerSecond) }

// shared divides a rate: half of it is of each of n alike, whatever the others do,
// and the other half of whoever comes first. Together they are no more than it.
func (r Rate) shared(n int) (each, common Rate) {
	n = max(n, 1)
	each = Rate{r.PerSecond / 2 / float64(n), max(r.Burst/2/n, 1)}
	return each, Rate{r.PerSecond / 2, r.Burst - n*each.Burst}
}

// limiter has a bucket for each address, and one for each network of IPv6, whose
// hosts have as many addresses as they like.
type limiter struct {
	rate    Rate
	mu      sync.Mutex
	buckets map[netip.Prefix]*bucket
	rest    bucket
}

func newLimiter(r Rate) *limiter { return &limiter{rate: r, buckets: make(map[netip.Prefix]*bucket)} }

// allow draws on the address's rate, and on its network's: one neighbour with one
// address has no more than that address's share.
func (l *limiter) allow(a netip.Prefix, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.Bits() <= 32 {
		return l.of(a, now).allow(l.rate, now)
	}
	net, err := a.Addr().Prefix(networkBits)
	if err != nil { // of an address there is one
		return false
	}
	rate := Rate{neighbours * l.rate.PerSecond, neighbours * l.rate.Burst}
	if b := l.buckets[net]; b != nil && !b.has(rate, now) {
		return false // before an address that was never seen takes memory
	}
	return l.of(a, now).allow(l.rate, now) && l.of(net, now).allow(rate, now)
}

// of is the bucket of an address or a network. The caller holds mu.
func (l *limiter) of(a netip.Prefix, now time.Time) *bucket {
	b, ok := l.buckets[a]
	if ok {
		return b
	}
	if len(l.buckets) >= maxAddresses {
		for k, b := range l.buckets {
			if b.full.Before(now) {
				delete(l.buckets, k)
			}
		}
	}
	if len(l.buckets) >= maxAddresses {
		return &l.rest
	}
	b = &bucket{}
	l.buckets[a] = b
	return b
}

// addressOf is whom limits are counted for: one address.
func addressOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	return netip.PrefixFrom(ip, ip.BitLen())
}

// link is one connection, under TLS.
type link struct {
	net.Conn
	address netip.Prefix
	l       *listener
	once    sync.Once
	waits   *list.Element // in l.strangers; nil once it is a phone's
	highest atomic.Uint64 // counter that was accepted over it

	mu     sync.Mutex
	phone  *paired // whose requests came over it; at most one's
	closed bool
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
		c.closed = true
		p := c.phone
		c.mu.Unlock()
		if p != nil {
			p.left(c)
		}
	})
	return c.Conn.Close()
}

// claim makes the connection the phone's; false when it is another's, or over.
// Where the phone has too many its oldest gives way: it is the likeliest to be one
// that the network dropped.
func (c *link) claim(p *paired) bool {
	ours, oldest := c.claimed(p)
	if oldest != nil {
		oldest.Close()
		c.l.refused(tooManyConnections)
	}
	return ours
}

func (c *link) claimed(p *paired) (ours bool, oldest *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phone != nil || c.closed {
		return c.phone == p && !c.closed, nil
	}
	if ours, oldest = p.joined(c); ours {
		c.phone = p
		c.l.mu.Lock()
		c.l.known(c)
		c.l.mu.Unlock()
	}
	return ours, oldest
}
