package vision

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// Profile is a set of models with all that is needed to use it: which files,
// how each is fed, how its answer is read, and the threshold table. It is
// data: another model set is another TOML file, no code.
type Profile struct {
	Name     string     `toml:"name"`     // part of what every template made by it says
	Origin   string     `toml:"origin"`   // where the files come from, in words
	Licence  string     `toml:"licence"`  // what is known of it
	Detect   Detector   `toml:"detect"`   // faces of a frame
	Points   *Pointer   `toml:"points"`   // points of a face; nil when the detector gives five itself
	Embed    Embedder   `toml:"embed"`    // the comparable vector
	Liveness *Liveliner `toml:"liveness"` // P(live) of one frame; nil = never measured
	Table    Table      `toml:"table"`    // cosine of two pictures to false match rate; without one nobody matches
	// Templates is the same of a picture with a template, which is a mean; see Match.
	Templates Table `toml:"templates,omitempty"`
}

// File is a model file as the profile knows it.
type File struct {
	File   string `toml:"file"`   // name in the models folder
	Bytes  int64  `toml:"bytes"`  // size
	SHA256 string `toml:"sha256"` // in hexadecimal
}

// Input says how pixels become numbers: (pixel-Mean)*Scale in the order of
// channels given, planes one after the other.
type Input struct {
	Input  string     `toml:"input"`  // name in the file
	Size   [2]int     `toml:"size"`   // width, height
	Order  string     `toml:"order"`  // "bgr", "rgb" or "grey"
	Mean   float32    `toml:"mean"`   // subtracted, grey levels
	Scale  float32    `toml:"scale"`  // multiplied after that
	Pad    bool       `toml:"pad"`    // keep the picture's proportions and fill up with black, instead of stretching it
	Output []OutputOf `toml:"output"` // what is read, in the order that the decoder expects
}

// OutputOf names an output of a file and says how many numbers it has.
type OutputOf struct {
	Name string `toml:"name"`
	Len  int    `toml:"len"`
}

// Detector recipe.
type Detector struct {
	File
	Input
	Decode   string  `toml:"decode"`  // "boxes" or "yunet", see detect.go
	Score    float32 `toml:"score"`   // least score of a face
	Overlap  float32 `toml:"overlap"` // boxes of one face overlap at least so much
	TooSmall float32 `toml:"small"`   // least side of a face, pixels of the net's input
}

// Pointer recipe: a net that finds the points of a face in its squared box.
type Pointer struct {
	File
	Input
	Five [5][]int `toml:"five"` // which points are averaged into each of the five
	// Rigid points keep their places on the head, whatever the face does; empty =
	// not known.
	Rigid []int `toml:"rigid"`
	// Outline is how many points, the net's first, lie on the edge of the face,
	// wherever light and pose put it; 0 = none do.
	Outline int `toml:"outline"`
	// Lids are pairs of points across the eyes' openings, the upper lid first;
	// empty = not known.
	Lids [][2]int `toml:"lids"`
	// Again is the side of the crop for a second look at the points of the face
	// that is embedded, over the larger extent of the first look's points, 1 to
	// 2; 0 = no second look.
	Again float32 `toml:"again"`
}

// rigid are the landmarks that keep their places on the head.
func (p *Pointer) rigid(marks []Point) []Point {
	if len(p.Rigid) == 0 {
		return nil
	}
	out := make([]Point, len(p.Rigid))
	for i, k := range p.Rigid {
		out[i] = marks[k]
	}
	return out
}

// open is how far the eyes are open: the mean distance of the lids over that from
// the eyes to the mouth, which a plane keeps however it is tilted, or over that of the
// eyes, where a hand before the mouth moves it down; 0 = not known.
func (p *Pointer) open(marks []Point, five [5]Point) float32 {
	if len(p.Lids) == 0 {
		return 0
	}
	var sum float32
	for _, lid := range p.Lids {
		sum += apartBy(marks[lid[0]], marks[lid[1]])
	}
	down := min(apartBy(between(five[LeftEye], five[RightEye]), between(five[LeftMouth], five[RightMouth])), faceLength*apartBy(five[LeftEye], five[RightEye]))
	if !(down > 0) {
		return 0
	}
	return sum / float32(len(p.Lids)) / down
}

