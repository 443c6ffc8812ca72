package vision

import (
	"fmt"
	"math"
	"math/cmplx"
	"slices"
	"strings"
)

// The camera chart: a sheet that a technician prints and holds where a face
// would be. Four finder marks, as those of a QR code, say where it is; a
// slanted square has four edges from which the resolution is measured as ISO
// 12233 does; six grey fields and the paper tell of the exposure.
//
// Lengths are millimetres from the sheet's centre, x to the right, y down.
const (
	chartWidth  = 240
	chartHeight = 160
	finderX     = 102.5 // of the finder marks' centres
	finderY     = 62.5
	finderUnit  = 5 // a mark is 7 units wide: 1 black, 1 white, 3 black, 1 white, 1 black
	slantSide   = 70
	slantY      = -8
	slantTurn   = 6 * math.Pi / 180 // off the pixel grid, so that it samples the edge between its pixels too
	fieldSide   = 22
	fieldPitch  = 26
	fieldY      = 58
)

// chartGreys are the codes of the grey fields, from the left; the paper is 255.
var chartGreys = [6]uint8{0x18, 0x48, 0x78, 0xA0, 0xC8, 0xE8}

// chartPaper is where the paper's white is looked at, near each corner.
var chartPaper = [4]Point{{-62, -35}, {62, -35}, {62, 22}, {-62, 22}}

// chartShape is one convex figure of the chart; later ones cover earlier ones.
type chartShape struct {
	grey uint8
	at   [4]Point
}

func chartBox(grey uint8, cx, cy, side float32) chartShape {
	h := side / 2
	return chartShape{grey, [4]Point{{cx - h, cy - h}, {cx + h, cy - h}, {cx + h, cy + h}, {cx - h, cy + h}}}
}

// slant is the square's corners, from the upper left, clockwise.
func slant() [4]Point {
	s, c := math.Sincos(slantTurn)
	var p [4]Point
	for i, q := range [4][2]float64{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}} {
		x, y := q[0]*slantSide/2, q[1]*slantSide/2
		p[i] = Point{X: float32(x*c - y*s), Y: float32(x*s+y*c) + slantY}
	}
	return p
}

func fieldAt(i int) Point { return Point{X: (float32(i) - 2.5) * fieldPitch, Y: fieldY} }

func chartShapes() []chartShape {
	var all []chartShape
	for _, c := range [4][2]float32{{-finderX, -finderY}, {finderX, -finderY}, {finderX, finderY}, {-finderX, finderY}} {
		all = append(all, chartBox(0, c[0], c[1], 7*finderUnit), chartBox(255, c[0], c[1], 5*finderUnit), chartBox(0, c[0], c[1], 3*finderUnit))
	}
	all = append(all, chartShape{0, slant()})
	for i, g := range chartGreys {
		p := fieldAt(i)
		all = append(all, chartBox(g, p.X, p.Y, fieldSide))
	}
	return all
}

// ChartSVG is the chart for the printer: one A4 page across, in its true size.
func ChartSVG() string {
	var b strings.Builder
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" width="297mm" height="210mm" viewBox="-148.5 -105 297 210">
<style>@page { size: A4 landscape; margin: 0 }</style>
<rect x="-148.5" y="-105" width="297" height="210" fill="#fff"/>
`)
	for _, s := range chartShapes() {
		fmt.Fprintf(&b, `<polygon fill="#%02[1]x%02[1]x%02[1]x" points="`, s.grey)
		for _, p := range s.at {
			fmt.Fprintf(&b, "%.3f,%.3f ", p.X, p.Y)
		}
		b.WriteString("\"/>\n")
	}
	fmt.Fprintf(&b, `<g font-family="sans-serif" font-size="4.5" text-anchor="middle" fill="#555">
<text y="%g">faceprint camera chart: print it at 100 %%, hold it upright and flat</text>
<text y="%g">where a face would be, and run 'faceprint selftest --camera'</text>
</g>
</svg>
`, -finderY-4.5, -finderY+2.5)
	return b.String()
}

