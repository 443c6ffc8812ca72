package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/uart/uartreg"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/tty"
)

// moduleFlags say how a module is spoken to.
type moduleFlags struct {
	baud              int
	address, password string
}

func (f *moduleFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.baud, "baud", 0, "the line's rate; 0 tries the usual ones")
	c.Flags().StringVar(&f.address, "address", "0xFFFFFFFF", "the module's address")
	c.Flags().StringVar(&f.password, "password", "0", "the module's password, a number up to 0xFFFFFFFF")
}

func (f *moduleFlags) config(port string) (sensor.Config, error) {
	if f.baud != 0 && sensor.CheckBaud(f.baud) != nil {
		return sensor.Config{}, usage("--baud: %d is none of 9600, 19200, 38400, 57600 and 115200", f.baud)
	}
	address, err := number("--address", f.address)
	if err != nil {
		return sensor.Config{}, err
	}
	password, err := number("--password", f.password)
	return sensor.Config{Port: port, Baud: f.baud, Address: address, Password: password}, err
}

func number(what, text string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 0, 32)
	if err != nil {
		return 0, usage("%s: %q is no number from 0 to 0xFFFFFFFF", what, text)
	}
	return uint32(n), nil
}

// openModule opens a module on a port that no daemon uses.
func openModule(ctx context.Context, c sensor.Config) (*sensor.Module, error) {
	if err := tty.Register(c.Port); err != nil {
		return nil, err
	}
	m, err := sensor.Open(ctx, c)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EISDIR) {
		err = fmt.Errorf("%w; a port is named like /dev/serial0 or /dev/ttyUSB0, and 'faceprint sensor find' looks at all", err)
	}
	return m, err
}

func (t *tool) sensor() *cobra.Command {
	c := &cobra.Command{
		Use:   "sensor",
		Short: "Find, examine and set up a fingerprint module on a serial port",
		Long: `Speak to a fingerprint module directly. The daemon must not have the port: stop it
first, except for "sensor trust", which asks the daemon.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(t.sensorFind(), t.sensorInfo(), t.sensorPicture(), t.sensorSet(), t.sensorRecord(), t.sensorReplay(), t.sensorTrust())
	return c
}

// found is one port and what is on it.
type found struct {
	Port     string       `json:"port"`
	Info     *sensor.Info `json:"module,omitempty"`
	Password *uint32      `json:"password,omitempty"` // where it was in the list
	Address  *uint32      `json:"address,omitempty"`  // where it is another than was asked for
	Shared   string       `json:"shared,omitempty"`   // who else has the port open
	Problem  string       `json:"problem,omitempty"`
}

func (t *tool) sensorFind() *cobra.Command {
	var f moduleFlags
	var list, addresses string
	c := &cobra.Command{
		Use:   "find [PORT...]",
		Short: "Look for a module at every rate on every port, or on these",
		Long: `Look for a module on every serial port of this machine, or on those named.

A lost password: --password-list names a file with one number a line, which are
tried in turn. There is no other way; the password cannot be read or reset.

A lost address: some modules answer whoever calls another one, and are found so.
The others say nothing: --address-list names a file of addresses to call.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 {
				if err := tty.RegisterAll(); err != nil {
					return err
				}
				for _, r := range uartreg.All() {
					args = append(args, r.Name)
				}
			}
			if len(args) == 0 {
				return errors.New("there is no serial port; on a Pi: raspi-config, Interface Options, Serial Port: no login shell, hardware enabled")
			}
			passwords, err := numberList("--password-list", list)
			if err != nil {
				return err
			}
			called, err := numberList("--address-list", addresses)
			if err != nil {
				return err
			}
			var all []found
			any := false
			for _, port := range args {
				conf, err := f.config(port)
				if err != nil {
					return err
				}
				t.progress("%s: looking", port)
				r, _ := look(ctx, conf, passwords, called) // why not is in it
				any = any || r.Info != nil
				all = append(all, r)
			}
			err = t.print(all, func(w io.Writer) {
				for _, r := range all {
					switch {
					case r.Info == nil:
						fmt.Fprintf(w, "%s: %s\n", r.Port, r.Problem)
					default:
						fmt.Fprintf(w, "%s: %s at %d baud", r.Port, r.Info.Model(), r.Info.Baud)
						if r.Password != nil {
							fmt.Fprintf(w, ", its password is 0x%08X", *r.Password)
						}
						if r.Address != nil {
							fmt.Fprintf(w, ", its address is 0x%08X (finger.address)", *r.Address)
						}
						if r.Shared != "" {
							fmt.Fprintf(w, "; %s", r.Shared)
						}
						fmt.Fprintln(w)
					}
				}
			})
			if err == nil && !any {
				return &exitError{code: exitFault}
			}
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&list, "password-list", "", "file of passwords to try, one number a line, # begins a comment")
	c.Flags().StringVar(&addresses, "address-list", "", "file of addresses to call, one number a line, # begins a comment")
	return c
}

