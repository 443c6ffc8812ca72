//go:build cgo && amd64

package opencv

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// V4L2 end to end without a camera: Debian's kernel in QEMU with its own driver of
// a camera that is none (vivid), and TestARealCamera of this very binary on it.
// The guest's root is the host's, which it cannot write. Minutes without KVM, so
// 'make nightly' runs it, which unpacks the kernel that FACEPRINT_KERNEL names.
func TestVivid(t *testing.T) {
	kernel := os.Getenv("FACEPRINT_KERNEL")
	if kernel == "" {
		t.Skip("FACEPRINT_KERNEL names no unpacked linux-image package: 'make nightly' does")
	}
	const machine = "qemu-system-x86_64"
	if _, err := exec.LookPath(machine); err != nil {
		t.Skipf("%s is not installed: 'make nightly' installs it", machine)
	}
	images, err := filepath.Glob(filepath.Join(kernel, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		t.Fatalf("%s/boot has %d kernels: %v", kernel, len(images), err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	guest := filepath.Join(dir, "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", guest, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	initramfs := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(initramfs, guestFiles(t, guest, kernel), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, machine, "-nographic", "-no-reboot", "-m", "1024", "-nic", "none",
		"-kernel", images[0], "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 FACEPRINT_CAMERA=/dev/video0 -- "+self+" -test.v -test.run=^TestARealCamera$",
		"-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap").CombinedOutput()
	t.Logf("%s", bytes.ReplaceAll(out, []byte("\r"), nil))
	if err != nil || !bytes.Contains(out, []byte("guest: exit 0")) || !bytes.Contains(out, []byte("--- PASS: TestARealCamera")) {
		t.Errorf("the guest did not take frames from vivid: %v", err)
	}
}

// guestFiles is an initramfs of the first process and the modules that it loads.
func guestFiles(t *testing.T, guest, kernel string) []byte {
	modules := make(map[string]string) // files by the modules' names
	err := filepath.WalkDir(filepath.Join(kernel, "lib", "modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			modules[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var files cpio
	files.add(t, "init", guest, nil)
	files.add(t, "modules", "", nil)
	var list strings.Builder
	loaded := make(map[string]bool)
	var load func(name, options string)
	load = func(name, options string) {
		if loaded[name] {
			return
		}
		loaded[name] = true
		file, ok := modules[name]
		if !ok {
			t.Fatalf("%s has no module %s", kernel, name)
		}
		for _, needed := range moduleNeeds(t, file) {
			load(needed, "")
		}
		files.add(t, "modules/"+filepath.Base(file), file, nil)
		fmt.Fprintln(&list, filepath.Base(file), options)
	}
	load("virtio_pci", "")
	load("9pnet_virtio", "")
	load("9p", "")
	load("vivid", "n_devs=1 node_types=0x1") // one camera, and nothing else that it could be
	files.add(t, "modules/list", "", []byte(list.String()))
	return files.end()
}

// moduleNeeds are the modules that one depends on, as it says itself.
func moduleNeeds(t *testing.T, file string) []string {
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if names, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			return strings.FieldsFunc(strings.ReplaceAll(string(names), "-", "_"), func(r rune) bool { return r == ',' })
		}
	}
	return nil
}

// cpio is an archive in the form that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	b bytes.Buffer
	n int
}

// add adds a file's content, or the data, or, with neither, a folder.
func (c *cpio) add(t *testing.T, name, file string, data []byte) {
	mode := 0o100755
	switch {
	case file != "":
		var err error
		if data, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	case data == nil:
		mode = 0o040755
	}
	c.entry(name, mode, data)
}

func (c *cpio) entry(name string, mode int, data []byte) {
	c.n++
	fmt.Fprintf(&c.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	c.pad()
	c.b.Write(data)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}

func (c *cpio) end() []byte {
	c.entry("TRAILER!!!", 0, nil)
	return c.b.Bytes()
}
