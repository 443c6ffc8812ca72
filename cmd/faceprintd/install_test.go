package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What make install puts below a directory is what the daemon's defaults, the
// unit and systemd's own checks look for.
func TestInstall(t *testing.T) {
	needs(t, "make", "systemd-analyze", "systemd-sysusers")
	if _, _, ok := real(); !ok || os.Getenv("FACEPRINT_ORT") == "" {
		t.Skip("no models, clips or OpenCV: 'make fetch'")
	}
	if _, err := os.Stat(filepath.Join("..", "..", "bin", "faceprintd")); err != nil {
		t.Skip("nothing to install: 'make build'")
	}
	root := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = filepath.Join("..", "..")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// What it depends on was made by whoever runs the tests.
	run("make", "-s", "-o", "build", "install", "DESTDIR="+root)

	installed := filepath.Join(root, "etc", "faceprint", "faceprint.toml")
	c, err := readConfig(installed, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(c.Face.Models, "fr_detect.onnx"), c.Face.Library, "/usr/share/faceprint/avahi/faceprint.service"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("the daemon looks for %s: %v", path, err)
		}
	}
	if err := os.WriteFile(installed, []byte("# the site's own\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("make", "-s", "-o", "build", "install", "DESTDIR="+root)
	if b, err := os.ReadFile(installed); err != nil || string(b) != "# the site's own\n" {
		t.Errorf("a second installation changed the configuration: %q, %v", b, err)
	}

	for _, name := range []string{"sysinit.target", "basic.target", "shutdown.target", "multi-user.target"} {
		if err := os.WriteFile(filepath.Join(root, "lib", "systemd", "system", name), []byte("[Unit]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out := run("systemd-analyze", "verify", "--man=no", "--root="+root, "faceprintd.service"); strings.Contains(out, "faceprint") {
		t.Errorf("systemd says of the unit:\n%s", out)
	}
	run("systemd-sysusers", "--root="+root, "faceprint.conf")
	groups, err := os.ReadFile(filepath.Join(root, "etc", "group"))
	for _, want := range []string{"faceprint:", "video:x:", "dialout:x:", c.API.AdminGroup + ":", c.API.KioskGroup + ":"} {
		if err != nil || !strings.Contains(string(groups), want) {
			t.Errorf("no group %s (%v):\n%s", want, err, groups)
		}
	}
}