// look opens a port, with every address of the list where nothing answers, and
// every password where it needs another.
func look(ctx context.Context, c sensor.Config, passwords, addresses []uint32) (found, error) {
	r := found{Port: c.Port}
	m, err := openModule(ctx, c)
	for _, a := range addresses {
		if !errors.Is(err, sensor.ErrNoModule) {
			break
		}
		c.Address = a
		if m, err = openModule(ctx, c); err == nil || errors.Is(err, sensor.ErrPassword) {
			r.Address = &c.Address
		}
	}
	if e := (*sensor.AddressError)(nil); errors.As(err, &e) {
		c.Address = e.Address
		m, err = openModule(ctx, c)
		r.Address = &c.Address
	}
	for _, p := range passwords {
		if !errors.Is(err, sensor.ErrPassword) {
			break
		}
		c.Password = p
		if m, err = openModule(ctx, c); err == nil {
			r.Password = &p
		}
	}
	if errors.Is(err, sensor.ErrPassword) && len(passwords) > 0 {
		err = fmt.Errorf("%w; none of %d numbers of the list opened it", err, len(passwords))
	}
	if err != nil {
		r.Problem = err.Error()
		return r, err
	}
	defer m.Close()
	info := m.Info()
	r.Info = &info
	if err := m.Shared(); err != nil {
		r.Shared = err.Error()
	}
	return r, nil
}

func numberList(flag, file string) ([]uint32, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer text.Close()
	var all []uint32
	lines := bufio.NewScanner(text)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		p, err := number(fmt.Sprintf("%s:%d", file, n), text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", flag, file, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %s: there is no number in it; one a line is tried", flag, file)
	}
	return all, nil
}

// withModule makes a command of what is done with an open module.
func (t *tool) withModule(c *cobra.Command, f *moduleFlags, do func(ctx context.Context, m *sensor.Module, args []string) error) *cobra.Command {
	f.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		conf, err := f.config(args[0])
		if err != nil {
			return err
		}
		m, err := openModule(cmd.Context(), conf)
		if err != nil {
			return unopened(conf, err)
		}
		t.warnShared(m)
		return errors.Join(do(cmd.Context(), m, args[1:]), m.Close())
	}
	return c
}

// warnShared tells of others that have the module's port open: some exchanges work all
// the same.
func (t *tool) warnShared(m *sensor.Module) {
	if err := m.Shared(); err != nil {
		t.progress("%v", err)
	}
}

// unopened names what to do about a module that a command could not open.
func unopened(c sensor.Config, err error) error {
	address, stranger := (*sensor.AddressError)(nil), (*sensor.StrangerError)(nil)
	switch {
	case errors.Is(err, sensor.ErrPassword):
		return fmt.Errorf("%w; give it with --password, or 'faceprint sensor find %s --password-list FILE' tries those that may be it", err, c.Port)
	case errors.As(err, &address), errors.As(err, &stranger), !errors.Is(err, sensor.ErrNoModule):
		return err
	case c.Baud != 0:
		return fmt.Errorf("%w; leave --baud out to have every rate tried; one with another address says nothing: 'faceprint sensor find %s --address-list FILE'", err, c.Port)
	}
	return fmt.Errorf("%w; one with another address says nothing: 'faceprint sensor find %s --address-list FILE' calls those that may be it", err, c.Port)
}

func (t *tool) sensorInfo() *cobra.Command {
	return t.withModule(&cobra.Command{
		Use:   "info PORT",
		Short: "What a module is, what it has, and how well the line works",
		Args:  cobra.ExactArgs(1),
	}, &moduleFlags{}, func(ctx context.Context, m *sensor.Module, _ []string) error { return t.info(ctx, m) })
}

// info prints what a module is and how its line works, also where the line fails on the
// way: that is what it is to judge.
func (t *tool) info(ctx context.Context, m *sensor.Module) error {
	var report bytes.Buffer
	err := m.Survey(ctx, &report)
	s := m.Stats()
	all := map[string]any{"module": m.Info(), "line": s}
	if e := m.Shared(); e != nil {
		all["shared"] = e.Error()
	}
	if err != nil && t.json { // one value, with the error in it
		all["error"], all["exit"] = err.Error(), exitFault
		err = &exitError{code: exitFault}
	}
	return errors.Join(t.print(all, func(w io.Writer) {
		_, _ = report.WriteTo(w)
		fmt.Fprintf(w, "%d baud: %d instructions, %d damaged packets, %d stray bytes, %d without an answer; half of them within %v\n",
			m.Info().Baud, s.Commands, s.BadSums, s.Skipped, s.Timeouts, s.Median.Round(10*time.Microsecond))
	}), err)
}

