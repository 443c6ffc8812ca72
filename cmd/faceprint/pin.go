package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) pin() *cobra.Command {
	c := &cobra.Command{
		Use:   "pin",
		Short: "PINs, for the day on which neither face nor finger can be measured",
		Long: `Give people a PIN, or take it away.

People choose their own at the kiosk once they were recognised there. Whether a
PIN is taken at all is the policy's to say (policy.pin).`,
	}
	set := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "set PERSON",
		Short:             "Give a person a PIN in place of any other",
		Long: `Ask for a PIN of 6 to 12 digits, twice and without showing it, and give it to
the person. Where the input is no terminal, one line of it is the PIN.`,
		Example: "  faceprint pin set alice",
		Args:    cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			pin, err := t.readPIN()
			if err != nil {
				return err
			}
			defer clear(pin)
			p, err := cl.SetPIN(ctx, user, client.NewPIN{PIN: string(pin)})
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s has a new PIN\n", p.User) })
		}),
	}
	remove := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "remove PERSON",
		Short:             "Take a person's PIN away",
		Args:              cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			p, err := cl.RemovePIN(ctx, user)
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s has no PIN\n", p.User) })
		}),
	}
	c.AddCommand(set, remove)
	return c
}

// readPIN asks for a PIN, twice where somebody types it unseen. It is the
// caller's to clear.
func (t *tool) readPIN() ([]byte, error) {
	in, ok := t.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(t.in).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("PIN: %w", err)
		}
		pin := bytes.TrimRight(line, "\r\n")
		if len(pin) == 0 {
			return nil, usage("no PIN: type one at a terminal, or give it as the only line of the input")
		}
		return pin, nil
	}
	ask := func(what string) ([]byte, error) {
		fmt.Fprint(t.err, what)
		pin, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(t.err)
		if err != nil {
			return nil, fmt.Errorf("PIN: %w", err)
		}
		return pin, nil
	}
	pin, err := ask("New PIN, 6 to 12 digits: ")
	if err != nil {
		return nil, err
	}
	again, err := ask("Once more: ")
	defer clear(again)
	if err == nil && !bytes.Equal(pin, again) {
		err = usage("the two PINs differ; nothing was changed")
	}
	if err != nil {
		clear(pin)
		return nil, err
	}
	return pin, nil
}
