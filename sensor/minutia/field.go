package minutia

import "math"

// field holds what is known of the ridges cell by cell: direction, coherence,
// period and whether the cell is foreground.
type field struct {
	w, h      int       // cells
	c2, s2    []float32 // smoothed double-angle vector, normalised by the tensor's trace
	coherence []float32 // 0..1, length of that vector
	period    []float32 // px between ridges
	mask      []bool
}

func newField(w, h int) *field {
	n := w * h
	return &field{
		w: w, h: h,
		c2: make([]float32, n), s2: make([]float32, n),
		coherence: make([]float32, n), period: make([]float32, n), mask: make([]bool, n),
	}
}

// measure computes the structure tensor of a plane over cells and smooths it
// (Bazen and Gerez, 2002). The vector (c2, s2) is twice the angle of the
// ridges, not of the gradient. rounds says how often the 1-4-6-4-1 filter
// passes over the cells.
//
// The period follows from the same sums: for a wave of frequency f, the
// gradient's energy is (2 pi f)^2 times the wave's own.
func (f *field) measure(p *plane, rounds int, only []bool) {
	n := f.w * f.h
	xx, xy, tr, en := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for cy := range f.h {
		for cx := range f.w {
			c := cy*f.w + cx
			if only != nil && !only[c] {
				continue
			}
			x0, x1 := max(cx*cellSize, 1), min((cx+1)*cellSize, p.w-1)
			y0, y1 := max(cy*cellSize, 1), min((cy+1)*cellSize, p.h-1)
			var sxx, sxy, str, sen float32
			for y := y0; y < y1; y++ {
				i := p.at(x0, y)
				up := p.pix[i-p.stride:][:x1-x0]
				down := p.pix[i+p.stride:][:x1-x0]
				row := p.pix[i-1:][:x1-x0+2]
				for x := range up {
					gx := row[x+2] - row[x]
					gy := down[x] - up[x]
					v := row[x+1]
					sxx += gx*gx - gy*gy
					sxy += gx * gy
					str += gx*gx + gy*gy
					sen += v * v
				}
			}
			xx[c], xy[c], tr[c], en[c] = sxx, 2*sxy, str/4, sen
		}
	}
	tmp := make([]float32, n)
	for range rounds {
		for _, a := range [...][]float32{xx, xy, tr, en} {
			smoothCells(a, tmp, f.w, f.h)
		}
	}
	for c := range n {
		t := 4*tr[c] + 1e-6
		// The ridge runs across the gradient: minus sign on both.
		f.c2[c], f.s2[c] = -xx[c]/t, -xy[c]/t
		f.coherence[c] = float32(math.Hypot(float64(f.c2[c]), float64(f.s2[c])))
	}
	// Periods vary slowly: smooth on.
	for range 2 {
		smoothCells(tr, tmp, f.w, f.h)
		smoothCells(en, tmp, f.w, f.h)
	}
	for c := range n {
		// Central differences see sin(w) for w; 1/8 is between the 1/6 of a
		// wave along an axis and the 1/12 of a diagonal one.
		g := float64(tr[c] / (en[c] + 1e-6))
		w := math.Sqrt(g) * (1 + g/8)
		f.period[c] = float32(min(max(2*math.Pi/(w+1e-6), minPeriod), maxPeriod))
	}
}

// foreground marks the cells that have contrast and parallel ridges.
func (f *field) foreground(deviation []float32) {
	contrast := max(maskContrast*percentile(deviation, 0.9), normFloor)
	for c := range f.mask {
		f.mask[c] = deviation[c] > contrast && f.coherence[c] > maskCoherence
	}
	f.mask = vote(f.mask, f.w, f.h, 5)
	components(f.mask, f.w, f.h, maskPart, maskHole)
}

