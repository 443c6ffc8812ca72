package vision

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// grey is a frame without anything in it.
func grey(w, h int) *Frame {
	f := &Frame{Pix: make([]byte, 3*w*h), Width: w, Height: h}
	for i := range f.Pix {
		f.Pix[i] = 128
	}
	return f
}

func openFake(t testing.TB, profile string) (*Model, Profile, *fakeEngine) {
	t.Helper()
	p := builtIn(t, profile)
	dir, e := fakeModels(t, &p)
	if profile == DefaultProfile {
		e.fakeFace(p)
	}
	m, err := OpenModel(e, p, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, p, e
}

// How far eyes are open is of a second look at the points: a first one, in the
// detector's box, says up to a tenth less, which is half of a blink.
func TestEyesAreMeasuredAtASecondLook(t *testing.T) {
	m, p, e := openFake(t, DefaultProfile)
	look := e.answer[p.Points.File.File]
	e.answer[p.Points.File.File] = func(in []float32) [][]float32 {
		out := look(in)
		for _, lid := range p.Points.Lids {
			out[0][2*lid[0]+1] -= 0.02
			out[0][2*lid[1]+1] += 0.02
		}
		return out
	}
	f := grey(640, 480)
	faces, err := m.Detect(f)
	if err != nil || len(faces) != 1 || faces[0].Quality.Open != 0 {
		t.Fatalf("%d faces, %v: open %g at the first look", len(faces), err, faces[0].Quality.Open)
	}
	tracked := faces[0]
	if err := m.Describe(f, &faces[0]); err != nil || !(faces[0].Quality.Open > 0.05) {
		t.Errorf("described: open %g, %v", faces[0].Quality.Open, err)
	}
	if ok, err := m.Track(f, &tracked); err != nil || ok && !(tracked.Quality.Open > 0.05) {
		t.Errorf("tracked: %v, open %g, %v", ok, tracked.Quality.Open, err)
	}
}

func TestAFaceIsFoundAndDescribed(t *testing.T) {
	m, _, _ := openFake(t, DefaultProfile)
	f := grey(640, 480)
	faces, err := m.Detect(f)
	if err != nil || len(faces) != 1 {
		t.Fatalf("%d faces, %v", len(faces), err)
	}
	face := faces[0]
	// The net's box is 0.3 to 0.7 by 0.2 to 0.8 of the frame, 256x288 pixels.
	if want := (Box{176, 96, 464, 384}); face.Box != want || face.Score != 0.9 || len(face.Landmarks) != 68 {
		t.Errorf("%+v, want the box %v", face, want)
	}
	if want := (Point{176 + 0.3*288, 96 + 0.35*288}); math.Hypot(float64(face.Points[LeftEye].X-want.X), float64(face.Points[LeftEye].Y-want.Y)) > 0.01 {
		t.Errorf("left eye at %v, want %v", face.Points[LeftEye], want)
	}
	if face.Embedding != nil || !math.IsNaN(float64(face.Live)) {
		t.Errorf("before Describe: %v, live %g", face.Embedding, face.Live)
	}
	if err := m.Describe(f, &face); err != nil {
		t.Fatal(err)
	}
	if face.Embedding[3] != 1 || len(face.Embedding) != 512 || math.Abs(float64(face.Live)-0.787) > 1e-3 {
		t.Errorf("embedding %v, live %g", face.Embedding[:5], face.Live)
	}
}

func TestNoFaceIsNoError(t *testing.T) {
	for _, profile := range BuiltIns() {
		m, p, e := openFake(t, profile)
		if profile == DefaultProfile {
			e.answer[p.Detect.File.File] = func([]float32) [][]float32 { return [][]float32{make([]float32, 8840), make([]float32, 17680)} }
		}
		if faces, err := m.Detect(grey(64, 48)); err != nil || faces == nil || len(faces) != 0 {
			t.Errorf("%s: %v, %v", profile, faces, err)
		}
	}
}

// A network that answers what is no number, too little or too much is a fault,
// and never a face.
func TestNonsenseOfANetworkIsAnError(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, which := range []string{"fr_detect.onnx", "fr_landmark.onnx", "fr_feature.onnx", "fr_liveness.onnx"} {
		for name, spoil := range map[string]func([][]float32) [][]float32{
			"not a number":  func(o [][]float32) [][]float32 { o[0][0] = nan; return o },
			"infinite":      func(o [][]float32) [][]float32 { o[0][len(o[0])-1] = inf; return o },
			"both infinite": func(o [][]float32) [][]float32 { o[0][0], o[0][1] = inf, -inf; return o },
			"too short":     func(o [][]float32) [][]float32 { o[0] = o[0][1:]; return o },
			"too long":      func(o [][]float32) [][]float32 { o[0] = append(o[0], 0); return o },
			"nothing":       func([][]float32) [][]float32 { return nil },
			"one more":      func(o [][]float32) [][]float32 { return append(o, nil) },
		} {
			m, _, e := openFake(t, DefaultProfile)
			good := e.answer[which]
			e.answer[which] = func(in []float32) [][]float32 { return spoil(good(in)) }
			faces, err := m.Detect(grey(640, 480))
			if err == nil {
				err = m.Describe(grey(640, 480), &faces[0])
				if faces[0].Embedding != nil || !math.IsNaN(float64(faces[0].Live)) {
					t.Errorf("%s, %s: half a description is left: %+v", which, name, faces[0])
				}
			}
			if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), which) {
				t.Errorf("%s, %s: %v", which, name, err)
			}
		}
	}
}

