package vision

// Engine runs neural networks. vision/opencv and vision/ort implement it; all
// that surrounds a network (crop, resize, align, decode) is in this package,
// so that engines can be exchanged.
type Engine interface {
	// Name of the engine and its version, for status.
	Name() string
	// Load takes a network whose bytes were already checked against the
	// profile.
	Load(s NetSpec, onnx []byte) (Net, error)
}

// NetSpec is what an engine must know to load a network.
type NetSpec struct {
	Name    string   // file name, for messages
	Input   string   // name of the one input
	Shape   [4]int   // of the input: batch, channels, height, width
	Outputs []Output // in the order in which Forward returns them
}

// Output is one output of a network.
type Output struct {
	Name string
	Len  int // numbers
}

// Net is a loaded network. It is used by one goroutine at a time.
type Net interface {
	// Forward runs the network. The input has as many numbers as the spec's
	// shape. The outputs are valid until the next call.
	Forward(input []float32) ([][]float32, error)
	Close() error
}
