package vision

import "testing"

// A preview shows what the frame shows: each pixel is the mean of those that
// it stands for, to the accuracy of YCbCr.
func TestPreviewIsTheFrameMadeSmaller(t *testing.T) {
	f := &Frame{Width: 64, Height: 48, Pix: make([]byte, 3*64*48)}
	for y := range f.Height {
		for x := range f.Width {
			p := f.Pix[3*(y*f.Width+x):]
			p[0], p[1], p[2] = byte(4*x), byte(5*y), byte(2*(x+y)) // slow ramps, so that chroma is not lost
		}
	}
	for _, width := range []int{1000, 64, 32, 25, 7, 2} {
		img := f.Preview(width)
		if width < MinSide {
			continue // too small for a frame, but it must not panic
		}
		small, err := FromImage(img)
		if err != nil {
			t.Fatal(err)
		}
		if w := min(width, 64); small.Width != w || small.Height != 48*w/64 {
			t.Fatalf("width %d: %dx%d", width, small.Width, small.Height)
		}
		for y := range small.Height {
			for x := range small.Width {
				got := small.Pix[3*(y*small.Width+x):]
				atX, atY := (2*x+1)*64/small.Width/2, (2*y+1)*48/small.Height/2
				for c, want := range []int{4 * atX, 5 * atY, 2 * (atX + atY)} {
					if d := int(got[c]) - want; d < -16 || d > 16 {
						t.Fatalf("width %d, pixel %d,%d, channel %d: %d, the frame has %d there", width, x, y, c, got[c], want)
					}
				}
			}
		}
	}
}

func BenchmarkPreview(b *testing.B) {
	f := &Frame{Width: 640, Height: 480, Pix: make([]byte, 3*640*480)}
	for b.Loop() {
		f.Preview(480)
	}
}
