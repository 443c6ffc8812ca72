package fprint

import (
	"context"
	"time"

	"github.com/faceprint/faceprint/device"
)

// start runs what a client asked for; the caller holds the lock.
func (s *Server) start(c *claim, verify bool, run func(context.Context, *job)) {
	ctx, cancel := context.WithCancel(s.ctx)
	j := &job{verify: verify, cancel: cancel, ended: make(chan struct{}), sleeper: make(chan struct{}, 1)}
	c.job = j
	c.uses(time.Now())
	s.running.Go(func() {
		defer close(j.ended)
		defer cancel()
		s.set("finger-needed", true)
		run(ctx, j)
		s.set("finger-needed", false)
		s.mu.Lock()
		c.uses(time.Now())
		s.mu.Unlock()
	})
}

// status tells the client how it goes, unless the client itself, or the
// server, has ended it.
func (s *Server) status(ctx context.Context, c *claim, signal, word string, done bool) {
	if ctx.Err() == nil {
		s.signal(c.client, signal, word, done)
	}
}

// verify compares until there is an answer.
func (s *Server) verify(ctx context.Context, c *claim, j *job, finger string) {
	notify := func(e device.Event) {
		if word := retryWord(e); word != "" {
			s.status(ctx, c, "VerifyStatus", "verify-"+word, false)
		}
	}
	for {
		select { // over a suspend nothing is captured
		case <-s.waking():
		case <-ctx.Done():
			return
		}
		d, err, slept := s.round(ctx, c, j, finger, notify)
		if ctx.Err() != nil {
			return
		}
		if slept {
			continue
		}
		_, _, there := s.reader()
		if word := verifyWord(d, err, there); word != "" {
			if err != nil {
				s.log.Warn("a login by finger failed", "err", err)
			}
			s.status(ctx, c, "VerifyStatus", word, true)
			return
		}
	}
}

// round is one attempt. slept tells that it ended because the machine is going
// to sleep.
func (s *Server) round(ctx context.Context, c *claim, j *job, finger string, notify func(device.Event)) (d device.Decision, err error, slept bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	watched := make(chan bool)
	go func() { // ends before round returns
		select {
		case <-j.sleeper:
			cancel()
			watched <- true
		case <-ended:
			watched <- false
		}
	}()
	d, err = s.device.Login(ctx, c.account, device.Request{
		Audience: "login", Factors: []device.Factor{device.Finger}, Finger: finger, Timeout: round, Patient: true, Notify: notify,
	})
	close(ended)
	slept = <-watched
	return d, err, slept && err != nil
}

// enrolling follows an enrolment: a stage for every capture that came out. That the
// finger is compared with others' then, fprintd has no word for; only that it is wanted
// once more behind the last stage.
func (s *Server) enrolling(ctx context.Context, c *claim) func(device.Event) {
	done, of := 0, 0
	return func(e device.Event) {
		if e.Step != device.Finger {
			return
		}
		switch {
		case e.Kind == "progress" && e.Done > done:
			done, of = e.Done, e.Of
			s.status(ctx, c, "EnrollStatus", "enroll-stage-passed", false)
		case e.Kind == "check": // it goes on without anybody
			s.mu.Lock()
			c.uses(time.Now())
			s.mu.Unlock()
			s.set("finger-needed", false)
		case e.Hint == "press-finger":
			s.set("finger-needed", true)
			if done > 0 && done == of {
				s.status(ctx, c, "EnrollStatus", "enroll-retry-scan", false)
			}
		case e.Hint == "lift-finger":
			s.set("finger-needed", false)
		default:
			if word := retryWord(e); word != "" {
				s.status(ctx, c, "EnrollStatus", "enroll-"+word, false)
			}
		}
	}
}
