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

// diskOf has what is in the folder, durably. Its files are numbered by their
// names, as the recording numbers those that it finds.
func diskOf(t *testing.T, dir string) *disk {
	t.Helper()
	d := newDisk()
	for name, ino := range inodesOf(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d.names[name], d.files[ino] = ino, b
	}
	return d
}

func inodesOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	found, err := os.ReadDir(dir) // sorted
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for i, f := range found {
		names[f.Name()] = i + 1
	}
	return names
}

// lay puts what a cut left into a folder of its own.
func lay(t *testing.T, dir string, state map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range state {
		write(t, filepath.Join(dir, name), b)
	}
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
	start := diskOf(t, dir)
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := child(t, dir, m, steps, strace, "-f", "-xx", "-s", "67108864", "-o", trace, "-e",
		"trace=openat,close,lseek,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,linkat,unlinkat,copy_file_range,sendfile,fallocate")
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
	at := map[string]int64{}    // where they stand
	names := start.names        // current
	now := start.files          // what is written, durable or not
	half := map[string]string{} // calls that another thread interrupted
	inodes := len(names)
	happens := func(e event) {
		if e.what == "write" || e.what == "size" {
			now[e.ino] = apply(now[e.ino], e, all)
		}
		events = append(events, e)
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
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
			fds[c[3]], at[c[3]] = names[name], 0
			if strings.Contains(c[2], "O_TRUNC") {
				happens(event{what: "size", ino: names[name]})
			}
		case "lseek":
			at[fd] = number(c[3])
		case "close":
			delete(fds, fd)
			delete(dirFD, fd)
		case "write":
			if fd == "1" && strings.HasPrefix(strs[0], "done ") {
				events = append(events, event{what: "done", step: int(number(strings.TrimPrefix(strs[0], "done ")))})
			} else if ino != 0 {
				happens(event{what: "write", ino: ino, at: at[fd], data: []byte(strs[0])})
				at[fd] += number(c[3])
			}
		case "copy_file_range", "sendfile": // of a migration's copy, both at where they stand
			args := strings.Split(c[2], ", ")
			to, from := args[0], args[1]
			if c[1] == "copy_file_range" {
				to, from = args[2], args[0]
			}
			if fds[to] == 0 {
				break
			}
			if fds[from] == 0 || strings.Count(c[2], "NULL") != map[string]int{"copy_file_range": 2, "sendfile": 1}[c[1]] {
				t.Fatalf("the recorder does not know %.80s", text)
			}
			n := number(c[3])
			data := bytes.Clone(now[fds[from]][at[from]:][:n])
			happens(event{what: "write", ino: fds[to], at: at[to], data: data})
			at[from] += n
			at[to] += n
		case "pwrite64":
			if ino != 0 {
				if c[3] != strconv.Itoa(len(strs[0])) {
					t.Fatalf("%.80s ... %s", text, c[3])
				}
				happens(event{what: "write", ino: ino, at: number(c[2][strings.LastIndex(c[2], " "):]), data: []byte(strs[0])})
			}
		case "ftruncate":
			if ino != 0 {
				happens(event{what: "size", ino: ino, at: number(c[2][strings.LastIndex(c[2], " "):])})
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
	_, cuts, seed := torture(0, 250)
	steps := max(40, cuts/20)
	dir := t.TempDir()
	start := &model{Seed: 11 + seed, People: map[UserID]*modeled{}}
	events := recording(t, dir, start, steps)

	rng := rand.New(rand.NewPCG(8, 9+seed))
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
	tr := newTraces()
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
			lay(t, left, state)
			after, _ := now.next()
			tried++
			ok := t.Run(fmt.Sprintf("event=%d", i), func(t *testing.T) {
				if recovered(t, left, append([]*model{now}, after...), tr) != now {
					kept++
				}
			})
			if !ok {
				t.FailNow()
			}
		}
	}
	t.Logf("%d power cuts among %d writes of %d steps (%v): nothing acknowledged lost; %d times the step under way was kept; nothing was left of %d who were forgotten", tried, writes, steps, kinds, kept, tr.searched)
	if tr.searched == 0 {
		t.Error("nobody was forgotten: the test does not test")
	}
	for _, what := range []string{"write", "size", "sync", "rename", "link", "unlink", "syncdir"} {
		if kinds[what] == 0 {
			t.Errorf("no %s was recorded: the test does not test", what)
		}
	}
}

// The power goes between any two writes of a migration, from every schema that
// was released: what is left is migrated again, or was already.
func TestPowerCutWhileMigrating(t *testing.T) {
	_, cuts, seed := torture(0, 250)
	rng := rand.New(rand.NewPCG(12, 13+seed))
	for _, schema := range releasedSchemas {
		path, key := released(t, schema)
		dir := filepath.Dir(path)
		d := diskOf(t, dir)
		events := recording(t, dir, &model{}, 0)
		each := max(1, cuts/4/len(events))
		kinds, tried := map[string]int{}, 0
		left := filepath.Join(t.TempDir(), "left")
		try := func() {
			lay(t, left, d.cut(rng))
			tried++
			migrated(t, filepath.Join(left, "vault.db"), KeyFile(filepath.Join(left, filepath.Base(string(key)))))
			if t.Failed() {
				t.FailNow()
			}
		}
		for _, e := range events {
			d.play(e)
			kinds[e.what]++
			for range each {
				try()
			}
		}
		t.Logf("schema %d: %d power cuts among %d writes (%v)", schema, tried, len(events), kinds)
		if kinds["write"] < 5 || kinds["sync"] < 3 || kinds["rename"] < 1 || kinds["syncdir"] < 1 {
			t.Errorf("schema %d: only %v was recorded: the test does not test", schema, kinds)
		}
	}
}
