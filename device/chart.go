package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// A hand that holds the chart trembles: of so many pictures the sharpest
// counts. It has so long to hold the chart up.
const (
	chartLooks = 5
	chartTime  = 20 * time.Second
)

// MeasureCamera looks for the camera chart and measures it. A chart that nobody
// held up is no error; the report says that it was not found.
func (d *Device) MeasureCamera(ctx context.Context) (vision.ChartReport, error) {
	if d.hw.Camera == nil {
		return vision.ChartReport{}, fmt.Errorf("device: camera: %w", ErrPart)
	}
	ctx, end, err := d.begin(ctx, chartTime, urgent)
	if err != nil {
		return vision.ChartReport{}, err
	}
	defer end()
	var best vision.ChartReport
	for found := 0; found < chartLooks; {
		f, err := d.hw.Camera.Frame(ctx)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			return best, nil
		}
		if err != nil {
			return vision.ChartReport{}, err
		}
		r, err := vision.ReadChart(f)
		f.Wipe()
		if err != nil {
			return vision.ChartReport{}, err
		}
		if !r.Found {
			continue
		}
		if found++; r.Resolution() >= best.Resolution() {
			best = r
		}
	}
	return best, nil
}
