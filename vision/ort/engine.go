//go:build cgo

package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/faceprint/faceprint/vision"
)

// ONNX Runtime is one for the whole process and stays until its end.
var (
	mu     sync.Mutex
	opened string // the library that was opened
)

// Open opens the library and returns its engine. The error wraps
// vision.ErrNoEngine when the library is missing or too old.
func Open(library string) (vision.Engine, error) {
	path, err := filepath.Abs(library)
	if err != nil {
		return nil, fmt.Errorf("ort: %w: %w", err, vision.ErrNoEngine)
	}
	mu.Lock()
	defer mu.Unlock()
	switch {
	case opened == path:
		return engine{}, nil
	case opened != "":
		return nil, fmt.Errorf("ort: %s is in use, %s cannot be opened beside it: %w", opened, path, vision.ErrNoEngine)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("ort: there is no library %s ('make fetch' brings it): %w", path, vision.ErrNoEngine)
	}
	onnx.SetSharedLibraryPath(path)
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelError()); err != nil {
		return nil, fmt.Errorf("ort: %s: %w: %w", path, err, vision.ErrNoEngine)
	}
	if err := onnx.DisableTelemetry(); err != nil {
		return nil, fmt.Errorf("ort: %w: %w", err, vision.ErrNoEngine)
	}
	opened = path
	return engine{}, nil
}

type engine struct{}

func (engine) Name() string { return "ONNX Runtime " + onnx.GetVersion() }

func (engine) Load(s vision.NetSpec, file []byte) (_ vision.Net, err error) {
	if len(file) == 0 || len(s.Outputs) == 0 {
		return nil, fmt.Errorf("ort: %s is empty, or nothing is read from it: %w", s.Name, vision.ErrModel)
	}
	n := &net{name: s.Name}
	defer func() {
		if err != nil {
			n.Close()
			err = fmt.Errorf("ort: %s: %w: %w", s.Name, err, vision.ErrModel)
		}
	}()
	var shape onnx.Shape
	for _, d := range s.Shape {
		shape = append(shape, int64(d))
	}
	if n.input, err = onnx.NewEmptyTensor[float32](shape); err != nil {
		return nil, err
	}
	var names []string
	var values []onnx.Value
	for _, o := range s.Outputs {
		t, err := onnx.NewEmptyTensor[float32](onnx.Shape(o.Shape))
		if err != nil {
			return nil, err
		}
		n.outputs = append(n.outputs, t)
		if len(t.GetData()) != o.Len {
			return nil, fmt.Errorf("output %q is %v, not %d numbers", o.Name, o.Shape, o.Len)
		}
		n.results = append(n.results, t.GetData())
		names, values = append(names, o.Name), append(values, t)
	}
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	for _, set := range []func() error{
		func() error { return options.SetIntraOpNumThreads(1) },
		func() error { return options.SetInterOpNumThreads(1) },
		func() error { return options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
	} {
		if err := set(); err != nil {
			return nil, err
		}
	}
	n.session, err = onnx.NewAdvancedSessionWithONNXData(file, []string{s.Input}, names, []onnx.Value{n.input}, values, options)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// net is a loaded network with its input and outputs, which ONNX Runtime reads
// and writes in place.
type net struct {
	name    string
	session *onnx.AdvancedSession
	input   *onnx.Tensor[float32]
	outputs []*onnx.Tensor[float32]
	results [][]float32
}

func (n *net) Input() []float32 { return n.input.GetData() }

func (n *net) Forward() ([][]float32, error) {
	if n.session == nil {
		return nil, fmt.Errorf("ort: %s is closed: %w", n.name, vision.ErrModel)
	}
	if err := n.session.Run(); err != nil {
		return nil, fmt.Errorf("ort: %s: %w: %w", n.name, err, vision.ErrModel)
	}
	return n.results, nil
}

// Wipe overwrites the input and the outputs, which ONNX Runtime reads and writes in place.
func (n *net) Wipe() {
	if n.session == nil {
		return
	}
	n.input.ZeroContents()
	for _, t := range n.outputs {
		t.ZeroContents()
	}
}

// Close wipes what is left of a face and frees the network.
func (n *net) Close() error {
	var err error
	if n.session != nil {
		err = n.session.Destroy()
		n.session = nil
	}
	for _, t := range append(n.outputs, n.input) {
		if t == nil {
			continue
		}
		t.ZeroContents()
		if e := t.Destroy(); err == nil {
			err = e
		}
	}
	n.outputs = nil
	n.input = nil
	if err != nil {
		return fmt.Errorf("ort: %s: %w", n.name, err)
	}
	return nil
}
