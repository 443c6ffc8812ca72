package qemu

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board"
)

// BenchmarkBoot runs from reset until the application first sleeps for a byte:
// the loader's check of the image, Ed25519 and the digest, is nearly all of it.
// The emulator does not run at the pace of a chip.
func BenchmarkBoot(b *testing.B) {
	needs(b)
	hook := symbols(b, "app-a.elf", "hal_sleep")
	var took time.Duration
	for range b.N {
		q := start(b.Context(), b, withOld(b))
		must(b, q.gdb.breakpoints(hook))
		begin := time.Now()
		must(b, q.gdb.resume())
		must(b, q.gdb.stopped())
		took += time.Since(begin)
		must(b, q.Close())
	}
	b.ReportMetric(took.Seconds()/float64(b.N), "s/boot")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIdle is the share of a core that a board takes at which nothing
// happens.
func BenchmarkIdle(b *testing.B) {
	needs(b)
	q := start(b.Context(), b, withOld(b))
	l := dial(b.Context(), b, q)
	must(b, q.Run())
	l.info()
	const span = 2 * time.Second
	var used time.Duration
	b.ResetTimer()
	for range b.N {
		before := processor(b, q)
		time.Sleep(span)
		used += processor(b, q) - before
	}
	b.ReportMetric(100*used.Seconds()/(span.Seconds()*float64(b.N)), "%core")
}

// processor is the time that the emulator has had of a processor.
func processor(b *testing.B, q *Board) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(q.cmd.Process.Pid) + "/stat")
	must(b, err)
	_, text2, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(text2)
	var ticks int
	for _, s := range f[11:13] { // utime, stime: 100 a second
		n, err := strconv.Atoi(s)
		must(b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkUnlock is a challenge and an unlock, there and back. The emulated
// line takes no time, so all of it is what comes on top of the wire's.
func BenchmarkUnlock(b *testing.B) {
	needs(b)
	ctx := b.Context()
	q := start(ctx, b, withOld(b))
	l := dial(ctx, b, q)
	must(b, q.Run())
	l.info()
	press(b, q, l)
	_ = l.conn.Close()
	conn, err := q.Dial(ctx)
	must(b, err)
	defer conn.Close()
	c := board.New(conn)
	defer c.Close()
	_, _, err = c.Hello(ctx, testKey)
	must(b, err)
	b.ResetTimer()
	for range b.N {
		if _, err := c.Unlock(ctx, time.Second); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/unlock")
}

// byteTime is that of a byte on the board's line: 10 bits.
const byteTime = 10 * time.Second / board.Baud

// paced is a line with the pace of a real one, both ways.
type paced struct {
	net.Conn
	free time.Time // when the last byte sent will have left
}

// piece is how many bytes arrive together: the emulator takes six at a time, and is to
// take them while the others travel, as a chip does.
const piece = 32

func (p *paced) Write(b []byte) (n int, err error) {
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	for some := range slices.Chunk(b, piece) {
		p.free = p.free.Add(time.Duration(len(some)) * byteTime)
		time.Sleep(time.Until(p.free)) // a receiver acts on the last byte of what is written at once
		m, err := p.Conn.Write(some)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// BenchmarkUpload compares the upload of a 60 KB image to the real loader with the
// time that the wire alone takes for its blocks, the end, and their answers. The upload
// is all of the flasher's: the loader's info, load, the signature, the digest, ok. The
// emulator's flash takes no time, and it and the pacing of the line have the machine's
// own delays in them, once a block. What the board itself adds is measured in its own
// time by pico.mjs.
func BenchmarkUpload(b *testing.B) {
	needs(b)
	ctx := b.Context()
	q := start(ctx, b, withOld(b))
	must(b, q.SetInput(ServicePressed, true)) // into the loader
	must(b, q.Run())
	kind, err := firmware.BoardByName("microbit")
	must(b, err)
	m := &firmware.Image{Board: kind, Link: kind.B, Version: 2 << 24, Body: make([]byte, 60<<10-firmware.HeaderSize)}
	copy(m.Body, built(b, "app-b.bin"))
	must(b, m.Sign(firmware.DevelopmentKey()))
	var ratio float64
	for range b.N {
		conn, err := q.Dial(ctx)
		must(b, err)
		c := board.New(&paced{Conn: conn})
		_, err = c.Find(ctx, patience)
		must(b, err)
		var sent, total int
		begin := time.Now()
		_, err = c.Upload(ctx, board.Update{Images: []*firmware.Image{m}, Report: func(_ string, n, of int) {
			sent, total = n, of
		}})
		must(b, err)
		if sent != total {
			b.Fatalf("%d of %d bytes", sent, total)
		}
		blocks := (total + 1023) / 1024
		ratio += float64(time.Since(begin)) / float64(time.Duration(blocks*(1024+5+1)+2)*byteTime)
		c.Close()
		must(b, conn.Close())
	}
	b.ReportMetric(ratio/float64(b.N), "x-wire")
}
