package vision

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // cameras and people deliver these
	_ "image/png"
	"io"
)

// maxPicture is the most bytes of a picture file that are read.
const maxPicture = 64 << 20

// ReadPicture decodes a JPEG or PNG, or any other format that the program has
// registered with package image, into a frame. The size is checked before the
// pixels are decoded. Grey, 16 bit, CMYK and transparent pictures become BGR;
// a truncated one is refused.
func ReadPicture(r io.Reader) (*Frame, error) {
	// A header, which may hold a preview of its own, is read twice: once for
	// the size, once with the pixels.
	r = io.LimitReader(r, maxPicture)
	var head bytes.Buffer
	c, format, err := image.DecodeConfig(io.TeeReader(r, &head))
	if err != nil {
		return nil, fmt.Errorf("vision: not a picture: %v: %w", err, ErrFrame)
	}
	if c.Width < MinSide || c.Height < MinSide || c.Width > MaxSide || c.Height > MaxSide {
		return nil, fmt.Errorf("vision: a %s of %dx%d pixels, sides must be %d to %d: %w", format, c.Width, c.Height, MinSide, MaxSide, ErrFrame)
	}
	img, _, err := image.Decode(io.MultiReader(&head, r))
	if err != nil {
		return nil, fmt.Errorf("vision: damaged %s: %v: %w", format, err, ErrFrame)
	}
	return FromImage(img)
}

// FromImage copies any picture of Go's into a frame.
func FromImage(img image.Image) (*Frame, error) {
	b := img.Bounds()
	f := &Frame{Width: b.Dx(), Height: b.Dy()}
	if f.Width < MinSide || f.Height < MinSide || f.Width > MaxSide || f.Height > MaxSide {
		return nil, fmt.Errorf("vision: a picture of %dx%d pixels, sides must be %d to %d: %w", f.Width, f.Height, MinSide, MaxSide, ErrFrame)
	}
	f.Pix = make([]byte, 3*f.Width*f.Height)
	o := f.Pix
	switch img := img.(type) {
	case *image.YCbCr:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				c := img.COffset(x, y)
				r, g, bl := color.YCbCrToRGB(img.Y[img.YOffset(x, y)], img.Cb[c], img.Cr[c])
				o[0], o[1], o[2] = bl, g, r
				o = o[3:]
			}
		}
	case *image.Gray:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for _, g := range img.Pix[img.PixOffset(b.Min.X, y):][:f.Width] {
				o[0], o[1], o[2] = g, g, g
				o = o[3:]
			}
		}
	default:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				r, g, bl, _ := img.At(x, y).RGBA()
				o[0], o[1], o[2] = byte(bl>>8), byte(g>>8), byte(r>>8)
				o = o[3:]
			}
		}
	}
	return f, nil
}

// Preview is the frame as a picture to look at, at most width pixels wide,
// in the form in which a JPEG is encoded fastest. Each of its pixels is the
// mean of those that it stands for.
func (f *Frame) Preview(width int) *image.YCbCr {
	w := min(max(width, 2), f.Width)
	h := max(f.Height*w/f.Width, 1)
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	// Where the columns of the picture begin in a row of the frame.
	from := make([]int, w+1)
	for x := range from {
		from[x] = x * f.Width / w
	}
	chroma := make([][3]uint32, img.CStride) // sums of two by two pixels
	for y := range h {
		y0, y1 := y*f.Height/h, (y+1)*f.Height/h
		for x := range w {
			var b, g, r uint32
			for row := y0; row < y1; row++ {
				p := f.Pix[3*(row*f.Width+from[x]) : 3*(row*f.Width+from[x+1])]
				for ; len(p) > 2; p = p[3:] {
					b, g, r = b+uint32(p[0]), g+uint32(p[1]), r+uint32(p[2])
				}
			}
			n := uint32((y1 - y0) * (from[x+1] - from[x]))
			b, g, r = b/n, g/n, r/n
			luma, _, _ := color.RGBToYCbCr(uint8(r), uint8(g), uint8(b))
			img.Y[y*img.YStride+x] = luma
			c := &chroma[x/2]
			c[0], c[1], c[2] = c[0]+b, c[1]+g, c[2]+r
		}
		if y%2 == 0 && y+1 < h {
			continue
		}
		rows := uint32(2 - (y+1)%2)
		for x := range chroma {
			n := rows * uint32(min(2, w-2*x))
			c := &chroma[x]
			_, cb, cr := color.RGBToYCbCr(uint8(c[2]/n), uint8(c[1]/n), uint8(c[0]/n))
			img.Cb[y/2*img.CStride+x], img.Cr[y/2*img.CStride+x] = cb, cr
			*c = [3]uint32{}
		}
	}
	return img
}
