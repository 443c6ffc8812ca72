package main

import (
	"strings"
	"testing"
	"time"
)

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"unknown key":          {"dir = \"/x\"\n\n[camera]\nsauce = \"/dev/video0\"\n", `f.toml:4: there is no key "camera.sauce"`},
		"unknown table":        {"\n[kamera]\nsource = \"x\"\n", `f.toml:2: there is no key "kamera`},
		"wrong type":           {"[finger]\n\nbaud = \"fast\"\n", "f.toml:3:8: finger.baud: a whole number is wanted here, not a string"},
		"number for text":      {"[camera]\nsource = 0\n", `f.toml:2:10: camera.source: a text in "quotes" is wanted here, not an integer`},
		"table for number":     {"[policy.live]\nx = 1\n", "f.toml:1:2: policy.live: a number is wanted here, not a table"},
		"list of tables":       {"[[kiosk]]\n", "f.toml:1:3: kiosk: a [table] is wanted here, not an array table"},
		"number for table":     {"finger = 3\n", "f.toml:1:10: finger: a [table] is wanted here, not an integer"},
		"number for switch":    {"[bench]\nenabled = 1\n", "f.toml:2:11: bench.enabled: true or false is wanted here, not an integer"},
		"word in a list":       {"[store]\ntpm_pcrs = [\"a\"]\n", "f.toml:2:13: store.tpm_pcrs: a whole number is wanted here, not a string"},
		"no TOML":              {"dir = \"/x\"\n[camera\n", "f.toml:2:"},
		"key twice":            {"dir = \"/x\"\ndir = \"/y\"\n", "f.toml"},
		"no such engine":       {"[face]\nmodels = \"m\"\nengine = \"gpu\"\n", `f.toml:3: face.engine: "gpu" is none of auto, opencv, ort`},
		"dotted":               {"face.models = \"m\"\nface.engine = \"gpu\"\n", "f.toml:2: face.engine"},
		"reach of a room":      {"[camera]\nreach = 8.0\n", "f.toml:2: camera.reach: 8 m is beyond what is possible: up to 2.3, or 0"},
		"odd baud":             {"[finger]\nbaud = 1200\n", "f.toml:2: finger.baud"},
		"duration without s":   {"[door]\nopen = \"5\"\n", `f.toml:2: door.open: "5" is no duration; write it like`},
		"duration as a number": {"[door]\nopen = 5\n", `f.toml:2: door.open: "5" is no duration`},
		"negative duration":    {"[door]\nopen = \"-1s\"\n", "f.toml:2: door.open: must be longer than 0"},
		"endless door":         {"[door]\nopen = \"1h\"\n", "f.toml:2: door.open"},
		"guard's long door":    {"[door]\nkind = \"guard\"\nport = \"/dev/ttyUSB0\"\nopen = \"45s\"\n", "f.toml:4: door.open: 45s is not from 100ms to 30s"},
		"guard without a port": {"[door]\nkind = \"guard\"\n", "door.port: must not be empty"},
		"one port for two":     {"[finger]\nport = \"/dev/ttyS9\"\n[door]\nkind = \"guard\"\nport = \"/dev/ttyS9\"\n", "f.toml:5: door.port: /dev/ttyS9 is the fingerprint module's port"},
		"empty socket":         {"[api]\nsocket = \"\"\n", "f.toml:2: api.socket: must not be empty"},
		"no level":             {"[log]\nlevel = \"loud\"\n", "f.toml:2: log.level"},
		"bench without dir":    {"[bench]\nenabled = true\n", "f.toml: dir: the bench needs a state directory: give --dir"},
		"rate below the host":  {"[finger]\nmatch = \"host\"\n[policy]\nfinger_fmr = 1e-12\n", "f.toml:4: policy.finger_fmr: 1e-12 is less than the host can tell a finger by"},
		"keyring by one":       {"[policy]\nmode = \"either\"\n[login]\npam = true\nkeyring = true\n", "f.toml:5: login.keyring: a keyring is opened by face and finger, and policy.mode is either"},
		"keyring by nobody":    {"[login]\nkeyring = true\n", "f.toml:2: login.keyring: pam_faceprint opens keyrings, and login.pam is off"},
		"address too large":    {"[finger]\naddress = 4294967296\n", "f.toml:2:11: finger.address: 4294967296 is out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.doc), "f.toml", "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

func TestConfigReportsEveryMistake(t *testing.T) {
	_, err := parseConfig([]byte("[face]\nengine = \"gpu\"\n[log]\nlevel = \"loud\"\n"), "f.toml", "")
	if err == nil || !strings.Contains(err.Error(), "f.toml:2:") || !strings.Contains(err.Error(), "f.toml:4:") {
		t.Errorf("%v", err)
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := parseConfig(nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Store.File != "/var/lib/faceprint/faceprint.db" || c.API.Socket != "/run/faceprint/api.sock" || c.Bench.Enabled {
		t.Errorf("%+v", c)
	}
}

func TestBenchStaysInItsDirectory(t *testing.T) {
	c, err := parseConfig([]byte("[bench]\nenabled = true\n[face]\nmodels = \"models\"\n"), "f.toml", "/tmp/b")
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"socket": c.API.Socket, "store": c.Store.File, "key": c.Store.KeyFile, "models": c.Face.Models,
		"control": c.Bench.Control, "link": c.Bench.Link, "port": c.Finger.Port,
	} {
		if !strings.HasPrefix(path, "/tmp/b/") {
			t.Errorf("%s is %s", name, path)
		}
	}
	if c.Finger.Port != c.Bench.Link {
		t.Errorf("the daemon opens %s, the bench makes %s", c.Finger.Port, c.Bench.Link)
	}
}

func TestEffectiveConfigCanBeReadAgain(t *testing.T) {
	doc := "[door]\nkind = \"drawn\"\nopen = \"1m0s\"\n[finger]\nbaud = 57600\n"
	c, err := parseConfig([]byte(doc), "f.toml", "/x")
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.effective()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseConfig([]byte(text), "g.toml", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	second, err := again.effective()
	if err != nil {
		t.Fatal(err)
	}
	if second != text || again.Door.Open.Duration != time.Minute {
		t.Errorf("first\n%s\nsecond\n%s", text, second)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("dir = \"/x\"\n[camera]\nsource = \"/dev/video0\"\n"))
	f.Add([]byte("[bench]\nenabled = true\n"))
	f.Add([]byte("[door]\nopen = \"5s\"\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := parseConfig(doc, "f.toml", "/x")
		if err != nil {
			return
		}
		text, err := c.effective()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseConfig([]byte(text), "g.toml", ""); err != nil {
			t.Errorf("the effective configuration is refused: %v\n%s", err, text)
		}
	})
}

// A camera's frames that come again are an attack: only what plays a recording
// by its configuration is believed to do so.
func TestOnlyAFileIsARecording(t *testing.T) {
	for source, want := range map[string]bool{
		defaults().Camera.Source:                false,
		"/dev/video2":                           false,
		"/dev/v4l/by-id/usb-Cam-video-index0":   false,
		"0":                                     false,
		"libcamera":                             false,
		"libcamera:/base/soc/i2c0mux/imx708@1a": false,
		"videotestsrc ! videoconvert ! appsink": false,
		"rtsp://camera.local/live":              false,
		"http://camera.local/live.mjpg":         false,
		"clips/franck.mp4":                      true,
		"/usr/share/faceprint/clips/franck.mp4": true,
	} {
		c := defaults()
		c.Camera.Source = source
		if got := c.recorded(); got != want {
			t.Errorf("%s: a recording %v, want %v", source, got, want)
		}
	}
	if c := benchDefaults(); c.recorded() {
		t.Error("the bench is one before it is enabled")
	}
	c := benchDefaults()
	c.Bench.Enabled = true
	if !c.recorded() {
		t.Error("the bench plays clips")
	}
}
