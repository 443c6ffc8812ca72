package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
	phone "github.com/faceprint/faceprint/device/phone/client"
)

func (t *tool) phone() *cobra.Command {
	c := &cobra.Command{
		Use:   "phone",
		Short: "Pair phones with people, list and revoke them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(t.phonePair(), t.phoneList(), t.phoneSet(), t.phoneRename(), t.phoneRevoke(), t.phoneClock(), t.phoneSim())
	return c
}

func (t *tool) phonePair() *cobra.Command {
	var in client.Invite
	var expires time.Duration
	var noWait bool
	c := &cobra.Command{
		ValidArgsFunction: t.completePerson,
		Use:               "pair PERSON",
		Short:             "Show a code with which one phone becomes PERSON's",
		Long: `Show a QR code and wait until a phone was paired with it. The code is good for
one phone and one minute: whoever scans it first has it, so look who does.

A phone without an app opens the code's address as a page, where the device's
configuration allows that.`,
		Example: "  faceprint phone pair alice\n  faceprint phone pair alice --rights unlock,history --schedule 'mon-fri 08:00-18:00' --expires 720h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// What was said must not turn into what is left out: for ever, and all.
			if cmd.Flags().Changed("expires") && expires <= 0 {
				return usage("--expires %s: the phone would be expired already; give a time above 0, such as 720h, or leave it out for a phone that stays", expires)
			}
			if cmd.Flags().Changed("rights") && len(in.Rights) == 0 {
				return usage("--rights '': a phone without rights is of no use; name some of unlock,approve,verify,history, or leave it out for all")
			}
			ctx := cmd.Context()
			cl := t.client()
			defer cl.Close()
			var err error
			if in.User, err = t.resolve(ctx, cl, args[0]); err != nil {
				return err
			}
			if expires > 0 {
				at := time.Now().Add(expires).UTC()
				in.Expires = &at
			}
			if t.json || noWait {
				invited, err := cl.Invite(ctx, in)
				if err != nil {
					return err
				}
				return t.print(invited, func(w io.Writer) { printInvited(w, invited) })
			}
			return t.pairAndWait(ctx, cl, in)
		},
	}
	c.Flags().StringSliceVar(&in.Rights, "rights", nil, "what the phone may do: unlock,approve,verify,history; all when left out")
	c.Flags().StringVar(&in.Schedule, "schedule", "", "when it may, such as 'mon-fri 08:00-18:00, sat 09:00-12:00'; always when left out")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it stays paired; for ever when left out")
	c.Flags().BoolVar(&noWait, "no-wait", false, "only show the code")
	_ = c.RegisterFlagCompletionFunc("rights", cobra.FixedCompletions([]string{"unlock", "approve", "verify", "history"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// pairAndWait shows the code and returns when a phone took it or its time is
// over.
func (t *tool) pairAndWait(ctx context.Context, cl *client.Client, in client.Invite) error {
	paired := errors.New("paired")
	var invited client.Invited
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var askErr error
	err := cl.Events(ctx, func() {
		// Subscribed first, so that a quick phone is not missed.
		if invited, askErr = cl.Invite(ctx, in); askErr != nil {
			stop(askErr)
			return
		}
		printInvited(t.out, invited)
		time.AfterFunc(time.Until(invited.Expires), func() { stop(errCodeOver) })
	}, func(e client.Event) error {
		if e.Kind == "phone-paired" && e.User == in.User {
			fmt.Fprintf(t.out, "paired: %s\n", e.Detail)
			return paired
		}
		return nil
	})
	if invited.ID != "" {
		// Whoever comes by the terminal later must not find a good code there: it may
		// have been by another that a phone was paired.
		late, end := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
		defer end()
		if err := cl.WithdrawInvite(late, invited.ID); err != nil {
			fmt.Fprintf(t.err, "the code could not be withdrawn: %v; it is good until %s\n", err, invited.Expires.Local().Format(time.TimeOnly))
		}
	}
	switch {
	case errors.Is(err, paired):
		return nil
	case askErr != nil:
		return askErr
	case errors.Is(context.Cause(ctx), errCodeOver):
		return &exitError{exitRetry, errCodeOver}
	case errors.Is(err, io.EOF):
		return errors.New("the daemon stopped")
	}
	return err
}

// withdrawTime is how long a daemon that still runs takes at most.
const withdrawTime = 2 * time.Second

var errCodeOver = errors.New("nobody used the code within its minute; run it again for a new one")

func printInvited(w io.Writer, i client.Invited) {
	fmt.Fprint(w, drawQR(i.QR))
	fmt.Fprintf(w, "%s\ngood for one phone until %s\n", i.Text, i.Expires.Local().Format(time.TimeOnly))
	fmt.Fprintf(w, "SHA-256 of this device's key, for who pairs a browser: %s\n", i.Key)
}

// quiet is the light border of a QR code, in modules (ISO/IEC 18004, 6.3.8).
const quietZone = 4

// drawQR draws two rows of modules a line, dark on light whatever the
// terminal's own colours are.
func drawQR(rows []string) string {
	size := len(rows) + 2*quietZone
	dark := func(x, y int) bool {
		x, y = x-quietZone, y-quietZone
		return y >= 0 && y < len(rows) && x >= 0 && x < len(rows[y]) && rows[y][x] == '#'
	}
	var b strings.Builder
	for y := 0; y < size; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := range size {
			switch up, down := dark(x, y), dark(x, y+1); {
			case up && down:
				b.WriteRune('█')
			case up:
				b.WriteRune('▀')
			case down:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}

func (t *tool) phoneList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the paired phones",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			list, err := cl.Phones(cmd.Context())
			if err != nil {
				return err
			}
			names, err := namesOf(cmd.Context(), cl)
			if err != nil {
				return err
			}
			return t.print(list, func(w io.Writer) { printPhones(w, list.Phones, names) })
		},
	}
}

// namesOf are people's names by their ids.
func namesOf(ctx context.Context, cl *client.Client) (map[string]string, error) {
	people, err := cl.People(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(people.People))
	for _, p := range people.People {
		names[p.User] = p.Name
	}
	return names, nil
}

// printPhones prints phones; names are of people, by their ids.
func printPhones(w io.Writer, phones []client.Phone, names map[string]string) {
	if len(phones) == 0 {
		fmt.Fprintln(w, "no phone is paired")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range phones {
		state := "paired by " + p.By
		if p.Asker != "" {
			state += " (" + p.Asker + ")"
		}
		switch {
		case p.Revoked != nil:
			state = "revoked " + p.Revoked.Local().Format(time.DateTime)
		case p.Expires != nil && !time.Now().Before(*p.Expires):
			state = "expired " + p.Expires.Local().Format(time.DateTime)
		case p.Expires != nil:
			state += ", until " + p.Expires.Local().Format(time.DateTime)
		}
		when := "always"
		if p.Schedule != "" {
			when = p.Schedule
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s, %s\t%s\t%s\t%s\n", p.ID, cmp.Or(names[p.User], p.User), p.Name, p.Kind, p.Platform, strings.Join(p.Rights, ","), when, state)
	}
	tw.Flush()
}

// phoneSet changes what a phone may do, when, and for how long.
func (t *tool) phoneSet() *cobra.Command {
	var rights []string
	var schedule, expires string
	c := &cobra.Command{
		Use:   "set ID",
		Short: "Change what a phone may do, when, and for how long",
		Long: `Change what a phone may do, when, and for how long it stays paired. What no
flag names stays as it is. It holds at once: the phone's connections are cut.`,
		Example:           "  faceprint phone set ID --rights approve,history\n  faceprint phone set ID --schedule always --expires 720h\n  faceprint phone set ID --expires never",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completePhone,
		RunE: func(cmd *cobra.Command, args []string) error {
			set := cmd.Flags().Changed
			if !set("rights") && !set("schedule") && !set("expires") {
				return usage("nothing to change: give --rights, --schedule or --expires")
			}
			if set("rights") && len(rights) == 0 {
				return usage("--rights '': a phone without rights is of no use; end its pairing with 'faceprint phone revoke %s'", args[0])
			}
			var life time.Duration
			if set("expires") && expires != "never" {
				var err error
				if life, err = time.ParseDuration(expires); err != nil || life <= 0 {
					return usage("--expires %.40q: give a time above 0, such as 720h, or never", expires)
				}
			}
			cl := t.client()
			defer cl.Close()
			list, err := cl.Phones(cmd.Context())
			if err != nil {
				return err
			}
			n := slices.IndexFunc(list.Phones, func(p client.Phone) bool { return p.ID == args[0] })
			if n < 0 {
				return usage("no phone has the id %.24q; 'faceprint phone list' lists those paired", args[0])
			}
			terms := client.PhoneTerms{Rights: list.Phones[n].Rights, Schedule: list.Phones[n].Schedule, Expires: list.Phones[n].Expires}
			if set("rights") {
				terms.Rights = rights
			}
			if set("schedule") {
				terms.Schedule = schedule
				if schedule == "always" {
					terms.Schedule = ""
				}
			}
			if set("expires") {
				terms.Expires = nil
				if life > 0 {
					at := time.Now().Add(life).UTC()
					terms.Expires = &at
				}
			}
			p, err := cl.SetPhoneTerms(cmd.Context(), args[0], terms)
			if err != nil {
				return err
			}
			names, err := namesOf(cmd.Context(), cl)
			if err != nil {
				names = nil // it is done; the id says whose it is as well
			}
			return t.print(p, func(w io.Writer) { printPhones(w, []client.Phone{p}, names) })
		},
	}
	c.Flags().StringSliceVar(&rights, "rights", nil, "what the phone may do: unlock,approve,verify,history")
	c.Flags().StringVar(&schedule, "schedule", "", "when it may, such as 'mon-fri 08:00-18:00, sat 09:00-12:00', or always")
	c.Flags().StringVar(&expires, "expires", "", "how long from now it stays paired, such as 720h, or never")
	_ = c.RegisterFlagCompletionFunc("rights", cobra.FixedCompletions([]string{"unlock", "approve", "verify", "history"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (t *tool) phoneRename() *cobra.Command {
	return &cobra.Command{
		Use:               "rename ID NAME",
		Short:             "Give a phone another name",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: t.completePhone,
		RunE: func(cmd *cobra.Command, args []string) error {
			cl := t.client()
			defer cl.Close()
			p, err := cl.RenamePhone(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s is called %s\n", p.ID, p.Name) })
		},
	}
}

func (t *tool) phoneRevoke() *cobra.Command {
	return &cobra.Command{
		Use:               "revoke ID",
		Short:             "End a phone's pairing at once, open connections too",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completePhone,
		RunE: func(cmd *cobra.Command, args []string) error {
			cl := t.client()
			defer cl.Close()
			p, err := cl.RevokePhone(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s (%s) is revoked\n", p.ID, p.Name) })
		},
	}
}

// phoneClock tells how late it is to phones whose time is limited, and takes the
// clock for right.
func (t *tool) phoneClock() *cobra.Command {
	var accept bool
	c := &cobra.Command{
		Use:   "clock",
		Short: "Tell whether the device's clock was set back, which stops phones with an end or a schedule",
		Long: `Tell whether the device's clock stands before a time that it was already. Then
nobody knows how late it is, and phones with an end or a schedule may do nothing
until the clock has been set right.

Where the clock is right now and was ahead before, by a wrong date or a time
server that lied, --accept takes it for right. The audit records who did. A phone
that was over by the wrong time lives again, so look at 'faceprint phone list'.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			ask := cl.PhoneClock
			if accept {
				ask = cl.AcceptPhoneClock
			}
			p, err := ask(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(p, func(w io.Writer) {
				if accept {
					fmt.Fprintln(w, "taken for right, which the audit records:")
				}
				printClock(w, p)
			})
		},
	}
	c.Flags().BoolVar(&accept, "accept", false, "take the device's clock for right, though it was later before")
	return c
}

func printClock(w io.Writer, c client.PhoneClock) {
	by := "no time server says so"
	if c.Trusted {
		by = "by a time server"
	}
	fmt.Fprintf(w, "%s, %s\n", c.Now.Local().Format(time.DateTime), by)
	if c.Back && c.Known != nil {
		fmt.Fprintf(w, "it was at least %s already: phones with an end or a schedule may do nothing\nset the clock ('timedatectl'); where it is right, 'faceprint phone clock --accept'\n", c.Known.Local().Format(time.DateTime))
	}
}

// completePhone offers the ids of phones to a shell whose user may list them.
func (t *tool) completePhone(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cl := t.client()
	defer cl.Close()
	list, err := cl.Phones(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids := make([]string, len(list.Phones))
	for i, p := range list.Phones {
		ids[i] = cobra.CompletionWithDesc(p.ID, p.Name)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// phoneSim is a phone made of a file: for trying things out, for tests and for
// programs that have no phone at hand.
func (t *tool) phoneSim() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "sim",
		Short: "Be a phone: its key rests in a file, which a real phone's never does",
		Long: `Be a phone over the network, as the paired phone of a person is: pinned TLS,
signed requests. The key rests in a plain file, readable by its owner alone; a
real phone keeps it in hardware that does not give it away.`,
		Example: "  faceprint phone sim pair 'https://192.168.1.20:7443/#1....'\n  faceprint phone sim unlock\n  faceprint phone sim verify --audience shop --nonce 4711",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.PersistentFlags().StringVar(&file, "file", "phone.json", "where the phone's key rests")
	// with runs f as the phone of the file.
	with := func(f func(context.Context, *phone.Client, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			i, err := phone.OpenIdentity(file)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			cl := i.Client()
			defer cl.Close()
			return errors.Join(saidNo(f(cmd.Context(), cl, args)), i.Save())
		}
	}
	add := func(use, short string, args cobra.PositionalArgs, f func(context.Context, *phone.Client, []string) error) *cobra.Command {
		sub := &cobra.Command{Use: use, Short: short, Args: args, RunE: with(f)}
		c.AddCommand(sub)
		return sub
	}

	var name string
	pair := &cobra.Command{
		Use:   "pair CODE",
		Short: "Be paired, with the text of a code that the device shows",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := phone.ParseInvitation(args[0])
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := phone.CheckName(name); err != nil {
				return usage("--name: %w", err)
			}
			i, err := phone.NewIdentity(file)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := i.Pair(cmd.Context(), inv, name, "faceprint phone sim"); err != nil {
				return saidNo(err)
			}
			return t.print(map[string]string{"id": i.ID, "user": i.User, "file": file}, func(w io.Writer) {
				fmt.Fprintf(w, "this is now phone %s of %s; its key is in %s\n", i.ID, i.User, file)
			})
		},
	}
	pair.Flags().StringVar(&name, "name", "simulated phone", "what the owner calls it")
	c.AddCommand(pair)

	add("me", "Tell who the device takes this phone for", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		me, err := cl.Me(ctx)
		if err != nil {
			return err
		}
		return t.print(me, func(w io.Writer) {
			fmt.Fprintf(w, "%s (%s), with phone %s (%s); the device is faceprintd %s\n", me.Name, me.User, me.Phone.ID, me.Phone.Name, me.Device)
		})
	})
	var unlock phone.Unlock
	var timeout time.Duration
	attempt := func(d client.Decision, err error) error {
		if err != nil {
			return err
		}
		return t.decided(d)
	}
	u := add("unlock", "Ask to be let in", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		unlock.TimeoutMs = int(timeout.Milliseconds())
		return attempt(cl.Unlock(ctx, unlock))
	})
	add("kiosk", "Begin a session at the kiosk's page, before which this phone's person stands", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		return attempt(cl.Kiosk(ctx))
	})
	var verify phone.VerifyMe
	v := add("verify", "Have the device vouch for its person: a grant, and no door opens", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		verify.TimeoutMs = int(timeout.Milliseconds())
		return attempt(cl.Verify(ctx, verify))
	})
	for _, x := range []struct {
		c               *cobra.Command
		nonce, audience *string
	}{{u, &unlock.Nonce, &unlock.Audience}, {v, &verify.Nonce, &verify.Audience}} {
		x.c.Flags().StringVar(x.nonce, "nonce", "", "nonce that comes back inside the grant")
		x.c.Flags().StringVar(x.audience, "audience", "", "who the grant is for")
		x.c.Flags().DurationVar(&timeout, "timeout", 0, "deadline of the attempt; 0 is the device's")
	}
	_ = v.MarkFlagRequired("nonce")
	_ = v.MarkFlagRequired("audience")

	add("requests", "List what waits at the device for this person's answer", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		list, err := cl.Requests(ctx)
		if err != nil {
			return err
		}
		return t.print(list, func(w io.Writer) {
			for _, r := range list.Requests {
				fmt.Fprintf(w, "%s  %s  since %s\n", r.ID, r.Audience, r.Since.Local().Format(time.TimeOnly))
			}
			if len(list.Requests) == 0 {
				fmt.Fprintln(w, "nothing waits")
			}
		})
	})
	for _, x := range []struct {
		use, short string
		yes        bool
	}{{"approve [ID]", "Approve what waits; without ID, whatever comes next", true}, {"deny [ID]", "Refuse what waits; without ID, whatever comes next", false}} {
		add(x.use, x.short, cobra.MaximumNArgs(1), func(ctx context.Context, cl *phone.Client, args []string) error {
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			id, err := next(ctx, cl, id)
			if err != nil {
				return err
			}
			if err := cl.Answer(ctx, id, x.yes); err != nil {
				return err
			}
			return t.print(map[string]any{"id": id, "approve": x.yes}, func(w io.Writer) { fmt.Fprintf(w, "answered %s\n", id) })
		})
	}
	var limit int
	h := add("history", "List what happened to this person, newest first", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		list, err := cl.History(ctx, 0, limit)
		if err != nil {
			return err
		}
		return t.print(list, func(w io.Writer) {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			for _, e := range list.Entries {
				fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Local().Format(time.DateTime), e.Kind, outcomeOf(e), strings.Join(e.Reasons, ","))
			}
			tw.Flush()
		})
	})
	h.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 100")
	add("events", "Print what concerns this person, until Ctrl-C", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		err := cl.Events(ctx, nil, func(e phone.Event) error {
			line := tool{err: t.out}
			at := "        " // hints have no time
			if !e.At.IsZero() {
				at = e.At.Local().Format(time.TimeOnly)
			}
			fmt.Fprint(t.out, at)
			line.show(e.Event)
			return nil
		})
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case errors.Is(err, io.EOF):
			if _, err := cl.Me(ctx); err != nil {
				return err // it says why, where it was a revocation
			}
			return errors.New("the device hung up; run it again")
		}
		return err
	})
	add("revoke", "End this phone's pairing", cobra.NoArgs, func(ctx context.Context, cl *phone.Client, _ []string) error {
		p, err := cl.Revoke(ctx)
		if err != nil {
			return err
		}
		return t.print(p, func(w io.Writer) { fmt.Fprintf(w, "%s is revoked; %s is of no use any more\n", p.ID, file) })
	})
	return c
}

// saidNo makes a refusal of what either side of a pairing decided: that this
// phone may not, is none, or that the device is not the one it was.
func saidNo(err error) error {
	var e *client.Error
	refused := errors.Is(err, phone.ErrPin) || errors.Is(err, phone.ErrProof) || errors.Is(err, phone.ErrRolledBack) || errors.Is(err, phone.ErrCopied)
	if errors.As(err, &e) {
		switch e.Problem() {
		case client.ProblemForbidden, client.ProblemUnsigned, client.ProblemPairing:
			refused = true
		}
	}
	if refused {
		return &exitError{exitRefused, err}
	}
	return err
}

// next is the id, or else that of the first request that waits or comes.
func next(ctx context.Context, cl *phone.Client, id string) (string, error) {
	if id != "" {
		return id, nil
	}
	found := errors.New("found")
	var looked error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := cl.Events(ctx, func() {
		var list phone.PendingList
		if list, looked = cl.Requests(ctx); looked != nil || len(list.Requests) > 0 {
			if looked == nil {
				id = list.Requests[0].ID
			}
			stop()
		}
	}, func(e phone.Event) error {
		if e.Request != nil {
			id = e.Request.ID
			return found
		}
		return nil
	})
	switch {
	case looked != nil:
		return "", looked
	case id != "":
		return id, nil
	}
	return "", err
}
