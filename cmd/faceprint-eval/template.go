package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/sensor/minutia"
)

// explain draws every stage of two pictures and of their comparison into a
// folder.
func explain(w io.Writer, o fingerOptions, paths []string) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	a, err := readGray(paths[0])
	if err != nil {
		return err
	}
	b, err := readGray(paths[1])
	if err != nil {
		return err
	}
	dpi := o.dpi
	if o.window > 0 {
		a, _ = moduleWindow(a, o.dpi, o.window)
		b, dpi = moduleWindow(b, o.dpi, o.window)
	}
	stagesA, errA := minutia.Explain(a, dpi)
	stagesB, errB := minutia.Explain(b, dpi)
	for k, stages := range [][]minutia.Stage{stagesA, stagesB} {
		for _, s := range stages {
			s.Name = fmt.Sprintf("%c-%s", 'a'+k, s.Name)
			if err := writeStage(w, o.out, s); err != nil {
				return err
			}
		}
	}
	for k, err := range []error{errA, errB} {
		if err != nil {
			return fmt.Errorf("%s: %w", paths[k], err)
		}
	}
	s, e, fmr, err := minutia.ExplainMatch(a, b, dpi)
	if err != nil {
		return err
	}
	if err := writeStage(w, o.out, s); err != nil {
		return err
	}
	printEvidence(w, &e, fmr)
	return nil
}

func writeStage(w io.Writer, dir string, s minutia.Stage) error {
	path := filepath.Join(dir, s.Name+".png")
	var b bytes.Buffer
	if err := png.Encode(&b, s.Image); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := outfile.Write(path, b.Bytes(), 0o600); err != nil { // somebody's finger
		return err
	}
	fmt.Fprintln(w, path)
	return nil
}

// printEvidence says what two have in common, and the rate that the daemon takes the
// score for.
func printEvidence(w io.Writer, e *minutia.Evidence, fmr float64) {
	switch {
	case e.Relaxed == 0:
		fmt.Fprintln(w, "not aligned: no minutia's neighbourhood is like any other's")
	case e.Matched == 0 && e.Area == 0:
		fmt.Fprintf(w, "not aligned: the neighbourhoods of the minutiae do not agree (%.2f)\n", e.Relaxed)
	default:
		fmt.Fprintf(w, "%d minutiae coincide, common ground %.0f patches, ridge phase %.2f\n", e.Matched, e.Area, e.Phase)
	}
	fmt.Fprintf(w, "score %.2f, false match rate %.2g\n", e.Score(), fmr)
}

// recordNames are the values of --to.
var recordNames = map[string]minutia.Exchange{"iso": minutia.ISO19794_2, "ansi": minutia.ANSI378}

func templateCommand() *cobra.Command {
	var to, out string
	var dpi float64
	var view int
	cmd := &cobra.Command{
		Use:   "template FILE [FILE]",
		Short: "Convert a finger's picture or template, or compare two",
		Long: `Reads pictures, templates of faceprint, and records of ISO/IEC 19794-2 and
ANSI INCITS 378. One file is converted with --to and --out; two are compared, and
of a record with several views the best counts.

A template is biometric data in the clear. Convert only fingers that are
nobody's, or whose owner agreed. Templates of enrolled people are not here:
they never leave the device.`,
		Args:          cobra.RangeArgs(1, 2),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 2) == (to != "") || (to == "") != (out == "") {
				return fmt.Errorf("template: give one file with --to and --out, or two files to compare")
			}
			var fingers [][]*minutia.Template
			for _, path := range args {
				ts, err := readTemplate(path, dpi)
				if err != nil {
					return err
				}
				if view > len(ts) || view < 0 {
					return fmt.Errorf("template: --view %d: %s has %d", view, path, len(ts))
				}
				if view > 0 {
					ts = ts[view-1 : view]
				}
				fingers = append(fingers, ts)
			}
			if to == "" {
				compareTemplates(cmd.OutOrStdout(), fingers[0], fingers[1])
				return nil
			}
			if n := len(fingers[0]); n > 1 {
				return fmt.Errorf("template: %s has %d views and a template is of one: say which with --view", args[0], n)
			}
			data, err := encodeTemplate(fingers[0][0], to)
			if err != nil {
				return err
			}
			return outfile.Write(out, data, 0o600)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "write `FORMAT`: faceprint, iso or ansi")
	f.StringVar(&out, "out", "", "the `FILE` to write")
	f.Float64Var(&dpi, "dpi", 500, "resolution of pictures")
	f.IntVar(&view, "view", 0, "of records, only the `N`th view")
	return cmd
}

// compareTemplates prints what the most alike of two fingers' impressions have in
// common.
func compareTemplates(w io.Writer, a, b []*minutia.Template) {
	var m minutia.Matcher
	best, bi, bj := minutia.Evidence{}, 0, 0
	for i := range a {
		for j := range b {
			if e := m.Compare(minutia.Prepare(a[i]), minutia.Prepare(b[j])); i+j == 0 || e.Score() > best.Score() {
				best, bi, bj = e, i, j
			}
		}
	}
	if len(a)*len(b) > 1 {
		fmt.Fprintf(w, "the most alike of %d and %d views: %d and %d\n", len(a), len(b), bi+1, bj+1)
	}
	printEvidence(w, &best, minutia.FMROf(best.Score(), minutia.Prepare(a...), minutia.Prepare(b...)))
}

func encodeTemplate(t *minutia.Template, to string) ([]byte, error) {
	if to == "faceprint" {
		return t.MarshalBinary()
	}
	x, ok := recordNames[to]
	if !ok {
		return nil, fmt.Errorf("template: --to %s: want faceprint, iso or ansi", to)
	}
	return t.Export(x)
}

// readTemplate reads a template of any kind, every view of a record, or makes one
// of a picture. Its errors name the file.
func readTemplate(path string, dpi float64) ([]*minutia.Template, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ts []*minutia.Template
	var t *minutia.Template
	switch {
	case strings.HasPrefix(string(data), "FMR\x00"):
		ts, _, err = minutia.Import(data)
	case strings.HasPrefix(string(data), "Fm"):
		t, err = minutia.Decode(data)
		ts = append(ts, t)
	default:
		img, unread := readGray(path)
		if errors.Is(unread, image.ErrFormat) {
			return nil, fmt.Errorf("%s: neither a picture (tif, png, bmp, jpg; pgm by its name) nor a template (faceprint's, ISO/IEC 19794-2, ANSI INCITS 378)", path)
		}
		if unread != nil {
			return nil, unread
		}
		t, err = minutia.Extract(img, dpi)
		ts = append(ts, t)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ts, nil
}
