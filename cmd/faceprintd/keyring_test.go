package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// keyrings is a machine whose account alice has a keyring: Debian's unmodified
// gnome-keyring-daemon, its PAM module and secret-tool, each login in a process
// namespace of its own, so that the daemon of one login is gone at the next.
type keyrings struct {
	*terminal
	module string
	dir    string // with alice's home, which stays
	passwd map[string]string
}

// startKeyrings starts one that knows Alice by face and finger.
func startKeyrings(t *testing.T) *keyrings {
	t.Helper()
	models, clips, ok := real()
	if !ok {
		t.Skip("no models, clips or OpenCV: 'make fetch'")
	}
	needs(t, "pamtester", "unshare", "setpriv", "gnome-keyring-daemon", "secret-tool", "dbus-run-session", "dbus-send")
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &keyrings{module: pamFaceprint(t), dir: dir, passwd: withAccounts(t)}
	k.terminal = &terminal{daemon: startDaemon(t, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n[policy]\nmode = \"both\"\n[login]\npam = true\nkeyring = true\n",
		filepath.Join(clips, clipAlice), models))}
	home := filepath.Join(dir, "home")
	text, err := os.ReadFile(k.passwd["/etc/passwd"])
	if err == nil {
		err = os.WriteFile(k.passwd["/etc/passwd"], []byte(strings.Replace(string(text), "alice:x:4711:4711::/:", "alice:x:4711:4711::"+home+":", 1)), 0o644)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = os.Mkdir(home, 0o700)
	}
	if err == nil {
		err = os.Chown(home, 4711, 4711)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.ready(t, "camera", "faces", "finger")
	k.sim(t, "touch alice right-index-finger")
	k.user = k.enrol(t.Context(), t, client.Enrolment{
		Name: "Alice", Factors: []string{"face", "finger"}, Finger: "right-index-finger", Consent: client.Consent{Given: true, TextVersion: "test"},
	}).User
	if _, err := k.client.AllowLogin(t.Context(), "alice", k.user); err != nil {
		t.Fatal(err)
	}
	return k
}

// keyringStack is the one that docs/login.md prints for a login screen of its own,
// with the module's options and without what is this machine's.
func keyringStack(t *testing.T, module string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/login.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(b), "```") {
		if i%2 == 0 || !strings.Contains(block, "pam_gnome_keyring.so") {
			continue
		}
		stack := strings.NewReplacer("pam_faceprint.so wait timeout=20 keyring", module, "pam_unix.so", "pam_unix.so nodelay",
			"@include common-account", "account required pam_permit.so", "@include common-session", "session required pam_permit.so").Replace(block)
		if strings.Count(stack, module) != 1 || strings.Contains(stack, "@include") {
			t.Fatalf("docs/login.md has another stack than was expected:%s", block)
		}
		return stack
	}
	t.Fatal("docs/login.md has no stack with pam_gnome_keyring")
	return ""
}

// login logs alice in by the documented stack, with the module's options, and runs
// the shell's lines in her session; those of before come first, as root.
func (k *keyrings) login(t *testing.T, options, session string, before ...string) *program {
	t.Helper()
	pam := t.TempDir()
	service := keyringStack(t, fmt.Sprintf("%s services=faceprint-test socket=%s timeout=90 wait %s", k.module, k.path("api.sock"), options))
	if err := os.WriteFile(filepath.Join(pam, "faceprint-test"), []byte(service), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp(k.dir, "run")
	if err == nil {
		err = os.Chown(run, 4711, 4711)
	}
	if err != nil {
		t.Fatal(err)
	}
	// locked tells, without asking anybody to unlock it.
	script := fmt.Sprintf(`set -e
mount --bind %s /etc/pam.d; mount --bind %s /etc/passwd; mount --bind %s /etc/shadow
%s
pamtester -I tty=/dev/tty7 -E XDG_RUNTIME_DIR=%s faceprint-test alice authenticate open_session
cd /; exec setpriv --reuid 4711 --regid 4711 --clear-groups env -i PATH="$PATH" HOME=%s/home XDG_RUNTIME_DIR=%s dbus-run-session -- sh -c '
	locked() { dbus-send --session --print-reply=literal --dest=org.freedesktop.secrets /org/freedesktop/secrets/collection/login \
		org.freedesktop.DBus.Properties.Get string:org.freedesktop.Secret.Collection string:Locked 2>&1; }
	gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1
	%s'`, pam, k.passwd["/etc/passwd"], k.passwd["/etc/shadow"], strings.Join(before, "\n"), run, k.dir, run, session)
	return launch(t, exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script))
}

