package store

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// event is one thing that the child did to its folder, as strace saw it.
type event struct {
	what     string // create, write, size, sync, rename, link, unlink, syncdir, done
	ino      int
	name, to string
	at       int64
	data     []byte
	step     int
}

const sector = 512

// disk is a folder below which the power can go: what was synced stays, of the
// rest each sector may or may not be there, and of the changes of names the
// first so many.
type disk struct {
	files   map[int][]byte // durable content
	pending map[int][]event
	names   map[string]int // durable
	renames []event        // pending, in order
}

func newDisk() *disk {
	return &disk{files: map[int][]byte{}, pending: map[int][]event{}, names: map[string]int{}}
}

func apply(b []byte, e event, keep func(sector int64) bool) []byte {
	if e.what == "size" {
		if int64(len(b)) > e.at {
			return b[:e.at]
		}
		return append(b, make([]byte, e.at-int64(len(b)))...)
	}
	for from := int64(0); from < int64(len(e.data)); {
		to := min((e.at+from)/sector*sector+sector-e.at, int64(len(e.data)))
		if keep((e.at + from) / sector) {
			if end := e.at + to; int64(len(b)) < end {
				b = append(b, make([]byte, end-int64(len(b)))...)
			}
			copy(b[e.at+from:], e.data[from:to])
		}
		from = to
	}
	return b
}

func all(int64) bool { return true }

func rename(names map[string]int, e event) {
	switch e.what {
	case "create":
		names[e.name] = e.ino
	case "rename":
		names[e.to] = names[e.name]
		delete(names, e.name)
	case "link":
		names[e.to] = names[e.name]
	case "unlink":
		delete(names, e.name)
	}
}

func (d *disk) play(e event) {
	switch e.what {
	case "write", "size":
		d.pending[e.ino] = append(d.pending[e.ino], e)
	case "sync":
		for _, p := range d.pending[e.ino] {
			d.files[e.ino] = apply(d.files[e.ino], p, all)
		}
		delete(d.pending, e.ino)
	case "syncdir":
		for _, r := range d.renames {
			rename(d.names, r)
		}
		d.renames = nil
	default:
		d.renames = append(d.renames, e)
	}
}

// cut is what is left in the folder when the power goes now.
func (d *disk) cut(rng *rand.Rand) map[string][]byte {
	names := maps.Clone(d.names)
	for _, r := range d.renames[:rng.IntN(len(d.renames)+1)] {
		rename(names, r)
	}
	left := map[string][]byte{}
	mood := rng.IntN(4) // nothing, everything, whole writes, single sectors
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ino := names[name]
		b := bytes.Clone(d.files[ino])
		for _, p := range d.pending[ino] {
			whole := mood == 1 || mood == 2 && rng.IntN(2) == 0
			b = apply(b, p, func(int64) bool { return whole || mood == 3 && rng.IntN(2) == 0 })
		}
		left[name] = b
	}
	return left
}

