package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestControlSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bench.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // left over
		t.Fatal(err)
	}
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveControl(ctx, l, func(line string) (string, error) {
			switch line {
			case "state":
				return "one\ntwo\n", nil
			case "lift":
				return "", nil
			}
			return "", errors.New("no\nsuch command")
		})
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "state\nlift\n fly \n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(c)
	for _, want := range []string{"one", "two", "ok", "ok", "error no; such command"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("%q, want %q", lines.Text(), want)
		}
	}
	// An endless line is not kept in memory.
	endless, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	_, _ = fmt.Fprint(endless, strings.Repeat("x", 2*maxCommand))
	if n, err := endless.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes in answer to an endless line", n)
	}
	stop()
	<-done // ends although a caller is still connected
}
