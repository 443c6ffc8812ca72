package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// onnxFile is an ONNX file without a network: only what it says of its inputs
// and outputs, which is all that this package reads.
func onnxFile(inputs, outputs []tensor) []byte {
	text := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	info := func(t tensor) []byte {
		var shape []byte
		for _, d := range t.dims {
			dim := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(d))
			if d < 0 {
				dim = text(nil, 2, []byte("batch"))
			}
			shape = text(shape, 1, dim)
		}
		tensorType := text(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), 2, shape)
		return text(text(nil, 1, []byte(t.name)), 2, text(nil, 1, tensorType))
	}
	var graph []byte
	for _, t := range inputs {
		graph = text(graph, 11, info(t))
	}
	for _, t := range outputs {
		graph = text(graph, 12, info(t))
	}
	return text(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8), 7, graph)
}

// fakeEngine answers what a test tells it: nobody has a network that gives
// NaN on request.
type fakeEngine struct {
	// answers by file name, given the input; it may keep the slices.
	answer map[string]func(in []float32) [][]float32
	extra  int // how many numbers an input has too many
	loaded []string
	nets   []*fakeNet
	closed int
}

func (e *fakeEngine) Name() string { return "fake" }

func (e *fakeEngine) Load(s NetSpec, _ []byte) (Net, error) {
	if e.answer[s.Name] == nil {
		return nil, fmt.Errorf("no such net")
	}
	e.loaded = append(e.loaded, s.Name)
	n := s.Shape[1] * s.Shape[2] * s.Shape[3]
	net := &fakeNet{engine: e, spec: s, input: make([]float32, n+e.extra)}
	e.nets = append(e.nets, net)
	return net, nil
}

type fakeNet struct {
	engine *fakeEngine
	spec   NetSpec
	input  []float32
	fed    bool // the last run's input was not all zeros
	out    [][]float32
}

func (n *fakeNet) Input() []float32 { return n.input }
func (n *fakeNet) Close() error     { n.engine.closed++; return nil }

func (n *fakeNet) Forward() ([][]float32, error) {
	n.fed, n.out = !zeros(n.input), nil
	for _, o := range n.engine.answer[n.spec.Name](n.input) {
		n.out = append(n.out, slices.Clone(o))
	}
	return n.out, nil
}

func (n *fakeNet) Wipe() {
	clear(n.input)
	for _, o := range n.out {
		clear(o)
	}
}

func zeros[T byte | uint16 | uint64 | float32](s []T) bool {
	for _, x := range s {
		if x != 0 {
			return false
		}
	}
	return true
}

// fakeModels writes files that fit the profile, names them in it, and returns
// their folder and an engine in which they answer zeros.
func fakeModels(t testing.TB, p *Profile) (dir string, e *fakeEngine) {
	t.Helper()
	dir, e = t.TempDir(), &fakeEngine{answer: map[string]func([]float32) [][]float32{}}
	write := func(f *File, in Input) {
		channels := int64(3)
		if in.Order == orderGrey {
			channels = 1
		}
		var outputs []tensor
		var zeros [][]float32
		for _, o := range in.Output {
			outputs = append(outputs, tensor{o.Name, []int64{1, int64(o.Len)}})
			zeros = append(zeros, make([]float32, o.Len))
		}
		b := onnxFile([]tensor{{in.Input, []int64{-1, channels, int64(in.Size[1]), int64(in.Size[0])}}}, outputs)
		if err := os.WriteFile(filepath.Join(dir, f.File), b, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		f.Bytes, f.SHA256 = int64(len(b)), hex.EncodeToString(sum[:])
		e.answer[f.File] = func([]float32) [][]float32 { return zeros }
	}
	write(&p.Detect.File, p.Detect.Input)
	if p.Points != nil {
		write(&p.Points.File, p.Points.Input)
	}
	write(&p.Embed.File, p.Embed.Input)
	if p.Liveness != nil {
		write(&p.Liveness.File, p.Liveness.Input)
	}
	return dir, e
}

// fakeFace answers as the networks of profile faceplugin would on a frame with
// one face in its middle.
func (e *fakeEngine) fakeFace(p Profile) {
	scores, boxes := make([]float32, 8840), make([]float32, 17680)
	scores[2*100+1] = 0.9
	copy(boxes[4*100:], []float32{0.3, 0.2, 0.7, 0.8})
	e.answer[p.Detect.File.File] = func([]float32) [][]float32 { return [][]float32{scores, boxes} }
	points := make([]float32, 136)
	five := [5][2]float32{{0.3, 0.35}, {0.7, 0.35}, {0.5, 0.55}, {0.35, 0.77}, {0.65, 0.77}}
	for i, all := range p.Points.Five {
		for _, k := range all {
			points[2*k], points[2*k+1] = five[i][0], five[i][1]
		}
	}
	e.answer[p.Points.File.File] = func([]float32) [][]float32 { return [][]float32{points} }
	vector := make([]float32, 512)
	vector[3] = 7
	e.answer[p.Embed.File.File] = func([]float32) [][]float32 { return [][]float32{vector} }
	e.answer[p.Liveness.File.File] = func([]float32) [][]float32 { return [][]float32{{2, 0, 0}} }
}

func builtIn(t testing.TB, name string) Profile {
	t.Helper()
	p, err := BuiltIn(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
