package main

import (
	"bufio"
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/sensor/modsim"
)

func (t *tool) simFinger() *cobra.Command {
	var link, model, pictures string
	var seed uint64
	var first []string
	c := &cobra.Command{
		Use:   "finger",
		Short: "A fingerprint module made of software, on a serial port of its own",
		Long: `Serve a simulated fingerprint module on a pseudo terminal until Ctrl-C, without
any daemon. Every program that speaks to such modules can open it.

Text commands are read from standard input, one a line, and answered; --do gives
them on the command line:

` + modsim.Help,
		Example: `  faceprint sim finger --pty /tmp/r503 --model r503 --do "touch alice thumb"
  faceprint sim finger --pty /tmp/r307 --model r307 --do "quirk spurious01"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := modsim.Config{Model: model, Seed: seed}
			if pictures != "" {
				var err error
				if c.Pictures, err = modsim.ReadPictures(pictures); err != nil {
					return usage("--pictures: %w", err)
				}
			}
			sim, err := modsim.New(c)
			if err != nil {
				return usage("%w", err)
			}
			for _, line := range first {
				if _, err := sim.Command(line); err != nil {
					return usage("--do %q: %w", line, err)
				}
			}
			p, err := modsim.OpenPTY(link)
			if err != nil {
				return err
			}
			defer p.Close()
			fmt.Fprintln(t.out, p.Path())
			t.progress("a simulated %s at 57600 baud is on %s; commands on standard input, Ctrl-C ends it", model, p.Path())
			ctx, cancel := context.WithCancel(cmd.Context())
			var talking sync.WaitGroup
			defer talking.Wait()
			defer cancel()
			talking.Go(func() { t.obey(ctx, sim) })
			return p.Serve(ctx, sim)
		},
	}
	c.Flags().StringVar(&link, "pty", "", "path at which a link to the pseudo terminal is made")
	c.Flags().StringVar(&model, "model", "r503", "r503, r307 or as608")
	c.Flags().Uint64Var(&seed, "seed", 1, "of touches, faults and the serial number")
	c.Flags().StringVar(&pictures, "pictures", "", "folder of prints PERSON_FINGER_N.png (or PERSON_N.png, tif, bmp, jpg) of 500 dpi that touches show")
	c.Flags().StringArrayVar(&first, "do", nil, "a text command to begin with; may be given more than once")
	return c
}

// obey carries out the lines of standard input until it or the context ends.
func (t *tool) obey(ctx context.Context, sim *modsim.Sim) {
	lines := make(chan string)
	go func() { // ends with standard input; the program does not wait for that
		defer close(lines)
		for s := bufio.NewScanner(t.in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-lines:
			if !ok {
				return
			}
			switch reply, err := sim.Command(line); {
			case err != nil:
				fmt.Fprintln(t.err, err)
			case reply != "":
				fmt.Fprintln(t.out, reply)
			default:
				fmt.Fprintln(t.out, "ok")
			}
		}
	}
}
