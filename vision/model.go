package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Model is a profile's networks, loaded, with the buffers to feed them. Its
// methods may be called from several goroutines, which take turns.
type Model struct {
	profile Profile
	engine  string

	mu     sync.Mutex
	detect stage
	points stage
	embed  stage
	live   stage
	target [5]Point // of the alignment
	times  Times
}

// Times is how long the last frame's stages took, with the preparation of
// each network's input. Landmark is the sum over the faces of the frame.
type Times struct{ Detect, Landmark, Embed, Liveness time.Duration }

// stage is one network with the buffer that feeds it.
type stage struct {
	feed *feeder
	net  Net
	file string
}

// OpenModel checks the profile's files in dir and loads them into the engine.
// A file that is missing, of another size, another sha256, or whose inputs
// and outputs are not those of the recipe is refused before the engine sees
// it.
func OpenModel(engine Engine, p Profile, dir string) (*Model, error) {
	if engine == nil {
		return nil, fmt.Errorf("vision: %w", ErrNoEngine)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	m := &Model{profile: p, engine: engine.Name()}
	for i, t := range p.Embed.Template {
		m.target[i] = Point{t[0], t[1]}
	}
	open := func(s *stage, f File, in Input) error {
		s.file, s.feed = f.File, newFeeder(in)
		onnx, err := readModel(dir, f)
		if err != nil {
			return err
		}
		spec := s.feed.spec(f)
		if err := fits(onnx, &spec); err != nil {
			return err
		}
		if s.net, err = engine.Load(spec, onnx); err != nil {
			return fmt.Errorf("vision: %s does not load %s: %w", engine.Name(), f.File, err)
		}
		return s.feed.into(s.net.Input())
	}
	err := open(&m.detect, p.Detect.File, p.Detect.Input)
	if err == nil && p.Points != nil {
		err = open(&m.points, p.Points.File, p.Points.Input)
	}
	if err == nil {
		err = open(&m.embed, p.Embed.File, p.Embed.Input)
	}
	if err == nil && p.Liveness != nil {
		err = open(&m.live, p.Liveness.File, p.Liveness.Input)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// readModel reads a model file that is byte for byte the one the profile
// names.
func readModel(dir string, f File) ([]byte, error) {
	name := filepath.Join(dir, f.File)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("vision: %s is missing: %w", name, ErrModel)
	case err != nil:
		return nil, fmt.Errorf("vision: %v: %w", err, ErrModel)
	case info.Size() != f.Bytes:
		return nil, fmt.Errorf("vision: %s has %d bytes, not %d: it is another file, or cut off: %w", name, info.Size(), f.Bytes, ErrModel)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("vision: %v: %w", err, ErrModel)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, fmt.Errorf("vision: %s has sha256 %x, not %s: it is another file: %w", name, sum, f.SHA256, ErrModel)
	}
	return b, nil
}

// spec of the network that the feeder feeds.
func (f *feeder) spec(file File) NetSpec {
	s := NetSpec{Name: file.File, Input: f.Input.Input, Shape: [4]int{1, f.channels(), f.Size[1], f.Size[0]}}
	for _, o := range f.Output {
		s.Outputs = append(s.Outputs, Output{Name: o.Name, Len: o.Len})
	}
	return s
}

// fits compares what the file says of itself with the recipe, and notes the
// shapes of the outputs. An open dimension of the file fits any.
func fits(onnx []byte, s *NetSpec) error {
	inputs, outputs, err := signature(onnx)
	if err != nil {
		return fmt.Errorf("vision: %s: %w", s.Name, err)
	}
	if len(inputs) != 1 || inputs[0].name != s.Input {
		return fmt.Errorf("vision: %s takes inputs %v, the profile feeds %q: %w", s.Name, inputs, s.Input, ErrModel)
	}
	same := len(inputs[0].dims) == 4
	for i, d := range inputs[0].dims {
		same = same && (d == -1 || d == int64(s.Shape[i]))
	}
	if !same {
		return fmt.Errorf("vision: %s takes %v, the profile feeds %v: %w", s.Name, inputs[0].dims, s.Shape, ErrModel)
	}
	for k, o := range s.Outputs {
		i := slices.IndexFunc(outputs, func(t tensor) bool { return t.name == o.Name })
		if i < 0 {
			return fmt.Errorf("vision: %s has no output %q: %w", s.Name, o.Name, ErrModel)
		}
		n := int64(1)
		shape := make([]int64, 0, len(outputs[i].dims))
		for _, d := range outputs[i].dims {
			if d == -1 {
				d = 1
			}
			if n *= d; n > 1<<24 {
				break
			}
			shape = append(shape, d)
		}
		if n != int64(o.Len) {
			return fmt.Errorf("vision: %s, output %q is %v, the profile reads %d numbers: %w", s.Name, o.Name, outputs[i].dims, o.Len, ErrModel)
		}
		s.Outputs[k].Shape = shape
	}
	return nil
}

// Profile that the model was opened with.
func (m *Model) Profile() Profile { return m.profile }

// Engine is the name of the engine that runs the networks.
func (m *Model) Engine() string { return m.engine }

// Times of the last Detect and Describe.
func (m *Model) Times() Times {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.times
}

// Close frees the networks and overwrites the buffers.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, s := range []*stage{&m.detect, &m.points, &m.embed, &m.live} {
		if s.net == nil {
			continue
		}
		s.wipe()
		s.feed.out = nil // it goes with the network
		errs = append(errs, s.net.Close())
		s.net = nil
	}
	return errors.Join(errs...)
}

