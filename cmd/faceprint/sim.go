package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) sim() *cobra.Command {
	var control string
	c := &cobra.Command{
		Use:   "sim COMMAND...",
		Short: "Drive the bench: swap clips, touch and unplug the simulated module",
		Long: `Send one text command to the bench of a daemon whose configuration enables it:

  camera FILE          play another clip (or "off": deliver nothing)
  door                 whether the drawn door is open, and how often it was
  touch PERSON FINGER  lay a simulated finger on the module: touch alice right-index
  lift                 take it away
  unplug, plug         pull the module's cable and put it back
  garble 5%            damage that share of the bytes on the wire
  swap                 exchange the module for another one
  state                what the simulated module is doing
  help                 everything the bench and the module understand
  board                start an emulated guard board: see sim board --help

"faceprint sim finger" is a module of its own, without a daemon.

The words after "sim" are sent as they are. The control socket is bench.sock
beside the API's socket unless --control names it.`,
		Example: "  faceprint sim camera clips/cap13_edit2.mp4\n  faceprint sim touch alice right-index",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if control == "" {
				control = filepath.Join(filepath.Dir(t.socket), "bench.sock")
			}
			if len(args) == 2 && args[0] == "camera" && args[1] != "off" {
				// The daemon's working directory is not this one.
				if abs, err := filepath.Abs(args[1]); err == nil && !strings.Contains(args[1], "://") {
					args[1] = abs
				}
			}
			reply, err := command(control, strings.Join(args, " "))
			if err != nil {
				return err
			}
			return t.print(map[string]string{"reply": reply}, func(w io.Writer) {
				if reply != "" {
					fmt.Fprintln(w, reply)
				}
			})
		},
	}
	c.Flags().StringVar(&control, "control", "", "the bench's control socket")
	c.AddCommand(t.simFinger())
	c.Flags().SetInterspersed(false) // "garble 5%" and the like are the bench's words
	c.AddCommand(t.simBoard())
	return c
}

// command sends one line to the bench and returns its answer: lines, of which
// the last is "ok" or "error ...".
func command(control, line string) (string, error) {
	if strings.ContainsAny(line, "\r\n") {
		return "", usage("a command is one line")
	}
	conn, err := net.Dial("unix", control)
	if err != nil {
		return "", fmt.Errorf("no bench answers on %s: %w; does the daemon's configuration say [bench] enabled = true?", control, err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", fmt.Errorf("sim: %w", err)
	}
	var reply []string
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch text := lines.Text(); {
		case text == "ok":
			return strings.Join(reply, "\n"), nil
		case strings.HasPrefix(text, "error "):
			return "", usage("%s", strings.TrimPrefix(text, "error "))
		default:
			reply = append(reply, text)
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("sim: %w", err)
	}
	return "", errors.New("sim: the bench hung up in the middle of its answer")
}
