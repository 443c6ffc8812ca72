package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// BenchmarkStart measures the whole life of a process that prints the
// version, beside that of true(1): what is between them is this program's
// own. MiB is the largest resident size of any run; a process counts at least
// as much as the one that forked it, so that of true(1) is the floor.
func BenchmarkStart(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "faceprint")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{"faceprint": {bin, "version"}, "true": {"true"}} {
		b.Run(name, func(b *testing.B) {
			var most int64
			for b.Loop() {
				c := exec.Command(args[0], args[1:]...)
				if err := c.Run(); err != nil {
					b.Fatal(err)
				}
				most = max(most, c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
			}
			b.ReportMetric(float64(most)/1024, "MiB")
		})
	}
}
