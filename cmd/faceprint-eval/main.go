// Command faceprint-eval measures accuracy and speed on anyone's data, so that
// every figure of the README can be repeated.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{
		Use:   "faceprint-eval",
		Short: "Measure accuracy and speed",
	}
	root.AddCommand(fingerCommand(), templateCommand(), faceCommand(), livenessCommand(), coverCommand(), blinkCommand(), reportCommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "faceprint-eval:", err)
		os.Exit(1)
	}
}