// ChartReport is what the chart showed. The zero value is a chart that was not
// found.
type ChartReport struct {
	Found bool
	// Resolution: the spatial frequency at which half of the contrast is left,
	// across the upright and the level edges, in cycles a pixel: 0.5 is the
	// most that pixels can show, a sharp picture has 0.2 and more.
	Across, Along float64
	Scale         float64 // pixels a millimetre of the chart, that is, where a face would be
	White, Black  float64 // mean grey of paper and square, 0 to 255
	Clipped       float64 // share of the paper's pixels at 255
	Fields        [6]float64
	Even          float64 // light at the darkest corner of the paper over that at the brightest
	Noise         float64 // standard deviation within a middle grey field, grey levels
}

// Resolution is that of the worse direction, cycles a pixel.
func (r ChartReport) Resolution() float64 { return min(r.Across, r.Along) }

// Focused tells whether blur takes nothing that recognition needs: either the
// lens serves the pixels, or the pixels are more than the face model looks at.
func (r ChartReport) Focused() bool {
	return r.Found && (r.Resolution() >= minResolution || r.Resolution()*r.Scale >= enoughDetail)
}

// ReadChart finds the chart in a picture and measures it.
func ReadChart(f *Frame) (ChartReport, error) {
	if err := f.Check(); err != nil {
		return ChartReport{}, err
	}
	g := lumaOf(f)
	defer clear(g.pix)
	corners, ok := g.finders()
	if !ok {
		return ChartReport{}, nil
	}
	var from [4]Point
	for i, c := range [4][2]float32{{-finderX, -finderY}, {finderX, -finderY}, {finderX, finderY}, {-finderX, finderY}} {
		from[i] = Point{X: c[0], Y: c[1]}
	}
	h, ok := homographyOf(from, corners)
	if !ok {
		return ChartReport{}, nil
	}
	r := ChartReport{Found: true}
	centre, right, down := h.at(Point{Y: slantY}), h.at(Point{X: 10, Y: slantY}), h.at(Point{Y: slantY + 10})
	r.Scale = math.Sqrt(math.Hypot(right.x-centre.x, right.y-centre.y)*math.Hypot(down.x-centre.x, down.y-centre.y)) / 10

	dark, _, _ := g.look(h, Point{Y: slantY}, slantSide/3)
	r.Black = dark
	r.Even = 1
	least, most := 255.0, 0.0
	for _, p := range chartPaper {
		m, _, c := g.look(h, p, 14)
		r.White += m / 4
		r.Clipped += c / 4
		least, most = min(least, m), max(most, m)
	}
	if most >= 1 {
		r.Even = linearOf[uint8(least)] / linearOf[uint8(most)]
	}
	if r.White < r.Black+minChartContrast {
		return ChartReport{}, nil // four marks of something else
	}
	for i := range chartGreys {
		var d float64
		r.Fields[i], d, _ = g.look(h, fieldAt(i), fieldSide*0.7)
		if i == 2 {
			r.Noise = d
		}
	}
	p := slant()
	// Edges of the square: top 0-1, right 1-2, bottom 2-3, left 3-0.
	r.Across = (g.edge(h, p[1], p[2]) + g.edge(h, p[3], p[0])) / 2
	r.Along = (g.edge(h, p[0], p[1]) + g.edge(h, p[2], p[3])) / 2
	return r, nil
}

// luma is a picture of luma codes.
type luma struct {
	pix  []uint8
	w, h int
}

func lumaOf(f *Frame) luma {
	g := luma{make([]uint8, f.Width*f.Height), f.Width, f.Height}
	for i := range g.pix {
		p := f.Pix[3*i:][:3]
		g.pix[i] = uint8(weightB*float32(p[0]) + weightG*float32(p[1]) + weightR*float32(p[2]) + 0.5)
	}
	return g
}