func TestAFaceWithoutDirectionIsNoEmbedding(t *testing.T) {
	m, p, e := openFake(t, DefaultProfile)
	e.answer[p.Embed.File.File] = func([]float32) [][]float32 { return [][]float32{make([]float32, 512)} }
	faces, err := m.Detect(grey(640, 480))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Describe(grey(640, 480), &faces[0]); !errors.Is(err, ErrEmbedding) || faces[0].Embedding != nil {
		t.Errorf("%v, %v", faces[0].Embedding, err)
	}
	faces[0].Points, faces[0].Landmarks = [5]Point{}, nil // a face of which nothing is known
	if err := m.Describe(grey(640, 480), &faces[0]); !errors.Is(err, ErrFrame) {
		t.Errorf("%v", err)
	}
}

// After every call nothing of the picture and of what the networks said of it is
// left in their buffers, also where a network answers nonsense: nobody knows when
// the next picture comes.
func TestALookLeavesNothingInTheBuffers(t *testing.T) {
	for _, nonsense := range []bool{false, true} {
		m, p, e := openFake(t, DefaultProfile)
		f := grey(650, 490) // of no whole multiple of the inputs
		faces, err := m.Detect(f)
		if err != nil || len(faces) != 1 {
			t.Fatalf("%d faces, %v", len(faces), err)
		}
		if nonsense {
			good := e.answer[p.Liveness.File.File]
			e.answer[p.Liveness.File.File] = func(in []float32) [][]float32 {
				return [][]float32{append(good(in)[0][:2:2], float32(math.Inf(1)))}
			}
		}
		if err := m.Describe(f, &faces[0]); (err != nil) != nonsense {
			t.Fatal(err)
		}
		if !nonsense && zeros(faces[0].Embedding) {
			t.Fatal("the embedding that was asked for is gone as well")
		}
		if len(e.nets) != 4 {
			t.Fatalf("%d networks", len(e.nets))
		}
		for _, n := range e.nets {
			if !n.fed || !zeros(n.input) {
				t.Errorf("%s: saw a picture: %v; its input is left", n.spec.Name, n.fed)
			}
			for i, o := range n.out {
				if !zeros(o) {
					t.Errorf("%s: output %d is left", n.spec.Name, i)
				}
			}
		}
		for _, s := range []*stage{&m.detect, &m.points, &m.embed, &m.live} {
			b := s.feed
			if !zeros(b.small[:cap(b.small)]) || !zeros(b.sums[:cap(b.sums)]) || !zeros(b.rows[0]) || !zeros(b.rows[1]) {
				t.Errorf("%s: a reduced picture is left", s.file)
			}
		}
	}
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	m, _, _ := openFake(t, DefaultProfile)
	for name, f := range map[string]*Frame{
		"none": nil, "empty": {}, "1x1": {Pix: make([]byte, 3), Width: 1, Height: 1},
		"too few bytes": {Pix: make([]byte, 100), Width: 64, Height: 64},
		"20,000 wide":   {Pix: make([]byte, 3*20000*16), Width: 20000, Height: 16},
		"negative":      {Width: -64, Height: -64, Pix: make([]byte, 3*64*64)},
	} {
		if _, err := m.Detect(f); !errors.Is(err, ErrFrame) {
			t.Errorf("detect, %s: %v", name, err)
		}
		if err := m.Describe(f, &Face{}); !errors.Is(err, ErrFrame) {
			t.Errorf("describe, %s: %v", name, err)
		}
	}
}

