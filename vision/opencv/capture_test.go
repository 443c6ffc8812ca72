//go:build cgo

package opencv

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocv.io/x/gocv"
)

// clip writes a clip of n frames, frame i a shade of 20*i.
func clip(t *testing.T, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clip.avi")
	w, err := gocv.VideoWriterFile(name, "MJPG", 50, 64, 48, true)
	if err != nil {
		t.Fatal(err)
	}
	mat := gocv.NewMatWithSize(48, 64, gocv.MatTypeCV8UC3)
	defer mat.Close()
	for i := range n {
		shade := uint8(20 * i)
		gocv.Rectangle(&mat, image.Rect(0, 0, 64, 48), color.RGBA{shade, shade, shade, 0}, -1)
		if err := w.Write(mat); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAClipIsPlayedAgainAndAgain(t *testing.T) {
	cam, err := OpenCamera(t.Context(), CameraConfig{Source: clip(t, 8), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	last, turns := -1, 0
	for turns < 2 {
		f, err := cam.Frame(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Width != 64 || f.Height != 48 || f.Check() != nil {
			t.Fatalf("frame of %dx%d", f.Width, f.Height)
		}
		n := (int(f.Pix[0]) + 10) / 20
		if n < last {
			turns++
		}
		last = n
	}
	if s := cam.State(); s.Condition != Live || s.Reopened != 0 {
		t.Errorf("state %+v: the clip's end is not a loss", s)
	}
}

func TestWhatIsNoClipIsALostSource(t *testing.T) {
	name := filepath.Join(t.TempDir(), "text.mp4")
	if err := os.WriteFile(name, []byte("this is no film"), 0o600); err != nil {
		t.Fatal(err)
	}
	cam, err := OpenCamera(t.Context(), CameraConfig{Source: name, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	if _, err := cam.Frame(t.Context()); !errors.Is(err, ErrSource) {
		t.Errorf("got %v", err)
	}
	if s := cam.State(); s.Condition != Lost {
		t.Errorf("state %v", s.Condition)
	}
}

func TestPicturesThatAreTooLargeAreNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "large.png")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 20000, 64))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := openSource(t.Context(), source{kindClip, name}, &CameraConfig{})
	if err == nil {
		g.close()
	}
	if err == nil || !strings.Contains(err.Error(), "20000x64 pixels") {
		t.Errorf("got %v", err)
	}
}

func TestADeviceThatIsNotThereIsALostSource(t *testing.T) {
	cam, err := OpenCamera(t.Context(), CameraConfig{Source: "/dev/v4l/by-id/none", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	if _, err := cam.Frame(t.Context()); !errors.Is(err, ErrSource) {
		t.Errorf("got %v", err)
	}
}

// A real V4L2 device, end to end: one that FACEPRINT_CAMERA names, such as a
// camera that is plugged in, or the kernel's own, which TestVivid emulates. Where
// there is none, as in CI, V4L2 was not tried.
func TestARealCamera(t *testing.T) {
	name := os.Getenv("FACEPRINT_CAMERA")
	if name == "" {
		t.Skip("FACEPRINT_CAMERA names no device: V4L2 is not tried here, 'make vivid' does without a camera")
	}
	cam, err := OpenCamera(t.Context(), CameraConfig{Source: name, Width: 640, Height: 480, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	var last uint64
	for range 30 {
		f, err := cam.Frame(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Check() != nil || f.Seq <= last || f.At.IsZero() {
			t.Fatalf("frame %d after %d, %dx%d: %v", f.Seq, last, f.Width, f.Height, f.Check())
		}
		if slices.Min(f.Pix) == slices.Max(f.Pix) {
			t.Errorf("frame %d shows nothing: every value is %d", f.Seq, f.Pix[0])
		}
		last = f.Seq
		f.Wipe()
	}
	if s := cam.State(); s.Condition != Live || s.Reopened != 0 {
		t.Errorf("%+v", s)
	}
}
