package board

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/xmodem"
)

// Slot is what the loader says of one.
type Slot struct {
	State    string           // empty, bad, new, tried or confirmed
	Bad      firmware.Refusal // why, of a bad one
	Version  firmware.Version
	Rollback uint32
	Sequence uint32
}

func (s Slot) String() string {
	switch s.State {
	case "empty":
		return s.State
	case "bad":
		return "bad " + string(s.Bad)
	}
	return fmt.Sprintf("%s rollback=%d sequence=%d %s", s.Version, s.Rollback, s.Sequence, s.State)
}

// LoaderInfo is what a loader says of itself and of the slots, section 5.
type LoaderInfo struct {
	Version    firmware.Version
	Board      uint32
	Serial     Serial
	Production bool
	Floor      uint32
	A, B       Slot
	Target     byte
	Link       uint32 // where the target begins
}

const loaderName = "faceprint-loader"

func (i LoaderInfo) String() string {
	key := "development"
	if i.Production {
		key = "production"
	}
	return fmt.Sprintf("%s %s board=%d serial=%s key=%s floor=%d\nslot A %s\nslot B %s\ntarget %c %#08x\n",
		loaderName, i.Version, i.Board, i.Serial, key, i.Floor, i.A, i.B, i.Target, i.Link)
}

// parseLoaderInfo reads what String writes, and nothing else.
func parseLoaderInfo(text string) (LoaderInfo, error) {
	var i LoaderInfo
	lines := strings.Split(text, "\n")
	if len(lines) != 5 {
		return i, errGarbled
	}
	words := strings.Split(lines[0], " ")
	if len(words) != 6 {
		return i, errGarbled
	}
	version, err := firmware.ParseVersion(words[1])
	i.Version, i.Board, i.Floor = version, value(words[2], "board="), value(words[5], "floor=")
	serial, err2 := hex.DecodeString(strings.TrimPrefix(words[3], "serial="))
	copy(i.Serial[:], serial)
	i.Production = words[4] == "key=production"
	i.A, i.B = parseSlot(strings.TrimPrefix(lines[1], "slot A ")), parseSlot(strings.TrimPrefix(lines[2], "slot B "))
	if target := strings.Split(lines[3], " "); len(target) == 3 && len(target[1]) == 1 {
		i.Target = target[1][0]
		link, _ := strconv.ParseUint(target[2], 0, 32)
		i.Link = uint32(link)
	}
	if err != nil || err2 != nil || i.Target != 'A' && i.Target != 'B' || i.String() != text {
		return LoaderInfo{}, errGarbled
	}
	return i, nil
}

func value(word, name string) uint32 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(word, name), 10, 32)
	return uint32(n)
}

func parseSlot(text string) Slot {
	words := strings.Split(text, " ")
	switch {
	case words[0] == "bad" && len(words) == 2:
		return Slot{State: "bad", Bad: firmware.Refusal(words[1])}
	case len(words) == 4:
		v, _ := firmware.ParseVersion(words[0])
		s := Slot{Version: v, Rollback: value(words[1], "rollback="), Sequence: value(words[2], "sequence=")}
		for _, state := range []string{"new", "tried", "confirmed"} {
			if words[3] == state {
				s.State = state
			}
		}
		return s
	}
	return Slot{State: "empty"}
}

// loader drives the console of a board that is in serial recovery.
type loader struct{ wire *wire }

const prompt = "\r\n> "

// command types one and returns the lines of its answer, without the echo.
func (l loader) command(ctx context.Context, text string) ([]string, error) {
	if err := l.wire.drain(ctx); err != nil { // a prompt that nobody waited for
		return nil, fmt.Errorf("board: %w", err)
	}
	if err := l.wire.write(ctx, []byte(text+"\r")); err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	return l.lines(ctx, time.Now().Add(promptTime))
}

// lines reads until the prompt.
func (l loader) lines(ctx context.Context, until time.Time) ([]string, error) {
	var got []byte
	for !bytes.HasSuffix(got, []byte(prompt)) {
		b, err := l.wire.next(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) || len(got) > mostText {
			return nil, fmt.Errorf("board: the loader fell silent: %w", ErrSilent)
		}
		if err != nil {
			return nil, fmt.Errorf("board: %w", err)
		}
		got = append(got, b)
	}
	return textLines(got), nil
}

func textLines(b []byte) []string {
	return strings.Split(strings.TrimSuffix(string(b), prompt), "\r\n")
}

// info finds the block of four lines in an answer.
func infoOf(lines []string) (LoaderInfo, error) {
	for i, line := range lines {
		if at := strings.LastIndex(line, loaderName+" "); at >= 0 && i+4 <= len(lines) {
			return parseLoaderInfo(line[at:] + "\n" + strings.Join(lines[i+1:i+4], "\n") + "\n")
		}
	}
	return LoaderInfo{}, errGarbled
}

