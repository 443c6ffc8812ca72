package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware/board"
)

// boardCommands are those of technicians.
func (t *tool) boardCommands() []*cobra.Command {
	return []*cobra.Command{t.selftest(), t.board(), t.flash(), t.console(), t.image()}
}

func (t *tool) board() *cobra.Command {
	c := &cobra.Command{
		Use:   "board",
		Short: "Examine, pair and watch the guard board that holds the door",
		Long: `Talk to a guard board directly, over its serial line. While the daemon has the
board, stop it first: 'systemctl stop faceprintd'.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(t.boardInfo(), t.boardSelfTest(), t.boardMonitor(), t.boardPair(), t.boardWipe())
	return c
}

// shownBoard is what anybody can ask of a board.
type shownBoard struct {
	Port       string `json:"port"`
	Mode       string `json:"mode"` // application or loader
	Board      string `json:"board"`
	Serial     string `json:"serial"`
	Version    string `json:"version,omitempty"`
	Slot       string `json:"slot,omitempty"`
	Loader     string `json:"loader"`
	Floor      uint32 `json:"floor"`
	Production bool   `json:"production_loader"`
	Paired     *bool  `json:"paired,omitempty"`
	Confirmed  *bool  `json:"confirmed,omitempty"`
	Tamper     *bool  `json:"tamper,omitempty"`
	SlotA      string `json:"slot_a,omitempty"`
	SlotB      string `json:"slot_b,omitempty"`
}

func shownFound(f *foundBoard) shownBoard {
	s := shownBoard{Port: f.line.String(), Board: f.Name(), Serial: f.Serial().String()}
	if i := f.Info; i != nil {
		paired, confirmed, tamper := i.Paired(), i.Confirmed(), i.Flags&board.FlagTamper != 0
		s.Mode, s.Version, s.Slot, s.Loader, s.Floor, s.Production = "application", i.Version.String(), string(i.Slot), i.Loader.String(), i.Floor, i.Production()
		s.Paired, s.Confirmed, s.Tamper = &paired, &confirmed, &tamper
		return s
	}
	l := f.Loader
	s.Mode, s.Loader, s.Floor, s.Production, s.SlotA, s.SlotB = "loader", l.Version.String(), l.Floor, l.Production, l.A.String(), l.B.String()
	return s
}

func (t *tool) boardInfo() *cobra.Command {
	var port boardPort
	c := &cobra.Command{
		Use:   "info",
		Short: "Tell which board answers, where, and what runs on it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := port.find(cmd.Context(), t)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			s := shownFound(f)
			return t.print(s, func(w io.Writer) { printBoard(w, s) })
		},
	}
	port.flags(c, false)
	return c
}

func printBoard(w io.Writer, s shownBoard) {
	fmt.Fprintf(w, "%s: %s %s, %s\n", s.Port, s.Board, s.Serial, s.Mode)
	yes := func(name string, v *bool, no string) string {
		switch {
		case v == nil:
			return ""
		case *v:
			return name
		}
		return no
	}
	if s.Mode == "application" {
		words := []string{yes("paired", s.Paired, "not paired"), yes("confirmed", s.Confirmed, "not confirmed yet"), yes("TAMPER SWITCH OPEN", s.Tamper, "")}
		fmt.Fprintf(w, "  firmware %s in slot %s, %s\n", s.Version, s.Slot, strings.TrimSuffix(strings.Join(words, ", "), ", "))
	} else {
		fmt.Fprintf(w, "  slot A %s\n  slot B %s\n", s.SlotA, s.SlotB)
	}
	fmt.Fprintf(w, "  loader %s, takes %s images, rollback floor %d\n", s.Loader, map[bool]string{true: "only production", false: "development"}[s.Production], s.Floor)
}

// session finds a board and begins a session with its key.
func (t *tool) session(ctx context.Context, port *boardPort) (*foundBoard, *board.Conn, board.Status, error) {
	key, err := port.needKey()
	if err != nil {
		return nil, nil, board.Status{}, err
	}
	defer clear(key)
	f, err := port.find(ctx, t)
	if err != nil {
		return nil, nil, board.Status{}, err
	}
	if f.Info == nil {
		return nil, nil, board.Status{}, errors.Join(fmt.Errorf("%s: the board is in its loader; 'faceprint flash' gives it an image, 'boot' in 'faceprint console' starts the one it has", f.line), f.line.Close())
	}
	c := board.New(f.line)
	_, s, err := c.Hello(ctx, key)
	if err != nil {
		return nil, nil, s, errors.Join(err, f.line.Close())
	}
	return f, c, s, nil
}

func (t *tool) boardSelfTest() *cobra.Command {
	var port boardPort
	c := &cobra.Command{
		Use:   "selftest",
		Short: "Let the board examine its image, memory and loader",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, conn, _, err := t.session(cmd.Context(), &port)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			defer conn.Close()
			s, err := conn.SelfTest(cmd.Context())
			if err != nil {
				return explainBoard(err)
			}
			failed := s.Failed()
			out := map[string]any{
				"serial": f.Serial().String(), "failed": append([]string{}, failed...), "stack_used": s.StackUsed, "stack_size": s.StackSize,
				"started_by": s.Started(), "starts": s.Starts, "frames": s.Frames, "garbled": s.Garbled, "refused": s.RefusedAll,
			}
			if err := t.print(out, func(w io.Writer) {
				for _, name := range s.Tests() {
					state := "ok"
					for _, bad := range failed {
						if bad == name {
							state = "FAILED"
						}
					}
					fmt.Fprintf(w, "%-8s%s\n", state, name)
				}
				fmt.Fprintf(w, "stack %d of %d bytes; start %d, by %s; %d frames, %d garbled, %d refused\n", s.StackUsed, s.StackSize, s.Starts, s.Started(), s.Frames, s.Garbled, s.RefusedAll)
			}); err != nil {
				return err
			}
			if len(failed) > 0 {
				return fmt.Errorf("the board failed %s; flash it again, and replace it if that does not help", strings.Join(failed, ", "))
			}
			return nil
		},
	}
	port.flags(c, true)
	return c
}

func (t *tool) boardMonitor() *cobra.Command {
	var port boardPort
	c := &cobra.Command{
		Use:   "monitor",
		Short: "Print what happens on the board until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, conn, s, err := t.session(cmd.Context(), &port)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			defer conn.Close()
			err = t.monitor(cmd.Context(), conn, s, &port)
			if cmd.Context().Err() != nil {
				return nil
			}
			return explainBoard(err)
		},
	}
	port.flags(c, true)
	return c
}

// shownEvent is an event of the board.
type shownEvent struct {
	Sequence uint32 `json:"sequence"`
	Start    uint16 `json:"start"`
	Ms       int64  `json:"ms"`
	Event    string `json:"event"`
	Detail   string `json:"detail,omitempty"`
}

// monitor goes on behind a restart of the board, but not behind the end of its
// pairing.
func (t *tool) monitor(ctx context.Context, conn *board.Conn, s board.Status, port *boardPort) error {
	tick := time.NewTicker(board.Heartbeat)
	defer tick.Stop()
	last, state := uint32(0), ""
	for {
		err := t.printEvents(ctx, conn, &last, s.Newest)
		if lost(err) {
			s, err = t.resume(ctx, conn, port)
		}
		if err != nil {
			return err
		}
		if now := stateOf(s); now != state && !t.json {
			state = now
			fmt.Fprintf(t.out, "        now: %s\n", state)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if s, err = conn.Beat(ctx); lost(err) {
			s, err = t.resume(ctx, conn, port)
		}
		if err != nil {
			return err
		}
	}
}

// printEvents prints those behind last, which it moves on.
func (t *tool) printEvents(ctx context.Context, conn *board.Conn, last *uint32, newest uint32) error {
	for *last < newest {
		e, err := conn.Events(ctx, *last)
		if err != nil || len(e.Events) == 0 {
			return err
		}
		for _, v := range e.Events {
			*last = v.Sequence
			shown := shownEvent{v.Sequence, v.Start, v.At.Milliseconds(), v.Code.String(), v.Detail()}
			if err := t.printLine(shown, fmt.Sprintf("%6d  start %d +%9.3f s  %s", v.Sequence, v.Start, v.At.Seconds(), v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost tells whether a board may have restarted, or ended its pairing.
func lost(err error) bool { return errors.Is(err, board.ErrSession) || errors.Is(err, board.ErrSilent) }

// resume begins a new session with a board that ended the one before.
func (t *tool) resume(ctx context.Context, conn *board.Conn, port *boardPort) (board.Status, error) {
	found, err := conn.Find(ctx, askNamed)
	switch {
	case err != nil:
		return board.Status{}, err
	case found.Info == nil:
		return board.Status{}, errors.New("the board is in its loader; 'boot' in 'faceprint console' starts the image that it has")
	case !found.Info.Paired() && found.Info.Flags&board.FlagTamper != 0:
		return board.Status{}, errors.New("TAMPER: the enclosure was opened, and the board has erased its pairing key; look at it, press its service button, close it within 60 s, and pair it again with 'faceprint board pair' and a new key file")
	case !found.Info.Paired():
		return board.Status{}, errors.New("the board has erased its pairing key (wiped, or its service button was held for 10 s); pair it again with 'faceprint board pair'")
	}
	t.progress("the board ended the session; another begins")
	key, err := port.needKey()
	if err != nil {
		return board.Status{}, err
	}
	defer clear(key)
	_, s, err := conn.Hello(ctx, key)
	return s, err
}

func stateOf(s board.Status) string {
	text := fmt.Sprintf("lock %s, door %s", s.Lock, s.Door)
	for _, i := range []struct {
		bit  byte
		name string
	}{{board.InputExit, "exit button pressed"}, {board.InputTamper, "tamper switch open"}, {board.InputService, "service button pressed"}} {
		if s.Inputs&i.bit != 0 {
			text += ", " + i.name
		}
	}
	if s.Faults != 0 {
		text += fmt.Sprintf(", faults %d", s.Faults)
	}
	return text
}

// pairEvery is how often the board is asked whether the button was pressed.
const pairEvery = time.Second

func (t *tool) boardPair() *cobra.Command {
	var port boardPort
	c := &cobra.Command{
		Use:   "pair --key FILE",
		Short: "Give an unpaired board its key, and keep the key in FILE",
		Long: `Make a pairing key, give it to an unpaired board, and keep it in FILE, which must
not be there yet. The board's service button is inside of its enclosure: press
it, close the enclosure within 60 s and run this within the same 60 s; with the
tamper switch (GP6) joined to ground, press it when asked. The key crosses the
wire in clear this once: pair on the bench, not at the door.

Then name the file as door.key_file in the daemon's configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port.keyFile == "" {
				return usage("name the file for the key: --key FILE")
			}
			if _, err := os.Lstat(port.keyFile); err == nil {
				return usage("%s is there already; a key is never written over another: the old one may still open a door; name another file, or move the old one away", port.keyFile)
			}
			f, err := port.find(cmd.Context(), t)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			if f.Info == nil {
				return fmt.Errorf("%s: the board is in its loader; 'faceprint flash' gives it an image first", f.line)
			}
			if f.Info.Paired() {
				return fmt.Errorf("%s %s is paired already; wipe it with its key ('faceprint board wipe'), or hold its service button for 10 s", f.Name(), f.Serial())
			}
			return t.pair(cmd.Context(), f, port.keyFile)
		},
	}
	port.flags(c, true)
	return c
}

