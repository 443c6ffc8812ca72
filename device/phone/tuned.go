package phone

import "time"

// Limits of pairing. The secret has 128 bits, so three tries and a minute are
// there for people who scan the wrong screen, not against guessing.
const (
	inviteLife     = time.Minute
	inviteTries    = 3
	maxInvites     = 16 // open at once; more are a mistake or mischief
	phonesOfPerson = 16 // revoked and expired ones included, of which the oldest make room
)

// Limits of the protocol.
const (
	counterStep   = 1024        // counters reserved by one commit
	settleEvery   = time.Minute // how often reservations of idle phones are given back, and refusals audited
	settleIdle    = 30 * time.Second
	knownEvery    = time.Hour       // how far the vault may be behind the clock; more often would wear out a card
	knownInUse    = time.Minute     // the same, where a phone whose time is limited is used: less than an attempt's own two commits
	clockTolerate = 2 * time.Minute // a clock that was set back by less is no matter
	clockJump     = time.Second     // in one second a clock that is slewed gains half a millisecond (adjtime(3)), one that is set any time
	crowd         = 64              // requests of one phone that may overtake one another; its limit is 40 at once
	copiedEvery   = time.Hour       // how often it is told that a key is used by two
	sessionLife   = 12 * time.Hour  // of a browser
)

// Limits of a connection. What a phone says fits in 4 KiB; the times are those
// of a slow wireless network.
const (
	maxBody      = 16 << 10
	maxHeader    = 8 << 10
	idleTimeout  = 2 * time.Minute
	writeTimeout = 15 * time.Second
	longTimeout  = 150 * time.Second // an attempt's longest, and time to write
	drainTime    = 5 * time.Second
	maxLinks     = 16 // of one phone, its streams among them; the oldest gives way
)

// Limits of strangers' memory and of IPv6, where one host may have a whole /64, and
// a whole house is one: a neighbour with one address takes an eighth of it.
const (
	maxAddresses = 4096 // that a limiter has buckets of; those beyond share one
	networkBits  = 64
	neighbours   = 8 // times the rate of an address is its network's
)

// Limits of an event stream.
const (
	streamAlive = 45 * time.Second // between signs of life; also finds phones that are gone
	streamWrite = 10 * time.Second
	streamQueue = 32  // events that a slow phone may be behind; then it is cut off
	maxStreams  = 4   // of one phone; the oldest gives way
	maxPending  = 8   // requests that wait for one person
	historyMost = 100 // entries of one answer
)

// Rate is so many a second, and so many at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limits that depend on the house. The zero value of each is its default.
type Limits struct {
	Connections int  // open at once; default 1024
	PerAddress  int  // of those from one address; default 64
	Handshakes  Rate // new connections of one address, and 8 times that of an IPv6 /64; default 20 a second, 60 at once
	Unsigned    Rate // the same of requests without a good signature; default 5 a second, 30 at once
	Signed      Rate // requests of one phone; default 20 a second, 40 at once
	Attempts    Rate // attempts of one phone, of those; default one in 5 s, 5 at once
	// Person is the rate of attempts by all phones of one person; default one a
	// minute, 60 at once. Each may be an entry of the audit chain, which keeps
	// 200,000 as shipped: one person's phones take 138 days to wash it out, or
	// 69 with the entries about what they were refused (settleEvery). Half of
	// it is shared by phone, so that one that asks and asks keeps no other out.
	Person  Rate
	History Rate // pages of the history by one phone; default one in 2 s, 10 at once

	Header  time.Duration // to shake hands in, and to send a request's header in; default 5 s
	Request time.Duration // to send the whole request in; default 10 s
}

func (l Limits) withDefaults() Limits {
	if l.Connections <= 0 {
		l.Connections = 1024
	}
	if l.PerAddress <= 0 {
		l.PerAddress = 64
	}
	if l.Header <= 0 {
		l.Header = 5 * time.Second
	}
	if l.Request <= 0 {
		l.Request = 10 * time.Second
	}
	rate := func(r *Rate, d Rate) {
		if r.PerSecond <= 0 || r.Burst <= 0 {
			*r = d
		}
	}
	rate(&l.Handshakes, Rate{20, 60})
	rate(&l.Unsigned, Rate{5, 30})
	rate(&l.Signed, Rate{20, 40})
	rate(&l.Attempts, Rate{1. / 5, 5})
	rate(&l.Person, Rate{1. / 60, 60})
	rate(&l.History, Rate{1. / 2, 10})
	return l
}
