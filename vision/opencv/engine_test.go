//go:build cgo

package opencv

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gocv.io/x/gocv"

	"github.com/faceprint/faceprint/vision"
)

// model reads a fetched model file; `make test` fetches them first.
func model(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("FACEPRINT_MODELS"), name))
	if err != nil {
		tb.Skipf("no face models: %v; run 'make test', which fetches them", err)
	}
	return b
}

func TestJoinedOutputsAreThoseOfTheNetwork(t *testing.T) {
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	onnx := model(t, p.Detect.File.File)
	spec := vision.NetSpec{Name: p.Detect.File.File, Input: p.Detect.Input.Input, Shape: [4]int{1, 3, 240, 320}}
	for _, o := range p.Detect.Output {
		spec.Outputs = append(spec.Outputs, vision.Output{Name: o.Name, Len: o.Len})
	}
	n, err := NewEngine().Load(spec, onnx)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	input := n.Input()
	for i := range input {
		input[i] = float32(i%251)/125 - 1
	}
	got, err := n.Forward()
	if err != nil {
		t.Fatal(err)
	}

	bare, err := gocv.ReadNetFromONNXBytes(onnx)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	blob := gocv.NewMatWithSizes([]int{1, 3, 240, 320}, gocv.MatTypeCV32F)
	defer blob.Close()
	data, err := blob.DataPtrFloat32()
	if err != nil {
		t.Fatal(err)
	}
	copy(data, input)
	for i, o := range spec.Outputs {
		bare.SetInput(blob, spec.Input)
		mat := bare.Forward(o.Name)
		want, err := mat.DataPtrFloat32()
		if err != nil || len(want) != o.Len {
			t.Fatalf("%s: %d numbers, %v", o.Name, len(want), err)
		}
		for k := range want {
			if got[i][k] != want[k] {
				t.Fatalf("%s[%d]: joined %g, alone %g", o.Name, k, got[i][k], want[k])
			}
		}
		mat.Close()
	}
}

// A wiped network has neither the picture nor its answer left, nor OpenCV's own copy
// of the picture: what it still answers is the answer to zeros.
func TestWipeLeavesNothing(t *testing.T) {
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	in := p.Embed.Input
	loaded, err := NewEngine().Load(vision.NetSpec{
		Name: "embed", Input: in.Input, Shape: [4]int{1, 3, in.Size[1], in.Size[0]},
		Outputs: []vision.Output{{Name: in.Output[0].Name, Len: in.Output[0].Len}},
	}, model(t, p.Embed.File.File))
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	n := loaded.(*net)
	forward := func() []float32 {
		out, err := n.Forward()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(out[0])
	}
	n.Wipe()
	ofZeros := forward()
	for i := range n.Input() {
		n.Input()[i] = float32(i%251)/125 - 1
	}
	ofPicture := forward()
	if slices.Equal(ofPicture, ofZeros) {
		t.Fatal("the network tells nothing of the picture")
	}
	n.Wipe()
	left := func(x float32) bool { return x != 0 }
	if slices.ContainsFunc(n.Input(), left) || slices.ContainsFunc(n.results[0], left) {
		t.Error("the picture, or what the network said of it, is left")
	}
	again := n.net.Forward(n.output) // of what OpenCV holds
	defer again.Close()
	if got, err := again.DataPtrFloat32(); err != nil || !slices.Equal(got, ofZeros) {
		t.Errorf("OpenCV still holds the picture: %v", err)
	}
}

func TestAClosedNetworkIsAnError(t *testing.T) {
	p, err := vision.BuiltIn(vision.DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	n, err := NewEngine().Load(vision.NetSpec{
		Name: "points", Input: p.Points.Input.Input, Shape: [4]int{1, 1, 64, 64},
		Outputs: []vision.Output{{Name: p.Points.Output[0].Name, Len: p.Points.Output[0].Len}},
	}, model(t, p.Points.File.File))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := n.Forward(); err == nil {
		t.Error("a closed network answers")
	}
}