var (
	call    = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (-?\d+)`)
	quoted  = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	resumed = regexp.MustCompile(`^<\.\.\. \w+ resumed>(.*)$`)
)

func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// recording runs steps of the child under strace and returns what it did in dir.
func recording(t *testing.T, dir string, m *model, steps int) []event {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("%v; `make test` installs it", err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := child(t, dir, m, steps, strace, "-f", "-xx", "-s", "67108864", "-o", trace, "-e",
		"trace=openat,close,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,linkat,unlinkat,copy_file_range,sendfile,fallocate")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var events []event
	fds := map[string]int{}     // open files in dir
	names := map[string]int{}   // current
	half := map[string]string{} // calls that another thread interrupted
	inodes := 0
	dirFD := map[string]bool{}
	inDir := func(path string) (string, bool) {
		rest, ok := strings.CutPrefix(path, dir+"/")
		return rest, ok && !strings.Contains(rest, "/")
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		pid, text, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		text = strings.TrimLeft(text, " ")
		if start, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
			half[pid] = start
			continue
		}
		if again := resumed.FindStringSubmatch(text); again != nil {
			text = half[pid] + again[1]
		}
		c := call.FindStringSubmatch(text)
		if c == nil || strings.HasPrefix(c[3], "-") {
			continue // a signal, an exit, a call that failed
		}
		var strs []string
		for _, q := range quoted.FindAllStringSubmatch(c[2], -1) {
			strs = append(strs, unhex(q[1]))
		}
		fd, _, _ := strings.Cut(c[2], ",")
		ino := fds[fd]
		switch c[1] {
		case "openat":
			delete(dirFD, c[3])
			delete(fds, c[3])
			if strs[0] == dir {
				dirFD[c[3]] = true
			}
			name, ok := inDir(strs[0])
			if !ok {
				break
			}
			if names[name] == 0 {
				inodes++
				names[name] = inodes
				events = append(events, event{what: "create", ino: inodes, name: name})
			}
			fds[c[3]] = names[name]
			if strings.Contains(c[2], "O_TRUNC") {
				events = append(events, event{what: "size", ino: names[name]})
			}
		case "close":
			delete(fds, fd)
			delete(dirFD, fd)
		case "write":
			if fd == "1" && strings.HasPrefix(strs[0], "done ") {
				n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(strs[0], "done ")))
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, event{what: "done", step: n})
			} else if ino != 0 { // only new files are written so, and once
				events = append(events, event{what: "write", ino: ino, data: []byte(strs[0])})
			}
		case "pwrite64":
			if ino != 0 {
				at, err := strconv.ParseInt(c[2][strings.LastIndex(c[2], " ")+1:], 10, 64)
				if err != nil || c[3] != strconv.Itoa(len(strs[0])) {
					t.Fatalf("%.80s ... %s: %v", text, c[3], err)
				}
				events = append(events, event{what: "write", ino: ino, at: at, data: []byte(strs[0])})
			}
		case "ftruncate":
			if ino != 0 {
				n, err := strconv.ParseInt(c[2][strings.LastIndex(c[2], " ")+1:], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, event{what: "size", ino: ino, at: n})
			}
		case "fsync", "fdatasync":
			if dirFD[fd] {
				events = append(events, event{what: "syncdir"})
			} else if ino != 0 {
				events = append(events, event{what: "sync", ino: ino})
			}
		case "rename", "renameat", "renameat2", "linkat":
			from, ok := inDir(strs[0])
			to, ok2 := inDir(strs[1])
			if !ok || !ok2 {
				break
			}
			e := event{what: "rename", name: from, to: to}
			if c[1] == "linkat" {
				e.what = "link"
			}
			rename(names, e)
			events = append(events, e)
		case "unlinkat":
			if name, ok := inDir(strs[0]); ok {
				e := event{what: "unlink", name: name}
				rename(names, e)
				events = append(events, e)
			}
		default:
			if ino != 0 {
				t.Fatalf("the recorder does not know %.80s", text)
			}
		}
	}
	return events
}

func TestPowerCutAtAnyWriteNothingAcknowledgedIsLost(t *testing.T) {
	_, cuts := torture(0, 250)
	steps := max(40, cuts/20)
	dir := t.TempDir()
	start := &model{Seed: 11, People: map[UserID]*modeled{}}
	events := recording(t, dir, start, steps)

	rng := rand.New(rand.NewPCG(8, 9))
	d, now, kinds := newDisk(), start, map[string]int{}
	writes := 0
	for _, e := range events {
		if e.what != "done" {
			writes++
		}
	}
	each := float64(cuts) / float64(writes)
	left := filepath.Join(t.TempDir(), "left")
	tried, kept := 0, 0
	budget := 0.0
	for i, e := range events {
		if e.what == "done" {
			after, _ := now.next()
			now = after[len(after)-1]
			if now.Step != e.step {
				t.Fatalf("the child did step %d, the model %d", e.step, now.Step)
			}
			continue
		}
		d.play(e)
		kinds[e.what]++
		for budget += each; budget >= 1; budget-- {
			state := d.cut(rng)
			if err := os.RemoveAll(left); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(left, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, b := range state {
				write(t, filepath.Join(left, name), b)
			}
			after, _ := now.next()
			tried++
			ok := t.Run(fmt.Sprintf("event=%d", i), func(t *testing.T) {
				if recovered(t, left, append([]*model{now}, after...)) != now {
					kept++
				}
			})
			if !ok {
				t.FailNow()
			}
		}
	}
	t.Logf("%d power cuts among %d writes of %d steps (%v): nothing acknowledged lost; %d times the step under way was kept", tried, writes, steps, kinds, kept)
	for _, what := range []string{"write", "size", "sync", "rename", "link", "unlink", "syncdir"} {
		if kinds[what] == 0 {
			t.Errorf("no %s was recorded: the test does not test", what)
		}
	}
}
