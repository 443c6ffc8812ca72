package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/device"
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
	checkCameraSize(add, b.config.Camera, b.parts())
	b.finger.checkLine(add)
	b.finger.checkTrust(add, b.config.Finger.Match)
	if n, err := b.fingers(); err == nil { // else the vault's own line tells
		checkRate(add, b.config.Finger.Match, b.config.Policy.Mode, b.config.Policy.FingerFMR, n)
	}
	_ = b.checkRoom(add) // the vault's own line tells
	b.checkReach(add)
	checkAdapt(add, b.config)
	checkPace(add, b.config.Policy, b.device)
	b.checkVault(add)
	checkDisk(add, filepath.Dir(b.config.Store.File))
	checkStorage(add, "/sys", filepath.Dir(b.config.Store.File))
	checkClock(add, time.Now(), b.phones.Clock())
	checkTPM(add, "/sys", b.vault.Key())
	checkDumps(add)
	checkSwap(add, "/proc", "/sys")
	return d, ctx.Err()
}

// fingers is how many are enrolled for the host to compare.
func (b *backend) fingers() (n int, err error) {
	of, kind := matcherOf(b.config.Finger, b.finger)
	err = b.vault.View(func(tx *store.Tx) error {
		ts, err := tx.Templates(kind)
		for i := range ts {
			if ts[i].Model == of.Family() && of.Fits(ts[i].Data) {
				n++
			}
			ts[i].Wipe()
		}
		return err
	})
	return n, err
}

// pacer is the device, whose frames take so long.
type pacer interface {
	Pace() time.Duration
	ChallengeTime() (takes time.Duration, slow bool)
}

// checkPace tells how long a frame took when somebody was last looked at, and whether
// that leaves the time to ask them to move.
func checkPace(add addCheck, p policyConfig, d pacer) {
	takes, slow := d.ChallengeTime()
	if p.Mode == string(device.FingerOnly) || d.Pace() == 0 && !slow {
		return
	}
	each := fmt.Sprintf("a frame takes %v", d.Pace().Round(10*time.Millisecond))
	if d.Pace() == 0 {
		each = "nobody was looked at yet"
	}
	const faster = "a smaller camera.width, ONNX Runtime (face.library, face.engine = \"auto\"), or a faster device"
	switch {
	case p.Challenge == string(device.ChallengeOff) && d.Pace() == 0:
	case !slow || p.Challenge == string(device.ChallengeOff):
		add("pace of the camera", "ok", each, "")
	case takes == 0:
		add("pace of the camera", "warn", each+": nobody can be asked to move, and who would have to is refused (face-too-slow)", faster)
	default:
		least := fmt.Sprintf("policy.timeout = \"%.0fs\" or more, and timeout= of pam_faceprint with it", 1+takes.Seconds())
		if d.Pace() > 0 {
			least += "; or " + faster
		}
		add("pace of the camera", "warn", fmt.Sprintf("%s, and to be asked to move takes %.1f s of policy.timeout = %v: who would have to is refused (face-too-slow)", each, takes.Seconds(), p.Timeout.Duration), least)
	}
}

type addCheck func(name, state, detail, advice string)

