package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) peopleShow() *cobra.Command {
	var own bool
	c := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "show PERSON | --own",
		Short:             "Tell all that is held of a person and what happened with it",
		Long: `Tell all that is held of a person and what happened with it (GDPR Art. 15).

With --own the person proves at the device who they are, and gets their own
report; nobody else's help or rights are needed. PERSON may then be left out
where the device may search for who it is.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			cl := t.client()
			defer cl.Close()
			user := ""
			if len(args) == 1 {
				var err error
				if user, err = t.resolve(ctx, cl, args[0]); err != nil {
					return err
				}
			}
			if !own {
				if user == "" {
					return usage("name a person, or prove to be one with --own")
				}
				r, err := cl.Report(ctx, user)
				if err != nil {
					return err
				}
				return t.print(r, func(w io.Writer) { printReport(w, r) })
			}
			var r client.OwnReport
			err := t.watch(ctx, cl, func(ctx context.Context) (err error) {
				r, err = cl.OwnReport(ctx, client.Attempt{User: user})
				return err
			})
			if err != nil {
				return err
			}
			if err := t.print(r, func(w io.Writer) {
				if r.Report == nil {
					fmt.Fprintf(w, "%s: %v %v\n", r.Decision.Outcome, r.Decision.Reasons, r.Decision.Hints)
					return
				}
				printReport(w, *r.Report)
			}); err != nil {
				return err
			}
			switch r.Decision.Outcome {
			case client.Granted:
				return nil
			case client.Retry:
				return &exitError{code: exitRetry}
			}
			return &exitError{code: exitRefused}
		},
	}
	c.Flags().BoolVar(&own, "own", false, "the person at the device asks for their own")
	return c
}

func (t *tool) peopleRenew() *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "renew PERSON",
		Short:             "Revoke a person's face templates and keep new ones in their place",
		Long: `Revoke a person's face templates and keep new ones in their place: what leaked
of the old ones is like nothing that is in this vault or in another. Nobody is
enrolled again. Templates of fingers belong to the module's maker and cannot be
renewed: enrol another finger. 'faceprintd vault renew' does it for everybody.`,
		Args: cobra.ExactArgs(1),
		RunE: t.person(func(ctx context.Context, cl *client.Client, user string, args []string) error {
			r, err := cl.Renew(ctx, user)
			if err != nil {
				return err
			}
			return t.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%d face templates renewed; make a new backup and destroy those of before\n", r.Templates)
			})
		}),
	}
}

func printReport(w io.Writer, r client.Report) {
	p := r.Person
	day := func(at time.Time) string { return at.Local().Format(time.DateTime) }
	fmt.Fprintf(w, "%s, %s, enrolled %s\n", p.Name, p.User, day(p.Created))
	for _, c := range append(r.Earlier, p.Consent) {
		witness := ""
		if c.Witness != "" {
			witness = ", before " + c.Witness
		}
		fmt.Fprintf(w, "agreed %s to text %s (%s)%s\n", day(c.At), c.TextVersion, c.Language, witness)
	}
	for _, x := range p.Templates {
		fmt.Fprintf(w, "holds  a template %s %s %s of %s, %d bytes\n", x.Kind, x.Model, x.Label, day(x.Created), x.Bytes)
	}
	for _, x := range r.Records {
		fmt.Fprintf(w, "holds  %d of kind %s\n", x.Count, x.Kind)
	}
	if r.LastUsed != nil {
		fmt.Fprintf(w, "last let in %s\n", day(*r.LastUsed))
	}
	switch {
	case r.Ends != nil && r.EndsAnyway:
		fmt.Fprintf(w, "erased on %s, however often it is used\n", day(*r.Ends))
	case r.Ends != nil:
		fmt.Fprintf(w, "erased on %s, unless used before\n", day(*r.Ends))
	default:
		fmt.Fprintln(w, "kept until they ask to be forgotten")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range r.Events {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%v\n", e.Seq, day(e.At), e.Kind, outcomeOf(e), e.Reasons)
	}
	tw.Flush()
}

func (t *tool) auditExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export FILE",
		Short: "Write the audit chain as JSON Lines, its end signed",
		Long: `Write the audit chain as JSON Lines to a new file, or to standard output for
"-": one entry a line, in the form that is hashed, and last a checkpoint that
the device signs. No entry holds anything biometric, or a name.`,
		Example: "  faceprint audit export audit.jsonl && faceprint audit verify audit.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cl := t.client()
			defer cl.Close()
			out := t.out
			if args[0] != "-" {
				f, err := newFile(args[0])
				if err != nil {
					return fmt.Errorf("export: %w", err)
				}
				defer func() {
					err = errors.Join(err, f.Close())
					if err != nil {
						err = errors.Join(err, os.Remove(args[0]))
					}
				}()
				out = f
			}
			w := bufio.NewWriter(out)
			n, err := export(cmd.Context(), cl, w)
			if err = errors.Join(err, w.Flush()); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			t.progress("%d entries", n)
			return nil
		},
	}
}

// newFile makes a file that was not there: what somebody kept is not overwritten.
func newFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%w; name a new one, or move that away", err)
	}
	return f, err
}

// export writes everything up to a checkpoint that is signed first.
func export(ctx context.Context, cl *client.Client, w io.Writer) (n int, err error) {
	write := func(x interface{ Line() ([]byte, error) }) error {
		b, err := x.Line()
		if err == nil {
			_, err = w.Write(append(b, '\n'))
		}
		return err
	}
	end, err := cl.Checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	for after := uint64(0); after < end.Seq; {
		page, err := cl.Audit(ctx, after, 5000)
		if err != nil {
			return n, err
		}
		if !page.Verified {
			return n, errors.New(page.Problem)
		}
		if after == 0 && page.Base != nil {
			if err := write(*page.Base); err != nil {
				return n, err
			}
		}
		if len(page.Entries) == 0 {
			break
		}
		for _, e := range page.Entries {
			if after = e.Seq; e.Seq > end.Seq {
				break
			}
			if err := write(e); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, write(end)
}

func (t *tool) auditVerify() *cobra.Command {
	var keys string
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check the device's audit chain, or an export of one on any machine",
		Long: `Check that every entry of the device's audit chain, or of an export, follows from
the one before and that the device signed the end. The device's key is asked of the daemon, or read from a
file that 'faceprint keys --json' wrote when the device was set up; with
--keys - only the chain is checked. Exits with 4 when something is wrong.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			witness, err := t.witness(cmd.Context(), keys)
			if err != nil {
				return err
			}
			var v client.Verified
			if len(args) == 0 {
				if v, err = t.verifyChain(cmd.Context(), witness); err != nil {
					return fmt.Errorf("the device's audit chain: %w", err)
				}
			} else {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("verify: %w", err)
				}
				defer f.Close()
				if v, err = client.VerifyExport(f, witness); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
			}
			return t.print(v, func(w io.Writer) {
				signed := "its end is not signed by a key that was given"
				if v.Signed {
					signed = "its end is signed by the device"
				}
				fmt.Fprintf(w, "the chain of entries %d to %d is unbroken, %s; its head is %s\n", v.First, v.Last, signed, v.Head)
			})
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "`file` with the device's keys; - for none")
	return c
}

