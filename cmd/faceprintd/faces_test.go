package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/vision"
)

func TestTheEngineThatIsConfiguredRuns(t *testing.T) {
	models, _, ok := real()
	library := os.Getenv("FACEPRINT_ORT")
	if _, err := os.Stat(library); err != nil || !ok {
		t.Skip("needs cgo, the models and ONNX Runtime ('make test' fetches them)")
	}
	log := slog.New(slog.DiscardHandler)
	none := filepath.Join(t.TempDir(), "none.so")
	broken := filepath.Join(t.TempDir(), "broken.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ engine, library, want string }{
		{"auto", none, "OpenCV"},
		{"auto", broken, "OpenCV"},
		{"auto", library, "ONNX Runtime"},
		{"ort", library, "ONNX Runtime"},
		{"opencv", library, "OpenCV"},
		{"ort", none, ""},
	} {
		m, err := openModel(faceConfig{Models: models, Profile: vision.DefaultProfile, Engine: tt.engine, Library: tt.library}, log)
		switch {
		case tt.want == "" && (!errors.Is(err, vision.ErrNoEngine) || !strings.Contains(modelAdvice(err), "face.library")):
			t.Errorf("%s with %s: %v", tt.engine, tt.library, err)
		case tt.want != "" && err != nil:
			t.Errorf("%s with %s: %v", tt.engine, tt.library, err)
		case tt.want != "":
			if !strings.Contains(modelDetail(m), " on "+tt.want) {
				t.Errorf("%s with %s: %s", tt.engine, tt.library, modelDetail(m))
			}
			m.Close()
		}
	}
}

// A site's own profile is a file; one without a threshold table would
// recognise nobody and is said to.
func TestProfilesOfTheSite(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	own := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(own, []byte("nane = \"own\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"opencv-zoo": errUnmeasured, own: vision.ErrProfile, own + ".toml": vision.ErrProfile, "nobody": vision.ErrProfile,
	} {
		_, err := openModel(faceConfig{Models: t.TempDir(), Profile: name, Engine: "opencv"}, log)
		if !errors.Is(err, want) || modelAdvice(err) == "" {
			t.Errorf("%s: %v, advice %q", name, err, modelAdvice(err))
		}
	}
	if _, err := openModel(faceConfig{Profile: own}, log); err == nil || !strings.Contains(err.Error(), own+": vision: profile, line 1: unknown key") {
		t.Error(err)
	}
}
