package vision

import (
	"encoding/binary"
	"fmt"
)

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

// feeder turns pixels into the input of one network, in place. One feeder,
// one goroutine.
type feeder struct {
	Input
	small  []byte      // a picture after reduction by whole numbers
	sums   []byte      // of the columns of some of its rows; see columns
	column []tap       // horizontal taps
	rows   [2][]uint64 // two source rows, stretched; see lanes
	vectors
	out []float32 // the network's input
}

type tap struct {
	at int // byte offset of the left pixel
	to int // and of the right one
	w  int // weight of the right one, of 256
}

func newFeeder(in Input) *feeder { return &feeder{Input: in} }

func (f *feeder) channels() int {
	if f.Order == orderGrey {
		return 1
	}
	return 3
}

// into tells the feeder where the network reads its input.
func (f *feeder) into(input []float32) error {
	if n := f.channels() * f.Size[0] * f.Size[1]; len(input) != n {
		return fmt.Errorf("vision: input %q takes %d numbers, not %d: %w", f.Input.Input, len(input), n, ErrModel)
	}
	f.out = input
	return nil
}

// wipe overwrites what is left of pictures, but for the input, which is the network's.
func (f *feeder) wipe() {
	clear(f.small[:cap(f.small)])
	clear(f.sums[:cap(f.sums)])
	clear(f.rows[0])
	clear(f.rows[1])
	f.vectors.wipe()
}

// reduce averages blocks of kx times ky pixels, so that what follows skips no
// pixel. Columns are summed first, then the sums of kx columns.
func (f *feeder) reduce(p picture, kx, ky int) picture {
	w, h := p.w/kx, p.h/ky
	if n := 3*w*h + 8; cap(f.small) < n {
		f.small = make([]byte, n)
	}
	small := picture{pix: f.small[:3*w*h], stride: 3 * w, w: w, h: h}
	if f.reduceInVectors(p, small, kx, ky) {
		return small
	}
	// The sums of the bytes at even places, then those at odd ones, each with what is
	// loaded beyond its end.
	half := (3*w*kx + 15) / 16 * 16
	if n := 2 * (half + 16); cap(f.sums) < n {
		f.sums = make([]byte, n)
	}
	out, even, odd := f.small[:3*w*h+8], f.sums[:half+16], f.sums[half+16:2*(half+16)]
	for y := range h {
		p.columns(y*ky, ky, even[:half], odd[:half], 3*w*kx)
		across(even, odd, kx, kx*ky, out[3*w*y:][:3*w+8])
	}
	return small
}

// columns sums rows y to y+rows-1, n bytes of each: eight at once, as two words of
// four lanes of 16 bits, which holds the 128 rows that the largest frame has for the
// smallest input. Even gets the lanes of bytes 0, 2, 4, ..., odd those of 1, 3, 5, ...
func (p picture) columns(y, rows int, even, odd []byte, n int) {
	const low = 0x00ff_00ff_00ff_00ff
	pix := p.pix[y*p.stride:]
	x := 0
	for ; x+16 <= n; x += 16 {
		var a, b, c, d uint64
		for at, left := x, rows; left > 0; at, left = at+p.stride, left-1 {
			px := pix[at:][:16]
			v, w := binary.LittleEndian.Uint64(px), binary.LittleEndian.Uint64(px[8:])
			a += v & low
			b += v >> 8 & low
			c += w & low
			d += w >> 8 & low
		}
		e, o := even[x:][:16], odd[x:][:16]
		binary.LittleEndian.PutUint64(e, a)
		binary.LittleEndian.PutUint64(e[8:], c)
		binary.LittleEndian.PutUint64(o, b)
		binary.LittleEndian.PutUint64(o[8:], d)
	}
	for ; x < n; x++ {
		sum := uint16(0)
		for j := range rows {
			sum += uint16(pix[j*p.stride+x])
		}
		to := even
		if x%2 != 0 {
			to = odd
		}
		binary.LittleEndian.PutUint16(to[x&^1:], sum)
	}
}

