// Package outfile writes the files that commands leave behind, whole or not at all.
package outfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write puts a whole file of that mode in place, or leaves what was there: a new file
// is written beside it and renamed over it, so that neither the mode nor the owner of
// an old one, nor a link that lies there, has a part in who can read it.
//
// What is no regular file, such as /dev/stdout, is written to as it is. Where others
// may not read the file, it must be this user's or root's: a pipe of somebody else
// may lie where a file is expected.
func Write(name string, b []byte, mode fs.FileMode) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return Explain(name, into(name, b, mode&0o077 == 0))
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return Explain(name, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return Explain(name, err)
}

// into writes to a pipe, a terminal or a device.
func into(name string, b []byte, private bool) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		owner := info.Sys().(*syscall.Stat_t).Uid
		switch {
		case info.Mode().IsRegular():
			err = errors.New("it became a file while it was opened; run it again")
		case private && owner != 0 && int(owner) != os.Geteuid():
			err = errors.New("it is no file and another user's, who would read what is written; name a new file")
		default:
			_, err = f.Write(b)
		}
	}
	return errors.Join(err, f.Close())
}

// Explain names the file in an error of writing it, once, and what to do about a full disk.
func Explain(name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s: the disk is full; make room and run it again: %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
