package fprint

import (
	"context"
	"errors"
	"os/user"
	"strconv"

	"github.com/godbus/dbus/v5"
)

// caller is the client that sent a call, as the bus knows it.
type caller struct {
	name    string // unique name on the bus
	uid     uint32
	account string // of the uid; root's is not looked up
}

// who asks the bus, which asked the kernel.
func (s *Server) who(ctx context.Context, sender dbus.Sender) (caller, error) {
	c := caller{name: string(sender)}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	if err := s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, c.name).Store(&c.uid); err != nil {
		return caller{}, err
	}
	if c.uid == 0 {
		return c, nil
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(c.uid), 10))
	if err != nil {
		return caller{}, err
	}
	c.account = u.Username
	return c, nil
}

// account is the one that the caller means by the name, which may be empty
// for its own. Nobody but root may name another's.
func (c caller) of(username string) (string, *dbus.Error) {
	switch {
	case c.uid == 0 && username != "":
		return username, nil
	case c.uid == 0:
		return "root", nil
	case username == "" || username == c.account:
		return c.account, nil
	}
	return "", fail(errPermission, "Not Authorized: only root may name another account")
}

// mayChange tells whether the caller may enrol and delete fingers: whoever
// finds a screen unlocked must not leave a finger behind. Polkit asks for the
// account's password.
func (s *Server) mayChange(ctx context.Context, c caller) *dbus.Error {
	if c.uid == 0 {
		return nil
	}
	const action = "net.reactivated.fprint.device.enroll"
	type subject struct {
		Kind    string
		Details map[string]dbus.Variant
	}
	var answer struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	const allowInteraction = uint32(1)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	polkit := s.conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority")
	err := polkit.CallWithContext(ctx, "org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0,
		subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(c.name)}},
		action, map[string]string{}, allowInteraction, "").Store(&answer)
	if err != nil {
		s.log.Info("polkit was not asked", "action", action, "err", err)
		return fail(errPermission, "Not Authorized: "+action+" needs root, or polkit")
	}
	if !answer.Authorized {
		return fail(errPermission, "Not Authorized: "+action)
	}
	return nil
}

// owned tells whether somebody has the name on the bus.
func (s *Server) owned(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	var has bool
	err := s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, name).Store(&has)
	return has, err
}

// ErrOwned: fprintd, or another daemon, is there already.
var ErrOwned = errors.New(busName + " belongs to another program")
