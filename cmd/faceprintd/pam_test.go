package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// The tests of pam_faceprint build it as 'make pam' does and load it into
// pamtester.

// pamFaceprint builds the module and returns its path.
func pamFaceprint(t testing.TB) string {
	t.Helper()
	for _, header := range []string{"/usr/include/security/pam_modules.h", "/usr/include/systemd/sd-login.h"} {
		if _, err := os.Stat(header); err != nil {
			t.Skipf("%v; 'make test' installs it", err)
		}
	}
	return makePAM(t, "pam_faceprint.so")
}

func makePAM(t testing.TB, what string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, what)
	if out, err := exec.Command("make", "-s", "-C", "../../packaging/pam", "DIR="+dir, path).CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	return path
}

// What alice's password is, as shadow(5) has it.
const (
	password     = "correct horse"
	passwordHash = "$6$faceprint$T1/VjxaseQLyNK8QzI0Tza7onINXwxrfEgbrbZag4Cw0RkvJhdfEWwjYyQ6.sOJT0KgsWJMs.WxjklTOq261y1"
)

// withAccounts is what is mounted so that there is an account alice with a
// password.
func withAccounts(t testing.TB) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nalice:x:4711:4711::/:/bin/sh\nbob:x:4712:4712::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
		"shadow": "root:*:20000::::::\nalice:" + passwordHash + ":20000::::::\nbob:" + passwordHash + ":20000::::::\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"/etc/passwd": filepath.Join(dir, "passwd"), "/etc/shadow": filepath.Join(dir, "shadow")}
}

// session is what is mounted so that logind says of the program that it is in a
// session from elsewhere, as sudo under ssh is, or of this machine's own seat.
func session(t testing.TB, remote bool) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cgroup":      "1:name=systemd:/user.slice/user-4711.slice/session-77.scope\n0::/user.slice/user-4711.slice/session-77.scope\n",
		"sessions/77": "UID=4711\nUSER=alice\nACTIVE=1\nSTATE=active\nREMOTE=" + map[bool]string{true: "1", false: "0\nSEAT=seat0"}[remote] + "\nTYPE=tty\nCLASS=user\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{"/proc/$$/cgroup": filepath.Join(dir, "cgroup"), "/run/systemd/sessions": filepath.Join(dir, "sessions")}
}

// typed types a line at the program's prompt.
func (p *program) typed(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(p.tty, text+"\n"); err != nil {
		t.Fatal(err)
	}
}

const (
	offering = "or type your password:"
	looking  = "Look at the camera."
)

// faceprintStack is the module before pam_unix, as the profile has them.
func faceprintStack(module, socket, options string) string {
	return fmt.Sprintf("auth [success=2 default=ignore] %s services=faceprint-test:greetd socket=%s timeout=90 %s\nauth [success=1 default=ignore] pam_unix.so nodelay try_first_pass\n"+
		"auth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_permit.so\n", module, socket, options)
}

