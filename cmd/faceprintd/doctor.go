package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/store"
)

// Below this, the next writes may fail: the vault, its rewriting after a
// forget and the journal all need room.
const lowDisk = 64 << 20

// Diagnose examines what only the daemon can see.
func (b *backend) Diagnose(ctx context.Context) (client.Diagnosis, error) {
	d := client.Diagnosis{Checks: []client.Check{}}
	add := func(name, state, detail, advice string) {
		d.Checks = append(d.Checks, client.Check{Name: name, State: state, Detail: detail, Advice: advice})
	}
	for _, p := range b.parts() {
		state := map[string]string{"ok": "ok", "missing": "fail", "off": "skip"}[p.State]
		add(p.Name, state, p.Detail, p.Advice)
	}
	b.checkVault(add)
	checkDisk(add, filepath.Dir(b.config.Store.File))
	checkClock(add, time.Now())
	return d, ctx.Err()
}

type addCheck func(name, state, detail, advice string)

func (b *backend) checkVault(add addCheck) {
	err := b.vault.View(func(tx *store.Tx) error { return tx.VerifyAudit() })
	if err != nil {
		add("audit chain", "fail", err.Error(), "keep a copy of "+b.vault.Path()+" for whoever examines it, then restore a backup")
	} else {
		add("audit chain", "ok", "unbroken", "")
	}
	add("device key", "warn", b.vault.Key(), "")
	for _, f := range []string{b.config.Store.File, b.config.Store.KeyFile} {
		if info, err := os.Stat(f); err != nil {
			add("vault file", "fail", err.Error(), "")
		} else if info.Mode().Perm()&0o077 != 0 {
			add("vault file", "fail", fmt.Sprintf("%s has mode %04o", f, info.Mode().Perm()), "chmod 600 "+f)
		}
	}
}

func checkDisk(add addCheck, dir string) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		add("disk", "fail", fmt.Sprintf("%s: %v", dir, err), "")
		return
	}
	free := s.Bavail * uint64(s.Bsize)
	detail := fmt.Sprintf("%d MiB free at %s", free>>20, dir)
	switch {
	case s.Flags&syscall.MS_RDONLY != 0:
		add("disk", "fail", dir+" is mounted read-only", "'dmesg' tells whether the card is failing; then replace it")
	case free < lowDisk:
		add("disk", "fail", detail, "make room: without it nothing can be recorded, so nothing is granted")
	default:
		add("disk", "ok", detail, "")
	}
}

// A Pi has no clock of its own: before the network tells the time it may be
// years in the past, and grants would be of no use.
func checkClock(add addCheck, now time.Time) {
	if built := builtAt(); now.Before(built) {
		add("clock", "fail", now.UTC().Format(time.RFC3339)+" is before this program was made", "set the clock: 'timedatectl'")
		return
	}
	add("clock", "ok", now.UTC().Format(time.RFC3339), "")
}
