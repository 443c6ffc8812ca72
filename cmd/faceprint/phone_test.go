package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"github.com/faceprint/faceprint/device/api/client"
	phone "github.com/faceprint/faceprint/device/phone/client"
)

// What the terminal shows is read by a decoder that nobody here wrote.
func TestTerminalsCodeIsReadByZbar(t *testing.T) {
	zbarimg, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Skip("needs Debian's zbar-tools: make deps-test")
	}
	for _, addr := range []string{"192.168.1.20:7443", "[fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535", "faceprint.local:7443"} {
		i := phone.Invitation{Addr: addr, Secret: phone.NewSecret()}
		code, err := qr.Encode(i.Text(), qr.M)
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for y := range code.Size {
			var row strings.Builder
			for x := range code.Size {
				row.WriteByte(map[bool]byte{true: '#', false: ' '}[code.Black(x, y)])
			}
			rows = append(rows, row.String())
		}
		file := filepath.Join(t.TempDir(), "terminal.png")
		photograph(t, drawQR(rows), file)
		out, err := exec.Command(zbarimg, "--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", file).Output()
		if err != nil {
			t.Fatalf("zbarimg: %v", err)
		}
		got, err := phone.ParseInvitation(strings.TrimSuffix(string(out), "\n"))
		if err != nil || got != i {
			t.Errorf("read %v, %v", got, err)
		}
	}
}

// What was said wrong is refused, and not taken for what was left out.
func TestPairRefusesNoTimeAndNoRights(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "no.sock")
	for flag, values := range map[string][]string{"--expires": {"-1h", "0"}, "--rights": {""}} {
		for _, v := range values {
			code, _, said := faceprint(t, "--socket", socket, "phone", "pair", "alice", flag, v)
			if code != exitUsage || !strings.Contains(said, flag) {
				t.Errorf("%s %q: code %d, %s", flag, v, code, said)
			}
		}
	}
}

func TestSetRefusesWhatItCannotMean(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "no.sock")
	for want, args := range map[string][]string{
		"nothing to change": {},
		"revoke ID":         {"--rights", ""},
		"above 0":           {"--expires", "-1h"},
		"or never":          {"--expires", "tomorrow"},
	} {
		code, _, said := faceprint(t, append([]string{"--socket", socket, "phone", "set", "ID"}, args...)...)
		if code != exitUsage || !strings.Contains(said, want) {
			t.Errorf("%q: code %d, %s", args, code, said)
		}
	}
}

func TestListSaysWhatIsOver(t *testing.T) {
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for want, p := range map[string]client.Phone{
		"expired " + past.Format(time.DateTime):                  {By: "admin", Expires: &past},
		"paired by admin, until " + future.Format(time.DateTime): {By: "admin", Expires: &future},
		"revoked " + past.Format(time.DateTime):                  {By: "admin", Expires: &past, Revoked: &past},
		"paired by admin\n":                                      {By: "admin"},
		"paired by kiosk (uid:1000)\n":                           {By: "kiosk", Asker: "uid:1000"},
	} {
		var out strings.Builder
		printPhones(&out, []client.Phone{p}, nil)
		if !strings.Contains(out.String(), want) || p.Revoked == nil && strings.Contains(out.String(), "revoked") {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

// photograph makes a picture of what a terminal with a dark ground shows, whose
// characters are twice as high as they are wide.
func photograph(t *testing.T, text, file string) {
	t.Helper()
	const w, h = 6, 12
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for n, l := range lines {
		l, ok := strings.CutPrefix(l, "\x1b[30;107m") // black on white
		l, reset := strings.CutSuffix(l, "\x1b[0m")
		if !ok || !reset {
			t.Fatalf("line %d does not say its colours: %q", n, l)
		}
		lines[n] = l
	}
	width := len([]rune(lines[0]))
	margin := 2 * h // of the terminal itself
	picture := image.NewGray(image.Rect(0, 0, width*w+2*margin, len(lines)*h+2*margin))
	for y, l := range lines {
		for x, c := range []rune(l) {
			for py := range h {
				up := py < h/2
				dark := c == '█' || c == '▀' && up || c == '▄' && !up
				for px := range w {
					if !dark {
						picture.SetGray(margin+x*w+px, margin+y*h+py, color.Gray{255})
					}
				}
			}
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, picture); err != nil {
		t.Fatal(err)
	}
}

// What is said wrong is usage, also where a flag is missing; what the device, or
// the phone's own check of it, says no to is a refusal.
func TestSimsExitCodes(t *testing.T) {
	for _, args := range [][]string{
		{"verify"},
		{"verify", "--audience", "a"},
		{"me", "x"},
		{"me", "--file", filepath.Join(t.TempDir(), "none")},
		{"pair", "x"},
		{"pair", phone.Invitation{Addr: "127.0.0.1:1"}.Text(), "--name", "a\u202eb", "--file", filepath.Join(t.TempDir(), "none")},
	} {
		if code, _, said := faceprint(t, append([]string{"phone", "sim"}, args...)...); code != exitUsage || said == "" {
			t.Errorf("%q: code %d, %s", args, code, said)
		}
	}
	for want, problems := range map[int][]string{
		exitRefused: {client.ProblemForbidden, client.ProblemUnsigned, client.ProblemPairing, client.ProblemRevoked, client.ProblemExpired, client.ProblemDuplicate},
		exitRetry:   {client.ProblemBusy, client.ProblemTooMany},
		exitFault:   {client.ProblemFault},
		exitUsage:   {client.ProblemInvalid, client.ProblemNotFound, client.ProblemName},
	} {
		for _, p := range problems {
			e := &client.Error{Status: 400, Type: client.ProblemPrefix + p, Detail: "no"}
			if code := (&tool{out: io.Discard, err: io.Discard}).finish(t.Context(), saidNo(fmt.Errorf("phone: %w", e))); code != want {
				t.Errorf("%s: code %d, want %d", p, code, want)
			}
		}
	}
	for _, err := range []error{phone.ErrPin, phone.ErrProof, phone.ErrRolledBack, phone.ErrCopied} {
		if code := (&tool{out: io.Discard, err: io.Discard}).finish(t.Context(), saidNo(fmt.Errorf("phone: %w", err))); code != exitRefused {
			t.Errorf("%v: code %d", err, code)
		}
	}
}
