package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
	"github.com/faceprint/faceprint/vision/ort"
)

// errUnmeasured: a profile without a threshold table would recognise nobody.
var errUnmeasured = errors.New("it has no threshold table")

// openModel loads the model set that the configuration names into the engine
// that it names.
func openModel(c faceConfig, log *slog.Logger) (*vision.Model, error) {
	p, err := readProfile(c.Profile)
	if err != nil {
		return nil, err
	}
	if !p.Measured() {
		return nil, fmt.Errorf("face profile %s: %w", c.Profile, errUnmeasured)
	}
	engine, err := openEngine(c, log)
	if err != nil {
		return nil, err
	}
	return vision.OpenModel(engine, p, c.Models)
}

func readProfile(name string) (vision.Profile, error) {
	if !isProfileFile(name) {
		return vision.BuiltIn(name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return vision.Profile{}, fmt.Errorf("face profile: %w: %w", err, vision.ErrProfile)
	}
	p, err := vision.ParseProfile(b)
	if err != nil {
		return vision.Profile{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// openEngine prefers ONNX Runtime where the choice is left to it.
func openEngine(c faceConfig, log *slog.Logger) (vision.Engine, error) {
	switch c.Engine {
	case "ort":
		return ort.Open(c.Library)
	case "auto":
		if _, err := os.Stat(c.Library); errors.Is(err, fs.ErrNotExist) {
			break
		}
		e, err := ort.Open(c.Library)
		if err == nil {
			return e, nil
		}
		log.Warn("ONNX Runtime cannot be used, OpenCV runs the networks", "err", err)
	}
	return opencv.NewEngine(), nil
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

func (f faces) Track(frame *vision.Frame, face *vision.Face) (bool, error) {
	m, _, err := f.part.get()
	if err != nil {
		return false, err
	}
	return m.Track(frame, face)
}

func (f faces) Describe(frame *vision.Frame, face *vision.Face) error {
	m, _, err := f.part.get()
	if err != nil {
		return err
	}
	return m.Describe(frame, face)
}

func (f faces) Profile() (vision.Profile, error) {
	m, _, err := f.part.get()
	if err != nil {
		return vision.Profile{}, err
	}
	return m.Profile(), nil
}

func modelDetail(m *vision.Model) string { return m.Profile().Name + " on " + m.Engine() }

func modelAdvice(err error) string {
	switch {
	case errors.Is(err, vision.ErrNoEngine):
		return "build faceprintd with cgo and libopencv-dev ('make build'); for ONNX Runtime, 'make fetch' brings the file that face.library names"
	case errors.Is(err, errUnmeasured):
		return "measure the table with 'faceprint-eval face --profile FILE.toml --table' and append it to the file"
	case errors.Is(err, vision.ErrProfile):
		return "set face.profile to a built-in profile or to a sound file"
	case errors.Is(err, vision.ErrModel):
		return "run 'make fetch' to get the files again, or set face.models to their folder"
	}
	return "set face.models to the folder of the model files"
}
