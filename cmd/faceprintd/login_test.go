package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/godbus/dbus/v5"

	"github.com/faceprint/faceprint/device/api/client"
)

// These tests log in with Debian's unmodified parts (pam_fprintd, the fprintd
// commands, pamtester) on a bus of their own, against the real daemon on the
// bench. PAM reads its services from a directory that is mounted over
// /etc/pam.d for one process alone, which takes root.

// patience is for what must happen; a test that waits so long has failed.
const patience = 90 * time.Second

// needs skips where a program or a right is missing.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed; 'make test' installs it", p)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("mounting over /etc/pam.d takes root")
	}
}

// startBus starts a message bus as the system's and returns its address.
func startBus(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	policy, err := filepath.Abs("../../packaging/dbus/net.faceprint.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=%s/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root"><allow own="org.freedesktop.login1"/></policy>
  <policy user="polkitd"><allow own="org.freedesktop.PolicyKit1"/></policy>
  <policy context="default"><allow send_destination="org.freedesktop.PolicyKit1"/></policy>
  <include>%s</include>
</busconfig>`, dir, policy)
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork", "--nopidfile", "--print-address=1")
	var said bytes.Buffer // that there is no user faceprint here, for one
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("dbus-daemon did not start: %v: %s", err, &said)
	}
	return strings.TrimSpace(address)
}

// terminal is a machine that people log in to: a bus, the daemon, and one
// person with a finger, whose account is alice.
type terminal struct {
	*daemon
	bus  string
	user string // alice's id
}

// startTerminal starts one, with more lines of [login].
func startTerminal(t testing.TB, login ...string) *terminal {
	t.Helper()
	needs(t, "dbus-daemon", "pamtester", "fprintd-list", "unshare")
	m := &terminal{bus: startBus(t)}
	m.daemon = startDaemon(t, "[camera]\nsource = \"/dev/video255\"\n[face]\nmodels = \"none\"\n[policy]\nmode = \"finger\"\n[login]\nfprint = true\n"+strings.Join(login, "\n"),
		"DBUS_SYSTEM_BUS_ADDRESS="+m.bus)
	t.Cleanup(func() {
		if t.Failed() {
			m.stop(t)
			t.Logf("the daemon's log:\n%s", m.log)
		}
	})
	m.ready(t, "finger", "fprint")
	m.sim(t, "touch alice right-index-finger")
	done, err := m.client.Enroll(t.Context(), client.Enrolment{
		Name: "Alice", Factors: []string{"finger"}, Finger: "right-index-finger", Consent: client.Consent{Given: true, TextVersion: "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.user = done.User
	if _, err := m.client.AllowLogin(t.Context(), "alice", m.user); err != nil {
		t.Fatal(err)
	}
	m.sim(t, "lift")
	return m
}

// enrol enrols somebody who stands before a clip. A cut of it looks like somebody
// else coming, and a page may be looking at them: then they try again.
func (d *daemon) enrol(ctx context.Context, t testing.TB, who client.Enrolment) client.Enrolled {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		made, err := d.client.Enroll(ctx, who)
		if p := (*client.Error)(nil); errors.As(err, &p) && (p.Problem() == client.ProblemRetry || p.Problem() == client.ProblemBusy) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
}

// ready waits until the parts are there.
func (d *daemon) ready(t testing.TB, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d.until(ctx, t, func(s client.Status) bool {
		n := 0
		for _, p := range s.Parts {
			for _, name := range parts {
				if p.Name == name && p.State == "ok" {
					n++
				}
			}
		}
		return n == len(parts)
	})
}

// until waits until the status is as wanted.
func (d *daemon) until(ctx context.Context, t testing.TB, wanted func(client.Status) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := d.client.Status(ctx)
		if err == nil && wanted(s) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the daemon did not come to be as wanted: %+v %v\n%s", s, err, d.log)
		case <-tick.C:
		}
	}
}

// sim gives the bench a command.
func (d *daemon) sim(t testing.TB, line string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, "faceprint"), append([]string{"--socket", d.path("api.sock"), "sim"}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("sim %s: %v: %s", line, err, out)
	}
}

// follow listens to what happens from now on; the returned function waits for an event
// behind those that it waited for before.
func (d *daemon) follow(t testing.TB) (next func(wanted func(client.Event) bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ready, events := make(chan struct{}), make(chan client.Event, 1000)
	ended := make(chan error, 1)
	go func() {
		ended <- d.client.Events(ctx, func() { close(ready) }, func(e client.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return func(wanted func(client.Event) bool) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if wanted(e) {
					return
				}
			case err := <-ended:
				t.Fatalf("it did not happen: %v\n%s", err, d.log)
			}
		}
	}
}

// audited counts the entries of that kind and outcome.
func (d *daemon) audited(t testing.TB, kind, outcome string) int {
	t.Helper()
	page, err := d.client.Audit(t.Context(), 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range page.Entries {
		if e.Kind == kind && e.Outcome == outcome {
			n++
		}
	}
	return n
}

// program is one that runs on a terminal of its own beside the test and says
// things.
type program struct {
	cmd    *exec.Cmd
	tty    *os.File
	chunks chan string // of what it says
	said   strings.Builder
	read   int // up to where says has read
	ended  chan error
}

// launch starts a program.
func launch(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: cmd, tty: tty, chunks: make(chan string, 100), ended: make(chan error, 1)}
	go func() {
		defer close(p.chunks)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			if n > 0 {
				p.chunks <- strings.ReplaceAll(string(buf[:n]), "\r", "")
			}
			if err != nil { // EIO: nobody has the terminal open any more
				break
			}
		}
		p.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		tty.Close()
	})
	return p
}

// says waits until the program says the text, after what it was heard saying.
func (p *program) says(t testing.TB, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		if i := strings.Index(p.said.String()[p.read:], text); i >= 0 {
			p.read += i + len(text)
			return
		}
		select {
		case c, ok := <-p.chunks:
			if !ok {
				t.Fatalf("%s ended without saying %q; it said:\n%s", p.cmd, text, &p.said)
			}
			p.said.WriteString(c)
		case <-late:
			t.Fatalf("%s does not say %q; it said:\n%s", p.cmd, text, &p.said)
		}
	}
}

// end waits until it ends and returns all that it said and whether it
// succeeded.
func (p *program) end(t testing.TB) (string, bool) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case c, ok := <-p.chunks:
			if ok {
				p.said.WriteString(c)
				continue
			}
			err := <-p.ended
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			return p.said.String(), err == nil
		case <-late:
			t.Fatalf("%s does not end; it said:\n%s", p.cmd, &p.said)
		}
	}
}

// pam runs pamtester with a service of the lines, and with files of its own
// mounted over the system's: what is at the key comes from the value.
func (m *terminal) pam(t testing.TB, mounts map[string]string, service string, args ...string) *program {
	t.Helper()
	dir := t.TempDir()
	for _, arg := range append([]string{"service=faceprint-test"}, args...) {
		if name, ok := strings.CutPrefix(arg, "service="); ok { // else libpam would have no stack for it
			if err := os.WriteFile(filepath.Join(dir, name), []byte(service), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := fmt.Sprintf("mount --bind %s /etc/pam.d", dir)
	for over, from := range mounts {
		script += fmt.Sprintf(" && mkdir -p $(dirname %s) && mount --bind %s %s", over, from, over)
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", script + ` && exec pamtester "$@"`, "sh", "-I", "tty=/dev/tty7"}, args...)...) // a screen of this machine, unless args say otherwise
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+m.bus)
	return launch(t, cmd)
}

// byFinger gives a busy machine time: pam_fprintd's own time-out is tested apart.
const byFinger = "auth required pam_fprintd.so max-tries=3 timeout=90\naccount required pam_permit.so\n"

func (m *terminal) pamFprintd(t testing.TB, args ...string) *program {
	return m.pam(t, nil, byFinger, append(args, "faceprint-test", "alice", "authenticate")...)
}

// tool runs one of fprintd's commands to its end.
func (m *terminal) tool(t testing.TB, uid uint32, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+m.bus)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return launch(t, cmd).end(t)
}

const asking = "Place your finger"

func TestPamFprintd(t *testing.T) {
	t.Parallel()
	m := startTerminal(t)
	fresh := func(t *testing.T) {
		m.sim(t, "lift")
		if _, err := m.client.Unlock(t.Context(), m.user); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("match", func(t *testing.T) {
		fresh(t)
		before := m.audited(t, "login", "granted")
		p := m.pamFprintd(t)
		p.says(t, asking)
		m.sim(t, "touch alice right-index-finger")
		if said, ok := p.end(t); !ok {
			t.Errorf("refused: %s", said)
		}
		if got := m.audited(t, "login", "granted"); got != before+1 {
			t.Errorf("%d grants in the audit, want %d", got, before+1)
		}
	})
	t.Run("the claim of a client that left is free", func(t *testing.T) {
		fresh(t)
		for range 2 { // pam_fprintd releases nothing after a match
			m.sim(t, "touch alice right-index-finger")
			if said, ok := m.pamFprintd(t).end(t); !ok {
				t.Fatal(said)
			}
		}
	})
	t.Run("no match", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch mallory right-index-finger")
		said, ok := m.pamFprintd(t).end(t)
		if ok || strings.Count(said, "Failed to match fingerprint") != 3 {
			t.Errorf("a stranger's finger: %v: %s", ok, said)
		}
		p, err := m.client.Person(t.Context(), m.user)
		if err != nil || p.Failures != 3 {
			t.Errorf("%d failures counted (%v)", p.Failures, err)
		}
	})
	t.Run("retry", func(t *testing.T) {
		fresh(t)
		m.sim(t, "hand still")
		defer m.sim(t, "hand obedient")
		p := m.pamFprintd(t)
		p.says(t, asking)
		m.sim(t, "touch alice right-index-finger 0.1")
		p.says(t, "again")
		m.sim(t, "touch alice right-index-finger")
		if said, ok := p.end(t); !ok {
			t.Error(said)
		}
	})
	t.Run("locked out", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch mallory right-index-finger")
		m.pamFprintd(t).end(t)
		m.pamFprintd(t).end(t)
		m.sim(t, "touch alice right-index-finger")
		said, ok := m.pamFprintd(t).end(t)
		if ok || strings.Contains(said, "Failed to match") {
			t.Errorf("locked out: %v: %s", ok, said)
		}
	})
	t.Run("an account that is nobody's", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		if said, ok := m.pam(t, nil, byFinger, "faceprint-test", "mallory", "authenticate").end(t); ok {
			t.Error(said)
		}
	})
	t.Run("remote session", func(t *testing.T) {
		fresh(t)
		m.sim(t, "touch alice right-index-finger")
		before := m.audited(t, "login", "granted")
		if said, ok := m.pamFprintd(t, "-I", "rhost=192.0.2.1").end(t); ok || m.audited(t, "login", "granted") != before {
			t.Error(said)
		}
		if said, ok := m.pam(t, session(t, true), byFinger, "faceprint-test", "alice", "authenticate").end(t); ok || m.audited(t, "login", "granted") != before {
			t.Errorf("sudo in a remote session: %s", said)
		}
	})
	t.Run("two sessions", func(t *testing.T) {
		fresh(t)
		first := m.pamFprintd(t)
		first.says(t, asking)
		if said, ok := m.pamFprintd(t).end(t); ok {
			t.Errorf("the second session came in: %s", said)
		}
		m.sim(t, "touch alice right-index-finger")
		if said, ok := first.end(t); !ok {
			t.Errorf("the first session: %s", said)
		}
	})
	t.Run("a waiting session blocks no other attempt", func(t *testing.T) {
		fresh(t)
		next := m.follow(t)
		wantsFinger := func(e client.Event) bool { return e.Kind == "hint" && e.Hint == "press-finger" }
		p := m.pamFprintd(t)
		p.says(t, asking)
		next(wantsFinger) // the session has the device
		type answer struct {
			client.Decision
			err error
		}
		other := make(chan answer, 1)
		go func() {
			d, err := m.client.Authenticate(t.Context(), client.Attempt{User: m.user, TimeoutMs: int(patience.Milliseconds())})
			other <- answer{d, err}
		}()
		next(func(e client.Event) bool { return e.Kind == "ended" }) // it gave way
		next(wantsFinger)
		m.sim(t, "touch alice right-index-finger")
		if d := <-other; d.err != nil || d.Outcome != client.Granted {
			t.Fatalf("the other attempt: %+v, %v", d.Decision, d.err)
		}
		m.sim(t, "touch alice right-index-finger")
		if said, ok := p.end(t); !ok {
			t.Errorf("the session that gave way: %s", said)
		}
	})
	t.Run("client killed", func(t *testing.T) {
		fresh(t)
		p := m.pamFprintd(t)
		p.says(t, asking)
		_ = p.cmd.Process.Kill()
		p.end(t)
		m.sim(t, "touch alice right-index-finger")
		if said, ok := m.pamFprintd(t).end(t); !ok {
			t.Errorf("the killed client kept its claim: %s", said)
		}
	})
	t.Run("a stranger says that the client left", func(t *testing.T) {
		fresh(t)
		p := m.pamFprintd(t)
		p.says(t, asking)
		m.forgeDepartures(t)
		m.sim(t, "touch alice right-index-finger")
		if said, ok := p.end(t); !ok {
			t.Errorf("its claim was ended: %s", said)
		}
	})
	t.Run("unplugged", func(t *testing.T) {
		fresh(t)
		p := m.pamFprintd(t)
		p.says(t, asking)
		m.sim(t, "unplug")
		if said, ok := p.end(t); ok || strings.Contains(said, "Failed to match") {
			t.Errorf("without a module: %v: %s", ok, said)
		}
		if said, ok := m.pamFprintd(t).end(t); ok || strings.Contains(said, asking) {
			t.Errorf("a module that is not there was offered: %s", said)
		}
		m.sim(t, "plug")
		m.ready(t, "finger")
	})
	t.Run("daemon killed", func(t *testing.T) {
		fresh(t)
		p := m.pamFprintd(t)
		p.says(t, asking)
		m.kill()
		if said, ok := p.end(t); ok {
			t.Errorf("without a daemon: %s", said)
		}
		if said, ok := m.pamFprintd(t).end(t); ok {
			t.Errorf("without a daemon from the start: %s", said)
		}
		m.start(t)
		m.ready(t, "finger", "fprint")
		m.sim(t, "touch alice right-index-finger")
		if said, ok := m.pamFprintd(t).end(t); !ok {
			t.Errorf("after the restart: %s", said)
		}
	})
}

// forgeDepartures tells the daemon, in the bus's words, that everybody left. It returns
// once the daemon has it.
func (m *terminal) forgeDepartures(t testing.TB) {
	t.Helper()
	liar, err := dbus.Connect(m.bus)
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	var names []string
	if err := liar.BusObject().CallWithContext(t.Context(), "org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	const daemon = "net.reactivated.Fprint"
	for _, name := range names {
		liar.Send(&dbus.Message{
			Type: dbus.TypeSignal, Flags: dbus.FlagNoReplyExpected,
			Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldDestination: dbus.MakeVariant(daemon), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")),
				dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.DBus"), dbus.FieldMember: dbus.MakeVariant("NameOwnerChanged"),
				dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf("", "", "")),
			},
			Body: []any{name, name, ""},
		}, nil)
	}
	// The bus keeps a sender's order.
	if err := liar.Object(daemon, "/net/reactivated/Fprint/Manager").CallWithContext(t.Context(), "org.freedesktop.DBus.Introspectable.Introspect", 0).Err; err != nil {
		t.Fatal(err)
	}
}

func TestPamFprintdTimesOut(t *testing.T) {
	t.Parallel()
	m := startTerminal(t)
	p := m.pam(t, nil, strings.ReplaceAll(byFinger, "timeout=90", "timeout=10"), "faceprint-test", "alice", "authenticate")
	p.says(t, "timed out") // after pam_fprintd's shortest, 10 s
	if said, ok := p.end(t); ok {
		t.Error(said)
	}
}

// The commands that come with fprintd list, verify, enrol and delete.
func TestFprintdCommands(t *testing.T) {
	t.Parallel()
	m := startTerminal(t)
	const nobody = 65534
	expect := func(uid uint32, wantOK bool, want string, args ...string) {
		t.Helper()
		if said, ok := m.tool(t, uid, args...); ok != wantOK || !strings.Contains(said, want) {
			t.Errorf("%v as %d: %v, want %v and %q:\n%s", args, uid, ok, wantOK, want, said)
		}
	}
	expect(0, true, "right-index-finger", "fprintd-list", "alice")
	expect(0, true, "has no fingers enrolled", "fprintd-list", "mallory")
	m.sim(t, "touch alice right-index-finger")
	expect(0, true, "verify-match (done)", "fprintd-verify", "alice")
	expect(0, true, "verify-match (done)", "fprintd-verify", "-f", "right-index-finger", "alice")
	m.sim(t, "touch mallory right-index-finger")
	expect(0, false, "verify-no-match (done)", "fprintd-verify", "alice")
	expect(0, false, "not enrolled", "fprintd-verify", "-f", "left-thumb", "alice")

	m.sim(t, "touch alice left-thumb")
	expect(0, true, "enroll-completed", "fprintd-enroll", "-f", "left-thumb", "alice")
	expect(0, true, "left-thumb", "fprintd-list", "alice")
	m.sim(t, "touch alice left-thumb")
	expect(0, true, "verify-match (done)", "fprintd-verify", "-f", "left-thumb", "alice")
	expect(0, false, "verify-no-match (done)", "fprintd-verify", "-f", "right-index-finger", "alice")
	// Enrolling the same finger anew replaces it.
	expect(0, true, "enroll-completed", "fprintd-enroll", "-f", "left-thumb", "alice")
	p, err := m.client.Person(t.Context(), m.user)
	if err != nil || len(p.Templates) != 2 {
		t.Errorf("%d templates after the same finger was enrolled twice (%v)", len(p.Templates), err)
	}
	if p.Consent.TextVersion != "test" {
		t.Errorf("the consent became %+v", p.Consent)
	}
	expect(0, false, "enroll-duplicate", "fprintd-enroll", "-f", "left-index-finger", "alice") // with the thumb
	expect(0, false, "PermissionDenied", "fprintd-enroll", "-f", "left-thumb", "mallory")

	// An account may use what is its own and nothing else, and without polkit
	// it may change nothing.
	expect(nobody, false, "PermissionDenied", "fprintd-verify", "alice")
	expect(nobody, false, "is nobody's", "fprintd-verify") // whose claim would but keep others out
	if said, _ := m.tool(t, nobody, "fprintd-list", "alice"); strings.Contains(said, "right-index-finger") {
		t.Errorf("nobody lists alice's fingers: %s", said)
	}
	if _, err := m.client.RevokeLogin(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	expect(0, true, "has no fingers enrolled", "fprintd-list", "alice")
	if _, err := m.client.AllowLogin(t.Context(), "nobody", m.user); err != nil {
		t.Fatal(err)
	}
	m.sim(t, "touch alice right-index-finger")
	expect(nobody, true, "verify-match (done)", "fprintd-verify", "-f", "any")
	expect(nobody, false, "PermissionDenied", "fprintd-enroll", "-f", "left-little-finger")
	m.tool(t, nobody, "fprintd-delete", "nobody")
	expect(0, true, "right-index-finger", "fprintd-list", "nobody")

	expect(0, true, "", "fprintd-delete", "nobody", "-f", "left-thumb")
	if said, _ := m.tool(t, 0, "fprintd-list", "nobody"); strings.Contains(said, "left-thumb") || !strings.Contains(said, "right-index-finger") {
		t.Errorf("after one finger was deleted: %s", said)
	}
	expect(0, true, "", "fprintd-delete", "nobody")
	expect(0, true, "has no fingers enrolled", "fprintd-list", "nobody")
	if got := m.audited(t, "forget-finger", "done"); got != 3 { // one of them the replacement
		t.Errorf("%d deletions in the audit", got)
	}
}

// Over a suspend a session that waits goes on waiting and nothing is captured;
// only logind says so.
func TestSessionSurvivesASuspend(t *testing.T) {
	t.Parallel()
	m := startTerminal(t)
	connect := func() *dbus.Conn {
		c, err := dbus.Connect(m.bus)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	sleep := func(c *dbus.Conn, asleep bool) {
		if err := c.Emit("/org/freedesktop/login1", "org.freedesktop.login1.Manager.PrepareForSleep", asleep); err != nil {
			t.Fatal(err)
		}
	}
	busy := func(want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m.until(ctx, t, func(s client.Status) bool { return s.Busy == want })
	}
	logind, liar := connect(), connect()
	if _, err := logind.RequestName("org.freedesktop.login1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	p := m.pamFprintd(t)
	p.says(t, asking)
	busy(true)
	sleep(logind, true)
	busy(false)
	sleep(liar, false)
	m.sim(t, "touch alice right-index-finger") // while it sleeps: not looked at
	if got := m.audited(t, "login", "granted"); got != 0 {
		t.Errorf("%d grants while the machine slept", got)
	}
	sleep(logind, false)
	if said, ok := p.end(t); !ok {
		t.Errorf("after the sleep: %s", said)
	}
	m.sim(t, "lift")
	p = m.pamFprintd(t)
	p.says(t, asking)
	sleep(liar, true)
	m.sim(t, "touch alice right-index-finger")
	if said, ok := p.end(t); !ok {
		t.Errorf("a stranger put the device to sleep: %s", said)
	}
}

// Whether an account may enrol and delete its own fingers says polkit, the real
// one; where there is none, nobody but root may (TestFprintdCommands).
func TestFprintdCommandsAskPolkit(t *testing.T) {
	t.Parallel()
	const polkitd, nobody = "/usr/lib/polkit-1/polkitd", 65534
	needs(t, polkitd)
	m := startTerminal(t)
	if _, err := m.client.AllowLogin(t.Context(), "nobody", m.user); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule string
		ok   bool
	}{
		{`polkit.addRule(function(a, s) {});`, false}, // what fprintd's own file says: not outside of a session
		{`polkit.addRule(function(a, s) { if (a.id == "net.reactivated.fprint.device.enroll" && s.user == "nobody") return polkit.Result.YES; });`, true},
	} {
		rules := t.TempDir()
		for path, mode := range map[string]os.FileMode{filepath.Dir(rules): 0o755, rules: 0o755} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(rules, "50-test.rules"), []byte(c.rule), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", fmt.Sprintf("mount --bind %s /etc/polkit-1/rules.d && exec %s", rules, polkitd))
		cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+m.bus)
		p := launch(t, cmd)
		p.says(t, "Acquired the name org.freedesktop.PolicyKit1")
		m.sim(t, "touch alice left-thumb")
		if said, ok := m.tool(t, nobody, "fprintd-enroll", "-f", "left-thumb"); ok != c.ok {
			t.Errorf("polkit with %s: enrolled %v: %s", c.rule, ok, said)
		}
		_ = cmd.Process.Kill()
		p.end(t)
	}
}