// verifyChain exports the device's own chain, to nobody but the check.
func (t *tool) verifyChain(ctx context.Context, witness *client.OKP) (client.Verified, error) {
	cl := t.client()
	defer cl.Close()
	r, w := io.Pipe()
	var exporting sync.WaitGroup
	exporting.Go(func() {
		lines := bufio.NewWriter(w)
		_, err := export(ctx, cl, lines)
		w.CloseWithError(errors.Join(err, lines.Flush()))
	})
	v, err := client.VerifyExport(r, witness)
	r.CloseWithError(err)
	exporting.Wait()
	return v, err
}

func (t *tool) receipt() *cobra.Command {
	var keys string
	c := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Check the receipt of a consent or an erasure and tell what it says, on any machine",
		Long: `Check that a device signed the receipt that 'faceprint enroll --receipt' or
'faceprint forget --receipt' wrote, and tell what it says. The device's key is asked of the daemon, or read from a
file that 'faceprint keys --json' wrote when the device was set up; - reads the
receipt from standard input. Exits with 4 when it is not that device's.`,
		Example: "  faceprint receipt receipt.txt --keys keys.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keys == "-" {
				return usage("a receipt proves nothing without the device's key")
			}
			witness, err := t.witness(cmd.Context(), keys)
			if err != nil {
				return err
			}
			in := t.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("receipt: %w", err)
				}
				defer f.Close()
				in = f
			}
			text, err := io.ReadAll(io.LimitReader(in, 64<<10)) // far more than one has
			if err != nil {
				return fmt.Errorf("receipt: %w", err)
			}
			if a, err := client.VerifyAgreement(bytes.NewReader(text), *witness); err == nil {
				return t.print(a, func(w io.Writer) { printAgreement(w, a) })
			}
			e, err := client.VerifyReceipt(bytes.NewReader(text), *witness)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return t.print(e, func(w io.Writer) { printErasure(w, e) })
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "`file` with the device's keys")
	return c
}