func (t *tool) sensorPicture() *cobra.Command {
	return t.withModule(&cobra.Command{
		Use:   "picture PORT FILE.png",
		Short: "Save what the sensor sees, to judge its window and its supply",
		Long: `Wait for a finger and save a picture of what lies on the sensor. A picture of a finger is that person's:
ask them first, and delete it when the window is judged. The file is readable by
its owner alone.`,
		Args: cobra.ExactArgs(2),
	}, &moduleFlags{}, func(ctx context.Context, m *sensor.Module, args []string) error {
		start := time.Now()
		p, err := m.Capture(ctx)
		for told := false; noFinger(err) && time.Since(start) < pictureWait; p, err = m.Capture(ctx) {
			if !told {
				t.progress("lay a finger on the sensor, and leave it there")
				told = true
			}
		}
		if noFinger(err) {
			return fmt.Errorf("no finger was laid on the sensor within %v; where one was, wipe the sensor and try 'faceprint sensor info %s'", pictureWait, m.Info().Port)
		}
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := png.Encode(&b, &image.Gray{Pix: p.Pix, Stride: p.Width, Rect: image.Rect(0, 0, p.Width, p.Height)}); err != nil {
			return fmt.Errorf("picture: %w", err)
		}
		defer clear(b.Bytes())
		if err := outfile.Write(args[0], b.Bytes(), 0o600); err != nil {
			return fmt.Errorf("picture: %w", err)
		}
		t.progress("%dx%d pixels: %s", p.Width, p.Height, args[0])
		return nil
	})
}

// pictureWait is how long a technician has to lay a finger on the sensor.
const pictureWait = 20 * time.Second

func noFinger(err error) bool {
	r := (*sensor.RetryError)(nil)
	return errors.As(err, &r) && r.Hint == sensor.HintNoFinger
}

func (t *tool) sensorSet() *cobra.Command {
	var baud, level, packet int
	var password, address string
	var empty bool
	var n, at uint32 // the password and the address
	c := t.withModule(&cobra.Command{
		Use:   "set PORT",
		Short: "Change a module's rate, level, packet size, password or address",
		Long: `Change what the module keeps in its flash. A password cannot be read back or reset:
write it down. Neither password nor address is secret from whoever has the wire.

After a change of the level 'faceprint sensor trust' is needed: to the daemon, a
module that differs is another one.`,
		Args: cobra.ExactArgs(1),
	}, &moduleFlags{}, func(ctx context.Context, m *sensor.Module, _ []string) error {
		if level != 0 {
			if err := m.SetLevel(ctx, level); err != nil {
				return err
			}
			t.progress("the level is %d now; to the daemon it is another module: when it is back, faceprint sensor trust", level)
		}
		if packet != 0 {
			if err := m.SetPacketSize(ctx, packet); err != nil {
				return err
			}
		}
		if empty {
			if err := m.EmptyLibrary(ctx); err != nil {
				return err
			}
		}
		if password != "" {
			if err := m.SetPassword(ctx, n); err != nil {
				return err
			}
			if n == 0 {
				t.progress("the module has no password now; nothing needs finger.password_file any more")
			} else {
				t.progress("the password is 0x%08X now; write it down, it cannot be read or reset. The daemon: a file that holds it, named in finger.password_file until it has opened the module", n)
			}
		}
		if address != "" {
			if err := m.SetAddress(ctx, at); err != nil {
				return err
			}
			t.progress("the address is 0x%08X now; the daemon: finger.address = 0x%08X", at, at)
		}
		if baud != 0 {
			if err := m.SetBaud(ctx, baud); err != nil {
				return err
			}
			t.progress("the rate is %d baud from the next power-up on; some modules change at once", baud)
		}
		return nil
	})
	// A flash that is half changed is worse than none: all is checked before the
	// module is opened.
	open := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var errs []error
		given := empty
		check := func(flag string, f func() error) {
			if cmd.Flags().Changed(flag) {
				given = true
				if err := f(); err != nil {
					errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
				}
			}
		}
		check("level", func() error { return sensor.CheckLevel(level) })
		check("packet", func() error { return sensor.CheckPacketSize(packet) })
		check("new-baud", func() error { return sensor.CheckBaud(baud) })
		check("new-password", func() (err error) { n, err = number("a password", password); return err })
		check("new-address", func() (err error) { at, err = number("an address", address); return err })
		if !given {
			return usage("nothing is to be changed; name what: --level, --packet, --new-password, --new-address, --new-baud or --empty-library")
		}
		if err := errors.Join(errs...); err != nil {
			return usage("%w", err)
		}
		return open(cmd, args)
	}
	c.Flags().IntVar(&baud, "new-baud", 0, "rate from the next power-up on: 9600, 19200, 38400, 57600, 115200")
	c.Flags().IntVar(&level, "level", 0, "security level, 1 to 5: higher refuses more")
	c.Flags().IntVar(&packet, "packet", 0, "bytes of data in a packet: 32, 64, 128, 256")
	c.Flags().StringVar(&password, "new-password", "", "a number up to 0xFFFFFFFF; 0 is none")
	c.Flags().StringVar(&address, "new-address", "", "a number up to 0xFFFFFFFF")
	c.Flags().BoolVar(&empty, "empty-library", false, "remove every template that rests in the module")
	return c
}

