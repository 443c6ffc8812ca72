package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/faceprint/faceprint/device/api/client"
)

// streamed is a camera on the network, which sends a picture again and again as MJPEG
// over HTTP. A corner of it flickers: no sensor sends the same bits for long, and one
// that did would be taken for a camera that hangs.
type streamed struct {
	*httptest.Server
	mu       sync.Mutex
	pictures [2][]byte // JPEG, in turn
}

func (s *streamed) show(t *testing.T, picture image.Image) {
	t.Helper()
	flickers := image.NewRGBA(picture.Bounds())
	draw.Draw(flickers, flickers.Bounds(), picture, picture.Bounds().Min, draw.Src)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, grey := range []uint8{110, 130} {
		draw.Draw(flickers, image.Rect(0, 0, 8, 8), image.NewUniform(color.Gray{grey}), image.Point{}, draw.Src)
		s.pictures[i] = jpegOf(t, flickers)
	}
}

func newStreamed(t *testing.T) *streamed {
	t.Helper()
	s := &streamed{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := multipart.NewWriter(w)
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary="+m.Boundary())
		frames := time.NewTicker(50 * time.Millisecond)
		defer frames.Stop()
		for n := 0; ; n++ {
			s.mu.Lock()
			picture := s.pictures[n%len(s.pictures)]
			s.mu.Unlock()
			part, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"image/jpeg"}, "Content-Length": {fmt.Sprint(len(picture))}})
			if err == nil {
				_, err = part.Write(picture)
			}
			if err == nil {
				err = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
			select {
			case <-frames.C:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.CloseClientConnections) // first: Close waits for them
	t.Cleanup(s.Close)
	return s
}

// The sheet that --chart writes, drawn by a browser as a printer would, before a camera
// that streams MJPEG: the self-test finds it, and says what is wrong with a picture that
// is not good.
func TestChartBeforeACamera(t *testing.T) {
	if !withOpenCV {
		t.Skip("needs OpenCV")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's chromium: make deps-test")
	}
	t.Parallel()
	camera := newStreamed(t)
	camera.show(t, image.NewGray(image.Rect(0, 0, 1280, 960))) // no chart
	d := startDaemon(t, fmt.Sprintf("[camera]\nsource = %q\n", camera.URL))

	sheet := filepath.Join(t.TempDir(), "chart.svg")
	if out, err := exec.Command(filepath.Join(bin, "faceprint"), "--socket", d.path("api.sock"), "selftest", "--chart", sheet).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	svg, err := os.ReadFile(sheet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), kioskPatience)
	defer cancel()
	browser, end := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(browserOptions(t, chromium)...))
	defer end()

	for _, c := range []struct{ name, filter, want string }{
		{"good", "brightness(85%)", ""},
		{"out of focus", "brightness(85%) blur(4px)", "camera focus"},
		{"too dark", "brightness(30%)", "camera exposure"},
		{"too bright", "brightness(250%)", "camera exposure"},
	} {
		page := fmt.Sprintf(`<body style="margin:0;background:#777;overflow:hidden"><img style="position:absolute;left:200px;top:150px;width:880px;background:#fff;filter:%s" src="data:image/svg+xml;base64,%s">`, c.filter, base64.StdEncoding.EncodeToString(svg))
		if err := chromedp.Do(browser, chromedp.EmulateViewport(1280, 960), chromedp.Navigate("data:text/html;base64,"+base64.StdEncoding.EncodeToString([]byte(page)))); err != nil {
			t.Fatal(err)
		}
		shot, err := chromedp.Run(browser, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(shot))
		if err != nil {
			t.Fatal(err)
		}
		camera.show(t, picture)
		// Pictures from before are on their way for a while.
		for {
			file := filepath.Join(t.TempDir(), "report.json")
			out, err := exec.CommandContext(ctx, filepath.Join(bin, "faceprint"), "--socket", d.path("api.sock"), "selftest", "--camera", "--output", file).CombinedOutput()
			if ctx.Err() != nil {
				t.Fatalf("%s: never %q", c.name, c.want)
			}
			failed := ""
			for _, k := range reported(t, file).Checks {
				if k.State == "fail" && strings.HasPrefix(k.Name, "camera ") {
					failed += k.Name
				}
			}
			if failed == c.want {
				break
			}
			t.Logf("%s: %q failed, want %q: %v\n%s", c.name, failed, c.want, err, out)
		}
	}
}

// reported is what a file of the self-test says.
func reported(t *testing.T, file string) (r struct{ Checks []client.Check }) {
	t.Helper()
	var filed struct{ Report json.RawMessage }
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &filed)
	}
	if err == nil {
		err = json.Unmarshal(filed.Report, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func jpegOf(t *testing.T, picture image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
