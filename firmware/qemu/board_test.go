package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board"
)

// build makes loader and application of the reference board, once.
var build = sync.OnceValue(func() error {
	// The lock: other packages' tests may build too.
	out, err := exec.Command("flock", "..", "make", "-s", "-C", "..", "microbit").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make -C firmware microbit: %w\n%s", err, out)
	}
	return nil
})

func built(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "build", "microbit", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// needs skips where the machine lacks what `make test` installs.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range append(programs, program, "arm-none-eabi-gcc") {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: 'make test' installs it", p)
		}
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
}

// bundle signs the built application again, with another version.
func bundle(t testing.TB, version firmware.Version, rollback uint32) []byte {
	t.Helper()
	board, err := firmware.BoardByName("microbit")
	if err != nil {
		t.Fatal(err)
	}
	var images []*firmware.Image
	for _, p := range []struct {
		file string
		link uint32
	}{{"app-a.bin", board.A}, {"app-b.bin", board.B}} {
		m := &firmware.Image{Board: board, Link: p.link, Version: version, Rollback: rollback, Body: built(t, p.file)}
		if err := m.Sign(firmware.DevelopmentKey()); err != nil {
			t.Fatal(err)
		}
		images = append(images, m)
	}
	b, err := firmware.EncodeBundle(images...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withOld is a flash with loader and version 1.0.0, confirmed, in slot A, and the
// pairing key of the tests.
func withOld(t testing.TB) []byte {
	t.Helper()
	board, err := firmware.BoardByName("microbit")
	if err != nil {
		t.Fatal(err)
	}
	flash := Blank(built(t, "loader.bin"))
	images, err := firmware.DecodeBundle(bundle(t, 1<<24, 0))
	if err != nil {
		t.Fatal(err)
	}
	copy(flash[board.A:], images[0].Encode())
	trailer := flash[board.A+board.Slot-board.Page:]
	binary.LittleEndian.PutUint32(trailer, 1)
	binary.LittleEndian.PutUint32(trailer[4:], ^uint32(1))
	copy(trailer[8:], "RIEDCONF")
	return flash
}

func start(ctx context.Context, t testing.TB, flash []byte, more ...string) *Board {
	t.Helper()
	dir, err := os.MkdirTemp("", "fp") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b, err := Start(ctx, dir, flash, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitLock waits for a level of the lock line.
func waitLock(t testing.TB, b *Board, want bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		o, err := b.Outputs()
		must(t, err)
		if o.Lock == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the lock line never became %v", want)
		}
	}
}

func lockIs(t testing.TB, b *Board, want bool, when string) {
	t.Helper()
	o, err := b.Outputs()
	must(t, err)
	if o.Lock != want {
		t.Fatalf("lock line %v %s", o.Lock, when)
	}
}

// sx sends data with lrzsz's sx, which nobody here wrote. What the board says
// behind the transfer is left on the line.
func sx(ctx context.Context, t testing.TB, l *line, data []byte, args ...string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.fpb")
	must(t, os.WriteFile(file, data, 0o600))
	in, toSX, err := os.Pipe()
	must(t, err)
	defer func() { _ = in.Close() }()
	fromSX, out, err := os.Pipe()
	must(t, err)
	defer func() { _ = fromSX.Close() }()
	cmd := exec.CommandContext(ctx, "sx", append(args, "-q", file)...)
	cmd.Stdin, cmd.Stdout = in, out
	must(t, cmd.Start())
	_ = out.Close()

	var wait sync.WaitGroup
	wait.Go(func() { _, _ = io.Copy(l.conn, fromSX) })
	_, _ = toSX.Write(l.got)
	l.got = nil
	_ = l.conn.SetReadDeadline(time.Time{})
	wait.Go(func() { _, _ = io.Copy(toSX, l.conn); _ = toSX.Close() })
	err = cmd.Wait()
	_ = l.conn.SetReadDeadline(time.Now()) // the copying ends
	wait.Wait()
	l.got, _ = io.ReadAll(in) // what sx did not take
	return err
}

// press presses and releases the service button of a running board.
func press(t testing.TB, b *Board, l *line) {
	t.Helper()
	must(t, b.SetInput(ServicePressed, true))
	// The board debounces; the press is seen when pairing is no longer refused.
	for end := time.Now().Add(patience); ; {
		if kind, body := l.plain(0x03, testKey); kind == 0x83 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("PAIR was answered with type %#x and %x", kind, body)
		}
	}
	must(t, b.SetInput(ServicePressed, false))
}

var testKey = bytes.Repeat([]byte{0xA5, 0x17}, 16)

// From a blank chip to an open door, with a foreign uploader.
func TestBlankBoardIsLoadedBySxPairedAndUnlocks(t *testing.T) {
	needs(t, "sx")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b := start(ctx, t, Blank(built(t, "loader.bin")))
	l := dial(ctx, t, b)
	must(t, b.Run())
	if text := l.until("> "); !strings.Contains(text, "faceprint-loader 1.0.0 board=2") || !strings.Contains(text, "slot A empty") {
		t.Fatalf("the loader says %q", text)
	}
	l.command("boot")
	l.until("error none")
	l.command("load")
	l.until("ready A 0x00008000\r\n")
	lockIs(t, b, false, "in the loader")
	if err := sx(ctx, t, l, bundle(t, 1<<24, 0), "-k"); err != nil {
		t.Fatalf("sx: %v", err)
	}
	l.until("ok A 1.0.0\r\n")
	lockIs(t, b, false, "after an update")
	used, size := stack(t, b, "loader.elf")
	if used == 0 || used >= size {
		t.Errorf("the loader's stack: %d of %d bytes used", used, size)
	}
	t.Logf("loader stack: %d of %d bytes used", used, size)
	l.command("boot")
	l.until("boot A 1.0.0\r\n")
	if slot, version, flags := l.info(); slot != 'A' || version != "1.0.0" || flags != 0 {
		t.Fatalf("slot %c, version %s, flags %d", slot, version, flags)
	}

	press(t, b, l)
	l.hello(testKey)
	if kind, status := l.ask(0x41, nil); kind != 0xC1 || status[0] != 2 {
		t.Fatalf("BEAT was answered with type %#x and %x", kind, status)
	}
	if _, _, flags := l.info(); flags != 3 {
		t.Fatalf("flags %d, want paired and confirmed", flags)
	}
	lockIs(t, b, false, "before an unlock")
	l.unlock(30 * time.Second)
	waitLock(t, b, true)
	if kind, _ := l.ask(0x44, nil); kind != 0xC4 {
		t.Fatalf("LOCK was answered with type %#x", kind)
	}
	lockIs(t, b, false, "after LOCK")

	l.unlock(200 * time.Millisecond)
	waitLock(t, b, false)

	// What the stack needed, and that all is well.
	kind, body := l.ask(0x46, nil)
	if kind != 0xC6 || binary.LittleEndian.Uint16(body) != 63 {
		t.Fatalf("SELFTEST was answered with type %#x and %x", kind, body)
	}
	t.Logf("application stack: %d of %d bytes used", binary.LittleEndian.Uint16(body[2:]), binary.LittleEndian.Uint16(body[4:]))
}

// What must not open the lock, on the real binary.
func TestLockStaysShut(t *testing.T) {
	needs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b := start(ctx, t, withOld(t))
	l := dial(ctx, t, b)
	lockIs(t, b, false, "at reset")
	must(t, b.Run())
	if slot, _, flags := l.info(); slot != 'A' || flags&2 == 0 {
		t.Fatalf("slot %c, flags %d", slot, flags)
	}
	press(t, b, l)
	l.hello(testKey)
	_, challenge := l.ask(0x42, nil)
	unlock := l.seal(0x43, binary.LittleEndian.AppendUint16(challenge, 30000))

	bad := bytes.Clone(unlock)
	bad[len(bad)-1] ^= 1
	l.write(cobs(bad))
	if raw := l.frame(); raw[0] != 0xBF || raw[2] != 8 {
		t.Fatalf("a bad tag was answered with %x", raw)
	}
	lockIs(t, b, false, "after a bad tag")

	l.write(cobs(unlock))
	if raw := l.frame(); raw[0] != 0xC3 {
		t.Fatalf("UNLOCK was answered with %x", raw)
	}
	lockIs(t, b, true, "after a valid unlock")
	l.ask(0x44, nil)
	lockIs(t, b, false, "after LOCK")
	l.write(cobs(unlock))
	if raw := l.frame(); raw[0] != 0xBF || raw[2] != 9 {
		t.Fatalf("a replay was answered with %x", raw)
	}
	lockIs(t, b, false, "after a replay")

	// The heartbeat is lost: nothing is sent any more.
	l.unlock(30 * time.Second)
	lockIs(t, b, true, "after a valid unlock")
	waitLock(t, b, false)
	l.write(cobs(l.seal(0x41, nil)))
	if raw := l.frame(); raw[0] != 0xBF || raw[2] != 7 {
		t.Fatalf("after the loss, a frame was answered with %x", raw)
	}

	// Reset while open.
	l.hello(testKey)
	l.unlock(30 * time.Second)
	lockIs(t, b, true, "after a valid unlock")
	must(t, b.Reset(nil))
	waitLock(t, b, false)
	l.got = nil
	_, _, _ = l.info()
	lockIs(t, b, false, "after a reset")

	// Into the loader while open.
	l.hello(testKey)
	l.unlock(30 * time.Second)
	lockIs(t, b, true, "after a valid unlock")
	if kind, _ := l.ask(0x49, nil); kind != 0xC9 {
		t.Fatalf("LOADER was answered with type %#x", kind)
	}
	l.until("> ")
	lockIs(t, b, false, "in the loader")

	// The enclosure is opened: the key is gone.
	l.command("boot")
	l.until("boot A 1.0.0\r\n")
	l.hello(testKey)
	l.unlock(30 * time.Second)
	must(t, b.SetInput(TamperOpen, true))
	waitLock(t, b, false)
	if kind, body := l.plain(0x02, append([]byte{1}, testKey[:16]...)); kind != 0xBF || body[1] != 6 {
		t.Fatalf("HELLO to a tampered board was answered with type %#x and %x", kind, body)
	}
}

// An upgrade by sx; the trial falls back when it is not confirmed.
func TestTrialFallsBackUnlessConfirmed(t *testing.T) {
	needs(t, "sx")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b := start(ctx, t, withOld(t))
	l := dial(ctx, t, b)
	must(t, b.SetInput(ServicePressed, true)) // into the loader
	must(t, b.Run())
	l.until("target B 0x00020000\r\n> ")
	l.command("load")
	l.until("ready B 0x00020000\r\n")
	must(t, sx(ctx, t, l, bundle(t, 2<<24, 1)))
	l.until("ok B 2.0.0\r\n")
	l.command("boot")
	l.until("boot B 2.0.0\r\n")
	if slot, version, _ := l.info(); slot != 'B' || version != "2.0.0" {
		t.Fatalf("slot %c, version %s", slot, version)
	}
	must(t, b.Reset(nil)) // before any heartbeat
	l.got = nil
	if slot, version, _ := l.info(); slot != 'A' || version != "1.0.0" {
		t.Fatalf("after an unconfirmed trial: slot %c, version %s", slot, version)
	}
	l.got = nil
	must(t, b.Reset(map[Input]bool{ServicePressed: true})) // still held: into the loader
	l.until("target B 0x00020000\r\n> ")
}

// Refusals of the real loader, by their names.
func TestLoaderRefuses(t *testing.T) {
	needs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	good := bundle(t, 2<<24, 1)
	for name, data := range map[string][]byte{
		"magic":     bytes.Repeat([]byte("not an image. "), 100),
		"signature": change(good, len(good)/2+30, 7),
		"torn":      good[:len(good)/2+4096],
		"digest":    change(good, len(good)/2+5000, 0x11),
	} {
		t.Run(name, func(t *testing.T) {
			b := start(ctx, t, withOld(t))
			l := dial(ctx, t, b)
			must(t, b.SetInput(ServicePressed, true))
			must(t, b.Run())
			l.until("> ")
			l.command("load")
			l.until("ready B 0x00020000\r\n")
			if answer := l.xmodem(data); answer != 0x18 {
				t.Fatalf("the transfer ended with %#x", answer)
			}
			l.until("error " + name + ": ")
			l.until("> ")
			must(t, b.Reset(nil))
			l.got = nil
			if slot, version, _ := l.info(); slot != 'A' || version != "1.0.0" {
				t.Fatalf("slot %c, version %s", slot, version)
			}
		})
	}
}

func change(data []byte, at int, by byte) []byte {
	c := bytes.Clone(data)
	c[at] ^= by
	return c
}

// A file that ends too soon is refused at its end, which lrzsz's sx does not expect: it
// asks ten times and then ends by itself.
func TestSxEndsAtARefusedEnd(t *testing.T) {
	needs(t, "sx")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := start(ctx, t, withOld(t))
	l := dial(ctx, t, b)
	must(t, b.SetInput(ServicePressed, true))
	must(t, b.Run())
	l.until("> ")
	l.command("load")
	l.until("ready B 0x00020000\r\n")
	good := bundle(t, 2<<24, 1)
	err := sx(ctx, t, l, good[:len(good)/2+4096], "-k")
	if err == nil || ctx.Err() != nil {
		t.Fatalf("sx: %v, %v", err, ctx.Err())
	}
	l.command("")
	l.until("> ")
	l.command("info")
	l.until("slot B empty")
	l.until("> ")
}

// The power is cut in the middle of an upgrade of the real binary, at an
// instruction inside of a flash operation; the board boots a whole image, and the
// upgrade can be repeated. GUARD_CUTS says how many cuts (`make nightly`: 60).
func TestPowerCut(t *testing.T) {
	needs(t, "sx", "arm-none-eabi-nm")
	cuts := 4
	if s := os.Getenv("GUARD_CUTS"); s != "" {
		var err error
		cuts, err = strconv.Atoi(s)
		must(t, err)
	}
	hooks := symbols(t, "loader.elf", "hal_flash_write", "hal_flash_erase", "write_word")
	data := bundle(t, 2<<24, 1)
	// Flash calls of an upgrade: header and trailer page are erased; each page of the
	// body is erased, but for the first, and written; then trailer and header.
	pages := (firmware.HeaderSize + len(built(t, "app-b.bin")) + 1023) / 1024
	calls := 2 + 2*pages - 1 + 2
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(cuts+2)*patience)
	defer cancel()
	outcomes := map[string]int{}
	for i := range cuts {
		call := calls - i*calls/cuts
		word := (i * 37) % 60 // the last call, the header, has 64
		flash := cutAt(ctx, t, hooks, data, call, word)

		b := start(ctx, t, flash)
		l := dial(ctx, t, b)
		must(t, b.Run())
		slot, version, _ := l.info()
		if (slot != 'A' || version != "1.0.0") && (slot != 'B' || version != "2.0.0") {
			t.Fatalf("cut at call %d: slot %c, version %s", call, slot, version)
		}
		outcomes[version]++
		lockIs(t, b, false, "after a power cut")
		_ = b.Close()
	}
	t.Logf("%d cuts: %v", cuts, outcomes)
}

