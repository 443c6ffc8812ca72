package phone

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	wire "github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone/client"
)

// The page is tested in Debian's Chromium over the real listener. That the
// device's self-signed key is taken is told to Chromium by the key's hash and
// by nothing weaker.

// tab opens the page's address in a browser of its own, whose person reads the
// languages; English where there are none.
func tab(t *testing.T, b *bench, address string, languages ...string) context.Context {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's chromium: make deps-test")
	}
	pin := b.Pin()
	options := []chromedp.ExecAllocatorOption{
		chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.DisableGPU,
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(pin[:])),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's does not work as root
	}
	if len(languages) == 0 {
		languages = []string{"en"}
	}
	options = append(options, chromedp.Flag("accept-lang", strings.Join(languages, ",")))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(options...))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatalf("%v; the page says %q", err, js[string](t, ctx, "document.body.innerText"))
	}
}

func js[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until the expression is true in the page.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Fatalf("%s: %v; the page says %q", expression, err, js[string](t, ctx, "document.body.innerText"))
	}
}

// promised evaluates an expression of a promise of a string.
func promised(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	do(t, ctx, chromedp.Evaluate[chromedp.Void]("window.got = undefined; ("+expression+").then((v) => { window.got = {v}; }, (e) => { window.got = {v: 'error: ' + e}; }); undefined"))
	until(t, ctx, "window.got !== undefined")
	return js[string](t, ctx, "window.got.v")
}

