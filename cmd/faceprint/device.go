package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) status() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell how the device and its parts are",
		Long: `Tell how the device and its parts are. Exits with 4 when a part that is
configured is missing; the daemon keeps trying to get it back.

With --wait, wait that long for the daemon to start and for its parts to be
there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			s, err := cl.Status(cmd.Context())
			if wait > 0 {
				s, err = cl.Ready(cmd.Context(), wait)
			}
			if err != nil {
				return err
			}
			if err := t.print(s, func(w io.Writer) { printStatus(w, s) }); err != nil {
				return err
			}
			if s.State != "ready" {
				return &exitError{code: exitFault}
			}
			return nil
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait so long until the device is ready")
	return c
}

func printStatus(w io.Writer, s client.Status) {
	bench := ""
	if s.Bench {
		bench = ", on the bench"
	}
	fmt.Fprintf(w, "%s%s: faceprintd %s, up %s, %d people, %d audit entries\n", s.State, bench, s.Version, s.Now.Sub(s.Started).Round(time.Second), s.People, s.Audit)
	if s.Locked != nil {
		fmt.Fprintf(w, "the device is locked out until %s\n", s.Locked.Local().Format(time.DateTime))
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range s.Parts {
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", p.Name, p.State, p.Detail)
		if line := lineNumbers(p.Numbers); line != "" {
			fmt.Fprintf(tw, "\t\t%s\n", line)
		}
		if p.Advice != "" {
			fmt.Fprintf(tw, "\t\t-> %s\n", p.Advice)
		}
	}
	tw.Flush()
}

// lineNumbers tells how well a finger module's line works, "" where that is no such
// part.
func lineNumbers(n map[string]float64) string {
	if _, ok := n["bad_sums"]; !ok {
		return ""
	}
	seconds := func(name string) time.Duration {
		return time.Duration(n[name] * float64(time.Second)).Round(100 * time.Microsecond)
	}
	s := fmt.Sprintf("line: %.0f instructions, %.0f damaged packets, %.0f stray bytes, %.0f without an answer, %.0f resynchronised; half of them within %v, 99 %% within %v",
		n["commands"], n["bad_sums"], n["skipped_bytes"], n["timeouts"], n["resyncs"], seconds("median_seconds"), seconds("p99_seconds"))
	if lost := n["overruns"] + n["framing_errors"]; lost > 0 {
		s += fmt.Sprintf("; the port lost %.0f characters", lost)
	}
	return s
}

func (t *tool) audit() *cobra.Command {
	var after uint64
	var limit int
	c := &cobra.Command{
		Use:   "audit",
		Short: "Check the audit chain and list its entries",
		Long: `Check that the audit chain is unbroken from its first entry and list entries.
Exits with 4 when the chain is broken.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			a, err := cl.Audit(cmd.Context(), after, limit)
			if err != nil {
				return err
			}
			if err := t.print(a, func(w io.Writer) { printAudit(w, a) }); err != nil {
				return err
			}
			if !a.Verified {
				return &exitError{code: exitFault}
			}
			return nil
		},
	}
	c.AddCommand(t.auditExport(), t.auditVerify())
	c.Flags().Uint64Var(&after, "after", 0, "only entries after this number")
	c.Flags().IntVar(&limit, "limit", 1000, "at most so many")
	return c
}

// outcomeOf tells how many attempts the entry stands for where that is said.
func outcomeOf(e client.Entry) string {
	if e.Times == 0 {
		return e.Outcome
	}
	if e.Times == 1 {
		return e.Outcome + ", once"
	}
	return fmt.Sprintf("%s, %d times", e.Outcome, e.Times)
}

func printAudit(w io.Writer, a client.AuditPage) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range a.Entries {
		scores := make([]string, 0, len(e.Scores))
		for _, k := range sortedKeys(e.Scores) {
			scores = append(scores, fmt.Sprintf("%s=%.4g", k, e.Scores[k]))
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Local().Format(time.DateTime), e.Kind, e.User, outcomeOf(e), strings.Join(e.Reasons, ","), strings.Join(scores, " "))
	}
	tw.Flush()
	if a.Verified {
		fmt.Fprintf(w, "the chain of %d entries is unbroken; its head is %s\n", a.Total, a.Head)
		return
	}
	fmt.Fprintf(w, "THE CHAIN IS BROKEN: %s\n", a.Problem)
}

func (t *tool) keys() *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: "Print the public keys with which grants are checked (JWKS)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			k, err := cl.Keys(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(k, func(w io.Writer) { _ = json.NewEncoder(w).Encode(k) })
		},
	}
}

func (t *tool) config() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the daemon's effective configuration",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			c, err := cl.Config(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(c, func(w io.Writer) {
				if c.File != "" {
					fmt.Fprintf(w, "# from %s, defaults filled in\n", c.File)
				}
				fmt.Fprint(w, c.TOML)
			})
		},
	}
}

func (t *tool) events() *cobra.Command {
	return &cobra.Command{
		Use:   "events",
		Short: "Print what happens at the device, until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			out := json.NewEncoder(t.out)
			err := cl.Events(cmd.Context(), nil, func(e client.Event) error {
				if t.json {
					return out.Encode(e)
				}
				line := tool{err: t.out}
				fmt.Fprint(t.out, e.At.Local().Format(time.TimeOnly))
				line.show(e)
				return nil
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			if errors.Is(err, io.EOF) {
				return errors.New("the daemon stopped")
			}
			return err
		},
	}
}

func (t *tool) doctor() *cobra.Command {
	var ports []string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is missing or wrong and say what to do",
		Long: `Examine this machine and, when it runs, the daemon: devices, groups, models,
the serial line, the store. Exits with 4 when something must be mended.

--port examines a serial port for a fingerprint module as well, which needs a
port that no program has.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := t.diagnose(cmd.Context(), ports...)
			if err := t.print(d, func(w io.Writer) { printDiagnosis(w, d) }); err != nil {
				return err
			}
			for _, c := range d.Checks {
				if c.State == "fail" {
					return &exitError{code: exitFault}
				}
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&ports, "port", "p", nil, "serial port to look for a fingerprint module on; may be given more than once")
	_ = c.RegisterFlagCompletionFunc("port", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return serialPorts(), cobra.ShellCompDirectiveDefault
	})
	return c
}

func printDiagnosis(w io.Writer, d client.Diagnosis) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	bad := 0
	for _, c := range d.Checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", c.State, c.Name, c.Detail)
		if c.Advice != "" {
			fmt.Fprintf(tw, "\t\t-> %s\n", c.Advice)
		}
		if c.State == "fail" {
			bad++
		}
	}
	tw.Flush()
	if bad == 0 {
		fmt.Fprintln(w, "nothing must be mended")
	}
}

func (t *tool) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return t.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "faceprint %s (%s, %s)\n", v["version"], v["go"], v["platform"])
			})
		},
	}
}

// version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// built is when the source was committed, so that equal sources make equal
// pages; nil where that was not recorded.
func built() *time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return &at
		}
	}
	return nil
}

func (t *tool) man() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "faceprint", Manual: "faceprint", Date: built()}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "*.1"))
			if err != nil {
				return fmt.Errorf("man: %w", err)
			}
			t.progress("%d pages in %s", len(pages), args[0])
			return nil
		},
	}
}
