package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/tty"
)

// boardPort is where a guard board may be: ports that were named, or all that
// this machine has.
type boardPort struct {
	names   []string
	keyFile string
}

func (p *boardPort) flags(c *cobra.Command, key bool) {
	c.Flags().StringArrayVarP(&p.names, "port", "p", nil, "serial port, or unix:SOCKET of an emulator; without it every USB serial port and the Pi's own UART are asked")
	_ = c.RegisterFlagCompletionFunc("port", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return serialPorts(), cobra.ShellCompDirectiveDefault
	})
	if key {
		c.Flags().StringVarP(&p.keyFile, "key", "k", "", "file with the board's pairing key")
	}
}

// serialPorts of this machine, each once: /dev/serial0 is another name for one
// of the others.
func serialPorts() []string {
	var found []string
	seen := map[string]bool{}
	for _, pattern := range []string{"/dev/ttyACM*", "/dev/ttyUSB*", "/dev/serial[0-9]", "/dev/ttyAMA*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			real, err := filepath.EvalSymlinks(name)
			if err == nil && !seen[real] {
				seen[real] = true
				found = append(found, name)
			}
		}
	}
	return found
}

// How long a port is asked for a board: one that was just plugged in boots
// within 0.6 s, and a named port is worth waiting for.
const (
	askEach  = 1500 * time.Millisecond
	askNamed = 4 * time.Second
)

// found is a board on an open line.
type foundBoard struct {
	board.Found
	line *tty.Line
}

// find opens the port on which a board answers; the caller closes the line.
func (p *boardPort) find(ctx context.Context, t *tool) (*foundBoard, error) {
	names, wait := p.names, askNamed
	if slices.Contains(names, "") {
		return nil, usage("--port names no port; a port is named like /dev/ttyACM0, or unix:SOCKET for an emulator")
	}
	if len(names) == 0 {
		if names, wait = serialPorts(), askEach; len(names) == 0 {
			return nil, errors.New("this machine has neither a USB serial port nor a Pi's UART; plug the board in, or name another port with --port")
		}
	}
	var all []*foundBoard
	var errs []error
	for _, name := range names {
		f, err := ask(ctx, name, wait)
		if ctx.Err() != nil {
			closeAll(all)
			return nil, ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		all = append(all, f)
	}
	switch len(all) {
	case 1:
		for _, err := range errs {
			t.progress("no board on %v", err)
		}
		return all[0], nil
	case 0:
		if len(p.names) == 0 {
			errs = append(errs, errors.New("check power, ground, and that TX and RX cross"))
		}
		return nil, fmt.Errorf("no guard board answers: %w", errors.Join(errs...))
	}
	defer closeAll(all)
	var list []string
	for _, f := range all {
		list = append(list, fmt.Sprintf("%s (%s %s)", f.line, f.Name(), f.Serial()))
	}
	return nil, usage("several boards answer; name one with --port: %s", strings.Join(list, ", "))
}

func closeAll(all []*foundBoard) {
	for _, f := range all {
		_ = f.line.Close()
	}
}

// oneClient is why an emulator may be silent.
const oneClient = "an emulator takes one client at a time: the daemon (stop it first) or another faceprint command may have it"

// ask opens a port and finds out what is there.
func ask(ctx context.Context, name string, wait time.Duration) (*foundBoard, error) {
	line, err := tty.OpenLine(name, board.Baud)
	switch {
	case errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EISDIR):
		return nil, fmt.Errorf("%w; a port is named like /dev/ttyACM0, or unix:SOCKET for an emulator", err)
	case errors.Is(err, unix.EAGAIN) && strings.HasPrefix(name, "unix:"):
		return nil, fmt.Errorf("%w; %s", err, oneClient)
	case err != nil:
		return nil, err
	}
	f, err := board.Find(ctx, line, wait)
	if err == nil {
		return &foundBoard{f, line}, nil
	}
	if e := line.Close(); e != nil {
		return nil, errors.Join(err, e)
	}
	if errors.Is(err, board.ErrSilent) && strings.HasPrefix(name, "unix:") {
		return nil, fmt.Errorf("%w; %s", err, oneClient)
	}
	if errors.Is(err, board.ErrSilent) && !strings.HasPrefix(name, "unix:") && ctx.Err() == nil {
		if module := moduleOn(ctx, name); module != "" {
			return nil, fmt.Errorf("that is a fingerprint module (%s), not a guard board; use the other port", module)
		}
		return nil, fmt.Errorf("%w; check its power, that TX and RX cross, and that this is its port", err)
	}
	return nil, err
}

