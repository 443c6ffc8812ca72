package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/firmware/board/boardtest"
	"github.com/faceprint/faceprint/firmware/qemu"
	"github.com/faceprint/faceprint/sensor/modsim"
)

func bundle(t *testing.T, kind string, v firmware.Version) string {
	t.Helper()
	b, err := firmware.EncodeBundle(boardtest.Image(kind, 'A', v, 4096), boardtest.Image(kind, 'B', v, 4096))
	if err != nil {
		t.Fatal(err)
	}
	return file(t, kind+"-"+v.String()+".fpb", b)
}

func file(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// faceprint runs the tool; everything that it says comes back.
func faceprint(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func microbit(serial byte) *boardtest.Board {
	b := boardtest.New("microbit", serial)
	b.Install(boardtest.Image("microbit", 'A', 1<<24, 4096))
	return b
}

func TestFlashPutsAnImageOnABoard(t *testing.T) {
	t.Parallel()
	b := microbit(1)
	port := b.Port(t)
	code, out, said := faceprint(t, "--json", "flash", bundle(t, "microbit", 1<<24+1), "--port", port)
	var r flashResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, said)
	}
	if !r.Confirmed || r.From != "1.0.0" || r.To != "1.0.1" || r.Slot != "B" || r.Serial != "0100000000000001" || b.Confirmed() != 1<<24+1 {
		t.Errorf("%+v", r)
	}
	code, out, _ = faceprint(t, "board", "info", "--port", port)
	if code != exitOK || !strings.Contains(out, "firmware 1.0.1 in slot B, not paired, confirmed") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestPairMonitorAndWipe(t *testing.T) {
	t.Parallel()
	b := microbit(2)
	port := b.Port(t)
	key := filepath.Join(t.TempDir(), "door.key")
	b.Press()
	if code, _, said := faceprint(t, "board", "pair", "--port", port, "--key", key); code != exitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := board.ParseKey(text); err != nil || !bytes.Equal(k, b.Key()) {
		t.Errorf("the file has another key: %v", err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if code, _, said := faceprint(t, "board", "pair", "--port", port, "--key", key); code != exitUsage || !strings.Contains(said, "is there already") || !strings.Contains(said, "name another file") {
		t.Errorf("a key was to be overwritten: exit %d: %s", code, said)
	}
	if code, out, said := faceprint(t, "board", "selftest", "--port", port, "--key", key); code != exitOK || !strings.Contains(out, "ok      image digest") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var out stopWriter
	out.at, out.stop = "session", cancel
	if code := run(ctx, []string{"board", "monitor", "--port", port, "--key", key}, nil, &out, &out); code != exitOK || !strings.Contains(out.String(), "paired") {
		t.Errorf("exit %d: %s", code, out.String())
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, said := faceprint(t, "board", "wipe", "--yes", "--port", port, "--key", key); code != exitFault || !strings.Contains(said, "chmod 600") {
		t.Errorf("a key that all can read: exit %d: %s", code, said)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, said := faceprint(t, "board", "wipe", "--port", port, "--key", key); code != exitUsage || b.Key() == nil {
		t.Errorf("wiped without --yes: exit %d: %s", code, said)
	}
	if code, _, said := faceprint(t, "board", "wipe", "--yes", "--port", port, "--key", key); code != exitOK || b.Key() != nil {
		t.Errorf("exit %d: %s", code, said)
	}
}

// A new board has nothing to go back to.
func TestInfoOfANewBoard(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	no := false
	printBoard(&out, shownBoard{Mode: "application", Board: "pico", Version: "1.0.0", Slot: "A", Paired: &no, Confirmed: &no, Tamper: &no})
	if s := out.String(); !strings.Contains(s, "in slot A, not paired, not confirmed yet\n") {
		t.Error(s)
	}
}

// Who watches a board is told that it restarted, and that it lost its key.
func TestMonitorTellsWhatEndsASession(t *testing.T) {
	t.Parallel()
	b := microbit(3)
	key := bytes.Repeat([]byte{0xA7}, board.KeySize)
	b.SetKey(key)
	port, name := b.Port(t), file(t, "door.key", board.FormatKey(key))
	var out bytes.Buffer
	w := writer(func(p []byte) (int, error) {
		switch {
		case bytes.Contains(p, []byte("now: lock")) && !strings.Contains(out.String(), "another begins"):
			b.Reset()
		case bytes.Contains(p, []byte("  session")) && strings.Contains(out.String(), "another begins"):
			b.Tamper()
		}
		return out.Write(p)
	})
	if code := run(t.Context(), []string{"board", "monitor", "--port", port, "--key", name}, nil, w, w); code != exitFault ||
		!strings.Contains(out.String(), "another begins") || !strings.Contains(out.String(), "TAMPER") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// stopWriter calls stop when a word has been written.
type stopWriter struct {
	bytes.Buffer
	at   string
	stop func()
}

func (w *stopWriter) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.at) {
		w.stop()
	}
	return n, err
}

// Everything that a technician may do wrong has a name and a next step.
func TestBadInputIsNamed(t *testing.T) {
	whole, err := os.ReadFile(bundle(t, "microbit", 1<<24+1))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(whole)
	changed[100] ^= 1
	good := bundle(t, "microbit", 1<<24+1)
	withKey := microbit(3)
	withKey.SetKey(bytes.Repeat([]byte{1}, 32))
	cut := microbit(4)
	cut.CutAt = 2
	hung := microbit(5)
	hung.Hang = 1<<24 + 1
	other := file(t, "other.key", []byte(strings.Repeat("5a", 32)))
	plain := microbit(6).Port(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"no such file":     {[]string{"flash", "nothing.fpb"}, exitFault, []string{"nothing.fpb", "no such file", "name an image"}},
		"a folder":         {[]string{"flash", "."}, exitFault, []string{"is a directory", "name an image"}},
		"list is no list":  {[]string{"flash", good, "--port", plain, "--batch", file(t, "l.csv", []byte("name,note\n")), "--count", "1"}, exitUsage, []string{"l.csv", "no list of flashed boards"}},
		"list nowhere":     {[]string{"flash", good, "--port", plain, "--batch", "nowhere/l.csv", "--count", "1"}, exitFault, []string{"there is no folder nowhere"}},
		"not an image":     {[]string{"flash", "board_test.go"}, exitFault, []string{"no image", ".fpb"}},
		"truncated file":   {[]string{"flash", file(t, "t.fpb", whole[:3000])}, exitFault, []string{"ends too early", "fetch the file again"}},
		"changed file":     {[]string{"flash", file(t, "c.fpb", changed)}, exitFault, []string{"signature does not match"}},
		"no such port":     {[]string{"flash", good, "--port", "/dev/ttyNOTHING"}, exitFault, []string{"/dev/ttyNOTHING", "no such port"}},
		"no such socket":   {[]string{"flash", good, "--port", "unix:nothing.sock"}, exitFault, []string{"nothing.sock", "emulator"}},
		"no port":          {[]string{"flash", good, "--port", "board_test.go"}, exitFault, []string{"no serial port"}},
		"other board":      {[]string{"flash", bundle(t, "pico", 1<<24), "--port", plain}, exitFault, []string{"the board is a microbit, the file is for pico:", "another board"}},
		"paired, no key":   {[]string{"flash", good, "--port", withKey.Port(t)}, exitFault, []string{"paired", "--key", "service button"}},
		"wrong key":        {[]string{"flash", good, "--port", withKey.Port(t), "--key", other}, exitFault, []string{"does not know the pairing key", "key file of this board"}},
		"no key file":      {[]string{"board", "selftest", "--port", plain, "--key", "nothing.key"}, exitFault, []string{"nothing.key", "board pair"}},
		"key file is none": {[]string{"board", "selftest", "--port", plain, "--key", good}, exitFault, []string{"larger than"}},
		"cable pulled":     {[]string{"flash", good, "--port", cut.Port(t)}, exitFault, []string{"is gone", "run the same command again"}},
		"image hangs":      {[]string{"flash", good, "--port", hung.Port(t)}, exitFault, []string{"does not start", "version 1.0.0 runs again"}},
		"unpaired":         {[]string{"board", "selftest", "--port", plain, "--key", other}, exitFault, []string{"not paired", "board pair"}},
		"full disk":        {[]string{"flash", good, "--port", plain, "--batch", "/dev/full", "--count", "1"}, exitFault, []string{"/dev/full", "disk is full"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, said := faceprint(t, c.args...)
			for _, w := range c.want {
				if !strings.Contains(said, w) {
					t.Errorf("%q is missing of: %s%s", w, out, said)
				}
			}
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
		})
	}
}

// A serial port with a fingerprint module on it is told from a board's.
func TestFingerprintModuleIsNamed(t *testing.T) {
	t.Parallel()
	code, _, said := faceprint(t, "board", "info", "--port", simPort(t, modsim.Config{Seed: 1}))
	if code != exitFault || !strings.Contains(said, "that is a fingerprint module (r503") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// A port at which nobody is.
func TestSilentPortIsNamed(t *testing.T) {
	t.Parallel()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	code, _, said := faceprint(t, "board", "info", "--port", slave.Name())
	if code != exitFault || !strings.Contains(said, "no guard board answers") || !strings.Contains(said, "TX and RX cross") {
		t.Errorf("exit %d: %s", code, said)
	}
}

func TestBatchWritesALineForEachBoard(t *testing.T) {
	t.Parallel()
	broken := microbit(9)
	broken.Mute = 1<<24 + 1
	list := filepath.Join(t.TempDir(), "list.csv")
	code, out, said := faceprint(t, "flash", bundle(t, "microbit", 1<<24+1), "--batch", list, "--count", "3",
		"--port", microbit(7).Port(t), "--port", broken.Port(t), "--port", microbit(8).Port(t))
	if code != exitFault || !strings.Contains(out, "2 boards flashed, 1 failed") {
		t.Fatalf("exit %d: %s%s", code, out, said)
	}
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	results := map[string]string{} // by serial number: boards end in any order
	for _, row := range rows[1:] {
		results[row[3]] = row[9]
	}
	for serial, want := range map[string]string{"0700000000000001": "flashed", "0900000000000001": "rolled back", "0800000000000001": "flashed"} {
		if results[serial] != want {
			t.Errorf("board %s: %q, want %q", serial, results[serial], want)
		}
	}
}

// A board that failed is tried again once it was unplugged.
func TestBatchTakesAFailedBoardAgain(t *testing.T) {
	t.Parallel()
	b, plugged := microbit(6), 0
	b.CutAt = 2
	port := boardtest.Listen(t, func(c net.Conn) {
		switch plugged++; plugged {
		case 1:
		case 2: // it is not there
			c.Close()
			return
		default:
			b.CutAt = 0
		}
		b.Serve(c)
	})
	list := filepath.Join(t.TempDir(), "list.csv")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := stopWriter{at: "2 boards done, 0 failed", stop: cancel}
	var out bytes.Buffer
	code := run(ctx, []string{"flash", bundle(t, "microbit", 1<<24+1), "--batch", list, "--port", port, "--port", microbit(5).Port(t)}, nil, &out, &said)
	rows, err := os.ReadFile(list)
	if code != exitOK || !strings.Contains(out.String(), "2 boards flashed, 0 failed") || !strings.Contains(said.String(), "tried once more") || err != nil || bytes.Count(rows, []byte("\n")) != 4 {
		t.Errorf("exit %d, %v: %s%s%s", code, err, out.String(), said.String(), rows)
	}
}

// A board that failed and was taken away has failed, whatever comes behind it.
func TestBatchCountsAFailedBoardThatNeverComesAgain(t *testing.T) {
	t.Parallel()
	b, plugged := microbit(6), 0
	b.CutAt = 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	port := boardtest.Listen(t, func(c net.Conn) {
		if plugged++; plugged == 1 {
			b.Serve(c)
			return
		}
		if plugged == 4 { // two looks later
			cancel()
		}
		c.Close()
	})
	var out, said bytes.Buffer
	code := run(ctx, []string{"flash", bundle(t, "microbit", 1<<24+1), "--batch", filepath.Join(t.TempDir(), "l.csv"), "--port", port}, nil, &out, &said)
	if code != exitFault || !strings.Contains(out.String(), "0 boards flashed, 1 failed") {
		t.Errorf("exit %d: %s%s", code, out.String(), said.String())
	}
}

// A board to which Ctrl-C came when its image was there is in the list.
func TestBatchListsTheBoardThatWasStopped(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "l.csv")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := stopWriter{at: "confirming it", stop: cancel}
	var out bytes.Buffer
	run(ctx, []string{"flash", bundle(t, "microbit", 1<<24+1), "--batch", list, "--port", microbit(6).Port(t)}, nil, &out, &said)
	rows, err := os.ReadFile(list)
	if err != nil || !strings.Contains(string(rows), ",0600000000000001,") || strings.Contains(out.String(), "0 boards flashed, 0 failed") {
		t.Errorf("%v: %s%s%s", err, out.String(), said.String(), rows)
	}
}

// fullDisk takes so many bytes more, and then none.
type fullDisk struct {
	*os.File
	room int
}

func (f *fullDisk) Write(p []byte) (int, error) {
	n, err := f.File.Write(p[:min(len(p), f.room)])
	if f.room -= n; err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

// A row is in the list whole or not at all, and the next run begins a line of its own.
func TestBatchListSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "list.csv")
	c, err := openCSV(name)
	if err != nil {
		t.Fatal(err)
	}
	header, _ := os.ReadFile(name)
	disk := &fullDisk{c.f.(*os.File), 40}
	c.f, c.w = disk, csv.NewWriter(disk)
	if err := c.add("unix:a", board.Flashed{Board: "microbit"}, nil); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), name+": the disk is full") {
		t.Error(err)
	}
	c.close()
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, header) {
		t.Errorf("%q %v", b, err)
	}
	// What an older version or a power cut left.
	if err := os.WriteFile(name, append(header, "2026-11-26T19:31:41Z,unix:/tmp/e9/board"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = openCSV(name); err != nil {
		t.Fatal(err)
	}
	if err := c.add("unix:b", board.Flashed{Board: "microbit"}, nil); err != nil {
		t.Fatal(err)
	}
	c.close()
	b, _ := os.ReadFile(name)
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 3 || strings.Count(lines[2], ",") != len(batchHeader)-1 || !strings.Contains(lines[2], ",unix:b,") {
		t.Errorf("%q", lines)
	}
}

func TestBatchCountIsLookedAt(t *testing.T) {
	t.Parallel()
	fpb := bundle(t, "microbit", 1<<24+1)
	for _, args := range [][]string{{"--count", "3"}, {"--batch", "x.csv", "--count", "-1"}, {"--batch", "x.csv", "--count", "0"}} {
		if code, _, said := faceprint(t, append([]string{"flash", fpb}, args...)...); code != exitUsage || !strings.Contains(said, "--count") {
			t.Errorf("%q: exit %d: %s", args, code, said)
		}
	}
}

// meeting is a line on which no byte of an upload goes through before all
// others are as far.
type meeting struct {
	net.Conn
	heard int
	all   *sync.WaitGroup
}

func (m *meeting) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if before := m.heard; before <= 500 && before+n > 500 { // more than questions: a block
		m.all.Done()
		m.all.Wait()
	}
	m.heard += n
	return n, err
}

// Boards on several ports are flashed at the same time: each waits for the other.
func TestBatchFlashesAllPortsAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	args := []string{"flash", bundle(t, "microbit", 1<<24+1), "--batch", filepath.Join(t.TempDir(), "l.csv"), "--count", "3"}
	for i := range 3 {
		b := microbit(byte(20 + i))
		all.Add(1)
		m := &meeting{all: &all}
		args = append(args, "--port", boardtest.Listen(t, func(c net.Conn) { m.Conn = c; b.Serve(m) }))
	}
	if code, out, said := faceprint(t, args...); code != exitOK || !strings.Contains(out, "3 boards flashed, 0 failed") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
}

