//go:build cgo

package ort

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/vision"
)

// predictor is what Debian's package libdlib-data brings.
const predictor = "/usr/share/dlib/shape_predictor_68_face_landmarks.dat"

// BenchmarkHowdy compares a recognised frame (detection, points, embedding; Howdy
// has no liveness) with Howdy's way, dlib's HOG and ResNet, on the same frame in
// turn. Processor time is compared. Without the trained weights of that network,
// which Debian has not, it runs on random ones: the same arithmetic.
//
// dlib's own build turns on AVX and no more; native is all that this processor has.
// It needs apt's libdlib-dev and libdlib-data, and minutes for the compiler.
func BenchmarkHowdy(b *testing.B) {
	b.Run("avx", func(b *testing.B) { benchmarkHowdy(b, "-mavx") })
	b.Run("native", func(b *testing.B) { benchmarkHowdy(b, "-march=native") })
}

func benchmarkHowdy(b *testing.B, processor string) {
	if _, err := os.Stat(predictor); err != nil {
		b.Skipf("no dlib: %v; apt-get install libdlib-dev libdlib-data", err)
	}
	engine, f := library(b), person(b)
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "dlib-1").Output()
	if err != nil {
		b.Skipf("no dlib: %v; apt-get install libdlib-dev libdlib-data", err)
	}
	program := filepath.Join(b.TempDir(), "howdy")
	build := exec.Command("sh", "-c", "g++ -O3 -DNDEBUG "+processor+" -o "+program+" testdata/howdy/howdy.cc "+string(flags[:len(flags)-1]))
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	howdy := exec.CommandContext(b.Context(), program, predictor)
	howdy.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1")
	in, err := howdy.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	answers, err := howdy.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	howdy.Stderr = os.Stderr
	if err := howdy.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := howdy.Wait(); err != nil {
			b.Error(err)
		}
	}()
	lines := bufio.NewReader(answers)
	header := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(f.Width)), uint32(f.Height))
	theirs := func() (parts [3]float64) {
		if _, err := in.Write(slices.Concat(header, f.Pix)); err != nil {
			b.Fatal(err)
		}
		faces := 0
		if _, err := fmt.Fscanln(lines, &faces, &parts[0], &parts[1], &parts[2]); err != nil || faces != 1 {
			b.Fatalf("dlib sees %d faces: %v", faces, err)
		}
		return parts
	}
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		b.Fatal(err)
	}
	p.Liveness = nil
	m, err := vision.OpenModel(engine, p, os.Getenv("FACEPRINT_MODELS"))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	look(b, m, f)
	theirs() // the network makes its weights
	var ours []time.Duration
	var dlib [3][]float64
	for b.Loop() {
		start := processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)
		look(b, m, f)
		ours = append(ours, processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)-start)
		for i, t := range theirs() {
			dlib[i] = append(dlib[i], t/1000)
		}
	}
	slices.Sort(ours)
	frame, all := 1000*ours[len(ours)/2].Seconds(), 0.0
	for i, name := range []string{"cpu-ms-dlib-detect", "cpu-ms-dlib-points", "cpu-ms-dlib-embed"} {
		slices.Sort(dlib[i])
		part := dlib[i][len(dlib[i])/2]
		b.ReportMetric(part, name)
		all += part
	}
	b.ReportMetric(frame, "cpu-ms-frame")
	b.ReportMetric(all/frame, "x-faster-than-dlib")
}
