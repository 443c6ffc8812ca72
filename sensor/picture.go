package sensor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Picture is what the sensor sees: grey, 0 black to 255 white, row by row; only
// the upper four bits of a pixel travel.
type Picture struct {
	Width, Height int
	Pix           []byte
}

// windows are the sizes, in pixels, of the families that do not tell theirs, by
// the bytes of their picture.
var windows = map[int][2]int{
	192 * 192 / 2: {192, 192}, 256 * 288 / 2: {256, 288}, 160 * 160 / 2: {160, 160}, 80 * 208 / 2: {80, 208},
}

// Window is the size of the sensor in pixels. Optical units do not tell theirs
// and all have 256x288 (R305, R307, AS608, FPM10A), which is what is taken for granted
// of others until one of their pictures was read.
func (i Info) Window() (width, height int) {
	if i.Width > 0 && i.Height > 0 {
		return i.Width, i.Height
	}
	return 256, 288
}

// Capture takes a picture of the finger on the sensor (GenImg, manual p. 15, which
// shows a poor one as well) and reads it (UpImage, p. 15; code 0F). It does not wait: no finger is a *RetryError. At 57600 baud the
// 192x192 pixels of an R503 take 3.5 s, the 256x288 of an R307 7 s.
func (m *Module) Capture(ctx context.Context) (Picture, error) {
	release, err := m.take(ctx)
	if err != nil {
		return Picture{}, err
	}
	defer release()
	m.spend()
	if _, err := m.link.command(ctx, GenImg); err != nil {
		return Picture{}, retry(err)
	}
	return m.upImage(ctx)
}

// window tells whether that many bytes are a whole picture of this module.
func (m *Module) window(bytes int) bool {
	if m.info.Width != 0 {
		return bytes == m.info.Width*m.info.Height/2
	}
	_, ok := windows[bytes]
	return ok
}

// upImage reads the picture that was taken last.
func (m *Module) upImage(ctx context.Context) (Picture, error) {
	b, err := m.link.fetch(ctx, maxPicture, m.window, UpImage)
	if err != nil {
		return Picture{}, err
	}
	defer clear(b)
	p := Picture{Width: m.info.Width, Height: m.info.Height}
	if p.Width*p.Height/2 != len(b) {
		w, ok := windows[len(b)]
		if !ok || p.Width != 0 {
			return Picture{}, fmt.Errorf("sensor: %s: a picture of %d bytes for %dx%d pixels: %w", m.info.Port, len(b), p.Width, p.Height, ErrProtocol)
		}
		p.Width, p.Height = w[0], w[1]
		m.learn(func(i *Info) { i.seen(Info{Width: w[0], Height: w[1]}) })
	}
	p.Pix = unpack(b)
	return p, nil
}

// unpack spreads 4 bits a pixel, the left one in the high nibble, to 0..255.
func unpack(b []byte) []byte {
	pix := make([]byte, 2*len(b))
	for i, x := range b {
		pix[2*i], pix[2*i+1] = x>>4*17, x&15*17
	}
	return pix
}

func pack(pix []byte) []byte {
	b := make([]byte, len(pix)/2)
	for i := range b {
		b[i] = pix[2*i]&0xF0 | pix[2*i+1]>>4
	}
	return b
}

// Put loads a picture into the module's image buffer (DownImage, manual p. 16; code
// 0E). ErrTemplate: it is of another size, or the module takes none.
func (m *Module) Put(ctx context.Context, p Picture) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.spend()
	return m.putPicture(ctx, p)
}

func (m *Module) putPicture(ctx context.Context, p Picture) error {
	if w, h := m.info.Window(); p.Width != w || p.Height != h || len(p.Pix) != w*h {
		return fmt.Errorf("sensor: %s: a picture of %dx%d, the window has %dx%d: %w", m.info.Port, p.Width, p.Height, w, h, ErrTemplate)
	}
	b := pack(p.Pix)
	defer clear(b)
	return m.downImage(ctx, b)
}

// downImage sends a packed picture.
func (m *Module) downImage(ctx context.Context, b []byte) error {
	// A module that has no DownImage says so, or nothing, twice.
	var has bool
	for try := 0; !has && try < 2; try++ {
		var err error
		if _, has, err = m.probe(ctx, DownImage); err != nil {
			return err
		}
	}
	if !has {
		return fmt.Errorf("sensor: %s takes no pictures from the host: %w", m.info.Port, ErrTemplate)
	}
	return m.link.upload(ctx, b, m.info.PacketSize)
}

// FindWindow learns the window of a module that does not tell it and is no optical
// one, from what it takes for a picture (DownImage) and gives back (UpImage; manual
// pp. 16, 15): grey ones of the known sizes, the R503's first. It takes some 10 s at
// 57600 baud, and nothing where the window is known. One that gives no such picture
// back stays unknown, which is no error.
func (m *Module) FindWindow(ctx context.Context) error {
	release, err := m.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if m.info.Width > 0 || m.info.SystemID == opticalID {
		return nil
	}
	m.spend()
	for _, w := range [][2]int{{192, 192}, {256, 288}, {160, 160}, {80, 208}} {
		err := m.downImage(ctx, bytes.Repeat([]byte{0x88}, w[0]*w[1]/2))
		if err == nil {
			_, err = m.upImage(ctx)
		}
		if e := (*CodeError)(nil); !errors.As(err, &e) {
			if errors.Is(err, ErrTemplate) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrTimeout) && ctx.Err() == nil {
				err = nil // it takes none, gives what is none, or nothing
			}
			return err
		}
	}
	return nil
}
