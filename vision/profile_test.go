package vision

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestBuiltInProfilesAreSound(t *testing.T) {
	if len(BuiltIns()) < 2 {
		t.Fatalf("built in: %v", BuiltIns())
	}
	for _, name := range BuiltIns() {
		if p := builtIn(t, name); p.Name != name {
			t.Errorf("%s calls itself %s", name, p.Name)
		}
	}
	p := builtIn(t, DefaultProfile)
	if !p.Measured() || len(p.Templates.Points) == 0 {
		t.Error("the default has no threshold tables")
	}
	// A policy of 1e-4 is of what was counted, and a search of what was fitted.
	if m := p.Match(); !(m.Measured > 0 && m.Measured <= 1e-4 && m.Least() < m.Measured) {
		t.Errorf("counted down to %g, the table to %g", m.Measured, m.Least())
	}
	for _, name := range []string{"", "nobody", "../profile", "profiles/faceplugin.toml"} {
		if _, err := BuiltIn(name); !errors.Is(err, ErrProfile) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A profile without a table lets nobody in, however alike.
func TestAnUnmeasuredProfileMatchesNobody(t *testing.T) {
	p := builtIn(t, "opencv-zoo")
	if p.Measured() || p.Table.FMR(1) != 1 {
		t.Errorf("FMR %g at cosine 1", p.Table.FMR(1))
	}
	if _, err := p.Table.Threshold(0.5); !errors.Is(err, ErrProfile) {
		t.Errorf("threshold: %v", err)
	}
}

func TestBrokenProfilesAreRefusedByName(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("profiles", DefaultProfile+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"line 5: unknown key":     {`name = "faceplugin"`, `nane = "faceplugin"`},
		"line 5: expected":        {`name = "faceplugin"`, `name = faceplugin`},
		"name and origin":         {`name = "faceplugin"`, `name = ""`},
		"is no file name":         {`file = "fr_detect.onnx"`, `file = "../fr_detect.onnx"`},
		"bytes":                   {`bytes = 1217758`, `bytes = -1`},
		"sha256":                  {`6c0256`, `6C0256`},
		"input \"\"":              {"input = \"input\"\nsize = [320, 240]", "size = [320, 240]"},
		"of 320x4":                {`size = [320, 240]`, `size = [320, 4]`},
		"is not bgr":              {`order = "bgr"`, `order = "hsv"`},
		"mean":                    {`mean = 127.0`, `mean = nan`},
		"scale":                   {`scale = 0.0078125`, `scale = 0.0`},
		"outputs, not 2":          {`, { name = "boxes", len = 17680 }`, ``},
		"of 0 numbers":            {`len = 8840`, `len = 0`},
		"is neither":              {`decode = "boxes"`, `decode = "ssd"`},
		"score and overlap":       {`score = 0.65`, `score = 1.5`},
		"points.five":             {`[30]`, `[68]`},
		"points.lids":             {`[43, 47]`, `[43, 68]`},
		"lids must name pairs":    {`[43, 47]`, `[43, 43]`},
		"embed.template":          {`[38.295, 51.696]`, `[138.295, 51.696]`},
		"liveness: crop":          {`crop = 2.7`, `crop = 0.5`},
		"crop must be 1 to 8 and": {`live = 0`, `live = 3`},
		"threshold table":         {`source = "`, `#source = "`},
		"templates: vision: a threshold table needs": {"[templates]\nsource = \"", "[templates]\n#source = \""},
		"cosine must rise":                           {`fmr = 1e-06, cosine`, `fmr = 1e-04, cosine`},
		"FMR 0 at":                                   {`fmr = 1e-07, cosine`, `fmr = 0.0, cosine`},
		"measured down to":                           {`measured = 0.0001`, `measured = -0.0001`},
		"where two pictures have":                    {`{ fmr = 0.0001, cosine = 0.4`, `{ fmr = 0.0001, cosine = 0.37 }, # `},
	} {
		broken := strings.Replace(string(b), edit[0], edit[1], 1)
		if broken == string(b) {
			t.Fatalf("%s: %q is not in the profile", name, edit[0])
		}
		_, err := ParseProfile([]byte(broken))
		if !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A profile that was not measured with templates is held to ten times the rates of
// two pictures, never to these.
func TestAProfileWithoutATableOfTemplatesIsStricter(t *testing.T) {
	p := builtIn(t, DefaultProfile)
	measured := p.Match()
	p.Templates = Table{}
	m := p.Match()
	if m.Least() != 10*p.Table.Least() {
		t.Errorf("it reaches %g", m.Least())
	}
	for _, fmr := range []float64{1e-2, 1e-3, 1e-4} {
		c, err := m.Threshold(fmr)
		one, err2 := p.Table.Threshold(fmr)
		with, err3 := measured.Threshold(fmr)
		if err != nil || err2 != nil || err3 != nil || !(c > one) || !(c > with-0.002) {
			t.Errorf("%g at cosine %.3f; two pictures %.3f, templates %.3f", fmr, c, one, with)
		}
	}
	if got := m.FMR(0.005); got != 1 {
		t.Errorf("below what is known: %g", got)
	}
	if p.Table = (Table{}); p.Match().FMR(1) != 1 {
		t.Error("without any table somebody matches")
	}
	p.Templates = measured
	if err := p.check(); !errors.Is(err, ErrProfile) {
		t.Errorf("a table of templates alone: %v", err)
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, name := range BuiltIns() {
		b, err := os.ReadFile(filepath.Join("profiles", name+".toml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("name = \"x\"\n[detect]\nsize = [1, 2, 3]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProfile(b)
		if err != nil {
			if !errors.Is(err, ErrProfile) {
				t.Fatal(err)
			}
			return
		}
		written, err := toml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProfile(written)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v\n%s", err, written)
		}
		if twice, err := toml.Marshal(again); err != nil || !bytes.Equal(twice, written) {
			t.Fatalf("%v\n%s\n%s", err, written, twice)
		}
	})
}

// Templates from before the file was named are of what was shipped under the name.
func TestTemplatesAreMadeByAFile(t *testing.T) {
	shipped, err := BuiltIn(DefaultProfile)
	if err != nil {
		t.Fatal(err)
	}
	swapped, own := shipped, shipped
	swapped.Embed.SHA256 = strings.Repeat("ab", 32)
	own.Name = "own"
	for name, tt := range map[string]struct {
		p     Profile
		model string
		made  bool
	}{
		"its own":                     {shipped, shipped.Model(), true},
		"of the name":                 {shipped, DefaultProfile, true},
		"of another file of the name": {shipped, swapped.Model(), false},
		"of the shipped file":         {swapped, shipped.Model(), false},
		"of the shipped name":         {swapped, DefaultProfile, false},
		"of a name that is not known": {own, "own", false},
		"of nothing":                  {Profile{}, "", false},
	} {
		if got := tt.p.Made(tt.model); got != tt.made {
			t.Errorf("%s: %v", name, got)
		}
	}
}
