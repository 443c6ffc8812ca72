package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
)

// A wrong argument is wrong usage before the port is touched: there is none, and
// nothing but the argument is complained of.
func TestSensorArgumentsAreCheckedFirst(t *testing.T) {
	port := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{
		{"set", "--level", "0"},
		{"set", "--level", "6"},
		{"set", "--level", "3", "--packet", "100"},
		{"set", "--level", "3", "--new-baud", "1234"},
		{"set", "--empty-library", "--new-password", "x"},
		{"set", "--empty-library", "--new-address", "0x100000000"},
		{"set", "--level", "3", "--new-password", ""},
		{"set"},
		{"info", "--baud", "1234"},
		{"find", "--baud", "-1"},
	} {
		var out, errout bytes.Buffer
		code := run(t.Context(), append([]string{"sensor", args[0], port}, args[1:]...), strings.NewReader(""), &out, &errout)
		if code != exitUsage || strings.Contains(errout.String(), port) {
			t.Errorf("%q: exit %d, %s", args, code, &errout)
		}
	}
	var out, errout bytes.Buffer
	if code := run(t.Context(), []string{"sensor", "set", port, "--level", "3"}, strings.NewReader(""), &out, &errout); code != exitFault || !strings.Contains(errout.String(), port) {
		t.Errorf("a port that is not there: exit %d, %s", code, &errout)
	}
}

func TestNumberListTakesComments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# those of the workshop\n\n0x10 # the old one\n7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := numberList("--password-list", file)
	if err != nil || !slices.Equal(got, []uint32{0x10, 7}) {
		t.Errorf("%v, %v", got, err)
	}
}

// The status says how a finger module's line works, and nothing of the kind of others.
func TestStatusTellsOfTheLine(t *testing.T) {
	var b bytes.Buffer
	printStatus(&b, client.Status{State: "ready", Parts: []client.Part{
		{Name: "camera", State: "ready", Numbers: map[string]float64{"frames": 7}},
		{Name: "finger", State: "ready", Numbers: map[string]float64{
			"commands": 120, "bad_sums": 2, "skipped_bytes": 31, "timeouts": 1, "resyncs": 3, "median_seconds": 0.0081, "p99_seconds": 0.32, "overruns": 4,
		}},
	}})
	const want = "line: 120 instructions, 2 damaged packets, 31 stray bytes, 1 without an answer, 3 resynchronised; half of them within 8.1ms, 99 % within 320ms; the port lost 4 characters"
	if got := b.String(); strings.Count(got, "line:") != 1 || !strings.Contains(got, want) {
		t.Error(got)
	}
}

// simPort is the port of a simulated module, which is there until the test ends.
func simPort(t *testing.T, c modsim.Config) (port string) {
	t.Helper()
	port, _ = simOn(t, c)
	return port
}

// simOn is simPort for who lays fingers on it.
func simOn(t *testing.T, c modsim.Config) (port string, s *modsim.Sim) {
	t.Helper()
	sim, err := modsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := modsim.OpenPTY("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := p.Serve(ctx, sim); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		p.Close()
		serving.Wait()
	})
	return p.Path(), sim
}

// What is recorded of a module at an address of its own replays.
func TestRecordingReplays(t *testing.T) {
	port := simPort(t, modsim.Config{Model: "r307"})
	file := filepath.Join(t.TempDir(), "talk.txt")
	for _, args := range [][]string{
		{"set", port, "--new-address", "0x12345678"},
		{"record", port, file, "--address", "0x12345678"},
		{"replay", file},
	} {
		var out, errout bytes.Buffer
		if code := run(t.Context(), append([]string{"sensor"}, args...), strings.NewReader(""), &out, &errout); code != 0 {
			t.Fatalf("%q: exit %d, %s%s", args, code, &out, &errout)
		}
		if args[0] == "replay" && !strings.Contains(out.String(), "family zfm-9 (an R30x") {
			t.Error(out.String())
		}
	}
}

