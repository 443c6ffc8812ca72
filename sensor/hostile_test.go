package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// hostile is a line whose other end says what it likes: one stretch of bytes
// after each thing that it is sent.
type hostile struct {
	says    [][]byte
	waiting []byte
}

func (h *hostile) Write(b []byte) (int, error) {
	if len(h.says) > 0 {
		h.waiting = append(h.waiting, h.says[0]...)
		h.says = h.says[1:]
	}
	return len(b), nil
}

func (h *hostile) Read(b []byte) (int, error) {
	if len(h.waiting) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, h.waiting)
	h.waiting = h.waiting[n:]
	return n, nil
}

func (h *hostile) SetReadDeadline(time.Time) error  { return nil }
func (h *hostile) SetWriteDeadline(time.Time) error { return nil }

// A window that no module has is refused before anybody draws a picture of it.
func TestWindowBeyondReason(t *testing.T) {
	packet := func(content string) []byte {
		b, err := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDAck, Content: []byte(content)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for window, ok := range map[string]bool{"\xFF\xFF\xFF\xFF": false, "\xFF\xFF\x00\x01": false, "\x02\x00\x02\x00": false, "\x01\x00\x01\x20": true} {
		synctest.Test(t, func(t *testing.T) {
			product := "\x00" + "R503\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "0001" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00" + "FPC1021\x00" + window + "\x06\x00" + "\x00\xC8"
			parameters := "\x00\x00\x04\x00\x00\x00\xC8\x00\x03\xFF\xFF\xFF\xFF\x00\x02\x00\x06"
			h := &hostile{says: [][]byte{packet("\x00"), packet(parameters), packet(product), packet("\x00")}}
			m, err := sensor.New(t.Context(), h, sensor.Config{})
			if ok && err != nil || !ok && !errors.Is(err, sensor.ErrProtocol) {
				t.Errorf("window %x: %v", window, err)
			}
			if ok && err == nil {
				if w, h := m.Info().Window(); w != 256 || h != 288 {
					t.Errorf("%dx%d", w, h)
				}
			}
		})
	}
}

// Whatever a module says, the driver ends, and a template is what it can be.
func FuzzHostileModule(f *testing.F) {
	ok := "\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x03\x00\x00\x0A"
	parameters := "\xEF\x01\xFF\xFF\xFF\xFF\x07\x00\x13\x00\x00\x04\x00\x00\x00\xC8\x00\x03\xFF\xFF\xFF\xFF\x00\x02\x00\x06\x04\xED"
	f.Add([]byte(ok + "|" + parameters + "|" + ok + "|" + ok + "|" + ok + "|" + ok + "|" + ok))
	f.Add([]byte(ok + "|" + parameters + "||\xEF\x01\xFF\xFF\xFF\xFF\x08\x00\x02\x00\x0A"))
	f.Fuzz(func(t *testing.T, says []byte) {
		synctest.Test(t, func(t *testing.T) {
			h := &hostile{says: bytes.Split(says, []byte("|"))}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a finger may never come
			defer cancel()
			m, err := sensor.New(ctx, h, sensor.Config{Baud: 57600})
			if err != nil {
				return
			}
			_ = m.Survey(ctx, &bytes.Buffer{})
			_, _ = m.Capture(ctx)
			if template, err := m.LoadTemplate(ctx, 0); err == nil && len(template) > 4<<10 {
				t.Errorf("a template of %d bytes", len(template))
			}
			probe, err := m.Scan(ctx)
			if err != nil {
				return
			}
			score, err := m.Match(ctx, probe, bytes.Repeat([]byte("template"), 64))
			if score < 0 || err != nil && score != 0 {
				t.Errorf("score %v with %v", score, err)
			}
		})
	})
}
