//go:build unix

package client

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock waits until no other program has the file locked; closing it ends the lock.
func lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