// look is mean, standard deviation and share of clipped pixels in a square of
// the chart.
func (g luma) look(h homography, at Point, side float32) (mean, deviation, clipped float64) {
	const steps = 24
	var sum, squares, n, full float64
	for i := range steps {
		for j := range steps {
			p := h.at(Point{X: at.X + side*(float32(i)/(steps-1)-0.5), Y: at.Y + side*(float32(j)/(steps-1)-0.5)})
			x, y := int(p.x), int(p.y)
			if x < 0 || y < 0 || x >= g.w || y >= g.h {
				continue
			}
			v := float64(g.pix[y*g.w+x])
			sum, squares, n = sum+v, squares+v*v, n+1
			if v == 255 {
				full++
			}
		}
	}
	if n == 0 {
		return 0, 0, 0
	}
	mean = sum / n
	return mean, math.Sqrt(max(0, squares/n-mean*mean)), full / n
}

// --- finder marks ---

// mark is a place where the runs of a finder mark cross.
type mark struct {
	x, y, unit float64
	hits       int
}

// finders looks for the four marks and returns their centres from the upper
// left, clockwise.
func (g luma) finders() ([4]Point, bool) {
	black := g.threshold()
	var marks []mark
	for y := 0; y < g.h; y++ {
		runs(func(x int) bool { return black[y*g.w+x] }, g.w, func(centre, unit float64) {
			// The same must be seen down the column through its centre.
			cy, uy, ok := crossing(func(i int) bool { return black[i*g.w+int(centre)] }, g.h, y)
			if !ok || uy > 2*unit || unit > 2*uy {
				return
			}
			u := (unit + uy) / 2
			for i := range marks {
				m := &marks[i]
				if math.Abs(m.x-centre) < 2*u && math.Abs(m.y-cy) < 2*u {
					n := float64(m.hits)
					m.x, m.y, m.unit, m.hits = (m.x*n+centre)/(n+1), (m.y*n+cy)/(n+1), (m.unit*n+u)/(n+1), m.hits+1
					return
				}
			}
			if len(marks) < maxMarks {
				marks = append(marks, mark{centre, cy, u, 1})
			}
		})
	}
	// A mark is crossed by about three units of rows; clutter by one or two.
	marks = slices.DeleteFunc(marks, func(m mark) bool { return float64(m.hits) < m.unit || m.hits < 2 })
	slices.SortFunc(marks, func(a, b mark) int { return b.hits - a.hits })
	if len(marks) < 4 {
		return [4]Point{}, false
	}
	return square(marks[:4])
}

// square puts four marks in order; false where they are no sheet's corners.
func square(m []mark) ([4]Point, bool) {
	var cx, cy float64
	small, large := m[0].unit, m[0].unit
	for _, p := range m {
		cx, cy = cx+p.x/4, cy+p.y/4
		small, large = min(small, p.unit), max(large, p.unit)
	}
	if large > 2.5*small {
		return [4]Point{}, false
	}
	m = slices.Clone(m)
	slices.SortFunc(m, func(a, b mark) int {
		p, q := math.Atan2(a.y-cy, a.x-cx), math.Atan2(b.y-cy, b.x-cx)
		switch {
		case p < q:
			return -1
		case p > q:
			return 1
		}
		return 0
	})
	// y is down: the angles begin at the upper left and go clockwise.
	var out [4]Point
	for i, p := range m {
		out[i] = Point{X: float32(p.x), Y: float32(p.y)}
	}
	for i := range out { // convex, and none in the middle of a side
		a, b, c := out[i], out[(i+1)%4], out[(i+2)%4]
		cross := float64((b.X-a.X)*(c.Y-b.Y) - (b.Y-a.Y)*(c.X-b.X))
		if cross < large*large*49 {
			return out, false
		}
	}
	return out, true
}

// runs calls found for each black, white, black, white, black in the ratio
// 1:1:3:1:1 along a line of n pixels.
func runs(black func(int) bool, n int, found func(centre, unit float64)) {
	var width [5]int
	at, is := 0, false
	for i := 0; i <= n; i++ {
		now := i < n && black(i)
		if now == is && i < n {
			at++
			continue
		}
		copy(width[:], width[1:])
		width[4] = at
		if is { // a black run ended
			if unit, ok := ratio(width); ok {
				found(float64(i-width[4]-width[3])-float64(width[2])/2, unit)
			}
		}
		at, is = 1, now
	}
}

