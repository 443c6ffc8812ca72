//go:build cgo

package opencv

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"gocv.io/x/gocv"

	"github.com/faceprint/faceprint/vision"
)

// ReadClip hands out every frame of a file, in order and as fast as they are
// taken. Their times are those of the recording, counted from start.
func ReadClip(ctx context.Context, file string, start time.Time, each func(*vision.Frame) error) error {
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("opencv: %w: %w", err, ErrSource)
	}
	v, err := gocv.VideoCaptureFileWithAPI(file, gocv.VideoCaptureFFmpeg)
	if err != nil {
		return fmt.Errorf("opencv: %s: %w: %w", file, err, ErrSource)
	}
	defer v.Close()
	fps := clipRate(v)
	c := &capture{v: v, mat: gocv.NewMat()}
	defer c.mat.Close()
	for n := uint64(0); ctx.Err() == nil; n++ {
		pix, w, h, err := c.grab()
		if err != nil && n > 0 {
			return nil // the end
		}
		if err != nil {
			return fmt.Errorf("opencv: %s: %w: %w", file, err, ErrSource)
		}
		f := &vision.Frame{Pix: slices.Clone(pix), Width: w, Height: h, Seq: n + 1, At: start.Add(time.Duration(float64(n) / fps * float64(time.Second)))}
		err = each(f)
		f.Wipe()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// clipRate is the frames a second of a file; some say nonsense.
func clipRate(v *gocv.VideoCapture) float64 {
	if fps := v.Get(gocv.VideoCaptureFPS); fps >= 1 && fps <= 240 {
		return fps
	}
	return 25
}
