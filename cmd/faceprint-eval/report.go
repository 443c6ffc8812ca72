package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
)

type reportOptions struct {
	face     faceOptions
	liveness livenessOptions
	readme   string
}

func reportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report --readme FILE [--dir DIR --pairs FILE] [--live FILE... --attack FILE...]",
		Short: "Measure on your data and write a README's figures",
		Long: `Does what the subcommands face and liveness do, describing every picture once,
and writes the figures between the lines <!-- faces --> or <!-- liveness --> and
the next <!-- end --> of FILE. What no data are given for stays as it is.`,
		DisableFlagParsing: true, // a flag takes as many files as follow it
		SilenceUsage:       true,
		SilenceErrors:      true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmd.Flags().Parse(spread(args)); err != nil {
				return err
			}
			if help, _ := cmd.Flags().GetBool("help"); help {
				return cmd.Help()
			}
			if cmd.Flags().NArg() > 0 {
				return fmt.Errorf("report: what is %q?", cmd.Flags().Args())
			}
			return report(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.readme, "readme", "README.md", "`FILE` to write into")
	f.StringVar(&o.face.dir, "dir", "", "folder of pictures NAME/NAME_0001.jpg")
	f.StringVar(&o.face.pairs, "pairs", "", "pairs `FILE`")
	f.IntVar(&o.face.enroll, "enroll", 3, "pictures of a template, for the second line of figures")
	f.IntVar(&o.face.jobs, "jobs", 1, "threads")
	f.StringVar(&o.face.plot, "plot", "", "draw the DET curve into `FILE.png`")
	f.StringArrayVar(&o.liveness.live, "live", nil, "clips of living people")
	f.StringArrayVar(&o.liveness.attack, "attack", nil, "clips of attacks")
	f.StringToIntVar(&o.liveness.bystanders, "bystander", nil, "`CLIP=PIXELS`, as of liveness")
	o.face.model.flags(f)
	return cmd
}

