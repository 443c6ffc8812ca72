package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// Serve answers phones on the listener until the context ends, then lets the
// answers under way finish and keeps the counters. It closes the listener.
func (p *Phones) Serve(ctx context.Context, tcp net.Listener) error {
	l := newListener(tcp, p.opts.Limits, func() time.Time { return p.tick() }, p.refusals.add)
	p.mu.Lock()
	p.addr = tcp.Addr().String()
	p.mu.Unlock()
	p.streams.begin()
	server := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: p.opts.Limits.Header,
		ReadTimeout:       p.opts.Limits.Request,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// net/http would answer "OPTIONS *" itself, past every limit.
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, boundKey{}, &bound{link: c.(*conn).NetConn().(*link)})
		},
		// Whatever strangers do to a handshake is counted, not logged: a log is
		// a disk that a flood could fill.
		ErrorLog: log.New(counted{p}, "", 0),
	}
	config := &tls.Config{
		Certificates:           []tls.Certificate{p.cert},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true, // each connection proves the key and has a binding of its own
		NextProtos:             []string{"http/1.1"},
	}
	var watching sync.WaitGroup
	watched, unwatch := context.WithCancel(ctx)
	watching.Go(func() { p.watch(watched) })
	served := make(chan error, 1)
	go func() { served <- server.Serve(tlsListener{l, config, p}) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		if err = server.Shutdown(drain); err != nil {
			err = errors.Join(err, server.Close())
		}
		cancel()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	unwatch()
	watching.Wait()
	p.streams.close()
	p.tidy(0)
	p.mu.Lock()
	p.addr = ""
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	return nil
}

// counted counts what net/http would log about strangers' connections, and logs
// what is a fault of ours.
type counted struct{ p *Phones }

func (c counted) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "panic serving") {
		c.p.log.Error("http", "what", string(b))
	} else {
		c.p.refusals.add(badHandshake)
	}
	return len(b), nil
}
