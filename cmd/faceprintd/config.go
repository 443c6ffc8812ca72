package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/openid"
	"github.com/faceprint/faceprint/firmware/board"
	"github.com/faceprint/faceprint/sensor/host"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// Config is the whole configuration: one TOML file, in which every key has a
// default and an unknown key is an error. Relative paths are under Dir, so
// that several daemons can run side by side.
type Config struct {
	Dir    string       `toml:"dir" comment:"State directory; relative paths below are under it."`
	API    apiConfig    `toml:"api"`
	Store  storeConfig  `toml:"store"`
	Camera cameraConfig `toml:"camera"`
	Face   faceConfig   `toml:"face"`
	Finger fingerConfig `toml:"finger"`
	Door   doorConfig   `toml:"door"`
	Policy policyConfig `toml:"policy"`
	Kiosk  kioskConfig  `toml:"kiosk"`
	Login  loginConfig  `toml:"login"`
	Keep   keepConfig   `toml:"retention"`
	Phone  phoneConfig  `toml:"phone"`
	Log    logConfig    `toml:"log"`
	Bench  benchConfig  `toml:"bench"`

	file string // where it was read from, for messages
	doc  []byte // its text, to find lines
}

type apiConfig struct {
	Socket     string `toml:"socket" comment:"Unix socket of the API. Who may do what on it is decided by the caller's user and groups."`
	AdminGroup string `toml:"admin_group" comment:"Members may enrol, forget, read the audit and change things. Root and the daemon's own user always may."`
	KioskGroup string `toml:"kiosk_group" comment:"Members may ask who somebody is and watch events, nothing else."`
}

type storeConfig struct {
	File    string `toml:"file" comment:"People, sealed templates and the audit chain."`
	Key     string `toml:"key" comment:"Where the key that seals them is: file (a thief with the card can read the templates), tpm (a TPM 2.0), or systemd-creds. After a change, of this and of key_file, run 'faceprintd vault rekey' once."`
	KeyFile string `toml:"key_file" comment:"The key, or what the TPM or systemd made of it; made at the first start, mode 0600."`

	Recovery []string `toml:"recovery" comment:"Age recipients (age1...) of the device's owner, whose identities are kept offline: a backup can be made to open with them on another device, and for nobody else."`

	TPMDevice  string `toml:"tpm_device" comment:"Of key tpm: the resource manager's device."`
	TPMPCRs    []uint `toml:"tpm_pcrs" comment:"The key is given out only while these PCRs (SHA-256, 0 to 23) are as they were. Only as good as what the firmware measures: a Pi's own measures nothing."`
	TPMPINFile string `toml:"tpm_pin_file" comment:"File with the technician's PIN, on a disk that forgets (/run); empty means no PIN."`
}

type cameraConfig struct {
	Source string  `toml:"source" comment:"A device (/dev/video0), a GStreamer pipeline that ends in appsink, an RTSP or HTTP address, or a file, which is played in real time and looped."`
	Reach  float64 `toml:"reach" comment:"How far away a face may be, metres, up to 2.3: the size of the pictures follows from it, for a lens that sees 70 degrees across. 0 is the camera's own choice."`
	Width  int     `toml:"width" comment:"Asked of the device in place of that, pixels, with height; 0 is by reach."`
	Height int     `toml:"height"`
	FPS    int     `toml:"fps" comment:"Asked of the device; 0 is its own choice."`
	Rotate int     `toml:"rotate" comment:"Clockwise: 0, 90, 180 or 270 degrees."`
	Mirror bool    `toml:"mirror" comment:"Exchange left and right, after the rotation."`
}

type faceConfig struct {
	Models  string `toml:"models" comment:"Folder of the model files."`
	Profile string `toml:"profile" comment:"Which model set: the name of a built-in one, or a FILE.toml of the site's own."`
	Engine  string `toml:"engine" comment:"What runs the networks: opencv, ort (ONNX Runtime, about twice as fast), or auto: ort where its library is installed."`
	Library string `toml:"library" comment:"ONNX Runtime's shared library, version 1.24 or later."`
}

