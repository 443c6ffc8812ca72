package vision

import (
	"fmt"
	"time"
)

// MaxSide is the longest side of a frame, in pixels, that this package looks
// at: enough for an 8K camera, small enough that a forged header cannot take
// all memory.
const MaxSide = 8192

// MinSide is the shortest side of a frame in which a face can be found.
const MinSide = 16

// Frame is one picture of a camera.
type Frame struct {
	Pix           []byte    // blue, green, red, 8 bit each; rows from the top without padding; 3*Width*Height bytes
	Width, Height int       // pixels
	Seq           uint64    // number of the frame in its source, counted from 1
	At            time.Time // when it left the source
}

// Check tells what is wrong with the frame's geometry, nil if nothing is.
func (f *Frame) Check() error {
	switch {
	case f == nil:
		return fmt.Errorf("vision: no frame: %w", ErrFrame)
	case f.Width < MinSide || f.Height < MinSide:
		return fmt.Errorf("vision: a frame of %dx%d pixels is too small, the least is %dx%d: %w", f.Width, f.Height, MinSide, MinSide, ErrFrame)
	case f.Width > MaxSide || f.Height > MaxSide:
		return fmt.Errorf("vision: a frame of %dx%d pixels is too large, the most is %dx%d: %w", f.Width, f.Height, MaxSide, MaxSide, ErrFrame)
	case len(f.Pix) != 3*f.Width*f.Height:
		return fmt.Errorf("vision: a frame of %dx%d pixels has %d bytes, not %d: %w", f.Width, f.Height, len(f.Pix), 3*f.Width*f.Height, ErrFrame)
	}
	return nil
}

// Wipe overwrites the picture. Whoever took the frame calls it when done.
func (f *Frame) Wipe() {
	if f != nil {
		clear(f.Pix)
	}
}

// Clone returns a copy that shares no memory with f.
func (f *Frame) Clone() *Frame {
	c := *f
	c.Pix = append([]byte(nil), f.Pix...)
	return &c
}