func (t *tool) sensorRecord() *cobra.Command {
	var f moduleFlags
	c := &cobra.Command{
		Use:   "record PORT FILE",
		Short: "Write the talk with a module as text, for a report",
		Long: `Ask a module what can be asked without a finger, and write every byte of the talk
into a file. Send it with a report: it replays as a test. No picture, no template
and no password is in it; a module with a password is refused.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			conf, err := f.config(args[0])
			if err != nil {
				return err
			}
			port, _ := os.Stat(args[0])
			if file, err := os.Stat(args[1]); err == nil && os.SameFile(port, file) {
				return usage("%s is the port: name a file to write into", args[1])
			}
			if conf.Password != 0 {
				return usage("the password would be in the file; set it to 0 first: faceprint sensor set %s --password ... --new-password 0", args[0])
			}
			m, err := openModule(ctx, conf)
			if err != nil {
				return unopened(conf, err)
			}
			t.warnShared(m)
			conf.Baud = m.Info().Baud
			if err := m.Close(); err != nil {
				return err
			}
			events, err := record(ctx, conf)
			if e := outfile.Write(args[1], sensor.FormatRecording(events), 0o600); e != nil {
				return errors.Join(err, fmt.Errorf("record: %w", e))
			}
			t.progress("%d events in %s", len(events), args[1])
			return err
		},
	}
	f.add(c)
	return c
}

func record(ctx context.Context, c sensor.Config) ([]sensor.Event, error) {
	port, err := tty.Open(c.Port)
	if err != nil {
		return nil, err
	}
	defer port.Close()
	line, err := port.Line(c.Baud)
	if err != nil {
		return nil, err
	}
	r := &sensor.Recorder{Line: line}
	m, err := sensor.New(ctx, r, c)
	if err == nil {
		err = m.Survey(ctx, io.Discard)
	}
	return r.Events(), err
}

func (t *tool) sensorReplay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay FILE",
		Short: "Let the driver talk to a recording",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			events, err := readRecording(args[0])
			if err != nil {
				return err
			}
			r := sensor.NewReplay(events)
			m, err := sensor.New(cmd.Context(), r, sensor.Config{Port: filepath.Base(args[0]), Address: r.Address()})
			var report bytes.Buffer
			if err == nil {
				err = errors.Join(m.Survey(cmd.Context(), &report), r.Done())
			}
			if errors.Is(err, sensor.ErrRecording) {
				return fmt.Errorf("%w; it is cut off or changed, or was made by another version of this program", err)
			}
			if err != nil {
				return err
			}
			return t.print(m.Info(), func(w io.Writer) { _, _ = report.WriteTo(w) })
		},
	}
}

// recordingMost is far more than a talk: record makes 4 KB.
const recordingMost = 16 << 20

func readRecording(file string) ([]sensor.Event, error) {
	const cure = "name a file that 'faceprint sensor record PORT FILE' wrote"
	text, err := readAtMost(file, recordingMost)
	switch {
	case errors.Is(err, unix.EISDIR):
		return nil, fmt.Errorf("%s is a directory; %s", file, cure)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file; %s", file, cure)
	case err != nil:
		return nil, fmt.Errorf("replay: %w", err)
	}
	events, err := sensor.ParseRecording(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; %s", file, err, cure)
	}
	return events, nil
}

func (t *tool) sensorTrust() *cobra.Command {
	return &cobra.Command{
		Use:   "trust",
		Short: "Tell the daemon that the module that is there now is the right one",
		Long: `After a module was exchanged, or was caught lying, the daemon refuses it until an
admin has looked at it. This sets it up anew: who it is, and its decoys. What
rests in its library is removed.
It takes some 20 s. Fingers that were enrolled on another kind of module have to be
enrolled again: it says how many.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := t.client()
			defer c.Close()
			s, err := c.TrustModule(cmd.Context())
			if err != nil {
				return err
			}
			return t.print(s, func(w io.Writer) {
				for _, p := range s.Parts {
					switch {
					case p.Name != "finger":
						continue
					case p.State == "ok":
						fmt.Fprintln(w, "the module is set up:", p.Detail)
					default:
						fmt.Fprintln(w, "the module is not there:", p.Detail)
					}
					if p.Advice != "" {
						fmt.Fprintln(w, "    ->", p.Advice)
					}
				}
			})
		},
	}
}
