package kiosk

import (
	"bytes"
	"context"
	"encoding/binary"
	"image/jpeg"
	"net/http"
	"time"
)

// preview makes JPEGs of the camera's pictures, for one page at a time.
type preview struct{ picture Picture }

// stream writes pictures until the context ends or the camera fails. Each is
// the length of a JPEG, 4 bytes, big-endian, and the JPEG.
func (p *preview) stream(ctx context.Context, w http.ResponseWriter) error {
	flush := http.NewResponseController(w)
	tick := time.NewTicker(previewEvery)
	defer tick.Stop()
	var buf bytes.Buffer
	for seq := uint64(0); ; {
		img, n, err := p.picture(ctx, seq, previewWidth)
		if err != nil {
			return err
		}
		seq = n
		buf.Reset()
		buf.Write([]byte{0, 0, 0, 0})
		err = jpeg.Encode(&buf, img, &jpeg.Options{Quality: previewQuality})
		clear(img.Y)
		clear(img.Cb)
		clear(img.Cr)
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(buf.Bytes(), uint32(buf.Len()-4))
		if _, err := w.Write(buf.Bytes()); err != nil {
			return err
		}
		if err := flush.Flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
