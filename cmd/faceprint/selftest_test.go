package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/faceprint/faceprint/device/api/client"
)

// grantOf signs as a device does.
func grantOf(t *testing.T, nonce string) (string, client.Keys) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "d"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := jwt.Signed(s).Claims(jwt.Claims{Subject: "alice", IssuedAt: jwt.NewNumericDate(time.Now())}).Claims(map[string]any{"nonce": nonce}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "d", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	var keys client.Keys
	if err := json.Unmarshal(public, &keys); err != nil {
		t.Fatal(err)
	}
	return grant, keys
}

func TestSelfTestReportIsWhatWasSigned(t *testing.T) {
	r := selfTestReport{
		Host: "door-1", By: "<b>eve</b>", Passed: true, Checks: []client.Check{{Name: "camera", State: checkOK, Detail: "a & b"}},
		Attempt: &testAttempt{Outcome: client.Granted, Factors: []client.Factor{{Kind: "face", Passed: true, Score: new(0.75), Live: new(0.9), FMR: 1e-6}}, Door: "open"},
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	good := selfTest{Report: body, Digest: digest(body)}
	var keys client.Keys
	good.Grant, keys = grantOf(t, selfTestNonce+good.Digest)

	// Filed as people read it, and read again.
	filed, err := json.MarshalIndent(good, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var back selfTest
	if err := json.Unmarshal(filed, &back); err != nil {
		t.Fatal(err)
	}
	if who, _, err := back.signed(keys); err != nil || who != "alice" {
		t.Fatalf("%q %v", who, err)
	}
	_, others := grantOf(t, "")
	otherGrant, otherKeys := grantOf(t, "an attempt's own nonce")
	for name, c := range map[string]struct {
		s    selfTest
		keys client.Keys
		want string
	}{
		"changed report":       {selfTest{Report: bytes.Replace(body, []byte("door-1"), []byte("door-2"), 1), Digest: good.Digest, Grant: good.Grant}, keys, "was changed"},
		"changed with digest":  {selfTest{Report: []byte(`{}`), Digest: digest([]byte(`{}`)), Grant: good.Grant}, keys, "another report"},
		"another device's key": {good, others, "no key of this device"},
		"a grant for a door":   {selfTest{Report: body, Digest: good.Digest, Grant: otherGrant}, otherKeys, "another report"},
		"not signed":           {selfTest{Report: body, Digest: good.Digest}, keys, "not signed"},
		"no grant":             {selfTest{Report: body, Digest: good.Digest, Grant: "x.y.z"}, keys, "no grant"},
	} {
		if who, _, err := c.s.signed(c.keys); err == nil || !strings.Contains(err.Error(), c.want) || who != "" {
			t.Errorf("%s: %q %v", name, who, err)
		}
	}

	page, err := selfTestHTML(good, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PASSED", "door-1", "a &amp; b", "&lt;b&gt;eve", good.Digest, "score 0.75", "live 0.900", "1 in 1e&#43;06"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("%q is not on the page", want)
		}
	}
	for _, bad := range []string{"<b>eve", "ZgotmplZ", "http", "%!"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("%q is on the page", bad)
		}
	}
}

// What the door does after a grant, as the daemon tells it.
func TestSelfTestFollowsTheDoor(t *testing.T) {
	lock := func(outcome string) client.Event { return client.Event{Kind: "door", Outcome: outcome} }
	board := func(outcome string) client.Event { return client.Event{Kind: "guard", Outcome: outcome} }
	for name, c := range map[string]struct {
		events     []client.Event
		contact    bool
		door, leaf string
		pulls      int
	}{
		"no door":                  {nil, false, "", "", 0},
		"a lock alone":             {[]client.Event{lock("open")}, false, "open", "", 0},
		"a fault":                  {[]client.Event{lock("fault")}, true, "fault", "", 0},
		"pulled open":              {[]client.Event{board("unlocked"), lock("open"), board("opened")}, true, "open", contactOpened, 1},
		"pulled before it is told": {[]client.Event{board("opened"), lock("open")}, true, "open", contactOpened, 0},
		"it stays shut":            {[]client.Event{lock("open"), board("unlocked"), board("locked")}, true, "open", contactShut, 1},
		"forced is not opened":     {[]client.Event{lock("open"), board("forced")}, true, "open", contactShut, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			heard, pulls := make(chan client.Event, 8), 0
			for _, e := range c.events {
				heard <- e
			}
			door, leaf, err := watchDoor(t.Context(), heard, c.contact, func() { pulls++ })
			if err != nil || door != c.door || leaf != c.leaf || pulls != c.pulls {
				t.Errorf("%s: door %q, contact %q, asked %d times, %v", name, door, leaf, pulls, err)
			}
		})
	}
	gone := make(chan client.Event)
	close(gone)
	if _, _, err := watchDoor(t.Context(), gone, true, nil); err == nil {
		t.Error("a daemon that ended was not missed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := watchDoor(ctx, nil, true, nil); err == nil {
		t.Error("an interrupted test went on")
	}
}

// A door that stays shut is a failure with its cause and the next step.
func TestSelfTestNamesTheSilentContact(t *testing.T) {
	t.Parallel()
	for contact, want := range map[string]string{contactShut: checkFail, contactOpened: checkOK, "": checkOK} {
		a := &testAttempt{Outcome: client.Granted, Door: "open", Contact: contact}
		c := a.doorCheck()
		r := selfTestReport{Checks: []client.Check{c}, Attempt: a}
		var out bytes.Buffer
		printSelfTest(&out, selfTest{}, r)
		page, err := selfTestHTML(selfTest{}, r)
		if err != nil || c.State != want {
			t.Fatalf("contact %q: %+v %v", contact, c, err)
		}
		mended := strings.Contains(out.String(), "nothing must be mended")
		named := strings.Contains(out.String(), "wires of its contact") && bytes.Contains(page, []byte(`class="fail"`)) && bytes.Contains(page, []byte("wires of its contact"))
		if bad := want == checkFail; mended == bad || named != bad {
			t.Errorf("contact %q: %s", contact, out.String())
		}
	}
	if c := (&testAttempt{Door: "fault"}).doorCheck(); c.State != checkFail || c.Advice == "" {
		t.Errorf("%+v", c)
	}
}

// A report that cannot be written is named before anybody stands there for it.
func TestSelfTestLooksForRoomFirst(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--output", "--html"} {
		code, _, said := faceprint(t, "selftest", flag, filepath.Join(t.TempDir(), "none", "r"))
		if code != exitFault || !strings.Contains(said, "no such file") || strings.Contains(said, "examining") {
			t.Errorf("%s: exit %d: %s", flag, code, said)
		}
	}
}
