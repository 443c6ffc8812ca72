package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// run serves until the context ends. It returns nil after an orderly stop.
func run(ctx context.Context, c Config, accept bool, log *slog.Logger) (err error) {
	// The store comes first: without it nothing may be served, and a second
	// daemon stops here before it has touched any hardware.
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	vault, err := openStore(ctx, c.Store, accept)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vault.Close()) }()

	camera, err := opencv.OpenCamera(ctx, opencv.CameraConfig{
		Source: c.Camera.Source, Width: c.Camera.Width, Height: c.Camera.Height, Reach: c.Camera.Reach,
		FPS: c.Camera.FPS, Rotate: c.Camera.Rotate, Mirror: c.Camera.Mirror, Log: log,
	})
	if err != nil {
		return err
	}
	defer camera.Close()

	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup // everything that is started below
	defer running.Wait()
	defer cancel()

	models := newPart(facesName, log, func(context.Context) (*vision.Model, error) { return openModel(c, log) }, (*vision.Model).Close)
	models.advice = modelAdvice
	models.detail = func(m *vision.Model) string { return modelDetail(m, c.Policy) }
	running.Go(func() { models.run(ctx, func() {}) })

	var onBench *bench
	if c.Bench.Enabled {
		if onBench, err = startBench(ctx, c, camera, &running, log); err != nil {
			return err
		}
	}
	decoys := decoyCount
	if c.Bench.Enabled {
		decoys = benchDecoys
	}
	var authenticator *device.Device
	accuse := func(attack *sensor.AttackError, audit uint64) {
		if err := authenticator.Accuse(attack, audit); err != nil {
			log.Error("an attack of the finger module was not counted", "err", err)
		}
	}
	reader := &finger{trust: trust{vault: vault, log: log, decoys: decoys, doubts: new(sensor.Doubts), spoilt: new(sync.Map), accuse: accuse}, moved: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	mode := device.Mode(c.Policy.Mode)
	reader.searches.Store(c.Finger.Match == matchModule && (mode == device.FingerOnly || mode == device.Either))
	pins := &fingerPins{}
	kept := kept{log: log}
	module := newPart("finger", log, func(ctx context.Context) (*sensor.Module, error) {
		m, err := openModule(ctx, c.Finger, pins, reader.trust)
		if err == nil {
			kept.opened(m.Info())
		}
		return m, err
	}, func(m *sensor.Module) error {
		reader.stop()
		err := closeModule(m, ctx.Err() != nil)
		kept.closed(err)
		return err
	})
	module.stopped = func() {
		kept.stop(func(ctx context.Context) (*sensor.Module, error) {
			return openAny(ctx, new(sensor.Config), c.Finger, pins, reader.trust)
		})
	}
	module.check, module.detail, module.advice, module.numbers = checkModule, moduleDetail, moduleAdvice, moduleNumbers
	switch c.Finger.Match {
	case matchHost:
		module.detail = pictureDetail
	case matchBoth:
		module.detail = bothDetail
	}
	if c.Finger.Port == "" {
		module.off = "set finger.port to the serial port of a fingerprint module"
	}
	reader.part = module
	entrance := openDoor(c.Door, vault, func(e device.Event) { authenticator.Announce(e) }, log)

	fingers, prints := matcherOf(c.Finger, reader)
	ask := &asker{}
	authenticator, err = device.New(device.Hardware{
		Camera: camera, Faces: faces{models}, Finger: fingers, Match: fingers, Enrol: fingers, Prints: prints, Lock: entrance.lock, Phones: ask,
	}, vault, device.Policy{
		Mode: mode, Phone: device.PhoneWeight(c.Policy.Phone), FaceFMR: c.Policy.FaceFMR, FingerFMR: c.Policy.FingerFMR, Live: c.Policy.Live, Challenge: device.Challenge(c.Policy.Challenge), Blink: c.Policy.Blink, Adapt: c.Policy.Adapt, PIN: c.Policy.PIN, Keyring: c.Login.Keyring,
	}, device.Options{Timeout: c.Policy.Timeout.Duration, OpenFor: c.Door.Open.Duration, Recorded: c.recorded(), Mirrored: c.Camera.Mirror, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, authenticator.Close()) }()
	running.Go(func() {
		module.run(ctx, func() {
			select {
			case reader.moved <- struct{}{}:
			default: // it is told already
			}
			reader.rests()
		})
		if err := pins.close(); err != nil {
			log.Warn("the fingerprint module's pins were not given back", "err", err)
		}
	})
	running.Go(func() { entrance.run(ctx) })
	running.Go(func() {
		reader.light(ctx, authenticator.Subscribe(ctx), func() bool {
			need := []client.Part{entrance.status()}
			if c.Policy.Mode != string(device.FingerOnly) {
				need = append(need, cameraStatus(camera.State()), models.status())
			}
			return slices.ContainsFunc(need, func(p client.Part) bool { return p.State == "missing" })
		}, authenticator.Announce)
	})
	running.Go(func() { reader.rest(ctx) })
	running.Go(func() { authenticator.Keep(ctx, c.Keep.policy()) })
	if onBench != nil {
		running.Go(func() {
			for e := range authenticator.Subscribe(ctx) {
				if e.Hint != "" {
					onBench.hint(e.Hint)
				}
			}
		})
	}

	groups, missing, err := api.LookupGroups(c.API.AdminGroup, c.API.KioskGroup)
	if err != nil {
		return err
	}
	for _, name := range missing {
		log.Info("there is no such group; nobody has its role", "group", name)
	}
	page, err := openKiosk(c.Kiosk)
	if err != nil {
		return err
	}
	defer page.close()
	back := &backend{kiosk: page, finger: reader, vault: vault, device: authenticator, config: c, started: time.Now(), parts: func() []client.Part {
		return []client.Part{cameraStatus(camera.State()), models.status(), module.status(), entrance.status(), storeStatus(vault), page.status()}
	}}
	if c.Login.Fprint {
		bus, others := openFprint(authenticator, module, c.Finger, log), back.parts
		back.parts = func() []client.Part { return append(others(), bus.status()) }
		running.Go(func() { bus.run(ctx, func() {}) })
	}
	if back.phones, err = openPhones(c.Phone, vault, back, log); err != nil {
		return err
	}
	ask.phones = back.phones
	listener, err := api.Listen(c.API.Socket)
	if err != nil {
		return err
	}
	if page != nil {
		if err := page.start(ctx, &running, back, camera, groups, log); err != nil {
			return err
		}
	}
	if c.Phone.Listen != "" {
		// After the page, which phones may knock at.
		phones, others := phonePart(c.Phone, back.phones, log), back.parts
		back.parts = func() []client.Part { return append(others(), phones.status()) }
		running.Go(func() { phones.run(ctx, func() {}) })
	}
	log.Info("serving", "socket", c.API.Socket, "version", version(), "bench", c.Bench.Enabled)
	if err := notify("READY=1"); err != nil {
		log.Warn("systemd was not told", "err", err)
	}
	return api.New(back, api.Options{Version: version(), Groups: groups, Log: log}).Serve(ctx, listener)
}