func (b *backend) checkVault(add addCheck) {
	err := b.vault.View(func(tx *store.Tx) error { return tx.VerifyAudit() })
	if err != nil {
		add("audit chain", "fail", err.Error(), "keep a copy of "+b.vault.Path()+" for whoever examines it, then restore a backup")
	} else {
		add("audit chain", "ok", "unbroken", "")
	}
	if inTPM(b.vault.Key()) {
		add("device key", "ok", b.vault.Key(), "")
	} else {
		add("device key", "warn", b.vault.Key(), "")
	}
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
// One that was set back stops the phones whose time is limited.
func checkClock(add addCheck, now time.Time, known client.PhoneClock) {
	if built := builtAt(); now.Before(built) {
		add("clock", "fail", now.UTC().Format(time.RFC3339)+" is before this program was made", "set the clock: 'timedatectl'")
		return
	}
	if known.Back {
		add("clock", "fail", fmt.Sprintf("%s, but it was at least %s already: paired phones with an end or a schedule may do nothing", now.UTC().Format(time.RFC3339), known.Known.Format(time.RFC3339)),
			"set the clock: 'timedatectl'; where it is right now and was ahead before, 'faceprint phone clock --accept'")
		return
	}
	if !device.ClockTrusted() {
		add("clock", "warn", now.UTC().Format(time.RFC3339)+", and no time server says so", "connect the network, or fit a real-time clock; 'timedatectl' tells")
		return
	}
	add("clock", "ok", now.UTC().Format(time.RFC3339)+", by a time server", "")
}

// checkStorage reads what the kernel knows of the health of the disk on which a
// folder is: errors of its file system, and how much of a card's or eMMC's life
// is used (JEDEC 84-B51, EXT_CSD bytes 267 to 269). sys is /sys.
func checkStorage(add addCheck, sys, dir string) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		add("storage", "fail", fmt.Sprintf("%s: %v", dir, err), "")
		return
	}
	link := filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	block, err := filepath.EvalSymlinks(link)
	if err != nil {
		add("storage", "skip", dir+" is on no disk that the kernel shows", "")
		return
	}
	name := filepath.Base(block)
	if text, err := os.ReadFile(filepath.Join(sys, "fs/ext4", name, "errors_count")); err == nil {
		if n := strings.TrimSpace(string(text)); n != "0" {
			add("file system", "fail", fmt.Sprintf("%s has had %s errors", name, n), "back the vault up now, then 'sudo fsck -f /dev/"+name+"' from another system; replace the card if they come again")
		} else {
			add("file system", "ok", name+": no errors", "")
		}
	}
	if _, err := os.Stat(filepath.Join(block, "partition")); err == nil {
		block = filepath.Dir(block)
	}
	disk := filepath.Base(block)
	life, err := os.ReadFile(filepath.Join(block, "device/life_time"))
	if err != nil {
		add("storage life", "skip", disk+" does not tell the kernel; SD cards never do", "'sudo smartctl -H /dev/"+disk+"' asks an SSD itself")
		return
	}
	// Two estimates in steps of 10 %, 0x01 up to 10 %, 0x0B beyond its life; 0 is
	// not told. End-of-life: 1 normal, 2 eight tenths of the reserve used, 3 urgent.
	worst, reserve := uint64(0), uint64(0)
	for f := range strings.FieldsSeq(string(life)) {
		v, err := strconv.ParseUint(f, 0, 8)
		if err != nil {
			add("storage life", "warn", fmt.Sprintf("%s says %q", disk, life), "")
			return
		}
		worst = max(worst, v)
	}
	if text, err := os.ReadFile(filepath.Join(block, "device/pre_eol_info")); err == nil {
		reserve, _ = strconv.ParseUint(strings.TrimSpace(string(text)), 0, 8)
	}
	used := fmt.Sprintf("%s: at most %d %% of its life used", disk, 10*worst)
	switch {
	case worst == 0 && reserve == 0:
		add("storage life", "skip", disk+" does not know", "")
	case worst > 10 || reserve >= 3:
		add("storage life", "fail", disk+": its life is over", "back the vault up and replace it now")
	case worst > 8 || reserve == 2:
		add("storage life", "warn", used, "plan to replace it")
	default:
		add("storage life", "ok", used, "")
	}
}

// inTPM tells by a key's own words where it is.
func inTPM(key string) bool { return strings.HasPrefix(key, "key in the TPM") }

// checkTPM tells whether there is a TPM, and whether the vault's key is in it.
func checkTPM(add addCheck, sys, key string) {
	major, err := os.ReadFile(filepath.Join(sys, "class/tpm/tpm0/tpm_version_major"))
	version := strings.TrimSpace(string(major))
	switch {
	case err != nil:
		add("TPM", "skip", "there is none", "")
	case version != "2":
		add("TPM", "warn", "version "+version+" cannot keep the vault's key", "")
	case !inTPM(key):
		add("TPM", "warn", "version 2, but the vault's key is elsewhere: "+key, "docs tell how a vault moves to the TPM; a thief of the card then gets nothing")
	default:
		add("TPM", "ok", "version 2 keeps the vault's key", "")
	}
}
