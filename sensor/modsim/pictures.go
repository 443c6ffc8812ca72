package modsim

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	_ "image/jpeg" // what scanners and data sets come as
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
)

// maxPicture is the longest side of a file, px: a slap of four fingers at 1000 dpi.
const maxPicture = 4096

// Pictures are real prints in the place of synthetic ones, by the finger that they
// are of. Whose names are not among them stays synthetic.
type Pictures map[string][]*image.Gray

// ReadPictures reads the pictures of a folder, of about 500 dpi, whose files are
// named PERSON_FINGER_IMPRESSION.ext or, where a person has one finger, as in the
// folders of competitions, PERSON_IMPRESSION.ext (tif, png, bmp, jpg).
func ReadPictures(dir string) (Pictures, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("modsim: pictures: %w", err)
	}
	ps := make(Pictures)
	for _, e := range entries { // in the order of their names
		ext := filepath.Ext(e.Name())
		switch strings.ToLower(ext) {
		case ".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg":
		default:
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(e.Name(), ext))
		cut := strings.LastIndexByte(name, '_')
		if cut <= 0 {
			return nil, fmt.Errorf("modsim: %s: want a name PERSON_FINGER_IMPRESSION%s or PERSON_IMPRESSION%[2]s", filepath.Join(dir, e.Name()), ext)
		}
		img, err := readPicture(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("modsim: %s: %w", filepath.Join(dir, e.Name()), err)
		}
		ps[name[:cut]] = append(ps[name[:cut]], img)
	}
	if len(ps) == 0 {
		return nil, fmt.Errorf("modsim: %s has no pictures PERSON_FINGER_IMPRESSION.ext (tif, png, bmp, jpg)", dir)
	}
	return ps, nil
}

func readPicture(path string) (*image.Gray, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is said
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, err
	}
	if c.Width > maxPicture || c.Height > maxPicture {
		return nil, fmt.Errorf("%d x %d pixels are more than a finger has: at most %d a side", c.Width, c.Height, maxPicture)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, err
	}
	b := img.Bounds()
	out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.SetGray(x, y, color.GrayModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.Gray))
		}
	}
	return out, nil
}

// of is the pictures of a finger, nil for a synthetic one.
func (ps Pictures) of(person, name string) []*image.Gray {
	person, name = strings.ToLower(person), strings.ToLower(name)
	if p := ps[person+"_"+name]; p != nil {
		return p
	}
	return ps[person]
}

// window is the middle of a picture as a sensor of that size sees it, in 16 levels;
// beside the picture there is nothing.
func window(img *image.Gray, width, height int) *image.Gray {
	out := image.NewGray(image.Rect(0, 0, width, height))
	dx, dy := (img.Rect.Dx()-width)/2, (img.Rect.Dy()-height)/2
	for y := range height {
		for x := range width {
			v := uint8(255)
			if p := image.Pt(x+dx, y+dy); p.In(img.Rect) {
				v = img.GrayAt(p.X, p.Y).Y
			}
			out.Pix[y*out.Stride+x] = v >> 4 * 17
		}
	}
	return out
}