// inner are the landmarks inside the outline.
func (p *Pointer) inner(marks []Point) []Point { return marks[p.Outline:] }

// five averages the landmarks into the five points.
func (p *Pointer) five(marks []Point) (points [5]Point) {
	for i, five := range p.Five {
		for _, k := range five {
			points[i].X += marks[k].X / float32(len(five))
			points[i].Y += marks[k].Y / float32(len(five))
		}
	}
	return points
}

// Embedder recipe: the five points are moved onto the template by a
// similarity transform.
type Embedder struct {
	File
	Input
	Template [5][2]float32 `toml:"template"` // pixels of the input
}

// Liveliner recipe.
type Liveliner struct {
	File
	Input
	Crop float32 `toml:"crop"` // side of the crop over side of the squared box
	Live int     `toml:"live"` // index of the class "live" among the logits
}

//go:embed profiles/*.toml
var profileFS embed.FS

// Model names the network that makes the profile's templates: by its file, since
// another file under the same name makes others, which compare with none of these.
func (p Profile) Model() string {
	return p.Name + "-" + p.Embed.SHA256[:min(modelDigits, len(p.Embed.SHA256))]
}

// modelDigits of the file's SHA-256 tell one from another.
const modelDigits = 16

// Made tells whether a template that says so was made by the profile's network. One
// that says the name alone is from before there were digits, and was made by what
// was shipped under that name.
func (p Profile) Made(model string) bool {
	return model == p.Model() || model == p.Name && p.Embed.SHA256 != "" && p.Embed.SHA256 == shipped()[p.Name]
}

// shipped is the SHA-256 of the network of every built-in profile, by name.
var shipped = sync.OnceValue(func() map[string]string {
	sums := make(map[string]string)
	for _, name := range BuiltIns() {
		if p, err := BuiltIn(name); err == nil {
			sums[p.Name] = p.Embed.SHA256
		}
	}
	return sums
})

// DefaultProfile is the name of the profile that is fetched with the program.
const DefaultProfile = "faceplugin"

// BuiltIn returns a profile that comes with the program.
func BuiltIn(name string) (Profile, error) {
	b, err := profileFS.ReadFile(path.Join("profiles", path.Base(name)+".toml"))
	if err != nil {
		return Profile{}, fmt.Errorf("vision: no profile %q is built in, there are: %s: %w", name, strings.Join(BuiltIns(), ", "), ErrProfile)
	}
	return ParseProfile(b)
}

// BuiltIns names the profiles that come with the program.
func BuiltIns() []string {
	var names []string
	entries, _ := profileFS.ReadDir("profiles")
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return names
}

// ParseProfile reads a profile. Unknown keys, missing numbers and impossible
// recipes are refused with the line or the key.
func ParseProfile(b []byte) (Profile, error) {
	var p Profile
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&p)
	var unknown *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		row, _ := unknown.Errors[0].Position()
		return Profile{}, fmt.Errorf("vision: profile, line %d: unknown key %q: %w", row, strings.Join(unknown.Errors[0].Key(), "."), ErrProfile)
	case errors.As(err, &syntax):
		row, _ := syntax.Position()
		return Profile{}, fmt.Errorf("vision: profile, line %d: %s: %w", row, strings.TrimPrefix(syntax.Error(), "toml: "), ErrProfile)
	case err != nil:
		return Profile{}, fmt.Errorf("vision: profile: %v: %w", err, ErrProfile)
	}
	if err := p.check(); err != nil {
		return Profile{}, err
	}
	return p, nil
}

// Files lists the profile's model files.
func (p Profile) Files() []File {
	f := []File{p.Detect.File}
	if p.Points != nil {
		f = append(f, p.Points.File)
	}
	f = append(f, p.Embed.File)
	if p.Liveness != nil {
		f = append(f, p.Liveness.File)
	}
	return f
}

