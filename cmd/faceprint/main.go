// Command faceprint is the tool of people and technicians. It talks to
// faceprintd over its unix socket, drives the bench, examines the
// installation, and links neither OpenCV nor the store: it starts in
// milliseconds, so that scripts can call it in loops.
//
// # Exit codes
//
//	0  yes: granted, or the command did what it says
//	1  no: the device refused, by its policy
//	2  wrong use of the command line
//	3  retry: nothing was compared; somebody must come closer, press again, or wait for their turn
//	4  fault: no daemon, no permission, a part of the device is broken
//
// 0 and 1 are what a shell's "if" wants; 2 is what shells use for wrong
// usage. Retry and fault are numbers of their own because they ask for
// different deeds: the same call again, or a technician. A script that only
// compares with 0 is always on the safe side.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/firmware/board"
)

// Exit codes.
const (
	exitOK = iota
	exitRefused
	exitUsage
	exitRetry
	exitFault
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// tool is what every command shares.
type tool struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	socket   string
}

// exitError ends the program with a code other than a fault's.
type exitError struct {
	code int
	err  error // nil when everything was already said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, a ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, a...)}
}

func run(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	t := &tool{in: in, out: out, err: errout}
	root := t.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errout)
	err := root.ExecuteContext(ctx)
	return t.finish(ctx, err)
}

// finish reports the error and turns it into the exit code.
func (t *tool) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFault
	var exit *exitError
	var problem *client.Error
	switch {
	case errors.As(err, &exit):
		code = exit.code
		if exit.err == nil {
			return code
		}
	case errors.As(err, &problem):
		switch problem.Problem() {
		case client.ProblemBusy, client.ProblemTooMany, client.ProblemRetry:
			code = exitRetry
		case client.ProblemDuplicate, client.ProblemRefused, client.ProblemRevoked, client.ProblemExpired:
			code = exitRefused
		case client.ProblemInvalid, client.ProblemNotFound, client.ProblemConsent, client.ProblemName:
			code = exitUsage
		}
	case ctx.Err() != nil:
		text := "interrupted"
		if after := (*board.AfterError)(nil); errors.As(err, &after) {
			text += "; " + after.Left
		}
		err = errors.New(text)
	}
	if t.json {
		_ = json.NewEncoder(t.out).Encode(map[string]any{"error": err.Error(), "exit": code})
	} else {
		fmt.Fprintf(t.err, "faceprint: %v\n", err)
	}
	return code
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "faceprint",
		Short: "Know people by face and finger, on this device alone",
		Long: `faceprint talks to the faceprintd of this machine.

Exit codes: 0 granted or done, 1 refused, 2 wrong usage, 3 try again, 4 fault.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see '%s --help'", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.BoolVar(&t.json, "json", false, "print one JSON value on standard output and nothing else there")
	flags.BoolVarP(&t.quiet, "quiet", "q", false, "no progress on standard error")
	flags.StringVar(&t.socket, "socket", client.Socket(), "the daemon's unix socket; also "+client.SocketVariable)
	root.AddGroup(&cobra.Group{ID: "people", Title: "People:"}, &cobra.Group{ID: "device", Title: "The device:"}, &cobra.Group{ID: "board", Title: "For technicians:"})
	root.SetHelpCommandGroupID("device")
	root.SetCompletionCommandGroupID("device")
	for _, c := range []*cobra.Command{t.enroll(), t.verify(), t.identify(), t.people(), t.forget(), t.receipt(), t.unlock(), t.pin(), t.login(), t.phone()} {
		c.GroupID = "people"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{t.status(), t.audit(), t.backup(), t.keys(), t.config(), t.doctor(), t.sensor(), t.events(), t.kiosk(), t.sim(), t.greeter(), t.demo(), t.version()} {
		c.GroupID = "device"
		root.AddCommand(c)
	}
	for _, c := range t.boardCommands() {
		c.GroupID = "board"
		root.AddCommand(c)
	}
	root.AddCommand(t.man())
	wrongArguments(root)
	return root
}

// wrongArguments makes every complaint about arguments, and about flags that are
// missing, one of usage.
func wrongArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w; see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	if c.PreRun == nil && c.PreRunE == nil {
		c.PreRunE = func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return usage("%w; see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrongArguments(sub)
	}
}

// client of the daemon; the caller closes it.
func (t *tool) client() *client.Client { return client.New(t.socket) }

// print shows v as JSON, or else lets human write it.
func (t *tool) print(v any, human func(io.Writer)) error {
	if !t.json {
		human(t.out)
		return nil
	}
	e := json.NewEncoder(t.out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// progress tells what is going on, on standard error.
func (t *tool) progress(format string, a ...any) {
	if !t.quiet && !t.json {
		fmt.Fprintf(t.err, format+"\n", a...)
	}
}
