package board

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/firmware"
	"github.com/faceprint/faceprint/firmware/board/boardtest"
)

var key = bytes.Repeat([]byte{0xA7}, KeySize)

// on runs f against a board on a cable, in virtual time.
func on(t *testing.T, b *boardtest.Board, quota int, f func(t *testing.T, line Line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := boardtest.NewCable(quota)
		served := make(chan struct{})
		go func() { b.Serve(c.Board); close(served) }()
		f(t, c.Host)
		c.Close()
		<-served
	})
}

// paired is a board with version 1.0.0 in slot A and the key.
func paired() *boardtest.Board {
	b := boardtest.New("microbit", 1)
	b.Install(boardtest.Image("microbit", 'A', 0x01000000, 2048))
	b.SetKey(key)
	return b
}

func TestUnlock(t *testing.T) {
	b := paired()
	on(t, b, -1, func(t *testing.T, line Line) {
		c := New(line)
		serial, s, err := c.Hello(t.Context(), key)
		if err != nil || s.Link != LinkReady || serial.String() != "0100000000000001" {
			t.Fatalf("%v %v %v", serial, s, err)
		}
		if s, err := c.Unlock(t.Context(), time.Second); err != nil || s.Lock != LockGranted || !b.Open() {
			t.Fatalf("%+v %v, open %v", s, err, b.Open())
		}
		if _, err := c.Lock(t.Context()); err != nil || b.Open() {
			t.Fatalf("%v, open %v", err, b.Open())
		}
		e, err := c.Events(t.Context(), 0)
		if err != nil || len(e.Events) < 4 || e.Events[len(e.Events)-1].String() != "locked host" {
			t.Errorf("%v %v", e, err)
		}
		if s, err := c.SelfTest(t.Context()); err != nil || len(s.Failed()) > 0 {
			t.Errorf("%v %v", s, err)
		}
		for _, hold := range []time.Duration{0, HoldLeast - 1, HoldMost + 1} {
			if _, err := c.Unlock(t.Context(), hold); err == nil || b.Open() {
				t.Errorf("hold %s: %v", hold, err)
			}
		}
		if err := c.Wipe(t.Context()); err != nil || b.Key() != nil {
			t.Errorf("wipe: %v", err)
		}
		if _, err := c.Beat(t.Context()); !errors.Is(err, ErrSession) {
			t.Errorf("after a wipe: %v", err)
		}
	})
}

