package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) login() *cobra.Command {
	c := &cobra.Command{
		Use:   "login",
		Short: "Who may log in to which Linux account by face or finger",
		Long: `List the Linux accounts that people may log in to by face or finger.

An account is one person's, and only where it was said so here: names of
accounts and of people are never compared. Passwords go on working.`,
		Example: "  faceprint login allow Alice alice\n  faceprint login\n  faceprint login revoke alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			all, err := cl.Logins(cmd.Context())
			if err != nil {
				return err
			}
			names := t.names(cmd.Context(), cl)
			return t.print(all, func(w io.Writer) {
				if len(all.Logins) == 0 {
					fmt.Fprintln(w, "no account is anybody's; 'faceprint login allow PERSON ACCOUNT' gives one")
					return
				}
				tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(tw, "ACCOUNT\tNAME\tID\tSINCE")
				for _, l := range all.Logins {
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.Account, names[l.User], l.User, l.Since.Local().Format(time.DateOnly))
				}
				tw.Flush()
			})
		},
	}
	allow := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "allow PERSON ACCOUNT",
		Short:             "Let a person log in to an account",
		Args:              cobra.ExactArgs(2),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			l, err := cl.AllowLogin(ctx, args[1], user)
			if err != nil {
				return err
			}
			return t.print(l, func(w io.Writer) { fmt.Fprintf(w, "%s may log in to %s\n", l.User, l.Account) })
		}),
	}
	revoke := &cobra.Command{
		Use:   "revoke ACCOUNT",
		Short: "Let nobody log in to an account by face or finger",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl := t.client()
			defer cl.Close()
			l, err := cl.RevokeLogin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return t.print(l, func(w io.Writer) { fmt.Fprintf(w, "%s may no longer log in to %s\n", l.User, l.Account) })
		},
	}
	c.AddCommand(allow, revoke)
	return c
}
