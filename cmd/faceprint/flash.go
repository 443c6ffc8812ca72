package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board"
)

func (t *tool) flash() *cobra.Command {
	var port boardPort
	var production, batch string
	var count int
	c := &cobra.Command{
		Use:   "flash FILE.fpb",
		Short: "Put an image on a guard board",
		Long: `Put an image on the guard board that answers. The file is checked before a byte
is sent; the image goes to the slot that does not run, is started, and is kept
only when it answers. If it does not, the board goes back to the confirmed one
that ran before. The cable may be pulled at any moment: run the same command
again.

A paired board takes an update from the owner of its key (--key), or in its
loader: hold the service button while you switch it on. That is inside of the
enclosure, and to open it erases the key.

--batch FILE.csv flashes every board that is plugged in, all ports at the same
time, until Ctrl-C or --count boards are done, and adds a line for each to the
file.`,
		Example: "  faceprint flash pico-1.0.1.fpb --key /var/lib/faceprint/door.key\n  faceprint flash pico-1.0.1.fpb --batch today.csv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch counted := cmd.Flags().Changed("count"); {
			case counted && batch == "":
				return usage("--count is for --batch FILE.csv; without it one board is flashed")
			case counted && count < 1:
				return usage("--count %d: how many boards, 1 or more; without it Ctrl-C ends", count)
			}
			u, err := t.update(args[0], production, &port)
			if err != nil {
				return err
			}
			defer clear(u.Key)
			if batch != "" {
				return t.flashBatch(cmd.Context(), &port, u, batch, count)
			}
			f, err := port.find(cmd.Context(), t)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			done, err := t.flashOne(cmd.Context(), f, u, "")
			if err != nil {
				return explainBoard(err)
			}
			return t.print(shownFlash(done, nil), func(w io.Writer) { printFlash(w, done) })
		},
	}
	port.flags(c, true)
	productionFlag(c, &production)
	c.Flags().StringVar(&batch, "batch", "", "flash every board that is plugged in, with a line for each in this CSV file")
	c.Flags().IntVar(&count, "count", 0, "with --batch: stop after so many boards")
	return c
}

// update reads and checks what is to be flashed.
func (t *tool) update(file, production string, port *boardPort) (board.Update, error) {
	images, err := readBundle(file)
	if err != nil {
		return board.Update{}, err
	}
	public, err := publicKey(production)
	if err != nil {
		return board.Update{}, err
	}
	for _, m := range images {
		if _, err := checkSignature(m, public); err != nil {
			return board.Update{}, refused(file, err)
		}
	}
	key, err := port.key()
	if err != nil {
		return board.Update{}, err
	}
	return board.Update{Images: images, Production: public, Key: key}, nil
}

// flashOne flashes one board. With a prefix, several are flashed at a time, each
// line of what is said begins with it, and no bar is drawn.
func (t *tool) flashOne(ctx context.Context, f *foundBoard, u board.Update, prefix string) (board.Flashed, error) {
	if prefix == "" {
		t.progress("%s: %s %s", f.line, f.Name(), f.Serial())
	} else {
		t.progress("%s%s %s", prefix, f.Name(), f.Serial())
	}
	b := &bar{w: t.err, terminal: isTerminal(t.err), now: time.Now}
	said := ""
	u.Report = func(step string, done, total int) {
		if t.quiet || t.json {
			return
		}
		if step == board.StepUpload && total > 0 && prefix == "" {
			b.draw(step, done, total)
			return
		}
		if step != said && step != board.StepFind {
			b.end()
			t.progress("%s%s", prefix, stepWords[step])
		}
		said = step
	}
	done, err := board.Flash(ctx, f.line, u)
	b.end()
	return done, err
}

var stepWords = map[string]string{
	board.StepUpload:   "uploading",
	board.StepEnter:    "restarting into the loader",
	board.StepStart:    "starting the new image",
	board.StepConfirm:  "confirming it",
	board.StepRollback: "going back to what ran before",
	board.StepLeave:    "starting what the board holds",
}

// flashResult is what is printed of one update.
type flashResult struct {
	Board      string  `json:"board"`
	Serial     string  `json:"serial"`
	From       string  `json:"from,omitempty"`
	To         string  `json:"to"`
	Slot       string  `json:"slot"`
	Bytes      int     `json:"bytes"`
	UploadMs   float64 `json:"upload_ms"`
	Confirmed  bool    `json:"confirmed"`
	Pending    bool    `json:"pending"`
	RolledBack bool    `json:"rolled_back"`
	Error      string  `json:"error,omitempty"`
}