func TestWrongKeyAndLostSessionAreNamed(t *testing.T) {
	b := paired()
	on(t, b, -1, func(t *testing.T, line Line) {
		c := New(line)
		if _, _, err := c.Hello(t.Context(), bytes.Repeat([]byte{1}, KeySize)); !errors.Is(err, ErrForged) {
			t.Errorf("wrong key: %v", err)
		}
		if _, _, err := c.Hello(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if _, err := c.Unlock(t.Context(), time.Second); !errors.Is(err, ErrSession) || b.Open() {
			t.Errorf("after a reset: %v", err)
		}
	})
}

func TestPair(t *testing.T) {
	b := boardtest.New("microbit", 1)
	b.Install(boardtest.Image("microbit", 'A', 0x01000000, 2048))
	on(t, b, -1, func(t *testing.T, line Line) {
		c := New(line)
		var refused *Refused
		if _, err := c.Pair(t.Context(), key); !errors.As(err, &refused) || refused.Code != Presence || refused.Advice() == "" {
			t.Fatalf("nobody pressed the button: %v", err)
		}
		b.Press()
		if _, err := c.Pair(t.Context(), key); err != nil || !bytes.Equal(b.Key(), key) {
			t.Fatal(err)
		}
		if _, err := c.Pair(t.Context(), key); !errors.As(err, &refused) || refused.Code != Paired {
			t.Errorf("again: %v", err)
		}
	})
}

// A board, or whoever sits between, that lies about anything gets nothing
// believed.
func TestLyingBoardIsNotBelieved(t *testing.T) {
	for name, lie := range map[string]func(byte, []byte) []byte{
		"silent":             func(byte, []byte) []byte { return nil },
		"changed tag":        func(q byte, raw []byte) []byte { raw[len(raw)-1] ^= byte(q >> 6 & 1); return raw },
		"status changed":     func(q byte, raw []byte) []byte { raw[len(raw)/2] ^= q >> 6 & 1; return raw },
		"plain instead":      func(q byte, raw []byte) []byte { return append([]byte{q | answerBit}, raw[1:]...)[:min(5, len(raw))] },
		"the question again": func(q byte, _ []byte) []byte { return []byte{q, 0, 0, 0, 0} },
	} {
		b := paired()
		on(t, b, -1, func(t *testing.T, line Line) {
			c := New(line)
			if _, _, err := c.Hello(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			b.Lie(lie)
			if s, err := c.Unlock(t.Context(), time.Second); err == nil {
				t.Errorf("%s: unlocked, by its word: %+v", name, s)
			}
		})
	}
}

// An old answer is not taken for a new one.
func TestReplayedAnswerIsNotTaken(t *testing.T) {
	b := paired()
	on(t, b, -1, func(t *testing.T, line Line) {
		c := New(line)
		if _, _, err := c.Hello(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		var old []byte
		b.Lie(func(_ byte, raw []byte) []byte { old = bytes.Clone(raw); return raw })
		if _, err := c.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Lie(func(byte, []byte) []byte { return old })
		if _, err := c.Beat(t.Context()); !errors.Is(err, ErrSilent) {
			t.Errorf("a replayed answer: %v", err)
		}
	})
}

func TestLostAnswersAreAskedAgain(t *testing.T) {
	for _, lost := range []byte{askHello, askBeat, askChallenge, askUnlock, askEvents} {
		b := paired()
		on(t, b, -1, func(t *testing.T, line Line) {
			c := New(line)
			n := 0
			b.Lie(func(q byte, raw []byte) []byte {
				if q == lost {
					if n++; n == 1 {
						return nil
					}
				}
				return raw
			})
			if _, _, err := c.Hello(t.Context(), key); err != nil {
				t.Fatalf("%02x: %v", lost, err)
			}
			if s, err := c.Unlock(t.Context(), time.Second); err != nil || s.Lock != LockGranted || b.Opened() != 1 {
				t.Errorf("%02x: %+v %v, opened %d times", lost, s, err, b.Opened())
			}
			if _, err := c.Events(t.Context(), 0); err != nil || n == 0 {
				t.Errorf("%02x: %v, asked %d times", lost, err, n)
			}
		})
	}
}

// An answer that comes after HELLO was asked again is of a session that is over:
// it must not make the right key look wrong.
func TestLateAnswerToHelloIsNoWrongKey(t *testing.T) {
	for name, late := range map[string][]time.Duration{
		"the first":      {patience + 40*time.Millisecond},
		"the first two":  {patience + 40*time.Millisecond, patience + 40*time.Millisecond},
		"by a long time": {patience + latePatience/2},
	} {
		b := paired()
		on(t, b, -1, func(t *testing.T, line Line) {
			n := 0
			b.Lie(func(q byte, raw []byte) []byte {
				if q == askHello {
					if n++; n <= len(late) {
						time.Sleep(late[n-1]) // virtual: the board itself is slow
					}
				}
				return raw
			})
			if _, _, err := New(line).Hello(t.Context(), key); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			n = 0
			if _, _, err := New(line).Hello(t.Context(), bytes.Repeat([]byte{1}, KeySize)); !errors.Is(err, ErrForged) {
				t.Errorf("%s, wrong key: %v", name, err)
			}
		})
	}
}

func TestFindNamesWhatIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		far  func(io.ReadWriter)
		want string
	}{
		"nothing": {func(line io.ReadWriter) { _, _ = io.Copy(io.Discard, line) }, "board: the board does not answer"},
		"a login": {func(line io.ReadWriter) {
			b := make([]byte, 64)
			for {
				n, err := line.Read(b)
				if err != nil {
					return
				}
				if bytes.ContainsAny(b[:n], "\r") {
					_, _ = io.WriteString(line, "\r\nraspberrypi login: ")
				}
			}
		}, "login prompt"},
		"an echo":    {func(line io.ReadWriter) { _, _ = io.Copy(line, line) }, "that is our own question"},
		"a stranger": {func(line io.ReadWriter) { _, _ = io.WriteString(line, "hello\r\n"); _, _ = io.Copy(io.Discard, line) }, "115200 baud"},
	} {
		synctest.Test(t, func(t *testing.T) {
			cable := boardtest.NewCable(-1)
			done := make(chan struct{})
			go func() { c.far(cable.Board); close(done) }()
			_, err := Find(t.Context(), cable.Host, time.Second)
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
				t.Errorf("%s: %v", name, err)
			}
			cable.Close()
			<-done
		})
	}
}