type fingerConfig struct {
	Port         string `toml:"port" comment:"Serial port of the fingerprint module; empty means there is none."`
	Baud         int    `toml:"baud" comment:"Bits a second; 0 tries the usual ones."`
	Address      uint32 `toml:"address" comment:"The module's address, such as 0x12345678. Once it has opened the module it is sealed in the vault, and the key may go; 0 means that one, or the factory's, 0xFFFFFFFF."`
	PasswordFile string `toml:"password_file" comment:"File that holds the module's password as a number. Once it has opened the module it is sealed in the vault, and the key and the file may go; empty means that one, or 0."`
	Match        string `toml:"match" comment:"Who compares: module (fast; its word is checked with decoys), host (the picture is read, 2 to 7 s, and the module's word counts for nothing; for windows of 256x288 and more), or both (they must agree; slowest and safest). Whoever changes it enrols fingers anew."`
	PowerPin     string `toml:"power_pin" comment:"Pin that switches the module's power, high is on, such as GPIO23: a module that hangs is cut off for 2 s. Empty where it is not wired."`
	WakePin      string `toml:"wake_pin" comment:"Pin of the module's wake wire (R503, blue), low while touched, such as GPIO24: an idle reader then leaves the line alone. Empty where it is not wired."`
	Coverage     bool   `toml:"coverage" comment:"Tell at enrolment how much of the finger each capture saw: 2 s a capture while the finger is lifted, at 115200 baud. Off on the bench; told always where match is host."`
	BorrowDecoys bool   `toml:"borrow_decoys" comment:"Where the module takes no pictures from the host, mix in templates of other people in place of decoys. It catches less. Not with match = \"both\"."`
}

type doorConfig struct {
	Kind    string   `toml:"kind" comment:"none, drawn (a log line and an event), gpio (a strike on a pin of this board) or guard (a guard board on a serial line)."`
	Open    duration `toml:"open" comment:"How long a granted door stays open; a guard board takes at most 30s."`
	Pin     string   `toml:"pin" comment:"Of kind gpio: the relay's pin, such as GPIO17; high opens."`
	Port    string   `toml:"port" comment:"Serial port of the guard board, or unix:SOCKET of an emulated one."`
	KeyFile string   `toml:"key_file" comment:"The board's pairing key, from 'faceprint board pair'; mode 0600."`
}

type policyConfig struct {
	Mode      string   `toml:"mode" comment:"face, finger, either or both (strict)."`
	Phone     string   `toml:"phone" comment:"What a paired phone counts for: none, extra (one factor more), second (in the place of one of both), alone (it suffices)."`
	FaceFMR   float64  `toml:"face_fmr" comment:"Largest false match rate of a face that passes: 1e-4 is 1 in 10,000 strangers."`
	FingerFMR float64  `toml:"finger_fmr" comment:"The same of a finger, of all who are compared together; modules claim 1e-5."`
	Live      float64  `toml:"live" comment:"Least probability that the face is live, 0 to 1."`
	Challenge string   `toml:"challenge" comment:"Who is asked to turn the head or come nearer, at random: auto (whom their picture leaves in doubt, and everybody for 10 minutes after an attack), on (everybody) or off."`
	Blink     bool     `toml:"blink" comment:"A challenge may ask for a blink besides its moves, of those whose eyes are plain to see; who is not seen to blink makes one move more."`
	Adapt     bool     `toml:"adapt" comment:"After face and finger both passed, a second face template slowly follows the person's look; 'faceprint people restore-template' goes back to the enrolled one."`
	PIN       bool     `toml:"pin" comment:"A PIN alone lets its person in, under the same lock-out: for the day on which nothing can be measured."`
	Timeout   duration `toml:"timeout" comment:"How long an attempt may take."`
}

type kioskConfig struct {
	Listen  string      `toml:"listen" comment:"Loopback address of the page on the device's own screen, such as 127.0.0.1:8750; empty means no page, port 0 any that is free."`
	Preview bool        `toml:"preview" comment:"Show people themselves while they are looked at."`
	Enrol   string      `toml:"enrol" comment:"Who may start an enrolment there: off, code (who has a code of 'faceprint kiosk code'), or open (everybody)."`
	Away    duration    `toml:"away" comment:"Whoever is not seen for so long has left."`
	Apps    []appConfig `toml:"app" comment:"Web applications that may ask who stands there (OpenID Connect; the issuer is the page's address and oidc)."`
}

type appConfig struct {
	ID         string   `toml:"id" comment:"The client_id."`
	Name       string   `toml:"name" comment:"As people see it."`
	SecretFile string   `toml:"secret_file" comment:"File that holds the client_secret; empty: a public client, which PKCE alone protects."`
	Redirects  []string `toml:"redirects" comment:"Exactly these addresses: https, or http on loopback."`
	Front      string   `toml:"frontchannel_logout" comment:"Address that the page loads in a frame when the person walked away; empty: none."`
	Back       string   `toml:"backchannel_logout" comment:"Address of the application's server that is called when the person walks away; empty: none."`
}

