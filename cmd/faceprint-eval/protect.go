package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/faceprint/faceprint/store/isometry"
	"github.com/faceprint/faceprint/vision"
)

// protectedReport is what --protect adds: the same comparisons with every
// reference turned by a key of its own, as the vault keeps it, and how well two
// turned templates of one face can be linked.
type protectedReport struct {
	Accuracy float64 `json:"accuracy"`
	EER      float64 `json:"eer"`
	TAR3     float64 `json:"tar_far_1e3"`
	TAR4     float64 `json:"tar_far_1e4"`
	TAR5     float64 `json:"tar_far_1e5"`
	Change   float64 `json:"score_change"` // the largest, of the pairs of the file
	Links    []link  `json:"links"`
	DSys     float64 `json:"d_sys"` // the largest of what is shipped
	Chance   float64 `json:"d_sys_chance"`
}

// link is one attempt to link templates.
type link struct {
	Transform string  `json:"transform"` // what the templates were protected by
	Mated     string  `json:"mated"`     // which two templates of one face
	Linkage   string  `json:"linkage"`   // how they are compared
	DSys      float64 `json:"d_sys"`
	Chance    float64 `json:"chance"` // the same of scores that are of nobody, which is above 0 for want of more scores
}

func (r *protectedReport) print(w io.Writer) {
	fmt.Fprintf(w, "  protected: accuracy %.2f %%, EER %.2f %%, TAR %.2f / %.2f / %.2f %%; the scores of pairs change by %.1e at most\n",
		r.Accuracy, r.EER, r.TAR3, r.TAR4, r.TAR5, r.Change)
	fmt.Fprintf(w, "  unlinkability: D_sys %.3f, of which %.3f is chance (0 = cannot be linked, 1 = always)\n", r.DSys, r.Chance)
	for _, l := range r.Links {
		fmt.Fprintf(w, "    %-22s %-12s %-24s %.3f  chance %.3f\n", l.Transform, l.Mated, l.Linkage, l.DSys, l.Chance)
	}
}

// protected is a portrait as a vault keeps it.
type protected struct {
	turned vision.Embedding
	by     *isometry.Isometry
}

// protect turns every portrait by a key of its own.
func (l *pairList) protect() ([]protected, error) {
	all := make([]protected, len(l.portraits))
	for i, p := range l.portraits {
		if p.embedding == nil {
			continue
		}
		m, v, err := turnedBy(p.embedding, uint64(i))
		if err != nil {
			return nil, err
		}
		all[i] = protected{v, m}
	}
	return all, nil
}

func turnedBy(e vision.Embedding, key uint64) (*isometry.Isometry, vision.Embedding, error) {
	seed := make([]byte, isometry.KeySize)
	binary.LittleEndian.PutUint64(seed, key)
	m, err := isometry.New(seed, "", len(e))
	if err != nil {
		return nil, nil, err
	}
	v, err := m.Turn(e)
	return m, v, err
}

// evaluateProtected repeats the run on protected references.
func evaluateProtected(l *pairList) (*protectedReport, error) {
	kept, err := l.protect()
	if err != nil {
		return nil, err
	}
	plain, r := l.like, &protectedReport{}
	l.like = func(a, b int) float32 {
		if kept[a].by == nil || l.portraits[b].embedding == nil {
			return noMatch
		}
		probe, err := kept[a].by.Turn(l.portraits[b].embedding)
		if err != nil {
			return noMatch
		}
		return similarity(kept[a].turned, probe)
	}
	defer func() { l.like = plain }()
	for _, p := range l.pairs {
		r.Change = max(r.Change, math.Abs(float64(l.like(p.a, p.b)-plain(p.a, p.b))))
	}
	f := l.compareAll().figures(nil)
	r.Accuracy, _ = l.accuracy(nil)
	r.EER, r.TAR3, r.TAR4, r.TAR5 = f.eer, f.tar[0], f.tar[1], f.tar[2]
	var faces []vision.Embedding
	var names []int
	for _, p := range l.portraits {
		if p.embedding != nil {
			faces, names = append(faces, p.embedding), append(names, p.name)
		}
	}
	r.Links, err = unlinkability(faces, names)
	for _, l := range r.Links {
		if l.Transform == shipped && l.DSys-l.Chance >= r.DSys-r.Chance {
			r.DSys, r.Chance = l.DSys, l.Chance
		}
	}
	return r, err
}

const shipped = "isometry"

// What templates are protected by, seeded. The two that are not shipped show
// that the linkages work.
var transforms = []struct {
	name string
	do   func(e vision.Embedding, key uint64) (vision.Embedding, error)
}{
	{"none", func(e vision.Embedding, _ uint64) (vision.Embedding, error) { return e, nil }},
	{"signs and permutation", func(e vision.Embedding, key uint64) (vision.Embedding, error) {
		rng := rand.New(rand.NewPCG(key, 1))
		out := make(vision.Embedding, len(e))
		for i, to := range rng.Perm(len(e)) {
			out[to] = e[i] * float32(1-2*rng.IntN(2))
		}
		return out, nil
	}},
	{shipped, func(e vision.Embedding, key uint64) (vision.Embedding, error) {
		_, v, err := turnedBy(e, key)
		return v, err
	}},
}

