package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/faceprint/faceprint/device/api/client"
)

// How long to wait for the daemon: the first start reads the models and finds
// the module, which takes a second or two on a Pi.
const (
	startPatience = 60 * time.Second
	startPoll     = 100 * time.Millisecond
	stopPatience  = 10 * time.Second
)

func (r *round) socket() string { return filepath.Join(r.dir, "api.sock") }

// configure writes the configuration of the bench: an ordinary one, whose
// camera is a clip, whose module is simulated and whose door is held by the
// emulated board, or drawn.
func (r *round) configure(models string) error {
	if _, err := os.Stat(filepath.Join(models, "fr_detect.onnx")); err != nil {
		return fmt.Errorf("demo: the face models are not in %s; run `make fetch`", models)
	}
	door := ""
	if r.board != nil {
		door = fmt.Sprintf("[door]\nkind = \"guard\"\nport = %q\nkey_file = %q\n\n", r.board.port, r.board.keyFile)
	}
	text := fmt.Sprintf(`# A bench of one round. faceprintd --print-config lists all keys.
dir = %q

[camera]
source = %q

[face]
models = %q
library = %q

%s[bench]
enabled = true
`, r.dir, filepath.Join(r.clips, clipEnrol), models, fetched("FACEPRINT_ORT", filepath.Join("lib", "libonnxruntime.so.1")), door)
	if err := os.WriteFile(r.config(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	r.api = client.New(r.socket())
	r.sim = func(_ context.Context, line string) (string, error) {
		return command(filepath.Join(r.dir, "bench.sock"), line)
	}
	return nil
}

func (r *round) config() string { return filepath.Join(r.dir, "bench.toml") }
func (r *round) log() string    { return filepath.Join(r.dir, "faceprintd.log") }

// start starts faceprintd, which stands beside this program, and returns when
// every part of it is there.
func (r *round) start(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(exe), "faceprintd")
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%s is not there; run `make build`", program)
	}
	log, err := os.OpenFile(r.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, "--config", r.config())
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C reaches the whole group of the terminal; the daemon is stopped in
	// its turn. If this program is killed, it goes too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.daemon, r.exited = cmd, make(chan error, 1)
	go func() { r.exited <- cmd.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	var last error
	for {
		s, err := r.api.Status(ctx)
		switch {
		case err == nil && s.State == "ready":
			return nil
		case err == nil:
			for _, p := range s.Parts {
				if p.State == "missing" {
					last = fmt.Errorf("%s: %s; %s", p.Name, p.Detail, p.Advice)
				}
			}
		case ctx.Err() == nil:
			last = err
		}
		select {
		case err := <-r.exited:
			r.daemon = nil
			return fmt.Errorf("faceprintd did not start: %w; its log says:\n%s", orNil(err), r.tail())
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("faceprintd is not ready: %w", errors.Join(last, ctx.Err()))
		}
	}
}

// tail is the end of the daemon's log.
func (r *round) tail() []byte {
	b, _ := os.ReadFile(r.log())
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-5):], []byte("\n"))
}

// kill ends the daemon as a power cut would.
func (r *round) kill() error {
	if err := r.daemon.Process.Kill(); err != nil {
		return err
	}
	<-r.exited
	r.daemon = nil
	return nil
}

// stop ends the daemon in order, if it runs.
func (r *round) stop() error {
	if r.daemon == nil {
		return nil
	}
	if err := r.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-r.exited:
		r.daemon = nil
		if err != nil {
			return fmt.Errorf("demo: faceprintd ended with %w; its log says:\n%s", err, r.tail())
		}
		return nil
	case <-time.After(stopPatience):
		return errors.Join(errors.New("demo: faceprintd did not stop, it was killed"), r.kill())
	}
}

// keySet reads the device's public keys as a JOSE library does.
func keySet(keys client.Keys) (jose.JSONWebKeySet, error) {
	var set jose.JSONWebKeySet
	b, err := json.Marshal(keys)
	if err == nil {
		err = json.Unmarshal(b, &set)
	}
	if err != nil {
		return set, fmt.Errorf("the device's keys: %w", err)
	}
	return set, nil
}