// Measured tells whether the profile has a threshold table. Without one every
// cosine has the false match rate 1: nobody can be enrolled or recognised, but
// the table can be measured.
func (p Profile) Measured() bool { return p.Table.Source != "" || len(p.Table.Points) > 0 }

// Match is the table for the score of a probe with a template. The noise of single
// pictures cancels out in a template, and what it has in common with strangers does
// not: the table of two pictures would be too lax. A profile that was not measured
// with templates has ten times the rates of two pictures.
func (p Profile) Match() Table {
	if len(p.Templates.Points) > 0 {
		return p.Templates
	}
	return p.Table.laxer(templateLax)
}

// MatchEnd says in words where the table of Match ends, and why there.
func (p Profile) MatchEnd() string {
	oneIn := func(t Table) string { return fmt.Sprintf("1 in %.0f", 1/t.Least()) }
	switch m := p.Match(); {
	case len(p.Templates.Points) > 0:
		return "its [templates] end at " + oneIn(m)
	case len(p.Table.Points) == 0:
		return "it has no [table]"
	case len(m.Points) == 0:
		return fmt.Sprintf("its [table] ends at %s, and without [templates] each rate counts %d times, which leaves none", oneIn(p.Table), templateLax)
	default:
		return fmt.Sprintf("its [table] ends at %s, and without [templates] each rate counts %d times, so at %s", oneIn(p.Table), templateLax, oneIn(m))
	}
}

