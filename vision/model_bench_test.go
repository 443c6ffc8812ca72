package vision

import (
	"math"
	"syscall"
	"testing"
)

// BenchmarkAroundTheNetworks is everything of a frame that is not a network:
// the networks answer at once. The processor time is of this process alone.
func BenchmarkAroundTheNetworks(b *testing.B) {
	for _, size := range []struct {
		name string
		w, h int
	}{{"400x300", 400, 300}, {"640x480", 640, 480}, {"1280x720", 1280, 720}} {
		b.Run(size.name, func(b *testing.B) {
			m, _, _ := openFake(b, DefaultProfile)
			f := grey(size.w, size.h)
			least := int64(math.MaxInt64)
			for b.Loop() {
				start := processorTime(b)
				faces, err := m.Detect(f)
				if err != nil || len(faces) != 1 {
					b.Fatal(len(faces), err)
				}
				if err := m.Describe(f, &faces[0]); err != nil {
					b.Fatal(err)
				}
				least = min(least, processorTime(b)-start)
			}
			b.ReportMetric(float64(least)/1000, "least-cpu-us")
		})
	}
}

// processorTime of this process in nanoseconds.
func processorTime(tb testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
