//go:build !cgo

package opencv

import (
	"context"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// ReadClip fails: this program was built without cgo.
func ReadClip(context.Context, string, time.Time, func(*vision.Frame) error) error {
	return fmt.Errorf("opencv: this program was built without cgo: %w", ErrSource)
}
