package main

import (
	"errors"
	"fmt"
	"io"
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
	c.AddCommand(&cobra.Command{
		Use:   "left",
		Short: "Wait until whoever is before the device has left",
		Long: `Wait until whoever is before the device has left: nobody was seen for as long
as kiosk.away says. It exits 0 then, and with another code when the device stops
answering, so that a session can be locked or ended:

  until faceprint kiosk left; do sleep 2; done; loginctl lock-session`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl := t.client()
			defer cl.Close()
			err := cl.Events(cmd.Context(), func() {}, func(e client.Event) error {
				if e.Kind == "presence" && e.Outcome == "left" {
					return errLeft
				}
				return nil
			})
			switch {
			case errors.Is(err, errLeft):
				return nil
			case errors.Is(err, io.EOF):
				err = errors.New("the device stopped answering")
			}
			return err
		},
	})
	return c
}

// errLeft ends the wait.
var errLeft = errors.New("they left")