// A finger's picture is its owner's alone, also where a file or a link lay there before.
func TestPictureIsReadableByItsOwnerAlone(t *testing.T) {
	port, sim := simOn(t, modsim.Config{Model: "r503"})
	if _, err := sim.Command("touch alice thumb"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, link, other := filepath.Join(dir, "picture.png"), filepath.Join(dir, "link.png"), filepath.Join(dir, "other")
	for _, f := range []string{file, other} {
		if err := os.WriteFile(f, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, link} {
		var out, errout bytes.Buffer
		if code := run(t.Context(), []string{"sensor", "picture", port, file}, strings.NewReader(""), &out, &errout); code != 0 {
			t.Fatalf("exit %d, %s", code, &errout)
		}
		b, _ := os.ReadFile(file)
		if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 || !bytes.HasPrefix(b, []byte("\x89PNG")) {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if b, _ := os.ReadFile(other); string(b) != "old" {
		t.Error("the picture went through the link")
	}
}

// What cannot be opened is told with what to do about it.
func TestInfoOfAModuleThatDoesNotOpen(t *testing.T) {
	for _, c := range []struct {
		set, with []string
		want      []string
	}{
		{[]string{"--new-password", "7"}, nil, []string{"--password,", "sensor find PORT --password-list FILE"}},
		{[]string{"--new-address", "0x12345678"}, nil, []string{"--address"}},
		{[]string{"--new-address", "0x12345678"}, []string{"--address", "0x11111111"}, []string{"--address"}},
		{nil, []string{"--baud", "9600"}, []string{"its rate is 9600 baud", "leave --baud out", "--address-list"}},
	} {
		port := simPort(t, modsim.Config{Model: "r307"})
		var out, errout bytes.Buffer
		if c.set != nil {
			if code := run(t.Context(), append([]string{"sensor", "set", port}, c.set...), strings.NewReader(""), &out, &errout); code != 0 {
				t.Errorf("%q: exit %d, %s", c.set, code, &errout)
			}
		}
		errout.Reset()
		code := run(t.Context(), append([]string{"sensor", "info", port}, c.with...), strings.NewReader(""), &out, &errout)
		said := strings.ReplaceAll(errout.String(), port, "PORT")
		t.Logf("%q, %q: %s", c.set, c.with, said)
		for _, want := range c.want {
			if code == 0 || !strings.Contains(said, want) {
				t.Errorf("%q, %q: exit %d, %q is missing in %s", c.set, c.with, code, want, said)
			}
		}
	}
}

// A module with a password is told what to do about it by whoever meets it; a list that
// did not help is told so.
func TestLockedModule(t *testing.T) {
	port := simPort(t, modsim.Config{Model: "r307"})
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte("1\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"set", port, "--new-password", "7"}, "the password is 0x00000007"},
		{[]string{"record", port, filepath.Join(dir, "talk")}, "sensor find " + port + " --password-list FILE"},
		{[]string{"find", port, "--password-list", list}, "none of 2 numbers of the list opened it"},
	} {
		var out, errout bytes.Buffer
		run(t.Context(), append([]string{"sensor"}, c.args...), strings.NewReader(""), &out, &errout)
		if said := out.String() + errout.String(); !strings.Contains(said, c.want) {
			t.Errorf("%q: %s", c.args, said)
		}
	}
}

// A line that damages the talk is judged by what was learnt and counted until it failed.
func TestInfoOfABadLine(t *testing.T) {
	for _, quirk := range []string{"quirk badsum 2", "quirk flip 60"} {
		port, sim := simOn(t, modsim.Config{Model: "r307"})
		for _, form := range []string{"text", "json"} {
			var out, errout bytes.Buffer
			conf := sensor.Config{Port: port, Baud: 57600, Address: sensor.DefaultAddress}
			m, err := openModule(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sim.Command(quirk); err != nil {
				t.Fatal(err)
			}
			tl := &tool{out: &out, err: &errout, json: form == "json"}
			code := tl.finish(t.Context(), errors.Join(tl.info(t.Context(), m), m.Close()))
			if _, err := sim.Command(strings.Join(strings.Fields(quirk)[:2], " ") + " off"); err != nil {
				t.Fatal(err)
			}
			said := out.String()
			t.Logf("%s: exit %d\n%s%s", quirk, code, said, &errout)
			if form == "text" {
				if code != exitFault || !strings.Contains(said, "family zfm-9") || !strings.Contains(said, "damaged packets") || strings.Contains(said, " 0 damaged packets") || errout.Len() == 0 {
					t.Errorf("%s: exit %d\n%s%s", quirk, code, said, &errout)
				}
				continue
			}
			var all struct {
				Module sensor.Info
				Line   sensor.Stats
				Error  string
				Exit   int
			}
			if err := json.Unmarshal(out.Bytes(), &all); err != nil || code != exitFault || all.Exit != code || all.Error == "" || all.Module.Family != "zfm-9" || all.Line.BadSums == 0 {
				t.Errorf("%s: exit %d, %v\n%s", quirk, code, err, said)
			}
		}
	}
}

// Who else reads the port is named also where the module answers: it eats answers now
// and then.
func TestSharedPortIsNamed(t *testing.T) {
	port := simPort(t, modsim.Config{Model: "r307"})
	f, err := os.OpenFile(port, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other := exec.Command("sleep", "300")
	other.Stdin = f
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	want := fmt.Sprintf("port is in use, and what arrives may be taken, by sleep (process %d)", other.Process.Pid)
	for _, args := range [][]string{{"info", port}, {"info", port, "--json"}, {"find", port}, {"record", port, filepath.Join(t.TempDir(), "talk")}} {
		var out, errout bytes.Buffer
		if code := run(t.Context(), append([]string{"sensor"}, args...), strings.NewReader(""), &out, &errout); code != 0 || !strings.Contains(out.String()+errout.String(), want) {
			t.Errorf("%q: exit %d: %s%s", args, code, &out, &errout)
		}
	}
	state := ""
	checkModule(t.Context(), func(_, s, detail, advice string) {
		if strings.Contains(detail, want) && strings.Contains(advice, "stop that program") {
			state = s
		}
	}, port)
	if state != checkWarn {
		t.Errorf("doctor says %q of it", state)
	}
}

// A recording that was changed is named once, with the instruction.
func TestReplayOfAChangedRecording(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "sensor", "testdata", "recordings", "modsim-r503.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	sent := 0
	for i, line := range lines {
		if strings.HasPrefix(line, ">") {
			if sent++; sent == 3 { // ReadProdInfo
				lines[i] = line[:len(line)-2] + "FF"
			}
		}
	}
	file := filepath.Join(t.TempDir(), "rec.txt")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errout bytes.Buffer
	code := run(t.Context(), []string{"sensor", "replay", file}, strings.NewReader(""), &out, &errout)
	t.Log(errout.String())
	if s := errout.String(); code == 0 || strings.Count(s, "sensor: ") != 1 || strings.Count(s, "ReadProdInfo") > 1 || !strings.Contains(s, "event 6: EF01FFFFFFFF0100033C0040 is sent") {
		t.Errorf("exit %d: %s", code, s)
	}
}