// moduleOn looks for a fingerprint module where no board answered.
func moduleOn(ctx context.Context, name string) string {
	if tty.Register(name) != nil {
		return ""
	}
	m, err := sensor.Open(ctx, sensor.Config{Port: name, Address: 0xFFFFFFFF})
	if errors.Is(err, sensor.ErrPassword) {
		return "with a password"
	}
	if err != nil {
		return ""
	}
	defer m.Close()
	return fmt.Sprintf("%s at %d baud", m.Info().Family, m.Info().Baud)
}

// key reads the pairing key; nil where no file is named.
func (p *boardPort) key() ([]byte, error) {
	if p.keyFile == "" {
		return nil, nil
	}
	info, err := os.Stat(p.keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such key file; 'faceprint board pair' makes a board's, and the daemon's is door.key_file of its configuration", p.keyFile)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: others can read what opens the door; chmod 600 %s", p.keyFile, info.Mode().Perm(), p.keyFile)
	}
	text, err := readAtMost(p.keyFile, 4<<10)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	key, err := board.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.keyFile, err)
	}
	return key, nil
}

// needKey is key where one must be.
func (p *boardPort) needKey() ([]byte, error) {
	key, err := p.key()
	if err == nil && key == nil {
		return nil, usage("name the file with the board's pairing key: --key FILE; the daemon's is door.key_file of its configuration")
	}
	return key, err
}

// explainBoard adds what to do about an error of a board's.
func explainBoard(err error) error {
	if after := (*board.AfterError)(nil); errors.As(err, &after) {
		return &board.AfterError{Err: explainBoard(after.Err), Left: after.Left}
	}
	var refused *board.Refused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, board.ErrNeedsKey):
		return fmt.Errorf("%w; give it with --key FILE, or hold its service button while you switch it on, which leads into its loader; to open its enclosure for that erases its key", err)
	case errors.Is(err, board.ErrForged):
		return fmt.Errorf("%w; use the key file of this board, or pair it again after holding its service button for 10 s", err)
	case errors.As(err, &refused) && refused.Advice() != "":
		return fmt.Errorf("%w; %s", err, refused.Advice())
	case errors.Is(err, tty.ErrGone):
		return fmt.Errorf("%w; the cable came off or the board lost its power: plug it in and run the same command again, nothing is lost", err)
	}
	return refusedWith(err)
}

// bar draws how far something is, with its rate and the time left.
type bar struct {
	w        io.Writer
	terminal bool
	counts   bool // things, not bytes
	start    time.Time
	now      func() time.Time
	drawn    bool
	shown    int // percent that was shown last
}

const barWidth = 30

func (b *bar) draw(what string, done, total int) {
	if total <= 0 {
		return
	}
	if b.start.IsZero() || done == 0 {
		b.start, b.shown = b.now(), -1
	}
	percent := done * 100 / total
	if percent == b.shown || !b.terminal && percent/25 == b.shown/25 && b.shown >= 0 {
		return
	}
	b.shown = percent
	text := fmt.Sprintf("%s [%-*s] %3d %%", what, barWidth, strings.Repeat("=", done*barWidth/total), percent)
	if took := b.now().Sub(b.start); done > 0 && took > 0 {
		rate := float64(done) / took.Seconds()
		if !b.counts {
			text += fmt.Sprintf("  %.1f kB/s", rate/1000)
		}
		if left := time.Duration(float64(total-done) / rate * float64(time.Second)); done < total {
			text += fmt.Sprintf("  %s left", left.Round(time.Second))
		}
	}
	if b.terminal {
		fmt.Fprintf(b.w, "\r%-78s", text)
		b.drawn = true
		if done >= total {
			b.end()
		}
		return
	}
	fmt.Fprintln(b.w, text)
}

// end leaves the bar's line.
func (b *bar) end() {
	if b.drawn {
		fmt.Fprintln(b.w)
		b.drawn = false
	}
}

// isTerminal tells whether somebody is there.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}
