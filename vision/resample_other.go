//go:build !amd64 && !arm64

package vision

// vectors is empty: all is done in plain Go.
type vectors struct{}

func (*vectors) wipe() {}

func (f *feeder) resizeInVectors(picture, []tap, int) (done int) { return 0 }

func (f *feeder) warpInVectors(_ picture, _, _, _, _ int, _, _, _ []float32) (done int) { return 0 }

func (f *feeder) reduceInVectors(_, _ picture, _, _ int) bool { return false }
