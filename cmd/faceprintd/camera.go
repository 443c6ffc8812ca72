package main

import (
	"fmt"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/vision/opencv"
)

// cameraStatus puts the camera's own state into the words of the API. The
// camera looks after its source by itself: it is never a part that is opened
// again from here.
func cameraStatus(s opencv.State) client.Part {
	p := client.Part{Name: "camera", State: "ok", Detail: s.Source}
	if s.Width > 0 {
		p.Detail = fmt.Sprintf("%s, %dx%d", s.Source, s.Width, s.Height)
	}
	if !s.At.IsZero() {
		at := s.At.UTC()
		p.Since = &at
	}
	switch s.Condition {
	case opencv.Live:
		return p
	case opencv.Opening:
		p.State, p.Detail = "missing", s.Source+": being opened"
		return p
	}
	p.State = "missing"
	if s.Err != nil {
		p.Detail = s.Err.Error()
	}
	p.Advice = "check its cable and camera.source; 'v4l2-ctl --list-devices' lists USB cameras, a Pi's own camera is source \"libcamera\""
	return p
}
