package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
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
	return c
}
