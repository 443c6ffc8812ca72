package vision

// Orders of channels in a network's input.
const (
	orderBGR  = "bgr"
	orderRGB  = "rgb"
	orderGrey = "grey"
)

// Weights of the channels in a grey level: ITU-R BT.601, as OpenCV.
const (
	weightB = 0.114
	weightG = 0.587
	weightR = 0.299
)

// picture is a view of BGR pixels.
type picture struct {
	pix    []byte
	stride int // bytes from row to row
	w, h   int
}

func (f *Frame) picture() picture {
	return picture{pix: f.Pix, stride: 3 * f.Width, w: f.Width, h: f.Height}
}

// crop is the part of p from x0, y0 to x1, y1 (outside), which must lie in p.
func (p picture) crop(x0, y0, x1, y1 int) picture {
	return picture{pix: p.pix[y0*p.stride+3*x0:], stride: p.stride, w: x1 - x0, h: y1 - y0}
}

// feeder turns pixels into the input of one network. It owns its buffers:
// one feeder, one goroutine.
type feeder struct {
	Input
	small  []byte    // a picture after reduction by whole numbers
	column []tap     // horizontal taps
	out    []float32 // the network's input
}

type tap struct {
	at int // byte offset of the left pixel
	to int // and of the right one
	w  int // weight of the right one, of 256
}

func newFeeder(in Input) *feeder {
	n := 3
	if in.Order == orderGrey {
		n = 1
	}
	return &feeder{Input: in, out: make([]float32, n*in.Size[0]*in.Size[1])}
}

// wipe overwrites what is left of pictures.
func (f *feeder) wipe() {
	clear(f.small[:cap(f.small)])
	clear(f.out)
}

// reduce averages blocks of kx times ky pixels, so that what follows skips no
// pixel. For a factor of two that is exactly what bilinear sampling of pixel
// centres gives.
func (f *feeder) reduce(p picture, kx, ky int) picture {
	w, h := p.w/kx, p.h/ky
	if n := 3 * w * h; cap(f.small) < n {
		f.small = make([]byte, n)
	}
	out := f.small[:3*w*h]
	if kx == 2 && ky == 2 {
		for y := range h {
			a := p.pix[2*y*p.stride:][:6*w]
			b := p.pix[(2*y+1)*p.stride:][:6*w]
			o := out[3*w*y:][:3*w]
			for len(o) >= 3 && len(a) >= 6 && len(b) >= 6 {
				o[0] = byte((uint(a[0]) + uint(a[3]) + uint(b[0]) + uint(b[3]) + 2) >> 2)
				o[1] = byte((uint(a[1]) + uint(a[4]) + uint(b[1]) + uint(b[4]) + 2) >> 2)
				o[2] = byte((uint(a[2]) + uint(a[5]) + uint(b[2]) + uint(b[5]) + 2) >> 2)
				o, a, b = o[3:], a[6:], b[6:]
			}
		}
		return picture{pix: out, stride: 3 * w, w: w, h: h}
	}
	n := uint(kx * ky)
	for y := range h {
		for x := range w {
			var s0, s1, s2 uint
			for j := range ky {
				row := p.pix[(y*ky+j)*p.stride+3*x*kx:][:3*kx]
				for len(row) >= 3 {
					s0 += uint(row[0])
					s1 += uint(row[1])
					s2 += uint(row[2])
					row = row[3:]
				}
			}
			o := out[3*(w*y+x):][:3]
			o[0], o[1], o[2] = byte((s0+n/2)/n), byte((s1+n/2)/n), byte((s2+n/2)/n)
		}
	}
	return picture{pix: out, stride: 3 * w, w: w, h: h}
}

// resize fills the input with the whole picture, stretched as needed, or, when
// the recipe says pad, as large as it fits into the upper left, the rest black.
// Bilinear on pixel centres, edges repeated, after reduction by whole numbers
// where the picture is at least twice as large. It returns the width and
// height of the picture in the input.
func (f *feeder) resize(p picture) (w, h int) {
	w, h = f.Size[0], f.Size[1]
	if f.Pad {
		if w*p.h > h*p.w {
			w = max(1, h*p.w/p.h)
		} else {
			h = max(1, w*p.h/p.w)
		}
		black := -f.Mean * f.Scale
		for i := range f.out {
			f.out[i] = black
		}
	}
	if kx, ky := max(1, p.w/w), max(1, p.h/h); kx > 1 || ky > 1 {
		p = f.reduce(p, kx, ky)
	}
	if cap(f.column) < w {
		f.column = make([]tap, w)
	}
	column := f.column[:w]
	for x := range column {
		at, to, wt := taps(x, w, p.w)
		column[x] = tap{3 * at, 3 * to, wt}
	}
	if f.Order == orderGrey {
		f.resizeGrey(p, column, h)
		return w, h
	}
	c0, c1, c2 := f.planes()
	scale := f.Scale / (256 * 256)
	bias := -f.Mean * f.Scale
	for y := range h {
		top, bottom, wy := taps(y, h, p.h)
		a, b := p.pix[top*p.stride:][:3*p.w], p.pix[bottom*p.stride:][:3*p.w]
		at := y * f.Size[0]
		o0, o1, o2 := c0[at:][:w], c1[at:][:w], c2[at:][:w]
		if p.w == w && wy == 0 { // nothing to interpolate
			one := f.Scale
			for x := range o0 {
				px := a[3*x:][:3]
				o0[x] = float32(px[0])*one + bias
				o1[x] = float32(px[1])*one + bias
				o2[x] = float32(px[2])*one + bias
			}
			continue
		}
		for x := range o0 {
			t := column[x]
			al, ar, bl, br := a[t.at:][:3], a[t.to:][:3], b[t.at:][:3], b[t.to:][:3]
			v := 256 - t.w
			o0[x] = float32((int(al[0])*v+int(ar[0])*t.w)*(256-wy)+(int(bl[0])*v+int(br[0])*t.w)*wy)*scale + bias
			o1[x] = float32((int(al[1])*v+int(ar[1])*t.w)*(256-wy)+(int(bl[1])*v+int(br[1])*t.w)*wy)*scale + bias
			o2[x] = float32((int(al[2])*v+int(ar[2])*t.w)*(256-wy)+(int(bl[2])*v+int(br[2])*t.w)*wy)*scale + bias
		}
	}
	return w, h
}

