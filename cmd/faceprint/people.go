package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) enroll() *cobra.Command {
	var e client.Enrolment
	var person string
	var receipt string
	var yes bool
	c := &cobra.Command{
		Use:     "enroll NAME",
		Aliases: []string{"enrol"}, // as the British write it
		Short:   "Ask for consent, then learn a person's face and finger",
		Long: `Show the consent text, ask for agreement, then capture the person's face and
finger. Nothing is captured before the person agreed.

With --person a factor is added to somebody who is already enrolled.`,
		Example: "  faceprint enroll Alice --finger right-index-finger\n  faceprint enroll Alice --factors face --yes --witness 'Dr. Bob'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			cl := t.client()
			defer cl.Close()
			switch {
			case len(args) == 1 && person == "":
				e.Name = args[0]
			case len(args) == 0 && person != "":
				user, err := t.resolve(ctx, cl, person)
				if err != nil {
					return err
				}
				e.User = user
			default:
				return usage("name a new person, or an enrolled one with --person")
			}
			var to *os.File
			if receipt != "" { // before anything is captured
				var err error
				if to, err = newFile(receipt); err != nil {
					return fmt.Errorf("nobody is enrolled yet: the receipt needs a new file: %w", err)
				}
				defer func() {
					if to != nil { // nothing was written
						err = errors.Join(err, to.Close(), os.Remove(receipt))
					}
				}()
			}
			text, err := cl.ConsentText(ctx)
			if err != nil {
				return err
			}
			if !yes {
				if err := t.askConsent(text); err != nil {
					return err
				}
			}
			e.Consent.Given, e.Consent.TextVersion, e.Consent.Language = true, text.Version, text.Language
			var done client.Enrolled
			err = t.watch(ctx, cl, func(ctx context.Context) (err error) {
				done, err = cl.Enroll(ctx, e)
				return err
			})
			if err != nil {
				return err
			}
			if to != nil {
				_, err := fmt.Fprintln(to, done.Signed)
				if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
					return fmt.Errorf("%s is enrolled, but the receipt is not written: %w; it is:\n%s", done.User, err, done.Signed)
				}
				to = nil
			}
			for _, warning := range done.Warnings {
				fmt.Fprintln(t.err, "warning:", warning)
			}
			return t.print(done, func(w io.Writer) {
				fmt.Fprintf(w, "enrolled %s (%.0f ms, audit entry %d)\n", done.User, done.TookMs, done.Audit)
				for _, x := range done.Templates {
					fmt.Fprintf(w, "  %-8s %s %s\n", x.Kind, x.Model, x.Label)
				}
			})
		},
	}
	c.Flags().StringSliceVar(&e.Factors, "factors", []string{"face", "finger"}, "what to learn")
	c.Flags().StringVar(&e.Finger, "finger", "right-index-finger", "which finger, by fprintd's names")
	c.Flags().BoolVar(&e.Poses, "poses", true, "ask for the face from the front and turned a little to both sides")
	c.Flags().StringVar(&person, "person", "", "add to this enrolled person")
	c.Flags().StringVar(&e.Consent.Witness, "witness", "", "who saw the person agree")
	_ = c.RegisterFlagCompletionFunc("finger", cobra.FixedCompletions(client.Fingers, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("factors", cobra.FixedCompletions([]string{"face", "finger", "face,finger"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("person", t.completePerson)
	c.Flags().StringVar(&receipt, "receipt", "", "write the signed receipt of what they agreed to, for the person, to this new `file`")
	c.Flags().BoolVar(&yes, "yes", false, "the person has read and agreed to the consent text already")
	return c
}

func (t *tool) askConsent(text client.ConsentText) error {
	fmt.Fprintf(t.err, "%s\n\nVersion %s. Do you agree? Type yes: ", strings.TrimSpace(text.Text), text.Version)
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("consent: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		fmt.Fprintln(t.err)
		return &exitError{exitRefused, errors.New("no consent, so nothing was captured")}
	}
	return nil
}

func (t *tool) people() *cobra.Command {
	c := &cobra.Command{
		Use:   "people",
		Short: "List who is enrolled",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			p, err := cl.People(cmd.Context())
			if err != nil {
				return err
			}
			logins, err := cl.Logins(cmd.Context())
			if err != nil {
				return err
			}
			accounts := make(map[string][]string)
			for _, l := range logins.Logins {
				accounts[l.User] = append(accounts[l.User], l.Account)
			}
			return t.print(p, func(w io.Writer) {
				if len(p.People) == 0 {
					fmt.Fprintln(w, "nobody is enrolled; 'faceprint enroll NAME' begins")
					return
				}
				tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(tw, "ID\tNAME\tSINCE\tTEMPLATES\tACCOUNTS\tLOCKED")
				for _, x := range p.People {
					kinds := make([]string, len(x.Templates))
					for i, y := range x.Templates {
						kinds[i] = y.Kind
					}
					locked := ""
					if x.LockedUntil != nil {
						locked = "until " + x.LockedUntil.Local().Format(time.DateTime)
					} else if x.Failures > 0 {
						locked = fmt.Sprintf("no, %d failed", x.Failures)
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", x.User, x.Name, x.Created.Local().Format(time.DateOnly), strings.Join(kinds, " "), strings.Join(accounts[x.User], " "), locked)
				}
				tw.Flush()
			})
		},
	}
	c.AddCommand(t.peopleShow(), t.peopleRenew(), t.restoreTemplate())
	return c
}

func (t *tool) forget() *cobra.Command {
	var receipt string
	c := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "forget PERSON",
		Short:             "Destroy a person's key and templates, for good",
		Example:           "  faceprint forget alice",
		Args:              cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			var to *os.File
			if receipt != "" { // before anything is erased
				var err error
				if to, err = newFile(receipt); err != nil {
					return fmt.Errorf("nobody is forgotten yet: the receipt needs a new file: %w", err)
				}
			}
			r, err := cl.Forget(ctx, user)
			if err != nil {
				if to != nil {
					err = errors.Join(err, to.Close(), os.Remove(receipt))
				}
				return err
			}
			if to != nil {
				_, err := to.WriteString(r.Signed + "\n")
				if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
					return fmt.Errorf("%s is forgotten, but the receipt is not written: %w; it is:\n%s", r.User, err, r.Signed)
				}
			}
			err = t.print(r, func(w io.Writer) {
				if !r.Compacted {
					fmt.Fprintf(w, "forgot %s: %d template(s) no longer match anybody (audit entry %d)\n", r.User, r.Templates, r.Audit)
					return
				}
				fmt.Fprintf(w, "forgot %s: the key of %d template(s) is destroyed (audit entry %d)\n", r.User, r.Templates, r.Audit)
				if r.Searched {
					fmt.Fprintln(w, "  the whole file was searched for their id and key: nothing is left")
				}
				if r.KeyMoved {
					fmt.Fprintln(w, "  the device key moved on: old copies of the vault open for nobody, nor do backups without a recovery key; make a new backup")
				}
			})
			switch {
			case err != nil:
			case !r.Compacted:
				err = fmt.Errorf("the erasure of %s is not finished: their old bytes, and the key to them, are still in the vault's file; the daemon's log says why, and it tries again every few hours and at its next start", r.User)
			case !r.Searched:
				err = fmt.Errorf("the erasure of %s is not finished: the device key did not move on, or the file could not be searched; the daemon's log says which, and it tries again every few hours and at its next start", r.User)
			}
			return err
		}),
	}
	c.Flags().StringVar(&receipt, "receipt", "", "write the signed receipt for the person to this new `file`")
	return c
}