// across averages every k pixels of a row of sums, of which n pixels went into each
// mean. Two pixels are six bytes, of which even and odd hold three lanes each, B0 R0 G1
// and G0 B1 R1; the same of several are added in one word. out is 8 bytes longer than
// what is written.
func across(even, odd []byte, k, n int, out []byte) {
	if n > 256 {
		acrossMany(even, odd, k, n, out[:len(out)-8])
		return
	}
	// The division is a multiplication: times this and >> 32, for sums below 2^21.
	half, divide := uint64(n/2), (1<<32+uint64(n)-1)/uint64(n)
	mean := func(br, g uint64) uint64 {
		b, r := (br&0xffff+half)*divide>>32, (br>>16&0xffff+half)*divide>>32
		return b | (g&0xffff+half)*divide>>32<<8 | r<<16
	}
	if k == 2 { // of most faces
		for ; len(out) >= 11 && len(even) >= 8 && len(odd) >= 8; out, even, odd = out[3:], even[6:], odd[6:] {
			e, o := binary.LittleEndian.Uint64(even), binary.LittleEndian.Uint64(odd)
			binary.LittleEndian.PutUint64(out, mean(e+o>>16, o+e>>32))
		}
		return
	}
	if k == 3 {
		for ; len(out) >= 14 && len(even) >= 20 && len(odd) >= 20; out, even, odd = out[6:], even[18:], odd[18:] {
			e, o := binary.LittleEndian.Uint64(even), binary.LittleEndian.Uint64(odd)
			e1, o1 := binary.LittleEndian.Uint64(even[6:]), binary.LittleEndian.Uint64(odd[6:])
			e2, o2 := binary.LittleEndian.Uint64(even[12:]), binary.LittleEndian.Uint64(odd[12:])
			binary.LittleEndian.PutUint64(out, mean(e+o>>16+e1&0xffff_ffff, o+e>>32+o1&0xffff))
			binary.LittleEndian.PutUint64(out[3:], mean(e2+o2>>16+o1>>16, o2+e2>>32+e1>>32))
		}
	}
	sum := func(pairs int) (e, o uint64) {
		for ; pairs > 0 && len(even) >= 8 && len(odd) >= 8; pairs-- {
			e += binary.LittleEndian.Uint64(even)
			o += binary.LittleEndian.Uint64(odd)
			even, odd = even[6:], odd[6:]
		}
		return e, o
	}
	for ; len(out) >= 11; out = out[3:] {
		e, o := sum(k / 2)
		if k%2 == 0 {
			binary.LittleEndian.PutUint64(out, mean(e+o>>16, o+e>>32))
			continue
		}
		// Of an odd number, the next mean begins in the middle of two pixels.
		e1, o1 := sum(1)
		binary.LittleEndian.PutUint64(out, mean(e+o>>16+e1&0xffff_ffff, o+e>>32+o1&0xffff))
		if out = out[3:]; len(out) < 11 {
			return
		}
		e, o = sum(k / 2)
		binary.LittleEndian.PutUint64(out, mean(e+o>>16+o1>>16, o+e>>32+e1>>32))
	}
}

// acrossMany is across where a sum may not fit into its lane: a frame of several
// thousand pixels for a small input.
func acrossMany(even, odd []byte, k, n int, out []byte) {
	for i := range out {
		sum := n / 2
		for j := range k {
			at := 3*(i/3*k+j) + i%3
			from := even
			if at%2 != 0 {
				from = odd
			}
			sum += int(binary.LittleEndian.Uint16(from[at&^1:]))
		}
		out[i] = byte(sum / n)
	}
}

// lane is the mask of one of the three lanes of 21 bits in which the channels
// of a pixel are computed at once.
const lane = 1<<21 - 1

// lanes spreads a pixel.
func lanes(px []byte) uint64 {
	_ = px[2]
	return uint64(px[0]) | uint64(px[1])<<21 | uint64(px[2])<<42
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
		black := f.black()
		for i := range f.out {
			f.out[i] = black
		}
	}
	halve := p.w == 2*w && p.h == 2*h && f.Order != orderGrey
	if kx, ky := max(1, p.w/w), max(1, p.h/h); !halve && (kx > 1 || ky > 1) {
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
	done := f.resizeInVectors(p, column, h)
	switch {
	case f.Order == orderGrey:
		f.resizeGrey(p, column, done, h)
	case halve:
		f.halve(p, w, done, h)
	default:
		f.resizeInWords(p, column, done, h)
	}
	return w, h
}

// resizeInWords fills rows from to h-1 of the input.
func (f *feeder) resizeInWords(p picture, column []tap, from, h int) {
	w := len(column)
	c0, c1, c2 := f.planes()
	for i := range f.rows {
		if cap(f.rows[i]) < w {
			f.rows[i] = make([]uint64, w)
		}
	}
	a, b := f.rows[0][:w], f.rows[1][:w]
	inA, inB := -1, -1 // which source rows they hold
	scale := f.Scale / (32 * 256)
	bias := f.black()
	for y := from; y < h; y++ {
		top, bottom, wy := taps(y, h, p.h)
		if top == inB {
			a, b, inA, inB = b, a, inB, inA
		}
		if top != inA {
			p.stretch(top, column, a)
			inA = top
		}
		if bottom != inB && wy != 0 {
			p.stretch(bottom, column, b)
			inB = bottom
		}
		at := y * f.Size[0]
		o0, o1, o2 := c0[at:][:w], c1[at:][:w], c2[at:][:w]
		u, v := uint64(256-wy), uint64(wy)
		for x := range o0 {
			m := a[x]*u + b[x]*v
			o0[x] = float32(float32(m&lane)*scale) + bias
			o1[x] = float32(float32(m>>21&lane)*scale) + bias
			o2[x] = float32(float32(m>>42)*scale) + bias
		}
	}
}

