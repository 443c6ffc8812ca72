package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/faceprint/faceprint/device/api/client"
)

// restart kills the daemon and starts it again on the page's port.
func (k *kioskBench) restart() {
	k.t.Helper()
	k.kill()
	k.on("lost")
	k.lampShows("") // nobody tells
	port := strings.TrimSuffix(strings.TrimPrefix(k.url, "http://"), "/")
	config, err := os.ReadFile(k.path("f.toml"))
	if err == nil && !bytes.Contains(config, []byte(port)) {
		err = os.WriteFile(k.path("f.toml"), bytes.Replace(config, []byte("[kiosk]\n"), []byte("[kiosk]\nlisten = \""+port+"\"\n"), 1), 0o600)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	k.start(k.t)
}

// TestKioskEverywhere reloads, goes back, takes the camera away and kills the
// daemon on every screen of nobody who is signed in: the page says what it is and goes on
// by itself, and nobody is enrolled by halves. Each screen is examined in Arabic.
func TestKioskEverywhere(t *testing.T) {
	atNight(t)
	k := newKiosk(t, "[kiosk]\nenrol = \"code\"\naway = \"3s\"\n")
	if _, err := k.client.SetPIN(k.ctx, k.alice(), client.NewPIN{PIN: "271828"}); err != nil {
		t.Fatal(err)
	}
	on := func(button, screen string) func() {
		return func() {
			k.press(button)
			k.on(screen)
		}
	}
	const begins = "['idle', 'scan'].includes(document.body.dataset.screen)"
	for _, at := range []struct {
		screen string
		reach  func()
	}{
		{"code", on("Technician", "code")},
		{"technician", func() {
			code, err := k.client.KioskCode(k.ctx)
			if err != nil {
				k.t.Fatal(err)
			}
			k.press("Technician")
			k.on("code")
			k.do(chromedp.SendKeys(chromedp.CSS("input.pin"), code.Code), chromedp.KeyEvent(kb.Enter))
			k.on("technician")
		}},
		{"consent", func() {
			k.press("Enrol somebody")
			k.enterCode()
		}},
		{"naming", k.agree},
		{"enrol", func() {
			k.agree()
			k.do(chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Bob"), chromedp.KeyEvent(kb.Enter))
			k.on("enrol")
		}},
		{"pin", on("Use PIN", "pin")},
		{"phone", on("Use phone", "scan")},
	} {
		t.Run(at.screen, func(t *testing.T) {
			k.t = t
			for what, happen := range map[string]func(){
				"reload": func() { k.do(chromedp.Reload()) },
				"back":   func() { k.do(chromedp.Evaluate[chromedp.Void]("history.back()")) },
				"no camera": func() {
					k.camera("off")
					k.shows("The camera is not there.")
					k.camera(clipAlice)
				},
				"killed": k.restart,
				"in Arabic": func() {
					k.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('#languages [lang=ar]').click()"))
					k.until("document.documentElement.lang === 'ar' && document.querySelector('#languages [lang=ar]').ariaPressed === 'true'")
					k.check(at.screen + "-ar")
					k.do(chromedp.Reload())
				},
			} {
				t.Log(what)
				k.until(begins)
				k.do(chromedp.Evaluate[chromedp.Void]("history.back()")) // from a look that began by itself
				k.on("idle")
				at.reach()
				happen()
				k.until(begins)
				everybody, err := k.client.People(k.ctx)
				if err != nil || slices.ContainsFunc(everybody.People, func(p client.Person) bool { return p.Name != "Alice" }) {
					t.Errorf("%s: there are %+v, %v", what, everybody.People, err)
				}
			}
		})
	}
}
