package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/faceprint/faceprint/device/api/client"
	phoneclient "github.com/faceprint/faceprint/device/phone/client"
)

// phoneAt is a phone that was paired with a code's text.
func phoneAt(t testing.TB, code, name string) (*phoneclient.Identity, *phoneclient.Client) {
	t.Helper()
	inv, err := phoneclient.ParseInvitation(code)
	if err != nil {
		t.Fatal(err)
	}
	i, err := phoneclient.NewIdentity("")
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Pair(t.Context(), inv, name, "test"); err != nil {
		t.Fatal(err)
	}
	c := i.Client()
	t.Cleanup(c.Close)
	return i, c
}

// answering answers the next request on the phone that comes, and returns once
// the phone listens.
func answering(t *testing.T, c *phoneclient.Client, yes bool) (answered <-chan error) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan error, 1)
	ended := errors.New("answered")
	go func() {
		done <- c.Events(t.Context(), func() { close(ready) }, func(e phoneclient.Event) error {
			if e.Request == nil {
				return nil
			}
			return errors.Join(ended, c.Answer(t.Context(), e.Request.ID, yes))
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	only := make(chan error, 1)
	go func() {
		err := <-done
		if errors.Is(err, ended) && err.Error() == ended.Error() {
			err = nil
		}
		only <- err
	}()
	return only
}

// A person pairs a phone at the kiosk with the code on its screen, which a
// decoder that nobody here wrote reads, and is let in with it from then on; a
// no on the phone keeps the door shut; a phone that was removed is of no use.
func TestKioskPhone(t *testing.T) {
	k := newKiosk(t, "")
	made := k.alice()
	k.camera(clipAgain)
	k.do(chromedp.Reload())
	k.on("scan")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
	k.press("My phones")
	k.shows("No phone is paired with you.")
	k.check("no-phones")
	k.press("Pair a phone")
	k.shows("Whoever holds that phone")
	if ticked := js[string](k, "[...document.querySelectorAll('fieldset input:checked')].map((i) => i.name).join()"); ticked != "approve" {
		t.Errorf("unasked, a phone would get %s", ticked)
	}
	k.do(chromedp.Click("input[name=history]"))
	k.check("pair")
	k.press("Continue")
	k.on("code-for-phone")
	k.check("code-for-phone")
	text := js[string](k, "document.querySelector('details code').textContent")
	if got := k.scanned(); got != text {
		t.Errorf("zbar reads %q from the screen, the page says %q", got, text)
	}
	if role := js[string](k, "document.querySelector('svg.code').getAttribute('aria-label')"); !strings.Contains(role, "QR") {
		t.Errorf("a screen reader is told %q", role)
	}
	me, phone := phoneAt(t, text, "Alice's phone")
	if who, err := phone.Me(k.ctx); err != nil || strings.Join(who.Phone.Rights, ",") != "approve,history" {
		t.Errorf("the phone may %q, %v", who.Phone.Rights, err)
	}
	k.shows("The phone is paired")
	k.shows("Alice's phone")
	k.check("paired")
	// The code was for one phone, and the page is not at all about others.
	inv, _ := phoneclient.ParseInvitation(text)
	second, _ := phoneclient.NewIdentity("")
	if err := second.Pair(k.ctx, inv, "second", "test"); !isKind(err, client.ProblemPairing) {
		t.Errorf("a second phone with the same code: %v", err)
	}
	k.press("My phones")
	k.shows("Alice's phone")
	k.check("phones")
	if js[bool](k, `(() => {
		const r = document.createRange();
		r.selectNodeContents(document.querySelector('td button'));
		return new Set([...r.getClientRects()].map((x) => x.top)).size > 1;
	})()`) {
		t.Error("the word on the button is broken")
	}
	k.press("Done")
	k.on("idle")

	// With the phone, and without the finger.
	k.sim("lift")
	answered := answering(t, phone, true)
	k.press("Use phone")
	k.on("granted")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	k.press("My history")
	k.shows("Phone paired")
	k.press("Done")
	k.on("idle")

	answered = answering(t, phone, false)
	k.press("Use phone")
	k.until("document.querySelector('.hint')?.textContent.includes('phone') || document.body.dataset.screen === 'refused'")
	k.on("refused")
	k.shows("Somebody said no on the phone.")
	k.check("denied")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	k.press("Back")
	k.on("idle")

	// From the phone, which the right to let in is needed for.
	_, err := phone.Kiosk(k.ctx)
	if !isKind(err, client.ProblemForbidden) {
		t.Errorf("without the right: %v", err)
	}
	mine := me.ID
	if _, err := k.client.SetPhoneTerms(k.ctx, mine, client.PhoneTerms{Rights: []string{"approve", "history", "unlock"}}); err != nil {
		t.Fatal(err)
	}
	began, err := phone.Kiosk(k.ctx)
	if err != nil || began.Outcome != client.Granted || began.Grant != "" {
		t.Errorf("from the phone: %+v, %v", began, err)
	}
	k.on("granted")
	k.shows("Alice")
	// Within 10 s of the last it is told that, whoever is there.
	if _, err := phone.Kiosk(k.ctx); !isKind(err, client.ProblemLeft) && !isKind(err, client.ProblemTooMany) {
		t.Errorf("while somebody is signed in: %v", err)
	}
	k.press("My history")
	k.shows("let in")
	k.press("Done")
	k.on("idle")
	page, err := k.client.Audit(k.ctx, began.Audit-1, 1)
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Outcome != "granted" || !slices.Contains(page.Entries[0].Reasons, "phone:"+mine) || !slices.Contains(page.Entries[0].Reasons, "for:enter") {
		t.Errorf("recorded as %+v, %v", page.Entries, err)
	}
	// Somebody else stands there: a phone far away signs nobody in.
	k.camera(clipStranger)
	began, err = phone.Kiosk(k.ctx)
	if err != nil || began.Outcome == client.Granted {
		t.Errorf("before a stranger: %+v, %v", began, err)
	}
	if on := js[string](k, "document.body.dataset.screen"); on == "granted" {
		t.Error("a stranger is signed in")
	}
	k.camera(clipAgain)

	// Somebody else's pairing is told at the kiosk, without a name.
	invited, err := k.client.Invite(k.ctx, client.Invite{User: made})
	if err != nil {
		t.Fatal(err)
	}
	phoneAt(t, invited.Text, "The neighbour's")
	k.until("document.querySelector('header .notice') !== null")
	if said := js[string](k, "document.body.innerText"); !strings.Contains(said, "Somebody just paired a phone") || strings.Contains(said, "neighbour") {
		t.Errorf("the kiosk says %q", said)
	}
	k.check("somebody-paired")

	// And found and removed by the person.
	k.sim("touch alice " + aliceFinger)
	k.press("Start")
	k.on("granted")
	k.press("My phones")
	k.shows("The neighbour's")
	k.do(chromedp.Click(chromedp.CSS(`button[aria-label="Remove: The neighbour's"]`)))
	k.until(`!document.querySelector('main').innerText.includes("The neighbour's")`)
	list, err := k.client.Phones(k.ctx)
	if err != nil || len(list.Phones) != 2 || list.Phones[0].Revoked != nil || list.Phones[1].Revoked == nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// A phone that asks ends no look, and is next; one whose person is locked out
// changes nothing that anybody sees.
func (k *kioskBench) knock() {
	t := k.t
	alice := k.alice()
	k.camera(clipAgain)
	type began struct {
		client.Decision
		err error
	}
	asks := func() <-chan began { // each a phone of its own: one may ask every 10 s
		invited, err := k.client.Invite(k.ctx, client.Invite{User: alice})
		if err != nil {
			t.Fatal(err)
		}
		me, phone := phoneAt(t, invited.Text, "a phone")
		t.Cleanup(func() {
			if _, err := k.client.RevokePhone(k.ctx, me.ID); err != nil {
				t.Error(err)
			}
		})
		done := make(chan began, 1)
		go func() {
			d, err := phone.Kiosk(k.ctx)
			done <- began{d, err}
		}()
		return done
	}
	k.do(chromedp.Navigate(k.url))
	k.on("scan")
	k.until("document.querySelector('.step.ready') !== null") // a face was compared, and the finger is waited for
	done := asks()
	k.shows("A phone asked. It is next")
	k.check("phone-next")
	k.sim("touch alice " + aliceFinger)
	k.on("granted")
	if a := <-done; !isKind(a.err, client.ProblemLeft) {
		t.Errorf("beside somebody who was let in: %+v, %v", a.Decision, a.err)
	}
	k.press("Done")
	k.on("idle")

	k.sim("lift")
	k.press("Start")
	k.on("scan")
	done = asks()
	k.shows("A phone asked. It is next")
	k.press("Cancel")
	k.shows("Your phone asked")
	k.on("granted")
	if a := <-done; a.err != nil || a.Outcome != client.Granted {
		t.Errorf("whose turn it was: %+v, %v", a.Decision, a.err)
	}
	k.press("Done")
	k.on("idle")

	for d, err := (client.Decision{}), error(nil); d.LockedUntil == nil; {
		if d, err = k.client.AuthenticatePIN(k.ctx, client.PINAttempt{User: alice, PIN: "271828"}); err != nil || d.Outcome != client.Refused {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	k.do(chromedp.Evaluate[chromedp.Void](`window.changes = []; new MutationObserver(() => window.changes.push(document.body.dataset.screen)).observe(document.body, { attributes: true })`))
	if a := <-asks(); a.err != nil || a.Outcome != client.Refused || !slices.Contains(a.Reasons, "locked-out") {
		t.Errorf("of somebody who is locked out: %+v, %v", a.Decision, a.err)
	}
	if changes := js[string](k, "window.changes.join(' ')"); changes != "" {
		t.Errorf("the page went through %q", changes)
	}
}

// A code ends with whoever it was for: when they cancel, and when they leave.
func TestKioskCodeEndsWithItsPerson(t *testing.T) {
	atNight(t)
	k := newKiosk(t, "")
	k.alice()
	k.camera(clipAgain)
	k.do(chromedp.Reload())
	for _, end := range []func(){
		func() { k.press("Cancel") },
		func() { k.do(chromedp.Reload()) },
		func() { k.sim("camera off") },
	} {
		k.sim("touch alice " + aliceFinger)
		k.until("document.body.dataset.screen === 'scan' || document.body.dataset.screen === 'idle'")
		if js[string](k, "document.body.dataset.screen") == "idle" {
			k.press("Start")
		}
		k.on("granted")
		k.press("My phones")
		k.press("Pair a phone")
		k.press("Continue")
		k.on("code-for-phone")
		inv, err := phoneclient.ParseInvitation(js[string](k, "document.querySelector('details code').textContent"))
		if err != nil {
			t.Fatal(err)
		}
		end()
		k.until("document.body.dataset.screen !== 'code-for-phone'")
		i, _ := phoneclient.NewIdentity("")
		if err := i.Pair(k.ctx, inv, "late", "test"); !isKind(err, client.ProblemPairing) {
			t.Errorf("a code that nobody looks at is good for %v", err)
		}
	}
}

// Who holds a phone up to the code is not seen, and whoever stands beside the
// picture neither: a phone that is paired then stays only when its person looks and
// touches once more.
func TestKioskPairingUnseen(t *testing.T) {
	atNight(t)
	k := newKiosk(t, "")
	k.alice()
	empty := emptyRoom(t)
	for _, back := range []bool{true, false} {
		k.camera(clipAgain)
		k.do(chromedp.Reload())
		k.sim("touch alice " + aliceFinger)
		k.until("['scan', 'idle', 'granted'].includes(document.body.dataset.screen)")
		if js[string](k, "document.body.dataset.screen") == "idle" {
			k.press("Start")
		}
		k.on("granted")
		k.press("My phones")
		k.press("Pair a phone")
		k.press("Continue")
		k.on("code-for-phone")
		text := js[string](k, "document.querySelector('details code').textContent")
		k.sim("lift", "camera "+empty)
		k.daemon.until(k.ctx, t, func(s client.Status) bool { return s.Present == "nobody" })
		_, phone := phoneAt(t, text, "Somebody's phone")
		k.on("scan")
		k.shows("Once more, for the phone")
		if back {
			k.camera(clipAgain)
			k.sim("touch alice " + aliceFinger)
			k.shows("The phone is paired")
			if _, err := phone.Me(k.ctx); err != nil {
				t.Errorf("her own phone: %v", err)
			}
			continue
		}
		k.on("refused")
		if _, err := phone.Me(k.ctx); !isKind(err, client.ProblemRevoked) {
			t.Errorf("the phone of who was not seen: %v", err)
		}
	}
}

func isKind(err error, problem string) bool {
	e := (*client.Error)(nil)
	return errors.As(err, &e) && e.Problem() == problem
}

// scanned is what zbar, a decoder that nobody here wrote, reads from a picture
// of the page.
func (k *kioskBench) scanned() string {
	k.t.Helper()
	file := filepath.Join(k.t.TempDir(), "page.png")
	k.picture(file)
	return zbar(k.ctx, k.t, file)
}

func zbar(ctx context.Context, t testing.TB, file string) string {
	t.Helper()
	program, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Skip("needs Debian's zbar-tools: make deps-test")
	}
	out, err := exec.CommandContext(ctx, program, "--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", file).Output()
	if err != nil {
		kept := ""
		if dir := os.Getenv("KIOSK_PICTURES"); dir != "" {
			b, _ := os.ReadFile(file)
			kept = filepath.Join(dir, "unread.png")
			_ = os.WriteFile(kept, b, 0o600)
		}
		t.Fatalf("zbarimg: %v %s", err, kept)
	}
	return strings.TrimSuffix(string(out), "\n")
}
