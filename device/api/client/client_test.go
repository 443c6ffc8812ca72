package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "api.sock")
	c := New(path)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "start faceprintd") {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "left over") {
		t.Errorf("left-over socket: %v", err)
	}
	if _, err := c.Ready(t.Context(), time.Millisecond); !errors.Is(err, ErrUnreachable) {
		t.Errorf("waiting for nothing: %v", err)
	}
}

func TestStrangerOnTheSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, answer := range map[string]string{
		"no HTTP":        "220 smtp ready\r\n",
		"no JSON":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"error, no text": "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
		"hangs up":       "",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(answer))
			}()
			c := New(path)
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if s, err := c.Keys(ctx); err == nil {
				t.Errorf("%+v was taken for an answer", s)
			}
			<-done
		})
	}
}
