package vision

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	someInputs  = []tensor{{"input", []int64{-1, 3, 240, 320}}}
	someOutputs = []tensor{{"scores", []int64{1, 4420, 2}}, {"scalar", nil}}
)

func TestSignatureOfAFile(t *testing.T) {
	inputs, outputs, err := signature(onnxFile(someInputs, someOutputs))
	if err != nil || !reflect.DeepEqual(inputs, someInputs) || !reflect.DeepEqual(outputs, someOutputs) {
		t.Errorf("%v, %v, %v", inputs, outputs, err)
	}
}

// Exporters of IR 3 list the weights among the inputs.
func TestWeightsAreNoInputs(t *testing.T) {
	file := onnxFile([]tensor{{"input", []int64{1, 3, 8, 8}}, {"conv1.weight", []int64{16, 3, 3, 3}}}, someOutputs)
	name := protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), []byte("conv1.weight"))
	graph, err := field(file, 7)
	if err != nil {
		t.Fatal(err)
	}
	graph = protowire.AppendBytes(protowire.AppendTag(graph[:len(graph):len(graph)], 5, protowire.BytesType), name)
	inputs, _, err := signature(protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), graph))
	if err != nil || len(inputs) != 1 || inputs[0].name != "input" {
		t.Errorf("%v, %v", inputs, err)
	}
}

func TestWhatIsNoModelIsRefused(t *testing.T) {
	good := onnxFile(someInputs, someOutputs)
	for name, b := range map[string][]byte{
		"empty": {}, "text": []byte("<html>404</html>"), "truncated": good[:len(good)-3], "zeros": make([]byte, 100),
		"many dimensions": onnxFile([]tensor{{"input", make([]int64, 9)}}, nil),
		"huge":            onnxFile([]tensor{{"input", []int64{1 << 40}}}, nil),
	} {
		if in, out, err := signature(b); !errors.Is(err, ErrModel) {
			t.Errorf("%s: %v, %v, %v", name, in, out, err)
		}
	}
}

func TestFetchedFilesFitTheirProfile(t *testing.T) {
	dir := os.Getenv("FACEPRINT_MODELS")
	if _, err := os.Stat(filepath.Join(dir, "fr_detect.onnx")); err != nil {
		t.Skipf("no face models: %v; run 'make test', which fetches them", err)
	}
	p := builtIn(t, DefaultProfile)
	for _, x := range []struct {
		File
		Input
	}{{p.Detect.File, p.Detect.Input}, {p.Points.File, p.Points.Input}, {p.Embed.File, p.Embed.Input}, {p.Liveness.File, p.Liveness.Input}} {
		b, err := readModel(dir, x.File)
		if err != nil {
			t.Fatal(err)
		}
		spec := newFeeder(x.Input).spec(x.File)
		if err := fits(b, &spec); err != nil || len(spec.Outputs[0].Shape) == 0 {
			t.Error(spec, err)
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add(onnxFile(someInputs, someOutputs))
	f.Add(onnxFile(nil, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		inputs, outputs, err := signature(b)
		if err != nil {
			if !errors.Is(err, ErrModel) {
				t.Fatal(err)
			}
			return
		}
		// What is read is what would be written: nothing is made up.
		in, out, err := signature(onnxFile(inputs, outputs))
		if err != nil || !sameTensors(in, inputs) || !sameTensors(out, outputs) {
			t.Fatalf("%v, %v, read again %v, %v, %v", inputs, outputs, in, out, err)
		}
	})
}

func sameTensors(a, b []tensor) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || len(a[i].dims) != len(b[i].dims) {
			return false
		}
		for k := range a[i].dims {
			if a[i].dims[k] != b[i].dims[k] {
				return false
			}
		}
	}
	return true
}