const (
	isOpen   = "variant       boolean false"
	isLocked = "variant       boolean true"
)

// A login by face and finger opens the keyring; nothing less does, and whatever
// is missing, the login goes on and the keyring stays locked.
func TestKeyringIsOpenedByFaceAndFinger(t *testing.T) {
	t.Parallel()
	k := startKeyrings(t)
	tool := func(t *testing.T, args ...string) (string, error) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "faceprint"), append([]string{"--socket", k.path("api.sock"), "login", "keyring", "alice"}, args...)...)
		out, err := cmd.Output()
		return string(out), err
	}
	here := func(t *testing.T) {
		t.Helper()
		k.sim(t, "touch alice right-index-finger")
	}
	ends := func(t *testing.T, p *program, says ...string) {
		t.Helper()
		said, ok := p.end(t)
		for _, s := range says {
			ok = ok && strings.Contains(said, s)
		}
		if !ok {
			t.Errorf("not %q; it said:\n%s", says, said)
		}
	}
	here(t)
	out, err := tool(t)
	secret, _, _ := strings.Cut(out, "\n")
	if err != nil || len(secret) != 26 {
		t.Fatalf("%q: %v", out, err)
	}

	t.Run("the first login makes it", func(t *testing.T) {
		here(t)
		ends(t, k.login(t, "keyring", `printf hunter2 | secret-tool store --label=x site example && locked`), isOpen)
	})
	t.Run("the next one opens it", func(t *testing.T) {
		here(t)
		ends(t, k.login(t, "keyring", `locked; echo "found $(secret-tool lookup site example)"`), isOpen, "found hunter2")
	})
	t.Run("nobody comes in while the system goes down", func(t *testing.T) {
		here(t)
		before := k.audited(t, "login", "granted")
		said, ok := k.login(t, "keyring", "locked", "mount -t tmpfs none /run; echo 'The system is going down.' >/run/nologin").end(t)
		if ok || !strings.Contains(said, "going down") || k.audited(t, "login", "granted") != before {
			t.Errorf("a login while /run/nologin is there: %v, %s", ok, said)
		}
	})
	t.Run("a login by password does not", func(t *testing.T) {
		k.sim(t, "touch mallory right-index-finger")
		ends(t, k.login(t, "keyring", "locked").by(t, password), isLocked)
	})
	t.Run("the face alone does not", func(t *testing.T) {
		k.sim(t, "lift")
		before := k.audited(t, "keyring", "opened")
		ends(t, k.login(t, "keyring timeout=8", "locked").by(t, password), isLocked)
		if got := k.audited(t, "keyring", "opened"); got != before {
			t.Error("it was given out")
		}
	})
	t.Run("a module that was not told to does not", func(t *testing.T) {
		here(t)
		before := k.audited(t, "login", "granted")
		ends(t, k.login(t, "", "locked"), isLocked)
		if k.audited(t, "login", "granted") != before+1 {
			t.Error("it was not the device that let her in")
		}
	})
	t.Run("what was written down opens it by hand", func(t *testing.T) {
		ends(t, k.login(t, "no-such-option", "locked; printf "+secret+" | gnome-keyring-daemon --replace --unlock --components=secrets >/dev/null 2>&1; locked").by(t, password), isLocked, isOpen)
	})
	t.Run("turned off", func(t *testing.T) {
		if out, err := tool(t, "--off"); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		here(t)
		before := k.audited(t, "login", "granted")
		ends(t, k.login(t, "keyring", "locked"), isLocked)
		if k.audited(t, "login", "granted") != before+1 {
			t.Error("it was not the device that let her in")
		}
	})
	if n := k.audited(t, "keyring", "made") + k.audited(t, "keyring", "opened") + k.audited(t, "keyring", "removed"); n != 4 {
		t.Errorf("%d entries of the keyring in the audit, want made, opened twice, and removed", n)
	}
	k.stop(t)
	if strings.Contains(k.log.String(), secret) {
		t.Error("the daemon logged it")
	}
	t.Run("the daemon is away", func(t *testing.T) {
		ends(t, k.login(t, "keyring", "locked").by(t, password), isLocked)
	})
}

// by types a password where one is asked for.
func (p *program) by(t testing.TB, password string) *program {
	t.Helper()
	p.says(t, "assword:")
	p.typed(t, password)
	return p
}
