package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/vision/opencv"
)

// noCamera is a source that never comes: "camera off" on the bench.
const noCamera = "/dev/video255"

// bench is what takes the place of a camera's subject, a finger and a door
// where there are none. This file alone knows the simulators; the rest of the
// daemon sees a camera that plays files, a serial port and a lock.
type bench struct {
	camera *opencv.Camera
	module *modsim.Sim
	hand   hand
}

const benchHelp = `camera [FILE]                play another clip; "off" delivers nothing; without FILE tell which
hand still, hand obedient    whether the finger follows the device's hints (press, lift)
`

// startBench puts a simulated module on a serial port of its own and answers
// commands, until the context ends.
func startBench(ctx context.Context, c Config, camera *opencv.Camera, running *sync.WaitGroup, log *slog.Logger) (*bench, error) {
	sim, err := modsim.New(modsim.Config{Seed: uint64(c.Bench.Seed)})
	if err != nil {
		return nil, err
	}
	line, err := modsim.OpenPTY(c.Bench.Link)
	if err != nil {
		return nil, err
	}
	b := &bench{camera: camera, module: sim}
	l, err := listenControl(c.Bench.Control)
	if err != nil {
		_ = line.Close()
		return nil, err
	}
	running.Go(func() {
		// Taking the terminal away is what ends a read that waits on it.
		defer context.AfterFunc(ctx, func() { line.Close() })()
		if err := line.Serve(ctx, sim); err != nil {
			log.Error("the simulated module stopped", "err", err)
		}
	})
	running.Go(func() { serveControl(ctx, l, b.do) })
	log.Info("this is the bench: finger and door are simulated", "control", c.Bench.Control, "port", line.Path())
	return b, nil
}

// do obeys one line of the control socket: the bench's own words, or else the
// module's.
func (b *bench) do(text string) (string, error) {
	word, args, _ := strings.Cut(text, " ")
	args = strings.TrimSpace(args)
	switch word {
	case "help":
		return benchHelp + modsim.Help, nil
	case "camera":
		return b.switchCamera(args)
	case "hand":
		return "", b.hand.train(args)
	}
	reply, err := b.module.Command(text)
	if err == nil {
		b.hand.did(word, text)
	}
	return reply, err
}

func (b *bench) switchCamera(source string) (string, error) {
	switch source {
	case "":
		s := b.camera.State()
		return fmt.Sprintf("%s, %s, %d frames", s.Source, s.Condition, s.Frames), nil
	case "off":
		source = noCamera
	}
	return "", b.camera.Switch(source)
}

// hint lets the simulated person do what the device asks for.
func (b *bench) hint(hint string) {
	if command := b.hand.obey(hint); command != "" {
		_, _ = b.module.Command(command) // it was taken before
	}
}

// hand is the simulated person's: once a technician has laid a finger on the
// module, it lifts and lays down that finger as the device asks, so that an
// enrolment of several captures needs one command.
type hand struct {
	mu    sync.Mutex
	still bool   // does nothing by itself
	touch string // the command that laid the finger down, empty when lifted by command
}

func (h *hand) train(how string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch how {
	case "still", "obedient":
		h.still = how == "still"
		return nil
	}
	return fmt.Errorf("a hand is still or obedient, not %q", how)
}

// did takes note of a command of the technician's.
func (h *hand) did(word, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch word {
	case "touch":
		h.touch = text
	case "lift":
		h.touch = ""
	}
}

// obey says which command follows from a hint, if any.
func (h *hand) obey(hint string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.still || h.touch == "" {
		return ""
	}
	switch hint {
	case "lift-finger":
		return "lift"
	case "press-finger", "press-again", "press-flat", "press-longer":
		return h.touch
	}
	return ""
}
