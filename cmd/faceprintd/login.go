package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/fprint"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/host"
)

// openFprint is the part that stands in for fprintd. The bus may come later
// than the daemon, and go away.
func openFprint(d *device.Device, module *part[*sensor.Module], c fingerConfig, log *slog.Logger) *part[*fprint.Server] {
	reader := func() (string, int, bool) {
		m, _, err := module.get()
		if err != nil {
			return "", 0, false
		}
		if c.Match == matchHost {
			return m.Info().Family, host.Captures, true
		}
		if c.Match == matchBoth {
			return m.Info().Family, max(m.Info().Buffers, host.Captures), true
		}
		return m.Info().Family, m.Info().Buffers, true
	}
	p := newPart("fprint", log, func(ctx context.Context) (*fprint.Server, error) {
		return fprint.Open(ctx, d, reader, log)
	}, (*fprint.Server).Close)
	p.check = func(_ context.Context, s *fprint.Server) error { return s.Err() }
	p.detail = func(*fprint.Server) string { return "net.reactivated.Fprint on the system bus" }
	p.advice = func(err error) string {
		if errors.Is(err, fprint.ErrOwned) {
			return "stop fprintd; the package's alias of fprintd.service keeps it from starting"
		}
		return "is dbus running, and is faceprint's D-Bus policy file installed?"
	}
	return p
}

func (b *backend) Logins(context.Context) (client.Logins, error) {
	all := client.Logins{Logins: []client.Login{}}
	logins, err := b.device.Logins()
	for _, l := range logins {
		all.Logins = append(all.Logins, wireLogin(l))
	}
	return all, err
}

func (b *backend) AllowLogin(_ context.Context, account, user string) (client.Login, error) {
	id, err := userID(user)
	if err != nil {
		return client.Login{}, err
	}
	if err := b.device.AllowLogin(id, account); err != nil {
		return client.Login{}, problemOf(err)
	}
	return b.findLogin(account)
}

func (b *backend) RevokeLogin(_ context.Context, account string) (client.Login, error) {
	l, err := b.findLogin(account)
	if err != nil {
		return l, err
	}
	return l, problemOf(b.device.RevokeLogin(account))
}

func (b *backend) findLogin(account string) (client.Login, error) {
	all, err := b.device.Logins()
	if err != nil {
		return client.Login{}, err
	}
	for _, l := range all {
		if l.Account == account {
			return wireLogin(l), nil
		}
	}
	return client.Login{}, problemOf(device.ErrAccount)
}

func wireLogin(l device.Login) client.Login {
	return client.Login{Account: l.Account, User: string(l.User), Since: l.Since.UTC(), Keyring: l.Keyring}
}

func (b *backend) Login(ctx context.Context, a client.LoginAttempt, tell func(string)) (client.Decision, []byte, error) {
	if !b.config.Login.PAM {
		return client.Decision{}, nil, api.NewProblem(http.StatusForbidden, client.ProblemForbidden, "logins are off", "set login.pam = true in the configuration")
	}
	r := device.Request{
		Nonce: a.Nonce, Audience: device.LoginAudience, Timeout: time.Duration(a.TimeoutMs) * time.Millisecond,
		Notify: func(e device.Event) {
			if e.Kind == "begun" || e.Hint != "" {
				tell(e.Hint)
			}
		},
	}
	if a.PIN != "" {
		w, err := wireDecision(b.device.LoginPIN(ctx, a.Account, r, []byte(a.PIN)))
		return w, nil, err
	}
	if a.Keyring {
		r.Scope = device.Keyring
	}
	d, err := b.device.Login(ctx, a.Account, r)
	var keyring []byte
	if err == nil && d.Scope == device.Keyring {
		// Whoever is let in is let in; where this fails the keyring stays locked.
		keyring, _ = b.device.OpenKeyring(a.Account, d.Grant)
	}
	w, err := wireDecision(d, err)
	return w, keyring, err
}

func (b *backend) SetKeyring(ctx context.Context, account string, a client.Attempt) (client.Keyring, error) {
	if !b.device.Policy().Keyring {
		return client.Keyring{}, api.NewProblem(http.StatusForbidden, client.ProblemForbidden, "the device opens no keyrings", "set login.keyring = true in the configuration, and read docs/login.md first")
	}
	d, secret, err := b.device.SetKeyring(ctx, account, device.Request{Timeout: time.Duration(a.TimeoutMs) * time.Millisecond})
	defer clear(secret)
	w, err := wireDecision(d, err)
	if err != nil {
		return client.Keyring{}, err
	}
	w.Grant = "" // it was shown
	return client.Keyring{Account: account, Decision: w, Password: string(secret)}, nil
}

func (b *backend) ForgetKeyring(_ context.Context, account string) (client.Login, error) {
	l, err := b.findLogin(account)
	if err != nil {
		return l, err
	}
	return l, problemOf(b.device.ForgetKeyring(account))
}
