//go:build amd64 || arm64

package vision

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
)

// inPlainGo runs do without vectors.
func inPlainGo(do func()) {
	fast := fastRows
	fastRows = false
	defer func() { fastRows = fast }()
	do()
}

// sameBits holds what feeders of one recipe make, in vectors and in plain Go. A second
// run of each finds its buffers full.
func sameBits(t *testing.T, in Input, fill func(*feeder)) {
	t.Helper()
	fast, plain := feederOf(in), feederOf(in)
	for range 2 {
		for _, f := range []*feeder{fast, plain} {
			for i := range f.out {
				f.out[i] = float32(math.NaN())
			}
		}
		fill(fast)
		inPlainGo(func() { fill(plain) })
		for i := range fast.out {
			if a, b := fast.out[i], plain.out[i]; math.Float32bits(a) != math.Float32bits(b) {
				t.Fatalf("%v %s: number %d is %g in vectors, %g in plain Go", in.Size, in.Order, i, a, b)
			}
		}
	}
}

// fenced is a copy of a picture, of its own rows alone, with memory that cannot be read
// right behind its last byte or right before its first.
func fenced(t testing.TB, p picture, before bool) picture {
	t.Helper()
	row := 3 * p.w
	n, page := row*p.h, syscall.Getpagesize()
	size := (n + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	for _, fence := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	pix := m[page : page+size]
	if before {
		pix = pix[:n:n]
	} else {
		pix = pix[size-n:]
	}
	for y := range p.h {
		copy(pix[y*row:][:row], p.pix[y*p.stride:])
	}
	return picture{pix: pix, stride: row, w: p.w, h: p.h}
}

// needVectors also makes of a read beyond a picture an error that names its test.
func needVectors(t testing.TB) {
	t.Helper()
	if !fastRows {
		t.Skip("this processor has no vectors")
	}
	was := debug.SetPanicOnFault(true)
	t.Cleanup(func() { debug.SetPanicOnFault(was) })
}

// What people were enrolled with, and thresholds were made with, was resampled in plain
// Go, or will be on another processor.
func TestVectorsGiveTheSameBits(t *testing.T) {
	needVectors(t)
	rng := rand.New(rand.NewPCG(1, 30))
	inputs := []Input{
		{Size: [2]int{320, 240}, Order: orderRGB, Mean: 127, Scale: 0.0078125},
		{Size: [2]int{64, 64}, Order: orderGrey, Scale: 0.00390625},
		{Size: [2]int{112, 112}, Order: orderBGR, Mean: 127, Scale: 0.0078125},
		{Size: [2]int{128, 128}, Order: orderBGR, Scale: 1},
		{Size: [2]int{160, 120}, Order: orderRGB, Mean: 103.94, Scale: 0.017, Pad: true},
		{Size: [2]int{72, 40}, Order: orderGrey, Mean: 99.5, Scale: 1 / 57.375, Pad: true},
		{Size: [2]int{37, 21}, Order: orderBGR, Mean: 1, Scale: 3},
	}
	for i := range 150 {
		w, h := 1+rng.IntN(700), 1+rng.IntN(500)
		in := inputs[i%len(inputs)]
		switch i % 5 {
		case 0: // as large as the input, or twice
			w, h = in.Size[0]<<(i/5%2), in.Size[1]<<(i/5%2)
		case 1: // a little larger
			w, h = in.Size[0]+rng.IntN(in.Size[0]), in.Size[1]+rng.IntN(in.Size[1])
		}
		whole := noise(rng, w+rng.IntN(3)*rng.IntN(9), h+rng.IntN(5))
		x, y := rng.IntN(whole.w-w+1), rng.IntN(whole.h-h+1)
		p := whole.crop(x, y, x+w, y+h)
		for _, p := range []picture{p, fenced(t, p, false), fenced(t, p, true)} {
			sameBits(t, in, func(f *feeder) { f.resize(p) })
		}
		if in.Order == orderGrey {
			continue
		}
		// Turned, enlarged and made smaller, mostly about its middle, and so that some
		// of it is outside.
		angle, k := 2*math.Pi*rng.Float64(), math.Exp(rng.NormFloat64()-1)*float64(min(w, h))/100
		s := similarity{a: k * math.Cos(angle), b: k * math.Sin(angle)}
		if i%3 == 0 {
			s = similarity{a: k, b: 0}
		}
		s.tx = float64(w)*(0.3+0.4*rng.Float64()) - s.a*56 + s.b*56
		s.ty = float64(h)*(0.3+0.4*rng.Float64()) - s.b*56 - s.a*56
		for _, p := range []picture{p, fenced(t, p, false), fenced(t, p, true)} {
			sameBits(t, in, func(f *feeder) { f.warp(p, s) })
		}
	}
}

// However the face lies, most of an aligned face is sampled in vectors.
func TestAlignedFacesAreSampledInVectors(t *testing.T) {
	needVectors(t)
	p := noise(rand.New(rand.NewPCG(1, 31)), 300, 300)
	f := feederOf(Input{Size: [2]int{112, 112}, Order: orderBGR, Scale: 1})
	o := make([]float32, 112)
	if n := f.warpInVectors(p, 100<<16, 100<<16, 3<<15, -3<<14, o, o, o); n != 112 {
		t.Errorf("%d of 112 inside", n)
	}
	// From column 250 on by 1.5 pixels, 298 is the first that is too far right.
	if n := f.warpInVectors(p, 250<<16, 100<<16, 3<<15, 0, o, o, o); n != 32 {
		t.Errorf("%d of 32 that are inside", n)
	}
	// A step that wraps: the eighth is where the first is, those between are anywhere.
	if n := f.warpInVectors(p, 100<<16, 100<<16, math.MaxInt/7*2+1, 0, o, o, o); n != 0 {
		t.Errorf("%d of a step that wraps", n)
	}
	column := make([]tap, 64)
	for x := range column {
		at, to, w := taps(x, 64, 100)
		column[x] = tap{3 * at, 3 * to, w}
	}
	g := feederOf(Input{Size: [2]int{64, 64}, Order: orderBGR, Scale: 1})
	if n := g.resizeInVectors(p.crop(0, 0, 100, 100), column, 64); n != 64 {
		t.Errorf("%d rows of 64", n)
	}
	// In the last row there is no byte beyond the last pixel.
	if n := g.resizeInVectors(p.crop(200, 200, 300, 300), column, 64); n != 63 {
		t.Errorf("%d rows of the 63 that can be at the frame's end", n)
	}
}

// Every sum that n bytes can have, divided by n.
func TestVectorsDivideExactly(t *testing.T) {
	needVectors(t)
	sums, out := make([]byte, 2*(255*256+6)+2), make([]byte, 255*256+8)
	for n := 1; n <= 256; n++ {
		most := 255 * n
		for s := range most + 6 {
			sums[2*s], sums[2*s+1] = byte(min(s, most)), byte(min(s, most)>>8)
		}
		pixels := (most/3 + 2) &^ 1
		meanAcross(&sums[0], 1, pixels, float32(n/2)+0.5, 1/float32(n), &out[0])
		for s := range most + 1 {
			if want := (s + n/2) / n; int(out[s]) != want {
				t.Fatalf("%d of %d: %d, want %d", s, n, out[s], want)
			}
		}
	}
}

func TestReductionInVectors(t *testing.T) {
	needVectors(t)
	rng := rand.New(rand.NewPCG(1, 32))
	for range 150 {
		kx, ky := 1+rng.IntN(18), 1+rng.IntN(18)
		p := noise(rng, kx*(1+rng.IntN(60))+rng.IntN(kx), ky*(1+rng.IntN(20))+rng.IntN(ky))
		for _, p := range []picture{p, white(p.w, p.h), fenced(t, p, false), fenced(t, p, true)} {
			f, g := feederOf(Input{Size: [2]int{16, 16}, Order: orderBGR, Scale: 1}), feederOf(Input{Size: [2]int{16, 16}, Order: orderBGR, Scale: 1})
			got := f.reduce(p, kx, ky)
			inPlainGo(func() {
				if want := g.reduce(p, kx, ky); !bytes.Equal(got.pix, want.pix) {
					t.Fatalf("%dx%d by %dx%d: not as in plain Go", p.w, p.h, kx, ky)
				}
			})
			f.wipe()
			if !zeros(f.sums[:cap(f.sums)]) || !zeros(f.small[:cap(f.small)]) {
				t.Fatalf("%dx%d by %dx%d: something is left", p.w, p.h, kx, ky)
			}
		}
	}
}

// A grey input passes through rows of each colour.
func TestVectorsLeaveNothing(t *testing.T) {
	needVectors(t)
	f := feederOf(Input{Size: [2]int{64, 64}, Order: orderGrey, Scale: 1})
	f.resize(white(100, 100))
	for i, c := range f.colour {
		if zeros(c) {
			t.Errorf("colour %d was not used", i)
		}
	}
	f.wipe()
	for i, c := range f.colour {
		if !zeros(c) {
			t.Errorf("colour %d is left", i)
		}
	}
}

func FuzzVectors(f *testing.F) {
	f.Add(uint16(400), uint16(300), uint16(40), uint16(24), uint16(7), uint64(1), 1.0, 0.0, 0.0, 0.0)
	f.Add(uint16(80), uint16(48), uint16(40), uint16(24), uint16(0), uint64(2), -0.5, 0.1, 70.0, 30.0)
	f.Add(uint16(33), uint16(700), uint16(64), uint16(9), uint16(300), uint64(3), 0.01, 1.3, 1e7, -1e7)
	f.Fuzz(func(t *testing.T, w, h, inW, inH, aside uint16, seed uint64, a, b, tx, ty float64) {
		needVectors(t)
		whole := noise(rand.New(rand.NewPCG(1, seed)), 1+int(w%900)+int(aside%50), 1+int(h%900))
		p := fenced(t, whole.crop(0, 0, 1+int(w%900), whole.h), seed%2 == 0)
		q := whole.crop(int(aside%50), 0, whole.w, whole.h)
		size := [2]int{1 + int(inW%200), 1 + int(inH%200)}
		for i, order := range []string{orderBGR, orderRGB, orderGrey} {
			in := Input{Size: size, Order: order, Mean: float32(seed % 128), Scale: 1 / float32(1+seed%300), Pad: i == 1}
			for _, p := range []picture{p, q} {
				sameBits(t, in, func(f *feeder) { f.resize(p) })
				if order != orderGrey {
					sameBits(t, in, func(f *feeder) { f.warp(p, similarity{a, b, tx, ty}) })
				}
			}
		}
	})
}
