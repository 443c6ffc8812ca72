// guest is the first and only process of an emulated machine: it loads the
// kernel's modules, mounts the host's root, which it can only read, and runs a
// program from there.
//
// It knows what to run from the kernel's command line: everything after "--" is
// the command, and NAME=VALUE before it its environment.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	code := 1
	if err := run(); err != nil {
		fmt.Println("guest:", err)
	} else {
		code = 0
	}
	fmt.Printf("guest: exit %d\n", code)
	os.Stdout.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU's -no-reboot makes an end of it
}

func run() error {
	for _, m := range [][3]string{{"devtmpfs", "/dev", "devtmpfs"}, {"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}} {
		if err := mount(m[0], m[1], m[2], ""); err != nil {
			return err
		}
	}
	if err := load("/modules"); err != nil {
		return err
	}
	if err := mount("host", "/host", "9p", "trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144"); err != nil {
		return err
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, "/host"+dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := unix.Chroot("/host"); err != nil {
		return err
	}
	command := os.Args[1:]
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(command[0]), os.Stdout, os.Stdout
	cmd.Env = append(os.Environ(), "HOME=/", "PATH=/usr/bin:/bin")
	return cmd.Run()
}

func mount(what, where, kind, options string) error {
	if err := os.MkdirAll(where, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(what, where, kind, 0, options); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// load loads the modules of a list: each line a file and its parameters, in the
// order in which they need one another.
func load(dir string) error {
	list, err := os.Open(filepath.Join(dir, "list"))
	if err != nil {
		return err
	}
	defer list.Close()
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		name, options, _ := strings.Cut(lines.Text(), " ")
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), options, 0)
		f.Close()
		if err != nil && !slices.Contains([]error{unix.EEXIST, unix.ENODEV}, err) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return lines.Err()
}
