//go:build amd64 || arm64

package vision

import "encoding/binary"

// Each of these has its match in plain Go, which gives the same bits.

// sampleRows fills n numbers, a multiple of 8, of three planes, one of each channel:
//
//	(upper*v + lower*w)*scale + bias
//
// Upper and lower are sums within a row, of the pixel at byte offset at[i] and of the
// one right of it by the two weights in across[i], without the bits that are not in
// keep; v and w are the weights in down[i], or, if step is 0 and not 32, in down[i%8].
// Of both rows 8 bytes are read at each offset.
//
//go:noescape
func sampleRows(upper, lower *byte, at, across, down *uint32, step, n int, keep uint32, scale, bias float32, o0, o1, o2 *float32)

// sumColumns sums n bytes, a multiple of 16, of 1 to 257 rows into words.
//
//go:noescape
func sumColumns(pix *byte, stride, rows int, sums *byte, n int)

// meanAcross writes n pixels, an even number, of which each is the sum of k times three
// words, plus half, times part, without the fraction. It reads 2 bytes beyond the words
// of n*k pixels, and writes one beyond the n.
//
//go:noescape
func meanAcross(sums *byte, k, n int, half, part float32, out *byte)

// vectors is what a feeder needs to resample in vectors.
type vectors struct {
	at     []uint32     // byte offsets of pixels
	across []uint32     // weights of them and of their neighbours
	down   []uint32     // weights of the upper row and the lower
	colour [3][]float32 // of a row of a grey input
}

// weights are those of two pixels of which the second has w of 256.
func weights(w int) uint32 { return uint32(256-w) | uint32(w)<<16 }

func (v *vectors) grow(n int) {
	if len(v.at) < n {
		v.at, v.across, v.down = make([]uint32, n), make([]uint32, n), make([]uint32, n)
	}
}

func (v *vectors) wipe() {
	for _, c := range v.colour {
		clear(c)
	}
}

// resizeInVectors fills the input's first rows, up to h, and returns how many.
func (f *feeder) resizeInVectors(p picture, column []tap, h int) (done int) {
	w := len(column)
	if !fastRows || w%8 != 0 {
		return 0
	}
	f.grow(w)
	for x, t := range column {
		f.at[x], f.across[x] = uint32(t.at), weights(t.w)
	}
	keep, scale, bias := uint32(0xffff_ffff), f.Scale/(256*256), f.black()
	var c0, c1, c2 []float32
	if f.Order == orderGrey {
		for i := range f.colour {
			if len(f.colour[i]) < w {
				f.colour[i] = make([]float32, w)
			}
		}
	} else {
		// As in words, where 32nds of a grey level are kept.
		keep = 0xfff8_fff8
		c0, c1, c2 = f.planes()
	}
	var down [8]uint32
	for y := range h {
		top, bottom, wy := taps(y, h, p.h)
		upper, lower := p.pix[top*p.stride:], p.pix[bottom*p.stride:]
		if column[w-1].at+8 > len(lower) {
			return y // what is read of the last pixel goes beyond the picture
		}
		for i := range down {
			down[i] = weights(wy)
		}
		at := y * f.Size[0]
		if f.Order != orderGrey {
			o0, o1, o2 := c0[at:][:w], c1[at:][:w], c2[at:][:w]
			sampleRows(&upper[0], &lower[0], &f.at[0], &f.across[0], &down[0], 0, w, keep, scale, bias, &o0[0], &o1[0], &o2[0])
			continue
		}
		c0, c1, c2 := f.colour[0][:w], f.colour[1][:w], f.colour[2][:w]
		sampleRows(&upper[0], &lower[0], &f.at[0], &f.across[0], &down[0], 0, w, keep, 1, 0, &c0[0], &c1[0], &c2[0])
		for x, o := 0, f.out[at:][:w]; x < len(o); x++ {
			o[x] = float32(greyOf(c0[x], c1[x], c2[x])*scale) + bias
		}
	}
	return h
}

// warpInVectors fills the planes from the left, from positions u, v in the picture that
// go by du, dv, all in 65536ths of a pixel, and returns how many numbers of each: a
// multiple of 8, as many as lie inside the picture.
func (f *feeder) warpInVectors(p picture, u, v, du, dv int, o0, o1, o2 []float32) (done int) {
	// A line between two places in the picture is in it, unless so long that it wraps.
	const long = MaxSide << 16
	if !fastRows || du < -long || du > long || dv < -long || dv > long {
		return 0
	}
	// Of the last column no more is known than that its right neighbour is there; of a
	// pixel more is read.
	inside := func(u, v int) bool {
		px, py := u>>16, v>>16
		return px >= 0 && py >= 0 && px < p.w-2 && py < p.h-1
	}
	for done+8 <= len(o0) && inside(u+done*du, v+done*dv) && inside(u+(done+7)*du, v+(done+7)*dv) {
		done += 8
	}
	if done == 0 {
		return 0
	}
	f.grow(done)
	at, across, down := f.at[:done], f.across[:done], f.down[:done]
	for i := range at {
		at[i] = uint32(v>>16*p.stride + 3*(u>>16))
		across[i], down[i] = weights(u>>8&255), weights(v>>8&255)
		u += du
		v += dv
	}
	o0, o1, o2 = o0[:done], o1[:done], o2[:done]
	sampleRows(&p.pix[0], &p.pix[p.stride], &at[0], &across[0], &down[0], 32, done, 0xffff_ffff, f.Scale/(256*256), f.black(), &o0[0], &o1[0], &o2[0])
	return done
}

// reduceInVectors fills out with the means of blocks of kx times ky pixels, if their
// sums fit into words. What lies 8 bytes beyond out may be overwritten.
func (f *feeder) reduceInVectors(p, out picture, kx, ky int) bool {
	n := kx * ky
	if !fastRows || n > 256 {
		return false
	}
	row := 3 * out.w * kx
	// With the pixel that makes their number even, and what is read beyond it.
	if size := 2*(row+3*kx) + 2; cap(f.sums) < size {
		f.sums = make([]byte, size)
	}
	sums, whole := f.sums[:cap(f.sums)], row&^15
	half, part := float32(n/2)+0.5, 1/float32(n) // half a unit more: the product's error is less
	for y := range out.h {
		pix := p.pix[y*ky*p.stride:]
		if whole > 0 {
			sumColumns(&pix[:(ky-1)*p.stride+row][0], p.stride, ky, &sums[0], whole)
		}
		for x := whole; x < row; x++ {
			sum := uint16(0)
			for j := range ky {
				sum += uint16(pix[j*p.stride+x])
			}
			binary.LittleEndian.PutUint16(sums[2*x:], sum)
		}
		meanAcross(&sums[0], kx, (out.w+1)&^1, half, part, &out.pix[y*out.stride])
	}
	return true
}