// How two protected templates are compared by somebody who has no key.
var linkages = []struct {
	name string
	of   func(a, b []float32) float64
}{
	{"cosine", func(a, b []float32) float64 { return vision.Cosine(a, b) }},
	{"sorted", sortedCosine},
	{"sorted, transform undone", func(a, b []float32) float64 { return sortedCosine(walsh(a), walsh(b)) }},
	{"fourth moment", func(a, b []float32) float64 { return -math.Abs(fourth(a) - fourth(b)) }},
}

// sortedCosine compares absolute values whatever their order.
func sortedCosine(a, b []float32) float64 {
	one := func(v []float32) []float32 {
		v = slices.Clone(v)
		for i, x := range v {
			v[i] = max(x, -x)
		}
		slices.Sort(v)
		return v
	}
	return vision.Cosine(one(a), one(b))
}

// walsh is the public last step of an isometry, which is its own inverse.
func walsh(v []float32) []float32 {
	v = slices.Clone(v)
	for h := 1; h < len(v); h *= 2 {
		for i := 0; i+2*h <= len(v); i += 2 * h {
			for j := i; j < i+h; j++ {
				v[j], v[j+h] = (v[j]+v[j+h])*math.Sqrt2/2, (v[j]-v[j+h])*math.Sqrt2/2
			}
		}
	}
	return v
}

func fourth(v []float32) (s float64) {
	for _, x := range v {
		s += math.Pow(float64(x), 4)
	}
	return s * float64(len(v))
}

// renewals of each face: more make less of chance.
const renewals = 10

// unlinkability tries to link templates of one face that were protected by two
// keys: one template renewed, and two pictures enrolled on two devices.
func unlinkability(faces []vision.Embedding, names []int) ([]link, error) {
	rng := rand.New(rand.NewPCG(3, 4))
	var renewed, devices, others [][2]int
	of := map[int][]int{}
	for i, name := range names {
		of[name] = append(of[name], i)
	}
	for i, name := range names {
		for range renewals {
			renewed = append(renewed, [2]int{i, i})
			for range 20 { // a picture of somebody else
				if j := rng.IntN(len(faces)); names[j] != name {
					others = append(others, [2]int{i, j})
					break
				}
			}
			if own := of[name]; len(own) > 1 {
				j := own[rng.IntN(len(own)-1)]
				if j == i {
					j = own[len(own)-1]
				}
				devices = append(devices, [2]int{i, j})
			}
		}
	}
	if len(others) == 0 || len(devices) == 0 {
		return nil, fmt.Errorf("unlinkability wants several people, and several pictures of one")
	}
	var links []link
	for _, t := range transforms {
		key := uint64(1) << 32 // none is used twice
		scores := func(pairs [][2]int) ([][]float64, error) {
			out := make([][]float64, len(linkages))
			for _, p := range pairs {
				key += 2
				a, err := t.do(faces[p[0]], key)
				if err != nil {
					return nil, err
				}
				b, err := t.do(faces[p[1]], key+1)
				if err != nil {
					return nil, err
				}
				for i, l := range linkages {
					out[i] = append(out[i], l.of(a, b))
				}
			}
			return out, nil
		}
		non, err := scores(others)
		if err != nil {
			return nil, err
		}
		for _, m := range []struct {
			name  string
			pairs [][2]int
		}{{"renewed", renewed}, {"two devices", devices}} {
			mated, err := scores(m.pairs)
			if err != nil {
				return nil, err
			}
			for i, l := range linkages {
				links = append(links, link{t.name, m.name, l.name, dSys(mated[i], non[i]), chance(mated[i], non[i], rng)})
			}
		}
	}
	return links, nil
}

// dSys is the unlinkability D_sys of Gomez-Barrero, Galbally, Rathgeb, Busch
// (IEEE TIFS 2018), 0 to 1, for mated and non-mated comparisons that are equally
// likely: the mean, over mated scores, of how much likelier mated than non-mated
// a score is. As in the authors' program the densities are histograms of at
// most 100 bins, ten mated scores each on average.
func dSys(mated, non []float64) float64 {
	bins := min(max(len(mated)/10, 1), 100)
	low, high := min(slices.Min(mated), slices.Min(non)), max(slices.Max(mated), slices.Max(non))
	histogram := func(scores []float64) []float64 {
		h := make([]float64, bins)
		for _, s := range scores {
			i := 0
			if high > low {
				i = min(int((s-low)/(high-low)*float64(bins)), bins-1)
			}
			h[i] += 1 / float64(len(scores))
		}
		return h
	}
	m, n := histogram(mated), histogram(non)
	d := 0.0
	for i := range m {
		if m[i] > n[i] { // p(mated | s) - p(non-mated | s)
			d += m[i] * (m[i] - n[i]) / (m[i] + n[i])
		}
	}
	return d
}

// chance is D_sys of the same scores when it does not matter which are mated.
func chance(mated, non []float64, rng *rand.Rand) float64 {
	all := slices.Concat(mated, non)
	const draws = 5
	sum := 0.0
	for range draws {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		sum += dSys(all[:len(mated)], all[len(mated):])
	}
	return sum / draws
}
