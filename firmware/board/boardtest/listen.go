package boardtest

import (
	"net"
	"path/filepath"
	"testing"
)

// Listen gives a unix socket, as an emulator has one, to client after client,
// and returns it as a port. It ends with the test.
func Listen(t testing.TB, attend func(net.Conn)) (port string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			attend(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "unix:" + path
}

// Port is a socket on which the board is.
func (b *Board) Port(t testing.TB) string {
	t.Helper()
	return Listen(t, func(c net.Conn) { b.Serve(c) })
}
