package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/faceprint/faceprint/"

// arrows says which packages of the house each room may import. A room that
// is not listed may import none; "x/..." is x and all below it.
var arrows = map[string][]string{
	"cmd/faceprintd":      {"device/...", "vision/...", "sensor/...", "store/...", "firmware/..."},
	"cmd/faceprint":       {"firmware/...", "sensor", "sensor/tty", "sensor/modsim", "device/api/client", "device/phone/client", "cmd/internal/outfile"},
	"cmd/faceprint-eval":  {"vision", "vision/opencv", "vision/ort", "sensor/minutia", "sensor/ridge", "store/isometry", "cmd/internal/outfile"},
	"device":              {"vision", "sensor", "sensor/minutia", "store", "store/isometry"},
	"device/api":          {"device", "device/api/client"},
	"device/phone":        {"device/api", "device/api/client", "device/phone/client"},
	"device/phone/client": {"device/api/client"},
	"device/*":            {"device", "device/api/client", "firmware/..."},
	"store":               {"store/isometry"},
	"store/tpm":           {"store"},
	"sensor/host":         {"sensor", "sensor/minutia"},
	"sensor/modsim":       {"sensor", "sensor/ridge", "sensor/minutia"},
	"vision/opencv":       {"vision"},
	"vision/ort":          {"vision"},
	"firmware/*":          {"firmware/..."},
	"firmware/board/*":    {"firmware/..."},
}

// owners are the only rooms that may import a library directly.
var owners = map[string][]string{
	"gocv.io/x/gocv":                       {"vision/opencv"},
	"github.com/yalue/onnxruntime_go":      {"vision/ort"},
	"go.etcd.io/bbolt":                     {"store"},
	"rsc.io/qr":                            {"device/phone"},
	"github.com/danielgtaylor/huma/v2":     {"device/api", "device/phone"},
	"github.com/prometheus/client_golang/": {"device/api"},
	"github.com/zitadel/oidc/":             {"device/openid"},
	"github.com/pelletier/go-toml/v2":      {"cmd/faceprintd", "vision"},
	"periph.io/":                           {"sensor", "sensor/tty", "device/gpio", "device/guard", "cmd/faceprint"},
	"github.com/spf13/":                    {"cmd/faceprint", "cmd/faceprint-eval"},
	"github.com/godbus/":                   {"device/fprint"},
}

// never lists what a program must not link, however it gets there.
var never = map[string][]string{
	"cmd/faceprint": {module + "store", module + "vision", module + "device", "gocv.io/", "go.etcd.io/bbolt", "github.com/danielgtaylor/huma", "github.com/prometheus/", "github.com/yalue/"},
}

// Only this file of the daemon knows the simulators; decoys are of synthetic
// fingers as well.
const (
	benchFile = "cmd/faceprintd/bench.go"
	decoyFile = "cmd/faceprintd/trust.go"
)

type goPackage struct {
	ImportPath, Dir      string
	GoFiles              []string
	CgoFiles, Imports    []string
	IgnoredGoFiles, Deps []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles,Imports,Deps"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var found []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
}

// imports of every file, whatever its build tags, by file.
func imports(t *testing.T, p goPackage) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, f := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			all[f] = append(all[f], strings.Trim(i.Path.Value, `"`))
		}
	}
	return all
}

func allowed(room string) []string {
	if a, ok := arrows[room]; ok {
		return a
	}
	if i := strings.LastIndexByte(room, '/'); i > 0 {
		return arrows[room[:i]+"/*"]
	}
	return nil
}

func matches(patterns []string, room string) bool {
	for _, p := range patterns {
		if base, all := strings.CutSuffix(p, "/..."); room == p || all && (room == base || strings.HasPrefix(room, base+"/")) {
			return true
		}
	}
	return false
}

func TestImportArrows(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module)
		seen[room] = true
		for file, paths := range imports(t, p) {
			for _, path := range paths {
				to, inside := strings.CutPrefix(path, module)
				if inside && !matches(allowed(room), to) {
					t.Errorf("%s/%s imports %s: the design has no such arrow", room, file, to)
				}
				if inside && room == "cmd/faceprintd" && (to == "sensor/modsim" || to == "sensor/ridge") && room+"/"+file != benchFile && (to != "sensor/ridge" || room+"/"+file != decoyFile) {
					t.Errorf("%s/%s imports the simulator %s; only %s may", room, file, to, benchFile)
				}
				for library, rooms := range owners {
					if strings.HasPrefix(path, library) && !slices.Contains(rooms, room) {
						t.Errorf("%s/%s imports %s, which belongs to %v", room, file, path, rooms)
					}
				}
			}
		}
	}
	for _, room := range []string{"cmd/faceprint", "cmd/faceprintd", "cmd/faceprint-eval", "device/api", "vision"} {
		if !seen[room] {
			t.Errorf("go list found no %s: the test looked at the wrong place", room)
		}
	}
}

func TestProgramsDoNotLink(t *testing.T) {
	for room, bad := range never {
		found := list(t, "./"+room)
		if len(found) != 1 || len(found[0].Deps) < 50 {
			t.Fatalf("go list said nothing about %s", room)
		}
		for _, dep := range found[0].Deps {
			for _, b := range bad {
				// The clients live below device but import nothing of it.
				if (dep == b || strings.HasPrefix(dep, strings.TrimSuffix(b, "/")+"/")) && dep != module+"device/api/client" && dep != module+"device/phone/client" {
					t.Errorf("%s links %s", room, dep)
				}
			}
		}
	}
}