// open tells an error when the model is closed.
func (m *Model) open() error {
	if m.detect.net == nil {
		return fmt.Errorf("vision: the model is closed: %w", ErrModel)
	}
	return nil
}

// run forwards what the feeder holds. An answer of the wrong size, or whose
// sum is no number, is an error: a network that answers NaN once must not
// become a score.
func (s *stage) run() ([][]float32, error) {
	out, err := s.net.Forward()
	if err != nil {
		return nil, fmt.Errorf("vision: %s: %w", s.file, err)
	}
	if len(out) != len(s.feed.Output) {
		return nil, fmt.Errorf("vision: %s gave %d outputs, not %d: %w", s.file, len(out), len(s.feed.Output), ErrModel)
	}
	for i, o := range s.feed.Output {
		if len(out[i]) != o.Len {
			return nil, fmt.Errorf("vision: %s, output %q has %d numbers, not %d: %w", s.file, o.Name, len(out[i]), o.Len, ErrModel)
		}
		if !allFinite(out[i]) {
			return nil, fmt.Errorf("vision: %s, output %q is not a number: %w", s.file, o.Name, ErrModel)
		}
	}
	return out, nil
}

// allFinite looks at four numbers at a time: the detector gives 26,520 of them.
func allFinite(v []float32) bool {
	var s0, s1, s2, s3 float32 // 0, or NaN for NaN and infinities
	for ; len(v) >= 4; v = v[4:] {
		s0 += v[0] - v[0]
		s1 += v[1] - v[1]
		s2 += v[2] - v[2]
		s3 += v[3] - v[3]
	}
	for _, x := range v {
		s0 += x - x
	}
	return s0+s1+s2+s3 == 0
}

// wipe overwrites what a run leaves of a face: the picture that went in, and what
// came out.
func (s *stage) wipe() {
	s.feed.wipe()
	s.net.Wipe()
}

// Detect finds the faces of a frame: boxes, points, quality; the largest and
// most central first. No face is an empty list, not an error.
func (m *Model) Detect(f *Frame) ([]Face, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return nil, err
	}
	start := time.Now()
	p := f.picture()
	defer m.detect.wipe()
	w, h := m.detect.feed.resize(p)
	out, err := m.detect.run()
	if err != nil {
		return nil, err
	}
	d := &m.profile.Detect
	x, y := float32(f.Width)/float32(w), float32(f.Height)/float32(h)
	found := sift(d.decode(out, x, y), d.Overlap, d.TooSmall*min(x, y))
	m.times = Times{Detect: time.Since(start)}
	faces := make([]Face, 0, len(found))
	start = time.Now()
	for _, c := range found {
		face, ok, err := m.point(p, c)
		if err != nil {
			return nil, err
		}
		if ok {
			faces = append(faces, face)
		}
	}
	m.times.Landmark = time.Since(start)
	rank(faces, f)
	return faces, nil
}

// point finds the points of a candidate; ok is false when too little of it is
// in the frame.
func (m *Model) point(p picture, c candidate) (face Face, ok bool, err error) {
	face = Face{Box: c.box.squared(), Score: c.score, Live: NotMeasured}
	if c.points != nil {
		face.Points = *c.points
	} else {
		face.Landmarks, ok, err = m.landmarks(p, face.Box)
		if err != nil || !ok {
			return Face{}, false, err
		}
		face.Points, face.Rigid, face.Inner = m.profile.Points.five(face.Landmarks), m.profile.Points.rigid(face.Landmarks), m.profile.Points.inner(face.Landmarks)
	}
	face.Quality = m.quality(p, &face)
	return face, true, nil
}

