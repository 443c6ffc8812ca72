package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// printed draws the polygons of the chart's SVG, as a printer does, into a
// picture of two pixels a millimetre.
func printed(t *testing.T) *vision.Frame {
	t.Helper()
	const scale, w, h = 2, 297 * 2, 210 * 2
	f := &vision.Frame{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range f.Pix {
		f.Pix[i] = 250
	}
	for line := range strings.Lines(vision.ChartSVG()) {
		var grey, green, blue int
		var p [4][2]float64
		if !strings.HasPrefix(line, "<polygon") {
			continue
		}
		if _, err := fmt.Sscanf(line, `<polygon fill="#%2x%2x%2x" points=`, &grey, &green, &blue); err != nil || green != grey || blue != grey {
			t.Fatalf("%q: %v", line, err)
		}
		_, points, _ := strings.Cut(line, `points="`)
		if _, err := fmt.Sscanf(points, "%f,%f %f,%f %f,%f %f,%f", &p[0][0], &p[0][1], &p[1][0], &p[1][1], &p[2][0], &p[2][1], &p[3][0], &p[3][1]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for y := range h {
			for x := range w {
				mx, my := (float64(x)+0.5)/scale-148.5, (float64(y)+0.5)/scale-105
				depth := math.Inf(1) // inside of the nearest edge, in pixels
				for i, a := range p {
					b := p[(i+1)%4]
					d := ((b[0]-a[0])*(my-a[1]) - (b[1]-a[1])*(mx-a[0])) / math.Hypot(b[0]-a[0], b[1]-a[1]) * scale
					depth = min(depth, d)
				}
				if ink := min(max(depth/2+0.5, 0), 1); ink > 0 { // an edge of two pixels
					for c := range 3 {
						at := &f.Pix[3*(y*w+x)+c]
						*at = byte(float64(*at)*(1-ink) + float64(grey)*ink)
					}
				}
			}
		}
	}
	return f
}

// cameraOf plays frames, and then nothing comes any more.
type cameraOf []*vision.Frame

func (c *cameraOf) Frame(ctx context.Context) (*vision.Frame, error) {
	if len(*c) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f := (*c)[0]
	*c = (*c)[1:]
	return f, nil
}

// What is printed is what is measured, and the best look at it counts.
func TestCameraIsMeasuredByTheChart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Policy{Mode: Both})
		empty := &vision.Frame{Width: 320, Height: 240, Pix: make([]byte, 3*320*240)}
		sheet := printed(t)
		w.d.hw.Camera = &cameraOf{empty.Clone(), sheet.Clone(), sheet.Clone(), empty.Clone(), sheet.Clone(), sheet.Clone(), sheet.Clone()}
		r, err := w.d.MeasureCamera(t.Context())
		if err != nil || !r.Found || !r.Focused() || math.Abs(r.Scale-2) > 0.05 {
			t.Fatalf("%+v %v", r, err)
		}
		// A chart that is never held up.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		w.d.hw.Camera = &cameraOf{empty}
		if r, err := w.d.MeasureCamera(ctx); err != nil || r.Found {
			t.Errorf("%+v %v", r, err)
		}
		w.fail = errors.New("unplugged")
		w.d.hw.Camera = w
		if _, err := w.d.MeasureCamera(t.Context()); !errors.Is(err, w.fail) {
			t.Error(err)
		}
		w.d.hw.Camera = nil
		if _, err := w.d.MeasureCamera(t.Context()); !errors.Is(err, ErrPart) {
			t.Error(err)
		}
	})
}
