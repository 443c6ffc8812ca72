package vision

import "math"

// Quality says how good one picture of a face is. The zero value is not good
// enough.
type Quality struct {
	Size       float32 // height of the squared box, pixels
	Sharpness  float32 // variance of the Laplacian over the inner face at 56x56, grey levels squared
	Brightness float32 // mean grey of the inner face, 0 to 255
	Contrast   float32 // standard deviation of the same, 0 to 127
	Yaw        float32 // degrees, estimated from the points; positive = turned to the picture's right
	Pitch      float32 // degrees; positive = looking up
	Roll       float32 // degrees; positive = clockwise in the picture
	Inside     float32 // share of the box that lies inside the frame, 0 to 1
	Behind     float32 // mean grey of the frame around the face, 0 to 255
	Clipped    float32 // share of the inner face with a channel at its end, 0 to 1
	Cast       float32 // the stronger of blue and green over red, in the inner face; skin in white light has less than 1
	Eyes       float32 // contrast of the eye that has less, over that of the face; 0 = none, as of dark glasses
	Mouth      float32 // the same of the mouth
	Open       float32 // distance of the lids over that from the eyes to the mouth, of both eyes, after Describe or Track; 0 = not measured
}

// Hint is the one thing a person can do to be recognised. Its names are part
// of the API.
type Hint uint8

// Hints, the more pressing first.
const (
	HintNone Hint = iota // good enough
	HintNoFace
	HintOnePerson
	HintCloser
	HintFarther
	HintCentre
	HintTooDark
	HintTooBright
	HintTurnToCamera
	HintHoldStill
	HintBacklit      // dark before a bright background
	HintColourCast   // the light is blue or green
	HintLookStraight // good, but another view of the face is wanted now
	HintTurnLeft     // by a little; left is the person's own
	HintTurnRight
	HintNearer   // what a challenge asks for, when nothing is wrong with the distance
	HintUncover  // good, but dark glasses, a mask or a hand are before it
	HintOpenEyes // good, but the eyes have been shut for a while
	HintBlink    // what a challenge asks for: to shut both eyes and open them
	hints        // their number
)

var hintNames = [hints]string{"none", "no-face", "one-person", "closer", "farther", "move-to-centre", "too-dark", "too-bright", "turn-to-camera", "hold-still", "backlit", "colour-cast", "look-straight", "turn-left", "turn-right", "nearer", "uncover-face", "open-eyes", "blink"}

// String is the stable name of the hint.
func (h Hint) String() string {
	if h < hints {
		return hintNames[h]
	}
	return "unknown"
}

// Hint is what to do about the quality; HintNone = good enough.
func (q Quality) Hint() Hint {
	switch {
	case !(q.Size >= minSize):
		return HintCloser
	case q.Size > maxSize:
		return HintFarther
	case !(q.Inside >= minInside):
		return HintCentre
	case !(q.Brightness >= minBrightness) || !(q.Contrast >= minContrast):
		if q.Behind >= backlight*q.Brightness {
			return HintBacklit
		}
		return HintTooDark
	case q.Brightness > maxBrightness || q.Clipped > maxClipped:
		return HintTooBright
	case q.Cast > maxCast:
		return HintColourCast
	case !within(q.Yaw, maxYaw) || !within(q.Pitch, maxPitch) || !within(q.Roll, maxRoll):
		return HintTurnToCamera
	case !(q.Sharpness >= minSharpness):
		return HintHoldStill
	}
	return HintNone
}

// Covered tells whether an eye or the mouth shows so little contrast that
// something plain is before it. It is a hint where nobody is recognised and
// nothing else: patterned cloth is not noticed, and nobody is refused for it.
func (q Quality) Covered() bool { return q.Eyes < minEyes || q.Mouth < minMouth }

// aside tells whether a face that is good for nothing else can be compared with
// its person's: it looks to the side, and may be blurred by the turn.
func (q Quality) aside() bool {
	turned := within(q.Yaw, maxAside)
	q.Yaw, q.Sharpness = 0, minSharpness
	return turned && q.Hint() == HintNone
}

