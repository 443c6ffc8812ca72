package opencv

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/faceprint/faceprint/vision"
)

// joinedOutput is the name of the output that join adds.
const joinedOutput = "faceprint_joined"

// join returns the ONNX model with one more output that holds the named ones
// flattened, one after the other. gocv's Forward runs the network once for
// every output that is asked for, and its ForwardLayers leaks the names; one
// joined output costs a copy of a few microseconds.
//
// A protobuf message that is followed by more of itself is merged, so the
// nodes are appended and the file is not taken apart (onnx.proto3: ModelProto
// 7 graph; GraphProto 1 node, 12 output; NodeProto 1 input, 2 output, 3 name,
// 4 op_type, 5 attribute; AttributeProto 1 name, 3 i, 20 type; ValueInfoProto
// 1 name, 2 type; TypeProto 1 tensor_type; Tensor 1 elem_type, 2 shape;
// TensorShapeProto 1 dim; Dimension 1 dim_value).
func join(onnx []byte, outputs []vision.Output) []byte {
	var graph []byte
	var flat []string
	size := 0
	for i, o := range outputs {
		flat = append(flat, fmt.Sprintf("faceprint_flat_%d", i))
		graph = appendMessage(graph, 1, node("Flatten", []string{o.Name}, flat[i]))
		size += o.Len
	}
	graph = appendMessage(graph, 1, node("Concat", flat, joinedOutput))
	graph = appendMessage(graph, 12, valueInfo(joinedOutput, 1, size))
	return appendMessage(onnx[:len(onnx):len(onnx)], 7, graph)
}

// node is a NodeProto of an operator along axis 1.
func node(operator string, inputs []string, output string) []byte {
	axis := appendText(nil, 1, "axis")
	axis = appendNumber(axis, 3, 1)
	axis = appendNumber(axis, 20, 2) // INT
	var n []byte
	for _, in := range inputs {
		n = appendText(n, 1, in)
	}
	n = appendText(n, 2, output)
	n = appendText(n, 3, output)
	n = appendText(n, 4, operator)
	return appendMessage(n, 5, axis)
}

// valueInfo is a ValueInfoProto of floats.
func valueInfo(name string, dims ...int) []byte {
	var shape []byte
	for _, d := range dims {
		shape = appendMessage(shape, 1, appendNumber(nil, 1, uint64(d)))
	}
	tensor := appendMessage(appendNumber(nil, 1, 1), 2, shape) // FLOAT
	return appendMessage(appendText(nil, 1, name), 2, appendMessage(nil, 1, tensor))
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}