// cutAt runs an upgrade up to a word of the n-th flash call, cuts the power, and
// returns what the flash holds then. hooks are the two calls and the word.
func cutAt(ctx context.Context, t testing.TB, hooks []uint32, data []byte, call, word int) []byte {
	t.Helper()
	b := start(ctx, t, withOld(t))
	l := dial(ctx, t, b)
	must(t, b.SetInput(ServicePressed, true))
	must(t, b.Run())
	l.until("> ")
	l.command("load")
	l.until("ready B 0x00020000\r\n")
	must(t, b.gdb.halt())
	must(t, b.gdb.breakpoints(hooks[:2]))
	must(t, b.gdb.resume())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- sx(ctx, t, l, data, "-k") }()
	must(t, b.gdb.stopped())
	for range call - 1 {
		must(t, b.gdb.next())
	}
	must(t, b.gdb.breakpoints(hooks[2:]))
	for range word {
		must(t, b.gdb.next())
	}
	flash, err := b.Flash()
	must(t, err)
	cancel()
	<-sent
	must(t, b.Close())
	return flash
}

// The power is cut in the middle of what the application writes: confirm, pair and
// wipe, between two words. The board boots its image, the lock stays shut, it is paired
// with the whole key or not at all, and the same can be done again.
func TestPowerCutOfTheApplication(t *testing.T) {
	needs(t, "arm-none-eabi-nm")
	hooks := symbols(t, "app-a.elf", "hal_flash_erase", "write_word")
	confirmed := withOld(t)
	fresh := bytes.Clone(confirmed)
	kind, err := firmware.BoardByName("microbit")
	must(t, err)
	copy(fresh[kind.A+kind.Slot-kind.Page+12:], "\xFF\xFF\xFF\xFF") // tried, not confirmed
	pair := func(ctx context.Context, c *board.Conn) error {
		for {
			if _, err := c.Pair(ctx, testKey); err == nil || ctx.Err() != nil || errors.Is(err, board.ErrSilent) {
				return err
			}
		}
	}
	wipe := func(ctx context.Context, c *board.Conn) error {
		if _, _, err := c.Hello(ctx, testKey); err != nil {
			return err
		}
		return c.Wipe(ctx)
	}
	for _, op := range []struct {
		name          string
		flash         []byte
		paired        bool // before
		do            func(context.Context, *board.Conn) error
		before, after uint8 // flags: 1 paired, 2 confirmed
		cuts          []int // at this erase or word; a wipe begins with a session, four words
	}{
		{"confirm", fresh, false, func(ctx context.Context, c *board.Conn) error { return c.Confirm(ctx) }, 0, 2, []int{1, 2, 4}},
		{"pair", confirmed, false, pair, 2, 3, []int{1, 2, 6, 10, 12}},
		{"wipe", confirmed, true, wipe, 3, 2, []int{1, 5, 6, 8}},
	} {
		t.Run(op.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
			defer cancel()
			outcomes := map[string]int{}
			for _, n := range op.cuts {
				flash := op.flash
				if op.paired {
					b, c := listening(ctx, t, flash)
					must(t, b.SetInput(ServicePressed, true))
					must(t, pair(ctx, c))
					flash, err = b.Flash()
					must(t, err)
					_ = c.Close()
					must(t, b.Close())
				}
				b, c := listening(ctx, t, flash)
				if !op.paired {
					must(t, b.SetInput(ServicePressed, true))
				}
				must(t, b.gdb.halt())
				must(t, b.gdb.breakpoints(hooks))
				must(t, b.gdb.resume())
				doing, cut := context.WithCancel(ctx)
				done := make(chan struct{})
				go func() { defer close(done); _ = op.do(doing, c) }()
				must(t, b.gdb.stopped())
				for range n - 1 {
					must(t, b.gdb.next())
				}
				flash, err = b.Flash()
				must(t, err)
				cut()
				<-done
				_ = c.Close()
				must(t, b.Close())

				b, c = listening(ctx, t, flash)
				i, err := c.Info(ctx)
				must(t, err)
				if i.Slot != 'A' || i.Flags != op.before && i.Flags != op.after {
					t.Fatalf("cut %d: slot %c, flags %d", n, i.Slot, i.Flags)
				}
				outcomes[map[bool]string{true: "done", false: "not done"}[i.Flags == op.after]]++
				lockIs(t, b, false, "after a power cut")
				if i.Flags == op.before {
					must(t, b.SetInput(ServicePressed, true))
					must(t, op.do(ctx, c))
				}
				if i, err = c.Info(ctx); err != nil || i.Flags != op.after {
					t.Fatalf("cut %d, and again: flags %d, %v", n, i.Flags, err)
				}
				if i.Paired() {
					if _, _, err := c.Hello(ctx, testKey); err != nil {
						t.Fatalf("cut %d: the key that it holds is not the one it was given: %v", n, err)
					}
				}
				_ = c.Close()
				must(t, b.Close())
			}
			t.Logf("%d cuts: %v", len(op.cuts), outcomes)
		})
	}
}

