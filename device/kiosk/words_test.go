package kiosk

import (
	"encoding/json"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/vision"
)

var (
	said        = regexp.MustCompile(`(?:say|title|named|known|table|words|field)\('([a-z.-]+)'`)
	placeholder = regexp.MustCompile(`\{\w+\}`)
)

// Every language says everything that the page and the device can say, with
// the same placeholders.
func TestEveryLanguageHasEveryWord(t *testing.T) {
	languages := make(map[string]map[string]string)
	for _, c := range device.ConsentTexts() {
		b, err := web.ReadFile("web/messages/" + c.Language + ".json")
		if err != nil {
			t.Fatalf("people may agree in %s, but the page does not speak it: %v", c.Language, err)
		}
		words := make(map[string]string)
		if err := json.Unmarshal(b, &words); err != nil {
			t.Fatalf("%s: %v", c.Language, err)
		}
		languages[c.Language] = words
	}
	needed := make(map[string]bool)
	for h := vision.HintNone + 1; h.String() != "unknown"; h++ {
		needed["hint."+h.String()] = true
	}
	for _, h := range []sensor.Hint{
		sensor.HintNoFinger, sensor.HintAgain, sensor.HintClean, sensor.HintFlat, sensor.HintLift, sensor.HintSame,
		sensor.HintLonger, sensor.HintOther, sensor.HintAnew,
	} {
		needed["hint."+string(h)] = true
	}
	for _, r := range []device.Reason{
		device.FaceNoMatch, device.FaceNotLive, device.FaceMissing, device.FaceNotEnrolled, device.FingerNoMatch,
		device.FingerMissing, device.FingerNotEnrolled, device.LockedOut, device.Disabled, device.NoPolicy, device.NobodyFound, device.FingerModule, device.PINNoMatch, device.PINForbidden,
		device.PhoneNotEnrolled, device.PhoneMissing, device.PhoneDenied, device.PhoneNotAllowed,
		device.FaceReplayed, device.FaceNoAnswer, device.FaceTooSlow, device.FaceMixed, device.FaceDuplicate, device.FingerDuplicate, device.FingerElsewhere,
	} {
		needed["reason."+string(r)] = true
	}
	needed["hint.approve-on-phone"] = true
	for _, kind := range []string{"phone-pair", "phone-rename", "phone-revoke", "phone-terms"} { // of the record
		needed["kind."+kind] = true
	}
	for _, right := range []string{"unlock", "approve", "verify", "history"} {
		needed["right."+right] = true
	}
	err := fs.WalkDir(web, "web", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".js") {
			return err
		}
		b, err := web.ReadFile(name)
		for _, m := range said.FindAllStringSubmatch(string(b), -1) {
			needed[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(needed) < 80 {
		t.Fatalf("only %d words were found in the page: the test looked at the wrong place", len(needed))
	}
	english := languages["en"]
	for key := range needed {
		if english[key] == "" {
			t.Errorf("nothing says %q", key)
		}
	}
	for tag, words := range languages {
		for key, text := range words {
			if english[key] == "" {
				t.Errorf("%s: %q is said in no other language", tag, key)
			}
			if got, want := placeholder.FindAllString(text, -1), placeholder.FindAllString(english[key], -1); !sameSet(got, want) {
				t.Errorf("%s: %q has the placeholders %v, English %v", tag, key, got, want)
			}
		}
		for key := range english {
			if words[key] == "" {
				t.Errorf("%s does not say %q", tag, key)
			}
		}
	}
}

func sameSet(a, b []string) bool {
	count := make(map[string]int)
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// maxWeight bounds what a browser loads for the page, in bytes, uncompressed.
const maxWeight = 150_000

func TestThePageIsLight(t *testing.T) {
	all, err := loadFiles()
	if err != nil {
		t.Fatal(err)
	}
	page, err := web.ReadFile("web/index.html")
	if err != nil {
		t.Fatal(err)
	}
	weight := len(page)
	for name, f := range all.byName {
		weight += len(f.text)
		if source, err := web.ReadFile("web/" + name); err != nil || strings.Count(f.text, "\n") != strings.Count(string(source), "\n") {
			t.Errorf("%s has other lines than its source: %v", name, err)
		}
		for n, line := range strings.Split(f.text, "\n") { // else an indent of it would be lost
			if strings.HasSuffix(name, ".js") && strings.Count(line, "`")%2 != 0 {
				t.Errorf("%s:%d: a text that is longer than its line", name, n+1)
			}
		}
	}
	t.Logf("the whole page, in all its languages, is %d bytes", weight)
	if weight > maxWeight || weight == 0 {
		t.Errorf("%d bytes, the most is %d", weight, maxWeight)
	}
}