// planes of the input: blue, green and red.
func (f *feeder) planes() (b, g, r []float32) {
	n := f.Size[0] * f.Size[1]
	b, g, r = f.out[:n], f.out[n:2*n], f.out[2*n:3*n]
	if f.Order == orderRGB {
		b, r = r, b
	}
	return b, g, r
}

func (f *feeder) resizeGrey(p picture, column []tap, h int) {
	w := len(column)
	scale := f.Scale / (256 * 256)
	bias := -f.Mean * f.Scale
	for y := range h {
		top, bottom, wy := taps(y, h, p.h)
		a, b := p.pix[top*p.stride:][:3*p.w], p.pix[bottom*p.stride:][:3*p.w]
		o := f.out[y*f.Size[0]:][:w]
		for x := range o {
			t := column[x]
			al, ar, bl, br := a[t.at:][:3], a[t.to:][:3], b[t.at:][:3], b[t.to:][:3]
			v := 256 - t.w
			c0 := (int(al[0])*v+int(ar[0])*t.w)*(256-wy) + (int(bl[0])*v+int(br[0])*t.w)*wy
			c1 := (int(al[1])*v+int(ar[1])*t.w)*(256-wy) + (int(bl[1])*v+int(br[1])*t.w)*wy
			c2 := (int(al[2])*v+int(ar[2])*t.w)*(256-wy) + (int(bl[2])*v+int(br[2])*t.w)*wy
			o[x] = (weightB*float32(c0)+weightG*float32(c1)+weightR*float32(c2))*scale + bias
		}
	}
}

// taps are the two source pixels of destination pixel x and the weight of the
// second, of 256, when n pixels are stretched over size.
func taps(x, size, n int) (at, to, weight int) {
	// (x + 1/2) * n/size - 1/2, in 256ths, rounded.
	v := (256*(2*x+1)*n - 256*size + size) / (2 * size)
	if 256*(2*x+1)*n-256*size < 0 {
		return 0, 0, 0
	}
	at, weight = v>>8, v&255
	if at >= n-1 {
		return n - 1, n - 1, 0
	}
	return at, at + 1, weight
}

// warp fills the input by moving the frame with the inverse of s: output
// pixel x, y is sampled at s(x, y), bilinear; what lies outside is black.
func (f *feeder) warp(p picture, s similarity) {
	w, h := f.Size[0], f.Size[1]
	c0, c1, c2 := f.planes()
	scale := f.Scale / (256 * 256)
	bias := -f.Mean * f.Scale
	const one = 1 << 16
	dux, duy := int(s.a*one), int(s.b*one)
	for y := range h {
		u := int((s.tx-s.b*float64(y))*one + 128) // + half of a 256th
		v := int((s.ty+s.a*float64(y))*one + 128)
		o0, o1, o2 := c0[y*w:][:w], c1[y*w:][:w], c2[y*w:][:w]
		for x := range o0 {
			px, py := u>>16, v>>16
			wx, wy := (u>>8)&255, (v>>8)&255
			u += dux
			v += duy
			if px >= 0 && py >= 0 && px < p.w-1 && py < p.h-1 {
				a := p.pix[py*p.stride+3*px:][:6]
				b := p.pix[(py+1)*p.stride+3*px:][:6]
				vx, vy := 256-wx, 256-wy
				o0[x] = float32((int(a[0])*vx+int(a[3])*wx)*vy+(int(b[0])*vx+int(b[3])*wx)*wy)*scale + bias
				o1[x] = float32((int(a[1])*vx+int(a[4])*wx)*vy+(int(b[1])*vx+int(b[4])*wx)*wy)*scale + bias
				o2[x] = float32((int(a[2])*vx+int(a[5])*wx)*vy+(int(b[2])*vx+int(b[5])*wx)*wy)*scale + bias
				continue
			}
			e0, e1, e2 := p.edge(px, py, wx, wy)
			o0[x], o1[x], o2[x] = float32(e0)*scale+bias, float32(e1)*scale+bias, float32(e2)*scale+bias
		}
	}
}

// edge samples where at least one of the four pixels is outside, and black.
func (p picture) edge(x, y, wx, wy int) (c0, c1, c2 int) {
	for j, vy := range [2]int{256 - wy, wy} {
		for i, vx := range [2]int{256 - wx, wx} {
			if x+i < 0 || y+j < 0 || x+i >= p.w || y+j >= p.h {
				continue
			}
			px := p.pix[(y+j)*p.stride+3*(x+i):][:3]
			c0 += vx * vy * int(px[0])
			c1 += vx * vy * int(px[1])
			c2 += vx * vy * int(px[2])
		}
	}
	return c0, c1, c2
}
