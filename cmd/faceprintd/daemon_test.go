package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// daemon is a running faceprintd on a bench of its own.
type daemon struct {
	dir    string
	env    []string // beside the test's own
	under  []string // the program that runs it, with its arguments; none: it runs by itself
	client *client.Client
	cmd    *exec.Cmd
	log    *bytes.Buffer // complete once the daemon has ended
}

// startDaemon starts one with the configuration, and the variables beside the
// test's own, and waits until it answers.
func startDaemon(t testing.TB, config string, env ...string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{dir: dir, env: env}
	if err := os.WriteFile(d.path("f.toml"), []byte("[bench]\nenabled = true\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	t.Cleanup(func() { d.stop(t) })
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }

func (d *daemon) start(t testing.TB) {
	t.Helper()
	d.log = &bytes.Buffer{}
	line := append(slices.Clone(d.under), filepath.Join(bin, "faceprintd"), "--config", d.path("f.toml"), "--dir", d.dir)
	d.cmd = exec.Command(line[0], line[1:]...)
	d.cmd.Stderr = d.log
	d.cmd.Env = append(os.Environ(), d.env...)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.client = client.New(d.path("api.sock"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := answers(ctx, d.path("api.sock")); err != nil {
		d.kill()
		t.Fatalf("the daemon does not answer: %v\n%s", err, d.log)
	}
}

// stop ends the daemon as systemd would.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(os.Interrupt)
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the daemon did not stop well: %v\n%s", err, d.log)
	}
	d.ended()
}

// kill ends it as a power cut would.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	d.ended()
}

func (d *daemon) ended() {
	d.client.Close()
	d.cmd = nil
}

// cpu is the processor time used so far.
func (d *daemon) cpu(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // proc(5): from field 3 on
	var ticks int
	for _, field := range []int{14, 15} { // user and system
		n, err := strconv.Atoi(f[field-3])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on Linux
}

// resident is the memory in use, in MiB.
func (d *daemon) resident(t testing.TB) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return float64(kib) / 1024
}