func (a appConfig) app() openid.App {
	return openid.App{ID: a.ID, Name: a.Name, Redirects: a.Redirects, FrontChannel: a.Front, BackChannel: a.Back}
}

type loginConfig struct {
	PAM     bool `toml:"pam" comment:"Answer pam_faceprint: people log in to the accounts that 'faceprint login allow' gave them."`
	Keyring bool `toml:"keyring" comment:"A login by face and finger opens the account's keyring, for whom 'faceprint login keyring' has turned that on. Whoever then passes for them has every password in it: read docs/login.md first. Takes policy.mode = \"both\"."`
	Fprint  bool `toml:"fprint" comment:"Take fprintd's place on the system bus, for pam_fprintd, the fprintd commands and desktop settings."`
}

type phoneConfig struct {
	Listen      string `toml:"listen" comment:"Address and port for paired phones, such as :7443; empty is off."`
	Address     string `toml:"address" comment:"host:port that codes tell phones to connect to; empty is the machine's own."`
	Browsers    bool   `toml:"browsers" comment:"Serve a page to phones without an app. A browser cannot check the device's key by itself: read docs/phone.md first."`
	Connections int    `toml:"connections" comment:"Most phones connected at once."`
}

type logConfig struct {
	Level string `toml:"level" comment:"debug, info, warn or error."`
	JSON  bool   `toml:"json" comment:"One JSON object a line instead of text."`
}

type benchConfig struct {
	Enabled bool   `toml:"enabled" comment:"Simulate finger and door and let the camera play clips. Never on a real device."`
	Control string `toml:"control" comment:"Unix socket for the text commands of 'faceprint sim'."`
	Link    string `toml:"link" comment:"Where a link to the simulated module's serial port is put."`
	Seed    int64  `toml:"seed" comment:"Of the simulated fingers and the module's moods."`
}

// duration is a time.Duration written like 1.5s in the file.
type duration struct {
	time.Duration
	text string // as written, when it is no duration
}

func (d duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText never fails: check reports what is wrong, with its line.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration{Duration: v}
	if err != nil {
		d.text = string(b)
	}
	return nil
}

func defaults() Config {
	return Config{
		Dir:    "/var/lib/faceprint",
		API:    apiConfig{Socket: "/run/faceprint/api.sock", AdminGroup: "faceprint-admin", KioskGroup: "faceprint-kiosk"},
		Store:  storeConfig{File: "faceprint.db", Key: "file", KeyFile: "device.key", TPMDevice: "/dev/tpmrm0"},
		Camera: cameraConfig{Source: "/dev/video0", Reach: 1},
		Face:   faceConfig{Models: "/usr/share/faceprint/models", Profile: vision.DefaultProfile, Engine: "auto", Library: "/usr/lib/faceprint/libonnxruntime.so.1"},
		Finger: fingerConfig{Port: "/dev/serial0", Match: "module", Coverage: true},
		Door:   doorConfig{Kind: "none", Open: duration{Duration: 5 * time.Second}, KeyFile: "door.key"},
		Kiosk:  kioskConfig{Preview: true, Enrol: "code", Away: duration{Duration: 5 * time.Second}},
		Policy: policyConfig{Mode: "both", Phone: "second", FaceFMR: 1e-4, FingerFMR: 1e-4, Live: 0.5, Challenge: "auto", Timeout: duration{Duration: 15 * time.Second}},
		Phone:  phoneConfig{Connections: 1024},
		Keep:   keepConfig{Unused: duration{Duration: 3 * 365 * 24 * time.Hour}, Announce: duration{Duration: 30 * 24 * time.Hour}, Audit: 200_000},
		Log:    logConfig{Level: "info"},
		Bench:  benchConfig{Control: "bench.sock", Link: "module.tty", Seed: 1},
	}
}

// benchDefaults are the defaults of a file that enables the bench: nothing
// outside the state directory is touched.
func benchDefaults() Config {
	c := defaults()
	c.Dir = ""
	c.API.Socket = "api.sock"
	c.Finger.Port, c.Finger.Coverage = c.Bench.Link, false
	c.Policy.PIN = true
	c.Policy.Challenge = "off" // the clips do nothing on request
	c.Kiosk.Listen, c.Kiosk.Enrol = "127.0.0.1:0", "open"
	c.Door.Kind, c.Door.Open = "drawn", duration{Duration: 3 * time.Second}
	c.Phone.Listen, c.Phone.Browsers = "127.0.0.1:0", true
	return c
}

