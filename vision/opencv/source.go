package opencv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// kind of a source.
type kind uint8

const (
	kindDevice   kind = iota + 1 // a V4L2 device
	kindPipeline                 // a GStreamer pipeline
	kindURL                      // a stream over the network
	kindClip                     // a file, played in real time and looped
)

// source is where frames come from, as the configuration names it.
type source struct {
	kind kind
	name string // device path, pipeline, URL or file
}

// parseSource understands
//
//	0, /dev/video0, /dev/v4l/by-id/...      a V4L2 device
//	libcamera, libcamera:ID                 a CSI camera of a Raspberry Pi
//	anything with a "!"                     a GStreamer pipeline up to an appsink
//	rtsp://, rtsps://, http://, https://    a stream
//	anything else                           a file
//
// A file must exist; a device may come later.
func parseSource(s string, width, height, fps int) (source, error) {
	switch {
	case strings.TrimSpace(s) == "":
		return source{}, fmt.Errorf("opencv: no camera source is named (a device such as /dev/video0, libcamera, a URL, a pipeline or a file): %w", ErrSource)
	case strings.Contains(s, "!"):
		if !strings.Contains(s, "appsink") {
			return source{}, fmt.Errorf("opencv: the pipeline %q does not end in an appsink: %w", s, ErrSource)
		}
		return source{kindPipeline, s}, nil
	case s == "libcamera" || strings.HasPrefix(s, "libcamera:"):
		return source{kindPipeline, libcamera(strings.TrimPrefix(strings.TrimPrefix(s, "libcamera"), ":"), width, height, fps)}, nil
	case strings.Contains(s, "://"):
		switch scheme, _, _ := strings.Cut(s, "://"); scheme {
		case "rtsp", "rtsps", "http", "https":
			return source{kindURL, s}, nil
		default:
			return source{}, fmt.Errorf("opencv: camera URL %q: only rtsp, rtsps, http and https are known: %w", scheme+"://...", ErrSource)
		}
	case strings.HasPrefix(s, "/dev/"):
		return source{kindDevice, filepath.Clean(s)}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return source{kindDevice, "/dev/video" + strconv.FormatUint(n, 10)}, nil
	}
	info, err := os.Stat(s)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return source{}, fmt.Errorf("opencv: camera source %s: no such file: %w", s, ErrSource)
	case err != nil:
		return source{}, fmt.Errorf("opencv: camera source %s: %v: %w", s, err, ErrSource)
	case !info.Mode().IsRegular():
		return source{}, fmt.Errorf("opencv: camera source %s is no file: %w", s, ErrSource)
	}
	return source{kindClip, s}, nil
}

// libcamera is the pipeline for a CSI camera, which no longer shows up as a
// plain V4L2 device. The sink drops what nobody took in time.
func libcamera(id string, width, height, fps int) string {
	var b strings.Builder
	b.WriteString("libcamerasrc")
	if id != "" {
		fmt.Fprintf(&b, " camera-name=%q", id)
	}
	b.WriteString(" ! video/x-raw")
	if width > 0 && height > 0 {
		fmt.Fprintf(&b, ",width=%d,height=%d", width, height)
	}
	if fps > 0 {
		fmt.Fprintf(&b, ",framerate=%d/1", fps)
	}
	b.WriteString(" ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false")
	return b.String()
}

// shown is the source as it may be logged: a URL's user and password are not.
func (s source) shown() string {
	if s.kind != kindURL {
		return s.name
	}
	scheme, rest, _ := strings.Cut(s.name, "://")
	host, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return scheme + "://" + host
}
