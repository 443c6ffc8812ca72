package opencv

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// script is a source made of steps, one per grab.
type script struct {
	ctx   context.Context
	steps []step
}

// step of a script: wait, then give a 2x1 frame of this shade, or fail.
type step struct {
	wait  time.Duration
	shade byte
	err   error
}

func (s *script) grab() ([]byte, int, int, error) {
	if len(s.steps) == 0 {
		<-s.ctx.Done() // silent for ever
		return nil, 0, 0, s.ctx.Err()
	}
	next := s.steps[0]
	s.steps = s.steps[1:]
	select {
	case <-time.After(next.wait):
	case <-s.ctx.Done():
		return nil, 0, 0, s.ctx.Err()
	}
	return []byte{next.shade, next.shade, next.shade, 200, 200, 200}, 2, 1, next.err
}

func (s *script) close() {}

// scripted opens one script after the other; after the last one there is
// nothing to open.
func scripted(opened *int, scripts ...[]step) opener {
	return func(ctx context.Context, _ source, _ *CameraConfig) (grabber, error) {
		*opened++
		if *opened > len(scripts) {
			return nil, errors.New("unplugged")
		}
		return &script{ctx, scripts[*opened-1]}, nil
	}
}

func config(open opener) CameraConfig {
	return CameraConfig{Source: "0", open: open, Log: slog.New(slog.DiscardHandler)}
}

func mustOpen(t *testing.T, c CameraConfig) *Camera {
	t.Helper()
	cam, err := OpenCamera(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cam.Close(); err != nil {
			t.Error(err)
		}
	})
	return cam
}

func TestConfigsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, c := range map[string]CameraConfig{
		"no source":       {},
		"missing file":    {Source: filepath.Join(t.TempDir(), "none.mp4")},
		"a folder":        {Source: t.TempDir()},
		"unknown scheme":  {Source: "ftp://host/clip"},
		"no appsink":      {Source: "videotestsrc ! fakesink"},
		"odd rotation":    {Source: "0", Rotate: 45},
		"negative size":   {Source: "0", Width: -1},
		"too large":       {Source: "0", Width: 1 << 20, Height: 1},
		"too many frames": {Source: "0", FPS: 1 << 20},
		"too far":         {Source: "0", Reach: 20},
		"behind it":       {Source: "0", Reach: -1},
	} {
		cam, err := OpenCamera(t.Context(), c)
		if cam != nil || !errors.Is(err, ErrSource) {
			t.Errorf("%s: camera %v, error %v", name, cam, err)
		}
	}
}

// The size that is asked of a device follows from how far away faces may be, unless
// it is named.
func TestTheSizeFollowsFromTheReach(t *testing.T) {
	for _, c := range []struct {
		config CameraConfig
		width  int
	}{
		{CameraConfig{}, 0},
		{CameraConfig{Reach: 1}, 640},
		{CameraConfig{Reach: 1.8}, 1280},
		{CameraConfig{Reach: 1.8, Width: 320, Height: 240}, 320},
	} {
		asked := make(chan int, 1)
		c.config.Source, c.config.Log = "0", slog.New(slog.DiscardHandler)
		c.config.open = func(_ context.Context, _ source, c *CameraConfig) (grabber, error) {
			select {
			case asked <- c.Width:
			default:
			}
			return nil, errors.New("unplugged")
		}
		mustOpen(t, c.config)
		if got := <-asked; got != c.width {
			t.Errorf("reach %g: asked for a width of %d, want %d", c.config.Reach, got, c.width)
		}
	}
}

func TestSources(t *testing.T) {
	clip := filepath.Join(t.TempDir(), "clip")
	if err := os.WriteFile(clip, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]source{
		"0":                       {kindDevice, "/dev/video0"},
		"/dev/v4l/by-id/usb-Cam":  {kindDevice, "/dev/v4l/by-id/usb-Cam"},
		"rtsp://me:secret@host/a": {kindURL, "rtsp://me:secret@host/a"},
		"a ! appsink":             {kindPipeline, "a ! appsink"},
		clip:                      {kindClip, clip},
	} {
		got, err := parseSource(in, 640, 480, 30)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
		if strings.Contains(got.shown(), "secret") {
			t.Errorf("%q is shown with its password", in)
		}
	}
	got, err := parseSource("libcamera:/base/i2c@1/imx708", 640, 480, 30)
	if err != nil || got.kind != kindPipeline || !strings.Contains(got.name, `camera-name="/base/i2c@1/imx708" ! video/x-raw,width=640,height=480,framerate=30/1`) {
		t.Errorf("libcamera: %v, %v", got, err)
	}
}

func TestFrameIsAlwaysTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, []step{{shade: 1}, {shade: 2}, {shade: 3}, {wait: time.Second, shade: 4}})))
		synctest.Wait() // three frames came, nobody looked
		f, err := cam.Frame(t.Context())
		if err != nil || f.Pix[0] != 3 || f.Seq != 3 {
			t.Fatalf("got %+v, %v, want the third frame", f, err)
		}
		f, err = cam.Frame(t.Context()) // waits: never the same twice
		if err != nil || f.Pix[0] != 4 || f.Seq != 4 {
			t.Fatalf("got %+v, %v, want the fourth frame", f, err)
		}
		if s := cam.State(); s.Condition != Live || s.Frames != 4 || s.Width != 2 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestAnOnlookerTakesNoFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		c := config(scripted(&opened, []step{{shade: 1}, {wait: time.Second, shade: 2}}))
		c.Patience = time.Minute
		cam := mustOpen(t, c)
		synctest.Wait()
		seen, err := cam.Next(t.Context(), 0)
		if err != nil || seen.Pix[0] != 1 {
			t.Fatalf("the onlooker got %v, %v", seen, err)
		}
		if f, err := cam.Frame(t.Context()); err != nil || f.Seq != seen.Seq {
			t.Fatalf("after the onlooker Frame gave %v, %v", f, err)
		}
		if next, err := cam.Next(t.Context(), seen.Seq); err != nil || next.Pix[0] != 2 {
			t.Fatalf("the onlooker's next is %v, %v", next, err)
		}
	})
}

// Before who is slower than the camera there is always a frame, and their time ends.
func TestNoFrameIsGivenWhenTheTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, slices.Repeat([]step{{wait: 33 * time.Millisecond}}, 300))))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began, looked := time.Now(), 0
		for {
			if _, err := cam.Frame(ctx); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				break
			}
			looked++
			time.Sleep(400 * time.Millisecond) // of the virtual clock: a slow device
		}
		if took := time.Since(began); looked != 8 || took > 4*time.Second {
			t.Errorf("%d frames in %v", looked, took)
		}
	})
}

func TestFrameEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, nil)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := cam.Frame(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if s := cam.State(); s.Condition != Opening {
			t.Errorf("state %v", s.Condition)
		}
	})
}

func TestSilenceIsAStateAndNotAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, []step{{shade: 1}, {wait: time.Minute, shade: 2}})))
		if _, err := cam.Frame(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := cam.Frame(t.Context())
		if !errors.Is(err, ErrSource) || !errors.Is(err, vision.ErrSilent) || time.Since(start) != defaultPatience {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if s := cam.State(); s.Condition != Silent || s.Err == nil {
			t.Fatalf("state %+v", s)
		}
		time.Sleep(time.Minute - defaultPatience) // virtual: the source comes back by itself
		synctest.Wait()
		if f, err := cam.Frame(t.Context()); err != nil || f.Pix[0] != 2 {
			t.Errorf("after the silence: %v, %v", f, err)
		}
	})
}

func TestALostSourceIsOpenedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened,
			[]step{{shade: 1}, {wait: time.Second, err: errors.New("pulled")}},
			[]step{{err: errors.New("pulled")}},
			[]step{{shade: 2}, {wait: 24 * time.Hour}})))
		if f, err := cam.Frame(t.Context()); err != nil || f.Pix[0] != 1 {
			t.Fatalf("got %v, %v", f, err)
		}
		time.Sleep(time.Second) // virtual
		synctest.Wait()
		if s := cam.State(); s.Condition != Lost {
			t.Fatalf("state %v", s.Condition)
		}
		short, cancel := context.WithTimeout(t.Context(), firstBackoff/2)
		defer cancel()
		if _, err := cam.Frame(short); !errors.Is(err, ErrSource) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pulled") {
			t.Fatalf("got %v, want why the source was lost", err)
		}
		start := time.Now() // whoever can wait gets the frame that comes when it is back
		if f, err := cam.Frame(t.Context()); err != nil || f.Pix[0] != 2 || opened != 3 || time.Since(start) != firstBackoff/2+2*firstBackoff {
			t.Errorf("after %d openings and %v: %v, %v", opened, time.Since(start), f, err)
		}
		if s := cam.State(); s.Reopened != 2 {
			t.Errorf("reopened %d times", s.Reopened)
		}
	})
}

