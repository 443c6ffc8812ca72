package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor/tty"
)

// States of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
	checkSkip = "skip"
)

// diagnose examines what can be seen without the daemon, then asks it about
// what only it can see.
func (t *tool) diagnose(ctx context.Context) client.Diagnosis {
	var d client.Diagnosis
	add := func(name, state, detail, advice string) {
		d.Checks = append(d.Checks, client.Check{Name: name, State: state, Detail: detail, Advice: advice})
	}
	checkCameras(add)
	checkSerial(add)
	cl := t.client()
	defer cl.Close()
	s, err := cl.Status(ctx)
	if err != nil {
		add("daemon", checkFail, err.Error(), "sudo systemctl start faceprintd; then 'journalctl -u faceprintd' tells why it does not start")
		return d
	}
	add("daemon", checkOK, "faceprintd "+s.Version+" on "+t.socket, "")
	if s.Version != version() {
		add("version", checkWarn, fmt.Sprintf("the daemon is %s, this tool is %s", s.Version, version()), "restart faceprintd after an update")
	}
	own, err := cl.Diagnose(ctx)
	var problem *client.Error
	switch {
	case errors.As(err, &problem) && problem.Problem() == client.ProblemForbidden:
		add("daemon's own checks", checkSkip, "only an admin may ask for them", "run it with sudo")
	case err != nil:
		add("daemon's own checks", checkFail, err.Error(), "")
	default:
		d.Checks = append(d.Checks, own.Checks...)
	}
	return d
}

type addCheck func(name, state, detail, advice string)

func checkCameras(add addCheck) {
	found, _ := filepath.Glob("/dev/video*")
	if len(found) == 0 {
		add("camera device", checkWarn, "there is no /dev/video*", "plug a USB camera in, or use a libcamera pipeline or a network camera as camera.source")
		return
	}
	for _, f := range found {
		access(add, "camera device", f, "video")
	}
}

func checkSerial(add addCheck) {
	var found []string
	for _, pattern := range []string{"/dev/serial0", "/dev/ttyAMA*", "/dev/ttyUSB*", "/dev/ttyACM*"} {
		f, _ := filepath.Glob(pattern)
		found = append(found, f...)
	}
	if len(found) == 0 {
		add("serial port", checkWarn, "there is none", "on a Pi: raspi-config, Interface Options, Serial Port: no login shell, hardware enabled")
		return
	}
	for _, f := range found {
		if tty.Console(f) {
			add("serial port", checkFail, f+": the kernel writes its messages there", "on a Pi: raspi-config, Interface Options, Serial Port: no login shell; then restart")
			continue
		}
		if strings.Contains(tty.Holder(f), "getty") {
			add("serial port", checkFail, f+": "+tty.Holder(f), "raspi-config, or 'sudo systemctl disable --now serial-getty@"+filepath.Base(f)+"'")
			continue
		}
		access(add, "serial port", f, "dialout")
	}
}

// access says whether this user could open the device.
func access(add addCheck, name, path, group string) {
	switch err := syscall.Access(path, 6); {
	case err == nil:
		add(name, checkOK, path, "")
	case os.IsPermission(err):
		add(name, checkWarn, path+": you may not open it", "the daemon's user must be in the group "+group)
	default:
		add(name, checkWarn, path+": "+err.Error(), "")
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
