package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/faceprint/faceprint/sensor/minutia"
	"github.com/faceprint/faceprint/sensor/ridge"
)

// Of a search.
const (
	searchGrown = 400 // synthetic fingers that are grown; more are chimeras of two
	searchOwn   = 40  // synthetic fingers are looked for where no folder is given
	searchAll   = 40  // probes at least are also compared with everybody, and as many
	searchMost  = 4e6 // as this number of comparisons allows
)

// fingerSearch tells how often a search in N synthetic fingers, besides those of
// folders, finds the one that comparing all finds, and what it costs. Of every
// finger of a folder, or of 40 synthetic ones without any, the first impression is
// in the gallery and the others are probes.
func fingerSearch(w io.Writer, o fingerOptions, dirs []string) error {
	var known []*minutia.Prepared
	type probe struct {
		p  *minutia.Prepared
		of int
	}
	var probes []probe
	add := func(fingers [][]*minutia.Template) {
		for _, ts := range fingers {
			f := prepareAll(ts)
			if len(f) < 2 {
				continue
			}
			for _, p := range f[1:] {
				probes = append(probes, probe{p, len(known)})
			}
			known = append(known, f[0])
		}
	}
	for _, dir := range dirs {
		fingers, err := fingersOf(o, dir, o.window)
		if err != nil {
			return err
		}
		add(fingers)
	}
	if len(dirs) == 0 {
		fingers := make([][]*minutia.Template, searchOwn)
		parallel(o.jobs, len(fingers), func(_, i int) { fingers[i] = touchesOf(ridge.New(uint64(2_000_000+i)), 256, 288, 2, 1) })
		add(fingers)
	}
	if len(probes) == 0 {
		return errors.New("finger: no finger has two impressions that can be read")
	}
	strangers, err := strangersOf(o)
	if err != nil {
		return err
	}
	fingers := append(known, strangers...)
	gallery := minutia.NewGallery(fingers)

	var m minutia.Matcher
	right := 0
	each := processorTime(func() {
		for _, p := range probes {
			if at, _ := m.Search(p.p, gallery); at == p.of {
				right++
			}
		}
	}) / time.Duration(len(probes))
	fmt.Fprintf(w, "%d fingers, %d of them synthetic; %d probes: the right one is first for %d (%.1f %%), %.1f ms of a processor a search, %.2f us a finger\n",
		len(fingers), len(strangers), len(probes), right, 100*float64(right)/float64(len(probes)), each.Seconds()*1e3, each.Seconds()*1e6/float64(len(fingers)))

	// All of a large gallery takes seconds a probe: some say as much.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(probes), func(i, j int) { probes[i], probes[j] = probes[j], probes[i] })
	probes = probes[:min(len(probes), max(searchAll, int(searchMost)/len(fingers)))]
	found := make([]searched, len(probes))
	matchers := make([]minutia.Matcher, o.jobs)
	parallel(o.jobs, len(probes), func(worker, i int) {
		p, m, f := probes[i], &matchers[worker], &found[i]
		at := -1
		f.took = processorTime(func() {
			best := minutia.NoScore
			for k, g := range fingers {
				if s := m.Match(p.p, g); s > best {
					best, at = s, k
				}
			}
		})
		f.all = at == p.of
		at, _ = m.Search(p.p, gallery)
		f.search = at == p.of
		f.first, f.second = m.Kept(p.p, gallery, p.of)
	})
	var all, search, first, second int
	full := time.Duration(0)
	for _, f := range found {
		full += f.took
		switch {
		case f.search:
			search++
		case f.all && !f.first:
			first++
		case f.all && !f.second:
			second++
		}
		if f.all {
			all++
		}
	}
	fmt.Fprintf(w, "of %d probes comparing all finds %d and searching %d: the first stage loses %d of them, the second %d; comparing all takes %.1f times as long\n",
		len(probes), all, search, first, second, full.Seconds()/float64(len(probes))/each.Seconds())
	return nil
}

// searched is how a probe's own finger was found: by comparing all, by a search,
// and whether the search's stages left it.
type searched struct {
	took                       time.Duration // to compare all
	all, search, first, second bool
}

// strangersOf is o.search strangers, each of one impression.
func strangersOf(o fingerOptions) ([]*minutia.Prepared, error) {
	grown := make([]*minutia.Template, min(o.search, searchGrown))
	parallel(o.jobs, len(grown), func(_, i int) {
		f := ridge.New(uint64(3_000_000 + i))
		for touch := uint64(0); grown[i] == nil && touch < 8; touch++ {
			at := f.Touch(touch, 0.5)
			at.Width, at.Height, at.DPI, at.Coarse = 256, 288, 508, true
			grown[i], _ = minutia.Extract(f.Impression(at), at.DPI)
		}
	})
	grown = slices.DeleteFunc(grown, func(t *minutia.Template) bool { return t == nil })
	if len(grown) < o.search && o.search > len(grown)*len(grown) {
		return nil, fmt.Errorf("finger: --search %d: at most %d", o.search, len(grown)*len(grown))
	}
	ps := make([]*minutia.Prepared, o.search)
	parallel(o.jobs, len(ps), func(_, i int) {
		if i < len(grown) {
			ps[i] = minutia.Prepare(grown[i])
			return
		}
		a := i % len(grown)
		ps[i] = minutia.Prepare(chimera(grown[a], grown[(a+i/len(grown))%len(grown)]))
	})
	return ps, nil
}

// chimera is the left half of one finger and the right half of another: to a search
// a finger like any other but for a seam, in a microsecond instead of the tenth of
// a second that one takes to grow.
func chimera(a, b *minutia.Template) *minutia.Template {
	t := &minutia.Template{Width: a.Width, Height: a.Height, Quality: min(a.Quality, b.Quality), Ridges: a.Ridges}
	seam := a.Width / 2
	half := func(of *minutia.Template, left bool) {
		for _, m := range of.Minutiae {
			if (int(m.X) < seam) == left {
				t.Minutiae = append(t.Minutiae, m)
			}
		}
	}
	half(a, true)
	half(b, false)
	slices.SortStableFunc(t.Minutiae, func(x, y minutia.Minutia) int { return int(y.Quality) - int(x.Quality) })
	t.Ridges.Patches = slices.Clone(a.Ridges.Patches)
	for i := range t.Ridges.Patches {
		if x := i % a.Ridges.Width; x >= a.Ridges.Width/2 && i < len(b.Ridges.Patches) {
			t.Ridges.Patches[i] = b.Ridges.Patches[i]
		}
	}
	return t
}