func (t *tool) pair(ctx context.Context, f *foundBoard, file string) error {
	key, err := board.NewKey()
	if err != nil {
		return err
	}
	defer clear(key)
	// The key is on the disk before the board has it: a full disk must not
	// leave a board that nobody can open.
	if err := newSecret(file, board.FormatKey(key)); err != nil {
		return err
	}
	conn := board.New(f.line)
	tick := time.NewTicker(pairEvery)
	defer tick.Stop()
	for asked := false; ; {
		serial, err := conn.Pair(ctx, key)
		var refused *board.Refused
		switch {
		case err == nil:
			return t.print(map[string]string{"board": f.Name(), "serial": serial.String(), "key_file": file}, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s is paired; its key is in %s: keep a copy in a safe\n", f.Name(), serial, file)
			})
		case errors.As(err, &refused) && refused.Code == board.Presence:
			if !asked {
				t.progress("press the board's service button now (where it is inside of a closed enclosure: Ctrl-C, open, press, close, and run this again within 60 s)")
				asked = true
			}
		default:
			// Whatever else went wrong: a board whose key was thrown away opens for nobody.
			if after := (*board.AfterError)(nil); errors.As(err, &after) {
				return explainBoard(&board.AfterError{Err: after.Err, Left: after.Left + "; it is in " + file})
			}
			return explainBoard(errors.Join(err, os.Remove(file)))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), os.Remove(file))
		case <-tick.C:
		}
	}
}

// newSecret writes a file that only its owner can read, which must be new.
func newSecret(file string, b []byte) error {
	defer clear(b)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no folder %s", file, filepath.Dir(file))
	}
	if err != nil {
		return outfile.Explain(file, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(file)
	}
	return outfile.Explain(file, err)
}

func (t *tool) boardWipe() *cobra.Command {
	var port boardPort
	var yes bool
	c := &cobra.Command{
		Use:   "wipe --key FILE",
		Short: "Make a board forget its pairing; the door stays shut until it is paired again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return usage("this makes the key worthless and the door stays shut until the board is paired again; say --yes")
			}
			f, conn, _, err := t.session(cmd.Context(), &port)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			defer conn.Close()
			if err := conn.Wipe(cmd.Context()); err != nil {
				return explainBoard(err)
			}
			return t.print(map[string]string{"board": f.Name(), "serial": f.Serial().String(), "state": "unpaired"}, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s is no longer paired; delete %s\n", f.Name(), f.Serial(), port.keyFile)
			})
		},
	}
	port.flags(c, true)
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}

// printLine prints one of many values: a line of JSON, or the text.
func (t *tool) printLine(v any, text string) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(v)
	}
	_, err := fmt.Fprintln(t.out, text)
	return err
}