func TestPamFaceprint(t *testing.T) {
	t.Parallel()
	m := startTerminal(t, "pam = true")
	module, accounts := pamFaceprint(t), withAccounts(t)
	try := func(options string, args ...string) *program {
		return m.pam(t, accounts, faceprintStack(module, m.path("api.sock"), options), append(args, "faceprint-test", "alice", "authenticate", "setcred")...)
	}
	alone := func(options string, args ...string) *program {
		return m.pam(t, accounts, fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s timeout=90 %s\n", module, m.path("api.sock"), options), append(args, "faceprint-test", "alice", "authenticate")...)
	}
	fresh := func(t *testing.T) {
		m.sim(t, "lift")
		if _, err := m.client.Unlock(t.Context(), m.user); err != nil {
			t.Fatal(err)
		}
	}
	granted := func(t *testing.T, p *program) {
		t.Helper()
		if said, ok := p.end(t); !ok {
			t.Errorf("refused: %s", said)
		}
	}
	refused := func(t *testing.T, p *program, not ...string) {
		t.Helper()
		said, ok := p.end(t)
		if ok {
			t.Errorf("granted: %s", said)
		}
		for _, n := range not {
			if strings.Contains(said, n) {
				t.Errorf("it said %q: %s", n, said)
			}
		}
	}
	byPassword := func(t *testing.T, p *program) {
		t.Helper()
		p.says(t, "Password:")
		p.typed(t, password)
		granted(t, p)
	}

	t.Run("granted while the password is offered", func(t *testing.T) {
		fresh(t)
		p := try("")
		p.says(t, offering)
		m.sim(t, "touch alice right-index-finger")
		p.typed(t, "")
		granted(t, p)
	})
	t.Run("Enter long after the look", func(t *testing.T) { // by whoever sits there by then
		fresh(t)
		p := alone("timeout=1")
		p.says(t, offering)
		<-time.After(3 * time.Second) // its time and its grace, by the module's own clock
		p.typed(t, "")
		p.says(t, "That took too long")
		refused(t, p)
	})
	t.Run("the password is taken while the device looks", func(t *testing.T) {
		fresh(t)
		before := m.audited(t, "login", "abandoned")
		p := try("")
		p.says(t, offering)
		p.typed(t, password)
		granted(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m.until(ctx, t, func(s client.Status) bool { return !s.Busy })
		if got := m.audited(t, "login", "abandoned"); got != before+1 {
			t.Errorf("%d abandoned attempts, want %d", got, before+1)
		}
	})
	t.Run("a wrong password", func(t *testing.T) {
		fresh(t)
		p := try("")
		p.says(t, offering)
		p.typed(t, "battery staple")
		refused(t, p)
	})
	t.Run("no match, and then the password", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch mallory right-index-finger")
		p := try("wait")
		p.says(t, looking)
		byPassword(t, p)
		if who, err := m.client.Person(t.Context(), m.user); err != nil || who.Failures != 1 {
			t.Errorf("%d failures counted (%v)", who.Failures, err)
		}
	})
	t.Run("match without a key pressed", func(t *testing.T) {
		fresh(t)
		p := alone("wait")
		p.says(t, looking)
		m.sim(t, "touch alice right-index-finger")
		granted(t, p)
	})
	t.Run("no match", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch mallory right-index-finger")
		refused(t, alone("wait"))
	})
	t.Run("retry", func(t *testing.T) {
		fresh(t)
		m.sim(t, "hand still")
		defer m.sim(t, "hand obedient")
		p := alone("wait")
		p.says(t, looking)
		m.sim(t, "touch alice right-index-finger 0.1")
		p.says(t, "on the reader")
		m.sim(t, "touch alice right-index-finger")
		granted(t, p)
	})
	t.Run("time-out", func(t *testing.T) {
		fresh(t)
		p := try("wait timeout=1")
		p.says(t, "Place your finger on the reader.")
		byPassword(t, p)
		if who, err := m.client.Person(t.Context(), m.user); err != nil || who.Failures != 0 {
			t.Errorf("%d failures counted though nothing was compared (%v)", who.Failures, err)
		}
	})
	t.Run("locked out", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch mallory right-index-finger")
		for range 5 {
			refused(t, alone("wait"))
		}
		m.sim(t, "touch alice right-index-finger")
		p := try("wait")
		p.says(t, "Locked for now")
		byPassword(t, p)
	})
	t.Run("a PIN", func(t *testing.T) {
		fresh(t)
		if _, err := m.client.SetPIN(t.Context(), m.user, client.NewPIN{PIN: "271828"}); err != nil {
			t.Fatal(err)
		}
		const asks = "PIN, or your password:"
		after := func(options, typed string) *program {
			t.Helper()
			p := try(options)
			p.says(t, asks)
			p.typed(t, typed)
			return p
		}
		m.sim(t, "touch mallory right-index-finger")
		before := m.audited(t, "login", "granted")
		granted(t, after("wait pin", "271828"))
		if got := m.audited(t, "login", "granted"); got != before+1 {
			t.Errorf("%d logins by PIN are recorded, want 1", got-before)
		}
		granted(t, after("wait pin", password))
		before = m.audited(t, "login", "refused")
		p := after("wait pin", "314159")
		p.says(t, "That is not your PIN.")
		refused(t, p)
		if got := m.audited(t, "login", "refused"); got != before+2 {
			t.Errorf("%d refusals are recorded, want that of the finger and that of the PIN", got-before)
		}
		refused(t, after("wait pin", "2718281828459"), "not your PIN") // longer than any: a password
		if got := m.audited(t, "login", "refused"); got != before+3 {
			t.Error("what is no PIN went to the device")
		}
		fresh(t)
		m.sim(t, "unplug") // the day that a PIN is for
		granted(t, after("wait pin", "271828"))
		m.sim(t, "plug")
		m.ready(t, "finger", "fprint")
		fresh(t)
		p = try("wait timeout=1")
		p.says(t, "Password:")
		p.typed(t, "271828")
		refused(t, p, asks)
	})
	t.Run("an account that is nobody's", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		p := m.pam(t, accounts, faceprintStack(module, m.path("api.sock"), ""), "faceprint-test", "bob", "authenticate")
		byPassword(t, p) // at once, without an offer to look
		if strings.Contains(p.said.String(), offering) {
			t.Error(p.said.String())
		}
	})
	t.Run("two sessions", func(t *testing.T) {
		fresh(t)
		first := try("")
		first.says(t, offering)
		byPassword(t, try("")) // the second gets the password's prompt at once
		m.sim(t, "touch alice right-index-finger")
		first.typed(t, "")
		granted(t, first)
	})
	t.Run("remote sessions", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		before := m.audited(t, "login", "granted")
		refused(t, alone("wait", "-I", "rhost=192.0.2.1"), looking)
		refused(t, m.pam(t, accounts, fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s timeout=90 wait\n", module, m.path("api.sock")), "-I", "service=sshd", "faceprint-test", "alice", "authenticate"), looking)
		byPassword(t, try("", "-I", "rhost=192.0.2.1"))
		if got := m.audited(t, "login", "granted"); got != before {
			t.Error("a remote session was granted")
		}
		sudo := func(remote bool) *program {
			return m.pam(t, session(t, remote), fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s timeout=90 wait\n", module, m.path("api.sock")), "faceprint-test", "alice", "authenticate")
		}
		refused(t, sudo(true), looking)
		if got := m.audited(t, "login", "granted"); got != before {
			t.Error("sudo in a remote session was granted")
		}
		granted(t, sudo(false))
		// Outside of a session, on behalf of somebody at a seat or not.
		outside := func(seats string) *program {
			users := t.TempDir()
			if err := os.WriteFile(filepath.Join(users, "65534"), []byte("NAME=nobody\nSTATE=active\n"+seats), 0o644); err != nil {
				t.Fatal(err)
			}
			return m.pam(t, map[string]string{"/run/systemd/users": users}, fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s timeout=90 wait\n", module, m.path("api.sock")),
				"-I", "ruser=nobody", "faceprint-test", "alice", "authenticate")
		}
		refused(t, outside(""), looking)
		granted(t, outside("SEATS=seat0\nACTIVE_SEATS=seat0\n"))
		granted(t, alone("wait", "-I", "rhost=localhost"))
	})
	t.Run("only screens of this machine, for services that are named", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		at := func(options, service, tty string, mounts map[string]string) *program {
			return m.pam(t, mounts, fmt.Sprintf("auth required %s socket=%s timeout=90 wait %s\n", module, m.path("api.sock"), options),
				"-I", "service="+service, "-I", "tty="+tty, "faceprint-test", "alice", "authenticate")
		}
		before := m.audited(t, "login", "granted")
		for _, x := range [][3]string{
			{"", "xrdp-sesman", "xrdp-sesman"}, // as xrdp does: root's, no remote host named
			{"services=xrdp-sesman", "xrdp-sesman", "xrdp-sesman"},
			{"", "ejabberd", ""},
			{"", "faceprint-test", "/dev/tty7"},
			{"", "gdm-password", ""},
			{"", "login", "/dev/pts/3"},
			{"", "login", "pts/3"},
			{"", "login", "ttyS0"},
			{"", "login", "tty"},
			{"", "login", ":"},
			{"", "login", "tty7/../pts/3"},
			{"", "login:greetd", "/dev/tty7"},
			{"", "logi", "/dev/tty7"},
			{"", "ogin", "/dev/tty7"},
			{"services=sshd:login", "sshd", "/dev/tty7"},
			{"services=greetd", "login", "/dev/tty7"},
		} {
			refused(t, at(x[0], x[1], x[2], nil), looking)
		}
		// The whole stack, and an empty line for its password.
		p := m.pam(t, accounts, strings.Replace(faceprintStack(module, m.path("api.sock"), "services=login"), "services=faceprint-test:greetd", "", 1),
			"-I", "service=xrdp-sesman", "-I", "tty=xrdp-sesman", "faceprint-test", "alice", "authenticate")
		p.says(t, "Password:")
		p.typed(t, "")
		refused(t, p, looking, offering)
		for _, raises := range []string{"sudo", "su", "polkit-1"} {
			refused(t, at("", raises, "/dev/pts/1", session(t, false)), looking)
		}
		away := session(t, false)
		file := filepath.Join(away["/run/systemd/sessions"], "77")
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.ReplaceAll(strings.ReplaceAll(string(text), "ACTIVE=1", "ACTIVE=0"), "STATE=active", "STATE=online")), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		refused(t, at("", "swaylock", "", away), looking) // another one is in front
		if got := m.audited(t, "login", "granted"); got != before {
			t.Errorf("%d of them were granted", got-before)
		}
		granted(t, at("", "login", "/dev/tty1", nil))
		granted(t, at("", "lightdm", ":0", nil))
		granted(t, at("", "greetd", "", nil))
		granted(t, at("", "swaylock", "", session(t, false)))
		granted(t, at("services=login:sudo", "sudo", "/dev/pts/1", session(t, false)))
	})
	t.Run("options that are not understood let nobody in", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		for _, bad := range []string{"weit", "timeout=0", "timeout=121", "timeout=1s", "socket=api.sock", "owner=", "services="} {
			refused(t, alone("wait "+bad), looking)
		}
	})
	t.Run("unplugged", func(t *testing.T) {
		fresh(t)
		p := try("wait")
		p.says(t, looking)
		m.sim(t, "unplug")
		byPassword(t, p)
		m.sim(t, "plug")
		m.ready(t, "finger")
	})
	t.Run("daemon killed", func(t *testing.T) {
		fresh(t)
		p := try("")
		p.says(t, offering)
		m.kill()
		p.typed(t, "")
		byPassword(t, p)
		byPassword(t, try("")) // a socket on which nobody answers
		m.start(t)
		m.ready(t, "finger")
		m.sim(t, "touch alice right-index-finger")
		granted(t, alone("wait"))
	})
}