func within(angle, limit float32) bool { return angle >= -limit && angle <= limit }

// quality measures one face; its points are known.
func (m *Model) quality(p picture, face *Face) Quality {
	q := Quality{Size: face.Box.Height()}
	x0, y0, x1, y1, ok := face.Box.clamped(p.w, p.h)
	if !ok {
		return Quality{}
	}
	q.Inside = float32((x1-x0)*(y1-y0)) / (face.Box.Width() * face.Box.Height())
	q.Yaw, q.Pitch, q.Roll = pose(face.Points)
	q.Behind = p.behind(face.Box)
	var grey [patch * patch]float32
	q.Clipped, q.Cast = p.patch(face.Box, &grey)
	q.Brightness, q.Contrast = meanAndDeviation(grey[:])
	q.Eyes, q.Mouth = p.uncovered(face.Points)
	q.Sharpness = laplacianVariance(&grey)
	clear(grey[:])
	return q
}

// patch is the side of the square to which the inner face is resampled before
// its light and sharpness are measured, so that they mean the same at every
// size: what is lost below it does not reach the embedding either.
const patch = 56

// patch resamples the inner part of the box, where there is skin and no
// background, to grey levels. Each value is the mean of four pixels. It returns
// the share of pixels that are at their channels' end, and the cast.
func (p picture) patch(b Box, out *[patch * patch]float32) (clipped, cast float32) {
	const inner = 0.7
	c, side := b.Center(), inner*b.Height()
	left, top, step := c.X-side/2, c.Y-side/2, side/patch
	var columns [2 * patch]int // byte offsets in a row
	for i := range columns {
		columns[i] = 3 * min(max(int(left+(float32(i)/2+0.25)*step), 0), p.w-1)
	}
	row := func(i int) []byte {
		return p.pix[min(max(int(top+(float32(i)/2+0.25)*step), 0), p.h-1)*p.stride:]
	}
	var blue, green, red, ends int
	for y := range patch {
		upper, lower := row(2*y), row(2*y+1)
		for x := range patch {
			left, right := columns[2*x], columns[2*x+1]
			p0, p1, p2, p3 := upper[left:][:3], upper[right:][:3], lower[left:][:3], lower[right:][:3]
			b := int(p0[0]) + int(p1[0]) + int(p2[0]) + int(p3[0])
			g := int(p0[1]) + int(p1[1]) + int(p2[1]) + int(p3[1])
			r := int(p0[2]) + int(p1[2]) + int(p2[2]) + int(p3[2])
			ends += end(p0) + end(p1) + end(p2) + end(p3)
			out[y*patch+x] = (weightB*float32(b) + weightG*float32(g) + weightR*float32(r)) / 4
			blue, green, red = blue+b, green+g, red+r
		}
	}
	return float32(ends) / (4 * patch * patch), float32(max(blue, green)) / float32(max(red, 1))
}

// end is 1 for a pixel of which a channel is at its end.
func end(px []byte) int {
	if max(px[0], px[1], px[2]) == 255 {
		return 1
	}
	return 0
}

// uncovered is the contrast of the eye that has less, and of the mouth, over that
// of the face about them, all in places that the five points give.
func (p picture) uncovered(points [5]Point) (eyes, mouth float32) {
	middle := between(points[LeftEye], points[RightEye])
	across := Point{points[RightEye].X - points[LeftEye].X, points[RightEye].Y - points[LeftEye].Y} // the distance of the eyes; down is a quarter turn of it
	contrast := func(c Point, w, h float32) float32 {
		const columns, rows = 20, 16
		var grey [columns * rows]float32
		for j := range rows {
			v := h * (2*(float32(j)+0.5)/rows - 1)
			for i := range columns {
				u := w * (2*(float32(i)+0.5)/columns - 1)
				x, y := c.X+u*across.X-v*across.Y, c.Y+u*across.Y+v*across.X
				at := p.pix[min(max(int(y), 0), p.h-1)*p.stride+3*min(max(int(x), 0), p.w-1):][:3]
				grey[j*columns+i] = weightB*float32(at[0]) + weightG*float32(at[1]) + weightR*float32(at[2])
			}
		}
		_, deviation := meanAndDeviation(grey[:])
		clear(grey[:])
		return deviation
	}
	face := max(contrast(Point{middle.X - 0.52*across.Y, middle.Y + 0.52*across.X}, 0.8, 1), 1)
	eyes = min(contrast(points[LeftEye], 0.28, 0.17), contrast(points[RightEye], 0.28, 0.17)) / face
	return eyes, contrast(between(points[LeftMouth], points[RightMouth]), 0.51, 0.23) / face
}

