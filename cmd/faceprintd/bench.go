package main

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"

	"github.com/faceprint/faceprint/vision/opencv"
)

// noCamera is a source that never comes: "camera off" on the bench.
const noCamera = "/dev/video255"

// bench is what takes the place of a camera's subject, a finger and a door
// where there are none. This file alone knows the simulators; the rest of the
// daemon sees a camera that plays files, a serial port and a lock.
type bench struct {
	camera *opencv.Camera
}

// commands of the bench itself; every other word is the module's.
func (b *bench) commands() map[string]func(args string) (string, error) {
	return map[string]func(string) (string, error){
		"camera": b.switchCamera,
		"help":   b.help,
	}
}

// do obeys one line of the control socket.
func (b *bench) do(line string) (string, error) {
	word, args, _ := strings.Cut(line, " ")
	if f, ok := b.commands()[word]; ok {
		return f(strings.TrimSpace(args))
	}
	return "", fmt.Errorf("the bench does not know %q; try help", word)
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

func (b *bench) help(string) (string, error) {
	var words []string
	for w := range b.commands() {
		words = append(words, w)
	}
	sort.Strings(words)
	return strings.Join(words, "\n"), nil
}

// startBench opens the control socket and answers on it.
func startBench(ctx context.Context, c Config, camera *opencv.Camera, running *sync.WaitGroup, log *slog.Logger) error {
	b := &bench{camera: camera}
	l, err := listenControl(c.Bench.Control)
	if err != nil {
		return err
	}
	running.Go(func() { serveControl(ctx, l, b.do) })
	log.Info("this is the bench: finger and door are simulated", "control", c.Bench.Control)
	return nil
}