func shownFlash(d board.Flashed, err error) flashResult {
	r := flashResult{
		Board: d.Board, Serial: d.Serial.String(), Bytes: d.Bytes, UploadMs: float64(d.Upload.Microseconds()) / 1000,
		Confirmed: d.Confirmed, Pending: d.Pending, RolledBack: d.RolledBack,
	}
	if d.From != 0 {
		r.From = d.From.String()
	}
	if d.Slot != 0 {
		r.To, r.Slot = d.To.String(), string(d.Slot)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func printFlash(w io.Writer, d board.Flashed) {
	from := ""
	if d.From != 0 {
		from = d.From.String() + " -> "
	}
	fmt.Fprintf(w, "%s %s: %s%s in slot %c, %d bytes in %.1f s (%.1f kB/s)", d.Board, d.Serial, from, d.To, d.Slot, d.Bytes, d.Upload.Seconds(), float64(d.Bytes)/max(d.Upload.Seconds(), 1e-3)/1000)
	if d.Pending {
		fmt.Fprint(w, "; not confirmed: the daemon's first heartbeat does that, and without one the next start goes back")
	}
	fmt.Fprintln(w)
}

// refusedWith adds what to do about an image's refusal.
func refusedWith(err error) error {
	var r firmware.Refusal
	if errors.As(err, &r) && r.Advice() != "" {
		return fmt.Errorf("%w; %s", err, r.Advice())
	}
	return err
}

// lookEvery is how often --batch looks for another board.
const lookEvery = time.Second

var batchHeader = []string{"time", "port", "board", "serial", "from", "to", "slot", "bytes", "seconds", "result", "error"}

// batch is the boards of one --batch, several of them at a time: each port has
// its own cable, so none waits for another.
type batch struct {
	t      *tool
	u      board.Update
	record *csvFile
	count  int // boards wanted, 0 for no end

	mu     sync.Mutex
	busy   map[string]bool // ports at which somebody is
	seen   map[board.Serial]bool
	failed map[string]board.Serial // by port: it is tried again once it was unplugged
	good   int
	bad    map[board.Serial]bool // failed, and not flashed since
	begun  int                   // boards, not tries
	err    error                 // the list could not be written: nothing more is begun
}

// flashBatch flashes each board once, as they are plugged in.
func (t *tool) flashBatch(ctx context.Context, port *boardPort, u board.Update, file string, count int) error {
	record, err := openCSV(file)
	if err != nil {
		return err
	}
	defer record.close()
	shared := *t
	shared.err = &wholeLines{w: t.err}
	b := &batch{t: &shared, u: u, record: record, count: count, busy: map[string]bool{}, seen: map[board.Serial]bool{}, failed: map[string]board.Serial{}, bad: map[board.Serial]bool{}}
	t.progress("plug boards in, as many as there are ports; Ctrl-C ends")
	var ports sync.WaitGroup
	last := make(chan struct{}, 1) // the last board is done
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil && !b.done() {
		names := port.names
		if len(names) == 0 {
			names = serialPorts()
		}
		for _, name := range names {
			if !b.take(name) {
				continue
			}
			ports.Go(func() {
				b.attend(ctx, name)
				if b.done() {
					select {
					case last <- struct{}{}:
					default:
					}
				}
			})
		}
		select {
		case <-ctx.Done():
		case <-last:
		case <-tick.C:
		}
	}
	ports.Wait() // what was begun is ended, also where the list is full
	if b.err != nil {
		return b.err
	}
	if err := t.print(map[string]int{"flashed": b.good, "failed": len(b.bad)}, func(w io.Writer) {
		fmt.Fprintf(w, "%s flashed, %d failed; the list is %s\n", boards(b.good), len(b.bad), file)
	}); err != nil {
		return err
	}
	if len(b.bad) > 0 {
		return &exitError{code: exitFault}
	}
	return nil
}

func boards(n int) string {
	if n == 1 {
		return "1 board"
	}
	return fmt.Sprintf("%d boards", n)
}

// wholeLines is a writer for several at a time.
type wholeLines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *wholeLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *batch) done() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil || b.count > 0 && b.good+len(b.bad) >= b.count
}

