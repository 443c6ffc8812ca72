package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen opens the unix socket of the API. Anybody may connect: what a caller
// may do is decided by who it is, not by the file's mode. A socket that a
// daemon left behind when it was killed is replaced; one on which a daemon
// answers is not.
func Listen(path string) (net.Listener, error) {
	if len(path) > 107 { // sun_path of unix(7), less its terminator
		return nil, fmt.Errorf("api: the socket path %s has %d bytes, the most is 107; use a shorter directory", path, len(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("api: socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("api: %s is in the way and is no socket; move it or name another api.socket", path)
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("api: another daemon answers on %s; stop it or name another api.socket", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("api: %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("api: left-over socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, fmt.Errorf("api: socket: %w", err)
	}
	return l, nil
}