func TestPageInChromium(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many, Browsers: true})
	inv := b.invite(t, wire.Invite{User: "alice"})
	ctx := tab(t, b, inv.Text())
	until(t, ctx, "document.body.dataset.screen === 'pair'")
	if hash := js[string](t, ctx, "location.href"); strings.Contains(hash, "#") {
		t.Errorf("the secret stays in the address: %s", hash)
	}

	// The page's protocol is that of the vectors.
	var v struct {
		Invitation struct {
			Secret string `json:"secret_hex"`
			Text   string `json:"text"`
			Name   string `json:"name"`
		}
		Phone struct {
			Public string `json:"public_hex"`
			ID     string `json:"id"`
		}
		Pairing  map[string]string
		Requests []struct {
			Method, Target, Body, Message string
			Counter                       uint64
			Binding                       string `json:"binding_hex"`
		}
	}
	text, err := os.ReadFile("client/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Evaluate[chromedp.Void]("window.vectors = "+string(text)+"; window.hex = (s) => Uint8Array.from(s.match(/../g), (x) => parseInt(x, 16)); undefined"))
	if got := promised(t, ctx, "import('/page.js').then((p) => p.codeName(hex(vectors.invitation.secret_hex)))"); got != v.Invitation.Name {
		t.Errorf("name of the code: %s", got)
	}
	if got := promised(t, ctx, "import('/page.js').then((p) => p.keyID(hex(vectors.phone.public_hex)))"); got != v.Phone.ID {
		t.Errorf("id of the key: %s", got)
	}
	if got := promised(t, ctx, "import('/page.js').then((p) => p.b64(p.parseCode(new URL(vectors.invitation.text).hash).secret))"); got != "8PHy8_T19vf4-fr7_P3-_w" {
		t.Errorf("secret of the code: %s", got)
	}
	for _, side := range []string{"phone", "device"} {
		if got := promised(t, ctx, "import('/page.js').then((p) => p.prove(hex(vectors.invitation.secret_hex), vectors.pairing."+side+"_message))"); got != v.Pairing[side+"_proof"] {
			t.Errorf("%s proof: %s", side, got)
		}
	}
	for i, r := range v.Requests {
		if got := promised(t, ctx, "import('/page.js').then((p) => { const r = vectors.requests["+itoa(i)+"]; return p.requestMessage(r.method, r.target, r.counter, p.b64(hex(r.binding_hex)), r.body); })"); got != r.Message {
			t.Errorf("message of %s: %q", r.Target, got)
		}
	}

	do(t, ctx, chromedp.SendKeys("#name", "Alice's browser"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.body.dataset.screen === 'home'")
	if got := js[string](t, ctx, "document.getElementById('who').textContent"); got != "Name of alice" {
		t.Errorf("greets %q", got)
	}
	list := b.List()
	if len(list) != 1 || list[0].Kind != "browser" || list[0].Name != "Alice's browser" {
		t.Fatalf("%+v", list)
	}

	// The key cannot be had from the page.
	got := promised(t, ctx, `new Promise((done, failed) => {
		const open = indexedDB.open("faceprint");
		open.onsuccess = () => {
			const get = open.result.transaction("phone").objectStore("phone").get("me");
			get.onsuccess = () => crypto.subtle.exportKey("pkcs8", get.result.keys.privateKey).then(() => done("exported"), (e) => done(e.name));
		};
	})`)
	if got != "InvalidAccessError" {
		t.Errorf("the private key: %s", got)
	}

	do(t, ctx, chromedp.Click("#unlock"))
	until(t, ctx, "document.body.dataset.outcome === 'granted'")

	// What the kiosk asks appears by itself, and is answered with a button.
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	type answer struct {
		approved bool
		err      error
	}
	asked := make(chan answer, 1)
	ask, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	go func() {
		_, approved, err := b.Ask(ask, "alice", "kiosk")
		asked <- answer{approved, err}
	}()
	do(t, ctx, chromedp.Click("#asks button"))
	if a := <-asked; a.err != nil || !a.approved {
		t.Errorf("%+v", a)
	}

	// A reload is the same phone, and a revocation is noticed.
	do(t, ctx, chromedp.Reload())
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	if _, err := b.Revoke(list[0].ID, "admin"); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "document.body.dataset.screen === 'unpaired'")
}

// A pairing whose time is over comes back when it is given more; a person whom
// the device forgot is told so, and led back to the beginning.
func TestPageOutlivesExpiry(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many, Browsers: true})
	words := wordsOf(t, "en")
	ctx := tab(t, b, b.invite(t, wire.Invite{User: "alice"}).Text())
	until(t, ctx, "document.body.dataset.screen === 'pair'")
	do(t, ctx, chromedp.SendKeys("#name", "Browser"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	id, end := b.List()[0].ID, b.clock.get().Add(time.Hour)
	if _, err := b.SetTerms(id, wire.PhoneTerms{Rights: Rights, Expires: &end}, "uid:7"); err != nil {
		t.Fatal(err)
	}
	b.clock.add(2 * time.Hour)
	do(t, ctx, chromedp.Reload())
	until(t, ctx, "document.body.dataset.screen === 'unpaired'")
	if said := js[string](t, ctx, "document.getElementById('said').textContent"); said != words["problem.expired"] {
		t.Errorf("an expiry is said as %q", said)
	}
	if _, err := b.SetTerms(id, wire.PhoneTerms{Rights: Rights}, "uid:7"); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "document.body.dataset.screen === 'home'")
	b.Forgotten("alice")
	do(t, ctx, chromedp.Reload())
	until(t, ctx, "document.body.dataset.screen === 'unpaired'")
	if said := js[string](t, ctx, "document.getElementById('said').textContent"); said != words["problem.unsigned"] {
		t.Errorf("somebody forgotten is told %q", said)
	}
}