func (t *tool) restoreTemplate() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "restore-template PERSON",
		Short:             "Go back to the face that was enrolled",
		Long: `Delete the face template that followed the person's look (policy.adapt), so
that only the enrolled one is compared. It is recorded in the audit chain.`,
		Args: cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			p, err := cl.RestoreTemplates(ctx, user)
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s is known by what was enrolled\n", p.User) })
		}),
	}
}

func (t *tool) unlock() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "unlock PERSON",
		Short:             "End a person's lock-out, and the device's own delay with it",
		Args:              cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			p, err := cl.Unlock(ctx, user)
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s is not locked out\n", p.User) })
		}),
	}
}

// person runs what a command does with the person that its first argument
// names.
func (t *tool) person(do func(ctx context.Context, cl *client.Client, user string, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cl := t.client()
		defer cl.Close()
		user, err := t.resolve(cmd.Context(), cl, args[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), cl, user, args)
	}
}

// resolve turns what a person typed into an id: the id itself, or a name that
// one person has. A caller who may not list people must give the id.
func (t *tool) resolve(ctx context.Context, cl *client.Client, who string) (string, error) {
	p, err := cl.People(ctx)
	var problem *client.Error
	if errors.As(err, &problem) && problem.Problem() == client.ProblemForbidden {
		return who, nil
	}
	if err != nil {
		return "", err
	}
	var found []string
	for _, x := range p.People {
		if x.User == who {
			return who, nil
		}
		if strings.EqualFold(x.Name, who) {
			found = append(found, x.User)
		}
	}
	switch len(found) {
	case 0:
		return "", usage("nobody enrolled has the id or name %q; 'faceprint people' lists them", who)
	case 1:
		return found[0], nil
	}
	return "", usage("%d people are called %q; use an id: %s", len(found), who, strings.Join(found, ", "))
}

// names of those enrolled, by id; empty for a caller who may not list people.
func (t *tool) names(ctx context.Context, cl *client.Client) map[string]string {
	names := make(map[string]string)
	if p, err := cl.People(ctx); err == nil {
		for _, x := range p.People {
			names[x.User] = x.Name
		}
	}
	return names
}

// completePerson offers the ids of those enrolled, with their names, to a
// shell whose user may list them.
func (t *tool) completePerson(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cl := t.client()
	defer cl.Close()
	p, err := cl.People(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids := make([]string, len(p.People))
	for i, x := range p.People {
		ids[i] = cobra.CompletionWithDesc(x.User, x.Name)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