func ratio(w [5]int) (unit float64, ok bool) {
	sum := w[0] + w[1] + w[2] + w[3] + w[4]
	unit = float64(sum) / 7
	if unit < 1 {
		return 0, false
	}
	for i, want := range [5]float64{1, 1, 3, 1, 1} {
		if math.Abs(float64(w[i])-want*unit) > 0.5*want*unit+0.6 {
			return 0, false
		}
	}
	return unit, true
}

// crossing looks at the line through a pixel for a mark around it.
func crossing(black func(int) bool, n, at int) (centre, unit float64, ok bool) {
	runs(black, n, func(c, u float64) {
		if math.Abs(c-float64(at)) < 1.5*u {
			centre, unit, ok = c, u, true
		}
	})
	return centre, unit, ok
}

// threshold is black where a pixel is darker than its surroundings.
func (g luma) threshold() []bool {
	r := max(g.w, g.h) / 16
	sums := make([]int64, (g.w+1)*(g.h+1))
	for y := range g.h {
		var row int64
		for x := range g.w {
			row += int64(g.pix[y*g.w+x])
			sums[(y+1)*(g.w+1)+x+1] = sums[y*(g.w+1)+x+1] + row
		}
	}
	black := make([]bool, g.w*g.h)
	for y := range g.h {
		y0, y1 := max(y-r, 0), min(y+r+1, g.h)
		for x := range g.w {
			x0, x1 := max(x-r, 0), min(x+r+1, g.w)
			sum := sums[y1*(g.w+1)+x1] - sums[y0*(g.w+1)+x1] - sums[y1*(g.w+1)+x0] + sums[y0*(g.w+1)+x0]
			mean := sum / int64((y1-y0)*(x1-x0))
			black[y*g.w+x] = int64(g.pix[y*g.w+x]) < mean-thresholdBelow
		}
	}
	return black
}

// --- geometry ---

// homography takes points of the chart into the picture.
type homography [9]float64

type spot struct{ x, y float64 }

func (h *homography) at(p Point) spot {
	x, y := float64(p.X), float64(p.Y)
	w := h[6]*x + h[7]*y + h[8]
	return spot{(h[0]*x + h[1]*y + h[2]) / w, (h[3]*x + h[4]*y + h[5]) / w}
}

// homographyOf solves for the eight unknowns by elimination.
func homographyOf(from, to [4]Point) (homography, bool) {
	var a [8][9]float64
	for i := range 4 {
		x, y, u, v := float64(from[i].X), float64(from[i].Y), float64(to[i].X), float64(to[i].Y)
		a[2*i] = [9]float64{x, y, 1, 0, 0, 0, -u * x, -u * y, u}
		a[2*i+1] = [9]float64{0, 0, 0, x, y, 1, -v * x, -v * y, v}
	}
	for c := range 8 {
		pivot := c
		for r := c; r < 8; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[pivot][c]) {
				pivot = r
			}
		}
		if math.Abs(a[pivot][c]) < 1e-9 {
			return homography{}, false
		}
		a[c], a[pivot] = a[pivot], a[c]
		for r := range 8 {
			if r == c {
				continue
			}
			k := a[r][c] / a[c][c]
			for i := c; i < 9; i++ {
				a[r][i] -= k * a[c][i]
			}
		}
	}
	h := homography{8: 1}
	for i := range 8 {
		h[i] = a[i][8] / a[i][i]
	}
	return h, true
}

// --- slanted edge ---