func (p Profile) check() error {
	fail := func(format string, a ...any) error {
		return fmt.Errorf("vision: profile %q: %s: %w", p.Name, fmt.Sprintf(format, a...), ErrProfile)
	}
	if p.Name == "" || p.Origin == "" {
		return fail("name and origin are needed")
	}
	for _, f := range p.Files() {
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case f.File == "" || path.Base(f.File) != f.File || strings.ContainsAny(f.File, `/\`):
			return fail("%q is no file name", f.File)
		case f.Bytes <= 0 || f.Bytes > 1<<30:
			return fail("%s: %d bytes", f.File, f.Bytes)
		case err != nil || len(sum) != 32 || strings.ToLower(f.SHA256) != f.SHA256:
			return fail("%s: sha256 is not 64 small hexadecimal digits", f.File)
		}
	}
	inputs := []Input{p.Detect.Input, p.Embed.Input}
	outputs := []int{1, 1}
	switch p.Detect.Decode {
	case decodeBoxes:
		outputs[0] = 2
	case decodeYuNet:
		outputs[0] = 12
	default:
		return fail("detect.decode %q is neither %q nor %q", p.Detect.Decode, decodeBoxes, decodeYuNet)
	}
	if p.Detect.Decode == decodeBoxes && p.Points == nil {
		return fail("the detector gives no points and there is no points net")
	}
	if p.Detect.Decode == decodeYuNet && p.Points != nil {
		return fail("the detector gives the points itself, the points net is not used")
	}
	if d := p.Detect; !(d.Score > 0 && d.Score < 1) || !(d.Overlap > 0 && d.Overlap < 1) || !(d.TooSmall >= 0) {
		return fail("detect: score and overlap must lie between 0 and 1, small must not be negative")
	}
	if p.Points != nil {
		inputs, outputs = append(inputs, p.Points.Input), append(outputs, 1)
		if a := p.Points.Again; a != 0 && !(a >= 1 && a <= 2) {
			return fail("points.again: %g is neither 0 nor 1 to 2", a)
		}
		if n := len(p.Points.Rigid); n > 0 && (n < 4 || n > 64 || len(p.Points.Output) == 0 || slices.Min(p.Points.Rigid) < 0 || 2*slices.Max(p.Points.Rigid)+1 >= p.Points.Output[0].Len) {
			return fail("points.rigid must name 4 to 64 points that the net has")
		}
		if n := p.Points.Outline; n < 0 || n > 0 && (len(p.Points.Output) == 0 || 2*n >= p.Points.Output[0].Len) {
			return fail("points.outline must be fewer points than the net has")
		}
		if len(p.Points.Lids) > 32 {
			return fail("points.lids names %d pairs, more than 32", len(p.Points.Lids))
		}
		for _, lid := range p.Points.Lids {
			if len(p.Points.Output) == 0 || min(lid[0], lid[1]) < 0 || 2*max(lid[0], lid[1])+1 >= p.Points.Output[0].Len || lid[0] == lid[1] {
				return fail("points.lids must name pairs of points that the net has")
			}
		}
		for _, five := range p.Points.Five {
			if len(five) == 0 || len(p.Points.Output) == 0 || slices.Min(five) < 0 || 2*slices.Max(five)+1 >= p.Points.Output[0].Len {
				return fail("points.five must name points that the net has")
			}
		}
	}
	if p.Liveness != nil {
		inputs, outputs = append(inputs, p.Liveness.Input), append(outputs, 1)
		if l := p.Liveness; !(l.Crop >= 1 && l.Crop <= 8) || l.Live < 0 || len(l.Output) == 0 || l.Live >= l.Output[0].Len {
			return fail("liveness: crop must be 1 to 8 and live one of the classes")
		}
	}
	if d := p.Detect; d.Decode == decodeYuNet && len(d.Output) == 12 {
		for i, n := range yunetLens(d.Size[0], d.Size[1]) {
			if d.Output[i].Len != n || d.Size[0]%32 != 0 || d.Size[1]%32 != 0 {
				return fail("detect: output %q of %d numbers, YuNet gives %d for an input of %dx%d", d.Output[i].Name, d.Output[i].Len, n, d.Size[0], d.Size[1])
			}
		}
	}
	for i, in := range inputs {
		switch {
		case in.Input == "" || in.Size[0] < 8 || in.Size[1] < 8 || in.Size[0] > 2048 || in.Size[1] > 2048:
			return fail("input %q of %dx%d", in.Input, in.Size[0], in.Size[1])
		case in.Order != orderBGR && in.Order != orderRGB && in.Order != orderGrey:
			return fail("order %q is not bgr, rgb or grey", in.Order)
		case !(in.Scale > 0) || !(in.Mean >= 0 && in.Mean <= 255) || math.IsInf(float64(in.Scale), 0):
			return fail("input %q: mean %g, scale %g", in.Input, in.Mean, in.Scale)
		case len(in.Output) != outputs[i]:
			return fail("input %q: %d outputs, not %d", in.Input, len(in.Output), outputs[i])
		}
		for _, o := range in.Output {
			if o.Name == "" || o.Len <= 0 || o.Len > 1<<24 {
				return fail("output %q of %d numbers", o.Name, o.Len)
			}
		}
	}
	for _, t := range p.Embed.Template {
		if !(t[0] >= 0 && t[0] < float32(p.Embed.Size[0]) && t[1] >= 0 && t[1] < float32(p.Embed.Size[1])) {
			return fail("embed.template: %v is outside the input", t)
		}
	}
	if n := p.Embed.Output[0].Len; n > maxDim {
		return fail("embed: %d numbers are more than %d", n, maxDim)
	}
	if p.Embed.Order == orderGrey || p.Embed.Pad {
		return fail("embed: the aligned face is in colour and fills the input")
	}
	if p.Measured() {
		if err := p.Table.check(); err != nil {
			return fail("%v", err)
		}
	}
	return p.checkTemplates()
}

func (p Profile) checkTemplates() error {
	fail := func(err error) error { return fmt.Errorf("vision: profile %q: templates: %w", p.Name, err) }
	t := p.Templates
	if t.Source == "" && len(t.Points) == 0 && t.Measured == 0 {
		return nil
	}
	if err := t.check(); err != nil {
		return fail(err)
	}
	if !p.Measured() {
		return fail(fmt.Errorf("a table of templates stands beside one of two pictures, and there is none: %w", ErrProfile))
	}
	for _, o := range p.Table.Points {
		if o.FMR <= templateFrom && t.FMR(o.Cosine) < o.FMR {
			return fail(fmt.Errorf("FMR %.2g at cosine %g, where two pictures have %g: %w", t.FMR(o.Cosine), o.Cosine, o.FMR, ErrProfile))
		}
	}
	return nil
}
