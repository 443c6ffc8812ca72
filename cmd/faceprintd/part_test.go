package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/device"
)

func TestPartIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries, closed, broken := 0, 0, true
		p := newPart("finger", slog.New(slog.DiscardHandler), func(context.Context) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if tries++; broken {
				return 0, errors.New("no such port")
			}
			return tries, nil
		}, func(int) error { closed++; return nil })
		p.advice = func(error) string { return "plug it in" }
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		changes := 0
		wg.Go(func() { p.run(ctx, func() { changes++ }) })
		synctest.Wait()

		if _, _, err := p.get(); !errors.Is(err, device.ErrPart) || !strings.Contains(err.Error(), "no such port") {
			t.Errorf("missing: %v", err)
		}
		if s := p.status(); s.State != "missing" || s.Advice != "plug it in" || s.Detail != "no such port" {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour) // of the virtual clock
		synctest.Wait()
		if tries < 50 || tries > 130 {
			t.Errorf("%d tries in an hour: the back-off is wrong", tries)
		}
		if changes != 1 {
			t.Errorf("the same failure was reported %d times", changes)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(lastRetry)
		synctest.Wait()
		v, gen, err := p.get()
		if err != nil || p.status().State != "ok" {
			t.Fatalf("plugged in: %v", err)
		}

		p.lost(gen, errors.New("unplugged"))
		p.lost(gen, errors.New("unplugged")) // noticed twice
		synctest.Wait()
		v2, gen2, err := p.get()
		if err != nil || v2 == v || gen2 == gen || closed != 1 {
			t.Errorf("after it was lost: %d then %d, closed %d times, %v", v, v2, closed, err)
		}
		p.lost(gen, errors.New("late news of the first opening"))
		synctest.Wait()
		if _, g, err := p.get(); err != nil || g != gen2 {
			t.Errorf("news of an old opening closed the new one: %v", err)
		}
		stop()
		wg.Wait()
		if closed != 2 {
			t.Errorf("closed %d times", closed)
		}
	})
}

// A part that is being opened, which takes a module 20 s, is not told as one with which
// something is wrong, and whoever waits for it is told what came of it.
func TestOpeningIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		opened := make(chan error)
		p := newPart("finger", slog.New(slog.DiscardHandler), func(ctx context.Context) (int, error) {
			select {
			case err := <-opened:
				return 0, err
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}, func(int) error { return nil })
		p.advice = moduleAdvice
		done := make(chan struct{})
		go func() {
			p.run(ctx, func() {})
			close(done)
		}()
		opens := func(where string) {
			t.Helper()
			synctest.Wait()
			if s := p.status(); s.State != "missing" || !strings.HasPrefix(s.Detail, "is being opened") || s.Advice != "" {
				t.Errorf("%s: %+v", where, s)
			}
		}
		opens("at first")
		settled := make(chan struct{})
		go func() {
			p.settle(ctx)
			close(settled)
		}()
		opened <- errors.New("no answer")
		<-settled
		if s := p.status(); s.Detail != "no answer" || s.Advice == "" {
			t.Errorf("%+v", s)
		}
		for _, where := range []string{"missing", "there"} {
			p.reopen(fmt.Errorf("%w, to be set up anew", errOpening))
			opens(where)
			opened <- nil
			p.settle(ctx)
			if s := p.status(); s.State != "ok" {
				t.Errorf("%s: %+v", where, s)
			}
		}
		cancel()
		<-done
	})
}
