package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/kiosk"
	"github.com/faceprint/faceprint/device/openid"
	"github.com/faceprint/faceprint/vision/opencv"
)

// kioskPage is the page on the device's own screen. The nil one is none.
type kioskPage struct {
	config   kioskConfig
	listener net.Listener
	server   *kiosk.Server
}

// openKiosk takes the page's address, so that a wrong one stops the daemon
// before it serves anything.
func openKiosk(c kioskConfig) (*kioskPage, error) {
	if c.Listen == "" {
		return nil, nil
	}
	l, err := kiosk.Listen(c.Listen)
	if err != nil {
		return nil, err
	}
	return &kioskPage{config: c, listener: l}, nil
}

// close lets go of an address that was never served.
func (k *kioskPage) close() {
	if k != nil {
		_ = k.listener.Close()
	}
}

// start serves the page, and watches who comes and goes, until the context
// ends.
func (k *kioskPage) start(ctx context.Context, running *sync.WaitGroup, back *backend, camera *opencv.Camera, groups api.Groups, log *slog.Logger) error {
	o := kiosk.Options{
		Version: version(), Bench: back.config.Bench.Enabled, Enrol: kiosk.Enrolling(k.config.Enrol),
		PIN: back.device.Policy().PIN, Mirror: !back.config.Camera.Mirror, Log: log,
		Present: func() bool { return back.device.Presence() == device.Somebody },
		Visit:   back.device.Visit,
		Lamp:    func() string { return back.finger.shows().String() },
		Allow:   func(uid int) bool { return groups.UserRole(uid) >= api.RoleKiosk },
	}
	for _, f := range []device.Factor{device.Face, device.Finger} {
		if back.device.Policy().Mode.Wants(f) {
			o.Factors = append(o.Factors, string(f))
		}
	}
	if k.config.Preview {
		o.Picture = preview(camera)
	}
	if back.config.Phone.Listen != "" && back.config.Policy.Phone != "none" {
		o.Phones = kioskPhones{back}
	}
	applications, err := k.applications(back, log)
	if err != nil {
		return err
	}
	if applications != nil {
		o.Logins = applications
		running.Go(func() { applications.Run(ctx) })
		running.Go(func() {
			for e := range back.device.Subscribe(ctx) {
				switch {
				case e.Kind == "presence" && e.Outcome != "came":
					applications.Leave()
				case e.Kind == "forgotten":
					applications.Forgotten(string(e.User))
				}
			}
		})
	}
	if k.server, err = kiosk.New(atKiosk{back, max(k.config.Away.Duration, leastStay)}, o); err != nil {
		return err
	}
	running.Go(func() {
		if err := back.device.Watch(ctx, k.config.Away.Duration); err != nil {
			log.Warn("nobody watches who comes and goes", "err", err)
		}
	})
	running.Go(func() {
		if err := k.server.Serve(ctx, k.listener); err != nil {
			log.Error("the kiosk's page is not served any more", "err", err)
		}
	})
	log.Info("the kiosk's page is open", "url", kiosk.URL(k.listener))
	return nil
}

// leastStay is how long at least whoever is enrolled at the page may be out of
// sight: they turn their heads for it, and bend down to the finger reader.
const leastStay = 5 * time.Second

// atKiosk is the device for the page, where nobody sees to it that who agreed to
// an enrolment is who is captured: the device does.
type atKiosk struct {
	*backend
	stay time.Duration
}

func (k atKiosk) Enroll(ctx context.Context, e client.Enrolment) (client.Enrolled, error) {
	made, err := k.enroll(ctx, e, k.stay)
	if p := (*api.Problem)(nil); errors.As(err, &p) && p.Type == client.ProblemPrefix+client.ProblemLeft {
		err = errors.Join(err, device.ErrLeft) // the page's server asks for it
	}
	return made, err
}

// applications answers web applications; nil where none is configured.
func (k *kioskPage) applications(back *backend, log *slog.Logger) (*openid.Provider, error) {
	if len(k.config.Apps) == 0 {
		return nil, nil
	}
	page := kiosk.URL(k.listener)
	o := openid.Options{
		Issuer: page + "oidc", Login: page, Keys: back.device.Keys, Log: log,
		Name: func(ctx context.Context, user string) (string, error) {
			p, err := back.Person(ctx, user)
			return p.Name, err
		},
	}
	for _, a := range k.config.Apps {
		app := a.app()
		if a.SecretFile != "" {
			b, err := os.ReadFile(a.SecretFile)
			if err != nil {
				return nil, fmt.Errorf("kiosk.app %q: secret_file: %w", a.ID, err)
			}
			if app.Secret = strings.TrimSpace(string(b)); app.Secret == "" {
				return nil, fmt.Errorf("kiosk.app %q: %s holds no secret", a.ID, a.SecretFile)
			}
		}
		o.Apps = append(o.Apps, app)
	}
	return openid.New(o)
}

// preview shows the camera's frames; the device's own attempts miss none.
func preview(camera *opencv.Camera) kiosk.Picture {
	return func(ctx context.Context, after uint64, width int) (*image.YCbCr, uint64, error) {
		frame, err := camera.Next(ctx, after)
		if err != nil {
			return nil, 0, err
		}
		defer frame.Wipe()
		return frame.Preview(width), frame.Seq, nil
	}
}

func (k *kioskPage) status() client.Part {
	if k == nil {
		return client.Part{Name: "kiosk", State: "off", Advice: "set kiosk.listen to a loopback address for a page on this machine's screen"}
	}
	return client.Part{Name: "kiosk", State: "ok", Detail: kiosk.URL(k.listener)}
}

// KioskCode makes a code for somebody at the page.
func (b *backend) KioskCode(context.Context) (client.KioskCode, error) {
	if b.kiosk == nil {
		return client.KioskCode{}, api.NewProblem(http.StatusNotFound, client.ProblemNotFound, "this device has no kiosk page", "set kiosk.listen")
	}
	code, until := b.kiosk.server.Code()
	return client.KioskCode{Code: code, Until: until.UTC(), URL: kiosk.URL(b.kiosk.listener)}, nil
}
