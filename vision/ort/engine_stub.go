//go:build !cgo

package ort

import (
	"fmt"

	"github.com/faceprint/faceprint/vision"
)

// Open fails: this program was built without cgo.
func Open(string) (vision.Engine, error) {
	return nil, fmt.Errorf("ort: this program was built without cgo: %w", vision.ErrNoEngine)
}
