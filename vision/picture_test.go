package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strconv"
	"testing"
)

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill sets every pixel of a 20x18 picture.
func fill[T interface {
	image.Image
	Set(x, y int, c color.Color)
}](img T, c color.Color,
) T {
	for y := range 18 {
		for x := range 20 {
			img.Set(x, y, c)
		}
	}
	return img
}

// claimed is a PNG header that promises a size, and no pixels.
func claimed(w, h uint32) []byte {
	ihdr := []byte("IHDR")
	ihdr = binary.BigEndian.AppendUint32(ihdr, w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, ihdr...), crc32.ChecksumIEEE(ihdr))
}

// cmykJPEG is 20x18 pixels of one orange, written by hand, since Go does not
// write what printers use: four components whose blocks have nothing but a DC
// coefficient, in Adobe's inverted sense.
func cmykJPEG() []byte {
	segment := func(b []byte, marker byte, data ...byte) []byte {
		b = append(b, 0xff, marker)
		return append(binary.BigEndian.AppendUint16(b, uint16(2+len(data))), data...)
	}
	b := []byte{0xff, 0xd8}
	b = segment(b, 0xee, append([]byte("Adobe"), 0, 100, 0, 0, 0, 0, 0)...)
	b = segment(b, 0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)               // quantisation by 1
	b = segment(b, 0xc0, 8, 0, 18, 0, 20, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0) // baseline
	counts := make([]byte, 16)
	counts[1] = 3 // codes 00, 01, 10: differences of 0, 8 and 10 bits
	b = segment(b, 0xc4, append(append([]byte{0x00}, counts...), 0, 8, 10)...)
	counts[0], counts[1] = 1, 0 // code 0: end of block
	b = segment(b, 0xc4, append(append([]byte{0x10}, counts...), 0)...)
	b = segment(b, 0xda, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0)
	var bits string
	for block := range 3 * 3 {
		for _, ink := range []int{200, 100, 50, 255} {
			dc := 8 * (ink - 128)
			switch {
			case block > 0:
				bits += "00"
			case dc < 0 && dc > -256:
				bits += fmt.Sprintf("01%08b", dc+255)
			case dc < 0:
				bits += fmt.Sprintf("10%010b", dc+1023)
			default:
				bits += fmt.Sprintf("10%010b", dc)
			}
			bits += "0"
		}
	}
	for bits += "1111111"; len(bits) >= 8; bits = bits[8:] {
		v, _ := strconv.ParseUint(bits[:8], 2, 8)
		if b = append(b, byte(v)); v == 0xff {
			b = append(b, 0)
		}
	}
	return append(b, 0xff, 0xd9)
}

func TestPicturesOfEveryKindBecomeBGR(t *testing.T) {
	r := image.Rect(0, 0, 20, 18)
	orange := color.NRGBA{200, 100, 50, 255}
	for name, tt := range map[string]struct {
		file    []byte
		b, g, r byte
	}{
		"RGB PNG":         {pngOf(t, fill(image.NewNRGBA(r), orange)), 50, 100, 200},
		"16 bit PNG":      {pngOf(t, fill(image.NewNRGBA64(r), orange)), 50, 100, 200},
		"grey PNG":        {pngOf(t, fill(image.NewGray(r), color.Gray{77})), 77, 77, 77},
		"16 bit grey PNG": {pngOf(t, fill(image.NewGray16(r), color.Gray16{77 << 8})), 77, 77, 77},
		"palette PNG":     {pngOf(t, fill(image.NewPaletted(r, color.Palette{color.Black, orange}), orange)), 50, 100, 200},
		"transparent PNG": {pngOf(t, image.NewNRGBA(r)), 0, 0, 0},
		"JPEG":            {jpegOf(t, fill(image.NewNRGBA(r), orange)), 50, 100, 200},
		"grey JPEG":       {jpegOf(t, fill(image.NewGray(r), color.Gray{77})), 77, 77, 77},
		"CMYK JPEG":       {cmykJPEG(), 50, 100, 200},
	} {
		f, err := ReadPicture(bytes.NewReader(tt.file))
		if err != nil || f.Width != 20 || f.Height != 18 || f.Check() != nil {
			t.Errorf("%s: %+v, %v", name, f, err)
			continue
		}
		for i := 0; i < len(f.Pix); i += 3 {
			if p := f.Pix[i:][:3]; off(p[0], tt.b)+off(p[1], tt.g)+off(p[2], tt.r) > 6 {
				t.Errorf("%s: pixel %d is %v, want about %v", name, i/3, p, []byte{tt.b, tt.g, tt.r})
				break
			}
		}
	}
}

func off(a, b byte) int { return max(int(a)-int(b), int(b)-int(a)) }

func TestUnusablePicturesAreRefused(t *testing.T) {
	r := image.Rect(0, 0, 64, 48)
	picture := image.NewNRGBA(r)
	for i, rng := 0, rand.New(rand.NewPCG(1, 9)); i < len(picture.Pix); i++ {
		picture.Pix[i] = byte(rng.Uint32()) | byte(0xff*(i%4/3))
	}
	whole, wholePNG := jpegOf(t, picture), pngOf(t, picture)
	for name, b := range map[string][]byte{
		"nothing":              {},
		"text":                 []byte("<html>not found</html>"),
		"1x1":                  pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1))),
		"a line":               pngOf(t, image.NewGray(image.Rect(0, 0, 4000, 1))),
		"20,000 pixels":        claimed(20000, 20000),
		"largest promise":      claimed(1<<31-1, 1<<31-1),
		"no pixels":            claimed(640, 480),
		"half a JPEG":          whole[:len(whole)/2],
		"a JPEG without end":   whole[:len(whole)-2],
		"half a PNG":           wholePNG[:len(wholePNG)/2],
		"a header of a header": whole[:10],
	} {
		if f, err := ReadPicture(bytes.NewReader(b)); f != nil || !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

// Phones put a preview of any size before the picture itself.
func TestAPictureBehindALargeHeader(t *testing.T) {
	b := jpegOf(t, image.NewGray(image.Rect(0, 0, 32, 32)))
	var big []byte
	for range 5 {
		big = append(append(big, 0xff, 0xe1, 0xff, 0xff), make([]byte, 0xffff-2)...) // APP1
	}
	f, err := ReadPicture(bytes.NewReader(append(append(b[:2:2], big...), b[2:]...)))
	if err != nil || f.Width != 32 {
		t.Errorf("%v, %v", f, err)
	}
}

func FuzzReadPicture(f *testing.F) {
	small := image.NewNRGBA(image.Rect(0, 0, 17, 16))
	f.Add(jpegOf(f, small))
	f.Add(pngOf(f, small))
	f.Add(claimed(8192, 8192))
	f.Add(cmykJPEG())
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ReadPicture(bytes.NewReader(b))
		switch {
		case err != nil && (!errors.Is(err, ErrFrame) || frame != nil):
			t.Fatal(err)
		case err == nil && frame.Check() != nil:
			t.Fatal(frame.Check())
		}
	})
}
