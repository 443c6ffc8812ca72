// Command faceprintd is the daemon: it reads its configuration, opens the
// hardware and the store, and serves the device's API until it is told to
// stop. All that it does is in libraries; this program wires them together.
//
//	faceprintd --config /etc/faceprint/faceprint.toml
//	faceprintd --config /etc/faceprint/faceprint.toml vault check
//
// A part that is missing at start (camera, models, module, door) degrades the
// device and is tried again with back-off. A store that is missing its key,
// is corrupt or belongs to another daemon stops the program: there is nothing
// sound to serve.
//
// # Exit codes
//
// 0 after SIGTERM, SIGINT or SIGHUP, 2 for a wrong command line or configuration, 1
// for everything else, a vault command that a signal interrupted among it; the
// last line on standard error says why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) wants it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	os.Exit(start(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func start(ctx context.Context, args []string, out, errout io.Writer) int {
	flags := flag.NewFlagSet("faceprintd", flag.ContinueOnError)
	flags.SetOutput(errout)
	file := flags.String("config", "", "configuration `file` (TOML)")
	dir := flags.String("dir", "", "state `directory`, in place of the configuration's")
	print := flags.Bool("print-config", false, "print the effective configuration and stop")
	accept := flags.Bool("accept-vault", false, "start once with a vault that was rolled back; the audit chain records it")
	ver := flags.Bool("version", false, "print the version and stop")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	onVault := flags.Arg(0) == "vault"
	if flags.NArg() > 0 && !onVault {
		fmt.Fprintf(errout, "faceprintd: unknown argument %q\n", flags.Arg(0))
		return 2
	}
	if *ver {
		fmt.Fprintf(out, "faceprintd %s\n", version())
		return 0
	}
	c, err := readConfig(*file, *dir)
	if err != nil {
		fmt.Fprintf(errout, "faceprintd: %v\n", err)
		return 2
	}
	if *print {
		text, err := c.effective()
		if err != nil {
			fmt.Fprintf(errout, "faceprintd: %v\n", err)
			return 1
		}
		fmt.Fprint(out, text)
		return 0
	}
	if err := noDumps(); err != nil {
		fmt.Fprintf(errout, "faceprintd: %v\n", err)
		return 1
	}
	if onVault {
		signal.Ignore(syscall.SIGPIPE) // a terminal that is gone must not end what is to be finished
		return vaultCommand(ctx, c, flags.Args()[1:], out, errout)
	}
	log := logger(c.Log, errout)
	if err := run(ctx, c, *accept, log); err != nil {
		fmt.Fprintf(errout, "faceprintd: %v\n", err)
		return 1
	}
	return 0
}

func logger(c logConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	o := &slog.HandlerOptions{Level: level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// version as the build recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// notify tells systemd (sd_notify(3)) what goes on; elsewhere it does nothing.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	return nil
}

// builtAt is when the source was committed; zero where that is not recorded.
func builtAt() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return at
		}
	}
	return time.Time{}
}