func (l loader) info(ctx context.Context) (LoaderInfo, error) {
	// Half a line may have been typed by a probe.
	if err := l.wire.write(ctx, []byte("\r")); err != nil {
		return LoaderInfo{}, fmt.Errorf("board: %w", err)
	}
	if _, err := l.lines(ctx, time.Now().Add(promptTime)); err != nil {
		return LoaderInfo{}, err
	}
	lines, err := l.command(ctx, "info")
	if err != nil {
		return LoaderInfo{}, err
	}
	i, err := infoOf(lines)
	if err != nil {
		return i, fmt.Errorf("board: the loader's info %q: %w", lines, ErrLies)
	}
	return i, nil
}

// load sends an image to the slot that the loader said is its target.
func (l loader) load(ctx context.Context, to LoaderInfo, file []byte, progress func(sent, total int)) error {
	if err := l.wire.write(ctx, []byte("load\r")); err != nil {
		return fmt.Errorf("board: %w", err)
	}
	ready := fmt.Sprintf("ready %c %#08x\r\n", to.Target, to.Link)
	var got []byte
	for until := time.Now().Add(promptTime); !bytes.HasSuffix(got, []byte(ready)); {
		if bytes.HasSuffix(got, []byte(prompt)) || len(got) > mostText {
			return answerOf(textLines(got))
		}
		b, err := l.wire.next(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("board: the loader does not load: %w", ErrSilent)
		}
		if err != nil {
			return fmt.Errorf("board: %w", err)
		}
		got = append(got, b)
	}
	sent := xmodem.Send(ctx, l.wire, file, xmodem.Options{Quiet: inviteQuiet, Progress: progress})
	if ctx.Err() != nil {
		return sent
	}
	lost := sent != nil && !errors.Is(sent, xmodem.ErrCancelled) && !errors.Is(sent, xmodem.ErrRetries) && !errors.Is(sent, xmodem.ErrNoReceiver)
	if lost {
		return sent
	}
	// The loader has the last word: the answer to the end of the file may be
	// what was lost.
	lines, err := l.lines(ctx, time.Now().Add(promptTime))
	if err != nil {
		return errors.Join(sent, err)
	}
	if err := answerOf(lines); err != nil {
		return err
	}
	return nil
}

// answerOf is nil for "ok ...", and the refusal that an error names.
func answerOf(lines []string) error {
	for _, line := range lines {
		if strings.HasPrefix(line, "ok ") {
			return nil
		}
		if rest, ok := strings.CutPrefix(line, "error "); ok {
			name, _, _ := strings.Cut(rest, ":")
			return fmt.Errorf("board: the loader: %w", firmware.Refusal(name))
		}
	}
	return fmt.Errorf("board: the loader says %q: %w", lines, ErrLies)
}

// boot starts the image that is due.
func (l loader) boot(ctx context.Context) (slot byte, v firmware.Version, err error) {
	if err := l.wire.write(ctx, []byte("boot\r")); err != nil {
		return 0, 0, fmt.Errorf("board: %w", err)
	}
	var line []byte
	for until := time.Now().Add(promptTime); ; {
		b, err := l.wire.next(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) || len(line) > mostText {
			return 0, 0, fmt.Errorf("board: the loader does not start anything: %w", ErrSilent)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("board: %w", err)
		}
		if b != '\n' {
			line = append(line, b)
			continue
		}
		words := strings.Fields(string(line))
		line = line[:0]
		switch {
		case len(words) == 3 && words[0] == "boot" && len(words[1]) == 1:
			v, err := firmware.ParseVersion(words[2])
			return words[1][0], v, err
		case len(words) > 1 && words[0] == "error":
			return 0, 0, answerOf([]string{strings.Join(words, " ")})
		}
	}
}

// Type types a line at the console of a board that is in its loader, and
// returns the lines of the answer.
func (c *Conn) Type(ctx context.Context, text string) ([]string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > mostLine {
		return nil, fmt.Errorf("board: a line has at most %d printable characters", mostLine)
	}
	return turned(ctx, c, func() ([]string, error) {
		lines, err := loader{&c.wire}.command(ctx, text)
		if len(lines) > 0 && lines[0] == text { // its echo
			lines = lines[1:]
		}
		return lines, err
	})
}

// Boot lets a loader start the image that is due.
func (c *Conn) Boot(ctx context.Context) (slot byte, v firmware.Version, err error) {
	_, err = turned(ctx, c, func() (any, error) {
		slot, v, err = loader{&c.wire}.boot(ctx)
		return nil, err
	})
	return slot, v, err
}

// Upload sends an image to a board that is in its loader, and does not start it.
func (c *Conn) Upload(ctx context.Context, u Update) (*firmware.Image, error) {
	return turned(ctx, c, func() (*firmware.Image, error) {
		l := loader{&c.wire}
		to, err := l.info(ctx)
		if err != nil {
			return nil, err
		}
		m, err := u.imageFor(to)
		if err != nil {
			return nil, err
		}
		file, err := firmware.EncodeBundle(m)
		if err != nil {
			return nil, err
		}
		return m, l.load(ctx, to, file, func(n, of int) {
			if u.Report != nil {
				u.Report(StepUpload, n, of)
			}
		})
	})
}