// take reserves a port for one look.
func (b *batch) take(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[name] || b.err != nil || b.count > 0 && b.begun >= b.count {
		return false
	}
	b.busy[name] = true
	return true
}

// begin tells whether this board is to be flashed.
func (b *batch) begin(serial board.Serial) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen[serial] || b.err != nil || b.count > 0 && b.begun >= b.count {
		return false
	}
	b.seen[serial] = true
	if !b.bad[serial] {
		b.begun++
	}
	return true
}

// empty notes that no board answers at the port. One that failed there is tried again
// when it answers, here or at another port; until it is flashed it counts as failed.
func (b *batch) empty(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if serial, failed := b.failed[name]; failed {
		delete(b.failed, name)
		delete(b.seen, serial)
	}
}

// attend looks at a port once, and flashes the board that is there and new.
func (b *batch) attend(ctx context.Context, name string) {
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.busy[name] = false
	}()
	f, err := ask(ctx, name, askEach)
	if err != nil {
		b.empty(name)
		return // nobody, or nobody yet
	}
	defer f.line.Close()
	if !b.begin(f.Serial()) {
		return
	}
	done, err := b.t.flashOne(ctx, f, b.u, name+": ")
	after := (*board.AfterError)(nil)
	if ctx.Err() != nil && done.Slot == 0 && !errors.As(err, &after) {
		return // stopped before anything was done to it
	}
	err = explainBoard(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.good++
		delete(b.bad, f.Serial())
	} else {
		b.bad[f.Serial()] = true
		b.failed[name] = f.Serial()
		again := "; unplugged and plugged in again it is tried once more"
		if ctx.Err() != nil {
			again = ""
		}
		b.t.progress("%s: %s %s: %v%s", name, done.Board, done.Serial, err, again)
	}
	if err := b.record.add(name, done, err); err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("%w; %s %s was flashed but is not in the list", err, done.Board, done.Serial))
	}
	b.t.progress("%s done, %d failed; next, please", boards(b.good+len(b.bad)), len(b.bad))
}

// csvFile is a list that is on the disk after each line, or as it was before.
type csvFile struct {
	f    sheet
	w    *csv.Writer
	name string
}

// sheet is a file that is only appended to.
type sheet interface {
	io.WriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
}

func openCSV(name string) (*csvFile, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no folder %s", name, filepath.Dir(name))
	}
	if err != nil {
		return nil, err
	}
	c := &csvFile{f, csv.NewWriter(f), name}
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
	case info.Size() == 0:
		err = c.write(batchHeader)
	default: // a line that was cut off is ended: the next board gets its own
		head, last := make([]byte, len(strings.Join(batchHeader, ","))), make([]byte, 1)
		if _, err := f.ReadAt(head, 0); err != nil || string(head) != strings.Join(batchHeader, ",") {
			return nil, errors.Join(usage("%s is there and is no list of flashed boards; name a new file", name), f.Close())
		}
		if _, err = f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte{'\n'})
		}
	}
	if err != nil {
		return nil, errors.Join(outfile.Explain(name, err), f.Close())
	}
	return c, nil
}

// write adds a row. When it cannot, nothing of it stays.
func (c *csvFile) write(row []string) error {
	before, err := c.f.Stat()
	if err != nil {
		return err
	}
	_ = c.w.Write(row)
	c.w.Flush()
	if err = c.w.Error(); err == nil {
		err = c.f.Sync()
	}
	if err != nil && before.Mode().IsRegular() {
		err = errors.Join(err, c.f.Truncate(before.Size()))
	}
	return err
}

func (c *csvFile) add(port string, d board.Flashed, failed error) error {
	r := shownFlash(d, failed)
	result := "flashed"
	switch {
	case d.RolledBack:
		result = "rolled back"
	case failed != nil:
		result = "failed"
	case d.Pending:
		result = "flashed, not confirmed"
	}
	return outfile.Explain(c.name, c.write([]string{
		time.Now().UTC().Format(time.RFC3339), port, r.Board, r.Serial, r.From, r.To, r.Slot,
		strconv.Itoa(r.Bytes), strconv.FormatFloat(d.Upload.Seconds(), 'f', 1, 64), result, r.Error,
	}))
}

func (c *csvFile) close() { _ = c.f.Close() }
