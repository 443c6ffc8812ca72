package kiosk

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// headers that every answer carries. The page runs its own files and nothing
// else: no inline script or style, no other origin, no frame around it.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), usb=(), serial=(), clipboard-read=()",
	"Cache-Control":                "no-store",
}

// framing is the headers of a page that may load frames of these origins, for
// the front-channel logout of applications. They need not say that they may be
// embedded, as Cross-Origin-Embedder-Policy would have it.
func framing(origins []string) map[string]string {
	h := maps.Clone(headers)
	h["Content-Security-Policy"] += "; frame-src " + strings.Join(origins, " ")
	delete(h, "Cross-Origin-Embedder-Policy")
	return h
}

// checked lets only requests through that this machine's own browser made for
// the page itself.
func (s *Server) checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range s.headers {
			w.Header().Set(k, v)
		}
		if err := s.refuse(r); err != nil {
			s.log.Warn("the kiosk turned a request away", "method", r.Method, "why", err)
			s.fail(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse says why a request is not answered.
func (s *Server) refuse(r *http.Request) error {
	if called[r.URL.Path] {
		// An application's own server calls these; what it may learn depends
		// on its secret and the code that it shows. No browser has a reason to.
		if r.Host != s.host || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			return problem{http.StatusForbidden, "origin", "this is for an application's server, not for a browser", ""}
		}
		return nil
	}
	user, ok := r.Context().Value(userKey{}).(int)
	if !ok || s.opts.Allow == nil || !s.opts.Allow(user) {
		return problem{http.StatusForbidden, "forbidden", "this user of the machine may not use the kiosk", "run the browser as a member of the kiosk group"}
	}
	if r.Host != s.host {
		return problem{http.StatusMisdirectedRequest, "host", "the kiosk does not answer to that name", "open http://" + s.host + "/"}
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+s.host {
		return problem{http.StatusForbidden, "origin", "another site asked for this", ""}
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
	default:
		// A link elsewhere may lead to the page; nothing else may be asked
		// for from there.
		if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" {
			return problem{http.StatusForbidden, "origin", "another site asked for this", ""}
		}
	}
	return nil
}

// called are the parts of the OpenID Connect provider that are for the servers
// of applications, whoever they run as.
var called = map[string]bool{
	"/oidc/.well-known/openid-configuration": true, "/oidc/keys": true, "/oidc/oauth/token": true, "/oidc/userinfo": true,
	"/oidc/oauth/introspect": true, "/oidc/revoke": true,
}

type userKey struct{}

// connUser is used as http.Server.ConnContext: a connection is of one user.
func (s *Server) connUser(ctx context.Context, c net.Conn) context.Context {
	uid, err := s.opts.Peer(c)
	if err != nil {
		s.log.Warn("a connection to the kiosk is nobody's", "err", err)
		return ctx
	}
	return context.WithValue(ctx, userKey{}, uid)
}

// peerUser tells whose process is at the other end of a loopback connection.
func peerUser(c net.Conn) (int, error) {
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return 0, fmt.Errorf("kiosk: %w", err)
	}
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return 0, fmt.Errorf("kiosk: %w", err)
	}
	table := "/proc/net/tcp"
	if remote.Addr().Is6() && !remote.Addr().Is4In6() {
		table = "/proc/net/tcp6"
	}
	f, err := os.Open(table)
	if err != nil {
		return 0, fmt.Errorf("kiosk: %w", err)
	}
	defer f.Close()
	return socketUser(f, remote, local)
}

// established is the state of an open connection there (TCP_ESTABLISHED).
const established = "01"

// errNoSocket: the table has no such connection; it ended meanwhile, or comes
// from another network namespace.
var errNoSocket = errors.New("kiosk: the kernel knows no such connection")

// socketUser finds the owner of the socket whose own address is local and whose
// peer's is remote, in a table like /proc/net/tcp (proc(5)).
func socketUser(table io.Reader, local, remote netip.AddrPort) (int, error) {
	lines := bufio.NewScanner(table)
	lines.Scan() // titles
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != kernelAddress(local) || f[2] != kernelAddress(remote) {
			continue
		}
		// A socket that its process closed is nobody's any more, and the kernel says 0,
		// which is root's.
		if f[3] != established {
			return 0, fmt.Errorf("kiosk: that connection is being closed (state %.4q of proc(5))", f[3])
		}
		uid, err := strconv.Atoi(f[7])
		if err != nil || uid < 0 {
			return 0, fmt.Errorf("kiosk: the kernel's table says that the user is %q", f[7])
		}
		return uid, nil
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("kiosk: %w", err)
	}
	return 0, errNoSocket
}

// kernelAddress is an address as /proc/net/tcp prints it: words of 32 bits in
// the machine's byte order, then the port, hexadecimal.
func kernelAddress(a netip.AddrPort) string {
	b := a.Addr().Unmap().AsSlice()
	words := make([]byte, 0, len(b))
	for ; len(b) > 0; b = b[4:] {
		words = binary.BigEndian.AppendUint32(words, binary.NativeEndian.Uint32(b))
	}
	return strings.ToUpper(hex.EncodeToString(words)) + fmt.Sprintf(":%04X", a.Port())
}
