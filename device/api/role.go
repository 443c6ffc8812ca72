package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Role is what a caller may do. Each role may do what the lower ones may.
type Role uint8

// Roles. The zero value may do nothing.
const (
	RoleNone  Role = iota
	RoleLocal      // any local user: is the device well, which keys does it sign with
	RoleKiosk      // the kiosk group: ask who somebody is, watch what happens
	RoleAdmin      // the daemon's own user, the admin group: everything but what is root's
	RoleRoot       // root alone: what the login of somebody else is given
)

var roleNames = [...]string{"none", "local", "kiosk", "admin", "root"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "none"
}

// Groups are the ids of the groups that carry a role; 0 and below means that
// there is no such group. (Root's own group is nobody's way to a role.)
type Groups struct{ Admin, Kiosk int }

// LookupGroups finds the groups' ids. A group that does not exist gives
// nobody a role; its name is in missing.
func LookupGroups(admin, kiosk string) (g Groups, missing []string, err error) {
	find := func(name string) (int, error) {
		if name == "" {
			return 0, nil
		}
		found, err := user.LookupGroup(name)
		var unknown user.UnknownGroupError
		if errors.As(err, &unknown) {
			missing = append(missing, name)
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("api: group %q: %w", name, err)
		}
		return strconv.Atoi(found.Gid)
	}
	if g.Admin, err = find(admin); err != nil {
		return Groups{}, nil, err
	}
	if g.Kiosk, err = find(kiosk); err != nil {
		return Groups{}, nil, err
	}
	return g, missing, nil
}

// Peer is the process at the other end of a unix socket, as the kernel
// recorded it when it connected.
type Peer struct {
	PID, UID int
	GIDs     []int // primary and supplementary
}

// Role of the peer. Only what the kernel said counts.
func (g Groups) Role(p Peer) Role {
	switch {
	case p.UID == 0:
		return RoleRoot
	case p.UID == os.Geteuid(), g.Admin > 0 && slices.Contains(p.GIDs, g.Admin):
		return RoleAdmin
	case g.Kiosk > 0 && slices.Contains(p.GIDs, g.Kiosk):
		return RoleKiosk
	}
	return RoleLocal
}

// UserRole is the role of any process of the user, by their groups in the
// system's table; for callers of whom the kernel tells the user alone.
func (g Groups) UserRole(uid int) Role {
	p := Peer{UID: uid}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		ids, _ := u.GroupIds() // none where they cannot be read
		for _, id := range ids {
			if gid, err := strconv.Atoi(id); err == nil {
				p.GIDs = append(p.GIDs, gid)
			}
		}
	}
	return g.Role(p)
}

// peerOf asks the kernel who is at the other end (SO_PEERCRED and
// SO_PEERGROUPS, unix(7)).
func peerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("api: peer: %w", err)
	}
	var p Peer
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner != nil {
			return
		}
		p = Peer{PID: int(cred.Pid), UID: int(cred.Uid), GIDs: []int{int(cred.Gid)}}
		var groups []uint32
		if groups, inner = peerGroups(fd); inner != nil {
			return
		}
		for _, g := range groups {
			p.GIDs = append(p.GIDs, int(g))
		}
	})
	if err = errors.Join(err, inner); err != nil {
		return Peer{}, fmt.Errorf("api: peer: %w", err)
	}
	return p, nil
}

// peerGroups reads SO_PEERGROUPS, for which x/sys has no function: the size
// is first unknown, and the kernel answers ERANGE with the size it needs.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == syscall.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		default:
			return nil, fmt.Errorf("SO_PEERGROUPS: %w", errno)
		}
	}
}

type (
	roleKey struct{}
	peerKey struct{}
)

// connRole is used as http.Server.ConnContext: a connection has one role,
// that of the process which opened it.
func (s *Server) connRole(ctx context.Context, c net.Conn) context.Context {
	role := RoleNone
	if u, ok := c.(*net.UnixConn); ok {
		p, err := peerOf(u)
		if err != nil {
			s.log.Warn("a caller without a name was given no role", "err", err)
		} else {
			role = s.groups.Role(p)
			ctx = context.WithValue(ctx, peerKey{}, p)
		}
	}
	return context.WithValue(ctx, roleKey{}, role)
}

func roleOf(ctx context.Context) Role {
	r, _ := ctx.Value(roleKey{}).(Role)
	return r
}

// callerOf names the caller for the audit.
func callerOf(ctx context.Context) string {
	if p, ok := ctx.Value(peerKey{}).(Peer); ok {
		return "uid:" + strconv.Itoa(p.UID)
	}
	return roleOf(ctx).String()
}

// mayLogIn tells whether the caller may ask for a login to the account: an
// administrator for every one, everybody else for their own, as a screen lock
// does.
func mayLogIn(ctx context.Context, account string) bool {
	if roleOf(ctx) >= RoleAdmin {
		return true
	}
	p, ok := ctx.Value(peerKey{}).(Peer)
	if !ok {
		return false
	}
	u, err := user.LookupId(strconv.Itoa(p.UID))
	return err == nil && u.Username == account
}
