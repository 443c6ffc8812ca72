package qemu

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board"
)

var errPulled = errors.New("the cable is pulled")

// cable is the line to a board; it is pulled after so many bytes to the board,
// negative for never.
type cable struct {
	net.Conn
	left int
}

func (c *cable) Write(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:min(len(b), c.left)])
	if c.left -= n; err == nil && n < len(b) {
		err = errPulled
	}
	return n, err
}

// flash puts a version on the board over a line of its own.
func flash(ctx context.Context, t testing.TB, b *Board, v firmware.Version, left int) (board.Flashed, error) {
	t.Helper()
	images, err := firmware.DecodeBundle(bundle(t, v, 0))
	must(t, err)
	conn, err := b.Dial(ctx)
	must(t, err)
	defer conn.Close()
	return board.Flash(ctx, &cable{conn, left}, board.Update{Images: images})
}

// The technician's flasher against the real loader: a blank chip, an update, and
// cables pulled between the first byte and the last; the same command again
// always ends well, and the board never lacks an image.
func TestFlasher(t *testing.T) {
	needs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	b := start(ctx, t, Blank(built(t, "loader.bin")))
	must(t, b.Run())
	v := firmware.Version(1 << 24)
	for _, slot := range []byte{'A', 'B'} {
		v++
		if done, err := flash(ctx, t, b, v, -1); err != nil || !done.Confirmed || done.Slot != slot || done.To != v {
			t.Fatalf("%+v %v", done, err)
		}
	}
	size := len(built(t, "app-a.bin"))
	for _, left := range []int{1, 600, size / 2, size + 900} {
		v++
		if done, err := flash(ctx, t, b, v, left); !errors.Is(err, errPulled) {
			t.Fatalf("pulled after %d bytes: %+v %v", left, done, err)
		}
		lockIs(t, b, false, "in an update")
		if done, err := flash(ctx, t, b, v, -1); err != nil || !done.Confirmed || done.To != v {
			t.Fatalf("again, after it was pulled at %d bytes: %+v %v", left, done, err)
		}
	}
}
