package minutia

import (
	"fmt"
	"image"
	"math"
)

// border is the margin around every plane, wide enough that no filter tap
// leaves it: the longest reaches acrossRadius or alongRadius, rounded up.
const border = 12

// plane is a picture of float32 with a margin of border pixels around it.
type plane struct {
	w, h, stride int
	pix          []float32
}

func newPlane(w, h int) *plane {
	s := w + 2*border
	return &plane{w: w, h: h, stride: s, pix: make([]float32, s*(h+2*border))}
}

// at is the index of a pixel.
func (p *plane) at(x, y int) int { return (y+border)*p.stride + x + border }

// checkPicture refuses what cannot be a finger's picture before any work.
func checkPicture(img *image.Gray, dpi float64) error {
	if img == nil {
		return fmt.Errorf("minutia: %w: no picture", ErrPicture)
	}
	if !(dpi >= minDPI && dpi <= maxDPI) {
		return fmt.Errorf("minutia: %w: %g dpi, want %d to %d", ErrPicture, dpi, minDPI, maxDPI)
	}
	w, h := workSize(img, dpi)
	if w < minSide || h < minSide {
		return fmt.Errorf("minutia: %w: %d x %d px at %g dpi is too small, want %.0f mm a side",
			ErrPicture, img.Rect.Dx(), img.Rect.Dy(), dpi, minSide*25.4/workDPI)
	}
	if w > maxSide || h > maxSide {
		return fmt.Errorf("minutia: %w: %d x %d px at %g dpi is too large, at most %.0f mm a side",
			ErrPicture, img.Rect.Dx(), img.Rect.Dy(), dpi, maxSide*25.4/workDPI)
	}
	return nil
}

// workSize is the size in px that atWorkDPI makes a picture: its own where it is
// not resampled.
func workSize(img *image.Gray, dpi float64) (w, h int) {
	scale := dpi / workDPI
	if math.Abs(scale-1) <= dpiTolerance {
		return img.Rect.Dx(), img.Rect.Dy()
	}
	return int(float64(img.Rect.Dx()) / scale), int(float64(img.Rect.Dy()) / scale)
}

// atWorkDPI resamples to 500 dpi, bilinearly: scanners are within a factor of
// three, and what follows is band-limited to ridges anyhow.
func atWorkDPI(img *image.Gray, dpi float64) *image.Gray {
	w, h := workSize(img, dpi)
	if w == img.Rect.Dx() && h == img.Rect.Dy() {
		return img
	}
	scale := dpi / workDPI
	out := image.NewGray(image.Rect(0, 0, w, h))
	sw, sh := img.Rect.Dx(), img.Rect.Dy()
	for y := range h {
		sy := min(max((float64(y)+0.5)*scale-0.5, 0), float64(sh-1))
		y0 := min(int(sy), sh-2)
		fy := sy - float64(y0)
		r0 := img.Pix[y0*img.Stride:]
		r1 := img.Pix[(y0+1)*img.Stride:]
		for x := range w {
			sx := min(max((float64(x)+0.5)*scale-0.5, 0), float64(sw-1))
			x0 := min(int(sx), sw-2)
			fx := sx - float64(x0)
			a := float64(r0[x0])*(1-fx) + float64(r0[x0+1])*fx
			b := float64(r1[x0])*(1-fx) + float64(r1[x0+1])*fx
			out.Pix[y*out.Stride+x] = uint8(a*(1-fy) + b*fy + 0.5)
		}
	}
	return out
}

// normalise gives every place the same mean and deviation, so that dry, wet
// and unevenly lit parts weigh alike. deviation is the local deviation in grey
// levels at cell centres, which the mask needs.
func normalise(img *image.Gray) (norm *plane, deviation []float32) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	cw, ch := cells(w), cells(h)
	norm = newPlane(w, h)
	deviation = make([]float32, cw*ch)

	// Running sums of a (2r+1)-square window: columns, then along the row.
	colSum := make([]int32, w)
	colSq := make([]int32, w)
	add := func(y, sign int) {
		row := img.Pix[y*img.Stride:][:w]
		for x, p := range row {
			v := int32(p)
			colSum[x] += int32(sign) * v
			colSq[x] += int32(sign) * v * v
		}
	}
	mean := make([]float32, w*h)
	dev := make([]float32, w*h)
	const r = normRadius
	for y := range min(r, h) {
		add(y, 1)
	}
	for y := range h {
		if y+r < h {
			add(y+r, 1)
		}
		if y-r-1 >= 0 {
			add(y-r-1, -1)
		}
		rows := min(y+r, h-1) - max(y-r, 0) + 1
		var s, q int64
		for x := range min(r, w) {
			s += int64(colSum[x])
			q += int64(colSq[x])
		}
		for x := range w {
			if x+r < w {
				s += int64(colSum[x+r])
				q += int64(colSq[x+r])
			}
			if x-r-1 >= 0 {
				s -= int64(colSum[x-r-1])
				q -= int64(colSq[x-r-1])
			}
			n := float32(rows * (min(x+r, w-1) - max(x-r, 0) + 1))
			m := float32(s) / n
			v := max(float32(q)/n-m*m, 0)
			mean[y*w+x] = m
			dev[y*w+x] = float32(math.Sqrt(float64(v)))
		}
	}
	for cy := range ch {
		for cx := range cw {
			x, y := min(cx*cellSize+cellSize/2, w-1), min(cy*cellSize+cellSize/2, h-1)
			deviation[cy*cw+cx] = dev[y*w+x]
		}
	}
	floor := max(normFloor, normRelative*percentile(deviation, 0.9))
	for y := range h {
		row := img.Pix[y*img.Stride:][:w]
		out := norm.pix[norm.at(0, y):][:w]
		for x, p := range row {
			v := (float32(p) - mean[y*w+x]) / max(dev[y*w+x], floor)
			out[x] = min(max(v, -normClip), normClip)
		}
	}
	smooth121(norm)
	return norm, deviation
}

// smooth121 is a 3 x 3 binomial filter in place, against pixel noise.
func smooth121(p *plane) {
	for y := range p.h {
		row := p.pix[p.at(0, y):][:p.w]
		prev := row[0]
		for x := range len(row) - 1 {
			cur := row[x]
			row[x] = (prev + 2*cur + row[x+1]) * 0.25
			prev = cur
		}
	}
	above := make([]float32, p.w)
	copy(above, p.pix[p.at(0, 0):][:p.w])
	for y := range p.h - 1 {
		row := p.pix[p.at(0, y):][:p.w]
		below := p.pix[p.at(0, y+1):][:p.w]
		for x, cur := range row {
			row[x] = (above[x] + 2*cur + below[x]) * 0.25
			above[x] = cur
		}
	}
}

// percentile of values, by a histogram of 256 bins: exact enough for limits.
func percentile(values []float32, q float64) float32 {
	var hist [256]int
	for _, v := range values {
		hist[min(max(int(v*2), 0), 255)]++
	}
	left := int(q * float64(len(values)))
	for i, n := range hist {
		if left -= n; left < 0 {
			return float32(i) / 2
		}
	}
	return 127.5
}

// cells is how many cells cover n pixels; the last may be cut.
func cells(n int) int { return (n + cellSize - 1) / cellSize }