func update(v firmware.Version, size int) Update {
	return Update{Images: []*firmware.Image{boardtest.Image("microbit", 'A', v, size), boardtest.Image("microbit", 'B', v, size)}, Key: key}
}

func TestFlash(t *testing.T) {
	b := paired()
	for i, v := range []firmware.Version{0x01000001, 0x01000002, 0x01000003} {
		on(t, b, -1, func(t *testing.T, line Line) {
			done, err := Flash(t.Context(), line, update(v, 30000))
			if err != nil {
				t.Fatal(err)
			}
			if !done.Confirmed || done.To != v || done.Slot != "BA"[i%2] || b.Confirmed() != v || done.From != v-1 && i > 0 {
				t.Errorf("%+v", done)
			}
			b.Reset()
			if b.Confirmed() != v {
				t.Error("it did not stay")
			}
		})
	}
}

func TestFlashOfABoardWithoutAnImage(t *testing.T) {
	b := boardtest.New("microbit", 9)
	on(t, b, -1, func(t *testing.T, line Line) {
		done, err := Flash(t.Context(), line, update(0x01000000, 5000))
		if err != nil || !done.Confirmed || done.From != 0 || done.Slot != 'A' {
			t.Errorf("%+v %v", done, err)
		}
	})
}

func TestFlashRefusesBeforeAByteIsSent(t *testing.T) {
	other := Update{Images: []*firmware.Image{boardtest.Image("pico", 'A', 1<<24, 4096)}, Key: key}
	changed := update(0x01000001, 4096)
	changed.Images[0].Signature[3] ^= 1
	production := update(0x01000001, 4096)
	half := update(0x01000001, 4096)
	half.Images = half.Images[:1] // for the slot that runs
	for name, c := range map[string]struct {
		u    Update
		to   func(*boardtest.Board)
		want error
	}{
		"other board":            {other, nil, firmware.OtherBoard},
		"no image for that slot": {half, nil, firmware.OtherSlot},
		"changed":                {changed, nil, firmware.BadSignature},
		"development image":      {production, func(b *boardtest.Board) { b.Production = make([]byte, 32) }, firmware.WrongKey},
		"paired, and no key":     {Update{Images: production.Images}, nil, ErrNeedsKey},
		"paired, with other key": {Update{Images: production.Images, Key: make([]byte, 32)}, nil, ErrForged},
	} {
		b := paired()
		if c.to != nil {
			c.to(b)
		}
		on(t, b, -1, func(t *testing.T, line Line) {
			uploaded, entered := false, false
			c.u.Report = func(step string, _, _ int) {
				uploaded, entered = uploaded || step == StepUpload, entered || step == StepEnter
			}
			if _, err := Flash(t.Context(), line, c.u); !errors.Is(err, c.want) || uploaded {
				t.Errorf("%s: %v, uploaded %v", name, err, uploaded)
			}
			if entered && !errors.Is(c.want, ErrForged) { // the key is only known by trying
				t.Errorf("%s: the board was sent into its loader for it", name)
			}
			// It still is what it was.
			if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000000 || !i.Confirmed() {
				t.Errorf("%s: %+v %v", name, i, err)
			}
		})
	}
}

func TestFlashRollsBack(t *testing.T) {
	for name, break_ := range map[string]func(*boardtest.Board){
		"an image that hangs":            func(b *boardtest.Board) { b.Hang = 0x01000009 },
		"an image that does not confirm": func(b *boardtest.Board) { b.Mute = 0x01000009 },
	} {
		b := paired()
		break_(b)
		on(t, b, -1, func(t *testing.T, line Line) {
			done, err := Flash(t.Context(), line, update(0x01000009, 4096))
			if err == nil || !done.RolledBack || done.Confirmed {
				t.Errorf("%s: %+v %v", name, done, err)
			}
			if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000000 || !i.Confirmed() {
				t.Errorf("%s: %+v %v", name, i, err)
			}
		})
	}
}