func report(ctx context.Context, o reportOptions, out, progress io.Writer) error {
	doc, err := os.ReadFile(o.readme)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text := string(doc)
	o.liveness.model, o.liveness.threshold = o.face.model, shippedLive
	o.liveness.paper, o.liveness.still, o.liveness.challenge, o.liveness.spans = len(o.liveness.live) > 0, true, true, true
	clips := len(o.liveness.live) + len(o.liveness.attack)
	if o.face.dir == "" && clips == 0 {
		return errors.New("report: nothing to measure on: name pictures with --dir and --pairs, clips with --live and --attack")
	}
	// Whatever cannot be written is said before the long work.
	if o.face.dir != "" {
		if _, err := between(text, "faces", nil); err != nil {
			return fmt.Errorf("report: %s: %w", o.readme, err)
		}
	}
	if clips > 0 {
		if _, err := between(text, "liveness", nil); err != nil {
			return fmt.Errorf("report: %s: %w", o.readme, err)
		}
	}
	if o.face.dir != "" {
		lines, err := reportFaces(o.face, progress)
		if err == nil {
			text, err = between(text, "faces", lines)
		}
		if err != nil {
			return err
		}
	}
	if clips > 0 {
		r, err := evaluateLiveness(ctx, o.liveness, progress)
		if err == nil {
			text, err = between(text, "liveness", r.lines())
		}
		if err != nil {
			return err
		}
	}
	if err := outfile.Write(o.readme, []byte(text), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	fmt.Fprintf(out, "wrote %s\n", o.readme)
	return nil
}

// reportFaces makes the lines of the README's table, and the picture.
func reportFaces(o faceOptions, progress io.Writer) ([]string, error) {
	l, base, err := describeFaces(o, progress)
	if err != nil {
		return nil, err
	}
	single, run, err := l.compare(base, 0, probeSize{})
	if err != nil {
		return nil, err
	}
	if o.plot != "" {
		if err := plotDET(o.plot, falseMatch, falseNonMatch, run.genuineScores(), run.impostorScores()); err != nil {
			return nil, err
		}
	}
	lines := []string{
		fmt.Sprintf("%s on %s, %d pictures of %d people; in brackets the 95 %% interval (people drawn anew).", base.Profile, base.Engine, base.Images, len(l.people)),
		"",
		"| | accuracy | EER | true accepts at FMR 1e-3 | 1e-4 | 1e-5 |",
		"|---|---|---|---|---|---|",
		single.line(fmt.Sprintf("one picture with one, %d genuine and %d impostor comparisons", single.Genuine, single.Impostor)),
	}
	if o.enroll > 0 {
		several, _, err := l.compare(base, o.enroll, probeSize{})
		if err != nil {
			return nil, err
		}
		lines = append(lines, several.line(fmt.Sprintf("one picture with a template of %d, %d genuine and %d impostor comparisons", o.enroll, several.Genuine, several.Impostor)))
	}
	switch device, _, err := l.compare(base, deviceEnrols, deviceProbes); {
	case errors.Is(err, errTooFew): // nobody has so many pictures
	case err != nil:
		return nil, err
	default:
		lines = append(lines, device.shippedLines()...)
	}
	return lines, nil
}

func (r *faceReport) line(what string) string {
	rate := func(v float64, in [2]float64) string { return fmt.Sprintf("%.2f %% (%.1f to %.1f)", v, in[0], in[1]) }
	accuracy := "" // of a protocol of pairs alone
	if r.Enroll == 0 {
		accuracy = rate(r.Accuracy, r.Accuracy95)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", what, accuracy, rate(r.EER, r.EER95), rate(r.TAR3, r.TAR3_95), rate(r.TAR4, r.TAR4_95), rate(r.TAR5, r.TAR5_95))
}

func (r *livenessReport) lines() []string {
	accepted, refused, alive, kinds := 0, 0, 0, [2]int{}
	for _, c := range r.Clips {
		if c.Attack {
			accepted += c.Accepted
			kinds[1]++
		} else {
			refused += c.Rejected
			alive += c.Accepted
			kinds[0]++
		}
	}
	lines := []string{
		fmt.Sprintf("- Attacks (%d clips): %d of %d decisions accepted, so an APCER of up to %.0f %% (exact 95 %% interval, as if decisions of one clip were independent).",
			kinds[1], accepted, r.DecisionsAttack, r.APCER95[1]),
		fmt.Sprintf("- Living people (%d clips): %d of %d decisions refused, a BPCER of %.1f to %.1f %%; of the %d accepted, %d would be asked to move (%s).",
			kinds[0], refused, r.DecisionsLive, r.BPCER95[0], r.BPCER95[1], alive, r.Asked, interval(r.Asked, alive)),
	}
	for _, c := range r.Clips {
		if c.With != nil {
			lines = append(lines, fmt.Sprintf("- In %s, faces of more than %d pixels are living people beside the attack and were passed over, in %d of %d frames (`--bystander %s=%d`); taken for the attack, as without that flag, %d of the clip's %d decisions are accepted.",
				c.File, c.Bystander, c.PassedOver, c.All, c.File, c.Bystander, c.With.Accepted, c.With.Accepted+c.With.Rejected))
		}
	}
	if r.Spans != nil {
		lines = append(lines, r.Spans.line())
	}
	if r.Paper != nil {
		flat, doubted, answered := r.Paper.sum()
		lines = append(lines, fmt.Sprintf("- Their faces on sheets of paper, turned by arithmetic: %d of %d flat ones are in doubt, as are %d of %d spans of the living people (%s); %d of %d, flat or bent, turn far enough for a challenge.",
			doubted, flat, r.Paper.Flat, r.Paper.Spans, interval(r.Paper.Flat, r.Paper.Spans), answered, len(r.Paper.Sheets)))
	}
	if r.Stills != nil {
		passed, pictures := 0, 0
		for _, k := range r.Stills.Kinds {
			passed, pictures = passed+k.Passed, pictures+k.Pictures
		}
		lines = append(lines, fmt.Sprintf("- One picture of theirs that the liveness score is sure of, with noise, held or moved about: %d of %d are taken for moving (%s); %d of %d spans of the living people are not (%s), and are asked to move.",
			passed, pictures, interval(passed, pictures), r.Stills.Shipped, r.Stills.Living, interval(r.Stills.Shipped, r.Stills.Living)))
	}
	if r.Recordings != nil {
		lines = append(lines, fmt.Sprintf("- The clips as recordings, which hear no question: %d of %d challenges answered by chance (%s).", r.Recordings.Passed, r.Recordings.Challenges, interval(r.Recordings.Passed, r.Recordings.Challenges)))
	}
	return lines
}

// interval is the exact one of k of n, for people.
func interval(k, n int) string {
	in := exact95(k, n)
	return fmt.Sprintf("%.2g to %.2g %%", in[0], in[1])
}

// between puts lines between the line <!-- name --> and the next <!-- end -->.
func between(text, name string, lines []string) (string, error) {
	all := strings.Split(text, "\n")
	start := slices.Index(all, "<!-- "+name+" -->")
	if start < 0 {
		return "", fmt.Errorf("no line <!-- %s -->", name)
	}
	n := slices.Index(all[start:], "<!-- end -->")
	if n < 0 {
		return "", fmt.Errorf("line %d: no <!-- end --> after <!-- %s -->", start+1, name)
	}
	return strings.Join(slices.Concat(all[:start+1], lines, all[start+n:]), "\n"), nil
}
