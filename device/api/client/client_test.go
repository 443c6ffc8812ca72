package client

import (
	"context"
	"errors"
	"net"
	"net/http"
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

// An empty name, or one that leads to another path, is refused before anything is
// asked, and no answer sends a request elsewhere: it would be done to another.
func TestNamesLeadNowhereElse(t *testing.T) {
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 16)
	mux := http.NewServeMux() // cleans paths, as the daemon's
	mux.HandleFunc("DELETE /v1/logins/{account}", func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })
	mux.HandleFunc("DELETE /v1/logins/old", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v1/logins/new", http.StatusTemporaryRedirect)
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c := New(l.Addr().String())
	defer c.Close()
	for _, name := range []string{"", ".", ".."} {
		for what, ask := range map[string]func() error{
			"forget keyring": func() error { _, err := c.ForgetKeyring(t.Context(), name); return err },
			"set keyring":    func() error { _, err := c.SetKeyring(t.Context(), name, Attempt{}); return err },
			"allow login":    func() error { _, err := c.AllowLogin(t.Context(), name, "u"); return err },
			"revoke login":   func() error { _, err := c.RevokeLogin(t.Context(), name); return err },
			"set PIN":        func() error { _, err := c.SetPIN(t.Context(), name, NewPIN{}); return err },
			"remove PIN":     func() error { _, err := c.RemovePIN(t.Context(), name); return err },
			"forget":         func() error { _, err := c.Forget(t.Context(), name); return err },
			"unlock":         func() error { _, err := c.Unlock(t.Context(), name); return err },
			"renew":          func() error { _, err := c.Renew(t.Context(), name); return err },
			"report":         func() error { _, err := c.Report(t.Context(), name); return err },
			"person":         func() error { _, err := c.Person(t.Context(), name); return err },
			"revoke phone":   func() error { _, err := c.RevokePhone(t.Context(), name); return err },
		} {
			if err := ask(); !errors.Is(err, ErrName) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	if _, err := c.RevokeLogin(t.Context(), "old"); err == nil {
		t.Error("a redirect was followed")
	}
	if len(asked) != 0 {
		t.Errorf("done to %s", <-asked)
	}
	if _, err := c.RevokeLogin(t.Context(), "a/b c"); err == nil || len(asked) != 1 || <-asked != "/v1/logins/a/b c" { // answered with nothing
		t.Errorf("a strange name: %v", err)
	}
}