// A new Pico's first image was never confirmed. A second one that feeds its watchdog and
// says nothing must not be the one that starts for ever.
func TestWayBackToAnImageThatWasNeverConfirmed(t *testing.T) {
	b := boardtest.New("microbit", 1)
	b.Try(boardtest.Image("microbit", 'A', 0x01000000, 2048))
	b.Silent = 0x01000009
	on(t, b, -1, func(t *testing.T, line Line) {
		done, err := Flash(t.Context(), line, update(0x01000009, 4096))
		if !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), "it then starts what ran before") || done.Confirmed {
			t.Fatalf("%+v %v", done, err)
		}
		b.Reset()
		if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000000 || !i.Confirmed() {
			t.Errorf("%+v %v", i, err)
		}
	})
}

// Firmware that refuses CONFIRM is updated all the same.
func TestFlashOfABoardThatDoesNotConfirm(t *testing.T) {
	b := boardtest.New("microbit", 1)
	b.Try(boardtest.Image("microbit", 'A', 0x01000000, 2048))
	on(t, b, -1, func(t *testing.T, line Line) {
		refused := false
		b.Lie(func(question byte, raw []byte) []byte {
			if question == askConfirm && !refused {
				refused = true
				return boardtest.Plain(refusedPlain, []byte{askConfirm, byte(Paired)})
			}
			return raw
		})
		if done, err := Flash(t.Context(), line, update(0x01000001, 4096)); err != nil || !done.Confirmed || !refused {
			t.Errorf("%+v %v, refused %v", done, err, refused)
		}
	})
}

// What runs is confirmed on the way into the loader and raises the floor: an image below
// it is refused while nothing has happened yet.
func TestFlashBelowTheFloorThatIsToCome(t *testing.T) {
	m := boardtest.Image("microbit", 'A', 0x01000000, 2048)
	m.Rollback = 3
	if err := m.Sign(firmware.DevelopmentKey()); err != nil {
		t.Fatal(err)
	}
	b := boardtest.New("microbit", 1)
	b.Try(m)
	on(t, b, -1, func(t *testing.T, line Line) {
		if _, err := Flash(t.Context(), line, update(0x01000001, 4096)); !errors.Is(err, firmware.Older) {
			t.Error(err)
		}
		if i, err := New(line).Info(t.Context()); err != nil || i.Slot != 'A' || i.Confirmed() {
			t.Errorf("%+v %v", i, err)
		}
	})
}

// The answer to what confirms the image is lost: it is confirmed, and what ran before
// does not come back.
func TestLostAnswerToTheConfirmation(t *testing.T) {
	for name, c := range map[string]struct {
		key  []byte
		info bool // whether INFO is answered again
		says string
	}{
		"paired":                {key, false, "whether 1.0.1 in slot B was confirmed is unknown"},
		"unpaired":              {nil, false, "whether 1.0.1 in slot B was confirmed is unknown"},
		"paired, and it says":   {key, true, "1.0.1 in slot B runs and is confirmed"},
		"unpaired, and it says": {nil, true, "1.0.1 in slot B runs and is confirmed"},
	} {
		b := paired()
		b.SetKey(c.key)
		on(t, b, -1, func(t *testing.T, line Line) {
			u := update(0x01000001, 4096)
			u.Key = c.key
			u.Report = func(step string, _, _ int) {
				if step != StepConfirm {
					return
				}
				lost := false
				b.Lie(func(question byte, raw []byte) []byte {
					lost = lost || question == askConfirm || question == askBeat
					if lost && !(c.info && question == askInfo) {
						return nil
					}
					return raw
				})
			}
			done, err := Flash(t.Context(), line, u)
			if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "it then starts what ran before") ||
				done.RolledBack || done.Confirmed != c.info {
				t.Errorf("%s: %+v %v", name, done, err)
			}
			b.Lie(nil)
			b.Reset()
			if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000001 || !i.Confirmed() {
				t.Errorf("%s: %+v %v", name, i, err)
			}
		})
	}
}