// say lets the console read the lines.
func say(t *testing.T, lines string, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"console"}, args...), strings.NewReader(lines), &o, &e)
	return code, o.String(), e.String()
}

func TestConsole(t *testing.T) {
	t.Parallel()
	b := microbit(10)
	k := bytes.Repeat([]byte{0x5A}, 32)
	b.SetKey(k)
	port, key := b.Port(t), file(t, "door.key", board.FormatKey(k))
	code, out, said := say(t, "help\ninfo\nstatus\nunlock 2s\nlock\nevents\nselftest\nlamp blink\nbuzz 100ms\n", "--port", port, "--key", key)
	if code != exitOK {
		t.Fatalf("exit %d: %s%s", code, out, said)
	}
	for _, want := range []string{"microbit 0a00000000000001", "unlock [5s]", "lock shut, door closed", "lock granted", "unlocked 2s", "locked host", "failed: []"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing of %s", want, out)
		}
	}
	if b.Opened() != 1 || b.Open() {
		t.Errorf("opened %d times, open %v", b.Opened(), b.Open())
	}
	// Into the loader, an image, and out again.
	code, out, said = say(t, "loader\ninfo\nhello\nload "+bundle(t, "microbit", 1<<24+5)+"\nboot\nstatus\n", "--port", port, "--key", key)
	if code != exitOK || b.Confirmed() != 1<<24+5 {
		t.Fatalf("exit %d, %v: %s%s", code, b.Confirmed(), out, said)
	}
	for _, want := range []string{"in its loader", "slot A 1.0.0 rollback=0 sequence=1 confirmed", "error command: HELLO", "1.0.5 is in slot B", "firmware 1.0.5"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing of %s", want, out)
		}
	}
	// What fails has a name, and ends a script.
	for lines, want := range map[string]string{
		"dance\n":       `"dance" is not known`,
		"unlock soon\n": "is no duration",
		"unlock 50ms\n": "does not unlock for so long",
	} {
		if code, _, said := say(t, lines+"unlock\n", "--port", port, "--key", key); code == exitOK || !strings.Contains(said, want) || b.Opened() != 1 {
			t.Errorf("%q: exit %d: %s", lines, code, said)
		}
	}
	if code, _, said := say(t, "status\n", "--port", port); code != exitUsage || !strings.Contains(said, "--key") {
		t.Errorf("without a key: exit %d: %s", code, said)
	}
}

