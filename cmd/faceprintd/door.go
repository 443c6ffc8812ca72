package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/gpio"
	"github.com/faceprint/faceprint/device/guard"
	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/sensor/tty"
	"github.com/faceprint/faceprint/store"
)

// door is the lock that the configuration names, with what runs it.
type door struct {
	lock   device.Lock // nil: there is none
	status func() client.Part
	run    func(context.Context)
}

// openDoor makes the door; announce is told what a guard board saw, and called
// only while run runs.
func openDoor(c doorConfig, vault *store.Store, announce func(device.Event), log *slog.Logger) door {
	idle := func(context.Context) {}
	switch c.Kind {
	case "drawn":
		return door{drawnDoor{log.Info}, func() client.Part { return client.Part{Name: "door", State: "ok", Detail: "drawn"} }, idle}
	case "guard":
		g := guard.New(guard.Config{
			Open: func(context.Context) (guard.Line, error) { return tty.OpenLine(c.Port, board.Baud) },
			Key:  func() ([]byte, error) { return readDoorKey(c.KeyFile) }, Journal: boardJournal{vault, announce}, Log: log,
		})
		return door{g, func() client.Part { return guardStatus(c, g.State()) }, g.Run}
	case "gpio":
		p := newPart("door", log, func(context.Context) (*gpio.Strike, error) { return gpio.OpenStrike(c.Pin, log) }, (*gpio.Strike).Close)
		p.detail = func(s *gpio.Strike) string {
			return "strike on " + s.String() + ": a bare pin, whoever is root on this device can open it"
		}
		p.advice = func(error) string {
			return "name the relay's pin in door.pin (GPIO17) and put the daemon's user into the group gpio"
		}
		return door{strike{p}, p.status, func(ctx context.Context) { p.run(ctx, func() {}) }}
	}
	return door{nil, func() client.Part { return client.Part{Name: "door", State: "off"} }, idle}
}

// strike is a door strike that may be missing at the moment.
type strike struct{ part *part[*gpio.Strike] }

func (s strike) Open(ctx context.Context, d time.Duration) error {
	g, _, err := s.part.get()
	if err != nil {
		return err
	}
	return g.Open(ctx, d)
}

// errDoorKey: the pairing key cannot be used.
var errDoorKey = errors.New("door.key_file")

// readDoorKey reads the pairing key, which only the daemon's user may read.
func readDoorKey(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDoorKey, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o: others can read what opens the door", errDoorKey, file, info.Mode().Perm())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDoorKey, err)
	}
	defer clear(text)
	key, err := board.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errDoorKey, file, err)
	}
	return key, nil
}

func guardStatus(c doorConfig, s guard.State) client.Part {
	since := s.Since.UTC()
	p := client.Part{Name: "door", State: "ok", Since: &since}
	if !s.There {
		p.State, p.Detail, p.Advice = "missing", s.Err.Error(), guardAdvice(c, s.Err)
		return p
	}
	p.Detail = fmt.Sprintf("guard board %s %s on %s, firmware %s, lock %s, door %s", s.Info.Name(), s.Info.Serial, c.Port, s.Info.Version, s.Status.Lock, s.Status.Door)
	switch {
	case s.Status.Faults != 0:
		p.Advice = "its memory has faults: 'faceprint board selftest', then replace it"
	case s.Status.Door == board.DoorForced:
		p.Advice = "the door was opened while the lock was shut"
	case s.Status.Door == board.DoorHeld:
		p.Advice = "the door stands open"
	}
	return p
}

func guardAdvice(c doorConfig, err error) string {
	switch {
	case errors.Is(err, guard.ErrTampered), errors.Is(err, guard.ErrLost):
		return "look at the board, its wires and the door; then, with the enclosure open, press its service button, close it within 60 s, stop the daemon and run " + pairing(c)
	case errors.Is(err, guard.ErrUnpaired):
		return "stop the daemon, press the board's service button (inside of the enclosure, to be closed within 60 s) and run " + pairing(c)
	case errors.Is(err, guard.ErrLoader):
		return "stop the daemon and run 'faceprint flash FILE.fpb --port " + c.Port + "'"
	case errors.Is(err, errDoorKey):
		return "'faceprint board pair' makes the key of a board; the file must be the daemon's alone: chmod 600"
	case errors.Is(err, board.ErrForged):
		return "door.key_file is not the key of this board, or this is not the board that was paired"
	case errors.Is(err, tty.ErrPermission):
		return "give the daemon's user access to the port, as is said of it"
	case errors.Is(err, tty.ErrBusy):
		return "'fuser -v " + c.Port + "' tells who has the port"
	case errors.Is(err, tty.ErrNoPort):
		return "plug the board in, or name another door.port"
	}
	return "check the board's power, ground and that TX and RX cross; 'faceprint board info' tells what answers"
}

// pairing is the last step to a paired board.
func pairing(c doorConfig) string {
	return "'faceprint board pair --port " + c.Port + " --key FILE' with a new FILE, and name that in door.key_file"
}

// boardJournal keeps a board's events in the audit chain, with the number of
// the last in the same commit, and then tells whoever listens.
type boardJournal struct {
	vault    *store.Store
	announce func(device.Event)
}

type boardMark struct {
	Last uint32 `json:"last"`
}

var boardMarks = store.Collection[boardMark]("guard")

func (j boardJournal) Last(serial string) (last uint32, err error) {
	err = j.vault.View(func(tx *store.Tx) error {
		m, err := boardMarks.Get(tx, "", serial)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		last = m.Last
		return err
	})
	return last, err
}

func (j boardJournal) Record(serial string, missed uint32, events []board.Event) error {
	err := j.vault.Update(func(tx *store.Tx) error {
		if missed > 0 {
			if _, err := tx.Append(store.Entry{At: time.Now(), Kind: "door", Outcome: "missed", Scores: map[string]float64{"events": float64(missed)}}); err != nil {
				return err
			}
		}
		for _, e := range events {
			entry := store.Entry{At: time.Now(), Kind: "door", Outcome: e.Code.String(), Scores: map[string]float64{"event": float64(e.Sequence)}}
			if d := e.Detail(); d != "" {
				entry.Reasons = []string{d}
			}
			if _, err := tx.Append(entry); err != nil {
				return err
			}
		}
		return boardMarks.Put(tx, "", serial, boardMark{events[len(events)-1].Sequence})
	})
	if err != nil {
		return err
	}
	for _, e := range events {
		j.announce(device.Event{Kind: "guard", Outcome: e.Code.String(), Detail: e.Detail()})
	}
	return nil
}

func (j boardJournal) Alarm(serial string, why error) error {
	outcome := "key lost"
	if errors.Is(why, guard.ErrTampered) {
		outcome = board.EventTamper.String()
	}
	if err := j.vault.Update(func(tx *store.Tx) error {
		_, err := tx.Append(store.Entry{At: time.Now(), Kind: "door", Outcome: outcome, Reasons: []string{why.Error(), "board " + serial}})
		return err
	}); err != nil {
		return err
	}
	j.announce(device.Event{Kind: "guard", Outcome: outcome, Detail: why.Error()})
	return nil
}
