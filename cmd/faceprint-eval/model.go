package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
	"github.com/faceprint/faceprint/vision/ort"
)

// modelOptions are the flags that choose the face models.
type modelOptions struct {
	dir     string
	profile string
	engine  string
	library string
}

func (o *modelOptions) flags(f *pflag.FlagSet) {
	dir := os.Getenv("FACEPRINT_MODELS")
	if dir == "" {
		dir = filepath.Join("var", "models")
	}
	f.StringVar(&o.dir, "models", dir, "folder of the model files ($FACEPRINT_MODELS)")
	library := os.Getenv("FACEPRINT_ORT")
	if library == "" {
		library = filepath.Join("var", "lib", "libonnxruntime.so.1")
	}
	f.StringVar(&o.engine, "engine", "opencv", "what runs the networks: opencv or ort")
	f.StringVar(&o.library, "library", library, "ONNX Runtime's library ($FACEPRINT_ORT)")
	f.StringVar(&o.profile, "profile", vision.DefaultProfile, "model profile: built in ("+strings.Join(vision.BuiltIns(), ", ")+") or a `FILE.toml`")
}

// open loads the models once for every job.
func (o *modelOptions) open(jobs int) ([]*vision.Model, error) {
	p, err := o.read()
	if err != nil {
		return nil, err
	}
	var engine vision.Engine
	switch o.engine {
	case "opencv":
		engine = opencv.NewEngine()
	case "ort":
		if engine, err = ort.Open(o.library); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("engine %q is neither opencv nor ort", o.engine)
	}
	var models []*vision.Model
	for range min(max(jobs, 1), runtime.NumCPU()) {
		m, err := vision.OpenModel(engine, p, o.dir)
		if err != nil {
			closeModels(models)
			return nil, err
		}
		models = append(models, m)
	}
	return models, nil
}

func (o *modelOptions) read() (vision.Profile, error) {
	if filepath.Ext(o.profile) != ".toml" {
		return vision.BuiltIn(o.profile)
	}
	b, err := os.ReadFile(o.profile)
	if err != nil {
		return vision.Profile{}, err
	}
	p, err := vision.ParseProfile(b)
	if err != nil {
		return p, fmt.Errorf("%s: %w", o.profile, err)
	}
	return p, nil
}

func closeModels(models []*vision.Model) {
	for _, m := range models {
		m.Close()
	}
}

// progress shows on a terminal how far slow work is; elsewhere it is silent.
type progress struct {
	mu   sync.Mutex
	w    io.Writer
	what string
	n    int
	of   int
}

func newProgress(w io.Writer, what string, of int) *progress {
	p := &progress{what: what, of: of}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	return p
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if p.w != nil && p.n%20 == 0 {
		fmt.Fprintf(p.w, "\r%d of %d %s", p.n, p.of, p.what)
	}
}

func (p *progress) end() {
	if p.w != nil {
		fmt.Fprintf(p.w, "\r\x1b[K")
	}
}
