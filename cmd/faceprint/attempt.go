package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) verify() *cobra.Command {
	var a client.Attempt
	var timeout time.Duration
	c := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "verify PERSON",
		Short:             "Ask whether the person at the device is PERSON (1:1)",
		Long: `Ask whether the person at the device is the one named, by id or by name.
When the policy says yes, the door opens and a grant is printed.`,
		Example: "  faceprint verify alice\n  faceprint verify alice --nonce 4711 --audience till-3 --json",
		Args:    cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			a.User = user
			return t.attempt(ctx, cl, a, timeout, cl.Authenticate)
		}),
	}
	attemptFlags(c, &a, &timeout)
	return c
}

func (t *tool) identify() *cobra.Command {
	var a client.Attempt
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "identify",
		Short: "Ask who the person at the device is (1:N)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			return t.attempt(cmd.Context(), cl, a, timeout, cl.Identify)
		},
	}
	attemptFlags(c, &a, &timeout)
	return c
}

func attemptFlags(c *cobra.Command, a *client.Attempt, timeout *time.Duration) {
	c.Flags().StringVar(&a.Nonce, "nonce", "", "nonce that comes back inside the grant")
	c.Flags().StringVar(&a.Audience, "audience", "", "who the grant is for")
	c.Flags().StringSliceVar(&a.Factors, "factors", nil, "ask for these factors, at least the policy's: face,finger; phone asks the person's paired phone")
	c.Flags().DurationVar(timeout, "timeout", 0, "deadline of the attempt; 0 is the device's")
}

func (t *tool) attempt(ctx context.Context, cl *client.Client, a client.Attempt, timeout time.Duration,
	ask func(context.Context, client.Attempt) (client.Decision, error),
) error {
	a.TimeoutMs = int(timeout.Milliseconds())
	var d client.Decision
	err := t.watch(ctx, cl, func(ctx context.Context) (err error) {
		d, err = ask(ctx, a)
		return err
	})
	if err != nil {
		return err
	}
	return t.decided(d)
}

// decided prints how an attempt ended and makes it the exit code.
func (t *tool) decided(d client.Decision) error {
	if err := t.print(d, func(w io.Writer) { printDecision(w, d) }); err != nil {
		return err
	}
	switch d.Outcome {
	case client.Granted:
		return nil
	case client.Refused:
		return &exitError{code: exitRefused}
	case client.Retry:
		return &exitError{code: exitRetry}
	}
	return fmt.Errorf("the daemon answered with the unknown outcome %q", d.Outcome)
}

func printDecision(w io.Writer, d client.Decision) {
	fmt.Fprint(w, d.Outcome)
	if d.User != "" {
		fmt.Fprintf(w, " %s", d.User)
	}
	if len(d.Reasons) > 0 {
		fmt.Fprintf(w, ": %s", strings.Join(d.Reasons, ", "))
	}
	fmt.Fprintf(w, " (%.0f ms, audit entry %d)\n", d.TookMs, d.Audit)
	for _, f := range d.Factors {
		mark := "no"
		if f.Passed {
			mark = "yes"
		}
		fmt.Fprintf(w, "  %-7s %-4s", f.Kind, mark)
		if unmeasured(f) {
			fmt.Fprintln(w)
			continue
		}
		if f.Score != nil {
			fmt.Fprintf(w, "score %.4g, ", *f.Score)
		}
		fmt.Fprintf(w, "FMR %s", rate(f.FMR))
		if f.Live != nil {
			fmt.Fprintf(w, ", live %.3f", *f.Live)
		}
		fmt.Fprintf(w, ", %.0f ms\n", f.TookMs)
	}
	if len(d.Hints) > 0 {
		fmt.Fprintf(w, "  hint    %s\n", strings.Join(d.Hints, ", "))
	}
	if d.LockedUntil != nil {
		fmt.Fprintf(w, "  locked  until %s\n", d.LockedUntil.Local().Format(time.DateTime))
	}
	if d.Grant != "" {
		fmt.Fprintf(w, "  grant   %s\n", d.Grant)
	}
}

// rate writes a false match rate as people say it.
func rate(fmr float64) string {
	if fmr > 0 && fmr < 0.5 {
		return fmt.Sprintf("1 in %.3g", 1/fmr)
	}
	return fmt.Sprintf("%.2g", fmr)
}

// watch runs f and shows the device's events meanwhile. Without permission to
// see events it only runs f.
func (t *tool) watch(ctx context.Context, cl *client.Client, f func(context.Context) error) error {
	if t.quiet || t.json {
		return f(ctx)
	}
	events, stop := context.WithCancel(ctx)
	subscribed := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	compared := &bar{w: t.err, terminal: isTerminal(t.err), counts: true, now: time.Now}
	wg.Go(func() {
		defer compared.end()
		ready := func() { once.Do(func() { close(subscribed) }) }
		defer ready()
		_ = cl.Events(events, ready, func(e client.Event) error {
			if e.Kind == "check" {
				compared.draw("  compared with the enrolled", e.Done, e.Of)
				return nil
			}
			compared.end()
			t.show(e)
			return nil
		})
	})
	<-subscribed
	err := f(ctx)
	stop()
	wg.Wait()
	return err
}

// show prints one event as a line of progress.
func (t *tool) show(e client.Event) {
	line := "  " + e.Kind
	if e.Step != "" {
		line += " " + e.Step
	}
	if e.Of > 0 {
		line += fmt.Sprintf(" %d/%d", e.Done, e.Of)
	}
	if e.Hint != "" {
		line += ": " + hint(e.Hint)
	}
	if e.Outcome != "" {
		line += " " + e.Outcome
	}
	if e.Detail != "" {
		line += " (" + e.Detail + ")"
	}
	t.progress("%s", line)
}

// unmeasured: nothing was measured of the factor, or it is not told.
func unmeasured(f client.Factor) bool {
	return f.Kind == "phone" || f.Score == nil && f.FMR >= 1 && f.Live == nil
}