// The console on a terminal: what was typed comes back with the arrow key, also
// in the next console.
func TestConsoleKeepsItsHistory(t *testing.T) {
	b := microbit(11)
	port := b.Port(t)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv("TERM", "xterm")
	for _, typed := range []string{"help\rquit\r", "\x1b[A\x1b[A\rquit\r"} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		shown := make(chan string)
		go func() {
			var all bytes.Buffer
			b := make([]byte, 4096)
			for {
				n, err := master.Read(b)
				all.Write(b[:n])
				if err != nil {
					shown <- all.String()
					return
				}
			}
		}()
		if _, err := master.WriteString(typed); err != nil {
			t.Fatal(err)
		}
		code := run(t.Context(), []string{"console", "--port", port}, slave, slave, slave)
		slave.Close()
		out := <-shown
		master.Close()
		if code != exitOK || !strings.Contains(out, "restart into the loader") {
			t.Errorf("typed %q: exit %d: %q", typed, code, out)
		}
	}
}

func TestSimBoardSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if code, _, said := faceprint(t, "sim", "board"); code != exitUsage || !strings.Contains(said, "--dir") {
		t.Errorf("without a folder: exit %d: %s", code, said)
	}
	code, _, said := faceprint(t, "sim", "board", "--host", "--dir", t.TempDir(), "--firmware", t.TempDir())
	if code != exitFault || !strings.Contains(said, "make firmware") {
		t.Errorf("without the firmware: exit %d: %s", code, said)
	}
}

