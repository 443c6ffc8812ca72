package main

import (
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

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
	s, e, err := minutia.ExplainMatch(a, b, dpi)
	if err != nil {
		return err
	}
	if err := writeStage(w, o.out, s); err != nil {
		return err
	}
	printEvidence(w, &e)
	return nil
}

func writeStage(w io.Writer, dir string, s minutia.Stage) error {
	path := filepath.Join(dir, s.Name+".png")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, s.Image); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintln(w, path)
	return f.Close()
}

func printEvidence(w io.Writer, e *minutia.Evidence) {
	switch {
	case e.Relaxed == 0:
		fmt.Fprintln(w, "not aligned: no minutia's neighbourhood is like any other's")
	case e.Matched == 0 && e.Area == 0:
		fmt.Fprintf(w, "not aligned: the neighbourhoods of the minutiae do not agree (%.2f)\n", e.Relaxed)
	default:
		fmt.Fprintf(w, "%d minutiae coincide, common ground %.0f patches, ridge phase %.2f\n", e.Matched, e.Area, e.Phase)
	}
	fmt.Fprintf(w, "score %.2f, false match rate %.2g\n", e.Score(), minutia.FMR(e.Score()))
}

// recordNames are the values of --to.
var recordNames = map[string]minutia.Exchange{"iso": minutia.ISO19794_2, "ansi": minutia.ANSI378}

func templateCommand() *cobra.Command {
	var to, out string
	var dpi float64
	cmd := &cobra.Command{
		Use:   "template FILE [FILE]",
		Short: "Convert a finger's picture or template, or compare two",
		Long: `Reads pictures, templates of faceprint, and records of ISO/IEC 19794-2 and
ANSI INCITS 378. One file is converted with --to and --out; two are compared.

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
			var ts []*minutia.Template
			for _, path := range args {
				t, err := readTemplate(path, dpi)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				ts = append(ts, t)
			}
			if to == "" {
				var m minutia.Matcher
				e := m.Compare(minutia.Prepare(ts[0]), minutia.Prepare(ts[1]))
				printEvidence(cmd.OutOrStdout(), &e)
				return nil
			}
			data, err := encodeTemplate(ts[0], to)
			if err != nil {
				return err
			}
			return os.WriteFile(out, data, 0o600)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "write `FORMAT`: faceprint, iso or ansi")
	f.StringVar(&out, "out", "", "the `FILE` to write")
	f.Float64Var(&dpi, "dpi", 500, "resolution of pictures")
	return cmd
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

// readTemplate reads a template of any kind, or makes one of a picture.
func readTemplate(path string, dpi float64) (*minutia.Template, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(string(data), "FMR\x00"):
		ts, _, err := minutia.Import(data)
		if err != nil {
			return nil, err
		}
		return ts[0], nil
	case strings.HasPrefix(string(data), "Fm"):
		return minutia.Decode(data)
	}
	img, err := readGray(path)
	if err != nil {
		return nil, err
	}
	return minutia.Extract(img, dpi)
}