// landmarks are the points that the net finds in the box, in the frame's
// pixels; ok is false when too little of the box is in the frame.
func (m *Model) landmarks(p picture, b Box) (marks []Point, ok bool, err error) {
	x0, y0, x1, y1, ok := b.clamped(p.w, p.h)
	if !ok {
		return nil, false, nil
	}
	defer m.points.wipe()
	m.points.feed.resize(p.crop(x0, y0, x1, y1))
	out, err := m.points.run()
	if err != nil {
		return nil, false, err
	}
	marks = make([]Point, len(out[0])/2)
	for i := range marks {
		marks[i] = Point{float32(x0) + out[0][2*i]*float32(x1-x0), float32(y0) + out[0][2*i+1]*float32(y1-y0)}
	}
	return marks, true, nil
}

// refine looks at the points once more, in a crop that is centred on them and
// not on the detector's box, which differs from the eye to the chin.
func (m *Model) refine(p picture, face *Face) error {
	if m.profile.Points == nil || m.profile.Points.Again == 0 || len(face.Landmarks) == 0 {
		return nil
	}
	marks, ok, err := m.landmarks(p, around(face.Landmarks, m.profile.Points.Again))
	if err != nil || !ok {
		return err
	}
	face.Landmarks, face.Points, face.Rigid, face.Inner = marks, m.profile.Points.five(marks), m.profile.Points.rigid(marks), m.profile.Points.inner(marks)
	face.Quality.Open = m.profile.Points.open(marks, face.Points)
	return nil
}

// around is the square about the points' middle whose side is k times the
// larger of their extents.
func around(marks []Point, k float32) Box {
	b := Box{marks[0].X, marks[0].Y, marks[0].X, marks[0].Y}
	for _, m := range marks {
		b = Box{min(b.X0, m.X), min(b.Y0, m.Y), max(b.X1, m.X), max(b.Y1, m.Y)}
	}
	c, r := b.Center(), max(b.Width(), b.Height())/2*k
	return Box{c.X - r, c.Y - r, c.X + r, c.Y + r}
}

// Describe fills the Embedding and Live of a face that Detect found in f, and
// refines its points.
func (m *Model) Describe(f *Frame, face *Face) error {
	if err := f.Check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(); err != nil {
		return err
	}
	start := time.Now()
	if err := m.refine(f.picture(), face); err != nil {
		return err
	}
	m.times.Landmark += time.Since(start)
	start = time.Now()
	e, err := m.embedding(f.picture(), face.Points)
	if err != nil {
		return err
	}
	m.times.Embed = time.Since(start)
	start = time.Now()
	live, err := m.liveness(f.picture(), face.Box)
	if err != nil {
		return err
	}
	m.times.Liveness = time.Since(start)
	face.Embedding, face.Live = e, live
	return nil
}

func (m *Model) embedding(p picture, points [5]Point) (Embedding, error) {
	// The error is to be least where the net sees it, so the points are moved
	// onto the template and the warp goes back.
	s, ok := fit(points, m.target)
	if !ok {
		return nil, fmt.Errorf("vision: the face's points coincide: %w", ErrFrame)
	}
	defer m.embed.wipe()
	m.embed.feed.warp(p, s.inverse())
	out, err := m.embed.run()
	if err != nil {
		return nil, err
	}
	return Normalise(out[0])
}

func (m *Model) liveness(p picture, box Box) (float32, error) {
	l := m.profile.Liveness
	if l == nil {
		return NotMeasured, nil
	}
	x0, y0, x1, y1, ok := box.shifted(l.Crop, p.w, p.h).clamped(p.w, p.h)
	if !ok {
		return NotMeasured, nil
	}
	defer m.live.wipe()
	m.live.feed.resize(p.crop(x0, y0, x1, y1))
	out, err := m.live.run()
	if err != nil {
		return NotMeasured, err
	}
	return softmax(out[0], l.Live), nil
}

// softmax is the probability of class k.
func softmax(logits []float32, k int) float32 {
	top := slices.Max(logits)
	var sum float64
	for _, x := range logits {
		sum += math.Exp(float64(x - top))
	}
	return float32(math.Exp(float64(logits[k]-top)) / sum)
}