// smoothCells is the separable 1-4-6-4-1 filter; outside is the nearest cell.
func smoothCells(a, tmp []float32, w, h int) {
	for y := range h {
		row, out := a[y*w:][:w], tmp[y*w:][:w]
		for x := range w {
			l2, l1 := row[max(x-2, 0)], row[max(x-1, 0)]
			r1, r2 := row[min(x+1, w-1)], row[min(x+2, w-1)]
			out[x] = (l2 + r2 + 4*(l1+r1) + 6*row[x]) * (1.0 / 16)
		}
	}
	for y := range h {
		u2, u1 := tmp[max(y-2, 0)*w:][:w], tmp[max(y-1, 0)*w:][:w]
		d1, d2 := tmp[min(y+1, h-1)*w:][:w], tmp[min(y+2, h-1)*w:][:w]
		mid, out := tmp[y*w:][:w], a[y*w:][:w]
		for x := range w {
			out[x] = (u2[x] + d2[x] + 4*(u1[x]+d1[x]) + 6*mid[x]) * (1.0 / 16)
		}
	}
}

// vote replaces every cell by the majority of its 3 x 3 neighbours; outside
// counts as background.
func vote(mask []bool, w, h, need int) []bool {
	out := make([]bool, len(mask))
	for y := range h {
		for x := range w {
			n := 0
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					if xx, yy := x+dx, y+dy; xx >= 0 && yy >= 0 && xx < w && yy < h && mask[yy*w+xx] {
						n++
					}
				}
			}
			out[y*w+x] = n >= need
		}
	}
	return out
}

// components keeps the connected parts that are at least share of the largest,
// and fills the holes that are smaller than hole cells.
func components(mask []bool, w, h int, share float64, hole int) {
	label := make([]int32, len(mask))
	size := []int{0}
	touches := []bool{false} // of the frame
	stack := make([]int32, 0, 256)
	for i := range mask {
		if label[i] != 0 {
			continue
		}
		id := int32(len(size))
		size, touches = append(size, 0), append(touches, false)
		label[i] = id
		stack = append(stack[:0], int32(i))
		for len(stack) > 0 {
			c := int(stack[len(stack)-1])
			stack = stack[:len(stack)-1]
			size[id]++
			x, y := c%w, c/w
			if x == 0 || y == 0 || x == w-1 || y == h-1 {
				touches[id] = true
			}
			for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
				xx, yy := x+d[0], y+d[1]
				if xx < 0 || yy < 0 || xx >= w || yy >= h {
					continue
				}
				if o := yy*w + xx; label[o] == 0 && mask[o] == mask[i] {
					label[o] = id
					stack = append(stack, int32(o))
				}
			}
		}
	}
	largest := 0
	for i := range mask {
		if mask[i] {
			largest = max(largest, size[label[i]])
		}
	}
	for i := range mask {
		id := label[i]
		switch {
		case mask[i] && float64(size[id]) < share*float64(largest):
			mask[i] = false
		case !mask[i] && !touches[id] && size[id] <= hole:
			mask[i] = true
		}
	}
}

// edgeDistance is, for every cell, how many cells it is from the background or
// the frame, by a two-pass chamfer (3-4) distance divided by 3.
func edgeDistance(mask []bool, w, h int) []float32 {
	d := make([]int32, w*h)
	get := func(x, y int) int32 {
		if x < 0 || y < 0 || x >= w || y >= h {
			return 0
		}
		return d[y*w+x]
	}
	for y := range h {
		for x := range w {
			if mask[y*w+x] {
				d[y*w+x] = min(get(x-1, y)+3, get(x, y-1)+3, get(x-1, y-1)+4, get(x+1, y-1)+4)
			}
		}
	}
	for y := h - 1; y >= 0; y-- {
		for x := w - 1; x >= 0; x-- {
			if mask[y*w+x] {
				d[y*w+x] = min(d[y*w+x], get(x+1, y)+3, get(x, y+1)+3, get(x+1, y+1)+4, get(x-1, y+1)+4)
			}
		}
	}
	out := make([]float32, w*h)
	for i, v := range d {
		out[i] = float32(v) / 3
	}
	return out
}

// meanCoherence is that of the foreground, 0 without any.
func (f *field) meanCoherence() float64 {
	var sum, n float64
	for c, on := range f.mask {
		if on {
			sum, n = sum+float64(f.coherence[c]), n+1
		}
	}
	return sum / max(n, 1)
}
