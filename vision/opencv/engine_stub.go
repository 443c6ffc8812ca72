//go:build !cgo

package opencv

import "github.com/faceprint/faceprint/vision"

// NewEngine returns nil: this program was built without cgo, and
// vision.OpenModel says so.
func NewEngine() vision.Engine { return nil }