// A second code on a paired page changes nothing until the person agrees and the
// device has proved itself; then the pairing of before ends.
func TestPageAsksBeforeItReplacesItsKey(t *testing.T) {
	b := serve(t, newMemory("alice", "bob"), Options{Limits: many, Browsers: true})
	ctx := tab(t, b, b.invite(t, wire.Invite{User: "alice"}).Text())
	until(t, ctx, "document.body.dataset.screen === 'pair'")
	if js[bool](t, ctx, "document.getElementById('again').checkVisibility()") {
		t.Error("a page that is not paired asks whether to end the pairing")
	}
	do(t, ctx, chromedp.SendKeys("#name", "First"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	first := b.List()[0].ID
	scan := func(in wire.Invite) client.Invitation {
		t.Helper()
		inv := b.invite(t, in)
		do(t, ctx, chromedp.Evaluate[chromedp.Void]("location.href = "+strconv.Quote(inv.Text())+"; undefined"))
		for { // the page loads anew by itself, under which a poll would end
			const asks = "document.body?.dataset.screen === 'pair' && document.getElementById('again').checkVisibility()"
			if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](asks)); err == nil && yes {
				return inv
			}
			if ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
		}
	}

	scan(wire.Invite{User: "bob"})
	do(t, ctx, chromedp.SendKeys("#name", "Second"), chromedp.Click("#pair button[type=submit]"))
	if got := js[bool](t, ctx, "document.getElementById('pair').checkValidity()"); got || len(b.List()) != 1 {
		t.Errorf("paired without being asked: %+v", b.List())
	}
	do(t, ctx, chromedp.Click("#keep"))
	until(t, ctx, "document.body.dataset.listening === 'yes'")

	// A code that is over: the key of before stays.
	b.Withdraw(scan(wire.Invite{User: "bob"}).Secret.Name())
	do(t, ctx, chromedp.SendKeys("#name", "Second"), chromedp.Click("#sure"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.getElementById('said').textContent === "+strconv.Quote(wordsOf(t, "en")["problem.not-paired"]))
	do(t, ctx, chromedp.Click("#keep"))
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	if got := js[string](t, ctx, "document.getElementById('who').textContent"); got != "Name of alice" {
		t.Errorf("greets %q", got)
	}

	b.clock.add(time.Second)
	scan(wire.Invite{User: "bob"})
	do(t, ctx, chromedp.SendKeys("#name", "Second"), chromedp.Click("#sure"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.body.dataset.listening === 'yes' && document.getElementById('who').textContent === 'Name of bob'")
	list := b.List()
	if len(list) != 2 || list[0].ID != first || list[0].Revoked == nil || list[1].Revoked != nil || list[1].User != "bob" {
		t.Errorf("%+v", list)
	}
}

// The page says that a device forgot its requests, until the person knows.
func TestPageNoticesAnOldVault(t *testing.T) {
	v := newMemory("alice")
	b := serve(t, v, Options{Limits: many, Browsers: true})
	ctx := tab(t, b, b.invite(t, wire.Invite{User: "alice"}).Text())
	until(t, ctx, "document.body.dataset.screen === 'pair'")
	do(t, ctx, chromedp.SendKeys("#name", "Browser"), chromedp.Click("#pair button[type=submit]"))
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	again := func(v *memory) {
		t.Helper()
		b.stop()
		until(t, ctx, "document.body.dataset.listening === 'no'")
		l, err := net.Listen("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		b = serveOn(t, v, Options{Limits: many, Browsers: true}, l)
		do(t, ctx, chromedp.Reload())
		until(t, ctx, "document.body.dataset.listening === 'yes'")
	}
	const warned = "document.getElementById('warned').checkVisibility()"
	b.tidy(0)
	old := v.copy()
	again(v)
	if js[bool](t, ctx, warned) {
		t.Error("a restart is said to be a roll-back")
	}
	again(old)
	until(t, ctx, warned)
	do(t, ctx, chromedp.Reload())
	until(t, ctx, "document.body.dataset.listening === 'yes' && "+warned)
	do(t, ctx, chromedp.Click("#known"))
	until(t, ctx, "!"+warned)
	do(t, ctx, chromedp.Reload())
	until(t, ctx, "document.body.dataset.listening === 'yes'")
	if js[bool](t, ctx, warned) {
		t.Error("who knows is told again")
	}
}

// The page speaks its person's language, in that one's direction, and offers
// what the phone may do and nothing else, also after that was changed.
func TestPageSpeaksAndOffersWhatItMay(t *testing.T) {
	english := wordsOf(t, "en")
	for _, x := range []struct{ reads, language, dir string }{{"de-AT,en", "de", "ltr"}, {"ar-EG", "ar", "rtl"}, {"fr,it", "en", "ltr"}} {
		t.Run(x.language, func(t *testing.T) {
			b := serve(t, newMemory("alice"), Options{Limits: many, Browsers: true})
			words := wordsOf(t, x.language)
			ctx := tab(t, b, b.invite(t, wire.Invite{User: "alice", Rights: []string{Approve}}).Text(), x.reads)
			until(t, ctx, "document.body.dataset.screen === 'pair'")
			if got := js[string](t, ctx, "document.documentElement.lang + ' ' + document.documentElement.dir"); got != x.language+" "+x.dir {
				t.Errorf("the page is %s", got)
			}
			do(t, ctx, chromedp.SendKeys("#name", "Browser"), chromedp.Click("#pair button[type=submit]"))
			until(t, ctx, "document.body.dataset.listening === 'yes'")
			said := js[string](t, ctx, "document.body.innerText")
			if !strings.Contains(said, words["page.paired"]) || !strings.Contains(said, words["page.this"]) || strings.Contains(said, "page.") {
				t.Errorf("the page says %q", said)
			}
			if x.language != "en" && strings.Contains(said, english["page.this"]) {
				t.Errorf("the page says in English: %q", said)
			}
			offers := "[...document.querySelectorAll('#unlock, #past')].filter((e) => e.checkVisibility()).map((e) => e.id).join()"
			if got := js[string](t, ctx, offers); got != "" {
				t.Errorf("a phone that may only approve is offered %s", got)
			}

			if _, err := b.SetTerms(b.List()[0].ID, wire.PhoneTerms{Rights: []string{Unlock, Past}}, "uid:7"); err != nil {
				t.Fatal(err)
			}
			until(t, ctx, offers+" === 'unlock,past'")
			b.device.mu.Lock()
			b.device.decision = wire.Decision{Outcome: wire.Refused, Reasons: []string{"face-no-match"}}
			b.device.mu.Unlock()
			do(t, ctx, chromedp.Click("#unlock"))
			until(t, ctx, "document.body.dataset.outcome === 'refused'")
			if said := js[string](t, ctx, "document.getElementById('said').textContent"); said != words["page.refused"]+" "+words["reason.face-no-match"] {
				t.Errorf("a refusal is said as %q", said)
			}
			b.vault.mu.Lock()
			b.vault.entries = append(b.vault.entries, wire.Entry{Seq: 99, At: noon(), Kind: "authenticate", User: "alice", Outcome: "refused", Reasons: []string{"locked-out"}, Times: 7})
			b.vault.mu.Unlock()
			do(t, ctx, chromedp.Click("#past summary"))
			until(t, ctx, "document.querySelectorAll('#history li').length > 0")
			if said := js[string](t, ctx, "document.getElementById('history').innerText"); !strings.Contains(said, words["kind.phone-terms"]) || !strings.Contains(said, words["outcome.refused"]+" × 7") || strings.Contains(said, "uid") {
				t.Errorf("the history says %q", said)
			}
		})
	}
}

// asked are the words that the page asks for.
var asked = regexp.MustCompile(`(?:word\(|data-say=|data-label=)"([a-z.-]+)"|\? "(page\.[a-z-]+)" : "(page\.[a-z-]+)"`)

// Every language has every word, and what the kiosk says, too, is said alike.
func TestPagesWords(t *testing.T) {
	english := wordsOf(t, "en")
	for _, name := range []string{"page.html", "page.js"} {
		b, err := page.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range asked.FindAllStringSubmatch(string(b), -1) {
			for _, key := range m[1:] {
				if key == "" {
					continue
				}
				if found++; english[key] == "" {
					t.Errorf("%s: nothing says %q", name, key)
				}
			}
		}
		if found < 10 {
			t.Errorf("only %d words were found in %s: the test looked at the wrong place", found, name)
		}
	}
	for _, language := range languages {
		words := wordsOf(t, language)
		text, err := os.ReadFile("../kiosk/web/messages/" + language + ".json")
		if err != nil {
			t.Fatal(err)
		}
		kiosk := make(map[string]string)
		if err := json.Unmarshal(text, &kiosk); err != nil {
			t.Fatal(err)
		}
		for key := range english {
			if words[key] == "" {
				t.Errorf("%s does not say %q", language, key)
			}
		}
		for key := range words {
			if english[key] == "" {
				t.Errorf("%s: %q is said in no other language", language, key)
			}
		}
		for key, text := range kiosk {
			switch kind, _, _ := strings.Cut(key, "."); kind {
			case "hint", "reason", "kind", "outcome", "right":
				if words[key] != text {
					t.Errorf("%s: %s is %q here and %q at the kiosk", language, key, words[key], text)
				}
			}
		}
	}
}

// Whatever the device writes into a person's history has words in every language.
func TestHistoryHasWords(t *testing.T) {
	var text []byte
	for _, pattern := range []string{"../*.go", "../../store/forget.go", "../../store/renew.go", "*.go", "../../cmd/faceprintd/phone.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, b...)
		}
	}
	for kind, x := range map[string]struct {
		least int
		says  *regexp.Regexp
	}{
		"reason":  {23, regexp.MustCompile(`\bReason\s*= "([a-z-]+)"`)},
		"kind":    {14, regexp.MustCompile(`Entry\{[^}]*Kind: "([a-z-]+)", User|"(phone-[a-z]+)", (?:by|user|"device")`)},
		"outcome": {10, regexp.MustCompile(`Entry\{[^}]*User[^}]*Outcome: "([a-z-]+)"|outcome(?:, found)? :?= "([a-z-]+)"|outcome = newKeyring\(.*\), "([a-z-]+)"|note\(\w+, "([a-z-]+)"`)},
	} {
		found := map[string]bool{}
		for _, m := range x.says.FindAllSubmatch(text, -1) {
			for _, word := range m[1:] {
				if len(word) > 0 {
					found[kind+"."+string(word)] = true
				}
			}
		}
		if len(found) < x.least {
			t.Errorf("only %d %ss were found: the test looked at the wrong place", len(found), kind)
		}
		if kind == "reason" {
			found["reason.face"], found["reason.finger"] = true, true // what was enrolled
		}
		for _, language := range languages {
			words := wordsOf(t, language)
			for key := range found {
				if words[key] == "" {
					t.Errorf("%s does not say %q", language, key)
				}
			}
		}
	}
}

func wordsOf(t *testing.T, language string) map[string]string {
	t.Helper()
	b, err := page.ReadFile("messages/" + language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]string)
	if err := json.Unmarshal(b, &words); err != nil {
		t.Fatalf("%s: %v", language, err)
	}
	return words
}

func TestNoPageUnlessConfigured(t *testing.T) {
	b := serve(t, newMemory("alice"), Options{Limits: many})
	b.dial(t).want(t, raw("GET", "/", "", ""), 404, wire.ProblemNotFound) // which ends the connection
	b.dial(t).want(t, raw("POST", "/v1/session", "", ""), 403, wire.ProblemForbidden)
	i := identity(t)
	inv := b.invite(t, wire.Invite{User: "alice"})
	session := b.sessions.open(b.tick())
	a := client.Applicant{Key: i.Public(), Kind: client.Browser, Name: "n", Platform: "p"}
	body, err := json.Marshal(client.PairRequest{
		Invite: inv.Secret.Name(), Key: a.Key.String(), Kind: a.Kind, Name: a.Name, Platform: a.Platform,
		Proof: client.ProvePhone(inv.Secret, inv.Pin, session, a).String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := b.dial(t)
	c.want(t, sign(t, i, session, "POST", "/v1/pair", 1, string(body)), 403, wire.ProblemPairing)
}
