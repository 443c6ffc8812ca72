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
	Name  string
	Len   int     // numbers
	Shape []int64 // as the file says it, an open dimension as 1
}

// Net is a loaded network. It is used by one goroutine at a time.
type Net interface {
	// Input is what Forward reads: as many numbers as the spec's shape. It is
	// written in place and gone with Close.
	Input() []float32
	// Forward runs the network. The outputs are valid until the next call.
	Forward() ([][]float32, error)
	// Wipe overwrites what Input and the last Forward returned, and the engine's
	// own copies of them. What the layers between them computed may stay until the
	// next Forward.
	Wipe()
	Close() error
}