// The cable is pulled after every so many bytes; the board always starts
// something whole, and the next try succeeds.
func TestCableIsPulledAnywhereInAnUpdate(t *testing.T) {
	const size = 3000
	cuts := 0
	for quota := 1; quota < size+600; quota += 37 {
		b := paired()
		var err error
		on(t, b, quota, func(t *testing.T, line Line) { _, err = Flash(t.Context(), line, update(0x01000001, size)) })
		if err != nil {
			cuts++
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
				t.Fatalf("cut after %d bytes: %v", quota, err)
			}
		}
		on(t, b, -1, func(t *testing.T, line Line) {
			if done, err := Flash(t.Context(), line, update(0x01000002, size)); err != nil || !done.Confirmed {
				t.Fatalf("after a cut at %d bytes: %+v %v", quota, done, err)
			}
		})
	}
	if cuts < size/37 {
		t.Errorf("only %d cables were cut", cuts)
	}
}

func TestFlashStopsWithItsContext(t *testing.T) {
	b := paired()
	on(t, b, -1, func(t *testing.T, line Line) {
		ctx, cancel := context.WithCancel(t.Context())
		u := update(0x01000001, 9000)
		u.Report = func(step string, n, _ int) {
			if step == StepUpload && n > 3000 {
				cancel()
			}
		}
		if _, err := Flash(ctx, line, u); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		// What ran before runs, and the door is held.
		if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000000 || !i.Confirmed() {
			t.Errorf("%+v %v", i, err)
		}
		if done, err := Flash(t.Context(), line, update(0x01000001, 9000)); err != nil || !done.Confirmed {
			t.Errorf("again: %+v %v", done, err)
		}
	})
}

// An update that is stopped behind the last byte of its image cannot be undone by
// leaving the loader: it starts the new image, and the error says so.
func TestFlashStoppedTooLateSaysWhatRuns(t *testing.T) {
	for _, at := range []string{StepUpload, StepStart, StepConfirm} {
		b := paired()
		on(t, b, -1, func(t *testing.T, line Line) {
			ctx, cancel := context.WithCancel(t.Context())
			u := update(0x01000001, 9000)
			u.Report = func(step string, n, of int) {
				if step == at && n == of && (step != StepUpload || n > 0) {
					cancel()
				}
			}
			done, err := Flash(ctx, line, u)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1.0.1 in slot B runs") || done.RolledBack || done.Confirmed {
				t.Errorf("%s: %+v %v", at, done, err)
			}
			if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000001 || i.Slot != 'B' || i.Confirmed() {
				t.Errorf("%s: %+v %v", at, i, err)
			}
		})
	}
}

// Whatever the loader refuses, a paired board does not stay there.
func TestRefusedUpdateLeavesTheLoader(t *testing.T) {
	b := paired()
	b.Refuse = firmware.BadFlash
	on(t, b, -1, func(t *testing.T, line Line) {
		if _, err := Flash(t.Context(), line, update(0x01000001, 4096)); !errors.Is(err, firmware.BadFlash) {
			t.Fatal(err)
		}
		if i, err := New(line).Info(t.Context()); err != nil || i.Version != 0x01000000 || !i.Confirmed() {
			t.Errorf("%+v %v", i, err)
		}
	})
}

// paced is a line with the time that a wire takes, of the bubble's clock.
type paced struct{ Line }

func (p paced) Write(b []byte) (int, error) {
	time.Sleep(wireTime(len(b)))
	return p.Line.Write(b)
}

func wireTime(bytes int) time.Duration {
	return time.Duration(bytes) * 10 * time.Second / Baud // a start and a stop bit each
}

// An upload costs little more than the bytes of the image on the wire; what the
// board needs to erase and to check is its own.
func TestUploadTakesTheWiresTime(t *testing.T) {
	b := paired()
	on(t, b, -1, func(t *testing.T, line Line) {
		done, err := Flash(t.Context(), paced{line}, update(0x01000001, 61440-firmware.HeaderSize))
		if err != nil {
			t.Fatal(err)
		}
		ratio := done.Upload.Seconds() / wireTime(done.Bytes).Seconds()
		t.Logf("%d bytes in %s: %.3f of the wire's time", done.Bytes, done.Upload, ratio)
		if ratio > 1.15 || ratio < 1 {
			t.Errorf("%.3f of the wire's time", ratio)
		}
	})
}