// halve fills rows from to h-1 of the input from a picture of exactly twice its size,
// for which bilinear sampling of pixel centres is the mean of four pixels.
func (f *feeder) halve(p picture, w, from, h int) {
	c0, c1, c2 := f.planes()
	scale, bias := f.Scale/4, f.black()
	for y := from; y < h; y++ {
		a, b := p.pix[2*y*p.stride:][:6*w], p.pix[(2*y+1)*p.stride:][:6*w]
		at := y * f.Size[0]
		o0, o1, o2 := c0[at:][:w], c1[at:][:w], c2[at:][:w]
		for x := range o0 {
			l, r := a[6*x:][:6], b[6*x:][:6]
			o0[x] = float32(float32(int(l[0])+int(l[3])+int(r[0])+int(r[3]))*scale) + bias
			o1[x] = float32(float32(int(l[1])+int(l[4])+int(r[1])+int(r[4]))*scale) + bias
			o2[x] = float32(float32(int(l[2])+int(l[5])+int(r[2])+int(r[5]))*scale) + bias
		}
	}
}

// stretch fills a row with the pixels of source row y at the taps, in 32nds of
// a grey level: 13 bits, which leaves the 8 that the vertical weight needs.
func (p picture) stretch(y int, column []tap, row []uint64) {
	px := p.pix[y*p.stride:][:3*p.w]
	const low13 = (1<<13 - 1) * (1 | 1<<21 | 1<<42)
	row = row[:len(column)]
	for x, t := range column {
		left := lanes(px[t.at:])
		if t.w == 0 {
			row[x] = left << 5
			continue
		}
		row[x] = (left*uint64(256-t.w) + lanes(px[t.to:])*uint64(t.w)) >> 3 & low13
	}
}

// black is what the network's input has for a channel of 0. Wherever inputs are filled,
// products are rounded before something is added, as float32 says: Go may do both at
// once where the processor can, and the bits would differ from those of vectors and of
// other processors.
func (f *feeder) black() float32 { return float32(-f.Mean * f.Scale) }

// planes of the input: blue, green and red.
func (f *feeder) planes() (b, g, r []float32) {
	n := f.Size[0] * f.Size[1]
	b, g, r = f.out[:n], f.out[n:2*n], f.out[2*n:3*n]
	if f.Order == orderRGB {
		b, r = r, b
	}
	return b, g, r
}

// resizeGrey fills rows from to h-1 of an input of one plane.
func (f *feeder) resizeGrey(p picture, column []tap, from, h int) {
	w := len(column)
	scale := f.Scale / (256 * 256)
	bias := f.black()
	for y := from; y < h; y++ {
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
			o[x] = float32(greyOf(float32(c0), float32(c1), float32(c2))*scale) + bias
		}
	}
}

// greyOf is the grey level of a pixel.
func greyOf(b, g, r float32) float32 {
	return float32(float32(weightB*b)+float32(weightG*g)) + float32(weightR*r)
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
	bias := f.black()
	const one = 1 << 16
	dux, duy := int(s.a*one), int(s.b*one)
	for y := range h {
		u := int((s.tx-s.b*float64(y))*one + 128) // + half of a 256th
		v := int((s.ty+s.a*float64(y))*one + 128)
		o0, o1, o2 := c0[y*w:][:w], c1[y*w:][:w], c2[y*w:][:w]
		for x := 0; x < w; {
			if n := f.warpInVectors(p, u, v, dux, duy, o0[x:], o1[x:], o2[x:]); n > 0 {
				x, u, v = x+n, u+n*dux, v+n*duy
				continue
			}
			for end := min(x+8, w); x < end; x++ {
				px, py := u>>16, v>>16
				wx, wy := (u>>8)&255, (v>>8)&255
				u += dux
				v += duy
				if px >= 0 && py >= 0 && px < p.w-1 && py < p.h-1 {
					a := p.pix[py*p.stride+3*px:][:6]
					b := p.pix[(py+1)*p.stride+3*px:][:6]
					vx, vy := 256-wx, 256-wy
					o0[x] = float32(float32((int(a[0])*vx+int(a[3])*wx)*vy+(int(b[0])*vx+int(b[3])*wx)*wy)*scale) + bias
					o1[x] = float32(float32((int(a[1])*vx+int(a[4])*wx)*vy+(int(b[1])*vx+int(b[4])*wx)*wy)*scale) + bias
					o2[x] = float32(float32((int(a[2])*vx+int(a[5])*wx)*vy+(int(b[2])*vx+int(b[5])*wx)*wy)*scale) + bias
					continue
				}
				e0, e1, e2 := p.edge(px, py, wx, wy)
				o0[x], o1[x], o2[x] = float32(float32(e0)*scale)+bias, float32(float32(e1)*scale)+bias, float32(float32(e2)*scale)+bias
			}
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
