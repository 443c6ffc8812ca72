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
	"github.com/faceprint/faceprint/sensor"
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
func (t *tool) diagnose(ctx context.Context, ports ...string) client.Diagnosis {
	var d client.Diagnosis
	add := func(name, state, detail, advice string) {
		d.Checks = append(d.Checks, client.Check{Name: name, State: state, Detail: detail, Advice: advice})
	}
	checkCameras(add)
	checkSerial(add)
	for _, p := range ports {
		checkModule(ctx, add, p)
	}
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
		access(add, "camera device", f, "the daemon's user must be in the group video")
	}
}

func checkSerial(add addCheck) {
	var found, seen []string
	for _, pattern := range []string{"/dev/serial[01]", "/dev/ttyS0", "/dev/ttyAMA*", "/dev/ttyUSB*", "/dev/ttyACM*"} {
		f, _ := filepath.Glob(pattern)
		for _, f := range f {
			to, err := filepath.EvalSymlinks(f)
			if err == nil && !slices.Contains(seen, to) { // serial0 is another name
				found, seen = append(found, f), append(seen, to)
			}
		}
	}
	if len(found) == 0 {
		add("serial port", checkWarn, "there is none", "on a Pi: raspi-config, Interface Options, Serial Port: no login shell, hardware enabled")
		return
	}
	for _, f := range found {
		if tty.Console(f) {
			state := checkFail
			if f == "/dev/ttyS0" { // a Pi's is serial0; a PC may want its console there
				state = checkWarn
			}
			add("serial port", state, f+": the kernel writes its messages there", "on a Pi: raspi-config, Interface Options, Serial Port: no login shell; then restart")
			continue
		}
		if strings.Contains(tty.Holder(f), "getty") {
			add("serial port", checkFail, f+": "+tty.Holder(f), "raspi-config, or 'sudo systemctl disable --now serial-getty@"+filepath.Base(f)+"'")
			continue
		}
		if lost, ok := tty.LostOn(f); ok && lost.String() != "" {
			add("serial port", checkWarn, f+": since the start "+lost.String(), tty.LostAdvice(f))
			continue
		}
		access(add, "serial port", f, "for the daemon's user: "+tty.Permit(f))
	}
}

// checkModule opens a port and looks for a fingerprint module.
func checkModule(ctx context.Context, add addCheck, port string) {
	const name = "finger module"
	r, err := look(ctx, sensor.Config{Port: port, Address: sensor.DefaultAddress}, nil, nil)
	if r.Shared != "" {
		add(name, checkWarn, r.Shared, "stop that program: it eats answers of the module now and then")
	}
	switch {
	case err == nil && r.Address != nil:
		add(name, checkWarn, fmt.Sprintf("%s: %s at %d baud, at the address 0x%08X", port, r.Info.Family, r.Info.Baud, *r.Address), fmt.Sprintf("set finger.address = 0x%08X", *r.Address))
	case err == nil:
		add(name, checkOK, fmt.Sprintf("%s: %s at %d baud", port, r.Info.Family, r.Info.Baud), "")
	case errors.Is(err, tty.ErrBusy) && strings.Contains(err.Error(), "faceprintd"):
		add(name, checkSkip, port+": the daemon has it", "its own checks tell about the module; to examine the port, 'sudo systemctl stop faceprintd'")
	default:
		add(name, checkFail, r.Problem, moduleCure(port, err))
	}
}

// moduleCure is what to do where no module could be opened.
func moduleCure(port string, err error) string {
	stranger := (*sensor.StrangerError)(nil)
	switch {
	case errors.As(err, &stranger):
		return stranger.Cure
	case errors.Is(err, tty.ErrNoPort):
		return "plug it in, or name another port: 'faceprint sensor find' looks at all; on a Pi: raspi-config, Interface Options, Serial Port: no login shell, hardware enabled"
	case errors.Is(err, tty.ErrPermission):
		return "run it with sudo; or " + tty.Permit(port)
	case errors.Is(err, tty.ErrBusy):
		return "stop the program that has it, or name another port"
	case errors.Is(err, sensor.ErrPassword):
		return "'faceprint sensor find " + port + " --password-list FILE' tries those that may be it; there is no reset"
	case errors.Is(err, sensor.ErrNoModule):
		return "see what is said of the line; where nothing answers: the supply (3.3 V; R307 and R305: 5 V), ground, TX and RX crossed, then 'faceprint sensor find " + port + " --address-list FILE', for a module with another address says nothing"
	}
	return "name the serial port that the module is wired to"
}

// access says whether this user could open the device.
func access(add addCheck, name, path, advice string) {
	switch err := syscall.Access(path, 6); {
	case err == nil:
		add(name, checkOK, path, "")
	case os.IsPermission(err):
		add(name, checkWarn, path+": you may not open it", advice)
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