func printAgreement(w io.Writer, a client.Agreement) {
	fmt.Fprintf(w, "signed by the device: %s agreed on %s to text %s (%s), %s (audit entry %d)\n",
		a.Person, a.Agreed.Local().Format(time.DateTime), a.Text, a.Language, a.Purpose, a.Audit)
	if a.Witness != "" {
		fmt.Fprintf(w, "  before %s\n", a.Witness)
	}
	if a.Digest != "" {
		fmt.Fprintf(w, "  the text's SHA-256 is %s\n", a.Digest)
	}
	fmt.Fprintf(w, "  made: %s\n", strings.Join(a.Templates, ", "))
	switch {
	case a.Unused == "" && a.Longest == "":
		fmt.Fprintln(w, "  kept until they ask to be forgotten")
	case a.Longest == "":
		fmt.Fprintf(w, "  kept until they ask to be forgotten, or were not let in for %s\n", a.Unused)
	case a.Unused == "":
		fmt.Fprintf(w, "  kept until they ask to be forgotten, at most for %s\n", a.Longest)
	default:
		fmt.Fprintf(w, "  kept until they ask to be forgotten, or were not let in for %s, at most for %s\n", a.Unused, a.Longest)
	}
}

func printErasure(w io.Writer, e client.Erasure) {
	fmt.Fprintf(w, "signed by the device: %s was forgotten on %s, %d template(s) no longer match anybody (audit entry %d)\n",
		e.Erased, e.At.Local().Format(time.DateTime), e.Templates, e.Audit)
	if e.Compacted {
		fmt.Fprintln(w, "  the vault was written anew without their key and their old bytes")
	}
	if e.Searched {
		fmt.Fprintln(w, "  the whole file was searched for their id and key: nothing was left")
	}
	if e.KeyMoved {
		fmt.Fprintln(w, "  the device key moved on: old copies of the vault open for nobody")
	}
	if !e.Finished() {
		fmt.Fprintln(w, "  the erasure was NOT FINISHED when this was signed: the device tries again every few hours and at its next start; ask its operator")
	}
}

func (t *tool) backup() *cobra.Command {
	var keys client.BackupKeys
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write an encrypted backup of the vault while it is in use",
		Long: `Write a backup of the vault to a new file, encrypted to the operator's age key
(--to). Inside, the vault stays sealed with this device's key: the operator can
bring it back on this device with 'faceprintd vault restore', and read nothing of
it elsewhere. With the owner's --recovery key it can be moved to another device;
the configuration names that key (store.recovery). Keep its identity away from
the operator and offline.`,
		Example: "  age-keygen -o operator.txt\n  faceprint backup vault.age --to age1...",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(keys.Operator) == 0 {
				return usage("say to whom it is encrypted, with --to age1...")
			}
			cl := t.client()
			defer cl.Close()
			f, err := newFile(args[0])
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			err = cl.Backup(cmd.Context(), f, keys)
			if err == nil {
				err = f.Sync()
			}
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(fmt.Errorf("backup: %w", err), os.Remove(args[0]))
			}
			t.progress("%s is written; try it with 'faceprintd vault restore' before you need it", args[0])
			return nil
		},
	}
	c.Flags().StringSliceVar(&keys.Operator, "to", nil, "age `recipient` of the operator")
	c.Flags().StringSliceVar(&keys.Recovery, "recovery", nil, "age `recipient` of the owner, to move it to another device")
	return c
}

// witness is the device's witness key; nil where none is wanted.
func (t *tool) witness(ctx context.Context, file string) (*client.OKP, error) {
	var k client.Keys
	switch file {
	case "-":
		return nil, nil
	case "":
		cl := t.client()
		defer cl.Close()
		var err error
		if k, err = cl.Keys(ctx); err != nil {
			return nil, err
		}
	default:
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		if err := json.Unmarshal(b, &k); err != nil {
			return nil, fmt.Errorf("keys: %s holds no keys: %w; 'faceprint keys --json' writes them", file, err)
		}
	}
	if k.Witness == nil {
		return nil, usage("the keys hold no witness key; 'faceprint keys --json' writes them")
	}
	return k.Witness, nil
}
