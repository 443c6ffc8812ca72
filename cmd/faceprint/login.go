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
		Example: "  faceprint login allow Alice alice\n  faceprint login\n  faceprint login keyring alice\n  faceprint login revoke alice",
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
				fmt.Fprintln(tw, "ACCOUNT\tNAME\tID\tSINCE\tKEYRING")
				for _, l := range all.Logins {
					keyring := "-"
					if l.Keyring {
						keyring = "opened"
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Account, names[l.User], l.User, l.Since.Local().Format(time.DateOnly), keyring)
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
	c.AddCommand(allow, revoke, t.keyring())
	return c
}

func (t *tool) keyring() *cobra.Command {
	var off bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "keyring ACCOUNT",
		Short: "Let face and finger open the keyring of an account",
		Long: `Make a password for the account's login keyring and keep it, sealed, on the
device, which hands it to the login after a yes by face and finger. It is random
and no password of anybody's. Its person has to stand before the device now, as
for a login; the password is then shown, to be written down: it opens the keyring
when the device cannot. A keyring that exists is given it by its owner, in the
desktop's own tool; one that does not is made with it at the next such login.

Whoever passes for that person from now on has every password in the keyring.
Asked again, it shows the same password. Takes root, login.keyring and
policy.mode both. With --off the device forgets it, which takes an administrator
only; the keyring itself stays as it is.`,
		Example: "  faceprint login keyring alice\n  faceprint login keyring alice --off",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl := t.client()
			defer cl.Close()
			if off {
				l, err := cl.ForgetKeyring(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return t.print(l, func(w io.Writer) {
					fmt.Fprintf(w, "the keyring of %s is no longer opened; its password stays what it was\n", l.Account)
				})
			}
			var k client.Keyring
			err := t.watch(cmd.Context(), cl, func(ctx context.Context) (err error) {
				k, err = cl.SetKeyring(ctx, args[0], client.Attempt{TimeoutMs: int(timeout.Milliseconds())})
				return err
			})
			if err != nil {
				return err
			}
			if k.Password == "" {
				return t.decided(k.Decision)
			}
			return t.print(k, func(w io.Writer) {
				fmt.Fprintf(w, "%s\nis the password of the keyring of %s; write it down, for the day on which the device cannot tell it\n", k.Password, k.Account)
			})
		},
	}
	c.Flags().BoolVar(&off, "off", false, "forget the keyring's password")
	c.Flags().DurationVar(&timeout, "timeout", 0, "deadline of the attempt; 0 is the device's")
	return c
}
