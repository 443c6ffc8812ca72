//go:build cgo

package opencv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"github.com/faceprint/faceprint/vision"
)

// openSource opens a source with gocv.
func openSource(ctx context.Context, s source, c *CameraConfig) (grabber, error) {
	var v *gocv.VideoCapture
	var err error
	switch s.kind {
	case kindDevice:
		// OpenCV wants the number: a stable name is a link to it.
		path, err2 := filepath.EvalSymlinks(s.name)
		if err2 != nil {
			return nil, errors.Unwrap(err2) // "no such file": the name is in the message already
		}
		n, err2 := strconv.Atoi(strings.TrimPrefix(path, "/dev/video"))
		if err2 != nil {
			return nil, fmt.Errorf("%s is no video device", path)
		}
		v, err = gocv.VideoCaptureDeviceWithAPI(n, gocv.VideoCaptureV4L2)
	case kindPipeline:
		v, err = gocv.VideoCaptureFileWithAPI(s.name, gocv.VideoCaptureGstreamer)
	default:
		if s.kind == kindClip {
			if _, err := os.Stat(s.name); err != nil {
				return nil, err
			}
		}
		v, err = gocv.VideoCaptureFileWithAPI(s.name, gocv.VideoCaptureFFmpeg)
	}
	if err != nil || !v.IsOpened() {
		if v != nil {
			v.Close()
		}
		return nil, errors.New("cannot be opened")
	}
	if s.kind == kindDevice {
		v.Set(gocv.VideoCaptureBufferSize, 1)
		if c.Width > 0 && c.Height > 0 {
			if c.Width*c.Height > 640*480 {
				// Most USB cameras reach their larger sizes only compressed.
				v.Set(gocv.VideoCaptureFOURCC, v.ToCodec("MJPG"))
			}
			v.Set(gocv.VideoCaptureFrameWidth, float64(c.Width))
			v.Set(gocv.VideoCaptureFrameHeight, float64(c.Height))
		}
		if c.FPS > 0 {
			v.Set(gocv.VideoCaptureFPS, float64(c.FPS))
		}
	}
	if w, h := v.Get(gocv.VideoCaptureFrameWidth), v.Get(gocv.VideoCaptureFrameHeight); w > vision.MaxSide || h > vision.MaxSide {
		v.Close()
		return nil, fmt.Errorf("its pictures have %.0fx%.0f pixels, the longest side that is looked at is %d", w, h, vision.MaxSide)
	}
	g := &capture{v: v, mat: gocv.NewMat()}
	if s.kind == kindClip {
		g.clip = &pace{ctx: ctx, frame: time.Duration(float64(time.Second) / clipRate(v)), next: time.Now()}
	}
	return g, nil
}

// capture is a gocv.VideoCapture as a grabber.
type capture struct {
	v    *gocv.VideoCapture
	mat  gocv.Mat
	clip *pace // nil for a source that sets the pace itself
}

func (c *capture) grab() ([]byte, int, int, error) {
	if c.clip != nil {
		// What should have been seen already is skipped, undecoded where
		// possible: real time, as a camera.
		if late := c.clip.wait(); late > 0 {
			c.v.Grab(late)
		}
	}
	if !c.v.Read(&c.mat) || c.mat.Empty() {
		switch {
		case c.clip == nil:
			return nil, 0, 0, errors.New("the source ended")
		case c.clip.shown == 0:
			return nil, 0, 0, fmt.Errorf("nothing in it can be decoded: it is damaged, or its pictures have more than %d pixels a side", vision.MaxSide)
		}
		c.clip.shown = 0
		c.v.Set(gocv.VideoCapturePosFrames, 0)
		if !c.v.Read(&c.mat) || c.mat.Empty() {
			return nil, 0, 0, errors.New("the clip cannot be played again")
		}
	}
	if c.clip != nil {
		c.clip.shown++
	}
	if c.mat.Type() != gocv.MatTypeCV8UC3 {
		return nil, 0, 0, fmt.Errorf("frames are of type %v, not 8 bit BGR", c.mat.Type())
	}
	pix, err := c.mat.DataPtrUint8()
	return pix, c.mat.Cols(), c.mat.Rows(), err
}

func (c *capture) close() {
	if pix, err := c.mat.DataPtrUint8(); err == nil {
		clear(pix)
	}
	c.mat.Close()
	c.v.Close()
}