// linearOf takes a pixel's code to light, by the curve of sRGB.
var linearOf = func() (t [256]float64) {
	for i := range t {
		v := float64(i) / 255
		if v <= 0.04045 {
			t[i] = v / 12.92
		} else {
			t[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return t
}()

// edge measures the resolution across an edge of the square, cycles a pixel at
// half of the contrast; 0 where nothing can be measured. From the line that is
// fitted through the edge, every pixel near it is a sample of the edge's
// profile at its own distance; four bins a pixel make the profile, its
// derivative the line spread, and that one's Fourier transform the contrast.
func (g luma) edge(h homography, from, to Point) float64 {
	between := func(t float32) spot {
		return h.at(Point{X: from.X + t*(to.X-from.X), Y: from.Y + t*(to.Y-from.Y)})
	}
	a, b := between(0.15), between(0.85)
	w, height := g.w, g.h
	at := func(x, y int) float64 { return linearOf[g.pix[y*g.w+x]] }
	if math.Abs(b.x-a.x) > math.Abs(b.y-a.y) { // a level edge: as an upright one, on its side
		a.x, a.y, b.x, b.y = a.y, a.x, b.y, b.x
		w, height = height, w
		at = func(x, y int) float64 { return linearOf[g.pix[x*g.w+y]] }
	}
	if a.y > b.y {
		a, b = b, a
	}
	length := b.y - a.y
	half := int(min(edgeReach, 0.3*length))
	if half < 6 {
		return 0 // too small in the picture
	}
	slope := (b.x - a.x) / length
	y0, y1 := max(int(a.y), 0), min(int(b.y), height-1)
	// The line: through the centre of the gradient of each row.
	var n, sy, sx, syy, sxy float64
	for y := y0; y < y1; y++ {
		centre := int(a.x + slope*(float64(y)-a.y))
		var sum, moment float64
		for x := max(centre-half, 1); x < min(centre+half, w-1); x++ {
			d := math.Abs(at(x+1, y) - at(x-1, y))
			sum, moment = sum+d, moment+d*float64(x)
		}
		if sum <= 0 {
			continue
		}
		x := moment / sum
		n, sy, sx, syy, sxy = n+1, sy+float64(y), sx+x, syy+float64(y)*float64(y), sxy+x*float64(y)
	}
	if det := n*syy - sy*sy; n < 8 || det == 0 {
		return 0
	} else {
		slope = (n*sxy - sx*sy) / det
	}
	offset := (sx - slope*sy) / n
	tilt := 1 / math.Hypot(1, slope)

	const bins = 4 // a pixel
	sums, counts := make([]float64, 2*half*bins), make([]float64, 2*half*bins)
	for y := y0; y < y1; y++ {
		line := offset + slope*float64(y)
		for x := max(int(line)-half-1, 0); x <= min(int(line)+half+1, w-1); x++ {
			i := int(math.Floor((float64(x)-line)*tilt*bins)) + half*bins
			if i >= 0 && i < len(sums) {
				sums[i] += at(x, y)
				counts[i]++
			}
		}
	}
	for i := range sums {
		switch {
		case counts[i] > 0:
			sums[i] /= counts[i]
		case i > 0:
			sums[i] = sums[i-1] // an edge that runs with the pixels leaves bins empty
		}
	}
	spread := make([]float64, len(sums)-2)
	for i := range spread {
		// Less weight to the ends, where only noise is (Hamming).
		k := 0.54 - 0.46*math.Cos(2*math.Pi*float64(i)/float64(len(spread)-1))
		spread[i] = k * (sums[i+2] - sums[i]) / 2
	}
	contrast := func(f float64) float64 { // at f cycles a pixel
		var s complex128
		for i, v := range spread {
			s += complex(v, 0) * cmplx.Rect(1, -2*math.Pi*f/bins*float64(i))
		}
		c := cmplx.Abs(s)
		// The difference over two bins is itself a filter.
		if x := 2 * math.Pi * f / bins; x > 0 {
			c /= math.Sin(x) / x
		}
		return c
	}
	zero := contrast(0)
	if zero < minEdge {
		return 0
	}
	const step = 0.005
	before := 1.0
	for f := step; f <= 0.5; f += step {
		c := contrast(f) / zero
		if c < 0.5 {
			return f - step*(0.5-c)/(before-c)
		}
		before = c
	}
	return 0.5
}
