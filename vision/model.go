package vision

import "fmt"

// Engine runs neural networks. vision/opencv and vision/ort implement it; all
// that surrounds a network (crop, resize, align, decode) is in this package,
// so that engines can be exchanged.
type Engine interface {
	// Name of the engine and its version, for status.
	Name() string
	// Load takes a network whose file was already checked against the
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

// Profile is a set of models with all that is needed to use it: files, their
// sha256, the recipe of every input and the threshold table.
type Profile struct {
	Name  string `toml:"name"`
	Table Table  `toml:"table"`
}

// Model is a profile's networks, loaded. Its methods may be called from
// several goroutines, which take turns.
type Model struct {
	profile Profile
}

// OpenModel checks the profile's files in dir and loads them into the engine.
// A file that is missing, of another size or another sha256 is refused before
// the engine sees it.
func OpenModel(engine Engine, p Profile, dir string) (*Model, error) {
	return nil, fmt.Errorf("vision: %w", ErrNoEngine)
}

// Profile that the model was opened with.
func (m *Model) Profile() Profile { return m.profile }

// Close frees the networks.
func (m *Model) Close() error { return nil }

// Detect finds the faces of a frame: boxes, points, quality; the largest and
// most central first. No face is an empty list, not an error.
func (m *Model) Detect(f *Frame) ([]Face, error) {
	return nil, fmt.Errorf("vision: %w", ErrNoEngine)
}

// Describe fills the Embedding and Live of a face that Detect found in f.
func (m *Model) Describe(f *Frame, face *Face) error {
	return fmt.Errorf("vision: %w", ErrNoEngine)
}