// readConfig reads the file; without a name there are only defaults. A dir
// that is not empty takes the place of the file's.
func readConfig(file, dir string) (Config, error) {
	var doc []byte
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("config: %w; name the file with --config", err)
		}
		doc = b
	}
	return parseConfig(doc, file, dir)
}

func parseConfig(doc []byte, file, dir string) (Config, error) {
	var peek struct{ Bench struct{ Enabled bool } }
	_ = toml.Unmarshal(doc, &peek) // what is wrong with it is reported below
	c := defaults()
	if peek.Bench.Enabled {
		c = benchDefaults()
	}
	c.file, c.doc = file, doc
	if err := toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(&c); err != nil {
		return Config{}, c.explain(err)
	}
	if dir != "" {
		c.Dir = dir
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c.Dir = abs
	paths := []*string{&c.API.Socket, &c.Store.File, &c.Store.KeyFile, &c.Face.Models, &c.Face.Library, &c.Door.KeyFile, &c.Finger.PasswordFile, &c.Finger.Port, &c.Bench.Control, &c.Bench.Link}
	paths = append(paths, &c.Store.TPMPINFile)
	if isProfileFile(c.Face.Profile) {
		paths = append(paths, &c.Face.Profile)
	}
	if !strings.HasPrefix(c.Door.Port, "unix:") {
		paths = append(paths, &c.Door.Port)
	}
	if isFile(c.Camera.Source) {
		paths = append(paths, &c.Camera.Source)
	}
	for i := range c.Kiosk.Apps {
		paths = append(paths, &c.Kiosk.Apps[i].SecretFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(c.Dir, *p)
		}
	}
	return c, nil
}

// isFile tells whether a camera source is a file's name, not a device, a
// pipeline or an address.
func isFile(source string) bool {
	return source != "" && !strings.HasPrefix(source, "/dev/") && !strings.ContainsAny(source, "!") && !strings.Contains(source, "://") &&
		!strings.HasPrefix(source, "libcamera") && strings.Trim(source, "0123456789") != ""
}

// recorded tells whether the camera plays recordings, in which frames come again.
func (c *Config) recorded() bool { return c.Bench.Enabled || isFile(c.Camera.Source) }

// isProfileFile tells whether a model profile is a file of the site's own.
func isProfileFile(profile string) bool { return filepath.Ext(profile) == ".toml" }

// explain adds file and line to what the decoder says.
func (c *Config) explain(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var lines []string
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			row, _ := e.Position()
			lines = append(lines, fmt.Sprintf("%s:%d: there is no key %q; 'faceprintd --print-config' lists all keys", c.file, row, strings.Join(e.Key(), ".")))
		}
		return errors.New("config: " + strings.Join(lines, "\n        "))
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		row, col := wrong.Position()
		what := inWords(strings.TrimPrefix(wrong.Error(), "toml: "))
		if k := wrong.Key(); len(k) > 0 {
			return fmt.Errorf("config: %s:%d:%d: %s: %s", c.file, row, col, strings.Join(k, "."), what)
		}
		return fmt.Errorf("config: %s:%d:%d: %s", c.file, row, col, what)
	}
	return fmt.Errorf("config: %s: %w", c.file, err)
}

// wrongKind and wrongPlace are how the decoder says that a value is of another
// kind than its key, in Go's words; wrongRange that a number does not fit.
var (
	wrongKind  = regexp.MustCompile(`^cannot decode TOML (.+) into struct field \S+ of type (\S+)$`)
	wrongPlace = regexp.MustCompile(`^cannot store an? (array table|table) in an? (\S+)$`)
	wrongRange = regexp.MustCompile(`^(?:negative )?integer value (\S+) cannot be stored in \S+$`)
)

// inWords says what the decoder says to somebody who has never seen Go.
func inWords(what string) string {
	if m := wrongKind.FindStringSubmatch(what); m != nil {
		return fmt.Sprintf("%s is wanted here, not %s", kindInWords(m[2]), article(strings.TrimPrefix(m[1], "local ")))
	}
	if m := wrongPlace.FindStringSubmatch(what); m != nil {
		return fmt.Sprintf("%s is wanted here, not %s", kindInWords(m[2]), article(m[1]))
	}
	if m := wrongRange.FindStringSubmatch(what); m != nil {
		return m[1] + " is out of range"
	}
	return what
}