// listening is a board whose application answers.
func listening(ctx context.Context, t testing.TB, flash []byte) (*Board, *board.Conn) {
	t.Helper()
	b := start(ctx, t, flash)
	conn, err := b.Dial(ctx)
	must(t, err)
	must(t, b.Run())
	c := board.New(conn)
	_, err = c.Find(ctx, patience)
	must(t, err)
	return b, c
}

// stack is how much of its stack a program has used since its start, which left
// paint there, and how much there is.
func stack(t testing.TB, b *Board, program string) (used, size int) {
	t.Helper()
	ends := symbols(t, program, "stack_start", "stack_end")
	file := b.path("stack")
	_, err := b.monitor("memsave", map[string]any{"val": ends[0], "size": ends[1] - ends[0], "filename": file})
	must(t, err)
	ram, err := os.ReadFile(file)
	must(t, err)
	paint := []byte{0xDE, 0xC0, 0xFE, 0x5A}
	for used = len(ram); used > 0 && bytes.HasPrefix(ram[len(ram)-used:], paint); used -= len(paint) {
	}
	return used, len(ram)
}

// symbols are the addresses of functions of a built program.
func symbols(t testing.TB, program string, names ...string) []uint32 {
	t.Helper()
	out, err := exec.Command("arm-none-eabi-nm", "../build/microbit/"+program).Output()
	must(t, err)
	found := map[string]uint32{}
	for row := range strings.Lines(string(out)) {
		if f := strings.Fields(row); len(f) == 3 {
			v, err := strconv.ParseUint(f[0], 16, 32)
			must(t, err)
			found[f[2]] = uint32(v)
		}
	}
	var at []uint32
	for _, name := range names {
		a, ok := found[name]
		if !ok {
			t.Fatalf("%s has no symbol %s", program, name)
		}
		at = append(at, a)
	}
	return at
}