// behind is the mean grey of what a coarse grid hits outside the box.
func (p picture) behind(b Box) float32 {
	const columns, rows = 32, 24
	var sum float32
	n := 0
	for j := range rows {
		y := (2*j + 1) * p.h / (2 * rows)
		for i := range columns {
			x := (2*i + 1) * p.w / (2 * columns)
			if fx, fy := float32(x), float32(y); fx >= b.X0 && fx < b.X1 && fy >= b.Y0 && fy < b.Y1 {
				continue
			}
			at := p.pix[y*p.stride+3*x:][:3]
			sum += weightB*float32(at[0]) + weightG*float32(at[1]) + weightR*float32(at[2])
			n++
		}
	}
	return sum / float32(max(n, 1))
}

func meanAndDeviation(v []float32) (mean, deviation float32) {
	var sum, squares float64
	for _, x := range v {
		sum += float64(x)
		squares += float64(x) * float64(x)
	}
	n := float64(len(v))
	return float32(sum / n), float32(math.Sqrt(max(0, squares/n-sum*sum/(n*n))))
}

// laplacianVariance is the classic focus measure (Pech-Pacheco et al., 2000).
func laplacianVariance(g *[patch * patch]float32) float32 {
	var sum, squares float64
	for y := 1; y < patch-1; y++ {
		for x := 1; x < patch-1; x++ {
			i := y*patch + x
			l := float64(g[i-1] + g[i+1] + g[i-patch] + g[i+patch] - 4*g[i])
			sum += l
			squares += l * l
		}
	}
	const n = (patch - 2) * (patch - 2)
	return float32(squares/n - sum*sum/(n*n))
}

// pose estimates the head's angles, in degrees, from the five points: the nose
// stands out of the plane of eyes and mouth, so it moves in the picture when the
// head turns. The proportions are those of the alignment template: the nose
// lies half way down from the eyes to the mouth, and out by about half the
// distance of the eyes. Good to some ten degrees, which is what a hint needs.
func pose(points [5]Point) (yaw, pitch, roll float32) {
	eyes, mouth := between(points[LeftEye], points[RightEye]), between(points[LeftMouth], points[RightMouth])
	dx, dy := float64(points[RightEye].X-points[LeftEye].X), float64(points[RightEye].Y-points[LeftEye].Y)
	apart := math.Hypot(dx, dy)
	angle := math.Atan2(dy, dx)
	sin, cos := math.Sincos(-angle)
	upright := func(p Point) (x, y float64) { // about the eyes, with the roll taken out
		x, y = float64(p.X-eyes.X), float64(p.Y-eyes.Y)
		return x*cos - y*sin, x*sin + y*cos
	}
	noseX, noseY := upright(points[Nose])
	mouthX, mouthY := upright(mouth)
	const (
		noseOut  = 0.5   // of the distance of the eyes
		noseDown = 0.495 // of the way from the eyes to the mouth
		noseTilt = 0.44  // how far noseDown moves at 90 degrees
	)
	degrees := func(rad float64) float32 { return float32(rad * 180 / math.Pi) }
	along := noseY / mouthY
	yaw = degrees(math.Atan((noseX - along*mouthX) / (noseOut * apart)))
	pitch = degrees(math.Asin(min(max((noseDown-along)/noseTilt, -1), 1)))
	return yaw, pitch, degrees(angle)
}

func apartBy(a, b Point) float32 { return float32(math.Hypot(float64(a.X-b.X), float64(a.Y-b.Y))) }

func between(a, b Point) Point { return Point{(a.X + b.X) / 2, (a.Y + b.Y) / 2} }
