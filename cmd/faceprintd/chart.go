package main

import (
	"context"
	"fmt"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/vision"
)

// CameraChart is the sheet to print.
func (b *backend) CameraChart() client.CameraChart {
	return client.CameraChart{SVG: vision.ChartSVG()}
}

// MeasureCamera looks at the sheet.
func (b *backend) MeasureCamera(ctx context.Context) (client.CameraMeasure, error) {
	r, err := b.device.MeasureCamera(ctx)
	if err != nil {
		return client.CameraMeasure{}, problemOf(err)
	}
	return chartMeasure(r), nil
}

// What the chart must show. Half of the paper's light in a code of sRGB is 188:
// paper between a third and all of it leaves a face, which is darker, in the
// range in which it is recognised (45 to 220).
const (
	leastWhite   = 120
	mostClipped  = 0.05 // of the paper
	leastEven    = 0.4
	mostNoise    = 8
	leastStep    = 6 // grey levels between two fields
	leastDensity = 60
)

// chartMeasure says what a measure of the chart means, and what to do.
func chartMeasure(r vision.ChartReport) client.CameraMeasure {
	m := client.CameraMeasure{
		Found: r.Found, Across: r.Across, Along: r.Along, PixelsPerMM: r.Scale, White: r.White, Black: r.Black,
		Fields: r.Fields[:], Noise: r.Noise, Even: r.Even, Checks: []client.Check{},
	}
	check := func(name string, ok bool, bad, detail, advice string) {
		c := client.Check{Name: name, State: "ok", Detail: detail}
		if !ok {
			c.State, c.Advice = bad, advice
		}
		m.Checks = append(m.Checks, c)
	}
	if !r.Found {
		check("camera chart", false, "fail", "not seen", "hold it upright and flat where a face would be, all four corner marks in the picture; one that is far out of focus is not seen either")
		return m
	}
	check("camera focus", r.Focused(), "fail", fmt.Sprintf("half of the contrast is left at %.2f cycles a pixel (level %.2f), %.2f cycles a millimetre", r.Across, r.Along, r.Resolution()*r.Scale),
		"turn the lens until this number is highest, clean it, or hold the chart still where people's faces are")
	size := fmt.Sprintf("a face there is %.0f pixels high", r.FaceSize())
	const nearer = "people come nearer, or raise camera.reach (no further than 2.3 m: the detector sees no smaller part of a picture)"
	if ok, sure := r.LargeEnough(); !ok {
		check("camera face size", false, "fail", size+", too few to be recognised", nearer)
	} else {
		check("camera face size", sure, "warn", size+", which is enough only now and then", nearer)
	}
	exposure := fmt.Sprintf("paper %.0f, black %.0f of 255, %.0f %% clipped", r.White, r.Black, 100*r.Clipped)
	switch {
	case r.White < leastWhite:
		check("camera exposure", false, "fail", exposure, "more light on faces, or less behind them")
	case r.Clipped > mostClipped:
		check("camera exposure", false, "fail", exposure, "less light on faces, or none of the sun's; a lamp behind the camera is too near")
	default:
		check("camera exposure", r.White-r.Black >= leastDensity, "fail", exposure, "the picture is flat: clean the lens, and let no lamp shine into it")
	}
	steps := true
	for i := 1; i < len(r.Fields); i++ {
		steps = steps && r.Fields[i]-r.Fields[i-1] >= leastStep
	}
	check("camera grey steps", steps, "warn", fmt.Sprintf("%.0f", r.Fields), "neighbouring greys run into one another: print the chart anew, or switch the camera's contrast enhancement off")
	check("camera light", r.Even >= leastEven, "warn", fmt.Sprintf("the darkest corner has %.0f %% of the light of the brightest", 100*r.Even), "light from one side: half of a face is in the dark")
	check("camera noise", r.Noise <= mostNoise, "warn", fmt.Sprintf("%.1f grey levels", r.Noise), "more light: the camera amplifies what it has")
	return m
}
