package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// noDumps keeps what lies in memory, keys, templates and pictures, out of core
// dumps: the limit for those into files, the flag for those that are piped to a
// collector, which the limit does not hold. The flag also keeps processes of
// the same user from attaching to this one (prctl(2), ptrace(2)).
func noDumps() error {
	if err := errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)); err != nil {
		return fmt.Errorf("core dumps cannot be forbidden: %w", err)
	}
	return nil
}

func checkDumps(add addCheck) {
	var limit unix.Rlimit
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	err = errors.Join(err, unix.Getrlimit(unix.RLIMIT_CORE, &limit))
	if err != nil || dumpable != 0 || limit.Cur != 0 {
		add("core dumps", "fail", fmt.Sprintf("a crash would write memory, with keys and templates, to the disk (dumpable %d, limit %d, %v)", dumpable, limit.Cur, err),
			"set LimitCORE=0 in the unit and kernel.core_pattern to nothing")
		return
	}
	add("core dumps", "ok", "forbidden", "")
}

// checkSwap looks whether memory may be written to a disk in the clear. proc and
// sys are where those file systems are.
func checkSwap(add addCheck, proc, sys string) {
	open, err := openSwaps(proc, sys)
	switch {
	case err != nil:
		add("swap", "warn", err.Error(), "")
	case len(open) > 0 && swapless(proc, sys):
		add("swap", "ok", "out of reach: this unit's memory is never swapped (memory.swap.max is 0)", "")
	case len(open) > 0:
		add("swap", "warn", strings.Join(open, ", ")+": memory, with keys and templates, may be written there in the clear, and stays",
			"'swapoff -a' and take it out of /etc/fstab (on Raspberry Pi OS: 'systemctl disable --now dphys-swapfile'), use zram, encrypt it (crypttab(5), option swap), or run the daemon as its unit, with MemorySwapMax=0")
	default:
		add("swap", "ok", "none on a disk in the clear", "")
	}
}

// swapless tells whether the kernel keeps this process's memory out of every swap:
// its control group, or one above it, may use none (cgroup-v2, memory.swap.max).
func swapless(proc, sys string) bool {
	groups, err := os.ReadFile(filepath.Join(proc, "self", "cgroup"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(groups)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok || strings.HasPrefix(path, "..") { // of another namespace
			continue
		}
		root := filepath.Join(sys, "fs", "cgroup")
		for group := filepath.Join(root, path); group != root; group = filepath.Dir(group) {
			if limit, err := os.ReadFile(filepath.Join(group, "memory.swap.max")); err == nil && strings.TrimSpace(string(limit)) == "0" {
				return true
			}
		}
	}
	return false
}

// openSwaps lists the swap areas that are neither in memory nor encrypted. A
// file counts as open: what lies below its file system is not looked at.
func openSwaps(proc, sys string) (open []string, err error) {
	f, err := os.Open(filepath.Join(proc, "swaps"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the head
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		if len(word) < 2 {
			continue
		}
		device := word[0]
		if to, err := filepath.EvalSymlinks(device); err == nil { // /dev/mapper/x is /dev/dm-0
			device = to
		}
		name := filepath.Base(device)
		uuid, _ := os.ReadFile(filepath.Join(sys, "class", "block", name, "dm", "uuid"))
		if word[1] == "partition" && (strings.HasPrefix(name, "zram") || strings.HasPrefix(string(uuid), "CRYPT-")) {
			continue
		}
		open = append(open, word[0])
	}
	return open, lines.Err()
}
