//go:build cgo

package opencv

import (
	"errors"
	"fmt"

	"gocv.io/x/gocv"

	"github.com/faceprint/faceprint/vision"
)

// NewEngine returns OpenCV's dnn engine. gocv lets OpenCV's exceptions end the
// process, so a network is loaded only when vision.OpenModel has compared its
// sha256 and its shapes with the profile.
func NewEngine() vision.Engine { return engine{} }

type engine struct{}

func (engine) Name() string { return "OpenCV dnn " + gocv.OpenCVVersion() }

func (engine) Load(s vision.NetSpec, onnx []byte) (vision.Net, error) {
	if len(onnx) == 0 || len(s.Outputs) == 0 {
		return nil, fmt.Errorf("opencv: %s is empty, or nothing is read from it: %w", s.Name, vision.ErrModel)
	}
	n := &net{spec: s, output: s.Outputs[0].Name, results: make([][]float32, len(s.Outputs))}
	if len(s.Outputs) > 1 {
		onnx, n.output = join(onnx, s.Outputs), joinedOutput
	}
	var err error
	if n.net, err = gocv.ReadNetFromONNXBytes(onnx); err != nil {
		return nil, fmt.Errorf("opencv: %s: %w: %w", s.Name, err, vision.ErrModel)
	}
	if n.net.Empty() {
		return nil, fmt.Errorf("opencv: %s has no layers: %w", s.Name, vision.ErrModel)
	}
	n.blob = gocv.NewMatWithSizes(s.Shape[:], gocv.MatTypeCV32F)
	n.result = gocv.NewMat()
	if n.input, err = n.blob.DataPtrFloat32(); err != nil {
		return nil, errors.Join(fmt.Errorf("opencv: %s: %w: %w", s.Name, err, vision.ErrModel), n.Close())
	}
	return n, nil
}

// net is a loaded network. The blob that feeds it is made once; OpenCV copies
// it. The result is kept until the next run, since what is handed out is part
// of it.
type net struct {
	spec    vision.NetSpec
	net     gocv.Net
	output  string // the one that is asked for
	blob    gocv.Mat
	input   []float32 // of the blob
	result  gocv.Mat
	results [][]float32
	closed  bool
}

func (n *net) Input() []float32 { return n.input }

func (n *net) Forward() ([][]float32, error) {
	if n.closed {
		return nil, fmt.Errorf("opencv: %s is closed: %w", n.spec.Name, vision.ErrModel)
	}
	n.net.SetInput(n.blob, n.spec.Input)
	if err := n.result.Close(); err != nil {
		return nil, fmt.Errorf("opencv: %s: %w", n.spec.Name, err)
	}
	n.result = n.net.Forward(n.output)
	all, err := n.result.DataPtrFloat32()
	if err != nil {
		return nil, fmt.Errorf("opencv: %s: %w: %w", n.spec.Name, err, vision.ErrModel)
	}
	for i, o := range n.spec.Outputs {
		if len(all) < o.Len {
			return nil, fmt.Errorf("opencv: %s: output %q is too short: %w", n.spec.Name, o.Name, vision.ErrModel)
		}
		n.results[i], all = all[:o.Len:o.Len], all[o.Len:]
	}
	if len(all) != 0 {
		return nil, fmt.Errorf("opencv: %s gave %d numbers more than expected: %w", n.spec.Name, len(all), vision.ErrModel)
	}
	return n.results, nil
}

// Wipe overwrites the input, OpenCV's copy of it, and the result, which is no copy
// but the last layer's own.
func (n *net) Wipe() {
	if n.closed {
		return
	}
	clear(n.input)
	n.net.SetInput(n.blob, n.spec.Input)
	if v, err := n.result.DataPtrFloat32(); err == nil {
		clear(v)
	}
}

// Close wipes what is left of a face and frees the network.
func (n *net) Close() error {
	if n.closed {
		return nil
	}
	n.Wipe()
	n.closed, n.input = true, nil
	for _, m := range []*gocv.Mat{&n.blob, &n.result} {
		if err := m.Close(); err != nil {
			return fmt.Errorf("opencv: %s: %w", n.spec.Name, err)
		}
	}
	if err := n.net.Close(); err != nil {
		return fmt.Errorf("opencv: %s: %w", n.spec.Name, err)
	}
	return nil
}
