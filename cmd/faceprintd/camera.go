package main

import (
	"errors"
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

// faces is a face model that may be missing at the moment.
type faces struct{ part *part[*vision.Model] }

func (f faces) Detect(frame *vision.Frame) ([]vision.Face, error) {
	m, _, err := f.part.get()
	if err != nil {
		return nil, err
	}
	return m.Detect(frame)
}

func (f faces) Describe(frame *vision.Frame, face *vision.Face) error {
	m, _, err := f.part.get()
	if err != nil {
		return err
	}
	return m.Describe(frame, face)
}

// Profile of a model that is missing has no table and matches nothing.
func (f faces) Profile() vision.Profile {
	m, _, err := f.part.get()
	if err != nil {
		return vision.Profile{}
	}
	return m.Profile()
}

func modelDetail(m *vision.Model) string { return m.Profile().Name + " on " + m.Engine() }

func modelAdvice(err error) string {
	switch {
	case errors.Is(err, vision.ErrNoEngine):
		return "build faceprintd with cgo and libopencv-dev ('make build')"
	case errors.Is(err, vision.ErrModel):
		return "run 'make fetch' to get the files again, or set face.models to their folder"
	}
	return "set face.models to the folder of the model files"
}
