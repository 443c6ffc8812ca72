package main

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"strings"

	_ "golang.org/x/image/bmp" // scanners write these
	_ "golang.org/x/image/tiff"
	_ "image/jpeg"
	_ "image/png"

	"github.com/faceprint/faceprint/sensor/minutia"
)

// maxPicture is the longest side that is decoded, px: more than sensor/minutia
// takes at any resolution, so that a small file that unpacks to gigabytes costs
// nothing.
const maxPicture = 5000

// readGray reads a picture of a finger. Its errors name the file; one of a size
// that no finger has is a minutia.ErrPicture.
func readGray(path string) (*image.Gray, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var img *image.Gray
	if strings.EqualFold(filepath.Ext(path), ".pgm") {
		img, err = readPGM(file)
	} else {
		img, err = decodeGray(file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}

func decodeGray(r io.ReadSeeker) (*image.Gray, error) {
	c, _, err := image.DecodeConfig(r)
	if err != nil {
		return nil, err
	}
	if err := sized(c.Width, c.Height); err != nil {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(r)
	if err != nil {
		return nil, err
	}
	return toGray(img), nil
}

func sized(w, h int) error {
	if w <= 0 || h <= 0 || w > maxPicture || h > maxPicture {
		return fmt.Errorf("%d x %d pixels are no finger: want at most %d a side: %w", w, h, maxPicture, minutia.ErrPicture)
	}
	return nil
}

func toGray(img image.Image) *image.Gray {
	b := img.Bounds()
	out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.Pix[y*out.Stride+x] = color.GrayModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.Gray).Y
		}
	}
	return out
}

// readPGM reads the binary grey format of netpbm (pgm(5)): white space and
// comments between the numbers of the header are free, samples of more than 8 bits
// are two bytes.
func readPGM(from io.Reader) (*image.Gray, error) {
	r := bufio.NewReader(from)
	magic := make([]byte, 2)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "P5" {
		return nil, errors.New("pgm: it does not begin with P5 (the binary grey format)")
	}
	var header [3]int
	for i, what := range []string{"width", "height", "highest level"} {
		n, err := pgmNumber(r)
		if err != nil {
			return nil, fmt.Errorf("pgm: %s: %w", what, err)
		}
		header[i] = n
	}
	w, h, top := header[0], header[1], header[2]
	if err := sized(w, h); err != nil {
		return nil, fmt.Errorf("pgm: %w", err)
	}
	if top < 1 || top > 65535 {
		return nil, fmt.Errorf("pgm: the highest level is %d, want 1 to 65535", top)
	}
	size := 1
	if top > 255 {
		size = 2
	}
	data := make([]byte, w*h*size)
	if n, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("pgm: %d bytes of pixels, want %d", n, len(data))
	}
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		v := int(data[i*size])
		if size == 2 {
			v = v<<8 | int(data[2*i+1])
		}
		img.Pix[i] = uint8((min(v, top)*255 + top/2) / top)
	}
	return img, nil
}

// pgmNumber reads white space and comments, a number, and the one character of
// white space after it.
func pgmNumber(r io.ByteReader) (int, error) {
	n, digits := 0, 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return 0, errors.New("the header is cut short")
		case c >= '0' && c <= '9' && digits < 9:
			n, digits = 10*n+int(c-'0'), digits+1
		case strings.IndexByte(" \t\r\n\v\f", c) >= 0:
			if digits > 0 {
				return n, nil
			}
		case c == '#' && digits == 0:
			for c != '\n' && err == nil {
				c, err = r.ReadByte()
			}
		default:
			return 0, fmt.Errorf("%q is no number", c)
		}
	}
}
