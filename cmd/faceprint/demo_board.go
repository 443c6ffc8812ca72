package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/firmware/qemu"
	"github.com/faceprint/faceprint/sensor/tty"
)

// The round's guard board: 'faceprint sim board', flashed and paired as a
// technician does it.
type roundBoard struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	said    chan string // its lines; closed when it has ended
	port    string
	keyFile string
	about   string
}

// How long the board may take for what it does, on a busy machine.
const boardPatience = 60 * time.Second

// startBoard starts an emulated board, where the firmware is built, and puts an
// image and a key on it. Without firmware there is none, and why is said.
func (r *round) startBoard(ctx context.Context) error {
	built := firmwareDir()
	kind, args := "microbit", []string{}
	why := qemu.Available()
	if _, err := os.Stat(filepath.Join(built, kind, "app.fpb")); why == nil && err != nil {
		why = errors.New("the board's own binary is not built")
	}
	if why != nil {
		kind, args = "host", []string{"--host"}
	}
	bundle := filepath.Join(built, kind, "app.fpb")
	if _, err := os.Stat(bundle); err != nil {
		fmt.Fprintln(r.out, "no guard board: its firmware is not built ('make firmware'); the door is drawn")
		return nil
	}
	dir := filepath.Join(r.dir, "board")
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	b := &roundBoard{said: make(chan string, 64), keyFile: filepath.Join(r.dir, "door.key")}
	b.cmd = exec.Command(exe, append([]string{"sim", "board", "--dir", dir, "--firmware", built}, args...)...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	r.board = b
	go func() {
		defer close(b.said)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case b.said <- s.Text():
			default: // nobody has looked for long
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, boardPatience)
	defer cancel()
	ready, err := b.wait(ctx, "ready ")
	if err != nil {
		return err
	}
	b.port, _, _ = strings.Cut(strings.TrimPrefix(ready, "ready "), " ")
	if b.about, err = b.setUp(ctx, bundle); err != nil {
		return fmt.Errorf("guard board: %w", err)
	}
	if why != nil {
		b.about += fmt.Sprintf(" (%v)", why)
	}
	return nil
}

// setUp flashes the board and pairs it.
func (b *roundBoard) setUp(ctx context.Context, bundle string) (about string, err error) {
	images, err := readBundle(bundle)
	if err != nil {
		return "", err
	}
	line, err := tty.OpenLine(b.port, board.Baud)
	if err != nil {
		return "", err
	}
	defer line.Close()
	done, err := board.Flash(ctx, line, board.Update{Images: images})
	if err != nil {
		return "", err
	}
	key := make([]byte, board.KeySize)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	c := board.New(line)
	defer c.Close()
	fmt.Fprintln(b.in, "service press")
	var refused *board.Refused
	for { // until the board has seen the press
		if _, err = c.Pair(ctx, key); !errors.As(err, &refused) || refused.Code != board.Presence {
			break
		}
	}
	fmt.Fprintln(b.in, "service release")
	if err != nil {
		return "", err
	}
	if err := outfile.Write(b.keyFile, board.FormatKey(key), 0o600); err != nil {
		return "", err
	}
	where := "in QEMU"
	if done.Board == "host" {
		where = "built for this machine"
	}
	return fmt.Sprintf("firmware %s flashed over XMODEM and paired; %s %s %s", done.To, done.Board, done.Serial, where), nil
}

// wait waits until the board says something that begins so.
func (b *roundBoard) wait(ctx context.Context, what string) (string, error) {
	for {
		select {
		case line, ok := <-b.said:
			if !ok {
				return "", fmt.Errorf("the emulated board ended: %w", orNil(b.cmd.Wait()))
			}
			if strings.HasPrefix(line, what) {
				return line, nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("the emulated board never says %q: %w", what, ctx.Err())
		}
	}
}

// lock waits until the lock line has a level.
func (b *roundBoard) lock(ctx context.Context, level int) error {
	ctx, cancel := context.WithTimeout(ctx, boardPatience)
	defer cancel()
	_, err := b.wait(ctx, fmt.Sprintf("lock %d", level))
	return err
}

// stop ends it; its flash goes with the round's folder.
func (b *roundBoard) stop() error {
	fmt.Fprintln(b.in, "quit")
	for {
		select {
		case _, ok := <-b.said:
			if !ok {
				return b.cmd.Wait()
			}
		case <-time.After(stopPatience):
			_ = b.cmd.Process.Kill()
			return errors.Join(errors.New("demo: the emulated board did not stop, it was killed"), b.cmd.Wait())
		}
	}
}