func TestFilesThatAreNotTheProfilesAreNeverLoaded(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "fr_feature.onnx")) },
		"bytes":   func(dir string) error { return os.Truncate(filepath.Join(dir, "fr_feature.onnx"), 10) },
		"sha256": func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "fr_feature.onnx"))
			if err != nil {
				return err
			}
			b[len(b)-1] ^= 1
			return os.WriteFile(filepath.Join(dir, "fr_feature.onnx"), b, 0o600)
		},
		"has ": func(dir string) error { // another of the set
			return os.Rename(filepath.Join(dir, "fr_liveness.onnx"), filepath.Join(dir, "fr_feature.onnx"))
		},
	} {
		p := builtIn(t, DefaultProfile)
		dir, e := fakeModels(t, &p)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		m, err := OpenModel(e, p, dir)
		if m != nil || !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "fr_feature.onnx") {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		if e.closed != len(e.loaded) {
			t.Errorf("%s: %d of %d networks were closed", name, e.closed, len(e.loaded))
		}
	}
}

// A file may have the right checksum in a profile that describes it wrongly.
func TestAProfileThatDoesNotFitItsFileIsRefused(t *testing.T) {
	for name, edit := range map[string]func(*Profile){
		"takes inputs":    func(p *Profile) { p.Embed.Input.Input = "data" },
		"takes [":         func(p *Profile) { p.Points.Order = orderRGB },
		"has no output":   func(p *Profile) { p.Embed.Output = []OutputOf{{"features", 512}} },
		"the profile rea": func(p *Profile) { p.Embed.Output = []OutputOf{{"output", 128}} },
	} {
		p := builtIn(t, DefaultProfile)
		dir, e := fakeModels(t, &p)
		edit(&p)
		if m, err := OpenModel(e, p, dir); m != nil || !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	p := builtIn(t, DefaultProfile)
	dir, e := fakeModels(t, &p)
	e.extra = 1
	if m, err := OpenModel(e, p, dir); m != nil || !errors.Is(err, ErrModel) {
		t.Errorf("an input of the wrong size: %v, %v", m, err)
	}
	if m, err := OpenModel(nil, builtIn(t, DefaultProfile), t.TempDir()); m != nil || !errors.Is(err, ErrNoEngine) {
		t.Errorf("no engine: %v, %v", m, err)
	}
}

func TestAClosedModelAnswersNothing(t *testing.T) {
	m, _, e := openFake(t, DefaultProfile)
	input := m.embed.feed.out
	input[7] = 1
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if e.closed != 4 {
		t.Errorf("%d networks closed, want 4", e.closed)
	}
	if _, err := m.Detect(grey(64, 64)); !errors.Is(err, ErrModel) {
		t.Error(err)
	}
	for _, x := range input {
		if x != 0 {
			t.Fatal("a face is left in memory")
		}
	}
}

func TestOneNumberThatIsNoneIsFound(t *testing.T) {
	for n := range 13 {
		v := make([]float32, n)
		for i := range v {
			v[i] = math.MaxFloat32
		}
		if !allFinite(v) {
			t.Errorf("%d numbers are refused", n)
		}
		for i := range v {
			for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				v[i] = float32(x)
				if allFinite(v) {
					t.Errorf("%g at %d of %d is taken", x, i, n)
				}
			}
			v[i] = 1
		}
	}
}