func kindInWords(typ string) string {
	switch {
	case strings.HasPrefix(typ, "[]"):
		return "a list"
	case strings.HasPrefix(typ, "int"), strings.HasPrefix(typ, "uint"):
		return "a whole number"
	case strings.HasPrefix(typ, "float"):
		return "a number"
	case typ == "bool":
		return "true or false"
	case typ == "string":
		return `a text in "quotes"`
	}
	return "a [table]"
}

func article(kind string) string {
	if strings.ContainsRune("aeiou", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// check refuses values that make no sense, each with its line.
func (c *Config) check() error {
	var errs []error
	wrong := func(key, format string, a ...any) {
		where := c.file
		if line := line(c.doc, key); line > 0 {
			where = fmt.Sprintf("%s:%d", c.file, line)
		}
		if where == "" {
			where = "defaults"
		}
		errs = append(errs, fmt.Errorf("config: %s: %s: %s", where, key, fmt.Sprintf(format, a...)))
	}
	oneOf := func(key, value string, allowed ...string) {
		for _, a := range allowed {
			if value == a {
				return
			}
		}
		wrong(key, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
	notEmpty := func(key, value string) {
		if value == "" {
			wrong(key, "must not be empty")
		}
	}
	positive := func(key string, d duration) {
		switch {
		case d.text != "":
			wrong(key, "%q is no duration; write it like 1.5s or 200ms", d.text)
		case d.Duration <= 0:
			wrong(key, "must be longer than 0")
		}
	}
	if c.Dir == "" {
		wrong("dir", "the bench needs a state directory: give --dir, or set dir in the file")
	}
	notEmpty("api.socket", c.API.Socket)
	notEmpty("store.file", c.Store.File)
	notEmpty("store.key_file", c.Store.KeyFile)
	oneOf("store.key", c.Store.Key, keyKinds...)
	for i, key := range c.Store.Recovery {
		if err := (store.BackupKeys{Operator: []string{key}}).Check(); err != nil {
			wrong("store.recovery", "%q, number %d, is no age recipient: %v", key, i+1, err)
		}
	}
	for i, pcr := range c.Store.TPMPCRs {
		if pcr > 23 || i > 0 && pcr <= c.Store.TPMPCRs[i-1] {
			wrong("store.tpm_pcrs", "%v: 0 to 23, in ascending order", c.Store.TPMPCRs)
		}
	}
	if c.Camera.Rotate%90 != 0 || c.Camera.Rotate < 0 || c.Camera.Rotate > 270 {
		wrong("camera.rotate", "%d is none of 0, 90, 180, 270", c.Camera.Rotate)
	}
	if _, _, ok := vision.FrameFor(c.Camera.Reach); !ok && c.Camera.Reach != 0 {
		wrong("camera.reach", "%g m is beyond what is possible: up to %g, or 0", c.Camera.Reach, vision.MaxReach)
	}
	for key, value := range map[string]int{"camera.width": c.Camera.Width, "camera.height": c.Camera.Height, "camera.fps": c.Camera.FPS} {
		if value < 0 || value > 16384 {
			wrong(key, "%d is out of range", value)
		}
	}
	notEmpty("face.models", c.Face.Models)
	if !isProfileFile(c.Face.Profile) {
		oneOf("face.profile", c.Face.Profile, vision.BuiltIns()...)
	}
	oneOf("face.engine", c.Face.Engine, "auto", "opencv", "ort")
	notEmpty("face.library", c.Face.Library)
	oneOf("finger.match", c.Finger.Match, matchModule, matchHost, matchBoth)
	if c.Finger.Baud < 0 || c.Finger.Baud%9600 != 0 || c.Finger.Baud > 12*9600 {
		wrong("finger.baud", "%d is no rate of these modules: a multiple of 9600 up to 115200, or 0", c.Finger.Baud)
	}
	pins := map[string]string{}
	for _, p := range []struct{ key, pin string }{{"finger.power_pin", c.Finger.PowerPin}, {"finger.wake_pin", c.Finger.WakePin}, {"door.pin", c.Door.Pin}} {
		if other := pins[p.pin]; p.pin != "" && other != "" {
			wrong(p.key, "%s is the pin of %s already", p.pin, other)
		}
		pins[p.pin] = p.key
	}
	oneOf("door.kind", c.Door.Kind, "none", "drawn", "gpio", "guard")
	if c.Door.Kind == "gpio" {
		notEmpty("door.pin", c.Door.Pin)
	}
	if c.Door.Kind == "guard" {
		notEmpty("door.port", c.Door.Port)
		notEmpty("door.key_file", c.Door.KeyFile)
		if d := c.Door.Open.Duration; d > 0 && (d < board.HoldLeast || d > board.HoldMost) {
			wrong("door.open", "%s is not from %s to %s, which is what a guard board takes", c.Door.Open, board.HoldLeast, board.HoldMost)
		}
		if c.Door.Port != "" && c.Door.Port == c.Finger.Port {
			wrong("door.port", "%s is the fingerprint module's port (finger.port)", c.Door.Port)
		}
	}
	positive("door.open", c.Door.Open)
	if c.Door.Open.Duration > time.Minute {
		wrong("door.open", "%s is longer than a minute", c.Door.Open)
	}
	oneOf("policy.mode", c.Policy.Mode, "face", "finger", "either", "both")
	if wants := device.Mode(c.Policy.Mode); c.Finger.Port == "" && !c.Bench.Enabled && (wants == device.Both || wants == device.FingerOnly) {
		wrong("finger.port", "policy.mode = %q lets nobody in without a fingerprint module", c.Policy.Mode)
	}
	oneOf("policy.phone", c.Policy.Phone, "none", "extra", "second", "alone")
	oneOf("policy.challenge", c.Policy.Challenge, "auto", "on", "off")
	for key, value := range map[string]string{"phone.listen": c.Phone.Listen, "phone.address": c.Phone.Address} {
		if _, port, err := net.SplitHostPort(value); value != "" && (err != nil || port == "") {
			wrong(key, "%q is no address with a port; write it like :7443 or 192.168.1.20:7443", value)
		}
	}
	if c.Phone.Connections < 1 || c.Phone.Connections > 1<<16 {
		wrong("phone.connections", "%d is out of range: 1 to 65536", c.Phone.Connections)
	}
	for key, value := range map[string]float64{"policy.face_fmr": c.Policy.FaceFMR, "policy.finger_fmr": c.Policy.FingerFMR} {
		if !(value > 0 && value <= 1e-2) {
			wrong(key, "%g is no rate that protects anybody: above 0, at most 0.01", value)
		}
	}
	if least := host.Reach(1); c.Finger.Match != matchModule && c.Policy.FingerFMR < least {
		wrong("policy.finger_fmr", "%g is less than the host can tell a finger by (%.1g, finger.match = %q): nobody would be let in", c.Policy.FingerFMR, least, c.Finger.Match)
	}
	if !(c.Policy.Live > 0 && c.Policy.Live <= 1) {
		wrong("policy.live", "%g is not above 0 and at most 1", c.Policy.Live)
	}
	positive("policy.timeout", c.Policy.Timeout)
	oneOf("kiosk.enrol", c.Kiosk.Enrol, "off", "code", "open")
	positive("kiosk.away", c.Kiosk.Away)
	for _, a := range c.Kiosk.Apps {
		if err := a.app().Check(); err != nil {
			wrong("kiosk.app", "%q: %v", a.ID, err)
		}
	}
	if c.Login.Fprint && c.Policy.Mode == string(device.FaceOnly) {
		wrong("login.fprint", "the policy asks for no finger (policy.mode is face)")
	}
	if c.Login.Keyring && c.Policy.Mode != string(device.Both) {
		wrong("login.keyring", "a keyring is opened by face and finger, and policy.mode is %s; set it to both", c.Policy.Mode)
	}
	if c.Login.Keyring && !c.Login.PAM {
		wrong("login.keyring", "pam_faceprint opens keyrings, and login.pam is off")
	}
	c.Keep.check(wrong)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	if c.Bench.Enabled {
		notEmpty("bench.control", c.Bench.Control)
		notEmpty("bench.link", c.Bench.Link)
	}
	return errors.Join(errs...)
}

// line finds the line of a dotted key, 0 when it is not in the document.
func line(doc []byte, key string) int {
	var p unstable.Parser
	p.Reset(doc)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		var parts []string
		at := 0
		for k := e.Key(); k.Next(); {
			if at == 0 {
				at = p.Shape(k.Node().Raw).Start.Line
			}
			parts = append(parts, string(k.Node().Data))
		}
		name := strings.Join(parts, ".")
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = name + "."
		case unstable.KeyValue:
			if table+name == key {
				return at
			}
		}
	}
	return 0
}

// effective is the configuration as the daemon uses it, in the form in which
// it could be read again.
func (c Config) effective() (string, error) {
	b, err := toml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	return string(b), nil
}
