package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
)

func (t *tool) kiosk() *cobra.Command {
	c := &cobra.Command{
		Use:   "kiosk",
		Short: "The page on the device's own screen",
	}
	c.AddCommand(&cobra.Command{
		Use:   "code",
		Short: "Make a code for somebody at the kiosk",
		Long: `Make a code that is typed at the kiosk's page to enrol people or to see how the
device is. It is good once, for three tries and ten minutes, and replaces the
one before.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			code, err := cl.KioskCode(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(code, func(w io.Writer) {
				fmt.Fprintf(w, "%s\ngood until %s at %s\n", code.Code, code.Until.Local().Format(time.TimeOnly), code.URL)
			})
		},
	})
	var grace time.Duration
	left := &cobra.Command{
		Use:   "left",
		Short: "Wait until whoever is before the device has left",
		Long: `Wait until whoever is before the device has left: nobody was seen for as long
as kiosk.away says. Who is not there to begin with has left after --grace, or
after two minutes where the camera is not there to tell. It exits 0 then, and
with another code when the device stops answering or watches nobody, so that a
session can be locked or ended:

  until faceprint kiosk left; do sleep 2; done; loginctl lock-session`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.left(cmd.Context(), grace)
		},
	}
	left.Flags().DurationVar(&grace, "grace", 10*time.Second, "how long somebody who is not seen to begin with may take to step up")
	c.AddCommand(left)
	return c
}

// blindGrace is how long somebody who cannot be seen counts as there.
const blindGrace = 2 * time.Minute

// left waits until nobody is before the device.
func (t *tool) left(ctx context.Context, grace time.Duration) error {
	cl := t.client()
	defer cl.Close()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	gone := time.AfterFunc(unending, func() { end(errLeft) })
	defer gone.Stop()
	// What was before this is told by the state, what follows by the events.
	err := cl.Events(ctx, func() {
		s, err := cl.Status(ctx)
		switch {
		case err != nil:
			end(err)
		case s.Present == "nobody":
			gone.Reset(grace)
		case s.Present == "blind":
			gone.Reset(max(grace, blindGrace))
		case s.Present != "somebody":
			end(errors.New("this device watches nobody; that needs a camera and [kiosk] listen"))
		}
	}, func(e client.Event) error {
		switch {
		case e.Kind == "presence" && e.Outcome == "came":
			gone.Stop()
		case e.Kind == "presence" && e.Outcome == "left":
			return errLeft
		}
		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, errLeft):
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("the device stopped answering")
	}
	return err
}

const unending = math.MaxInt64

// errLeft ends the wait.
var errLeft = errors.New("they left")
