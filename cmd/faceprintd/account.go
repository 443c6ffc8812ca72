package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// asOwner makes root the account that the vault belongs to, so that the daemon
// can open what a command leaves; it keeps the right to call systemd-creds as
// root. Anybody else who is not that account is told how to be it.
func asOwner(c storeConfig) error {
	uid, gid, ok := owner(c.File)
	if !ok || uid == os.Geteuid() {
		return nil
	}
	name, groups := "#"+strconv.Itoa(uid), []int{gid}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
		ids, err := u.GroupIds()
		if err != nil {
			return fmt.Errorf("the groups of %s: %w", name, err)
		}
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the vault %s belongs to %s; run this as root or as that account: sudo -u '%s' faceprintd --config FILE vault COMMAND", c.File, name, name)
	}
	for _, err := range []error{syscall.Setgroups(groups), syscall.Setresgid(-1, gid, -1), syscall.Setresuid(-1, uid, -1)} {
		if err != nil {
			return fmt.Errorf("the vault %s belongs to %s, and root cannot become that account here: %w; run it as: sudo -u '%s' faceprintd --config FILE vault COMMAND", c.File, name, err, name)
		}
	}
	return nil
}

// owner is whose the vault is, or, where there is none yet, its folder.
func owner(vault string) (uid, gid int, ok bool) {
	for _, path := range []string{vault, filepath.Dir(vault)} {
		if info, err := os.Stat(path); err == nil {
			st := info.Sys().(*syscall.Stat_t)
			return int(st.Uid), int(st.Gid), true
		}
	}
	return 0, 0, false
}
