package vision

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// tensor is the name and shape of an input or output of a network; a
// dimension that the file leaves open is -1.
type tensor struct {
	name string
	dims []int64
}

// signature reads the inputs and outputs of an ONNX file (protobuf, onnx.proto3
// of ONNX IR 3 to 10). Engines abort the process on a network that does not
// fit, so the shape is looked at before they see the file.
func signature(model []byte) (inputs, outputs []tensor, err error) {
	graph, err := field(model, 7) // ModelProto.graph
	if err != nil {
		return nil, nil, err
	}
	if graph == nil {
		return nil, nil, fmt.Errorf("vision: not an ONNX file, it has no graph: %w", ErrModel)
	}
	weights := map[string]bool{} // old exporters list weights among the inputs
	err = fields(graph, func(n int, v []byte) error {
		switch n {
		case 5: // GraphProto.initializer
			name, err := field(v, 8) // TensorProto.name
			weights[string(name)] = true
			return err
		case 11, 12: // GraphProto.input, output
			t, err := valueInfo(v)
			if err != nil {
				return err
			}
			if n == 11 {
				inputs = append(inputs, t)
			} else {
				outputs = append(outputs, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	kept := inputs[:0]
	for _, t := range inputs {
		if !weights[t.name] {
			kept = append(kept, t)
		}
	}
	return kept, outputs, nil
}

func valueInfo(b []byte) (tensor, error) {
	name, err := field(b, 1)
	if err != nil {
		return tensor{}, err
	}
	t := tensor{name: strings.ToValidUTF8(string(name), "?")}
	for _, n := range []int{2, 1, 2} { // ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
		if b, err = field(b, n); err != nil {
			return tensor{}, err
		}
	}
	err = fields(b, func(n int, v []byte) error {
		if n != 1 { // TensorShapeProto.dim
			return nil
		}
		if len(t.dims) == 8 {
			return fmt.Errorf("vision: ONNX: %q has more than 8 dimensions: %w", t.name, ErrModel)
		}
		d := int64(-1)
		if len(v) > 0 && v[0] == 1<<3 { // Dimension.dim_value
			x, k := protowire.ConsumeVarint(v[1:])
			if k < 0 || x > 1<<31 {
				return fmt.Errorf("vision: ONNX: %q has a broken dimension: %w", t.name, ErrModel)
			}
			d = int64(x)
		}
		t.dims = append(t.dims, d)
		return nil
	})
	return t, err
}

// field is the last length-delimited field n of a protobuf message, nil if
// there is none.
func field(b []byte, n int) (value []byte, err error) {
	err = fields(b, func(k int, v []byte) error {
		if k == n {
			value = v
		}
		return nil
	})
	return value, err
}

// fields walks over the length-delimited fields of a protobuf message.
func fields(b []byte, each func(n int, v []byte) error) error {
	broken := fmt.Errorf("vision: not an ONNX file, or a truncated one: %w", ErrModel)
	for len(b) > 0 {
		n, kind, k := protowire.ConsumeTag(b)
		if k < 0 {
			return broken
		}
		b = b[k:]
		if kind != protowire.BytesType {
			if k = protowire.ConsumeFieldValue(n, kind, b); k < 0 {
				return broken
			}
			b = b[k:]
			continue
		}
		v, k := protowire.ConsumeBytes(b)
		if k < 0 {
			return broken
		}
		b = b[k:]
		if err := each(int(n), v); err != nil {
			return err
		}
	}
	return nil
}
