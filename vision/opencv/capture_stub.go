//go:build !cgo

package opencv

import (
	"context"
	"errors"
)

func openSource(context.Context, source, *CameraConfig) (grabber, error) {
	return nil, errors.New("this program was built without cgo and cannot open a camera")
}
