package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware/board"
)

func (t *tool) console() *cobra.Command {
	var port boardPort
	var production string
	c := &cobra.Command{
		Use:   "console",
		Short: "Talk to a guard board line by line",
		Long: `Talk to a guard board line by line, with history (arrow keys). "help" lists what
can be said; a board that is in its loader also takes the loader's own words.
Without a terminal the lines are read from standard input. The first that fails
ends the console: with 2 where it is not understood, else with 4.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := port.key()
			if err != nil {
				return err
			}
			defer clear(key)
			f, err := port.find(cmd.Context(), t)
			if err != nil {
				return explainBoard(err)
			}
			defer f.line.Close()
			s := &boardConsole{t: t, conn: board.New(f.line), found: f, key: key, production: production, out: t.out}
			defer s.conn.Close()
			return s.run(cmd.Context())
		},
	}
	port.flags(c, true)
	productionFlag(c, &production)
	return c
}

// boardConsole is a conversation by lines.
type boardConsole struct {
	t          *tool
	conn       *board.Conn
	found      *foundBoard
	key        []byte
	production string
	out        io.Writer
	session    bool
}

var errQuit = errors.New("quit")

func (s *boardConsole) run(ctx context.Context) error {
	in, ok := s.t.in.(*os.File)
	people := ok && isTerminal(in) && isTerminal(s.t.out)
	next := bufio.NewScanner(s.t.in)
	read := func() (string, error) {
		if !next.Scan() {
			return "", errors.Join(next.Err(), io.EOF)
		}
		return next.Text(), nil
	}
	if people {
		old, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		defer func() { _ = term.Restore(int(in.Fd()), old) }()
		screen := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{in, s.t.out}, "board> ")
		history := openHistory()
		screen.History = history
		defer history.save()
		read, s.out = screen.ReadLine, screen
	}
	s.say("%s %s on %s, %s; \"help\" lists what can be said", s.found.Name(), s.found.Serial(), s.found.line, s.mode())

	// A line is read when the one before is done, so that nothing reads the
	// terminal any more after "quit". A read that waits ends with the program.
	type result struct {
		line string
		err  error
	}
	want, lines := make(chan struct{}, 1), make(chan result, 1)
	defer close(want)
	go func() {
		for range want {
			line, err := read()
			lines <- result{line, err}
		}
	}()
	want <- struct{}{}
	beat := time.NewTicker(board.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if s.session {
				if _, err := s.conn.Beat(ctx); err != nil {
					s.session = false
					s.say("the session is over: %v", err)
				}
			}
		case r := <-lines:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return fmt.Errorf("console: %w", r.err)
			}
			err := s.do(ctx, strings.Fields(r.line))
			switch {
			case errors.Is(err, errQuit):
				return nil
			case err != nil && (!people || ctx.Err() != nil):
				return explainBoard(err)
			case err != nil:
				s.say("%v", explainBoard(err))
			}
			want <- struct{}{}
		}
	}
}

func (s *boardConsole) say(format string, a ...any) { fmt.Fprintf(s.out, format+"\n", a...) }

func (s *boardConsole) mode() string {
	if s.found.Loader != nil {
		return "in its loader"
	}
	return "firmware " + s.found.Info.Version.String()
}

// word is one thing that can be said.
type boardWord struct {
	usage, help string
	session     bool // needs one
	do          func(s *boardConsole, ctx context.Context, args []string) error
}

func statusWord(ask func(*board.Conn, context.Context) (board.Status, error)) func(*boardConsole, context.Context, []string) error {
	return func(s *boardConsole, ctx context.Context, _ []string) error {
		v, err := ask(s.conn, ctx)
		if err == nil {
			s.say("%s", stateOf(v))
		}
		return err
	}
}

var boardWords = map[string]boardWord{
	"status":   {"", "how lock, door and inputs are", true, statusWord((*board.Conn).Beat)},
	"lock":     {"", "shut the lock", true, statusWord((*board.Conn).Lock)},
	"unlock":   {" [5s]", "open the lock for so long", true, (*boardConsole).unlock},
	"events":   {" [AFTER]", "what happened, after that number", true, (*boardConsole).events},
	"selftest": {"", "let the board examine itself", true, (*boardConsole).selftest},
	"lamp":     {" auto|off|on|blink", "set the lamp", true, (*boardConsole).lamp},
	"buzz":     {" [500ms]", "sound the buzzer", true, (*boardConsole).buzz},
	"loader":   {"", "restart into the loader", false, (*boardConsole).loader},
}

var loaderWords = map[string]boardWord{
	"load": {" FILE.fpb", "send an image; it is checked first", false, (*boardConsole).load},
	"boot": {"", "start the image that is due", false, (*boardConsole).boot},
}

// do obeys one line.
func (s *boardConsole) do(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	known := boardWords
	if s.found.Loader != nil {
		known = loaderWords
	}
	w, ok := known[words[0]]
	switch {
	case words[0] == "quit" || words[0] == "exit":
		return errQuit
	case words[0] == "help":
		for _, name := range sortedKeys(known) {
			s.say("%-24s %s", name+known[name].usage, known[name].help)
		}
		s.say("%-24s %s", "info", "what the board says of itself")
		s.say("%-24s %s", "quit", "")
		return nil
	case words[0] == "info":
		f, err := s.conn.Find(ctx, askEach)
		if err != nil {
			return err
		}
		s.found.Found, s.session = f, s.session && f.Info != nil
		printBoard(s.out, shownFound(s.found))
		return nil
	case ok && w.session && !s.session:
		if s.key == nil {
			return usage("%q needs a session: start the console with --key FILE", words[0])
		}
		if _, _, err := s.conn.Hello(ctx, s.key); err != nil {
			return err
		}
		s.session = true
		return w.do(s, ctx, words[1:])
	case ok:
		return w.do(s, ctx, words[1:])
	case s.found.Loader != nil:
		lines, err := s.conn.Type(ctx, strings.Join(words, " "))
		for _, line := range lines {
			s.say("%s", line)
		}
		return err
	}
	return usage("%q is not known; \"help\" lists what can be said", words[0])
}

// durationOr reads an optional duration.
func durationOr(args []string, or time.Duration) (time.Duration, error) {
	if len(args) == 0 {
		return or, nil
	}
	d, err := time.ParseDuration(args[0])
	if err != nil || d < 0 || d > time.Minute {
		return 0, usage("%q is no duration like 5s or 500ms", args[0])
	}
	return d, nil
}

func (s *boardConsole) unlock(ctx context.Context, args []string) error {
	d, err := durationOr(args, 5*time.Second)
	if err != nil {
		return err
	}
	start := time.Now()
	v, err := s.conn.Unlock(ctx, d)
	if err == nil {
		s.say("%s, in %.1f ms", stateOf(v), time.Since(start).Seconds()*1000)
	}
	return err
}

func (s *boardConsole) events(ctx context.Context, args []string) error {
	after := uint64(0)
	if len(args) > 0 {
		var err error
		if after, err = strconv.ParseUint(args[0], 10, 32); err != nil {
			return usage("%q is no event's number", args[0])
		}
	}
	for {
		e, err := s.conn.Events(ctx, uint32(after))
		if err != nil || len(e.Events) == 0 {
			return err
		}
		for _, v := range e.Events {
			s.say("%6d  start %d +%9.3f s  %s", v.Sequence, v.Start, v.At.Seconds(), v)
			after = uint64(v.Sequence)
		}
	}
}

func (s *boardConsole) selftest(ctx context.Context, _ []string) error {
	v, err := s.conn.SelfTest(ctx)
	if err == nil {
		s.say("failed: %q; stack %d of %d bytes, start %d by %s, %d frames, %d garbled, %d refused", v.Failed(), v.StackUsed, v.StackSize, v.Starts, v.Started(), v.Frames, v.Garbled, v.RefusedAll)
	}
	return err
}

func (s *boardConsole) lamp(ctx context.Context, args []string) error {
	for i, name := range []string{"auto", "off", "on", "blink"} {
		if len(args) == 1 && args[0] == name {
			_, err := s.conn.Signal(ctx, board.Lamp(i), 0)
			return err
		}
	}
	return usage("lamp auto, off, on or blink")
}

func (s *boardConsole) buzz(ctx context.Context, args []string) error {
	d, err := durationOr(args, 500*time.Millisecond)
	if err != nil {
		return err
	}
	_, err = s.conn.Signal(ctx, board.LampAutomatic, min(d, 2*time.Second))
	return err
}

func (s *boardConsole) loader(ctx context.Context, _ []string) error {
	if s.found.Info.Paired() && !s.session {
		if s.key == nil {
			return board.ErrNeedsKey
		}
		if _, _, err := s.conn.Hello(ctx, s.key); err != nil {
			return err
		}
	}
	s.session = false
	if err := s.conn.Restart(ctx); err != nil && !errors.Is(err, board.ErrSilent) {
		return err
	}
	return s.look(ctx)
}

// look finds out what the board is after a restart.
func (s *boardConsole) look(ctx context.Context) error {
	f, err := s.conn.Find(ctx, askNamed)
	if err == nil {
		s.found.Found = f
		s.say("the board is there, %s", s.mode())
	}
	return err
}

func (s *boardConsole) load(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return usage("load FILE.fpb")
	}
	u, err := s.t.update(args[0], s.production, &boardPort{})
	if err != nil {
		return err
	}
	b := &bar{w: s.out, now: time.Now}
	u.Report = func(step string, n, of int) { b.draw(step, n, of) }
	m, err := s.conn.Upload(ctx, u)
	if err == nil {
		s.say("%s is in slot %c; \"boot\" starts it", m.Version, m.Slot())
	}
	return err
}

func (s *boardConsole) boot(ctx context.Context, _ []string) error {
	slot, v, err := s.conn.Boot(ctx)
	if err != nil {
		return err
	}
	s.say("%s starts in slot %c", v, slot)
	return s.look(ctx)
}

// mostHistory is how many lines are kept between consoles.
const mostHistory = 200

// lineHistory is what was typed, the newest last, kept in a file of the user's.
type lineHistory struct {
	file  string // empty: it is not kept
	lines []string
}

func openHistory() *lineHistory {
	dir := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".local", "state")
	}
	if dir == "" {
		return &lineHistory{}
	}
	h := &lineHistory{file: filepath.Join(dir, "faceprint", "console_history")}
	if b, err := readAtMost(h.file, 1<<20); err == nil {
		for line := range strings.Lines(string(b)) {
			h.Add(strings.TrimSuffix(line, "\n"))
		}
	}
	return h
}

func (h *lineHistory) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > mostHistory {
		h.lines = h.lines[1:]
	}
}

func (h *lineHistory) Len() int { return len(h.lines) }

func (h *lineHistory) At(i int) string { return h.lines[len(h.lines)-1-i] }

// save keeps it; that it could not is no reason to fail.
func (h *lineHistory) save() {
	if h.file == "" || len(h.lines) == 0 || os.MkdirAll(filepath.Dir(h.file), 0o700) != nil {
		return
	}
	_ = outfile.Write(h.file, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
}