// The picture that a source gave last is neither kept nor handed out later as the
// newest: whoever stood there may be gone for hours.
func TestALostSourceKeepsNoPicture(t *testing.T) {
	for name, tt := range map[string]struct {
		scripts [][]step
		want    Condition
	}{
		"lost": {[][]step{
			{{shade: 77}, {wait: time.Second, err: errors.New("pulled")}},
			{{wait: 2 * time.Hour, shade: 78}, {wait: time.Hour}},
		}, Lost},
		"silent": {[][]step{{{shade: 77}, {wait: 2 * time.Hour, shade: 78}, {wait: time.Hour}}}, Silent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened := 0
				cam := mustOpen(t, config(scripted(&opened, tt.scripts...)))
				time.Sleep(time.Hour) // virtual: nobody looked at the frame
				for name, get := range map[string]func(context.Context) (*vision.Frame, error){
					"Frame": cam.Frame,
					"Next":  func(ctx context.Context) (*vision.Frame, error) { return cam.Next(ctx, 0) },
				} {
					if f, err := get(t.Context()); f != nil || !errors.Is(err, ErrSource) {
						t.Errorf("%s: %v, %v", name, f, err)
					}
				}
				if len(cam.pix) == 0 || !bytes.Equal(cam.pix, make([]byte, len(cam.pix))) {
					t.Errorf("the last frame is still in memory: %v", cam.pix)
				}
				if s := cam.State(); s.Condition != tt.want || s.Frames != 1 {
					t.Errorf("state %+v", s)
				}
				time.Sleep(time.Hour + 2*time.Second) // it is back
				if f, err := cam.Frame(t.Context()); err != nil || f.Pix[0] != 78 {
					t.Errorf("after it came back: %v, %v", f, err)
				}
			})
		})
	}
}

// A source that stays away is a fault after the camera's patience, and then at
// once.
func TestALostSourceIsWaitedForWithPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		gone := []step{{err: errors.New("pulled")}}
		cam := mustOpen(t, config(scripted(&opened, []step{{shade: 1}, {wait: time.Millisecond, err: errors.New("pulled")}}, gone, gone, gone, gone, gone, gone, gone, gone, gone)))
		if _, err := cam.Frame(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 2 {
			if _, err := cam.Frame(t.Context()); !errors.Is(err, ErrSource) || errors.Is(err, vision.ErrSilent) || !strings.Contains(err.Error(), "pulled") || time.Since(start) != defaultPatience {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
	})
}

func TestSwitchForgetsTheOldSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened,
			[]step{{shade: 1}, {wait: time.Hour}},
			[]step{{wait: time.Second, shade: 2}})))
		synctest.Wait() // frame 1 is there, nobody took it
		if err := cam.Switch("1"); err != nil {
			t.Fatal(err)
		}
		if f, err := cam.Frame(t.Context()); err != nil || f.Pix[0] != 2 {
			t.Errorf("got %v, %v, want a frame of the new source", f, err)
		}
		if err := cam.Switch("no such file"); !errors.Is(err, ErrSource) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAClosedCameraGivesNothingAndKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, []step{{shade: 7}})))
		synctest.Wait()
		if err := cam.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cam.Frame(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if !bytes.Equal(cam.pix, make([]byte, len(cam.pix))) {
			t.Error("the last frame is still in memory")
		}
		if err := cam.Switch("0"); !errors.Is(err, ErrClosed) {
			t.Errorf("switch: %v", err)
		}
	})
}

func TestRotationAndMirror(t *testing.T) {
	// Pixels 1 2 3
	//        4 5 6
	for _, c := range []struct {
		rotate int
		mirror bool
		w      int
		want   string
	}{
		{0, false, 3, "123456"},
		{90, false, 2, "415263"},
		{180, false, 3, "654321"},
		{270, false, 2, "362514"},
		{0, true, 3, "321654"},
		{90, true, 2, "142536"},
	} {
		cam := &Camera{config: CameraConfig{Rotate: c.rotate, Mirror: c.mirror}, width: 3, height: 2}
		for i := range 6 {
			cam.pix = append(cam.pix, byte('1'+i), byte('1'+i), byte('1'+i))
		}
		f := cam.turned()
		got := ""
		for i := 0; i < len(f.Pix); i += 3 {
			got += string(f.Pix[i])
		}
		if got != c.want || f.Width != c.w || f.Width*f.Height != 6 {
			t.Errorf("rotate %d mirror %v: %dx%d %s, want %s", c.rotate, c.mirror, f.Width, f.Height, got, c.want)
		}
	}
}

// No sensor takes the same picture twice: one that does is opened again.
func TestAFrozenPictureIsNoPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var frozen, moving []step
		for i := range 80 {
			frozen = append(frozen, step{wait: 100 * time.Millisecond, shade: 7})
			moving = append(moving, step{wait: 100 * time.Millisecond, shade: byte(i)})
		}
		opened := 0
		cam := mustOpen(t, config(scripted(&opened, frozen, moving)))
		var err error
		for range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), firstBackoff-time.Millisecond)
			_, err = cam.Frame(ctx)
			if cancel(); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), "not one pixel changed") || cam.State().Condition != Lost {
			t.Fatalf("%v, %v", err, cam.State())
		}
		time.Sleep(time.Second) // of the virtual clock: it is opened again
		for range 60 {
			if _, err := cam.Frame(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if opened != 2 || cam.State().Condition != Live {
			t.Errorf("opened %d times, %v", opened, cam.State())
		}
	})
}
