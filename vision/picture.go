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
