package main

import (
	"fmt"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// cameraStatus puts the camera's own state into the words of the API. The
// camera looks after its source by itself: it is never a part that is opened
// again from here.
func cameraStatus(s opencv.State) client.Part {
	p := client.Part{Name: "camera", State: "ok", Detail: s.Source}
	if s.Width > 0 {
		p.Detail = fmt.Sprintf("%s, %dx%d", s.Source, s.Width, s.Height)
		p.Numbers = map[string]float64{"width": float64(s.Width), "height": float64(s.Height)}
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

// checkCameraSize tells how far away faces are large enough in the pictures that
// the camera gives, which need not be those that it was asked for.
func checkCameraSize(add addCheck, c cameraConfig, parts []client.Part) {
	for _, p := range parts {
		side := int(max(p.Numbers["width"], p.Numbers["height"])) // across, before it is rotated
		if p.Name != "camera" || p.State != "ok" || side == 0 || c.Reach == 0 || isFile(c.Source) {
			continue
		}
		far := vision.Reach(side)
		detail := fmt.Sprintf("%.0fx%.0f: faces are large enough up to %.1f m, before a lens that sees 70 degrees across", p.Numbers["width"], p.Numbers["height"], far)
		if far+0.01 >= c.Reach {
			add("camera size", "ok", detail, "")
			continue
		}
		add("camera size", "warn", fmt.Sprintf("%s, not the %g m of camera.reach", detail, c.Reach),
			"'v4l2-ctl --list-formats-ext' lists the sizes that it has, for camera.width and camera.height; 'faceprint selftest --camera' measures with the chart how large a face is")
	}
}