// With logins switched off the daemon refuses, whoever is there.
func TestPamFaceprintIsOffByDefault(t *testing.T) {
	t.Parallel()
	m := startTerminal(t)
	m.sim(t, "touch alice right-index-finger")
	p := m.pam(t, withAccounts(t), fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s timeout=90 wait\n", pamFaceprint(t), m.path("api.sock")), "faceprint-test", "alice", "authenticate")
	if said, ok := p.end(t); ok || strings.Contains(said, looking) {
		t.Error(said)
	}
}

// question is what the module asks a daemon.
type question struct{ Account, Nonce string }

// liar listens in the daemon's place and answers every connection; it returns
// its socket.
func liar(t *testing.T, answer func(net.Conn, question)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			var q question
			if err == nil && json.NewDecoder(r.Body).Decode(&q) == nil {
				answer(c, q)
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

const okHead = "HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"

// said makes an answer that grants; the lines are what the daemon would say.
func grant(q question) string {
	return okHead + fmt.Sprintf("{\"nonce\":%q,\"account\":%q}\n{\"nonce\":%q,\"account\":%q,\"outcome\":\"granted\"}\n", q.Nonce, q.Account, q.Nonce, q.Account)
}

// Only the daemon's own answer to this very question is a yes.
func TestPamFaceprintBelievesNoLiar(t *testing.T) {
	t.Parallel()
	needs(t, "pamtester", "unshare")
	module := pamFaceprint(t)
	m := &terminal{}
	old := question{Account: "alice", Nonce: "00112233445566778899aabbccddeeff"}
	write := func(f func(question) string) func(net.Conn, question) {
		return func(c net.Conn, q question) { _, _ = io.WriteString(c, f(q)) }
	}
	for _, c := range []struct {
		name   string
		answer func(net.Conn, question)
		ok     bool
	}{
		{"the truth", write(grant), true},
		{"another question's answer", write(func(question) string { return grant(old) }), false},
		{"another account's", write(func(q question) string { return grant(question{"root", q.Nonce}) }), false},
		{"no nonce", write(func(q question) string { return okHead + "{\"account\":\"alice\",\"outcome\":\"granted\"}\n" }), false},
		{"a nonce that begins alike", write(func(q question) string { return grant(question{q.Account, q.Nonce + "0"}) }), false},
		{"a late change of mind", write(func(q question) string {
			return strings.ReplaceAll(grant(q), "granted", "refused") + strings.TrimPrefix(grant(q), okHead)
		}), false},
		{"granted with a blank", write(func(q question) string { return strings.ReplaceAll(grant(q), `"granted"`, `"granted "`) }), false},
		{"Granted", write(func(q question) string { return strings.ReplaceAll(grant(q), "granted", "Granted") }), false},
		{"granted twice in a line", write(func(q question) string {
			return strings.ReplaceAll(grant(q), `"outcome":"granted"`, `"outcome":"refused","outcome":"granted"`)
		}), false},
		{"an unknown key", write(func(q question) string {
			return strings.ReplaceAll(grant(q), `"outcome":"granted"`, `"outcome":"granted","x":"y"`)
		}), false},
		{"a line without an end", write(func(q question) string { return strings.TrimSuffix(grant(q), "\n") }), false},
		{"an error that grants", write(func(q question) string { return strings.Replace(grant(q), "200 OK", "403 Forbidden", 1) }), false},
		{"chunked", write(func(q question) string {
			return strings.Replace(grant(q), "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
		}), false},
		{"an endless head", write(func(q question) string {
			return "HTTP/1.0 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n" + grant(q)
		}), false},
		{"endless hints", func(c net.Conn, q question) {
			_, _ = io.WriteString(c, okHead)
			for range 10000 {
				if _, err := fmt.Fprintf(c, "{\"nonce\":%q,\"account\":%q,\"hint\":\"closer\"}\n", q.Nonce, q.Account); err != nil {
					return
				}
			}
			_, _ = io.WriteString(c, strings.TrimPrefix(grant(q), okHead))
		}, false},
		{"nothing", func(net.Conn, question) {}, false},
		{"silence", func(c net.Conn, _ question) { _, _ = io.Copy(io.Discard, c) }, false}, // until the module hangs up
	} {
		t.Run(c.name, func(t *testing.T) {
			p := m.pam(t, nil, fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s wait\n", module, liar(t, c.answer)), "faceprint-test", "alice", "authenticate")
			if said, ok := p.end(t); ok != c.ok {
				t.Errorf("granted %v: %s", ok, said)
			}
		})
	}
}

// A program of another uid that got hold of the socket's path is not believed,
// even when it answers as the daemon would; the same program as root is.
func TestPamFaceprintAsksWhoListens(t *testing.T) {
	t.Parallel()
	needs(t, "pamtester", "unshare", "socat", "setpriv")
	module, accounts := pamFaceprint(t), withAccounts(t)
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	script := `read -r _; while read -r l && [ "$l" != "$(printf '\r')" ]; do :; done
body=$(dd bs=1 count=$((LEN)) 2>/dev/null)
nonce=$(printf %s "$body" | sed 's/.*"nonce":"\([0-9a-f]*\)".*/\1/')
printf 'HTTP/1.0 200 OK\r\n\r\n{"nonce":"%s","account":"alice"}\n{"nonce":"%s","account":"alice","outcome":"granted"}\n' "$nonce" "$nonce"
`
	length := len(fmt.Sprintf(`{"account":"alice","nonce":"%032d","service":"faceprint-test","timeout_ms":15000}`, 0))
	script = strings.ReplaceAll(script, "LEN", fmt.Sprint(length))
	if err := os.WriteFile(filepath.Join(dir, "answer"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid   string
		owner string
		ok    bool
	}{
		{"0", "", true},
		{"65534", "", false},
		{"65534", "owner=alice", false},
		{"65534", "owner=nobody", true},
	} {
		socket := filepath.Join(dir, "s"+c.uid+c.owner)
		server := exec.Command("setpriv", "--reuid", c.uid, "--regid", "65534", "--clear-groups", "socat", "-d", "-d", "UNIX-LISTEN:"+socket+",fork", "EXEC:/bin/sh "+filepath.Join(dir, "answer"))
		p := launch(t, server)
		p.says(t, "listening on")
		got := (&terminal{}).pam(t, accounts, fmt.Sprintf("auth required %s services=faceprint-test:sshd socket=%s wait %s\n", module, socket, c.owner), "faceprint-test", "alice", "authenticate")
		if said, ok := got.end(t); ok != c.ok {
			t.Errorf("uid %s, %q: granted %v: %s", c.uid, c.owner, ok, said)
		}
		_ = server.Process.Signal(syscall.SIGTERM)
	}
}

// The profile of pam-auth-update leaves the password usable whatever is missing:
// the daemon, the module's file, its libraries' symbols, the device.
func TestPamProfileLocksNobodyOut(t *testing.T) {
	t.Parallel()
	needs(t, "pam-auth-update", "pamtester", "unshare")
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write("usr/share/pam-configs/unix", read("/usr/share/pam-configs/unix"))
	write("usr/share/pam-configs/faceprint", read("../../packaging/pam/faceprint"))
	// A debconf of its own: this machine's choice of profiles stays as it is.
	write("debconf.conf", fmt.Sprintf("Config: configdb\nTemplates: templatedb\n\nName: configdb\nDriver: File\nFilename: %s/config.dat\n\nName: templatedb\nDriver: File\nFilename: %s/templates.dat\n", root, root))
	for _, dir := range []string{"etc/pam.d", "var/lib/pam"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	update := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("pam-auth-update", append([]string{"--root", root, "--package", "--force"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBCONF_SYSTEMRC="+filepath.Join(root, "debconf.conf"), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pam-auth-update: %v: %s", err, out)
		}
		return read(filepath.Join(root, "etc/pam.d/common-auth"))
	}
	if got := update(); strings.Contains(got, "faceprint") {
		t.Error("installing the profile switches it on")
	}
	stack := update("--enable", "faceprint")
	face, unix := strings.Index(stack, "pam_faceprint.so"), strings.Index(stack, "pam_unix.so")
	if face < 0 || unix < face {
		t.Fatalf("the face does not come before the password:\n%s", stack)
	}
	accounts := withAccounts(t)
	broken := filepath.Join(root, "broken.so")
	write("broken.so", "no shared object")
	for name, module := range map[string]string{
		"no daemon":       pamFaceprint(t) + " services=faceprint-test socket=/nonexistent/api.sock",
		"no module":       "/nonexistent/pam_faceprint.so",
		"a broken module": broken,
		"a wrong option":  pamFaceprint(t) + " no-such-option",
		"a silent daemon": pamFaceprint(t) + " services=faceprint-test socket=" + liar(t, func(c net.Conn, _ question) { _, _ = io.Copy(io.Discard, c) }),
		"a refusing liar": pamFaceprint(t) + " services=faceprint-test socket=" + liar(t, func(c net.Conn, q question) {
			_, _ = io.WriteString(c, strings.ReplaceAll(grant(q), "granted", "refused"))
		}),
		"a babbling liar":  pamFaceprint(t) + " services=faceprint-test wait socket=" + liar(t, func(c net.Conn, _ question) { _, _ = io.WriteString(c, strings.Repeat("{}\n", 1000)) }),
		"as it is shipped": "pam_faceprint.so",
	} {
		t.Run(name, func(t *testing.T) {
			service := strings.NewReplacer("pam_faceprint.so", module, "pam_unix.so", "pam_unix.so nodelay").Replace(stack) + "account required pam_permit.so\n"
			p := (&terminal{}).pam(t, accounts, service, "faceprint-test", "alice", "authenticate", "setcred", "acct_mgmt")
			p.says(t, "assword:")
			p.typed(t, password)
			if said, ok := p.end(t); !ok {
				t.Errorf("locked out: %s", said)
			}
			p = (&terminal{}).pam(t, accounts, service, "faceprint-test", "alice", "authenticate")
			p.says(t, "assword:")
			p.typed(t, "battery staple")
			if said, ok := p.end(t); ok {
				t.Errorf("a wrong password: %s", said)
			}
		})
	}
	if got := update("--remove", "faceprint"); strings.Contains(got, "faceprint") {
		t.Errorf("after its removal:\n%s", got)
	}
}

// The reader of the daemon's answer, in C, under the address and the
// undefined-behaviour sanitizer: damaged answers from a fixed seed. 'make
// nightly' has libFuzzer look for more.
func TestPamAnswerReader(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler")
	}
	check := makePAM(t, "answer_check")
	dir := t.TempDir()
	q := question{Account: "alice", Nonce: "00112233445566778899aabbccddeeff"}
	line := fmt.Sprintf(`{"nonce":%q,"account":%q,"hint":"closer","outcome":"granted","reason":"x"}`, q.Nonce, q.Account)
	opened := fmt.Sprintf(`{"nonce":%q,"account":%q,"outcome":"granted","keyring":"abcdefghijklmnopqrstuvwxyz"}`, q.Nonce, q.Account)
	seeds := []string{grant(q), okHead + line + "\n" + line + "\n", line, okHead + opened + "\n", opened, strings.Repeat("x", 5000), okHead + strings.Repeat("{", 5000), okHead + strings.Repeat(line+"\n", 700)}
	const nasty = "\"{}:,\\\x00\r\n\xff"
	random := rand.New(rand.NewPCG(8, 8))
	args := []string{}
	for i := range 1000 {
		b := append([]byte{byte(random.Uint32())}, seeds[i%len(seeds)]...)
		for range random.IntN(6) { // some stay whole
			switch at := 1 + random.IntN(len(b)-1); random.IntN(4) {
			case 0:
				b[at] ^= 1 << random.IntN(8)
			case 1:
				b = append(b[:at], b[min(len(b), at+random.IntN(40)):]...)
			case 2:
				b = append(b[:at], append([]byte(line[:random.IntN(len(line))]), b[at:]...)...)
			case 3:
				b[at] = nasty[random.IntN(len(nasty))]
			}
			if len(b) < 2 {
				break
			}
		}
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, check, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