// children are the processes that this one started under a name.
func children(t *testing.T, name string) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			comm, _ := os.ReadFile("/proc/" + word + "/comm")
			if pid, err := strconv.Atoi(word); err == nil && strings.HasPrefix(name, strings.TrimSpace(string(comm))) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestSimBoardHasItsFolderAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := alone(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, said := faceprint(t, "sim", "board", "--dir", dir); code != exitFault || !strings.Contains(said, "in use by another") {
		t.Errorf("exit %d: %s", code, said)
	}
	unlock()
	if unlock, err = alone(dir); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestLampThatBlinksIsToldOnce(t *testing.T) {
	var out bytes.Buffer
	var l lamp
	now := time.Unix(1000, 0)
	for i, on := range []bool{true, true, false, true, false, true, true, true, false} {
		l.see(&out, on, now)
		step := blinkLongest / 2
		if i >= 5 {
			step = blinkLongest
		}
		now = now.Add(step)
	}
	if want := "lamp 1\nlamp 0\nlamp blinks\nlamp 1\nlamp 0\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// The bench's board keeps its flash like a real one: over a power cut, and over the
// end of the emulator.
func TestSimBoardKeepsItsFlash(t *testing.T) {
	built := filepath.Join("..", "..", "firmware", "build")
	if _, err := os.Stat(filepath.Join(built, "microbit", "loader.bin")); err != nil || qemu.Available() != nil {
		t.Skip("needs 'make firmware' and QEMU")
	}
	dir, err := os.MkdirTemp("", "sim") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	start := func() (commands io.WriteCloser, lines chan string, ended chan int) {
		in, commands := io.Pipe()
		out, said := io.Pipe()
		lines, ended = make(chan string, 256), make(chan int, 1)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		go func() {
			ended <- run(t.Context(), []string{"sim", "board", "--dir", dir, "--firmware", built}, in, said, said)
			said.Close()
		}()
		return commands, lines, ended
	}
	expect := func(lines chan string, want string) {
		t.Helper()
		for line := range lines {
			if strings.HasPrefix(line, want) {
				return
			}
		}
		t.Fatalf("it ended before it said %q", want)
	}
	port := "unix:" + filepath.Join(dir, "serial.sock")
	kept := func() {
		t.Helper()
		if code, out, said := faceprint(t, "board", "info", "--port", port); code != exitOK || !strings.Contains(out, "in slot A, not paired, confirmed") {
			t.Errorf("exit %d: %s%s", code, out, said)
		}
	}
	commands, lines, ended := start()
	expect(lines, "ready ")
	if code, _, said := faceprint(t, "flash", filepath.Join(built, "microbit", "app.fpb"), "--port", port); code != exitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	fmt.Fprintln(commands, "cut")
	expect(lines, "power cut")
	expect(lines, "ready ")
	kept()
	pids := children(t, "qemu-system-arm")
	if len(pids) != 1 {
		t.Fatalf("emulators: %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != exitFault {
		t.Errorf("exit %d", code)
	}
	commands, lines, ended = start()
	expect(lines, "ready ")
	kept()
	fmt.Fprintln(commands, "quit")
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d", code)
	}
}

// A board that may have taken a key while its answer was lost must not be left with a key
// that nobody has.
func TestPairingOfUnknownEndKeepsTheKey(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(stop func(), raw []byte) []byte{
		"answer lost": func(func(), []byte) []byte { return nil },
		"Ctrl-C":      func(stop func(), _ []byte) []byte { stop(); return nil },
		"forged":      func(_ func(), raw []byte) []byte { raw[3] ^= 1; return boardtest.Plain(raw[0], raw[1:len(raw)-4]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const pair = 0x03
			b := microbit(1)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			b.Lie(func(q byte, raw []byte) []byte {
				if q == pair {
					return lose(stop, raw)
				}
				return raw
			})
			b.Press()
			path := filepath.Join(t.TempDir(), "door.key")
			var out, said bytes.Buffer
			code := run(ctx, []string{"board", "pair", "--port", b.Port(t), "--key", path}, nil, &out, &said)
			text, err := os.ReadFile(path)
			if code == exitOK || err != nil || strings.TrimSpace(string(text)) != fmt.Sprintf("%x", b.Key()) {
				t.Fatalf("exit %d, %v: the board has %x and the file %q\n%s", code, err, b.Key(), text, said.String())
			}
			for _, word := range []string{path, "unknown", "board info"} {
				if !strings.Contains(said.String(), word) {
					t.Errorf("no %q in: %s", word, said.String())
				}
			}
		})
	}
}
