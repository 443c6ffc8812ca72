//go:build linux

package tty

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Holder names who has the port, or says that this user may not see it.
func Holder(path string) string {
	if who := others(path); who != "" {
		return who
	}
	return "a program that this user may not see; 'sudo fuser -v " + path + "' names it"
}

// others names the other programs that have the port open, as far as this user
// may see them, and what to do about a login console. It is empty where there are
// none.
func others(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	var found []string
	console := false
	self := strconv.Itoa(os.Getpid())
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		pid := strings.Split(link, "/")[2]
		if to, err := os.Readlink(link); err != nil || to != real || pid == self || otherEnd(pid, real) {
			continue
		}
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		who := fmt.Sprintf("%s (process %s)", bytes.TrimSpace(name), pid)
		console = console || strings.Contains(who, "getty") || strings.HasPrefix(who, "login ")
		if !slices.Contains(found, who) {
			found = append(found, who)
		}
	}
	if console {
		return strings.Join(found, ", ") + ", a login console; on a Pi: raspi-config, Interface Options, Serial Port, no login shell"
	}
	return strings.Join(found, ", ")
}

// otherEnd tells whether a process is at the other end of a pseudo terminal, as
// 'faceprint sim finger' is: it is no rival.
func otherEnd(pid, path string) bool {
	n, is := strings.CutPrefix(path, "/dev/pts/")
	if !is {
		return false
	}
	infos, _ := filepath.Glob("/proc/" + pid + "/fdinfo/*")
	return slices.ContainsFunc(infos, func(info string) bool {
		b, err := os.ReadFile(info)
		return err == nil && slices.Contains(strings.Split(string(b), "\n"), "tty-index:\t"+n)
	})
}

// Console tells whether the kernel writes its messages to the port, which no
// module survives: they look like the beginning of an answer.
func Console(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	active, err := os.ReadFile("/sys/class/tty/console/active")
	return err == nil && slices.Contains(strings.Fields(string(active)), filepath.Base(real))
}

// Permit is what gives a user access to the port: its group where that may read and
// write, else a rule that gives it one.
func Permit(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	const usual = "dialout" // of Debian's rules
	info, err := os.Stat(real)
	if err != nil {
		return "add the user to the group " + usual + " and log in again"
	}
	s := info.Sys().(*syscall.Stat_t) // there is no other on Linux
	if info.Mode().Perm()&0o060 == 0o060 && s.Gid != 0 {
		return "add the user to the group " + groupName(s.Gid) + " and log in again"
	}
	return fmt.Sprintf(`its mode is %04o and its group is %s, so that no group helps: write KERNEL=="%s", GROUP="%s", MODE="0660" into /etc/udev/rules.d/99-faceprint.rules, 'sudo udevadm control --reload' and 'sudo udevadm trigger', then add the user to that group; a login console on the port (getty) takes the access away again: disable it first`,
		info.Mode().Perm(), groupName(s.Gid), filepath.Base(real), usual)
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
