package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Limits of the bench's control socket.
const (
	maxCommand      = 4096        // bytes of a line
	controlPatience = time.Minute // for a line to come or to go
)

// serveControl answers text commands on a unix socket until the context ends:
// a line in; then lines, of which the last is "ok" or "error ...". The socket
// is the owner's alone: it moves fingers.
func serveControl(ctx context.Context, l net.Listener, do func(line string) (string, error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { c.Close() })()
			defer c.Close()
			converse(c, do)
		})
	}
}

func converse(c net.Conn, do func(line string) (string, error)) {
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, maxCommand)
	for {
		if c.SetDeadline(time.Now().Add(controlPatience)) != nil || !lines.Scan() {
			return
		}
		reply, err := do(strings.TrimSpace(lines.Text()))
		if reply = strings.TrimRight(reply, "\n"); reply != "" {
			reply += "\n"
		}
		last := "ok\n"
		if err != nil {
			last = "error " + strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"
		}
		if _, err := io.WriteString(c, reply+last); err != nil {
			return
		}
	}
}

// listenControl opens the control socket, in place of one that a killed
// daemon left behind.
func listenControl(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("bench: control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("bench: control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("bench: control socket: %w", err)
	}
	return l, nil
}
