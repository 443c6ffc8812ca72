//go:build cgo

package opencv

/*
#cgo pkg-config: opencv4
#cgo CXXFLAGS: -std=c++11 -O2
#include <stdlib.h>
#include "dnn.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"gocv.io/x/gocv"

	"github.com/faceprint/faceprint/vision"
)

// NewEngine returns the dnn engine on one thread. Two threads gain at most
// 1.4 times for twice the processor time, so the other cores are left to the
// rest of the program.
func NewEngine() vision.Engine {
	C.fp_threads(1)
	return engine{}
}

type engine struct{}

func (engine) Name() string { return "OpenCV dnn " + gocv.OpenCVVersion() }

func (engine) Load(s vision.NetSpec, onnx []byte) (vision.Net, error) {
	if len(onnx) == 0 {
		return nil, fmt.Errorf("opencv: %s is empty: %w", s.Name, vision.ErrModel)
	}
	input := C.CString(s.Input)
	defer C.free(unsafe.Pointer(input))
	var msg [512]C.char
	p := C.fp_net_load((*C.char)(unsafe.Pointer(&onnx[0])), C.size_t(len(onnx)), input, &msg[0], C.size_t(len(msg)))
	if p == nil {
		return nil, fmt.Errorf("opencv: %s: %s: %w", s.Name, oneLine(&msg[0]), vision.ErrModel)
	}
	n := &net{p: p, results: make([][]float32, len(s.Outputs))}
	for i, d := range s.Shape {
		n.shape[i] = C.int(d)
		if i == 0 {
			n.inputs = 1
		}
		n.inputs *= d
	}
	for _, o := range s.Outputs {
		name := C.CString(o.Name)
		C.fp_net_output(p, name)
		C.free(unsafe.Pointer(name))
	}
	return n, nil
}

type net struct {
	p       *C.fp_net
	shape   [4]C.int
	inputs  int
	results [][]float32
}

func (n *net) Forward(input []float32) ([][]float32, error) {
	if n.p == nil || len(input) != n.inputs {
		return nil, fmt.Errorf("opencv: %d numbers for a net that takes %d: %w", len(input), n.inputs, vision.ErrModel)
	}
	var msg [512]C.char
	if C.fp_net_forward(n.p, &n.shape[0], (*C.float)(unsafe.Pointer(&input[0])), &msg[0], C.size_t(len(msg))) == 0 {
		return nil, fmt.Errorf("opencv: %s: %w", oneLine(&msg[0]), vision.ErrModel)
	}
	for i := range n.results {
		var size C.size_t
		p := C.fp_net_result(n.p, C.int(i), &size)
		n.results[i] = unsafe.Slice((*float32)(unsafe.Pointer(p)), int(size))
	}
	return n.results, nil
}

func (n *net) Close() error {
	if n.p != nil {
		C.fp_net_free(n.p)
		n.p = nil
	}
	return nil
}

// oneLine makes OpenCV's message, which spans several lines, fit a log.
func oneLine(msg *C.char) string {
	return strings.Join(strings.Fields(C.GoString(msg)), " ")
}
