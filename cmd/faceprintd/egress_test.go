package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// The daemon runs in a network namespace with nothing in it but an unconfigured
// loopback, and every socket call of it is traced: it listens
// where it was told to and connects to nobody.
func TestNoEgress(t *testing.T) {
	for _, tool := range []string{"unshare", "strace"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v; `make test` installs it", err)
		}
	}
	dir, err := os.MkdirTemp("", "fp") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	config, trace := filepath.Join(dir, "bench.toml"), filepath.Join(dir, "trace")
	if err := os.WriteFile(config, []byte("[bench]\nenabled = true\n[camera]\nsource = \"/dev/video255\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// -D: strace is the grandchild, so that the interrupt goes to the daemon.
	cmd := exec.CommandContext(ctx, "unshare", "--user", "--map-root-user", "--net",
		"strace", "-D", "-f", "-o", trace, "-e", "trace=socket,connect,bind,sendto,sendmsg,io_uring_setup",
		filepath.Join(bin, "faceprintd"), "--config", config, "--dir", dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	up := make(chan error, 1)
	socket := filepath.Join(dir, "api.sock")
	go func() { up <- answers(ctx, socket) }()
	select {
	case err := <-ended:
		if strings.Contains(out.String(), "unshare:") {
			t.Skipf("no network namespaces here: %s", out.String())
		}
		t.Fatalf("%v: %s", err, out.String())
	case err := <-up:
		if err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	for _, args := range [][]string{{"status"}, {"people"}, {"audit"}, {"keys"}, {"config"}, {"doctor"}, {"verify", "nobody"}, {"audit", "export", filepath.Join(dir, "a")}} {
		tool := exec.CommandContext(ctx, filepath.Join(bin, "faceprint"), args...)
		tool.Env = append(os.Environ(), client.SocketVariable+"="+socket)
		_ = tool.Run() // some of them fail on a bench without a camera
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// Netlink asks the kernel and leaves the machine as little as a file does;
	// the kiosk's page is on loopback.
	family := regexp.MustCompile(`\b(socket|connect|bind|sendto|sendmsg|io_uring_setup)\(.*`)
	allowed := regexp.MustCompile(`^(socket\(|(connect|bind)\(\d+, \{sa_family=AF_(UNIX|NETLINK)|bind\(\d+, .*("127\.0\.0\.1"|"::1"|"::ffff:127\.0\.0\.1")|send(to|msg)\(.*(AF_NETLINK|AF_UNIX|NULL, 0\)))`)
	bound := 0
	for line := range strings.Lines(string(b)) {
		call := family.FindString(line)
		if call == "" {
			continue
		}
		if !allowed.MatchString(call) {
			t.Errorf("%s", call)
		}
		if strings.Contains(call, socket) && strings.HasPrefix(call, "bind(") {
			bound++
		}
	}
	if bound != 1 {
		t.Errorf("the API's socket was bound %d times in the trace: the test does not test\n%s", bound, b)
	}
}
