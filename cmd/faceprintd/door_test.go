package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/firmware/board/boardtest"
	"github.com/faceprint/faceprint/store"
)

// said is a log whose lines can be waited for.
type said chan string

func (s said) Write(b []byte) (int, error) {
	s <- string(b)
	return len(b), nil
}

func (s said) wait(t *testing.T, what string) {
	t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		select {
		case line := <-s:
			if strings.Contains(line, what) {
				return
			}
		case <-timeout:
			t.Fatalf("the log never says %q", what)
		}
	}
}

// The daemon's door on a guard board: it is found, opened and shut, its events
// are in the audit chain once, and what is wrong with it has a remedy.
func TestGuardBoardHoldsTheDoor(t *testing.T) {
	dir := t.TempDir()
	key := bytes.Repeat([]byte{0x5A}, board.KeySize)
	b := boardtest.New("microbit", 1)
	b.Install(boardtest.Image("microbit", 'A', 1<<24, 4096))
	b.SetKey(key)
	c := doorConfig{Kind: "guard", Port: b.Port(t), KeyFile: filepath.Join(dir, "door.key")}
	vault, err := openStore(t.Context(), storeConfig{File: filepath.Join(dir, "v.db"), KeyFile: filepath.Join(dir, "v.key")}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()

	var told []string    // only the door's goroutine appends, and it has ended when this is read
	for run := range 2 { // the second run finds its place in the events again
		log := make(said, 1000)
		d := openDoor(c, vault, func(e device.Event) {
			told = append(told, strings.TrimSpace(e.Kind+" "+e.Outcome+" "+e.Detail))
			log <- "told " + told[len(told)-1]
		}, slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.run(ctx); close(done) }()
		if _, err := os.Stat(c.KeyFile); err != nil {
			log.wait(t, "no such file")
			if s := d.status(); s.State != "missing" || !strings.Contains(s.Advice, "board pair") {
				t.Errorf("without a key: %+v", s)
			}
			if err := os.WriteFile(c.KeyFile, board.FormatKey(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		log.wait(t, "holds the door")
		if s := d.status(); s.State != "ok" || !strings.Contains(s.Detail, "microbit 0100000000000001") || !strings.Contains(s.Detail, "firmware 1.0.0, lock shut") {
			t.Errorf("%+v", s)
		}
		if err := d.lock.Open(ctx, time.Second); err != nil || !b.Open() {
			t.Fatalf("%v, open %v", err, b.Open())
		}
		if run == 1 { // those of the first run's end
			log.wait(t, "told guard locked host")
		}
		cancel()
		<-done
		if b.Open() {
			t.Error("the door stays open after an orderly stop")
		}
		if s := d.status(); s.State != "missing" {
			t.Errorf("after the stop: %+v", s)
		}
	}
	if err := os.Chmod(c.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readDoorKey(c.KeyFile); err == nil || !strings.Contains(err.Error(), "mode 0644") {
		t.Errorf("a key that all can read: %v", err)
	}

	var entries []store.Entry
	if err := vault.View(func(tx *store.Tx) (err error) { entries, err = tx.Audit(0, 1000); return err }); err != nil {
		t.Fatal(err)
	}
	var door []string
	last := 0.0
	for _, e := range entries {
		if e.Kind != "door" {
			continue
		}
		if e.Scores["event"] != last+1 {
			t.Errorf("event %g after %g", e.Scores["event"], last)
		}
		last = e.Scores["event"]
		door = append(door, strings.Join(append([]string{e.Outcome}, e.Reasons...), " "))
	}
	for i, d := range door {
		door[i] = "guard " + d
	}
	if !slices.Equal(told, door) {
		t.Errorf("told %q, recorded %q", told, door)
	}
	for _, want := range []string{"guard start power", "guard session", "guard unlocked 1s", "guard locked host"} {
		if !slices.Contains(door, want) {
			t.Errorf("%q is not in the audit chain: %q", want, door)
		}
	}
}

// A guard board that was opened is an alarm in the audit chain, in the events and in
// the status, not a board that nobody has paired yet.
func TestOpenedGuardBoardIsAnAlarm(t *testing.T) {
	dir := t.TempDir()
	key := bytes.Repeat([]byte{0x5A}, board.KeySize)
	b := boardtest.New("microbit", 1)
	b.Install(boardtest.Image("microbit", 'A', 1<<24, 4096))
	b.SetKey(key)
	c := doorConfig{Kind: "guard", Port: b.Port(t), KeyFile: filepath.Join(dir, "door.key")}
	if err := os.WriteFile(c.KeyFile, board.FormatKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	vault, err := openStore(t.Context(), storeConfig{File: filepath.Join(dir, "v.db"), KeyFile: filepath.Join(dir, "v.key")}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	log, alarms := make(said, 1000), 0
	d := openDoor(c, vault, func(e device.Event) {
		if e.Kind == "guard" && e.Outcome == "tamper" && strings.Contains(e.Detail, "TAMPER") {
			alarms++
		}
	}, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.run(ctx); close(done) }()
	log.wait(t, "holds the door")
	b.Tamper()
	log.wait(t, "TAMPER")
	if s := d.status(); s.State != "missing" || !strings.Contains(s.Detail, "TAMPER") || !strings.Contains(s.Advice, "look at the board") || !strings.Contains(s.Advice, "board pair") {
		t.Errorf("%+v", s)
	}
	cancel()
	<-done
	var entries []store.Entry
	if err := vault.View(func(tx *store.Tx) (err error) { entries, err = tx.Audit(0, 1000); return err }); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, e := range entries {
		if e.Kind == "door" && e.Outcome == "tamper" {
			kept++
		}
	}
	if alarms != 1 || kept != 1 {
		t.Errorf("%d alarms announced, %d in the audit chain, want 1 and 1", alarms, kept)
	}
}

func TestOtherDoorsHaveAStatus(t *testing.T) {
	for kind, want := range map[string]string{"none": "off", "drawn": "ok", "gpio": "missing"} {
		if s := openDoor(doorConfig{Kind: kind}, nil, nil, slog.New(slog.DiscardHandler)).status(); s.State != want || s.Name != "door" {
			t.Errorf("%s: %+v", kind, s)
		}
	}
}
